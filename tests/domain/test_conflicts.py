"""The life of conflicts and the decisions about them (R9)."""

from __future__ import annotations

from datetime import timedelta

import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mentor_pipeline.domain.conflicts import decision_action, live_on
from mentor_pipeline.domain.findings import Conflict, conflict_rows
from mentor_pipeline.errors import DecisionRefusedError
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, action, alias, together

STORED = TABLES["sync_conflicts"]
LATER = NOW + timedelta(hours=1)
LATEST = NOW + timedelta(hours=2)
NO_ACTIONS = TABLES["operator_actions"].empty()
NOTHING = TABLES["detected_conflicts"].empty()


def two_contacts(a: int = 7, b: int = 8, *, mn_id: str = "0001", score: int = 500) -> Conflict:
    options = ({"value": contact, "source": "givebutter", "score": score} for contact in (a, b))
    return Conflict(mn_id, "contact_selection", *options, source_table="contact_matches", recommended_option="a")


def detected(*conflicts: Conflict, asset: str = "contact_matches") -> pl.DataFrame:
    return TABLES["detected_conflicts"].conform(conflict_rows(YEAR, conflicts).with_columns(asset=pl.lit(asset)))


def run(stored: pl.DataFrame, found: pl.DataFrame, actions: pl.DataFrame = NO_ACTIONS, at=NOW, **more) -> pl.DataFrame:
    rows = live_on(found, stored, actions, now=at, **more)
    return pl.concat([stored.join(rows, on="id", how="anti"), rows]).sort("id")


def anything(_conflict, value):
    return value


def decide(stored: pl.DataFrame, decision: str, value: str | None = None, at=LATER) -> pl.DataFrame:
    conflict = stored.row(0, named=True)
    return action(at=at, **decision_action(conflict["id"], conflict, decision, value, check_custom=anything))


def states(stored: pl.DataFrame) -> list[tuple[object, ...]]:
    return stored.select("status", "user_decision", "custom_value", "resolved_at", "resolved_by").rows()


def seen(stored: pl.DataFrame) -> list[tuple[object, ...]]:
    return stored.select("detected_at", "last_seen_at").rows()


PENDING = ("pending", None, None, None, None)


class TestLife:
    def test_a_new_conflict_is_pending(self):
        stored = run(STORED.empty(), detected(two_contacts()))
        assert states(stored) == [PENDING]
        assert seen(stored) == [(NOW, NOW)]

    def test_the_same_conflict_is_one_row_and_its_details_are_refreshed(self):
        stored = run(STORED.empty(), detected(two_contacts(7, 8, score=500)))
        stored = run(stored, detected(two_contacts(8, 7, score=499)), at=LATER)
        assert seen(stored) == [(NOW, LATER)]
        assert orjson.loads(stored["option_a"][0]) == {"value": 8, "source": "givebutter", "score": 499}

    def test_found_by_two_assets_it_is_one_row(self):
        found = together(detected(two_contacts()), detected(two_contacts(), asset="mentors"))
        assert run(STORED.empty(), found).height == 1

    def test_no_longer_true_it_is_obsolete_and_true_again_pending(self):
        stored = run(STORED.empty(), detected(two_contacts()))
        stored = run(stored, NOTHING, at=LATER)
        assert states(stored) == [("obsolete", None, None, None, None)]
        assert live_on(NOTHING, stored, NO_ACTIONS, now=LATEST).is_empty()
        stored = run(stored, detected(two_contacts()), at=LATEST)
        assert states(stored) == [PENDING]
        assert seen(stored) == [(NOW, LATEST)]

    def test_changed_options_make_a_new_one(self):
        stored = run(STORED.empty(), detected(two_contacts(7, 8)))
        stored = run(stored, detected(two_contacts(7, 9)), at=LATER)
        assert sorted(stored["status"]) == ["obsolete", "pending"]

    @pytest.mark.parametrize(
        ("decision", "value", "expected"),
        [
            ("a", None, ("resolved", "a", None, LATER, "pat")),
            ("b", None, ("resolved", "b", None, LATER, "pat")),
            ("custom", "9", ("resolved", "custom", "9", LATER, "pat")),
            ("skip", None, ("skipped", None, None, LATER, "pat")),
        ],
    )
    def test_a_decided_one_never_comes_back(self, decision, value, expected):
        stored = run(STORED.empty(), detected(two_contacts()))
        actions = decide(stored, decision, value)
        for found in (detected(two_contacts()), NOTHING, detected(two_contacts())):
            stored = run(stored, found, actions, LATEST)
            assert states(stored) == [expected]

    def test_it_keeps_the_options_it_was_decided_on(self):
        stored = run(STORED.empty(), detected(two_contacts(score=500)))
        stored = run(stored, detected(two_contacts(score=1)), decide(stored, "a"), LATEST)
        assert orjson.loads(stored["option_a"][0])["score"] == 500

    def test_decided_between_two_runs_and_gone_it_is_resolved_not_obsolete(self):
        stored = run(STORED.empty(), detected(two_contacts()))
        assert states(run(stored, NOTHING, decide(stored, "b"), LATEST))[0][0] == "resolved"

    def test_a_decision_outlives_a_rebuild_from_nothing(self):
        actions = decide(run(STORED.empty(), detected(two_contacts())), "b")
        assert states(run(STORED.empty(), detected(two_contacts()), actions, LATEST))[0][:2] == ("resolved", "b")

    def test_the_first_decision_counts(self):
        stored = run(STORED.empty(), detected(two_contacts()))
        actions = together(decide(stored, "b", at=LATEST), decide(stored, "a", at=LATER))
        assert states(run(stored, detected(two_contacts()), actions, LATEST))[0][1] == "a"

    def test_a_decision_follows_the_mentor_to_the_real_id(self):
        stored = run(STORED.empty(), detected(two_contacts(mn_id="999001")))
        actions = decide(stored, "skip")
        found = detected(two_contacts(8, 7, mn_id="0042"), two_contacts(mn_id="0043"))
        stored = run(stored, found, actions, LATEST, aliases=alias("999001", "0042"))
        assert dict(stored.select("mn_id", "status").rows()) == {
            "999001": "skipped",
            "0042": "skipped",
            "0043": "pending",
        }

    def test_a_hundred_conflicts_are_a_hundred_rows_in_any_order(self):
        conflicts = [two_contacts(n, n + 1000) for n in range(100)]
        one, other = (run(STORED.empty(), detected(*order)) for order in (conflicts, conflicts[::-1]))
        assert one.height == 100
        assert_frame_equal(one, other)
        assert_frame_equal(one, run(one, detected(*conflicts)))


