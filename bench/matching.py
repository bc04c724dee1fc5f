"""Measures matching: mentors against contacts, up to 10,000 against 1,000,000; more contacts must not change a link.

The mentors and the first 49,000 contacts are the simulator's world, read as in a run; the others are made up so that
none shares a phone, an e-mail or an id with a mentor. All of matching finds the candidates, chooses, gives a reason for
every fate and suggests. It stands beside a bare hash join on the same keys (`polars`), Splink's `link_only` on DuckDB
with its own comparisons of names, e-mail and phone (predicting only, nothing trained), and the plain nested loop, which
compares every mentor with every contact by keys and names in Python; that one is measured on a part and multiplied.

    python -m bench.matching [--contacts N] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import patch

import duckdb
import polars as pl
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from bench import wire
from bench.measuring import Figure, alone, machine_line, say, side_by_side
from bench.report import Goal, Section, at_most, how, told_only
from bench.year import NOW, YEAR, program
from mentor_pipeline.domain import candidates, matching
from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.decisions import LinkDecision
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.domain.links import FORMS, MEMBERS, join_forms
from mentor_pipeline.domain.names import Name, compatible
from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.domain.submissions import configured_forms, merge_submissions, submission_rows
from mentor_pipeline.simulator import World, generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measuring import Work

MENTORS, SMALL, LARGE = 1000, 49_000, 1_000_000
REPEATS = 3
DECIDED = 50
"""Mentors of whom a person decided something, in a later sync."""
TIMES_A_JOIN: Final = 10
"""All of matching may take so many times what the bare hash join takes."""
FASTER: Final = 1000
"""So many times faster than the nested loop it must be, at the largest size."""
FEW: Final = 100
"""Mentors and contacts with which each work is done once before: what is imported for it is not measured."""
PART: Final = (200, 5000)
"""Mentors and contacts on which the nested loop is measured, at most."""
SIGNUPS, CONTACTS, PREVIOUS = "raw_mn_signups", "raw_gb_full_contacts", "mentors"
RECORDED = ("mn_id", "gb_contact_id", "gb_match_method", "phone", "personal_email", "uga_email")
FREE_AREA, FREE_DOMAIN = 333, "filler.example.com"
"""An area code and a domain that the simulator's people never have."""


class Sizes(NamedTuple):
    """Mentors and contacts of each comparison, the largest last; contacts of every simulated world; how often."""

    pairs: tuple[tuple[int, int], ...]
    world: int
    runs: int


FULL: Final = Sizes(((MENTORS, SMALL), (MENTORS, LARGE), (10_000, LARGE)), SMALL, 3)
QUICK: Final = Sizes(((30, 500),), 300, 1)


class Inputs(NamedTuple):
    """What matching reads, besides the contacts.

    Attributes:
        signups: rows of `signups`.
        pages: campaign pages with their owners.
        previous: the links as recorded.
        decisions: of people.
    """

    signups: pl.DataFrame
    pages: pl.DataFrame
    previous: pl.DataFrame
    decisions: dict[str, LinkDecision]


# -- making up the worlds --------------------------------------------------------------------------------------------


def make_worlds(to: Path, mentors: int, world_contacts: int, contacts: tuple[int, ...]) -> None:
    """A world filled up to each number of contacts, as files; what its first sync links is what a later one finds."""
    to.mkdir(exist_ok=True)
    year = program()
    world = generate_world(year, mentors=mentors, contacts=world_contacts, clock=lambda: NOW)
    known = _known_contacts(world).select(candidates.CONTACT_COLUMNS)
    for count in contacts:
        pl.concat([known, filler(known, count - known.height)]).write_parquet(to / f"{count}.parquet")

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
    for table, rows in {**forms, MEMBERS: members, "form_links": links}.items():
        rows.write_parquet(to / f"{table}.parquet")
    owners = links.filter(source_table=MEMBERS).select("mn_id", member_id=pl.col("source_id").cast(pl.Int64))
    pages = members.join(owners, on="member_id", how="left")
    nobody = TABLES[PREVIOUS].empty().select(RECORDED)
    first = all_of_matching(Inputs(signups, pages, nobody, {}), known)
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


# -- the works ---------------------------------------------------------------------------------------------------------


