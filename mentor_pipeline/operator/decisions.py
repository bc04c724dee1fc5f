"""What people decide and edit: judged before it is recorded, refused with the reason, recorded in `operator_actions`.

Nothing takes effect here: the asset `operator_actions` appends what was accepted, and the rest of the job
`apply_decisions` computes everything again with it. The commands judge first and start a run only for what can be
recorded; the run judges once more, for meanwhile somebody else may have decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson
import polars as pl

from mentor_pipeline.domain.conflicts import DECIDED, FIELDS, decision_action
from mentor_pipeline.domain.decisions import CONTACT_CONFLICTS, EDIT, edits, link_decisions, resolve_aliases
from mentor_pipeline.domain.edits import CONTACT, NOTHING, read_value
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.domain.normalise import comparable_mn_id
from mentor_pipeline.errors import DecisionRefusedError, MentorPipelineError
from mentor_pipeline.operator.reports import CONFLICT_TYPES, SHORTEST_CONFLICT_ID, present_id, refuse_unknown
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear

ACTIONS: Final = "operator_actions"
SHEET_ONLY: Final = frozenset({"row", "whose"})
"""What a `Decision` knows of the spreadsheet that it stands in; judged before a run is begun, which is not told."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides of one conflict.

    Attributes:
        conflict_id: its id, or how it begins (six characters at least).
        choice: a, b, custom or skip.
        custom_value: the value for custom, as typed.
        note: further words.
        row: where it stands in a spreadsheet, whose header is row 1; None when it comes from none.
        whose: the mentor id that the spreadsheet has beside it; None where it has none.
    """

    conflict_id: str
    choice: str
    custom_value: str | None = None
    note: str | None = None
    row: int | None = None
    whose: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """What a person sets: one field of one mentor (in any spelling of the id), as typed."""

    mn_id: str
    field: str
    value: str
    note: str | None = None


Wish: TypeAlias = Decision | Edit


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a wish.

    Attributes:
        wish: what was asked.
        state: accepted, unchanged (it was decided or set so before) or refused.
        mn_id: the mentor, where known.
        full_name: their name.
        about: the conflict's type, or the field.
        words: what is to hold from now on; of a refusal, why.
        action: the columns of `operator_actions` that follow from it, but id, at and actor; None unless accepted.
    """

    wish: Wish
    state: Literal["accepted", "unchanged", "refused"]
    mn_id: str | None
    full_name: str
    about: str
    words: str
    action: dict[str, Any] | None = None


