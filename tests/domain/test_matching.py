"""R4: which contact is a mentor's, or why a person must say."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bench.matching import COMPARED, filler
from mentor_pipeline.domain.candidates import CONTACT_COLUMNS
from mentor_pipeline.domain.decisions import LinkDecision
from mentor_pipeline.domain.matching import Matches, choose_contacts
from mentor_pipeline.simulator import MentorClass
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, contact, phone_of, program, signup, together
from tests.domain.generated import NO_LINKS, PREVIOUS, PROGRAM, previous_of, tables_of_world

if TYPE_CHECKING:
    from collections.abc import Mapping

PHONE = phone_of(1)
PERSONAL, SCHOOL = "ada@example.com", "ada@uga.edu"
ADA = {"first_name": "Ada", "last_name": "Elm"}
MENTOR = signup("0001", phone=PHONE, personal_email=PERSONAL, uga_email=SCHOOL, **ADA)
TAG = PROGRAM.givebutter.mentor_tag
PAGES = {"mn_id": pl.String, "email": pl.String, "phone": pl.String, "first_name": pl.String, "last_name": pl.String}


def days_ago(days: float) -> Any:
    return NOW - timedelta(days=days)


def theirs(contact_id: int, **changes: Any) -> pl.DataFrame:
    """A contact of the mentor's phone and name; its own address, modified today."""
    return contact(contact_id, **{"primary_phone": PHONE, "last_modified_at": NOW, **ADA, **changes})


def carrier(contact_id: int, mn_id: str = "0001", **changes: Any) -> pl.DataFrame:
    """A contact that carries a mentor's id."""
    return contact(contact_id, **{"external_id": mn_id, "external_mn_id": mn_id.lstrip("0"), **changes})


def before(**contact_of: int) -> pl.DataFrame:
    """Links of an earlier run: `before(mn_0001=7)`."""
    rows = [
        (name.removeprefix("mn_"), contact_id, "phone", None, None, None) for name, contact_id in contact_of.items()
    ]
    return pl.DataFrame(rows, schema=PREVIOUS, orient="row")


def decided(**values: Any) -> LinkDecision:
    return LinkDecision(**{"at": NOW, "actor": "pat", **values})


def choose(
    *contacts: pl.DataFrame,
    mentors: pl.DataFrame = MENTOR,
    previous: pl.DataFrame = NO_LINKS,
    pages: list[dict[str, str]] | None = None,
    decisions: Mapping[str, LinkDecision] | None = None,
    **year: Any,
) -> Matches:
    known = together(TABLES["raw_gb_full_contacts"].empty(), *contacts).select(CONTACT_COLUMNS)
    return choose_contacts(
        mentors,
        previous,
        known,
        pl.DataFrame(pages or [], schema=PAGES),
        decisions or {},
        program(**year) if year else PROGRAM,
        NOW,
    )


def links(found: Matches) -> dict[str, tuple[str, int | None, str | None]]:
    """Mentor -> status, contact, method."""
    return {
        row["mn_id"]: (row["gb_match_status"], row["gb_contact_id"], row["gb_match_method"])
        for row in found.links.to_dicts()
    }


def link(found: Matches) -> tuple[str, int | None, str | None]:
    """The only mentor's."""
    ((status, contact_id, method),) = links(found).values()
    return status, contact_id, method


def roles(found: Matches) -> dict[int, str]:
    return dict(found.matches.rows.select("contact_id", "role").iter_rows())


def reasons(found: Matches) -> dict[int, str]:
    return dict(found.matches.rows.select("contact_id", "reason").iter_rows())


def problems(found: Matches) -> list[tuple[str, str | None]]:
    assert found.matches.problems is not None
    return sorted(found.matches.problems.select("type", "mn_id").rows())


def conflicts(found: Matches) -> list[dict[str, Any]]:
    assert found.matches.conflicts is not None
    rows = found.matches.conflicts.sort("mn_id", "conflict_type").to_dicts()
    return [{**row, **{key: orjson.loads(row[key]) for key in ("option_a", "option_b", "context")}} for row in rows]


def options(found: Matches) -> list[tuple[str, Any, Any, str | None]]:
    """Type, options and recommendation of each conflict."""
    return [
        (one["conflict_type"], one["option_a"]["value"], one["option_b"]["value"], one["recommended_option"])
        for one in conflicts(found)
    ]


# -- R4.1 external id --------------------------------------------------------------------------------------------------


def test_the_one_contact_that_carries_the_id_wins_over_any_score():
    found = choose(
        carrier(7, last_modified_at=days_ago(900), **ADA), theirs(8, primary_email=PERSONAL, tags=[TAG, "Dropped 25"])
    )
    assert link(found) == ("linked", 7, "external_id")
    assert roles(found) == {7: "winner", 8: "loser"}


