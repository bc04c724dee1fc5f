"""When runs start by themselves. The time zone is the year file's; nobody's run waits behind a pile of these."""

from typing import Any, Final

import dagster as dg

from mentor_pipeline.jobs import contact_refresh, sync
from mentor_pipeline.settings import ProgramYear, Settings

_UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def _schedule(
    name: str, job: Any, cron: str, program: ProgramYear, status: dg.DefaultScheduleStatus, description: str
) -> dg.ScheduleDefinition:
    """A schedule that leaves out a time at which its last run is still waiting or at work."""

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=program.jotform.timezone,
        default_status=status,
        description=description,
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        under_way = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=_UNDER_WAY), limit=1)
        if under_way:
            return dg.SkipReason(f"Run {under_way[0].run_id} of {job.name} is still waiting or at work.")
        return dg.RunRequest(run_key=None)

    return schedule


def build_schedules(settings: Settings, program: ProgramYear) -> list[dg.ScheduleDefinition]:
    """The schedules; they run by default only where the installation says so (`schedules_on`)."""
    status = dg.DefaultScheduleStatus.RUNNING if settings.schedules_on else dg.DefaultScheduleStatus.STOPPED
    return [
        _schedule("hourly_sync", sync, "0 * * * *", program, status, "Reads both services at minute 0 of every hour."),
        _schedule(
            "daily_contact_refresh",
            contact_refresh,
            "30 4 * * *",
            program,
            status,
            "Reads the mentors' contacts one by one at 04:30, to see which were archived, deleted or merged.",
        ),
    ]
