"""Scenarios 14 to 16: edits in Givebutter and on the forms, one side or both, and what a person must decide of them."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl
import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import done, installed
from tests.builders import phone_of, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.simulator.csv_import import ImportResult
    from mentor_pipeline.simulator.records import Contact
    from tests.acceptance.installation import Installation
    from tests.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the whole story is played in the first test's setup

PROGRAM: Final = program()
SHIFT: Final = str(PROGRAM.custom_field_from("shift_preference"))
ONE_SIDE: Final = {
    "0001": ("preferred_name", "Birdie"),
    "0002": ("personal_email", "new@example.com"),
    "0003": ("shift_preference", "Option 3"),
}
"""Edited in Givebutter alone, and taken."""
PHONE, LAST_NAME = "0004", "0005"
NAME_TWICE, MAIL_TWICE, SHIFT_TWICE, PARTNER_TWICE, PHONE_TWICE = "0006", "0007", "0008", "0009", "0010"
DROPPED, MARKED, FALLEN, OLD = "0011", "0012", "0013", "0014"
COUNT: Final = 14
THEIRS: Final = {PHONE: "+17705550104", PHONE_TWICE: "+17705550110", OLD: "+17705550114"}
OURS: Final = {PHONE: phone_of(4), PHONE_TWICE: "+14045550110", OLD: phone_of(14)}
LAST_RUN: Final = 5


class State(NamedTuple):
    """What is known after a run; `held` is what Givebutter really holds then, by mn_id."""

    mentors: dict[str, dict[str, Any]]
    conflicts: pl.DataFrame
    warnings: pl.DataFrame
    held: dict[str, Contact]


class Both(NamedTuple):
    """The runs: before the edits, five syncs after them, with an import between the second and the third."""

    there: Installation
    runs: list[State]
    imported: list[ImportResult]
    sent: pl.DataFrame
    decided: set[str]


def state_of(there: Installation) -> State:
    held = {str(one.external_id): deepcopy(one) for one in there.world.contacts.values()}
    mentors = {row["mn_id"]: row for row in there.table("mentors").to_dicts()}
    return State(mentors, there.table("sync_conflicts"), there.table("sync_warnings"), held)


def people(world: World) -> dict[str, str]:
    """Everybody with a sign-up and a contact that agree, but for OLD; the submissions by mn_id."""
    submissions = {}
    for number in range(1, COUNT + 1):
        mn_id = f"{number:04d}"
        ago = timedelta(days=200 if mn_id == OLD else 2)
        first, last = f"Robin{chr(96 + number)}", f"Alder{chr(96 + number)}"
        emails = [f"{first}@example.com".lower(), f"{first}@uga.edu".lower()]
        submissions[mn_id] = world.submit(
            "signup", mn_id=mn_id, name={"first": first, "last": last}, phone=phone_of(number), prefix=first,
            personal_email=emails[0], uga_email=emails[1], shift_preference="Option 1",
            created_at=world.now() - ago,
        )  # fmt: skip
        world.add_contact(
            external_id=mn_id, first_name=first, last_name=last, prefix=first, emails=emails,
            phones=[THEIRS[OLD] if mn_id == OLD else phone_of(number)], tags=["Mentors 2025"],
            custom_fields={SHIFT: "Option 1"}, updated_at=world.now() - ago - timedelta(days=20),
        )  # fmt: skip
    submissions["partner"] = world.submit("partner", mn_id=PARTNER_TWICE, shift_preference="Option 1")
    for mn_id in (MARKED, FALLEN):
        name = f"Robin{chr(96 + int(mn_id))}"
        world.add_member(
            first_name=name, last_name=f"Alder{chr(96 + int(mn_id))}", email=f"{name}@example.com".lower(),
            raised=Decimal(60),
        )  # fmt: skip
    return submissions


def edit_both_sides(world: World, submissions: dict[str, str], held: dict[str, Contact]) -> None:
    def theirs(mn_id: str, **values: Any) -> None:
        world.edit_contact(held[mn_id].id, **values)

    theirs("0001", prefix="Birdie")
    theirs("0002", emails=["new@example.com", held["0002"].emails[1]])
    theirs("0003", custom_fields={SHIFT: "Option 3"})
    theirs(PHONE, phones=[THEIRS[PHONE]])
    theirs(LAST_NAME, last_name="Birch")
    for mn_id, on_the_form, in_givebutter in (
        (NAME_TWICE, {"prefix": "Rob"}, {"prefix": "Bobby"}),
        (MAIL_TWICE, {"personal_email": "form@example.com"}, {"emails": ["their@example.com", "their@uga.edu"]}),
        (SHIFT_TWICE, {"shift_preference": "Option 2"}, {"custom_fields": {SHIFT: "Option 3"}}),
        (PHONE_TWICE, {"phone": OURS[PHONE_TWICE]}, {"phones": [THEIRS[PHONE_TWICE]]}),
    ):
        answers: dict[str, Any] = on_the_form
        world.edit_submission(submissions[mn_id], **answers)
        theirs(mn_id, **in_givebutter)
    world.edit_submission(submissions["partner"], shift_preference="Option 2")
    theirs(PARTNER_TWICE, custom_fields={SHIFT: "Option 3"})
    world.add_tags(held[DROPPED].id, ["Dropped 25"])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, database: Postgres | None) -> Iterator[Both]:
    world = World.empty(PROGRAM)
    submissions = people(world)
    with installed(tmp_path_factory.mktemp("both") / "data", world, postgres=database) as there:
        there.sync()
        runs = [state_of(there)]

        def sync() -> None:
            there.sync()
            runs.append(state_of(there))

        edit_both_sides(world, submissions, runs[0].held)
        member_of = {mn_id: runs[0].mentors[mn_id]["gb_member_id"] for mn_id in (MARKED, FALLEN)}
        world.edit_member(member_of[FALLEN], raised=Decimal(20))
        act(there, edits=[{"mn_id": MARKED, "field": "fundraised_done", "value": "yes"}])
        sync()
        world.edit_member(member_of[MARKED], raised=Decimal(65))
        sync()
        sent, imported = pl.DataFrame(), []
        for path in there.export():
            sent = pl.read_csv(path, infer_schema=False)
            imported.append(world.import_csv(path))
        asked = runs[-1].conflicts.filter(conflict_type="fundraising_mismatch")
        choices = {MARKED: "b", FALLEN: "a"}
        act(
            there,
            decisions=[{"conflict_id": row["id"], "choice": choices[row["mn_id"]]} for row in asked.to_dicts()],
        )
        world.remove_tags(runs[0].held[DROPPED].id, ["Dropped 25"])
        sync()
        world.edit_member(member_of[MARKED], raised=Decimal(70))
        for _ in range(LAST_RUN - 3):
            sync()
        yield Both(there, runs, imported, sent, set(asked["id"]))


def act(there: Installation, **config: Any) -> None:
    done(there.run("apply_decisions", {"ops": {"operator_actions": {"config": config}}}))


def values(both: Both, mn_id: str, field: str) -> list[Any]:
    """A field after each run, the one before the edits left out."""
    return [state.mentors[mn_id][field] for state in both.runs[1:]]


def asked(both: Both, run: int, mn_id: str) -> list[tuple[str, str, str]]:
    """Type, status and severity of a mentor's conflicts after a run."""
    of_mentor = both.runs[run].conflicts.filter(mn_id=mn_id)
    return of_mentor.select("conflict_type", "status", "severity").rows()


