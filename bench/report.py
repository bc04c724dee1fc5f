"""What the benches tell: figures, the rows of the goals table, charts, and the documents in which they stand.

A row compares a figure of ours with a baseline of the same run; the goal is a number that was set before. Ratios are
ours over the baseline's, so that less is better everywhere. Where the two took turns, each turn is compared by itself
and the median told: a machine that is slower for some minutes is so for both. Nothing is measured or drawn here.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from operator import sub, truediv
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measuring import Figure


class Goal(NamedTuple):
    """A row of the goals table.

    Attributes:
        work: what is done, and at which size.
        ours: our figure; None when the work failed.
        baseline: that of the baseline.
        unit: of both.
        of: what the baseline is.
        ratio: ours over the baseline's; None for figures that are no amounts.
        goal: in words; empty where there is none and the row is only told.
        is_met: whether it is reached; None where there is none.
        used: our figure as a share of what is allowed; None where there is no goal.
    """

    work: str
    ours: float | None
    baseline: float | None
    unit: str
    of: str
    ratio: float | None = None
    goal: str = ""
    is_met: bool | None = None
    used: float | None = None


def at_most(times: float, work: str, ours: Figure | float, baseline: Figure | float, of: str) -> Goal:
    """Ours takes at most so many times what the baseline takes."""
    row = told_only(work, ours, baseline, of)
    ratio = _compared(truediv, ours, baseline)
    told = f"at most {times:g} ×" if times >= 1 else f"at most 1/{1 / times:,.0f}"
    return row._replace(goal=told, is_met=ratio <= times, used=ratio / times)


def at_most_more(seconds: float, work: str, ours: Figure, baseline: Figure, of: str) -> Goal:
    """Ours takes at most so many seconds more than the baseline."""
    more = _compared(sub, ours, baseline)
    row = told_only(work, ours, baseline, of)
    return row._replace(goal=f"at most {seconds:g} s more", is_met=more <= seconds, used=max(more, 0) / seconds)


def within(limit: float, work: str, ours: float, baseline: float, unit: str, of: str) -> Goal:
    """Ours stays within a limit of its own; the baseline stands beside it for comparison."""
    ratio = ours / baseline if unit else None
    told = f"at most {limit:,g} {unit}".strip()
    return Goal(work, ours, baseline, unit, of, ratio, told, ours <= limit, ours / limit)


def told_only(work: str, ours: Figure | float, baseline: Figure | float, of: str) -> Goal:
    """A row without a goal."""
    return Goal(work, _seconds(ours), _seconds(baseline), "s", of, _compared(truediv, ours, baseline))


def failed(work: str, of: str, goal: str) -> Goal:
    """The row of a work that did not come to its end."""
    return Goal(work, None, None, "s", of, goal=goal, is_met=False)


def _seconds(figure: Figure | float) -> float:
    return figure if isinstance(figure, float | int) else figure.seconds


def _compared(how: Callable[[float, float], float], ours: Figure | float, baseline: Figure | float) -> float:
    """Turn by turn where both did equally many, in which case they took turns; else one median with the other."""
    if isinstance(ours, float | int) or isinstance(baseline, float | int) or len(ours.runs) != len(baseline.runs):
        return how(_seconds(ours), _seconds(baseline))
    return statistics.median(map(how, ours.runs, baseline.runs))


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over some points.

    Attributes:
        name: of its file.
        title: what it shows.
        of: what the points are.
        points: their labels, left to right.
        lines: a value (or None) for each point, by the line's name.
        is_log: both axes by powers of ten.
    """

    name: str
    title: str
    of: str
    points: Sequence[str]
    lines: dict[str, Sequence[float | None]]
    is_log: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """What one module measured.

    Attributes:
        title: what it is about.
        text: what was done, in a few sentences.
        figures: all that was measured.
        goals: its rows of the goals table.
        charts: its charts.
        notes: what went wrong.
    """

    title: str
    text: str
    figures: Sequence[Figure] = ()
    goals: Sequence[Goal] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = field(default_factory=list)


def how(module_text: str | None) -> str:
    """What a module says of how it measures: the second paragraph of its text, as one line."""
    return " ".join((module_text or "").split("\n\n")[1].split())


# -- documents ---------------------------------------------------------------------------------------------------------


def document(machine: dict[str, Any], sections: dict[str, Section], **further: Any) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "machine": machine,
        **further,
        "goals": [goal._asdict() for section in sections.values() for goal in section.goals],
        "sections": {
            name: {
                "title": section.title,
                "figures": [
                    one._asdict() | {"told": [t for t in one.told if t is not None]} for one in section.figures
                ],
                "charts": [asdict(chart) for chart in section.charts],
                "notes": list(section.notes),
            }
            for name, section in sections.items()
        },
    }


def as_json(told: dict[str, Any]) -> str:
    """The document as text; a number that is none is an error."""
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def as_markdown(heading: str, line: str, sections: dict[str, Section], images: Sequence[tuple[str, str]]) -> str:
    """Everything, to read.

    Args:
        heading: the first line.
        line: of the machine.
        sections: what was measured.
        images: title and file of each chart.
    """
    goals = [goal for section in sections.values() for goal in section.goals]
    lines = [f"# {heading}", "", "Written by `make bench`; how to read it is in docs/performance.md.", "", line, ""]
    lines += ["## Goals", "", *goals_table(goals), ""]
    for title, file in images:
        lines += [f"![{title}]({file})", ""]
    for section in sections.values():
        lines += [f"## {section.title}", "", section.text, ""]
        if section.figures:
            lines += [*_figures_table(section.figures), ""]
        lines += [f"- {note}" for note in section.notes] + ([""] if section.notes else [])
    return "\n".join(lines).rstrip() + "\n"


def goals_table(goals: Sequence[Goal]) -> list[str]:
    """The table, in Markdown."""
    lines = ["| work | ours | baseline in the same run | ratio | goal | met |", "|---|---|---|---|---|---|"]
    for goal in goals:
        met = {True: "yes", False: "**no**", None: ""}[goal.is_met]
        baseline = f"{_shown(goal.baseline, goal.unit)}, {goal.of}" if goal.baseline is not None else goal.of
        ours = "failed" if goal.ours is None else _shown(goal.ours, goal.unit)
        lines.append(
            f"| {goal.work} | {ours} | {baseline} | {_ratio(goal.ratio)} | {goal.goal or 'told only'} | {met} |"
        )
    return lines


def _figures_table(figures: Sequence[Figure]) -> list[str]:
    lines = ["| | seconds (median) | of the processor | each run | highest memory |", "|---|---|---|---|---|"]
    for one in figures:
        runs = ", ".join(f"{seconds:.2f}" for seconds in one.runs)
        processor = "" if one.cpu_seconds is None else f"{one.cpu_seconds:,.2f}"
        lines.append(f"| {one.what} | {one.seconds:,.2f} | {processor} | {runs} | {one.peak_mb:,} MB |")
    return lines


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits: Literal[0, 2, 3] = 0 if unit == "MB" or value >= 1000 else 3 if value < 0.1 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f} ×" if ratio >= 0.1 else f"1/{1 / ratio:,.0f}"
