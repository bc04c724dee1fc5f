"""How errors and warnings live on: one row per problem, however often it is seen (R9).

The assets say what they find now (`detected_problems`); this says what becomes of it: first seen, seen again, gone,
back, acknowledged by a person. What counts as a problem is decided where it is found. The id of a problem is made of
its content, so one whose value changed is another problem, and nobody's acknowledgement covers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SEVERITIES: Final = {"sync_errors": ("error",), "sync_warnings": ("warning", "info")}
"""Which severities each of the two tables keeps."""
ACKNOWLEDGE: Final = "acknowledge"
"""Action of an acknowledgement in operator_actions; its target is the problem's id."""

_COVERED: Final = ("severity", "suggested_value")
"""What may change under one id; an acknowledgement holds for these as they were."""


def of_table(detected: pl.DataFrame, table: str) -> pl.DataFrame:
    """The detected problems that belong into sync_errors or sync_warnings."""
    return detected.filter(pl.col("severity").is_in(SEVERITIES[table]))


def acknowledgement(problem: Mapping[str, Any], method: Literal["manual", "ignored"]) -> str:
    """Value (JSON) of an `acknowledge` action: how it was settled, and what exactly was acknowledged.

    Args:
        problem: a row of sync_errors or sync_warnings.
        method: `manual` (a person has seen to it) or `ignored` (it may stay as it is).
    """
    return to_json({"method": method, **{name: problem[name] for name in _COVERED}})


def live_on(detected: pl.DataFrame, stored: pl.DataFrame, actions: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Rows of sync_errors or sync_warnings to upsert.

    A problem that is found: first_seen_at is kept, last_seen_at is now, and it is unresolved, also when it had been
    gone; it is quiet (resolved) while an acknowledgement covers it. One that is no longer found resolves itself.

    Args:
        detected: rows of detected_problems of the year that belong into this table (`of_table`); a problem that two
            assets found is one.
        stored: this table's rows of the year.
        actions: rows of operator_actions; the newest acknowledgement of a problem counts.
        now: the time of the run.
    """
    table = TABLES["sync_errors"]
    acknowledged = _acknowledged(actions)
    found = (
        detected.sort("asset")
        .unique("id", keep="first", maintain_order=True)
        .drop("asset")
        .join(stored.select("id", "first_seen_at"), on="id", how="left")
        .join(acknowledged, on="id", how="left")
        .with_columns(
            first_seen_at=pl.col("first_seen_at").fill_null(now),
            last_seen_at=pl.lit(now),
            resolved=pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"covered_{name}")) for name in _COVERED),
        )
        .with_columns(
            pl.when("resolved").then(name).alias(name) for name in ("resolved_at", "resolution_method", "resolved_by")
        )
    )
    gone = (
        stored.filter(pl.col("resolved").not_())
        .join(detected, on="id", how="anti")
        .drop("resolved_at", "resolution_method", "resolved_by")
        .join(acknowledged, on="id", how="left")
        .with_columns(
            resolved=pl.lit(True),
            resolved_at=pl.col("resolved_at").fill_null(now),
            resolution_method=pl.col("resolution_method").fill_null("auto"),
        )
    )
    return pl.concat([table.conform(part.select(table.column_names)) for part in (found, gone)]).sort("id")


def _acknowledged(actions: pl.DataFrame) -> pl.DataFrame:
    """The newest acknowledgement of each problem: id, who, when, how, and what it covers."""
    value = pl.col("value").str.json_decode(pl.Struct({"method": pl.String(), **dict.fromkeys(_COVERED, pl.String())}))
    return (
        actions.filter(action=ACKNOWLEDGE)
        .sort("at", "id")
        .unique("target_id", keep="last", maintain_order=True)
        .select(
            id="target_id",
            resolved_at="at",
            resolved_by="actor",
            resolution_method=value.struct.field("method"),
            **{f"covered_{name}": value.struct.field(name) for name in _COVERED},
        )
    )