def options(both: Both, mn_id: str) -> tuple[Any, Any]:
    (conflict,) = both.runs[-1].conflicts.filter(mn_id=mn_id).to_dicts()
    return json.loads(conflict["option_a"])["value"], json.loads(conflict["option_b"])["value"]


def changes(both: Both, mn_id: str) -> list[tuple[Any, ...]]:
    told = both.there.table("mn_changes").filter(pl.col("mn_id") == mn_id, pl.col("change_type") != "new_mentor")
    return told.sort("detected_at").select("change_type", "field_name", "old_value", "new_value").rows()


def row_sent(both: Both, mn_id: str) -> dict[str, Any]:
    return both.sent.row(by_predicate=pl.col("Contact External ID") == mn_id, named=True)


def test_no_row_is_refused(both: Both) -> None:
    (imported,) = both.imported
    assert imported.refused == []
    assert imported.updated


# -- 14: edited in Givebutter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mn_id", "field", "value"), [(mn_id, *edit) for mn_id, edit in ONE_SIDE.items()])
def test_what_is_both_sides_is_taken_from_givebutter_and_stays(both: Both, mn_id: str, field: str, value: str) -> None:
    assert both.runs[0].mentors[mn_id][field] != value
    assert values(both, mn_id, field) == [value] * LAST_RUN


