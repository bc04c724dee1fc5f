"""Partner wishes (R7)."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.partners import match_partners
from tests.builders import mentor, phone_of, together


def wisher(mn_id: str, wish: str | None = None, *, as_given: str | None = None, **changes) -> pl.DataFrame:
    """A mentor who wished the mentor with that id by phone, or gave that text."""
    phone = phone_of(int(wish)) if wish else None
    given_text = pl.lit(as_given or phone, dtype=pl.String).alias("partner_phone_raw")
    return mentor(mn_id, partner_phone=phone, **changes).with_columns(given_text)


def outcome(*mentors: pl.DataFrame, **more) -> tuple[dict[str, tuple], dict[str, str]]:
    """Partner, mutual and shift match by mentor; and kind of problem by mentor."""
    found = match_partners(together(*mentors), **more)
    rows = found.rows.select("mn_id", "partner_mn_id", "mutual", "shift_match").rows()
    return {row[0]: row[1:] for row in rows}, dict(found.problems.select("mn_id", "type").rows())


def test_both_named_each_other():
    matches, problems = outcome(wisher("0001", "0002"), wisher("0002", "0001"), wisher("0003"))
    assert matches == {"0001": ("0002", True, False), "0002": ("0001", True, False)}
    assert problems == {}


def test_the_shifts_agree():
    def pair(one, other):
        return outcome(wisher("0001", "0002", shift_preference=one), wisher("0002", "0001", shift_preference=other))[0]

    assert pair("Option 1", "Option 1")["0001"] == ("0002", True, True)
    assert pair("Option 1", "Option 2")["0001"] == ("0002", True, False)
    assert pair(None, None)["0001"] == ("0002", True, False)


def test_a_mentor_id_instead_of_a_phone():
    matches, _ = outcome(wisher("0001", as_given=" mn-2 "), wisher("0002", as_given="0001"))
    assert matches == {"0001": ("0002", True, False), "0002": ("0001", True, False)}
    matches, _ = outcome(wisher("0001", as_given="SWAB2"), wisher("0002"), id_prefix="SWAB")
    assert matches["0001"][0] == "0002"


def test_an_unreciprocated_wish():
    matches, problems = outcome(wisher("0001", "0002"), wisher("0002"))
    assert matches == {"0001": ("0002", False, False)}
    assert problems == {"0001": "partner_unreciprocated"}


def test_a_contradictory_wish():
    matches, problems = outcome(wisher("0001", "0002"), wisher("0002", "0003"), wisher("0003", "0002"))
    assert matches["0001"] == ("0002", False, False)
    assert problems == {"0001": "partner_contradictory"}


def test_an_unknown_phone_or_text():
    matches, problems = outcome(wisher("0001", "0777"), wisher("0002", as_given="my roommate"))
    assert matches == {"0001": (None, False, False), "0002": (None, False, False)}
    assert problems == {"0001": "partner_unknown", "0002": "partner_unknown"}


def test_who_named_themselves():
    matches, problems = outcome(wisher("0001", "0001"), wisher("0002", as_given="2"))
    assert matches["0001"][0] is None
    assert problems == {"0001": "partner_is_self", "0002": "partner_is_self"}


def test_a_phone_that_several_mentors_share_means_nobody():
    sibling = wisher("0003", phone=phone_of(2))
    matches, problems = outcome(wisher("0001", "0002"), wisher("0002"), sibling)
    assert matches["0001"][0] is None
    assert problems == {"0001": "partner_phone_shared"}


def test_a_shared_phone_means_the_one_who_wished_back():
    sibling = wisher("0003", phone=phone_of(2))
    matches, problems = outcome(wisher("0001", "0002"), wisher("0002", "0001"), sibling)
    assert matches == {"0001": ("0002", True, False), "0002": ("0001", True, False)}
    assert problems == {}


def test_siblings_who_name_their_common_phone_mean_each_other():
    matches, _ = outcome(wisher("0001", "0001"), wisher("0002", "0001", phone=phone_of(1)))
    assert matches == {"0001": ("0002", True, False), "0002": ("0001", True, False)}


def test_years_do_not_mix():
    matches, _ = outcome(wisher("0001", "0002"), wisher("0002", "0001", year=2024))
    assert matches == {"0001": (None, False, False), "0002": (None, False, False)}


def test_nobody_wished():
    found = match_partners(wisher("0001"))
    assert found.rows.is_empty()
    assert found.problems.is_empty()


def test_the_note_and_the_message_say_who():
    found = match_partners(together(wisher("0001", "0002"), wisher("0002", dropped=True, full_name="Cy Cedar")))
    assert found.rows["note"].to_list() == ["named Cy Cedar (0002), who has dropped, and was not named back"]
    assert "Ben Birch (0001)" in found.problems["message"][0]


@settings(max_examples=25, deadline=None)
@given(st.permutations([("0001", "0002"), ("0002", "0001"), ("0003", "0001"), ("0004", None), ("0005", "0009")]))
def test_the_order_of_rows_never_matters(wishes):
    found = match_partners(together(*(wisher(*wish) for wish in wishes)))
    ordered = match_partners(together(*(wisher(*wish) for wish in sorted(wishes))))
    assert_frame_equal(found.rows, ordered.rows)
    assert_frame_equal(found.problems, ordered.problems)
