"""Tidying Givebutter: what may be archived. Nothing is archived until a person applies the plan (R5)."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.assets.common import columns_of, table_asset
from mentor_pipeline.domain import archive
from mentor_pipeline.settings import ProgramYear

GROUP: Final = "upkeep"


@table_asset("contact_archive_plan", group=GROUP, ins={"raw_gb_full_contacts": columns_of(*archive.CONTACT_COLUMNS)})
def contact_archive_plan(
    context: dg.AssetExecutionContext,
    contact_matches: pl.DataFrame,
    contact_links: pl.DataFrame,
    raw_gb_full_contacts: pl.DataFrame,
    mentors: pl.DataFrame,
    sync_conflicts: pl.DataFrame,
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """The mentors' duplicates, judged by R5."""
    plan = archive.archive_plan(contact_matches, contact_links, raw_gb_full_contacts, mentors, sync_conflicts, program)
    context.add_output_metadata({"contacts by action": dict(plan.group_by("action").len().sort("action").iter_rows())})
    return plan
