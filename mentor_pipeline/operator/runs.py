"""Running one of the pipeline's jobs here and now, on the instance that Dagster's UI shows.

What a command does is a Dagster run like any other: same job, same checks, same history. Here a run is started, watched
and told in plain words: which steps were done with how many rows, what failed and why, which checks did not hold. What
the jobs do belongs to the assets, and how an outcome looks on a screen to the command line.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import dagster as dg
from sqlalchemy.exc import OperationalError as SQLAlchemyOperationalError

from mentor_pipeline.domain.contacts_csv import FileKind, kind_of
from mentor_pipeline.domain.failures_csv import DOWNLOAD_AGAIN
from mentor_pipeline.domain.strict_csv import EXPORT_AGAIN, read_header
from mentor_pipeline.errors import ConfigError, FileRejectedError, MentorPipelineError, steering_nothing
from mentor_pipeline.operator.folders import private_files, private_folder, shut_data
from mentor_pipeline.operator.inbox import import_run_config, observe, opened, plan, tidy
from mentor_pipeline.resources.event_log import keep_engines
from mentor_pipeline.resources.http import checked_key, checked_url
from mentor_pipeline.resources.run_guard import BY_TAG, PROCESS_TAG, ROW_COUNT
from mentor_pipeline.sensors.inbox import FILE_TAG, LEDGER, SHA_TAG
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings, packaged_instance_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mentor_pipeline.operator.inbox import DoneWith, Waiting
    from mentor_pipeline.resources.warehouse import Warehouse

KEYS_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "sync": (JOTFORM_KEY, GIVEBUTTER_KEY),
    "contact_refresh": (GIVEBUTTER_KEY,),
    "archive_duplicates": (GIVEBUTTER_KEY,),
    "restore_contacts": (GIVEBUTTER_KEY,),
    "release_external_ids": (GIVEBUTTER_KEY,),
    "undo_releases": (GIVEBUTTER_KEY,),
    "push_tags": (GIVEBUTTER_KEY,),
}
"""Keys without which a job cannot do anything; jobs that are not named do without."""

DEMO_MARKER: Final = ".demo"
"""A data folder with this file in it holds a demo."""
SIMULATOR_HOST: Final = "127.0.0.1"

SETTLE_SECONDS: Final = 1.0
"""How long `run_inbox` looks whether a file of the inbox is still growing."""

_HOME: Final = "DAGSTER_HOME"
_POLL_SECONDS: Final = 0.5
_SERVICES: Final = {JOTFORM_KEY: "Jotform", GIVEBUTTER_KEY: "Givebutter"}
_QUIET: Final = {"console": {"config": {"log_level": "CRITICAL"}}}
_INTERRUPTED: Final = dg.DagsterExecutionInterruptedError.__name__
_DUCKDB_INTERRUPTED: Final = "Query interrupted"
"""What DuckDB says when Ctrl-C comes while it is at work."""
_CHECK_FAILED: Final = "DagsterAssetCheckFailedError"
_WARNING_LEVEL: Final = 30
_ROWS_WRITTEN: Final = "rows written"
_OLD_RUNS_AT_ONCE: Final = 20
"""Old runs that are deleted after a run; together they take a second."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        done: steps that have ended, whatever came of them.
        total: steps of the job.
        step: the step at work; None between two.
        told: what the step last said of itself, else the rows of the table written last.
    """

    done: int
    total: int
    step: str | None = None
    told: str = ""


@dataclass(slots=True)
class StepOutcome:
    """One step of a run.

    Attributes:
        name: the step: an asset's or a check's name.
        status: done, failed, or not_run (a step before it failed).
        rows: rows that each table has now.
        written: how many of them are new or changed.
        metadata: what the step tells of each table, apart from tables of its own.
        seconds: how long it took; None when it did not run.
    """

    name: str
    status: Literal["done", "failed", "not_run"] = "not_run"
    rows: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed; `is_expected` is False for an error that is a fault of this program."""

    step: str
    message: str
    is_expected: bool = True


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A check that did not hold, with the first rows that it names."""

    asset: str
    check: str
    severity: Literal["error", "warning"]
    is_blocking: bool
    description: str
    rows: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run did.

    Attributes:
        job: the job.
        run_id: its run in Dagster.
        success: True when every step was done.
        seconds: how long it took.
        steps: every step of the job, in the order in which they ran.
        failures: why steps failed.
        failed_checks: checks that did not hold; only blocking ones fail a run.
        warnings: what steps warned of.
        is_interrupted: True when a person stopped it.
    """

    job: str
    run_id: str
    success: bool
    seconds: float
    steps: tuple[StepOutcome, ...]
    failures: tuple[Failure, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    warnings: tuple[str, ...] = ()
    is_interrupted: bool = False

    def metadata(self, table: str) -> Mapping[str, Any]:
        """What a run told of one table; nothing when it was not made."""
        return next((step.metadata[table] for step in self.steps if table in step.metadata), {})


@dataclass(frozen=True, slots=True)
class ImportRun:
    """A run that imported a file.

    Attributes:
        file: the file's name.
        outcome: what the run did; of a content that was imported before, only which run that was.
        ledger: the file's row in `csv_import_log` afterwards; None when it got none.
        put_into: the folder of the inbox that the file is in now; None when it was not moved.
        is_repeat: True when the content was imported before, so that nothing was run.
    """

    file: str
    outcome: RunOutcome
    ledger: Mapping[str, Any] | None
    put_into: Path | None = None
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class InboxRun:
    """What was done with every file of the inbox."""

    imported: tuple[ImportRun, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    put_away: tuple[DoneWith, ...] = ()


# -- starting a run -------------------------------------------------------------------------------------------------


def run_job(
    job: str,
    settings: Settings,
    *,
    by: str,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    watch: Callable[[Progress], None] | None = None,
    definitions: dg.Definitions | None = None,
) -> RunOutcome:
    """Run a job in this process, on the instance that the UI shows.

    Args:
        job: its name.
        settings: where Dagster's home is.
        by: who starts it.
        run_config: as in the UI's launchpad.
        tags: further tags of the run.
        watch: told of the progress, from another thread.
        definitions: where the job is; the package's own by default.

    Raises:
        ConfigError: a key that the job needs is missing, or Dagster's home cannot be made; nothing was begun.
    """
    refuse_mixture(job, settings)
    require_keys(job)
    run_id = str(uuid.uuid4())
    started = time.monotonic()
    with _storage_faults_told(settings), _instance(settings) as instance:
        job_definition = (definitions or _own_definitions()).resolve_job_def(job)
        log = _RunLog([node.name for node in job_definition.graph.nodes])
        # Dagster refuses a run whose resources name a variable that is not set, also where nobody asks the service.
        keys = {key: os.environ.get(key, "") for key in _SERVICES}
        with environment(keys), _watched(instance, run_id, log, watch):
            result = job_definition.execute_in_process(
                instance=instance,
                run_id=run_id,
                run_config={"loggers": _QUIET, **(run_config or {})},
                tags={BY_TAG: by, PROCESS_TAG: f"{socket.gethostname()}/{os.getpid()}", **(tags or {})},
                raise_on_error=False,
            )
        _let_go(instance, settings)
    return log.outcome(job, run_id, success=result.success, seconds=time.monotonic() - started)


def require_keys(job: str) -> None:
    """Refuse a job whose keys are not set, or that has no usable key or address, before anything is begun.

    Raises:
        ConfigError: naming each missing key and what to do.
    """
    needed = KEYS_NEEDED.get(job, ())
    missing = [key for key in needed if not os.environ.get(key, "").strip()]
    if missing:
        named = " and ".join(f"{key} (the {_SERVICES[key]} key)" for key in missing)
        are, them = ("are", "them") if len(missing) > 1 else ("is", "it")
        msg = (
            f"{named} {are} not set. Nothing was read or changed. Put {them} into the environment or into .env (see "
            ".env.example) and check with `mentor-pipeline config check`; to look around without keys, use "
            "`mentor-pipeline demo`."
        )
        raise ConfigError(msg)
    settings = Settings.load()
    addresses = {
        JOTFORM_KEY: ("JOTFORM_BASE_URL", settings.jotform_base_url),
        GIVEBUTTER_KEY: ("GIVEBUTTER_BASE_URL", settings.givebutter_base_url),
    }
    for key in needed:
        value = checked_key(os.environ[key], setting=key, service=_SERVICES[key])
        setting, address = addresses[key]
        checked_url(address, setting=setting, secret=value)


def refuse_mixture(job: str, settings: Settings) -> None:
    """Refuse a job that would read the real services into the demo's data.

    Raises:
        ConfigError: the data folder holds a demo, and a service is not simulated.
    """
    if job not in KEYS_NEEDED or not (settings.data_dir / DEMO_MARKER).exists():
        return
    hosts = {urlsplit(url).hostname for url in (settings.jotform_base_url, settings.givebutter_base_url)}
    if hosts != {SIMULATOR_HOST}:
        msg = (
            f"{settings.data_dir} holds the demo's made-up people, and the real services would be read into it. "
            f"Nothing was done. To work with the demo: `mentor-pipeline --demo {job.replace('_', '-')}`; for real, "
            "take another MENTOR_PIPELINE_DATA_DIR."
        )
        raise ConfigError(msg)


def prepare_home(settings: Settings) -> Path:
    """Make Dagster's home ready; the folder that DAGSTER_HOME names, else the one in the data folder.

    Our own home always gets the packaged `dagster.yaml`, so that an upgrade arrives. A home of the operator's is only
    given one when it has none. What is made is for its owner alone, and what an earlier version left open is shut.

    Raises:
        ConfigError: it cannot be made.
    """
    named = os.environ.get(_HOME)
    home = Path(named).absolute() if named else settings.dagster_home
    target = home / "dagster.yaml"
    packaged = packaged_instance_file().read_bytes()
    try:
        shut_data(settings)
        private_folder(settings.data_dir)
        private_folder(home)
        if not target.exists() or (not named and target.read_bytes() != packaged):
            new = home / f".dagster.yaml.{os.getpid()}"  # renamed, for the daemon may be reading the old one
            with private_files():
                new.write_bytes(packaged)
            new.replace(target)
    except OSError as error:
        variable = _HOME if named else "MENTOR_PIPELINE_DATA_DIR"
        msg = f"Dagster's home {home} cannot be used: {error.strerror}. Nothing was changed. Correct {variable}."
        raise ConfigError(msg) from error
    return home


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _storage_faults_told(settings: Settings) -> Iterator[None]:
    """Say in words when Dagster cannot write down what a run does: a full disk, a folder that is read-only."""
    try:
        yield
    except (sqlite3.OperationalError, SQLAlchemyOperationalError) as error:
        said = str(error).partition("\n")[0]
        msg = (
            f"Dagster's storage in {settings.dagster_home} cannot be read or written: is the disk full? What steps "
            f"wrote until then is kept, nothing is half written. Make room and run it again. (SQLite says: {said})"
        )
        raise MentorPipelineError(msg) from error


@contextmanager
def _instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    home = {_HOME: str(prepare_home(settings))}
    with private_files(), environment(home), dg.DagsterInstance.get() as instance:
        keep_engines(instance)
        yield instance


def _let_go(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Delete old runs here too: where commands are started by a timer, no sensor does it."""
    from mentor_pipeline.operator.retention import let_go  # noqa: PLC0415 - not needed by those who only look

    # What cannot be deleted now is tried again after the next run; a full disk is told by the run itself.
    with suppress(OSError, sqlite3.OperationalError, SQLAlchemyOperationalError):
        let_go(instance, settings, datetime.now(UTC), runs_at_once=_OLD_RUNS_AT_ONCE)


def _own_definitions() -> dg.Definitions:
    from mentor_pipeline.definitions import build_defs  # noqa: PLC0415 - every asset is imported only to run one

    return build_defs()


# -- watching a run -------------------------------------------------------------------------------------------------


@contextmanager
def _watched(
    instance: dg.DagsterInstance, run_id: str, log: _RunLog, watch: Callable[[Progress], None] | None
) -> Iterator[None]:
    """Read the run's events while it runs, and the last of them when it has ended.

    They are read from the instance, as the UI does, since the run itself has the main thread: only there Ctrl-C can
    end a step.
    """
    ended = threading.Event()

    def follow() -> None:
        cursor = None
        while True:
            is_last = ended.is_set()
            page = instance.get_records_for_run(run_id, cursor)
            cursor = page.cursor
            for record in page.records:
                log.add(record.event_log_entry)
            if watch is not None and page.records:
                watch(log.progress())
            if is_last and not page.has_more:
                return
            if not page.has_more:
                ended.wait(_POLL_SECONDS)

    thread = threading.Thread(target=follow, name="run-watcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _RunLog:
    """What a run's events say, added up."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = {name: StepOutcome(name) for name in steps}
        self._order: list[str] = []
        self._begun: dict[str, float] = {}
        self._current: str | None = None
        self._told = ""
        self._failures: list[Failure] = []
        self._checks: list[FailedCheck] = []
        self._warnings: list[str] = []
        self._is_interrupted = False

    def add(self, entry: dg.EventLogEntry) -> None:
        """Take in one event."""
        event = entry.dagster_event
        if event is None:
            self._add_message(entry)
            return
        step = event.step_key
        kind = event.event_type
        if kind is dg.DagsterEventType.STEP_START and step is not None:
            self._current, self._told = step, ""
            self._order.append(step)
            self._begun[step] = entry.timestamp
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION and step is not None:
            self._add_table(self._step(step), event.step_materialization_data.materialization)
        elif kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._add_check(event.asset_check_evaluation_data)
        elif kind is dg.DagsterEventType.STEP_SUCCESS and step is not None:
            self._end(step, "done", entry)
        elif kind is dg.DagsterEventType.STEP_FAILURE and step is not None:
            self._end(step, "failed", entry)
            self._add_failure(step, event)
        elif kind is dg.DagsterEventType.RESOURCE_INIT_FAILURE:
            self._add_failure("before the first step", event)
        elif kind is dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
            self._is_interrupted |= error is not None and error.cls_name == _INTERRUPTED  # outside of any step

    def progress(self) -> Progress:
        """Where the run is."""
        done = sum(step.status != "not_run" for step in self._steps.values())
        return Progress(done, len(self._steps), self._current, self._told)

    def outcome(self, job: str, run_id: str, *, success: bool, seconds: float) -> RunOutcome:
        """All of it."""
        not_run = [name for name in self._steps if name not in self._order]
        return RunOutcome(
            job=job,
            run_id=run_id,
            success=success,
            seconds=round(seconds, 3),
            steps=tuple(self._steps[name] for name in [*self._order, *sorted(not_run)]),
            failures=tuple(self._failures),
            failed_checks=tuple(self._checks),
            warnings=tuple(dict.fromkeys(self._warnings)),
            is_interrupted=self._is_interrupted,
        )

    def _step(self, name: str) -> StepOutcome:
        return self._steps.setdefault(name, StepOutcome(name))

    def _end(self, name: str, status: Literal["done", "failed"], entry: dg.EventLogEntry) -> None:
        step = self._step(name)
        step.status = status
        step.seconds = round(entry.timestamp - self._begun.get(name, entry.timestamp), 3)
        self._current = None

    def _add_message(self, entry: dg.EventLogEntry) -> None:
        text = entry.user_message.strip()
        if int(entry.level) == _WARNING_LEVEL:
            self._warnings.append(text)
        if text and (entry.step_key in {None, self._current}):
            self._told = text.splitlines()[0]

    def _add_table(self, step: StepOutcome, materialization: dg.AssetMaterialization) -> None:
        table = materialization.asset_key.path[-1]
        told = {label: _plain(value) for label, value in materialization.metadata.items()}
        told = {label: value for label, value in told.items() if value is not None}
        step.metadata[table] = {label: value for label, value in told.items() if not label.startswith("dagster/")}
        if ROW_COUNT in told:
            step.rows[table] = int(told[ROW_COUNT])
            self._told = f"{table}: {step.rows[table]:,} rows"
        if _ROWS_WRITTEN in told:
            step.written[table] = int(told[_ROWS_WRITTEN])

    def _add_check(self, check: dg.AssetCheckEvaluation) -> None:
        if check.passed:
            return
        tables = [value for value in check.metadata.values() if isinstance(value, dg.TableMetadataValue)]
        is_error = check.severity is dg.AssetCheckSeverity.ERROR
        self._checks.append(
            FailedCheck(
                asset=check.asset_key.path[-1],
                check=check.check_name,
                severity="error" if is_error else "warning",
                is_blocking=check.blocking is True and is_error,
                description=check.description or "it does not hold",
                rows=_records(tables[0]) if tables else (),
            )
        )

    def _add_failure(self, step: str, event: dg.DagsterEvent) -> None:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None and _is_dagsters(error.cls_name):
            error = error.cause
        if error is None:
            self._failures.append(Failure(step, "failed without saying why", is_expected=False))
        elif error.cls_name == _INTERRUPTED or _DUCKDB_INTERRUPTED in error.message:
            self._is_interrupted = True
        elif error.cls_name == _CHECK_FAILED:
            return  # the check itself says it better
        elif error.cls_name in _own_errors() | {dg.Failure.__name__}:
            self._failures.append(Failure(step, _without_class(error.message, error.cls_name)))
        else:
            self._failures.append(Failure(step, error.message.strip(), is_expected=False))


def _records(table: dg.TableMetadataValue) -> tuple[dict[str, Any], ...]:
    """The rows of a table of the catalog, with the columns in the order of its schema; Dagster sorts a row's."""
    names = [column.name for column in table.schema.columns]
    return tuple({name: record.data[name] for name in names} for record in table.records)


def _own_errors() -> set[str]:
    """Names of our own exceptions, whose text is written for an operator."""
    found, to_see = set(), [MentorPipelineError]
    while to_see:
        kind = to_see.pop()
        found.add(kind.__name__)
        to_see += kind.__subclasses__()
    return found


def _is_dagsters(name: str | None) -> bool:
    return name is not None and name.startswith("Dagster") and name != _INTERRUPTED


def _without_class(message: str, name: str | None) -> str:
    """An error's own words: Dagster writes the class in front of them."""
    return re.sub(rf"^[\w.]*{re.escape(name or '')}: ?", "", message.strip())


def _plain(value: object) -> Any:
    """A metadata value as text, number or JSON; None for what is no such thing (tables, schemas, references)."""
    inner = getattr(value, "value", None)
    return inner if isinstance(inner, str | int | float | bool | dict | list) else None


# -- importing files ------------------------------------------------------------------------------------------------


def run_import(
    path: Path,
    settings: Settings,
    warehouse: Warehouse,
    *,
    kind: FileKind | None = None,
    by: str,
    allow_shrink: bool = False,
    watch: Callable[[Progress], None] | None = None,
    definitions: dg.Definitions | None = None,
) -> ImportRun:
    """Import one file by the job `import_contacts`; a content that was imported before starts no run.

    Args:
        path: the file.
        settings: see `run_job`.
        warehouse: where the ledger is.
        kind: the kind that it must be; either when None.
        by: who imports it.
        allow_shrink: they say that it is the full list, however short.
        watch: see `run_job`.
        definitions: see `run_job`.

    Raises:
        FileRejectedError: it cannot be read, or is of the other kind; nothing was begun.
    """
    path = path.absolute()
    try:
        with opened(path, follow_links=True) as file:
            content = file.read()
    except OSError as error:
        what = "is no file" if error.errno == errno.ENOTSUP else f"cannot be read: {error.strerror}"
        msg = f"{path.name} {what}. Nothing was imported."
        raise FileRejectedError(msg) from error
    _require_kind(content, path.name, kind)
    sha256 = hashlib.sha256(content).hexdigest()
    del content
    known = _ledger_row(warehouse, sha256)
    if known is not None and known["status"] == "completed" and not (allow_shrink and known["is_partial"]):
        before = RunOutcome("import_contacts", known["run_id"] or "", success=True, seconds=0.0, steps=())
        return ImportRun(path.name, before, known, is_repeat=True)
    outcome = run_job(
        "import_contacts",
        settings,
        by=by,
        run_config=import_run_config(path, allow_shrink=allow_shrink),
        tags={SHA_TAG: sha256, FILE_TAG: steering_nothing(path.name)},
        watch=watch,
        definitions=definitions,
    )
    ledger = _ledger_row(warehouse, sha256)
    put_into = {"completed": "done", "rejected": "rejected"}.get(ledger["status"]) if ledger else None
    was_moved = put_into is not None and path.parent == settings.inbox_dir.absolute() and not path.exists()
    return ImportRun(path.name, outcome, ledger, path.parent / put_into if put_into and was_moved else None)


def _ledger_row(warehouse: Warehouse, sha256: str) -> Mapping[str, Any] | None:
    rows = warehouse.read_or_empty(LEDGER).filter(sha256=sha256)
    return rows.row(0, named=True) if rows.height else None


def run_inbox(
    settings: Settings,
    warehouse: Warehouse,
    *,
    by: str,
    watch: Callable[[Progress], None] | None = None,
    definitions: dg.Definitions | None = None,
    settle_seconds: float = SETTLE_SECONDS,
) -> InboxRun:
    """Do once what the inbox sensor does: import the files that are ready, put away those that are done with."""
    inbox = settings.inbox_dir
    private_folder(inbox.parent)
    first = {file.name: file for file in observe(inbox, {})}
    if not first:
        return InboxRun()
    time.sleep(settle_seconds)
    # Before the ledger: a run that ends between the two is then seen as ended, not as killed.
    live_runs = warehouse.live_runs()
    planned = plan(
        observe(inbox, first),
        warehouse.read_or_empty(LEDGER),
        first,
        datetime.now(UTC),
        live_runs=live_runs,
    )
    tidy(inbox, planned)
    imported = []
    for ready in planned.ready:
        path = inbox / ready.file.name
        imported.append(run_import(path, settings, warehouse, by=by, watch=watch, definitions=definitions))
        if imported[-1].outcome.is_interrupted:
            break
    return InboxRun(tuple(imported), planned.waiting, planned.done_with)


def _require_kind(content: bytes, name: str, wanted: FileKind | None) -> None:
    if wanted is None:
        return
    head = content[: 1 << 20]
    read_header(head, name, DOWNLOAD_AGAIN if wanted is FileKind.FAILURES else EXPORT_AGAIN)  # no CSV says so itself
    is_failures = kind_of(head, name) is FileKind.FAILURES
    if is_failures and wanted is not FileKind.FAILURES:
        msg = f"{name} lists rows that Givebutter refused. Nothing was imported. Use `mentor-pipeline import-failures`."
        raise FileRejectedError(msg)
    if not is_failures and wanted is FileKind.FAILURES:
        msg = (
            f"{name} is no list of refused rows: those files begin with a column ERRORS and end in -failed.csv. "
            "Nothing was imported. For an export of the contacts use `mentor-pipeline import-contacts`."
        )
        raise FileRejectedError(msg)
