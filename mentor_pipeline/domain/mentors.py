"""The one true record of each mentor: everything known, folded together in a fixed order.

Sign-up, forms, campaign page and contact are joined, merged (R6), then people's edits are laid over them, and at the
end follow the values that derive from the others: partners, status, tags (R7). Who is a mentor, what joins whom and
which contact is chosen is decided before, in `signups`, `links` and `matching`; versions are kept by `history`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.decisions import edits as newest_edits
from mentor_pipeline.domain.decisions import resolve_aliases
from mentor_pipeline.domain.findings import Computed, Problem, conflict_rows, problem_rows
from mentor_pipeline.domain.fundraising import fundraising_conflicts
from mentor_pipeline.domain.history import current_records, present_ids, stamp
from mentor_pipeline.domain.links import MEMBERS
from mentor_pipeline.domain.merge import FIELDS as MERGED_FIELDS
from mentor_pipeline.domain.merge import merge
from mentor_pipeline.domain.normalise import clean_text
from mentor_pipeline.domain.partners import match_partners
from mentor_pipeline.domain.status import owned_tags, with_status
from mentor_pipeline.tables import POLARS_TYPES, TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

_MENTORS: Final = TABLES["mentors"]
SETUP: Final = "raw_mn_funds_setup"
TRAINING: Final = "raw_mn_training_signup"
PARTNER: Final = "raw_mn_partner_preference"

EDITABLE: Final = (
    *("training_done", "training_at", "fundraised_done", "fundraised_at", "notes", "shift_preference"),
    *("partner_phone", "preferred_name", "phone", "personal_email", "uga_email", "uga_class", "shirt_size", "dropped"),
)
"""Fields that people may set; the contact link is set in `matching`."""
_DATED: Final = {"training_done": "training_at", "fundraised_done": "fundraised_at"}
"""A mark, and the time that goes with it: that of the edit, where no other was given."""


class Sources(NamedTuple):
    """What a mentor's record is made of.

    Attributes:
        signups: rows of `signups`.
        form_links: rows of `form_links`.
        forms: rows of the raw form tables by table name.
        members: rows of `raw_gb_campaign_members`.
        contact_links: rows of `contact_links`.
        contacts: `merge.CONTACT_COLUMNS` of the mentors' contacts (`raw_mn_gb_contacts`).
    """

    signups: pl.DataFrame
    form_links: pl.DataFrame
    forms: Mapping[str, pl.DataFrame]
    members: pl.DataFrame
    contact_links: pl.DataFrame
    contacts: pl.DataFrame


class Memory(NamedTuple):
    """What was known and decided before.

    Attributes:
        actions: rows of `operator_actions` of the year.
        base: rows of `merge_base` of the year.
        history: rows of `mentor_history` of the year, all versions.
        aliases: rows of `mentor_aliases` of the year.
    """

    actions: pl.DataFrame
    base: pl.DataFrame
    history: pl.DataFrame
    aliases: pl.DataFrame


def build_mentors(sources: Sources, memory: Memory, program: ProgramYear, now: datetime) -> Computed:
    """Make the record of every mentor of the year.

    Returns:
        Rows of `mentors`, the problems and conflicts of merging, and all rows of `merge_base`. A mentor whose record
        is the same as in `mentor_history` keeps `updated_at`, so that an unchanged run writes nothing new.
    """
    edits = newest_edits(resolve_aliases(memory.actions, memory.aliases))
    gathered = _gathered(sources, program)
    merged = merge(
        gathered, sources.contacts, present_ids(memory.base, memory.aliases).select(memory.base.columns), edits,
        program, now,
    )  # fmt: skip
    before = current_records(memory.history, memory.aliases)
    mentors = (
        gathered.drop(MERGED_FIELDS)
        .join(merged.values, on="mn_id", how="left", maintain_order="left")
        .pipe(_with_contact, sources.contacts, before, program)
        .pipe(_with_edits, edits)
        .with_columns(
            fundraised_done=pl.col("fundraised_done").fill_null(False)
            | (pl.col("amount_raised") >= program.fundraising_goal).fill_null(False),
            full_name=pl.concat_str("preferred_name", "last_name", separator=" ", ignore_nulls=True),
        )
    )
    mentors = _with_partners(mentors, partner_wishes(mentors, sources.form_links, sources.forms[PARTNER]), program)
    mentors = _with_tags(with_status(mentors, program), program)
    rows = stamp(
        _MENTORS.conform(mentors.select(name for name in _MENTORS.column_names if name in mentors.columns)),
        memory.history,
        now=now,
        aliases=memory.aliases,
    )
    problems = [*merged.problems, *_unknown_mentors(edits, rows)]
    earlier = present_ids(memory.history, memory.aliases)
    doubtful = fundraising_conflicts(mentors, edits, sources.contacts, earlier, program)
    return Computed(
        rows.sort("mn_id"),
        problem_rows(program.year, problems),
        conflict_rows(program.year, [*merged.conflicts, *doubtful]),
        also={"merge_base": merged.base},
    )


def partner_wishes(mentors: pl.DataFrame, form_links: pl.DataFrame, partner_forms: pl.DataFrame) -> pl.DataFrame:
    """Mentors with `partner_phone_raw`, the wish as it was given, for `match_partners`.

    Args:
        mentors: rows of `mentors`, or of what they are made of; where a person set the partner's phone, that counts.
        form_links: rows of `form_links`.
        partner_forms: rows of `raw_mn_partner_preference`.
    """
    given = _newest(form_links, PARTNER).join(
        partner_forms.select(source_id="submission_id", given_phone="partner_phone", given_raw="partner_phone_raw"),
        on="source_id",
    )
    is_the_forms = pl.col("partner_phone").eq_missing(pl.col("given_phone"))
    return (
        mentors.join(given.drop("source_id"), on="mn_id", how="left", maintain_order="left")
        .with_columns(partner_phone_raw=pl.when(is_the_forms).then("given_raw").otherwise("partner_phone"))
        .drop("given_phone", "given_raw")
    )


def tasks(mentors: pl.DataFrame) -> pl.DataFrame:
    """Rows of `mn_tasks` (R7): each mentor's tasks, done and when."""
    done = mentors.with_columns(signup_done=pl.lit(value=True))
    return TABLES["mn_tasks"].conform(done.select(TABLES["mn_tasks"].column_names)).sort("mn_id")


