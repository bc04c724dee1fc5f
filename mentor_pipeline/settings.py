"""Settings: the environment (and `.env`), and one TOML file per program year.

Everything that differs between installations is in `Settings`; everything that differs between years is in
`ProgramYear`. Both are validated whole: every fault is named, with file, key and what is expected. Keys of the two
services are not held here: resources take them from the environment through `dg.EnvVar`.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from decimal import Decimal
from functools import cached_property
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
from dotenv import load_dotenv
from dotenv.parser import parse_stream
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

PREFIX: Final = "MENTOR_PIPELINE_"
JOTFORM_KEY: Final = "JOTFORM_API_KEY"
GIVEBUTTER_KEY: Final = "GIVEBUTTER_API_KEY"
ALERT_WEBHOOK: Final = "MENTOR_PIPELINE_ALERT_WEBHOOK"
DATABASE_URL: Final = "MENTOR_PIPELINE_DATABASE_URL"
CELERY_BROKER: Final = "MENTOR_PIPELINE_CELERY_BROKER"
ALERT_SMTP_URL: Final = "MENTOR_PIPELINE_ALERT_SMTP_URL"
CODE_HOST: Final = "MENTOR_PIPELINE_CODE_HOST"
"""Read by Dagster's workspace file in the containers."""
_A_CENTURY: Final = 36_525
"""Days; longer is no retention but a slip, and no date can be reckoned with it."""
MESSAGE_COLUMNS: Final = ("message_text", "message_email")


class Fault(NamedTuple):
    """One fault: the name of what is wrong as it stands in the file, and in words what is expected there."""

    where: str
    words: str


class EnvFile(NamedTuple):
    """What `.env` holds.

    Attributes:
        path: the file.
        names: the names that are set there.
        wrong_lines: numbers, from 1, of lines that are no settings; what they hold may be a key, so nobody shows it.
        text: all the others.
    """

    path: Path
    names: frozenset[str] = frozenset()
    wrong_lines: tuple[int, ...] = ()
    text: str = ""

    @property
    def fault(self) -> str:
        """Which lines are wrong, in words; empty when none is."""
        *others, last = map(str, self.wrong_lines or [""])
        which = f"lines {', '.join(others)} and {last}" if others else f"line {last}"
        return f"{which}: expected NAME=value" if self.wrong_lines else ""


