"""R1: comparing names. Compatible names can be one person's, contradicting ones cannot, and some say nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicknames import NickNamer

from mentor_pipeline.domain.names import (
    Name,
    comparable,
    compatible,
    contradicting,
    exactly_same,
    is_nickname,
    is_title,
)
from mentor_pipeline.simulator import MentorClass
from tests.domain.generated import SIGNUPS, tables_of_world


def relation(one: Name, other: Name) -> str:
    """How two names relate; asked both ways round."""
    assert compatible(one, other) == compatible(other, one)
    assert contradicting(one, other) == contradicting(other, one)
    if compatible(one, other):
        return "compatible"
    return "contradicting" if contradicting(one, other) else "unknown"


@pytest.mark.parametrize(
    ("name", "as_compared"),
    [
        ("  ADA ", "ada"),
        ("José", "jose"),
        ("Øystein", "oystein"),
        ("Łukasz", "lukasz"),
        ("Groß", "gross"),
        ("O'Neil", "oneil"),
        ("O’Neil", "oneil"),
        ("Smith-Jones", "smith jones"),
        ("J. R.", "j r"),
        ("Lee Jr.", "lee"),
        ("Lee III", "lee"),
        ("Lee, Sr", "lee"),
        ("V", "v"),
        ("Иванов", "иванов"),
        ("...", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_case_accents_punctuation_and_suffixes_do_not_count(name: str | None, as_compared: str):
    assert comparable(name) == as_compared


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Ada", "Elm"), ("ada", "ELM")),
        (("Ada", "Elm"), ("A.", "Elm")),
        (("Elizabeth", "Elm"), ("Liz", "Elm")),
        (("William", "Elm"), ("Bill", "Elm")),
        (("William", "Elm"), ("Bill J.", "Elm")),
        (("Mary Jane", "Elm"), ("Mary", "Elm")),
        (("Mary Jane", "Elm"), ("Mary J", "Elm")),
        (("Ada", "Elm"), ("Ada", "Elm-Oak")),
        (("Ada", "de la Cruz"), ("Ada", "Cruz")),
        (("Ada", "Oak Elm"), ("Ada", "Elm Oak")),
        (("Ada", "Elm Jr."), ("Ada", "Elm")),
        (("Zoë", "Núñez"), ("Zoe", "Nunez")),
        (("Ada", "Elm"), ("Elm", "Ada")),
    ],
)
def test_names_of_one_person_are_compatible(one: tuple[str, str], other: tuple[str, str]):
    assert relation(Name(*one), Name(*other)) == "compatible"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Ada", "Elm"), ("Ben", "Elm")),
        (("Ada", "Elm"), ("Ada", "Oak")),
        (("Ada", "Lee"), ("Ada", "Leeds")),
        (("Ada", "Elm"), ("B.", "Elm")),
        (("Ana Maria", "Elm"), ("Ana Sofia", "Elm")),
        (("Ann", "Elm"), ("Annabel", "Oak")),
        (("Ada", "Elm Oak"), ("Ada", "Elm Fir")),
    ],
)
def test_whole_names_that_are_not_compatible_contradict(one: tuple[str, str], other: tuple[str, str]):
    assert relation(Name(*one), Name(*other)) == "contradicting"


@pytest.mark.parametrize(
    "other", [("Ben", None), (None, "Oak"), (None, None), ("Ada", ""), ("", "Elm"), ("?", "Oak"), ("Ben", "  ")]
)
def test_names_with_a_part_missing_neither_fit_nor_contradict(other: tuple[str | None, str | None]):
    assert relation(Name("Ada", "Elm"), Name(*other)) == "unknown"


def test_a_preferred_name_counts_as_a_first_name():
    assert relation(Name("Ada", "Elm", "Bea"), Name("Bea", "Elm")) == "compatible"
    assert relation(Name("Ada", "Elm", "Bea"), Name("Beatrice", "Elm")) == "compatible"
    assert relation(Name("Ada", "Elm"), Name("Cora", "Elm", "Ada")) == "compatible"
    assert relation(Name("Ada", "Elm", "Bea"), Name("Bea", "Oak")) == "contradicting"


@pytest.mark.parametrize("title", ["Mr.", "ms", "Dr.", "Prof"])
def test_a_title_in_the_place_of_the_preferred_name_is_no_name(title: str):
    assert is_title(title)
    assert relation(Name("Ada", "Elm", title), Name("Ben", "Elm", title)) == "contradicting"


def test_a_name_is_no_title():
    assert not any(is_title(name) for name in ("Drew", "Mister", "Ada", "", None))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("robert", "william"),
        ("bob", "bill"),
        ("aaron", "erin"),
        ("andrew", "andrea"),
        ("alexander", "alexandria"),
        ("michael", "nicholas"),
        ("anna", "joanna elm"),
    ],
)
def test_two_children_of_one_family_are_not_each_others_nicknames(one: str, other: str):
    assert not is_nickname(one, other)
    assert not is_nickname(other, one)


def test_every_nickname_is_one_that_the_packaged_table_knows():
    namer = NickNamer()
    names = ["elizabeth", "william", "robert", "katherine", "alexander", "andrew", "bill", "liz", "kate", "bob", "will"]
    for one in names:
        for other in names:
            if is_nickname(one, other):
                assert other in namer.nicknames_of(one) or one in namer.nicknames_of(other)
    assert is_nickname("elizabeth", "liz")
    assert is_nickname("kate", "katherine")


def test_exactly_the_same_name_needs_more_than_a_nickname():
    assert exactly_same(Name("ADA", "Elm"), Name("Ada", "elm"))
    assert exactly_same(Name("Ada", "Elm", "Bea"), Name("Bea", "Elm"))
    assert not exactly_same(Name("Elizabeth", "Elm"), Name("Liz", "Elm"))
    assert not exactly_same(Name("Ada", "Elm"), Name("Ada", "Elm-Oak"))
    assert not exactly_same(Name("Ada", None), Name("Ada", None))


_PART = st.one_of(st.none(), st.text(alphabet="abA é'-.", max_size=6), st.sampled_from(["Liz", "Elizabeth", "Lee Jr"]))
NAMES = st.builds(Name, _PART, _PART, _PART)


@given(NAMES, NAMES)
def test_no_names_fit_and_contradict_and_who_is_compared_to_whom_never_matters(one: Name, other: Name):
    relation(one, other)
    assert not (compatible(one, other) and contradicting(one, other))
    assert compatible(one, other) or not exactly_same(one, other)


@given(NAMES)
def test_a_name_never_contradicts_itself(name: Name):
    assert not contradicting(name, name)
    assert comparable(comparable(name.last)) == comparable(name.last)


def test_in_a_generated_year_mentors_fit_their_contacts_and_strangers_contradict():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = {row["submission_id"]: row for row in tables.forms[SIGNUPS].iter_rows(named=True)}
    strangers = {MentorClass.EXTERNAL_ID_ON_STRANGER, MentorClass.EXTERNAL_ID_LEFT_OVER}
    compared = 0
    for submission_id, truth in tables.world.truth.items():
        row = signups[submission_id]
        name = Name(row["first_name"], row["last_name"], row["prefix"])
        for contact_id in filter(None, [truth.contact_id, *truth.archivable]):
            contact = tables.world.contact(contact_id)
            assert compatible(name, Name(contact.first_name, contact.last_name)), (name, contact)
            compared += 1
        if truth.class_ in strangers:
            contact = tables.world.contact(truth.review[0])
            assert contradicting(name, Name(contact.first_name, contact.last_name)), (name, contact)
            compared += 1
        for sibling in tables.world.truth.values():
            if truth.class_ is MentorClass.SIBLINGS is sibling.class_ and truth is not sibling:
                other = signups[sibling.submission_id]
                assert not compatible(name, Name(other["first_name"], other["last_name"], other["prefix"]))
    assert compared > 300
