"""What the clients of both services share: one way to call, to wait, to retry and to say what went wrong.

A `ServiceApi` makes paced calls to one host, tries again only what can succeed later (408, 429, 5xx, no answer) and
turns every other answer into an `ApiError` that tells an operator which service, which call, what came back, what was
left untouched and what to do. Keys travel in a header only; they never appear in a URL, a log line, a message or a
repr. What an answer means (envelopes, pages, error codes inside a body) belongs to `jotform` and `givebutter`.
"""

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import dagster as dg
import orjson
from pydantic import Field, PrivateAttr

from mentor_pipeline.errors import ApiError, ConfigError

if TYPE_CHECKING:
    import httpx
    from pyrate_limiter import Limiter
    from stamina.instrumentation import RetryDetails

Json: TypeAlias = dict[str, Any]
"""A JSON object as a service sent it."""
Progress: TypeAlias = Callable[[int, int | None], None]
"""Called after each page with the rows read so far and, where the service tells it, the rows there are."""

TRIES: Final = 6
TOTAL_TIME: Final = timedelta(minutes=5)
LONGEST_WAIT: Final = timedelta(minutes=2)
"""A service that asks for a longer wait than this is not waited for; the error says when to come back."""
SOON: Final = timedelta(seconds=5)
"""What mostly stays as it is (no such host, nobody listening, a web page) is tried again only until then. With the
pause before the last try that makes about ten seconds."""
CONNECT_SECONDS: Final = 5.0
LONGEST_ANSWER: Final = 3
"""So many times the timeout a whole answer may take, however steadily it drips."""
LARGEST_ANSWER: Final = 100_000_000
"""Bytes, unpacked. The largest that there can be is a page of 1,000 submissions, with 100,000 for each."""
CLOCK_TOLERANCE: Final = timedelta(minutes=1)
"""A smaller difference of clocks is none: answers take their time, and a Date header knows no fractions."""

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_ENCODINGS: Final = frozenset({"", "identity", "gzip"})
_TEMPORARY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_SHOWN_CHARACTERS: Final = 200
_TAG: Final = re.compile(r"<[^>]*>")
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")

logger = logging.getLogger(__name__)


