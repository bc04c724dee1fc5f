from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.domain.submissions import (
    FORM_TABLES,
    answer_text,
    configured_forms,
    merge_submissions,
    missing_questions,
    name_parts,
    phone_text,
    require_questions,
    submission_rows,
    to_utc,
)
from mentor_pipeline.errors import ConfigError
from mentor_pipeline.tables import TABLES
from tests.builders import program

if TYPE_CHECKING:
    import polars as pl

    from mentor_pipeline.settings import SignupForm

EASTERN = ZoneInfo("America/New_York")
SIGNUP = program().jotform.signup
MONDAY = datetime(2025, 10, 6, tzinfo=UTC)
TUESDAY = datetime(2025, 10, 7, tzinfo=UTC)


def answered(type_: str, answer: Any = None, name: str = "question") -> dict[str, Any]:
    question = {"name": name, "order": "1", "text": "A question", "type": type_}
    return question if answer is None else {**question, "answer": answer, "prettyFormat": "never read"}


def submission(id_: str = "6001", **changes: Any) -> dict[str, Any]:
    """A sign-up as Jotform sends it, for the packaged year file."""
    return {
        "id": id_,
        "form_id": SIGNUP.form_id,
        "ip": "192.0.2.10",
        "created_at": "2025-09-01 10:30:00",
        "updated_at": None,
        "status": "ACTIVE",
        "answers": {
            "1": answered("control_head"),
            "3": answered("control_autoincrement", "MN0042"),
            "4": answered("control_fullname", {"first": " Ada ", "middle": "", "last": "Alder"}),
            "5": answered("control_textbox"),
            "6": answered("control_phone", {"full": "(706) 555-0142"}),
            "7": answered("control_email", "Ada@Example.com "),
            "8": answered("control_email", "ada@uga.edu"),
            "9": answered("control_radio", "Woman"),
            "10": answered("control_dropdown", "M"),
            "11": answered("control_dropdown", ""),
            "12": answered("control_checkbox", ["Option 1", "Option 3"]),
            "20": answered("control_button"),
        },
        **changes,
    }


def signup_rows(*submissions: dict[str, Any], form: SignupForm = SIGNUP) -> pl.DataFrame:
    return submission_rows("raw_mn_signups", submissions, form, EASTERN)


class TestSignups:
    def test_every_field(self) -> None:
        row = signup_rows(submission(updated_at="2025-12-01 08:00:00")).row(0, named=True)
        answers = json.loads(row.pop("answers"))
        assert row == {
            "submission_id": "6001",
            "form_id": SIGNUP.form_id,
            "status": "ACTIVE",
            "mn_id": "MN0042",
            "prefix": None,
            "first_name": "Ada",
            "middle_name": None,
            "last_name": "Alder",
            "phone": "+17065550142",
            "phone_raw": "(706) 555-0142",
            "personal_email": "Ada@Example.com",
            "uga_email": "ada@uga.edu",
            "gender": "Woman",
            "shirt_size": "M",
            "uga_class": None,
            "shift_preference": "Option 1, Option 3",
            "submitted_at": datetime(2025, 9, 1, 14, 30, tzinfo=UTC),
            "edited_at": datetime(2025, 12, 1, 13, tzinfo=UTC),
        }
        assert answers == submission()["answers"]

    def test_no_submissions_are_no_rows_of_the_same_columns(self) -> None:
        assert signup_rows().schema == signup_rows(submission()).schema

    def test_a_submission_without_answers(self) -> None:
        row = signup_rows(submission(answers=[])).row(0, named=True)
        assert (row["mn_id"], row["first_name"], row["phone"], row["answers"]) == (None, None, None, "{}")

    def test_tombstones_are_rows_too(self) -> None:
        rows = signup_rows(submission("1", status="DELETED"), submission("2", status="OVERQUOTA"))
        assert rows["status"].to_list() == ["DELETED", "OVERQUOTA"]

    def test_a_phone_that_is_none_stays_as_given(self) -> None:
        answers = submission()["answers"] | {"6": answered("control_phone", {"full": "call me maybe"})}
        row = signup_rows(submission(answers=answers)).row(0, named=True)
        assert (row["phone"], row["phone_raw"]) == (None, "call me maybe")

    def test_a_field_may_be_mapped_to_a_question_by_name(self) -> None:
        fields = SIGNUP.fields.model_copy(update={"mn_id": "mentorId"})
        answers = submission()["answers"] | {"33": answered("control_textbox", "77", name="mentorId")}
        rows = signup_rows(submission(answers=answers), form=SIGNUP.model_copy(update={"fields": fields}))
        assert rows["mn_id"].to_list() == ["77"]

    def test_the_preferred_name_may_be_the_prefix_of_the_name_question(self) -> None:
        fields = SIGNUP.fields.model_copy(update={"prefix": "4"})
        answers = submission()["answers"] | {
            "4": answered("control_fullname", {"prefix": "Addie", "first": "Ada", "last": "Alder"})
        }
        rows = signup_rows(submission(answers=answers), form=SIGNUP.model_copy(update={"fields": fields}))
        assert rows.select("prefix", "first_name").row(0) == ("Addie", "Ada")


