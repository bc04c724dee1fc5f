"""Taking external ids off contacts by the plan and putting them back from the log, against the simulated Givebutter."""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import stamina

from mentor_pipeline.domain.api_contacts import contact_rows
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.errors import ApiError, DecisionRefusedError
from mentor_pipeline.operator.archive import LOG, RELEASE_PLAN, Archivist
from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, World
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, mentor, program, row, together
from tests.operator.test_archive import logged, states
from tests.postgres import database_url
from tests.resources.scripted import Reply, Scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mentor_pipeline.operator.archive import ContactMove
    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.resources.warehouse import Warehouse

PROGRAM = program()
CONTACTS = "raw_gb_full_contacts"
FIRST, SECOND, THIRD, OWN = 20, 21, 22, 30
IDS = {FIRST: "0042", SECOND: "MN0043", THIRD: "44"}


@pytest.fixture
def world() -> World:
    made = World.empty(PROGRAM, clock=lambda: NOW)
    for contact_id, external_id in IDS.items():
        made.add_contact(
            id=contact_id, external_id=external_id, first_name="Zoe", last_name=f"Zelkova{contact_id}",
            prefix="Zo", emails=["zoe@example.com"], phones=["+17065550199"], tags=["Mentors 2019", "Donor"],
            note="met in spring",
        )  # fmt: skip
    made.add_contact(id=OWN, first_name="Ada", last_name="Alder")
    return made


@pytest.fixture
def simulator(world: World) -> Iterator[Simulator]:
    with Simulator(world) as running, stamina.set_testing(True, attempts=6, cap=True):
        yield running


def plan(*contact_ids: int) -> pl.DataFrame:
    rows = [
        row(
            RELEASE_PLAN, year=YEAR, mn_id=f"00{one + 22}", contact_id=one, external_id=IDS[one], reason="not theirs",
            decided_by="Ben", decided_at=NOW,
        )
        for one in contact_ids
    ]  # fmt: skip
    return together(*rows) if rows else TABLES[RELEASE_PLAN].empty()


@pytest.fixture
def archivist(simulator: Simulator, warehouse: Warehouse) -> Archivist:
    """For the plan to release 20, 21 and 22; everything is known as Givebutter has it."""
    givebutter = GivebutterResource(
        api_key=simulator.givebutter_key, base_url=simulator.givebutter_url, requests_per_second=1000
    )
    reading = Reading(contact_rows(givebutter.contacts()), NOW, "api", is_complete=True)
    known = learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW)
    with warehouse.write() as transaction:
        transaction.upsert(CONTACTS, known.rows)
        transaction.replace("mentors", mentor("0042"), year=YEAR)
        transaction.replace(RELEASE_PLAN, plan(FIRST, SECOND, THIRD), year=YEAR)
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


def held_in(world: World) -> dict[int, str | None]:
    return {contact_id: contact.external_id for contact_id, contact in world.contacts.items()}


def known_ids(warehouse: Warehouse) -> dict[int, tuple[str | None, str | None]]:
    known = warehouse.read(CONTACTS, columns=["contact_id", "external_id", "external_mn_id"])
    return {one: (external_id, mn_id) for one, external_id, mn_id in known.rows()}


def puts(simulator: Simulator) -> int:
    return sum(call.method == "PUT" for call in simulator.calls)


def error(archivist: Archivist, contact_id: int, operation: Any = "release") -> str:
    """What an operation says of one contact that fails, while the others are done."""
    report = archivist.run(operation, apply=True)
    assert states(report).pop(contact_id) == "failed"
    assert {state for one, state in states(report).items() if one != contact_id} == {"done"}
    assert report.failure is not None
    return next(str(move.error) for move in report.moves if move.contact_id == contact_id)


# -- releasing -------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_whose_id_and_who_decided_and_asks_nobody(
    archivist: Archivist, simulator: Simulator, warehouse: Warehouse
) -> None:
    report = archivist.run("release")
    assert states(report) == {FIRST: "planned", SECOND: "planned", THIRD: "planned"}
    first = report.moves[0]
    assert (first.name, first.mn_id, first.mentor_name, first.external_id) == (
        "Zoe Zelkova20", "0042", mentor("0042")["full_name"].item(), "0042",
    )  # fmt: skip
    assert first.reason == "not theirs; decided by Ben, 2025-10-01 12:00 UTC"
    assert report.summary == "3 contacts would be released. Nothing was done: this was a dry run."
    assert not simulator.calls
    assert not warehouse.table_exists(LOG)


