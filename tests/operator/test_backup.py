"""A backup holds every table as it was, and putting it back, or carrying tables over, is all of it or nothing."""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import backup as commands  # noqa: F401 - they add themselves to `app`
from mentor_pipeline.cli.app import app
from mentor_pipeline.domain.archive import not_taken_back
from mentor_pipeline.errors import BackupError, WarehouseBusyError, WarehouseDamagedError, WarehouseError
from mentor_pipeline.operator import backup as module
from mentor_pipeline.operator.backup import KEPT, migrate, plan_restore, read_backup, restore, write_backup
from mentor_pipeline.operator.runs import environment
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse
from mentor_pipeline.settings import Settings
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, alias, contact, mentor, row
from tests.small_year import store_small_year

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import polars as pl
    from typer.testing import Result

    from mentor_pipeline.operator.backup import Backup
    from mentor_pipeline.resources.warehouse import Reader, Warehouse
    from tests.postgres import Postgres


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings.load().model_copy(update={"data_dir": data_dir})


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    store_small_year(warehouse)
    warehouse.upsert("raw_gb_full_contacts", contact(10, first_name="Zoë 🌲", custom_fields='{"T-Shirt": "=1+1"}'))
    return warehouse


@pytest.fixture
def saved(filled: Warehouse, settings: Settings, tmp_path: Path) -> Path:
    (tmp_path / "saved").mkdir()
    return write_backup(filled, settings, tmp_path / "saved" / "monday.zip").path


def tables(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    return {name: warehouse.read(name) for name in TABLES if warehouse.table_exists(name)}


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return one.keys() == other.keys() and all(frame.equals(other[name]) for name, frame in one.items())


def test_put_back_into_an_empty_warehouse_every_table_is_the_same(
    filled: Warehouse, settings: Settings, saved: Path, tmp_path: Path
) -> None:
    empty = DuckDBWarehouse(tmp_path / "new" / "mentors.duckdb")
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "new"})
    done = restore(empty, elsewhere, read_backup(saved), "Ada")
    assert done.is_applied
    assert done.saved is None
    assert same(tables(empty), tables(filled))
    assert len(tables(empty)) > 10


@pytest.mark.slow
def test_put_back_over_other_rows_those_are_saved_first_and_can_come_back(
    filled: Warehouse, settings: Settings, saved: Path
) -> None:
    then = tables(filled)
    filled.replace("mentors", mentor("0777"), year=YEAR)
    filled.append("mentor_history", TABLES["mentor_history"].empty())
    now = tables(filled)
    plan = plan_restore(filled, read_backup(saved))
    assert {one.table: (one.rows_now, one.rows_then) for one in plan.tables}["mentors"] == (1, 3)
    done = restore(filled, settings, read_backup(saved), "Ada")
    assert {name: frame for name, frame in tables(filled).items() if name != "mentor_history"}.keys() == then.keys()
    assert all(frame.equals(tables(filled)[name]) for name, frame in then.items())
    assert done.saved is not None
    restore(filled, settings, read_backup(done.saved), "Ada")
    assert same(tables(filled), now)


def test_it_is_for_its_owner_alone_and_names_what_it_holds(saved: Path, settings: Settings) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    with zipfile.ZipFile(saved) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        year = (settings.config_dir / "2025.toml").read_bytes()
        assert archive.read("config/2025.toml") == year
    assert manifest["rows"]["mentors"] == 3
    assert manifest["created_at"].endswith("Z")


