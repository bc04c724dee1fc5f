"""Measures syncs: one that finds nothing changed, the first one, and those that find more and more contacts changed.

The yardstick of the first two is the bare calls: those that such a sync made (the simulated services keep a log),
made once more by httpx, one after the other, at the same pace and with nothing done with the answers. That pace is the
one that Givebutter allows. Loading libraries counts for neither. How a sync grows with what changed is measured at full
speed, where nothing waits.

    python -m bench --only syncs
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

# What a sync loads on its way, about a second's worth. Loading the code location is measured in `starting`.
import alembic.migration  # noqa: F401
import email_validator  # noqa: F401
import nicknames  # noqa: F401
import orjson
import phonenumbers  # noqa: F401
import pyarrow as pa  # noqa: F401
import pyrate_limiter  # noqa: F401
import splink  # noqa: F401
import stamina  # noqa: F401

import mentor_pipeline.definitions  # noqa: F401
from bench.installation import installation, settings_of, sync, variables
from bench.measuring import Figure, say, side_by_side
from bench.report import Chart, Section, at_most, at_most_more, how, told_only
from bench.services import FULL_SPEED, calling, serve, world

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.measuring import Work

NOTHING, FIRST, AT_FULL_SPEED = "sync, nothing changed", "first sync", "first sync at full speed"
THE_SAME = "the same calls by httpx"
MORE: Final = 10
"""Seconds that a sync may take more than its calls, where nothing changed."""
TIMES: Final = 1.3
"""How many times its calls a first load may take."""
CONTACTS, PAGES = "raw_gb_full_contacts", "givebutter.contacts"
"""The asset that loads the contacts, and the endpoint that it asks."""


class Sizes(NamedTuple):
    """What to measure.

    Attributes:
        mentors: of every world.
        contacts: of the worlds, the largest last.
        changed: contacts changed before a sync.
        calls_per_second: the pace.
        runs: how often the short ones are measured.
        first_runs: how often the first sync is.
    """

    mentors: int
    contacts: tuple[int, ...]
    changed: tuple[int, ...]
    calls_per_second: float
    runs: int
    first_runs: int


FULL: Final = Sizes(1000, (10_000, 49_000), (0, 10, 100, 1000, 10_000), 5.0, 3, 2)
QUICK: Final = Sizes(20, (100,), (), FULL_SPEED, 1, 1)


# -- the works ---------------------------------------------------------------------------------------------------------


def syncing(made: Path, calls_per_second: float, *, is_first: bool = False, changed: int = 0) -> Work:
    """A sync of a copy of that installation, or of an empty data folder; the calls that it made are kept beside it."""
    data = Path(tempfile.mkdtemp(dir=made)) / "data"
    if not is_first:
        shutil.copytree(made / "data", data)
    services = serve(made / "world.gz")
    if changed:
        services.edit(changed)
    settings = settings_of({**services.environment, **variables(data, calls_per_second=calls_per_second)})

    def work() -> Any:
        steps = sync(settings)

        def keep_calls() -> dict[str, float]:
            _calls_file(made, is_first=is_first).write_bytes(orjson.dumps(services.calls()))
            services.stop()
            if is_first and not (made / "data").exists():
                data.rename(made / "data")  # what the later ones begin with
            shutil.rmtree(data.parent)
            return steps

        return keep_calls

    return work


def _calls_file(made: Path, *, is_first: bool) -> Path:
    return made / f"calls-{'first' if is_first else 'later'}.json"


# -- the section -------------------------------------------------------------------------------------------------------


def measure(folder: Path, sizes: Sizes) -> Section:
    """All of it."""
    made = world(folder, sizes.mentors, sizes.contacts[-1])
    of_all = f"{sizes.mentors:,} mentors, {sizes.contacts[-1]:,} contacts"
    pace = f"{THE_SAME}, {sizes.calls_per_second:g} a second"
    say(f"syncs of {of_all}")
    quick, quick_calls = _compared(made, FULL_SPEED, sizes.first_runs, is_first=True)
    first, first_calls = quick, quick_calls
    if sizes.calls_per_second != FULL_SPEED:
        first, first_calls = _compared(made, sizes.calls_per_second, sizes.first_runs, is_first=True)
    later, later_calls = _compared(made, sizes.calls_per_second, sizes.runs)
    incremental, chart = _incremental(folder, sizes)
    return Section(
        "Syncs",
        f"{of_all}; the real job on DuckDB, and the simulated services in a process of their own. {how(__doc__)}",
        figures=[
            *_named((NOTHING, later), (f"{NOTHING}: {THE_SAME}", later_calls)),
            *_named((FIRST, first), (f"{FIRST}: {THE_SAME}", first_calls)),
            *_named((AT_FULL_SPEED, quick), (f"{AT_FULL_SPEED}: {THE_SAME}", quick_calls)),
            *incremental,
        ],
        goals=[
            at_most_more(MORE, f"{NOTHING}: {of_all}", later, later_calls, pace),
            at_most(TIMES, f"{FIRST}: {of_all}", first, first_calls, pace),
            at_most(
                TIMES,
                f"{FIRST}, the asset {CONTACTS} alone",
                first.part(CONTACTS),
                first_calls.part(PAGES),
                f"those of its calls, {sizes.calls_per_second:g} a second",
            ),
            told_only(f"{AT_FULL_SPEED}: {of_all}", quick, quick_calls, f"{THE_SAME}, without a pause"),
        ],
        charts=[chart],
    )


def _compared(made: Path, calls_per_second: float, runs: int, *, is_first: bool = False) -> list[Figure]:
    works = {
        "first sync" if is_first else NOTHING: partial(syncing, made, calls_per_second, is_first=is_first),
        THE_SAME: partial(calling, made / "world.gz", _calls_file(made, is_first=is_first), calls_per_second),
    }
    return list(side_by_side(works, runs).values())


def _incremental(folder: Path, sizes: Sizes) -> tuple[list[Figure], Chart]:
    """Syncs that find so many contacts changed, among so many."""
    figures: list[Figure] = []
    lines: dict[str, list[float | None]] = {}
    for contacts in sizes.contacts:
        made = installation(folder, sizes.mentors, contacts)
        say(f"syncs after changes, {contacts:,} contacts")
        works = {
            f"{changed:,} of {contacts:,} contacts changed": partial(syncing, made, FULL_SPEED, changed=changed)
            for changed in sizes.changed
            if changed <= contacts
        }
        found = list(side_by_side(works, sizes.runs).values())
        figures += found
        lines[f"{contacts:,} contacts"] = [one.seconds for one in found]
    title = "Seconds of a sync, by the contacts changed in Givebutter since the last one"
    points = [f"{changed:,}" for changed in sizes.changed]
    return figures, Chart("incremental", title, "contacts changed", points, {**lines})


def _named(*figures: tuple[str, Figure]) -> Iterable[Figure]:
    return (figure._replace(what=what) for what, figure in figures)
