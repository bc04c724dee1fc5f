"""How conflicts live on, and what a person may decide of them (R9).

The rules say what conflicts they see now (`detected_conflicts`); this says what becomes of each: pending, decided
(resolved or skipped), obsolete. Decisions are read from `operator_actions`, so they outlive any rebuild. What a
decision does is no matter of this module: the next run's matching and merging follow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.decisions import CONFLICT_DECISION
from mentor_pipeline.domain.findings import Conflict, to_json
from mentor_pipeline.domain.history import present_ids
from mentor_pipeline.errors import DecisionRefusedError
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

DECISIONS: Final = ("a", "b", "custom", "skip")
DECIDED: Final = ("resolved", "skipped")
FIELDS: Final = {
    "contact_selection": "gb_contact_id",
    "external_id_collision": "gb_contact_id",
    "phone_mismatch": "phone",
}
"""Field of mentors that a conflict is about, where its type says so; else its context has it under `field`."""

_DECISION: Final = ("status", "user_decision", "custom_value", "resolved_at", "resolved_by")


def live_on(
    detected: pl.DataFrame,
    stored: pl.DataFrame,
    actions: pl.DataFrame,
    *,
    now: datetime,
    aliases: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of sync_conflicts to upsert.

    Found and undecided: pending, with the options as they are now (scores, last modified), also when it had been
    obsolete. Decided: resolved or skipped for ever, with the options as they were decided on. Undecided and no longer
    found: obsolete. A decision made under a placeholder id holds for the real one (R2).

    Args:
        detected: rows of detected_conflicts of the year; a conflict that two assets found is one.
        stored: rows of sync_conflicts of the year.
        actions: rows of operator_actions; the first decision of a conflict counts (later ones were refused).
        now: the time of the run.
        aliases: rows of mentor_aliases.
    """
    table = TABLES["sync_conflicts"]
    found = detected.sort("asset").unique("id", keep="first", maintain_order=True).drop("asset")
    decided = _decided(actions)
    if aliases is not None:
        decided = _with_real_ids(decided, found, aliases)
    seen_before = stored.select("id", "detected_at")

    pending = found.join(decided, on="id", how="anti").with_columns(status=pl.lit("pending"))
    settled_unseen = found.join(decided, on="id").join(stored, on="id", how="anti")
    new = (
        pl.concat([pending, settled_unseen], how="diagonal")
        .join(seen_before, on="id", how="left")
        .with_columns(detected_at=pl.col("detected_at").fill_null(now), last_seen_at=pl.lit(now))
    )

    is_found = pl.col("id").is_in(found["id"].implode())
    was_open = pl.col("status").is_in(DECIDED).not_()
    settled = (
        stored.filter(is_found | was_open)
        .drop(_DECISION)
        .join(decided, on="id")
        .with_columns(last_seen_at=pl.when(is_found).then(pl.lit(now)).otherwise("last_seen_at"))
    )
    obsolete = (
        stored.filter(pl.col("status") == "pending", is_found.not_())
        .join(decided, on="id", how="anti")
        .with_columns(status=pl.lit("obsolete"))
    )
    return pl.concat([table.conform(part) for part in (new, settled, obsolete)]).sort("id")


def _decided(actions: pl.DataFrame) -> pl.DataFrame:
    """What people decided: id of the conflict and the columns of sync_conflicts that follow from it."""
    decision = pl.col("value").str.json_path_match("$.decision")
    return (
        actions.filter(action=CONFLICT_DECISION)
        .sort("at", "id")
        .unique("target_id", keep="first", maintain_order=True)
        .select(
            id="target_id",
            status=pl.when(decision == "skip").then(pl.lit("skipped")).otherwise(pl.lit("resolved")),
            user_decision=pl.when(decision != "skip").then(decision),
            custom_value=pl.when(decision == "custom").then(pl.col("value").str.json_path_match("$.value")),
            resolved_at="at",
            resolved_by="actor",
        )
    )


