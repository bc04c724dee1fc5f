"""What each cell of an import row says (R10).

No cell is blank while Givebutter is known to hold a value there, so that a blank can clear nothing; a cell that a
spreadsheet would run is made harmless here already, so that what is judged is what is written. What cannot be sent as
it is becomes a problem for a person. Who is held, and what Givebutter holds already, is decided in `export`; what
Givebutter takes at all is in `import_format`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.changes import readable
from mentor_pipeline.domain.findings import Problem
from mentor_pipeline.domain.import_format import (
    ADDRESS_STATUS,
    CONTACT_ID,
    EMAIL_STATUS,
    EMAILS,
    EXTERNAL_ID,
    FIRST_NAME,
    LAST_NAME,
    LONG_TEXT_LIMIT,
    NOTES,
    PHONE_STATUS,
    PREFIX_LIMIT,
    PRIMARY_EMAIL,
    PRIMARY_PHONE,
    TAG_LIMIT,
    TAGS,
    TEXT_LIMIT,
    WEBSITE,
    as_date,
    is_number,
)
from mentor_pipeline.domain.normalise import clean_text
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mentor_pipeline.settings import CustomField, ProgramYear

MIDDLE_NAME: Final = "Middle Name"
NAME_COLUMN: Final = {"prefix": "Prefix", "preferred_first_name": "Preferred First Name"}
SUBSCRIBED: Final = {
    EMAIL_STATUS: "email_subscribed",
    PHONE_STATUS: "sms_subscribed",
    ADDRESS_STATUS: "mail_subscribed",
}
THEIR_TEXTS: Final = {
    EXTERNAL_ID: "external_id",
    "Prefix": "prefix",
    FIRST_NAME: "first_name",
    "Preferred First Name": "preferred_name",
    MIDDLE_NAME: "middle_name",
    LAST_NAME: "last_name",
    WEBSITE: "website",
}
"""Columns whose text is one field of the contact."""
_THEIR_COLUMNS: Final = (
    *THEIR_TEXTS.values(),
    *SUBSCRIBED.values(),
    "primary_email",
    "emails",
    "primary_phone",
    "phones",
    "tags",
    "notes",
)
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t")
_FORMULA: Final = r"^[=+\-@\t]"
_HARMLESS_FORMULA: Final = r"^'([=+\-@\t])"
_NAMED_IN_A_MESSAGE: Final = 10
_SOURCE: Final = "mn_gb_import"


class Built(NamedTuple):
    """Rows of mn_gb_import, and what could not be sent as it is."""

    rows: pl.DataFrame
    problems: list[Problem]


def owned_columns(program: ProgramYear) -> tuple[str, ...]:
    """The columns that we own, in the order in which they are written; no other column is in the file."""
    foreign = next(column for field, column in NAME_COLUMN.items() if field != program.givebutter.preferred_name_field)
    template = [name for name in TABLES[_SOURCE].column_names if name not in {"year", "mn_id", foreign}]
    return (*template, *program.custom_fields)


def harmless(text: pl.Expr) -> pl.Expr:
    """Free text that no spreadsheet runs as a formula: an apostrophe before a leading = + - @ or tab (R10)."""
    return pl.when(text.str.contains(_FORMULA)).then(pl.format("'{}", text)).otherwise(text)


def unharmed(text: pl.Expr) -> pl.Expr:
    """Text as it was before `harmless`: what Givebutter shows of a value that we sent."""
    return text.str.replace(_HARMLESS_FORMULA, "${1}")


def build_rows(
    mentors: pl.DataFrame,
    tasks: pl.DataFrame,
    contacts: pl.DataFrame,
    messages: pl.DataFrame,
    program: ProgramYear,
) -> Built:
    """Every mentor's row, with what could not be sent as it is."""
    chosen, problems = chosen_messages(messages)
    known_tasks = tasks.select("mn_id", *(name for name in tasks.columns if name not in mentors.columns))
    pairs = (
        mentors.join(their_values(contacts, mentors, program), on="gb_contact_id", how="left", maintain_order="left")
        .join(known_tasks, on="mn_id", how="left", maintain_order="left")
        .join(chosen, on="mn_id", how="left", maintain_order="left")
    )
    own_name = NAME_COLUMN[program.givebutter.preferred_name_field]
    limit = PREFIX_LIMIT if own_name == "Prefix" else TEXT_LIMIT
    preferred = harmless(tidy(pl.col("preferred_name")))
    names = {FIRST_NAME: "first_name", MIDDLE_NAME: "middle_name", LAST_NAME: "last_name"}
    sendable, tag_problems = _sendable_tags(pairs)
    pairs = pairs.join(sendable, on="mn_id", how="left", maintain_order="left")
    cells: dict[str, pl.Expr | pl.Series] = {
        CONTACT_ID: pl.col("gb_contact_id").cast(pl.String),
        EXTERNAL_ID: pl.lit(program.mn_id_prefix) + pl.col("mn_id"),
        **{column: pl.coalesce(harmless(tidy(pl.col(field))), _their_text(column)) for column, field in names.items()},
        **{column: _their_text(column) for column in NAME_COLUMN.values()},
        own_name: pl.coalesce(_cut(preferred, limit), _their_text(own_name)),
        PRIMARY_EMAIL: pl.coalesce("personal_email", "uga_email", "their primary_email"),
        EMAILS: pl.coalesce("uga_email", _joined(_without(pl.col("their emails"), "their primary_email"), ",")),
        PRIMARY_PHONE: pl.coalesce("phone", "their primary_phone"),
        TAGS: _joined(pl.col("sendable tags"), ", "),
        NOTES: _new_notes(pairs),
        **{
            column: pl.when(pl.col(f"their {name}").eq_missing(pl.lit(value=False)))
            .then(pl.lit("no"))
            .otherwise(pl.lit("yes"))
            for column, name in SUBSCRIBED.items()
        },
        WEBSITE: pl.coalesce(tidy(pl.col("fundraising_page_url")), _their_text(WEBSITE)),
        **{
            label: pl.coalesce(_custom_cell(spec, program), _their_custom_cell(label, spec))
            for label, spec in program.custom_fields.items()
        },
    }
    rows = pairs.select("year", "mn_id", *(cell.alias(column) for column, cell in cells.items()))
    problems += _shortened(pairs, own_name, preferred, limit)
    problems += tag_problems
    for label, spec in program.custom_fields.items():
        problems += _not_sendable(pairs, label, spec, program)
    return Built(TABLES[_SOURCE].conform(rows), problems)


