"""A mentor's life, the mentors as they were, files of both, and the door of the training."""

from __future__ import annotations

import csv
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from mentor_pipeline.domain.changes import changes
from mentor_pipeline.domain.history import next_versions
from mentor_pipeline.errors import ExportRefusedError, FileRejectedError, MentorPipelineError, WrongUseError
from mentor_pipeline.operator import reports
from mentor_pipeline.operator.check_in import Door, Kept, counted, kept_before, read_list, read_time
from mentor_pipeline.operator.life import CHANGE_COLUMNS, life, mentors_as_of, write_changes, write_mentors
from mentor_pipeline.operator.reports import NothingSyncedError
from tests.builders import NOW, YEAR, action, alias, mentor, phone_of, program, row, together
from tests.small_year import run, store_small_year

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse

MONDAY, TUESDAY, THURSDAY = NOW, NOW + timedelta(days=1), NOW + timedelta(days=3)
FIRST, SECOND, THIRD = "run-first", "run-second", "run-third"
FORMULA = "=HYPERLINK(1)"


def logged(at: datetime, contact_id: int, operation: str, state: str, **changes: Any) -> pl.DataFrame:
    values = {"id": f"{at.isoformat()}-{contact_id}-{operation}-{state}", "contact_id": contact_id, "at": at}
    more = {"operation": operation, "state": state, "actor": "Ben", "run_id": THIRD, "mn_id": "0042"}
    return row("contact_archive_log", **{**values, **more, **changes})


def conflict(mn_id: str, kind: str, **changes: Any) -> pl.DataFrame:
    values = {
        "id": f"conflict-{mn_id}-{kind}",
        "year": YEAR,
        "mn_id": mn_id,
        "conflict_type": kind,
        "option_a": '{"value": 7, "name": "Cora Cedar"}',
        "option_b": '{"value": 8, "name": "C. Cedar"}',
        "status": "pending",
        "detected_at": MONDAY,
    }
    return row("sync_conflicts", **{**values, **changes})


@pytest.fixture
def lived(warehouse: Warehouse) -> Warehouse:
    """Three syncs: 0042 was placeholder 999001 and is dropped later, 0007 comes on Tuesday, 0300 vanishes then."""
    aliases = alias("999001", "0042", at=TUESDAY)
    nameless = mentor("999001", first_name="Cora", last_name="Cedar")
    seen = [
        (MONDAY, FIRST, together(mentor("0001"), nameless, mentor("0300"))),
        (TUESDAY, SECOND, together(mentor("0001", notes=FORMULA), cora(), mentor("0007"))),
        (THURSDAY, THIRD, together(mentor("0001", notes=FORMULA), cora(dropped=True), mentor("0007"))),
    ]  # fmt: skip
    for at, run_id, mentors in seen:
        known = aliases if at >= TUESDAY else aliases.clear()
        history = warehouse.read_or_empty("mentor_history")
        stamped = mentors.with_columns(updated_at=pl.lit(at))
        warehouse.upsert("mentor_history", next_versions(history, stamped, run_id=run_id, now=at, aliases=known))
        warehouse.append("sync_log", run(run_id, at - timedelta(minutes=1), finished_at=at + timedelta(minutes=1)))
        history = warehouse.read_or_empty("mentor_history")
        told = warehouse.read_or_empty("mn_changes")["id"]
        warehouse.append("mn_changes", changes(history, sent=(), known_ids=told, aliases=known))
        warehouse.replace("mentors", mentors, year=YEAR)
    warehouse.append("mentor_aliases", aliases)
    given = row("placeholder_ids", year=YEAR, submission_id="60999001", mn_id="999001", assigned_at=MONDAY)
    warehouse.append("placeholder_ids", given)
    chosen = '{"decision": "a", "value": 7, "field": "gb_contact_id"}'
    warehouse.append(
        "operator_actions",
        together(
            action("edit", mn_id="999001", field="notes", value='"brings [cake]"', actor="Ada", note="she called"),
            action(
                "conflict_decision", mn_id="0042", field="contact_selection", value=chosen, actor="Ben",
                target_id="conflict-0042-contact_selection", at=TUESDAY + timedelta(hours=1),
            ),
            action("edit", mn_id="0001", field="dropped", value="true"),
        ),
    )  # fmt: skip
    resolved = {"status": "resolved", "user_decision": "a", "resolved_by": "Ben", "resolved_at": TUESDAY}
    warehouse.upsert(
        "sync_conflicts",
        together(
            conflict("0042", "contact_selection", **resolved),
            conflict("0042", "phone_mismatch", status="obsolete", last_seen_at=TUESDAY),
            conflict("0001", "email_mismatch"),
        ),
    )
    warehouse.append(
        "contact_archive_log",
        together(
            logged(THURSDAY, 8, "archive", "started"), logged(THURSDAY, 8, "archive", "done", winner_contact_id=7),
            logged(THURSDAY, 9, "release", "started"), logged(THURSDAY, 11, "archive", "done", mn_id="0001"),
            logged(THURSDAY, 7, "archive", "failed", mn_id="0001", error="503"),
            logged(MONDAY - timedelta(days=300), 12, "archive", "done"),
        ),
    )  # fmt: skip
    return warehouse


