"""Checks of people and their contacts: each names who, and those that block stop the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.checks.common import SHOWN
from tests.builders import YEAR, mentor, row, signup, together
from tests.small_year import conflict

if TYPE_CHECKING:
    from tests.checks.made_up import Check, Store

WREN = {"first_name": "Wren", "last_name": "Alder"}
ROBIN = {"first_name": "Robin", "last_name": "Birch"}


def test_sound_sign_ups_pass_every_check(check: Check) -> None:
    found = check("signups", together(signup("0001"), signup("0002", phone=None)))
    assert all(evaluation.passed for evaluation in found.found.values())
    assert set(found.found) == {"mn_id_is_unique", "phones_are_e164", "no_duplicate_signups"}
    assert found.went_on


def test_one_id_in_two_spellings_stops_the_run(check: Check) -> None:
    found = check("signups", together(signup("0042", **WREN), signup("42", **ROBIN), signup("0007")))
    description = found.failed("mn_id_is_unique")
    assert "Wren Alder" in description
    assert "Robin Birch" in description
    assert {shown["mn_id"] for shown in found.rows("mn_id_is_unique")} == {"0042", "42"}


@pytest.mark.parametrize("phone", ["7065550142", "+1 706 555 0142", "706-555-0142", "+1", "tel"])
def test_a_phone_that_is_not_e164_stops_the_run(check: Check, phone: str) -> None:
    found = check("signups", together(signup("0001"), signup("0002", phone=phone, **WREN)))
    assert "Wren Alder" in found.failed("phones_are_e164")
    assert [shown["phone"] for shown in found.rows("phones_are_e164")] == [phone]


def test_who_signed_up_twice_is_named(check: Check) -> None:
    twice = signup("0002", merged_submission_ids=["71", "70"], **WREN)
    found = check("signups", together(signup("0001"), twice))
    assert "Wren Alder" in found.warned("no_duplicate_signups")
    assert [shown["merged_submission_ids"] for shown in found.rows("no_duplicate_signups")] == ["71, 70"]


def test_who_shares_a_contact_is_named(check: Check, store: Store) -> None:
    store("signups", together(signup("0001", **WREN), signup("0002", **ROBIN)))
    links = [
        row("contact_links", year=YEAR, mn_id=mn_id, gb_match_status="shared", reason="the same claim to contact 7")
        for mn_id in ("0001", "0002")
    ]
    found = check("contact_links", together(*links))
    assert "Wren Alder, Robin Birch" in found.warned("no_shared_contacts")
    assert {shown["reason"] for shown in found.rows("no_shared_contacts")} == {"the same claim to contact 7"}
    alone = check("contact_links", row("contact_links", year=YEAR, mn_id="0001", gb_match_status="linked"))
    assert alone["no_shared_contacts"].passed


def test_who_waits_for_a_decision_is_named(check: Check, store: Store) -> None:
    store("mentors", together(mentor("0001", **WREN), mentor("0002", **ROBIN)))
    pending = conflict("0001", "contact_selection", "high")
    decided = conflict("0002", "phone_mismatch", "medium", status="resolved")
    found = check("sync_conflicts", together(pending, decided))
    description = found.warned("no_pending_conflicts")
    assert "Wren Alder" in description
    assert "Robin Birch" not in description
    (shown,) = found.rows("no_pending_conflicts")
    assert (shown["conflict_type"], shown["recommended_option"]) == ("contact_selection", "a")


def test_decided_conflicts_wait_for_nobody(check: Check) -> None:
    assert check("sync_conflicts", conflict("0002", "phone_mismatch", "medium", status="resolved"))[
        "no_pending_conflicts"
    ].passed


def test_whose_contact_has_duplicates_is_named(check: Check, store: Store) -> None:
    store("mentors", mentor("0001", **WREN))
    groups = [
        row("duplicate_gb_contacts", group_id=f"g{number}", mn_id=mn_id, contact_ids=[number, 9], matched_on="phone",
            value="+17065550142", suggested_keep=number)
        for number, mn_id in ((1, "0001"), (2, None))
    ]  # fmt: skip
    found = check("duplicate_gb_contacts", together(*groups))
    assert "Wren Alder" in found.warned("mentors_have_no_duplicates")
    (shown,) = found.rows("mentors_have_no_duplicates")
    assert (shown["contact_ids"], shown["suggested_keep"]) == ("1, 9", "1")
    assert check("duplicate_gb_contacts", groups[1])["mentors_have_no_duplicates"].passed


def test_a_long_list_is_shown_in_part_and_says_so(check: Check) -> None:
    many = together(*(signup(f"{number:04d}", merged_submission_ids=["7"]) for number in range(1, SHOWN + 31)))
    found = check("signups", many)
    assert f"The first {SHOWN} of {SHOWN + 30} are shown." in found.warned("no_duplicate_signups")
    assert len(found.rows("no_duplicate_signups")) == SHOWN
    assert found["no_duplicate_signups"].metadata["rows found"].value == SHOWN + 30
