"""The warehouse in a Postgres database: the dialect, connections, locks, and Postgres' errors in the operator's words.

Readers see one moment and never wait for our writers. Those take turns by table and program year, so that writers of
different years do not meet. Another program's lock on a table keeps readers and writers out; everybody waits a bounded
time, and Ctrl-C ends the wait. A run holds one more connection for its writer lock, an advisory lock by year
that ends with the connection: a killed run leaves nothing behind. What is not Postgres' own belongs to `warehouse`.

The driver is ADBC: values come and go as Arrow, in Postgres' binary form. Measured with 49,000 contacts of 51 columns
(arrays, JSONB, decimals, times, emoji; a server on the same two cores): replacing them takes 1.1 s, against 1.4 s with
psycopg 3 and COPY as CSV; reading them 0.8 s, against 1.2 s (7.5 s by psycopg's rows). ADBC's lower level is used,
since its DB-API learns the server's types anew for each connection (0.06 s) and takes Ctrl-C for an error.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import adbc_driver_postgresql
import orjson
import polars as pl
import pyarrow as pa
from adbc_driver_manager import (
    AdbcConnection,
    AdbcDatabase,
    AdbcStatement,
    AdbcStatusCode,
    Error,
    OperationalError,
    ProgrammingError,
    StatementOptions,
)
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import ConfigError, WarehouseBusyError, WarehouseError
from mentor_pipeline.redaction import passwords_in, without_secrets
from mentor_pipeline.resources.warehouse import Session, Warehouse, listed, literal, quoted, same_key
from mentor_pipeline.resources.writer_lock import Holder, waited_too_long
from mentor_pipeline.tables import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mentor_pipeline.tables import Table

logger = logging.getLogger(__name__)

T = TypeVar("T")

WRITERS: Final = "writer_locks"
"""Who holds, or held, the writer lock of a year; believed only while the lock itself is held."""

_POLL_S: Final = 0.1
_CONNECTION: Final = {
    "application_name": "mentor-pipeline",
    "connect_timeout": "10",
    # A server that vanished without a word is given up after a minute, and not after the system's two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""Unless the URL says otherwise."""


