"""Measures what people wait for: importing the code location, and each step of the demo on a world of full size.

Everything is run as it is run in earnest, in processes of its own; nothing is estimated. The demo's memory includes the
simulated services, which live in the same process. `python -m bench --json` prints one document for machines.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent
IMPORTS = 5
BUILD = "from mentor_pipeline.definitions import build_defs; build_defs().get_repository_def()"


def seconds_of_import() -> list[float]:
    """Importing the code location and building its definitions, each time in a new process."""
    times = []
    for _ in range(IMPORTS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", BUILD], cwd=TOP, check=True)
        times.append(time.perf_counter() - started)
    return times[1:]  # the first one reads files from the disk and may compile them


def demo() -> dict[str, Any]:
    """One demo on 1,000 mentors and 49,000 contacts, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mentor_pipeline", "demo", "--json", "--dir", str(Path(folder) / "demo")]
        done = subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> None:
    imports, report = seconds_of_import(), demo()
    measured = {
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "import_seconds": round(statistics.median(imports), 2),
        "demo_seconds": report["seconds"],
        "steps": [{key: step[key] for key in ("name", "seconds", "peak_mb")} for step in report["demo"]["steps"]],
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps(measured))
        return
    print(measured["machine"])
    print(f"{'code location: import and build (median of 5)':<60} {measured['import_seconds']:>7.2f} s")
    for step in measured["steps"]:
        print(f"{'demo: ' + step['name']:<60} {step['seconds']:>7.2f} s {step['peak_mb']:>6} MB")
    print(f"{'demo: all steps':<60} {measured['demo_seconds']:>7.2f} s")


main()
