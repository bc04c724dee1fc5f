"""Scenario 27: keys are nowhere but in the environment, and what is stored is for its owner only."""

from __future__ import annotations

import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mentor_pipeline.settings import ALERT_WEBHOOK, GIVEBUTTER_KEY, JOTFORM_KEY
from mentor_pipeline.tables import TABLES
from tests.acceptance.installation import going_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.installation import Installation

WRONG: Final = "plantedWrongKey0123456789abcdef"
WEBHOOK: Final = "http://127.0.0.1:9/services/planted-webhook-path"


@pytest.fixture(scope="module")
def there(synced: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """After a sync, a file, and a sync that failed for a wrong key."""
    with going_on(synced, tmp_path_factory.mktemp("story")) as story:
        story.variables[ALERT_WEBHOOK] = WEBHOOK
        story.export()
        right = story.variables[JOTFORM_KEY]
        story.variables[JOTFORM_KEY] = WRONG
        assert not story.run("sync").success
        story.variables[JOTFORM_KEY] = right
        yield story


def secrets_of(there: Installation) -> dict[str, str]:
    keys = {name: there.variables[name] for name in (JOTFORM_KEY, GIVEBUTTER_KEY)}
    assert all(len(key) > 15 for key in keys.values())
    return {**keys, "a wrong key": WRONG, "the webhook": "planted-webhook-path"}


def test_in_no_file_of_the_data_folder(there: Installation) -> None:
    files = [path for path in there.data_dir.rglob("*") if path.is_file()]
    assert {"mentors.duckdb", "runs.db"} <= {path.name for path in files}
    held = {path: path.read_bytes() for path in files}
    for what, secret in secrets_of(there).items():
        found = [str(path) for path, content in held.items() if secret.encode() in content]
        assert found == [], what


def test_in_no_table(there: Installation) -> None:
    """The database packs texts, so its file alone says little."""
    for name in TABLES:
        text = there.table(name).write_ndjson()
        for what, secret in secrets_of(there).items():
            assert secret not in text, (name, what)


def test_in_nothing_that_a_command_says(there: Installation) -> None:
    said = [there.call(*words) for words in (("status",), ("problems",), ("config", "check"), ("status", "--json"))]
    text = "\n".join(one.stdout + one.stderr for one in said)
    assert "Jotform" in text
    for what, secret in secrets_of(there).items():
        assert secret not in text, what


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="other systems show processes otherwise")
def test_in_no_list_of_processes(there: Installation) -> None:
    process = there.started("config", "check")
    lines: set[str] = set()
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended since
                lines.add(path.read_text(errors="replace"))
        time.sleep(0.05)
    assert any("mentor_pipeline\0config" in line for line in lines)
    for what, secret in secrets_of(there).items():
        assert not any(secret in line for line in lines), what


def test_for_the_owner_only(there: Installation) -> None:
    """The folder shuts everything in; what people take out of it or share the folder for is shut by itself too."""
    assert stat.S_IMODE(there.data_dir.stat().st_mode) == 0o700
    own = [there.settings().warehouse_path, *there.exported(), *there.settings().exports_dir.glob("*.json")]
    assert len(own) >= 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in own} == {0o600}
