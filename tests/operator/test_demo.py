"""The demo from beginning to end on a small world, its folder, and opening it in the UI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import jobs, look, upkeep  # noqa: F401 - they add their commands to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.errors import ConfigError, WarehouseBusyError
from mentor_pipeline.operator.demo import (
    WORLD_NAME,
    Demo,
    demo_environment,
    in_demo,
    run_demo,
    serving,
    start_afresh,
    working_in,
)
from mentor_pipeline.operator.development import serve
from mentor_pipeline.operator.runs import DEMO_MARKER
from mentor_pipeline.operator.services import WorldSize
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.writer_lock import writer_lock
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings
from mentor_pipeline.simulator import World
from tests.acceptance.opened_ui import free_port
from tests.acceptance.processes import PROC, family, listened_to
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

_ENOUGH_SECONDS = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    size = WorldSize(seed=3, mentors=40, contacts=600)
    return run_demo(folder, program(), size=size, shown=lambda _: nullcontext(lambda _: None))


def test_the_demo_ends_with_both_sides_agreed(demo: Demo) -> None:
    assert demo.faults == []
    assert demo.refused == []
    assert demo.exported > 0
    assert demo.created > 0
    assert demo.linked == demo.created
    assert demo.changes["first sync"]["new_mentor"] == sum(demo.mentors.values())
    assert demo.changes["third sync"] == {}
    assert sum(demo.links.values()) == sum(demo.mentors.values())
    assert [step.name for step in demo.steps] == [
        "make up a world",
        "first sync",
        "import an export through the inbox",
        "export",
        "import the file in Givebutter",
        "second sync",
        "third sync",
    ]
    assert demo.files
    assert all(path.exists() for path in demo.files)
    runs = DuckDBWarehouse(demo.data_dir / "mentors.duckdb").read("sync_log")
    assert runs["status"].unique().to_list() == ["completed"]
    assert runs["triggered_by"].unique().to_list() == ["demo"]
    saved = World.load(demo.world)
    mentors = DuckDBWarehouse(demo.data_dir / "mentors.duckdb").read("mentors")
    linked = mentors.filter(pl.col("gb_match_status") == "linked")["gb_contact_id"]
    assert set(linked) <= set(saved.contacts)
    assert not {JOTFORM_KEY, GIVEBUTTER_KEY} & {name for name, value in os.environ.items() if "simulated" in value}


# -- its folder ------------------------------------------------------------------------------------------------------


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mentors.duckdb").write_text("real", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no demo"), working_in(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mentors.duckdb"]


def test_only_what_a_demo_made_is_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (kept / "file.csv").touch()
    folder = tmp_path / "demo"
    with working_in(folder):
        for name in ("mentors.duckdb", WORLD_NAME, "notes.txt"):
            (folder / name).write_text("x", encoding="utf-8")
        (folder / "exports").mkdir()
        (folder / "exports" / "old.csv").touch()
        (folder / "inbox").symlink_to(kept)
        start_afresh(folder)
        assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["notes.txt"]
    assert (folder / DEMO_MARKER).exists()
    assert (kept / "file.csv").exists()


def test_a_demo_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with working_in(folder):
        with pytest.raises(WarehouseBusyError, match=r"in use by another command: .*Wait until"), working_in(folder):
            pass
        with (
            writer_lock(folder, run_id="r", job="sync", by="Ada", wait_s=0, on_wait=lambda *_: None),
            pytest.raises(ConfigError, match="is being changed by run r"),
        ):
            start_afresh(folder)
    with working_in(folder):
        start_afresh(folder)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Choose another with --dir"), working_in(tmp_path / "file" / "demo"):
        pass


# -- commands on it --------------------------------------------------------------------------------------------------


@pytest.fixture
def call(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in an installation whose data folder holds the demo, and that has no keys."""
    for name in (JOTFORM_KEY, GIVEBUTTER_KEY, "DAGSTER_HOME", "JOTFORM_BASE_URL", "GIVEBUTTER_BASE_URL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(demo.data_dir))
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.slow
def test_commands_work_on_the_demo_and_its_services(demo: Demo, call: Callable[..., Result]) -> None:
    there = call("--demo", "status", "--json")
    assert json.loads(there.stdout)["mentors"] == sum(demo.mentors.values())
    synced = call("--demo", "sync", "--json")
    assert synced.exit_code == 0, synced.output
    assert json.loads(synced.stdout)["ok"] is True
    assert demo.world.exists()


def test_what_a_command_changes_in_the_simulated_services_is_kept(
    demo: Demo, capfd: pytest.CaptureFixture[str]
) -> None:
    with in_demo(demo.data_dir, program(), with_services=True):
        values = {name: os.environ[name] for name in (GIVEBUTTER_KEY, "GIVEBUTTER_BASE_URL")}
        contact_id = max(World.load(demo.world).active_ids())
        answer = httpx.delete(
            f"{values['GIVEBUTTER_BASE_URL']}/contacts/{contact_id}",
            headers={"Authorization": f"Bearer {values[GIVEBUTTER_KEY]}"},
        )
        assert answer.is_success
    assert World.load(demo.world).contact(contact_id).archived_at is not None
    assert capfd.readouterr().err == ""


def test_commands_ask_the_services_of_dev_while_it_runs(demo: Demo) -> None:
    there = in_demo(demo.data_dir, program(), with_services=True)
    with working_in(demo.data_dir), serving(demo.data_dir, {"GIVEBUTTER_BASE_URL": "http://127.0.0.1:1/v1"}), there:
        assert os.environ["GIVEBUTTER_BASE_URL"] == "http://127.0.0.1:1/v1"
    again = in_demo(demo.data_dir, program(), with_services=True)
    with (
        working_in(demo.data_dir),
        pytest.raises(WarehouseBusyError, match=r"in use by another command: .*Wait until"),
        again,
    ):
        pass


def test_the_real_services_are_never_read_into_the_demo(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (JOTFORM_KEY, GIVEBUTTER_KEY):
        monkeypatch.setenv(name, "a-key")
    refused = call("sync")
    assert refused.exit_code == 2
    assert "the demo's made-up people" in refused.output
    assert "mentor-pipeline --demo sync" in refused.output


def test_a_second_command_that_asks_the_demos_services_waits_its_turn(demo: Demo, call: Callable[..., Result]) -> None:
    with working_in(demo.data_dir):
        refused = call("--demo", "sync")
    assert refused.exit_code == 1
    assert "in use by another command" in " ".join(refused.output.split())


def test_without_a_demo_there_is_nothing_to_work_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(tmp_path / "data"))
    refused = CliRunner().invoke(app, ["--demo", "status"])
    assert refused.exit_code == 2
    assert "Run `mentor-pipeline demo` first" in refused.output
    assert not (tmp_path / "data").exists()


# -- opening the UI --------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a workspace of one asset, and no keys."""
    monkeypatch.chdir(tmp_path)
    for name in (JOTFORM_KEY, GIVEBUTTER_KEY, "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_file: own.py\n", encoding="utf-8")
    (tmp_path / "own.py").write_text(
        "import os\nimport dagster as dg\n\n\n@dg.asset(description=os.environ['GIVEBUTTER_BASE_URL'])\n"
        "def mentors(): ...\n\n\ndefs = dg.Definitions(assets=[mentors])\n",
        encoding="utf-8",
    )
    return tmp_path


def open_ui(folder: Path, **changes: Any) -> int:
    values = {"host": "127.0.0.1", "port": 3000, "use_demo": False, "say": lambda _: None, **changes}
    return serve(Settings(data_dir=folder), program(), **values)


def test_dev_without_a_workspace_or_anything_to_open_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="Run `mentor-pipeline demo` first"):
        open_ui(project / "data")
    (project / "workspace.yaml").unlink()
    with pytest.raises(ConfigError, match="Start this in the project's folder"):
        open_ui(project / "data")
    assert not (project / "data").exists()


