"""How a check-in, a mentor's life, a mentor who is forgotten and the mentors of an earlier time look in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mentor_pipeline.cli import show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from mentor_pipeline.operator.check_in import Scan
    from mentor_pipeline.operator.forget import Forgetting
    from mentor_pipeline.operator.life import AsOf, Event, Life

NAMES_SHOWN: Final = 100
MENTORS_SHOWN: Final = 20
_RUN_ID: Final = 8
"""Characters of a run's id that are shown, and enough to name it."""
_SCAN_STYLES: Final = {"accepted": "green", "unchanged": "yellow", "twice": "yellow", "unknown": "bold red"}
_IN_THE_TABLE: Final = ("status_category", "amount_raised", "training_done", "gb_contact_id")


def answer(scan: Scan) -> tuple[str, str]:
    """The line that answers a scan, and its style."""
    who = f"{scan.mn_id} {show.plain(scan.full_name)}" if scan.mn_id else show.plain(scan.typed)
    return f"{who}: {show.plain(scan.words)}", _SCAN_STYLES[scan.state]


def checked_in(scans: Sequence[Scan], counts: dict[str, int], *, undo: bool) -> list[RenderableType]:
    """Who was checked in, and what could not be done."""
    if not scans:
        return [Text("No id was given; nothing was recorded.")]
    shown: list[RenderableType] = []
    for state in ("unknown", "twice", "unchanged"):
        shown += [Text(*answer(scan)) for scan in [one for one in scans if one.state == state][:NAMES_SHOWN]]
        if counts[state] > NAMES_SHOWN:
            shown.append(Text(f"and {counts[state] - NAMES_SHOWN:,} more such (--json gives all)", "dim"))
    accepted = [scan for scan in scans if scan.state == "accepted"]
    if accepted:
        title, columns = ("Check-ins taken back", ["id", "name"]) if undo else ("Checked in", ["id", "name", "at"])
        rows = [(scan.mn_id or "", show.plain(scan.full_name), show.plain(scan.at)) for scan in accepted[:NAMES_SHOWN]]
        shown.append(show.grid(title, columns, [row[: len(columns)] for row in rows]))
    if len(accepted) > NAMES_SHOWN:
        shown.append(Text(f"and {len(accepted) - NAMES_SHOWN:,} more (--json gives all)", "dim"))
    done, before = ("taken back", "were not checked in") if undo else ("checked in", "were checked in before")
    told = f"{counts['accepted']:,} {done}; {counts['unchanged']:,} {before}, {counts['twice']:,} came twice, "
    shown.append(Text(f"{told}{counts['unknown']:,} unknown.", "bold"))
    return shown


def life(found: Life) -> list[RenderableType]:
    """A mentor's life, a line for each event; a time is told once."""
    head = f"{show.plain(found.full_name)}, mentor {found.mn_id} of {found.year}"
    earlier = f", before that {', '.join(found.earlier_ids)}" if found.earlier_ids else ""
    rows, last = [], ""
    for event in found.events:
        when = show.plain(event.at)
        words = show.lines(event.words, f"“{event.note}”" if event.note else None)
        rows.append(("" if when == last else when, Text(words, "bold" if event.is_significant else ""), _who(event)))
        last = when
    shown: list[RenderableType] = [
        Text(f"{head}{earlier}", "bold"),
        Text(f"{show.number(found.versions, 'version')} of the record", "dim"),
    ]
    if found.is_gone:
        shown.append(Text(f"No longer among the mentors of {found.year}.", "yellow"))
    return [*shown, show.grid("", ["seen", "what", "by"], rows)]


def _who(event: Event) -> str:
    run = f"run {event.run_id[:_RUN_ID]}" if event.run_id else ""
    return ", ".join(filter(None, (show.plain(event.by), run)))


def as_of(found: AsOf, file: Path | None) -> list[RenderableType]:
    """The mentors as they were: how many by status, then the first of them, or all of the one asked for."""
    head = Text(
        f"{show.number(found.mentors.height, 'mentor')} of {found.year} at {found.at:%Y-%m-%d %H:%M:%S} UTC", "bold"
    )
    written = [] if file is None else [Text(f"Written to {file}", "green")]
    if found.mn_id is not None:
        one = [
            show.grid("", ["", ""], [(label, _cell(label, value)) for label, value in row.items() if value is not None])
            for row in found.mentors.to_dicts()
        ]
        return [head, *one, *written]
    rows = [
        [row["mn_id"], show.plain(row["full_name"]), *(_cell(name, row[name]) for name in _IN_THE_TABLE)]
        for row in found.mentors.head(MENTORS_SHOWN).to_dicts()
    ]
    labels = [name.removeprefix("gb_").removesuffix("_id").replace("_", " ") for name in _IN_THE_TABLE]
    shown = [head, show.counts("\nBy status", found.by_status), show.grid("", ["id", "name", *labels], rows)]
    if found.mentors.height > MENTORS_SHOWN:
        shown.append(Text(f"and {found.mentors.height - MENTORS_SHOWN:,} more (--out writes all)", "dim"))
    return [*shown, *written]


def _cell(label: str, value: object) -> str:
    return show.identifier(value) if label.endswith("_id") or label == "year" else show.plain(value)


def forgotten(made: Forgetting, remains: Sequence[str], *, is_applied: bool) -> list[RenderableType]:
    """What forgetting a mentor does, or did, and what remains elsewhere."""
    years = ", ".join(map(str, sorted(made.person.ids)))
    will = "was forgotten" if is_applied else "would be forgotten"
    # Once it is done, the name is nobody's business any more.
    name = "" if is_applied else f", {show.plain(made.person.full_name)},"
    rows = [
        (table, show.number(count, "row"), what)
        for what, counts in made.counts.items()
        for table, count in counts.items()
    ]
    shown: list[RenderableType] = [
        Text(f"Mentor {made.person.mn_id}{name} {will} ({years})", "green" if is_applied else "bold"),
        show.grid("", ["table", "rows>", "what"], rows),
        Text("\nWhat remains elsewhere", "bold"),
        *(Text(f"- {show.plain(line)}") for line in remains),
    ]
    if not is_applied:
        step = f"to do it, `mentor-pipeline forget {made.person.mn_id} --yes`. It cannot be undone."
        shown.append(show.next_step(step))
    return shown
