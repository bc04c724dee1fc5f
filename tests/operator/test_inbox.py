"""Files of the inbox: which are ready, and what an import leaves in the warehouse and in the folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from mentor_pipeline.domain.api_contacts import contact_rows
from mentor_pipeline.domain.contacts_csv import read_contacts
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.errors import FileRejectedError, MentorPipelineError
from mentor_pipeline.operator import imports
from mentor_pipeline.operator.contacts import CONTACTS_SOURCE
from mentor_pipeline.operator.imports import (
    LARGEST_FILE,
    ImportOutcome,
    import_contacts_csv,
    import_csv,
    import_failures_csv,
)
from mentor_pipeline.operator.inbox import (
    NO_FILE,
    DoneWith,
    EarlierRuns,
    InboxFile,
    Plan,
    contents_to_import,
    import_run_config,
    not_followed,
    observe,
    plan,
    put_away,
    tidy,
)
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.simulator import Simulator, World, generate_world
from mentor_pipeline.tables import TABLES
from tests.builders import YEAR, contact, mentor, program, row, together

NOW = datetime(2025, 10, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEDGER = TABLES["csv_import_log"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "mentors.duckdb")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def export(ids: range, name: str = "Ada", modified: str = "2025-10-28 09:00:00") -> str:
    lines = [f"{number},{name},Elm{number},{modified}" for number in ids]
    return "\n".join(["Givebutter Contact ID,First Name,Last Name,Last Modified (UTC)", *lines, ""])


def dropped(inbox: Path, name: str, text: str) -> Path:
    path = inbox / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(path: Path, warehouse: DuckDBWarehouse, inbox: Path | None = None, **more: Any) -> ImportOutcome:
    given = {"program": program(), "now": NOW, "actor": "pat", "run_id": "run-1", **more}
    return import_contacts_csv(path, warehouse=warehouse, inbox=inbox, **given)


def ledger(warehouse: DuckDBWarehouse) -> dict[str, Any]:
    """The only row of the ledger."""
    (entry,) = warehouse.read("csv_import_log").to_dicts()
    return entry


def contents(warehouse: DuckDBWarehouse) -> dict[str, pl.DataFrame]:
    return {name: warehouse.read_or_empty(name) for name in ("raw_gb_full_contacts", "source_reads", "csv_import_log")}


# -- planning -----------------------------------------------------------------------------------------------------


def seen(name: str = "a.csv", size: int = 10, sha256: str | None = "abc") -> InboxFile:
    return InboxFile(name, size, 1, sha256)


def planned(*files: InboxFile, entry: dict[str, Any] | None = None, now: datetime = NOW, **more: Any) -> Plan:
    entries = LEDGER.empty() if entry is None else row("csv_import_log", **{"sha256": "abc", **entry})
    previous = more.pop("previous", {file.name: file for file in files})
    return plan(files, entries, previous, now, **more)


def test_a_file_is_ready_when_two_ticks_see_it_the_same() -> None:
    assert [ready.run_key for ready in planned(seen()).ready] == ["abc:1"]
    assert "is new" in planned(seen(sha256=None), previous={}).waiting[0].reason
    assert "cannot be read" in planned(InboxFile("a.csv", 10, 1, is_readable=False)).waiting[0].reason
    assert not planned(seen(size=11), previous={"a.csv": seen(size=10)}).ready


@pytest.mark.parametrize(
    "name", ["a.csv.part", "a.tmp", "A.CRDOWNLOAD", ".a.csv", "~$a.csv", ".~lock.a.csv#", "a.csv~", ".DS_Store"]
)
def test_a_file_with_a_temporary_name_waits(name: str) -> None:
    assert "unfinished" in planned(seen(name)).waiting[0].reason


def test_what_is_in_the_ledger_is_only_put_away() -> None:
    done = planned(seen(), entry={"status": "completed", "filename": "first.csv", "finished_at": NOW})
    assert (done.ready, done.done_with[0].folder) == ((), "done")
    assert "already imported on 2025-10-28 12:00 UTC as first.csv" in done.done_with[0].note
    before = {"status": "rejected", "message": "first.csv: line 3 is short.", "filename": "first.csv"}
    rejected = planned(seen(), entry=before)
    assert rejected.done_with[0].folder == "rejected"
    assert rejected.done_with[0].note == (
        "It has the same content as first.csv, which was rejected before. first.csv: line 3 is short."
    )
    same = planned(seen("first.csv"), entry=before).done_with[0]
    assert same.note == "first.csv: line 3 is short."


def test_two_files_of_one_content_are_one_import() -> None:
    both = planned(seen("a.csv"), seen("b.csv"))
    assert [ready.file.name for ready in both.ready] == ["a.csv"]
    assert "same content as a.csv" in both.waiting[0].reason


def test_a_killed_attempt_is_taken_up_at_once_and_a_live_one_is_left_alone() -> None:
    running = {"status": "running", "attempts": 1, "failures": 0, "started_at": NOW, "run_id": "run-1"}
    assert [ready.run_key for ready in planned(seen(), entry=running).ready] == ["abc:2"]
    assert [ready.run_key for ready in planned(seen(), entry=running, live_runs=["run-2"]).ready] == ["abc:2"]
    assert "being imported" in planned(seen(), entry=running, live_runs=["run-2", "run-1"]).waiting[0].reason


@pytest.mark.parametrize(("attempts", "minutes"), [(10, 10), (11, 20), (14, 50)])
def test_a_file_that_kills_every_attempt_gets_growing_pauses(attempts: int, minutes: int) -> None:
    running = {"status": "running", "attempts": attempts, "failures": 0, "started_at": NOW, "run_id": "run-1"}
    assert "next one is after" in planned(seen(), entry=running, now=NOW + (minutes - 1) * MINUTE).waiting[0].reason
    assert planned(seen(), entry=running, now=NOW + minutes * MINUTE).ready[0].attempt == attempts + 1


def test_a_file_that_killed_fifteen_attempts_is_rejected_with_the_reason() -> None:
    running = {"status": "running", "attempts": 15, "failures": 0, "started_at": NOW, "run_id": "run-1"}
    assert "being imported" in planned(seen(), entry=running, live_runs=["run-2", "run-1"]).waiting[0].reason
    (given_up,) = planned(seen(), entry=running, now=NOW + 60 * MINUTE).done_with
    assert given_up.folder == "rejected"
    assert "15 attempts to import it were cut off" in given_up.note


def test_a_content_whose_runs_were_not_looked_up_waits_for_its_turn() -> None:
    """Given many files, then a tick decides about some of them only; done ones are put away at once."""
    files = [seen("a.csv", sha256="abc"), seen("b.csv", sha256="def"), seen("c.csv", sha256="ghi")]
    previous = {file.name: file for file in files}
    ledger = row("csv_import_log", sha256="abc", status="completed", filename="x.csv", finished_at=NOW)
    assert contents_to_import(files, ledger, previous, at_most=1) == ["def"]
    assert contents_to_import(files, ledger, {}, at_most=9) == []
    some = plan(files, ledger, previous, NOW, runs={"def": EarlierRuns(0)})
    assert [file.name for file in some.done_with] == ["a.csv"]
    assert [ready.run_key for ready in some.ready] == ["def:1"]
    assert [(file.name, file.reason) for file in some.waiting] == [("c.csv", "its turn comes after others")]


def test_what_is_planned_depends_on_nothing_but_its_arguments() -> None:
    files = [seen(f"{number}.csv", sha256=f"{number % 7}") for number in range(20)]
    previous = {file.name: file for file in files}
    one = plan(files, LEDGER.empty(), previous, NOW)
    assert plan(reversed(files), LEDGER.empty(), previous, NOW) == one
    assert len(one.ready) == 7


def test_a_failed_attempt_is_repeated_after_growing_pauses() -> None:
    def failed(failures: int) -> dict[str, Any]:
        return {"status": "failed", "attempts": failures, "failures": failures, "finished_at": NOW}

    assert not planned(seen(), entry=failed(1), now=NOW + 0.9 * MINUTE).ready
    assert planned(seen(), entry=failed(1), now=NOW + MINUTE).ready[0].attempt == 2
    assert not planned(seen(), entry=failed(2), now=NOW + 4 * MINUTE).ready
    assert planned(seen(), entry=failed(2), now=NOW + 5 * MINUTE).ready[0].attempt == 3


def test_runs_that_never_reached_the_ledger_count_too() -> None:
    """Dagster never repeats a run key, so the next attempt has a new one; three such runs are enough."""
    runs = {"abc": EarlierRuns(count=1, failures=1, last_end=NOW)}
    assert not planned(seen(), runs=runs).ready
    assert [ready.run_key for ready in planned(seen(), runs=runs, now=NOW + MINUTE).ready] == ["abc:2"]
    given_up = planned(seen(), runs={"abc": EarlierRuns(3, 3, NOW)}, now=NOW + 60 * MINUTE)
    assert given_up.done_with[0].folder == "rejected"
    assert "import-contacts" in given_up.done_with[0].note
    assert "under way" in planned(seen(), runs={"abc": EarlierRuns(1, in_progress=True)}).waiting[0].reason


def test_a_growing_file_is_not_hashed_and_folders_are_not_files(inbox: Path) -> None:
    path = dropped(inbox, "a.csv", "x")
    (inbox / "done").mkdir()
    first = {file.name: file for file in observe(inbox, {})}
    assert list(first) == ["a.csv"]
    assert first["a.csv"].sha256 is None
    path.write_text("xy", encoding="utf-8")
    second = {file.name: file for file in observe(inbox, first)}
    assert second["a.csv"].sha256 is None
    third = observe(inbox, second)
    assert third[0].sha256 is not None


def test_a_tick_without_time_reads_files_later(inbox: Path) -> None:
    for name in ("a.csv", "b.csv"):
        dropped(inbox, name, name)
    first = {file.name: file for file in observe(inbox, {})}
    in_a_hurry = observe(inbox, first, seconds=0)
    assert [(file.sha256, file.is_readable) for file in in_a_hurry] == [(None, True), (None, True)]
    assert all(file.sha256 for file in observe(inbox, first, seconds=60))


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("a file", encoding="utf-8")
    with pytest.raises(MentorPipelineError, match="cannot be listed"):
        observe(tmp_path / "inbox", {})


def entries(folder: Path) -> set[str]:
    return {f"{path.relative_to(folder)} {path.lstat().st_ino}" for path in folder.rglob("*")}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside of the inbox, with somebody's files."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    dropped(folder, "contacts.csv", export(range(1, 4)))
    dropped(folder, "secret.conf", "password=orange,x\n1,2\n")
    return folder


@pytest.fixture
def linked(inbox: Path, elsewhere: Path) -> Path:
    """An inbox with links to files, to a folder and to nothing, and a pipe into which nobody writes."""
    for name, target in {"a.csv": "contacts.csv", "b.csv": "secret.conf", "c.csv": "", "d.csv": "nothing"}.items():
        (inbox / name).symlink_to(elsewhere / target)
    os.mkfifo(inbox / "e.csv")
    return inbox


@pytest.mark.timeout(20)
def test_links_and_pipes_are_neither_followed_nor_moved_and_told_once(linked: Path, tmp_path: Path) -> None:
    before = entries(tmp_path)
    first = {file.name: file for file in observe(linked, {})}
    files = observe(linked, first)
    assert [(file.name, file.sha256, file.is_plain) for file in files] == [
        (name, None, False) for name in ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv")
    ]
    made = planned(*files, previous=first)
    assert (made.ready, made.done_with) == ((), ())
    assert [waits.reason for waits in made.waiting] == [NO_FILE] * 5
    assert tidy(linked, made) == []
    assert [words.partition(" in the inbox: it is a link or a pipe")[0] for words in not_followed(files, {})] == [
        *first
    ]
    assert not_followed(files, first) == []
    assert entries(tmp_path) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("importing", [import_contacts_csv, import_failures_csv, import_csv])
@pytest.mark.parametrize("name", ["a.csv", "b.csv", "c.csv", "e.csv"])
def test_a_file_that_became_a_link_or_a_pipe_is_not_imported(
    warehouse: DuckDBWarehouse, linked: Path, tmp_path: Path, importing: Any, name: str
) -> None:
    """As when it was put in the file's place after a tick had seen the file."""
    before = entries(tmp_path)
    given = {"warehouse": warehouse, "program": program(), "now": NOW, "actor": "pat", "run_id": "r", "inbox": linked}
    with pytest.raises(FileRejectedError, match=rf"{name} was not imported: it is a link or a pipe.*unread"):
        importing(linked / name, **given)
    assert entries(tmp_path) == before
    was_there = {link: InboxFile(link, found.st_size, found.st_mtime_ns) for link in ("a.csv", "b.csv", "e.csv")
                 for found in [(linked / link).lstat()]}  # fmt: skip
    assert all(file.sha256 is None for file in observe(linked, was_there))


