"""Tidying Givebutter: what to archive, to release and to tag, and the steps of the jobs that do it (R4.1, R5, R6).

The plans are assets. What changes Givebutter are ops: no sync ever does them, only a job that a person starts, and even
that only tells what it would do until it is run with `apply`. How it is done is in `operator.archive` and
`operator.tags`; what the jobs are is in `jobs`.
"""

from typing import Any, Final

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import columns_of, table_asset, table_of, told_plainly, utc_now
from mentor_pipeline.domain import archive, release
from mentor_pipeline.domain.decisions import resolve_aliases
from mentor_pipeline.errors import steering_nothing
from mentor_pipeline.operator import tags
from mentor_pipeline.operator.archive import LOG, ArchiveReport, Archivist, ContactMove, Operation
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


@table_asset("contact_release_plan", group=GROUP, ins={"raw_gb_full_contacts": columns_of(*release.CONTACT_COLUMNS)})
def contact_release_plan(
    context: dg.AssetExecutionContext,
    raw_gb_full_contacts: pl.DataFrame,
    mentors: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """What people decided, against the external ids that contacts carry; nothing is released without a decision."""
    with warehouse.reading() as reader:
        actions = reader.read_or_empty("operator_actions", year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
    plan = release.release_plan(resolve_aliases(actions, aliases), raw_gb_full_contacts, mentors, program)
    context.add_output_metadata({"contacts to release": plan.height})
    return plan


class ChosenContacts(dg.Config):
    """Which contacts to take in hand: of the plan, or of the log."""

    contact_ids: list[int] = Field(default=[], description="Only these contacts; all of them when empty.")
    apply: bool = Field(default=False, description="Really do it. Otherwise the run only tells what it would do.")


class PlannedContacts(ChosenContacts):
    """Which contacts of the plan to take in hand."""

    limit: int | None = Field(default=None, ge=1, description="At most so many contacts.")


@dg.op(description="Archive what contact_archive_plan says may be archived.", out=dg.Out(dg.Nothing))
def archive_contacts(
    context: dg.OpExecutionContext,
    config: PlannedContacts,
    run_guard: RunGuard,  # noqa: ARG001 - being there is what it does: it holds the writer lock for the run
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `archive_duplicates`."""
    _do(context, "archive", config, warehouse, givebutter, program, limit=config.limit)


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
    _do(context, "restore", config, warehouse, givebutter, program)


@dg.op(description="Take the external ids off the contacts in contact_release_plan.", out=dg.Out(dg.Nothing))
def release_contacts(
    context: dg.OpExecutionContext,
    config: PlannedContacts,
    run_guard: RunGuard,  # noqa: ARG001 - as above
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `release_external_ids`."""
    _do(context, "release", config, warehouse, givebutter, program, limit=config.limit)


@dg.op(description="Put back the external ids that contact_archive_log has as taken off.", out=dg.Out(dg.Nothing))
def unrelease_from_log(
    context: dg.OpExecutionContext,
    config: ChosenContacts,
    run_guard: RunGuard,  # noqa: ARG001 - as above
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `undo_releases`."""
    _do(context, "unrelease", config, warehouse, givebutter, program)


@dg.op(description="Put our tags on the mentors' contacts where they hold, and take them off.", out=dg.Out(dg.Nothing))
def push_own_tags(
    context: dg.OpExecutionContext,
    config: PlannedContacts,
    run_guard: RunGuard,  # noqa: ARG001 - as above
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> None:
    """The one step of the job `push_tags`."""

    def log(move: tags.TagMove) -> None:
        _log_move(context, move.contact_id, move.mentor_name, move.error or move.state)

    with told_plainly():
        tagger = tags.Tagger(
            warehouse=warehouse,
            givebutter=givebutter,
            program=program,
            actor=triggered_by(context.run.tags),
            run_id=context.run_id,
            clock=utc_now,
            on_move=log,
        )
        report = tagger.run(config.contact_ids, limit=config.limit, apply=config.apply)
        _tell(context, report, tags.LOG, table_of(_tag_rows(report.moves)), warehouse)


def _log_move(context: dg.OpExecutionContext, contact_id: int, name: str | None, what: str) -> None:
    context.log.info(steering_nothing(f"contact {contact_id}, {name}: {what}"))


def _do(
    context: dg.OpExecutionContext,
    operation: Operation,
    config: ChosenContacts,
    warehouse: Warehouse,
    givebutter: GivebutterResource,
    program: ProgramYear,
    *,
    limit: int | None = None,
) -> None:
    def log(move: ContactMove) -> None:
        _log_move(context, move.contact_id, move.name, move.error or move.state)

    with told_plainly():
        archivist = Archivist(
            warehouse=warehouse,
            givebutter=givebutter,
            program=program,
            actor=triggered_by(context.run.tags),
            run_id=context.run_id,
            clock=utc_now,
            on_move=log,
        )
        report = archivist.run(operation, config.contact_ids, limit=limit, apply=config.apply)
        _tell(context, report, LOG, table_of(_rows(report.moves)), warehouse)


def _tell(
    context: dg.OpExecutionContext,
    report: ArchiveReport | tags.TagReport,
    ledger: str,
    contacts: dg.TableMetadataValue,
    warehouse: Warehouse,
) -> None:
    """Tell which contacts were (or would be) changed; the run fails when any of them did.

    Raises:
        Failure: naming who and why.
    """
    context.log.info("%s", report.summary)
    told: dict[str, Any] = {"what came of it": report.summary, "contacts": contacts}
    if report.is_applied:
        # The ledger is no asset that is computed; so the catalog and sync_log see that this run wrote to it.
        rows = warehouse.counts([ledger])[ledger]
        context.log_event(dg.AssetMaterialization(ledger, metadata={ROW_COUNT: rows, **told}))
    if report.failure:
        raise dg.Failure(description=report.failure, metadata=told, allow_retries=False)
    context.add_output_metadata(told)


def _rows(moves: tuple[ContactMove, ...]) -> list[dict[str, str]]:
    return [
        {
            "contact": str(move.contact_id),
            "name": move.name,
            "mentor": move.mn_id or "",
            "the mentor's contact": f"{move.winner_contact_id}, {move.winner_name}" if move.winner_contact_id else "",
            "external id": move.external_id or "",
            "why": move.reason,
            "what came of it": move.error or move.state,
        }
        for move in moves
    ]


def _tag_rows(moves: tuple[tags.TagMove, ...]) -> list[dict[str, str]]:
    return [
        {
            "contact": str(move.contact_id),
            "mentor": f"{move.mn_id}, {move.mentor_name}",
            "put on": ", ".join(move.add),
            "taken off": ", ".join(move.remove),
            "why": move.reason,
            "what came of it": move.error or move.state,
        }
        for move in moves
    ]
