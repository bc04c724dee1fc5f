"""Folders about real people are for their owner alone, and what somebody shares on purpose stays shared."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.operator.demo import serving, working_in
from mentor_pipeline.operator.folders import private_folder, said_of_open
from mentor_pipeline.operator.inbox import observe, put_away
from mentor_pipeline.operator.runs import prepare_home, run_inbox, run_job
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import Settings
from tests.small_year import store_small_year

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _usual_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(folder: Path, mode: int = 0o755) -> Path:
    """A folder as an earlier version made it, or as somebody wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    return folder


def test_the_demo_makes_no_folder_that_others_can_read(data_dir: Path) -> None:
    demo = data_dir / "demo"
    with working_in(demo), serving(demo, {}):
        files = [path for path in demo.iterdir() if path.is_file()]
        assert len(files) == 3
        assert {rights(path) for path in files} == {0o600}
    assert {rights(folder) for folder in (data_dir, demo)} == {0o700}


def test_whatever_a_run_writes_is_for_its_owner(settings: Settings) -> None:
    store_small_year(DuckDBWarehouse(settings.warehouse_path))
    run_job("rebuild", settings, by="Ada")
    run_inbox(settings, DuckDBWarehouse(settings.warehouse_path), by="Ada")
    (settings.inbox_dir / "a.csv").touch()
    put_away(settings.inbox_dir / "a.csv", settings.inbox_dir, "rejected")
    made = [settings.data_dir, *settings.data_dir.rglob("*")]
    assert {rights(path) for path in made if path.is_dir()} == {0o700}
    files = [path for path in made if path.is_file() and path.name != "a.csv"]
    assert len(files) > 5
    assert {path for path in files if rights(path) != 0o600} == set()
    assert os.umask(0o022) == 0o022


def test_what_an_earlier_version_left_open_is_shut(settings: Settings) -> None:
    inner = [settings.exports_dir, settings.dagster_home, settings.data_dir / "backups"]
    for folder in (settings.data_dir, settings.inbox_dir, settings.data_dir / "demo", *inner):
        opened(folder)
    above = opened(settings.data_dir.parent)
    with working_in(settings.data_dir / "demo"):
        pass
    prepare_home(settings)
    assert {rights(folder) for folder in (settings.data_dir, settings.data_dir / "demo", *inner)} == {0o700}
    assert [rights(folder) for folder in (settings.inbox_dir, above)] == [0o755, 0o755]
    assert said_of_open(settings.data_dir) == ""


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775, 0o770])
def test_an_inbox_into_which_another_account_drops_files_stays_within_reach(settings: Settings, mode: int) -> None:
    opened(settings.data_dir)
    opened(settings.exports_dir)
    opened(settings.inbox_dir, mode)
    prepare_home(settings)
    observe(settings.inbox_dir, {})
    assert [rights(folder) for folder in (settings.data_dir, settings.inbox_dir)] == [0o755, mode]
    assert rights(settings.exports_dir) == 0o700
    assert f"`chmod 700 {settings.data_dir}`, unless you share it" in said_of_open(settings.data_dir)


def test_rights_that_somebody_gave_and_folders_that_are_not_only_ours_stay(settings: Settings, tmp_path: Path) -> None:
    opened(settings.data_dir, 0o750)
    prepare_home(settings)
    assert rights(settings.data_dir) == 0o750
    home = Settings(data_dir=opened(tmp_path / "home"))
    opened(home.data_dir / "public_html")
    theirs = opened(tmp_path / "theirs")
    (home.data_dir / "exports").symlink_to(theirs)
    prepare_home(home)
    assert [rights(folder) for folder in (home.data_dir, theirs)] == [0o755, 0o755]
    if os.geteuid() == 0:
        ada = Settings(data_dir=opened(tmp_path / "ada"))
        os.chown(ada.data_dir, 1234, -1)
        prepare_home(ada)
        assert rights(ada.data_dir) == 0o755


def test_folders_above_are_made_private_too_and_never_changed(tmp_path: Path) -> None:
    top = opened(tmp_path / "top")
    private_folder(top / "a" / "b")
    private_folder(top)
    assert [rights(path) for path in (top, top / "a", top / "a" / "b")] == [0o755, 0o700, 0o700]
