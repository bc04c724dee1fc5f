"""`tags push` against the simulated Givebutter: exactly our tags, logged, safe to repeat and to kill (R6)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import stamina

from mentor_pipeline.domain.api_contacts import contact_rows
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.errors import ApiError, DecisionRefusedError
from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.operator.tags import LOG, Tagger, planned
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.settings import Settings
from mentor_pipeline.simulator import Simulator, World
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, mentor, program, row, together
from tests.postgres import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.operator.tags import TagMove, TagReport
    from mentor_pipeline.resources.warehouse import Warehouse

PROGRAM = program()
CONTACTS = "raw_gb_full_contacts"
FRESH, MOVED, RIGHT, STRANGER = 7, 8, 9, 10
MENTOR_TAG = PROGRAM.givebutter.mentor_tag
HOLDING = {MENTOR_TAG, "No Page", "Status: needs_page"}
BEFORE = {
    FRESH: {"Donor"},
    MOVED: {"Donor", "Dropped 25", MENTOR_TAG, "No Page", "No Preferences", "Status: needs_setup"},
    RIGHT: {"Mentors 2024", *HOLDING},
    STRANGER: {"No Page", "Status: complete"},
}
AFTER = {**BEFORE, FRESH: {"Donor", *HOLDING}, MOVED: {"Donor", "Dropped 25", *HOLDING}}


@pytest.fixture
def world() -> World:
    made = World.empty(PROGRAM, clock=lambda: NOW)
    for contact_id, tags in BEFORE.items():
        made.add_contact(id=contact_id, first_name="Ada", last_name=f"Alder{contact_id}", tags=sorted(tags))
    return made


@pytest.fixture
def simulator(world: World) -> Iterator[Simulator]:
    with Simulator(world) as running, stamina.set_testing(True, attempts=2, cap=True):
        yield running


@pytest.fixture
def tagger(simulator: Simulator, warehouse: Warehouse) -> Tagger:
    """7 lacks all three tags, 8 one and carries two too many, 9 is right, 10 is no mentor's."""
    givebutter = GivebutterResource(
        api_key=simulator.givebutter_key, base_url=simulator.givebutter_url, requests_per_second=1000
    )
    reading = Reading(contact_rows(givebutter.contacts()), NOW, "api", is_complete=True)
    known = learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW)
    mentors = [
        mentor(f"000{one}", gb_contact_id=one, gb_match_status="linked", statuses=sorted(HOLDING), tags=sorted(HOLDING))
        for one in (FRESH, MOVED, RIGHT)
    ]
    with warehouse.write() as transaction:
        transaction.upsert(CONTACTS, known.rows)
        transaction.replace("mentors", together(*mentors), year=YEAR)
    simulator.calls.clear()
    ticks = itertools.count(1)
    return Tagger(
        warehouse=warehouse,
        givebutter=givebutter,
        program=PROGRAM,
        actor="Ada",
        run_id="run-1",
        clock=lambda: NOW + timedelta(minutes=next(ticks)),
    )


def held(world: World) -> dict[int, set[str]]:
    return {contact.id: set(contact.tags) for contact in world.contacts.values()}


def known_tags(warehouse: Warehouse) -> dict[int, set[str]]:
    return {one: set(tags) for one, tags in warehouse.read(CONTACTS, columns=["contact_id", "tags"]).iter_rows()}


def states(report: TagReport) -> dict[int, str]:
    return {move.contact_id: move.state for move in report.moves}


def logged(warehouse: Warehouse) -> list[tuple[int, str]]:
    return warehouse.read_or_empty(LOG).sort("at").select("contact_id", "state").rows()


