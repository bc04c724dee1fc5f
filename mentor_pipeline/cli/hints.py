"""Commands that are named in what is shown: the one place that says how they are to be typed.

Wherever a text names a command (a next step, an error, a row of a table) it is written as for the real data,
`mentor-pipeline sync`. Everything that a command shows passes here; after `--demo` every such command gets `--demo`,
too, so that one that is pasted can never do to the real data what was shown of the demo.
"""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

WITHOUT_DEMO: Final = ("demo", "dev")
"""Commands about the demo itself, which take no `--demo` before them."""
_GIVEN: Final = "--demo"
_options: list[str] = []
"""What stands before the command at work, and so before every command that is named."""


@contextmanager
def in_demo() -> Iterator[None]:
    """Name commands as they are for the demo."""
    _options.append(_GIVEN)
    try:
        yield
    finally:
        _options.remove(_GIVEN)


def command(*words: str) -> str:
    """A command to name, as a shell takes it: `mentor-pipeline conflicts import 'my decisions.csv'`."""
    return shlex.join(["mentor-pipeline", *words])


def said(text: str) -> str:
    """A text, its commands as they are to be typed."""
    parts = [text[begin:end] for begin, end in _cuts(text)]
    return f" {_GIVEN}".join(parts)


def shown(text: Text) -> Text:
    """A styled text, its commands as they are to be typed."""
    cuts = [end for _, end in _cuts(text.plain)[:-1]]
    if not cuts:
        return text
    whole = text.blank_copy()
    for number, part in enumerate(text.divide(cuts)):
        whole.append_text(part if number == 0 else part.blank_copy(f" {_GIVEN}").append_text(part))
    return whole


def _cuts(text: str) -> list[tuple[int, int]]:
    """The parts of a text between which the option is to be put."""
    places = [found.end() for found in _command_names().finditer(text)] if _options else []
    return list(zip([0, *places], [*places, len(text)], strict=True))


def _command_names() -> re.Pattern[str]:
    """Finds `mentor-pipeline` before the name of a command, not before a version or a verb."""
    from mentor_pipeline.cli.app import app

    known = getattr(typer.main.get_command(app), "commands", {})
    names = "|".join(re.escape(name) for name in known if name not in WITHOUT_DEMO)
    return re.compile(rf"(?<![\w/])mentor-pipeline(?= (?:{names})(?![\w-]))")
