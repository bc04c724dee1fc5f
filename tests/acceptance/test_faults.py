"""Scenario 23: a sync while the services fail. Nothing shrinks, the other sources are read, people are told.

How each fault is met is tested at the clients (`tests/resources/test_faults.py`), and the refusal of lists that shrank
at the assets (`tests/assets/test_raw_tables.py`); here is what whole runs come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg
import polars as pl
import pytest
import stamina

from mentor_pipeline.assets import mentors
from mentor_pipeline.assets.common import utc_now
from mentor_pipeline.checks.raw import REQUIRED
from mentor_pipeline.definitions import build_defs
from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings
from mentor_pipeline.simulator.faults import Fault
from mentor_pipeline.tables import TABLES
from tests.acceptance.installation import done, installed
from tests.builders import program
from tests.resources import fault_cases
from tests.resources.fault_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.operator.runs import RunOutcome
    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres
    from tests.resources.fault_cases import Case, Read

RAW: Final = tuple(REQUIRED)
SIGNUPS, TRAINING, PARTNER = "raw_mn_signups", "raw_mn_training_signup", "raw_mn_partner_preference"
SETUP, MEMBERS, CONTACTS = "raw_mn_funds_setup", "raw_gb_campaign_members", "raw_gb_full_contacts"
WHOLE: Final = {"ops": {CONTACTS: {"config": {"source": "full"}}}}
ONE_BY_ONE: Final = {"ops": {CONTACTS: {"config": {"source": "refresh"}}}}
TABLE: Final[dict[Read, str]] = {
    "contacts": CONTACTS,
    "members": MEMBERS,
    "one by one": CONTACTS,
    "sign-ups": SIGNUPS,
    "setup form": SETUP,
    "training form": TRAINING,
}
WARNED: Final = {"detected_problems", "sync_warnings"}
"""Where a warning of a sync that went well is written down."""
SILENCE_S: Final = 10
"""Cases with a shorter timeout are about silence."""


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    """As many tries as ever, without the waits between them."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


class BadDay(NamedTuple):
    """A sync in which several sources fail, with everything before and after it."""

    there: Installation
    outcome: RunOutcome
    before: dict[str, pl.DataFrame]
    after: dict[str, pl.DataFrame]
    problems: tuple[Any, Any]
    submission_id: str
    contact_id: int


def tables(there: Installation) -> dict[str, pl.DataFrame]:
    """Every table but the logs of runs and reads, without when a row was last seen."""
    with there.warehouse.reading() as reader:
        return {
            name: reader.read_or_empty(name).sort(spec.key).drop("last_seen_at", strict=False)
            for name, spec in TABLES.items()
            if name not in {"sync_log", "source_reads"}
        }


def problems(there: Installation) -> Any:
    return there.table("sync_errors").sort("id").rows(), there.table("sync_warnings").sort("id").rows()


def made_and_tried_again(outcome: RunOutcome, table: str) -> tuple[int, int]:
    """How many calls the run made for a table, and how many of them were tried again."""
    told = outcome.metadata(table)
    return told["calls made"], told["calls tried again"]


def on_form(name: str, kind: str, **how: Any) -> Fault:
    form = getattr(program().jotform, name)
    return Fault.model_validate({"endpoint": "jotform.submissions", "kind": kind, "path": {"id": form.form_id}, **how})


@pytest.fixture(scope="module")
def bad_day(story: Installation) -> BadDay:
    """Sign-ups, training and members fail for good; the other three do, too, but come right."""
    someone = (
        story.table("mentors")
        .filter(pl.col("setup_done").not_(), pl.col("gb_contact_id").is_not_null())
        .row(0, named=True)
    )
    submission_id = story.world.submit("setup", mn_id=someone["mn_id"], phone=someone["phone"])
    story.world.edit_contact(someone["gb_contact_id"], prefix="Birdie")
    story.simulator.faults.set(
        on_form("signup", "refused", status=503, message="down", times=None),
        on_form("training", "web_page", status=200, message="Please sign in", times=None),
        Fault(endpoint="givebutter.members", kind="empty", times=None),
        on_form("setup", "cut_short", times=2),
        on_form("partner", "reset"),
        Fault(endpoint="givebutter.contacts", kind="refused", status=429, message="Too Many Attempts.", seconds=1),
    )
    before, problems_before = tables(story), problems(story)
    outcome = story.run("sync")
    return BadDay(
        story,
        outcome,
        before,
        tables(story),
        (problems_before, problems(story)),
        submission_id,
        someone["gb_contact_id"],
    )


