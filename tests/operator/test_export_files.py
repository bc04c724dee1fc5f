"""The files that go outward are written whole or not at all, and not twice (R10, R11)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from mentor_pipeline.domain.export import import_rows
from mentor_pipeline.domain.import_cells import owned_columns
from mentor_pipeline.errors import ExportRefusedError, WrongUseError
from mentor_pipeline.operator.export_files import (
    ExportResult,
    ExportSource,
    Selection,
    require_folder,
    write_import_file,
    write_messages_file,
)
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, contact, mentor, program, row, together
from tests.domain.worlds import empty_world, known_contacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

PROGRAM = program()
HOUR = timedelta(hours=1)
MENTORS = together(
    mentor("0001", shift_preference="Option 1", statuses=["No Page"]),
    mentor("0002", shift_preference="Option 2", status_category="complete", statuses=[]),
    mentor("0003", gb_match_status="shared"),
    mentor("0004", gb_contact_id=7, gb_match_status="linked", notes="Called."),
)


def source(
    mentors: pl.DataFrame = MENTORS,
    contacts: pl.DataFrame | None = None,
    *,
    sent_notes: pl.DataFrame | None = None,
    known_at: datetime | None = NOW,
) -> ExportSource:
    known = contact(7) if contacts is None else contacts
    judged = import_rows(
        mentors,
        TABLES["mn_tasks"].empty(),
        known,
        TABLES["outreach_messages"].empty(),
        TABLES["sync_errors"].empty(),
        TABLES["sync_conflicts"].empty(),
        PROGRAM,
        now=NOW,
        knowledge_at=known_at,
    )
    sent = TABLES["sent_notes"].empty() if sent_notes is None else sent_notes
    return ExportSource(judged.rows, judged.held, mentors, known, sent, known_at)


def write(folder: Path, what: ExportSource | None = None, *, now: datetime = NOW, **selection: Any) -> ExportResult:
    return write_import_file(what or source(), PROGRAM, folder, now=now, selection=Selection(**selection))


def cells(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestTheFile:
    def test_holds_our_columns_quoted_and_nothing_else(self, tmp_path: Path) -> None:
        result = write(tmp_path)
        (path,) = result.paths
        assert path.name == "givebutter-import-2025-10-01T120000Z.csv"
        assert names(tmp_path) == [path.name, path.with_suffix(".json").name]
        data = path.read_bytes()
        assert data.startswith(b'"Givebutter Contact ID","Contact External ID","Prefix"')
        quoted = io.StringIO(newline="")
        parsed = csv.reader(io.StringIO(data.decode(), newline=""))
        csv.writer(quoted, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(parsed)
        assert data.decode() == quoted.getvalue()
        rows = cells(path)
        assert list(rows[0]) == list(owned_columns(PROGRAM))
        assert [row["Contact External ID"] for row in rows] == ["0001", "0002", "0004"]
        assert [row["Givebutter Contact ID"] for row in rows] == ["", "", "7"]
        assert (result.rows, result.created, result.updated) == (3, 2, 1)
        assert result.held == {"shared_contact": 1}
        assert "1 shared_contact" in result.message

    def test_the_json_beside_it_tells_what_is_in_it_and_who_is_not(self, tmp_path: Path) -> None:
        (path,) = write(tmp_path, statuses=["needs_setup", "Complete"]).paths
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert (about["rows"], about["creates"], about["updates"], about["held_count"]) == (3, 2, 1, 1)
        (file,) = about["files"]
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (file["name"], file["rows"]) == (path.name, 3)
        (held,) = about["held"]["shared_contact"]
        assert (held["mn_id"], held["name"]) == ("0003", MENTORS["full_name"][2])
        assert "decide" in held["detail"]
        assert about["filter"]["statuses"] == ["needs_setup", "Complete"]
        assert about["contacts_known_at"].startswith("2025-10-01T12:00")

    def test_the_result_has_the_hashes_and_a_look_at_the_first_rows(self, tmp_path: Path) -> None:
        result = write(tmp_path, split=2)
        assert result.hashes == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in result.paths)
        assert result.preview.select("external_id", "does").rows() == [
            ("0001", "creates a contact"),
            ("0002", "creates a contact"),
            ("0004", "updates contact 7"),
        ]
        assert "Notes" in result.preview["changes"][2]
        again = write(tmp_path, split=2, now=NOW + HOUR)
        assert (again.hashes, again.preview.rows()) == (result.hashes, result.preview.rows())

    def test_givebutter_takes_all_of_it(self, tmp_path: Path) -> None:
        world = empty_world()
        own = world.add_contact(first_name="Ada", last_name="Elm")
        mentors = MENTORS.with_columns(gb_contact_id=pl.when(pl.col("gb_contact_id") == 7).then(own))
        (path,) = write(tmp_path, source(mentors, known_contacts(world))).paths
        result = world.import_csv(path)
        assert (result.refused, len(result.created), result.updated) == ([], 2, [own])
        assert write(tmp_path, source(mentors.filter(mn_id="0004"), known_contacts(world))).paths == ()

    def test_texts_of_all_kinds_survive(self, tmp_path: Path) -> None:
        odd = mentor("0001", first_name='Zoë "Zo" 📱', last_name="Fox, Jr.", notes="two\nlines, and a comma")
        (row,) = cells(write(tmp_path, source(odd)).paths[0])
        assert (row["First Name"], row["Last Name"]) == ('Zoë "Zo" 📱', "Fox, Jr.")
        assert row["Notes"] == "two\nlines, and a comma"

    def test_only_what_differs_unless_everything_is_wanted(self, tmp_path: Path) -> None:
        held = contact(
            7,
            external_id="0004",
            external_mn_id="4",
            **{name: MENTORS[name][3] for name in ("first_name", "last_name")},
            prefix=MENTORS["preferred_name"][3],
            notes="Called.",
            custom_fields='{"👕 Shirt Size": "M"}',
            primary_phone=MENTORS["phone"][3],
            primary_email=MENTORS["personal_email"][3],
            additional_emails=[MENTORS["uga_email"][3]],
        )
        known = source(MENTORS.filter(mn_id="0004"), held)
        nothing = write(tmp_path, known)
        assert (nothing.paths, nothing.rows, nothing.unchanged) == ((), 0, False)
        assert "Nothing to import" in nothing.message
        assert write(tmp_path, known, everything=True).rows == 1

    def test_split_by_rows(self, tmp_path: Path) -> None:
        result = write(tmp_path, split=2)
        assert [path.name for path in result.paths] == [
            "givebutter-import-2025-10-01T120000Z-part1of2.csv",
            "givebutter-import-2025-10-01T120000Z-part2of2.csv",
        ]
        assert [len(cells(path)) for path in result.paths] == [2, 1]
        about = json.loads((tmp_path / "givebutter-import-2025-10-01T120000Z.json").read_text(encoding="utf-8"))
        assert [file["rows"] for file in about["files"]] == [2, 1]
        with pytest.raises(WrongUseError, match="at least 1 row"):
            write(tmp_path, split=0)

    def test_a_path_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "mine.csv"
        result = write(path)
        assert result.paths == (path,)
        assert names(path.parent) == ["mine.csv", "mine.json"]
        assert write(path, now=NOW + HOUR).unchanged


class TestFilters:
    @pytest.mark.parametrize(
        ("selection", "ids"),
        [
            ({"statuses": ["complete"]}, ["0002"]),
            ({"statuses": ["no page"]}, ["0001", "0004"]),
            ({"shifts": ["option 1", "Option 2"]}, ["0001", "0002"]),
            ({"statuses": ["needs_setup"], "shifts": ["Option 1"]}, ["0001"]),
        ],
    )
    def test_by_status_and_shift(self, tmp_path: Path, selection: dict[str, Any], ids: list[str]) -> None:
        result = write(tmp_path, **selection)
        assert [row["Contact External ID"] for row in cells(result.paths[0])] == ids

    @pytest.mark.parametrize("selection", [{"statuses": ["compleet"]}, {"shifts": ["Option 9"]}])
    def test_one_that_fits_nobody_is_a_mistake(self, tmp_path: Path, selection: dict[str, Any]) -> None:
        with pytest.raises(WrongUseError, match=r"There are: .*(complete|Option 1)"):
            write(tmp_path, **selection)
        assert names(tmp_path) == []

    def test_held_mentors_are_counted_within_the_filter(self, tmp_path: Path) -> None:
        assert write(tmp_path, statuses=["complete"]).held == {}


class TestUnchanged:
    def test_the_same_file_is_not_written_again(self, tmp_path: Path) -> None:
        first = write(tmp_path)
        before = names(tmp_path)
        again = write(tmp_path, now=NOW + HOUR)
        assert again.unchanged
        assert again.paths == first.paths
        assert again.sent_notes.is_empty()
        assert names(tmp_path) == before

    def test_what_changed_is_written_beside_the_earlier_one(self, tmp_path: Path) -> None:
        write(tmp_path)
        changed = MENTORS.with_columns(shirt_size=pl.lit("XL"))
        result = write(tmp_path, source(changed), now=NOW + HOUR)
        assert not result.unchanged
        assert len(names(tmp_path)) == 4
        assert write(tmp_path, now=NOW + 2 * HOUR).paths != result.paths

    @pytest.mark.parametrize("damage", ["edit", "delete", "json"])
    def test_a_file_that_is_not_what_it_was_is_written_anew(self, tmp_path: Path, damage: str) -> None:
        (path,) = write(tmp_path).paths
        if damage == "edit":
            path.write_text(path.read_text(encoding="utf-8").replace("0001", "1"), encoding="utf-8")
        elif damage == "delete":
            path.unlink()
        else:
            path.with_suffix(".json").write_text("{", encoding="utf-8")
        result = write(tmp_path, now=NOW + HOUR)
        assert not result.unchanged
        assert result.rows == 3

    def test_two_different_files_within_a_second(self, tmp_path: Path) -> None:
        first = write(tmp_path)
        second = write(tmp_path, statuses=["complete"])
        assert first.paths != second.paths
        assert write(tmp_path, statuses=["complete"]).unchanged


class TestNotes:
    def test_a_note_that_was_sent_is_not_sent_twice_and_is_never_lost(self, tmp_path: Path) -> None:
        first = write(tmp_path)
        assert first.sent_notes.select("mn_id", "notes", "filename").row(0) == ("0004", "Called.", first.paths[0].name)
        sent = first.sent_notes
        again = write(tmp_path, source(sent_notes=sent), now=NOW + HOUR)
        assert again.unchanged
        changed = MENTORS.with_columns(shirt_size=pl.lit("XL"))
        without = write(tmp_path, source(changed, sent_notes=sent), now=NOW + 2 * HOUR)
        assert cells(without.paths[0])[2]["Notes"] == ""
        assert without.sent_notes.is_empty()
        assert write(tmp_path, source(changed, sent_notes=sent), now=NOW + 3 * HOUR).unchanged
        read_since = source(changed, sent_notes=sent, known_at=NOW + 4 * HOUR)
        resent = write(tmp_path, read_since, now=NOW + 5 * HOUR)
        assert cells(resent.paths[0])[2]["Notes"] == "Called."

    def test_imported_and_read_back_it_is_done(self, tmp_path: Path) -> None:
        world = empty_world()
        own = world.add_contact(first_name="Ada", last_name="Elm")
        mentors = MENTORS.filter(mn_id="0004").with_columns(gb_contact_id=pl.lit(own))
        first = write(tmp_path, source(mentors, known_contacts(world)))
        world.import_csv(first.paths[0])
        later = source(mentors, known_contacts(world), sent_notes=first.sent_notes, known_at=NOW + HOUR)
        assert write(tmp_path, later, now=NOW + 2 * HOUR).paths == ()
        assert world.contact(own).note == "Called."


class TestAge:
    @pytest.mark.parametrize("known_at", [NOW - timedelta(days=7, minutes=1), None])
    def test_too_old_is_refused_unless_insisted(self, tmp_path: Path, known_at: datetime | None) -> None:
        old = replace(source(), knowledge_at=known_at)
        with pytest.raises(ExportRefusedError, match="--allow-stale"):
            write(tmp_path, old)
        assert names(tmp_path) == []
        result = write(tmp_path, old, allow_stale=True)
        assert result.rows == 3
        assert len(result.warnings) == 1

    def test_old_is_a_warning(self, tmp_path: Path) -> None:
        result = write(tmp_path, replace(source(), knowledge_at=NOW - 25 * HOUR))
        (warning,) = result.warnings
        assert "25 hours ago" in warning
        assert write(tmp_path, replace(source(), knowledge_at=NOW - 24 * HOUR), everything=True).warnings == ()


class TestRowsThatCreate:
    """A contact that an earlier file created is unknown until the contacts are read again."""

    def test_a_second_file_warns_until_then(self, tmp_path: Path) -> None:
        assert write(tmp_path).warnings == ()
        changed = MENTORS.with_columns(shirt_size=pl.lit("XL"))
        (warning,) = write(tmp_path, source(changed), now=NOW + HOUR).warnings
        assert "givebutter-import-2025-10-01T120000Z.csv creates 2 contacts" in warning
        read_since = source(MENTORS, known_at=NOW + 2 * HOUR)
        assert write(tmp_path, read_since, now=NOW + 3 * HOUR).warnings == ()

    def test_updates_may_come_twice(self, tmp_path: Path) -> None:
        only = MENTORS.filter(mn_id="0004")
        write(tmp_path, source(only))
        assert write(tmp_path, source(only.with_columns(shirt_size=pl.lit("XL")))).warnings == ()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond this, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFaults:
    def test_a_full_disk_leaves_the_earlier_file_and_no_rubbish(self, tmp_path: Path) -> None:
        (path,) = write(tmp_path / "mine.csv").paths
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}
        changed = source(MENTORS.with_columns(shirt_size=pl.lit("XL")))
        with no_file_larger_than(200), pytest.raises(ExportRefusedError, match=r"as they were.*Free space"):
            write(path, changed)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
        assert write(path, changed).rows == 3

    def test_no_file_takes_its_name_before_all_are_written(self, tmp_path: Path) -> None:
        held = together(*(mentor(f"1{number:03d}", gb_match_status="shared") for number in range(50)))
        (path,) = write(tmp_path / "mine.csv", source(together(mentor("0001"), held))).paths
        size = path.stat().st_size
        assert path.with_suffix(".json").stat().st_size > size + 200
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}
        changed = source(together(mentor("0001", shirt_size="XL"), held))
        with no_file_larger_than(size + 100), pytest.raises(ExportRefusedError):
            write(path, changed)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before

    def test_what_a_killed_export_left_is_cleared_away(self, tmp_path: Path) -> None:
        left = tmp_path / ".givebutter-import-2025-09-30T120000Z.csv.4711.partial"
        other = tmp_path / ".notes.partial"
        for path in (left, other):
            path.write_text('"Givebutter Contact ID"', encoding="utf-8")
        write(tmp_path)
        assert not left.exists()
        assert other.exists()

    def test_they_are_for_their_owner_only(self, tmp_path: Path) -> None:
        folder = tmp_path / "exports"
        (path,) = write(folder).paths
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in (path, path.with_suffix(".json"))} == {0o600}

    @pytest.mark.parametrize("name", ["mine.csv", "mine.json"])
    def test_what_no_export_wrote_is_never_written_over(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("precious", encoding="utf-8")
        with pytest.raises(ExportRefusedError, match=rf"{name} is there already, and no export wrote it so"):
            write(tmp_path / "mine.csv")
        assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {name: "precious"}

    def test_an_export_that_somebody_edited_is_never_written_over(self, tmp_path: Path) -> None:
        (path,) = write(tmp_path / "mine.csv").paths
        path.write_text("edited", encoding="utf-8")
        with pytest.raises(ExportRefusedError, match="no export wrote it so"):
            write(path)
        assert path.read_text(encoding="utf-8") == "edited"

    def test_a_place_whose_folder_is_not_there(self, tmp_path: Path) -> None:
        for out in (tmp_path / "none" / "mine.csv", tmp_path / "none"):
            with pytest.raises(WrongUseError, match=r"There is no folder .*none\. Nothing was written or made"):
                require_folder(out)
        for out in (tmp_path / "mine.csv", tmp_path):
            require_folder(out)

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        blocked = tmp_path / "exports"
        blocked.write_text("a file", encoding="utf-8")
        with pytest.raises(ExportRefusedError, match=r"No file could be written to .*exports"):
            write(blocked)


class TestMessages:
    MESSAGES = together(
        *(
            row("outreach_messages", year=YEAR, mn_id=mn_id, campaign=campaign, **texts)
            for mn_id, campaign, texts in (
                ("0001", "a", {"message_text": "=Hi Ada"}),
                ("0001", "b", {"message_text": "Hi again"}),
                ("0002", "a", {"message_email": "only mail"}),
                ("0004", "a", {"left_out": "unsubscribed from text messages"}),
            )
        )
    )

    def test_one_row_for_each_mentor_who_gets_one(self, tmp_path: Path) -> None:
        result = write_messages_file(MENTORS, self.MESSAGES, tmp_path, now=NOW)
        (path,) = result.paths
        assert path.name == "text-messages-2025-10-01T120000Z.csv"
        (row,) = cells(path)
        assert row == {
            "phone": MENTORS["phone"][0],
            "first_name": MENTORS["first_name"][0],
            "preferred_name": MENTORS["preferred_name"][0],
            "message": "'=Hi Ada",
        }
        assert row["phone"].startswith("+1")
        assert "1 SMS" in result.message
        assert len(result.warnings) == 1
        assert write_messages_file(MENTORS, self.MESSAGES, tmp_path, now=NOW + HOUR).unchanged

    def test_none_is_no_file(self, tmp_path: Path) -> None:
        result = write_messages_file(MENTORS, self.MESSAGES.clear(), tmp_path, now=NOW)
        assert result.paths == ()
        assert names(tmp_path) == []

    def test_filters_hold_for_messages_too(self, tmp_path: Path) -> None:
        chosen = Selection(statuses=["complete"])
        assert write_messages_file(MENTORS, self.MESSAGES, tmp_path, now=NOW, selection=chosen).paths == ()
