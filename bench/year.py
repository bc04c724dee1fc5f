"""The program year in which everything is measured, and the time where the clock does not matter."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from mentor_pipeline.settings import load_program_year, packaged_config_dir

if TYPE_CHECKING:
    from mentor_pipeline.settings import ProgramYear

YEAR: Final = 2025
NOW: Final = datetime(YEAR, 10, 1, 12, tzinfo=UTC)


@cache
def program() -> ProgramYear:
    """The packaged year."""
    return load_program_year(packaged_config_dir() / f"{YEAR}.toml")
