"""From raw tables to one record per mentor, its versions, and what changed.

Sign-ups become people, forms and campaign pages join them, contacts are chosen, everything is folded into `mentors`;
`mentor_history` keeps every version and `mn_changes` the differences. The rules are in `domain`; an asset here reads
its inputs and its own memory, and calls one of them.
"""

from typing import Final

import dagster as dg
import polars as pl

from mentor_pipeline.assets.common import columns_of, output_of, table_asset, utc_now
from mentor_pipeline.domain import candidates, history, merge
from mentor_pipeline.domain.changes import changes_to_write
from mentor_pipeline.domain.decisions import link_decisions, resolve_aliases
from mentor_pipeline.domain.export import held_in_givebutter
from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.domain.links import FORMS, MEMBERS, join_forms
from mentor_pipeline.domain.matching import choose_contacts
from mentor_pipeline.domain.mentors import Memory, Sources, build_mentors, partner_wishes, tasks
from mentor_pipeline.domain.partners import match_partners
from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.operator.conflict_sheet import side_by_side
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear

GROUP: Final = "mentors"


@table_asset("signups", group=GROUP)
def signups(
    raw_mn_signups: pl.DataFrame, warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> Computed:
    """The people behind the submissions (R2); who was ever a mentor of the year stays one."""
    with warehouse.reading() as reader:
        placeholders = reader.read_or_empty("placeholder_ids", year=program.year)
        known = reader.read_or_empty("mentor_history", columns=["mn_id"], year=program.year)
    return one_per_person(
        raw_mn_signups,
        placeholders=placeholders,
        known_mn_ids=set(known["mn_id"]),
        program=program,
        now=utc_now(),
    )


@table_asset("form_links", group=GROUP)
def form_links(
    signups: pl.DataFrame,
    raw_mn_funds_setup: pl.DataFrame,
    raw_mn_training_signup: pl.DataFrame,
    raw_mn_partner_preference: pl.DataFrame,
    raw_gb_campaign_members: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> Computed:
    """Whose each submission and campaign page is (R3); what fits nobody, or several, is a warning."""
    before = _current_records(warehouse, program).filter(pl.col("gb_member_id").is_not_null())
    forms = dict(zip(FORMS, (raw_mn_funds_setup, raw_mn_training_signup, raw_mn_partner_preference), strict=True))
    known_members = dict(before.select("gb_member_id", "mn_id").iter_rows())
    return join_forms(signups, forms, raw_gb_campaign_members, known_members, program)


@dg.multi_asset(
    name="choose_contacts",
    outs={
        "contact_matches": output_of("contact_matches", "Chosen by the rules R4.1 to R4.9.", group=GROUP),
        "contact_links": output_of("contact_links", "Chosen by the rules R4.1 to R4.9.", group=GROUP),
    },
    deps=["operator_actions", "raw_gb_full_contacts"],
)
def contact_choice(
    context: dg.AssetExecutionContext,
    signups: pl.DataFrame,
    form_links: pl.DataFrame,
    raw_gb_campaign_members: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> tuple[Computed, pl.DataFrame]:
    """Who of the candidates is each mentor's contact, with a reason for every candidate's fate."""
    whose = form_links.filter(source_table=MEMBERS).select(pl.col("source_id").cast(pl.Int64), "mn_id")
    members = raw_gb_campaign_members.filter(pl.col("missing_since").is_null()).join(
        whose, left_on="member_id", right_on="source_id", how="left"
    )
    with warehouse.reading() as reader:
        actions = reader.read_or_empty("operator_actions", year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
    previous = _current_records(warehouse, program)
    decisions = link_decisions(resolve_aliases(actions, aliases))
    with warehouse.scanning("raw_gb_full_contacts", columns=candidates.CONTACT_COLUMNS) as contacts:
        chosen = choose_contacts(signups, previous, contacts, members, decisions, program, utc_now())
    for column in ("gb_match_status", "gb_match_method"):
        counted = chosen.links.group_by(column).len().sort(column).iter_rows()
        context.add_output_metadata({f"mentors by {column}": {str(k): n for k, n in counted}}, "contact_links")
    roles = chosen.matches.rows.group_by("role").len().sort("role").iter_rows()
    context.add_output_metadata({"candidates by role": dict(roles)}, "contact_matches")
    several = chosen.links.filter(pl.col("candidate_count") > 1)
    decided = several.filter(~pl.col("gb_match_status").is_in(["conflict", "shared"]))
    told = f"{decided.height} of {several.height} mentors with several candidates"
    context.add_output_metadata({"decided without a person": told}, "contact_links")
    if chosen.matches.conflicts is not None and chosen.matches.conflicts.height:
        names = signups.select("mn_id", "full_name")
        shown = side_by_side(chosen.matches.conflicts.join(names, on="mn_id", how="left"))
        context.add_output_metadata({"to decide": dg.MetadataValue.md(shown)}, "contact_matches")
    return chosen.matches, chosen.links


@table_asset(
    "mentors",
    group=GROUP,
    ins={"raw_mn_gb_contacts": columns_of(*merge.CONTACT_COLUMNS)},
    deps=["operator_actions"],
)
def mentors(
    context: dg.AssetExecutionContext,
    signups: pl.DataFrame,
    form_links: pl.DataFrame,
    contact_links: pl.DataFrame,
    raw_mn_funds_setup: pl.DataFrame,
    raw_mn_training_signup: pl.DataFrame,
    raw_mn_partner_preference: pl.DataFrame,
    raw_gb_campaign_members: pl.DataFrame,
    raw_mn_gb_contacts: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> Computed:
    """Everything known of a mentor, merged three ways (R6), with people's edits folded in last."""
    forms = dict(zip(FORMS, (raw_mn_funds_setup, raw_mn_training_signup, raw_mn_partner_preference), strict=True))
    sources = Sources(signups, form_links, forms, raw_gb_campaign_members, contact_links, raw_mn_gb_contacts)
    with warehouse.reading() as reader:
        remembered = ("operator_actions", "merge_base", "mentor_history", "mentor_aliases")
        memory = Memory(*(reader.read_or_empty(table, year=program.year) for table in remembered))
    built = build_mentors(sources, memory, program, utc_now())
    for column in ("status_category", "gb_match_status"):
        counted = built.rows.group_by(column).len().sort(column).iter_rows()
        context.add_output_metadata({f"mentors by {column}": dict(counted)})
    return built


@table_asset("mn_tasks", group=GROUP)
def mn_tasks(mentors: pl.DataFrame) -> pl.DataFrame:
    """Taken from the mentors' records."""
    return tasks(mentors)


@table_asset("partner_matches", group=GROUP)
def partner_matches(
    mentors: pl.DataFrame,
    form_links: pl.DataFrame,
    raw_mn_partner_preference: pl.DataFrame,
    program: dg.ResourceParam[ProgramYear],
) -> Computed:
    """Each wish, matched against the mentors of the year (R7)."""
    wishes = partner_wishes(mentors, form_links, raw_mn_partner_preference)
    return match_partners(wishes, id_prefix=program.mn_id_prefix)


@table_asset("mentor_history", group=GROUP)
def mentor_history(
    context: dg.AssetExecutionContext,
    mentors: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """A new version where a record differs from the current one; unchanged records add nothing."""
    with warehouse.reading() as reader:
        versions = reader.read_or_empty("mentor_history", year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
    return history.next_versions(versions, mentors, run_id=context.run.run_id, now=utc_now(), aliases=aliases)


@table_asset(
    "mn_changes",
    group=GROUP,
    deps=["mentor_history"],
)
def mn_changes(
    context: dg.AssetExecutionContext,
    mentors: pl.DataFrame,
    sync_conflicts: pl.DataFrame,
    raw_mn_gb_contacts: pl.DataFrame,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """Differences of consecutive versions, decided conflicts and archived duplicates, each once (R8)."""
    with warehouse.reading() as reader:
        versions = reader.read_or_empty("mentor_history", year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
        stored = reader.read_or_empty("mn_changes")
        archived = reader.read_or_empty("contact_archive_log")
    written = changes_to_write(
        stored,
        versions,
        sync_conflicts,
        archived,
        held_in_givebutter(mentors, raw_mn_gb_contacts, program),
        aliases,
        program,
        run_id=context.run.run_id,
    )
    new = written.join(stored, on="id", how="anti")
    context.add_output_metadata(
        {
            "new changes": new.height,
            "new changes by type": dict(new.group_by("change_type").len().sort("change_type").iter_rows()),
            "seen in Givebutter": written.filter("synced_to_gb").height,
        }
    )
    return written


def _current_records(warehouse: Warehouse, program: ProgramYear) -> pl.DataFrame:
    """The mentors as last recorded, under the ids they have today."""
    with warehouse.reading() as reader:
        versions = reader.read_or_empty("mentor_history", year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
    return history.current_records(versions, aliases)
