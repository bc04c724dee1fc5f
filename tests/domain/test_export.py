"""The rows of the import file, and who is held (R10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.changes import changes, mark_synced, sent_fields
from mentor_pipeline.domain.export import (
    differing,
    held_in_givebutter,
    import_rows,
    knowledge_at,
    settled_refusals,
    what_rows_do,
    without_sent_notes,
)
from mentor_pipeline.domain.findings import Problem, problem_rows, to_json
from mentor_pipeline.domain.history import next_versions
from mentor_pipeline.domain.import_cells import cut_at_word, harmless, owned_columns, unharmed
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, contact, mentor, program, row, together
from tests.domain.worlds import empty_world, known_contacts

if TYPE_CHECKING:
    from mentor_pipeline.domain.export import Judged
    from mentor_pipeline.settings import ProgramYear
    from mentor_pipeline.simulator import World

PROGRAM = program()
SIGNED_UP, SHIFT, SHIRT = "📝 Sign Up Complete", "📆 Shift Preference", "👕 Shirt Size"
TEXT_MESSAGE = "📱Custom Text Message 1️⃣"
NO_CONTACTS = contact().clear()
HOUR = timedelta(hours=1)


def linked(mn_id: str = "0042", contact_id: int = 7, **changes: Any) -> pl.DataFrame:
    return mentor(mn_id, **{"gb_contact_id": contact_id, "gb_match_status": "linked", **changes})


def built(
    mentors: pl.DataFrame,
    contacts: pl.DataFrame = NO_CONTACTS,
    *,
    year: ProgramYear = PROGRAM,
    tasks: pl.DataFrame | None = None,
    messages: pl.DataFrame | None = None,
    problems: pl.DataFrame | None = None,
    conflicts: pl.DataFrame | None = None,
    known_at: datetime | None = NOW,
) -> Judged:
    return import_rows(
        mentors,
        TABLES["mn_tasks"].empty() if tasks is None else tasks,
        contacts,
        TABLES["outreach_messages"].empty() if messages is None else messages,
        TABLES["sync_errors"].empty() if problems is None else problems,
        TABLES["sync_conflicts"].empty() if conflicts is None else conflicts,
        year,
        now=NOW,
        knowledge_at=known_at,
    )


def cells(mentors: pl.DataFrame, contacts: pl.DataFrame = NO_CONTACTS, **more: Any) -> dict[str, Any]:
    """The one row."""
    rows = built(mentors, contacts, **more).rows
    assert rows.height == 1
    return rows.row(0, named=True)


def undecided(field: str, ours: str, theirs: str, status: str = "pending") -> pl.DataFrame:
    return row(
        "sync_conflicts",
        id=f"conflict-{field}",
        year=2025,
        mn_id="0042",
        status=status,
        option_a=to_json({"value": ours}),
        option_b=to_json({"value": theirs}),
        context=to_json({"field": field}),
    )


@pytest.mark.parametrize(
    ("field", "column", "ours", "theirs"),
    [
        ("phone", "Primary Phone Number", "+17065550142", "+17065550199"),
        ("personal_email", "Primary Email", "ada@example.com", "ada.b@example.org"),
        ("uga_email", "Email Addresses", "ada@uga.edu", "ada.b@uga.edu"),
    ],
)
def test_sending_our_value_would_decide_an_undecided_conflict(field: str, column: str, ours: str, theirs: str) -> None:
    mentors = linked(**{field: ours})
    assert cells(mentors, contact(7), conflicts=undecided(field, ours, theirs))[column] == theirs
    assert cells(mentors, contact(7), conflicts=undecided(field, ours, theirs, "resolved"))[column] == ours


def kinds(judged: Judged) -> list[str]:
    return judged.problems["type"].to_list()


class TestWhoIsHeld:
    @pytest.mark.parametrize(
        ("changes", "reason", "says"),
        [
            ({"gb_match_status": "conflict", "gb_contact_id": 7}, "contact_conflict", "decide"),
            ({"gb_match_status": "shared"}, "shared_contact", "decide"),
            ({"gb_match_status": "stale", "gb_contact_id": 7}, "stale_contact", "edit 0042 gb_contact_id none"),
            ({"withdrawn": True}, "withdrawn", "gone"),
            ({"is_placeholder": True}, "placeholder_mn_id", "Jotform"),
            ({"last_name": None}, "no_last_name", "last name"),
            ({"last_name": "  "}, "no_last_name", "last name"),
        ],
    )
    def test_with_the_reason(self, changes: dict[str, Any], reason: str, says: str) -> None:
        judged = built(mentor("0042", **{"full_name": "Ada", **changes}))
        assert judged.rows.is_empty()
        (held,) = judged.held.to_dicts()
        assert (held["year"], held["mn_id"], held["reason"]) == (YEAR, "0042", reason)
        assert held["gb_contact_id"] == changes.get("gb_contact_id")
        assert says in held["detail"]

    def test_everybody_else_is_in_the_file(self) -> None:
        judged = built(together(mentor("0001"), mentor("0002", gb_match_status="shared"), mentor("0003")))
        assert judged.rows["mn_id"].to_list() == ["0001", "0003"]
        assert judged.held["mn_id"].to_list() == ["0002"]

    def test_all_reasons_are_told_the_first_one_counts(self) -> None:
        (held,) = built(mentor("0042", gb_match_status="shared", withdrawn=True)).held.to_dicts()
        assert held["reason"] == "shared_contact"
        assert "submission is gone" in held["detail"]

    def test_dropped_mentors_only_when_configured(self) -> None:
        dropped = mentor(dropped=True)
        assert built(dropped).rows.height == 1
        holding = program(export={"hold_dropped": True})
        assert built(dropped, year=holding).held["reason"].to_list() == ["dropped"]
        assert built(mentor(), year=holding).rows.height == 1

    def test_what_givebutter_would_refuse_with_its_words_and_the_contact_in_the_way(self) -> None:
        holder = contact(9, external_id="0042", external_mn_id="42", first_name="Ada", last_name="Elm")
        judged = built(mentor("0042"), holder)
        (held,) = judged.held.to_dicts()
        assert held["reason"] == "refused_by_givebutter"
        assert "A contact with External ID [0042] already exists." in held["detail"]
        assert "Contact 9 (Ada Elm)" in held["detail"]
        assert judged.rows.is_empty()

    def test_a_linked_contact_that_is_gone(self) -> None:
        for gone in ({"archived_at": NOW}, {"missing_since": NOW}):
            (held,) = built(linked(), contact(7, **gone)).held.to_dicts()
            assert (held["reason"], held["gb_contact_id"]) == ("refused_by_givebutter", 7)

    def test_with_the_contacts_between_which_a_person_has_to_choose(self) -> None:
        def undecided(kind: str, first: Any, second: Any, status: str = "pending") -> pl.DataFrame:
            options = {"option_a": to_json({"value": first}), "option_b": to_json({"value": second})}
            return row("sync_conflicts", id=f"{first}", mn_id="0042", conflict_type=kind, status=status, **options)

        waiting = mentor("0042", gb_match_status="conflict")
        for conflict, says in (
            (undecided("contact_selection", 7, 8), "(contact 7 or contact 8)"),
            (undecided("external_id_collision", 7, "release 7"), "(contact 7)"),
            (undecided("contact_selection", 7, "none"), "(contact 7)"),
            (undecided("phone_mismatch", 7, 8), "(no contact that is still there)"),
            (undecided("contact_selection", 7, 8, "resolved"), "(no contact that is still there)"),
            (undecided("contact_selection", 7, 8), "decide the conflict"),
            (undecided("contact_selection", 7, 8, "skipped"), "(contact 7 or contact 8): its conflict was skipped"),
            (undecided("contact_selection", 7, 8, "skipped"), "`mentor-pipeline edit 0042 gb_contact_id VALUE`"),
            (
                together(undecided("contact_selection", 7, 8, "skipped"), undecided("contact_selection", 8, 9)),
                "(contact 8 or contact 9): decide",
            ),
        ):
            assert says in built(waiting, conflicts=conflict).held["detail"][0]

    def test_a_merge_into_another_mentors_contact(self) -> None:
        there = contact(9, first_name="Maya", last_name="Fox", primary_phone="+17065550142")
        mentors = together(
            mentor("0042", first_name="Maya", last_name="Fox", phone="+17065550142"),
            linked("0043", 9, first_name="May", last_name="Fox"),
        )
        judged = built(mentors, there)
        assert judged.rows["mn_id"].to_list() == ["0043"]
        (held,) = judged.held.to_dicts()
        assert (held["mn_id"], held["reason"]) == ("0042", "wrong_contact")
        assert "mentor 0043" in held["detail"]

    def test_what_a_failed_file_taught(self) -> None:
        lesson = Problem("import_refused", "taken", "error", context={"taken_external_ids": ["0042"], "in_the_way": []})
        judged = built(mentor("0042"), problems=problem_rows(YEAR, [lesson]))
        assert judged.held["reason"].to_list() == ["refused_by_givebutter"]
        assert built(mentor("0043"), problems=problem_rows(YEAR, [lesson])).held.is_empty()


class TestCells:
    def test_a_new_mentor(self) -> None:
        new = mentor(
            "0042",
            preferred_name="Mai",
            first_name="Maya",
            middle_name="Rose",
            last_name="Fox",
            phone="+17065550142",
            personal_email="maya@example.com",
            uga_email="maya@uga.edu",
            fundraising_page_url="https://pages.example.com/maya",
            tags=["No Page", "Mentors 2025"],
            notes="Called.",
            shirt_size="M",
            shift_preference="Option 2",
        )
        tasks = row("mn_tasks", year=YEAR, mn_id="0042", signup_done=True)
        assert cells(new, tasks=tasks) == {
            "year": YEAR,
            "mn_id": "0042",
            "Givebutter Contact ID": None,
            "Contact External ID": "0042",
            "Prefix": "Mai",
            "First Name": "Maya",
            "Preferred First Name": None,
            "Middle Name": "Rose",
            "Last Name": "Fox",
            "Primary Email": "maya@example.com",
            "Email Addresses": "maya@uga.edu",
            "Primary Phone Number": "+17065550142",
            "Tags": "Mentors 2025, No Page",
            "Notes": "Called.",
            "Email Subscription Status": "yes",
            "Phone Subscription Status": "yes",
            "Address Subscription Status": "yes",
            "Contact Website": "https://pages.example.com/maya",
            SIGNED_UP: "yes",
            "💸 Givebutter Page Setup": "no",
            SHIFT: "Option 2",
            "🎓 Training Complete": "no",
            SHIRT: "M",
            TEXT_MESSAGE: None,
            "📧 Custom Email Message 1️⃣": None,
        }

    def test_a_linked_mentor_updates_the_contact(self) -> None:
        year = program(mn_id_prefix="MN")
        row = cells(linked(), contact(7), year=year)
        assert (row["Givebutter Contact ID"], row["Contact External ID"]) == ("7", "MN0042")

    def test_a_value_we_lack_is_what_givebutter_holds(self) -> None:
        """So that a blank cell can clear nothing."""
        ours = linked(
            preferred_name="Mai",
            first_name=None,
            middle_name=None,
            phone=None,
            personal_email=None,
            uga_email=None,
            fundraising_page_url=None,
            shirt_size=None,
            shift_preference=None,
            campaign_member=None,
            full_name="Mai Fox",
        )
        theirs = contact(
            7,
            first_name="Maya",
            middle_name="Rose",
            preferred_name="M.",
            primary_email="maya@example.com",
            additional_emails=["m@example.org", "maya@uga.edu"],
            primary_phone="+17065550142",
            website="https://maya.example.com",
            custom_fields=to_json(
                {SHIRT: "L", SHIFT: "Option 3", "💸 Givebutter Page Setup": "Yes", TEXT_MESSAGE: "Hi", "Other": "x"}
            ),
        )
        row = cells(ours, theirs)
        assert row["First Name"] == "Maya"
        assert row["Middle Name"] == "Rose"
        assert row["Primary Email"] == "maya@example.com"
        assert set(row["Email Addresses"].split(",")) == {"m@example.org", "maya@uga.edu"}
        assert row["Primary Phone Number"] == "+17065550142"
        assert row["Contact Website"] == "https://maya.example.com"
        assert (row[SHIRT], row[SHIFT], row["💸 Givebutter Page Setup"]) == ("L", "Option 3", "yes")
        assert row[TEXT_MESSAGE] == "Hi"
        assert row["Preferred First Name"] == "M."

    def test_the_school_address_is_primary_when_there_is_no_other(self) -> None:
        row = cells(mentor(personal_email=None, uga_email="maya@uga.edu"))
        assert (row["Primary Email"], row["Email Addresses"]) == ("maya@uga.edu", "maya@uga.edu")

    def test_the_preferred_name_goes_where_the_year_file_says(self) -> None:
        other = program(givebutter={**PROGRAM.givebutter.model_dump(), "preferred_name_field": "preferred_first_name"})
        row = cells(linked(preferred_name="Mai"), contact(7, prefix="Dr."), year=other)
        assert (row["Preferred First Name"], row["Prefix"]) == ("Mai", "Dr.")
        assert "Prefix" not in owned_columns(other)
        assert "Preferred First Name" not in owned_columns(PROGRAM)

    def test_only_our_columns_are_written(self) -> None:
        columns = owned_columns(PROGRAM)
        assert columns[:3] == ("Givebutter Contact ID", "Contact External ID", "Prefix")
        assert columns[-7:] == tuple(PROGRAM.custom_fields)
        assert not {"year", "mn_id", "Employer", "City"} & set(columns)

    def test_a_long_preferred_name_is_cut_at_a_word(self) -> None:
        judged = built(mentor(preferred_name="Maximiliana Josephina Wilhelmina von Fox"))
        assert judged.rows["Prefix"].to_list() == ["Maximiliana Josephina Wilhelmina"]
        (problem,) = judged.problems.to_dicts()
        assert (problem["type"], problem["severity"], problem["field_name"]) == ("text_shortened", "warning", "Prefix")
        assert problem["suggested_value"] == "Maximiliana Josephina Wilhelmina"
        assert cut_at_word("x" * 40, 32) == "x" * 32
        assert cut_at_word("abc def", 5) == "abc"

    def test_nobody_is_subscribed_again(self) -> None:
        theirs = contact(7, email_subscribed=False, sms_subscribed=True, mail_subscribed=None)
        row = cells(linked(), theirs)
        assert [row[f"{kind} Subscription Status"] for kind in ("Email", "Phone", "Address")] == ["no", "yes", "yes"]

    def test_not_by_a_merge_either(self) -> None:
        there = contact(9, first_name="Maya", last_name="Fox", primary_phone="+17065550142", sms_subscribed=False)
        judged = built(mentor("0042", first_name="Maya", last_name="Fox", phone="+17065550142"), there)
        assert judged.rows["Phone Subscription Status"].to_list() == ["no"]
        assert judged.rows["Email Subscription Status"].to_list() == ["yes"]
        (told,) = judged.problems.to_dicts()
        assert (told["type"], told["severity"], told["mn_id"]) == ("row_will_merge", "info", "0042")
        assert "Contact 9 (Maya Fox)" in told["message"]

    def test_wherever_a_row_may_merge(self) -> None:
        """Nobody knows which of two lists Givebutter takes: all their tags go along, and no one is subscribed again."""
        lists = together(
            *(
                contact(
                    number,
                    first_name="Maya",
                    last_name="Fox",
                    primary_email="maya@uga.edu",
                    primary_phone=None,
                    tags=[f"List {number}"],
                    email_subscribed=number == 8,
                    mail_subscribed=number == 9,
                )
                for number in (8, 9)
            )
        )
        judged = built(
            mentor("0042", first_name="Maya", last_name="Fox", uga_email="maya@uga.edu", tags=["Ours"]), lists
        )
        (sent,) = judged.rows.to_dicts()
        assert sent["Tags"] == "List 8, List 9, Ours"
        assert [sent[f"{kind} Subscription Status"] for kind in ("Email", "Phone", "Address")] == ["no", "yes", "no"]
        assert sent["Givebutter Contact ID"] is None
        assert kinds(judged) == ["row_will_merge", "row_will_merge"]

    def test_a_merge_that_leads_to_a_further_one_is_told_too(self) -> None:
        """Our blank phone is filled from the contact, and that phone is another contact's of the same name."""
        named = {"first_name": "Maya", "last_name": "Fox"}
        there = together(
            contact(8, **named, primary_email="maya@uga.edu", primary_phone="+17065550142"),
            contact(9, **named, primary_email=None, primary_phone="+17065550142"),
        )
        new = mentor("0042", **named, uga_email="maya@uga.edu", phone=None)
        assert set(built(new, there).problems["current_value"]) == {"8", "9"}
        linked_to_it = together(new, linked("0043", 9, first_name="May", last_name="Fox"))
        assert built(linked_to_it, there).held["reason"].to_list() == ["wrong_contact"]

    def test_tags_that_cannot_be_sent_stay_out_with_one_warning_each(self) -> None:
        tags = ["Mentors 2025", "Athens, GA", "x" * 65, "@home"]
        judged = built(together(mentor("0001", tags=tags), mentor("0002", tags=tags)))
        assert judged.rows["Tags"].to_list() == ["Mentors 2025, @home"] * 2
        assert kinds(judged) == ["tag_not_sendable", "tag_not_sendable"]
        assert {len(value) for value in judged.problems["current_value"]} == {10, 65}
        assert "0001" in judged.problems["message"][0]
        assert "0002" in judged.problems["message"][0]

    def test_formulas_are_made_harmless_in_free_text_only(self) -> None:
        row = cells(
            mentor(
                first_name="=cmd",
                preferred_name="@lex",
                last_name="-Fox",
                notes="+1\n=2",
                shirt_size="\tM",
                personal_email="+maya@example.com",
                phone="+17065550142",
            )
        )
        assert (row["First Name"], row["Prefix"], row["Last Name"]) == ("'=cmd", "'@lex", "'-Fox")
        assert row["Notes"] == "'+1\n=2"
        assert row[SHIRT] == "M"
        assert (row["Primary Email"], row["Primary Phone Number"]) == ("+maya@example.com", "+17065550142")

    @pytest.mark.parametrize("text", ["=1", "+a", "-a", "@a", "\ta", "a=1", "'a", "", "'=already"])
    def test_harmless_can_be_taken_back(self, text: str) -> None:
        frame = pl.DataFrame({"text": [text]}).select(out=harmless(pl.col("text")))
        out = frame["out"][0]
        assert out[:1] not in set("=+-@\t")
        assert frame.select(unharmed(pl.col("out"))).item() == text.removeprefix("'" if text == "'=already" else "")


