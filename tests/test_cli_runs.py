"""Commands that run jobs, on a small simulated year: the same jobs as in Dagster's UI, told in a terminal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import decide, jobs, look  # noqa: F401 - they add their commands to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, Settings
from mentor_pipeline.simulator import Simulator, generate_world
from tests.builders import YEAR, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from mentor_pipeline.simulator import World


class Installed(NamedTuple):
    """An installation that was synced once, and the world it reads."""

    world: World
    settings: Settings
    warehouse: DuckDBWarehouse
    first: dict[str, Any]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    data_dir = tmp_path_factory.mktemp("installation") / "data"
    world = generate_world(program(), seed=5, mentors=30, contacts=400)
    values = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": "",
        "MENTOR_PIPELINE_DATABASE_URL": "",
        "DAGSTER_HOME": "",
    }
    with Simulator(world) as simulator, environment({**values, **simulator.environment()}):
        first = call_json("sync", "--by", "Ada")
        settings = Settings.load()
        yield Installed(world, settings, DuckDBWarehouse(settings.warehouse_path), first)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def call_json(*words: str) -> dict[str, Any]:
    """A command that is to succeed; its document."""
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def listed(world: World) -> int:
    """How many contacts Givebutter lists and exports: all but the archived ones."""
    return sum(contact.archived_at is None for contact in world.contacts.values())


def test_a_sync_is_told_and_is_on_the_uis_instance(here: Installed) -> None:
    outcome = here.first["run"]
    assert here.first["ok"]
    assert {step["status"] for step in outcome["steps"]} == {"done"}
    rows = {table: count for step in outcome["steps"] for table, count in step["rows"].items()}
    assert rows["mentors"] == here.first["status"]["mentors"] > 0
    assert rows["raw_gb_full_contacts"] == listed(here.world)
    with environment({"DAGSTER_HOME": str(here.settings.dagster_home)}), dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(outcome["run_id"])
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
    logged = {row["id"]: row for row in here.warehouse.read("sync_log").to_dicts()}
    assert logged[outcome["run_id"]]["triggered_by"] == "Ada"
    assert logged[outcome["run_id"]]["sync_type"] == "initialization"


def test_a_sync_shows_rows_and_the_next_step(here: Installed) -> None:
    shown = call("sync")
    assert shown.exit_code == 0
    assert "raw_gb_full_contacts" in shown.stdout
    assert "Next: " in shown.stdout
    assert "Traceback" not in shown.output


def test_rebuild_asks_no_service(here: Installed) -> None:
    with environment({"JOTFORM_API_KEY": "", GIVEBUTTER_KEY: ""}):
        document = call_json("rebuild")
    assert "raw_mn_signups" not in {step["name"] for step in document["run"]["steps"]}


def test_contact_refresh_asks_for_the_mentors_contacts(here: Installed) -> None:
    assert call_json("contact-refresh")["ok"]
    logged = here.warehouse.read("sync_log").sort("started_at").row(-1, named=True)
    assert (logged["sync_type"], logged["status"]) == ("contact_refresh", "completed")


def test_a_sheet_of_decisions_is_recorded_once(here: Installed, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    call_json("conflicts", "export", str(sheet))
    rows = pl.read_csv(sheet, infer_schema=False).head(2)
    # As a spreadsheet gives it back: without the zeros before an id.
    given = rows.with_columns(pl.col("mn_id").str.strip_chars_start("0"), decision=pl.Series(["a", "skip"]))
    given.write_csv(sheet)
    done = call_json("conflicts", "import", str(sheet), "--yes", "--by", "Ada")
    assert done["is_applied"]
    kept = here.warehouse.read("operator_actions").filter(pl.col("target_id").is_in(rows["conflict_id"].to_list()))
    assert set(kept["actor"]) == {"Ada"}
    assert kept.height == rows.height
    call_json("conflicts", "import", str(sheet), "--yes", "--by", "Ben")
    assert here.warehouse.read("operator_actions").height == kept.height


def test_an_export_of_the_contacts_is_imported_once(here: Installed, tmp_path: Path) -> None:
    file = here.world.export_csv(tmp_path)
    done = call_json("import-contacts", str(file), "--by", "Ben")
    assert done["import"]["ledger"]["status"] == "completed"
    assert done["import"]["ledger"]["rows"] == listed(here.world)
    assert file.exists()
    runs = here.warehouse.read("sync_log").height
    again = call("import-contacts", str(file))
    assert again.exit_code == 0
    assert "already" in again.stdout
    assert here.warehouse.read("sync_log").height == runs


def test_the_inbox_is_imported_and_emptied(here: Installed) -> None:
    here.settings.inbox_dir.mkdir(exist_ok=True)
    here.world.export_csv(here.settings.inbox_dir / "half.csv", contact_ids=sorted(here.world.contacts)[:20])
    done = call_json("inbox")
    assert [one["ledger"]["is_partial"] for one in done["inbox"]["imported"]] == [True]
    assert (here.settings.inbox_dir / "done" / "half.csv").exists()
    assert call("inbox").stdout.strip() == "The inbox is empty."


def test_a_file_that_the_inbox_rejects_is_told_once(here: Installed) -> None:
    here.settings.inbox_dir.mkdir(exist_ok=True)
    (here.settings.inbox_dir / "other.csv").write_text("Name;Amount\n1;2\n", encoding="utf-8")
    done = call("inbox")
    assert done.exit_code == 1
    said = " ".join(done.stderr.replace(str(here.settings.inbox_dir), "INBOX").split())
    told = said[said.index("other.csv: ") :]
    assert "separated by semicolons" in told
    assert told.endswith("It is in INBOX/rejected now.")
    assert told.count("other.csv") == 1
    assert "Not run" not in told
    assert "again;" not in told
    (here.settings.inbox_dir / "copy.csv").write_text("Name;Amount\n1;2\n", encoding="utf-8")
    again = call("inbox")
    assert again.exit_code == 1
    assert "copy.csv: put into rejected/. It has the same content as other.csv" in " ".join(again.stderr.split())
    assert "empty" not in again.stdout
    assert call("inbox").exit_code == 0


def test_a_file_of_refused_rows_is_explained(here: Installed, tmp_path: Path) -> None:
    file = tmp_path / "contacts-2025-10-01-1-failed.csv"
    header = "ERRORS,id,external_id,first_name,last_name"
    file.write_text(f"{header}\nA contact with External ID [0001] already exists.,,0001,Ada,Alder\n", encoding="utf-8")
    assert call("import-contacts", str(file)).exit_code == 1
    done = call_json("import-failures", str(file))
    assert done["import"]["ledger"]["kind"] == "failures"
    errors = here.warehouse.read("sync_errors")
    assert "import_refused" in set(errors["type"])


def test_the_import_file_is_written_and_passes_its_preflight(here: Installed, tmp_path: Path) -> None:
    done = call_json("export", "--all", "--out", str(tmp_path / "import.csv"))
    assert done["ok"]
    assert done["file"]
    found = call_json("preflight", str(tmp_path / "import.csv"))
    assert found["rows"] > 0
    assert found["refused"] == 0


def test_the_same_export_is_not_written_again(here: Installed) -> None:
    first = call_json("export", "--all")["file"]
    again = call_json("export", "--all")["file"]
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    assert again["paths"] == first["paths"]
    assert not {"created", "updated", "held"} & set(call_json("export", "--messages")["file"])


def test_a_filter_that_fits_nobody_starts_no_run(here: Installed) -> None:
    runs = here.warehouse.read("sync_log").height
    refused = call("export", "--status", "nonsense")
    assert refused.exit_code == 2
    assert "needs_page" in refused.stderr
    assert here.warehouse.read("sync_log").height == runs


def test_a_job_that_fails_says_why_and_what_was_left(here: Installed) -> None:
    before = here.warehouse.counts(["raw_mn_signups", "mentors"])
    with environment({"JOTFORM_API_KEY": "a-wrong-key-of-jotform"}):
        failed = call("sync")
    assert failed.exit_code == 1
    assert "the key is refused" in failed.stderr
    assert "Not run, so left as they were" in failed.stderr
    assert "Traceback" not in failed.output
    assert "a-wrong-key-of-jotform" not in failed.output
    assert here.warehouse.counts(["raw_mn_signups", "mentors"]) == before
    assert "The last run failed" in call("status").stdout
    assert os.environ["JOTFORM_API_KEY"] != "a-wrong-key-of-jotform"
