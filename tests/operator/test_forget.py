"""Forgetting a mentor: nothing of them is left in any table, others lose nothing, and what remains is told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from mentor_pipeline.domain.forgotten import ANSWERS_REMOVED, blanked, without_forgotten, without_old_answers
from mentor_pipeline.domain.history import next_versions
from mentor_pipeline.errors import MentorPipelineError, WarehouseBusyError, WrongUseError
from mentor_pipeline.operator.backup import plan_restore, read_backup, restore, write_backup
from mentor_pipeline.operator.forget import REDACTED, Forgetting, backups_known, elsewhere, files_naming, forget
from mentor_pipeline.settings import Settings
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, alias, contact, member, mentor, program, row, signup, together
from tests.resources.other_process import other_process

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Reader, Warehouse

LAST = YEAR - 1
FAMILY = "+17065559999"
CORA: dict[str, Any] = {
    "first_name": "Cora", "last_name": "O\"Cedar", "preferred_name": "Coco", "phone": "+17065551234",
    "personal_email": "cora@example.com", "uga_email": "cora@uga.edu",
}  # fmt: skip
WORDS = ("Cedar", "Coco", "5551234", "cora@")
"""Each stands for Cora; nobody else has one of them."""


def problem(table: str, mn_id: str, message: str) -> pl.DataFrame:
    values = {"id": f"{table}-{mn_id}", "year": YEAR, "mn_id": mn_id, "type": "shared_phone", "message": message}
    return row(table, **values, context='{"names": ["Coco O\\"Cedar", "Dan"], "phone": "+17065551234"}')


def conflict(mn_id: str) -> pl.DataFrame:
    values = {"id": f"conflict-{mn_id}", "year": YEAR, "mn_id": mn_id, "conflict_type": "external_id_collision"}
    options = dict.fromkeys(("option_a",), '{"value": 7, "name": "CORA O\\"CEDAR", "emails": ["cora@example.com"]}')
    return row("sync_conflicts", **values, **options, option_b='{"value": 8}', status="pending", detected_at=NOW)


def store_people(warehouse: Warehouse) -> None:
    """Cora is 0042 of two years (once 999001), with two contacts; Dan, 0043, shares the family's phone with her."""
    cora = mentor("0042", **CORA, gb_contact_id=7, gb_member_id=70, gb_match_status="linked", partner_phone=FAMILY)
    old = mentor("0042", **{**CORA, "personal_email": "cora.before@example.com"}, year=LAST)
    dan = mentor("0043", phone=FAMILY, gb_contact_id=9, gb_match_status="linked")
    stranger = mentor("0042", year=LAST - 1, first_name="Zed", last_name="Zander", phone=None)
    aliases = alias("999001", "0042")
    with warehouse.write() as store:
        for year, rows in ((YEAR, together(cora, dan)), (LAST, old), (LAST - 1, stranger)):
            store.replace("mentors", rows, year=year)
            stamped = rows.with_columns(updated_at=pl.lit(NOW))
            store.upsert(
                "mentor_history", next_versions(TABLES["mentor_history"].empty(), stamped, run_id="r", now=NOW)
            )
        store.append("mentor_aliases", aliases)
        store.append("placeholder_ids", row("placeholder_ids", year=YEAR, submission_id="601", mn_id="999001"))
        store.replace(
            "signups",
            together(signup("0042", **CORA, submission_id="601", merged_submission_ids=["600"]), signup("0043")),
            year=YEAR,
        )
        raw = {"form_id": "1", "status": "ACTIVE", "submitted_at": NOW, "answers": '{"4": "Coco O\'Cedar"}'}
        for submission_id, year in (("600", YEAR), ("601", YEAR), ("602", YEAR)):
            theirs = {"last_name": 'O"Cedar', "personal_email": "cora@example.com"} if submission_id < "602" else {}
            store.upsert(
                "raw_mn_signups",
                row("raw_mn_signups", year=year, submission_id=submission_id, **theirs,
                    **{**raw, **({} if theirs else {"answers": "{}"})}),
            )  # fmt: skip
        store.upsert(
            "raw_mn_funds_setup",
            row("raw_mn_funds_setup", year=YEAR, submission_id="700", email="cora@example.com", **raw),
        )
        store.upsert("raw_gb_campaign_members", together(member(70, email="cora@example.com"), member(71)))
        links = [
            row("form_links", year=YEAR, source_table=table, source_id=one, mn_id=mn_id)
            for table, one, mn_id in (
                ("raw_mn_funds_setup", "700", "0042"), ("raw_gb_campaign_members", "70", "0042"),
                ("raw_gb_campaign_members", "71", "0043"),
            )
        ]  # fmt: skip
        store.replace("form_links", together(*links), year=YEAR)
        theirs = {"first_name": "Cora", "last_name": 'O"Cedar', "primary_email": "cora@example.com"}
        store.upsert(
            "raw_gb_full_contacts",
            together(
                contact(7, **theirs, external_id="0042", external_mn_id="42", sms_subscribed=False, notes="Coco called",
                        tags=["Mentors 2025"], custom_fields='{"Shift": "Coco"}', primary_phone="+17065551234"),
                contact(8, **theirs, primary_phone=FAMILY), contact(9, primary_phone=FAMILY), contact(10),
            ),
        )  # fmt: skip
        matches = [
            row("contact_matches", year=YEAR, mn_id=mn_id, contact_id=one, role=role, same_person=role != "rejected",
                reason="carries cora@example.com")
            for mn_id, one, role in (("0042", 7, "winner"), ("0042", 8, "loser"), ("0042", 9, "rejected"),
                                     ("0043", 9, "winner"), ("0043", 10, "rejected"))
        ]  # fmt: skip
        store.replace("contact_matches", together(*matches), year=YEAR)
        for table in ("sync_errors", "sync_warnings"):
            said = 'Dan and Coco O"Cedar (cora@example.com, +17065551234) share +17065559999, not Joan Cedarwood'
            store.upsert(table, together(problem(table, "0042", said), problem(table, "0043", said)))
        store.upsert("sync_conflicts", together(conflict("0042"), conflict("0043")))
        store.append(
            "operator_actions",
            together(
                action("edit", mn_id="999001", field="notes", value='"Coco called"'),
                action("edit", mn_id="0043", field="notes", value='"keeps this"').with_columns(id=pl.lit("other")),
            ),
        )
        store.append(
            "contact_archive_log",
            together(
                row("contact_archive_log", id="a", contact_id=8, mn_id="0042", operation="archive", state="done"),
                row("contact_archive_log", id="b", contact_id=11, mn_id="0043", operation="archive", state="done"),
            ),
        )
        group = {"group_id": "g", "contact_ids": [7, 8], "names": ['Cora O"Cedar'] * 2, "mn_id": "0042"}
        store.replace("duplicate_gb_contacts", row("duplicate_gb_contacts", **group))
        store.upsert("sync_log", row("sync_log", id="r", error_message='contact of Coco O"Cedar refused'))


