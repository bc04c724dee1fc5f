"""What is known of Givebutter's contacts, and what a reading adds to it (R12).

A reading is a list, a one-by-one read or a CSV export: contacts as they were at one moment. `canonical_contacts` gives
equal contacts equal values whichever source told them; `learn` merges a reading into `raw_gb_full_contacts`, so that
older knowledge never overwrites newer and nothing is rewritten that says the same. Where readings come from, and the
bookkeeping of `source_reads`, is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import orjson
import polars as pl

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.domain.normalise import comparable_mn_id, emails, normalise_mn_id, phones
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TABLE: Final = TABLES["raw_gb_full_contacts"]
_DERIVED: Final = ("external_mn_id", "emails", "phones")
_PROVENANCE: Final = ("source", "csv_filename", "csv_uploaded_at")
_LIFE: Final = ("missing_since", "first_seen_at", "last_seen_at")
_LISTS: Final = ("additional_emails", "additional_phones", "tags")
_TEXTS: Final = tuple(
    name
    for name, dtype in _TABLE.schema.items()
    if dtype == pl.String() and name not in {*_DERIVED, *_PROVENANCE, "custom_fields"}
)
_NO_VALUES: Final = pl.Series([[]], dtype=pl.List(pl.String))
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

TOLD_COLUMNS: Final = tuple(
    name for name in _TABLE.column_names if name not in {"contact_id", *_DERIVED, *_PROVENANCE, *_LIFE}
)
"""Columns that a source can tell; the others follow from them or are kept by `learn`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Contacts as one source showed them at one moment.

    Attributes:
        contacts: one row per contact, as `canonical_contacts` makes them. A column of `TOLD_COLUMNS` that is not there
            was not told, and stays as it is known.
        as_of: the moment; None when nobody knows, which is older than everything.
        source: csv or api.
        is_complete: True when the source listed every contact it has that is not archived.
        custom_labels: the custom fields that were told; None when all were.
        also_there: contacts that were shown but could not be read: nothing is learnt of them, but they exist.
        gone: contacts that the source was asked for and no longer has.
        csv_filename: name of the export, for a csv.
        csv_uploaded_at: when it was imported, for a csv.
    """

    contacts: pl.DataFrame
    as_of: datetime | None
    source: Literal["csv", "api"]
    is_complete: bool = False
    custom_labels: Sequence[str] | None = None
    also_there: Sequence[int] = ()
    gone: Sequence[int] = ()
    csv_filename: str | None = None
    csv_uploaded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a reading adds.

    Attributes:
        rows: rows of `raw_gb_full_contacts` to upsert; nothing else has to be written.
        new_count: contacts not known before.
        changed_count: known contacts whose values changed, or that were missing and are back.
        missing_count: contacts that turned missing.
        outdated_count: contacts of the reading about which something newer was known already.
    """

    rows: pl.DataFrame
    new_count: int
    changed_count: int
    missing_count: int
    outdated_count: int


def listed_count(known: pl.DataFrame) -> int:
    """How many contacts a full list or export would show today: those known, neither archived nor missing."""
    return known.filter(pl.col("archived_at").is_null() & pl.col("missing_since").is_null()).height


def is_partial(row_count: int, known_count: int, partial_below_percent: int) -> bool:
    """True when an export is too short to be everything: it may tell of its contacts, not of the absent (R12)."""
    return row_count * 100 < known_count * partial_below_percent


