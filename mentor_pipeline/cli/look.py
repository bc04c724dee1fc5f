"""Commands that only read: `status`, `why`, `changes`, `problems`, `conflicts`, `preflight` and `config check`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Final

import typer
from rich.text import Text

from mentor_pipeline.cli import show
from mentor_pipeline.cli.app import FAILED, WRONG_USE, Json, app, config_app, conflicts_app, told
from mentor_pipeline.cli.terminal import Terminal

_PANEL: Final = "Look"
All = Annotated[bool, typer.Option("--all", help="Show every one, however many there are.")]


@app.command(rich_help_panel=_PANEL)
@told
def status(*, as_json: Json = False) -> None:
    """Show how things stand: mentors, contacts, what is withheld, what to decide, and what to do next."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    found = reports.status(here.warehouse, here.settings, here.program, datetime.now(UTC))
    Terminal(as_json=as_json).result(found, *show.status(found))


@app.command(rich_help_panel=_PANEL)
@told
def why(
    mentor: Annotated[
        str,
        typer.Argument(
            metavar="MENTOR",
            help="Mentor id in any spelling (42, 0042, MN0042); or a full name, e-mail, phone or contact id that only "
            "one mentor has.",
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show why a mentor has this Givebutter contact: every candidate, its score and its fate."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    found = reports.why(here.warehouse, here.program, mentor)
    Terminal(as_json=as_json).result(found, *show.why(found))


@app.command(rich_help_panel=_PANEL)
@told
def changes(
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="RUN_OR_TIME", help="After this run ended (how its id begins), or after a time."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="RUN_OR_TIME", help="Until this run ended, or until a time.")
    ] = None,
    mentor: Annotated[str | None, typer.Option(metavar="MN_ID", help="Only of this mentor.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="T", help="Only of this type; may be repeated.")
    ] = None,
    significant: Annotated[
        bool, typer.Option("--significant", help="Only what an organiser wants to hear of.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write them all to a file that is not there yet.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what changed, newest first. `--since A --until B` with two runs gives what lies between them."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    wanted = reports.ChangeFilter(since, until, mentor, tuple(types or ()), significant)
    found = reports.changes(here.warehouse, here.program, wanted)
    terminal = Terminal(as_json=as_json)
    if out is None:
        terminal.result(found, *show.changes(found))
        return
    from mentor_pipeline.operator.life import write_changes

    count = write_changes(out, found.rows)
    terminal.result({"ok": True, "file": out, "changes": count}, Text(f"{show.number(count, 'change')} in {out}."))


@app.command(rich_help_panel=_PANEL)
@told
def problems(
    *,
    problem_type: Annotated[str | None, typer.Option("--type", metavar="T", help="Only of this type.")] = None,
    severity: Annotated[
        str | None, typer.Option(metavar="error|warning", help="Only errors, or only warnings.")
    ] = None,
    mentor: Annotated[str | None, typer.Option(metavar="MN_ID", help="Only of this mentor.")] = None,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """List what is wrong: open errors and warnings, whom each concerns, what to do, and since when."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    found = reports.problems(here.warehouse, here.program, problem_type=problem_type, severity=severity, mentor=mentor)
    Terminal(as_json=as_json).result(found, *show.problems(found, everything=everything))


@conflicts_app.command("list")
@told
def list_conflicts(
    *,
    conflict_type: Annotated[str | None, typer.Option("--type", metavar="T", help="Only of this type.")] = None,
    with_status: Annotated[
        str, typer.Option("--status", metavar="S", help="pending, resolved, skipped, obsolete, or all.")
    ] = "pending",
    everything: All = False,
    as_json: Json = False,
) -> None:
    """List what waits for a decision, the most severe first."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    if with_status not in {"all", *reports.CONFLICT_STATUSES}:
        msg = f"{with_status}: no such status. There are: {', '.join(reports.CONFLICT_STATUSES)}, and all."
        raise typer.BadParameter(msg, param_hint="--status")
    here = looking()
    found = reports.conflicts(
        here.warehouse,
        here.program,
        conflict_type=conflict_type,
        with_status=None if with_status == "all" else with_status,
    )
    Terminal(as_json=as_json).result(found, *show.conflicts(found, everything=everything))


@conflicts_app.command("show")
@told
def show_conflict(
    conflict_id: Annotated[str, typer.Argument(metavar="ID", help="The conflict's id, or how it begins.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one conflict with all that a person needs to decide it."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    found = reports.conflict(here.warehouse, here.program, conflict_id)
    Terminal(as_json=as_json).result(found, *show.conflict(found))


@app.command(rich_help_panel=_PANEL)
@told
def preflight(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")],
    *,
    as_json: Json = False,
) -> None:
    """Tell what Givebutter would say to an import file, by the row in a spreadsheet (the header is row 1).

    A row is `refused` when Givebutter would not take it; `wrong` when it would, but onto somebody else's contact or
    with another row as one; a `notice` is only to be known, such as that a row merges into the mentor's own contact.
    Exits with 1 when a row is refused or wrong.
    """
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator import reports

    here = looking()
    found = reports.preflight(here.warehouse, here.program, file)
    Terminal(as_json=as_json).result(found, *show.preflight(found))
    if found.refused or found.wrong:
        raise typer.Exit(FAILED)


@config_app.command("check")
@told
def check_config(*, as_json: Json = False) -> None:
    """Check settings, year files, folders, warehouse, keys, forms and campaign. Exits with 2 when there are faults."""
    from mentor_pipeline.operator.config_check import check_installation

    terminal = Terminal(as_json=as_json)
    with terminal.working("Checking") as on_check:
        found = check_installation(on_check)
    has_faults = any(line.result == "fault" for line in found)
    terminal.result({"ok": not has_faults, "checks": found}, *show.checked(found))
    if has_faults:
        raise typer.Exit(WRONG_USE)
