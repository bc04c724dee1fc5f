"""Commands that tidy Givebutter: `archive`, `release` and `duplicates` (R4.1, R5).

Until `--yes` each only shows what it would do, with the reason for every contact, and ends with the exact command that
does it. With `--yes` it runs the same job as Dagster's UI. What may be done is decided by the plans; how it is done is
in `operator.archive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

import typer

from mentor_pipeline.cli import hints, show, show_archive
from mentor_pipeline.cli.app import FAILED, By, Json, app, told
from mentor_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from mentor_pipeline.cli.installation import Installation
    from mentor_pipeline.operator.archive import ArchiveReport, Operation
    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.operator.tags import TagReport
    from mentor_pipeline.resources.warehouse import Warehouse

R = TypeVar("R", "ArchiveReport", "TagReport")

_PANEL: Final = "Tidy up"
_JOBS: Final = {
    "archive": ("archive_duplicates", "archive_contacts"),
    "restore": ("restore_contacts", "restore_from_log"),
    "release": ("release_external_ids", "release_contacts"),
    "unrelease": ("undo_releases", "unrelease_from_log"),
}
"""The job of each operation, and the step that takes its config."""

archive_app = typer.Typer(no_args_is_help=True, help="Duplicates of mentors' contacts: out of the way, and back.")
release_app = typer.Typer(no_args_is_help=True, help="Mentors' ids on contacts that are not theirs: off, and back.")
app.add_typer(archive_app, name="archive", rich_help_panel=_PANEL)
app.add_typer(release_app, name="release", rich_help_panel=_PANEL)

Only = Annotated[list[int] | None, typer.Option("--only", metavar="CONTACT_ID", help="Only this; may be repeated.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many contacts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Really do it; else it is only shown.")]
ContactIds = Annotated[list[int] | None, typer.Argument(metavar="[CONTACT_ID]...", help="These contacts.")]
All = Annotated[bool, typer.Option("--all", help="All that was done from here and not taken back.")]


@archive_app.command("plan")
@told
def plan_archive(*, as_json: Json = False) -> None:
    """Show which duplicates may be archived and which a person must look at, with the reason for each."""
    from mentor_pipeline.operator.archive import planned, to_review

    here = synced()
    archive = planned(here.warehouse, here.program, "archive").moves
    review = to_review(here.warehouse, here.program)
    counted = {"archive": len(archive), "review": len(review)}
    document = {"year": here.program.year, "counts": counted, "archive": archive, "review": review}
    Terminal(as_json=as_json).result(document, *show_archive.archive_plan(archive, review))


@archive_app.command("apply")
@told
def apply_archive(
    *,
    only: Only = None,
    limit: Limit = None,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Archive what the plan says may be archived. Shows which, until --yes."""
    _do(
        "archive",
        only or [],
        options_given(only, limit, "archive apply"),
        by,
        limit=limit,
        yes=yes,
        as_json=as_json,
    )


