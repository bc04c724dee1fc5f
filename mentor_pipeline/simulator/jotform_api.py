"""Jotform's HTTP API over the world: submissions, questions, forms and the key probe.

Serves the envelope, paging, filters and answer shapes of the real service: every scalar is a string, unanswered
questions have no `answer`, `updated_at` is null until the first edit, times are the wall clock of the year's zone,
deleted submissions come back as DELETED. A wrong key, another account's form and an unknown form get the same 401.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from mentor_pipeline.simulator.forms import pretty
from mentor_pipeline.simulator.wire import Answer, Call, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from mentor_pipeline.simulator.forms import Form, Question
    from mentor_pipeline.simulator.records import Submission
    from mentor_pipeline.simulator.world import World

DEFAULT_LIMIT, MAX_LIMIT = 20, 1000
USERNAME: Final = "simulated-office"
_ORDERS: Final = ("created_at", "updated_at", "id")


def endpoints(key: str) -> list[Endpoint]:
    """Jotform's endpoints for an account with this API key."""

    def guarded(answer: Callable[[World, Call], Answer]) -> Callable[[World, Call], Answer]:
        def check(world: World, call: Call) -> Answer:
            if call.headers.get("apikey") != key:
                return _unauthorised(call)
            if world.behaviour.jotform_calls_left <= 0:
                return refusal(429, "API-Limit exceeded")
            world.behaviour.jotform_calls_left -= 1
            return answer(world, call)

        return check

    return [
        Endpoint("jotform.user", "GET", "/user", guarded(_user)),
        Endpoint("jotform.forms", "GET", "/user/forms", guarded(_forms)),
        Endpoint("jotform.questions", "GET", "/form/{id}/questions", guarded(_questions)),
        Endpoint("jotform.submissions", "GET", "/form/{id}/submissions", guarded(_submissions)),
    ]


def _envelope(world: World, content: object, **extra: object) -> Answer:
    return Answer(
        200,
        {
            "responseCode": 200,
            "message": "success",
            "content": content,
            "duration": "24ms",
            **extra,
            "limit-left": world.behaviour.jotform_calls_left,
        },
    )


def refusal(status: int, message: str) -> Answer:
    """An error as Jotform tells it."""
    return Answer(status, {"responseCode": status, "message": message, "content": "", "duration": "3ms"})


def _unauthorised(call: Call) -> Answer:
    return refusal(401, f"You're not authorized to use ({call.endpoint.replace('.', '-')})")


def _clock(world: World, moment: datetime | None) -> str | None:
    """A time as Jotform writes it: the wall clock of the account, without an offset."""
    return moment.astimezone(world.program.zone).strftime("%Y-%m-%d %H:%M:%S") if moment else None


def _form(world: World, call: Call) -> Form | None:
    return next((form for form in world.forms.values() if form.form_id == call.path["id"]), None)


def _user(world: World, _call: Call) -> Answer:
    return _envelope(
        world,
        {
            "username": USERNAME,
            "name": "Simulated Office",
            "email": "office@example.org",
            "time_zone": world.program.jotform.timezone,
            "account_type": {"name": "GOLD"},
            "status": "ACTIVE",
        },
    )


def _forms(world: World, call: Call) -> Answer:
    offset, limit = (
        call.number("offset", 0, at_least=0),
        call.number("limit", DEFAULT_LIMIT, at_least=1, at_most=MAX_LIMIT),
    )
    rows = [
        {
            "id": form.form_id,
            "username": USERNAME,
            "title": form.title,
            "height": "539",
            "status": "ENABLED",
            "new": "0",
            "count": str(sum(s.form == form.name for s in world.submissions.values())),
            "type": "LEGACY",
            "favorite": "0",
            "archived": "0",
            "url": f"https://form.example.org/{form.form_id}",
        }
        for form in world.forms.values()
    ][offset : offset + limit]
    return _envelope(world, rows, resultSet={"offset": offset, "limit": limit, "count": len(rows)})


