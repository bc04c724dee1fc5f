"""What changed, when, and whether Givebutter knows (R8).

A change is the difference of two consecutive versions of a mentor, or an event beside them: a conflict decided, a
duplicate archived. Its id depends on the version (or the event) alone, so a change is one row however often, or
wherever, a run was killed. Nothing is detected here that the history does not show; how versions come about is in
`history`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.conflicts import DECIDED, FIELDS
from mentor_pipeline.domain.history import KEY, RECORDED, consecutive, decode, present_ids
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Collection

    from mentor_pipeline.settings import ProgramYear

SIGNIFICANT: Final = (
    "dropped",
    "status_category",
    "training_done",
    "amount_raised",
    "phone",
    "personal_email",
    "uga_email",
    "gb_contact_id",
)
"""Fields whose change an organiser wants to hear of."""

_SENT_ALWAYS: Final = (
    "mn_id",
    "preferred_name",
    "first_name",
    "middle_name",
    "last_name",
    "phone",
    "personal_email",
    "uga_email",
    "fundraising_page_url",
    "statuses",
    "tags",
    "notes",
)
_LISTS: Final = tuple(column.name for column in RECORDED if column.type is Type.TEXT_LIST)
_UNTOLD: Final = ("gb_match_method",)
"""Recorded, but no change that a person would recognise: the link itself stays, it is only held by another proof."""
_SEPARATOR: Final = ", "
_VERSION: Final = (*KEY, "stored_mn_id", "version", "valid_from", "run_id")
_STORED_ID: Final = "mn_id as stored"
_FIELD_OF_MENTOR: Final = (*KEY, "field_name")


def sent_fields(program: ProgramYear) -> frozenset[str]:
    """Fields of mentors that the import file carries: those of the template, and the year's custom fields (R10)."""
    return frozenset({*_SENT_ALWAYS, *(field.source for field in program.custom_fields.values())})


def readable(name: str, kind: Type) -> pl.Expr:
    """A column of mentors as text for a person: yes/no as true/false, lists with commas, times in UTC."""
    value = pl.col(name)
    if kind is Type.TEXT_LIST:
        return value.list.join(_SEPARATOR)
    if kind is Type.TIMESTAMP:
        return value.dt.strftime("%Y-%m-%d %H:%M:%S UTC")
    return value.cast(pl.String)


