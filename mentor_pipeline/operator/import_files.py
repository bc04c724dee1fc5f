"""Which files of the exports folder we wrote: plain files of the exact form of our names.

What somebody else put beside them (a copy, a link, a file of their own) is none, whatever its name begins with, so that
it is neither taken for the newest import file nor deleted as an old one. Writing the files belongs to `export_files`.
"""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

IMPORT_FILE: Final = "givebutter-import"
"""How the names of import files begin."""
TIME: Final = "%Y-%m-%dT%H%M%SZ"
"""When a file was written, as it stands in its name."""
_NAME: Final = re.compile(
    r"-(?P<written>[0-9-]{10}T[0-9]{6}Z)(?:-part(?P<part>[0-9]+)of[0-9]+(?=\.csv))?\.(?:csv|json)"
)


def import_files(folder: Path, kind: str = IMPORT_FILE) -> dict[str, list[Path]]:
    """The import files (or others of that kind) of a folder, with the `.json` that tells about them.

    Returns:
        The files of each export by the time in their names, the oldest export first; in one the parts in order.
    """
    found = sorted((*named, path) for path in folder.glob(f"{kind}-*") if (named := _named(path, kind)))
    exports: dict[str, list[Path]] = {}
    for written, _, path in found:
        exports.setdefault(written, []).append(path)
    return exports


def newest_import_file(folder: Path) -> Path | None:
    """The newest import file; where it is in parts, the first."""
    exports = reversed(import_files(folder).values())
    return next((path for files in exports for path in files if path.suffix == ".csv"), None)


def _named(path: Path, kind: str) -> tuple[str, int] | None:
    """The time in the name and the number of the part; None for what is no file of ours."""
    name = _NAME.fullmatch(path.name, len(kind))
    try:
        if name is None or not stat.S_ISREG(path.lstat().st_mode):
            return None
        datetime.strptime(name["written"], TIME).replace(tzinfo=UTC)
    except (OSError, ValueError):  # gone meanwhile; no time that there is
        return None
    return name["written"], int(name["part"] or 0)
