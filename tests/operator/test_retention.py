"""What is let go after a time, and what never is."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus

from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.operator.runs import environment, prepare_home
from mentor_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = datetime.now(UTC)
KEPT = timedelta(days=30)


@dg.asset
def something() -> None:
    """An asset, so that a run has events."""


@pytest.fixture
def settings(data_dir: Path) -> Iterator[Settings]:
    variables = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_KEEP_RUNS_DAYS": "30",
        "MENTOR_PIPELINE_KEEP_EXPORTS_DAYS": "",
        "DAGSTER_HOME": str(data_dir / "dagster_home"),
    }
    with environment(variables):
        yield Settings.load()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    prepare_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance


def run(instance: dg.DagsterInstance) -> str:
    return dg.materialize([something], instance=instance).run_id


def run_files(settings: Settings) -> set[str]:
    return {path.stem for path in (settings.dagster_home / "history" / "runs").glob("*.db")} - {"index"}


def test_old_runs_go_with_their_files_and_their_assets_stay(settings: Settings, instance: dg.DagsterInstance) -> None:
    runs = [run(instance) for _ in range(3)]
    under_way = instance.add_run(dg.DagsterRun("something", status=DagsterRunStatus.STARTED)).run_id
    assert set(runs) <= run_files(settings)
    assert let_go(instance, settings, TODAY + KEPT - timedelta(minutes=5), runs_at_once=9).runs == 0
    later = datetime.now(UTC) + KEPT
    assert let_go(instance, settings, later, runs_at_once=2).runs == 2
    assert [record.run_id for record in instance.get_runs()] == [under_way, runs[2]]
    assert let_go(instance, settings, later, runs_at_once=2).runs == 1
    assert let_go(instance, settings, later, runs_at_once=2).runs == 0
    assert [record.run_id for record in instance.get_runs()] == [under_way]
    assert run_files(settings) <= {under_way}
    assert instance.get_latest_materialization_event(dg.AssetKey("something")) is not None


def test_import_files_go_only_where_a_setting_says_so_and_the_newest_never(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    folder = settings.exports_dir
    folder.mkdir(parents=True)
    names = [f"givebutter-import-2025-0{month}-01T120000Z" for month in (1, 2, 3)]
    newest = [f"{names[2]}-part1of2", f"{names[2]}-part2of2", names[2]]
    for name in [*names[:2], *newest, "notes of mine"]:
        for end in (".csv", ".json"):
            path = folder / f"{name}{end}"
            path.write_text("x", encoding="utf-8")
            old = (TODAY - timedelta(days=100)).timestamp()
            os.utime(path, (old, old))
    assert let_go(instance, settings, TODAY, runs_at_once=1).files == ()
    kept_long = settings.model_copy(update={"keep_exports_days": 101})
    assert let_go(instance, kept_long, TODAY, runs_at_once=1).files == ()
    kept_short = settings.model_copy(update={"keep_exports_days": 99})
    gone = let_go(instance, kept_short, TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == [f"{name}{end}" for name in names[:2] for end in (".csv", ".json")]
    assert sorted({path.stem for path in folder.iterdir()}) == sorted([*newest, "notes of mine"])
