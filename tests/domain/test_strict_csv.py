"""A file that is accepted never has a value in a wrong column; a refusal names the line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.strict_csv import LONGEST_CELL, read_header, read_sheet, read_sheets, refusal
from mentor_pipeline.errors import FileRejectedError

CELL = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\ufeff\r"), max_size=12)
TRICKY = st.sampled_from(["", 'say "hi"', "a, b", "two\nlines", "two\r\nlines", "📝 ok", "=1+1", "  ", '"', "\u2028"])
ROWS = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(CELL | TRICKY, min_size=width, max_size=width), min_size=1, max_size=8)
)


def written(rows: list[list[str]], *, end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow([f"c{position}" for position in range(len(rows[0]))])
    writer.writerows(rows)
    return text.getvalue().encode()


def cells_of(data: bytes) -> list[list[str]]:
    return [list(row) for row in read_sheet(data, "f.csv").cells.iter_rows()]


@settings(deadline=None)
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_what_was_written_is_read(rows: list[list[str]], end: str, quoting: int) -> None:
    assert cells_of(written(rows, end=end, quoting=quoting)) == rows


@settings(deadline=None)
@given(ROWS, st.data())
def test_an_accepted_file_has_every_value_in_its_column(rows: list[list[str]], data: st.DataObject) -> None:
    """Whatever single character is lost or added: the file is refused, or read as a strict parser reads it."""
    good = written(rows).decode()
    at = data.draw(st.integers(0, len(good) - 1))
    put = data.draw(st.sampled_from(["", '"', ",", "\n", "\r", "x"]))
    damaged = (good[:at] + put + good[at + data.draw(st.integers(0, 1)) :]).encode()
    try:
        read = cells_of(damaged)
    except FileRejectedError:
        return
    strict = csv.reader(io.StringIO(damaged.decode(), newline=""), strict=True)
    expected = [row for row in strict if "".join(row).strip(" \t") or len(row) > 1][1:]
    assert read == expected
    assert {len(row) for row in expected} == {len(read_header(damaged, "f.csv"))}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b" \r\n\r\n", "the file is empty"),
        (b"a,b\r\n", "a header but not one row"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells where the header has 2"),
        (b'a,b\n"1\n1",2\n3,4,5\n', "line 4 has 3 cells where the header has 2"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: a quotation mark"),
        (b'a,b\n1,x"y"\n', "line 2: a quotation mark"),
        (b'a,b\n1,"x"y\n', "line 2: a quotation mark"),
        (b"a,b\n1,2\n3,\x004\n", "line 3 holds a NUL byte"),
        (b"a,b\n1,2\n3\r4,5\n", "line 3 holds a line end"),
        ("a,b\n1,é\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xE9)"),
        ("a,b\n1,é\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,é\n".encode("utf-16-le"), "UTF-16"),
        (b"a,b,a\n1,2,3\n", "line 1: the column 'a' is there 2 times"),
        (b"\n\na,b,a\n1,2,3\n", "line 3: the column 'a' is there 2 times"),
        (b"a,,b\n1,2,3\n", "column 2 has no name"),
        (b'a;"b, c"\n1;2\n', "separated by semicolons, not by commas"),
        (b"a\tb\n1\t2\n", "separated by tabs, not by commas"),
        (b"\xff\xd8\xff\xe0 JFIF", "a JPEG picture"),
        (b"PK\x03\x04 xl/workbook.xml", "an Excel workbook"),
    ],
)
def test_a_refusal_names_the_fault_and_the_line(data: bytes, says: str) -> None:
    with pytest.raises(FileRejectedError) as refused:
        read_sheet(data, "contacts.csv")
    assert str(refused.value).startswith("contacts.csv: ")
    assert says in str(refused.value)
    assert "Nothing of it was imported" in str(refused.value)


def test_a_refusal_ends_each_sentence_once() -> None:
    told = [str(refusal("a.csv", what, "Nothing was read.")) for what in ("it is empty", "Was it saved?", "No.")]
    assert told == [f"a.csv: {end} Nothing was read." for end in ("it is empty.", "Was it saved?", "No.")]


def test_the_caller_says_what_to_do() -> None:
    with pytest.raises(FileRejectedError, match=r"^f\.csv: the file is empty\. Write it again\.$"):
        read_sheet(b"", "f.csv", "Write it again.")
    with pytest.raises(FileRejectedError, match=r"^f\.csv: the file is empty\. Write it again\.$"):
        read_header(b"", "f.csv", "Write it again.")


def test_a_cell_that_no_field_can_hold_refuses_the_file_with_its_line() -> None:
    """More often than a long text it is a lost quotation mark, and other rows are inside it."""
    longest = "x" * LONGEST_CELL
    assert cells_of(f"a,b\n1,{longest}\n".encode()) == [["1", longest]]
    with pytest.raises(FileRejectedError, match=r"line 3: the cell in column 'b' holds 10,000,000 bytes"):
        read_sheet(f"a,b\n1,2\n3,{'x' * 10_000_000}\n".encode(), "f.csv")


def test_a_row_of_a_wrong_width_is_told_however_long_its_cells_are() -> None:
    with pytest.raises(FileRejectedError, match="line 2 has 3 cells where the header has 2"):
        read_sheet(f'a,b\n1,"{"x," * 100_000}",3\n'.encode(), "f.csv")
    with pytest.raises(FileRejectedError, match="header but not one row"):
        read_sheet(f"a,{'b' * 200_000}\n".encode(), "f.csv")


@pytest.mark.parametrize("wide", [2, 64, 3000])
@pytest.mark.parametrize("blank", [b"", b"\r\n"])
def test_wide_files_and_files_with_blank_lines_are_read_alike(wide: int, blank: bytes) -> None:
    header = ",".join(f"c{position}" for position in range(wide)).encode()
    rows = [[f'{row}, "{position}"\n' for position in range(wide)] for row in range(3)]
    quoted = [",".join(f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row).encode() for row in rows]
    data = b"\r\n".join([header, quoted[0], blank + quoted[1], quoted[2]])
    assert cells_of(data) == rows
    with pytest.raises(FileRejectedError, match=f"has {wide + 1} cells where the header has {wide}"):
        read_sheet(data + b"\r\n" + wide * b",", "f.csv")


def test_blank_lines_are_skipped_and_lines_still_counted() -> None:
    sheet = read_sheet(b'\r\na,b\r\n\r\n"1\n1",2\r\n\r\n3,4\r\n\r\n', "f.csv")
    assert sheet.cells.rows() == [("1\n1", "2"), ("3", "4")]
    assert [sheet.line(0), sheet.line(1)] == [4, 7]
    assert list(sheet.numbers) == [4, 6]


def test_the_header_can_be_read_from_the_beginning_of_a_file() -> None:
    """The cut may fall into the middle of a character."""
    data = "\ufeffName , 📝  Sign Up Complete\nAda,é".encode()
    assert read_header(data[:-1], "f.csv") == ("Name", "📝 Sign Up Complete")
    assert read_header("Name,📝".encode()[:-1], "f.csv") == ("Name", "")


def pieces_of(data: bytes, at_once: int) -> tuple[list[list[str]], list[int], list[int]]:
    """Cells, lines and spreadsheet numbers of a file that is read in pieces."""
    cells, lines, numbers = [], [], []
    for sheet in read_sheets(io.BytesIO(data), "f.csv", at_once=at_once):
        cells += [list(row) for row in sheet.cells.iter_rows()]
        lines += [sheet.line(row) for row in range(sheet.cells.height)]
        numbers += list(sheet.numbers)
    return cells, lines, numbers


@settings(deadline=None)
@given(ROWS, st.sampled_from(["\n", "\r\n", "\n\n", "\r\n  \r\n"]), st.integers(1, 60), st.booleans())
def test_a_file_reads_alike_in_pieces_of_any_size(
    rows: list[list[str]], end: str, at_once: int, has_mark: bool
) -> None:
    data = has_mark * b"\xef\xbb\xbf" + end.encode() + written(rows, end=end)
    whole = pieces_of(data, len(data) + 1)
    assert pieces_of(data, at_once) == whole
    assert len(whole[0]) == len(rows)


@settings(deadline=None, max_examples=200)
@given(ROWS, st.integers(0, 200), st.sampled_from([b'"', b",", b"\r", b"\n", b"\x00", b"\xff"]), st.integers(1, 60))
def test_a_damaged_file_is_refused_alike_in_pieces_of_any_size(
    rows: list[list[str]], at: int, damage: bytes, at_once: int
) -> None:
    """Given one byte too many anywhere, then it is told in the same words, or read the same."""
    good = written(rows)
    data = good[: at % len(good)] + damage + good[at % len(good) :]

    def said(at_once: int) -> object:
        try:
            return pieces_of(data, at_once)
        except FileRejectedError as error:
            return str(error)

    assert said(at_once) == said(len(data) + 1)
