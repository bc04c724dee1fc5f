"""Checks of people and their contacts: ids and phones are sound, and what only a person can settle is listed."""

import dagster as dg
import polars as pl

from mentor_pipeline.checks.common import error, finding, holds, named
from mentor_pipeline.domain.normalise import comparable_mn_ids
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear

_E164 = r"^\+[1-9]\d{6,14}$"


@dg.asset_check(
    asset="signups", name="mn_id_is_unique", blocking=True, description="No two people have the same mentor id (R1)."
)
def mn_id_is_unique(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """Compare mentor ids without leading zeros."""
    rows = warehouse.read_or_empty("signups", columns=["mn_id", "full_name", "submission_id"], year=program.year)
    twice = rows.filter(comparable_mn_ids("mn_id").is_duplicated()).sort("mn_id")
    if twice.is_empty():
        return holds(f"{rows.height} people, each with an id of their own.")
    return error(f"{twice.height} people share a mentor id: {named(twice['full_name'])}.", twice)


@dg.asset_check(
    asset="signups",
    name="phones_are_e164",
    blocking=True,
    description="Every phone is E.164, such as +17065550142 (R1).",
)
def phones_are_e164(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """Look at the form of every phone."""
    rows = warehouse.read_or_empty("signups", columns=["mn_id", "full_name", "phone"], year=program.year)
    wrong = rows.filter(~pl.col("phone").str.contains(_E164))
    if wrong.is_empty():
        return holds(f"{rows['phone'].count()} phones are E.164; {rows['phone'].null_count()} people have none.")
    return error(f"{wrong.height} phones are not E.164: {named(wrong['full_name'])}.", wrong)


@dg.asset_check(asset="signups", name="no_duplicate_signups", description="Nobody signed up twice (R2).")
def no_duplicate_signups(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """List who signed up more than once."""
    columns = ["mn_id", "full_name", "submission_id", "merged_submission_ids"]
    rows = warehouse.read_or_empty("signups", columns=columns, year=program.year)
    several = rows.filter(pl.col("merged_submission_ids").list.len() > 0)
    if several.is_empty():
        return holds(f"{rows.height} people signed up once each.")
    return finding(
        f"{several.height} people signed up more than once: {named(several['full_name'])}. The newest counts; delete "
        "the others on Jotform if you like.",
        several,
    )


@dg.asset_check(
    asset="contact_links", name="no_shared_contacts", description="No contact is claimed by two mentors (R4.6)."
)
def no_shared_contacts(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """List the mentors who have the same claim to one contact."""
    with warehouse.reading() as reader:
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


@dg.asset_check(
    asset="sync_conflicts", name="no_pending_conflicts", description="Nothing waits for a person's decision (R9)."
)
def no_pending_conflicts(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """List the conflicts that are pending, the oldest first."""
    with warehouse.reading() as reader:
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


@dg.asset_check(
    asset="duplicate_gb_contacts",
    name="mentors_have_no_duplicates",
    description="No mentor's contact shares a phone or an e-mail with another contact (R9).",
)
def mentors_have_no_duplicates(
    warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> dg.AssetCheckResult:
    """List the groups of duplicates that hold a mentor's contact."""
    with warehouse.reading() as reader:
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


checks = [
    mn_id_is_unique,
    phones_are_e164,
    no_duplicate_signups,
    no_shared_contacts,
    no_pending_conflicts,
    mentors_have_no_duplicates,
]
