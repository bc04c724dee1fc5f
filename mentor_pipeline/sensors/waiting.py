"""The sensor that tells what waits too long: conflicts, contacts that nobody read, schedules that do not run.

Nothing of this is an event, so it looks at what is stored, every ten minutes. A situation is told once; again when it
got worse, at most once a day; and anew after it was over. What was told is in the sensor's cursor, which Dagster keeps.
Runs and checks that fail are told by `alerts`; that nothing runs at all, as when the machine is off, nobody here can
tell.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
import orjson
import polars as pl

from mentor_pipeline.domain.export import knowledge_at
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import WarehouseBusyError
from mentor_pipeline.resources.notifier import Alert, Notifier
from mentor_pipeline.resources.run_guard import SCHEDULE_TAG
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.sensors.alerts import tell_in_turn
from mentor_pipeline.settings import ProgramYear

INTERVAL_S: Final = 600
LONGEST_DECISION: Final = timedelta(days=1)
LONGEST_PAUSES: Final[Mapping[str, timedelta]] = {
    "hourly_sync": timedelta(hours=2),
    "daily_contact_refresh": timedelta(hours=26),
}
"""How long each schedule may start no run. An hourly one may leave out a time while its last run goes on; and there are
days of 25 hours."""
AT_MOST_EVERY: Final = timedelta(days=1)

_NOT_LOOKING: Final = timedelta(seconds=3 * INTERVAL_S)
"""After a longer pause between two ticks Dagster itself was off; what it missed meanwhile is no fault."""
_CONFLICTS, _CONTACTS, _PAUSE = "conflicts_waiting", "contacts_old", "schedule_not_running"
_MEANWHILE: Final[Mapping[str, str]] = {
    "hourly_sync": "Nothing was read from Jotform and Givebutter since; meanwhile run `mentor-pipeline sync`.",
    "daily_contact_refresh": "Which contacts were archived, deleted or merged was not looked up since; meanwhile run "
    "`mentor-pipeline contact-refresh`.",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """Something that waits too long.

    Attributes:
        kind: what sort of thing.
        size: how bad it is; it got worse when this grew.
        title: the whole in one line.
        details: what it is about, one line each.
        advice: what to do.
    """

    kind: str
    size: float
    title: str
    details: list[str]
    advice: str


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dg.sensor(
    name="waiting_alert",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people what waits too long: conflicts and contacts over a day, schedules that start nothing.",
)
def waiting_alert(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> dg.SkipReason:
    """Look at everything once, and tell what was not told yet."""
    now = utc_now()
    memory = _Memory.read(context.cursor, now)
    found = {
        f"{_PAUSE}: {schedule}": schedule_not_running(context.instance, schedule, now, memory.looking_since)
        for schedule in LONGEST_PAUSES
    }
    try:
        with warehouse.reading() as reader:
            conflicts = reader.read_or_empty("sync_conflicts", year=program.year)
            mentors = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
            reads = reader.read_or_empty("source_reads")
    except WarehouseBusyError as error:
        context.log.info("What is stored is looked at next time: %s", error)
    else:
        found[_CONFLICTS] = conflicts_waiting(conflicts, mentors, now)
        found[_CONTACTS] = contacts_old(knowledge_at(reads), program, now)

    def news() -> Iterator[tuple[Alert | None, str]]:
        for name, situation in found.items():
            alert = None
            if situation is None:
                memory.over(name)
            elif memory.is_news(name, situation, now):
                memory.told(name, situation, now)
                alert = Alert(situation.kind, situation.title, situation.details, situation.advice, "", notifier.ui_url)
            yield alert, memory.text

    told = tell_in_turn(context, notifier, news())
    waiting = [name for name, situation in found.items() if situation is not None]
    return dg.SkipReason(f"Waiting too long: {', '.join(waiting) or 'nothing'}; told now: {told}.")


class _Memory:
    """What the cursor keeps: since when the sensor has been looking; and what was told, when and how bad it was then.

    There is one situation of each name at a time.
    """

    def __init__(self, looking_since: datetime, now: datetime, told: dict[str, dict[str, Any]]) -> None:
        self.looking_since = looking_since
        self._now = now
        self._told = told

    @classmethod
    def read(cls, cursor: str | None, now: datetime) -> "_Memory":
        """Remember; a cursor that is none of ours is as none."""
        try:
            kept = orjson.loads(cursor or "")
            last, since = (datetime.fromisoformat(kept[name]) for name in ("looked_at", "looking_since"))
            told = {name: {"at": datetime.fromisoformat(one["at"]), "size": float(one["size"])}
                    for name, one in kept["told"].items()}  # fmt: skip
        except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError):
            return cls(now, now, {})
        return cls(since if now - last < _NOT_LOOKING else now, now, told)

    def is_news(self, name: str, situation: Situation, now: datetime) -> bool:
        """True for a situation that is new, or got worse and was not told for a day."""
        before = self._told.get(name)
        return before is None or (situation.size > before["size"] and now - before["at"] >= AT_MOST_EVERY)

    def told(self, name: str, situation: Situation, now: datetime) -> None:
        self._told[name] = {"at": now, "size": situation.size}

    def over(self, name: str) -> None:
        self._told.pop(name, None)

    @property
    def text(self) -> str:
        return to_json({"looked_at": self._now, "looking_since": self.looking_since, "told": self._told})


def conflicts_waiting(conflicts: pl.DataFrame, mentors: pl.DataFrame, now: datetime) -> Situation | None:
    """Conflicts that nobody decided for a day; worse with each that comes to wait so long."""
    waiting = (
        conflicts.filter(pl.col("detected_at") < now - LONGEST_DECISION, status="pending")
        .join(mentors, on="mn_id", how="left")
        .sort("detected_at", "id")
    )
    if waiting.is_empty():
        return None
    count = "1 conflict waits" if waiting.height == 1 else f"{waiting.height} conflicts wait"
    return Situation(
        _CONFLICTS,
        waiting["detected_at"].dt.timestamp("us").max(),  # type: ignore[arg-type]
        f"{count} for a decision for more than a day.",
        [
            f"{row['conflict_type']} of mentor {row['mn_id']} {row['full_name'] or ''}".strip()
            + f", since {row['detected_at']:%Y-%m-%d %H:%M} UTC ({row['id']})"
            for row in waiting.iter_rows(named=True)
        ],
        "Until then these mentors go on with what is certain; who has a conflict about the contact is left out of the "
        "import file. See them with `mentor-pipeline conflicts list`, decide with `conflicts resolve ID a`, or take "
        "every recommendation with `conflicts accept-recommended`.",
    )


def contacts_old(known_at: datetime | None, program: ProgramYear, now: datetime) -> Situation | None:
    """Contacts that were not read for a day; worse when no import file is written any more."""
    limits = program.export
    if known_at is None or now - known_at <= timedelta(hours=limits.contacts_max_age_hours):
        return None
    is_refused = now - known_at > timedelta(days=limits.contacts_refuse_after_days)
    then = (
        "an import file is refused at this age"
        if is_refused
        else "an import file made now may hold what is no longer true; after "
        f"{limits.contacts_refuse_after_days:g} days none is written"
    )
    return Situation(
        _CONTACTS,
        2 if is_refused else 1,
        f"Givebutter's contacts were last read {(now - known_at) / timedelta(hours=1):.0f} hours ago.",
        [f"they are known as of {known_at:%Y-%m-%d %H:%M} UTC; {then}"],
        "Run `mentor-pipeline sync`, or drop a contacts export into the inbox. If syncs fail, their own alert, or "
        "`mentor-pipeline status`, says why.",
    )


def schedule_not_running(
    instance: dg.DagsterInstance, schedule: str, now: datetime, looking_since: datetime
) -> Situation | None:
    """A schedule that is switched on and has started no run for too long; worse after twice that, at least a day.

    Args:
        instance: where schedules and runs are.
        schedule: its name.
        now: the time.
        looking_since: since when Dagster has been at work; before that it could start nothing.
    """
    states = [state for state in instance.all_instigator_state() if state.instigator_name == schedule]
    state = next((state for state in states if state.is_running), None)
    if state is None:
        return None
    runs = instance.get_run_records(dg.RunsFilter(tags={SCHEDULE_TAG: schedule}), limit=1)
    begun = [record.create_timestamp.astimezone(UTC) for record in runs]
    switched_on: float = getattr(state.instigator_data, "start_timestamp", None) or 0
    pause = now - max([*begun, datetime.fromtimestamp(switched_on, UTC), looking_since])
    longest = LONGEST_PAUSES[schedule]
    if pause <= longest:
        return None
    last = f"its last run, {runs[0].dagster_run.run_id}, was started {begun[0]:%Y-%m-%d %H:%M} UTC" if runs else ""
    details = [last or "it has not started a run yet", *_last_times(instance, state)]
    if runs and not runs[0].dagster_run.is_finished:
        details.insert(1, "that run has not ended, and while it goes on no other is started")
    return Situation(
        _PAUSE,
        2 if pause > max(2 * longest, timedelta(days=1)) else 1,
        f"{schedule} is switched on and has started no run for {pause / timedelta(hours=1):.0f} hours.",
        details,
        "In Dagster's UI end a run that hangs (Runs) and look at the schedule's ticks (Automation); if it has none, "
        f"restart Dagster. {_MEANWHILE[schedule]}",
    )


def _last_times(instance: dg.DagsterInstance, state: Any) -> Iterator[str]:
    """What the scheduler said of the schedule's last time."""
    for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
        said = tick.error.message if tick.error else tick.skip_reason or tick.status.value.lower()
        yield f"its last time was {datetime.fromtimestamp(tick.timestamp, UTC):%Y-%m-%d %H:%M} UTC: {said}"
