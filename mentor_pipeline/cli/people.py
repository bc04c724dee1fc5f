"""Commands about people and their past: `check-in` on the day of the training, `history`, `as-of` and `forget`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from mentor_pipeline.cli import show, show_people
from mentor_pipeline.cli.app import FAILED, By, Json, app, told
from mentor_pipeline.cli.terminal import Terminal
from mentor_pipeline.errors import MentorPipelineError

if TYPE_CHECKING:
    from mentor_pipeline.cli.installation import Installation
    from mentor_pipeline.operator.check_in import Door, Kept, Scan
    from mentor_pipeline.operator.runs import RunOutcome

_JOB: Final = "apply_decisions"
_STEP: Final = "operator_actions"
_LOOK: Final = "Look"


@app.command("check-in", rich_help_panel="Decide")
@told
def check_in(
    mn_ids: Annotated[list[str] | None, typer.Argument(metavar="MN_ID", help="Mentor ids, in any spelling.")] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, metavar="FILE", help="A file of ids, one a line."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take check-ins back.")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When they were there, in the program's zone; now by default.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Further words, for those who ask later.")] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Check many mentors in to the training at once: training_done, with the time.

    Without ids and file they are read from standard input, as a barcode scanner types them: each is answered at once,
    and Ctrl-D or Ctrl-C ends it. All are recorded together at the end; until then they are kept in a file. Unknown
    ids stop nobody else; the command then exits with 1.
    """
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.check_in import Door, Kept, read_list, read_time

    if undo and at:
        msg = "what is taken back has no time. Leave one of the two out."
        raise typer.BadParameter(msg, param_hint="--undo, --at")
    here, terminal, now = installation(), Terminal(as_json=as_json), _now()
    moment = read_time(at, here.program, now) if at else None
    door = Door(here.warehouse, here.program, undo=undo)
    options = [*_option("--note", note), *_option("--by", by), *(["--undo"] if undo else [])]
    if mn_ids or file:
        listed: list[tuple[str, datetime | None]] = [(typed, None) for typed in mn_ids or []]
        listed += read_list(file, here.program, now) if file else []
        scans = [door.admit(typed, moment or time or now) for typed, time in listed]
        kept = Kept.again(here.settings.data_dir, file)
        words = [*(mn_ids or []), *_option("--file", str(file) if file else None), *_option("--at", at)]
    else:
        kept = Kept.new(here.settings.data_dir, now, undo=undo)
        scans = _scanned(door, kept, moment, here, terminal)
        words = ["--file", str(kept.path)]
    command = shlex.join(["check-in", *words, *options])
    outcome = _recorded(door.edits(note), command, by, here, terminal, kept)
    _tell(scans, outcome, command, terminal, undo=undo)


