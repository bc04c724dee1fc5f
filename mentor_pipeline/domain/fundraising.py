"""Where it is doubtful whether a mentor reached the goal (R9): conflicts `fundraising_mismatch`.

Givebutter's members list is the one source of the amount (R6), but a person may know of money that is not in it, and
an amount that falls (a refund, a page that was swapped) wants somebody to look. The record follows the person's mark
and the amount as they are; here it is only told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.findings import Conflict

if TYPE_CHECKING:
    from decimal import Decimal

    from mentor_pipeline.settings import ProgramYear

_SOURCE: Final = "mentors"
_MARK: Final = "fundraised_done"
_YES: Final = frozenset({"yes", "true", "1", "checked"})


def fundraising_conflicts(
    mentors: pl.DataFrame,
    edits: pl.DataFrame,
    contacts: pl.DataFrame,
    history: pl.DataFrame,
    program: ProgramYear,
) -> list[Conflict]:
    """Mentors of whom two sources say different things about their fundraising.

    Args:
        mentors: mn_id, full_name, gb_contact_id, gb_member_id, amount_raised, fundraising_goal.
        edits: what people set, as `decisions.edits` gives it.
        contacts: contact_id, custom_fields of the mentors' contacts.
        history: rows of mentor_history of the year under present ids.
        program: the year.
    """
    marked = {
        row["mn_id"]: row["actor"]
        for row in edits.filter(field_name=_MARK).iter_rows(named=True)
        if orjson.loads(row["value"]) is True
    }
    label = program.custom_field_from(_MARK)
    ticked = {
        row["contact_id"]
        for row in contacts.iter_rows(named=True)
        if label and str(orjson.loads(row["custom_fields"] or "{}").get(label, "")).casefold() in _YES
    }
    highest = _highest_amounts(history)
    found = []
    for mentor in mentors.sort("mn_id").iter_rows(named=True):
        amount, goal = mentor["amount_raised"], mentor["fundraising_goal"]
        is_short = amount is None or amount < goal
        if is_short and mentor["mn_id"] in marked:
            found.append(_marked(mentor, f"{marked[mentor['mn_id']]} marked it", "b"))
        elif is_short and mentor["gb_contact_id"] in ticked:
            found.append(_marked(mentor, f"Givebutter's {label!r} is ticked", None))
        before = highest.get((mentor["mn_id"], mentor["gb_member_id"]))
        if amount is not None and before is not None and amount < before:
            found.append(_fell(mentor, before))
    return found


def _highest_amounts(history: pl.DataFrame) -> dict[tuple[str, int], Decimal]:
    """The most that was ever seen on a mentor's present page."""
    told = history.select(
        "mn_id",
        member=pl.col("record").str.json_path_match("$.gb_member_id").cast(pl.Int64),
        amount=pl.col("record").str.json_path_match("$.amount_raised").cast(pl.Decimal(12, 2)),
    ).drop_nulls()
    highest = told.group_by("mn_id", "member").agg(pl.col("amount").max())
    return {(mn_id, member): amount for mn_id, member, amount in highest.iter_rows()}


def _marked(mentor: dict[str, Any], who: str, recommended: Any) -> Conflict:
    """Somebody says that the goal is reached, while the amount is under it.

    The amount is no part of the options' values: a donation more is no other question.
    """
    raised = f"${mentor['amount_raised'] or 0:,.2f} of ${mentor['fundraising_goal']:,.0f}"
    return Conflict(
        mn_id=mentor["mn_id"],
        conflict_type="fundraising_mismatch",
        option_a={"value": False, "source": "Givebutter's members", "what": f"not fundraised: {raised} are raised"},
        option_b={"value": True, "source": who, "what": "fundraised: the rest came in another way"},
        source_table=_SOURCE,
        context={"field": _MARK, "said": who, "amount_raised": mentor["amount_raised"]},
        recommended_option=recommended,
        recommendation_reason=f"{who}, but {raised} are raised on the page.",
        severity="medium",
    )


def _fell(mentor: dict[str, Any], before: Decimal) -> Conflict:
    """The amount of one and the same page fell."""
    now = mentor["amount_raised"]
    return Conflict(
        mn_id=mentor["mn_id"],
        conflict_type="fundraising_mismatch",
        option_a={"value": f"{now:.2f}", "source": "Givebutter's members", "what": f"${now:,.2f} is right: refunded"},
        option_b={"value": f"{before:.2f}", "source": "an earlier sync", "what": f"${before:,.2f} is right"},
        source_table=_SOURCE,
        context={"gb_member_id": mentor["gb_member_id"]},
        recommended_option="a",
        recommendation_reason="Givebutter's members list is the source of the amount; money that is refunded goes.",
        severity="medium",
    )
