"""Candidate contacts of each mentor: what matches, what the evidence is worth, and the score (R4.2, R4.3).

Mentors and contacts meet on keys (external id, phone, e-mail, the link they had) in plain equi-joins, so the work
grows with the contacts, not with mentors times contacts. Names are compared only for the pairs found. Who of the
candidates wins is decided in `matching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.findings import Problem
from mentor_pipeline.domain.names import Name, comparable, compatible, contradicting, exactly_same
from mentor_pipeline.domain.normalise import comparable_mn_ids

if TYPE_CHECKING:
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

CONTACT_COLUMNS: Final = (
    "contact_id",
    "external_id",
    "external_mn_id",
    "prefix",
    "first_name",
    "preferred_name",
    "last_name",
    "primary_email",
    "additional_emails",
    "emails",
    "phones",
    "address_line_1",
    "tags",
    "last_modified_at",
    "archived_at",
    "missing_since",
    "first_seen_at",
)
"""Columns of `raw_gb_full_contacts` that matching reads."""

SCORE_PARTS: Final = {
    "dropped_tag": 1000,
    "campaign_tag": 500,
    "freshness": 100,
    "phone": 50,
    "primary_email": 30,
    "additional_email": 20,
    "address": 20,
    "member": 30,
}
"""Points by part (R4.3); freshness falls by one a day."""

MOST_SHOWN: Final = 50
"""A generic identifier on more contacts than this makes no candidates at all (an office, a mass mailing)."""


def find_candidates(
    signups: pl.DataFrame,
    previous: pl.DataFrame,
    contacts: pl.LazyFrame,
    members: pl.DataFrame,
    program: ProgramYear,
    now: datetime,
) -> tuple[pl.DataFrame, list[Problem]]:
    """Find, weigh and score the candidate contacts of every mentor.

    Args:
        signups: rows of `signups`.
        previous: mn_id, gb_contact_id, phone, personal_email, uga_email of the mentors as last recorded; what a
            person or Givebutter changed since the sign-up finds contacts too.
        contacts: `CONTACT_COLUMNS` of all known contacts, archived and missing ones included; gone through a few
            times, a column or two at a time, so that millions of them need not fit into memory.
        members: campaign members: mn_id (null when nobody's), email, phone, first_name, last_name.
        program: the year.
        now: for freshness.

    Returns:
        One row per mentor and candidate: mn_id, contact columns, matched_on, evidence (the agreeing identifiers that
        are not generic; one address given twice is one), was_linked, name_relation, same_person, owner_mn_id (another
        mentor whose id it carries), carries_id (this mentor's), is_mass_mail, is_member, a column per score part,
        score, completeness; and problems.
    """
    active = contacts.filter(pl.col("archived_at").is_null() & pl.col("missing_since").is_null())
    mentor_keys = _mentor_keys(signups, previous)
    contact_keys = _contact_keys(active, mentor_keys)
    near = rows_of(active, contact_keys["contact_id"].unique())
    shared = _carriers(contact_keys.filter(pl.col("kind").is_in(["phone", "email"])), near, program)
    pairs = (
        mentor_keys.join(contact_keys, on=["kind", "key"])
        .join(shared, on=["kind", "key"], how="left")
        .filter(~pl.col("generic").fill_null(value=False) | (pl.col("carriers") <= MOST_SHOWN))
        .group_by("mn_id", "contact_id")
        .agg(
            pl.col("matched").unique().sort().alias("matched_on"),
            pl.col("counts_as")
            .filter(~pl.col("generic").fill_null(value=False) & pl.col("kind").is_in(["phone", "email"]))
            .unique()
            .sort()
            .alias("evidence"),
            (pl.col("kind") == "linked").any().alias("was_linked"),
        )
        .join(near, on="contact_id")
        .sort("mn_id", "contact_id")
    )
    pairs = _with_owner(pairs, signups)
    pairs = _with_names(pairs, signups, members, program)
    return _with_score(pairs, members, program, now), _generic_problems(shared, mentor_keys)


def rows_of(contacts: pl.LazyFrame, ids: pl.Series) -> pl.DataFrame:
    """The rows of some contacts, in order; picked as they are read, so that the others' texts are not held."""
    return contacts.filter(pl.col("contact_id").is_in(ids.implode())).collect(engine="streaming").sort("contact_id")


def _mentor_keys(signups: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """mn_id, kind (external_id, phone, email, linked), key, matched (how an operator calls it), counts_as.

    One address that a mentor has both as personal and as school e-mail matches as both, and counts as one.
    """
    known = previous.join(signups.select("mn_id"), on="mn_id", how="semi")
    keys = [
        signups.filter(~pl.col("is_placeholder")).select(
            "mn_id",
            kind=pl.lit("external_id"),
            key=comparable_mn_ids("mn_id"),
            matched=pl.lit("external_id"),
        ),
        known.select(
            "mn_id",
            kind=pl.lit("linked"),
            key=pl.col("gb_contact_id").cast(pl.String),
            matched=pl.lit("linked"),
        ),
    ]
    for frame in (signups, known):
        for column, kind in (("phone", "phone"), ("personal_email", "email"), ("uga_email", "email")):
            keys.append(frame.select("mn_id", kind=pl.lit(kind), key=pl.col(column), matched=pl.lit(column)))
    return (
        pl.concat(keys)
        .filter(pl.col("key").is_not_null())
        .unique()
        .with_columns(counts_as=pl.col("matched").min().over("mn_id", "kind", "key"))
    )


def _contact_keys(active: pl.LazyFrame, mentor_keys: pl.DataFrame) -> pl.DataFrame:
    """contact_id, kind, key of the contacts, only where a mentor has that key.

    The only step that looks at every contact: one column at a time, and joined on nothing but the key.
    """
    parts = {
        "external_id": active.select("contact_id", key="external_mn_id"),
        "linked": active.select("contact_id", key="contact_id"),
        "phone": active.select("contact_id", key="phones").explode("key"),
        "email": active.select("contact_id", key="emails").explode("key"),
    }
    found = []
    for kind, part in parts.items():
        dtype = pl.Int64 if kind == "linked" else pl.String  # a million numbers need not become text
        wanted = mentor_keys.lazy().filter(kind=kind).select(pl.col("key").cast(dtype)).unique()
        met = part.join(wanted, on="key", how="semi")
        found.append(met.select("contact_id", kind=pl.lit(kind), key=pl.col("key").cast(pl.String)))
    return pl.concat(pl.collect_all(found, engine="streaming")).unique()


def _carriers(keys: pl.DataFrame, near: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """kind, key, carriers, names, contact_ids, generic: carried by more contacts of different names than the limit."""
    named = keys.join(near.select("contact_id", "first_name", "last_name"), on="contact_id")
    name = pl.concat_str(
        [_comparable(named["first_name"]), _comparable(named["last_name"])], separator=" ", ignore_nulls=True
    )
    return (
        named.with_columns(name.alias("name"))
        .group_by("kind", "key")
        .agg(
            carriers=pl.len(),
            names=pl.col("name").n_unique(),
            contact_ids=pl.col("contact_id").sort().head(10),
        )
        .with_columns(generic=pl.col("names") > program.matching.generic_identifier_limit)
    )


def _comparable(names: pl.Series) -> pl.Series:
    return names.map_elements(comparable, return_dtype=pl.String)


def _with_owner(pairs: pl.DataFrame, signups: pl.DataFrame) -> pl.DataFrame:
    """Whose mentor id the contact carries: this mentor's (`carries_id`), another current one's (`owner_mn_id`)."""
    owners = signups.filter(~pl.col("is_placeholder")).select(
        external_mn_id=comparable_mn_ids("mn_id"), owner_mn_id="mn_id"
    )
    return pairs.join(owners, on="external_mn_id", how="left").with_columns(
        carries_id=(pl.col("owner_mn_id") == pl.col("mn_id")).fill_null(value=False),
        owner_mn_id=pl.when(pl.col("owner_mn_id") != pl.col("mn_id")).then("owner_mn_id"),
    )


def _with_names(
    pairs: pl.DataFrame, signups: pl.DataFrame, members: pl.DataFrame, program: ProgramYear
) -> pl.DataFrame:
    """Compare names of the pairs found (a few thousand), and recognise mass-mail contacts (R4.2)."""
    mentor_names = {
        mn_id: Name(first, last, preferred)
        for mn_id, first, last, preferred in signups.select(
            "mn_id", "first_name", "last_name", "preferred_name"
        ).iter_rows()
    }
    pages: dict[str, list[Name]] = {}
    for email, first, last in members.drop_nulls("email").select("email", "first_name", "last_name").iter_rows():
        pages.setdefault(email, []).append(Name(first, last))
    suffixes = tuple(f"{sign}{domain.lower()}" for domain in program.givebutter.school_domains for sign in "@.")

    relations, mass_mail = [], []
    told = pairs.select(
        "mn_id", "first_name", "last_name", "preferred_name", "prefix", "emails", "phones", "address_line_1"
    )
    for row in told.iter_rows(named=True):
        name = contact_name(row, program)
        relations.append(_relation(mentor_names[row["mn_id"]], name))
        emails = row["emails"] or []
        mass_mail.append(
            bool(emails)
            and all(email.endswith(suffixes) for email in emails)
            and not row["phones"]
            and not row["address_line_1"]
            and not any(compatible(page, name) for email in emails for page in pages.get(email, ()))
        )
    return pairs.with_columns(
        pl.Series("name_relation", relations, dtype=pl.String), pl.Series("is_mass_mail", mass_mail, dtype=pl.Boolean)
    ).with_columns(
        same_person=pl.when(pl.col("name_relation").is_in(["exact", "compatible"]))
        .then(pl.col("evidence").list.len() >= 1)
        .when(pl.col("name_relation") == "contradicting")
        .then(pl.lit(value=False))
        .otherwise(pl.col("evidence").list.len() >= 2)
    )


def contact_name(row: dict[str, object], program: ProgramYear) -> Name:
    """The contact's name to compare; the preferred name is where the year file says it is."""
    field = "prefix" if program.givebutter.preferred_name_field == "prefix" else "preferred_name"
    first, last, preferred = row["first_name"], row["last_name"], row[field]
    return Name(*(part if isinstance(part, str) else None for part in (first, last, preferred)))


def _relation(mentor: Name, contact: Name) -> str:
    if exactly_same(mentor, contact):
        return "exact"
    if compatible(mentor, contact):
        return "compatible"
    return "contradicting" if contradicting(mentor, contact) else "unknown"


def _with_score(pairs: pl.DataFrame, members: pl.DataFrame, program: ProgramYear, now: datetime) -> pl.DataFrame:
    """Score parts and completeness (R4.3): what the contact has, whether or not it matches."""
    own_page = (
        members.filter(pl.col("mn_id").is_not_null())
        .group_by("mn_id")
        .agg(page_emails=pl.col("email").drop_nulls(), page_phones=pl.col("phone").drop_nulls())
    )
    lower_tags = pl.col("tags").list.eval(pl.element().str.to_lowercase())
    has_campaign_tag = pl.any_horizontal(
        lower_tags.list.eval(pl.element().str.contains(tag.lower(), literal=True)).list.any()
        for tag in program.givebutter.campaign_tags
    )
    days = (pl.lit(now) - pl.col("last_modified_at")).dt.total_seconds() / 86_400
    has = {
        "dropped_tag": lower_tags.list.contains(program.givebutter.dropped_tag.lower()),
        "campaign_tag": has_campaign_tag,
        "phone": pl.col("phones").list.len() > 0,
        "primary_email": pl.col("primary_email").is_not_null(),
        "additional_email": pl.col("additional_emails").list.len() > 0,
        "address": pl.col("address_line_1").is_not_null(),
        "member": (pl.col("emails").list.set_intersection("page_emails").list.len() > 0)
        | (pl.col("phones").list.set_intersection("page_phones").list.len() > 0),
    }
    points = {
        part: has[part].fill_null(value=False).cast(pl.Float64) * most
        for part, most in SCORE_PARTS.items()
        if part != "freshness"
    }
    points["freshness"] = (SCORE_PARTS["freshness"] - days).clip(0, SCORE_PARTS["freshness"]).fill_null(0).round(1)
    counted = ("phone", "primary_email", "additional_email", "address", "member")
    return (
        pairs.join(own_page, on="mn_id", how="left")
        .with_columns(points[part].alias(part) for part in SCORE_PARTS)
        .with_columns(
            score=pl.sum_horizontal(list(SCORE_PARTS)),
            completeness=pl.sum_horizontal((pl.col(part) > 0).cast(pl.Int32) * 20 for part in counted),
            is_member=pl.col("member") > 0,
        )
        .drop("page_emails", "page_phones")
    )


def _generic_problems(shared: pl.DataFrame, mentor_keys: pl.DataFrame) -> list[Problem]:
    """Each generic identifier that a mentor has, once (R4.2)."""
    owners = mentor_keys.group_by("kind", "key").agg(pl.col("mn_id").unique().sort())
    return [
        Problem(
            "generic_identifier",
            f"{row['key']} is on {row['carriers']} contacts of {row['names']} different names: a parent's or an "
            f"office's. It does not link mentor {', '.join(row['mn_id'])} to anybody.",
            source_table="raw_gb_full_contacts",
            field_name=row["kind"],
            current_value=row["key"],
            context={"contact_ids": row["contact_ids"], "mn_ids": row["mn_id"]},
        )
        for row in shared.filter("generic").join(owners, on=["kind", "key"]).sort("kind", "key").iter_rows(named=True)
    ]
