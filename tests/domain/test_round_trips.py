"""R10 on whole worlds: what is exported is imported whole, does no harm, and is not exported again.

Every world has the generated cases and trouble of every class at random (`adversity`); Givebutter's import is the
simulator's, in each of the ways in which it may behave. Every seed is a test of its own.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.domain.preflight import preflight_file
from mentor_pipeline.simulator import MentorClass, World, generate_world
from tests.builders import NOW, phone_of, program
from tests.domain.adversity import Trouble
from tests.domain.office import CONTACTS, Office

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.operator.export_files import ExportResult
    from mentor_pipeline.simulator import Contact

WORLDS, FAST = 50, 3
YEARS = (
    program(),
    program(mn_id_prefix="MN"),
    program(
        custom_fields={
            **program().model_dump(by_alias=True)["custom_fields"],
            "🔢 Raised": {"from": "amount_raised", "type": "number"},
            "📅 Trained": {"from": "training_signup_at", "type": "date"},
            "💬 Where They Stand": {"from": "status_text", "type": "longtext"},
        },
        givebutter={**program().model_dump()["givebutter"], "preferred_name_field": "preferred_first_name"},
    ),
)
"""Year files with another prefix of External IDs, another place of the preferred name, custom fields of every kind."""
ID, EXTERNAL_ID = "Givebutter Contact ID", "Contact External ID"
KEPT_TEXTS = (
    "external_id",
    "prefix",
    "first_name",
    "middle_name",
    "last_name",
    "preferred_name",
    "website_url",
    "note",
)
KEPT_LISTS = ("emails", "phones")
SUBSCRIPTIONS = ("email_subscribed", "phone_subscribed", "address_subscribed")


class Before(NamedTuple):
    """What an import must not take away from a contact."""

    texts: tuple[bool, ...]
    lists: tuple[frozenset[str], ...]
    custom: frozenset[str]
    tags: frozenset[str]
    subscribed: tuple[bool, ...]

    @classmethod
    def of(cls, contact: Contact) -> Before:
        return cls(
            tuple(bool((getattr(contact, name) or "").strip()) for name in KEPT_TEXTS),
            tuple(frozenset(value.lower() for value in getattr(contact, name) if value) for name in KEPT_LISTS),
            frozenset(label for label, value in contact.custom_fields.items() if value.strip()),
            frozenset(tag.strip() for tag in contact.tags if "," not in tag and len(tag.strip()) <= 64),
            tuple(getattr(contact, name) for name in SUBSCRIPTIONS),
        )


def rows_of(written: ExportResult) -> pl.DataFrame:
    read = [pl.read_csv(path, infer_schema=False) for path in written.paths]
    return pl.concat(read) if read else pl.DataFrame(schema={ID: pl.String(), EXTERNAL_ID: pl.String()})


def import_without_harm(office: Office, written: ExportResult) -> None:
    """Givebutter takes every row, each onto its own contact, and no contact loses anything."""
    world, rows = office.world, rows_of(written)
    assert rows.height == written.rows
    for path in written.paths:
        judged = preflight_file(
            path.read_bytes(), path.name, office.tables[CONTACTS], office.mentors, office.program
        )  # as a person may ask
        assert judged.findings.filter(pl.col("verdict") != "notice").is_empty()
        assert judged.unknown_columns == ()
    before = {contact.id: Before.of(contact) for contact in world.contacts.values()}
    ours = {tag for tags in office.mentors["statuses"] for tag in tags} | {office.program.givebutter.dropped_tag}
    results = office.take(written)
    assert [refused for result in results for refused in result.refused] == []
    taken = [one for result in results for one in (*result.created, *result.updated, *result.merged)]
    assert len(taken) == rows.height
    assert {world.contacts[one].external_id for one in taken} == set(rows[EXTERNAL_ID])
    assert len(set(taken)) == rows.height
    for contact_id, was in before.items():
        now = Before.of(world.contacts[contact_id])
        assert all(here or not there for here, there in zip(now.texts, was.texts, strict=True)), contact_id
        assert all(there <= here for here, there in zip(now.lists, was.lists, strict=True)), contact_id
        assert was.custom <= now.custom, contact_id
        assert {tag for tag in was.tags - now.tags if tag not in ours and not tag.startswith("Status: ")} == set()
        assert all(there or not here for here, there in zip(now.subscribed, was.subscribed, strict=True)), contact_id


def work_a_while(office: Office, trouble: Trouble) -> None:
    """Look, let things happen, look again, export and import; then nothing is left to do."""
    office.sync()
    office.export()
    trouble.meanwhile()
    office.sync()
    held = office.judged.held
    assert office.judged.rows.height + held.height == office.mentors.height
    assert held.filter(pl.col("detail").str.len_chars() < 20).is_empty()
    first = office.export(split=office.now.minute + 7)
    import_without_harm(office, first)
    office.sync()
    second = office.export()
    # Who was held may be free now, since the import put ids in order; who was imported has nothing left to say.
    assert set(rows_of(second)[EXTERNAL_ID]) & set(rows_of(first)[EXTERNAL_ID]) == set()
    if second.rows:
        import_without_harm(office, second)
        office.sync()
        assert office.export().rows == 0
    everything = office.export(everything=True)
    notes = [contact.note for contact in office.world.contacts.values()]
    import_without_harm(office, everything)
    assert rows_of(everything)[ID].null_count() + (rows_of(everything)[ID] == "").sum() == 0
    assert [contact.note for contact in office.world.contacts.values()] == notes


@pytest.mark.parametrize(
    "seed", [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, WORLDS))]
)
def test_no_row_is_refused_and_nothing_is_left(seed: int, tmp_path: Path) -> None:
    # 30 mentors are one of almost every class; of all of them it takes some more.
    mentors = 52 if seed % 10 == 0 else 30
    world = generate_world(YEARS[seed % 3], seed=seed, mentors=mentors, contacts=100, clock=lambda: NOW)
    assert seed % 10 or {truth.class_ for truth in world.truth.values()} == set(MentorClass)
    trouble = Trouble(world, random.Random(seed))  # noqa: S311 - equal seeds make equal trouble
    trouble.at_the_beginning()
    work_a_while(Office(world, tmp_path), trouble)


# -- what nobody can know before an import tells it ------------------------------------------------------------------


def small_office(folder: Path) -> Office:
    """Ada and Ben have no contact yet, Cora is linked; a stranger with Ada's id was archived before anybody looked."""
    world = World.empty(program(), clock=lambda: NOW)
    for number, (mn_id, name) in enumerate({"0041": "Ada", "0042": "Ben", "0043": "Cora"}.items(), start=1):
        world.submit(
            "signup", mn_id=mn_id, name={"first": name, "last": "Elm"}, phone=phone_of(number),
            personal_email=f"{name}@example.com".lower(), uga_email=f"{name}@uga.edu".lower(),
        )  # fmt: skip
    world.add_contact(first_name="Cora", last_name="Elm", external_id="0043", emails=["cora@example.com"])
    world.archive_contact(world.add_contact(first_name="Ulf", last_name="Oak", external_id="0041"))
    return Office(world, folder)


