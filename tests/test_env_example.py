"""`.env.example` names every setting there is, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings

if TYPE_CHECKING:
    import pytest

EXAMPLE = Path(__file__).parent.parent / ".env.example"
KEYS = {JOTFORM_KEY, GIVEBUTTER_KEY}


def variables() -> dict[str, str]:
    """Variable of each field of the settings."""
    return {
        str(field.validation_alias or f"MENTOR_PIPELINE_{name.upper()}"): name
        for name, field in Settings.model_fields.items()
    }


def test_it_names_every_setting_and_no_other() -> None:
    named = re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(named) == sorted({*variables(), *KEYS, "DAGSTER_HOME"})


def test_it_holds_no_keys() -> None:
    assert dotenv_values(EXAMPLE) == dict.fromkeys(KEYS, "")


def test_the_defaults_it_shows_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    shown = dict(re.findall(r"^# ([A-Z_]+)=(http\S+|\d+(?:\.\d+)?|\./data)$", text, flags=re.MULTILINE))
    settings = Settings().model_dump()
    for variable, value in shown.items():
        default = settings[variables()[variable]]
        if default is not None:
            assert type(default)(value) == default, variable
    assert {"JOTFORM_BASE_URL", "GIVEBUTTER_REQUESTS_PER_SECOND", "MENTOR_PIPELINE_DATA_DIR"} <= set(shown)
