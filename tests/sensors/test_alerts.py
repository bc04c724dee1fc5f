"""The alert sensors, tick by tick, over real runs on real instances."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mentor_pipeline.errors import ApiError
from mentor_pipeline.resources.notifier import Notifier
from mentor_pipeline.resources.run_guard import BY_TAG
from mentor_pipeline.sensors.alerts import RUNS_PER_TICK, failed_check_alert, run_failure_alert
from mentor_pipeline.sensors.inbox import SHA_TAG
from mentor_pipeline.settings import ALERT_WEBHOOK, Settings
from tests.resources.scripted import Reply, Scripted


@dg.asset
def mentors() -> None: ...


@dg.asset
def raw_mn_signups() -> None:
    raise ApiError("Jotform, GET /form: it said no. Nothing was written. Check JOTFORM_API_KEY.", retryable=False)


def check(name: str = "phones_valid", *, passed: bool = False, blocking: bool = False, warn: bool = False) -> Any:
    @dg.asset_check(asset=mentors, name=name, blocking=blocking)
    def evaluate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
            description="Mentor 0042 has no phone.",
            metadata={"rows": dg.MetadataValue.json([{"mn_id": "0042"}]), "mentors": 1, "year": 2025},
        )

    return evaluate


class Office:
    """An installation with both sensors switched on; `alerts` are those that reached the log so far."""

    def __init__(self, data_dir: Path, instance: dg.DagsterInstance) -> None:
        self.settings = Settings(data_dir=data_dir, ui_url="https://dagster.example.org/")
        self.instance = instance
        self.cursors: dict[str, str | None] = {}
        self.tick()

    def run(self, *assets: Any, job: str = "sync", **tags: str) -> dg.DagsterRun:
        chosen = [one for one in assets if isinstance(one, dg.AssetsDefinition)]
        definitions = dg.Definitions(
            assets=[one for one in chosen if not isinstance(one, dg.AssetChecksDefinition)],
            asset_checks=[one for one in assets if isinstance(one, dg.AssetChecksDefinition)],
            jobs=[dg.define_asset_job(job)],
            executor=dg.in_process_executor,
        )
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False
        )
        return result.dagster_run

    def tick(self, *sensors: dg.SensorDefinition) -> None:
        for sensor in sensors or (run_failure_alert, failed_check_alert):
            notifier = Notifier.from_settings(self.settings)
            context = dg.build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                resources={"notifier": notifier},
                definitions=dg.Definitions(sensors=[sensor], resources={"notifier": notifier}),
            )
            with context:
                result = sensor.evaluate_tick(context)
            self.cursors[sensor.name] = result.cursor

    def webhook(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ALERT_WEBHOOK, url)
        self.settings = Settings(data_dir=self.settings.data_dir, ui_url=self.settings.ui_url)

    @property
    def alerts(self) -> list[dict[str, Any]]:
        path = self.settings.alerts_path
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.slow)])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Both keep events their own way; SQLite is what an installation has."""
    if request.param == "memory":
        with dg.DagsterInstance.ephemeral() as made:
            yield made
    else:
        home = tmp_path / "home"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as made:
            yield made


@pytest.fixture
def office(tmp_path: Path, instance: dg.DagsterInstance) -> Office:
    return Office(tmp_path / "data", instance)


def test_both_sensors_run_every_minute_unless_stopped() -> None:
    for sensor in (run_failure_alert, failed_check_alert):
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == 60


# -- failed runs ---------------------------------------------------------------------------------------------------


def test_a_failed_run_is_told_once_with_who_what_and_where(office: Office) -> None:
    run = office.run(mentors, raw_mn_signups, **{BY_TAG: "Ada"})
    office.tick()
    office.tick()
    (alert,) = office.alerts
    assert (alert["kind"], alert["title"]) == ("run_failed", "sync (started by Ada) failed.")
    assert alert["details"] == [
        "raw_mn_signups: Jotform, GET /form: it said no. Nothing was written. Check JOTFORM_API_KEY."
    ]
    assert "start it again" in alert["advice"]
    assert (alert["run_id"], alert["url"]) == (run.run_id, f"https://dagster.example.org/runs/{run.run_id}")


def test_a_run_that_went_well_is_no_alert(office: Office) -> None:
    assert office.run(mentors, check(passed=True)).is_success
    office.tick()
    assert office.alerts == []


def test_a_blocking_check_is_told_with_its_run_and_not_again(office: Office) -> None:
    office.run(mentors, check(blocking=True), **{"dagster/schedule_name": "hourly_sync"})
    office.tick()
    (alert,) = office.alerts
    assert (alert["kind"], alert["title"]) == ("run_failed", "sync (started by hourly_sync) failed.")
    assert alert["details"] == ["mentors_phones_valid: check phones_valid of mentors: Mentor 0042 has no phone."]


def test_a_run_whose_process_died_is_told(office: Office) -> None:
    """Dagster marks it as failed; no step of it says anything."""
    run = office.instance.create_run_for_job(dg.GraphDefinition("sync", node_defs=[]).to_job(), tags={})
    office.instance.report_run_failed(run, "run worker unexpectedly exited")
    office.tick()
    (alert,) = office.alerts
    assert alert["title"] == "sync (started by a person in the UI) failed."
    assert alert["details"] == [
        "it ended without finishing, as when its process is killed (Dagster says: run worker unexpectedly exited)"
    ]