@pytest.mark.timeout(20)
def test_a_person_may_name_a_link_elsewhere_but_no_pipe(
    warehouse: DuckDBWarehouse, inbox: Path, elsewhere: Path
) -> None:
    (elsewhere / "newest.csv").symlink_to(elsewhere / "contacts.csv")
    os.mkfifo(elsewhere / "pipe.csv")
    assert imported(elsewhere / "newest.csv", warehouse, inbox).counts["rows"] == 3
    with pytest.raises(MentorPipelineError, match="it is no plain file"):
        imported(elsewhere / "pipe.csv", warehouse, inbox)


def test_nothing_is_put_away_by_a_link_out_of_the_inbox(inbox: Path, elsewhere: Path) -> None:
    (inbox / "rejected").symlink_to(elsewhere)
    before = entries(elsewhere)
    path = dropped(inbox, "authorized_keys", "x")
    with pytest.raises(MentorPipelineError, match="rejected is a link"):
        put_away(path, inbox, "rejected", "no CSV")
    assert entries(elsewhere) == before
    assert path.exists()


def test_a_name_that_is_no_utf_8_becomes_one_that_can_be_told(inbox: Path) -> None:
    (inbox / "good.csv").write_text("x", encoding="utf-8")
    (inbox / os.fsdecode(b"bad\xffname.csv")).write_text("y", encoding="utf-8")
    assert [file.name for file in observe(inbox, {})] == ["bad%ffname.csv", "good.csv"]
    assert sorted(path.name for path in inbox.iterdir()) == ["bad%ffname.csv", "good.csv"]
    assert (inbox / "bad%ffname.csv").read_text(encoding="utf-8") == "y"


