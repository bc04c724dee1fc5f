"""`outreach`: who would get which message, the odd ones, and who is left out; it only reads (R11)."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import outreach  # noqa: F401 - it adds its command to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import Settings, packaged_config_dir
from tests.builders import YEAR, contact, mentor, together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

MENTORS = (
    mentor("0001", gb_contact_id=1),
    mentor("0002", gb_contact_id=2),
    mentor("0003", phone=None),
    mentor("0004", dropped=True),
    mentor("0005", shift_preference="Option 1"),
    mentor("0006", preferred_name="Łukasz " + "x" * 60, shift_preference="Option 1"),
    mentor("0007", preferred_name="y" * 240, shift_preference="Option 1"),
)
CONTACTS = together(contact(1), contact(2, sms_subscribed=False))


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The packaged year file, with campaigns of our own."""
    folder = tmp_path / "config"
    shutil.copytree(packaged_config_dir(), folder, ignore=shutil.ignore_patterns("campaigns"))
    (folder / "campaigns").mkdir()
    return folder


@pytest.fixture(autouse=True)
def warehouse(data_dir: Path, config_dir: Path) -> Iterator[DuckDBWarehouse]:
    values = {
        "MENTOR_PIPELINE_DATA_DIR": str(data_dir),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": str(config_dir),
        "MENTOR_PIPELINE_DATABASE_URL": "",
    }
    with environment(values):
        made = DuckDBWarehouse(Settings.load().warehouse_path)
        made.replace("mentors", together(*MENTORS), year=YEAR)
        made.upsert("raw_gb_full_contacts", CONTACTS)
        yield made


def campaign(config_dir: Path, name: str, text: str) -> None:
    (config_dir / "campaigns" / f"{name}.toml").write_text(text, encoding="utf-8")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["outreach", *words], catch_exceptions=False)


def call_json(*words: str) -> dict[str, Any]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_who_gets_what_and_who_does_not(config_dir: Path) -> None:
    campaign(config_dir, "hello", 'text = "Hi {preferred_name}, hello!"')
    (found,) = call_json("hello")["campaigns"]
    assert (found["meant"], found["texts"], found["emails"], found["sms"]) == (7, 4, 0, 6)
    assert found["by_segments"] == {"1": 2, "2": 2}
    assert [row["mn_id"] for row in found["rows"]] == ["0001", "0005", "0006", "0007"]
    assert found["rows"][0]["message_text"] == "Hi Ben, hello!"
    left = {row["reason"]: [one["mn_id"] for one in row["mentors"]] for row in found["left_out"]}
    assert left == {
        "unsubscribed from text messages": ["0002"],
        "no address for a text message": ["0003"],
        "has dropped": ["0004"],
    }
    assert found["odd"] == []
    shown = " ".join(call("hello").stdout.split())
    for words in (
        "hello: on",
        "7 mentors meant; 4 text messages (6 SMS; 2 take 2 each)",
        "Hi Ben, hello!",
        "unsubscribed from text messages 1 Cora Cedar (0002)",
    ):
        assert words in shown


def test_the_odd_ones_with_what_is_wrong(config_dir: Path) -> None:
    long = "z" * 20
    campaign(config_dir, "shift", f'text = "{long} {{preferred_name}}: {{shift_preference}}, {{partner_phone}}"')
    campaign(config_dir, "long", f'text = "{long} {{preferred_name}}: {{shift_preference}}"')
    odd = {row["mn_id"]: row["what"] for row in call_json("shift")["campaigns"][0]["odd"]}
    assert odd["0001"] == "empty: shift_preference, partner_phone"
    assert odd["0005"] == "empty: partner_phone"
    assert "0002" not in odd  # unsubscribed: that it would have been odd, too, is no matter
    odd = {row["mn_id"]: (row["channel"], row["what"]) for row in call_json("long")["campaigns"][0]["odd"]}
    assert odd["0007"] == ("text message", "271 characters are too many")
    assert set(odd) == {"0001", "0007"}
    assert "Odd ones, who get none" in call("long").stdout


def test_a_campaign_that_is_off_can_be_looked_at(config_dir: Path) -> None:
    campaign(config_dir, "later", 'active = false\ntext = "Hi"\nemail = "Hello"')
    (found,) = call_json()["campaigns"]
    assert (found["active"], found["texts"], found["emails"]) == (False, 4, 6)
    shown = " ".join(call().stdout.split())
    assert "later: off, nobody gets it" in shown
    assert "to switch on later: active = true in its file in" in shown
    with environment({"MENTOR_PIPELINE_CONFIG_DIR": ""}):
        examples = call_json()
        assert {one["name"]: one["active"] for one in examples["campaigns"]} == {
            "fundraising-nudge": False,
            "training-reminder": False,
        }
        assert examples["campaigns"][1]["texts"] > 0
        assert "copy the folder" in " ".join(call().stdout.split())


def test_two_that_meet_in_one_column_are_told(config_dir: Path) -> None:
    campaign(config_dir, "a", 'text = "A"')
    campaign(config_dir, "b", 'text = "B"\n[filter]\nshift = ["Option 1"]')
    campaign(config_dir, "c", 'active = false\ntext = "C"')
    (warning,) = call_json()["warnings"]
    assert "Campaigns a, b all have a text message for 3 mentors" in warning


def test_nothing_is_written(config_dir: Path, data_dir: Path, warehouse: DuckDBWarehouse) -> None:
    campaign(config_dir, "a", 'text = "A"')
    before = warehouse.counts(["outreach_messages", "sync_log", "sync_warnings"])
    files = sorted(data_dir.rglob("*"))
    assert call("a").exit_code == 0
    assert sorted(data_dir.rglob("*")) == files
    assert warehouse.counts(["outreach_messages", "sync_log", "sync_warnings"]) == before


def test_what_is_wrong_is_told(config_dir: Path, tmp_path: Path) -> None:
    assert "There is no campaign in" in call().stdout
    campaign(config_dir, "a", 'text = "A"')
    unknown = call("b")
    assert unknown.exit_code == 2
    assert "No campaign is called 'b'" in unknown.stderr
    campaign(config_dir, "bad", 'text = "{nickname}"')
    assert "no such field {nickname}" in call().stderr
    with environment({"MENTOR_PIPELINE_DATA_DIR": str(tmp_path / "none")}):
        (config_dir / "campaigns" / "bad.toml").unlink()
        assert "Nothing has been synced yet" in call().stderr