def handed(contacts: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Contacts as matching takes them."""
    return contacts.lazy()


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
    candidates.find_candidates(inputs.signups, inputs.previous, handed(contacts), inputs.pages, program(), NOW)


def all_of_matching(inputs: Inputs, contacts: pl.DataFrame | pl.LazyFrame) -> matching.Matches:
    args = (inputs.signups, inputs.previous, handed(contacts), inputs.pages, inputs.decisions)
    return matching.choose_contacts(*args, program(), NOW)


def without_suggestions(inputs: Inputs, contacts: pl.DataFrame) -> matching.Matches:
    with patch.object(matching, "suggest_contacts", return_value=[]):
        return all_of_matching(inputs, contacts)


def splinks_own(inputs: Inputs, contacts: pl.DataFrame) -> None:
    """Splink as its documentation shows it: pairs that share a phone, an e-mail or a last name, and how likely."""
    mentors = inputs.signups.select(
        "first_name", "last_name", "phone", unique_id="mn_id", email=pl.coalesce("personal_email", "uga_email")
    )
    theirs = contacts.select(
        "first_name",
        "last_name",
        phone=pl.col("phones").list.first(),
        unique_id=pl.col("contact_id").cast(pl.String),
        email="primary_email",
    )
    settings = SettingsCreator(
        link_type="link_only",
        comparisons=[
            cl.NameComparison("first_name"),
            cl.NameComparison("last_name"),
            cl.EmailComparison("email"),
            cl.ExactMatch("phone"),
        ],
        blocking_rules_to_generate_predictions=[block_on("phone"), block_on("email"), block_on("last_name")],
    )
    logging.getLogger("splink").setLevel(logging.ERROR)
    with duckdb.connect(":memory:") as connection:
        backend = DuckDBAPI(connection)
        tables = [backend.register(mentors.select(theirs.columns).to_arrow()), backend.register(theirs.to_arrow())]
        linker = Linker(tables, settings, log_level=None)
        pairs = linker.inference.predict(threshold_match_probability=0.9, warning_mode="never")
        pairs.as_duckdbpyrelation().select("unique_id_l, unique_id_r, match_probability").pl()


def nested_loop(inputs: Inputs, contacts: pl.DataFrame) -> int:
    """Every mentor with every contact of a part: pairs that share an id, a phone or an e-mail, or whose names fit."""
    mentors = inputs.signups.head(PART[0]).rows(named=True)
    people = [
        (
            one["external_mn_id"],
            one["phones"] or (),
            one["emails"] or (),
            Name(one["first_name"], one["last_name"], one["preferred_name"]),
        )
        for one in contacts.head(PART[1]).rows(named=True)
    ]
    found = 0
    for mentor in mentors:
        mn_id, phone, emails = mentor["mn_id"], mentor["phone"], (mentor["personal_email"], mentor["uga_email"])
        name = Name(mentor["first_name"], mentor["last_name"], mentor["preferred_name"])
        for external_id, theirs, addresses, other in people:
            shares = external_id == mn_id or phone in theirs or any(email in addresses for email in emails)
            found += shares or compatible(name, other)
    return found


JOIN, SPLINK, LOOP = "bare hash join", "Splink, link_only", "nested loop, a part"
FIRST_SYNC = "matching, first sync"
MEASURED: dict[str, Callable[[Inputs, pl.DataFrame], matching.Matches | None]] = {
    JOIN: hash_join,
    "candidates": first_look,
    "matching without suggestions": without_suggestions,
    FIRST_SYNC: all_of_matching,
    "matching, later sync with decisions": all_of_matching,
}
"""What the module measures by itself, in two worlds."""
COMPARED = tuple(what for what in MEASURED if what.startswith("matching"))
SIDE_BY_SIDE: Final = {
    JOIN: hash_join,
    FIRST_SYNC: all_of_matching,
    SPLINK: splinks_own,
    LOOP: nested_loop,
}
"""What stands side by side."""


def working(folder: Path, contacts: int, what: str) -> Work:
    """One of these, made ready and done once with a few; links are left in the folder for comparison."""
    inputs, known = inputs_of(folder, is_later="later" in what), _read(folder, str(contacts))
    function = SIDE_BY_SIDE.get(what) or MEASURED[what]
    function(inputs._replace(signups=inputs.signups.head(FEW)), known.head(FEW))

    def work() -> Any:
        result = function(inputs, known)

        def keep() -> None:
            if isinstance(result, matching.Matches):  # what `differences` compares
                result.links.write_parquet(folder / f"{what}-{contacts}-links.parquet")
                result.matches.rows.write_parquet(folder / f"{what}-{contacts}-candidates.parquet")

        return keep

    return work


def inputs_of(folder: Path, *, is_later: bool = False) -> Inputs:
    """The inputs of a first sync, or of one that finds links and decisions."""
    signups, pages, previous = (_read(folder, name) for name in ("signups", "pages", "previous"))
    if not is_later:
        return Inputs(signups, pages, previous.clear(), {})
    linked = previous.drop_nulls("gb_contact_id").head(DECIDED).select("mn_id", "gb_contact_id")
    at = datetime(YEAR, 9, 20, tzinfo=UTC)
    decisions = {mn_id: LinkDecision(at, "office", contact_id) for mn_id, contact_id in linked.iter_rows()}
    return Inputs(signups, pages, previous, decisions)


def _read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


# -- telling -----------------------------------------------------------------------------------------------------------


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    figures: list[Figure] = []
    goals: list[Goal] = []
    for mentors, contacts in sizes.pairs:
        size = f"{mentors:,} x {contacts:,}"
        say(f"matching {size}")
        world = folder / f"matching-{mentors}"
        if not (world / f"{contacts}.parquet").exists():
            alone(
                make_worlds, world, mentors, sizes.world, tuple(other for own, other in sizes.pairs if own == mentors)
            )
        works = {what: partial(working, world, contacts, what) for what in SIDE_BY_SIDE if what != LOOP}
        found = side_by_side(works, sizes.runs) | side_by_side({LOOP: partial(working, world, contacts, LOOP)}, 1)
        figures += [one._replace(what=f"{size}: {what}") for what, one in found.items()]
        ours = found[FIRST_SYNC]
        whole = found[LOOP].seconds * mentors * contacts / (min(PART[0], mentors) * min(PART[1], contacts))
        work, of_part = f"all of matching, {size}", "the nested loop, reckoned from a part"
        goals += [
            at_most(TIMES_A_JOIN, work, ours, found[JOIN], "a bare hash join on the same keys"),
            at_most(1, work, ours, found[SPLINK], "Splink's link_only"),
            at_most(1 / FASTER, work, ours, whole, of_part)
            if (mentors, contacts) == sizes.pairs[-1]
            else told_only(work, ours, whole, of_part),
        ]
    return Section("Matching", how(__doc__), figures, goals)


def differences(folder: Path, what: str, contacts: int) -> int:
    """Mentors whose link or candidates are not the same in both worlds."""
    differing: set[str] = set()
    for table in ("links", "candidates"):
        small, large = (_read(folder, f"{what}-{size}-{table}") for size in (SMALL, contacts))
        for one, other in ((small, large), (large, small)):
            differing |= set(one.join(other, on=one.columns, how="anti", nulls_equal=True)["mn_id"])
    return len(differing)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure matching, and compare what it says of both worlds.")
    parser.add_argument("--contacts", type=int, default=LARGE, help=f"contacts of the large world ({LARGE:,})")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    if asked.contacts <= SMALL:
        parser.error(f"--contacts must be more than the {SMALL:,} of the small world")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        alone(make_worlds, folder, MENTORS, SMALL, (SMALL, asked.contacts))
        rows = [
            {"contacts": contacts, "what": what, "seconds": one.seconds, "peak_mb": one.peak_mb}
            for contacts in (SMALL, asked.contacts)
            for what, one in side_by_side(
                {what: partial(working, folder, contacts, what) for what in MEASURED}, REPEATS
            ).items()
        ]
        differing = {what: alone(differences, folder, what, asked.contacts) for what in COMPARED}
    measured = {
        "machine": machine_line(),
        "mentors": MENTORS,
        "measured": rows,
        "mentors_with_another_result": differing,
    }
    print(json.dumps(measured) if asked.json else _as_text(measured))
    sys.exit(any(differing.values()))


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