def is_success(status: int) -> bool:
    """True for a status that says that the call was carried out: 2xx."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def is_temporary(status: int) -> bool:
    """True for a status after which the same call may succeed later: 408, 429 and 5xx."""
    return status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def printable(text: str, *, secret: str = "", longest: int = _SHOWN_CHARACTERS) -> str:
    """Foreign text as it may be shown: one short line without the secret, terminal escapes or control characters."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    text = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)
    if secret:  # now: what stood between its letters is gone
        text = text.replace(secret, "[key]")
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def wait_asked_for(header: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After header, seconds or an HTTP date; None when there is none that can be read."""
    text = (header or "").strip()
    try:
        if text.isascii() and text.isdigit():
            return timedelta(seconds=int(text))
    except OverflowError:
        return timedelta.max
    moment = _moment(text)
    return max(timedelta(0), moment - now) if moment else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service sent back to one call.

    Attributes:
        call: the call as an operator may see it, e.g. `GET /contacts?page=3`.
        method: its HTTP method.
        status: HTTP status.
        body: the decoded JSON; None when the body is empty or no JSON.
        text: the body as it may be shown.
        headers: its headers.
        now: when it was sent, by the service's clock.
    """

    call: str
    method: str
    status: int
    body: Any
    text: str
    headers: "httpx.Headers"
    now: datetime


class _NoAnswerError(ApiError):
    """No answer came, or one that is none.

    Attributes:
        only_soon: True when a try after `SOON` would most likely bring the same.
    """

    def __init__(self, message: str, *, only_soon: bool, status: int | None = None) -> None:
        super().__init__(message, retryable=True, status=status)
        self.only_soon = only_soon


class _TooLargeError(Exception):
    """An answer that is larger than any that a service gives."""


class ServiceApi(ABC):
    """Calls to one service.

    Attributes:
        calls: requests sent so far, those tried again included.
        retries: how many of them were tried again.
        clock_ahead: by how much the service's clock is ahead of ours, as its last answer said; zero within a minute.
    """

    service: ClassVar[str]
    key_setting: ClassVar[str]
    url_setting: ClassVar[str]

    def __init__(
        self, key: str, base_url: str, *, timeout_seconds: float, requests_per_second: float | None = None
    ) -> None:
        import httpx
        import stamina
        from stamina.instrumentation import set_on_retry_hooks

        self._key = checked_key(key, setting=self.key_setting, service=self.service)
        self._limiter = _limiter(requests_per_second) if requests_per_second else None
        self.calls = 0
        self.retries = 0
        self.clock_ahead = timedelta(0)
        self._gives_no_answer = False
        self._answer_seconds = LONGEST_ANSWER * timeout_seconds
        self._retrying = stamina.RetryingCaller(
            attempts=TRIES, timeout=TOTAL_TIME, wait_initial=0.5, wait_max=30.0, wait_jitter=0.5
        )
        # stamina's own hook would print to standard output, where `--json` promises exactly one document.
        set_on_retry_hooks([_log_retry])
        self._client = httpx.Client(
            base_url=checked_url(base_url, setting=self.url_setting, secret=self._key),
            headers={
                "User-Agent": f"mentor-pipeline/{_version()}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            }
            | self._key_header(self._key),
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, CONNECT_SECONDS)),
            # A redirect is reported, never followed: httpx would carry a key header of its own name to another host.
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        """Without the key."""
        return f"{type(self).__name__}({self._client.base_url})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Json | None = None,
        tolerate: Collection[int] = (),
    ) -> Answer:
        """Make one call, paced, and tried again while that can help.

        Args:
            method: HTTP method. Every call we make may be repeated without harm.
            path: path below the base URL.
            params: query; it is shown in messages, so it holds no secrets.
            body: JSON to send.
            tolerate: error statuses that are an answer to this question; they are returned, not raised.

        Raises:
            ApiError: the service refused, or gave no answer that can be used.
        """
        before, began = self.calls, time.monotonic()

        def is_worth_another_try(error: Exception) -> bool | timedelta:
            return isinstance(error, ApiError) and self._wait_before(error, time.monotonic() - began)

        try:
            answer = self._retrying(is_worth_another_try, self._once, method, path, params, body, tolerate)
        except ApiError as error:
            self._gives_no_answer = isinstance(error, _NoAnswerError)
            tries = self.calls - before
            if tries == 1:
                raise
            msg = f"{error} It was tried {tries} times."
            raise ApiError(
                msg, retryable=error.retryable, status=error.status, retry_after=error.retry_after
            ) from error
        else:
            self._gives_no_answer = False
            return answer
        finally:
            self.retries += self.calls - before - 1

    def error(
        self, *, call: str, what: str, advice: str, retryable: bool = False, status: int | None = None
    ) -> ApiError:
        """An `ApiError` about a reading call, in the form that all of them have."""
        return ApiError(
            f"{self.service}, {call}: {what}. Nothing was written. {advice}", retryable=retryable, status=status
        )

    def shape(self, answer: Answer) -> str:
        """What a body is, without the people in it."""
        body = answer.body
        shape = f"an object of {', '.join(sorted(body))}" if isinstance(body, dict) else f"a {type(body).__name__}"
        return printable(shape, secret=self._key)

    @abstractmethod
    def _key_header(self, key: str) -> dict[str, str]:
        """The header that carries the key."""

    def _status(self, answer: Answer) -> int:
        """The status that counts; a service that puts one into the body overrides this."""
        return answer.status

    def _said(self, answer: Answer) -> str:
        """The service's own words in an error."""
        message = answer.body.get("message") if isinstance(answer.body, dict) else None
        return printable(str(message), secret=self._key) if message else answer.text

    def _advice(self, status: int, answer: Answer) -> str:
        """What an operator should do about an error."""
        if is_temporary(status):
            return f"{self.service} is busy or down: wait a while and run it again."
        if status == HTTPStatus.UNAUTHORIZED:
            return f"The key in {self.key_setting} is refused: check it, or make a new one."
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            target = printable(answer.headers.get("location", "another address"), secret=self._key)
            return f"It points to {target}; that is not followed, the key goes nowhere else: check {self.url_setting}."
        return f"Trying again will not help: check {self.key_setting}, {self.url_setting} and the year file."

    def _refusal(self, status: int, answer: Answer) -> ApiError:
        """The error that an answer other than success becomes."""
        said = f' ("{words}")' if (words := self._said(answer)) else ""
        answered = f"{status} {responses.get(status, '')}".rstrip()
        # A date is one of the service's clock.
        wait = wait_asked_for(answer.headers.get("retry-after"), answer.now)
        advice = self._advice(status, answer)
        if is_temporary(status) and wait is not None and wait > LONGEST_WAIT:
            minutes = wait.total_seconds() / 60
            advice = f"{self.service} asks for a pause of {minutes:,.0f} minutes: run it again after that."
        return ApiError(
            f"{self.service}, {answer.call}: answered {answered}{said}. "
            f"{self._untouched(answer.method, status)} {advice}",
            retryable=is_temporary(status),
            status=status,
            retry_after=wait,
        )

    def _wait_before(self, error: ApiError, elapsed: float) -> bool | timedelta:
        """Whether to try again, and after how long where the service said so."""
        if not error.retryable:
            return False
        if isinstance(error, _NoAnswerError):
            # The tables of a run are read one after the other: what the first waited for in vain, the others do not.
            return not self._gives_no_answer and not (error.only_soon and elapsed > SOON.total_seconds())
        if not error.retry_after:
            return True
        return error.retry_after if error.retry_after <= LONGEST_WAIT else False

    def _untouched(self, method: str, status: int | None) -> str:
        if method == "GET":
            return "Nothing was written."
        if status is None or is_temporary(status):
            return f"Whether {self.service} did it is not known; it is safe to do it again."
        return f"{self.service} changed nothing."

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Json | None,
        tolerate: Collection[int],
    ) -> Answer:
        import httpx

        if self._limiter:
            self._limiter.try_acquire(self.service)
        call = f"{method} {path}{f'?{httpx.QueryParams(params)}' if params else ''}"
        self.calls += 1
        asked_at = datetime.now(UTC)
        try:
            response, content = self._exchange(method, path, params, body)
        except _TooLargeError:
            msg = (
                f"{self.service}, {call}: answered with more than {LARGEST_ANSWER / 1e6:.0f} MB, which was not read. "
                f"{self._untouched(method, None)} That is no answer of the {self.service} API: "
                f"check {self.url_setting}."
            )
            raise ApiError(msg, retryable=False) from None
        except httpx.RequestError as error:
            reason = printable(f"{type(error).__name__}: {error}".rstrip(": "), secret=self._key)
            msg = (
                f"{self.service}, {call}: no usable answer ({reason}). {self._untouched(method, None)} "
                f"Check the connection and {self.url_setting}, then run it again."
            )
            # Its words may be the service's, as where a redirect is broken, and Dagster stores every error of a chain.
            only_soon = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise _NoAnswerError(msg, only_soon=only_soon) from None
        answer = self._answer(call, asked_at, response, content)
        status = self._status(answer)
        if status not in tolerate and not is_success(status):
            raise self._refusal(status, answer)
        if method == "GET" and status not in tolerate and answer.body is None:
            what, advice = self._unreadable(answer)
            msg = f"{self.service}, {call}: answered {status}, but {what}. Nothing was written. {advice}"
            raise _NoAnswerError(msg, only_soon=True, status=status)
        return answer

    def _exchange(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: Json | None
    ) -> "tuple[httpx.Response, bytes]":
        """One request; an answer that goes on dripping is left, too: the timeout is about silence only.

        Raises:
            _TooLargeError: the answer is left unread from there on.
        """
        import httpx

        ends = time.monotonic() + self._answer_seconds
        request = self._client.build_request(method, path, params=params, json=body)
        with closing(self._sent(request)) as response:
            # Packed twice, a single piece of 64 kB could become 64 GB before anybody counts.
            if (encoding := response.headers.get("content-encoding", "")).lower() not in _ENCODINGS:
                msg = f"the answer is encoded as {encoding!r}, which nobody asked for"
                raise httpx.DecodingError(msg, request=response.request)
            pieces, size = [], 0
            for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_ANSWER:
                    raise _TooLargeError
                if time.monotonic() > ends:
                    msg = f"the answer was not complete after {self._answer_seconds:.0f} s"
                    raise httpx.ReadTimeout(msg, request=response.request)
            return response, b"".join(pieces)

    def _sent(self, request: "httpx.Request") -> "httpx.Response":
        import httpx

        try:
            return self._client.send(request, stream=True)
        except UnicodeError:  # not of httpx: two dots in a row, or more than 63 characters between two
            msg = "no host can have such a name"
            raise httpx.ConnectError(msg, request=request) from None

    def _answer(self, call: str, asked_at: datetime, response: "httpx.Response", content: bytes) -> Answer:
        try:
            body = _without_nul(orjson.loads(content)) if b"\\u0000" in content else orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        now = datetime.now(UTC)
        told = _moment(response.headers.get("date")) or now
        # Reckoned from the question: an answer may be long on its way, and a later read must never seem an earlier one.
        is_ours = asked_at - CLOCK_TOLERANCE <= told <= now + CLOCK_TOLERANCE
        self.clock_ahead = timedelta(0) if is_ours else told - asked_at
        text = content[: 20 * _SHOWN_CHARACTERS].decode(errors="replace")
        if _is_page(response.headers):
            title = _TITLE.search(text)
            text = _TAG.sub(" ", title[1] if title else text)
        return Answer(
            call=call,
            method=response.request.method,
            status=response.status_code,
            body=body,
            text=printable(text, secret=self._key),
            headers=response.headers,
            now=now if is_ours else told,
        )

    def _unreadable(self, answer: Answer) -> tuple[str, str]:
        """What came instead of JSON, and what to do; a page in words, but broken data not, for it may hold people's."""
        if _is_page(answer.headers):
            return (
                f'with a web page ("{answer.text}")',
                f"A proxy or a sign-in page may be in between: check {self.url_setting}.",
            )
        what = "with something that is no complete JSON" if answer.text else "with nothing in it"
        return what, f"Run it again in a few minutes; if that stays, check {self.url_setting} and what is in between."


