"""Measures a long life: many syncs of one installation, and what else days bring while they go by.

The clock is moved on before each sync, for all that asks it. Each day somebody edits a contact in Givebutter, the
mentors' contacts are read one by one, an import file and a list of text messages are written, and what is old is let
go; each week an export of the contacts is dropped into the inbox. Told after every so many syncs: how long one takes
(medians, by the clock and of the processor), and how large everything in the data folder is. Nothing may grow with the
syncs, but for tables with what happened, and the files that people dropped into the inbox. It takes hours, so `make
bench` leaves it out, and with a folder of its own it goes on where it was ended.

    python -m bench.long_life [--syncs N] [--a-day N] [--keep DAYS] [--every N] [--mentors N] [--contacts N]
        [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import time_machine

from bench import installation
from bench.measuring import machine_line, say
from bench.year import program
from mentor_pipeline.operator.export_files import MESSAGES_FILE
from mentor_pipeline.operator.import_files import IMPORT_FILE, TIME, import_files
from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.operator.runs import environment, prepare_home, run_inbox, run_job
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import DATABASE_URL, Settings, packaged_config_dir
from mentor_pipeline.simulator import Simulator, World, generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

MENTORS, CONTACTS = 60, 600
DAY: Final = timedelta(days=1)
DAYS_A_FILE: Final = 7
"""A file is dropped into the inbox after so many days."""
WHAT_HAPPENED: Final = (
    *("sync_log", "csv_import_log", "mn_changes", "mentor_history", "sync_errors", "sync_warnings"),
)
"""Tables that keep what happened; each adds a row where something does."""
SLOWER: Final = 1.25
"""The last syncs may take so many times the processor's time of the first. (The clock also counts what other work on
the machine takes.)"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many syncs, how many of them a day, after how many is measured, and for how many days old things are kept."""

    syncs: int
    a_day: int
    every: int
    keep_days: int


