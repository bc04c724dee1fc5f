"""The inbox: what lies in it, which files are ready to be imported, and putting away those that are done with.

`plan` decides from what lies in the folder and what the ledger `csv_import_log` says; it reads and writes nothing. A
file is known by its content (sha256), never by its name. Files are moved, never deleted and never written over. The
import of a file, and its ledger, are in `imports`; the sensor and the CLI only carry out what is planned here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from mentor_pipeline.errors import MentorPipelineError, steering_nothing
from mentor_pipeline.operator.folders import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime
    from io import BufferedReader

MAX_FAILURES: Final = 3
PAUSES: Final = (timedelta(minutes=1), timedelta(minutes=5))
"""How long to wait after the first and after the second failure; the third rejects the file."""
KILLED_BEFORE_PAUSE: Final = 10
PAUSE_AFTER_KILLS: Final = timedelta(minutes=10)
MAX_KILLED: Final = 15
"""A killed attempt is taken up at once; a file that kills ten gets growing pauses, and after 15 it is rejected."""

_BY_HAND: Final = (
    "When that is mended, import the file with `mentor-pipeline import-contacts` (or `import-failures`). Nothing of it "
    "was imported."
)

NO_FILE: Final = "it is a link or a pipe, not a file: it was left where it is, unread. Put the file itself there"

_ENDED: Final = ("completed", "rejected")
_USED: Final = (
    *("sha256", "filename", "status", "attempts", "failures", "message", "started_at", "finished_at", "run_id"),
)
"""Columns of `csv_import_log` by which is planned."""
_LONGEST_STEM: Final = 240
_UNFINISHED_ENDINGS: Final = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", "~")
_UNFINISHED_BEGINNINGS: Final = (".", "~$", "~")


# -- what lies in the folder, and what to do with it ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboxFile:
    """One file of the inbox as it was seen in one tick.

    Attributes:
        name: its name.
        size: in bytes.
        mtime_ns: when it was last written.
        sha256: its content; None until it has settled and was read.
        is_readable: False when reading it failed.
        is_plain: False for a link, a pipe and the like: they stay where they are, and nothing is read by them.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str | None = None
    is_readable: bool = True
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What Dagster knows of runs that were started for one content.

    Attributes:
        count: all of them, whatever came of them; the run keys that are used up.
        failures: those that ended without success.
        last_end: when the last one ended.
        in_progress: True while one is queued or at work.
    """

    count: int
    failures: int = 0
    last_end: datetime | None = None
    in_progress: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A file to import now."""

    file: InboxFile
    attempt: int

    @property
    def run_key(self) -> str:
        """`sha256:attempt`: Dagster never runs a key twice, so each attempt has its own."""
        return f"{self.file.sha256}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file to leave alone for now, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DoneWith:
    """A file whose content was imported or rejected before; it only has to be put away."""

    name: str
    folder: Literal["done", "rejected"]
    note: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with every file of the inbox."""

    ready: tuple[Ready, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    done_with: tuple[DoneWith, ...] = ()


def observe(inbox: Path, previous: Mapping[str, InboxFile], *, seconds: float | None = None) -> tuple[InboxFile, ...]:
    """List the inbox, by name; read the files that did not change since the previous tick, each once.

    The folder is made where the data folder is there already.

    Args:
        inbox: the folder.
        previous: what the previous tick saw, by name.
        seconds: after so long no further file is read; its turn comes in a later tick. None: all are read.

    Raises:
        MentorPipelineError: the folder cannot be listed. That is not an empty inbox.
    """
    listed, files = _listed(inbox), []
    until = None if seconds is None else time.monotonic() + seconds
    for seen in listed:
        before = previous.get(seen.name)
        if before is not None and seen.is_plain and _is_same(before, seen) and not _is_unfinished(seen.name):
            sha256 = before.sha256
            has_time = until is None or time.monotonic() < until
            if sha256 is None and has_time:
                sha256 = _sha256(inbox / seen.name)
            files.append(replace(seen, sha256=sha256, is_readable=sha256 is not None or not has_time))
        else:
            files.append(seen)
    return tuple(files)


def _listed(inbox: Path) -> list[InboxFile]:
    """What is in the folder, but for folders, with size and time, by name; links are not followed."""
    files = []
    try:
        inbox.mkdir(mode=PRIVATE, exist_ok=True)
        with os.scandir(inbox) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                    name = _readable_name(inbox, entry.name)
                except FileNotFoundError:  # moved away between listing and looking
                    continue
                is_plain = stat.S_ISREG(found.st_mode)
                files.append(InboxFile(name, found.st_size, found.st_mtime_ns, is_plain=is_plain))
    except OSError as error:
        msg = f"The inbox {inbox} cannot be listed: {error.strerror}. No file was looked at. Make the folder readable."
        raise MentorPipelineError(msg) from error
    return sorted(files, key=lambda file: file.name)


def _readable_name(inbox: Path, name: str) -> str:
    """The name; where it is no UTF-8 the file gets another: nothing could be told of it, and nothing be stored."""
    try:
        name.encode()
    except UnicodeEncodeError:
        wanted = os.fsencode(name).decode(errors="backslashreplace").replace("\\x", "%")
        return (inbox / name).replace(_reserved(inbox, wanted)).name
    return name


def _is_same(before: InboxFile | None, now: InboxFile) -> bool:
    return before is not None and (before.size, before.mtime_ns) == (now.size, now.mtime_ns)


def not_followed(files: Iterable[InboxFile], previous_tick: Mapping[str, InboxFile]) -> list[str]:
    """What to tell of links and the like that are new since the previous tick: each is told once."""
    new = (file for file in files if not file.is_plain and not _is_same(previous_tick.get(file.name), file))
    return [steering_nothing(f"{file.name} in the inbox: {NO_FILE}.") for file in new]


def opened(path: Path, *, follow_links: bool) -> BufferedReader:
    """A plain file, open to read; a pipe is not waited for.

    Raises:
        OSError: it cannot be read; with the number of `ELOOP` it is a link that is not to be followed, with that of
            `ENOTSUP` no plain file.
    """
    # A pipe is opened only when somebody writes into it, unless it is asked for without waiting.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENOTSUP, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def _sha256(path: Path) -> str | None:
    """Hash of the content; None when it cannot be read (now)."""
    try:
        with opened(path, follow_links=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _is_unfinished(name: str) -> bool:
    """True for names that browsers, editors and copy programs give to files that are not finished."""
    lower = name.lower()
    return lower.startswith(_UNFINISHED_BEGINNINGS) or lower.endswith(_UNFINISHED_ENDINGS)


def plan(
    files: Iterable[InboxFile],
    ledger: pl.DataFrame,
    previous_tick: Mapping[str, InboxFile],
    now: datetime,
    *,
    runs: Mapping[str, EarlierRuns] | None = None,
    live_runs: Collection[str] = (),
) -> Plan:
    """Decide which files are to be imported now, which wait, and which are done with.

    A file is ready when size and time are the same in two ticks, its name is not a temporary one, and its content was
    neither imported nor rejected. An attempt that failed is repeated after a growing pause; the third rejects the file.
    One that was killed (`running`, but its run is not alive) is taken up at once, a bounded number of times.

    Args:
        files: the inbox now, as `observe` gives it.
        ledger: `csv_import_log`.
        previous_tick: the inbox as the previous tick saw it, by name.
        now: the time.
        runs: what Dagster knows of earlier runs, by sha256; a run that died before it reached the ledger shows only
            there. A content that is not in it waits for its turn. None: nothing is known of runs, and nothing waits.
        live_runs: ids of the runs that are changing the warehouse now; on Postgres there may be one for each year.
    """
    files = sorted(files, key=lambda file: file.name)
    entries = _entries(files, ledger)
    ready: dict[str, Ready] = {}
    waiting: list[Waiting] = []
    done_with: list[DoneWith] = []
    for file in files:
        if _is_unfinished(file.name):
            waiting.append(Waiting(file.name, "it has the name of an unfinished file"))
            continue
        if not file.is_plain:
            waiting.append(Waiting(file.name, NO_FILE))
            continue
        if not _is_same(previous_tick.get(file.name), file):
            waiting.append(Waiting(file.name, "it is new or was still changing; it is looked at again"))
            continue
        if file.sha256 is None:
            why = "its turn comes after others" if file.is_readable else "it cannot be read: make it readable"
            waiting.append(Waiting(file.name, why))
            continue
        entry = entries.get(file.sha256)
        earlier = EarlierRuns(0) if runs is None else runs.get(file.sha256)
        if entry is not None and entry["status"] in _ENDED:
            done_with.append(_done_with(file, entry))
        elif file.sha256 in ready:
            waiting.append(Waiting(file.name, f"it has the same content as {ready[file.sha256].file.name}"))
        elif earlier is None:
            waiting.append(Waiting(file.name, "its turn comes after others"))
        elif reason := _reason_to_wait(entry, earlier, now, live_runs):
            waiting.append(Waiting(file.name, reason))
        elif reason := _reason_to_give_up(entry, earlier):
            done_with.append(DoneWith(file.name, "rejected", f"{file.name}: {reason}"))
        else:
            ready[file.sha256] = Ready(file, max(earlier.count, entry["attempts"] if entry else 0) + 1)
    return Plan(tuple(ready.values()), tuple(waiting), tuple(done_with))


def contents_to_import(
    files: Iterable[InboxFile], ledger: pl.DataFrame, previous_tick: Mapping[str, InboxFile], *, at_most: int
) -> list[str]:
    """The contents that are neither imported nor rejected, by the files' names: those whose runs `plan` must know."""
    settled = [file for file in files if file.sha256 is not None and _is_same(previous_tick.get(file.name), file)]
    entries = _entries(settled, ledger)
    wanted = dict.fromkeys(
        file.sha256
        for file in sorted(settled, key=lambda file: file.name)
        if file.sha256 is not None and entries.get(file.sha256, {}).get("status") not in _ENDED
    )
    return list(wanted)[:at_most]


