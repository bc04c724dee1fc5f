"""The writer lock of a DuckDB warehouse: one run at a time changes it, and everybody can see which.

A file lock beside the warehouse, held by the operating system for the life of the holder, so that a killed run leaves
nothing behind; and a small JSON file that says who holds it. What a run does with the lock belongs to `run_guard`;
Postgres has locks of its own. Short transactions outside of runs (a decision, an edit) do not take it: the database
keeps those apart by itself.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from mentor_pipeline.errors import WarehouseBusyError, WarehouseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_NAME: Final = "warehouse.lock"
HOLDER_NAME: Final = "warehouse.lock.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the writer lock."""

    pid: int
    run_id: str
    job: str
    since: datetime
    by: str
    host: str = field(default_factory=socket.gethostname)

    def __str__(self) -> str:
        """In words, e.g. `run 0f3a9c21 of job sync (process 4711, hourly_sync, since 2025-11-09 06:00:00 UTC)`."""
        there = "" if self.host == socket.gethostname() else f" on {self.host}"
        process = f"process {self.pid}{there}"
        return f"run {self.run_id[:8]} of job {self.job} ({process}, {self.by}, since {self.since:%F %T} UTC)"


@contextmanager
def writer_lock(
    data_dir: Path,
    *,
    run_id: str,
    job: str,
    by: str,
    wait_s: float,
    on_wait: Callable[[Holder | None, float], None],
    report_every_s: float = 10.0,
) -> Iterator[None]:
    """Hold the writer lock, waiting in line for it.

    Args:
        data_dir: folder of the warehouse; created when missing.
        run_id: the run that wants it; this and the next two are what others are told while it is held.
        job: its job.
        by: the schedule, sensor or person who started it.
        wait_s: how long to wait at most.
        on_wait: called about every `report_every_s` with the holder (None: not known) and the seconds waited.
        report_every_s: see there.

    Raises:
        WarehouseBusyError: somebody else held it all the time.
        WarehouseError: the lock file cannot be made.
    """
    lock = _lock(data_dir)
    started = time.monotonic()
    while not lock.is_locked:
        waited = time.monotonic() - started
        try:
            lock.acquire(timeout=max(0.0, min(report_every_s, wait_s - waited)))
        except Timeout as error:
            current, waited = _told(data_dir), time.monotonic() - started
            if waited >= wait_s:
                raise waited_too_long(current, waited) from error
            on_wait(current, waited)
        except OSError as error:
            msg = f"The lock file {lock.lock_file} cannot be made: {error.strerror}. Nothing was read or changed."
            raise WarehouseError(msg) from error
    try:
        _tell(data_dir, Holder(os.getpid(), run_id, job, datetime.now(UTC), by))
        yield
    finally:
        (data_dir / HOLDER_NAME).unlink(missing_ok=True)
        lock.release()


def waited_too_long(current: Holder | None, waited: float) -> WarehouseBusyError:
    """Say to a run for whom it waited in vain."""
    return WarehouseBusyError(
        f"Another run is changing the warehouse: {current or 'it has not said which yet'}. Waited {waited:.0f} s. "
        "Nothing was read or changed. Wait until it has finished, or end it, and start this again."
    )


def holder(data_dir: Path) -> Holder | None:
    """Who holds the writer lock now; None when nobody does."""
    if not (data_dir / LOCK_NAME).exists():
        return None
    lock = _lock(data_dir)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return _told(data_dir)
    # Free: what the JSON file says, if there is one, is about a run that was killed.
    (data_dir / HOLDER_NAME).unlink(missing_ok=True)
    lock.release()
    return None


def _lock(data_dir: Path) -> FileLock:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"The data folder {data_dir} cannot be made: {error.strerror}. Nothing was read or changed."
        raise WarehouseError(msg) from error
    # Not by thread: Dagster may set a resource up in one thread and tear it down in another.
    return FileLock(data_dir / LOCK_NAME, mode=0o600, thread_local=False)


def _tell(data_dir: Path, me: Holder) -> None:
    path = data_dir / HOLDER_NAME
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps({**asdict(me), "since": me.since.isoformat()}), encoding="utf-8")
    new.replace(path)


def _told(data_dir: Path) -> Holder | None:
    try:
        said = json.loads((data_dir / HOLDER_NAME).read_text(encoding="utf-8"))
        return Holder(**{**said, "since": datetime.fromisoformat(said["since"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # not there yet, or damaged: the lock itself counts
        return None
