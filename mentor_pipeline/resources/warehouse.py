"""The warehouse: typed tables behind one small interface, the same for DuckDB and Postgres.

Everything that is not a dialect lives here once: casting by the table specs, keys, year slices, upserts, row order,
added columns. A database only brings a `Session` (run this statement, fetch that query, make this frame readable) and
the opening of a transaction around it. What the rows mean belongs to the domain, which table an asset writes to the
IO manager. Values are always parameters and identifiers always quoted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

import polars as pl

from mentor_pipeline.errors import WarehouseError
from mentor_pipeline.tables import TABLES, Table, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mentor_pipeline.tables import Type

_NOTHING: Final = "Nothing was written."


def quoted(identifier: str) -> str:
    """An SQL identifier, whatever characters it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL text literal, for the few statements that take no parameters (COMMENT ON, ATTACH)."""
    return "'" + text.replace("'", "''") + "'"


def _list(columns: Iterable[str], *, of: str = "") -> str:
    """Quoted column names with commas; `of` is the relation they belong to."""
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + quoted(column) for column in columns)


class Session(ABC):
    """One open connection inside one transaction: the part that differs between databases.

    Placeholders are `$1`, `$2`, ... in every dialect. Errors stay the database's own here; they become a
    `WarehouseError` where the transaction ends, since no transaction can go on after one.
    """

    native_types: ClassVar[Mapping[Type, str]]

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return the number of rows it touched."""

    @abstractmethod
    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """Run one query and return its rows."""

    @abstractmethod
    def staged(self, frame: pl.DataFrame) -> AbstractContextManager[str]:
        """Make a frame readable in SQL, under the name that is yielded."""

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
        stored = self._session.stored_columns(spec.name)
        if not stored:
            msg = f"Table {table} is not there yet: nothing has been stored in it. Run a sync first."
            raise WarehouseError(msg)
        return self._read(spec, stored, columns, where)

    def read_or_empty(
        self, table: str, *, columns: Sequence[str] | None = None, year: int | None = None
    ) -> pl.DataFrame:
        """Read as `read` does; no rows, but the same columns, where the table has never been written."""
        spec = TABLES[table]
        where = _year_slice(spec, year)
        stored = self._session.stored_columns(spec.name)
        if not stored:
            return spec.empty() if columns is None else spec.empty().select(columns)
        return self._read(spec, stored, columns, where)

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

    def _read(
        self, spec: Table, stored: Sequence[str], columns: Sequence[str] | None, where: Mapping[str, object]
    ) -> pl.DataFrame:
        # Columns that a newer spec declares read as null until the next write adds them; columns that the spec no
        # longer knows stay stored, unread.
        further = [name for name in stored if name not in spec.schema] if spec.extensible else []
        wanted = [*spec.column_names, *further] if columns is None else list(columns)
        selected = [name for name in stored if name in wanted or name in spec.key]
        condition, values = _condition(where)
        frame = self._session.fetch(f"SELECT {_list(selected)} FROM {quoted(spec.name)}{condition}", values)
        return spec.conform(frame).sort(spec.key).select(wanted)


class Transaction(Reader):
    """All writes of one step: they become visible together, or not at all.

    Frames are matched by column name and cast to the declared types. Every method refuses, before it writes anything, a
    frame with unknown columns, values that do not fit, empty keys, or one key twice.
    """

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
        spec, rows = self._prepared(table, frame)
        outside = rows.filter(
            ~pl.all_horizontal(pl.lit(value=True), *(pl.col(c).eq_missing(v) for c, v in where.items()))
        )
        if not outside.is_empty():
            msg = (
                f"Table {table}: {outside.height} rows do not belong to {dict(where)}, e.g. "
                f"{_named(outside.select(spec.key))}. {_NOTHING}"
            )
            raise WarehouseError(msg)
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
        with self._session.staged(rows.select(spec.key)) as keys:
            stored = self._session.fetch(
                f"SELECT {_list(rows.columns, of='t')} FROM {quoted(table)} t JOIN {keys} k ON {_same_key(spec)}"
            )
        # Comparing here and writing the difference is several times faster than writing everything: an hourly sync
        # sees 49,000 contacts and changes a handful. (ON CONFLICT DO UPDATE takes minutes on DuckDB 2.0.)
        changed = rows.join(spec.conform(stored), on=rows.columns, how="anti", nulls_equal=True)
        if not changed.is_empty():
            with self._session.staged(changed.select(spec.key)) as keys:
                self._session.execute(f"DELETE FROM {quoted(table)} t USING {keys} k WHERE {_same_key(spec)}")
            self._insert(spec, changed)
        return changed.height

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Insert the rows whose key is not stored yet; stored rows are never changed.

        Returns:
            Number of rows inserted.

        Raises:
            WarehouseError: the frame does not fit; the transaction writes nothing.
        """
        spec, rows = self._prepared(table, frame)
        known = f" WHERE NOT EXISTS (SELECT 1 FROM {quoted(table)} t WHERE {_same_key(spec)})"
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
        """Check a frame against the spec and make sure that the stored table has its columns."""
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
        self._provide(spec, rows.columns)
        return spec, rows

    def _provide(self, spec: Table, columns: Sequence[str]) -> None:
        """Create the table, or add the columns that it lacks."""
        table, native = quoted(spec.name), self._session.native_types
        stored = self._session.stored_columns(spec.name)
        new = [name for name in columns if name not in stored]
        definitions = [f"{quoted(name)} {native[spec.type_of(name)]}" for name in new]
        if not stored:
            primary_key = f"PRIMARY KEY ({_list(spec.key)})"
            self._session.execute(f"CREATE TABLE {table} ({', '.join([*definitions, primary_key])})")
            self._session.execute(f"COMMENT ON TABLE {table} IS {literal(spec.description)}")
        else:
            for definition in definitions:
                self._session.execute(f"ALTER TABLE {table} ADD COLUMN {definition}")
        for column in spec.columns:
            if column.name in new:
                name = f"{table}.{quoted(column.name)}"
                self._session.execute(f"COMMENT ON COLUMN {name} IS {literal(column.description)}")

    def _insert(self, spec: Table, rows: pl.DataFrame, condition: str = "") -> int:
        columns = _list(rows.columns)
        with self._session.staged(rows) as staged:
            try:
                return self._session.execute(
                    f"INSERT INTO {quoted(spec.name)} ({columns}) SELECT {columns} FROM {staged} k{condition}"
                )
            except Exception as error:
                error.add_note(f"Table {spec.name}.")  # the database's own words often do not name it
                raise


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

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Several reads of one moment, over one connection. Not for code that waits for anything else."""
        with self._session(write=False) as session:
            yield Reader(session)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Several writes in one transaction: all of them, or none if anything is raised inside.

        Not for code that waits for anything else: nobody can read or write meanwhile.
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

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """See `Reader.query`; a statement that writes is refused."""
        with self.reading() as reader:
            return reader.query(sql, parameters)

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


def _same_key(spec: Table) -> str:
    """The test that a stored row `t` and a staged row `k` have the same key."""
    return " AND ".join(f"t.{quoted(column)} = k.{quoted(column)}" for column in spec.key)


def _named(keys: pl.DataFrame, limit: int = 5) -> str:
    """The first few keys in words."""
    shown = "; ".join(
        ", ".join(f"{column} {value}" for column, value in row.items()) for row in keys.head(limit).to_dicts()
    )
    return shown if keys.height <= limit else f"{shown}; and {keys.height - limit} more"
