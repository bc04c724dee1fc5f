"""Importing one file so that it counts exactly once, whatever happens (R12).

An attempt reads the file once, notes itself in `csv_import_log` as running, and then writes contacts, problems and its
completed ledger row in one transaction: a killed attempt leaves nothing but a row that says `running`. What a file
says is read in `domain`; which files of the inbox are tried, and when, is planned in `inbox`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from mentor_pipeline.domain.contacts_csv import FileKind, kind_of, read_contacts
from mentor_pipeline.domain.duplicates import GROUP, carried, groups_of
from mentor_pipeline.domain.failures_csv import PROBLEM_TYPE, read_failures
from mentor_pipeline.domain.findings import Problem, problem_rows
from mentor_pipeline.domain.forgotten import LEDGER as FORGOTTEN
from mentor_pipeline.domain.forgotten import PERSON
from mentor_pipeline.domain.knowledge import Reading, is_partial, listed_count
from mentor_pipeline.domain.normalise import comparable_mn_id
from mentor_pipeline.domain.shrink import tag_of_filter
from mentor_pipeline.errors import FileRejectedError, MentorPipelineError, WarehouseError, steering_nothing
from mentor_pipeline.operator.contacts import CONTACTS, CONTACTS_SOURCE, Learner
from mentor_pipeline.operator.inbox import MAX_FAILURES, NO_FILE, already_imported, opened, put_away
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from io import BufferedReader
    from pathlib import Path

    from mentor_pipeline.domain.contacts_csv import ContactsFile
    from mentor_pipeline.domain.failures_csv import FailuresFile
    from mentor_pipeline.operator.contacts import Laid
    from mentor_pipeline.resources.warehouse import Transaction, Warehouse
    from mentor_pipeline.settings import ProgramYear

CONTACTS_ASSET: Final = "import_contacts"
FAILURES_ASSET: Final = "import_failures"
"""Whose findings an import's problems are in `detected_problems`."""
PARTIAL_FILE: Final = "partial_contacts_file"

_SHOWN: Final = 5
"""Problems that the message of an import tells; all of them are in the tables."""
LARGEST_FILE: Final = 2**34
"""Bytes; an export of ten million contacts has a fifth of them."""
_AT_ONCE: Final = 200_000
"""Contacts that turn missing in one go."""
_LEDGER: Final = TABLES["csv_import_log"]
_COUNTS: Final = (
    "rows",
    "new_contacts",
    "changed_contacts",
    "missing_contacts",
    "mentors_matched",
    "new_contact_ids_captured",
    "duplicates_detected",
)


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What an import did.

    Attributes:
        status: completed, or already (this content was imported before; nothing was changed).
        kind: contacts or failures.
        sha256: the content.
        filename: the file's name.
        message: what an operator should know.
        counts: as in `csv_import_log`: rows, new_contacts, changed_contacts, missing_contacts, mentors_matched,
            new_contact_ids_captured, duplicates_detected.
        is_partial: True when the file was taken for a part of the contacts.
        moved_to: where the file lies now, when it came from the inbox.
    """

    status: Literal["completed", "already"]
    kind: FileKind
    sha256: str
    filename: str
    message: str
    counts: Mapping[str, int] = field(default_factory=dict)
    is_partial: bool = False
    moved_to: Path | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one attempt needs to know of its surroundings."""

    path: Path
    kind: FileKind
    warehouse: Warehouse
    now: datetime
    actor: str
    run_id: str | None
    inbox: Path | None
    _started: float = field(default_factory=time.monotonic)

    def later(self) -> datetime:
        """The time, counted on from `now`."""
        return self.now + timedelta(seconds=time.monotonic() - self._started)

    @property
    def is_from_inbox(self) -> bool:
        return self.inbox is not None and self.path.parent.resolve() == self.inbox.resolve()

    def opened(self) -> BufferedReader:
        """The file, open to read; a link only where a person named it, not where somebody dropped it.

        Raises:
            OSError: see `inbox.opened`.
        """
        return opened(self.path, follow_links=not self.is_from_inbox)

    def put_away(self, folder: Literal["done", "rejected"], note: str = "") -> Path | None:
        """Move the file when it came from the inbox; where it lies now."""
        if self.inbox is None or not self.is_from_inbox:
            return None
        return put_away(self.path, self.inbox, folder, note)

    def note(self, row: Mapping[str, Any]) -> None:
        """Write the ledger row in a transaction of its own."""
        self.warehouse.upsert(_LEDGER.name, _ledger_frame(row))


