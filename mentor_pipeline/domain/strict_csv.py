"""Reading a CSV file strictly: every cell is where its header says it is, or the file is refused.

Lenient readers pad short rows, cut long ones and guess at broken quotes, so that values land in wrong columns without
a word. Here the text is first checked record by record against the grammar of RFC 4180 and the header's width; Polars
then reads what can be read in one way only. What the columns mean is not decided here (see `contacts_csv` and
`failures_csv`).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from mentor_pipeline.domain.normalise import clean_text
from mentor_pipeline.errors import FileRejectedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CELL: Final = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_RECORD_END: Final = rb"(?:\r?\n|\Z)"
_BLANK_LINE: Final = re.compile(rb"[ \t]*+\r?\n|[ \t]++\Z")
_RECORD: Final = re.compile(_CELL + rb"(?:," + _CELL + rb")*+" + _RECORD_END)
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")
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
EXPORT_AGAIN: Final = (
    "Nothing of it was imported and the earlier data stays. Export it from Givebutter again and drop it unopened."
)
"""What to do about a broken file, unless a caller says what fits better."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file's header and cells.

    Attributes:
        header: the labels, trimmed, in the file's order.
        cells: one text column per label, named by its position ("0", "1", ...); a blank cell is "".
        numbers: for each row of `cells` its number in a spreadsheet, where the header is row 1.
    """

    header: tuple[str, ...]
    cells: pl.DataFrame
    numbers: Sequence[int]
    _data: bytes = field(repr=False)
    _starts: Sequence[int] = field(repr=False)

    def line(self, row: int) -> int:
        """Line of the file, from 1, on which a row of `cells` starts."""
        return _line(self._data, self._starts[row])


def refusal(name: str, what: str, then: str = EXPORT_AGAIN) -> FileRejectedError:
    """The error for a file that is refused whole: which file, what is wrong, what was left untouched and what to do."""
    return FileRejectedError(f"{name}: {what}. {then}")


def read_header(data: bytes, name: str, then: str = EXPORT_AGAIN) -> tuple[str, ...]:
    """The labels of the first record; the rest of the file may be cut off.

    Raises:
        FileRejectedError: not UTF-8 text, empty, or a first line that is no header.
    """
    return _header(_text(data, name, then, whole=False), name, then)[0]


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
    text = _text(data, name, then, whole=True)
    header, start, number = _header(text, name, then)
    _refuse_repeated(header, name, then)
    record = re.compile(_CELL + rb"(?:," + _CELL + rb"){%d}" % (len(header) - 1) + _RECORD_END)
    starts, ends, numbers = [], [], []
    position, size = start, len(text)
    while position < size:
        number += 1
        if blank := _BLANK_LINE.match(text, position):
            position = blank.end()
            continue
        match = record.match(text, position)
        if match is None:
            raise _fault(text, position, len(header), name, then)
        starts.append(position)
        numbers.append(number)
        position = match.end()
        ends.append(position)
    if not starts:
        raise refusal(name, "it has a header but not one row", then)
    gapless = all(end == begin for end, begin in zip(ends, starts[1:], strict=False))
    body = text[starts[0] : ends[-1]] if gapless else b"".join(map(text.__getitem__, map(slice, starts, ends)))
    columns = [str(position) for position in range(len(header))]
    cells = pl.read_csv(
        body, has_header=False, schema=dict.fromkeys(columns, pl.String()), empty_string_is_null=False, encoding="utf8"
    )
    if cells.height != len(starts):
        raise refusal(name, f"{len(starts)} rows were checked but {cells.height} were read", then)
    return Sheet(header, cells, numbers, text, starts)


def _text(data: bytes, name: str, then: str, *, whole: bool) -> bytes:
    """The bytes without byte order mark, once they are known to be UTF-8 text."""
    if not data.removeprefix(_UTF8_MARK).strip():
        raise refusal(name, "the file is empty", then)
    kind = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    if kind is not None:
        raise refusal(name, f"this is {kind}, not a CSV file", then)
    head = data[:1000]
    if data.startswith(_UTF16_MARKS) or head.count(0) * 3 > len(head):
        raise refusal(name, "this text is in UTF-16 (or UTF-32), not UTF-8: a spreadsheet program saved it", then)
    text = data.removeprefix(_UTF8_MARK)
    if (at := text.find(0)) >= 0:
        raise refusal(name, f"line {_line(text, at)} holds a NUL byte: the file is damaged or no text", then)
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        if not whole and error.end >= len(text) - 3:  # a character cut in two by reading only the beginning
            return text
        raise refusal(
            name,
            f"line {_line(text, error.start)} is not UTF-8 (byte 0x{text[error.start]:02X}): probably Latin-1 or "
            "Windows-1252, as a spreadsheet program saves it",
            then,
        ) from error
    return text


def _header(text: bytes, name: str, then: str) -> tuple[tuple[str, ...], int, int]:
    """The labels, where the records begin, and the header's own number among the lines of a spreadsheet."""
    start, number = 0, 1
    while blank := _BLANK_LINE.match(text, start):
        start, number = blank.end(), number + 1
    _refuse_other_separators(text, start, name, then)
    match = _RECORD.match(text, start)
    if match is None:
        raise _fault(text, start, None, name, then)
    labels = next(csv.reader(io.StringIO(match[0].decode("utf-8"), newline=""), strict=True))
    return tuple(clean_text(label) or "" for label in labels), match.end(), number


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


def _refuse_repeated(header: Sequence[str], name: str, then: str) -> None:
    repeated = [label for label, count in Counter(header).items() if count > 1 and label]
    if repeated:
        raise refusal(name, f"line 1: the column {repeated[0]!r} is there {header.count(repeated[0])} times", then)
    if "" in header:
        raise refusal(name, f"line 1: column {header.index('') + 1} has no name", then)


def _fault(text: bytes, start: int, width: int | None, name: str, then: str) -> FileRejectedError:
    """Say what is wrong with the record at `start`."""
    line = _line(text, start)
    match = _RECORD.match(text, start)
    if match is not None and width is not None:
        row = next(csv.reader(io.StringIO(match[0].decode("utf-8"), newline=""), strict=True))
        return refusal(name, f"line {line} has {len(row)} cells where the header has {width}", then)
    lone = _LONE_RETURN.search(text, start, text.find(b"\n", start) % (len(text) + 1))
    if lone is not None:
        return refusal(name, f"line {line} holds a line end that is neither LF nor CRLF", then)
    return refusal(name, f"line {line}: a quotation mark is out of place, or opened and never closed", then)


def _line(text: bytes, position: int) -> int:
    return text.count(b"\n", 0, position) + 1
