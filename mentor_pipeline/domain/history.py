"""Versions of every mentor: what the record looked like, from when to when.

`mentor_history` is append-only: a version is written once, and later only its `valid_to` is set. What changed between
two versions is told by `changes`; nothing is compared with the outside world here. Every function takes the history
of a year as it is stored, all versions of it, and puts the placeholder ids that became real ones right by itself
(R2): the rows stay under the id they were written with, readers see them under the present one, and the next version
is written under the present id with the next number. So history follows the mentor and no row is ever rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.tables import POLARS_TYPES, TABLES, Type

if TYPE_CHECKING:
    from datetime import datetime

KEY: Final = ("year", "mn_id")
RECORDED: Final = tuple(
    column for column in TABLES["mentors"].columns if column.name not in {*KEY, "created_at", "updated_at"}
)
"""Columns of mentors that a version holds, in the order in which they are written."""

_TIME: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"
_TIME_ANY_FRACTION: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
_AS_TEXT: Final = frozenset({Type.MONEY, Type.TIMESTAMP, Type.DATE})
"""Types that JSON has none for: a Decimal as text loses nothing, a time is ISO 8601 in UTC."""


def encode(mentors: pl.DataFrame) -> pl.Series:
    """Records as JSON, one for each row of mentors.

    Canonical: the same values give the same text, whatever the order of columns. Null is written, lists keep their
    order, Decimals are text with two places, times ISO 8601 in UTC with microseconds.
    """
    parts: list[pl.Expr] = []
    for column in RECORDED:
        value = pl.col(column.name).cast(POLARS_TYPES[column.type])
        if column.type is Type.TIMESTAMP:
            value = value.dt.strftime(_TIME)
        elif column.type in _AS_TEXT:
            value = value.cast(pl.String)
        parts.append(value)
    return mentors.select(record=pl.struct(parts).struct.json_encode()).to_series()


def decode(records: pl.Series) -> pl.DataFrame:
    """Records back to typed columns (`RECORDED`), row by row.

    A column that a record does not have (it was written before the column existed) is null; one that mentors no
    longer has is left out.
    """
    wire = pl.Struct({c.name: pl.String() if c.type in _AS_TEXT else POLARS_TYPES[c.type] for c in RECORDED})
    parts: list[pl.Expr] = []
    for column in RECORDED:
        value = pl.col(column.name)
        if column.type is Type.TIMESTAMP:
            value = value.str.to_datetime(_TIME_ANY_FRACTION, time_unit="us").dt.replace_time_zone("UTC")
        parts.append(value.cast(POLARS_TYPES[column.type]))
    return records.str.json_decode(wire).struct.unnest().select(parts)


def present_ids(frame: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Rows of any table under the ids that mentors have today (R2).

    Args:
        frame: rows with `year` and `mn_id` (which may be null).
        aliases: rows of mentor_aliases; a chain of them is followed to its end.
    """
    if aliases.is_empty():
        return frame
    present = _ends_of_chains(aliases)
    return (
        frame.join(present, left_on=KEY, right_on=("year", "old_mn_id"), how="left", maintain_order="left")
        .with_columns(mn_id=pl.coalesce("present_mn_id", "mn_id"))
        .drop("present_mn_id")
    )


def _ends_of_chains(aliases: pl.DataFrame) -> pl.DataFrame:
    """(year, old_mn_id, present_mn_id); aliases are a handful, and a chain is followed step by step."""
    steps = {(year, old): new for year, old, new in aliases.select("year", "old_mn_id", "mn_id").iter_rows()}
    ends = []
    for (year, old), new in steps.items():
        passed, present = {old}, new
        while (year, present) in steps and present not in passed:
            passed.add(present)
            present = steps[year, present]
        ends.append((year, old, present))
    return pl.DataFrame(
        ends, schema={"year": pl.Int32, "old_mn_id": pl.String, "present_mn_id": pl.String}, orient="row"
    )


