"""What is Postgres' own: who waits for whom, what the server refuses, and connections that are lost."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pytest

from mentor_pipeline.errors import ConfigError, WarehouseBusyError, WarehouseError
from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse, in_schema
from mentor_pipeline.tables import TABLES
from tests.resources.other_process import links, locked, other_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import Postgres

PASSWORD = "s3cret words"
QUOTED = "s3cret%20words"


@pytest.fixture
def warehouse(postgres: Postgres) -> PostgresWarehouse:
    return PostgresWarehouse(postgres.empty("test"), busy_timeout_s=0.3)


def mentors(*mn_ids: str, year: int) -> pl.DataFrame:
    return pl.DataFrame({"year": year, "mn_id": mn_ids}, schema_overrides={"mn_id": pl.String})


# -- who waits for whom --------------------------------------------------------------------------------------------


def test_writers_of_different_years_do_not_wait_for_each_other(warehouse: PostgresWarehouse) -> None:
    warehouse.replace("mentors", mentors("1", year=2024), year=2024)
    with warehouse.write() as of_2025:
        of_2025.replace("mentors", mentors("1", "2", year=2025), year=2025)
        of_2025.append("mentor_aliases", links("1"))
        warehouse.replace("mentors", mentors("7", year=2026), year=2026)
        assert warehouse.read("mentors", columns=["year", "mn_id"]).rows() == [(2024, "1"), (2026, "7")]
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1", "1", "2", "7"]


def test_writers_of_one_year_take_turns(postgres: Postgres) -> None:
    first, second = (PostgresWarehouse(postgres.empty("test"), busy_timeout_s=20) for _ in range(2))
    first.replace("mentors", mentors("1", year=2025), year=2025)

    def write() -> None:
        with second.write() as transaction:
            known = transaction.read("mentors", year=2025)["mn_id"]
            transaction.replace("mentors", mentors(*known, "second", year=2025), year=2025)

    with first.write() as transaction:
        known = transaction.read("mentors", year=2025)["mn_id"]
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.3)
        transaction.replace("mentors", mentors(*known, "first", year=2025), year=2025)
    thread.join()
    assert first.read("mentors")["mn_id"].to_list() == ["1", "first", "second"]


def test_who_waits_too_long_is_told_what_for(warehouse: PostgresWarehouse) -> None:
    with (
        locked(warehouse, year=2025, run_id="0f3a9c21-run", by="hourly_sync"),
        warehouse.write() as transaction,
    ):
        transaction.replace("mentors", mentors("1", year=2025), year=2025)
        with pytest.raises(WarehouseBusyError) as refused:
            warehouse.replace("mentors", mentors("2", year=2025), year=2025)
    told = str(refused.value)
    assert "table mentors is being changed by another program (run 0f3a9c21 of job sync (process" in told
    assert "Nothing was changed. Wait until that has finished" in told
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]


def test_the_whole_table_is_one_writers_alone(warehouse: PostgresWarehouse) -> None:
    rows = pl.DataFrame({"contact_id": [1]})
    with warehouse.write() as transaction:
        transaction.upsert("raw_gb_full_contacts", rows)
        with pytest.raises(WarehouseBusyError, match="raw_gb_full_contacts"):
            warehouse.upsert("raw_gb_full_contacts", rows)


def test_two_years_make_one_table_at_once(postgres: Postgres) -> None:
    warehouse = PostgresWarehouse(postgres.empty("test"))
    threads = [
        threading.Thread(target=warehouse.replace, args=("mentors", mentors("1", year=year)), kwargs={"year": year})
        for year in range(2020, 2026)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.read("mentors")["year"].to_list() == list(range(2020, 2026))


def test_runs_of_different_years_hold_their_locks_side_by_side(warehouse: PostgresWarehouse) -> None:
    with locked(warehouse, year=2025, run_id="a"), locked(warehouse, year=2026, run_id="b"):
        assert [holder.run_id for holder in warehouse.holders()] == ["a", "b"]
        with pytest.raises(WarehouseBusyError, match="run a of job sync"), locked(warehouse, year=2025):
            pass
    assert warehouse.holders() == []


def test_a_run_on_another_machine_is_told_with_its_machine(warehouse: PostgresWarehouse) -> None:
    with locked(warehouse, year=2025):
        with warehouse.write() as transaction:
            transaction._session.execute("UPDATE writer_locks SET host = 'elsewhere'")
        assert " on elsewhere, Ada, since " in str(warehouse.holders()[0])


# -- another program's lock ----------------------------------------------------------------------------------------


@contextmanager
def locked_by_psql(postgres: Postgres, table: str) -> Iterator[None]:
    """A table under the strongest lock; it ends after 10 seconds, so that a test that waits for it ends too."""
    with adbc.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE test.{table} IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SELECT pg_backend_pid()")
        ((backend,),) = cursor.fetchall()
        end = threading.Timer(10, postgres.run, [f"SELECT pg_terminate_backend({backend})"])
        end.start()
        try:
            yield
        finally:
            end.cancel()


def test_a_reader_waits_for_another_programs_lock_as_long_as_it_has_patience(
    warehouse: PostgresWarehouse, postgres: Postgres
) -> None:
    warehouse.replace("mentors", mentors("1", year=2025), year=2025)
    began = time.monotonic()
    with locked_by_psql(postgres, "mentors"), pytest.raises(WarehouseBusyError) as refused:
        warehouse.read("mentors")
    assert time.monotonic() - began < 5
    told = str(refused.value)
    assert "is in use: another program has locked what is needed here" in told
    assert "Nothing was changed. Wait until that has finished" in told
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]


def test_where_even_the_locks_holders_are_locked_the_wait_ends(
    warehouse: PostgresWarehouse, postgres: Postgres
) -> None:
    with locked(warehouse, year=2025):
        pass
    began = time.monotonic()
    with locked_by_psql(postgres, "writer_locks"):
        for ask in (warehouse.holders, lambda: locked(warehouse, year=2025).__enter__()):
            with pytest.raises(WarehouseBusyError, match="another program has locked"):
                ask()
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "work",
    [
        lambda warehouse: warehouse.read("mentors"),
        lambda warehouse: warehouse.query("SELECT pg_sleep(20)"),
        lambda warehouse: warehouse.replace("mentors", mentors("2", year=2025), year=2025),
    ],
    ids=["read", "long query", "write"],
)
def test_ctrl_c_ends_a_wait(
    postgres: Postgres, warehouse: PostgresWarehouse, work: Callable[[PostgresWarehouse], object]
) -> None:
    warehouse.replace("mentors", mentors("1", year=2025), year=2025)
    patient = PostgresWarehouse(warehouse._url, busy_timeout_s=30)
    ctrl_c = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        with locked_by_psql(postgres, "mentors"):
            ctrl_c.start()
            with pytest.raises(KeyboardInterrupt):
                work(patient)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 5
    assert warehouse.read("mentors")["mn_id"].to_list() == ["1"]


# -- lost connections ----------------------------------------------------------------------------------------------


def lose_connections(postgres: Postgres) -> None:
    postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'mentor-pipeline' AND pid <> pg_backend_pid()"
    )


def test_a_connection_lost_in_the_middle_leaves_the_old_rows(warehouse: PostgresWarehouse, postgres: Postgres) -> None:
    warehouse.append("mentor_aliases", links("old"))

    def write() -> None:
        with warehouse.write() as transaction:
            transaction.replace("mentor_aliases", links("new"), year=2025)
            lose_connections(postgres)
            transaction.append("placeholder_ids", pl.DataFrame({"year": [2025], "submission_id": ["1"]}))

    with pytest.raises(WarehouseError, match=r"broke off the connection: it was restarted.*Nothing was changed"):
        write()
    assert warehouse.read("mentor_aliases")["old_mn_id"].to_list() == ["old"]
    assert not warehouse.table_exists("placeholder_ids")


def test_a_connection_lost_at_the_end_is_not_said_to_have_changed_nothing(
    warehouse: PostgresWarehouse, postgres: Postgres
) -> None:
    def write() -> None:
        with warehouse.write() as transaction:
            transaction.append("mentor_aliases", links("1"))
            lose_connections(postgres)

    with pytest.raises(WarehouseError, match="there as a whole, or not at all; running it again is safe"):
        write()
    warehouse.append("mentor_aliases", links("1"))
    assert warehouse.counts(["mentor_aliases"]) == {"mentor_aliases": 1}


def test_a_lost_writer_lock_is_free_for_the_next(warehouse: PostgresWarehouse, postgres: Postgres) -> None:
    second = PostgresWarehouse(warehouse._url)
    with locked(warehouse, year=2025, run_id="a"):
        lose_connections(postgres)
        with locked(second, year=2025, run_id="b", wait_s=5):
            assert [holder.run_id for holder in warehouse.holders()] == ["b"]
    assert warehouse.holders() == []


def test_a_run_that_lost_its_lock_writes_nothing_more(warehouse: PostgresWarehouse, postgres: Postgres) -> None:
    """Its other connections may be whole, and another run may have begun."""
    second = PostgresWarehouse(warehouse._url)
    with locked(warehouse, year=2025, run_id="a"):
        warehouse.append("mentor_aliases", links("before"))
        (row,) = warehouse.query("SELECT backend FROM writer_locks").to_dicts()
        postgres.run(f"SELECT pg_terminate_backend({row['backend']})")
        with locked(second, year=2025, run_id="b", wait_s=5):
            with pytest.raises(
                WarehouseError, match=r"no longer has the lock on program year 2025 .* Start the job again"
            ):
                warehouse.append("mentor_aliases", links("lost"))
            second.append("mentor_aliases", links("of the next"))
    warehouse.append("mentor_aliases", links("after"))
    assert warehouse.read("mentor_aliases")["old_mn_id"].to_list() == ["after", "before", "of the next"]


# -- what the server refuses ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(postgres: Postgres) -> Iterator[str]:
    """The host part of URLs at which the server asks `ada` for her password; she may read, and not write."""
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all ada scram-sha-256\nlocal all eve reject\n{before}")
    postgres.run(
        "SELECT pg_reload_conf()",
        f"CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'",
        "CREATE ROLE eve LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    yield postgres.url.partition("?")[2]
    rules.write_text(before)
    postgres.run("SELECT pg_reload_conf()", "DROP ROLE ada", "DROP ROLE eve")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ada:wrong@/postgres?{}", "does not take this user and password"),
        ("postgresql://ada@/postgres?{}", "does not take this user and password"),
        ("postgresql://eve:" + QUOTED + "@/postgres?{}", "does not let this user in from this machine"),
        ("postgresql://bob:" + QUOTED + "@/postgres?{}", "does not know this user"),
        ("postgresql://ada:" + QUOTED + "@/mentors?{}", "the server has no database of that name"),
        ("postgresql://ada:" + QUOTED + "@/mentors?host=/nowhere", "does not answer. Start the server"),
        ("postgresql://ada:" + QUOTED + "@127.0.0.1:1/mentors", "does not answer. Start the server"),
        ("postgresql://ada:" + QUOTED + "@no-such-host.invalid/mentors", "there is no such host"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_explained(guarded: str, url: str, words: str) -> None:
    warehouse = PostgresWarehouse(url.format(guarded), busy_timeout_s=0.3)
    with pytest.raises(WarehouseError) as refused:
        warehouse.table_exists("mentors")
    told = str(refused.value)
    assert words in told
    assert "Nothing was read or changed." in told
    assert refused.value.__cause__ is None  # the driver's own words may quote the URL
    for secret in (PASSWORD, QUOTED):
        assert secret not in told + warehouse.location + repr(warehouse) + repr(refused.value)


def test_the_right_password_lets_in_and_missing_rights_are_said(guarded: str) -> None:
    warehouse = PostgresWarehouse(f"postgresql://ada:{QUOTED}@/postgres?{guarded}")
    assert warehouse.location == "Postgres database postgres on this machine"
    assert not warehouse.table_exists("mentors")
    with pytest.raises(WarehouseError, match=r"does not allow this user .*GRANT USAGE, CREATE ON SCHEMA.*Nothing was"):
        warehouse.append("mentor_aliases", links("1"))


@pytest.mark.parametrize("password", ["e", "p", "ort", "1"])
def test_a_short_password_does_not_shred_the_message(password: str) -> None:
    with pytest.raises(WarehouseError) as refused:
        PostgresWarehouse(f"postgresql://ada:{password}@127.0.0.1:1/mentors", busy_timeout_s=0.3).counts(["mentors"])
    assert 'server at "127.0.0.1", port 1 failed: Connection refused' in str(refused.value)
    assert "***" not in str(refused.value)


@pytest.fixture(params=["missing", "closed"])
def no_schema(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[tuple[PostgresWarehouse, str]]:
    """A warehouse of a user who has no schema for tables, and what is said of it."""
    url = postgres.empty("test")
    if request.param == "missing":
        yield PostgresWarehouse(in_schema(postgres.url, "nowhere")), "has no schema to write to. Make one"
        return
    postgres.run("CREATE ROLE zoe LOGIN")
    yield PostgresWarehouse(url.replace("//postgres:", "//zoe:")), "does not allow this user to do this. Ask who runs"
    postgres.run("DROP ROLE zoe")


@pytest.mark.parametrize(
    "work",
    [
        lambda warehouse: warehouse.counts(["mentors"]),
        lambda warehouse: warehouse.read_or_empty("mentors"),
        lambda warehouse: warehouse.append("mentor_aliases", links("1")),
        lambda warehouse: warehouse.holders(),
        lambda warehouse: locked(warehouse, year=2025, wait_s=20).__enter__(),
    ],
    ids=["counts", "read", "write", "holders", "writer lock"],
)
def test_without_a_schema_that_is_said_at_once(
    no_schema: tuple[PostgresWarehouse, str], work: Callable[[PostgresWarehouse], object]
) -> None:
    warehouse, words = no_schema
    began = time.monotonic()
    with pytest.raises(WarehouseError) as refused:
        work(warehouse)
    assert time.monotonic() - began < 5
    assert not isinstance(refused.value, WarehouseBusyError)
    assert words in str(refused.value)
    assert "Nothing was changed." in str(refused.value)


def test_a_schema_that_is_not_there_yet_can_be_made(postgres: Postgres) -> None:
    postgres.run("DROP SCHEMA IF EXISTS anew CASCADE")
    warehouse = PostgresWarehouse(in_schema(postgres.url, "anew"))
    warehouse.make_schema_anew("anew")
    assert not warehouse.table_exists("mentors")
    postgres.run("DROP SCHEMA anew")


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://ada:{QUOTED}@db/mentors",
        f"postgresql+psycopg2://ada:{QUOTED}@db/mentors",
        f"postgresql://ada:{PASSWORD}@db/mentors",
        "postgresql://ada:s3cret%zzwords@db/mentors",
        f"postgresql://ada:{QUOTED}@[::1/mentors",
        "postgresql://ada:s3cret/words@db/mentors",
        "postgresql://ada:s3cret#words@db/mentors",
        "postgresql://ada:s3cret／words@db/mentors",
        "postgresql://ada:s3cret℀words@db/mentors",
        "postgresql://ada:s3cret[words@db/mentors",
        "postgresql://ada:s3cret]words@db/mentors",
        "postgresql://ada:[s3cret]@db/mentors",
        "postgresql://ada:s3cret\udcffwords@db/mentors",
        "postgresql://ada:s3cret/mentors",
        f"ada:{QUOTED}@db",
    ],
)
def test_a_url_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PostgresWarehouse(url)
    assert "MENTOR_PIPELINE_DATABASE_URL cannot be understood" in str(refused.value)
    assert "%5B for [" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None


@pytest.mark.parametrize("url", [f"postgresql://ada:{QUOTED}@db:port/m", f"postgresql://ada:{QUOTED}@db/m?nonsense=1"])
def test_what_only_the_driver_refuses_in_a_url_is_not_quoted_either(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be understood") as refused:
        PostgresWarehouse(url).table_exists("mentors")
    assert "s3cret" not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_a_url_that_says_everything_is_left_as_it_is(warehouse: PostgresWarehouse) -> None:
    assert PostgresWarehouse(warehouse._url)._url == warehouse._url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("postgresql://ada:pw@db.example.org:5433/mentors", "Postgres database mentors on db.example.org:5433"),
        ("postgres://db.example.org/mentors?sslmode=require", "Postgres database mentors on db.example.org"),
        ("postgresql://ada@[::1]:5432/mentors", "Postgres database mentors on [::1]:5432"),
        ("postgresql://ada@one:5432,two/mentors", "Postgres database mentors on one:5432,two"),
        ("postgresql:///mentors?host=%2Fvar%2Frun", "Postgres database mentors on this machine"),
    ],
)
def test_where_the_data_is_is_said_without_who_asks(url: str, location: str) -> None:
    assert PostgresWarehouse(url).location == location


@pytest.mark.parametrize(
    ("table", "rows", "where"),
    [
        (
            "signups",
            {"year": 2025, "mn_id": ["1", "0042"], "first_name": ["A", "\0"]},
            "mn_id 0042 (column first_name)",
        ),
        ("raw_gb_full_contacts", {"contact_id": [7], "tags": [["a", "b\0"]]}, "contact_id 7 (column tags)"),
        ("raw_gb_full_contacts", {"contact_id": [7], "custom_fields": [json.dumps("\0")]}, "7 (column custom_fields)"),
    ],
)
def test_a_nul_is_refused_in_words(warehouse: PostgresWarehouse, table: str, rows: object, where: str) -> None:
    frame = pl.DataFrame(rows)
    with pytest.raises(WarehouseError, match="cannot hold the character NUL") as refused:
        warehouse.upsert(table, frame) if table != "signups" else warehouse.replace(table, frame, year=2025)
    assert f"Table {table}:" in str(refused.value)
    assert where in str(refused.value)
    assert "Nothing was changed." in str(refused.value)
    assert not warehouse.table_exists(table)


# -- what it stores ------------------------------------------------------------------------------------------------


def test_tables_have_native_types_a_key_and_say_what_they_are(warehouse: PostgresWarehouse) -> None:
    warehouse.append("raw_gb_full_contacts", TABLES["raw_gb_full_contacts"].empty())
    found = warehouse.query(
        "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,"
        " col_description(a.attrelid, a.attnum) AS words FROM pg_attribute a"
        " WHERE a.attrelid = to_regclass('raw_gb_full_contacts') AND a.attnum > 0 ORDER BY a.attnum"
    )
    types = dict(found.select("name", "type").iter_rows())
    wanted = {"tags": "text[]", "custom_fields": "jsonb", "total_contributions": "numeric(12,2)"}
    wanted |= {"last_modified_at": "timestamp with time zone", "dob": "date", "contact_id": "bigint"}
    assert wanted.items() <= types.items()
    spec = TABLES["raw_gb_full_contacts"]
    assert found["words"].to_list() == [column.description for column in spec.columns]
    key = warehouse.query(
        "SELECT pg_get_constraintdef(oid) AS key, obj_description(conrelid, 'pg_class') AS words"
        " FROM pg_constraint WHERE conrelid = to_regclass('raw_gb_full_contacts') AND contype = 'p'"
    )
    assert key.rows() == [("PRIMARY KEY (contact_id)", spec.description)]


def test_json_and_lists_can_be_asked_in_sql(warehouse: PostgresWarehouse) -> None:
    warehouse.upsert(
        "raw_gb_full_contacts",
        pl.DataFrame(
            {"contact_id": [1, 2], "custom_fields": ['{"📝 Done": "Yes"}', "{}"], "tags": [["SWAB", "a,b"], []]}
        ),
    )
    found = warehouse.query(
        "SELECT contact_id, custom_fields ->> '📝 Done' AS done FROM raw_gb_full_contacts WHERE $1 = ANY (tags)",
        ["a,b"],
    )
    assert found.rows() == [(1, "Yes")]


def test_numbers_of_a_query_keep_their_digits(warehouse: PostgresWarehouse) -> None:
    found = warehouse.query("SELECT 10.50 AS money, 1.125 AS eighth, 7::numeric AS whole, NULL::numeric AS nothing")
    assert [str(value) for value in found.row(0)] == ["10.50", "1.125", "7", "None"]


def test_a_killed_process_frees_what_it_had_claimed(warehouse: PostgresWarehouse) -> None:
    with other_process("write_half", warehouse) as process:
        process.kill()
        process.wait()
        PostgresWarehouse(warehouse._url, busy_timeout_s=10).replace("mentor_aliases", links("mine"), year=2025)
    assert warehouse.read("mentor_aliases")["old_mn_id"].to_list() == ["mine"]
