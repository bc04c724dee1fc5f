"""Givebutter as raw tables: campaign members, every contact, and the mentors' own contacts.

Contacts come by four ways (what was updated since the last read, the full list, a CSV export, one by one), and all of
them go through `knowledge.learn`, so older knowledge never overwrites newer. They are merged with what is stored inside
the transaction that writes them: the asset `raw_gb_full_contacts` stores its rows itself.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import LastRead, last_read, source_read, table_asset, told_plainly, utc_now
from mentor_pipeline.assets.jotform import WholeReadConfig
from mentor_pipeline.domain import preflight
from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.domain.forgotten import LEDGER, without_forgotten
from mentor_pipeline.domain.knowledge import Reading, listed_count, mentor_contacts
from mentor_pipeline.domain.shrink import guard_against_collapse
from mentor_pipeline.errors import ConfigError
from mentor_pipeline.operator.contacts import CONTACTS_SOURCE, Learner
from mentor_pipeline.operator.imports import import_csv
from mentor_pipeline.resources.givebutter import ContactState, GivebutterResource
from mentor_pipeline.resources.run_guard import ROW_COUNT, triggered_by
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear, Settings

GROUP: Final = "givebutter"
OVERLAP: Final = timedelta(minutes=10)
"""How far an incremental read reaches back before the last one: clocks differ, and changes show late."""
FULL_LIST_EVERY: Final = timedelta(days=7)
"""Archived contacts never show among the updated ones; a full list finds them (R12)."""
_TABLE: Final = "raw_gb_full_contacts"


class ContactsConfig(dg.Config):
    """Where the contacts come from in this run."""

    source: Literal["api", "full", "csv", "refresh"] = Field(
        default="api",
        description="api: what was updated since the last read (everything once a week); full: everything; csv: one "
        "CSV file; refresh: the mentors' contacts and their duplicates, one by one.",
    )
    file: str | None = Field(default=None, description="The CSV file, for source csv.")
    allow_shrink: bool = Field(
        default=False, description="The source really has far fewer contacts now: the others are gone."
    )


@table_asset("raw_gb_campaign_members", group=GROUP, kinds={"givebutter", "polars"})
def raw_gb_campaign_members(
    context: dg.AssetExecutionContext,
    config: WholeReadConfig,
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> Computed:
    """Read from Givebutter's API, the whole list each time; a member that vanishes is marked, not removed (R12)."""
    now, counted = utc_now(), givebutter.counting()
    with told_plainly():
        campaign = givebutter.campaign(program.givebutter.campaign)
        members = givebutter.members(campaign.campaign_id, on_page=_log_pages(context, "members"))
        known = warehouse.read_or_empty("raw_gb_campaign_members", year=program.year)
        source = f"givebutter/campaigns/{campaign.campaign_id}/members"
        guard_against_collapse(
            f"The member list of Givebutter campaign {program.givebutter.campaign}",
            before=last_read(warehouse, source).full_row_count,
            now_count=len(members),
            percent=program.matching.collapse_below_percent,
            allow_shrink=config.allow_shrink,
        )
    listed = without_forgotten(
        member_rows(members, year=program.year, campaign_id=campaign.campaign_id),
        warehouse.read_or_empty(LEDGER),
        "raw_gb_campaign_members",
    )
    context.add_output_metadata(
        {
            "campaign": f"{campaign.title} ({campaign.code})",
            "members listed": listed.height,
            "new": listed.join(known, on="member_id", how="anti").height,
            "raised in all, USD": float(listed["raised"].sum() or 0),
            **counted(),
        }
    )
    read = source_read(source, LastRead(now, now, listed.height))
    return Computed(merge_members(known, listed, now=now), also={"source_reads": read})


