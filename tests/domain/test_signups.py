"""R2: sign-ups are valid, and one per person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, program, row, together
from tests.domain.generated import PROGRAM, tables_of_world

if TYPE_CHECKING:
    from collections.abc import Collection

    import polars as pl

    from mentor_pipeline.domain.findings import Computed

PHONE = "706-555-0142"
FAMILY = {"phone_raw": PHONE, "personal_email": "family@example.com"}


def form(number: int, **answers: Any) -> pl.DataFrame:
    """A sign-up submission; the higher the number, the later. Nothing is shared unless said so."""
    defaults = {
        "year": YEAR,
        "submission_id": str(number),
        "form_id": "1",
        "status": "ACTIVE",
        "mn_id": f"MN{number:04}",
        "first_name": "Ada",
        "last_name": "Elm",
        "phone_raw": f"706-555-1{number:03}",
        "personal_email": f"ada{number}@example.com",
        "uga_email": f"ada{number}@uga.edu",
        "submitted_at": NOW - timedelta(days=30) + timedelta(hours=number),
    }
    return row("raw_mn_signups", **{**defaults, **answers})


def people(
    *forms: pl.DataFrame,
    known: Collection[str] = (),
    given: dict[str, str] | None = None,
    **year: Any,
) -> Computed:
    """One run over these submissions.

    Args:
        forms: the submissions.
        known: ids under which mentors were known before.
        given: placeholders given before, by submission.
        year: what is different in the year file.
    """
    placeholders = [
        row("placeholder_ids", year=YEAR, submission_id=submission_id, mn_id=mn_id, assigned_at=NOW)
        for submission_id, mn_id in (given or {}).items()
    ]
    return one_per_person(
        together(*forms) if forms else TABLES["raw_mn_signups"].empty(),
        placeholders=together(TABLES["placeholder_ids"].empty(), *placeholders),
        known_mn_ids=known,
        program=program(**year) if year else PROGRAM,
        now=NOW,
    )


def mn_ids(found: Computed) -> list[str]:
    return found.rows["mn_id"].to_list()


def merged(found: Computed) -> list[tuple[str, list[str]]]:
    """Which submission counts, and which were merged into it."""
    return found.rows.select("submission_id", "merged_submission_ids").sort("submission_id").rows()


def problems(found: Computed) -> list[tuple[str, str | None, str]]:
    return found.problems.select("type", "mn_id", "severity").sort("type", "mn_id").rows()


# -- who is one person -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["phone_raw", "personal_email", "uga_email"])
def test_one_identifier_and_compatible_names_are_one_person(shared: str):
    value = PHONE if shared == "phone_raw" else "ada@uga.edu" if shared == "uga_email" else "ada@example.com"
    found = people(form(1, first_name="Elizabeth", **{shared: value}), form(2, first_name="Liz", **{shared: value}))
    assert merged(found) == [("2", ["1"])]


def test_compatible_names_alone_are_two_people():
    assert mn_ids(people(form(1), form(2))) == ["0001", "0002"]


def test_siblings_on_one_phone_and_one_mailbox_are_two_people():
    found = people(form(1, first_name="Ada", **FAMILY), form(2, first_name="Ben", **FAMILY))
    assert mn_ids(found) == ["0001", "0002"]
    assert problems(found) == [("shared_phone", None, "warning")]
    assert "Ada Elm (0001), Ben Elm (0002)" in found.problems["message"][0]


def test_names_that_say_nothing_need_two_identifiers():
    one = {"last_name": None, "phone_raw": PHONE}
    assert mn_ids(people(form(1, **one), form(2, phone_raw=PHONE))) == ["0001", "0002"]
    two = {**one, "personal_email": "ada@example.com"}
    assert merged(people(form(1, **two), form(2, phone_raw=PHONE, personal_email="ada@example.com"))) == [("2", ["1"])]


def test_one_address_given_as_both_is_one_identifier():
    nameless = form(1, last_name=None, personal_email="ada@example.com", uga_email="ada@example.com")
    found = people(nameless, form(2, personal_email="ada@example.com", uga_email="ada@example.com"))
    assert mn_ids(found) == ["0001", "0002"]


def test_one_mentor_id_and_compatible_names_are_one_person():
    assert merged(people(form(1, mn_id="MN0042"), form(2, mn_id="42"))) == [("2", ["1"])]


def test_a_sign_up_between_two_brings_the_three_together():
    found = people(
        form(1, phone_raw=PHONE),
        form(2, personal_email="ada@example.com"),
        form(3, phone_raw=PHONE, personal_email="ada@example.com"),
    )
    assert merged(found) == [("3", ["2", "1"])]


def test_a_name_that_fits_two_siblings_joins_the_one_who_bears_it():
    siblings = (form(1, first_name="Jane", **FAMILY), form(2, first_name="John", **FAMILY))
    assert merged(people(*siblings, form(3, first_name="John", **FAMILY))) == [("1", []), ("3", ["2"])]
    assert merged(people(*siblings, form(3, first_name="J.", **FAMILY))) == [("1", []), ("2", []), ("3", [])]


def test_who_fits_one_and_contradicts_another_sign_up_of_a_person_is_somebody_else():
    found = people(
        form(1, first_name="J.", **FAMILY), form(2, first_name="John", **FAMILY), form(3, first_name="Jane", **FAMILY)
    )
    assert merged(found) == [("2", ["1"]), ("3", [])]


# -- which sign-up counts ----------------------------------------------------------------------------------------------


def test_the_newest_counts_and_the_warning_names_all():
    found = people(
        form(1, phone_raw=PHONE, shirt_size="S"),
        form(2, phone_raw=PHONE, shirt_size="M"),
        form(3, phone_raw=PHONE, shirt_size="L"),
    )
    assert found.rows.select("mn_id", "submission_id", "shirt_size").rows() == [("0003", "3", "L")]
    assert found.rows["first_submitted_at"][0] < found.rows["submitted_at"][0]
    assert problems(found) == [("duplicate_signup", "0003", "warning")]
    assert orjson.loads(found.problems["context"][0]) == {"submission_ids": ["1", "2", "3"]}
    assert "0001, 0002, 0003" in found.problems["message"][0]


def test_of_two_at_one_time_the_higher_submission_id_counts():
    found = people(form(9, phone_raw=PHONE, submitted_at=NOW), form(10, phone_raw=PHONE, submitted_at=NOW))
    assert merged(found) == [("10", ["9"])]


def test_empty_fields_are_filled_from_the_next_older_that_has_them():
    same = {"phone_raw": PHONE, "uga_email": "ada@uga.edu"}
    found = people(
        form(1, **same, middle_name="M", prefix="Bea", gender="Female", shirt_size="S"),
        form(2, **same, gender=" ", shirt_size="M", uga_class="2nd Year"),
        form(3, **same, last_name=None, gender="", uga_class="3rd Year", mn_id=None, personal_email="nonsense"),
    )
    fields = ("mn_id", "first_name", "middle_name", "last_name", "preferred_name", "full_name", "personal_email")
    assert found.rows.select(fields).rows() == [("0002", "Ada", "M", "Elm", "Bea", "Bea Elm", "ada2@example.com")]
    assert found.rows.select("gender", "shirt_size", "uga_class").rows() == [("Female", "M", "3rd Year")]


def test_a_preferred_name_is_the_form_s_else_the_first_and_never_empty():
    found = people(
        form(1, prefix=" Bea "),
        form(2, prefix=None),
        form(3, prefix="Ms."),
        form(4, prefix=" ", first_name=None),
        form(5, first_name=None, last_name=None),
    )
    assert found.rows["preferred_name"].to_list() == ["Bea", "Ada", "Ada", "Elm", "Mentor"]
    assert found.rows["full_name"][:2].to_list() == ["Bea Elm", "Ada Elm"]


def test_names_keep_their_case_and_lose_their_white_space():
    assert people(form(1, first_name=" aDA  May ", last_name="de  la Elm ")).rows.select(
        "first_name", "last_name"
    ).rows() == [("aDA May", "de la Elm")]


# -- values ------------------------------------------------------------------------------------------------------------


def test_values_are_normalised_and_what_is_none_is_an_error_while_the_record_goes_on():
    found = people(
        form(1, phone_raw="(706) 555-0142 (cell)", personal_email=" ADA@Example.com "),
        form(2, first_name="Ben", phone_raw="12345", personal_email="ben at example.com"),
    )
    assert found.rows.select("phone", "personal_email").rows() == [("+17065550142", "ada@example.com"), (None, None)]
    assert problems(found) == [
        ("invalid_email", "0002", "error"),
        ("invalid_phone", "0002", "error"),
        ("unusual_value", "0001", "warning"),
    ]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (("ada@uga.edu", "ada@example.com"), ("ada@example.com", "ada@uga.edu")),
        (("ada@uga.edu", None), (None, "ada@uga.edu")),
        (("old@uga.edu", "ada@uga.edu"), (None, "ada@uga.edu")),
        ((None, "ada@example.com"), ("ada@example.com", None)),
        (("ada@example.com", "ada@example.com"), ("ada@example.com", None)),
        (("ada@example.com", "ada@mail.uga.edu"), ("ada@example.com", "ada@mail.uga.edu")),
    ],
)
def test_a_school_address_never_becomes_the_personal_one(typed: tuple[str, str], kept: tuple[str, str]):
    found = people(form(1, personal_email=typed[0], uga_email=typed[1]))
    assert found.rows.select("personal_email", "uga_email").row(0) == kept


def test_who_gave_no_last_name_is_an_error():
    assert problems(people(form(1, last_name=" "))) == [("missing_last_name", "0001", "error")]


# -- mentor ids --------------------------------------------------------------------------------------------------------


def test_an_id_is_read_in_any_spelling_and_keeps_its_zeros():
    assert mn_ids(people(form(1, mn_id="sw-#0042"), mn_id_prefix="SW-")) == ["0042"]


def test_a_mentor_who_is_known_keeps_the_spelling_of_the_id():
    assert mn_ids(people(form(1, mn_id="MN42"), known=["0042"])) == ["0042"]


def test_without_an_id_a_placeholder_stands_in():
    found = people(form(1, mn_id=None), form(2, mn_id="soon"), form(3))
    assert found.rows.select("mn_id", "is_placeholder").rows() == [
        ("0003", False),
        ("999001", True),
        ("999002", True),
    ]
    assert problems(found) == [("invalid_mn_id", "999002", "error"), ("missing_mn_id", "999001", "error")]
    assert found.also["placeholder_ids"].select("submission_id", "mn_id").rows() == [("1", "999001"), ("2", "999002")]


def test_the_same_submission_keeps_its_placeholder():
    before = people(form(5, mn_id=None))
    assert mn_ids(before) == ["999001"]
    later = people(form(1, mn_id=None), form(5, mn_id=None), given={"5": "999001"})
    assert dict(later.rows.select("submission_id", "mn_id").rows()) == {"5": "999001", "1": "999002"}
    assert later.also["placeholder_ids"]["submission_id"].to_list() == ["1"]


def test_a_placeholder_is_never_given_twice():
    assert mn_ids(people(form(2, mn_id=None), given={"1": "999001"})) == ["999002"]
    assert mn_ids(people(form(2, mn_id=None), known=["999001"])) == ["999002"]
    assert mn_ids(people(form(1, mn_id="999001"), form(2, mn_id=None))) == ["999001", "999002"]
    assert mn_ids(people(form(1, mn_id="7065550142"), form(2, mn_id=None))) == ["7065550142", "999001"]


def test_a_placeholder_that_someone_typed_into_the_form_is_no_mentor_id():
    found = people(form(1, mn_id=None), form(2, mn_id="999001"), given={"1": "999001"})
    assert found.rows.select("mn_id", "submission_id", "is_placeholder").rows() == [
        ("999001", "1", True),
        ("999002", "2", True),
    ]
    own = people(form(1, mn_id="MN999001"), given={"1": "999001"})
    assert own.rows["is_placeholder"].to_list() == [True]


def test_when_the_real_id_arrives_the_mentor_goes_on_under_it():
    found = people(form(1, mn_id="MN0042"), known=["999001"], given={"1": "999001"})
    assert found.rows.select("mn_id", "is_placeholder").rows() == [("0042", False)]
    assert found.also["mentor_aliases"].select("old_mn_id", "mn_id").rows() == [("999001", "0042")]
    assert found.also["placeholder_ids"].is_empty()
    assert found.problems.is_empty()


def test_the_real_id_may_come_with_a_second_sign_up():
    found = people(form(1, mn_id=None, phone_raw=PHONE), form(2, mn_id="42", phone_raw=PHONE), given={"1": "999001"})
    assert mn_ids(found) == ["42"]
    assert found.also["mentor_aliases"].select("old_mn_id", "mn_id").rows() == [("999001", "42")]


def test_two_with_placeholders_who_turn_out_one_go_on_under_the_first():
    found = people(
        form(1, mn_id=None, phone_raw=PHONE),
        form(2, mn_id=None, phone_raw=PHONE),
        given={"1": "999001", "2": "999002"},
    )
    assert mn_ids(found) == ["999001"]
    assert found.also["mentor_aliases"].select("old_mn_id", "mn_id").rows() == [("999002", "999001")]


def test_an_unreadable_id_beside_an_older_good_one_is_an_error_and_the_good_one_counts():
    found = people(form(1, phone_raw=PHONE), form(2, phone_raw=PHONE, mn_id="forgot"))
    assert mn_ids(found) == ["0001"]
    assert ("invalid_mn_id", "0001", "error") in problems(found)


def test_one_id_and_different_people_the_earlier_keeps_it():
    found = people(form(1, mn_id="0042"), form(2, mn_id="42", first_name="Ben"))
    assert found.rows.select("mn_id", "first_name").rows() == [("0042", "Ada"), ("999001", "Ben")]
    assert problems(found) == [("mn_id_collision", "999001", "error")]
    assert "belongs to Ada Elm (submission 1)" in found.problems["message"][0]


def test_the_earlier_is_who_had_that_id_first_not_who_signed_up_first():
    ada = (form(1, mn_id="0001", phone_raw=PHONE), form(5, mn_id="0042", phone_raw=PHONE))
    found = people(*ada, form(3, mn_id="0042", first_name="Ben"))
    assert dict(found.rows.select("first_name", "mn_id").rows()) == {"Ben": "0042", "Ada": "999001"}


def test_who_loses_an_id_gets_it_when_the_other_corrects_theirs():
    both = (form(1, mn_id="0041"), form(2, mn_id="42", first_name="Ben"))
    found = people(*both, known=["0042", "999001"], given={"2": "999001"})
    assert dict(found.rows.select("first_name", "mn_id").rows()) == {"Ada": "0041", "Ben": "0042"}
    assert found.also["mentor_aliases"].select("old_mn_id", "mn_id").rows() == [("999001", "0042")]


# -- deleted, over quota -----------------------------------------------------------------------------------------------


GONE = [{"status": "DELETED"}, {"missing_since": NOW}]


@pytest.mark.parametrize("gone", GONE)
def test_who_was_only_ever_seen_as_deleted_is_no_mentor(gone: dict[str, Any]):
    found = people(form(1, **gone), form(2, mn_id=None, first_name="Ben", **gone), form(3, mn_id=None))
    assert mn_ids(found) == ["999001"]
    assert problems(found) == [("missing_mn_id", "999001", "error")]
    assert found.also["placeholder_ids"]["submission_id"].to_list() == ["3"]


@pytest.mark.parametrize("gone", GONE)
def test_a_mentor_whose_every_sign_up_is_gone_stays_with_a_warning(gone: dict[str, Any]):
    found = people(form(1, **gone), form(2, mn_id=None, **gone), known=["0001", "999001"], given={"2": "999001"})
    assert found.rows.select("mn_id", "withdrawn").rows() == [("0001", True), ("999001", True)]
    assert [kind for kind, *_ in problems(found)] == ["missing_mn_id", "signup_withdrawn", "signup_withdrawn"]


def test_a_mentor_known_by_a_placeholder_stays_when_the_id_comes_and_the_sign_up_goes():
    found = people(form(1, mn_id="0042", status="DELETED"), known=["999001"], given={"1": "999001"})
    assert found.rows.select("mn_id", "withdrawn").rows() == [("0042", True)]


def test_a_sign_up_over_quota_counts():
    assert people(form(1, status="OVERQUOTA")).rows.select("mn_id", "withdrawn").rows() == [("0001", False)]


def test_a_deleted_sign_up_neither_counts_nor_fills_nor_warns():
    found = people(form(1, phone_raw=PHONE), form(2, phone_raw=PHONE, shirt_size="S", status="DELETED"))
    assert found.rows.select("mn_id", "submission_id", "shirt_size", "withdrawn").rows() == [("0001", "1", None, False)]
    assert found.problems.is_empty()


@pytest.mark.parametrize("known", [[], ["0042"]])
def test_a_deleted_stranger_does_not_take_the_id_from_who_is_there(known: list[str]):
    found = people(form(1, mn_id="0042", first_name="Ben", status="DELETED"), form(2, mn_id="0042"), known=known)
    assert found.rows.select("mn_id", "first_name").rows() == [("0042", "Ada")]
    assert found.problems.is_empty()


# -- properties, and a whole year --------------------------------------------------------------------------------------

FORMS = st.fixed_dictionaries(
    {
        "mn_id": st.sampled_from([None, "MN0007", "7", "8", "what"]),
        "first_name": st.sampled_from(["Ada", "A.", "Ben", None]),
        "last_name": st.sampled_from(["Elm", "Elm", None]),
        "phone_raw": st.sampled_from([None, PHONE, "706-555-0143"]),
        "personal_email": st.sampled_from([None, "a@example.com", "b@example.com"]),
        "uga_email": st.sampled_from([None, "a@uga.edu"]),
        "status": st.sampled_from(["ACTIVE", "ACTIVE", "DELETED", "OVERQUOTA"]),
        "submitted_at": st.sampled_from([None, NOW, NOW - timedelta(days=1)]),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FORMS, max_size=6), st.randoms(use_true_random=False), st.sampled_from([(), ("7",), ("8", "999001")]))
def test_every_person_once_whatever_the_order_and_again_in_a_second_run(answers, random, known):
    forms = [form(number, **given) for number, given in enumerate(answers, 1)]
    found = people(*forms, known=known)
    random.shuffle(forms)
    assert_frame_equal(people(*forms, known=known).rows, found.rows)

    assert found.rows["mn_id"].is_unique().all()
    counted = [[one, *others] for one, others in found.rows.select("submission_id", "merged_submission_ids").rows()]
    listed = [submission_id for several in counted for submission_id in several]
    standing = {str(number) for number, given in enumerate(answers, 1) if given["status"] != "DELETED"}
    assert len(listed) == len(set(listed))
    assert set(listed) >= standing

    placeholders = dict(found.also["placeholder_ids"].select("submission_id", "mn_id").iter_rows())
    again = people(*forms, known=[*known, *found.rows["mn_id"]], given=placeholders)
    assert_frame_equal(again.rows, found.rows)
    assert again.also["placeholder_ids"].is_empty()
    assert_frame_equal(again.problems, found.problems, check_row_order=False)


def test_nobody_signed_up():
    found = people()
    assert (found.rows.height, found.problems.height) == (0, 0)


def test_a_generated_year_has_each_mentor_once():
    tables = tables_of_world(mentors=400, contacts=1500)
    found = tables.signups()
    assert found.rows.height == len(tables.world.truth)
    by_submission = {signed["submission_id"]: signed for signed in found.rows.iter_rows(named=True)}
    for submission_id, truth in tables.world.truth.items():
        signed = by_submission[submission_id]
        assert signed["is_placeholder"] == (truth.mn_id is None)
        assert truth.mn_id in {None, signed["mn_id"]}
        assert bool(signed["merged_submission_ids"]) == ("duplicate_signup" in truth.flaws)
        assert (signed["phone"] is None) == ("bad_phone" in truth.flaws)
    kinds = dict(found.problems.group_by("type").len().iter_rows())
    flaws = [flaw for truth in tables.world.truth.values() for flaw in truth.flaws]
    assert kinds["duplicate_signup"] == flaws.count("duplicate_signup")
    assert "mn_id_collision" not in kinds
