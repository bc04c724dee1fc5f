"""Dagster's own storage on a server: `deploy/dagster.yaml` with a real Postgres."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import dagster as dg

if TYPE_CHECKING:
    import pytest

    from tests.postgres import Postgres

DEPLOY: Final = Path(__file__).parents[2] / "deploy"


@dg.job
def trivial() -> None:
    dg.op(name="nothing")(lambda: None)()


def test_runs_are_kept_in_postgres(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    name = urlsplit(postgres.database()).path.lstrip("/")
    variables = {"HOST": "", "PORT": "5432", "USER": "postgres", "PASSWORD": "", "DB": name}
    for variable, value in variables.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{variable}", value)
    # Without a host, the driver looks here for the server's socket.
    monkeypatch.setenv("PGHOST", str(postgres.folder / "data"))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run_id = trivial.execute_in_process(instance=instance).run_id
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        assert all(type(storage).__name__.startswith("Postgres") for storage in storages)
        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_success
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]
