"""Scenario 24, at the one moment that chance seldom finds: within a COMMIT, right before it, right after it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.acceptance import killed_in_commit
from tests.acceptance.installation import LIMIT_S, going_on
from tests.acceptance.mishaps import KILLED
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_kills import COMPARED, compare, edited, left_open, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("moment", "table"),
    [
        ("within", "mentors"), ("before", "mentors"), ("after", "mentors"), ("within", "raw_mn_signups"),
        ("within", "mn_changes"),
    ],
)  # fmt: skip
def test_killed_in_a_commit(moment: str, table: str, synced: Installation, tmp_path: Path) -> None:
    """What one transaction writes is there whole or not at all, and before and after the commit it is known which."""
    with going_on(synced, tmp_path / "never") as never, going_on(synced, tmp_path / "killed") as killed:
        (mentor, *_) = plain_mentors(never)
        for there in (never, killed):
            edited(there, mentor, 1)
        before = {name: told(killed, name) for name in COMPARED}
        never.sync()
        after = {name: told(never, name) for name in COMPARED}
        assert before[table] != after[table]

        process = killed.started(moment, table, "sync", module=killed_in_commit.__name__)
        assert process.wait(LIMIT_S) in {-signal.SIGKILL, -signal.SIGXFSZ, -signal.SIGALRM}
        settled(killed)
        found = {name: told(killed, name) for name in COMPARED}
        assert [name for name in COMPARED if found[name] not in (before[name], after[name])] == []
        if moment != "within":
            assert found[table] == (before if moment == "before" else after)[table]

        (run_id,) = left_open(killed)
        killed.sync()
        assert KILLED.is_said_in(killed.table("sync_log").filter(id=run_id)["error_message"].item())
        compare(killed, never)
        assert left_open(killed) == set()
        assert killed.warehouse.holders() == []


def settled(there: Installation) -> None:
    """Wait until the server has ended what a killed process had begun."""
    name = urlsplit(there.variables["MENTOR_PIPELINE_DATABASE_URL"]).path.lstrip("/")
    deadline = time.monotonic() + LIMIT_S
    while there.postgres and there.postgres.run(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