def test_the_reason_is_kept_of_a_file_with_the_longest_name_there_may_be(inbox: Path) -> None:
    name = f"{'n' * 251}.csv"
    (inbox / name).touch()
    moved = put_away(inbox / name, inbox, "rejected", "no contacts in it")
    assert moved is not None
    assert moved.suffix == ".csv"
    (reason,) = (inbox / "rejected").glob("*.txt")
    assert reason.read_text(encoding="utf-8") == "no contacts in it\n"


def test_names_are_never_written_over(inbox: Path) -> None:
    targets = [put_away(dropped(inbox, "a.csv", text), inbox, "done", text) for text in ("one", "two", "three")]
    assert [target.name for target in targets if target] == ["a.csv", "a (2).csv", "a (3).csv"]
    assert [target.read_text() for target in targets if target] == ["one", "two", "three"]
    assert (inbox / "done" / "a (2).csv.txt").read_text() == "two\n"
    assert put_away(inbox / "gone.csv", inbox, "done") is None
    assert not (inbox / "done" / "gone.csv").exists()


def test_one_file_that_cannot_be_moved_holds_up_no_other(inbox: Path) -> None:
    (inbox / "done").write_text("a file where the folder should be", encoding="utf-8")
    for name in ("a.csv", "b.csv"):
        dropped(inbox, name, name)
    ended = Plan(done_with=(DoneWith("a.csv", "done", "x"), DoneWith("b.csv", "rejected", "line 3 is short")))
    (fault,) = tidy(inbox, ended)
    assert "a.csv is done with but cannot be moved" in fault
    assert (inbox / "a.csv").exists()
    assert (inbox / "rejected" / "b.csv.txt").read_text() == "line 3 is short\n"


