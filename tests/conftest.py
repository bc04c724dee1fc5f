"""Fixtures of all tests: a data folder and an empty warehouse in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse

# On a fresh clone the first text that Hypothesis draws takes seconds: it makes its table of characters then. How long
# an example takes says nothing on a machine that other tests keep busy.
settings.register_profile("project", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _width_of_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some terminals and runners export their width; what a command prints into a pipe is not to depend on it."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture(params=["duckdb"])
def warehouse(request: pytest.FixtureRequest, data_dir: Path) -> Warehouse:
    """An empty warehouse; every test that takes it runs on each database."""
    makers = {"duckdb": lambda: DuckDBWarehouse(data_dir / "mentors.duckdb", busy_timeout_s=10)}
    return makers[request.param]()