def rename(history: pl.DataFrame, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    """History under present ids, with the id each row is stored under in `stored_mn_id` (R2)."""
    stored = history.with_columns(stored_mn_id="mn_id")
    return stored if aliases is None else present_ids(stored, aliases)


def _last_versions(renamed: pl.DataFrame) -> pl.DataFrame:
    """The version that the next one continues: one row for each present id.

    Where a placeholder and the real id both have a history, the real id's is continued.
    """
    return (
        renamed.with_columns(is_own=pl.col("stored_mn_id") == pl.col("mn_id"))
        .sort("is_own", "valid_from", "version", "stored_mn_id", descending=True)
        .unique(KEY, keep="first", maintain_order=True)
        .drop("is_own")
    )


def _compared(mentors: pl.DataFrame, renamed: pl.DataFrame) -> pl.DataFrame:
    """Mentors beside their last version: record, last_version, last_from, and whether a new version is due."""
    last = _last_versions(renamed)
    last = last.select(
        *KEY,
        last_version="version",
        last_from="valid_from",
        last_record=encode(decode(last["record"])),
        continues=pl.col("valid_to").is_null() & (pl.col("stored_mn_id") == pl.col("mn_id")),
    )
    return (
        mentors.with_columns(record=encode(mentors))
        .join(last, on=KEY, how="left", maintain_order="left")
        .with_columns(is_due=(pl.col("continues") & (pl.col("record") == pl.col("last_record"))).not_().fill_null(True))
    )


def next_versions(
    history: pl.DataFrame,
    mentors: pl.DataFrame,
    *,
    run_id: str,
    now: datetime,
    aliases: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of mentor_history to upsert, so that the current versions are the mentors given.

    A mentor seen first gets version 1, one whose record differs the next version, one who is the same nothing. The
    version before is closed at the moment the new one begins. Who is no longer among the mentors of the year (two
    sign-ups found to be one person) has the current version closed and none opened; coming back opens the next. A
    year of which no mentor is given is left alone.

    Args:
        history: the stored versions.
        mentors: rows of mentors; a new version begins at their `updated_at` (see `stamp`), or now where that is null.
        run_id: the Dagster run.
        now: the time of the run.
        aliases: rows of mentor_aliases.
    """
    renamed = rename(history, aliases)
    due = (
        _compared(mentors, renamed)
        .filter("is_due")
        .select(
            *KEY,
            version=pl.col("last_version").fill_null(0) + 1,
            valid_from=pl.col("updated_at").fill_null(now),
            valid_to=pl.lit(None),
            run_id=pl.lit(run_id),
            record="record",
        )
    )
    went_on = mentors.select(*KEY).join(due.select(*KEY), on=KEY, how="anti")
    kept = _last_versions(renamed).join(went_on, on=KEY, how="semi").select("year", "stored_mn_id", "version")
    closed = (
        renamed.filter(pl.col("valid_to").is_null(), pl.col("year").is_in(mentors["year"].unique().implode()))
        .join(kept, on=["year", "stored_mn_id", "version"], how="anti")
        .join(due.select(*KEY, ends_at="valid_from"), on=KEY, how="left")
        .with_columns(mn_id="stored_mn_id", valid_to=pl.col("ends_at").fill_null(now))
        .drop("stored_mn_id", "ends_at")
    )
    table = TABLES["mentor_history"]
    return pl.concat([table.conform(closed), table.conform(due)]).sort("year", "mn_id", "version")


def stamp(
    mentors: pl.DataFrame, history: pl.DataFrame, *, now: datetime, aliases: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Mentors with `created_at` (first version) and `updated_at` (version now current; now where a new one is due)."""
    renamed = rename(history, aliases)
    first = renamed.group_by(KEY).agg(first_from=pl.col("valid_from").min())
    return (
        _compared(mentors, renamed)
        .join(first, on=KEY, how="left", maintain_order="left")
        .with_columns(
            created_at=pl.col("first_from").fill_null(now),
            updated_at=pl.when("is_due").then(pl.lit(now)).otherwise("last_from"),
        )
        .select(mentors.columns)
    )


def current_records(history: pl.DataFrame, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    """The mentors as the current versions have them: columns of mentors, then `version` and `valid_from`."""
    renamed = rename(history, aliases)
    return _typed(_last_versions(renamed).filter(pl.col("valid_to").is_null()), renamed)


def as_of(history: pl.DataFrame, time: datetime) -> pl.DataFrame:
    """The mentors as they were at a time, under the ids they had then; columns as `current_records`."""
    held = history.filter(pl.col("valid_from") <= time, pl.col("valid_to").is_null() | (pl.col("valid_to") > time))
    return _typed(held, history)


def _typed(versions: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Versions as typed mentors, ordered by id."""
    first = history.group_by(KEY).agg(created_at=pl.col("valid_from").min())
    frame = (
        pl.concat(
            [versions.select(*KEY, "version", "valid_from"), decode(versions["record"])],
            how="horizontal",
        )
        .join(first, on=KEY, how="left")
        .with_columns(updated_at="valid_from")
        .sort(KEY)
    )
    typed = TABLES["mentors"].conform(frame.drop("version", "valid_from"))
    return typed.hstack(frame.select("version", "valid_from"))


def consecutive(history: pl.DataFrame, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    """Each version beside the one before it, for `changes`.

    Returns:
        year, mn_id (present), stored_mn_id, version, valid_from, run_id, record, and previous_mn_id (the id the
        version before is stored under) and previous_record, both null for a first version.
    """
    renamed = rename(history, aliases)
    before = renamed.select(
        *KEY,
        "stored_mn_id",
        "valid_to",
        previous_from="valid_from",
        version=pl.col("version") + 1,
        previous_mn_id="stored_mn_id",
        previous_record="record",
    )
    same_id = before.select("year", "stored_mn_id", "version", "previous_mn_id", "previous_record")
    under_old_id = (
        before.sort("previous_from", "previous_mn_id")  # of several, the one that `_last_versions` takes
        .select(*KEY, "version", "previous_mn_id", "previous_record", valid_from="valid_to")
        .unique((*KEY, "version", "valid_from"), keep="last", maintain_order=True)
    )
    return (
        renamed.join(same_id, on=["year", "stored_mn_id", "version"], how="left")
        .join(under_old_id, on=[*KEY, "version", "valid_from"], how="left", suffix="_under_old_id")
        .select(
            *KEY,
            "stored_mn_id",
            "version",
            "valid_from",
            "run_id",
            "record",
            *(pl.coalesce(name, f"{name}_under_old_id") for name in ("previous_mn_id", "previous_record")),
        )
        .sort("year", "stored_mn_id", "version")
    )
