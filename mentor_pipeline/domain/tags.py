"""Which of our tags the mentors' contacts lack, and which they carry without reason (R6).

The pipeline owns its progress tags (`status.owned_tags`): those that hold belong on the mentor's contact, those that
no longer hold come off again. Everybody else's tags, the dropped tag among them, are never touched. Nothing is changed
from here: `operator.tags` does it when a person asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.status import owned_tags

if TYPE_CHECKING:
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

MENTOR_COLUMNS: Final = ("mn_id", "gb_contact_id", "gb_match_status", "withdrawn", "statuses")
"""Columns of `mentors` that the plan reads."""
CONTACT_COLUMNS: Final = ("contact_id", "tags", "archived_at", "missing_since")
"""Columns of `raw_gb_full_contacts` that the plan reads."""

_NO_TAGS: Final = pl.lit([], dtype=pl.List(pl.String))
_SORTED: Final = pl.element().sort()
"""Within `list.eval`: `list.sort` takes eighty times as long, a second for 49,000 lists."""


def tag_changes(mentors: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """What has to be put on and taken off, so that the mentors' contacts carry those of our tags that hold (R6, R7).

    Only of mentors who are linked and whose contact is there (neither archived nor missing). Who has withdrawn is left
    as it is, like the row of the import file. Every tag of ours can be sent: the year file refuses a comma in one.

    Args:
        mentors: `MENTOR_COLUMNS` of the mentors of the year.
        contacts: `CONTACT_COLUMNS` of at least their contacts.
        program: the year.

    Returns:
        year, mn_id, contact_id, add, remove (lists, sorted), reason; one row for every contact that needs it.
    """
    dropped_tag = program.givebutter.dropped_tag.lower()
    owned = sorted(tag for tag in owned_tags(program) if tag.lower() != dropped_tag)
    ours = pl.lit(owned, dtype=pl.List(pl.String))
    there = contacts.filter(pl.all_horizontal(pl.col("archived_at", "missing_since").is_null()))
    linked = mentors.filter(
        pl.col("gb_match_status") == "linked", pl.col("withdrawn").fill_null(value=False).not_()
    ).select("mn_id", pl.col("statuses").fill_null(_NO_TAGS), contact_id="gb_contact_id")
    return (
        linked.join(there.select("contact_id", pl.col("tags").fill_null(_NO_TAGS)), on="contact_id")
        .with_columns(holding=pl.col("statuses").list.set_intersection(ours).list.eval(_SORTED))
        .with_columns(
            add=pl.col("holding").list.set_difference("tags").list.eval(_SORTED),
            remove=pl.col("tags").list.set_intersection(ours).list.set_difference("holding").list.eval(_SORTED),
        )
        .filter(pl.col("add").list.len() + pl.col("remove").list.len() > 0)
        .select(
            pl.lit(program.year, dtype=pl.Int32).alias("year"),
            "mn_id",
            "contact_id",
            "add",
            "remove",
            reason=pl.format("what holds now: {}", pl.col("holding").list.join(", ")),
        )
        .sort("contact_id")
    )


def tags_told_by_log(log: pl.DataFrame, known: pl.DataFrame, full_read_at: datetime | None) -> pl.DataFrame:
    """What tag_log tells of contacts since they were last read, and is not known yet (R12).

    That is what a run has just done, and what one had done that was killed.

    Args:
        log: rows of tag_log; those that are not `started` say what was done, also when the rest failed.
        known: contact_id, tags, missing_since, last_seen_at of all known contacts.
        full_read_at: when all contacts were last read.

    Returns:
        contact_id, tags: as they must be now, and at: when the last of it was done.
    """
    known_at = pl.max_horizontal("last_seen_at", pl.lit(full_read_at, pl.Datetime("us", "UTC")))
    since = (
        log.filter(pl.col("state") != "started", pl.col("added").list.len() + pl.col("removed").list.len() > 0)
        .join(known, on="contact_id")
        .filter(pl.col("missing_since").is_null(), pl.col("at") > known_at)
        .sort("at", "id")
    )
    # One after the other: what was added may have been taken off again. A few hundred rows.
    now: dict[int, tuple[set[str], datetime]] = {}
    for row in since.iter_rows(named=True):
        tags, _ = now.get(row["contact_id"], (set(row["tags"] or []), row["at"]))
        now[row["contact_id"]] = ((tags | set(row["added"])) - set(row["removed"]), row["at"])
    told = pl.DataFrame(
        [(contact_id, sorted(tags), at) for contact_id, (tags, at) in now.items()],
        schema={"contact_id": pl.Int64, "tags": pl.List(pl.String), "at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    before = pl.col("tags_right").fill_null(_NO_TAGS).list.eval(_SORTED)
    return (
        told.join(known.select("contact_id", "tags"), on="contact_id")
        .filter(pl.col("tags") != before)
        .select(told.columns)
        .sort("contact_id")
    )
