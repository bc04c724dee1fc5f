"""Scenarios 7, 8 and 12: a hundred close calls, decided one by one and in a spreadsheet, and never asked again."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import APPEND_ONLY, installed
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres

pytestmark = pytest.mark.slow

COUNT: Final = 100
SURE: Final = "0500"


class Decided(NamedTuple):
    there: Installation
    twins: dict[str, tuple[int, int]]
    at_first: dict[str, pl.DataFrame]
    refusals: list[Result]
    after_one: dict[str, pl.DataFrame]
    after_all: dict[str, pl.DataFrame]
    second_import: dict[str, Any]
    after_sync: dict[str, pl.DataFrame]


def first_name(number: int) -> str:
    """A name of its own for everybody, with letters only."""
    return f"Ada{chr(97 + number // 26)}{chr(97 + number % 26)}"


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, database: Postgres | None) -> Iterator[Decided]:
    world = World.empty(program())
    twins = {}
    for number in range(COUNT):
        mn_id, first, last = f"{number + 1:04d}", first_name(number), "Alder"
        phone, email = f"70655501{number:02d}", f"{first.lower()}@example.com"
        world.submit(
            "signup", mn_id=mn_id, name={"first": first, "last": last}, phone=phone, personal_email=email,
            uga_email=f"{first.lower()}@uga.edu",
        )  # fmt: skip
        same = {"first_name": first, "last_name": last, "phones": [f"+1{phone}"], "tags": ["Mentors 2025"]}
        twins[mn_id] = world.add_contact(**same), world.add_contact(**same)
    world.submit("signup", mn_id=SURE, name={"first": "Wren", "last": "Birch"}, phone="7065550299")
    world.add_contact(first_name="Wren", last_name="Birch", phones=["+17065550299"])
    folder = tmp_path_factory.mktemp("decisions")
    with installed(folder / "data", world, postgres=database) as there:
        there.sync()
        at_first = tables(there)
        yield told(there, twins, at_first, folder)


def tables(there: Installation) -> dict[str, pl.DataFrame]:
    names = ("sync_conflicts", "mentors", "mn_gb_import", "mn_gb_import_held", "contact_archive_plan", *APPEND_ONLY)
    return {name: there.table(name) for name in names}


def told(there: Installation, twins: Any, at_first: Any, folder: Path) -> Decided:
    first = conflict_of(at_first, "0001")
    one, chosen = first["id"], json.loads(first["option_b"])["value"]
    assert there.call("conflicts", "resolve", one, "b", "--by", "Ada", "--note", "asked her").exit_code == 0
    after_one = tables(there)
    other = conflict_of(at_first, "0002")["id"]
    refusals = [
        there.call("conflicts", "resolve", *words)
        for words in (
            (one, "a"), ("conflict-unknown", "a"), (other, "custom", "999999999"), (other, "custom", str(chosen)),
            (other, "custom"),
        )
    ]  # fmt: skip
    assert there.table("operator_actions").height == 1
    sheet = folder / "conflicts.csv"
    assert there.call_json("conflicts", "export", str(sheet))["conflicts"] == COUNT - 1
    fill_in(sheet)
    assert there.call_json("conflicts", "import", str(sheet))["is_applied"] is False
    assert there.table("operator_actions").height == 1
    assert there.call_json("conflicts", "import", str(sheet), "--yes", "--by", "Ben")["is_applied"] is True
    after_all = tables(there)
    second_import = there.call_json("conflicts", "import", str(sheet), "--yes")
    there.sync()
    return Decided(there, twins, at_first, refusals, after_one, after_all, second_import, tables(there))


def fill_in(sheet: Path) -> None:
    """Everybody gets option a, but 0099 is skipped and 0100 gets neither."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    special = {"0099": ("skip", ""), "0100": ("custom", "none")}
    for row in rows:
        # A spreadsheet takes the zeros off an id; the conflict's id is what counts.
        row["decision"], row["custom_value"] = special.get(row["mn_id"], ("a", ""))
        row["mn_id"] = row["mn_id"].lstrip("0")
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def conflict_of(at: dict[str, pl.DataFrame], mn_id: str) -> dict[str, Any]:
    return at["sync_conflicts"].row(by_predicate=pl.col("mn_id") == mn_id, named=True)


def mentor_of(at: dict[str, pl.DataFrame], mn_id: str) -> dict[str, Any]:
    return at["mentors"].row(by_predicate=pl.col("mn_id") == mn_id, named=True)


