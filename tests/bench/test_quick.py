"""The whole bench on tiny sizes: it comes to its end, and everything that it is to tell is told."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.sections import SECTIONS

ROOT = Path(__file__).parents[2]
ROWS = (
    r"read and normalise \d+ x 64",
    r"read and normalise, \d+: memory",
    r"import into an empty warehouse, \d+: memory",
    r"the next day's export, \d+: memory",
    r"import, match, rows out, \d+ x 20, \d+ mentors: memory",
    r"import, match, rows out, \d+ x 20, \d+ mentors: time",
    r"import, match, rows out: exponent of the time, .*",
    r"all of matching, \d+ x \d+",
    r"sync, nothing changed: .*",
    r"first sync: .*",
    r"first sync, the asset raw_gb_full_contacts alone",
    r"first sync at full speed: .*",
    r"\d+ contacts into DuckDB, Warehouse.upsert",
    r"\d+ contacts into DuckDB, Warehouse.replace",
    r"\d+ contacts into Postgres, Warehouse.upsert",
    r"\d+ contacts into Postgres, Warehouse.replace",
    r"inbox: a tick, \d+ files in done/",
    r"inbox: a tick, \d+ files in the inbox again",
    r"mentor-pipeline status, .*",
    r"code location, imported and built",
)
"""Rows of the goals table; `UI ready` and the demo are left out of the quick run."""
OF_MATCHING = ("a bare hash join on the same keys", "Splink's link_only", "the nested loop, reckoned from a part")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m bench --quick` wrote."""
    to = tmp_path_factory.mktemp("bench")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench", "--quick", "--to", str(to)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return to


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "latest.json").read_bytes())
    return document


def test_every_row_of_the_goals_table_is_there_with_finite_numbers(told: dict[str, Any]) -> None:
    rows = told["goals"]
    for pattern in ROWS:
        assert [row for row in rows if re.fullmatch(pattern, row["work"])], pattern
    assert {row["of"] for row in rows if row["work"].startswith("all of matching")} == {*OF_MATCHING}
    for row in rows:
        numbers = [row["ours"], row["baseline"], *(row[name] for name in ("ratio", "used") if row[name] is not None)]
        assert all(isinstance(number, int | float) and math.isfinite(number) for number in numbers), row
        assert (row["is_met"] is None) == (not row["goal"]), row
        assert (row["ratio"] is not None) == (row["unit"] != ""), row


def test_every_section_tells_its_figures(told: dict[str, Any]) -> None:
    assert list(told["sections"]) == list(SECTIONS)
    for name, section in told["sections"].items():
        assert name == "demo" or section["figures"], name
        for figure in section["figures"]:
            assert math.isfinite(figure["seconds"]), figure
            assert figure["peak_mb"] > 0, figure
            assert figure["runs"], figure


def test_the_machine_is_named(told: dict[str, Any]) -> None:
    assert {"system", "processor", "cores", "memory_gb", "versions"} <= told["machine"].keys()
    assert {"python", "polars", "duckdb", "dagster", "splink"} == told["machine"]["versions"].keys()


def test_the_page_shows_every_row_and_every_chart(folder: Path, told: dict[str, Any]) -> None:
    page = (folder / "latest.md").read_text(encoding="utf-8")
    for row in told["goals"]:
        assert f"| {row['work']} |" in page
    images = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert images == ["goals.svg", "growth.svg", "incremental.svg"]
    for image in images:
        drawn = ET.parse(folder / image).getroot()  # noqa: S314 - we wrote it
        assert drawn.tag.endswith("svg")
        assert not [one for one in drawn.iter() if any(name.endswith("href") for name in one.attrib)], "from elsewhere"
