"""Jotform submissions as rows of the raw form tables.

Which question holds which field comes from the year file; here is how each shape of an answer is read (a name in
parts or in one line, a phone in three variants, lists, dates) and how Jotform's wall-clock times become UTC. Values
stay as people gave them, except for phones, which come as E.164 beside the given text. Nothing is judged: who is a
mentor, which of two submissions counts and what is wrong with a value is decided in `signups` and later.

A submission is JSON of many shapes, and there are a few thousand a year: they are read one by one in Python.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mentor_pipeline.domain import normalise
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.domain.names import comparable
from mentor_pipeline.domain.shrink import merge_listing
from mentor_pipeline.errors import ConfigError
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from zoneinfo import ZoneInfo

    from mentor_pipeline.settings import JotformYear, PartnerForm, SetupForm, SignupForm, TrainingForm

    Form = SignupForm | SetupForm | TrainingForm | PartnerForm

FORM_TABLES: Final[Mapping[str, str]] = {
    "signup": "raw_mn_signups",
    "setup": "raw_mn_funds_setup",
    "training": "raw_mn_training_signup",
    "partner": "raw_mn_partner_preference",
}
"""Table of each form of the year file."""

_PHONES: Final = ("phone", "partner_phone")
_LAYOUT_CONTROLS: Final = frozenset(
    {"control_button", "control_collapse", "control_divider", "control_head", "control_image", "control_pagebreak"}
    | {"control_text"}
)
_DATE_PARTS: Final = ("year", "month", "day")


def configured_forms(jotform: JotformYear) -> dict[str, Form]:
    """The year's forms by the name of their table; the partner form is there when it is configured."""
    forms: dict[str, Form | None] = {
        "signup": jotform.signup,
        "setup": jotform.setup,
        "training": jotform.training,
        "partner": jotform.partner,
    }
    return {FORM_TABLES[name]: form for name, form in forms.items() if form is not None}


_NO_ANSWERS: Final = "{}"


def submission_rows(table: str, submissions: Iterable[Mapping[str, Any]], form: Form, zone: ZoneInfo) -> pl.DataFrame:
    """Read a form's submissions.

    Args:
        table: the form's table, see `FORM_TABLES`.
        submissions: as Jotform lists them, whatever their status.
        form: the form's part of the year file; a field that it does not map is null.
        zone: time zone of Jotform's wall-clock times.

    Returns:
        Rows of the table, without year, first_seen_at, last_seen_at and missing_since.
    """
    fields = _fields(form)
    schema = {
        name: dtype
        for name, dtype in TABLES[table].schema.items()
        if name not in {"year", "first_seen_at", "last_seen_at", "missing_since"}
    }
    rows = [
        _row(submission, form.form_id, fields, zone, in_parts=table == FORM_TABLES["signup"])
        for submission in submissions
    ]
    frame = pl.DataFrame(rows, schema={**schema, **{f"{name}_raw": pl.String() for name in _PHONES}})
    phones = [name for name in _PHONES if name in schema]
    return frame.with_columns(normalise.phones(frame[f"{name}_raw"]).alias(name) for name in phones).select(*schema)


def merge_submissions(known: pl.DataFrame, listed: pl.DataFrame, *, year: int, now: datetime) -> pl.DataFrame:
    """Lay a form's submissions, read whole, over the year's rows known of it; see `merge_listing`.

    One whose time cannot be read counts as submitted when it was first seen. One that suddenly comes without a single
    answer keeps those that are known: a form cannot be emptied, so it is the service's fault.
    """
    told = _with_known_answers(listed, known)
    rows = merge_listing(known, told.with_columns(year=pl.lit(year, dtype=pl.Int32)), key="submission_id", now=now)
    return rows.with_columns(submitted_at=pl.coalesce("submitted_at", "first_seen_at"))


