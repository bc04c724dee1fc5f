"""A generated world as the tables that the domain's functions read, without a server between.

The simulated services answer in their wire shapes; their answers become rows as in a run, so that what is compared
with `World.truth` has passed through all that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import polars as pl

from bench import wire
from mentor_pipeline.domain.api_contacts import contact_rows, member_rows, merge_members
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.domain.links import MEMBERS, join_forms
from mentor_pipeline.domain.matching import Matches, choose_contacts
from mentor_pipeline.domain.signups import one_per_person
from mentor_pipeline.domain.submissions import configured_forms, merge_submissions, submission_rows
from mentor_pipeline.simulator import MentorTruth, World, generate_world
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mentor_pipeline.domain.decisions import LinkDecision
    from mentor_pipeline.domain.findings import Computed

PROGRAM: Final = program()
SIGNUPS: Final = "raw_mn_signups"
CONTACTS: Final = "raw_gb_full_contacts"
PREVIOUS: Final = {
    "mn_id": pl.String,
    "gb_contact_id": pl.Int64,
    "gb_match_method": pl.String,
    "phone": pl.String,
    "personal_email": pl.String,
    "uga_email": pl.String,
}
"""What matching reads of the mentors as last recorded."""
NO_LINKS: Final = pl.DataFrame(schema=PREVIOUS)


def previous_of(signups: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """What the next run finds recorded after these links were made."""
    return signups.join(links, on="mn_id").select(*PREVIOUS)


@dataclass(frozen=True)
class Tables:
    """A world's raw tables, and what the steps up to matching make of them."""

    world: World
    forms: dict[str, pl.DataFrame]
    members: pl.DataFrame
    contacts: pl.DataFrame

    def signups(self) -> Computed:
        return one_per_person(
            self.forms[SIGNUPS],
            placeholders=TABLES["placeholder_ids"].empty(),
            known_mn_ids=(),
            program=PROGRAM,
            now=NOW,
        )

    def links(self, signups: pl.DataFrame, known_members: Mapping[int, str] | None = None) -> Computed:
        forms = {table: rows for table, rows in self.forms.items() if table != SIGNUPS}
        return join_forms(signups, forms, self.members, known_members or {}, PROGRAM)

    def matches(
        self,
        signups: pl.DataFrame,
        links: pl.DataFrame,
        previous: pl.DataFrame = NO_LINKS,
        decisions: Mapping[str, LinkDecision] | None = None,
    ) -> Matches:
        return choose_contacts(signups, previous, self.contacts, self.pages(links), decisions or {}, PROGRAM, NOW)

    def pages(self, links: pl.DataFrame) -> pl.DataFrame:
        """The campaign members with the mentor each belongs to."""
        owners = links.filter(source_table=MEMBERS).select("mn_id", member_id=pl.col("source_id").cast(pl.Int64))
        return self.members.join(owners, on="member_id", how="left")

    def truths(self, signups: pl.DataFrame) -> dict[str, MentorTruth]:
        """The truth by the mentor id that each goes by."""
        of_submission = dict(signups.select("submission_id", "mn_id").iter_rows())
        return {of_submission[submission_id]: truth for submission_id, truth in self.world.truth.items()}


@cache
def tables_of_world(*, mentors: int = 60, contacts: int = 1500, seed: int = 5) -> Tables:
    """A generated world, read whole."""
    world = generate_world(PROGRAM, seed=seed, mentors=mentors, contacts=contacts, clock=lambda: NOW)
    forms = {
        table: merge_submissions(
            TABLES[table].empty(),
            submission_rows(table, wire.submissions(world, form.form_id), form, PROGRAM.zone),
            year=YEAR,
            now=NOW,
        )
        for table, form in configured_forms(PROGRAM.jotform).items()
    }
    members = member_rows(wire.listed(world, "members"), year=YEAR, campaign_id=world.campaign.id)
    reading = Reading(contact_rows(wire.listed(world, "contacts")), as_of=NOW, source="api", is_complete=True)
    return Tables(
        world,
        forms,
        merge_members(TABLES[MEMBERS].empty(), members, now=NOW),
        learn(TABLES[CONTACTS].empty(), reading, full_read_at=None, now=NOW).rows,
    )
