"""Frames that wait to be looked at again, however many they are: one in memory, several on disk."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator


class Spool:
    """Frames in order, to be gone through as often as wanted.

    The only one stays in memory. Several are kept in temporary files without a name (in the system's folder for them),
    which nobody else can open and which end with the process, even one that is killed.
    """

    def __init__(self) -> None:
        self._only: pl.DataFrame | None = None
        self._files: list[IO[bytes]] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Keep a further frame.

        Raises:
            OSError: there is no room for it.
        """
        if not self._files and self._only is None:
            self._only = frame
            return
        if self._only is not None:
            self._files.append(self._written(self._only))
            self._only = None
        self._files.append(self._written(frame))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Each frame, in the order in which they came."""
        if self._only is not None:
            yield self._only
        for file in self._files:
            file.seek(0)
            yield pl.read_ipc(file)

    def close(self) -> None:
        """Let go of all of them."""
        self._only = None
        while self._files:
            self._files.pop().close()

    def _written(self, frame: pl.DataFrame) -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        try:
            frame.write_ipc(file, compression="lz4")
        except BaseException:
            file.close()
            raise
        return file
