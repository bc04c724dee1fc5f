"""Checks of what is to go outward, before anybody can import it."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.checks.common import Check, checks_of, error, finding, holds, named
from mentor_pipeline.domain import preflight
from mentor_pipeline.domain.import_format import HOLDING
from mentor_pipeline.resources.warehouse import Reader
from mentor_pipeline.settings import ProgramYear

_WHO: Final = ("mn_id", "First Name", "Last Name")


def external_id_is_unique_and_free(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Judge the External IDs of the rows as stored."""
    rows, contacts, taken = _judged(reader, program)
    told = _faults(rows, preflight.judge_external_ids(rows, contacts, program, taken_external_ids=taken))
    if told.is_empty():
        return holds(f"{rows.height} External IDs, each free or its own contact's.")
    whose = told["mn_id"].unique().sort()
    return error(
        f"{whose.len()} rows share an External ID, or another contact holds it: {named(whose)}. No file is written.",
        told,
    )


def import_file_is_valid(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Judge the rows as stored once more."""
    rows, contacts, taken = _judged(reader, program)
    mentors = reader.read_or_empty("mentors", year=program.year)
    told = _faults(rows, preflight.judge(rows, contacts, mentors, program, taken_external_ids=taken))
    if told.is_empty():
        return holds(f"Givebutter would take all {rows.height} rows.")
    whose = told["mn_id"].unique().sort()
    return error(
        f"{whose.len()} rows would be refused, or end on the wrong contact: {named(whose)}. No file is written.", told
    )


def _judged(reader: Reader, program: ProgramYear) -> tuple[pl.DataFrame, pl.DataFrame, frozenset[str]]:
    """The stored rows, all known contacts, and the External IDs that refused rows taught."""
    # Of all contacts, not of those that the rows were made with: what was left out there is found here.
    contacts = reader.read_or_empty("raw_gb_full_contacts", columns=preflight.CONTACT_COLUMNS)
    errors = reader.read_or_empty("sync_errors", year=program.year)
    rows = reader.read_or_empty("mn_gb_import", year=program.year)
    return rows, contacts, preflight.taken_external_ids(errors, contacts)


def _faults(rows: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """What would keep a row out, with whose row it is."""
    who = rows.select(_WHO).with_row_index("row")
    return who.join(findings.filter(pl.col("verdict").is_in(HOLDING)), on="row").drop("row")


def nobody_is_held(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List who is held, and why."""
    held = reader.read_or_empty("mn_gb_import_held", year=program.year)
    names = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
    told = held.join(names, on="mn_id", how="left").select("mn_id", "full_name", "reason", "detail", "gb_contact_id")
    if told.is_empty():
        return holds("Nobody is held.")
    return finding(f"{told.height} mentors are held: {named(told['full_name'])}.", told.sort("reason", "mn_id"))


checks: Final = [
    checks_of(
        "mn_gb_import",
        Check(
            "external_id_is_unique_and_free",
            "No two rows share a Contact External ID, and no other contact (archived ones too) holds one of them.",
            external_id_is_unique_and_free,
            is_blocking=True,
        ),
        Check(
            "import_file_is_valid",
            "Givebutter would refuse no row, by the rules of its import and all known contacts (R10).",
            import_file_is_valid,
            is_blocking=True,
        ),
    ),
    checks_of(
        "mn_gb_import_held",
        Check("nobody_is_held", "Every mentor has a row in the import file (R10).", nobody_is_held),
    ),
]
