"""What goes over the wire between the HTTP server and the simulated services.

A `Call` is one request as a service sees it, an `Answer` is what it says; each service is a table of `Endpoint`s, so
that the server can route, log and count calls by a name without knowing any service. No HTTP library is imported
here, and no service's shapes are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mentor_pipeline.simulator.faults import Fault
    from mentor_pipeline.simulator.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        endpoint: name of the endpoint that was routed to, such as `givebutter.contacts`.
        method: HTTP method.
        url: the URL without its query.
        path: values of the path's placeholders.
        query: the query's values.
        headers: by lower-cased name.
        body: the raw body.
        rows_gone: how many rows at its front a list lacks (a fault).
        rows_shifted: by how many rows a page begins too late (a fault).
    """

    endpoint: str
    method: str
    url: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    rows_gone: int = 0
    rows_shifted: int = 0

    def number(self, name: str, default: int, *, at_least: int, at_most: int | None = None) -> int:
        """A number of the query, held within limits; what is no number counts as the default."""
        text = self.query.get(name, "")
        value = int(text) if text.lstrip("-").isdecimal() else default
        if value < at_least:
            value = default
        return value if at_most is None else min(value, at_most)

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object; None when it is none."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `content` is sent as JSON, or as it is when it is bytes; None sends no body.

    `fault` is what goes wrong while it is sent.
    """

    status: int
    content: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    fault: Fault | None = None

    def body(self) -> bytes:
        """The bytes to send."""
        if self.content is None:
            return b""
        return self.content if isinstance(self.content, bytes) else orjson.dumps(self.content, default=str)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its name, method, path with `{placeholders}`, and who answers."""

    name: str
    method: str
    path: str
    answer: Callable[[World, Call], Answer]
