"""Dagster's UI and daemon, as `mentor-pipeline dev` opens them on an installation, and what a click there asks for."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import httpx

from tests.acceptance.installation import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.installation import Installation

LOCATION: Final = {"repositoryLocationName": "mentor_pipeline", "repositoryName": "__repository__"}
LAUNCH: Final = """
    mutation ($run: ExecutionParams!) {
      launchRun(executionParams: $run) {
        __typename
        ... on LaunchRunSuccess { run { runId } }
        ... on PythonError { message }
      }
    }
"""
RUNS: Final = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"
ENDED: Final = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True, slots=True)
class OpenedUi:
    """The UI while it is open.

    Attributes:
        url: its address.
        process: `mentor-pipeline dev`.
    """

    url: str
    process: subprocess.Popen[str]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the page asks the server, and its answer."""
        said = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=LIMIT_S).json()
        assert "errors" not in said, said
        data: dict[str, Any] = said["data"]
        return data

    def launch(self, job: str) -> str:
        """The run that the button "Launch run" puts into the queue."""
        answer = self.ask(LAUNCH, run={"selector": {**LOCATION, "jobName": job}, "runConfigData": {}})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def runs(self) -> dict[str, tuple[str, str]]:
        """Job and state of every run that the UI knows of, by id."""
        return {run["runId"]: (run["jobName"], run["status"]) for run in self.ask(RUNS)["runsOrError"]["results"]}

    def wait_for(self, run_id: str) -> str:
        """How a run ended."""
        deadline = time.monotonic() + 2 * LIMIT_S
        while (state := self.runs()[run_id][1]) not in ENDED:
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
        return state


def free_port() -> int:
    """A port of this machine that nobody listens to now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def opened_ui(
    there: Installation, output: int | IO[str] = subprocess.DEVNULL, **environment: str
) -> Iterator[OpenedUi]:
    """Open it on a free port, and wait until it knows our jobs."""
    port = free_port()
    process = there.started("dev", "--port", str(port), output=output, **environment)
    opened = OpenedUi(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not _knows_our_jobs(opened):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield opened
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()


def _knows_our_jobs(opened: OpenedUi) -> bool:
    try:
        return bool(opened.ask("{ assetNodes { id } }")["assetNodes"])
    except httpx.TransportError:
        return False