def checked_key(key: str, *, setting: str, service: str) -> str:
    """A key as it can be sent.

    Raises:
        ConfigError: it is empty, or no header can hold it.
    """
    key = key.strip()
    # httpx would show the whole key in its complaint.
    if not re.fullmatch(r"[!-~]+", key):
        fault = "holds characters that no key has" if key else "is empty"
        msg = f"{setting} {fault}: put the {service} key there. Nothing was read or changed."
        raise ConfigError(msg)
    return key


def checked_url(base_url: str, *, setting: str, secret: str = "", gets_key: bool = True) -> "httpx.URL":
    """The address of a service.

    Args:
        base_url: the address.
        setting: where it stands.
        secret: never shown.
        gets_key: a key is sent there, so anything but this machine must be asked over https://.

    Raises:
        ConfigError: it is none.
    """
    import httpx

    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query:
        shown = printable(str(url.copy_with(userinfo=b"", query=None)) or base_url, secret=secret)
        msg = (
            f"{setting} is {shown!r}: expected an address like https://example.org/api, without a key, name or "
            "password in it. Nothing was read or changed."
        )
        raise ConfigError(msg)
    if gets_key and url.scheme == "http" and url.host not in _THIS_MACHINE:
        msg = (
            f"{setting} is {printable(str(url), secret=secret)!r}: expected https://, since over http:// anybody on "
            "the way could read the key. Only a simulator on this machine (127.0.0.1) is asked over http://. Nothing "
            "was read or changed."
        )
        raise ConfigError(msg)
    return url


