"""A `-failed.csv` explains each row."""

from __future__ import annotations

import polars as pl
import pytest

from mentor_pipeline.domain.failures_csv import FailuresFile, read_failures, taken_external_ids
from mentor_pipeline.domain.findings import problem_rows
from mentor_pipeline.errors import FileRejectedError
from tests.builders import NOW, YEAR, contact, together

TAKEN = "A contact with External ID [MN0042] already exists."
CONTACTS = together(
    contact(7, external_id="MN0042", first_name="Cora", last_name="Fir"),
    contact(8, external_id="MN0043", archived_at=NOW),
    contact(9, external_id="mn0044"),
)


def read(text: str) -> FailuresFile:
    return read_failures(text.encode(), "contacts-2025-10-28-1-failed.csv", contacts=CONTACTS)


@pytest.mark.parametrize(
    "text",
    [
        f"ERRORS,id,external_id,first_name,last_name\r\n{TAKEN},501,MN0042,Ada,Elm\r\n",
        f"ERRORS,Givebutter Contact ID,Contact External ID,First Name,Last Name\n{TAKEN},501,MN0042,Ada,Elm\n",
        f'ERRORS,last_name,custom_fields_field_12,external_id,id,first_name\n"{TAKEN}",Elm,Yes,MN0042,501,Ada\n',
    ],
)
def test_the_contact_in_the_way_is_named_whatever_the_order_of_the_keys(text: str) -> None:
    file = read(text)
    (problem,) = file.problems
    assert (problem.type, problem.severity, problem.mn_id) == ("import_refused", "error", "0042")
    assert "Ada Elm" in problem.message
    assert "contact 7 (Cora Fir)" in problem.message
    assert file.rows.get_column("in_the_way").to_list() == [[7]]
    assert file.taken_external_ids == {"MN0042"}


def test_an_archived_contact_goes_on_holding_its_external_id() -> None:
    file = read("ERRORS,last_name\nA contact with External ID [MN0043] already exists.,Elm\n")
    assert "contact 8" in file.problems[0].message
    assert "archived" in file.problems[0].message
    assert file.problems[0].mn_id == "0043"


def test_a_holder_that_nobody_knows_is_said_to_be_unknown() -> None:
    """Givebutter compares letter by letter: mn0044 does not hold MN0044."""
    file = read("ERRORS,last_name,external_id\nA contact with External ID [MN0044] already exists.,Elm,MN0044\n")
    assert "no contact that we know of" in file.problems[0].message
    assert file.rows.get_column("in_the_way").to_list() == [[]]


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ("A contact with ID [7] does not exist.", "contact-refresh"),
        ("The Last Name field is required.", "no last name"),
        ("The Email Subscription Status field is required when an e-mail address is given.", "subscribed"),
        ("The City field is required when an address is given.", "address is not complete"),
        ("The Prefix may not be greater than 32 characters.", "longer than Givebutter takes"),
        ("The 📆 Shift Preference must be one of: Option 1, Option 2.", "none of the field's options"),
        ("The e-mail address [x] is invalid.", "e-mail address"),
        ("The phone number [x] is invalid.", "phone number"),
        ("Something new.", "a reason that the pipeline does not know"),
    ],
)
def test_every_reason_has_a_cause_and_a_next_step(errors: str, says: str) -> None:
    file = read(f'ERRORS,id,last_name\n"{errors}",501,Elm\n')
    assert says in file.problems[0].message
    assert errors in file.problems[0].message
    assert file.taken_external_ids == frozenset()


OWN = contact(7, external_id="MN0042", first_name="Ada", last_name="Elm")


@pytest.mark.parametrize(
    ("holder", "mends_itself", "says"),
    [
        (OWN, True, "file is imported twice"),
        (OWN.with_columns(first_name=pl.lit("Adah")), False, "external_id_collision"),
        (OWN.with_columns(archived_at=pl.lit(NOW)), False, "restore that contact"),
        (OWN.with_columns(missing_since=pl.lit(NOW)), False, "contact-refresh"),
        (OWN.clear(), False, "if the file was imported twice"),
        (together(OWN, OWN.with_columns(contact_id=pl.lit(8, pl.Int64))), False, "external_id_collision"),
    ],
)
def test_a_taken_id_mends_itself_only_where_the_next_sync_links_the_holder(
    holder: pl.DataFrame, mends_itself: bool, says: str
) -> None:
    text = f"ERRORS,external_id,first_name,last_name\n{TAKEN},MN0042,Ada,Elm\n"
    file = read_failures(text.encode(), "failed.csv", contacts=holder)
    assert file.rows["mends_itself"].to_list() == [mends_itself]
    assert says in file.rows["what_to_do"][0]
    told = "It mends itself" if mends_itself else "It does not mend itself"
    assert told in file.problems[0].message


@pytest.mark.parametrize(
    ("errors", "mends_itself"),
    [
        ("A contact with ID [7] does not exist.", True),
        ("The Email Subscription Status field is required when an e-mail address is given.", True),
        ("The Last Name field is required.", False),
        ("Something new.", False),
        ("A contact with ID [7] does not exist.; The Last Name field is required.", False),
    ],
)
def test_a_row_mends_itself_when_all_its_causes_do(errors: str, mends_itself: bool) -> None:
    file = read(f'ERRORS,id,last_name\n"{errors}",7,Elm\n')
    assert file.rows["mends_itself"].to_list() == [mends_itself]


def test_the_contact_in_the_way_is_linked() -> None:
    text = f"ERRORS,external_id\n{TAKEN},MN0042\n".encode()
    (problem,) = read_failures(text, "failed.csv", contacts=CONTACTS, account_id=12).problems
    assert "https://dashboard.givebutter.com/accounts/12/contacts/7 " in problem.message


def test_several_reasons_of_one_row_are_all_told() -> None:
    file = read(f"ERRORS,external_id\nThe Last Name field is required.; {TAKEN},MN0042\n")
    assert "no last name" in file.rows.item(0, "cause")
    assert "contact 7" in file.rows.item(0, "cause")
    twice = read(
        'ERRORS,last_name\n"The Email Subscription Status field is required when an e-mail address is given.; '
        'The phone number [x] is invalid.",Elm\n'
    )
    assert twice.rows["cause"].to_list() == [
        "the row has an e-mail but does not say whether it is subscribed; Givebutter does not accept the phone number"
    ]


def test_the_same_refusal_in_two_files_is_one_problem() -> None:
    text = f"ERRORS,external_id,last_name\n{TAKEN},MN0042,Elm\n"
    again = f"ERRORS,last_name,external_id\n{TAKEN},Elm,MN0042\n"
    assert read(text).problems[0].id(YEAR) == read(again).problems[0].id(YEAR)


def test_the_preflight_learns_taken_ids_from_stored_problems() -> None:
    file = read(f"ERRORS,external_id\n{TAKEN},MN0042\nThe Last Name field is required.,MN0001\n")
    assert taken_external_ids(problem_rows(YEAR, file.problems)) == {"MN0042"}


def test_a_file_that_says_of_nobody_whose_rows_they_are_is_refused() -> None:
    with pytest.raises(
        FileRejectedError, match=r"expected one of id, external_id, first_name.*columns are ERRORS, shoe"
    ):
        read("ERRORS,shoe\nx,9\n")


def test_a_file_without_errors_is_refused() -> None:
    with pytest.raises(FileRejectedError, match="no column ERRORS"):
        read("id,last_name\n1,Elm\n")