class TestNotes:
    THEIRS = "Donor since 2019\r\nCalled on Oct 1."

    @pytest.mark.parametrize(
        ("notes", "sent"),
        [
            ("Called on  Oct 1.", None),
            ("Called on Oct 1.\nWill come Tuesday.", "Will come Tuesday."),
            ("New.", "New."),
            (" \n", None),
            (None, None),
        ],
    )
    def test_only_what_givebutter_lacks_is_sent(self, notes: str | None, sent: str | None) -> None:
        assert cells(linked(notes=notes), contact(7, notes=self.THEIRS))["Notes"] == sent

    def test_a_note_that_was_made_harmless_is_recognised(self) -> None:
        assert cells(linked(notes="=1+1"), contact(7, notes="'=1+1"))["Notes"] is None

    def test_a_note_is_under_way_until_the_contacts_were_read_again(self) -> None:
        """Imported and not read back yet, or imported by nobody: the next reading tells."""
        rows = built(linked(notes="New."), contact(7)).rows
        sent = row("sent_notes", year=YEAR, mn_id="0042", sent_at=NOW, notes="New.", filename="a.csv")
        assert without_sent_notes(rows, sent, NOW - HOUR)["Notes"].to_list() == [None]
        assert without_sent_notes(rows, sent, NOW + HOUR)["Notes"].to_list() == ["New."]
        assert without_sent_notes(rows, sent, None)["Notes"].to_list() == [None]
        assert without_sent_notes(rows, sent.with_columns(mn_id=pl.lit("0043")), None).equals(rows)
        assert without_sent_notes(rows, sent.clear(), NOW).equals(rows)
        more = built(linked(notes="New.\nAnd more."), contact(7)).rows
        assert without_sent_notes(more, sent, NOW - HOUR)["Notes"].to_list() == ["And more."]


