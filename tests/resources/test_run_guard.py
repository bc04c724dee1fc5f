"""The writer lock and the runs' own log, by real Dagster runs and real processes."""

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.errors import WarehouseBusyError, WarehouseError
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse
from mentor_pipeline.resources.run_guard import BY_TAG, RunGuard, sync_type, triggered_by
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.resources.writer_lock import HOLDER_NAME, LOCK_NAME, Holder
from tests.resources.other_process import STARTED, locked, other_process


@pytest.fixture
def resources(warehouse: Warehouse) -> dict[str, object]:
    guard = RunGuard(warehouse=warehouse, wait_s=0)
    return {
        "warehouse": warehouse,
        "io_manager": WarehouseIOManager(year=2025, warehouse=warehouse, guard=guard),
    }


@dg.asset
def mentors() -> pl.DataFrame:
    return pl.DataFrame({"year": [2025, 2025], "mn_id": ["1", "2"]})


@dg.asset
def mn_tasks(mentors: pl.DataFrame) -> pl.DataFrame:
    return mentors.select("year", "mn_id")


@dg.asset
def signups(mentors: pl.DataFrame) -> pl.DataFrame:
    raise WarehouseError("Jotform said no. Nothing was changed.")


@dg.asset_check(asset=mentors, blocking=True)
def mn_id_unique(mentors: pl.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="Mentor 0042 is there twice.")


@dg.asset_check(asset=mentors)
def phones_valid(mentors: pl.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="Mentor 0042 has no phone.")


