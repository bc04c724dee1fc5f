"""What every warehouse promises, whatever the database."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline import tables
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import WarehouseError
from mentor_pipeline.tables import TABLES, Column, Table, Type
from tests.resources.other_process import links, other_process

if TYPE_CHECKING:
    from mentor_pipeline.resources.warehouse import Warehouse

EVERY_TYPE = Table(
    "every_type",
    "One column of each type; it's only for tests.",
    (Column("id", Type.INTEGER, "Key."), *(Column(kind.name.lower(), kind, f"A {kind}.") for kind in Type)),
    ("id",),
)


@pytest.fixture
def every_type(monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setitem(TABLES, EVERY_TYPE.name, EVERY_TYPE)  # type: ignore[arg-type]
    return EVERY_TYPE


def mentors(*mn_ids: str, year: int = 2025, **values: Any) -> pl.DataFrame:
    return pl.DataFrame({"year": year, "mn_id": mn_ids, **values}, schema_overrides={"mn_id": pl.String})


def contacts(*ids: int, **values: Any) -> pl.DataFrame:
    return pl.DataFrame({"contact_id": ids, **values}, schema_overrides={"contact_id": pl.Int64})


# -- tables that are empty, or not there yet -----------------------------------------------------------------------


def test_a_table_never_written_reads_as_typed_and_empty(warehouse: Warehouse) -> None:
    found = warehouse.read_or_empty("mentors")
    assert found.schema == TABLES["mentors"].schema
    assert found.is_empty()
    assert warehouse.read_or_empty("mentors", columns=["mn_id", "tags"], year=2025).columns == ["mn_id", "tags"]
    assert not warehouse.table_exists("mentors")


def test_reading_a_table_never_written_says_what_to_do(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"Table mentors is not there yet.*Run a sync first"):
        warehouse.read("mentors")


def test_an_empty_frame_makes_a_typed_table(warehouse: Warehouse) -> None:
    warehouse.replace("mentors", pl.DataFrame(schema={"mn_id": pl.Null}), year=2025)
    assert warehouse.table_exists("mentors")
    assert warehouse.read("mentors").schema == TABLES["mentors"].schema
    assert warehouse.counts(["mentors", "mn_tasks"]) == {"mentors": 0, "mn_tasks": 0}


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_of_the_specs_can_be_made(warehouse: Warehouse, table: str) -> None:
    warehouse.append(table, TABLES[table].empty())
    assert warehouse.read(table).schema == TABLES[table].schema


# -- by name, by type, by key --------------------------------------------------------------------------------------


def test_values_go_by_column_name_not_by_position(warehouse: Warehouse) -> None:
    rows = mentors("1", first_name="Ada", last_name="Birch")
    warehouse.replace("mentors", rows.select(reversed(rows.columns)), year=2025)
    assert warehouse.read("mentors", columns=["last_name", "first_name"]).rows() == [("Birch", "Ada")]


def test_rows_read_in_the_order_of_the_key(warehouse: Warehouse) -> None:
    warehouse.replace("mentors", mentors("2", "10", "1"), year=2025)
    assert warehouse.read("mentors", columns=["mn_id"])["mn_id"].to_list() == ["1", "10", "2"]
    assert warehouse.read("mentors", columns=["is_placeholder"]).columns == ["is_placeholder"]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (mentors("3", "4", "3", "4", "5"), "2 keys occur more than once: year 2025, mn_id 3; year 2025, mn_id 4"),
        (pl.DataFrame({"year": [2025], "mn_id": [None]}), "1 rows lack a part of their key: year 2025, mn_id None"),
        (mentors("3", shoe_size=44), r"unknown columns \['shoe_size'\]"),
        (mentors("3", amount_raised="a lot"), "conversion from `str` to `decimal"),
        (mentors("3", year=2026), r"1 rows do not belong to \{'year': 2025\}, e.g. year 2026, mn_id 3"),
    ],
    ids=["one key twice", "no key", "unknown column", "wrong type", "other year"],
)
def test_rows_that_do_not_fit_are_refused_by_name_and_the_old_ones_stay(
    warehouse: Warehouse, rows: pl.DataFrame, complaint: str
) -> None:
    warehouse.replace("mentors", mentors("1", "2"), year=2025)
    with pytest.raises(WarehouseError, match=rf"(?s)able mentors: .*{complaint}.*Nothing was written"):
        warehouse.replace("mentors", rows, year=2025)
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1", "2"]


def test_a_key_that_another_slice_holds_fails_and_the_old_rows_stay(warehouse: Warehouse) -> None:
    problem = pl.DataFrame({"id": ["p1"], "year": [2025], "asset": ["signups"]})
    warehouse.append("detected_problems", problem)
    with pytest.raises(WarehouseError, match="detected_problems"):
        warehouse.replace("detected_problems", problem.with_columns(year=2026), year=2026)
    assert warehouse.read("detected_problems")["year"].to_list() == [2025]


def test_text_that_is_no_json_fails_and_the_old_rows_stay(warehouse: Warehouse) -> None:
    warehouse.append("raw_gb_full_contacts", contacts(1, custom_fields='{"a": "b"}'))
    with pytest.raises(WarehouseError, match=r"raw_gb_full_contacts.*Nothing was changed"):
        warehouse.upsert("raw_gb_full_contacts", contacts(1, custom_fields="{a: b"))
    assert json.loads(warehouse.read("raw_gb_full_contacts")["custom_fields"].item()) == {"a": "b"}


# -- replace, upsert, append ---------------------------------------------------------------------------------------


def test_replace_touches_only_its_year(warehouse: Warehouse) -> None:
    warehouse.replace("mentors", mentors("1", "2", year=2025), year=2025)
    assert warehouse.replace("mentors", mentors("2", "3", "4", year=2026), year=2026) == 3
    assert warehouse.replace("mentors", mentors("9", year=2025), year=2025) == 1
    assert warehouse.read("mentors", columns=["year", "mn_id"]).rows() == [
        (2025, "9"), (2026, "2"), (2026, "3"), (2026, "4"),
    ]  # fmt: skip
    assert warehouse.read("mentors", year=2026, columns=["mn_id"])["mn_id"].to_list() == ["2", "3", "4"]


def test_a_year_is_required_where_there_is_one_and_refused_where_there_is_none(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="table mentors has a year"):
        warehouse.replace("mentors", mentors("1"))
    with pytest.raises(ValueError, match="table duplicate_gb_contacts has no year"):
        warehouse.replace("duplicate_gb_contacts", TABLES["duplicate_gb_contacts"].empty(), year=2025)
    with pytest.raises(ValueError, match="table raw_gb_full_contacts has no year"):
        warehouse.read_or_empty("raw_gb_full_contacts", year=2025)
    warehouse.append("raw_gb_full_contacts", contacts(1))
    with pytest.raises(ValueError, match="table raw_gb_full_contacts has no year"):
        warehouse.read("raw_gb_full_contacts", year=2025)


def test_a_table_without_year_is_replaced_whole(warehouse: Warehouse) -> None:
    for group in ("a", "b"):
        warehouse.replace("duplicate_gb_contacts", pl.DataFrame({"group_id": [group]}))
    assert warehouse.read("duplicate_gb_contacts")["group_id"].to_list() == ["b"]


def test_replace_slice_touches_only_its_slice(warehouse: Warehouse) -> None:
    def found(asset: str, *ids: str) -> pl.DataFrame:
        return pl.DataFrame({"asset": asset, "id": ids, "year": 2025}, schema_overrides={"id": pl.String})

    with warehouse.write() as transaction:
        transaction.replace_slice("detected_problems", found("signups", "1", "2"), {"asset": "signups", "year": 2025})
        transaction.replace_slice("detected_problems", found("mentors", "2"), {"asset": "mentors", "year": 2025})
        transaction.replace_slice("detected_problems", found("signups", "3"), {"asset": "signups", "year": 2025})
    stored = warehouse.read("detected_problems", columns=["asset", "id"])
    assert stored.rows() == [("mentors", "2"), ("signups", "3")]


def test_upsert_writes_new_and_changed_rows_and_leaves_the_others(warehouse: Warehouse) -> None:
    first = contacts(1, 2, first_name=["Ada", "Ben"], tags=[["a", "b"], []])
    assert warehouse.upsert("raw_gb_full_contacts", first) == 2
    assert warehouse.upsert("raw_gb_full_contacts", first) == 0
    assert warehouse.upsert("raw_gb_full_contacts", contacts(2, 3, first_name=["Bob", "Cora"], tags=[[], None])) == 2
    stored = warehouse.read("raw_gb_full_contacts", columns=["contact_id", "first_name", "tags"])
    assert stored.rows() == [(1, "Ada", ["a", "b"]), (2, "Bob", []), (3, "Cora", None)]


def test_the_rows_of_some_keys_are_read_alone(warehouse: Warehouse) -> None:
    table = "raw_gb_full_contacts"
    with warehouse.write() as transaction:
        assert transaction.read_of(table, contacts(1)).is_empty()
        transaction.upsert(table, contacts(3, 1, 2, city=["C", "A", "B"]))
        found = transaction.read_of(table, contacts(9, 3, 1))
        assert found.schema == TABLES[table].schema
        assert found.select("contact_id", "city").rows() == [(1, "A"), (3, "C")]
        assert transaction.read_of(table, contacts(9)).is_empty()
        assert transaction.read_of(table, contacts()).is_empty()


def test_append_never_changes_a_stored_row(warehouse: Warehouse) -> None:
    assert warehouse.append("mentor_aliases", links("999001", note="0042")) == 1
    assert warehouse.append("mentor_aliases", links("999001", "999002", note="0043")) == 1
    stored = warehouse.read("mentor_aliases", columns=["old_mn_id", "mn_id"])
    assert stored.rows() == [("999001", "0042"), ("999002", "0043")]


# -- columns that come later ---------------------------------------------------------------------------------------


def test_custom_fields_become_columns_of_an_extensible_table(warehouse: Warehouse) -> None:
    label = '📱 Custom "Text" Message 1️⃣; DROP TABLE mentors'
    warehouse.replace("mn_gb_import", mentors("1", **{"First Name": "Ada"}), year=2025)
    warehouse.replace("mn_gb_import", mentors("1", year=2026, **{label: 12}), year=2026)
    stored = warehouse.read("mn_gb_import")
    assert stored.columns == [*TABLES["mn_gb_import"].column_names, label]
    assert stored[label].to_list() == [None, "12"]
    assert warehouse.read("mn_gb_import", columns=[label, "mn_id"], year=2026).rows() == [("12", "1")]


def test_columns_declared_later_are_added_to_the_stored_table(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = TABLES["mentors"]
    before = Table("mentors", now.description, tuple(c for c in now.columns if c.name != "tags"), now.key)
    monkeypatch.setitem(TABLES, "mentors", before)  # type: ignore[arg-type]
    warehouse.replace("mentors", mentors("1", first_name="Ada"), year=2025)
    monkeypatch.setitem(TABLES, "mentors", now)  # type: ignore[arg-type]
    assert warehouse.read("mentors", columns=["tags", "first_name"]).rows() == [(None, "Ada")]
    warehouse.replace("mentors", mentors("2", year=2026, tags=[["SWAB"]]), year=2026)
    assert warehouse.read("mentors").columns == now.column_names
    assert warehouse.read("mentors", columns=["mn_id", "tags"]).rows() == [("1", None), ("2", ["SWAB"])]


def test_columns_no_longer_declared_stay_stored_but_are_not_read(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = TABLES["mentors"]
    warehouse.replace("mentors", mentors("1", tags=[["SWAB"]]), year=2025)
    after = Table("mentors", now.description, tuple(c for c in now.columns if c.name != "tags"), now.key)
    monkeypatch.setitem(TABLES, "mentors", after)  # type: ignore[arg-type]
    assert "tags" not in warehouse.read("mentors").columns
    assert warehouse.query("SELECT tags FROM mentors")["tags"].to_list() == [["SWAB"]]


# -- values --------------------------------------------------------------------------------------------------------


def test_times_of_any_zone_come_back_in_utc(warehouse: Warehouse) -> None:
    noon = datetime(2025, 11, 9, 12, tzinfo=timezone(timedelta(hours=-5)))
    warehouse.append("mentor_aliases", links("1").with_columns(at=pl.lit(noon)))
    at = warehouse.read("mentor_aliases")["at"]
    assert at.dtype == pl.Datetime("us", "UTC")
    assert at.item() == datetime(2025, 11, 9, 17, tzinfo=UTC)


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_BIGINT = st.integers(-(2**63), 2**63 - 1)
_VALUES: dict[Type, st.SearchStrategy[object]] = {
    Type.TEXT: _TEXT,
    Type.INTEGER: st.integers(-(2**31), 2**31 - 1),
    Type.BIGINT: _BIGINT,
    Type.DOUBLE: st.floats(allow_nan=False),
    Type.MONEY: st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2),
    Type.BOOLEAN: st.booleans(),
    Type.DATE: st.dates(date(1, 1, 1)),
    Type.TIMESTAMP: st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    Type.JSON: st.recursive(
        st.none() | st.booleans() | _BIGINT | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps),
    Type.TEXT_LIST: st.lists(st.none() | _TEXT, max_size=3),
    Type.BIGINT_LIST: st.lists(st.none() | _BIGINT, max_size=3),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({kind.name.lower(): st.none() | _VALUES[kind] for kind in Type}), max_size=4))
def test_every_value_of_every_type_comes_back_as_it_was(
    warehouse: Warehouse, every_type: Table, rows: list[dict[str, object]]
) -> None:
    frame = pl.DataFrame(
        [{"id": number, **row} for number, row in enumerate(rows)], schema=every_type.schema, orient="row"
    )
    with warehouse.write() as transaction:
        transaction.replace("every_type", frame)
        assert transaction.upsert("every_type", frame) == 0
    # JSON comes back as it was meant; Postgres does not keep how it was written.
    in_one_form = pl.col("json").map_elements(lambda text: to_json(json.loads(text)), return_dtype=pl.String)
    stored = warehouse.read("every_type")
    assert_frame_equal(stored.with_columns(in_one_form), frame.with_columns(in_one_form))


def test_the_value_strategies_cover_every_type() -> None:
    assert set(_VALUES) == set(Type) == set(tables.POLARS_TYPES)


# -- transactions --------------------------------------------------------------------------------------------------


def test_several_tables_are_written_together(warehouse: Warehouse) -> None:
    with warehouse.write() as transaction:
        transaction.replace("mentors", mentors("1"), year=2025)
        transaction.upsert("raw_gb_full_contacts", contacts(1))
        assert transaction.read("mentors")["mn_id"].to_list() == ["1"]
        assert transaction.count("mentors", year=2025) == 1
        assert transaction.count("mentors", year=2026) == 0
    assert warehouse.counts(["mentors", "raw_gb_full_contacts"]) == {"mentors": 1, "raw_gb_full_contacts": 1}


def test_anything_raised_in_the_middle_undoes_all_of_it(warehouse: Warehouse) -> None:
    warehouse.replace("mentors", mentors("1"), year=2025)

    def write_half() -> None:
        with warehouse.write() as transaction:
            transaction.replace("mentors", mentors("2", "3"), year=2025)
            transaction.append("mentor_aliases", links("999001"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]
    assert not warehouse.table_exists("mentor_aliases")


def test_a_refused_frame_in_the_middle_undoes_what_came_before(warehouse: Warehouse) -> None:
    def write_half() -> None:
        with warehouse.write() as transaction:
            transaction.replace("mentors", mentors("1"), year=2025)
            transaction.append("mentor_aliases", links("7", "7"))

    with pytest.raises(WarehouseError, match="more than once"):
        write_half()
    assert not warehouse.table_exists("mentors")


def test_a_thread_reads_the_old_rows_while_another_writes(warehouse: Warehouse) -> None:
    warehouse.replace("mentors", mentors("1"), year=2025)
    seen: list[list[str]] = []

    def look() -> None:
        seen.append(warehouse.read("mentors")["mn_id"].to_list())

    with warehouse.write() as transaction:
        transaction.replace("mentors", mentors("2"), year=2025)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert seen == [["1"], ["2"]]


def test_two_threads_write_different_tables_at_once(warehouse: Warehouse) -> None:
    with warehouse.write() as transaction:
        transaction.append("mentor_aliases", links("1"))
        thread = threading.Thread(target=warehouse.append, args=("raw_gb_full_contacts", contacts(1)))
        thread.start()
        thread.join()
        transaction.append("mentor_aliases", links("2"))
    assert warehouse.counts(["mentor_aliases", "raw_gb_full_contacts"]) == {
        "mentor_aliases": 2,
        "raw_gb_full_contacts": 1,
    }


def test_one_reader_sees_one_moment(warehouse: Warehouse) -> None:
    warehouse.append("mentor_aliases", links("1"))
    with warehouse.reading() as reader:
        assert reader.counts(["mentor_aliases"]) == {"mentor_aliases": 1}
        assert reader.read("mentor_aliases", columns=["old_mn_id"]).rows() == [("1",)]


def test_a_query_takes_parameters_and_cannot_write(warehouse: Warehouse) -> None:
    warehouse.append("mentor_aliases", links("1", "2", "O'Neil; --"))
    found = warehouse.query(
        "SELECT old_mn_id FROM mentor_aliases WHERE year = $1 AND old_mn_id = $2", [2025, "O'Neil; --"]
    )
    assert found.rows() == [("O'Neil; --",)]
    with pytest.raises(WarehouseError, match="Nothing was changed"):
        warehouse.query("DELETE FROM mentor_aliases")
    assert warehouse.counts(["mentor_aliases"]) == {"mentor_aliases": 3}


def test_a_query_does_not_take_a_python_variable_for_a_table(warehouse: Warehouse) -> None:
    frame = mentors("1")
    with pytest.raises(WarehouseError, match=r'frame"? does not exist'):
        warehouse.query("SELECT * FROM frame")
    assert frame.height == 1


def test_a_killed_writer_leaves_the_old_rows(warehouse: Warehouse) -> None:
    warehouse.replace("mentor_aliases", links("1", note="old"), year=2025)
    with other_process("write_half", warehouse) as process:
        process.kill()
        process.wait()
        assert warehouse.read("mentor_aliases", columns=["old_mn_id", "mn_id"]).rows() == [("1", "old")]
        assert not warehouse.table_exists("placeholder_ids")
        assert warehouse.append("mentor_aliases", links("2")) == 1
