"""The warehouse in one DuckDB file: the dialect, the opening of the file, and DuckDB's errors in the operator's words.

A DuckDB file has one owner: while a process has it open to write, every other process is kept out, readers too, and
within one process all connections must be opened in the same way. Hence the file is open as short as one call, whoever
comes second waits a bounded time, and a reader beside a writer of its own process shares the writer's open file. The
file is attached to an engine that lives as long as the process: starting one takes four times as long as the opening.
What is not DuckDB's own belongs to `warehouse`. (dagster-duckdb's resource is not used: it opens every file to write,
and leaves the connection open when something is raised.)
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar, Final

import duckdb
import polars as pl
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from mentor_pipeline.errors import WarehouseBusyError, WarehouseDamagedError, WarehouseError
from mentor_pipeline.resources.warehouse import Session, Warehouse, as_declared, listed, literal, quoted, same_key
from mentor_pipeline.resources.writer_lock import holder, writer_lock
from mentor_pipeline.tables import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from mentor_pipeline.resources.writer_lock import Holder
    from mentor_pipeline.tables import Table

logger = logging.getLogger(__name__)

_STAGE: Final = "_staged"
_PART: Final = 100_000
"""Rows that are handed over at once where all of them might not fit into memory."""
_MEMORY: Final = "1GB"
_ROW_GROUP: Final = 24_576
"""Rows that DuckDB keeps together: at its own 122,880 all contacts are one group, written by one thread at the end."""


@dataclass(slots=True)
class _Stage:
    """A frame that DuckDB may read. DuckDB holds on to what was registered until the transaction ends; to this only."""

    frame: pl.DataFrame | None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The frame's rows, as the Arrow PyCapsule interface hands them over."""
        if self.frame is None:
            msg = "these rows were let go"
            raise ValueError(msg)
        return self.frame.__arrow_c_stream__(requested_schema)


class DuckDBSession(Session):
    """One DuckDB connection inside one transaction."""

    native_types: ClassVar[Mapping[Type, str]] = {
        Type.TEXT: "VARCHAR",
        Type.INTEGER: "INTEGER",
        Type.BIGINT: "BIGINT",
        Type.DOUBLE: "DOUBLE",
        Type.MONEY: "DECIMAL(12, 2)",
        Type.BOOLEAN: "BOOLEAN",
        Type.DATE: "DATE",
        Type.TIMESTAMP: "TIMESTAMPTZ",
        Type.JSON: "JSON",
        Type.TEXT_LIST: "VARCHAR[]",
        Type.BIGINT_LIST: "BIGINT[]",
    }

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._stored: dict[str, list[str]] = {}

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """See `Session`."""
        # Fetched to the end: DuckDB 2 refuses the next statement while a result is unfinished.
        rows = self._connection.execute(sql, list(parameters)).fetchall()
        return int(rows[0][0]) if rows else 0

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """See `Session`."""
        rows: pl.DataFrame = self._connection.sql(sql, params=list(parameters)).pl()
        return rows

    def fetch_in_parts(self, sql: str) -> Iterator[pl.DataFrame]:
        """See `Session`."""
        parts: pa.RecordBatchReader = self._connection.sql(sql).to_arrow_reader(_PART)
        for part in parts:
            yield pl.DataFrame(part)

    def define(self, statements: Sequence[str]) -> None:
        """See `Session`."""
        self._stored.clear()
        super().define(statements)

    def stored_columns(self, table: str) -> list[str]:
        """See `Session`; asked at every read and write, and no other writer changes the answer meanwhile."""
        if table not in self._stored:
            self._stored[table] = self._columns(table)
        return self._stored[table]

    def _columns(self, table: str) -> list[str]:
        try:
            # A fifth of the time that DuckDB's catalogue takes, and unlike a query it breaks off no transaction.
            return list(self._connection.table(table).columns)
        except duckdb.CatalogException:
            return []

    @contextmanager
    def staged(self, spec: Table, frame: pl.DataFrame) -> Iterator[str]:  # noqa: ARG002 - DuckDB casts by itself
        """See `Session`."""
        stage = _Stage(frame)
        self._connection.register(_STAGE, stage)
        try:
            yield _STAGE
        finally:
            stage.frame = None
        # Not after an error: in an aborted transaction this would fail too and hide the reason.
        self._connection.unregister(_STAGE)

    def merge(self, spec: Table, rows: pl.DataFrame) -> int:
        """See `Session`."""
        table, columns = quoted(spec.name), listed(rows.columns)
        stored = self.stored_rows(spec, rows.columns, rows.select(spec.key))
        # Comparing here and writing the difference is several times faster than writing everything: an hourly sync
        # sees 49,000 contacts and changes a handful. (ON CONFLICT DO UPDATE takes minutes on DuckDB 2.0.)
        if stored.is_empty():
            changed = rows
        else:
            changed = rows.join(as_declared(spec, stored), on=rows.columns, how="anti", nulls_equal=True)
            if changed.is_empty():
                return 0
            with self.staged(spec, changed.select(spec.key)) as keys:
                self.execute(f"DELETE FROM {table} t USING {keys} k WHERE {same_key(spec)}")
        with self.staged(spec, changed) as staged:
            self.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}")
        return changed.height

    def claim(self, table: str, year: int | None = None) -> None:
        """See `Session`; a file that is open to write is this process's alone."""


