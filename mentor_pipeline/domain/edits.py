"""What a person may set of a mentor, and how what they typed is read (R1, R6).

An edit outranks every source, so an impossible one is refused here, before it is recorded. What recorded edits do is
in `merge` and `mentors`; the contact link is decided in `matching`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mentor_pipeline.domain.names import is_title
from mentor_pipeline.domain.normalise import clean_text, is_school_email, normalise_email, normalise_phone
from mentor_pipeline.errors import DecisionRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mentor_pipeline.settings import ProgramYear

CONTACT: Final = "gb_contact_id"
NOTHING: Final = "none"
"""What to type to empty a field."""
_YES: Final = frozenset({"yes", "y", "true", "1", "done"})
_NO: Final = frozenset({"no", "n", "false", "0"})


def _mark(typed: str, _: ProgramYear) -> bool:
    word = typed.casefold()
    if word not in _YES | _NO:
        msg = "expected yes or no"
        raise ValueError(msg)
    return word in _YES


def _moment(typed: str, program: ProgramYear) -> str:
    try:
        moment = datetime.fromisoformat(typed)
    except ValueError:
        msg = f"expected a time such as 2025-10-28T18:30 (in {program.zone.key}, unless it names another zone)"
        raise ValueError(msg) from None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=program.zone)
    return zoned.astimezone(UTC).isoformat()


def _phone(typed: str, _: ProgramYear) -> str:
    phone = normalise_phone(typed)
    if phone.e164 is None:
        msg = "expected one phone number"
        raise ValueError(msg)
    return phone.e164


def _email(typed: str, _: ProgramYear) -> str:
    email = normalise_email(typed)
    if email is None:
        msg = "expected one e-mail address"
        raise ValueError(msg)
    return email


def _personal_email(typed: str, program: ProgramYear) -> str:
    email = _email(typed, program)
    if is_school_email(email, program.givebutter.school_domains):
        msg = "a school address is never the personal one: set uga_email"
        raise ValueError(msg)
    return email


def _school_email(typed: str, program: ProgramYear) -> str:
    email = _email(typed, program)
    if not is_school_email(email, program.givebutter.school_domains):
        msg = f"expected an address on {' or '.join(program.givebutter.school_domains)}"
        raise ValueError(msg)
    return email


def _preferred_name(typed: str, _: ProgramYear) -> str:
    if is_title(typed):
        msg = "a title is no name"
        raise ValueError(msg)
    return typed


def _text(typed: str, _: ProgramYear) -> str:
    return typed


def _choice(field: str) -> Callable[[str, ProgramYear], str]:
    """One of the options of the custom field that the column fills, where it fills one."""

    def read(typed: str, program: ProgramYear) -> str:
        label = program.custom_field_from(field)
        options = program.custom_fields[label].options if label else []
        meant = {option.casefold(): option for option in options}.get(typed.casefold())
        if options and meant is None:
            msg = f"expected one of: {', '.join(options)}"
            raise ValueError(msg)
        return meant or typed

    return read


def _contact_id(typed: str, _: ProgramYear) -> int:
    if not (typed.isascii() and typed.isdecimal()):
        msg = f"expected the number of a contact, or {NOTHING}"
        raise ValueError(msg)
    return int(typed)


_READERS: Final[dict[str, Callable[[str, ProgramYear], Any]]] = {
    "training_done": _mark,
    "training_at": _moment,
    "fundraised_done": _mark,
    "fundraised_at": _moment,
    "notes": _text,
    "shift_preference": _choice("shift_preference"),
    "partner_phone": _phone,
    "preferred_name": _preferred_name,
    "phone": _phone,
    "personal_email": _personal_email,
    "uga_email": _school_email,
    "uga_class": _choice("uga_class"),
    "shirt_size": _choice("shirt_size"),
    "dropped": _mark,
    CONTACT: _contact_id,
}
FIELDS: Final = tuple(_READERS)
"""What a person may set."""
_NEVER_EMPTY: Final = ("training_done", "fundraised_done", "dropped", "preferred_name")


def read_value(field: str, typed: str, program: ProgramYear) -> Any:
    """The value to record for what a person typed; None for `none`, which empties the field.

    Times are ISO 8601 in UTC, marks booleans, a contact a number, all else text in its normal form.

    Raises:
        DecisionRefusedError: no such field, or no such value; what was expected is in the message.
    """
    if field not in _READERS:
        msg = f"{field!r} cannot be edited. Fields are: {', '.join(FIELDS)}. Nothing was written."
        raise DecisionRefusedError(msg)
    text = clean_text(typed)
    is_nothing = text is None or text.casefold() == NOTHING
    try:
        if not is_nothing:
            return _READERS[field](typed.strip() if field == "notes" else str(text), program)
        if text is None or field in _NEVER_EMPTY:
            _refuse_empty(field)
    except ValueError as error:
        msg = f"{typed!r} cannot be the {field}: {error}. Nothing was written."
        raise DecisionRefusedError(msg) from error
    return None


def _refuse_empty(field: str) -> None:
    expected = "a value" if field in _NEVER_EMPTY else f"a value, or {NOTHING} to empty it"
    msg = f"expected {expected}"
    raise ValueError(msg)