def test_what_a_failed_file_teaches_is_refused_once_only(tmp_path: Path) -> None:
    office = small_office(tmp_path)
    office.sync()
    written = office.export()
    office.world.archive_contact(office.mentors.filter(mn_id="0043")["gb_contact_id"].item())  # since the file was made
    office.take(written)
    (result,) = office.take(written)  # and once more: Ben's contact is there already
    assert {refused.external_id for refused in result.refused} == {"0041", "0042", "0043"}
    told = office.read_failures(result).rows
    mends = dict(told.select("external_id", "mends_itself").iter_rows())
    assert mends == {"0041": False, "0042": False, "0043": True}  # nobody has seen Ben's contact yet
    assert all("What to do" in problem for problem in office.refusals["message"])

    office.sync()
    office.sync()  # what a file taught is known to the run after the one that reads it
    held = dict(office.judged.held.select("mn_id", "reason").iter_rows())
    assert held == {"0041": "refused_by_givebutter", "0043": "stale_contact"}
    ben = office.mentors.row(by_predicate=pl.col("mn_id") == "0042", named=True)
    assert (ben["gb_match_status"], ben["gb_match_method"]) == ("linked", "external_id")
    open_ones = office.tables["sync_errors"].filter(~pl.col("resolved"))
    assert set(open_ones["mn_id"]) == {"0041", "0043"}  # Ben's mended itself
    import_without_harm(office, office.export(everything=True))


def test_read_again_a_file_imported_twice_says_that_nothing_is_to_be_done(tmp_path: Path) -> None:
    office = small_office(tmp_path)
    office.sync()
    written = office.export()
    office.take(written)
    (again,) = office.take(written)
    office.sync()
    told = office.read_failures(again).rows.filter(external_id="0042")
    assert told["mends_itself"].to_list() == [True]
    assert "imported twice" in told["what_to_do"].item()
