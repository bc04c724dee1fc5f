"""Category, statuses, sentence and tags (R7)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.status import CATEGORIES, owned_tags, with_status
from tests.builders import mentor, program

PROGRAM = program()
TRAINED = {"training_signup_done": True, "training_done": True}
PREFERS = {"shift_preference": "Option 1"}
DONE = {**TRAINED, **PREFERS, "setup_done": True, "campaign_member": True, "amount_raised": Decimal(75)}


def status(**changes):
    return with_status(mentor("0001", preferred_name="Bee", **changes), PROGRAM).row(0, named=True)


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({}, "needs_setup"),
        ({"setup_done": True}, "needs_page"),
        ({"campaign_member": True}, "needs_fundraising"),
        ({"campaign_member": True, "amount_raised": Decimal("74.99")}, "needs_fundraising"),
        ({"campaign_member": True, "amount_raised": Decimal(75)}, "complete"),
        ({"fundraised_done": True}, "complete"),
        ({"dropped": True}, "dropped"),
        ({**DONE, "dropped": True}, "dropped"),
        ({"dropped": None, "fundraised_done": None, "amount_raised": None, "campaign_member": None}, "needs_setup"),
    ],
)
def test_the_category_is_the_first_that_holds(changes, category):
    assert status(**changes)["status_category"] == category


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (DONE, []),
        ({**DONE, "dropped": True}, ["Dropped 25"]),
        ({**DONE, "campaign_member": False}, ["No Page"]),
        ({**DONE, "training_signup_done": False, "training_done": False}, ["No Training Signup"]),
        ({**DONE, "training_done": False}, ["Training Incomplete"]),
        ({**DONE, "training_signup_done": False}, []),
        ({**DONE, "amount_raised": Decimal(74)}, ["Not Fundraised"]),
        ({**DONE, "amount_raised": Decimal(74), "fundraised_done": True}, []),
        ({**DONE, "shift_preference": None}, ["No Preferences"]),
        ({**DONE, "shift_preference": None, "partner_phone": "+17065550142"}, []),
        ({}, ["No Page", "No Training Signup", "No Preferences"]),
    ],
)
def test_statuses_are_all_that_hold(changes, expected):
    found = status(**changes)
    assert found["statuses"] == [*expected, f"Status: {found['status_category']}", "Mentors 2025"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Bee, your next step is to fill in the setup form for your Givebutter page, then raise $75."),
        (
            {"setup_done": True},
            "Bee, your next step is to join the campaign with your own Givebutter page and raise $75.",
        ),
        (
            {"campaign_member": True, "amount_raised": Decimal("12.50")},
            "Bee, you have raised $12.50 of $75; your next step is to raise the missing $62.50.",
        ),
        (
            {"fundraised_done": True},
            "Bee, thank you, your fundraising is complete; your next step is to sign up for training.",
        ),
        (
            {"fundraised_done": True, "training_signup_done": True},
            "Bee, thank you, your fundraising is complete; your next step is to attend your training.",
        ),
        (DONE, "Bee, thank you, your fundraising is complete; you are all set, see you on November 9!"),
        ({"dropped": True}, "Bee, you are marked as dropped; please tell us if you would like to come back."),
    ],
)
def test_the_sentence_names_the_next_step_and_the_amount_missing(changes, sentence):
    assert status(**changes)["status_text"] == sentence


def test_own_tags_are_the_statuses_that_can_be_sent():
    """The year file allows no such tag; should one come about all the same, it is not sent as two."""
    tags = PROGRAM.givebutter.model_copy(update={"mentor_tag": "Mentors, 2025"})
    with_comma = PROGRAM.model_copy(update={"givebutter": tags})
    found = with_status(mentor("0001", **DONE), with_comma).row(0, named=True)
    assert found["statuses"] == ["Status: complete", "Mentors, 2025"]
    assert found["own_tags"] == ["Status: complete"]


@settings(max_examples=50, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(
                ["dropped", "fundraised_done", "campaign_member", "setup_done", "training_signup_done"], st.booleans()
            ),
            "training_done": st.sampled_from([True, False, None]),
            "amount_raised": st.decimals(0, 200, places=2),
            "partner_phone": st.sampled_from([None, "+17065550142"]),
        }
    )
)
def test_whatever_holds_there_is_one_category_a_sentence_and_only_tags_of_ours(changes):
    found = status(**changes)
    assert found["status_category"] in CATEGORIES
    assert found["status_text"].startswith("Bee, ")
    assert set(found["own_tags"]) <= owned_tags(PROGRAM) | {"Dropped 25"}
    assert sum(tag.startswith("Status: ") for tag in found["statuses"]) == 1
    assert all(len(tag) <= 64 for tag in found["statuses"])