def _entries(files: Iterable[InboxFile], ledger: pl.DataFrame) -> dict[str, Mapping[str, Any]]:
    """The ledger's rows of these files, by content."""
    contents = {file.sha256 for file in files if file.sha256 is not None}
    rows = ledger.select(_USED).filter(pl.col("sha256").is_in(list(contents))) if contents else ledger.clear()
    return {entry["sha256"]: entry for entry in rows.iter_rows(named=True)}


def _done_with(file: InboxFile, entry: Mapping[str, Any]) -> DoneWith:
    if entry["status"] == "rejected":
        why = str(entry["message"])
        if entry["filename"] != file.name:
            why = f"It has the same content as {entry['filename']}, which was rejected before. {why}"
        return DoneWith(file.name, "rejected", why)
    return DoneWith(file.name, "done", already_imported(entry))


def already_imported(entry: Mapping[str, Any]) -> str:
    """What to tell about a content that is in the ledger as imported."""
    return steering_nothing(
        f"This content was already imported on {entry['finished_at']:%Y-%m-%d %H:%M} UTC as {entry['filename']}. "
        "Nothing was changed."
    )


def _reason_to_wait(
    entry: Mapping[str, Any] | None, runs: EarlierRuns, now: datetime, live_runs: Collection[str]
) -> str | None:
    """Why a file that is neither imported nor rejected is not to be tried now; None when it is."""
    if runs.in_progress:
        return "a run for it is under way"
    if entry is not None and entry["status"] == "running":
        return _while_running(entry, now, live_runs)
    failures = _failures(entry, runs)
    if not 0 < failures < MAX_FAILURES:
        return None
    ends = [entry["finished_at"] if entry else None, runs.last_end]
    again = max((end for end in ends if end is not None), default=now) + PAUSES[failures - 1]
    return f"attempt {failures} failed; the next one is after {again:%H:%M:%S} UTC" if now < again else None


