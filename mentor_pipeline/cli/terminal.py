"""Where output goes: what was asked for to standard output, everything else to standard error.

With `--json` standard output is exactly one JSON document, also when something failed; tables and texts are then left
out. What things look like is in `show`, and how commands are named in `hints`.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from mentor_pipeline.cli import hints
from mentor_pipeline.errors import steering_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType

    from mentor_pipeline.operator.runs import Progress as RunProgress

_PLAIN_WIDTH: Final = 120
"""Width of what is written to a file or a pipe."""


class Terminal:
    """Standard output and standard error of one command.

    Attributes:
        as_json: True when the result is wanted as JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = console()
        self._err = console(to_error=True)

    def result(self, data: object, *shown: RenderableType) -> None:
        """Give the command's result: as JSON, or as it is shown."""
        if self.as_json:
            sys.stdout.write(hints.said(json_text(data)))
            sys.stdout.flush()
            return
        for part in shown:
            self._out.print(part)

    def say(self, text: str, style: str = "") -> None:
        """Tell on standard error what is going on."""
        self._err.print(text, style=style)

    def failed(self, message: str) -> None:
        """Tell an error; with `--json` it is the document too."""
        self._err.print(message, style="red", soft_wrap=True)
        if self.as_json:
            self.result({"ok": False, "error": message})

    @contextmanager
    def run_shown(self, title: str) -> Iterator[Callable[[RunProgress], None]]:
        """Show the progress of a run while it runs; yields what the run is to call.

        Dagster catches what is written to the standard streams while steps run. The progress therefore goes to a
        stream of its own, and what a step prints is kept out of a JSON document.
        """
        with os.fdopen(os.dup(2), "w", encoding="utf-8") as stream, _stdout_kept_clean(active=self.as_json):
            live = _Harmless(file=stream, markup=False, highlight=False, emoji=False)
            if not live.is_terminal:
                yield _Lines(live, title)
                return
            columns = (
                SpinnerColumn(),
                TextColumn(title, style="bold"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[now]}", style="dim", markup=False),
            )
            bars = Progress(*columns, console=live, transient=True, redirect_stdout=False, redirect_stderr=False)
            with bars:
                task = bars.add_task(title, total=None, now="starting")

                def watch(progress: RunProgress) -> None:
                    bars.update(task, completed=progress.done, total=progress.total, now=_now(progress))

                yield watch

    @contextmanager
    def working(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show that something is being done; yields what tells the part at work."""
        if not self._err.is_terminal:
            yield lambda _: None
            return
        with self._err.status(title) as spinner:
            yield lambda part: spinner.update(f"{title}: {part}")


class _Lines:
    """Progress where nobody watches live (cron, a log file): one line as each step begins to tell."""

    def __init__(self, live: Console, title: str) -> None:
        self._live = live
        self._title = title
        self._last: tuple[int, str | None] | None = None

    def __call__(self, progress: RunProgress) -> None:
        state = (progress.done, progress.step)
        if progress.step is not None and state != self._last:
            self._last = state
            self._live.print(f"{self._title}  {progress.done}/{progress.total}  {_now(progress)}", soft_wrap=True)


class _Harmless(Console):
    """A console on which no text steers the terminal: what is no printable character is shown as one that is.

    Commands that a text names, in whatever it stands, are shown as they are to be typed.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console.render`."""
        if isinstance(renderable, str):
            renderable = hints.said(renderable)
        elif isinstance(renderable, Text):
            renderable = hints.shown(renderable)
        for segment in super().render(renderable, options):
            if segment.control is None:
                yield Segment(steering_nothing(segment.text), segment.style)
            else:
                yield segment


def console(*, to_error: bool = False) -> Console:
    """A console that takes every text literally: data may hold brackets and colons."""
    made = _Harmless(stderr=to_error, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PLAIN_WIDTH
    return made


def json_text(data: object) -> str:
    """One JSON document; dataclasses by their fields, times in ISO 8601, money as text."""
    text = orjson.dumps(data, default=_as_json, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    return f"{text.decode()}\n"


def _as_json(value: object) -> Any:
    if isinstance(value, Decimal | os.PathLike):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError


def _now(progress: RunProgress) -> str:
    return ": ".join(part for part in (progress.step, progress.told) if part)


@contextmanager
def _stdout_kept_clean(*, active: bool) -> Iterator[None]:
    """Send what is printed meanwhile to standard error."""
    if not active:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
