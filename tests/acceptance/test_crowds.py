"""Scenario 25: many at once. Who changes something waits in line and is then done; who only looks is answered soon."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.operator.runs import environment
from tests.acceptance.installation import LIMIT_S
from tests.acceptance.mishaps import READER_DURING_A_SYNC, SECOND_RUN
from tests.acceptance.opened_ui import opened_ui
from tests.acceptance.test_every_hour import plain_mentors
from tests.acceptance.test_kills import edited
from tests.builders import YEAR
from tests.resources.other_process import locked, other_process

if TYPE_CHECKING:
    from tests.acceptance.installation import Installation

ANSWER_S: Final = 5
"""Within so many seconds who only looks knows something."""
VERSION_S: Final = 0.5
"""What `mentor-pipeline --version` takes at most while the machine has nothing else to do."""


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


def took(there: Installation, *words: str) -> tuple[int, str, float]:
    """Exit code, output and seconds of a command, from the start of its process to its end."""
    began = time.monotonic()
    process = there.started(*words, output=subprocess.PIPE)
    said, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, said, time.monotonic() - began


def busyness(there: Installation) -> float:
    """How many times as long as on an idle machine a command takes now."""
    return max(1.0, statistics.median(took(there, "--version")[2] for _ in range(3)) / VERSION_S)


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
        assert READER_DURING_A_SYNC.is_said_in(said), said
        assert "run 0f3a9c21 of job sync" in said
        assert "hourly_sync" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_ui_a_sensors_run_and_commands_at_once(story: Installation) -> None:
    """Whatever wants to write waits in line, whoever started it, and who looks is answered or told who is at work."""
    earlier = set(story.table("sync_log")["run_id"])
    (mentor, *_) = plain_mentors(story)[10:]
    inbox = story.settings().inbox_dir
    inbox.mkdir(exist_ok=True)
    with opened_ui(story) as ui:
        story.world.edit_contact(mentor["gb_contact_id"], prefix="Wren")
        name = story.world.export_csv(inbox).name
        launched = ui.launch("rebuild")
        syncs = [story.started("sync", output=subprocess.PIPE) for _ in range(2)]
        asked = answered = 0
        deadline = time.monotonic() + 4 * LIMIT_S
        while (
            any(sync.poll() is None for sync in syncs) or story.table("csv_import_log").filter(filename=name).is_empty()
        ):
            assert time.monotonic() < deadline
            slowness = busyness(story)
            for words in (("status",), ("why", mentor["mn_id"])):
                code, said, seconds = took(story, *words)
                slowness = max(slowness, busyness(story))
                assert seconds < ANSWER_S * slowness, (words, slowness)
                assert code == 0 or (READER_DURING_A_SYNC.is_said_in(said) and not story.postgres), said
                asked += 1
                answered += code == 0
        for sync in syncs:
            said, _ = sync.communicate(timeout=LIMIT_S)
            assert sync.returncode == 0, said
        assert ui.wait_for(launched) == "SUCCESS"
        runs_here = {run_id: job for run_id, (job, _) in ui.runs().items() if run_id not in earlier}
        imported = [run_id for run_id, job in runs_here.items() if job == "import_contacts"]
        assert [ui.wait_for(run_id) for run_id in imported] == ["SUCCESS"]
        assert {state for _, state in ui.runs().values()} == {"SUCCESS"}
    assert asked >= answered >= 2
    runs = runs_since(story, earlier)
    assert set(runs["status"]) == {"completed"}
    assert sorted(runs.filter(sync_type="csv_import")["triggered_by"]) == ["inbox_sensor"]
    assert {launched, *imported} <= set(runs["run_id"])
    ends = runs["finished_at"].to_list()
    assert all(end <= begin for end, begin in zip(ends, runs["started_at"].to_list()[1:], strict=False))
    (entry,) = story.table("csv_import_log").filter(filename=name).to_dicts()
    assert (entry["status"], entry["attempts"]) == ("completed", 1)
    assert story.mentor(mentor["mn_id"])["preferred_name"] == "Wren"
    assert story.warehouse.holders() == []


@pytest.mark.slow
def test_a_second_run_says_for_whom_it_waits_and_is_then_done(story: Installation) -> None:
    with locked(story.warehouse, year=YEAR):
        second = story.started("rebuild")
        deadline = time.monotonic() + LIMIT_S
        while not any(SECOND_RUN.is_said_in(line) for line in logged(story)):
            assert second.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
    assert second.wait(LIMIT_S) == 0


def logged(there: Installation) -> list[str]:
    """What the newest run logged."""
    with environment({"DAGSTER_HOME": str(there.settings().dagster_home)}), dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        return [entry.user_message for entry in instance.all_logs(run.run_id)]
