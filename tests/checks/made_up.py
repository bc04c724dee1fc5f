"""What checks said of an asset that was made up for them, and how a test reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import dagster as dg
import polars as pl

from mentor_pipeline.checks import export, mentors, raw

CHECKS = {
    next(iter(checks.check_keys)).asset_key.to_user_string(): checks
    for checks in (*raw.checks, *mentors.checks, *export.checks)
}


class Checked(NamedTuple):
    """What the checks of an asset said, and whether what depends on it was computed."""

    found: dict[str, dg.AssetCheckEvaluation]
    went_on: bool

    def __getitem__(self, check: str) -> dg.AssetCheckEvaluation:
        return self.found[check]

    def rows(self, check: str) -> list[dict[str, Any]]:
        """The rows that a check shows."""
        shown = self.found[check].metadata["rows"]
        assert isinstance(shown, dg.TableMetadataValue)
        return [dict(record.data) for record in shown.records]

    def warned(self, check: str) -> str:
        """The words of a warning, behind which the run went on."""
        assert (self[check].passed, self[check].severity) == (False, dg.AssetCheckSeverity.WARN)
        assert self.went_on
        return str(self[check].description)

    def failed(self, check: str) -> str:
        """The words of an error, at which the run stopped."""
        assert (self[check].passed, self[check].severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert not self.went_on
        return str(self[check].description)


Check: TypeAlias = Callable[[str, pl.DataFrame], Checked]
"""Stores a frame as an asset's, with the asset's real checks."""
Store: TypeAlias = Callable[[str, pl.DataFrame], None]
"""Puts rows of any table into the warehouse."""