def test_it_wins_as_a_mass_mail_contact_and_without_a_name():
    bare = {"primary_phone": None, "first_name": None, "last_name": None}
    assert link(choose(carrier(7, primary_email="x@uga.edu", **bare))) == ("linked", 7, "external_id")


def test_it_wins_under_another_name_when_an_identifier_agrees():
    assert link(choose(carrier(7, primary_phone=PHONE))) == ("linked", 7, "external_id")


def test_several_carriers_are_a_conflict_between_the_two_best():
    found = choose(carrier(7, **ADA), carrier(8, tags=[TAG], **ADA), carrier(9, last_modified_at=NOW, **ADA))
    assert link(found) == ("conflict", None, None)
    assert options(found) == [("external_id_collision", 8, 9, "a")]
    assert set(roles(found).values()) == {"rejected"}


def test_of_several_carriers_a_stranger_comes_last_and_is_never_recommended():
    found = choose(carrier(7, **ADA), carrier(8, tags=[TAG]))
    assert options(found) == [("external_id_collision", 7, 8, "a")]
    two_strangers = choose(carrier(7), carrier(8, tags=[TAG]))
    assert options(two_strangers) == [("external_id_collision", 8, 7, None)]


def test_several_carriers_leave_the_link_as_it_was():
    found = choose(carrier(7, **ADA), carrier(8, **ADA), theirs(9), previous=before(mn_0001=9))
    assert link(found) == ("conflict", 9, None)


def test_an_archived_carrier_does_not_count():
    found = choose(carrier(7, **ADA), carrier(8, archived_at=NOW, **ADA))
    assert link(found) == ("linked", 7, "external_id")


def test_the_id_on_a_stranger_is_a_conflict_and_the_mentors_own_contact_is_chosen_meanwhile():
    found = choose(carrier(7, tags=[TAG]), theirs(8))
    assert link(found) == ("conflict", 8, "phone")
    assert options(found) == [("external_id_collision", 7, "release 7", None)]
    assert roles(found) == {7: "rejected", 8: "winner"}
    assert conflicts(found)[0]["context"]["own_contact_id"] == 8


def test_without_a_contact_of_their_own_the_link_is_left_as_it_was_while_the_id_is_on_a_stranger():
    assert link(choose(carrier(7), previous=before(mn_0001=7))) == ("conflict", 7, None)
    assert link(choose(carrier(7), theirs(8), previous=before(mn_0001=7))) == ("conflict", 8, "phone")


@pytest.mark.parametrize(("tags", "recommended"), [([], "b"), (["Mentors 2024"], "b"), ([TAG.upper()], None)])
def test_an_id_left_over_from_an_earlier_year_is_to_be_released(tags: list[str], recommended: str | None):
    found = choose(carrier(7, tags=tags))
    assert link(found) == ("conflict", None, None)
    assert options(found) == [("external_id_collision", 7, "release 7", recommended)]


def test_a_generic_phone_does_not_make_a_stranger_the_mentor():
    family = [contact(20 + n, primary_phone=PHONE, first_name=f"P{'abcd'[n]}", last_name="Oak") for n in range(4)]
    found = choose(carrier(7, primary_phone=PHONE), *family)
    assert link(found)[0] == "conflict"


def test_what_a_person_needs_to_choose_is_in_the_options():
    found = choose(carrier(7, **ADA), carrier(8, tags=[TAG], **ADA), pages=[{"mn_id": "0001", "email": PERSONAL}])
    option = conflicts(found)[0]["option_a"]
    assert set(option) == {
        *("value", "source", "name", "preferred_name", "external_id", "emails", "phones", "tags"),
        *("last_modified_at", "completeness", "score", "score_parts", "is_member", "matched_on"),
    }
    assert (option["name"], option["tags"], option["external_id"]) == ("Ada Elm", [TAG], "0001")
    assert "campaign tag" in conflicts(found)[0]["recommendation_reason"]


# -- R4.2 evidence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "method"),
    [
        ({"primary_phone": PHONE}, "phone"),
        ({"additional_phones": [PHONE]}, "phone"),
        ({"primary_email": PERSONAL}, "email"),
        ({"additional_emails": [SCHOOL]}, "email"),
        ({"primary_phone": PHONE, "primary_email": SCHOOL}, "email"),
    ],
)
def test_one_identifier_and_the_name_link(has: dict[str, Any], method: str):
    assert link(choose(contact(7, **ADA, **has))) == ("linked", 7, method)


def test_without_enough_evidence_a_candidate_is_rejected_and_becomes_a_suggestion():
    found = choose(theirs(7, first_name="Ben"))
    assert link(found) == ("new", None, None)
    assert found.links["reason"].to_list() == ["the one candidate cannot be theirs"]
    assert roles(found) == {7: "rejected"}
    assert "not enough evidence: phone in common, the names contradict" in reasons(found)[7]
    assert problems(found) == [("low_confidence", "0001")]


def test_two_identifiers_and_contradicting_names_do_not_link():
    assert link(choose(theirs(7, first_name="Ben", primary_email=PERSONAL)))[0] == "new"


