"""What is let go after a time, and what never is."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus

from mentor_pipeline.operator.import_files import import_files, newest_import_file
from mentor_pipeline.operator.retention import LetGo, let_go
from mentor_pipeline.operator.runs import environment, prepare_home
from mentor_pipeline.settings import Settings
from tests.operator.test_export_files import write

if TYPE_CHECKING:
    from collections.abc import Iterator

TODAY = datetime.now(UTC)
KEPT = timedelta(days=30)


def put(folder: Path, *names: str) -> None:
    """Files of a hundred days ago."""
    folder.mkdir(parents=True, exist_ok=True)
    old = (TODAY - timedelta(days=100)).timestamp()
    for name in names:
        (folder / name).write_text("x", encoding="utf-8")
        os.utime(folder / name, (old, old))


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


@dg.asset_check(asset=something)
def something_holds() -> dg.AssetCheckResult:
    """A check that tells of people."""
    return dg.AssetCheckResult(passed=True, metadata={"who": "Ada Elm"})


def test_what_checks_found_in_old_runs_goes_but_for_the_last(settings: Settings, instance: dg.DagsterInstance) -> None:
    for _ in range(4):
        dg.materialize([something, something_holds], instance=instance)

    def found() -> list[str]:
        history = instance.event_log_storage.get_asset_check_execution_history(something_holds.check_key, limit=9)
        return [one.run_id for one in history]

    runs = [record.run_id for record in instance.get_runs()]  # the newest first
    assert found() == runs
    later = datetime.now(UTC) + KEPT
    let_go(instance, settings, later, runs_at_once=2)
    assert found() == runs[:2]
    let_go(instance, settings, later, runs_at_once=9)
    assert found() == runs[:1]
    assert instance.get_latest_asset_check_evaluation_record(something_holds.check_key) is not None


def test_import_files_go_only_where_a_setting_says_so_and_the_newest_never(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    folder = settings.exports_dir
    first, second, third = (f"givebutter-import-2025-0{month}-01T120000Z" for month in (1, 2, 3))
    older = [f"{first}.csv", f"{first}.json", f"{second}.json", *(f"{second}-part{n}of11.csv" for n in range(1, 12))]
    newest = [f"{third}-part1of2.csv", f"{third}-part2of2.csv", f"{third}.json"]
    put(folder, *older, *newest, "notes of mine.csv")
    assert let_go(instance, settings, TODAY, runs_at_once=1).files == ()
    kept_long = settings.model_copy(update={"keep_exports_days": 101})
    assert let_go(instance, kept_long, TODAY, runs_at_once=1).files == ()
    kept_short = settings.model_copy(update={"keep_exports_days": 99})
    gone = let_go(instance, kept_short, TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == older
    assert sorted(path.name for path in folder.iterdir()) == sorted([*newest, "notes of mine.csv"])


def test_lists_of_text_messages_go_as_import_files_do(settings: Settings, instance: dg.DagsterInstance) -> None:
    folder = settings.exports_dir
    first, second, third = (f"text-messages-2025-0{month}-01T120000Z" for month in (1, 2, 3))
    older = [f"{first}.csv", f"{first}.json", f"{second}.csv", f"{second}.json"]
    newest = [f"{third}.csv", f"{third}.json"]
    put(folder, *older, *newest, NEWEST, f"{first}-copy.csv", "text-messages-of mine.csv")
    assert let_go(instance, settings, TODAY, runs_at_once=1).files == ()
    kept_short = settings.model_copy(update={"keep_exports_days": 99})
    gone = let_go(instance, kept_short, TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == older
    left = {path.name for path in folder.iterdir()}
    assert left == {*newest, NEWEST, f"{first}-copy.csv", "text-messages-of mine.csv"}


NEWEST = "givebutter-import-2025-03-01T120000Z.csv"


@pytest.mark.parametrize(
    "beside",
    [
        "givebutter-import-copy.csv",
        "givebutter-import-final.json",
        "givebutter-import-2025-03-01T120000Z (1).csv",
        "givebutter-import-2025-03-01T120000Z-copy.csv",
        "givebutter-import-2025-03-01T120000Z-part1.csv",
        "givebutter-import-2025-99-01T120000Z.csv",
        "givebutter-import-2026-03-01.csv",
        "givebutter-import-20260301T120000Z.csv",
        "givebutter-import-2026-03-01T120000Z.csv.bak.csv",
        "givebutter-import-2026-03-01T120000Z-part1of2.json",
    ],
)
def test_what_others_put_beside_the_newest_import_file_is_neither_it_nor_deleted(
    settings: Settings, instance: dg.DagsterInstance, beside: str
) -> None:
    put(settings.exports_dir, "givebutter-import-2025-01-01T120000Z.csv", NEWEST, beside)
    gone = let_go(instance, settings.model_copy(update={"keep_exports_days": 99}), TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == ["givebutter-import-2025-01-01T120000Z.csv"]
    assert sorted(path.name for path in settings.exports_dir.iterdir()) == sorted([NEWEST, beside])
    assert newest_import_file(settings.exports_dir) == settings.exports_dir / NEWEST


def test_links_are_not_followed_and_hinder_nothing(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = settings.exports_dir
    put(folder, "givebutter-import-2025-01-01T120000Z.csv", NEWEST)
    put(tmp_path / "elsewhere", "mine.csv")
    links = {
        "givebutter-import-2024-12-01T120000Z.csv": tmp_path / "nowhere.csv",
        "givebutter-import-2024-12-02T120000Z.csv": tmp_path / "elsewhere" / "mine.csv",
        "givebutter-import-2026-12-01T120000Z.csv": tmp_path / "nowhere.csv",
        "givebutter-import-2026-12-02T120000Z.csv": tmp_path / "elsewhere" / "mine.csv",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "givebutter-import-2026-12-03T120000Z.csv").mkdir()
    gone = let_go(instance, settings.model_copy(update={"keep_exports_days": 99}), TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == ["givebutter-import-2025-01-01T120000Z.csv"]
    assert {path.name for path in folder.iterdir() if path.is_symlink()} == set(links)
    assert (tmp_path / "elsewhere" / "mine.csv").exists()
    assert newest_import_file(folder) == folder / NEWEST


def test_a_file_that_cannot_be_deleted_is_told_and_hinders_no_other(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(settings.exports_dir, *(f"givebutter-import-2025-0{month}-01T120000Z.csv" for month in (1, 2, 3)))
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("givebutter-import-2025-01"):
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    gone = let_go(instance, settings.model_copy(update={"keep_exports_days": 99}), TODAY, runs_at_once=1).files
    assert [path.name for path in gone] == ["givebutter-import-2025-02-01T120000Z.csv"]
    assert "2025-01-01T120000Z.csv is old and could not be deleted: Permission denied." in caplog.text


def test_the_files_that_are_written_are_known_by_their_names(tmp_path: Path) -> None:
    (one,) = write(tmp_path).paths
    parts = write(tmp_path, everything=True, split=1, now=datetime(2025, 10, 1, 13, tzinfo=UTC)).paths
    about = tmp_path / f"{parts[0].name.partition('-part')[0]}.json"
    assert list(import_files(tmp_path).values()) == [[one, one.with_suffix(".json")], [about, *parts]]
    assert len(parts) == 3
    assert newest_import_file(tmp_path) == parts[0]


@pytest.mark.parametrize("days", [(TODAY.date() - date.min).days - 1, 999_999, 999_999_999, 10**12])
def test_more_days_than_there_were_keep_everything(settings: Settings, instance: dg.DagsterInstance, days: int) -> None:
    put(settings.exports_dir, "givebutter-import-2025-01-01T120000Z.csv", NEWEST)
    run(instance)
    kept = settings.model_copy(update={"keep_runs_days": days, "keep_exports_days": days})
    assert let_go(instance, kept, TODAY + KEPT, runs_at_once=9) == LetGo(0, ())
