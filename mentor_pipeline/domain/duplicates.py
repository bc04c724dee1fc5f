"""Groups of Givebutter contacts that share a phone or an e-mail (R9).

A list for people who tidy up Givebutter: it says which contacts may be one person, which to keep, and what to do.
Nobody is linked, merged or archived by it; which contact is a mentor's is decided in `matching`, and which of that
mentor's duplicates may be archived in the archive plan (R5).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from mentor_pipeline.domain.findings import stable_id
from mentor_pipeline.tables import TABLES

CONTACT_COLUMNS: Final = (
    "contact_id",
    "first_name",
    "last_name",
    "primary_email",
    "additional_emails",
    "emails",
    "primary_phone",
    "phones",
    "address_line_1",
    "last_modified_at",
    "archived_at",
    "missing_since",
)
"""Columns of `raw_gb_full_contacts` that the groups are made of."""

GROUP: Final = ("matched_on", "value")
"""What a group is known by."""


def duplicate_groups(contacts: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Rows of duplicate_gb_contacts: two or more active contacts with the same phone or e-mail.

    Phone groups come first; an e-mail group whose contacts are all in one phone group is not listed again.

    Args:
        contacts: `CONTACT_COLUMNS` of all contacts; archived and missing ones are left out here.
        links: mn_id, gb_contact_id: the contact of each mentor (null when none).

    Returns:
        Rows of duplicate_gb_contacts. `suggested_keep` is the mentor's contact; without a mentor the most complete
        (phone, e-mail, further e-mail, address), then the one modified last, then the higher id; null where the
        contacts are several mentors'. `mn_id` is then the first of these.
    """
    mentors = (
        links.filter(pl.col("gb_contact_id").is_not_null())
        .group_by(contact_id="gb_contact_id")
        .agg(theirs=pl.col("mn_id").sort())
    )
    is_theirs = pl.col("theirs").is_not_null()
    groups = (
        sharing(contacts)
        .join(contacts.select("contact_id", *_described()), on="contact_id")
        .join(mentors, on="contact_id", how="left")
        .sort("contact_id")
        .group_by(GROUP)
        .agg(
            contact_ids="contact_id",
            names="name",
            size=pl.len(),
            mentors=pl.col("theirs").explode().drop_nulls().unique().sort(),
            mentors_contact=pl.col("contact_id").filter(is_theirs).first(),
            best=pl.col("contact_id").sort_by("completeness", "last_modified_at", "contact_id").last(),
            is_one_name=pl.col("name").str.to_lowercase().n_unique() == 1,
        )
        .with_columns(mentor_count=pl.col("mentors").list.len())
        .with_columns(
            mn_id=pl.col("mentors").list.first(),
            suggested_keep=pl.when(pl.col("mentor_count") == 0)
            .then("best")
            .when(pl.col("mentor_count") == 1)
            .then("mentors_contact"),
        )
        .with_columns(what_to_do=_what_to_do())
        .sort(pl.col("matched_on") == "email", "value")
    )
    ids = [stable_id("group", *group) for group in groups.select(GROUP).iter_rows()]
    table = TABLES["duplicate_gb_contacts"]
    groups = groups.with_columns(group_id=pl.Series(ids, dtype=pl.String))
    return table.conform(groups.select(table.column_names))


def sharing(contacts: pl.DataFrame) -> pl.DataFrame:
    """Which contacts are in which group: matched_on (phone or email), value, contact_id.

    Args:
        contacts: contact_id, phones, emails, archived_at, missing_since of all contacts.
    """
    return groups_of(carried(contacts, "phones"), carried(contacts, "emails"))


def carried(contacts: pl.DataFrame, column: str) -> pl.DataFrame:
    """contact_id and value, a row for each phone or e-mail that an active contact has.

    Args:
        contacts: contact_id, archived_at, missing_since and the column.
        column: phones or emails.
    """
    active = contacts.filter(pl.all_horizontal(pl.col("archived_at", "missing_since").is_null()))
    return active.select("contact_id", value=column).explode("value").drop_nulls("value")


def groups_of(phones: pl.DataFrame, emails: pl.DataFrame) -> pl.DataFrame:
    """`sharing`, of what is `carried`; any values will do that are equal for equal ones."""
    by_phone, by_email = _shared(phones, "phone"), _shared(emails, "email")
    return pl.concat([by_phone, by_email.join(_covered(by_email, by_phone), on=GROUP, how="anti")])


def _shared(values: pl.DataFrame, matched_on: str) -> pl.DataFrame:
    """The rows of every phone or e-mail that two or more contacts have."""
    held = values.filter(pl.col("value").is_duplicated()).unique().filter(pl.len().over("value") > 1)
    return held.select("contact_id", "value", matched_on=pl.lit(matched_on))


def _covered(by_email: pl.DataFrame, by_phone: pl.DataFrame) -> pl.DataFrame:
    """The e-mail groups whose contacts all belong to one phone group."""
    return (
        by_email.with_columns(size=pl.len().over("value"))
        .join(by_phone.select("contact_id", phone="value"), on="contact_id")
        .group_by(*GROUP, "phone", "size")
        .len()
        .filter(pl.col("len") == pl.col("size"))
        .select(GROUP)
        .unique()
    )


def _described() -> list[pl.Expr]:
    """What the choice needs of each contact."""
    name = pl.concat_str("first_name", "last_name", separator=" ", ignore_nulls=True)
    parts = (
        pl.col("primary_phone").is_not_null(),
        pl.col("primary_email").is_not_null(),
        (pl.col("additional_emails").list.len() > 0).fill_null(False),
        pl.col("address_line_1").is_not_null(),
    )
    return [
        name.alias("name"),
        pl.sum_horizontal(part.cast(pl.Int32) for part in parts).alias("completeness"),
        pl.col("last_modified_at"),
    ]


def _what_to_do() -> pl.Expr:
    several = pl.col("mentor_count") > 1
    return (
        pl.when(several)
        .then(pl.format("Contacts of mentors {}, who share it: keep them apart.", pl.col("mentors").list.join(", ")))
        .when(pl.col("mentor_count") == 1)
        .then(
            pl.format(
                "Contact {} is mentor {}'s: keep it. The archive plan says which of the others may go.",
                "suggested_keep",
                "mn_id",
            )
        )
        .when("is_one_name")
        .then(
            pl.format(
                "No mentor's. One name, so probably one person: merge the others into contact {} in Givebutter.",
                "suggested_keep",
            )
        )
        .otherwise(
            pl.format(
                "No mentor's. Different names: a household or an office? Merge into contact {} only who is the same.",
                "suggested_keep",
            )
        )
    )
