"""Measures everything side by side with its baselines, in one run on this machine, and writes it down.

    python -m bench [--quick] [--only SECTION ...] [--to DIR]

Writes latest.md, latest.json and the charts into bench/results, anew after every section: a run that is ended half-way
leaves what it measured. With `--quick` everything is tiny and done once, in one process a section, which only shows
that it works. That, and a run of some sections, goes into a temporary folder unless `--to` names one. Ends with 1 when
a section failed; a goal that is missed is told, not punished.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import sections
from bench.charts import draw, draw_goals
from bench.measuring import alone, machine, machine_line, say
from bench.report import Section, as_json, as_markdown, document, goals_table

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS: Final = Path(__file__).parent / "results"


def measure(names: tuple[str, ...], *, is_quick: bool) -> Iterator[tuple[str, Section, bool]]:
    """Each section in a process of its own, so that this one stays small; and whether it failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in names:
            say(f"== {name}")
            try:
                yield name, alone(sections.measure, name, Path(folder), is_quick), False
            except Exception as error:  # noqa: BLE001 - what was measured until then is worth telling
                traceback.print_exc()
                yield name, Section(name, "Failed.", notes=[f"{type(error).__name__}: {error}"]), True


def write(found: dict[str, Section], to: Path, *, seconds: float, is_quick: bool) -> str:
    """The documents and the charts; the goals as text."""
    to.mkdir(parents=True, exist_ok=True)
    goals = [goal for section in found.values() for goal in section.goals]
    images = [(chart.title, f"{chart.name}.svg") for section in found.values() for chart in section.charts]
    for chart in (chart for section in found.values() for chart in section.charts):
        draw(chart, to / f"{chart.name}.svg")
    if any(goal.used is not None for goal in goals):
        draw_goals([goal for goal in goals if goal.used is not None], to / "goals.svg")
        images.insert(0, ("Share of what each goal allows", "goals.svg"))
    told = document(machine(), found, ended_at=time.strftime("%F %T%z"), seconds=round(seconds), is_quick=is_quick)
    (to / "latest.json").write_text(as_json(told), encoding="utf-8")
    heading = "Speed and memory, side by side" + (" (tiny sizes: they say nothing)" if is_quick else "")
    (to / "latest.md").write_text(as_markdown(heading, machine_line(), found, images), encoding="utf-8")
    return "\n".join(goals_table(goals))


def main() -> int:
    """Measure, write, print the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once each: shows that it works")
    parser.add_argument(
        "--only", nargs="+", choices=sections.SECTIONS, metavar="SECTION", help=f"of {', '.join(sections.SECTIONS)}"
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to write")
    asked = parser.parse_args()
    to = asked.to or (Path(tempfile.mkdtemp(prefix="bench-")) if asked.quick or asked.only else RESULTS)
    started = time.monotonic()
    found: dict[str, Section] = {}
    broken, goals = [], ""
    for name, section, is_broken in measure(tuple(asked.only or sections.SECTIONS), is_quick=asked.quick):
        found[name] = section
        broken += [name] if is_broken else []
        goals = write(found, to, seconds=time.monotonic() - started, is_quick=asked.quick)
    print(goals)
    say(f"written into {to}, after {time.monotonic() - started:,.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
