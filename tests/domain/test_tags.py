"""Our tags on the mentors' contacts: what is put on, what is taken off, and what is never touched (R6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.domain.status import owned_tags, with_status
from mentor_pipeline.domain.tags import tag_changes, tags_told_by_log
from tests.builders import NOW, contact, mentor, program, row, together

PROGRAM = program()
OURS = sorted(owned_tags(PROGRAM))
HOLDING = ["Mentors 2025", "No Page", "Status: needs_setup"]
FOREIGN = ["Donor", "no page", "Mentors 2024", "Dropped 25", "Athens, GA"]


def linked(**changes: Any) -> pl.DataFrame:
    return mentor("0042", **{"gb_contact_id": 7, "gb_match_status": "linked", "statuses": HOLDING, **changes})


def changes(mentors: pl.DataFrame, contacts: pl.DataFrame) -> dict[int, tuple[list[str], list[str]]]:
    rows = tag_changes(mentors, contacts, PROGRAM)
    return {contact_id: (add, remove) for contact_id, add, remove in rows.select("contact_id", "add", "remove").rows()}


def test_what_holds_and_is_missing_is_added_and_what_no_longer_holds_removed() -> None:
    held = ["Donor", "Mentors 2025", "Not Fundraised", "Status: needs_fundraising"]
    (planned,) = tag_changes(linked(), contact(7, tags=held), PROGRAM).to_dicts()
    assert planned == {
        "year": 2025,
        "mn_id": "0042",
        "contact_id": 7,
        "add": ["No Page", "Status: needs_setup"],
        "remove": ["Not Fundraised", "Status: needs_fundraising"],
        "reason": "what holds now: Mentors 2025, No Page, Status: needs_setup",
    }


@pytest.mark.parametrize("tags", [HOLDING, [*HOLDING, *FOREIGN]])
def test_nothing_is_changed_where_all_is_right(tags: list[str]) -> None:
    assert changes(linked(), contact(7, tags=tags)) == {}


def test_the_dropped_tag_is_peoples() -> None:
    mentors = with_status(linked(dropped=True, campaign_member=True), PROGRAM).drop("own_tags")
    assert "Dropped 25" in mentors["statuses"][0]
    ((add, remove),) = changes(mentors, contact(7, tags=["Status: complete"])).values()
    assert "Dropped 25" not in add
    assert "Status: dropped" in add
    assert remove == ["Status: complete"]
    not_dropped = changes(linked(), contact(7, tags=["Dropped 25", *HOLDING]))
    assert not_dropped == {}


def test_not_even_when_it_is_called_like_one_of_ours() -> None:
    year = program(givebutter={**PROGRAM.givebutter.model_dump(), "dropped_tag": "status: dropped"})
    assert tag_changes(linked(), contact(7, tags=["Status: dropped", *HOLDING]), year).is_empty()


@pytest.mark.parametrize(
    ("whom", "what"),
    [
        ({"gb_match_status": "conflict"}, {}),
        ({"gb_match_status": "shared"}, {}),
        ({"gb_match_status": "stale"}, {}),
        ({"gb_match_status": "new", "gb_contact_id": None}, {}),
        ({"withdrawn": True}, {}),
        ({"gb_contact_id": 8}, {}),
        ({}, {"archived_at": NOW}),
        ({}, {"missing_since": NOW}),
    ],
)
def test_only_linked_mentors_whose_contact_is_there(whom: dict[str, Any], what: dict[str, Any]) -> None:
    assert changes(linked(), contact(7)) == {7: (HOLDING, [])}
    assert changes(linked(**whom), contact(7, **what)) == {}


@given(
    st.lists(st.sampled_from([*OURS, *FOREIGN]), unique=True),
    st.lists(st.sampled_from([*OURS, "Dropped 25"]), unique=True),
)
def test_afterwards_all_is_right_and_others_tags_are_as_they_were(held: list[str], holding: list[str]) -> None:
    mentors = linked(statuses=holding)
    add, remove = changes(mentors, contact(7, tags=held)).get(7, ([], []))
    after = (set(held) | set(add)) - set(remove)
    assert after - set(OURS) == set(held) - set(OURS)
    assert after & set(OURS) == set(holding) & set(OURS)
    assert not set(add) & set(held)
    assert set(remove) <= set(held)
    assert changes(mentors, contact(7, tags=sorted(after))) == {}


class TestToldByLog:
    KNOWN = together(contact(7, tags=["Donor", "No Page"]), contact(8, tags=["Donor"])).select(
        "contact_id", "tags", "missing_since", "last_seen_at"
    )

    def log(self, minutes: int, state: str = "done", contact_id: int = 7, **lists: list[str]) -> pl.DataFrame:
        at = NOW + timedelta(minutes=minutes)
        values = {"added": [], "removed": [], **lists}
        return row("tag_log", id=f"{at:%H%M}", contact_id=contact_id, at=at, state=state, **values)

    def test_each_change_counts_in_its_order_also_of_what_failed_half_way(self) -> None:
        log = together(
            self.log(3, removed=["No Training Signup"]),
            self.log(1, "started", added=["Not Fundraised"], removed=["Donor"]),
            self.log(2, "failed", added=["Not Fundraised", "No Training Signup"], removed=[]),
            self.log(4, removed=["No Page"]),
            self.log(5, "failed", contact_id=8),
        )
        assert tags_told_by_log(log, self.KNOWN, None).to_dicts() == [
            {"contact_id": 7, "tags": ["Donor", "Not Fundraised"], "at": NOW + timedelta(minutes=4)}
        ]

    def test_what_was_read_since_or_is_known_already_tells_nothing(self) -> None:
        log = self.log(1, removed=["No Page"])
        assert tags_told_by_log(log, self.KNOWN, NOW).height == 1
        assert tags_told_by_log(log, self.KNOWN, NOW + timedelta(minutes=2)).is_empty()
        assert tags_told_by_log(self.log(-1, removed=["No Page"]), self.KNOWN, None).is_empty()
        assert tags_told_by_log(self.log(1, added=["No Page"]), self.KNOWN, None).is_empty()
        missing = self.KNOWN.with_columns(missing_since=pl.lit(NOW))
        assert tags_told_by_log(log, missing, None).is_empty()