class PostgresSession(Session):
    """One connection inside one transaction.

    Attributes:
        patience_s: how long a writer waits for another writer of the same rows; None for readers, who do not.
    """

    native_types: ClassVar[Mapping[Type, str]] = {
        Type.TEXT: "text",
        Type.INTEGER: "integer",
        Type.BIGINT: "bigint",
        Type.DOUBLE: "double precision",
        Type.MONEY: "numeric(12, 2)",
        Type.BOOLEAN: "boolean",
        Type.DATE: "date",
        Type.TIMESTAMP: "timestamptz",
        Type.JSON: "jsonb",
        Type.TEXT_LIST: "text[]",
        Type.BIGINT_LIST: "bigint[]",
    }

    def __init__(self, connection: AdbcConnection, patience_s: float | None = None) -> None:
        self.patience_s = patience_s
        self._connection = connection
        self._claimed: set[tuple[str, int | None]] = set()
        self._stages = count()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """See `Session`."""

        def run() -> int:
            _prepare(statement, sql, parameters)
            return int(statement.execute_update())

        with AdbcStatement(self._connection) as statement:
            return _interruptible(run, statement)

    def define(self, statements: Sequence[str]) -> None:
        """See `Session`; fifty comments go as one statement."""
        self.execute("DO " + literal(f"BEGIN {'; '.join(statements)}; END"))

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """See `Session`."""

        def run() -> pa.Table:
            _prepare(statement, sql, parameters)
            stream, _ = statement.execute_query()
            try:
                return pa.RecordBatchReader.from_stream(stream).read_all()
            except (pa.ArrowException, OSError) as error:  # what goes wrong while rows arrive is not ADBC's own error
                raise OperationalError(str(error), status_code=AdbcStatusCode.IO) from error

        with AdbcStatement(self._connection) as statement:
            return _as_frame(_interruptible(run, statement))

    def fetch_in_parts(self, sql: str) -> Iterator[pl.DataFrame]:
        """See `Session`; the driver hands over some megabytes at a time."""
        with AdbcStatement(self._connection) as statement:
            statement.set_sql_query(sql)
            stream, _ = _interruptible(statement.execute_query, statement)
            try:
                for part in pa.RecordBatchReader.from_stream(stream):
                    yield _as_frame(pa.Table.from_batches([part]))
            except (pa.ArrowException, OSError) as error:
                raise OperationalError(str(error), status_code=AdbcStatusCode.IO) from error

    def stored_columns(self, table: str) -> list[str]:
        """See `Session`; a tenth of the time that `information_schema` takes, for something asked at every read."""
        found = self.fetch(
            "SELECT attname::text AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE c.relname = $1 AND c.relnamespace = to_regnamespace(current_schema())"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [table],
        )
        if found.is_empty():
            self.require_schema()
        return found["name"].to_list()

    def has_schema(self) -> bool:
        """True when there is a schema for tables that this user may use."""
        return self.fetch("SELECT current_schema()::text AS name")["name"].item() is not None

    def require_schema(self) -> None:
        """Refuse to go on without a schema: nothing is found there, and every lock would be NULL.

        Raises:
            Error: as Postgres refuses to write in that case.
        """
        if self.has_schema():
            return
        # "$user" stands for a schema of the user's name.
        closed = self.fetch(
            "SELECT nspname::text AS name FROM pg_namespace,"
            " unnest(string_to_array(current_setting('search_path'), ',')) AS path"
            " WHERE nspname = replace(btrim(path, ' \"'), '$user', current_user)"
        )["name"].to_list()
        if closed:
            msg = f"permission denied for schema {', '.join(closed)}"
            raise ProgrammingError(msg, status_code=AdbcStatusCode.UNAUTHORIZED, sqlstate="42501")
        path = self.fetch("SELECT current_setting('search_path') AS path")["path"].item()
        msg = f"no schema of the search_path ({path}) exists"
        raise ProgrammingError(msg, status_code=AdbcStatusCode.NOT_FOUND, sqlstate="3F000")

    def locks(self, sql: str, parameters: Sequence[object]) -> bool:
        """Try for an advisory lock; True when it is held now.

        Args:
            sql: asks for it, as `mine`.
            parameters: of the query.

        Raises:
            Error: there is no schema, by which a lock is named.
        """
        is_mine: bool | None = self.fetch(sql, parameters)["mine"].item()
        if is_mine is None:
            self.require_schema()
        return bool(is_mine)

    @contextmanager
    def staged(self, spec: Table, frame: pl.DataFrame) -> Iterator[str]:
        """See `Session`."""
        stage = f"staged_{next(self._stages)}"
        try:
            with AdbcStatement(self._connection) as statement:
                statement.set_options(
                    **{
                        StatementOptions.INGEST_TARGET_TABLE.value: stage,
                        StatementOptions.INGEST_MODE.value: "adbc.ingest.mode.create",
                        StatementOptions.INGEST_TEMPORARY.value: "true",
                    }
                )
                statement.bind_stream(frame.to_arrow())
                statement.execute_update()
            # Without statistics, the planner looks every row up by itself.
            self.execute(f"ANALYZE pg_temp.{stage} ({listed(spec.key)})")
            yield f"(SELECT {', '.join(_typed(spec, column) for column in frame.columns)} FROM pg_temp.{stage})"
        except Error as error:
            _name_nul(error, spec, frame)
            raise
        # Not after an error: in an aborted transaction this would fail too and hide the reason.
        self.execute(f"DROP TABLE pg_temp.{stage}")

    def merge(self, spec: Table, rows: pl.DataFrame) -> int:
        """See `Session`."""
        columns = listed(rows.columns)
        others = [name for name in rows.columns if name not in spec.key]
        taken_over = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
        with self.staged(spec, rows) as staged:
            # Rows that are stored already are left out before ON CONFLICT, which would lock and log them.
            return self.execute(
                f"INSERT INTO {quoted(spec.name)} ({columns}) SELECT {columns} FROM {staged} k WHERE NOT EXISTS"
                f" (SELECT 1 FROM {quoted(spec.name)} t WHERE {same_key(spec)} AND"
                f" ROW({listed(rows.columns, of='t')}) IS NOT DISTINCT FROM ROW({listed(rows.columns, of='k')}))"
                f" ON CONFLICT ({listed(spec.key)}) DO UPDATE SET {taken_over}"
            )

    def claim(self, table: str, year: int | None = None) -> None:
        """See `Session`.

        A year is claimed by two locks, the table's shared with those of other years; the whole table by the one.
        """
        if self.patience_s is None or self._claimed & {(table, year), (table, None)}:
            return
        if year is None:
            sql, keys = f"SELECT pg_try_advisory_xact_lock({_key('$1')}) AS mine", [table]
        else:
            sql = (
                f"SELECT pg_try_advisory_xact_lock_shared({_key('$1')})"
                f" AND pg_try_advisory_xact_lock({_key('$2')}) AS mine"
            )
            keys = [table, f"{table} {year}"]
        # Asked again and again: a wait inside the driver could not be interrupted.
        deadline = time.monotonic() + self.patience_s
        while not self.locks(sql, keys):
            if time.monotonic() > deadline:
                msg = f"table {table} is being changed by another program"
                raise _ClaimedError(msg)
            time.sleep(_POLL_S)
        self._claimed.add((table, year))


