"""R6, R10: over three rounds of export and import a note arrives once, and nobody is subscribed again."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import installed
from tests.builders import phone_of, program

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.simulator.records import Contact
    from tests.acceptance.installation import Installation

pytestmark = pytest.mark.slow

LINKED, NEW, MERGING = "0042", "0043", "0044"
NAMES = {LINKED: ("Ada", "Alder"), NEW: ("Ben", "Birch"), MERGING: ("Cora", "Cedar")}


def world_of_three() -> World:
    """Ada has a contact, Ben has none; Cora's contact has no id, and is unsubscribed of everything like Ada's texts."""
    world = World.empty(program())
    for number, (mn_id, (first, last)) in enumerate(NAMES.items(), start=1):
        world.submit(
            "signup", mn_id=mn_id, name={"first": first, "last": last}, phone=phone_of(number),
            personal_email=f"{first}@example.com".lower(), uga_email=f"{first}@uga.edu".lower(),
        )  # fmt: skip
    world.add_contact(
        first_name="Ada", last_name="Alder", external_id=LINKED, phones=[phone_of(1)], emails=["ada@example.com"],
        note="Donor since 2019", phone_subscribed=False,
    )  # fmt: skip
    world.add_contact(
        first_name="Cora", last_name="Cedar", phones=[phone_of(3)], emails=["cora@example.com"],
        email_subscribed=False, phone_subscribed=False, address_subscribed=False,
    )  # fmt: skip
    return world


def contact_of(there: Installation, mn_id: str) -> Contact:
    (found,) = [one for one in there.world.contacts.values() if one.last_name == NAMES[mn_id][1]]
    return found


def subscriptions(there: Installation) -> dict[str, tuple[Any, ...]]:
    found = {mn_id: contact_of(there, mn_id) for mn_id in NAMES}
    return {mn_id: (one.email_subscribed, one.phone_subscribed, one.address_subscribed) for mn_id, one in found.items()}


def notes_in(file: Path) -> dict[str, str]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {row["Contact External ID"]: row["Notes"] for row in csv.DictReader(lines) if row["Notes"]}


def test_three_rounds(tmp_path: Path) -> None:
    with installed(tmp_path / "data", world_of_three()) as there:
        there.sync()
        for mn_id in (LINKED, NEW):
            there.call_json("edit", mn_id, "notes", "Called, will come.")
        (first,) = there.export()
        assert notes_in(first) == {LINKED: "Called, will come.", NEW: "Called, will come."}
        there.call_json("edit", LINKED, "training_done", "yes")
        (again,) = there.export(everything=True)
        assert notes_in(again) == {}  # on its way already
        assert there.world.import_csv(first).refused == []
        there.sync()
        assert subscriptions(there) == {
            LINKED: (True, False, True), NEW: (True, True, True), MERGING: (False, False, False),
        }  # fmt: skip

        there.world.edit_contact(contact_of(there, NEW).id, email_subscribed=False)
        there.world.edit_contact(contact_of(there, LINKED).id, note=f"{contact_of(there, LINKED).note}\nGave $5.")
        there.sync()
        there.call_json("edit", NEW, "notes", "Called, will come.\nBrings a friend.")
        (second,) = there.export(everything=True)
        assert notes_in(second) == {NEW: "Brings a friend."}
        assert there.world.import_csv(second).refused == []
        there.sync()
        (third,) = there.export(everything=True)
        assert notes_in(third) == {}
        assert there.world.import_csv(third).refused == []
        there.sync()

        assert (contact_of(there, LINKED).note or "").splitlines() == [
            "Donor since 2019", "Called, will come.", "Gave $5.",
        ]  # fmt: skip
        assert (contact_of(there, NEW).note or "").splitlines() == ["Called, will come.", "Brings a friend."]
        assert subscriptions(there) == {
            LINKED: (True, False, True), NEW: (False, True, True), MERGING: (False, False, False),
        }  # fmt: skip
        assert {there.mentor(mn_id)["gb_match_status"] for mn_id in NAMES} == {"linked"}
