"""R6, R10: imports only ever add tags; `tags push` takes ours off again, also when it was killed half-way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.domain.status import owned_tags
from mentor_pipeline.simulator import World
from tests.acceptance.installation import installed
from tests.builders import phone_of, program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation

pytestmark = pytest.mark.slow

MENTORS = 12
FIRST = ("Ada", "Ben", "Cora", "Dan", "Elsa", "Finn", "Greta", "Hugo", "Iris", "Jon", "Kai", "Lea")
OURS = owned_tags(program())
FOREIGN = {"Donor", "Mentors 2024"}


def world_of_mentors() -> World:
    world = World.empty(program())
    for number, first in enumerate(FIRST, start=1):
        email = f"{first}@example.com".lower()
        world.submit(
            "signup", mn_id=f"{number:04}", name={"first": first, "last": "Alder"}, phone=phone_of(number),
            personal_email=email, uga_email=f"{first}@uga.edu".lower(),
        )  # fmt: skip
        world.add_contact(
            first_name=first, last_name="Alder", external_id=f"{number:04}", phones=[phone_of(number)], emails=[email],
            tags=sorted(FOREIGN),
        )  # fmt: skip
    return world


def tags_of(there: Installation) -> dict[int, set[str]]:
    return {contact.id: set(contact.tags) for contact in there.world.contacts.values()}


def holding(there: Installation) -> dict[int, set[str]]:
    """What the mentors' contacts must carry."""
    statuses = there.table("mentors").select("gb_contact_id", "statuses").iter_rows()
    return {contact_id: {*FOREIGN, *OURS.intersection(held)} for contact_id, held in statuses}


def tag_calls(there: Installation) -> int:
    return sum(call.endpoint == "givebutter.tags" for call in list(there.simulator.calls))


def test_what_no_longer_holds_comes_off_again(tmp_path: Path) -> None:
    with installed(tmp_path / "data", world_of_mentors()) as there:
        there.sync()
        (file,) = there.export()
        assert there.world.import_csv(file).refused == []
        there.sync()
        assert tags_of(there) == holding(there)
        assert there.call_json("tags", "plan")["report"]["moves"] == []

        for first in FIRST:
            there.world.add_member(first_name=first, last_name="Alder", email=f"{first}@example.com".lower(), raised=5)
        there.sync()
        (file,) = there.export()
        there.world.import_csv(file)
        there.sync()
        planned = there.call_json("tags", "plan")["report"]["moves"]
        assert len(planned) == MENTORS
        assert {(*move["add"], *move["remove"]) for move in planned} == {("No Page", "Status: needs_setup")}

        there.killed_when(lambda: tag_calls(there) >= MENTORS // 2, "tags", "push", "--yes", rate=20)
        half = sum(tags == holding(there)[contact_id] for contact_id, tags in tags_of(there).items())
        assert MENTORS // 2 <= half < MENTORS
        left = there.call_json("tags", "push")["report"]["moves"]
        assert MENTORS - half <= len(left) <= MENTORS - half + 1
        before = tag_calls(there)
        assert there.call_json("tags", "push", "--yes")["ok"]
        assert tag_calls(there) - before == len(left)
        assert tags_of(there) == holding(there)
        assert there.call_json("tags", "plan")["report"]["moves"] == []

        changes = there.table("mn_changes").height
        there.sync()
        assert tags_of(there) == holding(there)
        assert there.call_json("tags", "plan")["report"]["moves"] == []
        assert there.table("mn_changes").height == changes
