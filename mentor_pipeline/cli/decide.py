"""Commands by which people decide and edit: `conflicts resolve|skip|accept-recommended|export|import` and `edit`.

Each judges first; what cannot be recorded is refused without starting anything. What can is recorded by the job
`apply_decisions`, the one of the UI's Launchpad, which computes everything again at once. What decides many things at
once only shows what it would do, until `--yes`.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from mentor_pipeline.cli import hints, show
from mentor_pipeline.cli.app import FAILED, By, Json, app, conflicts_app, told
from mentor_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from mentor_pipeline.operator.decisions import Ruling, Wish

_SHOWN: Final = 50
_JOB: Final = "apply_decisions"
_STATES: Final = {"accepted": "green", "unchanged": "dim", "refused": "red"}

ConflictId = Annotated[str, typer.Argument(metavar="ID", help="The conflict's id, or how it begins.")]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Further words, for those who ask later.")]
Yes = Annotated[bool, typer.Option("--yes", help="Really do it; else it is only shown.")]


@conflicts_app.command("resolve")
@told
def resolve_conflict(
    conflict_id: ConflictId,
    choice: Annotated[str, typer.Argument(metavar="a|b|custom", help="Which option; `conflicts show` has them.")],
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="With custom: a phone, an e-mail, or a contact's number.")
    ] = None,
    *,
    note: Note = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Decide one conflict, and compute everything again with the decision."""
    from mentor_pipeline.operator.decisions import Decision

    if choice not in {"a", "b", "custom"}:
        msg = f"{choice}: expected a, b or custom. To leave it undecided for good: conflicts skip {conflict_id}."
        raise typer.BadParameter(msg, param_hint="a|b|custom")
    words = ["conflicts", "resolve", conflict_id, choice, *([value] if value is not None else [])]
    _record(Decision(conflict_id, choice, value, note), [*words, *_option("--note", note)], by, as_json)


@conflicts_app.command("skip")
@told
def skip_conflict(conflict_id: ConflictId, *, note: Note = None, by: By = None, as_json: Json = False) -> None:
    """Leave one conflict undecided for good: not asked again. A held row stays held; our phone or e-mail stands."""
    from mentor_pipeline.operator.decisions import Decision

    words = ["conflicts", "skip", conflict_id, *_option("--note", note)]
    _record(Decision(conflict_id, "skip", None, note), words, by, as_json)


@conflicts_app.command("accept-recommended")
@told
def accept_recommended(
    *,
    conflict_type: Annotated[str | None, typer.Option("--type", metavar="T", help="Only of this type.")] = None,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Decide every pending conflict that has a recommendation as recommended. Shows which, until --yes."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.decisions import Desk

    here = installation()
    desk = Desk(here.warehouse, here.program)
    wishes, undecided = desk.recommended(conflict_type)
    rulings = desk.judge(wishes)
    left = len(undecided) + sum(ruling.state == "refused" for ruling in rulings)
    command = ["conflicts", "accept-recommended", *_option("--type", conflict_type)]
    config = {"accept_recommended": True, **({"only_type": conflict_type} if conflict_type else {})}
    _show_or_run(rulings, config, command, by, Terminal(as_json=as_json), yes=yes, left=left)


@conflicts_app.command("export")
@told
def export_conflicts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    *,
    conflict_type: Annotated[str | None, typer.Option("--type", metavar="T", help="Only of this type.")] = None,
    as_json: Json = False,
) -> None:
    """Write the pending conflicts as a CSV, to be decided in a spreadsheet and brought back with `conflicts import`."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator import reports
    from mentor_pipeline.operator.conflict_sheet import write_sheet

    here = installation()
    found = reports.conflicts(here.warehouse, here.program, conflict_type=conflict_type)
    count = write_sheet(file, found.rows)
    Terminal(as_json=as_json).result(
        {"ok": True, "file": file, "conflicts": count},
        Text(f"{show.number(count, 'conflict')} in {file}."),
        show.next_step(
            "write a, b, custom (with a custom_value) or skip into the column decision, save as CSV, then "
            f"`{hints.command('conflicts', 'import', str(file))}`."
        ),
    )


@conflicts_app.command("import")
@told
def import_conflicts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")],
    *,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take the decisions of a spreadsheet made by `conflicts export`. Shows them, until --yes."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.conflict_sheet import read_decisions
    from mentor_pipeline.operator.decisions import Desk, refuse_if_any

    here, terminal, command = installation(), Terminal(as_json=as_json), ["conflicts", "import", str(file)]
    wishes = read_decisions(file)
    if not wishes:
        empty = Text(f"{file.name} holds no decision: the column decision is empty in every row. Nothing was written.")
        step = f"write a, b, custom or skip into it, save as CSV, then `{hints.command(*command)}`."
        document = {"ok": True, "is_applied": False, "rulings": [], "left_pending": 0}
        terminal.result(document, empty, show.next_step(step))
        return
    rulings = Desk(here.warehouse, here.program).judge(wishes, again=True)
    refuse_if_any(rulings)
    new = [_given(ruling.wish) for ruling in rulings if ruling.state == "accepted"]
    _show_or_run(rulings, {"decisions": new}, command, by, terminal, yes=yes)


@app.command(rich_help_panel="Decide")
@told
def edit(
    mn_id: Annotated[str, typer.Argument(metavar="MN_ID", help="Mentor id, in any spelling: 42, 0042, MN0042.")],
    field: Annotated[str, typer.Argument(metavar="FIELD", help="What to set; an unknown one names them all.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="To what; `none` empties it.")],
    *,
    note: Note = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Set one field of one mentor. It outranks every source, and no sync ever changes it."""
    from mentor_pipeline.operator.decisions import Edit

    _record(Edit(mn_id, field, value, note), ["edit", mn_id, field, value, *_option("--note", note)], by, as_json)


