"""The inbox: what lies in it, which files are ready to be imported, and putting away those that are done with.

`plan` decides from what lies in the folder and what the ledger `csv_import_log` says; it reads and writes nothing. A
file is known by its content (sha256), never by its name. Files are moved, never deleted and never written over. The
import of a file, and its ledger, are in `imports`; the sensor and the CLI only carry out what is planned here.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mentor_pipeline.errors import MentorPipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import polars as pl

MAX_FAILURES: Final = 3
PAUSES: Final = (timedelta(minutes=1), timedelta(minutes=5))
"""How long to wait after the first and after the second failure; the third rejects the file."""
KILLED_BEFORE_PAUSE: Final = 10
PAUSE_AFTER_KILLS: Final = timedelta(minutes=10)
"""A killed attempt is taken up at once; a file that kills attempt after attempt gets a pause."""

_LONGEST_STEM: Final = 240
_UNFINISHED_ENDINGS: Final = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", "~")
_UNFINISHED_BEGINNINGS: Final = (".", "~$", "~")


# -- what lies in the folder, and what to do with it ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboxFile:
    """One file of the inbox as it was seen in one tick; `sha256` is null until it has settled."""

    name: str
    size: int
    mtime_ns: int
    sha256: str | None = None


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


def observe(inbox: Path, previous: Mapping[str, InboxFile]) -> tuple[InboxFile, ...]:
    """List the inbox, by name; hash the files that did not change since the previous tick.

    The folder is made where the data folder is there already.

    Raises:
        MentorPipelineError: the folder cannot be listed. That is not an empty inbox.
    """
    try:
        inbox.mkdir(exist_ok=True)
        paths = sorted(_readably_named(path) for path in inbox.iterdir() if path.is_file())
    except OSError as error:
        msg = f"The inbox {inbox} cannot be listed: {error.strerror}. No file was looked at. Make the folder readable."
        raise MentorPipelineError(msg) from error
    files = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:  # moved away between listing and looking
            continue
        seen = InboxFile(path.name, stat.st_size, stat.st_mtime_ns)
        if _is_same(previous.get(path.name), seen) and not _is_unfinished(path.name):
            seen = replace(seen, sha256=previous[path.name].sha256 or _sha256(path))
        files.append(seen)
    return tuple(files)


def _readably_named(path: Path) -> Path:
    """The file, renamed where its name is no UTF-8: nothing could be told of it, and nothing be stored."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(path.name).decode(errors="backslashreplace").replace("\\x", "%")
        return path.replace(_reserved(path.parent, name))
    return path


def _is_same(before: InboxFile | None, now: InboxFile) -> bool:
    return before is not None and (before.size, before.mtime_ns) == (now.size, now.mtime_ns)


def _sha256(path: Path) -> str | None:
    """Hash of the content; None when it cannot be read (now)."""
    try:
        with path.open("rb") as file:
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
    live_run_id: str | None = None,
) -> Plan:
    """Decide which files are to be imported now, which wait, and which are done with.

    A file is ready when size and time are the same in two ticks, its name is not a temporary one, and its content was
    neither imported nor rejected. An attempt that failed is repeated after a growing pause, three times at most; one
    that was killed (`running`, but its run is not alive) is taken up at once.

    Args:
        files: the inbox now, as `observe` gives it.
        ledger: `csv_import_log`.
        previous_tick: the inbox as the previous tick saw it, by name.
        now: the time.
        runs: what Dagster knows of earlier runs, by sha256; a run that died before it reached the ledger shows only
            there.
        live_run_id: the run that is changing the warehouse now, if any.
    """
    entries = {entry["sha256"]: entry for entry in ledger.iter_rows(named=True)}
    ready: dict[str, Ready] = {}
    waiting: list[Waiting] = []
    done_with: list[DoneWith] = []
    for file in sorted(files, key=lambda file: file.name):
        if _is_unfinished(file.name):
            waiting.append(Waiting(file.name, "it has the name of an unfinished file"))
            continue
        if not _is_same(previous_tick.get(file.name), file):
            waiting.append(Waiting(file.name, "it is new or was still changing; it is looked at again"))
            continue
        if file.sha256 is None:
            waiting.append(Waiting(file.name, "it cannot be read: make it readable"))
            continue
        entry = entries.get(file.sha256)
        if entry is not None and entry["status"] in {"completed", "rejected"}:
            done_with.append(_done_with(file, entry))
        elif file.sha256 in ready:
            waiting.append(Waiting(file.name, f"it has the same content as {ready[file.sha256].file.name}"))
        elif reason := _reason_to_wait(entry, (runs or {}).get(file.sha256), now, live_run_id):
            waiting.append(Waiting(file.name, reason))
        else:
            used = (runs or {}).get(file.sha256, EarlierRuns(0)).count
            ready[file.sha256] = Ready(file, max(used, entry["attempts"] if entry else 0) + 1)
    return Plan(tuple(ready.values()), tuple(waiting), tuple(done_with))


