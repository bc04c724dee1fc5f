"""Measures the demo, step by step: how long people wait for a first sync, an import, an export and a later sync.

The demo runs once, as `mentor-pipeline demo`: 1,000 mentors, 49,000 contacts, over HTTP at full speed, the simulated
services in a process of their own. The memory of a step is the highest of the demo's process until its end. These
figures have no yardstick; those of a sync are measured beside one under "Syncs".

    python -m bench --only demo
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.measuring import Figure, say
from bench.report import Section, how
from bench.starting import TOP

if TYPE_CHECKING:
    from pathlib import Path


class Sizes(NamedTuple):
    """Of the world; no mentors: it is left out."""

    mentors: int
    contacts: int


FULL: Final = Sizes(1000, 49_000)
QUICK: Final = Sizes(0, 0)
"""Nothing: the demo has tests of its own."""


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    if not sizes.mentors:
        return Section("Demo", how(__doc__), notes=["Left out."])
    say("the demo")
    size = ["--mentors", str(sizes.mentors), "--contacts", str(sizes.contacts)]
    command = [sys.executable, "-m", "mentor_pipeline", "demo", "--json", "--dir", str(folder / "demo"), *size]
    done = subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.PIPE)
    steps = json.loads(done.stdout)["demo"]["steps"]
    return Section("Demo", how(__doc__), [_figure(**step) for step in steps])


def _figure(name: str, seconds: float, peak_mb: int, told: str) -> Figure:
    return Figure(f"{name}: {told}", seconds, None, peak_mb, (seconds,))