# -- recording and telling --------------------------------------------------------------------------------------------


def _option(name: str, value: str | None) -> list[str]:
    return [name, value] if value else []


def _record(wish: Wish, command: Sequence[str], by: str | None, as_json: bool) -> None:
    """Record one decision or edit; a refusal starts nothing."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.decisions import Decision, Desk, refuse_if_any

    here, terminal = installation(), Terminal(as_json=as_json)
    rulings = Desk(here.warehouse, here.program).judge([wish])
    refuse_if_any(rulings)
    config = {"decisions" if isinstance(wish, Decision) else "edits": [_given(wish)]}
    _show_or_run(rulings, config, command, by, terminal, yes=True)


def _given(wish: Wish) -> dict[str, Any]:
    """A wish as the run config takes it: the fields that were given, which are named alike there."""
    from mentor_pipeline.operator.decisions import SHEET_ONLY

    return {name: value for name, value in asdict(wish).items() if value is not None and name not in SHEET_ONLY}


def _show_or_run(
    rulings: Sequence[Ruling],
    config: dict[str, Any],
    command: Sequence[str],
    by: str | None,
    terminal: Terminal,
    *,
    yes: bool,
    left: int = 0,
) -> None:
    """Show what is decided; with `yes`, record it and compute everything again. `command` is what asks for it."""
    accepted = [ruling for ruling in rulings if ruling.state == "accepted"]
    shown = _told(rulings, left, is_recorded=yes)
    again = [*command, *_option("--by", by)]
    told: dict[str, Any] = {"ok": True, "is_applied": False, "rulings": list(rulings), "left_pending": left}
    if not accepted or not yes:
        nothing = f"\nNothing was written: {_why_not(rulings, accepted)}."
        steps = [show.next_step(f"to do it, `{hints.command(*again, '--yes')}`.")] if accepted else []
        terminal.result(told, *shown, Text(nothing, "bold"), *steps)
        return
    from mentor_pipeline.cli.installation import installation, run_shown

    outcome = run_shown(_JOB, {"operator_actions": config}, by, installation(), terminal)
    told |= {"ok": outcome.success, "is_applied": outcome.success, "run": outcome}
    if outcome.success:
        changed = outcome.metadata("mn_changes").get("new changes by type", {})
        shown += [
            Text(f"\nRecorded and computed again in {show.duration(outcome.seconds)}, run {outcome.run_id}", "green"),
            show.counts("Changed", changed),
        ]
    terminal.result(told, *(shown if outcome.success else show.run(outcome)))
    if not outcome.success:
        terminal.say(show.run_failed(outcome, shlex.join(again)), "red")
        raise typer.Exit(FAILED)


def _why_not(rulings: Sequence[Ruling], accepted: Sequence[Ruling]) -> str:
    """Why nothing was recorded."""
    if accepted:
        return f"this only shows what {show.number(len(accepted), 'decision')} would do"
    if rulings and all(ruling.state == "unchanged" for ruling in rulings):
        return "it is all decided, or set, so already"
    return "there is nothing that could be decided so"


def _told(rulings: Sequence[Ruling], left: int, *, is_recorded: bool) -> list[RenderableType]:
    rows = [
        (
            f"{ruling.mn_id or ''} {show.plain(ruling.full_name)}".strip(),
            ruling.about,
            show.plain(ruling.words),
            Text("not yet" if ruling.state == "accepted" and not is_recorded else ruling.state, _STATES[ruling.state]),
        )
        for ruling in rulings[:_SHOWN]
    ]
    shown: list[RenderableType] = (
        [show.grid("", ["mentor", "about", "from now on" if is_recorded else "would be", ""], rows)] if rows else []
    )
    if len(rulings) > _SHOWN:
        shown.append(Text(f"and {len(rulings) - _SHOWN:,} more (--json gives all)", "dim"))
    if left:
        shown.append(
            Text(f"{show.number(left, 'conflict')} left pending: without a recommendation, or refused.", "dim")
        )
    return shown
