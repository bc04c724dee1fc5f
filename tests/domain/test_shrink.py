from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from mentor_pipeline.domain.shrink import guard_against_collapse, merge_listing
from mentor_pipeline.errors import SourceShrankError
from mentor_pipeline.tables import TABLES

MONDAY = datetime(2025, 10, 6, tzinfo=UTC)
TUESDAY = datetime(2025, 10, 7, tzinfo=UTC)
WEDNESDAY = datetime(2025, 10, 8, tzinfo=UTC)
MEMBERS = TABLES["raw_gb_campaign_members"]


def guard(before: int | None, now_count: int, *, percent: int = 80, allow_shrink: bool = False) -> None:
    guard_against_collapse(
        "Jotform form 1", before=before, now_count=now_count, percent=percent, allow_shrink=allow_shrink
    )


@pytest.mark.parametrize(("before", "now_count"), [(1000, 799), (1000, 0), (50, 39), (10, 0), (49_000, 100)])
def test_a_list_that_lost_more_than_a_fifth_and_ten_rows_is_refused(before: int, now_count: int) -> None:
    with pytest.raises(
        SourceShrankError, match=rf"Jotform form 1 has {now_count} rows, but had {before}.*--allow-shrink"
    ):
        guard(before, now_count)
    guard(before, now_count, allow_shrink=True)


@pytest.mark.parametrize(
    ("before", "now_count"), [(None, 0), (0, 0), (1000, 800), (1000, 1200), (9, 0), (49, 40), (20, 11)]
)
def test_other_lists_are_believed(before: int | None, now_count: int) -> None:
    guard(before, now_count)


def test_the_limit_is_the_year_file_s() -> None:
    guard(1000, 600, percent=60)
    with pytest.raises(SourceShrankError):
        guard(1000, 599, percent=60)


def members(**raised: int) -> pl.DataFrame:
    rows = {
        "year": [2025] * len(raised),
        "member_id": [int(name[1:]) for name in raised],
        "raised": list(raised.values()),
    }
    return MEMBERS.conform(pl.DataFrame(rows, schema_overrides={"member_id": pl.Int64}))


def merge(known: pl.DataFrame, listed: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return merge_listing(known, listed, key="member_id", now=now).sort("member_id")


class TestMerging:
    def test_rows_at_first_sight(self) -> None:
        merged = merge(MEMBERS.empty(), members(m1=10, m2=20), MONDAY)
        assert merged["first_seen_at"].to_list() == merged["last_seen_at"].to_list() == [MONDAY, MONDAY]
        assert merged["missing_since"].to_list() == [None, None]
        assert merged.schema == MEMBERS.schema

    def test_the_same_list_again_changes_nothing_but_when_it_was_seen(self) -> None:
        first = merge(MEMBERS.empty(), members(m1=10, m2=20), MONDAY)
        second = merge(first, members(m1=10, m2=20), TUESDAY)
        assert second.drop("last_seen_at").equals(first.drop("last_seen_at"))
        assert second["last_seen_at"].unique().to_list() == [TUESDAY]

    def test_a_vanished_row_is_marked_once_and_keeps_its_values(self) -> None:
        first = merge(MEMBERS.empty(), members(m1=10, m2=20), MONDAY)
        second = merge(first, members(m1=11), TUESDAY)
        third = merge(second, members(m1=11), WEDNESDAY)
        gone = third.row(1, named=True)
        assert (gone["raised"], gone["last_seen_at"], gone["missing_since"]) == (20, MONDAY, TUESDAY)
        assert third.row(0, named=True)["raised"] == 11

    def test_a_row_that_is_back_loses_the_mark(self) -> None:
        first = merge(MEMBERS.empty(), members(m1=10), MONDAY)
        second = merge(first, members(), TUESDAY)
        third = merge(second, members(m1=12), WEDNESDAY).row(0, named=True)
        assert (third["raised"], third["first_seen_at"], third["missing_since"]) == (12, MONDAY, None)

    def test_a_row_listed_twice_is_one_row(self) -> None:
        twice = pl.concat([members(m1=10), members(m1=11)])
        assert merge(MEMBERS.empty(), twice, MONDAY)["raised"].to_list() == [11]