@app.command(rich_help_panel=_LOOK)
@told
def history(
    mn_id: Annotated[str, typer.Argument(metavar="MN_ID", help="Mentor id, in any spelling; also a placeholder's.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a mentor's life, newest last: what changed, what people set and decided, conflicts, archived contacts."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator.life import life

    here = looking()
    found = life(here.warehouse, here.program, mn_id)
    Terminal(as_json=as_json).result(found, *show_people.life(found))


@app.command("as-of", rich_help_panel=_LOOK)
@told
def as_of(
    time: Annotated[
        str,
        typer.Argument(metavar="RUN_OR_TIME", help="A time in UTC (2025-10-28T14:00), or how a run's id begins."),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write them all to a file that is not there yet.")
    ] = None,
    mentor: Annotated[str | None, typer.Option(metavar="MN_ID", help="Only this mentor, with every field.")] = None,
    as_json: Json = False,
) -> None:
    """Show the mentors as they were at a time, or when a run had ended."""
    from mentor_pipeline.cli.installation import looking
    from mentor_pipeline.operator.life import mentors_as_of, write_mentors

    here = looking()
    found = mentors_as_of(here.warehouse, here.program, time, datetime.now(UTC), mentor=mentor)
    if out is not None:
        write_mentors(out, found.mentors)
    document = {
        "year": found.year,
        "at": found.at,
        "mn_id": found.mn_id,
        "count": found.mentors.height,
        "by_status": found.by_status,
        "file": out,
        "mentors": found.mentors.to_dicts(),
    }
    Terminal(as_json=as_json).result(document, *show_people.as_of(found, out))


# -- checking in ----------------------------------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _option(name: str, value: str | None) -> list[str]:
    return [name, value] if value else []


def _scanned(door: Door, kept: Kept, moment: datetime | None, here: Installation, terminal: Terminal) -> list[Scan]:
    """Read ids from standard input, answering each; the end of the input or Ctrl-C ends it."""
    from mentor_pipeline.operator.check_in import kept_before

    for left in kept_before(here.settings.data_dir):
        terminal.say(show.left_scans(left), "yellow")
    stream = typer.get_text_stream("stdin", errors="replace")
    if stream.isatty():
        terminal.say("Scan or type mentor ids, one a line. Ctrl-D ends it, and all are recorded then.")
    scans: list[Scan] = []
    try:
        for line in stream:
            if not line.strip():
                continue
            scan = door.admit(line.strip(), moment or _now())
            scans.append(scan)
            if scan.state == "accepted":
                kept.add(scan)
            terminal.say(*show_people.answer(scan))
    except KeyboardInterrupt:
        terminal.say("Ended by Ctrl-C; nothing of what was scanned is lost.")
    return scans


def _recorded(
    edits: list[dict[str, str]],
    command: str,
    by: str | None,
    here: Installation,
    terminal: Terminal,
    kept: Kept | None,
) -> RunOutcome | None:
    """Record all of it by one run; None where there is nothing to record. What is recorded is kept no longer."""
    from mentor_pipeline.cli.installation import run_shown

    if not edits:
        if kept:
            kept.forget()
        return None
    try:
        outcome = run_shown(_JOB, {_STEP: {"edits": edits}}, by, here, terminal)
    except BaseException:
        if kept:
            terminal.say(f"What was scanned is in {kept.path}; to record it: `mentor-pipeline {command}`.", "red")
        raise
    if kept and _is_recorded(outcome):
        kept.forget()
    return outcome


def _is_recorded(outcome: RunOutcome) -> bool:
    """True when the first step was done, whatever came of computing everything again."""
    return any(step.name == _STEP and step.status == "done" for step in outcome.steps)


def _tell(scans: list[Scan], outcome: RunOutcome | None, command: str, terminal: Terminal, *, undo: bool) -> None:
    """Names and counts; a failed run, or an unknown id, is a failure."""
    from mentor_pipeline.operator.check_in import as_document, counted

    counts = counted(scans)
    failed = outcome is not None and not outcome.success
    document: dict[str, Any] = {
        "ok": not failed and not counts["unknown"],
        "is_recorded": outcome is not None and _is_recorded(outcome),
        "undo": undo,
        "counts": counts,
        **{state: [as_document(scan) for scan in scans if scan.state == state] for state in counts},
        "run": outcome,
    }
    if outcome is not None and failed:
        terminal.result(document, *show.run(outcome))
        if _is_recorded(outcome):
            terminal.say("The check-ins are recorded; only computing everything again failed.", "yellow")
            command = "rebuild"
        terminal.say(show.run_failed(outcome, command), "red")
        raise typer.Exit(FAILED)
    shown = show_people.checked_in(scans, counts, undo=undo)
    if outcome is not None:
        shown.append(Text(f"Recorded in {show.duration(outcome.seconds)}, run {outcome.run_id}", "green"))
    terminal.result(document, *shown)
    if counts["unknown"]:
        raise typer.Exit(FAILED)


# -- forgetting -------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Decide")
@told
def forget(
    mn_id: Annotated[str, typer.Argument(metavar="MN_ID", help="The mentor's id, in any spelling.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Really do it; else it is only shown. It cannot be undone.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Forget a mentor, in every table of every year: a person's right. Shows what it would do, until --yes.

    They do not come back with the next sync. What remains elsewhere (Jotform, Givebutter, files, backups) is told, with
    what to do about it.
    """
    from mentor_pipeline.cli.installation import acting, installation
    from mentor_pipeline.operator.forget import Forgetting, backups_known, elsewhere, files_naming
    from mentor_pipeline.operator.forget import forget as really_forget

    here, terminal, now = installation(), Terminal(as_json=as_json), datetime.now(UTC)
    actor = acting(by)
    try:
        if yes:
            made = really_forget(here.warehouse, here.program, mn_id, now=now, by=actor)
        else:
            with here.warehouse.reading() as reader:
                made = Forgetting.of(reader, here.program, mn_id, now)
        files, backups = files_naming(made, here.settings), backups_known(here.settings)
    except KeyboardInterrupt:
        if not yes:
            raise
        msg = (
            f"Stopped by you. Whether it was done already, and what then remains in Jotform and Givebutter, tells "
            f"`mentor-pipeline forget {mn_id}`."
        )
        raise MentorPipelineError(msg) from None
    remains = elsewhere(made, files, backups, here.settings)
    document = {
        "ok": True,
        "is_applied": yes,
        "mn_id": made.person.mn_id,
        "years": {str(year): sorted(ids) for year, ids in made.person.ids.items()},
        "by": actor,
        "at": now,
        **made.counts,
        "not_read_in_again": made.sources,
        "files": files,
        "backups": backups,
        "remains": remains,
    }
    terminal.result(document, *show_people.forgotten(made, remains, is_applied=yes))
