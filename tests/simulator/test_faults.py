"""The plan of faults: which calls it befalls, and how it is given, in the program and over HTTP."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import ValidationError

from mentor_pipeline.simulator import Simulator, WorldError
from mentor_pipeline.simulator.faults import Fault

if TYPE_CHECKING:
    from mentor_pipeline.simulator import World


def statuses(client: httpx.Client, path: str, count: int, **query: Any) -> list[int]:
    return [client.get(path, params=query).status_code for _ in range(count)]


def test_a_fault_befalls_the_calls_it_names_and_no_others(sim: Simulator, givebutter: httpx.Client) -> None:
    sim.faults.set(Fault(endpoint="givebutter.contacts", kind="refused", status=500, first=2, times=2))
    assert statuses(givebutter, "/campaigns", 2) == [200, 200]
    assert statuses(givebutter, "/contacts", 5) == [200, 500, 500, 200, 200]
    assert [call.fault for call in sim.calls] == [None, None, None, "refused", "refused", None, None]


def test_calls_are_counted_by_their_query_and_path(sim: Simulator, givebutter: httpx.Client) -> None:
    one, other = (sim.world.add_contact(last_name="Alder") for _ in range(2))
    sim.faults.set(
        Fault(endpoint="givebutter.contacts", kind="refused", query={"page": "3"}),
        Fault(endpoint="givebutter.contact", kind="refused", status=404, path={"id": str(one)}, times=None),
    )
    assert [statuses(givebutter, "/contacts", 1, page=page) for page in (1, 2, 3, 3)] == [[200], [200], [503], [200]]
    assert [statuses(givebutter, f"/contacts/{id_}", 2) for id_ in (other, one)] == [[200, 200], [404, 404]]


def test_the_first_fault_of_the_list_that_befalls_a_call_is_met(sim: Simulator, jotform: httpx.Client) -> None:
    sim.faults.set(
        Fault(endpoint="jotform.user", kind="refused", status=502),
        Fault(endpoint="jotform.*", kind="refused", status=500, times=2),
    )
    assert statuses(jotform, "/user", 3) == [502, 500, 200]


def test_a_plan_counts_from_when_it_was_set(sim: Simulator, jotform: httpx.Client) -> None:
    fault = Fault(endpoint="jotform.user", kind="refused", first=2)
    for _ in range(2):
        sim.faults.set(fault)
        assert statuses(jotform, "/user", 3) == [200, 503, 200]
    sim.faults.set()
    assert statuses(jotform, "/user", 3) == [200, 200, 200]


@pytest.mark.parametrize("kind", ["refused", "refused_in_body"])
def test_each_service_refuses_in_its_own_words(
    sim: Simulator, jotform: httpx.Client, givebutter: httpx.Client, kind: Any
) -> None:
    sim.faults.set(Fault(endpoint="*", kind=kind, status=403, message="No.", times=None))
    told = jotform.get("/user"), givebutter.get("/campaigns")
    assert [answer.status_code for answer in told] == [200 if kind == "refused_in_body" else 403] * 2
    assert {"responseCode": 403, "message": "No."}.items() <= told[0].json().items()
    assert told[1].json() == {"message": "No."}


def test_retry_after_in_seconds_and_as_a_date_of_the_services_clock(sim: Simulator, givebutter: httpx.Client) -> None:
    late = Fault(endpoint="*", kind="refused", status=429, seconds=30, as_date=True, clock_ahead=3600)
    sim.faults.set(Fault(endpoint="*", kind="refused", status=429, seconds=30), late)
    assert givebutter.get("/campaigns").headers["retry-after"] == "30"
    sim.faults.set(late)
    headers = givebutter.get("/campaigns").headers
    wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    assert wait.total_seconds() == pytest.approx(30, abs=1)
    assert parsedate_to_datetime(headers["date"]).timestamp() == pytest.approx(time.time() + 3600, abs=5)


def test_answers_that_do_not_arrive_whole(sim: Simulator, givebutter: httpx.Client) -> None:
    whole = givebutter.get("/campaigns").content
    kinds: list[Any] = ["cut_short", "drip", "reset", "hang"]
    sim.faults.set(*(Fault(endpoint="*", kind=kind, seconds=0.1, first=n) for n, kind in enumerate(kinds, start=1)))
    assert givebutter.get("/campaigns").content == whole[: len(whole) // 2]
    assert givebutter.get("/campaigns").content == whole
    with pytest.raises(httpx.ReadError):
        givebutter.get("/campaigns")
    with pytest.raises(httpx.ReadTimeout):
        givebutter.get("/campaigns", timeout=0.1)
    assert givebutter.get("/campaigns").content == whole


def test_a_hanging_call_does_not_keep_the_simulator_from_ending(world: World) -> None:
    with Simulator(world, faults=[Fault(endpoint="*", kind="hang")]) as sim, pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{sim.givebutter_url}/campaigns", timeout=0.1)


def test_rows_that_leave_and_pages_that_shift(sim: Simulator, givebutter: httpx.Client, jotform: httpx.Client) -> None:
    ids = [sim.world.add_contact(last_name="Alder") for _ in range(6)]
    forms = [sim.world.submit("setup") for _ in range(6)]
    form_id = sim.world.forms["setup"].form_id

    def contacts() -> tuple[list[int], int]:
        answer = givebutter.get("/contacts", params={"page": 2, "per_page": 2}).json()
        return [row["id"] for row in answer["data"]], answer["meta"]["total"]

    def submissions() -> list[str]:
        query = {"offset": 2, "limit": 2, "direction": "ASC"}
        return [row["id"] for row in jotform.get(f"/form/{form_id}/submissions", params=query).json()["content"]]

    for fault, rows, total in (
        (Fault(endpoint="*", kind="rows_gone", rows=1, times=None), slice(3, 5), 5),
        (Fault(endpoint="*", kind="rows_shifted", rows=1, times=None), slice(3, 5), 6),
        (Fault(endpoint="*", kind="rows_shifted", rows=-1, times=None), slice(1, 3), 6),
        (Fault(endpoint="*", kind="empty", times=None), slice(0, 0), 0),
    ):
        sim.faults.set(fault)
        assert contacts() == (ids[rows], total)
        assert submissions() == forms[rows]


def test_a_plan_is_set_and_told_over_http(control: httpx.Client, jotform: httpx.Client) -> None:
    faults = [{"endpoint": "jotform.user", "kind": "web_page", "status": 502, "times": None}]
    assert control.put("/faults", json=faults).status_code == 200
    assert jotform.get("/user").headers["content-type"].startswith("text/html")
    (told,) = control.get("/faults").json()
    assert faults[0].items() <= told.items()
    assert told["calls"] == 1
    for wrong in ([{"endpoint": "jotform.user"}], [{"endpoint": "jotform.users", "kind": "hang"}], {"kind": "hang"}):
        refused = control.put("/faults", json=wrong)
        assert refused.status_code == 422
        assert "The faults stay as they were" in refused.json()["message"]
    assert jotform.get("/user").status_code == 502
    assert control.put("/faults", json=[]).json() == []
    assert jotform.get("/user").status_code == 200


def test_a_fault_that_nobody_can_meet_is_refused(world: World) -> None:
    with pytest.raises(WorldError, match=r"no endpoint \['givebutter.contact_list'\]"):
        Simulator(world, faults=[Fault(endpoint="givebutter.contact_list", kind="hang")])
    with pytest.raises(ValidationError):
        Fault.model_validate({"endpoint": "jotform.user", "kind": "hang", "after": 3})
