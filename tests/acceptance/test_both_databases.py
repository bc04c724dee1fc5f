"""One world on DuckDB and on Postgres (sync, export, Givebutter's import, sync): every table says the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mentor_pipeline.simulator import World, generate_world
from mentor_pipeline.tables import TABLES, Type
from tests.acceptance.installation import installed
from tests.builders import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres

_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MOMENT = re.compile(r"\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d:?\d\d(\.\d+)?(Z|\+00:00)?")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> dict[str, dict[str, pl.DataFrame]]:
    """Every table of either database, in the end."""
    folder, began = tmp_path_factory.mktemp("both"), datetime.now(UTC)
    generate_world(program(), seed=5, mentors=40, contacts=300).save(folder / "world.json.gz")
    servers = {"duckdb": None, "postgres": postgres}
    return {name: _played(folder, name, server, began) for name, server in servers.items()}


def _played(folder: Path, name: str, server: Postgres | None, began: datetime) -> dict[str, pl.DataFrame]:
    world = World.load(folder / "world.json.gz")
    with installed(folder / name, world, postgres=server) as there:
        there.sync()
        (file,) = there.export()
        assert world.import_csv(file).refused == []
        there.sync()
        return {name: _without_run(there, name, began) for name in TABLES}


def _without_run(there: Installation, table: str, began: datetime) -> pl.DataFrame:
    """A table without what is another one in every run: ids of runs, and moments since it began."""
    spec, frame = TABLES[table], there.table(table)
    if table == "sync_log":
        frame = frame.drop("duration_s").sort("started_at")
    columns = []
    for column in frame.columns:
        match spec.type_of(column):
            case Type.TIMESTAMP:
                columns.append(pl.when(pl.col(column) < began).then(pl.col(column)).alias(column))
            case Type.JSON:
                columns.append(pl.col(column).map_elements(_told, return_dtype=pl.String))
            case Type.TEXT:
                columns.append(pl.col(column).map_elements(_plain, return_dtype=pl.String))
            case _:
                columns.append(pl.col(column))
    frame = frame.select(columns)
    return frame if table == "sync_log" else frame.sort(spec.key)


def _told(text: str) -> str:
    return _plain(json.dumps(json.loads(text), sort_keys=True))


def _plain(text: str) -> str:
    return _MOMENT.sub("a moment", _RUN_ID.sub("a run", text))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_says_the_same_on_both_databases(both: dict[str, Any], table: str) -> None:
    assert_frame_equal(both["postgres"][table], both["duckdb"][table])


def test_there_is_something_to_compare(both: dict[str, Any]) -> None:
    filled = {name for name, frame in both["duckdb"].items() if not frame.is_empty()}
    assert {"mentors", "raw_gb_full_contacts", "mentor_history", "mn_changes", "sync_conflicts", "sync_log"} <= filled
    assert len(filled) >= 25