def _with_known_answers(listed: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """What is listed; a row without any answer with the known ones."""
    emptied = listed.filter(answers=_NO_ANSWERS).select("submission_id", "status")
    kept = known.filter(pl.col("answers") != _NO_ANSWERS).drop("status").join(emptied, on="submission_id")
    rest = listed.join(kept, on="submission_id", how="anti", maintain_order="left")
    return pl.concat([rest, kept.select(listed.columns)])


def missing_questions(questions: Mapping[str, Mapping[str, Any]], fields: Mapping[str, str]) -> list[str]:
    """Fields of the year file that are mapped to a question which the form does not have, one line each.

    Args:
        questions: the form's questions by question id, as Jotform describes them.
        fields: field -> question id, or a question's name where it is no number.
    """
    names = {str(question.get("name")) for question in questions.values()}
    return [
        f"field {field} is mapped to question {target}, which the form does not have"
        for field, target in fields.items()
        if target not in (questions if target.isdigit() else names)
    ]


def require_questions(table: str, form: Form, questions: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a year file that maps fields to questions which the form does not have.

    Raises:
        ConfigError: names the form, each such field, and the questions that there are.
    """
    missing = missing_questions(questions, _fields(form))
    if not missing:
        return
    name = next(name for name, form_table in FORM_TABLES.items() if form_table == table)
    there = [
        f"{qid} ({question.get('name')}): {normalise.clean_text(str(question.get('text') or '')) or '-'}"
        for qid, question in questions.items()
        if question.get("type") not in _LAYOUT_CONTROLS
    ]
    lines = "\n".join(
        [*(f"  {line}" for line in missing), "The form's questions are:", *(f"  {line}" for line in there)]
    )
    msg = (
        f"The year file does not fit Jotform form {form.form_id} (jotform.{name}). Nothing was written. "
        f"Correct jotform.{name}.fields, or put the question back into the form:\n{lines}"
    )
    raise ConfigError(msg)


def answer_text(answer: Any) -> str | None:
    """Any answer as one text, trimmed; None when nothing was answered.

    Names and addresses are put together from their parts, phones too (never from `prettyFormat`), dates are written
    `YYYY-MM-DD[ HH:MM]`, several choices are joined with a comma.
    """
    if isinstance(answer, dict):
        return _object_text(answer)
    if isinstance(answer, list):
        return ", ".join(_texts(answer)) or None
    return None if answer is None else str(answer).strip() or None


def name_parts(answer: Any) -> tuple[str | None, str | None, str | None]:
    """First, middle and last name of a name in parts, or of one line as people write it.

    `Last, First Middle` is understood, and so is a suffix (`Lee Jr.`, `Lee, Jr.`), which stays with the last name.
    Else the first word is the first name and the last word the last name: of a double name without hyphen the other
    words count as middle names, which comparing names (R1) allows for. One word alone is a first name.
    """
    if isinstance(answer, dict):
        given = {part: answer_text(answer.get(part)) for part in ("first", "middle", "last", "suffix")}
        return given["first"], given["middle"], " ".join(filter(None, (given["last"], given["suffix"]))) or None
    before, _, after = (answer_text(answer) or "").partition(",")
    words, behind = before.split(), after.split()
    if _is_suffix(after):
        while len(words) > 1 and _is_suffix(words[-1]):
            behind.insert(0, words.pop())
        first, middle, last = words[:1], words[1:-1], [*words[1:][-1:], *behind]
    else:
        first, middle, last = behind[:1], behind[1:], words
    return " ".join(first) or None, " ".join(middle) or None, " ".join(last) or None


def phone_text(answer: Any) -> str | None:
    """A phone as it was given: in one piece, as area and number, or with the country in front."""
    if not isinstance(answer, dict):
        return answer_text(answer)
    if full := answer_text(answer.get("full")):
        return full
    country, area, number = (answer_text(answer.get(part)) or "" for part in ("country", "area", "phone"))
    code = country.removeprefix("+").strip()
    # A country that is no calling code (`US`, `0`) says nothing, and a number may bring its own.
    in_front = f"+{code}" if code.isdigit() and int(code) and not number.startswith("+") else ""
    return " ".join(filter(None, (in_front, area, number))) if area or number else None


def to_utc(text: Any, zone: ZoneInfo) -> datetime | None:
    """A wall-clock time of Jotform as UTC; None when there is none.

    An hour that the clock goes through twice (end of daylight saving) is taken for the first time round; a time that
    the clock skips (start of daylight saving) is read by the offset before the change. A text with an offset of its
    own is taken at its word.
    """
    try:
        moment = datetime.fromisoformat(str(text or "").strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone, fold=0)).astimezone(UTC)


def _is_suffix(words: str) -> bool:
    """True for generational suffixes, and for nothing at all: what comparing names leaves out behind a name."""
    return comparable(f"name {words}") == "name"


def _fields(form: Form) -> dict[str, str]:
    fields: dict[str, str] = form.fields.model_dump(exclude_none=True)
    return fields


def _row(
    submission: Mapping[str, Any], form_id: str, fields: Mapping[str, str], zone: ZoneInfo, *, in_parts: bool
) -> dict[str, Any]:
    answers = submission.get("answers")
    answers = answers if isinstance(answers, dict) else {}
    row: dict[str, Any] = {
        "submission_id": str(submission["id"]),
        "form_id": str(submission.get("form_id") or form_id),
        "status": str(submission.get("status") or "").strip().upper() or None,
        "submitted_at": to_utc(submission.get("created_at"), zone),
        "edited_at": to_utc(submission.get("updated_at"), zone),
        "answers": to_json(answers),
    }
    for field, target in fields.items():
        answer = _answer(answers, target)
        if field == "prefix" and isinstance(answer, dict):  # the name question, of which the prefix is one part
            answer = answer.get("prefix")
        if field in _PHONES:
            row[f"{field}_raw"] = phone_text(answer)
        elif field == "name" and in_parts:
            row["first_name"], row["middle_name"], row["last_name"] = name_parts(answer)
        else:
            row[field] = answer_text(answer)
    return row


def _answer(answers: Mapping[str, Any], target: str) -> Any:
    """The answer to a question, by its id, or by its name where the target is no number."""
    if target.isdigit():
        question = answers.get(target)
    else:
        question = next((q for q in answers.values() if isinstance(q, dict) and q.get("name") == target), None)
    return question.get("answer") if isinstance(question, dict) else None


def _object_text(answer: Mapping[str, Any]) -> str | None:
    if answer.keys() & {"full", "area", "phone"}:
        return phone_text(answer)
    if answer.keys() & {"first", "last"}:
        return " ".join(filter(None, name_parts(answer))) or None
    if answer.keys() >= set(_DATE_PARTS):
        return _date_text(answer)
    return ", ".join(_texts(answer.values())) or None


def _date_text(answer: Mapping[str, Any]) -> str | None:
    parts = [answer_text(answer[part]) for part in _DATE_PARTS]
    if not all(parts):
        return None
    day = "-".join(part.zfill(2) for part in parts if part)
    hour, minute = answer_text(answer.get("hour")), answer_text(answer.get("min"))
    half = (answer_text(answer.get("ampm")) or "").upper()
    if not hour or not re.fullmatch(r"\d{1,2}", hour):
        return day
    hours = int(hour) % 12 + (12 if half == "PM" else 0) if half in {"AM", "PM"} else int(hour)
    return f"{day} {hours:02}:{(minute or '0').zfill(2)}"


def _texts(values: Iterable[Any]) -> Iterator[str]:
    return (text for text in map(answer_text, values) if text)
