"""Scenarios 5, 19, 20 and 21: a whole export in the inbox, a part, files of every wrong kind, and kills on the way."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.definitions import build_defs
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.simulator import MentorClass, World
from tests.acceptance.installation import done, installed
from tests.builders import program

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.operator.runs import InboxRun, RunOutcome
    from tests.acceptance.installation import Installation

PART = 400


class Drop(NamedTuple):
    """What was dropped, what every tick of the sensor asked for, and what came of the run."""

    there: Installation
    columns: int
    created: int
    ticks: list[Any]
    outcome: RunOutcome
    again: InboxRun
    mentor: tuple[dict[str, Any], dict[str, Any]]


class Part(NamedTuple):
    there: Installation
    imported: InboxRun
    edited: list[int]
    contacts: tuple[pl.DataFrame, pl.DataFrame]


def ticks(there: Installation, count: int) -> list[Any]:
    """The inbox sensor's evaluations, one after the other, as the daemon makes them on the installation's instance."""
    with environment({**there.variables, "DAGSTER_HOME": str(there.settings().dagster_home)}):
        definitions = build_defs()
        sensor = definitions.resolve_sensor_def("inbox_sensor")
        resources = {key: (definitions.resources or {})[key] for key in ("settings", "warehouse")}
        seen, cursor = [], None
        with dg.DagsterInstance.get() as instance:
            for _ in range(count):
                context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
                seen.append(sensor.evaluate_tick(context))
                cursor = seen[-1].cursor
        return seen


@pytest.fixture(scope="module")
def drop(story: Installation) -> Drop:
    """A mentor's contact is created and named in Givebutter; the export that shows it goes through the inbox."""
    world = story.world
    (mn_id, truth) = next((t.mn_id, t) for t in world.truth.values() if t.class_ is MentorClass.NEW)
    before = story.mentor(str(mn_id))
    created = world.add_contact(
        first_name=before["first_name"], last_name=before["last_name"], phones=[before["phone"]],
        emails=[before["personal_email"]], external_id=mn_id, tags=["Mentors 2025"],
    )  # fmt: skip
    inbox = story.settings().inbox_dir
    inbox.mkdir()
    file = world.export_csv(inbox)
    with file.open(encoding="utf-8", newline="") as opened:
        columns = len(next(csv.reader(opened)))
    seen = ticks(story, 2)
    (request,) = seen[-1].run_requests
    outcome = done(story.run("import_contacts", dict(request.run_config), **request.tags))
    seen += ticks(story, 2)
    copy = inbox / "contacts (1).csv"
    copy.write_bytes((inbox / "done" / file.name).read_bytes())
    seen += ticks(story, 2)
    again = story.inbox()
    return Drop(story, columns, created, seen, outcome, again, (before, story.mentor(truth.mn_id or "")))


def ledger(there: Installation) -> dict[str, Any]:
    return there.table("csv_import_log").sort("started_at").row(0, named=True)


# -- scenario 5: the whole export ------------------------------------------------------------------------------------


def test_the_export_has_64_columns(drop: Drop) -> None:
    assert drop.columns == 64


def test_the_sensor_asks_for_the_file_once_it_no_longer_changes(drop: Drop) -> None:
    first, second, *later = drop.ticks
    assert not first.run_requests
    assert "still changing" in first.skip_message
    assert len(second.run_requests) == 1
    assert second.run_requests[0].run_key.endswith(":1")
    assert not any(tick.run_requests for tick in later)


def test_the_same_content_under_another_name_is_put_away_and_not_imported(drop: Drop) -> None:
    assert drop.again.imported == ()
    assert drop.there.table("csv_import_log").filter(is_partial=False).height == 1
    inbox = drop.there.settings().inbox_dir
    assert not [path for path in inbox.iterdir() if path.is_file() and path.name.startswith("contacts")]


def test_the_ledger_tells_rows_new_ids_and_duplicates(drop: Drop) -> None:
    told = ledger(drop.there)
    assert (told["status"], told["kind"], told["is_partial"], told["attempts"]) == ("completed", "contacts", False, 1)
    assert told["rows"] == len(drop.there.world.active_ids())
    assert told["new_contacts"] == 1
    assert told["new_contact_ids_captured"] == 1
    assert told["missing_contacts"] == 0
    assert told["mentors_matched"] == drop.there.table("mentors").filter(gb_match_status="linked").height - 1
    assert told["duplicates_detected"] > 0
    assert told["run_id"] == drop.outcome.run_id


