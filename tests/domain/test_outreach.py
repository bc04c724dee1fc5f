"""Campaigns and their messages (R11)."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.outreach import load_campaigns, outreach_messages, parse_campaign, sms_segments
from mentor_pipeline.errors import ConfigError
from mentor_pipeline.settings import packaged_config_dir
from tests.builders import contact, mentor, together


def campaign(**values):
    return parse_campaign("nudge", {"text": "Hi {preferred_name}", **values})


def messages(*mentors, contacts=None, **values):
    found = outreach_messages([campaign(**values)], together(*mentors), contact() if contacts is None else contacts)
    return {row["mn_id"]: row for row in found.rows.iter_rows(named=True)}, found.problems


class TestFile:
    def test_an_unknown_field_is_refused_with_those_that_exist(self):
        with pytest.raises(ConfigError, match=r"Campaign nudge has faults[^{]*text: .*no such field \{nickname\}") as e:
            campaign(text="Hi {nickname}")
        assert "preferred_name" in str(e.value)

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"text": "Hi {"}, "text: "),
            ({"text": "Hi {}"}, r"no such field \{\}"),
            ({"text": "{phone.__class__}"}, "no such field"),
            ({"text": "{amount_raised:.0f}"}, r"takes no format behind it: write just \{amount_raised\}"),
            ({"text": None}, "needs 'text', 'email', or both"),
            ({"text": "  "}, "text: "),
            ({"filter": {"stauts": ["complete"]}}, "filter.stauts"),
            ({"filter": {"status": ["done"]}}, r"filter.status.0: .*'needs_setup'"),
            ({"filter": {"amount_below": "much"}}, "filter.amount_below"),
        ],
    )
    def test_every_other_fault_is_named(self, values, reason):
        with pytest.raises(ConfigError, match=reason):
            campaign(**values)

    def test_all_faults_are_told_at_once(self):
        with pytest.raises(ConfigError, match=r"(?s)filter.training: .*text: "):
            campaign(text="{x}", filter={"training": "often"})

    def test_a_folder_is_read_by_file_name(self, tmp_path):
        (tmp_path / "b.toml").write_text('text = "B"')
        (tmp_path / "a.toml").write_text('name = "First"\ntext = "A"')
        (tmp_path / "notes.txt").write_text("no campaign")
        assert [found.name for found in load_campaigns(tmp_path)] == ["First", "b"]
        assert load_campaigns(tmp_path / "missing") == []

    @pytest.mark.parametrize("content", [b"text = ", b'text = "\xff"'])
    def test_a_file_that_is_no_toml_is_named(self, tmp_path, content):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.toml cannot be read"):
            load_campaigns(tmp_path)

    def test_two_campaigns_of_one_name_are_refused(self, tmp_path):
        (tmp_path / "a.toml").write_text('name = "b"\ntext = "A"')
        (tmp_path / "b.toml").write_text('text = "B"')
        with pytest.raises(ConfigError, match="share a name: b"):
            load_campaigns(tmp_path)

    def test_the_packaged_campaigns_are_off_but_sound_and_fit(self):
        raising = {"campaign_member": True, "status_category": "needs_fundraising"}
        page = {"fundraising_page_url": "https://pages.example.com/swab/a-rather-long-name-for-a-page"}
        packaged = load_campaigns(packaged_config_dir() / "campaigns")
        ada = mentor("0001", **raising, **page)
        assert outreach_messages(packaged, ada, contact()).rows.is_empty()
        switched_on = [example.model_copy(update={"active": True}) for example in packaged]
        found = outreach_messages(switched_on, ada, contact())
        assert found.rows.select("campaign", "left_out").rows() == [
            ("fundraising-nudge", None),
            ("training-reminder", None),
        ]
        assert found.problems.is_empty()


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ({}, ["0001", "0002", "0003"]),
        ({"status": ["complete", "needs_page"]}, ["0001", "0002"]),
        ({"statuses": ["No Page", "Not Fundraised"]}, ["0002", "0003"]),
        ({"shift": ["Option 1"]}, ["0001"]),
        ({"training": "attended"}, ["0001"]),
        ({"training": "not_attended"}, ["0002", "0003"]),
        ({"training": "signed_up"}, ["0001", "0002"]),
        ({"training": "not_signed_up"}, ["0003"]),
        ({"amount_at_least": 10}, ["0001", "0002"]),
        ({"amount_below": 75}, ["0002", "0003"]),
        ({"amount_at_least": 10, "amount_below": 75}, ["0002"]),
        ({"tags": ["Captain"]}, ["0002"]),
        ({"status": ["complete"], "tags": ["Captain"]}, []),
    ],
)
def test_the_filter_says_who_is_meant(condition, meant):
    mentors = (
        mentor(
            "0001",
            status_category="complete",
            statuses=[],
            shift_preference="Option 1",
            training_signup_done=True,
            training_done=True,
            amount_raised=Decimal(75),
        ),
        mentor(
            "0002",
            status_category="needs_page",
            training_signup_done=True,
            amount_raised=Decimal(10),
            tags=["Captain"],
        ),
        mentor("0003", statuses=["Not Fundraised"], tags=None, amount_raised=None),
    )
    assert sorted(messages(*mentors, filter=condition)[0]) == meant


def test_fields_are_filled_in():
    text = "{{{preferred_name}}} {amount_raised} of {fundraising_goal}, {statuses}, {training_done}"
    found, _ = messages(mentor("0001", preferred_name="Bee", amount_raised=Decimal("12.5")), text=text, email="x")
    assert found["0001"]["message_text"] == "{Bee} 12.50 of 75.00, No Page, false"
    assert found["0001"]["message_email"] == "x"
    assert found["0001"]["campaign"] == "nudge"
    assert found["0001"]["left_out"] is None


def test_who_is_switched_off_says_nothing():
    two = [campaign(active=False, text="{partner_phone}"), parse_campaign("on", {"active": True, "text": "Hi"})]
    found = outreach_messages(two, mentor("0001"), contact())
    assert found.rows["campaign"].to_list() == ["on"]
    assert found.problems.is_empty()


def test_a_channel_without_a_text_stays_empty():
    found, _ = messages(mentor("0001"), text=None, email="Hello")
    assert found["0001"]["message_text"] is None
    assert found["0001"]["sms_segments"] is None
    assert found["0001"]["left_out"] is None


@pytest.mark.parametrize(("extra", "left_out"), [(0, None), (1, "the text message is over 255 characters")])
def test_a_text_holds_255_characters(extra, left_out):
    name = "B" * (255 - len("Hi ") + extra)
    found, problems = messages(mentor("0001", preferred_name=name))
    assert found["0001"]["left_out"] == left_out
    assert problems["type"].to_list() == ["message_too_long"] * extra


@pytest.mark.parametrize(("length", "left_out"), [(2000, None), (2001, "the e-mail is over 2000 characters")])
def test_an_email_holds_2000_characters(length, left_out):
    found, _ = messages(mentor("0001"), text=None, email="x" * length)
    assert found["0001"]["left_out"] == left_out


def test_unsubscribed_people_are_left_out_on_that_channel():
    linked = mentor("0001", gb_contact_id=1), mentor("0002", gb_contact_id=2), mentor("0003", gb_contact_id=3)
    contacts = together(
        contact(1, sms_subscribed=False),
        contact(2, sms_subscribed=False, email_subscribed=False),
        contact(3, sms_subscribed=None, email_subscribed=None),
    )
    found, problems = messages(*linked, contacts=contacts, email="Hello")
    assert (found["0001"]["message_text"], found["0001"]["message_email"]) == (None, "Hello")
    assert found["0001"]["left_out"] is None
    assert found["0002"]["left_out"] == "unsubscribed from text messages; unsubscribed from e-mails"
    assert found["0003"]["message_text"] is not None
    assert problems.select("type", "severity", "field_name").rows() == [
        ("unsubscribed", "info", "message_text"),
        ("unsubscribed", "info", "message_email"),
    ]
    assert "for 2 mentors" in problems["message"][0]


def test_dropped_mentors_get_none_unless_named():
    dropped = mentor("0001", dropped=True, status_category="dropped")
    assert messages(dropped)[0]["0001"]["left_out"] == "has dropped"
    assert messages(dropped, include_dropped=True)[0]["0001"]["left_out"] is None
    assert messages(dropped, filter={"status": ["dropped"]})[0]["0001"]["left_out"] is None


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({"withdrawn": True}, "has withdrawn the sign-up"),
        ({"phone": None}, "no address for a text message"),
    ],
)
def test_others_who_get_none(changes, left_out):
    assert messages(mentor("0001", **changes))[0]["0001"]["left_out"] == left_out


@pytest.mark.parametrize("missing", [None, ""])
def test_nobody_gets_a_text_with_a_hole(missing):
    people = mentor("0001", shift_preference=missing), mentor("0002", shift_preference="Option 1")
    found, problems = messages(*people, text="Your shift: {shift_preference}")
    assert found["0001"]["left_out"] == "a field of the text message is empty"
    assert found["0002"]["message_text"] == "Your shift: Option 1"
    assert problems["type"].to_list() == ["message_field_empty"]
    assert "Ben Birch (0001)" in problems["message"][0]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("é" * 160, 1),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("€" * 153, 3),  # 76 pairs fit into 153 places: a pair is never split
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" * 134, 2),
        ("ç" * 135, 3),
        ("🎓" * 35, 1),
        ("🎓" * 36, 2),
        ("🎓" * 67, 3),  # 33 pairs fit into 67 places
        ("a" * 160 + "🎓", 3),
    ],
)
def test_segments_of_a_text_message(text, segments):
    assert sms_segments(text) == segments


def test_segments_are_shown():
    assert messages(mentor("0001"), text="ç" * 71)[0]["0001"]["sms_segments"] == 2


@settings(max_examples=20, deadline=None)
@given(st.permutations(["0001", "0002", "0003", "0004"]))
def test_the_order_of_rows_never_matters(order):
    def found(mn_ids):
        people = [mentor(mn_id, phone=None if mn_id == "0003" else "+17065550142") for mn_id in mn_ids]
        two = [campaign(), parse_campaign("other", {"text": "{shift_preference}"})]
        return outreach_messages(two, together(*people), contact())

    assert_frame_equal(found(order).rows, found(sorted(order)).rows)
    assert_frame_equal(found(order).problems, found(sorted(order)).problems)
    assert found(order).rows.filter(pl.col("left_out").is_null())["mn_id"].to_list() == ["0001", "0002", "0004"]
