"""An end for what is said over a connection, however steadily the other side drips.

The timeouts of smtplib and httpx are about silence: with one byte a second neither ever ends. A `TimeLimit` shuts the
connections that it watches when its time is over, so that whoever waits for one is told that it is closed. The look-up
of a host's name is no connection and cannot be ended: who must not wait for it does all of this in another thread.
"""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class TimeLimit:
    """So many seconds from its making on, for all connections together; a context, at whose end nothing is watched.

    Attributes:
        seconds: how many.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._watched: list[tuple[threading.Timer, socket.socket]] = []

    def __enter__(self) -> Self:
        """Begin; the time runs since the making."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Watch nothing any more."""
        for timer, handle in self._watched:
            timer.cancel()
            timer.join()
            handle.close()
        self._watched.clear()

    @property
    def is_over(self) -> bool:
        """True when the time is over."""
        return time.monotonic() >= self._ends

    def require(self) -> None:
        """Go on only while there is time.

        Raises:
            TimeoutError: it is over.
        """
        if self.is_over:
            msg = f"it took more than {self.seconds:g} s"
            raise TimeoutError(msg)

    def watch(self, connection: socket.socket) -> None:
        """Shut a connection when the time is over, also what is made of it by TLS.

        Raises:
            TimeoutError: it is over already; nothing was sent.
        """
        self.require()
        # TLS takes the socket over, but what is shut is the connection, by whatever handle.
        handle = connection.dup()
        timer = threading.Timer(self._ends - time.monotonic(), _shut, [handle])
        timer.daemon = True
        self._watched.append((timer, handle))
        timer.start()


def _shut(handle: socket.socket) -> None:
    with suppress(OSError):  # it was closed meanwhile
        handle.shutdown(socket.SHUT_RDWR)
