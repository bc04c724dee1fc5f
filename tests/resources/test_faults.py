"""Scenario 23 at the clients: every declared fault over real HTTP, with the requests and the words it comes to."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mentor_pipeline.domain.submissions import FORM_TABLES, submission_rows
from mentor_pipeline.errors import ApiError
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.http import TRIES
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.simulator import Simulator
from tests.builders import program
from tests.resources import fault_cases
from tests.resources.fault_cases import AUTUMN, CASES, NIGHTS, NOBODY_THERE, REQUESTS, Case, Read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.simulator import World

PROGRAM = program()


@pytest.fixture(scope="module")
def world() -> World:
    return fault_cases.world()


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Simulator]:
    with Simulator(world) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    """The simulated services in good health, with an empty log."""
    running.faults.set()
    running.calls.clear()
    yield running
    running.faults.set()


class Clients(NamedTuple):
    jotform: JotformResource
    givebutter: GivebutterResource

    def read(self, what: Read, world: World) -> list[str]:
        """Ids of the rows of a list, as they came."""
        match what:
            case "contacts":
                rows: list[Any] = self.givebutter.contacts()
            case "members":
                rows = self.givebutter.members(world.campaign.id)
            case "one by one":
                reads = [self.givebutter.contact(contact_id) for contact_id in some_contacts(world)]
                rows = [read.contact for read in reads]
            case "sign-ups":
                rows = self.jotform.submissions(PROGRAM.jotform.signup.form_id)
            case "setup form":
                rows = self.jotform.submissions(PROGRAM.jotform.setup.form_id)
            case "training form":
                rows = self.jotform.submissions(PROGRAM.jotform.training.form_id)
        return [str(row["id"]) for row in rows]


def some_contacts(world: World) -> list[int]:
    return list(world.active_ids())[:12]


def clients(simulator: Simulator, *, base_url: str | None = None, timeout_seconds: float = 20) -> Clients:
    return Clients(
        JotformResource(
            api_key=simulator.jotform_key,
            base_url=base_url or simulator.jotform_url,
            timeout_seconds=timeout_seconds,
        ),
        GivebutterResource(
            api_key=simulator.givebutter_key,
            base_url=base_url or simulator.givebutter_url,
            timeout_seconds=timeout_seconds,
            requests_per_second=10_000,
        ),
    )


def there(what: Read, world: World) -> list[str]:
    """Ids of the rows that a list has."""
    forms = {"sign-ups": "signup", "setup form": "setup", "training form": "training"}
    match what:
        case "contacts":
            return [str(contact_id) for contact_id in world.active_ids()]
        case "members":
            return [str(member.id) for member in world.members.values() if member.campaign_id == world.campaign.id]
        case "one by one":
            return [str(contact_id) for contact_id in some_contacts(world)]
        case _:
            return [row.id for row in world.submissions.values() if row.form == forms[what]]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_fault_costs_some_requests_or_a_message(simulator: Simulator, world: World, case: Case) -> None:
    simulator.faults.set(*case.faults)
    asking = clients(simulator, base_url=case.base_url, timeout_seconds=case.timeout_seconds)
    if case.says is None:
        read = asking.read(case.read, world)
        assert sorted(read) == sorted(there(case.read, world))
    else:
        with pytest.raises(ApiError) as caught:
            asking.read(case.read, world)
        assert case.is_said_by(str(caught.value)), str(caught.value)
    assert len(simulator.calls) == case.requests
    assert asking.jotform.retries + asking.givebutter.retries == case.again
    if case.faults:
        assert {call.fault for call in simulator.calls} - {None} == {fault.kind for fault in case.faults}


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.says and case.faults and case.read == "contacts"],
    ids=lambda case: case.title,
)
def test_once_it_is_over_the_same_client_reads_everything(simulator: Simulator, world: World, case: Case) -> None:
    simulator.faults.set(*case.faults)
    asking = clients(simulator, timeout_seconds=case.timeout_seconds)
    with pytest.raises(ApiError):
        asking.read(case.read, world)
    simulator.faults.set()
    simulator.calls.clear()
    before = asking.givebutter.retries
    assert sorted(asking.read(case.read, world)) == sorted(there(case.read, world))
    # A machine that is busy with other tests may answer later than the shortest timeouts.
    assert len(simulator.calls) - (asking.givebutter.retries - before) == REQUESTS[case.read]


@pytest.mark.slow  # it waits as long as an operator does
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.says and "It was tried" in case.says], ids=lambda case: case.title
)
def test_what_is_said_of_the_tries_holds_with_the_real_waits_too(
    simulator: Simulator, world: World, case: Case
) -> None:
    simulator.faults.set(*case.faults)
    asking = clients(simulator, base_url=case.base_url, timeout_seconds=case.timeout_seconds)
    with pytest.raises(ApiError) as caught:
        asking.read(case.read, world)
    assert case.is_said_by(str(caught.value)), str(caught.value)


def test_every_kind_of_fault_is_among_the_cases() -> None:
    kinds = set(fault_cases.Kind.__args__)  # type: ignore[attr-defined]
    assert {fault.kind for case in CASES for fault in case.faults} == kinds


def test_the_page_of_faults_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "faults.md"
    assert page.read_text(encoding="utf-8") == fault_cases.markdown(), (
        "run: python -m tests.resources.fault_cases > docs/faults.md"
    )


class TestAHostThatIsNotThere:
    @pytest.mark.usefixtures("no_waiting")
    def test_what_one_list_waited_for_in_vain_the_next_does_not(self, simulator: Simulator) -> None:
        jotform = clients(simulator, base_url=NOBODY_THERE).jotform
        tries = []
        for form_id in ("1", "2", "3"):
            before = jotform.calls
            with pytest.raises(ApiError, match=r"no usable answer.*JOTFORM_BASE_URL"):
                jotform.submissions(form_id)
            tries.append(jotform.calls - before)
        assert tries == [TRIES, 1, 1]

    @pytest.mark.usefixtures("no_waiting")
    def test_a_host_that_answers_again_gets_all_tries_again(self, simulator: Simulator, world: World) -> None:
        jotform = clients(simulator, timeout_seconds=5).jotform
        simulator.faults.set(fault_cases.Fault(endpoint="jotform.*", kind="reset", times=TRIES))
        with pytest.raises(ApiError, match=f"It was tried {TRIES} times"):
            jotform.user()
        simulator.faults.set(fault_cases.Fault(endpoint="jotform.*", kind="reset", first=2, times=TRIES - 1))
        before = jotform.calls
        assert jotform.user()
        assert jotform.user()
        assert jotform.calls - before == 1 + TRIES

    @pytest.mark.slow  # it waits as long as an operator does
    @pytest.mark.parametrize("address", [NOBODY_THERE, fault_cases.UNKNOWN_HOST])
    def test_it_is_left_after_about_ten_seconds(self, simulator: Simulator, address: str) -> None:
        jotform = clients(simulator, base_url=address).jotform
        began = time.monotonic()
        for form_id in ("1", "2", "3", "4"):
            with pytest.raises(ApiError):
                jotform.submissions(form_id)
        assert 3 < time.monotonic() - began < 14


def test_a_service_whose_clock_is_off_is_found_out(simulator: Simulator) -> None:
    givebutter = clients(simulator).givebutter
    givebutter.contact(1)
    assert givebutter.clock_ahead == timedelta(0)
    for seconds in (7200.0, -7200.0):
        simulator.faults.set(fault_cases.Fault(endpoint="givebutter.*", kind="clock", clock_ahead=seconds, times=None))
        givebutter.contact(1)
        assert abs(givebutter.clock_ahead.total_seconds() - seconds) < 60


def test_forms_of_the_nights_in_which_the_clocks_change_keep_their_times(simulator: Simulator) -> None:
    """The hour that comes twice is taken for its first time round: an hour early at most, and never lost."""
    form = PROGRAM.jotform.training
    submissions = clients(simulator).jotform.submissions(form.form_id)
    rows = submission_rows(FORM_TABLES["training"], submissions, form, PROGRAM.zone)
    read = sorted(moment for moment in rows["submitted_at"] if moment.replace(minute=30, second=0) in NIGHTS)
    in_the_second_round = AUTUMN + timedelta(hours=2)
    expected = [moment - timedelta(hours=moment == in_the_second_round) for moment in NIGHTS]
    assert read == sorted(expected)