def test_all_that_depends_on_the_contacts_follows(drop: Drop) -> None:
    before, after = drop.mentor
    assert (before["gb_match_status"], before["gb_contact_id"]) == ("new", None)
    assert (after["gb_match_status"], after["gb_contact_id"]) == ("linked", drop.created)
    changes = drop.there.table("mn_changes").filter(run_id=drop.outcome.run_id)
    assert "contact_linked" in changes.filter(mn_id=after["mn_id"])["change_type"]
    rows = drop.there.table("mn_gb_import").filter(mn_id=after["mn_id"])
    assert rows["Givebutter Contact ID"].to_list() == [str(drop.created)]
    steps = {step.name for step in drop.outcome.steps if step.status == "done"}
    assert {"choose_contacts", "mentors", "mn_changes", "duplicate_gb_contacts", "judge_import_rows"} <= steps


def test_the_run_asks_no_form(drop: Drop) -> None:
    assert not {step.name for step in drop.outcome.steps} & {"raw_mn_signups", "raw_gb_campaign_members"}


# -- scenario 19: an export that was filtered ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def part(drop: Drop) -> Part:
    """400 of the contacts, three of them edited since."""
    there = drop.there
    ids = sorted(there.world.active_ids())[:PART]
    edited = ids[:3]
    for contact_id in edited:
        there.world.edit_contact(contact_id, note="Met at the fair")
    before = there.table("raw_gb_full_contacts")
    there.world.export_csv(there.settings().inbox_dir / "mentors-only.csv", contact_ids=ids)
    imported = there.inbox()
    return Part(there, imported, edited, (before, there.table("raw_gb_full_contacts")))


def test_a_filtered_export_is_recognised_and_upserted(part: Part) -> None:
    (run,) = part.imported.imported
    assert run.outcome.success
    assert run.ledger is not None
    assert (run.ledger["is_partial"], run.ledger["rows"], run.ledger["changed_contacts"]) == (True, PART, 3)
    after = part.contacts[1].filter(pl.col("contact_id").is_in(part.edited))
    assert set(after["notes"]) == {"Met at the fair"}


def test_nothing_is_missing_after_a_filtered_export(part: Part) -> None:
    before, after = part.contacts
    assert after.height == before.height
    assert after["missing_since"].null_count() == after.height
    linked = part.there.table("mentors").filter(gb_match_status="stale")
    assert linked.is_empty()


def test_a_filtered_export_is_warned_of_with_both_counts(part: Part) -> None:
    known = part.contacts[0].height
    warnings = part.there.table("sync_warnings").filter(~pl.col("resolved"), pl.col("type").str.contains("partial"))
    (message,) = warnings["message"]
    assert f"{PART} contacts of {known} known" in message.replace(",", "")


# -- scenario 20: files of every kind --------------------------------------------------------------------------------

COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""Of Dagster's log itself."""
HEADER: Final = "Givebutter Contact ID,First Name,Notes"
WRONG: Final = {
    "empty.csv": (b"", "the file is empty"),
    "header.csv": (f"{HEADER}\n".encode(), "a header but not one row"),
    "picture.csv": (b"\xff\xd8\xff\xe0 JFIF", "a JPEG picture"),
    "companies.csv": (b"Givebutter Company ID,Company Name\n1,Elm\n", "export of companies"),
    "quotes.csv": (f'{HEADER}\n1,Ada,x\n2,"Ben,y\n3,Cora,z\n'.encode(), "line 3: a quotation mark"),
    "nul.csv": (f"{HEADER}\n1,Ada,\0\n".encode(), "line 2 holds a NUL byte"),
    "utf16.csv": (f"{HEADER}\n1,Ada,é\n".encode("utf-16"), "UTF-16"),
    "latin1.csv": (f"{HEADER}\n1,Ada,é\n".encode("latin-1"), "line 2 is not UTF-8"),
    "twice.csv": (f"{HEADER}\n1,Ada,x\n2,Ben,\n1,Ada,y\n".encode(), "contact 1 is there more than once, on lines 2, 4"),
    "headers.csv": (f"{HEADER},Notes\n1,Ada,x,y\n".encode(), "line 1: the column 'Notes' is there 2 times"),
    "long.csv": (f"{HEADER}\n1,Ada,x\n2,Ben,{'y' * 10_000_000}\n".encode(), "line 3: the cell in column 'Notes'"),
    "ragged.csv": (f"{HEADER}\n1,Ada\n".encode(), "line 2 has 2 cells where the header has 3"),
}