def test_a_file_that_is_there_is_left_as_it_is(filled: Warehouse, settings: Settings, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(BackupError, match="is there already"):
        write_backup(filled, settings, saved)
    assert saved.read_bytes() == before


def test_no_folder_is_made_for_it_the_disk_may_not_be_plugged_in(
    filled: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match=r"There is no folder .*usb\. No file was written"):
        write_backup(filled, settings, tmp_path / "usb" / "monday.zip")
    assert not (tmp_path / "usb").exists()


def test_nothing_stored_nothing_saved(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="nothing to save"):
        write_backup(warehouse, settings, tmp_path / "empty.zip")
    assert not (tmp_path / "empty.zip").exists()


def test_each_damaged_byte_is_found_and_nothing_is_changed(
    filled: Warehouse, settings: Settings, saved: Path, tmp_path: Path
) -> None:
    whole, before, found = saved.read_bytes(), tables(filled), 0
    step = len(whole) // 60
    for position in range(0, len(whole), step):
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            read_backup(damaged)
        except BackupError:
            found += 1
    assert found > 40  # others are dates of the zip's members, which nobody reads
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(BackupError, match=r"damaged|no backup"):
            read_backup(tmp_path / "cut.zip")
    assert same(tables(filled), before)


def rewritten(saved: Path, target: Path, **changes: object) -> Path:
    """The backup with another manifest; None leaves it out."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != "manifest.json":
                new.writestr(name, old.read(name))
        if changes:
            new.writestr("manifest.json", json.dumps({**json.loads(old.read("manifest.json")), **changes}))
    return target


def test_any_damage_or_password_is_told_in_our_own_words(saved: Path, tmp_path: Path) -> None:
    """Wrong marks and lengths in the directory of the archive: Python says so in many ways, we in one."""
    whole = saved.read_bytes()
    directory, encrypted = whole.rindex(b"PK\x05\x06"), whole.index(b"PK\x01\x02")
    damaged = tmp_path / "damaged.zip"
    refused = 0
    for position in range(encrypted, directory, 7):
        for bit in (0x01, 0x80):
            damaged.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
            try:
                read_backup(damaged)
            except BackupError:
                refused += 1
    assert refused > 20
    damaged.write_bytes(whole[: encrypted + 8] + bytes([whole[encrypted + 8] | 1]) + whole[encrypted + 9 :])
    with pytest.raises(BackupError, match="is damaged, or no backup at all"):
        read_backup(damaged)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    with pytest.raises(BackupError, match="is no file"):
        read_backup(pipe)


def test_what_is_no_backup_or_a_newer_one_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    cases = {
        "never finished": rewritten(saved, tmp_path / "unfinished.zip"),
        "was written by mentor-pipeline 9.1": rewritten(saved, tmp_path / "newer.zip", format=2, version="9.1"),
        r"tables moods\)": rewritten(saved, tmp_path / "moods.zip", rows={"moods": 1}),
        "manifest cannot be understood": rewritten(saved, tmp_path / "odd.zip", rows="many"),
        "damaged": rewritten(saved, tmp_path / "lacking.zip", rows={"mentors": 3, "partner_matches": 1}),
        "No such file": tmp_path / "nowhere.zip",
    }
    for words, path in cases.items():
        with pytest.raises(BackupError, match=words):
            read_backup(path)


def test_it_waits_for_no_run_and_changes_nothing_meanwhile(
    filled: Warehouse, settings: Settings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 0.1)
    filled.replace("mentors", mentor("0777"), year=YEAR)
    held = filled.writer_lock(year=YEAR, run_id="r", job="sync", by="Ben", wait_s=1, on_wait=lambda *_: None)
    with held, pytest.raises(WarehouseBusyError, match="job sync"):
        restore(filled, settings, read_backup(saved), "Ada")
    assert filled.read("mentors")["mn_id"].to_list() == ["0777"]


# -- what is newer than the backup -------------------------------------------------------------------------------------


def happenings(at: datetime, who: str, contact_id: int, placeholder: str) -> dict[str, pl.DataFrame]:
    """A row of each table of what nobody could tell again."""
    log = {"id": f"{at:%j%H}-{contact_id}", "contact_id": contact_id, "state": "done", "at": at}
    return {
        "contact_archive_log": row("contact_archive_log", **log, operation="archive"),
        "tag_log": row("tag_log", **log, added=["No Page"]),
        "sent_notes": row("sent_notes", year=YEAR, mn_id="0001", sent_at=at, notes="called", filename="a.csv"),
        "operator_actions": action("edit", at=at, actor=who, mn_id=placeholder, field="notes", value='"x"'),
        "placeholder_ids": row("placeholder_ids", year=YEAR, submission_id=who, mn_id=placeholder, assigned_at=at),
        "mentor_aliases": alias(placeholder, f"{contact_id}", at=at),
        "forgotten": row(
            "forgotten", year=YEAR, mn_id="0666", source_table="mentors", source_id="0666", forgotten_at=at
        ),
    }


def store(warehouse: Warehouse, rows: dict[str, pl.DataFrame]) -> None:
    for name, frame in rows.items():
        warehouse.append(name, frame)


def test_what_nobody_could_tell_again_stays_where_it_is_newer(
    filled: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    store(filled, happenings(NOW, "Ada", 10, "999001"))
    monday = write_backup(filled, settings, tmp_path / "monday.zip")
    then = tables(filled)
    newer = happenings(NOW + timedelta(days=1), "Ben", 11, "999002")
    store(filled, newer)
    filled.replace("mentors", mentor("0777"), year=YEAR)
    tuesday = {name: filled.read(name) for name in newer}

    plan = plan_restore(filled, monday)
    assert (dict(plan.kept), list(plan.forgotten)) == (dict.fromkeys(newer, 1), ["0666"])
    assert filled.read("mentors").height == 1
    done = restore(filled, settings, monday, "Cleo")
    assert (done.kept, done.tables) == (plan.kept, plan.tables)
    now = tables(filled)
    assert all(now[name].equals(frame) for name, frame in tuesday.items())
    assert all(now[name].equals(frame) for name, frame in then.items() if name not in newer)
    # What was archived from here since then can be taken back.
    assert not_taken_back(now["contact_archive_log"], "archive", "restore")["contact_id"].sort().to_list() == [10, 11]
    assert done.saved is not None
    again = restore(filled, settings, read_backup(done.saved), "Cleo")
    assert again.kept == {}
    assert filled.read("mentors").height == 1


def test_a_placeholder_is_never_two_mentors(
    duckdb_warehouse: DuckDBWarehouse, settings: Settings, tmp_path: Path
) -> None:
    given = {"year": YEAR, "mn_id": "999001", "assigned_at": NOW}
    duckdb_warehouse.append("placeholder_ids", row("placeholder_ids", submission_id="601", **given))
    monday = write_backup(duckdb_warehouse, settings, tmp_path / "monday.zip")
    duckdb_warehouse.replace("placeholder_ids", row("placeholder_ids", submission_id="602", **given), year=YEAR)
    assert restore(duckdb_warehouse, settings, monday, "Ada").kept == {}
    assert duckdb_warehouse.read("placeholder_ids")["submission_id"].to_list() == ["601"]


def test_the_command_says_what_stays(data_dir: Path, tmp_path: Path) -> None:
    warehouse, file = DuckDBWarehouse(data_dir / "mentors.duckdb"), str(tmp_path / "monday.zip")
    store_small_year(warehouse)
    call(data_dir, "backup", file)
    store(warehouse, happenings(NOW, "Ben", 11, "999002"))
    for words, said in (((file,), "these would be kept"), ((file, "--yes"), "and kept")):
        shown = call(data_dir, "restore", *words).stdout
        assert said in shown
        assert re.search(r"operator_actions +1 +decisions, edits and check-ins", shown)
        assert re.search(r"sent_notes +1 +notes that went out", shown)
        assert ("forgotten again: mentor 0666" in shown) is (words == (file,))  # of whom the backup has nothing


# -- a damaged database ------------------------------------------------------------------------------------------------


def damage(path: Path, start: int = 0) -> bytes:
    """Write nonsense into every block of the file from that place on; what it was like then."""
    content = bytearray(path.read_bytes())
    for position in range(start, len(content), 4096):
        content[position : position + 64] = b"x" * 64
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("how", ["every block", "no DuckDB file"])
def test_over_a_damaged_database_the_damaged_one_is_kept(
    data_dir: Path, tmp_path: Path, duckdb_warehouse: DuckDBWarehouse, how: str
) -> None:
    store_small_year(duckdb_warehouse)
    then, file, database = tables(duckdb_warehouse), tmp_path / "monday.zip", duckdb_warehouse.path
    call(data_dir, "backup", str(file))
    content = damage(database)
    if how == "no DuckDB file":  # as one does who takes an earlier message at its word
        content = file.read_bytes()
        database.write_bytes(content)

    with pytest.raises(WarehouseError, match="`mentor-pipeline restore FILE --yes`"):
        duckdb_warehouse.counts(TABLES)
    shown = call(data_dir, "restore", str(file))
    assert "is damaged. It would be moved aside and kept." in " ".join(shown.stdout.split())
    assert database.read_bytes() == content
    done = call(data_dir, "restore", str(file), "--yes")
    assert done.exit_code == 0, done.output
    assert same(tables(duckdb_warehouse), then)
    (aside,) = data_dir.glob("mentors.duckdb.damaged-*")
    assert aside.read_bytes() == content
    words = " ".join(done.stdout.split())
    assert "so that is lost: contact_archive_log" in words
    assert "no note goes out a second time" in words
    assert "Forget again who asked for it since then" in words
    assert str(aside) in done.stdout.replace("\n", "")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (database, aside)} == {0o600}
    assert not list(data_dir.glob("*.restoring*"))


def test_what_can_be_read_of_a_damaged_database_is_carried_over(
    settings: Settings, tmp_path: Path, duckdb_warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_small_year(duckdb_warehouse)
    monday = write_backup(duckdb_warehouse, settings, tmp_path / "monday.zip")
    store(duckdb_warehouse, happenings(NOW, "Ben", 11, "999002"))
    newer = module._newer

    def partly(reader: Reader, archive: zipfile.ZipFile, backup: Backup, name: str) -> pl.DataFrame:
        if name == "sent_notes":
            msg = f"The warehouse {duckdb_warehouse.path} is damaged."
            raise WarehouseDamagedError(msg, duckdb_warehouse.path)
        return newer(reader, archive, backup, name)

    monkeypatch.setattr(module, "_newer", partly)
    done = restore(duckdb_warehouse, settings, monday, "Ada")
    assert (done.unreadable, set(done.kept)) == (("sent_notes",), KEPT.keys() - {"sent_notes"})
    assert duckdb_warehouse.read("contact_archive_log")["contact_id"].to_list() == [11]


def test_a_restore_that_fails_leaves_a_damaged_database_where_it_is(
    settings: Settings, tmp_path: Path, duckdb_warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_small_year(duckdb_warehouse)
    monday = write_backup(duckdb_warehouse, settings, tmp_path / "monday.zip")
    content = damage(duckdb_warehouse.path)
    monkeypatch.setattr(module, "_same", lambda *_: False)
    with pytest.raises(WarehouseError, match="did not arrive as they were"):
        restore(duckdb_warehouse, settings, monday, "Ada")
    assert [path.name for path in settings.data_dir.glob("mentors.duckdb*")] == ["mentors.duckdb"]
    assert duckdb_warehouse.path.read_bytes() == content


# -- carrying over -----------------------------------------------------------------------------------------------------


def test_carried_over_every_table_is_the_same_and_never_onto_others(
    filled: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    target = DuckDBWarehouse(tmp_path / "target" / "mentors.duckdb")
    plan = migrate(filled, target, settings, "Ada", apply=False)
    assert tables(target) == {}
    done = migrate(filled, target, settings, "Ada", apply=True)
    assert (plan.rows, plan.is_applied, done.is_applied) == (done.rows, False, True)
    assert same(tables(target), tables(filled))
    with pytest.raises(BackupError, match="is not empty"):
        migrate(filled, target, settings, "Ada", apply=True)


def test_from_duckdb_into_postgres_nothing_changes_its_meaning(
    duckdb_warehouse: DuckDBWarehouse, postgres: Postgres, settings: Settings
) -> None:
    store_small_year(duckdb_warehouse)
    duckdb_warehouse.upsert(
        "raw_gb_full_contacts", contact(10, first_name="Zoë 🌲", custom_fields='{"b": 1,"a": "=1"}')
    )
    before, url = tables(duckdb_warehouse), postgres.empty("test")
    shown = call(settings.data_dir, "migrate", "--to", url)
    assert "Nothing was changed" in shown.stdout
    assert tables(PostgresWarehouse(url)) == {}
    done = call(settings.data_dir, "migrate", "--to", url, "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["migration"]["rows"]["raw_gb_full_contacts"] == 4
    after = tables(PostgresWarehouse(url))
    assert after.keys() == before.keys()
    assert all(module._same(name, frame, after[name]) for name, frame in before.items())
    assert same(tables(duckdb_warehouse), before)
    assert not module._same("mentors", before["mentors"], after["mentors"].head(2))


def call(data_dir: Path, *words: str) -> Result:
    variables = {"MENTOR_PIPELINE_DATA_DIR": str(data_dir), "MENTOR_PIPELINE_DATABASE_URL": ""}
    with environment(variables):
        return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_the_commands_show_first_and_do_it_when_told(data_dir: Path, tmp_path: Path) -> None:
    store = DuckDBWarehouse(data_dir / "mentors.duckdb")
    store_small_year(store)
    file = tmp_path / "monday.zip"
    made = call(data_dir, "backup", str(file))
    assert made.exit_code == 0, made.output
    assert "rows of" in made.stdout
    store.replace("mentors", mentor("0777"), year=YEAR)
    shown = call(data_dir, "restore", str(file))
    assert "Nothing was changed" in shown.stdout
    assert store.read("mentors").height == 1
    done = call(data_dir, "restore", str(file), "--yes", "--json")
    document = json.loads(done.stdout)
    assert document["restore"]["is_applied"]
    assert store.read("mentors").height == 3
    again = call(data_dir, "backup", str(file))
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
