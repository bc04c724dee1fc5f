"""What a person may set, and how what they typed is read."""

from __future__ import annotations

from typing import Any

import pytest

from mentor_pipeline.domain.edits import FIELDS, read_value
from mentor_pipeline.domain.mentors import EDITABLE
from mentor_pipeline.errors import DecisionRefusedError
from tests.builders import program


def test_the_fields_are_those_that_records_take_and_the_contact() -> None:
    assert set(FIELDS) == {*EDITABLE, "gb_contact_id"}


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("training_done", "yes", True),
        ("training_done", "NO", False),
        ("dropped", "true", True),
        ("fundraised_done", "1", True),
        ("training_at", "2025-11-02T18:00", "2025-11-02T23:00:00+00:00"),  # New York, winter time
        ("training_at", "2025-10-28 18:00", "2025-10-28T22:00:00+00:00"),
        ("fundraised_at", "2025-10-28T18:00Z", "2025-10-28T18:00:00+00:00"),
        ("notes", "  came late \n", "came late"),
        ("shift_preference", "option 2", "Option 2"),
        ("partner_phone", "(706) 555-0142", "+17065550142"),
        ("phone", "706.555.0142", "+17065550142"),
        ("personal_email", " Wren@Example.com ", "wren@example.com"),
        ("uga_email", "wren@uga.edu", "wren@uga.edu"),
        ("preferred_name", "  Wren   Ann ", "Wren Ann"),
        ("gb_contact_id", "311", 311),
    ],
)
def test_what_is_typed_is_recorded_in_its_normal_form(field: str, typed: str, value: Any) -> None:
    assert read_value(field, typed, program()) == value


@pytest.mark.parametrize(
    "field", sorted(set(FIELDS) - {"training_done", "fundraised_done", "dropped", "preferred_name"})
)
def test_none_empties_a_field(field: str) -> None:
    assert read_value(field, "none", program()) is None


@pytest.mark.parametrize(
    ("field", "typed", "why"),
    [
        ("training_done", "perhaps", "expected yes or no"),
        ("training_done", "none", "expected a value"),
        ("dropped", "", "expected a value"),
        ("notes", " ", "or none to empty it"),
        ("training_at", "yesterday", "expected a time such as"),
        ("shift_preference", "Option 9", "expected one of: Option 1, Option 2"),
        ("phone", "call me", "expected one phone number"),
        ("personal_email", "wren at example", "expected one e-mail address"),
        ("personal_email", "wren@uga.edu", "set uga_email"),
        ("uga_email", "wren@example.com", "expected an address on uga.edu"),
        ("preferred_name", "Dr.", "a title is no name"),
        ("preferred_name", "none", "expected a value"),
        ("gb_contact_id", "311 or so", "expected the number of a contact"),
        ("gb_contact_id", "-3", "expected the number of a contact"),
        ("gb_contact_id", "٣", "expected the number of a contact"),
    ],
)
def test_an_impossible_value_is_refused_with_what_was_expected(field: str, typed: str, why: str) -> None:
    with pytest.raises(DecisionRefusedError, match="Nothing was written") as refused:
        read_value(field, typed, program())
    assert why in str(refused.value)


def test_an_unknown_field_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(DecisionRefusedError, match=r"Fields are: training_done, .*gb_contact_id"):
        read_value("amount_raised", "75", program())