def _with_real_ids(decided: pl.DataFrame, found: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Decisions, and those made under a placeholder once more under the id of the same conflict of the real one.

    An id is made of the mentor's, so each conflict of a mentor who had a placeholder is asked what its id was then;
    they are a handful, hence the loop.
    """
    old_ids = present_ids(aliases.select("year", "old_mn_id", mn_id="old_mn_id"), aliases)
    theirs = found.join(old_ids, on=["year", "mn_id"])
    earlier = [
        Conflict(
            mn_id=conflict["old_mn_id"],
            conflict_type=conflict["conflict_type"],
            option_a=orjson.loads(conflict["option_a"]),
            option_b=orjson.loads(conflict["option_b"]),
            source_table=conflict["source_table"],
        ).id(conflict["year"])
        for conflict in theirs.iter_rows(named=True)
    ]
    renamed = theirs.select(real_id="id").with_columns(id=pl.Series(earlier, dtype=pl.String))
    again = decided.join(renamed, on="id").drop("id").rename({"real_id": "id"}).select(decided.columns)
    return pl.concat([decided, again]).unique("id", keep="first", maintain_order=True)


def decision_action(
    conflict_id: str,
    conflict: Mapping[str, Any] | None,
    decision: str,
    custom_value: str | None = None,
    *,
    check_custom: Callable[[Mapping[str, Any], str], str | int],
) -> dict[str, Any]:
    """What operator_actions is to record of a decision: all of the row but id, at, actor and note.

    The value is JSON: `decision`, `value` (the chosen option's, or the custom one; null for skip) and `field` (the
    field of mentors it is about, where known).

    Args:
        conflict_id: as the person gave it.
        conflict: the row of sync_conflicts with that id; None when there is none.
        decision: a, b, custom or skip.
        custom_value: the value for custom.
        check_custom: given the conflict and the custom value, returns the value to record (normalised), or raises
            DecisionRefusedError when it is impossible (bad phone or e-mail, unknown contact, somebody else's).

    Raises:
        DecisionRefusedError: unknown, decided or obsolete conflict, unknown decision, a custom value missing, not
            wanted, or impossible.
    """
    if conflict is None:
        msg = (
            f"There is no conflict that {conflict_id!r} alone means (its id, or six characters of it at least). "
            "Nothing was written. `mentor-pipeline conflicts list` shows those that are pending."
        )
        raise DecisionRefusedError(msg)
    _refuse_unless_pending(conflict)
    if decision not in DECISIONS:
        msg = f"{decision!r} is no decision: expected a, b, custom or skip. Conflict {conflict_id} is left pending."
        raise DecisionRefusedError(msg)
    typed = (custom_value or "").strip()
    if (decision == "custom") != bool(typed):
        need = "'custom' needs a value" if decision == "custom" else f"'{decision}' takes no value of its own"
        msg = f"{need}. Conflict {conflict_id} is left pending, nothing was written."
        raise DecisionRefusedError(msg)

    value: dict[str, Any] = {"decision": decision, "value": None}
    if decision == "custom":
        value["value"] = check_custom(conflict, typed)
    elif decision != "skip":
        value["value"] = orjson.loads(conflict[f"option_{decision}"])["value"]
    field = _field(conflict)
    if field:
        value["field"] = field
    return {
        "action": CONFLICT_DECISION,
        "year": conflict["year"],
        "mn_id": conflict["mn_id"],
        "target_id": conflict["id"],
        "field": conflict["conflict_type"],
        "value": to_json(value),
    }


def _field(conflict: Mapping[str, Any]) -> str | None:
    """The field that a conflict is about; None where it is about no single one."""
    told: str | None = orjson.loads(conflict["context"] or "{}").get("field") or FIELDS.get(conflict["conflict_type"])
    return told


def _refuse_unless_pending(conflict: Mapping[str, Any]) -> None:
    """A decided conflict stays as it was decided; an obsolete one is about nothing any more."""
    if conflict["status"] in DECIDED:
        how = conflict["user_decision"] or "skip"
        field = _field(conflict) or "FIELD"
        msg = (
            f"Conflict {conflict['id']} of mentor {conflict['mn_id']} was decided already: {how}, by "
            f"{conflict['resolved_by']} at {conflict['resolved_at']:%Y-%m-%d %H:%M} UTC. Nothing was written. To "
            f"change the outcome: `mentor-pipeline edit {conflict['mn_id']} {field} VALUE`."
        )
        raise DecisionRefusedError(msg)
    if conflict["status"] == "obsolete":
        msg = (
            f"Conflict {conflict['id']} of mentor {conflict['mn_id']} is obsolete: it settled itself, there is nothing "
            "to decide. Nothing was written."
        )
        raise DecisionRefusedError(msg)
