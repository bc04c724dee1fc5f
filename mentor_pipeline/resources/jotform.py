"""Client of Jotform: a form's submissions and questions, read whole.

Jotform tells neither how many submissions there are nor that rows moved between two pages, and it reports errors
inside a body that came with HTTP 200; this module deals with all of that, so that a list it returns is complete. It
only reads. What an answer in a submission means is in `domain.submissions`.
"""

from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from mentor_pipeline.errors import ApiError
from mentor_pipeline.resources.http import Answer, ApiResource, Json, Progress, ServiceApi, is_success
from mentor_pipeline.settings import JOTFORM_KEY

PAGE_ROWS: Final = 1000
OVERLAP_ROWS: Final = 20
"""Rows that a page repeats from the one before: while one of them is there, no row slipped through between the two."""

_QUOTA_WORDS: Final = "api-limit exceeded"
_QUOTA_ZONE: Final = ZoneInfo("America/New_York")


class _RowsMovedError(Exception):
    """Rows moved between two pages, so that some may have been missed."""


class JotformApi(ServiceApi):
    """Calls to Jotform; reads the status that Jotform puts into the body.

    Attributes:
        limit_left: calls that remain today, as the last answer said; None before the first.
    """

    service: ClassVar[str] = "Jotform"
    key_setting: ClassVar[str] = JOTFORM_KEY
    url_setting: ClassVar[str] = "JOTFORM_BASE_URL"
    limit_left: int | None = None

    def content(self, path: str, params: dict[str, str | int] | None = None) -> Json:
        """One reading call; returns the envelope, which holds `content`."""
        answer = self.request("GET", path, params=params)
        if not isinstance(answer.body, dict) or "content" not in answer.body:
            raise self.error(
                call=answer.call,
                what=f"answered without content, with {self.shape(answer)}",
                advice=f"That is no answer of the Jotform API: check {self.url_setting}.",
                status=answer.status,
            )
        return answer.body

    def _key_header(self, key: str) -> dict[str, str]:
        return {"APIKEY": key}

    def _status(self, answer: Answer) -> int:
        """The body's responseCode where HTTP says that all is well."""
        if not isinstance(answer.body, dict):
            return answer.status
        self.limit_left = _number(answer.body.get("limit-left"), self.limit_left)
        in_body = _number(answer.body.get("responseCode"), answer.status)
        return in_body if in_body is not None and is_success(answer.status) else answer.status

    def _refusal(self, status: int, answer: Answer) -> ApiError:
        if _QUOTA_WORDS not in self._said(answer).lower():
            return super()._refusal(status, answer)
        now = datetime.now(UTC)
        reset = quota_reset(now)
        return ApiError(
            f"{self.service}, {answer.call}: the account's calls for today are used up (API-Limit exceeded). "
            f"Nothing was written. The count starts again at midnight US Eastern time ({reset:%Y-%m-%d %H:%M} UTC): "
            "run it again after that, or raise the account's plan.",
            retryable=False,
            status=status,
            retry_after=reset - now,
        )


