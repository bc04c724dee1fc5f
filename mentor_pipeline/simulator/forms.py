"""The Jotform forms of a program year: their questions, and the shapes in which answers come.

Built from the year file, so that any year's qids and question names work: a field mapped to a number gets the
question with that qid, a field mapped to a name gets a question of that name under a free qid. Layout controls and
questions that nobody maps stand between them, as on real forms. How submissions are served is in `jotform_api`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mentor_pipeline.settings import ProgramYear
    from mentor_pipeline.simulator.records import FormName

SHIRT_SIZES: Final = ("XS", "S", "M", "L", "XL", "2XL")
CLASSES: Final = ("Freshman", "Sophomore", "Junior", "Senior", "Graduate student")
GENDERS: Final = ("Woman", "Man", "Non-binary", "Prefer not to say")
SESSIONS: Final = ("Tuesday 6 pm", "Thursday 7 pm", "Saturday 10 am")
DEFAULT_SHIFTS: Final = ("Morning", "Afternoon")


@dataclass(frozen=True, slots=True)
class Question:
    """One question (or layout control) of a form."""

    qid: str
    name: str
    order: int
    text: str
    type: str
    options: tuple[str, ...] = ()
    required: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """One form: its questions by qid, and the qid of every field that the year file maps."""

    name: FormName
    form_id: str
    title: str
    questions: Mapping[str, Question]
    qids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Kind:
    type: str
    name: str
    text: str
    options: tuple[str, ...] = ()
    required: bool = False


_FIELDS: Final[Mapping[str, _Kind]] = {
    "mn_id": _Kind("control_textbox", "mentorId", "Your mentor ID (for example MN0042)"),
    "name": _Kind("control_fullname", "fullName", "Full name", required=True),
    "prefix": _Kind("control_textbox", "preferredName", "Preferred name"),
    "phone": _Kind("control_phone", "phoneNumber", "Mobile phone", required=True),
    "email": _Kind("control_email", "email", "E-mail", required=True),
    "personal_email": _Kind("control_email", "personalEmail", "Personal e-mail", required=True),
    "uga_email": _Kind("control_email", "schoolEmail", "School e-mail"),
    "gender": _Kind("control_radio", "gender", "Gender", GENDERS),
    "shirt_size": _Kind("control_dropdown", "shirtSize", "Shirt size", SHIRT_SIZES),
    "uga_class": _Kind("control_dropdown", "class", "Class", CLASSES),
    "session": _Kind("control_dropdown", "session", "Training session", SESSIONS),
    "partner_phone": _Kind("control_phone", "partnerPhone", "Your partner's phone"),
    "partner_notes": _Kind("control_textarea", "partnerNotes", "Anything else?"),
}
_BEFORE: Final = (_Kind("control_head", "heading", "Welcome"),)
_AFTER: Final = (
    _Kind("control_pagebreak", "pageBreak", "Page break"),
    _Kind("control_text", "smallPrint", "We never share your answers."),
    _Kind("control_checkbox", "heardFrom", "How did you hear of us?", ("Friend", "Class", "Social media")),
    _Kind("control_datetime", "availableFrom", "Available from"),
    _Kind("control_address", "address", "Address"),
    _Kind("control_hidden", "source", "Source"),
    _Kind("control_button", "submit", "Submit"),
)
TITLES: Final[Mapping[FormName, str]] = {
    "signup": "Mentor sign-up",
    "setup": "Fundraising page setup",
    "training": "Training sign-up",
    "partner": "Partner preference",
}


def shifts(program: ProgramYear) -> tuple[str, ...]:
    """Options of the shift question: those of the custom field that holds the shift."""
    label = program.custom_field_from("shift_preference")
    options = program.custom_fields[label].options if label else []
    return tuple(options) or DEFAULT_SHIFTS


def build_forms(program: ProgramYear) -> dict[FormName, Form]:
    """The year's forms, with the questions that the year file maps."""
    return {name: _form(name, program) for name in TITLES if getattr(program.jotform, name) is not None}


def _form(name: FormName, program: ProgramYear) -> Form:
    config = getattr(program.jotform, name)
    mapped: dict[str, str] = config.fields.model_dump(exclude_none=True)
    free = _free_qids({where for where in mapped.values() if where.isdigit()})
    questions: dict[str, Question] = {}
    qids: dict[str, str] = {}

    def ask(kind: _Kind, where: str) -> str:
        qid = where if where.isdigit() else next(free)
        question_name = kind.name if where.isdigit() or not where else where
        questions[qid] = Question(
            qid, question_name, len(questions) + 1, kind.text, kind.type, kind.options, kind.required,
            hidden=kind.type == "control_hidden",
        )  # fmt: skip
        return qid

    for kind in _BEFORE:
        ask(kind, "")
    for field, where in mapped.items():
        qids[field] = ask(_kind(field, name, program), where)
    for kind in _AFTER:
        ask(kind, "")
    return Form(name, config.form_id, f"{TITLES[name]} {program.year}", questions, qids)


def _kind(field: str, form: FormName, program: ProgramYear) -> _Kind:
    if field == "mn_id" and form == "signup":
        return _Kind("control_autoincrement", "mentorId", "Mentor ID")
    if field == "shift_preference":
        return _Kind("control_radio", "shift", "Preferred shift", shifts(program))
    return _FIELDS[field]


def _free_qids(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        if str(number) not in taken:
            yield str(number)


def shape_answer(question: Question, value: object) -> object:
    """The wire shape of an answer given as text; dicts and lists are taken as they are.

    A name given as text is split before its last word, a phone given as text comes as `{"full": …}`. To send one of
    the other shapes of a phone, give the object itself (see `phone_answer`).
    """
    if not isinstance(value, str):
        return value if isinstance(value, dict | list) else str(value)
    if question.type == "control_fullname":
        first, _, last = value.strip().rpartition(" ")
        return {"first": first or last, "last": last if first else ""}
    if question.type == "control_phone":
        return {"full": value}
    return value


def phone_answer(e164: str, variant: int) -> object:
    """A US number in one of the shapes in which Jotform's phone question delivers it."""
    area, exchange, line = e164[-10:-7], e164[-7:-4], e164[-4:]
    match variant % 6:
        case 0:
            return {"full": f"({area}) {exchange}-{line}"}
        case 1:
            return {"area": area, "phone": f"{exchange}-{line}"}
        case 2:
            return {"country": "1", "area": area, "phone": f"{exchange}{line}"}
        case 3:
            return f"{area}-{exchange}-{line}"
        case 4:
            return {"full": e164}
        case _:
            return f"{area}.{exchange}.{line}"


def pretty(question: Question, answer: object) -> str | None:
    """Jotform's `prettyFormat` of a structured answer; plain ones have none."""
    if not isinstance(answer, dict):
        return "; ".join(map(str, answer)) if isinstance(answer, list) else None
    parts = [str(part) for part in cast("dict[str, object]", answer).values() if part]
    return "-".join(parts) if question.type == "control_datetime" else " ".join(parts)
