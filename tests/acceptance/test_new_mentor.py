"""Scenarios 3 and 4: from the sign-up through Givebutter's import and back, for people new and returning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

if TYPE_CHECKING:
    from mentor_pipeline.simulator import World
    from mentor_pipeline.simulator.csv_import import ImportResult
    from tests.acceptance.installation import Installation

NEW = {"0911": ("Wren", "Alder"), "0912": ("Robin", "Birch")}
"""By the API alone, and by a fresh export."""
RETURNING = {
    "0921": ("Iris", "Cedar", "phone", "51021"),
    "0922": ("Jon", "Dogwood", "email", "51022"),
    "0923": ("Greta", "Ginkgo", "phone", None),
    "0924": ("Hugo", "Hazel", "email", None),
}
"""By what they are found, and the external id that their contact has from an earlier year."""


class Loop(NamedTuple):
    there: Installation
    signed_up: dict[str, dict[str, Any]]
    rows: pl.DataFrame
    imported: ImportResult
    after_csv: dict[str, dict[str, Any]]
    after_api: dict[str, dict[str, Any]]
    calls: list[str]


def sign_up(world: World, mn_id: str, first: str, last: str) -> None:
    phone, email = f"706-555-{mn_id}", f"{first}.{last}@example.com".lower()
    school = f"{first}.{last}@uga.edu".lower()
    world.submit(
        "signup", mn_id=f"MN{mn_id}", name={"first": first, "last": last}, phone=phone, personal_email=email,
        uga_email=school, shirt_size="M", shift_preference="Option 3",
    )  # fmt: skip
    world.submit("setup", mn_id=mn_id, phone=phone, email=email)
    world.add_member(first_name=first, last_name=last, email=email, raised=20)


def mentors(there: Installation) -> dict[str, dict[str, Any]]:
    return {row["mn_id"]: row for row in there.table("mentors").to_dicts()}


@pytest.fixture(scope="module")
def loop(story: Installation) -> Loop:
    world = story.world
    old = {}
    for mn_id, (first, last, found_by, external_id) in RETURNING.items():
        mine = (
            {"phones": [f"+1706555{mn_id}"]}
            if found_by == "phone"
            else {"emails": [f"{first}.{last}@example.com".lower()]}
        )
        old[mn_id] = world.add_contact(
            first_name=first, last_name=last, external_id=external_id, tags=["Mentors 2024"], **mine
        )
    for mn_id, (first, last, *_) in {**NEW, **RETURNING}.items():
        sign_up(world, mn_id, first, last)
    story.sync()
    signed_up, rows = mentors(story), story.table("mn_gb_import")
    (file,) = story.export()
    imported = world.import_csv(file)
    _, robin = (world.external_id_holder(mn_id) for mn_id in NEW)
    assert robin is not None
    story.settings().inbox_dir.mkdir(exist_ok=True)
    world.export_csv(story.settings().inbox_dir, contact_ids=[robin.id, *old.values()])
    story.inbox()
    after_csv = mentors(story)
    story.simulator.calls.clear()
    story.sync()
    calls = [call.endpoint for call in story.simulator.calls]
    return Loop(story, signed_up, rows, imported, after_csv, mentors(story), calls)


def row_of(loop: Loop, mn_id: str) -> dict[str, Any]:
    return loop.rows.row(by_predicate=pl.col("mn_id") == mn_id, named=True)


@pytest.mark.parametrize("mn_id", NEW)
def test_a_new_mentor_has_no_contact_and_a_row_without_contact_id(loop: Loop, mn_id: str) -> None:
    mentor, row = loop.signed_up[mn_id], row_of(loop, mn_id)
    assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("new", None)
    assert mentor["status_category"] == "needs_fundraising"
    assert not row["Givebutter Contact ID"]
    assert row["Contact External ID"] == mn_id
    assert (row["First Name"], row["Last Name"]) == NEW[mn_id]


def test_givebutter_creates_a_contact_for_each(loop: Loop) -> None:
    assert loop.imported.refused == []
    held = {mn_id: loop.there.world.external_id_holder(mn_id) for mn_id in NEW}
    assert {contact.id for contact in held.values() if contact} <= set(loop.imported.created)
    assert all(contact and contact.phones == [f"+1706555{mn_id}"] for mn_id, contact in held.items())


def test_a_fresh_export_links_the_new_contact(loop: Loop) -> None:
    contact = loop.there.world.external_id_holder("0912")
    assert contact is not None
    linked = loop.after_csv["0912"]
    assert (linked["gb_match_status"], linked["gb_contact_id"]) == ("linked", contact.id)
    assert loop.after_csv["0911"]["gb_match_status"] == "new"  # not in this export
    (logged,) = loop.there.table("csv_import_log").to_dicts()
    assert logged["new_contact_ids_captured"] >= 1


def test_the_api_alone_links_the_new_contact(loop: Loop) -> None:
    contact = loop.there.world.external_id_holder("0911")
    assert contact is not None
    linked = loop.after_api["0911"]
    assert (linked["gb_match_status"], linked["gb_contact_id"]) == ("linked", contact.id)
    assert linked["gb_match_method"] == "external_id"
    assert loop.calls.count("givebutter.contacts") <= 3  # only what was updated, not every contact


def test_what_the_export_linked_stays_linked(loop: Loop) -> None:
    assert loop.after_api["0912"]["gb_contact_id"] == loop.after_csv["0912"]["gb_contact_id"]


@pytest.mark.parametrize("mn_id", RETURNING)
def test_a_returning_mentor_is_found_by_phone_or_email(loop: Loop, mn_id: str) -> None:
    _, _, found_by, _ = RETURNING[mn_id]
    mentor = loop.signed_up[mn_id]
    assert (mentor["gb_match_status"], mentor["gb_match_method"]) == ("linked", found_by)
    assert row_of(loop, mn_id)["Givebutter Contact ID"] == str(mentor["gb_contact_id"])


@pytest.mark.parametrize("mn_id", RETURNING)
def test_a_returning_mentors_contact_is_updated_and_not_created_again(loop: Loop, mn_id: str) -> None:
    contact_id = loop.signed_up[mn_id]["gb_contact_id"]
    assert contact_id in loop.imported.updated
    same_name = [
        contact.id
        for contact in loop.there.world.contacts.values()
        if (contact.first_name, contact.last_name) == RETURNING[mn_id][:2]
    ]
    assert same_name == [contact_id]
    assert loop.there.world.contact(contact_id).external_id == mn_id
    assert loop.after_api[mn_id]["gb_contact_id"] == contact_id


def test_an_old_external_id_is_a_warning_while_it_is_there(loop: Loop) -> None:
    warnings = loop.there.table("sync_warnings").filter(type="external_id_mismatch")
    resolved = dict(warnings.select("mn_id", "resolved").iter_rows())
    assert {mn_id: resolved.get(mn_id) for mn_id in RETURNING} == {
        "0921": True,
        "0922": True,
        "0923": None,
        "0924": None,
    }
