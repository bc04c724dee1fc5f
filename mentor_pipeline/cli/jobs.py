"""Commands that run a job: `sync`, `contact-refresh`, `inbox`, the imports, `rebuild` and `export`.

Each starts the same job as Dagster's UI does, shows its progress, tells what came of it and what to do next. How jobs
are run is in `operator.runs`.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mentor_pipeline.cli import show
from mentor_pipeline.cli.app import FAILED, By, Json, app, told
from mentor_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mentor_pipeline.cli.installation import Installation
    from mentor_pipeline.domain.contacts_csv import FileKind
    from mentor_pipeline.operator.runs import RunOutcome

_PANEL: Final = "Run"
API_LISTS: Final = (
    "raw_mn_signups",
    "raw_mn_funds_setup",
    "raw_mn_training_signup",
    "raw_mn_partner_preference",
    "raw_gb_campaign_members",
)
"""Assets that read a list whole, and refuse one that shrank."""
CONTACTS: Final = "raw_gb_full_contacts"
EXPORT_FILE: Final = "gb_import_file"

AllowShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="A list with far fewer rows than last time is right: take it.")
]
ExistingFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")]


@app.command(rich_help_panel=_PANEL)
@told
def sync(
    *,
    allow_shrink: AllowShrink = False,
    full: Annotated[bool, typer.Option("--full", help="List every contact anew, not only the updated ones.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Read Jotform and Givebutter and bring every table up to date. Writes no file and changes nothing outside."""
    config: dict[str, Any] = {name: {"allow_shrink": allow_shrink} for name in API_LISTS} if allow_shrink else {}
    if full or allow_shrink:
        config[CONTACTS] = {"source": "full" if full else "api", "allow_shrink": allow_shrink}
    _run_and_tell("sync", "sync", config, by, Terminal(as_json=as_json))


@app.command("contact-refresh", rich_help_panel=_PANEL)
@told
def contact_refresh(*, allow_shrink: AllowShrink = False, by: By = None, as_json: Json = False) -> None:
    """Ask Givebutter for each mentor's contact one by one: finds archived, deleted and merged ones."""
    config = {CONTACTS: {"source": "refresh", "allow_shrink": allow_shrink}}
    _run_and_tell("contact_refresh", "contact-refresh", config, by, Terminal(as_json=as_json))


@app.command(rich_help_panel=_PANEL)
@told
def rebuild(*, by: By = None, as_json: Json = False) -> None:
    """Compute every table anew from what is stored. Asks no service."""
    _run_and_tell("rebuild", "rebuild", {}, by, Terminal(as_json=as_json))


@app.command(rich_help_panel=_PANEL)
@told
def inbox(*, by: By = None, as_json: Json = False) -> None:
    """Import the files that lie in the inbox, as the inbox sensor does by itself while Dagster runs.

    Exits with 1 when a file was rejected, or could not be imported now.
    """
    from mentor_pipeline.cli.installation import acting, installation
    from mentor_pipeline.operator.runs import run_inbox

    terminal, here = Terminal(as_json=as_json), installation()
    with terminal.run_shown("inbox") as watch:
        done = run_inbox(here.settings, here.warehouse, by=acting(by), watch=watch)
    failed = [one for one in done.imported if not one.outcome.success]
    rejected = [file for file in done.put_away if file.folder == "rejected"]
    has_failed = bool(failed or rejected)
    terminal.result({"ok": not has_failed, "inbox": done}, *show.inbox(done))
    for one in failed:
        said = show.rejected(one) if show.is_rejected(one) else f"{one.file}: {show.run_failed(one.outcome, 'inbox')}"
        terminal.say(said, "red")
    for file in rejected:
        terminal.say(f"{show.put_away(file)} It is in {here.settings.inbox_dir / 'rejected'} now.", "red")
    if has_failed:
        raise typer.Exit(FAILED)


