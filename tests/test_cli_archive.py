"""The commands that tidy Givebutter, on a small simulated year: shown first, done with --yes, and taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import archive, jobs  # noqa: F401 - they add their commands to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.domain.decisions import CONFLICT_DECISION
from mentor_pipeline.operator.archive import LOG
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, Settings
from mentor_pipeline.simulator import Simulator, World
from tests.builders import YEAR, action, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

ADA = {"first_name": "Ada", "last_name": "Alder"}
ADAS = {"phones": ["+17065550101"], "emails": ["ada@example.com"]}


class Installed(NamedTuple):
    """A synced installation: Ada has a contact, two duplicates and a donor's one; a stranger carries Ben's id."""

    world: World
    simulator: Simulator
    warehouse: DuckDBWarehouse
    own: int
    duplicates: tuple[int, int]
    donor: int
    stranger: int


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    world = World.empty(program())
    world.submit(
        "signup", mn_id="0001", name={"first": "Ada", "last": "Alder"}, phone="706-555-0101",
        personal_email="ada@example.com", uga_email="ada@uga.edu",
    )  # fmt: skip
    world.submit(
        "signup", mn_id="0002", name={"first": "Ben", "last": "Birch"}, phone="706-555-0102",
        personal_email="ben@example.com", uga_email="ben@uga.edu",
    )  # fmt: skip
    own = world.add_contact(**ADA, **ADAS, external_id="0001", tags=["Mentors 2025"])
    duplicates = (world.add_contact(**ADA, **ADAS), world.add_contact(**ADA, **ADAS))
    donor = world.add_contact(**ADA, **ADAS, total_contributions=25)
    stranger = world.add_contact(
        first_name="Zoe", last_name="Zelkova[red]", external_id="MN0002", emails=["zoe@example.com"], tags=["Donor"]
    )
    values = {
        "MENTOR_PIPELINE_DATA_DIR": str(tmp_path_factory.mktemp("installation") / "data"),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": "",
        "MENTOR_PIPELINE_DATABASE_URL": "",
        "DAGSTER_HOME": "",
    }
    with Simulator(world) as simulator, environment({**values, **simulator.environment()}):
        assert call_json("sync")["ok"]
        warehouse = DuckDBWarehouse(Settings.load().warehouse_path)
        value = orjson.dumps({"decision": "b", "value": f"release {stranger}", "field": "gb_contact_id"}).decode()
        decided = action(CONFLICT_DECISION, mn_id="0002", field="external_id_collision", value=value, actor="Cleo")
        warehouse.append("operator_actions", decided)
        assert call_json("rebuild")["ok"]
        simulator.calls.clear()
        yield Installed(world, simulator, warehouse, own, duplicates, donor, stranger)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def call_json(*words: str, exit_code: int = 0) -> dict[str, Any]:
    """A command's document."""
    result = call(*words, "--json")
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def moves(document: dict[str, Any]) -> dict[int, str]:
    return {move["contact_id"]: move["state"] for move in document["report"]["moves"]}


def archived(here: Installed) -> set[int]:
    return {contact.id for contact in here.world.contacts.values() if contact.archived_at is not None}


# -- looking ---------------------------------------------------------------------------------------------------------


def test_the_archive_plan_shows_who_whose_and_why(here: Installed) -> None:
    shown = call("archive", "plan")
    assert shown.exit_code == 0
    for words in (str(here.duplicates[0]), str(here.own), "Ada Alder", "0001", "the names fit", "$25.00"):
        assert words in " ".join(shown.stdout.split())
    found = call_json("archive", "plan")
    assert found["counts"] == {"archive": 2, "review": 1}
    assert {row["contact_id"] for row in found["archive"]} == set(here.duplicates)
    (review,) = found["review"]
    assert (review["contact_id"], review["mn_id"], review["mentor_name"]) == (here.donor, "0001", "Ada Alder")
    assert "contributions of $25.00" in review["reason"]


def test_the_release_plan_shows_who_decided(here: Installed) -> None:
    shown = " ".join(call("release", "plan").stdout.split())
    assert "Zoe Zelkova[red]" in shown
    assert "decided by Cleo" in shown
    (row,) = call_json("release", "plan")["release"]
    assert (row["contact_id"], row["mn_id"], row["mentor_name"], row["external_id"]) == (
        here.stranger, "0002", "Ben Birch", "MN0002",
    )  # fmt: skip


def test_duplicates_shows_groups_and_what_to_do(here: Installed) -> None:
    (group,) = call_json("duplicates")["groups"]
    assert group["contact_ids"] == sorted({here.own, *here.duplicates, here.donor})
    shown = " ".join(call("duplicates").stdout.split())
    assert "+17065550101" in shown
    assert f"{here.donor} Ada Alder" in shown
    assert "keep it" in shown