def _while_running(entry: Mapping[str, Any], now: datetime, live_runs: Collection[str]) -> str | None:
    """An attempt whose run is not alive was killed; it is taken up at once, unless that has gone on for long."""
    if entry["run_id"] in live_runs:
        return "it is being imported"
    pauses = min(entry["attempts"], MAX_KILLED) - KILLED_BEFORE_PAUSE + 1
    again = entry["started_at"] + max(pauses, 0) * PAUSE_AFTER_KILLS
    if now < again:
        return f"{entry['attempts']} attempts were cut off; the next one is after {again:%H:%M:%S} UTC"
    return None


def _reason_to_give_up(entry: Mapping[str, Any] | None, runs: EarlierRuns) -> str | None:
    """Why a file is rejected though no attempt came to the point of saying so itself; None when it is tried again."""
    if entry is not None and entry["status"] == "running" and entry["attempts"] >= MAX_KILLED:
        return f"{entry['attempts']} attempts to import it were cut off, perhaps for want of memory. {_BY_HAND}"
    failures = _failures(entry, runs)
    if failures >= MAX_FAILURES:
        return f"{failures} runs for it failed before they could say why; Dagster shows their errors. {_BY_HAND}"
    return None


def _failures(entry: Mapping[str, Any] | None, runs: EarlierRuns) -> int:
    return max(entry["failures"] or 0 if entry else 0, runs.failures)


