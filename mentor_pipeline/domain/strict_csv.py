"""Reading a CSV file strictly: every cell is where its header says it is, or the file is refused.

Lenient readers pad short rows, cut long ones and guess at broken quotes, so that values land in wrong columns without
a word. Here the text is first held against the grammar of RFC 4180 and the header's width: at once where it has no
blank lines, in one pass of Polars' regular expressions; otherwise, and to find a fault, record by record. Polars then
reads what can be read in one way only. A large file is read in pieces that end where a record ends, so that it need not
fit into memory. What the columns mean is not decided here (see `contacts_csv` and `failures_csv`).
"""

from __future__ import annotations

import io
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain.normalise import clean_text
from mentor_pipeline.errors import FileRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_CELL: Final = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_RECORD_END: Final = rb"(?:\r?\n|\Z)"
_BLANK_LINE: Final = re.compile(rb"[ \t]*+\r?\n|[ \t]++\Z")
_RECORD: Final = re.compile(_CELL + rb"(?:," + _CELL + rb")*+" + _RECORD_END)
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")
_CELLS: Final = re.compile(rb"(?:\A|,)(" + _CELL + rb")")
_PLAIN_CELL: Final = r'(?:"[^"]*(?:""[^"]*)*"|[^",\r\n]*)'
"""`_CELL` for Polars, whose expressions never go back and so know no possessive `+`."""
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_SIGNATURES: Final = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a compressed file",
}
_QUOTED: Final = re.compile(rb'"[^"]*"')
_OTHER_SEPARATORS: Final = {b";": "semicolons", b"\t": "tabs"}
LONGEST_CELL: Final = 100_000
"""Bytes; no field of Givebutter holds so much. What looks like a longer one is a quotation mark gone astray."""
AT_ONCE: Final = 2**26
"""Bytes of a piece: two hundred thousand contacts of 64 columns."""
EXPORT_AGAIN: Final = (
    "Nothing of it was imported and the earlier data stays. Export it from Givebutter again and drop it unopened."
)
"""What to do about a broken file, unless a caller says what fits better."""


class _Record(NamedTuple):
    """Where a record is: bytes of its piece, the file's line that it starts on, its number among spreadsheet rows."""

    start: int
    end: int
    line: int
    number: int
    is_blank: bool = False


@dataclass(frozen=True)
class Sheet:
    """A file's header and cells, or those of a piece of it.

    Attributes:
        header: the labels, trimmed, in the file's order.
        header_line: the line of the file, from 1, on which the header starts.
        cells: one text column per label, named by its position ("0", "1", ...); a blank cell is "".
    """

    header: tuple[str, ...]
    header_line: int
    cells: pl.DataFrame
    _text: bytes = field(repr=False)
    _first: _Record = field(repr=False)

    def line(self, row: int) -> int:
        """Line of the file, from 1, on which a row of `cells` starts."""
        return self._places[0][row]

    @property
    def numbers(self) -> Sequence[int]:
        """For each row of `cells` its number in a spreadsheet, where the header is row 1."""
        return self._places[1]

    @cached_property
    def _places(self) -> tuple[Sequence[int], Sequence[int]]:
        """Line and number of each row; found only when they are asked for."""
        lines, numbers = array("q"), array("q")
        for record in _records(self._text, self._first, len(self.header)):
            if not record.is_blank:
                lines.append(record.line)
                numbers.append(record.number)
        return lines, numbers


def refusal(name: str, what: str, then: str = EXPORT_AGAIN) -> FileRejectedError:
    """The error for a file that is refused whole: which file, what is wrong, what was left untouched and what to do."""
    return FileRejectedError(f"{name}: {what}{'' if what.endswith(('.', '?')) else '.'} {then}")


def read_header(data: bytes, name: str, then: str = EXPORT_AGAIN) -> tuple[str, ...]:
    """The labels of the first record; the rest of the file may be cut off.

    Raises:
        FileRejectedError: not UTF-8 text, empty, or a first line that is no header.
    """
    text = _first_text(data, name, then)
    _refuse_nul(text, 1, name, then)
    return _header(_utf8(text, 1, name, then, is_cut=True), name, then)[0]


def read_sheet(data: bytes, name: str, then: str = EXPORT_AGAIN) -> Sheet:
    """Read a CSV file whole. Blank lines are skipped; a byte order mark and CRLF are understood.

    Args:
        data: the file's bytes.
        name: its name, for the message.
        then: what the message says was left untouched, and what to do.

    Raises:
        FileRejectedError: with the line: another encoding than UTF-8, NUL bytes, broken quotes, a row that is wider or
            narrower than the header, two columns of one name, no rows.
    """
    (sheet,) = read_sheets(io.BytesIO(data), name, then, at_once=len(data) + 1)
    return sheet


