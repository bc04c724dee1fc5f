"""Checking an installation: is everything there that the jobs will need, before one of them needs it?

Every check is tried, also when an earlier one found a fault, and says what to do. The two services are only asked for
what costs nothing; keys are used and never shown. Nothing is created or changed. What a setting means is in `settings`.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Literal

from mentor_pipeline.domain.outreach import load_campaigns
from mentor_pipeline.domain.submissions import configured_forms, require_questions
from mentor_pipeline.errors import MentorPipelineError
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings, configured_years, load_program_year

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mentor_pipeline.domain.submissions import Form
    from mentor_pipeline.settings import ProgramYear

_ASK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Line:
    """One check: what was looked at, whether it is as it should be, and in words what was found or what to do."""

    checked: str
    result: Literal["ok", "fault"]
    words: str


def check_installation(on_check: Callable[[str], None] = lambda _: None) -> list[Line]:
    """Check settings, year files, folders, warehouse, keys and both services.

    Args:
        on_check: told what is looked at next.
    """
    on_check("environment")
    try:
        settings = Settings.load()
    except MentorPipelineError as error:
        return [Line("environment", "fault", str(error))]
    lines = [Line("environment", "ok", f"data folder {settings.data_dir}, year files in {settings.config_dir}")]
    program, found = _check_years(settings)
    lines += found
    for checked, look in _local_checks(settings):
        lines.append(_line(checked, look))
    lines += _check_services(settings, program, on_check)
    return lines


def _line(checked: str, look: Callable[[], str]) -> Line:
    try:
        return Line(checked, "ok", look())
    except MentorPipelineError as error:
        return Line(checked, "fault", str(error))


def _check_years(settings: Settings) -> tuple[ProgramYear | None, list[Line]]:
    """Every year file, and the year that is used (None when its file has faults)."""

    def described(year: int) -> str:
        file = load_program_year(settings.config_dir / f"{year}.toml")
        return f"event on {file.event_date}, campaign {file.givebutter.campaign}, goal ${file.fundraising_goal}"

    years = configured_years(settings.config_dir)
    lines = [_line(f"year file {year}.toml", partial(described, year)) for year in years]
    try:
        program = settings.program_year()
    except MentorPipelineError as error:
        if settings.year is None and years:
            return None, lines  # the newest file's own line says it
        return None, [*lines, Line("program year", "fault", str(error))]
    why = "set by MENTOR_PIPELINE_YEAR" if settings.year else "the newest that is configured"
    return program, [*lines, Line("program year", "ok", f"{program.year}, {why}")]


def _campaigns(settings: Settings) -> str:
    campaigns = load_campaigns(settings.config_dir / "campaigns")
    return f"{len(campaigns)} found, {sum(campaign.active for campaign in campaigns)} switched on"


def _local_checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "campaign templates", lambda: _campaigns(settings)
    yield "data folder", lambda: _writable(settings.data_dir)
    yield "inbox", lambda: _writable(settings.inbox_dir)
    yield "exports folder", lambda: _writable(settings.exports_dir)
    yield "warehouse", lambda: _openable(settings)


def _writable(folder: Path) -> str:
    """Say that a folder can be written, or made; a folder that is not there yet is no fault."""
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    try:
        with TemporaryFile(dir=existing):
            pass
    except OSError as error:
        msg = (
            f"{existing} cannot be written: {error.strerror}. Change its owner or rights, or set "
            "MENTOR_PIPELINE_DATA_DIR to another folder."
        )
        raise MentorPipelineError(msg) from error
    return f"{folder} is writable" if existing == folder else f"{folder} is not there yet; it will be made"


def _openable(settings: Settings) -> str:
    warehouse = open_warehouse(settings, busy_timeout_s=5.0)
    if not settings.database_url and not settings.warehouse_path.exists():
        return f"{warehouse.location} is not there yet; the first sync makes it"
    mentors = warehouse.counts(["mentors"])["mentors"]
    return f"{warehouse.location} opens; {mentors:,} mentors"


def _check_services(settings: Settings, program: ProgramYear | None, on_check: Callable[[str], None]) -> list[Line]:
    lines: list[Line] = []
    for key, service in ((JOTFORM_KEY, _jotform_lines), (GIVEBUTTER_KEY, _givebutter_lines)):
        value = os.environ.get(key, "").strip()
        if not value:
            lines.append(Line(key, "fault", "not set. Put the key into the environment or into .env."))
            continue
        lines.append(Line(key, "ok", "set"))
        for checked, look in service(value, settings, program):
            on_check(checked)
            lines.append(_line(checked, look))
            if lines[-1].result == "fault" and checked in {"Jotform", "Givebutter"}:
                break  # the further calls would fail in the same way
    return lines


def _jotform_lines(
    key: str, settings: Settings, program: ProgramYear | None
) -> Iterator[tuple[str, Callable[[], str]]]:
    def account() -> str:
        jotform.user()
        left = jotform.limit_left
        return f"{settings.jotform_base_url} takes the key{f'; {left:,} calls left today' if left is not None else ''}"

    def questions(table: str, form: Form) -> str:
        require_questions(table, form, jotform.questions(form.form_id))
        return f"form {form.form_id} has every question that the year file names"

    jotform = JotformResource(api_key=key, base_url=settings.jotform_base_url, timeout_seconds=_ASK_SECONDS)
    with closing(jotform):
        yield "Jotform", account
        for table, form in configured_forms(program.jotform).items() if program else ():
            yield f"form of {table}", partial(questions, table, form)


def _givebutter_lines(
    key: str, settings: Settings, program: ProgramYear | None
) -> Iterator[tuple[str, Callable[[], str]]]:
    def campaign(wanted: str) -> str:
        found = givebutter.campaign(wanted)
        return f"{settings.givebutter_base_url} takes the key; campaign {wanted} is there (id {found.campaign_id})"

    givebutter = GivebutterResource(
        api_key=key,
        base_url=settings.givebutter_base_url,
        requests_per_second=settings.givebutter_requests_per_second,
        timeout_seconds=_ASK_SECONDS,
    )
    with closing(givebutter):
        if program:
            yield "Givebutter", partial(campaign, program.givebutter.campaign)
