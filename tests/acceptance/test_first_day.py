"""Scenarios 1, 4 and 7: the first day of a year, until Givebutter has imported the file and nothing moves any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import MentorClass

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.simulator import MentorTruth
    from mentor_pipeline.simulator.csv_import import ImportResult
    from tests.acceptance.installation import Installation

ERROR_OF_FLAW = {"bad_phone": "invalid_phone", "bad_email": "invalid_email"}
ERROR_OF_HOLD = {"placeholder_mn_id": "missing_mn_id", "shared_contact": "multiple_mentors_one_contact"}
NOT_ON_THE_FIRST_DAY = {
    *("mentor_aliases", "csv_import_log", "contact_archive_log", "contact_release_plan", "tag_log"),
    *("operator_actions", "sent_notes", "outreach_messages", "forgotten"),
}
"""Tables of which a first sync has nothing to tell: what people do, files, ids that change, campaigns that are off."""


class Day(NamedTuple):
    """What came of the first day, step by step."""

    there: Installation
    file: Path
    imported: ImportResult
    rows: pl.DataFrame
    after_import: dict[str, pl.DataFrame]
    second_changes: pl.DataFrame
    after_third_sync: dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def day(story: Installation) -> Day:
    """Export, Givebutter's import, and two more syncs."""
    rows = story.table("mn_gb_import")
    (file,) = story.export()
    imported = story.world.import_csv(file)
    second = story.sync()
    after_import = story.append_only()
    story.sync()
    changes = story.table("mn_changes").filter(run_id=second.run_id)
    return Day(story, file, imported, rows, after_import, changes, story.append_only())


def by_mn_id(there: Installation) -> dict[str, MentorTruth]:
    """The truth by the id that each mentor goes by (placeholders too)."""
    ids = dict(there.table("signups").select("submission_id", "mn_id").iter_rows())
    return {ids[submission_id]: truth for submission_id, truth in there.world.truth.items()}


def of_class(there: Installation, *classes: MentorClass) -> dict[str, MentorTruth]:
    found = {mn_id: truth for mn_id, truth in by_mn_id(there).items() if truth.class_ in classes}
    assert found, f"the world has nobody of {classes}"
    return found


# -- scenario 1: a fresh start ---------------------------------------------------------------------------------------


def test_every_table_is_filled(synced: Installation) -> None:
    counts = synced.counts()
    assert {name for name, rows in counts.items() if not rows} <= NOT_ON_THE_FIRST_DAY
    assert counts["raw_gb_full_contacts"] == len(synced.world.active_ids())
    assert counts["raw_gb_campaign_members"] == len(synced.world.members)


def test_mentors_are_the_people_who_signed_up(synced: Installation) -> None:
    mentors = synced.table("mentors")
    assert set(mentors["signup_submission_id"]) == set(synced.world.truth)
    assert mentors.height == len(synced.world.truth)
    told = dict(mentors.filter(~pl.col("is_placeholder")).select("signup_submission_id", "mn_id").iter_rows())
    assert told == {truth.submission_id: truth.mn_id for truth in synced.world.truth.values() if truth.mn_id}


def test_each_mentor_is_linked_to_the_right_contact(synced: Installation) -> None:
    links = dict(synced.table("mentors").select("mn_id", "gb_contact_id").iter_rows())
    certain = {mn_id: truth for mn_id, truth in by_mn_id(synced).items() if truth.hold in {None, "placeholder_mn_id"}}
    assert {mn_id: links[mn_id] for mn_id in certain} == {mn_id: truth.contact_id for mn_id, truth in certain.items()}


def test_each_mentor_has_the_right_campaign_page(synced: Installation) -> None:
    pages = dict(synced.table("mentors").select("mn_id", "gb_member_id").iter_rows())
    world = synced.world
    # A page without phone and e-mail can only be found by its name, so it may stay without a mentor.
    told = {
        mn_id: truth.member_id
        for mn_id, truth in by_mn_id(synced).items()
        if truth.member_id is None or world.members[truth.member_id].email or world.members[truth.member_id].phone
    }
    assert {mn_id: pages[mn_id] for mn_id in told} == told


def test_the_run_is_in_the_log(synced: Installation) -> None:
    (logged,) = synced.table("sync_log").to_dicts()
    assert (logged["sync_type"], logged["status"], logged["triggered_by"]) == ("initialization", "completed", "Ada")
    assert logged["error_message"] is None
    assert json.loads(logged["records"])["mentors"] == len(synced.world.truth)


def test_there_is_no_error_that_the_data_does_not_deserve(synced: Installation) -> None:
    deserved = {
        (kind, mn_id)
        for mn_id, truth in by_mn_id(synced).items()
        for kind in [ERROR_OF_HOLD.get(truth.hold or ""), *(ERROR_OF_FLAW.get(flaw) for flaw in truth.flaws)]
        if kind
    }
    errors = synced.table("sync_errors").filter(~pl.col("resolved"))
    assert set(errors.select("type", "mn_id").iter_rows()) == deserved