class ApiResource(dg.ConfigurableResource["ApiResource"]):
    """Base of the two services' resources: where the service is, the key to it, and one client per run."""

    api_key: str = Field(repr=False, description="Key of the service, as dg.EnvVar.")
    base_url: str = Field(description="Address of the service.")
    timeout_seconds: float = Field(default=60.0, gt=0, description="Longest silence that is waited for.")

    _api: ServiceApi | None = PrivateAttr(default=None)

    @property
    def calls(self) -> int:
        """Requests sent so far, those tried again included."""
        return self._api.calls if self._api else 0

    @property
    def retries(self) -> int:
        """How many of them were tried again."""
        return self._api.retries if self._api else 0

    @property
    def clock_ahead(self) -> timedelta:
        """By how much the service's clock is ahead of ours, as its last answer said; zero within a minute."""
        return self._api.clock_ahead if self._api else timedelta(0)

    def counting(self) -> Callable[[], dict[str, int]]:
        """Begin to count, for all assets of a run share one client; what is returned tells the calls since."""
        calls, retries = self.calls, self.retries
        return lambda: {"calls made": self.calls - calls, "calls tried again": self.retries - retries}

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Close the connections at the end of a run."""
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._api:
            self._api.close()
            self._api = None

    def _key(self) -> str:
        """The key itself, also where Dagster did not set the resource up (command line, tests)."""
        return (self.api_key.get_value() or "") if isinstance(self.api_key, dg.EnvVar) else self.api_key


def _without_nul(value: Any) -> Any:
    """The same without the character NUL, which says nothing and which no Postgres takes."""
    match value:
        case str():
            return value.replace("\0", "")
        case list():
            return [_without_nul(one) for one in value]
        case dict():
            return {_without_nul(name): _without_nul(one) for name, one in value.items()}
    return value


def _is_page(headers: "httpx.Headers") -> bool:
    return "html" in headers.get("content-type", "")


def _moment(header: str | None) -> datetime | None:
    """An HTTP date; None when there is none that can be read."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _log_retry(details: "RetryDetails") -> None:
    logger.warning("%s Trying again in %.1f s (try %d).", details.caused_by, details.wait_for, details.retry_num + 1)


def _limiter(requests_per_second: float) -> "Limiter":
    """Evenly spaced calls: GCRA with a burst of one keeps no log of calls and needs no background thread."""
    from pyrate_limiter import GCRA, Limiter, Rate, SingleBucketFactory, StateBucket

    rate = Rate(limit=max(1, round(requests_per_second * 1000)), interval=1_000_000, burst=1)
    return Limiter(SingleBucketFactory(StateBucket([rate], GCRA()), schedule_leak=False), buffer_ms=0)


def _version() -> str:
    try:
        return version("mentor-pipeline")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "source"
