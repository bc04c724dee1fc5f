"""What the simulated services answer, page by page, without a server between: for benches and tests of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from mentor_pipeline.simulator.givebutter_api import endpoints as givebutter_endpoints
from mentor_pipeline.simulator.jotform_api import MAX_LIMIT
from mentor_pipeline.simulator.jotform_api import endpoints as jotform_endpoints
from mentor_pipeline.simulator.wire import Call

if TYPE_CHECKING:
    from mentor_pipeline.simulator import World


def submissions(world: World, form_id: str) -> list[dict[str, Any]]:
    """All of a form's submissions, as the simulated Jotform answers."""
    answer = next(e.answer for e in jotform_endpoints("key") if e.name == "jotform.submissions")
    rows: list[dict[str, Any]] = []
    page = None
    while page is None or len(page) == MAX_LIMIT:
        query = {"limit": str(MAX_LIMIT), "offset": str(len(rows))}
        call = Call("", "GET", "", {"id": form_id}, query, {"apikey": "key"})
        page = orjson.loads(answer(world, call).body())["content"]
        rows += page
    return rows


def listed(world: World, what: str) -> list[dict[str, Any]]:
    """All pages of the simulated Givebutter's members or contacts."""
    answer = next(e.answer for e in givebutter_endpoints("key") if e.name == f"givebutter.{what}")
    path, headers = {"id": str(world.campaign.id)}, {"authorization": "Bearer key"}
    rows: list[dict[str, Any]] = []
    page = None
    while page is None or len(page) == 100:
        query = {"per_page": "100", "page": str(1 + len(rows) // 100)}
        call = Call("", "GET", "https://givebutter.example.com", path, query, headers)
        page = orjson.loads(answer(world, call).body())["data"]
        rows += page
    return rows
