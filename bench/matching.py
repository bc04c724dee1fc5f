"""Measures matching: 1,000 mentors against 49,000 and against 1,000,000 contacts, which must link them alike.

The mentors and the first 49,000 contacts are the simulator's world, read as in a run; the others are made up so that
none shares a phone, an e-mail or an id with a mentor. Each figure comes from a process of its own that does nothing
else: the median of three times, and its peak memory with all contacts in it. The yardstick is a bare hash join on the
same keys.

    python -m bench.matching [--contacts N] [--json]
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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import polars as pl

from bench import wire
from mentor_pipeline.domain import candidates, matching
from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.decisions import LinkDecision
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.domain.links import FORMS, MEMBERS, join_forms
from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.domain.submissions import configured_forms, merge_submissions, submission_rows
from mentor_pipeline.settings import ProgramYear, load_program_year, packaged_config_dir
from mentor_pipeline.simulator import World, generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

YEAR = 2025
NOW = datetime(YEAR, 10, 1, 12, tzinfo=UTC)
MENTORS, SMALL, LARGE = 1000, 49_000, 1_000_000
REPEATS = 3
DECIDED = 50
"""Mentors of whom a person decided something, in a later sync."""
SIGNUPS, CONTACTS, PREVIOUS = "raw_mn_signups", "raw_gb_full_contacts", "mentors"
RECORDED = ("mn_id", "gb_contact_id", "gb_match_method", "phone", "personal_email", "uga_email")
FREE_AREA, FREE_DOMAIN = 333, "filler.example.com"
"""An area code and a domain that the simulator's people never have."""


class Inputs(NamedTuple):
    """What matching reads, besides the contacts."""

    signups: pl.DataFrame
    pages: pl.DataFrame
    previous: pl.DataFrame
    decisions: dict[str, LinkDecision]


class Measured(NamedTuple):
    seconds: float
    peak_mb: int


# -- making up the worlds --------------------------------------------------------------------------------------------


def program() -> ProgramYear:
    return load_program_year(packaged_config_dir() / f"{YEAR}.toml")


def make_worlds(folder: str, contacts: int) -> None:
    """The inputs of both worlds, as files; the links of the first sync are what a later one finds recorded."""
    to, year = Path(folder), program()
    world = generate_world(year, mentors=MENTORS, contacts=SMALL, clock=lambda: NOW)
    known = _known_contacts(world).select(candidates.CONTACT_COLUMNS)
    known.write_parquet(to / f"{SMALL}.parquet")
    pl.concat([known, filler(known, contacts - known.height)]).write_parquet(to / f"{contacts}.parquet")

    forms = {
        table: merge_submissions(
            TABLES[table].empty(),
            submission_rows(table, wire.submissions(world, form.form_id), form, year.zone),
            year=YEAR,
            now=NOW,
        )
        for table, form in configured_forms(year.jotform).items()
    }
    signups = one_per_person(
        forms[SIGNUPS], placeholders=TABLES["placeholder_ids"].empty(), known_mn_ids=(), program=year, now=NOW
    ).rows
    listed = member_rows(wire.listed(world, "members"), year=YEAR, campaign_id=world.campaign.id)
    members = merge_members(TABLES[MEMBERS].empty(), listed, now=NOW)
    links = join_forms(signups, {table: forms[table] for table in FORMS}, members, {}, year).rows
    owners = links.filter(source_table=MEMBERS).select("mn_id", member_id=pl.col("source_id").cast(pl.Int64))
    pages = members.join(owners, on="member_id", how="left")
    nobody = TABLES[PREVIOUS].empty().select(RECORDED)
    first = matching.choose_contacts(signups, nobody, known, pages, {}, year, NOW)
    signups.write_parquet(to / "signups.parquet")
    pages.write_parquet(to / "pages.parquet")
    signups.join(first.links, on="mn_id").select(RECORDED).write_parquet(to / "previous.parquet")


