"""Givebutter's contacts export: the CSV file that operators download and drop into the inbox.

Writes the 45 core columns of 2026 (or the 39 of 2025), then one column per custom field headed by its label, with
Givebutter's formats: comma-separated lists, E.164 phones, UTC times without an offset. Archived contacts are not in
it. Which contacts there are is the world's business; reading such a file back is `csv_import`'s.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from mentor_pipeline.simulator.records import Address, Contact
    from mentor_pipeline.simulator.world import World

Cell = str | int | None

ADDED_2026: Final = (
    "Contact Since",
    "Preferred First Name",
    "Pronouns",
    "TikTok",
    "Instagram",
    "Last Donation Amount",
)
"""Columns that the export of 2025 lacks."""


def _time(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S") if value else ""


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _one_line(address: Address) -> str:
    lines = f"{address.line_1} {address.line_2}" if address.line_2 else address.line_1
    return f"{lines}, {address.city}, {address.state} {address.postal_code}, {address.country}"


def _address(part: str) -> Callable[[Contact], Cell]:
    return lambda contact: getattr(contact.addresses[0], part) if contact.addresses else None


CORE_COLUMNS: Final[Mapping[str, Callable[[Contact], Cell]]] = {
    "Givebutter Contact ID": lambda c: c.id,
    "Contact External ID": lambda c: c.external_id,
    "Contact Since": lambda c: c.contact_since.strftime("%Y-%m-%d") if c.contact_since else None,
    "Prefix": lambda c: c.prefix,
    "First Name": lambda c: c.first_name,
    "Preferred First Name": lambda c: c.preferred_name,
    "Middle Name": lambda c: c.middle_name,
    "Last Name": lambda c: c.last_name,
    "Suffix": lambda c: c.suffix,
    "Date of Birth": lambda c: c.dob,
    "Gender": lambda c: c.gender,
    "Pronouns": lambda c: c.pronouns,
    "Employer": lambda c: c.employer,
    "Title": lambda c: c.title,
    "Primary Email": lambda c: c.emails[0] if c.emails else None,
    "Additional Emails": lambda c: ",".join(c.emails[1:]),
    "Primary Phone": lambda c: c.phones[0] if c.phones else None,
    "Additional Phones": lambda c: ", ".join(c.phones[1:]),
    "Address Line 1": _address("line_1"),
    "Address Line 2": _address("line_2"),
    "City": _address("city"),
    "State": _address("state"),
    "Postal Code": _address("postal_code"),
    "Country": _address("country"),
    "Additional Addresses": lambda c: "; ".join(map(_one_line, c.addresses[1:])),
    "Website": lambda c: c.website_url,
    "Twitter": lambda c: c.twitter_url,
    "LinkedIn": lambda c: c.linkedin_url,
    "Facebook": lambda c: c.facebook_url,
    "TikTok": lambda c: c.tiktok_url,
    "Instagram": lambda c: c.instagram_url,
    "Recurring Contributions": lambda c: f"{c.recurring_contributions:.2f}",
    "Total Contributions": lambda c: f"{c.total_contributions:.2f}",
    "Last Donation Amount": lambda c: None if c.last_donation_amount is None else f"{c.last_donation_amount:.2f}",
    "Total Soft Credits": lambda c: f"{c.total_soft_credits:.2f}",
    "Engage Email Subscribed": lambda c: _yes(c.email_subscribed),
    "Engage SMS Subscribed": lambda c: _yes(c.phone_subscribed),
    "Engage Mail Subscribed": lambda c: _yes(c.address_subscribed),
    "Tags": lambda c: ", ".join(c.tags),
    "Notes": lambda c: c.note,
    "Household ID": lambda c: c.household_id,
    "Household": lambda c: c.household,
    "Household Primary Contact": lambda c: _yes(c.household_primary) if c.household_id else None,
    "Date Created (UTC)": lambda c: _time(c.created_at),
    "Last Modified (UTC)": lambda c: _time(c.updated_at),
}


def contacts_csv(
    world: World, *, columns: Literal["2026", "2025"] = "2026", contact_ids: Collection[int] | None = None
) -> str:
    """The export of all active contacts (or of some of them), newest layout by default."""
    core = [(name, cell) for name, cell in CORE_COLUMNS.items() if columns == "2026" or name not in ADDED_2026]
    cells = [cell for _, cell in core]
    labels = list(world.custom_fields)
    wanted = None if contact_ids is None else set(contact_ids)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*(name for name, _ in core), *labels])
    for contact_id in world.active_ids():
        if wanted is None or contact_id in wanted:
            contact = world.contacts[contact_id]
            writer.writerow([*(cell(contact) for cell in cells), *map(contact.custom_fields.get, labels)])
    return text.getvalue()


def file_name(world: World) -> str:
    """A name as Givebutter gives to an export: the day, and a number that grows."""
    return f"contacts-{world.now():%Y-%m-%d}-{1_000_000 + world.revision}.csv"
