"""The import: every rule of Givebutter's, known word for word or by its effect."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.simulator import Address, ImportResult, World
from mentor_pipeline.simulator.csv_export import contacts_csv

if TYPE_CHECKING:
    from tests.simulator.conftest import Clock

ID, EXTERNAL_ID = "Givebutter Contact ID", "Contact External ID"
ADDRESS = {
    "Address Line 1": "12 Mill St",
    "City": "Athens",
    "State": "GA",
    "Zip Code": "30601",
    "Country": "US",
}


def row(**cells: str) -> dict[str, str]:
    return {"First Name": "Maya", "Last Name": "Foxgrove", **cells}


def text_of(*rows: dict[str, str]) -> str:
    header = list(dict.fromkeys(column for cells in rows for column in cells))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, quoting=csv.QUOTE_ALL, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def load(world: World, *rows: dict[str, str]) -> ImportResult:
    return world.import_csv(text_of(*rows))


def errors(world: World, **cells: str) -> tuple[str, ...]:
    """What an import of one row says; none when it is taken."""
    result = load(world, row(**cells))
    assert len(result.refused) + len(result.created) == 1
    return result.refused[0].errors if result.refused else ()


class TestWhoIsChanged:
    def test_a_contact_id_updates(self, world: World, clock: Clock) -> None:
        contact_id = world.add_contact(first_name="May", last_name="Fox", external_id="0041")
        clock.forward(hours=1)
        result = load(world, row(**{ID: str(contact_id), EXTERNAL_ID: "0042", "Prefix": "Mai"}))
        assert result.updated == [contact_id]
        contact = world.contact(contact_id)
        assert (contact.first_name, contact.last_name, contact.prefix) == ("Maya", "Foxgrove", "Mai")
        assert contact.external_id == "0042"
        assert contact.updated_at == clock()

    def test_nothing_new_moves_nothing(self, world: World, clock: Clock) -> None:
        contact_id = world.add_contact(first_name="Maya", last_name="Foxgrove", tags=["Donor"])
        before = world.contact(contact_id).updated_at
        clock.forward(hours=1)
        load(world, row(**{ID: str(contact_id), "Tags": "Donor"}))
        assert world.contact(contact_id).updated_at == before

    def test_an_external_id_alone_updates_nobody(self, world: World) -> None:
        world.add_contact(first_name="Maya", last_name="Foxgrove", external_id="MN0001")
        assert errors(world, **{EXTERNAL_ID: "MN0001"}) == ("A contact with External ID [MN0001] already exists.",)

    def test_without_id_a_contact_is_created(self, world: World) -> None:
        world.add_contact(first_name="Maya", last_name="Foxgrove", emails=["other@example.com"])
        result = load(world, row(**{"Primary Email": "maya@example.com", "Email Subscription Status": "yes"}))
        assert len(result.created) == 1
        assert world.contact(result.created[0]).emails == ["maya@example.com"]

    @pytest.mark.parametrize(
        "shared",
        [
            {"Primary Email": "maya@example.com", "Email Subscription Status": "yes"},
            {"Email Addresses": "x@example.com, MAYA@example.com", "Email Subscription Status": "yes"},
            {"Primary Phone Number": "(706) 555-0142"},
        ],
    )
    def test_the_same_name_with_the_same_email_or_phone_is_merged_into(
        self, world: World, shared: dict[str, str]
    ) -> None:
        contact_id = world.add_contact(
            first_name="maya", last_name="Foxgrove", emails=["maya@example.com"], phones=["+17065550142"]
        )
        result = load(world, row(**{EXTERNAL_ID: "0042", **shared}))
        assert (result.created, result.merged) == ([], [contact_id])
        assert world.contact(contact_id).external_id == "0042"

    def test_an_archived_contact_is_not_merged_into(self, world: World) -> None:
        world.archive_contact(world.add_contact(first_name="Maya", last_name="Foxgrove", phones=["+17065550142"]))
        assert len(load(world, row(**{"Primary Phone Number": "+17065550142"})).created) == 1

    def test_unknown_deleted_and_archived_ids_are_refused(self, world: World) -> None:
        archived, deleted = world.add_contact(last_name="A"), world.add_contact(last_name="B")
        world.archive_contact(archived)
        world.delete_contact(deleted)
        for contact_id in (str(archived), str(deleted), "17", "MN0042"):
            assert errors(world, **{ID: contact_id}) == (f"A contact with ID [{contact_id}] does not exist.",)


class TestExternalIds:
    def test_an_archived_contact_goes_on_holding_its_own(self, world: World) -> None:
        world.archive_contact(world.add_contact(last_name="Foxgrove", external_id="0042"))
        assert errors(world, **{EXTERNAL_ID: "0042"}) == ("A contact with External ID [0042] already exists.",)

    def test_they_are_compared_letter_by_letter(self, world: World) -> None:
        world.add_contact(last_name="Foxgrove", external_id="0042")
        assert errors(world, **{EXTERNAL_ID: "MN0042"}) == ()
        assert errors(world, **{EXTERNAL_ID: "mn0042"}) == ()

    def test_two_rows_of_a_file_cannot_share_one(self, world: World) -> None:
        other = {"First Name": "Liam", "Last Name": "Ashcroft", EXTERNAL_ID: "0042"}
        result = load(world, row(**{EXTERNAL_ID: "0042"}), other)
        assert len(result.created) == 1
        assert result.refused[0].errors == ("A contact with External ID [0042] already exists.",)
        assert (result.refused[0].line, result.refused[0].name) == (3, "Liam Ashcroft")

    def test_a_contact_keeps_its_own(self, world: World) -> None:
        contact_id = world.add_contact(last_name="Foxgrove", external_id="0042")
        assert load(world, row(**{ID: str(contact_id), EXTERNAL_ID: "0042"})).updated == [contact_id]

    def test_one_that_a_row_gave_up_is_free_for_the_next(self, world: World) -> None:
        one, other = world.add_contact(last_name="A", external_id="1"), world.add_contact(last_name="B")
        result = load(world, row(**{ID: str(one), EXTERNAL_ID: "2"}), row(**{ID: str(other), EXTERNAL_ID: "1"}))
        assert result.updated == [one, other]


@pytest.mark.parametrize(
    ("cells", "part"),
    [
        ({"Last Name": ""}, "Last Name field is required"),
        ({"Last Name": "x" * 256}, "Last Name may not be greater than 255"),
        ({"First Name": "x" * 256}, "First Name may not be greater than 255"),
        ({"Prefix": "x" * 33}, "Prefix may not be greater than 32"),
        ({"Primary Email": "maya@example.com"}, "Email Subscription Status field is required"),
        ({"Email Addresses": "maya@example.com"}, "Email Subscription Status field is required"),
        ({"Primary Email": "maya@@example", "Email Subscription Status": "yes"}, "[maya@@example] is invalid"),
        ({"Primary Phone Number": "12345"}, "[12345] is invalid"),
        ({"Phone Numbers": "+17065550142, call me"}, "[call me] is invalid"),
        ({"Email Subscription Status": "subscribed"}, "must be yes or no"),
        ({"Phone Subscription Status": "1"}, "must be yes or no"),
        ({"Tags": f"Donor, {'x' * 65}"}, "may not be greater than 64"),
        ({"Date of Birth": "May 6th"}, "not a valid date"),
        ({"📝 Sign Up Complete": "done"}, "must be yes or no"),
        ({"📆 Shift Preference": "Option 9"}, "must be one of"),
        ({"👕 Shirt Size": "x" * 256}, "may not be greater than 255"),
        ({"📧 Custom Email Message 1️⃣": "x" * 2001}, "may not be greater than 2000"),
        ({"📅 Last Event Attended": "soon"}, "not a valid date"),
        ({"🔢 Years Involved": "three"}, "must be a number"),
    ],
)
def test_faults_of_a_row(world: World, cells: dict[str, str], part: str) -> None:
    [error] = errors(world, **cells)
    assert part in error
    assert not world.contacts


@pytest.mark.parametrize("missing", ADDRESS)
def test_an_address_is_all_or_nothing(world: World, missing: str) -> None:
    [error] = errors(world, **{**ADDRESS, missing: ""})
    assert error == f"The {missing} field is required when an address is given."
    assert errors(world, **{**ADDRESS, "Address Line 2": "Apt 3"}) == ()


def test_values_at_the_limits_are_taken(world: World) -> None:
    assert (
        errors(
            world,
            **{
                "Last Name": "x" * 255,
                "Prefix": "x" * 32,
                "Tags": "x" * 64,
                "👕 Shirt Size": "x" * 255,
                "📧 Custom Email Message 1️⃣": "x" * 2000,
                "📆 Shift Preference": "Option 4",
                "📝 Sign Up Complete": "YES",
                "📅 Last Event Attended": "3/9/2024",
                "🔢 Years Involved": "3",
                "Date of Birth": "2004-05-06",
            },
        )
        == ()
    )


class TestWhatAnUpdateDoes:
    def imported(self, world: World, **cells: str) -> World:
        world.add_contact(
            id=7,
            first_name="Maya",
            last_name="Foxgrove",
            prefix="Mai",
            emails=["old@example.com"],
            phones=["+17065550100"],
            note="Met in spring.",
            tags=["Donor"],
            addresses=[Address("1 Pine St", "Macon", "GA", "31201")],
            custom_fields={"👕 Shirt Size": "M"},
        )
        assert load(world, row(**{ID: "7", "Email Subscription Status": "no", **cells})).updated == [7]
        return world

    def test_emails_and_phones_are_added_and_the_primary_comes_first(self, world: World) -> None:
        cells = {"Primary Email": "new@example.com", "Email Addresses": "OLD@example.com,also@example.com"}
        contact = self.imported(world, **cells, **{"Primary Phone Number": "7065550142"}).contact(7)
        assert contact.emails == ["new@example.com", "old@example.com", "also@example.com"]
        assert contact.phones == ["+17065550142", "+17065550100"]

    def test_the_primary_may_also_be_one_more_at_the_end(self, world: World) -> None:
        world.behaviour.import_sets_primary = False
        contact = self.imported(world, **{"Primary Email": "new@example.com"}).contact(7)
        assert contact.emails == ["old@example.com", "new@example.com"]

    def test_notes_are_appended(self, world: World) -> None:
        assert self.imported(world, Notes="Moved.").contact(7).note == "Met in spring.\nMoved."

    def test_tags_are_united_or_replaced(self, world: World) -> None:
        assert self.imported(world, Tags="Mentors 2025,Donor").contact(7).tags == ["Donor", "Mentors 2025"]
        world.behaviour.import_replaces_tags = True
        load(world, row(**{ID: "7", "Tags": "Mentors 2025"}))
        assert world.contact(7).tags == ["Mentors 2025"]

    def test_a_blank_keeps_or_clears(self, world: World) -> None:
        blanks = {"Prefix": "", "👕 Shirt Size": "", "Tags": ""}
        contact = self.imported(world, **blanks).contact(7)
        assert (contact.prefix, contact.custom_fields, contact.tags) == ("Mai", {"👕 Shirt Size": "M"}, ["Donor"])
        world.behaviour.import_blank_clears = True
        load(world, row(**{ID: "7", **blanks}))
        assert (contact.prefix, contact.custom_fields) == (None, {})

    def test_subscriptions_address_and_custom_fields_are_set(self, world: World) -> None:
        cells = {**ADDRESS, "📝 Sign Up Complete": "yes", "📅 Last Event Attended": "2024-03-09"}
        contact = self.imported(world, **cells, **{"Contact Website": "https://give.example.org/maya"}).contact(7)
        assert contact.email_subscribed is False
        assert contact.addresses == [Address("12 Mill St", "Athens", "GA", "30601")]
        assert contact.custom_fields["📝 Sign Up Complete"] == "Yes"
        assert contact.custom_fields["📅 Last Event Attended"] == "3/9/2024"
        assert contact.website_url == "https://give.example.org/maya"


def test_unknown_columns_and_empty_lines_are_ignored(world: World) -> None:
    text = text_of(row(**{"Shoe Size": "9"})) + "\r\n\r\n"
    assert len(world.import_csv("\ufeff" + text).created) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ("FIRST name", " Last  Name ", "primary phone number"),
        ("First Name", "Last Name", "Primary Phone"),
        ("first_name", "last_name", "primary_phone"),
    ],
)
def test_a_careful_person_maps_labels_written_otherwise(world: World, labels: tuple[str, str, str]) -> None:
    (created,) = world.import_csv(f"{','.join(labels)}\nMaya,Foxgrove,7065550142\n").created
    contact = world.contact(created)
    assert (contact.first_name, contact.last_name, contact.phones) == ("Maya", "Foxgrove", ["+17065550142"])


def test_a_row_of_blank_cells_is_a_row(world: World) -> None:
    (refused,) = world.import_csv("First Name,Last Name\n,\n").refused
    assert refused.errors == ("The Last Name field is required.",)


@pytest.mark.parametrize("name", ["\u200b", "\u00a0", "\u2060 \ufeff"])
def test_a_last_name_that_nobody_can_see_is_none(world: World, name: str) -> None:
    assert errors(world, **{"Last Name": name}) == ("The Last Name field is required.",)


@pytest.mark.parametrize("phone", ["555-0142", "1-800-FLOWERS", "706-555-0142 ext. 5"])
def test_a_phone_is_digits_with_its_area(world: World, phone: str) -> None:
    assert errors(world, **{"Primary Phone Number": phone}) == (f"The phone number [{phone}] is invalid.",)


def test_good_rows_are_applied_and_the_refused_come_back(world: World) -> None:
    bad = row(**{EXTERNAL_ID: "0002", "Last Name": "", "Prefix": "x" * 33, "👕 Shirt Size": "M", "Shoe Size": "9"})
    result = load(world, row(**{EXTERNAL_ID: "0001"}), bad, row(**{EXTERNAL_ID: "0003"}))
    assert [world.contact(contact_id).external_id for contact_id in result.created] == ["0001", "0003"]
    [refused] = result.refused
    assert (refused.line, refused.external_id, len(refused.errors)) == (3, "0002", 2)
    reader = csv.DictReader(io.StringIO(result.failed_csv))
    [failed] = list(reader)
    size_key = f"custom_fields_field_{world.custom_fields['👕 Shirt Size'].id}"
    assert next(iter(failed)) == "ERRORS"
    assert set(failed) == {"ERRORS", "first_name", "last_name", "external_id", "prefix", size_key}
    assert failed["ERRORS"] == "; ".join(refused.errors)
    assert (failed["external_id"], failed[size_key]) == ("0002", "M")
    assert result.failed_name.startswith("contacts-2025-10-01-")
    assert result.failed_name.endswith("-failed.csv")


def test_the_order_of_the_failed_columns_varies(world: World) -> None:
    bad = row(**{"Last Name": "", "Tags": "Donor", "Prefix": "Mai", "Gender": "Woman"})
    headers = {load(world, bad).failed_csv.splitlines()[0] for _ in range(10)}
    assert len(headers) > 1


def test_what_was_exported_can_be_imported_again_and_changes_nothing(world: World) -> None:
    for number in range(5):
        world.add_contact(
            first_name="Maya",
            last_name=f"Foxgrove{number}",
            external_id=f"{number:04d}",
            emails=[f"m{number}@example.com", f"m{number}@uga.edu"],
            phones=[f"+1706555014{number}"],
            addresses=[Address("12 Mill St", "Athens", "GA", "30601", "Apt 3")],
            tags=["Mentors 2025", "Donor"],
            custom_fields={"📝 Sign Up Complete": "Yes", "📆 Shift Preference": "Option 2"},
        )
    renamed = {
        "Primary Phone": "Primary Phone Number",
        "Postal Code": "Zip Code",
        "Additional Emails": "Email Addresses",
        "Additional Phones": "Phone Numbers",
        "Engage Email Subscribed": "Email Subscription Status",
        "Engage SMS Subscribed": "Phone Subscription Status",
        "Engage Mail Subscribed": "Address Subscription Status",
    }
    before = contacts_csv(world)
    rows = [
        {renamed.get(column, column): cell for column, cell in cells.items()}
        for cells in csv.DictReader(io.StringIO(before, newline=""))
    ]
    result = load(world, *rows)
    assert (len(result.updated), result.refused) == (5, [])
    assert contacts_csv(world) == before
