"""Measures the import of a contacts export: 49,000 and 1,000,000 contacts in 64 columns.

For each size, in turn and several times, so that medians can be told, and each from a process of its own with its peak
memory: Polars reads the file (`polars.read_csv`, all columns as text); the file is read and normalised, from its bytes
to contacts as the tables hold them; DuckDB takes the resulting rows in one bulk insert; and the import as operators run
it reads, normalises, merges, keeps its ledger and commits. A further figure is the same export again a day later, with
one contact in fifty edited. The file is the simulator's export; beyond its 49,000 contacts further ones are made from
them, each with an id, a phone and addresses of its own.

    python -m bench.imports [--rows N] [--runs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa  # noqa: F401  (loaded once in a process: a part of no figure)

from bench.measuring import Figure, alone, machine_line, say, side_by_side
from bench.report import Goal, Section, at_most, how, within
from bench.year import NOW, program
from mentor_pipeline.domain.contacts_csv import read_contacts
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.operator.imports import import_contacts_csv
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.simulator import generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from datetime import datetime

    from bench.measuring import Ready, Work
    from mentor_pipeline.domain.contacts_csv import ContactsFile

WORLD: Final = 49_000
TIMES: Final = 5
"""Reading and normalising may take so many times what reading alone takes; the import, that plus the bulk insert."""
LIMIT_MB: Final = 2560
A_MILLION: Final = 1_000_000
"""Contacts of which nothing may take more memory than the limit."""
CONTACTS: Final = "raw_gb_full_contacts"
FIRST, LATER, ROWS, IMPORTED = "export.csv", "later.csv", "rows.parquet", "imported.duckdb"
READING, NORMALISING, INSERT = "polars.read_csv", "read and normalise", "one bulk insert"
IMPORT, AGAIN = "import into an empty warehouse", "the next day's export"


class Sizes(NamedTuple):
    """Contacts of each file, and how often each is measured."""

    rows: tuple[int, ...]
    runs: int


FULL: Final = Sizes((WORLD, A_MILLION), 5)
QUICK: Final = Sizes((300,), 1)


# -- making up the files ---------------------------------------------------------------------------------------------


def make_files(folder: Path, rows: int) -> int:
    """The two exports, and the rows that come of the first; the number of columns."""
    folder.mkdir(exist_ok=True)
    contacts = min(rows, WORLD)
    world = generate_world(program(), mentors=min(1000, contacts // 5), contacts=contacts, clock=lambda: NOW)
    base = pl.read_csv(world.export_csv(folder / FIRST), infer_schema=False, empty_string_is_null=False)
    (folder / FIRST).unlink()
    known = base.height
    for number in range(-(-rows // known)):
        part = (_others(base, number) if number else base).head(rows - number * known)
        for name, exported in ((FIRST, part), (LATER, _edited(part))):
            with (folder / name).open("ab") as file:
                exported.write_csv(file, include_header=number == 0)
    return base.width


def normalised(export: Path) -> ContactsFile:
    """An export's contacts as the domain gives them."""
    with export.open("rb") as file:
        return read_contacts(file, export.name, now=NOW)


def make_rows(folder: Path) -> None:
    """The rows that the first export becomes, for the bulk insert."""
    contacts = pl.concat(normalised(folder / FIRST).batches)
    reading = Reading(contacts, NOW, "csv", is_complete=True)
    learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW).rows.write_parquet(folder / ROWS)


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


# -- the works ---------------------------------------------------------------------------------------------------------


def reading(folder: Path) -> Work:
    _start_polars()
    return lambda: pl.read_csv(folder / FIRST, infer_schema=False).height


def normalising(folder: Path) -> Work:
    _start_polars()

    def normalise() -> Any:
        return normalised(folder / FIRST).batches.close

    return normalise


def _start_polars() -> None:
    """Let Polars start its threads: a part of no figure."""
    pl.read_csv(b"a\n1\n", infer_schema=False)


def bulk_insert(folder: Path) -> Work:
    rows = pl.read_parquet(folder / ROWS)
    path = folder / "bulk.duckdb"
    path.unlink(missing_ok=True)
    DuckDBWarehouse(path).replace(CONTACTS, rows.clear())

    def insert() -> None:
        with duckdb.connect(path) as connection:
            connection.register("rows", rows.to_arrow())
            connection.execute(f"INSERT INTO {CONTACTS} BY NAME SELECT * FROM rows")  # noqa: S608 - a name of ours

    return insert


def first_import(folder: Path) -> Work:
    (folder / IMPORTED).unlink(missing_ok=True)
    return importing(folder / FIRST, NOW)


