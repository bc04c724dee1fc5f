"""What a rule returns beside its rows: problems (errors, warnings) and conflicts that only a person can decide.

A rule never guesses: what it cannot settle becomes a `Problem` or a `Conflict`. Their ids depend on their content
alone, so the same finding is one row for ever. How findings live on (first seen, resolved, obsolete) is decided in
`problems` and `conflicts`, not here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
import polars as pl

from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNDECIDED: Final = "not decided yet"
"""How the reason of a candidate begins between which a person must decide."""


def to_json(value: object) -> str:
    """Compact JSON with sorted keys; numbers, dates and decimals as text where JSON has no type for them."""
    return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def stable_id(prefix: str, *parts: object) -> str:
    """A short id that depends on its parts alone, such as `problem-3f2a9c0d1e5b7a86`."""
    return f"{prefix}-{hashlib.sha256(to_json([str(part) for part in parts]).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, warning or note, in words that an operator can act on."""

    type: str
    message: str
    severity: Literal["error", "warning", "info"] = "warning"
    mn_id: str | None = None
    source_table: str | None = None
    field_name: str | None = None
    current_value: str | None = None
    suggested_value: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    """What else tells it apart from another of its kind, e.g. a submission id."""

    def id(self, year: int) -> str:
        """Stable id: the kind, whom and what it is about, and the value found; never its wording."""
        return stable_id("problem", year, self.type, self.mn_id, self.field_name, self.current_value, *self.key)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two options between which only a person can decide. An option is JSON with at least `value` and `source`."""

    mn_id: str
    conflict_type: str
    option_a: Mapping[str, Any]
    option_b: Mapping[str, Any]
    source_table: str
    context: Mapping[str, Any] = field(default_factory=dict)
    recommended_option: Literal["a", "b"] | None = None
    recommendation_reason: str | None = None
    severity: Literal["high", "medium", "low"] = "high"

    def id(self, year: int) -> str:
        """Stable id of year, mentor, type and the two options' values, in no order (R9)."""
        values = sorted(str(option["value"]) for option in (self.option_a, self.option_b))
        return stable_id("conflict", year, self.mn_id, self.conflict_type, *values)


def problem_rows(year: int, problems: Iterable[Problem]) -> pl.DataFrame:
    """Problems as rows of `detected_problems` without the column `asset`; the same problem found twice is one row."""
    schema = {name: dtype for name, dtype in TABLES["detected_problems"].schema.items() if name != "asset"}
    rows = [
        {
            "id": problem.id(year),
            "year": year,
            "mn_id": problem.mn_id,
            "type": problem.type,
            "message": problem.message,
            "severity": problem.severity,
            "source_table": problem.source_table,
            "field_name": problem.field_name,
            "current_value": problem.current_value,
            "suggested_value": problem.suggested_value,
            "context": to_json(problem.context),
        }
        for problem in problems
    ]
    return pl.DataFrame(rows, schema=schema).unique("id", keep="first", maintain_order=True)


def conflict_rows(year: int, conflicts: Iterable[Conflict]) -> pl.DataFrame:
    """Conflicts as rows of `detected_conflicts` without the column `asset`."""
    schema = {name: dtype for name, dtype in TABLES["detected_conflicts"].schema.items() if name != "asset"}
    rows = [
        {
            "id": conflict.id(year),
            "year": year,
            "mn_id": conflict.mn_id,
            "conflict_type": conflict.conflict_type,
            "option_a": to_json(conflict.option_a),
            "option_b": to_json(conflict.option_b),
            "context": to_json(conflict.context),
            "recommended_option": conflict.recommended_option,
            "recommendation_reason": conflict.recommendation_reason,
            "source_table": conflict.source_table,
            "severity": conflict.severity,
        }
        for conflict in conflicts
    ]
    return pl.DataFrame(rows, schema=schema).unique("id", keep="first", maintain_order=True)


@dataclass(frozen=True, slots=True)
class Computed:
    """An asset's rows with what was found beside them; the IO manager writes all of it in one transaction.

    Attributes:
        rows: the asset's table.
        problems: rows as `problem_rows` makes them; they replace what this asset found before. None: left as they are.
        conflicts: rows as `conflict_rows` makes them, in the same way.
        also: further tables that belong to the same step (each written as its spec says).
    """

    rows: pl.DataFrame
    problems: pl.DataFrame | None = None
    conflicts: pl.DataFrame | None = None
    also: Mapping[str, pl.DataFrame] = field(default_factory=dict)
