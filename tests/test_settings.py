"""Year files and `.env`: what is refused, and that every fault is named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.settings import load_environment, load_program_year, packaged_config_dir
from tests.builders import YEAR

if TYPE_CHECKING:
    from pathlib import Path

PACKAGED = (packaged_config_dir() / f"{YEAR}.toml").read_text(encoding="utf-8")
SIGN_UP_FORM, SETUP_FORM = "250685983663169", "250754977634066"


def load(folder: Path, *changes: tuple[str, str]) -> None:
    """Load the packaged year file with some of its text changed."""
    text = PACKAGED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{YEAR}.toml"
    path.write_text(text, encoding="utf-8")
    load_program_year(path)


def test_the_packaged_year_file_is_right(tmp_path: Path) -> None:
    load(tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"Dropped 25"', '"Mentors 2025"'), "every mentor would count as dropped"),
        (('"Dropped 25"', '"Dropped, 25"'), "holds a comma"),
        ((SETUP_FORM, SIGN_UP_FORM), "signup and setup have one form_id"),
        ((f'"{SETUP_FORM}"', '"٢٥٠"'), "jotform.setup.form_id"),
        (('mn_id_prefix = ""', 'mn_id_prefix = "20"'), "mn_id_prefix"),
        (('mn_id_prefix = ""', f'mn_id_prefix = "{"M" * 21}"'), "mn_id_prefix"),
        (('"📆 Shift Preference"', '"First Name"'), "'First Name' is a column of Givebutter's own template"),
        (('"📆 Shift Preference"', '"Contact  Website"'), "Contact  Website"),
        (('"📆 Shift Preference"', '"📝 sign up complete"'), "is there twice"),
        (('"📆 Shift Preference"', '"📆 Shift Preference "'), "has spaces or line breaks"),
        (('"Option 2"', '"Option 1"'), "names one of them twice"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match="nothing was read or changed") as refused:
        load(tmp_path, change)
    assert why in str(refused.value)


def test_one_question_for_two_fields_is_refused_but_a_prefix_may_be_in_the_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="phone and personal_email are one and the same question"):
        load(tmp_path, ('personal_email = "7"', 'personal_email = "6"'))
    load(tmp_path, ('prefix = "5"', 'prefix = "4"'))


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, ('"Dropped 25"', '"Mentors 2025"'), (SETUP_FORM, SIGN_UP_FORM), ("fundraising_goal = 75", ""))
    assert all(word in str(refused.value) for word in ("dropped_tag", "one form_id", "fundraising_goal"))


# -- .env ------------------------------------------------------------------------------------------------------------


def test_env_is_read_and_what_is_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENTOR_PIPELINE_A", "set")
    monkeypatch.delenv("MENTOR_PIPELINE_B", raising=False)
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfMENTOR_PIPELINE_A=file\r\n# words\r\n\r\nMENTOR_PIPELINE_B='two words'\r\n"
    )
    load_environment()
    assert (os.environ["MENTOR_PIPELINE_A"], os.environ.pop("MENTOR_PIPELINE_B")) == ("set", "two words")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"A=1\nthis is no setting = at all\n", "line 2: expected NAME=value"),
        (b"A=1\n\n# words\n\nA_KEY_WITHOUT_A_NAME\n", "line 5: expected NAME=value"),
        (b"one\nA=1\ntwo\nthree", "lines 1, 3 and 4: expected NAME=value"),
        ("A=1".encode("utf-16"), "it is no UTF-8 text"),
        ("A=Zoë".encode("latin-1"), "it is no UTF-8 text"),
    ],
)
def test_an_env_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.env") as refused:
        load_environment()
    assert why in str(refused.value)
    assert "A_KEY" not in str(refused.value)


def test_an_env_that_is_no_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / ".env")
    load_environment()