def import_csv(
    path: Path,
    *,
    warehouse: Warehouse,
    program: ProgramYear,
    now: datetime,
    actor: str,
    run_id: str | None,
    allow_shrink: bool = False,
    inbox: Path | None = None,
) -> ImportOutcome:
    """Import whichever kind of file a person dropped: a contacts export, or a `-failed.csv`."""
    attempt = _Attempt(path, FileKind.CONTACTS, warehouse, now, actor, run_id, inbox)
    try:
        with attempt.opened() as file:
            kind = kind_of(file.read(1 << 20), path.name)
    except OSError:
        kind = FileKind.OTHER  # the import itself says what is the matter with the file
    if kind is FileKind.FAILURES:
        return _import_failures(replace(attempt, kind=kind), program)
    return _import_contacts(attempt, program, allow_shrink=allow_shrink)


def import_contacts_csv(
    path: Path,
    *,
    warehouse: Warehouse,
    program: ProgramYear,
    now: datetime,
    actor: str,
    run_id: str | None,
    allow_shrink: bool = False,
    inbox: Path | None = None,
) -> ImportOutcome:
    """Import a contacts export, once for each content.

    Args:
        path: the file.
        warehouse: where to; the caller holds the writer lock.
        program: whose mentors are counted, and the numbers of R12.
        now: the time.
        actor: who dropped it.
        run_id: the Dagster run.
        allow_shrink: a person says that this is the full list, however short; a file that was taken for a part before
            is then imported again.
        inbox: the inbox; a file that lies in it is put away afterwards. Files from elsewhere stay where they are.

    Raises:
        FileRejectedError: the file cannot be imported; the ledger, and a text beside the file, say why.
        MentorPipelineError: something else failed; nothing was written, and it can be tried again.
    """
    attempt = _Attempt(path, FileKind.CONTACTS, warehouse, now, actor, run_id, inbox)
    return _import_contacts(attempt, program, allow_shrink=allow_shrink)


def import_failures_csv(
    path: Path,
    *,
    warehouse: Warehouse,
    program: ProgramYear,
    now: datetime,
    actor: str,
    run_id: str | None,
    inbox: Path | None = None,
) -> ImportOutcome:
    """Read a `-failed.csv`: one `import_refused` for each row; otherwise as `import_contacts_csv`.

    Refusals of mentors who are not in this file stay as they are: an import may come back in several files.
    """
    return _import_failures(_Attempt(path, FileKind.FAILURES, warehouse, now, actor, run_id, inbox), program)


# -- one attempt --------------------------------------------------------------------------------------------------


def _import(
    attempt: _Attempt,
    read: Callable[[BufferedReader], Callable[[Transaction], dict[str, Any]]],
    *,
    is_wanted_again: Callable[[Mapping[str, Any]], bool] = lambda _: False,
) -> ImportOutcome:
    """One attempt, from the file to its ledger row.

    Args:
        attempt: its surroundings.
        read: takes the file, and returns what writes it and answers with columns of the ledger.
        is_wanted_again: True when a content is to be imported again although it was imported (its ledger row).
    """
    try:
        file = _opened(attempt)
    except FileNotFoundError as error:
        return _put_away_meanwhile(attempt, error)
    with file:
        return _import_opened(attempt, file, read, is_wanted_again)


