"""Runs of jobs from the command line: what is told of them, and that they are on the instance that the UI shows."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.domain.contacts_csv import FileKind
from mentor_pipeline.errors import ConfigError, FileRejectedError, MentorPipelineError, WarehouseError
from mentor_pipeline.operator.imports import import_csv
from mentor_pipeline.operator.runs import (
    Progress,
    environment,
    prepare_home,
    require_keys,
    run_import,
    run_inbox,
    run_job,
)
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.run_guard import BY_TAG, RunGuard
from mentor_pipeline.sensors.inbox import utc_now
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings, packaged_instance_file
from mentor_pipeline.simulator import World
from tests.builders import program


@pytest.fixture
def settings(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Settings(data_dir=data_dir)


@dg.asset
def mentors(context: dg.AssetExecutionContext) -> pl.DataFrame:
    context.log.info("page 3 of 9")
    context.log.warning("Mentor 0042 has two sign-ups.")
    return pl.DataFrame({"year": [2025, 2025], "mn_id": ["1", "2"]})


@dg.asset_check(asset=mentors)
def shared_phones() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description="2 mentors share a phone.",
        metadata={"rows": dg.MetadataValue.table([dg.TableRecord({"mn_id": "1", "phone": "+17065550142"})])},
    )


@dg.asset_check(asset=mentors, blocking=True)
def mn_id_unique() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="Mentor 0042 is there twice.")


@dg.asset(deps=[mentors])
def mn_tasks() -> pl.DataFrame:
    raise WarehouseError("The disk is full. What was stored before is intact.") from KeyError("detail")


@dg.asset(deps=[mentors])
def signups() -> None:
    raise dg.Failure(description="Jotform said no. Nothing was written.", allow_retries=False)


@dg.asset(deps=[mentors])
def partner_matches() -> None:
    raise KeyError("phone")


@dg.asset(deps=[mn_tasks])
def mn_changes() -> None: ...


def built(data_dir: Path, *assets: Any, checks: Any = (), job: str = "rebuild") -> dg.Definitions:
    warehouse = DuckDBWarehouse(data_dir / "mentors.duckdb")
    guard = RunGuard(warehouse=warehouse, wait_s=0)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[dg.define_asset_job(job, selection=dg.AssetSelection.all())],
        resources={
            "warehouse": warehouse,
            "io_manager": WarehouseIOManager(year=2025, warehouse=warehouse, guard=guard),
        },
        executor=dg.in_process_executor,
    )


# -- what is told of a run -------------------------------------------------------------------------------------------


def test_a_run_tells_steps_rows_warnings_and_checks(settings: Settings, data_dir: Path) -> None:
    outcome = run_job("rebuild", settings, by="Ada", definitions=built(data_dir, mentors, checks=[shared_phones]))
    assert outcome.success
    first, second = outcome.steps
    assert (first.name, first.status, first.rows, first.written) == ("mentors", "done", {"mentors": 2}, {"mentors": 2})
    assert (second.name, second.status) == ("mentors_shared_phones", "done")
    assert outcome.warnings == ("Mentor 0042 has two sign-ups.",)
    (check,) = outcome.failed_checks
    assert (check.asset, check.check, check.severity, check.is_blocking) == (
        "mentors",
        "shared_phones",
        "warning",
        False,
    )
    assert check.description == "2 mentors share a phone."
    assert check.rows == ({"mn_id": "1", "phone": "+17065550142"},)
    assert outcome.metadata("mentors")["rows written"] == 2
    assert outcome.metadata("signups") == {}


def test_failures_are_told_in_our_own_words(settings: Settings, data_dir: Path) -> None:
    definitions = built(data_dir, mentors, mn_tasks, signups, partner_matches, mn_changes)
    outcome = run_job("rebuild", settings, by="Ada", definitions=definitions)
    assert not outcome.success
    told = {failure.step: failure for failure in outcome.failures}
    assert told["mn_tasks"].message == "The disk is full. What was stored before is intact."
    assert told["signups"].message == "Jotform said no. Nothing was written."
    assert told["mn_tasks"].is_expected
    assert told["signups"].is_expected
    assert not told["partner_matches"].is_expected
    assert "KeyError" in told["partner_matches"].message
    assert {step.name: step.status for step in outcome.steps} == {
        "mentors": "done",
        "mn_tasks": "failed",
        "signups": "failed",
        "partner_matches": "failed",
        "mn_changes": "not_run",
    }


def test_a_blocking_check_is_told_once(settings: Settings, data_dir: Path) -> None:
    definitions = built(data_dir, mentors, mn_changes, mn_tasks, checks=[mn_id_unique])
    outcome = run_job("rebuild", settings, by="Ada", definitions=definitions)
    assert not outcome.success
    assert outcome.failures == ()
    assert [(check.check, check.is_blocking) for check in outcome.failed_checks] == [("mn_id_unique", True)]
    assert [step.name for step in outcome.steps if step.status == "not_run"] == ["mn_changes", "mn_tasks"]


def test_an_interrupted_run_ends_as_a_run_that_was_stopped(settings: Settings, data_dir: Path) -> None:
    @dg.asset(deps=[mentors])
    def merge_base() -> None:
        signal.raise_signal(signal.SIGINT)

    @dg.asset(deps=[merge_base])
    def form_links() -> None: ...

    before = signal.getsignal(signal.SIGINT)
    outcome = run_job("rebuild", settings, by="Ada", definitions=built(data_dir, mentors, merge_base, form_links))
    assert outcome.is_interrupted
    assert not outcome.success
    assert outcome.failures == ()
    assert [(step.name, step.status) for step in outcome.steps] == [
        ("mentors", "done"),
        ("merge_base", "failed"),
        ("form_links", "not_run"),
    ]
    assert signal.getsignal(signal.SIGINT) is before
    (logged,) = DuckDBWarehouse(data_dir / "mentors.duckdb").read("sync_log").to_dicts()
    assert logged["status"] == "failed"


def test_a_run_that_is_interrupted_before_its_first_step_was_stopped_too(settings: Settings, data_dir: Path) -> None:
    class Stopped(dg.ConfigurableResource):  # type: ignore[type-arg] - it gives nothing
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            signal.raise_signal(signal.SIGINT)

    @dg.asset
    def merge_base(stopped: Stopped) -> None: ...

    definitions = dg.Definitions.merge(built(data_dir, merge_base), dg.Definitions(resources={"stopped": Stopped()}))
    outcome = run_job("rebuild", settings, by="Ada", definitions=definitions)
    assert (outcome.is_interrupted, outcome.success, outcome.failures) == (True, False, ())
    assert [step.status for step in outcome.steps] == ["not_run"]


def test_the_progress_is_told_while_the_run_goes_on(settings: Settings, data_dir: Path) -> None:
    seen: list[Progress] = []
    run_job("rebuild", settings, by="Ada", watch=seen.append, definitions=built(data_dir, mentors))
    assert seen[-1].done == seen[-1].total == 1
    assert seen[-1].told == "mentors: 2 rows"
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)


def test_a_run_is_on_the_instance_that_the_ui_shows(settings: Settings, data_dir: Path) -> None:
    outcome = run_job("rebuild", settings, by="Ada", definitions=built(data_dir, mentors))
    assert "DAGSTER_HOME" not in os.environ
    with environment({"DAGSTER_HOME": str(settings.dagster_home)}), dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags[BY_TAG] == "Ada"
        assert instance.get_latest_materialization_event(dg.AssetKey("mentors")) is not None


# -- before a run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, [JOTFORM_KEY, GIVEBUTTER_KEY]),
        ({JOTFORM_KEY: "key"}, [GIVEBUTTER_KEY]),
        ({GIVEBUTTER_KEY: "key", JOTFORM_KEY: "  "}, [JOTFORM_KEY]),
    ],
)
def test_a_job_without_its_keys_is_refused_before_anything_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: list[str]
) -> None:
    for key in (JOTFORM_KEY, GIVEBUTTER_KEY):
        monkeypatch.delenv(key, raising=False)
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=r"not set\. Nothing was read or changed") as refused:
        run_job("sync", settings, by="Ada")
    assert [key for key in (JOTFORM_KEY, GIVEBUTTER_KEY) if key in str(refused.value)] == named
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (JOTFORM_KEY, "SECRET\nX", "holds characters that no key has"),
        (GIVEBUTTER_KEY, "A B", "holds characters that no key has"),
        ("GIVEBUTTER_BASE_URL", "api.example.org", "expected an address like"),
        ("JOTFORM_BASE_URL", "https://user:word@example.org", "expected an address like"),
    ],
)
def test_a_key_or_address_that_cannot_be_is_refused_before_anything_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    for key in (JOTFORM_KEY, GIVEBUTTER_KEY):
        monkeypatch.setenv(key, "a-key")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=why) as refused:
        run_job("sync", settings, by="Ada")
    assert name in str(refused.value)
    assert not {"SECRET", "word"} & set(re.findall(r"\w+", str(refused.value)))
    assert not settings.data_dir.exists()


def test_a_disk_on_which_nothing_can_be_written_down_is_told(settings: Settings, data_dir: Path) -> None:
    home = prepare_home(settings)
    (home / "history" / "runs" / "index.db").mkdir(parents=True)  # as unusable as on a full disk
    with pytest.raises(MentorPipelineError, match="is the disk full"):
        run_job("rebuild", settings, by="Ada", definitions=built(data_dir, signups))


def test_a_pipe_is_not_waited_for(settings: Settings, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    with pytest.raises(FileRejectedError, match="is no file"):
        run_import(tmp_path / "pipe.csv", settings, warehouse, by="Ada")


def test_jobs_that_ask_no_service_need_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (JOTFORM_KEY, GIVEBUTTER_KEY):
        monkeypatch.delenv(key, raising=False)
    for job in ("rebuild", "export", "import_contacts", "apply_decisions"):
        require_keys(job)


def test_a_job_may_hold_a_service_that_it_does_not_ask(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(GIVEBUTTER_KEY, raising=False)

    @dg.asset
    def signups(givebutter: GivebutterResource) -> None: ...

    service = GivebutterResource(api_key=dg.EnvVar(GIVEBUTTER_KEY))
    definitions = dg.Definitions.merge(built(data_dir, signups), dg.Definitions(resources={"givebutter": service}))
    assert run_job("rebuild", settings, by="Ada", definitions=definitions).success
    assert GIVEBUTTER_KEY not in os.environ


def test_our_own_home_always_gets_the_packaged_settings(settings: Settings) -> None:
    home = prepare_home(settings)
    assert home == settings.dagster_home
    target = home / "dagster.yaml"
    assert target.read_bytes() == packaged_instance_file().read_bytes()
    target.write_text("telemetry: {enabled: true}\n", encoding="utf-8")
    prepare_home(settings)
    assert target.read_bytes() == packaged_instance_file().read_bytes()
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_a_home_of_the_operators_is_never_written_over(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    monkeypatch.setenv("DAGSTER_HOME", str(theirs))
    assert prepare_home(settings) == theirs
    target = theirs / "dagster.yaml"
    assert target.read_bytes() == packaged_instance_file().read_bytes()
    target.write_text("# mine\n", encoding="utf-8")
    prepare_home(settings)
    assert target.read_text(encoding="utf-8") == "# mine\n"
    assert not settings.dagster_home.exists()


def test_a_home_that_cannot_be_made_is_told(settings: Settings) -> None:
    settings.data_dir.write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match="Correct MENTOR_PIPELINE_DATA_DIR"):
        prepare_home(settings)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENTOR_PIPELINE_YEAR", "2025")
    monkeypatch.delenv("MENTOR_PIPELINE_OTHER", raising=False)
    with environment({"MENTOR_PIPELINE_YEAR": "2026", "MENTOR_PIPELINE_OTHER": "x"}):
        assert os.environ["MENTOR_PIPELINE_YEAR"] == "2026"
    assert os.environ["MENTOR_PIPELINE_YEAR"] == "2025"
    assert "MENTOR_PIPELINE_OTHER" not in os.environ


# -- files -----------------------------------------------------------------------------------------------------------


class FileConfig(dg.Config):
    source: str = "api"
    file: str | None = None
    allow_shrink: bool = False


def importing(settings: Settings) -> dg.Definitions:
    """A job `import_contacts` whose asset imports the file by the real function."""

    @dg.asset
    def raw_gb_full_contacts(
        context: dg.AssetExecutionContext, config: FileConfig, warehouse: dg.ResourceParam[DuckDBWarehouse]
    ) -> dg.MaterializeResult[None]:
        import_csv(
            Path(config.file or ""),
            warehouse=warehouse,
            program=program(),
            now=utc_now(),
            actor=context.run.tags[BY_TAG],
            run_id=context.run.run_id,
            allow_shrink=config.allow_shrink,
            inbox=settings.inbox_dir,
        )
        return dg.MaterializeResult()

    return built(settings.data_dir, raw_gb_full_contacts, job="import_contacts")


def exported(folder: Path, people: int = 3) -> Path:
    world = World.empty(program())
    for number in range(people):
        world.add_contact(first_name="Ada", last_name=f"Alder{number}", emails=[f"ada{number}@example.com"])
    folder.mkdir(parents=True, exist_ok=True)
    return world.export_csv(folder)


def test_a_file_is_imported_and_its_ledger_row_told(settings: Settings, tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    path = exported(tmp_path)
    done = run_import(path, settings, warehouse, kind=FileKind.CONTACTS, by="Ada", definitions=importing(settings))
    assert done.outcome.success
    assert done.ledger is not None
    assert (done.ledger["status"], done.ledger["rows"], done.ledger["uploaded_by"]) == ("completed", 3, "Ada")
    assert path.exists()


def test_a_content_that_was_imported_starts_no_run(settings: Settings, tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    path = exported(tmp_path)
    first = run_import(path, settings, warehouse, by="Ada", definitions=importing(settings))
    path = path.rename(tmp_path / "again.csv")
    again = run_import(path, settings, warehouse, by="Ben", definitions=importing(settings))
    assert (again.is_repeat, again.outcome.success, again.outcome.run_id) == (True, True, first.outcome.run_id)
    assert again.ledger == first.ledger
    assert [row["id"] for row in warehouse.read("sync_log").to_dicts()] == [first.outcome.run_id]


def test_a_part_of_the_contacts_is_imported_again_when_a_person_says_that_it_is_all(
    settings: Settings, tmp_path: Path
) -> None:
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    run_import(exported(tmp_path / "all", 9), settings, warehouse, by="Ada", definitions=importing(settings))
    path = exported(tmp_path / "part", 2)
    part = run_import(path, settings, warehouse, by="Ada", definitions=importing(settings))
    assert part.ledger is not None
    assert part.ledger["is_partial"]
    again = run_import(path, settings, warehouse, by="Ada", allow_shrink=True, definitions=importing(settings))
    assert again.ledger is not None
    assert (again.is_repeat, again.ledger["is_partial"]) == (False, False)


def test_a_file_of_the_other_kind_is_refused_before_a_run(settings: Settings, tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    refused = tmp_path / "contacts-2025-10-01-1-failed.csv"
    refused.write_text("ERRORS,id,external_id,first_name,last_name\nno,,0042,Ada,Alder\n", encoding="utf-8")
    with pytest.raises(FileRejectedError, match="mentor-pipeline import-failures"):
        run_import(refused, settings, warehouse, kind=FileKind.CONTACTS, by="Ada")
    with pytest.raises(FileRejectedError, match="mentor-pipeline import-contacts"):
        run_import(exported(tmp_path), settings, warehouse, kind=FileKind.FAILURES, by="Ada")
    with pytest.raises(FileRejectedError, match="cannot be read"):
        run_import(tmp_path / "none.csv", settings, warehouse, by="Ada")
    refused.write_text("ERRORS;id\nno;1\n", encoding="utf-8")
    with pytest.raises(FileRejectedError, match=r"separated by semicolons.*Download it from Givebutter again"):
        run_import(refused, settings, warehouse, kind=FileKind.FAILURES, by="Ada")
    assert not settings.data_dir.exists()


def test_the_inbox_is_emptied_once(settings: Settings) -> None:
    warehouse = DuckDBWarehouse(settings.warehouse_path)
    definitions = importing(settings)
    assert run_inbox(settings, warehouse, by="Ada", definitions=definitions).imported == ()
    path = exported(settings.inbox_dir)
    content = path.read_bytes()
    (settings.inbox_dir / "growing.csv.part").write_bytes(b"x")
    done = run_inbox(settings, warehouse, by="Ada", definitions=definitions, settle_seconds=0)
    assert [one.ledger["status"] for one in done.imported if one.ledger] == ["completed"]
    assert [file.name for file in done.waiting] == ["growing.csv.part"]
    assert (settings.inbox_dir / "done" / path.name).exists()
    assert [one.put_into for one in done.imported] == [settings.inbox_dir / "done"]
    path.with_name("again.csv").write_bytes(content)
    done = run_inbox(settings, warehouse, by="Ada", definitions=definitions, settle_seconds=0)
    assert done.imported == ()
    assert [(file.name, file.folder) for file in done.put_away] == [("again.csv", "done")]
