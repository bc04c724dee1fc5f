"""What people decided, as the rules read it: R2 (aliases), R9 (decisions, edits) and R12 (release, none of these)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.conflicts import decision_action, live_on
from mentor_pipeline.domain.decisions import (
    CONFLICT_DECISION,
    CONTACT_CONFLICTS,
    EDIT,
    LinkDecision,
    edits,
    link_decisions,
    resolve_aliases,
)
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, action, alias, together
from tests.domain.generated import previous_of, tables_of_world

EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
_numbers = itertools.count(1)


def edit(field: str, value: Any, mn_id: str = "0001", **changes: Any) -> pl.DataFrame:
    """`edit MN_ID FIELD VALUE`."""
    json = orjson.dumps(value).decode()
    return action(EDIT, **{"id": f"{next(_numbers):04}", "mn_id": mn_id, "field": field, "value": json, **changes})


def choice(
    value: Any,
    conflict_type: str = "contact_selection",
    decision: str = "a",
    field: str = "gb_contact_id",
    **changes: Any,
) -> pl.DataFrame:
    """A decided conflict."""
    json = orjson.dumps({"decision": decision, "value": value, "field": field}).decode()
    defaults = {"id": f"{next(_numbers):04}", "mn_id": "0001", "field": conflict_type, "value": json}
    return action(CONFLICT_DECISION, **{**defaults, **changes})


def decision(*actions: pl.DataFrame) -> LinkDecision | None:
    """What counts for mentor 0001."""
    return link_decisions(together(*actions)).get("0001")


# -- which contact -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict_type", CONTACT_CONFLICTS)
def test_a_decided_contact_conflict_links(conflict_type: str):
    assert decision(choice(7, conflict_type)) == LinkDecision(NOW, "pat", contact_id=7)


@pytest.mark.parametrize("value", [7, "7"])
def test_an_edit_of_the_contact_links(value: int | str):
    assert decision(edit("gb_contact_id", value)) == LinkDecision(NOW, "pat", contact_id=7)


@pytest.mark.parametrize(
    "none", [edit("gb_contact_id", None), edit("gb_contact_id", "none"), choice("none", decision="b")]
)
def test_none_of_these_is_a_decision_too(none: pl.DataFrame):
    assert decision(none) == LinkDecision(NOW, "pat", no_contact=True)


def test_an_edit_without_a_value_takes_the_contact_away():
    assert decision(action(EDIT, mn_id="0001", field="gb_contact_id")) == LinkDecision(NOW, "pat", no_contact=True)


def test_skipping_decides_nothing():
    assert decision(choice(None, decision="skip")) is None


def test_what_is_not_about_the_contact_decides_nothing_of_it():
    others = (
        edit("notes", "7"),
        choice("+17065550142", "phone_mismatch", field="phone"),
        action("acknowledge", mn_id="0001"),
    )
    assert decision(*others) is None


def test_the_newest_counts_whatever_its_kind():
    first, second = choice(7, at=EARLIER), edit("gb_contact_id", 8)
    third = edit("gb_contact_id", "none", at=LATER)
    assert decision(first, second) == LinkDecision(NOW, "pat", contact_id=8)
    assert decision(first, second, third) == LinkDecision(LATER, "pat", no_contact=True)
    assert decision(third, second, first) == decision(first, second, third)


def test_of_two_at_one_time_the_later_id_counts():
    assert decision(choice(7, id="b"), choice(8, id="a")) == LinkDecision(NOW, "pat", contact_id=7)


def test_each_mentor_has_their_own():
    found = link_decisions(together(choice(7), choice(8, mn_id="0002")))
    assert {mn_id: one.contact_id for mn_id, one in found.items()} == {"0001": 7, "0002": 8}


# -- release -----------------------------------------------------------------------------------------------------------


def release(contact_id: int, **changes: Any) -> pl.DataFrame:
    return choice(f"release {contact_id}", "external_id_collision", "b", **changes)


def test_released_contacts_add_up_and_leave_what_was_decided():
    assert decision(choice(7, at=EARLIER), release(8), release(9, at=LATER)) == LinkDecision(
        EARLIER, "pat", contact_id=7, released=frozenset({8, 9})
    )
    assert decision(edit("gb_contact_id", "none", at=EARLIER), release(8)) == LinkDecision(
        EARLIER, "pat", no_contact=True, released=frozenset({8})
    )


def test_a_later_link_takes_a_release_back():
    assert decision(release(8, at=EARLIER), choice(8)) == LinkDecision(NOW, "pat", contact_id=8)
    assert decision(release(8, at=EARLIER), choice(7)) == LinkDecision(
        NOW, "pat", contact_id=7, released=frozenset({8})
    )


# -- what a decision rules out -----------------------------------------------------------------------------------------


def known(contact_id: int, seen: Any = EARLIER, *, carries_id: bool = False) -> dict[str, Any]:
    return {"contact_id": contact_id, "first_seen_at": seen, "carries_id": carries_id}


def test_a_link_rules_nothing_out():
    assert not LinkDecision(NOW, "pat", contact_id=7).rules_out(known(8))


def test_a_released_contact_is_out_whenever_it_came():
    released = LinkDecision(NOW, "pat", released=frozenset({7}))
    assert released.rules_out(known(7, LATER, carries_id=True))
    assert not released.rules_out(known(8))


@pytest.mark.parametrize(
    ("seen", "carries_id", "is_out"),
    [
        (EARLIER, True, True),
        (NOW, True, True),
        (None, True, True),
        (LATER, False, True),
        (LATER, True, False),
    ],
)
def test_none_of_these_holds_but_for_one_that_came_later_with_the_mentors_id(seen: Any, carries_id: bool, is_out: bool):
    none = LinkDecision(NOW, "pat", no_contact=True)
    assert none.rules_out(known(7, seen, carries_id=carries_id)) == is_out


def test_a_release_after_none_of_these_does_not_make_it_hold_longer():
    found = decision(edit("gb_contact_id", "none", at=EARLIER), release(8, at=LATER))
    assert found is not None
    assert not found.rules_out(known(9, NOW, carries_id=True))


# -- aliases -----------------------------------------------------------------------------------------------------------


def test_decisions_follow_a_mentor_to_the_real_id():
    actions = together(choice(7, mn_id="999002"), edit("notes", "x", "0001"), action("export", mn_id=None))
    aliases = together(alias("999002", "999001"), alias("999001", "0042"))
    found = resolve_aliases(actions, aliases)
    assert found["mn_id"].to_list() == ["0042", "0001", None]
    assert found.columns == actions.columns
    assert_frame_equal(resolve_aliases(actions, TABLES["mentor_aliases"].empty()), actions)


# -- edits -------------------------------------------------------------------------------------------------------------


def values(*actions: pl.DataFrame) -> dict[tuple[str, str], Any]:
    rows = edits(together(*actions)).select("mn_id", "field_name", "value").iter_rows()
    return {(mn_id, field): orjson.loads(value) for mn_id, field, value in rows}


def test_the_newest_edit_of_each_field_counts():
    found = values(
        edit("notes", "new", at=LATER), edit("notes", "old"), edit("training_done", True), edit("notes", "b", "0002")
    )
    assert found == {("0001", "notes"): "new", ("0001", "training_done"): True, ("0002", "notes"): "b"}


def test_an_edit_that_empties_a_field_counts():
    assert values(edit("notes", "old"), edit("notes", None, at=LATER)) == {("0001", "notes"): None}


def test_a_decided_mismatch_is_an_edit_of_its_field():
    phone = choice("+17065550142", "phone_mismatch", field="phone")
    email = choice("a@example.com", "email_mismatch", "custom", field="personal_email", at=LATER)
    assert values(edit("phone", "+17065550143", at=EARLIER), phone, email) == {
        ("0001", "phone"): "+17065550142",
        ("0001", "personal_email"): "a@example.com",
    }


def test_what_was_skipped_and_what_is_about_contacts_is_no_edit():
    assert values(choice(None, "phone_mismatch", "skip", "phone"), choice(7), release(8)) == {}
    assert values(action("acknowledge", mn_id="0001", value='{"severity": "error"}')) == {}


def test_who_and_when_go_with_it():
    assert edits(edit("notes", "x", actor="kim", at=LATER)).select("actor", "at").rows() == [("kim", LATER)]


def test_nobody_did_anything():
    none = TABLES["operator_actions"].empty()
    assert link_decisions(none) == {}
    assert edits(none).is_empty()


ACTIONS = st.lists(
    st.one_of(
        st.builds(
            lambda value, at: ("edit", value, at), st.sampled_from([7, 8, "none"]), st.sampled_from([NOW, LATER])
        ),
        st.builds(lambda value, at: ("choice", value, at), st.sampled_from([7, "release 8", "none"]), st.just(NOW)),
    ),
    min_size=1,
    max_size=5,
)


@given(ACTIONS, st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(made, random):
    rows = [edit("gb_contact_id", value, at=at) if kind == "edit" else choice(value, at=at) for kind, value, at in made]
    found = decision(*rows)
    edited = edits(together(*rows))
    random.shuffle(rows)
    assert decision(*rows) == found
    assert_frame_equal(edits(together(*rows)), edited, check_row_order=False)


# -- a whole year ------------------------------------------------------------------------------------------------------


def test_in_a_generated_year_every_decided_conflict_is_settled_and_does_not_come_back():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = tables.signups().rows
    forms = tables.links(signups).rows
    before = tables.matches(signups, forms)
    assert before.matches.conflicts is not None
    detected = before.matches.conflicts.with_columns(asset=pl.lit("contact_matches"))
    none = TABLES["operator_actions"].empty()
    pending = live_on(detected, TABLES["sync_conflicts"].empty(), none, now=NOW)
    assert pending.height > 20

    def decide(conflict: dict[str, Any]) -> pl.DataFrame:
        """Option b: of a shared contact 'none of these', of a stranger 'release', else the second contact."""
        made = decision_action(conflict["id"], conflict, "b", check_custom=lambda _, typed: typed)
        return action(**{**made, "id": conflict["id"], "at": LATER, "actor": "kim"})

    actions = together(*map(decide, pending.iter_rows(named=True)))
    chosen = link_decisions(actions)
    after = tables.matches(signups, forms, previous_of(signups, before.links), chosen)
    links = {row["mn_id"]: row for row in after.links.iter_rows(named=True)}
    for conflict in pending.iter_rows(named=True):
        option = orjson.loads(conflict["option_b"])["value"]
        row = links[conflict["mn_id"]]
        if isinstance(option, int):
            assert (row["gb_match_status"], row["gb_contact_id"], row["gb_match_method"]) == (
                "linked",
                option,
                "decision",
            )
        else:
            assert row["gb_match_status"] in {"linked", "new"}
            assert str(row["gb_contact_id"]) not in option
    assert after.matches.conflicts is not None
    assert after.matches.conflicts.is_empty()
