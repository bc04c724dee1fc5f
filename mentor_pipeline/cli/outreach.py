"""The command `outreach`: what campaigns would say to whom, before anything is written (R11).

It only reads. A campaign is switched on in its file; its messages then fill columns of the import file and the texting
platform's CSV (`export --messages`). What is shown is made in `operator.outreach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from mentor_pipeline.cli.app import Json, app, told
from mentor_pipeline.cli.show import grid, lines, next_step, number, plain
from mentor_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from mentor_pipeline.operator.outreach import CampaignPreview, OutreachPreview

ROWS_SHOWN: Final = 5
_NAMED: Final = 5


@app.command(rich_help_panel="Look")
@told
def outreach(
    campaign: Annotated[
        str | None, typer.Argument(metavar="[CAMPAIGN]", help="Only this one; all of them else.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show who would get which message of a campaign, how many SMS that takes, and who gets none and why."""
    from mentor_pipeline.cli.installation import installation
    from mentor_pipeline.operator.outreach import preview

    here = installation()
    found = preview(here.warehouse, here.settings.config_dir / "campaigns", here.program, campaign)
    Terminal(as_json=as_json).result(found, *_shown(found))


def _shown(found: OutreachPreview) -> list[RenderableType]:
    if not found.campaigns:
        return [Text(f"There is no campaign in {found.folder}.")]
    shown: list[RenderableType] = []
    for one in found.campaigns:
        shown += _campaign(one)
    shown += [Text(f"Warning: {plain(warning)}", "yellow") for warning in found.warnings]
    off = [one.name for one in found.campaigns if not one.active]
    if off:
        shown.append(next_step(f"to switch on {', '.join(off)}: {_how_to_switch_on(found)}"))
    if any(one.active for one in found.campaigns):
        shown.append(next_step("`mentor-pipeline rebuild`, then `export` or `export --messages`."))
    return shown


def _how_to_switch_on(found: OutreachPreview) -> str:
    """Examples come with the program, and an upgrade brings them back as they were: they are copied first."""
    if not found.are_packaged:
        return f"active = true in its file in {found.folder}."
    return (
        f"copy the folder {found.folder.parent} to one of your own, name that in MENTOR_PIPELINE_CONFIG_DIR, and write "
        "active = true into the campaign's file there."
    )


def _campaign(one: CampaignPreview) -> list[RenderableType]:
    state = ("on", "bold green") if one.active else ("off, nobody gets it", "bold yellow")
    several = "".join(
        f"; {count:,} take {segments} each" for segments, count in one.by_segments.items() if segments > 1
    )
    sms = f" ({one.sms:,} SMS{several})" if one.texts else ""
    shown: list[RenderableType] = [
        Text.assemble((f"\n{plain(one.name)}: ", "bold"), state),
        Text(
            f"{number(one.meant, 'mentor')} meant; {number(one.texts, 'text message')}{sms}, "
            f"{number(one.emails, 'e-mail')}"
        ),
    ]
    if one.rows:
        rows = [
            (lines(row["mn_id"], row["full_name"]), _message(row["message_text"]), _message(row["message_email"]))
            for row in one.rows[:ROWS_SHOWN]
        ]
        shown += [grid("", ["mentor", "text message", "e-mail"], rows), *_rest(len(one.rows))]
    if one.odd:
        odd = [(lines(row["mn_id"], row["full_name"]), row["channel"], plain(row["what"])) for row in one.odd]
        shown += [grid("\nOdd ones, who get none", ["mentor", "", "why"], odd[:ROWS_SHOWN]), *_rest(len(odd))]
    if one.left_out:
        left = [(plain(row["reason"]), plain(row["count"]), _names(row["mentors"])) for row in one.left_out]
        shown.append(grid("\nLeft out", ["why", "mentors>", "who"], left))
    return shown


def _message(text: str | None) -> str:
    """A message with its own lines, each as plain text; blank ones are left out."""
    return "\n".join(plain(line) for line in (text or "").splitlines() if line.strip())


def _names(mentors: Sequence[Mapping[str, str]]) -> str:
    named = ", ".join(f"{plain(one['full_name'])} ({one['mn_id']})" for one in mentors[:_NAMED])
    return named + (f" and {len(mentors) - _NAMED:,} more" if len(mentors) > _NAMED else "")


def _rest(count: int) -> list[RenderableType]:
    return [Text(f"and {count - ROWS_SHOWN:,} more (--json gives all)", "dim")] if count > ROWS_SHOWN else []
