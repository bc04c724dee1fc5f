"""Which external ids a person decided to take off which contacts (R4.1, R12)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.domain.decisions import CONFLICT_DECISION, EDIT, resolve_aliases
from mentor_pipeline.domain.release import release_plan
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, alias, contact, mentor, program, together

PROGRAM = program()
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
SKIPPED = '{"decision": "skip", "value": null}'
OWN = contact(7)
"""The mentor's own contact, without an id."""


def carrier(contact_id: int = 9, external_id: str = "MN042", mn_id: str = "42", **changes: Any) -> pl.DataFrame:
    return contact(contact_id, external_id=external_id, external_mn_id=mn_id, first_seen_at=EARLIER, **changes)


def decided(value: object, mn_id: str = "0042", **changes: Any) -> pl.DataFrame:
    """A decided collision."""
    json = orjson.dumps({"decision": "b", "value": value, "field": "gb_contact_id"}).decode()
    named = {"mn_id": mn_id, "field": "external_id_collision", "value": json, "actor": "Ben"}
    return action(CONFLICT_DECISION, **{**named, **changes})


def edited(value: object, **changes: Any) -> pl.DataFrame:
    named = {"mn_id": "0042", "field": "gb_contact_id", "value": orjson.dumps(value).decode(), "actor": "Cleo"}
    return action(EDIT, **{**named, **changes})


def plan(*actions: pl.DataFrame, contacts: pl.DataFrame, mentors: pl.DataFrame | None = None) -> pl.DataFrame:
    return release_plan(
        together(*actions) if actions else TABLES["operator_actions"].empty(),
        contacts,
        together(mentor("0042"), mentor("0043")) if mentors is None else mentors,
        PROGRAM,
    )


def test_a_decided_release_is_planned() -> None:
    (found,) = plan(decided("release 9"), contacts=together(OWN, carrier())).to_dicts()
    assert found == {
        "year": YEAR, "mn_id": "0042", "contact_id": 9, "external_id": "MN042",
        "reason": "it carries mentor 0042's id (MN042), but is not theirs", "decided_by": "Ben", "decided_at": NOW,
    }  # fmt: skip


@pytest.mark.parametrize("choice", [decided(7), edited(7)])
def test_the_other_carriers_of_the_id_go_when_a_contact_was_chosen(choice: pl.DataFrame) -> None:
    contacts = together(carrier(7), carrier(8, "42"), carrier(9, "0042"), carrier(10, "0043", "43"))
    found = plan(choice, contacts=contacts)
    assert found["contact_id"].to_list() == [8, 9]
    assert found["external_id"].to_list() == ["42", "0042"]
    assert found["reason"][0] == "it carries mentor 0042's id (42), but contact 7 was chosen for them"
    assert found["decided_at"].unique().to_list() == [NOW]


@pytest.mark.parametrize(
    "actions",
    [
        [],
        [action(CONFLICT_DECISION, mn_id="0042", field="external_id_collision", value=SKIPPED)],
        [decided("release 9", mn_id="0043")],
        [decided("release 8")],
        [edited("none")],
        [edited(None)],
        [edited(9)],
        [decided("release 9"), edited(9, at=LATER)],
        [edited(7), edited("none", at=LATER)],
        [action(EDIT, mn_id="0042", field="notes", value='"release 9"')],
    ],
)
def test_nothing_is_released_without_a_decision_about_it(actions: list[pl.DataFrame]) -> None:
    assert plan(*actions, contacts=together(OWN, carrier())).is_empty()


def test_a_release_keeps_its_own_who_and_when() -> None:
    actions = (edited(7, at=EARLIER), decided("release 9"), edited(8, at=LATER))
    (found,) = plan(*actions, contacts=together(OWN, contact(8), carrier())).to_dicts()
    assert (found["decided_by"], found["decided_at"]) == ("Ben", NOW)


@pytest.mark.parametrize("gone", [{"archived_at": NOW}, {"missing_since": NOW}])
def test_contacts_that_are_gone_are_left_alone(gone: dict[str, Any]) -> None:
    assert plan(decided("release 9"), contacts=together(OWN, carrier(**gone))).is_empty()


@pytest.mark.parametrize("chosen", [contact(7, archived_at=NOW), contact(7, missing_since=NOW), contact(8)])
def test_a_choice_counts_while_the_chosen_contact_is_there(chosen: pl.DataFrame) -> None:
    """It may have been merged into the one that carries the id."""
    assert plan(decided(7), contacts=together(chosen, carrier())).is_empty()


def test_nobody_decided_of_a_contact_that_came_later() -> None:
    came_later = carrier().with_columns(first_seen_at=pl.lit(LATER))
    assert plan(decided(7), contacts=together(OWN, came_later)).is_empty()
    assert plan(decided("release 9"), contacts=together(OWN, came_later)).height == 1


def test_an_id_of_nobody_and_of_a_placeholder_is_left_alone() -> None:
    placeholder = mentor("999001", is_placeholder=True)
    contacts = together(carrier(9, "0777", "777"), carrier(10, "999001", "999001"), contact(11, external_id="?"))
    actions = [decided(f"release {one}", mn_id=mn_id) for one in (9, 10, 11) for mn_id in ("0042", "999001")]
    assert plan(*actions, contacts=contacts, mentors=together(mentor("0042"), placeholder)).is_empty()


def test_a_decision_under_a_placeholder_holds_for_the_real_id() -> None:
    actions = resolve_aliases(decided("release 9", mn_id="999001"), alias("999001", "0042"))
    assert plan(actions, contacts=together(OWN, carrier()))["mn_id"].to_list() == ["0042"]


@given(order=st.permutations(range(4)))
def test_the_order_of_rows_never_matters(order: list[int]) -> None:
    contacts = [OWN, carrier(8, "42"), carrier(9), carrier(10, "0043", "43")]
    actions = [edited(7, at=EARLIER), decided("release 9"), decided("release 10", mn_id="0043"), edited(7, at=LATER)]
    mentors = [mentor("0042"), mentor("0043")]
    found = release_plan(
        together(*(actions[one] for one in order)),
        together(*(contacts[one] for one in order)),
        together(*(mentors[one] for one in order if one < 2)),
        PROGRAM,
    )
    assert found["contact_id"].to_list() == [8, 9, 10]
    assert found["decided_by"].to_list() == ["Cleo", "Ben", "Ben"]
