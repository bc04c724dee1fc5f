"""A server on this machine that never comes to an end: it goes on sending a little, and reads nothing."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_EVERY_SECONDS = 0.1


class Dripping:
    """The server.

    Args:
        first: what it sends at once.
        then: what it sends ten times a second from then on; with nothing it leaves at once.
    """

    def __init__(self, first: bytes, then: bytes) -> None:
        self._stopped, self._left = threading.Event(), threading.Event()
        dripping = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    self.request.sendall(first)
                    while then and not dripping._stopped.wait(_EVERY_SECONDS):
                        self.request.sendall(then)
                except OSError:
                    pass
                dripping._left.set()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def require_ended(self) -> None:
        """Wait until whom it served is gone."""
        assert self._left.wait(2), "somebody still listens"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