def everything(reader: Reader) -> dict[str, pl.DataFrame]:
    return {name: reader.read_or_empty(name) for name in TABLES}


def naming(tables: dict[str, pl.DataFrame]) -> dict[str, list[str]]:
    """Words of Cora by the table in which they stand, read as a person would: everything as JSON."""
    texts = {name: frame.write_json().casefold() for name, frame in tables.items()}
    return {name: found for name, text in texts.items() if (found := [w for w in WORDS if w.casefold() in text])}


@pytest.fixture
def stored(warehouse: Warehouse) -> Warehouse:
    store_people(warehouse)
    return warehouse


def test_nothing_of_the_person_is_left_and_others_keep_theirs(stored: Warehouse) -> None:
    with stored.reading() as reader:
        before = everything(reader)
    assert len(naming(before)) > 10
    made = forget(stored, program(), "999001", now=NOW, by="Ada")
    with stored.reading() as reader:
        after = everything(reader)
    # Another person's warning names a namesake by a part of a name; nothing else does.
    assert naming(after) == {"sync_errors": ["Cedar"], "sync_warnings": ["Cedar"]}
    assert (made.person.mn_id, dict(made.person.ids)) == (
        "0042", {LAST: frozenset({"0042"}), YEAR: frozenset({"0042", "999001"})}
    )  # fmt: skip
    assert made.person.others == (LAST - 1,)
    kept = pl.col("mn_id") == "0043"
    for table in ("mentors", "mentor_history", "signups", "operator_actions", "form_links", "contact_archive_log"):
        assert after[table].filter(kept).equals(before[table].filter(kept)), table
    assert after["mentors"].filter(year=LAST - 1)["last_name"].to_list() == ["Zander"]
    assert after["raw_mn_signups"]["submission_id"].to_list() == ["602"]
    assert after["raw_gb_campaign_members"]["member_id"].to_list() == [71]
    assert after["placeholder_ids"].equals(before["placeholder_ids"])
    for table in ("sync_errors", "sync_warnings"):
        (message,) = after[table].filter(kept)["message"]
        assert message == (
            f"Dan and {REDACTED} ({REDACTED}, {REDACTED}) share +17065559999, not Joan Cedarwood"
        )  # fmt: skip
        assert after[table]["context"].str.json_path_match("$.names[0]").to_list() == [REDACTED]
    assert after["sync_conflicts"]["option_a"].str.json_path_match("$.emails[0]").to_list() == [REDACTED]
    assert after["sync_conflicts"]["mn_id"].to_list() == ["0043"]


