"""Scenario 26: the Postgres server is started anew in the middle of a sync."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

from mentor_pipeline.simulator import generate_world
from tests.acceptance.installation import LIMIT_S, installed
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_kills import edited
from tests.builders import program
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.3, 1.5, 3.0])
def test_the_run_fails_in_words_and_the_next_one_makes_it_good(after_s: float, tmp_path: Path) -> None:
    world = generate_world(program(), seed=5, mentors=40, contacts=300)
    with running_postgres() as server, installed(tmp_path / "data", world, postgres=server) as there:
        there.sync()
        (mentor, *_) = plain_mentors(there)
        edited(there, mentor, 1)
        sync = there.started("sync", output=subprocess.PIPE)
        there.wait_for_run(sync)
        time.sleep(after_s)
        server.restart()
        _, said = sync.communicate(timeout=LIMIT_S)
        if sync.returncode:  # nothing was asked of the server just then, where it went well
            assert "Postgres" in said
            assert "Traceback" not in said
        assert there.warehouse.holders() == []
        there.sync()
        assert there.table("sync_log").filter(status="running").is_empty()
        changes = there.table("mn_changes").filter(mn_id=mentor["mn_id"], change_type="field_change")
        of_sizes = changes.filter(pl.col("field_name") == "shirt_size")
        assert of_sizes.height == 1
        assert there.mentor(mentor["mn_id"])["preferred_name"] == "Robin 1"