class TestOtherForms:
    def test_the_tables_of_the_configured_forms(self) -> None:
        jotform = program().jotform
        assert list(configured_forms(jotform)) == list(FORM_TABLES.values())
        assert "raw_mn_partner_preference" not in configured_forms(jotform.model_copy(update={"partner": None}))

    @pytest.mark.parametrize("table", [table for table in FORM_TABLES.values() if table != "raw_mn_signups"])
    def test_columns_are_the_table_s(self, table: str) -> None:
        form = configured_forms(program().jotform)[table]
        rows = submission_rows(table, [submission()], form, EASTERN)
        added = {"year", "first_seen_at", "last_seen_at", "missing_since"}
        assert dict(rows.schema) == {name: type_ for name, type_ in TABLES[table].schema.items() if name not in added}

    def test_partner_wishes(self) -> None:
        form = configured_forms(program().jotform)["raw_mn_partner_preference"]
        answers = {
            "3": answered("control_textbox", "42"),
            "4": answered("control_fullname", {"first": "Ada", "last": "Alder", "suffix": "Jr."}),
            "5": answered("control_phone", {"area": "706", "phone": "5550142"}),
            "7": answered("control_phone", {"country": "44", "area": "20", "phone": "7946 0018"}),
            "9": answered("control_textarea", " We are\r\nroom mates. "),
        }
        row = submission_rows("raw_mn_partner_preference", [submission(answers=answers)], form, EASTERN).row(
            0, named=True
        )
        assert (row["name"], row["phone"]) == ("Ada Alder Jr.", "+17065550142")
        assert (row["partner_phone"], row["partner_phone_raw"]) == ("+442079460018", "+44 20 7946 0018")
        assert row["partner_notes"] == "We are\r\nroom mates."


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (None, None),
            ("", None),
            ("  ", None),
            (" a  b ", "a  b"),
            (5, "5"),
            ([], None),
            ({}, None),
            (["A", "", "B"], "A, B"),
            ({"0": "A", "1": "B", "other": "free text"}, "A, B, free text"),
            ({"other": "free text"}, "free text"),
            ({"first": "Ada", "last": "Alder"}, "Ada Alder"),
            ({"prefix": "Ms.", "first": "Ada", "middle": "B", "last": "Alder", "suffix": "Jr."}, "Ada B Alder Jr."),
            ({"area": "706", "phone": "555-0142"}, "706 555-0142"),
            ({"month": "9", "day": "5", "year": "2025"}, "2025-09-05"),
            ({"month": "09", "day": "05", "year": "2025", "hour": "1", "min": "5", "ampm": "PM"}, "2025-09-05 13:05"),
            ({"month": "09", "day": "05", "year": "2025", "hour": "12", "min": "30", "ampm": "AM"}, "2025-09-05 00:30"),
            ({"month": "09", "day": "05", "year": "2025", "hour": "17", "min": "00"}, "2025-09-05 17:00"),
            ({"month": "", "day": "", "year": "", "hour": "", "min": ""}, None),
            ({"addr_line1": "1 Elm St", "addr_line2": "", "city": "Athens", "state": "GA"}, "1 Elm St, Athens, GA"),
            ([["A", "B"], ["C"]], "A, B, C"),
        ],
    )
    def test_as_text(self, answer: Any, text: str | None) -> None:
        assert answer_text(answer) == text

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            ("706-555-0142", "706-555-0142"),
            ({"full": "(706) 555-0142"}, "(706) 555-0142"),
            ({"full": "", "area": "706", "phone": "5550142"}, "706 5550142"),
            ({"country": "1", "area": "706", "phone": "5550142"}, "+1 706 5550142"),
            ({"country": "+49", "area": "30", "phone": "23125000"}, "+49 30 23125000"),
            ({"country": "US", "area": "706", "phone": "5550142"}, "706 5550142"),
            ({"country": "1", "area": "", "phone": "+17065550142"}, "+17065550142"),
            ({"country": "1", "area": "", "phone": ""}, None),
            ({"area": None, "phone": None}, None),
            ({}, None),
            (None, None),
        ],
    )
    def test_phones(self, answer: Any, text: str | None) -> None:
        assert phone_text(answer) == text

    @pytest.mark.parametrize(
        ("answer", "parts"),
        [
            ({"first": "Ada", "middle": "B.", "last": "Alder"}, ("Ada", "B.", "Alder")),
            ({"first": "Ada", "last": ""}, ("Ada", None, None)),
            ({"first": "Ada", "last": "Alder", "suffix": "III"}, ("Ada", None, "Alder III")),
            ("Ada Alder", ("Ada", None, "Alder")),
            ("  Ada   Alder ", ("Ada", None, "Alder")),
            ("Alder, Ada", ("Ada", None, "Alder")),
            ("Alder Birch, Ada Beth", ("Ada", "Beth", "Alder Birch")),
            ("Ada Beth Alder", ("Ada", "Beth", "Alder")),
            ("Dan Fir Jr.", ("Dan", None, "Fir Jr.")),
            ("Dan Fir, Jr.", ("Dan", None, "Fir Jr.")),
            ("Ada", ("Ada", None, None)),
            ("Alder,", ("Alder", None, None)),
            ("", (None, None, None)),
            (None, (None, None, None)),
            ({}, (None, None, None)),
        ],
    )
    def test_names(self, answer: Any, parts: tuple[str | None, str | None, str | None]) -> None:
        assert name_parts(answer) == parts

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "0",
                            "other",
                            "full",
                            "area",
                            "phone",
                            "country",
                            "first",
                            "last",
                            "year",
                            "month",
                            "day",
                            "hour",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=8,
        )
    )
    def test_no_answer_stops_the_reading(self, answer: Any) -> None:
        answers = {qid: {"type": "x", "answer": answer} for qid in map(str, range(3, 13))}
        row = signup_rows(submission(answers=answers)).row(0, named=True)
        texts = [row[name] for name in ("mn_id", "prefix", "first_name", "last_name", "phone_raw", "personal_email")]
        assert all(text is None or (text and text == text.strip()) for text in texts)


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "utc"),
        [
            ("2025-07-01 12:00:00", datetime(2025, 7, 1, 16, tzinfo=UTC)),
            ("2025-12-01 12:00:00", datetime(2025, 12, 1, 17, tzinfo=UTC)),
            ("2025-11-02 01:30:00", datetime(2025, 11, 2, 5, 30, tzinfo=UTC)),  # twice that night: the first time round
            ("2025-03-09 02:30:00", datetime(2025, 3, 9, 7, 30, tzinfo=UTC)),  # skipped: by the offset before
            ("2025-07-01T12:00:00Z", datetime(2025, 7, 1, 12, tzinfo=UTC)),
            ("0000-00-00 00:00:00", None),
            ("", None),
            (None, None),
        ],
    )
    def test_wall_clock_to_utc(self, text: str | None, utc: datetime | None) -> None:
        assert to_utc(text, EASTERN) == utc