def live(pace: Pace, folder: Path, *, mentors: int = MENTORS, contacts: int = CONTACTS) -> list[dict[str, Any]]:
    """Sync until there were so many, after those that the folder tells of; what was measured after each `every`."""
    life, saved_world = folder / "life.json", folder / "world.gz"
    told: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    if life.exists():
        lived = json.loads(life.read_text(encoding="utf-8"))
        told, now = lived["told"], datetime.fromisoformat(lived["now"])
        world = World.load(saved_world)
        say(f"{told[-1]['syncs']:,} syncs were measured before")
    else:
        world = generate_world(program(), mentors=mentors, contacts=contacts)
    seconds: list[float] = []
    processor: list[float] = []
    with (
        time_machine.travel(now) as clock,
        Simulator(world) as simulator,
        environment({**variables(folder), **simulator.environment()}),
    ):
        settings = Settings.load()
        prepare_home(settings)
        for number in range(told[-1]["syncs"] + 1 if told else 1, pace.syncs + 1):
            clock.shift(DAY / pace.a_day)
            started, used = time.perf_counter(), time.process_time()
            run("sync", settings)
            seconds.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
            if number % pace.a_day == 0:
                spend_day(number // pace.a_day, settings, world, keep_days=pace.keep_days)
            if number % pace.every == 0:
                medians = {
                    "median_seconds": round(statistics.median(seconds[-pace.every :]), 3),
                    "median_processor_seconds": round(statistics.median(processor[-pace.every :]), 3),
                }
                told.append({"syncs": number, **medians, **sizes(settings)})
                world.save(saved_world)
                life.write_text(json.dumps({"told": told, "now": str(datetime.now(UTC))}), encoding="utf-8")
                say(f"{number:,} of {pace.syncs:,} syncs: {told[-1]}")
    return told


def spend_day(day: int, settings: Settings, world: World, *, keep_days: int) -> None:
    """What a day brings besides its syncs; what is edited is seen by the next sync."""
    run("contact_refresh", settings)
    edit(world, day)
    for asked in ({"everything": True}, {"messages": True}):
        run("export", settings, {"ops": {"gb_import_file": {"config": asked}}})
    if day % DAYS_A_FILE == 0:
        settings.inbox_dir.mkdir(exist_ok=True)
        world.export_csv(settings.inbox_dir)
        imported = run_inbox(settings, open_warehouse(settings), by="bench", settle_seconds=0.05).imported
        if not imported or not all(one.outcome.success for one in imported):
            msg = f"the file of day {day} was not imported: {imported}"
            raise SystemExit(msg)
    clear_up(settings, keep_days)


def run(job: str, settings: Settings, config: Mapping[str, Any] | None = None) -> None:
    """Run a job as its command does."""
    outcome = run_job(job, settings, by="bench", run_config=config)
    if not outcome.success:
        msg = f"{job} failed: {outcome.failures} {outcome.failed_checks}"
        raise SystemExit(msg)


def variables(folder: Path) -> dict[str, str]:
    """The environment of the installation, `data` in the folder; the retention of runs themselves must not come first.

    All who may get text messages get one, so that there is a list of them.
    """
    config = folder / "config"
    shutil.copytree(packaged_config_dir(), config, dirs_exist_ok=True)
    (config / "campaigns" / "greeting.toml").write_text(
        'active = true\ntext = "Hi {preferred_name}!"\n', encoding="utf-8"
    )
    return {
        **installation.variables(folder / "data"),
        "MENTOR_PIPELINE_CONFIG_DIR": str(config),
        DATABASE_URL: os.environ.get(DATABASE_URL, ""),
        "MENTOR_PIPELINE_KEEP_RUNS_DAYS": "36500",
        "MENTOR_PIPELINE_KEEP_EXPORTS_DAYS": "",
    }


def edit(world: World, day: int) -> None:
    """Somebody gives a mentor another preferred name in Givebutter."""
    theirs = sorted({*world.active_ids()} & {truth.contact_id for truth in world.truth.values()})
    world.edit_contact(theirs[day % len(theirs)], prefix=f"Name {day}")


def clear_up(settings: Settings, keep_days: int) -> None:
    """Let go of what is old, as the sensor `housekeeping` does."""
    redate(settings)
    kept = settings.model_copy(update={"keep_runs_days": keep_days, "keep_exports_days": keep_days})
    with environment({"DAGSTER_HOME": str(settings.dagster_home)}), dg.DagsterInstance.get() as instance:
        let_go(instance, kept, datetime.now(UTC), runs_at_once=1000)


def redate(settings: Settings) -> None:
    """Give files and runs the date that our clock had: the disk and SQLite ask the machine's, which nobody moves."""
    for kind in (IMPORT_FILE, MESSAGES_FILE):
        for written, paths in import_files(settings.exports_dir, kind).items():
            at = datetime.strptime(written, TIME).replace(tzinfo=UTC).timestamp()
            for path in paths:
                os.utime(path, (at, at))
    with closing(sqlite3.connect(settings.dagster_home / "history" / "runs.db")) as runs, runs:
        runs.execute("UPDATE runs SET create_timestamp = datetime(start_time, 'unixepoch') WHERE start_time > 0")


def sizes(settings: Settings) -> dict[str, Any]:
    """Megabytes on disk, and rows of the tables."""

    def megabytes(*paths: Path) -> float:
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
        return round(sum(file.stat().st_size for file in files) / 1e6, 3)

    home, warehouse, exports, inbox = (
        *(settings.dagster_home, settings.warehouse_path, settings.exports_dir, settings.inbox_dir),
    )
    logs = [*settings.data_dir.glob("*.log*")]
    others = [path for path in settings.data_dir.iterdir() if path not in {home, warehouse, exports, inbox, *logs}]
    with open_warehouse(settings).reading() as reader:
        rows = reader.counts(list(TABLES))
    return {
        "warehouse_mb": megabytes(warehouse) if warehouse.exists() else None,
        "dagster_mb": megabytes(home),
        "exports_mb": megabytes(exports),
        "inbox_mb": megabytes(inbox),
        "logs_mb": megabytes(*logs),
        "other_mb": megabytes(*others),
        "rows": {**{name: rows.pop(name, 0) for name in WHAT_HAPPENED}, "all others": sum(rows.values())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure many syncs of one installation.")
    parser.add_argument("--syncs", type=int, default=1000, help="how many (default: 1,000)")
    parser.add_argument("--a-day", type=int, default=24, help="how many of them a day (default: 24)")
    parser.add_argument("--keep", type=int, default=8, help="days for which runs and exports are kept (default: 8)")
    parser.add_argument("--every", type=int, default=100, help="measured after so many (default: 100)")
    parser.add_argument("--mentors", type=int, default=MENTORS, help=f"in a new installation (default: {MENTORS})")
    parser.add_argument("--contacts", type=int, default=CONTACTS, help=f"in a new installation (default: {CONTACTS})")
    parser.add_argument("--folder", type=Path, help="keep the installation there, or go on with the one that is there")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    numbers = (asked.syncs, asked.a_day, asked.keep, asked.every, asked.mentors, asked.contacts)
    if min(numbers) < 1 or asked.every > asked.syncs or asked.mentors > asked.contacts:
        parser.error("numbers must be at least 1, --every not above --syncs, --mentors not above --contacts")
    with tempfile.TemporaryDirectory() as passing:
        folder = asked.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        pace = Pace(asked.syncs, asked.a_day, asked.every, asked.keep)
        told = live(pace, folder, mentors=asked.mentors, contacts=asked.contacts)
    machine = machine_line()
    print(json.dumps({"machine": machine, "life": told}) if asked.json else as_text(machine, told))
    sys.exit(told[-1]["median_processor_seconds"] > SLOWER * told[0]["median_processor_seconds"])


def as_text(machine: str, told: list[dict[str, Any]]) -> str:
    """The table; its last columns are rows."""
    places = ("warehouse", "dagster", "exports", "inbox", "logs", "other")
    titles = ["syncs", "median s", "of processor", *(f"{place} MB" for place in places), *told[0]["rows"]]
    lines = [machine, "  ".join(titles)]
    for one in told:
        values = [
            f"{one['syncs']:,}",
            f"{one['median_seconds']:.2f}",
            f"{one['median_processor_seconds']:.2f}",
            *(f"{one[f'{place}_mb'] or 0:.2f}" for place in places),
            *(f"{count:,}" for count in one["rows"].values()),
        ]
        lines.append("  ".join(value.rjust(len(title)) for title, value in zip(titles, values, strict=True)))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
