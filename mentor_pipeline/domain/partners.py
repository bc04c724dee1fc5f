"""Who wished whom as a partner, and whether the wish is mutual (R7).

A wish is the partner's phone, or their mentor id where people wrote that instead. It is matched against the mentors of
the year alone; what fits nobody, or more than one, is told and matched to nobody. Whether two partners then serve
together is a person's matter.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from mentor_pipeline.domain.findings import Computed, Problem, problem_rows
from mentor_pipeline.domain.normalise import normalise_mn_id
from mentor_pipeline.tables import TABLES

_KEY: Final = ("year", "mn_id")
_SOURCE: Final = "raw_mn_partner_preference"
_PROBLEMS: Final = {
    "self": "partner_is_self",
    "unknown": "partner_unknown",
    "shared": "partner_phone_shared",
    "unreciprocated": "partner_unreciprocated",
    "contradictory": "partner_contradictory",
}
"""Kind of problem for each outcome that is one; a mutual wish is none."""


def match_partners(mentors: pl.DataFrame, *, id_prefix: str = "") -> Computed:
    """Partner wishes matched to mentors, with warnings for those that come to nothing.

    A phone that several mentors share (a family) means the one of them who wished back, else nobody. The mentor's own
    phone, where somebody else has it too, means that somebody.

    Args:
        mentors: of one year or more: year, mn_id, full_name, phone, dropped, shift_preference, partner_phone (E.164;
            null when the wish is no phone) and partner_phone_raw (the wish as it was given).
        id_prefix: prefix of mentor ids (`mn_id_prefix`).

    Returns:
        Rows of partner_matches, one for each wish. `shift_match` is true when the partner is known and wishes the
        same shift. Problems: partner_is_self, partner_unknown, partner_phone_shared, partner_unreciprocated,
        partner_contradictory.
    """
    wishes = _wishes(mentors, id_prefix)
    matched = _chosen(wishes, _candidates(wishes, mentors))
    theirs = matched.select("year", partner_mn_id="mn_id", their_partner="partner_mn_id")
    partners = mentors.select(
        "year",
        partner_mn_id="mn_id",
        partner_name="full_name",
        partner_shift="shift_preference",
        partner_dropped=pl.col("dropped").fill_null(False),
    )
    judged = (
        matched.join(theirs, on=["year", "partner_mn_id"], how="left")
        .join(partners, on=["year", "partner_mn_id"], how="left")
        .with_columns(
            mutual=(pl.col("their_partner") == pl.col("mn_id")).fill_null(False),
            shift_match=(pl.col("partner_shift") == pl.col("shift_preference")).fill_null(False),
        )
        .with_columns(
            outcome=pl.when(pl.col("outcome") != "known")
            .then("outcome")
            .when("mutual")
            .then(pl.lit("mutual"))
            .when(pl.col("their_partner").is_null())
            .then(pl.lit("unreciprocated"))
            .otherwise(pl.lit("contradictory"))
        )
        .with_columns(note=_note())
        .sort(_KEY)
    )
    table = TABLES["partner_matches"]
    found = judged.filter(pl.col("outcome") != "mutual")
    problems = {
        year: [_problem(row) for row in rows.iter_rows(named=True)]
        for (year,), rows in found.partition_by("year", as_dict=True).items()
    }
    return Computed(
        rows=table.conform(judged.select(table.column_names)),
        problems=pl.concat([problem_rows(0, []), *(problem_rows(year, told) for year, told in problems.items())]),
    )


def _wishes(mentors: pl.DataFrame, id_prefix: str) -> pl.DataFrame:
    """Mentors who wished: with `wish` in words and `wished_id`, the mentor id it holds when it is no phone."""
    raw = pl.col("partner_phone_raw").str.strip_chars()
    wishes = mentors.with_columns(wish=pl.coalesce("partner_phone", pl.when(raw != "").then(raw))).filter(
        pl.col("wish").is_not_null()
    )
    return wishes.with_columns(
        wished_id=pl.when(pl.col("partner_phone").is_null()).then(
            _comparable(pl.col("wish").map_elements(lambda text: normalise_mn_id(text, id_prefix), pl.String))
        )
    )


def _comparable(mn_id: pl.Expr) -> pl.Expr:
    """Mentor ids without leading zeros, as `normalise.comparable_mn_id` of a whole column."""
    return mn_id.str.replace(r"^0+(\d)", "$1")


def _candidates(wishes: pl.DataFrame, mentors: pl.DataFrame) -> pl.DataFrame:
    """(year, mn_id, candidate): every mentor whose phone or id a wish gives, the wisher too."""
    known = mentors.select(
        "year",
        "phone",
        candidate="mn_id",
        wished_id=_comparable(pl.col("mn_id")),
    )
    by_phone = wishes.join(known, left_on=["year", "partner_phone"], right_on=["year", "phone"])
    by_id = wishes.join(known, on=["year", "wished_id"])
    return pl.concat([found.select(*_KEY, "candidate") for found in (by_phone, by_id)])


def _chosen(wishes: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Wishes with partner_mn_id (null when none or several fit) and outcome: known, self, unknown or shared."""
    others = candidates.filter(pl.col("candidate") != pl.col("mn_id"))
    wished_back = others.select("year", mn_id="candidate", candidate="mn_id", wished_back=pl.lit(True))
    counted = (
        others.join(wished_back, on=[*_KEY, "candidate"], how="left")
        .group_by(_KEY)
        .agg(
            candidates=pl.col("candidate").sort(),
            backers=pl.col("candidate").filter(pl.col("wished_back")),
        )
    )
    only_self = candidates.join(others, on=_KEY, how="anti").select(*_KEY, is_self=pl.lit(True))
    return (
        wishes.join(counted, on=_KEY, how="left")
        .join(only_self, on=_KEY, how="left")
        .with_columns(
            partner_mn_id=pl.when(pl.col("candidates").list.len() == 1)
            .then(pl.col("candidates").list.first())
            .when(pl.col("backers").list.len() == 1)
            .then(pl.col("backers").list.first())
        )
        .with_columns(
            outcome=pl.when(pl.col("partner_mn_id").is_not_null())
            .then(pl.lit("known"))
            .when(pl.col("candidates").is_not_null())
            .then(pl.lit("shared"))
            .when("is_self")
            .then(pl.lit("self"))
            .otherwise(pl.lit("unknown"))
        )
    )