def _done_with(file: InboxFile, entry: Mapping[str, Any]) -> DoneWith:
    if entry["status"] == "rejected":
        return DoneWith(file.name, "rejected", str(entry["message"]))
    return DoneWith(file.name, "done", already_imported(entry))


def already_imported(entry: Mapping[str, Any]) -> str:
    """What to tell about a content that is in the ledger as imported."""
    return (
        f"This content was already imported on {entry['finished_at']:%Y-%m-%d %H:%M} UTC as {entry['filename']}. "
        "Nothing was changed."
    )


def _reason_to_wait(
    entry: Mapping[str, Any] | None, runs: EarlierRuns | None, now: datetime, live_run_id: str | None
) -> str | None:
    """Why a file that is neither imported nor rejected is not to be tried now; None when it is."""
    if runs is not None and runs.in_progress:
        return "a run for it is under way"
    if entry is not None and entry["status"] == "running":
        return _while_running(entry, now, live_run_id)
    failures = max(entry["failures"] or 0 if entry else 0, runs.failures if runs else 0)
    if failures == 0:
        return None
    if failures >= MAX_FAILURES:
        return f"{failures} runs for it failed; see them in Dagster, then use `mentor-pipeline import-contacts`"
    ends = [entry["finished_at"] if entry else None, runs.last_end if runs else None]
    again = max((end for end in ends if end is not None), default=now) + PAUSES[failures - 1]
    return f"attempt {failures} failed; the next one is after {again:%H:%M:%S} UTC" if now < again else None


def _while_running(entry: Mapping[str, Any], now: datetime, live_run_id: str | None) -> str | None:
    """An attempt whose run is not alive was killed; it is taken up at once, unless that has gone on for long."""
    if live_run_id is not None and entry["run_id"] == live_run_id:
        return "it is being imported"
    if entry["attempts"] >= KILLED_BEFORE_PAUSE and now < entry["started_at"] + PAUSE_AFTER_KILLS:
        return f"{entry['attempts']} attempts were cut off; the next one is after a pause"
    return None


def import_run_config(path: Path, *, allow_shrink: bool = False) -> dict[str, Any]:
    """Run config of the job `import_contacts` for one file."""
    config = {"source": "csv", "file": str(path), "allow_shrink": allow_shrink}
    return {"ops": {"raw_gb_full_contacts": {"config": config}}}


# -- putting files away -------------------------------------------------------------------------------------------


def tidy(inbox: Path, planned: Plan) -> None:
    """Put away the files that were imported or rejected before."""
    for file in planned.done_with:
        put_away(inbox / file.name, inbox, file.folder, file.note)


def put_away(path: Path, inbox: Path, folder: Literal["done", "rejected"], note: str = "") -> Path | None:
    """Move a file of the inbox to `done/` or `rejected/`, with the note as a text beside it; None when it is gone.

    Names are never written over: the second file of a name gets a number.

    Raises:
        MentorPipelineError: it cannot be moved.
    """
    target_dir = inbox / folder
    try:
        target_dir.mkdir(exist_ok=True)
        target = _reserved(target_dir, path.name)
        try:
            path.replace(target)
        except FileNotFoundError:  # another tick put it away first
            target.unlink()
            return None
        if note:
            _reserved(target_dir, f"{target.name}.txt").write_text(f"{note}\n", encoding="utf-8")
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
