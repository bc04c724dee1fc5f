"""Givebutter's contacts import: applies an import file to the world, row by row, as Givebutter does.

Every row is judged by itself: a row with faults is refused with all of them, the good rows of the same file are
applied all the same. Only `Givebutter Contact ID` updates a contact; a row without it creates one, or merges into a
contact of the same name with the same e-mail or phone. The refused rows come back as the text of a `-failed.csv`.
What the vendor leaves unknown (blank cells, tags) follows the world's `Behaviour`.
"""

from __future__ import annotations

import csv
import io
import random
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from mentor_pipeline.simulator.records import Address, Contact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mentor_pipeline.simulator.records import CustomFieldDefinition
    from mentor_pipeline.simulator.world import World

ID, EXTERNAL_ID = "Givebutter Contact ID", "Contact External ID"
FIRST_NAME, LAST_NAME = "First Name", "Last Name"
PRIMARY_EMAIL, EMAILS = "Primary Email", "Email Addresses"
PRIMARY_PHONE, PHONES = "Primary Phone Number", "Phone Numbers"
TAGS, NOTES = "Tags", "Notes"
DATE_OF_BIRTH, CONTACT_SINCE = "Date of Birth", "Contact Since"
SUBSCRIPTIONS: Final = {
    "Email Subscription Status": "email_subscribed",
    "Phone Subscription Status": "phone_subscribed",
    "Address Subscription Status": "address_subscribed",
}
ADDRESS: Final = {
    "Address Line 1": "line_1",
    "Address Line 2": "line_2",
    "City": "city",
    "State": "state",
    "Zip Code": "postal_code",
    "Country": "country",
}
PLAIN: Final = {
    "Prefix": "prefix",
    FIRST_NAME: "first_name",
    "Preferred First Name": "preferred_name",
    "Middle Name": "middle_name",
    LAST_NAME: "last_name",
    "Suffix": "suffix",
    "Gender": "gender",
    "Pronouns": "pronouns",
    "Household Name": "household",
    "Household Envelope Name": "household_envelope",
    "Employer": "employer",
    "Title": "title",
    "Twitter URL": "twitter_url",
    "LinkedIn URL": "linkedin_url",
    "Facebook URL": "facebook_url",
    "TikTok URL": "tiktok_url",
    "Contact Website": "website_url",
}
"""Columns whose text becomes one field of the contact as it is."""

INTERNAL_KEYS: Final[Mapping[str, str]] = {
    ID: "id",
    EXTERNAL_ID: "external_id",
    CONTACT_SINCE: "contact_since",
    "Prefix": "prefix",
    FIRST_NAME: "first_name",
    "Preferred First Name": "preferred_name",
    "Middle Name": "middle_name",
    LAST_NAME: "last_name",
    "Suffix": "suffix",
    PRIMARY_EMAIL: "primary_email",
    PRIMARY_PHONE: "primary_phone",
    "Address Line 1": "address_1",
    "Address Line 2": "address_2",
    "City": "city",
    "State": "state",
    "Zip Code": "zipcode",
    "Country": "country",
    "Gender": "gender",
    "Pronouns": "pronouns",
    "Household Name": "household_name",
    "Household Envelope Name": "household_envelope_name",
    "Is Household Primary Contact": "is_household_primary_contact",
    EMAILS: "emails",
    PHONES: "phones",
    DATE_OF_BIRTH: "dob",
    "Employer": "employer",
    "Title": "title",
    "Twitter URL": "twitter_url",
    "LinkedIn URL": "linkedin_url",
    "Facebook URL": "facebook_url",
    "TikTok URL": "tiktok_url",
    TAGS: "tags",
    NOTES: "note",
    "Email Subscription Status": "email_subscription",
    "Phone Subscription Status": "phone_subscription",
    "Address Subscription Status": "address_subscription",
    "Contact Website": "website_url",
}
"""Columns of the import template (and `Contact Website`), and their keys in a `-failed.csv`."""
EXPORT_NAMES: Final[Mapping[str, str]] = {
    "Primary Phone": PRIMARY_PHONE,
    "Additional Phones": PHONES,
    "Additional Emails": EMAILS,
    "Postal Code": "Zip Code",
    "Household": "Household Name",
    "Household Primary Contact": "Is Household Primary Contact",
    "Engage Email Subscribed": "Email Subscription Status",
    "Engage SMS Subscribed": "Phone Subscription Status",
    "Engage Mail Subscribed": "Address Subscription Status",
    "Website": "Contact Website",
    "Twitter": "Twitter URL",
    "LinkedIn": "LinkedIn URL",
    "Facebook": "Facebook URL",
    "TikTok": "TikTok URL",
}
"""What the contacts export calls columns of the import: in the mapping step a person chooses the right one."""

