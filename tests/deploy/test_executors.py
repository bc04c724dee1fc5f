"""Where steps are executed, by the settings; and that a run whose steps are in other processes is still one run."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.executors import choose_executor
from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.resources.run_guard import RunGuard
from mentor_pipeline.settings import Settings
from mentor_pipeline.tables import TABLES
from tests.builders import YEAR, program

URL: Final = "postgresql://mentors:secret-word@db.example.org/mentors"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    for name in ("EXECUTOR", "DATABASE_URL", "CELERY_BROKER"):
        monkeypatch.delenv(f"MENTOR_PIPELINE_{name}", raising=False)
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(data_dir))


def chosen(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dg.ExecutorDefinition:
    for name, value in variables.items():
        monkeypatch.setenv(f"MENTOR_PIPELINE_{name}", value)
    return choose_executor(Settings.load(), RunGuard(warehouse=open_warehouse(Settings.load()), program=program()))


def test_one_machine_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch) is dg.in_process_executor


def test_what_several_machines_need_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as told:
        chosen(monkeypatch, EXECUTOR="celery")
    assert "MENTOR_PIPELINE_DATABASE_URL is not set" in str(told.value)
    assert "MENTOR_PIPELINE_CELERY_BROKER is not set" in str(told.value)
    assert "nothing was read or changed" in str(told.value)


@pytest.mark.parametrize(("executor", "package"), [("celery", "dagster_celery"), ("k8s", "dagster_k8s")])
def test_a_package_that_is_not_installed_is_named_with_what_installs_it(
    executor: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mentor_pipeline.executors.find_spec", lambda name: None if name == package else object())
    with pytest.raises(ConfigError) as told:
        chosen(monkeypatch, EXECUTOR=executor, DATABASE_URL=URL, CELERY_BROKER="amqp://mentors:secret-word@broker//")
    assert f"pip install 'mentor-pipeline[{executor}]'" in str(told.value)
    assert "secret-word" not in str(told.value)


def test_an_executor_that_there_is_not_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'in_process', 'multiprocess', 'celery' or 'k8s'"):
        chosen(monkeypatch, EXECUTOR="celry")


def two_tables() -> dg.JobDefinition:
    """A job of two steps that say who holds the writer lock; each process makes it anew."""
    settings = Settings.load()
    warehouse = open_warehouse(settings)
    guard = RunGuard(warehouse=warehouse, program=program())

    def table(name: str) -> Any:
        @dg.asset(name=name, io_manager_key="io_manager")
        def made(context: dg.AssetExecutionContext) -> pl.DataFrame:
            told = [(holder.run_id, holder.pid) for holder in warehouse.holders()]
            context.add_output_metadata({"holders": dg.MetadataValue.json(told), "process": os.getpid()})
            return pl.DataFrame(schema=TABLES[name].schema)

        return made

    defs = dg.Definitions(
        assets=[table("signups"), table("partner_matches")],
        jobs=[dg.define_asset_job("two_tables")],
        executor=choose_executor(settings, guard),
        resources={"io_manager": WarehouseIOManager(year=YEAR, warehouse=warehouse, guard=guard)},
    )
    return defs.resolve_job_def("two_tables")


@pytest.mark.slow
def test_the_process_that_hands_out_the_steps_holds_the_lock_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MENTOR_PIPELINE_EXECUTOR", "multiprocess")
    began = datetime.now(UTC)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        # Not `with dg.execute_job`: that sets the resources up once more, for a run that has ended.
        result = dg.execute_job(dg.reconstructable(two_tables), instance)
        assert result.success
        told = [
            event.step_materialization_data.materialization.metadata
            for event in result.get_asset_materialization_events()
        ]
    processes = {metadata["process"].value for metadata in told}
    assert len(processes) == 2
    assert [metadata["holders"].value for metadata in told] == [[[result.run_id, os.getpid()]]] * 2
    assert os.getpid() not in processes
    warehouse = open_warehouse(Settings.load())
    assert warehouse.holders() == []
    row = warehouse.read_or_empty("sync_log").row(0, named=True)
    assert (row["run_id"], row["status"]) == (result.run_id, "completed")
    assert row["started_at"] >= began
    assert warehouse.counts(["sync_log"])["sync_log"] == 1