def test_a_generic_identifier_links_nobody():
    others = [contact(20 + n, primary_phone=PHONE, first_name=f"P{'abcd'[n]}", last_name="Oak") for n in range(4)]
    found = choose(theirs(7), *others)
    assert link(found)[0] == "new"
    assert problems(found) == [("generic_identifier", None), ("low_confidence", "0001")]


def test_another_current_mentors_external_id_is_never_claimed():
    both = together(MENTOR, signup("0002", first_name="Bob", last_name="Fir"))
    found = choose(theirs(7, external_id="2", external_mn_id="2", primary_email=PERSONAL), mentors=both)
    assert links(found)["0001"] == ("new", None, None)
    assert "it carries mentor 0002's id" in found.matches.rows.filter(mn_id="0001")["reason"][0]


def test_a_withdrawn_mentors_id_is_still_theirs():
    both = together(MENTOR, signup("0002", withdrawn=True, **ADA))
    found = choose(theirs(7, external_id="2", external_mn_id="2"), mentors=both)
    assert links(found)["0001"][0] == "new"


def test_a_mass_mail_contact_never_wins():
    found = choose(contact(7, primary_email=SCHOOL, primary_phone=None, **ADA))
    assert link(found) == ("new", None, None)
    assert roles(found) == {7: "rejected"}
    assert "mass-mail" in reasons(found)[7]
    assert problems(found) == []


def test_a_mass_mail_contact_of_a_mentor_who_has_another_is_a_loser():
    found = choose(contact(7, primary_email=SCHOOL, primary_phone=None, tags=[TAG], **ADA), theirs(8))
    assert link(found) == ("linked", 8, "phone")
    assert roles(found) == {7: "loser", 8: "winner"}


def test_a_returning_mentors_contact_with_an_old_external_id_wins_with_a_warning():
    found = choose(theirs(7, external_id="8811", external_mn_id="8811"))
    assert link(found) == ("linked", 7, "phone")
    assert problems(found) == [("external_id_mismatch", "0001")]


def test_an_old_placeholder_as_external_id_is_no_mentors():
    both = together(MENTOR, signup("999001", is_placeholder=True, **ADA))
    assert links(choose(theirs(7, external_id="999001", external_mn_id="999001"), mentors=both))["0001"][1] == 7


# -- R4.3 and R4.4 score and conflict ----------------------------------------------------------------------------------


def test_three_contacts_on_one_phone_the_current_member_wins_and_the_others_lose():
    member = theirs(7, primary_email=PERSONAL, additional_emails=[SCHOOL], tags=[TAG])
    last_year = theirs(8, tags=["Mentors 2024"], last_modified_at=days_ago(330))
    mass_mail = contact(9, primary_email=SCHOOL, primary_phone=None, **ADA)
    found = choose(member, last_year, mass_mail, pages=[{"mn_id": "0001", "email": PERSONAL, **ADA}])
    assert link(found) == ("linked", 7, "email")
    assert roles(found) == {7: "winner", 8: "loser", 9: "loser"}


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        ({"tags": [TAG]}, {}, True),
        ({"last_modified_at": days_ago(0)}, {"last_modified_at": days_ago(91)}, True),
        ({"last_modified_at": days_ago(0)}, {"last_modified_at": days_ago(90)}, False),
        ({"last_modified_at": days_ago(200)}, {"last_modified_at": days_ago(292)}, True),
        ({"last_modified_at": None}, {}, False),
        ({"additional_emails": ["x@example.com"], "address_line_1": "1 Elm St"}, {}, True),
        ({"address_line_1": "1 Elm St"}, {}, False),
        ({}, {}, False),
    ],
)
def test_the_first_wins_by_score_freshness_or_completeness_else_a_person_must_choose(
    first: dict[str, Any], second: dict[str, Any], wins: bool
):
    found = choose(theirs(7, **second), theirs(8, **first))
    assert link(found) == (("linked", 8, "phone") if wins else ("conflict", None, None))
    assert roles(found) == ({7: "loser", 8: "winner"} if wins else {7: "rejected", 8: "rejected"})
    assert len(conflicts(found)) == (not wins)


def test_fresher_or_fuller_does_not_help_who_scores_less():
    fresh = theirs(7, last_modified_at=NOW)
    tagged = theirs(8, tags=[TAG], last_modified_at=days_ago(400))
    assert link(choose(fresh, tagged)) == ("linked", 8, "phone")
    close = {**PROGRAM.matching.model_dump(), "auto_resolve_gap": 900}
    found = choose(fresh, tagged, matching=close)
    assert options(found) == [("contact_selection", 8, 7, "a")]


def test_the_gap_is_the_years():
    one = theirs(8, address_line_1="1 Elm St")
    assert link(choose(theirs(7), one))[0] == "conflict"
    close = {**PROGRAM.matching.model_dump(), "auto_resolve_gap": 19}
    assert link(choose(theirs(7), one, matching=close)) == ("linked", 8, "phone")


