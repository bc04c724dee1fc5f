"""The raw assets when their source fails or shrinks: refused, and nothing lost, until a person says that it is right.

Each run materialises the six raw assets together, over HTTP, into a real warehouse; what comes after them is not made.
"""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.assets import givebutter, jotform
from mentor_pipeline.checks.raw import REQUIRED
from mentor_pipeline.definitions import build_resources
from mentor_pipeline.domain.forgotten import ANSWERS_REMOVED
from mentor_pipeline.domain.submissions import FORM_TABLES
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.settings import packaged_config_dir
from mentor_pipeline.simulator import World, generate_world
from mentor_pipeline.simulator.faults import Fault
from tests.acceptance.installation import done, installed
from tests.builders import YEAR, program, row, together
from tests.resources.fault_cases import CLOCK_IS_AHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.installation import Installation

CONTACTS: Final = "raw_gb_full_contacts"
MEMBERS: Final = "raw_gb_campaign_members"
LISTS: Final = tuple(REQUIRED)
ASSETS: Final = (
    jotform.raw_mn_signups,
    jotform.raw_mn_funds_setup,
    jotform.raw_mn_training_signup,
    jotform.raw_mn_partner_preference,
    givebutter.raw_gb_campaign_members,
    givebutter.raw_gb_full_contacts,
)
EVERYWHERE: Final = ("jotform.submissions", "givebutter.members", "givebutter.contacts")


class Ran(NamedTuple):
    """What a run of raw assets came to.

    Attributes:
        failures: message of each that failed, by asset.
        warnings: what the run warned of.
        before: the tables before it.
        after: the tables after it.
    """

    failures: dict[str, str]
    warnings: list[str]
    before: dict[str, pl.DataFrame]
    after: dict[str, pl.DataFrame]