class Desk:
    """Judges wishes by what is known now; wishes judged earlier count as decided for the later ones."""

    def __init__(self, warehouse: Warehouse, program: ProgramYear) -> None:
        self._program = program
        year = program.year
        with warehouse.reading() as reader:
            self._mentors = reader.read_or_empty(
                "mentors", columns=["mn_id", "first_name", "full_name", "is_placeholder"], year=year
            )
            self._aliases = reader.read_or_empty("mentor_aliases", year=year)
            self._conflicts = reader.read_or_empty("sync_conflicts", year=year)
            actions = resolve_aliases(reader.read_or_empty(ACTIONS, year=year), self._aliases)
            links = reader.read_or_empty("contact_links", year=year)
            contacts = reader.read_or_empty(
                "raw_gb_full_contacts",
                columns=["contact_id", "external_mn_id", "first_name", "last_name", "archived_at", "missing_since"],
            )
        self._contacts = contacts
        self._names = dict(self._mentors.select("mn_id", "full_name").iter_rows())
        real = self._mentors.filter(~pl.col("is_placeholder").fill_null(value=False))["mn_id"]
        self._mentor_of = {comparable_mn_id(mn_id): mn_id for mn_id in real}
        linked = links.filter(gb_match_status="linked").drop_nulls("gb_contact_id")
        self._whose: dict[int, str] = dict(linked.select("gb_contact_id", "mn_id").iter_rows())
        for mn_id, decided in link_decisions(actions).items():
            if decided.contact_id is not None:
                self._whose[decided.contact_id] = mn_id
        self._edited = {(row["mn_id"], row["field_name"]): row["value"] for row in edits(actions).iter_rows(named=True)}
        self._decided_here: set[str] = set()
        self._taken_here: dict[int, int | None] = {}

    def judge(self, wishes: Iterable[Wish], *, again: bool = False) -> list[Ruling]:
        """Rule on each wish, in their order.

        Args:
            wishes: decisions and edits.
            again: a conflict that was decided in the same way before is no fault, as when a sheet is imported twice.
        """
        return [
            self._decision(wish, again=again) if isinstance(wish, Decision) else self._edit(wish) for wish in wishes
        ]

    def recommended(self, conflict_type: str | None = None) -> tuple[list[Decision], list[dict[str, Any]]]:
        """Decisions that follow every recommendation, and the pending conflicts that have none.

        Raises:
            WrongUseError: there is no such type of conflict.
        """
        pending = self._conflicts.filter(status="pending").sort("conflict_type", "mn_id", "id")
        if conflict_type is not None:
            refuse_unknown("conflict", [conflict_type], {*CONFLICT_TYPES, *self._conflicts["conflict_type"]})
            pending = pending.filter(conflict_type=conflict_type)
        rows = pending.to_dicts()
        chosen = [Decision(row["id"], row["recommended_option"]) for row in rows if row["recommended_option"]]
        return chosen, [row for row in rows if not row["recommended_option"]]

    # -- one wish ----------------------------------------------------------------------------------------------------

    def _decision(self, wish: Decision, *, again: bool) -> Ruling:
        conflict = self._conflict(wish.conflict_id)
        mn_id = conflict["mn_id"] if conflict else None
        about = conflict["conflict_type"] if conflict else "conflict"
        try:
            if conflict and again and self._is_decided_so(wish, conflict):
                return self._ruling(wish, "unchanged", mn_id, about, "decided so before")
            if conflict and conflict["id"] in self._decided_here:
                msg = f"Conflict {conflict['id']} is decided twice here. Decide it once; nothing was written."
                raise DecisionRefusedError(msg)
            if conflict and wish.whose is not None:
                self._refuse_another_mentor(conflict, wish.whose)
            action = decision_action(
                wish.conflict_id, conflict, wish.choice, wish.custom_value, check_custom=self._custom_value
            )
            value = orjson.loads(action["value"])
            words = f"{wish.choice}: {self._in_words(value, conflict or {}, wish.choice)}"
            if action["field"] in CONTACT_CONFLICTS and str(value["value"]).isdecimal():
                self._take(int(value["value"]), action["mn_id"], wish.row)
        except DecisionRefusedError as error:
            return self._ruling(wish, "refused", mn_id, about, str(error))
        self._decided_here.add(action["target_id"])
        return self._ruling(wish, "accepted", mn_id, about, words, {**action, "note": wish.note})

    def _edit(self, wish: Edit) -> Ruling:
        mn_id = None
        try:
            mn_id = present_id(wish.mn_id, self._mentors, self._aliases, self._program)
            value = read_value(wish.field, wish.value, self._program)
            recorded = to_json(value)
            if wish.field == CONTACT and value is not None:
                self._take(value, mn_id)
        except MentorPipelineError as error:
            said = str(error)
            return self._ruling(
                wish, "refused", mn_id, wish.field, said if "Nothing was" in said else f"{said} Nothing was written."
            )
        words = self._contact(value) if wish.field == CONTACT and value else "none" if value is None else str(value)
        # 'none' as the contact holds for the contacts known now, so setting it once more says something new.
        if wish.field != CONTACT and self._edited.get((mn_id, wish.field)) == recorded and wish.note is None:
            return self._ruling(wish, "unchanged", mn_id, wish.field, f"{words}: a person set it so before")
        action = {
            "action": EDIT,
            "year": self._program.year,
            "mn_id": mn_id,
            "field": wish.field,
            "value": recorded,
            "note": wish.note,
        }
        return self._ruling(wish, "accepted", mn_id, wish.field, words, action)

    def _ruling(
        self,
        wish: Wish,
        state: Literal["accepted", "unchanged", "refused"],
        mn_id: str | None,
        about: str,
        words: str,
        action: dict[str, Any] | None = None,
    ) -> Ruling:
        return Ruling(wish, state, mn_id, self._names.get(mn_id, "") if mn_id else "", about, words, action)

    # -- what it is about --------------------------------------------------------------------------------------------

    def _conflict(self, asked: str) -> dict[str, Any] | None:
        """The one conflict whose id is, or begins with, what was asked for."""
        begins = asked.strip().removeprefix("conflict-")
        if len(begins) < SHORTEST_CONFLICT_ID:  # a slip of the finger is not to decide something else
            return None
        found = self._conflicts.filter(pl.col("id").str.starts_with(f"conflict-{begins}"))
        return found.row(0, named=True) if found.height == 1 else None

    def _is_decided_so(self, wish: Decision, conflict: Mapping[str, Any]) -> bool:
        if conflict["status"] not in DECIDED or wish.choice != (conflict["user_decision"] or "skip"):
            return False
        if wish.choice != "custom":
            return True
        try:
            decided: str | None = conflict["custom_value"]
            return decided == str(self._custom_value(conflict, wish.custom_value or ""))
        except DecisionRefusedError:
            return False

    def _custom_value(self, conflict: Mapping[str, Any], typed: str) -> str | int:
        """The value to record for what a person typed instead of the options; a contact, a phone or an e-mail."""
        field = orjson.loads(conflict["context"] or "{}").get("field") or FIELDS.get(conflict["conflict_type"])
        if field is None:
            msg = f"Conflict {conflict['id']} can only be decided with a, b or skip. Nothing was written."
            raise DecisionRefusedError(msg)
        value = read_value(field, typed, self._program)
        if value is None and field != CONTACT:
            msg = f"{typed!r} is no {field}. Conflict {conflict['id']} is left pending, nothing was written."
            raise DecisionRefusedError(msg)
        return NOTHING if value is None else value

    def _refuse_another_mentor(self, conflict: Mapping[str, Any], told: str) -> None:
        """Refuse a row of a spreadsheet whose cells are of two conflicts, as after sorting some columns only."""
        try:
            whose = present_id(told, self._mentors, self._aliases, self._program)
        except MentorPipelineError:
            whose = ""
        if whose != conflict["mn_id"]:
            msg = (
                f"The row says mentor {told}, but its conflict is that of mentor {conflict['mn_id']}, "
                f"{self._names.get(conflict['mn_id'])}: were only some of the columns sorted? Nothing was written. "
                "Export the sheet anew, and decide there."
            )
            raise DecisionRefusedError(msg)

    def _take(self, contact_id: int, mn_id: str, row: int | None = None) -> None:
        """Note that a contact is a mentor's from now on.

        Raises:
            DecisionRefusedError: it is unknown, archived, gone, or somebody else's.
        """
        rows = self._contacts.filter(contact_id=contact_id).to_dicts()
        why = self._why_not(contact_id, rows[0] if rows else None, mn_id)
        if why:
            msg = f"Contact {contact_id} cannot be mentor {mn_id}'s: {why}. Nothing was written."
            raise DecisionRefusedError(msg)
        self._whose[contact_id] = mn_id
        self._taken_here[contact_id] = row

    def _why_not(self, contact_id: int, contact: Mapping[str, Any] | None, mn_id: str) -> str | None:
        if contact is None:
            return "no such contact is known (import a new export, or run `sync`, if it is new)"
        if contact["archived_at"] is not None:
            return "it is archived; restore it in Givebutter first"
        if contact["missing_since"] is not None:
            return "it is no longer in Givebutter"
        carrier = self._mentor_of.get(contact["external_mn_id"]) if contact["external_mn_id"] else None
        if carrier is not None and carrier != mn_id:
            return f"it carries the External ID of mentor {carrier}, {self._names.get(carrier)}"
        owner = self._whose.get(contact_id, mn_id)
        return None if owner == mn_id else self._given(contact_id, owner)

    def _given(self, contact_id: int, owner: str) -> str:
        """That a contact is another mentor's, and what to do."""
        if contact_id in self._taken_here:
            row = self._taken_here[contact_id]
            given = f"row {row} gives it" if row is not None else "it is given here"
            return f"{given} to mentor {owner}, {self._names.get(owner)}; choose another for one of the two"
        return (
            f"it is mentor {owner}'s, {self._names.get(owner)}; if that is wrong, first "
            f"`mentor-pipeline edit {owner} gb_contact_id none`"
        )

    def _in_words(self, value: Mapping[str, Any], conflict: Mapping[str, Any], choice: str) -> str:
        """What a decision means, for people."""
        if choice == "skip":
            return "left as it is, not asked again"
        option = orjson.loads(conflict[f"option_{choice}"]) if choice in {"a", "b"} else {}
        if "what" in option:
            return str(option["what"])
        is_contact = conflict["conflict_type"] in CONTACT_CONFLICTS and str(value["value"]).isdecimal()
        return self._contact(int(value["value"])) if is_contact else str(value["value"])

    def _contact(self, contact_id: int) -> str:
        rows = self._contacts.filter(contact_id=contact_id).to_dicts()
        name = " ".join(filter(None, (rows[0]["first_name"], rows[0]["last_name"]))) if rows else ""
        return f"contact {contact_id} ({name or 'no name'})"


