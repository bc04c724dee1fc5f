"""Messages of the year's campaigns. Nothing is sent from here: they fill columns of the import file (R11)."""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.assets.common import columns_of, table_asset, told_plainly
from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.domain.outreach import load_campaigns, outreach_messages
from mentor_pipeline.settings import Settings

GROUP: Final = "outreach"


@table_asset(
    "outreach_messages",
    group=GROUP,
    ins={"raw_gb_full_contacts": columns_of("contact_id", "sms_subscribed", "email_subscribed")},
)
def messages(
    context: dg.AssetExecutionContext,
    mentors: pl.DataFrame,
    raw_gb_full_contacts: pl.DataFrame,
    settings: dg.ResourceParam[Settings],
) -> Computed:
    """Made from the active campaign files beside the year files; who gets none is listed with the reason."""
    with told_plainly():
        campaigns = load_campaigns(settings.config_dir / "campaigns")
    made = outreach_messages(campaigns, mentors, raw_gb_full_contacts)
    per_campaign = made.rows.filter(pl.col("left_out").is_null()).group_by("campaign").len().sort("campaign")
    context.add_output_metadata({"messages by campaign": dict(per_campaign.iter_rows())})
    return made
