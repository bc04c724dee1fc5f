"""Measures a long life: many syncs of one installation, with somebody editing a contact in Givebutter now and then.

Told for each hundred syncs: how long one takes (the median), and how large the warehouse, Dagster's home and all else
in the data folder are after them. Neither may grow with the syncs: tables grow with what changed, and Dagster's records
of old runs are let go. A run counts as old here when so many newer ones came after it, as it would after the days of
MENTOR_PIPELINE_KEEP_RUNS_DAYS.

    python -m bench.long_life [--syncs N] [--keep RUNS] [--every N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.operator.runs import environment, prepare_home, run_job
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import Settings, load_program_year, packaged_config_dir
from mentor_pipeline.simulator import Simulator, World, generate_world

YEAR: Final = 2025
MENTORS, CONTACTS = 60, 600
EDIT_EVERY: Final = 10
"""After so many syncs a contact is edited in Givebutter, as happens when nobody watches."""
SLOWER: Final = 1.25
"""The last hundred may take so many times what the first took; more is a slowdown and not the machine's mood."""


def live(syncs: int, keep: int, every: int, folder: Path) -> list[dict[str, Any]]:
    """Sync so often; what was measured after each `every` of them."""
    world = generate_world(
        load_program_year(packaged_config_dir() / f"{YEAR}.toml"), mentors=MENTORS, contacts=CONTACTS
    )
    told: list[dict[str, Any]] = []
    seconds: list[float] = []
    begun: list[datetime] = []
    with Simulator(world) as simulator, environment({**variables(folder), **simulator.environment()}):
        settings = Settings.load()
        prepare_home(settings)
        for number in range(1, syncs + 1):
            if number % EDIT_EVERY == 0:
                edit(world, number)
            begun.append(datetime.now(UTC))
            started = time.perf_counter()
            outcome = run_job("sync", settings, by="bench")
            seconds.append(time.perf_counter() - started)
            if not outcome.success:
                msg = f"sync {number} failed: {outcome.failures}"
                raise SystemExit(msg)
            if len(begun) > keep:
                forget(settings, before=begun[-keep])
            if number % every == 0:
                told.append({"syncs": number, "median_seconds": statistics.median(seconds[-every:]), **sizes(settings)})
                print(f"{number:,} of {syncs:,} syncs: {told[-1]}", file=sys.stderr, flush=True)
    return told


def variables(folder: Path) -> dict[str, str]:
    """The environment of the installation; the retention of the runs themselves must not come first."""
    return {
        "MENTOR_PIPELINE_DATA_DIR": str(folder),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_DATABASE_URL": os.environ.get("MENTOR_PIPELINE_DATABASE_URL", ""),
        "MENTOR_PIPELINE_KEEP_RUNS_DAYS": "36500",
        "DAGSTER_HOME": "",
        "GIVEBUTTER_REQUESTS_PER_SECOND": "1000",
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
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if min(asked.syncs, asked.keep, asked.every) < 1 or asked.every > asked.syncs:
        parser.error("numbers must be at least 1, and --every not above --syncs")
    with tempfile.TemporaryDirectory() as folder:
        told = live(asked.syncs, asked.keep, asked.every, Path(folder) / "data")
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(json.dumps({"machine": machine, "life": told}) if asked.json else as_text(machine, told))
    sys.exit(told[-1]["median_seconds"] > SLOWER * told[0]["median_seconds"])


def as_text(machine: str, told: list[dict[str, Any]]) -> str:
    lines = [
        machine,
        "syncs  median s  warehouse MB  Dagster MB  other MB  rows of sync_log, mn_changes, mentor_history",
    ]
    for one in told:
        rows = ", ".join(f"{count:,}" for count in one["rows"].values())
        lines.append(
            f"{one['syncs']:>5}  {one['median_seconds']:>8.2f}  {one['warehouse_mb'] or 0:>12.2f}"
            f"  {one['dagster_mb']:>10.2f}  {one['other_mb']:>8.2f}  {rows}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
