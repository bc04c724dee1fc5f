"""A CSV for people to open in a spreadsheet: harmless, for its owner only, and never over a file that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.import_cells import harmless
from mentor_pipeline.errors import ExportRefusedError

if TYPE_CHECKING:
    from pathlib import Path

_PHONE: Final = r"^\+[0-9]{7,15}$"
_WORKBOOKS: Final = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
"""Names under which a spreadsheet program would not open a CSV."""


def write_new_csv(path: Path, texts: pl.DataFrame) -> int:
    """Write text columns; no spreadsheet runs a cell as a formula, and phones keep their plus (R10).

    Returns:
        How many rows.

    Raises:
        ExportRefusedError: there is such a file, it cannot be written, or has the name of a workbook; nothing was
            changed.
    """
    if path.suffix.lower() in _WORKBOOKS:
        msg = f"{path} would be a CSV under the name of a workbook. Nothing was written. Name it {path.stem}.csv."
        raise ExportRefusedError(msg)
    safe = texts.with_columns(
        pl.when(pl.col(name).str.contains(_PHONE)).then(pl.col(name)).otherwise(harmless(pl.col(name))).alias(name)
        for name in texts.columns
    )
    # The mark tells spreadsheet programs that this is UTF-8.
    content = safe.write_csv(quote_style="always", line_terminator="\r\n", include_bom=True).encode()
    try:
        path.touch(mode=0o600, exist_ok=False)
        try:
            path.write_bytes(content)
        except BaseException:
            path.unlink()
            raise
    except FileExistsError as error:
        msg = f"{path} is there already. It was left as it is. Name another file, or delete it."
        raise ExportRefusedError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}. Nothing was changed. Name another place."
        raise ExportRefusedError(msg) from error
    return texts.height
