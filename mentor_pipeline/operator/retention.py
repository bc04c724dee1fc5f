"""Letting go of what nobody asks for any more: Dagster's records of old runs, and old exports.

An hourly sync leaves a megabyte of events, 10 GB a year, while what it did is in `sync_log` and `mn_changes` for ever.
Runs that have not ended are never touched, nor is the newest export of each kind (import files, lists of text
messages), nor what lies beside it under another name.
Nothing else is deleted here: what people dropped into the inbox stays, and the forms' raw answers are the raw assets'
matter.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from mentor_pipeline.domain.forgotten import kept_since
from mentor_pipeline.operator.export_files import MESSAGES_FILE
from mentor_pipeline.operator.import_files import IMPORT_FILE, import_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mentor_pipeline.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LetGo:
    """What was deleted.

    Attributes:
        runs: number of runs whose records went.
        files: the exports, and what was written with them.
    """

    runs: int
    files: tuple[Path, ...]


def let_go(instance: dg.DagsterInstance, settings: Settings, now: datetime, *, runs_at_once: int) -> LetGo:
    """Delete what is older than the settings keep.

    Args:
        instance: where the runs are.
        settings: `keep_runs_days`, `keep_exports_days` and the exports folder.
        now: the time.
        runs_at_once: no more runs than that, the oldest first; the others go next time.
    """
    runs = _old_runs(instance, kept_since(now, settings.keep_runs_days), runs_at_once)
    files = _old_files(settings.exports_dir, kept_since(now, settings.keep_exports_days))
    return LetGo(runs, tuple(files))


def _old_runs(instance: dg.DagsterInstance, before: datetime | None, at_once: int) -> int:
    if before is None:
        return 0
    wanted = dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before)
    records = instance.get_run_records(wanted, limit=at_once, ascending=True)
    # Of SQLite's storage only, which gives each run a file; Dagster empties that and leaves it there. (To ask for the
    # class itself would load SQLAlchemy with all that loads the definitions: a second.)
    file_of = getattr(instance.event_log_storage, "path_for_shard", None)
    for record in records:
        run_id = record.dagster_run.run_id
        instance.delete_run(run_id)
        if file_of is not None:
            file = Path(file_of(run_id))
            for path in file.parent.glob(f"{file.name}*"):  # and what a killed process left beside it
                path.unlink(missing_ok=True)
    if records:
        _delete_checks(instance, [record.dagster_run.run_id for record in records])
    return len(records)


def _delete_checks(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete what checks found in these runs, with names in it: Dagster keeps that when it deletes a run.

    What each check found last stays, for the UI shows how things stand.
    """
    # The definitions are loaded without it.
    import sqlalchemy as db  # noqa: PLC0415
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks  # noqa: PLC0415
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage  # noqa: PLC0415

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    last = db.select(db.func.max(Checks.c.id)).group_by(Checks.c.asset_key, Checks.c.check_name)
    with storage.index_transaction() as connection:
        connection.execute(Checks.delete().where(Checks.c.run_id.in_(run_ids), Checks.c.id.not_in(last)))


def _old_files(folder: Path, before: datetime | None) -> list[Path]:
    """Exports and what was written with them, all of the newest of each kind excepted."""
    if before is None:
        return []
    older = chain.from_iterable(list(import_files(folder, kind).values())[:-1] for kind in (IMPORT_FILE, MESSAGES_FILE))
    gone = []
    for path in chain.from_iterable(older):
        try:
            if path.lstat().st_mtime < before.timestamp():
                path.unlink()
                gone.append(path)
        except FileNotFoundError:  # somebody else did
            continue
        except OSError as error:
            logger.warning("%s is old and could not be deleted: %s. Make its folder writable.", path, error.strerror)
    return gone
