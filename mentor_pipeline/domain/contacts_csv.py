"""Givebutter's contacts export: from a file to contacts, or to a refusal that names the line (R1, R12).

Columns are known by their header, in any order, case and spacing; a header that is not Givebutter's own is a custom
field. What a file does not carry is no column of the result, so that nobody takes "not told" for "empty". Merging with
what is known is in `knowledge`, bookkeeping in `operator.imports`. What becomes of a fault:

| fault | what becomes of it |
|---|---|
| UTF-16, Latin-1; a picture, a workbook; semicolons or tabs for commas | the file is refused, by name |
| NUL bytes, broken quotes, a lone CR, a row wider or narrower than the header | the file is refused, with the line |
| a cell of more than 100,000 bytes | the file is refused, with the line |
| a column, or a contact, that is there twice | the file is refused, with the line or lines |
| faults in more rows than 10 and than one in a hundred, or than 1,000; no row without | the file is refused |
| a contact id that is no number | the row is set aside, and nobody is called missing |
| a phone or external id as `1.70656E+10`: a spreadsheet program lost its digits | the row is set aside |
| a time, an amount, a yes or no that is none | the row is set aside: nobody is archived or subscribed on a guess |
| a date of birth that is no date | the row goes in; the text is kept among the custom fields |
| any other phone, address or external id that is none | the row goes in with the text as it is |
| a header that nobody knows | a custom field, as text |

A row that is set aside is an error in `sync_errors`, a date kept as text a warning; what is known of the contact stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import polars as pl

from mentor_pipeline.domain.findings import Problem, to_json
from mentor_pipeline.domain.knowledge import canonical_contacts
from mentor_pipeline.domain.shrink import tags_of_all
from mentor_pipeline.domain.spool import Spool
from mentor_pipeline.domain.strict_csv import AT_ONCE, Sheet, read_header, read_sheets, refusal
from mentor_pipeline.errors import FileRejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

CONTACT_ID: Final = "Givebutter Contact ID"


def _key(label: str) -> str:
    """A header as it is compared: without case and white space."""
    return "".join(label.casefold().split())


def _keyed(columns: Mapping[str, str]) -> dict[str, str]:
    return {_key(label): column for label, column in columns.items()}


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
    map(_key, ("contact since", "pronouns", "additional addresses", "total soft credits", "household primary contact"))
)
_COLUMNS: Final = _keyed(
    {
        CONTACT_ID: "contact_id",
        **_TEXT_COLUMNS,
        **_LIST_COLUMNS,
        **_MONEY_COLUMNS,
        **_YES_NO_COLUMNS,
        **_TIME_COLUMNS,
        **_DATE_COLUMNS,
    }
)
_ONLY_IMPORT: Final = frozenset(
    _key(label)
    for label in (
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
    )
)
_ONLY_EXPORT: Final = frozenset(
    _key(label)
    for label in (
        *_MONEY_COLUMNS,
        *_YES_NO_COLUMNS,
        *_TIME_COLUMNS,
        "primary phone",
        "postal code",
        "additional emails",
        "additional phones",
        "total soft credits",
    )
)
_COMPANY: Final = re.compile(r"(givebutter)?company(id|name|externalid)?")
_YES: Final = ("yes", "true", "1")
_NO: Final = ("no", "false", "0")
_DATE_IN_NAME: Final = re.compile(r"(?<!\d)(20\d\d)-(\d\d)-(\d\d)(?!\d)")
_HEAD_BYTES: Final = 1 << 20
_AMOUNT: Final = r"^-?\$?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]{1,2}0*)?$"
"""Not `1,50`: what a decimal comma means is not guessed."""
_DATE: Final = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$"
_TIME: Final = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-5][0-9]:[0-5][0-9]$"
"""Polars alone would take shorter ones, and years that Python does not know."""
_SPOILT: Final = r"[0-9]\.[0-9]+E\+[0-9]"
"""What a spreadsheet program writes for a long number: its last digits are lost."""
_DIGITS: Final = ("external_id", "primary_phone", "additional_phones")
"""Text columns that hold long numbers."""
_TO_ESCAPE: Final = r'["\\\x00-\x1f]'
"""Characters that JSON writes in another way."""

SET_ASIDE_AT_LEAST: Final = 10
"""Up to so many rows, or one in a hundred, may have faults; more is a fault of the file."""
SET_ASIDE_AT_MOST: Final = 1000


_KEPT_AS_TEXT: Final = tuple(_DATE_COLUMNS.values())
"""By these columns nothing is decided: a value that was not understood does not hold up its row."""
_CHECKED: Final = frozenset(
    ("contact_id", *(_MONEY_COLUMNS | _YES_NO_COLUMNS | _TIME_COLUMNS | _DATE_COLUMNS).values())
)
"""Columns of which not every cell can be read."""
_IS_KEPT_AS_TEXT: Final = pl.col("column").is_in(_KEPT_AS_TEXT)


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
        batches: one row per contact in the form of `knowledge.canonical_contacts`, only the columns that the file
            carries; a large file's in several frames, each contact in one of them.
        contact_ids: those of all contacts in `batches`.
        common_tags: the tags that each of these contacts carries, sorted.
        custom_labels: labels of the custom fields that the file has a column for.
        row_count: contacts in the file, those set aside included.
        set_aside: the rows that could not be read, as problems for a person: one for each cell at fault.
        kept_as_text: values that were not understood in rows that were, as problems for a person.
        set_aside_ids: the contacts in `set_aside` whose id is known: they are in Givebutter.
        has_unknown_ids: True when a row's id itself could not be read, so nobody can be called missing.
        told_everything: True when the file carries every column that is kept and every value was understood.
        known_at: as of when the file tells; None when nothing in it or in its name says so.
        known_by: what says so, in words.
    """

    batches: Spool
    contact_ids: pl.Series
    common_tags: tuple[str, ...]
    custom_labels: tuple[str, ...]
    row_count: int
    set_aside: tuple[Problem, ...]
    kept_as_text: tuple[Problem, ...]
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
    labels = set(map(_key, header))
    has_names = {"firstname", "lastname"} <= labels
    if any(_COMPANY.fullmatch(label) for label in labels) and not has_names:
        return FileKind.COMPANIES
    if _key(CONTACT_ID) in labels:
        return FileKind.IMPORT if labels & _ONLY_IMPORT and not labels & _ONLY_EXPORT else FileKind.CONTACTS
    return FileKind.OTHER


