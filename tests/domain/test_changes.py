"""What mn_changes tells (R8)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain import changes as rules
from mentor_pipeline.domain.history import next_versions
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, alias, mentor, program, row, together

CHANGES = TABLES["mn_changes"]
HISTORY = TABLES["mentor_history"]
LATER = NOW + timedelta(hours=1)
NONE_KNOWN = pl.Series([], dtype=pl.String)
SENT = rules.sent_fields(program())


def history_of(*snapshots: pl.DataFrame, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    """The history after runs that saw these mentors, an hour between them."""
    history = HISTORY.empty()
    for hour, mentors in enumerate(snapshots):
        at = NOW + timedelta(hours=hour)
        rows = next_versions(history, mentors, run_id=f"run-{hour}", now=at, aliases=aliases)
        history = pl.concat([history.join(rows, on=HISTORY.key, how="anti"), rows])
    return history


def changes_of(*snapshots: pl.DataFrame, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    return rules.changes(history_of(*snapshots, aliases=aliases), sent=SENT, known_ids=NONE_KNOWN, aliases=aliases)


def differences(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Changes of the second run alone."""
    return changes_of(before, after).filter(pl.col("change_type") != "new_mentor")


def test_a_first_version_is_one_new_mentor():
    found = changes_of(mentor("0001", full_name="Bee Birch"))
    assert found.select("change_type", "field_name", "new_value", "detected_at", "run_id").rows() == [
        ("new_mentor", None, "Bee Birch", NOW, "run-0")
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"dropped": False}, {"dropped": True}, ("dropped", "dropped", "false", "true", True)),
        ({"dropped": None}, {"dropped": True}, ("dropped", "dropped", None, "true", True)),
        ({"dropped": True}, {"dropped": False}, ("reactivated", "dropped", "true", "false", True)),
        (
            {"status_category": "needs_setup"},
            {"status_category": "needs_page"},
            ("status_change", "status_category", "needs_setup", "needs_page", True),
        ),
        ({"gb_contact_id": None}, {"gb_contact_id": 7}, ("contact_linked", "gb_contact_id", None, "7", True)),
        ({"gb_contact_id": 7}, {"gb_contact_id": 8}, ("contact_relinked", "gb_contact_id", "7", "8", True)),
        ({"gb_contact_id": 7}, {"gb_contact_id": None}, ("field_change", "gb_contact_id", "7", None, True)),
        (
            {"amount_raised": Decimal(0)},
            {"amount_raised": Decimal("75.50")},
            ("field_change", "amount_raised", "0.00", "75.50", True),
        ),
        ({"training_done": False}, {"training_done": True}, ("field_change", "training_done", "false", "true", True)),
        ({"phone": "+17065550142"}, {"phone": None}, ("field_change", "phone", "+17065550142", None, True)),
        ({"shirt_size": "M"}, {"shirt_size": "L"}, ("field_change", "shirt_size", "M", "L", False)),
        ({"tags": ["A"]}, {"tags": ["A", "B"]}, ("field_change", "tags", "A", "A, B", False)),
        (
            {"setup_at": None},
            {"setup_at": NOW},
            ("field_change", "setup_at", None, "2025-10-01 12:00:00 UTC", False),
        ),
    ],
)
def test_a_field_that_differs_is_one_row(before, after, expected):
    found = differences(mentor("0001", **before), mentor("0001", **after))
    columns = ("change_type", "field_name", "old_value", "new_value", "is_significant")
    assert found.select(columns).rows() == [expected]
    assert found.select("detected_at", "run_id", "source_table").rows() == [(LATER, "run-1", "mentors")]


