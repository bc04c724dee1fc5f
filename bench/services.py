"""The simulated services at work on a made-up world, and calls to them by nothing but HTTP.

The services run in a process of their own, as in earnest they have a machine of their own; they keep a log of the calls
that came, so that the same calls can be made once more. This module loads nothing of the pipeline but the simulator.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from bench.measuring import alone, say
from bench.year import program
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY
from mentor_pipeline.simulator import Simulator, World, generate_world

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from bench.measuring import Work
    from mentor_pipeline.simulator.server import LoggedCall

FULL_SPEED: Final = 1000.0
"""Calls a second at which nothing waits."""


def world(folder: Path, mentors: int, contacts: int) -> Path:
    """A folder with `world.gz`."""
    made = folder / f"world-{mentors}-{contacts}"
    if not made.exists():
        say(f"  making up {mentors:,} mentors and {contacts:,} contacts")
        made.mkdir()
        alone(_make_world, made / "world.gz", mentors, contacts)
    return made


def _make_world(file: Path, mentors: int, contacts: int) -> None:
    """Make up a world and save it."""
    generate_world(program(), mentors=mentors, contacts=contacts).save(file)


@dataclass(frozen=True, slots=True)
class Services:
    """The simulated services at work on a world.

    Attributes:
        environment: what leads the pipeline to them, keys included.
    """

    environment: dict[str, str]
    _pipe: Connection

    def calls(self) -> list[LoggedCall]:
        """The calls that came so far."""
        calls: list[LoggedCall] = self._ask(("calls", 0))
        return calls

    def edit(self, count: int) -> None:
        """Somebody changes so many contacts."""
        self._ask(("edit", count))

    def stop(self) -> None:
        """No longer answer."""
        self._ask(("stop", 0))

    def _ask(self, wanted: tuple[str, int]) -> Any:
        self._pipe.send(wanted)
        return self._pipe.recv()


def serve(world: Path) -> Services:
    """Start the services on a saved world; they end with this process at the latest, and save nothing."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    processes.Process(target=_serve, args=(world, theirs), daemon=True).start()
    return Services(ours.recv(), ours)


def _serve(world_file: Path, pipe: Connection) -> None:
    world = World.load(world_file)
    with Simulator(world) as simulator:
        pipe.send(simulator.environment())
        while True:
            wanted, count = pipe.recv()
            if wanted == "edit":
                edit(world, count)
            pipe.send(list(simulator.calls) if wanted == "calls" else None)
            if wanted == "stop":
                return


def edit(world: World, count: int) -> None:
    """Give so many contacts another employer, every so many-th of them."""
    ids = sorted(world.active_ids())
    for number in range(count):
        world.edit_contact(ids[number * len(ids) // count], employer=f"Employer {number}")


def calling(world_file: Path, calls_file: Path, calls_per_second: float) -> Work:
    """Calls that were made once, made again by httpx; tells the seconds that each endpoint took."""
    calls = orjson.loads(calls_file.read_bytes())
    services = serve(world_file)
    values = services.environment
    headers = {
        "jotform": {"APIKEY": values[JOTFORM_KEY]},
        "givebutter": {"Authorization": f"Bearer {values[GIVEBUTTER_KEY]}"},
    }
    here = httpx.URL(values["GIVEBUTTER_BASE_URL"])

    def work() -> Any:
        took: defaultdict[str, float] = defaultdict(float)
        next_at = 0.0
        with httpx.Client(timeout=60) as client:
            for call in calls:
                began = time.perf_counter()
                service = call["endpoint"].partition(".")[0]
                if service == "givebutter":  # Jotform's limit is one of calls a day
                    time.sleep(max(0.0, next_at - began))
                    next_at = max(next_at, began) + 1 / calls_per_second
                url = here.copy_with(path=httpx.URL(call["url"]).path)
                answer = client.request(call["method"], url, params=call["query"], headers=headers[service])
                assert answer.status_code == call["status"], answer
                took[call["endpoint"]] += time.perf_counter() - began

        def stop() -> dict[str, float]:
            services.stop()
            return dict(took)

        return stop

    return work
