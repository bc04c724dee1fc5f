"""The inbox sensor, tick by tick, on a real instance and a real warehouse."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from mentor_pipeline.errors import MentorPipelineError
from mentor_pipeline.operator.imports import import_contacts_csv
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.sensors.inbox import CONTENTS_AT_ONCE, FILE_TAG, SHA_TAG, build_inbox_sensor
from mentor_pipeline.settings import Settings
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2025, 10, 28, 12, tzinfo=UTC)
TEXT = "Givebutter Contact ID,Last Name\n1,Elm\n"


@dg.op(name="raw_gb_full_contacts", config_schema={"source": str, "file": str, "allow_shrink": bool})
def _import_op() -> None: ...


@dg.job
def import_contacts() -> None:
    _import_op()


class World:
    """An installation of which the sensor sees one tick after the other."""

    def __init__(self, data_dir: Path, instance: dg.DagsterInstance) -> None:
        self.settings = Settings(data_dir=data_dir)
        self.inbox = self.settings.inbox_dir
        self.inbox.mkdir()
        self.warehouse = DuckDBWarehouse(self.settings.warehouse_path, busy_timeout_s=0.2)
        self.instance = instance
        self.cursor: str | None = None
        self.now = NOW
        self.sensor = build_inbox_sensor(import_contacts, clock=lambda: self.now)

    def tick(self) -> Any:
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"settings": self.settings, "warehouse": self.warehouse},
        )
        result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result

    def drop(self, name: str = "contacts.csv", text: str = TEXT) -> Path:
        path = self.inbox / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, request: dg.RunRequest) -> dg.DagsterRun:
        """The run that the daemon makes for a request."""
        return self.instance.create_run_for_job(import_contacts, run_config=request.run_config, tags={**request.tags})


@pytest.fixture
def world(tmp_path: Path) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


def keys(result: Any) -> list[str]:
    return [request.run_key.rpartition(":")[2] for request in result.run_requests or []]


def test_a_file_is_asked_for_in_the_second_tick_that_sees_it(world: World) -> None:
    assert world.tick().skip_message == "The inbox is empty."
    path = world.drop()
    first = world.tick()
    assert not first.run_requests
    assert "still changing" in first.skip_message
    (request,) = world.tick().run_requests
    assert request.run_key == f"{request.tags[SHA_TAG]}:1"
    assert request.run_config["ops"]["raw_gb_full_contacts"]["config"]["file"] == str(path)
    assert dg.validate_run_config(import_contacts, request.run_config)


def test_a_lost_cursor_costs_one_tick(world: World) -> None:
    world.drop()
    world.tick()
    world.cursor = None
    assert keys(world.tick()) == []
    assert keys(world.tick()) == ["1"]
    world.cursor = '{"contacts.csv": "nonsense"}'
    assert keys(world.tick()) == []


def test_an_imported_file_is_not_asked_for_again(world: World) -> None:
    path = world.drop()
    world.tick()
    world.tick()
    given = {"warehouse": world.warehouse, "program": program(), "now": NOW, "actor": "pat", "run_id": "r"}
    import_contacts_csv(path, **given, inbox=world.inbox)
    world.drop("again.csv")
    world.tick()
    result = world.tick()
    assert not result.run_requests
    assert "put away" in result.skip_message
    assert "already imported" in (world.inbox / "done" / "again.csv.txt").read_text()


def test_a_failed_run_is_followed_by_another_with_a_new_key(world: World) -> None:
    world.drop()
    world.tick()
    (request,) = world.tick().run_requests
    run = world.run(request)
    assert "under way" in world.tick().skip_message
    world.instance.report_run_failed(run)
    world.now = datetime.now(UTC)
    assert "attempt 1 failed" in world.tick().skip_message
    world.now += timedelta(minutes=1)
    assert keys(world.tick()) == ["2"]


def test_a_run_that_was_killed_before_it_reached_the_ledger_is_followed_by_another(world: World) -> None:
    """Dagster goes on believing that it runs; nobody holding the writer lock shows that it does not."""
    world.drop()
    world.tick()
    (request,) = world.tick().run_requests
    run = world.run(request)
    started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    world.instance.report_dagster_event(started, run_id=run.run_id)
    world.now = datetime.now(UTC)
    assert "under way" in world.tick().skip_message
    world.now += timedelta(minutes=2)
    assert keys(world.tick()) == ["2"]


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """Another process has the warehouse open to write."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        try:
            yield
        finally:
            process.kill()


