"""Sign-ups: valid, and one per person (R2).

Takes the sign-up submissions of a year as Jotform lists them and returns one row per person, with placeholders for
missing mentor ids, aliases where a real id replaced a placeholder, and a problem for everything that an organiser
should look at. Who a person is, is decided here for sign-ups only; joining other forms is in `links`, choosing
Givebutter contacts in `matching`. Submissions are compared one by one in Python: there are a thousand, and whether
two are one person depends on those before them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mentor_pipeline.domain.findings import Computed, Problem, problem_rows
from mentor_pipeline.domain.names import Name, compatible, contradicting, exactly_same, is_title
from mentor_pipeline.domain.normalise import (
    FIRST_PLACEHOLDER,
    Phone,
    clean_text,
    comparable_mn_id,
    is_school_email,
    normalise_email,
    normalise_mn_id,
    normalise_phone,
)
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from mentor_pipeline.settings import ProgramYear

_SOURCE: Final = "raw_mn_signups"
_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)
_FILLED_FROM_OLDER: Final = (
    "first_name",
    "middle_name",
    "last_name",
    "prefix",
    "phone",
    "personal_email",
    "uga_email",
    "gender",
    "shirt_size",
    "uga_class",
    "shift_preference",
)


@dataclass(frozen=True, slots=True)
class _Submission:
    """One sign-up submission, normalised (R1)."""

    raw: dict[str, Any]
    mn_id: str | None
    phone: Phone
    personal_email: str | None
    uga_email: str | None
    gone: bool

    @property
    def id(self) -> str:
        return str(self.raw["submission_id"])

    @property
    def order(self) -> tuple[datetime, int, str]:
        """Oldest first; of two at one time the higher submission id is the newer (R2)."""
        return self.raw["submitted_at"] or _NO_TIME, len(self.id), self.id

    @property
    def name(self) -> Name:
        return Name(self.raw["first_name"], self.raw["last_name"], self.raw["prefix"])

    @property
    def person(self) -> str:
        """Whom an operator sees: name, or the submission."""
        shown = clean_text(f"{self.raw['first_name'] or ''} {self.raw['last_name'] or ''}")
        return f"{shown or 'someone without a name'} (submission {self.id})"

    @property
    def identifiers(self) -> set[str]:
        return {value for value in (self.phone.e164, self.personal_email, self.uga_email) if value}

    def value(self, field: str) -> str | None:
        """A normalised field; None when empty."""
        match field:
            case "phone":
                return self.phone.e164
            case "personal_email" | "uga_email":
                return getattr(self, field)  # type: ignore[no-any-return]
            case _:
                return clean_text(self.raw[field])


def one_per_person(
    raw: pl.DataFrame,
    *,
    placeholders: pl.DataFrame,
    known_mn_ids: Collection[str],
    program: ProgramYear,
    now: datetime,
) -> Computed:
    """Find the people behind the sign-ups (R2).

    Args:
        raw: rows of `raw_mn_signups` of the year, deleted and vanished ones included.
        placeholders: rows of `placeholder_ids` of the year.
        known_mn_ids: ids under which mentors of the year were ever known (`mentor_history`). Such a mentor stays when
            every submission is gone, and keeps the spelling of the id.
        program: the year.
        now: when placeholders and aliases are recorded.

    Returns:
        Rows of `signups`; `also` holds new rows of `placeholder_ids` and `mentor_aliases`.
    """
    given = dict(placeholders.select("submission_id", "mn_id").iter_rows())
    submissions = sorted(
        (_normalise(row, program, set(given.values())) for row in raw.iter_rows(named=True)), key=lambda s: s.order
    )
    spelling = {comparable_mn_id(mn_id): mn_id for mn_id in sorted(known_mn_ids)}
    assigned = _assign_ids(_people(submissions), spelling, given)

    rows, aliases, new_placeholders = [], [], []
    problems: list[Problem] = []
    for mn_id, person in assigned:
        row = _row(mn_id, person, program.year)
        rows.append(row)
        problems += _problems(row, person)
        old_ids = {given[submission.id] for submission in person if submission.id in given}
        aliases += [
            {"year": program.year, "old_mn_id": old, "mn_id": mn_id, "at": now} for old in sorted(old_ids - {mn_id})
        ]
        if row["is_placeholder"]:
            problems.append(_id_problem(row, person, assigned))
            if mn_id not in old_ids:
                wanted = _typed_id(person)
                anchor = next(s for s in person if s.mn_id == wanted)
                new_placeholders.append(
                    {"year": program.year, "submission_id": anchor.id, "mn_id": mn_id, "assigned_at": now}
                )
    problems += _shared_phones(rows)
    return Computed(
        rows=pl.DataFrame(rows, schema=TABLES["signups"].schema).sort("mn_id"),
        problems=problem_rows(program.year, problems),
        also={
            "placeholder_ids": pl.DataFrame(new_placeholders, schema=TABLES["placeholder_ids"].schema),
            "mentor_aliases": pl.DataFrame(aliases, schema=TABLES["mentor_aliases"].schema),
        },
    )


def _normalise(row: dict[str, Any], program: ProgramYear, placeholders: Collection[str]) -> _Submission:
    """Normalise a submission; a placeholder of ours that someone typed into the form is no mentor id."""
    mn_id = normalise_mn_id(row["mn_id"], program.mn_id_prefix)
    personal, school = normalise_email(row["personal_email"]), normalise_email(row["uga_email"])
    domains = program.givebutter.school_domains
    if personal and is_school_email(personal, domains):  # a school address never becomes personal_email (R6)
        personal, school = (None, school) if school and is_school_email(school, domains) else (school, personal)
    elif school and not personal and not is_school_email(school, domains):
        personal, school = school, None
    elif school == personal:
        school = None
    return _Submission(
        raw=row,
        mn_id=None if mn_id in placeholders else mn_id,
        phone=normalise_phone(row["phone_raw"]),
        personal_email=personal,
        uga_email=school,
        gone=row["status"] == "DELETED" or row["missing_since"] is not None,
    )


def _people(submissions: Sequence[_Submission]) -> list[list[_Submission]]:
    """Group submissions, oldest first, into people; within a person oldest first.

    A submission joins a person when it is the same person as one of their submissions and contradicts none of them.
    If several people fit, those with exactly the same name count; several of these are one person, whom this submission
    brings together. If none of several has exactly the name, nobody can tell, and it stays a person of its own.
    """
    people: list[list[_Submission]] = []
    found_by: defaultdict[str, set[int]] = defaultdict(set)
    for submission in submissions:
        near = sorted(set().union(*(found_by[key] for key in _keys(submission))))
        fits = [
            index
            for index in near
            if any(_same_person(submission, other) for other in people[index])
            and not any(contradicting(submission.name, other.name) for other in people[index])
        ]
        if len(fits) > 1:
            fits = [i for i in fits if any(exactly_same(submission.name, other.name) for other in people[i])]
        joined = sorted([submission, *(other for index in fits for other in people[index])], key=lambda s: s.order)
        for index in fits:
            people[index] = []
        for key in set().union(*map(_keys, joined)):
            found_by[key] = found_by[key] - set(fits) | {len(people)}
        people.append(joined)
    return [person for person in people if person]


def _keys(submission: _Submission) -> set[str]:
    """Values under which another submission of the same person can be found."""
    mn_id = {f"mn_id {comparable_mn_id(submission.mn_id)}"} if submission.mn_id else set()
    return submission.identifiers | mn_id


def _same_person(one: _Submission, other: _Submission) -> bool:
    """R2; one mentor id with compatible names is one person too, whatever else changed."""
    shared = one.identifiers & other.identifiers
    if compatible(one.name, other.name):
        return bool(_keys(one) & _keys(other))
    return len(shared) > 1 and not contradicting(one.name, other.name)


def _assign_ids(
    people: Sequence[list[_Submission]], spelling: Mapping[str, str], given: Mapping[str, str]
) -> list[tuple[str, list[_Submission]]]:
    """Give each person one mentor id: the newest typed, unless an earlier person has it, else a placeholder.

    Who has a sign-up that stands comes before those whose every one is gone. Of the latter those are left out under
    whose ids no mentor was ever known: they were only ever seen as deleted (R2).
    """
    owner: dict[str, list[_Submission]] = {}
    mentors = []
    for person in sorted(people, key=lambda person: (_is_withdrawn(person), _typed_first(person))):
        own_ids = {given[s.id] for s in person if s.id in given}
        wanted = _typed_id(person)
        if wanted and comparable_mn_id(wanted) not in owner:
            own_ids.add(wanted)
        if _is_withdrawn(person) and not {comparable_mn_id(mn_id) for mn_id in own_ids} & spelling.keys():
            continue
        if wanted in own_ids:
            owner[comparable_mn_id(wanted)] = person
        mentors.append(person)

    typed = {comparable_mn_id(s.mn_id) for person in people for s in person if s.mn_id}
    free = _free_placeholders(given.values(), {*typed, *spelling})
    assigned = []
    for person in sorted(mentors, key=lambda person: person[0].order):
        wanted = _typed_id(person)
        if wanted and owner[comparable_mn_id(wanted)] is person:
            spelled = next(s.mn_id for s in person if s.mn_id and _same_id(s.mn_id, wanted))
            assigned.append((spelling.get(comparable_mn_id(wanted), spelled), person))
        else:
            assigned.append((min((given[s.id] for s in person if s.id in given), default=None) or next(free), person))
    return assigned


def _is_withdrawn(person: Sequence[_Submission]) -> bool:
    return all(submission.gone for submission in person)


def _typed_id(person: Sequence[_Submission]) -> str | None:
    """The newest mentor id that a person typed; one that still stands counts before one that is gone."""
    with_id = [s for s in person if s.mn_id]
    standing = [s for s in with_id if not s.gone] or with_id
    return standing[-1].mn_id if standing else None


def _typed_first(person: Sequence[_Submission]) -> tuple[datetime, int, str]:
    """When the person first typed the id that counts: of two people with one id the earlier keeps it (R2)."""
    wanted = _typed_id(person)
    return min((s.order for s in person if wanted and s.mn_id and _same_id(s.mn_id, wanted)), default=person[0].order)


def _same_id(one: str, other: str) -> bool:
    return comparable_mn_id(one) == comparable_mn_id(other)


def _id_problem(
    row: Mapping[str, Any], person: Sequence[_Submission], assigned: Sequence[tuple[str, Sequence[_Submission]]]
) -> Problem:
    """Why a person goes by a placeholder."""
    placeholder, wanted = row["mn_id"], _typed_id(person)
    newest = next(s for s in person if s.id == row["submission_id"])
    raw = clean_text(newest.raw["mn_id"])
    if wanted:
        other = next(other for mn_id, other in assigned if _same_id(mn_id, wanted))[-1]
        kind = "mn_id_collision"
        message = (
            f"Mentor id {wanted} of {newest.person} belongs to {other.person}, who signed up with it earlier. "
            f"{placeholder} stands in for it until the right id is entered on the form."
        )
    elif raw:
        kind = "invalid_mn_id"
        message = f"{raw!r} of {newest.person} is no mentor id; {placeholder} stands in. Correct it on the form."
    else:
        kind = "missing_mn_id"
        message = f"{newest.person} has no mentor id; {placeholder} stands in. Enter it on the form."
    return Problem(
        kind, message, "error", mn_id=placeholder, source_table=_SOURCE, field_name="mn_id", current_value=raw,
        key=(newest.id,),
    )  # fmt: skip


def _free_placeholders(given: Iterable[str], taken: Collection[str]) -> Iterator[str]:
    """Placeholders that nobody was ever given; one that is somebody's mentor id is passed over."""
    highest = max(map(int, given), default=FIRST_PLACEHOLDER - 1)
    return (str(number) for number in count(highest + 1) if str(number) not in taken)


