"""Measures how it grows: 100,000, 1,000,000 and 10,000,000 contacts of 20 columns, imported, matched, and rows out.

The file is made in parts, so that making it needs little memory: the simulator's 49,000 contacts, then made-up ones
that share names with them and nothing else. One process imports it into a DuckDB file as operators do, chooses the
contacts of 1,000 mentors from that warehouse, and makes the rows of the import file that follow from it. The yardstick
is Polars reading the same file in streams, every column. How time grows is the slope of a line through the logarithms
of the sizes and times: 1 is in proportion. A size that does not come to its end is told as such.

    python -m bench.scale [--contacts N ...] [--to DIR]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from bench import matching
from bench.measuring import Figure, alone, growth, machine_line, say, side_by_side
from bench.report import Chart, Goal, Section, as_markdown, failed, how, told_only, within
from bench.year import NOW, YEAR, program
from mentor_pipeline.domain import candidates, preflight
from mentor_pipeline.domain.export import import_rows
from mentor_pipeline.domain.knowledge import mentor_contacts
from mentor_pipeline.domain.links import FORMS, MEMBERS
from mentor_pipeline.domain.mentors import Memory, Sources, build_mentors, tasks
from mentor_pipeline.operator.imports import import_contacts_csv
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.simulator import generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from bench.measuring import Work

LIMIT_MB: Final = 4096
EXPONENT: Final = 1.1
PART: Final = 250_000
"""Contacts that are made up at a time."""
COLUMNS: Final = (
    "Givebutter Contact ID", "Contact External ID", "Prefix", "First Name", "Preferred First Name", "Last Name",
    "Primary Email", "Additional Emails", "Primary Phone", "Additional Phones", "Address Line 1", "City", "State",
    "Postal Code", "Country", "Tags", "Notes", "Total Contributions", "Date Created (UTC)", "Last Modified (UTC)",
)  # fmt: skip
FILE, IMPORTED, RAW = "export.csv", "imported.duckdb", "raw_gb_full_contacts"
READING, WHOLE = "polars.scan_csv, streaming", "import, match, rows out"


class Sizes(NamedTuple):
    """Contacts of each file, mentors, contacts of the simulated world, and how often each is measured."""

    contacts: tuple[int, ...]
    mentors: int
    world: int
    runs: int


FULL: Final = Sizes((100_000, 1_000_000, 10_000_000), 1000, 49_000, 2)
QUICK: Final = Sizes((400, 800), 30, 300, 1)


# -- making up the files -----------------------------------------------------------------------------------------------


def make_file(folder: Path, sizes: Sizes, contacts: int) -> None:
    """The export: the simulated world's own contacts, then others, a part at a time."""
    folder.mkdir()
    world = generate_world(program(), mentors=sizes.mentors, contacts=sizes.world, clock=lambda: NOW)
    known = pl.read_csv(world.export_csv(folder / FILE), infer_schema=False, empty_string_is_null=False).select(COLUMNS)
    with (folder / FILE).open("wb") as file:
        known.write_csv(file)
        for start in range(known.height, contacts, PART):
            _others(known, start, min(PART, contacts - start)).write_csv(file, include_header=False)


