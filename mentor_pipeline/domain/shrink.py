"""What may be believed of a list that was read whole (R12).

A list that suddenly has far fewer rows is refused, because an empty or cut answer is not an empty source. One that is
believed is laid over what was known: rows that it no longer shows are marked, never deleted. Files are partial by
intent where they are short (`knowledge.is_partial`) or were filtered by a tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.errors import SourceShrankError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SMALLEST_COLLAPSE: Final = 10
"""Fewer missing rows than this are never a collapse, however short the list (R12)."""


def guard_against_collapse(
    source: str, *, before: int | None, now_count: int, percent: int, allow_shrink: bool
) -> None:
    """Refuse a whole read that has far fewer rows than the last one (R12).

    Args:
        source: what was read, in words, e.g. `Jotform form 250685983663169`.
        before: rows of the last whole read; None when there was none.
        now_count: rows of this one.
        percent: `matching.collapse_below_percent`.
        allow_shrink: a person said that the source really is that short now.

    Raises:
        SourceShrankError: below `percent` of the last count, and at least ten rows fewer.
    """
    if allow_shrink or before is None:
        return
    if now_count * 100 < before * percent and before - now_count >= SMALLEST_COLLAPSE:
        msg = (
            f"{source} has {now_count} rows, but had {before} when it was last read whole; below {percent} % this is "
            "taken for a fault of the source. Nothing was written, what is known stays as it was. Look at the source; "
            "if it really is that short now, say so: run it again with --allow-shrink (in the UI: run config "
            "allow_shrink: true)."
        )
        raise SourceShrankError(msg)


def merge_listing(known: pl.DataFrame, listed: pl.DataFrame, *, key: str, now: datetime) -> pl.DataFrame:
    """Lay a list that was read whole over the rows known of it.

    Args:
        known: rows of the table as stored, with all its columns.
        listed: rows as just read, with the table's columns but first_seen_at, last_seen_at and missing_since.
        key: column that identifies a row.
        now: when the list was read.

    Returns:
        Rows of the table. A listed row is seen now; first_seen_at stays what it was. A row that is no longer listed
        keeps its values and gets missing_since, once; one that is back loses it.
    """
    moment = pl.lit(now, dtype=known.schema["first_seen_at"])
    first_seen = known.select(key, known_since="first_seen_at")
    seen = (
        listed.drop("first_seen_at", "last_seen_at", "missing_since", strict=False)
        .unique(key, keep="last", maintain_order=True)
        .join(first_seen, on=key, how="left", maintain_order="left")
        .with_columns(
            first_seen_at=pl.coalesce("known_since", moment),
            last_seen_at=moment,
            missing_since=pl.lit(None, dtype=known.schema["missing_since"]),
        )
        .drop("known_since")
    )
    vanished = known.join(listed, on=key, how="anti").with_columns(
        missing_since=pl.coalesce("missing_since", moment),
    )
    return pl.concat([seen.select(known.columns), vanished]) if len(vanished) else seen.select(known.columns)


def tags_of_all(contacts: pl.DataFrame) -> set[str]:
    """The tags that every one of these contacts carries; none where tags were not told."""
    if "tags" not in contacts.columns:
        return set()
    tags = contacts.select(pl.col("tags").explode()).drop_nulls().to_series()
    return set(tags.value_counts().filter(pl.col("count") == contacts.height).get_column("tags"))


def tag_of_filter(common_tags: Sequence[str], absent: pl.DataFrame) -> str | None:
    """The tag by which an export was filtered, however many contacts it has; None when there is no sign of one.

    Every contact in it carries the tag, and some contact that is known and not in it does not.

    Args:
        common_tags: the tags that every contact of the export carries.
        absent: tags, archived_at and missing_since of the contacts that are known and not in the export.
    """
    active = absent.filter(pl.all_horizontal(pl.col("archived_at", "missing_since").is_null()))
    for tag in common_tags:
        if not active.filter(~pl.col("tags").list.contains(tag).fill_null(value=False)).is_empty():
            return tag
    return None
