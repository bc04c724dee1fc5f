"""Commands that try things out: `demo`, and `dev`, which opens Dagster's UI."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from mentor_pipeline.cli import show
from mentor_pipeline.cli.app import FAILED, Json, app, told
from mentor_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mentor_pipeline.operator.demo import Demo

_PANEL: Final = "Try out"


@app.command(rich_help_panel=_PANEL)
@told
def demo(
    *,
    mentors: Annotated[int, typer.Option(min=1, help="Mentors to make up.")] = 1000,
    contacts: Annotated[int, typer.Option(min=0, help="Givebutter contacts to make up.")] = 49_000,
    seed: Annotated[int, typer.Option(help="Another seed makes another world.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="FOLDER", help="Where; demo/ in the data folder by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play a whole year with made-up people against simulated services, and report. Needs nothing, touches nothing.

    Starts afresh each time, in a folder of its own. `mentor-pipeline dev` then opens what it left in Dagster's UI.
    """
    from mentor_pipeline.operator.demo import demo_folder, run_demo
    from mentor_pipeline.operator.services import WorldSize
    from mentor_pipeline.settings import Settings, load_environment

    load_environment()
    settings = Settings.load()
    terminal = Terminal(as_json=as_json)
    target = folder.absolute() if folder else demo_folder(settings)
    size = WorldSize(seed=seed, mentors=mentors, contacts=contacts)
    report = run_demo(target, settings.program_year(), size=size, shown=terminal.run_shown)
    document = {"ok": not report.faults, "seconds": report.seconds, "demo": report}
    terminal.result(document, *_shown(report))
    for fault in report.faults:
        terminal.say(fault, "bold red")
    if report.faults:
        raise typer.Exit(FAILED)


@app.command(rich_help_panel=_PANEL)
@told
def dev(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on. Dagster's UI has no sign-in: keep it local.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 3000,
    use_demo: Annotated[bool, typer.Option("--demo", help="Open the demo's data though keys are set.")] = False,
) -> None:
    """Open Dagster's UI, schedules and sensors on: on the real data when keys are set, else on the demo's."""
    from mentor_pipeline.operator.development import serve
    from mentor_pipeline.settings import Settings, load_environment

    load_environment()
    settings = Settings.load()
    terminal = Terminal()
    code = serve(settings, settings.program_year(), host=host, port=port, use_demo=use_demo, say=terminal.say)
    raise typer.Exit(code)


def _shown(report: Demo) -> list[RenderableType]:
    """The demo's report."""
    steps = [
        (step.name, show.duration(step.seconds), f"{step.peak_mb:,} MB", show.plain(step.told)) for step in report.steps
    ]
    changed = [
        (sync, show.plain(sum(by_type.values())), show.plain(by_type)) for sync, by_type in report.changes.items()
    ]
    refused = [(show.plain(row["line"]), show.plain(row["name"]), show.plain(row["errors"])) for row in report.refused]
    file = [
        ("rows", show.plain(report.exported)),
        ("refused", show.plain(len(report.refused))),
        ("updated", show.plain(report.updated)),
        ("merged", show.plain(report.merged)),
        ("created", show.plain(report.created)),
        ("of these linked by the next sync", show.plain(report.linked)),
    ]
    parts: list[RenderableType] = [
        show.grid(f"The demo took {show.duration(report.seconds)}", ["", "took>", "peak memory>", ""], steps),
        show.counts("\nMentors by status", report.mentors),
        show.counts("\nTheir contacts, by how they were found", report.links),
        show.counts("\nConflicts to decide", report.conflicts),
        show.counts("\nRows withheld from the import file", report.held),
        show.grid("\nThe import file in Givebutter", ["", ">"], file),
        show.grid("\nChanges", ["", ">", ""], changed),
    ]
    if refused:
        parts.append(show.grid("\nRefused rows", ["line>", "who", "why"], refused))
    files = [path for path in [*report.files, report.data_dir / "mentors.duckdb"] if path.exists()]
    parts += [
        Text(f"\nGroups of duplicate contacts: {report.duplicate_groups:,}"),
        Text("\n".join(["Files:", *(f"  {path}" for path in files)])),
        show.next_step(_look_at(report)),
    ]
    return parts


def _look_at(report: Demo) -> str:
    """How to look at what the demo left, wherever that is."""
    from mentor_pipeline.operator.demo import demo_folder
    from mentor_pipeline.settings import Settings

    if report.data_dir == demo_folder(Settings.load()):
        return (
            "open it in Dagster's UI with `make dev`, or ask for it with `mentor-pipeline --demo status` (after "
            "`source .venv/bin/activate`; --demo works with every command)."
        )
    where = f"MENTOR_PIPELINE_DATA_DIR={report.data_dir} mentor-pipeline"
    return f"open it in Dagster's UI with `{where} dev`, or ask for it with `{where} --demo status`."
