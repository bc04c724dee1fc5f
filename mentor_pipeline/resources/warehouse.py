"""The warehouse: typed tables behind one small interface, the same for DuckDB and Postgres.

Everything that is not a dialect lives here once: casting by the table specs, keys, year slices, upserts, row order,
added columns. A database only brings a `Session` (run this statement, fetch that query, make this frame readable) and
the opening of a transaction around it. What the rows mean belongs to the domain, which table an asset writes to the
IO manager. Values are always parameters and identifiers always quoted.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

import polars as pl
from polars.io.plugins import register_io_source

from mentor_pipeline.errors import WarehouseBusyError, WarehouseError
from mentor_pipeline.tables import TABLES, Table, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mentor_pipeline.resources.writer_lock import Holder
    from mentor_pipeline.tables import Type

_NOTHING: Final = "Nothing was written."


def quoted(identifier: str) -> str:
    """An SQL identifier, whatever characters it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL text literal, for the few statements that take no parameters (COMMENT ON, ATTACH)."""
    return "'" + text.replace("'", "''") + "'"


def listed(columns: Iterable[str], *, of: str = "") -> str:
    """Quoted column names with commas; `of` is the relation they belong to."""
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + quoted(column) for column in columns)


def same_key(spec: Table) -> str:
    """The test that a stored row `t` and a staged row `k` have the same key."""
    return " AND ".join(f"t.{quoted(column)} = k.{quoted(column)}" for column in spec.key)


@contextmanager
def naming(spec: Table) -> Iterator[None]:
    """Name the table in an error of the database, whose own words often do not."""
    try:
        yield
    except Exception as error:
        error.add_note(f"Table {spec.name}.")
        raise


def as_declared(spec: Table, stored: pl.DataFrame) -> pl.DataFrame:
    """Stored rows as their table declares them.

    Raises:
        WarehouseError: a stored column is of a type that cannot become the declared one.
    """
    try:
        return spec.conform(stored)
    except ValueError as error:
        raise WarehouseError(_changed_from_outside(spec, stored)) from error


def _changed_from_outside(spec: Table, stored: pl.DataFrame) -> str:
    """Which columns of a stored table are not of their declared types, and what to do."""
    odd = []
    for name in stored.columns:
        try:
            spec.conform(stored.select(name))
        except ValueError:
            odd.append(f"{name} (declared as {spec.type_of(name).value}, stored as {stored.schema[name]})")
    return (
        f"Table {spec.name} was changed by another program: {', '.join(odd)}. It was left as it is. Restore a backup "
        "with `mentor-pipeline restore FILE`, or give the columns their types again."
    )


class Session(ABC):
    """One open connection inside one transaction: the part that differs between databases.

    Placeholders are `$1`, `$2`, ... in every dialect. Errors stay the database's own here; they become a
    `WarehouseError` where the transaction ends, since no transaction can go on after one.
    """

    native_types: ClassVar[Mapping[Type, str]]

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return the number of rows it touched."""

    def define(self, statements: Sequence[str]) -> None:
        """Run statements that make tables and say what they are."""
        for statement in statements:
            self.execute(statement)

    @abstractmethod
    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """Run one query and return its rows."""

    @abstractmethod
    def fetch_in_parts(self, sql: str) -> Iterator[pl.DataFrame]:
        """Run one query and return its rows in parts, of which one is in memory at a time."""

    @abstractmethod
    def staged(self, spec: Table, frame: pl.DataFrame) -> AbstractContextManager[str]:
        """Make a frame of some of a table's columns readable in SQL, as the relation that is yielded."""

    @abstractmethod
    def merge(self, spec: Table, rows: pl.DataFrame) -> int:
        """Insert rows, or put them in the place of those with the same key; rows that are stored already stay.

        Returns:
            Number of rows that are new or changed.
        """

    @abstractmethod
    def claim(self, table: str, year: int | None = None) -> None:
        """Keep other writers out of a year's rows, or of the whole table, until this transaction ends.

        Called before a writer reads or writes them, so that what it read is still so when it writes. Nothing to do for
        those who only read.
        """

    def stored_keys(self, spec: Table, keys: pl.DataFrame) -> pl.DataFrame:
        """Those of the keys that are stored; nothing but the key is read of any row."""
        with self.staged(spec, keys) as staged:
            found = self.fetch(
                f"SELECT {listed(spec.key, of='k')} FROM {quoted(spec.name)} t JOIN {staged} k ON {same_key(spec)}"
            )
        return as_declared(spec, found)

    def stored_rows(self, spec: Table, columns: Sequence[str], keys: pl.DataFrame) -> pl.DataFrame:
        """These columns of the rows that have one of the keys, as the database types them."""
        keys = self.stored_keys(spec, keys)
        if keys.is_empty():  # often so, and no row need be looked at
            return self.fetch(f"SELECT {listed(columns)} FROM {quoted(spec.name)} LIMIT 0")
        with self.staged(spec, keys) as staged:
            return self.fetch(
                f"SELECT {listed(columns, of='t')} FROM {quoted(spec.name)} t JOIN {staged} k ON {same_key(spec)}"
            )

    def stored_columns(self, table: str) -> list[str]:
        """Columns of a stored table, in order; none when there is no such table."""
        found = self.fetch(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_catalog = current_database() AND table_schema = current_schema() AND table_name = $1"
            " ORDER BY ordinal_position",
            [table],
        )
        return found["column_name"].to_list()


