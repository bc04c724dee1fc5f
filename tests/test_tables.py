"""The table specs themselves: casting, and the page that is made from them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from mentor_pipeline import tables
from mentor_pipeline.tables import TABLES, Column, Table, Type


def test_the_page_of_tables_is_up_to_date() -> None:
    page = Path(__file__).parents[1] / "docs" / "tables.md"
    assert page.read_text(encoding="utf-8") == tables.markdown(), (
        "run: python -m mentor_pipeline.tables > docs/tables.md"
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_and_column_is_described(table: Table) -> None:
    assert table.key
    assert table.description.endswith(".")
    assert [c.name for c in table.columns if not c.description] == []


def test_a_key_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="table t: key columns missing"):
        Table("t", "T.", (Column("a", Type.TEXT, "A."),), ("b",))


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a column named twice"):
        Table("t", "T.", (Column("a", Type.TEXT, "A."), Column("a", Type.TEXT, "A.")), ("a",))


def test_a_frame_is_cast_by_name_and_completed_with_nulls() -> None:
    frame = pl.DataFrame({"raised": [12], "member_id": [7], "year": [2025], "phone": pl.Series([None])})
    row = TABLES["raw_gb_campaign_members"].conform(frame)
    assert row.schema == TABLES["raw_gb_campaign_members"].schema
    assert row.row(0, named=True)["raised"] == Decimal("12.00")
    assert row.row(0, named=True)["page_url"] is None


def test_times_keep_their_moment_in_utc() -> None:
    at = pl.Series([datetime(2025, 11, 9, 17, tzinfo=UTC)]).dt.convert_time_zone("America/New_York")
    row = TABLES["mentor_aliases"].conform(pl.DataFrame({"at": at}))
    assert row["at"].item() == datetime(2025, 11, 9, 17, tzinfo=UTC)
    assert row["at"].dtype == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (pl.DataFrame({"shoe_size": [44]}), r"table mentors: unknown columns \['shoe_size'\]"),
        (pl.DataFrame({"year": [2**40]}), "table mentors: .*conversion"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_table(frame: pl.DataFrame, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TABLES["mentors"].conform(frame)


def test_only_an_extensible_table_takes_further_columns_as_text() -> None:
    rows = TABLES["mn_gb_import"].conform(pl.DataFrame({"Shift": [1], "mn_id": ["1"]}))
    assert rows.columns == [*TABLES["mn_gb_import"].column_names, "Shift"]
    assert rows["Shift"].to_list() == ["1"]
    assert TABLES["mn_gb_import"].type_of("Shift") is Type.TEXT
    with pytest.raises(KeyError, match="has no column 'Shift'"):
        TABLES["mentors"].type_of("Shift")
