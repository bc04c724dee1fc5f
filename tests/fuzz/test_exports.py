"""Damaged exports are read right, or refused in our own words: no crash, no half import, no value in a wrong column.

Every file follows from its seed, which a failure names: `damaged(seed)` makes it again.
"""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.contacts_csv import ContactsFile, read_contacts
from mentor_pipeline.errors import FileRejectedError
from mentor_pipeline.operator.imports import import_contacts_csv
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from tests.builders import program
from tests.fuzz.exports import as_said, damaged, real_export, said_by, seeded, written

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("raw_gb_full_contacts", "source_reads", "detected_problems")
FEW, MANY = 60, 10_000
IMPORTED = 100
"""Of the many: so many go through the whole import into a warehouse."""


def read_or_refused(data: bytes, **how: int) -> ContactsFile | str:
    """What our reader makes of a file; its words when it refuses it. Any other exception is a crash."""
    try:
        return read_contacts(io.BytesIO(data), "contacts.csv", now=NOW, **how)
    except FileRejectedError as error:
        return str(error)


def contacts_of(file: ContactsFile) -> pl.DataFrame:
    return pl.concat(file.batches)


def assert_right(data: bytes, file: ContactsFile | str) -> None:
    """A refusal says what and what to do; what was read is what another reader reads."""
    if isinstance(file, str):
        assert file.startswith("contacts.csv: ")
        assert "Nothing of it was imported" in file
        return
    said = said_by(data)
    rows = {row["contact_id"]: as_said(row) for row in contacts_of(file).iter_rows(named=True)}
    assert rows.keys() == said.contacts.keys()
    for contact_id, expected in said.contacts.items():
        assert rows[contact_id] == {"contact_id": contact_id, **expected}
    assert set(file.set_aside_ids) == said.unreadable
    assert file.row_count == said.rows
    assert len({problem.context["line"] for problem in file.set_aside}) == said.rows - len(rows)
    assert file.has_unknown_ids == (said.rows > len(rows) + len(said.unreadable))


@pytest.mark.parametrize("seed", range(FEW))
def test_a_damaged_export_is_read_right_or_refused(seed: int) -> None:
    data, _ = damaged(seed)
    assert_right(data, read_or_refused(data))


@pytest.mark.parametrize("seed", range(8))
def test_an_export_is_read_right_however_it_is_spelt(seed: int) -> None:
    """Given no damage, then nothing is refused or set aside."""
    random = seeded(seed)
    data = written(real_export(random), random)
    file = read_or_refused(data)
    assert isinstance(file, ContactsFile)
    assert not file.set_aside
    assert_right(data, file)


@pytest.mark.parametrize("seed", range(FEW))
def test_a_large_file_is_read_in_pieces_as_in_one(seed: int) -> None:
    data = damaged(seed)[0] if seed % 2 else written(real_export(seeded(seed)), seeded(seed))
    whole, in_pieces = read_or_refused(data), read_or_refused(data, at_once=2000)
    if isinstance(whole, str) or isinstance(in_pieces, str):
        assert in_pieces == whole
        return
    assert seed % 2 or len(list(in_pieces.batches)) > 1
    assert contacts_of(in_pieces).equals(contacts_of(whole))
    assert in_pieces.contact_ids.equals(whole.contact_ids)
    unlike = {"batches": None, "contact_ids": None}
    assert replace(in_pieces, **unlike) == replace(whole, **unlike)  # type: ignore[arg-type]


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r"), max_size=6)
IDS = st.integers(1, 2**63 - 1).map(str)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)).map("{:%Y-%m-%d %H:%M:%S}".format)  # noqa: DTZ001
CELLS = {
    "Contact External ID": st.integers(0, 99).map("MN{:04}".format) | TEXT,
    "Last Name": TEXT,
    "Date of Birth": TIMES.map(lambda time: time[:10]) | TEXT,
    "Primary Email": st.emails() | TEXT,
    "Additional Phones": st.lists(st.just("+17065550142") | TEXT, max_size=3).map(",".join),
    "Tags": st.lists(TEXT, max_size=3).map(", ".join),
    "Total Contributions": st.decimals(0, 10**6, places=2).map("{:,}".format) | TEXT,
    "Engage SMS Subscribed": st.sampled_from(["Yes", "No", ""]) | TEXT,
    "Last Modified (UTC)": TIMES | TEXT,
    "📆 Shift Preference": TEXT,
    "Pronouns": TEXT,
}


@st.composite
def exports(draw: st.DrawFn) -> bytes:
    """A few columns in any order, contacts with ids of their own, and cells of which most are as they should be."""
    labels = draw(st.lists(st.sampled_from(sorted(CELLS)), unique=True, max_size=6))
    ids = draw(st.lists(IDS | TEXT, min_size=1, max_size=5, unique=True))
    rows = [[contact_id, *(draw(CELLS[label]) for label in labels)] for contact_id in ids]
    order = draw(st.permutations(range(len(labels) + 1)))
    table = [[row[position] for position in order] for row in (["Givebutter Contact ID", *labels], *rows)]
    return written(table, seeded(draw(st.integers(0, 99))))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(exports())
def test_any_export_is_read_right_or_refused(data: bytes) -> None:
    assert_right(data, read_or_refused(data))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_damaged_exports(tmp_path: Path) -> None:
    """One in a hundred goes into a warehouse: all of it, or nothing but its row in the ledger."""
    warehouse = DuckDBWarehouse(tmp_path / "mentors.duckdb")
    refusals, accepted = set(), 0
    for seed in range(FEW, FEW + MANY):
        data, names = damaged(seed)
        try:
            file = read_or_refused(data)
            assert_right(data, file)
            if seed % (MANY // IMPORTED) == 0:
                assert_all_or_nothing(data, file, warehouse, tmp_path / f"{seed}.csv")
        except Exception as error:
            error.add_note(f"seed {seed}: {', '.join(names)}")
            raise
        if isinstance(file, str):
            refusals.add(re.sub(r"[0-9]|'.*", "", file)[:50])
        else:
            accepted += 1
    assert accepted > MANY // 5
    assert len(refusals) > 8  # by every way of refusing, not by one


def assert_all_or_nothing(data: bytes, file: ContactsFile | str, warehouse: DuckDBWarehouse, path: Path) -> None:
    before = {table: warehouse.read_or_empty(table) for table in TABLES}
    path.write_bytes(data)
    with suppress(FileRejectedError):
        import_contacts_csv(path, warehouse=warehouse, program=program(), now=NOW, actor="pat", run_id=None)
    entry = warehouse.read("csv_import_log").filter(filename=path.name).to_dicts()
    after = {table: warehouse.read_or_empty(table) for table in TABLES}
    if isinstance(file, str):
        assert all(after[table].equals(before[table]) for table in TABLES)
        assert all(row["status"] == "rejected" for row in entry)
    elif entry:  # the same content under another name has its row already
        assert (entry[0]["status"], entry[0]["rows"]) == ("completed", file.row_count)
        assert set(file.contact_ids) <= set(after["raw_gb_full_contacts"]["contact_id"])
