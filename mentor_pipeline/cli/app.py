"""The frame of the command line: the application, its help and exit codes, and what happens when something goes wrong.

Every error that was raised on purpose is shown as its message, never as a traceback. An unexpected one is told in one
line, with the file that has the traceback. The commands are in `jobs`, `look` and `upkeep`.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, ParamSpec, cast

import typer

from mentor_pipeline.cli import hints
from mentor_pipeline.cli.terminal import Terminal
from mentor_pipeline.errors import ConfigError, MentorPipelineError, steering_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

P = ParamSpec("P")

FAILED: Final = 1
WRONG_USE: Final = 2
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
"""What typer raises for an unknown option, a missing argument, a bad value; it has no public name."""
_ASKING_SERVICES: Final = ("sync", "contact-refresh", "archive", "release", "tags", "config")
"""Commands of which some ask the services; with --demo the simulated ones are made to answer."""
_STOPPED: Final = (
    "Stopped by you. Nothing is left half done: what was finished stays, and the rest is as it was. The same command "
    "does it from there."
)
LOG_NAME: Final = "mentor-pipeline-errors.log"
_LONGEST_LOG: Final = 1_000_000
"""Bytes; from then on the older half of the tracebacks goes."""
_OWNER_ONLY: Final = 0o077
"""What everybody else may not do with a file that a command makes, or that DuckDB makes for it (a mask)."""

_HELP: Final = """
One true record per student mentor, kept in step between Jotform and Givebutter.

Begin with `mentor-pipeline demo` (nothing needed: made-up people, services simulated on this machine), or with
`mentor-pipeline config check` and `mentor-pipeline sync` for real.

Exit codes: 0 done; 1 failed, and the message says what was left as it was; 2 wrong use: an unknown option, or settings
or keys with faults. With `--json` standard output is exactly one JSON document; progress goes to standard error.
"""

app = typer.Typer(
    name="mentor-pipeline",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
conflicts_app = typer.Typer(no_args_is_help=True, help="What only a person can decide.")
config_app = typer.Typer(no_args_is_help=True, help="Settings of this installation.")
app.add_typer(conflicts_app, name="conflicts", rich_help_panel="Look")
app.add_typer(config_app, name="config", rich_help_panel="Set up")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.", show_default=False)]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does this; the system user by default.")]


def main() -> None:
    """Run the command line and exit."""
    # They add their commands to `app`.
    from mentor_pipeline.cli import archive, backup, decide, jobs, look, outreach, people, tags, upkeep  # noqa: F401

    # A run makes many small objects that stay; to look through them again and again takes a sixth of its time.
    gc.set_threshold(100_000, 50, 50)
    os.umask(_OWNER_ONLY)
    sys.excepthook = _tell_unexpected
    command = typer.main.get_command(app)
    if "--json" not in sys.argv:
        command(prog_name="mentor-pipeline")
    try:
        code = command(prog_name="mentor-pipeline", standalone_mode=False)
    except _UsageError as error:
        Terminal(as_json=True).failed(error.format_message())
        sys.exit(WRONG_USE)
    except typer.Abort:
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Show the errors that a command raises on purpose, and exit as they ask."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _told_plainly(Terminal(as_json=bool(kwargs.get("as_json")))):
            command(*args, **kwargs)

    return run


@contextmanager
def _told_plainly(terminal: Terminal) -> Iterator[None]:
    """Show what is raised on purpose, a Ctrl-C too, and exit as it asks."""
    try:
        yield
    except MentorPipelineError as error:
        terminal.failed(str(error))
        raise typer.Exit(WRONG_USE if isinstance(error, ConfigError) else FAILED) from error
    except KeyboardInterrupt as error:
        terminal.failed(_STOPPED)
        raise typer.Exit(FAILED) from error


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("mentor-pipeline"))
        except PackageNotFoundError:
            typer.echo("not installed as a package")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Work on what `mentor-pipeline demo` made, and on its simulated services.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Options before a command."""
    if demo:
        _enter_demo(context)


def _enter_demo(context: typer.Context) -> None:
    """Put the command into the demo's environment, until it ends."""
    from mentor_pipeline.operator.demo import demo_folder, in_demo
    from mentor_pipeline.settings import Settings, load_environment

    command = context.invoked_subcommand
    with _told_plainly(Terminal(as_json="--json" in sys.argv)):
        if command in hints.WITHOUT_DEMO:
            msg = f"`{command}` is about the demo itself: leave --demo out (or write `dev --demo`)."
            raise ConfigError(msg)
        load_environment()
        settings = Settings.load()
        there = in_demo(demo_folder(settings), settings.program_year(), with_services=command in _ASKING_SERVICES)
        context.with_resource(there)
        context.with_resource(hints.in_demo())


def _tell_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell a fault of this program: what it was in one line, and where its traceback is."""
    from mentor_pipeline.redaction import known_secrets, without_secrets

    log = _write_traceback("".join(traceback.format_exception(kind, error, trace)))
    first_line = (without_secrets(str(error), known_secrets(sys.argv)).splitlines() or [""])[0]
    where = f"The full traceback is in {log}." if log else "The traceback could not be written anywhere."
    message = f"Unexpected error, a fault of this program: {kind.__name__}: {first_line}. {where}"
    Terminal(as_json="--json" in sys.argv).failed(message)


def _write_traceback(text: str) -> Path | None:
    """Add a traceback to the log in the data folder, or in the folder for temporary files; no secret goes into it."""
    from mentor_pipeline.redaction import known_secrets, shown_command, without_secrets

    text = steering_nothing(without_secrets(text, known_secrets(sys.argv)))
    for folder in (_data_dir(), Path(tempfile.gettempdir())):
        if folder is None or not folder.is_dir():
            continue
        log = folder / LOG_NAME
        try:
            log.touch(mode=0o600)
            _shorten(log)
            with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {shown_command(sys.argv)}\n{text}\n")
        except OSError:
            continue
        return log
    return None


def _shorten(log: Path) -> None:
    """Let the beginning of a log go that has grown too long."""
    too_many = log.stat().st_size - _LONGEST_LOG
    if too_many > 0:
        with log.open("r+b") as file:
            file.seek(too_many + _LONGEST_LOG // 2)
            file.readline()
            kept = file.read()
            file.seek(0)
            file.write(kept)
            file.truncate()


def _data_dir() -> Path | None:
    from mentor_pipeline.settings import Settings

    try:
        return Settings.load().data_dir
    except MentorPipelineError:
        return None
