"""Sensors that tell people what went wrong while nobody was looking: failed runs, and failed checks in any run.

A failed check that does not block leaves its run successful, so failed runs alone would not show it; a blocking one
fails its run and is told with it. Warnings are no alerts: they are in the UI and in the tables. Where an alert goes is
the notifier's business. Both sensors start with what happens after they are first switched on.

One situation is told once: a job that fails every hour in the same words, or a check that does, is told the first time,
and again when the words change or when all was well in between. What waits too long is told by `waiting`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import dagster as dg
import orjson

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.resources.notifier import Alert, Notifier
from mentor_pipeline.resources.run_guard import events_of, failures_of, named_starter, words_of

INTERVAL_S: Final = 60
RUNS_PER_TICK: Final = 5
"""As many as Dagster's own sensors of runs take: with a webhook that hangs, a tick still ends within its minute."""

_ENDED: Final = (
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
)
_SCHEDULE_TAG: Final = "dagster/schedule_name"
_VARYING: Final = re.compile(r"\S*\d\S*")
"""Numbers, times, runs' ids: what differs each time that the same thing goes wrong."""
_SCALARS: Final = (dg.IntMetadataValue, dg.FloatMetadataValue, dg.TextMetadataValue, dg.BoolMetadataValue)

Ended: TypeAlias = tuple[int, str]
"""A run that ended: the position of that event in Dagster's event log, and the run's id."""
Told: TypeAlias = dict[str, str]
"""Checks that are failing, each with the words by which it was told."""


@dg.run_failure_sensor(
    name="run_failure_alert",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Runs that a command started belong to no code location.
    monitor_all_code_locations=True,
    description="Tells people of every run that failed: who started it, what failed, what to do.",
)
def run_failure_alert(context: dg.RunFailureSensorContext, notifier: Notifier) -> None:
    """Hand over one alert for a run that failed."""
    run = context.dagster_run
    details = _why(context.instance, run.run_id)
    if _failed_so_before(context.instance, run, details):
        context.log.info("Run %s failed as the one before it, which was told.", run.run_id)
        return
    alert = Alert(
        kind="run_failed",
        title=f"{_named(run)} failed.",
        details=details or [_how_it_ended(context.failure_event)],
        advice=(
            "What earlier steps wrote is kept; the step that failed and those after it wrote nothing. Put right what "
            "is named above and start it again; a scheduled job tries again by itself at its next time. While it fails "
            "in the same way, nothing more is told."
        ),
        run_id=run.run_id,
        url=notifier.run_url(run.run_id),
    )
    notifier.tell(alert, context.log)


