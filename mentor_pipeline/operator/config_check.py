"""Checking an installation: is everything there that the jobs will need, before one of them needs it?

Every check is tried, also when an earlier one found a fault, and says what to do; each fault is a line of its own, by
the name that stands in `.env`. The two services are only asked for what costs nothing; keys and other secrets are used
and never shown. Nothing is created or changed. What a setting means is in `settings`.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from mentor_pipeline.domain.outreach import load_campaigns
from mentor_pipeline.domain.submissions import configured_forms, require_questions
from mentor_pipeline.errors import ConfigError, MentorPipelineError
from mentor_pipeline.operator.folders import said_of_open
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.http import checked_url
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.resources.mail import MailServer, NotMailedError
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.settings import (
    ALERT_SMTP_URL,
    ALERT_WEBHOOK,
    CELERY_BROKER,
    GIVEBUTTER_KEY,
    JOTFORM_KEY,
    PREFIX,
    EnvFile,
    Fault,
    Settings,
    configured_years,
    faults_of,
    known_variables,
    load_environment,
    load_program_year,
    mail_faults,
    read_env_file,
    variable_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from mentor_pipeline.domain.submissions import Form
    from mentor_pipeline.settings import ProgramYear

_ASK_SECONDS = 15.0
_ADDRESSES: Final = {"JOTFORM_BASE_URL": JOTFORM_KEY, "GIVEBUTTER_BASE_URL": GIVEBUTTER_KEY}
"""Addresses of the services, each with its key."""
_PREFIXES: Final = (PREFIX, "JOTFORM_", "GIVEBUTTER_")
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_(HOST|PORT)|PORT)(_|$)")
"""It sets such names for every service of a cluster."""
_ALIKE: Final = 0.8
"""From there on one name is taken for a slip of another."""


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
    settings, lines = _check_environment()
    wrong = {line.checked for line in lines}
    if not lines:
        lines.append(Line("environment", "ok", f"data folder {settings.data_dir}, year files in {settings.config_dir}"))
    program, found = _check_years(settings)
    lines += found
    for checked, look in _local_checks(settings):
        lines += _lines(checked, look)
    lines += _check_services(settings, program, wrong, on_check)
    return lines


def _check_environment() -> tuple[Settings, list[Line]]:
    """Every fault of `.env` and the environment, and the settings as far as they can be understood."""
    lines, file = [], EnvFile(Path.cwd() / ".env")
    try:
        file = read_env_file()
        load_environment(tolerant=True)
    except ConfigError as error:
        lines.append(Line(".env", "fault", str(error)))
    lines += [
        Line(".env", "fault", f"line {number}: expected NAME=value. Correct the line, or put a # before it.")
        for number in file.wrong_lines
    ]
    settings, found = Settings.read()
    known = {where for where, _ in found}
    found += [fault for fault in _mail_faults(settings) if fault.where not in known]
    found += _address_faults(settings)
    found += _unknown_names(file)
    return settings, lines + [Line(where, "fault", words) for where, words in found]


def _mail_faults(settings: Settings) -> list[Fault]:
    """Addresses of the alerts' mails that are none; what is not set is none of them."""
    return [fault for fault in mail_faults(settings) if os.environ.get(fault.where)]


def _address_faults(settings: Settings) -> list[Fault]:
    """Addresses that are none. Those that hold a secret are not shown."""
    found = []
    for name, address in (
        ("JOTFORM_BASE_URL", settings.jotform_base_url),
        ("GIVEBUTTER_BASE_URL", settings.givebutter_base_url),
        (variable_of("ui_url"), settings.ui_url),
    ):
        try:
            key = os.environ.get(_ADDRESSES.get(name, ""), "").strip()
            checked_url(address, setting=name, secret=key, gets_key=name in _ADDRESSES)
        except ConfigError as error:
            found.append(Fault(name, str(error)))
    hidden = "What stands there is a secret, so it is not shown."
    if settings.alert_webhook and not _is_address(settings.alert_webhook, "https", "http"):
        found.append(Fault(ALERT_WEBHOOK, f"expected an address that begins with https://. {hidden}"))
    if settings.celery_broker and not _is_address(settings.celery_broker, "amqp", "amqps"):
        found.append(Fault(CELERY_BROKER, f"expected amqp://user:password@host:5672//. {hidden}"))
    try:
        if settings.alert_smtp_url:
            MailServer.at(settings.alert_smtp_url)
    except NotMailedError as error:
        found.append(Fault(ALERT_SMTP_URL, f"{error}. {hidden}"))
    return found


def _is_address(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text.strip())
        return parts.scheme in schemes and bool(parts.hostname)
    except ValueError:
        return False


def _unknown_names(file: EnvFile) -> list[Fault]:
    """Names that nobody reads: those of `.env`, and slips in the environment, which may hold names of others, too."""
    known = known_variables()
    found = []
    for name in sorted({*file.names, *os.environ} - {*known}):
        near = _nearest(name, known)
        is_ours = name.startswith(_PREFIXES) and not _OF_KUBERNETES.search(name)
        if near and (is_ours or name in file.names):
            found.append(Fault(name, f"there is no such setting: is it {near}?"))
        elif is_ours and name in file.names:
            found.append(Fault(name, "there is no such setting: .env.example names all there are."))
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    """The known name that is meant, as far as one can tell; what all names begin with makes none alike."""
    if f"{PREFIX}{name}" in known:
        return f"{PREFIX}{name}"
    begin = PREFIX if name.startswith(PREFIX) else ""
    ends = [other.removeprefix(begin) for other in known if other.startswith(begin)]
    return next((f"{begin}{end}" for end in get_close_matches(name.removeprefix(begin), ends, 1, _ALIKE)), "")


def _lines(checked: str, look: Callable[[], str]) -> list[Line]:
    """What a check found: one line, or one for each fault of a file."""
    try:
        return [Line(checked, "ok", look())]
    except MentorPipelineError as error:
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            return [Line(checked, "fault", str(error))]
        file = str(error).partition(" has faults")[0]
        return [Line(checked, "fault", f"{file}, {where}: {words}") for where, words in faults_of(cause)]


def _check_years(settings: Settings) -> tuple[ProgramYear | None, list[Line]]:
    """Every year file, and the year that is used (None when its file has faults)."""

    def described(year: int) -> str:
        file = load_program_year(settings.config_dir / f"{year}.toml")
        return f"event on {file.event_date}, campaign {file.givebutter.campaign}, goal ${file.fundraising_goal}"

    years = configured_years(settings.config_dir)
    lines = [line for year in years for line in _lines(f"year file {year}.toml", partial(described, year))]
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
    yield "data folder", lambda: _writable(settings.data_dir) + said_of_open(settings.data_dir)
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


def _check_services(
    settings: Settings, program: ProgramYear | None, wrong: Collection[str], on_check: Callable[[str], None]
) -> list[Line]:
    """Both keys and services; a service whose address is `wrong` is not asked."""
    lines: list[Line] = []
    services = (("JOTFORM_BASE_URL", _jotform_lines), ("GIVEBUTTER_BASE_URL", _givebutter_lines))
    for address, service in services:
        key = _ADDRESSES[address]
        value = os.environ.get(key, "").strip()
        if not value:
            lines.append(Line(key, "fault", "not set. Put the key into the environment or into .env."))
            continue
        lines.append(Line(key, "ok", "set"))
        if address in wrong:
            continue
        for checked, look in service(value, settings, program):
            on_check(checked)
            lines += _lines(checked, look)
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