def test_a_contact_keeps_what_an_import_needs_to_know(stored: Warehouse) -> None:
    forget(stored, program(), "42", now=NOW, by="Ada")
    contacts = stored.read("raw_gb_full_contacts")
    seven = contacts.row(by_predicate=pl.col("contact_id") == 7, named=True)
    left = {name: value for name, value in seven.items() if value not in (None, [], "{}", 0)}
    assert left == {
        "contact_id": 7, "external_id": "0042", "external_mn_id": "42", "email_subscribed": True,
        "mail_subscribed": True, "created_at": NOW - timedelta(days=100), "last_modified_at": NOW - timedelta(days=10),
        "archived_at": NOW, "source": "api", "first_seen_at": NOW, "last_seen_at": NOW,
    } | ({"sms_subscribed": False} if "sms_subscribed" in left else {})  # fmt: skip
    assert seven["sms_subscribed"] is False
    assert contacts.filter(pl.col("archived_at").is_null())["contact_id"].to_list() == [9, 10]


def test_it_is_kept_who_was_forgotten_when_and_by_whom_and_nobody_twice(stored: Warehouse) -> None:
    forget(stored, program(), "0042", now=NOW, by="Ada")
    ledger = stored.read("forgotten")
    people = ledger.filter(source_table="mentors").select("year", "mn_id", "forgotten_at", "forgotten_by").rows()
    assert people == [(LAST, "0042", NOW, "Ada"), (YEAR, "0042", NOW, "Ada"), (YEAR, "999001", NOW, "Ada")]
    sources = ledger.filter(pl.col("source_table") != "mentors").select("source_table", "source_id").rows()
    assert sorted(sources) == [
        ("raw_gb_campaign_members", "70"), ("raw_gb_full_contacts", "7"), ("raw_gb_full_contacts", "8"),
        ("raw_mn_funds_setup", "700"), ("raw_mn_signups", "600"), ("raw_mn_signups", "600042"),
        ("raw_mn_signups", "601"),
    ]  # fmt: skip
    for asked in ("42", "999001"):
        with pytest.raises(MentorPipelineError, match="was forgotten on 2025-10-01 12:00 UTC by Ada") as told:
            forget(stored, program(), asked, now=NOW, by="Ben")
        # For who was interrupted when it was told the first time.
        assert "Jotform keeps the submissions (raw_mn_signups 600, 600042, 601;" in str(told.value)
        assert "Givebutter keeps contact 7, 8" in str(told.value)
    # Who had the id in another year is meant only where that year is.
    made = forget(stored, program(year=LAST - 1, event_date=f"{LAST - 1}-11-09"), "42", now=NOW, by="Ben")
    assert (set(made.person.ids), made.person.full_name) == ({LAST - 1}, "Zed Zander")


def test_rows_of_forgotten_people_do_not_come_back(stored: Warehouse) -> None:
    before = stored.read("raw_gb_full_contacts")
    listed = stored.read("raw_mn_signups")
    forget(stored, program(), "0042", now=NOW, by="Ada")
    ledger = stored.read("forgotten")
    assert without_forgotten(listed, ledger, "raw_mn_signups")["submission_id"].to_list() == ["602"]
    members = together(member(70), member(71))
    assert without_forgotten(members, ledger, "raw_gb_campaign_members")["member_id"].to_list() == [71]
    # As the service shows them again: exactly as they are stored.
    assert blanked(before, ledger).equals(stored.read("raw_gb_full_contacts"))
    told = before.select("contact_id", "last_name", "tags")
    assert blanked(told, ledger).rows()[0] == (7, None, [])