def test_a_hundred_close_calls_are_a_hundred_rows_and_everybody_else_goes_on(decided: Decided) -> None:
    conflicts = decided.at_first["sync_conflicts"]
    assert set(conflicts.select("conflict_type", "status").iter_rows()) == {("contact_selection", "pending")}
    assert conflicts["mn_id"].n_unique() == conflicts.height == COUNT
    assert set(decided.at_first["mn_gb_import_held"]["reason"]) == {"contact_conflict"}
    assert decided.at_first["mn_gb_import"]["mn_id"].to_list() == [SURE]


def test_a_decision_links_the_contact_and_plans_the_other_for_archive(decided: Decided) -> None:
    option_b = json.loads(conflict_of(decided.at_first, "0001")["option_b"])["value"]
    mentor = mentor_of(decided.after_one, "0001")
    assert (mentor["gb_match_status"], mentor["gb_match_method"]) == ("linked", "decision")
    assert mentor["gb_contact_id"] == option_b
    (other,) = set(decided.twins["0001"]) - {option_b}
    plan = decided.after_one["contact_archive_plan"].row(by_predicate=pl.col("contact_id") == other, named=True)
    assert (plan["mn_id"], plan["winner_contact_id"], plan["action"]) == ("0001", option_b, "archive")
    assert set(decided.after_one["mn_gb_import"]["mn_id"]) == {"0001", SURE}


def test_a_decision_is_kept_with_who_when_and_why(decided: Decided) -> None:
    (action,) = decided.after_one["operator_actions"].to_dicts()
    conflict = conflict_of(decided.after_one, "0001")
    assert (action["actor"], action["note"], action["target_id"]) == ("Ada", "asked her", conflict["id"])
    assert (conflict["status"], conflict["user_decision"], conflict["resolved_by"]) == ("resolved", "b", "Ada")
    assert conflict["resolved_at"] == action["at"]


def test_a_decision_is_a_change_of_its_mentor_only(decided: Decided) -> None:
    known = decided.at_first["mn_changes"]
    changes = decided.after_one["mn_changes"].join(known, on="id", how="anti")
    assert set(changes["mn_id"]) == {"0001"}
    assert {"conflict_resolved", "contact_linked"} <= set(changes["change_type"])


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (0, "decided already: b, by Ada"),
        (1, "There is no conflict"),
        (2, "no such contact"),
        (3, "is mentor 0001's"),
        (4, "needs a value"),
    ],
)
def test_nonsense_is_refused_with_the_reason(decided: Decided, number: int, why: str) -> None:
    result = decided.refusals[number]
    assert result.exit_code == 1
    assert why in " ".join(result.output.split())


def test_a_sheet_decides_the_rest(decided: Decided) -> None:
    status = decided.after_all["sync_conflicts"].group_by("status").len()
    assert dict(status.iter_rows()) == {"resolved": COUNT - 1, "skipped": 1}
    linked = decided.after_all["mentors"].filter(gb_match_status="linked")
    assert linked.height == COUNT - 2 + 1
    for mn_id, pair in decided.twins.items():
        mentor = mentor_of(decided.after_all, mn_id)
        if mn_id == "0100":
            assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("new", None)
        elif mn_id != "0099":
            assert mentor["gb_contact_id"] in pair
    assert set(decided.after_all["mn_gb_import_held"]["mn_id"]) == {"0099"}


def test_the_same_sheet_again_records_nothing(decided: Decided) -> None:
    assert {ruling["state"] for ruling in decided.second_import["rulings"]} == {"unchanged"}
    assert decided.second_import["is_applied"] is False


def test_decided_conflicts_do_not_come_back(decided: Decided) -> None:
    before, after = decided.after_all, decided.after_sync
    columns = ["id", "status", "user_decision", "custom_value", "resolved_by", "resolved_at"]
    assert (
        after["sync_conflicts"].select(columns).sort("id").equals(before["sync_conflicts"].select(columns).sort("id"))
    )
    for name in APPEND_ONLY:
        assert after[name].height == before[name].height, name


def test_after_it_all_givebutter_refuses_nobody(decided: Decided) -> None:
    (file,) = decided.there.export()
    imported = decided.there.world.import_csv(file)
    assert imported.refused == []
    assert len(imported.updated) == COUNT - 2 + 1