@pytest.mark.parametrize("mn_id", ONE_SIDE)
def test_what_was_taken_is_in_givebutter_after_the_import(both: Both, mn_id: str) -> None:
    contact, value = both.runs[-1].held[mn_id], ONE_SIDE[mn_id][1]
    assert value in {contact.prefix, contact.emails[0], contact.custom_fields[SHIFT]}
    old = both.runs[0].held[mn_id]
    assert not (mn_id == "0002" and old.emails[0] in contact.emails)


@pytest.mark.parametrize(("mn_id", "field", "value"), [(mn_id, *edit) for mn_id, edit in ONE_SIDE.items()])
def test_an_edit_is_told_once(both: Both, mn_id: str, field: str, value: str) -> None:
    (told,) = [row for row in changes(both, mn_id) if row[1] == field]
    assert (told[0], told[3]) == ("field_change", value)


@pytest.mark.parametrize("mn_id", [PHONE, PHONE_TWICE])
def test_a_phone_edited_in_givebutter_is_asked_about_and_ours_is_kept(both: Both, mn_id: str) -> None:
    assert values(both, mn_id, "phone") == [OURS[mn_id]] * LAST_RUN
    for run in range(1, LAST_RUN + 1):
        assert asked(both, run, mn_id) == [("phone_mismatch", "pending", "medium")]
    assert options(both, mn_id) == (OURS[mn_id], THEIRS[mn_id])


@pytest.mark.parametrize("mn_id", [PHONE, PHONE_TWICE])
def test_an_undecided_phone_is_not_sent(both: Both, mn_id: str) -> None:
    assert row_sent(both, mn_id)["Primary Phone Number"] == THEIRS[mn_id]
    assert both.runs[-1].held[mn_id].phones == [THEIRS[mn_id]]


def test_a_last_name_edited_in_givebutter_is_warned_of_and_restored(both: Both) -> None:
    ours = both.runs[0].mentors[LAST_NAME]["last_name"]
    assert values(both, LAST_NAME, "last_name") == [ours] * LAST_RUN
    assert both.runs[2].held[LAST_NAME].last_name == "Birch"
    assert both.runs[3].held[LAST_NAME].last_name == ours
    warned = [
        state.warnings.filter(mn_id=LAST_NAME, type="givebutter_edit_ignored")["resolved"].to_list()
        for state in both.runs
    ]
    assert warned == [[], [False], [False], [True], [True], [True]]
    assert changes(both, LAST_NAME) == []


# -- 15: edited on both sides -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mn_id", "field", "value"),
    [
        (NAME_TWICE, "preferred_name", "Bobby"),
        (MAIL_TWICE, "personal_email", "form@example.com"),
        (SHIFT_TWICE, "shift_preference", "Option 3"),
        (PARTNER_TWICE, "shift_preference", "Option 2"),
    ],
)
def test_two_edits_never_flip_flop(both: Both, mn_id: str, field: str, value: str) -> None:
    assert values(both, mn_id, field) == [value] * LAST_RUN
    assert len([row for row in changes(both, mn_id) if row[1] == field]) == 1