def read_env_file() -> EnvFile:
    """Read `.env` of the working directory, and change nothing; a file that is not there is an empty one.

    Raises:
        ConfigError: it cannot be read.
    """
    path = Path.cwd() / ".env"
    if not path.is_file():
        return EnvFile(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text; save it as UTF-8"
        msg = f"{path} cannot be read: {why}. Nothing was read or changed."
        raise ConfigError(msg) from error
    # A name without "=" is no error to the parser, which says None for its value.
    wrong = [line.original for line in lines if line.error or (line.key is not None and line.value is None)]
    return EnvFile(
        path,
        frozenset(line.key for line in lines if line.key is not None and line.original not in wrong),
        tuple(line.line + _blank_lines_before(line.string) for line in wrong),
        "".join(line.original.string for line in lines if line.original not in wrong),
    )


def _blank_lines_before(text: str) -> int:
    """The parser counts blank lines to the setting that follows them."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def load_environment(*, tolerant: bool = False) -> None:
    """Read `.env` of the working directory into the environment; what is set already stays.

    Args:
        tolerant: take what can be read, and leave out lines that are no settings.

    Raises:
        ConfigError: it cannot be read, or has lines that are no settings.
    """
    found = read_env_file()
    if found.fault and not tolerant:
        msg = f"{found.path}, {found.fault}. Nothing was read or changed."
        raise ConfigError(msg)
    load_dotenv(stream=StringIO(found.text), override=False)


def packaged_config_dir() -> Path:
    """Folder of the year files that ship with the package."""
    return Path(str(files("mentor_pipeline"))) / "config"


def packaged_instance_file() -> Path:
    """The `dagster.yaml` that ships with the package; commands copy it into `Settings.dagster_home`."""
    return Path(str(files("mentor_pipeline"))) / "dagster.yaml"


class Settings(BaseSettings):
    """What this installation is told by its environment (see `.env.example`)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    year: int | None = Field(default=None, description="Program year; the newest configured when unset.")
    config_dir: Path = Field(default_factory=packaged_config_dir, description="Folder of the year files.")
    data_dir: Path = Field(default=Path("data"), description="Warehouse, inbox, exports, Dagster's home.")
    database_url: str | None = Field(default=None, repr=False, description="postgresql:// URL; DuckDB when unset.")
    executor: Literal["in_process", "multiprocess", "celery", "k8s"] = Field(
        default="in_process", description="Where the steps of scheduled runs are executed."
    )
    celery_broker: str | None = Field(
        default=None, repr=False, description="amqp:// URL of the Celery workers' broker."
    )
    alert_webhook: str | None = Field(default=None, repr=False, description="Slack-compatible URL; none when unset.")
    alert_smtp_url: str | None = Field(default=None, repr=False, description="Mail server of the alerts.")
    alert_from: str | None = Field(default=None, description="Sender of the alerts' mails.")
    alert_to: str | None = Field(default=None, description="Who gets them: addresses, with commas between.")
    keep_answers_days: int | None = Field(
        default=None, ge=1, le=_A_CENTURY, description="Days for which the forms' raw answers are kept; for ever unset."
    )
    keep_runs_days: int = Field(
        default=30, ge=1, le=_A_CENTURY, description="Days for which Dagster's records of runs are kept."
    )
    keep_exports_days: int | None = Field(
        default=None,
        ge=1,
        le=_A_CENTURY,
        description="Days for which import files and lists of text messages are kept; for ever when unset.",
    )
    ui_url: str = Field(default="http://127.0.0.1:3000", description="Where Dagster's UI is; alerts link there.")
    schedules_on: bool = Field(
        default=False, description="Schedules and the inbox sensor run until stopped in the UI; `dev` sets this."
    )
    jotform_base_url: str = Field(default="https://api.jotform.com", validation_alias="JOTFORM_BASE_URL")
    givebutter_base_url: str = Field(default="https://api.givebutter.com/v1", validation_alias="GIVEBUTTER_BASE_URL")
    givebutter_requests_per_second: float = Field(default=5.0, gt=0, validation_alias="GIVEBUTTER_REQUESTS_PER_SECOND")

    @classmethod
    def load(cls) -> Settings:
        """Read the environment.

        Raises:
            ConfigError: a variable that cannot be understood, all of them named.
        """
        settings, found = cls.read()
        if found:
            raise ConfigError(_listed("The environment (or .env) has faults", found))
        return settings

    @classmethod
    def read(cls) -> tuple[Settings, list[Fault]]:
        """Read the environment as far as it can be understood.

        Returns:
            The settings, with the default where a variable is wrong; and what is wrong, by the variables' names.
        """
        found: list[Fault] = []
        try:
            settings = cls()
        except ValidationError as error:
            found = [Fault(variable_of(fault.where), fault.words) for fault in faults_of(error)]
            wrong = {str(fault["loc"][0]) for fault in error.errors()}
            fields = {str(field.validation_alias or name): field for name, field in cls.model_fields.items()}
            settings = cls(**{name: fields[name].get_default(call_default_factory=True) for name in wrong})
        found += settings._half_a_mail()
        return settings.model_copy(
            update={"data_dir": settings.data_dir.absolute(), "config_dir": settings.config_dir.absolute()}
        ), found

    def _half_a_mail(self) -> list[Fault]:
        """A mail server without sender or receivers; its address is a secret, so no message shows it."""
        if not self.alert_smtp_url:
            return []
        return mail_faults(self, f", since {ALERT_SMTP_URL} is set")

    @property
    def alert_recipients(self) -> list[str]:
        """Addresses to which alerts are mailed."""
        return [address.strip() for address in (self.alert_to or "").split(",") if address.strip()]

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file."""
        return self.data_dir / "mentors.duckdb"

    @property
    def alerts_path(self) -> Path:
        """Every alert there was, one JSON line each."""
        return self.data_dir / "alerts.log"

    @property
    def inbox_dir(self) -> Path:
        """Where people drop Givebutter's CSV files."""
        return self.data_dir / "inbox"

    @property
    def exports_dir(self) -> Path:
        """Where import files for Givebutter are written."""
        return self.data_dir / "exports"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own storage."""
        return self.data_dir / "dagster_home"

    def program_year(self) -> ProgramYear:
        """The configured year, or the newest there is.

        Raises:
            ConfigError: no such year, or a year file with faults.
        """
        if self.year is not None:
            return load_program_year(self.config_dir / f"{self.year}.toml")
        years = configured_years(self.config_dir)
        if not years:
            msg = f"No year file in {self.config_dir}: expected one like 2025.toml. Nothing was read or changed."
            raise ConfigError(msg)
        return load_program_year(self.config_dir / f"{years[-1]}.toml")


def variable_of(name: str) -> str:
    """The name in the environment of a field of the settings."""
    field = Settings.model_fields.get(name)
    return name if field is None else str(field.validation_alias or f"{PREFIX}{name.upper()}")


def known_variables() -> list[str]:
    """Every name that the pipeline reads in the environment."""
    return [JOTFORM_KEY, GIVEBUTTER_KEY, "DAGSTER_HOME", CODE_HOST, *map(variable_of, Settings.model_fields)]


def mail_faults(settings: Settings, why: str = "") -> list[Fault]:
    """What is no e-mail address among the sender and the receivers of the alerts' mails."""
    from mentor_pipeline.domain.normalise import normalise_email  # noqa: PLC0415 - it takes long to load

    return [
        Fault(variable_of(name), f"expected {expected}{why} ({_shown(getattr(settings, name))})")
        for name, expected, addresses in (
            ("alert_from", "an e-mail address", [settings.alert_from or ""]),
            ("alert_to", "e-mail addresses, with commas between", settings.alert_recipients or [""]),
        )
        if not all(map(normalise_email, addresses))
    ]


def configured_years(config_dir: Path) -> list[int]:
    """Years that have a file in the folder, oldest first."""
    return sorted(int(path.stem) for path in config_dir.glob("*.toml") if re.fullmatch(r"\d{4}", path.stem))


class _Part(BaseModel):
    """Base of the parts of a year file: unknown keys are faults, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


Text = Annotated[str, Field(min_length=1)]


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        msg = f"no such time zone: {name!r}; expected a name like America/New_York"
        raise ValueError(msg)
    return name


class GivebutterYear(_Part):
    """The year's campaign and tags in Givebutter."""

    campaign: Text
    mentor_tag: Annotated[str, Field(min_length=1, max_length=64)]
    dropped_tag: Annotated[str, Field(min_length=1, max_length=64)]
    campaign_tags: Annotated[list[Text], Field(min_length=1)]
    school_domains: Annotated[list[Text], Field(min_length=1)]
    preferred_name_field: Literal["prefix", "preferred_first_name"] = "prefix"
    account_id: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _tags_that_can_be_told_apart(self) -> GivebutterYear:
        if self.mentor_tag.casefold() == self.dropped_tag.casefold():
            msg = f"mentor_tag and dropped_tag are both {self.mentor_tag!r}: every mentor would count as dropped"
            raise ValueError(msg)
        for tag in (self.mentor_tag, self.dropped_tag):
            if "," in tag:
                msg = f"the tag {tag!r} holds a comma: Givebutter would take it for two tags"
                raise ValueError(msg)
        return self


class _Form(_Part):
    form_id: Annotated[str, Field(pattern=r"^[0-9]+$")]


class _Fields(_Part):
    @model_validator(mode="after")
    def _a_question_each(self) -> _Fields:
        by_question: dict[str, list[str]] = {}
        for field, question in self.model_dump(exclude_none=True).items():
            by_question.setdefault(question, []).append(field)
        # A name question holds the prefix as well.
        twice = [fields for fields in by_question.values() if len(fields) > 1 and set(fields) != {"name", "prefix"}]
        if twice:
            msg = "; ".join(f"{' and '.join(fields)} are one and the same question" for fields in twice)
            raise ValueError(msg)
        return self


class SignupFields(_Fields):
    """Question (qid or name) of each sign-up field."""

    mn_id: Text
    name: Text
    phone: Text
    personal_email: Text
    uga_email: Text
    prefix: Text | None = None
    gender: Text | None = None
    shirt_size: Text | None = None
    uga_class: Text | None = None
    shift_preference: Text | None = None


class SetupFields(_Fields):
    """Question of each field of the setup form."""

    phone: Text
    email: Text
    mn_id: Text | None = None
    name: Text | None = None


class TrainingFields(_Fields):
    """Question of each field of the training form."""

    phone: Text
    email: Text
    mn_id: Text | None = None
    name: Text | None = None
    uga_class: Text | None = None
    session: Text | None = None


class PartnerFields(_Fields):
    """Question of each field of the partner form."""

    mn_id: Text
    partner_phone: Text
    name: Text | None = None
    phone: Text | None = None
    email: Text | None = None
    shift_preference: Text | None = None
    partner_notes: Text | None = None


class SignupForm(_Form):
    """The sign-up form."""

    fields: SignupFields


class SetupForm(_Form):
    """The page-setup form."""

    fields: SetupFields


class TrainingForm(_Form):
    """The training form."""

    fields: TrainingFields


class PartnerForm(_Form):
    """The partner form."""

    fields: PartnerFields


class JotformYear(_Part):
    """The year's forms."""

    timezone: Annotated[str, AfterValidator(_time_zone)] = "America/New_York"
    signup: SignupForm
    setup: SetupForm
    training: TrainingForm
    partner: PartnerForm | None = None

    @model_validator(mode="after")
    def _a_form_each(self) -> JotformYear:
        forms = {name: getattr(self, name) for name in ("signup", "setup", "training", "partner")}
        by_id: dict[str, list[str]] = {}
        for name, form in forms.items():
            if form is not None:
                by_id.setdefault(form.form_id, []).append(name)
        twice = [f"{' and '.join(names)} have one form_id, {form_id}" for form_id, names in by_id.items() if names[1:]]
        if twice:
            raise ValueError("; ".join(twice))
        return self


class Matching(_Part):
    """Numbers of the matching rules (R4, R6, R12)."""

    auto_resolve_gap: Annotated[int, Field(ge=0)] = 100
    stale_days: Annotated[int, Field(ge=1)] = 90
    completeness_gap_percent: Annotated[int, Field(ge=0, le=100)] = 20
    generic_identifier_limit: Annotated[int, Field(ge=1)] = 4
    partial_below_percent: Annotated[int, Field(ge=1, le=100)] = 90
    collapse_below_percent: Annotated[int, Field(ge=1, le=100)] = 80


class Export(_Part):
    """How the import file is made (R10)."""

    hold_dropped: bool = False
    contacts_max_age_hours: Annotated[float, Field(gt=0)] = 24
    contacts_refuse_after_days: Annotated[float, Field(gt=0)] = 7


class CustomField(_Part):
    """One custom field of Givebutter: which column fills it, and its kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(alias="from")
    type: Literal["checkbox", "select", "text", "longtext", "date", "number"]
    options: list[Text] = []

    @model_validator(mode="after")
    def _known_source_and_options(self) -> CustomField:
        known = {*TABLES["mentors"].column_names, *TABLES["mn_tasks"].column_names, *MESSAGE_COLUMNS}
        if self.source not in known:
            msg = f"'from' names {self.source!r}, which is no column of mentors or mn_tasks, nor a message column"
            raise ValueError(msg)
        if (self.type == "select") != bool(self.options):
            msg = "'options' belongs to type \"select\", and a select needs at least one"
            raise ValueError(msg)
        if len(set(self.options)) < len(self.options):
            msg = "'options' names one of them twice"
            raise ValueError(msg)
        return self


class ProgramYear(_Part):
    """One year of the event, as its TOML file says."""

    year: Annotated[int, Field(ge=2000, le=2100)]
    event_date: date
    fundraising_goal: Annotated[Decimal, Field(gt=0, decimal_places=2)]
    mn_id_prefix: Annotated[str, Field(max_length=20, pattern=r"^([!-~]*[^0-9\s][!-~]*)?$")] = ""
    givebutter: GivebutterYear
    jotform: JotformYear
    matching: Matching = Matching()
    export: Export = Export()
    custom_fields: dict[Text, CustomField] = {}

    @model_validator(mode="after")
    def _event_in_year(self) -> ProgramYear:
        if self.event_date.year != self.year:
            msg = f"event_date {self.event_date} is not in year {self.year}"
            raise ValueError(msg)
        return self

    @field_validator("custom_fields", mode="before")
    @classmethod
    def _labels_of_their_own(cls, fields: Any) -> Any:
        """Labels name columns of the import file, so each must be one that is not there yet."""
        from mentor_pipeline.domain.import_format import TEMPLATE  # noqa: PLC0415 - it needs the settings' types

        if not isinstance(fields, dict):
            return fields
        told = []
        seen: dict[str, str] = {}
        for label in map(str, fields):
            plain = " ".join(label.split())
            if plain.casefold() in {name.casefold() for name in (*TEMPLATE, "Contact Website", "year", "mn_id")}:
                told.append(f"{label!r} is a column of Givebutter's own template")
            elif label != plain:
                told.append(f"{label!r} has spaces or line breaks that Givebutter's label has not")
            elif plain.casefold() in seen:
                told.append(f"{label!r} is there twice, as {seen[plain.casefold()]!r} too")
            seen[plain.casefold()] = label
        if told:
            raise ValueError("; ".join(told))
        return fields

    @cached_property
    def zone(self) -> ZoneInfo:
        """Time zone of Jotform's wall-clock times, and of the schedules."""
        return ZoneInfo(self.jotform.timezone)

    def as_rows(self) -> pl.DataFrame:
        """Every setting as a row of `sync_configs`: its key in the file, value as JSON, type and meaning."""
        return pl.DataFrame(
            [
                {"year": self.year, "config_key": key, "config_value": value, "config_type": kind, "description": words}
                for key, value, kind, words in _flat(self)
            ],
            schema=TABLES["sync_configs"].schema,
        )

    def custom_field_from(self, source: str) -> str | None:
        """Label of the custom field that is filled from a column, if there is one."""
        return next((label for label, spec in self.custom_fields.items() if spec.source == source), None)


def _flat(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, value as JSON, type and meaning of every setting of a part, and of the parts within."""
    meaning = (type(part).__doc__ or "").partition("\n")[0]
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and any(isinstance(entry, BaseModel) for entry in value.values()):
            for key, entry in value.items():
                text = entry.model_dump_json(by_alias=True)
                yield f"{prefix}{name}.{key}", text, type(entry).__name__, meaning
        else:
            text = part.model_dump_json(include={name})
            yield f"{prefix}{name}", text.partition(":")[2][:-1], type(value).__name__, meaning


def load_program_year(path: Path) -> ProgramYear:
    """Read and validate one year file.

    Raises:
        ConfigError: it is missing, unreadable, no TOML, or has faults, all of them named with key and expectation.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        years = ", ".join(map(str, configured_years(path.parent))) or "none"
        msg = f"There is no year file {path}. Years configured there: {years}. Nothing was read or changed."
        raise ConfigError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Year file {path} cannot be read: {error}. Nothing was read or changed."
        raise ConfigError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"Year file {path} is not valid TOML: {error}. Nothing was read or changed."
        raise ConfigError(msg) from error
    try:
        year = ProgramYear.model_validate(values)
    except ValidationError as error:
        raise ConfigError(faults(f"Year file {path} has faults", error)) from error
    if str(year.year) != path.stem:
        msg = f"Year file {path} says year = {year.year}: expected {path.stem}, as the file is named."
        raise ConfigError(msg)
    return year


def faults(title: str, error: ValidationError) -> str:
    """Every fault of a file or environment in one message, one line each: where, what is expected, what was found."""
    return _listed(title, faults_of(error))


def faults_of(error: ValidationError) -> list[Fault]:
    """Every fault of a file or environment, in words for an operator."""
    return [Fault(".".join(map(str, fault["loc"])) or "file", _in_words(fault)) for fault in error.errors()]


def _listed(title: str, found: Iterable[Fault]) -> str:
    return "\n".join([f"{title}; nothing was read or changed:", *(f"  {where}: {words}" for where, words in found)])


_EXPECTED: Final = (
    ("missing", "missing, a value is required"),
    ("extra_forbidden", "there is no such setting"),
    ("int_", "expected a whole number"),
    (("float_", "decimal_", "finite_number"), "expected a number"),
    ("bool_", "expected true or false"),
    ("date_", "expected a date such as 2025-10-28"),
    (("string_type", "string_sub_type"), "expected text, between quotation marks"),
    (("string_too_short", "too_short"), "it must not be empty"),
    ("string_too_long", "expected {max_length} characters at most"),
    ("greater_than_equal", "expected {ge} or more"),
    ("greater_than", "expected more than {gt:g}"),
    ("less_than_equal", "expected {le} or less"),
    ("literal_error", "expected {expected}"),
    (("list_type", "tuple_type"), "expected a list, between square brackets"),
    (("dict_type", "model_type"), "expected a section of its own"),
)
"""By how Pydantic's name of a fault begins: what an operator is told."""


def _in_words(fault: ErrorDetails) -> str:
    told = next((words for begins, words in _EXPECTED if fault["type"].startswith(begins)), "")
    words = told.format(**fault.get("ctx", {})) if told else fault["msg"].removeprefix("Value error, ")
    return words if fault["type"] == "missing" else f"{words} ({_shown(fault['input'])})"


def _shown(value: object) -> str:
    return "it is not set" if value is None else f"found: {value!r:.80}"
