"""A server on this machine that never comes to an end: it goes on sending a little, and reads nothing."""

from __future__ import annotations

import socketserver
import threading

from tests.resources.scripted import Serving

_EVERY_SECONDS = 0.1


class Dripping(Serving):
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

        super().__init__(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler), self._stopped)

    def require_ended(self) -> None:
        """Wait until whom it served is gone."""
        assert self._left.wait(2), "somebody still listens"