def test_of_equals_the_higher_contact_id_comes_first_and_is_recommended():
    found = choose(theirs(7), theirs(9), theirs(8))
    assert options(found) == [("contact_selection", 9, 8, "a")]


def test_a_conflict_is_the_same_when_its_contacts_have_aged():
    young = choose(theirs(7), theirs(8))
    old = choose(theirs(7, last_modified_at=days_ago(30)), theirs(8, last_modified_at=days_ago(31)))
    assert [one["option_a"]["value"] for one in (*conflicts(young), *conflicts(old))] == [8, 7]
    assert conflicts(young)[0]["id"] == conflicts(old)[0]["id"]


def test_a_hundred_close_calls_are_a_hundred_conflicts():
    people = [signup(f"{n:04}", phone=phone_of(n), first_name="Ada", last_name="Elm") for n in range(1, 101)]
    same = [theirs(1000 * k + n, primary_phone=phone_of(n)) for n in range(1, 101) for k in (1, 2)]
    found = choose(*same, mentors=together(*people))
    assert len(conflicts(found)) == 100
    assert {status for status, *_ in links(found).values()} == {"conflict"}


# -- R4.5 no contact, or one that is gone ------------------------------------------------------------------------------


def test_nobody_matches():
    assert link(choose(contact(7))) == ("new", None, None)
    assert link(choose()) == ("new", None, None)


GONE = [{"archived_at": NOW}, {"missing_since": NOW}]


@pytest.mark.parametrize("gone", GONE)
def test_a_contact_that_is_gone_is_kept_as_stale(gone: dict[str, Any]):
    found = choose(theirs(7, **gone), theirs(8, first_name="Ben"), previous=before(mn_0001=7))
    assert link(found) == ("stale", 7, None)
    assert problems(found) == [("stale_contact", "0001")]


def test_a_contact_that_nobody_ever_saw_again_is_stale():
    assert link(choose(previous=before(mn_0001=7))) == ("stale", 7, None)


def test_it_comes_back():
    assert link(choose(theirs(7), previous=before(mn_0001=7))) == ("linked", 7, "phone")


def test_another_candidate_takes_its_place():
    found = choose(theirs(7, archived_at=NOW), theirs(8), previous=before(mn_0001=7))
    assert link(found) == ("linked", 8, "phone")


def test_a_person_gives_it_up():
    gone = theirs(7, archived_at=NOW, first_seen_at=days_ago(9))
    found = choose(gone, previous=before(mn_0001=7), decisions={"0001": decided(no_contact=True)})
    assert link(found) == ("new", None, None)
    unknown = choose(previous=before(mn_0001=7), decisions={"0001": decided(no_contact=True)})
    assert link(unknown) == ("new", None, None)


def test_having_given_up_another_contact_before_does_not_give_up_a_later_one():
    later = carrier(7, archived_at=NOW, first_seen_at=NOW)
    found = choose(later, previous=before(mn_0001=7), decisions={"0001": decided(no_contact=True, at=days_ago(9))})
    assert link(found) == ("stale", 7, None)


# -- R4.6 one contact, one mentor --------------------------------------------------------------------------------------

BEN = signup("0002", phone=PHONE, personal_email="ben@example.com", first_name="Ben", last_name="Elm")


def test_siblings_on_one_phone_get_each_their_own():
    found = choose(theirs(7), theirs(8, first_name="Ben"), mentors=together(MENTOR, BEN))
    assert links(found) == {"0001": ("linked", 7, "phone"), "0002": ("linked", 8, "phone")}
    assert problems(found) == []


def test_siblings_whose_names_both_fit_get_the_contact_that_bears_theirs():
    john = signup("0001", phone=PHONE, first_name="John", last_name="Elm")
    jon = signup("0002", phone=PHONE, first_name="Jon", last_name="Elm")
    found = choose(theirs(7, first_name="Jon"), theirs(8, first_name="John"), mentors=together(john, jon))
    assert links(found) == {"0001": ("linked", 8, "phone"), "0002": ("linked", 7, "phone")}
    assert set(found.matches.rows.group_by("mn_id").agg("role")["role"].list.sort().to_list()[0]) == {
        "rejected",
        "winner",
    }


def family_contact(**changes: Any) -> pl.DataFrame:
    """One contact for two siblings: no first name, the phone and an address that both gave."""
    return theirs(7, **{"first_name": None, "primary_email": "family@example.com", **changes})


def siblings(**older: Any) -> pl.DataFrame:
    shared = {"phone": PHONE, "personal_email": "family@example.com", "last_name": "Elm"}
    return together(
        signup("0001", **{**shared, "first_name": "Ada", **older}), signup("0002", **shared, first_name="Ben")
    )


