"""Dagster's event log on SQLite, without opening the file anew for every event.

Dagster makes an engine and a connection, compiles the statement and throws all of it away each time it reads or writes
an event: for the 340 events of a sync that takes longer than all rules of the domain together (a fifth of `make demo`).
What is stored, and where, is Dagster's own. Connections stay open until the instance is closed, two to a file at most.
An event is written without waiting for the disk: a killed process loses none, and a power cut at most the last ones.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection


def _without_waiting(connection: DBAPIConnection, _record: object) -> None:
    # SQLite's journal of these files is a write-ahead log, which this cannot damage (sqlite.org/pragma.html).
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


class _EnginesKept(SqliteEventLogStorage):
    """The same storage, which keeps one engine, and its connection, for each of its files."""

    _engines: dict[str, Engine]
    _tables_seen: set[str]

    def has_table(self, table_name: str) -> bool:
        """Asked for every event of a check; a table that is there stays."""
        if table_name not in self._tables_seen and super().has_table(table_name):
            self._tables_seen.add(table_name)
        return table_name in self._tables_seen

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard not in self._engines:
                self._engines[shard] = create_engine(
                    self.conn_string_for_shard(shard),
                    pool_size=1,
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
                event.listen(self._engines[shard], "connect", _without_waiting)
            engine = self._engines[shard]
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def dispose(self) -> None:
        """Close the connections, so that SQLite puts what it noted beside each file into the file."""
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()
        super().dispose()


def keep_engines(instance: dg.DagsterInstance) -> None:
    """Let an instance of this process keep its engines; one that stores its events elsewhere is left as it is."""
    storage = instance.event_log_storage
    if type(storage) is SqliteEventLogStorage:
        storage._engines = {}  # type: ignore[attr-defined]  # noqa: SLF001
        storage._tables_seen = set()  # type: ignore[attr-defined]  # noqa: SLF001
        storage.__class__ = _EnginesKept
