"""Joining forms and campaign members to mentors (R3).

Every setup, training and partner submission and every campaign member gets one row that says whose it is and by what
it was found, or why it is nobody's. Nothing is joined on a guess: what fits two people, or nobody, is a warning.
Contacts are not joined here (see `matching`), and the forms' values are folded into the record in `mentors`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mentor_pipeline.domain.findings import Computed, Problem, problem_rows
from mentor_pipeline.domain.names import Name, compatible, contradicting
from mentor_pipeline.domain.normalise import clean_text, comparable_mn_id, normalise_email, normalise_mn_id
from mentor_pipeline.domain.submissions import name_parts
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mentor_pipeline.settings import ProgramYear

_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)
MEMBERS: Final = "raw_gb_campaign_members"
FORMS: Final = {
    "raw_mn_funds_setup": "setup form",
    "raw_mn_training_signup": "training form",
    "raw_mn_partner_preference": "partner form",
}


@dataclass(frozen=True, slots=True)
class _Record:
    """One submission or member, with what may tell whose it is."""

    source: str
    id: str
    order: tuple[Any, ...]
    name: Name
    shown: str
    mn_id: str | None
    phone: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class _Verdict:
    record: _Record
    mn_id: str | None
    matched_on: str | None
    note: str
    doubted_id: bool = False
    """The form names a mentor who cannot be meant."""
    fits_several: bool = False
    """Phone and e-mail are those of several mentors."""


@dataclass(slots=True)
class _Mentors:
    """The year's mentors, found by id, phone and e-mail."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_id: dict[str, str] = field(default_factory=dict)
    by_phone: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    by_email: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, signups: pl.DataFrame) -> _Mentors:
        mentors = cls()
        for row in signups.iter_rows(named=True):
            mn_id = row["mn_id"]
            mentors.rows[mn_id] = row
            mentors.by_id[comparable_mn_id(mn_id)] = mn_id
            if row["phone"]:
                mentors.by_phone[row["phone"]].add(mn_id)
            for email in {row["personal_email"], row["uga_email"]} - {None}:
                mentors.by_email[email].add(mn_id)
        return mentors

    def name(self, mn_id: str) -> Name:
        row = self.rows[mn_id]
        return Name(row["first_name"], row["last_name"], row["preferred_name"])

    def shown(self, mn_id: str) -> str:
        return f"{self.rows[mn_id]['full_name']} ({mn_id})"

    def contradicts_all(self, record: _Record, mn_id: str) -> bool:
        """True when every other identifier on the record (at least one) is not the mentor's (R3)."""
        row = self.rows[mn_id]
        emails = {row["personal_email"], row["uga_email"]} - {None}
        told = []
        if record.phone and row["phone"]:
            told.append(record.phone != row["phone"])
        if record.email and emails:
            told.append(record.email not in emails)
        name = self.name(mn_id)
        if contradicting(record.name, name) or compatible(record.name, name):
            told.append(contradicting(record.name, name))
        return bool(told) and all(told)


def join_forms(
    signups: pl.DataFrame,
    forms: Mapping[str, pl.DataFrame],
    members: pl.DataFrame,
    known_members: Mapping[int, str],
    program: ProgramYear,
) -> Computed:
    """Find whose each submission and member is (R3).

    Args:
        signups: rows of `signups`.
        forms: rows of the raw form tables by table name.
        members: rows of `raw_gb_campaign_members`.
        known_members: member id -> mentor id, as joined before.
        program: the year.

    Returns:
        Rows of `form_links`. Deleted submissions and members that Givebutter no longer lists are left out.
    """
    mentors = _Mentors.of(signups)
    verdicts = [
        _whose(record, mentors)
        for table, rows in sorted(forms.items())
        for record in _form_records(table, rows, program)
    ]
    verdicts += _whose_members(_member_records(members), mentors, known_members)
    problems = [problem for verdict in verdicts for problem in _problems(verdict, mentors)]

    counted: dict[tuple[str, str], _Record] = {}
    for verdict in verdicts:
        if verdict.mn_id is not None:
            slot = (verdict.record.source, verdict.mn_id)
            counted[slot] = max(counted.get(slot, verdict.record), verdict.record, key=lambda record: record.order)
    problems += _several_pages(verdicts, counted, mentors)
    rows = [
        {
            "year": program.year,
            "source_table": verdict.record.source,
            "source_id": verdict.record.id,
            "mn_id": verdict.mn_id,
            "matched_on": verdict.matched_on,
            "is_newest": verdict.mn_id is not None and counted[verdict.record.source, verdict.mn_id] is verdict.record,
            "note": verdict.note,
        }
        for verdict in verdicts
    ]
    return Computed(
        pl.DataFrame(rows, schema=TABLES["form_links"].schema).sort("source_table", "source_id"),
        problem_rows(program.year, problems),
    )


def _form_records(table: str, rows: pl.DataFrame, program: ProgramYear) -> Iterable[_Record]:
    for row in rows.iter_rows(named=True):
        if row["status"] == "DELETED" or row["missing_since"] is not None:
            continue
        first, _, last = name_parts(row["name"])
        yield _Record(
            source=table,
            id=row["submission_id"],
            order=(row["submitted_at"] or _NO_TIME, len(row["submission_id"]), row["submission_id"]),
            name=Name(first, last),
            shown=clean_text(row["name"]) or row["email"] or row["phone_raw"] or "someone without a name",
            mn_id=normalise_mn_id(row["mn_id"], program.mn_id_prefix),
            phone=row["phone"],
            email=normalise_email(row["email"]),
        )