def _prepare(statement: AdbcStatement, sql: str, parameters: Sequence[object]) -> None:
    statement.set_sql_query(sql)
    if parameters:
        arrays = [pa.array([value]) for value in parameters]
        statement.prepare()
        statement.bind(pa.record_batch(arrays, names=[str(number) for number in range(len(arrays))]))


def _interruptible(run: Callable[[], T], statement: AdbcStatement) -> T:
    """Run a statement so that Ctrl-C ends it: the driver itself looks at no signal while it waits for the server."""
    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
        return run()
    with ThreadPoolExecutor(max_workers=1) as other_thread:
        running = other_thread.submit(run)
        try:
            return running.result()
        except BaseException:
            # Again and again: what has not reached the server yet cannot be cancelled there.
            while not running.done():
                with suppress(Error):
                    statement.cancel()
                wait([running], timeout=_POLL_S)
            raise


class _ClaimedError(Exception):
    """Another writer has claimed the same rows all the time."""


class PostgresWarehouse(Warehouse):
    """The warehouse in the first schema of a Postgres database's search path (`public`, where nothing else is said).

    Attributes:
        busy_timeout_s: how long to wait for a server that is starting, for another writer of the same rows, and for
            another program's lock.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 30.0) -> None:
        self.busy_timeout_s = busy_timeout_s
        self._url = _checked(url)
        self._location = _described(url)
        self._held: dict[int, int] = {}  # the server's process that holds a lock for us -> of which program year

    @property
    def location(self) -> str:
        """See `Warehouse`."""
        return self._location

    @contextmanager
    def _session(self, *, write: bool) -> Iterator[PostgresSession]:
        with self._connected() as connection:
            is_ending = False
            try:
                connection.set_autocommit(False)
                session = PostgresSession(connection, self.busy_timeout_s if write else None)
                if not write:
                    session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                session.execute(f"SET LOCAL {self._lock_timeout}")
                try:
                    yield session
                    if write:
                        self._refuse_without_lock(session)
                except BaseException:
                    with suppress(Error):  # a lost connection is rolled back by the server
                        connection.rollback()
                    raise
                is_ending = True
                connection.commit()
            except _ClaimedError as error:
                raise WarehouseBusyError(self._busy(str(error))) from None
            except Error as error:
                raise self._explained(error, is_ending=is_ending and write) from error

    @property
    def _lock_timeout(self) -> str:
        return f"lock_timeout = {max(1, round(self.busy_timeout_s * 1000))}"

    @contextmanager
    def _connected(self) -> Iterator[AdbcConnection]:
        """A connection, waiting for a server that is starting; closed at the end."""
        # Not stamina: its retry messages are set for the whole process, in the words of the two services.
        waiting = Retrying(
            retry=retry_if_exception(lambda error: bool(_SOON.search(str(error)))),
            stop=stop_after_delay(self.busy_timeout_s),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            before_sleep=lambda _: logger.info("%s is not ready yet; waiting", self.location),
            reraise=True,
        )
        try:
            connection = waiting(_connect, self._url)
        except Error as error:
            # Without its cause: where the URL is damaged, that quotes it, password and all.
            raise self._not_connected(error) from None
        try:
            yield connection
        finally:
            with suppress(Error):
                connection.close()

    def make_schema_anew(self, schema: str) -> None:
        """Delete a schema with everything in it, and make it.

        Raises:
            WarehouseBusyError: a run is changing it.
        """
        with self._session(write=False) as session:
            running = "; ".join(map(str, _holders(session))) if session.has_schema() else ""
        if running:
            msg = f"Schema {schema} of the {self.location} is being changed by {running}. Wait until it has finished."
            raise WarehouseBusyError(msg)
        with self._session(write=True) as session:
            session.execute(f"DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE")
            session.execute(f"CREATE SCHEMA {quoted(schema)}")

    # -- the writer lock -----------------------------------------------------------------------------------------

    @contextmanager
    def writer_lock(
        self,
        *,
        year: int,
        run_id: str,
        job: str,
        by: str,
        wait_s: float,
        on_wait: Callable[[Holder | None, float], None],
        report_every_s: float = 10.0,
    ) -> Iterator[None]:
        """See `Warehouse`."""
        with self._connected() as connection:
            lock = PostgresSession(connection)
            try:
                lock.execute(f"SET {self._lock_timeout}")
                self._wait_in_line(lock, year, wait_s, on_wait, report_every_s)
                # The server frees the lock of a machine that vanished after a minute.
                for option, value in (("idle", 30), ("interval", 10), ("count", 3)):
                    lock.execute(f"SET tcp_keepalives_{option} = {value}")
                me = Holder(os.getpid(), run_id, job, datetime.now(UTC), by, socket.gethostname())
                backend = self._tell(lock, year, me)
                self._held[backend] = year
            except Error as error:
                raise self._explained(error) from error
            try:
                yield
            finally:
                del self._held[backend]
                # The lock ends with the connection, also when the row cannot be deleted any more.
                with suppress(Error):
                    lock.execute(f"DELETE FROM {WRITERS} WHERE year = $1 AND backend = pg_backend_pid()", [year])

    def holders(self) -> list[Holder]:
        """See `Warehouse`."""
        with self._session(write=False) as session:
            return _holders(session)

    def _wait_in_line(
        self,
        lock: PostgresSession,
        year: int,
        wait_s: float,
        on_wait: Callable[[Holder | None, float], None],
        report_every_s: float,
    ) -> None:
        started = reported = time.monotonic()
        sql = f"SELECT pg_try_advisory_lock({_key(_WRITER_OF_YEAR)}) AS mine FROM (SELECT $1::integer AS year) w"
        while not lock.locks(sql, [year]):
            now = time.monotonic()
            if now - started >= wait_s:
                raise waited_too_long(self._holder(year, lock), now - started)
            if now - reported >= report_every_s:
                reported = now
                on_wait(self._holder(year, lock), now - started)
            time.sleep(_POLL_S)

    def _holder(self, year: int, session: PostgresSession) -> Holder | None:
        """Who holds the lock of a year; None where that is not known yet."""
        if not session.stored_columns(WRITERS):
            return None
        told = session.fetch(f"SELECT run_id FROM {WRITERS} WHERE year = $1", [year])["run_id"]
        return next((holder for holder in self.holders() if holder.run_id in told), None)

    def _refuse_without_lock(self, session: PostgresSession) -> None:
        """Let nothing be written by a run whose lock went with its connection: another one may have begun.

        Raises:
            WarehouseError: it has none any more.
        """
        for backend, year in list(self._held.items()):
            sql = f"SELECT 1 FROM (SELECT $1::integer AS year, $2::integer AS backend) w WHERE EXISTS ({_LOCK_OF_W})"
            if session.fetch(sql, [year, backend]).is_empty():
                msg = (
                    f"This run no longer has the lock on program year {year} of the {self.location}: the connection "
                    "that held it was broken, so another run may have begun. What this step had to write was not "
                    "written; what was stored before is intact. Start the job again."
                )
                raise WarehouseError(msg)

    def _tell(self, lock: PostgresSession, year: int, me: Holder) -> int:
        """Write down who holds the lock; the server's process that does."""
        backend: int = lock.fetch("SELECT pg_backend_pid() AS pid")["pid"].item()
        with self._session(write=True) as session:
            session.claim(WRITERS)
            if not session.stored_columns(WRITERS):
                session.execute(
                    f"CREATE TABLE {WRITERS} (year integer PRIMARY KEY, backend integer, process integer, host text,"
                    " run_id text, job text, by text, since timestamptz)"
                )
                session.execute(
                    f"COMMENT ON TABLE {WRITERS} IS 'The run that changes a program year now, or did so last.'"
                )
            session.execute(f"DELETE FROM {WRITERS} WHERE year = $1", [year])
            session.execute(
                f"INSERT INTO {WRITERS} (year, backend, process, host, run_id, job, by, since)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                [year, backend, me.pid, me.host, me.run_id, me.job, me.by, me.since],
            )
        return backend

    # -- errors ------------------------------------------------------------------------------------------------------

    def _busy(self, what: str) -> str:
        # Asked with little patience: what we waited for may keep us from this too.
        with suppress(Error, WarehouseError, ConfigError), self._connected() as connection:
            session = PostgresSession(connection)
            session.execute("SET lock_timeout = 1000")
            runs = "; ".join(map(str, _holders(session)))
            what = f"{what}{f' ({runs})' if runs else ''}"
        return (
            f"The warehouse ({self.location}) is in use: {what}. Waited {self.busy_timeout_s:.0f} s. Nothing was "
            "changed. Wait until that has finished, and try again."
        )

    def _not_connected(self, error: Error) -> WarehouseError | ConfigError:
        said = _said(error)
        if _NO_URL.search(said):
            return ConfigError(_MISUNDERSTOOD)
        told = (explanation for sign, explanation in _REFUSALS.items() if re.search(sign, said))
        explanation = next(told, "does not let us in.")
        kind = WarehouseBusyError if _SOON.search(said) else WarehouseError
        return kind(
            f"The warehouse ({self.location}) {explanation} Nothing was read or changed. Postgres says: "
            f"{without_secrets(said, passwords_in(self._url))}"
        )

    def _explained(self, error: Error, *, is_ending: bool = False) -> WarehouseError:
        """Say in the operator's words what Postgres said."""
        said = without_secrets(_said(error), passwords_in(self._url))
        if error.sqlstate == _LOCK_TIMEOUT:
            said = f"another program has locked what is needed here ({said})"
        if error.sqlstate in _WAITED:
            return WarehouseBusyError(self._busy(said))
        unchanged = "Nothing was changed."
        if _LOST.search(said):
            explanation = "broke off the connection: it was restarted, or the network failed."
            if is_ending:
                unchanged = "This step's changes are there as a whole, or not at all; running it again is safe."
        else:
            explanation = _EXPLANATIONS.get(error.sqlstate or "", "refused this.")
        notes = getattr(error, "__notes__", [])
        parts = [f"The warehouse ({self.location}) {explanation}", *notes, unchanged, f"Postgres says: {said}"]
        return WarehouseError(" ".join(parts))


