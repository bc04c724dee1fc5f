"""What every writing run does around its steps: take the writer lock, and keep its row in `sync_log`.

Dagster sets resources up before the first step and tears them down after the last, also when steps fail; that frame is
all that is used here. What a run did is read from its own events, so no asset has to report it. The lock itself is in
the `Warehouse`; alerts on failed runs belong to the sensors.
"""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import MentorPipelineError, WarehouseError, steering_nothing
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.resources.writer_lock import Holder
from mentor_pipeline.settings import ProgramYear

BY_TAG: Final = "mentor_pipeline/by"
"""Run tag with the person who started the run."""

PROCESS_TAG: Final = "mentor_pipeline/process"
"""Run tag with host and process, `host/4711`, of a command that is its run's process."""

ROW_COUNT: Final = "dagster/row_count"
"""Materialization metadata with the number of rows a table has."""

SCHEDULE_TAG: Final = "dagster/schedule_name"
"""Run tag with the schedule that started the run."""

_SENSOR_TAG: Final = "dagster/sensor_name"
_JOB_TYPES: Final[Mapping[str, str]] = {
    "import_contacts": "csv_import",
    "contact_refresh": "contact_refresh",
    "rebuild": "rebuild",
    "apply_decisions": "rebuild",
    "export": "export",
    "archive_duplicates": "archive",
    "restore_contacts": "archive",
    "release_external_ids": "archive",
    "undo_releases": "archive",
    "push_tags": "archive",
}


class RunGuard(dg.ConfigurableResource["RunGuard"]):
    """Holds the writer lock for the whole run and writes its `sync_log` row.

    The IO manager depends on it; nothing else needs to. Sensors and readers never take it.

    Attributes:
        warehouse: where the lock and `sync_log` are.
        program: the year that is locked, and whose settings are kept in `sync_configs`; none where there is no year.
        wait_s: how long to wait in line for other runs.
    """

    warehouse: dg.ResourceDependency[Warehouse]
    program: dg.ResourceDependency[ProgramYear | None] = None  # type: ignore[assignment]
    wait_s: float = 3600.0

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["RunGuard"]:
        """Guard one run.

        Raises:
            WarehouseBusyError: another run held the lock all the time; this one changed nothing.
            WarehouseError: this is a step of a run whose process is gone.
        """
        run, instance, log = context.run, context.instance, context.log
        if run is None or instance is None or log is None:
            msg = "RunGuard guards Dagster runs; code outside of runs uses the warehouse's writer_lock."
            raise dg.DagsterInvariantViolationError(msg)
        if run.run_id in self.warehouse.live_runs():
            # Dagster sets a resource up once for every resource it is nested in; the first holds the lock for all.
            # Where steps are executed in other processes, the one that hands them out holds it.
            yield self
            return
        if not self.warehouse.read_or_empty("sync_log", columns=["id"]).filter(id=run.run_id).is_empty():
            # A run begins once. The process that held the lock for it was killed, and this is a step left over. It does
            # not wait in line: the worker it is on may be needed by the run that has the lock.
            msg = (
                f"Run {run.run_id[:8]} has begun before, in a process that is gone: this step was left over and not "
                "begun. Nothing was read or changed. Start the job again."
            )
            raise WarehouseError(msg)
        with self.around_steps(run, instance, log):
            yield self

    @contextmanager
    def around_steps(
        self, run: dg.DagsterRun, instance: dg.DagsterInstance, log: dg.DagsterLogManager
    ) -> Iterator[None]:
        """Hold the writer lock for a run, and keep its row in `sync_log`.

        Raises:
            WarehouseBusyError: another run held the lock all the time; this one changed nothing.
        """
        year, by = self.program.year if self.program else 0, triggered_by(run.tags)

        def report(other: Holder | None, waited: float) -> None:
            log.info("Waiting for the warehouse since %.0f s: %s", waited, other or "another run is starting")

        with self.warehouse.writer_lock(
            year=year, run_id=run.run_id, job=run.job_name, by=by, wait_s=self.wait_s, on_wait=report
        ):
            row = self._begin(run, by)
            try:
                yield
            finally:
                self._end(row, instance)

    def _begin(self, run: dg.DagsterRun, by: str) -> dict[str, Any]:
        """Write the row of a run that starts, and close the rows of runs that were killed."""
        now = datetime.now(UTC)
        with self.warehouse.write() as transaction:
            log = transaction.read_or_empty("sync_log")
            initialized = pl.col("sync_type").eq("initialization") & pl.col("status").eq("completed")
            row: dict[str, Any] = {
                "id": run.run_id,
                "sync_type": sync_type(run.job_name, run.tags, first_sync=log.filter(initialized).is_empty()),
                "status": "running",
                "triggered_by": by,
                "started_at": now,
                "run_id": run.run_id,
            }
            # Who holds no lock is not running, whatever the log says.
            alive = {run.run_id, *self.warehouse.live_runs()}
            left = log.filter(pl.col("status").eq("running") & ~pl.col("id").is_in(alive)).with_columns(
                status=pl.lit("failed"), finished_at=pl.lit(now), error_message=pl.lit("ended without finishing")
            )
            transaction.upsert("sync_log", left)
            transaction.upsert("sync_log", pl.DataFrame([row]))
            if self.program is not None:
                transaction.replace("sync_configs", self.program.as_rows(), year=self.program.year)
        return row

    def _end(self, row: dict[str, Any], instance: dg.DagsterInstance) -> None:
        """Complete the row of a run by what its events say."""
        now = datetime.now(UTC)
        failures = failures_of(instance, row["id"])
        if events_of(instance, row["id"], dg.DagsterEventType.RUN_CANCELING):
            failures.append("canceled by a person")
        row |= {
            "status": "failed" if failures else "completed",
            "finished_at": now,
            "duration_s": (now - row["started_at"]).total_seconds(),
            "records": to_json(_row_counts(instance, row["id"])),
            "error_message": steering_nothing("\n".join(failures)) or None,
        }
        self.warehouse.upsert("sync_log", pl.DataFrame([row]))