def test_a_dry_run_changes_nothing_and_tells_the_same(stored: Warehouse) -> None:
    with stored.reading() as reader:
        before = everything(reader)
        planned = Forgetting.of(reader, program(), "0042", NOW)
    with stored.reading() as reader:
        assert all(frame.equals(before[name]) for name, frame in everything(reader).items())
    done = forget(stored, program(), "0042", now=NOW, by="Ada")
    assert (planned.counts, planned.remains) == (done.counts, done.remains)
    assert planned.counts["removed"]["raw_mn_signups"] == 2
    assert planned.counts["blanked"] == {"raw_gb_full_contacts": 2}
    assert planned.counts["reworded"]["sync_conflicts"] == 1


def test_any_spelling_means_the_person(duckdb_warehouse: Warehouse) -> None:
    store_people(duckdb_warehouse)
    with duckdb_warehouse.reading() as reader:
        found = [Forgetting.of(reader, program(), asked, NOW).person for asked in ("42", "MN0042", "#042")]
    assert {(one.mn_id, one.full_name) for one in found} == {("0042", 'Coco O"Cedar')}


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ("  ", WrongUseError, "No mentor was named"),
        ("4711", MentorPipelineError, "No mentor of any year has the id '4711'. Nothing was changed."),
        ("Cora", MentorPipelineError, "No mentor of any year has the id 'Cora'"),
    ],
)
def test_who_is_not_known_is_told(duckdb_warehouse: Warehouse, asked: str, error: type[Exception], words: str) -> None:
    store_people(duckdb_warehouse)
    with pytest.raises(error, match=words):
        forget(duckdb_warehouse, program(), asked, now=NOW, by="Ada")


def test_a_placeholder_of_another_year_is_somebody_else(duckdb_warehouse: Warehouse) -> None:
    nameless = {"first_name": "Iris", "last_name": "Ilex"}
    for year in (YEAR, LAST):
        duckdb_warehouse.replace("mentors", mentor("999005", year=year, **nameless), year=year)
    made = forget(duckdb_warehouse, program(), "999005", now=NOW, by="Ada")
    assert set(made.person.ids) == {YEAR}
    assert duckdb_warehouse.read("mentors")["year"].to_list() == [LAST]


def test_it_waits_for_the_run_at_work(stored: Warehouse) -> None:
    with other_process("lock", stored), pytest.raises(WarehouseBusyError, match="Nothing was"):
        forget(stored, program(), "0042", now=NOW, by="Ada", wait_s=0)
    assert not stored.read("mentors").filter(mn_id="0042", year=YEAR).is_empty()


def test_a_restore_brings_nobody_back(stored: Warehouse, data_dir: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=data_dir)
    stored.append("operator_actions", action("edit", mn_id="0042", field="notes", value='"Coco again"', id="before"))
    monday = write_backup(stored, settings, tmp_path / "monday.zip")
    forget(stored, program(), "0042", now=NOW, by="Ada")
    with stored.reading() as reader:
        forgotten = everything(reader)
    since = action("edit", mn_id="0042", field="notes", value='"signed up again"', id="since")
    stored.append("operator_actions", since)

    plan = plan_restore(stored, monday)
    assert plan.forgotten == ["0042"]
    done = restore(stored, settings, monday, "Ben")
    assert done.forgotten == ["0042"]
    with stored.reading() as reader:
        after = everything(reader)
    assert naming(after) == naming(forgotten)
    assert after.pop("operator_actions")["id"].to_list()[-1] == "since"
    for name, frame in after.items():
        assert name == "operator_actions" or frame.equals(forgotten[name]), name
    # Restored once more, that was done already in what is put back.
    assert done.saved is not None
    assert list(restore(stored, settings, read_backup(done.saved), "Ben").forgotten) == []


def test_who_had_the_id_before_is_not_forgotten_with_a_restore(
    duckdb_warehouse: Warehouse, data_dir: Path, tmp_path: Path
) -> None:
    """Cora was 0041 at the time of the backup, and Zed had the id under which she was forgotten."""
    settings = Settings(data_dir=data_dir)
    zed = signup("0042", first_name="Zed", last_name="Zander", submission_id="900")
    duckdb_warehouse.replace("signups", together(signup("0041", **CORA, submission_id="601"), zed), year=YEAR)
    duckdb_warehouse.replace("mentors", together(mentor("0041", **CORA), mentor("0042", last_name="Zander")), year=YEAR)
    monday = write_backup(duckdb_warehouse, settings, tmp_path / "monday.zip")
    duckdb_warehouse.replace("signups", signup("0042", **CORA, submission_id="601"), year=YEAR)
    duckdb_warehouse.replace("mentors", mentor("0042", **CORA), year=YEAR)
    forget(duckdb_warehouse, program(), "0042", now=NOW, by="Ada")
    assert restore(duckdb_warehouse, settings, monday, "Ben").forgotten == ["0042"]
    assert duckdb_warehouse.read("mentors")["last_name"].to_list() == ["Zander"]
    assert duckdb_warehouse.read("signups")["submission_id"].to_list() == ["900"]


