"""Whose value wins where the forms and Givebutter differ: the three-way merge (R6).

For each field that both sides hold, `merge_base` keeps how the two stood when they were last settled; only a side that
moved away from there has made an edit. One side's edit is taken by the field's rule, two different ones become a
conflict or follow the rule, and what people edited here is folded in last, so that no sync writes over it. Which
contact is the mentor's is decided in `matching`. The fields are merged value by value in Python: a thousand mentors,
and every field has a rule of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.findings import Conflict, Problem
from mentor_pipeline.domain.import_cells import shown_name, unharmed
from mentor_pipeline.domain.import_format import PREFIX_LIMIT, TEXT_LIMIT
from mentor_pipeline.domain.names import is_title
from mentor_pipeline.domain.normalise import clean_text, is_school_email
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

CONTACT_COLUMNS: Final = (
    "contact_id",
    "prefix",
    "first_name",
    "preferred_name",
    "middle_name",
    "last_name",
    "gender",
    "primary_email",
    "emails",
    "phones",
    "tags",
    "custom_fields",
    "last_modified_at",
)
"""Columns of `raw_gb_full_contacts` that merging reads."""

FIELDS: Final = (
    "first_name",
    "middle_name",
    "last_name",
    "gender",
    "shirt_size",
    "phone",
    "personal_email",
    "uga_email",
    "preferred_name",
    "shift_preference",
)
"""Fields that both sides hold. The others have one owner and need no merging."""

SIGNUP_WINS_AFTER: Final = timedelta(days=30)
"""A sign-up that is more than this newer than the contact has the say on the phone."""

_JOTFORM_ONLY: Final = frozenset({"first_name", "middle_name", "last_name", "gender", "shirt_size"})
_ASKED: Final = frozenset({"phone", "personal_email", "uga_email"})
"""Fields of which two different edits are a person's to decide."""
_LABELS: Final = {
    "phone": "phone",
    "personal_email": "personal e-mail",
    "uga_email": "school e-mail",
    "preferred_name": "preferred name",
    "shift_preference": "shift preference",
    "first_name": "first name",
    "middle_name": "middle name",
    "last_name": "last name",
    "shirt_size": "shirt size",
}
_FREE_TEXTS: Final = ("prefix", "first_name", "preferred_name", "middle_name", "last_name")
_SOURCE: Final = "mentors"

Row = dict[str, Any]
How = Literal["equal", "first_sight", "asked", "stale", "taken", "set"]
"""How a field was settled: both hold it; ours stands at first sight, without a question, with one, or with one because
both are old; Givebutter's edit was taken; a person set it here."""


class Merged(NamedTuple):
    """What merging returns.

    Attributes:
        values: mn_id and `FIELDS`: what stands.
        base: rows of `merge_base`, all of the year.
        problems: Givebutter's edits that were not taken.
        conflicts: what a person must decide.
    """

    values: pl.DataFrame
    base: pl.DataFrame
    problems: list[Problem]
    conflicts: list[Conflict]


class _Base(NamedTuple):
    """How both sides stood when they were last settled."""

    contact_id: int
    value: str | None
    ours: str | None
    theirs: str | None
    how: How
    settled_at: datetime


class _Word(NamedTuple):
    """What a person set here: it stands whatever the two sides say."""

    value: str | None
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class _Case:
    """One field of one mentor, as both sides have it now.

    Attributes:
        ours: what the forms say.
        held: what the contact holds of this kind, primary first; a title is no name.
        base: the last settlement with this contact, if there is one.
        claim: what our side says: the forms' value where it moved, else what stood.
        from_partner_form: `ours` is the partner form's.
        signed_at: the sign-up's last change.
        modified_at: the contact's.
        stale_before: what was said before this time is stale (`stale_days`).
    """

    field: str
    ours: str | None
    held: tuple[str, ...]
    base: _Base | None
    claim: str | None
    from_partner_form: bool
    signed_at: datetime
    modified_at: datetime | None
    stale_before: datetime

    @property
    def agrees(self) -> bool:
        return self.claim is not None and self.holds(self.claim)

    def holds(self, value: str) -> bool:
        """True when Givebutter holds the value, a preferred name as it was cut to fit: by us at a word, or by it."""
        if value in self.held or self.field != "preferred_name":
            return value in self.held
        cut = (one for limit in (PREFIX_LIMIT, TEXT_LIMIT) for one in (shown_name(value, limit), value[:limit]))
        return not set(self.held).isdisjoint(cut)

    @property
    def ours_moved(self) -> bool:
        return self.base is not None and self.ours is not None and self.ours != self.base.ours

    @property
    def theirs_moved(self) -> bool:
        """Givebutter was edited: what it held is gone, and something new is there. A blank is no edit."""
        return self.base is not None and bool(self.held) and self.base.theirs not in self.held

    @property
    def is_taken(self) -> bool:
        """What stands is still Givebutter's edit: the forms did not move since it was taken."""
        return self.base is not None and self.base.how == "taken" and not self.ours_moved

    @property
    def contact_is_newer(self) -> bool:
        return self.modified_at is not None and self.modified_at > self.signed_at

    @property
    def both_are_stale(self) -> bool:
        return max(self.signed_at, self.modified_at or self.signed_at) < self.stale_before


