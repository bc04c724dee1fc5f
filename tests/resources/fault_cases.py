"""The faults that the clients are held against, declared once: what goes wrong, what a person is told, what is kept.

`test_faults.py` plays each case over real HTTP against the simulated services and holds the requests, the rows and the
words of the message against what is declared here; docs/faults.md is written from the same declarations by
`python -m tests.resources.fault_cases > docs/faults.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from mentor_pipeline.simulator import World, generate_world
from mentor_pipeline.simulator.faults import Fault, Kind
from tests.acceptance import mishaps
from tests.builders import program

Read: TypeAlias = Literal["contacts", "members", "one by one", "sign-ups", "setup form", "training form"]

REQUESTS: Final[dict[Read, int]] = {
    "contacts": 5,
    "members": 1,
    "one by one": 12,
    "sign-ups": 2,
    "setup form": 1,
    "training form": 1,
}
"""How many requests each list takes when nothing goes wrong: 450 contacts, 1,061 sign-ups."""

AUTUMN = datetime(2025, 11, 2, 4, 30, tzinfo=UTC)
"""Half an hour past midnight, half an hour before the hour that comes twice."""
SPRING = datetime(2025, 3, 9, 6, 30, tzinfo=UTC)
"""Half an hour before two o'clock becomes three."""
NIGHTS = [night + timedelta(hours=hours) for night in (SPRING, AUTUMN) for hours in range(4)]
"""When forms were handed in."""

