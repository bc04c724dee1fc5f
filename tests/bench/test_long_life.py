"""Days that go by: what is kept for so many days is all that there is."""

from __future__ import annotations

from typing import Any

import pytest

from bench.long_life import WHAT_HAPPENED, Pace, as_text, live

DAYS, KEPT = 30, 5


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """How large everything was after each day of a month, with a sync a day and five days of keeping."""
    folder = tmp_path_factory.mktemp("life")
    told = live(Pace(syncs=DAYS, a_day=1, every=1, keep_days=KEPT), folder, mentors=20, contacts=150)
    assert as_text("a machine", told).count("\n") == DAYS + 1
    life = {one["syncs"]: one for one in told}
    life[0] = {"exported": {path.name for path in (folder / "data" / "exports").iterdir()}}
    return life


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_second_half_of_a_long_life_adds_nothing_to_speak_of(life: dict[int, dict[str, Any]]) -> None:
    """Compared are days of the same weekday, for a weekly file leaves runs of its own."""
    early, late = life[DAYS - 14], life[DAYS]
    for place, spare in {"dagster_mb": 1.1, "exports_mb": 1.1, "logs_mb": 1.0, "other_mb": 1.1}.items():
        assert late[place] <= early[place] * spare, (place, early, late)
    assert life[KEPT - 2]["exports_mb"] < early["exports_mb"]  # there was something to let go
    assert life[KEPT - 2]["dagster_mb"] < early["dagster_mb"]
    assert late["warehouse_mb"] <= early["warehouse_mb"] * 1.5 + 1
    assert late["rows"]["all others"] <= early["rows"]["all others"] * 1.02


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_what_happened_is_kept_with_a_row_each(life: dict[int, dict[str, Any]]) -> None:
    early, late = (life[day]["rows"] for day in (DAYS - 14, DAYS))
    added = {name: late[name] - early[name] for name in WHAT_HAPPENED}
    assert added["sync_log"] == 14 * 4 + 2
    assert added["csv_import_log"] == 2
    assert all(0 <= added[name] <= 5 * 14 for name in WHAT_HAPPENED)
    days = {name.partition("T")[0] for name in life[0]["exported"]}
    assert 1 <= len(days) <= 2 * (KEPT + 1)