TEXT_LIMIT, LONG_TEXT_LIMIT, PREFIX_LIMIT, TAG_LIMIT = 255, 2_000, 32, 64
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode categories of characters that nobody can see."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """One row that the import did not take.

    Attributes:
        line: line of the file on which the row ends; the header is line 1.
        contact_id: its Givebutter Contact ID cell.
        external_id: its Contact External ID cell.
        name: first and last name, for a reader.
        errors: everything that is wrong with it.
    """

    line: int
    contact_id: str
    external_id: str
    name: str
    errors: tuple[str, ...]


@dataclass(slots=True)
class ImportResult:
    """What an import did: ids of the contacts it created, updated or merged into, and the rows it refused."""

    created: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)
    merged: list[int] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    failed_csv: str = ""
    """Text of the `-failed.csv`; empty when no row was refused."""
    failed_name: str = ""
    """The name that Givebutter gives to it."""


def apply(world: World, text: str) -> ImportResult:
    """Apply an import file. The caller holds the world's lock."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = _mapped(next(reader, []), world)
    mapped = [column for column in header if column]
    result = ImportResult()
    failed: list[tuple[RefusedRow, dict[str, str]]] = []
    index = _Index(world)
    for values in reader:
        if len(values) <= 1 and not "".join(values).strip():
            continue
        row = {column: value.strip() for column, value in zip(header, values, strict=False) if column}
        errors = _judge(row, index)
        if errors:
            name = f"{row.get(FIRST_NAME, '')} {row.get(LAST_NAME, '')}".strip()
            refused = RefusedRow(
                reader.line_num, row.get(ID, ""), row.get(EXTERNAL_ID, ""), name, tuple(dict.fromkeys(errors))
            )
            failed.append((refused, row))
        else:
            _apply_row(row, index, result)
    world.imports_count += 1
    if failed:
        result.refused = [refused for refused, _ in failed]
        result.failed_csv = _failed_csv(world, mapped, failed)
        result.failed_name = f"contacts-{world.now():%Y-%m-%d}-{1_000_000 + world.imports_count}-failed.csv"
    return result


def _mapped(header: Iterable[str], world: World) -> list[str | None]:
    """The mapping step: the column that each label is chosen for, once; None for one that nobody maps."""
    names = {**{key: column for column, key in INTERNAL_KEYS.items()}, **EXPORT_NAMES}
    names |= {column: column for column in (*INTERNAL_KEYS, *world.custom_fields)}
    columns = {_bare(name): column for name, column in names.items()}
    found: list[str | None] = []
    for label in header:
        column = columns.get(_bare(label))
        found.append(None if column in found else column)
    return found


def _bare(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())


class _Index:
    """Who holds which external id, and which contacts a row without an id may merge into."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.holders: dict[str, set[int]] = defaultdict(set)
        self._by_name: dict[tuple[str, str], list[int]] = defaultdict(list)
        for contact in world.contacts.values():
            self._note(contact)

    def _note(self, contact: Contact) -> None:
        if contact.external_id:
            self.holders[contact.external_id].add(contact.id)
        if contact.archived_at is None:
            self._by_name[_name_key(contact.first_name, contact.last_name)].append(contact.id)

    def merge_target(self, row: Mapping[str, str]) -> int | None:
        """The contact of the same first and last name that has one of the row's e-mails or phones."""
        emails = {email.lower() for email in _emails(row)}
        phones = {_e164(phone) for phone in _phones(row)}
        for contact_id in sorted(self._by_name.get(_name_key(row.get(FIRST_NAME), row.get(LAST_NAME)), ())):
            contact = self.world.contacts[contact_id]
            if not emails.isdisjoint(map(str.lower, contact.emails)) or not phones.isdisjoint(contact.phones):
                return contact_id
        return None

    def forget(self, contact: Contact) -> None:
        """Take a contact out before it changes."""
        if contact.external_id:
            self.holders[contact.external_id].discard(contact.id)
        key = _name_key(contact.first_name, contact.last_name)
        self._by_name[key] = [contact_id for contact_id in self._by_name[key] if contact_id != contact.id]

    def remember(self, contact_id: int) -> None:
        """Put a contact in after it changed."""
        self._note(self.world.contacts[contact_id])


def _name_key(first: str | None, last: str | None) -> tuple[str, str]:
    return (first or "").strip().casefold(), (last or "").strip().casefold()


def _split(cell: str | None) -> list[str]:
    return [part.strip() for part in (cell or "").split(",") if part.strip()]


