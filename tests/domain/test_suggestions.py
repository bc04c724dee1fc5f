"""R4.9: contacts like a mentor for whom the rules found nobody."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain import suggestions
from mentor_pipeline.domain.candidates import CONTACT_COLUMNS
from mentor_pipeline.domain.suggestions import COMPARISONS, MOST, is_one_slip_apart, suggest_contacts
from tests.builders import contact, phone_of, signup, together
from tests.domain.generated import PROGRAM, tables_of_world

if TYPE_CHECKING:
    import polars as pl

LIZ = {"first_name": "Elizabeth", "last_name": "Elmwood"}
EMAIL, SCHOOL_EMAIL, PHONE = "liz.elm@example.com", "le12345@uga.edu", phone_of(1)
MENTOR = signup("0001", phone=PHONE, personal_email=EMAIL, uga_email=SCHOOL_EMAIL, **LIZ)
NOTHING = {"primary_email": None, "primary_phone": None}
NEAR = {"primary_email": "lzi.elm@example.com", "primary_phone": phone_of(500)}
"""One slip in the e-mail, another phone."""


def suggested(
    *contacts: pl.DataFrame, mentors: pl.DataFrame = MENTOR, judged: tuple[int, ...] = ()
) -> dict[int, tuple[str, ...]]:
    """Contact -> evidence, the strongest first."""
    found = suggest_contacts(
        mentors,
        together(*contacts, *CROWD).select(CONTACT_COLUMNS).lazy(),
        lambda _, candidate: candidate["contact_id"] in judged,
        PROGRAM,
    )
    return {one.contact["contact_id"]: one.evidence for one in found}


def named(contact_id: int, **changes: Any) -> pl.DataFrame:
    return contact(contact_id, **{**LIZ, **changes})


CROWD = [contact(number) for number in range(9000, 9040)]
"""Strangers, so that a name is as rare as names are."""


# -- each kind of evidence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"primary_email": "lzi.elm@example.com"}, "e-mail lzi.elm@example.com is nearly liz.elm@example.com"),
        ({"primary_email": "liz.elm@example.con"}, "e-mail liz.elm@example.con is nearly liz.elm@example.com"),
        ({"additional_emails": ["le1234@uga.edu"]}, "e-mail le1234@uga.edu is nearly le12345@uga.edu"),
        ({"primary_phone": phone_of(3)}, f"phone {phone_of(3)} is nearly {PHONE}"),
        ({"additional_phones": [phone_of(10)]}, f"phone {phone_of(10)} is nearly {PHONE}"),
        (
            {"primary_email": "liz.elm@example.org"},
            "e-mail liz.elm@example.org is liz.elm@example.com at another domain",
        ),
        ({"external_id": "8811"}, "external id 8811 of an earlier year"),
    ],
)
def test_what_speaks_for_a_contact_of_the_same_name_is_told(changes: dict[str, Any], told: str) -> None:
    assert suggested(named(7, **changes)).get(7, ())[:-1] == ("the same name", told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"first_name": "LIZ"}, "compatible names"),
        ({"first_name": "Beth"}, "compatible names"),
        ({"first_name": "E."}, "compatible names"),
        ({"first_name": "Elizabeth Anne"}, "compatible names"),
        ({"first_name": "Someone", "prefix": "Liz"}, "compatible names"),
        ({"last_name": "Elmwood-Oak"}, "compatible names"),
        ({"first_name": "Elmwood", "last_name": "Elizabeth"}, "compatible names"),
        ({"last_name": "ELMWOOD Jr."}, "the same name"),
        ({"last_name": "Elmwod"}, "nearly the same name"),
        ({"first_name": None}, "names that are not complete"),
    ],
)
def test_names_are_compared_as_people_write_them(changes: dict[str, Any], told: str) -> None:
    assert suggested(named(7, **{**NEAR, **changes}))[7][0] == told


def test_a_preferred_name_counts_as_a_first_name() -> None:
    mentor = signup("0001", phone=PHONE, personal_email=EMAIL, **{**LIZ, "preferred_name": "Robin"})
    assert suggested(named(7, first_name="Robin", **NEAR), mentors=mentor)[7][0] == "the same name"


def test_a_rare_name_is_enough_when_nothing_contradicts_it() -> None:
    assert suggested(named(7, **NOTHING)) == {7: ("the same name", "probability 96 %")}
    assert suggested(named(7)) == {}, "another phone and another e-mail speak against it"
    several = [named(number, **NOTHING) for number in range(1, 9)]
    assert suggested(*several) == {}, "of eight namesakes at most one is the mentor"


# -- what is no suggestion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"first_name": "Ben"},
        {"first_name": "Elisabet"},
        {"last_name": "Oakley"},
        {"last_name": "Elwod"},
        {"first_name": "Ben", "primary_phone": phone_of(3), "external_id": "8811"},
        {"first_name": None, "last_name": None, "primary_phone": phone_of(3)},
    ],
)
def test_contradicting_names_give_nothing_whatever_else_agrees(changes: dict[str, Any]) -> None:
    assert suggested(named(7, **{**NEAR, **changes})) == {}


def test_an_identifier_that_agrees_counts_for_nothing_here() -> None:
    """Such a pair is a candidate, unless the identifier is generic (R4.2)."""
    assert suggested(named(7, primary_email=EMAIL, primary_phone=PHONE)) == suggested(named(7, **NOTHING))


def test_short_addresses_are_no_near_misses() -> None:
    mentor = signup("0001", phone=PHONE, personal_email="le@example.com", uga_email=None, **LIZ)
    short = named(7, primary_email="lx@example.com", primary_phone=None)
    assert suggested(short, mentors=mentor) == suggested(named(7, **NOTHING), mentors=mentor)


def test_nobody_to_compare_imports_nothing() -> None:
    script = (
        "import sys; from tests.domain.test_suggestions import MENTOR, contact, suggested;"
        "assert not suggested(contact(2)) and not suggested(contact(3), mentors=MENTOR.clear());"
        "assert 'splink' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_code_location_imports_neither_splink_nor_what_only_benches_need() -> None:
    script = (
        "import sys, mentor_pipeline.definitions;"
        "assert not {'splink', 'sqlglot', 'pandas', 'altair', 'recordlinkage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -- order, number, stability ----------------------------------------------------------------------------------------


def test_the_strongest_come_first_and_at_most_three() -> None:
    one = named(11, **NEAR)
    two = named(12, primary_email="lzi.elm@example.com", primary_phone=phone_of(3))
    three = named(13, **{**NEAR, "external_id": "8811"})
    alike = [named(number, **NEAR) for number in (14, 15)]
    assert list(suggested(one, two, three, *alike)) == [12, 13, 15]
    assert list(suggested(one, two, three, *alike, judged=(13, 15))) == [12, 14, 11]


def test_each_mentor_has_their_own() -> None:
    twin = signup("0002", phone=phone_of(812), personal_email="lex.elm@example.com", uga_email=None, **LIZ)
    found = suggest_contacts(
        together(twin, MENTOR, signup("0003", last_name=None)),
        together(*(named(number, **NEAR) for number in range(1, 6)), *CROWD).select(CONTACT_COLUMNS).lazy(),
        lambda *_: False,
        PROGRAM,
    )
    assert [(one.mn_id, one.contact["contact_id"]) for one in found] == [("0001", number) for number in (5, 4, 3)]


def test_the_probability_is_told_and_nothing_below_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    found = suggested(named(7, **NEAR))
    assert found[7][-1] == "probability over 99 %"
    assert len(found[7]) == 3
    monkeypatch.setattr(suggestions, "THRESHOLD", 0.5)
    assert suggested(named(7))[7] == ("the same name", "probability 88 %")
    monkeypatch.setattr(suggestions, "THRESHOLD", 0.9)
    assert suggested(named(7)) == {}


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Liz", "Elizabeth", "Ben", None]),
            st.sampled_from(["Elmwood", "elmwood-Oak", "Elmwod"]),
            st.sampled_from(["lzi.elm@example.com", "liz.elm@example.org", None]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_never_matters(people: list[tuple[str | None, ...]], random: Any) -> None:
    contacts = [
        contact(number, first_name=first, last_name=last, primary_email=email)
        for number, (first, last, email) in enumerate(people, 1)
    ]
    mentors = [MENTOR, signup("0002", first_name="Ben", last_name="Elmwood", personal_email="lzy.elm@example.com")]
    found = [suggest(mentors, contacts)]
    random.shuffle(contacts)
    random.shuffle(mentors)
    found.append(suggest(mentors, contacts))
    assert found[0] == found[1]
    assert all(sum(one[0] == mn_id for one in found[0]) <= MOST for mn_id in ("0001", "0002"))


def suggest(mentors: list[pl.DataFrame], contacts: list[pl.DataFrame]) -> list[tuple[str, int, tuple[str, ...]]]:
    frame = together(*contacts).select(CONTACT_COLUMNS)
    found = suggest_contacts(together(*mentors), frame.lazy(), lambda *_: False, PROGRAM)
    return [(one.mn_id, one.contact["contact_id"], one.evidence) for one in found]


def test_one_contact_more_elsewhere_moves_no_probability() -> None:
    assert suggested(named(7, **NEAR), contact(5)) == suggested(named(7, **NEAR))


def test_splink_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert suggested(named(7, **NEAR))
    assert not [one for one in caplog.records if one.name.startswith("splink")]
    assert capfd.readouterr() == ("", "")


@given(st.text("ab1", max_size=5), st.text("ab1", max_size=5))
def test_a_slip_is_what_the_database_calls_one(one: str, other: str) -> None:
    distance = duckdb.execute("select damerau_levenshtein(?, ?)", [one, other]).fetchone()
    assert is_one_slip_apart(one, other) == (distance == (1,))


# -- accuracy on a small world; the whole is measured by `make bench-accuracy` ---------------------------------------


def accuracy() -> tuple[int, int, int]:
    """Suggestions on a small world, how many are right, and how many mentors have one that is."""
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    truths = tables.truths(signups)
    own = {mn_id: {*truth.archivable, *truth.review, truth.contact_id} for mn_id, truth in truths.items()}
    problems = tables.matches(signups, tables.links(signups).rows).matches.problems
    told = [
        (mn_id, json.loads(context))
        for mn_id, context in problems.filter(type="low_confidence").select("mn_id", "context").iter_rows()
    ]
    shown = [(mn_id, context["contact_id"]) for mn_id, context in told if "evidence" in context]
    right = [(mn_id, contact_id) for mn_id, contact_id in shown if contact_id in own[mn_id]]
    return len(shown), len(right), len({mn_id for mn_id, _ in right})


def test_nearly_all_suggestions_on_a_small_world_are_right() -> None:
    shown, right, found = accuracy()
    assert found >= 20
    assert right / shown >= 0.95


def test_that_accuracy_depends_on_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers that differ no longer speak against a contact: the namesakes are suggested."""
    broken = {
        name: tuple(level._replace(same=level.others) if level.sql == "ELSE" else level for level in levels)
        for name, levels in COMPARISONS.items()
    }
    monkeypatch.setattr(suggestions.settings, "__defaults__", (broken,))
    shown, right, _ = accuracy()
    assert right / shown < 0.95