def cora(**changes: Any) -> pl.DataFrame:
    return mentor("0042", first_name="Cora", last_name="Cedar", gb_contact_id=7, gb_match_status="linked", **changes)


def told(warehouse: Warehouse, asked: str) -> list[tuple[datetime, str, str, str | None]]:
    return [(event.at, event.kind, event.words, event.by) for event in life(warehouse, program(), asked).events]


# -- a life ----------------------------------------------------------------------------------------------------------


def test_a_life_is_told_newest_last_with_who_and_which_run(lived: Warehouse) -> None:
    events = told(lived, "42")
    assert [at for at, *_ in events] == sorted(at for at, *_ in events)
    for expected in (
        (MONDAY, "placeholder", "got the placeholder id 999001: sign-up 60999001 has no mentor id", None),
        (MONDAY, "edit", "notes set to brings [cake]", "Ada"),
        (MONDAY, "new_mentor", "first seen as Cora Cedar", "Ada"),
        (TUESDAY, "renamed", "goes on as 0042 after the placeholder 999001", None),
        (TUESDAY, "contact_linked", "gb_contact_id: nothing → 7", "Ada"),
        (THURSDAY, "dropped", "dropped: false → true", "Ada"),
    ):
        assert expected in events
    assert events[0][1] == "placeholder"
    assert not {"gone", "back"} & {kind for _, kind, *_ in events}


def test_runs_and_notes_are_told_with_the_event(lived: Warehouse) -> None:
    events = {event.kind: event for event in life(lived, program(), "0042").events}
    assert (events["dropped"].run_id, events["dropped"].is_significant) == (THIRD, True)
    assert (events["dropped"].field, events["dropped"].before, events["dropped"].after) == ("dropped", "false", "true")
    assert (events["edit"].note, events["edit"].run_id) == ("she called", None)


def test_conflicts_are_told_as_they_came_and_went_each_decision_once(lived: Warehouse) -> None:
    about = [(at, kind, words) for at, kind, words, _ in told(lived, "0042") if "conflict-" in words]
    selection, phone = "conflict-0042-contact_selection", "conflict-0042-phone_mismatch"
    assert sorted(about) == sorted(
        [
            (MONDAY, "conflict_detected", f"contact_selection: 7 Cora Cedar or 8 C. Cedar ({selection})"),
            (TUESDAY + timedelta(hours=1), "decision", f"contact_selection decided: a, 7 ({selection})"),
            (MONDAY, "conflict_detected", f"phone_mismatch: 7 Cora Cedar or 8 C. Cedar ({phone})"),
            (TUESDAY, "conflict_obsolete", f"phone_mismatch settled itself after this ({phone})"),
        ]
    )