def canonical_contacts(contacts: pl.DataFrame) -> pl.DataFrame:
    """Give equal contacts equal values, whichever source told them.

    Text is trimmed with line ends as LF and blank as null; e-mails are lower case; phones are E.164, or as given where
    they are none; lists hold each value once, sorted and without the primary one, and are never null; times are cut to
    the second; no contributions are 0, no last donation is null; custom fields are JSON with sorted labels.

    Args:
        contacts: `contact_id` and any of `TOLD_COLUMNS`, of the table's types. Where a contact is there twice (pages
            that shifted while they were read) the last one counts.
    """
    frame = contacts.with_columns(pl.col("contact_id").cast(pl.Int64))
    if frame.get_column("contact_id").is_duplicated().any():
        frame = frame.unique("contact_id", keep="last", maintain_order=True)
    have = set(frame.columns)
    frame = _tidied(frame, [name for name in _TEXTS if name in have]).with_columns(
        *(pl.col(name).dt.truncate("1s") for name in ("created_at", "last_modified_at", "archived_at") if name in have),
        *(pl.col(name).fill_null(0) for name in ("total_contributions", "recurring_contributions") if name in have),
    )
    if "last_donation_amount" in have:
        frame = frame.with_columns(pl.when(pl.col("last_donation_amount") != 0).then("last_donation_amount"))
    if "custom_fields" in have:
        frame = frame.with_columns(pl.col("custom_fields").fill_null("{}"))
    for primary, additional, clean in (
        ("primary_email", "additional_emails", _email_or_text),
        ("primary_phone", "additional_phones", _phone_or_text),
    ):
        if primary in have:
            frame = frame.with_columns(clean(frame.get_column(primary)))
        if additional in have:
            values = _exploded(frame, additional)
            values = values.with_columns(clean(values.get_column(additional)))
            if primary in have:
                same = pl.col(additional).eq_missing(pl.col(primary))
                values = values.join(frame.select("contact_id", primary), on="contact_id").filter(~same)
            frame = frame.with_columns(_collected(frame, values.sort(additional), additional))
    if "tags" in have:
        frame = frame.with_columns(_tidy_tags(frame))
    return frame.select("contact_id", *(name for name in _TABLE.column_names if name in have and name in TOLD_COLUMNS))


def learn(
    known: pl.DataFrame,
    reading: Reading,
    *,
    full_read_at: datetime | None,
    now: datetime,
    mn_id_prefix: str = "",
) -> Learned:
    """Merge a reading into what is known (R12).

    A contact is written when it is new, when the reading is not older than what is known of it and shows another value,
    or when it was missing and is there again. A contact that a complete reading does not show turns missing, unless
    it is archived (then it is not listed anyway) or known more newly. A contact that is only known from a reading older
    than the last full one, which did not show it, arrives as missing.

    A reading that says nothing new of a contact moves its `last_seen_at` only when it is no complete one: as of when a
    complete one confirmed them all is told by `source_reads.full_read_at`, and 49,000 rows need not be rewritten.
    In the same way `source`, `csv_filename` and `csv_uploaded_at` name the reading that last wrote the row.
    `archived_at` and whatever else the reading's source does not tell stay as they are.

    Args:
        known: all of `raw_gb_full_contacts`.
        reading: what was read.
        full_read_at: `source_reads.full_read_at` of the contacts: as of then every contact is known.
        now: `first_seen_at` of new contacts.
        mn_id_prefix: what stands before the mentor id in an External ID.
    """
    as_of = reading.as_of or _LONG_AGO
    seen = _with_external_mn_id(reading.contacts, mn_id_prefix)
    told = [name for name in seen.columns if name != "contact_id"]
    known_at = pl.max_horizontal("last_seen_at", "missing_since", pl.lit(full_read_at, pl.Datetime("us", "UTC")))
    before = known.with_columns(
        pl.col("contact_id").cast(pl.Int64),
        is_known=pl.lit(value=True),
        known_at=known_at.fill_null(_LONG_AGO),
    )
    both = seen.join(before, on="contact_id", how="left", suffix="_before", maintain_order="left").with_columns(
        pl.col("is_known").fill_null(value=False)
    )
    if "custom_fields" in told:
        both = both.with_columns(_custom_fields(both, reading.custom_labels))
    differs = pl.any_horizontal(
        [pl.lit(value=False), *(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in told)]
    )
    both = both.with_columns(
        is_outdated=pl.col("is_known") & (pl.col("known_at") > as_of),
        is_changed=pl.col("is_known") & (differs | pl.col("missing_since").is_not_null()),
        is_seen_later=pl.lit(not reading.is_complete) & (pl.col("last_seen_at") < as_of),
    )
    current = both.filter(~pl.col("is_outdated"))
    written = current.filter(~pl.col("is_known") | pl.col("is_changed") | pl.col("is_seen_later"))
    not_in_newer_list = full_read_at if full_read_at is not None and full_read_at > as_of else None
    rows = _derive(
        written.with_columns(
            first_seen_at=pl.col("first_seen_at").fill_null(now),
            last_seen_at=pl.lit(reading.as_of, pl.Datetime("us", "UTC")),
            missing_since=pl.lit(not_in_newer_list, pl.Datetime("us", "UTC")),
            source=pl.lit(reading.source),
            csv_filename=pl.lit(reading.csv_filename, pl.String),
            csv_uploaded_at=pl.lit(reading.csv_uploaded_at, pl.Datetime("us", "UTC")),
        )
    )
    missing = _missing(before, reading, as_of)
    return Learned(
        rows=pl.concat([_TABLE.conform(frame.select(_TABLE.column_names)) for frame in (rows, missing)]),
        new_count=current.filter(~pl.col("is_known")).height,
        changed_count=current.filter("is_changed").height,
        missing_count=missing.filter(pl.col("missing_since") == as_of).height,
        outdated_count=both.filter("is_outdated").height,
    )