class TestMerging:
    def merge(self, known: pl.DataFrame, *submissions: dict[str, Any], now: datetime) -> pl.DataFrame:
        return merge_submissions(known, signup_rows(*submissions), year=2025, now=now).sort("submission_id")

    def test_unchanged_submissions_compare_equal_apart_from_when_they_were_seen(self) -> None:
        first = self.merge(TABLES["raw_mn_signups"].empty(), submission("1"), submission("2"), now=MONDAY)
        second = self.merge(first, submission("2"), submission("1"), now=TUESDAY)
        assert first.schema == TABLES["raw_mn_signups"].schema
        assert second.drop("last_seen_at").equals(first.drop("last_seen_at"))
        assert second["first_seen_at"].to_list() == [MONDAY, MONDAY]

    def test_a_time_that_cannot_be_read_is_that_of_the_first_sight(self) -> None:
        unread = (submission("1", created_at="0000-00-00 00:00:00"), submission("2", created_at=None))
        first = self.merge(TABLES["raw_mn_signups"].empty(), *unread, now=MONDAY)
        assert first["submitted_at"].to_list() == [MONDAY, MONDAY]
        assert self.merge(first, *unread, now=TUESDAY)["submitted_at"].to_list() == [MONDAY, MONDAY]

    def test_answers_that_are_suddenly_gone_are_kept(self) -> None:
        first = self.merge(TABLES["raw_mn_signups"].empty(), submission("1"), submission("2"), now=MONDAY)
        for nothing in (None, [], {}):
            emptied = submission("1", answers=nothing, status="DELETED")
            second = self.merge(first, emptied, submission("2"), now=TUESDAY)
            told = ["status", "last_seen_at"]
            assert second.drop(told).equals(first.drop(told))
            assert second["status"].to_list() == ["DELETED", "ACTIVE"]

    def test_a_submission_that_vanished_is_marked_and_comes_back(self) -> None:
        first = self.merge(TABLES["raw_mn_signups"].empty(), submission("1"), submission("2"), now=MONDAY)
        second = self.merge(first, submission("1"), now=TUESDAY)
        assert second["missing_since"].to_list() == [None, TUESDAY]
        assert self.merge(second, submission("1"), submission("2"), now=TUESDAY)["missing_since"].to_list() == [
            None,
            None,
        ]


