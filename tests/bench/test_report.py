"""What a row of the goals table says, and how growth is told."""

from __future__ import annotations

import pytest

from bench.measuring import Figure, Measured, figure, growth
from bench.report import Goal, at_most, at_most_more, failed, goals_table, told_only, within


def taking(seconds: float) -> Figure:
    return figure("a work", [Measured(seconds, seconds, 100)])


@pytest.mark.parametrize(
    ("goal", "is_met", "used"),
    [
        (at_most(5, "w", taking(10), taking(2), "b"), True, 1),
        (at_most(5, "w", taking(11), taking(2), "b"), False, 1.1),
        (at_most(1 / 1000, "w", 2.0, 1000.0, "b"), False, 2),
        (at_most_more(10, "w", taking(15), taking(5), "b"), True, 1),
        (at_most_more(10, "w", taking(5), taking(15), "b"), True, 0),
        (within(2560, "w", 5120, 100, "MB", "b"), False, 2),
        (told_only("w", taking(2), taking(1), "b"), None, None),
        (failed("w", "b", "at most 5 ×"), False, None),
    ],
)
def test_a_goal_is_met_up_to_its_limit(goal: Goal, is_met: bool | None, used: float | None) -> None:
    assert goal.is_met is is_met
    assert goal.used == (used if used is None else pytest.approx(used))


def test_a_work_that_failed_is_a_row_that_says_so() -> None:
    (*_, line) = goals_table([failed("import, 10,000,000", "polars.scan_csv", "at most 4,096 MB")])
    assert line == "| import, 10,000,000 | failed | polars.scan_csv |  | at most 4,096 MB | **no** |"


def test_ratios_are_ours_over_the_baselines() -> None:
    (*_, line) = goals_table([at_most(1 / 1000, "w", 2.0, 4000.0, "the nested loop")])
    assert line == "| w | 2.00 s | 4,000 s, the nested loop | 1/2,000 | at most 1/1,000 | yes |"


def in_turns(*seconds: float) -> Figure:
    return figure("a work", [Measured(one, one, 100) for one in seconds])


def test_turns_are_compared_one_by_one_for_a_machine_may_slow_down() -> None:
    ours, baseline = in_turns(2, 2, 6, 6), in_turns(1, 1, 1, 3)  # the medians alone would be 4 times
    goal = at_most(2, "w", ours, baseline, "b")
    assert (goal.ours, goal.baseline, goal.ratio, goal.is_met) == (4, 1, 2, True)
    more = at_most_more(1, "w", in_turns(2, 7, 7), in_turns(1, 6, 2), "b")
    assert (more.is_met, more.used) == (True, 1)


def test_works_that_took_no_turns_are_compared_by_their_medians() -> None:
    assert told_only("w", in_turns(4, 6, 8), in_turns(1, 2), "b").ratio == 4


def test_growth_in_proportion_is_one() -> None:
    assert growth([10, 100, 1000], [2, 20, 200]) == pytest.approx(1)
    assert growth([10, 100, 1000], [1, 100, 10_000]) == pytest.approx(2)


def test_medians_of_several_runs() -> None:
    found = figure(
        "w", [Measured(3, 1, 10, {"part": 1}), Measured(1, 2, 30, {"part": 5}), Measured(2, 3, 20, {"part": 2})]
    )
    assert (found.seconds, found.cpu_seconds, found.peak_mb, found.runs) == (2, 2, 20, (3, 1, 2))
    assert found.part("part") == 2
