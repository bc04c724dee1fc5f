"""What a reading adds to what is known of the contacts (R12)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.domain.knowledge import (
    Learned,
    Reading,
    canonical_contacts,
    is_partial,
    learn,
    listed_count,
)
from mentor_pipeline.tables import TABLES
from tests import builders
from tests.builders import NOW, together

TABLE = TABLES["raw_gb_full_contacts"]
HOUR = timedelta(hours=1)


def contact(contact_id: int, **changes: Any) -> pl.DataFrame:
    """A contact as both sources tell it: no contributions are 0."""
    nothing = {"total_contributions": Decimal(0), "recurring_contributions": Decimal(0)}
    return builders.contact(contact_id, **{**nothing, **changes})


def shown(*contacts: dict[str, Any]) -> pl.DataFrame:
    """Contacts as a source shows them."""
    names = dict.fromkeys(name for one in contacts for name in one)
    return canonical_contacts(pl.DataFrame(list(contacts), schema={name: TABLE.schema[name] for name in names}))


def read(*contacts: dict[str, Any], at: datetime = NOW + HOUR, **more: Any) -> Reading:
    given_schema = shown(*contacts) if contacts else canonical_contacts(TABLE.empty().select("contact_id"))
    return Reading(given_schema, at, more.pop("source", "api"), **more)


def learnt(known: pl.DataFrame, reading: Reading, full_read_at: datetime | None = None) -> Learned:
    return learn(known, reading, full_read_at=full_read_at, now=NOW + 9 * HOUR)


def stored(known: pl.DataFrame, result: Learned) -> pl.DataFrame:
    """The table after the upsert."""
    kept = known.join(result.rows, on="contact_id", how="anti")
    return pl.concat([kept, result.rows]).sort("contact_id")


def test_a_new_contact_gets_everything_that_follows_from_it() -> None:
    reading = read(
        {
            "contact_id": 5,
            "external_id": "mn-0042",
            "primary_email": "B@Example.com",
            "additional_emails": ["a@example.com", "no address"],
            "primary_phone": "(706) 555-0142",
            "additional_phones": ["none", "+17065550143"],
        }
    )
    result = learnt(TABLE.empty(), reading)
    row = result.rows.row(0, named=True)
    assert (result.new_count, result.changed_count, result.missing_count) == (1, 0, 0)
    assert row["external_mn_id"] == "42"
    assert row["emails"] == ["b@example.com", "a@example.com"]
    assert row["additional_emails"] == ["a@example.com", "no address"]
    assert row["phones"] == ["+17065550142", "+17065550143"]
    assert (row["tags"], row["custom_fields"]) == ([], "{}")
    assert (row["first_seen_at"], row["last_seen_at"], row["missing_since"]) == (NOW + 9 * HOUR, NOW + HOUR, None)


def test_equal_contacts_are_equal_whichever_source_told_them() -> None:
    """An API answer and a CSV row of one contact differ in order, case, spaces and fractions of seconds."""
    api = shown(
        {
            "contact_id": 1,
            "notes": "a\nb",
            "additional_emails": ["ada@example.com", "z@example.com", "A@example.com"],
            "primary_email": "ada@example.com",
            "tags": ["b", "a", "b"],
            "total_contributions": None,
            "last_donation_amount": None,
            "last_modified_at": NOW + timedelta(microseconds=5),
        }
    )
    csv = shown(
        {
            "contact_id": 1,
            "notes": " a\r\nb ",
            "additional_emails": [" a@example.com", "z@example.com"],
            "primary_email": "Ada@Example.com ",
            "tags": ["a", " b", ""],
            "total_contributions": Decimal(0),
            "last_donation_amount": Decimal(0),
            "last_modified_at": NOW,
        }
    )
    assert api.equals(csv)


def test_the_last_of_two_rows_of_one_contact_counts() -> None:
    """Pages can shift while they are read."""
    assert shown({"contact_id": 1, "city": "Athens"}, {"contact_id": 1, "city": "Macon"})["city"].to_list() == ["Macon"]


def test_a_full_list_that_shows_nothing_new_writes_nothing() -> None:
    known = together(*(contact(number) for number in range(1, 6)))
    reading = Reading(canonical_contacts(known), NOW + HOUR, "api", is_complete=True)
    assert learnt(known, reading).rows.is_empty()


def test_a_partial_reading_moves_last_seen_at_of_its_contacts_only() -> None:
    """There is no other place where it could be kept that they were confirmed."""
    known = together(contact(1), contact(2))
    result = learnt(known, Reading(canonical_contacts(contact(1)), NOW + HOUR, "api"))
    assert result.rows.select("contact_id", "last_seen_at").rows() == [(1, NOW + HOUR)]
    assert (result.new_count, result.changed_count) == (0, 0)


def test_older_knowledge_never_overwrites_newer() -> None:
    known = contact(1, city="Athens", last_seen_at=NOW)
    older = learnt(known, read({"contact_id": 1, "city": "Macon"}, at=NOW - HOUR, source="csv"))
    assert older.rows.is_empty()
    assert older.outdated_count == 1
    newer = learnt(known, read({"contact_id": 1, "city": "Macon"}, at=NOW + HOUR, source="csv"))
    assert newer.rows.get_column("city").to_list() == ["Macon"]
    assert newer.rows.get_column("first_seen_at").to_list() == [NOW]


def test_a_full_read_confirms_the_contacts_that_it_did_not_rewrite() -> None:
    """Given a row last written long ago and a later full read, then a file of the time between says nothing new."""
    known = contact(1, city="Athens", last_seen_at=NOW)
    between = read({"contact_id": 1, "city": "Macon"}, at=NOW + HOUR, source="csv")
    assert learnt(known, between, full_read_at=NOW + 2 * HOUR).rows.is_empty()


def test_a_reading_of_unknown_age_only_adds_contacts() -> None:
    known = contact(1, city="Athens")
    reading = Reading(
        shown({"contact_id": 1, "city": "Macon"}, {"contact_id": 2, "city": "Macon"}), None, "csv", is_complete=True
    )
    result = learnt(known, reading)
    assert result.rows.select("contact_id", "last_seen_at").rows() == [(2, None)]


def test_what_a_source_does_not_tell_is_kept() -> None:
    """A CSV knows nothing of archiving, the API nothing of households."""
    known = contact(1, archived_at=NOW, household="Elm", preferred_name="Addie", city="Athens")
    row = learnt(known, read({"contact_id": 1, "city": "Macon"}, source="csv")).rows.row(0, named=True)
    assert (row["archived_at"], row["household"], row["preferred_name"]) == (NOW, "Elm", "Addie")
    assert (row["city"], row["source"]) == ("Macon", "csv")


def test_custom_fields_without_a_column_in_the_file_are_kept() -> None:
    known = contact(1, custom_fields=to_json({"Shirt": "M", "Shift": "1", "Pet": "cat"}))
    told = {"contact_id": 1, "custom_fields": to_json({"Shift": "2"})}
    row = learnt(known, read(told, source="csv", custom_labels=("Shift", "Pet"))).rows.row(0, named=True)
    assert row["custom_fields"] == to_json({"Shirt": "M", "Shift": "2"})
    whole = learnt(known, read(told)).rows.row(0, named=True)
    assert whole["custom_fields"] == to_json({"Shift": "2"})


def test_custom_fields_that_a_database_spelt_anew_are_no_change() -> None:
    known = contact(1, custom_fields='{"Shift": "2", "Pet": "cat"}')
    told = {"contact_id": 1, "custom_fields": to_json({"Pet": "cat", "Shift": "2"})}
    assert learnt(known, read(told, is_complete=True)).rows.is_empty()


def test_a_complete_reading_marks_the_others_missing() -> None:
    """Not the archived (never listed), the unreadable (listed), nor those known more newly."""
    known = together(
        contact(1),
        contact(2),
        contact(3, archived_at=NOW),
        contact(4),
        contact(5, last_seen_at=NOW + 2 * HOUR),
        contact(6, missing_since=NOW),
    )
    reading = Reading(canonical_contacts(contact(1)), NOW + HOUR, "csv", is_complete=True, also_there=(4,))
    result = learnt(known, reading)
    assert result.rows.select("contact_id", "missing_since").rows() == [(2, NOW + HOUR)]
    assert result.missing_count == 1


def test_a_partial_or_older_reading_marks_nobody_missing() -> None:
    known = together(contact(1), contact(2))
    assert learnt(known, read({"contact_id": 1})).missing_count == 0
    assert learnt(known, read({"contact_id": 1}, at=NOW - HOUR, is_complete=True)).missing_count == 0


def test_a_contact_that_was_asked_for_and_is_gone_turns_missing() -> None:
    result = learnt(together(contact(1), contact(2, archived_at=NOW)), read(gone=(1, 2, 3)))
    assert result.rows.select("contact_id", "missing_since").rows() == [(1, NOW + HOUR), (2, NOW + HOUR)]


def test_a_contact_that_is_seen_again_is_no_longer_missing() -> None:
    known = contact(1, missing_since=NOW)
    back = Reading(canonical_contacts(contact(1)), NOW + HOUR, "api", is_complete=True)
    result = learnt(known, back)
    assert result.rows.get_column("missing_since").to_list() == [None]
    assert result.changed_count == 1
    older = Reading(canonical_contacts(contact(1)), NOW - HOUR, "csv", is_complete=True)
    assert learnt(known, older).rows.is_empty()


def test_a_contact_that_a_newer_full_list_did_not_show_arrives_as_missing() -> None:
    """Last year's export, dropped today, must not bring back contacts that were merged away since."""
    result = learnt(contact(1), read({"contact_id": 9}, at=NOW - HOUR, source="csv"), full_read_at=NOW)
    assert result.rows.select("contact_id", "missing_since").rows() == [(9, NOW)]