CLOCK_IS_AHEAD: Final = (
    "This machine's clock is … minutes ahead of Givebutter's: set it right. For contacts Givebutter's is used."
)
"""What a run warns of."""
NOBODY_THERE: Final = "http://127.0.0.1:1"
UNKNOWN_HOST: Final = "https://givebutter.invalid"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, or several at once.

    Attributes:
        title: what goes wrong, in words.
        read: the list that is read.
        faults: what the simulated services do.
        requests: requests that they see.
        again: how many of them were calls tried again; the others read pages once more, or ask what is wrong.
        says: the message, with … where it varies, as do the tries where they hang on waits; None when the list comes
            whole and right.
        warns: what the run warns of though the list comes whole.
        base_url: another address than the simulated services'.
        timeout_seconds: longest silence that the client waits for.
    """

    title: str
    read: Read
    faults: tuple[Fault, ...]
    requests: int
    again: int = 0
    says: str | None = None
    warns: str | None = None
    base_url: str | None = None
    timeout_seconds: float = 20.0

    def is_said_by(self, message: str) -> bool:
        """Whether a message has the declared words."""
        return self.says is not None and bool(re.fullmatch(".+".join(map(re.escape, self.says.split("…"))), message))


def world() -> World:
    """Whom the cases are played with: contacts for five pages, sign-ups for two, forms of two odd nights."""
    made = generate_world(program(), seed=7, mentors=60, contacts=450)
    for number in range(1000):
        made.submit("signup", mn_id=f"MN{5000 + number}", name=f"Ada Elm{number}")
    now = made.clock
    for moment in NIGHTS:
        made.clock = lambda moment=moment: moment  # type: ignore[misc]
        made.submit("training", mn_id="MN5000", phone="706-555-0142")
    made.clock = now
    return made


def _contacts(kind: Kind, **how: object) -> tuple[Fault, ...]:
    return (Fault.model_validate({"endpoint": "givebutter.contacts", "kind": kind, **how}),)


def _signups(kind: Kind, **how: object) -> tuple[Fault, ...]:
    return (Fault.model_validate({"endpoint": "jotform.submissions", "kind": kind, **how}),)


def _members(kind: Kind, **how: object) -> tuple[Fault, ...]:
    return (Fault.model_validate({"endpoint": "givebutter.members", "kind": kind, **how}),)


_BUSY: Final = "Givebutter is busy or down: wait a while and run it again. It was tried 6 times."
_PAGE_3: Final = "Givebutter, GET /contacts?page=3&per_page=100:"
_MEMBERS: Final = "Givebutter, GET /campaigns/…/members?page=1&per_page=100:"
_FORM: Final = "Jotform, GET /form/…/submissions?limit=1000&offset=0&orderby=created_at&direction=ASC:"
_CONNECTION: Final = "Nothing was written. Check the connection and GIVEBUTTER_BASE_URL, then run it again."
_BROKEN: Final = "if that stays, check GIVEBUTTER_BASE_URL and what is in between. It was tried … times."
_SLOWLY: Final[dict[str, object]] = {"status": 429, "message": "Too Many Attempts."}
_QUOTA: Final = (
    "the account's calls for today are used up (API-Limit exceeded). Nothing was written. The count starts again at "
    "midnight US Eastern time (… UTC): run it again after that, or raise the account's plan."
)

CASES: Final = (
    # -- too many calls -----------------------------------------------------------------------------------------------
    Case("429 with Retry-After in seconds", "contacts", _contacts("refused", **_SLOWLY, seconds=1), 6, again=1),
    Case(
        "429 with Retry-After as a date, three times",
        "contacts",
        _contacts("refused", **_SLOWLY, seconds=1, as_date=True, first=2, times=3),
        8,
        again=3,
    ),
    Case(
        "429 with Retry-After as a date, while Givebutter's clock is three hours ahead of ours",
        "contacts",
        _contacts("refused", **_SLOWLY, seconds=1, as_date=True, clock_ahead=10_800),
        6,
        again=1,
    ),
    Case(
        "429 with a Retry-After of an hour",
        "contacts",
        _contacts("refused", **_SLOWLY, seconds=3600, first=3, times=None),
        3,
        says=f'{_PAGE_3} answered 429 Too Many Requests ("Too Many Attempts."). Nothing was written. Givebutter asks '
        "for a pause of 60 minutes: run it again after that.",
    ),
    Case(
        "429 again and again",
        "contacts",
        _contacts("refused", **_SLOWLY, seconds=1, first=3, times=None),
        8,
        again=5,
        says=f'{_PAGE_3} answered 429 Too Many Requests ("Too Many Attempts."). Nothing was written. {_BUSY}',
    ),
    Case(
        "Jotform's quota of the day is used up (429)",
        "sign-ups",
        _signups("refused", status=429, message="API-Limit exceeded", first=2, times=None),
        2,
        says="Jotform, GET /form/…/submissions?limit=1000&offset=980&orderby=created_at&direction=ASC: " + _QUOTA,
    ),
    Case(
        "Jotform's quota of the day is used up (403 inside a body that came with HTTP 200)",
        "setup form",
        _signups("refused_in_body", status=403, message="API-Limit exceeded", times=None),
        1,
        says=f"{_FORM} {_QUOTA}",
    ),
    # -- errors of the service ----------------------------------------------------------------------------------------
    Case("500 twice", "members", _members("refused", status=500, message="Server Error", times=2), 3, again=2),
    Case(
        "502 with a web page of the gateway, once", "contacts", _contacts("web_page", status=502, first=4), 6, again=1
    ),
    Case("503 five times", "setup form", _signups("refused", status=503, times=5), 6, again=5),
    Case(
        "503 for page 3 of 5, always",
        "contacts",
        _contacts("web_page", status=503, query={"page": "3"}, times=None),
        8,
        again=5,
        says=f'{_PAGE_3} answered 503 Service Unavailable ("Service Unavailable"). Nothing was written. {_BUSY}',
    ),
    Case(
        "Jotform says 503 inside a body that came with HTTP 200, twice",
        "setup form",
        _signups("refused_in_body", status=503, message="busy", times=2),
        3,
        again=2,
    ),
    Case(
        "Jotform says 404 inside a body that came with HTTP 200",
        "setup form",
        _signups("refused_in_body", status=404, message="Requested URL is not available", times=None),
        1,
        says=f'{_FORM} answered 404 Not Found ("Requested URL is not available"). Nothing was written. Trying again '
        "will not help: check JOTFORM_API_KEY, JOTFORM_BASE_URL and the year file.",
    ),
    Case(
        "Givebutter says an error inside a body that came with HTTP 200",
        "members",
        _members("refused_in_body", message="Whoops", times=None),
        1,
        says=f"{_MEMBERS} answered without the list it was asked for, with an object of message. Nothing was written. "
        "That is no answer of the Givebutter API: check GIVEBUTTER_BASE_URL.",
    ),
    # -- no answer, or half of one ------------------------------------------------------------------------------------
    Case("A slow answer", "members", _members("slow", seconds=0.3), 1),
    Case("No answer, once", "contacts", _contacts("hang", first=3), 6, again=1, timeout_seconds=1.5),
    Case(
        "No answer, always",
        "members",
        _members("hang", times=None),
        6,
        again=5,
        says=f"{_MEMBERS} no usable answer (ReadTimeout: timed out). {_CONNECTION} It was tried … times.",
        timeout_seconds=0.2,
    ),
    Case(
        "An answer that drips without an end, once",
        "members",
        _members("drip", seconds=3),
        2,
        again=1,
        timeout_seconds=0.8,
    ),
    Case(
        "The connection is reset in the middle of the body, once", "contacts", _contacts("reset", first=3), 6, again=1
    ),
    Case(
        "The connection is reset in the middle of the body, always",
        "members",
        _members("reset", times=None),
        6,
        again=5,
        says=f"{_MEMBERS} no usable answer (…). {_CONNECTION} It was tried 6 times.",
    ),
    Case("JSON that is cut short, once", "sign-ups", _signups("cut_short", first=2), 3, again=1),
    Case(
        "JSON that is cut short, always",
        "members",
        _members("cut_short", times=None),
        6,
        again=5,
        says=f"{_MEMBERS} answered 200, but with something that is no complete JSON. Nothing was written. Run it again "
        f"in a few minutes; {_BROKEN}",
    ),
    Case(
        "A web page instead of JSON, with HTTP 200, once",
        "contacts",
        _contacts("web_page", status=200, first=2),
        6,
        again=1,
    ),
    Case(
        "A web page instead of JSON, with HTTP 200, always",
        "members",
        _members("web_page", status=200, message="Please sign in", times=None),
        6,
        again=5,
        says=f'{_MEMBERS} answered 200, but with a web page ("Please sign in"). Nothing was written. A '
        "proxy or a sign-in page may be in between: check GIVEBUTTER_BASE_URL. It was tried … times.",
    ),
    Case(
        "Nobody listens at the address",
        "members",
        (),
        0,
        again=5,
        says=f"{_MEMBERS} no usable answer (ConnectError: …). {_CONNECTION} It was tried … times.",
        base_url=NOBODY_THERE,
    ),
    Case(
        "No such host",
        "members",
        (),
        0,
        again=5,
        says=f"{_MEMBERS} no usable answer (ConnectError: …). {_CONNECTION} It was tried … times.",
        base_url=UNKNOWN_HOST,
    ),
    # -- keys ---------------------------------------------------------------------------------------------------------
    Case(
        "Givebutter's key is revoked half-way",
        "contacts",
        _contacts("refused", status=401, message="Unauthenticated.", first=3, times=None),
        3,
        says=f'{_PAGE_3} answered 401 Unauthorized ("Unauthenticated."). Nothing was written. The key in '
        "GIVEBUTTER_API_KEY is refused: check it, or make a new one.",
    ),
    Case(
        "Givebutter's key is revoked while contacts are asked for one by one",
        "one by one",
        (Fault(endpoint="givebutter.*", kind="refused", status=401, message="Unauthenticated.", first=6, times=None),),
        6,
        says='Givebutter, GET /contacts/…: answered 401 Unauthorized ("Unauthenticated."). Nothing was written. The '
        "key in GIVEBUTTER_API_KEY is refused: check it, or make a new one.",
    ),
    Case(
        "Jotform's key is revoked half-way",
        "sign-ups",
        (Fault(endpoint="jotform.*", kind="refused", status=401, message="not authorized", first=2, times=None),),
        3,
        says="Jotform, GET /form/…/submissions: answered 401, and GET /user does too: the key is refused. Nothing was "
        "written. Check JOTFORM_API_KEY, or make a new key in Jotform (a read-only one is enough).",
    ),
    # -- lists that move ----------------------------------------------------------------------------------------------
    Case(
        "30 contacts leave the list between two pages",
        "contacts",
        _contacts("rows_gone", rows=30, first=3, times=None),
        6,
    ),
    Case(
        "A page repeats 5 rows of the one before, and lacks others",
        "contacts",
        _contacts("rows_shifted", rows=-5, first=3),
        12,
    ),
    Case("A page begins 5 rows too late", "contacts", _contacts("rows_shifted", rows=5, query={"page": "4"}), 12),
    Case(
        "A page begins 40 rows too late, always",
        "contacts",
        _contacts("rows_shifted", rows=40, query={"page": "4"}, times=None),
        12,
        says="Givebutter, GET /contacts: the list has 450 rows, but only 410 came, also when it was read again. "
        "Nothing was written. It is being changed, or Givebutter does not list it right: run it again in a few "
        "minutes.",
    ),
    Case(
        "30 sign-ups leave the list between two pages", "sign-ups", _signups("rows_gone", rows=30, first=2, times=1), 4
    ),
    Case(
        "A page of sign-ups repeats 300 rows of the one before",
        "sign-ups",
        _signups("rows_shifted", rows=-300, first=2),
        2,
    ),
    Case(
        "A page of sign-ups begins 40 rows too late, always",
        "sign-ups",
        _signups("rows_shifted", rows=40, query={"offset": "980"}, times=None),
        4,
        says="Jotform, GET /form/…/submissions: the list does not fit together, twice in a row (the page from row 980 "
        "does not continue the one before), so rows may be missing. Nothing was written. Run it again in a few "
        "minutes.",
    ),
    Case("One empty page in the middle", "contacts", _contacts("empty", first=3), 12),
    Case("One empty page of sign-ups", "sign-ups", _signups("empty", first=2), 4),
    Case(
        "The list is empty from page 3 on",
        "contacts",
        _contacts("empty", first=3, times=None),
        5,
        says="Givebutter, GET /contacts: the list showed 200 rows and was empty all of a sudden. Nothing was written. "
        "An empty answer is not an empty list: run it again later.",
    ),
    # -- clocks -------------------------------------------------------------------------------------------------------
    Case(
        "Givebutter's clock is a day behind ours",
        "contacts",
        _contacts("clock", clock_ahead=-86_400, times=None),
        5,
        warns=CLOCK_IS_AHEAD,
    ),
    Case("Forms handed in while the clocks change, in spring and in autumn", "training form", (), 1),
)

_HEAD: Final = """# When a service fails

