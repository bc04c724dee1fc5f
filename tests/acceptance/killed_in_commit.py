"""A command that is killed in a commit: `python -m tests.acceptance.killed_in_commit MOMENT TABLE COMMAND...`.

It is the first transaction that writes the table. Nothing is cleaned up at any of the moments:
    before  all is said to the database but COMMIT
    within  DuckDB: the kernel kills the process as what it writes to any file passes the first hundred bytes.
            Postgres: the server is at work on the COMMIT, which a trigger makes last a second
    after   the database has answered, and nobody has heard it
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from adbc_driver_manager import AdbcConnection

from mentor_pipeline.cli import main
from mentor_pipeline.resources import postgres_warehouse
from mentor_pipeline.resources.duckdb_warehouse import DuckDBSession, DuckDBWarehouse
from mentor_pipeline.resources.postgres_warehouse import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

WHOLE_BYTES: Final = 100
SLOW_COMMIT: Final = (
    "CREATE TEMP TABLE slow (n int)",
    """CREATE FUNCTION pg_temp.dawdle() RETURNS trigger LANGUAGE plpgsql AS
       'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'""",
    """CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION pg_temp.dawdle()""",
    "INSERT INTO slow VALUES (1)",
)
INTO_IT_S: Final = 0.3


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class OnDuckDB:
    """A connection of DuckDB, whose own class cannot be inherited from."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._real = connection
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit(self) -> None:
        killed(self.written, self._real.commit, self._within)

    def _within(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an error of it
        resource.setrlimit(resource.RLIMIT_FSIZE, (WHOLE_BYTES, WHOLE_BYTES))


class OnPostgres(AdbcConnection):  # type: ignore[misc]
    """A connection to Postgres."""

    def __init__(self, database: Any) -> None:
        super().__init__(database)
        self.written: set[str] = set()

    def commit(self) -> None:
        killed(self.written, super().commit, self._within)

    def _within(self) -> None:
        session = PostgresSession(self)
        for statement in SLOW_COMMIT:
            session.execute(statement)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, INTO_IT_S)


def killed(written: set[str], commit: Callable[[], None], within: Callable[[], None]) -> None:
    """Commit; in the one transaction that is meant, this process does not outlive it."""
    is_meant = TABLE in written
    if is_meant and MOMENT == "before":
        die()
    if is_meant and MOMENT == "within":
        within()
    commit()
    if is_meant:
        assert MOMENT == "after", "the commit was over sooner"
        die()


def noticing(session: type[Any]) -> None:
    """Let a session note on its connection which tables are written."""
    real = session.staged

    def staged(self: Any, spec: Any, frame: Any) -> Any:
        self._connection.written.add(spec.name)
        return real(self, spec, frame)

    session.staged = staged


@contextmanager
def opened(self: DuckDBWarehouse, *, write: bool) -> Iterator[Any]:
    with REAL_OPENED(self, write=write) as connection:
        yield OnDuckDB(connection)


REAL_OPENED = DuckDBWarehouse._opened

if __name__ == "__main__":
    MOMENT, TABLE = sys.argv[1:3]
    del sys.argv[1:3]
    noticing(DuckDBSession)
    noticing(PostgresSession)
    DuckDBWarehouse._opened = opened  # type: ignore[method-assign]
    postgres_warehouse.AdbcConnection = OnPostgres
    main()
