"""The contacts export: its columns and the formats of its cells."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING

from mentor_pipeline.simulator import Address, World

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.settings import ProgramYear

_CORE = (
    "Givebutter Contact ID, Contact External ID, Contact Since, Prefix, First Name, Preferred First Name, "
    "Middle Name, Last Name, Suffix, Date of Birth, Gender, Pronouns, Employer, Title, Primary Email, "
    "Additional Emails, Primary Phone, Additional Phones, Address Line 1, Address Line 2, City, State, Postal Code, "
    "Country, Additional Addresses, Website, Twitter, LinkedIn, Facebook, TikTok, Instagram, "
    "Recurring Contributions, Total Contributions, Last Donation Amount, Total Soft Credits, "
    "Engage Email Subscribed, Engage SMS Subscribed, Engage Mail Subscribed, Tags, Notes, Household ID, Household, "
    "Household Primary Contact, Date Created (UTC), Last Modified (UTC)"
)
HEADER_2026 = _CORE.split(", ")


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or []), list(reader)


def test_64_columns_the_core_ones_first_then_custom_fields_by_label(world: World, tmp_path: Path) -> None:
    header, rows = read(world.export_csv(tmp_path / "contacts.csv"))
    assert len(HEADER_2026) == 45
    assert header[:45] == HEADER_2026
    assert header[45:] == list(world.custom_fields)
    assert "📱Custom Text Message 1️⃣" in header
    assert "🎂 Birthday Month" in header
    assert len(header) == 64
    assert rows == []


def test_the_2025_layout_lacks_six_columns(program: ProgramYear, tmp_path: Path) -> None:
    header, _ = read(World.empty(program, columns=52).export_csv(tmp_path / "contacts.csv", columns="2025"))
    missing = {"Contact Since", "Preferred First Name", "Pronouns", "TikTok", "Instagram", "Last Donation Amount"}
    assert set(HEADER_2026) - set(header) == missing
    assert len(header) == 39 + len(program.custom_fields)


def test_cells(world: World, tmp_path: Path) -> None:
    contact_id = world.add_contact(
        external_id="0042",
        first_name="Maya",
        last_name="Foxgrove",
        dob="2004-05-06",
        emails=["maya@example.com", "maya@uga.edu", "m@example.org"],
        phones=["+17065550142", "+17065550143", "+17065550144"],
        addresses=[Address("12 Mill St", "Athens", "GA", "30601"), Address("1 Pine St", "Macon", "GA", "31201")],
        tags=["Mentors 2025", "Donor"],
        note='first line\nsecond "line", with a comma',
        total_contributions=Decimal("1250.5"),
        email_subscribed=False,
        custom_fields={"📝 Sign Up Complete": "Yes", "📅 Last Event Attended": "3/9/2024"},
    )
    _, [row] = read(world.export_csv(tmp_path / "contacts.csv"))
    assert row["Givebutter Contact ID"] == str(contact_id)
    assert row["Contact External ID"] == "0042"
    assert row["Date of Birth"] == "2004-05-06"
    assert row["Primary Email"] == "maya@example.com"
    assert row["Additional Emails"] == "maya@uga.edu,m@example.org"
    assert row["Primary Phone"] == "+17065550142"
    assert row["Additional Phones"] == "+17065550143, +17065550144"
    assert row["Additional Addresses"] == "1 Pine St, Macon, GA 31201, US"
    assert row["Tags"] == "Mentors 2025, Donor"
    assert row["Notes"] == 'first line\nsecond "line", with a comma'
    assert row["Total Contributions"] == "1250.50"
    assert (row["Engage Email Subscribed"], row["Engage SMS Subscribed"]) == ("No", "Yes")
    assert (row["Date Created (UTC)"], row["Last Modified (UTC)"]) == ("2025-10-01 16:00:00", "2025-10-01 16:00:00")
    assert (row["📝 Sign Up Complete"], row["📅 Last Event Attended"]) == ("Yes", "3/9/2024")


def test_archived_contacts_are_left_out_and_a_part_can_be_exported(world: World, tmp_path: Path) -> None:
    ids = [world.add_contact(last_name="Foxgrove") for _ in range(3)]
    world.archive_contact(ids[0])
    _, rows = read(world.export_csv(tmp_path / "all.csv"))
    assert [row["Givebutter Contact ID"] for row in rows] == [str(ids[1]), str(ids[2])]
    _, rows = read(world.export_csv(tmp_path / "part.csv", contact_ids=[ids[0], ids[2]]))
    assert [row["Givebutter Contact ID"] for row in rows] == [str(ids[2])]


def test_name_and_byte_order_mark(world: World, tmp_path: Path) -> None:
    path = world.export_csv(tmp_path, bom=True)
    assert path.name.startswith("contacts-2025-10-01-")
    assert path.read_bytes().startswith(b"\xef\xbb\xbfGivebutter Contact ID,")
    assert not world.export_csv(tmp_path / "plain.csv").read_bytes().startswith(b"\xef\xbb\xbf")
