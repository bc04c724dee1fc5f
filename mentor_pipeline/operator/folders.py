"""Folders and files about real people: nobody else's business on this machine.

What we make is for its owner alone. A folder that is there already is only shut where it is one of ours and stands as
an earlier version left it; where somebody chose who may look into it, that stays. What belongs into a folder is no
matter of this module.
"""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mentor_pipeline.resources.writer_lock import HOLDER_NAME, LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mentor_pipeline.settings import Settings

PRIVATE: Final = 0o700

_AS_MADE: Final = (PRIVATE, 0o755, 0o775)
"""The rights of a folder of which nobody said who may look into it: ours, and those that systems give by default."""
_OTHERS: Final = 0o077
_UMASK: Final = 0o077
ALERT_FILES: Final = ("alerts.log", "alerts.log.1", "alerts-outbox.json", "alerts-outbox.new", "alerts.lock")
"""What the notifier writes into a data folder."""
_OURS: Final = (
    "inbox", "exports", "backups", "dagster_home", "check-ins", "demo", *ALERT_FILES,
    "mentor-pipeline-errors.log", "world.json.gz", ".demo", ".services.json", LOCK_NAME, HOLDER_NAME,
)  # fmt: skip
"""What lies in a data folder, besides the database."""
_ACCESS_LIST: Final = "system.posix_acl_access"


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if not path.parent.exists():
        private_folder(path.parent)
    path.mkdir(mode=PRIVATE, exist_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile, also by Dagster and by processes that are started, is for its owner alone."""
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def shut(folder: Path) -> None:
    """Take everybody else's rights off a folder of ours that stands as an earlier version left it.

    One that somebody gave rights of its own, that is a link, or another user's, stays as it is.
    """
    if _is_open(folder) and _is_as_made(folder) and not folder.is_symlink():
        with suppress(OSError):  # a disk that knows no rights; what cannot be shut here, `config check` tells
            folder.chmod(PRIVATE)


def shut_data(settings: Settings) -> None:
    """Shut the data folder and what is in it, but for the inbox: another account may drop files into that.

    Where the inbox has rights that somebody gave it, the way to it stays open too; and so does a folder in which other
    things lie than ours (somebody's home, a project).
    """
    data_dir, inbox = settings.data_dir, settings.inbox_dir
    if _is_open(data_dir) and (not inbox.exists() or _is_as_made(inbox)):
        database = settings.warehouse_path.name
        if all(path.name in _OURS or path.name.startswith(database) for path in data_dir.iterdir()):
            shut(data_dir)
    for folder in (settings.exports_dir, settings.data_dir / "backups", settings.dagster_home):
        shut(folder)


def said_of_open(folder: Path) -> str:
    """What to say of a folder into which others may look: it is only right where somebody wanted it. Else nothing."""
    if not _is_open(folder):
        return ""
    return f"; others on this machine may look into it: `chmod 700 {shlex.quote(str(folder))}`, unless you share it"


def _is_open(folder: Path) -> bool:
    return folder.is_dir() and bool(stat.S_IMODE(folder.stat().st_mode) & _OTHERS)


def _is_as_made(folder: Path) -> bool:
    status = folder.stat()
    is_plain = stat.S_IMODE(status.st_mode) in _AS_MADE and not _has_access_list(folder)
    return is_plain and (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def _has_access_list(folder: Path) -> bool:
    if not hasattr(os, "listxattr"):  # elsewhere such lists stand beside the rights, and are not touched with them
        return False
    try:
        return _ACCESS_LIST in os.listxattr(folder)
    except OSError:
        return False