def read_sheets(file: BinaryIO, name: str, then: str = EXPORT_AGAIN, *, at_once: int = AT_ONCE) -> Iterator[Sheet]:
    """Read a CSV file as `read_sheet` does, a piece after the other; at least one has rows.

    Args:
        file: the file, at its beginning.
        name: its name, for the message.
        then: what the message says was left untouched, and what to do.
        at_once: bytes of a piece, about; a record that is longer is one piece.

    Raises:
        FileRejectedError: see there; the fault may be in a later piece than those that were given.
    """
    pieces: Iterator[bytes] = _pieces(file, at_once)
    text = next(pieces, b"")
    while text.removeprefix(_UTF8_MARK).isspace() and (more := next(pieces, b"")):  # blank lines before the header
        text += more
    text = _first_text(text, name, then)
    _refuse_nul(text, 1, name, then)
    header, header_line, first = _header(text, name, then)
    _refuse_repeated(header, header_line, name, then)
    pieces, first = chain([text[first.start :]], pieces), first._replace(start=0, end=0)
    del text
    has_rows = False
    for piece in pieces:
        cells, after = _read(piece, len(header), first, name, then)
        if not cells.is_empty():
            has_rows = True
            sheet = Sheet(header, header_line, cells, piece, first)
            _refuse_long_cells(sheet, name, then)
            yield sheet
            del sheet
        del cells  # a piece is a twentieth of a gigabyte, and its cells are three
        first = after
    if not has_rows:
        raise refusal(name, "it has a header but not one row", then)


def _pieces(file: BinaryIO, at_once: int) -> Iterator[bytes]:
    """The file's bytes in pieces, each of which ends where a record does as far as quotation marks tell."""
    rest = b""
    while True:
        wanted = max(at_once, len(rest))
        part = file.read(wanted)
        text = rest + part
        is_last = len(part) < wanted
        end = len(text) if is_last else _last_record_end(text)
        if end:
            yield text[:end]
        if is_last:
            return
        rest = text[end:]


def _last_record_end(text: bytes) -> int:
    """Behind the last line end that is in no quotation marks; 0 when there is none."""
    end = text.rfind(b"\n") + 1
    marks = text.count(b'"', 0, end)
    while marks % 2:
        earlier = text.rfind(b"\n", 0, text.rfind(b'"', 0, end)) + 1
        marks -= text.count(b'"', earlier, end)
        end = earlier
    return end


def _read(text: bytes, width: int, first: _Record, name: str, then: str) -> tuple[pl.DataFrame, _Record]:
    """The cells of a piece, and where the next one begins.

    Args:
        text: its bytes.
        width: cells of a record.
        first: its beginning.
        name: the file's name, for the message.
        then: see `read_sheet`.
    """
    _refuse_nul(text, first.line, name, then)
    texts = _for_polars(text, first.line, name, then)
    is_plain = width > 1 and bool(text) and _is_plain(texts, width)
    del texts  # as large as the piece
    if is_plain:
        cells = _cells(text, width)
        count = cells.height
    else:
        try:
            records = [*_records(text, first, width)]
        except _FaultError as error:
            raise _told(text, error.record, width, name, then) from error
        cells = _cells(b"".join(text[one.start : one.end] for one in records if not one.is_blank), width)
        count = len(records)
    if any(cells.null_count().row(0)):
        raise refusal(name, f"{cells.height} rows were read, not as they were checked", then)
    return cells, _Record(0, 0, first.line + text.count(b"\n"), first.number + count)


def _is_plain(texts: pl.Series, width: int) -> bool:
    """True when all of it is records of that width, with nothing between them; False also when that is not known."""
    cells = f"{_PLAIN_CELL}(?:,{_PLAIN_CELL}){{{width - 1}}}"
    try:
        return bool(texts.str.contains(rf"\A(?:{cells}\r?\n)*{cells}\r?\n?\z").last())
    except pl.exceptions.ComputeError:  # thousands of columns
        return False


def _cells(body: bytes, width: int) -> pl.DataFrame:
    schema = {str(position): pl.String() for position in range(width)}
    if not body:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(
        body,
        has_header=False,
        schema=schema,
        empty_string_is_null=False,
        encoding="utf8",
    )


class _FaultError(Exception):
    """The record that is broken, or wider or narrower than the header."""

    def __init__(self, record: _Record) -> None:
        self.record = record


def _records(text: bytes, first: _Record, width: int) -> Iterator[_Record]:
    """The records one by one, blank lines among them.

    Raises:
        _FaultError: with the first one that is no record of that width.
    """
    pattern = re.compile(_CELL + rb"(?:," + _CELL + rb"){%d}" % (width - 1) + _RECORD_END)
    position, _, line, number, _ = first
    while position < len(text):
        blank = _BLANK_LINE.match(text, position)
        match = blank or pattern.match(text, position)
        if match is None:
            raise _FaultError(_Record(position, position, line, number))
        yield _Record(position, match.end(), line, number, blank is not None)
        line += text.count(b"\n", position, match.end())
        position, number = match.end(), number + 1