@archive_app.command("restore")
@told
def restore(
    contact_ids: ContactIds = None,
    *,
    everything: All = False,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take contacts that were archived from here out of the archive. Shows which, until --yes."""
    words = _chosen(contact_ids, everything, "archive restore")
    _do("restore", contact_ids or [], words, by, yes=yes, as_json=as_json)


@release_app.command("plan")
@told
def plan_release(*, as_json: Json = False) -> None:
    """Show which external ids are to be taken off which contacts, and who decided so."""
    from mentor_pipeline.operator.archive import planned

    here = synced()
    moves = planned(here.warehouse, here.program, "release").moves
    document = {"year": here.program.year, "counts": {"release": len(moves)}, "release": moves}
    Terminal(as_json=as_json).result(document, *show_archive.release_plan(moves))


@release_app.command("apply")
@told
def apply_release(
    *,
    only: Only = None,
    limit: Limit = None,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take external ids off contacts, as people decided. Shows which, until --yes."""
    _do(
        "release",
        only or [],
        options_given(only, limit, "release apply"),
        by,
        limit=limit,
        yes=yes,
        as_json=as_json,
    )


@release_app.command("undo")
@told
def undo_release(
    contact_ids: ContactIds = None,
    *,
    everything: All = False,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Put external ids back that were taken off from here. Shows which, until --yes."""
    words = _chosen(contact_ids, everything, "release undo")
    _do("unrelease", contact_ids or [], words, by, yes=yes, as_json=as_json)


@app.command(rich_help_panel=_PANEL)
@told
def duplicates(*, as_json: Json = False) -> None:
    """Show contacts that share a phone or an e-mail: whose they are, and what to do. Mentors' first."""
    here = synced()
    rows = here.warehouse.read_or_empty("duplicate_gb_contacts").to_dicts()
    groups = sorted(rows, key=lambda row: row["mn_id"] is None)  # else in the table's order: phones, then e-mails
    document = {"count": len(groups), "groups": groups}
    Terminal(as_json=as_json).result(document, *show_archive.duplicates(groups))


# -- showing and doing ------------------------------------------------------------------------------------------------


def _do(
    operation: Operation,
    contact_ids: Sequence[int],
    words: Sequence[str],
    by: str | None,
    *,
    limit: int | None = None,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what an operation would do, or do it by its job."""
    from mentor_pipeline.operator.archive import carried_out, planned

    terminal, here = Terminal(as_json=as_json), synced()
    report = planned(here.warehouse, here.program, operation, contact_ids, limit=limit)
    job, step = _JOBS[operation]
    plan = Planned(report, job, step, contact_ids, limit, show_archive.planned, carried_out, show_archive.carried_out)
    show_or_do(plan, words, by, here, terminal, yes=yes)


@dataclass(frozen=True, slots=True)
class Planned(Generic[R]):
    """What a command is about to do to contacts: the report of it, the job that does it, and how both look."""

    report: R
    job: str
    step: str
    contact_ids: Sequence[int]
    limit: int | None
    shown: Callable[[R, str], list[RenderableType]]
    carried_out: Callable[[R, Warehouse, str], R]
    shown_done: Callable[[R, RunOutcome], list[RenderableType]]


def show_or_do(
    plan: Planned[R], words: Sequence[str], by: str | None, here: Installation, terminal: Terminal, *, yes: bool
) -> None:
    """Show what would be done, and the command that does it; with `yes`, do it. `words` are the command without it."""
    from mentor_pipeline.cli.installation import run_shown

    command = hints.command(*words, *(["--by", by] if by else []), "--yes")
    report = plan.report
    if not yes or not report.moves:
        document = {"ok": True, "summary": report.summary, "report": report, "command": command}
        terminal.result(document, *plan.shown(report, command))
        return
    limit = {"limit": plan.limit} if plan.limit else {}
    config = {"contact_ids": list(plan.contact_ids), "apply": True, **limit}
    outcome = run_shown(plan.job, {plan.step: config}, by, here, terminal)
    done = plan.carried_out(report, here.warehouse, outcome.run_id)
    document = {"ok": outcome.success, "summary": done.summary, "report": done, "run": outcome}
    terminal.result(document, *plan.shown_done(done, outcome))
    if not outcome.success:
        terminal.say(show.run_failed(outcome, command.removeprefix("mentor-pipeline ")), "red")
        raise typer.Exit(FAILED)


def synced() -> Installation:
    """This installation.

    Raises:
        NothingSyncedError: no mentor is known yet.
    """
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.reports import NothingSyncedError

    here = installation()
    if here.warehouse.read_or_empty("mentors", columns=["mn_id"], year=here.program.year).is_empty():
        msg = f"Nothing has been synced yet for {here.program.year}. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    return here


def options_given(only: Sequence[int] | None, limit: int | None, command: str) -> list[str]:
    """The words of an `apply`, so that it can be repeated."""
    chosen = [word for contact_id in only or [] for word in ("--only", str(contact_id))]
    return [*command.split(), *chosen, *(["--limit", str(limit)] if limit else [])]


def _chosen(contact_ids: Sequence[int] | None, everything: bool, command: str) -> list[str]:
    """The words of an undo, so that it can be repeated; either contacts or --all."""
    if bool(contact_ids) == everything:
        msg = "Name the contacts, or --all" + (": not both." if everything else ".")
        raise typer.BadParameter(msg, param_hint="CONTACT_ID")
    return [*command.split(), *(["--all"] if everything else map(str, contact_ids or []))]
