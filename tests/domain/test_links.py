"""R3: whose each form and each campaign page is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.links import FORMS, MEMBERS, join_forms
from mentor_pipeline.simulator import MentorClass
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, member, phone_of, program, row, signup, together
from tests.domain.generated import PROGRAM, tables_of_world

if TYPE_CHECKING:
    import polars as pl

    from mentor_pipeline.domain.findings import Computed

SETUP, TRAINING, PARTNER = FORMS

ADA = {"first_name": "Ada", "last_name": "Elm", "phone": phone_of(1), "personal_email": "ada@example.com"}
BEN = {"first_name": "Ben", "last_name": "Oak", "phone": phone_of(2), "personal_email": "ben@example.com"}
PAIR = (signup("0001", uga_email="ada@uga.edu", **ADA), signup("0002", uga_email="ben@uga.edu", **BEN))


def form(number: int, table: str = SETUP, **answers: Any) -> pl.DataFrame:
    """A submission of a form with nothing on it but what is given; the higher the number, the later."""
    defaults = {"year": YEAR, "submission_id": str(number), "status": "ACTIVE"}
    return row(table, **{**defaults, "submitted_at": NOW + timedelta(hours=number), **answers})


def joined(
    *mentors: pl.DataFrame,
    forms: dict[str, list[pl.DataFrame]] | None = None,
    setup: tuple[pl.DataFrame, ...] = (),
    members: tuple[pl.DataFrame, ...] = (),
    known: dict[int, str] | None = None,
    **year: Any,
) -> Computed:
    tables = {table: [TABLES[table].empty()] for table in FORMS}
    tables[SETUP] += setup
    for table, rows in (forms or {}).items():
        tables[table] += rows
    return join_forms(
        together(*mentors),
        {table: together(*rows) for table, rows in tables.items()},
        together(TABLES[MEMBERS].empty(), *members),
        known or {},
        program(**year) if year else PROGRAM,
    )


def owners(found: Computed) -> list[tuple[str, str | None, str | None]]:
    """source id, mentor, and by what."""
    return found.rows.select("source_id", "mn_id", "matched_on").rows()


def kinds(found: Computed) -> list[str]:
    return found.problems["type"].sort().to_list()


# -- forms by mentor id ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["0001", "MN0001", "mn 1", "#001", "SW-1"])
def test_a_form_joins_by_the_mentor_id_in_any_spelling(typed: str):
    found = joined(*PAIR, setup=(form(5, mn_id=typed),), mn_id_prefix="SW-")
    assert owners(found) == [("5", "0001", "mn_id")]
    assert found.problems.is_empty()


@pytest.mark.parametrize(
    "agreeing", [{"phone": phone_of(1)}, {"email": "ADA@example.com"}, {"email": "ada@uga.edu"}, {"name": "Ada Elm"}]
)
def test_one_agreeing_identifier_is_enough_to_believe_the_id(agreeing: dict[str, str]):
    wrong = {"phone": phone_of(9), "email": "x@example.com", "name": "Cora Fir"}
    found = joined(*PAIR, setup=(form(5, mn_id="0001", **{**wrong, **agreeing}),))
    assert owners(found) == [("5", "0001", "mn_id")]


def test_an_id_that_all_else_on_the_form_contradicts_is_a_typo_and_the_form_joins_by_the_rest():
    found = joined(*PAIR, setup=(form(5, mn_id="0001", name="Ben Oak", phone=phone_of(2), email="ben@example.com"),))
    assert owners(found) == [("5", "0002", "phone")]
    assert found.problems.select("type", "mn_id").rows() == [("low_confidence", "0002")]
    assert "mentor id 0001 is not believed" in found.problems["message"][0]


def test_a_typo_on_a_form_that_nothing_else_joins_is_listed_as_both():
    found = joined(*PAIR, setup=(form(5, mn_id="0001", phone=phone_of(9)),))
    assert owners(found) == [("5", None, None)]
    assert kinds(found) == ["low_confidence", "unmatched_submission"]


def test_an_id_that_no_mentor_has_leaves_the_rest_to_tell():
    found = joined(*PAIR, setup=(form(5, mn_id="0099", phone=phone_of(2)),))
    assert owners(found) == [("5", "0002", "phone")]


def test_a_suffix_on_the_form_does_not_contradict_the_name():
    found = joined(*PAIR, setup=(form(5, mn_id="0001", name="Ada Elm Jr.", phone=phone_of(9)),))
    assert owners(found) == [("5", "0001", "mn_id")]


# -- forms by phone and e-mail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "by"),
    [
        ({"phone": phone_of(1)}, "phone"),
        ({"phone": phone_of(1), "email": "unknown@example.com"}, "phone"),
        ({"email": "ada@example.com"}, "email"),
        ({"email": " ADA@uga.edu "}, "email"),
        ({"phone": phone_of(1), "email": "ada@example.com"}, "phone"),
    ],
)
def test_without_an_id_a_form_joins_by_phone_then_by_either_email(answers: dict[str, str], by: str):
    assert owners(joined(*PAIR, setup=(form(5, **answers),))) == [("5", "0001", by)]


def test_a_form_joined_to_another_name_is_a_warning():
    found = joined(*PAIR, setup=(form(5, name="Cora Fir", phone=phone_of(1)),))
    assert owners(found) == [("5", "0001", "phone")]
    assert kinds(found) == ["low_confidence"]


def test_what_joins_nobody_is_listed():
    found = joined(*PAIR, setup=(form(5, phone=phone_of(9), name="Cora Fir"), form(6)))
    assert owners(found) == [("5", None, None), ("6", None, None)]
    assert kinds(found) == ["unmatched_submission"] * 2
    assert found.problems["mn_id"].to_list() == [None, None]
    assert "Cora Fir (no. 5)" in found.problems["message"][0]


def test_what_joins_two_people_joins_neither_and_is_a_warning():
    found = joined(*PAIR, setup=(form(5, phone=phone_of(1), email="ben@example.com"),))
    assert owners(found) == [("5", None, None)]
    assert "Ada Elm (0001), Ben Oak (0002)" in found.problems["message"][0]


def siblings() -> tuple[pl.DataFrame, pl.DataFrame]:
    family = {"last_name": "Elm", "phone": phone_of(1)}
    return (
        signup("0001", first_name="Ada", personal_email="ada@example.com", **family),
        signup("0002", first_name="Ben", personal_email="ben@example.com", **family),
    )


def test_siblings_on_one_phone_are_told_apart_by_email_or_name():
    found = joined(
        *siblings(),
        setup=(
            form(5, phone=phone_of(1), email="ben@example.com"),
            form(6, phone=phone_of(1), name="Ada Elm"),
            form(7, phone=phone_of(1)),
            form(8, phone=phone_of(1), name="Cora Elm"),
        ),
    )
    assert owners(found) == [("5", "0002", "phone"), ("6", "0001", "phone"), ("7", None, None), ("8", None, None)]


# -- which of several counts -------------------------------------------------------------------------------------------


def test_of_several_submissions_by_one_mentor_the_newest_of_each_form_counts():
    found = joined(
        *PAIR,
        forms={
            SETUP: [form(9, mn_id="1"), form(10, mn_id="1", submitted_at=NOW + timedelta(hours=9))],
            TRAINING: [form(3, TRAINING, mn_id="1")],
        },
    )
    newest = found.rows.filter("is_newest").select("source_table", "source_id").rows()
    assert sorted(newest) == [(SETUP, "10"), (TRAINING, "3")]


def test_nobodys_submission_never_counts():
    assert joined(*PAIR, setup=(form(5),)).rows["is_newest"].to_list() == [False]


def test_deleted_and_vanished_ones_are_left_out_and_those_over_quota_count():
    gone = (form(5, mn_id="1", status="DELETED"), form(6, mn_id="1", missing_since=NOW))
    found = joined(
        *PAIR, setup=(*gone, form(4, mn_id="1", status="OVERQUOTA")), members=(member(8, missing_since=NOW),)
    )
    assert found.rows.select("source_id", "is_newest").rows() == [("4", True)]


# -- members -----------------------------------------------------------------------------------------------------------


def test_a_member_joined_before_stays_whatever_else_it_shows():
    found = joined(*PAIR, members=(member(8, email="ben@example.com"),), known={8: "0001"})
    assert owners(found) == [("8", "0001", "member_id")]


def test_a_member_whose_mentor_is_gone_joins_anew():
    found = joined(*PAIR, members=(member(8, email="ben@example.com"),), known={8: "0077"})
    assert owners(found) == [("8", "0002", "email")]


def test_members_join_by_email_and_phone():
    found = joined(
        *PAIR,
        members=(member(7, email="ADA@uga.edu", phone=None), member(8, email=None, phone=phone_of(2))),
    )
    assert owners(found) == [("7", "0001", "email"), ("8", "0002", "phone")]


def page(member_id: int, first: str, last: str, **shown: Any) -> pl.DataFrame:
    """A page that shows nothing but a name, unless said so."""
    return member(member_id, first_name=first, last_name=last, **{"email": None, "phone": None, **shown})


def test_a_member_joins_by_a_name_that_fits_one_mentor_and_one_page_only():
    eve = signup("0003", first_name="Elizabeth", last_name="Fir")
    assert owners(joined(*PAIR, eve, members=(page(8, "Liz", "Fir"),))) == [("8", "0003", "name")]

    namesake = signup("0004", first_name="Liz", last_name="Fir")
    two_mentors = joined(*PAIR, eve, namesake, members=(page(8, "Liz", "Fir"),))
    two_pages = joined(*PAIR, eve, members=(page(8, "Liz", "Fir"), page(9, "Elizabeth", "Fir")))
    assert {mn_id for _, mn_id, _ in (*owners(two_mentors), *owners(two_pages))} == {None}
    assert kinds(two_pages) == ["member_without_mentor"] * 2


def test_a_mentor_who_has_a_page_is_not_found_by_name_again():
    found = joined(*PAIR, members=(page(8, "Ada", "Elm"), member(9, email="ada@example.com")))
    assert owners(found) == [("8", None, None), ("9", "0001", "email")]


def test_a_member_whose_phone_is_two_mentors_is_not_given_to_a_third_by_name():
    cora = signup("0003", first_name="Cora", last_name="Fir")
    found = joined(*siblings(), cora, members=(member(8, first_name="Cora", last_name="Fir", phone=phone_of(1)),))
    assert owners(found) == [("8", None, None)]
    assert kinds(found) == ["member_without_mentor"]


def test_of_several_pages_the_one_that_raised_most_counts_and_the_mentor_is_a_warning():
    pages = (
        page(7, "Ada", "Elm", email="ada@example.com", raised=Decimal(20)),
        page(8, "Ada", "Elm", email="ada@example.com", raised=Decimal(20)),
        page(9, "Ada", "Elm", email="ada@example.com", raised=Decimal(5)),
    )
    found = joined(*PAIR, members=pages)
    assert found.rows.filter("is_newest")["source_id"].to_list() == ["8"]
    assert found.problems.select("type", "mn_id").rows() == [("several_pages", "0001")]
    assert orjson.loads(found.problems["context"][0]) == {"member_ids": ["7", "8", "9"]}


# -- properties, and a whole year --------------------------------------------------------------------------------------

_PHONES = st.sampled_from([None, phone_of(1), phone_of(2), phone_of(9)])
_EMAILS = st.sampled_from([None, "ada@example.com", "ben@example.com", "no"])
_NAMES = st.sampled_from([None, "Ada Elm", "Ben Elm", "B. Elm", "Cora Fir"])
ANSWERS = st.fixed_dictionaries(
    {"mn_id": st.sampled_from([None, "1", "MN0002", "x"]), "name": _NAMES, "phone": _PHONES, "email": _EMAILS}
)
PAGES = st.fixed_dictionaries({"first_name": _NAMES, "phone": _PHONES, "email": _EMAILS})


@settings(max_examples=40, deadline=None)
@given(st.lists(ANSWERS, max_size=4), st.lists(PAGES, max_size=4), st.randoms(use_true_random=False))
def test_every_row_once_one_of_each_mentor_counts_and_the_order_never_matters(answers, pages, random):
    mentors = [*siblings(), signup("0003", first_name="Cora", last_name="Fir")]
    forms = [form(number, **given) for number, given in enumerate(answers, 1)]
    members = [member(number, **{**given, "last_name": "Elm"}) for number, given in enumerate(pages, 1)]
    found = joined(*mentors, setup=tuple(forms), members=tuple(members))
    for rows in (mentors, forms, members):
        random.shuffle(rows)
    shuffled = joined(*mentors, setup=tuple(forms), members=tuple(members))
    assert_frame_equal(shuffled.rows, found.rows)
    assert_frame_equal(shuffled.problems, found.problems, check_row_order=False)

    assert found.rows.height == len(forms) + len(members)
    counts = found.rows.filter("is_newest")
    assert counts.select("source_table", "mn_id").is_unique().all()
    assert set(counts["mn_id"]) == set(found.rows["mn_id"].drop_nulls())

    known = {int(one): mn_id for one, mn_id in found.rows.filter(source_table=MEMBERS)["source_id", "mn_id"].rows()}
    again = joined(
        *mentors,
        setup=tuple(forms),
        members=tuple(members),
        known={one: mn_id for one, mn_id in known.items() if mn_id is not None},
    )
    assert_frame_equal(again.rows.drop("matched_on", "note"), found.rows.drop("matched_on", "note"))


def test_nothing_to_join():
    assert joined(*PAIR).rows.is_empty()


def test_in_a_generated_year_pages_and_forms_find_their_mentors():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    found = tables.links(signups)
    truths = tables.truths(signups)

    pages = dict(found.rows.filter(source_table=MEMBERS).select("mn_id", "source_id").iter_rows())
    assert {mn_id: int(page) for mn_id, page in pages.items() if mn_id} == {
        mn_id: truth.member_id for mn_id, truth in truths.items() if truth.member_id
    }
    nobodys = found.rows.filter(found.rows["mn_id"].is_null())
    assert 0 < nobodys.height < 10
    assert [kind for kind in kinds(found) if kind != "low_confidence"] == [
        "member_without_mentor",
        "unmatched_submission",
    ]
    family = {mn_id for mn_id, truth in truths.items() if truth.class_ is MentorClass.SHARED_CONTACT}
    assert not family & set(pages)
