"""R4.2 and R4.3: who is a candidate, what the evidence is worth, and the score."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.candidates import CONTACT_COLUMNS, MOST_SHOWN, SCORE_PARTS, find_candidates
from mentor_pipeline.simulator import MentorClass
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, contact, phone_of, program, signup, together
from tests.domain.generated import NO_LINKS, PREVIOUS, PROGRAM, previous_of, tables_of_world

if TYPE_CHECKING:
    from mentor_pipeline.domain.findings import Problem

PHONE, OTHER_PHONE = phone_of(1), phone_of(2)
PERSONAL, SCHOOL = "ada@example.com", "ada@uga.edu"
ADA = {"first_name": "Ada", "last_name": "Elm"}
MENTOR = signup("0001", phone=PHONE, personal_email=PERSONAL, uga_email=SCHOOL, **ADA)
PAGES = {"mn_id": pl.String, "email": pl.String, "phone": pl.String, "first_name": pl.String, "last_name": pl.String}


def pages(**page: str | None) -> pl.DataFrame:
    """One campaign page, or none."""
    return pl.DataFrame([page] if page else [], schema=PAGES)


def linked(mn_id: str, contact_id: int | None, **values: str | None) -> pl.DataFrame:
    """What was last recorded of a mentor."""
    return pl.DataFrame([{"mn_id": mn_id, "gb_contact_id": contact_id, **values}], schema=PREVIOUS)


def find(
    *contacts: pl.DataFrame,
    mentors: pl.DataFrame = MENTOR,
    previous: pl.DataFrame = NO_LINKS,
    members: pl.DataFrame | None = None,
    **year: Any,
) -> tuple[pl.DataFrame, list[Problem]]:
    known = together(*contacts).select(CONTACT_COLUMNS)
    members = pages() if members is None else members
    return find_candidates(mentors, previous, known.lazy(), members, program(**year) if year else PROGRAM, NOW)


def only(*contacts: pl.DataFrame, **world: Any) -> dict[str, Any]:
    """The one candidate."""
    return find(*contacts, **world)[0].row(0, named=True)


# -- who is a candidate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "matched_on"),
    [
        ({"external_id": "MN01", "external_mn_id": "1"}, ["external_id"]),
        ({"primary_phone": PHONE}, ["phone"]),
        ({"additional_phones": [PHONE]}, ["phone"]),
        ({"primary_email": PERSONAL}, ["personal_email"]),
        ({"additional_emails": [SCHOOL]}, ["uga_email"]),
        (
            {"primary_phone": PHONE, "primary_email": SCHOOL, "additional_emails": [PERSONAL]},
            ["personal_email", "phone", "uga_email"],
        ),
    ],
)
def test_an_external_id_any_phone_and_any_email_make_a_candidate(has: dict[str, Any], matched_on: list[str]):
    found, _ = find(contact(7, **has), contact(8))
    assert found.select("mn_id", "contact_id", "matched_on").rows() == [("0001", 7, matched_on)]


def test_who_was_the_mentors_contact_before_is_a_candidate():
    found, _ = find(contact(7), contact(8), previous=linked("0001", 7))
    assert found.select("contact_id", "matched_on", "was_linked", "evidence").rows() == [(7, ["linked"], True, [])]


def test_what_was_recorded_since_the_sign_up_finds_contacts_too():
    recorded = linked("0001", None, phone=OTHER_PHONE, personal_email="new@example.com")
    found, _ = find(
        contact(7, primary_phone=OTHER_PHONE), contact(8, primary_email="new@example.com"), previous=recorded
    )
    assert found.select("contact_id", "evidence").rows() == [(7, ["phone"]), (8, ["personal_email"])]


def test_who_is_no_mentor_any_more_finds_nothing():
    assert find(contact(7), previous=linked("0099", 7))[0].is_empty()


@pytest.mark.parametrize("gone", [{"archived_at": NOW}, {"missing_since": NOW}])
def test_archived_and_missing_contacts_are_no_candidates(gone: dict[str, Any]):
    assert find(contact(7, primary_phone=PHONE, **gone), previous=linked("0001", 7))[0].is_empty()


def test_a_placeholder_is_no_external_id():
    found, _ = find(
        contact(7, external_id="999001", external_mn_id="999001"), mentors=signup("999001", is_placeholder=True)
    )
    assert found.is_empty()


def test_the_external_id_of_another_mentor_is_told():
    both = together(MENTOR, signup("0002", **ADA))
    row = only(contact(7, external_id="2", external_mn_id="2", primary_phone=PHONE), mentors=both)
    assert (row["mn_id"], row["owner_mn_id"], row["carries_id"]) == ("0001", "0002", False)


def test_an_external_id_of_no_mentor_is_nobodys():
    row = only(contact(7, external_id="77", external_mn_id="77", primary_phone=PHONE))
    assert (row["owner_mn_id"], row["carries_id"]) == (None, False)


# -- evidence ----------------------------------------------------------------------------------------------------------

NAMES = {
    "exact": {"first_name": "ADA", "last_name": "Elm"},
    "compatible": {"first_name": "A.", "last_name": "Elm-Oak"},
    "unknown": {"first_name": "Ada", "last_name": None},
    "contradicting": {"first_name": "Ben", "last_name": "Elm"},
}
TWO = {"primary_phone": PHONE, "primary_email": PERSONAL}


@pytest.mark.parametrize(
    ("names", "has", "is_same"),
    [
        ("exact", {"primary_phone": PHONE}, True),
        ("compatible", {"primary_phone": PHONE}, True),
        ("compatible", {"primary_email": SCHOOL}, True),
        ("unknown", {"primary_phone": PHONE}, False),
        ("unknown", TWO, True),
        ("unknown", {"primary_email": PERSONAL, "additional_emails": [SCHOOL]}, True),
        ("contradicting", TWO, False),
        ("contradicting", {**TWO, "additional_emails": [SCHOOL]}, False),
        ("exact", {"external_id": "1", "external_mn_id": "1"}, False),
    ],
)
def test_two_identifiers_without_contradicting_names_or_one_and_compatible_names(
    names: str, has: dict[str, Any], is_same: bool
):
    row = only(contact(7, **NAMES[names], **has))
    assert (row["name_relation"], row["same_person"]) == (names, is_same)


def test_a_preferred_name_in_the_place_the_year_says_is_compared():
    sally = contact(7, first_name="Sally", last_name="Elm", prefix="Ada", preferred_name="Sal", primary_phone=PHONE)
    assert only(sally)["name_relation"] == "exact"
    year = {"givebutter": {**PROGRAM.givebutter.model_dump(), "preferred_name_field": "preferred_first_name"}}
    assert only(sally, **year)["name_relation"] == "contradicting"


def test_one_address_that_a_mentor_gave_twice_is_one_identifier():
    twice = signup("0001", phone=PHONE, personal_email=PERSONAL, uga_email=PERSONAL, **ADA)
    row = only(contact(7, primary_email=PERSONAL, **NAMES["unknown"]), mentors=twice)
    assert (len(row["evidence"]), row["same_person"]) == (1, False)


def test_an_old_and_a_new_phone_are_one_identifier():
    row = only(
        contact(7, primary_phone=PHONE, additional_phones=[OTHER_PHONE], **NAMES["unknown"]),
        previous=linked("0001", None, phone=OTHER_PHONE),
    )
    assert (row["evidence"], row["same_person"]) == (["phone"], False)


def test_a_link_of_before_is_no_evidence():
    row = only(contact(7, **ADA), previous=linked("0001", 7))
    assert (row["was_linked"], row["same_person"]) == (True, False)


# -- generic identifiers -----------------------------------------------------------------------------------------------


def people_on(phone: str, count: int, **same: Any) -> list[pl.DataFrame]:
    names = [{"first_name": f"Person{chr(97 + number)}", "last_name": "Oak"} for number in range(26)]
    return [contact(100 + number, primary_phone=phone, **{**names[number % 26], **same}) for number in range(count)]


def test_an_identifier_on_more_than_four_names_is_no_evidence_and_is_listed_once():
    both = together(MENTOR, signup("0002", phone=PHONE, first_name="Ben", last_name="Fir"))
    found, problems = find(contact(7, primary_phone=PHONE, **ADA), *people_on(PHONE, 4), mentors=both)
    ada = found.filter(mn_id="0001", contact_id=7).row(0, named=True)
    assert (ada["matched_on"], ada["evidence"], ada["same_person"]) == (["phone"], [], False)
    assert [(problem.type, problem.current_value, problem.mn_id) for problem in problems] == [
        ("generic_identifier", PHONE, None)
    ]
    assert problems[0].context == {"contact_ids": [7, 100, 101, 102, 103], "mn_ids": ["0001", "0002"]}


def test_four_names_on_one_phone_are_still_evidence():
    found, problems = find(contact(7, primary_phone=PHONE, **ADA), *people_on(PHONE, 3))
    assert found.filter(contact_id=7)["same_person"].to_list() == [True]
    assert problems == []


def test_many_contacts_of_one_name_do_not_make_a_phone_generic():
    found, problems = find(
        contact(7, primary_phone=PHONE, **ADA), *people_on(PHONE, 9, first_name="ada", last_name="ELM")
    )
    assert found["same_person"].all()
    assert problems == []


def test_the_limit_is_the_years():
    matching = {**PROGRAM.matching.model_dump(), "generic_identifier_limit": 1}
    _, problems = find(contact(7, primary_phone=PHONE, **ADA), *people_on(PHONE, 1), matching=matching)
    assert len(problems) == 1


def test_an_identifier_beside_a_generic_one_counts():
    found, _ = find(contact(7, primary_phone=PHONE, primary_email=PERSONAL, **ADA), *people_on(PHONE, 4))
    assert found.filter(contact_id=7).select("evidence", "same_person").rows() == [(["personal_email"], True)]


def test_an_offices_phone_makes_no_candidates_at_all():
    assert find(*people_on(PHONE, MOST_SHOWN))[0].height == MOST_SHOWN
    found, problems = find(*people_on(PHONE, MOST_SHOWN + 1))
    assert (found.height, len(problems)) == (0, 1)


def test_a_generic_identifier_that_no_mentor_has_is_not_listed():
    assert find(contact(7, primary_phone=PHONE), *people_on(OTHER_PHONE, 6))[1] == []


# -- mass-mail contacts ------------------------------------------------------------------------------------------------

MASS_MAIL = {"primary_email": SCHOOL, "primary_phone": None, **ADA}


@pytest.mark.parametrize(
    ("changes", "is_mass_mail"),
    [
        ({}, True),
        ({"additional_emails": ["ada@my.uga.edu"]}, True),
        ({"additional_emails": [PERSONAL]}, False),
        ({"primary_email": PERSONAL}, False),
        ({"primary_email": "ada@notuga.edu", "external_id": "1", "external_mn_id": "1"}, False),
        ({"primary_phone": OTHER_PHONE}, False),
        ({"address_line_1": "1 Elm St"}, False),
    ],
)
def test_a_mass_mail_contact_has_school_addresses_only(changes: dict[str, Any], is_mass_mail: bool):
    assert only(contact(7, **{**MASS_MAIL, **changes}))["is_mass_mail"] == is_mass_mail


def test_a_contact_without_any_address_is_no_mass_mail_contact():
    bare = contact(7, primary_email=None, primary_phone=None, external_id="1", external_mn_id="1")
    assert only(bare)["is_mass_mail"] is False


@pytest.mark.parametrize(
    ("page", "is_mass_mail"),
    [
        ({"email": SCHOOL, **ADA}, False),
        ({"email": SCHOOL, "first_name": "Ben", "last_name": "Fir"}, True),
        ({"email": PERSONAL, **ADA}, True),
    ],
)
def test_a_campaign_page_of_that_address_and_name_makes_it_a_persons(page: dict[str, str], is_mass_mail: bool):
    assert only(contact(7, **MASS_MAIL), members=pages(**page))["is_mass_mail"] == is_mass_mail


# -- score -------------------------------------------------------------------------------------------------------------

BARE = {
    "external_id": "1",
    "external_mn_id": "1",
    "primary_email": None,
    "primary_phone": None,
    "last_modified_at": NOW - timedelta(days=400),
}


def parts(row: dict[str, Any]) -> dict[str, float]:
    return {part: row[part] for part in SCORE_PARTS if row[part]}


@pytest.mark.parametrize(
    ("has", "points"),
    [
        ({}, {}),
        ({"tags": ["DROPPED 25"]}, {"dropped_tag": 1000}),
        ({"tags": ["Dropped 2"]}, {}),
        ({"tags": ["Mentors 2025", "swab page"]}, {"campaign_tag": 500}),
        ({"tags": ["Mentors 2024"]}, {}),
        ({"last_modified_at": NOW}, {"freshness": 100}),
        ({"last_modified_at": NOW - timedelta(days=36)}, {"freshness": 64}),
        ({"last_modified_at": NOW - timedelta(days=100)}, {}),
        ({"last_modified_at": NOW + timedelta(days=3)}, {"freshness": 100}),
        ({"last_modified_at": None}, {}),
        ({"primary_phone": OTHER_PHONE}, {"phone": 50}),
        ({"additional_phones": [OTHER_PHONE]}, {"phone": 50}),
        ({"primary_email": "x@example.com"}, {"primary_email": 30}),
        ({"additional_emails": ["x@example.com", "y@example.com"]}, {"additional_email": 20}),
        ({"address_line_1": "1 Elm St"}, {"address": 20}),
    ],
)
def test_each_part_of_the_score(has: dict[str, Any], points: dict[str, float]):
    row = only(contact(7, **{**BARE, **has}))
    assert parts(row) == points
    assert row["score"] == sum(points.values())


@pytest.mark.parametrize(
    ("page", "is_member"),
    [
        ({"mn_id": "0001", "email": "x@example.com"}, True),
        ({"mn_id": "0001", "phone": OTHER_PHONE}, True),
        ({"mn_id": "0001", "email": "z@example.com", "phone": PHONE}, False),
        ({"mn_id": "0002", "email": "x@example.com"}, False),
        ({"mn_id": None, "email": "x@example.com"}, False),
    ],
)
def test_thirty_points_when_it_matches_the_mentors_own_page(page: dict[str, str | None], is_member: bool):
    row = only(
        contact(7, **{**BARE, "additional_emails": ["x@example.com"], "primary_phone": OTHER_PHONE}),
        members=pages(**page),
    )
    assert (row["is_member"], row["member"]) == (is_member, 30 * is_member)


def test_completeness_is_twenty_points_for_each_of_five():
    assert only(contact(7, **BARE))["completeness"] == 0
    whole = {
        "primary_phone": PHONE,
        "primary_email": PERSONAL,
        "additional_emails": [SCHOOL],
        "address_line_1": "1 Elm St",
    }
    assert only(contact(7, **{**BARE, **whole}))["completeness"] == 80
    member = pages(mn_id="0001", email=PERSONAL)
    row = only(contact(7, **{**BARE, **whole, "tags": ["Mentors 2025"]}), members=member)
    assert row["completeness"] == 100


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_no_contacts_no_candidates():
    empty = TABLES["raw_gb_full_contacts"].empty().select(CONTACT_COLUMNS)
    found, problems = find_candidates(MENTOR, NO_LINKS, empty.lazy(), pages(), PROGRAM, NOW)
    assert (found.height, problems) == (0, [])


def test_in_a_generated_year_every_contact_of_a_mentor_is_a_candidate_and_no_stranger_is_taken_for_one():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    links = tables.links(signups).rows
    previous = previous_of(signups, tables.matches(signups, links).links)

    def run(contacts: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
        known = contacts.select(CONTACT_COLUMNS)
        return find_candidates(signups, previous, known.lazy(), tables.pages(links), PROGRAM, NOW)

    found, problems = run(tables.contacts)
    pairs = {(row["mn_id"], row["contact_id"]): row for row in found.iter_rows(named=True)}
    strangers = {MentorClass.EXTERNAL_ID_ON_STRANGER, MentorClass.EXTERNAL_ID_LEFT_OVER}
    for mn_id, truth in tables.truths(signups).items():
        for contact_id in filter(None, [truth.contact_id, *truth.archivable]):
            row = pairs[mn_id, contact_id]
            assert row["same_person"], row
        if truth.class_ in strangers:
            assert not pairs[mn_id, truth.review[0]]["same_person"]
        if truth.class_ in {MentorClass.MASS_MAIL_ONLY, MentorClass.NEAR_MISS}:
            assert not any(
                row["same_person"] and not row["is_mass_mail"] for key, row in pairs.items() if key[0] == mn_id
            )
    assert {problem.type for problem in problems} == {"generic_identifier"}

    shuffled, _ = run(tables.contacts.sample(fraction=1, shuffle=True, seed=3))
    assert_frame_equal(shuffled, found)
