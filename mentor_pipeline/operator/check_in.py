"""The door of the training: whose id was typed or scanned, who is checked in already, and what is to be recorded.

Nothing takes effect here. What was admitted becomes edits of `training_done` and `training_at`, which the job
`apply_decisions` records all at once; until then a scanned id is kept in a file, so that nothing that ends the command
loses it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from mentor_pipeline.domain.decisions import edits, resolve_aliases
from mentor_pipeline.domain.edits import NOTHING, read_value
from mentor_pipeline.errors import DecisionRefusedError, FileRejectedError, MentorPipelineError, WrongUseError
from mentor_pipeline.operator.reports import NothingSyncedError, present_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear

MARK: Final = "training_done"
MOMENT: Final = "training_at"

State = Literal["accepted", "unchanged", "twice", "unknown"]


@dataclass(frozen=True, slots=True)
class Scan:
    """One id that was typed or scanned.

    Attributes:
        typed: as it came.
        at: when.
        state: accepted; unchanged (it is so already); twice (it came before); or unknown.
        mn_id: the mentor; None when unknown.
        full_name: their name.
        words: what becomes of it, and why.
    """

    typed: str
    at: datetime
    state: State
    mn_id: str | None
    full_name: str
    words: str


class Door:
    """Judges each id by what is known now, and remembers whom it admitted."""

    def __init__(self, warehouse: Warehouse, program: ProgramYear, *, undo: bool = False) -> None:
        """Read who is a mentor and who is checked in.

        Raises:
            NothingSyncedError: no mentor is known yet.
        """
        self._program = program
        self._undo = undo
        with warehouse.reading() as reader:
            self._mentors = reader.read_or_empty(
                "mentors", columns=["mn_id", "first_name", "full_name"], year=program.year
            )
            self._aliases = reader.read_or_empty("mentor_aliases", year=program.year)
            actions = reader.read_or_empty("operator_actions", year=program.year)
        if self._mentors.is_empty():
            msg = f"Nothing has been synced yet for {program.year}. Run `mentor-pipeline sync`."
            raise NothingSyncedError(msg)
        # Only people check in, so their edits tell; the mentors table may be a run behind them.
        marks = edits(resolve_aliases(actions, self._aliases)).filter(field_name=MARK, value="true")
        self._inside = set(marks["mn_id"])
        self._names = dict(self._mentors.select("mn_id", "full_name").iter_rows())
        self._accepted: dict[str, Scan] = {}

    def admit(self, typed: str, at: datetime) -> Scan:
        """Judge one id; what is accepted is among `edits` from then on."""
        try:
            mn_id = present_id(typed, self._mentors, self._aliases, self._program)
        except MentorPipelineError as error:
            return Scan(typed, at, "unknown", None, "", str(error))
        state: State = "accepted"
        words = "check-in taken back" if self._undo else "checked in"
        if mn_id in self._accepted:
            state, words = "twice", "came before in this list"
        elif (mn_id in self._inside) != self._undo:
            state, words = "unchanged", "not checked in" if self._undo else "checked in before"
        scan = Scan(typed, at, state, mn_id, self._names[mn_id], words)
        if state == "accepted":
            self._accepted[mn_id] = scan
        return scan

    def edits(self, note: str | None = None) -> list[dict[str, str]]:
        """What the job is to record (its run config `edits`): the mark, and its time, so that each keeps its own."""
        found = []
        for mn_id, scan in self._accepted.items():
            mark = {"mn_id": mn_id, "field": MARK, "value": "no" if self._undo else "yes"}
            found.append({**mark, "note": note} if note else mark)
            moment = NOTHING if self._undo else scan.at.isoformat()
            found.append({"mn_id": mn_id, "field": MOMENT, "value": moment})
        return found


class Kept:
    """The ids scanned so far, in a file that `read_list` reads, until they are recorded.

    Attributes:
        path: the file; it is there once something was kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(cls, data_dir: Path, now: datetime, *, undo: bool = False) -> Kept:
        """A file of its own for this check-in."""
        what = "check-in-undo" if undo else "check-in"
        return cls(_folder(data_dir) / f"{what}-{now:%Y%m%dT%H%M%SZ}-{os.getpid()}.csv")

    @classmethod
    def again(cls, data_dir: Path, file: Path | None) -> Kept | None:
        """The file of an earlier check-in, when it is that which is recorded now; None for a list of people's own."""
        is_ours = file is not None and file.resolve().parent == _folder(data_dir).resolve()
        return cls(file) if file is not None and is_ours else None

    def add(self, scan: Scan) -> None:
        """Write an id and its time to disk."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.touch(mode=0o600)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{scan.mn_id},{scan.at.isoformat()}\n")
            file.flush()
            os.fsync(file.fileno())

    def forget(self) -> None:
        """Delete the file: what it holds is recorded."""
        self.path.unlink(missing_ok=True)


def kept_before(data_dir: Path) -> list[Path]:
    """Files of ids that another check-in scanned and has not recorded."""
    return sorted(_folder(data_dir).glob("check-in-*.csv"))


def _folder(data_dir: Path) -> Path:
    return data_dir / "check-ins"


def read_list(path: Path, program: ProgramYear, now: datetime) -> list[tuple[str, datetime | None]]:
    """Ids of a file, one a line; a line may go on with a comma and the time.

    Raises:
        FileRejectedError: it cannot be read, or what follows a comma is no time that was.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}. Nothing was recorded."
        raise FileRejectedError(msg) from error
    found: list[tuple[str, datetime | None]] = []
    for number, line in enumerate(lines, start=1):
        typed, comma, time = line.partition(",")
        if not typed.strip():
            continue
        try:
            found.append((typed.strip(), read_time(time.strip(), program, now) if comma else None))
        except WrongUseError as error:
            msg = f"{path.name}, line {number}: {error} Write one mentor id a line, or an id, a comma and its time."
            raise FileRejectedError(msg) from error
    return found


def read_time(typed: str, program: ProgramYear, now: datetime) -> datetime:
    """A time as `edit` takes it for training_at: in the program's zone, unless it names another.

    Raises:
        WrongUseError: no time, or one that is still to come.
    """
    try:
        moment = datetime.fromisoformat(str(read_value(MOMENT, typed, program)))
    except (DecisionRefusedError, ValueError) as error:
        expected = f"Expected one such as 2025-10-28T18:30 (in {program.zone.key})"
        msg = f"{typed!r} is no time. {expected}. Nothing was recorded."
        raise WrongUseError(msg) from error
    if moment > now:
        msg = f"{typed} ({moment:%Y-%m-%d %H:%M} UTC) is still to come. Nothing was recorded."
        raise WrongUseError(msg)
    return moment


def counted(scans: Iterable[Scan]) -> dict[str, int]:
    """How many ids there are of each state."""
    states = pl.Series([scan.state for scan in scans], dtype=pl.String)
    return {state: int((states == state).sum()) for state in ("accepted", "unchanged", "twice", "unknown")}


def as_document(scan: Scan) -> dict[str, Any]:
    """A scan for JSON, without what an operator does not need."""
    return {"mn_id": scan.mn_id, "full_name": scan.full_name, "typed": scan.typed, "at": scan.at, "words": scan.words}
