"""R4.1, R5 and scenario 6: the plans, applied; killed half-way and resumed; taken back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import installed
from tests.builders import phone_of, program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres

pytestmark = pytest.mark.slow

DUPLICATES = 3
FIRST = ("Ada", "Ben", "Cora", "Dan", "Elsa", "Finn", "Greta", "Hugo", "Iris", "Jon")
LAST = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ilex", "Juniper")


def world_of(mentors: int) -> tuple[World, set[int]]:
    """Mentors with a contact that carries their id, and three more each; the ids of the latter."""
    world = World.empty(program())
    duplicates = set()
    for number in range(1, mentors + 1):
        mn_id, phone = f"{number:04}", phone_of(number)
        name = {"first_name": FIRST[number % 10], "last_name": f"{LAST[number // 10 % 10]}{'aeiou'[number % 5]}"}
        email = f"mentor{mn_id}@example.com"
        world.submit(
            "signup", mn_id=mn_id, name={"first": name["first_name"], "last": name["last_name"]}, phone=phone,
            personal_email=email, uga_email=f"mentor{mn_id}@uga.edu",
        )  # fmt: skip
        mine = {**name, "phones": [phone], "emails": [email]}
        world.add_contact(external_id=mn_id, tags=[world.program.givebutter.mentor_tag], **mine)
        duplicates |= {world.add_contact(tags=["Newsletter"], **mine) for _ in range(DUPLICATES)}
    return world, duplicates


def archive_calls(there: Installation) -> Counter[int]:
    """How often each contact was archived."""
    calls = [call for call in list(there.simulator.calls) if call.endpoint == "givebutter.archive"]
    return Counter(int(call.url.rpartition("/")[2]) for call in calls if call.status < 300)


def archived_in(there: Installation) -> set[int]:
    return {contact.id for contact in there.world.contacts.values() if contact.archived_at is not None}


def known_archived(there: Installation) -> set[int]:
    return set(there.table("raw_gb_full_contacts").filter(pl.col("archived_at").is_not_null())["contact_id"])


def test_an_archive_that_was_killed_half_way_archives_each_once(tmp_path: Path, database: Postgres | None) -> None:
    mentors = 100
    world, duplicates = world_of(mentors)
    with installed(tmp_path / "data", world, postgres=database) as there:
        there.sync()
        planned = there.call_json("archive", "plan")
        assert {row["contact_id"] for row in planned["archive"]} == duplicates
        assert planned["counts"] == {"archive": mentors * DUPLICATES, "review": 0}

        there.killed_when(lambda: archive_calls(there).total() >= len(duplicates) // 2, "archive", "apply", "--yes")
        half = archived_in(there)
        assert len(duplicates) // 2 <= len(half) < len(duplicates)
        assert known_archived(there) == set()
        left = there.call_json("archive", "apply")["report"]["moves"]
        assert len(duplicates) - len(half) <= len(left) <= len(duplicates) - len(half) + 1

        asked_before = sum(call.endpoint == "givebutter.archive" for call in there.simulator.calls)
        done = there.call_json("archive", "apply", "--yes", "--by", "Ada")
        asked = sum(call.endpoint == "givebutter.archive" for call in there.simulator.calls) - asked_before
        assert asked == len(left)
        assert {move["state"] for move in done["report"]["moves"]} == {"done"}
        assert archived_in(there) == known_archived(there) == duplicates
        assert archive_calls(there) == dict.fromkeys(duplicates, 1)

        log = there.table("contact_archive_log").filter(operation="archive")
        assert sorted(log.filter(state="done")["contact_id"]) == sorted(duplicates)
        assert set(log["state"]) == {"started", "done"}
        assert there.call_json("archive", "apply")["report"]["moves"] == []

        assert there.call_json("rebuild")["ok"]
        told = there.table("mn_changes").filter(change_type="duplicates_archived")
        assert sorted(map(int, told["old_value"])) == sorted(duplicates)
        assert there.table("contact_archive_plan").is_empty()

        assert len(there.call_json("archive", "restore", "--all", "--yes")["report"]["moves"]) == len(duplicates)
        assert archived_in(there) == known_archived(there) == set()
        assert archive_calls(there).total() == len(duplicates)


def test_three_contacts_on_one_phone(tmp_path: Path) -> None:
    """Scenario 6: the current member's, last year's, and a mass-mail contact."""
    world = World.empty(program())
    phone, email, school = "+17065550142", "wren.alder@example.com", "wren.alder@uga.edu"
    name = {"first_name": "Wren", "last_name": "Alder"}
    world.submit(
        "signup", mn_id="MN0042", name={"first": "Wren", "last": "Alder"}, phone=phone, personal_email=email,
        uga_email=school,
    )  # fmt: skip
    world.add_member(**name, email=email, phone=phone, raised=20)
    tag = world.program.givebutter.mentor_tag
    current = world.add_contact(**name, phones=[phone], emails=[email, school], tags=[tag])
    last_year = world.add_contact(**name, phones=[phone], external_id="51021", tags=["Mentors 2024"])
    mass_mail = world.add_contact(**name, emails=[school], tags=["Campus list"])
    on_the_phone = world.add_contact(**name, emails=[school], phones=[phone], tags=["Campus list"])
    stranger = world.add_contact(first_name="Zoe", last_name="Zelkova", phones=["+17065550199"])
    with installed(tmp_path / "data", world) as there:
        there.sync()
        mentor = there.mentor("0042")
        assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("linked", current)
        others = {last_year, mass_mail, on_the_phone}
        plan = there.table("contact_archive_plan")
        assert set(plan.select("contact_id", "winner_contact_id", "action").rows()) == {
            (one, current, "archive") for one in others
        }
        group = there.call_json("duplicates")["groups"][0]
        assert (group["value"], group["mn_id"], group["suggested_keep"]) == (phone, "0042", current)
        assert group["contact_ids"] == sorted({current, last_year, on_the_phone})

        there.call_json("archive", "apply", "--yes")
        assert archived_in(there) == others
        assert world.contact(stranger).archived_at is None
        there.sync()
        assert there.mentor("0042")["gb_contact_id"] == current
        assert there.table("contact_archive_plan").is_empty()
        assert there.table("duplicate_gb_contacts").is_empty()


def test_ids_on_the_wrong_contacts_are_released_as_decided(tmp_path: Path) -> None:
    """R4.1: a second contact of Ada's carries her id, and a stranger carries Ben's since an earlier year."""
    world = World.empty(program())
    ada, ben = {"first_name": "Ada", "last_name": "Alder"}, {"first_name": "Ben", "last_name": "Birch"}
    for mn_id, name in (("0042", ada), ("0043", ben)):
        world.submit(
            "signup", mn_id=mn_id, name={"first": name["first_name"], "last": name["last_name"]},
            phone=phone_of(int(mn_id)), personal_email=f"mentor{mn_id}@example.com", uga_email=f"m{mn_id}@uga.edu",
        )  # fmt: skip
    tag = world.program.givebutter.mentor_tag
    own = world.add_contact(
        **ada, phones=[phone_of(42)], emails=["mentor0042@example.com"], external_id="0042", tags=[tag]
    )
    second = world.add_contact(**ada, phones=[phone_of(42)], external_id="MN0042", tags=["Newsletter"])
    bens = world.add_contact(**ben, phones=[phone_of(43)], emails=["mentor0043@example.com"], tags=[tag])
    stranger = world.add_contact(first_name="Zoe", last_name="Zelkova", external_id="0043", tags=["Mentors 2019"])

    def ready(there: Installation) -> set[str]:
        return set(there.table("mn_gb_import")["mn_id"])

    with installed(tmp_path / "data", world) as there:
        there.sync()
        assert there.call_json("release", "plan")["release"] == []
        pending = {row["mn_id"]: row for row in there.call_json("conflicts", "list")["rows"]}
        assert {row["conflict_type"] for row in pending.values()} == {"external_id_collision"}
        choice = "a" if pending["0042"]["option_a"]["value"] == own else "b"
        there.call_json("conflicts", "resolve", pending["0042"]["id"], choice, "--by", "Cleo")
        there.call_json("conflicts", "accept-recommended", "--yes", "--by", "Dana")
        assert ready(there) == {"0042"}  # to Givebutter MN0042 is another id than 0042

        plan = there.call_json("release", "plan")["release"]
        assert {row["contact_id"]: row["external_id"] for row in plan} == {second: "MN0042", stranger: "0043"}
        decided = there.table("contact_release_plan")
        assert dict(decided.select("contact_id", "decided_by").iter_rows()) == {second: "Cleo", stranger: "Dana"}
        reviewed = there.call_json("archive", "plan")["review"]
        assert [row["contact_id"] for row in reviewed] == [second]

        there.call_json("release", "apply", "--yes")
        held = {one: world.contact(one).external_id for one in (own, second, bens, stranger)}
        assert held == {own: "0042", second: None, bens: None, stranger: None}
        assert world.contact(stranger).tags == ["Mentors 2019"]
        there.sync()
        assert {one: there.mentor(one)["gb_contact_id"] for one in ("0042", "0043")} == {"0042": own, "0043": bens}
        assert ready(there) == {"0042", "0043"}
        assert there.table("contact_release_plan").is_empty()
        assert there.table("contact_archive_plan").select("contact_id", "action").rows() == [(second, "archive")]

        (file,) = there.export()
        assert world.import_csv(file).refused == []
        there.sync()
        undone = there.call_json("release", "undo", "--all")["report"]["moves"]
        assert {move["contact_id"]: move["error"] for move in undone} == {
            second: f"Nothing was done: contact {own} carries external id 0042 by now.",
            stranger: f"Nothing was done: contact {bens} carries external id 0043 by now.",
        }
