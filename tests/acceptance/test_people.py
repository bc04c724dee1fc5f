"""Scenario 17: a check-in, a fundraised mark and notes survive syncs, a rebuild from raw tables and a year change."""

from __future__ import annotations

import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.settings import load_program_year, packaged_config_dir
from mentor_pipeline.simulator import World
from tests.acceptance.installation import APPEND_ONLY, done, going_on, installed
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_next_year import NEXT, year_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the fixture takes minutes

SET = ("training_done", "training_at", "fundraised_done", "fundraised_at", "notes")
COMPUTED = (
    "signups", "form_links", "contact_matches", "contact_links", "mentors", "mn_tasks", "partner_matches", "merge_base",
    "mn_gb_import", "mn_gb_import_held",
)  # fmt: skip
NOTE = "brings a [cake], her mother called"
SIZES = ("S", "L", "XXL")
SYNCS = 20


class Kept(NamedTuple):
    """What was set of whom, and what stood there after each step.

    Attributes:
        there: the installation, after all of it.
        turns: the syncs between which both sides moved.
        who: the mentor who was checked in, marked and noted.
        back: the mentor whose check-in was taken back.
        after: the two mentors' records after each step.
        ledgers: the append-only tables before and after the rebuild.
        next_year: the mentor of the next year with the same id.
    """

    there: Installation
    turns: range
    who: str
    back: str
    after: dict[str, tuple[dict[str, Any], dict[str, Any]]]
    ledgers: tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]
    next_year: dict[str, Any]


