"""A local Jotform and Givebutter over HTTP, with a made-up world behind them.

`generate_world` invents a year (or `World.empty` starts with nobody), `Simulator` serves it on this machine, and the
world's methods let a person or a test change anything. The demo and the tests stand on it. All people are invented.
"""

from __future__ import annotations

from mentor_pipeline.simulator.csv_import import ImportResult, RefusedRow
from mentor_pipeline.simulator.faults import Fault
from mentor_pipeline.simulator.generate import generate_world
from mentor_pipeline.simulator.records import (
    Address,
    Behaviour,
    Campaign,
    Contact,
    Member,
    MentorClass,
    MentorTruth,
    Submission,
)
from mentor_pipeline.simulator.server import RateLimit, Simulator
from mentor_pipeline.simulator.world import World, WorldError

__all__ = [
    "Address",
    "Behaviour",
    "Campaign",
    "Contact",
    "Fault",
    "ImportResult",
    "Member",
    "MentorClass",
    "MentorTruth",
    "RateLimit",
    "RefusedRow",
    "Simulator",
    "Submission",
    "World",
    "WorldError",
    "generate_world",
]
