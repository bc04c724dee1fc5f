"""The HTTP server: both services and the control API on one port of this machine.

Routes every request to its service's endpoint table, one place through which all calls pass (`Simulator.answer`),
and keeps a log of the calls so that a test can say what was asked and how often. Runs in a daemon thread and is
ready as soon as the `with` block begins. What the services say is in the `*_api` modules.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY
from mentor_pipeline.simulator import control_api, givebutter_api, jotform_api
from mentor_pipeline.simulator.wire import Answer, Call, Endpoint
from mentor_pipeline.simulator.world import WorldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from starlette.requests import Request

    from mentor_pipeline.simulator.world import World

HOST: Final = "127.0.0.1"
JOTFORM_PREFIX, GIVEBUTTER_PREFIX, CONTROL_PREFIX = "/jotform", "/givebutter/v1", "/_simulator"
CALLS_KEPT: Final = 100_000
_START_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many calls to Givebutter are answered within a window; the next ones get 429 with Retry-After."""

    calls: int = 500
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call that was answered: which endpoint, with which query, and the status."""

    endpoint: str
    method: str
    url: str
    query: dict[str, str]
    status: int


class Simulator:
    """Serves a world over HTTP on this machine, from `__enter__` to `__exit__`.

    Attributes:
        world: what is served; change it at any time.
        jotform_url: base URL of the simulated Jotform.
        givebutter_url: base URL of the simulated Givebutter, version included.
        control_url: base URL of the control API.
        jotform_key: the key that Jotform accepts.
        givebutter_key: the key that Givebutter accepts.
        calls: the calls answered so far, oldest first.
    """

    def __init__(
        self,
        world: World,
        *,
        port: int = 0,
        jotform_key: str = "simulated-jotform-key",
        givebutter_key: str = "simulated-givebutter-key",
        rate_limit: RateLimit | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            world: what to serve.
            port: a port of one's own; a free one by default.
            jotform_key: the key that Jotform accepts.
            givebutter_key: the key that Givebutter accepts.
            rate_limit: Givebutter's limit; none by default.
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
        services = (
            (JOTFORM_PREFIX, jotform_api.endpoints(jotform_key)),
            (GIVEBUTTER_PREFIX, givebutter_api.endpoints(givebutter_key)),
            (CONTROL_PREFIX, control_api.endpoints()),
        )
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
            self._app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
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
        with self.world.lock:
            answer = self._too_many(call) or endpoint.answer(self.world, call)
        self.calls.append(LoggedCall(call.endpoint, call.method, call.url, dict(call.query), answer.status))
        return answer

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
            answer = self.answer(endpoint, call)
            return Response(answer.body(), answer.status, dict(answer.headers), answer.media_type)

        return receive


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