class TestABadDay:
    def test_the_run_fails_for_the_three_sources_and_for_nothing_else(self, bad_day: BadDay) -> None:
        assert not bad_day.outcome.success
        assert {failure.step for failure in bad_day.outcome.failures} == {SIGNUPS, TRAINING, MEMBERS}
        assert all(failure.is_expected for failure in bad_day.outcome.failures)

    def test_each_says_what_to_do(self, bad_day: BadDay) -> None:
        said = {failure.step: failure.message for failure in bad_day.outcome.failures}
        assert "busy or down: wait a while and run it again" in said[SIGNUPS]
        assert 'a web page ("Please sign in")' in said[TRAINING]
        assert "check JOTFORM_BASE_URL" in said[TRAINING]
        assert "has 0 rows, but had" in said[MEMBERS]
        assert "--allow-shrink" in said[MEMBERS]
        assert all("Nothing was written" in message for message in said.values())

    def test_the_other_sources_were_read(self, bad_day: BadDay) -> None:
        ended = {step.name: step.status for step in bad_day.outcome.steps}
        assert {ended[table] for table in (SETUP, PARTNER, CONTACTS)} == {"done"}
        assert bad_day.submission_id in bad_day.after[SETUP]["submission_id"]
        contact = bad_day.after[CONTACTS].row(by_predicate=pl.col("contact_id") == bad_day.contact_id, named=True)
        assert contact["prefix"] == "Birdie"

    def test_what_was_tried_again_is_told(self, bad_day: BadDay) -> None:
        told = {table: made_and_tried_again(bad_day.outcome, table) for table in (SETUP, PARTNER, CONTACTS)}
        assert told == {SETUP: (4, 2), PARTNER: (3, 1), CONTACTS: (2, 1)}

    @pytest.mark.parametrize("table", RAW)
    def test_no_raw_table_shrinks(self, bad_day: BadDay, table: str) -> None:
        assert bad_day.after[table].height >= bad_day.before[table].height
        gone = pl.col("missing_since").is_not_null()
        assert bad_day.after[table].filter(gone).height == bad_day.before[table].filter(gone).height

    def test_everything_else_stays_as_it_was(self, bad_day: BadDay) -> None:
        other = {name for name, rows in bad_day.before.items() if not bad_day.after[name].equals(rows)}
        assert other == {SETUP, CONTACTS}
        assert bad_day.problems[0] == bad_day.problems[1]

    def test_the_log_and_the_status_tell_it(self, bad_day: BadDay) -> None:
        row = bad_day.there.table("sync_log").row(by_predicate=pl.col("id") == bad_day.outcome.run_id, named=True)
        assert row["status"] == "failed"
        lines = row["error_message"].splitlines()
        assert {line.partition(":")[0] for line in lines} == {SIGNUPS, TRAINING, MEMBERS}
        shown = bad_day.there.call("status").output
        assert "Last run failed" in shown
        assert "run it again" in shown