@pytest.mark.slow
def test_dev_opens_the_demo_and_ends_with_a_signal(project: Path) -> None:
    folder = project / "data" / "demo"
    with working_in(folder):
        World.empty(program()).save(folder / WORLD_NAME)
    port = free_port()
    opened = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "mentor_pipeline", "dev", "--port", str(port)],
        env={**os.environ, "MENTOR_PIPELINE_DATA_DIR": str(project / "data"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        query = "{ assetNodes { description } }"
        answer = _awaited(f"http://127.0.0.1:{port}/graphql", {"query": query})
        assert answer["data"]["assetNodes"][0]["description"].endswith("/givebutter/v1")
        with pytest.raises(WarehouseBusyError, match=r"in use by another command: .*Wait until"), working_in(folder):
            pass
        if (PROC / "net" / "tcp").exists():
            listening = listened_to(family(opened.pid))
            assert port in {one for _, one in listening}
            assert {address for address, _ in listening} == {"0100007F"}  # 127.0.0.1, of the simulator too
    finally:
        opened.send_signal(signal.SIGTERM)
    assert opened.wait(_ENOUGH_SECONDS) == 0
    assert (folder / "dagster_home" / "dagster.yaml").exists()
    with working_in(folder):  # nobody holds it any more
        pass


def _awaited(url: str, body: dict[str, str]) -> Any:
    """The answer, as soon as there is one with an asset in it."""
    end = time.monotonic() + _ENOUGH_SECONDS
    while True:
        try:
            answer = httpx.post(url, json=body, timeout=5).json()
            if answer["data"]["assetNodes"]:
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < end
        time.sleep(0.5)


def test_the_demos_environment_holds_nothing_of_a_real_installation(tmp_path: Path) -> None:
    values = demo_environment(tmp_path, program(), {JOTFORM_KEY: "simulated"})
    assert values["MENTOR_PIPELINE_DATA_DIR"] == str(tmp_path)
    assert values["MENTOR_PIPELINE_DATABASE_URL"] == ""
    assert values["MENTOR_PIPELINE_ALERT_WEBHOOK"] == ""
    assert values["MENTOR_PIPELINE_ALERT_SMTP_URL"] == ""
    assert values["MENTOR_PIPELINE_EXECUTOR"] == ""
    assert values["DAGSTER_HOME"] == ""
