"""The HTTP server: both services and the control API on one port of this machine.

Routes every request to its service's endpoint table, one place through which all calls pass (`Simulator.answer`),
and keeps a log of the calls so that a test can say what was asked and how often. Calls go wrong as the plan of faults
says (`Simulator.faults`). Runs in a daemon thread and is ready as soon as the `with` block begins. What the services
say is in the `*_api` modules.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import responses
from typing import TYPE_CHECKING, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY
from mentor_pipeline.simulator import control_api, givebutter_api, jotform_api
from mentor_pipeline.simulator.faults import Fault, FaultPlan
from mentor_pipeline.simulator.wire import Answer, Call, Endpoint
from mentor_pipeline.simulator.world import WorldError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType

    from starlette.requests import Request

    from mentor_pipeline.simulator.world import World

HOST: Final = "127.0.0.1"
JOTFORM_PREFIX, GIVEBUTTER_PREFIX, CONTROL_PREFIX = "/jotform", "/givebutter/v1", "/_simulator"
CALLS_KEPT: Final = 100_000
_START_SECONDS: Final = 15.0
_ALL_ROWS: Final = 10**9
_DRIP_PIECES: Final = 20
_TICK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many calls to Givebutter are answered within a window; the next ones get 429 with Retry-After."""

    calls: int = 500
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call that came: which endpoint, with which query, the status it was answered with, and the fault it met."""

    endpoint: str
    method: str
    url: str
    query: dict[str, str]
    status: int
    fault: str | None = None


class Simulator:
    """Serves a world over HTTP on this machine, from `__enter__` to `__exit__`.

    Attributes:
        world: what is served; change it at any time.
        jotform_url: base URL of the simulated Jotform.
        givebutter_url: base URL of the simulated Givebutter, version included.
        control_url: base URL of the control API.
        jotform_key: the key that Jotform accepts.
        givebutter_key: the key that Givebutter accepts.
        calls: the calls that came so far, oldest first.
        faults: what goes wrong; set it at any time.
    """

    def __init__(
        self,
        world: World,
        *,
        port: int = 0,
        jotform_key: str = "simulated-jotform-key",
        givebutter_key: str = "simulated-givebutter-key",
        rate_limit: RateLimit | None = None,
        faults: Iterable[Fault] = (),
    ) -> None:
        """Prepare a server.

        Args:
            world: what to serve.
            port: a port of one's own; a free one by default.
            jotform_key: the key that Jotform accepts.
            givebutter_key: the key that Givebutter accepts.
            rate_limit: Givebutter's limit; none by default.
            faults: what goes wrong; nothing by default.

        Raises:
            WorldError: a fault is for an endpoint that there is not.
        """
        self.world = world
        self.jotform_key = jotform_key
        self.givebutter_key = givebutter_key
        self.rate_limit = rate_limit
        self.calls: deque[LoggedCall] = deque(maxlen=CALLS_KEPT)
        self._window: deque[float] = deque()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.faults = FaultPlan()
        services = (
            (JOTFORM_PREFIX, jotform_api.endpoints(jotform_key)),
            (GIVEBUTTER_PREFIX, givebutter_api.endpoints(givebutter_key)),
            (CONTROL_PREFIX, control_api.endpoints(self.faults)),
        )
        self.faults.endpoints = [
            endpoint.name for prefix, endpoints in services if prefix != CONTROL_PREFIX for endpoint in endpoints
        ]
        self.faults.set(*faults)
        self._app = Starlette(
            routes=[
                Route(prefix + endpoint.path, self._receiver(endpoint), methods=[endpoint.method])
                for prefix, endpoints in services
                for endpoint in endpoints
            ],
            exception_handlers={HTTPException: _no_such_endpoint},
        )

    def __enter__(self) -> Self:
        """Listen; the server answers when this returns.

        Raises:
            WorldError: the port is in use.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._port))
        except OSError as error:
            listener.close()
            msg = f"The simulator cannot listen on port {self._port}: {error.strerror}. Choose another with --port."
            raise WorldError(msg) from error
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            date_header=False,  # uvicorn's own is up to a second old; ours may be off on purpose
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="simulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            msg = f"The simulator did not start within {_START_SECONDS:.0f} seconds."
            raise WorldError(msg)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Answer what is under way, then stop listening."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None

    @property
    def port(self) -> int:
        """The port; known once the server has started."""
        return self._port

    @property
    def jotform_url(self) -> str:
        """Base URL of the simulated Jotform."""
        return f"http://{HOST}:{self._port}{JOTFORM_PREFIX}"

    @property
    def givebutter_url(self) -> str:
        """Base URL of the simulated Givebutter, version included."""
        return f"http://{HOST}:{self._port}{GIVEBUTTER_PREFIX}"

    @property
    def control_url(self) -> str:
        """Base URL of the control API."""
        return f"http://{HOST}:{self._port}{CONTROL_PREFIX}"

    def environment(self) -> dict[str, str]:
        """The environment variables with which the pipeline talks to this simulator, at full speed."""
        return {
            "JOTFORM_BASE_URL": self.jotform_url,
            JOTFORM_KEY: self.jotform_key,
            "GIVEBUTTER_BASE_URL": self.givebutter_url,
            GIVEBUTTER_KEY: self.givebutter_key,
            "GIVEBUTTER_REQUESTS_PER_SECOND": "1000",
        }

    def answer(self, endpoint: Endpoint, call: Call) -> Answer:
        """Answer one call: every call to either service passes here, and is logged."""
        fault = self.faults.met(call)
        with self.world.lock:
            answer = self._refused(call, fault) or self._too_many(call) or self._answered(endpoint, call, fault)
        kind = fault.kind if fault else None
        self.calls.append(LoggedCall(call.endpoint, call.method, call.url, dict(call.query), answer.status, kind))
        return replace(answer, fault=fault)

    def _refused(self, call: Call, fault: Fault | None) -> Answer | None:
        """The error that a fault answers with; None when it lets the service answer."""
        if fault is None or fault.kind not in {"hang", "web_page", "refused", "refused_in_body"}:
            return None
        words = fault.message or responses.get(fault.status, "Unknown Error")
        if fault.kind == "web_page":
            page = f"<html><head><title>{words}</title></head><body><h1>{words}</h1></body></html>"
            return Answer(fault.status, page.encode(), media_type="text/html")
        refusal = jotform_api.refusal if call.endpoint.startswith("jotform.") else givebutter_api.refusal
        answer = refusal(fault.status, words)
        if fault.kind == "refused_in_body":
            answer = replace(answer, status=200)
        if fault.seconds is not None:
            until = format_datetime(_clock(fault) + timedelta(seconds=fault.seconds), usegmt=True)
            answer = replace(answer, headers={"retry-after": until if fault.as_date else f"{fault.seconds:.0f}"})
        return answer

    def _answered(self, endpoint: Endpoint, call: Call, fault: Fault | None) -> Answer:
        """What the service answers; a fault may spoil its lists."""
        if fault is not None and fault.kind == "rows_shifted":
            call = replace(call, rows_shifted=fault.rows)
        elif fault is not None and fault.kind in {"empty", "rows_gone"}:
            call = replace(call, rows_gone=_ALL_ROWS if fault.kind == "empty" else fault.rows)
        return endpoint.answer(self.world, call)

    def _too_many(self, call: Call) -> Answer | None:
        if self.rate_limit is None or not call.endpoint.startswith("givebutter."):
            return None
        now = time.monotonic()
        while self._window and self._window[0] <= now - self.rate_limit.seconds:
            self._window.popleft()
        if len(self._window) < self.rate_limit.calls:
            self._window.append(now)
            return None
        wait = max(1, math.ceil(self._window[0] + self.rate_limit.seconds - now))
        return Answer(429, {"message": "Too Many Attempts."}, headers={"retry-after": str(wait)})

    def _receiver(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def receive(request: Request) -> Response:
            call = Call(
                endpoint.name,
                request.method,
                str(request.url.replace(query="")),
                request.path_params,
                request.query_params,
                request.headers,
                await request.body(),
            )
            return await self._sent(request, self.answer(endpoint, call))

        return receive

    async def _sent(self, request: Request, answer: Answer) -> Response:
        """The answer as it goes out, or does not."""
        fault, body = answer.fault, answer.body()
        headers = {"date": format_datetime(_clock(fault), usegmt=True), **answer.headers}
        if fault is not None and fault.kind in {"drip", "reset"}:
            sent = _dripping(body, fault.seconds or 0) if fault.kind == "drip" else self._broken_off(request, body)
            headers["content-length"] = str(len(body))
            return StreamingResponse(sent, answer.status, headers, answer.media_type)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds or 0)
        elif fault is not None and fault.kind == "hang":
            while not (await request.is_disconnected() or self._is_stopping):
                await asyncio.sleep(_TICK_SECONDS)
        elif fault is not None and fault.kind == "cut_short":
            body = body[: len(body) // 2]
        return Response(body, answer.status, headers, answer.media_type)

    async def _broken_off(self, request: Request, body: bytes) -> AsyncIterator[bytes]:
        """Half of a body, then a reset of the connection."""
        yield body[: len(body) // 2]
        connections = self._server.server_state.connections if self._server else set()
        for transport in [
            one.transport for one in connections if getattr(one, "client", None) == request.scope["client"]
        ]:
            # Closed with a linger of zero, a socket sends a reset instead of a proper end.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        await asyncio.sleep(_TICK_SECONDS)

    @property
    def _is_stopping(self) -> bool:
        return self._server is None or self._server.should_exit


def _clock(fault: Fault | None) -> datetime:
    """The time by the service's clock."""
    return datetime.now(UTC) + timedelta(seconds=fault.clock_ahead if fault else 0)


async def _dripping(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    """A body in small pieces."""
    size = max(1, math.ceil(len(body) / _DRIP_PIECES))
    for start in range(0, len(body), size):
        await asyncio.sleep(seconds / _DRIP_PIECES)
        yield body[start : start + size]


async def _no_such_endpoint(_request: Request, error: Exception) -> Response:
    """Unknown paths and methods are answered in JSON, as both services do."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response(Answer(status, {"message": "Not Found."}).body(), status, media_type="application/json")


class _Server(uvicorn.Server):
    """Uvicorn's server, telling when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
