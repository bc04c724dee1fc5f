"""Import rows are judged as Givebutter will judge them (R10)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain import preflight
from mentor_pipeline.domain.failures_csv import read_failures
from mentor_pipeline.domain.findings import problem_rows
from mentor_pipeline.errors import FileRejectedError
from mentor_pipeline.simulator.csv_export import contacts_csv
from tests.builders import NOW, YEAR, contact, mentor, program, row, together
from tests.domain.worlds import empty_world, file_of, known_contacts

if TYPE_CHECKING:
    from mentor_pipeline.simulator import World

PROGRAM = program()
CHECKBOX, SELECT, TEXT, LONG_TEXT = (
    "📝 Sign Up Complete",
    "📆 Shift Preference",
    "👕 Shirt Size",
    "📧 Custom Email Message 1️⃣",
)
ID, EXTERNAL_ID = "Givebutter Contact ID", "Contact External ID"
NAMED = {"First Name": "Maya", "Last Name": "Foxgrove"}
MAIL = {"Primary Email": "maya@example.com", "Email Subscription Status": "yes"}
ADDRESS = {"Address Line 1": "12 Mill St", "City": "Athens", "State": "GA", "Zip Code": "30601", "Country": "US"}
NOBODY = mentor().clear()


def judge(
    *cells: dict[str, str],
    contacts: pl.DataFrame | None = None,
    mentors: pl.DataFrame = NOBODY,
    taken: frozenset[str] = frozenset(),
) -> pl.DataFrame:
    header = list(dict.fromkeys(column for row in cells for column in row))
    rows = pl.DataFrame([{column: row.get(column) for column in header} for row in cells])
    known = contact().clear() if contacts is None else contacts
    return preflight.judge(rows, known, mentors, PROGRAM, taken_external_ids=taken)


def kinds(findings: pl.DataFrame) -> list[tuple[str, str]]:
    return list(findings.select("verdict", "kind").iter_rows())


def words_of(findings: pl.DataFrame) -> set[str]:
    return set(findings.filter(verdict="refused")["words"])


def refusals(world: World, cells: dict[str, str]) -> tuple[set[str], set[str]]:
    """Why a row is refused: as foretold, and as the import says."""
    foretold = words_of(judge(cells, contacts=known_contacts(world)))
    result = world.import_csv(file_of(cells))
    return foretold, {error for refused in result.refused for error in refused.errors}


class TestRefusedRows:
    @pytest.mark.parametrize(
        "cells",
        [
            {"Last Name": ""},
            {"Last Name": "x" * 256},
            {"Prefix": "x" * 33},
            {"First Name": "x" * 256},
            {EXTERNAL_ID: "9" * 256},
            {"Primary Email": "maya@example.com"},
            {**MAIL, "Primary Email": "maya@"},
            {**MAIL, "Email Addresses": "maya@example.com, not one"},
            {**MAIL, "Email Subscription Status": "maybe"},
            {"Phone Subscription Status": "1"},
            {"Primary Phone Number": "call me"},
            {"Phone Numbers": "+17065550142,12"},
            {"Tags": f"Mentors 2025, {'x' * 65}"},
            {"City": "Athens"},
            {**ADDRESS, "Zip Code": ""},
            {"Address Line 2": "Apt 4"},
            {"Contact Website": "x" * 256},
            {"Date of Birth": "yesterday"},
            {CHECKBOX: "done"},
            {SELECT: "Option 9"},
            {SELECT: "option 1"},
            {TEXT: "x" * 256},
            {LONG_TEXT: "x" * 2001},
            {ID: "12"},
            {ID: "no number"},
        ],
    )
    def test_as_givebutter_refuses_them_word_by_word(self, cells: dict[str, str]) -> None:
        foretold, said = refusals(empty_world(), {**NAMED, **cells})
        assert foretold
        assert foretold == said

    @pytest.mark.parametrize(
        "cells",
        [
            {"First Name": ""},
            {"Prefix": "x" * 32, "Last Name": "x" * 255},
            {**MAIL, "Email Subscription Status": "No"},
            {**MAIL, "Email Addresses": "maya@uga.edu,other@example.org"},
            {"Primary Phone Number": "+17065550142", "Phone Numbers": "(706) 555-0143"},
            {"Tags": f"{'x' * 64}, b"},
            ADDRESS,
            {CHECKBOX: "yes", SELECT: "Option 2", TEXT: "x" * 255, LONG_TEXT: "x" * 2000},
            {"Date of Birth": "2/29/2004", "Contact Since": "2024-02-29"},
            {"Notes": "x" * 5000},
            {"Some Other Column": "x" * 300},
        ],
    )
    def test_and_takes_those_that_it_takes(self, cells: dict[str, str]) -> None:
        assert refusals(empty_world(), {**NAMED, **cells}) == (set(), set())

    def test_a_number_and_a_date_of_the_organisation(self) -> None:
        year = program(
            custom_fields={
                "Raised": {"from": "amount_raised", "type": "number"},
                "Trained": {"from": "training_at", "type": "date"},
            }
        )
        for good, cells in ((True, ("75.00", "9/30/2025")), (False, ("$75", "30/9/2025"))):
            row = {**NAMED, "Raised": cells[0], "Trained": cells[1]}
            found = preflight.judge(pl.DataFrame([row]), contact().clear(), NOBODY, year)
            said = {error for refused in empty_world(year).import_csv(file_of(row)).refused for error in refused.errors}
            assert words_of(found) == said
            assert bool(said) != good


class TestWhoHoldsTheExternalId:
    @pytest.mark.parametrize("archived", [True, False])
    def test_another_contact_archived_or_not(self, archived: bool) -> None:
        world = empty_world()
        holder = world.add_contact(first_name="Ada", last_name="Elm", external_id="0042")
        if archived:
            world.archive_contact(holder)
        own = world.add_contact(first_name="Maya", last_name="Foxgrove")
        row = {ID: str(own), EXTERNAL_ID: "0042", **NAMED}
        (found,) = judge(row, contacts=known_contacts(world)).to_dicts()
        assert (found["verdict"], found["kind"], found["contact_id"]) == ("refused", "external_id_taken", holder)
        assert "Ada Elm" in found["detail"]
        foretold, said = refusals(world, row)
        assert foretold == said == {"A contact with External ID [0042] already exists."}

    def test_its_own_contact_may(self) -> None:
        world = empty_world()
        own = world.add_contact(first_name="Maya", last_name="Foxgrove", external_id="0042")
        assert refusals(world, {ID: str(own), EXTERNAL_ID: "0042", **NAMED}) == (set(), set())

    def test_a_row_without_contact_id_even_if_it_would_merge_into_the_holder(self) -> None:
        world = empty_world()
        world.add_contact(first_name="Maya", last_name="Foxgrove", external_id="0042", emails=["maya@example.com"])
        foretold, said = refusals(world, {EXTERNAL_ID: "0042", **NAMED, **MAIL})
        assert foretold == said == {"A contact with External ID [0042] already exists."}

    def test_other_letters_are_accepted_but_make_a_second_carrier(self) -> None:
        carrier = contact(7, external_id="MN0042", external_mn_id="42")
        row = {EXTERNAL_ID: "0042", **NAMED}
        assert kinds(judge(row, contacts=carrier)) == [("wrong", "external_id_other_spelling")]
        gone = carrier.with_columns(archived_at=pl.lit(NOW))
        assert judge(row, contacts=gone).is_empty()

    def test_other_letters_are_no_news_when_the_own_contact_carries_the_id_already(self) -> None:
        both = together(
            contact(7, external_id="MN0042", external_mn_id="42"), contact(8, external_id="042", external_mn_id="42")
        )
        assert judge({ID: "8", EXTERNAL_ID: "0042", **NAMED}, contacts=both).is_empty()

    def test_a_vanished_contact_may_be_an_archived_one(self) -> None:
        vanished = contact(7, external_id="0042", external_mn_id="42", missing_since=NOW)
        found = judge({EXTERNAL_ID: "0042", **NAMED}, contacts=vanished)
        assert kinds(found) == [("refused", "external_id_taken")]
        assert "contact-refresh" in found["detail"][0]
        assert preflight.unsure_holders(vanished, mentor("0042"), PROGRAM) == [7]
        assert preflight.unsure_holders(vanished, mentor("0043"), PROGRAM) == []

    def test_but_not_when_the_contact_that_survived_holds_the_same_id(self) -> None:
        merged = together(
            contact(7, external_id="0042", external_mn_id="42", missing_since=NOW),
            contact(8, external_id="0042", external_mn_id="42"),
        )
        assert judge({ID: "8", EXTERNAL_ID: "0042", **NAMED}, contacts=merged).is_empty()

    def test_two_rows_with_one_external_id_or_one_contact(self) -> None:
        found = judge(
            {ID: "7", EXTERNAL_ID: "0042", **NAMED},
            {ID: "7", EXTERNAL_ID: "0043", **NAMED},
            {ID: "8", EXTERNAL_ID: "0043", **NAMED},
            {ID: "9", EXTERNAL_ID: "0044", **NAMED},
            contacts=together(contact(7), contact(8), contact(9)),
        )
        assert set(found.select("row", "kind").iter_rows()) == {
            (0, "contact_twice"),
            (1, "contact_twice"),
            (1, "external_id_twice"),
            (2, "external_id_twice"),
        }
        assert set(found["verdict"]) == {"wrong"}
        assert "rows 3 and 4" in found.filter(kind="external_id_twice")["detail"][0]


class TestWhatFailedRowsTeach:
    """Contacts that were archived before they were ever seen show in a -failed.csv only."""

    def lesson(self, world: World, contacts: pl.DataFrame) -> pl.DataFrame:
        result = world.import_csv(file_of({EXTERNAL_ID: "0042", **NAMED}))
        file = read_failures(result.failed_csv.encode(), result.failed_name, contacts=contacts)
        return problem_rows(YEAR, file.problems).with_columns(resolved=pl.lit(value=False))

    def test_a_taken_external_id_is_refused_from_then_on(self) -> None:
        world = empty_world()
        world.archive_contact(world.add_contact(first_name="Ada", last_name="Elm", external_id="0042"))
        unseen = contact().clear()
        taken = preflight.taken_external_ids(self.lesson(world, unseen), unseen)
        assert taken == {"0042"}
        found = judge({EXTERNAL_ID: "0042", **NAMED}, taken=taken)
        assert kinds(found) == [("refused", "external_id_taken")]
        assert judge({EXTERNAL_ID: "0043", **NAMED}, taken=taken).is_empty()
        own = contact(7, external_id="0042", external_mn_id="42")
        assert judge({ID: "7", EXTERNAL_ID: "0042", **NAMED}, contacts=own, taken=taken).is_empty()

    def test_until_a_person_says_that_it_was_settled(self) -> None:
        world = empty_world()
        world.archive_contact(world.add_contact(first_name="Ada", last_name="Elm", external_id="0042"))
        unseen = contact().clear()
        lesson = self.lesson(world, unseen).with_columns(resolved=pl.lit(value=True))
        assert preflight.taken_external_ids(lesson, unseen) == frozenset()

    def test_or_until_the_holder_that_is_known_gave_it_up(self) -> None:
        world = empty_world()
        world.add_contact(first_name="Ada", last_name="Elm", external_id="0042")
        seen = known_contacts(world)
        lesson = self.lesson(world, seen)
        assert preflight.taken_external_ids(lesson, seen) == {"0042"}
        released = seen.with_columns(external_id=pl.lit(None, pl.String))
        assert preflight.taken_external_ids(lesson, released) == frozenset()


NAMED_THERE = {"first_name": "Maya", "last_name": "Foxgrove"}
MAYA = {**NAMED, **MAIL, "Primary Phone Number": "+17065550142", EXTERNAL_ID: "0042"}


class TestRowsWithoutContactId:
    @pytest.mark.parametrize(
        "there",
        [
            {"emails": ["maya@example.com"], "phones": []},
            {"emails": ["MAYA@example.com"], "phones": []},
            {"emails": [], "phones": ["+17065550142"]},
            {"emails": ["other@example.com", "maya@example.com"], "phones": [], "first_name": " maya"},
        ],
    )
    def test_a_merge_is_told_in_advance(self, there: dict[str, object]) -> None:
        world = empty_world()
        target = world.add_contact(**{"first_name": "Maya", "last_name": "FOXGROVE", **there})
        found = judge(MAYA, contacts=known_contacts(world))
        assert kinds(found) == [("notice", "merges")]
        assert found["contact_id"].to_list() == [target]
        assert world.import_csv(file_of(MAYA)).merged == [target]

    @pytest.mark.parametrize(
        "there",
        [
            {"emails": ["other@example.com"], "phones": ["+17065550143"]},
            {"emails": ["maya@example.com"], "last_name": "Fox"},
            {"emails": ["maya@example.com"], "first_name": "May"},
            {"emails": ["maya@example.com"], "first_name": None},
        ],
    )
    def test_another_name_or_address_is_another_contact(self, there: dict[str, object]) -> None:
        world = empty_world()
        world.add_contact(**{"first_name": "Maya", "last_name": "Foxgrove", **there})
        assert judge(MAYA, contacts=known_contacts(world)).is_empty()
        assert world.import_csv(file_of(MAYA)).merged == []

    def test_an_archived_contact_merges_with_nobody(self) -> None:
        there = contact(7, first_name="Maya", last_name="Foxgrove", primary_email="maya@example.com")
        assert judge(MAYA, contacts=there.with_columns(archived_at=pl.lit(NOW))).is_empty()
        assert kinds(judge(MAYA, contacts=there)) == [("notice", "merges")]

    def test_a_contact_that_is_another_mentors_is_never_merged_into(self) -> None:
        there = contact(7, first_name="Maya", last_name="Foxgrove", primary_email="maya@example.com")
        linked = mentor("0043", gb_contact_id=7, gb_match_status="linked")
        assert kinds(judge(MAYA, contacts=there, mentors=linked)) == [("wrong", "merges_into_another")]
        carries = there.with_columns(external_id=pl.lit("MN43"), external_mn_id=pl.lit("43"))
        (found,) = judge(MAYA, contacts=carries, mentors=mentor("0043")).to_dicts()
        assert (found["verdict"], found["kind"]) == ("wrong", "merges_into_another")
        assert "mentor 0043" in found["detail"]
        last_year = judge(MAYA, contacts=carries, mentors=mentor("0042"))
        assert kinds(last_year) == [("notice", "merges")]

    def test_two_new_people_of_one_name_and_phone_would_become_one(self) -> None:
        other = {**MAYA, EXTERNAL_ID: "0043", "Primary Email": "other@example.com"}
        found = judge(MAYA, other)
        assert set(found.select("row", "verdict", "kind").iter_rows()) == {
            (0, "wrong", "merges_with_row"),
            (1, "wrong", "merges_with_row"),
        }
        assert len(empty_world().import_csv(file_of(MAYA, other)).merged) == 1

    def test_two_rows_never_merge_into_one_contact(self) -> None:
        """They share nothing but the contact, which has the phone of the one and the e-mail of the other."""
        world = empty_world()
        shared = world.add_contact(**NAMED_THERE, emails=["maya@example.com"], phones=["+17065550143"])
        other = {**NAMED, EXTERNAL_ID: "0043", "Primary Phone Number": "+17065550143"}
        found = judge(MAYA, other, contacts=known_contacts(world))
        assert set(found.filter(verdict="wrong").select("row", "kind").iter_rows()) == {
            (0, "merges_with_row"),
            (1, "merges_with_row"),
        }
        assert world.import_csv(file_of(MAYA, other)).merged == [shared, shared]

    def test_nor_into_one_that_another_row_updates(self) -> None:
        world = empty_world()
        own = world.add_contact(**NAMED_THERE, emails=["maya@example.com"])
        update = {ID: str(own), EXTERNAL_ID: "0043", "First Name": "May", "Last Name": "Fox"}
        found = judge(MAYA, update, contacts=known_contacts(world))
        assert list(found.filter(verdict="wrong").select("row", "kind").iter_rows()) == [(0, "merges_with_row")]
        result = world.import_csv(file_of(MAYA, update))
        assert result.merged == result.updated == [own]

    def test_nor_with_a_contact_as_another_row_will_leave_it(self) -> None:
        world = empty_world()
        renamed = world.add_contact(first_name="Mai", last_name="Foxgrove", phones=["+17065550142"])
        update = {**NAMED, ID: str(renamed), EXTERNAL_ID: "0043"}
        found = judge(update, MAYA, contacts=known_contacts(world))
        assert list(found.select("row", "kind").iter_rows()) == [(1, "merges_with_row")]
        assert world.import_csv(file_of(update, MAYA)).merged == [renamed]


@st.composite
def _cells(draw: st.DrawFn) -> dict[str, str]:
    """Cells of all kinds: mostly good, some bad, some blank, some not there."""
    values = {
        ID: ["", "31000001", "31000002", "31000003", "7", "x1"],
        EXTERNAL_ID: ["", "0041", "0042", "MN0042", "42"],
        "Prefix": ["", "Mai", "x" * 33],
        "First Name": ["", "Maya", "maya ", "x" * 256],
        "Last Name": ["", "Foxgrove", "FOXGROVE"],
        "Primary Email": ["", "maya@example.com", "Maya@Example.com", "maya", "a@b", "x@y.test"],
        "Email Addresses": ["", "maya@uga.edu", "maya@uga.edu, maya@example.com", ",", "nobody@"],
        "Primary Phone Number": ["", "+17065550142", "706-555-0142", "12", "+44 20 7946 0018", "x"],
        "Tags": ["", "a, b", "x" * 65, "x" * 64],
        "Email Subscription Status": ["", "yes", "no", "NO", "y"],
        "Phone Subscription Status": ["", "yes", "ja"],
        "City": ["", "", "Athens"],
        "Contact Website": ["", "https://pages.example.com/maya", "x" * 256],
        "Date of Birth": ["", "2004-02-29", "2/30/2004", "2004-02-29 10:00:00"],
        CHECKBOX: ["", "Yes", "no", "true"],
        SELECT: ["", "Option 1", "Option 5"],
        TEXT: ["", "M", "x" * 256],
    }
    columns = draw(st.sets(st.sampled_from(sorted(values)), min_size=6))
    return {column: draw(st.sampled_from(values[column])) for column in sorted(columns)}


def _three_contacts() -> World:
    world = empty_world()
    world.add_contact(first_name="Maya", last_name="Foxgrove", emails=["maya@example.com"], external_id="0041")
    world.add_contact(first_name="Maya", last_name="Foxgrove", phones=["+17065550142"])
    world.archive_contact(world.add_contact(first_name="Ada", last_name="Elm", external_id="MN0042"))
    return world


_KNOWN = known_contacts(_three_contacts())


@settings(max_examples=40, deadline=None)
@given(cells=_cells())
def test_exactly_the_rows_that_givebutter_refuses_are_refused(cells: dict[str, str]) -> None:
    assume(any(cells.values()))  # a blank line is no row
    foretold = words_of(judge(cells, contacts=_KNOWN))
    result = _three_contacts().import_csv(file_of(cells))
    assert foretold == {error for refused in result.refused for error in refused.errors}


class TestALinkToTheContactInTheWay:
    def test_is_given_where_the_year_file_knows_the_account(self) -> None:
        year = program(givebutter={**PROGRAM.givebutter.model_dump(), "account_id": 12})
        row = pl.DataFrame([{EXTERNAL_ID: "0042", **NAMED}])
        (found,) = preflight.judge(row, contact(7, external_id="0042"), NOBODY, year).to_dicts()
        assert found["detail"].endswith(" See https://dashboard.givebutter.com/accounts/12/contacts/7 .")

    def test_and_left_out_where_it_does_not(self) -> None:
        (found,) = judge({EXTERNAL_ID: "0042", **NAMED}, contacts=contact(7, external_id="0042")).to_dicts()
        assert "https://" not in found["detail"]


class TestAFileReadBack:
    def file(self, text: str, name: str = "givebutter-import-2025-10-01T120000Z.csv") -> preflight.FilePreflight:
        return preflight.preflight_file(text.encode(), name, contact(7), NOBODY, PROGRAM)

    def test_findings_name_the_row_of_a_spreadsheet(self) -> None:
        good, bad = {**NAMED, "Notes": "two\nlines"}, {**NAMED, "Last Name": "", EXTERNAL_ID: "0042"}
        found = self.file(file_of(good, bad))
        assert found.row_count == 2
        (finding,) = found.findings.to_dicts()
        assert (finding["row"], finding["external_id"], finding["name"]) == (3, "0042", "Maya")
        assert finding["words"] == "The Last Name field is required."

    def test_an_empty_line_is_a_row_of_a_spreadsheet_too(self) -> None:
        header, first, second = file_of({**NAMED, EXTERNAL_ID: "0042"}, {**NAMED, EXTERNAL_ID: "0042"}).splitlines()
        found = self.file(f"{header}\n\n{first}\n\n{second}\n").findings
        assert found.filter(kind="external_id_twice")["row"].to_list() == [3, 5]
        assert "The rows 3 and 5 have one External ID" in found.filter(kind="external_id_twice")["detail"][0]

    def test_a_broken_file_is_to_be_written_again(self) -> None:
        with pytest.raises(
            FileRejectedError, match=r"separated by semicolons.*Write it again with `mentor-pipeline exp"
        ):
            self.file("Contact External ID;Last Name\n0042;Elm\n")

    def test_refused_rows_are_sent_to_their_command(self) -> None:
        with pytest.raises(FileRejectedError, match=r"first column ERRORS.*import-failures"):
            self.file("ERRORS,Givebutter Contact ID,Last Name\nx,7,Elm\n")

    def test_columns_that_nobody_knows_are_named(self) -> None:
        assert self.file(file_of({**NAMED, "Shoe Size": "9"})).unknown_columns == ("Shoe Size",)

    @pytest.mark.parametrize("header", ["Colour,Size", "Company Name,Givebutter Company ID"])
    def test_other_files_are_refused(self, header: str) -> None:
        with pytest.raises(FileRejectedError, match="no file for Givebutter to import"):
            self.file(f"{header}\n{','.join('x' for _ in header.split(','))}\n")

    @pytest.mark.parametrize(
        "header",
        [
            "givebutter contact id, LAST  name ,tags",
            "Givebutter Contact ID,Last Name,Tags,Engage Email Subscribed,Last Modified (UTC)",
            "id,last_name,tags",
        ],
    )
    def test_labels_of_givebutters_other_files_are_understood(self, header: str) -> None:
        labels = header.split(",")
        found = self.file(f"{header}\n{','.join(['8', '', 'x' * 65, 'maybe', '2025-10-01'][: len(labels)])}\n")
        columns = {ID, "Last Name", "Tags", *(["Email Subscription Status"] if len(labels) > 3 else [])}
        assert set(found.findings["column"]) == columns
        assert found.unknown_columns == tuple(labels[4:])
        assert set(found.mapped_columns.values()) <= columns

    def test_what_has_to_be_mapped_by_hand_is_told(self) -> None:
        found = self.file("Last Name,Primary Phone\nElm,7065550142\n")
        assert found.mapped_columns == {"Primary Phone": "Primary Phone Number"}

    def test_two_columns_that_mean_the_same_are_refused(self) -> None:
        with pytest.raises(FileRejectedError, match=r"Last Name and last_name all mean Last Name"):
            self.file("Last Name,last_name\nElm,Elm\n")

    def test_a_whole_export_of_givebutter_can_be_judged(self) -> None:
        world = _three_contacts()
        found = preflight.preflight_file(contacts_csv(world).encode(), "contacts.csv", _KNOWN, NOBODY, PROGRAM)
        assert found.row_count == 2
        assert found.findings.is_empty()


# -- files made by hand ----------------------------------------------------------------------------------------------


@st.composite
def _files(draw: st.DrawFn) -> str:
    """Files of a few rows that get in each other's way, with labels and cells as people write them."""
    labels = {
        ID: [ID, "givebutter contact id", "id"],
        EXTERNAL_ID: [EXTERNAL_ID, "external_id"],
        "First Name": ["First Name", "first name "],
        "Last Name": ["Last Name", "LAST NAME", "last_name"],
        "Primary Email": ["Primary Email", "primary_email"],
        "Primary Phone Number": ["Primary Phone Number", "Primary Phone", "phone_numbers"],
        "Email Subscription Status": ["Email Subscription Status", "Engage Email Subscribed", "email_subscription"],
        "Tags": ["Tags"],
        "Date of Birth": ["Date of Birth", "dob"],
        SELECT: [SELECT],
        CHECKBOX: [CHECKBOX],
        TEXT: [TEXT],
    }
    odd = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    cells = {
        ID: st.sampled_from(["", "", "31000001", "31000002", "031000002", "31000003", "31000004", "1.0", "9" * 25]),
        EXTERNAL_ID: st.sampled_from(["", "0041", "0042", "0043", "MN0042", "=1", "x" * 256]),
        "First Name": st.sampled_from(["", "Maya", "maya", "Ada", "\u200b", "x" * 256]),
        "Last Name": st.sampled_from(["", "Foxgrove", "FOXGROVE ", "Elm", "\u00a0", "'=1"]) | odd,
        "Primary Email": st.sampled_from(
            ["", "maya@example.com", "MAYA@example.com", "ada@example.org,", "a@b", "=@x"]
        ),
        "Primary Phone Number": st.sampled_from(["", "+17065550142", "(706) 555-0142", "555-0142", "706-555-0142 x5"])
        | st.text("+0123456789() -x.", max_size=14),
        "Email Subscription Status": st.sampled_from(["yes", "yes", "No", "", "\u00a0", "maybe"]),
        "Tags": st.sampled_from(["", "a,b", "x" * 65, "🎉" * 64, " , "]),
        "Date of Birth": st.sampled_from(["", "2004-2-9", "2/9/2004", "02/30/2004", "2004-02-29T00:00", "29.2.2004"])
        | st.text("0123456789/-: ", max_size=12),
        SELECT: st.sampled_from(["", "Option 1", "option 1", "Option 1 "]) | odd,
        CHECKBOX: st.sampled_from(["", "YES", "no ", "true"]),
        TEXT: st.sampled_from(["", "x" * 255, "x" * 256, "🎉" * 255]) | odd,
    }
    columns = sorted(draw(st.sets(st.sampled_from(sorted(labels)), min_size=3)) | {"Last Name"})
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([draw(st.sampled_from(labels[column])) for column in columns])
    for _ in range(draw(st.integers(1, 5))):
        writer.writerow([draw(cells[column]) for column in columns])
    return text.getvalue()


