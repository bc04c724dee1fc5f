"""The contacts export is read by its headers, or refused with the line."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.contacts_csv import ContactsFile, FileKind, kind_of, read_contacts
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import FileRejectedError

NOW = datetime(2025, 11, 1, 12, tzinfo=UTC)
EXPORT_2026 = [
    "Givebutter Contact ID",
    "Contact External ID",
    "Contact Since",
    "Prefix",
    "First Name",
    "Preferred First Name",
    "Middle Name",
    "Last Name",
    "Suffix",
    "Date of Birth",
    "Gender",
    "Pronouns",
    "Employer",
    "Title",
    "Primary Email",
    "Additional Emails",
    "Primary Phone",
    "Additional Phones",
    "Address Line 1",
    "Address Line 2",
    "City",
    "State",
    "Postal Code",
    "Country",
    "Additional Addresses",
    "Website",
    "Twitter",
    "LinkedIn",
    "Facebook",
    "TikTok",
    "Instagram",
    "Recurring Contributions",
    "Total Contributions",
    "Last Donation Amount",
    "Total Soft Credits",
    "Engage Email Subscribed",
    "Engage SMS Subscribed",
    "Engage Mail Subscribed",
    "Tags",
    "Notes",
    "Household ID",
    "Household",
    "Household Primary Contact",
    "Date Created (UTC)",
    "Last Modified (UTC)",
]
ADDED_2026 = {
    "Contact Since",
    "Preferred First Name",
    "Pronouns",
    "TikTok",
    "Instagram",
    "Last Donation Amount",
}


def export(*rows: dict[str, str], columns: list[str] | None = None, end: str = "\r\n") -> bytes:
    """An export of these contacts; cells that are not given are blank."""
    if columns is None:
        columns = list(dict.fromkeys(label for row in rows for label in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(columns)
    writer.writerows([row.get(label, "") for label in columns] for row in rows)
    return text.getvalue().encode()


def person(contact_id: int | str = 1, **more: str) -> dict[str, str]:
    return {"Givebutter Contact ID": str(contact_id), "First Name": "Ada", "Last Name": "Elm", **more}


def read(data: bytes, name: str = "contacts.csv") -> ContactsFile:
    return read_contacts(io.BytesIO(data), name, now=NOW)


def contacts_of(file: ContactsFile) -> pl.DataFrame:
    (contacts,) = file.batches
    return contacts


def only(data: bytes) -> dict[str, Any]:
    return contacts_of(read(data)).row(0, named=True)


def refused(data: bytes) -> str:
    with pytest.raises(FileRejectedError) as error:
        read(data)
    return str(error.value)


def test_a_whole_row_of_2026() -> None:
    """Given every column with a value, then every value is typed and in its column."""
    row = person(
        901,
        **{
            "Contact External ID": "MN0042",
            "Date of Birth": "2005-02-28",
            "Primary Email": " Ada.Elm@Example.com",
            "Additional Emails": "b@example.com, A@example.org,b@example.com,ada.elm@example.com",
            "Primary Phone": "+17065550142",
            "Additional Phones": "+17065550144,+17065550143",
            "Total Contributions": "1,234.50",
            "Last Donation Amount": "0.00",
            "Engage Email Subscribed": "Yes",
            "Engage SMS Subscribed": "No",
            "Tags": "SWAB, Mentors 2025",
            "Notes": "first\r\nsecond",
            "Date Created (UTC)": "2025-01-02 03:04:05",
            "Last Modified (UTC)": "2025-10-28 14:03:11",
            "📆 Shift Preference": "Option 1",
            "💸 Givebutter Page Setup": "",
        },
    )
    contact = only(export(row, columns=[*EXPORT_2026, "📆 Shift Preference", "💸 Givebutter Page Setup"]))
    assert contact["contact_id"] == 901
    assert contact["external_id"] == "MN0042"
    assert contact["dob"] == date(2005, 2, 28)
    assert contact["primary_email"] == "ada.elm@example.com"
    assert contact["additional_emails"] == ["a@example.org", "b@example.com"]
    assert contact["additional_phones"] == ["+17065550143", "+17065550144"]
    assert contact["total_contributions"] == Decimal("1234.50")
    assert contact["recurring_contributions"] == 0
    assert contact["last_donation_amount"] is None
    assert (contact["email_subscribed"], contact["sms_subscribed"], contact["mail_subscribed"]) == (True, False, None)
    assert contact["tags"] == ["Mentors 2025", "SWAB"]
    assert contact["notes"] == "first\nsecond"
    assert contact["created_at"] == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert contact["custom_fields"] == '{"📆 Shift Preference":"Option 1"}'


@pytest.mark.parametrize(
    ("label", "spoilt"),
    [
        ("Primary Phone", "1.70656E+10"),
        ("Additional Phones", "+17065550142,1.70656E+10"),
        ("Contact External ID", " 2.40001E+09"),
    ],
)
def test_numbers_that_a_spreadsheet_program_spoilt_are_not_taken(label: str, spoilt: str) -> None:
    """Given a few, then their rows are set aside; given many, then the file is refused."""
    good = [person(number, **{label: "+17065550143"}) for number in range(20, 50)]
    file = read(export(person(1, **{label: spoilt}), *good))
    assert file.set_aside_ids == (1,)
    assert "cannot be read" in file.set_aside[0].message
    assert 1 not in contacts_of(file)["contact_id"]
    many = [person(number, **{label: spoilt}) for number in range(1, 12)]
    assert "Has a spreadsheet program saved it?" in refused(export(*many, *good))


def test_columns_that_a_file_does_not_carry_are_not_told() -> None:
    """The 2025 export has no Preferred First Name: that is not an empty preferred name."""
    columns = [label for label in EXPORT_2026 if label not in ADDED_2026]
    file = read(export(person(), columns=columns))
    assert "preferred_name" not in contacts_of(file).columns
    assert contacts_of(file).get_column("custom_fields").to_list() == ["{}"]
    assert file.custom_labels == (
        "Date of Birth",
    )  # of the custom fields only one that it could not read would be told
    assert not file.told_everything
    assert read(export(person(), columns=EXPORT_2026)).told_everything


@settings(deadline=None, max_examples=30)
@given(st.permutations(EXPORT_2026), st.data())
def test_the_order_and_the_spelling_of_headers_do_not_matter(columns: list[str], data: st.DataObject) -> None:
    row = dict.fromkeys(columns, "") | person(7, City="Athens", State="GA")
    plain = only(export(row, columns=columns))
    spelt = (str.upper, str.lower, lambda label: f" {label} ", lambda label: label.replace(" ", "\xa0 "))
    respelt = {
        label: data.draw(st.sampled_from((*spelt, lambda label: label.replace(" ", ""))))(label) for label in columns
    }
    assert only(export({respelt[label]: row[label] for label in columns})) == plain
    assert (plain["contact_id"], plain["city"], plain["state"]) == (7, "Athens", "GA")


def test_the_contact_id_alone_is_enough() -> None:
    assert contacts_of(read(b"Givebutter Contact ID\n12\n13\n")).get_column("contact_id").to_list() == [12, 13]


def test_byte_order_mark_crlf_newlines_emoji_and_formulas_are_kept() -> None:
    row = person(Notes="=HYPERLINK(1)\nsecond, line", Prefix="Zoë 🐶")
    for data in (export(row), b"\xef\xbb\xbf" + export(row), export(row, end="\n")):
        contact = only(data)
        assert (contact["notes"], contact["prefix"]) == ("=HYPERLINK(1)\nsecond, line", "Zoë 🐶")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (",".join(EXPORT_2026), FileKind.CONTACTS),
        ("First Name,Last Name,Company,Givebutter Contact ID", FileKind.CONTACTS),
        ("givebutter contact id", FileKind.CONTACTS),
        ("ERRORS,last_name,id,external_id", FileKind.FAILURES),
        ("ERRORS,Givebutter Contact ID,Contact External ID,First Name,Last Name,Zip Code", FileKind.FAILURES),
        ("ERRORS,Company Name", FileKind.FAILURES),
        ("Givebutter Company ID,Company Name,Primary Email", FileKind.COMPANIES),
        ("Givebutter Contact ID,Company Name,Primary Email", FileKind.COMPANIES),
        ("Givebutter Contact ID,Contact External ID,Last Name,Primary Phone Number,Zip Code", FileKind.IMPORT),
        ("Name,Amount", FileKind.OTHER),
    ],
)
def test_files_are_told_apart_by_their_header(header: str, kind: FileKind) -> None:
    assert kind_of(f"{header}\n1,2\n".encode()) is kind
    if kind is not FileKind.CONTACTS:
        assert "Nothing of it was imported" in refused(f"{header}\n1,2\n".encode())


def test_a_picture_named_csv_is_called_a_picture() -> None:
    assert kind_of(b"\xff\xd8\xff\xe0\x00\x10JFIF") is FileKind.OTHER
    assert "JPEG picture" in refused(b"\xff\xd8\xff\xe0\x00\x10JFIF")


def test_a_refused_rows_file_is_sent_to_its_command() -> None:
    assert "import-failures" in refused(b"ERRORS,id\nx,1\n")


def test_one_contact_on_two_rows_refuses_the_file() -> None:
    assert "contact 5 is there more than once, on lines 2, 4" in refused(
        export(person(5, Notes="x"), person(6), person("005"))
    )


def test_one_column_twice_refuses_the_file() -> None:
    assert "twice" in refused(b"Givebutter Contact ID,City,city\n1,2,3\n")


@pytest.mark.parametrize(
    ("label", "value", "column"),
    [
        ("Last Modified (UTC)", "10/28/2025 14:03", "last_modified_at"),
        ("Date Created (UTC)", "2025-12-2508:02:54", "created_at"),
        ("Date Created (UTC)", "+10000-01-01 00:00:00", "created_at"),
        ("Engage Email Subscribed", "perhaps", "email_subscribed"),
        ("Total Contributions", "many", "total_contributions"),
        ("Total Contributions", "1,50", "total_contributions"),
        ("Last Donation Amount", "99999999999.00", "last_donation_amount"),
    ],
)
def test_a_row_that_cannot_be_read_is_set_aside_alone(label: str, value: str, column: str) -> None:
    """The contact is known to exist, so that nobody calls it missing."""
    file = read(export(person(1), person(2, **{label: value}), columns=["Givebutter Contact ID", "First Name", label]))
    assert contacts_of(file).get_column("contact_id").to_list() == [1]
    assert (file.row_count, file.set_aside_ids, file.has_unknown_ids) == (2, (2,), False)
    (problem,) = file.set_aside
    assert (problem.field_name, problem.current_value, problem.severity) == (column, value, "error")
    assert "line 3" in problem.message


@pytest.mark.parametrize("value", ["2025-02-30", "2/28/2005", 'the "30th"', "0000-01-01"])
def test_a_date_of_birth_that_is_none_is_kept_as_text(value: str) -> None:
    file = read(export(person(1, Pet="cat"), person(2, Pet="dog", **{"Date of Birth": f" {value} "})))
    assert contacts_of(file).get_column("dob").to_list() == [None, None]
    kept = [json.loads(text) for text in contacts_of(file).get_column("custom_fields")]
    assert kept == [{"Pet": "cat"}, {"Pet": "dog", "Date of Birth": value}]
    assert set(file.custom_labels) == {"Pet", "Date of Birth"}
    (problem,) = file.kept_as_text
    assert (problem.type, problem.severity, problem.current_value) == ("contact_value_kept_as_text", "warning", value)
    assert "'Date of Birth' on line 3" in problem.message


@pytest.mark.parametrize(
    ("cell", "amount"), [("1,234,567.50", "1234567.50"), ("$5", "5"), ("-3.2", "-3.20"), ("0.000", "0"), ("", "0")]
)
def test_amounts(cell: str, amount: str) -> None:
    contact = only(export(person(**{"Total Contributions": cell})))
    assert contact["total_contributions"] == Decimal(amount)


def test_custom_fields_are_json_whatever_is_in_them() -> None:
    values = {"b": 'say "hi"\\', "a": "two\nlines\ttab", "ü 📝": "é \x7f\u2028.", 'q"': "x", "blank": "  "}
    contact = only(export(person(**values)))
    expected = {label: value for label, value in values.items() if value.strip()}
    assert contact["custom_fields"] == to_json(expected)


def test_a_contact_id_that_is_no_number_leaves_nobody_to_be_called_missing() -> None:
    file = read(export(person(1), person("12a"), person("")))
    assert file.has_unknown_ids
    assert [problem.current_value for problem in file.set_aside] == ["12a", ""]


def test_too_many_unreadable_rows_refuse_the_file() -> None:
    rows = [person(number, **{"Last Modified (UTC)": "10/28/25 14:03"}) for number in range(1, 12)]
    assert "11 of 12 rows cannot be read, the first on line 2" in refused(export(*rows, person(99)))
    assert "1 of 1 rows cannot be read" in refused(export(rows[0]))
    births = [person(number, **{"Date of Birth": "10/28/05"}) for number in range(1, 12)]
    assert "11 of 12 rows cannot be read" in refused(export(*births, person(99)))


def test_rows_of_commas_are_no_contacts() -> None:
    assert read(b"Givebutter Contact ID,City\n1,Athens\n,\n").row_count == 1
    assert "not one contact" in refused(b"Givebutter Contact ID,City\n,\n")


@pytest.mark.parametrize(
    ("name", "modified", "known_at"),
    [
        ("contacts-2025-10-28-1234567.csv", "2025-10-27 09:00:00", datetime(2025, 10, 28, tzinfo=UTC)),
        ("contacts-2025-10-28-1234567.csv", "2025-10-28 09:00:00", datetime(2025, 10, 28, 9, tzinfo=UTC)),
        ("contacts.csv", "2025-10-27 09:00:00", datetime(2025, 10, 27, 9, tzinfo=UTC)),
        ("contacts-2025-13-40.csv", "2025-10-27 09:00:00", datetime(2025, 10, 27, 9, tzinfo=UTC)),
        ("contacts-2031-01-01.csv", "2025-10-27 09:00:00", datetime(2025, 10, 27, 9, tzinfo=UTC)),
        ("contacts-2025-10-28.csv", "2031-10-27 09:00:00", datetime(2025, 10, 28, tzinfo=UTC)),
        ("contacts.csv", "", None),
    ],
)
def test_a_file_is_as_old_as_it_says(name: str, modified: str, known_at: datetime | None) -> None:
    """The newest of the two, never the time of the drop, and nothing from the future (R12)."""
    data = export(person(1, **{"Last Modified (UTC)": modified}), person(2))
    assert read(data, name).known_at == known_at


SENT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff"), max_size=8)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SENT, SENT, SENT), min_size=1, max_size=6))
def test_text_arrives_in_its_column(rows: list[tuple[str, str, str]]) -> None:
    data = export(
        *(
            person(number, City=city, State=state, Mascot=mascot)
            for number, (city, state, mascot) in enumerate(rows, start=1)
        )
    )
    contacts = contacts_of(read(data))
    expected = pl.DataFrame(
        [{"city": city.strip() or None, "state": state.strip() or None} for city, state, _ in rows],
        schema={"city": pl.String, "state": pl.String},
    )
    assert contacts.select("city", "state").equals(expected)