class TestCustomFields:
    def with_field(self, source: str, kind: str, **more: Any) -> ProgramYear:
        return program(custom_fields={"Field": {"from": source, "type": kind, **more}})

    @pytest.mark.parametrize(
        ("kind", "values", "cell"),
        [
            ("checkbox", {"training_done": True}, "yes"),
            ("checkbox", {"training_done": False}, "no"),
            ("text", {"training_done": True}, "Yes"),
            ("number", {"amount_raised": Decimal("12.50")}, "12.50"),
            ("number", {"gb_member_id": 12}, "12"),
            ("text", {"amount_raised": Decimal(75)}, "75.00"),
            ("date", {"training_at": datetime(2025, 10, 2, 1, tzinfo=UTC)}, "10/1/2025"),
            ("text", {"statuses": ["No Page", "Not Fundraised"]}, "No Page, Not Fundraised"),
            ("longtext", {"status_text": "Hi,\nwelcome"}, "Hi,\nwelcome"),
            ("date", {"training_at": None}, None),
        ],
    )
    def test_each_kind_in_its_form(self, kind: str, values: dict[str, Any], cell: str | None) -> None:
        (source,) = values
        assert cells(mentor(**values), year=self.with_field(source, kind))["Field"] == cell

    @pytest.mark.parametrize(
        ("kind", "source", "value", "options"),
        [
            ("select", "shirt_size", "XXL", ["S", "M"]),
            ("number", "shirt_size", "large", []),
            ("date", "shirt_size", "soon", []),
            ("checkbox", "shirt_size", "M", []),
        ],
    )
    def test_a_value_of_another_kind_is_left_as_givebutter_has_it(
        self, kind: str, source: str, value: str, options: list[str]
    ) -> None:
        year = self.with_field(source, kind, options=options)
        held = {"select": "S", "number": "3", "date": "10/1/2025", "checkbox": "Yes"}[kind]
        judged = built(linked(shirt_size=value), contact(7, custom_fields=to_json({"Field": held})), year=year)
        assert judged.rows["Field"].to_list() == [held.lower() if kind == "checkbox" else held]
        (problem,) = judged.problems.to_dicts()
        assert (problem["type"], problem["current_value"]) == ("value_not_sendable", value)

    def test_long_texts_are_cut_with_a_warning(self) -> None:
        year = self.with_field("status_text", "text")
        judged = built(mentor(status_text=f"{'word ' * 60}end"), year=year)
        assert judged.rows["Field"].to_list() == [("word " * 51).strip()]
        assert kinds(judged) == ["text_shortened"]

    def test_of_several_campaigns_the_first_by_name_counts(self) -> None:
        def message(campaign: str, **texts: str) -> pl.DataFrame:
            return row("outreach_messages", year=YEAR, mn_id="0042", campaign=campaign, **texts)

        messages = together(message("b", message_text="B"), message("a", message_text="A"), message("c"))
        judged = built(mentor("0042"), messages=messages)
        assert judged.rows[TEXT_MESSAGE].to_list() == ["A"]
        (problem,) = judged.problems.to_dicts()
        assert (problem["type"], problem["current_value"]) == ("several_campaigns", "a, b")
        only = built(mentor("0042"), messages=messages.filter(campaign="b"))
        assert only.rows[TEXT_MESSAGE].to_list() == ["B"]
        assert only.problems.is_empty()