class Raw:
    """An installation of which only the raw assets are made."""

    def __init__(self, there: Installation) -> None:
        self.there = there
        self.world = there.world
        self.faults = there.simulator.faults

    def tables(self) -> dict[str, pl.DataFrame]:
        keys = {**dict.fromkeys(LISTS[:4], "submission_id"), MEMBERS: "member_id", CONTACTS: "contact_id"}
        with self.there.warehouse.reading() as reader:
            return {
                name: reader.read_or_empty(name).sort(key) for name, key in {**keys, "source_reads": "source"}.items()
            }

    def run(self, *assets: dg.AssetsDefinition, source: str = "full", allow_shrink: bool = False) -> Ran:
        """Materialise assets (all six when none is named); contacts from this source."""
        chosen = assets or ASSETS
        config: dict[str, dict[str, Any]] = {asset.key.to_user_string(): {} for asset in chosen}
        for name, values in config.items():
            values["allow_shrink"] = allow_shrink
            if name == CONTACTS:
                values["source"] = source
        before = self.tables()
        with environment(self.there.variables), dg.DagsterInstance.ephemeral() as instance:
            settings = self.there.settings()
            result = dg.materialize(
                chosen,
                resources=build_resources(settings, settings.program_year()),
                run_config={
                    "ops": {name: {"config": values} for name, values in config.items()},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                instance=instance,
                raise_on_error=False,
            )
            logged = instance.all_logs(result.run_id)
        failures = {
            str(event.step_key): str(event.step_failure_data.error.cause.message)  # type: ignore[union-attr]
            for event in result.all_events
            if event.is_step_failure
        }
        warnings = [entry.user_message for entry in logged if entry.dagster_event is None and entry.level == 30]
        return Ran(failures, warnings, before, self.tables())


def listed(table: pl.DataFrame) -> int:
    return table.filter(pl.col("missing_since").is_null()).height


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """Everything read once."""
    world = generate_world(program(), seed=7, mentors=60, contacts=200)
    with installed(tmp_path_factory.mktemp("raw") / "data", world) as there:
        raw = Raw(there)
        assert raw.run().failures == {}
        yield raw


@pytest.fixture
def raw(made: Raw) -> Iterator[Raw]:
    yield made
    made.faults.set()


def everywhere(kind: str, **how: Any) -> list[Fault]:
    return [Fault.model_validate({"endpoint": name, "kind": kind, "times": None, **how}) for name in EVERYWHERE]


class TestAllAtOnce:
    """In the order of a bad day: the services list nothing, too little, really less, and everything again."""

    def test_an_empty_answer_is_no_empty_source(self, raw: Raw) -> None:
        raw.faults.set(*everywhere("empty"))
        ran = raw.run()
        assert set(ran.failures) == set(LISTS)
        for table in LISTS:
            assert refused(ran.failures[table], now=0, before=listed(ran.before[table])), ran.failures[table]
        assert_same(ran)

    def test_an_answer_that_lost_a_third_is_refused(self, raw: Raw) -> None:
        raw.faults.set(
            *everywhere("rows_gone", rows=15)[:2],
            Fault(endpoint="givebutter.contacts", kind="rows_gone", rows=100, times=None),
        )
        ran = raw.run()
        assert set(ran.failures) == set(LISTS)
        assert refused(ran.failures[CONTACTS], now=100, before=200)
        assert_same(ran)

    def test_a_person_can_say_that_it_is_right(self, raw: Raw) -> None:
        raw.faults.set(*everywhere("rows_gone", rows=15))
        ran = raw.run(allow_shrink=True)
        assert ran.failures == {}
        for table in LISTS:
            assert ran.after[table].height == ran.before[table].height
            assert listed(ran.after[table]) == listed(ran.before[table]) - 15

    @pytest.mark.slow
    def test_rows_that_come_back_are_there_again(self, raw: Raw) -> None:
        ran = raw.run()
        assert ran.failures == {}
        for table in LISTS:
            assert listed(ran.after[table]) == ran.after[table].height == ran.before[table].height


def refused(message: str, *, now: int, before: int) -> bool:
    """Whether a message is the refusal of a list that shrank, and says how to take it all the same."""
    return all(
        words in message
        for words in (
            f"has {now} rows, but had {before} when it was last read whole",
            "Nothing was written",
            "--allow-shrink",
            "allow_shrink: true",
        )
    )


def assert_same(ran: Ran) -> None:
    for name, table in ran.before.items():
        assert ran.after[name].equals(table), name


def test_the_first_full_list_is_held_against_the_contacts_known_from_files(raw: Raw) -> None:
    """A partial export tells of contacts, but not how many there are."""
    reads = raw.there.table("source_reads")
    with raw.there.warehouse.write() as transaction:
        unread = reads.filter(source="givebutter/contacts").with_columns(read_at=None, full_read_at=None)
        transaction.upsert("source_reads", unread.with_columns(full_row_count=None))
    raw.faults.set(Fault(endpoint="givebutter.contacts", kind="empty", times=None))
    ran = raw.run(givebutter.raw_gb_full_contacts, source="api")
    assert refused(ran.failures[CONTACTS], now=0, before=listed(ran.before[CONTACTS]))
    assert_same(ran)


class TestOneByOne:
    @pytest.fixture
    def linked(self, raw: Raw) -> list[int]:
        """Contacts that are linked to mentors."""
        contact_ids = list(raw.world.active_ids())[-20:]
        links = [
            row("contact_links", year=YEAR, mn_id=f"{number:04d}", gb_contact_id=contact_id)
            for number, contact_id in enumerate(contact_ids, start=1)
        ]
        with raw.there.warehouse.write() as transaction:
            transaction.replace("contact_links", together(*links), year=YEAR)
        return contact_ids

    @pytest.mark.slow
    def test_a_few_that_are_gone_are_marked(self, raw: Raw, linked: list[int]) -> None:
        gone = linked[:2]
        raw.faults.set(*(not_found(contact_id) for contact_id in gone))
        ran = raw.run(givebutter.raw_gb_full_contacts, source="refresh")
        assert ran.failures == {}
        missing = ran.after[CONTACTS].filter(pl.col("missing_since").is_not_null())
        assert set(missing["contact_id"]) & set(linked) == set(gone)

    def test_many_that_are_gone_at_once_are_not_believed(self, raw: Raw, linked: list[int]) -> None:
        raw.faults.set(*(not_found(contact_id) for contact_id in linked[5:]))
        there = listed(raw.tables()[CONTACTS].filter(pl.col("contact_id").is_in(linked)))
        still = 5 - (len(linked) - there)
        ran = raw.run(givebutter.raw_gb_full_contacts, source="refresh")
        assert refused(ran.failures[CONTACTS], now=still, before=there)
        assert_same(ran)
        ran = raw.run(givebutter.raw_gb_full_contacts, source="refresh", allow_shrink=True)
        assert ran.failures == {}
        assert ran.after[CONTACTS].height == ran.before[CONTACTS].height
        gone = ran.after[CONTACTS].filter(pl.col("missing_since").is_not_null())["contact_id"]
        assert set(gone) & set(linked) == set(linked[5:])


def not_found(contact_id: int) -> Fault:
    return Fault(endpoint="givebutter.contact", kind="refused", status=404, path={"id": str(contact_id)}, times=None)


@pytest.mark.slow
def test_a_clock_that_is_ahead_costs_no_edit(tmp_path: Path) -> None:
    """Givebutter lists what was updated by its own clock: here ours is three hours ahead of it."""
    three_hours = timedelta(hours=3)
    world = World.empty(program(), clock=lambda: datetime.now(UTC) - three_hours)
    contact_id = world.add_contact(first_name="Wren", last_name="Alder")
    with installed(tmp_path / "data", world) as there:
        raw = Raw(there)
        raw.faults.set(
            Fault(endpoint="givebutter.*", kind="clock", clock_ahead=-three_hours.total_seconds(), times=None)
        )
        first = raw.run(givebutter.raw_gb_full_contacts)
        world.edit_contact(contact_id, prefix="Birdie")
        second = raw.run(givebutter.raw_gb_full_contacts, source="api")
    assert first.warnings == [CLOCK_IS_AHEAD.replace("…", "180")]
    assert second.after[CONTACTS]["prefix"].to_list() == ["Birdie"]


@pytest.mark.slow
def test_old_answers_go_also_those_of_earlier_years_and_of_a_form_that_is_no_longer_configured(tmp_path: Path) -> None:
    config_dir = tmp_path / "config"
    shutil.copytree(packaged_config_dir(), config_dir)
    file = config_dir / f"{YEAR}.toml"
    keeps = 7
    with installed(
        tmp_path / "data", generate_world(program(), seed=3, mentors=15, contacts=60), config_dir=config_dir
    ) as there:
        done(there.run("sync"))
        for table in FORM_TABLES.values():
            of_last_year = there.table(table).with_columns(pl.col("submission_id") + "0", year=pl.col("year") - 1)
            there.warehouse.append(table, of_last_year)
        before = {table: there.table(table) for table in FORM_TABLES.values()}
        assert not any(rows["answers"].is_in([ANSWERS_REMOVED, "{}"]).any() for rows in before.values())
        text, found = re.subn(r"(?ms)^\[jotform\.partner\].*?(?=^\[)", "", file.read_text(encoding="utf-8"))
        assert found == 1
        file.write_text(text, encoding="utf-8")
        there.variables["MENTOR_PIPELINE_KEEP_ANSWERS_DAYS"] = str(keeps)
        done(there.run("sync"))
        after = {table: there.table(table) for table in FORM_TABLES.values()}
    is_old = pl.col("submitted_at") < datetime.now(UTC) - timedelta(days=keeps)
    for table, rows in before.items():
        assert rows.select(is_old).to_series().unique().len() == 2, f"{table}: some are old, and some are not"
        expected = rows.with_columns(answers=pl.when(is_old).then(pl.lit(ANSWERS_REMOVED)).otherwise("answers"))
        columns = ["submission_id", "year", "answers"]
        assert after[table].select(columns).sort(columns).equals(expected.select(columns).sort(columns)), table