def _note() -> pl.Expr:
    """What came of the wish, in words."""
    outcome = pl.col("outcome")
    partner = pl.format("{} ({})", "partner_name", "partner_mn_id")
    partner = pl.when("partner_dropped").then(pl.format("{}, who has dropped,", partner)).otherwise(partner)
    shift = pl.when("shift_match").then(pl.lit(" and wish the same shift")).otherwise(pl.lit(""))
    return (
        pl.when(outcome == "mutual")
        .then(pl.format("named each other with {}{}", partner, shift))
        .when(outcome == "unreciprocated")
        .then(pl.format("named {} and was not named back", partner))
        .when(outcome == "contradictory")
        .then(pl.format("named {}, who named {}", partner, "their_partner"))
        .when(outcome == "shared")
        .then(pl.format("{} is shared by mentors {}", "wish", pl.col("candidates").list.join(", ")))
        .when(outcome == "self")
        .then(pl.format("{} is the mentor's own", "wish"))
        .otherwise(pl.format("{} belongs to no mentor of the year", "wish"))
    )


def _problem(wish: dict[str, Any]) -> Problem:
    return Problem(
        _PROBLEMS[wish["outcome"]],
        f"Partner wish of {wish['full_name']} ({wish['mn_id']}): {wish['note']}. "
        "The mentor keeps the wish; ask them, and correct it with `edit` if need be.",
        mn_id=wish["mn_id"],
        source_table=_SOURCE,
        field_name="partner_phone",
        current_value=wish["wish"],
        context={"partner_mn_id": wish["partner_mn_id"], "their_partner": wish["their_partner"]},
        key=() if wish["their_partner"] is None else (wish["their_partner"],),
    )
