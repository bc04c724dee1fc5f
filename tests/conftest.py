"""Fixtures of all tests: a data folder, and an empty warehouse of each kind."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse
    from tests.postgres import Postgres

_BEGAN = pytest.StashKey[float]()

# On a fresh clone the first text that Hypothesis draws takes seconds: it makes its table of characters then. How long
# an example takes says nothing on a machine that other tests keep busy.
settings.register_profile("project", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a warehouse promises is tested on each database; what is built upon it, on Postgres only as slow tests."""
    for item in items:
        values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if values.get("warehouse") == "postgres" and "resources" not in item.path.parts:
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option of this suite."""
    parser.addoption("--begin-within", type=float, metavar="SECONDS", help="begin no test later; skip and name it")


def pytest_configure(config: pytest.Config) -> None:
    """Remember when the suite began; and let a Ctrl-C reach the programs under test, as it does in a terminal.

    A shell that runs the tests in its background has it ignored, by everything that they start, too.
    """
    config.stash[_BEGAN] = time.monotonic()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what would begin too late; the summary names it."""
    limit = item.config.getoption("--begin-within")
    if limit is not None and time.monotonic() - item.config.stash[_BEGAN] > limit:
        pytest.skip(f"not begun: the {limit:.0f} seconds for beginning tests were used up")


@pytest.fixture(autouse=True)
def _width_of_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some terminals and runners export their width; what a command prints into a pipe is not to depend on it."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres server for all tests of this process; started by the first that asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def duckdb_warehouse(data_dir: Path) -> DuckDBWarehouse:
    """An empty warehouse in a DuckDB file."""
    return DuckDBWarehouse(data_dir / "mentors.duckdb", busy_timeout_s=10)


@pytest.fixture
def postgres_warehouse(postgres: Postgres) -> PostgresWarehouse:
    """An empty warehouse on a Postgres server."""
    return PostgresWarehouse(postgres.empty("test"), busy_timeout_s=10)


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """An empty warehouse; every test that takes it runs on each database."""
    made: Warehouse = request.getfixturevalue(f"{request.param}_warehouse")
    return made
