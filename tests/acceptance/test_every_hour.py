"""Scenario 2: an hour in which five forms come in and three contacts are edited, and one in which nothing happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import MentorClass
from tests.acceptance.installation import APPEND_ONLY

if TYPE_CHECKING:
    from tests.acceptance.installation import Installation


CARRYING_THE_ID = {MentorClass.LINKED, MentorClass.LAST_YEAR, MentorClass.MASS_MAIL}


class Hours(NamedTuple):
    """Who did what, what the next sync made of it, and everything before and after the one that followed."""

    who: dict[str, str]
    changes: pl.DataFrame
    there: Installation
    counts: tuple[dict[str, int], dict[str, int]]
    append_only: tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]
    files: tuple[dict[str, Any], dict[str, Any]]


def plain_mentors(there: Installation) -> list[dict[str, Any]]:
    """Linked mentors with nothing odd about them, whom no partner wish concerns."""
    plain = [t.mn_id for t in there.world.truth.values() if t.class_ in CARRYING_THE_ID and not t.flaws]
    wishes = there.table("partner_matches")
    busy = {*wishes["mn_id"], *wishes["partner_mn_id"].drop_nulls()}
    found = there.table("mentors").filter(pl.col("mn_id").is_in(plain), ~pl.col("mn_id").is_in(sorted(busy)))
    return found.sort("mn_id").to_dicts()


def files_of(there: Installation) -> dict[str, Any]:
    exports = there.settings().exports_dir
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in exports.iterdir()}


@pytest.fixture(scope="module")
def hours(story: Installation) -> Hours:
    world, mentors = story.world, plain_mentors(story)
    story.export()
    no_setup = next(m for m in mentors if not m["setup_done"] and not m["campaign_member"])
    no_training = next(m for m in mentors if not m["training_signup_done"] and m is not no_setup)
    others = [m for m in mentors if m["mn_id"] not in {no_setup["mn_id"], no_training["mn_id"]}]
    wisher, corrected, renamed, dropped, moved = others[:5]

    world.submit(
        "signup", mn_id="MN0901", name="Wren Alder", phone="706-555-0142",
        personal_email="wren.alder@example.com", uga_email="wren.alder@uga.edu",
    )  # fmt: skip
    world.submit("setup", mn_id=no_setup["mn_id"], phone=no_setup["phone"], email=no_setup["uga_email"])
    world.submit("training", mn_id=no_training["mn_id"], phone=no_training["phone"], email=no_training["uga_email"])
    shift = "Option 1" if wisher["shift_preference"] != "Option 1" else "Option 2"
    world.submit("partner", mn_id=wisher["mn_id"], phone=wisher["phone"], shift_preference=shift)
    world.submit(  # signs up once more, with another size
        "signup", mn_id=corrected["mn_id"], name={"first": corrected["first_name"], "last": corrected["last_name"]},
        prefix=corrected["preferred_name"], phone=corrected["phone"], personal_email=corrected["personal_email"],
        uga_email=corrected["uga_email"], shirt_size="XXL",
    )  # fmt: skip
    world.edit_contact(renamed["gb_contact_id"], prefix="Birdie")
    world.add_tags(dropped["gb_contact_id"], ["Dropped 25"])
    emails = [f"new.{moved['personal_email']}", moved["uga_email"]]
    world.edit_contact(moved["gb_contact_id"], emails=emails)

    first = story.sync()
    changes = story.table("mn_changes").filter(run_id=first.run_id)
    counts, rows, files = story.counts(), story.append_only(), files_of(story)
    story.sync()
    named = {
        "new": "0901", "setup": no_setup["mn_id"], "training": no_training["mn_id"], "partner": wisher["mn_id"],
        "corrected": corrected["mn_id"], "renamed": renamed["mn_id"], "dropped": dropped["mn_id"],
        "moved": moved["mn_id"],
    }  # fmt: skip
    return Hours(named, changes, story, (counts, story.counts()), (rows, story.append_only()), (files, files_of(story)))


def told(hours: Hours, who: str) -> set[tuple[str, str | None]]:
    rows = hours.changes.filter(mn_id=hours.who[who])
    return set(rows.select("change_type", "field_name").iter_rows())


def values(hours: Hours, who: str, field: str) -> tuple[str | None, str | None]:
    return hours.changes.filter(mn_id=hours.who[who], field_name=field).select("old_value", "new_value").row(0)


def test_exactly_those_eight_people_changed(hours: Hours) -> None:
    assert len(set(hours.who.values())) == 8
    assert set(hours.changes["mn_id"]) == set(hours.who.values())


def test_a_new_sign_up_is_a_new_mentor(hours: Hours) -> None:
    assert told(hours, "new") == {("new_mentor", None)}


def test_the_setup_form_moves_the_status_on(hours: Hours) -> None:
    assert values(hours, "setup", "status_category") == ("needs_setup", "needs_page")
    assert {kind for kind, field in told(hours, "setup") if field == "status_category"} == {"status_change"}
    assert ("field_change", "setup_done") in told(hours, "setup")


def test_a_training_sign_up_is_told(hours: Hours) -> None:
    assert values(hours, "training", "training_signup_done") == ("false", "true")
    assert not {field for _, field in told(hours, "training")} & {"phone", "status_category", "training_done"}


def test_the_partner_forms_shift_wins(hours: Hours) -> None:
    shift = values(hours, "partner", "shift_preference")
    assert shift[0] != shift[1]
    assert hours.there.mentor(hours.who["partner"])["shift_preference"] == shift[1]


def test_a_newer_sign_up_of_the_same_person_counts(hours: Hours) -> None:
    assert values(hours, "corrected", "shirt_size")[1] == "XXL"
    assert "new_mentor" not in {kind for kind, _ in told(hours, "corrected")}
    assert not {field for _, field in told(hours, "corrected")} & {"phone", "personal_email", "full_name"}


def test_a_preferred_name_edited_in_givebutter_is_taken(hours: Hours) -> None:
    assert values(hours, "renamed", "preferred_name")[1] == "Birdie"
    assert {field for _, field in told(hours, "renamed")} <= {"preferred_name", "full_name", "status_text"}


def test_the_dropped_tag_drops_a_mentor_once(hours: Hours) -> None:
    assert [kind for kind in hours.changes.filter(mn_id=hours.who["dropped"])["change_type"] if kind == "dropped"] == [
        "dropped"
    ]
    assert hours.there.mentor(hours.who["dropped"])["status_category"] == "dropped"


def test_a_personal_email_edited_in_givebutter_is_taken(hours: Hours) -> None:
    old, new = values(hours, "moved", "personal_email")
    assert new == f"new.{old}"
    assert {field for _, field in told(hours, "moved")} == {"personal_email"}


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_second_run_right_after_adds_not_one_row(hours: Hours, table: str) -> None:
    before, after = (rows[table] for rows in hours.append_only)
    assert after.equals(before)


def test_a_second_run_changes_no_tables_size_but_the_logs(hours: Hours) -> None:
    before, after = hours.counts
    assert {name for name in after if after[name] != before[name]} == {"sync_log"}


def test_a_sync_rewrites_no_file(hours: Hours) -> None:
    before, after = hours.files
    assert before
    assert after == before