def refuse_if_any(rulings: Sequence[Ruling]) -> None:
    """Refuse everything when anything was refused: a batch is recorded whole or not at all.

    Raises:
        DecisionRefusedError: naming each refusal.
    """
    refused = [ruling for ruling in rulings if ruling.state == "refused"]
    if not refused:
        return
    if len(rulings) == 1:
        place = _place(refused[0])
        raise DecisionRefusedError(f"{place}: {refused[0].words}" if place else refused[0].words)
    named = "\n".join(f"  {_place(ruling) or _subject(ruling.wish)}: {ruling.words}" for ruling in refused)
    msg = (
        f"{len(refused)} of {len(rulings)} cannot be done, so nothing was written. Correct these or leave them out:\n"
        f"{named}"
    )
    raise DecisionRefusedError(msg)


def action_rows(rulings: Iterable[Ruling], *, actor: str, at: datetime) -> pl.DataFrame:
    """Rows of `operator_actions` of what was accepted; their ids follow their order."""
    rows = [
        {"id": f"{at:%Y%m%dT%H%M%S.%f}Z-{number:05d}", "at": at, "actor": actor, **ruling.action}
        for number, ruling in enumerate(rulings)
        if ruling.action is not None
    ]
    table = TABLES[ACTIONS]
    return table.conform(pl.DataFrame(rows, schema=table.schema)) if rows else table.empty()


def _place(ruling: Ruling) -> str:
    """Where a decision stands in its spreadsheet, and about whom; nothing for one that comes from none."""
    row = ruling.wish.row if isinstance(ruling.wish, Decision) else None
    about = f", {ruling.about} of mentor {ruling.mn_id} {ruling.full_name}".rstrip() if ruling.mn_id else ""
    return "" if row is None else f"row {row}{about}"


def _subject(wish: Wish) -> str:
    return wish.conflict_id if isinstance(wish, Decision) else f"mentor {wish.mn_id}, {wish.field}"
