"""How the plans to archive and release, what came of them, and groups of duplicates look in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from mentor_pipeline.cli.show import counts, duration, grid, identifier, lines, next_step, number, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from mentor_pipeline.operator.archive import ArchiveReport, ContactMove
    from mentor_pipeline.operator.runs import RunOutcome

ROWS_SHOWN: Final = 50
_STATES: Final = {"done": "green", "already": "dim", "failed": "red", "gone": "red", "planned": "dim"}


def archive_plan(archive: Sequence[ContactMove], review: Sequence[ContactMove]) -> list[RenderableType]:
    """What may be archived, what to look at, and how many of each."""
    shown: list[RenderableType] = []
    if archive:
        shown += _moves("May be archived", archive)
    if review:
        shown += _moves("\nTo be looked at first" if archive else "To be looked at first", review)
    shown.append(counts("\nThe plan" if shown else "The plan", {"archive": len(archive), "review": len(review)}))
    if archive:
        shown.append(next_step("see what would be done with `mentor-pipeline archive apply`."))
    return shown


def release_plan(moves: Sequence[ContactMove]) -> list[RenderableType]:
    """Which external ids are to be taken off."""
    if not moves:
        text = "Nothing to release: nobody decided of a contact that it carries a mentor's id wrongly."
        return [Text(text), next_step("`mentor-pipeline conflicts list --type external_id_collision`.")]
    to_do = next_step("see what would be done with `mentor-pipeline release apply`.")
    return [*_moves("External ids to take off", moves), counts("\nThe plan", {"release": len(moves)}), to_do]


def planned(report: ArchiveReport, command: str) -> list[RenderableType]:
    """What would be done, and the command that does it."""
    if not report.moves:
        return [Text(report.summary)]
    can_be_done = not all(move.is_failed for move in report.moves)
    step = f"to do it, `{command}`." if can_be_done else "none of these can be done; the table says why."
    return [
        *_moves("", report.moves),
        Text(f"\n{report.summary}", "bold"),
        Text.assemble(("Next: ", "bold"), step),
    ]


def carried_out(report: ArchiveReport, outcome: RunOutcome) -> list[RenderableType]:
    """What was done."""
    head = f"{outcome.job}: {report.summary} It took {duration(outcome.seconds)}, run {outcome.run_id}."
    to_do = [next_step("`mentor-pipeline rebuild`, so that every table shows it.")] if outcome.success else []
    shown = Text(f"\n{head}", "bold green" if outcome.success else "bold red")
    return [*_moves("", report.moves, is_applied=True), shown, *to_do]


def duplicates(groups: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Groups of contacts, and what to do with each."""
    if not groups:
        return [Text("No contacts share a phone or an e-mail.")]
    rows = [
        (
            lines(group["matched_on"], group["value"]),
            "\n".join(
                f"{contact_id} {plain(name)}".rstrip()
                for contact_id, name in zip(group["contact_ids"], group["names"] or [], strict=False)
            ),
            identifier(group["mn_id"]),
            plain(group["what_to_do"]),
        )
        for group in groups[:ROWS_SHOWN]
    ]
    title = f"{number(len(groups), 'group')} of contacts that share a phone or an e-mail"
    return [grid(title, ["shared", "contacts", "mentor", "what to do"], rows), *_rest(len(groups))]


def _moves(title: str, moves: Sequence[ContactMove], *, is_applied: bool = False) -> list[RenderableType]:
    """Contacts: who, whose, why, and what came of it where that is known."""
    with_state = is_applied or any(move.error for move in moves)
    has_id = any(move.external_id for move in moves)
    columns = ["contact", "mentor", "external id" if has_id else "the mentor's contact", "why"]
    rows: list[list[RenderableType]] = []
    for move in moves[:ROWS_SHOWN]:
        row: list[RenderableType] = [
            lines(identifier(move.contact_id), move.name),
            lines(identifier(move.mn_id), move.mentor_name),
            plain(move.external_id) if has_id else lines(identifier(move.winner_contact_id), move.winner_name),
            plain(move.reason),
        ]
        if with_state:
            state = {"planned": "not done" if is_applied else ""}.get(move.state, move.state)
            row.append(Text(lines(state, move.error), _STATES[move.state]))
        rows.append(row)
    return [grid(title, [*columns, *(["what came of it"] if with_state else [])], rows), *_rest(len(moves))]


def _rest(count: int) -> list[RenderableType]:
    if count <= ROWS_SHOWN:
        return []
    return [Text(f"and {count - ROWS_SHOWN:,} more (--json gives all)", "dim")]
