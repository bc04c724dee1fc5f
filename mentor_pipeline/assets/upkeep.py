"""Tidying Givebutter: what may be archived, and the steps of the jobs that archive and restore (R5).

The plan is an asset. Archiving and restoring are ops: they change Givebutter, so no sync ever does them, only a job
that a person starts, and even that only tells what it would do until it is run with `apply`. How it is done is in
`operator.archive`; what the jobs are is in `jobs`.
"""

from typing import Any, Final

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import columns_of, table_asset, told_plainly, utc_now
from mentor_pipeline.domain import archive
from mentor_pipeline.operator.archive import LOG, ArchiveReport, Archivist, ContactMove
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.run_guard import ROW_COUNT, RunGuard, triggered_by
from mentor_pipeline.resources.warehouse import Warehouse
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


class ChosenContacts(dg.Config):
    """Which contacts to take in hand: of the plan, or of the log."""

    contact_ids: list[int] = Field(default=[], description="Only these contacts; all of them when empty.")
    apply: bool = Field(default=False, description="Really do it. Otherwise the run only tells what it would do.")


class ArchiveConfig(ChosenContacts):
    """Which contacts of the plan to archive."""

    limit: int | None = Field(default=None, ge=1, description="At most so many contacts.")


@dg.op(description="Archive what contact_archive_plan says may be archived.", out=dg.Out(dg.Nothing))
def archive_contacts(
    context: dg.OpExecutionContext,
    config: ArchiveConfig,
    run_guard: RunGuard,  # noqa: ARG001 - being there is what it does: it holds the writer lock for the run
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `archive_duplicates`."""
    with told_plainly():
        archivist = _archivist(context, warehouse, givebutter, program)
        report = archivist.apply_plan(config.contact_ids, limit=config.limit, apply=config.apply)
        _tell(context, report, warehouse)


@dg.op(description="Restore what contact_archive_log has as archived and not restored.", out=dg.Out(dg.Nothing))
def restore_from_log(
    context: dg.OpExecutionContext,
    config: ChosenContacts,
    run_guard: RunGuard,  # noqa: ARG001 - as above
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `restore_contacts`."""
    with told_plainly():
        archivist = _archivist(context, warehouse, givebutter, program)
        report = archivist.restore(config.contact_ids, apply=config.apply)
        _tell(context, report, warehouse)


def _archivist(
    context: dg.OpExecutionContext, warehouse: Warehouse, givebutter: GivebutterResource, program: ProgramYear
) -> Archivist:
    def log(move: ContactMove) -> None:
        context.log.info("contact %d, %s: %s", move.contact_id, move.name, move.error or move.state)

    return Archivist(
        warehouse=warehouse,
        givebutter=givebutter,
        program=program,
        actor=triggered_by(context.run.tags),
        run_id=context.run_id,
        clock=utc_now,
        on_move=log,
    )


def _tell(context: dg.OpExecutionContext, report: ArchiveReport, warehouse: Warehouse) -> None:
    """Tell who was (or would be) archived or restored; the run fails when anybody's contact did.

    Raises:
        Failure: naming who and why.
    """
    context.log.info("%s", report.summary)
    told: dict[str, Any] = {"what came of it": report.summary, "contacts": _table(report.moves)}
    if report.is_applied:
        # The ledger is no asset that is computed; so the catalog and sync_log see that this run wrote to it.
        rows = warehouse.counts([LOG])[LOG]
        context.log_event(dg.AssetMaterialization(LOG, metadata={ROW_COUNT: rows, **told}))
    if report.failure:
        raise dg.Failure(description=report.failure, metadata=told, allow_retries=False)
    context.add_output_metadata(told)


def _table(moves: tuple[ContactMove, ...]) -> dg.TableMetadataValue:
    rows = [
        {
            "contact": str(move.contact_id),
            "name": move.name,
            "mentor": move.mn_id or "",
            "the mentor's contact": f"{move.winner_contact_id or 'none'}, {move.winner_name}",
            "why": move.reason,
            "what came of it": move.error or move.state,
        }
        for move in moves
    ]
    columns = [dg.TableColumn(name) for name in (rows[0] if rows else ())]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns))
