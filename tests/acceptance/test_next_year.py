"""Scenario 28: the next year is one more file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mentor_pipeline.settings import load_program_year, packaged_config_dir
from mentor_pipeline.simulator import World
from mentor_pipeline.tables import TABLES
from tests.acceptance.installation import installed
from tests.builders import YEAR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from tests.acceptance.installation import Installation

NEXT = YEAR + 1
CHANGES = {
    "year = 2025": "year = 2026",
    "event_date = 2025-11-09": "event_date = 2026-11-08",
    "SWABUGA2025": "SWABUGA2026",
    "Mentors 2025": "Mentors 2026",
    "Dropped 25": "Dropped 26",
    "250685983663169": "260685983663169",
    "250754977634066": "260754977634066",
    "252935716589069": "262935716589069",
    "252988541198170": "262988541198170",
}


class NextYear(NamedTuple):
    there: Installation
    before: dict[str, pl.DataFrame]
    after: dict[str, pl.DataFrame]


def year_file(**more: str) -> str:
    """The packaged year file, changed as an operator would for the next year."""
    text = (packaged_config_dir() / f"{YEAR}.toml").read_text(encoding="utf-8")
    for old, new in {**CHANGES, **more}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def rows_of_2025(there: Installation) -> dict[str, pl.DataFrame]:
    return {
        name: there.table(name).filter(year=YEAR).sort(table.key)
        for name, table in TABLES.items()
        if table.has_year and table.name != "sync_configs"
    }


@pytest.fixture(scope="module")
def config_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configured") / "config"
    shutil.copytree(packaged_config_dir(), folder)
    (folder / f"{NEXT}.toml").write_text(year_file(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def next_year(story: Installation, config_dir: Path) -> Iterator[NextYear]:
    """The same Givebutter a year later: its contacts, a new campaign, new forms, one mentor new and one back again."""
    before = rows_of_2025(story)
    world = World.empty(load_program_year(config_dir / f"{NEXT}.toml"))
    world.adopt(story.world.contacts.values())
    world.last_ids = story.world.last_ids  # neither service gives an id twice
    world.campaign.id += 1_000
    # Somebody whose contact still carries the id of the year before.
    linked = story.table("mentors").filter(gb_match_status="linked", gb_match_method="external_id", dropped=False)
    back = linked.sort("mn_id").row(0, named=True)
    world.submit(
        "signup", mn_id="MN7001", name={"first": back["first_name"], "last": back["last_name"]}, phone=back["phone"],
        personal_email=back["personal_email"], uga_email=back["uga_email"],
    )  # fmt: skip
    world.submit(
        "signup", mn_id="MN7002", name="Wren Alder", phone="706-555-0142", personal_email="wren.alder@example.com",
        uga_email="wren.alder@uga.edu",
    )  # fmt: skip
    with installed(story.data_dir, world, year=NEXT, config_dir=config_dir) as there:
        there.sync()
        yield NextYear(there, before, rows_of_2025(there))


def test_a_run_of_the_new_year_leaves_the_old_years_rows_as_they_were(next_year: NextYear) -> None:
    assert next_year.before["mentors"].height > 100
    for name, rows in next_year.before.items():
        assert next_year.after[name].equals(rows), name


def test_the_new_year_begins_with_its_own_mentors(next_year: NextYear) -> None:
    mentors = next_year.there.table("mentors").filter(year=NEXT)
    assert set(mentors["mn_id"]) == {"7001", "7002"}
    changes = next_year.there.table("mn_changes").filter(year=NEXT)
    assert set(changes.select("mn_id", "change_type").iter_rows()) == {("7001", "new_mentor"), ("7002", "new_mentor")}


def test_a_mentor_of_last_year_is_found_again(next_year: NextYear) -> None:
    mentors = next_year.there.table("mentors")
    found = dict(mentors.filter(year=NEXT).select("mn_id", "gb_match_status").iter_rows())
    assert found == {"7001": "linked", "7002": "new"}
    (contact_id,) = mentors.filter(year=NEXT, mn_id="7001")["gb_contact_id"]
    assert contact_id in set(mentors.filter(year=YEAR)["gb_contact_id"])
    warned = next_year.there.table("sync_warnings").filter(year=NEXT, type="external_id_mismatch")
    assert warned["mn_id"].to_list() == ["7001"]


def test_the_old_year_can_be_asked_for_as_before(next_year: NextYear, story: Installation) -> None:
    assert story.call_json("status")["mentors"] == next_year.before["mentors"].height
    assert next_year.there.call_json("status")["mentors"] == 2


def test_the_newest_year_is_taken_when_none_is_set(next_year: NextYear, story: Installation) -> None:
    there = next_year.there
    there.variables["MENTOR_PIPELINE_YEAR"], kept = "", there.variables["MENTOR_PIPELINE_YEAR"]
    assert there.settings().program_year().year == NEXT
    there.variables["MENTOR_PIPELINE_YEAR"] = kept


def test_a_bad_year_file_is_refused_with_every_fault_named(next_year: NextYear, config_dir: Path) -> None:
    bad = year_file(
        **{
            "fundraising_goal = 75": "fundraising_goal = -5",
            'timezone = "America/New_York"': 'timezone = "America/Athens"',
            "auto_resolve_gap = 100": "auto_resolve_gapp = 100",
            'from = "shirt_size"': 'from = "shoe_size"',
        }
    )
    good = (config_dir / f"{NEXT}.toml").read_text(encoding="utf-8")
    before = next_year.there.counts()
    (config_dir / f"{NEXT}.toml").write_text(bad, encoding="utf-8")
    try:
        refused = [next_year.there.call(*words) for words in (("sync",), ("config", "check"), ("export",))]
    finally:
        (config_dir / f"{NEXT}.toml").write_text(good, encoding="utf-8")
    for result in refused:
        assert result.exit_code == 2
        for fault in ("2026.toml", "fundraising_goal", "jotform.timezone", "auto_resolve_gapp", "shoe_size"):
            assert fault in result.output.replace("\n", "")
        assert "Traceback" not in result.output
    assert next_year.there.counts() == before
