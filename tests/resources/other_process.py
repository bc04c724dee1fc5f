"""What tests need a second, real process for: `python -m tests.resources.other_process WHAT DUCKDB_FILE`.

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
from mentor_pipeline.resources.writer_lock import writer_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

STARTED = datetime(2025, 11, 9, 6, 0, tzinfo=UTC)


@contextmanager
def other_process(what: str, path: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process and wait until it is ready; it is ended at the latest when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, what, str(path)],
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


def locked(data_dir: Path, **options: Any) -> AbstractContextManager[None]:
    """The writer lock, as a run of job sync takes it; without waiting where nothing else is said."""
    defaults: dict[str, Any] = {"run_id": "run-1", "job": "sync", "by": "Ada", "wait_s": 0, "on_wait": lambda *_: None}
    return writer_lock(data_dir, **{**defaults, **options})


def _pause() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _hold(warehouse: DuckDBWarehouse) -> None:
    with warehouse.write() as transaction:
        transaction.append("mentor_aliases", links("held"))
        _pause()


def _read(warehouse: DuckDBWarehouse) -> None:
    warehouse.read("mentor_aliases")
    _pause()


def _write_half(warehouse: DuckDBWarehouse) -> None:
    with warehouse.write() as transaction:
        transaction.replace("mentor_aliases", links(*map(str, range(5000)), note="new"), year=2025)
        transaction.append("placeholder_ids", pl.DataFrame({"year": [2025], "submission_id": ["1"]}))
        _pause()


def _run(warehouse: DuckDBWarehouse) -> None:
    with locked(warehouse.path.parent, run_id="0f3a9c21-run", by="hourly_sync"):
        _hold(warehouse)


def _lock(warehouse: DuckDBWarehouse) -> None:
    with locked(warehouse.path.parent, run_id="0f3a9c21-run", by="hourly_sync"):
        _pause()


def _write_on_full_disk(warehouse: DuckDBWarehouse) -> None:
    _pause()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    many = [f"{i:032}" for i in range(300_000)]
    _say_error(lambda: warehouse.replace("mentor_aliases", links(*many), year=2025))


def _write_as_nobody(warehouse: DuckDBWarehouse) -> None:
    _pause()
    if os.geteuid() == 0:
        os.setuid(65534)
    _say_error(lambda: warehouse.append("mentor_aliases", links("1")))


def _write_time(warehouse: DuckDBWarehouse) -> None:
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
    globals()[f"_{sys.argv[1]}"](DuckDBWarehouse(Path(sys.argv[2]), busy_timeout_s=1))
