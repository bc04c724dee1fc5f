"""What goes outward: the rows for Givebutter's import, who is held, and the file (R10).

`sync` computes the rows and writes no file; the file is written by the job `export` alone, when a person says so.
Every row has passed the preflight; the checks on these assets judge them once more.
"""

from pathlib import Path
from typing import Final

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import OWNERS, output_of, table_of, told_plainly, utc_now
from mentor_pipeline.domain import preflight
from mentor_pipeline.domain.export import import_rows, knowledge_at
from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.operator.export_files import (
    ExportSource,
    Selection,
    require_folder,
    write_import_file,
    write_messages_file,
)
from mentor_pipeline.resources.io_managers import column_schema
from mentor_pipeline.resources.run_guard import ROW_COUNT
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear, Settings

GROUP: Final = "export"
_CONTACTS: Final = "raw_gb_full_contacts"


@dg.multi_asset(
    name="judge_import_rows",
    deps=[_CONTACTS],
    outs={
        "mn_gb_import": output_of(
            "mn_gb_import", "Built by R10 and judged by the import rules against all known contacts.", group=GROUP
        ),
        "mn_gb_import_held": output_of("mn_gb_import_held", "Held by R10, or by the preflight.", group=GROUP),
    },
)
def judged_import_rows(
    context: dg.AssetExecutionContext,
    mentors: pl.DataFrame,
    mn_tasks: pl.DataFrame,
    outreach_messages: pl.DataFrame,
    sync_conflicts: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> tuple[Computed, pl.DataFrame]:
    """A row for every mentor who is not held, and the reason for every one who is."""
    with warehouse.reading() as reader:
        errors = reader.read_or_empty("sync_errors", year=program.year)
        reads = reader.read_or_empty("source_reads")
    with warehouse.scanning(_CONTACTS, columns=preflight.KEY_COLUMNS) as contacts:
        concerned = preflight.concerned(contacts, mentors, sync_conflicts, errors, program)
    judged = import_rows(
        mentors,
        mn_tasks,
        warehouse.read_by_id(_CONTACTS, concerned),
        outreach_messages,
        errors,
        sync_conflicts,
        program,
        now=utc_now(),
        knowledge_at=knowledge_at(reads),
    )
    reasons = dict(judged.held.group_by("reason").len().sort("reason").iter_rows())
    context.add_output_metadata({"held by reason": reasons}, "mn_gb_import_held")
    return Computed(judged.rows, judged.problems), judged.held


def file_columns() -> dg.TableSchema:
    """Columns of the file: those of mn_gb_import without our own two; custom fields follow by label."""
    return dg.TableSchema(
        columns=[column for column in column_schema("mn_gb_import").columns if column.name not in {"year", "mn_id"}]
    )


class ExportConfig(dg.Config):
    """Which file to write, and where."""

    out: str | None = Field(default=None, description="Folder or file; exports/ in the data folder by default.")
    everything: bool = Field(default=False, description="Every row, not only those that differ from Givebutter's.")
    statuses: list[str] = Field(default=[], description="Only mentors of these statuses.")
    shifts: list[str] = Field(default=[], description="Only mentors with these shift preferences.")
    split: int | None = Field(default=None, description="At most so many rows a file.")
    messages: bool = Field(default=False, description="The CSV of the texting platform instead of the import file.")
    allow_stale: bool = Field(default=False, description="Also when what is known of the contacts is very old.")


@dg.asset(
    group_name=GROUP,
    kinds={"csv"},
    owners=OWNERS,
    metadata={"dagster/column_schema": file_columns()},
    description="The file for Givebutter's import, or for the texting platform, in the exports folder; written only "
    "by the job `export`, whole or not at all, with a .json beside it that tells what is in it and who is not.",
)
def gb_import_file(
    context: dg.AssetExecutionContext,
    config: ExportConfig,
    mn_gb_import: pl.DataFrame,
    mn_gb_import_held: pl.DataFrame,
    mentors: pl.DataFrame,
    outreach_messages: pl.DataFrame,
    raw_gb_full_contacts: pl.DataFrame,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> dg.MaterializeResult[None]:
    """Write the file."""
    selection = Selection(
        everything=config.everything,
        statuses=config.statuses,
        shifts=config.shifts,
        split=config.split,
        allow_stale=config.allow_stale,
    )
    target = Path(config.out) if config.out else settings.exports_dir
    with warehouse.reading() as reader:
        sent_notes = reader.read_or_empty("sent_notes", year=program.year)
        reads = reader.read_or_empty("source_reads")
    source = ExportSource(
        mn_gb_import, mn_gb_import_held, mentors, raw_gb_full_contacts, sent_notes, knowledge_at(reads)
    )
    with told_plainly():
        if config.out:
            require_folder(target)
        if config.messages:
            written = write_messages_file(mentors, outreach_messages, target, now=utc_now(), selection=selection)
        else:
            written = write_import_file(source, program, target, now=utc_now(), selection=selection)
        warehouse.append("sent_notes", written.sent_notes)
    context.log.info("%s", written.message)
    return dg.MaterializeResult(
        metadata={
            "message": written.message,
            ROW_COUNT: written.rows,
            "paths": [str(path) for path in written.paths],
            "sha256": list(written.hashes),
            "rows": written.rows,
            **(
                {}
                if config.messages
                else {
                    "created": written.created,
                    "updated": written.updated,
                    "held": dict(written.held),
                    "preview": table_of(written.preview.to_dicts()),
                }
            ),
            "warnings": list(written.warnings),
            "unchanged": written.unchanged,
        }
    )