def test_a_run_that_took_too_long_is_told_as_such(office: Office) -> None:
    """Dagster's monitoring interrupts the step at work, and marks the run as failed."""

    @dg.asset
    def endless(context: dg.AssetExecutionContext) -> None:
        why = "Canceling due to exceeding maximum runtime of 7200 seconds."
        context.instance.report_run_canceling(context.run, message=why)
        raise dg.DagsterExecutionInterruptedError

    run = office.run(endless)
    office.instance.report_run_failed(run, "Exceeded maximum runtime of 7200 seconds.")
    office.tick()
    assert office.alerts[0]["details"] == [
        "it was stopped from outside: Canceling due to exceeding maximum runtime of 7200 seconds.",
        "endless: interrupted",
    ]


def test_assets_chosen_in_the_ui_have_no_job_to_name(office: Office) -> None:
    dg.materialize([raw_mn_signups], instance=office.instance, raise_on_error=False)
    office.tick()
    assert office.alerts[0]["title"].startswith("A run of chosen assets (started by ")


HOURLY = {"dagster/schedule_name": "hourly_sync"}


def failing(words: str, asset: str = "raw_mn_signups") -> dg.AssetsDefinition:
    @dg.asset(name=asset)
    def fails() -> None:
        raise ApiError(words, retryable=False)

    return fails


ON_SQLITE = pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
IN_MEMORY = pytest.mark.parametrize("instance", ["memory"], indirect=True)


@ON_SQLITE
def test_a_schedule_that_fails_every_hour_is_told_once_until_it_is_worse_or_was_over(office: Office) -> None:
    for hour in range(3):
        office.run(failing(f"it said no at {hour}:00, after {hour} tries"), **HOURLY)
        office.tick()
    assert [alert["details"] for alert in office.alerts] == [["raw_mn_signups: it said no at 0:00, after 0 tries"]]
    office.run(failing("it said no at 3:00, after 3 tries"), failing("it is down", "raw_mn_funds_setup"), **HOURLY)
    office.tick()
    office.run(failing("another word"), **HOURLY)
    office.tick()
    assert len(office.alerts) == 3
    office.run(mentors, **HOURLY)
    office.run(failing("another word"), **HOURLY)
    office.tick()
    assert len(office.alerts) == 4


@IN_MEMORY
def test_runs_that_people_start_are_told_each(office: Office) -> None:
    """Each is about something of its own: a contact, a decision."""
    for number in range(2):
        office.run(failing(f"contact {number} is gone"), job="archive_duplicates", **{BY_TAG: "Ada"})
    office.tick()
    assert len(office.alerts) == 2


def dropped(content: str) -> dict[str, str]:
    return {"dagster/sensor_name": "inbox_sensor", SHA_TAG: content}


@IN_MEMORY
def test_a_file_whose_attempts_fail_in_the_same_words_is_told_once(office: Office) -> None:
    for attempt in range(3):
        for content in ("abc", "def"):
            office.run(failing(f"attempt {attempt}: it is no CSV"), job="import_contacts", **dropped(content))
        office.tick()
    assert len(office.alerts) == 2
    office.run(failing("the disk is full"), job="import_contacts", **dropped("abc"))
    office.tick()
    assert [alert["details"] for alert in office.alerts[2:]] == [["raw_mn_signups: the disk is full"]]


@ON_SQLITE
def test_a_failed_run_whose_alert_reached_nobody_is_told_at_the_next_tick(office: Office) -> None:
    run = office.run(raw_mn_signups)
    office.settings.alerts_path.mkdir(parents=True)
    before = office.cursors["run_failure_alert"]
    with pytest.raises(Exception, match="reached nobody"):
        office.tick(run_failure_alert)
    assert office.cursors["run_failure_alert"] == before
    office.settings.alerts_path.rmdir()
    for _ in range(2):
        office.tick(run_failure_alert)
    assert [alert["run_id"] for alert in office.alerts] == [run.run_id]


@ON_SQLITE
def test_the_cursor_that_dagster_kept_for_failed_runs_is_gone_on_with(office: Office) -> None:
    """Until now the sensor was one of Dagster's own."""
    before = json.loads(office.cursors["run_failure_alert"] or "")["position"]
    run = office.run(raw_mn_signups)
    office.cursors["run_failure_alert"] = (
        f'{{"__class__": "RunStatusSensorCursor", "record_id": {before}, "record_timestamp": null, '
        '"update_timestamp": null}'
    )
    for _ in range(2):
        office.tick(run_failure_alert)
    assert [alert["run_id"] for alert in office.alerts] == [run.run_id]


