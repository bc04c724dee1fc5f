"""The sensor that sees files dropped into the inbox and asks for a run of `import_contacts` for each.

What to do with a file is decided by `operator.inbox.plan`; here are only Dagster's parts: the cursor, the run requests
and what Dagster knows of earlier runs. The cursor is a speed-up (sizes, times and hashes of the last tick): lost, it
costs one tick, since what was imported is in the ledger. The sensor never writes to the warehouse and never waits for
a run; it only moves away files that were dealt with before. However many files there are, a tick is short: what it
reads, moves and asks for is bounded, and the rest follows in later ticks.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
import orjson

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import WarehouseBusyError, steering_nothing
from mentor_pipeline.operator.inbox import (
    EarlierRuns,
    InboxFile,
    Plan,
    contents_to_import,
    import_run_config,
    not_followed,
    observe,
    plan,
    tidy,
)
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import Settings
from mentor_pipeline.tables import TABLES

LEDGER: Final = "csv_import_log"
SHA_TAG: Final = "mentor_pipeline/sha256"
FILE_TAG: Final = "mentor_pipeline/file"
STARTING_TIME: Final = timedelta(minutes=1)
"""A run that started longer ago while nobody holds the writer lock was killed, whatever Dagster still believes."""

CONTENTS_AT_ONCE: Final = 100
"""So many contents are asked for, or wait for their next attempt, at a time; the others wait for their turn."""
SECONDS_TO_READ: Final = 0.15
SECONDS_TO_TIDY: Final = 0.1
"""What a tick may spend on the contents of settled files, and on putting away; at least one file of each."""

_RUNS_LOOKED_AT: Final = 50 * CONTENTS_AT_ONCE
_ENDED: Final = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_NOT_BEGUN: Final = {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED}


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def build_inbox_sensor(
    job: Any,
    *,
    clock: Callable[[], datetime] = utc_now,
    interval_s: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
) -> dg.SensorDefinition:
    """The inbox sensor, for the job that imports one file.

    Args:
        job: a job, or what `dg.define_asset_job` returns; its asset `raw_gb_full_contacts` takes the config that
            `import_run_config` makes.
        clock: the time.
        interval_s: seconds between ticks; a file is settled when two ticks see it the same.
        default_status: whether it runs unless somebody stops it.
    """

    @dg.sensor(
        name="inbox_sensor",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=default_status,
        description="Imports the Givebutter files that are dropped into the inbox, each content once.",
    )
    def inbox_sensor(
        context: dg.SensorEvaluationContext,
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult:
        inbox = settings.inbox_dir
        previous = _read_cursor(context.cursor)
        files = observe(inbox, previous, seconds=SECONDS_TO_READ)
        for words in not_followed(files, previous):
            context.log.warning(words)
        cursor = _cursor(files)
        settled = any(file.sha256 is not None for file in files)
        try:
            # Before the ledger: a run that ends between the two is then seen as ended, not as killed.
            live_runs = warehouse.live_runs() if settled else set()
            ledger = warehouse.read_or_empty(LEDGER) if settled else TABLES[LEDGER].empty()
        except WarehouseBusyError as error:
            return dg.SensorResult(skip_reason=f"Tried again at the next tick: {error}", cursor=cursor)
        now = clock()
        wanted = contents_to_import(files, ledger, previous, at_most=CONTENTS_AT_ONCE)
        runs = _earlier_runs(context.instance, wanted, live_runs, now)
        planned = plan(files, ledger, previous, now, runs=runs, live_runs=live_runs)
        faults = tidy(inbox, planned, seconds=SECONDS_TO_TIDY)
        for fault in faults:
            context.log.error(fault)
        requests = [
            dg.RunRequest(
                run_key=ready.run_key,
                run_config=import_run_config(inbox / ready.file.name),
                tags={SHA_TAG: str(ready.file.sha256), FILE_TAG: steering_nothing(ready.file.name)},
            )
            for ready in planned.ready
        ]
        if not requests:
            return dg.SensorResult(skip_reason=_reason(planned, faults), cursor=cursor)
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return inbox_sensor


def _read_cursor(cursor: str | None) -> dict[str, InboxFile]:
    """The files of the last tick, by name; none when there was no tick, or its cursor cannot be read."""
    try:
        files = orjson.loads(cursor or "{}")
        return {name: InboxFile(name, int(size), int(mtime), sha256) for name, (size, mtime, sha256) in files.items()}
    except (ValueError, TypeError, AttributeError):  # typed in by hand, or another version's
        return {}


def _cursor(files: Iterable[InboxFile]) -> str:
    return to_json({file.name: [file.size, file.mtime_ns, file.sha256] for file in files})


def _reason(planned: Plan, faults: Sequence[str]) -> str:
    said = [*faults[:1], *(f"{file.name}: {file.reason}" for file in planned.waiting[:5])]
    if len(planned.waiting) > 5:
        said.append(f"and {len(planned.waiting) - 5} more")
    if said:
        return steering_nothing("; ".join(said))
    return f"{len(planned.done_with)} files were put away" if planned.done_with else "The inbox is empty."


def _earlier_runs(
    instance: dg.DagsterInstance, contents: Sequence[str], live_runs: Collection[str], now: datetime
) -> dict[str, EarlierRuns]:
    """What Dagster knows of the runs for each content."""
    records = defaultdict(list)
    if contents:
        for record in instance.get_run_records(dg.RunsFilter(tags={SHA_TAG: contents}), limit=_RUNS_LOOKED_AT):
            records[record.dagster_run.tags[SHA_TAG]].append(record)
    return {sha256: _summed_up(records[sha256], live_runs, now) for sha256 in contents}


def _summed_up(records: Sequence[dg.RunRecord], live_runs: Collection[str], now: datetime) -> EarlierRuns:
    ends = [datetime.fromtimestamp(record.end_time, UTC) for record in records if record.end_time is not None]
    return EarlierRuns(
        count=len(records),
        failures=sum(
            record.dagster_run.status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
            for record in records
        ),
        last_end=max(ends, default=None),
        in_progress=any(_is_in_progress(record, live_runs, now) for record in records),
    )


def _is_in_progress(record: dg.RunRecord, live_runs: Collection[str], now: datetime) -> bool:
    status = record.dagster_run.status
    if status in _ENDED:
        return False
    if status in _NOT_BEGUN or live_runs:
        return True
    return record.start_time is None or now - datetime.fromtimestamp(record.start_time, UTC) < STARTING_TIME
