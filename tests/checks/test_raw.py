"""Checks of what came in: broken on purpose, they name what is wrong and stop the run where they block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from mentor_pipeline.checks.raw import ENOUGH_ROWS, REQUIRED
from mentor_pipeline.domain.links import MEMBERS
from mentor_pipeline.operator.contacts import CONTACTS_SOURCE
from mentor_pipeline.simulator import World
from tests.acceptance.installation import installed
from tests.builders import NOW, YEAR, contact, member, program, row, together
from tests.checks.made_up import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from tests.checks.made_up import Check, Store

CONTACTS = "raw_gb_full_contacts"
SIGNUPS = "raw_mn_signups"
FORMS = [table for table in REQUIRED if table.startswith("raw_mn")]
SOURCES = {
    SIGNUPS: "jotform/250685983663169",
    MEMBERS: "givebutter/campaigns/1/members",
    CONTACTS: CONTACTS_SOURCE,
}


def submissions(table: str, count: int, **changes: Any) -> pl.DataFrame:
    """Submissions in which every required question is answered."""
    text = {name: "some text" for name in REQUIRED[table] if name not in {"submission_id", "submitted_at"}}
    return together(
        *(
            row(table, **{"year": YEAR, "submission_id": str(number), "submitted_at": NOW, **text, **changes})
            for number in range(count)
        )
    )


def rows_of(table: str, count: int, **changes: Any) -> pl.DataFrame:
    if table in FORMS:
        return submissions(table, count, **changes)
    one = contact if table == CONTACTS else member
    return together(*(one(number, **changes) for number in range(1, count + 1)))


def read_whole(table: str, count: int, **changes: Any) -> pl.DataFrame:
    return row("source_reads", source=SOURCES[table], full_row_count=count, **changes)


@pytest.mark.parametrize("table", REQUIRED)
def test_every_raw_table_has_the_check_and_it_blocks(table: str) -> None:
    blocking = {spec.name: spec.blocking for spec in CHECKS[table].check_specs}
    assert blocking["row_count_not_collapsed"]


@pytest.mark.parametrize("table", SOURCES)
def test_a_table_that_lost_rows_stops_the_run(check: Check, store: Store, table: str) -> None:
    store("source_reads", read_whole(table, 60))
    found = check(table, rows_of(table, 40))
    description = found.failed("row_count_not_collapsed")
    assert "holds 40 rows" in description
    assert "listed 60" in description


@pytest.mark.parametrize(("listed", "stored"), [(60, 48), (20, 12), (60, 80)])
def test_a_few_rows_less_are_no_collapse(check: Check, store: Store, listed: int, stored: int) -> None:
    store("source_reads", read_whole(SIGNUPS, listed))
    found = check(SIGNUPS, rows_of(SIGNUPS, stored))
    assert found["row_count_not_collapsed"].passed
    assert found.went_on


def test_a_source_that_was_never_read_whole_cannot_have_collapsed(check: Check) -> None:
    assert check(SIGNUPS, rows_of(SIGNUPS, 1))["row_count_not_collapsed"].passed


@pytest.mark.parametrize("mark", ["archived_at", "missing_since"])
def test_contacts_that_are_no_longer_listed_do_not_count(check: Check, store: Store, mark: str) -> None:
    store("source_reads", read_whole(CONTACTS, 60))
    store(CONTACTS, rows_of(CONTACTS, 60, **{mark: NOW}))
    assert not check(CONTACTS, rows_of(CONTACTS, 30))["row_count_not_collapsed"].passed


@pytest.mark.parametrize(("table", "column"), [(table, columns[-1]) for table, columns in REQUIRED.items()])
def test_a_column_without_a_value_stops_the_run(check: Check, table: str, column: str) -> None:
    found = check(table, rows_of(table, ENOUGH_ROWS, **{column: None}))
    assert f"{column} of {table} is empty" in found.failed("required_columns")
    assert found.rows("required_columns") == [{"column": column}]


def test_a_handful_of_rows_may_lack_a_column(check: Check) -> None:
    found = check(SIGNUPS, submissions(SIGNUPS, ENOUGH_ROWS - 1, phone=None))
    assert found["required_columns"].passed
    assert found.went_on


def test_one_value_is_enough_for_a_column(check: Check) -> None:
    rows = together(submissions(SIGNUPS, 20, phone=None), row(SIGNUPS, year=YEAR, submission_id="x", phone="706"))
    assert check(SIGNUPS, rows)["required_columns"].passed


@pytest.mark.parametrize(
    ("hours", "severity"),
    [(1, None), (25, dg.AssetCheckSeverity.WARN), (8 * 24, dg.AssetCheckSeverity.ERROR)],
)
def test_old_contacts_are_told_and_do_not_stop_the_run(
    check: Check, store: Store, hours: int, severity: dg.AssetCheckSeverity | None
) -> None:
    known_at = datetime.now(UTC) - timedelta(hours=hours)
    store("source_reads", read_whole(CONTACTS, 1, read_at=known_at, full_read_at=known_at))
    found = check(CONTACTS, contact(1))
    fresh = found["contacts_are_fresh"]
    assert fresh.passed is (severity is None)
    assert fresh.passed or fresh.severity is severity
    assert f"{hours} hours ago" in str(fresh.description)
    assert found.went_on


def test_contacts_that_were_never_read_are_told(check: Check) -> None:
    assert "No contact was ever read" in check(CONTACTS, contact(1)).warned("contacts_are_fresh")


def test_a_campaign_page_of_nobody_is_named(check: Check, store: Store) -> None:
    store(MEMBERS, together(member(1), member(2, display_name="Team Wren", email="wren@example.com")))
    links = [
        row("form_links", year=YEAR, source_table=MEMBERS, source_id=str(number), mn_id=mn_id, is_newest=True)
        for number, mn_id in ((1, "0001"), (2, None))
    ]
    found = check("form_links", together(*links))
    assert "Team Wren" in found.warned("members_have_a_mentor")
    (shown,) = found.rows("members_have_a_mentor")
    assert (shown["display_name"], shown["email"]) == ("Team Wren", "wren@example.com")
    assert check("form_links", links[0])["members_have_a_mentor"].passed


def test_a_wrong_question_in_the_year_file_stops_a_sync_before_the_mentors(tmp_path: Path) -> None:
    """A real sync over HTTP: the question that the year file names for the phone is never answered."""
    world = World.empty(program())
    for number in range(1, 13):
        world.submit(
            "signup", mn_id=f"MN{number:04d}", name=f"Ada Elm{number}", personal_email=f"ada{number}@example.com"
        )
        world.add_contact(first_name="Ada", last_name=f"Elm{number}", emails=[f"ada{number}@example.com"])
    with installed(tmp_path / "data", world) as there:
        outcome = there.run("sync")
        blocking = [check for check in outcome.failed_checks if check.is_blocking]
        stored = there.counts()
        logged = there.table("sync_log")["status"].to_list()
    assert not outcome.success
    assert [(check.asset, check.check) for check in blocking] == [(SIGNUPS, "required_columns")]
    assert "phone of raw_mn_signups is empty in all 12 rows" in blocking[0].description
    done = {step.name for step in outcome.steps if step.status == "done"}
    not_run = {step.name for step in outcome.steps if step.status == "not_run"}
    assert {SIGNUPS, CONTACTS} <= done
    assert {"signups", "mentors", "mn_changes", "judge_import_rows"} <= not_run
    assert (stored[SIGNUPS], stored[CONTACTS]) == (12, 12)
    assert (stored["mentors"], stored["mn_gb_import"]) == (0, 0)
    assert logged == ["failed"]
