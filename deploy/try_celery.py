"""Try a run on two Celery workers, one of which is killed in the middle, against made-up Jotform and Givebutter.

For whoever sets up several machines: it shows that Postgres, RabbitMQ and the workers work together before real data
is near. It needs two empty databases and a RabbitMQ of its own, starts two workers with separate homes, runs `sync`
twice (the second time the worker that is at work is killed), prints what the event log says of who did what, and
compares the tables with those of a sync in one process. Exit code 0 when all of it held.

    python deploy/try_celery.py --warehouse postgresql://user:password@host/mentors_trial \
        --dagster postgresql://user:password@host/dagster_trial --broker amqp://user:password@host:5672//
"""
# ruff: noqa: INP001 - a script, not a module

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import dagster as dg

from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, generate_world
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

MENTORS: Final = 60
CONTACTS: Final = 900
KILLED_IN: Final = "choose_contacts"
"""The step in the middle of which a worker is killed: the longest one, which computes and then writes two tables."""
WAIT_S: Final = 240.0
HERE: Final = Path(__file__).parent
COMPARED: Final = ("signups", "form_links", "contact_links", "mentors", "mn_tasks", "partner_matches", "mn_gb_import")
OF_THE_RUN: Final = {"run_id", "created_at", "updated_at", "last_synced_at", "first_seen_at", "last_seen_at"}


