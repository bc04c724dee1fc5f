"""Scenario 26: the disk is full while an export is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from mentor_pipeline.operator.export_files import _Place
from tests.acceptance.installation import going_on
from tests.acceptance.mishaps import FULL_DISK
from tests.acceptance.test_every_hour import files_of
from tests.operator.test_export_files import no_file_larger_than

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest

    from tests.acceptance.installation import Installation

FULL_AT: int = 2000
"""Bytes: in the middle of the first file."""


def test_no_half_file_and_the_earlier_one_stays(
    synced: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _Place.write

    def on_a_full_disk(self: _Place, *args: Any) -> Any:
        with no_file_larger_than(FULL_AT):
            return real(self, *args)

    with going_on(synced, tmp_path / "full") as full, going_on(synced, tmp_path / "never") as never:
        full.export(split=40)
        files, notes = files_of(full), full.append_only()["sent_notes"]
        assert all(len(content) > FULL_AT for name, (_, content) in files.items() if name.endswith(".csv"))

        with monkeypatch.context() as patched:
            patched.setattr(_Place, "write", on_a_full_disk)
            refused = full.call("export", "--all")
        assert refused.exit_code == 1
        assert FULL_DISK.is_said_in(refused.output), refused.output
        assert files_of(full) == files
        assert full.append_only()["sent_notes"].equals(notes)
        (row,) = full.table("sync_log").sort("started_at").tail(1).to_dicts()
        assert (row["sync_type"], row["status"]) == ("export", "failed")
        assert "Free space" in row["error_message"]

        made = [there.export(everything=True) for there in (full, never)]
        assert made[0][0].read_bytes() == made[1][0].read_bytes()
        assert full.table("sync_log").filter(pl.col("status") == "running").is_empty()
