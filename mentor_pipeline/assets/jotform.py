"""The four Jotform forms as raw tables: read whole each time, merged by submission, never shrunk (R12).

A form has at most a few thousand submissions, so a whole read is one to three calls and needs no mark to go on from;
tombstones and edits come with it. What the answers mean is in `domain.submissions`.
"""

from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import LastRead, last_read, source_read, table_asset, told_plainly, utc_now
from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.domain.forgotten import LEDGER, without_forgotten, without_old_answers
from mentor_pipeline.domain.shrink import guard_against_collapse
from mentor_pipeline.domain.submissions import (
    FORM_TABLES,
    configured_forms,
    merge_submissions,
    require_questions,
    submission_rows,
)
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear, Settings
from mentor_pipeline.tables import TABLES

GROUP: Final = "jotform"


class WholeReadConfig(dg.Config):
    """Config of an asset that reads a source whole."""

    allow_shrink: bool = Field(
        default=False, description="The source really has far fewer rows now: store what it lists all the same."
    )


def form_source(form_id: str) -> str:
    """The form's row in `source_reads`."""
    return f"jotform/{form_id}"


def _form_asset(table: str) -> dg.AssetsDefinition:
    @table_asset(table, group=GROUP, kinds={"jotform", "polars"})
    def form(
        context: dg.AssetExecutionContext,
        config: WholeReadConfig,
        jotform: JotformResource,
        warehouse: dg.ResourceParam[Warehouse],
        program: dg.ResourceParam[ProgramYear],
        settings: dg.ResourceParam[Settings],
    ) -> Computed:
        """Read from Jotform, the whole form each time; a submission that vanishes is marked, not removed (R12)."""
        form = configured_forms(program.jotform).get(table)
        now = utc_now()
        if form is None:
            context.log.info("The year file has no such form: nothing was read.")
            return Computed(_with_retention(TABLES[table].empty(), table, warehouse, settings, now))
        source, counted = form_source(form.form_id), jotform.counting()
        with told_plainly():
            require_questions(table, form, jotform.questions(form.form_id))
            submissions = jotform.submissions(
                form.form_id, on_page=lambda rows, _: context.log.info("%d submissions read", rows)
            )
            known = warehouse.read_or_empty(table, year=program.year).filter(form_id=form.form_id)
            guard_against_collapse(
                f"Jotform form {form.form_id} ({table})",
                before=last_read(warehouse, source).full_row_count,
                now_count=len(submissions),
                percent=program.matching.collapse_below_percent,
                allow_shrink=config.allow_shrink,
            )
        listed = without_forgotten(
            submission_rows(table, submissions, form, program.zone), warehouse.read_or_empty(LEDGER), table
        )
        rows = merge_submissions(known, listed, year=program.year, now=now)
        context.add_output_metadata(
            {
                "submissions listed": listed.height,
                "new": listed.join(known, on="submission_id", how="anti").height,
                "deleted": rows.filter(status="DELETED").height,
                "no longer listed": rows.filter(pl.col("missing_since").is_not_null()).height,
                **counted(),
                "calls left today": jotform.limit_left,
            }
        )
        rows = _with_retention(rows, table, warehouse, settings, now)
        return Computed(rows, also={"source_reads": source_read(source, LastRead(now, now, listed.height))})

    return form


def _with_retention(
    rows: pl.DataFrame, table: str, warehouse: Warehouse, settings: Settings, now: datetime
) -> pl.DataFrame:
    """Rows to store, without answers that were kept long enough.

    Where a setting says so, the table's other rows are among them, too: those of earlier years, and of forms that the
    year file no longer has. No sync reads them any more.
    """
    if settings.keep_answers_days is None:
        return rows
    others = warehouse.read_or_empty(table).join(rows, on="submission_id", how="anti")
    return without_old_answers(pl.concat([rows, others]), days=settings.keep_answers_days, now=now)


raw_mn_signups, raw_mn_funds_setup, raw_mn_training_signup, raw_mn_partner_preference = (
    _form_asset(table) for table in FORM_TABLES.values()
)