def test_one_contact_for_two_is_nobodys():
    found = choose(family_contact(), mentors=siblings())
    assert links(found) == {"0001": ("shared", None, None), "0002": ("shared", None, None)}
    assert problems(found) == [("multiple_mentors_one_contact", "0001"), ("multiple_mentors_one_contact", "0002")]
    assert options(found) == [("contact_selection", 7, "none", None)] * 2
    assert len({one["id"] for one in conflicts(found)}) == 2
    assert roles(found) == {7: "rejected"}


def test_an_email_beats_a_phone_and_the_loser_takes_the_next():
    by_email = signup("0001", phone=PHONE, personal_email=PERSONAL, first_name="Liz", last_name="Elm")
    by_phone = signup("0002", phone=PHONE, personal_email="x@example.com", first_name="Elizabeth", last_name="Elm")
    contacts = (
        contact(7, primary_phone=PHONE, primary_email=PERSONAL, first_name="Elizabeth", last_name="Elm", tags=[TAG]),
        contact(8, primary_email="x@example.com", first_name="Elizabeth", last_name="Elm"),
    )
    found = choose(*contacts, mentors=together(by_email, by_phone))
    assert links(found) == {"0001": ("linked", 7, "email"), "0002": ("linked", 8, "email")}
    reason = found.matches.rows.filter(mn_id="0002", contact_id=7)["reason"][0]
    assert "0001" in reason


def test_a_generic_email_does_not_beat_a_phone():
    shared = "office@example.com"
    one = signup("0001", phone=PHONE, personal_email=shared, **ADA)
    two = signup("0002", phone=PHONE, personal_email="x@example.com", **ADA)
    crowd = [contact(20 + n, primary_email=shared, first_name=f"P{'abcd'[n]}", last_name="Oak") for n in range(4)]
    found = choose(theirs(7, primary_email=shared), *crowd, mentors=together(one, two))
    assert {status for status, *_ in links(found).values()} == {"shared"}


def test_external_ids_are_settled_before_anything_else():
    ada = signup("0002", phone=PHONE, personal_email=PERSONAL, **ADA)
    found = choose(carrier(7, "0002", primary_email=PERSONAL, **ADA), mentors=together(MENTOR, ada))
    assert links(found) == {"0001": ("new", None, None), "0002": ("linked", 7, "external_id")}
    assert problems(found) == []


def test_a_third_who_is_stronger_ends_the_tie():
    owner = signup("0003", phone=PHONE, personal_email="family@example.com", first_name="Cleo", last_name="Elm")
    found = choose(family_contact(), mentors=together(siblings(), owner), previous=before(mn_0003=7))
    assert links(found) == {
        "0001": ("new", None, None),
        "0002": ("new", None, None),
        "0003": ("linked", 7, "phone"),
    }


def test_who_must_still_choose_between_two_shares_the_one_that_another_wants():
    undecided = signup("0001", phone=PHONE, personal_email=PERSONAL, **ADA)
    other = signup("0002", phone=phone_of(2), personal_email="x@example.com", **ADA)
    both_phones = theirs(7, additional_phones=[phone_of(2)])
    found = choose(both_phones, theirs(8), mentors=together(undecided, other))
    assert links(found) == {"0001": ("conflict", None, None), "0002": ("shared", None, None)}


def test_an_id_kept_from_before_goes_when_another_wins_that_contact():
    mentors = together(MENTOR, signup("0002", phone=phone_of(2), first_name="Bob", last_name="Fir"))
    bobs = contact(9, primary_phone=phone_of(2), first_name="Bob", last_name="Fir")
    found = choose(carrier(7, **ADA), carrier(8, **ADA), bobs, mentors=mentors, previous=before(mn_0001=9))
    assert links(found) == {"0001": ("conflict", None, None), "0002": ("linked", 9, "phone")}


# -- R4.7 links do not flip --------------------------------------------------------------------------------------------


def test_a_link_stays_when_another_scores_more():
    found = choose(theirs(7), theirs(8, tags=[TAG], primary_email=PERSONAL), previous=before(mn_0001=7))
    assert link(found) == ("linked", 7, "phone")
    assert roles(found) == {7: "winner", 8: "loser"}
    assert conflicts(found) == []


def test_an_external_id_ends_a_link():
    found = choose(theirs(7), carrier(8, **ADA), previous=before(mn_0001=7))
    assert link(found) == ("linked", 8, "external_id")


def test_a_link_beats_anothers_email():
    emailer = signup("0002", phone=phone_of(2), personal_email=PERSONAL, **ADA)
    mine = signup("0001", phone=PHONE, personal_email="x@example.com", **ADA)
    found = choose(theirs(7, primary_email=PERSONAL), mentors=together(mine, emailer), previous=before(mn_0001=7))
    assert links(found) == {"0001": ("linked", 7, "phone"), "0002": ("new", None, None)}


def test_a_link_stays_when_phone_and_email_were_changed_on_the_sign_up():
    found = choose(contact(7, **ADA), theirs(8), previous=before(mn_0001=7))
    assert link(found) == ("linked", 7, "kept")
    assert roles(found) == {7: "winner", 8: "loser"}