def _import_opened(
    attempt: _Attempt,
    file: BufferedReader,
    read: Callable[[BufferedReader], Callable[[Transaction], dict[str, Any]]],
    is_wanted_again: Callable[[Mapping[str, Any]], bool],
) -> ImportOutcome:
    """See `_import`."""
    before = os.fstat(file.fileno())
    if before.st_size > LARGEST_FILE:
        msg = (
            f"{attempt.path.name}: the file has {before.st_size:,} bytes, more than any export. Nothing of it was "
            "imported, nor even read. Is it the right file?"
        )
        attempt.put_away("rejected", msg)
        raise FileRejectedError(msg)
    with _reading(attempt.path):
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    _refuse_unfinished(attempt.path, file, before)
    with attempt.warehouse.write() as transaction:
        earlier = _entry(transaction, sha256)
        is_done = earlier is not None and earlier["status"] == "completed" and not is_wanted_again(earlier)
        row = _begun(attempt, before.st_size, sha256, earlier)
        if not is_done:
            transaction.upsert(_LEDGER.name, _ledger_frame(row))
    if earlier is not None and is_done:
        return _already(attempt, earlier)
    try:
        with _reading(attempt.path):
            file.seek(0)
            write = read(file)
        _refuse_unfinished(attempt.path, file, before)
        with attempt.warehouse.write() as transaction:
            now_known = _entry(transaction, sha256)
            is_done = now_known is not None and now_known["status"] == "completed"
            if not is_done:
                row |= write(transaction) | {"status": "completed", "finished_at": attempt.later()}
                transaction.upsert(_LEDGER.name, _ledger_frame(row))
    except FileRejectedError as error:
        _reject(attempt, row, str(error))
        raise
    except Exception as error:
        _note_failure(attempt, row, error)
        raise
    if now_known is not None and is_done:  # somebody who does not hold the writer lock was faster
        return _already(attempt, now_known)
    return ImportOutcome(
        status="completed",
        kind=attempt.kind,
        sha256=sha256,
        filename=attempt.path.name,
        message=steering_nothing(row["message"]),
        counts={name: row[name] for name in _COUNTS if row.get(name) is not None},
        is_partial=bool(row.get("is_partial")),
        moved_to=attempt.put_away("done"),
    )


def _opened(attempt: _Attempt) -> BufferedReader:
    """The file, open to read.

    Raises:
        FileNotFoundError: it is not there.
        FileRejectedError: a link or a pipe lies in the inbox.
        MentorPipelineError: it cannot be read, or is no file.
    """
    try:
        return attempt.opened()
    except FileNotFoundError:
        raise
    except OSError as error:
        if attempt.is_from_inbox and error.errno in {errno.ELOOP, errno.ENOTSUP}:
            msg = f"{attempt.path} was not imported: {NO_FILE}."
            raise FileRejectedError(msg) from error
        raise _unreadable(attempt.path, error) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in the operator's words what the operating system says of a file that is read.

    Raises:
        MentorPipelineError: it cannot be read, or there is no room for what waits to be written.
    """
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> MentorPipelineError:
    if error.errno == errno.ENOSPC:
        what = f"could not be imported: there is no room left in {tempfile.gettempdir()} for what waits to be written"
        then = "Make room, or name another folder in TMPDIR,"
    else:
        what, then = f"cannot be read: {error.strerror}", "Make it readable"
    return MentorPipelineError(f"{path} {what}. Nothing of it was imported. {then} and try again.")


def _refuse_unfinished(path: Path, file: BufferedReader, before: os.stat_result) -> None:
    """What was read in parts must be one file: somebody who goes on writing it has changed its size or time.

    Raises:
        MentorPipelineError: it changed since it was opened.
    """
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        msg = f"{path} is still being written. Nothing of it was imported; try again when it is complete."
        raise MentorPipelineError(msg)


def _put_away_meanwhile(attempt: _Attempt, error: FileNotFoundError) -> ImportOutcome:
    """A file of the inbox that another run has imported and put away since this one was asked for is no fault."""
    ledger = attempt.warehouse.read_or_empty(_LEDGER.name)
    same_name = ledger.filter((pl.col("filename") == attempt.path.name) & (pl.col("status") == "completed"))
    if not attempt.is_from_inbox or same_name.is_empty():
        msg = f"There is no file {attempt.path}. Nothing was imported."
        raise FileRejectedError(msg) from error
    return _already(attempt, same_name.sort("finished_at").row(-1, named=True))


def _already(attempt: _Attempt, entry: Mapping[str, Any]) -> ImportOutcome:
    message = already_imported(entry)
    moved_to = attempt.put_away("done", message)
    return ImportOutcome("already", attempt.kind, entry["sha256"], attempt.path.name, message, moved_to=moved_to)


def _entry(transaction: Transaction, sha256: str) -> dict[str, Any] | None:
    found = transaction.read_or_empty(_LEDGER.name).filter(pl.col("sha256") == sha256)
    return None if found.is_empty() else found.row(0, named=True)


def _begun(attempt: _Attempt, size: int, sha256: str, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ledger row of an attempt that begins."""
    return {
        "sha256": sha256,
        "filename": attempt.path.name if earlier is None else earlier["filename"],
        "bytes": size,
        "kind": attempt.kind.value,
        "status": "running",
        "attempts": 1 if earlier is None else earlier["attempts"] + 1,
        "failures": 0 if earlier is None else earlier["failures"] or 0,
        "started_at": attempt.now,
        "uploaded_by": attempt.actor,
        "run_id": attempt.run_id,
    }


