"""Contacts that might be a mentor's, for a person to look at (R4.9).

Mentors for whom the rules found nobody are compared with all contacts of their name: a nickname, a near-miss e-mail or
phone and an external id of an earlier year are told as evidence. Nothing here links anybody; what shares an identifier
with the mentor is a candidate and weighed in `candidates`.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain.candidates import contact_name
from mentor_pipeline.domain.names import Name, comparable, compatible, exactly_same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mentor_pipeline.settings import ProgramYear

MOST: Final = 3
"""Suggestions for one mentor."""
_NEAR: Final = 0.9
"""Likeness from which two e-mails or phones count as one with a slip: one wrong letter or digit, or two swapped."""


class Suggestion(NamedTuple):
    """A contact that might be a mentor's, with the evidence in words, the strongest suggestion of a mentor first."""

    mn_id: str
    contact: dict[str, Any]
    evidence: tuple[str, ...]


def suggest_contacts(
    mentors: pl.DataFrame,
    contacts: pl.DataFrame,
    is_judged: Callable[[str, dict[str, Any]], bool],
    program: ProgramYear,
) -> list[Suggestion]:
    """The contacts most like each mentor, up to `MOST`.

    Args:
        mentors: rows of `signups` of the mentors without a contact.
        contacts: `CONTACT_COLUMNS` of the contacts that are still nobody's.
        is_judged: given a mentor and a contact, tells whether a rule or a person has judged the two already.
        program: the year.
    """
    words = _last_name_words(mentors)
    pairs = (
        words.select("mn_id", "word")
        .join(_last_name_words(contacts).select("contact_id", "word").join(words, on="word", how="semi"), on="word")
        .select("mn_id", "contact_id")
        .unique()
    )
    rows_of = {row["mn_id"]: row for row in mentors.iter_rows(named=True)}
    near = contacts.join(pairs, on="contact_id", how="semi")
    contact_of = {row["contact_id"]: row for row in near.iter_rows(named=True)}
    found = [
        Suggestion(mn_id, contact_of[contact_id], evidence)
        for mn_id, contact_id in pairs.iter_rows()
        if not is_judged(mn_id, contact_of[contact_id])
        and (evidence := _evidence(rows_of[mn_id], contact_of[contact_id], program))
    ]
    found.sort(key=lambda s: (s.mn_id, -len(s.evidence), -s.contact["contact_id"]))
    return [suggestion for _, own in groupby(found, key=lambda s: s.mn_id) for suggestion in islice(own, MOST)]


def _last_name_words(people: pl.DataFrame) -> pl.DataFrame:
    """The rows of `people`, one for each word of the last name as compared; who has none is left out."""
    names = people.get_column("last_name").drop_nulls().unique()
    words = pl.DataFrame(
        {"last_name": names, "word": [comparable(name).split() for name in names]},
        schema={"last_name": pl.String, "word": pl.List(pl.String)},
    )
    return people.join(words.explode("word").drop_nulls(), on="last_name")


def _evidence(mentor: dict[str, Any], contact: dict[str, Any], program: ProgramYear) -> tuple[str, ...]:
    """What speaks for it, in words; nothing when the names are not compatible."""
    name = Name(mentor["first_name"], mentor["last_name"], mentor["preferred_name"])
    other = contact_name(contact, program)
    if not compatible(name, other):
        return ()
    found = ["the same name" if exactly_same(name, other) else "compatible names"]
    emails = (mentor["personal_email"], mentor["uga_email"])
    found += [f"e-mail {theirs} is nearly {ours}" for ours, theirs in _near_misses(emails, contact["emails"] or [])]
    found += [
        f"phone {theirs} is nearly {ours}" for ours, theirs in _near_misses((mentor["phone"],), contact["phones"] or [])
    ]
    if contact["external_id"]:
        found.append(f"external id {contact['external_id']} of an earlier year")
    return tuple(found)


def _near_misses(ours: Sequence[str | None], theirs: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (one, other)
        for one in ours
        for other in theirs
        if one and SequenceMatcher(None, one, other, autojunk=False).ratio() >= _NEAR
    ]
