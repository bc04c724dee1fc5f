"""The life of errors and warnings (R9)."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.findings import Problem, problem_rows
from mentor_pipeline.domain.problems import ACKNOWLEDGE, acknowledgement, live_on, of_table
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, together

STORED = TABLES["sync_warnings"]
LATER = NOW + timedelta(hours=1)
LATEST = NOW + timedelta(hours=2)
NO_ACTIONS = TABLES["operator_actions"].empty()
NOTHING = TABLES["detected_problems"].empty()
LIFE = ("first_seen_at", "last_seen_at", "resolved", "resolved_at", "resolution_method", "resolved_by")


def detected(*problems: Problem, asset: str = "signups") -> pl.DataFrame:
    return TABLES["detected_problems"].conform(problem_rows(YEAR, problems).with_columns(asset=pl.lit(asset)))


def bad_phone(value: str = "12", **changes) -> Problem:
    return Problem("invalid_phone", "no phone", mn_id="0001", field_name="phone", current_value=value, **changes)


def run(stored: pl.DataFrame, found: pl.DataFrame, actions: pl.DataFrame = NO_ACTIONS, at=NOW) -> pl.DataFrame:
    rows = live_on(found, stored, actions, now=at)
    return pl.concat([stored.join(rows, on="id", how="anti"), rows]).sort("id")


def life(stored: pl.DataFrame) -> list[tuple[object, ...]]:
    return stored.select(LIFE).rows()


def acknowledge(stored: pl.DataFrame, method: str = "ignored", at=LATER) -> pl.DataFrame:
    problem = stored.row(0, named=True)
    return action(ACKNOWLEDGE, target_id=problem["id"], value=acknowledgement(problem, method), at=at)


def test_errors_and_warnings_go_to_their_tables():
    found = detected(bad_phone("1", severity="error"), bad_phone("2"), bad_phone("3", severity="info"))
    assert of_table(found, "sync_errors")["current_value"].to_list() == ["1"]
    assert sorted(of_table(found, "sync_warnings")["current_value"]) == ["2", "3"]


def test_a_problem_is_one_row_however_often_it_is_seen():
    stored = run(run(STORED.empty(), detected(bad_phone())), detected(bad_phone()), at=LATER)
    assert life(stored) == [(NOW, LATER, False, None, None, None)]


def test_a_problem_that_two_assets_found_is_one_row():
    found = together(detected(bad_phone()), detected(bad_phone(), asset="mentors"))
    assert run(STORED.empty(), found).height == 1


def test_it_resolves_itself_when_it_is_gone_and_stays_so():
    stored = run(STORED.empty(), detected(bad_phone()))
    stored = run(stored, NOTHING, at=LATER)
    assert life(stored) == [(NOW, NOW, True, LATER, "auto", None)]
    assert live_on(NOTHING, stored, NO_ACTIONS, now=LATEST).is_empty()


def test_back_again_it_is_unresolved_and_known_from_its_first_day():
    stored = run(run(STORED.empty(), detected(bad_phone())), NOTHING, at=LATER)
    assert life(run(stored, detected(bad_phone()), at=LATEST)) == [(NOW, LATEST, False, None, None, None)]


@pytest.mark.parametrize("method", ["ignored", "manual"])
def test_an_acknowledged_one_stays_quiet(method):
    stored = run(STORED.empty(), detected(bad_phone()))
    actions = acknowledge(stored, method)
    for at in (LATER, LATEST):
        stored = run(stored, detected(bad_phone()), actions, at)
        assert life(stored) == [(NOW, at, True, LATER, method, "pat")]


def test_it_is_quiet_after_a_rebuild_from_nothing():
    actions = acknowledge(run(STORED.empty(), detected(bad_phone())))
    assert run(STORED.empty(), detected(bad_phone()), actions, LATEST)["resolved"].to_list() == [True]


def test_an_acknowledged_one_that_changes_is_told_again():
    stored = run(STORED.empty(), detected(bad_phone()))
    actions = acknowledge(stored)
    stored = run(stored, detected(bad_phone()), actions, LATER)
    worse = bad_phone(suggested_value="+17065550142")
    assert life(run(stored, detected(worse), actions, LATEST)) == [(NOW, LATEST, False, None, None, None)]
    other_value = run(stored, detected(bad_phone("13")), actions, LATEST)
    assert other_value.filter(pl.col("resolved").not_())["current_value"].to_list() == ["13"]


def test_the_newest_acknowledgement_counts():
    stored = run(STORED.empty(), detected(bad_phone()))
    worse = detected(bad_phone(suggested_value="+17065550142"))
    first = acknowledge(stored)
    second = acknowledge(run(stored, worse, first, LATER), at=LATEST)
    assert run(stored, worse, together(second, first), LATEST)["resolved"].to_list() == [True]


def test_one_acknowledged_and_gone_before_the_next_run_is_the_persons():
    stored = run(STORED.empty(), detected(bad_phone()))
    assert life(run(stored, NOTHING, acknowledge(stored, "manual"), LATEST)) == [
        (NOW, NOW, True, LATER, "manual", "pat")
    ]


def test_wording_is_refreshed():
    stored = run(STORED.empty(), detected(bad_phone()))
    reworded = Problem("invalid_phone", "said better", mn_id="0001", field_name="phone", current_value="12")
    assert run(stored, detected(reworded), at=LATER)["message"].to_list() == ["said better"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sets(st.sampled_from("123")), max_size=4), st.randoms(use_true_random=False))
def test_a_second_run_changes_nothing_and_order_never_matters(runs, random):
    stored = STORED.empty()
    for hour, values in enumerate(runs):
        found = detected(*map(bad_phone, sorted(values)))
        at = NOW + timedelta(hours=hour)
        once = run(stored, found, at=at)
        shuffled = run(stored.sample(fraction=1, shuffle=True, seed=1), detected(*map(bad_phone, values)), at=at)
        assert_frame_equal(once, shuffled)
        assert_frame_equal(once, run(once, found, at=at))
        assert set(once.filter(pl.col("resolved").not_())["current_value"]) == values
        stored = once.sample(fraction=1, shuffle=True, seed=random.randint(0, 99))