def filler(known: pl.DataFrame, count: int) -> pl.DataFrame:
    """Contacts that are nobody's: names as in the world, every second last name with a prefix of its own.

    One to two e-mails, none to two phones, a family on one phone now and then; one in ten has an id of earlier years.
    """
    count = max(count, 0)
    number = pl.int_range(count)
    first, last = (known[name].sample(count, with_replacement=True, seed=7) for name in ("first_name", "last_name"))
    stamped, tagged = (
        known[name].sample(count, with_replacement=True, seed=8) for name in ("last_modified_at", "tags")
    )
    email = pl.format(f"person{{}}@{FREE_DOMAIN}", number)
    phone = pl.format(f"+1{FREE_AREA}{{}}", (number - (number % 10 == 9).cast(pl.Int64)) + 2_000_000)
    nothing = pl.lit([], dtype=pl.List(pl.String))
    old_id = pl.when(number % 10 == 0).then(pl.format("{}", number + 24_000_000))
    additional = (
        pl.when(number % 4 == 0).then(pl.concat_list(pl.format(f"other{{}}@{FREE_DOMAIN}", number))).otherwise(nothing)
    )
    second_phone = pl.format(f"+1{FREE_AREA + 1}{{}}", number + 2_000_000)
    made: dict[str, Any] = {
        "contact_id": pl.lit(known.select(pl.col("contact_id").max()).item() + 1) + number,
        "external_id": old_id,
        "external_mn_id": old_id,
        "first_name": first,
        "last_name": pl.when(number % 2 == 0).then(last).otherwise(pl.format("Fitz{}", last.str.to_lowercase())),
        "primary_email": email,
        "additional_emails": additional,
        "emails": pl.concat_list(email, additional),
        "phones": pl.when(number % 5 < 2)
        .then(nothing)
        .when(number % 5 < 4)
        .then(pl.concat_list(phone))
        .otherwise(pl.concat_list(phone, second_phone)),
        "address_line_1": pl.when(number % 3 == 0).then(pl.format("{} Maple St", number % 900 + 1)),
        "tags": tagged,
        "last_modified_at": stamped,
        "first_seen_at": pl.lit(NOW),
    }
    none = {name: pl.lit(None, dtype) for name, dtype in known.schema.items() if name not in made}
    return pl.select(number).select(**made, **none).select(known.columns).cast(known.schema)


def _known_contacts(world: World) -> pl.DataFrame:
    reading = Reading(contact_rows(wire.listed(world, "contacts")), as_of=NOW, source="api", is_complete=True)
    return learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW).rows


# -- measuring, in a process of its own ------------------------------------------------------------------------------