class TestDecision:
    @pytest.fixture
    def pending(self):
        return run(STORED.empty(), detected(two_contacts(7, 8))).row(0, named=True)

    @pytest.mark.parametrize(("decision", "value"), [("a", 7), ("b", 8), ("skip", None)])
    def test_it_records_the_chosen_option(self, pending, decision, value):
        recorded = decision_action(pending["id"], pending, decision, check_custom=anything)
        assert orjson.loads(recorded.pop("value")) == {"decision": decision, "value": value, "field": "gb_contact_id"}
        assert recorded == {
            "action": "conflict_decision",
            "year": YEAR,
            "mn_id": "0001",
            "target_id": pending["id"],
            "field": "contact_selection",
        }

    def test_a_custom_value_is_recorded_as_the_check_returns_it(self, pending):
        recorded = decision_action(pending["id"], pending, "custom", " 12 ", check_custom=lambda _, typed: int(typed))
        assert orjson.loads(recorded["value"])["value"] == 12

    def test_the_field_comes_from_the_context_where_the_type_does_not_tell(self):
        options = ({"value": email, "source": "x"} for email in ("a@example.com", "b@example.com"))
        conflict = Conflict("0001", "email_mismatch", *options, source_table="m", context={"field": "personal_email"})
        pending = run(STORED.empty(), detected(conflict)).row(0, named=True)
        recorded = decision_action(pending["id"], pending, "b", check_custom=anything)
        assert orjson.loads(recorded["value"]) == {
            "decision": "b",
            "value": "b@example.com",
            "field": "personal_email",
        }

    @pytest.mark.parametrize(
        ("decision", "value", "reason"),
        [
            ("c", None, "'c' is no decision"),
            ("custom", None, "needs a value"),
            ("custom", "  ", "needs a value"),
            ("a", "9", "takes no value"),
        ],
    )
    def test_nonsense_is_refused_with_the_reason(self, pending, decision, value, reason):
        with pytest.raises(DecisionRefusedError, match=reason):
            decision_action(pending["id"], pending, decision, value, check_custom=anything)

    def test_an_unknown_conflict_is_refused(self):
        with pytest.raises(DecisionRefusedError, match="no conflict that 'conflict-1' alone means"):
            decision_action("conflict-1", None, "a", check_custom=anything)

    @pytest.mark.parametrize("first", ["a", "skip"])
    def test_a_decided_conflict_is_refused(self, first):
        stored = run(STORED.empty(), detected(two_contacts()))
        decided = run(stored, detected(two_contacts()), decide(stored, first), LATEST).row(0, named=True)
        with pytest.raises(DecisionRefusedError, match=f"decided already: {first}, by pat"):
            decision_action(decided["id"], decided, "b", check_custom=anything)

    def test_an_obsolete_conflict_is_refused(self):
        obsolete = run(run(STORED.empty(), detected(two_contacts())), NOTHING).row(0, named=True)
        with pytest.raises(DecisionRefusedError, match="obsolete"):
            decision_action(obsolete["id"], obsolete, "a", check_custom=anything)

    def test_an_impossible_custom_value_is_refused(self, pending):
        def unknown_contact(_conflict, value):
            msg = f"There is no contact {value}."
            raise DecisionRefusedError(msg)

        with pytest.raises(DecisionRefusedError, match="no contact 12"):
            decision_action(pending["id"], pending, "custom", "12", check_custom=unknown_contact)
