"""A run of one asset that is made up, with its real checks and something downstream of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.run_guard import RunGuard
from tests.builders import YEAR, program
from tests.checks.made_up import CHECKS, Checked

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse
    from tests.checks.made_up import Check, Store


@pytest.fixture
def check(warehouse: Warehouse, data_dir: Path) -> Check:
    """Store a frame as an asset's, by the real IO manager, with the asset's real checks, in a real run."""

    def run(table: str, frame: pl.DataFrame) -> Checked:
        computed: list[str] = []

        @dg.asset(name=table)
        def made_up() -> pl.DataFrame:
            return frame

        @dg.asset(deps=[table])
        def downstream() -> None:
            computed.append("downstream")

        guard = RunGuard(warehouse=warehouse, wait_s=0)
        result = dg.materialize(
            [made_up, downstream, CHECKS[table]],
            resources={
                "io_manager": WarehouseIOManager(year=YEAR, warehouse=warehouse, guard=guard),
                "warehouse": warehouse,
                "program": program(),
            },
            raise_on_error=False,
        )
        evaluations = {one.check_name: one for one in result.get_asset_check_evaluations()}
        return Checked(evaluations, bool(computed))

    return run


@pytest.fixture
def store(warehouse: Warehouse) -> Store:
    """Put rows of any table into the warehouse."""

    def put(table: str, rows: pl.DataFrame) -> None:
        with warehouse.write() as transaction:
            transaction.upsert(table, rows)

    return put