# -- joining ---------------------------------------------------------------------------------------------------------


def _newest(form_links: pl.DataFrame, table: str) -> pl.DataFrame:
    """mn_id and source_id of the submission (or member) that counts for each mentor."""
    return form_links.filter(pl.col("source_table") == table, pl.col("is_newest")).select("mn_id", "source_id")


def _gathered(sources: Sources, program: ProgramYear) -> pl.DataFrame:
    """Every mentor with what forms, campaign page and link say; Givebutter's contact is not looked at yet."""
    setup = sources.forms[SETUP].select(source_id="submission_id", setup_at="submitted_at")
    training = sources.forms[TRAINING].select(
        source_id="submission_id", training_signup_at="submitted_at", training_class="uga_class"
    )
    partner = sources.forms[PARTNER].select(
        "partner_phone",
        source_id="submission_id",
        partner_shift="shift_preference",
        partner_preference="partner_notes",
    )
    members = sources.members.select(
        source_id=pl.col("member_id").cast(pl.String),
        gb_member_id="member_id",
        amount_raised="raised",
        fundraising_page_url="page_url",
    )

    def of(table: str, rows: pl.DataFrame, source_id: str) -> pl.DataFrame:
        return _newest(sources.form_links, table).join(rows, on="source_id").rename({"source_id": source_id})

    links = sources.contact_links.select("mn_id", "gb_contact_id", "gb_match_status", "gb_match_method")
    return (
        sources.signups.join(of(SETUP, setup, "setup_submission_id"), on="mn_id", how="left")
        .join(of(TRAINING, training, "training_signup_submission_id"), on="mn_id", how="left")
        .join(of(PARTNER, partner, "partner_submission_id"), on="mn_id", how="left")
        .join(of(MEMBERS, members, "member"), on="mn_id", how="left")
        .join(links, on="mn_id", how="left")
        .with_columns(
            uga_class=pl.coalesce(_tidy("training_class"), "uga_class"),
            from_partner_form=_tidy("partner_shift").is_not_null(),
            shift_preference=pl.coalesce(_tidy("partner_shift"), "shift_preference"),
            partner_preference=_tidy("partner_preference"),
            signed_at=pl.max_horizontal("submitted_at", "edited_at"),
            setup_done=pl.col("setup_submission_id").is_not_null(),
            training_signup_done=pl.col("training_signup_submission_id").is_not_null(),
            campaign_member=pl.col("gb_member_id").is_not_null(),
            fundraising_goal=pl.lit(program.fundraising_goal),
            signup_submission_id="submission_id",
            signup_at="submitted_at",
        )
        .sort("mn_id")
    )


def _tidy(column: str) -> pl.Expr:
    return pl.col(column).map_elements(clean_text, return_dtype=pl.String)


