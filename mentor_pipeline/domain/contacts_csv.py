"""Givebutter's contacts export: from a file's bytes to contacts, or to a refusal that names the line (R1, R12).

Columns are known by their header, in any order; a header that is not Givebutter's own is a custom field. What a file
does not carry is no column of the result, so that nobody takes "not told" for "empty". A fault of the file refuses it
whole; a fault of one row sets that row aside. Merging with what is known is in `knowledge`, bookkeeping in
`operator.inbox`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.findings import Problem, to_json
from mentor_pipeline.domain.knowledge import canonical_contacts
from mentor_pipeline.domain.strict_csv import Sheet, read_header, read_sheet, refusal
from mentor_pipeline.errors import FileRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTACT_ID: Final = "Givebutter Contact ID"

_TEXT_COLUMNS: Final = {
    "contact external id": "external_id",
    "prefix": "prefix",
    "first name": "first_name",
    "preferred first name": "preferred_name",
    "middle name": "middle_name",
    "last name": "last_name",
    "suffix": "suffix",
    "gender": "gender",
    "employer": "employer",
    "title": "title",
    "primary email": "primary_email",
    "primary phone": "primary_phone",
    "address line 1": "address_line_1",
    "address line 2": "address_line_2",
    "city": "city",
    "state": "state",
    "postal code": "postal_code",
    "country": "country",
    "website": "website",
    "twitter": "twitter",
    "linkedin": "linkedin",
    "facebook": "facebook",
    "tiktok": "tiktok",
    "instagram": "instagram",
    "notes": "notes",
    "household id": "household_id",
    "household": "household",
}
_LIST_COLUMNS: Final = {
    "additional emails": "additional_emails",
    "additional phones": "additional_phones",
    "tags": "tags",
}
_MONEY_COLUMNS: Final = {
    "total contributions": "total_contributions",
    "recurring contributions": "recurring_contributions",
    "last donation amount": "last_donation_amount",
}
_YES_NO_COLUMNS: Final = {
    "engage email subscribed": "email_subscribed",
    "engage sms subscribed": "sms_subscribed",
    "engage mail subscribed": "mail_subscribed",
}
_TIME_COLUMNS: Final = {"date created (utc)": "created_at", "last modified (utc)": "last_modified_at"}
_DATE_COLUMNS: Final = {"date of birth": "dob"}
_NOT_KEPT: Final = frozenset(
    {"contact since", "pronouns", "additional addresses", "total soft credits", "household primary contact"}
)
_COLUMNS: Final = {
    CONTACT_ID.casefold(): "contact_id",
    **_TEXT_COLUMNS,
    **_LIST_COLUMNS,
    **_MONEY_COLUMNS,
    **_YES_NO_COLUMNS,
    **_TIME_COLUMNS,
    **_DATE_COLUMNS,
}
_ONLY_IMPORT: Final = frozenset(
    {
        "primary phone number",
        "zip code",
        "email addresses",
        "phone numbers",
        "email subscription status",
        "phone subscription status",
        "address subscription status",
        "household name",
        "household envelope name",
        "is household primary contact",
        "contact website",
    }
)
_ONLY_EXPORT: Final = frozenset(
    {
        *_MONEY_COLUMNS,
        *_YES_NO_COLUMNS,
        *_TIME_COLUMNS,
        "primary phone",
        "postal code",
        "additional emails",
        "additional phones",
        "total soft credits",
    }
)
_COMPANY: Final = re.compile(r"(givebutter )?company( id| name| external id)?")
_YES: Final = ("yes", "true", "1")
_NO: Final = ("no", "false", "0")
_DATE_IN_NAME: Final = re.compile(r"(?<!\d)(20\d\d)-(\d\d)-(\d\d)(?!\d)")
_HEAD_BYTES: Final = 1 << 20

SET_ASIDE_AT_LEAST: Final = 10
"""Up to so many rows, or one in a hundred, may be set aside; more is a fault of the file."""


class FileKind(StrEnum):
    """What a dropped file is, by its header."""

    CONTACTS = "contacts"
    FAILURES = "failures"
    COMPANIES = "companies"
    IMPORT = "import"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ContactsFile:
    """A contacts export as read.

    Attributes:
        contacts: one row per contact, by `contact_id`, in the form of `knowledge.canonical_contacts`; only the columns
            that the file carries.
        custom_labels: labels of the custom fields that the file has a column for.
        row_count: contacts in the file, those set aside included.
        set_aside: the rows that could not be read, as problems for a person.
        set_aside_ids: the contacts in `set_aside` whose id is known: they are in Givebutter.
        has_unknown_ids: True when a row's id itself could not be read, so nobody can be called missing.
        told_everything: True when the file carries every column that is kept and no row was set aside.
        known_at: as of when the file tells; None when nothing in it or in its name says so.
        known_by: what says so, in words.
    """

    contacts: pl.DataFrame
    custom_labels: tuple[str, ...]
    row_count: int
    set_aside: tuple[Problem, ...]
    set_aside_ids: tuple[int, ...]
    has_unknown_ids: bool
    told_everything: bool
    known_at: datetime | None
    known_by: str


def kind_of(head: bytes, name: str = "file") -> FileKind:
    """Tell a file by its header (the first megabyte is enough); what is no UTF-8 CSV text is `OTHER`."""
    try:
        header = read_header(head[:_HEAD_BYTES], name)
    except FileRejectedError:
        return FileKind.OTHER
    if header[0].casefold() == "errors":  # whatever stands beside it: labels of the file that was imported, or keys
        return FileKind.FAILURES
    labels = {label.casefold() for label in header}
    has_names = {"first name", "last name"} <= labels
    if any(_COMPANY.fullmatch(label) for label in labels) and not has_names:
        return FileKind.COMPANIES
    if CONTACT_ID.casefold() in labels:
        return FileKind.IMPORT if labels & _ONLY_IMPORT and not labels & _ONLY_EXPORT else FileKind.CONTACTS
    return FileKind.OTHER


def read_contacts(data: bytes, name: str, *, now: datetime) -> ContactsFile:
    """Read a contacts export.

    Args:
        data: the file's bytes: UTF-8 with or without byte order mark. UTF-16 and Latin-1 are refused by name rather
            than converted: a spreadsheet program saved them, and it changes phone numbers and dates on the way.
        name: the file's name, for messages and for the date in it (R12).
        now: evidence of the file's age that lies later than this is not believed.

    Raises:
        FileRejectedError: no contacts export; not UTF-8; NUL bytes, broken quotes, ragged rows, columns or contacts
            that are there twice (each with the line); no contacts; too many rows that cannot be read.
    """
    _refuse_other_kinds(data, name)
    sheet = read_sheet(data, name)
    columns, custom = _columns(sheet.header, name)
    cells = sheet.cells.with_columns(pl.all().str.strip_chars()).with_row_index("row")
    cells = cells.filter(pl.any_horizontal(pl.all().exclude("row") != ""))  # spreadsheets leave rows of commas
    if cells.is_empty():
        raise refusal(name, "it has a header but not one contact")
    typed = cells.select("row", *(_typed(pl.col(position), column) for column, position in columns.items()))
    bad = _bad_cells(cells, typed, columns)
    _refuse_twice(typed, sheet, name)
    set_aside = _set_aside(bad, typed, sheet, name)
    bad_rows = bad.get_column("row").unique()
    if bad_rows.len() > max(SET_ASIDE_AT_LEAST, cells.height // 100) or bad_rows.len() == cells.height:
        raise refusal(
            name,
            f"{bad_rows.len()} of {cells.height} rows cannot be read, the first on line {set_aside[0].context['line']} "
            f"(column {set_aside[0].field_name}). Has a spreadsheet program saved it?",
        )
    good = ~pl.col("row").is_in(bad_rows.implode())
    typed = typed.filter(good)
    if custom:
        typed = typed.with_columns(custom_fields=_custom_fields(cells.filter(good), custom))
    known_at, known_by = _known_at(typed, name, now)
    bad_ids = cells.filter(~good).select(_typed(pl.col(columns["contact_id"]), "contact_id")).to_series()
    return ContactsFile(
        contacts=canonical_contacts(typed.drop("row")),
        custom_labels=tuple(custom),
        row_count=cells.height,
        set_aside=set_aside,
        set_aside_ids=tuple(bad_ids.drop_nulls().unique().sort()),
        has_unknown_ids=bad_ids.has_nulls(),
        told_everything=not set_aside and set(columns) == set(_COLUMNS.values()),
        known_at=known_at,
        known_by=known_by,
    )


def _refuse_other_kinds(data: bytes, name: str) -> None:
    kind = kind_of(data, name)
    if kind is FileKind.CONTACTS:
        return
    if kind is FileKind.COMPANIES:
        raise refusal(name, "this is Givebutter's export of companies; contacts have a file of their own")
    if kind is FileKind.IMPORT:
        raise refusal(name, "this is a file for Givebutter to import (headers such as 'Primary Phone Number')")
    if kind is FileKind.FAILURES:
        raise refusal(
            name,
            "these are rows that Givebutter refused (first column ERRORS)",
            "Nothing of it was imported. Read it with `mentor-pipeline import-failures`.",
        )
    header = read_header(data[:_HEAD_BYTES], name)  # says so itself where it is no UTF-8 text at all
    seen = ", ".join(header[:5])
    raise refusal(name, f"there is no column {CONTACT_ID!r}, so it is no contacts export; its columns are {seen}, ...")


def _columns(header: Sequence[str], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Which position holds which column of the table, and which custom field."""
    columns: dict[str, str] = {}
    custom: dict[str, str] = {}
    for position, label in enumerate(header):
        column = _COLUMNS.get(label.casefold())
        if column in columns:
            raise refusal(name, f"line 1: the column {label!r} is there twice")
        if column is not None:
            columns[column] = str(position)
        elif label.casefold() not in _NOT_KEPT:
            custom[label] = str(position)
    return columns, custom


