"""A real HTTP server on this machine that answers what a test scripts, faults included."""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Callable, Iterable
    from types import TracebackType


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What to answer: JSON, or bytes as they are; or a fault."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    pause_seconds: float = 0
    """Between the headers and the body."""
    resets_after: int | None = None
    """Send so many bytes of the body, then reset the connection."""


def in_turn(*replies: Reply) -> Callable[[Asked], Reply]:
    """One reply after the other; the last one from then on."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class Serving:
    """A server on this machine while a context lasts; at its end `ending` is set, for handlers that wait."""

    def __init__(self, server: socketserver.ThreadingTCPServer | ThreadingHTTPServer, ending: threading.Event) -> None:
        server.daemon_threads = True
        self._server, self._ending = server, ending
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Scripted(Serving):
    """The server; `asked` holds the requests in the order in which they came."""

    def __init__(self, answer: Callable[[Asked], Reply] | Iterable[Reply]) -> None:
        self.answer = answer if callable(answer) else in_turn(*answer)
        self.asked: list[Asked] = []
        self._released = threading.Event()
        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), self._handler()), self._released)

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are two writes; without this each answer waits 40 ms for an acknowledgement.
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                sent = self.rfile.read(length)
                url = urlsplit(self.path)
                asked = Asked(
                    self.command,
                    url.path,
                    dict(parse_qsl(url.query)),
                    {name.lower(): value for name, value in self.headers.items()},
                    json.loads(sent) if sent else None,
                )
                scripted.asked.append(asked)
                reply = scripted.answer(asked)
                if reply.hangs:
                    scripted._released.wait(10)
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                if "date" in reply.headers:
                    self.send_response_only(reply.status)
                else:
                    self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                scripted._released.wait(reply.pause_seconds)
                if reply.resets_after is None:
                    self.wfile.write(body)
                    return
                self.wfile.write(body[: reply.resets_after])
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Say nothing."""

        return Handler
