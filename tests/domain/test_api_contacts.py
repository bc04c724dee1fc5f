from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.knowledge import TOLD_COLUMNS, Reading, learn
from mentor_pipeline.tables import TABLES

MONDAY = datetime(2025, 10, 6, tzinfo=UTC)
SHORT = st.none() | st.text(max_size=4)
ODD_VALUES = (
    SHORT
    | st.integers()
    | st.booleans()
    | st.lists(SHORT, max_size=2)
    | st.lists(st.dictionaries(st.sampled_from(["value", "name", "title"]), SHORT), max_size=2)
)


def contact(id_: int | str = 7, **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "external_id": "MN0042",
        "type": "individual",
        "prefix": "Addie",
        "first_name": "Ada",
        "preferred_name": None,
        "middle_name": "",
        "last_name": " Alder ",
        "dob": "2004-05-06",
        "employer": "Elm & Co",
        "website_url": "https://give.example.org/ada",
        "emails": [{"type": "personal", "value": "Ada@Example.com"}, {"type": "work", "value": "ada@uga.edu"}],
        "phones": [{"type": "mobile", "value": "+17065550142"}, {"type": "home", "value": "706-555-0143"}],
        "primary_email": "ada@example.com",
        "primary_phone": "+17065550142",
        "note": "Likes dogs",
        "addresses": [{"address_1": "2 Oak St", "city": "Athens"}, {"address_1": "1 Elm St", "is_primary": True}],
        "primary_address": None,
        "stats": {"total_contributions": 12.5, "recurring_contributions": "1,000"},
        "last_donation_amount": "$5.00",
        "tags": ["SWAB", "Mentors 2025"],
        "custom_fields": [
            {"field_id": 1, "title": "📝 Sign Up Complete", "type": "checkbox", "value": True},
            {"field_id": 2, "title": "👕 Shirt Size", "type": "text", "value": " M "},
            {"field_id": 3, "title": "Empty", "type": "text", "value": None},
            {"field_id": 4, "title": "Several", "type": "select", "value": ["a", "b"]},
        ],
        "is_email_subscribed": True,
        "is_phone_subscribed": 0,
        "is_address_subscribed": None,
        "archived_at": None,
        "created_at": "2024-01-02T03:04:05.000000Z",
        "updated_at": "2025-10-01T08:00:00-04:00",
        **changes,
    }


def row(*contacts: dict[str, Any]) -> dict[str, Any]:
    return contact_rows(contacts or [contact()]).row(0, named=True)


