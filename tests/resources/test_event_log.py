"""The event log that keeps its engines stores what Dagster's own stores, and reads what that wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterInstance
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from mentor_pipeline.resources.event_log import keep_engines

if TYPE_CHECKING:
    from pathlib import Path


@dg.asset
def mentors() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"dagster/row_count": 3})


@dg.asset_check(asset=mentors)
def has_rows() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def run_on(instance: DagsterInstance) -> str:
    defs = dg.Definitions(assets=[mentors], asset_checks=[has_rows], jobs=[dg.define_asset_job("sync")])
    return defs.resolve_job_def("sync").execute_in_process(instance=instance).run_id


def kinds(instance: DagsterInstance, run_id: str) -> list[str]:
    return [entry.dagster_event.event_type_value for entry in instance.all_logs(run_id) if entry.dagster_event]


def test_both_write_and_read_the_same_files(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as ours, DagsterInstance.local_temp(str(tmp_path)) as dagsters:
        keep_engines(ours)
        by_us, by_dagster = run_on(ours), run_on(dagsters)
        assert kinds(ours, by_us) == kinds(dagsters, by_us) == kinds(ours, by_dagster)
        assert "ASSET_CHECK_EVALUATION" in kinds(dagsters, by_us)
        for instance in (ours, dagsters):
            event = instance.get_latest_materialization_event(dg.AssetKey("mentors"))
            assert event is not None
            assert event.run_id == by_dagster


def test_no_event_waits_for_the_disk_and_none_can_damage_the_file(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        keep_engines(instance)
        storage = instance.event_log_storage
        assert isinstance(storage, SqliteEventLogStorage)
        for connecting in (storage.index_connection(), storage.run_connection(run_on(instance))):
            with connecting as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_events_kept_elsewhere_are_left_alone() -> None:
    with DagsterInstance.ephemeral() as instance:
        before = type(instance.event_log_storage)
        keep_engines(instance)
        assert type(instance.event_log_storage) is before
        assert "STEP_SUCCESS" in kinds(instance, run_on(instance))
