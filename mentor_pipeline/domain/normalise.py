"""Normalising phones, e-mails, mentor ids and text (R1).

The library that knows the matter (phonenumbers, email-validator) reads one value at a time. What nearly everybody
types is read by a pattern, several times faster and with the same result, and whole columns have a vectorised path for
values that are plain already; everything else of a column is read once per distinct value. Comparing names is in
`names`. No rule here looks at more than the value itself.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import phonenumbers

REGION: Final = "US"
FIRST_PLACEHOLDER: Final = 999001

_LONGEST_PHONE: Final = 100
"""Characters of a phone's text that are read; a cell may hold a whole document by mistake."""
_PLAIN_PHONE: Final = r"^\+1[2-9][0-9]{9}$"
_PLAIN_EMAIL: Final = r"^[a-z0-9]+(?:[._+-][a-z0-9]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,}$"
_PLAIN_EMAIL_OF_ONE: Final = re.compile(_PLAIN_EMAIL[1:-1])
_LONGEST_PLAIN_EMAIL: Final = 64
"""Characters up to which no part of an address can break a length limit."""
_ORDINARY_US_PHONE: Final = re.compile(
    r"(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-]?)[0-9]{3}[ .-]?[0-9]{4}"
)
_SPREADSHEET_DECIMALS: Final = re.compile(r"(?<=\d{7})\.0+$")
"""Of a number that a spreadsheet took for a sum; not the last four digits of 706.555.0000."""
_MN_ID: Final = re.compile(
    r"[\s#\u2010-\u2015-]*(?:mn)?[\s#\u2010-\u2015-]*([0-9]+)[\s#\u2010-\u2015-]*", re.IGNORECASE
)
_US_NUMBER: Final = re.compile(r"(?:\+?1[ .-]*)?\(?[2-9]\d\d\)?[ .-]*\d{3}[ .-]*\d{4}(?!\d)")
_PHONE_MARGIN: Final = re.compile(r"[\s()+.,;:/-]|tel:|phone:", re.IGNORECASE)


class Phone(NamedTuple):
    """A phone as understood.

    Attributes:
        e164: the number, or None when there is none.
        fault: None, `invalid_phone` (no number in the text) or `unusual_value` (a number was taken, look at it).
        note: why, in words.
    """

    e164: str | None
    fault: Literal["invalid_phone", "unusual_value"] | None = None
    note: str = ""


def clean_text(text: str | None) -> str | None:
    """Trim and collapse white space; nothing left is None."""
    return " ".join(text.split()) or None if text else None


@lru_cache(maxsize=100_000)
def normalise_phone(text: str | None) -> Phone:
    """Read a phone as a person typed it (R1).

    A possible number is accepted, also when it is not valid (documentation ranges). Letters never become digits; of
    several numbers the first is taken. Numbers without + are read as US numbers.
    """
    import phonenumbers

    typed = clean_text(text)
    if typed is None:
        return Phone(None)
    if _ORDINARY_US_PHONE.fullmatch(typed):
        digits = "".join(filter(str.isdigit, typed))[-10:]
        return _in_use(f"+1{digits}", phonenumbers.PhoneNumber(country_code=1, national_number=int(digits)))
    return phone_by_library(typed)


def phone_by_library(typed: str) -> Phone:
    """What `normalise_phone` does with a trimmed text that is in no ordinary spelling; slower, and right for all."""
    import phonenumbers

    shown = typed if len(typed) <= _LONGEST_PHONE else f"{typed[:_LONGEST_PHONE]} …"
    readable = _SPREADSHEET_DECIMALS.sub("", typed[:_LONGEST_PHONE])
    matches = _numbers_in(readable)
    if not matches and (first := _US_NUMBER.match(readable)):  # digits that run on: a second number, a date
        matches = _numbers_in(first[0])
    if not matches:
        return Phone(None, "invalid_phone", f"{shown!r} holds no phone number")
    number = matches[0].number
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len({(match.number.country_code, match.number.national_number) for match in matches}) > 1:
        return Phone(e164, "unusual_value", f"{shown!r} holds several numbers; the first was taken")
    rest = readable.replace(matches[0].raw_string, "", 1)
    if number.extension or readable != typed or _PHONE_MARGIN.sub("", rest):
        return Phone(e164, "unusual_value", f"{shown!r} holds more than a number; {e164} was taken")
    return _in_use(e164, number)


def _in_use(e164: str, number: phonenumbers.PhoneNumber) -> Phone:
    import phonenumbers

    if not phonenumbers.is_valid_number(number):
        return Phone(e164, "unusual_value", f"{e164} is a possible number, but no such range is in use")
    return Phone(e164)


