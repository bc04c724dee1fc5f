"""An installation to measure: a data folder after a first sync of a made-up world.

What is made once for a folder stays there for all who measure in it; nothing here is measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.measuring import alone, say
from bench.services import FULL_SPEED, serve, world
from bench.year import YEAR
from mentor_pipeline.operator.runs import prepare_home, run_job
from mentor_pipeline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def variables(data: Path, *, calls_per_second: float = FULL_SPEED) -> dict[str, str]:
    """The environment of an installation on DuckDB in that folder, with nothing of a real one."""
    return {
        "MENTOR_PIPELINE_DATA_DIR": str(data),
        "MENTOR_PIPELINE_YEAR": str(YEAR),
        "MENTOR_PIPELINE_CONFIG_DIR": "",
        "MENTOR_PIPELINE_DATABASE_URL": "",
        "MENTOR_PIPELINE_ALERT_WEBHOOK": "",
        "MENTOR_PIPELINE_ALERT_SMTP_URL": "",
        "MENTOR_PIPELINE_EXECUTOR": "",
        "DAGSTER_HOME": "",
        "GIVEBUTTER_REQUESTS_PER_SECOND": str(calls_per_second),
    }


def sync(settings: Settings) -> dict[str, float]:
    """One sync, as `mentor-pipeline sync` runs it; the seconds of each step."""
    outcome = run_job("sync", settings, by="bench")
    if not outcome.success:
        msg = f"A sync failed: {outcome.failures} {outcome.failed_checks}"
        raise RuntimeError(msg)
    return {step.name: step.seconds or 0.0 for step in outcome.steps}


def installation(folder: Path, mentors: int, contacts: int) -> Path:
    """The same, with `data` in it: the data folder after a first sync."""
    made = world(folder, mentors, contacts)
    if not (made / "data").exists():
        say(f"  syncing {mentors:,} mentors and {contacts:,} contacts once")
        alone(_first_sync, made)
    return made


def _first_sync(made: Path) -> None:
    services = serve(made / "world.gz")
    sync(settings_of({**services.environment, **variables(made / "new")}))
    services.stop()
    (made / "new").rename(made / "data")


def settings_of(values: dict[str, str]) -> Settings:
    """Settings, in a process that does nothing else: its environment is theirs from now on."""
    os.environ.update(values)
    settings = Settings.load()
    prepare_home(settings)
    return settings