class TestQuestions:
    QUESTIONS = {  # noqa: RUF012
        "1": {"qid": "1", "name": "heading", "text": "Welcome", "type": "control_head"},
        **{
            qid: {"qid": qid, "name": f"q{qid}", "text": f"Question {qid}", "type": "control_textbox"}
            for qid in map(str, range(3, 13))
        },
    }

    def test_a_form_that_fits(self) -> None:
        require_questions("raw_mn_signups", SIGNUP, self.QUESTIONS)

    def test_what_is_missing(self) -> None:
        assert missing_questions(self.QUESTIONS, {"mn_id": "3", "phone": "99", "name": "fullName", "gender": "q9"}) == [
            "field phone is mapped to question 99, which the form does not have",
            "field name is mapped to question fullName, which the form does not have",
        ]

    def test_the_error_names_form_field_and_the_questions_that_there_are(self) -> None:
        questions = {qid: question for qid, question in self.QUESTIONS.items() if qid != "6"}
        with pytest.raises(ConfigError, match=rf"form {SIGNUP.form_id} \(jotform.signup\)") as caught:
            require_questions("raw_mn_signups", SIGNUP, questions)
        message = str(caught.value)
        assert "field phone is mapped to question 6" in message
        assert "7 (q7): Question 7" in message
        assert "Welcome" not in message
