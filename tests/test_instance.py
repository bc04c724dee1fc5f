"""The instance settings that ship with the package, as the installed Dagster understands them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster import DagsterInstance

from mentor_pipeline.settings import packaged_instance_file

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parent.parent
SQLITE = {"SqliteRunStorage", "SqliteEventLogStorage", "SqliteScheduleStorage"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(packaged_instance_file(), tmp_path / "dagster.yaml")
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(str(home)) as made:
        yield made


def test_there_is_one_file_for_clones_and_installed_packages() -> None:
    assert (TOP / "dagster.yaml").resolve() == packaged_instance_file().resolve()


def test_nothing_is_reported_to_anybody(instance: DagsterInstance) -> None:
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled


def test_one_run_at_a_time(instance: DagsterInstance) -> None:
    assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
    concurrency = instance.get_concurrency_config()
    assert concurrency.run_queue_config is not None
    assert concurrency.run_queue_config.max_concurrent_runs == 1
    assert concurrency.pool_config.default_pool_limit == 1
    assert str(concurrency.pool_config.pool_granularity) == "PoolGranularity.RUN"


def test_a_killed_run_does_not_block_the_others_for_ever(instance: DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_runtime_seconds == 2 * 60 * 60
    assert instance.run_monitoring_start_timeout_seconds == 300
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 300


def test_failed_assets_are_not_run_again_by_the_daemon(instance: DagsterInstance) -> None:
    assert not instance.run_retries_enabled
    assert not instance.run_retries_retry_on_asset_or_op_failure


def test_ticks_are_not_kept_for_ever(instance: DagsterInstance) -> None:
    kept = {kind: kept["purge_after_days"] for kind, kept in instance.get_settings("retention").items()}
    assert kept == {
        "schedule": {"started": 400, "skipped": 30, "success": 400, "failure": 400},
        "sensor": {"started": 90, "skipped": 3, "success": 90, "failure": 90},
    }


@dg.job
def trivial() -> None:
    dg.op(name="nothing")(lambda: None)()


def test_runs_are_kept_in_the_home(home: Path) -> None:
    with DagsterInstance.from_config(str(home)) as instance:
        run_id = trivial.execute_in_process(instance=instance).run_id
    with DagsterInstance.from_config(str(home)) as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        assert {type(storage).__name__ for storage in storages} == SQLITE
        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_success


def test_the_code_location_has_one_name_wherever_it_is_started() -> None:
    """Another name would reset what Dagster knows of the schedules and sensors."""
    (load,) = yaml.safe_load((TOP / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]["project"]
    assert load["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }
