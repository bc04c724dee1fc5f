"""Commands about our tags on the mentors' contacts: `tags plan` and `tags push` (R6).

Until `--yes` nothing is done but shown, with the reason for every contact and the exact command that does it. With
`--yes` it runs the same job as Dagster's UI. How it is done is in `operator.tags`.
"""

from __future__ import annotations

import typer

from mentor_pipeline.cli import hints, show_tags
from mentor_pipeline.cli.app import By, Json, app, told
from mentor_pipeline.cli.archive import Limit, Only, Planned, Yes, options_given, show_or_do, synced
from mentor_pipeline.cli.terminal import Terminal

_JOB, _STEP = "push_tags", "push_own_tags"

tags_app = typer.Typer(
    no_args_is_help=True, help="Our progress tags on the mentors' contacts: up to date, and only ours."
)
app.add_typer(tags_app, name="tags", rich_help_panel="Tidy up")


@tags_app.command("plan")
@told
def plan_tags(*, as_json: Json = False) -> None:
    """Show which of our tags the mentors' contacts lack, and which they carry though they no longer hold."""
    from mentor_pipeline.operator.tags import planned

    here = synced()
    report = planned(here.warehouse, here.program)
    command = hints.command(*options_given(None, None, "tags push"), "--yes")
    document = {"year": here.program.year, "summary": report.summary, "report": report}
    Terminal(as_json=as_json).result(document, *show_tags.planned(report, command))


@tags_app.command("push")
@told
def push_tags(
    *,
    only: Only = None,
    limit: Limit = None,
    yes: Yes = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Put our tags on the mentors' contacts where they hold, and take them off where not. Shows which, until --yes."""
    from mentor_pipeline.operator.tags import carried_out, planned

    terminal, here = Terminal(as_json=as_json), synced()
    report = planned(here.warehouse, here.program, only or [], limit=limit)
    plan = Planned(report, _JOB, _STEP, only or [], limit, show_tags.planned, carried_out, show_tags.carried_out)
    show_or_do(plan, options_given(only, limit, "tags push"), by, here, terminal, yes=yes)
