"""Checks of people and their contacts: ids and phones are sound, and what only a person can settle is listed."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.checks.common import Check, checks_of, error, finding, holds, named
from mentor_pipeline.domain.normalise import comparable_mn_ids
from mentor_pipeline.resources.warehouse import Reader
from mentor_pipeline.settings import ProgramYear

_E164 = r"^\+[1-9]\d{6,14}$"


def mn_id_is_unique(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Compare mentor ids without leading zeros."""
    rows = reader.read_or_empty("signups", columns=["mn_id", "full_name", "submission_id"], year=program.year)
    twice = rows.filter(comparable_mn_ids("mn_id").is_duplicated()).sort("mn_id")
    if twice.is_empty():
        return holds(f"{rows.height} people, each with an id of their own.")
    return error(f"{twice.height} people share a mentor id: {named(twice['full_name'])}.", twice)


def phones_are_e164(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """Look at the form of every phone."""
    rows = reader.read_or_empty("signups", columns=["mn_id", "full_name", "phone"], year=program.year)
    wrong = rows.filter(~pl.col("phone").str.contains(_E164))
    if wrong.is_empty():
        return holds(f"{rows['phone'].count()} phones are E.164; {rows['phone'].null_count()} people have none.")
    return error(f"{wrong.height} phones are not E.164: {named(wrong['full_name'])}.", wrong)


def no_duplicate_signups(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List who signed up more than once."""
    columns = ["mn_id", "full_name", "submission_id", "merged_submission_ids"]
    rows = reader.read_or_empty("signups", columns=columns, year=program.year)
    several = rows.filter(pl.col("merged_submission_ids").list.len() > 0)
    if several.is_empty():
        return holds(f"{rows.height} people signed up once each.")
    return finding(
        f"{several.height} people signed up more than once: {named(several['full_name'])}. The newest counts; delete "
        "the others on Jotform if you like.",
        several,
    )


def no_shared_contacts(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List the mentors who have the same claim to one contact."""
    links = reader.read_or_empty("contact_links", year=program.year)
    names = reader.read_or_empty("signups", columns=["mn_id", "full_name"], year=program.year)
    shared = links.filter(gb_match_status="shared").join(names, on="mn_id").select("mn_id", "full_name", "reason")
    if shared.is_empty():
        return holds("Every linked contact is one mentor's.")
    return finding(
        f"{shared.height} mentors share a contact with another and are held: {named(shared['full_name'])}. Decide "
        "whose it is (conflicts list).",
        shared,
    )


def no_pending_conflicts(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List the conflicts that are pending, the oldest first."""
    conflicts = reader.read_or_empty("sync_conflicts", year=program.year).filter(status="pending")
    names = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
    pending = conflicts.join(names, on="mn_id", how="left").sort("detected_at", "mn_id")
    if pending.is_empty():
        return holds("No conflict is pending.")
    return finding(
        f"{pending.height} conflicts wait for a decision: {named(pending['full_name'])}. See `mentor-pipeline "
        "conflicts list`.",
        pending.select(
            "id", "mn_id", "full_name", "conflict_type", "recommended_option", "recommendation_reason", "detected_at"
        ),
    )


def mentors_have_no_duplicates(reader: Reader, program: ProgramYear) -> dg.AssetCheckResult:
    """List the groups of duplicates that hold a mentor's contact."""
    groups = reader.read_or_empty("duplicate_gb_contacts")
    names = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
    theirs = groups.join(names, on="mn_id").sort("full_name")
    if theirs.is_empty():
        return holds(f"No mentor's contact has a duplicate; {groups.height} groups in all.")
    return finding(
        f"{theirs.height} groups of duplicates hold a mentor's contact: {named(theirs['full_name'])}. The archive plan "
        "says which may go.",
        theirs.select(
            "mn_id", "full_name", "matched_on", "value", "contact_ids", "names", "suggested_keep", "what_to_do"
        ),
    )


checks: Final = [
    checks_of(
        "signups",
        Check("mn_id_is_unique", "No two people have the same mentor id (R1).", mn_id_is_unique, is_blocking=True),
        Check("phones_are_e164", "Every phone is E.164, such as +17065550142 (R1).", phones_are_e164, is_blocking=True),
        Check("no_duplicate_signups", "Nobody signed up twice (R2).", no_duplicate_signups),
    ),
    checks_of(
        "contact_links",
        Check("no_shared_contacts", "No contact is claimed by two mentors (R4.6).", no_shared_contacts),
    ),
    checks_of(
        "sync_conflicts",
        Check("no_pending_conflicts", "Nothing waits for a person's decision (R9).", no_pending_conflicts),
    ),
    checks_of(
        "duplicate_gb_contacts",
        Check(
            "mentors_have_no_duplicates",
            "No mentor's contact shares a phone or an e-mail with another contact (R9).",
            mentors_have_no_duplicates,
        ),
    ),
]
