"""A made-up organisation at work: syncs, exports and imports, by the same functions as the assets, without Dagster.

The simulated services answer in their wire shapes, what is known is kept between the syncs as the warehouse keeps it,
the file is written by the function that the job `export` calls, and Givebutter's import is the simulator's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bench import wire
from mentor_pipeline.domain import conflicts, history, preflight, problems
from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.export import import_rows, settled_refusals
from mentor_pipeline.domain.failures_csv import read_failures
from mentor_pipeline.domain.findings import problem_rows
from mentor_pipeline.domain.knowledge import Reading, learn, mentor_contacts
from mentor_pipeline.domain.links import FORMS, MEMBERS, join_forms
from mentor_pipeline.domain.matching import choose_contacts
from mentor_pipeline.domain.mentors import Memory, Sources, build_mentors, tasks
from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.domain.submissions import configured_forms, merge_submissions, submission_rows
from mentor_pipeline.operator.export_files import ExportResult, ExportSource, Selection, write_import_file
from mentor_pipeline.simulator.givebutter_api import _contact_wire
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.domain.export import Judged
    from mentor_pipeline.domain.failures_csv import FailuresFile
    from mentor_pipeline.simulator import ImportResult, World

SIGNUPS: Final = "raw_mn_signups"
CONTACTS: Final = "raw_gb_full_contacts"
_REMEMBERED: Final = (
    *(SIGNUPS, *FORMS, MEMBERS, CONTACTS, "mentor_history", "merge_base", "placeholder_ids", "mentor_aliases"),
    *("operator_actions", "sync_conflicts", "sync_errors", "sent_notes", "contact_links", "outreach_messages"),
)


class Office:
    """One installation with its memory. `tables` is the warehouse; the world's time is the office's."""

    def __init__(self, world: World, exports: Path) -> None:
        self.world = world
        self.program = world.program
        self.now = NOW
        self.tables = {name: TABLES[name].empty() for name in _REMEMBERED}
        self.refusals = problem_rows(YEAR, [])
        self.judged: Judged
        self.mentors = TABLES["mentors"].empty()
        self._exports = exports
        self._runs = 0
        world.clock = lambda: self.now

    def sync(self) -> None:
        """Read everything, the linked contacts one by one too, and compute everything."""
        self.now += timedelta(hours=1)
        self._runs += 1
        self._read()
        have, year = self.tables, self.program
        forms = {name: have[name] for name in FORMS}
        before = history.current_records(have["mentor_history"], have["mentor_aliases"])
        signups = one_per_person(
            have[SIGNUPS],
            placeholders=have["placeholder_ids"],
            known_mn_ids=set(have["mentor_history"]["mn_id"]),
            program=year,
            now=self.now,
        )
        for name, rows in signups.also.items():
            self._upsert(name, rows)
        known_members = dict(before.filter(pl.col("gb_member_id").is_not_null()).select("gb_member_id", "mn_id").rows())
        links = join_forms(signups.rows, forms, have[MEMBERS], known_members, year).rows
        owners = links.filter(source_table=MEMBERS).select("mn_id", member_id=pl.col("source_id").cast(pl.Int64))
        pages = have[MEMBERS].filter(pl.col("missing_since").is_null()).join(owners, on="member_id", how="left")
        chosen = choose_contacts(signups.rows, before, have[CONTACTS], pages, {}, year, self.now)
        have["contact_links"] = chosen.links
        sources = Sources(
            signups.rows,
            links,
            forms,
            have[MEMBERS],
            chosen.links,
            mentor_contacts(chosen.links, have[CONTACTS], year=YEAR),
        )
        memory = Memory(have["operator_actions"], have["merge_base"], have["mentor_history"], have["mentor_aliases"])
        built = build_mentors(sources, memory, year, self.now)
        self.mentors = built.rows
        have["merge_base"] = built.also["merge_base"]
        versions = history.next_versions(
            have["mentor_history"], built.rows, run_id=str(self._runs), now=self.now, aliases=have["mentor_aliases"]
        )
        self._upsert("mentor_history", versions)
        undecided = [found for found in (chosen.matches.conflicts, built.conflicts) if found is not None]
        detected = pl.concat(undecided).with_columns(asset=pl.lit("any"))
        self._upsert(
            "sync_conflicts",
            conflicts.live_on(detected, have["sync_conflicts"], have["operator_actions"], now=self.now),
        )
        concerned = preflight.concerned(
            have[CONTACTS].lazy(), self.mentors, have["sync_conflicts"], have["sync_errors"], year
        )
        self.judged = self._rows(have[CONTACTS].filter(pl.col("contact_id").is_in(concerned.implode())))
        by_all = self._rows(have[CONTACTS])
        assert self.judged.rows.equals(by_all.rows), "a contact that has a say was left out"
        assert self.judged.held.equals(by_all.held), "a contact that has a say was left out"
        over = settled_refusals(self.refusals, self.judged.rows, self.mentors, have[CONTACTS], year)
        refused = self.refusals.filter(~pl.col("id").is_in(over)).with_columns(asset=pl.lit("import_failures"))
        self._upsert(
            "sync_errors", problems.live_on(refused, have["sync_errors"], have["operator_actions"], now=self.now)
        )

    def _rows(self, contacts: pl.DataFrame) -> Judged:
        """The import rows, judged against these contacts."""
        return import_rows(
            self.mentors,
            tasks(self.mentors),
            contacts,
            *(self.tables[name] for name in ("outreach_messages", "sync_errors", "sync_conflicts")),
            self.program,
            now=self.now,
            knowledge_at=self.now,
        )

    def export(self, **selection: Any) -> ExportResult:
        """Write the import file."""
        self.now += timedelta(minutes=1)
        source = ExportSource(
            self.judged.rows,
            self.judged.held,
            self.mentors,
            self.tables[CONTACTS],
            self.tables["sent_notes"],
            self.now,
        )
        written = write_import_file(source, self.program, self._exports, now=self.now, selection=Selection(**selection))
        self.tables["sent_notes"] = pl.concat([self.tables["sent_notes"], written.sent_notes])
        return written

    def take(self, written: ExportResult) -> list[ImportResult]:
        """Givebutter imports the files."""
        self.now += timedelta(minutes=1)
        return [self.world.import_csv(path) for path in written.paths]

    def read_failures(self, result: ImportResult) -> FailuresFile:
        """Bring a `-failed.csv` back; the next sync lists what it tells."""
        file = read_failures(
            result.failed_csv.encode(),
            result.failed_name,
            contacts=self.tables[CONTACTS],
            mn_id_prefix=self.program.mn_id_prefix,
        )
        self.refusals = problem_rows(YEAR, file.problems)
        return file

    def _read(self) -> None:
        world, year = self.world, self.program
        for table, form in configured_forms(year.jotform).items():
            listed = submission_rows(table, wire.submissions(world, form.form_id), form, year.zone)
            self.tables[table] = merge_submissions(self.tables[table], listed, year=YEAR, now=self.now)
        members = member_rows(wire.listed(world, "members"), year=YEAR, campaign_id=world.campaign.id)
        self.tables[MEMBERS] = merge_members(self.tables[MEMBERS], members, now=self.now)
        self._learn(Reading(contact_rows(wire.listed(world, "contacts")), self.now, "api", is_complete=True))
        links = self.tables["contact_links"].select("mn_id", "gb_contact_id")
        asked = {*links["gb_contact_id"].drop_nulls(), *preflight.unsure_holders(self.tables[CONTACTS], links, year)}
        found = [_contact_wire(world, world.contacts[one]) for one in sorted(asked) if one in world.contacts]
        gone = [one for one in asked if one not in world.contacts]
        self._learn(Reading(contact_rows(found), self.now, "api", gone=gone))

    def _learn(self, reading: Reading) -> None:
        learned = learn(
            self.tables[CONTACTS],
            reading,
            full_read_at=None,
            now=self.now,
            mn_id_prefix=self.program.mn_id_prefix,
        )
        self._upsert(CONTACTS, learned.rows)

    def _upsert(self, table: str, rows: pl.DataFrame) -> None:
        spec = TABLES[table]
        rows = spec.conform(rows)
        kept = self.tables[table].join(rows, on=list(spec.key), how="anti", maintain_order="left")
        self.tables[table] = pl.concat([kept, rows])
