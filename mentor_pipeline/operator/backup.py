"""Backups: every table in one file, put back whole, or carried over into another database.

A backup is a zip of one Parquet file a table, read in one moment, with a manifest and the year files of then. Parquet
keeps types; the zip's own sums find a damaged byte. Putting one back replaces every table in one transaction, after
what was there has been saved beside it. Only what nobody could tell again is kept (`KEPT`): what was done outside, what
people decided, who was forgotten. Not in a backup: keys, Dagster's history of runs, and the files in inbox and exports.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import orjson
import polars as pl
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from mentor_pipeline.domain.forgotten import LEDGER
from mentor_pipeline.errors import BackupError, WarehouseDamagedError, WarehouseError
from mentor_pipeline.operator.folders import private_folder
from mentor_pipeline.operator.forget import forget_again, ids_in
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import configured_years
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mentor_pipeline.resources.warehouse import Reader, Transaction, Warehouse
    from mentor_pipeline.settings import Settings

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_AS_IT_WAS: Final = "Nothing was changed."
_LOCK_WAIT_S: Final = 30.0
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What Python raises for a ZIP archive that is damaged, or for whose members a password is wanted."""
_LOG_ENDING: Final = ".wal"
"""What DuckDB adds to a file's name for the log of what is not in it yet."""

KEPT: Final = {
    "contact_archive_log": "archived, restored and released contacts",
    "tag_log": "changed tags",
    "sent_notes": "notes that went out",
    "operator_actions": "decisions, edits and check-ins",
    "placeholder_ids": "placeholders given to mentors",
    "mentor_aliases": "placeholders that became ids",
    LEDGER: "numbers of forgotten people",
}
"""Tables whose rows a restore keeps where the backup does not have them yet, and what they tell.

They are only ever added to, and no service tells them again. Decisions stand under a mentor's placeholder too, so it
must go on meaning the same mentor.
"""


@checked_dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        format: how the file is laid out; a higher number is from a newer version.
        version: the version of mentor-pipeline that wrote it.
        created_at: when the tables were read.
        rows: rows of each table in it.
    """

    format: int
    version: str
    created_at: AwareDatetime
    rows: dict[str, int]


_MANIFESTS: Final = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup file, and what it says of itself."""

    path: Path
    manifest: Manifest
    megabytes: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """How many rows of a table there are now (None: the database is damaged), and how many there will be."""

    table: str
    rows_now: int | None
    rows_then: int


@dataclass(frozen=True, slots=True)
class Restore:
    """What putting a backup back does, or did.

    Attributes:
        backup: the file.
        tables: every table that has rows now or will have.
        is_applied: True once it is done.
        kept: by table of `KEPT`, rows that the backup does not have and that stay.
        forgotten: ids of people who were forgotten after the backup; once it is done, of those whom it had brought back
            and who were forgotten again.
        saved: the backup of what was there before; none where nothing was, or where it was damaged.
        damaged: the damaged database; once it is done, under which name it is kept.
        unreadable: tables of `KEPT` that could not be read from it.
    """

    backup: Backup
    tables: Sequence[Exchange]
    is_applied: bool = False
    kept: Mapping[str, int] = field(default_factory=dict)
    forgotten: Sequence[str] = ()
    saved: Path | None = None
    damaged: Path | None = None
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Migration:
    """What carrying all tables over does, or did; locations never hold a password."""

    source: str
    target: str
    rows: Mapping[str, int]
    is_applied: bool = False


# -- writing ----------------------------------------------------------------------------------------------------------