def test_every_column_is_told_but_key_and_machinery():
    before, after = mentor("0001"), mentor("0001")
    other = {
        pl.String(): "x",
        pl.Boolean(): True,
        pl.Int64(): 1,
        pl.Decimal(12, 2): Decimal(1),
        pl.Datetime("us", "UTC"): NOW,
        pl.List(pl.String()): ["x"],
    }
    untracked = {"year", "mn_id", "created_at", "updated_at"}
    tracked = {name: dtype for name, dtype in after.schema.items() if name not in untracked}
    before = before.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in tracked.items())
    after = after.with_columns(pl.lit(other[dtype], dtype=dtype).alias(name) for name, dtype in tracked.items())
    assert set(differences(before, after)["field_name"]) == set(tracked) - {"gb_match_method"}


def test_known_changes_are_not_told_again():
    history = history_of(mentor("0001"), mentor("0001", shirt_size="L"))
    first = rules.changes(history, sent=SENT, known_ids=NONE_KNOWN)
    assert first["id"].is_unique().all()
    assert rules.changes(history, sent=SENT, known_ids=first["id"]).is_empty()
    assert rules.changes(history, sent=SENT, known_ids=first["id"].head(1)).height == 1


def test_synced_is_null_for_what_never_goes_to_givebutter():
    before = mentor("0001")
    after = mentor("0001", phone="+17065550142", gb_contact_id=7, dropped=True, shift_preference="Option 1")
    found = differences(before, after).select("field_name", "synced_to_gb", "resolved").rows()
    assert sorted(found) == [
        ("dropped", None, True),
        ("gb_contact_id", None, True),
        ("phone", False, False),
        ("shift_preference", False, False),
    ]


def test_a_real_id_is_a_change_of_the_mentor_and_earlier_ids_stay():
    aliases = alias("999001", "0042")
    placeholder = mentor("999001")
    before = changes_of(placeholder)
    found = changes_of(placeholder, placeholder.with_columns(mn_id=pl.lit("0042")), aliases=aliases)
    assert found["mn_id"].unique().to_list() == ["0042"]
    assert found.filter(pl.col("field_name") == "mn_id").select("old_value", "new_value").rows() == [("999001", "0042")]
    assert found.filter(change_type="new_mentor")["id"].to_list() == before["id"].to_list()


def conflict(conflict_id: str, **values):
    options = {"option_a": '{"value": 7}', "option_b": '{"value": null}', "context": "{}"}
    return row("sync_conflicts", id=conflict_id, year=YEAR, mn_id="0001", **{**options, **values})


def test_a_decided_conflict_is_one_change():
    decided = {"resolved_at": LATER, "resolved_by": "pat"}
    conflicts = together(
        conflict("c1", conflict_type="contact_selection", status="resolved", user_decision="a", **decided),
        conflict("c2", conflict_type="contact_selection", status="resolved", user_decision="b", **decided),
        conflict(
            "c3",
            conflict_type="email_mismatch",
            status="resolved",
            user_decision="custom",
            custom_value="ben@example.com",
            context=orjson.dumps({"field": "personal_email"}).decode(),
            **decided,
        ),
        conflict("c4", conflict_type="phone_mismatch", status="skipped", **decided),
        conflict("c5", conflict_type="phone_mismatch", status="pending"),
        conflict("c6", conflict_type="phone_mismatch", status="obsolete"),
    )
    found = rules.decided_conflicts(conflicts, run_id="run", known_ids=NONE_KNOWN)
    assert found.select("change_type", "field_name", "new_value", "notes").rows() == [
        ("conflict_resolved", "gb_contact_id", "7", "contact_selection: a chosen by pat"),
        ("conflict_resolved", "gb_contact_id", None, "contact_selection: b chosen by pat"),
        ("conflict_resolved", "personal_email", "ben@example.com", "email_mismatch: custom chosen by pat"),
        ("conflict_resolved", "phone", None, "phone_mismatch: skipped by pat"),
    ]
    assert found["detected_at"].unique().to_list() == [LATER]
    assert rules.decided_conflicts(conflicts, run_id="run", known_ids=found["id"]).is_empty()


