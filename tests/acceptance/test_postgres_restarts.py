"""Scenario 26: the Postgres server is started anew in the middle of a sync."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

from mentor_pipeline.errors import WarehouseError
from mentor_pipeline.simulator import generate_world
from tests.acceptance.installation import LIMIT_S, installed
from tests.acceptance.mishaps import POSTGRES_AWAY, POSTGRES_RESTARTED
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_kills import edited
from tests.builders import program
from tests.postgres import running_postgres
from tests.resources.other_process import links

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
            assert any(mishap.is_said_in(said) for mishap in (POSTGRES_RESTARTED, POSTGRES_AWAY)), said
            assert "Traceback" not in said
        assert there.warehouse.holders() == []
        there.sync()
        assert there.table("sync_log").filter(status="running").is_empty()
        changes = there.table("mn_changes").filter(mn_id=mentor["mn_id"], change_type="field_change")
        of_sizes = changes.filter(pl.col("field_name") == "shirt_size")
        assert of_sizes.height == 1
        assert there.mentor(mentor["mn_id"])["preferred_name"] == "Robin 1"


@pytest.mark.slow
def test_a_server_that_is_there_for_one_run_and_not_for_the_next(tmp_path: Path) -> None:
    world = generate_world(program(), seed=5, mentors=40, contacts=300)
    with running_postgres() as server, installed(tmp_path / "data", world, postgres=server) as there:
        there.sync()
        before = there.counts()
        server.server.stop()
        refused = there.call("sync")
        server.server.start()
        assert refused.exit_code == 1
        assert POSTGRES_AWAY.is_said_in(refused.output), refused.output
        assert there.counts() == before


@pytest.mark.slow
def test_a_connection_that_breaks_in_a_transaction(tmp_path: Path) -> None:
    world = generate_world(program(), seed=5, mentors=40, contacts=300)
    with running_postgres() as server, installed(tmp_path / "data", world, postgres=server) as there:
        there.sync()
        with (  # noqa: PT012 - the break, and what comes of it
            pytest.raises(WarehouseError) as raised,
            there.warehouse.write() as transaction,
        ):
            transaction.replace("mentor_aliases", links("1"), year=2025)
            server.restart()
            transaction.replace("mentor_aliases", links("2"), year=2025)
        assert POSTGRES_RESTARTED.is_said_in(str(raised.value))
        assert there.table("mentor_aliases").is_empty()