Finding = Literal["conflict", "stale", "edit_ignored"]
_QUESTIONS: Final[Mapping[How, Finding]] = {"asked": "conflict", "stale": "stale"}
"""What first sight asked about is asked until it is decided or a side moves; who touched what else does not matter."""


class _Outcome(NamedTuple):
    """What stands; `how` is None while nothing is settled; `finding` is what to tell of it."""

    value: str | None
    how: How | None
    finding: Finding | None = None


def merge(
    ours: pl.DataFrame,
    contacts: pl.DataFrame,
    base: pl.DataFrame,
    edits: pl.DataFrame,
    program: ProgramYear,
    now: datetime,
) -> Merged:
    """Merge the forms' values with those of each mentor's contact (R6).

    Args:
        ours: mn_id, full_name, gb_contact_id (null when none), signed_at, `FIELDS` as the forms have them, and
            from_partner_form (the shift preference is the partner form's).
        contacts: `CONTACT_COLUMNS` of at least the mentors' contacts.
        base: rows of `merge_base` of the year, under present ids.
        edits: what people set, as `decisions.edits` gives it; it outranks both sides.
        program: the year.
        now: when a settlement is recorded.
    """
    theirs = (
        contacts.select(CONTACT_COLUMNS)
        .join(ours, left_on="contact_id", right_on="gb_contact_id", how="semi")
        .with_columns(unharmed(pl.col(name)) for name in _FREE_TEXTS)  # what we sent, not an edit of theirs
    )
    by_id = {row["contact_id"]: row for row in theirs.iter_rows(named=True)}
    settled = {(row["mn_id"], row["field_name"]): row for row in base.iter_rows(named=True)}
    words = {
        (row["mn_id"], row["field_name"]): _Word(orjson.loads(row["value"]), row["at"], row["actor"])
        for row in edits.filter(pl.col("field_name").is_in(FIELDS)).iter_rows(named=True)
    }
    values: list[Row] = []
    new_base: list[Row] = []
    problems: list[Problem] = []
    conflicts: list[Conflict] = []
    for mentor in ours.iter_rows(named=True):
        mn_id = mentor["mn_id"]
        contact = by_id.get(mentor["gb_contact_id"])
        row: Row = {"mn_id": mn_id}
        for field in FIELDS:
            stored = settled.get((mn_id, field))
            before = _Base(*(stored[name] for name in _Base._fields)) if stored else None
            case = _case(field, mentor, contact, before, program, now)
            word = words.get((mn_id, field))
            value, after = word.value if word else case.claim, before
            if contact and word:
                after = _kept_time(_with_word(case, word, before, contact["contact_id"], now), before)
                _tell_beside_word(case, word, after, mentor, contact, problems, conflicts)
            elif contact:
                outcome = _merged(case)
                value, after = outcome.value, _settle(case, outcome, before, contact["contact_id"], now)
                _tell(case, outcome, mentor, contact, problems, conflicts)
            row[field] = value
            if after:
                new_base.append({"year": program.year, "mn_id": mn_id, "field_name": field, **after._asdict()})
        values.append(row)
    return Merged(
        pl.DataFrame(values, schema={"mn_id": pl.String(), **dict.fromkeys(FIELDS, pl.String())}),
        TABLES["merge_base"].conform(pl.DataFrame(new_base, schema=TABLES["merge_base"].schema, orient="row")),
        problems,
        conflicts,
    )


def _case(
    field: str, mentor: Row, contact: Row | None, before: _Base | None, program: ProgramYear, now: datetime
) -> _Case:
    ours = mentor[field]
    moved = before is None or (ours is not None and ours != before.ours)
    return _Case(
        field=field,
        ours=ours,
        held=_held(field, contact, program) if contact else (),
        base=before if before and contact and before.contact_id == contact["contact_id"] else None,
        claim=ours if moved or before is None else before.value,
        from_partner_form=bool(mentor["from_partner_form"]),
        signed_at=mentor["signed_at"],
        modified_at=contact["last_modified_at"] if contact else None,
        stale_before=now - timedelta(days=program.matching.stale_days),
    )


