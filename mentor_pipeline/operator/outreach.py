"""What a campaign would say to whom, before anything is written: for `mentor-pipeline outreach` (R11).

Everything is computed from the campaign files as they are now and the mentors as they are known; nothing is written,
and nobody is sent anything. What a message says, and who gets none, is decided in `domain.outreach`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mentor_pipeline.domain.import_cells import chosen_messages
from mentor_pipeline.domain.outreach import judged_messages, load_campaigns, outreach_messages
from mentor_pipeline.errors import WrongUseError
from mentor_pipeline.operator.reports import NothingSyncedError
from mentor_pipeline.settings import packaged_config_dir

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.domain.outreach import Campaign
    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import ProgramYear

_CHANNELS: Final = {"message_text": "text message", "message_email": "e-mail"}


@dataclass(frozen=True, slots=True)
class CampaignPreview:
    """What one campaign would do.

    Attributes:
        name: the campaign.
        active: False when it is switched off: nobody gets its messages.
        meant: mentors whom its filter means.
        texts: how many get a text message.
        emails: how many get an e-mail.
        sms: SMS of all text messages together; a long one takes several.
        by_segments: text messages by the number of SMS that each takes.
        rows: who gets what, by mentor id: mn_id, full_name, message_text, sms_segments, message_email.
        odd: texts that are too long or have an empty field: mn_id, full_name, channel, what.
        left_out: who gets nothing, or nothing on one channel, by reason: reason, and mn_ids with names.
    """

    name: str
    active: bool
    meant: int
    texts: int
    emails: int
    sms: int
    by_segments: dict[int, int]
    rows: list[dict[str, Any]]
    odd: list[dict[str, Any]]
    left_out: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class OutreachPreview:
    """All campaigns that were asked for.

    Attributes:
        year: the program year.
        folder: where the campaign files are.
        are_packaged: True when they are the examples that come with the program.
        campaigns: by file name.
        warnings: mentors whom several active campaigns reach on one channel, of which the import file has room for one.
    """

    year: int
    folder: Path
    are_packaged: bool
    campaigns: list[CampaignPreview]
    warnings: list[str]


def preview(warehouse: Warehouse, folder: Path, program: ProgramYear, name: str | None = None) -> OutreachPreview:
    """Who would get what, of one campaign or of all.

    Args:
        warehouse: where mentors and contacts are.
        folder: where the campaign files are.
        program: the year.
        name: only this campaign, also one that is switched off.

    Raises:
        ConfigError: a campaign file has faults, or there is none of that name.
        NothingSyncedError: no mentor is known yet.
    """
    campaigns = load_campaigns(folder)
    wanted = [campaign for campaign in campaigns if name is None or campaign.name == name]
    if name is not None and not wanted:
        there = ", ".join(campaign.name for campaign in campaigns) or "none"
        msg = f"No campaign is called {name!r}. In {folder} there are: {there}."
        raise WrongUseError(msg)
    with warehouse.reading() as reader:
        mentors = reader.read_or_empty("mentors", year=program.year)
        contacts = reader.read_or_empty(
            "raw_gb_full_contacts", columns=["contact_id", "sms_subscribed", "email_subscribed"]
        )
    if mentors.is_empty():
        msg = f"Nothing has been synced yet for {program.year}. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    _, met = chosen_messages(outreach_messages(campaigns, mentors, contacts).rows)
    return OutreachPreview(
        year=program.year,
        folder=folder,
        are_packaged=folder.parent == packaged_config_dir(),
        campaigns=[_previewed(campaign, judged_messages(campaign, mentors, contacts)) for campaign in wanted],
        warnings=[problem.message for problem in met],
    )


def _previewed(campaign: Campaign, judged: pl.DataFrame) -> CampaignPreview:
    judged = judged.sort("mn_id")
    getting = judged.filter(pl.col("left_out").is_null())
    segments = getting.drop_nulls("sms_segments").group_by("sms_segments").len().sort("sms_segments")
    return CampaignPreview(
        name=campaign.name,
        active=campaign.active,
        meant=judged.height,
        texts=getting["message_text"].count(),
        emails=getting["message_email"].count(),
        sms=int(getting["sms_segments"].sum()),
        by_segments=dict(segments.iter_rows()),
        rows=getting.select("mn_id", "full_name", "message_text", "sms_segments", "message_email").to_dicts(),
        odd=_odd(judged),
        left_out=_left_out(judged),
    )


def _odd(judged: pl.DataFrame) -> list[dict[str, Any]]:
    """Texts that nobody gets as they are: each with what is wrong with it."""
    found = []
    for column, channel in _CHANNELS.items():
        kind = pl.col(f"{column}_kind")
        what = (
            pl.when(kind == "message_field_empty")
            .then(pl.format("empty: {}", pl.col(f"{column}_lacks").list.join(", ")))
            .when(kind == "message_too_long")
            .then(pl.format("{} characters are too many", f"{column}_length"))
        )
        odd = judged.select("mn_id", "full_name", channel=pl.lit(channel), what=what)
        found += odd.drop_nulls("what").to_dicts()
    return found


def _left_out(judged: pl.DataFrame) -> list[dict[str, Any]]:
    """Who gets no message, by reason, the commonest first; of who gets one of two, the other channel's reason."""
    reasons = pl.concat(
        judged.select("mn_id", "full_name", reason=f"{column}_reason").drop_nulls("reason") for column in _CHANNELS
    ).unique(maintain_order=True)
    grouped = reasons.group_by("reason", maintain_order=True).agg(
        count=pl.len(), mentors=pl.struct("mn_id", "full_name")
    )
    return grouped.sort("count", "reason", descending=[True, False]).to_dicts()