def test_a_dry_run_tells_what_and_why_and_asks_nobody(
    tagger: Tagger, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    report = tagger.run()
    assert [(move.contact_id, move.mn_id, set(move.add), set(move.remove)) for move in report.moves] == [
        (FRESH, "0007", HOLDING, set()),
        (MOVED, "0008", {"Status: needs_page"}, {"No Preferences", "Status: needs_setup"}),
    ]
    assert report.moves[0].mentor_name == "Hugo Hazel"
    assert report.moves[0].reason == "what holds now: Mentors 2025, No Page, Status: needs_page"
    assert report.summary == (
        "2 contacts would be changed: 4 tags put on, 2 tags taken off. Nothing was done: this was a dry run."
    )
    assert report.failure is None
    assert held(world) == BEFORE
    assert not simulator.calls
    assert not warehouse.table_exists(LOG)


def test_exactly_our_tags_change_and_all_is_logged_before_and_after(
    tagger: Tagger, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    calls_when_logged: list[int] = []
    ticking = tagger.clock

    def clock() -> datetime:
        calls_when_logged.append(len(simulator.calls))
        return ticking()

    report = replace(tagger, clock=clock).run(apply=True)
    assert states(report) == {FRESH: "done", MOVED: "done"}
    assert report.summary == "2 contacts changed: 4 tags put on, 2 tags taken off. 0 failed."
    assert held(world) == known_tags(warehouse) == AFTER
    assert calls_when_logged == [0, 0, 1, 1, 3]  # the run begins; before and after each contact
    assert logged(warehouse) == [(FRESH, "started"), (FRESH, "done"), (MOVED, "started"), (MOVED, "done")]
    done = warehouse.read(LOG).filter(contact_id=MOVED, state="done").row(0, named=True)
    assert (done["mn_id"], done["actor"], done["run_id"]) == ("0008", "Ada", "run-1")
    assert (done["added"], done["removed"]) == (["Status: needs_page"], ["No Preferences", "Status: needs_setup"])


def test_repeating_it_does_nothing(tagger: Tagger, world: World, simulator: Simulator, warehouse: Warehouse) -> None:
    tagger.run(apply=True)
    log, known = warehouse.read(LOG), warehouse.read(CONTACTS)
    simulator.calls.clear()
    for chosen in ([], [FRESH]):
        again = tagger.run(chosen, apply=True)
        assert again.moves == ()
        assert again.summary == "The mentors' contacts carry the tags that they should: nothing was done."
    assert not simulator.calls
    assert warehouse.read(LOG).equals(log)
    assert warehouse.read(CONTACTS).equals(known)
    assert held(world) == AFTER


def test_what_else_was_known_of_a_contact_stays(tagger: Tagger, warehouse: Warehouse) -> None:
    before = warehouse.read(CONTACTS).drop("tags", "last_seen_at")
    tagger.run(apply=True)
    assert warehouse.read(CONTACTS).select(before.columns).equals(before)


def test_only_the_chosen_and_at_most_so_many(tagger: Tagger, world: World) -> None:
    tagger.run([MOVED, RIGHT], apply=True)
    assert held(world) == {**AFTER, FRESH: BEFORE[FRESH]}
    tagger.run(limit=1, apply=True)
    assert held(world) == AFTER


@pytest.mark.parametrize("apply", [False, True])
def test_who_is_no_linked_mentors_contact_is_refused(tagger: Tagger, simulator: Simulator, apply: bool) -> None:
    with pytest.raises(DecisionRefusedError, match="no linked mentor's: 10, 404"):
        tagger.run([FRESH, STRANGER, 404], apply=apply)
    assert not simulator.calls


def test_a_failure_does_not_stop_the_rest_and_comes_last_the_next_time(
    tagger: Tagger, world: World, warehouse: Warehouse
) -> None:
    refusing = replace(tagger, givebutter=_refusing(tagger.givebutter, FRESH))
    report = refusing.run(apply=True)
    assert states(report) == {FRESH: "failed", MOVED: "done"}
    assert report.failure is not None
    assert "The tags of 1 of 2 contacts could not be changed" in report.failure
    assert "contact 7, Hugo Hazel: " in report.failure
    assert held(world) == known_tags(warehouse) == {**AFTER, FRESH: BEFORE[FRESH]}
    assert logged(warehouse)[:2] == [(FRESH, "started"), (FRESH, "failed")]
    world.remove_tags(MOVED, ["No Page"])
    warehouse.upsert(CONTACTS, warehouse.read(CONTACTS).filter(contact_id=MOVED).with_columns(tags=pl.lit(["Donor"])))
    assert list(states(tagger.run(limit=1))) == [MOVED]
    assert states(tagger.run(apply=True)) == {MOVED: "done", FRESH: "done"}
    assert held(world) == AFTER


def _refusing(givebutter: GivebutterResource, contact_id: int) -> GivebutterResource:
    """The real client, but Givebutter does not take tags for one contact: they are sent too long."""

    class Refusing(GivebutterResource):
        def tags_add(self, whom: int, tags: Any) -> None:
            super().tags_add(whom, ["x" * 65] if whom == contact_id else tags)

    return Refusing(api_key=givebutter.api_key, base_url=givebutter.base_url, requests_per_second=1000)


def test_of_a_contact_that_failed_half_way_is_known_what_was_done(
    tagger: Tagger, world: World, warehouse: Warehouse
) -> None:
    class NeverTakingOff(GivebutterResource):
        def tags_remove(self, contact_id: int, tags: Any) -> None:
            super().tags_remove(contact_id, ["x" * 65])

    there = tagger.givebutter
    stubborn = NeverTakingOff(api_key=there.api_key, base_url=there.base_url, requests_per_second=1000)
    assert states(replace(tagger, givebutter=stubborn).run([MOVED], apply=True)) == {MOVED: "failed"}
    failed = warehouse.read(LOG).filter(state="failed").row(0, named=True)
    assert (failed["added"], failed["removed"]) == (["Status: needs_page"], [])
    assert known_tags(warehouse) == held(world)
    assert [(move.add, len(move.remove)) for move in tagger.run([MOVED]).moves] == [((), 2)]


def test_what_is_gone_or_archived_is_learnt(tagger: Tagger, world: World, warehouse: Warehouse) -> None:
    world.delete_contact(FRESH)
    world.archive_contact(MOVED)
    report = tagger.run(apply=True)
    assert states(report) == {FRESH: "gone", MOVED: "archived"}
    assert report.failure is not None
    assert "contact 7, Hugo Hazel: It no longer exists in Givebutter" in report.failure
    assert "contact 8, Iris Ilex: It is archived in Givebutter" in report.failure
    known = {one["contact_id"]: one for one in warehouse.read(CONTACTS).to_dicts()}
    assert known[FRESH]["missing_since"] is not None
    assert known[MOVED]["archived_at"] is not None
    assert set(known[MOVED]["tags"]) == BEFORE[MOVED]
    assert tagger.run(apply=True).moves == ()


def test_a_refused_key_stops_it_and_is_logged(tagger: Tagger, simulator: Simulator, warehouse: Warehouse) -> None:
    other = GivebutterResource(api_key="not-the-key", base_url=simulator.givebutter_url, requests_per_second=1000)
    with pytest.raises(ApiError):
        replace(tagger, givebutter=other).run(apply=True)
    assert logged(warehouse) == [(FRESH, "started"), (FRESH, "failed")]
    assert known_tags(warehouse) == BEFORE
    assert list(states(tagger.run())) == [MOVED, FRESH]


def test_a_run_that_is_stopped_has_learnt_what_it_did(tagger: Tagger, world: World, warehouse: Warehouse) -> None:
    def stop(move: TagMove) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(tagger, on_move=stop).run(apply=True)
    assert held(world) == known_tags(warehouse) == {**AFTER, MOVED: BEFORE[MOVED]}


def test_after_a_kill_the_rest_is_done_once(
    tagger: Tagger, world: World, simulator: Simulator, warehouse: Warehouse
) -> None:
    """Killed after 7 was logged as done and after 8 had its new tag, but not yet lost the old ones."""
    world.add_tags(FRESH, sorted(HOLDING))
    world.add_tags(MOVED, ["Status: needs_page"])
    log = [
        row(LOG, id="a", contact_id=FRESH, added=sorted(HOLDING), removed=[], state="started", at=NOW),
        row(
            LOG, id="b", contact_id=FRESH, added=sorted(HOLDING), removed=[], state="done",
            at=NOW + timedelta(seconds=1),
        ),
        row(
            LOG, id="c", contact_id=MOVED, added=["Status: needs_page"], removed=["No Preferences"], state="started",
            at=NOW + timedelta(seconds=2),
        ),
    ]  # fmt: skip
    warehouse.append(LOG, together(*log))
    assert list(states(planned(warehouse, PROGRAM))) == [MOVED]
    assert states(tagger.run(apply=True)) == {MOVED: "done"}
    assert [call.endpoint for call in simulator.calls] == ["givebutter.tags"] * 2
    assert held(world) == known_tags(warehouse) == AFTER


def test_the_job(tagger: Tagger, world: World, simulator: Simulator, warehouse: Warehouse, data_dir: Path) -> None:
    def run(**config: Any) -> RunOutcome:
        config_of_run = {"ops": {"push_own_tags": {"config": config}}}
        return run_job("push_tags", Settings.load(), by="Ada", run_config=config_of_run)

    there = {"MENTOR_PIPELINE_DATA_DIR": str(data_dir), "MENTOR_PIPELINE_DATABASE_URL": database_url(warehouse)}
    with environment({**simulator.environment(), **there}):
        assert run().success
        assert held(world) == BEFORE
        one = run(apply=True, contact_ids=[MOVED], limit=5)
        assert one.success
        assert one.metadata(LOG)["what came of it"] == "1 contact changed: 1 tag put on, 2 tags taken off. 0 failed."
        assert set(warehouse.read(LOG)["actor"]) == {"Ada"}
        assert set(warehouse.read(LOG)["run_id"]) == {one.run_id}
        world.delete_contact(FRESH)
        failed = run(apply=True)
        assert not failed.success
        assert failed.failures[0].is_expected
        assert "contact 7, Hugo Hazel: It no longer exists" in failed.failures[0].message
    runs = warehouse.read("sync_log").sort("started_at")
    assert runs["sync_type"].to_list() == ["archive"] * 3
    assert runs["status"].to_list() == ["completed", "completed", "failed"]
