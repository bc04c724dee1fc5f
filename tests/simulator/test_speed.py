"""The full-size world is quick enough to stand under every demo and test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from mentor_pipeline.simulator import Simulator, World, generate_world

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.settings import ProgramYear


@pytest.mark.slow
def test_full_size(program: ProgramYear, tmp_path: Path) -> None:
    started = time.monotonic()
    world = generate_world(program)
    assert time.monotonic() - started < 5

    world.save(tmp_path / "world.gz")
    started = time.monotonic()
    World.load(tmp_path / "world.gz")
    assert time.monotonic() - started < 3

    started = time.monotonic()
    seen: set[int] = set()

    with Simulator(world) as sim:
        headers = {"Authorization": f"Bearer {sim.givebutter_key}"}
        with httpx.Client(base_url=sim.givebutter_url, headers=headers) as client:
            for page in range(1, 491):
                answer = client.get("/contacts", params={"page": page, "per_page": 100})
                seen.update(contact["id"] for contact in answer.json()["data"])
    assert seen == set(world.active_ids())
    assert time.monotonic() - started < 20
