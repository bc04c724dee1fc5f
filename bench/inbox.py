"""Measures a tick of the inbox sensor where 10,000 files are done with.

A tick is one evaluation of the sensor, on a real instance and a real DuckDB file; it must be short, for Dagster waits
for it. Two cases: the ledger and the folder `done` hold all those files, and a new one waits in the inbox; and all of
them lie in the inbox itself, dropped again, so that each tick puts some of them away. The yardstick is `os.scandir` of
the folder that holds them. Each figure is the median of several ticks of one process.

    python -m bench --only inbox
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final, NamedTuple

import dagster as dg
import polars as pl

from bench.measuring import alone, figure, measured
from bench.report import Section, how, told_only, within
from bench.year import NOW
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.sensors.inbox import LEDGER, build_inbox_sensor
from mentor_pipeline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measuring import Figure, Measured

LIMIT_S: Final = 0.2
TICK: Final = "a tick"
SCANDIR: Final = "os.scandir"
IN_DONE, IN_INBOX = "in done/", "in the inbox again"


class Sizes(NamedTuple):
    """Files, ticks that are measured, and how often all of it is."""

    files: int
    ticks: int
    runs: int


FULL: Final = Sizes(10_000, 9, 3)
QUICK: Final = Sizes(50, 2, 1)


@dg.op(name="raw_gb_full_contacts", config_schema={"source": str, "file": str, "allow_shrink": bool})
def _import_op() -> None: ...


@dg.job
def import_contacts() -> None:
    _import_op()


def make_files(data: Path, files: int, where: str) -> Path:
    """A data folder whose ledger knows so many files; the folder in which they lie."""
    settings = Settings(data_dir=data)
    folder = settings.inbox_dir / "done" if where == IN_DONE else settings.inbox_dir
    folder.mkdir(parents=True)
    contents = [f"Givebutter Contact ID,Last Name\n{number},Elm\n".encode() for number in range(files)]
    for number, content in enumerate(contents):
        (folder / f"{number:05}.csv").write_bytes(content)
    sha256s = [hashlib.sha256(content).hexdigest() for content in contents]
    done = pl.DataFrame({"sha256": sha256s, "filename": "x.csv", "status": "completed", "finished_at": NOW})
    DuckDBWarehouse(settings.warehouse_path).upsert(LEDGER, done)
    return folder


def ticking(folder: Path, sizes: Sizes, where: str) -> Measured:
    """So many ticks; the first two, which only look at what is there, are left out."""
    data = folder / "inbox-data"
    shutil.rmtree(data, ignore_errors=True)
    make_files(data, sizes.files, where)
    settings = Settings(data_dir=data)
    (settings.inbox_dir / "new.csv").write_text("Givebutter Contact ID,Last Name\n1,Oak\n", encoding="utf-8")
    given = {"settings": settings, "warehouse": DuckDBWarehouse(settings.warehouse_path)}
    sensor = build_inbox_sensor(import_contacts)
    cursor: str | None = None
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> None:
            nonlocal cursor
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=given)
            cursor = sensor.evaluate_tick(context).cursor

        tick()
        tick()
        return _median([measured(lambda: tick) for _ in range(sizes.ticks)])


def scanning(folder: Path, sizes: Sizes, where: str) -> Measured:
    """The folder that holds the files, listed."""
    data = folder / "inbox-data"
    shutil.rmtree(data, ignore_errors=True)
    holds = make_files(data, sizes.files, where)

    def scan() -> int:
        with os.scandir(holds) as entries:
            return sum(1 for _ in entries)

    return _median([measured(lambda: scan) for _ in range(sizes.ticks)])


def _median(times: list[Measured]) -> Measured:
    one = figure("", times)
    return times[0]._replace(seconds=one.seconds, cpu_seconds=one.cpu_seconds or 0.0, peak_mb=one.peak_mb)


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    figures: list[Figure] = []
    goals = []
    for where in (IN_DONE, IN_INBOX):
        found: dict[str, list[Measured]] = {SCANDIR: [], TICK: []}
        for _ in range(sizes.runs):
            found[SCANDIR].append(alone(scanning, folder, sizes, where))
            found[TICK].append(alone(ticking, folder, sizes, where))
        bare, tick = (figure(f"{what}, {sizes.files:,} files {where}", times) for what, times in found.items())
        figures += [bare, tick]
        work, of = f"inbox: {tick.what}", f"{SCANDIR} of their folder"
        if where == IN_DONE:
            goals.append(within(LIMIT_S, work, tick.seconds, bare.seconds, "s", of))
        else:  # no inbox stays like that: the next run puts them away
            goals.append(told_only(work, tick, bare, of))
    return Section("Inbox", how(__doc__), figures, goals)
