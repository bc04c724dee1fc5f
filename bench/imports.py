"""Measures the import of a contacts export: 49,000 and 1,000,000 contacts in 64 columns.

For each size, in turn and several times, so that medians can be told, and each from a process of its own with its peak
memory: Polars reads the file (`polars.read_csv`, all columns as text); DuckDB takes the resulting rows in one bulk
insert; and the import as operators run it reads, normalises, merges, keeps its ledger and commits. The last should
take no longer than five times the first plus the second. A further figure is the same export again a day later, with
one contact in fifty edited. The file is the simulator's export; beyond its 49,000 contacts further ones are made from
them, each with an id, a phone and addresses of its own.

    python -m bench.imports [--rows N] [--runs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa  # noqa: F401  (loaded once in a process: a part of neither figure)

from mentor_pipeline.domain.contacts_csv import read_contacts
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.operator.imports import import_contacts_csv
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import ProgramYear, load_program_year, packaged_config_dir
from mentor_pipeline.simulator import generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]

YEAR: Final = 2025
NOW: Final = datetime(YEAR, 10, 1, 12, tzinfo=UTC)
WORLD: Final = 49_000
SIZES: Final = (WORLD, 1_000_000)
GOAL: Final = 5
"""The import may take so many times what reading alone takes, plus the bulk insert."""
RUNS: Final = 5
LIMIT_MB: Final = 4096
CONTACTS: Final = "raw_gb_full_contacts"
FIRST, LATER, ROWS, IMPORTED = "export.csv", "later.csv", "rows.parquet", "imported.duckdb"
READING, INSERT = "polars.read_csv", "one bulk insert"
IMPORT, AGAIN = "import into an empty warehouse", "the next day's export"


class Measured(NamedTuple):
    seconds: float
    cpu_seconds: float
    peak_mb: int


# -- making up the files ---------------------------------------------------------------------------------------------


def make_files(folder: str, rows: int) -> int:
    """The two exports, and the rows that come of the first; the number of columns."""
    to, year = Path(folder), program()
    world = generate_world(year, mentors=1000, contacts=WORLD, clock=lambda: NOW)
    base = pl.read_csv(world.export_csv(to / FIRST), infer_schema=False, empty_string_is_null=False)
    (to / FIRST).unlink()
    known = base.height
    for number in range(-(-rows // known)):
        part = (_others(base, number) if number else base).head(rows - number * known)
        for name, exported in ((FIRST, part), (LATER, _edited(part))):
            with (to / name).open("ab") as file:
                exported.write_csv(file, include_header=number == 0)
    return base.width


def make_rows(folder: str) -> None:
    """The rows that the first export becomes, for the bulk insert."""
    file = read_contacts((Path(folder) / FIRST).read_bytes(), FIRST, now=NOW)
    reading = Reading(file.contacts, NOW, "csv", is_complete=True, custom_labels=file.custom_labels)
    learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW).rows.write_parquet(Path(folder) / ROWS)


def _others(base: pl.DataFrame, number: int) -> pl.DataFrame:
    """The same people once more, with ids, phones and addresses of their own."""
    contact_id = pl.col("Givebutter Contact ID").cast(pl.Int64) + number * 100_000_000
    emails = pl.col("Primary Email", "Additional Emails")
    phones = pl.col("Primary Phone", "Additional Phones")
    return base.with_columns(
        contact_id.cast(pl.String),
        pl.lit("").alias("Contact External ID"),
        emails.str.replace_all("@", f".{number}@"),
        phones.str.replace_all(r"\+1\d{3}", f"+1{201 + number}"),
    )


def _edited(part: pl.DataFrame) -> pl.DataFrame:
    """A day later: one contact in fifty has another city and was modified."""
    is_edited = pl.int_range(pl.len()) % 50 == 0
    return part.with_columns(
        pl.when(is_edited).then(pl.lit("Elsewhere")).otherwise("City").alias("City"),
        pl.when(is_edited)
        .then(pl.lit(f"{NOW + timedelta(hours=20):%F %T}"))
        .otherwise("Last Modified (UTC)")
        .alias("Last Modified (UTC)"),
    )


def program() -> ProgramYear:
    return load_program_year(packaged_config_dir() / f"{YEAR}.toml")


# -- measuring, in a process of its own ------------------------------------------------------------------------------


def measure(folder: str, what: str) -> Measured:
    """One of `MEASURED`; what it makes ready first is not measured."""
    work = MEASURED[what](Path(folder))
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    a_mb = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Measured(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // a_mb)


def read_csv(folder: Path) -> Work:
    return lambda: pl.read_csv(folder / FIRST, infer_schema=False)


def bulk_insert(folder: Path) -> Work:
    rows = pl.read_parquet(folder / ROWS)
    path = folder / "bulk.duckdb"
    path.unlink(missing_ok=True)
    DuckDBWarehouse(path).replace(CONTACTS, rows.clear())

    def insert() -> None:
        with duckdb.connect(path) as connection:
            connection.register("rows", rows.to_arrow())
            connection.execute("INSERT INTO raw_gb_full_contacts BY NAME SELECT * FROM rows")

    return insert


def first_import(folder: Path) -> Work:
    (folder / IMPORTED).unlink(missing_ok=True)
    return _import(folder / FIRST, NOW)


def later_import(folder: Path) -> Work:
    return _import(folder / LATER, NOW + timedelta(days=1))


def _import(file: Path, now: datetime) -> Work:
    warehouse = DuckDBWarehouse(file.with_name(IMPORTED))
    if not warehouse.path.exists():
        warehouse.replace(CONTACTS, TABLES[CONTACTS].empty())  # as before the insert: the file and its engine are there
    year = program()
    return lambda: import_contacts_csv(file, warehouse=warehouse, program=year, now=now, actor="bench", run_id=None)


MEASURED: Final[dict[str, Callable[[Path], Work]]] = {
    READING: read_csv,
    INSERT: bulk_insert,
    IMPORT: first_import,
    AGAIN: later_import,
}


# -- telling ---------------------------------------------------------------------------------------------------------


def measured(rows: int, runs: int) -> dict[str, Any]:
    """All figures for one size: the medians of so many runs."""
    # Nothing large is made in this process: the peak memory of a process begins with that of the one that started it.
    processes = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=processes, max_tasks_per_child=1) as pool,
    ):
        columns = pool.submit(make_files, folder, rows).result()
        pool.submit(make_rows, folder).result()
        told = [{what: pool.submit(measure, folder, what).result() for what in MEASURED} for _ in range(runs)]
        size_mb = (Path(folder) / FIRST).stat().st_size // 1_000_000
    figures = {what: _median([run[what] for run in told]) for what in MEASURED}
    allowed = GOAL * figures[READING].seconds + figures[INSERT].seconds
    return {
        "rows": rows,
        "runs": runs,
        "columns": columns,
        "file_mb": size_mb,
        "measured": {what: figure._asdict() for what, figure in figures.items()},
        "allowed_seconds": allowed,
        "is_fast": figures[IMPORT].seconds <= allowed,
        "is_small": max(figures[IMPORT].peak_mb, figures[AGAIN].peak_mb) <= LIMIT_MB,
    }


def _median(runs: list[Measured]) -> Measured:
    seconds, cpu_seconds, peak_mb = (statistics.median(figure) for figure in zip(*runs, strict=True))
    return Measured(seconds, cpu_seconds, round(peak_mb))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the import of a contacts export.")
    parser.add_argument("--rows", type=int, help=f"one size only (default: {' and '.join(f'{n:,}' for n in SIZES)})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each is measured (default: {RUNS})")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if min(asked.rows or 1, asked.runs) < 1:
        parser.error("--rows and --runs must be at least 1")
    sizes = [measured(rows, asked.runs) for rows in ((asked.rows,) if asked.rows else SIZES)]
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    told = {"machine": machine, "sizes": sizes}
    print(json.dumps(told) if asked.json else _as_text(told))
    sys.exit(not all(size["is_small"] and (size["is_fast"] or size["rows"] != WORLD) for size in sizes))


def _as_text(told: dict[str, Any]) -> str:
    lines = [told["machine"]]
    for size in told["sizes"]:
        lines.append(f"{size['rows']:,} contacts, {size['columns']} columns, {size['file_mb']} MB; {size['runs']} runs")
        for what, figure in size["measured"].items():
            seconds = f"{figure['seconds']:>7.2f} s {figure['cpu_seconds']:>7.2f} s of processor"
            lines.append(f"  {what:<40} {seconds} {figure['peak_mb']:>6} MB")
        lines.append(f"  {f'{GOAL} x reading + insert':<40} {size['allowed_seconds']:>7.2f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
