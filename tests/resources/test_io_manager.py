"""Assets' frames in and out of the warehouse, by real Dagster runs."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.domain.findings import Computed, Conflict, Problem, conflict_rows, problem_rows
from mentor_pipeline.resources.io_managers import WarehouseIOManager, column_schema
from mentor_pipeline.resources.run_guard import RunGuard
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.tables import TABLES


def rows(*mn_ids: str, year: int = 2025, **values: Any) -> pl.DataFrame:
    return pl.DataFrame({"year": year, "mn_id": mn_ids, **values}, schema_overrides={"mn_id": pl.String})


def returning(key: str, value: object, **options: Any) -> dg.AssetsDefinition:
    """An asset that returns what it is given."""

    @dg.asset(name=key, **options)
    def asset() -> Any:
        return value

    return asset


@pytest.fixture
def run(warehouse: Warehouse) -> Any:
    """Materialize assets into the warehouse."""

    def materialize(*assets: Any, year: int = 2025, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
        guard = RunGuard(warehouse=warehouse, wait_s=0)
        return dg.materialize(
            list(assets),
            resources={
                "warehouse": warehouse,
                "io_manager": WarehouseIOManager(year=year, warehouse=warehouse, guard=guard),
            },
            raise_on_error=raise_on_error,
        )

    return materialize


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(asset)
    return {key: value.value for key, value in event.metadata.items()}


def test_a_frame_is_stored_under_the_assets_name_and_read_by_the_next(run: Any, warehouse: Warehouse) -> None:
    @dg.asset(ins={"mentors": dg.AssetIn(metadata={"columns": ["mn_id", "year"]})})
    def mn_tasks(mentors: pl.DataFrame) -> pl.DataFrame:
        assert mentors.columns == ["mn_id", "year"]
        return mentors.with_columns(setup_done=True)

    result = run(returning("mentors", rows("1", "2")), mn_tasks)
    assert warehouse.read("mn_tasks", columns=["mn_id", "setup_done"]).rows() == [("1", True), ("2", True)]
    assert metadata(result, "mn_tasks") == {"dagster/row_count": 2, "rows written": 2}


def test_a_plain_resource_reaches_an_asset_as_it_is(run: Any, warehouse: Warehouse) -> None:
    @dg.asset
    def mentors(warehouse: dg.ResourceParam[Warehouse]) -> pl.DataFrame:
        known = warehouse.read_or_empty("mentors")["mn_id"]
        return rows(*known, str(len(known)))

    run(mentors)
    run(mentors)
    assert warehouse.read("mentors")["mn_id"].to_list() == ["0", "1"]


def test_only_the_years_rows_are_written_and_read(run: Any, warehouse: Warehouse) -> None:
    seen: dict[str, list[int]] = {}

    @dg.asset
    def mn_tasks(mentors: pl.DataFrame) -> None:
        seen["this year"] = mentors["year"].to_list()

    @dg.asset(ins={"mentors": dg.AssetIn(metadata={"all_years": True})})
    def partner_matches(mentors: pl.DataFrame) -> None:
        seen["all years"] = mentors["year"].to_list()

    run(returning("mentors", rows("1", "2", year=2025)), year=2025)
    result = run(returning("mentors", rows("1", year=2026)), mn_tasks, partner_matches, year=2026)
    assert seen == {"this year": [2026], "all years": [2025, 2025, 2026]}
    assert warehouse.counts(["mentors"]) == {"mentors": 3}
    assert metadata(result, "mentors")["dagster/row_count"] == 1


def test_the_table_of_an_asset_that_never_ran_is_read_as_empty(run: Any) -> None:
    seen: list[pl.DataFrame] = []

    @dg.asset(ins={"mentors": dg.AssetIn(key="mentors")})
    def mn_tasks(mentors: pl.DataFrame) -> None:
        seen.append(mentors)

    run(mn_tasks, dg.AssetSpec("mentors"))
    assert seen[0].schema == TABLES["mentors"].schema


@pytest.mark.parametrize(
    ("asset", "frames", "stored", "counted"),
    [
        ("raw_gb_full_contacts", [{"contact_id": [1, 2]}, {"contact_id": [2, 3]}], [1, 2, 3], (3, 1)),
        ("duplicate_gb_contacts", [{"group_id": ["a", "b"]}, {"group_id": ["c"]}], ["c"], (1, 1)),
        ("mn_changes", [{"id": ["1"], "year": 2025}, {"id": ["2", "3"], "year": 2025}], ["1", "2", "3"], (3, 2)),
        ("operator_actions", [{"id": ["1"], "year": 2025}, {"id": ["1", "2"], "year": 2025}], ["1", "2"], (2, 1)),
    ],
)
def test_rows_are_written_as_the_tables_spec_says(
    run: Any, warehouse: Warehouse, asset: str, frames: Sequence[Any], stored: list[object], counted: tuple[int, int]
) -> None:
    for frame in frames:
        result = run(returning(asset, pl.DataFrame(frame)))
    assert warehouse.read(asset)[TABLES[asset].key[0]].to_list() == stored
    assert metadata(result, asset) == {"dagster/row_count": counted[0], "rows written": counted[1]}


def test_findings_replace_what_the_same_asset_found_before(run: Any, warehouse: Warehouse) -> None:
    def found(asset: str, problems: pl.DataFrame | None, conflicts: pl.DataFrame | None = None) -> Any:
        return run(returning(asset, Computed(rows("1"), problems, conflicts)))

    bad_phone = Problem("invalid_phone", "Ada's phone is none.", mn_id="1")
    bad_email = Problem("invalid_email", "Ada's e-mail is none.", mn_id="1")
    which = Conflict("1", "phone_mismatch", {"value": "1", "source": "a"}, {"value": "2", "source": "b"}, "mentors")
    found("signups", problem_rows(2025, [bad_phone]))
    result = found("mentors", problem_rows(2025, [bad_phone, bad_email]), conflict_rows(2025, [which]))
    assert metadata(result, "mentors")["problems found"] == {"invalid_email": 1, "invalid_phone": 1}
    assert metadata(result, "mentors")["conflicts found"] == {"phone_mismatch": 1}
    found("mentors", problem_rows(2025, [bad_email]), None)
    found("signups", None)

    problems = warehouse.read("detected_problems", columns=["asset", "type"]).rows()
    assert problems == [("mentors", "invalid_email"), ("signups", "invalid_phone")]
    assert warehouse.read("detected_conflicts", columns=["asset", "mn_id"]).rows() == [("mentors", "1")]

    result = found("signups", problem_rows(2025, []))
    assert "problems found" not in metadata(result, "signups")
    assert warehouse.read("detected_problems")["asset"].to_list() == ["mentors"]


def test_findings_of_another_year_stay(run: Any, warehouse: Warehouse) -> None:
    problem = Problem("invalid_phone", "Ada's phone is none.", mn_id="1")
    for year in (2025, 2026):
        run(returning("signups", Computed(rows("1", year=year), problem_rows(year, [problem]))), year=year)
    assert sorted(warehouse.read("detected_problems")["year"].to_list()) == [2025, 2026]


def test_all_of_an_assets_tables_are_written_or_none(run: Any, warehouse: Warehouse) -> None:
    aliases = pl.DataFrame({"year": [2025], "old_mn_id": ["999001"]})
    run(returning("mentors", Computed(rows("1"), also={"mentor_aliases": aliases})))

    twice = pl.DataFrame({"year": [2025, 2025], "old_mn_id": ["999002", "999002"]})
    problems = problem_rows(2025, [Problem("invalid_phone", "Ada's phone is none.")])
    result = run(
        returning("mentors", Computed(rows("2"), problems, also={"mentor_aliases": twice})), raise_on_error=False
    )
    assert not result.success
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]
    assert warehouse.read("mentor_aliases")["old_mn_id"].to_list() == ["999001"]
    assert warehouse.read_or_empty("detected_problems").is_empty()


def test_further_tables_are_told(run: Any) -> None:
    aliases = pl.DataFrame({"year": [2025], "old_mn_id": ["999001"]})
    result = run(returning("mentors", Computed(rows("1"), also={"mentor_aliases": aliases})))
    assert metadata(result, "mentors")["further tables"] == {"mentor_aliases": 1}


def test_a_materialize_result_with_a_value_keeps_its_metadata(run: Any, warehouse: Warehouse) -> None:
    @dg.asset
    def mentors() -> dg.MaterializeResult[pl.DataFrame]:
        return dg.MaterializeResult(value=rows("1"), metadata={"source": "a form"})

    assert metadata(run(mentors), "mentors") == {"source": "a form", "dagster/row_count": 1, "rows written": 1}
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]


def test_no_value_stores_nothing(run: Any, warehouse: Warehouse) -> None:
    @dg.asset
    def mentors() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": 7})

    assert metadata(run(mentors), "mentors") == {"rows": 7}
    run(returning("mn_tasks", None))
    assert not warehouse.table_exists("mentors")
    assert not warehouse.table_exists("mn_tasks")


def test_a_check_reads_its_assets_rows(run: Any) -> None:
    @dg.asset_check(asset="mentors", blocking=True)
    def mn_id_unique(mentors: pl.DataFrame) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=mentors["mn_id"].is_unique().all(), metadata={"rows": mentors.height})

    (evaluation,) = run(returning("mentors", rows("1", "2")), mn_id_unique).get_asset_check_evaluations()
    assert evaluation.passed
    assert evaluation.metadata["rows"].value == 2


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_catalog_gets_every_columns_type_and_meaning(table: str) -> None:
    spec = TABLES[table]
    columns = column_schema(table).columns
    assert [(c.name, c.type, c.description) for c in columns] == [
        (c.name, c.type.value, c.description) for c in spec.columns
    ]
    assert [c.name for c in columns if not c.constraints.nullable] == [n for n in spec.column_names if n in spec.key]
    assert [c.name for c in columns if c.constraints.unique] == (list(spec.key) if len(spec.key) == 1 else [])
