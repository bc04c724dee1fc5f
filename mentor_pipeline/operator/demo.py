"""The demo: a made-up year through the real jobs, over HTTP, until Givebutter and the warehouse agree.

It makes up a world, lets the pipeline read it, imports a Givebutter export through the inbox, writes the import file,
lets the simulated Givebutter import that, and syncs twice more: every contact that was created must then be linked,
and the last sync must change nothing. It works in a folder of its own and deletes only what an earlier demo left there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from filelock import FileLock, Timeout

from mentor_pipeline.errors import ConfigError, MentorPipelineError, WarehouseBusyError
from mentor_pipeline.operator.folders import ALERT_FILES, private_files, private_folder, shut
from mentor_pipeline.operator.runs import DEMO_MARKER, environment, run_inbox, run_job
from mentor_pipeline.operator.services import Services, WorldSize, simulated
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.resources.writer_lock import HOLDER_NAME, LOCK_NAME, holder
from mentor_pipeline.settings import ALERT_SMTP_URL, ALERT_WEBHOOK, DATABASE_URL, GIVEBUTTER_KEY, JOTFORM_KEY, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mentor_pipeline.operator.runs import Progress, RunOutcome
    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear

    Shown = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]
    """Shows one step, by its title, while it is at work."""

FOLDER: Final = "demo"
"""The demo's folder in the data folder."""
SCHEMA: Final = "mentor_pipeline_demo"
"""The demo's schema in a Postgres database."""
SERVICES_NAME: Final = ".services.json"
"""Where the simulated services answer while `dev` or a command serves them."""
WORLD_NAME: Final = "world.json.gz"
LOCK: Final = ".demo.lock"
"""Held while somebody works with the folder: the demo itself, or `dev`."""
BY: Final = "demo"

_OWN: Final = (
    "mentors.duckdb", "mentors.duckdb.wal", LOCK_NAME, HOLDER_NAME, "inbox", "exports", "dagster_home", WORLD_NAME,
    SERVICES_NAME, *ALERT_FILES,
)  # fmt: skip
_REFUSED_SHOWN: Final = 20
_UNITS_A_MB: Final = 1024 * 1024 if sys.platform == "darwin" else 1024


class DemoFailedError(MentorPipelineError):
    """A job of the demo failed; what it had done until then is in its folder."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: how long it took, the peak memory of this process until its end, and what came of it."""

    name: str
    seconds: float
    peak_mb: int
    told: str


@dataclass(slots=True)
class Demo:
    """What the demo did.

    Attributes:
        data_dir: its folder.
        world: the file with the state of the simulated services.
        steps: what was done, in order.
        mentors: by status.
        links: by how the contact was found, or why there is none.
        held: rows withheld from the import file, by reason.
        conflicts: undecided ones by type.
        duplicate_groups: groups of contacts that share a phone or an e-mail.
        changes: by sync, what it changed by type.
        exported: rows of the import file.
        created: contacts that Givebutter created from it.
        updated: contacts that it updated.
        merged: rows that it merged into a contact.
        refused: rows that it refused, with its words.
        linked: how many of the created contacts were linked by the next sync.
        files: the import files.
        faults: what should not have happened; the demo failed when there are any.
    """

    data_dir: Path
    world: Path
    steps: list[Step] = field(default_factory=list)
    mentors: dict[str, int] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    duplicate_groups: int = 0
    changes: dict[str, dict[str, int]] = field(default_factory=dict)
    exported: int = 0
    created: int = 0
    updated: int = 0
    merged: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    linked: int = 0
    files: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long everything took."""
        return round(sum(step.seconds for step in self.steps), 1)


def run_demo(folder: Path, program: ProgramYear, *, size: WorldSize, shown: Shown) -> Demo:
    """Run the demo from the beginning.

    Args:
        folder: its folder; made when missing, and cleared of what an earlier demo left.
        program: the program year that it plays.
        size: the world to make up.
        shown: shows each step while it is at work.

    Raises:
        ConfigError: the folder holds other things than a demo; nothing was touched.
        WarehouseBusyError: it is in use; nothing was touched.
        DemoFailedError: a job failed.
    """
    with private_files(), working_in(folder):
        start_afresh(folder)
        return _Play(folder, program, shown).play(size)


def demo_folder(settings: Settings) -> Path:
    """Where the demo is, or is to be: the data folder when it holds one, else `demo/` in it."""
    return settings.data_dir if (settings.data_dir / DEMO_MARKER).exists() else settings.data_dir / FOLDER


def demo_environment(folder: Path, program: ProgramYear, services: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the demo's folder and the simulated services are used, and nothing of a real one.

    With a Postgres database the tables are there, in a schema of the demo's own.
    """
    return {
        **services,
        "MENTOR_PIPELINE_DATA_DIR": str(folder),
        "MENTOR_PIPELINE_YEAR": str(program.year),
        DATABASE_URL: _database(),
        "DAGSTER_HOME": "",
        ALERT_WEBHOOK: "",
        ALERT_SMTP_URL: "",
        "MENTOR_PIPELINE_EXECUTOR": "",
    }


