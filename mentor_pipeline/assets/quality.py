"""What a person should see: errors, warnings, conflicts, duplicates.

The assets say what they found in their last run (`detected_problems`, `detected_conflicts`); here it is merged with
what is stored, so that a problem is one row however often it is seen and a decision holds for ever (R9).
"""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.assets.common import columns_of, table_asset, utc_now
from mentor_pipeline.domain import conflicts, duplicates, problems
from mentor_pipeline.domain.export import settled_refusals
from mentor_pipeline.domain.failures_csv import PROBLEM_TYPE
from mentor_pipeline.operator.conflict_sheet import side_by_side
from mentor_pipeline.resources.warehouse import Reader, Warehouse
from mentor_pipeline.settings import ProgramYear

GROUP: Final = "quality"
_FINDERS: Final = (
    "raw_gb_full_contacts",
    "signups",
    "form_links",
    "contact_matches",
    "mentors",
    "partner_matches",
    "outreach_messages",
    "mn_gb_import",
)
"""Assets that find problems, or whose imports do."""


def _problems_asset(table: str) -> dg.AssetsDefinition:
    @table_asset(table, group=GROUP, deps=[*_FINDERS, "operator_actions"])
    def asset(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        program: dg.ResourceParam[ProgramYear],
    ) -> pl.DataFrame:
        """What the assets found now, merged with what was found before; what is gone resolves itself."""
        with warehouse.reading() as reader:
            detected = reader.read_or_empty("detected_problems", year=program.year)
            stored = reader.read_or_empty(table, year=program.year)
            actions = reader.read_or_empty("operator_actions")
            detected = detected.filter(~pl.col("id").is_in(_over(reader, detected, program)))
        rows = problems.live_on(problems.of_table(detected, table), stored, actions, now=utc_now())
        open_ones = rows.filter(~pl.col("resolved"))
        context.add_output_metadata(
            {
                "open": open_ones.height,
                "open by type": dict(open_ones.group_by("type").len().sort("type").iter_rows()),
                "new": rows.join(stored, on="id", how="anti").height,
            }
        )
        return rows

    return asset


def _over(reader: Reader, detected: pl.DataFrame, program: ProgramYear) -> list[str]:
    """Refusals of an import file that nobody has to see to any more; their file will not be read again."""
    if detected.filter(type=PROBLEM_TYPE).is_empty():
        return []
    return settled_refusals(
        detected,
        reader.read_or_empty("mn_gb_import", year=program.year),
        reader.read_or_empty("mentors", year=program.year),
        reader.read_or_empty("raw_gb_full_contacts"),
        program,
    )


sync_errors, sync_warnings = (_problems_asset(table) for table in problems.SEVERITIES)


@table_asset("sync_conflicts", group=GROUP, deps=["contact_matches", "mentors", "operator_actions"])
def sync_conflicts(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """Found by matching and merging; decided by people; obsolete when it is no longer true."""
    with warehouse.reading() as reader:
        detected = reader.read_or_empty("detected_conflicts", year=program.year)
        stored = reader.read_or_empty("sync_conflicts", year=program.year)
        actions = reader.read_or_empty("operator_actions")
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
        names = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
    rows = conflicts.live_on(detected, stored, actions, now=utc_now(), aliases=aliases)
    pending = rows.filter(status="pending")
    context.add_output_metadata(
        {
            "pending": pending.height,
            "pending by type": dict(pending.group_by("conflict_type").len().sort("conflict_type").iter_rows()),
            "new": rows.join(stored, on="id", how="anti").height,
        }
    )
    if pending.height:
        newest = pending.sort("detected_at", "id", descending=[True, False]).join(names, on="mn_id", how="left")
        context.add_output_metadata({"to decide": dg.MetadataValue.md(side_by_side(newest))})
    return rows


@table_asset(
    "duplicate_gb_contacts", group=GROUP, ins={"raw_gb_full_contacts": columns_of(*duplicates.CONTACT_COLUMNS)}
)
def duplicate_gb_contacts(raw_gb_full_contacts: pl.DataFrame, contact_links: pl.DataFrame) -> pl.DataFrame:
    """Grouped by phone first; an e-mail group that a phone group covers is not listed again (R9)."""
    return duplicates.duplicate_groups(raw_gb_full_contacts, contact_links)
