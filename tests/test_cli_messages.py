"""What the commands say: that a command they name can be pasted, that every fault is told, and in whose words."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pytest
from rich.text import Text
from typer.testing import CliRunner

from mentor_pipeline.cli import archive, backup, decide, hints, jobs, look, people, show, tags  # noqa: F401 - see `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.cli.show_archive import planned
from mentor_pipeline.cli.terminal import Terminal
from mentor_pipeline.operator.archive import ArchiveReport, ContactMove
from mentor_pipeline.operator.demo import WORLD_NAME
from mentor_pipeline.operator.runs import DEMO_MARKER, Failure, RunOutcome
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings, packaged_config_dir
from tests.builders import NOW, YEAR
from tests.small_year import conflict, run, store_small_year

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

PREFIX: Final = "MENTOR_PIPELINE_"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installation of its own, in a folder of its own; what a `.env` there sets does not outlive the test."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith((PREFIX, "JOTFORM_", "GIVEBUTTER_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(data_dir))
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(params=[False, True], ids=["real", "demo"])
def options(request: pytest.FixtureRequest, data_dir: Path) -> list[str]:
    """`--demo` or nothing; there is the same small year in both."""
    folder = data_dir / "demo" if request.param else data_dir
    folder.mkdir(parents=True)
    if request.param:
        (folder / DEMO_MARKER).touch()
        (folder / WORLD_NAME).touch()
    warehouse = DuckDBWarehouse(folder / "mentors.duckdb")
    store_small_year(warehouse)
    warehouse.append("sync_log", run("failed", NOW, status="failed", error_message="Run `mentor-pipeline rebuild`."))
    return ["--demo"] if request.param else []


@pytest.fixture
def synced(data_dir: Path) -> DuckDBWarehouse:
    warehouse = DuckDBWarehouse(data_dir / "mentors.duckdb")
    store_small_year(warehouse)
    return warehouse


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def joined(text: str) -> str:
    return " ".join(text.split())


# -- commands that are named ------------------------------------------------------------------------------------------


def test_every_command_that_is_named_does_it_where_it_was_shown(options: list[str], tmp_path: Path) -> None:
    """What was shown of the demo is never done to the real data by a command that is pasted."""
    sheet = tmp_path / "two words.csv"
    for words in (
        ["status"], ["status", "--json"], ["conflicts", "list"], ["conflicts", "export", str(sheet)],
        ["conflicts", "accept-recommended", "--by", "Ada Elm"], ["conflicts", "show", "none"], ["archive", "plan"],
        ["release", "plan"], ["forget", "0001"], ["conflicts", "import", str(sheet)], ["why", "0001"],
    ):  # fmt: skip
        result = call(*options, *words)
        said = joined(result.output)
        commands = re.findall(r"mentor-pipeline (\S+)", said)
        assert all((word == "--demo") == bool(options) for word in commands), said
        if words[0] in {"status", "conflicts", "forget"}:
            assert commands, words
    assert f"conflicts import '{sheet}'" in said or "why" in words


def test_an_error_names_the_command_for_the_demo_too(data_dir: Path) -> None:
    folder = data_dir / "demo"
    folder.mkdir(parents=True)
    (folder / DEMO_MARKER).touch()
    (folder / WORLD_NAME).touch()
    refused = call("--demo", "problems", "--json")
    assert refused.exit_code == 1
    assert "`mentor-pipeline --demo sync`" in json.loads(refused.stdout)["error"]
    assert "`mentor-pipeline sync`" in call("problems").stderr


def test_in_the_demo_only_commands_get_the_option_and_styles_stay() -> None:
    text = Text.assemble(("Next: ", "bold"), "`mentor-pipeline sync`, then mentor-pipeline edit 1 notes x")
    with hints.in_demo():
        shown = hints.shown(text)
        kept = (
            "mentor-pipeline 1.2",
            "the mentor-pipeline that",
            "/bin/mentor-pipeline sync",
            "`mentor-pipeline demo`",
        )
        assert [hints.said(words) for words in kept] == list(kept)
        assert hints.said("`mentor-pipeline --demo sync`") == "`mentor-pipeline --demo sync`"
    assert shown.plain == "Next: `mentor-pipeline --demo sync`, then mentor-pipeline --demo edit 1 notes x"
    assert [(span.start, span.end) for span in shown.spans] == [(0, 6)]
    assert hints.said("`mentor-pipeline sync`") == "`mentor-pipeline sync`"


# -- config check -----------------------------------------------------------------------------------------------------


def test_config_check_names_every_fault_at_once_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    year = (packaged_config_dir() / f"{YEAR}.toml").read_text(encoding="utf-8")
    faulty = year.replace("fundraising_goal = 75", 'fundraising_goal = "much"\ncolour = 1', 1)
    (tmp_path / f"{YEAR}.toml").write_text(faulty, encoding="utf-8")
    monkeypatch.setenv(f"{PREFIX}CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv(f"{PREFIX}YER", "2025")
    monkeypatch.setenv(f"{PREFIX}POSTGRES_SERVICE_HOST", "of Kubernetes")
    values = {
        f"{PREFIX}KEEP_RUNS_DAYS": "many", f"{PREFIX}KEEP_EXPORTS_DAYS": "0", f"{PREFIX}EXECUTOR": "cloud",
        f"{PREFIX}SCHEDULES_ON": "perhaps", f"{PREFIX}ALERT_SMTP_URL": "a-secret.example.org",
        f"{PREFIX}ALERT_WEBHOOK": "a-secret.slack", f"{PREFIX}ALERT_TO": "foo", f"{PREFIX}DATA_DR": "x",
        "JOTFORM_BASE_URL": "api.jotform.com", "ALERT_FROM": "x", "JOTFROM_API_KEY": "a-secret", "PORT": "3000",
        JOTFORM_KEY: "a-secret",
    }  # fmt: skip
    lines = ["a-secret", *(f"{name}={value}" for name, value in values.items())]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    result = call("config", "check", "--json")
    assert result.exit_code == 2
    faults = [
        (line["checked"], line["words"]) for line in json.loads(result.stdout)["checks"] if line["result"] != "ok"
    ]
    words = dict(faults)
    stale = [told for checked, told in faults if checked == f"year file {YEAR}.toml"]
    assert sorted(checked for checked, _ in faults) == sorted(
        [".env", f"{PREFIX}KEEP_RUNS_DAYS", f"{PREFIX}KEEP_EXPORTS_DAYS", f"{PREFIX}EXECUTOR", f"{PREFIX}SCHEDULES_ON",
         f"{PREFIX}ALERT_SMTP_URL", f"{PREFIX}ALERT_WEBHOOK", f"{PREFIX}ALERT_TO", f"{PREFIX}ALERT_FROM",
         f"{PREFIX}DATA_DR", f"{PREFIX}YER", "JOTFORM_BASE_URL", "ALERT_FROM", "JOTFROM_API_KEY", GIVEBUTTER_KEY,
         *[f"year file {YEAR}.toml"] * len(stale)]
    )  # fmt: skip
    assert words[".env"].startswith("line 1: expected NAME=value")
    assert words[f"{PREFIX}KEEP_RUNS_DAYS"] == "expected a whole number (found: 'many')"
    assert words[f"{PREFIX}DATA_DR"].endswith(f"is it {PREFIX}DATA_DIR?")
    assert words["ALERT_FROM"].endswith(f"is it {PREFIX}ALERT_FROM?")
    assert words["JOTFROM_API_KEY"].endswith(f"is it {JOTFORM_KEY}?")
    assert "a-secret" not in result.output
    assert len(stale) == 2
    assert any("colour: there is no such setting" in told for told in stale)
    assert any("fundraising_goal: expected a number" in told for told in stale)
    end = call("config", "check").stdout.split("Next: ")[1]
    assert end.startswith(f"{len(faults)} faults.")


def test_addresses_of_mails_are_looked_at_without_a_mail_server_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}ALERT_TO", "foo")
    found = {line["checked"] for line in json.loads(call("config", "check", "--json").stdout)["checks"]}
    assert f"{PREFIX}ALERT_TO" in found
    assert f"{PREFIX}ALERT_FROM" not in found
    assert Settings.load().alert_to == "foo"  # no reason to refuse every command


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_says_that_scanned_ids_are_not_recorded(
    synced: DuckDBWarehouse, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert synced
    monkeypatch.setenv("COLUMNS", "400")  # the folder of a test may have a long name
    assert "not recorded" not in call("status").stdout
    (data_dir / "check-ins").mkdir()
    left = data_dir / "check-ins" / "check-in-undo-20251001T120000Z-1.csv"
    left.write_text("0001,2025-10-01T12:00:00+00:00\n", encoding="utf-8")
    shown = joined(call("status").stdout)
    assert "holds ids that are not recorded" in shown
    assert f"mentor-pipeline check-in --file {left} --undo`" in shown
    assert json.loads(call("status", "--json").stdout)["scans"] == [str(left)]


# -- lists ------------------------------------------------------------------------------------------------------------


def test_a_type_without_rows_is_good_news(synced: DuckDBWarehouse) -> None:
    assert synced
    for words in (["problems", "--type", "import_refused"], ["conflicts", "list", "--type", "data_staleness"]):
        found = call(*words)
        assert found.exit_code == 0
        assert found.stdout.startswith("No ")
        assert words[-1] in found.stdout
        assert call(*words[:-1], "nonsense").exit_code == 2


def test_all_conflicts_can_be_read(synced: DuckDBWarehouse) -> None:
    for number in range(show.CONFLICTS_SHOWN + 10):
        synced.upsert("sync_conflicts", conflict(f"1{number:03}", "email_mismatch", "low"))
    cut = call("conflicts", "list", "--type", "email_mismatch").stdout
    assert "and 10 more (--all shows them)" in cut
    whole = call("conflicts", "list", "--type", "email_mismatch", "--all").stdout
    assert "more (" not in whole
    assert whole.count("\n") > cut.count("\n")


def test_what_was_decided_is_listed_with_who_did(synced: DuckDBWarehouse) -> None:
    told: dict[str, Any] = {"user_decision": "custom", "custom_value": "42", "resolved_by": "Cleo", "resolved_at": NOW}
    decided = conflict("0001", "email_mismatch", "low", status="resolved")
    synced.upsert("sync_conflicts", decided.with_columns(pl.lit(value).alias(name) for name, value in told.items()))
    assert f"Decided: custom 42 by Cleo at {NOW:%Y-%m-%d}" in call("conflicts", "list", "--status", "resolved").stdout
    assert "Decided" not in call("conflicts", "list").stdout


# -- deciding ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_of_a_sheet_says_that_nothing_was_written(synced: DuckDBWarehouse, tmp_path: Path) -> None:
    rows = synced.read("sync_conflicts", year=YEAR).filter(status="pending", conflict_type="phone_mismatch")
    sheet = tmp_path / "my sheet.csv"
    sheet.write_text(f"conflict_id,decision\n{rows['id'][0]},a\n", encoding="utf-8")
    shown = joined(call("conflicts", "import", str(sheet), "--by", "Ada").stdout)
    assert "Nothing was written: this only shows what 1 decision would do." in shown
    assert "from now on" not in shown
    assert "accepted" not in shown
    assert f"`mentor-pipeline conflicts import '{sheet}' --by Ada --yes`" in shown
    sheet.write_text(f"conflict_id,decision\n{rows['id'][0]},\n", encoding="utf-8")
    shown = joined(call("conflicts", "import", str(sheet)).stdout)
    assert "holds no decision: the column decision is empty in every row. Nothing was written." in shown
    assert "Next: write a, b, custom or skip into it" in shown


def test_where_nothing_can_be_done_no_command_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    move = ContactMove(7, "Ada", "0001", "Ada", None, "", "MN0001", "why", state="failed", error="It is archived.")
    report = ArchiveReport("unrelease", False, (move,))
    Terminal().result({}, *planned(report, "mentor-pipeline release undo --all --yes"))
    said = capsys.readouterr().out
    assert "--yes" not in said
    assert "none of these can be done" in said


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_step_is_named_once() -> None:
    failure = Failure("raw_mn_signups", "raw_mn_signups: 552 rows instead of 800.")
    said = show.run_failed(RunOutcome("sync", "r", False, 1.0, (), (failure,)), "sync")
    assert said.count("raw_mn_signups") == 1
