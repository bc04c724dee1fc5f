"""Which duplicates of mentors' contacts may be archived, and which a person must look at first (R5).

The plan follows from the matches, the links and what Givebutter tells of each contact. It changes nothing: archiving
and restoring are started by a person, with this plan in hand. Who is a duplicate at all is decided in `matching`, which
external ids are taken off contacts in `release`; what the log of both says is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
import polars as pl

from mentor_pipeline.domain.decisions import CONTACT_CONFLICTS
from mentor_pipeline.domain.normalise import comparable_mn_id, is_school_email
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

CONTACT_COLUMNS: Final = (
    "contact_id",
    "external_id",
    "external_mn_id",
    "emails",
    "phones",
    "address_line_1",
    "total_contributions",
    "recurring_contributions",
    "last_donation_amount",
    "archived_at",
    "missing_since",
)
"""Columns of `raw_gb_full_contacts` that the plan reads."""

_CHANGED_BY: Final = {"archived_at": ("archive", "restore"), "external_id": ("release", "unrelease")}
"""The operations that change a column, and take that back."""
_WORDS: Final = {
    "external_id": "external id",
    "personal_email": "personal e-mail",
    "uga_email": "school e-mail",
    "linked": "earlier link",
}


def archive_plan(
    matches: pl.DataFrame,
    links: pl.DataFrame,
    contacts: pl.DataFrame,
    mentors: pl.DataFrame,
    conflicts: pl.DataFrame,
    program: ProgramYear,
) -> pl.DataFrame:
    """Rows of contact_archive_plan: every duplicate of a mentor's contact once, with what to do and why (R5).

    Duplicates are the losers of the matching, and mass-mail contacts with a mentor's school address. One may be
    archived when all of this holds: the evidence says that it is the same person, the mentor has a contact, it is
    nobody's contact itself, it carries no current mentor's id in any spelling (it would go on reserving it), nobody
    ever gave through it, it is one mentor's duplicate only, and no pending conflict touches it. Else it is to be
    reviewed, and the reason names everything that speaks against it.

    Args:
        matches: rows of contact_matches of the year.
        links: rows of contact_links of the year.
        contacts: `CONTACT_COLUMNS` of all known contacts; those that are archived or missing need no plan.
        mentors: mn_id, is_placeholder of all mentors of the year.
        conflicts: rows of detected_conflicts or sync_conflicts (conflict_type, option_a, option_b; only pending ones
            count where a status is told).
        program: the year.
    """
    active = contacts.select(CONTACT_COLUMNS).filter(
        pl.all_horizontal(pl.col("archived_at", "missing_since").is_null())
    )
    candidates = matches.filter(pl.col("role") != "winner").join(active, on="contact_id", how="inner")
    is_mass_mail = pl.struct("emails", "phones", "address_line_1").map_elements(
        lambda contact: _is_mass_mail(contact, program), return_dtype=pl.Boolean
    )
    duplicates = (
        candidates.with_columns(is_mass_mail=is_mass_mail)
        .filter(
            (pl.col("role") == "loser") | (pl.col("is_mass_mail") & pl.col("matched_on").list.contains("uga_email"))
        )
        .join(
            links.filter(gb_match_status="linked").select("mn_id", winner_contact_id="gb_contact_id"),
            on="mn_id",
            how="left",
        )
        .sort("contact_id", "mn_id")
    )
    by_contact: dict[int, list[dict[str, Any]]] = {}
    for row in duplicates.iter_rows(named=True):
        by_contact.setdefault(row["contact_id"], []).append(row)
    judge = _Judge(links, mentors, conflicts)
    rows = [judge.plan(several) | {"year": program.year} for several in by_contact.values()]
    return TABLES["contact_archive_plan"].conform(
        pl.DataFrame(rows, schema=TABLES["contact_archive_plan"].schema).sort("contact_id")
    )


def not_taken_back(log: pl.DataFrame, operation: str, undo: str) -> pl.DataFrame:
    """The rows of contact_archive_log by which an operation was done that was not undone since; one a contact.

    What somebody else had done before (a call that was told `already`) is not among them: it is theirs to take back.
    """
    did = (pl.col("operation") == operation) & (pl.col("state") == "done")
    undone = (pl.col("operation") == undo) & pl.col("state").is_in(["done", "already"])
    last = log.filter(did | undone).sort("at", "id").unique("contact_id", keep="last")
    return last.filter(operation=operation)


def told_by_log(
    log: pl.DataFrame, known: pl.DataFrame, column: Literal["archived_at", "external_id"], full_read_at: datetime | None
) -> pl.DataFrame:
    """What contact_archive_log tells of contacts since they were last read, and is not known yet (R12).

    That is what a run has just done, and what one had done that was killed.

    Args:
        log: rows of contact_archive_log.
        known: contact_id, archived_at, external_id, missing_since, last_seen_at of all known contacts.
        column: what is asked for.
        full_read_at: when all contacts were last read.

    Returns:
        contact_id, the column, and at: when it was done.
    """
    operation, undo = _CHANGED_BY[column]
    heard = pl.col("operation").is_in([operation, undo]) & pl.col("state").is_in(["done", "already"])
    last = log.filter(heard).sort("at", "id").unique("contact_id", keep="last")
    known_at = pl.max_horizontal("last_seen_at", pl.lit(full_read_at, pl.Datetime("us", "UTC")))
    value = (
        pl.when(operation=operation).then(pl.col("archived_at").fill_null(pl.col("at")))
        if column == "archived_at"
        else pl.when(operation=undo).then("external_id_logged")
    )
    return (
        last.select("contact_id", "operation", "at", external_id_logged="external_id")
        .join(known, on="contact_id")
        .filter(pl.col("missing_since").is_null(), pl.col("at") > known_at)
        .with_columns(value=value)
        .filter(pl.col("value").ne_missing(pl.col(column)))
        .select("contact_id", pl.col("value").alias(column), "at")
        .sort("contact_id")
    )


class _Judge:
    """Everything that may speak against archiving a duplicate. A few hundred rows, each with words of its own."""

    def __init__(self, links: pl.DataFrame, mentors: pl.DataFrame, conflicts: pl.DataFrame) -> None:
        linked = links.filter(pl.col("gb_contact_id").is_not_null()).sort("mn_id")
        self.whose = dict(linked.select("gb_contact_id", "mn_id").iter_rows())
        real = mentors.filter(~pl.col("is_placeholder").fill_null(value=False))
        self.mentor_of = {comparable_mn_id(mn_id): mn_id for mn_id in real["mn_id"]}
        self.in_conflict = _contacts_in_conflict(conflicts)

    def plan(self, several: list[dict[str, Any]]) -> dict[str, Any]:
        """The row of one contact, which may be the duplicate of several mentors."""
        first = several[0]
        hindrances = list(self._hindrances(several))
        shared = " and ".join(_WORDS.get(kind, kind) for kind in first["matched_on"])
        kind = "a mass-mail contact" if first["is_mass_mail"] else "a duplicate"
        winner = first["winner_contact_id"]
        signals = [
            *(f"same {_WORDS.get(matched, matched)}" for matched in first["matched_on"]),
            *(["mass-mail contact"] if first["is_mass_mail"] else []),
            *(signal for signal, _ in hindrances),
        ]
        reason = (
            "; ".join(words for _, words in hindrances)
            if hindrances
            else f"{kind} of mentor {first['mn_id']}'s contact {winner}: {shared} in common, the names fit"
        )
        return {
            "contact_id": first["contact_id"],
            "mn_id": first["mn_id"],
            "winner_contact_id": winner,
            "action": "review" if hindrances else "archive",
            "reason": reason,
            "signals": signals,
        }

    def _hindrances(self, several: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        """Signal and words of everything that speaks against it."""
        row = several[0]
        contact_id, mn_id = row["contact_id"], row["mn_id"]
        if len(several) > 1:
            mentors = " and ".join(one["mn_id"] for one in several)
            yield (
                "duplicate of several mentors",
                f"it is a duplicate of mentors {mentors}: nobody can tell whose",
            )
        if not all(one["same_person"] for one in several):
            yield "not surely the same person", f"nothing but the address says that it is mentor {mn_id}"
        if any(one["winner_contact_id"] is None for one in several):
            yield "mentor without contact", f"which contact is mentor {mn_id}'s is not settled"
        if contact_id in self.whose:
            yield "a mentor's contact", f"it is mentor {self.whose[contact_id]}'s contact"
        if row["external_mn_id"] in self.mentor_of:
            carrier = self.mentor_of[row["external_mn_id"]]
            yield (
                "carries a mentor's id",
                f"it carries mentor {carrier}'s id ({row['external_id']}) and would go on reserving it: release it",
            )
        given = {
            "contributions": row["total_contributions"],
            "a recurring plan": row["recurring_contributions"],
            "a donation": row["last_donation_amount"],
        }
        for what, amount in given.items():
            if amount:
                yield f"has {what}", f"it has {what} of ${amount:,.2f}: merge it by hand in Givebutter"
                break
        if contact_id in self.in_conflict:
            yield "pending conflict", "a pending conflict is about it: decide that first"


def _is_mass_mail(contact: Mapping[str, Any], program: ProgramYear) -> bool:
    """Every e-mail on a school domain, no phone, no address (R4.2; a campaign page made it no duplicate)."""
    return (
        bool(contact["emails"])
        and not contact["phones"]
        and not contact["address_line_1"]
        and all(is_school_email(email, program.givebutter.school_domains) for email in contact["emails"])
    )


def _contacts_in_conflict(conflicts: pl.DataFrame) -> frozenset[int]:
    """Contacts that an option of a pending conflict names: to link, or to release."""
    pending = conflicts.filter(pl.col("conflict_type").is_in(CONTACT_CONFLICTS))
    if "status" in pending.columns:
        pending = pending.filter(status="pending")
    options = [orjson.loads(option) for option in (*pending["option_a"], *pending["option_b"]) if option]
    named = [str(option.get("value")).removeprefix("release ") for option in options]
    return frozenset(int(text) for text in named if text.isdecimal())
