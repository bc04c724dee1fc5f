"""Commands for the whole of the data: `backup`, `restore`, and `migrate` into another database.

What they do is in `operator.backup`. The two that replace or fill tables only show what they would do, until `--yes`.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from mentor_pipeline.cli import show
from mentor_pipeline.cli.app import By, Json, app, told
from mentor_pipeline.cli.terminal import Terminal
from mentor_pipeline.errors import ConfigError, WarehouseError
from mentor_pipeline.settings import DATABASE_URL

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mentor_pipeline.operator.backup import Restore

_PANEL: Final = "Set up"
File = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="A zip file.")]


@app.command(rich_help_panel=_PANEL)
@told
def backup(file: File, *, as_json: Json = False) -> None:
    """Save every table in one new file, as of one moment. Keys, Dagster's run history and CSV files are not in it."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.backup import write_backup

    here, terminal = installation(), Terminal(as_json=as_json)
    made = write_backup(here.warehouse, here.settings, file.absolute())
    rows = made.manifest.rows
    said = f"{made.path}: {show.number(sum(rows.values()), 'row')} of {show.number(len(rows), 'table')}, "
    terminal.result(
        {"ok": True, "backup": made},
        Text(f"{said}{made.megabytes} MB.", "green"),
        show.next_step("keep it on another machine, and private: it holds everybody's data."),
    )


@app.command(rich_help_panel=_PANEL)
@told
def restore(
    file: File,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Make every table what it was in a backup. What is there now is saved first.

    What nobody could tell again stays: decisions, check-ins, sent notes, what was changed in Givebutter from here, and
    who was forgotten.
    """
    from mentor_pipeline.cli.installation import acting, installation
    from mentor_pipeline.operator.backup import plan_restore, read_backup
    from mentor_pipeline.operator.backup import restore as put_back

    here, terminal = installation(), Terminal(as_json=as_json)
    found = read_backup(file)
    if not yes:
        plan = plan_restore(here.warehouse, found)
        shown = [_exchanges(plan), *_kept(plan)]
        step = f"to do it, `mentor-pipeline restore {shlex.quote(str(file))} --yes`. Nothing was changed."
        terminal.result({"ok": True, "restore": plan}, *shown, show.next_step(step))
        return
    done = put_back(here.warehouse, here.settings, found, acting(by))
    but = ", but for what is kept" if done.kept else ""
    head = Text(f"Every table is as it was on {found.manifest.created_at:%Y-%m-%d at %H:%M} UTC{but}.", "green")
    saved = [Text(f"What was there before is in {done.saved}.")] if done.saved else []
    shown = [_exchanges(done), head, *_kept(done), *saved]
    terminal.result({"ok": True, "restore": done}, *shown, show.next_step(_step_after(done)))


@app.command(rich_help_panel=_PANEL)
@told
def migrate(
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="postgresql://USER@HOST/DATABASE, an empty one. Better without the password: others on this machine "
            "can see a command; PGPASSWORD or ~/.pgpass can hold it.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Copy every table from DuckDB into an empty Postgres database. What is here stays as it is."""
    from mentor_pipeline.cli.installation import acting, installation
    from mentor_pipeline.operator.backup import migrate as carry_over
    from mentor_pipeline.resources.open_warehouse import open_warehouse

    here, terminal = installation(), Terminal(as_json=as_json)
    try:
        target = open_warehouse(here.settings.model_copy(update={"database_url": to}))
        done = carry_over(here.warehouse, target, here.settings, acting(by), apply=yes)
    except (ConfigError, WarehouseError) as error:
        # The address was given here, and no setting is to be corrected.
        raise type(error)(str(error).replace(DATABASE_URL, "--to")) from error
    title = f"{done.source} to {done.target}"
    table = show.grid(title, ["table", "rows>"], [(name, f"{count:,}") for name, count in done.rows.items()])
    step = (
        "set MENTOR_PIPELINE_DATABASE_URL to that database, start Dagster anew, and run `mentor-pipeline status`. The "
        "DuckDB file is as it was; keep it until you are sure."
        if yes
        else "to do it, the same command with --yes. Nothing was changed."
    )
    terminal.result({"ok": True, "migration": done}, table, show.next_step(step))


def _exchanges(plan: Restore) -> RenderableType:
    made = plan.backup.manifest
    title = f"{plan.backup.path}: {made.created_at:%Y-%m-%d %H:%M} UTC, mentor-pipeline {made.version}"
    then = "rows" if plan.is_applied else "then"
    rows = [
        (one.table, "?" if one.rows_now is None else f"{one.rows_now:,}", f"{one.rows_then:,}") for one in plan.tables
    ]
    return show.grid(title, ["table", "before>" if plan.is_applied else "now>", f"{then}>"], rows)


def _kept(plan: Restore) -> list[RenderableType]:
    """What does not become as it was: kept rows, people who stay forgotten, a damaged file."""
    from mentor_pipeline.operator.backup import KEPT

    shown: list[RenderableType] = []
    if plan.damaged and plan.is_applied:
        shown.append(
            Text(f"The database was damaged. It is kept as {plan.damaged}; delete it when you are sure.", "yellow")
        )
    elif plan.damaged:
        shown.append(Text(f"{plan.damaged} is damaged. It would be moved aside and kept.", "yellow"))
    if plan.kept:
        rows = [(name, f"{count:,}", KEPT[name]) for name, count in plan.kept.items()]
        title = "Newer than the backup, and kept" if plan.is_applied else "Newer than the backup; these would be kept"
        shown.append(show.grid(f"\n{title}", ["table", "rows>", "what"], rows))
    if plan.forgotten:
        who = f"mentor {', '.join(map(show.plain, plan.forgotten))}"
        shown.append(
            Text(f"Forgotten after the backup, and forgotten again: {who}.")
            if plan.is_applied
            else Text(
                f"Forgotten after the backup, and would be forgotten again: {who}. Above, their rows still count."
            )
        )
    if plan.unreadable:
        lost = "; ".join(f"{name} ({KEPT[name]})" for name in plan.unreadable)
        shown.append(
            Text(f"The damaged file cannot tell what is newer than the backup, so that is lost: {lost}.", "yellow")
        )
    return shown


def _step_after(done: Restore) -> str:
    from mentor_pipeline.operator.backup import KEPT

    step = "`mentor-pipeline sync`. Import the Givebutter files of the days since the backup again (from inbox/done)."
    nothing_was_there = done.saved is None and done.damaged is None
    unknown = KEPT if nothing_was_there else done.unreadable
    if "sent_notes" in unknown:
        step += " Before you import a new import file, see in it that no note goes out a second time."
    if "forgotten" in unknown:
        step += " Forget again who asked for it since then: `mentor-pipeline forget MN_ID`."
    return step
