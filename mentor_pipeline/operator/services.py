"""The simulated services as a process of their own, for the demo and for what works on its data.

A process, because the pipeline and the services then have a core each, as in earnest they have a machine each. It ends
with the one that started it, however that ends, and saves its world.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from mentor_pipeline.errors import MentorPipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mentor_pipeline.settings import ProgramYear

_PATIENCE_SECONDS: Final = 30.0
_SETTING: Final = "export "
_CONTROL: Final = "# Control API: "
_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class WorldSize:
    """How large a world to make up, and from which seed."""

    seed: int = 1
    mentors: int = 1000
    contacts: int = 49_000


@dataclass(frozen=True, slots=True)
class Services:
    """The simulated services, while they answer.

    Attributes:
        environment: the variables that point the pipeline at them, keys included.
        control_url: base URL of the simulator's own API: what a person does in the services' pages.
    """

    environment: Mapping[str, str]
    control_url: str

    def contacts(self) -> int:
        """How many contacts Givebutter lists."""
        return int(self._call("GET", "/status").json()["contacts"])

    def export_contacts(self, folder: Path) -> Path:
        """Download the contacts export, under the name that Givebutter gives it."""
        answer = self._call("GET", "/export.csv")
        target = folder / answer.headers["content-disposition"].partition('"')[2].rstrip('"')
        target.write_bytes(answer.content)
        return target

    def import_contacts(self, file: Path) -> dict[str, Any]:
        """Upload an import file; what became of its rows, as `ImportResult` has it."""
        result: dict[str, Any] = self._call("POST", "/import", content=file.read_bytes()).json()
        return result

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = httpx.request(method, self.control_url + path, timeout=_TIMEOUT_S, **more)
        if answer.is_error:
            msg = f"The simulator refused {method} {path}: {answer.text}"
            raise MentorPipelineError(msg)
        return answer


@contextmanager
def simulated(
    world: Path, program: ProgramYear, *, size: WorldSize | None = None, keep_saving: bool = False
) -> Iterator[Services]:
    """Serve the world of a file; make one up where there is none. It is saved at the end.

    Args:
        world: the file.
        program: the year of a new world.
        size: of a new world.
        keep_saving: save it also a moment after each change, for a server that may be killed.

    Raises:
        MentorPipelineError: it does not start.
    """
    new = size or WorldSize()
    command = [
        sys.executable, "-m", "mentor_pipeline.simulator", "--port", "0", "--state", str(world), "--with-parent",
        *("--seed", str(new.seed), "--mentors", str(new.mentors), "--contacts", str(new.contacts)),
        *(() if keep_saving else ("--save-at-end",)),
    ]  # fmt: skip
    values = {"MENTOR_PIPELINE_YEAR": str(program.year)}
    with process(command, values, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as simulator:
        yield _told(simulator)


def _told(simulator: subprocess.Popen[str]) -> Services:
    """What the simulator prints as it begins to answer: `export NAME=value` lines, then its own address."""
    values: dict[str, str] = {}
    for line in simulator.stdout or ():
        if line.startswith(_SETTING):
            name, _, value = line.removeprefix(_SETTING).strip().partition("=")
            values[name] = value
        elif line.startswith(_CONTROL):
            return Services(values, line.removeprefix(_CONTROL).split()[0])
    msg = "The simulator did not start; what it says is above."
    raise MentorPipelineError(msg)


@contextmanager
def process(
    command: list[str], values: Mapping[str, str], *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process with further environment variables, in a session of its own: it gets the signals that we pass on."""
    started = subprocess.Popen(  # noqa: S603 - our own modules, no shell
        command, env={**os.environ, **values}, stdin=stdin, stdout=stdout, text=True, start_new_session=True
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        try:
            started.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()
