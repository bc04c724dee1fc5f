"""What is DuckDB's own: one file, one process at a time, and what DuckDB says when something is wrong with it."""

from __future__ import annotations

import re
import signal
import threading
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from mentor_pipeline.errors import WarehouseBusyError, WarehouseError
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.tables import TABLES
from tests.builders import row
from tests.resources.other_process import STARTED, links, other_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(data_dir: Path) -> Path:
    return data_dir / "mentors.duckdb"


# -- several processes ---------------------------------------------------------------------------------------------


def test_whoever_comes_second_waits_and_then_gets_through(path: Path) -> None:
    warehouse = DuckDBWarehouse(path, busy_timeout_s=30)
    with other_process("hold", path) as process:
        found: list[pl.DataFrame] = []
        reader = threading.Thread(target=lambda: found.append(warehouse.read("mentor_aliases")))
        reader.start()
        process.communicate("go on\n")
        reader.join()
    assert found[0]["old_mn_id"].to_list() == ["held"]


@pytest.mark.parametrize(
    "use",
    [
        lambda warehouse: warehouse.append("mentor_aliases", links("1")),
        lambda warehouse: warehouse.read_or_empty("mentor_aliases"),
    ],
    ids=["write", "read"],
)
def test_a_process_that_keeps_the_file_is_named(path: Path, use: Callable[[DuckDBWarehouse], object]) -> None:
    with other_process("hold", path) as process, pytest.raises(WarehouseBusyError) as refused:
        use(DuckDBWarehouse(path, busy_timeout_s=0.3))
    assert str(path) in str(refused.value)
    assert f"process {process.pid} (" in str(refused.value)
    assert "python" in str(refused.value)
    assert "Nothing was read or changed. Wait until it has finished" in str(refused.value)


def test_a_run_that_keeps_the_file_is_named_with_its_job_and_since_when(path: Path) -> None:
    with other_process("run", path) as process, pytest.raises(WarehouseBusyError) as refused:
        DuckDBWarehouse(path, busy_timeout_s=0.3).read("mentor_aliases")
    said = rf"run 0f3a9c21 of job sync \(process {process.pid}, hourly_sync, since \d{{4}}-\d\d-\d\d [\d:]{{8}} UTC\)"
    assert re.search(said, str(refused.value))


def test_several_processes_read_at_once(path: Path) -> None:
    warehouse = DuckDBWarehouse(path, busy_timeout_s=0.3)
    warehouse.append("mentor_aliases", links("1"))
    with warehouse.reading() as reader, other_process("read", path):
        assert reader.counts(["mentor_aliases"]) == {"mentor_aliases": 1}


def test_a_write_waits_for_the_readers_of_its_own_process(path: Path) -> None:
    warehouse = DuckDBWarehouse(path, busy_timeout_s=0.3)
    warehouse.append("mentor_aliases", links("1"))
    with warehouse.reading(), pytest.raises(WarehouseBusyError, match="another part of this same process"):
        warehouse.append("mentor_aliases", links("2"))
    assert warehouse.append("mentor_aliases", links("2")) == 1


def test_times_are_utc_wherever_the_machine_stands(path: Path) -> None:
    with other_process("write_time", path, TZ="America/New_York") as process:
        said, _ = process.communicate("go on\n")
    assert said.strip() == STARTED.isoformat()
    assert DuckDBWarehouse(path).read("mentor_aliases")["at"].item() == STARTED


# -- the file ------------------------------------------------------------------------------------------------------