def test_what_was_done_to_their_contacts_is_told_and_nothing_of_others_or_of_earlier_years(lived: Warehouse) -> None:
    done = [words for _, kind, words, by in told(lived, "0042") if kind in {"archive", "release"} and by == "Ben"]
    assert sorted(done) == [
        "archive of contact 7: failed; 503",
        "archive of contact 8: done; the mentor's contact is 7",
        "release of contact 9: begun, outcome unknown",
    ]


def test_an_id_that_is_someone_elses_next_year_ends_this_years_story(lived: Warehouse) -> None:
    later = lived.read("mentor_history").filter(mn_id="0042").head(1)
    next_year = later.with_columns(year=pl.lit(YEAR + 1, pl.Int32), valid_from=pl.lit(THURSDAY - timedelta(hours=1)))
    lived.upsert("mentor_history", next_year)
    assert not [words for _, kind, words, _ in told(lived, "0042") if kind in {"archive", "release"}]


@pytest.mark.parametrize("asked", ["42", "MN0042", "999001"])
def test_a_mentor_is_found_by_any_spelling_and_by_the_placeholder(lived: Warehouse, asked: str) -> None:
    found = life(lived, program(), asked)
    assert (found.mn_id, found.earlier_ids, found.full_name, found.is_gone) == (
        "0042",
        ("999001",),
        "Cora Cedar",
        False,
    )


def test_who_is_no_longer_a_mentor_still_has_a_life(lived: Warehouse) -> None:
    found = life(lived, program(), "300")
    assert found.is_gone
    assert [(event.at, event.kind) for event in found.events] == [(MONDAY, "new_mentor"), (TUESDAY, "gone")]


def test_who_comes_back_is_told(lived: Warehouse) -> None:
    everybody = together(lived.read("mentors"), mentor("0300"))
    at = THURSDAY + timedelta(days=1)
    history = lived.read("mentor_history")
    back = next_versions(history, everybody.with_columns(updated_at=pl.lit(at)), run_id="x", now=at)
    lived.upsert("mentor_history", back.filter(mn_id="0300"))
    assert [event.kind for event in life(lived, program(), "300").events] == ["new_mentor", "gone", "back"]


def test_nobody_is_refused_with_whom_it_might_mean(lived: Warehouse, warehouse: Warehouse) -> None:
    with pytest.raises(
        MentorPipelineError, match=r"No mentor of 2025 has the id 'Cora'\. Did you mean 0042 \(Cora Cedar\)"
    ):
        life(lived, program(), "Cora")


def test_before_the_first_sync_there_is_no_life_and_no_history(warehouse: Warehouse) -> None:
    for ask in (
        lambda: life(warehouse, program(), "42"),
        lambda: mentors_as_of(warehouse, program(), "2025-10-02", NOW),
    ):
        with pytest.raises(NothingSyncedError, match="Nothing has been synced yet for 2025"):
            ask()


# -- the table as it was ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ("2025-10-01T12:00", ["0001", "0300", "999001"]),
        ("2025-10-02T11:59:59", ["0001", "0300", "999001"]),
        ("2025-10-02T12:00", ["0001", "0007", "0042"]),
        ("2025-10-02T07:59-04:00", ["0001", "0300", "999001"]),
        (FIRST, ["0001", "0300", "999001"]),
        ("run-sec", ["0001", "0007", "0042"]),
    ],
)
def test_the_mentors_are_those_of_the_time_under_the_ids_of_the_time(lived: Warehouse, asked: str, ids: Any) -> None:
    found = mentors_as_of(lived, program(), asked, THURSDAY)
    assert found.mentors["mn_id"].to_list() == ids
    assert found.by_status == {"needs_setup": 3}


def test_the_newest_time_gives_the_table_as_it_is(lived: Warehouse) -> None:
    found = mentors_as_of(lived, program(), "run-third", THURSDAY + timedelta(days=1))
    timeless = pl.exclude("created_at", "updated_at")
    assert (
        found.mentors.drop("version", "valid_from")
        .select(timeless)
        .equals(lived.read("mentors").sort("mn_id").select(timeless))
    )


