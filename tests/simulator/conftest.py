from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from mentor_pipeline.settings import load_program_year, packaged_config_dir
from mentor_pipeline.simulator import Simulator, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.settings import ProgramYear

NOON = datetime(2025, 10, 1, 16, 0, tzinfo=UTC)
"""Noon in Athens, Georgia: daylight saving, four hours behind UTC."""


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **how_long: float) -> datetime:
        self.now += timedelta(**how_long)
        return self.now


@pytest.fixture(scope="session")
def program() -> ProgramYear:
    return load_program_year(packaged_config_dir() / "2025.toml")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(program: ProgramYear, clock: Clock) -> World:
    return World.empty(program, clock=clock)


@pytest.fixture
def sim(world: World) -> Iterator[Simulator]:
    with Simulator(world) as simulator:
        yield simulator


@pytest.fixture
def jotform(sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.jotform_url, headers={"APIKEY": sim.jotform_key}) as client:
        yield client


@pytest.fixture
def givebutter(sim: Simulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {sim.givebutter_key}"}
    with httpx.Client(base_url=sim.givebutter_url, headers=headers) as client:
        yield client


@pytest.fixture
def control(sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.control_url) as client:
        yield client
