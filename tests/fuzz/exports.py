"""Real-looking contacts exports, ways to damage them, and what a damaged one says by another reader.

`damaged` takes the simulator's export in one of the spellings that there are, and changes it as files are changed on
their way: by blind bytes, by a spreadsheet, by a cut connection. `said_by` reads it with Python's csv module and by
rules written anew here, so that the two readings have little in common but the file (and how one phone or one
address is read, which has tests of its own).
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, Final

from mentor_pipeline.domain.normalise import normalise_email, normalise_phone
from mentor_pipeline.simulator import generate_world
from mentor_pipeline.simulator.csv_export import contacts_csv
from tests.builders import NOW, program

if TYPE_CHECKING:
    from collections.abc import Callable

WORLDS: Final = 8
ID: Final = "Givebutter Contact ID"

Rows = list[list[str]]


@cache
def _export(number: int) -> Rows:
    """One world's export: 20 to 60 contacts of all kinds, some with long notes, emoji and line ends."""
    world = generate_world(
        program(), mentors=6 + number, contacts=60, columns=46 + 6 * (number % 4), seed=number, clock=lambda: NOW
    )
    ids = sorted(world.active_ids())[: 20 + 5 * number]
    for position, contact_id in enumerate(ids[::3]):
        world.edit_contact(contact_id, note=_NOTES[position % len(_NOTES)], employer=f"Elm & Söhne {position}")
    text = contacts_csv(world, columns="2025" if number % 3 == 0 else "2026", contact_ids=ids)
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


_NOTES: Final = ('said "yes",\nthen no', "=SUM(A1)", "📝 ok\r\nsecond", "plain", "  spaces  ", "é à ü", '""', ",,,")


def real_export(random: Random) -> Rows:
    """Header and rows of an export, as lists of cells."""
    return [list(row) for row in _export(random.randrange(WORLDS))]


def written(rows: Rows, random: Random) -> bytes:
    """The rows as CSV, in one of the spellings that there are."""
    text = io.StringIO(newline="")
    quoting = random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    csv.writer(text, lineterminator=random.choice(["\n", "\r\n"]), quoting=quoting).writerows(rows)
    data = text.getvalue().encode()
    if random.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
    return data.rstrip(b"\r\n") if random.random() < 0.2 else data


# -- damage ---------------------------------------------------------------------------------------------------------


def _position(data: bytes, random: Random) -> int:
    """Anywhere; half of the time where it hurts most: at a quotation mark, a comma, a line end, or in the header."""
    if random.random() < 0.5:
        return random.randrange(len(data))
    mark = random.choice([b'"', b",", b"\n", b"\r", b"@", b"+", b":"])
    found = data.find(mark, random.randrange(len(data)))
    return found if found >= 0 else random.randrange(len(data))


_BYTES: Final = (
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xe9",
    b"\\",
    b"'",
    b";",
    b"\t",
    b" ",
    b"x",
)
_BYTES_MORE: Final = (
    b"0",
    b"-",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    "📝".encode(),
    b"\x1a",
    b"\x0b",
    b"\x1c",
)


def bytes_put(data: bytes, random: Random) -> bytes:
    """One to three bytes put in, or put in place of others."""
    for _ in range(random.randint(1, 3)):
        at = _position(data, random)
        data = data[:at] + random.choice(_BYTES + _BYTES_MORE) + data[at + random.randint(0, 2) :]
    return data


def bytes_lost(data: bytes, random: Random) -> bytes:
    at = _position(data, random)
    return data[:at] + data[at + random.choice([1, 1, 1, 2, 5, 40, 400]) :]


def bit_flipped(data: bytes, random: Random) -> bytes:
    at = _position(data, random)
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def cut_off(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def part_repeated(data: bytes, random: Random) -> bytes:
    at = _position(data, random)
    return data[:at] + data[max(0, at - random.choice([1, 10, 300])) :]


def part_moved(data: bytes, random: Random) -> bytes:
    first, second, third = sorted(_position(data, random) for _ in range(3))
    return data[:first] + data[second:third] + data[first:second] + data[third:]


def encoded_anew(data: bytes, random: Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    return text.encode(random.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]), "replace")


def line_ends_mixed(data: bytes, random: Random) -> bytes:
    return re.sub(rb"\r?\n", lambda _: random.choice([b"\n", b"\r\n", b"\n\n", b"\r\n \r\n"]), data)


def _cell(rows: Rows, random: Random) -> tuple[int, int]:
    row = random.randrange(1, len(rows))
    return row, random.randrange(len(rows[row]))


def cells_typed_over(rows: Rows, random: Random) -> None:
    for _ in range(random.randint(1, 4)):
        row, column = _cell(rows, random)
        rows[row][column] = random.choice(HOSTILE)


def cells_swapped(rows: Rows, random: Random) -> None:
    (row, column), (other, another) = _cell(rows, random), _cell(rows, random)
    rows[row][column], rows[other][another] = rows[other][another], rows[row][column]