def test_a_link_to_a_contact_that_bears_another_name_by_now_ends():
    found = choose(contact(7, first_name="Ben", last_name="Oak"), previous=before(mn_0001=7))
    assert link(found) == ("new", None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "2", "external_mn_id": "2"},
        {"primary_phone": None, "primary_email": SCHOOL},
    ],
)
def test_a_link_ends_with_what_can_never_win(changes: dict[str, Any]):
    both = together(MENTOR, signup("0002", first_name="Bob", last_name="Fir"))
    found = choose(theirs(7, **changes), mentors=both, previous=before(mn_0001=7))
    assert links(found)["0001"] == ("new", None, None)


def test_a_contact_that_was_linked_before_is_no_loser_without_evidence():
    found = choose(contact(7, **ADA), carrier(8, **ADA), previous=before(mn_0001=7))
    assert roles(found) == {7: "rejected", 8: "winner"}


# -- people's decisions ------------------------------------------------------------------------------------------------


def test_a_decision_beats_an_external_id():
    found = choose(carrier(7, **ADA), theirs(8), decisions={"0001": decided(contact_id=8)})
    assert link(found) == ("linked", 8, "decision")


def test_a_decision_links_a_contact_that_no_rule_would_find():
    found = choose(contact(7, first_name="Ben"), decisions={"0001": decided(contact_id=7)})
    assert link(found) == ("linked", 7, "decision")
    assert roles(found) == {7: "winner"}


@pytest.mark.parametrize("gone", GONE)
def test_a_decided_contact_that_is_gone_is_stale(gone: dict[str, Any]):
    found = choose(theirs(7, **gone), previous=before(mn_0001=7), decisions={"0001": decided(contact_id=7)})
    assert link(found) == ("stale", 7, None)


def test_a_decided_conflict_makes_the_other_a_loser_and_does_not_come_back():
    found = choose(theirs(7), theirs(8), decisions={"0001": decided(contact_id=7)})
    assert roles(found) == {7: "winner", 8: "loser"}
    assert conflicts(found) == []


def test_none_of_these_holds_for_the_contacts_known_then():
    decisions = {"0001": decided(no_contact=True, at=days_ago(5))}
    known, later = {"first_seen_at": days_ago(9)}, {"first_seen_at": days_ago(1)}
    assert link(choose(theirs(7, **known), decisions=decisions)) == ("new", None, None)
    assert link(choose(carrier(7, **known, **ADA), decisions=decisions)) == ("new", None, None)
    assert link(choose(theirs(7, **later), decisions=decisions)) == ("new", None, None)
    assert link(choose(carrier(7, **later, **ADA), decisions=decisions)) == ("linked", 7, "external_id")
    assert problems(choose(theirs(7, **known), decisions=decisions)) == []


def test_a_released_contact_is_not_the_mentors_and_raises_no_conflict():
    found = choose(carrier(7), theirs(8), decisions={"0001": decided(released=frozenset({7}))})
    assert link(found) == ("linked", 8, "phone")
    assert conflicts(found) == []


def test_of_two_decisions_for_one_contact_the_newer_counts():
    mentors = together(MENTOR, BEN)
    decisions = {"0001": decided(contact_id=7, at=days_ago(1)), "0002": decided(contact_id=7)}
    found = choose(theirs(7), theirs(8), mentors=mentors, decisions=decisions)
    assert links(found) == {"0001": ("linked", 8, "phone"), "0002": ("linked", 7, "decision")}


def test_a_decision_takes_the_contact_from_who_has_its_external_id():
    found = choose(
        carrier(7, "0002", first_name="Ben", last_name="Elm"),
        mentors=together(MENTOR, BEN),
        decisions={"0001": decided(contact_id=7)},
    )
    assert links(found) == {"0001": ("linked", 7, "decision"), "0002": ("new", None, None)}


def test_a_decision_for_a_contact_of_anothers_id_says_so():
    found = choose(
        carrier(7, "0002", primary_phone=PHONE, **ADA), mentors=together(MENTOR, BEN),
        decisions={"0001": decided(contact_id=7)},
    )  # fmt: skip
    assert problems(found) == [("external_id_mismatch", "0001")]
    assert found.matches.problems is not None
    assert "mentor 0002's" in found.matches.problems["message"][0]


def test_shared_decided_for_one_leaves_the_other_without():
    found = choose(family_contact(), mentors=siblings(), decisions={"0001": decided(contact_id=7)})
    assert links(found) == {"0001": ("linked", 7, "decision"), "0002": ("new", None, None)}


# -- R4.8 every candidate's fate ---------------------------------------------------------------------------------------


