"""Measures starting: a look at how things stand, the code location, and Dagster's UI.

Each is a command of its own, as a person or Dagster starts it, and the yardstick is importing Dagster and nothing else.
`status` looks at an installation of full size; the code location is imported and its definitions are built, as each of
Dagster's processes does; the UI is ready when `mentor-pipeline dev` answers its first request. Everything was started
once before, so that its files are in memory and compiled.

    python -m bench --only starting
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bench.measuring import alone, say, side_by_side
from bench.report import Section, at_most, how, told_only

if TYPE_CHECKING:
    from bench.measuring import Work

TOP: Final = Path(__file__).parent.parent
TIMES: Final = 2
DAGSTER, STATUS, LOCATION, UI = (
    "import dagster",
    "mentor-pipeline status",
    "code location, imported and built",
    "UI ready",
)
BUILD: Final = "from mentor_pipeline.definitions import build_defs; build_defs().get_repository_def()"
PATIENCE_S: Final = 120
NO_SERVICE: Final = "http://127.0.0.1:9"
"""Where nobody answers: nothing that is started here is to ask a service."""


class Sizes(NamedTuple):
    """Mentors and contacts of the installation, and how often each is measured."""

    mentors: int
    contacts: int
    runs: int
    ui_runs: int


FULL: Final = Sizes(1000, 49_000, 7, 3)
QUICK: Final = Sizes(20, 100, 1, 0)
"""Without the UI."""


def commanding(command: list[str], values: dict[str, str]) -> Work:
    """A command, to its end."""

    def run() -> None:
        subprocess.run(command, cwd=TOP, env={**os.environ, **values}, check=True, stdout=subprocess.DEVNULL)

    return run


def opening(values: dict[str, str]) -> Work:
    """`dev`, until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mentor_pipeline", "dev", "--port", str(port)]

    def run() -> Any:
        process = subprocess.Popen(
            command, cwd=TOP, env={**os.environ, **values}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for(f"http://127.0.0.1:{port}/server_info", process)

        def stop() -> None:
            process.terminate()
            process.wait(PATIENCE_S)

        return stop

    return run


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    msg = f"{url} did not answer within {PATIENCE_S} s."
    raise TimeoutError(msg)


def _environment(folder: Path, sizes: Sizes) -> dict[str, str]:
    """That of the installation; made in a process of its own, for making it loads much."""
    from bench.installation import installation, variables  # noqa: PLC0415 - see above

    return variables(installation(folder, sizes.mentors, sizes.contacts) / "data") | {
        "JOTFORM_API_KEY": "none",
        "GIVEBUTTER_API_KEY": "none",
        "JOTFORM_BASE_URL": NO_SERVICE,
        "GIVEBUTTER_BASE_URL": NO_SERVICE,
    }


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    values = alone(_environment, folder, sizes)
    say("starting")
    python = sys.executable
    commands = {
        DAGSTER: [python, "-c", "import dagster"],
        STATUS: [python, "-m", "mentor_pipeline", "status"],
        LOCATION: [python, "-c", BUILD],
    }
    works = {what: partial(commanding, command, values) for what, command in commands.items()}
    if sizes.runs > 1:
        side_by_side(works, 1, of_children=True)
    found = side_by_side(works, sizes.runs, of_children=True)
    status = f"{STATUS}, {sizes.mentors:,} x {sizes.contacts:,}"
    goals = [
        at_most(TIMES, status, found[STATUS], found[DAGSTER], DAGSTER),
        at_most(TIMES, LOCATION, found[LOCATION], found[DAGSTER], DAGSTER),
    ]
    if sizes.ui_runs:
        found |= side_by_side({UI: partial(opening, values)}, sizes.ui_runs, of_children=True)
        goals.append(told_only(UI, found[UI], found[DAGSTER], DAGSTER))
    return Section("Starting", how(__doc__), list(found.values()), goals)
