"""A mentor who asked to be forgotten is gone from every table, and stays so although both services still have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from mentor_pipeline.cli import backup  # noqa: F401 - it adds its commands to `app`
from mentor_pipeline.tables import TABLES
from tests.acceptance.installation import done

if TYPE_CHECKING:
    from tests.acceptance.installation import Installation

EVERYTHING = {"ops": {"raw_gb_full_contacts": {"config": {"source": "full"}}}}


def naming(there: Installation, words: list[str]) -> dict[str, list[str]]:
    """Which of the words stand in which table."""
    texts = {name: there.table(name).write_json().casefold() for name in TABLES}
    return {name: found for name, text in texts.items() if (found := [word for word in words if word in text])}


def own_words(there: Installation, mentor: dict[str, Any]) -> list[str]:
    """E-mails and phone of a mentor, which nobody else has."""
    words = [mentor[name].casefold() for name in ("phone", "personal_email", "uga_email") if mentor[name]]
    others = there.table("raw_gb_full_contacts").filter(pl.col("contact_id") != mentor["gb_contact_id"]).write_json()
    others += there.table("mentors").filter(pl.col("mn_id") != mentor["mn_id"]).write_json()
    return [word for word in words if word not in others.casefold()]


@pytest.mark.slow
def test_a_forgotten_mentor_does_not_come_back(story: Installation) -> None:
    candidates = story.table("mentors").filter(
        gb_match_status="linked", campaign_member=True, setup_done=True, training_signup_done=True
    )
    mentor = next(one for one in candidates.iter_rows(named=True) if len(own_words(story, one)) == 3)
    words, mn_id = own_words(story, mentor), mentor["mn_id"]
    story.call_json("edit", mn_id, "notes", f"call {words[1]}")
    story.export(everything=True)
    before = naming(story, words)
    assert {"raw_mn_signups", "raw_gb_full_contacts", "mentor_history", "operator_actions", "mentors"} <= set(before)

    file = str(story.data_dir.parent / "before.zip")
    story.call_json("backup", file)
    other = next(one["mn_id"] for one in candidates.iter_rows(named=True) if one["mn_id"] != mn_id)
    story.call_json("edit", other, "shirt_size", "4XL")

    shown = story.call_json("forget", mn_id)
    assert (shown["is_applied"], naming(story, words)) == (False, before)
    said = story.call_json("forget", mn_id, "--yes", "--by", "Ada")
    assert (said["is_applied"], said["removed"]) == (True, shown["removed"])
    assert [path.rpartition("/")[2] for path in said["files"] if path.endswith(".csv")]
    assert naming(story, words) == {}

    contacts = story.counts()["raw_gb_full_contacts"]
    done(story.run("sync", EVERYTHING))
    assert naming(story, words) == {}
    for name, spec in TABLES.items():
        if spec.has_year and "mn_id" in spec.schema and name != "forgotten":
            assert story.table(name).filter(mn_id=mn_id).is_empty(), name
    assert story.counts()["raw_gb_full_contacts"] == contacts
    settled = story.append_only()
    done(story.run("sync", EVERYTHING))
    assert all(frame.equals(settled[name]) for name, frame in story.append_only().items())

    restored = story.call_json("restore", file, "--yes", "--by", "Ben")["restore"]
    assert (restored["forgotten"], restored["kept"]["operator_actions"]) == ([mn_id], 1)
    assert naming(story, words) == {}
    done(story.run("sync", EVERYTHING))
    assert naming(story, words) == {}
    assert story.table("mentors").filter(mn_id=mn_id).is_empty()
    assert story.mentor(other)["shirt_size"] == "4XL"  # decided after the backup

    told = story.call("forget", mn_id)
    assert told.exit_code == 1
    assert f"Mentor {mn_id} was forgotten on" in told.stderr
