"""Scenario 23: a sync while the services fail. Nothing shrinks, the other sources are read, people are told.

How each fault is met is tested at the clients (`tests/resources/test_faults.py`), and the refusal of lists that shrank
at the assets (`tests/assets/test_raw_tables.py`); here is what whole runs come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl
import pytest
import stamina

from mentor_pipeline.checks.raw import REQUIRED
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
    from tests.resources.fault_cases import Case

RAW: Final = tuple(REQUIRED)
SIGNUPS, TRAINING, PARTNER = "raw_mn_signups", "raw_mn_training_signup", "raw_mn_partner_preference"
SETUP, MEMBERS, CONTACTS = "raw_mn_funds_setup", "raw_gb_campaign_members", "raw_gb_full_contacts"
WHOLE: Final = {"ops": {CONTACTS: {"config": {"source": "full"}}}}
TOO_LONG_FOR_A_RUN: Final = 1.0
"""Cases with a shorter timeout wait for silence; a run would wait minutes for it."""


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
        told = {table: bad_day.outcome.metadata(table).get("calls tried again") for table in (SETUP, PARTNER, CONTACTS)}
        assert told[CONTACTS] == 1
        assert all(told.values())

    @pytest.mark.parametrize("table", RAW)
    def test_no_raw_table_shrinks(self, bad_day: BadDay, table: str) -> None:
        assert bad_day.after[table].height >= bad_day.before[table].height
        gone = pl.col("missing_since").is_not_null()
        assert bad_day.after[table].filter(gone).height == bad_day.before[table].filter(gone).height

    def test_everything_else_stays_as_it_was(self, bad_day: BadDay) -> None:
        changed = {name for name, rows in bad_day.before.items() if not bad_day.after[name].equals(rows)}
        assert changed == {SETUP, CONTACTS}
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
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The world of the declared cases, synced twice."""
    with installed(tmp_path_factory.mktemp("whole") / "data", fault_cases.world()) as there:
        for _ in range(2):
            done(there.run("sync", WHOLE))
        yield there


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.faults and case.read != "one by one" and case.timeout_seconds > TOO_LONG_FOR_A_RUN
        # A call that is tried again is no other in a run, and a warning is a row of its own.
        if case.says or not (case.again or case.warns)
    ],
    ids=lambda case: case.title,
)
def test_every_fault_in_a_whole_sync(whole: Installation, case: Case) -> None:
    before = tables(whole)
    faults = [fault.model_copy(update={"path": form_of(case)}) for fault in case.faults]
    whole.simulator.faults.set(*faults)
    outcome = whole.run("sync", WHOLE)
    whole.simulator.faults.set()
    after = tables(whole)
    assert [name for name in before if not after[name].equals(before[name])] == []
    if case.says is None:
        assert outcome.success, outcome.failures
    else:
        assert any(case.is_said_by(failure.message) for failure in outcome.failures), outcome.failures
        log = whole.table("sync_log").row(by_predicate=pl.col("id") == outcome.run_id, named=True)
        assert log["status"] == "failed"


def form_of(case: Case) -> dict[str, str]:
    """The path of a form, for a fault that is about one."""
    forms = program().jotform
    names = {"sign-ups": forms.signup, "setup form": forms.setup, "training form": forms.training}
    is_everywhere = any(fault.endpoint.endswith("*") for fault in case.faults)
    return {"id": names[case.read].form_id} if case.read in names and not is_everywhere else {}
