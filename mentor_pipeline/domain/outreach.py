"""Campaigns: which mentors get which message (R11).

A campaign is a template file: a filter over mentors and texts with `{preferred_name}`-like fields. Here it is
validated, filled in for each mentor, and checked against the limits of the channels; who gets nothing is listed with
the reason. Messages end up in the import file's message columns or in the CSV of the texting platform; nothing is
sent from here.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from decimal import Decimal
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mentor_pipeline.domain.changes import readable
from mentor_pipeline.domain.findings import Computed, Problem, problem_rows
from mentor_pipeline.errors import ConfigError
from mentor_pipeline.settings import faults
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FIELDS: Final = tuple(column for column in TABLES["mentors"].columns if column.name != "year")
"""Columns of mentors that a text may name in braces."""

_GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
_NAMED_IN_A_MESSAGE: Final = 10


class _Channel(NamedTuple):
    """One way to reach a mentor: column of the message, its limit, and what a mentor needs for it."""

    column: Literal["message_text", "message_email"]
    name: str
    limit: int
    addresses: tuple[str, ...]
    subscribed: str


_CHANNELS: Final = (
    _Channel("message_text", "text message", 255, ("phone",), "sms_subscribed"),
    _Channel("message_email", "e-mail", 2000, ("personal_email", "uga_email"), "email_subscribed"),
)


def _template(text: str) -> str:
    """A text whose fields all exist and are plain names."""
    known = {column.name for column in FIELDS}
    for _, field, spec, conversion in Formatter().parse(text):
        if field is not None and field not in known:
            msg = f"no such field {{{field}}}; a text may name {', '.join(sorted(known))} (write {{{{ for a brace)"
            raise ValueError(msg)
        if spec or conversion:
            msg = f"field {{{field}}} takes no format behind it: write just {{{field}}}"
            raise ValueError(msg)
    return text


Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Audience(_Part):
    """Which mentors a campaign is for: all that is given must hold; of a list, one is enough."""

    status: list[Literal["dropped", "complete", "needs_fundraising", "needs_page", "needs_setup"]] = []
    statuses: list[str] = []
    shift: list[str] = []
    training: Literal["not_signed_up", "signed_up", "attended", "not_attended"] | None = None
    amount_at_least: Decimal | None = None
    amount_below: Decimal | None = None
    tags: list[str] = []

    def expression(self) -> pl.Expr:
        """True for the mentors meant; null counts as no."""
        raised = pl.col("amount_raised").fill_null(Decimal(0))
        signed_up, attended = (pl.col(name).fill_null(False) for name in ("training_signup_done", "training_done"))
        by_training = {
            "signed_up": signed_up,
            "not_signed_up": ~signed_up & ~attended,
            "attended": attended,
            "not_attended": ~attended,
        }
        wanted = [pl.lit(True)]
        if self.status:
            wanted.append(pl.col("status_category").is_in(self.status))
        if self.shift:
            wanted.append(pl.col("shift_preference").is_in(self.shift))
        for column, tags in (("statuses", self.statuses), ("tags", self.tags)):
            if tags:
                wanted.append(pl.any_horizontal(pl.col(column).list.contains(tag) for tag in tags))
        if self.training is not None:
            wanted.append(by_training[self.training])
        if self.amount_at_least is not None:
            wanted.append(raised >= self.amount_at_least)
        if self.amount_below is not None:
            wanted.append(raised < self.amount_below)
        return pl.all_horizontal(wanted).fill_null(False)


class Campaign(_Part):
    """One campaign file; one that is not `active` can be looked at, but nobody gets its messages."""

    name: Annotated[str, Field(min_length=1)]
    active: bool = True
    filter: Audience = Audience()
    text: Template | None = None
    email: Template | None = None
    include_dropped: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Campaign:
        if self.text is None and self.email is None:
            msg = "a campaign needs 'text', 'email', or both"
            raise ValueError(msg)
        return self

    @property
    def names_dropped(self) -> bool:
        """True when dropped mentors are meant too."""
        return self.include_dropped or "dropped" in self.filter.status


def parse_campaign(name: str, values: Mapping[str, Any]) -> Campaign:
    """Validate a campaign file's content.

    Args:
        name: what it is called when it does not say so itself (the file's name).
        values: the TOML document.

    Raises:
        ConfigError: every fault: an unknown key or field (with those that exist), a wrong value, no text.
    """
    try:
        return Campaign.model_validate({"name": name, **values})
    except ValidationError as error:
        raise ConfigError(faults(f"Campaign {name} has faults", error)) from error


def load_campaigns(folder: Path) -> list[Campaign]:
    """All campaigns of a folder, by file name; none where there is no folder.

    Raises:
        ConfigError: a file that is no TOML or has faults, or two campaigns of one name.
    """
    campaigns = []
    for path in sorted(folder.glob("*.toml")):
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            msg = f"Campaign file {path} cannot be read: {error}. No message was made."
            raise ConfigError(msg) from error
        campaigns.append(parse_campaign(path.stem, values))
    twice = [name for name, count in Counter(campaign.name for campaign in campaigns).items() if count > 1]
    if twice:
        msg = f"Campaigns in {folder} share a name: {', '.join(twice)}. Give each its own. No message was made."
        raise ConfigError(msg)
    return campaigns


def outreach_messages(campaigns: Sequence[Campaign], mentors: pl.DataFrame, contacts: pl.DataFrame) -> Computed:
    """Every active campaign's messages, and who gets none and why.

    A mentor gets no message who has dropped (unless the campaign names the dropped), has withdrawn, cannot be reached
    on the channel, is unsubscribed from it, lacks the value of a field, or whose text would be over the limit
    (255 characters for a text message, 2,000 for an e-mail).

    Args:
        campaigns: with names of their own; those that are switched off have no messages.
        mentors: rows of mentors of one year.
        contacts: contact_id, email_subscribed, sms_subscribed of at least the mentors' contacts (null: unknown).

    Returns:
        Rows of outreach_messages: one for each mentor whom a campaign's filter means. Problems, one for each campaign,
        channel and kind: unsubscribed (info), message_field_empty and message_too_long (warnings).
    """
    table = TABLES["outreach_messages"]
    active = [campaign for campaign in campaigns if campaign.active]
    judged = [judged_messages(campaign, mentors, contacts) for campaign in active]
    rows = pl.concat([table.conform(frame.select(table.column_names)) for frame in (table.empty(), *judged)])
    problems = [
        (year, problem)
        for campaign, frame in zip(active, judged, strict=True)
        for (year,), of_year in frame.partition_by("year", as_dict=True, maintain_order=True).items()
        for problem in _problems(campaign, of_year)
    ]
    return Computed(
        rows=rows.sort("year", "campaign", "mn_id"),
        problems=pl.concat([problem_rows(0, []), *(problem_rows(year, [problem]) for year, problem in problems)]),
    )


def judged_messages(campaign: Campaign, mentors: pl.DataFrame, contacts: pl.DataFrame) -> pl.DataFrame:
    """The mentors whom a campaign means, with their messages and what stands in the way of each.

    Args:
        campaign: also one that is not active.
        mentors: rows of mentors of one year.
        contacts: as `outreach_messages` takes them.

    Returns:
        The mentors' columns; campaign, message_text, message_email, sms_segments, left_out as in outreach_messages; and
        for each channel `<column>_kind` and `<column>_reason` (why there is no message; null where there is one),
        `<column>_lacks` (fields of the text that are empty) and `<column>_length` (characters; null where one is).
    """
    subscribed = contacts.select("contact_id", "sms_subscribed", "email_subscribed").unique("contact_id")
    meant = (
        mentors.filter(campaign.filter.expression())
        .join(subscribed, left_on="gb_contact_id", right_on="contact_id", how="left")
        .with_columns(campaign=pl.lit(campaign.name))
    )
    dropped = pl.col("dropped").fill_null(False) & pl.lit(not campaign.names_dropped)
    for channel, template in zip(_CHANNELS, (campaign.text, campaign.email), strict=True):
        if template is None:
            meant = meant.with_columns(
                pl.lit(None, dtype=pl.String).alias(name)
                for name in (channel.column, f"{channel.column}_kind", f"{channel.column}_reason")
            ).with_columns(
                pl.lit([], dtype=pl.List(pl.String)).alias(f"{channel.column}_lacks"),
                pl.lit(None, dtype=pl.UInt32).alias(f"{channel.column}_length"),
            )
            continue
        body = _filled_in(template)
        hindrances = {
            ("dropped", "has dropped"): dropped,
            ("withdrawn", "has withdrawn the sign-up"): pl.col("withdrawn").fill_null(False),
            ("unreachable", f"no address for a {channel.name}"): pl.all_horizontal(pl.col(channel.addresses).is_null()),
            ("unsubscribed", f"unsubscribed from {channel.name}s"): pl.col(channel.subscribed).eq_missing(False),
            ("message_field_empty", f"a field of the {channel.name} is empty"): body.is_null(),
            ("message_too_long", f"the {channel.name} is over {channel.limit} characters"): body.str.len_chars()
            > channel.limit,
        }
        kinds, reasons = (
            pl.coalesce(pl.when(holds).then(pl.lit(words[part])) for words, holds in hindrances.items())
            for part in (0, 1)
        )
        meant = meant.with_columns(
            kinds.alias(f"{channel.column}_kind"),
            reasons.alias(f"{channel.column}_reason"),
            _empty_fields(template).alias(f"{channel.column}_lacks"),
            body.str.len_chars().alias(f"{channel.column}_length"),
        ).with_columns(pl.when(pl.col(f"{channel.column}_kind").is_null()).then(body).alias(channel.column))
    messages = [channel.column for channel in _CHANNELS]
    texts = (
        pl.concat_list(f"{message}_reason" for message in messages).list.drop_nulls().list.unique(maintain_order=True)
    )
    return meant.with_columns(
        left_out=pl.when(pl.all_horizontal(pl.col(messages).is_null())).then(texts.list.join("; ")),
        sms_segments=pl.col("message_text").map_elements(sms_segments, return_dtype=pl.Int32),
    )


def _filled_in(template: str) -> pl.Expr:
    """The text with every field's value; null where a mentor lacks one."""
    types = {column.name: column.type for column in FIELDS}
    parts: list[pl.Expr] = []
    for literal, field, _, _ in Formatter().parse(template):
        parts.append(pl.lit(literal))
        if field is not None:
            value = readable(field, types[field])
            parts.append(pl.when(value != "").then(value))
    return pl.concat_str(parts)


def _empty_fields(template: str) -> pl.Expr:
    """Fields of the text that a mentor has no value for."""
    types = {column.name: column.type for column in FIELDS}
    named = dict.fromkeys(field for _, field, _, _ in Formatter().parse(template) if field is not None)
    empty = [pl.when(readable(name, types[name]).fill_null("") == "").then(pl.lit(name)) for name in named]
    nothing = pl.lit(None, dtype=pl.String)
    return pl.concat_list(nothing, *empty).list.drop_nulls()


def _problems(campaign: Campaign, judged: pl.DataFrame) -> list[Problem]:
    """What an operator should see before anything is written, in one line for each kind and channel."""
    found = []
    for channel in _CHANNELS:
        kind_of = f"{channel.column}_kind"
        for kind in ("unsubscribed", "message_field_empty", "message_too_long"):
            concerned = judged.filter(pl.col(kind_of) == kind).sort("mn_id")
            if concerned.is_empty():
                continue
            people = [f"{name} ({mn_id})" for name, mn_id in concerned.select("full_name", "mn_id").iter_rows()]
            more = len(people) - _NAMED_IN_A_MESSAGE
            shown = ", ".join(people[:_NAMED_IN_A_MESSAGE]) + (f" and {more} more" if more > 0 else "")
            reason = concerned[f"{channel.column}_reason"][0]
            found.append(
                Problem(
                    kind,
                    f"Campaign {campaign.name}: no {channel.name} for {len(people)} mentors, {reason}: {shown}.",
                    severity="info" if kind == "unsubscribed" else "warning",
                    source_table="outreach_messages",
                    field_name=channel.column,
                    context={"campaign": campaign.name, "mn_ids": concerned["mn_id"].to_list()},
                    key=(campaign.name,),
                )
            )
    return found


def sms_segments(text: str) -> int:
    """How many SMS a text takes.

    GSM 03.38: 160 characters, or 153 in each of several, when all of them are in its alphabet (those of the extension
    table take two places); else UCS-2: 70, or 67 in each of several. A character is never split between two.
    """
    if _GSM_BASIC.union(_GSM_EXTENDED).issuperset(text):
        sizes = [2 if character in _GSM_EXTENDED else 1 for character in text]
        alone, in_several = 160, 153
    else:
        sizes = [len(character.encode("utf-16-le")) // 2 for character in text]
        alone, in_several = 70, 67
    if sum(sizes) <= alone:
        return 1
    segments, used = 1, 0
    for size in sizes:
        if used + size > in_several:
            segments, used = segments + 1, 0
        used += size
    return segments