def _others(known: pl.DataFrame, start: int, count: int) -> pl.DataFrame:
    """So many contacts, beginning with that number, whose ids, e-mails and phones are their own."""
    number = start + pl.int_range(count)
    names = {
        name: known[name].sample(count, with_replacement=True, seed=start + place)
        for place, name in enumerate(("First Name", "Last Name", "Address Line 1", "City", "Tags", "Notes"))
    }
    last_name = names["Last Name"]
    own = {
        "Givebutter Contact ID": pl.format("{}", number + 1_000_000_000),
        "Primary Email": pl.format("person{}@{}", number, pl.lit(matching.FREE_DOMAIN)),
        "Additional Emails": pl.when(number % 4 == 0)
        .then(pl.format("other{}@{}", number, pl.lit(matching.FREE_DOMAIN)))
        .otherwise(pl.lit("")),
        "Primary Phone": pl.when(number % 5 < 3)
        .then(pl.format("+1{}{}", matching.FREE_AREA + number // 8_000_000, 2_000_000 + number % 8_000_000))
        .otherwise(pl.lit("")),
        "Last Name": pl.when(number % 2 == 0)
        .then(last_name)
        .otherwise(pl.format("Fitz{}", last_name.str.to_lowercase())),
        "State": pl.lit("GA"),
        "Postal Code": pl.lit("30601"),
        "Country": pl.lit("US"),
        "Total Contributions": pl.lit("0.00"),
        "Date Created (UTC)": pl.lit("2024-08-01 12:00:00"),
        "Last Modified (UTC)": pl.lit("2025-06-01 12:00:00"),
    }
    nothing = {name: pl.lit("") for name in COLUMNS}
    return pl.select(number=number).select(**{**nothing, **{name: pl.lit(s) for name, s in names.items()}, **own})


# -- the works ---------------------------------------------------------------------------------------------------------


def reading(folder: Path) -> Work:
    pl.scan_csv(b"a\n1\n", infer_schema=False).collect(engine="streaming")  # its threads are a part of no figure
    file = pl.scan_csv(folder / FILE, infer_schema=False)
    return lambda: file.select(pl.all().count()).collect(engine="streaming").row(0)[0]


def whole(folder: Path, mentors: Path) -> Work:
    """From the file to the rows; tells the seconds of each part."""
    year, warehouse = program(), DuckDBWarehouse(folder / IMPORTED)
    warehouse.path.unlink(missing_ok=True)
    inputs = matching.inputs_of(mentors)
    forms = {table: pl.read_parquet(mentors / f"{table}.parquet") for table in FORMS}
    links = pl.read_parquet(mentors / "form_links.parquet")
    members = pl.read_parquet(mentors / f"{MEMBERS}.parquet")

    def work() -> dict[str, float]:
        began = time.perf_counter()
        import_contacts_csv(folder / FILE, warehouse=warehouse, program=year, now=NOW, actor="bench", run_id=None)
        imported = time.perf_counter()
        with warehouse.scanning(RAW, columns=candidates.CONTACT_COLUMNS) as scanned:
            found = matching.all_of_matching(inputs, scanned)
        matched = time.perf_counter()
        picked = mentor_contacts(
            found.links, warehouse.read_by_id(RAW, found.links["gb_contact_id"].drop_nulls()), year=YEAR
        )
        sources = Sources(inputs.signups, links, forms, members, found.links, picked)
        memory = Memory(
            *(TABLES[name].empty() for name in ("operator_actions", "merge_base", "mentor_history", "mentor_aliases"))
        )
        built = build_mentors(sources, memory, year, NOW)
        messages, errors, conflicts = (
            TABLES[name].empty() for name in ("outreach_messages", "sync_errors", "sync_conflicts")
        )
        with warehouse.scanning(RAW, columns=preflight.KEY_COLUMNS) as scanned:
            concerned = preflight.concerned(scanned, built.rows, conflicts, errors, year)
        contacts = warehouse.read_by_id(RAW, concerned)
        rows = import_rows(
            built.rows, tasks(built.rows), contacts, messages, errors, conflicts, year, now=NOW, knowledge_at=NOW
        ).rows
        rows.write_csv(folder / "rows.csv")
        ended = time.perf_counter()
        return {
            "import": imported - began,
            "match": matched - imported,
            "rows out": ended - matched,
            "rows": rows.height,
        }

    return work


# -- telling -----------------------------------------------------------------------------------------------------------


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    mentors = folder / f"mentors-{sizes.mentors}"
    alone(matching.make_worlds, mentors, sizes.mentors, sizes.world, ())
    figures: list[Figure] = []
    goals: list[Goal] = []
    notes: list[str] = []
    times: dict[int, tuple[Figure, Figure]] = {}
    for contacts in sizes.contacts:
        made, size = folder / f"contacts-{contacts}", f"{contacts:,} x {len(COLUMNS)}"
        work = f"{WHOLE}, {size}, {sizes.mentors:,} mentors"
        say(f"{WHOLE}: {size}")
        try:
            alone(make_file, made, sizes, contacts)
            works = {READING: partial(reading, made), WHOLE: partial(whole, made, mentors)}
            bare, ours = side_by_side(works, sizes.runs).values()
        except Exception as error:  # noqa: BLE001 - also when the system ends the process for want of memory
            notes.append(f"{size}: did not come to its end: {type(error).__name__}: {error}")
            goals.append(failed(f"{work}: memory", READING, f"at most {LIMIT_MB:,} MB"))
            continue
        finally:
            shutil.rmtree(made, ignore_errors=True)  # the largest are gigabytes
        times[contacts] = (ours, bare)
        figures += [one._replace(what=f"{size}: {one.what}") for one in (bare, ours)]
        parts = ", ".join(f"{part} {ours.part(part):,.2f} s" for part in ("import", "match", "rows out"))
        notes.append(f"{size}: {parts}; {ours.part('rows'):,.0f} rows.")
        goals += [
            within(LIMIT_MB, f"{work}: memory", ours.peak_mb, bare.peak_mb, "MB", READING),
            told_only(f"{work}: time", ours, bare, READING),
        ]
    what = f"{WHOLE}: exponent of the time, {sizes.contacts[0]:,} to {sizes.contacts[-1]:,}"
    if len(times) == len(sizes.contacts) > 1:
        mine, theirs = (growth(times, [pair[place].seconds for pair in times.values()]) for place in (0, 1))
        goals.append(within(EXPONENT, what, mine, theirs, "", f"exponent of {READING}"))
    elif len(sizes.contacts) > 1:
        goals.append(failed(what, f"exponent of {READING}", f"at most {EXPONENT:g}"))
    return Section("Growth", how(__doc__), figures, goals, [_chart(sizes, times)], notes)


def _chart(sizes: Sizes, times: dict[int, tuple[Figure, Figure]]) -> Chart:
    lines: dict[str, list[float | None]] = {WHOLE: [], READING: []}
    for contacts in sizes.contacts:
        ours, bare = times.get(contacts, (None, None))
        lines[WHOLE].append(ours and ours.seconds)
        lines[READING].append(bare and bare.seconds)
        for part in ("import", "match", "rows out"):
            lines.setdefault(f"of it: {part}", []).append(ours and ours.part(part))
    points = [f"{contacts:,}" for contacts in sizes.contacts]
    return Chart(
        "growth",
        "Seconds, by the number of contacts (both by powers of ten)",
        "contacts",
        points,
        {**lines},
        is_log=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how import, matching and rows out grow with the contacts.")
    parser.add_argument("--contacts", type=int, nargs="+", default=FULL.contacts, help="sizes of the file")
    parser.add_argument("--to", type=Path, help="where the files are made; a temporary folder by default")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.to) as folder:
        section = measure(Path(folder), FULL._replace(contacts=tuple(sorted(asked.contacts))))
    print(as_markdown("Growth", machine_line(), {"scale": section}, []))


if __name__ == "__main__":
    main()