@pytest.mark.parametrize(
    ("words", "contact", "summary"),
    [
        (["archive", "apply"], "duplicates", "2 contacts would be archived. Nothing was done"),
        (["archive", "apply", "--limit", "1", "--by", "Ada Alder"], "duplicates", "1 contact would be archived."),
        (["release", "apply"], "stranger", "1 contact would be released."),
    ],
)
def test_without_yes_it_ends_with_the_command_that_does_it(
    here: Installed, words: list[str], contact: str, summary: str
) -> None:
    before = here.warehouse.counts(["sync_log", LOG])
    shown = call(*words)
    assert shown.exit_code == 0
    assert summary in shown.stdout
    quoted = " ".join(f"'{word}'" if " " in word else word for word in words)
    if "--by" not in words:
        assert shown.stdout.rstrip().endswith(f"to do it, `mentor-pipeline {quoted} --yes`.")
    assert call_json(*words)["command"] == f"mentor-pipeline {quoted} --yes"
    ids = getattr(here, contact)
    assert set(moves(call_json(*words))) <= ({ids} if isinstance(ids, int) else set(ids))
    assert not here.simulator.calls
    assert here.warehouse.counts(["sync_log", LOG]) == before


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["archive", "restore"], 2, "Name the contacts, or --all."),
        (["archive", "restore", "7", "--all"], 2, "not both"),
        (["release", "undo"], 2, "Name the contacts, or --all."),
        (["archive", "apply", "--only", "seven"], 2, "integer"),
        (["archive", "apply", "--limit", "0"], 2, "--limit"),
        (["archive", "apply", "--only", "7", "--yes"], 1, "contact 7: it is not in the plan"),
        (["release", "apply", "--only", "7", "--yes"], 1, "nobody decided so"),
        (["archive", "restore", "7", "--yes"], 1, "not archived from here"),
        (["release", "undo", "7", "--yes"], 1, "not released from here"),
    ],
)
def test_wrong_use_and_refusals(here: Installed, words: list[str], exit_code: int, said: str) -> None:
    result = call(*words)
    assert result.exit_code == exit_code
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not here.simulator.calls
    assert "Traceback" not in result.output


def test_before_the_first_sync(here: Installed, tmp_path: Path) -> None:
    assert here
    with environment({"MENTOR_PIPELINE_DATA_DIR": str(tmp_path / "none")}):
        for words in (["archive", "plan"], ["archive", "apply", "--yes"], ["release", "undo", "--all"], ["duplicates"]):
            result = call(*words)
            assert (result.exit_code, result.stdout) == (1, "")
            assert "Nothing has been synced yet for 2025" in result.stderr
        assert not (tmp_path / "none").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mentor_pipeline.cli import archive;"
        "print([name for name in ('dagster', 'polars', 'duckdb', 'httpx', 'pydantic') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.strip() == "[]"


# -- doing -----------------------------------------------------------------------------------------------------------


def test_archive_and_restore(here: Installed) -> None:
    first, second = here.duplicates
    done = call_json("archive", "apply", "--only", str(first), "--yes", "--by", "Dana")
    assert (done["ok"], moves(done)) == (True, {first: "done"})
    assert archived(here) == {first}
    assert set(here.warehouse.read(LOG)["actor"]) == {"Dana"}
    assert call_json("archive", "plan")["counts"] == {"archive": 1, "review": 1}
    assert moves(call_json("archive", "apply", "--yes")) == {second: "done"}
    assert archived(here) == set(here.duplicates)
    nothing = call("archive", "apply", "--yes")
    assert (nothing.exit_code, nothing.stdout) == (0, "No contact is to be archived: nothing was done.\n")

    shown = call("archive", "restore", str(first))
    assert "by Dana" in shown.stdout
    assert shown.stdout.rstrip().endswith(f"to do it, `mentor-pipeline archive restore {first} --yes`.")
    assert moves(call_json("archive", "restore", str(first), "--yes")) == {first: "done"}
    here.world.delete_contact(second)
    gone = call("archive", "restore", "--all", "--yes")
    assert gone.exit_code == 1
    assert "1 failed" in gone.stdout
    assert f"contact {second}, Ada Alder: It no longer exists in Givebutter" in " ".join(gone.stderr.split())
    assert archived(here) == set()


def test_release_and_undo(here: Installed) -> None:
    shown = call("release", "apply", "--yes")
    assert shown.exit_code == 0
    assert "1 contact released, 0 were so already, 0 failed." in " ".join(shown.stdout.split())
    assert here.world.contact(here.stranger).external_id is None
    assert here.world.contact(here.stranger).tags == ["Donor"]
    assert call_json("release", "plan")["release"] == []
    assert "Nothing to release" in call("release", "plan").stdout
    dry = call_json("release", "undo", "--all")
    assert (moves(dry), dry["command"]) == ({here.stranger: "planned"}, "mentor-pipeline release undo --all --yes")
    assert here.world.contact(here.stranger).external_id is None

    assert moves(call_json("release", "undo", str(here.stranger), "--yes")) == {here.stranger: "done"}
    assert here.world.contact(here.stranger).external_id == "MN0002"
    assert moves(call_json("release", "apply")) == {here.stranger: "planned"}


def test_a_refused_key_fails_and_says_so(here: Installed) -> None:
    with environment({GIVEBUTTER_KEY: "a-wrong-key-of-givebutter"}):
        result = call("release", "apply", "--yes")
    assert result.exit_code == 1
    assert "is refused" in " ".join(result.stderr.split())
    assert "a-wrong-key-of-givebutter" not in result.output
    assert here.world.contact(here.stranger).external_id == "MN0002"


def test_after_a_release_the_mentors_row_goes_out(here: Installed) -> None:
    held = here.warehouse.read("mn_gb_import_held", year=YEAR)
    assert held.filter(mn_id="0002").height == 1
    call_json("release", "apply", "--yes")
    call_json("rebuild")
    assert here.warehouse.read("mn_gb_import_held", year=YEAR).filter(mn_id="0002").is_empty()
    assert here.warehouse.read("mn_gb_import", year=YEAR).filter(mn_id="0002").height == 1
    assert here.warehouse.read("contact_release_plan", year=YEAR).is_empty()
