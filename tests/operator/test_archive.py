"""Archiving by the plan and restoring from the log, against the simulated Givebutter (R5)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import stamina

from mentor_pipeline.domain.api_contacts import contact_rows
from mentor_pipeline.domain.changes import archived_duplicates
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.errors import ApiError, DecisionRefusedError
from mentor_pipeline.operator.archive import LOG, PLAN, Archivist
from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, World
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, program, row, together
from tests.postgres import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mentor_pipeline.operator.archive import ArchiveReport, ContactMove
    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.resources.warehouse import Warehouse

PROGRAM = program()
CONTACTS = "raw_gb_full_contacts"
WINNER, FIRST, SECOND, THIRD, REVIEWED = 7, 8, 9, 10, 11


@pytest.fixture
def world() -> World:
    made = World.empty(PROGRAM, clock=lambda: NOW)
    for contact_id in (WINNER, FIRST, SECOND, THIRD, REVIEWED):
        made.add_contact(id=contact_id, first_name="Ada", last_name=f"Alder{contact_id}")
    return made


@pytest.fixture
def simulator(world: World) -> Iterator[Simulator]:
    with Simulator(world) as running, stamina.set_testing(True, attempts=6, cap=True):
        yield running


@pytest.fixture
def archivist(simulator: Simulator, warehouse: Warehouse) -> Archivist:
    """For the plan to archive 8, 9 and 10, and to review 11; everything is known as Givebutter has it."""
    givebutter = GivebutterResource(
        api_key=simulator.givebutter_key, base_url=simulator.givebutter_url, requests_per_second=1000
    )
    reading = Reading(contact_rows(givebutter.contacts()), NOW, "api", is_complete=True)
    known = learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW)
    with warehouse.write() as transaction:
        transaction.upsert(CONTACTS, known.rows)
        transaction.replace(PLAN, plan(archive=[FIRST, SECOND, THIRD], review=[REVIEWED]), year=YEAR)
    simulator.calls.clear()
    ticks = itertools.count(1)
    return Archivist(
        warehouse=warehouse,
        givebutter=givebutter,
        program=PROGRAM,
        actor="Ada",
        run_id="run-1",
        clock=lambda: NOW + timedelta(minutes=next(ticks)),
    )


def plan(*, archive: list[int], review: list[int]) -> pl.DataFrame:
    shared = {"year": YEAR, "mn_id": "0042", "winner_contact_id": WINNER}
    return together(
        *(row(PLAN, contact_id=one, action="archive", reason="same phone", **shared) for one in archive),
        *(row(PLAN, contact_id=one, action="review", reason="it has a donation", **shared) for one in review),
    )


def states(report: ArchiveReport) -> dict[int, str]:
    return {move.contact_id: move.state for move in report.moves}


def archived_in(world: World) -> set[int]:
    return {contact.id for contact in world.contacts.values() if contact.archived_at is not None}


def known_archived(warehouse: Warehouse) -> set[int]:
    known = warehouse.read(CONTACTS, columns=["contact_id", "archived_at"])
    return set(known.filter(pl.col("archived_at").is_not_null())["contact_id"])


def logged(warehouse: Warehouse) -> list[tuple[int, str, str]]:
    return warehouse.read_or_empty(LOG).select("contact_id", "operation", "state").rows()


# -- archiving -------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_whom_and_why_and_asks_nobody(
    archivist: Archivist, simulator: Simulator, warehouse: Warehouse
) -> None:
    report = archivist.run("archive")
    assert not report.is_applied
    assert states(report) == {FIRST: "planned", SECOND: "planned", THIRD: "planned"}
    first = report.moves[0]
    assert (first.name, first.mn_id, first.winner_contact_id, first.winner_name, first.reason) == (
        "Ada Alder8",
        "0042",
        WINNER,
        "Ada Alder7",
        "same phone",
    )
    assert report.summary == "3 contacts would be archived. Nothing was done: this was a dry run."
    assert not simulator.calls
    assert not warehouse.table_exists(LOG)


def test_exactly_the_plan_is_archived_and_logged_before_and_after(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    report = archivist.run("archive", apply=True)
    assert states(report) == {FIRST: "done", SECOND: "done", THIRD: "done"}
    assert report.failure is None
    assert archived_in(world) == known_archived(warehouse) == {FIRST, SECOND, THIRD}
    assert [call.endpoint for call in simulator.calls] == ["givebutter.archive"] * 3
    expected = [(one, "archive", state) for one in (FIRST, SECOND, THIRD) for state in ("started", "done")]
    assert logged(warehouse) == expected
    log = warehouse.read(LOG)
    assert log["at"].is_sorted()
    assert log.select("mn_id", "winner_contact_id", "actor", "run_id").unique().rows() == [
        ("0042", WINNER, "Ada", "run-1")
    ]
    changes = archived_duplicates(log, year=YEAR, known_ids=pl.Series([], dtype=pl.String))
    assert changes["old_value"].to_list() == ["8", "9", "10"]


def test_what_was_known_of_an_archived_contact_stays(archivist: Archivist, warehouse: Warehouse) -> None:
    before = warehouse.read(CONTACTS).drop("archived_at", "last_seen_at")
    archivist.run("archive", [FIRST], apply=True)
    after = warehouse.read(CONTACTS)
    assert after.select(before.columns).equals(before)
    assert known_archived(warehouse) == {FIRST}


def test_the_log_is_written_before_the_call(archivist: Archivist, warehouse: Warehouse, simulator: Simulator) -> None:
    calls_when_started: list[int] = []
    ticking = archivist.clock

    def clock() -> datetime:
        calls_when_started.append(len(simulator.calls))
        return ticking()

    replace(archivist, clock=clock).run("archive", [FIRST], apply=True)
    assert calls_when_started == [0, 0, 1]  # the run begins, `started`, `done`
    assert logged(warehouse) == [(FIRST, "archive", "started"), (FIRST, "archive", "done")]


def test_repeating_it_says_already(archivist: Archivist, warehouse: Warehouse) -> None:
    archivist.run("archive", [FIRST], apply=True)
    since = warehouse.read(CONTACTS).filter(contact_id=FIRST)["archived_at"].item()
    assert states(archivist.run("archive", [FIRST], apply=True)) == {FIRST: "already"}
    assert warehouse.read(CONTACTS).filter(contact_id=FIRST)["archived_at"].item() == since
    assert states(archivist.run("restore")) == {FIRST: "planned"}


def test_a_limit_moves_on(archivist: Archivist, world: World) -> None:
    for done in ({FIRST}, {FIRST, SECOND}, {FIRST, SECOND, THIRD}):
        archivist.run("archive", limit=1, apply=True)
        assert archived_in(world) == done


def test_a_failure_does_not_stop_the_rest(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    world.delete_contact(FIRST)
    report = archivist.run("archive", apply=True)
    assert states(report) == {FIRST: "gone", SECOND: "done", THIRD: "done"}
    assert report.failure is not None
    assert "contact 8, Ada Alder8: It no longer exists in Givebutter" in report.failure
    assert "1 of 3 contacts could not be archived" in report.failure
    assert (FIRST, "archive", "failed") in logged(warehouse)
    assert known_archived(warehouse) == {SECOND, THIRD}
    gone = warehouse.read(CONTACTS).filter(pl.col("missing_since").is_not_null())
    assert gone["contact_id"].to_list() == [FIRST]


def test_a_refused_key_stops_it_and_is_logged(archivist: Archivist, simulator: Simulator, warehouse: Warehouse) -> None:
    other = GivebutterResource(api_key="not-the-key", base_url=simulator.givebutter_url, requests_per_second=1000)
    with pytest.raises(ApiError):
        replace(archivist, givebutter=other).run("archive", apply=True)
    assert logged(warehouse) == [(FIRST, "archive", "started"), (FIRST, "archive", "failed")]
    assert known_archived(warehouse) == set()


def test_a_call_that_was_never_answered_counts_when_it_is_seen_to_be_done(
    archivist: Archivist, world: World, warehouse: Warehouse
) -> None:
    killed = row(LOG, id="20250101", contact_id=FIRST, operation="archive", state="started", at=NOW, mn_id="0042")
    warehouse.append(LOG, killed)
    for contact_id in (FIRST, SECOND):
        world.archive_contact(contact_id)
    assert states(archivist.run("archive", apply=True)) == {FIRST: "done", SECOND: "already", THIRD: "done"}
    assert states(archivist.run("restore")) == {FIRST: "planned", THIRD: "planned"}


def test_a_run_that_is_stopped_has_learnt_what_it_did(archivist: Archivist, warehouse: Warehouse) -> None:
    def stop(move: ContactMove) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(archivist, on_move=stop).run("archive", apply=True)
    assert known_archived(warehouse) == {FIRST}


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ([FIRST, 404], "contact 404: it is not in the plan"),
        ([REVIEWED, FIRST], "contact 11: the plan says to review it: it has a donation"),
        ([WINNER], "contact 7: it is not in the plan"),
    ],
)
def test_only_what_the_plan_says_is_archived(
    archivist: Archivist, simulator: Simulator, warehouse: Warehouse, chosen: list[int], says: str
) -> None:
    for apply in (False, True):
        with pytest.raises(DecisionRefusedError, match="Nothing was done") as refused:
            archivist.run("archive", chosen, apply=apply)
        assert says in str(refused.value)
    assert not simulator.calls
    assert not warehouse.table_exists(LOG)


def test_the_plan_is_looked_at_again_before_each_call(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    def replan(move: ContactMove) -> None:
        warehouse.replace(PLAN, plan(archive=[FIRST, THIRD], review=[SECOND]), year=YEAR)

    report = replace(archivist, on_move=replan).run("archive", apply=True)
    assert states(report) == {FIRST: "done", SECOND: "failed", THIRD: "done"}
    assert archived_in(world) == {FIRST, THIRD}
    assert report.failure is not None
    assert "Nothing was done: the plan says to review it" in report.failure
    assert SECOND not in warehouse.read(LOG)["contact_id"]


# -- restoring -------------------------------------------------------------------------------------------------------


def test_what_was_archived_from_here_comes_back(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    world.archive_contact(REVIEWED)
    archivist.run("archive", apply=True)
    dry = archivist.run("restore")
    assert states(dry) == {FIRST: "planned", SECOND: "planned", THIRD: "planned"}
    assert dry.moves[0].reason == "archived 2025-10-01 12:03 UTC by Ada"
    assert archived_in(world) == {FIRST, SECOND, THIRD, REVIEWED}

    assert states(archivist.run("restore", [SECOND], apply=True)) == {SECOND: "done"}
    assert archived_in(world) == {FIRST, THIRD, REVIEWED}
    assert known_archived(warehouse) == {FIRST, THIRD}
    assert logged(warehouse)[-2:] == [(SECOND, "restore", "started"), (SECOND, "restore", "done")]

    world.restore_contact(FIRST)  # by hand, in Givebutter: asked once more, it just stays
    assert states(archivist.run("restore", apply=True)) == {FIRST: "done", THIRD: "done"}
    assert archived_in(world) == {REVIEWED}
    assert known_archived(warehouse) == set()
    assert archivist.run("restore", apply=True).moves == ()


@pytest.mark.parametrize("chosen", [404, WINNER, SECOND])
def test_only_what_was_archived_from_here_is_restored(archivist: Archivist, simulator: Simulator, chosen: int) -> None:
    archivist.run("archive", [FIRST, SECOND], apply=True)
    archivist.run("restore", [SECOND], apply=True)
    simulator.calls.clear()
    with pytest.raises(DecisionRefusedError, match=f"contact {chosen}: the log knows of nothing to take back"):
        archivist.run("restore", [FIRST, chosen], apply=True)
    assert not simulator.calls


def test_a_contact_that_is_gone_is_not_asked_for_again(archivist: Archivist, world: World) -> None:
    archivist.run("archive", [FIRST, SECOND], apply=True)
    world.delete_contact(FIRST)
    assert states(archivist.run("restore", apply=True)) == {FIRST: "gone", SECOND: "done"}
    assert archivist.run("restore").moves == ()


# -- the jobs --------------------------------------------------------------------------------------------------------


def test_the_jobs(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse, data_dir: Path
) -> None:
    def run(job: str, op: str, **config: Any) -> RunOutcome:
        return run_job(job, Settings.load(), by="Ada", run_config={"ops": {op: {"config": config}}})

    there = {"MENTOR_PIPELINE_DATA_DIR": str(data_dir), "MENTOR_PIPELINE_DATABASE_URL": database_url(warehouse)}
    with environment({**simulator.environment(), **there}):
        assert run("archive_duplicates", "archive_contacts").success
        assert archived_in(world) == set()

        done = run("archive_duplicates", "archive_contacts", contact_ids=[FIRST, SECOND], limit=2, apply=True)
        assert done.success
        assert done.metadata(LOG)["what came of it"] == "2 contacts archived, 0 were so already, 0 failed."
        assert archived_in(world) == known_archived(warehouse) == {FIRST, SECOND}
        assert set(warehouse.read(LOG)["actor"]) == {"Ada"}
        assert set(warehouse.read(LOG)["run_id"]) == {done.run_id}

        refused = run("archive_duplicates", "archive_contacts", contact_ids=[REVIEWED], apply=True)
        assert "it has a donation" in refused.failures[0].message

        world.delete_contact(FIRST)
        failed = run("restore_contacts", "restore_from_log", apply=True)
        assert not failed.success
        assert failed.failures[0].is_expected
        assert "contact 8, Ada Alder8: It no longer exists" in failed.failures[0].message
        assert archived_in(world) == set()
    runs = warehouse.read("sync_log").sort("started_at")
    assert runs["sync_type"].to_list() == ["archive"] * 4
    assert runs["status"].to_list() == ["completed", "completed", "failed", "failed"]
    assert "contact 8" in runs["error_message"][-1]