@pytest.mark.slow
def test_wrong_files_are_rejected_whole_and_say_why(story: Installation) -> None:
    """They hold up nothing: an export with all that text can hold goes in beside them."""
    inbox = story.settings().inbox_dir
    inbox.mkdir(exist_ok=True)
    for name, (data, _) in WRONG.items():
        (inbox / name).write_bytes(data)
    (inbox / "contacts.csv.part").write_bytes(b"still coming")
    changed = min(story.world.active_ids())
    note = '=HYPERLINK("x"),\r\nsecond line 📝'
    now = f"{story.world.now():%Y-%m-%d %H:%M:%S}"
    rows = [[*HEADER.split(","), "Last Modified (UTC)"], [str(changed), "Zoë 🐶", note, now]]
    with (inbox / "good.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
    before = story.table("raw_gb_full_contacts")
    done_with = {run.file: run.outcome.success for run in story.inbox().imported}
    assert done_with == {**dict.fromkeys(WRONG, False), "good.csv": True}
    for name, (data, says) in WRONG.items():
        assert (inbox / "rejected" / name).read_bytes() == data
        reason = (inbox / "rejected" / f"{name}.txt").read_text(encoding="utf-8")
        assert says in reason
        assert "the earlier data stays" in reason
    assert (inbox / "contacts.csv.part").exists()
    after = story.table("raw_gb_full_contacts")
    is_changed = pl.col("contact_id") == changed
    assert after.filter(~is_changed).equals(before.filter(~is_changed))
    contact = after.row(by_predicate=is_changed, named=True)
    assert (contact["first_name"], contact["notes"]) == ("Zoë 🐶", note.replace("\r\n", "\n"))


DAEMON: Final = """
import sys
from pathlib import Path
import dagster as dg
from mentor_pipeline.definitions import build_defs
from mentor_pipeline.operator.inbox import import_run_config

job = build_defs().resolve_job_def("import_contacts")
with dg.DagsterInstance.ephemeral() as instance:
    for name in sys.argv[1:]:
        job.execute_in_process(instance=instance, run_config=import_run_config(Path(name)), raise_on_error=False)
"""
"""Runs as the daemon makes them, with Dagster's own log on the terminal."""


def test_what_a_run_logs_of_a_hostile_file_steers_no_terminal(tmp_path: Path) -> None:
    """Neither by its name nor by its cells: a file that is refused, one that goes in, and the same once more."""
    steering = "\x1b]0;planted\x07\x9b31m"
    with installed(tmp_path / "data", World.empty(program())) as there:
        inbox = there.settings().inbox_dir
        inbox.mkdir(parents=True)
        files = [inbox / f"{name}{steering}.csv" for name in ("bad", "good", "again")]
        files[0].write_text(f"{steering}Head,x\n1,2\n", encoding="utf-8")
        for file in files[1:]:
            file.write_text(f"{HEADER}\n1,Ada,x\nx{steering},Ben,y\n", encoding="utf-8")
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-c", DAEMON, *map(str, files)],
            env={**os.environ, **there.variables},
            capture_output=True,
            text=True,
            check=True,
        )
        stored = [*there.table("csv_import_log")["message"], *there.table("sync_log")["error_message"].drop_nulls()]
    log = ran.stdout + ran.stderr
    for words in ("FileRejectedError: bad", "Failure: bad", "contacts: 1 new", "already imported"):
        assert words in log
    assert "]0;planted" in log
    assert len(stored) == 3
    for text in (log, *stored):
        assert not {"\x1b", "\x07", "\x9b"} & set(COLOURS.sub("", text))


# -- scenario 21: kills on the way -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_import_killed_again_and_again_is_finished_by_a_later_tick(story: Installation) -> None:
    """Whenever it dies, readers see all contacts as before the file or all as in it."""
    edited = sorted(story.world.active_ids())[:50]
    for contact_id in edited:
        story.world.edit_contact(contact_id, employer="Killed & Co")
    inbox = story.settings().inbox_dir
    inbox.mkdir(exist_ok=True)
    name = story.world.export_csv(inbox).name
    for delay in (0.5, 2, 3, 4, 5, 6, 8):
        with subprocess.Popen(
            [sys.executable, "-m", "mentor_pipeline", "inbox"],
            env={**os.environ, **story.variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(delay)
            process.kill()
        seen = story.table("raw_gb_full_contacts").filter(employer="Killed & Co").height
        assert seen in {0, len(edited)}
    story.inbox()
    assert story.table("raw_gb_full_contacts").filter(employer="Killed & Co").height == len(edited)
    (entry,) = story.table("csv_import_log").filter(filename=name).to_dicts()
    assert entry["status"] == "completed"
    assert (inbox / "done" / name).exists()
    assert not (inbox / name).exists()
