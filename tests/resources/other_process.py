"""What tests need a second, real process for: `python -m tests.resources.other_process WHAT DUCKDB_FILE_OR_URL`.

Each prints "ready" when it has come to the point, and goes on when it is given a line.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mentor_pipeline.errors import WarehouseError
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from mentor_pipeline.resources.warehouse import Warehouse

STARTED = datetime(2025, 11, 9, 6, 0, tzinfo=UTC)


@contextmanager
def other_process(what: str, where: Warehouse | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process and wait until it is ready; it is ended at the latest when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, what, address(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said == "ready\n", said
        yield process
    finally:
        process.kill()
        process.communicate()


def links(*mn_ids: str, note: str = "") -> pl.DataFrame:
    """Rows of mentor_aliases."""
    return pl.DataFrame({"year": 2025, "old_mn_id": mn_ids, "mn_id": note}, schema_overrides={"old_mn_id": pl.String})


def address(where: Warehouse | Path) -> str:
    """The file of a DuckDB warehouse, or the URL of one on Postgres."""
    match where:
        case DuckDBWarehouse():
            return str(where.path)
        case PostgresWarehouse():
            return where._url
        case _:
            return str(where)


def locked(warehouse: Warehouse, **options: Any) -> AbstractContextManager[None]:
    """The writer lock, as a run of job sync takes it; without waiting where nothing else is said."""
    run: dict[str, Any] = {"year": 0, "run_id": "run-1", "job": "sync", "by": "Ada"}
    waiting: dict[str, Any] = {"wait_s": 0, "on_wait": lambda *_: None}
    return warehouse.writer_lock(**{**run, **waiting, **options})


def _pause() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _hold(warehouse: Warehouse) -> None:
    with warehouse.write() as transaction:
        transaction.append("mentor_aliases", links("held"))
        _pause()


def _read(warehouse: Warehouse) -> None:
    warehouse.read("mentor_aliases")
    _pause()


def _write_half(warehouse: Warehouse) -> None:
    with warehouse.write() as transaction:
        transaction.replace("mentor_aliases", links(*map(str, range(5000)), note="new"), year=2025)
        transaction.append("placeholder_ids", pl.DataFrame({"year": [2025], "submission_id": ["1"]}))
        _pause()


def _run(warehouse: Warehouse) -> None:
    with locked(warehouse, run_id="0f3a9c21-run", by="hourly_sync"):
        _hold(warehouse)


def _lock(warehouse: Warehouse) -> None:
    with locked(warehouse, run_id="0f3a9c21-run", by="hourly_sync"):
        _pause()


def _write_on_full_disk(warehouse: Warehouse) -> None:
    _pause()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    many = [f"{i:032}" for i in range(300_000)]
    _say_error(lambda: warehouse.replace("mentor_aliases", links(*many), year=2025))


def _write_as_nobody(warehouse: Warehouse) -> None:
    _pause()
    if os.geteuid() == 0:
        os.setuid(65534)
    _say_error(lambda: warehouse.append("mentor_aliases", links("1")))


def _write_time(warehouse: Warehouse) -> None:
    rows = links("1").with_columns(at=pl.lit(STARTED))
    warehouse.append("mentor_aliases", rows)
    _pause()
    print(warehouse.read("mentor_aliases")["at"].item().isoformat(), flush=True)


def _say_error(write: object) -> None:
    assert callable(write)
    try:
        write()
    except WarehouseError as error:
        print(error, flush=True)


if __name__ == "__main__":
    given = sys.argv[2]
    there = PostgresWarehouse(given) if given.startswith("postgres") else DuckDBWarehouse(Path(given), busy_timeout_s=1)
    globals()[f"_{sys.argv[1]}"](there)