def _tidied(frame: pl.DataFrame, texts: Sequence[str]) -> pl.DataFrame:
    """The frame with these columns trimmed, line ends as LF, blank as null.

    Most cells are blank and few columns have a carriage return: both are looked for first, which is cheap.
    """
    if not texts:
        return frame
    frame = frame.with_columns(pl.when(pl.col(texts) != "").then(pl.col(texts)))
    has_returns = frame.select(pl.col(texts).str.contains("\r", literal=True).any()).row(0)
    unified = [
        pl.col(name).str.replace_all("\r\n?", "\n") if there else pl.col(name)
        for name, there in zip(texts, has_returns, strict=True)
    ]
    return frame.with_columns(text.str.strip_chars().replace("", None) for text in unified)


def _phone_or_text(values: pl.Series) -> pl.Series:
    return _or_text(phones(values), values)


def _email_or_text(values: pl.Series) -> pl.Series:
    return _or_text(emails(values), values.str.to_lowercase())


def _or_text(clean: pl.Series, text: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(clean, text)).to_series().alias(text.name)


def _exploded(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """contact_id and one value of a list column a row; blank values are left out."""
    held = frame.select("contact_id", name).filter(pl.col(name).list.len() > 0)
    return _tidied(held.explode(name, empty_as_null=True), [name]).drop_nulls(name)


def _tidy_tags(frame: pl.DataFrame) -> pl.Series:
    """Tags as a list column of `frame`: trimmed, each once, sorted. Thousands of contacts share a few combinations."""
    distinct = frame.select("tags").unique().with_row_index("contact_id")
    tidy = distinct.select("tags", tidy=_collected(distinct, _exploded(distinct, "tags").sort("tags"), "tags"))
    rows = frame.select("tags").join(tidy, on="tags", how="left", nulls_equal=True, maintain_order="left")
    return rows.get_column("tidy").alias("tags")


def _collected(frame: pl.DataFrame, values: pl.DataFrame, name: str) -> pl.Series:
    """The values as a list column of `frame`: each once, in their order; an empty list where there are none."""
    lists = values.unique(["contact_id", name], maintain_order=True).group_by("contact_id").agg(name)
    column = frame.select("contact_id").join(lists, on="contact_id", how="left", maintain_order="left").get_column(name)
    return column.fill_null(_NO_VALUES)


def _with_external_mn_id(contacts: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Read the mentor ids; compared like any told value, so that a new prefix reaches unchanged contacts too."""
    if "external_id" not in contacts.columns:
        return contacts
    external_ids = contacts.get_column("external_id").drop_nulls().unique()
    mn_ids = [normalise_mn_id(external_id, prefix) for external_id in external_ids]
    comparable = pl.DataFrame(
        {"external_id": external_ids, "external_mn_id": [mn_id and comparable_mn_id(mn_id) for mn_id in mn_ids]},
        schema={"external_id": pl.String, "external_mn_id": pl.String},
    )
    return contacts.join(comparable, on="external_id", how="left", maintain_order="left")


def _custom_fields(both: pl.DataFrame, labels: Sequence[str] | None) -> pl.Series:
    """Told custom fields over known ones; the text that is known where it says the same.

    One by one, as JSON objects have no vectorised form; almost all are equal as text, or new, and go past it.
    """
    told = None if labels is None else frozenset(labels)

    def merged(seen: str, before: str) -> str:
        earlier = orjson.loads(before)
        values = orjson.loads(seen)
        if told is not None:
            values = {label: value for label, value in earlier.items() if label not in told} | values
        return before if values == earlier else to_json(values)

    seen, before = both.get_column("custom_fields"), both.get_column("custom_fields_before")
    differs = (before.is_not_null() & (seen != before)).fill_null(value=False)
    if not differs.any():
        return seen
    texts = [merged(*pair) for pair in zip(seen.filter(differs), before.filter(differs), strict=True)]
    return seen.scatter(differs.arg_true(), pl.Series(texts, dtype=pl.String))


def _derive(rows: pl.DataFrame) -> pl.DataFrame:
    """Fill what follows from the told columns: all e-mails and all phones, the primary one first."""
    rows = rows.with_columns(
        *(pl.col(name).fill_null(pl.lit([], pl.List(pl.String))) for name in _LISTS),
        pl.col("custom_fields").fill_null("{}"),
    )
    return rows.with_columns(
        _all_values(rows, "primary_email", "additional_emails", emails).alias("emails"),
        _all_values(rows, "primary_phone", "additional_phones", phones).alias("phones"),
    )


def _all_values(
    rows: pl.DataFrame, primary: str, additional: str, clean: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    # Most contacts have the primary one at most.
    first = clean(rows.get_column(primary).cast(pl.String)).alias("first")
    alone = pl.when(first.is_not_null()).then(pl.concat_list(first))
    some = rows.select("contact_id", primary, additional).filter(pl.col(additional).list.len() > 0)
    every = pl.concat_list(pl.col(primary).cast(pl.String), pl.col(additional))
    values = some.select("contact_id", value=every).explode("value", empty_as_null=True)
    values = values.with_columns(clean(values.get_column("value"))).drop_nulls("value")
    several = some.select("contact_id", several=_collected(some, values, "value"))
    both = rows.select("contact_id", alone=alone).join(several, on="contact_id", how="left", maintain_order="left")
    return both.select(pl.coalesce("several", "alone")).to_series().fill_null(_NO_VALUES)


def _missing(before: pl.DataFrame, reading: Reading, as_of: datetime) -> pl.DataFrame:
    """Known contacts that the reading shows to be gone, with missing_since.

    One that was asked for and no longer exists has no External ID any more; one that is only not listed may be
    archived, and go on reserving it.
    """
    there = before.filter(pl.col("missing_since").is_null()).with_columns(missing_since=pl.lit(as_of))
    is_gone = pl.col("contact_id").is_in(list(reading.gone)) & (pl.col("known_at") <= as_of)
    was_there_or_reserves = pl.col("missing_since").is_null() | pl.col("external_id").is_not_null()
    nothing = pl.lit(None, dtype=pl.String)
    asked = before.filter(is_gone & was_there_or_reserves).with_columns(
        missing_since=pl.col("missing_since").fill_null(as_of), external_id=nothing, external_mn_id=nothing
    )
    if not reading.is_complete:
        return asked
    shown = pl.concat(
        [reading.contacts.get_column("contact_id"), pl.Series([*reading.also_there, *reading.gone], dtype=pl.Int64)]
    )
    unlisted = there.filter(
        pl.col("archived_at").is_null() & ~pl.col("contact_id").is_in(shown.implode()) & (pl.col("known_at") < as_of)
    )
    return pl.concat([asked, unlisted])


def mentor_contacts(links: pl.DataFrame, contacts: pl.DataFrame, *, year: int) -> pl.DataFrame:
    """The contact of each mentor as last read: rows of `raw_mn_gb_contacts`.

    Args:
        links: mn_id, gb_contact_id, gb_match_status of the year's mentors.
        contacts: rows of `raw_gb_full_contacts`.
        year: the program year.
    """
    status = pl.col("gb_match_status")
    rows = links.join(contacts, left_on="gb_contact_id", right_on="contact_id", coalesce=False).with_columns(
        year=pl.lit(year),
        source=pl.when(pl.col("source") == "csv").then(pl.lit("csv_match")).otherwise(pl.lit("api_sync")),
        gb_updated_at="last_modified_at",
        last_synced_at="last_seen_at",
        sync_status=pl.when(status == "linked")
        .then(pl.lit("synced"))
        .when(status == "stale")
        .then(pl.lit("stale"))
        .otherwise(pl.lit("conflict")),
    )
    table = TABLES["raw_mn_gb_contacts"]
    return table.conform(rows.select(table.column_names)).sort("mn_id")