def _ledger_frame(row: Mapping[str, Any]) -> pl.DataFrame:
    """The row to store; its message may quote names and cells of the file."""
    if row.get("message"):
        row = {**row, "message": steering_nothing(row["message"])}
    return pl.DataFrame([row], schema={name: _LEDGER.schema[name] for name in row})


def _note_failure(attempt: _Attempt, row: dict[str, Any], error: Exception) -> None:
    """Keep that an attempt failed; the third failure rejects the file."""
    row["failures"] += 1
    if row["failures"] >= MAX_FAILURES:
        reason = (
            f"{attempt.path.name} could not be imported in {row['failures']} attempts; nothing of it was. {error} When "
            "that is mended, import the file with `mentor-pipeline import-contacts` (or `import-failures`)."
        )
        _reject(attempt, row, reason)
        return
    row |= {"status": "failed", "message": str(error), "finished_at": attempt.later()}
    with suppress(WarehouseError):  # the warehouse itself may be what failed; the first error is the one to show
        attempt.note(row)


def _reject(attempt: _Attempt, row: dict[str, Any], reason: str) -> None:
    row |= {"status": "rejected", "message": reason, "finished_at": attempt.later()}
    with suppress(WarehouseError):  # without its ledger row the file stays in the inbox and is judged again
        attempt.note(row)
        attempt.put_away("rejected", reason)


def _put_problems(
    transaction: Transaction, asset: str, year: int, problems: Collection[Problem], kept: pl.DataFrame | None = None
) -> None:
    """Make these (and the kept ones) all problems that this kind of import found for the year."""
    rows = problem_rows(year, problems).with_columns(asset=pl.lit(asset))
    if kept is not None:
        rows = pl.concat([rows, kept.select(rows.columns)]).unique("id", keep="first", maintain_order=True)
    transaction.replace_slice("detected_problems", rows, {"asset": asset, "year": year})


# -- contacts -----------------------------------------------------------------------------------------------------


def _import_contacts(attempt: _Attempt, program: ProgramYear, *, allow_shrink: bool) -> ImportOutcome:
    def read(opened: BufferedReader) -> Callable[[Transaction], dict[str, Any]]:
        file = read_contacts(opened, attempt.path.name, now=attempt.now)

        def write(transaction: Transaction) -> dict[str, Any]:
            with closing(file.batches):
                return _write_contacts(transaction, file, attempt, program, allow_shrink=allow_shrink)

        return write

    return _import(attempt, read, is_wanted_again=lambda entry: allow_shrink and bool(entry["is_partial"]))


def _write_contacts(
    transaction: Transaction, file: ContactsFile, attempt: _Attempt, program: ProgramYear, *, allow_shrink: bool
) -> dict[str, Any]:
    known = transaction.read_or_empty(CONTACTS, columns=["contact_id", "archived_at", "missing_since"])
    known_count = listed_count(known)
    why_partial = _why_partial(transaction, file, known_count, program, allow_shrink=allow_shrink)
    is_full = why_partial is None
    reading = Reading(
        TABLES[CONTACTS].empty().select("contact_id"),
        file.known_at,
        "csv",
        is_complete=is_full,
        custom_labels=file.custom_labels,
        also_there=file.set_aside_ids,
        csv_filename=attempt.path.name,
        csv_uploaded_at=attempt.now,
    )
    learner = Learner(transaction, now=attempt.now, mn_id_prefix=program.mn_id_prefix)
    mentors = transaction.read_or_empty("mentors", columns=["mn_id", "gb_contact_id"], year=program.year)
    seen = _Seen(mentors)
    for batch in file.batches:
        seen.add(learner.learn(replace(reading, contacts=batch), of=batch.select("contact_id")))
    if is_full:
        # Nobody of the file is among them, so that all of them turn missing, in parts that fit into memory.
        absent = known.filter(~pl.col("contact_id").is_in(file.contact_ids.implode()))
        for part in absent.select("contact_id").iter_slices(_AT_ONCE):
            learner.learn(reading, of=part)
        if file.known_at is not None:
            _confirm(transaction, file, file.known_at)
    notes = [*file.set_aside, *file.kept_as_text]
    if why_partial is not None:
        notes.append(_partial_problem(file, attempt, known_count, why_partial))
    kept = None if is_full else _problems_of_others(transaction, file, program.year)
    _put_problems(transaction, CONTACTS_ASSET, program.year, notes, kept)
    return {
        "rows": file.row_count,
        "new_contacts": learner.new_count,
        "changed_contacts": learner.changed_count,
        "missing_contacts": learner.missing_count,
        "is_partial": not is_full,
        "message": _summary(file, learner, notes),
        **seen.counts(),
    }