@IN_MEMORY
def test_a_webhook_that_was_down_hears_once_of_a_schedule_that_fails_ever_since(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scripted([Reply(status=404)]) as channel:
        office.webhook(channel.url, monkeypatch)
        office.run(failing("it said no"), **HOURLY)
        office.tick(run_failure_alert)
        channel.answer = lambda _: Reply(b"ok")
        channel.asked.clear()
        for _ in range(2):
            office.run(failing("it said no"), **HOURLY)
            office.tick()
    assert len(channel.asked) == 1


@IN_MEMORY
@pytest.mark.parametrize("sensor", [run_failure_alert, failed_check_alert])
def test_what_was_told_before_an_alert_that_reached_nobody_is_not_told_again(
    office: Office, monkeypatch: pytest.MonkeyPatch, sensor: dg.SensorDefinition
) -> None:
    for path in (office.settings.alerts_path, office.settings.data_dir / "alerts-outbox.json"):
        path.mkdir(parents=True)  # neither can be written
    with Scripted([Reply(b"ok"), Reply(status=404)]) as channel:
        office.webhook(channel.url, monkeypatch)
        first, second = (office.run(raw_mn_signups, mentors, check(name)).run_id for name in ("one", "two"))
        office.tick(sensor)
        with pytest.raises(Exception, match="reached nobody"):
            office.tick(sensor)
        channel.answer = lambda _: Reply(b"ok")
        office.tick(sensor)
        told = [asked.body["text"].rpartition("/")[2] for asked in channel.asked]
    assert told == [first, second, second, second]


# -- failed checks -------------------------------------------------------------------------------------------------


def test_a_failed_check_of_a_run_that_went_well_is_told_once(office: Office) -> None:
    run = office.run(mentors, check())
    assert run.is_success
    office.tick()
    office.tick()
    (alert,) = office.alerts
    assert alert["kind"] == "check_failed"
    assert alert["title"].startswith("1 check failed in sync (started by ")
    assert alert["details"] == ["phones_valid of mentors: Mentor 0042 has no phone. (mentors: 1)"]
    assert alert["url"].endswith(f"/runs/{run.run_id}")


def test_a_warning_is_no_alert(office: Office) -> None:
    office.run(mentors, check(warn=True))
    office.tick()
    assert office.alerts == []


def test_the_checks_of_a_run_are_told_together(office: Office) -> None:
    office.run(mentors, check("first"), check("second"), check("fine", passed=True))
    office.tick()
    (alert,) = office.alerts
    assert alert["title"].startswith("2 checks failed in sync ")
    assert sorted(line.split()[0] for line in alert["details"]) == ["first", "second"]


def test_a_failed_check_of_a_failed_run_is_told_too(office: Office) -> None:
    office.run(mentors, check(), raw_mn_signups)
    office.tick()
    assert [alert["kind"] for alert in office.alerts] == ["run_failed", "check_failed"]


@IN_MEMORY
def test_a_check_that_goes_on_failing_is_told_once_until_another_fails_or_it_held(office: Office) -> None:
    for _ in range(2):
        office.run(mentors, check("first"))
        office.tick()
    assert len(office.alerts) == 1
    office.run(mentors, check("first"), check("second"))
    office.tick()
    assert [alert["details"][0].split()[0] for alert in office.alerts] == ["first", "second"]
    office.run(mentors, check("first", passed=True))
    office.run(mentors, check("first"))
    office.run(mentors, check("first", warn=True))
    office.run(mentors, check("first"))
    office.tick()
    assert [alert["details"][0].split()[0] for alert in office.alerts] == ["first", "second", "first", "first"]


@IN_MEMORY
def test_a_cursor_of_earlier_times_is_gone_on_with(office: Office) -> None:
    office.cursors["failed_check_alert"] = str(json.loads(office.cursors["failed_check_alert"] or "")["position"])
    office.run(mentors, check())
    office.tick()
    assert len(office.alerts) == 1


def test_what_failed_before_the_sensor_was_on_is_not_told(office: Office) -> None:
    office.run(mentors, check())
    office.cursors.clear()
    office.tick()
    assert office.alerts == []
    office.cursors["failed_check_alert"] = "typed in by hand"
    office.tick()
    assert office.alerts == []
    office.run(mentors, check())
    office.tick()
    assert len(office.alerts) == 1


def test_many_runs_are_told_in_turn_none_twice_and_none_left_out(office: Office) -> None:
    ended = [office.run(mentors, check(blocking=number % 2 == 1)).run_id for number in range(2 * RUNS_PER_TICK + 2)]
    expected = ended[::2]
    for most in (RUNS_PER_TICK, 2 * RUNS_PER_TICK, len(ended)):
        office.tick(failed_check_alert)
        assert [alert["run_id"] for alert in office.alerts] == [one for one in ended[:most] if one in expected]


def test_the_cursor_stays_where_an_alert_was_lost(office: Office) -> None:
    run = office.run(mentors, check())
    office.settings.alerts_path.mkdir(parents=True)
    before = office.cursors["failed_check_alert"]
    with pytest.raises(Exception, match="reached nobody"):
        office.tick(failed_check_alert)
    assert office.cursors["failed_check_alert"] == before
    office.settings.alerts_path.rmdir()
    office.tick(failed_check_alert)
    assert [alert["run_id"] for alert in office.alerts] == [run.run_id]
