"""Versions of mentors: R8 (one version per change), R2 (history follows a real id), as-of reads."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.history import (
    as_of,
    consecutive,
    current_records,
    decode,
    encode,
    next_versions,
    present_ids,
    rename,
    stamp,
)
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, alias, mentor, together

HISTORY = TABLES["mentor_history"]
LATER = NOW + timedelta(hours=1)
LATEST = NOW + timedelta(hours=2)


def upsert(history: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """What the warehouse does with rows of mentor_history."""
    return pl.concat([history.join(rows, on=HISTORY.key, how="anti"), rows])


def run(history: pl.DataFrame, mentors: pl.DataFrame, at=NOW, aliases=None) -> pl.DataFrame:
    stamped = stamp(mentors, history, now=at, aliases=aliases)
    return upsert(history, next_versions(history, stamped, run_id="run", now=at, aliases=aliases))


def versions(history: pl.DataFrame) -> list[tuple[object, ...]]:
    return history.sort("mn_id", "version").select("mn_id", "version", "valid_from", "valid_to").rows()


def test_a_mentor_seen_first_gets_version_1():
    assert versions(run(HISTORY.empty(), mentor("0001"))) == [("0001", 1, NOW, None)]


def test_an_unchanged_mentor_gets_nothing():
    history = run(HISTORY.empty(), mentor("0001"))
    assert next_versions(history, mentor("0001"), run_id="run", now=LATER).is_empty()


def test_a_changed_mentor_gets_the_next_version_and_the_one_before_is_closed():
    history = run(HISTORY.empty(), together(mentor("0001"), mentor("0002")))
    history = run(history, together(mentor("0001", shirt_size="L"), mentor("0002")), LATER)
    assert versions(history) == [("0001", 1, NOW, LATER), ("0001", 2, LATER, None), ("0002", 1, NOW, None)]


def test_machinery_times_make_no_version():
    history = run(HISTORY.empty(), mentor("0001"))
    touched = mentor("0001", created_at=LATER, updated_at=LATER)
    assert next_versions(history, touched, run_id="run", now=LATEST).is_empty()


def test_a_mentor_who_is_no_longer_one_is_closed_and_opens_the_next_version_on_coming_back():
    both = together(mentor("0001"), mentor("0002"))
    history = run(HISTORY.empty(), both)
    history = run(history, mentor("0001"), LATER)
    assert versions(history)[1] == ("0002", 1, NOW, LATER)
    assert current_records(history)["mn_id"].to_list() == ["0001"]
    history = run(history, both, LATEST)
    assert versions(history)[1:] == [("0002", 1, NOW, LATER), ("0002", 2, LATEST, None)]


def test_a_year_without_mentors_is_left_alone():
    history = run(HISTORY.empty(), mentor("0001"))
    assert next_versions(history, TABLES["mentors"].empty(), run_id="run", now=LATER).is_empty()
    assert versions(run(history, mentor("0001", year=2026), LATER)) == [
        ("0001", 1, NOW, None),
        ("0001", 1, LATER, None),
    ]


def test_a_version_begins_when_the_mentors_table_says_so():
    stamped = stamp(mentor("0001"), HISTORY.empty(), now=NOW)
    written_later = next_versions(HISTORY.empty(), stamped, run_id="run", now=LATER)
    assert written_later["valid_from"].to_list() == [NOW]


def test_records_come_back_as_they_were():
    rich = mentor(
        "0007",
        amount_raised=Decimal("1234567890.10"),
        gb_contact_id=2**53 + 1,
        tags=["Mentors 2025", 'ä, "b"', ""],
        statuses=[],
        notes='line\nbreak "quoted" 🎓',
        setup_at=NOW + timedelta(microseconds=1),
        training_done=None,
    )
    back = current_records(run(HISTORY.empty(), rich))
    expected = rich.with_columns(created_at=pl.lit(NOW).cast(rich.schema["created_at"])).with_columns(
        updated_at="created_at"
    )
    assert_frame_equal(back.drop("version", "valid_from"), expected)


def test_the_encoding_does_not_depend_on_the_order_of_columns():
    record = mentor("0001", tags=["b", "a"])
    assert encode(record).to_list() == encode(record.select(reversed(record.columns))).to_list()
    assert orjson.loads(encode(record)[0])["tags"] == ["b", "a"]


def test_a_record_from_before_a_column_existed_reads_as_null():
    older = orjson.loads(encode(mentor("0001"))[0])
    del older["shirt_size"]
    older["gone_since"] = "a column that mentors no longer has"
    record = decode(pl.Series([orjson.dumps(older).decode()]))
    assert record["shirt_size"].to_list() == [None]
    assert record["first_name"].to_list() == ["Ben"]


def test_stored_json_in_another_order_is_no_change():
    history = run(HISTORY.empty(), mentor("0001")).with_columns(
        pl.col("record").map_elements(
            lambda text: orjson.dumps(dict(reversed(orjson.loads(text).items())), option=orjson.OPT_INDENT_2).decode(),
            return_dtype=pl.String,
        )
    )
    assert next_versions(history, mentor("0001"), run_id="run", now=LATER).is_empty()


def test_as_of_shows_the_mentors_of_that_time():
    history = run(HISTORY.empty(), mentor("0001", shirt_size="M"))
    history = run(history, together(mentor("0001", shirt_size="L"), mentor("0002")), LATEST)
    assert as_of(history, NOW - timedelta(seconds=1)).is_empty()
    assert as_of(history, LATER).select("mn_id", "shirt_size").rows() == [("0001", "M")]
    assert as_of(history, LATEST)["shirt_size"].to_list() == ["L", "M"]


def test_stamp_fills_created_and_updated():
    history = run(HISTORY.empty(), mentor("0001"))
    history = run(history, mentor("0001", shirt_size="L"), LATER)
    same = together(mentor("0001", shirt_size="L"), mentor("0002"))
    stamped = stamp(same, history, now=LATEST)
    assert stamped.select("created_at", "updated_at").rows() == [(NOW, LATER), (LATEST, LATEST)]
    assert stamp(mentor("0001", shirt_size="S"), history, now=LATEST)["updated_at"].to_list() == [LATEST]


class TestARealIdArrives:
    """R2: the mentor goes on under the real id, with its history."""

    aliases = alias("999001", "0042")

    @pytest.fixture
    def history(self) -> pl.DataFrame:
        history = run(HISTORY.empty(), mentor("999001", shirt_size="M"))
        return run(history, mentor("0042", shirt_size="M"), LATER, self.aliases)

    def test_the_next_version_is_written_under_it_and_goes_on_counting(self, history):
        assert versions(history) == [("0042", 2, LATER, None), ("999001", 1, NOW, LATER)]

    def test_the_second_run_adds_nothing(self, history):
        again = next_versions(history, mentor("0042", shirt_size="M"), run_id="r", now=LATEST, aliases=self.aliases)
        assert again.is_empty()

    def test_the_history_reads_under_it(self, history):
        assert rename(history, self.aliases)["mn_id"].to_list() == ["0042", "0042"]
        assert rename(history, self.aliases)["stored_mn_id"].sort().to_list() == ["0042", "999001"]

    def test_created_stays_when_the_placeholder_was_seen(self, history):
        record = current_records(history, self.aliases)
        assert record.select("mn_id", "created_at", "updated_at", "version").rows() == [("0042", NOW, LATER, 2)]

    def test_its_predecessor_is_the_placeholders_version(self, history):
        pairs = consecutive(history, self.aliases).sort("version")
        assert pairs.select("stored_mn_id", "previous_mn_id").rows() == [("999001", None), ("0042", "999001")]

    def test_when_both_had_a_history_the_real_ids_is_continued(self):
        history = run(HISTORY.empty(), together(mentor("999001"), mentor("0042")))
        history = run(history, together(mentor("999001", shirt_size="S"), mentor("0042")), LATER)
        history = run(history, mentor("0042", shirt_size="L"), LATEST, self.aliases)
        assert versions(history) == [
            ("0042", 1, NOW, LATEST),
            ("0042", 2, LATEST, None),
            ("999001", 1, NOW, LATER),
            ("999001", 2, LATER, LATEST),
        ]
        assert current_records(history, self.aliases)["shirt_size"].to_list() == ["L"]
        pairs = consecutive(history, self.aliases).filter(stored_mn_id="0042", version=2)
        assert pairs["previous_mn_id"].to_list() == ["0042"]

    def test_of_two_placeholders_the_later_one_is_continued(self):
        aliases = together(alias("999001", "0042"), alias("999002", "0042"))
        history = run(HISTORY.empty(), mentor("999001"))
        history = run(history, together(mentor("999001"), mentor("999002")), LATER)
        history = run(history, mentor("0042"), LATEST, aliases)
        assert versions(history)[0] == ("0042", 2, LATEST, None)
        assert history["valid_to"].null_count() == 1
        pairs = consecutive(history, aliases).filter(stored_mn_id="0042")
        assert pairs["previous_mn_id"].to_list() == ["999002"]

    def test_a_chain_is_followed_to_its_end_and_a_circle_ends(self):
        chain = together(alias("999001", "999002"), alias("999002", "0042"))
        assert present_ids(mentor("999001"), chain)["mn_id"].to_list() == ["0042"]
        circle = together(alias("999001", "999002"), alias("999002", "999001"))
        assert present_ids(mentor("999001"), circle)["mn_id"].len() == 1


snapshots = st.lists(
    st.dictionaries(
        st.sampled_from(["0001", "0002", "0003"]),
        st.fixed_dictionaries(
            {"shirt_size": st.sampled_from([None, "S", "L"]), "dropped": st.booleans(), "tags": st.lists(st.text())}
        ),
        min_size=1,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=20, deadline=None)
@given(snapshots)
def test_every_snapshot_can_be_read_back_at_its_time(taken):
    history = HISTORY.empty()
    for hour, snapshot in enumerate(taken):
        mentors = together(*(mentor(mn_id, **values) for mn_id, values in snapshot.items()))
        history = run(history, mentors, NOW + timedelta(hours=hour))
    for hour, snapshot in enumerate(taken):
        mentors = together(*(mentor(mn_id, **values) for mn_id, values in sorted(snapshot.items())))
        then = as_of(history, NOW + timedelta(hours=hour, minutes=30))
        unstamped = ["created_at", "updated_at"]
        assert_frame_equal(then.select(mentors.columns).drop(unstamped), mentors.drop(unstamped))


@settings(max_examples=10, deadline=None)
@given(st.permutations(["0001", "0002", "0003", "0004"]))
def test_the_order_of_rows_never_matters(order):
    before = together(*(mentor(mn_id) for mn_id in sorted(order)))
    history = run(HISTORY.empty(), before)
    changed = [mentor(mn_id, shirt_size="XL" if mn_id > "0002" else "M") for mn_id in order]
    rows = next_versions(history.sample(fraction=1, shuffle=True, seed=1), together(*changed), run_id="run", now=LATER)
    ordered = next_versions(history, together(*changed).sort("mn_id"), run_id="run", now=LATER)
    assert_frame_equal(rows, ordered)