def test_conflicts_are_those_of_the_data(synced: Installation) -> None:
    deserved = {(mn_id, truth.conflict) for mn_id, truth in by_mn_id(synced).items() if truth.conflict}
    conflicts = synced.table("sync_conflicts")
    assert set(conflicts.select("mn_id", "conflict_type").iter_rows()) == deserved
    assert set(conflicts["status"]) == {"pending"}


def test_who_is_held_and_why_is_told(synced: Installation) -> None:
    held = dict(synced.table("mn_gb_import_held").select("mn_id", "reason").iter_rows())
    assert held == {mn_id: truth.hold for mn_id, truth in by_mn_id(synced).items() if truth.hold}
    assert set(synced.table("mn_gb_import")["mn_id"]) == set(by_mn_id(synced)) - set(held)


def test_givebutter_refuses_no_row_of_the_import_file(day: Day) -> None:
    assert day.imported.refused == []
    taken = [*day.imported.created, *day.imported.updated, *day.imported.merged]
    assert 0 < len(taken) <= day.rows.height
    beside = json.loads(day.file.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside["rows"] == len(taken)


def test_every_contact_that_was_created_is_linked_by_the_next_sync(day: Day) -> None:
    assert day.imported.created
    linked = day.there.table("mentors").filter(gb_match_status="linked")
    assert set(day.imported.created) <= set(linked["gb_contact_id"])
    told = day.second_changes.filter(change_type="contact_linked")
    assert {int(value) for value in told["new_value"]} >= set(day.imported.created)


def test_a_third_sync_adds_nothing(day: Day) -> None:
    for name, rows in day.after_third_sync.items():
        assert rows.equals(day.after_import[name]), name


def test_after_the_import_nothing_is_left_to_write(day: Day) -> None:
    assert day.there.export() == []


def test_a_change_is_synced_once_givebutter_is_seen_to_hold_it(day: Day) -> None:
    changes = day.there.table("mn_changes")
    links = changes.filter(change_type="contact_linked")
    assert links["synced_to_gb"].all()


# -- scenario 4: a returning mentor ----------------------------------------------------------------------------------


def test_a_returning_mentors_contact_is_updated_not_created_again(day: Day) -> None:
    returning = of_class(day.there, MentorClass.RETURNING_OLD_ID, MentorClass.RETURNING_NO_ID)
    for mn_id, truth in returning.items():
        assert truth.contact_id in day.imported.updated
        assert day.there.world.contact(truth.contact_id).external_id == mn_id
        assert day.there.mentor(mn_id)["gb_contact_id"] == truth.contact_id


def test_an_old_external_id_is_told(day: Day) -> None:
    warned = day.there.table("sync_warnings").filter(type="external_id_mismatch")
    assert set(of_class(day.there, MentorClass.RETURNING_OLD_ID)) <= set(warned["mn_id"])
    assert warned["resolved"].all()  # by now Givebutter has this year's id


# -- scenario 7: two equal contacts ----------------------------------------------------------------------------------


def test_two_equal_contacts_are_one_conflict_with_a_recommendation(synced: Installation) -> None:
    conflicts = synced.table("sync_conflicts").filter(conflict_type="contact_selection")
    for mn_id, truth in of_class(synced, MentorClass.CLOSE_CALL).items():
        (conflict,) = conflicts.filter(mn_id=mn_id).to_dicts()
        a, b = json.loads(conflict["option_a"]), json.loads(conflict["option_b"])
        assert {a["value"], b["value"]} == set(truth.review)
        assert all(
            {"source", "emails", "phones", "tags", "completeness", "score_parts"} <= option.keys() for option in (a, b)
        )
        assert conflict["recommended_option"] == "a"
        assert len(conflict["recommendation_reason"]) > 20


def test_the_mentor_of_a_conflict_goes_on_without_a_contact(synced: Installation) -> None:
    for mn_id in of_class(synced, MentorClass.CLOSE_CALL):
        mentor = synced.mentor(mn_id)
        assert (mentor["gb_match_status"], mentor["gb_contact_id"]) == ("conflict", None)
        assert mentor["status_category"] is not None


def test_a_conflict_holds_its_own_row_and_nobody_elses(day: Day) -> None:
    contacts = {
        contact_id for truth in of_class(day.there, MentorClass.CLOSE_CALL).values() for contact_id in truth.review
    }
    assert not contacts & {*day.imported.updated, *day.imported.merged}
    sure = {mn_id for mn_id, truth in by_mn_id(day.there).items() if truth.hold is None}
    assert set(day.rows["mn_id"]) == sure


def test_a_conflict_is_one_row_however_often_it_is_seen(day: Day, synced: Installation) -> None:
    seen_first = synced.table("sync_conflicts").filter(conflict_type="contact_selection")
    seen_again = day.there.table("sync_conflicts").filter(conflict_type="contact_selection")
    assert set(seen_again["id"]) == set(seen_first["id"])
    assert set(seen_again["status"]) == {"pending"}