def measure(folder: str, contacts: int, what: str) -> Measured:
    """One of `MEASURED`, run `REPEATS` times; links are left in the folder for comparison."""
    inputs, known = _inputs(Path(folder), is_later="later" in what), _read(Path(folder), str(contacts))
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = MEASURED[what](inputs, known)
        times.append(time.perf_counter() - started)
    if result is not None:  # what `differences` compares
        result.links.write_parquet(Path(folder) / f"{what}-{contacts}-links.parquet")
        result.matches.rows.write_parquet(Path(folder) / f"{what}-{contacts}-candidates.parquet")
    a_mb = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Measured(statistics.median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // a_mb)


def hash_join(inputs: Inputs, contacts: pl.DataFrame) -> None:
    """The yardstick: pairs of mentor and contact that share an id, a phone or an e-mail, and nothing more."""
    mentors = inputs.signups
    kinds = {"phones": ["phone"], "emails": ["personal_email", "uga_email"], "external_mn_id": ["mn_id"]}
    for column, own in kinds.items():
        keys = pl.concat(mentors.select("mn_id", key=pl.col(name)) for name in own).drop_nulls("key").unique()
        theirs = contacts.select("contact_id", key=column)
        if isinstance(theirs.schema["key"], pl.List):
            theirs = theirs.explode("key")
        keys.join(theirs, on="key").select("mn_id", "contact_id").unique()


def first_look(inputs: Inputs, contacts: pl.DataFrame) -> None:
    candidates.find_candidates(inputs.signups, inputs.previous, contacts, inputs.pages, program(), NOW)


def all_of_matching(inputs: Inputs, contacts: pl.DataFrame) -> matching.Matches:
    args = (inputs.signups, inputs.previous, contacts, inputs.pages, inputs.decisions)
    return matching.choose_contacts(*args, program(), NOW)


def without_suggestions(inputs: Inputs, contacts: pl.DataFrame) -> matching.Matches:
    with patch.object(matching, "suggest_contacts", return_value=[]):
        return all_of_matching(inputs, contacts)


MEASURED: dict[str, Callable[[Inputs, pl.DataFrame], matching.Matches | None]] = {
    "bare hash join": hash_join,
    "candidates": first_look,
    "matching without suggestions": without_suggestions,
    "matching, first sync": all_of_matching,
    "matching, later sync with decisions": all_of_matching,
}


COMPARED = tuple(what for what in MEASURED if what.startswith("matching"))


def _inputs(folder: Path, *, is_later: bool) -> Inputs:
    signups, pages, previous = (_read(folder, name) for name in ("signups", "pages", "previous"))
    if not is_later:
        return Inputs(signups, pages, previous.clear(), {})
    linked = previous.drop_nulls("gb_contact_id").head(DECIDED).select("mn_id", "gb_contact_id")
    at = datetime(YEAR, 9, 20, tzinfo=UTC)
    decisions = {mn_id: LinkDecision(at, "office", contact_id) for mn_id, contact_id in linked.iter_rows()}
    return Inputs(signups, pages, previous, decisions)


def _read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


# -- telling ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure matching, and compare what it says of both worlds.")
    parser.add_argument("--contacts", type=int, default=LARGE, help=f"contacts of the large world ({LARGE:,})")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if asked.contacts <= SMALL:
        parser.error(f"--contacts must be more than the {SMALL:,} of the small world")
    # Nothing large is made in this process: the peak memory of a process begins with that of the one that started it.
    processes = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=processes, max_tasks_per_child=1) as pool,
    ):
        pool.submit(make_worlds, folder, asked.contacts).result()
        rows = [
            {"contacts": contacts, "what": what, **pool.submit(measure, folder, contacts, what).result()._asdict()}
            for contacts in (SMALL, asked.contacts)
            for what in MEASURED
        ]
        differing = {what: pool.submit(differences, folder, what, asked.contacts).result() for what in COMPARED}
    measured = {
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "mentors": MENTORS,
        "measured": rows,
        "mentors_with_another_result": differing,
    }
    print(json.dumps(measured) if asked.json else _as_text(measured))
    sys.exit(any(differing.values()))


def differences(folder: str, what: str, contacts: int) -> int:
    """Mentors whose link or candidates are not the same in both worlds."""
    differing: set[str] = set()
    for table in ("links", "candidates"):
        small, large = (_read(Path(folder), f"{what}-{size}-{table}") for size in (SMALL, contacts))
        for one, other in ((small, large), (large, small)):
            differing |= set(one.join(other, on=one.columns, how="anti", nulls_equal=True)["mn_id"])
    return len(differing)


def _as_text(measured: dict[str, Any]) -> str:
    lines = [measured["machine"]]
    for row in measured["measured"]:
        what = f"{measured['mentors']:,} mentors, {row['contacts']:,} contacts: {row['what']}"
        lines.append(f"{what:<80} {row['seconds']:>7.2f} s {row['peak_mb']:>6} MB")
    for what, count in measured["mentors_with_another_result"].items():
        lines.append(f"{what}: mentors with another link or candidate than in the small world: {count}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
