"""The scores of the accuracy bench: what counts as right, wrong, found."""

from __future__ import annotations

import json

import polars as pl
import pytest

from bench.accuracy.__main__ import missed
from bench.accuracy.worlds import Score, as_json, scored, together, total
from mentor_pipeline.simulator import MentorClass, MentorTruth
from mentor_pipeline.tables import TABLES


def tables(
    *,
    linked: dict[str, int | None],
    conflicts: tuple[tuple[str, str], ...] = (),
    shown: tuple[tuple[str, int], ...] = (),
) -> dict[str, pl.DataFrame]:
    ids = list(linked)
    return {
        "mentors": pl.DataFrame(
            {"mn_id": ids, "signup_submission_id": [f"s{one}" for one in ids], "gb_contact_id": list(linked.values())},
            schema={"mn_id": pl.String, "signup_submission_id": pl.String, "gb_contact_id": pl.Int64},
        ),
        "contact_links": pl.DataFrame({"mn_id": ids, "candidate_count": [2 if linked[one] else 0 for one in ids]}),
        "sync_conflicts": pl.DataFrame(
            [(mn_id, kind, "pending") for mn_id, kind in conflicts],
            schema={"mn_id": pl.String, "conflict_type": pl.String, "status": pl.String},
            orient="row",
        ),
        "mn_gb_import_held": TABLES["mn_gb_import_held"].empty(),
        "sync_warnings": pl.DataFrame(
            [
                (mn_id, "low_confidence", False, json.dumps({"contact_id": contact_id, "evidence": ["a name"]}))
                for mn_id, contact_id in shown
            ],
            schema={"mn_id": pl.String, "type": pl.String, "resolved": pl.Boolean, "context": pl.String},
            orient="row",
        ),
    }


def truth(mn_id: str, class_: MentorClass = MentorClass.LINKED, **known: object) -> MentorTruth:
    return MentorTruth(f"s{mn_id}", mn_id, class_, **known)  # type: ignore[arg-type]


def test_links_are_right_wrong_or_missing() -> None:
    truths = [truth("1", contact_id=7), truth("2", contact_id=8), truth("3", contact_id=9), truth("4")]
    (score,) = scored(truths, tables(linked={"1": 7, "2": 9, "3": None, "4": 6})).values()
    assert (score.linked_right, score.linked_wrong, score.not_linked, score.several) == (1, 2, 1, 3)
    assert (score.decided, score.holds_right) == (1, 4)


def test_conflicts_are_found_missing_or_too_many() -> None:
    truths = [truth("1", conflict="contact_selection"), truth("2", conflict="phone_mismatch"), truth("3")]
    found = tables(
        linked={"1": None, "2": 7, "3": 8}, conflicts=(("1", "contact_selection"), ("3", "contact_selection"))
    )
    (score,) = scored(truths, found).values()
    assert (score.conflicts, score.conflicts_found, score.conflicts_besides) == (2, 1, 1)
    assert (score.several, score.several_decided) == (2, 1)


def test_suggestions_are_right_when_the_contact_is_the_mentors_own() -> None:
    truths = [truth("1", MentorClass.NEAR_MISS, review=[7]), truth("2", MentorClass.NAMESAKE)]
    scores = scored(truths, tables(linked={"1": None, "2": None}, shown=(("1", 7), ("1", 8), ("2", 9))))
    assert (scores["near_miss"].precision, scores["near_miss"].recall) == (0.5, 1)
    assert (scores["namesake"].precision, scores["namesake"].recall) == (0, None)
    whole = total(together([scores, scores]))
    assert (whole.suggestions, whole.suggestions_right, whole.findable) == (6, 2, 2)


@pytest.mark.parametrize(
    ("worse", "goal"),
    [
        ({"linked_wrong": 1}, "no wrong link"),
        ({"conflicts_found": 9}, "all conflicts found, and none besides"),
        ({"decided": 0.8}, "90 % of those with several candidates decided"),
        ({"precision": 0.94}, "95 % of the suggestions right"),
    ],
)
def test_a_missed_goal_is_told(worse: dict[str, float], goal: str) -> None:
    good = {**as_json({"": Score(conflicts=10, conflicts_found=10)})[""], "decided": 1, "precision": 1}
    assert missed(good) == []
    assert missed({**good, **worse}) == [goal]