def logged(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.read("sync_log").sort("started_at").to_dicts()


# -- the run's row in sync_log -------------------------------------------------------------------------------------


def test_a_run_is_logged_while_it_runs_and_when_it_is_done(resources: Any, warehouse: Warehouse) -> None:
    during: list[dict[str, Any]] = []

    @dg.asset
    def partner_matches(mentors: pl.DataFrame, warehouse: dg.ResourceParam[Warehouse]) -> None:
        during.extend(logged(warehouse))

    result = dg.materialize([mentors, mn_tasks, partner_matches], resources=resources, tags={BY_TAG: "Ada"})
    assert [(row["id"], row["status"], row["finished_at"]) for row in during] == [(result.run_id, "running", None)]
    (row,) = logged(warehouse)
    assert (row["id"], row["run_id"]) == (result.run_id, result.run_id)
    assert (row["status"], row["sync_type"], row["triggered_by"]) == ("completed", "manual", "Ada")
    assert json.loads(row["records"]) == {"mentors": 2, "mn_tasks": 2}
    assert row["error_message"] is None
    assert row["duration_s"] == pytest.approx((row["finished_at"] - row["started_at"]).total_seconds())


def test_a_failing_step_is_logged_with_its_words(resources: Any, warehouse: Warehouse) -> None:
    assert not dg.materialize([mentors, signups, mn_tasks], resources=resources, raise_on_error=False).success
    (row,) = logged(warehouse)
    assert row["status"] == "failed"
    assert row["error_message"].startswith("signups: ")
    assert row["error_message"].endswith("Jotform said no. Nothing was changed.")
    assert json.loads(row["records"]) == {"mentors": 2, "mn_tasks": 2}


def test_a_failing_blocking_check_is_logged_with_its_words(resources: Any, warehouse: Warehouse) -> None:
    assert not dg.materialize([mentors, mn_id_unique, mn_tasks], resources=resources, raise_on_error=False).success
    (row,) = logged(warehouse)
    assert row["status"] == "failed"
    assert row["error_message"] == "mentors_mn_id_unique: check mn_id_unique of mentors: Mentor 0042 is there twice."
    assert json.loads(row["records"]) == {"mentors": 2}


def test_a_failing_check_that_does_not_block_fails_no_run(resources: Any, warehouse: Warehouse) -> None:
    assert dg.materialize([mentors, phones_valid], resources=resources).success
    assert logged(warehouse)[0]["status"] == "completed"


def test_a_resource_that_cannot_be_made_fails_the_run(resources: Any, warehouse: Warehouse) -> None:
    class Jotform(dg.ConfigurableResource):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            raise WarehouseError("There is no key. Set JOTFORM_API_KEY.")

    @dg.asset
    def raw_mn_signups(jotform: Jotform) -> None: ...

    resources["jotform"] = Jotform()
    assert not dg.materialize([raw_mn_signups], resources=resources, raise_on_error=False).success
    (row,) = logged(warehouse)
    assert row["status"] == "failed"
    assert row["error_message"].startswith("before the first step: ")
    assert row["error_message"].endswith("There is no key. Set JOTFORM_API_KEY.")


def test_a_canceled_run_is_logged_as_failed(resources: Any, warehouse: Warehouse) -> None:
    @dg.asset
    def partner_matches(context: dg.AssetExecutionContext) -> None:
        context.instance.report_run_canceling(context.run)

    dg.materialize([partner_matches], resources=resources)
    (row,) = logged(warehouse)
    assert (row["status"], row["error_message"]) == ("failed", "canceled by a person")


def test_the_first_sync_that_completes_is_the_initialization(resources: Any, warehouse: Warehouse) -> None:
    jobs = [
        dg.define_asset_job("sync", selection=dg.AssetSelection.assets("mentors", "mn_tasks")),
        dg.define_asset_job("failing", selection=dg.AssetSelection.assets("mentors", "signups")),
        dg.define_asset_job("import_contacts", selection=dg.AssetSelection.assets("mentors")),
    ]
    definitions = dg.Definitions(
        assets=[mentors, mn_tasks, signups], jobs=jobs, resources=resources, executor=dg.in_process_executor
    )
    for job, tags in [
        ("import_contacts", {"dagster/sensor_name": "inbox_sensor"}),
        ("failing", {}),
        ("sync", {"dagster/schedule_name": "hourly_sync"}),
        ("sync", {"dagster/schedule_name": "hourly_sync"}),
        ("sync", {BY_TAG: "Ada"}),
    ]:
        definitions.resolve_job_def(job).execute_in_process(tags=tags, raise_on_error=False)
    rows = logged(warehouse)
    assert [(row["sync_type"], row["status"]) for row in rows] == [
        ("csv_import", "completed"),
        ("manual", "failed"),
        ("initialization", "completed"),
        ("automated", "completed"),
        ("manual", "completed"),
    ]
    assert [row["triggered_by"] for row in rows[2:]] == ["hourly_sync", "hourly_sync", "Ada"]
    assert rows[0]["triggered_by"] == "inbox_sensor"


@pytest.mark.parametrize(
    ("job", "tags", "first_sync", "expected"),
    [
        ("sync", {}, True, "initialization"),
        ("sync", {}, False, "manual"),
        ("sync", {"dagster/schedule_name": "hourly_sync"}, False, "automated"),
        ("rebuild", {}, True, "rebuild"),
        ("apply_decisions", {}, False, "rebuild"),
        ("release_external_ids", {}, False, "archive"),
        ("contact_refresh", {"dagster/schedule_name": "daily_contact_refresh"}, False, "contact_refresh"),
        ("export", {}, False, "export"),
        ("archive_duplicates", {}, False, "archive"),
        ("restore_contacts", {}, False, "archive"),
        ("import_contacts", {"dagster/sensor_name": "inbox_sensor"}, True, "csv_import"),
    ],
)
def test_the_kind_of_a_run(job: str, tags: dict[str, str], *, first_sync: bool, expected: str) -> None:
    assert sync_type(job, tags, first_sync=first_sync) == expected


def test_a_person_comes_before_what_started_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert triggered_by({BY_TAG: "Ada", "dagster/schedule_name": "hourly_sync"}) == "Ada"
    monkeypatch.setenv("LOGNAME", "ben")
    assert triggered_by({}) == "ben"


def test_rows_of_killed_runs_are_closed_by_the_next(resources: Any, warehouse: Warehouse) -> None:
    killed = {"id": "killed", "status": "running", "sync_type": "automated", "started_at": STARTED}
    done = {"id": "done", "status": "completed", "sync_type": "automated", "started_at": STARTED}
    warehouse.append("sync_log", pl.DataFrame([killed, done]))
    dg.materialize([mentors], resources=resources)
    rows = {row["id"]: row for row in logged(warehouse)}
    assert (rows["killed"]["status"], rows["killed"]["error_message"]) == ("failed", "ended without finishing")
    assert rows["killed"]["finished_at"] > STARTED
    assert (rows["done"]["status"], rows["done"]["finished_at"]) == ("completed", None)


def test_the_row_of_another_years_run_is_not_closed(postgres_warehouse: PostgresWarehouse) -> None:
    running = {"id": "alive", "status": "running", "sync_type": "automated", "started_at": STARTED}
    postgres_warehouse.append("sync_log", pl.DataFrame([running]))
    guard = RunGuard(warehouse=postgres_warehouse, wait_s=0)
    io_manager = WarehouseIOManager(year=2025, warehouse=postgres_warehouse, guard=guard)
    with locked(postgres_warehouse, year=2024, run_id="alive"):
        assert dg.materialize([mentors], resources={"io_manager": io_manager}).success
    assert [row["status"] for row in logged(postgres_warehouse)] == ["running", "completed"]


# -- one run at a time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [mn_tasks, signups])
def test_the_lock_is_held_for_the_whole_run_and_no_longer(resources: Any, warehouse: Warehouse, last: Any) -> None:
    held: list[Holder] = []

    @dg.asset(name="sync_configs", deps=[last])
    def between(mentors: pl.DataFrame) -> None:
        held.extend(warehouse.holders())

    first = dg.asset(name="form_links")(lambda: held.extend(warehouse.holders()))
    result = dg.materialize(
        [first, mentors, last, between], resources=resources, tags={BY_TAG: "Ada"}, raise_on_error=False
    )
    assert held
    for seen in held:
        assert (seen.pid, seen.run_id, seen.by) == (os.getpid(), result.run_id, "Ada")
    assert warehouse.holders() == []


def test_a_guard_that_is_set_up_twice_holds_and_logs_once(warehouse: Warehouse) -> None:
    guard = RunGuard(warehouse=warehouse, wait_s=0)

    @dg.asset(name="mentors")
    def asks_for_the_guard_itself(guard: RunGuard) -> pl.DataFrame:
        return pl.DataFrame({"year": [2025], "mn_id": ["1"]})

    # Dagster sets a resource up for itself and again for each resource that it is nested in.
    io_manager = WarehouseIOManager(year=2025, warehouse=warehouse, guard=guard)
    result = dg.materialize([asks_for_the_guard_itself], resources={"guard": guard, "io_manager": io_manager})
    assert [(row["id"], row["status"]) for row in logged(warehouse)] == [(result.run_id, "completed")]
    assert warehouse.holders() == []


def test_a_run_that_waited_too_long_changes_nothing(resources: Any, warehouse: Warehouse) -> None:
    with other_process("lock", warehouse) as process:
        result = dg.materialize([mentors], resources=resources, raise_on_error=False)
        assert not result.success
        assert [holder.pid for holder in warehouse.holders()] == [process.pid]
    assert not warehouse.table_exists("mentors")
    assert not warehouse.table_exists("sync_log")


def test_a_run_gets_its_turn_when_the_other_is_killed(warehouse: Warehouse) -> None:
    guard = RunGuard(warehouse=warehouse, wait_s=60)
    io_manager = WarehouseIOManager(year=2025, warehouse=warehouse, guard=guard)
    with other_process("lock", warehouse) as process:
        threading.Timer(0.3, process.kill).start()
        assert dg.materialize([mentors], resources={"io_manager": io_manager}).success
    assert warehouse.counts(["mentors"]) == {"mentors": 2}


def test_who_waits_is_told_whom_for_and_gets_the_lock_next(warehouse: Warehouse) -> None:
    told: list[Holder | None] = []
    with other_process("lock", warehouse) as process:

        def told_once(other: Holder | None, _: float) -> None:
            told.append(other)
            process.kill()

        asked = datetime.now(UTC)
        with locked(warehouse, wait_s=60, on_wait=told_once, report_every_s=0.1):
            (current,) = warehouse.holders()
    first = told[0]
    assert first is not None
    assert (first.pid, first.run_id, first.job, first.by) == (process.pid, "0f3a9c21-run", "sync", "hourly_sync")
    assert (current.pid, current.run_id, current.job, current.by) == (os.getpid(), "run-1", "sync", "Ada")
    assert first.since < asked < current.since


def test_waiting_ends_with_the_holders_name(warehouse: Warehouse) -> None:
    with (
        other_process("lock", warehouse) as process,
        pytest.raises(WarehouseBusyError) as refused,
        locked(warehouse, wait_s=0.2),
    ):
        pass
    assert f"run 0f3a9c21 of job sync (process {process.pid}, hourly_sync, since" in str(refused.value)
    assert "Nothing was read or changed." in str(refused.value)


def test_two_runs_of_one_process_take_turns(warehouse: Warehouse) -> None:
    inside: list[str] = []

    def work(name: str) -> Callable[[], None]:
        def run() -> None:
            with locked(warehouse, run_id=name, wait_s=60):
                inside.append(name)
                (current,) = warehouse.holders()
                inside.append(current.run_id)

        return run

    threads = [threading.Thread(target=work(str(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside[::2] == inside[1::2]
    assert sorted(inside[::2]) == ["0", "1", "2", "3"]


def test_what_a_killed_holder_left_is_not_believed(warehouse: Warehouse) -> None:
    with other_process("lock", warehouse) as process:
        assert len(warehouse.holders()) == 1
        process.kill()
        process.wait()
        for _ in range(50):  # a server sees a moment later that its client is gone
            if not warehouse.holders():
                break
            time.sleep(0.1)
        assert warehouse.holders() == []


def test_asking_for_holders_makes_no_folder(duckdb_warehouse: DuckDBWarehouse, data_dir: Path) -> None:
    assert duckdb_warehouse.holders() == []
    assert not data_dir.exists()


def test_lock_files_are_for_their_owner_only(duckdb_warehouse: DuckDBWarehouse, data_dir: Path) -> None:
    with locked(duckdb_warehouse):
        assert [(data_dir / name).stat().st_mode & 0o777 for name in (LOCK_NAME, HOLDER_NAME)] == [0o600, 0o600]


def test_a_folder_that_cannot_be_made_is_said(duckdb_warehouse: DuckDBWarehouse, data_dir: Path) -> None:
    data_dir.write_text("")
    with (
        pytest.raises(WarehouseError, match=r"data folder .* cannot be made: .*Nothing was read or changed"),
        locked(duckdb_warehouse),
    ):
        pass


def test_the_guard_is_not_for_code_outside_of_runs(warehouse: Warehouse) -> None:
    guard = RunGuard(warehouse=warehouse)
    outside = dg.build_init_resource_context()
    with pytest.raises(dg.DagsterInvariantViolationError), guard.yield_for_execution(outside):
        pass
