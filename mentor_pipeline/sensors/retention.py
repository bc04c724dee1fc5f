"""The sensor that lets go of what nobody asks for any more, once an hour."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from mentor_pipeline.operator.retention import let_go
from mentor_pipeline.settings import Settings

INTERVAL_S: Final = 3600
RUNS_AT_ONCE: Final = 200
"""Each takes a twentieth of a second; no tick may take a minute."""


@dg.sensor(
    name="retention",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Deletes Dagster's records of old runs, and old import files where a setting says so.",
)
def retention(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Delete what is older than the settings keep."""
    settings = Settings.load()
    gone = let_go(context.instance, settings, datetime.now(UTC), runs_at_once=RUNS_AT_ONCE)
    files = ", ".join(path.name for path in gone.files)
    return dg.SkipReason(
        f"Deleted the records of {gone.runs} runs older than {settings.keep_runs_days} days"
        f"{f' and old files: {files}' if files else ''}."
    )