def import_run_config(path: Path, *, allow_shrink: bool = False) -> dict[str, Any]:
    """Run config of the job `import_contacts` for one file."""
    config = {"source": "csv", "file": str(path), "allow_shrink": allow_shrink}
    return {"ops": {"raw_gb_full_contacts": {"config": config}}}


# -- putting files away -------------------------------------------------------------------------------------------


def tidy(inbox: Path, planned: Plan, *, seconds: float | None = None) -> list[str]:
    """Put away the files that were imported or rejected before; those that cannot be moved hold up no other.

    Args:
        inbox: the folder.
        planned: what to do.
        seconds: after so long the others are left to a later tick. None: all are put away.

    Returns:
        What went wrong, in words.
    """
    until = None if seconds is None else time.monotonic() + seconds
    faults = []
    for file in planned.done_with:
        if until is not None and time.monotonic() > until:
            break
        try:
            put_away(inbox / file.name, inbox, file.folder, file.note)
        except MentorPipelineError as error:
            faults.append(str(error))
    return faults


def put_away(path: Path, inbox: Path, folder: Literal["done", "rejected"], note: str = "") -> Path | None:
    """Move a file of the inbox to `done/` or `rejected/`, with the note as a text beside it; None when it is gone.

    Names are never written over: the second file of a name gets a number. The note is there before the file is, so
    that no kill leaves a file without it.

    Raises:
        MentorPipelineError: it cannot be moved.
    """
    target_dir = inbox / folder
    if target_dir.is_symlink():
        msg = (
            f"{path} is done with but was not moved: {target_dir} is a link, and nothing is put outside of the inbox. "
            "What was imported stays imported, and it is not imported twice. Remove the link."
        )
        raise MentorPipelineError(msg)
    try:
        target_dir.mkdir(mode=PRIVATE, exist_ok=True)
        if not path.exists():  # another tick put it away first
            return None
        target = _reserved(target_dir, path.name)
        beside = _reserved(target_dir, f"{target.name}.txt") if note else None
        if beside is not None:
            beside.write_text(f"{steering_nothing(note)}\n", encoding="utf-8")
        try:
            path.replace(target)
        except FileNotFoundError:
            target.unlink()
            if beside is not None:
                beside.unlink()
            return None
    except OSError as error:
        msg = (
            f"{path} is done with but cannot be moved to {target_dir}: {error.strerror}. What was imported stays "
            "imported, and it is not imported twice. Make the folder writable, or move the file yourself."
        )
        raise MentorPipelineError(msg) from error
    return target


def _reserved(folder: Path, name: str) -> Path:
    """An empty file of that name, or of the name with a number, that did not exist before."""
    wanted = Path(name)
    # A name holds 255 bytes; some are kept for the number and for the note's own ending.
    stem = wanted.stem.encode()[: _LONGEST_STEM - len(wanted.suffix.encode())].decode(errors="ignore")
    number = 1
    while True:
        target = folder / f"{stem}{'' if number == 1 else f' ({number})'}{wanted.suffix}"
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return target