def _numbers_in(text: str) -> list[phonenumbers.PhoneNumberMatch]:
    """The possible numbers of a text, in their order; a number without its area is none."""
    import phonenumbers

    return [
        match
        for match in phonenumbers.PhoneNumberMatcher(text, REGION, leniency=phonenumbers.Leniency.POSSIBLE)
        if phonenumbers.is_possible_number_with_reason(match.number) == phonenumbers.ValidationResult.IS_POSSIBLE
    ]


@lru_cache(maxsize=100_000)
def normalise_email(text: str | None) -> str | None:
    """Trim, lower-case and check the syntax of one address (R1); None when it is no address. No network."""
    typed = clean_text(text)
    if typed is None:
        return None
    address = typed.lower()
    return address if _is_plain_email(address) else email_by_library(typed)


def email_by_library(typed: str) -> str | None:
    """What `normalise_email` does with a trimmed text that is no plain address; slower, and right for all."""
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(typed, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        return None


def normalise_mn_id(text: str | None, prefix: str = "") -> str | None:
    """Read a mentor id: prefix, `MN`, spaces, dashes and # go; the digits stay, with their zeros (R1).

    Returns:
        The digits as text, or None when the text is no mentor id.
    """
    typed = clean_text(text)
    if typed is None:
        return None
    typed = unicodedata.normalize("NFKC", typed)
    if prefix and typed.casefold().startswith(prefix.casefold()):
        typed = typed[len(prefix) :]
    match = _MN_ID.fullmatch(typed)
    return match[1] if match else None


def comparable_mn_id(mn_id: str) -> str:
    """A mentor id as it is compared: without leading zeros (R1)."""
    return mn_id.lstrip("0") or "0"


def comparable_mn_ids(column: str) -> pl.Expr:
    """A column of mentor ids as they are compared. Same values as `comparable_mn_id`."""
    bare = pl.col(column).str.strip_chars_start("0")
    return pl.when(bare == "").then(pl.lit("0")).otherwise(bare)


def is_school_email(email: str, school_domains: Sequence[str]) -> bool:
    """True when the address is on a school domain or below one."""
    domain = email.rpartition("@")[2].lower()
    return any(domain == school.lower() or domain.endswith(f".{school.lower()}") for school in school_domains)


def phones(values: pl.Series) -> pl.Series:
    """E.164 of a whole column; null where there is no number. Same values as `normalise_phone`."""
    return _column(
        values, values.str.contains(_PLAIN_PHONE), lambda odd: _each(odd, lambda text: normalise_phone(text).e164)
    )


def emails(values: pl.Series) -> pl.Series:
    """Addresses of a whole column; null where there is none. Same values as `normalise_email`."""
    return _column(values, _are_plain_emails(values), _odd_emails)


def _is_plain_email(address: str) -> bool:
    if len(address) > _LONGEST_PLAIN_EMAIL or not _PLAIN_EMAIL_OF_ONE.fullmatch(address):
        return False
    return not re.search(_special_domains(), address)


@cache
def _special_domains() -> str:
    """A pattern of the addresses that email-validator refuses because no mail can go there."""
    from email_validator import SPECIAL_USE_DOMAIN_NAMES

    return rf"\.(?:{'|'.join(SPECIAL_USE_DOMAIN_NAMES)})$"


def _are_plain_emails(values: pl.Series) -> pl.Series:
    text = pl.col(values.name)
    is_short = text.str.len_bytes() <= _LONGEST_PLAIN_EMAIL
    is_special = text.str.contains(_special_domains())
    is_plain = text.str.contains(_PLAIN_EMAIL) & is_short & ~is_special
    return values.to_frame().select(is_plain).to_series()


def _odd_emails(values: pl.Series) -> pl.Series:
    """Most are plain but for capitals or spaces; the others are read as they were typed."""
    lower = values.str.strip_chars().str.to_lowercase()
    others = (~_are_plain_emails(lower)).arg_true()
    return lower.scatter(others, _each(values.gather(others), normalise_email))


def _column(values: pl.Series, is_plain: pl.Series, others: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Leave plain values as they are; send the other distinct values through `others`."""
    odd = values.filter(~is_plain).drop_nulls().unique()
    if odd.is_empty():
        return values
    replaced = values.replace_strict(odd, others(odd), default=None)
    return pl.select(pl.when(is_plain).then(values).otherwise(replaced)).to_series().alias(values.name)


def _each(values: pl.Series, one: Callable[[str | None], str | None]) -> pl.Series:
    return pl.Series([one(text) for text in values], dtype=pl.String)