def _holders(session: PostgresSession) -> list[Holder]:
    if not session.stored_columns(WRITERS):
        return []
    found = session.fetch(
        f"SELECT process, run_id, job, since, by, host FROM {WRITERS} w WHERE EXISTS ({_LOCK_OF_W}) ORDER BY year"
    )
    return [Holder(*row) for row in found.iter_rows()]


# -- connections -----------------------------------------------------------------------------------------------------

_DATABASES: Final[dict[str, AdbcDatabase]] = {}
"""By URL, what the driver learned of a server's types; they hold no connection."""
_DATABASES_LOCK: Final = threading.Lock()


def _connect(url: str) -> AdbcConnection:
    with _DATABASES_LOCK:
        if url not in _DATABASES:
            _DATABASES[url] = adbc_driver_postgresql.connect(url)
    return AdbcConnection(_DATABASES[url])


_HOST: Final = r"(\[[^\s@/?#\]]*\]|[^\s@/?#\[:,]*)(:\d*)?"
_URL: Final = re.compile(rf"postgres(ql)?://([^\s@/?#]*@)?{_HOST}(,{_HOST})*(/[^\s/?#]*)?(\?[^\s#]*)?")
_MISUNDERSTOOD: Final = (
    "MENTOR_PIPELINE_DATABASE_URL cannot be understood. Expected: postgresql://USER:PASSWORD@HOST:5432/DATABASE. In "
    "the password everything but a to z, A to Z, 0 to 9 and - . _ ~ is written as % and its code in UTF-8: %40 for @, "
    "%2F for /, %3A for :, %25 for %, %5B for [, %5D for ]. Nothing was read or changed."
)