def _emails(row: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys([*_split(row.get(PRIMARY_EMAIL)), *_split(row.get(EMAILS))]))


def _phones(row: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys([*_split(row.get(PRIMARY_PHONE)), *_split(row.get(PHONES))]))


def _e164(text: str) -> str | None:
    """The number, where the text is one and nothing else; without its area it is none."""
    if any(character.isalpha() for character in text):
        return None
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_email(text: str) -> bool:
    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _date(text: str) -> datetime | None:
    for layout in ("%Y-%m-%d", "%m/%d/%Y", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(f"{text} +0000", f"{layout} %z")
        except ValueError:
            continue
    return None


# Judging a row


def _judge(row: Mapping[str, str], index: _Index) -> list[str]:
    """Everything that is wrong with a row, in Givebutter's words where they are known."""
    return [
        *_judge_ids(row, index),
        *_judge_names(row),
        *_judge_reachability(row),
        *_judge_address(row),
        *_judge_texts(row),
        *chain.from_iterable(
            _judge_custom_field(spec, row[label]) for label, spec in index.world.custom_fields.items() if row.get(label)
        ),
    ]


def _judge_ids(row: Mapping[str, str], index: _Index) -> Iterable[str]:
    contact_id = row.get(ID, "")
    contact = index.world.contacts.get(int(contact_id)) if contact_id.isdecimal() else None
    if contact_id and (contact is None or contact.archived_at is not None):
        yield f"A contact with ID [{contact_id}] does not exist."
    external_id = row.get(EXTERNAL_ID, "")
    if external_id and index.holders[external_id] - ({contact.id} if contact else set()):
        yield f"A contact with External ID [{external_id}] already exists."
    if len(external_id) > TEXT_LIMIT:
        yield _too_long(EXTERNAL_ID, TEXT_LIMIT)


def _judge_names(row: Mapping[str, str]) -> Iterable[str]:
    if all(unicodedata.category(character) in _UNSEEN for character in row.get(LAST_NAME, "")):
        yield "The Last Name field is required."
    if len(row.get("Prefix", "")) > PREFIX_LIMIT:
        yield _too_long("Prefix", PREFIX_LIMIT)


def _judge_reachability(row: Mapping[str, str]) -> Iterable[str]:
    emails, phones = _emails(row), _phones(row)
    yield from (f"The e-mail address [{email}] is invalid." for email in emails if not _is_email(email))
    yield from (f"The phone number [{phone}] is invalid." for phone in phones if _e164(phone) is None)
    if emails and not row.get("Email Subscription Status"):
        yield "The Email Subscription Status field is required when an e-mail address is given."
    for column in (*SUBSCRIPTIONS, "Is Household Primary Contact"):
        if row.get(column) and row[column].lower() not in {"yes", "no"}:
            yield _no_yes_or_no(column)


def _judge_address(row: Mapping[str, str]) -> Iterable[str]:
    if any(row.get(column) for column in ADDRESS):
        for column in ADDRESS:
            if column != "Address Line 2" and not row.get(column):
                yield f"The {column} field is required when an address is given."


def _judge_texts(row: Mapping[str, str]) -> Iterable[str]:
    for column in (*PLAIN, *ADDRESS):
        if column != "Prefix" and len(row.get(column, "")) > TEXT_LIMIT:
            yield _too_long(column, TEXT_LIMIT)
    for tag in _split(row.get(TAGS)):
        if len(tag) > TAG_LIMIT:
            yield f"The tag [{tag}] may not be greater than {TAG_LIMIT} characters."
    for column in (DATE_OF_BIRTH, CONTACT_SINCE):
        if row.get(column) and _date(row[column]) is None:
            yield f"The {column} is not a valid date."


def _judge_custom_field(spec: CustomFieldDefinition, value: str) -> Iterable[str]:
    match spec.type:
        case "checkbox" if value.lower() not in {"yes", "no"}:
            yield _no_yes_or_no(spec.label)
        case "select" if value not in spec.options:
            yield f"The {spec.label} must be one of: {', '.join(spec.options)}."
        case "text" if len(value) > TEXT_LIMIT:
            yield _too_long(spec.label, TEXT_LIMIT)
        case "longtext" if len(value) > LONG_TEXT_LIMIT:
            yield _too_long(spec.label, LONG_TEXT_LIMIT)
        case "date" if _date(value) is None:
            yield f"The {spec.label} is not a valid date."
        case "number" if not _NUMBER.fullmatch(value):
            yield f"The {spec.label} must be a number."


def _too_long(column: str, limit: int) -> str:
    return f"The {column} may not be greater than {limit} characters."


def _no_yes_or_no(column: str) -> str:
    return f"The {column} must be yes or no."


# Applying a row


def _apply_row(row: Mapping[str, str], index: _Index, result: ImportResult) -> None:
    world = index.world
    target = int(row[ID]) if row.get(ID) else index.merge_target(row)
    if target is None:
        target = world.add_contact(contact_since=world.now())
        result.created.append(target)
    else:
        (result.updated if row.get(ID) else result.merged).append(target)
        index.forget(world.contacts[target])
    changes = _changes(row, world.contacts[target], world)
    if any(getattr(world.contacts[target], name) != value for name, value in changes.items()):
        world.edit_contact(target, **changes)
    index.remember(target)


def _changes(row: Mapping[str, str], contact: Contact, world: World) -> dict[str, object]:
    """The contact's new values: what a blank cell means and how tags join follows the world's behaviour."""
    clears = world.behaviour.import_blank_clears
    sets_primary = world.behaviour.import_sets_primary
    changes: dict[str, object] = {
        name: row[column] or None
        for column, name in {EXTERNAL_ID: "external_id", **PLAIN}.items()
        if _says(row, column, clears)
    }
    for column, name in SUBSCRIPTIONS.items():
        if row.get(column):
            changes[name] = row[column].lower() == "yes"
    if row.get("Is Household Primary Contact"):
        changes["household_primary"] = row["Is Household Primary Contact"].lower() == "yes"
    if _says(row, DATE_OF_BIRTH, clears):
        born = _date(row[DATE_OF_BIRTH])
        changes["dob"] = born.strftime("%Y-%m-%d") if born else None
    if row.get(CONTACT_SINCE):
        changes["contact_since"] = _date(row[CONTACT_SINCE])
    new_phones = [number for number in map(_e164, _phones(row)) if number]
    primary_email = row.get(PRIMARY_EMAIL, "") if sets_primary else ""
    primary_phone = _e164(row.get(PRIMARY_PHONE, "")) if sets_primary and row.get(PRIMARY_PHONE) else None
    changes["emails"] = _united(contact.emails, _emails(row), first=primary_email)
    changes["phones"] = _united(contact.phones, new_phones, first=primary_phone or "")
    if row.get("Address Line 1"):
        address = Address(**{name: row.get(column, "") for column, name in ADDRESS.items()})
        address.line_2 = address.line_2 or None
        changes["addresses"] = [address, *(kept for kept in contact.addresses[1:] if kept != address)]
    if _says(row, TAGS, clears):
        tags = _split(row[TAGS])
        changes["tags"] = tags if world.behaviour.import_replaces_tags else list(dict.fromkeys([*contact.tags, *tags]))
    if row.get(NOTES):
        changes["note"] = f"{contact.note}\n{row[NOTES]}" if contact.note else row[NOTES]
    custom: dict[str, str | None] = {
        label: _stored(spec, row[label]) for label, spec in world.custom_fields.items() if _says(row, label, clears)
    }
    if any(contact.custom_fields.get(label) != value for label, value in custom.items()):
        changes["custom_fields"] = custom
    return changes


def _says(row: Mapping[str, str], column: str, blank_clears: bool) -> bool:
    """Whether a cell has anything to say about its field."""
    return bool(row.get(column)) or (blank_clears and column in row)


def _united(have: list[str], new: list[str], *, first: str) -> list[str]:
    """E-mails or phones are added; the same one in other letters is the same."""
    known = {value.lower() for value in have}
    united = [*have, *(value for value in new if value.lower() not in known)]
    if first:
        united.sort(key=lambda value: value.lower() != first.lower())
    return united


def _stored(spec: CustomFieldDefinition, value: str) -> str | None:
    if spec.type == "checkbox":
        return value.capitalize() or None
    if spec.type == "date" and (day := _date(value)):
        return f"{day.month}/{day.day}/{day.year}"
    return value or None


# Refused rows


def _failed_csv(world: World, mapped: list[str], failed: list[tuple[RefusedRow, dict[str, str]]]) -> str:
    """Text of a `-failed.csv`: ERRORS first, then the mapped columns' internal keys in an order that varies."""
    columns = list(mapped)
    random.Random(world.imports_count).shuffle(columns)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["ERRORS", *(_internal_key(world, column) for column in columns)])
    writer.writerows(["; ".join(refused.errors), *(row.get(c, "") for c in columns)] for refused, row in failed)
    return text.getvalue()


def _internal_key(world: World, column: str) -> str:
    known = INTERNAL_KEYS.get(column)
    return known or f"custom_fields_field_{world.custom_fields[column].id}"