class TestAge:
    def test_old_contact_data_is_a_warning_that_stays_the_same(self) -> None:
        assert kinds(built(mentor(), known_at=NOW - 24 * HOUR)) == []
        old = built(mentor(), known_at=NOW - 25 * HOUR)
        assert kinds(old) == ["contacts_outdated"]
        assert "2025-09-30 11:00 UTC" in old.problems["message"][0]
        assert kinds(built(mentor(), known_at=None)) == ["contacts_outdated"]

    def test_the_newest_read_of_any_kind_counts(self) -> None:
        def read(source: str, **times: datetime | None) -> pl.DataFrame:
            return row("source_reads", source=source, **times)

        reads = together(
            read("givebutter/contacts", read_at=NOW - HOUR, full_read_at=NOW), read("jotform/1", read_at=NOW + HOUR)
        )
        assert knowledge_at(reads) == NOW
        assert knowledge_at(read("givebutter/contacts", read_at=None, full_read_at=NOW)) == NOW
        assert knowledge_at(reads.clear()) is None


class TestDiffering:
    MENTOR = linked(
        preferred_name="Mai",
        first_name="Maya",
        last_name="Fox",
        phone="+17065550142",
        personal_email="maya@example.com",
        uga_email="maya@uga.edu",
        tags=["Mentors 2025"],
        shirt_size="M",
    )
    CONTACT = contact(
        7,
        external_id="0042",
        external_mn_id="42",
        prefix="Mai",
        first_name="Maya",
        last_name="Fox",
        primary_phone="+17065550143",
        additional_phones=["+17065550142"],
        primary_email="other@example.com",
        additional_emails=["maya@example.com", "maya@uga.edu"],
        tags=["Donor", "Mentors 2025"],
        custom_fields=to_json({SHIRT: "M"}),
    )

    def differs(self, ours: dict[str, Any] | None = None, theirs: dict[str, Any] | None = None) -> bool:
        mine = self.MENTOR.with_columns(pl.lit(v).alias(k) for k, v in (ours or {}).items())
        known = together(
            contact(**{**self.CONTACT.row(0, named=True), **(theirs or {})}),
        )
        return not differing(built(mine, known).rows, known, PROGRAM).is_empty()

    def test_what_givebutter_holds_in_any_place_does_not_differ(self) -> None:
        assert not self.differs()

    @pytest.mark.parametrize(
        "ours",
        [
            {"preferred_name": "May"},
            {"last_name": "fox"},
            {"middle_name": "Rose"},
            {"phone": "+17065550144"},
            {"personal_email": "new@example.com"},
            {"uga_email": "new@uga.edu"},
            {"tags": ["Mentors 2025", "No Page"]},
            {"notes": "New."},
            {"fundraising_page_url": "https://pages.example.com/maya"},
            {"shirt_size": "L"},
            {"campaign_member": True},
        ],
    )
    def test_each_of_our_values_may_differ(self, ours: dict[str, Any]) -> None:
        assert self.differs(ours)

    @pytest.mark.parametrize(
        ("theirs", "differs"),
        [
            ({"external_id": "MN0042"}, True),
            ({"external_id": None}, True),
            ({"email_subscribed": False}, False),
            ({"email_subscribed": None}, False),
            ({"tags": ["Mentors 2025", "Athens, GA"]}, False),
            ({"custom_fields": to_json({SHIRT: "M", "🎓 Training Complete": "No"})}, False),
            ({"custom_fields": to_json({SHIRT: "M", "🎓 Training Complete": "Yes"})}, True),
            ({"custom_fields": to_json({SHIRT: " M\r\n"})}, False),
            ({"website": "https://maya.example.com", "middle_name": "Rose"}, False),
        ],
    )
    def test_and_each_of_theirs(self, theirs: dict[str, Any], differs: bool) -> None:
        assert self.differs(theirs=theirs) == differs

    def test_numbers_and_dates_are_compared_by_value(self) -> None:
        year = program(
            custom_fields={
                "Raised": {"from": "amount_raised", "type": "number"},
                "Trained": {"from": "training_at", "type": "date"},
            }
        )
        mine = self.MENTOR.with_columns(amount_raised=pl.lit(Decimal("75.00")), training_at=pl.lit(NOW))
        for raised, trained, same in (
            ("75", "2025-10-01", True),
            ("76", "10/1/2025", False),
            ("75", "10/2/2025", False),
        ):
            known = self.CONTACT.with_columns(custom_fields=pl.lit(to_json({"Raised": raised, "Trained": trained})))
            rows = built(mine, known, year=year).rows
            assert differing(rows, known, year).is_empty() == same

    def test_a_row_without_contact_id_always_differs(self) -> None:
        assert differing(built(mentor()).rows, NO_CONTACTS, PROGRAM).height == 1