Each row is tested: `tests/resources/test_faults.py` plays the fault over HTTP against the simulated services and holds
the requests and the words against this table, which is written from the declared cases:
`python -m tests.resources.fault_cases > docs/faults.md`.

**Kept** is always the same. A list that comes whole is stored as ever. One that does not is not stored at all: its
table stays as it was, not one row is deleted or marked, the tables of the other sources are brought up to date, and
those that are computed from all of them (`mentors` and what follows) stay as they were until the next sync that goes
through. The message is in the command's output, in `mentor-pipeline status`, in `sync_log` and in the alert; how many
calls were tried again is in the metadata of the run.

A call is tried up to 6 times within 5 minutes, with growing pauses (half a second to half a minute) or after the pause
that the service asks for, if that is 2 minutes or less. A host that cannot be reached, and a web page, JSON that is cut
short or nothing at all instead of data, are given up after about 10 seconds, and the lists that are read after it in
the same run ask it only once. An answer of more than 100 MB is not read to its end, and not asked for again. In the
table … stands for what varies.

| what goes wrong | what you see | kept |
|---|---|---|
"""
_TAIL: Final = """
## A list that shrank

A list that is read whole (each form, the campaign's members, the full list of contacts) and has less than 80 % of the
rows it had when it was last read whole, and at least 10 fewer, is refused in the same way; so is a refresh that finds
so many of the mentors' contacts gone. Look at the source; if it is right:

    mentor-pipeline sync --allow-shrink
    mentor-pipeline contact-refresh --allow-shrink

or, in Dagster's UI, `allow_shrink: true` in the run config of the asset that the message names.
Rows that are no longer there are then marked as missing, never deleted.

"""


def _told(case: Case) -> str:
    if case.says is not None:
        return case.says.replace("|", "\\|")
    if case.warns is not None:
        return case.warns
    if case.again:
        return f"nothing; tried again {case.again} time{'s' if case.again > 1 else ''}"
    return "nothing" if case.requests == REQUESTS[case.read] else "nothing; pages are read again"


def markdown() -> str:
    """The page docs/faults.md; its last section is about what befalls a run besides."""
    rows = [
        f"| {case.title} | {_told(case)} | {'the table as it was' if case.says else 'the whole list'} |"
        for case in CASES
    ]
    return _HEAD + "\n".join(rows) + "\n" + _TAIL.rstrip("\n") + "\n\n" + mishaps.section()


if __name__ == "__main__":
    print(markdown(), end="")
