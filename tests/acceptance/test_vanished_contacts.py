"""Scenario 18: contacts archived, deleted, restored or merged in Givebutter, as `contact-refresh` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import MentorClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.installation import Installation

pytestmark = pytest.mark.slow

MENTORS = ("archived", "restored", "deleted", "merged")


class Vanished(NamedTuple):
    """The mentors by what happened to their contact, the contacts, and what is known after each step."""

    who: dict[str, str]
    contact: dict[str, int]
    survivor: int
    after: list[dict[str, dict[str, Any]]]
    held: list[dict[str, str]]
    there: Installation


def standing(there: Installation, who: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {what: there.mentor(mn_id) for what, mn_id in who.items()}


def held_rows(there: Installation) -> dict[str, str]:
    return dict(there.table("mn_gb_import_held").select("mn_id", "reason").iter_rows())


@pytest.fixture(scope="module")
def vanished(story: Installation) -> Vanished:
    world = story.world
    world.behaviour.archived_is_forbidden = True
    plain = [t.mn_id for t in world.truth.values() if t.class_ is MentorClass.LINKED and not t.flaws]
    mentors = story.table("mentors").filter(pl.col("mn_id").is_in(plain), gb_match_status="linked").sort("mn_id")
    rows = dict(zip(MENTORS, mentors.head(len(MENTORS)).to_dicts(), strict=True))
    who = {what: row["mn_id"] for what, row in rows.items()}
    contact = {what: row["gb_contact_id"] for what, row in rows.items()}
    merged = rows["merged"]
    # A second contact of the same person, which the merge keeps.
    survivor = world.add_contact(
        first_name=merged["first_name"], last_name=merged["last_name"], phones=[merged["phone"]],
        emails=[merged["personal_email"]],
    )  # fmt: skip
    story.sync()
    assert story.mentor(who["merged"])["gb_contact_id"] == contact["merged"]

    for what in ("archived", "restored"):
        world.archive_contact(contact[what])
    world.delete_contact(contact["deleted"])
    world.merge_contacts(survivor, contact["merged"])
    after, held = [], []

    def step(*words: str) -> None:
        assert story.call_json(*words)["ok"]
        after.append(standing(story, who))
        held.append(held_rows(story))

    step("contact-refresh")
    world.restore_contact(contact["restored"])
    step("contact-refresh")
    step("sync", "--full")
    return Vanished(who, contact, survivor, after, held, story)


@pytest.mark.parametrize("what", ["archived", "restored", "deleted"])
def test_a_contact_that_is_gone_leaves_its_mentor_stale_and_held(vanished: Vanished, what: str) -> None:
    mentor = vanished.after[0][what]
    assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("stale", vanished.contact[what])
    assert vanished.held[0][vanished.who[what]] == "stale_contact"


def test_the_reason_is_told(vanished: Vanished) -> None:
    row = vanished.there.table("mn_gb_import_held").filter(mn_id=vanished.who["deleted"]).to_dicts()[0]
    assert str(vanished.contact["deleted"]) in row["detail"]
    warned = vanished.there.table("sync_warnings").filter(type="stale_contact")
    unresolved = set(warned.filter(~pl.col("resolved"))["mn_id"])
    assert {vanished.who["archived"], vanished.who["deleted"]} <= unresolved
    assert vanished.who["restored"] not in unresolved


def test_what_is_known_of_each_contact(vanished: Vanished) -> None:
    known = {row["contact_id"]: row for row in vanished.there.table("raw_gb_full_contacts").to_dicts()}
    archived, restored = (known[vanished.contact[what]] for what in ("archived", "restored"))
    assert archived["archived_at"] is not None
    assert archived["missing_since"] is None
    assert archived["external_id"] is not None  # it goes on reserving it
    assert (restored["archived_at"], restored["missing_since"]) == (None, None)
    for what in ("deleted", "merged"):
        gone = known[vanished.contact[what]]
        assert gone["missing_since"] is not None
        assert gone["external_id"] is None


def test_a_restored_contact_is_back_to_normal(vanished: Vanished) -> None:
    mentor = vanished.after[1]["restored"]
    assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("linked", vanished.contact["restored"])
    assert vanished.who["restored"] not in vanished.held[1]


def test_a_merged_contact_is_followed_to_the_one_that_survived(vanished: Vanished) -> None:
    mentor = vanished.after[0]["merged"]
    assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("linked", vanished.survivor)
    changes = vanished.there.table("mn_changes").filter(mn_id=vanished.who["merged"], change_type="contact_relinked")
    assert changes.select("old_value", "new_value").rows() == [
        (str(vanished.contact["merged"]), str(vanished.survivor))
    ]
    assert vanished.who["merged"] not in vanished.held[0]


@pytest.mark.parametrize(
    "same", [lambda mentor: mentor["gb_match_status"], lambda mentor: mentor["gb_contact_id"]], ids=["status", "id"]
)
def test_a_full_list_changes_none_of_it(vanished: Vanished, same: Callable[[dict[str, Any]], object]) -> None:
    _, refreshed, listed = vanished.after
    assert {what: same(mentor) for what, mentor in listed.items()} == {
        what: same(mentor) for what, mentor in refreshed.items()
    }
    assert {what: listed[what]["gb_match_status"] for what in MENTORS} == {
        "archived": "stale", "restored": "linked", "deleted": "stale", "merged": "linked",
    }  # fmt: skip