class TestWhatRowsDo:
    def test_is_told_without_phones_and_emails(self) -> None:
        mentors = together(
            TestDiffering.MENTOR.with_columns(shirt_size=pl.lit("L")),
            mentor("0043", personal_email="ben@example.com", phone=None, shirt_size=None, uga_email=None),
        )
        rows = built(mentors, TestDiffering.CONTACT).rows
        update, new = what_rows_do(rows, TestDiffering.CONTACT, PROGRAM).to_dicts()
        assert update == {"external_id": "0042", "name": "Maya Fox", "does": "updates contact 7", "changes": SHIRT}
        assert new["does"] == "creates a contact"
        assert new["changes"].startswith("Contact External ID, Prefix, First Name, Last Name, Primary Email, ")
        assert "Primary Phone Number" not in new["changes"]
        assert "@" not in str((update, new))


class TestRefusalsThatAreOver:
    def refusal(self, errors: str, contact_id: str | None = None) -> pl.DataFrame:
        told = {"contact_id": contact_id, "taken_external_ids": [], "in_the_way": []}
        found = Problem("import_refused", "x", "error", mn_id="0042", current_value=errors, context=told)
        return problem_rows(YEAR, [found])

    def over(self, problems: pl.DataFrame, mentors: pl.DataFrame, contacts: pl.DataFrame) -> bool:
        rows = built(mentors, contacts).rows
        return settled_refusals(problems, rows, mentors, contacts, PROGRAM) == problems["id"].to_list()

    def test_once_givebutter_holds_the_row(self) -> None:
        refused = self.refusal("The Last Name field is required.")
        mine, theirs = TestDiffering.MENTOR, TestDiffering.CONTACT
        assert self.over(refused, mine, theirs)
        assert not self.over(refused, mine, theirs.with_columns(last_name=pl.lit("Elm")))
        assert not self.over(refused, mentor("0042"), theirs)
        assert not self.over(refused, mentor("0043"), theirs)

    def test_or_the_mentor_is_linked_to_another_contact_than_the_one_that_is_gone(self) -> None:
        gone = "A contact with ID [6] does not exist."
        mine, theirs = TestDiffering.MENTOR, TestDiffering.CONTACT
        assert self.over(self.refusal(gone, "6"), mine, theirs)
        assert not self.over(self.refusal(gone.replace("6", "7"), "7"), mine, theirs)

    def test_other_problems_are_none_of_it(self) -> None:
        other = problem_rows(YEAR, [Problem("invalid_phone", "x", "error", mn_id="0042")])
        mine, theirs = TestDiffering.MENTOR, TestDiffering.CONTACT
        assert settled_refusals(other, built(mine, theirs).rows, mine, theirs, PROGRAM) == []