def test_the_id_is_taken_off_and_nothing_else_changes(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    before = {one: deepcopy(contact) for one, contact in world.contacts.items()}
    known = warehouse.read(CONTACTS)
    assert states(archivist.run("release", [FIRST], apply=True)) == {FIRST: "done"}
    assert puts(simulator) == 1
    assert world.contact(FIRST) == replace(before[FIRST], external_id=None)
    assert all(world.contact(one) == before[one] for one in (SECOND, THIRD, OWN))
    assert known_ids(warehouse)[FIRST] == (None, None)
    changed = ("external_id", "external_mn_id", "last_seen_at")
    assert warehouse.read(CONTACTS).drop(changed).equals(known.drop(changed))
    log = warehouse.read(LOG)
    assert log.select("contact_id", "mn_id", "external_id", "operation", "state", "actor", "run_id").rows() == [
        (FIRST, "0042", "0042", "release", state, "Ada", "run-1") for state in ("started", "done")
    ]


def test_it_is_logged_before_the_call(archivist: Archivist, simulator: Simulator, warehouse: Warehouse) -> None:
    puts_when_logged: list[int] = []
    ticking = archivist.clock

    def clock() -> datetime:
        puts_when_logged.append(puts(simulator))
        return ticking()

    replace(archivist, clock=clock).run("release", [FIRST], apply=True)
    assert puts_when_logged == [0, 0, 1]  # the run begins, `started`, `done`


def test_a_limit_moves_on_and_a_repeat_has_nothing_to_do(
    archivist: Archivist, world: World, simulator: Simulator
) -> None:
    for done in (1, 2, 3, 3):
        archivist.run("release", limit=1, apply=True)
        assert list(held_in(world).values()).count(None) == 1 + done
    assert puts(simulator) == 3
    assert archivist.run("release").moves == ()
    assert states(archivist.run("release", [FIRST], apply=True)) == {FIRST: "already"}
    assert puts(simulator) == 3


def test_another_id_in_givebutter_by_now_is_left_alone(archivist: Archivist, world: World) -> None:
    world.edit_contact(SECOND, external_id="0777")
    said = error(archivist, SECOND)
    assert "it has external id 0777 now, not MN0043. Nothing was done." in said
    assert held_in(world) == {FIRST: None, SECOND: "0777", THIRD: None, OWN: None}


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_an_archived_contact_is_left_alone(archivist: Archivist, world: World, *, is_forbidden: bool) -> None:
    world.behaviour.archived_is_forbidden = is_forbidden
    world.archive_contact(SECOND)
    assert "It is archived in Givebutter" in error(archivist, SECOND)
    assert world.contact(SECOND).external_id == "MN0043"


def test_a_contact_that_is_gone_is_told_and_the_rest_goes_on(
    archivist: Archivist, world: World, warehouse: Warehouse
) -> None:
    world.delete_contact(FIRST)
    report = archivist.run("release", apply=True)
    assert states(report) == {FIRST: "gone", SECOND: "done", THIRD: "done"}
    assert "1 of 3 contacts could not be released" in str(report.failure)
    gone = warehouse.read(CONTACTS).filter(pl.col("missing_since").is_not_null())
    assert gone["contact_id"].to_list() == [FIRST]


def test_a_refusal_of_givebutter_is_told_and_the_rest_goes_on(archivist: Archivist, world: World) -> None:
    world.edit_contact(SECOND, last_name=None)
    assert "last_name: The last name field is required." in error(archivist, SECOND)
    assert world.contact(SECOND).external_id == "MN0043"


def test_a_yes_that_did_nothing_is_a_failure(archivist: Archivist) -> None:
    contact = Reply({"id": FIRST, "first_name": "Zoe", "last_name": "Zelkova", "external_id": "0042"})
    with Scripted(lambda _: contact) as server:
        other = GivebutterResource(api_key="key-of-a-test", base_url=server.url, requests_per_second=1000)
        report = replace(archivist, givebutter=other).run("release", [FIRST], apply=True)
    assert states(report) == {FIRST: "failed"}
    assert "the contact has external id 0042, not none. Change it in Givebutter by hand." in str(report.failure)


def test_a_refused_key_stops_it_and_is_logged(archivist: Archivist, simulator: Simulator, warehouse: Warehouse) -> None:
    other = GivebutterResource(api_key="not-the-key", base_url=simulator.givebutter_url, requests_per_second=1000)
    with pytest.raises(ApiError):
        replace(archivist, givebutter=other).run("release", apply=True)
    assert logged(warehouse) == [(FIRST, "release", "started"), (FIRST, "release", "failed")]
    assert known_ids(warehouse)[FIRST] == ("0042", "42")


def test_killed_between_log_and_call(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    killed = row(LOG, id="1", contact_id=FIRST, operation="release", state="started", at=NOW, external_id="0042")
    warehouse.append(LOG, killed)
    assert states(archivist.run("release", [FIRST], apply=True)) == {FIRST: "done"}
    assert held_in(world)[FIRST] is None


def test_killed_between_call_and_log(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    killed = row(LOG, id="1", contact_id=FIRST, operation="release", state="started", at=NOW, external_id="0042")
    warehouse.append(LOG, killed)
    for contact_id in (FIRST, SECOND):  # ours, and by somebody else's hand
        world.edit_contact(contact_id, external_id=None)
    assert states(archivist.run("release", apply=True)) == {FIRST: "done", SECOND: "already", THIRD: "done"}
    assert states(archivist.run("unrelease")) == {FIRST: "planned", THIRD: "planned"}


def test_killed_before_it_was_learnt(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    """What the log has as done is not asked for again, and is known after the next run."""
    world.edit_contact(FIRST, external_id=None)
    done = {"contact_id": FIRST, "operation": "release", "external_id": "0042", "at": NOW + timedelta(seconds=5)}
    warehouse.append(LOG, together(row(LOG, id="1", state="started", **done), row(LOG, id="2", state="done", **done)))
    assert states(archivist.run("release")) == {SECOND: "planned", THIRD: "planned"}
    assert states(archivist.run("unrelease")) == {FIRST: "planned"}
    archivist.run("release", [SECOND], apply=True)
    assert not [call for call in simulator.calls if call.url.endswith(f"/{FIRST}")]
    assert known_ids(warehouse)[FIRST] == (None, None)


def test_a_run_that_is_stopped_has_learnt_what_it_did(archivist: Archivist, warehouse: Warehouse) -> None:
    def stop(move: ContactMove) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(archivist, on_move=stop).run("release", apply=True)
    assert known_ids(warehouse) == {
        FIRST: (None, None),
        SECOND: ("MN0043", "43"),
        THIRD: ("44", "44"),
        OWN: (None,) * 2,
    }


@pytest.mark.parametrize("operation", ["release", "unrelease"])
def test_what_nobody_decided_is_refused_whole(archivist: Archivist, simulator: Simulator, operation: Any) -> None:
    for apply in (False, True):
        with pytest.raises(DecisionRefusedError, match="Nothing was done") as refused:
            archivist.run(operation, [FIRST, OWN], apply=apply)
        assert f"contact {OWN}: " in str(refused.value)
    assert not simulator.calls


def test_the_plan_is_looked_at_again_before_each_call(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    def replan(move: ContactMove) -> None:
        other_id = plan(THIRD).with_columns(external_id=pl.lit("0044"))
        warehouse.replace(RELEASE_PLAN, together(plan(FIRST), other_id), year=YEAR)

    report = replace(archivist, on_move=replan).run("release", apply=True)
    assert states(report) == {FIRST: "done", SECOND: "failed", THIRD: "failed"}
    assert held_in(world) == {FIRST: None, SECOND: "MN0043", THIRD: "44", OWN: None}
    assert [move.error for move in report.moves[1:]] == [
        "Nothing was done: it is not in the plan: nobody decided so, or it carries no mentor's id (any more).",
        "Nothing was done: the plan names external id 0044 by now.",
    ]
    assert {one for one, *_ in logged(warehouse)} == {FIRST}


# -- undoing ---------------------------------------------------------------------------------------------------------


def test_what_was_released_from_here_comes_back(archivist: Archivist, world: World, warehouse: Warehouse) -> None:
    before = {one: deepcopy(contact) for one, contact in world.contacts.items()}
    archivist.run("release", [FIRST, SECOND], apply=True)
    dry = archivist.run("unrelease")
    assert [(move.contact_id, move.external_id) for move in dry.moves] == [(FIRST, "0042"), (SECOND, "MN0043")]
    assert dry.moves[0].reason == "released 2025-10-01 12:03 UTC by Ada"
    assert dry.summary == ("2 contacts would be given their external id back. Nothing was done: this was a dry run.")
    assert states(archivist.run("unrelease", apply=True)) == {FIRST: "done", SECOND: "done"}
    assert world.contacts == before
    assert known_ids(warehouse)[SECOND] == ("MN0043", "43")
    assert logged(warehouse)[-2:] == [(SECOND, "unrelease", "started"), (SECOND, "unrelease", "done")]
    assert archivist.run("unrelease", apply=True).moves == ()
    assert states(archivist.run("release")) == {FIRST: "planned", SECOND: "planned", THIRD: "planned"}


def test_an_id_that_another_contact_carries_by_now_is_not_put_back(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    archivist.run("release", apply=True)
    world.edit_contact(OWN, external_id="42")  # another spelling
    own = pl.col("contact_id") == OWN
    mine = warehouse.read(CONTACTS).filter(own).with_columns(external_id=pl.lit("42"), external_mn_id=pl.lit("42"))
    warehouse.upsert(CONTACTS, mine)
    dry = archivist.run("unrelease")
    assert (states(dry)[FIRST], dry.failure) == ("failed", None)
    assert dry.summary.startswith("2 contacts would be given their external id back, 1 could not be.")
    simulator.calls.clear()
    assert error(archivist, FIRST, "unrelease") == f"Nothing was done: contact {OWN} carries external id 42 by now."
    assert puts(simulator) == 2
    assert held_in(world) == {**IDS, FIRST: None, OWN: "42"}


def test_an_id_that_givebutter_knows_elsewhere_is_not_put_back(archivist: Archivist, world: World) -> None:
    archivist.run("release", apply=True)
    world.edit_contact(OWN, external_id="0042")  # not known here yet
    assert "A contact with External ID [0042] already exists." in error(archivist, FIRST, "unrelease")
    assert held_in(world)[FIRST] is None


def test_a_contact_that_got_another_id_keeps_it(archivist: Archivist, world: World) -> None:
    archivist.run("release", apply=True)
    world.edit_contact(SECOND, external_id="0777")
    assert "it has external id 0777 now, not none. Nothing was done." in error(archivist, SECOND, "unrelease")
    assert held_in(world)[SECOND] == "0777"


def test_a_contact_that_is_gone_is_not_asked_for_again(archivist: Archivist, world: World) -> None:
    archivist.run("release", [FIRST], apply=True)
    world.delete_contact(FIRST)
    assert states(archivist.run("unrelease", apply=True)) == {FIRST: "gone"}
    assert archivist.run("unrelease").moves == ()


# -- the jobs --------------------------------------------------------------------------------------------------------


def test_the_jobs(
    archivist: Archivist, world: World, simulator: Simulator, warehouse: Warehouse, data_dir: Path
) -> None:
    def run(job: str, op: str, **config: Any) -> RunOutcome:
        return run_job(job, Settings.load(), by="Ada", run_config={"ops": {op: {"config": config}}})

    there = {"MENTOR_PIPELINE_DATA_DIR": str(data_dir), "MENTOR_PIPELINE_DATABASE_URL": database_url(warehouse)}
    with environment({**simulator.environment(), **there}):
        assert run("release_external_ids", "release_contacts").success
        assert held_in(world) == {**IDS, OWN: None}
        done = run("release_external_ids", "release_contacts", limit=2, apply=True)
        assert done.metadata(LOG)["what came of it"] == "2 contacts released, 0 were so already, 0 failed."
        assert held_in(world) == {FIRST: None, SECOND: None, THIRD: "44", OWN: None}
        assert run("undo_releases", "unrelease_from_log", contact_ids=[FIRST]).success
        assert held_in(world)[FIRST] is None
        assert run("undo_releases", "unrelease_from_log", contact_ids=[FIRST], apply=True).success
        assert held_in(world)[FIRST] == "0042"
        refused = run("undo_releases", "unrelease_from_log", contact_ids=[THIRD], apply=True)
        assert "not released from here" in refused.failures[0].message
