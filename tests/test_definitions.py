"""The code location as Dagster loads it: what is there, under which keys, and how fast."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import dagster as dg
import pytest

from mentor_pipeline.definitions import build_defs
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

GROUPS: Final = {
    "jotform": {"raw_mn_signups", "raw_mn_funds_setup", "raw_mn_training_signup", "raw_mn_partner_preference"},
    "givebutter": {"raw_gb_campaign_members", "raw_gb_full_contacts", "raw_mn_gb_contacts"},
    "mentors": {
        *("signups", "form_links", "contact_matches", "contact_links", "mentors", "mn_tasks", "mentor_history"),
        *("mn_changes", "partner_matches"),
    },
    "quality": {"sync_conflicts", "sync_errors", "sync_warnings", "duplicate_gb_contacts"},
    "outreach": {"outreach_messages"},
    "export": {"mn_gb_import", "mn_gb_import_held", "gb_import_file"},
    "upkeep": {"contact_archive_plan", "contact_release_plan"},
    "ledgers": {"operator_actions"},
}
JOBS: Final = {
    *("sync", "export", "import_contacts", "contact_refresh", "rebuild", "archive_duplicates", "restore_contacts"),
    *("apply_decisions", "release_external_ids", "undo_releases", "push_tags"),
}
BLOCKING: Final = {
    *("row_count_not_collapsed", "required_columns", "mn_id_is_unique", "phones_are_e164"),
    *("external_id_is_unique_and_free", "import_file_is_valid"),
}
LIMIT_S: Final = 2.0


@pytest.fixture
def variables(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment without keys, with a data folder of its own."""
    for name in [name for name in os.environ if name.startswith(("MENTOR_PIPELINE_", "JOTFORM_", "GIVEBUTTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(data_dir))
    monkeypatch.setenv("JOTFORM_API_KEY", "")
    monkeypatch.setenv("GIVEBUTTER_API_KEY", "")
    return dict(os.environ)


@pytest.fixture
def defs(variables: dict[str, str]) -> dg.Definitions:
    assert variables
    return build_defs()


@pytest.fixture
def graph(defs: dg.Definitions) -> AssetGraph:
    return defs.resolve_asset_graph()


def test_it_loads_whole_and_without_touching_anything(defs: dg.Definitions, data_dir: Path) -> None:
    dg.Definitions.validate_loadable(defs)
    assert not data_dir.exists()


def test_assets_are_those_of_the_architecture(graph: AssetGraph) -> None:
    found: dict[str, set[str]] = {}
    for key in graph.materializable_asset_keys:
        found.setdefault(str(graph.get(key).group_name), set()).add(key.to_user_string())
    assert found == GROUPS


def test_what_runs_note_is_shown_but_not_computed(graph: AssetGraph) -> None:
    ledgers = {key.to_user_string() for key in graph.external_asset_keys if graph.get(key).group_name == "ledgers"}
    assert {"csv_import_log", "contact_archive_log", "tag_log", "sync_log", "sync_configs"} <= ledgers


def test_every_asset_tells_what_it_is(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        node, name = graph.get(key), key.to_user_string()
        assert node.description, name
        assert node.owners, name
        assert node.kinds, name
        assert node.metadata.get("dagster/column_schema"), name


def test_column_schemas_are_the_tables(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        name = key.to_user_string()
        if name not in TABLES:
            assert name == "gb_import_file"
            continue
        schema = graph.get(key).metadata.get("dagster/column_schema")
        assert isinstance(schema, dg.TableSchema)
        assert [column.name for column in schema.columns] == [column.name for column in TABLES[name].columns]
        assert all(column.description for column in schema.columns), name


def test_every_computed_asset_has_a_reference_to_its_code(graph: AssetGraph) -> None:
    for key in graph.materializable_asset_keys:
        assert "dagster/code_references" in graph.get(key).metadata, key


def test_jobs_are_those_of_the_architecture(defs: dg.Definitions) -> None:
    own = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert own == JOBS


@pytest.mark.parametrize(("job", "computes_file"), [("sync", False), ("export", True), ("rebuild", False)])
def test_only_the_export_writes_a_file(defs: dg.Definitions, job: str, computes_file: bool) -> None:
    keys = {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.selected_asset_keys}
    assert ("gb_import_file" in keys) is computes_file


def test_a_rebuild_reads_no_source(defs: dg.Definitions) -> None:
    keys = {key.to_user_string() for key in defs.resolve_job_def("rebuild").asset_layer.selected_asset_keys}
    assert not keys & (GROUPS["jotform"] | {"raw_gb_campaign_members", "raw_gb_full_contacts"})
    assert {"signups", "mentors", "mn_gb_import"} <= keys


def test_decisions_are_recorded_before_what_they_lead_to(defs: dg.Definitions, graph: AssetGraph) -> None:
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    recording = {job.name for job in jobs if dg.AssetKey("operator_actions") in job.asset_layer.selected_asset_keys}
    assert recording == {"apply_decisions"}
    after = {key.to_user_string() for key in graph.get(dg.AssetKey("operator_actions")).child_keys}
    assert {"contact_matches", "mentors", "sync_conflicts", "sync_errors", "sync_warnings"} <= after


def test_runs_use_one_process(defs: dg.Definitions) -> None:
    assert {job.executor_def for job in defs.resolve_all_job_defs()} == {dg.in_process_executor}


def test_what_stops_a_run_and_what_only_warns(graph: AssetGraph) -> None:
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == BLOCKING
    for key in graph.asset_check_keys:
        assert graph.get(key).description, key


def test_schedules_keep_the_events_time(defs: dg.Definitions) -> None:
    schedules = {one.name: one for one in defs.schedules or () if isinstance(one, dg.ScheduleDefinition)}
    assert {name: one.cron_schedule for name, one in schedules.items()} == {
        "hourly_sync": "0 * * * *",
        "daily_contact_refresh": "30 4 * * *",
    }
    assert {one.execution_timezone for one in schedules.values()} == {"America/New_York"}
    assert {one.default_status for one in schedules.values()} == {dg.DefaultScheduleStatus.STOPPED}


def test_where_it_is_wanted_schedules_and_the_inbox_run_by_themselves(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert variables
    monkeypatch.setenv("MENTOR_PIPELINE_SCHEDULES_ON", "true")
    defs = build_defs()
    assert {one.default_status for one in defs.schedules or () if isinstance(one, dg.ScheduleDefinition)} == {
        dg.DefaultScheduleStatus.RUNNING
    }
    statuses = {one.name: one.default_status for one in defs.sensors or ()}
    assert statuses == dict.fromkeys(
        ("inbox_sensor", "run_failure_alert", "failed_check_alert", "waiting_alert", "housekeeping"),
        dg.DefaultSensorStatus.RUNNING,
    )


@pytest.mark.parametrize("schedule", ["hourly_sync", "daily_contact_refresh"])
def test_a_schedule_leaves_out_a_time_while_its_last_run_goes_on(
    defs: dg.Definitions, schedule: str, data_dir: Path
) -> None:
    there = defs.resolve_schedule_def(schedule)
    data_dir.mkdir()
    with dg.DagsterInstance.local_temp(str(data_dir)) as instance:

        def tick() -> dg.RunRequest | dg.SkipReason:
            answer = there(dg.build_schedule_context(instance=instance))
            assert isinstance(answer, dg.RunRequest | dg.SkipReason)
            return answer

        assert isinstance(tick(), dg.RunRequest)
        run = instance.create_run_for_job(defs.resolve_job_def(there.job_name), status=dg.DagsterRunStatus.STARTED)
        skipped = tick()
        assert isinstance(skipped, dg.SkipReason)
        assert run.run_id in str(skipped.skip_message)
        instance.report_run_canceled(run)
        assert isinstance(tick(), dg.RunRequest)


def test_loading_takes_less_than_two_seconds(variables: dict[str, str]) -> None:
    """Processor time of a whole process, the best of three; where other tests slow it down, so is importing Dagster."""

    def seconds(code: str) -> float:
        command = [sys.executable, "-c", f"import time; {code}; print(time.process_time())"]
        told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)  # noqa: S603
        return float(told.stdout.splitlines()[-1])

    pairs = [
        (seconds("import dagster"), seconds("import mentor_pipeline.definitions as d; d.defs()")) for _ in range(3)
    ]
    assert min(own for _, own in pairs) < max(LIMIT_S, 2.5 * min(dagster for dagster, _ in pairs)), pairs
