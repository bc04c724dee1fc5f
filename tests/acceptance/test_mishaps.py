"""What docs/faults.md says of mishaps, where no other story brings them about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from tests.acceptance import mishaps
from tests.acceptance.installation import PROJECT
from tests.acceptance.mishaps import BAD_FILE, FULL_WAREHOUSE, MISHAPS, Mishap, section
from tests.resources.other_process import links, other_process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.installation import Installation


def test_the_page_is_up_to_date() -> None:
    page = (PROJECT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert page.endswith(f"\n{section()}"), "its end is: python -m tests.acceptance.mishaps"


def test_each_is_held_by_a_test_that_names_it() -> None:
    names = {id(mishap): name for name, mishap in vars(mishaps).items() if isinstance(mishap, Mishap)}
    for mishap in MISHAPS:
        held_by = (PROJECT / "tests" / "acceptance" / mishap.held_by).read_text(encoding="utf-8")
        assert f"{names[id(mishap)]}.is_said_in(" in held_by


def test_a_bad_file_is_told_and_changes_nothing(story: Installation) -> None:
    inbox = story.settings().inbox_dir
    inbox.mkdir(exist_ok=True)
    (inbox / "twice.csv").write_text("Givebutter Contact ID,First Name\n1,Ada\n2,Ben\n1,Ada\n", encoding="utf-8")
    before = story.table("raw_gb_full_contacts")
    told = story.call("inbox")
    assert told.exit_code == 1
    assert BAD_FILE.is_said_in(told.output), told.output
    assert story.table("raw_gb_full_contacts").equals(before)
    assert (inbox / "rejected" / "twice.csv").exists()


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(tmp_path / "mentors.duckdb")
    warehouse.replace("mentor_aliases", links("1"), year=2025)
    before = warehouse.read("mentor_aliases")
    with other_process("write_on_full_disk", warehouse) as process:
        said, _ = process.communicate("go on\n")
    assert FULL_WAREHOUSE.is_said_in(said), said
    assert warehouse.read("mentor_aliases").equals(before)