def test_a_busy_warehouse_is_asked_again_at_the_next_tick(world: World) -> None:
    world.drop()
    world.tick()
    with held_open(world.settings.warehouse_path):
        result = world.tick()
    assert not result.run_requests
    assert "in use by" in result.skip_message
    assert keys(world.tick()) == ["1"]


def test_an_inbox_that_cannot_be_listed_fails_the_tick(world: World) -> None:
    world.inbox.rmdir()
    world.inbox.write_text("a file in its place", encoding="utf-8")
    with pytest.raises(MentorPipelineError, match="cannot be listed"):
        world.tick()


MANY = 10_000


def cpu_of(tick: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, which a busy machine does not stretch, and what the tick returned."""
    started = time.process_time()
    result = tick()
    return time.process_time() - started, result


def test_ticks_are_short_with_ten_thousand_files_and_as_many_done(world: World) -> None:
    """Half of the files were imported before, under other names; those of the rest come in turn."""
    sha256s = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(MANY)]
    done = pl.DataFrame({"sha256": sha256s, "filename": "x.csv", "status": "completed", "finished_at": NOW})
    world.warehouse.upsert("csv_import_log", done)
    for number in range(MANY // 2, MANY + MANY // 2):
        mixed = number * 7919 % (2 * MANY)  # old and new among each other
        (world.inbox / f"{mixed:05}.csv").write_bytes(b"%d" % number)
    asked: list[str] = []
    moved, ticks = 0, []
    for _ in range(4):
        seconds, result = cpu_of(world.tick)
        ticks.append(seconds)
        asked += [request.run_key for request in result.run_requests or []]
        there = {path.name for path in world.inbox.glob("*.csv")}
        put_away = {path.name for path in (world.inbox / "done").glob("*.csv")}
        assert len(there) + len(put_away) == MANY
        assert not there & put_away
        assert len(put_away) >= moved
        moved = len(put_away)
    assert median(ticks) < 1  # other tests may disturb one
    assert moved > 0
    assert asked
    assert not set(asked) & {f"{sha256}:1" for sha256 in sha256s}


def test_the_contents_of_a_hundred_files_are_asked_for_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way keeps its place, so that no flood of runs waits in the queue."""
    monkeypatch.setattr("mentor_pipeline.sensors.inbox.SECONDS_TO_READ", 60)  # the machine may be busy
    for number in range(CONTENTS_AT_ONCE + 1):
        world.drop(f"{number:03}.csv", f"{TEXT}{number}")
    world.tick()
    result = world.tick()
    assert keys(result) == ["1"] * CONTENTS_AT_ONCE
    world.run(result.run_requests[0])
    later = world.tick()
    assert result.run_requests[0].run_key not in {request.run_key for request in later.run_requests}
    assert len(later.run_requests) == CONTENTS_AT_ONCE - 1


def test_a_link_is_told_once_and_left_alone(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "contacts.csv").write_text(TEXT, encoding="utf-8")
    (world.inbox / "link.csv").symlink_to(tmp_path / "contacts.csv")
    said = [world.tick() for _ in range(3)]
    assert not any(tick.run_requests for tick in said)
    assert "link.csv: it is a link or a pipe" in said[-1].skip_message
    assert capfd.readouterr().err.count("link.csv in the inbox: it is a link") == 1
    (world.inbox / "link.csv").unlink()
    world.drop("link.csv")
    world.tick()
    assert keys(world.tick()) == ["1"]


def test_what_the_sensor_tells_steers_no_terminal(world: World) -> None:
    world.drop("a\x1b]0;t\x07.csv")
    assert world.tick().skip_message.isprintable()
    (request,) = world.tick().run_requests
    assert request.tags[FILE_TAG] == "a\ufffd]0;t\ufffd.csv"


def test_a_file_whose_runs_all_failed_is_rejected_with_the_reason(world: World) -> None:
    """Given runs that never reached the ledger, then the third is the last."""
    world.drop()
    world.tick()
    for attempt, minutes in ((1, 1), (2, 5), (3, 0)):
        (request,) = world.tick().run_requests
        assert request.run_key.endswith(f":{attempt}")
        world.instance.report_run_failed(world.run(request))
        world.now = datetime.now(UTC) + timedelta(minutes=minutes)
    assert not world.tick().run_requests
    assert (world.inbox / "rejected" / "contacts.csv").read_text(encoding="utf-8") == TEXT
    reason = (world.inbox / "rejected" / "contacts.csv.txt").read_text(encoding="utf-8")
    assert "3 runs for it failed" in reason
    assert "import-contacts" in reason
