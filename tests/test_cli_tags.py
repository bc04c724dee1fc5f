"""`tags plan` and `tags push`: shown first, done with --yes, on a mentor whose contact has last week's tags."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import tags  # noqa: F401 - it adds its commands to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.operator.tags import LOG
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, Settings
from mentor_pipeline.simulator import Simulator, World
from tests.builders import YEAR, contact, mentor, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

BEFORE = ["Donor[red]", "No Page", "Status: needs_page"]
HOLDING = ["Mentors 2025", "Not Fundraised", "Status: needs_fundraising"]


class Installed(NamedTuple):
    """Ada's contact is known as Givebutter has it; what holds of her changed since."""

    world: World
    simulator: Simulator
    warehouse: DuckDBWarehouse
    contact_id: int


@pytest.fixture
def here(data_dir: Path) -> Iterator[Installed]:
    world = World.empty(program())
    own = world.add_contact(first_name="Ada", last_name="Alder", tags=BEFORE)
    values = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": "",
        "MENTOR_PIPELINE_DATABASE_URL": "",
        "DAGSTER_HOME": "",
    }
    with Simulator(world) as simulator, environment({**values, **simulator.environment()}):
        warehouse = DuckDBWarehouse(Settings.load().warehouse_path)
        ada = mentor("0001", full_name="Ada Alder", gb_contact_id=own, gb_match_status="linked", statuses=HOLDING)
        warehouse.replace("mentors", ada, year=YEAR)
        warehouse.upsert("raw_gb_full_contacts", contact(own, tags=BEFORE))
        yield Installed(world, simulator, warehouse, own)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def call_json(*words: str) -> dict[str, Any]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_it_is_shown_first_and_then_done(here: Installed) -> None:
    for words in (("tags", "plan"), ("tags", "push")):
        shown = call(*words)
        assert shown.exit_code == 0
        for text in (str(here.contact_id), "0001", "Ada Alder", *HOLDING, "No Page", "Status: needs_page"):
            assert text in shown.stdout
        assert "Donor" not in shown.stdout
        assert "1 contact would be changed: 3 tags put on, 2 tags taken off. Nothing was done" in shown.stdout
        assert shown.stdout.rstrip().endswith("to do it, `mentor-pipeline tags push --yes`.")
    (move,) = call_json("tags", "plan")["report"]["moves"]
    assert (move["add"], move["remove"]) == (HOLDING, ["No Page", "Status: needs_page"])
    asked = call_json("tags", "push", "--only", str(here.contact_id), "--limit", "3", "--by", "Dana Elm")
    assert asked["command"] == (f"mentor-pipeline tags push --only {here.contact_id} --limit 3 --by 'Dana Elm' --yes")
    assert not here.simulator.calls
    assert not here.warehouse.table_exists(LOG)

    done = call_json("tags", "push", "--yes", "--by", "Dana")
    assert [move["state"] for move in done["report"]["moves"]] == ["done"]
    assert done["summary"] == "1 contact changed: 3 tags put on, 2 tags taken off. 0 failed."
    assert set(here.world.contact(here.contact_id).tags) == {"Donor[red]", *HOLDING}
    assert set(here.warehouse.read(LOG)["actor"]) == {"Dana"}
    again = call("tags", "push", "--yes")
    assert (again.exit_code, again.stdout) == (
        0,
        "The mentors' contacts carry the tags that they should: nothing was done.\n",
    )


def test_a_failure_is_told(here: Installed) -> None:
    with environment({GIVEBUTTER_KEY: "a-wrong-key-of-givebutter"}):
        refused = call("tags", "push", "--yes")
    assert refused.exit_code == 1
    assert "is refused" in " ".join(refused.stderr.split())
    here.world.delete_contact(here.contact_id)
    gone = call("tags", "push", "--yes")
    assert gone.exit_code == 1
    assert "0 contacts changed" in " ".join(gone.stdout.split())
    assert "It no longer exists in Givebutter" in " ".join(gone.stderr.split())


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["--only", "999"], 1, "no linked mentor's: 999"),
        (["--only", "seven"], 2, "integer"),
        (["--limit", "0"], 2, "--limit"),
    ],
)
def test_wrong_use(here: Installed, words: list[str], exit_code: int, said: str) -> None:
    result = call("tags", "push", *words, "--yes")
    assert result.exit_code == exit_code
    assert said in " ".join(result.stderr.split())
    assert not here.simulator.calls


def test_before_the_first_sync(here: Installed, tmp_path: Path) -> None:
    assert here
    with environment({"MENTOR_PIPELINE_DATA_DIR": str(tmp_path / "none")}):
        for words in (["plan"], ["push", "--yes"]):
            result = call("tags", *words)
            assert (result.exit_code, result.stdout) == (1, "")
            assert "Nothing has been synced yet for 2025" in result.stderr


@pytest.mark.parametrize("module", ["tags", "outreach"])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys; from mentor_pipeline.cli import {module};"
        "print([name for name in ('dagster', 'duckdb', 'httpx') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.strip() == "[]"