def test_every_candidate_has_a_role_a_reason_and_its_score_in_parts():
    found = choose(theirs(7, tags=[TAG]), theirs(8), contact(9, primary_phone=PHONE))
    rows = {row["contact_id"]: row for row in found.matches.rows.iter_rows(named=True)}
    assert {contact_id: row["role"] for contact_id, row in rows.items()} == {7: "winner", 8: "loser", 9: "rejected"}
    assert all(row["reason"] for row in rows.values())
    for row in rows.values():
        assert row["score"] == sum(orjson.loads(row["score_parts"]).values())
    assert "leads contact 8 by 500 points" in rows[7]["reason"]
    assert found.links["candidate_count"].to_list() == [3]


# -- R4.9 suggestions --------------------------------------------------------------------------------------------------


def test_a_contact_of_the_same_name_is_suggested_and_never_linked():
    near = contact(7, primary_email="aad@example.com", primary_phone=None, **ADA)
    found = choose(near)
    assert link(found) == ("new", None, None)
    assert problems(found) == [("low_confidence", "0001")]
    assert found.matches.problems is not None
    assert "edit 0001 gb_contact_id 7" in found.matches.problems["message"][0]


def test_nobody_elses_contact_is_suggested():
    namesake = signup("0002", phone=phone_of(2), personal_email="x@example.com", **ADA)
    taken = contact(7, primary_phone=phone_of(2), **ADA)
    anothers = contact(8, external_id="0003", external_mn_id="3", **ADA)
    gone = contact(9, archived_at=NOW, **ADA)
    mentors = together(MENTOR, namesake, signup("0003", first_name="Cora", last_name="Fir"))
    found = choose(taken, anothers, gone, mentors=mentors)
    assert links(found)["0002"] == ("linked", 7, "phone")
    assert problems(found) == []


def test_a_siblings_contact_on_the_family_phone_is_not_suggested():
    found = choose(theirs(8, first_name="Ben"), mentors=together(MENTOR, BEN))
    assert links(found) == {"0001": ("new", None, None), "0002": ("linked", 8, "phone")}
    assert problems(found) == []


def test_who_a_person_ruled_out_is_not_suggested_again():
    decisions = {"0001": decided(no_contact=True)}
    found = choose(contact(7, first_seen_at=days_ago(3), **ADA), decisions=decisions)
    assert problems(found) == []


# -- properties, and a whole year --------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["Ada", "A.", "Ben", None])
_PHONES = st.sampled_from([None, PHONE, phone_of(2)])
_EMAILS = st.sampled_from([None, PERSONAL, "family@example.com", SCHOOL])
MENTORS = st.fixed_dictionaries(
    {"first_name": st.sampled_from(["Ada", "Ben", "Adam"]), "phone": _PHONES, "personal_email": _EMAILS}
)
CONTACTS = st.fixed_dictionaries(
    {
        "first_name": _NAMES,
        "primary_phone": _PHONES,
        "primary_email": _EMAILS,
        "external_mn_id": st.sampled_from([None, None, "1", "2", "77"]),
        "tags": st.sampled_from([[], [TAG]]),
        "last_modified_at": st.sampled_from([NOW, days_ago(100), None]),
        "archived_at": st.sampled_from([None, None, None, NOW]),
    }
)
EARLIER = st.dictionaries(st.sampled_from(["0001", "0002", "0003"]), st.integers(1, 6), max_size=3).filter(
    lambda links: len(set(links.values())) == len(links)
)
DECIDED = st.dictionaries(
    st.sampled_from(["0001", "0002"]),
    st.one_of(
        st.builds(decided, contact_id=st.integers(1, 4), at=st.sampled_from([NOW, days_ago(2)])),
        st.just(decided(no_contact=True)),
        st.builds(decided, released=st.sets(st.integers(1, 4), max_size=2).map(frozenset)),
    ),
    max_size=2,
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(MENTORS, min_size=1, max_size=3),
    st.lists(CONTACTS, max_size=6),
    EARLIER,
    DECIDED,
    st.randoms(use_true_random=False),
)
def test_no_contact_has_two_mentors_and_neither_order_nor_repetition_changes_anything(
    mentors, contacts, earlier, decisions, random
):
    people = [
        signup(f"{n:04}", last_name="Elm", uga_email=SCHOOL if n == 1 else None, **one)
        for n, one in enumerate(mentors, 1)
    ]
    known = [contact(n, last_name="Elm", external_id=one["external_mn_id"], **one) for n, one in enumerate(contacts, 1)]
    previous = pl.DataFrame(
        [
            {"mn_id": mn_id, "gb_contact_id": contact_id, "gb_match_method": "phone"}
            for mn_id, contact_id in earlier.items()
        ],
        schema=PREVIOUS,
    )
    found = choose(*known, mentors=together(*people), previous=previous, decisions=decisions)

    had = found.links["gb_contact_id"].drop_nulls()
    assert had.is_unique().all()
    winners = found.matches.rows.filter(role="winner")
    linked = found.links.filter(pl.col("gb_match_method").is_not_null())
    assert winners.select("mn_id", "contact_id").sort("mn_id").rows() == linked.select("mn_id", "gb_contact_id").rows()
    assert not set(winners["contact_id"]) & set(found.matches.rows.filter(role="loser")["contact_id"])
    assert set(found.links["mn_id"]) == {f"{n:04}" for n in range(1, len(mentors) + 1)}

    random.shuffle(people)
    random.shuffle(known)
    shuffled = choose(*known, mentors=together(*people), previous=previous.reverse(), decisions=decisions)
    assert_frame_equal(shuffled.links, found.links)
    assert_frame_equal(shuffled.matches.rows, found.matches.rows)
    assert_frame_equal(shuffled.matches.problems, found.matches.problems, check_row_order=False)
    assert_frame_equal(shuffled.matches.conflicts, found.matches.conflicts, check_row_order=False)

    recorded = previous_of(together(*people), found.links)
    again = choose(*known, mentors=together(*people), previous=recorded, decisions=decisions)
    assert links(again) == links(found)
    assert [one["id"] for one in conflicts(again)] == [one["id"] for one in conflicts(found)]