def test_one_mentor_is_found_under_the_id_of_then(lived: Warehouse) -> None:
    then = mentors_as_of(lived, program(), "2025-10-01T12:00", THURSDAY, mentor="42")
    now = mentors_as_of(lived, program(), THURSDAY.isoformat(), THURSDAY, mentor="42")
    assert (then.mn_id, then.mentors["mn_id"].to_list(), then.mentors["dropped"].to_list()) == (
        "0042",
        ["999001"],
        [False],
    )
    assert (now.mentors["mn_id"].to_list(), now.mentors["dropped"].to_list()) == (["0042"], [True])


@pytest.mark.parametrize(
    ("asked", "mentor", "error", "said"),
    [
        ("2025-10-01T11:59", None, NothingSyncedError, "that began at 2025-10-01 12:00:00 UTC"),
        (
            "2025-10-01T12:00",
            "0007",
            NothingSyncedError,
            "Mentor 0007 was not known at 2025-10-01 12:00:00 UTC; that began",
        ),
        ("2025-10-03", "0300", MentorPipelineError, "was not among the mentors of 2025 at 2025-10-03 00:00 UTC"),
        ("2025-10-05", None, WrongUseError, "2025-10-05 00:00:00 UTC is still to come"),
        ("last week", None, MentorPipelineError, "neither a run in sync_log nor a time"),
        ("run-", None, MentorPipelineError, "3 runs begin with"),
        ("2025-10-03", "9999", MentorPipelineError, "No mentor of 2025 has the id '9999'"),
    ],
)
def test_a_time_that_cannot_be_told_of_is_refused(
    lived: Warehouse, asked: str, mentor: str | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said.replace(".", r"\.")):
        mentors_as_of(lived, program(), asked, THURSDAY, mentor=mentor)


