"""Saving and loading, the control API, and the simulator as a program of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from mentor_pipeline.simulator import Simulator, World, WorldError, generate_world
from mentor_pipeline.simulator.csv_export import contacts_csv
from tests.simulator.conftest import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.settings import ProgramYear


def test_a_saved_world_is_the_same_after_loading(program: ProgramYear, tmp_path: Path) -> None:
    clock = Clock()
    world = generate_world(program, mentors=60, contacts=400, columns=70, clock=clock)
    world.behaviour.import_replaces_tags = True
    path = tmp_path / "deeper" / "world.json.gz"
    world.save(path)
    loaded = World.load(path)
    assert loaded.program == program
    for part in ("contacts", "members", "submissions", "truth", "campaigns", "campaign", "custom_fields", "behaviour"):
        assert getattr(loaded, part) == getattr(world, part), part
    loaded.clock = clock
    assert contacts_csv(loaded) == contacts_csv(world)
    assert loaded.add_contact(last_name="New") == world.add_contact(last_name="New")
    assert loaded.submit("setup") == world.submit("setup")
    assert [file.name for file in path.parent.iterdir()] == ["world.json.gz"]


def test_ids_are_not_given_twice_after_a_deletion_and_a_reload(world: World, tmp_path: Path) -> None:
    gone = world.add_contact(last_name="Gone")
    world.delete_contact(gone)
    world.save(tmp_path / "world.gz")
    assert World.load(tmp_path / "world.gz").add_contact(last_name="New") > gone


def test_what_is_no_saved_world_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "world.gz"
    with pytest.raises(WorldError, match="no saved world"):
        World.load(path)
    path.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(WorldError, match="no saved world"):
        World.load(path)


def test_import_and_export_over_http(world: World, control: httpx.Client) -> None:
    file = "First Name,Last Name,Contact External ID\r\nMaya,Foxgrove,0042\r\nLiam,,0043\r\n"
    result = control.post("/import", content=file.encode()).json()
    assert len(result["created"]) == 1
    assert result["refused"][0]["external_id"] == "0043"
    assert result["failed_csv"].startswith("ERRORS,")
    answer = control.get("/export.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="contacts-2025-10-01-' in answer.headers["content-disposition"]
    assert answer.text == contacts_csv(world)
    assert "Contact Since" not in control.get("/export.csv", params={"columns": "2025"}).text
    assert control.post("/import", content=b"\xff\xfe").status_code == 422


def test_submissions_and_edits_over_http(world: World, control: httpx.Client) -> None:
    body = {"form": "signup", "fields": {"name": "Maya Foxgrove", "mn_id": "MN0042"}}
    created = control.post("/submissions", json=body)
    assert created.status_code == 201
    assert world.submission(created.json()["submission_id"]).answers["3"] == "MN0042"
    assert control.post("/submissions", json={"form": "signup", "fields": {"shoe_size": 9}}).status_code == 422
    assert control.post("/submissions", json={"form": "poll", "fields": {}}).status_code == 422
    contact_id = world.add_contact(last_name="Foxgrove")
    edited = control.patch(f"/contacts/{contact_id}", json={"prefix": "Mai", "tags": ["Dropped 25"]})
    assert (edited.status_code, edited.json()["prefix"]) == (200, "Mai")
    assert world.contact(contact_id).tags == ["Dropped 25"]
    for path, change in (("1", {}), (str(contact_id), {"id": 3}), (str(contact_id), {"tags": "Donor"})):
        refused = control.patch(f"/contacts/{path}", json=change)
        assert refused.status_code == 422
        assert "Nothing was changed" in refused.json()["message"]
    assert control.get("/status").json()["submissions"]["signup"] == 1


def test_truth_over_http(program: ProgramYear) -> None:
    world = generate_world(program, mentors=50, contacts=150)
    with Simulator(world) as sim:
        told = {truth["submission_id"]: truth for truth in httpx.get(f"{sim.control_url}/truth").json()}
    assert len(told) == 50
    for submission_id, truth in world.truth.items():
        assert told[submission_id]["contact_id"] == truth.contact_id
        assert told[submission_id]["class_"] == truth.class_


def test_requests_and_edits_at_once_do_not_disturb_each_other(program: ProgramYear) -> None:
    world = generate_world(program, mentors=20, contacts=600)
    ids = list(world.active_ids())
    with Simulator(world) as sim, httpx.Client(headers={"Authorization": f"Bearer {sim.givebutter_key}"}) as client:

        def read(page: int) -> int:
            answer = client.get(f"{sim.givebutter_url}/contacts", params={"page": page % 6 + 1, "per_page": 100})
            return len(answer.json()["data"])

        def edit(number: int) -> None:
            world.edit_contact(ids[number], prefix=f"P{number}")
            world.add_contact(last_name=f"New{number}")

        with ThreadPoolExecutor(8) as pool:
            edits = [pool.submit(edit, number) for number in range(200)]
            pages = list(pool.map(read, range(60)))
            for done in edits:
                done.result()
        assert set(pages) == {100}
        assert client.get(f"{sim.givebutter_url}/contacts").json()["meta"]["total"] == 800
    assert all(world.contact(ids[number]).prefix == f"P{number}" for number in range(200))


def test_the_program_serves_saves_and_opens_again(tmp_path: Path) -> None:
    state = tmp_path / "world.gz"
    command = [sys.executable, "-m", "mentor_pipeline.simulator", "--port", "0", "--state", str(state)]

    def run(*options: str) -> tuple[int, int]:
        """Start it, hand in one form, interrupt it; contacts and sign-ups it had at the end."""
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            url = next(line for line in lines if "JOTFORM_BASE_URL" in line).strip().split("=")[1]
            control = url.replace("/jotform", "/_simulator")
            httpx.post(f"{control}/submissions", json={"form": "signup", "fields": {}}).raise_for_status()
            counts = httpx.get(f"{control}/status").json()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
        assert process.returncode == 0
        return counts["contacts"], counts["submissions"]["signup"]

    contacts, signups = run("--mentors", "20", "--contacts", "60")
    assert contacts == 60
    assert len([s for s in World.load(state).submissions.values() if s.form == "signup"]) == signups
    assert run() == (contacts, signups + 1)