def test_two_edits_of_an_email_are_a_conflict_and_neither_is_sent(both: Both) -> None:
    for run in range(1, LAST_RUN + 1):
        assert asked(both, run, MAIL_TWICE) == [("email_mismatch", "pending", "medium")]
    assert options(both, MAIL_TWICE) == ("form@example.com", "their@example.com")
    assert "form@example.com" not in both.runs[-1].held[MAIL_TWICE].emails


@pytest.mark.parametrize("mn_id", [NAME_TWICE, SHIFT_TWICE, PARTNER_TWICE])
def test_what_a_rule_settles_is_asked_of_nobody_and_agreed_after_the_import(both: Both, mn_id: str) -> None:
    contact = both.runs[3].held[mn_id]
    mentor = both.runs[3].mentors[mn_id]
    assert (contact.prefix, contact.custom_fields[SHIFT]) == (mentor["preferred_name"], mentor["shift_preference"])
    assert asked(both, LAST_RUN, mn_id) == []


# -- 16: dropped and back ---------------------------------------------------------------------------------------------


def test_dropped_and_reactivated_are_told_once_each(both: Both) -> None:
    assert values(both, DROPPED, "dropped") == [True, True, False, False, False]
    told = [row for row in changes(both, DROPPED) if row[1] == "dropped"]
    assert told == [("dropped", "dropped", "false", "true"), ("reactivated", "dropped", "true", "false")]


def test_the_tag_does_not_come_back_by_itself(both: Both) -> None:
    assert "Dropped 25" not in both.runs[-1].held[DROPPED].tags
    assert "Dropped 25" not in both.runs[-1].mentors[DROPPED]["tags"]


# -- fundraising, and what is old on both sides -----------------------------------------------------------------------


def test_a_mark_under_the_goal_is_asked_about_and_holds_meanwhile(both: Both) -> None:
    for run in (1, 2):
        assert asked(both, run, MARKED) == [("fundraising_mismatch", "pending", "medium")]
    assert values(both, MARKED, "fundraised_done") == [True] * LAST_RUN
    assert values(both, MARKED, "status_category") == ["complete"] * LAST_RUN


def test_an_amount_that_falls_is_asked_about_and_taken(both: Both) -> None:
    for run in (1, 2):
        assert asked(both, run, FALLEN) == [("fundraising_mismatch", "pending", "medium")]
    assert values(both, FALLEN, "amount_raised") == [Decimal(20)] * LAST_RUN
    assert options(both, FALLEN) == ("20.00", "60.00")


@pytest.mark.parametrize("mn_id", [MARKED, FALLEN])
def test_what_was_decided_is_not_asked_again(both: Both, mn_id: str) -> None:
    for run in range(3, LAST_RUN + 1):
        (conflict,) = both.runs[run].conflicts.filter(mn_id=mn_id).to_dicts()
        assert conflict["id"] in both.decided
        assert conflict["status"] == "resolved"
    assert len([row for row in changes(both, mn_id) if row[0] == "conflict_resolved"]) == 1


def test_two_values_that_are_old_on_both_sides_are_a_question_of_low_weight(both: Both) -> None:
    for run in range(LAST_RUN + 1):
        assert asked(both, run, OLD) == [("data_staleness", "pending", "low")]
    assert options(both, OLD) == (OURS[OLD], THEIRS[OLD])
    assert values(both, OLD, "phone") == [OURS[OLD]] * LAST_RUN
    assert row_sent(both, OLD)["Primary Phone Number"] == THEIRS[OLD]


def test_nobody_else_is_asked_about(both: Both) -> None:
    pending = both.runs[-1].conflicts.filter(status="pending")
    assert sorted(pending["mn_id"]) == sorted([PHONE, PHONE_TWICE, MAIL_TWICE, OLD])