def _member_records(rows: pl.DataFrame) -> list[_Record]:
    """Active members; of several pages of one mentor the one that raised most counts, then the newer."""
    return [
        _Record(
            source=MEMBERS,
            id=str(row["member_id"]),
            order=(row["raised"] or 0, row["member_id"]),
            name=Name(row["first_name"], row["last_name"]),
            shown=row["display_name"] or clean_text(f"{row['first_name'] or ''} {row['last_name'] or ''}") or "no name",
            mn_id=None,
            phone=row["phone"],
            email=normalise_email(row["email"]),
        )
        for row in rows.sort("member_id").iter_rows(named=True)
        if row["missing_since"] is None
    ]


def _whose(record: _Record, mentors: _Mentors) -> _Verdict:
    """By mentor id where it is believed, then by phone and e-mail."""
    typed = mentors.by_id.get(comparable_mn_id(record.mn_id)) if record.mn_id else None
    if typed is None:
        return _by_identifiers(record, mentors)
    if not mentors.contradicts_all(record, typed):
        return _Verdict(record, typed, "mn_id", "mentor id on the form")
    other = _by_identifiers(record, mentors)
    note = f"mentor id {record.mn_id} is not believed: nothing else on the form is {mentors.shown(typed)}'s"
    return replace(other, note=f"{note}; {other.note}", doubted_id=True)


def _by_identifiers(record: _Record, mentors: _Mentors) -> _Verdict:
    """By phone and e-mail; where they name several people, the names decide or nothing does."""
    by_phone = mentors.by_phone.get(record.phone, set()) if record.phone else set()
    by_email = mentors.by_email.get(record.email, set()) if record.email else set()
    fits = by_phone & by_email or by_phone | by_email
    if len(fits) > 1:
        named = {mn_id for mn_id in fits if compatible(record.name, mentors.name(mn_id))}
        if len(named) != 1:
            people = ", ".join(mentors.shown(mn_id) for mn_id in sorted(fits))
            return _Verdict(record, None, None, f"phone and e-mail fit several mentors: {people}", fits_several=True)
        fits = named
    if not fits:
        return _Verdict(record, None, None, "no mentor has this mentor id, phone or e-mail")
    (mn_id,) = fits
    return _Verdict(record, mn_id, "phone" if mn_id in by_phone else "email", "same phone or e-mail")


def _whose_members(records: Sequence[_Record], mentors: _Mentors, known_members: Mapping[int, str]) -> list[_Verdict]:
    """Members by known id, then e-mail and phone, then a name that fits exactly one on both sides."""
    verdicts = []
    for record in records:
        known = known_members.get(int(record.id))
        if known in mentors.rows:
            verdicts.append(_Verdict(record, known, "member_id", "joined before"))
        else:
            verdicts.append(_by_identifiers(record, mentors))
    matched = {verdict.mn_id for verdict in verdicts}
    free = [mn_id for mn_id in mentors.rows if mn_id not in matched]
    nobodys = [verdict for verdict in verdicts if verdict.mn_id is None and not verdict.fits_several]
    pairs = [
        (verdict.record, mn_id)
        for verdict in nobodys
        for mn_id in free
        if compatible(verdict.record.name, mentors.name(mn_id))
    ]
    per_member = Counter(record.id for record, _ in pairs)
    per_mentor = Counter(mn_id for _, mn_id in pairs)
    by_name = {record.id: mn_id for record, mn_id in pairs if per_member[record.id] == 1 and per_mentor[mn_id] == 1}
    return [
        _Verdict(v.record, by_name[v.record.id], "name", "the only mentor and the only page of this name")
        if v.mn_id is None and v.record.id in by_name
        else v
        for v in verdicts
    ]


def _problems(verdict: _Verdict, mentors: _Mentors) -> list[Problem]:
    record = verdict.record
    is_member = record.source == MEMBERS
    what = f"Campaign page of {record.shown}" if is_member else f"{FORMS[record.source].capitalize()} of {record.shown}"
    context = {"source_id": record.id, "phone": record.phone, "email": record.email, "mn_id": record.mn_id}

    def warning(kind: str, message: str) -> Problem:
        return Problem(
            kind, message, mn_id=verdict.mn_id, source_table=record.source, context=context,
            key=(record.source, record.id),
        )  # fmt: skip

    found = []
    if verdict.mn_id is None:
        kind = "member_without_mentor" if is_member else "unmatched_submission"
        found.append(warning(kind, f"{what} (no. {record.id}) joins no mentor: {verdict.note}."))
    if verdict.doubted_id:
        found.append(warning("low_confidence", f"{what} (no. {record.id}): {verdict.note}. Check the mentor id there."))
    elif (
        verdict.mn_id is not None
        and verdict.matched_on in {"phone", "email"}
        and contradicting(record.name, mentors.name(verdict.mn_id))
    ):
        found.append(
            warning(
                "low_confidence",
                f"{what} (no. {record.id}) was joined to {mentors.shown(verdict.mn_id)} by {verdict.matched_on}, but "
                "the names differ.",
            )
        )
    return found


def _several_pages(
    verdicts: Sequence[_Verdict], counted: Mapping[tuple[str, str], _Record], mentors: _Mentors
) -> list[Problem]:
    pages: defaultdict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.record.source == MEMBERS and verdict.mn_id is not None:
            pages[verdict.mn_id].append(verdict.record.id)
    return [
        Problem(
            "several_pages",
            f"{mentors.shown(mn_id)} has {len(ids)} campaign pages ({', '.join(ids)}); "
            f"{counted[MEMBERS, mn_id].id}, which raised most, counts.",
            mn_id=mn_id,
            source_table=MEMBERS,
            context={"member_ids": ids},
            key=tuple(sorted(ids)),
        )
        for mn_id, ids in sorted(pages.items())
        if len(ids) > 1
    ]
