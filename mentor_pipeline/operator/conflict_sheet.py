"""Deciding conflicts in a spreadsheet: a CSV with a row a conflict goes out, and comes back with decisions in it.

Only the columns `conflict_id`, `decision`, `custom_value` and `note` are read back, and `mn_id`, by which rows are
noticed whose cells were mixed up; the others are there to decide by, and may be changed or deleted. What becomes of the
decisions is judged in `decisions`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.import_cells import unharmed
from mentor_pipeline.domain.normalise import clean_text
from mentor_pipeline.domain.strict_csv import read_sheet, refusal
from mentor_pipeline.errors import FileRejectedError
from mentor_pipeline.operator.decisions import Decision
from mentor_pipeline.operator.new_csv import write_new_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_READ_BACK: Final = ("conflict_id", "decision", "custom_value", "note")
_WHOSE: Final = ("mn_id", "mentor")
COLUMNS: Final = (
    *("conflict_id", "conflict_type", "severity", "mn_id", "mentor", "option_a", "option_b", "recommended", "reason"),
    *_READ_BACK[1:],
)
_SAVE_AGAIN: Final = (
    "Nothing was decided. Save it from the spreadsheet as CSV in UTF-8 with commas, and import it again."
)
SHOWN: Final = 20
"""Conflicts that are shown in the catalog."""
_MARKUP: Final = re.compile(r"[\\`*_{}\[\]<>()#|!~&$]")
_CONTACT_PARTS: Final = {
    "emails": "",
    "phones": "",
    "external_id": "External ID ",
    "tags": "tags ",
    "last_modified_at": "modified ",
    "completeness": "% complete ",
    "score": "score ",
    "changed_at": "changed ",
}


def write_sheet(path: Path, conflicts: Iterable[Mapping[str, Any]]) -> int:
    """Write the conflicts, as `reports.conflicts` gives them, to a file that is not there yet.

    Returns:
        How many.

    Raises:
        ExportRefusedError: there is such a file (it may hold decisions), or it cannot be written.
    """
    rows = [
        {
            "conflict_id": row["id"],
            "conflict_type": row["conflict_type"],
            "severity": row["severity"],
            "mn_id": row["mn_id"],
            "mentor": row["full_name"],
            "option_a": in_one_line(row["option_a"]),
            "option_b": in_one_line(row["option_b"]),
            "recommended": row["recommended_option"],
            "reason": row["recommendation_reason"],
        }
        for row in conflicts
    ]
    return write_new_csv(path, pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String())))


def in_one_line(option: Mapping[str, Any]) -> str:
    """An option of a conflict with what tells it from the other."""
    about = [str(option[part]) for part in ("what", "value", "name") if option.get(part) is not None]
    for part, label in _CONTACT_PARTS.items():
        value = option.get(part)
        if value not in (None, "", []):
            about.append(label + (", ".join(map(str, value)) if isinstance(value, list) else str(value)[:19]))
    return "; ".join(about)


def side_by_side(conflicts: pl.DataFrame) -> str:
    """The first conflicts as a Markdown table, the options beside each other, for the catalog.

    Args:
        conflicts: rows of sync_conflicts or detected_conflicts, with `full_name`.
    """
    lines = ["| id | mentor | about | a | b | recommended | why |", "|---|---|---|---|---|---|---|"]
    for row in conflicts.head(SHOWN).iter_rows(named=True):
        options = (in_one_line(orjson.loads(row[name])) for name in ("option_a", "option_b"))
        cells = (
            row["id"], f"{row['mn_id']} {row['full_name'] or ''}", row["conflict_type"], *options,
            row["recommended_option"], row["recommendation_reason"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(_harmless_in_markdown, cells))} |")
    if conflicts.height > SHOWN:
        lines += ["", f"The first {SHOWN} of {conflicts.height}; all are in `sync_conflicts`."]
    return "\n".join(lines)


def _harmless_in_markdown(value: object) -> str:
    """Foreign text that is nothing but text in a Markdown table: no markup, no cell or line of its own."""
    text = " ".join(str(value if value is not None else "").split())
    return _MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def read_decisions(path: Path) -> list[Decision]:
    """The decisions of a sheet that came back; rows without one are left out.

    Raises:
        FileRejectedError: it cannot be read, is no such sheet, or a row has words but no decision.
    """
    try:
        sheet = read_sheet(path.read_bytes(), path.name, _SAVE_AGAIN)
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}. Nothing was decided."
        raise FileRejectedError(msg) from error
    lacking = [name for name in _READ_BACK[:2] if name not in sheet.header]
    if lacking:
        what = f"it has no {_columns(lacking)}: this is no sheet of `conflicts export`"
        raise refusal(path.name, what, "Nothing was decided.")
    columns = {
        name: unharmed(pl.col(str(sheet.header.index(name)))) if name in sheet.header else pl.lit("")
        for name in _READ_BACK
    }
    columns |= {name: pl.col(str(sheet.header.index(name))) for name in _WHOSE if name in sheet.header}
    found = []
    for number, row in enumerate(sheet.cells.select(**columns).iter_rows(named=True)):
        conflict_id, choice, custom, note = (clean_text(row[name]) for name in _READ_BACK)
        if choice is None and custom is None:
            continue
        if conflict_id is None or choice is None:
            lack = "conflict_id" if conflict_id is None else "decision"
            about = " ".join(filter(None, (clean_text(row.get(name, "")) for name in _WHOSE)))
            what = f"row {sheet.numbers[number]}{f' (mentor {about})' if about else ''} has no {lack}"
            raise refusal(path.name, what, "Nothing was decided. Complete the row, or empty it.")
        whose = clean_text(row.get("mn_id", ""))
        found.append(Decision(conflict_id, choice.casefold(), custom, note, sheet.numbers[number], whose))
    return found


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if names[1:] else ''} {' and '.join(names)}"