def _confirm(transaction: Transaction, file: ContactsFile, known_at: datetime) -> None:
    """Keep that all contacts are known as of the file.

    `read_at`, where the next incremental read of the API begins, moves only when the API was read before and the file
    tells all that is kept: what the file does not tell has to be fetched.
    """
    reads = transaction.read_or_empty("source_reads").filter(source=CONTACTS_SOURCE)
    last_read = reads.row(0, named=True) if not reads.is_empty() else {}
    if last_read.get("full_read_at") is not None and known_at < last_read["full_read_at"]:
        return
    read_at = last_read.get("read_at")
    if read_at is not None and file.told_everything:
        read_at = max(read_at, known_at)
    row = {
        "source": CONTACTS_SOURCE,
        "read_at": read_at,
        "full_read_at": known_at,
        "full_row_count": file.row_count,
    }
    transaction.upsert("source_reads", pl.DataFrame([row], schema=TABLES["source_reads"].schema))


def _why_partial(
    transaction: Transaction, file: ContactsFile, known_count: int, program: ProgramYear, *, allow_shrink: bool
) -> str | None:
    """Why nobody can be called missing after this file; None when it shows all contacts."""
    if file.has_unknown_ids:
        return "has rows whose contact id cannot be read, so nobody can be called missing"
    if allow_shrink:
        return None
    if is_partial(file.row_count, known_count, program.matching.partial_below_percent):
        return f"has {file.row_count} contacts of {known_count} known, so it is a part of them"
    if not file.common_tags:
        return None
    columns = ["contact_id", "tags", "archived_at", "missing_since"]
    in_file = pl.concat([file.contact_ids, pl.Series(file.set_aside_ids, dtype=pl.Int64)])
    absent = transaction.read_or_empty(CONTACTS, columns=columns).filter(~pl.col("contact_id").is_in(in_file.implode()))
    if (tag := tag_of_filter(file.common_tags, absent)) is not None:
        return (
            f"has {file.row_count} contacts of {known_count} known, all of them tagged {tag!r}, and others are not: it "
            "was filtered by that tag"
        )
    return None


def _partial_problem(file: ContactsFile, attempt: _Attempt, known_count: int, why: str) -> Problem:
    return Problem(
        type=PARTIAL_FILE,
        message=f"{attempt.path.name} {why}. Its contacts were updated, none was marked missing. If it is the full "
        "list, import it again with --allow-shrink.",
        source_table=CONTACTS,
        current_value=str(file.row_count),
        suggested_value=str(known_count),
        context={"file": attempt.path.name, "rows": file.row_count, "known": known_count},
        key=(attempt.path.name,),
    )


def _problems_of_others(transaction: Transaction, file: ContactsFile, year: int) -> pl.DataFrame:
    """What earlier files told of contacts that this one does not show."""
    earlier = transaction.read_or_empty("detected_problems", year=year).filter(
        pl.col("asset") == CONTACTS_ASSET, pl.col("type") != PARTIAL_FILE
    )
    told = pl.concat([file.contact_ids, pl.Series(file.set_aside_ids, dtype=pl.Int64)])
    contact_id = pl.col("context").str.json_path_match("$.contact_id").cast(pl.Int64, strict=False)
    return earlier.filter(~contact_id.is_in(told.implode()).fill_null(value=False))


def _summary(file: ContactsFile, learner: Learner, notes: Sequence[Problem]) -> str:
    counts = f"{learner.new_count} new, {learner.changed_count} changed, {learner.missing_count} no longer there"
    parts = [f"{file.row_count} contacts: {counts}."]
    if file.known_at is None:
        parts.append(
            "Nothing in the file or its name tells how old it is, so only contacts that were not known were added."
        )
    elif learner.outdated_count:
        parts.append(
            f"{learner.outdated_count} were left as they are, as something newer is known of them: the file tells how "
            f"they were on {file.known_at:%Y-%m-%d %H:%M} UTC (by {file.known_by})."
        )
    return " ".join([*parts, *(problem.message for problem in notes[-_SHOWN:])])


