"""`python -m mentor_pipeline.simulator`: serve a world until interrupted.

Opens the saved world when there is one, makes one up otherwise, prints the environment that points the pipeline at
it, and saves it a moment after every batch of changes and at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mentor_pipeline.errors import MentorPipelineError
from mentor_pipeline.settings import Settings, load_environment
from mentor_pipeline.simulator.generate import generate_world
from mentor_pipeline.simulator.server import Simulator
from mentor_pipeline.simulator.world import World

if TYPE_CHECKING:
    from types import FrameType

DEFAULT_PORT: Final = 8600
_SAVE_SECONDS: Final = 2.0


def serve(
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = DEFAULT_PORT,
    state: Annotated[
        Path | None, typer.Option(help="File of the world: opened when it exists, kept up to date.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of a new world.")] = 1,
    mentors: Annotated[int, typer.Option(min=0, help="Mentors of a new world.")] = 1000,
    contacts: Annotated[int, typer.Option(min=0, help="Contacts of a new world.")] = 49_000,
    *,
    save_at_end: Annotated[bool, typer.Option("--save-at-end", help="Save the world only at the end.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End when standard input is closed.")] = False,
) -> None:
    """Serve a made-up Jotform and Givebutter on this machine until interrupted."""
    try:
        world = _open(state, seed=seed, mentors=mentors, contacts=contacts)
        stop = _stop_when_interrupted()
        if with_parent:
            threading.Thread(target=_stop_with_parent, args=[stop], daemon=True).start()
        with Simulator(world, port=port) as simulator:
            _print_environment(simulator)
            if save_at_end:
                stop.wait()
            else:
                _save_while_open(stop, world, state)
            if state is not None:
                world.save(state)
    except MentorPipelineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _open(state: Path | None, *, seed: int, mentors: int, contacts: int) -> World:
    if state is not None and state.exists():
        return World.load(state)
    load_environment()
    return generate_world(Settings.load().program_year(), seed=seed, mentors=mentors, contacts=contacts)


def _print_environment(simulator: Simulator) -> None:
    typer.echo("# The simulator answers. To use it, set:")
    for name, value in simulator.environment().items():
        typer.echo(f"export {name}={value}")
    typer.echo(f"# Control API: {simulator.control_url}   (stop with Ctrl-C)")
    sys.stdout.flush()


def _stop_when_interrupted() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    return stop


def _stop_with_parent(stop: threading.Event) -> None:
    """Stop when whoever started this ends, however that ends: then its end of the pipe is closed."""
    # Not through sys.stdin: its lock, held by a thread that waits, would break the end of the interpreter.
    while os.read(0, 1024):
        pass
    stop.set()


def _save_while_open(stop: threading.Event, world: World, state: Path | None) -> None:
    """Save once changes have settled for a moment; return when told to stop."""
    saved: int | None = None
    seen = world.revision
    while not stop.wait(_SAVE_SECONDS):
        settled = world.revision == seen
        seen = world.revision
        if state is not None and settled and seen != saved:
            world.save(state)
            saved = seen


if __name__ == "__main__":
    typer.run(serve)
