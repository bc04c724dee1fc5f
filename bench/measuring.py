"""How everything here is measured: each piece of work in a process of its own, several times, and the medians.

A piece of work is made ready by one function, which is not measured, and done by the function that this one returns.
Works that stand side by side take turns, and every second turn goes the other way round, so that what the machine does
besides falls on all alike. Memory is what the operating system counts (`ru_maxrss`). What is measured is in the other
modules, how it is told in `report`. This module loads nothing large: the peak memory of a process begins with that of
the one that started it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Work = Callable[[], Any]
    """Done under the clock. A function that it returns is called when the clock has stopped."""
    Ready = Callable[[], Work]
    """Makes a work ready."""

_Result = TypeVar("_Result")

PACKAGES: Final = ("polars", "duckdb", "dagster", "splink")
_IS_SHARED: Final = ContextVar("is_shared", default=False)
_UNITS_A_MB: Final = 1024 * 1024 if sys.platform == "darwin" else 1024


class Measured(NamedTuple):
    """One work, done once.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of the processor, on all cores together.
        peak_mb: the highest memory of its process, what was made ready included.
        told: what the work, or the function that it returned, returned.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: int
    told: Any = None


class Figure(NamedTuple):
    """One work, done several times: the medians.

    Attributes:
        what: the work in words.
        seconds: by the clock.
        cpu_seconds: of the processor; None where it was not measured.
        peak_mb: of memory.
        runs: the seconds of each run.
        told: what was told in each.
    """

    what: str
    seconds: float
    cpu_seconds: float | None
    peak_mb: int
    runs: tuple[float, ...]
    told: tuple[Any, ...] = ()

    def part(self, name: str) -> float:
        """The median seconds of a part, where the work told those of its parts."""
        return float(statistics.median(told[name] for told in self.told))


def share_this_process() -> None:
    """From now on do every work here: quicker, where the figures do not matter."""
    _IS_SHARED.set(True)


def alone(function: Callable[..., _Result], *args: Any) -> _Result:
    """What a function returns, called in a process of its own."""
    if _IS_SHARED.get():
        return function(*args)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def measured(ready: Ready, *, of_children: bool = False) -> Measured:
    """Do a work once, here.

    Args:
        ready: makes it ready.
        of_children: the work is done by commands that it starts: theirs are processor and memory.
    """
    who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    work = ready()
    before, started = resource.getrusage(who), time.perf_counter()
    told = work()
    seconds, after = time.perf_counter() - started, resource.getrusage(who)
    if callable(told):
        told, after = told(), resource.getrusage(who)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds, cpu_seconds, after.ru_maxrss // _UNITS_A_MB, told)


def side_by_side(works: Mapping[str, Ready], runs: int, *, of_children: bool = False) -> dict[str, Figure]:
    """Measure works in turns, each time in a process of its own."""
    found: dict[str, list[Measured]] = {what: [] for what in works}
    for run in range(runs):
        for what in list(works)[:: 1 if run % 2 == 0 else -1]:
            found[what].append(alone(_measured, works[what], of_children))
            say(f"  {what}, run {run + 1} of {runs}: {found[what][-1].seconds:.2f} s")
    return {what: figure(what, times) for what, times in found.items()}


def figure(what: str, times: Iterable[Measured]) -> Figure:
    """The medians of the same work."""
    times = list(times)
    seconds, cpu_seconds, peak_mb = (statistics.median(one[position] for one in times) for position in range(3))
    runs, told = tuple(one.seconds for one in times), tuple(one.told for one in times)
    return Figure(what, seconds, cpu_seconds, round(peak_mb), runs, told)


def _measured(ready: Ready, of_children: bool) -> Measured:
    return measured(ready, of_children=of_children)


def growth(sizes: Iterable[float], seconds: Iterable[float]) -> float:
    """The exponent by which time grows with size: 1 is in proportion. Least squares on the logarithms of both."""
    xs, ys = [math.log(size) for size in sizes], [math.log(time) for time in seconds]
    return statistics.linear_regression(xs, ys).slope


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


# -- the machine -------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What was measured on: system, processor, cores, memory, and versions."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def machine_line() -> str:
    """The same as one line."""
    found = machine()
    versions = ", ".join(f"{name.capitalize()} {number}" for name, number in found.pop("versions").items())
    return "{system}; {processor}, {cores} cores, {memory_gb} GB".format(**found) + f"; {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