def test_the_backups_of_the_data_folder_are_named(duckdb_warehouse: Warehouse, data_dir: Path) -> None:
    store_people(duckdb_warehouse)
    settings = Settings(data_dir=data_dir)
    (data_dir / "backups").mkdir()
    for number in range(6):
        write_backup(duckdb_warehouse, settings, data_dir / "backups" / f"before-restore-{number}.zip")
    (data_dir / "inbox").mkdir()
    (data_dir / "inbox" / "photos.zip").write_bytes(b"PK")
    (data_dir / "mentors.duckdb.damaged-20251109T120000").touch()
    found = backups_known(settings)
    assert [path.name for path in found] == [
        *(f"before-restore-{number}.zip" for number in range(6)), "mentors.duckdb.damaged-20251109T120000"
    ]  # fmt: skip
    with duckdb_warehouse.reading() as reader:
        made = Forgetting.of(reader, program(), "0042", NOW)
    (said,) = (line for line in elsewhere(made, [], found, settings) if line.startswith("Backups"))
    assert f"{data_dir / 'backups' / 'before-restore-5.zip'}, {found[-1]}, and 2 more. Delete these." in said
    assert "in the data folder" not in "".join(elsewhere(made, [], [], settings))


def test_files_that_name_the_person_are_listed_and_what_else_remains_is_told(
    duckdb_warehouse: Warehouse, data_dir: Path
) -> None:
    store_people(duckdb_warehouse)
    files = {
        "exports/a.csv": '"0042","Zed","","Zander"\n',
        "exports/b.csv": '"0042","Zed"\n"7","Cora","","O""Cedar"\n',
        "inbox/done/c.csv": "name,phone\nx,(706) 555-1234\n",
        "inbox/done/d.csv": 'Cora,Alder\nDan,O""Cedar\n',
        "alerts.log": '{"title": "CORA@example.com"}\n',
        "dagster_home/e.txt": "cora@example.com",
    }
    for name, text in files.items():
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).write_text(text, encoding="utf-8")
    settings = Settings(data_dir=data_dir)
    with duckdb_warehouse.reading() as reader:
        made = Forgetting.of(reader, program(), "0042", NOW)
    found = files_naming(made, settings)
    assert [str(path.relative_to(data_dir)) for path in found] == ["alerts.log", "exports/b.csv", "inbox/done/c.csv"]
    told = "\n".join(elsewhere(made, found, [], settings))
    for words in (
        "raw_mn_signups 600, 600042, 601", "member 70", "contact 7, 8", str(data_dir / "alerts.log"), "Backups",
        "history of runs", f"In {LAST - 1} somebody with another name had the id 0042",
        "mentors: 1 rows of others (mn_id 0043) hold a word that is also theirs",
    ):  # fmt: skip
        assert words in told


# -- raw answers ---------------------------------------------------------------------------------------------------


def test_raw_answers_are_kept_for_ever_or_for_so_many_days() -> None:
    rows = together(
        *(
            row("raw_mn_signups", submission_id=str(days), answers=answers, submitted_at=NOW - timedelta(days=days))
            for days, answers in ((10, '{"1": "x"}'), (40, '{"1": "x"}'), (50, "{}"))
        )
    )
    assert without_old_answers(rows, days=None, now=NOW).equals(rows)
    kept = without_old_answers(rows, days=30, now=NOW)
    assert kept["answers"].to_list() == ['{"1": "x"}', ANSWERS_REMOVED, "{}"]
    assert kept.drop("answers").equals(rows.drop("answers"))
    assert without_old_answers(kept, days=30, now=NOW).equals(kept)
    since_year_1 = (NOW.date() - date.min).days
    for days in (since_year_1 - 1, since_year_1, since_year_1 + 1, 999_999_999, 10**12):
        assert without_old_answers(rows, days=days, now=NOW).equals(rows)