def their_values(contacts: pl.DataFrame, mentors: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """The mentors' contacts: gb_contact_id and `their ...` columns, custom fields by label among them."""
    wanted = mentors.filter(pl.col("gb_contact_id").is_not_null()).select(contact_id="gb_contact_id").unique()
    known = contacts.join(wanted, on="contact_id", how="semi")
    # JSON objects have no vectorised form; these are the mentors' contacts only.
    values: list[dict[str, Any]] = [orjson.loads(fields or "{}") for fields in known["custom_fields"]]
    return known.select(
        pl.col("contact_id").alias("gb_contact_id"),
        *(pl.col(name).alias(f"their {name}") for name in _THEIR_COLUMNS),
        *(
            pl.Series(f"their {label}", [clean_ends(value.get(label)) for value in values], dtype=pl.String)
            for label in program.custom_fields
        ),
    )


def clean_ends(text: str | None) -> str | None:
    """Trimmed text with LF line ends; nothing left is None."""
    return text.replace("\r\n", "\n").strip() or None if text else None


def tidy(text: pl.Expr) -> pl.Expr:
    """Trimmed text with LF line ends; nothing left is null."""
    trimmed = text.str.replace_all("\r\n", "\n").str.strip_chars()
    return pl.when(trimmed != "").then(trimmed)


def _their_text(column: str) -> pl.Expr:
    return harmless(tidy(pl.col(f"their {THEIR_TEXTS[column]}")))


def _joined(values: pl.Expr, separator: str) -> pl.Expr:
    """A list as one cell; nothing in it is null."""
    return pl.when(values.list.len() > 0).then(values.list.join(separator))


def _without(values: pl.Expr, column: str) -> pl.Expr:
    return values.list.set_difference(pl.concat_list(column))


def _cut(text: pl.Expr, limit: int) -> pl.Expr:
    """Text cut at a word where it is longer than the limit."""
    return text.map_elements(lambda value: cut_at_word(value, limit), return_dtype=pl.String)


def cut_at_word(text: str, limit: int) -> str:
    """The words that fit; a first word that does not fit is cut itself."""
    if len(text) <= limit:
        return text
    words, _, _ = text[: limit + 1].rpartition(" ")
    return words.strip() or text[:limit]


def shown_name(name: str, limit: int) -> str:
    """What Givebutter shows of a preferred name that was sent: its first words where it is too long."""
    apostrophe = "'" if name.startswith(_FORMULA_SIGNS) else ""
    return _unharmed_text(cut_at_word(f"{apostrophe}{name}", limit))


def _sendable_tags(pairs: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """mn_id and `sendable tags`; and a warning for every tag that cannot be sent.

    Sorted, but a tag that a spreadsheet would run as a formula never comes first: a tag cannot be made harmless
    without making it another tag.
    """
    tags = (
        pairs.select("mn_id", "full_name", tag="tags")
        .explode("tag")
        .with_columns(pl.col("tag").str.strip_chars())
        .filter(pl.col("tag") != "")
        .unique(["mn_id", "tag"], maintain_order=True)
        .with_columns(
            fault=pl.when(pl.col("tag").str.contains(",", literal=True))
            .then(pl.lit("it holds a comma"))
            .when(pl.col("tag").str.len_chars() > TAG_LIMIT)
            .then(pl.lit(f"it is longer than {TAG_LIMIT} characters"))
        )
    )
    problems = [
        Problem(
            "tag_not_sendable",
            f"Tag {tag!r} cannot be sent to Givebutter, {fault}: it stays out of the rows of {_people(whom)}. "
            "Rename the tag, or set it by hand.",
            source_table=_SOURCE,
            field_name="tags",
            current_value=tag,
            context={"mn_ids": whom["mn_id"].to_list()},
        )
        for (tag, fault), whom in _groups(tags.filter(pl.col("fault").is_not_null()), "tag", "fault")
    ]
    sendable = (
        tags.filter(pl.col("fault").is_null())
        .sort(pl.col("tag").str.contains(_FORMULA), "tag")
        .group_by("mn_id", maintain_order=True)
        .agg(pl.col("tag").alias("sendable tags"))
    )
    return sendable, problems


def _new_notes(pairs: pl.DataFrame) -> pl.Series:
    """What of people's notes Givebutter does not hold yet; it appends what is sent, so nothing is sent twice."""
    texts = pairs.select("notes", "their notes").iter_rows()
    return pl.Series([new_lines(ours, theirs) for ours, theirs in texts], dtype=pl.String)


def new_lines(notes: str | None, known: str | None) -> str | None:
    """The lines of a note that are not among the known ones; None when all of them are."""
    if notes is None or clean_text(notes) is None:
        return None
    there = {clean_text(_unharmed_text(line)) for line in (known or "").splitlines()}
    new = [line.strip() for line in notes.splitlines() if clean_text(_unharmed_text(line)) not in {None, *there}]
    text = "\n".join(new)
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text or None


def _unharmed_text(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA_SIGNS) else text


def chosen_messages(messages: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """One message for each mentor and channel: that of the first campaign by name, with a warning where others lost.

    Args:
        messages: rows of outreach_messages.

    Returns:
        mn_id, message_text, message_email; and a problem for every set of campaigns that met in one column.
    """
    problems = []
    chosen = messages.select("mn_id").unique().sort("mn_id")
    for column, channel in (("message_text", "a text message"), ("message_email", "an e-mail")):
        there = messages.filter(pl.col(column).is_not_null()).sort("mn_id", "campaign")
        per_mentor = there.group_by("mn_id", maintain_order=True).agg(
            pl.col(column).first(), campaigns=pl.col("campaign").str.join(", "), count=pl.len()
        )
        chosen = chosen.join(per_mentor.select("mn_id", column), on="mn_id", how="left", maintain_order="left")
        problems += [
            Problem(
                "several_campaigns",
                f"Campaigns {campaigns} all have {channel} for {whom.height} mentors; the import has room for one: "
                f"that of {campaigns.split(', ')[0]} was taken. Send the others in a later import.",
                source_table="outreach_messages",
                field_name=column,
                current_value=campaigns,
                context={"mn_ids": whom["mn_id"].to_list()},
            )
            for (campaigns,), whom in _groups(per_mentor.filter(pl.col("count") > 1), "campaigns")
        ]
    return chosen, problems


# -- custom fields ---------------------------------------------------------------------------------------------------


def _source_type(spec: CustomField) -> Type:
    for table in ("mentors", "mn_tasks"):
        if spec.source in TABLES[table].column_names:
            return TABLES[table].type_of(spec.source)
    return Type.TEXT


def _custom_text(spec: CustomField) -> pl.Expr:
    """The field's value as a person would write it; null where there is none."""
    kind = _source_type(spec)
    if kind is Type.BOOLEAN:
        value = pl.col(spec.source)
        return pl.when(value).then(pl.lit("Yes")).when(~value).then(pl.lit("No"))
    return tidy(readable(spec.source, kind))


def _custom_cell(spec: CustomField, program: ProgramYear) -> pl.Expr:
    """The field's cell in the form that its kind asks for; null where we have no value that fits."""
    text = _custom_text(spec)
    kind = _source_type(spec)
    match spec.type:
        case "checkbox":
            word = text.str.to_lowercase().replace({"true": "yes", "false": "no"})
            return pl.when(word.is_in(["yes", "no"])).then(word)
        case "select":
            return pl.when(text.is_in(spec.options)).then(text)
        case "number":
            return pl.when(is_number(text)).then(text)
        case "date":
            if kind is Type.TIMESTAMP:
                day = pl.col(spec.source).dt.convert_time_zone(program.zone.key).dt.date()
            else:
                day = as_date(text)
            return day.dt.strftime("%-m/%-d/%Y")
        case "text":
            return _cut(harmless(text), TEXT_LIMIT)
        case "longtext":
            return _cut(harmless(text), LONG_TEXT_LIMIT)


def _their_custom_cell(label: str, spec: CustomField) -> pl.Expr:
    theirs = pl.col(f"their {label}")
    if spec.type == "checkbox":
        return theirs.str.to_lowercase()
    return harmless(theirs) if spec.type in {"text", "longtext"} else theirs


def _not_sendable(pairs: pl.DataFrame, label: str, spec: CustomField, program: ProgramYear) -> list[Problem]:
    """Values that do not fit their field (left as Givebutter has them), and texts that had to be cut."""
    text = _custom_text(spec)
    limit = {"text": TEXT_LIMIT, "longtext": LONG_TEXT_LIMIT}.get(spec.type)
    if limit is not None:
        return _shortened(pairs, label, harmless(text), limit)
    unfit = pairs.select("mn_id", "full_name", value=text, cell=_custom_cell(spec, program)).filter(
        pl.col("value").is_not_null() & pl.col("cell").is_null()
    )
    wanted = f"none of its options ({', '.join(spec.options)})" if spec.options else f"no {spec.type}"
    return [
        Problem(
            "value_not_sendable",
            f"{label}: {value!r} is {wanted}, so the field is left as Givebutter has it for {_people(whom)}. "
            "Correct the value, or the year file.",
            source_table=_SOURCE,
            field_name=label,
            current_value=value,
            context={"mn_ids": whom["mn_id"].to_list()},
        )
        for (value,), whom in _groups(unfit, "value")
    ]


def _shortened(pairs: pl.DataFrame, column: str, text: pl.Expr, limit: int) -> list[Problem]:
    long = pairs.select("mn_id", "full_name", text=text).filter(pl.col("text").str.len_chars() > limit)
    return [
        Problem(
            "text_shortened",
            f"{name} ({mn_id}): {column} takes {limit} characters, {value!r} was cut to {cut_at_word(value, limit)!r}.",
            mn_id=mn_id,
            source_table=_SOURCE,
            field_name=column,
            current_value=value,
            suggested_value=cut_at_word(value, limit),
        )
        for mn_id, name, value in long.iter_rows()
    ]


def _groups(frame: pl.DataFrame, *columns: str) -> Iterable[tuple[tuple[Any, ...], pl.DataFrame]]:
    return frame.sort(*columns, "mn_id").partition_by(columns, as_dict=True, maintain_order=True).items()


def _people(whom: pl.DataFrame) -> str:
    named = [f"{name} ({mn_id})" for mn_id, name in whom.select("mn_id", "full_name").head(_NAMED_IN_A_MESSAGE).rows()]
    more = whom.height - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
