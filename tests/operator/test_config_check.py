"""What `config check` says of addresses; what it says of all the rest is in `tests/test_cli_messages.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mentor_pipeline.operator.config_check import check_installation
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY
from tests.resources.scripted import Reply, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_key_goes_over_http_to_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Scripted([Reply({"content": {}})]) as here:
        variables = {
            "MENTOR_PIPELINE_DATA_DIR": str(tmp_path / "data"),
            "MENTOR_PIPELINE_DATABASE_URL": "",
            "MENTOR_PIPELINE_UI_URL": "http://mentors.office.example.org",
            JOTFORM_KEY: "a-key",
            "JOTFORM_BASE_URL": "http://api.example.org",
            GIVEBUTTER_KEY: "another-key",
            "GIVEBUTTER_BASE_URL": here.url,
        }
        with environment(variables):
            lines = check_installation()
        assert here.asked
    addresses = {line.checked: line.words for line in lines if line.checked.endswith("_URL")}
    assert list(addresses) == ["JOTFORM_BASE_URL"]
    assert addresses["JOTFORM_BASE_URL"].startswith("JOTFORM_BASE_URL is 'http://api.example.org': expected https://")
    assert "Jotform" not in {line.checked for line in lines}
