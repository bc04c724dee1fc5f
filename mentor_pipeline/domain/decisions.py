"""What people decided and edited, read from `operator_actions` (append-only; the newest counts).

Other rules ask here what was decided; nothing here decides. Writing an action, and refusing an impossible one, is the
operator's side.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.history import present_ids

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

CONFLICT_DECISION: Final = "conflict_decision"
EDIT: Final = "edit"
CONTACT_CONFLICTS: Final = ("contact_selection", "external_id_collision")


@dataclass(frozen=True, slots=True)
class LinkDecision:
    """What a person decided of one mentor's contact.

    Attributes:
        at: when the decision that counts was made (a release leaves who and when of a link as they are).
        actor: who.
        contact_id: the contact to link; None where none was chosen.
        no_contact: 'none of these': no contact known at that time is theirs.
        released: contacts that are not theirs, though they carry the mentor's id.
    """

    at: datetime
    actor: str
    contact_id: int | None = None
    no_contact: bool = False
    released: frozenset[int] = field(default_factory=frozenset)

    def rules_out(self, contact: Mapping[str, Any]) -> bool:
        """True when the decision says that a contact is not this mentor's.

        'None' holds for the contacts known at that time: one that came later with the mentor's own id may link (R12).
        """
        if contact["contact_id"] in self.released:
            return True
        if not self.no_contact:
            return False
        came_later = contact["first_seen_at"] is not None and contact["first_seen_at"] > self.at
        return not (came_later and contact["carries_id"])


def resolve_aliases(actions: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Actions under the id that a mentor goes on with (R2: decisions and edits follow a placeholder's real id)."""
    return present_ids(actions, aliases).select(actions.columns)


def link_decisions(actions: pl.DataFrame) -> dict[str, LinkDecision]:
    """The decision that counts for each mentor's contact: conflicts about contacts, and edits of gb_contact_id."""
    found: dict[str, LinkDecision] = {}
    for action in actions.sort("at", "id").iter_rows(named=True):
        value: Any = orjson.loads(action["value"]) if action["value"] else None
        if action["action"] == EDIT and action["field"] == "gb_contact_id":
            chosen = value
        elif (
            action["action"] == CONFLICT_DECISION
            and action["field"] in CONTACT_CONFLICTS
            and value["decision"] != "skip"
        ):
            chosen = value["value"]
        else:
            continue
        earlier = found.get(action["mn_id"])
        released = earlier.released if earlier else frozenset()
        text = str(chosen)
        if text.startswith("release "):
            kept = earlier or LinkDecision(action["at"], action["actor"])
            decision = replace(kept, released=released | {int(text.split()[1])})
        elif chosen is None or text == "none":
            decision = LinkDecision(action["at"], action["actor"], no_contact=True, released=released)
        else:
            decision = LinkDecision(action["at"], action["actor"], int(text), released=released - {int(text)})
        found[action["mn_id"]] = decision
    return found


def edits(actions: pl.DataFrame) -> pl.DataFrame:
    """The newest value that a person gave each mentor's field: mn_id, field_name, value (JSON), at, actor.

    Decided phone and e-mail conflicts count as edits: the value survives every later sync (R9).
    """
    decided = (pl.col("action") == CONFLICT_DECISION) & ~pl.col("field").is_in(CONTACT_CONFLICTS)
    mine = actions.filter((pl.col("action") == EDIT) | decided).sort("at", "id")
    rows = []
    for action in mine.iter_rows(named=True):
        value: Any = orjson.loads(action["value"]) if action["value"] else None
        field_name = action["field"]
        if action["action"] == CONFLICT_DECISION:
            if value["decision"] == "skip" or "field" not in value:
                continue
            field_name, value = value["field"], value["value"]
        rows.append((action["mn_id"], field_name, orjson.dumps(value).decode(), action["at"], action["actor"]))
    schema = [
        ("mn_id", pl.String()),
        ("field_name", pl.String()),
        ("value", pl.String()),
        ("at", pl.Datetime("us", "UTC")),
        ("actor", pl.String()),
    ]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.unique(["mn_id", "field_name"], keep="last", maintain_order=True)
