"""Drawing the charts, as SVG files that need nothing else: no script, no font from elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pygal  # type: ignore[import-untyped]
from pygal.style import CleanStyle  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.report import Chart, Goal

_COMMON: dict[str, Any] = {
    "style": CleanStyle(font_family="sans-serif"),
    "js": (),
    "width": 900,
    "legend_at_bottom": True,
    "pretty_print": True,
    "value_formatter": "{:,g}".format,
}
_MET, _MISSED = "#2a7f62", "#c0392b"


def draw(chart: Chart, file: Path) -> None:
    """Lines over the chart's points."""
    values = [value for line in chart.lines.values() for value in line if value]
    drawn = pygal.Line(
        **_COMMON,
        height=450,
        title=chart.title,
        x_title=chart.of,
        logarithmic=chart.is_log,
        include_x_axis=not chart.is_log,
        y_labels=_powers(min(values, default=1), max(values, default=1)) if chart.is_log else None,
    )
    drawn.x_labels = chart.points
    for name, line in chart.lines.items():
        drawn.add(name, line)
    drawn.render_to_file(file)


def draw_goals(goals: Sequence[Goal], file: Path) -> None:
    """How much of what is allowed each work takes, in per cent: what ends beyond 100 is not met."""
    upwards = goals[::-1]
    per_cent = [100 * (goal.used or 0) for goal in upwards]
    drawn = pygal.HorizontalBar(
        **_COMMON,
        height=120 + 30 * len(goals),
        title="Share of what the goal allows, per cent (above 100: not met)",
        logarithmic=True,
        show_legend=False,
        print_values=True,
        print_values_position="top",
        truncate_label=-1,
        zero=1,
        y_labels=_powers(1, max(per_cent)),
    )
    drawn.x_labels = [f"{goal.work} ({goal.goal})" for goal in upwards]
    drawn.add(
        "",
        [
            {"value": max(share, 1), "color": _MET if goal.is_met else _MISSED, "formatter": _written(share)}
            for goal, share in zip(upwards, per_cent, strict=True)
        ],
    )
    drawn.render_to_file(file)


def _powers(least: float, most: float) -> list[float]:
    """The powers of ten from below the least to above the most."""
    return [10.0**power for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]


def _written(share: float) -> Callable[[float], str]:
    return lambda _: f"{share:,.0f}" if share >= 1 else f"{share:.2f}"