@app.command("import-contacts", rich_help_panel=_PANEL)
@told
def import_contacts(
    file: ExistingFile,
    *,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="This is the full list, however short: mark the others missing.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Import one contacts export of Givebutter and update everything that depends on it."""
    from mentor_pipeline.domain.contacts_csv import FileKind

    _import_and_tell(
        file, FileKind.CONTACTS, shlex.join(["import-contacts", str(file)]), by, Terminal(as_json=as_json), allow_shrink
    )


@app.command("import-failures", rich_help_panel=_PANEL)
@told
def import_failures(file: ExistingFile, *, by: By = None, as_json: Json = False) -> None:
    """Read a `-failed.csv` of Givebutter: why each row was refused, which contact is in the way, what to do."""
    from mentor_pipeline.domain.contacts_csv import FileKind

    _import_and_tell(file, FileKind.FAILURES, shlex.join(["import-failures", str(file)]), by, Terminal(as_json=as_json))


@app.command(rich_help_panel=_PANEL)
@told
def export(
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; exports/ in the data folder by default.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every row, not only those that differ.")] = False,
    statuses: Annotated[
        list[str] | None,
        typer.Option(
            "--status", metavar="S", help="Only mentors of this status (needs_page, 'No Page', ...); may be repeated."
        ),
    ] = None,
    shifts: Annotated[
        list[str] | None, typer.Option("--shift", metavar="S", help="Only mentors of this shift; may be repeated.")
    ] = None,
    split: Annotated[int | None, typer.Option(min=1, metavar="N", help="Files of at most N rows.")] = None,
    messages: Annotated[bool, typer.Option("--messages", help="The SMS platform's CSV instead.")] = False,
    allow_stale: Annotated[
        bool, typer.Option("--allow-stale", help="Write it though what is known of the contacts is very old.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Write the file that Givebutter is to import. Only the file: nothing is sent anywhere."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.export_files import Selection, refuse_mistakes, require_folder

    here, terminal = installation(), Terminal(as_json=as_json)
    mentors = here.warehouse.read_or_empty("mentors", year=here.program.year)
    refuse_mistakes(mentors, Selection(statuses=statuses or [], shifts=shifts or []))
    if out:
        require_folder(out.absolute())
    config = {
        "out": str(out.absolute()) if out else None,
        "everything": everything,
        "statuses": statuses or [],
        "shifts": shifts or [],
        "split": split,
        "messages": messages,
        "allow_stale": allow_stale,
    }
    given = {name: value for name, value in config.items() if value not in (None, False, [])}
    outcome, _ = _run("export", {EXPORT_FILE: given} if given else {}, by, terminal)
    file = outcome.metadata(EXPORT_FILE)
    shown = show.export(outcome, file, messages=messages)
    terminal.result({"ok": outcome.success, "run": outcome, "file": file}, *shown)
    _exit_if_failed(outcome, "export", terminal)


# -- running and telling ----------------------------------------------------------------------------------------------


def _run_and_tell(job: str, command: str, config: Mapping[str, Any], by: str | None, terminal: Terminal) -> None:
    """Run a job, tell what it did, and how things stand after it."""
    from mentor_pipeline.operator.reports import status

    outcome, here = _run(job, config, by, terminal)
    standing = status(here.warehouse, here.settings, here.program, datetime.now(UTC))
    shown = show.run(outcome)
    if outcome.success:
        shown += [
            show.counts("\nChanged", outcome.metadata("mn_changes").get("new changes by type", {})),
            show.next_step(standing.next_step),
        ]
    terminal.result({"ok": outcome.success, "run": outcome, "status": standing}, *shown)
    _exit_if_failed(outcome, command, terminal)


def _run(job: str, config: Mapping[str, Any], by: str | None, terminal: Terminal) -> tuple[RunOutcome, Installation]:
    """Run a job on this installation."""
    from mentor_pipeline.cli.installation import installation, run_shown

    here = installation()
    return run_shown(job, config, by, here, terminal), here


def _import_and_tell(
    file: Path, kind: FileKind, command: str, by: str | None, terminal: Terminal, allow_shrink: bool = False
) -> None:
    from mentor_pipeline.cli.installation import acting, installation
    from mentor_pipeline.operator.runs import run_import

    here = installation()
    with terminal.run_shown("import") as watch:
        done = run_import(
            file, here.settings, here.warehouse, kind=kind, by=acting(by), allow_shrink=allow_shrink, watch=watch
        )
    if show.is_rejected(done):
        terminal.result({"ok": False, "import": done})
        terminal.say(show.rejected(done), "red")
        raise typer.Exit(FAILED)
    terminal.result({"ok": done.outcome.success, "import": done}, *show.imported(done))
    _exit_if_failed(done.outcome, command, terminal)


def _exit_if_failed(outcome: RunOutcome, command: str, terminal: Terminal) -> None:
    if not outcome.success:
        terminal.say(show.run_failed(outcome, command), "red")
        raise typer.Exit(FAILED)