def test_a_generated_year_comes_out_as_its_truth_says():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    forms = tables.links(signups).rows
    found = tables.matches(signups, forms)
    rows = {row["mn_id"]: row for row in found.links.iter_rows(named=True)}
    contact_conflicts = {(one["mn_id"], one["conflict_type"]) for one in conflicts(found)}
    losers = found.matches.rows.filter(role="loser")
    for mn_id, truth in tables.truths(signups).items():
        row = rows[mn_id]
        assert row["gb_contact_id"] == truth.contact_id, (truth, row)
        if truth.conflict in {"contact_selection", "external_id_collision"}:
            assert (mn_id, truth.conflict) in contact_conflicts
        else:
            assert mn_id not in {one for one, _ in contact_conflicts}
            assert row["gb_match_status"] == ("linked" if truth.contact_id else "new")
        held = {"contact_conflict": "conflict", "shared_contact": "shared"}.get(truth.hold or "")
        assert row["gb_match_status"] == (held or row["gb_match_status"])
        assert set(truth.archivable) <= set(losers.filter(mn_id=mn_id)["contact_id"]) or not row["gb_match_method"]
    near = {mn_id for mn_id, truth in tables.truths(signups).items() if truth.class_ is MentorClass.NEAR_MISS}
    assert near <= {mn_id for kind, mn_id in problems(found) if kind == "low_confidence"}

    several = found.links.filter(pl.col("candidate_count") > 1)
    undecided = several.filter(pl.col("gb_match_method").is_null() & (pl.col("gb_match_status") != "new"))
    assert undecided.height < several.height * 0.1

    again = tables.matches(signups, forms, previous_of(signups, found.links))
    unchanged = ("mn_id", "gb_contact_id", "gb_match_status", "gb_match_method")
    assert_frame_equal(again.links.select(unchanged), found.links.select(unchanged))
    assert [one["id"] for one in conflicts(again)] == [one["id"] for one in conflicts(found)]


def test_contacts_that_share_nothing_with_a_mentor_change_nothing():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    pages = tables.pages(tables.links(signups).rows)
    known = tables.contacts.select(CONTACT_COLUMNS)
    crowd = pl.concat([filler(known, 20_000), known])

    def found(contacts: pl.DataFrame, previous: pl.DataFrame, decisions: Mapping[str, LinkDecision]) -> Matches:
        return choose_contacts(signups, previous, contacts, pages, decisions, PROGRAM, NOW)

    first = found(known, NO_LINKS, {})
    recorded = previous_of(signups, first.links)
    linked = recorded.drop_nulls("gb_contact_id").select("mn_id", "gb_contact_id").rows()
    decisions = {
        **{mn_id: decided(contact_id=contact_id) for mn_id, contact_id in linked[:20]},
        **{mn_id: decided(no_contact=True) for mn_id, _ in linked[20:40]},
    }
    for previous, theirs_decided in ((NO_LINKS, {}), (recorded, {}), (recorded, decisions)):
        alone, among_many = (found(contacts, previous, theirs_decided) for contacts in (known, crowd))
        assert_frame_equal(among_many.links, alone.links)
        assert_frame_equal(among_many.matches.rows, alone.matches.rows)
        assert_frame_equal(among_many.matches.conflicts, alone.matches.conflicts)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_contacts_take_five_seconds_and_two_gigabytes():
    done = subprocess.run([sys.executable, "-m", "bench.matching", "--json"], stdout=subprocess.PIPE, check=False)
    measured = orjson.loads(done.stdout)
    assert measured["mentors_with_another_result"] == dict.fromkeys(COMPARED, 0)
    for row in measured["measured"]:
        assert row["seconds"] <= 5, row
        assert row["peak_mb"] <= 2048, row
    assert max(row["contacts"] for row in measured["measured"]) == 1_000_000
