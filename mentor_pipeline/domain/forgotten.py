"""People who asked to be forgotten: how their rows are kept from coming back, and what is blanked.

The two services go on holding them, so a row that is only deleted would be back with the next sync. The ledger
`forgotten` therefore keeps the numbers of their sign-ups, forms, pages and contacts, and nothing else. Who is meant and
what is removed is decided in `operator.forget`. Removing old raw answers (`MENTOR_PIPELINE_KEEP_ANSWERS_DAYS`) is here
too: it is the same promise, made to everybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from datetime import datetime

LEDGER: Final = "forgotten"
CONTACTS: Final = "raw_gb_full_contacts"
PERSON: Final = "mentors"
"""`source_table` of the row that says who was forgotten."""

KEPT_OF_CONTACT: Final = (
    "contact_id", "external_id", "external_mn_id", "email_subscribed", "sms_subscribed", "mail_subscribed",
    "created_at", "last_modified_at", "archived_at", "missing_since", "source", "csv_filename", "csv_uploaded_at",
    "first_seen_at", "last_seen_at",
)  # fmt: skip
"""What stays known of a forgotten person's contact: that it is there, that it reserves its External ID (a row with it
would be refused), and that nobody is subscribed again who did not want to be."""
ANSWERS_REMOVED: Final = '{"removed": true}'
"""Instead of answers that were kept long enough; `{}` would be a submission that came empty."""


def without_forgotten(listed: pl.DataFrame, ledger: pl.DataFrame, table: str) -> pl.DataFrame:
    """Rows as a service lists them, without those of forgotten people.

    Args:
        listed: rows of a raw table, with its key.
        ledger: rows of `forgotten`.
        table: the raw table.
    """
    (key,) = TABLES[table].key
    gone = ledger.filter(source_table=table)["source_id"]
    return listed.filter(~pl.col(key).cast(pl.String).is_in(gone.implode()))


def blanked(contacts: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Contacts, with nothing left in those of forgotten people that says who they are.

    Such a contact counts as archived: it is nobody's candidate any more, and goes on reserving its External ID.

    Args:
        contacts: contact_id and any columns of `raw_gb_full_contacts`.
        ledger: rows of `forgotten`.
    """
    forgotten = ledger.filter(source_table=CONTACTS).sort("forgotten_at")
    if forgotten.is_empty():
        return contacts
    since = dict(forgotten.select(pl.col("source_id").cast(pl.Int64), "forgotten_at").iter_rows())
    at = pl.col("contact_id").replace_strict(since, default=None, return_dtype=pl.Datetime("us", "UTC"))
    empty: dict[str, pl.Expr] = {}
    for name, dtype in contacts.schema.items():
        if name in KEPT_OF_CONTACT or name not in TABLES[CONTACTS].schema:
            continue
        nothing = pl.lit(None, dtype=dtype)
        if isinstance(dtype, pl.List):
            nothing = pl.lit([], dtype=dtype)
        elif name == "custom_fields":
            nothing = pl.lit("{}")
        elif name in {"total_contributions", "recurring_contributions"}:
            nothing = pl.lit(0).cast(dtype)
        empty[name] = pl.when(at.is_null()).then(pl.col(name)).otherwise(nothing)
    if "archived_at" in contacts.columns:
        empty["archived_at"] = pl.coalesce("archived_at", at.dt.truncate("1s"))
    return contacts.with_columns(**empty)


def kept_since(now: datetime, days: int | None) -> datetime | None:
    """The moment since when something is kept; None where all of it is: without a limit, or with one before year 1."""
    try:
        return None if days is None else now - timedelta(days=days)
    except OverflowError:
        return None


def without_old_answers(rows: pl.DataFrame, *, days: int | None, now: datetime) -> pl.DataFrame:
    """Rows of a raw form table, without the raw answers of submissions older than so many days; None keeps them all.

    More days than there are since year 1 keep them all, too.

    What was read from the answers (names, phones, e-mails, ...) has columns of its own and stays.
    """
    since = kept_since(now, days)
    if since is None:
        return rows
    is_old = pl.col("submitted_at") < pl.lit(since)
    return rows.with_columns(
        answers=pl.when(is_old & (pl.col("answers") != "{}")).then(pl.lit(ANSWERS_REMOVED)).otherwise("answers")
    )
