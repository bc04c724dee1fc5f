"""An installation for the acceptance tests: a data folder, a world over HTTP, and the jobs as the commands start them.

Every call sets the environment for itself, so that several installations live side by side; the folder and the world
can be copied, so that one first sync is enough for many stories.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import polars as pl
from typer.testing import CliRunner

from mentor_pipeline.cli import (  # noqa: F401 - they add their commands to `app`
    archive,
    decide,
    jobs,
    look,
    outreach,
    people,
    tags,
    upkeep,
)
from mentor_pipeline.cli.app import app
from mentor_pipeline.operator.runs import environment, run_inbox, run_job
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, World
from mentor_pipeline.tables import TABLES
from tests.builders import YEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer.testing import Result

    from mentor_pipeline.operator.runs import InboxRun, RunOutcome
    from tests.postgres import Postgres

PROJECT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 120
"""No step of a story takes longer, unless something hangs."""
APPEND_ONLY: Final = (
    "mentor_history",
    "mn_changes",
    "mentor_aliases",
    "placeholder_ids",
    "csv_import_log",
    "sent_notes",
    "operator_actions",
    "contact_archive_log",
    "tag_log",
    "forgotten",
)


class Installation:
    """One data folder with the services that it reads.

    Attributes:
        data_dir: the folder.
        world: what the simulated services hold.
        simulator: serves it.
        variables: the environment of every call.
        postgres: the server that has its tables; None where they are in DuckDB.
    """

    def __init__(
        self, data_dir: Path, simulator: Simulator, variables: dict[str, str], postgres: Postgres | None = None
    ) -> None:
        self.data_dir = data_dir
        self.world = simulator.world
        self.simulator = simulator
        self.variables = variables
        self.postgres = postgres
        self.warehouse = open_warehouse(self.settings())

    def settings(self) -> Settings:
        with environment(self.variables):
            return Settings.load()

    def run(self, job: str, config: dict[str, Any] | None = None, **run_tags: str) -> RunOutcome:
        """Run a job by the function that the commands use; `config` is the run config."""
        with environment(self.variables):
            return run_job(job, Settings.load(), by="Ada", run_config=config, tags=run_tags)

    def sync(self) -> RunOutcome:
        return done(self.run("sync"))

    def export(self, **config: Any) -> list[Path]:
        """Write the import file; the files that the run wrote."""
        before = self.exported()
        done(self.run("export", {"ops": {"gb_import_file": {"config": config}}}))
        return sorted(set(self.exported()) - set(before))

    def exported(self) -> list[Path]:
        return sorted(self.settings().exports_dir.glob("*.csv"))

    def inbox(self) -> InboxRun:
        """Do once what the inbox sensor does."""
        with environment(self.variables):
            return run_inbox(Settings.load(), self.warehouse, by="Ada", settle_seconds=0.05)

    def table(self, name: str) -> pl.DataFrame:
        return self.warehouse.read_or_empty(name)

    def mentor(self, mn_id: str) -> dict[str, Any]:
        return self.table("mentors").row(by_predicate=pl.col("mn_id") == mn_id, named=True)

    def counts(self) -> dict[str, int]:
        """Rows of every table that there may be."""
        return dict(self.warehouse.counts(list(TABLES)))

    def append_only(self) -> dict[str, pl.DataFrame]:
        """The rows of the tables to which an unchanged run must add nothing."""
        return {name: self.table(name).sort(TABLES[name].key) for name in APPEND_ONLY}

    def call(self, *words: str) -> Result:
        """A command of the command line."""
        with environment(self.variables):
            return CliRunner().invoke(app, list(words), catch_exceptions=False)

    def started(
        self,
        *words: str,
        rate: int = 50,
        output: int | IO[str] = subprocess.DEVNULL,
        module: str = "mentor_pipeline",
        **environment: str,
    ) -> subprocess.Popen[str]:
        """A command in a process of its own, with so many requests a second and its output where it is wanted."""
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, *words],
            env={**os.environ, **self.variables, "GIVEBUTTER_REQUESTS_PER_SECOND": str(rate), **environment},
            stdout=output,
            stderr=output,
            text=True,
            cwd=PROJECT,
        )

    def killed_when(self, reached: Callable[[], bool], *words: str, rate: int = 50) -> None:
        """A command in a process of its own, killed for good as soon as that is so; it is still at work then."""
        process = self.started(*words, rate=rate)
        try:
            deadline = time.monotonic() + LIMIT_S
            while not reached() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL

    def wait_for_run(self, process: subprocess.Popen[str]) -> None:
        """Wait until a run of this installation has the writer lock, or the process is over."""
        deadline = time.monotonic() + LIMIT_S
        while not self.warehouse.holders() and process.poll() is None:
            assert time.monotonic() < deadline, "the run never began"
            time.sleep(0.1)

    def call_json(self, *words: str) -> dict[str, Any]:
        """A command that is to succeed; its document."""
        result = self.call(*words, "--json")
        assert result.exit_code == 0, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document


def done(outcome: RunOutcome) -> RunOutcome:
    """The outcome of a run that is to succeed."""
    assert outcome.success, (outcome.failures, [check for check in outcome.failed_checks if check.is_blocking])
    return outcome


@contextmanager
def installed(
    data_dir: Path,
    world: World,
    *,
    year: int = YEAR,
    config_dir: Path | None = None,
    postgres: Postgres | None = None,
    like: str | None = None,
) -> Iterator[Installation]:
    """An installation with a Dagster home of its own, while the services answer.

    With a Postgres server its tables are in a new database there, which begins as a copy of the one `like` names.
    """
    variables = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_YEAR": str(year),
        "MENTOR_PIPELINE_CONFIG_DIR": str(config_dir or ""),
        "MENTOR_PIPELINE_DATABASE_URL": postgres.database(like) if postgres else "",
        "MENTOR_PIPELINE_ALERT_WEBHOOK": "",
        "MENTOR_PIPELINE_ALERT_SMTP_URL": "",
        "DAGSTER_HOME": "",
    }
    with Simulator(world) as simulator:
        yield Installation(data_dir, simulator, {**variables, **simulator.environment()}, postgres)


@contextmanager
def going_on(there: Installation, folder: Path) -> Iterator[Installation]:
    """A copy of an installation and of its world, to go on with."""
    data_dir, saved = folder / "data", folder / "world.json.gz"
    shutil.copytree(there.data_dir, data_dir)
    there.world.save(saved)
    like = there.variables["MENTOR_PIPELINE_DATABASE_URL"]
    with installed(data_dir, World.load(saved), postgres=there.postgres, like=like) as copy:
        yield copy
