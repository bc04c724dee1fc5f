"""Groups of duplicate contacts (R9)."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.duplicates import duplicate_groups
from tests.builders import NOW, contact, phone_of, together

PHONE = phone_of(1)
EMAIL = "shared@example.com"


def links(**contacts: int | None) -> pl.DataFrame:
    """Contact by mentor: `links(mn_0001=7)`."""
    rows = [(name.removeprefix("mn_"), contact_id) for name, contact_id in contacts.items()]
    return pl.DataFrame(rows, schema={"mn_id": pl.String, "gb_contact_id": pl.Int64}, orient="row")


def groups(*contacts: pl.DataFrame, **of_mentors: int | None) -> pl.DataFrame:
    return duplicate_groups(together(*contacts), links(**of_mentors))


def test_contacts_with_one_phone_are_a_group():
    found = groups(
        contact(2, primary_phone=PHONE, first_name="Bo", last_name="Elm"),
        contact(1, primary_phone=None, additional_phones=[PHONE], first_name="Di", last_name=None),
        contact(3),
    )
    assert found.select("matched_on", "value", "contact_ids", "names", "size").rows() == [
        ("phone", PHONE, [1, 2], ["Di", "Bo Elm"], 2)
    ]


def test_phone_groups_come_first():
    found = groups(
        contact(1, primary_email="a@example.com"),
        contact(2, primary_email="a@example.com"),
        contact(3, primary_phone=PHONE),
        contact(4, primary_phone=PHONE),
    )
    assert found["matched_on"].to_list() == ["phone", "email"]


def test_an_email_group_within_a_phone_group_is_not_listed_again():
    same = {"primary_phone": PHONE, "primary_email": EMAIL}
    assert groups(contact(1, **same), contact(2, **same), contact(3, primary_phone=PHONE))["matched_on"].to_list() == [
        "phone"
    ]


def test_an_email_group_that_reaches_beyond_is_listed():
    same = {"primary_phone": PHONE, "primary_email": EMAIL}
    found = groups(contact(1, **same), contact(2, **same), contact(3, primary_email=EMAIL))
    assert found.select("matched_on", "size").rows() == [("phone", 2), ("email", 3)]


def test_two_phone_groups_do_not_cover_an_email_group_together():
    found = groups(
        contact(1, primary_phone=PHONE, primary_email=EMAIL),
        contact(2, primary_phone=PHONE),
        contact(3, primary_phone=phone_of(2), primary_email=EMAIL),
        contact(4, primary_phone=phone_of(2)),
    )
    assert found["matched_on"].to_list() == ["phone", "phone", "email"]


def test_archived_and_missing_contacts_are_left_out():
    shared = {"primary_phone": PHONE}
    gone = (contact(2, archived_at=NOW, **shared), contact(3, missing_since=NOW, **shared))
    assert groups(contact(1, **shared), *gone).is_empty()


def test_one_contact_twice_with_a_number_is_no_group():
    assert groups(contact(1, primary_phone=PHONE, additional_phones=[PHONE])).is_empty()


def test_the_mentors_contact_is_kept():
    fuller = contact(9, primary_phone=PHONE, additional_emails=["x@example.com"], address_line_1="1 Elm St")
    found = groups(contact(1, primary_phone=PHONE), fuller, mn_0001=1, mn_0002=None)
    assert found.select("mn_id", "suggested_keep").rows() == [("0001", 1)]
    assert found["what_to_do"][0].startswith("Contact 1 is mentor 0001's: keep it.")


def test_contacts_of_several_mentors_are_kept_apart():
    siblings = (contact(1, primary_phone=PHONE), contact(2, primary_phone=PHONE))
    found = groups(*siblings, mn_0002=2, mn_0001=1)
    assert found.select("mn_id", "suggested_keep", "what_to_do").rows() == [
        ("0001", None, "Contacts of mentors 0001, 0002, who share it: keep them apart.")
    ]


def test_without_a_mentor_the_most_complete_then_the_most_recent_is_kept():
    shared = {"primary_phone": PHONE, "first_name": "Bo", "last_name": "Elm"}
    fresh = {"last_modified_at": NOW}
    complete = contact(1, address_line_1="1 Elm St", last_modified_at=NOW - timedelta(days=900), **shared)
    assert groups(complete, contact(2, **fresh, **shared))["suggested_keep"].to_list() == [1]
    assert groups(contact(1, **fresh, **shared), contact(2, **shared))["suggested_keep"].to_list() == [1]
    assert groups(contact(1, **shared), contact(2, **shared))["suggested_keep"].to_list() == [2]


def test_what_to_do_depends_on_the_names():
    def advice(first: str) -> str:
        same = contact(1, primary_phone=PHONE, first_name="Bo", last_name="Elm")
        return groups(same, contact(2, primary_phone=PHONE, first_name=first, last_name="Elm"))["what_to_do"][0]

    assert "merge the others into contact 2" in advice("BO")
    assert "Different names" in advice("Di")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, phone_of(1), phone_of(2)]), st.sampled_from([None, EMAIL])),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_never_matters(shared, random):
    rows = [
        contact(number, primary_phone=phone, primary_email=email) for number, (phone, email) in enumerate(shared, 1)
    ]
    found = groups(*rows, mn_0001=1)
    random.shuffle(rows)
    assert_frame_equal(groups(*rows, mn_0001=1), found)
    assert found["group_id"].is_unique().all()
    for group in found.iter_rows(named=True):
        position = 0 if group["matched_on"] == "phone" else 1
        members = [number for number, values in enumerate(shared, 1) if values[position] == group["value"]]
        assert group["contact_ids"] == members