@table_asset(_TABLE, group=GROUP, kinds={"givebutter", "csv", "polars"})
def raw_gb_full_contacts(
    context: dg.AssetExecutionContext,
    config: ContactsConfig,
    givebutter: GivebutterResource,
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Read from Givebutter's API or a CSV export, as the run config says; newest knowledge wins (R12).

    Every hour what was updated, once a week everything; CSV exports as they are dropped into the inbox; the mentors'
    contacts one by one each day, since an archived contact shows in no list.
    """
    with told_plainly():
        match config.source:
            case "csv":
                metadata = _import_file(context, config, warehouse, program, settings)
            case "refresh":
                metadata = _refresh(context, config, givebutter, warehouse, program)
            case _:
                metadata = _list(context, config, givebutter, warehouse, program)
        rows = warehouse.counts([_TABLE])[_TABLE]
    return dg.MaterializeResult(metadata={ROW_COUNT: rows, **metadata})


@table_asset("raw_mn_gb_contacts", group=GROUP, deps=[_TABLE])
def raw_mn_gb_contacts(
    contact_links: pl.DataFrame, warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
) -> pl.DataFrame:
    """Picked from all contacts by the links that matching chose."""
    contacts = warehouse.read_by_id(_TABLE, contact_links["gb_contact_id"].drop_nulls())
    return mentor_contacts(contact_links, contacts, year=program.year)


# -- the ways by which contacts come ----------------------------------------------------------------------------------


def _import_file(
    context: dg.AssetExecutionContext,
    config: ContactsConfig,
    warehouse: Warehouse,
    program: ProgramYear,
    settings: Settings,
) -> dict[str, Any]:
    """One CSV file; `operator.imports` writes contacts, ledger and problems in one transaction of its own."""
    if config.file is None:
        msg = "source csv needs the file: put its path into the run config (file: ...). Nothing was imported."
        raise ConfigError(msg)
    outcome = import_csv(
        Path(config.file),
        warehouse=warehouse,
        program=program,
        now=utc_now(),
        actor=triggered_by(context.run.tags),
        run_id=context.run.run_id,
        allow_shrink=config.allow_shrink,
        inbox=settings.inbox_dir,
    )
    context.log.info("%s", outcome.message)
    return {
        "file": outcome.filename,
        "what came of it": outcome.message,
        "is partial": outcome.is_partial,
        "sha256": outcome.sha256,
        **outcome.counts,
    }


def _list(
    context: dg.AssetExecutionContext,
    config: ContactsConfig,
    givebutter: GivebutterResource,
    warehouse: Warehouse,
    program: ProgramYear,
) -> dict[str, Any]:
    """The full list, or what was updated since the last read."""
    began, last, counted = utc_now(), last_read(warehouse, CONTACTS_SOURCE), givebutter.counting()
    is_outdated = last.full_read_at is None or began - last.full_read_at > FULL_LIST_EVERY
    since = None if config.source == "full" or last.read_at is None or is_outdated else last.read_at - OVERLAP
    contacts = givebutter.contacts(updated_after=since, on_page=_log_pages(context, "contacts"))
    if since is None:
        guard_against_collapse(
            "Givebutter's list of contacts",
            before=_contacts_before(last, warehouse),
            now_count=len(contacts),
            percent=program.matching.collapse_below_percent,
            allow_shrink=config.allow_shrink,
        )
    now = _givebutters_time(began, givebutter, context)
    read = LastRead(now, now, len(contacts)) if since is None else last._replace(read_at=now)
    reading = Reading(contact_rows(contacts), now, "api", is_complete=since is None)
    learned = _learn(warehouse, [reading], program, now, read)
    return {
        "read": f"updated since {since:%Y-%m-%d %H:%M} UTC" if since else "every contact",
        "contacts listed": len(contacts),
        **learned,
        **counted(),
    }


def _contacts_before(last: LastRead, warehouse: Warehouse) -> int | None:
    """How many contacts a full list should show: as many as the last one, else as are known from files."""
    if last.full_row_count is not None:
        return last.full_row_count
    return listed_count(warehouse.read_or_empty(_TABLE, columns=["archived_at", "missing_since"]))


def _givebutters_time(ours: datetime, givebutter: GivebutterResource, context: dg.AssetExecutionContext) -> datetime:
    """A moment by Givebutter's clock, by which contacts are updated and asked for; this machine's may be wrong."""
    if givebutter.clock_ahead:
        minutes = givebutter.clock_ahead.total_seconds() / 60
        context.log.warning(
            "This machine's clock is %.0f minutes %s Givebutter's: set it right. For contacts Givebutter's is used.",
            abs(minutes),
            "behind" if minutes > 0 else "ahead of",
        )
    return ours + givebutter.clock_ahead


def _refresh(
    context: dg.AssetExecutionContext,
    config: ContactsConfig,
    givebutter: GivebutterResource,
    warehouse: Warehouse,
    program: ProgramYear,
) -> dict[str, Any]:
    """The mentors' contacts and their duplicates, one by one: the only way to see that one was archived.

    Contacts that vanished and hold a mentor's External ID are asked for too: archived ones go on reserving it.
    """
    began, counted = utc_now(), givebutter.counting()
    with warehouse.reading() as reader:
        links = reader.read_or_empty("contact_links", columns=["mn_id", "gb_contact_id"], year=program.year)
        matches = reader.read_or_empty("contact_matches", columns=["contact_id", "role"], year=program.year)
        contacts = reader.read_or_empty(_TABLE, columns=preflight.CONTACT_COLUMNS)
    duplicates = matches.filter(pl.col("role").is_in(["winner", "loser"]))["contact_id"]
    unsure = preflight.unsure_holders(contacts, links, program)
    contact_ids = sorted({*links["gb_contact_id"].drop_nulls(), *duplicates, *unsure})
    found: list[dict[str, Any]] = []
    archived: list[int] = []
    gone: list[int] = []
    for number, contact_id in enumerate(contact_ids, start=1):
        answer = givebutter.contact(contact_id)
        if answer.contact is not None:
            found.append(answer.contact)
        elif answer.state is ContactState.ARCHIVED:
            archived.append(contact_id)
        else:
            gone.append(contact_id)
        if number % 100 == 0 or number == len(contact_ids):
            context.log.info("%d of %d contacts read", number, len(contact_ids))
    is_there = pl.col("archived_at").is_null() & pl.col("missing_since").is_null()
    there = {*contacts.filter(is_there)["contact_id"]} & {*contact_ids}
    guard_against_collapse(
        "The list of the mentors' contacts that exist in Givebutter",
        before=len(there),
        now_count=len(there.difference(gone)),
        percent=program.matching.collapse_below_percent,
        allow_shrink=config.allow_shrink,
    )
    now = _givebutters_time(began, givebutter, context)
    readings = [
        Reading(contact_rows(found), now, "api", gone=gone),
        Reading(_archived(archived, warehouse, now), now, "api"),
    ]
    return {"contacts asked for": len(contact_ids), **_learn(warehouse, readings, program, now)} | {
        "archived": len(archived) + sum(1 for contact in found if contact.get("archived_at")),
        "gone": len(gone),
        **counted(),
    }


def _archived(contact_ids: Iterable[int], warehouse: Warehouse, now: datetime) -> pl.DataFrame:
    """Contacts of which Givebutter only says that they are archived: since when is as known, else now."""
    ids = pl.DataFrame({"contact_id": pl.Series(list(contact_ids), dtype=pl.Int64)})
    known = warehouse.read_or_empty(_TABLE, columns=["contact_id", "archived_at"])
    return ids.join(known, on="contact_id", how="left").with_columns(pl.col("archived_at").fill_null(now))


def _learn(
    warehouse: Warehouse,
    readings: Iterable[Reading],
    program: ProgramYear,
    now: datetime,
    read: LastRead | None = None,
) -> dict[str, Any]:
    """Merge readings of different contacts into what is stored, in one transaction; what they added, as metadata."""
    with warehouse.write() as transaction:
        learner = Learner(transaction, now=now, mn_id_prefix=program.mn_id_prefix)
        for reading in readings:
            learner.learn(reading)
        if read is not None:
            transaction.upsert("source_reads", source_read(CONTACTS_SOURCE, read))
    return {
        "new": learner.new_count,
        "changed": learner.changed_count,
        "no longer there": learner.missing_count,
    }


def _log_pages(context: dg.AssetExecutionContext, what: str) -> Any:
    """Progress of a long list in the run's log, every five thousand rows and at the end."""

    def on_page(rows: int, total: int | None) -> None:
        if rows % 5000 == 0 or rows == total:
            context.log.info("%d of %s %s read", rows, total, what)

    return on_page