def _checked(url: str) -> str:
    """The URL with what we want of every connection.

    Raises:
        ConfigError: it is none, in words that do not quote it.
    """
    given: Mapping[str, Sequence[str]] | None = None
    if _URL.fullmatch(url) and not re.search(r"%(?![0-9A-Fa-f]{2})", url):
        # Its words quote the password; raised outside, the ConfigError does not carry them along.
        with suppress(ValueError):
            url.encode()
            given = parse_qs(urlsplit(url).query)
    if given is None:
        raise ConfigError(_MISUNDERSTOOD)
    further = "&".join(f"{name}={value}" for name, value in _CONNECTION.items() if name not in given)
    return f"{url}{'&' if '?' in url else '?'}{further}" if further else url


def in_schema(url: str, schema: str) -> str:
    """The URL with another schema than the user's own for tables."""
    option = f"options=-csearch_path%3D{schema}"
    return url if option in url else f"{url}{'&' if '?' in url else '?'}{option}"


def _described(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    where = "this machine" if not host or host.startswith("/") else unquote(host)
    return f"Postgres database {unquote(parts.path.lstrip('/')) or '(the default one)'} on {where}"


def _said(error: Error) -> str:
    """Postgres' own words, without what the driver puts around them."""
    said = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", str(error))
    said = re.split(r"\n?Query was:|\. SQLSTATE: |\nCONTEXT:|\nLINE \d", said)[0]
    said = re.sub(r"^Failed to .*?(?=(ERROR|FATAL):)|^.*PGRES_FATAL_ERROR\]?:? *(?=ERROR)", "", said, flags=re.DOTALL)
    return " ".join(said.split())


# -- what Postgres says, and what that means to an operator ------------------------------------------------------------

_SOON: Final = re.compile(
    r"the database system is (starting up|shutting down|in recovery)|not yet accepting connections|"
    r"too many clients already|remaining connection slots"
)
"""Refusals that end by themselves."""
_LOST: Final = re.compile(
    r"server closed the connection|terminating connection|no connection to the server|connection to server was lost|"
    r"could not (receive|send) data|SSL (SYSCALL|connection|error)|[Cc]onnection (reset|timed out)"
)
_NO_URL: Final = re.compile(r"\bURI\b|percent-encod|connection info string|connection option")
_LOCK_TIMEOUT: Final = "55P03"
_WAITED: Final = {_LOCK_TIMEOUT, "40P01", "40001"}
"""The last two: deadlock, lost a race. Somebody else was there."""
_REFUSALS: Final = {
    "password authentication failed|no password supplied": (
        "does not take this user and password. Correct MENTOR_PIPELINE_DATABASE_URL."
    ),
    "no pg_hba.conf entry|pg_hba.conf rejects": (
        "does not let this user in from this machine. Ask who runs the server to allow it (pg_hba.conf)."
    ),
    "role .* does not exist": "does not know this user. Correct MENTOR_PIPELINE_DATABASE_URL, or make the user.",
    "database .* does not exist": (
        "is not there: the server has no database of that name. Make it (CREATE DATABASE), or correct "
        "MENTOR_PIPELINE_DATABASE_URL."
    ),
    "permission denied for database": "is not open to this user. Ask who runs the server for GRANT CONNECT.",
    "could not translate host name": (
        "was not found: there is no such host. Correct MENTOR_PIPELINE_DATABASE_URL, or check the network."
    ),
    "Connection refused|No such file or directory|timeout expired|timed out|No route to host|unreachable": (
        "does not answer. Start the server, or correct host and port in MENTOR_PIPELINE_DATABASE_URL."
    ),
    _SOON.pattern: "is not ready for us: the server is starting, stopping or full. Try again in a minute.",
}
_EXPLANATIONS: Final = {
    "42501": (
        "does not allow this user to do this. Ask who runs the server for the rights: GRANT USAGE, CREATE ON SCHEMA, "
        "and the tables must belong to this user."
    ),
    "3F000": "has no schema to write to. Make one (CREATE SCHEMA public), or correct the user's search_path.",
    "25006": "only answers questions here: writing is refused.",
    "22021": "cannot hold the character NUL (\\u0000). Delete it where the text comes from.",
    "22P05": "cannot hold the character NUL (\\u0000). Delete it where the text comes from.",
    "23505": "holds one of these keys already.",
    "53100": "does not fit: the server's disk is full. Make room and try again.",
}
"""By SQLSTATE."""


def _name_nul(error: Error, spec: Table, rows: pl.DataFrame) -> None:
    """Add to the refusal of a NUL in which rows and columns it is."""
    if error.sqlstate not in {"22021", "22P05"}:
        return
    found: list[str] = []
    for name in rows.columns:
        column = pl.col(name)
        match spec.type_of(name):
            case Type.TEXT:
                has = column.str.contains("\0", literal=True)
            case Type.JSON:
                has = column.str.contains(r"\u0000", literal=True) | column.str.contains("\0", literal=True)
            case Type.TEXT_LIST:
                has = column.list.eval(pl.element().str.contains("\0", literal=True)).list.any()
            case _:
                continue
        keys = rows.filter(has).select(spec.key).iter_rows(named=True)
        found += [", ".join(f"{part} {value}" for part, value in key.items()) + f" (column {name})" for key in keys]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    error.add_note(f"Table {spec.name}: {'; '.join(found[:5])}{more}.".replace("\0", "\\u0000"))


# -- values ----------------------------------------------------------------------------------------------------------

_WRITER_OF_YEAR: Final = "'writer ' || w.year"


def _key(name: str) -> str:
    """The advisory lock of a name, in SQL; other schemas of the same database have locks of their own."""
    return f"hashtextextended('mentor_pipeline ' || current_schema() || ' ' || {name}, 0)"


_LOCK_OF_W: Final = (
    "SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.pid = w.backend AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND (l.classid::bigint << 32) | l.objid::bigint = {_key(_WRITER_OF_YEAR)}"
)
"""The writer lock of a relation `w` with year and backend, where that backend holds it."""


def _typed(spec: Table, column: str) -> str:
    """A staged column in its declared type; the driver knows all of them but JSON."""
    name = quoted(column)
    return f"{name}::jsonb AS {name}" if spec.type_of(column) is Type.JSON else name


def _as_frame(found: pa.Table) -> pl.DataFrame:
    """Rows with the types that Polars has: numerics as Decimals, JSON as text in the form that `to_json` gives.

    JSONB does not keep how a document was written, so that one form stands for all that mean the same.
    """
    plain = pa.schema([(field.name, getattr(field.type, "storage_type", field.type)) for field in found.schema])
    frame = pl.DataFrame(found.cast(plain))
    columns = []
    for field in found.schema:
        column = frame[field.name]
        if isinstance(field.type, pa.JsonType):
            texts = [None if text is None else to_json(orjson.loads(text)) for text in column]
            column = pl.Series(field.name, texts, dtype=pl.String)
        elif isinstance(field.type, pa.OpaqueType) and field.type.type_name == "numeric":
            scale = column.str.split(".").list.get(1, null_on_oob=True).str.len_chars().max() or 0
            column = column.cast(pl.Decimal(38, scale))
        columns.append(column)
    return pl.DataFrame(columns)