def _typed(cell: pl.Expr, column: str) -> pl.Expr:
    """A trimmed cell as its column's type; null when it is blank or cannot be read."""
    if column == "contact_id":
        value = pl.when(cell.str.contains(r"^0*[1-9][0-9]*$")).then(cell).cast(pl.Int64, strict=False)
    elif column in _LIST_COLUMNS.values():
        value = cell.str.split(",")
    elif column in _MONEY_COLUMNS.values():
        amount = pl.when(cell.str.contains(r"^-?\$?[0-9][0-9,]*(\.[0-9]+)?$")).then(cell.str.replace_all(r"[$,]", ""))
        value = amount.cast(pl.Decimal(12, 2), strict=False)
    elif column in _YES_NO_COLUMNS.values():
        word = cell.str.to_lowercase()
        value = pl.when(word.is_in(_YES)).then(pl.lit(value=True)).when(word.is_in(_NO)).then(pl.lit(value=False))
    elif column in _TIME_COLUMNS.values():
        value = cell.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us").dt.replace_time_zone("UTC")
    elif column in _DATE_COLUMNS.values():
        value = cell.str.to_date("%Y-%m-%d", strict=False)
    else:
        value = cell
    return value.alias(column)


def _bad_cells(cells: pl.DataFrame, typed: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    """Cells that hold something which is not of their column's type: row, column, value."""
    bad = [
        cells.filter(
            typed.get_column(column).is_null() & (pl.lit(column == "contact_id") | (pl.col(position) != ""))
        ).select("row", pl.lit(column).alias("column"), pl.col(position).alias("value"))
        for column, position in columns.items()
        if column not in _TEXT_COLUMNS.values()
    ]
    return pl.concat(bad).sort("row")


def _refuse_twice(typed: pl.DataFrame, sheet: Sheet, name: str) -> None:
    """One contact on two rows: which of them is true cannot be known."""
    ids = typed.select("row", "contact_id").drop_nulls()
    twice = ids.filter(pl.col("contact_id").is_duplicated()).head(1)
    if twice.is_empty():
        return
    contact_id = twice.item(0, "contact_id")
    lines = [sheet.line(row) for row in ids.filter(pl.col("contact_id") == contact_id).get_column("row")]
    raise refusal(name, f"contact {contact_id} is there more than once, on lines {', '.join(map(str, lines))}")


def _set_aside(bad: pl.DataFrame, typed: pl.DataFrame, sheet: Sheet, name: str) -> tuple[Problem, ...]:
    """One problem for each unreadable cell of the rows that stand alone."""
    ids = dict(typed.select("row", "contact_id").iter_rows())
    return tuple(_problem(cell, ids, sheet, name) for cell in bad.head(1000).iter_rows())


def _problem(cell: tuple[int, str, str], ids: dict[int, int | None], sheet: Sheet, name: str) -> Problem:
    row, column, value = cell
    contact_id, line = ids[row], sheet.line(row)
    label = next(label for label in sheet.header if _COLUMNS.get(label.casefold()) == column)
    whom = f"Contact {contact_id}" if contact_id is not None else "A contact"
    return Problem(
        type="contact_row_set_aside",
        message=f"{whom} was left as it was: {label!r} on line {line} of {name} cannot be read. Correct it in "
        "Givebutter, or export the contacts again.",
        source_table="raw_gb_full_contacts",
        field_name=column,
        current_value=value[:255],
        context={"contact_id": contact_id, "file": name, "line": line},
        key=(str(contact_id),),
    )


def _custom_fields(cells: pl.DataFrame, custom: dict[str, str]) -> pl.Series:
    """Label -> value as JSON, blank values left out. JSON objects have no vectorised form, hence the loop."""
    labels = tuple(custom)
    rows: Iterable[tuple[str, ...]] = cells.select(custom.values()).iter_rows()
    return pl.Series(
        [to_json({label: value for label, value in zip(labels, row, strict=True) if value}) for row in rows],
        dtype=pl.String,
    )


def _known_at(typed: pl.DataFrame, name: str, now: datetime) -> tuple[datetime | None, str]:
    """As of when a file tells, and what says so: the newest time in it, or the date in its name where that is later.

    The date counts from its first moment: the file is at least that new. Nothing later than now is believed (R12).
    """
    evidence: list[tuple[datetime, str]] = []
    for column in _TIME_COLUMNS.values():
        if column in typed.columns:
            newest = typed.select(pl.col(column).filter(pl.col(column) <= now).max()).item()
            evidence += [(newest, "the newest time in it")] if newest is not None else []
    for match in _DATE_IN_NAME.finditer(name):
        try:
            date = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
        except ValueError:  # digits that are no date
            continue
        evidence += [(date, "the date in its name")] if date <= now else []
    return max(evidence, default=(None, ""))