class Reader:
    """Reads of one moment: everything read through one reader belongs together."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def table_exists(self, table: str) -> bool:
        """True once the table has been written for the first time."""
        return bool(self._session.stored_columns(TABLES[table].name))

    def read(self, table: str, *, columns: Sequence[str] | None = None, year: int | None = None) -> pl.DataFrame:
        """Read a table as its spec declares it, in the order of its key.

        Args:
            table: name of the table.
            columns: only these columns, in this order; all when None.
            year: only this program year's rows; all when None.

        Raises:
            WarehouseError: the table has never been written.
        """
        spec = TABLES[table]
        where = _year_slice(spec, year)
        self._session.claim(table, year)
        stored = self._session.stored_columns(spec.name)
        if not stored:
            msg = f"Table {table} is not there yet: nothing has been stored in it. Run a sync first."
            raise WarehouseError(msg)
        return self._read(spec, stored, columns, *_condition(where))

    def read_or_empty(
        self, table: str, *, columns: Sequence[str] | None = None, year: int | None = None
    ) -> pl.DataFrame:
        """Read as `read` does; no rows, but the same columns, where the table has never been written."""
        spec = TABLES[table]
        where = _year_slice(spec, year)
        self._session.claim(table, year)
        stored = self._session.stored_columns(spec.name)
        if not stored:
            return spec.empty() if columns is None else spec.empty().select(columns)
        return self._read(spec, stored, columns, *_condition(where))

    def counts(self, tables: Iterable[str]) -> dict[str, int]:
        """Number of rows of each table; 0 for one that has never been written."""
        return {table: self.count(table) for table in tables}

    def count(self, table: str, *, year: int | None = None) -> int:
        """Number of rows of a table (of one program year); 0 when it has never been written."""
        if not self.table_exists(table):
            return 0
        condition, values = _condition(_year_slice(TABLES[table], year))
        return int(self._session.fetch(f"SELECT count(*) AS n FROM {quoted(table)}{condition}", values)["n"].item())

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """Run a query of one's own; placeholders are `$1`, `$2`, ... Columns come back as the database types them."""
        return self._session.fetch(sql, parameters)

    def read_by_id(self, table: str, ids: pl.Series, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read, of a table whose key is one number, some thousands of rows; no rows where it was never written.

        Args:
            table: name of the table.
            ids: the keys of the rows.
            columns: only these columns, in this order; all when None.
        """
        spec = TABLES[table]
        (key,) = spec.key
        self._session.claim(table)
        stored = self._session.stored_columns(spec.name)
        if not stored:
            return spec.empty().select(columns or spec.column_names)
        where = f" WHERE {quoted(key)} IN (SELECT unnest($1::BIGINT[]))"
        return self._read(spec, stored, columns, where, [ids.to_list()])

    def in_parts(self, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """These columns of all rows, in parts and in any order; none where the table has never been written."""
        spec = TABLES[table]
        stored = self._session.stored_columns(spec.name)
        if not stored:
            return
        selected = [name for name in columns if name in stored] or list(spec.key)
        for rows in self._session.fetch_in_parts(f"SELECT {listed(selected)} FROM {quoted(spec.name)}"):
            yield as_declared(spec, rows).select(columns)

    def _read(
        self,
        spec: Table,
        stored: Sequence[str],
        columns: Sequence[str] | None,
        where: str,
        values: Sequence[object],
    ) -> pl.DataFrame:
        # Columns that a newer spec declares read as null until the next write adds them; columns that the spec no
        # longer knows stay stored, unread.
        further = [name for name in stored if name not in spec.schema] if spec.extensible else []
        wanted = [*spec.column_names, *further] if columns is None else list(columns)
        selected = [name for name in stored if name in wanted or name in spec.key]
        frame = self._session.fetch(f"SELECT {listed(selected)} FROM {quoted(spec.name)}{where}", values)
        return as_declared(spec, frame).sort(spec.key).select(wanted)


class Transaction(Reader):
    """All writes of one step: they become visible together, or not at all.

    Frames are matched by column name and cast to the declared types. Every method refuses, before it writes anything, a
    frame with unknown columns, values that do not fit, empty keys, or one key twice.
    """

    def read_of(self, table: str, keys: pl.DataFrame) -> pl.DataFrame:
        """Read, of a table without a year, the rows that have one of the keys, in the order of the key.

        Args:
            table: name of the table; no rows where it has never been written.
            keys: the key's columns, each key once.
        """
        spec = TABLES[table]
        self._session.claim(table)
        stored = self._session.stored_columns(spec.name)
        if not stored:
            return spec.empty()
        selected = [name for name in stored if name in spec.schema]
        rows = self._session.stored_rows(spec, selected, keys)
        return as_declared(spec, rows).sort(spec.key).select(spec.column_names)

    def replace(self, table: str, frame: pl.DataFrame, *, year: int | None = None) -> int:
        """Make the frame the whole table, or the whole of one program year.

        Args:
            table: name of the table.
            frame: the rows.
            year: required for, and only for, a table that has a year. Other years' rows stay.

        Returns:
            Number of rows written.

        Raises:
            WarehouseError: the frame does not fit; the transaction writes nothing.
        """
        spec = TABLES[table]
        if spec.has_year != (year is not None):
            msg = f"table {table} {'has a' if spec.has_year else 'has no'} year: replace() was told {year}"
            raise ValueError(msg)
        return self.replace_slice(table, frame, _year_slice(spec, year))

    def replace_slice(self, table: str, frame: pl.DataFrame, where: Mapping[str, object]) -> int:
        """Make the frame all rows for which every column of `where` has the given value.

        Returns:
            Number of rows written.

        Raises:
            WarehouseError: the frame does not fit, or has rows outside the slice; the transaction writes nothing.
        """
        spec, rows = self._conformed(table, frame)
        outside = rows.filter(
            ~pl.all_horizontal(pl.lit(value=True), *(pl.col(c).eq_missing(v) for c, v in where.items()))
        )
        if not outside.is_empty():
            msg = (
                f"Table {table}: {outside.height} rows do not belong to {dict(where)}, e.g. "
                f"{_named(outside.select(spec.key))}. {_NOTHING}"
            )
            raise WarehouseError(msg)
        self._provide(spec, rows.columns)
        year = where.get("year")
        self._session.claim(table, year if isinstance(year, int) else None)
        condition, values = _condition(where)
        self._session.execute(f"DELETE FROM {quoted(table)}{condition}", values)
        self._insert(spec, rows)
        return rows.height

    def upsert(self, table: str, frame: pl.DataFrame) -> int:
        """Insert rows, or replace the stored ones that have the same key; all others stay.

        Rows that are stored already, value by value, are not touched.

        Returns:
            Number of rows that are new or changed.

        Raises:
            WarehouseError: the frame does not fit; the transaction writes nothing.
        """
        spec, rows = self._prepared(table, frame)
        if rows.is_empty():
            return 0
        with naming(spec):
            return self._session.merge(spec, rows)

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Insert the rows whose key is not stored yet; stored rows are never changed.

        Returns:
            Number of rows inserted.

        Raises:
            WarehouseError: the frame does not fit; the transaction writes nothing.
        """
        spec, rows = self._prepared(table, frame)
        known = f" WHERE NOT EXISTS (SELECT 1 FROM {quoted(table)} t WHERE {same_key(spec)})"
        return self._insert(spec, rows, known)

    def store(self, table: str, frame: pl.DataFrame, *, year: int) -> int:
        """Write a frame as the table's spec says (`Table.write`), for the given program year where it has one."""
        spec = TABLES[table]
        match spec.write:
            case Write.REPLACE:
                return self.replace(table, frame, year=year if spec.has_year else None)
            case Write.UPSERT:
                return self.upsert(table, frame)
            case Write.APPEND:
                return self.append(table, frame)

    def _prepared(self, table: str, frame: pl.DataFrame) -> tuple[Table, pl.DataFrame]:
        """Conform a frame, make sure that the stored table has its columns, and claim the years of its rows."""
        spec, rows = self._conformed(table, frame)
        self._provide(spec, rows.columns)
        for year in rows["year"].unique().sort() if spec.has_year else [None]:
            self._session.claim(table, year)
        return spec, rows

    def _conformed(self, table: str, frame: pl.DataFrame) -> tuple[Table, pl.DataFrame]:
        """Check a frame against the spec."""
        spec = TABLES[table]
        try:
            rows = spec.conform(frame)
        except ValueError as error:
            msg = f"The rows do not fit {error}. {_NOTHING}"
            raise WarehouseError(msg) from error
        keys = rows.select(spec.key)
        without = keys.filter(pl.any_horizontal(pl.all().is_null()))
        if not without.is_empty():
            msg = f"Table {table}: {without.height} rows lack a part of their key: {_named(without)}. {_NOTHING}"
            raise WarehouseError(msg)
        twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True)
        if not twice.is_empty():
            msg = f"Table {table}: {twice.height} keys occur more than once: {_named(twice)}. {_NOTHING}"
            raise WarehouseError(msg)
        return spec, rows

    def _provide(self, spec: Table, columns: Sequence[str]) -> None:
        """Create the table, or add the columns that it lacks."""
        if set(columns) <= set(self._session.stored_columns(spec.name)):
            return
        self._session.claim(spec.name)
        stored = self._session.stored_columns(spec.name)  # another writer may have been faster
        new = [name for name in columns if name not in stored]
        if not new:
            return
        table, native = quoted(spec.name), self._session.native_types
        definitions = [f"{quoted(name)} {native[spec.type_of(name)]}" for name in new]
        if not stored:
            primary_key = f"PRIMARY KEY ({listed(spec.key)})"
            statements = [
                f"CREATE TABLE {table} ({', '.join([*definitions, primary_key])})",
                f"COMMENT ON TABLE {table} IS {literal(spec.description)}",
            ]
        else:
            statements = [f"ALTER TABLE {table} ADD COLUMN {definition}" for definition in definitions]
        statements += [
            f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.description)}"
            for column in spec.columns
            if column.name in new
        ]
        self._session.define(statements)

    def _insert(self, spec: Table, rows: pl.DataFrame, condition: str = "") -> int:
        if rows.is_empty():
            return 0
        columns = listed(rows.columns)
        with naming(spec), self._session.staged(spec, rows) as staged:
            return self._session.execute(
                f"INSERT INTO {quoted(spec.name)} ({columns}) SELECT {columns} FROM {staged} k{condition}"
            )


