"""Comparing people's names (R1): compatible, contradicting, or neither.

Two records of one person write the name in many ways: a nickname, an initial, a double surname, accents, suffixes.
`compatible` says that two names can be one person's; `contradicting` says that they cannot. The nickname table is a
package's (`nicknames`), never a list of ours. Nothing here knows of phones, e-mails or scores.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from anyascii import anyascii

if TYPE_CHECKING:
    from nicknames import NickNamer

_SUFFIXES: Final = frozenset({"jr", "sr", "ii", "iii", "iv", "v", "2nd", "3rd"})
_TITLES: Final = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "prof", "professor", "rev", "sir", "madam"})
_APOSTROPHES: Final = re.compile(r"['’‘`´ʼ]")
_NOT_WORD: Final = re.compile(r"[\W_]+")
_DIFFERENT_PEOPLE: Final = frozenset(
    frozenset(pair.split())
    for pair in (
        "aaron erin",
        "aron erin",
        "alexander alexandria",
        "andrew andrea",
        "bill robert",
        "billy robert",
        "edwin edwina",
        "emil emily",
        "ernest ernestine",
        "frederick frederica",
        "louis louise",
        "patrick peter",
        "william wilma",
    )
)
"""Pairs that the table calls nicknames, but that are as a rule two children of one family."""


class Name(NamedTuple):
    """A name to compare, as it stands in a record; any part may be None."""

    first: str | None
    last: str | None
    preferred: str | None = None


@lru_cache(maxsize=200_000)
def comparable(name: str | None) -> str:
    """A name as it is compared: case-folded, no accents or apostrophes, punctuation as spaces, no suffix (R1)."""
    if not name:
        return ""
    latin = "".join(anyascii(c) if unicodedata.name(c, "").startswith("LATIN") else c for c in _decomposed(name))
    words = _NOT_WORD.sub(" ", _APOSTROPHES.sub("", latin).casefold()).split()
    while len(words) > 1 and words[-1] in _SUFFIXES:
        words.pop()
    return " ".join(words)


def _decomposed(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def is_title(text: str | None) -> bool:
    """True for a form of address (Mr., Ms., Dr. ...), which is nobody's preferred name (R6)."""
    return comparable(text) in _TITLES


@lru_cache(maxsize=100_000)
def is_nickname(one: str, other: str) -> bool:
    """True when one comparable first name is a known nickname of the other.

    Directly, never by a step between: that would make Robert a William (by way of Bill).
    """
    if frozenset({one, other}) in _DIFFERENT_PEOPLE:
        return False
    return one in _namer().nicknames_of(other) or other in _namer().nicknames_of(one)


@lru_cache(maxsize=100_000)
def nicknames(name: str) -> frozenset[str]:
    """All that `is_nickname` holds for, of one comparable first name."""
    others = _namer().nicknames_of(name) | _namer().canonicals_of(name)
    return frozenset(other for other in others if is_nickname(name, other))


@lru_cache(maxsize=200_000)
def compatible(one: Name, other: Name) -> bool:
    """True when the two can be one person's names (R1).

    Same last name, or the words of one within the words of the other (double names); and the same first name, or one
    is the other's preferred name, nickname, initial or beginning (`Mary` of `Mary Jane`, `Bill` of `William J.`).
    First and last name swapped count as the same.
    """
    if _swapped(one, other):
        return True
    last_one, last_other = set(comparable(one.last).split()), set(comparable(other.last).split())
    if not last_one or not last_other or not (last_one <= last_other or last_other <= last_one):
        return False
    return any(_firsts_agree(a, b) for a in _given(one) for b in _given(other))


def exactly_same(one: Name, other: Name) -> bool:
    """True when last names and a first or preferred name are equal as compared."""
    return comparable(one.last) == comparable(other.last) != "" and bool(_given(one) & _given(other))


def contradicting(one: Name, other: Name) -> bool:
    """True when both have first and last name and the names are not compatible (R1)."""
    whole = all(comparable(part) for name in (one, other) for part in (name.first, name.last))
    return whole and not compatible(one, other)


def _swapped(one: Name, other: Name) -> bool:
    first, last = comparable(one.first), comparable(one.last)
    return bool(first and last) and (first, last) == (comparable(other.last), comparable(other.first))


def _given(name: Name) -> set[str]:
    preferred = None if is_title(name.preferred) else name.preferred
    return {comparable(name.first), comparable(preferred)} - {""}


def _firsts_agree(one: str, other: str) -> bool:
    """Word by word, as far as both go."""
    return all(_words_agree(a, b) for a, b in zip(one.split(), other.split(), strict=False))


def _words_agree(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or is_nickname(one, other) or (len(short) == 1 and long.startswith(short))


@cache
def _namer() -> NickNamer:
    """The package's table, read when the first names are compared."""
    from nicknames import NickNamer

    return NickNamer()