def test_an_archived_duplicate_is_one_change():
    entry = {"contact_id": 9, "mn_id": "0001", "winner_contact_id": 7, "at": NOW, "actor": "pat", "run_id": "r"}
    log = together(
        row("contact_archive_log", id="l1", operation="archive", state="started", **entry),
        row("contact_archive_log", id="l2", operation="archive", state="done", **entry),
        row("contact_archive_log", id="l3", operation="restore", state="done", **entry),
    )
    found = rules.archived_duplicates(log, year=YEAR, known_ids=NONE_KNOWN)
    assert found.select("id", "change_type", "old_value", "new_value", "detected_at").rows() == [
        ("archived-l2", "duplicates_archived", "9", "7", NOW)
    ]
    assert rules.archived_duplicates(log, year=YEAR, known_ids=found["id"]).is_empty()


def held(*values: tuple[str, str | None]) -> pl.DataFrame:
    rows = [(YEAR, "0001", field, value) for field, value in values]
    schema = {"year": pl.Int32, "mn_id": pl.String, "field_name": pl.String, "value": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("change", "at_givebutter", "is_synced"),
    [
        ({"phone": "+17065550142"}, [("phone", "+17065550142")], True),
        ({"phone": "+17065550142"}, [("phone", "+17065550143")], False),
        ({"phone": "+17065550142"}, [], False),
        ({"phone": None}, [("phone", None)], True),
        ({"phone": None}, [], False),
        ({"uga_email": "b@uga.edu"}, [("uga_email", "a@example.com"), ("uga_email", "b@uga.edu")], True),
        ({"tags": ["A", "B"]}, [("tags", "C, B, A")], True),
        ({"tags": ["A", "B"]}, [("tags", "A")], False),
    ],
)
def test_synced_turns_true_when_givebutter_is_seen_to_hold_the_value(change, at_givebutter, is_synced):
    found = differences(mentor("0001"), mentor("0001", **change))
    moved = rules.mark_synced(found, held(*at_givebutter))
    assert moved.select("synced_to_gb", "resolved").rows() == ([(True, True)] if is_synced else [])
    assert moved.schema == CHANGES.schema


def test_a_synced_change_is_left_alone_later():
    found = differences(mentor("0001"), mentor("0001", phone="+17065550142"))
    synced = rules.mark_synced(found, held(("phone", "+17065550142")))
    assert rules.mark_synced(synced, held(("phone", "+17065550199"))).is_empty()


def test_an_overtaken_change_is_resolved_without_being_synced():
    found = changes_of(mentor("0001"), mentor("0001", shirt_size="L"), mentor("0001", shirt_size="S"))
    moved = rules.mark_synced(found, held(("shirt_size", "M")))
    assert moved.select("new_value", "synced_to_gb", "resolved").rows() == [("L", False, True)]


values = st.fixed_dictionaries(
    {
        "shirt_size": st.sampled_from([None, "S", "L"]),
        "dropped": st.booleans(),
        "amount_raised": st.decimals(0, 100, places=2),
        "tags": st.lists(st.sampled_from("ABC"), max_size=2),
    }
)


@settings(max_examples=20, deadline=None)
@given(st.lists(values, min_size=2, max_size=6))
def test_changes_are_the_differences_of_successive_snapshots(taken):
    found = changes_of(*(mentor("0001", **snapshot) for snapshot in taken))
    expected = []
    for hour in range(1, len(taken)):
        at = NOW + timedelta(hours=hour)
        expected += [(at, name) for name in taken[0] if taken[hour][name] != taken[hour - 1][name]]
    told = found.filter(pl.col("change_type") != "new_mentor").select("detected_at", "field_name").rows()
    assert sorted(told) == sorted(expected)


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(random):
    mentors = [mentor(f"000{n}") for n in range(1, 5)]
    changed = [mentor(f"000{n}", shirt_size="XL", dropped=True) for n in range(1, 5)]
    history = history_of(together(*mentors), together(*changed))
    shuffled = history.sample(fraction=1, shuffle=True, seed=random.randint(0, 99))
    one, other = (rules.changes(rows, sent=SENT, known_ids=NONE_KNOWN) for rows in (history, shuffled))
    assert one.equals(other)