def changes(
    history: pl.DataFrame,
    *,
    sent: Collection[str],
    known_ids: pl.Series,
    aliases: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of mn_changes that the versions tell and that are not known yet.

    A first version is one `new_mentor`; each later one has a row for every field that differs from the version
    before (the id itself too, where a placeholder became a real id). All columns of mentors are tracked but year,
    created_at, updated_at and gb_match_method.

    Args:
        history: rows of mentor_history of a year, all versions.
        sent: fields that go to Givebutter (`sent_fields`); the others have no `synced_to_gb`.
        known_ids: ids that mn_changes has already; a version that has one there is told already.
        aliases: rows of mentor_aliases.
    """
    told = known_ids.str.replace(r"-[a-z_]+$", "").unique()  # a version's rows are written in one transaction
    pairs = consecutive(history, aliases).filter(_version_id().is_in(told.implode()).not_())
    first = pairs.filter(pl.col("previous_record").is_null())
    later = pairs.filter(pl.col("previous_record").is_not_null())
    found = pl.concat([_new_mentors(first), _differences(later)], how="diagonal_relaxed")
    is_sent = pl.col("field_name").is_in(list(sent))
    rows = (
        found.sort("valid_from", "mn_id", "id")
        .with_columns(
            source_table=pl.lit("mentors"),
            is_significant=pl.col("field_name").is_in(SIGNIFICANT).fill_null(False),
            detected_at="valid_from",
            synced_to_gb=pl.when(is_sent).then(pl.lit(False)),
        )
        .with_columns(resolved=pl.col("synced_to_gb").is_null())
        .drop("stored_mn_id", "version", "valid_from")
    )
    return TABLES["mn_changes"].conform(rows)


def _version_id(*more: pl.Expr) -> pl.Expr:
    """Ids such as `2025-0042-3-phone`, by the id the version is stored under, so that an alias never changes them."""
    return pl.concat_str("year", "stored_mn_id", "version", *more, separator="-")


def _new_mentors(first: pl.DataFrame) -> pl.DataFrame:
    """One row for each first version."""
    return first.select(
        *_VERSION,
        id=_version_id(pl.lit("new_mentor")),
        change_type=pl.lit("new_mentor"),
        field_name=pl.lit(None, dtype=pl.String),
        old_value=pl.lit(None, dtype=pl.String),
        new_value=decode(first["record"])["full_name"],
    )


def _differences(later: pl.DataFrame) -> pl.DataFrame:
    """One row for each field in which a version differs from the one before."""
    versions = later.select(*_VERSION)
    after = _as_text(later["record"], later["stored_mn_id"])
    before = _as_text(later["previous_record"], later["previous_mn_id"])
    long = pl.concat([versions, after], how="horizontal").unpivot(
        index=_VERSION, variable_name="field_name", value_name="new_value"
    )
    old_value = before.unpivot(value_name="old_value")["old_value"]
    changed = (
        long.with_columns(old_value)
        .filter(pl.col("new_value").ne_missing(pl.col("old_value")), ~pl.col("field_name").is_in(_UNTOLD))
        .with_columns(pl.col("field_name").replace(_STORED_ID, "mn_id"))
    )
    field, old, new = pl.col("field_name"), pl.col("old_value"), pl.col("new_value")
    return changed.with_columns(
        id=_version_id(field),
        change_type=pl.when(field == "dropped", new == "true")
        .then(pl.lit("dropped"))
        .when(field == "dropped", old == "true")
        .then(pl.lit("reactivated"))
        .when(field == "status_category")
        .then(pl.lit("status_change"))
        .when(field == "gb_contact_id", old.is_null())
        .then(pl.lit("contact_linked"))
        .when(field == "gb_contact_id", new.is_not_null())
        .then(pl.lit("contact_relinked"))
        .otherwise(pl.lit("field_change")),
    )


def _as_text(records: pl.Series, mn_ids: pl.Series) -> pl.DataFrame:
    """Records as text columns, the id they are stored under among them."""
    return decode(records).select(mn_ids.alias(_STORED_ID), *(readable(c.name, c.type) for c in RECORDED))


def decided_conflicts(conflicts: pl.DataFrame, *, run_id: str, known_ids: pl.Series) -> pl.DataFrame:
    """Rows of mn_changes, `conflict_resolved`, for conflicts that a person decided or skipped.

    Args:
        conflicts: rows of sync_conflicts.
        run_id: the run that saw the decision.
        known_ids: ids that mn_changes has already.
    """
    chosen = (
        pl.when(pl.col("user_decision") == "a")
        .then(_option_value("option_a"))
        .when(pl.col("user_decision") == "b")
        .then(_option_value("option_b"))
        .otherwise("custom_value")
    )
    how = (
        pl.when(pl.col("status") == "skipped")
        .then(pl.lit("skipped"))
        .otherwise(pl.format("{} chosen", "user_decision"))
    )
    field = pl.coalesce(
        pl.col("context").str.json_path_match("$.field"),
        pl.col("conflict_type").replace_strict(FIELDS, default=None, return_dtype=pl.String),
    )
    rows = (
        conflicts.filter(pl.col("status").is_in(DECIDED))
        .select(
            "year",
            "mn_id",
            id=pl.format("{}-{}", "id", "status"),
            change_type=pl.lit("conflict_resolved"),
            field_name=field,
            new_value=chosen,
            source_table=pl.lit("sync_conflicts"),
            is_significant=pl.lit(False),
            detected_at="resolved_at",
            run_id=pl.lit(run_id),
            resolved=pl.lit(True),
            notes=pl.format("{}: {} by {}", "conflict_type", how, pl.col("resolved_by").fill_null("nobody named")),
        )
        .filter(pl.col("id").is_in(known_ids.implode()).not_())
        .sort("detected_at", "id")
    )
    return TABLES["mn_changes"].conform(rows)


def _option_value(option: str) -> pl.Expr:
    """An option's value as text; JSON null is null."""
    text = pl.col(option).str.json_path_match("$.value")
    return pl.when(text != "null").then(text)


def archived_duplicates(log: pl.DataFrame, *, year: int, known_ids: pl.Series) -> pl.DataFrame:
    """Rows of mn_changes, `duplicates_archived`, for contacts that were archived.

    Args:
        log: rows of contact_archive_log (it has no year: what is not known yet belongs to the current one).
        year: the current program year.
        known_ids: ids that mn_changes has already, of all years.
    """
    rows = (
        log.filter(operation="archive", state="done")
        .select(
            "mn_id",
            "run_id",
            year=pl.lit(year),
            id=pl.format("archived-{}", "id"),
            change_type=pl.lit("duplicates_archived"),
            old_value=pl.col("contact_id").cast(pl.String),
            new_value=pl.col("winner_contact_id").cast(pl.String),
            source_table=pl.lit("contact_archive_log"),
            is_significant=pl.lit(False),
            detected_at="at",
            resolved=pl.lit(True),
            notes=pl.format(
                "contact {} archived by {}; {} is the mentor's contact",
                "contact_id",
                pl.col("actor").fill_null("nobody named"),
                pl.col("winner_contact_id").cast(pl.String).fill_null("no other"),
            ),
        )
        .filter(pl.col("id").is_in(known_ids.implode()).not_())
        .sort("detected_at", "id")
    )
    return TABLES["mn_changes"].conform(rows)


def mark_synced(changes: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """The changes whose state moves on, with their new state, to be upserted.

    A change is synced when Givebutter is seen to hold its value; of a list, when it holds all of ours. A change that
    a later one of the same field has overtaken will never be seen there: nothing is left to do for it, so it is
    resolved without being synced.

    Args:
        changes: rows of mn_changes.
        held: year, mn_id, field_name, value: what Givebutter holds now, as `readable` writes it, under present ids.
            Several rows for one field are several values (e-mails); a row with null says that it holds none.
    """
    open_ones = changes.filter(pl.col("synced_to_gb").not_(), pl.col("resolved").not_())
    of_list = pl.col("field_name").is_in(_LISTS)
    ours, theirs = (pl.col(name).str.split(_SEPARATOR) for name in ("new_value", "value"))
    agrees = (
        pl.when(of_list)
        .then(ours.list.set_difference(theirs).list.len() == 0)
        .otherwise(pl.col("new_value").eq_missing(pl.col("value")))
    )
    synced = (
        open_ones.join(held.select(*_FIELD_OF_MENTOR, "value"), on=_FIELD_OF_MENTOR)
        .filter(agrees.fill_null(False))
        .select("id")
        .unique()
    )
    newest = (
        changes.filter(source_table="mentors").group_by(_FIELD_OF_MENTOR).agg(newest_at=pl.col("detected_at").max())
    )
    return (
        open_ones.join(newest, on=_FIELD_OF_MENTOR, how="left")
        .with_columns(
            is_synced=pl.col("id").is_in(synced["id"].implode()),
            is_overtaken=pl.col("detected_at") < pl.col("newest_at"),
        )
        .filter(pl.col("is_synced") | pl.col("is_overtaken"))
        .with_columns(synced_to_gb="is_synced", resolved=pl.lit(True))
        .select(changes.columns)
        .sort("detected_at", "id")
    )


def changes_to_write(
    stored: pl.DataFrame,
    history: pl.DataFrame,
    conflicts: pl.DataFrame,
    archive_log: pl.DataFrame,
    held: pl.DataFrame,
    aliases: pl.DataFrame,
    program: ProgramYear,
    *,
    run_id: str,
) -> pl.DataFrame:
    """Rows of mn_changes to upsert: what is new, and the state of older ones that moved on.

    Args:
        stored: rows of mn_changes of all years.
        history: rows of mentor_history of the year, all versions.
        conflicts: rows of sync_conflicts of the year.
        archive_log: rows of contact_archive_log.
        held: what Givebutter holds now (see `mark_synced`).
        aliases: rows of mentor_aliases of the year; changes of a placeholder move to the real id.
        program: the year.
        run_id: the run that sees them.
    """
    known_ids = stored["id"]
    of_year = stored.filter(pl.col("year") == program.year)
    renamed = present_ids(of_year, aliases).select(of_year.columns)
    moved = renamed.join(of_year, on=["id", "mn_id"], how="anti")
    new = pl.concat(
        [
            changes(history, sent=sent_fields(program), known_ids=known_ids, aliases=aliases),
            decided_conflicts(conflicts, run_id=run_id, known_ids=known_ids),
            archived_duplicates(archive_log, year=program.year, known_ids=known_ids),
        ]
    )
    synced = mark_synced(pl.concat([renamed, new]), held)
    return pl.concat([synced, moved, new]).unique("id", keep="first", maintain_order=True)
