"""Checks of what is to go outward, before anybody can import it."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.checks.common import Check, checks_of, error, finding, holds, named
from mentor_pipeline.domain import preflight
from mentor_pipeline.resources.warehouse import Reader
from mentor_pipeline.settings import ProgramYear

EXTERNAL_ID: Final = "Contact External ID"
_WHO: Final = ("mn_id", "First Name", "Last Name")


def external_id_is_unique_and_free(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Compare the External IDs of the rows with each other and with every known contact's."""
    rows = reader.read_or_empty("mn_gb_import", year=program.year)
    contacts = reader.read_or_empty(
        "raw_gb_full_contacts", columns=["contact_id", "external_id", "first_name", "last_name", "missing_since"]
    )
    twice = rows.filter(pl.col(EXTERNAL_ID).is_duplicated()).select(*_WHO, EXTERNAL_ID)
    if not twice.is_empty():
        return error(f"{twice.height} rows share a Contact External ID: {named(twice['mn_id'])}.", twice)
    held = contacts.filter(pl.col("missing_since").is_null(), pl.col("external_id").is_not_null())
    elsewhere = (
        rows.join(held, left_on=EXTERNAL_ID, right_on="external_id")
        .filter(pl.col("contact_id").cast(pl.String).ne_missing(pl.col("Givebutter Contact ID")))
        .select(*_WHO, EXTERNAL_ID, "contact_id", "first_name", "last_name")
    )
    if not elsewhere.is_empty():
        return error(
            f"{elsewhere.height} External IDs are held by another contact: {named(elsewhere['mn_id'])}. Givebutter "
            "would refuse these rows, so no file is written.",
            elsewhere,
        )
    return holds(f"{rows.height} External IDs, each free or its own contact's.")


def import_file_is_valid(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Judge the rows as stored once more."""
    rows = reader.read_or_empty("mn_gb_import", year=program.year)
    contacts = reader.read_or_empty("raw_gb_full_contacts", columns=preflight.CONTACT_COLUMNS)
    mentors = reader.read_or_empty("mentors", year=program.year)
    errors = reader.read_or_empty("sync_errors", year=program.year)
    findings = preflight.judge(
        rows, contacts, mentors, program, taken_external_ids=preflight.taken_external_ids(errors, contacts)
    )
    faults = findings.filter(pl.col("verdict") != "notice")
    if faults.is_empty():
        return holds(f"Givebutter would take all {rows.height} rows.")
    who = rows.select(_WHO).with_row_index("row").with_columns(pl.col("row").cast(findings.schema["row"]))
    told = who.join(faults, on="row").drop("row")
    return error(
        f"{told.height} rows would be refused: {named(told['mn_id'].unique().sort())}. No file is written.", told
    )


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
