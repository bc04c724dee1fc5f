"""Where each mentor stands: category, statuses, a sentence with the next step, and our tags (R7).

Everything follows from the mentor's own columns; nothing is looked up. Which of the tags are ours is said here too, so
that the export knows what to send and the tag clean-up what it may remove again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from mentor_pipeline.settings import ProgramYear

CATEGORIES: Final = ("dropped", "complete", "needs_fundraising", "needs_page", "needs_setup")
NO_PAGE: Final = "No Page"
NO_TRAINING_SIGNUP: Final = "No Training Signup"
TRAINING_INCOMPLETE: Final = "Training Incomplete"
NOT_FUNDRAISED: Final = "Not Fundraised"
NO_PREFERENCES: Final = "No Preferences"


def category_tag(category: str) -> str:
    """The tag that says a mentor's category, such as `Status: needs_page`."""
    return f"Status: {category}"


def owned_tags(program: ProgramYear) -> frozenset[str]:
    """Tags that the pipeline sets by itself, and may take off again when they no longer hold (R6).

    The dropped tag is not among them: people put it on and take it off.
    """
    statuses = (NO_PAGE, NO_TRAINING_SIGNUP, TRAINING_INCOMPLETE, NOT_FUNDRAISED, NO_PREFERENCES)
    return frozenset({program.givebutter.mentor_tag, *statuses, *map(category_tag, CATEGORIES)})


def with_status(mentors: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """Mentors with `status_category`, `statuses`, `status_text` and `own_tags` (R7).

    Args:
        mentors: columns preferred_name, dropped, fundraised_done, amount_raised, campaign_member, setup_done,
            training_signup_done, training_done, partner_phone, shift_preference. Null counts as no, or as nothing.
        program: goal, tags and day of the event.

    Returns:
        The frame with the four columns set. `statuses` are all that hold, as Givebutter tags, `Status: <category>`
        and the mentor tag among them; `own_tags` are those of them that can be sent (a tag with a comma cannot).
        Who attended training without signing up has nothing to sign up for, so neither training status holds.
    """
    tags = program.givebutter
    dropped, member, setup = _yes("dropped"), _yes("campaign_member"), _yes("setup_done")
    signed_up, trained = _yes("training_signup_done"), _yes("training_done")
    raised = pl.col("amount_raised").fill_null(Decimal(0))
    fundraised = _yes("fundraised_done") | (raised >= program.fundraising_goal)
    category = (
        pl.when(dropped)
        .then(pl.lit("dropped"))
        .when(fundraised)
        .then(pl.lit("complete"))
        .when(member)
        .then(pl.lit("needs_fundraising"))
        .when(setup)
        .then(pl.lit("needs_page"))
        .otherwise(pl.lit("needs_setup"))
    )
    holds = {
        tags.dropped_tag: dropped,
        NO_PAGE: ~member,
        NO_TRAINING_SIGNUP: ~signed_up & ~trained,
        TRAINING_INCOMPLETE: signed_up & ~trained,
        NOT_FUNDRAISED: member & ~fundraised,
        NO_PREFERENCES: pl.all_horizontal(pl.col("partner_phone", "shift_preference").is_null()),
    }
    return mentors.with_columns(
        status_category=category,
        statuses=pl.concat_list(
            *(pl.when(holding).then(pl.lit(tag)) for tag, holding in holds.items()),
            *(pl.when(category == name).then(pl.lit(category_tag(name))) for name in CATEGORIES),
            pl.lit(tags.mentor_tag),
        ).list.drop_nulls(),
    ).with_columns(
        status_text=_sentence(program, signed_up=signed_up, trained=trained, raised=raised),
        own_tags=pl.col("statuses").list.filter(pl.element().str.contains(",", literal=True).not_()),
    )


def _yes(column: str) -> pl.Expr:
    return pl.col(column).fill_null(False)


def _dollars(amount: pl.Expr) -> pl.Expr:
    """An amount as people write it: $75, $12.50."""
    return pl.format("${}", amount.cast(pl.Decimal(12, 2)).cast(pl.String).str.strip_suffix(".00"))


def _sentence(program: ProgramYear, *, signed_up: pl.Expr, trained: pl.Expr, raised: pl.Expr) -> pl.Expr:
    """One friendly sentence: the next step, and the amount missing where there is one."""
    goal = _dollars(pl.lit(program.fundraising_goal))
    missing = _dollars(pl.lit(program.fundraising_goal) - raised)
    day = f"{program.event_date:%B} {program.event_date.day}"
    training = (
        pl.when(trained)
        .then(pl.lit(f"you are all set, see you on {day}!"))
        .when(signed_up)
        .then(pl.lit("your next step is to attend your training."))
        .otherwise(pl.lit("your next step is to sign up for training."))
    )
    category = pl.col("status_category")
    words = (
        pl.when(category == "dropped")
        .then(pl.lit("you are marked as dropped; please tell us if you would like to come back."))
        .when(category == "complete")
        .then(pl.format("thank you, your fundraising is complete; {}", training))
        .when(category == "needs_fundraising")
        .then(
            pl.format(
                "you have raised {} of {}; your next step is to raise the missing {}.", _dollars(raised), goal, missing
            )
        )
        .when(category == "needs_page")
        .then(pl.format("your next step is to join the campaign with your own Givebutter page and raise {}.", missing))
        .otherwise(
            pl.format("your next step is to fill in the setup form for your Givebutter page, then raise {}.", missing)
        )
    )
    return pl.format("{}, {}", "preferred_name", words)