def write_backup(warehouse: Warehouse, settings: Settings, path: Path) -> Backup:
    """Write every table, as of one moment, into a new file that only its owner can read.

    Raises:
        BackupError: there is nothing to save, there is such a file, or it cannot be written; no file is left.
        WarehouseError: the tables cannot be read; no file is left.
    """
    with _new_file(path) as file, zipfile.ZipFile(file, "w") as archive, warehouse.reading() as reader:
        created_at = datetime.now(UTC)
        rows = {name: _write_table(archive, name, frame) for name, frame in _tables(reader)}
        if not any(rows.values()):
            msg = f"{warehouse.location} holds nothing yet, so there is nothing to save. No file was written."
            raise BackupError(msg)
        for year in configured_years(settings.config_dir):
            archive.write(settings.config_dir / f"{year}.toml", f"config/{year}.toml")
        manifest = Manifest(format=FORMAT, version=_version(), created_at=created_at, rows=rows)
        # Last: a file without it was never finished.
        archive.writestr(_MANIFEST, _MANIFESTS.dump_json(manifest, indent=2))
    return Backup(path, manifest, _megabytes(path))


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    if not path.parent.is_dir():  # made by us, it would be on this disk instead of the one that is to be plugged in
        msg = (
            f"There is no folder {path.parent}. No file was written. Is the disk plugged in? Else make the folder, or "
            "name another place."
        )
        raise BackupError(msg)
    try:
        path.touch(mode=0o600, exist_ok=False)
        try:
            with path.open("r+b") as file:
                yield file
        except BaseException:
            path.unlink()
            raise
    except FileExistsError as error:
        msg = f"{path} is there already. It was left as it is. Name another file."
        raise BackupError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}. No file was left there. Name another place, or make room."
        raise BackupError(msg) from error