def test_the_file_is_made_on_the_first_write_for_its_owner_only(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    warehouse.read_or_empty("mentors")
    assert not path.parent.exists()
    warehouse.append("mentor_aliases", links("1"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_two_who_make_the_file_at_once_share_it(path: Path) -> None:
    threads = [
        threading.Thread(target=DuckDBWarehouse(path).append, args=(table, TABLES[table].empty()))
        for table in ("mentors", "mn_tasks", "signups", "mentor_aliases")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(DuckDBWarehouse(path).query("SELECT * FROM duckdb_tables()")) == 4


def test_descriptions_are_stored_with_the_columns(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    warehouse.append("mentor_aliases", links("1"))
    found = warehouse.query("SELECT comment FROM duckdb_columns() WHERE column_name = $1", ["old_mn_id"])
    assert found["comment"].to_list() == ["The placeholder."]


def make_folder_of_it(path: Path) -> None:
    path.mkdir(parents=True)


def make_text_of_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mn_id,name\n" * 1000, encoding="utf-8")


def make_it_newer(path: Path) -> None:
    DuckDBWarehouse(path).append("mentor_aliases", links("1"))
    content = bytearray(path.read_bytes())
    content[12:20] = (5000).to_bytes(8, "little")  # storage version, behind the header's checksum and magic bytes
    checksum = 5381
    for start in range(8, 4096, 8):
        checksum ^= int.from_bytes(content[start : start + 8], "little") * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = checksum.to_bytes(8, "little")
    path.write_bytes(content)


def damage_it(path: Path) -> None:
    DuckDBWarehouse(path).append("mentor_aliases", links("1"))
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)


def make_file_of_its_folder(path: Path) -> None:
    path.parent.write_text("", encoding="utf-8")


def make_file_of_its_folders_folder(path: Path) -> None:
    path.parent.parent.rmdir()
    path.parent.parent.write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (make_folder_of_it, "is a folder"),
        (make_text_of_it, "is not a DuckDB file. It was left as it is"),
        (make_it_newer, "was written by a newer version of DuckDB"),
        (damage_it, "is damaged. It was left as it is"),
        (make_file_of_its_folder, "its folder is a file"),
        (make_file_of_its_folders_folder, "a part of its path is a file"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_in_the_operators_words(tmp_path: Path, spoil: object, said: str) -> None:
    path = tmp_path / "installation" / "data" / "mentors.duckdb"
    path.parent.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    warehouse = DuckDBWarehouse(path)
    with pytest.raises(WarehouseError, match=said) as refused:
        warehouse.append("mentor_aliases", links("2"))
    assert str(path) in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("existing", [True, False])
def test_a_file_or_folder_of_somebody_else_is_said_in_the_operators_words(path: Path, *, existing: bool) -> None:
    path.parent.mkdir()
    if existing:
        DuckDBWarehouse(path).append("mentor_aliases", links("1"))
    path.parent.chmod(0o500)
    for file in path.parent.iterdir():
        file.chmod(0o400)
    try:
        with other_process("write_as_nobody", path) as process:
            said, _ = process.communicate("go on\n")
    finally:
        path.parent.chmod(0o700)
    assert "may not be read or written by this user. Nothing was changed." in said


def test_a_full_disk_leaves_the_old_rows(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    warehouse.append("mentor_aliases", links("1"))
    with other_process("write_on_full_disk", path) as process:
        said, _ = process.communicate("go on\n")
    assert "does not fit" in said
    assert "What was stored before is intact." in said
    assert warehouse.read("mentor_aliases")["old_mn_id"].to_list() == ["1"]


def test_nothing_stays_open_after_an_error(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    with pytest.raises(WarehouseError):
        warehouse.query("SELECT nonsense")
    with pytest.raises(WarehouseError):
        warehouse.append("mentor_aliases", links("1", "1"))
    with other_process("hold", path):  # would fail: this process would still hold the file
        pass


# -- what DuckDB does, and this code relies on ---------------------------------------------------------------------


def test_duckdb_deletes_and_inserts_one_key_in_one_transaction(path: Path) -> None:
    path.parent.mkdir()
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        connection.execute("INSERT INTO t VALUES (1, 'old')").fetchall()
        connection.execute("BEGIN")
        connection.execute("DELETE FROM t").fetchall()
        connection.execute("INSERT INTO t VALUES (1, 'new')").fetchall()
        connection.execute("ALTER TABLE t ADD COLUMN w TEXT")
        connection.execute("COMMIT")
        assert connection.execute("SELECT * FROM t").fetchall() == [(1, "new", None)]


def test_duckdb_refuses_two_ways_to_open_one_file_in_one_process(path: Path) -> None:
    path.parent.mkdir()
    with duckdb.connect(path), pytest.raises(duckdb.ConnectionException, match="different configuration"):
        duckdb.connect(path, read_only=True)


def test_duckdb_says_who_holds_the_file(path: Path) -> None:
    with (
        other_process("hold", path) as process,
        pytest.raises(duckdb.IOException, match=rf"Could not set lock on file .* held in .* \(PID {process.pid}\)"),
    ):
        duckdb.connect(path)


def test_duckdb_refuses_a_file_of_which_only_the_beginning_is_there(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(duckdb.IOException, match="not a valid DuckDB database file"):
        duckdb.connect(path)


def test_duckdb_keeps_the_transaction_closed_after_an_error() -> None:
    with duckdb.connect() as connection:
        connection.execute("BEGIN")
        with pytest.raises(duckdb.CatalogException):
            connection.execute("SELECT * FROM nothing")
        with pytest.raises(duckdb.TransactionException, match="aborted"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_duckdb_answers_in_the_time_zone_it_is_told(zone: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        found = connection.sql("SELECT TIMESTAMPTZ '2025-11-09 06:00:00+00' AS at").pl()
    assert found.schema == {"at": pl.Datetime("us", zone)}
    assert found["at"].item() == STARTED


def test_a_column_that_another_program_gave_another_type_is_named(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(tmp_path / "mentors.duckdb")
    warehouse.append("sync_warnings", row("sync_warnings", year=2025, id="one", resolved=True))
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("ALTER TABLE sync_warnings ALTER COLUMN resolved TYPE varchar")
    with pytest.raises(WarehouseError, match=r"Table sync_warnings was changed .*: resolved \(declared as boolean"):
        warehouse.read("sync_warnings")


def test_ctrl_c_in_a_query_is_a_ctrl_c(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(tmp_path / "mentors.duckdb")
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):  # at once, or, as DuckDB shares out its threads, at the end of the query
        warehouse.query("SELECT count(*) FROM range(2_000_000_000) WHERE hash(range) = 1")
