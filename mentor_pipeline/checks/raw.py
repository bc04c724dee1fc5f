"""Checks of what came in: that it is all there, and that the year file's questions are the right ones."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.checks.common import Check, Find, checks_of, error, finding, holds, named
from mentor_pipeline.domain.export import knowledge_at
from mentor_pipeline.domain.knowledge import listed_count
from mentor_pipeline.domain.links import MEMBERS
from mentor_pipeline.domain.shrink import SMALLEST_COLLAPSE
from mentor_pipeline.domain.submissions import configured_forms
from mentor_pipeline.operator.contacts import CONTACTS_SOURCE
from mentor_pipeline.resources.warehouse import Reader
from mentor_pipeline.sensors.inbox import utc_now
from mentor_pipeline.settings import ProgramYear
from mentor_pipeline.tables import TABLES

ENOUGH_ROWS: Final = 10
"""Of fewer rows, a column may well be empty."""
_CONTACTS: Final = "raw_gb_full_contacts"
REQUIRED: Final = {
    "raw_mn_signups": ("submission_id", "status", "submitted_at", "first_name", "last_name", "phone", "personal_email"),
    "raw_mn_funds_setup": ("submission_id", "status", "submitted_at", "phone", "email"),
    "raw_mn_training_signup": ("submission_id", "status", "submitted_at", "phone", "email"),
    "raw_mn_partner_preference": ("submission_id", "status", "submitted_at", "mn_id", "partner_phone_raw"),
    MEMBERS: ("member_id", "campaign_id", "display_name"),
    _CONTACTS: ("contact_id", "last_name"),
}
"""Columns without which a raw table is useless."""


def _source(table: str, reader: Reader, program: ProgramYear) -> tuple[str, int]:
    """The source's row in `source_reads`, and how many of its rows are stored and listed."""
    if table == _CONTACTS:
        columns = ["archived_at", "missing_since"]
        return CONTACTS_SOURCE, listed_count(reader.read_or_empty(_CONTACTS, columns=columns))
    stored = reader.read_or_empty(table, year=program.year).filter(pl.col("missing_since").is_null())
    if table == MEMBERS:
        campaigns = stored["campaign_id"].unique().to_list()
        return f"givebutter/campaigns/{campaigns[0] if campaigns else ''}/members", stored.height
    form = configured_forms(program.jotform).get(table)
    return f"jotform/{form.form_id if form else ''}", stored.height


def _row_count_not_collapsed(table: str) -> Find:
    def find(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
        source, listed = _source(table, reader, program)
        told = reader.read_or_empty("source_reads").filter(source=source)["full_row_count"].drop_nulls()
        if told.is_empty():
            return holds(f"{listed} rows; the source was never read whole.")
        there = int(told.item())
        percent = program.matching.collapse_below_percent
        if listed * 100 < there * percent and there - listed >= SMALLEST_COLLAPSE:
            return error(
                f"{table} holds {listed} rows that are still there, but {source} listed {there}: less than {percent} "
                "%. Nothing downstream is computed from this. Run a sync again; if it stays, restore a backup.",
                pl.DataFrame({"source": [source], "rows listed by the source": [there], "rows stored": [listed]}),
            )
        return holds(f"{listed} rows are there; the source listed {there} when it was last read whole.")

    return find


def _required_columns(table: str) -> Find:
    def find(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
        rows = reader.read_or_empty(
            table, columns=REQUIRED[table], year=program.year if TABLES[table].has_year else None
        )
        empty = [name for name in REQUIRED[table] if rows[name].is_null().all()] if rows.height >= ENOUGH_ROWS else []
        if empty:
            return error(
                f"{', '.join(empty)} of {table} is empty in all {rows.height} rows. Check the questions of this form "
                "in the year file (config check), or the columns of the file. Nothing downstream is computed.",
                pl.DataFrame({"column": empty}),
            )
        return holds(f"All required columns have values in {rows.height} rows.")

    return find


def contacts_are_fresh(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Compare the age of contact data with `export.contacts_max_age_hours` and `contacts_refuse_after_days`."""
    known_at = knowledge_at(reader.read_or_empty("source_reads"))
    if known_at is None:
        return finding(
            "No contact was ever read: run a sync, or drop a contacts export into the inbox.", pl.DataFrame()
        )
    hours = (utc_now() - known_at).total_seconds() / 3600
    words = f"The contacts are known as of {known_at:%Y-%m-%d %H:%M} UTC, {hours:.0f} hours ago."
    limits = program.export
    rows = pl.DataFrame({"known as of": [known_at], "hours ago": [round(hours, 1)]})
    if hours > limits.contacts_refuse_after_days * 24:
        return error(f"{words} An import file is refused at this age: run a sync.", rows)
    if hours > limits.contacts_max_age_hours:
        return finding(f"{words} Run a sync before you export.", rows)
    return holds(words)


def members_have_a_mentor(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List the campaign pages that join nobody."""
    links = reader.read_or_empty("form_links", year=program.year)
    members = reader.read_or_empty(MEMBERS, year=program.year)
    nobodys = links.filter(pl.col("source_table") == MEMBERS, pl.col("mn_id").is_null()).join(
        members.select(
            "display_name", "email", "phone", "raised", "page_url", source_id=pl.col("member_id").cast(pl.String)
        ),
        on="source_id",
    )
    if nobodys.is_empty():
        return holds("Every campaign page belongs to a mentor.")
    return finding(
        f"{nobodys.height} campaign pages belong to no mentor: {named(nobodys['display_name'])}. Their owners did not "
        "sign up, or used another phone and e-mail there.",
        nobodys.select("display_name", "email", "phone", "raised", "page_url", "note"),
    )


def _raw_checks(table: str) -> list[Check]:
    return [
        Check(
            "row_count_not_collapsed",
            "The table holds about as many rows as its source listed when it was last read whole (R12).",
            _row_count_not_collapsed(table),
            is_blocking=True,
        ),
        Check(
            "required_columns",
            f"None of {', '.join(REQUIRED[table])} is empty in every row.",
            _required_columns(table),
            is_blocking=True,
        ),
    ]


_FRESH: Final = Check(
    "contacts_are_fresh",
    "What is known of the contacts is newer than the year file's limits (a warning, then an error).",
    contacts_are_fresh,
)

checks: Final = [
    *(checks_of(table, *_raw_checks(table)) for table in REQUIRED if table != _CONTACTS),
    checks_of(_CONTACTS, *_raw_checks(_CONTACTS), _FRESH),
    checks_of(
        "form_links",
        Check("members_have_a_mentor", "Every page of the campaign belongs to a mentor.", members_have_a_mentor),
    ),
]