@dg.sensor(
    name="failed_check_alert",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of failed checks in runs that ended, also where the run itself went well.",
)
def failed_check_alert(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """Look at the runs that ended since the last tick, the oldest first."""
    position, failing = _remembered(context.cursor)
    if position is None:
        context.update_cursor(_cursor(_newest(context.instance), {}))
        return dg.SkipReason("Failed checks of runs that end from now on are told.")
    told = 0
    ended = _ended_after(context.instance, position, RUNS_PER_TICK)
    for end, run_id in ended:
        alert, failing = check_alert(context.instance, run_id, notifier.run_url(run_id), failing)
        if alert is not None:
            notifier.tell(alert, context.log)
            told += 1
        # Only now: had the alert been lost, the next tick would come back to this run.
        context.update_cursor(_cursor(end, failing))
    return dg.SkipReason(f"{len(ended)} runs ended, {told} with checks that began to fail.")


def check_alert(
    instance: dg.DagsterInstance, run_id: str, url: str, failing: Mapping[str, str]
) -> tuple[Alert | None, Told]:
    """The alert for checks of a run that failed as errors without failing the run, where they did not fail so before.

    Args:
        instance: where the run is.
        run_id: the run.
        url: its page.
        failing: checks that failed before it, as they were told.

    Returns:
        The alert, None when there is nothing new to tell; and the checks that are failing now.
    """
    evaluations = [
        event.asset_check_evaluation_data
        for event in events_of(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    ]
    now, new = dict(failing), []
    for check in evaluations:
        name = f"{check.check_name} of {check.asset_key.to_user_string()}"
        if check.passed or check.severity != dg.AssetCheckSeverity.ERROR or check.blocking:
            now.pop(name, None)
            continue
        words = _constant(_told(check))
        if now.get(name) != words:
            new.append(check)
        now[name] = words
    run = instance.get_run_by_id(run_id)
    if not new or run is None:
        return None, now
    count = "1 check" if len(new) == 1 else f"{len(new)} checks"
    alert = Alert(
        kind="check_failed",
        title=f"{count} failed in {_named(run)}.",
        details=[_told(check) for check in new],
        advice=(
            "The data is stored as it is. The rows in question are with the check, on the page of its asset. While a "
            "check fails in the same way, nothing more is told."
        ),
        run_id=run_id,
        url=url,
    )
    return alert, now


def _remembered(cursor: str | None) -> tuple[int | None, Told]:
    """What the cursor holds: the last run that was looked at, and what is failing; None for one that is not ours."""
    try:
        kept = orjson.loads(cursor or "")
    except orjson.JSONDecodeError:
        return None, {}
    if isinstance(kept, dict) and isinstance(kept.get("position"), int) and isinstance(kept.get("failing"), dict):
        return kept["position"], kept["failing"]
    # Before it remembered what is failing, the position was all of it.
    return (kept, {}) if isinstance(kept, int) else (None, {})


def _cursor(position: int, failing: Told) -> str:
    return to_json({"position": position, "failing": failing})


def _constant(words: str) -> str:
    """Words without what differs each time."""
    return _VARYING.sub("#", words)


def _why(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Why a run failed, one line each."""
    stopped = events_of(instance, run_id, dg.DagsterEventType.RUN_CANCELING)
    told = [f"it was stopped from outside: {event.message}" for event in stopped]
    return told + failures_of(instance, run_id)


def _failed_so_before(instance: dg.DagsterInstance, run: dg.DagsterRun, details: Sequence[str]) -> bool:
    """True for a run of a schedule whose last run failed in the same words.

    Runs that people or the inbox start are about something of their own (a file, a contact): each of them is told.
    """
    schedule = run.tags.get(_SCHEDULE_TAG)
    if schedule is None:
        return False
    of_schedule = dg.RunsFilter(
        tags={_SCHEDULE_TAG: schedule}, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    )
    earlier = instance.get_runs(of_schedule, cursor=run.run_id, limit=1)
    if not earlier or earlier[0].status is not dg.DagsterRunStatus.FAILURE:
        return False
    before = _why(instance, earlier[0].run_id)
    return sorted(map(_constant, before)) == sorted(map(_constant, details))


def _told(check: Any) -> str:
    """One failed check: which, of what, in its own words, with the first number or text it reports."""
    scalars = (f" ({name}: {value.value})" for name, value in check.metadata.items() if isinstance(value, _SCALARS))
    words = check.description or "failed"
    return f"{check.check_name} of {check.asset_key.to_user_string()}: {words}{next(scalars, '')}"


def _named(run: dg.DagsterRun) -> str:
    """A run as people know it: its job, and who started it."""
    # Dagster's own job, of assets chosen in the UI, has a name that says nothing.
    job = "A run of chosen assets" if run.job_name.startswith("__") else run.job_name
    return f"{job} (started by {named_starter(run.tags) or 'a person in the UI'})"


def _how_it_ended(event: dg.DagsterEvent) -> str:
    """Words for a run that failed outside of its steps: its process died, it could not start, it took too long."""
    said = words_of(event) if getattr(event.event_specific_data, "error", None) else event.message
    return f"it ended without finishing, as when its process is killed (Dagster says: {said})"


def _ended_after(instance: dg.DagsterInstance, position: int, limit: int) -> Sequence[Ended]:
    """Runs that ended after a position of the event log, oldest first.

    Runs, not check events, are what is paged through: Dagster pages check events only by `get_event_records`, which is
    deprecated and, on SQLite, wants another cursor and answers with events that were seen before.
    """
    ended = _ends(instance, limit, ascending=True, after=position)
    return sorted(ended)[:limit]


def _newest(instance: dg.DagsterInstance) -> int:
    """Position of the last run that ended; 0 when none did yet."""
    return max((position for position, _ in _ends(instance, 1, ascending=False)), default=0)


def _ends(instance: dg.DagsterInstance, limit: int, *, ascending: bool, after: int | None = None) -> Iterable[Ended]:
    """Ends of runs, at most `limit` of each kind of end."""
    for kind in _ENDED:
        only = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=after)
        records = instance.fetch_run_status_changes(only, limit=limit, ascending=ascending).records
        yield from ((record.storage_id, record.run_id) for record in records)