def _questions(world: World, call: Call) -> Answer:
    form = _form(world, call)
    if form is None:
        return _unauthorised(call)
    return _envelope(world, {qid: _question(question) for qid, question in form.questions.items()})


def _question(question: Question) -> dict[str, str]:
    wire = {
        "qid": question.qid,
        "name": question.name,
        "order": str(question.order),
        "text": question.text,
        "type": question.type,
        "required": "Yes" if question.required else "No",
        "hidden": "Yes" if question.hidden else "No",
    }
    return {**wire, "options": "|".join(question.options)} if question.options else wire


def _submissions(world: World, call: Call) -> Answer:
    form = _form(world, call)
    if form is None:
        return _unauthorised(call)
    conditions = _conditions(call.query.get("filter"))
    if conditions is None:
        return refusal(400, "The filter is not valid")
    offset, limit = (
        call.number("offset", 0, at_least=0),
        call.number("limit", DEFAULT_LIMIT, at_least=1, at_most=MAX_LIMIT),
    )
    order = call.query.get("orderby", "created_at")
    order = order if order in _ORDERS else "created_at"
    rows = [
        (_columns(world, submission), submission)
        for submission in world.submissions.values()
        if submission.form == form.name
    ]
    rows = [(columns, submission) for columns, submission in rows if _matches(columns, conditions)]
    rows.sort(
        key=lambda row: (row[0][order] or "", row[0]["id"] or ""),
        reverse=call.query.get("direction", "DESC").upper() != "ASC",
    )
    rows = rows[call.rows_gone :]
    start = max(0, offset + call.rows_shifted)
    page = [_submission(columns, submission, form) for columns, submission in rows[start : start + limit]]
    result_set: dict[str, object] = {"offset": offset, "limit": limit, "orderby": order, "count": len(page)}
    if conditions:
        result_set["filter"] = {f"{name}:{operator}": value for name, operator, value in conditions}
    return _envelope(world, page, resultSet=result_set)


def _columns(world: World, submission: Submission) -> dict[str, str | None]:
    """What can be filtered and sorted by, as it stands on the wire."""
    return {
        "id": submission.id,
        "created_at": _clock(world, submission.created_at),
        "updated_at": _clock(world, submission.updated_at),
        "status": submission.status,
    }


def _conditions(text: str | None) -> Sequence[tuple[str, str, str]] | None:
    """The filter's conditions as (column, operator, value); None when it cannot be understood."""
    if not text:
        return []
    try:
        conditions = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(conditions, dict):
        return None
    parsed = [(*key.partition(":")[::2], str(value)) for key, value in conditions.items()]
    if any(name not in (*_ORDERS, "status") or operator not in {"gt", "lt", "ne", ""} for name, operator, _ in parsed):
        return None
    return parsed


def _matches(columns: Mapping[str, str | None], conditions: Sequence[tuple[str, str, str]]) -> bool:
    """Whether a submission passes the filter; `gt` and `lt` are strict, and null passes neither."""
    for name, operator, wanted in conditions:
        value = columns[name]
        match operator:
            case "gt":
                passes = value is not None and value > wanted
            case "lt":
                passes = value is not None and value < wanted
            case "ne":
                passes = value != wanted
            case _:
                passes = value == wanted
        if not passes:
            return False
    return True


def _submission(columns: Mapping[str, str | None], submission: Submission, form: Form) -> dict[str, object]:
    return {
        "id": submission.id,
        "form_id": form.form_id,
        "ip": "192.0.2.10",
        "created_at": columns["created_at"],
        "status": submission.status,
        "new": "1",
        "flag": "0",
        "notes": "",
        "updated_at": columns["updated_at"],
        "answers": {qid: _answer(question, submission.answers.get(qid)) for qid, question in form.questions.items()},
    }


def _answer(question: Question, answer: object) -> dict[str, object]:
    wire: dict[str, object] = {
        "name": question.name,
        "order": str(question.order),
        "text": question.text,
        "type": question.type,
    }
    if answer is not None:
        wire["answer"] = answer
        formatted = pretty(question, answer)
        if formatted:
            wire["prettyFormat"] = formatted
    return wire
