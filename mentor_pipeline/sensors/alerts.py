"""Sensors that tell people what went wrong while nobody was looking: failed runs, and failed checks in any run.

A failed check that does not block leaves its run successful, so failed runs alone would not show it; a blocking one
fails its run and is told with it. Warnings are no alerts: they are in the UI and in the tables. Where an alert goes is
the notifier's business. Both sensors start with what happens after they are first switched on. (They are plain sensors:
Dagster's own for failed runs goes on to the next run when an alert reached nobody.)

One situation is told once: a schedule or a file of the inbox that fails every time in the same words, or a check that
does, is told the first time, and again when the words change or when all was well in between. What waits too long is
told by `waiting`.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import dagster as dg
import orjson

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import AlertLostError
from mentor_pipeline.resources.notifier import Alert, Notifier
from mentor_pipeline.resources.run_guard import SCHEDULE_TAG, events_of, failures_of, named_starter, words_of
from mentor_pipeline.sensors.inbox import SHA_TAG

INTERVAL_S: Final = 60
RUNS_PER_TICK: Final = 4
"""With a webhook that hangs, and what is handed over late before them, a tick still ends within its minute."""

_FAILED: Final = (dg.DagsterEventType.RUN_FAILURE,)
_ENDED: Final = (*_FAILED, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_CANCELED)
_VARYING: Final = re.compile(r"\S*\d\S*")
"""Numbers, times, runs' ids: what differs each time that the same thing goes wrong."""
_SCALARS: Final = (dg.IntMetadataValue, dg.FloatMetadataValue, dg.TextMetadataValue, dg.BoolMetadataValue)

Ended: TypeAlias = tuple[int, str]
"""A run that ended: the position of that event in Dagster's event log, and the run's id."""
Told: TypeAlias = dict[str, str]
"""Checks that are failing, each with the words by which it was told."""