def _tables(reader: Reader) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every table that was ever written, one at a time."""
    return ((name, reader.read(name)) for name in TABLES if reader.table_exists(name))


def _write_table(archive: zipfile.ZipFile, name: str, frame: pl.DataFrame) -> int:
    # Parquet is compressed already.
    with archive.open(_member(name), "w", force_zip64=True) as member:
        frame.write_parquet(member)
    return frame.height


def _member(table: str) -> str:
    return f"tables/{table}.parquet"


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 1)


def _version() -> str:
    try:
        return version("mentor-pipeline")
    except PackageNotFoundError:
        return "unknown"


# -- putting back -----------------------------------------------------------------------------------------------------


def read_backup(path: Path) -> Backup:
    """Look at a backup file: whole, undamaged, and of a version that this one can read.

    Raises:
        BackupError: it is not.
    """
    with _reading(path) as archive, _undamaged(path):
        if _MANIFEST not in archive.namelist():
            msg = f"{path} is no backup of mentor-pipeline, or its writing was never finished. {_AS_IT_WAS}"
            raise BackupError(msg)
        try:
            manifest = _MANIFESTS.validate_json(archive.read(_MANIFEST))
        except ValidationError as error:
            msg = f"{path} is no backup of mentor-pipeline: its manifest cannot be understood. {_AS_IT_WAS}"
            raise BackupError(msg) from error
        unknown = sorted(manifest.rows.keys() - TABLES.keys())
        if manifest.format > FORMAT or unknown:
            what = f" (tables {', '.join(unknown)})" if unknown else ""
            msg = (
                f"{path} was written by mentor-pipeline {manifest.version}, which keeps things that this version "
                f"({_version()}) does not know{what}. {_AS_IT_WAS} Install that version, or a newer one."
            )
            raise BackupError(msg)
        if archive.testzip() is not None or any(_member(name) not in archive.namelist() for name in manifest.rows):
            raise BackupError(_damaged(path))
    return Backup(path, manifest, _megabytes(path))


def plan_restore(warehouse: Warehouse, backup: Backup) -> Restore:
    """What putting a backup back would change.

    Raises:
        BackupError: its rows cannot be read.
        WarehouseError: those of now cannot be read, though the database is not damaged.
    """
    damaged, unreadable = None, tuple[str, ...]()
    now: Mapping[str, int | None]
    with _reading(backup.path) as archive:
        try:
            with warehouse.reading() as reader:
                now = reader.counts(TABLES)
                kept = {name: _newer(reader, archive, backup, name) for name in KEPT}
        except WarehouseDamagedError as error:
            damaged = error.path
            now = dict.fromkeys(TABLES)
            kept, unreadable = _salvaged(warehouse, archive, backup)
    rows = {name: backup.manifest.rows.get(name, 0) + (kept[name].height if name in kept else 0) for name in TABLES}
    return Restore(
        backup,
        _exchanges(now, rows),
        kept=_heights(kept),
        forgotten=ids_in(kept[LEDGER]) if LEDGER in kept else (),
        damaged=damaged,
        unreadable=unreadable,
    )


def restore(warehouse: Warehouse, settings: Settings, backup: Backup, by: str) -> Restore:
    """Make every table what it was, in one transaction; what is there now is saved in a backup of its own first.

    Rows of `KEPT` that the backup does not have stay, and people who were forgotten after it are forgotten again. A
    damaged DuckDB file is kept beside the new one, with what can still be read from it carried over.

    Raises:
        BackupError: the file cannot be read, or its rows do not fit; nothing was changed.
        WarehouseBusyError: a run is changing the tables; nothing was changed.
    """
    with _alone(warehouse, settings, "restore", by), _reading(backup.path) as archive:
        try:
            return _put_back(warehouse, settings, archive, backup)
        except WarehouseDamagedError as error:
            damaged = error.path
        return _put_beside(warehouse, damaged, archive, backup)


def _put_back(warehouse: Warehouse, settings: Settings, archive: zipfile.ZipFile, backup: Backup) -> Restore:
    now, saved = warehouse.counts(TABLES), None
    if any(now.values()):
        saved = settings.data_dir / "backups" / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.zip"
        _provide(saved.parent)
        write_backup(warehouse, settings, saved)
    with warehouse.write() as store:
        kept = {name: _newer(store, archive, backup, name) for name in KEPT}
        forgotten = _fill(store, archive, backup, kept)
        exchanges = _exchanges(now, store.counts(TABLES))
    return Restore(backup, exchanges, is_applied=True, kept=_heights(kept), forgotten=forgotten, saved=saved)


def _provide(folder: Path) -> None:
    try:
        private_folder(folder)
    except OSError as error:
        msg = f"What is there now cannot be saved in {folder}: {error.strerror}. {_AS_IT_WAS} Make room."
        raise BackupError(msg) from error


def _put_beside(warehouse: Warehouse, damaged: Path, archive: zipfile.ZipFile, backup: Backup) -> Restore:
    """Fill a new file, and let it take the place of the damaged one only when it is whole."""
    kept, unreadable = _salvaged(warehouse, archive, backup)
    new = DuckDBWarehouse(damaged.with_name(f"{damaged.name}.restoring"))
    aside = damaged.with_name(f"{damaged.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    try:
        _delete(new.path)  # of a restore that was killed
        with new.write() as store:
            forgotten = _fill(store, archive, backup, kept)
            exchanges = _exchanges(dict.fromkeys(TABLES), store.counts(TABLES))
        for ending in (_LOG_ENDING, ""):  # the log first: without its file it would be taken for the new one's
            old = Path(f"{damaged}{ending}")
            if old.exists():
                old.rename(f"{aside}{ending}")
        new.path.rename(damaged)
    except OSError as error:
        msg = (
            f"{damaged} is damaged, and cannot be kept as {aside}: {error.strerror}. No table was restored. Change the "
            "rights of the folder, and run this again."
        )
        raise BackupError(msg) from error
    finally:
        _delete(new.path)
    return Restore(
        backup, exchanges, is_applied=True, kept=_heights(kept), forgotten=forgotten, damaged=aside,
        unreadable=unreadable,
    )  # fmt: skip


def _delete(database: Path) -> None:
    for ending in (_LOG_ENDING, ""):
        Path(f"{database}{ending}").unlink(missing_ok=True)


def _fill(
    store: Transaction, archive: zipfile.ZipFile, backup: Backup, kept: Mapping[str, pl.DataFrame]
) -> Sequence[str]:
    """Make the tables what they were, with the rows that are kept; who was forgotten again."""
    for name, spec in TABLES.items():
        if name in backup.manifest.rows:
            _put(store, name, _read_table(archive, backup, name))
        elif store.table_exists(name):
            store.replace_slice(name, spec.empty(), {})
    # Before the kept rows: those know nothing of the forgotten, but of somebody who signed up with the id since.
    forgotten = forget_again(store, kept[LEDGER]) if LEDGER in kept else ()
    for name, rows in kept.items():
        if rows.height:
            store.append(name, rows)
    return forgotten


def _newer(reader: Reader, archive: zipfile.ZipFile, backup: Backup, name: str) -> pl.DataFrame:
    """The stored rows of a table that the backup does not have."""
    spec, rows = TABLES[name], reader.read_or_empty(name)
    if name not in backup.manifest.rows:
        return rows
    then = spec.conform(_read_table(archive, backup, name))
    rows = rows.join(then, on=spec.key, how="anti")
    if name == "placeholder_ids":  # a number that somebody else has in the backup would be two mentors' number
        rows = rows.join(then, on=["year", "mn_id"], how="anti")
    return rows


def _salvaged(
    warehouse: Warehouse, archive: zipfile.ZipFile, backup: Backup
) -> tuple[dict[str, pl.DataFrame], tuple[str, ...]]:
    """What can still be read of `KEPT` from a damaged database, and the names of the tables that cannot."""
    kept: dict[str, pl.DataFrame] = {}
    for name in KEPT:
        with suppress(WarehouseDamagedError), warehouse.reading() as reader:
            kept[name] = _newer(reader, archive, backup, name)
    return kept, tuple(name for name in KEPT if name not in kept)


def _exchanges(now: Mapping[str, int | None], then: Mapping[str, int]) -> list[Exchange]:
    exchanges = (Exchange(name, now[name], then[name]) for name in TABLES)
    return [one for one in exchanges if one.rows_now or one.rows_then]


def _heights(kept: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    return {name: rows.height for name, rows in kept.items() if rows.height}


def _read_table(archive: zipfile.ZipFile, backup: Backup, name: str) -> pl.DataFrame:
    with _undamaged(backup.path):
        frame = pl.read_parquet(io.BytesIO(archive.read(_member(name))))
    spec = TABLES[name]
    further = [] if spec.extensible else [column for column in frame.columns if column not in spec.schema]
    if further:
        msg = (
            f"{backup.path}: table {name} has columns that this version does not know: {', '.join(further)}. "
            f"{_AS_IT_WAS} Install mentor-pipeline {backup.manifest.version} or newer."
        )
        raise BackupError(msg)
    return frame


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    with _undamaged(path):
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            msg = f"{path} is no file. {_AS_IT_WAS} Name the backup."
            raise BackupError(msg)
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Say in the operator's words what Python says of an archive that it cannot read."""
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}. {_AS_IT_WAS}"
        raise BackupError(msg) from error
    except (pl.exceptions.PolarsError, *_BROKEN) as error:
        raise BackupError(_damaged(path)) from error


