"""Jotform's wire facts, over real HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mentor_pipeline.simulator import World, WorldError
from mentor_pipeline.simulator.forms import phone_answer

if TYPE_CHECKING:
    import httpx

    from mentor_pipeline.settings import ProgramYear
    from tests.simulator.conftest import Clock

SIGNUPS = "/form/250685983663169/submissions"


def submissions(jotform: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = jotform.get(SIGNUPS, params={"limit": 1000, "orderby": "created_at", "direction": "ASC", **query})
    assert answer.status_code == 200
    return answer.json()["content"]


def signup(world: World, **answers: object) -> str:
    return world.submit("signup", **{"name": "Maya Foxgrove", "phone": "+17065550142", **answers})


def test_envelope_has_this_pages_count_and_what_is_left_of_the_quota(world: World, jotform: httpx.Client) -> None:
    for _ in range(3):
        signup(world)
    body = jotform.get(SIGNUPS, params={"limit": 2, "offset": 2}).json()
    assert (body["responseCode"], body["message"]) == (200, "success")
    assert body["resultSet"] == {"offset": 2, "limit": 2, "orderby": "created_at", "count": 1}
    assert body["limit-left"] == 99_999
    assert body["duration"].endswith("ms")


def test_limit_is_20_by_default_and_1000_at_most(world: World, jotform: httpx.Client) -> None:
    for _ in range(1001):
        signup(world)
    assert len(jotform.get(SIGNUPS).json()["content"]) == 20
    assert len(jotform.get(SIGNUPS, params={"limit": 5000}).json()["content"]) == 1000


def test_pages_in_both_directions(world: World, jotform: httpx.Client, clock: Clock) -> None:
    ids = []
    for _ in range(5):
        ids.append(signup(world))
        clock.forward(minutes=1)
    assert [s["id"] for s in submissions(jotform)] == ids
    assert [s["id"] for s in submissions(jotform, direction="DESC")] == ids[::-1]
    pages = [submissions(jotform, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [[s["id"] for s in page] for page in pages] == [ids[:2], ids[2:4], ids[4:]]


def test_every_scalar_is_text_and_the_first_edit_sets_updated_at(
    world: World, jotform: httpx.Client, clock: Clock
) -> None:
    submission_id = signup(world, shirt_size="M")
    [before] = submissions(jotform)
    assert before["id"] == submission_id
    assert before["updated_at"] is None
    assert before["status"] == "ACTIVE"
    assert {type(before[key]) for key in ("id", "form_id", "ip", "created_at", "status", "new", "flag", "notes")} == {
        str
    }
    clock.forward(hours=1)
    world.edit_submission(submission_id, shirt_size="L")
    [after] = submissions(jotform)
    assert after["updated_at"] == "2025-10-01 13:00:00"
    assert after["created_at"] == before["created_at"]
    assert after["answers"]["10"]["answer"] == "L"


def test_times_are_the_wall_clock_of_the_years_zone(world: World, jotform: httpx.Client) -> None:
    world.submit("signup", created_at=datetime(2025, 7, 1, 12, tzinfo=UTC))
    world.submit("signup", created_at=datetime(2025, 12, 1, 12, tzinfo=UTC))
    assert [s["created_at"] for s in submissions(jotform)] == ["2025-07-01 08:00:00", "2025-12-01 07:00:00"]


def test_filters_are_strict_to_the_second_and_null_passes_none(
    world: World, jotform: httpx.Client, clock: Clock
) -> None:
    first, second = signup(world), signup(world)
    clock.forward(seconds=1)
    third = signup(world)
    world.edit_submission(first, prefix="Mai")

    def found(**conditions: str) -> set[str]:
        return {s["id"] for s in submissions(jotform, filter=json.dumps(conditions))}

    assert found(**{"created_at:gt": "2025-10-01 12:00:00"}) == {third}
    assert found(**{"created_at:gt": "2025-10-01 11:59:59"}) == {first, second, third}
    assert found(**{"updated_at:gt": "2025-10-01 12:00:00"}) == {first}
    assert found(**{"updated_at:gt": "2025-10-01 12:00:01"}) == set()
    assert found(**{"updated_at:lt": "2026-01-01 00:00:00"}) == {first}
    assert found(**{"status:ne": "ACTIVE"}) == set()
    assert jotform.get(SIGNUPS, params={"filter": "{not json"}).status_code == 400


def test_deleted_submissions_come_back_as_tombstones(world: World, jotform: httpx.Client) -> None:
    world.delete_submission(signup(world))
    signup(world, status="OVERQUOTA")
    assert [s["status"] for s in submissions(jotform)] == ["DELETED", "OVERQUOTA"]


def test_unanswered_questions_have_no_answer_and_layout_controls_are_there(world: World, jotform: httpx.Client) -> None:
    signup(world)
    answers = submissions(jotform)[0]["answers"]
    assert "answer" not in answers["8"]
    assert answers["4"]["answer"] == {"first": "Maya", "last": "Foxgrove"}
    assert answers["4"]["prettyFormat"] == "Maya Foxgrove"
    assert answers["6"]["answer"] == {"full": "+17065550142"}
    assert {"control_head", "control_button", "control_text", "control_pagebreak"} <= {
        a["type"] for a in answers.values()
    }
    assert all(isinstance(answer["order"], str) for answer in answers.values())


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (0, {"full": "(706) 555-0142"}),
        (1, {"area": "706", "phone": "555-0142"}),
        (2, {"country": "1", "area": "706", "phone": "5550142"}),
        (3, "706-555-0142"),
        (4, {"full": "+17065550142"}),
        (5, "706.555.0142"),
    ],
)
def test_phone_variants(world: World, jotform: httpx.Client, variant: int, expected: object) -> None:
    answer = phone_answer("+17065550142", variant)
    world.submit("signup", phone=answer)
    wire = submissions(jotform)[0]["answers"]["6"]["answer"]
    assert wire == (expected if isinstance(answer, dict) else {"full": expected})


def test_objects_and_lists_are_sent_as_they_are(world: World, jotform: httpx.Client) -> None:
    name = {"prefix": "Ms.", "first": "Ana", "middle": "B", "last": "Foxgrove", "suffix": "Jr."}
    heard = {"0": "Friend", "other": "a poster"}
    checkbox = next(q.qid for q in world.forms["signup"].questions.values() if q.type == "control_checkbox")
    world.submit("signup", name=name, **{f"q{checkbox}": heard})
    answers = submissions(jotform)[0]["answers"]
    assert answers["4"]["answer"] == name
    assert answers[checkbox]["answer"] == heard


def test_questions_are_an_object_by_qid(jotform: httpx.Client) -> None:
    questions = jotform.get("/form/250685983663169/questions").json()["content"]
    assert questions["3"]["type"] == "control_autoincrement"
    assert questions["10"]["options"] == "XS|S|M|L|XL|2XL"
    assert all(qid == question["qid"] for qid, question in questions.items())
    assert set(questions["4"]) == {"qid", "name", "order", "text", "type", "required", "hidden"}


def test_a_field_mapped_to_a_name_gets_a_question_of_that_name(program: ProgramYear) -> None:
    fields = program.jotform.signup.fields.model_copy(update={"prefix": "goesBy"})
    form = program.jotform.signup.model_copy(update={"fields": fields})
    other = program.model_copy(update={"jotform": program.jotform.model_copy(update={"signup": form})})
    questions = World.empty(other).forms["signup"]
    assert questions.questions[questions.qids["prefix"]].name == "goesBy"
    assert questions.qids["prefix"] not in fields.model_dump(exclude={"prefix"}).values()


def test_wrong_key_and_unknown_form_get_the_same_answer_and_the_probe_tells_them_apart(jotform: httpx.Client) -> None:
    unknown_form = jotform.get("/form/1/submissions")
    wrong_key = jotform.get("/form/1/submissions", headers={"APIKEY": "wrong"})
    assert unknown_form.status_code == wrong_key.status_code == 401
    assert unknown_form.json() == wrong_key.json()
    assert jotform.get("/user").status_code == 200
    assert jotform.get("/user", headers={"APIKEY": "wrong"}).status_code == 401


def test_forms_are_listed(jotform: httpx.Client, world: World) -> None:
    signup(world)
    forms = jotform.get("/user/forms").json()["content"]
    assert [form["id"] for form in forms] == [form.form_id for form in world.forms.values()]
    assert forms[0]["count"] == "1"


def test_an_exhausted_quota_says_so(world: World, jotform: httpx.Client) -> None:
    world.behaviour.jotform_calls_left = 1
    assert jotform.get("/user").json()["limit-left"] == 0
    answer = jotform.get("/user")
    assert answer.status_code == 429
    assert "API-Limit exceeded" in answer.json()["message"]


def test_unknown_fields_forms_and_submissions_are_refused(world: World) -> None:
    with pytest.raises(WorldError, match="no field"):
        world.submit("signup", shoe_size="9")
    with pytest.raises(WorldError, match="no submission"):
        world.edit_submission("1", prefix="Al")
    assert world.submissions == {}
