"""Checking in at the door, a mentor's history, and the mentors as they were: as typed, as scanned, as a script asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import jobs, people  # noqa: F401 - they add their commands to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, World
from tests.builders import YEAR, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

NAMES = {"0001": "Ada Alder", "0002": "Ben Birch", "0003": "Cora Cedar", "0004": "Dan Dogwood", "0005": "Elsa Elm"}
MAIN = [sys.executable, "-c", "from mentor_pipeline.cli import main; main()"]


class Installed(NamedTuple):
    """A synced installation of five mentors."""

    data_dir: Path
    warehouse: DuckDBWarehouse
    sync: str

    def mentor(self, mn_id: str) -> dict[str, Any]:
        return self.warehouse.read("mentors").row(by_predicate=pl.col("mn_id") == mn_id, named=True)

    def trained(self) -> set[str]:
        return set(self.warehouse.read("mentors").filter("training_done")["mn_id"])

    def kept(self) -> list[Path]:
        return sorted((self.data_dir / "check-ins").glob("*"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    world = World.empty(program())
    for mn_id, name in NAMES.items():
        first, last = name.split()
        email = f"{first.lower()}@example.com"
        world.submit(
            "signup", mn_id=mn_id, name={"first": first, "last": last}, phone=f"706-555-{mn_id}", personal_email=email,
            uga_email=f"{first.lower()}@uga.edu",
        )  # fmt: skip
    data_dir = tmp_path_factory.mktemp("installation") / "data"
    values = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": "",
        "MENTOR_PIPELINE_DATABASE_URL": "",
        "DAGSTER_HOME": "",
    }
    with Simulator(world) as simulator, environment({**values, **simulator.environment()}):
        sync = call_json("sync")["run"]["run_id"]
        yield Installed(data_dir, DuckDBWarehouse(Settings.load().warehouse_path), sync)


@pytest.fixture(autouse=True)
def _as_it_was(here: Installed) -> Iterator[None]:
    """Nobody is checked in when a test begins: ledger and mentors are put back."""
    names = ("operator_actions", "mentors", "mentor_history", "mn_changes", "merge_base")
    before = {name: here.warehouse.read_or_empty(name) for name in names}
    yield
    for file in here.kept():
        file.unlink()
    with here.warehouse.write() as store:
        for name, rows in before.items():
            if store.table_exists(name):
                store.replace_slice(name, rows, {"year": YEAR})


def call(*words: str, scanned: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=scanned, catch_exceptions=False)


def call_json(*words: str, scanned: str | None = None, exit_code: int = 0) -> dict[str, Any]:
    result = call(*words, "--json", scanned=scanned)
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def flat(text: str) -> str:
    return " ".join(text.split())


# -- check-in ---------------------------------------------------------------------------------------------------------


def test_many_are_checked_in_by_one_run_and_faults_stop_nobody(here: Installed, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("MN0002\n0003,2025-09-01T18:30\n\n9999\n1\n")
    done = call_json("check-in", "0001", "--file", str(listed), "--by", "Cleo", "--note", "room 5", exit_code=1)
    assert done["counts"] == {"accepted": 3, "unchanged": 0, "twice": 1, "unknown": 1}
    assert (done["ok"], done["is_recorded"], done["run"]["success"]) == (False, True, True)
    assert [one["full_name"] for one in done["accepted"]] == ["Ada Alder", "Ben Birch", "Cora Cedar"]
    assert "No mentor of 2025 has the id '9999'" in done["unknown"][0]["words"]
    assert here.trained() == {"0001", "0002", "0003"}
    assert f"{here.mentor('0003')['training_at']:%Y-%m-%d %H:%M %Z}" == "2025-09-01 22:30 UTC"
    actions = here.warehouse.read("operator_actions")
    assert set(actions["actor"]) == {"Cleo"}
    assert actions["at"].n_unique() == 1
    assert set(actions.filter(field="training_done")["note"]) == {"room 5"}
    # Once more: told, and nothing is run.
    again = call("check-in", "0001", "0002", "--by", "Cleo")
    assert again.exit_code == 0
    assert "0001 Ada Alder: checked in before" in again.stdout
    assert "0 checked in; 2 were checked in before" in again.stdout
    assert here.warehouse.read("operator_actions").equals(actions)


@pytest.mark.slow
def test_a_check_in_is_taken_back_with_its_time_and_can_be_done_again(here: Installed) -> None:
    first = call("check-in", "0001", "0002", "--at", "2025-09-01T18:30")
    assert first.exit_code == 0
    assert "0001  Ada Alder  2025-09-01 22:30 UTC" in first.stdout
    back = call("check-in", "--undo", "0001", "0003")
    assert back.exit_code == 0
    assert "0003 Cora Cedar: not checked in" in back.stdout
    assert "1 taken back" in back.stdout
    assert here.trained() == {"0002"}
    assert here.mentor("0001")["training_at"] is None
    assert call("check-in", "0001", "--at", "2025-09-02T18:30").exit_code == 0
    assert f"{here.mentor('0001')['training_at']:%d}" == "02"


def test_scans_are_answered_on_standard_error_and_recorded_at_the_end(here: Installed) -> None:
    done = call("check-in", "--json", scanned="0001\r\n\n0001\nwho[red]\n0002")
    assert done.exit_code == 1
    told = flat(done.stderr)
    assert "0001 Ada Alder: checked in 0001 Ada Alder: came before in this list" in told
    assert "who[red]: No mentor of 2025 has the id 'who[red]'" in told
    assert json.loads(done.stdout)["counts"] == {"accepted": 2, "unchanged": 0, "twice": 1, "unknown": 1}
    assert here.trained() == {"0001", "0002"}
    assert here.kept() == []


def test_bytes_that_are_no_text_are_an_unknown_id(here: Installed) -> None:
    done = call("check-in", scanned=b"\xff\xfe01\n")
    assert done.exit_code == 1
    assert "1 unknown" in done.stdout
    assert here.warehouse.read_or_empty("operator_actions").is_empty()


def test_nothing_scanned_is_nothing_done(here: Installed) -> None:
    done = call("check-in", scanned="\n \n")
    assert done.exit_code == 0
    assert "No id was given; nothing was recorded." in done.stdout
    assert here.warehouse.read_or_empty("operator_actions").is_empty()


def scanner() -> subprocess.Popen[str]:
    words = [*MAIN, "check-in", "--by", "Cleo"]
    return subprocess.Popen(  # noqa: S603
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def scan(door: subprocess.Popen[str], typed: str) -> str:
    assert door.stdin is not None
    assert door.stderr is not None
    door.stdin.write(f"{typed}\n")
    return door.stderr.readline().strip()


@pytest.mark.slow
def test_each_scan_is_answered_at_once_and_ctrl_c_records_what_was_scanned(here: Installed) -> None:
    with scanner() as door:
        assert scan(door, "0003") == "0003 Cora Cedar: checked in"
        assert scan(door, "3") == "0003 Cora Cedar: came before in this list"
        assert scan(door, "0004") == "0004 Dan Dogwood: checked in"
        assert len(here.kept()) == 1
        assert here.trained() == set()
        os.kill(door.pid, signal.SIGINT)
        out, err = door.communicate(timeout=120)
    assert "Ended by Ctrl-C; nothing of what was scanned is lost." in err
    assert door.returncode == 0, err
    assert "2 checked in; 0 were checked in before, 1 came twice, 0 unknown." in out
    assert here.trained() == {"0003", "0004"}
    assert here.kept() == []


@pytest.mark.slow
def test_what_was_scanned_outlives_a_killed_command(here: Installed) -> None:
    with scanner() as door:
        scan(door, "0005")
        door.kill()
        door.communicate(timeout=60)
    (kept,) = here.kept()
    told = call("check-in", scanned="")
    assert f"mentor-pipeline check-in --file {kept}" in flat(told.stderr).replace("- ", "-")
    assert here.trained() == set()
    done = call("check-in", "--file", str(kept))
    assert done.exit_code == 0
    assert here.trained() == {"0005"}
    assert here.kept() == []


def test_a_run_that_fails_keeps_what_was_scanned(here: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("mentor_pipeline.operator.runs.run_job", fails)
    done = call("check-in", "--note", "room 5", scanned="0005\n")
    assert done.exit_code == 1
    (kept,) = here.kept()
    assert f"check-in --file {kept} --note 'room 5'" in flat(done.stderr)
    assert kept.read_text().startswith("0005,")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--undo", "--at", "2025-10-01", "0001"], 2, "what is taken back has no time"),
        (["--at", "soon", "0001"], 2, "'soon' is no time"),
        (["--at", "2999-10-01", "0001"], 2, "is still to come"),
        (["--file", "there-is-none.txt"], 2, "does not exist"),
    ],
)
def test_wrong_use_begins_nothing(here: Installed, words: list[str], code: int, said: str) -> None:
    result = call("check-in", *words)
    assert result.exit_code == code
    assert said in flat(result.stderr.replace("│", " "))
    assert here.warehouse.read_or_empty("operator_actions").is_empty()


# -- history and as-of ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_history_tells_a_life_in_the_terminal_and_as_json(here: Installed) -> None:
    assert call("check-in", "0001", "--by", "Cleo", "--note", "was [early]").exit_code == 0
    shown = call("history", "MN0001").stdout
    assert shown.index("first seen as Ada Alder") < shown.index("training_done set to yes")
    assert shown.index("training_done set to yes") < shown.index("training_done: false → true")
    assert "“was [early]”" in shown
    assert "Cleo" in shown
    assert f"run {here.sync[:8]}" in shown
    document = call_json("history", "1")
    kinds = [event["kind"] for event in document["events"]]
    assert (document["mn_id"], kinds[0], kinds.count("edit")) == ("0001", "new_mentor", 2)
    unknown = call("history", "9999")
    assert unknown.exit_code == 1
    assert "No mentor of 2025 has the id '9999'" in flat(unknown.stderr)


@pytest.mark.slow
def test_as_of_shows_the_mentors_of_then_and_writes_them(here: Installed, tmp_path: Path) -> None:
    assert call("check-in", "0001").exit_code == 0
    shown = call("as-of", here.sync[:8])
    assert shown.exit_code == 0
    assert "5 mentors of 2025 at" in shown.stdout
    assert "needs_setup" in shown.stdout
    assert "Elsa Elm" in shown.stdout
    then = call_json("as-of", here.sync, "--mentor", "1")
    assert (then["count"], then["mentors"][0]["training_done"]) == (1, False)
    assert "training_done no" in flat(call("as-of", here.sync, "--mentor", "1").stdout)
    out = tmp_path / "then.csv"
    written = call("as-of", here.sync, "--out", str(out))
    assert f"Written to {out}" in written.stdout.replace("\n", "")
    assert pl.read_csv(out, infer_schema=False)["training_done"].to_list() == ["false"] * 5
    refused = call("as-of", here.sync, "--out", str(out))
    assert refused.exit_code == 1
    assert "is there already. It was left as it is." in flat(refused.stderr)


@pytest.mark.parametrize(
    ("time", "code", "said"),
    [("2001-01-01", 1, "that began at"), ("2999-01-01", 2, "is still to come"), ("then", 1, "neither a run")],
)
def test_a_time_that_nothing_is_known_of_is_refused(here: Installed, time: str, code: int, said: str) -> None:
    result = call("as-of", time)
    assert result.exit_code == code
    assert said in flat(result.stderr)
    assert result.stdout == ""


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_forgetting_shows_first_what_it_takes_and_what_remains(here: Installed) -> None:
    shown = CliRunner().invoke(app, ["forget", "MN5"])
    assert shown.exit_code == 0, shown.output
    for words in (
        "Mentor 0005, Elsa Elm, would be forgotten (2025)", "raw_mn_signups", "Jotform keeps the submissions",
        "Backups made before now", "mentor-pipeline forget 0005 --yes",
    ):  # fmt: skip
        assert words in shown.output
    assert here.mentor("0005")["full_name"] == "Elsa Elm"
    unknown = CliRunner().invoke(app, ["forget", "4711", "--yes"])
    assert unknown.exit_code == 1
    assert "No mentor of any year has the id '4711'. Nothing was changed." in unknown.stderr
