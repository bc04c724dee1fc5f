"""What the commands work on: settings, program year and warehouse of this installation, and who is acting."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import Settings, load_environment

if TYPE_CHECKING:
    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings, program year and warehouse."""

    settings: Settings
    program: ProgramYear
    warehouse: Warehouse


def installation() -> Installation:
    """Read the environment, `.env` and the year file.

    Raises:
        ConfigError: they have faults.
    """
    load_environment()
    settings = Settings.load()
    if settings.database_url:
        msg = (
            "MENTOR_PIPELINE_DATABASE_URL is set, but this version keeps its tables in DuckDB only. Nothing was read "
            "or changed. Unset it."
        )
        raise ConfigError(msg)
    return Installation(settings, settings.program_year(), DuckDBWarehouse(settings.warehouse_path))


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