class _InUseHereError(Exception):
    """Another thread of this process reads the file, so it cannot be opened to write."""


@dataclass(slots=True)
class _Open:
    """A file that is attached: under which name, how, and by how many connections."""

    name: str
    is_writable: bool
    connections: int = 0


class _Engine:
    """The one DuckDB engine of this process, to which files are attached for the time of their use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._root: duckdb.DuckDBPyConnection | None = None
        self._files: dict[Path, _Open] = {}
        self._names = count()

    def open(self, path: Path, *, write: bool) -> duckdb.DuckDBPyConnection:
        """A connection whose own database is the file.

        Raises:
            duckdb.Error: another process holds the file, or it cannot be opened.
            _InUseHereError: another thread reads it, and this one wants to write.
        """
        with self._lock:
            file = self._files.get(path) or self._attach(path, write=write)
            if write and not file.is_writable:
                raise _InUseHereError
            connection = self._engine().cursor()
            connection.execute(f"USE {file.name}")
            connection.execute("SET enable_progress_bar = false")  # it would be printed among an operator's lines
            file.connections += 1
            return connection

    def close(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        """Close a connection, and the file with the last one."""
        with self._lock:
            connection.close()
            file = self._files[path]
            file.connections -= 1
            if not file.connections:
                del self._files[path]
                try:
                    self._engine().execute(f"DETACH {file.name}")
                except duckdb.Error:
                    # DuckDB gave up on a file (a full disk, a damaged one): nothing is attached without its engine.
                    self._engine().close()
                    self._root = None

    def _engine(self) -> duckdb.DuckDBPyConnection:
        if self._root is None:
            self._root = duckdb.connect(":memory:")
            self._root.execute("SET GLOBAL TimeZone = 'UTC'")
            # By itself it takes four fifths of the machine's memory before it writes to disk.
            self._root.execute(f"SET GLOBAL memory_limit = '{_MEMORY}'")
            # Otherwise a name in SQL that is no table may be taken for a Python variable.
            self._root.execute("SET GLOBAL python_enable_replacements = false")
            # A file of another kind must not make DuckDB fetch an extension from the network.
            self._root.execute("SET GLOBAL autoinstall_known_extensions = false")
            self._root.execute("SET GLOBAL autoload_known_extensions = false")
        return self._root

    def _attach(self, path: Path, *, write: bool) -> _Open:
        file = _Open(f"file_{next(self._names)}", is_writable=write)
        options = f" (ROW_GROUP_SIZE {_ROW_GROUP})" if write else " (READ_ONLY)"
        if self._root is None:
            # What does not fit into memory goes beside the first file, not into whatever folder is the current one.
            self._engine().execute(f"SET GLOBAL temp_directory = {literal(f'{path}.tmp')}")
        self._engine().execute(f"ATTACH {literal(str(path))} AS {file.name}{options}")
        self._files[path] = file
        return file


_ENGINE: Final = _Engine()


class DuckDBWarehouse(Warehouse):
    """The warehouse in one DuckDB file.

    Attributes:
        path: the file; it and its folder are made on the first write.
        busy_timeout_s: how long to wait for a process that has the file open.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 30.0) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s

    @property
    def location(self) -> str:
        """See `Warehouse`."""
        return f"DuckDB file {self.path}"

    def writer_lock(
        self,
        *,
        year: int,  # noqa: ARG002 - one file, one writer
        run_id: str,
        job: str,
        by: str,
        wait_s: float,
        on_wait: Callable[[Holder | None, float], None],
        report_every_s: float = 10.0,
    ) -> AbstractContextManager[None]:
        """See `Warehouse`."""
        return writer_lock(
            self.path.parent,
            run_id=run_id,
            job=job,
            by=by,
            wait_s=wait_s,
            on_wait=on_wait,
            report_every_s=report_every_s,
        )

    def holders(self) -> list[Holder]:
        """See `Warehouse`."""
        current = holder(self.path.parent)
        return [current] if current else []

    @contextmanager
    def _session(self, *, write: bool) -> Iterator[DuckDBSession]:
        with self._opened(write=write) as connection:
            try:
                connection.execute("BEGIN TRANSACTION" if write else "BEGIN TRANSACTION READ ONLY")
                try:
                    yield DuckDBSession(connection)
                except BaseException as error:
                    with suppress(duckdb.Error):  # rolled back already where the database itself gave up
                        connection.rollback()
                    if isinstance(error, RuntimeError) and "Query interrupted" in str(error):
                        raise KeyboardInterrupt from error  # as DuckDB calls a Ctrl-C in one of its queries
                    raise
                connection.commit()
            except duckdb.Error as error:
                raise self._explained(error) from error

    @contextmanager
    def _opened(self, *, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the file, waiting for a process that holds it; the file is closed at the end."""
        # Not stamina: its retry messages are set for the whole process, in the words of the two services.
        waiting = Retrying(
            retry=retry_if_exception(_is_busy),
            stop=stop_after_delay(self.busy_timeout_s),
            wait=wait_random_exponential(multiplier=0.1, max=min(2.0, self.busy_timeout_s / 10)),
            before_sleep=lambda _: logger.info("%s is in use by another process; waiting", self.path),
            reraise=True,
        )
        try:
            if write:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not self.path.exists():
                    self._make()
            elif not self.path.exists():
                with duckdb.connect() as nothing_stored:
                    yield nothing_stored
                return
            connection = waiting(_ENGINE.open, self.path.resolve(), write=write)
        except (duckdb.Error, OSError, _InUseHereError) as error:
            if _is_busy(error):
                raise WarehouseBusyError(self._busy(error)) from error
            raise self._explained(error) from error
        try:
            yield connection
        finally:
            _ENGINE.close(self.path.resolve(), connection)

    def _make(self) -> None:
        """Make the file, readable by its owner alone, under its name only when it is whole.

        DuckDB refuses a file of which it wrote only the beginning: a process killed there would end every later run.
        """
        with TemporaryDirectory(dir=self.path.parent) as folder:
            made, new = Path(folder) / "made", Path(folder) / self.path.name
            duckdb.connect(made).close()
            # A copy, so that nothing DuckDB did to the file it made can touch the lock it takes on this one.
            shutil.copyfile(made, new)
            new.chmod(0o600)
            with suppress(FileExistsError):  # another process was faster: its file is as good
                self.path.hardlink_to(new)

    def _busy(self, error: Exception) -> str:
        """Say who has the file open, since when, and what to do."""
        found = re.search(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)", str(error))
        run = holder(self.path.parent)
        if found is None:
            who = "another part of this same process"
        elif run is not None and run.pid == int(found["pid"]):
            who = str(run)
        else:
            who = f"process {found['pid']} ({found['program']})"
        return (
            f"The warehouse {self.path} is in use by {who}. Waited {self.busy_timeout_s:.0f} s. Nothing was read or "
            "changed. Wait until it has finished, or close that program, and try again."
        )

    def _explained(self, error: Exception) -> WarehouseError:
        """Say in the operator's words what DuckDB or the file system said."""
        said = str(error)
        for sign, explanation in _DAMAGES.items():
            if sign in said:
                return WarehouseDamagedError(f"The warehouse {self.path} {explanation} {_BACKUP_INSTEAD}", self.path)
        for sign, explanation in _EXPLANATIONS.items():
            if sign in said:
                return WarehouseError(f"The warehouse {self.path} {explanation}")
        parts = [f"The warehouse {self.path} refused this.", *getattr(error, "__notes__", []), "Nothing was changed."]
        return WarehouseError(" ".join([*parts, f"DuckDB says: {said}"]))


_INTACT: Final = "What was stored before is intact. Make room and try again."
_CORRECT: Final = "Nothing was changed. Correct MENTOR_PIPELINE_DATA_DIR."
_BACKUP_INSTEAD: Final = (
    "It was left as it is. Put a backup in its place with `mentor-pipeline restore FILE --yes`, which keeps this file "
    "under another name; without a backup, move it away to start with an empty warehouse."
)
_DAMAGES: Final = {
    "not a valid DuckDB database file": "is not a DuckDB file.",
    "Corrupt database file": "is damaged.",
    "Could not read enough bytes": "is damaged.",
}
_EXPLANATIONS: Final = {
    "created with a newer version of DuckDB": (
        "was written by a newer version of DuckDB than is installed here. It was left as it is. Install the version "
        "of mentor-pipeline that wrote it."
    ),
    "Permission denied": "may not be read or written by this user. Nothing was changed. Change its owner or rights.",
    "Read-only file system": "is on a read-only disk. Nothing was changed.",
    "Not a directory": f"cannot be made: a part of its path is a file. {_CORRECT}",
    "File exists": f"cannot be made: its folder is a file. {_CORRECT}",
    "Is a directory": f"is a folder. {_CORRECT}",
    "No space left on device": f"does not fit: the disk is full. {_INTACT}",
    "File too large": f"does not fit: the file may not grow further. {_INTACT}",
    "Disk quota exceeded": f"does not fit: the disk quota is used up. {_INTACT}",
}
"""What DuckDB and the file system say, and what that means to an operator."""


def _is_busy(error: BaseException) -> bool:
    """True for the refusals that end by themselves: another process, or a reader in this one, has the file open."""
    return isinstance(error, _InUseHereError) or (
        isinstance(error, duckdb.IOException) and "Could not set lock on file" in str(error)
    )
