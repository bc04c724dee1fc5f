"""What the commands work on: settings, program year and warehouse of this installation, and who is acting."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import Settings, load_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mentor_pipeline.cli.terminal import Terminal
    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings, program year and warehouse."""

    settings: Settings
    program: ProgramYear
    warehouse: Warehouse


def installation(*, patience_s: float = 30.0) -> Installation:
    """Read the environment, `.env` and the year file.

    Args:
        patience_s: how long to wait for others who use the warehouse.

    Raises:
        ConfigError: they have faults.
    """
    load_environment()
    settings = Settings.load()
    return Installation(settings, settings.program_year(), open_warehouse(settings, busy_timeout_s=patience_s))


def looking() -> Installation:
    """The installation for a command that only reads: within five seconds it answers, or says who keeps it waiting."""
    return installation(patience_s=3.0)


def run_shown(
    job: str, config: Mapping[str, Mapping[str, Any]], by: str | None, here: Installation, terminal: Terminal
) -> RunOutcome:
    """Run a job with a config for some of its steps, by name, while the terminal shows how far it is."""
    from mentor_pipeline.operator.runs import run_job

    run_config = {"ops": {step: {"config": values} for step, values in config.items()}} if config else None
    with terminal.run_shown(job) as watch:
        return run_job(job, here.settings, by=acting(by), run_config=run_config, watch=watch)


def acting(by: str | None) -> str:
    """Who is acting: the name given, else the system user."""
    if by and by.strip():
        if not by.strip().isprintable():
            msg = f"--by is no name: {by.encode(errors='backslashreplace').decode()!r}. Nothing was done."
            raise ConfigError(msg)
        return by.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "unknown"
