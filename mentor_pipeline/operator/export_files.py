"""The files that go outward: the import file for Givebutter and the CSV of the texting platform (R10, R11).

Which rows there are, and what they say, is decided in `domain.export`; here some of them are chosen, compared with what
Givebutter holds and with the newest file, and written: whole or not at all, with a `.json` beside them that tells what
is in the file and who is not. Nothing is sent anywhere, and the warehouse is not touched.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.export import created_and_updated, differing, what_rows_do, without_sent_notes
from mentor_pipeline.domain.import_cells import chosen_messages, harmless, owned_columns
from mentor_pipeline.domain.import_format import NOTES
from mentor_pipeline.domain.outreach import sms_segments
from mentor_pipeline.domain.status import CATEGORIES
from mentor_pipeline.errors import ExportRefusedError, WrongUseError
from mentor_pipeline.operator.import_files import IMPORT_FILE, TIME, import_files
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mentor_pipeline.settings import ProgramYear

MESSAGES_FILE: Final = "text-messages"
PREVIEWED: Final = 20
"""Rows of which a result tells what they do."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a person wants.

    Attributes:
        everything: also rows that Givebutter is known to hold already (`--all`).
        statuses: only mentors of one of these categories or status tags (`needs_page`, `No Page`).
        shifts: only mentors with one of these shift preferences.
        split: at most so many rows a file.
        allow_stale: also when the contacts' data is older than `contacts_refuse_after_days`.
    """

    everything: bool = False
    statuses: Sequence[str] = ()
    shifts: Sequence[str] = ()
    split: int | None = None
    allow_stale: bool = False


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What an import file is made of, as it stands in the warehouse.

    Attributes:
        rows: mn_gb_import of the year.
        held: mn_gb_import_held of the year.
        mentors: mentors of the year.
        contacts: all of raw_gb_full_contacts.
        sent_notes: sent_notes of the year.
        knowledge_at: as of when all contacts are known (`export.knowledge_at`).
    """

    rows: pl.DataFrame
    held: pl.DataFrame
    mentors: pl.DataFrame
    contacts: pl.DataFrame
    sent_notes: pl.DataFrame
    knowledge_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written, and who is not in it.

    Attributes:
        paths: the files, in order; the earlier ones when `unchanged`, none when there was nothing to write.
        rows: rows in them.
        created: rows that create a contact.
        updated: rows that update one.
        held: held mentors by reason.
        message: all of it in one sentence, for an operator.
        warnings: what an operator should know before importing.
        unchanged: True when the newest file says the same already, so none was written.
        sent_notes: rows of sent_notes to append.
        hashes: SHA-256 of each file, in the order of `paths`.
        preview: what the first rows do (`export.what_rows_do`).
    """

    paths: tuple[Path, ...]
    rows: int
    message: str
    created: int = 0
    updated: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    sent_notes: pl.DataFrame = field(default_factory=TABLES["sent_notes"].empty)
    hashes: tuple[str, ...] = ()
    preview: pl.DataFrame = field(default_factory=pl.DataFrame)


def write_import_file(
    source: ExportSource,
    program: ProgramYear,
    target: Path,
    *,
    now: datetime,
    selection: Selection | None = None,
) -> ExportResult:
    """Write the rows that differ from what Givebutter is known to hold, if they are not in the newest file already.

    A note that went into an earlier file and may have been imported since the contacts were read is left out.

    Args:
        source: see `ExportSource`.
        program: the year.
        target: a folder, in which the file is named by its time; or the path of the file (ending in .csv).
        now: the time of the export.
        selection: which rows; those that differ when None.

    Raises:
        WrongUseError: a filter that fits nobody.
        ExportRefusedError: contact data too old, or a file that cannot be written; earlier files are as they were.
    """
    selection = selection or Selection()
    warnings = _judge_age(source.knowledge_at, now, program, selection)
    mentors = _chosen(source.mentors, selection)
    rows = source.rows.join(mentors, on="mn_id", how="semi", maintain_order="left")
    held = source.held.join(mentors.select("mn_id", "full_name"), on="mn_id", maintain_order="left")
    counts = dict(held.group_by("reason").len().sort("reason").iter_rows())
    waiting = f"{held.height} mentors are held" + (
        f" ({', '.join(f'{count} {reason}' for reason, count in counts.items())})" if counts else ""
    )

    def chosen(candidates: pl.DataFrame) -> pl.DataFrame:
        return candidates if selection.everything else differing(candidates, source.contacts, program)

    def result(paths: Sequence[Path], rows: pl.DataFrame, message: str, **more: Any) -> ExportResult:
        created, updated = created_and_updated(rows)
        told = f"{message}; {waiting}."
        return ExportResult(
            tuple(paths),
            rows.height,
            told,
            created,
            updated,
            counts,
            warnings,
            hashes=tuple(part.sha256 for part in _parts(rows.select(columns), selection)),
            preview=what_rows_do(rows.head(PREVIEWED), source.contacts, program),
            **more,
        )

    columns = owned_columns(program)
    place = _Place.of(target, IMPORT_FILE, now)
    fresh = chosen(without_sent_notes(rows, source.sent_notes, source.knowledge_at))
    for same in (chosen(rows), fresh):
        earlier = place.holding(_parts(same.select(columns), selection))
        if earlier:
            message = f"Nothing new: {', '.join(path.name for path in earlier)} holds the same {same.height} rows"
            return result(earlier, same, message, unchanged=True)
    if fresh.is_empty():
        return result((), fresh, "Nothing to import: Givebutter is known to hold all of it")
    created, updated = created_and_updated(fresh)
    warnings += _twice_created(place.newest, source.knowledge_at, created)
    about = {
        "year": program.year,
        "written_at": now,
        "contacts_known_at": source.knowledge_at,
        "rows": fresh.height,
        "creates": created,
        "updates": updated,
        "filter": {name: getattr(selection, name) for name in ("everything", "statuses", "shifts")},
        "held_count": held.height,
        "held": _held_by_reason(held),
        "warnings": warnings,
    }
    paths = place.write(_parts(fresh.select(columns), selection), about)
    names = ", ".join(path.name for path in paths)
    rows_in_it = "1 row" if fresh.height == 1 else f"{fresh.height} rows"
    message = f"{names}: {rows_in_it}; contacts created: {created}, updated: {updated}"
    return result(paths, fresh, message, sent_notes=_sent(fresh, paths[0].name, now))


def write_messages_file(
    mentors: pl.DataFrame,
    messages: pl.DataFrame,
    target: Path,
    *,
    now: datetime,
    selection: Selection | None = None,
) -> ExportResult:
    """Write the texting platform's CSV: phone, first name, preferred name, message; one row for each mentor (R11).

    Args:
        mentors: rows of mentors of the year.
        messages: rows of outreach_messages of the year; who is unsubscribed or dropped has none there already.
        target: a folder, or the path of the file (ending in .csv).
        now: the time of the export.
        selection: statuses, shifts and split; all when None.

    Raises:
        WrongUseError: a filter that fits nobody.
        ExportRefusedError: a file that cannot be written.
    """
    selection = selection or Selection()
    chosen, problems = chosen_messages(messages)
    rows = (
        _chosen(mentors, selection)
        .join(chosen.filter(pl.col("message_text").is_not_null()), on="mn_id", maintain_order="left")
        .filter(pl.col("phone").is_not_null())
        .sort("mn_id")
        .select(
            "phone",
            harmless(pl.col("first_name")).alias("first_name"),
            harmless(pl.col("preferred_name")).alias("preferred_name"),
            message=harmless(pl.col("message_text")),
        )
    )
    warnings = tuple(
        f"Campaigns {problem.current_value} all have a text message for {len(problem.context['mn_ids'])} mentors; the "
        f"file has room for one: that of {str(problem.current_value).split(', ')[0]} was taken."
        for problem in problems
        if problem.field_name == "message_text"
    )
    if rows.is_empty():
        return ExportResult((), 0, "No text message for anybody: no campaign has one, or nobody may get it.")
    parts = _parts(rows, selection)
    place = _Place.of(target, MESSAGES_FILE, now)
    earlier = place.holding(parts)
    if earlier:
        names = ", ".join(path.name for path in earlier)
        return ExportResult(earlier, rows.height, f"Nothing new: {names} is the same.", unchanged=True)
    segments = sum(map(sms_segments, rows["message"]))
    paths = place.write(parts, {"written_at": now, "rows": rows.height, "segments": segments})
    names = ", ".join(path.name for path in paths)
    return ExportResult(paths, rows.height, f"{names}: {rows.height} messages, {segments} SMS.", warnings=warnings)


# -- what is chosen ----------------------------------------------------------------------------------------------------


def _judge_age(known_at: datetime | None, now: datetime, program: ProgramYear, selection: Selection) -> tuple[str, ...]:
    """A warning about old contact data; too old is refused (R10)."""
    limits = program.export
    if known_at is None:
        told = "Givebutter's contacts never were read"
        too_old = True
    else:
        age = now - known_at
        if age <= timedelta(hours=limits.contacts_max_age_hours):
            return ()
        told = f"Givebutter's contacts were last read {_shown_age(age)} ago ({known_at:%Y-%m-%d %H:%M} UTC)"
        too_old = age > timedelta(days=limits.contacts_refuse_after_days)
    if too_old and not selection.allow_stale:
        msg = (
            f"{told}: too old to say which rows Givebutter would refuse. No file was written, earlier ones are as they "
            "were. Run `sync` or import a fresh contacts export first, or insist with `--allow-stale`."
        )
        raise ExportRefusedError(msg)
    return (f"{told}: rows may be refused that look right. Run `sync` and export again if you can.",)


def _twice_created(newest: Mapping[str, Any], known_at: datetime | None, created: int) -> tuple[str, ...]:
    """A warning when an earlier file may have created contacts that nobody has seen yet."""
    if not created or not newest.get("creates"):
        return ()
    if known_at is not None and datetime.fromisoformat(newest["written_at"]) < known_at:
        return ()
    told = (
        f"{newest['files'][0]['name']} creates {newest['creates']} contacts and is newer than what is known of "
        "Givebutter's contacts: if it was imported, run `sync` and export again, or those rows will be refused."
    )
    return (told,)


def _shown_age(age: timedelta) -> str:
    return f"{age.days} days" if age >= timedelta(days=2) else f"{age.total_seconds() // 3600:.0f} hours"


def _chosen(mentors: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """The mentors that the filters mean."""
    refuse_mistakes(mentors, selection)
    wanted = [pl.lit(value=True)]
    if selection.statuses:
        statuses = [status.lower() for status in selection.statuses]
        tags = pl.col("statuses").list.eval(pl.element().str.to_lowercase())
        wanted.append(
            pl.col("status_category").is_in(statuses)
            | pl.any_horizontal(tags.list.contains(status) for status in statuses)
        )
    if selection.shifts:
        wanted.append(
            pl.col("shift_preference").str.to_lowercase().is_in([shift.lower() for shift in selection.shifts])
        )
    return mentors.filter(pl.all_horizontal(wanted).fill_null(value=False))


def refuse_mistakes(mentors: pl.DataFrame, selection: Selection) -> None:
    """Refuse filters that can fit nobody, and files of no rows.

    Args:
        mentors: rows of mentors of the year: statuses, shift_preference.
        selection: what a person asked for.

    Raises:
        WrongUseError: naming what there is.
    """
    if selection.split is not None and selection.split < 1:
        msg = f"A file needs at least 1 row, not {selection.split}. No file was written."
        raise WrongUseError(msg)
    status_tags = mentors["statuses"].explode().drop_nulls().unique().sort().to_list()
    shifts = mentors["shift_preference"].drop_nulls().unique().sort().to_list()
    for what, given, known in (
        ("status", selection.statuses, [*CATEGORIES, *status_tags]),
        ("shift", selection.shifts, shifts),
    ):
        unknown = [value for value in given if value.lower() not in {name.lower() for name in known}]
        if unknown:
            there = ", ".join(known) or "none yet"
            msg = f"No mentor has the {what} {', '.join(unknown)}. There are: {there}. No file was written."
            raise WrongUseError(msg)


def require_folder(out: Path) -> None:
    """Refuse a place for a file (the file's path, ending in .csv, or a folder) whose folder is not there.

    Raises:
        WrongUseError: nothing was made.
    """
    folder = out.parent if out.suffix.lower() == ".csv" and not out.is_dir() else out
    if not folder.is_dir():
        msg = (
            f"There is no folder {folder}. Nothing was written or made. Make it first, or name another place: a "
            "folder, or a file that ends in .csv."
        )
        raise WrongUseError(msg)


def _held_by_reason(held: pl.DataFrame) -> dict[str, list[dict[str, str]]]:
    """Who is not in the file, by reason."""
    return {
        reason: whom.select("mn_id", "detail", name="full_name").to_dicts()
        for (reason,), whom in held.sort("reason", "mn_id").partition_by(["reason"], as_dict=True).items()
    }


def _sent(rows: pl.DataFrame, filename: str, now: datetime) -> pl.DataFrame:
    """The notes in the file, for the ledger."""
    notes = rows.filter(pl.col(NOTES).is_not_null()).select(
        "year", "mn_id", sent_at=pl.lit(now), notes=NOTES, filename=pl.lit(filename)
    )
    return TABLES["sent_notes"].conform(notes)


# -- files -------------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """One file's bytes, and how many rows they are."""

    content: bytes
    rows: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _parts(rows: pl.DataFrame, selection: Selection) -> list[_Part]:
    """UTF-8 CSV, every cell quoted, a null as an empty one; no part when there is no row."""
    size = selection.split or max(rows.height, 1)
    pieces = (rows.slice(start, size) for start in range(0, rows.height, size))
    return [_Part(piece.write_csv(quote_style="always").encode(), piece.height) for piece in pieces]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file goes: its folder, its name without ending, and what the newest `.json` of its kind tells.

    `family` is how all names of its kind begin.
    """

    folder: Path
    family: str
    stem: str
    newest: Mapping[str, Any]

    @classmethod
    def of(cls, target: Path, kind: str, now: datetime) -> _Place:
        if target.suffix.lower() == ".csv" and not target.is_dir():
            return cls(target.parent, target.stem, target.stem, _manifest(target.with_suffix(".json")))
        written = [path for files in import_files(target, kind).values() for path in files]
        manifests = [path for path in written if path.suffix == ".json"]
        moment = now
        while (target / f"{kind}-{moment:{TIME}}.json").exists():  # two files within one second
            moment += timedelta(seconds=1)
        return cls(target, kind, f"{kind}-{moment:{TIME}}", _manifest(manifests[-1]) if manifests else {})

    def holding(self, parts: Sequence[_Part]) -> tuple[Path, ...]:
        """The newest files, when they are there and hold exactly these parts."""
        paths = tuple(self.folder / file["name"] for file in self.newest.get("files", ()))
        try:
            same = [path.read_bytes() for path in paths] == [part.content for part in parts]
        except OSError:  # taken away: then it is written anew
            return ()
        return paths if same else ()

    def write(self, parts: Sequence[_Part], about: Mapping[str, Any]) -> tuple[Path, ...]:
        """Write the parts and the `.json`: first all of them under temporary names, then each takes its own."""
        count = len(parts)
        names = [f"{self.stem}-part{number}of{count}.csv" for number in range(1, count + 1)]
        paths = [self.folder / name for name in (names if count > 1 else [f"{self.stem}.csv"])]
        files = [
            {"name": path.name, "rows": part.rows, "bytes": len(part.content), "sha256": part.sha256}
            for path, part in zip(paths, parts, strict=True)
        ]
        manifest = orjson.dumps({**about, "files": files}, default=str, option=orjson.OPT_INDENT_2)
        contents = dict(zip(paths, (part.content for part in parts), strict=True))
        contents[self.folder / f"{self.stem}.json"] = manifest
        self._refuse_to_write_over(list(contents))
        temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in contents}
        try:
            # What is in the files are people's names, phones and addresses: they are for their owner only.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left_by_a_killed_export in self.folder.glob(f".{self.family}*.partial"):
                left_by_a_killed_export.unlink()
            for path, content in contents.items():
                temporary[path].touch(mode=0o600)
                with temporary[path].open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for path in contents:
                temporary[path].replace(path)
            _sync_folder(self.folder)
        except OSError as error:
            for path in temporary.values():
                with suppress(OSError):
                    path.unlink()
            msg = (
                f"No file could be written to {self.folder}: {error.strerror or error}. Earlier files there are as "
                "they were, and nothing was noted as sent. Free space or make the folder writable, then export again."
            )
            raise ExportRefusedError(msg) from error
        return tuple(paths)

    def _refuse_to_write_over(self, paths: Sequence[Path]) -> None:
        """Refuse when a name is taken by something else than our own file, as it was written.

        Raises:
            ExportRefusedError: naming it.
        """
        ours = {self.folder / file.get("name", ""): file.get("sha256") for file in self.newest.get("files", ())}
        manifest = self.folder / f"{self.stem}.json"
        for path in paths:
            if not path.exists() and not path.is_symlink():
                continue
            is_ours = bool(ours) if path == manifest else path.is_file() and _sha256(path) == ours.get(path)
            if not is_ours:
                msg = (
                    f"{path} is there already, and no export wrote it so. It was left as it is, and no file was "
                    "written. Name another file with --out, or move that one away."
                )
                raise ExportRefusedError(msg)


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _manifest(path: Path) -> Mapping[str, Any]:
    """What a `.json` tells; nothing when it is not there or damaged."""
    try:
        told = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return told if isinstance(told, dict) else {}


def _sync_folder(folder: Path) -> None:
    """Make the new names last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
