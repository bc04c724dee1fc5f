"""Scenario 25: many at once. Who changes something waits in line and is then done; who only looks is answered soon."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pytest

from tests.acceptance.installation import LIMIT_S
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_kills import edited
from tests.resources.other_process import other_process

if TYPE_CHECKING:
    from tests.acceptance.installation import Installation

ANSWER_S: Final = 5
"""Within so many seconds who only looks knows something."""


def all_of(there: Installation, *commands: tuple[str, ...]) -> None:
    """Commands that begin together; each is to succeed."""
    processes = [(words, there.started(*words, output=subprocess.PIPE)) for words in commands]
    for words, process in processes:
        said, complained = process.communicate(timeout=LIMIT_S * 2)
        assert process.returncode == 0, (words, said, complained)


def runs_since(there: Installation, earlier: set[str]) -> pl.DataFrame:
    return there.table("sync_log").filter(~pl.col("run_id").is_in(earlier)).sort("started_at")


def looked(there: Installation, *words: str) -> tuple[int, str, float]:
    """Exit code, output and seconds of a command that only reads."""
    began = time.monotonic()
    result = there.call(*words)
    return result.exit_code, result.output, time.monotonic() - began


@pytest.mark.slow
def test_two_syncs_and_a_dropped_export_at_once(story: Installation) -> None:
    earlier = set(story.table("sync_log")["run_id"])
    (mentor, *_) = plain_mentors(story)
    edited(story, mentor, 1)
    inbox = story.settings().inbox_dir
    inbox.mkdir(exist_ok=True)
    name = story.world.export_csv(inbox).name

    all_of(story, ("sync",), ("sync",), ("inbox",))

    runs = runs_since(story, earlier)
    assert sorted(runs["sync_type"]) == ["csv_import", "manual", "manual"]
    assert set(runs["status"]) == {"completed"}
    ends = runs["finished_at"].to_list()
    assert all(end <= begin for end, begin in zip(ends, runs["started_at"].to_list()[1:], strict=False))
    (entry,) = story.table("csv_import_log").filter(filename=name).to_dicts()
    assert (entry["status"], entry["attempts"]) == ("completed", 1)
    assert (inbox / "done" / name).exists()
    told = story.table("mn_changes").filter(mn_id=mentor["mn_id"], field_name="shirt_size")
    assert told.height == 1  # not once a sync
    assert story.warehouse.holders() == []


@pytest.mark.slow
def test_ten_commands_at_once_are_all_done(story: Installation) -> None:
    mentors = plain_mentors(story)
    edits: list[Any] = [("edit", mentor["mn_id"], "notes", f"at the door {mentor['mn_id']}") for mentor in mentors[:4]]
    came = [mentor["mn_id"] for mentor in mentors[4:7]]
    files = len(story.exported())
    all_of(
        story,
        ("sync",),
        ("rebuild",),
        ("export",),
        *edits,
        ("check-in", *came),
        ("contact-refresh",),
        ("sync",),
    )
    assert len(story.exported()) == files + 1
    for _, mn_id, field, value in edits:
        assert story.mentor(mn_id)[field] == value
    assert all(story.mentor(mn_id)["training_done"] for mn_id in came)
    assert story.table("sync_log").filter(pl.col("status") != "completed").is_empty()
    assert story.warehouse.holders() == []


@pytest.mark.slow
def test_who_only_looks_is_answered_during_a_sync(story: Installation) -> None:
    mn_id = plain_mentors(story)[0]["mn_id"]
    sync = story.started("sync")
    story.wait_for_run(sync)
    answered = 0
    while sync.poll() is None:
        for words in (("status",), ("why", mn_id)):
            code, said, seconds = looked(story, *words)
            assert code == 0 or "sync" in said, said
            assert seconds < ANSWER_S
            answered += code == 0
    assert sync.wait() == 0
    assert answered >= 2


def test_who_only_looks_is_told_who_keeps_the_warehouse(story: Installation) -> None:
    """On Postgres nobody waits for a writer."""
    with other_process("run", story.warehouse):
        code, said, seconds = looked(story, "status")
    assert seconds < ANSWER_S
    if story.postgres:
        assert code == 0
    else:
        assert code == 1
        assert "run 0f3a9c21 of job sync" in said
        assert "hourly_sync" in said
        assert "since" in said