@pytest.fixture(scope="module")
def kept(synced: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with going_on(synced, tmp_path_factory.mktemp("story")) as story:
        yield kept_through(story, range(1, SYNCS + 1), tmp_path_factory.mktemp("configured") / "config")


def kept_through(story: Installation, turns: range, config_dir: Path) -> Kept:
    plain = plain_mentors(story)
    one = next(m for m in plain if m["campaign_member"] and not m["fundraised_done"] and not m["training_done"])
    two = next(m for m in plain if m is not one and not m["training_done"])
    who, back = one["mn_id"], two["mn_id"]
    after: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def look(step: str) -> None:
        found = story.table("mentors").filter(year=story.settings().program_year().year)
        first, second = (found.row(by_predicate=pl.col("mn_id") == mn_id, named=True) for mn_id in (who, back))
        after[step] = first, second

    checked_in = story.call("check-in", who, back, "--at", "2025-11-01T18:30", "--by", "Cleo")
    assert checked_in.exit_code == 0, checked_in.output
    edits = [
        {"mn_id": who, "field": "fundraised_done", "value": "yes"},
        {"mn_id": who, "field": "notes", "value": NOTE},
        {"mn_id": back, "field": "training_done", "value": "no"},
        {"mn_id": back, "field": "training_at", "value": "none"},
    ]
    done(story.run("apply_decisions", {"ops": {"operator_actions": {"config": {"edits": edits}}}}))
    look("set")
    for turn in turns:
        both_sides_move(story, one, turn)
        story.sync()
        look(f"sync {turn}")
    before = story.append_only()
    with story.warehouse.write() as store:
        for table in COMPUTED:
            store.replace(table, store.read(table).clear(), year=story.settings().program_year().year)
    assert story.table("mentors").is_empty()
    done(story.run("rebuild"))
    look("rebuild")
    ledgers = before, story.append_only()
    next_year = a_year_later(story, one, config_dir)
    story.sync()
    look("the year before once more")
    return Kept(story, turns, who, back, after, ledgers, next_year)


def both_sides_move(there: Installation, mentor: dict[str, Any], turn: int) -> None:
    """The mentor raises a little, signs up once more with another size, and Givebutter says otherwise."""
    there.world.edit_member(mentor["gb_member_id"], raised=Decimal(turn))
    not_trained = {there.settings().program_year().custom_field_from("training_done"): "No"}
    there.world.edit_contact(mentor["gb_contact_id"], note=f"Somebody's words, {turn}.", custom_fields=not_trained)
    there.world.submit(
        "signup", mn_id=mentor["mn_id"], name={"first": mentor["first_name"], "last": mentor["last_name"]},
        prefix=mentor["preferred_name"], phone=mentor["phone"], personal_email=mentor["personal_email"],
        uga_email=mentor["uga_email"], shirt_size=SIZES[turn % len(SIZES)],
    )  # fmt: skip


def a_year_later(there: Installation, mentor: dict[str, Any], config_dir: Path) -> dict[str, Any]:
    """A sync of the next year, in which somebody has the same id."""
    shutil.copytree(packaged_config_dir(), config_dir)
    (config_dir / f"{NEXT}.toml").write_text(year_file(), encoding="utf-8")
    world = World.empty(load_program_year(config_dir / f"{NEXT}.toml"))
    world.adopt(there.world.contacts.values())
    world.last_ids = there.world.last_ids
    world.campaign.id += 1_000
    world.submit(
        "signup", mn_id=mentor["mn_id"], name="Wren Alder", phone="706-555-0142",
        personal_email="wren.alder@example.com", uga_email="wren.alder@uga.edu",
    )  # fmt: skip
    with installed(there.data_dir, world, year=NEXT, config_dir=config_dir) as later:
        later.sync()
        return later.table("mentors").filter(year=NEXT).row(0, named=True)


def test_what_people_set_is_as_they_set_it(kept: Kept) -> None:
    who, back = kept.after["set"]
    assert (who["training_done"], who["fundraised_done"], who["notes"]) == (True, True, NOTE)
    assert f"{who['training_at']:%Y-%m-%d %H:%M}" == "2025-11-01 22:30"
    assert (back["training_done"], back["training_at"]) == (False, None)
    assert len(kept.after) == len(kept.turns) + 3
    for step, after in kept.after.items():
        for before, now in zip(kept.after["set"], after, strict=True):
            assert {name: now[name] for name in SET} == {name: before[name] for name in SET}, step


def test_everything_else_went_on_meanwhile(kept: Kept) -> None:
    moved = [(who["amount_raised"], who["shirt_size"]) for step, (who, _) in kept.after.items() if step != "set"]
    expected = [(Decimal(turn), SIZES[turn % len(SIZES)]) for turn in kept.turns]
    assert moved == [*expected, expected[-1], expected[-1]]


def test_a_rebuild_from_raw_tables_adds_nothing(kept: Kept) -> None:
    before, after = kept.ledgers
    for name in APPEND_ONLY:
        assert after[name].height == before[name].height, name


def test_marks_are_of_their_year(kept: Kept) -> None:
    assert (kept.next_year["mn_id"], kept.next_year["full_name"]) == (kept.who, "Wren Alder")
    assert [kept.next_year[name] for name in SET] == [False, None, False, None, None]


def test_the_notes_wait_for_the_next_import_file_as_they_were_typed(kept: Kept) -> None:
    year = kept.there.settings().program_year().year
    (notes,) = kept.there.table("mn_gb_import").filter(year=year, mn_id=kept.who)["Notes"]
    assert notes.count(NOTE) == 1


def test_history_tells_each_of_it_once(kept: Kept) -> None:
    events = kept.there.call_json("history", kept.who)["events"]
    edits = [(event["field"], event["by"]) for event in events if event["kind"] == "edit"]
    assert edits == [
        ("training_done", "Cleo"), ("training_at", "Cleo"), ("fundraised_done", "Ada"), ("notes", "Ada")
    ]  # fmt: skip
    changed = [event["field"] for event in events if event["field"] in SET and event["kind"] == "field_change"]
    assert sorted(changed) == sorted(SET)


def test_the_mentors_before_it_all_can_still_be_seen(kept: Kept) -> None:
    log = kept.there.table("sync_log").sort("started_at")
    then = kept.there.call_json("as-of", log["id"][0], "--mentor", kept.who)["mentors"]
    assert [then[0][name] for name in SET] == [False, None, False, None, None]
