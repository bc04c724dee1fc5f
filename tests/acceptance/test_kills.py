"""Scenario 24: whatever is killed at whatever moment, one clean run later everything is as if nothing had been.

Two installations see the same world and the same edits. One is never disturbed; the other one's commands are killed for
good again and again. What a run writes down of itself (times, run ids, `sync_log`) differs, everything else is equal.
"""

from __future__ import annotations

import random
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import polars as pl
import pytest
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from mentor_pipeline.operator.runs import environment
from mentor_pipeline.sensors.housekeeping import end_abandoned
from mentor_pipeline.tables import TABLES, Type
from tests.acceptance.installation import LIMIT_S, going_on
from tests.acceptance.test_every_hour import files_of, plain_mentors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation

COMMANDS: Final = (("sync",), ("sync",), ("export",), ("rebuild",), ("contact-refresh",), ("sync",))
OF_THE_RUN: Final = {"id", "run_id", "detected_by", "created_by", "score", "score_parts"}
"""A score counts the days since a contact was last edited, so it goes down a little from run to run."""
NOT_COMPARED: Final = {"sync_log", "source_reads"}
"""They tell of runs and of reads, of which a killed installation has more."""
COMPARED: Final = sorted(set(TABLES) - NOT_COMPARED)
EDITS: Final = 5
ATTEMPTS: Final = 3
"""So many a kill at most: a command that is over too soon is begun again."""


def left_open(there: Installation) -> set[str]:
    """Runs that began and did not end; the next run closes their rows."""
    return set(there.table("sync_log").filter(status="running")["id"])


def killed_somewhere(there: Installation, words: tuple[str, ...], after_s: float) -> bool:
    """Kill a command so long after its run began; True when the run was at work: it began, and could not end."""
    before = left_open(there)
    process = there.started(*words)
    try:
        there.wait_for_run(process)
        time.sleep(after_s)
    finally:
        process.send_signal(signal.SIGKILL)
    process.wait(LIMIT_S)
    return bool(left_open(there) - before)


def edited(there: Installation, mentor: dict[str, Any], turn: int) -> None:
    """A mentor of their own is edited each time, so that the changes are the same however runs fall between."""
    size = "S" if mentor["shirt_size"] != "S" else "L"
    there.world.submit(
        "signup", mn_id=mentor["mn_id"], name={"first": mentor["first_name"], "last": mentor["last_name"]},
        prefix=mentor["preferred_name"], phone=mentor["phone"], personal_email=mentor["personal_email"],
        uga_email=mentor["uga_email"], shirt_size=size,
    )  # fmt: skip
    there.world.edit_contact(mentor["gb_contact_id"], prefix=f"Robin {turn}")


def told(there: Installation, table: str) -> list[str]:
    """Rows of a table without what only tells when and by which run they were written."""
    spec = TABLES[table]
    own = {column.name for column in spec.columns if column.type is Type.TIMESTAMP} | OF_THE_RUN
    return sorted(map(str, there.table(table).select(pl.exclude(*own)).to_dicts()))


def in_the_way(there: Installation) -> list[str]:
    """Runs that would keep Dagster's queue waiting, after the sensor's turn."""
    with environment({"DAGSTER_HOME": str(there.settings().dagster_home)}), dg.DagsterInstance.get() as instance:
        end_abandoned(instance, there.warehouse, datetime.now(UTC))
        return [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))]


def compare(killed: Installation, never: Installation) -> None:
    for table in COMPARED:
        assert told(killed, table) == told(never, table), table


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_any_moment(kills: int, synced: Installation, tmp_path: Path) -> None:
    chance = random.Random(kills)  # noqa: S311 - nothing is secret here
    with going_on(synced, tmp_path / "never") as never, going_on(synced, tmp_path / "killed") as killed:
        mentors = plain_mentors(never)
        longest: dict[tuple[str, ...], float] = {}
        at_work = edits = 0
        for turn in range(kills * ATTEMPTS):
            if at_work == kills:
                break
            if at_work == edits * EDITS:
                for there in (never, killed):
                    edited(there, mentors[edits], turn)
                edits += 1
            words = COMMANDS[turn % len(COMMANDS)]
            after = chance.uniform(0, longest.get(words, 4.0))
            was_at_work = killed_somewhere(killed, words, after)
            at_work += was_at_work
            longest[words] = max(0.3, after) if not was_at_work else longest.get(words, 4.0)
            for path in killed.exported():
                assert path.with_suffix(".json").exists(), path
        assert at_work == kills
        for there in (never, killed):
            there.sync()
            there.export(everything=True)
        compare(killed, never)
        assert killed.warehouse.holders() == []
        assert killed.table("sync_log").filter(status="running").is_empty()
        assert in_the_way(killed) == []
        newest = [files_of(there)[there.exported()[-1].name][1] for there in (never, killed)]
        assert newest[0] == newest[1]
        leftovers = [
            path.name for path in killed.settings().exports_dir.iterdir() if path.suffix not in {".csv", ".json"}
        ]
        assert leftovers == []
