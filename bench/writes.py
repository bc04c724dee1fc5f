"""Measures writing: 49,000 contacts into an empty table of the warehouse, on DuckDB and on Postgres.

The warehouse checks the rows, guards their key, and writes them in one transaction (`upsert`, as syncs do; `replace`
stands beside it). The yardstick is one bulk insert of the same Arrow table into a table of the same columns with the
same key: DuckDB's `INSERT … SELECT`, and Postgres' binary COPY through ADBC, where columns of JSON are text. The server
is a real one, on the same cores, which keeps nothing on disk that would be waited for.

    python -m bench --only writes
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import adbc_driver_postgresql.dbapi as adbc
import polars as pl

from bench.imports import CONTACTS, ROWS, bulk_insert, make_files, make_rows
from bench.measuring import alone, side_by_side
from bench.report import Section, at_most, how, told_only
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.postgres_warehouse import PostgresSession, PostgresWarehouse, in_schema
from mentor_pipeline.resources.warehouse import quoted
from mentor_pipeline.tables import TABLES, Type
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measuring import Figure, Work
    from mentor_pipeline.resources.warehouse import Warehouse

TIMES: Final = 1.5
SCHEMA: Final = "bench"
UPSERT, REPLACE = "Warehouse.upsert", "Warehouse.replace"
INSERT, COPY = "INSERT … SELECT", "COPY"


class Sizes(NamedTuple):
    """Contacts, and how often each is measured."""

    rows: int
    runs: int


FULL: Final = Sizes(49_000, 7)
QUICK: Final = Sizes(300, 1)


def into_duckdb(folder: Path, method: str) -> Work:
    path = folder / "written.duckdb"
    path.unlink(missing_ok=True)
    return _writing(DuckDBWarehouse(path), folder, method)


def into_postgres(folder: Path, url: str, method: str) -> Work:
    PostgresWarehouse(url).make_schema_anew(SCHEMA)
    return _writing(PostgresWarehouse(in_schema(url, SCHEMA)), folder, method)


def _writing(warehouse: Warehouse, folder: Path, method: str) -> Work:
    rows = pl.read_parquet(folder / ROWS)
    warehouse.replace(CONTACTS, rows.clear())  # the empty table
    write = warehouse.upsert if method == UPSERT else warehouse.replace
    return lambda: write(CONTACTS, rows)


def copying(folder: Path, url: str) -> Work:
    rows, spec = pl.read_parquet(folder / ROWS), TABLES[CONTACTS]
    native = {**PostgresSession.native_types, Type.JSON: "text"}
    columns = ", ".join(f"{quoted(name)} {native[spec.type_of(name)]}" for name in rows.columns)
    key = ", ".join(map(quoted, spec.key))
    PostgresWarehouse(url).make_schema_anew(SCHEMA)
    with adbc.connect(in_schema(url, SCHEMA), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {CONTACTS} ({columns}, PRIMARY KEY ({key}))")

    def copy() -> None:
        with adbc.connect(in_schema(url, SCHEMA)) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(CONTACTS, rows.to_arrow(), mode="append")
            connection.commit()

    return copy


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    alone(make_files, folder / "rows", sizes.rows)
    made = folder / "rows"
    alone(make_rows, made)
    duckdb = side_by_side(
        {
            INSERT: partial(bulk_insert, made),
            **{method: partial(into_duckdb, made, method) for method in (UPSERT, REPLACE)},
        },
        sizes.runs,
    )
    with running_postgres() as server:
        postgres = side_by_side(
            {
                COPY: partial(copying, made, server.url),
                **{method: partial(into_postgres, made, server.url, method) for method in (UPSERT, REPLACE)},
            },
            sizes.runs,
        )
    figures: list[Figure] = []
    goals = []
    for name, found, bare in (("DuckDB", duckdb, INSERT), ("Postgres", postgres, COPY)):
        figures += [one._replace(what=f"{name}: {what}") for what, one in found.items()]
        work = f"{sizes.rows:,} contacts into {name}"
        goals += [
            at_most(TIMES, f"{work}, {UPSERT}", found[UPSERT], found[bare], bare),
            told_only(f"{work}, {REPLACE}", found[REPLACE], found[bare], bare),
        ]
    return Section("Writing into the warehouse", how(__doc__), figures, goals)