def _with_contact(
    mentors: pl.DataFrame, contacts: pl.DataFrame, before: pl.DataFrame, program: ProgramYear
) -> pl.DataFrame:
    """`dropped` from the contact's tag (R6), and its tags; without a contact dropped stays as it was."""
    is_dropped_tag = pl.element().str.to_lowercase() == program.givebutter.dropped_tag.lower()
    theirs = contacts.unique("contact_id").select(
        gb_contact_id="contact_id",
        gb_tags="tags",
        has_dropped_tag=pl.col("tags").list.eval(is_dropped_tag).list.any(),
    )
    earlier = before.select("mn_id", was_dropped="dropped")
    return (
        mentors.join(theirs, on="gb_contact_id", how="left", maintain_order="left")
        .join(earlier, on="mn_id", how="left", maintain_order="left")
        .with_columns(dropped=pl.coalesce("has_dropped_tag", "was_dropped", pl.lit(value=False)))
    )


# -- what people set -------------------------------------------------------------------------------------------------


def _with_edits(mentors: pl.DataFrame, edits: pl.DataFrame) -> pl.DataFrame:
    """Lay people's edits over the record; a mark without a time of its own gets the time of the edit."""
    mine = edits.filter(pl.col("field_name").is_in(EDITABLE))
    values: dict[str, dict[str, Any]] = {field: {} for field in (*EDITABLE, *_DATED.values())}
    for row in mine.iter_rows(named=True):
        value = orjson.loads(row["value"])
        values[row["field_name"]][row["mn_id"]] = value
        if row["field_name"] in _DATED:
            moment = values[_DATED[row["field_name"]]]
            if value and moment.get(row["mn_id"]) is None:
                moment[row["mn_id"]] = row["at"]
            moment.setdefault(row["mn_id"], None)
    for field, by_mentor in values.items():
        kind = _MENTORS.type_of(field)
        unset = pl.lit(None, dtype=POLARS_TYPES[kind]) if field not in mentors.columns else pl.col(field)
        given = pl.Series([_typed(value, kind) for value in by_mentor.values()], dtype=POLARS_TYPES[kind])
        told = pl.DataFrame({"mn_id": pl.Series(list(by_mentor), dtype=pl.String), "given": given})
        mentors = (
            mentors.join(told.with_columns(is_given=True), on="mn_id", how="left", maintain_order="left")
            .with_columns(pl.when("is_given").then("given").otherwise(unset).alias(field))
            .drop("given", "is_given")
        )
    return mentors.with_columns(training_done=pl.col("training_done").fill_null(False))


def _typed(value: Any, kind: Type) -> Any:
    """A recorded value in the column's type; times are ISO 8601."""
    if kind is Type.TIMESTAMP and isinstance(value, str):
        return pl.Series([value]).str.to_datetime(time_zone="UTC", time_unit="us").item()
    return str(value) if kind is Type.TEXT and value is not None else value


def _unknown_mentors(edits: pl.DataFrame, mentors: pl.DataFrame) -> list[Problem]:
    """Edits of mentors who are none (any more): nothing is lost, they wait."""
    waiting = edits.join(mentors.select("mn_id"), on="mn_id", how="anti").group_by("mn_id").agg("field_name")
    return [
        Problem(
            "edit_without_mentor",
            f"There are edits of mentor {row['mn_id']} ({', '.join(sorted(row['field_name']))}), who is not among the "
            "mentors of the year. They are kept and take effect when the mentor is there.",
            mn_id=row["mn_id"],
            source_table="operator_actions",
        )
        for row in waiting.sort("mn_id").iter_rows(named=True)
    ]


# -- what follows from the rest --------------------------------------------------------------------------------------


def _with_partners(mentors: pl.DataFrame, wishes: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    matched = match_partners(wishes, id_prefix=program.mn_id_prefix).rows.select(
        "mn_id", "partner_mn_id", partner_phone_match="mutual", partner_shift_match="shift_match"
    )
    return mentors.join(matched, on="mn_id", how="left", maintain_order="left").with_columns(
        pl.col("partner_phone_match", "partner_shift_match").fill_null(False)
    )


def _with_tags(mentors: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """Givebutter's tags united with ours; a tag of ours that no longer holds is not kept on (R6)."""
    ours = pl.lit(sorted(owned_tags(program)), dtype=pl.List(pl.String))
    foreign = pl.col("gb_tags").fill_null(pl.lit([], dtype=pl.List(pl.String))).list.set_difference(ours)
    return mentors.with_columns(tags=foreign.list.set_union("own_tags").list.eval(pl.element().sort()))