def later_import(folder: Path) -> Work:
    """After the first; it leaves the warehouse as it found it, so that the next run finds the same."""
    before = folder / f"{IMPORTED}.before"
    before.write_bytes((folder / IMPORTED).read_bytes())
    work = importing(folder / LATER, NOW + timedelta(days=1))

    def later() -> Any:
        work()

        def put_back() -> None:
            before.replace(folder / IMPORTED)

        return put_back

    return later


def importing(file: Path, now: datetime) -> Work:
    """The import of a file into the warehouse beside it, as operators run it."""
    warehouse = DuckDBWarehouse(file.with_name(IMPORTED))
    if not warehouse.path.exists():
        warehouse.replace(CONTACTS, TABLES[CONTACTS].empty())  # as before the insert: the file and its engine are there
    year = program()

    def work() -> None:
        import_contacts_csv(file, warehouse=warehouse, program=year, now=now, actor="bench", run_id=None)

    return work


def works(folder: Path) -> dict[str, Ready]:
    """All of them, by what they are called; the later import needs the first."""
    ready = (reading, normalising, bulk_insert, first_import, later_import)
    return {
        what: partial(one, folder)
        for what, one in zip((READING, NORMALISING, INSERT, IMPORT, AGAIN), ready, strict=True)
    }


# -- telling -----------------------------------------------------------------------------------------------------------


def compared(folder: Path, rows: int, runs: int) -> tuple[int, dict[str, Figure]]:
    """The number of columns, and all figures for one size."""
    say(f"import of {rows:,} contacts")
    columns = alone(make_files, folder, rows)
    alone(make_rows, folder)
    return columns, side_by_side(works(folder), runs)


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    figures: list[Figure] = []
    goals: list[Goal] = []
    for rows in sizes.rows:
        columns, found = compared(folder / f"export-{rows}", rows, sizes.runs)
        figures += [one._replace(what=f"{rows:,} x {columns}: {what}") for what, one in found.items()]
        goals.append(at_most(TIMES, f"{NORMALISING} {rows:,} x {columns}", found[NORMALISING], found[READING], READING))
    goals += [
        within(LIMIT_MB, f"{what}, {rows:,}: memory", found[what].peak_mb, found[READING].peak_mb, "MB", READING)
        for what in (NORMALISING, IMPORT, AGAIN)
    ]
    return Section("Reading and importing an export", how(__doc__), figures, goals)


def told(rows: int, runs: int) -> dict[str, Any]:
    """One size, for machines."""
    with tempfile.TemporaryDirectory() as folder:
        columns, figures = compared(Path(folder), rows, runs)
        file_mb = (Path(folder) / FIRST).stat().st_size // 1_000_000
    allowed = TIMES * figures[READING].seconds + figures[INSERT].seconds
    limit = LIMIT_MB * max(rows, A_MILLION) // A_MILLION
    return {
        "rows": rows,
        "runs": runs,
        "columns": columns,
        "file_mb": file_mb,
        "measured": {
            what: {"seconds": one.seconds, "cpu_seconds": one.cpu_seconds, "peak_mb": one.peak_mb}
            for what, one in figures.items()
        },
        "allowed_seconds": allowed,
        "is_fast": figures[IMPORT].seconds <= allowed,
        "is_small": max(figures[IMPORT].peak_mb, figures[AGAIN].peak_mb) <= limit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the import of a contacts export.")
    shown = " and ".join(f"{rows:,}" for rows in FULL.rows)
    parser.add_argument("--rows", type=int, help=f"one size only (default: {shown})")
    parser.add_argument(
        "--runs", type=int, default=FULL.runs, help=f"how often each is measured (default: {FULL.runs})"
    )
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if min(asked.rows or 1, asked.runs) < 1:
        parser.error("--rows and --runs must be at least 1")
    sizes = [told(rows, asked.runs) for rows in ((asked.rows,) if asked.rows else FULL.rows)]
    whole = {"machine": machine_line(), "sizes": sizes}
    print(json.dumps(whole) if asked.json else _as_text(whole))
    sys.exit(not all(size["is_small"] and (size["is_fast"] or size["rows"] != WORLD) for size in sizes))


def _as_text(whole: dict[str, Any]) -> str:
    lines = [whole["machine"]]
    for size in whole["sizes"]:
        lines.append(f"{size['rows']:,} contacts, {size['columns']} columns, {size['file_mb']} MB; {size['runs']} runs")
        for what, one in size["measured"].items():
            seconds = f"{one['seconds']:>7.2f} s {one['cpu_seconds']:>7.2f} s of processor"
            lines.append(f"  {what:<40} {seconds} {one['peak_mb']:>6} MB")
        lines.append(f"  {f'{TIMES} x reading + insert':<40} {size['allowed_seconds']:>7.2f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
