"""How changes of our tags look in a terminal: what is put on and taken off whom, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from mentor_pipeline.cli.show import duration, grid, identifier, lines

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mentor_pipeline.operator.runs import RunOutcome
    from mentor_pipeline.operator.tags import TagReport

ROWS_SHOWN: Final = 50
_STATES: Final = {"done": "green", "planned": "dim"}


def planned(report: TagReport, command: str) -> list[RenderableType]:
    """What would be done, and the command that does it or shows it once more."""
    if not report.moves:
        return [Text(report.summary)]
    return [
        *_moves(report),
        Text(f"\n{report.summary}", "bold"),
        Text.assemble(("Next: ", "bold"), f"to do it, `{command}`."),
    ]


def carried_out(report: TagReport, outcome: RunOutcome) -> list[RenderableType]:
    """What was done."""
    head = f"{outcome.job}: {report.summary} It took {duration(outcome.seconds)}, run {outcome.run_id}."
    shown = Text(f"\n{head}", "bold green" if outcome.success else "bold red")
    return [*_moves(report), shown]


def _moves(report: TagReport) -> list[RenderableType]:
    columns = ["contact", "mentor", "put on", "take off", *(["what came of it"] if report.is_applied else [])]
    rows: list[list[RenderableType]] = []
    for move in report.moves[:ROWS_SHOWN]:
        row: list[RenderableType] = [
            identifier(move.contact_id),
            lines(identifier(move.mn_id), move.mentor_name),
            lines(*move.add),
            lines(*move.remove),
        ]
        if report.is_applied:
            state = "not done" if move.state == "planned" else move.state
            row.append(Text(lines(state, move.error), _STATES.get(move.state, "red")))
        rows.append(row)
    rest = len(report.moves) - ROWS_SHOWN
    more = [Text(f"and {rest:,} more (--json gives all)", "dim")] if rest > 0 else []
    return [grid("", columns, rows), *more]