def triggered_by(tags: Mapping[str, str]) -> str:
    """Who or what started a run, else the user of this process."""
    return named_starter(tags) or getpass.getuser()


def named_starter(tags: Mapping[str, str]) -> str | None:
    """Person, schedule or sensor that a run's tags name as the one who started it."""
    return next((tags[tag] for tag in (BY_TAG, SCHEDULE_TAG, _SENSOR_TAG) if tag in tags), None)


def sync_type(job: str, tags: Mapping[str, str], *, first_sync: bool) -> str:
    """Kind of a run in `sync_log`: by its job, and for a sync by whether it is the first ever or a schedule's."""
    if job in _JOB_TYPES:
        return _JOB_TYPES[job]
    if job == "sync" and first_sync:
        return "initialization"
    return "automated" if SCHEDULE_TAG in tags else "manual"


def events_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    """Events of one kind of a run, oldest first."""
    entries = instance.all_logs(run_id, of_type=kind)
    return [entry.dagster_event for entry in entries if entry.dagster_event is not None]


def _row_counts(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """Rows by table, of the tables that a run stored."""
    counts: dict[str, object] = {}
    for event in events_of(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION):
        materialization = event.step_materialization_data.materialization
        if ROW_COUNT in materialization.metadata:
            counts[materialization.asset_key.path[-1]] = materialization.metadata[ROW_COUNT].value
    return counts


def failures_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What went wrong in a run, one line each: resources, steps, failed blocking checks in their own words."""
    checks: dict[str | None, list[str]] = {}
    for event in events_of(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        check = event.asset_check_evaluation_data
        if not check.passed and check.blocking:
            words = f"check {check.check_name} of {check.asset_key.to_user_string()}: {check.description or 'failed'}"
            checks.setdefault(event.step_key, []).append(words)
    lines = [
        f"before the first step: {words_of(event)}"
        for event in events_of(instance, run_id, dg.DagsterEventType.RESOURCE_INIT_FAILURE)
    ]
    for event in events_of(instance, run_id, dg.DagsterEventType.STEP_FAILURE):
        told = checks.get(event.step_key) or [words_of(event)]
        lines += [f"{event.step_key}: {words}" for words in told]
    return lines


def words_of(event: dg.DagsterEvent) -> str:
    """What the exception of a failure said, without Dagster's own around it."""
    error: Any = getattr(event.event_specific_data, "error", None)
    if error is None:
        return "failed"
    if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return "interrupted"
    cause = error.cause or error
    # Our own errors are sentences for people; of any other the class says something, too.
    return str(cause.message).strip().removeprefix(f"{MentorPipelineError.__module__}.{cause.cls_name}: ")
