"""Which external ids are taken off contacts, because a person decided whose they are not (R4.1, R12).

An external id that is left over from an earlier year, or was typed onto a stranger, keeps Givebutter from taking the
mentor's own row. It is never released by a rule, only by a decision. The plan changes nothing: releasing is started by
a person, with this plan in hand, as archiving is (`archive`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mentor_pipeline.domain.decisions import CONTACT_CONFLICTS, LinkDecision, link_decisions
from mentor_pipeline.domain.normalise import comparable_mn_ids
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

CONTACT_COLUMNS: Final = (
    "contact_id",
    "external_id",
    "external_mn_id",
    "first_seen_at",
    "archived_at",
    "missing_since",
)
"""Columns of `raw_gb_full_contacts` that the plan reads."""


def release_plan(
    actions: pl.DataFrame, contacts: pl.DataFrame, mentors: pl.DataFrame, program: ProgramYear
) -> pl.DataFrame:
    """Rows of contact_release_plan: contacts that carry a mentor's id, and that a person decided are not the mentor's.

    That is decided by `release` in a conflict, or by choosing another contact for the mentor. The latter counts while
    the chosen contact is there (a merge may have made this one of it), and for contacts that were known when it was
    chosen: of one that came later nobody decided anything. 'None of these' says nothing of whose the id is.

    Args:
        actions: rows of operator_actions of the year, under the ids that mentors have today.
        contacts: `CONTACT_COLUMNS` of all known contacts; in those archived or missing nothing can be changed.
        mentors: mn_id, is_placeholder of all mentors of the year.
        program: the year.
    """
    decisions = link_decisions(actions)
    active = contacts.select(CONTACT_COLUMNS).filter(
        pl.all_horizontal(pl.col("archived_at", "missing_since").is_null())
    )
    there = frozenset(active["contact_id"])
    carriers = (
        mentors.filter(~pl.col("is_placeholder").fill_null(value=False), pl.col("mn_id").is_in(list(decisions)))
        .select("mn_id", external_mn_id=comparable_mn_ids("mn_id"))
        .join(active, on="external_mn_id")
        .sort("contact_id")
    )
    rows = []
    for carrier in carriers.iter_rows(named=True):  # those of decided mentors only: a handful
        found = _decided(carrier, decisions[carrier["mn_id"]], there, actions)
        if found:
            decided_by, decided_at, reason = found
            shared = {name: carrier[name] for name in ("mn_id", "contact_id", "external_id")}
            rows.append(
                {**shared, "year": program.year, "reason": reason, "decided_by": decided_by, "decided_at": decided_at}
            )
    table = TABLES["contact_release_plan"]
    return table.conform(pl.DataFrame(rows, schema=table.schema))


def _decided(
    carrier: dict[str, Any], decision: LinkDecision, there: frozenset[int], actions: pl.DataFrame
) -> tuple[str, datetime, str] | None:
    """Who decided when that the contact is not the mentor's, and in which words; None when nobody did."""
    contact_id, mn_id = carrier["contact_id"], carrier["mn_id"]
    if contact_id in decision.released:
        actor, at = _released(actions, mn_id, contact_id)
        return actor, at, f"it carries mentor {mn_id}'s id ({carrier['external_id']}), but is not theirs"
    chosen = decision.contact_id
    came_later = carrier["first_seen_at"] is not None and carrier["first_seen_at"] > decision.at
    if chosen is None or chosen == contact_id or chosen not in there or came_later:
        return None
    reason = f"it carries mentor {mn_id}'s id ({carrier['external_id']}), but contact {chosen} was chosen for them"
    return decision.actor, decision.at, reason


def _released(actions: pl.DataFrame, mn_id: str, contact_id: int) -> tuple[str, datetime]:
    """Who decided last that a contact is to be released, and when; a link keeps its own who and when."""
    about_contact = pl.col("field").is_in(["gb_contact_id", *CONTACT_CONFLICTS])
    says_so = pl.col("value").str.contains(f'"release {contact_id}"', literal=True)
    last = actions.filter(about_contact & says_so, mn_id=mn_id).sort("at", "id").row(-1, named=True)
    return last["actor"], last["at"]
