"""The installation that the stories begin with: a made-up world, synced once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.simulator import generate_world
from tests.acceptance.installation import going_on, installed
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.installation import Installation


@pytest.fixture(scope="session")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A fresh installation after its first sync. Only read; `story` goes on from here."""
    world = generate_world(program(), seed=11, mentors=120, contacts=2200)
    with installed(tmp_path_factory.mktemp("synced") / "data", world) as installation:
        installation.sync()
        yield installation


@pytest.fixture(scope="module")
def story(synced: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A copy of `synced` for one module: it may do with it what it likes."""
    with going_on(synced, tmp_path_factory.mktemp("story")) as installation:
        yield installation