def read_contacts(file: BinaryIO, name: str, *, now: datetime, at_once: int = AT_ONCE) -> ContactsFile:
    """Read a contacts export.

    Args:
        file: UTF-8 with or without byte order mark. UTF-16 and Latin-1 are refused by name rather than converted: a
            spreadsheet program saved them, and it changes phone numbers and dates on the way.
        name: the file's name, for messages and for the date in it (R12).
        now: evidence of the file's age that lies later than this is not believed.
        at_once: bytes of the file that are read at once.

    Raises:
        FileRejectedError: no contacts export; not UTF-8; NUL bytes, broken quotes, ragged rows, columns or contacts
            that are there twice (each with the line); no contacts; too many rows that cannot be read.
        OSError: the file cannot be read, or there is no room for the contacts of a large one.
    """
    _refuse_other_kinds(file, name)
    batches = Spool()
    try:
        return _contacts(file, name, now, batches, at_once)
    except BaseException:
        batches.close()
        raise


def _contacts(file: BinaryIO, name: str, now: datetime, batches: Spool, at_once: int) -> ContactsFile:
    """See `read_contacts`."""
    header: tuple[str, ...] = ()
    columns: dict[str, str] = {}
    custom: dict[str, str] = {}
    ids, faults, common_tags, newest, row_count = [], [], [], [], 0
    for sheet in read_sheets(file, name, at_once=at_once):
        if not header:
            header = sheet.header
            columns, custom = _columns(sheet, name)
        part = _part(sheet, columns, custom)
        row_count += part.row_count
        ids.append(part.contact_ids)
        faults.append(part.faults)
        if not part.contacts.is_empty():
            common_tags.append(tags_of_all(part.contacts))
            newest.append(_newest(part.contacts, now))
            batches.add(part.contacts)
        del sheet, part  # a piece of the file is half a gigabyte
    if not row_count:
        raise refusal(name, "it has a header but not one contact")
    every_id, bad = pl.concat(ids).drop_nulls(), pl.concat(faults)
    _refuse_twice(every_id, file, name, at_once)
    _refuse_many(bad, row_count, name)
    told = _Told(header, name)
    aside, as_text = bad.filter(~_IS_KEPT_AS_TEXT), bad.filter(_IS_KEPT_AS_TEXT)
    as_text = as_text.join(aside, on="line", how="anti")
    bad_ids = aside.unique("line").get_column("contact_id")
    known_at, known_by = _known_at(newest, name, now)
    return ContactsFile(
        batches=batches,
        contact_ids=every_id.filter(~every_id.is_in(bad_ids.implode())),
        common_tags=tuple(sorted(set.intersection(*common_tags))) if common_tags else (),
        custom_labels=(*custom, *(told.labels[column] for column in _KEPT_AS_TEXT if column in columns)),
        row_count=row_count,
        set_aside=tuple(told.set_aside(**cell) for cell in aside.iter_rows(named=True)),
        kept_as_text=tuple(told.kept_as_text(**cell) for cell in as_text.iter_rows(named=True)),
        set_aside_ids=tuple(bad_ids.drop_nulls().unique().sort()),
        has_unknown_ids=bad_ids.has_nulls(),
        told_everything=bad.is_empty() and set(columns) == set(_COLUMNS.values()),
        known_at=known_at,
        known_by=known_by,
    )