def test_a_new_prefix_of_mentor_ids_reaches_contacts_that_did_not_change() -> None:
    known = contact(1, external_id="SW7", external_mn_id=None)
    reading = Reading(canonical_contacts(known), NOW + HOUR, "api", is_complete=True)
    result = learn(known, reading, full_read_at=None, now=NOW, mn_id_prefix="SW")
    assert result.rows.get_column("external_mn_id").to_list() == ["7"]


@pytest.mark.parametrize(("rows", "partial"), [(89, True), (90, False), (100, False), (0, True)])
def test_an_export_of_too_few_contacts_is_partial(rows: int, *, partial: bool) -> None:
    assert is_partial(rows, 100, 90) is partial
    assert not is_partial(1, 0, 90)


def test_archived_and_missing_contacts_are_not_expected_in_a_list() -> None:
    assert listed_count(together(contact(1), contact(2, archived_at=NOW), contact(3, missing_since=NOW))) == 1


CITIES = st.sampled_from(["Athens", "Macon", "Rome"])
READINGS = st.lists(
    st.tuples(st.dictionaries(st.integers(1, 4), CITIES, min_size=1), st.booleans()), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=30)
@given(READINGS, st.randoms())
def test_the_order_in_which_readings_arrive_does_not_matter(
    readings: list[tuple[dict[int, str], bool]], random: Any
) -> None:
    """Readings of different moments, complete or not, lead to the same contacts; one told again changes nothing."""
    timed = [
        Reading(
            shown(*({"contact_id": number, "city": city} for number, city in cities.items())),
            NOW + position * HOUR,
            "csv",
            is_complete=complete,
        )
        for position, (cities, complete) in enumerate(readings)
    ]
    shuffled = list(timed)
    random.shuffle(shuffled)
    outcomes = []
    for order in (timed, shuffled, [*shuffled, shuffled[0]]):
        known, full_read_at = TABLE.empty(), None
        for reading in order:
            known = stored(known, learnt(known, reading, full_read_at))
            if reading.is_complete:
                full_read_at = max(filter(None, (full_read_at, reading.as_of)))
        there = pl.col("missing_since").is_null()
        outcomes.append(known.select("contact_id", there.alias("there"), city=pl.when(there).then("city")).rows())
    assert outcomes[0] == outcomes[1] == outcomes[2]