def _world_of_four() -> World:
    world = _three_contacts()
    world.add_contact(first_name="Ada", last_name="Elm", emails=["ada@example.org"], external_id="0043")
    return world


_KNOWN_FOUR = known_contacts(_world_of_four())


@settings(max_examples=30, deadline=None)
@given(text=_files())
def test_a_file_that_is_judged_fine_is_taken_whole_and_every_refusal_was_foretold(text: str) -> None:
    """Both ways: nothing held or unknown means nothing refused, and whoever is refused was named with the row."""
    _compare(text)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(text=_files())
def test_so_it_is_with_many_files(text: str) -> None:
    _compare(text)


def _compare(text: str) -> None:
    foretold = preflight.preflight_file(text.encode(), "made by hand.csv", _KNOWN_FOUR, NOBODY, PROGRAM)
    held = foretold.findings.filter(pl.col("verdict").is_in(["refused", "wrong"]))
    world = _world_of_four()
    before = set(world.contacts)
    result = world.import_csv(text)
    assert foretold.row_count == len(result.refused) + len(result.created) + len(result.updated) + len(result.merged)
    assert {_record(text, refused.line) for refused in result.refused} <= set(held["row"])
    if held.is_empty():
        assert result.refused == []
        taken = [*result.created, *result.updated, *result.merged]
        assert len(set(taken)) == len(taken)
        assert set(foretold.findings["contact_id"]) >= set(result.merged)
        assert set(result.created).isdisjoint(before)