def _damaged(path: Path) -> str:
    return f"{path} is damaged, or no backup at all. {_AS_IT_WAS} Take another backup."


# -- carrying over ----------------------------------------------------------------------------------------------------


def migrate(source: Warehouse, target: Warehouse, settings: Settings, by: str, *, apply: bool) -> Migration:
    """Copy every table into another, empty database, in one transaction that compares what arrived.

    Raises:
        BackupError: the target holds rows, or what arrived differs; the target was left as it was.
        WarehouseError: one of the two cannot be opened, read or written; the target was left as it was.
    """
    there = {name: count for name, count in target.counts(TABLES).items() if count}
    if there:
        held = ", ".join(f"{name} {count:,}" for name, count in list(there.items())[:5])
        msg = f"{target.location} is not empty ({held}). {_AS_IT_WAS} Migrate into an empty database."
        raise BackupError(msg)
    if not apply:
        return Migration(source.location, target.location, _filled(source.counts(TABLES)))
    with _alone(source, settings, "migrate", by), source.reading() as reader, target.write() as store:
        rows = {name: _put(store, name, frame) for name, frame in _tables(reader)}
    return Migration(source.location, target.location, _filled(rows), is_applied=True)


def _filled(rows: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in rows.items() if count}


def _put(store: Transaction, name: str, frame: pl.DataFrame) -> int:
    """Make a table what a frame is, and read it again: nothing is committed that arrived otherwise."""
    rows = store.replace_slice(name, frame, {})
    if not _same(name, frame, store.read(name)):
        msg = f"The rows of {name} did not arrive as they were. Everything was taken back. {_AS_IT_WAS}"
        raise WarehouseError(msg)
    return rows


def _same(name: str, given: pl.DataFrame, stored: pl.DataFrame) -> bool:
    spec = TABLES[name]
    given = spec.conform(given).sort(spec.key)
    if given.equals(stored):
        return True
    # Postgres keeps what a JSON text means, not how it was written.
    texts = [column.name for column in spec.columns if column.type is Type.JSON]
    return given.with_columns(map(_meaning, texts)).equals(stored.with_columns(map(_meaning, texts)))


def _meaning(column: str) -> pl.Expr:
    return pl.col(column).map_elements(
        lambda text: orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode(), return_dtype=pl.String
    )


def _alone(warehouse: Warehouse, settings: Settings, job: str, by: str) -> AbstractContextManager[None]:
    return warehouse.alone(year=settings.program_year().year, job=job, by=by, wait_s=_LOCK_WAIT_S)