class _Seen:
    """What the file's contacts mean for the year's mentors, and how many groups of duplicates they hold.

    Phones and e-mails are kept as hashes, so that those of millions fit into memory.
    """

    def __init__(self, mentors: pl.DataFrame) -> None:
        self._linked = mentors.select(contact_id="gb_contact_id").drop_nulls()
        unlinked = mentors.filter(pl.col("gb_contact_id").is_null()).get_column("mn_id")
        self._awaited = [comparable_mn_id(mn_id) for mn_id in unlinked]
        self._matched = self._captured = 0
        self._held: dict[str, list[pl.DataFrame]] = {"phones": [], "emails": []}

    def add(self, laid: Laid) -> None:
        """Count contacts of the file, as they are after the import."""
        columns = ("contact_id", "external_mn_id", "phones", "emails", "archived_at", "missing_since")
        before = laid.before.select(columns).join(laid.written, on="contact_id", how="anti")
        contacts = pl.concat([before, laid.written.select(columns)])
        self._matched += self._linked.join(contacts, on="contact_id", how="semi").height
        self._captured += laid.written.filter(pl.col("external_mn_id").is_in(self._awaited)).height
        for column, held in self._held.items():
            held.append(carried(contacts, column).with_columns(pl.col("value").hash()))

    def counts(self) -> dict[str, int]:
        """As columns of the ledger."""
        phones, emails = (pl.concat(held) for held in self._held.values())
        return {
            "mentors_matched": self._matched,
            "new_contact_ids_captured": self._captured,
            "duplicates_detected": groups_of(phones, emails).n_unique(GROUP),
        }


# -- refused rows -------------------------------------------------------------------------------------------------


def _of_people_we_may_know(file: FailuresFile, ledger: pl.DataFrame) -> list[Problem]:
    """The problems of the rows that are no forgotten person's: their names must not come back by a file."""
    people = {comparable_mn_id(mn_id) for mn_id in ledger.filter(source_table=PERSON)["mn_id"]}
    contacts = set(ledger.filter(source_table=CONTACTS)["source_id"])
    return [
        problem
        for problem, contact_id in zip(file.problems, file.rows["contact_id"], strict=True)
        if contact_id not in contacts and (problem.mn_id is None or comparable_mn_id(problem.mn_id) not in people)
    ]


def _refusals(file: FailuresFile, problems: Sequence[Problem]) -> str:
    """What an operator is told of a `-failed.csv`: some rows with cause and remedy, and where all of them are."""
    more = [f"And {len(problems) - _SHOWN} more."] if len(problems) > _SHOWN else []
    taken = len(file.taken_external_ids)
    held = [f"Rows whose External ID is taken ({taken}) are held until that has changed."] if taken else []
    return " ".join(
        [
            f"{file.rows.height} rows were refused by Givebutter.",
            *(problem.message for problem in problems[:_SHOWN]),
            *more,
            *held,
            f"All of them, with what to do: `mentor-pipeline problems --type {PROBLEM_TYPE}`.",
        ]
    )


def _import_failures(attempt: _Attempt, program: ProgramYear) -> ImportOutcome:
    columns = ["contact_id", "external_id", "first_name", "last_name", "archived_at", "missing_since"]

    def write(transaction: Transaction, data: bytes) -> dict[str, Any]:
        contacts = transaction.read_or_empty(CONTACTS, columns=columns)
        file = read_failures(
            data,
            attempt.path.name,
            contacts=contacts,
            mn_id_prefix=program.mn_id_prefix,
            account_id=program.givebutter.account_id,
        )
        earlier = transaction.read_or_empty("detected_problems", year=program.year).filter(
            pl.col("asset") == FAILURES_ASSET
        )
        problems = _of_people_we_may_know(file, transaction.read_or_empty(FORGOTTEN))
        told_anew = [problem.mn_id for problem in problems if problem.mn_id is not None]
        kept = earlier.filter(~pl.col("mn_id").is_in(told_anew).fill_null(value=False))
        _put_problems(transaction, FAILURES_ASSET, program.year, problems, kept)
        return {
            "rows": file.rows.height,
            "message": _refusals(file, problems),
        }

    def read(opened: BufferedReader) -> Callable[[Transaction], dict[str, Any]]:
        data = opened.read()
        return lambda transaction: write(transaction, data)

    return _import(attempt, read)
