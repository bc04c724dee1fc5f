"""The one record of each mentor: what is folded into it, and in which order."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.decisions import CONFLICT_DECISION, EDIT
from mentor_pipeline.domain.history import next_versions
from mentor_pipeline.domain.links import FORMS, MEMBERS
from mentor_pipeline.domain.mentors import (
    PARTNER,
    SETUP,
    TRAINING,
    Memory,
    Sources,
    build_mentors,
    partner_wishes,
    tasks,
)
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, alias, contact, member, phone_of, program, row, signup, together

if TYPE_CHECKING:
    from mentor_pipeline.domain.findings import Computed

PROGRAM = program()
LATER = NOW + timedelta(days=1)
MENTOR_TAG, DROPPED_TAG = "Mentors 2025", "Dropped 25"


class Year:
    """What is known of a year, gathered until it is built."""

    def __init__(self, *signups: pl.DataFrame) -> None:
        self.signups = list(signups or [signup("0001")])
        self.forms: dict[str, list[pl.DataFrame]] = {table: [TABLES[table].empty()] for table in FORMS}
        self.members = [TABLES[MEMBERS].empty()]
        self.contacts = [TABLES["raw_gb_full_contacts"].empty()]
        self.form_links = [TABLES["form_links"].empty()]
        self.links: list[pl.DataFrame] = []
        self.actions = [TABLES["operator_actions"].empty()]
        self.aliases = [TABLES["mentor_aliases"].empty()]
        self.base = TABLES["merge_base"].empty()
        self.history = TABLES["mentor_history"].empty()

    def form(self, table: str, source_id: str, mn_id: str = "0001", *, is_newest: bool = True, **answers: Any) -> Year:
        values = {"year": YEAR, "submission_id": source_id, "status": "ACTIVE", "submitted_at": NOW, **answers}
        self.forms[table].append(row(table, **values))
        return self._joined(table, source_id, mn_id, is_newest=is_newest)

    def page(self, member_id: int, mn_id: str = "0001", **values: Any) -> Year:
        self.members.append(member(member_id, **values))
        return self._joined(MEMBERS, str(member_id), mn_id, is_newest=True)

    def _joined(self, table: str, source_id: str, mn_id: str, *, is_newest: bool) -> Year:
        link = {"year": YEAR, "source_table": table, "source_id": source_id, "mn_id": mn_id, "is_newest": is_newest}
        self.form_links.append(row("form_links", **link))
        return self

    def linked(self, contact_id: int = 1, mn_id: str = "0001", **values: Any) -> Year:
        self.contacts.append(contact(contact_id, **values))
        link = {"gb_contact_id": contact_id, "gb_match_status": "linked", "gb_match_method": "external_id"}
        self.links.append(row("contact_links", year=YEAR, mn_id=mn_id, **link))
        return self

    def edit(self, field: str, value: Any, mn_id: str = "0001", **changes: Any) -> Year:
        self.actions.append(action(EDIT, mn_id=mn_id, field=field, value=orjson.dumps(value).decode(), **changes))
        return self

    def build(self, now: datetime = NOW) -> Computed:
        linked = {link["mn_id"].item() for link in self.links}
        without = [
            row("contact_links", year=YEAR, mn_id=one["mn_id"].item(), gb_match_status="new")
            for one in self.signups
            if one["mn_id"].item() not in linked
        ]
        sources = Sources(
            together(*self.signups),
            together(*self.form_links),
            {table: together(*rows) for table, rows in self.forms.items()},
            together(*self.members),
            together(*self.links, *without),
            together(*self.contacts),
        )
        memory = Memory(together(*self.actions), self.base, self.history, together(*self.aliases))
        return build_mentors(sources, memory, PROGRAM, now)

    def mentor(self, mn_id: str = "0001", now: datetime = NOW) -> dict[str, Any]:
        return self.build(now).rows.row(by_predicate=pl.col("mn_id") == mn_id, named=True)

    def remember(self, now: datetime = NOW) -> Year:
        """What the next run finds recorded of this one."""
        built = self.build(now)
        versions = next_versions(self.history, built.rows, run_id="run", now=now)
        key = TABLES["mentor_history"].key
        self.history = pl.concat([versions, self.history.join(versions, on=key, how="anti")])
        self.base = built.also["merge_base"]
        return self

    def replace_contact(self, contact_id: int = 1, **values: Any) -> Year:
        self.contacts = [one for one in self.contacts if contact_id not in one["contact_id"].to_list()]
        self.contacts.append(contact(contact_id, **values))
        return self


# -- what forms and campaign page say ----------------------------------------------------------------------------------


def test_a_mentor_who_only_signed_up() -> None:
    mentor = Year(signup("0001", first_name="Ada", preferred_name="Addie", last_name="Elm")).mentor()
    assert (mentor["preferred_name"], mentor["full_name"]) == ("Addie", "Addie Elm")
    assert not any(mentor[name] for name in ("setup_done", "training_signup_done", "training_done", "campaign_member"))
    assert not any(mentor[name] for name in ("dropped", "fundraised_done", "partner_phone_match"))
    assert mentor["amount_raised"] is None
    assert mentor["fundraising_goal"] == PROGRAM.fundraising_goal
    assert mentor["status_category"] == "needs_setup"


@pytest.mark.parametrize(
    ("on_the_form", "expected"), [("4th Year", "4th Year"), ("  ", "1st Year"), (None, "1st Year")]
)
def test_the_class_is_the_training_forms_else_the_sign_ups(on_the_form: str | None, expected: str) -> None:
    year = Year(signup("0001", uga_class="1st Year")).form(TRAINING, "7", uga_class=on_the_form)
    assert year.mentor()["uga_class"] == expected


def test_each_form_leaves_its_submission_and_time() -> None:
    at = NOW - timedelta(days=3)
    mentor = Year().form(SETUP, "71", submitted_at=at).form(TRAINING, "72", submitted_at=at).mentor()
    assert (mentor["setup_done"], mentor["setup_at"], mentor["setup_submission_id"]) == (True, at, "71")
    assert (mentor["training_signup_done"], mentor["training_signup_at"]) == (True, at)
    assert mentor["training_signup_submission_id"] == "72"
    assert mentor["training_done"] is False


def test_of_several_submissions_the_newest_counts() -> None:
    year = Year().form(PARTNER, "1", shift_preference="Option 1", is_newest=False)
    assert year.form(PARTNER, "2", shift_preference="Option 2").mentor()["shift_preference"] == "Option 2"


def test_amount_page_and_member_are_the_campaigns_alone() -> None:
    year = Year().page(9, raised=Decimal("12.50"), page_url="https://pages.example.com/ada")
    mentor = year.linked(
        external_id="0001", website="https://other.example.com", total_contributions=Decimal(500)
    ).mentor()
    assert (mentor["gb_member_id"], mentor["campaign_member"], mentor["amount_raised"]) == (9, True, Decimal("12.50"))
    assert mentor["fundraising_page_url"] == "https://pages.example.com/ada"
    alone = Year().linked(total_contributions=Decimal(500), website="https://other.example.com").mentor()
    assert (alone["amount_raised"], alone["fundraising_page_url"], alone["campaign_member"]) == (None, None, False)


@pytest.mark.parametrize(("raised", "is_done"), [("74.99", False), ("75.00", True), ("200.00", True)])
def test_the_goal_reached_is_fundraised(raised: str, *, is_done: bool) -> None:
    assert Year().page(9, raised=Decimal(raised)).mentor()["fundraised_done"] is is_done


def test_two_who_name_each_other_are_partners() -> None:
    ada, ben = signup("0001", phone=phone_of(1)), signup("0002", phone=phone_of(2))
    year = Year(ada, ben)
    year.form(
        PARTNER, "1", "0001", partner_phone=phone_of(2), partner_phone_raw=phone_of(2), shift_preference="Option 1"
    )
    year.form(
        PARTNER, "2", "0002", partner_phone=phone_of(1), partner_phone_raw=phone_of(1), shift_preference="Option 1"
    )
    one, other = year.mentor("0001"), year.mentor("0002")
    assert (one["partner_mn_id"], other["partner_mn_id"]) == ("0002", "0001")
    assert all(mentor["partner_phone_match"] and mentor["partner_shift_match"] for mentor in (one, other))


def test_a_partner_phone_that_a_person_set_takes_the_place_of_the_forms() -> None:
    year = Year(signup("0001", phone=phone_of(1)), signup("0002", phone=phone_of(2)), signup("0003", phone=phone_of(3)))
    year.form(PARTNER, "1", "0001", partner_phone=phone_of(2), partner_phone_raw=phone_of(2))
    assert year.mentor()["partner_mn_id"] == "0002"
    assert year.edit("partner_phone", phone_of(3)).mentor()["partner_mn_id"] == "0003"
    wishes = partner_wishes(year.build().rows, together(*year.form_links), together(*year.forms[PARTNER]))
    assert wishes.filter(mn_id="0001")["partner_phone_raw"].to_list() == [phone_of(3)]


# -- dropped -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [DROPPED_TAG, DROPPED_TAG.lower(), DROPPED_TAG.upper()])
def test_the_dropped_tag_drops(tag: str) -> None:
    mentor = Year().linked(tags=[MENTOR_TAG, tag]).mentor()
    assert (mentor["dropped"], mentor["status_category"]) == (True, "dropped")


def test_the_dropped_tag_taken_off_brings_back() -> None:
    year = Year().linked(tags=[DROPPED_TAG]).remember()
    assert year.mentor()["dropped"] is True
    mentor = year.replace_contact(tags=[MENTOR_TAG]).mentor(now=LATER)
    assert (mentor["dropped"], mentor["status_category"]) == (False, "needs_setup")
    assert DROPPED_TAG not in mentor["tags"]


def test_without_a_contact_dropped_stays_as_it_was() -> None:
    year = Year().linked(tags=[DROPPED_TAG]).remember()
    year.links = []
    assert year.mentor(now=LATER)["dropped"] is True


def test_anothers_dropped_tag_is_anothers() -> None:
    year = Year(signup("0001"), signup("0002")).linked(1, "0001").linked(2, "0002", tags=[DROPPED_TAG])
    assert [year.mentor(mn_id)["dropped"] for mn_id in ("0001", "0002")] == [False, True]


# -- what only people say ----------------------------------------------------------------------------------------------


def test_a_check_in_is_dated_by_itself() -> None:
    mentor = Year().edit("training_done", value=True, at=NOW - timedelta(hours=2)).mentor()
    assert (mentor["training_done"], mentor["training_at"]) == (True, NOW - timedelta(hours=2))


def test_a_date_that_was_given_counts() -> None:
    given = datetime.fromisoformat("2025-09-20T18:00:00+00:00")
    for order in ((0, 1), (1, 0)):
        year = Year()
        for minute, (field, value) in zip(
            order, [("training_done", True), ("training_at", given.isoformat())], strict=True
        ):
            year.edit(field, value, at=NOW + timedelta(minutes=minute))
        assert year.mentor()["training_at"] == given


def test_a_check_in_taken_back_leaves_no_date() -> None:
    year = Year().edit("training_done", value=True).edit("training_done", value=False, at=LATER)
    mentor = year.mentor()
    assert (mentor["training_done"], mentor["training_at"]) == (False, None)


def test_a_mark_of_a_person_completes_the_fundraising() -> None:
    mentor = Year().page(9, raised=Decimal(10)).edit("fundraised_done", value=True).mentor()
    assert (mentor["fundraised_done"], mentor["status_category"], mentor["amount_raised"]) == (
        True,
        "complete",
        Decimal(10),
    )
    assert mentor["fundraised_at"] == NOW


def test_no_source_touches_training_marks_and_notes() -> None:
    year = Year().edit("training_done", value=True).edit("notes", "Brings a drum.").edit("fundraised_done", value=True)
    custom = {PROGRAM.custom_field_from("training_done"): "No"}
    year.linked(notes="Something else", custom_fields=orjson.dumps(custom).decode(), tags=["Training Incomplete"])
    year.form(TRAINING, "7", session="Monday").page(9, raised=Decimal(0))
    for _ in range(3):
        mentor = year.remember(LATER).mentor(now=LATER)
        assert (mentor["training_done"], mentor["notes"], mentor["fundraised_done"]) == (True, "Brings a drum.", True)


def test_givebutter_alone_marks_nothing() -> None:
    custom = {PROGRAM.custom_field_from("training_done"): "Yes"}
    mentor = Year().linked(notes="Came to training", custom_fields=orjson.dumps(custom).decode()).mentor()
    assert (mentor["training_done"], mentor["training_at"], mentor["notes"]) == (False, None, None)


EDITED = {
    "shift_preference": "Option 4",
    "preferred_name": "Birdie",
    "phone": phone_of(777),
    "personal_email": "birdie@example.com",
    "uga_email": "birdie@uga.edu",
    "uga_class": "Alumni",
    "shirt_size": "XS",
    "dropped": True,
}


@pytest.mark.parametrize("field", EDITED)
def test_an_edit_outranks_forms_and_givebutter_for_ever(field: str) -> None:
    year = Year().form(PARTNER, "1", shift_preference="Option 1").form(TRAINING, "2", uga_class="3rd Year")
    year.linked(external_id="0001", prefix="Bo", emails=["c@example.com", "c@uga.edu"]).edit(field, EDITED[field])
    for _ in range(3):
        assert year.remember(LATER).mentor(now=LATER)[field] == EDITED[field]


def test_the_newest_edit_counts() -> None:
    year = Year().edit("notes", "second", at=LATER, target_id="2").edit("notes", "first", target_id="1")
    assert year.mentor()["notes"] == "second"


def test_a_decided_mismatch_sets_the_value() -> None:
    year = Year()
    value = orjson.dumps({"decision": "b", "value": "new@example.com", "field": "personal_email"}).decode()
    year.actions.append(action(CONFLICT_DECISION, mn_id="0001", field="email_mismatch", value=value))
    assert year.mentor()["personal_email"] == "new@example.com"


def test_edits_of_a_placeholder_follow_the_real_id() -> None:
    year = Year(signup("0042")).edit("notes", "Brings a drum.", mn_id="999001")
    year.aliases.append(alias("999001", "0042"))
    assert year.mentor("0042")["notes"] == "Brings a drum."


def test_an_edit_of_nobody_waits_and_is_told() -> None:
    built = Year().edit("notes", "Brings a drum.", mn_id="0777").build()
    assert built.rows.height == 1
    assert built.problems is not None
    (problem,) = built.problems.to_dicts()
    assert (problem["type"], problem["mn_id"]) == ("edit_without_mentor", "0777")
    assert "notes" in problem["message"]


# -- status and tags ---------------------------------------------------------------------------------------------------


def test_tags_are_the_contacts_united_with_ours_without_our_outdated_ones() -> None:
    year = Year().form(SETUP, "1").linked(tags=["Choir", "No Page", "Status: needs_setup", "Training Incomplete"])
    mentor = year.mentor()
    assert mentor["statuses"] == ["No Page", "No Training Signup", "No Preferences", "Status: needs_page", MENTOR_TAG]
    assert set(mentor["tags"]) == {"Choir", *mentor["statuses"]}


def test_tags_of_others_are_never_taken_off() -> None:
    theirs = ["Choir", "Mentors 2024", "SWAB page", "Sponsors"]
    assert set(theirs) <= set(Year().linked(tags=theirs).mentor()["tags"])


def test_a_mentor_without_contact_has_our_tags_alone() -> None:
    mentor = Year().mentor()
    assert mentor["tags"] == sorted(mentor["statuses"])


def test_tasks_tell_the_same_as_the_record() -> None:
    year = Year().form(SETUP, "1").page(9, raised=Decimal(80)).edit("training_done", value=True)
    mentor, (told,) = year.mentor(), tasks(year.build().rows).to_dicts()
    assert told.pop("signup_done") is True
    assert {name: mentor[name] for name in told} == told


# -- run after run -----------------------------------------------------------------------------------------------------


def whole_year() -> Year:
    year = Year(*(signup(f"{number:04d}") for number in range(1, 6)))
    year.form(SETUP, "1", "0001").form(TRAINING, "2", "0002", uga_class="3rd Year")
    year.form(PARTNER, "3", "0003", partner_phone=phone_of(4), partner_phone_raw=phone_of(4)).page(
        9, "0004", raised=Decimal(20)
    )
    for number in range(1, 5):
        mine = year.signups[number - 1].row(0, named=True)
        year.linked(number, mine["mn_id"], prefix=f"Pref{number}", emails=[mine["personal_email"], "x@uga.edu"])
    return year.edit("notes", "Brings a drum.", "0005").edit("phone", phone_of(42), "0002")


def test_an_unchanged_run_changes_no_record() -> None:
    year = whole_year()
    first = year.build()
    again = year.remember().build(LATER)
    assert_frame_equal(again.rows, first.rows)
    assert set(again.rows["updated_at"]) == {NOW}
    assert_frame_equal(again.also["merge_base"], first.also["merge_base"])


def test_only_who_changed_is_stamped() -> None:
    year = whole_year().remember()
    stamped = year.edit("notes", "Left early.", "0003", at=LATER).build(LATER).rows
    assert dict(stamped.select("mn_id", "updated_at").iter_rows()) == {
        f"{number:04d}": LATER if number == 3 else NOW for number in range(1, 6)
    }
    assert set(stamped["created_at"]) == {NOW}


def test_the_order_of_what_came_in_does_not_matter() -> None:
    one, other = whole_year(), whole_year()
    for rows in (other.signups, other.links, other.contacts, other.form_links, other.members, *other.forms.values()):
        rows.reverse()
    assert_frame_equal(other.build().rows, one.build().rows)