class JotformResource(ApiResource):
    """Jotform, read only."""

    base_url: str = Field(default="https://api.jotform.com", description="Address of the Jotform API.")

    @property
    def limit_left(self) -> int | None:
        """Calls that remain today, as Jotform last said."""
        return self._api.limit_left if isinstance(self._api, JotformApi) else None

    def submissions(self, form_id: str, on_page: Progress | None = None) -> list[Json]:
        """Every submission of a form, whatever its status, oldest first, each once.

        Args:
            form_id: Jotform form id.
            on_page: called after each page with the rows so far; Jotform never tells how many there are.

        Raises:
            ApiError: Jotform refused, or the list kept moving while it was read.
        """
        try:
            return self._read_submissions(form_id, on_page)
        except _RowsMovedError:
            pass
        try:
            return self._read_submissions(form_id, on_page)
        except _RowsMovedError as error:
            raise self._connected().error(
                call=f"GET /form/{form_id}/submissions",
                what=f"the list does not fit together, twice in a row ({error}), so rows may be missing",
                advice="Run it again in a few minutes.",
                retryable=True,
            ) from error

    def questions(self, form_id: str) -> dict[str, Json]:
        """A form's questions by question id."""
        content = self._of_form(form_id, f"/form/{form_id}/questions")["content"]
        # PHP writes an empty object as an empty list.
        return {str(qid): question for qid, question in content.items()} if isinstance(content, dict) else {}

    def user(self) -> Json:
        """The account that the key belongs to; the cheapest call that needs a key."""
        content = self._connected().content("/user")["content"]
        return content if isinstance(content, dict) else {}

    def _read_submissions(self, form_id: str, on_page: Progress | None) -> list[Json]:
        """One read of all pages.

        Each page starts a few rows before the end of the one before. When fewer rows than that went away in
        between, nothing is missed; when none of the repeated rows is there, something may be.
        """
        rows: dict[str, Json] = {}
        offset = 0
        while True:
            envelope = self._of_form(
                form_id,
                f"/form/{form_id}/submissions",
                {"limit": PAGE_ROWS, "offset": offset, "orderby": "created_at", "direction": "ASC"},
            )
            page, limit = self._page(form_id, envelope)
            known = len(rows)
            joined = any(str(row["id"]) in rows for row in page)
            rows |= {str(row["id"]): row for row in page}
            if known and not joined:
                msg = f"the page from row {offset} does not continue the one before"
                raise _RowsMovedError(msg)
            if on_page:
                on_page(len(rows), None)
            if len(page) < limit:
                return list(rows.values())
            if len(rows) == known:
                msg = f"the page from row {offset} brought nothing new"
                raise _RowsMovedError(msg)
            offset += len(page) - min(OVERLAP_ROWS, len(page) // 2)

    def _page(self, form_id: str, envelope: Json) -> tuple[list[Json], int]:
        """The rows of a page, and how many a full one has (Jotform may allow fewer than we ask for)."""
        page, told = envelope["content"], envelope.get("resultSet")
        if not isinstance(page, list) or not all(isinstance(row, dict) and row.get("id") for row in page):
            raise self._connected().error(
                call=f"GET /form/{form_id}/submissions",
                what="answered with something that is no list of submissions",
                advice="Nobody but Jotform can put that right: try again later, then ask their support.",
                status=HTTPStatus.OK,
            )
        told = told if isinstance(told, dict) else {}
        if (count := _number(told.get("count"), len(page))) != len(page):
            msg = f"a page of {count} rows came with {len(page)}"
            raise _RowsMovedError(msg)
        return page, min(PAGE_ROWS, _number(told.get("limit"), None) or PAGE_ROWS)

    def _of_form(self, form_id: str, path: str, params: dict[str, str | int] | None = None) -> Json:
        """A call about a form; tells a refused key from a wrong form id, for which Jotform answers the same 401."""
        try:
            return self._connected().content(path, params)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
            refused = error
        try:
            self.user()
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise refused from error
            what = "answered 401, and GET /user does too: the key is refused"
            advice = f"Check {JOTFORM_KEY}, or make a new key in Jotform (a read-only one is enough)."
        else:
            what = f"answered 401, but the key is fine (GET /user works): the form id {form_id} is wrong"
            advice = "Check form_id in the year file, and that the key belongs to the account that owns the form."
        raise self._connected().error(
            call=f"GET {path}", what=what, advice=advice, status=HTTPStatus.UNAUTHORIZED
        ) from refused

    def _connected(self) -> JotformApi:
        if not isinstance(self._api, JotformApi):
            self._api = JotformApi(self._key(), self.base_url, timeout_seconds=self.timeout_seconds)
        return self._api


def quota_reset(now: datetime) -> datetime:
    """When Jotform's daily count of calls starts again: the next midnight US Eastern time, in UTC."""
    tomorrow = now.astimezone(_QUOTA_ZONE).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), _QUOTA_ZONE).astimezone(UTC)


def _number(value: Any, otherwise: int | None) -> int | None:
    """A count that may come as text."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return otherwise