@pytest.mark.slow
def test_a_campaign_that_really_emptied_is_taken_with_the_word_of_a_person(story: Installation) -> None:
    story.simulator.faults.set(Fault(endpoint="givebutter.members", kind="empty", times=None))
    refused = story.call("sync")
    assert refused.exit_code == 1
    assert "--allow-shrink" in refused.output
    assert story.call("sync", "--allow-shrink").exit_code == 0
    members = story.table(MEMBERS)
    assert members.height == members["missing_since"].count() > 0
    story.simulator.faults.set()
    story.sync()
    assert story.table(MEMBERS)["missing_since"].count() == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, database: Postgres | None) -> Iterator[Installation]:
    """The world of the declared cases, synced twice; mentors are matched at one and the same moment all the time.

    Scores fall as contacts grow older, so that two undisturbed syncs would differ, too.
    """
    data_dir, moment = tmp_path_factory.mktemp("whole") / "data", utc_now()
    with (
        pytest.MonkeyPatch.context() as clock,
        installed(data_dir, fault_cases.world(), postgres=database) as there,
    ):
        clock.setattr(mentors, "utc_now", lambda: moment)
        for _ in range(2):
            done(there.run("sync", WHOLE))
        yield there


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", [case for case in CASES if not case.base_url], ids=lambda case: case.title)
def test_every_fault_in_a_whole_sync(whole: Installation, case: Case) -> None:
    before = tables(whole)
    whole.simulator.faults.set(*(for_a_run(fault, case) for fault in case.faults))
    outcome = sync(whole, case)
    whole.simulator.faults.set()
    assert changed(whole, before) == (WARNED if case.warns else set())
    read = [table for table in RAW if outcome.metadata(table)]
    again = {table: made_and_tried_again(outcome, table)[1] for table in read}
    if case.says is None:
        assert outcome.success, outcome.failures
        assert again == {table: case.again if table == TABLE[case.read] else 0 for table in RAW}
        assert ("set it right" in " ".join(outcome.warnings)) == bool(case.warns), outcome.warnings
    else:
        assert any(case.is_said_by(failure.message) for failure in outcome.failures), outcome.failures
        assert TABLE[case.read] not in read
        assert set(again.values()) <= {0}
        log = whole.table("sync_log").row(by_predicate=pl.col("id") == outcome.run_id, named=True)
        assert log["status"] == "failed"
    if case.warns:
        done(whole.run("sync", WHOLE))
        assert changed(whole, before) == {"sync_warnings"}  # where it stays, as resolved


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.base_url], ids=lambda case: case.title)
def test_a_host_that_is_not_there_costs_its_own_lists_only(whole: Installation, case: Case) -> None:
    before = tables(whole)
    outcome = sync(whole, case)
    assert changed(whole, before) == set()
    said = [failure.message for failure in outcome.failures]
    assert {failure.step for failure in outcome.failures} == {MEMBERS, CONTACTS}
    assert all("no usable answer (ConnectError: " in message for message in said)
    assert sorted("It was tried" in message for message in said) == [False, True]  # the second list asks only once
    assert {made_and_tried_again(outcome, table)[1] for table in RAW if table not in {MEMBERS, CONTACTS}} == {0}


def changed(there: Installation, before: dict[str, pl.DataFrame]) -> set[str]:
    """Tables that are no longer as they were."""
    after = tables(there)
    return {name for name in before if not after[name].equals(before[name])}


def sync(there: Installation, case: Case) -> RunOutcome:
    """A sync that reads whole lists, asks where the case says, and waits as long as it says."""
    with environment({**there.variables, **({"GIVEBUTTER_BASE_URL": case.base_url} if case.base_url else {})}):
        settings = Settings.load()
        seconds = case.timeout_seconds * patience(case)
        clients = {
            "jotform": JotformResource(
                api_key=dg.EnvVar(JOTFORM_KEY), base_url=settings.jotform_base_url, timeout_seconds=seconds
            ),
            "givebutter": GivebutterResource(
                api_key=dg.EnvVar(GIVEBUTTER_KEY),
                base_url=settings.givebutter_base_url,
                timeout_seconds=seconds,
                requests_per_second=10_000,
            ),
        }
        config = ONE_BY_ONE if case.read == "one by one" else WHOLE
        return run_job("sync", settings, by="Ada", run_config=config, definitions=build_defs(resources=clients))


def patience(case: Case) -> int:
    """How many times longer a run waits for silence: a busy machine must not seem to be silent, too."""
    return 5 if case.timeout_seconds < SILENCE_S else 1


def for_a_run(fault: Fault, case: Case) -> Fault:
    """The fault, only where the case is about, and as long as a run is patient."""
    longer = None if fault.seconds is None else fault.seconds * patience(case)
    return fault.model_copy(update={"path": form_of(case), "seconds": longer})


def form_of(case: Case) -> dict[str, str]:
    """The path of a form, for a fault that is about one."""
    forms = program().jotform
    names = {"sign-ups": forms.signup, "setup form": forms.setup, "training form": forms.training}
    is_everywhere = any(fault.endpoint.endswith("*") for fault in case.faults)
    return {"id": names[case.read].form_id} if case.read in names and not is_everywhere else {}
