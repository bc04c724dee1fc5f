"""What waits too long is told once, again when it got worse, and anew after it was over; tick by tick."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine

# Dagster has no public way to switch a schedule on without a running code location.
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from mentor_pipeline.operator.contacts import CONTACTS_SOURCE
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.notifier import Notifier
from mentor_pipeline.schedules import build_schedules
from mentor_pipeline.sensors.waiting import INTERVAL_S, LONGEST_PAUSES, waiting_alert
from mentor_pipeline.settings import Settings
from tests.builders import YEAR, mentor, program, row, together
from tests.resources.other_process import other_process

HOURLY, DAILY = "hourly_sync", "daily_contact_refresh"
START = datetime(2025, 10, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
A_WHILE = timedelta(seconds=2.5 * INTERVAL_S)
"""Between two ticks; seldom enough for a fast test, and too short for a pause of Dagster."""


class Office:
    """An installation whose clock the test moves; `told` are the alerts since the last look."""

    def __init__(self, data_dir: Path, instance: dg.DagsterInstance, clock: time_machine.Traveller) -> None:
        self.settings = Settings(data_dir=data_dir)
        self.instance = instance
        self.clock = clock
        self.warehouse = DuckDBWarehouse(data_dir / "mentors.duckdb", busy_timeout_s=0)
        self.cursor: str | None = None
        self._seen = 0
        self.schedules: dict[str, InstigatorState] = {}

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def tick(self) -> None:
        resources = {
            "notifier": Notifier.from_settings(self.settings), "warehouse": self.warehouse, "program": program()
        }  # fmt: skip
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources) as context:
            result = waiting_alert.evaluate_tick(context)
        self.cursor = result.cursor

    def wait(self, time: timedelta, *, on: bool = True) -> None:
        """Let time go by, with a tick now and then where Dagster is on, and one at the end."""
        end = self.now + time
        while on and self.now + A_WHILE < end:
            self.clock.shift(A_WHILE)
            self.tick()
        self.clock.move_to(end)
        self.tick()

    def watch(self, time: timedelta) -> None:
        """Let time go by as if all ticks in it had found nothing new, which is faster."""
        self.clock.shift(time)
        self.cursor = json.dumps({**json.loads(self.cursor or ""), "looked_at": self.now.isoformat()})
        self.tick()

    def told(self) -> list[dict[str, Any]]:
        path = self.settings.alerts_path
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return new

    def conflict(
        self, number: int, *, mn_id: str = "0042", status: str = "pending", at: datetime | None = None
    ) -> None:
        made = row(
            "sync_conflicts", id=f"conflict-{number}", year=YEAR, mn_id=mn_id, conflict_type="phone_mismatch",
            status=status, detected_at=at or self.now,
        )  # fmt: skip
        self.warehouse.upsert("sync_conflicts", made)

    def contacts_read(self) -> None:
        self.warehouse.upsert("source_reads", row("source_reads", source=CONTACTS_SOURCE, read_at=self.now))

    def switch(self, status: InstigatorStatus, schedule: str = HOURLY) -> None:
        repository = RemoteRepositoryOrigin(
            ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="mentor_pipeline.definitions")), "r"
        )
        data = ScheduleInstigatorData("0 * * * *", self.now.timestamp())
        origin = RemoteInstigatorOrigin(repository, schedule)
        state = InstigatorState(origin, InstigatorType.SCHEDULE, status, data)
        if schedule in self.schedules:
            self.instance.update_instigator_state(state)
        else:
            self.instance.add_instigator_state(state)
        self.schedules[schedule] = state

    def run(self, schedule: str = HOURLY, *, ends: bool = True) -> dg.DagsterRun:
        """A run that the schedule starts now. (Created otherwise, it would be dated by the clock of the database.)"""
        status = dg.DagsterRunStatus.SUCCESS if ends else dg.DagsterRunStatus.STARTED
        made = dg.DagsterRun("sync", tags={"dagster/schedule_name": schedule}, status=status)
        return self.instance.run_storage.add_historical_run(made, self.now.replace(tzinfo=None))

    def skipped(self, reason: str) -> None:
        schedule = self.schedules[HOURLY]
        tick = TickData(
            schedule.instigator_origin_id, HOURLY, InstigatorType.SCHEDULE, TickStatus.SKIPPED,
            self.now.timestamp(), skip_reason=reason, selector_id=schedule.selector_id,
        )  # fmt: skip
        self.instance.create_tick(tick)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest.fixture
def office(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Office]:
    with time_machine.travel(START, tick=False) as clock:
        yield Office(tmp_path / "data", instance, clock)
    instance.wipe()
    assert instance.schedule_storage is not None
    instance.schedule_storage.wipe()


def test_it_runs_unless_stopped() -> None:
    assert waiting_alert.default_status == dg.DefaultSensorStatus.RUNNING
    assert waiting_alert.minimum_interval_seconds == INTERVAL_S


def test_an_installation_that_has_not_begun_has_nothing_to_tell(office: Office) -> None:
    office.wait(5 * DAY, on=False)
    assert office.told() == []


# -- conflicts -----------------------------------------------------------------------------------------------------


def test_conflicts_that_wait_over_a_day_are_told_together_and_once(office: Office) -> None:
    office.warehouse.replace("mentors", together(mentor("0042", full_name="Cora `x` <b>"), mentor("0001")), year=YEAR)
    office.conflict(1)
    office.conflict(2, mn_id="0001")
    office.conflict(3, status="resolved")
    office.wait(23 * HOUR, on=False)
    assert office.told() == []
    office.wait(2 * HOUR, on=False)
    (alert,) = office.told()
    assert (alert["kind"], alert["title"]) == (
        "conflicts_waiting", "2 conflicts wait for a decision for more than a day."
    )  # fmt: skip
    assert alert["details"] == [
        "phone_mismatch of mentor 0042 Cora `x` <b>, since 2025-10-01 12:00 UTC (conflict-1)",
        "phone_mismatch of mentor 0001 Ben Birch, since 2025-10-01 12:00 UTC (conflict-2)",
    ]
    assert "conflicts resolve" in alert["advice"]
    assert alert["url"] == office.settings.ui_url
    office.wait(3 * DAY, on=False)
    assert office.told() == []


def test_more_conflicts_are_told_once_a_day_and_none_as_news_that_was_told(office: Office) -> None:
    office.conflict(1)
    office.wait(25 * HOUR, on=False)
    assert len(office.told()) == 1
    for number in range(2, 6):  # one comes to wait too long every six hours
        office.conflict(number, at=office.now - DAY + HOUR)
        office.wait(6 * HOUR, on=False)
    (alert,) = office.told()
    assert alert["title"].startswith("5 conflicts wait")
    office.conflict(1, status="resolved")
    office.wait(2 * DAY, on=False)
    assert office.told() == []


def test_conflicts_are_told_anew_after_all_were_decided(office: Office) -> None:
    office.conflict(1)
    office.wait(25 * HOUR, on=False)
    office.conflict(1, status="resolved")
    office.conflict(2)
    office.wait(HOUR)
    office.wait(24 * HOUR, on=False)
    assert [alert["title"][:10] for alert in office.told()] == ["1 conflict", "1 conflict"]


# -- contacts ------------------------------------------------------------------------------------------------------


def test_contacts_are_told_when_a_day_old_and_when_no_file_is_written_any_more(office: Office) -> None:
    office.contacts_read()
    office.wait(24 * HOUR, on=False)
    assert office.told() == []
    office.wait(HOUR)
    (alert,) = office.told()
    assert (alert["kind"], alert["title"]) == (
        "contacts_old", "Givebutter's contacts were last read 24 hours ago."
    )  # fmt: skip
    assert "after 7 days none is written" in alert["details"][0]
    office.wait(5 * DAY, on=False)
    assert office.told() == []
    office.wait(2 * DAY, on=False)
    (alert,) = office.told()
    assert "refused at this age" in alert["details"][0]
    office.contacts_read()
    office.wait(HOUR)
    office.wait(2 * DAY, on=False)
    assert [alert["kind"] for alert in office.told()] == ["contacts_old"]


# -- the schedule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE])
def test_a_schedule_that_starts_nothing_for_two_hours_is_told_once(office: Office, status: InstigatorStatus) -> None:
    office.switch(status)
    run = office.run()
    office.wait(2 * HOUR)
    assert office.told() == []
    office.skipped("the code location cannot be loaded")
    office.wait(HOUR)
    (alert,) = office.told()
    assert (alert["kind"], alert["title"]) == (
        "schedule_not_running", "hourly_sync is switched on and has started no run for 2 hours."
    )  # fmt: skip
    assert alert["details"] == [
        f"its last run, {run.run_id}, was started 2025-10-01 12:00 UTC",
        "its last time was 2025-10-01 14:00 UTC: the code location cannot be loaded",
    ]
    office.wait(2 * HOUR)
    assert office.told() == []
    office.run()
    office.wait(HOUR)
    assert office.told() == []
    office.wait(2 * HOUR)
    assert [alert["kind"] for alert in office.told()] == ["schedule_not_running"]


def test_a_run_that_hangs_keeps_the_schedule_from_running(office: Office) -> None:
    office.switch(InstigatorStatus.RUNNING)
    office.run(ends=False)
    office.wait(3 * HOUR)
    (alert,) = office.told()
    assert alert["details"][1] == "that run has not ended, and while it goes on no other is started"


def test_a_schedule_that_runs_or_is_switched_off_is_no_alert(office: Office) -> None:
    office.switch(InstigatorStatus.RUNNING)
    for _ in range(4):
        office.run()
        office.wait(HOUR)
    office.switch(InstigatorStatus.STOPPED)
    office.wait(4 * HOUR)
    assert office.told() == []
    office.switch(InstigatorStatus.RUNNING)
    office.wait(HOUR)
    assert office.told() == []
    office.wait(2 * HOUR)
    assert len(office.told()) == 1


def test_a_machine_that_was_off_over_night_is_no_alert_until_it_stays_so(office: Office) -> None:
    office.switch(InstigatorStatus.RUNNING)
    office.run()
    office.tick()
    office.wait(9 * HOUR, on=False)
    office.wait(2 * HOUR)
    assert office.told() == []
    office.wait(HOUR)
    assert len(office.told()) == 1


def test_every_schedule_of_ours_is_watched(office: Office) -> None:
    assert {one.name for one in build_schedules(office.settings, program())} == set(LONGEST_PAUSES)


def test_a_daily_schedule_that_starts_nothing_for_26_hours_is_told_by_its_name(office: Office) -> None:
    office.switch(InstigatorStatus.RUNNING, DAILY)
    office.run(DAILY)
    office.tick()
    office.watch(26 * HOUR)
    assert office.told() == []
    office.watch(HOUR)
    (alert,) = office.told()
    assert (alert["kind"], alert["title"]) == (
        "schedule_not_running", "daily_contact_refresh is switched on and has started no run for 27 hours."
    )  # fmt: skip
    assert "contact-refresh`" in alert["advice"]
    office.watch(24 * HOUR)
    assert office.told() == []
    office.run(DAILY)
    office.watch(25 * HOUR)
    office.switch(InstigatorStatus.STOPPED, DAILY)
    office.watch(2 * HOUR)
    assert office.told() == []


def test_two_schedules_that_start_nothing_are_told_each(office: Office) -> None:
    for schedule in (HOURLY, DAILY):
        office.switch(InstigatorStatus.RUNNING, schedule)
    office.tick()
    for time, told in ((3 * HOUR, HOURLY), (23.5 * HOUR, DAILY)):
        office.watch(time)
        assert [alert["title"].split()[0] for alert in office.told()] == [told]
    office.run()
    office.watch(HOUR)
    assert office.told() == []
    office.watch(2 * HOUR)
    assert [alert["title"].split()[0] for alert in office.told()] == [HOURLY]


# -- its memory ----------------------------------------------------------------------------------------------------


def test_what_is_stored_is_looked_at_later_where_somebody_holds_it(office: Office) -> None:
    office.conflict(1)
    office.switch(InstigatorStatus.RUNNING)
    office.clock.shift(25 * HOUR)
    office.tick()
    assert [alert["kind"] for alert in office.told()] == ["conflicts_waiting"]
    with other_process("hold", office.warehouse):
        office.wait(3 * HOUR)
    assert [alert["kind"] for alert in office.told()] == ["schedule_not_running"]
    office.wait(HOUR)
    assert office.told() == []


@pytest.mark.parametrize("cursor", ["typed by hand", "[1]", '{"told": {}}', '{"told": [], "looked_at": 1}'])
def test_a_cursor_of_somebody_else_is_as_none(office: Office, cursor: str) -> None:
    office.conflict(1)
    office.cursor = cursor
    office.wait(25 * HOUR, on=False)
    assert [alert["kind"] for alert in office.told()] == ["conflicts_waiting"]


def test_an_alert_that_reached_nobody_is_told_at_the_next_tick(office: Office) -> None:
    office.conflict(1)
    office.clock.shift(25 * HOUR)
    office.settings.alerts_path.mkdir(parents=True)
    with pytest.raises(Exception, match="reached nobody"):
        office.tick()
    office.settings.alerts_path.rmdir()
    office.tick()
    assert [alert["kind"] for alert in office.told()] == ["conflicts_waiting"]