def _refuse_long_cells(sheet: Sheet, name: str, then: str) -> None:
    """A cell that swallowed other rows, or that no field can hold."""
    longest = sheet.cells.select(pl.all().str.len_bytes().max()).row(0)
    for position, length in enumerate(longest):
        if length > LONGEST_CELL:
            row = sheet.cells.get_column(str(position)).str.len_bytes().arg_max()
            raise refusal(
                name,
                f"line {sheet.line(row or 0)}: the cell in column {sheet.header[position]!r} holds {length:,} bytes, "
                "more than any field can. Perhaps a quotation mark is missing before it",
                then,
            )


def _first_text(data: bytes, name: str, then: str) -> bytes:
    """The beginning of a file without byte order mark, once nothing in it tells of another kind of file."""
    text = data.removeprefix(_UTF8_MARK)
    if not text or text.isspace():
        raise refusal(name, "the file is empty", then)
    kind = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    if kind is not None:
        raise refusal(name, f"this is {kind}, not a CSV file", then)
    head = data[:1000]
    if data.startswith(_UTF16_MARKS) or head.count(0) * 3 > len(head):
        raise refusal(name, "this text is in UTF-16 (or UTF-32), not UTF-8: a spreadsheet program saved it", then)
    return text


def _refuse_nul(text: bytes, line: int, name: str, then: str) -> None:
    if (at := text.find(0)) >= 0:
        line += text.count(b"\n", 0, at)
        raise refusal(name, f"line {line} holds a NUL byte: the file is damaged or no text", then)


def _for_polars(text: bytes, line: int, name: str, then: str) -> pl.Series:
    """The text as UTF-8, after an empty one: a column of one value alone would be copied four times.

    Not by Python, whose own text of a large file takes up to four bytes for each character.
    """
    try:
        return pl.Series([b"", text]).cast(pl.String)
    except pl.exceptions.PolarsError:
        _utf8(text, line, name, then)  # says where
        raise


def _utf8(text: bytes, line: int, name: str, then: str, *, is_cut: bool = False) -> bytes:
    """The text, once it is known to be UTF-8; of one that is cut off without the half of a character at its end."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_cut and error.end >= len(text) - 3:
            return text[: error.start]
        line += text.count(b"\n", 0, error.start)
        raise refusal(
            name,
            f"line {line} is not UTF-8 (byte 0x{text[error.start]:02X}): probably Latin-1 or Windows-1252, as a "
            "spreadsheet program saves it",
            then,
        ) from error
    return text


def _header(text: bytes, name: str, then: str) -> tuple[tuple[str, ...], int, _Record]:
    """The labels, their line, and where the first record may begin."""
    start, line = 0, 1
    while blank := _BLANK_LINE.match(text, start):
        start, line = blank.end(), line + 1
    _refuse_other_separators(text, start, name, then)
    match = _RECORD.match(text, start)
    if match is None:
        raise _told(text, _Record(start, start, line, line), None, name, then)
    labels = _split(_utf8(match[0], line, name, then))
    first = _Record(match.end(), match.end(), line + match[0].count(b"\n"), line + 1)
    return tuple(clean_text(label) or "" for label in labels), line, first


def _split(record: bytes) -> list[str]:
    """The cells of one record that keeps the grammar, however long they are."""
    return [
        cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
        for cell in map(bytes.decode, _CELLS.findall(record.rstrip(b"\r\n")))
    ]


def _refuse_other_separators(text: bytes, start: int, name: str, then: str) -> None:
    """A header without one comma, but with what spreadsheet programs write instead in some countries."""
    line_end = text.find(b"\n", start)
    bare = _QUOTED.sub(b"", text[start : len(text) if line_end < 0 else line_end])
    if b"," in bare:
        return
    for separator, words in _OTHER_SEPARATORS.items():
        if separator in bare:
            raise refusal(
                name, f"its columns are separated by {words}, not by commas: a spreadsheet program saved it", then
            )


def _refuse_repeated(header: Sequence[str], line: int, name: str, then: str) -> None:
    repeated = [label for label, count in Counter(header).items() if count > 1 and label]
    if repeated:
        raise refusal(name, f"line {line}: the column {repeated[0]!r} is there {header.count(repeated[0])} times", then)
    if "" in header:
        raise refusal(name, f"line {line}: column {header.index('') + 1} has no name", then)


def _told(text: bytes, record: _Record, width: int | None, name: str, then: str) -> FileRejectedError:
    """Say what is wrong with a record."""
    start, line = record.start, record.line
    match = _RECORD.match(text, start)
    if match is not None and width is not None:
        return refusal(name, f"line {line} has {len(_split(match[0]))} cells where the header has {width}", then)
    line_end = text.find(b"\n", start)
    if _LONE_RETURN.search(text, start, line_end if line_end >= 0 else len(text)) is not None:
        return refusal(name, f"line {line} holds a line end that is neither LF nor CRLF", then)
    return refusal(name, f"line {line}: a quotation mark is out of place, or opened and never closed", then)
