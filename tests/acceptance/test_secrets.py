"""Scenario 27: keys are nowhere but in the environment, and what is stored is for its owner only."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.resources.postgres_warehouse import WRITERS
from mentor_pipeline.settings import ALERT_SMTP_URL, ALERT_WEBHOOK, DATABASE_URL, GIVEBUTTER_KEY, JOTFORM_KEY
from mentor_pipeline.tables import TABLES
from tests.acceptance.installation import LIMIT_S, going_on
from tests.acceptance.opened_ui import opened_ui
from tests.acceptance.processes import command_lines, family, needs_proc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen

    from tests.acceptance.installation import Installation

WRONG: Final = "plantedWrongKey0123456789abcdef"
WEBHOOK: Final = "http://127.0.0.1:9/services/planted-webhook-path"
DATABASE_PASSWORD: Final = "plantedDatabasePassword9"
SMTP_PASSWORD: Final = "plantedMailPassword8"
MAIL: Final = {
    ALERT_SMTP_URL: f"smtp://mailer:{SMTP_PASSWORD}@127.0.0.1:9",
    "MENTOR_PIPELINE_ALERT_FROM": "mentors@example.org",
    "MENTOR_PIPELINE_ALERT_TO": "ada@example.org",
}
NO_DATABASE: Final = f"postgresql://mentors:{DATABASE_PASSWORD}@127.0.0.1:9/mentors"


@pytest.fixture(scope="module")
def there(synced: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """After a sync, a file, and a sync that failed for a wrong key."""
    with going_on(synced, tmp_path_factory.mktemp("story")) as story:
        story.variables |= {ALERT_WEBHOOK: WEBHOOK, **MAIL}
        if story.postgres:  # which lets everybody in from this machine, whatever the password
            parts = urlsplit(story.variables[DATABASE_URL])
            story.variables[DATABASE_URL] = parts._replace(netloc=f"postgres:{DATABASE_PASSWORD}@").geturl()
            story.warehouse = open_warehouse(story.settings())
        story.export()
        right = story.variables[JOTFORM_KEY]
        story.variables[JOTFORM_KEY] = WRONG
        assert not story.run("sync").success
        story.variables[JOTFORM_KEY] = right
        yield story


def secrets_of(there: Installation) -> dict[str, str]:
    keys = {name: there.variables[name] for name in (JOTFORM_KEY, GIVEBUTTER_KEY)}
    assert all(len(key) > 15 for key in keys.values())
    passwords = {"the database's password": DATABASE_PASSWORD, "the mail server's password": SMTP_PASSWORD}
    return {**keys, **passwords, "a wrong key": WRONG, "the webhook": "planted-webhook-path"}


def in_files(there: Installation) -> dict[str, list[str]]:
    """The files of the data folder that hold a secret."""
    held = {path: path.read_bytes() for path in there.data_dir.rglob("*") if path.is_file()}
    assert {"runs.db"} | (set() if there.postgres else {"mentors.duckdb"}) <= {path.name for path in held}
    found = {
        what: [str(path) for path, content in held.items() if secret.encode() in content]
        for what, secret in secrets_of(there).items()
    }
    return {what: paths for what, paths in found.items() if paths}


def in_tables(there: Installation) -> list[tuple[str, str]]:
    """The tables that hold a secret; a database packs texts, so its files alone say little."""
    texts = {name: there.table(name).write_ndjson() for name in TABLES}
    if there.postgres:
        texts[WRITERS] = there.warehouse.query(f"SELECT * FROM {WRITERS}").write_ndjson()
    return [
        (name, what) for name, text in texts.items() for what, secret in secrets_of(there).items() if secret in text
    ]


def in_text(there: Installation, text: str) -> list[str]:
    return [what for what, secret in secrets_of(there).items() if secret in text]


def shown_of(process: Popen[str]) -> set[str]:
    """Every command line that the system showed of a process and its children until it ended."""
    lines: set[str] = set()
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        lines |= command_lines(family(process.pid))
        time.sleep(0.05)
    return lines


def test_in_no_file_of_the_data_folder(there: Installation) -> None:
    assert in_files(there) == {}


def test_in_no_table(there: Installation) -> None:
    assert in_tables(there) == []


def test_in_nothing_that_a_command_says(there: Installation) -> None:
    said = [there.call(*words) for words in (("status",), ("problems",), ("config", "check"), ("status", "--json"))]
    text = "\n".join(one.stdout + one.stderr for one in said)
    assert "Jotform" in text
    assert in_text(there, text) == []


def test_in_nothing_that_is_said_of_a_database_that_does_not_answer(there: Installation) -> None:
    right = there.variables[DATABASE_URL]
    there.variables[DATABASE_URL] = NO_DATABASE
    said = [there.call(*words) for words in (("status",), ("sync", "--json"), ("config", "check"))]
    there.variables[DATABASE_URL] = right
    text = "\n".join(one.stdout + one.stderr for one in said)
    assert "127.0.0.1" in text
    assert in_text(there, text) == []
    assert in_files(there) == {}


@pytest.mark.slow
@needs_proc
def test_in_no_list_of_processes(there: Installation) -> None:
    lines = shown_of(there.started("sync"))
    assert any("mentor_pipeline\0sync" in line for line in lines)
    assert in_text(there, "\n".join(lines)) == []


@needs_proc
@pytest.mark.slow
def test_nowhere_of_what_dev_starts_and_of_alerts_that_cannot_be_sent(there: Installation, tmp_path: Path) -> None:
    """The daemon's run is refused by Jotform, and neither the chat nor the mail server takes the alert of it."""
    log = tmp_path / "dev.log"
    there.variables[JOTFORM_KEY], right = WRONG, there.variables[JOTFORM_KEY]
    lines: set[str] = set()
    with log.open("w", encoding="utf-8") as output, opened_ui(there, output) as ui:
        run_id = ui.launch("sync")
        deadline = time.monotonic() + 2 * LIMIT_S
        while ui.runs()[run_id][1] != "FAILURE" or not was_told(there, run_id):
            assert time.monotonic() < deadline
            lines |= command_lines(family(ui.process.pid))
            time.sleep(0.1)
    there.variables[JOTFORM_KEY] = right
    assert sum("dagster" in line for line in lines) >= 3  # the web server, the daemon, the code server
    assert in_text(there, "\n".join(lines)) == []
    assert in_text(there, log.read_text(encoding="utf-8")) == []
    assert in_files(there) == {}
    assert in_tables(there) == []


def was_told(there: Installation, run_id: str) -> bool:
    log = there.settings().data_dir / "alerts.log"
    return log.exists() and run_id[:8] in log.read_text(encoding="utf-8")


def test_for_the_owner_only(there: Installation) -> None:
    """The folder shuts everything in; what people take out of it or share the folder for is shut by itself too."""
    assert stat.S_IMODE(there.data_dir.stat().st_mode) == 0o700
    own = [*there.exported(), *there.settings().exports_dir.glob("*.json")]
    assert len(own) >= 2
    if not there.postgres:
        own.append(there.settings().warehouse_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in own} == {0o600}
