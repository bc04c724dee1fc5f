"""Jotform's client: whole forms, also while they change, and errors that say whose fault it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mentor_pipeline.errors import ApiError
from mentor_pipeline.resources.jotform import JotformResource, quota_reset
from tests.resources.scripted import Asked, Reply, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_waiting")

FORM = "250685983663169"


def envelope(content: Any, **more: Any) -> Reply:
    return Reply({"responseCode": 200, "message": "success", "content": content, "limit-left": 9000, **more})


def refused(status: int, message: str, *, http: int | None = None) -> Reply:
    return Reply({"responseCode": status, "message": message, "content": ""}, status if http is None else http)


class Form:
    """A form with submissions 1..count; `meanwhile` runs before each answer, with the number of the call."""

    def __init__(self, count: int, *, limit: int = 1000, meanwhile: Callable[[Form, int], None] | None = None) -> None:
        self.ids = [str(number) for number in range(1, count + 1)]
        self.limit = limit
        self.meanwhile = meanwhile
        self.calls = 0

    def __call__(self, asked: Asked) -> Reply:
        self.calls += 1
        if self.meanwhile:
            self.meanwhile(self, self.calls)
        offset, limit = int(asked.query["offset"]), min(self.limit, int(asked.query["limit"]))
        page = [{"id": id_, "form_id": FORM} for id_ in self.ids[offset : offset + limit]]
        return envelope(page, resultSet={"offset": offset, "limit": limit, "count": len(page)})


def client(server: Scripted) -> JotformResource:
    return JotformResource(api_key="nobodys-key", base_url=server.url)


def ids(submissions: list[dict[str, Any]]) -> list[str]:
    return [submission["id"] for submission in submissions]


class TestSubmissions:
    @pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 1980, 2000, 2961])
    def test_a_form_is_read_whole_each_row_once(self, count: int) -> None:
        form = Form(count)
        with Scripted(form) as server:
            assert ids(client(server).submissions(FORM)) == form.ids

    def test_order_and_page_size_are_always_asked_for(self) -> None:
        with Scripted(Form(1)) as server:
            client(server).submissions(FORM)
            assert server.asked[0].path == f"/form/{FORM}/submissions"
            assert server.asked[0].query == {
                "limit": "1000", "offset": "0", "orderby": "created_at", "direction": "ASC",
            }  # fmt: skip

    def test_progress_is_told_after_each_page(self) -> None:
        told: list[tuple[int, int | None]] = []
        with Scripted(Form(1500)) as server:
            client(server).submissions(FORM, on_page=lambda done, total: told.append((done, total)))
        assert told == [(1000, None), (1500, None)]

    def test_a_server_that_gives_smaller_pages_than_asked_for(self) -> None:
        form = Form(95, limit=30)
        with Scripted(form) as server:
            assert ids(client(server).submissions(FORM)) == form.ids

    def test_rows_deleted_between_two_pages_cost_no_other_row(self) -> None:
        def delete_a_few(form: Form, call: int) -> None:
            if call == 2:
                del form.ids[:15]

        form = Form(1500, meanwhile=delete_a_few)
        with Scripted(form) as server:
            read = ids(client(server).submissions(FORM))
        assert set(form.ids) <= set(read)
        assert form.calls == 2

    def test_many_rows_deleted_between_two_pages_make_it_read_again(self) -> None:
        def delete_many(form: Form, call: int) -> None:
            if call == 2:
                del form.ids[:200]

        form = Form(1500, meanwhile=delete_many)
        with Scripted(form) as server:
            assert ids(client(server).submissions(FORM)) == form.ids
        assert form.calls == 4

    def test_rows_that_arrive_meanwhile_are_no_duplicates(self) -> None:
        def arrive(form: Form, call: int) -> None:
            if call == 2:
                form.ids.insert(0, "early")
                form.ids.append("late")

        form = Form(1500, meanwhile=arrive)
        with Scripted(form) as server:
            read = ids(client(server).submissions(FORM))
        assert len(read) == len(set(read)) == 1501  # the early one comes with the next read
        assert read[-1] == "late"

    def test_a_list_that_never_fits_together_fails(self) -> None:
        def keep_deleting(form: Form, call: int) -> None:
            if call % 2 == 0:
                del form.ids[:200]

        with (
            Scripted(Form(3000, meanwhile=keep_deleting)) as server,
            pytest.raises(ApiError, match=r"does not fit together.*Nothing was written") as caught,
        ):
            client(server).submissions(FORM)
        assert caught.value.retryable

    def test_a_server_that_forgets_the_offset_does_not_go_on_for_ever(self) -> None:
        page = [{"id": str(number)} for number in range(1000)]
        with Scripted([envelope(page)]) as server, pytest.raises(ApiError, match="brought nothing new"):
            client(server).submissions(FORM)

    def test_a_count_that_differs_from_the_rows_is_read_again(self) -> None:
        short = envelope([{"id": "1"}], resultSet={"count": 2, "limit": 1000})
        whole = envelope([{"id": "1"}, {"id": "2"}], resultSet={"count": "2", "limit": "1000"})
        with Scripted([short, whole]) as server:
            assert ids(client(server).submissions(FORM)) == ["1", "2"]
        with Scripted([short]) as server, pytest.raises(ApiError, match="a page of 2 rows came with 1"):
            client(server).submissions(FORM)

    @pytest.mark.parametrize("content", [None, "", {"1": {}}, ["1"], [{"form_id": FORM}], [{"id": None}]])
    def test_content_that_is_no_list_of_submissions_is_no_empty_form(self, content: Any) -> None:
        with Scripted([envelope(content)]) as server, pytest.raises(ApiError, match="no list of submissions"):
            client(server).submissions(FORM)

    def test_an_error_on_the_second_page_gives_nothing(self) -> None:
        pages = Form(1500)
        with (
            Scripted(lambda asked: pages(asked) if asked.query["offset"] == "0" else refused(404, "gone")) as server,
            pytest.raises(ApiError, match=r"offset=980.*answered 404"),
        ):
            client(server).submissions(FORM)


class TestCodesInsideTheBody:
    def test_an_error_that_came_with_http_200(self) -> None:
        with Scripted([refused(404, "Requested URL is not available", http=200)]) as server:
            jotform = client(server)
            with pytest.raises(ApiError, match=r"answered 404 Not Found .*Requested URL is not available") as caught:
                jotform.questions(FORM)
        assert (caught.value.status, jotform.calls) == (404, 1)

    def test_one_that_may_pass_is_tried_again(self) -> None:
        with Scripted([refused(503, "busy", http=200), refused(429, "slowly", http=200), envelope({})]) as server:
            jotform = client(server)
            assert jotform.questions(FORM) == {}
        assert jotform.retries == 2

    @pytest.mark.parametrize("code", ["200", 200, 206])
    def test_success_in_any_spelling(self, code: Any) -> None:
        with Scripted([Reply({"responseCode": code, "content": {"username": "office"}})]) as server:
            assert client(server).user() == {"username": "office"}

    @pytest.mark.parametrize(("status", "http"), [(429, 429), (403, 403), (403, 200), (429, 200)])
    def test_a_used_up_quota_is_not_asked_again(self, status: int, http: int) -> None:
        with Scripted([refused(status, "API-Limit exceeded", http=http)]) as server:
            jotform = client(server)
            with pytest.raises(ApiError, match=r"used up.*midnight US Eastern.*UTC\): run it again after") as caught:
                jotform.submissions(FORM)
        assert jotform.calls == 1
        assert not caught.value.retryable
        assert caught.value.retry_after is not None

    def test_what_is_left_of_the_quota(self) -> None:
        with Scripted([envelope({}, **{"limit-left": "12"})]) as server:
            jotform = client(server)
            assert jotform.limit_left is None
            jotform.user()
            assert jotform.limit_left == 12

    @pytest.mark.parametrize(
        ("now", "reset"),
        [
            (datetime(2025, 7, 1, 12, tzinfo=UTC), datetime(2025, 7, 2, 4, tzinfo=UTC)),
            (datetime(2025, 12, 1, 3, tzinfo=UTC), datetime(2025, 12, 1, 5, tzinfo=UTC)),
            (datetime(2025, 11, 2, 4, 30, tzinfo=UTC), datetime(2025, 11, 3, 5, tzinfo=UTC)),
        ],
    )
    def test_midnight_eastern(self, now: datetime, reset: datetime) -> None:
        assert quota_reset(now) == reset


class TestUnauthorised:
    @pytest.mark.parametrize("http", [401, 200])
    def test_a_wrong_form_id(self, http: int) -> None:
        def answer(asked: Asked) -> Reply:
            return envelope({}) if asked.path == "/user" else refused(401, "You're not authorized", http=http)

        with Scripted(answer) as server:
            with pytest.raises(ApiError, match=rf"the key is fine.*the form id {FORM} is wrong.*year file") as caught:
                client(server).submissions(FORM)
            assert [asked.path for asked in server.asked] == [f"/form/{FORM}/submissions", "/user"]
        assert (caught.value.status, caught.value.retryable) == (401, False)

    def test_a_wrong_key(self) -> None:
        with (
            Scripted([refused(401, "You're not authorized")]) as server,
            pytest.raises(ApiError, match=r"the key is refused.*JOTFORM_API_KEY"),
        ):
            client(server).questions(FORM)

    def test_when_nobody_can_tell(self) -> None:
        def answer(asked: Asked) -> Reply:
            return refused(400, "bad day") if asked.path == "/user" else refused(401, "You're not authorized")

        with Scripted(answer) as server, pytest.raises(ApiError, match=r"answered 401.*You're not authorized"):
            client(server).questions(FORM)


class TestQuestions:
    def test_by_question_id(self) -> None:
        questions = {"3": {"qid": "3", "name": "mentorId", "text": "Mentor id", "type": "control_autoincrement"}}
        with Scripted([envelope(questions)]) as server:
            assert client(server).questions(FORM) == questions

    def test_an_empty_form_comes_as_a_list(self) -> None:
        with Scripted([envelope([])]) as server:
            assert client(server).questions(FORM) == {}