def cell_lost(rows: Rows, random: Random) -> None:
    row, column = _cell(rows, random)
    del rows[row][column]


def cell_added(rows: Rows, random: Random) -> None:
    row, column = _cell(rows, random)
    rows[row].insert(column, random.choice(HOSTILE))


def row_twice(rows: Rows, random: Random) -> None:
    rows.insert(random.randrange(1, len(rows) + 1), list(rows[random.randrange(1, len(rows))]))


def rows_lost(rows: Rows, random: Random) -> None:
    del rows[random.randrange(1, len(rows)) :]


def rows_shuffled(rows: Rows, random: Random) -> None:
    rows[1:] = random.sample(rows[1:], len(rows) - 1)


def columns_shuffled(rows: Rows, random: Random) -> None:
    order = random.sample(range(len(rows[0])), len(rows[0]))
    rows[:] = [[row[position] for position in order if position < len(row)] for row in rows]


def column_lost(rows: Rows, random: Random) -> None:
    position = random.randrange(len(rows[0]))
    for row in rows:
        del row[position : position + 1]


def column_added(rows: Rows, random: Random) -> None:
    position, label = random.randrange(len(rows[0]) + 1), random.choice(["🎂 Mascot", "City", "city ", "", 'Say "hi"'])
    for number, row in enumerate(rows):
        row.insert(position, label if number == 0 else f"value {number}")


def header_respelt(rows: Rows, random: Random) -> None:
    spelt: list[Callable[[str], str]] = [str.upper, str.lower, lambda label: label.replace(" ", ""), "  {} ".format]
    rows[0] = [random.choice(spelt)(label) for label in rows[0]]


def dates_of_a_spreadsheet(rows: Rows, random: Random) -> None:
    """As a program saves them that was only asked to show the file."""
    count = random.choice([1, 3, len(rows)])
    for row in rows[1 : 1 + count]:
        row[:] = [re.sub(r"^(\d{4})-(\d\d)-(\d\d)", r"\2/\3/\1", cell) for cell in row]


HOSTILE: Final = (
    *("", " ", "0", "-1", "1,50", "1e9", "12345678901234567890", "nan", "NULL", "true", "perhaps", "2025-13-40"),
    *("0000-00-00 00:00:00", "+10000-01-01 00:00:00", "9999-12-31 23:59:59", "10/28/2025", "00042", "4.0", "#REF!"),
    *('"', '""', "a,b", "a\nb", "a\r\nb", "=1+1", "\u2028", "\u00a0x\u00a0", "\u200b", "é", "📝", "\x1a", "\\N", "\\"),
    *("x" * 300, "+17065550142", "(706) 555-0142", "a@b", "A@Example.com, b@example.com", "{}", '{"a":1}', "MN0001"),
)
BLIND: Final = (
    *(bytes_put, bytes_put, bytes_put, bytes_lost, bytes_lost, bit_flipped, bit_flipped, cut_off, part_repeated),
    *(part_moved, encoded_anew, line_ends_mixed),
)
KNOWING: Final = (
    *(cells_typed_over, cells_typed_over, cells_swapped, cell_lost, cell_added, row_twice, rows_lost, rows_shuffled),
    *(columns_shuffled, column_lost, column_added, header_respelt, dates_of_a_spreadsheet),
)


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311  (files, no secrets)


def damaged(seed: int) -> tuple[bytes, list[str]]:
    """An export after one to four changes, and their names."""
    random = seeded(seed)
    rows, names = real_export(random), []
    for _ in range(random.choice([0, 1, 1, 2])):
        change = random.choice(KNOWING)
        change(rows, random)
        names.append(change.__name__)
        if len(rows) < 2 or not all(rows):
            break
    data = written(rows, random)
    for _ in range(random.choice([0, 1, 1, 2]) if names else 1):
        hurt = random.choice(BLIND)
        data = hurt(data, random)
        names.append(hurt.__name__)
        if not data:
            break
    return data, names


# -- another reading ------------------------------------------------------------------------------------------------

_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)
_NOT_KEPT: Final = {
    *("contactsince", "pronouns", "additionaladdresses", "totalsoftcredits", "householdprimarycontact"),
}
_NAMES: Final = {
    "contactexternalid": "external_id",
    "preferredfirstname": "preferred_name",
    "engageemailsubscribed": "email_subscribed",
    "engagesmssubscribed": "sms_subscribed",
    "engagemailsubscribed": "mail_subscribed",
    "datecreated(utc)": "created_at",
    "lastmodified(utc)": "last_modified_at",
    "dateofbirth": "dob",
}
_SAME: Final = (
    *("prefix", "first_name", "middle_name", "last_name", "suffix", "gender", "employer", "title", "primary_email"),
    *("additional_emails", "primary_phone", "additional_phones", "address_line_1", "address_line_2", "city", "state"),
    *("postal_code", "country", "website", "twitter", "linkedin", "facebook", "tiktok", "instagram", "tags", "notes"),
    *("recurring_contributions", "total_contributions", "last_donation_amount", "household_id", "household"),
)
_COLUMNS: Final = {"givebuttercontactid": "contact_id", **_NAMES, **{name.replace("_", ""): name for name in _SAME}}