def known(*contacts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The row of `raw_gb_full_contacts` that a first reading of a contact makes."""
    empty = TABLES["raw_gb_full_contacts"].empty()
    reading = Reading(contact_rows(contacts), as_of=MONDAY, source="api")
    return learn(empty, reading, full_read_at=None, now=MONDAY, mn_id_prefix=prefix).rows.row(0, named=True)


class TestContacts:
    def test_every_field(self) -> None:
        assert {name: value for name, value in row().items() if value is not None} == {
            "contact_id": 7,
            "external_id": "MN0042",
            "prefix": "Addie",
            "first_name": "Ada",
            "last_name": "Alder",
            "dob": date(2004, 5, 6),
            "employer": "Elm & Co",
            "primary_email": "ada@example.com",
            "additional_emails": ["ada@uga.edu"],
            "primary_phone": "+17065550142",
            "additional_phones": ["+17065550143"],
            "address_line_1": "1 Elm St",
            "website": "https://give.example.org/ada",
            "total_contributions": Decimal("12.50"),
            "recurring_contributions": Decimal("1000.00"),
            "last_donation_amount": Decimal("5.00"),
            "email_subscribed": True,
            "sms_subscribed": False,
            "tags": ["Mentors 2025", "SWAB"],
            "notes": "Likes dogs",
            "custom_fields": '{"Several":"a, b","👕 Shirt Size":"M","📝 Sign Up Complete":"Yes"}',
            "created_at": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
            "last_modified_at": datetime(2025, 10, 1, 12, tzinfo=UTC),
        }

    def test_what_the_api_does_not_tell_is_no_column(self) -> None:
        assert set(contact_rows([]).columns) == {"contact_id", *TOLD_COLUMNS} - {"household_id", "household"}

    def test_what_becomes_known(self) -> None:
        row = known(contact())
        assert (row["external_mn_id"], row["source"], row["last_seen_at"]) == ("42", "api", MONDAY)
        assert row["emails"] == ["ada@example.com", "ada@uga.edu"]
        assert row["phones"] == ["+17065550142", "+17065550143"]

    def test_the_prefix_of_the_year_is_taken_off_the_mentor_id(self) -> None:
        assert known(contact(external_id="swab-0042"), prefix="SWAB")["external_mn_id"] == "42"

    def test_a_contact_of_nothing_but_an_id(self) -> None:
        bare = row({"id": "7"})
        given = {name: value for name, value in bare.items() if value not in (None, [])}
        assert given == {
            "contact_id": 7, "total_contributions": 0, "recurring_contributions": 0, "custom_fields": "{}",
        }  # fmt: skip

    def test_no_contacts(self) -> None:
        assert contact_rows([]).height == 0

    def test_a_contact_that_came_twice_counts_once_as_it_came_last(self) -> None:
        rows = contact_rows([contact(7, first_name="Ada"), contact("7", first_name="Adele")])
        assert rows["first_name"].to_list() == ["Adele"]

    def test_archived(self) -> None:
        assert row(contact(archived_at="2025-09-01T00:00:00Z"))["archived_at"] == datetime(2025, 9, 1, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("tags", "read"),
        [
            (["b", "a"], ["a", "b"]),
            ("b, a,", ["a", "b"]),
            ([{"id": 1, "name": "b"}, {"id": 2, "name": "a"}], ["a", "b"]),
            ([{"title": "a"}, None, "a", {"id": 3}], ["a"]),
            (None, []),
            ({}, []),
        ],
    )
    def test_tags_in_any_shape(self, tags: Any, read: list[str]) -> None:
        assert row(contact(tags=tags))["tags"] == read

    @pytest.mark.parametrize("emails", [None, [], "", ["x@example.com"], "x@example.com", [{"value": "x@example.com"}]])
    def test_emails_in_any_shape(self, emails: Any) -> None:
        assert row(contact(emails=emails))["additional_emails"] == (["x@example.com"] if emails else [])

    @pytest.mark.parametrize(
        ("fields", "read"),
        [
            (None, {}),
            ([], {}),
            ({"A": "x", "B": ""}, {"A": "x"}),
            ([{"title": "A", "value": 5}, {"title": None, "field_id": 9, "value": "x"}, {"value": "lost label"}, "odd"],
             {"A": "5", "9": "x"}),
            ([{"title": "A", "value": False}], {"A": "No"}),
        ],
    )  # fmt: skip
    def test_custom_fields_in_any_shape(self, fields: Any, read: dict[str, str]) -> None:
        assert json.loads(row(contact(custom_fields=fields))["custom_fields"]) == read

    @pytest.mark.parametrize(
        ("amount", "read"),
        [
            (None, None),
            (12, Decimal("12.00")),
            (12.346, Decimal("12.35")),
            ("1,234.5", Decimal("1234.50")),
            ("many", None),
            (0, None),
        ],
    )
    def test_amounts(self, amount: Any, read: Decimal | None) -> None:
        assert row(contact(last_donation_amount=amount))["last_donation_amount"] == read

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (True, True),
            (False, False),
            (1, True),
            ("0", False),
            ("Yes", True),
            ("false", False),
            ("?", None),
            (None, None),
        ],
    )
    def test_subscriptions(self, value: Any, read: bool | None) -> None:
        assert row(contact(is_email_subscribed=value))["email_subscribed"] is read

    def test_the_primary_address_is_the_named_one(self) -> None:
        assert row(contact(primary_address={"address_1": "3 Fir St", "zipcode": 30602}))["postal_code"] == "30602"
        assert row(contact(addresses=[{"address_1": "2 Oak St"}]))["address_line_1"] == "2 Oak St"
        assert row(contact(addresses=None))["address_line_1"] is None

    @given(st.dictionaries(st.sampled_from(sorted(contact())), ODD_VALUES), st.integers(1, 10**12))
    def test_no_value_stops_the_reading(self, odd: dict[str, Any], id_: int) -> None:
        assert row({**odd, "id": str(id_)})["contact_id"] == id_

    def test_everybody_in_a_few_seconds(self) -> None:
        contacts = [contact(number, primary_email=f"a{number}@example.com") for number in range(1, 10_001)]
        start = time.process_time()  # not the clock: other tests run meanwhile
        assert contact_rows(contacts).height == 10_000
        assert time.process_time() - start < 3


class TestMembers:
    MEMBER = {  # noqa: RUF012
        "id": "31",
        "first_name": "Ada",
        "last_name": " Alder",
        "display_name": "Ada A.",
        "email": "Ada@Example.com",
        "phone": "(706) 555-0142",
        "picture": None,
        "raised": "75.50",
        "goal": 75,
        "donors": "3",
        "items": 0,
        "url": "https://give.example.org/ada",
        "created_at": "2025-09-01T00:00:00Z",
    }

    def test_every_field(self) -> None:
        rows = member_rows([self.MEMBER], year=2025, campaign_id=42)
        assert rows.schema == TABLES["raw_gb_campaign_members"].schema
        assert {name: value for name, value in rows.row(0, named=True).items() if value is not None} == {
            "year": 2025,
            "member_id": 31,
            "campaign_id": 42,
            "first_name": "Ada",
            "last_name": "Alder",
            "display_name": "Ada A.",
            "email": "ada@example.com",
            "phone": "+17065550142",
            "raised": Decimal("75.50"),
            "goal": Decimal("75.00"),
            "donors": 3,
            "page_url": "https://give.example.org/ada",
            "created_at": datetime(2025, 9, 1, tzinfo=UTC),
        }

    @pytest.mark.parametrize("nothing", ["", None])
    def test_empty_email_and_phone_are_none(self, nothing: str | None) -> None:
        member = member_rows([{**self.MEMBER, "email": nothing, "phone": nothing}], year=2025, campaign_id=42)
        assert member.select("email", "phone").row(0) == (None, None)

    def test_merging(self) -> None:
        empty = TABLES["raw_gb_campaign_members"].empty()
        listed = member_rows([self.MEMBER, {**self.MEMBER, "id": 32}], year=2025, campaign_id=42)
        merged = merge_members(empty, listed, now=MONDAY)
        assert merged["first_seen_at"].to_list() == [MONDAY, MONDAY]
        gone = merge_members(merged, listed.head(1), now=MONDAY).filter(member_id=32)
        assert gone["missing_since"].to_list() == [MONDAY]
