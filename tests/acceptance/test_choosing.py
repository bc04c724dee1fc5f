"""Scenarios 9 to 11 and 13: families on one phone, ids that sit on the wrong contact, and how much decides itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import MentorClass

if TYPE_CHECKING:
    from mentor_pipeline.simulator import MentorTruth
    from tests.acceptance.installation import Installation

PHONE = "+17065550933"


class Claimed(NamedTuple):
    """A mentor whose only match by phone carries another mentor's id."""

    there: Installation
    mentor: str
    owner: str
    contact_id: int


def of_class(there: Installation, kind: MentorClass) -> dict[str, MentorTruth]:
    found = {truth.mn_id: truth for truth in there.world.truth.values() if truth.class_ is kind and truth.mn_id}
    assert found, f"the world has nobody of {kind}"
    return found


def conflicts_of(there: Installation, mn_id: str) -> list[dict[str, Any]]:
    return there.table("sync_conflicts").filter(mn_id=mn_id, status="pending").to_dicts()


def held(there: Installation, mn_id: str) -> str | None:
    return dict(there.table("mn_gb_import_held").select("mn_id", "reason").iter_rows()).get(mn_id)


# -- scenario 9: families --------------------------------------------------------------------------------------------


def test_siblings_on_one_phone_get_each_their_own_contact(synced: Installation) -> None:
    for mn_id, truth in of_class(synced, MentorClass.SIBLINGS).items():
        assert synced.mentor(mn_id)["gb_contact_id"] == truth.contact_id


def test_one_contact_for_two_is_nobodys_until_somebody_says_whose(synced: Installation) -> None:
    errors = synced.table("sync_errors").filter(type="multiple_mentors_one_contact")
    for mn_id in of_class(synced, MentorClass.SHARED_CONTACT):
        mentor = synced.mentor(mn_id)
        assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("shared", None)
        assert held(synced, mn_id) == "shared_contact"
        assert mn_id in set(errors["mn_id"])
        (conflict,) = conflicts_of(synced, mn_id)
        assert json.loads(conflict["option_b"])["value"] == "none"


@pytest.mark.slow
def test_given_to_one_of_two_it_is_theirs_and_the_other_gets_a_contact_of_their_own(story: Installation) -> None:
    first, second = sorted(of_class(story, MentorClass.SHARED_CONTACT))[:2]
    (conflict,) = conflicts_of(story, first)
    contact_id = json.loads(conflict["option_a"])["value"]
    assert story.call("conflicts", "resolve", conflict["id"], "a").exit_code == 0
    assert story.mentor(first)["gb_contact_id"] == contact_id
    other = story.mentor(second)
    assert (other["gb_match_status"], other["gb_contact_id"]) == ("new", None)
    assert (held(story, first), held(story, second)) == (None, None)
    assert conflicts_of(story, second) == []
    refused = story.call("edit", second, "gb_contact_id", str(contact_id))
    assert refused.exit_code == 1
    assert f"it is mentor {first}'s" in " ".join(refused.output.split())


# -- scenario 10: another mentor's id --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def claimed(story: Installation) -> Claimed:
    owner = min(of_class(story, MentorClass.LINKED))
    contact_id = story.mentor(owner)["gb_contact_id"]
    story.world.edit_contact(contact_id, phones=[*story.world.contact(contact_id).phones, PHONE])
    story.world.submit("signup", mn_id="0933", name={"first": "Wren", "last": "Alder"}, phone=PHONE)
    story.sync()
    return Claimed(story, "0933", owner, contact_id)


def test_a_contact_that_carries_another_mentors_id_is_never_claimed(claimed: Claimed) -> None:
    mentor = claimed.there.mentor(claimed.mentor)
    assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("new", None)
    assert claimed.there.mentor(claimed.owner)["gb_contact_id"] == claimed.contact_id
    matches = claimed.there.table("contact_matches").filter(mn_id=claimed.mentor)
    (fate,) = matches.filter(contact_id=claimed.contact_id).to_dicts()
    assert fate["role"] == "rejected"
    assert f"it carries mentor {claimed.owner}'s id" in fate["reason"]


def test_why_tells_that_in_words(claimed: Claimed) -> None:
    told = claimed.there.call("why", claimed.mentor)
    assert told.exit_code == 0
    words = " ".join(told.stdout.split())
    assert str(claimed.contact_id) in words
    assert f"it carries mentor {claimed.owner}'s id" in words


# -- scenario 11: an id on a stranger --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "recommended"),
    [(MentorClass.EXTERNAL_ID_ON_STRANGER, None), (MentorClass.EXTERNAL_ID_LEFT_OVER, "b")],
)
def test_an_id_on_a_stranger_is_a_conflict_and_the_row_waits(
    synced: Installation, kind: MentorClass, recommended: str | None
) -> None:
    for mn_id in of_class(synced, kind):
        (conflict,) = conflicts_of(synced, mn_id)
        stranger = json.loads(conflict["option_a"])["value"]
        assert conflict["conflict_type"] == "external_id_collision"
        assert json.loads(conflict["option_b"])["value"] == f"release {stranger}"
        assert conflict["recommended_option"] == recommended
        assert synced.mentor(mn_id)["gb_contact_id"] != stranger
        assert held(synced, mn_id) == "contact_conflict"


# -- scenario 13: clear cases ----------------------------------------------------------------------------------------


def test_nine_of_ten_mentors_with_several_contacts_are_decided_without_a_person(synced: Installation) -> None:
    several = synced.table("contact_links").filter(pl.col("candidate_count") > 1)
    assert several.height >= 30
    assert several.filter(gb_match_status="linked").height / several.height >= 0.9