def _database() -> str:
    """URL of the demo's schema in the configured database; empty where that is DuckDB."""
    url = os.environ.get(DATABASE_URL, "")
    if not url:
        return ""
    from mentor_pipeline.resources.postgres_warehouse import in_schema  # noqa: PLC0415 - not loaded without Postgres

    return in_schema(url, SCHEMA)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Keep others (another demo, `dev`) out of the demo's folder.

    Raises:
        ConfigError: it holds other things than a demo, or cannot be made.
        WarehouseBusyError: another command works in it.
    """
    if folder.exists() and not (folder / DEMO_MARKER).exists() and any(folder.iterdir()):
        msg = (
            f"{folder} is not empty and holds no demo (there is no file {DEMO_MARKER}). Nothing was touched. Choose "
            "another folder with --dir."
        )
        raise ConfigError(msg)
    try:
        private_folder(folder)
        (folder / DEMO_MARKER).touch(mode=0o600)
        shut(folder)
        lock = FileLock(folder / LOCK, timeout=0, mode=0o600)
        lock.acquire()
    except Timeout as error:
        msg = (
            f"The demo in {folder} is in use by another command: one that works on it, such as a sync, or `demo` or "
            "`dev`. Nothing was done. Wait until it has finished, and try again; `dev` goes on until it is stopped."
        )
        raise WarehouseBusyError(msg) from error
    except OSError as error:
        msg = f"The demo's folder {folder} cannot be used: {error.strerror}. Choose another with --dir."
        raise ConfigError(msg) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_demo(folder: Path, program: ProgramYear, *, with_services: bool) -> Iterator[None]:
    """Work on what the demo left, in an environment that knows nothing of a real installation.

    With services, those are asked that `dev` serves; where nobody serves them, they are served here, and what a job
    changed in them is saved.

    Raises:
        ConfigError: there is no demo.
        WarehouseBusyError: another command works with it.
    """
    world = folder / WORLD_NAME
    if not (folder / DEMO_MARKER).exists() or not world.exists():
        msg = f"There is no demo in {folder}. Nothing was done. Run `mentor-pipeline demo` first."
        raise ConfigError(msg)
    if not with_services:
        with environment(demo_environment(folder, program, dict.fromkeys((JOTFORM_KEY, GIVEBUTTER_KEY), ""))):
            yield
        return
    served = folder / SERVICES_NAME
    with ExitStack() as stack:
        try:
            stack.enter_context(working_in(folder))
        except (ConfigError, WarehouseBusyError):
            if not served.exists():
                raise
            services = json.loads(served.read_bytes())
            stack.enter_context(environment(demo_environment(folder, program, services)))
            yield
            return
        services = stack.enter_context(simulated(world, program)).environment
        stack.enter_context(environment(demo_environment(folder, program, services)))
        yield


@contextmanager
def serving(folder: Path, services: Mapping[str, str]) -> Iterator[None]:
    """Tell other commands where the simulated services of the demo answer, while they do."""
    served = folder / SERVICES_NAME
    served.touch(mode=0o600)
    served.write_text(json.dumps(dict(services)), encoding="utf-8")
    try:
        yield
    finally:
        served.unlink(missing_ok=True)


def start_afresh(folder: Path) -> None:
    """Delete what an earlier demo left, by name; whatever else is there stays.

    Raises:
        ConfigError: a run is changing it.
    """
    url = _database()
    if url:
        from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse  # noqa: PLC0415

        PostgresWarehouse(url).make_schema_anew(SCHEMA)
    running = holder(folder)
    if running is not None:
        msg = f"The demo's warehouse in {folder} is being changed by {running}. Wait until it has finished."
        raise ConfigError(msg)
    for name in _OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class _Play:
    """One run of the demo."""

    def __init__(self, folder: Path, program: ProgramYear, shown: Shown) -> None:
        self.folder = folder
        self.program = program
        self.shown = shown
        self.report = Demo(data_dir=folder, world=folder / WORLD_NAME)
        self.warehouse: Warehouse

    def play(self, size: WorldSize) -> Demo:
        with ExitStack() as stack:
            with self._step("make up a world") as (tell, _):
                services = stack.enter_context(simulated(self.report.world, self.program, size=size))
                tell(f"{size.mentors:,} mentors, {services.contacts():,} contacts")
            stack.enter_context(environment(demo_environment(self.folder, self.program, services.environment)))
            settings = Settings.load()
            self.warehouse = open_warehouse(settings)
            self._play_jobs(services, settings)
        self._look()
        return self.report

    def _play_jobs(self, services: Services, settings: Settings) -> None:
        self._sync("first sync", settings)
        self._import_export_of(services, settings)
        created = self._export_and_apply(services, settings)
        self._sync("second sync", settings)
        self._require_linked(created)
        last = self._sync("third sync", settings)
        if last:
            self.report.faults.append(f"The third sync changed something, though nothing had happened: {last}.")

    def _sync(self, name: str, settings: Settings) -> dict[str, int]:
        """Sync, and note what changed by it."""
        with self._step(name) as (tell, watch):
            outcome = _done(name, run_job("sync", settings, by=BY, watch=watch))
            changes = self.warehouse.read_or_empty("mn_changes", columns=["change_type", "run_id"])
            counted = _counted(changes.filter(pl.col("run_id") == outcome.run_id), "change_type")
            self.report.changes[name] = counted
            tell(f"{sum(counted.values()):,} changes")
        return counted

    def _import_export_of(self, services: Services, settings: Settings) -> None:
        with self._step("import an export through the inbox") as (tell, watch):
            private_folder(settings.inbox_dir)
            services.export_contacts(settings.inbox_dir)
            done = run_inbox(settings, self.warehouse, by=BY, watch=watch)
            for one in done.imported:
                _done("import", one.outcome)
            ledger = done.imported[0].ledger if done.imported else None
            if ledger is None or ledger["status"] != "completed":
                self.report.faults.append("The export that lay in the inbox was not imported.")
            else:
                tell(f"{ledger['rows']:,} contacts, {ledger['changed_contacts']:,} changed")

    def _export_and_apply(self, services: Services, settings: Settings) -> list[int]:
        """Write the import file, and import it; the contacts that it created."""
        report = self.report
        with self._step("export") as (tell, watch):
            _done("export", run_job("export", settings, by=BY, watch=watch))
            report.files = sorted(settings.exports_dir.glob("*.csv"))
            tell(", ".join(path.name for path in report.files))
        if not report.files:
            msg = f"The export wrote no file into {settings.exports_dir}."
            raise DemoFailedError(msg)
        with self._step("import the file in Givebutter") as (tell, _):
            result = services.import_contacts(report.files[-1])
            report.refused = result["refused"]
            counts = [len(result[name]) for name in ("created", "updated", "merged")]
            report.created, report.updated, report.merged = counts
            report.exported = report.created + report.updated + report.merged + len(report.refused)
            tell(f"{report.exported:,} rows, {report.created:,} created, {len(report.refused):,} refused")
        if report.refused:
            report.faults.append(f"Givebutter refused {len(report.refused):,} rows.")
        created: list[int] = result["created"]
        return created

    def _require_linked(self, created: list[int]) -> None:
        mentors = self.warehouse.read_or_empty("mentors", columns=["gb_contact_id", "gb_match_status"])
        linked = set(mentors.filter(pl.col("gb_match_status") == "linked")["gb_contact_id"])
        lost = [contact_id for contact_id in created if contact_id not in linked]
        self.report.linked = len(created) - len(lost)
        if lost:
            shown = ", ".join(map(str, lost[:_REFUSED_SHOWN]))
            self.report.faults.append(f"{len(lost):,} contacts that Givebutter created are not linked: {shown}.")

    def _look(self) -> None:
        """Count what is in the warehouse at the end."""
        report, year = self.report, self.program.year
        with self.warehouse.reading() as reader:
            mentors = reader.read_or_empty("mentors", year=year)
            held = reader.read_or_empty("mn_gb_import_held", columns=["reason"], year=year)
            conflicts = reader.read_or_empty("sync_conflicts", columns=["conflict_type", "status"], year=year)
            report.duplicate_groups = reader.count("duplicate_gb_contacts")
        report.mentors = _counted(mentors, "status_category")
        found_by = pl.when(pl.col("gb_match_status") == "linked").then("gb_match_method").otherwise("gb_match_status")
        report.links = _counted(mentors.select(found_by=found_by), "found_by")
        report.held = _counted(held, "reason")
        report.conflicts = _counted(conflicts.filter(pl.col("status") == "pending"), "conflict_type")

    @contextmanager
    def _step(self, name: str) -> Iterator[tuple[Callable[[str], None], Callable[[Progress], None]]]:
        """Show and measure a step; yields what takes in its result in words, and what shows the progress of a run."""
        words: list[str] = []
        started = time.monotonic()
        with self.shown(name) as watch:
            yield words.append, watch
        seconds = round(time.monotonic() - started, 2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _UNITS_A_MB
        self.report.steps.append(Step(name, seconds, peak, "; ".join(words)))


def _done(name: str, outcome: RunOutcome) -> RunOutcome:
    if outcome.success:
        return outcome
    if outcome.is_interrupted:
        raise KeyboardInterrupt
    said = [f"{failure.step}: {failure.message}" for failure in outcome.failures]
    said += [f"{check.asset}, check {check.check}: {check.description}" for check in outcome.failed_checks]
    msg = "\n".join([f"The demo stopped at its {name}, run {outcome.run_id}:", *said])
    raise DemoFailedError(msg)


def _counted(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    counted = frame.drop_nulls(column).group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counted.iter_rows())