def _held(field: str, contact: Row, program: ProgramYear) -> tuple[str, ...]:
    """What the contact holds of a field; several values, primary first, of phones and e-mails."""
    domains = program.givebutter.school_domains
    value: str | None
    match field:
        case "phone":
            return tuple(contact["phones"] or ())
        case "personal_email":
            return tuple(email for email in contact["emails"] or () if not is_school_email(email, domains))
        case "uga_email":
            return tuple(email for email in contact["emails"] or () if is_school_email(email, domains))
        case "preferred_name":
            at = "prefix" if program.givebutter.preferred_name_field == "prefix" else "preferred_name"
            value = None if is_title(contact[at]) else clean_text(contact[at])
        case "shift_preference" | "shirt_size":
            label = program.custom_field_from(field)
            value = orjson.loads(contact["custom_fields"] or "{}").get(label) if label else None
        case _:
            value = clean_text(contact[field])
    return (value,) if value else ()


def _merged(case: _Case) -> _Outcome:
    """What stands of one field, leaving aside what people edited."""
    if case.agrees:
        return _Outcome(case.claim, "taken" if case.is_taken else "equal")
    if case.base is None:
        return _at_first_sight(case)
    if not case.theirs_moved:
        is_open = case.held and not case.ours_moved
        return _Outcome(case.claim, None, _QUESTIONS.get(case.base.how) if is_open else None)
    return _RULES[case.field](case)


def _at_first_sight(case: _Case) -> _Outcome:
    """No settlement with this contact yet: the owner's value, and Givebutter's where we have none."""
    theirs = case.held[0] if case.held else None
    if case.field in _JOTFORM_ONLY or theirs is None:
        return _Outcome(case.claim, "first_sight")
    if case.field == "shift_preference" and not case.from_partner_form:
        return _Outcome(theirs, "taken")
    if case.field == "phone" and case.claim is None:
        return _Outcome(None, "first_sight")
    if case.claim is None:
        return _Outcome(theirs, "taken")
    if case.field in _ASKED and (case.contact_is_newer or case.both_are_stale):
        how: Literal["asked", "stale"] = "asked" if case.contact_is_newer else "stale"
        return _Outcome(case.claim, how, _QUESTIONS[how])
    return _Outcome(case.claim, "first_sight")


# -- Givebutter was edited since both were settled: one rule a field ------------------------------------------------


def _ours_only(case: _Case) -> _Outcome:
    return _Outcome(case.claim, None, "edit_ignored")


def _phone(case: _Case) -> _Outcome:
    newer = case.modified_at is not None and case.signed_at - case.modified_at > SIGNUP_WINS_AFTER
    return _Outcome(case.claim, None, None if newer else "conflict")


def _email(case: _Case) -> _Outcome:
    return _Outcome(case.claim, None, "conflict") if case.ours_moved else _Outcome(case.held[0], "taken")


def _preferred_name(case: _Case) -> _Outcome:
    return _Outcome(case.held[0], "taken")


def _shift(case: _Case) -> _Outcome:
    if case.ours_moved and case.from_partner_form:
        return _Outcome(case.claim, None)
    return _Outcome(case.held[0], "taken")


_RULES: Final[Mapping[str, Callable[[_Case], _Outcome]]] = {
    **dict.fromkeys(_JOTFORM_ONLY, _ours_only),
    "phone": _phone,
    "personal_email": _email,
    "uga_email": _email,
    "preferred_name": _preferred_name,
    "shift_preference": _shift,
}


def _settle(case: _Case, outcome: _Outcome, before: _Base | None, contact_id: int, now: datetime) -> _Base | None:
    """The settlement after this run; the one before while nothing new is settled."""
    if outcome.how is None:
        return before
    theirs = outcome.value if outcome.how in {"equal", "taken"} else (case.held[0] if case.held else None)
    if outcome.how == "equal" and theirs not in case.held:  # a preferred name that was cut to fit
        theirs = case.held[0]
    # An answer taken off the form is no edit, and neither is the same one when it is back.
    ours = before.ours if case.ours is None and before is not None else case.ours
    return _kept_time(_Base(contact_id, outcome.value, ours, theirs, outcome.how, now), before)


def _with_word(case: _Case, word: _Word, before: _Base | None, contact_id: int, now: datetime) -> _Base:
    """A person's word settles the field: what either side said before it is answered, what it says later is an edit."""
    is_news = before is None or word.at > before.settled_at
    ours = case.ours if before is None or is_news else before.ours
    held = case.held[0] if case.held else None
    if word.value is not None and case.holds(word.value):
        return _Base(contact_id, word.value, ours, word.value if word.value in case.held else held, "equal", now)
    if case.base is None or is_news:
        return _Base(contact_id, word.value, ours, held, "set", now)
    return case.base


def _kept_time(after: _Base, before: _Base | None) -> _Base:
    """A settlement that says the same as before keeps its time."""
    if before is not None and after._replace(settled_at=before.settled_at) == before:
        return before
    return after