@dg.sensor(
    name="run_failure_alert",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of every run that failed: who started it, what failed, what to do.",
)
def run_failure_alert(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """Look at the runs that failed since the last tick, the oldest first."""

    def alert_of(run_id: str, failing: Told) -> tuple[Alert | None, Told]:
        return failure_alert(context.instance, run_id, notifier.run_url(run_id), context.log), failing

    counts = _look(context, notifier, _FAILED, alert_of)
    if counts is None:
        return dg.SkipReason("Runs that fail from now on are told.")
    failed, told = counts
    return dg.SkipReason(f"{failed} runs failed, {told} told.")


@dg.sensor(
    name="failed_check_alert",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of failed checks in runs that ended, also where the run itself went well.",
)
def failed_check_alert(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """Look at the runs that ended since the last tick, the oldest first."""

    def alert_of(run_id: str, failing: Told) -> tuple[Alert | None, Told]:
        return check_alert(context.instance, run_id, notifier.run_url(run_id), failing)

    counts = _look(context, notifier, _ENDED, alert_of)
    if counts is None:
        return dg.SkipReason("Failed checks of runs that end from now on are told.")
    ended, told = counts
    return dg.SkipReason(f"{ended} runs ended, {told} with checks that began to fail.")


def _look(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    kinds: Collection[dg.DagsterEventType],
    alert_of: Callable[[str, Told], tuple[Alert | None, Told]],
) -> tuple[int, int] | None:
    """Tell of the runs that ended so since the last tick, the oldest first.

    Args:
        context: the sensor's, whose cursor remembers the last run and what is failing.
        notifier: where alerts go.
        kinds: the ends of runs that are looked at.
        alert_of: the alert for a run, after what was failing before it; and what is failing then.

    Returns:
        How many runs there were, and how many alerts; None at the first tick, which only remembers where it begins.
    """
    position, failing = _remembered(context.cursor)
    if position is None:
        context.update_cursor(_cursor(_newest(context.instance, kinds), {}))
        return None
    ended = _ended_after(context.instance, position, kinds)

    def found() -> Iterator[tuple[Alert | None, str]]:
        now = failing
        for end, run_id in ended:
            alert, now = alert_of(run_id, now)
            yield alert, _cursor(end, now)

    return len(ended), tell_in_turn(context, notifier, found())


def tell_in_turn(
    context: dg.SensorEvaluationContext, notifier: Notifier, found: Iterable[tuple[Alert | None, str]]
) -> int:
    """Hand over what waited from earlier times, then what was found, each with the sensor's cursor after it.

    Dagster keeps the cursor only of a tick that ends well. So where an alert reaches nobody after others did, the tick
    ends early, those are not told again, and the next one begins with it.

    Returns:
        How many alerts were handed over.

    Raises:
        AlertLostError: the first alert reached nobody; the next tick comes back to it.
    """
    notifier.hand_over_late(context.log)
    told = 0
    for alert, cursor in found:
        if alert is not None:
            try:
                notifier.tell(alert, context.log)
            except AlertLostError as error:
                if not told:
                    raise
                context.log.error("%s", error)  # noqa: TRY400 - it says what there is to know
                break
            told += 1
        context.update_cursor(cursor)
    return told


def failure_alert(instance: dg.DagsterInstance, run_id: str, url: str, log: logging.Logger) -> Alert | None:
    """The alert for a run that failed; None where the same was told before, or the run is no longer known.

    Args:
        instance: where the run is.
        run_id: the run.
        url: its page.
        log: Dagster's log of the sensor.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return None
    details = _why(instance, run_id)
    if _failed_so_before(instance, run, details):
        log.info("Run %s failed as the one before it, which was told.", run_id)
        return None
    return Alert(
        kind="run_failed",
        title=f"{_named(run)} failed.",
        details=details or [_how_it_ended(event) for event in events_of(instance, run_id, *_FAILED)[-1:]],
        advice=(
            "What earlier steps wrote is kept; the step that failed and those after it wrote nothing. Put right what "
            "is named above and start it again; a scheduled job tries again by itself at its next time. While it fails "
            "in the same way, nothing more is told."
        ),
        run_id=run_id,
        url=url,
    )


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
    if isinstance(kept, dict):  # of earlier times, when Dagster kept it for the sensor of failed runs
        kept = kept.get("record_id")
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
    """True for a run of a schedule, or for a file of the inbox, the last of which failed in the same words.

    Runs that people start are about something of their own (a contact, a decision): each of them is told.
    """
    tag = next((tag for tag in (SCHEDULE_TAG, SHA_TAG) if tag in run.tags), None)
    if tag is None:
        return False
    of_its_kind = dg.RunsFilter(
        tags={tag: run.tags[tag]}, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    )
    earlier = instance.get_runs(of_its_kind, cursor=run.run_id, limit=1)
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


def _ended_after(
    instance: dg.DagsterInstance, position: int, kinds: Collection[dg.DagsterEventType]
) -> Sequence[Ended]:
    """Runs that ended after a position of the event log, oldest first, as many as a tick takes.

    Runs, not check events, are what is paged through: Dagster pages check events only by `get_event_records`, which is
    deprecated and, on SQLite, wants another cursor and answers with events that were seen before.
    """
    ended = _ends(instance, kinds, RUNS_PER_TICK, ascending=True, after=position)
    return sorted(ended)[:RUNS_PER_TICK]


def _newest(instance: dg.DagsterInstance, kinds: Collection[dg.DagsterEventType]) -> int:
    """Position of the last run that ended; 0 when none did yet."""
    return max((position for position, _ in _ends(instance, kinds, 1, ascending=False)), default=0)


def _ends(
    instance: dg.DagsterInstance,
    kinds: Collection[dg.DagsterEventType],
    limit: int,
    *,
    ascending: bool,
    after: int | None = None,
) -> Iterable[Ended]:
    """Ends of runs, at most `limit` of each kind of end."""
    for kind in kinds:
        only = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=after)  # type: ignore[arg-type]
        records = instance.fetch_run_status_changes(only, limit=limit, ascending=ascending).records
        yield from ((record.storage_id, record.run_id) for record in records)