class _Part(NamedTuple):
    """What a piece of the file holds.

    Attributes:
        contacts: the rows that can be read, in their canonical form.
        contact_ids: the ids of all rows; null where it cannot be read.
        faults: the cells that cannot be read: line, contact_id, column, value.
        row_count: rows, those set aside included.
    """

    contacts: pl.DataFrame
    contact_ids: pl.Series
    faults: pl.DataFrame
    row_count: int


def _part(sheet: Sheet, columns: Mapping[str, str], custom: Mapping[str, str]) -> _Part:
    cells = _without_blank_rows(sheet.cells.with_row_index("row"), columns["contact_id"])
    typed = cells.select("row", *(_typed(pl.col(position), column) for column, position in columns.items()))
    bad = _bad_cells(cells, typed, columns)
    row_count, contact_ids = cells.height, typed.get_column("contact_id")
    lines = [sheet.line(row) for row in bad.get_column("row")]
    faults = bad.join(typed.select("row", "contact_id"), on="row", maintain_order="left").select(
        "contact_id", "column", "value", line=pl.Series(lines, dtype=pl.Int64)
    )
    aside, as_text = bad.filter(~_IS_KEPT_AS_TEXT), bad.filter(_IS_KEPT_AS_TEXT)
    if not aside.is_empty():
        cells, typed, as_text = (frame.join(aside, on="row", how="anti") for frame in (cells, typed, as_text))
    labels = _labels(sheet.header)
    if custom or any(column in columns for column in _KEPT_AS_TEXT):
        typed = typed.with_columns(custom_fields=_custom_fields(cells, custom, as_text, labels))
    del sheet, cells
    return _Part(canonical_contacts(typed.drop("row")), contact_ids, faults, row_count)


def _labels(header: Sequence[str]) -> dict[str, str]:
    """The file's header of each column of the table."""
    return {_COLUMNS[_key(label)]: label for label in header if _key(label) in _COLUMNS}


def _refuse_other_kinds(file: BinaryIO, name: str) -> None:
    data = file.read(_HEAD_BYTES)
    file.seek(0)
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
    header = read_header(data, name)  # says so itself where it is no UTF-8 text at all
    seen = ", ".join(header[:5])
    raise refusal(name, f"there is no column {CONTACT_ID!r}, so it is no contacts export; its columns are {seen}, ...")