class Warehouse(ABC):
    """Where the pipeline keeps its tables. Each call opens the database late and closes it early."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the data is, in words for an operator; never with a password."""

    @abstractmethod
    def _session(self, *, write: bool) -> AbstractContextManager[Session]:
        """Open the database and a transaction; commit on success, roll back on any exception, always close.

        Raises:
            WarehouseBusyError: another process holds the database, for longer than this warehouse waits.
            WarehouseError: it cannot be opened, read or written.
        """

    @abstractmethod
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
    ) -> AbstractContextManager[None]:
        """Hold the writer lock for a run, waiting in line for it; it ends with the process at the latest.

        Args:
            year: the program year that the run changes. On Postgres runs of other years go on beside it.
            run_id: the run that wants it; this and the next two are what others are told while it is held.
            job: its job.
            by: the schedule, sensor or person who started it.
            wait_s: how long to wait at most.
            on_wait: called about every `report_every_s` with the holder (None: not known) and the seconds waited.
            report_every_s: see there.

        Raises:
            WarehouseBusyError: somebody else held it all the time.
            WarehouseError: the lock cannot be asked for.
        """

    @contextmanager
    def alone(self, *, year: int, job: str, by: str, wait_s: float) -> Iterator[None]:
        """Hold the writer lock while no run of any year is at work: for what changes every table, outside of runs.

        Raises:
            WarehouseBusyError: a run is changing the warehouse; nothing was changed.
        """
        run_id = f"{job}-{os.getpid()}"
        with self.writer_lock(year=year, run_id=run_id, job=job, by=by, wait_s=wait_s, on_wait=lambda *_: None):
            # On Postgres runs of other years hold locks of their own, and could write back what they read before.
            others = [holder for holder in self.holders() if holder.run_id != run_id]
            if others:
                msg = (
                    f"Another run is changing the warehouse: {others[0]}. Nothing was changed. Wait until it has "
                    "finished."
                )
                raise WarehouseBusyError(msg)
            yield

    @abstractmethod
    def holders(self) -> list[Holder]:
        """The runs that hold a writer lock now; none when no run changes anything."""

    def live_runs(self) -> set[str]:
        """Ids of the runs that hold a writer lock now."""
        return {holder.run_id for holder in self.holders()}

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Several reads of one moment, over one connection. Not for code that waits for anything else."""
        with self._session(write=False) as session:
            yield Reader(session)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Several writes in one transaction: all of them, or none if anything is raised inside.

        What is read inside is still so when it is written. Not for code that waits for anything else: others wait
        meanwhile (on DuckDB everybody, on Postgres writers of the same tables and years).
        """
        with self._session(write=True) as session:
            yield Transaction(session)

    def read(self, table: str, *, columns: Sequence[str] | None = None, year: int | None = None) -> pl.DataFrame:
        """See `Reader.read`."""
        with self.reading() as reader:
            return reader.read(table, columns=columns, year=year)

    def read_or_empty(
        self, table: str, *, columns: Sequence[str] | None = None, year: int | None = None
    ) -> pl.DataFrame:
        """See `Reader.read_or_empty`."""
        with self.reading() as reader:
            return reader.read_or_empty(table, columns=columns, year=year)

    def read_by_id(self, table: str, ids: pl.Series, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """See `Reader.read_by_id`."""
        with self.reading() as reader:
            return reader.read_by_id(table, ids, columns=columns)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """See `Reader.query`; a statement that writes is refused."""
        with self.reading() as reader:
            return reader.query(sql, parameters)

    @contextmanager
    def scanning(self, table: str, *, columns: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """A table of any size as a lazy frame: a query reads the columns that it needs, a part after the other.

        Each query reads what is stored at its time, in any order. Not for tables that others may be changing.

        Raises:
            WarehouseError: the warehouse cannot be read; raised by whatever is done inside.
        """
        failed: list[Exception] = []
        schema = {name: TABLES[table].schema[name] for name in columns}

        def parts(
            wanted: list[str] | None,
            predicate: pl.Expr | None,
            row_count: int | None,
            part_size: int | None,  # noqa: ARG001 - a hint
        ) -> Iterator[pl.DataFrame]:
            try:
                with self.reading() as reader:
                    for rows in reader.in_parts(table, columns if wanted is None else wanted):
                        part = rows if row_count is None else rows.head(row_count)
                        row_count = None if row_count is None else row_count - part.height
                        yield part if predicate is None else _copied(part.filter(predicate))
                        if row_count == 0:
                            return
            except Exception as error:
                failed.append(error)
                raise

        try:
            yield register_io_source(parts, schema=schema)
        except pl.exceptions.PolarsError as error:
            if failed:  # Polars tells of it in words of its own
                raise failed[0] from error
            raise

    def counts(self, tables: Iterable[str]) -> dict[str, int]:
        """See `Reader.counts`."""
        with self.reading() as reader:
            return reader.counts(tables)

    def table_exists(self, table: str) -> bool:
        """See `Reader.table_exists`."""
        with self.reading() as reader:
            return reader.table_exists(table)

    def replace(self, table: str, frame: pl.DataFrame, *, year: int | None = None) -> int:
        """See `Transaction.replace`; one transaction."""
        with self.write() as transaction:
            return transaction.replace(table, frame, year=year)

    def upsert(self, table: str, frame: pl.DataFrame) -> int:
        """See `Transaction.upsert`; one transaction."""
        with self.write() as transaction:
            return transaction.upsert(table, frame)

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """See `Transaction.append`; one transaction."""
        with self.write() as transaction:
            return transaction.append(table, frame)


def _year_slice(spec: Table, year: int | None) -> dict[str, object]:
    if year is None:
        return {}
    if not spec.has_year:
        msg = f"table {spec.name} has no year"
        raise ValueError(msg)
    return {"year": year}


def _condition(where: Mapping[str, object]) -> tuple[str, list[object]]:
    """A WHERE clause and its parameters; no clause for no condition."""
    if not where:
        return "", []
    tests = " AND ".join(f"{quoted(column)} = ${i}" for i, column in enumerate(where, start=1))
    return f" WHERE {tests}", list(where.values())


def _copied(few: pl.DataFrame) -> pl.DataFrame:
    """Rows with texts of their own: those that Polars picks out of many hold on to the texts of all of them."""
    copied: pl.DataFrame = pl.DataFrame(few.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return copied.cast(few.schema)


def _named(keys: pl.DataFrame, limit: int = 5) -> str:
    """The first few keys in words."""
    shown = "; ".join(
        ", ".join(f"{column} {value}" for column, value in row.items()) for row in keys.head(limit).to_dicts()
    )
    return shown if keys.height <= limit else f"{shown}; and {keys.height - limit} more"
