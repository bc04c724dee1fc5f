"""Runs whose process is gone are ended; those that are alive, however long they take, are not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.resources.run_guard import PROCESS_TAG
from mentor_pipeline.sensors.housekeeping import GONE, end_abandoned, housekeeping
from tests.resources.other_process import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
    from mentor_pipeline.resources.warehouse import Warehouse

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(hours=3)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def under_way(instance: dg.DagsterInstance, process: str = "") -> str:
    tags = {PROCESS_TAG: process} if process else {}
    return instance.add_run(dg.DagsterRun("sync", status=dg.DagsterRunStatus.STARTED, tags=tags)).run_id


def begun(warehouse: Warehouse, run_id: str, at: datetime) -> None:
    row = {"id": run_id, "status": "running", "started_at": at}
    warehouse.upsert("sync_log", pl.DataFrame([row]))


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_without_its_lock_is_ended(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    run_id = under_way(instance)
    begun(warehouse, run_id, LONG_AGO)
    with locked(warehouse, run_id=run_id):
        assert end_abandoned(instance, warehouse, NOW) == []
    assert end_abandoned(instance, warehouse, NOW) == [run_id]
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE
    (failure,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert GONE in failure.message
    assert end_abandoned(instance, warehouse, NOW) == []


def test_a_run_that_began_just_now_or_waits_in_line_is_left_alone(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    begun(warehouse, under_way(instance), NOW - timedelta(seconds=5))
    under_way(instance)
    ended = instance.add_run(dg.DagsterRun("sync", status=dg.DagsterRunStatus.SUCCESS)).run_id
    begun(warehouse, ended, LONG_AGO)
    assert end_abandoned(instance, warehouse, NOW) == []


def test_the_run_of_a_command_ends_with_its_process(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    here, gone = socket.gethostname(), ended_process()
    mine = under_way(instance, f"{here}/{os.getpid()}")
    elsewhere = under_way(instance, f"not-{here}/{gone}")
    odd = under_way(instance, f"{here}/x")
    killed = under_way(instance, f"{here}/{gone}")
    assert end_abandoned(instance, warehouse, NOW) == [killed]
    unfinished = {run.run_id for run in instance.get_runs() if not run.is_finished}
    assert unfinished == {mine, elsewhere, odd}


def test_the_sensor_tells_what_it_did(
    duckdb_warehouse: DuckDBWarehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(duckdb_warehouse.path.parent))
    killed = under_way(instance, f"{socket.gethostname()}/{ended_process()}")
    context = dg.build_sensor_context(instance, resources={"warehouse": duckdb_warehouse})
    said = str(housekeeping.evaluate_tick(context).skip_message)
    assert said == f"Ended, as their process is gone: {killed}. Deleted the records of 0 runs older than 30 days."
    with locked(duckdb_warehouse), duckdb_warehouse.write():
        context = dg.build_sensor_context(instance, resources={"warehouse": duckdb_warehouse})
        assert "process is gone: none" in str(housekeeping.evaluate_tick(context).skip_message)
