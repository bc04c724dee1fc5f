"""The import of a very large export: what it needs grows with the file, and stays within the 4 GB of a million rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = 250_000
A_MILLION, LIMIT_MB = 1_000_000, 4096


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quarter_of_a_million_contacts_take_a_quarter_of_the_memory() -> None:
    """Each figure is from a process of its own; that process takes some memory before it reads anything."""
    command = [sys.executable, "-m", "bench.imports", "--json", "--rows", str(ROWS)]
    told = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE)  # noqa: S603
    (size,) = json.loads(told.stdout)["sizes"]
    assert size["rows"] == ROWS
    limit = LIMIT_MB * ROWS // A_MILLION
    peaks = {what: figure["peak_mb"] for what, figure in size["measured"].items() if "import" in what or "day" in what}
    assert len(peaks) == 2
    assert max(peaks.values()) <= limit, peaks
