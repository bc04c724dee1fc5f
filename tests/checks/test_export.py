"""Checks of what is to go outward: a row that Givebutter would refuse stops the run before a file is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import NOW, YEAR, contact, mentor, row, together

if TYPE_CHECKING:
    import polars as pl

    from tests.checks.made_up import Check, Store


def line(mn_id: str = "0001", contact_id: int | None = None, **cells: Any) -> pl.DataFrame:
    """A row of the import that Givebutter takes."""
    cells = {
        "Givebutter Contact ID": str(contact_id) if contact_id else None,
        "Contact External ID": mn_id,
        "First Name": "Wren",
        "Last Name": f"Alder{mn_id}",
        **cells,
    }
    return row("mn_gb_import", year=YEAR, mn_id=mn_id, **cells)


def test_rows_that_givebutter_takes_pass(check: Check, store: Store) -> None:
    store("raw_gb_full_contacts", together(contact(7, external_id="0002", external_mn_id="2"), contact(8)))
    store("mentors", together(mentor("0001"), mentor("0002", gb_contact_id=7)))
    found = check("mn_gb_import", together(line("0001"), line("0002", 7)))
    assert all(evaluation.passed for evaluation in found.found.values())
    assert set(found.found) == {"external_id_is_unique_and_free", "import_file_is_valid"}
    assert found.went_on


def test_two_rows_with_one_external_id_stop_the_run(check: Check) -> None:
    twice = {"Contact External ID": "0001"}
    found = check("mn_gb_import", together(line("0001", **twice), line("0002", **twice), line("0003")))
    assert "0001, 0002" in found.failed("external_id_is_unique_and_free")
    assert {shown["mn_id"] for shown in found.rows("external_id_is_unique_and_free")} == {"0001", "0002"}


@pytest.mark.parametrize("archived_at", [None, NOW])
@pytest.mark.parametrize("own", [None, 8])
def test_an_external_id_of_another_contact_stops_the_run(
    check: Check, store: Store, archived_at: Any, own: int | None
) -> None:
    holder = contact(7, external_id="0001", external_mn_id="1", last_name="Elm", archived_at=archived_at)
    store("raw_gb_full_contacts", together(holder, contact(8)))
    found = check("mn_gb_import", line("0001", own))
    assert "0001" in found.failed("external_id_is_unique_and_free")
    (shown,) = found.rows("external_id_is_unique_and_free")
    assert shown["contact_id"] == "7"
    assert "Contact 7 (Hugo Elm) holds External ID 0001" in shown["detail"]


def test_a_row_that_would_be_refused_stops_the_run_and_is_named(check: Check, store: Store) -> None:
    store("mentors", together(mentor("0001"), mentor("0002")))
    found = check("mn_gb_import", together(line("0001"), line("0002", **{"Last Name": None})))
    assert "0002" in found.failed("import_file_is_valid")
    (shown,) = found.rows("import_file_is_valid")
    assert shown["mn_id"] == "0002"
    assert shown["column"] == "Last Name"
    assert shown["words"] or shown["detail"]


def test_a_row_for_an_archived_contact_stops_the_run(check: Check, store: Store) -> None:
    store("raw_gb_full_contacts", contact(7, archived_at=NOW))
    store("mentors", mentor("0001", gb_contact_id=7))
    assert "0001" in check("mn_gb_import", line("0001", 7)).failed("import_file_is_valid")


def test_who_is_held_and_why_is_told(check: Check, store: Store) -> None:
    store("mentors", together(mentor("0001", first_name="Wren", last_name="Alder"), mentor("0002")))
    held = row("mn_gb_import_held", year=YEAR, mn_id="0001", reason="contact_conflict", detail="decide it")
    found = check("mn_gb_import_held", held)
    assert "Wren Alder" in found.warned("nobody_is_held")
    assert found.rows("nobody_is_held") == [
        {
            "mn_id": "0001",
            "full_name": "Wren Alder",
            "reason": "contact_conflict",
            "detail": "decide it",
            "gb_contact_id": "",
        }
    ]


def test_nobody_held_passes(check: Check) -> None:
    assert check("mn_gb_import_held", row("mn_gb_import_held").clear())["nobody_is_held"].passed
