"""The sensor that keeps Dagster's own house: runs whose process is gone are ended, records of old ones let go.

A run that was killed together with what started it (a power cut, a command that was killed) counts as under way for
Dagster, which starts no other meanwhile. Whether it really is, the writer lock tells, which ends with its process; and
for the run of a command that did not have it yet, the process itself.
"""

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES

from mentor_pipeline.errors import WarehouseError
from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.resources.run_guard import PROCESS_TAG
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import Settings

INTERVAL_S: Final = 300
RUNS_AT_ONCE: Final = 200
"""Each takes a twentieth of a second; no tick may take a minute."""
GRACE: Final = timedelta(minutes=1)
"""A run that began just now is left alone."""
GONE: Final = (
    "The process of this run is gone: it was killed, or the machine was switched off. What it had stored until then is "
    "whole, nothing is half written. Start the job again."
)


@dg.sensor(
    name="housekeeping",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone; deletes Dagster's records of old runs, and old exports where a "
    "setting says so.",
)
def housekeeping(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SkipReason:
    """Do both, and say what was done."""
    settings, now = Settings.load(), datetime.now(UTC)
    try:
        ended = end_abandoned(context.instance, warehouse, now)
    except WarehouseError as error:
        context.log.info("Whether runs were abandoned is looked at next time: %s", error)
        ended = []
    gone = let_go(context.instance, settings, now, runs_at_once=RUNS_AT_ONCE)
    said = [
        f"Ended, as their process is gone: {', '.join(ended) or 'none'}.",
        f"Deleted the records of {gone.runs} runs older than {settings.keep_runs_days} days.",
        *([f"Deleted old files: {', '.join(path.name for path in gone.files)}."] if gone.files else []),
    ]
    return dg.SkipReason(" ".join(said))


def end_abandoned(instance: dg.DagsterInstance, warehouse: Warehouse, now: datetime) -> list[str]:
    """Mark as failed the runs whose process is gone; their ids.

    Raises:
        WarehouseError: it cannot be told now.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES))
    without_lock = _without_lock(warehouse, now)
    abandoned = [run for run in runs if run.run_id in without_lock or _is_gone(run.tags.get(PROCESS_TAG, ""))]
    for run in abandoned:
        instance.report_run_failed(run, GONE)
    return [run.run_id for run in abandoned]


def _without_lock(warehouse: Warehouse, now: datetime) -> set[str]:
    """Runs that had the lock, have not ended, and no longer have it."""
    # The lock is looked at before and after: a run may begin, or end, in between.
    alive = warehouse.live_runs()
    log = warehouse.read_or_empty("sync_log", columns=["id", "status", "started_at"])
    alive |= warehouse.live_runs()
    begun = log.filter(pl.col("status").eq("running") & (pl.col("started_at") < now - GRACE))["id"]
    return set(begun) - alive


def _is_gone(process: str) -> bool:
    """True for a process of this machine that is no more; what cannot be told counts as alive."""
    host, _, number = process.rpartition("/")
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's
        pass
    return False
