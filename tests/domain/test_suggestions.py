"""R4.9: contacts like a mentor for whom the rules found nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.candidates import CONTACT_COLUMNS
from mentor_pipeline.domain.suggestions import MOST, suggest_contacts
from tests.builders import contact, phone_of, signup, together
from tests.domain.generated import PROGRAM

if TYPE_CHECKING:
    import polars as pl

ADA = {"first_name": "Elizabeth", "last_name": "Elm"}
MENTOR = signup("0001", phone=phone_of(1), personal_email="liz.elm@example.com", uga_email="le12345@uga.edu", **ADA)


def suggested(
    *contacts: pl.DataFrame, mentors: pl.DataFrame = MENTOR, judged: tuple[int, ...] = ()
) -> dict[int, tuple[str, ...]]:
    """Contact -> evidence, the strongest first."""
    found = suggest_contacts(
        mentors,
        together(*contacts).select(CONTACT_COLUMNS),
        lambda _, candidate: candidate["contact_id"] in judged,
        PROGRAM,
    )
    return {one.contact["contact_id"]: one.evidence for one in found}


def named(contact_id: int, **changes: Any) -> pl.DataFrame:
    return contact(contact_id, **{**ADA, **changes})


def test_the_same_name_and_a_nickname_are_suggested():
    found = suggested(named(7), named(8, first_name="Liz"), named(9, first_name="LIZ", last_name="Elm-Oak"))
    assert list(found.items()) == [(9, ("compatible names",)), (8, ("compatible names",)), (7, ("the same name",))]


def test_other_names_are_not():
    others = (
        named(7, first_name="Ben"),
        named(8, last_name="Elms"),
        named(9, last_name=None),
        named(10, first_name=None),
    )
    assert suggested(*others) == {}


def test_near_misses_and_an_earlier_year_are_told_and_come_first():
    swapped = named(7, primary_email="lzi.elm@example.com")
    one_digit_off = named(8, primary_phone=phone_of(3), additional_emails=["le12346@uga.edu"], external_id="8811")
    plain = named(9)
    found = suggested(plain, swapped, one_digit_off)
    assert list(found) == [8, 7, 9]
    assert found[8] == (
        "the same name",
        "e-mail le12346@uga.edu is nearly le12345@uga.edu",
        f"phone {phone_of(3)} is nearly {phone_of(1)}",
        "external id 8811 of an earlier year",
    )
    assert found[7] == ("the same name", "e-mail lzi.elm@example.com is nearly liz.elm@example.com")
    assert found[9] == ("the same name",)


def test_another_phone_or_address_is_no_near_miss():
    assert suggested(named(7, primary_phone=phone_of(22), primary_email="ben.elm@example.com")) == {
        7: ("the same name",)
    }


def test_what_is_judged_already_takes_no_place():
    many = [named(number) for number in range(1, MOST + 3)]
    assert list(suggested(*many)) == [5, 4, 3]
    assert list(suggested(*many, judged=(5, 4))) == [3, 2, 1]


def test_each_mentor_has_their_own():
    namesake = signup("0002", phone=phone_of(8), personal_email="x@example.com", uga_email=None, **ADA)
    found = suggest_contacts(
        together(namesake, MENTOR, signup("0003", last_name=None)),
        together(*(named(number) for number in range(1, 6))).select(CONTACT_COLUMNS),
        lambda *_: False,
        PROGRAM,
    )
    assert [(one.mn_id, one.contact["contact_id"]) for one in found] == [
        *(("0001", number) for number in (5, 4, 3)),
        *(("0002", number) for number in (5, 4, 3)),
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["Liz", "Elizabeth", "Ben"]), st.sampled_from(["Elm", "elm-Oak"])), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_never_matters(names, random):
    contacts = [contact(number, first_name=first, last_name=last) for number, (first, last) in enumerate(names, 1)]
    found = suggested(*contacts)
    assert len(found) <= MOST
    random.shuffle(contacts)
    assert list(suggested(*contacts).items()) == list(found.items())