class TestWhatGivebutterHolds:
    def held(self, mentors: pl.DataFrame, contacts: pl.DataFrame) -> dict[str, str | None]:
        return dict(held_in_givebutter(mentors, contacts, PROGRAM).select("field_name", "value").iter_rows())

    def test_ours_where_it_is_held_else_theirs(self) -> None:
        mine = TestDiffering.MENTOR.with_columns(last_name=pl.lit("Foxgrove"), training_done=pl.lit(value=True))
        held = self.held(mine, TestDiffering.CONTACT)
        assert held["mn_id"] == "0042"
        assert held["phone"] == "+17065550142"
        assert held["personal_email"] == "maya@example.com"
        assert held["uga_email"] == "maya@uga.edu"
        assert held["last_name"] == "Fox"
        assert held["tags"] == "Donor, Mentors 2025"
        assert held["shirt_size"] == "M"
        assert held["campaign_member"] == "false"
        assert held["training_done"] is None
        assert held["middle_name"] is None
        assert set(held) == sent_fields(PROGRAM) - {"signup_done", "message_text", "message_email"}

    def test_a_name_that_had_to_be_cut_counts_as_held(self) -> None:
        long = "Maximiliana Josephina Wilhelmina von Fox"
        held = self.held(linked(preferred_name=long), contact(7, prefix="Maximiliana Josephina Wilhelmina"))
        assert held["preferred_name"] == long

    def test_nothing_is_told_of_mentors_without_a_contact_that_is_there(self) -> None:
        assert self.held(mentor("0042"), contact(7)) == {}
        assert self.held(linked(), contact(7, archived_at=NOW)) == {}
        assert self.held(linked(gb_match_status="conflict"), contact(7)) == {}

    def test_changes_are_synced_once_an_import_was_seen_back(self) -> None:
        world = empty_world()
        own = world.add_contact(first_name="Maya", last_name="Fox", emails=["maya@example.com"], tags=["Donor"])
        before = linked("0042", own, first_name="Maya", last_name="Fox", phone="+17065550142", statuses=[], tags=[])
        after = before.with_columns(
            phone=pl.lit("+17065550199"),
            shirt_size=pl.lit("XL"),
            training_done=pl.lit(value=True),
            tags=pl.lit(["Mentors 2025"]),
            notes=pl.lit("Called."),
        )
        told = self.changes_of(before, after)
        assert mark_synced(told, held_in_givebutter(after, known_contacts(world), PROGRAM)).is_empty()
        judged = built(after, known_contacts(world))
        assert import_into(world, judged.rows) == []
        moved = mark_synced(told, held_in_givebutter(after, known_contacts(world), PROGRAM))
        assert set(moved.filter("synced_to_gb")["field_name"]) == {
            "phone",
            "shirt_size",
            "training_done",
            "tags",
            "notes",
        }

    def changes_of(self, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
        history = TABLES["mentor_history"].empty()
        for number, version in enumerate((before, after)):
            moment = NOW + number * HOUR
            stamped = version.with_columns(updated_at=pl.lit(moment))
            rows = next_versions(history, stamped, run_id=str(number), now=moment)
            history = pl.concat([history.join(rows, on=["year", "mn_id", "version"], how="anti"), rows])
        none = pl.Series([], dtype=pl.String)
        return changes(history, sent=sent_fields(PROGRAM), known_ids=none).filter(change_type="field_change")


def import_into(world: World, rows: pl.DataFrame, year: ProgramYear = PROGRAM) -> list[Any]:
    """Import a file of these rows; the refused ones."""
    return world.import_csv(rows.select(owned_columns(year)).write_csv(quote_style="always")).refused


_NAMES = st.sampled_from(["Maya", "Ada", "=Ben", "Zoë", "", "  ", "x" * 40, "Anna Maria von und zu Habsburg-Elm"])
_TEXTS = st.sampled_from(["M", "Option 1", "Option 9", "", "-x", "x" * 300, "a,b", 'quo"te', "two\nlines"])
_TAGS = st.lists(st.sampled_from(["Mentors 2025", "a,b", "x" * 65, "@x", "No Page", " ", "Donor"]), max_size=4)
_PHONES = [f"+1706555014{number}" for number in range(3)]
_EMAILS = [f"m{number}@example.com" for number in range(3)]
_FLAG = st.sampled_from([True, False, None])


@st.composite
def _world_and_mentors(draw: st.DrawFn) -> tuple[World, pl.DataFrame]:
    """A few contacts that look alike, and mentors who look like them."""
    world = empty_world()
    world.behaviour.import_blank_clears = draw(st.booleans())
    world.behaviour.import_replaces_tags = draw(st.booleans())
    ids = []
    for _ in range(draw(st.integers(0, 3))):
        ids.append(
            world.add_contact(
                first_name=draw(_NAMES),
                last_name=draw(_NAMES),
                prefix=draw(st.sampled_from([None, "Mai", "Dr."])),
                external_id=draw(st.sampled_from([None, "0001", "0002", "MN0003", "old"])),
                emails=draw(st.lists(st.sampled_from(_EMAILS), unique=True)),
                phones=draw(st.lists(st.sampled_from(_PHONES), unique=True)),
                tags=[tag for tag in draw(_TAGS) if tag.strip()],
                note=draw(st.sampled_from([None, "Called."])),
                website_url=draw(st.sampled_from([None, "https://x.example.com"])),
                custom_fields=draw(st.sampled_from([{}, {SHIRT: "L", SHIFT: "Option 2", SIGNED_UP: "Yes"}])),
                email_subscribed=draw(st.booleans()),
                phone_subscribed=draw(st.booleans()),
            )
        )
        if draw(st.integers(0, 5)) == 0:
            world.archive_contact(ids[-1])
    frames = [mentor().clear()]
    for number in range(1, draw(st.integers(1, 4)) + 1):
        contact_id = draw(st.sampled_from([None, None, 99, *ids]))
        frames.append(
            mentor(
                f"000{number}",
                first_name=draw(_NAMES),
                last_name=draw(_NAMES),
                preferred_name=draw(_NAMES) or "Mai",
                full_name="Somebody",
                phone=draw(st.sampled_from([None, *_PHONES])),
                personal_email=draw(st.sampled_from([None, *_EMAILS])),
                uga_email=draw(st.sampled_from([None, "m@uga.edu"])),
                tags=draw(_TAGS) + (list(world.contacts[contact_id].tags) if contact_id in world.contacts else []),
                notes=draw(st.sampled_from([None, "Called.", "=1\nNew."])),
                shirt_size=draw(_TEXTS),
                shift_preference=draw(_TEXTS),
                campaign_member=draw(_FLAG),
                gb_contact_id=contact_id,
                gb_match_status="linked" if contact_id else "new",
            )
        )
    return world, together(*frames)


@settings(max_examples=15, deadline=None)
@given(drawn=_world_and_mentors())
def test_whatever_is_written_is_accepted_whole_and_clears_nothing(drawn: tuple[World, pl.DataFrame]) -> None:
    """R10: zero rows refused, no blank clears, no tag is lost, nobody is subscribed again."""
    world, mentors = drawn
    judged = built(mentors, known_contacts(world))
    assert judged.rows.height + judged.held.height == mentors.height
    before = known_contacts(world)
    assert import_into(world, judged.rows) == []
    after = known_contacts(world)
    both = before.join(after, on="contact_id", suffix=" after")
    assert both.height == before.height
    for name in (
        "prefix",
        "first_name",
        "middle_name",
        "last_name",
        "external_id",
        "website",
        "notes",
        "primary_email",
    ):
        assert both.filter(pl.col(name).is_not_null() & pl.col(f"{name} after").is_null()).is_empty(), name
    for name in ("emails", "phones"):
        assert both.filter(pl.col(name).list.set_difference(f"{name} after").list.len() > 0).is_empty()
    sendable = pl.col("tags").list.filter(
        ~pl.element().str.contains(",", literal=True) & (pl.element().str.len_chars() <= 64)
    )
    assert both.filter(sendable.list.set_difference("tags after").list.len() > 0).is_empty()
    for name in ("email_subscribed", "sms_subscribed"):
        assert both.filter(~pl.col(name) & pl.col(f"{name} after")).is_empty()
    assert both.filter(
        pl.col("custom_fields").str.contains(SHIRT) & ~pl.col("custom_fields after").str.contains(SHIRT)
    ).is_empty()
    updated = judged.rows.filter(pl.col("Givebutter Contact ID").is_not_null())
    assert differing(updated.with_columns(Notes=pl.lit(None, pl.String)), after, PROGRAM).is_empty()


@settings(max_examples=8, deadline=None)
@given(drawn=_world_and_mentors(), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(drawn: tuple[World, pl.DataFrame], order: Any) -> None:
    world, mentors = drawn
    contacts = known_contacts(world)
    shuffled = list(range(mentors.height))
    order.shuffle(shuffled)
    one, other = built(mentors, contacts), built(mentors[shuffled], contacts.reverse())
    assert one.rows.equals(other.rows)
    assert one.held.drop("detail").equals(other.held.drop("detail"))
    assert sorted(one.problems["id"]) == sorted(other.problems["id"])