class UnreadableError(Exception):
    """A cell that is not of its column's type."""


@dataclass(frozen=True)
class Said:
    """What a file says, by contact id: column of the table -> value; contacts whose row cannot be read; all rows."""

    contacts: dict[int, dict[str, Any]]
    unreadable: set[int]
    rows: int


def said_by(data: bytes) -> Said:
    """Read a file that was accepted; an exception means that it should not have been."""
    text = data.decode("utf-8").removeprefix("\ufeff")
    header, *rows = (
        row
        for row in csv.reader(io.StringIO(text, newline=""), strict=True)
        if "".join(row).strip(" \t") or len(row) > 1
    )
    assert all(len(row) == len(header) for row in rows), "a row is wider or narrower than the header"
    labels = [" ".join(label.split()) for label in header]
    keys = ["".join(label.casefold().split()) for label in labels]
    known = [key for key in keys if key in _COLUMNS]
    assert len(set(known)) == len(known), "two columns of one name"
    assert len(set(labels)) == len(labels), "two columns of one label"
    rows = [row for row in rows if any(cell.strip(_SPACE) for cell in row)]
    contacts: dict[int, dict[str, Any]] = {}
    unreadable: set[int] = set()
    seen: list[int] = []
    for row in rows:
        given = list(zip(labels, keys, row, strict=True))
        (raw_id,) = (cell.strip(_SPACE) for _, key, cell in given if key == "givebuttercontactid")
        if not re.fullmatch(r"0*[1-9][0-9]*", raw_id, re.ASCII) or int(raw_id) >= 2**63:
            continue
        seen.append(int(raw_id))
        try:
            contacts[int(raw_id)] = _contact(given)
        except UnreadableError:
            unreadable.add(int(raw_id))
    assert len(seen) == len(set(seen)), "one contact on two rows"
    return Said(contacts, unreadable, len(rows))


def _contact(given: list[tuple[str, str, str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    custom: dict[str, str] = {}
    for label, key, cell in given:
        if (column := _COLUMNS.get(key)) == "contact_id":
            continue
        if column is not None:
            values[column] = value = _value(column, cell)
            if column == "dob" and isinstance(value, str):
                custom[label], values[column] = cell.strip(_SPACE), None
        elif key not in _NOT_KEPT and cell.strip(_SPACE):
            custom[label] = cell.strip(_SPACE)
    for primary, additional in (("primary_email", "additional_emails"), ("primary_phone", "additional_phones")):
        if additional in values:
            values[additional] = sorted(set(values[additional]) - {values.get(primary)})
    return {**values, "custom_fields": custom}


def _value(column: str, cell: str) -> Any:  # noqa: PLR0911  (one line a kind of column)
    text = re.sub("\r\n?", "\n", cell).strip(_SPACE)
    match column:
        case "additional_emails" | "additional_phones" | "tags":
            clean = {"additional_emails": _email, "additional_phones": _phone}.get(column, str)
            return sorted({clean(part.strip(_SPACE)) for part in text.split(",") if part.strip(_SPACE)})
        case "primary_email":
            return _email(text) or None
        case "primary_phone":
            return _phone(text) or None
        case "total_contributions" | "recurring_contributions" | "last_donation_amount":
            amount = _amount(text)
            return amount or (None if column == "last_donation_amount" else Decimal(0))
        case "email_subscribed" | "sms_subscribed" | "mail_subscribed":
            return _read(
                text, {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}.get(text.lower())
            )
        case "created_at" | "last_modified_at":
            return _read(text, _time(text))
        case "dob":
            return _day(text) or text or None
        case _:
            return text or None


def _read(text: str, value: Any) -> Any:
    if text and value is None:
        raise UnreadableError
    return value


def _amount(text: str) -> Decimal | None:
    if not text:
        return None
    if not re.fullmatch(r"-?\$?(\d+|\d{1,3}(,\d{3})+)(\.\d\d?0*)?", text, re.ASCII):
        raise UnreadableError
    amount = Decimal(re.sub("[$,]", "", text))
    if abs(amount) >= 10**10:
        raise UnreadableError
    return amount


def _time(text: str) -> datetime | None:
    if not re.fullmatch(r"[12]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d", text, re.ASCII):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _day(text: str) -> date | None:
    if not re.fullmatch(r"[12]\d{3}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _email(text: str) -> str:
    return normalise_email(text) or text.lower()


def _phone(text: str) -> str:
    return normalise_phone(text).e164 or text


def as_said(row: dict[str, Any]) -> dict[str, Any]:
    """A row that our reader made, in the form of `Said`."""
    return {**row, "custom_fields": json.loads(row.get("custom_fields") or "{}")}