class Worker:
    """A Celery worker with a home and a data folder of its own."""

    def __init__(self, name: str, folder: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        own = {"DAGSTER_HOME": str(folder / name / "home"), "MENTOR_PIPELINE_DATA_DIR": str(folder / name / "data")}
        for path in own.values():
            Path(path).mkdir(parents=True)
        command = [sys.executable, "-m", "celery", "-A", "mentor_pipeline.celery_worker", "worker"]
        options = ["-n", f"{name}@trial", "-c", "1", "-O", "fair", "-Q", "dagster", "-l", "info"]
        with self.log.open("wb") as log:
            # In a session of its own, so that all its processes can be killed together, as when a machine goes down.
            self.process = subprocess.Popen(  # noqa: S603
                [*command, *options],
                env={**os.environ, **variables, **own},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it asks for steps."""
        for _ in _moments(f"{self.name} is ready", self.log, self.process):
            if f"{self.name}@trial ready" in self.log.read_text(errors="replace"):
                return

    def kill(self) -> None:
        """End all its processes at once, without a chance to say so."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def main() -> int:
    """Run the trial; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option, words in (
        ("--warehouse", "an empty database for the tables: postgresql://user:password@host:5432/name"),
        ("--dagster", "an empty database for Dagster's storage, in the same form"),
        ("--broker", "a RabbitMQ that nothing else uses: amqp://user:password@host:5672//"),
    ):
        parser.add_argument(option, required=True, help=words)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="try-celery-")))
        year = Settings.load().program_year()
        world = generate_world(year, seed=5, mentors=MENTORS, contacts=CONTACTS)
        simulator = stack.enter_context(Simulator(world))
        services = {**simulator.environment(), "MENTOR_PIPELINE_YEAR": str(year.year)}
        variables = {**services, **_several_machines(given.warehouse, given.dagster, given.broker)}
        own = {"DAGSTER_HOME": str(folder / "home"), "MENTOR_PIPELINE_DATA_DIR": str(folder / "data")}
        for path in own.values():
            Path(path).mkdir()
        shutil.copy(HERE / "dagster.yaml", folder / "home")
        workers = [Worker(name, folder, variables) for name in ("one", "two")]
        for worker in workers:
            stack.callback(worker.kill)
        for worker in workers:
            worker.wait_until_ready()
        stack.enter_context(environment({**variables, **own}))
        with dg.DagsterInstance.get() as instance:
            quiet = _sync(instance, workers, folder / "first.log", kill=False)
            killed = _sync(instance, workers, folder / "second.log", kill=True)
        in_one = {**services, "MENTOR_PIPELINE_EXECUTOR": "", "MENTOR_PIPELINE_DATABASE_URL": "", "DAGSTER_HOME": ""}
        same = _same_as_in_one_process({**in_one, "MENTOR_PIPELINE_DATA_DIR": str(folder / "one-process")})
    held = quiet and killed and same
    print("All of it held." if held else "Not all of it held: see above.")
    return 0 if held else 1


def _several_machines(warehouse: str, dagster: str, broker: str) -> dict[str, str]:
    """Environment of the process that hands out the steps, and of the workers."""
    there = urlsplit(dagster)
    return {
        "MENTOR_PIPELINE_EXECUTOR": "celery",
        "MENTOR_PIPELINE_CELERY_BROKER": broker,
        "MENTOR_PIPELINE_DATABASE_URL": warehouse,
        "DAGSTER_POSTGRES_HOST": there.hostname or "localhost",
        "DAGSTER_POSTGRES_PORT": str(there.port or 5432),
        "DAGSTER_POSTGRES_USER": there.username or "",
        "DAGSTER_POSTGRES_PASSWORD": there.password or "",
        "DAGSTER_POSTGRES_DB": there.path.removeprefix("/"),
    }


def _sync(instance: dg.DagsterInstance, workers: list[Worker], log: Path, *, kill: bool) -> bool:
    """Run `sync` on the workers; True when it succeeded, and all of them executed steps."""
    before = {record.dagster_run.run_id for record in instance.get_run_records()}
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "mentor_pipeline.definitions", "-j", "sync"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603
    run_id = next(
        record.dagster_run.run_id
        for _ in _moments("the run is there", log, process)
        for record in instance.get_run_records()
        if record.dagster_run.run_id not in before
    )
    killed = ""
    if kill:
        killed = next(
            found
            for _ in _moments(f"a worker begins {KILLED_IN}", log, process)
            for found in _at_work(instance, run_id)
        )
        next(worker for worker in workers if worker.name == killed).kill()
        _say(f"worker {killed} was killed while it executed {KILLED_IN}")
    process.wait(WAIT_S)
    run = instance.get_run_by_id(run_id)
    begun, lines = _told(instance, run_id)
    _say(f"run {run_id[:8]}: {run.status.value if run else 'gone'}; steps begun: {dict(Counter(w for w, _ in begun))}")
    for line in lines:
        _say(line)
    again = [worker for worker, step in begun if step == KILLED_IN]
    redone = not kill or (again[0] == killed and again[-1] != killed)
    return run is not None and run.is_success and len({worker for worker, _ in begun}) == len(workers) and redone


def _at_work(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    """The worker that has begun the step to be killed in, and has not ended it."""
    told = [
        event for entry in instance.all_logs(run_id) if (event := entry.dagster_event) and event.step_key == KILLED_IN
    ]
    if any(event.is_step_start for event in told) and not any(event.is_step_success for event in told):
        yield from filter(None, map(_worker_of, told))


def _told(instance: dg.DagsterInstance, run_id: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Worker and step of all that was begun, and all that happened, one line each, in seconds after the start."""
    begun, lines = [], []
    entries = instance.all_logs(run_id)
    for entry in entries:
        event = entry.dagster_event
        if event is None:
            continue
        at = f"  {entry.timestamp - entries[0].timestamp:6.1f} s  "
        if worker := _worker_of(event):
            begun.append((worker, str(event.step_key)))
            lines.append(f"{at}worker {worker} begins {event.step_key}")
        elif event.is_step_success:
            lines.append(f"{at}done: {event.step_key}")
        elif event.is_failure:
            lines.append(f"{at}failed: {event.step_key or 'the run'}: {event.message}")
    return begun, lines


def _worker_of(event: dg.DagsterEvent) -> str | None:
    """The worker that tells with an event that it begins a step."""
    if event.event_type is not dg.DagsterEventType.ENGINE_EVENT:
        return None
    metadata = event.engine_event_data.metadata
    return str(metadata["Celery worker"].value).partition("@")[0] if "Celery worker" in metadata else None


def _same_as_in_one_process(variables: dict[str, str]) -> bool:
    """Whether as many syncs in one process, into DuckDB, make the same tables."""
    by_workers = {name: _table(name) for name in COMPARED}
    with environment(variables):
        seconds = [run_job("sync", Settings.load(), by="trial").seconds for _ in range(2)]
        in_one_process = {name: _table(name) for name in COMPARED}
    _say(f"two syncs in one process: {' s, '.join(map(str, seconds))} s")
    different = [name for name in COMPARED if not by_workers[name].equals(in_one_process[name])]
    rows = ", ".join(f"{name} {frame.height}" for name, frame in by_workers.items())
    _say(f"tables that differ from those of two syncs in one process: {different or 'none'} ({rows})")
    return not different


def _table(name: str) -> pl.DataFrame:
    """A table without what says when it was made, in the order of its key."""
    rows = open_warehouse(Settings.load()).read_or_empty(name)
    return rows.select(column for column in rows.columns if column not in OF_THE_RUN).sort(TABLES[name].key)


def _moments(expected: str, log: Path, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Come by every moment, until it is too late or the process that is to do it has ended."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        yield
        time.sleep(0.2)
    yield
    msg = f"Not yet: {expected}. The process said:\n{log.read_text(errors='replace')[-3000:]}"
    raise TimeoutError(msg)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
