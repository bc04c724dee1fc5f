"""What the tests of the export share: a made-up Givebutter's contacts as the pipeline knows them, and import files."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from mentor_pipeline.domain.api_contacts import contact_rows
from mentor_pipeline.domain.knowledge import Reading, learn
from mentor_pipeline.simulator import World
from mentor_pipeline.simulator.givebutter_api import _contact_wire
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, program

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from mentor_pipeline.settings import ProgramYear


def empty_world(year: ProgramYear | None = None) -> World:
    """A Givebutter in which nobody is, at NOW."""
    return World.empty(year or program(), clock=lambda: NOW)


def known_contacts(world: World, year: ProgramYear | None = None) -> pl.DataFrame:
    """All contacts of a world, archived ones too, as rows of raw_gb_full_contacts."""
    told = contact_rows([_contact_wire(world, contact) for contact in world.contacts.values()])
    empty = TABLES["raw_gb_full_contacts"].empty()
    reading = Reading(told, NOW, "api", is_complete=True)
    return learn(empty, reading, full_read_at=None, now=NOW, mn_id_prefix=(year or program()).mn_id_prefix).rows


def file_of(*rows: Mapping[str, str]) -> str:
    """An import file with these cells; what a row does not say is blank."""
    header = list(dict.fromkeys(column for cells in rows for column in cells))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, quoting=csv.QUOTE_ALL, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