def _row(mn_id: str, person: Sequence[_Submission], year: int) -> dict[str, Any]:
    """The person's row: the newest standing submission, empty fields filled from older ones."""
    standing = [s for s in person if not s.gone] or person
    newest, older = standing[-1], standing[-2::-1]
    filled = {
        field: next((value for s in (newest, *older) if (value := s.value(field)) is not None), None)
        for field in _FILLED_FROM_OLDER
    }
    wished, last = filled.pop("prefix"), filled["last_name"]
    preferred = wished if wished and not is_title(wished) else filled["first_name"] or last or "Mentor"
    return {
        "year": year,
        "mn_id": mn_id,
        "is_placeholder": not any(s.mn_id and _same_id(s.mn_id, mn_id) for s in person),
        "submission_id": newest.id,
        "merged_submission_ids": [s.id for s in reversed(person) if s is not newest],
        "preferred_name": preferred,
        "full_name": clean_text(f"{preferred} {last or ''}"),
        **filled,
        "submitted_at": newest.raw["submitted_at"],
        "edited_at": newest.raw["edited_at"],
        "first_submitted_at": person[0].raw["submitted_at"],
        "withdrawn": _is_withdrawn(person),
    }


def _problems(row: dict[str, Any], person: Sequence[_Submission]) -> list[Problem]:
    """What to look at on one person's sign-ups."""
    mn_id = row["mn_id"]
    by_id = {s.id: s for s in person}
    newest = by_id[row["submission_id"]]

    def problem(kind: str, message: str, severity: Any = "warning", **more: Any) -> Problem:
        return Problem(kind, message, severity, mn_id=mn_id, source_table=_SOURCE, **more)

    found = []
    if newest.phone.fault:
        found.append(
            problem(
                newest.phone.fault,
                f"Phone of {newest.person}: {newest.phone.note}.",
                "error" if newest.phone.e164 is None else "warning",
                field_name="phone",
                current_value=clean_text(newest.raw["phone_raw"]),
                suggested_value=newest.phone.e164,
            )
        )
    typed_id = clean_text(newest.raw["mn_id"])
    if typed_id and newest.mn_id is None and not row["is_placeholder"]:
        found.append(
            problem(
                "invalid_mn_id",
                f"{typed_id!r} of {newest.person} is no mentor id; {mn_id} of an older sign-up counts. Correct it on "
                "the form.",
                "error",
                field_name="mn_id",
                current_value=typed_id,
                key=(newest.id,),
            )
        )
    for field in ("personal_email", "uga_email"):
        typed = clean_text(newest.raw[field])
        if typed and normalise_email(typed) is None:
            found.append(
                problem(
                    "invalid_email",
                    f"{typed!r} of {newest.person} is no e-mail address; it was left out.",
                    "error",
                    field_name=field,
                    current_value=typed,
                )
            )
    others = [s for s in person if s is not newest and not s.gone]
    if others:
        ids = sorted({s.mn_id for s in person if s.mn_id and not s.gone})
        several = f" They name different mentor ids ({', '.join(ids)}); {mn_id} counts." if len(ids) > 1 else ""
        found.append(
            problem(
                "duplicate_signup",
                f"{newest.person} signed up {len(others) + 1} times; the newest counts, its empty fields are filled "
                f"from {', '.join(s.id for s in others)}.{several}",
                context={"submission_ids": [s.id for s in person if not s.gone]},
                key=tuple(s.id for s in person if not s.gone),
            )
        )
    if row["withdrawn"]:
        found.append(
            problem(
                "signup_withdrawn",
                f"Every sign-up of {newest.person} was deleted on Jotform. The mentor stays, but is held from the "
                "import file; mark them dropped or ask them to sign up again.",
            )
        )
    if not row["last_name"]:
        found.append(
            problem(
                "missing_last_name",
                f"{newest.person} gave no last name; Givebutter needs one, so the row is held. Enter it on the form.",
                "error",
                field_name="last_name",
            )
        )
    return found


def _shared_phones(rows: Sequence[dict[str, Any]]) -> list[Problem]:
    """One phone on several people: a family, as a rule."""
    by_phone: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["phone"]:
            by_phone[row["phone"]].append(row)
    return [
        Problem(
            "shared_phone",
            f"{phone} is the phone of {', '.join(r['full_name'] + ' (' + r['mn_id'] + ')' for r in people)}. "
            "If they are one person, correct the names on the form; a family needs nothing.",
            source_table=_SOURCE,
            field_name="phone",
            current_value=phone,
            context={"mn_ids": [r["mn_id"] for r in people]},
            key=tuple(r["mn_id"] for r in people),
        )
        for phone, people in sorted(by_phone.items())
        if len(people) > 1
    ]