# -- files -----------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_mentors_are_written_with_all_columns_and_no_formulas_for_their_owner_only(
    lived: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "then.csv"
    found = mentors_as_of(lived, program(), "2025-10-02T12:00", THURSDAY)
    tagged = found.mentors.with_columns(tags=pl.lit(["Mentors 2025", "Zo\u00eb"]))
    assert write_mentors(path, tagged) == 3
    rows = rows_of(path)
    assert list(rows[0]) == tagged.columns
    first = rows[0]
    assert (first["mn_id"], first["notes"], first["phone"]) == ("0001", f"'{FORMULA}", phone_of(1))
    assert (first["tags"], first["dropped"], first["gb_contact_id"]) == ("Mentors 2025, Zo\u00eb", "false", "")
    assert (first["amount_raised"], first["valid_from"], first["version"]) == ("0.00", "2025-10-02 12:00:00 UTC", "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_changes_are_written_as_they_are_reported(lived: Warehouse, tmp_path: Path) -> None:
    found = reports.changes(lived, program(), reports.ChangeFilter())
    path = tmp_path / "changes.csv"
    assert write_changes(path, found.rows) == len(found.rows)
    rows = rows_of(path)
    assert tuple(rows[0]) == CHANGE_COLUMNS
    (noted,) = (row for row in rows if row["mn_id"] == "0001" and row["field_name"] == "notes")
    assert (noted["detected_at"], noted["old_value"], noted["new_value"]) == (
        "2025-10-02 12:00:00 UTC", "", f"'{FORMULA}"
    )  # fmt: skip


def test_no_changes_are_a_file_with_a_header(tmp_path: Path) -> None:
    assert write_changes(tmp_path / "none.csv", []) == 0
    assert (tmp_path / "none.csv").read_text(encoding="utf-8-sig").startswith('"detected_at","mn_id"')


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("mine")
    with pytest.raises(ExportRefusedError, match=r"is there already\. It was left as it is"):
        write_changes(path, [])
    assert path.read_text() == "mine"
    with pytest.raises(ExportRefusedError, match="cannot be written: No such file or directory"):
        write_changes(tmp_path / "nowhere" / "x.csv", [])


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(warehouse: Warehouse) -> Warehouse:
    store_small_year(warehouse)
    return warehouse


def test_each_id_is_answered_and_one_fault_stops_nobody(small: Warehouse) -> None:
    small.append("operator_actions", action("edit", mn_id="0300", field="training_done", value="true"))
    door = Door(small, program())
    scans = [door.admit(typed, NOW) for typed in ("1", "nobody", "MN0042", "999001", "0300")]
    assert [scan.state for scan in scans] == ["accepted", "unknown", "accepted", "twice", "unchanged"]
    assert "No mentor of 2025 has the id 'nobody'" in scans[1].words
    assert counted(scans) == {"accepted": 2, "unchanged": 1, "twice": 1, "unknown": 1}
    assert door.edits("at the door") == [
        {"mn_id": "0001", "field": "training_done", "value": "yes", "note": "at the door"},
        {"mn_id": "0001", "field": "training_at", "value": NOW.isoformat()},
        {"mn_id": "0042", "field": "training_done", "value": "yes", "note": "at the door"},
        {"mn_id": "0042", "field": "training_at", "value": NOW.isoformat()},
    ]


def test_undo_takes_back_only_who_is_checked_in(small: Warehouse) -> None:
    small.append("operator_actions", action("edit", mn_id="999001", field="training_done", value="true"))
    door = Door(small, program(), undo=True)
    assert [door.admit(typed, NOW).state for typed in ("0042", "0001")] == ["accepted", "unchanged"]
    assert door.edits() == [
        {"mn_id": "0042", "field": "training_done", "value": "no"},
        {"mn_id": "0042", "field": "training_at", "value": "none"},
    ]


def test_the_newest_mark_counts(small: Warehouse) -> None:
    marks = [
        action("edit", id=f"{at:%H}", mn_id="0001", field="training_done", value=value, at=at)
        for at, value in ((NOW, "true"), (NOW + timedelta(hours=1), "false"))
    ]
    small.append("operator_actions", together(*marks))
    assert Door(small, program()).admit("0001", NOW).state == "accepted"


def test_the_door_stays_shut_before_the_first_sync(warehouse: Warehouse) -> None:
    with pytest.raises(NothingSyncedError):
        Door(warehouse, program())


def test_what_is_kept_is_a_list_that_can_be_read(small: Warehouse, tmp_path: Path) -> None:
    kept = Kept.new(tmp_path, NOW)
    assert kept_before(tmp_path) == []
    door = Door(small, program())
    for typed, minute in (("1", 1), ("42", 2)):
        kept.add(door.admit(typed, NOW + timedelta(minutes=minute)))
    assert kept_before(tmp_path) == [kept.path]
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    times = [NOW + timedelta(minutes=minute) for minute in (1, 2)]
    assert read_list(kept.path, program(), times[1]) == [("0001", times[0]), ("0042", times[1])]
    again = Kept.again(tmp_path, kept.path)
    assert again is not None
    again.forget()
    assert kept_before(tmp_path) == []
    assert Kept.again(tmp_path, tmp_path / "list.csv") is None


def test_a_list_may_have_what_lists_have(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf0001\r\n\r\n  MN0042 \r\n0300,2025-09-30T18:30\r\nJos\xe9")
    evening = datetime(2025, 9, 30, 22, 30, tzinfo=UTC)  # 18:30 in New York
    assert read_list(path, program(), NOW) == [("0001", None), ("MN0042", None), ("0300", evening), ("Jos\ufffd", None)]


@pytest.mark.parametrize(
    ("line", "said"), [("0001,Ada Alder", "'Ada Alder' is no time"), ("0001,2099-01-01", "is still to come")]
)
def test_a_list_with_something_else_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"0042\n{line}\n")
    with pytest.raises(FileRejectedError, match=f"list.csv, line 2: .*{said}.*Nothing was recorded"):
        read_list(path, program(), NOW)


def test_no_time_is_refused() -> None:
    for typed in ("none", "soon"):
        with pytest.raises(WrongUseError, match="is no time"):
            read_time(typed, program(), NOW)
