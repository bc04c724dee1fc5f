"""Measures a long life: many syncs of one installation, with somebody editing a contact in Givebutter now and then.

Told for each hundred syncs: how long one takes (medians, by the clock and of the processor), and how large the
warehouse, Dagster's home and all else in the data folder are after them. Neither may grow with the syncs: tables grow
with what changed, and Dagster's records of old runs are let go. A run counts as old here when so many newer ones came
after it, as it would after the days of MENTOR_PIPELINE_KEEP_RUNS_DAYS. It takes hours, so `make bench` leaves it out,
and with a folder of its own it goes on after the last hundred where it was ended.

    python -m bench.long_life [--syncs N] [--keep RUNS] [--every N] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from bench import installation
from bench.measuring import machine_line, say
from bench.year import program
from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.operator.runs import environment, prepare_home, run_job
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import DATABASE_URL, Settings
from mentor_pipeline.simulator import Simulator, World, generate_world

MENTORS, CONTACTS = 60, 600
EDIT_EVERY: Final = 10
"""After so many syncs a contact is edited in Givebutter, as happens when nobody watches."""
SLOWER: Final = 1.25
"""The last hundred may take so many times the processor's time of the first. (The clock also counts what other work
on the machine takes.)"""


def live(syncs: int, keep: int, every: int, folder: Path) -> list[dict[str, Any]]:
    """Sync until there were so many, after those that the folder tells of; what was measured after each `every`."""
    life, saved_world = folder / "life.json", folder / "world.gz"
    told: list[dict[str, Any]] = []
    begun: list[datetime] = []
    if life.exists():
        lived = json.loads(life.read_text(encoding="utf-8"))
        told, begun = lived["told"], [datetime.fromisoformat(moment) for moment in lived["begun"]]
        world = World.load(saved_world)
        say(f"{len(begun):,} syncs were measured before")
    else:
        world = generate_world(program(), mentors=MENTORS, contacts=CONTACTS)
    seconds: list[float] = []
    processor: list[float] = []
    with Simulator(world) as simulator, environment({**variables(folder / "data"), **simulator.environment()}):
        settings = Settings.load()
        prepare_home(settings)
        for number in range(len(begun) + 1, syncs + 1):
            if number % EDIT_EVERY == 0:
                edit(world, number)
            begun.append(datetime.now(UTC))
            started, used = time.perf_counter(), time.process_time()
            outcome = run_job("sync", settings, by="bench")
            seconds.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
            if not outcome.success:
                msg = f"sync {number} failed: {outcome.failures}"
                raise SystemExit(msg)
            if len(begun) > keep:
                forget(settings, before=begun[-keep])
            if number % every == 0:
                medians = {
                    "median_seconds": round(statistics.median(seconds[-every:]), 3),
                    "median_processor_seconds": round(statistics.median(processor[-every:]), 3),
                }
                told.append({"syncs": number, **medians, **sizes(settings)})
                world.save(saved_world)
                life.write_text(
                    json.dumps({"told": told, "begun": [str(moment) for moment in begun]}), encoding="utf-8"
                )
                say(f"{number:,} of {syncs:,} syncs: {told[-1]}")
    return told


def variables(folder: Path) -> dict[str, str]:
    """The environment of the installation; the retention of the runs themselves must not come first."""
    return {
        **installation.variables(folder),
        DATABASE_URL: os.environ.get(DATABASE_URL, ""),
        "MENTOR_PIPELINE_KEEP_RUNS_DAYS": "36500",
    }


def edit(world: World, number: int) -> None:
    """Somebody corrects a contact in Givebutter."""
    ids = sorted(world.active_ids())
    world.edit_contact(ids[number % len(ids)], employer=f"Employer {number}")


def forget(settings: Settings, *, before: datetime) -> None:
    """Let go of the runs that began before that time."""
    month = settings.model_copy(update={"keep_runs_days": 30})
    with environment({"DAGSTER_HOME": str(settings.dagster_home)}), dg.DagsterInstance.get() as instance:
        let_go(instance, month, before + timedelta(days=30), runs_at_once=20)


def sizes(settings: Settings) -> dict[str, Any]:
    """Megabytes on disk, and rows of the tables that keep what happened."""

    def megabytes(*paths: Path) -> float:
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
        return round(sum(file.stat().st_size for file in files) / 1e6, 2)

    home, warehouse = settings.dagster_home, settings.warehouse_path
    others = [path for path in settings.data_dir.iterdir() if path not in {home, warehouse}]
    with open_warehouse(settings).reading() as reader:
        rows = reader.counts(["sync_log", "mn_changes", "mentor_history"])
    return {
        "warehouse_mb": megabytes(warehouse) if warehouse.exists() else None,
        "dagster_mb": megabytes(home),
        "other_mb": megabytes(*others),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure many syncs of one installation.")
    parser.add_argument("--syncs", type=int, default=1000, help="how many (default: 1,000)")
    parser.add_argument("--keep", type=int, default=200, help="runs whose records are kept (default: 200)")
    parser.add_argument("--every", type=int, default=100, help="measured after so many (default: 100)")
    parser.add_argument("--folder", type=Path, help="keep the installation there, or go on with the one that is there")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if min(asked.syncs, asked.keep, asked.every) < 1 or asked.every > asked.syncs:
        parser.error("numbers must be at least 1, and --every not above --syncs")
    with tempfile.TemporaryDirectory() as passing:
        folder = asked.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        told = live(asked.syncs, asked.keep, asked.every, folder)
    machine = machine_line()
    print(json.dumps({"machine": machine, "life": told}) if asked.json else as_text(machine, told))
    sys.exit(told[-1]["median_processor_seconds"] > SLOWER * told[0]["median_processor_seconds"])


def as_text(machine: str, told: list[dict[str, Any]]) -> str:
    lines = [
        machine,
        "syncs  median s  of processor  warehouse MB  Dagster MB  other MB  rows of sync_log, mn_changes, history",
    ]
    for one in told:
        rows = ", ".join(f"{count:,}" for count in one["rows"].values())
        seconds = f"{one['median_seconds']:>8.2f}  {one['median_processor_seconds']:>12.2f}"
        disk = f"{one['warehouse_mb'] or 0:>12.2f}  {one['dagster_mb']:>10.2f}  {one['other_mb']:>8.2f}"
        lines.append(f"{one['syncs']:>5}  {seconds}  {disk}  {rows}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
