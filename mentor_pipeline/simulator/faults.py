"""Faults of the simulated services: which call to which endpoint goes wrong, and how.

A `FaultPlan` is a list of declared `Fault`s, given to the simulator or set over its control API. Each counts the calls
that it is about, so the same calls always meet the same faults: there is no chance in it. What a fault makes of an
answer is done by the server (the connection) and by the `*_api` modules (their own error bodies, their lists).
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from mentor_pipeline.simulator.world import WorldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mentor_pipeline.simulator.wire import Call

Kind: TypeAlias = Literal[
    "refused", "refused_in_body", "web_page", "slow", "drip", "hang", "reset", "cut_short", "empty", "rows_gone",
    "rows_shifted", "clock",
]  # fmt: skip
"""How a call goes wrong:

- `refused`: an error of the service, with `status` and `message`; with `seconds` a Retry-After.
- `refused_in_body`: the same, but HTTP says 200.
- `web_page`: an HTML page with `status`, as of a gateway or a sign-in page.
- `slow`: the right answer, after `seconds`.
- `drip`: the right answer in many small pieces that take `seconds` in all.
- `hang`: no answer until the client goes away.
- `reset`: the connection is reset in the middle of the body.
- `cut_short`: half of the JSON, as though it were all.
- `empty`: a list has no rows.
- `rows_gone`: the first `rows` rows are no longer on the list, so that the others move up.
- `rows_shifted`: a page begins `rows` rows too late, or too early when negative; the list's total stays.
- `clock`: the right answer; only the service's clock is off, see `clock_ahead`.
"""


class Fault(BaseModel):
    """One fault.

    Attributes:
        endpoint: name of the endpoint, such as `givebutter.contacts`; `*` stands for anything (`jotform.*`).
        kind: how it goes wrong.
        query: only calls with these values, such as `{"page": "3"}`.
        path: only calls whose path holds these values, such as `{"id": "7"}`.
        first: the first of these calls that it befalls, counted from when the plan was set.
        times: how many it befalls from there on; None for all.
        status: HTTP status of a refusal or a page.
        message: what a refusal says.
        seconds: of a Retry-After, of a slow or dripping answer.
        as_date: Retry-After is an HTTP date instead of seconds.
        rows: rows that are gone or shifted.
        clock_ahead: by how many seconds the service's clock is ahead of this machine's, in its Date header and in a
            date of Retry-After.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    kind: Kind
    query: dict[str, str] = Field(default_factory=dict)
    path: dict[str, str] = Field(default_factory=dict)
    first: int = Field(default=1, ge=1)
    times: int | None = Field(default=1, ge=1)
    status: int = Field(default=503, ge=200, le=599)
    message: str = ""
    seconds: float | None = Field(default=None, ge=0)
    as_date: bool = False
    rows: int = 0
    clock_ahead: float = 0.0

    def concerns(self, call: Call) -> bool:
        """Whether a call is one of those that count."""
        return (
            fnmatchcase(call.endpoint, self.endpoint)
            and self.query.items() <= dict(call.query).items()
            and self.path.items() <= dict(call.path).items()
        )

    def befalls(self, number: int) -> bool:
        """Whether it befalls the call with this number, of those that count."""
        return self.first <= number and (self.times is None or number < self.first + self.times)


class FaultPlan:
    """The faults that a simulator has in store; without any, all goes well.

    Attributes:
        endpoints: names of the endpoints that there are.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.endpoints: Sequence[str] = ()
        self._lock = threading.Lock()
        self._faults: list[Fault] = list(faults)
        self._counts: list[int] = [0] * len(self._faults)

    def set(self, *faults: Fault) -> None:
        """Take these faults instead of those before, and count from one; none at all heals everything.

        Raises:
            WorldError: a fault is for an endpoint that there is not; nothing was changed.
        """
        unknown = sorted({f.endpoint for f in faults if not any(fnmatchcase(e, f.endpoint) for e in self.endpoints)})
        if unknown:
            msg = f"There is no endpoint {unknown}; there are {list(self.endpoints)}. The faults stay as they were."
            raise WorldError(msg)
        with self._lock:
            self._faults, self._counts = list(faults), [0] * len(faults)

    def met(self, call: Call) -> Fault | None:
        """Count a call, and tell the fault that it meets: the first in the list of those that befall it."""
        found = None
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not fault.concerns(call):
                    continue
                self._counts[index] += 1
                if found is None and fault.befalls(self._counts[index]):
                    found = fault
        return found

    def told(self) -> list[dict[str, object]]:
        """The faults, each with the calls that it counted so far."""
        with self._lock:
            counted = zip(self._faults, self._counts, strict=True)
            return [{**fault.model_dump(), "calls": count} for fault, count in counted]
