"""The installation that the stories begin with: a made-up world, synced once, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from mentor_pipeline.simulator import generate_world
from tests.acceptance.installation import going_on, installed
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres

ON_BOTH: Final = {"test_kills"}
"""Stories that `make test` tells on both databases; there is also `test_both_databases`, on what tables hold."""
ON_BOTH_SLOWLY: Final = {
    "test_new_mentor", "test_both_directions", "test_decisions", "test_faults", "test_archive",
    "test_crowds", "test_kills_in_commits", "test_full_disk", "test_first_day", "test_every_hour", "test_secrets",
}  # fmt: skip
"""Stories that `make test-slow` tells on Postgres too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tell every story on DuckDB, and some on Postgres."""
    if "database" in metafunc.fixturenames:
        databases: list[object] = ["duckdb"]
        story = metafunc.module.__name__.rpartition(".")[2]
        if story in ON_BOTH:
            databases.append("postgres")
        elif story in ON_BOTH_SLOWLY:
            databases.append(pytest.param("postgres", marks=pytest.mark.slow))
        metafunc.parametrize("database", databases, indirect=True, scope="session")


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """The Postgres server for the tables; None for DuckDB."""
    return request.getfixturevalue("postgres") if request.param == "postgres" else None


@pytest.fixture(scope="session")
def synced(tmp_path_factory: pytest.TempPathFactory, database: Postgres | None) -> Iterator[Installation]:
    """A fresh installation after its first sync. Only read; `story` goes on from here."""
    world = generate_world(program(), seed=11, mentors=120, contacts=2200)
    with installed(tmp_path_factory.mktemp("synced") / "data", world, postgres=database) as installation:
        installation.sync()
        yield installation


@pytest.fixture(scope="module")
def story(synced: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A copy of `synced` for one module: it may do with it what it likes."""
    with going_on(synced, tmp_path_factory.mktemp("story")) as installation:
        yield installation