# -- what to tell -----------------------------------------------------------------------------------------------------


def _tell(
    case: _Case, outcome: _Outcome, mentor: Row, contact: Row, problems: list[Problem], conflicts: list[Conflict]
) -> None:
    label = _LABELS.get(case.field, case.field)
    if outcome.finding in {"conflict", "stale"}:
        conflicts.append(_conflict(case, mentor, contact, label, is_stale=outcome.finding == "stale"))
    elif outcome.finding == "edit_ignored":
        problems.append(
            Problem(
                "givebutter_edit_ignored",
                f"{mentor['full_name']} ({mentor['mn_id']}): someone changed the {label} in Givebutter to "
                f"{case.held[0]!r}. The form says {case.claim!r}: that is kept, and the next import restores it. If "
                "Givebutter is right, correct the sign-up form.",
                mn_id=mentor["mn_id"],
                source_table=_SOURCE,
                field_name=case.field,
                current_value=case.held[0],
                suggested_value=case.claim,
                context={"contact_id": contact["contact_id"]},
            )
        )


def _tell_beside_word(
    case: _Case, word: _Word, base: _Base, mentor: Row, contact: Row, problems: list[Problem], conflicts: list[Conflict]
) -> None:
    """What either side said after a person had set the field: Givebutter's phones and e-mails are asked about."""
    label = _LABELS.get(case.field, case.field)
    if case.ours is not None and case.ours not in {base.ours, word.value}:
        problems.append(_overruled(case, word, case.ours, "form", mentor, contact, label))
    if not case.held or base.theirs in case.held:
        return
    if case.field in _ASKED:
        conflicts.append(_conflict(case, mentor, contact, label, word=word))
    else:
        problems.append(_overruled(case, word, case.held[0], "givebutter", mentor, contact, label))


def _overruled(
    case: _Case,
    word: _Word,
    value: str,
    where: Literal["form", "givebutter"],
    mentor: Row,
    contact: Row,
    label: str,
) -> Problem:
    says = f"the form now says the {label} is" if where == "form" else f"Givebutter now holds the {label}"
    return Problem(
        f"{where}_edit_overruled",
        f"{mentor['full_name']} ({mentor['mn_id']}): {says} {value!r}, but {word.actor} set {word.value!r} here: "
        f"that stays, and is what the next import sends. If {value!r} is right: mentor-pipeline edit "
        f"{mentor['mn_id']} {case.field} {value!r}.",
        mn_id=mentor["mn_id"],
        source_table=_SOURCE,
        field_name=case.field,
        current_value=value,
        suggested_value=word.value,
        context={"contact_id": contact["contact_id"]},
    )


def _conflict(
    case: _Case, mentor: Row, contact: Row, label: str, *, is_stale: bool = False, word: _Word | None = None
) -> Conflict:
    """Both values with what a person needs to choose; ours, or a person's word, stays until decided."""
    recommended: Literal["a", "b"] = "a"
    if word is not None:
        recommended = "b"
        reason = f"The {label} was changed in Givebutter after {word.actor} had set it here."
    elif is_stale:
        reason = f"Both are old, and nobody knows which {label} is still right; the form's is the newer one."
    elif case.base is None or (case.base.how == "asked" and not case.theirs_moved):
        reason = f"The mentor typed this {label} on the form; nobody knows who put the other one into Givebutter."
    elif case.ours_moved and not case.contact_is_newer:
        reason = "Both sides were changed; the form's change is the newer one."
    else:
        recommended = "b"
        reason = (
            "Both sides were changed; Givebutter's change is the newer one."
            if case.ours_moved
            else (f"The {label} was changed in Givebutter after both sides had agreed; the form did not change.")
        )
    name = " ".join(filter(None, (contact["first_name"], contact["last_name"])))
    return Conflict(
        mn_id=mentor["mn_id"],
        conflict_type=(
            "data_staleness" if is_stale else "phone_mismatch" if case.field == "phone" else "email_mismatch"
        ),
        option_a={
            "value": word.value if word else case.claim,
            "source": f"{word.actor}, here" if word else "Jotform",
            "name": mentor["full_name"],
            "changed_at": word.at if word else case.signed_at,
        },
        option_b={
            "value": case.held[0],
            "source": f"Givebutter contact {contact['contact_id']}",
            "name": name,
            "emails": contact["emails"],
            "phones": contact["phones"],
            "tags": contact["tags"],
            "last_modified_at": case.modified_at,
        },
        source_table=_SOURCE,
        context={"field": case.field, "contact_id": contact["contact_id"]},
        recommended_option=recommended,
        recommendation_reason=reason,
        severity="low" if is_stale else "medium",
    )