def _record(text: str, line: int) -> int:
    """The row of a spreadsheet that ends on a line of the file."""
    reader = csv.reader(io.StringIO(text, newline=""))
    return next(number for number, _ in enumerate(reader, start=1) if reader.line_num == line)


def test_contacts_concern_the_rows_by_every_key_and_through_each_other() -> None:
    """Given a chain of shared phones and e-mails that begins at a mentor, then all of it concerns the rows."""
    mentors = together(
        mentor("0001", gb_contact_id=1, phone=None, personal_email=None, uga_email=None),
        mentor("0002", gb_contact_id=None, phone="+17065550142", personal_email="a@example.com", uga_email=None),
    )
    contacts = together(
        contact(1, emails=["linked@example.com"]),
        contact(2, emails=["linked@example.com"], phones=["+17065550150"]),
        contact(3, phones=["+17065550150"], emails=["chain@example.com"]),
        contact(4, emails=["chain@example.com"]),
        contact(5, phones=["+17065550142"]),
        contact(6, emails=["a@example.com"], archived_at=NOW),
        contact(7, external_id="MN0002", external_mn_id="2"),
        contact(8, emails=["undecided@example.com"]),
        contact(9, emails=["in-the-way@example.com"]),
        contact(10, emails=["stranger@example.com"], phones=["+17065550199"], external_id="MN0077"),
    )
    conflicts = row("sync_conflicts", year=YEAR, id="one", option_b='{"value":"undecided@example.com"}')
    problems = row("sync_errors", year=YEAR, id="one", type="import_refused", context='{"in_the_way":[9]}')
    concerned = preflight.concerned(contacts.lazy(), mentors, conflicts, problems, program())
    assert concerned.to_list() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