def _columns(sheet: Sheet, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Which position holds which column of the table, and which custom field."""
    columns: dict[str, str] = {}
    custom: dict[str, str] = {}
    for position, label in enumerate(sheet.header):
        column = _COLUMNS.get(_key(label))
        if column in columns:
            raise refusal(name, f"line {sheet.header_line}: the column {label!r} is there twice")
        if column is not None:
            columns[column] = str(position)
        elif _key(label) not in _NOT_KEPT:
            custom[label] = str(position)
    return columns, custom


def _without_blank_rows(cells: pl.DataFrame, id_position: str) -> pl.DataFrame:
    """Rows of commas, as spreadsheets leave them, are no contacts."""
    has_no_id = cells.filter(_trimmed(id_position) == "")
    if has_no_id.is_empty():
        return cells
    blank = has_no_id.filter(pl.all_horizontal(pl.all().exclude("row").str.strip_chars() == ""))
    return cells.join(blank, on="row", how="anti", maintain_order="left")


def _typed(raw: pl.Expr, column: str) -> pl.Expr:
    """A cell as its column's type; null when it is blank or cannot be read. Text is trimmed by `canonical_contacts`."""
    cell = raw.str.strip_chars()
    if column == "contact_id":
        value = pl.when(cell.str.contains(r"^0*[1-9][0-9]*$")).then(cell).cast(pl.Int64, strict=False)
    elif column in _LIST_COLUMNS.values():
        value = pl.when(raw != "").then(raw.str.split(","))
    elif column in _MONEY_COLUMNS.values():
        amount = pl.when(cell.str.contains(_AMOUNT)).then(cell.str.replace_all(r"[$,]", ""))
        value = amount.cast(pl.Decimal(12, 2), strict=False)
    elif column in _YES_NO_COLUMNS.values():
        word = cell.str.to_lowercase()
        value = pl.when(word.is_in(_YES)).then(pl.lit(value=True)).when(word.is_in(_NO)).then(pl.lit(value=False))
    elif column in _TIME_COLUMNS.values():
        time = pl.when(cell.str.contains(_TIME)).then(cell)
        value = time.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us").dt.replace_time_zone("UTC")
    elif column in _DATE_COLUMNS.values():
        value = pl.when(cell.str.contains(_DATE)).then(cell).str.to_date("%Y-%m-%d", strict=False)
    else:
        value = raw
    return value.alias(column)


def _bad_cells(cells: pl.DataFrame, typed: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Cells that hold something which is not of their column's type: row, column, value."""
    checked = {column: position for column, position in columns.items() if column in _CHECKED}
    unread = typed.select(pl.col(column).is_null().sum() for column in checked).row(0)
    blank = cells.select((_trimmed(position) == "").sum() for position in checked.values()).row(0)
    bad = [cells.clear().select("row", column=pl.lit(""), value=pl.lit(""))]
    for (column, position), nulls, blanks in zip(checked.items(), unread, blank, strict=True):
        is_id = column == "contact_id"
        if nulls > (0 if is_id else blanks):
            faulty = typed.get_column(column).is_null()
            found = cells.filter(faulty).select("row", column=pl.lit(column), value=_trimmed(position))
            bad.append(found if is_id else found.filter(pl.col("value") != ""))
    for column, position in columns.items():
        if column in _DIGITS and cells.get_column(position).str.contains("E+", literal=True).any():
            spoilt = cells.filter(pl.col(position).str.contains(_SPOILT))
            bad.append(spoilt.select("row", column=pl.lit(column), value=_trimmed(position)))
    return pl.concat(bad).sort("row", "column")


def _trimmed(position: str) -> pl.Expr:
    return pl.col(position).str.strip_chars()


def _refuse_many(bad: pl.DataFrame, height: int, name: str) -> None:
    """More than a few faulty rows are a fault of the file."""
    rows = bad.get_column("line").n_unique()
    aside = bad.filter(~_IS_KEPT_AS_TEXT).get_column("line").n_unique()
    if aside < height and rows <= max(SET_ASIDE_AT_LEAST, min(height // 100, SET_ASIDE_AT_MOST)):
        return
    line, column = bad.select("line", "column").row(0)
    raise refusal(
        name,
        f"{rows} of {height} rows cannot be read, the first on line {line} (column {column}). Has a spreadsheet "
        "program saved it?",
    )


def _refuse_twice(contact_ids: pl.Series, file: BinaryIO, name: str, at_once: int) -> None:
    """One contact on two rows: which of them is true cannot be known."""
    twice = contact_ids.filter(contact_ids.is_duplicated())
    if twice.is_empty():
        return
    file.seek(0)
    lines: list[int] = []
    for sheet in read_sheets(file, name, at_once=at_once):
        position = _columns(sheet, name)[0]["contact_id"]
        rows = sheet.cells.select((_typed(pl.col(position), "contact_id") == twice[0]).arg_true()).to_series()
        lines += [sheet.line(row) for row in rows]
    raise refusal(name, f"contact {twice[0]} is there more than once, on lines {', '.join(map(str, lines))}")


class _Told:
    """The words for cells that were not understood."""

    def __init__(self, header: Sequence[str], name: str) -> None:
        self.name, self.labels = name, _labels(header)

    def set_aside(self, line: int, contact_id: int | None, column: str, value: str) -> Problem:
        """A row that was left out."""
        whom = f"Contact {contact_id} was left as it was" if contact_id is not None else "A row was left out"
        what = f"{whom}: {self._where(line, column, value)}. Correct it in Givebutter, or export the contacts again."
        return self._problem("contact_row_set_aside", "error", what, line, contact_id, column, value)

    def kept_as_text(self, line: int, contact_id: int | None, column: str, value: str) -> Problem:
        """A value that went in as text."""
        what = (
            f"Contact {contact_id} was taken, but {self._where(line, column, value)}. The text is kept among its "
            "custom fields. Correct it in Givebutter."
        )
        return self._problem("contact_value_kept_as_text", "warning", what, line, contact_id, column, value)

    def _where(self, line: int, column: str, value: str) -> str:
        shown = repr(value) if len(value) <= 40 else f"{value[:40]!r} …"
        return f"{self.labels[column]!r} on line {line} of {self.name} cannot be read: {shown}"

    def _problem(
        self,
        kind: str,
        severity: Literal["error", "warning"],
        message: str,
        line: int,
        contact_id: int | None,
        column: str,
        value: str,
    ) -> Problem:
        return Problem(
            type=kind,
            message=message,
            severity=severity,
            source_table="raw_gb_full_contacts",
            field_name=column,
            current_value=value[:255],
            context={"contact_id": contact_id, "file": self.name, "line": line},
            key=(str(contact_id) if contact_id is not None else f"line {line}",),
        )


def _custom_fields(
    cells: pl.DataFrame, custom: Mapping[str, str], as_text: pl.DataFrame, labels: Mapping[str, str]
) -> pl.Series:
    """Label -> value as JSON with sorted labels, blank values left out: one text for each row of `cells`.

    Args:
        cells: the file's rows.
        custom: position of each custom field's column.
        as_text: further values to keep: row, column, value.
        labels: the header of each column of the table.
    """
    positions = dict(custom)
    for column in as_text.get_column("column").unique():
        positions[labels[column]] = column
        values = as_text.filter(column=column).select("row", pl.col("value").alias(column))
        cells = cells.join(values, on="row", how="left", maintain_order="left").with_columns(
            pl.col(column).fill_null("")
        )
    if not positions:
        return pl.repeat("{}", cells.height, eager=True)
    cells = cells.select(positions.values())
    has_some = cells.select(pl.any_horizontal(pl.all() != "")).to_series()
    cells = cells.filter(has_some)  # most contacts have none
    members = []
    is_odd = cells.select(pl.col(position).str.contains(_TO_ESCAPE).any() for position in positions.values()).row(0)
    odd = {label for label, has_odd in zip(positions, is_odd, strict=True) if has_odd}
    for label in sorted(positions):
        value = _trimmed(positions[label])
        text = _escaped(cells.get_column(positions[label])) if label in odd else value
        member = pl.concat_str(pl.lit(f'{to_json(label)}:"'), text, pl.lit('"'))
        members.append(pl.when(value != "").then(member))
    together = pl.concat_str(members, separator=",", ignore_nulls=True)
    texts = cells.select(pl.concat_str(pl.lit("{"), together, pl.lit("}"))).to_series()
    return pl.repeat("{}", len(has_some), eager=True).scatter(has_some.arg_true(), texts)


def _escaped(values: pl.Series) -> pl.Expr:
    """Trimmed values as `to_json` writes them between quotes; only those that need it go through it."""
    trimmed = values.str.strip_chars()
    odd = trimmed.filter(trimmed.str.contains(_TO_ESCAPE)).unique()
    written = pl.Series([to_json(text)[1:-1] for text in odd], dtype=pl.String)
    return pl.lit(trimmed.replace(odd, written))


def _newest(contacts: pl.DataFrame, now: datetime) -> datetime | None:
    """The newest time of the contacts that is not later than now."""
    times = [pl.col(name).filter(pl.col(name) <= now).max() for name in _TIME_COLUMNS.values() if name in contacts]
    return contacts.select(pl.max_horizontal(times)).item() if times else None


def _known_at(newest: Sequence[datetime | None], name: str, now: datetime) -> tuple[datetime | None, str]:
    """As of when a file tells, and what says so: the newest time in it, or the date in its name where that is later.

    The date counts from its first moment: the file is at least that new. Nothing later than now is believed (R12).
    """
    evidence = [(time, "the newest time in it") for time in newest if time is not None]
    for match in _DATE_IN_NAME.finditer(name):
        try:
            date = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
        except ValueError:  # digits that are no date
            continue
        evidence += [(date, "the date in its name")] if date <= now else []
    return max(evidence, default=(None, ""))
