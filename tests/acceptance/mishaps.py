"""What may befall a run besides a failing service, declared once: what happens, what a person reads, what is kept.

The stories hold what they see against the words here; the last section of docs/faults.md is written from them by
`python -m tests.acceptance.mishaps`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that happens.

    Attributes:
        title: what happens, in words.
        says: what is said of it, with … where it varies.
        kept: what came of the tables and files.
        held_by: the tests.
        where: where it is said, if not in the command's output.
    """

    title: str
    says: str
    kept: str
    held_by: str
    where: str = ""

    def is_said_in(self, text: str) -> bool:
        """Whether a text, however a terminal broke its lines, has the declared words."""
        words = ".+?".join(map(re.escape, self.says.split("…")))
        return bool(re.search(words, " ".join(text.split())))


KILLED: Final = Mishap(
    "A run is killed, or the machine stops, at any moment, within a COMMIT too",
    "ended without finishing",
    "each table whole, as before its step or as after it; the next run gives what one gives that nothing disturbed",
    "test_kills_in_commits.py",
    where="in `sync_log`, as soon as the next run begins",
)
SECOND_RUN: Final = Mishap(
    "A run is started (by a person, a schedule, a sensor, the UI) while another is at work",
    "Waiting for the warehouse since … s: run … of job … (process …, since … UTC)",
    "both are done, one after the other",
    "test_crowds.py",
    where="in the run's log",
)
READER_DURING_A_SYNC: Final = Mishap(
    "Somebody looks (`status`, `why`) while a run writes",
    "The warehouse … is in use by run … of job … (process …, since … UTC). Waited … s. Nothing was read or changed. "
    "Wait until it has finished, or close that program, and try again.",
    "the run goes on; on Postgres nobody waits, and on DuckDB most are answered, all within 5 seconds",
    "test_crowds.py",
)
POSTGRES_RESTARTED: Final = Mishap(
    "Postgres is restarted while a run talks to it",
    "The warehouse (Postgres database …) broke off the connection: it was restarted, or the network failed. … "
    "Postgres says: …",
    "each step's changes whole or not at all; the next run makes it good",
    "test_postgres_restarts.py",
)
POSTGRES_AWAY: Final = Mishap(
    "Postgres is not there when a run asks for it",
    "The warehouse (Postgres database …) does not answer. Start the server, or correct host and port in "
    "MENTOR_PIPELINE_DATABASE_URL. Nothing was read or changed. Postgres says: …",
    "everything as it was",
    "test_postgres_restarts.py",
)
FULL_DISK: Final = Mishap(
    "The disk is full while an import file is written",
    "No file could be written to …: …. Earlier files there are as they were, and nothing was noted as sent. Free space "
    "or make the folder writable, then export again.",
    "the earlier file; no half one",
    "test_full_disk.py",
)
FULL_WAREHOUSE: Final = Mishap(
    "The disk is full while a DuckDB warehouse is written",
    "does not fit: … What was stored before is intact. Make room and try again.",
    "the tables as they were",
    "test_mishaps.py",
)
BAD_FILE: Final = Mishap(
    "A file in the inbox is damaged, or another one than it should be",
    "…. Nothing of it was imported and the earlier data stays. … It is in … now.",
    "the tables as they were; the file, in `inbox/rejected` with the reason beside it; other files are imported",
    "test_mishaps.py",
)
MISHAPS: Final = (
    KILLED, SECOND_RUN, READER_DURING_A_SYNC, POSTGRES_RESTARTED, POSTGRES_AWAY, FULL_DISK, FULL_WAREHOUSE, BAD_FILE,
)  # fmt: skip

_HEAD: Final = """## Kills, crowds, a full disk

Each row is tested: the test that is named, in `tests/acceptance`, brings it about with real processes, files and
databases and holds what is said against this table, which is written by `python -m tests.acceptance.mishaps`. What
becomes of each fault of a contacts file is the table at the top of `mentor_pipeline/domain/contacts_csv.py`; what to do
with a file that was rejected says [troubleshooting.md](troubleshooting.md).

| what happens | what you see | kept | test |
|---|---|---|---|
"""


def section() -> str:
    """The last section of docs/faults.md."""
    rows = [
        f"| {one.title} | {f'{one.where}: ' if one.where else ''}{one.says} | {one.kept} | `{one.held_by}` |"
        for one in MISHAPS
    ]
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(section(), end="")