def test_run_config_names_the_file() -> None:
    config = import_run_config(Path("/data/inbox/a.csv"), allow_shrink=True)
    assert config["ops"]["raw_gb_full_contacts"]["config"] == {
        "source": "csv",
        "file": "/data/inbox/a.csv",
        "allow_shrink": True,
    }


# -- importing ----------------------------------------------------------------------------------------------------


def test_an_export_is_imported_once_with_its_counts(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    warehouse.upsert(
        "raw_gb_full_contacts",
        together(*(contact(number, last_seen_at=NOW - 9 * MINUTE * 60) for number in range(1, 11))),
    )
    warehouse.replace(
        "mentors",
        together(mentor("0001", gb_contact_id=3), mentor("0042"), mentor("0043", gb_contact_id=99)),
        year=YEAR,
    )
    text = textwrap.dedent("""\
        Givebutter Contact ID,Contact External ID,Primary Phone,Primary Email,Last Modified (UTC)
        1,,+17065550101,x@example.com,2025-10-28 09:00:00
        2,,+17065550101,x@example.com,2025-10-28 09:00:00
        3,MN0001,,y@example.com,2025-10-28 09:00:00
        4,,,y@example.com,2025-10-28 09:00:00
        5,,,,
        6,,,,
        7,,,,
        8,,,,
        21,MN0042,,,
        """)
    outcome = imported(dropped(inbox, "contacts-2025-10-28-1.csv", text), warehouse, inbox)
    entry = ledger(warehouse)
    assert outcome.status == entry["status"] == "completed"
    assert outcome.counts == {
        "rows": 9,
        "new_contacts": 1,
        "changed_contacts": 8,
        "missing_contacts": 2,
        "mentors_matched": 1,
        "new_contact_ids_captured": 1,
        "duplicates_detected": 2,
    }
    assert {name: entry[name] for name in outcome.counts} == outcome.counts
    assert (entry["attempts"], entry["kind"], entry["uploaded_by"], entry["run_id"]) == (1, "contacts", "pat", "run-1")
    assert outcome.moved_to == inbox / "done" / "contacts-2025-10-28-1.csv"
    missing = warehouse.read("raw_gb_full_contacts").filter(pl.col("missing_since").is_not_null())
    assert missing.get_column("contact_id").to_list() == [9, 10]
    stored = warehouse.read("raw_gb_full_contacts").row(0, named=True)
    assert (stored["first_name"], stored["source"], stored["csv_filename"]) == (
        "Ben",
        "csv",
        "contacts-2025-10-28-1.csv",
    )


def test_the_same_content_under_another_name_is_not_imported_again(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    imported(dropped(inbox, "a.csv", export(range(1, 4))), warehouse, inbox)
    before = contents(warehouse)
    again = imported(dropped(inbox, "b.csv", export(range(1, 4))), warehouse, inbox, now=NOW + MINUTE)
    assert again.status == "already"
    assert "already imported on 2025-10-28 12:00 UTC as a.csv" in again.message
    assert all(frame.equals(contents(warehouse)[name]) for name, frame in before.items())
    assert "already imported" in (inbox / "done" / "b.csv.txt").read_text()


def test_a_run_that_finds_its_file_put_away_has_nothing_to_do(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    path = dropped(inbox, "a.csv", export(range(1, 4)))
    imported(path, warehouse, inbox)
    assert imported(path, warehouse, inbox).status == "already"
    with pytest.raises(FileRejectedError, match="There is no file"):
        imported(inbox / "never.csv", warehouse, inbox)


def test_a_filtered_export_is_partial_until_a_person_says_otherwise(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    imported(dropped(inbox, "all.csv", export(range(1, 101))), warehouse, inbox)
    some = inbox / "some.csv"
    some.write_text(export(range(1, 51), name="Eve", modified="2025-10-28 10:00:00"), encoding="utf-8")
    outcome = imported(some, warehouse)
    assert outcome.is_partial
    assert (outcome.counts["changed_contacts"], outcome.counts["missing_contacts"]) == (50, 0)
    (problem,) = warehouse.read("detected_problems").to_dicts()
    assert (problem["type"], problem["severity"], problem["asset"]) == (
        "partial_contacts_file",
        "warning",
        "import_contacts",
    )
    assert "50 contacts of 100 known" in problem["message"]
    whole = imported(some, warehouse, allow_shrink=True)
    assert (whole.status, whole.is_partial, whole.counts["missing_contacts"]) == ("completed", False, 50)
    assert warehouse.read("detected_problems").is_empty()
    assert imported(some, warehouse, allow_shrink=True).status == "already"


def tagged(**tags: str) -> str:
    lines = [f"{number.removeprefix('c')},{tag}" for number, tag in tags.items()]
    return "\n".join(["Givebutter Contact ID,Tags", *lines, ""])


def test_an_export_filtered_by_a_tag_is_partial_however_long_it_is(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    """Given 19 of 20 contacts, all with one tag that the twentieth lacks, then nobody is missing."""
    everyone = {f"c{number}": "SWAB" if number < 20 else "" for number in range(1, 21)}
    whole = imported(dropped(inbox, "contacts-2025-10-27-1.csv", tagged(**everyone)), warehouse, inbox)
    assert not whole.is_partial
    del everyone["c20"]
    some = dropped(inbox, "contacts-2025-10-28-2.csv", tagged(**everyone))
    outcome = imported(some, warehouse)
    assert outcome.is_partial
    assert outcome.counts["missing_contacts"] == 0
    (problem,) = warehouse.read("detected_problems").to_dicts()
    assert "19 contacts of 20 known, all of them tagged 'SWAB'" in problem["message"]
    assert imported(some, warehouse, allow_shrink=True).counts["missing_contacts"] == 1


def test_a_full_export_after_a_contact_vanished_is_full_though_tags_are_shared(
    warehouse: DuckDBWarehouse, inbox: Path
) -> None:
    everyone = {f"c{number}": "SWAB" for number in range(1, 21)}
    imported(dropped(inbox, "contacts-2025-10-27-1.csv", tagged(**everyone)), warehouse, inbox)
    del everyone["c20"]
    outcome = imported(dropped(inbox, "contacts-2025-10-28-2.csv", tagged(**everyone)), warehouse, inbox)
    assert (outcome.is_partial, outcome.counts["missing_contacts"]) == (False, 1)


def with_faults(*rows: str) -> str:
    return "\n".join(["Givebutter Contact ID,Last Name,Date of Birth,Last Modified (UTC),Pet", *rows, ""])


def test_a_faulty_row_is_an_error_and_the_rest_goes_in(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    good = [f"{number},Elm,,2025-10-28 09:00:00,cat" for number in range(10, 40)]
    text = with_faults(*good, "1,Elm,,28.10.2025,", "x2,Elm,,2025-10-28 09:00:00,", "3,Fir,2/30/05,,dog")
    outcome = imported(dropped(inbox, "contacts.csv", text), warehouse, inbox)
    assert (outcome.counts["rows"], outcome.counts["new_contacts"]) == (33, 31)
    problems = warehouse.read("detected_problems").sort("field_name")
    assert problems.select("type", "severity", "field_name", "current_value").rows() == [
        ("partial_contacts_file", "warning", None, "33"),
        ("contact_row_set_aside", "error", "contact_id", "x2"),
        ("contact_value_kept_as_text", "warning", "dob", "2/30/05"),
        ("contact_row_set_aside", "error", "last_modified_at", "28.10.2025"),
    ]
    stored = warehouse.read("raw_gb_full_contacts").filter(contact_id=3).row(0, named=True)
    assert (stored["last_name"], stored["dob"]) == ("Fir", None)
    assert stored["custom_fields"] == '{"Date of Birth":"2/30/05","Pet":"dog"}'


def test_a_fault_stays_until_its_contact_is_told_anew(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    """A part of the contacts says nothing of the others; the text of a mended date goes."""
    others = [f"{number},Elm,,2025-10-28 09:00:00,cat" for number in range(10, 40)]
    first = with_faults(*others, "1,Elm,,28.10.2025,", "3,Fir,2/30/05,2025-10-28 09:00:00,dog")
    imported(dropped(inbox, "a.csv", first), warehouse, inbox)
    imported(dropped(inbox, "b.csv", with_faults("3,Fir,2005-02-28,2025-10-28 10:00:00,dog")), warehouse, inbox)
    assert set(warehouse.read("detected_problems")["type"]) == {"contact_row_set_aside", "partial_contacts_file"}
    stored = warehouse.read("raw_gb_full_contacts").filter(contact_id=3).row(0, named=True)
    assert (str(stored["dob"]), stored["custom_fields"]) == ("2005-02-28", '{"Pet":"dog"}')
    whole = with_faults(*others, "1,Elm,,2025-10-28 09:00:00,", "3,Fir,2005-02-28,2025-10-28 11:00:00,dog")
    imported(dropped(inbox, "c.csv", whole), warehouse, inbox)
    assert warehouse.read("detected_problems").is_empty()


def test_a_full_export_confirms_the_contacts_but_never_replaces_the_first_list(
    warehouse: DuckDBWarehouse, inbox: Path
) -> None:
    """Without a read of the API there is no mark from which one could go on incrementally."""
    imported(dropped(inbox, "a.csv", export(range(1, 4))), warehouse, inbox)
    (read,) = warehouse.read("source_reads").to_dicts()
    assert (read["source"], read["read_at"], read["full_row_count"]) == (CONTACTS_SOURCE, None, 3)
    assert read["full_read_at"] == datetime(2025, 10, 28, 9, tzinfo=UTC)
    imported(dropped(inbox, "old.csv", export(range(1, 4), modified="2025-10-01 09:00:00")), warehouse, inbox)
    assert warehouse.read("source_reads").to_dicts() == [read]


def test_an_older_file_changes_nothing_that_is_known_more_newly(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    imported(dropped(inbox, "new.csv", export(range(1, 4), name="New")), warehouse, inbox)
    outcome = imported(dropped(inbox, "old.csv", export(range(1, 4), "Old", "2025-10-01 09:00:00")), warehouse, inbox)
    assert set(warehouse.read("raw_gb_full_contacts").get_column("first_name")) == {"New"}
    assert "3 were left as they are" in outcome.message
    assert "on 2025-10-01 09:00 UTC (by the newest time in it)" in outcome.message


def test_a_rejected_file_leaves_the_data_and_says_why(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    imported(dropped(inbox, "good.csv", export(range(1, 4))), warehouse, inbox)
    before = warehouse.read("raw_gb_full_contacts")
    with pytest.raises(FileRejectedError, match="line 4 has 5 cells"):
        imported(dropped(inbox, "bad.csv", export(range(1, 3)) + "3,a,b,c,d\n"), warehouse, inbox)
    assert warehouse.read("raw_gb_full_contacts").equals(before)
    entry = warehouse.read("csv_import_log").filter(pl.col("filename") == "bad.csv").row(0, named=True)
    assert entry["status"] == "rejected"
    assert (inbox / "rejected" / "bad.csv.txt").read_text().strip() == entry["message"]
    assert not (inbox / "bad.csv").exists()


STEERING = "\x1b[31m\x1b]0;t\x07"


def test_what_is_told_of_a_file_steers_no_terminal(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    bad, good = f"bad{STEERING}.csv", f"good{STEERING}.csv"
    with pytest.raises(FileRejectedError) as told:
        imported(dropped(inbox, bad, f"Head{STEERING},x\n1,2\n"), warehouse, inbox)
    odd = f"x{STEERING},Ada,Elm,2025-10-28 09:00:00\n"
    done = imported(dropped(inbox, good, export(range(1, 4)) + odd), warehouse, inbox)
    again = imported(dropped(inbox, "again.csv", (inbox / "done" / good).read_text()), warehouse, inbox)
    given_up = DoneWith(bad, "rejected", f"{bad}: it killed us.")
    dropped(inbox, bad, "x")
    tidy(inbox, Plan(done_with=(given_up,)))
    notes = [path.read_text(encoding="utf-8") for path in sorted(inbox.rglob("*.txt"))]
    stored = warehouse.read("csv_import_log")["message"].to_list()
    texts = [str(told.value), done.message, again.message, *notes, *stored]
    assert len(texts) == 8
    for text in texts:
        assert text.replace("\n", "").isprintable()
    assert "Head\ufffd[31m" in texts[0]
    assert "good\ufffd[31m" in again.message


def test_a_file_from_elsewhere_is_not_moved(warehouse: DuckDBWarehouse, inbox: Path, tmp_path: Path) -> None:
    path = dropped(tmp_path, "mine.csv", export(range(1, 4)))
    assert imported(path, warehouse, inbox).moved_to is None
    assert path.exists()


def test_a_file_larger_than_any_export_is_put_away_unread(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    file = inbox / "huge.csv"
    with file.open("wb") as opened:
        opened.truncate(LARGEST_FILE + 1)
    with pytest.raises(FileRejectedError, match=r"huge\.csv: the file has 17,179,869,185 bytes"):
        imported(file, warehouse, inbox)
    assert (inbox / "rejected" / "huge.csv").exists()
    assert warehouse.read_or_empty("csv_import_log").is_empty()


def test_a_large_export_is_imported_in_pieces_as_in_one(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given files that are read in many pieces, then tables and counts are those of one."""
    files = [
        dropped(inbox, "first.csv", export(range(1, 60))),
        dropped(inbox, "later.csv", export(range(3, 62), name="Eve", modified="2025-10-28 10:00:00")),
    ]
    told = []
    for number, at_once in enumerate((2**26, 100)):
        monkeypatch.setattr(imports, "read_contacts", partial(read_contacts, at_once=at_once))
        monkeypatch.setattr(imports, "_AT_ONCE", 1)
        warehouse = DuckDBWarehouse(tmp_path / f"{number}.duckdb")
        outcomes = [imported(file, warehouse) for file in files]
        assert [outcome.counts["new_contacts"] for outcome in outcomes] == [59, 2]
        assert outcomes[1].counts["missing_contacts"] == 2
        told.append((outcomes, contents(warehouse)))
    (one, tables), (other, same_tables) = told
    assert other == one
    volatile = {"started_at", "finished_at"}
    for name, table in tables.items():
        assert same_tables[name].drop(volatile, strict=False).equals(table.drop(volatile, strict=False)), name


def test_the_third_failure_rejects_the_file(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    """Given a warehouse that refuses the last write of the transaction, then failures are kept and the data stays."""
    warehouse.upsert("raw_gb_full_contacts", contact(1))
    with duckdb.connect(warehouse.path) as connection:  # a view of that name cannot be written to
        connection.execute("CREATE VIEW detected_problems AS SELECT 1 AS id")
    path = dropped(inbox, "a.csv", export(range(1, 4)))
    for attempt, status in enumerate(("failed", "failed", "rejected"), start=1):
        with pytest.raises(MentorPipelineError):
            imported(path, warehouse, inbox)
        entry = ledger(warehouse)
        assert (entry["status"], entry["attempts"], entry["failures"]) == (status, attempt, attempt)
        assert warehouse.read("raw_gb_full_contacts").height == 1
    assert "import-contacts" in (inbox / "rejected" / "a.csv.txt").read_text()


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from mentor_pipeline.operator import imports
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from tests.builders import program

def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "while reading":
    imports.read_contacts = die
elif sys.argv[1] == "inside the transaction":
    imports._put_problems = die
elif sys.argv[1] == "before it is put away":
    imports.put_away = die
inbox = Path(sys.argv[2])
imports.import_contacts_csv(
    inbox / "a.csv", warehouse=DuckDBWarehouse(inbox.parent / "mentors.duckdb"), program=program(),
    now=datetime(2025, 10, 28, 12, tzinfo=UTC), actor="pat", run_id="run-1", inbox=inbox,
)
"""


def started(code: str, when: str, inbox: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, when, str(inbox)], cwd=ROOT)  # noqa: S603  (our own code)


@pytest.mark.parametrize("when", ["while reading", "inside the transaction", "before it is put away"])
def test_an_import_killed_at_any_point_is_finished_by_the_next(
    when: str, warehouse: DuckDBWarehouse, inbox: Path
) -> None:
    dropped(inbox, "a.csv", export(range(1, 4)))
    assert started(KILLED, when, inbox).wait(timeout=120) == -signal.SIGKILL
    was_committed = when == "before it is put away"
    assert warehouse.read_or_empty("raw_gb_full_contacts").height == (3 if was_committed else 0)
    assert ledger(warehouse)["status"] == ("completed" if was_committed else "running")

    before = {file.name: file for file in observe(inbox, {})}
    next_tick = plan(observe(inbox, before), warehouse.read("csv_import_log"), before, NOW + MINUTE)
    tidy(inbox, next_tick)
    for ready in next_tick.ready:
        imported(inbox / ready.file.name, warehouse, inbox)
    assert warehouse.read("raw_gb_full_contacts").height == 3
    assert ledger(warehouse)["status"] == "completed"
    assert ledger(warehouse)["attempts"] == (1 if was_committed else 2)
    assert [path.name for path in inbox.iterdir()] == ["done"]


def test_two_imports_of_one_file_at_once_are_one(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    dropped(inbox, "a.csv", export(range(1, 2001)))
    program_text = KILLED.replace("inbox=inbox", "inbox=None")
    both = [started(program_text, "not", inbox) for _ in range(2)]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    assert warehouse.read("raw_gb_full_contacts").height == 2000
    assert ledger(warehouse)["status"] == "completed"
    assert (inbox / "a.csv").exists()


def test_an_export_after_a_read_of_the_api_changes_nothing(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    """The two sources tell one contact in different words; only what was edited in between is a change."""
    world = generate_world(program(), mentors=30, contacts=300)
    with Simulator(world) as simulator:
        client = GivebutterResource(
            api_key=simulator.givebutter_key, base_url=simulator.givebutter_url, requests_per_second=1000.0
        )
        listed = contact_rows(client.contacts())
        client.close()
    now = datetime.now(UTC)
    read = Reading(listed, now - timedelta(hours=1), "api", is_complete=True)
    learned = learn(TABLES["raw_gb_full_contacts"].empty(), read, full_read_at=None, now=now)
    warehouse.upsert("raw_gb_full_contacts", learned.rows)
    edited = next(contact_id for contact_id in world.active_ids() if not world.contact(contact_id).household)
    world.edit_contact(edited, first_name="Zelda")
    outcome = imported(world.export_csv(tmp_path), warehouse, now=datetime.now(UTC))
    told_only_there = sum(bool(world.contact(contact_id).household) for contact_id in world.active_ids())
    assert (outcome.counts["new_contacts"], outcome.counts["changed_contacts"]) == (0, 1 + told_only_there)
    assert outcome.counts["missing_contacts"] == 0


# -- refused rows -------------------------------------------------------------------------------------------------


def failed_csv(*rows: str) -> str:
    return "\n".join(["ERRORS,last_name,external_id", *rows, ""])


def test_refused_rows_become_problems_and_stay_until_told_anew(warehouse: DuckDBWarehouse, inbox: Path) -> None:
    warehouse.upsert("raw_gb_full_contacts", contact(7, external_id="MN0042"))
    given = {"warehouse": warehouse, "program": program(), "now": NOW, "actor": "pat", "run_id": None, "inbox": inbox}
    taken = "A contact with External ID [MN0042] already exists.,Elm,MN0042"
    first = dropped(inbox, "x-failed.csv", failed_csv(taken, "The Last Name field is required.,,MN0001"))
    assert import_csv(first, **given).kind == "failures"
    second = dropped(inbox, "y-failed.csv", failed_csv("The Prefix may not be greater than 32 characters.,Fir,MN0001"))
    import_failures_csv(second, **given)
    problems = warehouse.read("detected_problems", year=YEAR).sort("mn_id")
    assert problems.select("asset", "type", "mn_id", "field_name").rows() == [
        ("import_failures", "import_refused", "0001", "text"),
        ("import_failures", "import_refused", "0042", "external_id"),
    ]
    assert warehouse.read("csv_import_log").select("kind", "status", "rows").sort("rows").rows() == [
        ("failures", "completed", 1),
        ("failures", "completed", 2),
    ]
    assert sorted(path.name for path in (inbox / "done").iterdir()) == ["x-failed.csv", "y-failed.csv"]


def test_a_forgotten_persons_name_does_not_come_back_with_a_refused_row(
    warehouse: DuckDBWarehouse, inbox: Path
) -> None:
    ledger_rows = [
        row("forgotten", year=YEAR, source_table="mentors", source_id="0001", mn_id="0001", forgotten_at=NOW),
        row("forgotten", year=YEAR, source_table="raw_gb_full_contacts", source_id="7", mn_id="0001", forgotten_at=NOW),
    ]
    warehouse.append("forgotten", pl.concat(ledger_rows))
    file = dropped(
        inbox,
        "x-failed.csv",
        "errors,first_name,external_id,id\n"
        "Refused.,Silverbourne,MN0001,\nRefused.,Silverbourne,,7\nRefused.,Elm,MN0002,\n",
    )
    outcome = import_failures_csv(file, warehouse=warehouse, program=program(), now=NOW, actor="pat", run_id=None)
    assert outcome.counts["rows"] == 3
    assert "problems --type import_refused" in outcome.message
    assert "Silverbourne" not in outcome.message
    assert warehouse.read("detected_problems")["mn_id"].to_list() == ["0002"]


def test_what_givebutter_refused_is_explained(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    """The simulator's own `-failed.csv`: every refused row has its mentor and the contact in the way."""
    world = World.empty(program())
    holder = world.add_contact(first_name="Cora", last_name="Fir", external_id="MN0042", emails=["cora@example.com"])
    imported(world.export_csv(tmp_path), warehouse, now=datetime.now(UTC))
    columns = "Givebutter Contact ID,Contact External ID,First Name,Last Name"
    result = world.import_csv(f"{columns}\n,MN0042,Ada,Elm\n,MN0001,Ben,\n")
    outcome = import_csv(
        dropped(tmp_path, result.failed_name, result.failed_csv),
        warehouse=warehouse,
        program=program(),
        now=datetime.now(UTC),
        actor="pat",
        run_id=None,
    )
    assert outcome.counts["rows"] == 2
    problems = warehouse.read("detected_problems", year=YEAR).sort("mn_id")
    assert problems.get_column("mn_id").to_list() == ["0001", "0042"]
    assert "no last name" in problems.item(0, "message")
    assert f"contact {holder} (Cora Fir)" in problems.item(1, "message")


def test_each_command_refuses_the_other_kind_of_file(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    with pytest.raises(FileRejectedError, match="import-failures"):
        imported(dropped(tmp_path, "f.csv", failed_csv("x,Elm,MN1")), warehouse)
    with pytest.raises(FileRejectedError, match="no column ERRORS"):
        import_failures_csv(
            dropped(tmp_path, "c.csv", export(range(1, 3))),
            warehouse=warehouse,
            program=program(),
            now=NOW,
            actor="pat",
            run_id=None,
        )
