"""The rows that Givebutter is to import, and the mentors whose row is kept back (R10).

Each mentor becomes one row of the import template, or is held with a reason. Here it is also decided which rows differ
from what Givebutter is known to hold, so that only these need to be sent. What a cell says is made in `import_cells`,
whether Givebutter would take a row is judged in `preflight`, and the file itself is written by
`operator.export_files`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain import preflight
from mentor_pipeline.domain.changes import readable, sent_fields
from mentor_pipeline.domain.contact_pages import contact_and_page, with_page
from mentor_pipeline.domain.decisions import CONTACT_CONFLICTS
from mentor_pipeline.domain.failures_csv import PROBLEM_TYPE
from mentor_pipeline.domain.findings import Problem, problem_rows
from mentor_pipeline.domain.import_cells import (
    MIDDLE_NAME,
    NAME_COLUMN,
    SUBSCRIBED,
    THEIR_TEXTS,
    build_rows,
    new_lines,
    owned_columns,
    their_values,
    tidy,
    unharmed,
)
from mentor_pipeline.domain.import_format import (
    CONTACT_ID,
    EMAILS,
    EXTERNAL_ID,
    FIRST_NAME,
    HOLDING,
    LAST_NAME,
    NOTES,
    PRIMARY_EMAIL,
    PRIMARY_PHONE,
    REFUSED,
    TAGS,
    WEBSITE,
    as_date,
    shows_nothing,
)
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from datetime import datetime

    from mentor_pipeline.settings import CustomField, ProgramYear

CONTACTS_SOURCE: Final = "givebutter/contacts"
_FIELD_COLUMNS: Final = {
    "mn_id": EXTERNAL_ID,
    "first_name": FIRST_NAME,
    "middle_name": MIDDLE_NAME,
    "last_name": LAST_NAME,
    "phone": PRIMARY_PHONE,
    "fundraising_page_url": WEBSITE,
    "notes": NOTES,
}
"""Fields of mentors and the column that carries each."""
_INTO: Final = {"mn_id": pl.String, "gb_contact_id": pl.Int64}
_SOURCE: Final = "mn_gb_import"


class Judged(NamedTuple):
    """What the export returns: rows of mn_gb_import, of mn_gb_import_held, and of detected_problems."""

    rows: pl.DataFrame
    held: pl.DataFrame
    problems: pl.DataFrame


def import_rows(
    mentors: pl.DataFrame,
    tasks: pl.DataFrame,
    contacts: pl.DataFrame,
    messages: pl.DataFrame,
    problems: pl.DataFrame,
    conflicts: pl.DataFrame,
    program: ProgramYear,
    *,
    now: datetime,
    knowledge_at: datetime | None,
) -> Judged:
    """One row for every mentor who is not held, and the reason for every one who is (R10).

    Args:
        mentors: rows of mentors of the year.
        tasks: rows of mn_tasks of the year.
        contacts: all of raw_gb_full_contacts.
        messages: rows of outreach_messages of the year.
        problems: what `-failed.csv` files taught: rows of sync_errors of the year, or of detected_problems.
        conflicts: rows of sync_conflicts of the year; where a phone or e-mail is undecided, Givebutter's own is sent.
        program: the year.
        now: the time of the run.
        knowledge_at: as of when all contacts are known (`knowledge_at`); None when they never were read.

    Returns:
        The rows with their held counterparts. The problems: merges foretold (info), names and texts that had to be
        cut, tags and values that cannot be sent, several messages for one column, contact data that is too old.
    """
    held = _held_by_rule(mentors, conflicts, program)
    going = _with_undecided_as_theirs(mentors.join(held, on="mn_id", how="anti", maintain_order="left"), conflicts)
    taken = preflight.taken_external_ids(problems, contacts)
    built = build_rows(going, tasks, contacts, messages, program)
    rows, into = built.rows, pl.DataFrame(schema=_INTO)
    while True:
        # What is written is what is judged: a row that merges takes over values of that contact, and may then merge
        # with a further one. Every turn finds one more contact, or is the last.
        findings = preflight.judge(rows, contacts, mentors, program, taken_external_ids=taken)
        found_now = pl.concat([into, _merging_into(rows, findings)]).unique(maintain_order=True)
        if found_now.height == into.height:
            break
        into = found_now
        merging = _rows_that_merge(going, into, tasks, contacts, messages, program)
        rows = pl.concat([built.rows.join(merging, on="mn_id", how="anti"), merging])
    refused = _held_by_preflight(rows, findings)
    found = [
        *_foretold_merges(rows, findings, refused),
        *built.problems,
        *_outdated(now, knowledge_at, program),
    ]
    return Judged(
        rows.join(refused, on="mn_id", how="anti").sort("mn_id"),
        pl.concat([held, refused]).sort("mn_id"),
        problem_rows(program.year, found),
    )


def knowledge_at(source_reads: pl.DataFrame) -> datetime | None:
    """As of when all contacts are known: the newest read of the API or full export; None when there was none.

    Args:
        source_reads: source, read_at, full_read_at.
    """
    moments = source_reads.filter(source=CONTACTS_SOURCE).select(pl.max_horizontal("read_at", "full_read_at").max())
    moment: datetime | None = moments.item()
    return moment


def without_sent_notes(rows: pl.DataFrame, sent_notes: pl.DataFrame, known_at: datetime | None) -> pl.DataFrame:
    """Rows of mn_gb_import without notes that may have arrived already.

    A note that was written to a file after the contacts were last read is not known to have arrived, nor to be lost.
    Once they were read again it shows in Givebutter, or the file was not imported and the note goes out again.

    Args:
        rows: rows of mn_gb_import.
        sent_notes: rows of sent_notes.
        known_at: as of when the contacts are known.
    """
    since = sent_notes if known_at is None else sent_notes.filter(pl.col("sent_at") >= known_at)
    under_way = since.group_by("year", "mn_id").agg(pl.col("notes").str.join("\n").alias("under way"))
    joined = rows.join(under_way, on=["year", "mn_id"], how="left", maintain_order="left")
    left = [new_lines(notes, sent) for notes, sent in joined.select(NOTES, "under way").iter_rows()]
    return rows.with_columns(pl.Series(NOTES, left, dtype=pl.String))


def settled_refusals(
    problems: pl.DataFrame, rows: pl.DataFrame, mentors: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear
) -> list[str]:
    """Ids of refusals (`import_refused`) that are over: nobody has to see to them any more (R9).

    A refusal is over when Givebutter is known to hold all of the mentor's row, or, where it said that there is no such
    contact, when the mentor is no longer linked to that one.

    Args:
        problems: rows of detected_problems of the year.
        rows: rows of mn_gb_import of the year.
        mentors: mn_id, gb_contact_id, gb_match_status of the year.
        contacts: all of raw_gb_full_contacts.
        program: the year.
    """
    refused = problems.filter(type=PROBLEM_TYPE).select(
        "id",
        "mn_id",
        contact_id=pl.col("context").str.json_path_match("$.contact_id"),
        is_unknown=pl.col("current_value").str.contains(r"(?i)contact with ID \[\d+\] does not exist"),
    )
    if refused.is_empty():
        return []
    linked = mentors.filter(pl.col("gb_match_status") == "linked").select(
        "mn_id", own_id=pl.col("gb_contact_id").cast(pl.String)
    )
    arrived = rows.join(differing(rows, contacts, program), on="mn_id", how="anti").select(
        "mn_id", arrived=pl.lit(value=True)
    )
    both = refused.join(linked, on="mn_id").join(arrived, on="mn_id", how="left")
    is_over = pl.when("is_unknown").then(pl.col("own_id") != pl.col("contact_id")).otherwise("arrived")
    return both.filter(is_over.fill_null(value=False))["id"].to_list()


def created_and_updated(rows: pl.DataFrame) -> tuple[int, int]:
    """How many rows of mn_gb_import create a contact, and how many update one."""
    created = rows[CONTACT_ID].null_count()
    return created, rows.height - created


# -- who is held, and what an operator should know -------------------------------------------------------------------


def _with_undecided_as_theirs(mentors: pl.DataFrame, conflicts: pl.DataFrame) -> pl.DataFrame:
    """Mentors with Givebutter's value where a person has yet to choose: sending ours would decide for them (R9)."""
    pending = conflicts.filter(pl.col("status") == "pending").select(
        "mn_id",
        field=pl.col("context").str.json_path_match("$.field"),
        theirs=pl.col("option_b").str.json_path_match("$.value"),
    )
    for field in ("phone", "personal_email", "uga_email"):
        of_field = pending.filter(field=field).unique("mn_id", maintain_order=True).select("mn_id", "theirs")
        mentors = (
            mentors.join(of_field, on="mn_id", how="left", maintain_order="left")
            .with_columns(pl.coalesce("theirs", field).alias(field))
            .drop("theirs")
        )
    return mentors


def _held_by_rule(mentors: pl.DataFrame, conflicts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """Mentors whom a rule of ours keeps back: mn_gb_import_held, the first reason and all of them in words."""
    status = pl.col("gb_match_status")
    account = program.givebutter.account_id
    mentors = mentors.join(_in_question(conflicts, account), on="mn_id", how="left", maintain_order="left")
    between = pl.col("in question").fill_null("no contact that is still there")
    way = (
        pl.when("is skipped")
        .then(pl.format("its conflict was skipped: `mentor-pipeline edit {} gb_contact_id VALUE` says whose", "mn_id"))
        .otherwise(pl.lit("decide the conflict (`mentor-pipeline conflicts list`)"))
    )
    holds: dict[str, tuple[pl.Expr, pl.Expr]] = {
        "contact_conflict": (
            status == "conflict",
            pl.format("Which contact is theirs is not decided ({}): {}.", between, way),
        ),
        "shared_contact": (
            status == "shared",
            pl.format("Another mentor claims the same contact ({}): {}.", between, way),
        ),
        "stale_contact": (
            status == "stale",
            with_page(
                pl.format(
                    "Contact {} was archived, deleted or merged in Givebutter. Restore it there, or say "
                    "`edit {} gb_contact_id none` to have a new one created.",
                    pl.col("gb_contact_id").fill_null(0),
                    "mn_id",
                ),
                pl.col("gb_contact_id"),
                account,
            ),
        ),
        "withdrawn": (pl.col("withdrawn"), pl.lit("Every sign-up submission is gone; nothing to do if that is right.")),
        "placeholder_mn_id": (
            pl.col("is_placeholder"),
            pl.lit("The mentor id is missing: add it to the sign-up in Jotform."),
        ),
        "no_last_name": (
            pl.col("last_name").is_null() | shows_nothing(pl.col("last_name")),
            pl.lit("Givebutter needs a last name: add it to the sign-up in Jotform."),
        ),
        "dropped": (
            pl.col("dropped") & pl.lit(program.export.hold_dropped),
            pl.lit("Dropped, and the year file holds the dropped (export.hold_dropped)."),
        ),
    }
    held = mentors.select(
        "year",
        "mn_id",
        "gb_contact_id",
        reason=pl.coalesce(pl.when(holding).then(pl.lit(reason)) for reason, (holding, _) in holds.items()),
        detail=pl.concat_list(pl.when(holding).then(words) for holding, words in holds.values())
        .list.drop_nulls()
        .list.join(" "),
    )
    return TABLES["mn_gb_import_held"].conform(held.filter(pl.col("reason").is_not_null()))


def _in_question(conflicts: pl.DataFrame, account_id: int | None) -> pl.DataFrame:
    """mn_id, `in question` (the contacts between which a person has to choose, with links) and `is skipped`."""
    is_skipped = pl.col("status") == "skipped"
    open_ones = conflicts.filter(
        (pl.col("status") == "pending") | is_skipped, pl.col("conflict_type").is_in(CONTACT_CONFLICTS)
    ).filter(~is_skipped | is_skipped.all().over("mn_id"))
    # An option is a contact, or words about one (`release 7`).
    options = (
        open_ones.select(
            "mn_id",
            is_skipped.alias("is skipped"),
            contact_id=pl.col(option).str.json_path_match("$.value").str.extract(r"(\d+)$"),
        )
        for option in ("option_a", "option_b")
    )
    named = contact_and_page(pl.col("contact_id"), account_id)
    return (
        pl.concat(options)
        .drop_nulls("contact_id")
        .unique(maintain_order=True)
        .group_by("mn_id", maintain_order=True)
        .agg(named.str.join(" or ").alias("in question"), pl.col("is skipped").first())
    )


def _held_by_preflight(rows: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """Mentors whose row Givebutter would refuse, or take onto the wrong contact: mn_gb_import_held."""
    holding = findings.filter(pl.col("verdict").is_in(HOLDING))
    held = (
        holding.group_by("row", maintain_order=True)
        .agg(
            is_refused=(pl.col("verdict") == REFUSED).any(),
            detail=pl.concat_str("words", "detail", separator=" ").unique(maintain_order=True).str.join(" "),
        )
        .join(rows.with_row_index("row"), on="row", maintain_order="left")
        .select(
            "year",
            "mn_id",
            gb_contact_id=pl.col(CONTACT_ID).cast(pl.Int64),
            reason=pl.when("is_refused").then(pl.lit("refused_by_givebutter")).otherwise(pl.lit("wrong_contact")),
            detail="detail",
        )
    )
    return TABLES["mn_gb_import_held"].conform(held)


def _merging_into(rows: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """mn_id and gb_contact_id: the contacts that Givebutter may merge a row without Contact ID into."""
    merges = findings.filter(kind="merges").sort("row", "contact_id")
    named = rows.with_row_index("row").select("row", "mn_id")
    return merges.join(named, on="row", maintain_order="left").select("mn_id", gb_contact_id="contact_id")


def _rows_that_merge(
    mentors: pl.DataFrame,
    into: pl.DataFrame,
    tasks: pl.DataFrame,
    contacts: pl.DataFrame,
    messages: pl.DataFrame,
    program: ProgramYear,
) -> pl.DataFrame:
    """Rows without Contact ID, written like linked ones.

    With the contact's tags, and its values for ours that are blank, so that the merge takes nothing from it. Where
    several contacts fit, nobody knows which one Givebutter takes: all their tags are sent, and whoever is unsubscribed
    in one of them stays so.
    """
    known = (
        into.join(
            contacts.select("tags", *SUBSCRIBED.values(), gb_contact_id="contact_id"),
            on="gb_contact_id",
            maintain_order="left",
        )
        .group_by("mn_id", maintain_order=True)
        .agg(
            pl.col("gb_contact_id").min(),
            pl.col("tags").explode().drop_nulls().alias("their_tags"),
            *(pl.col(name).all().alias(column) for column, name in SUBSCRIBED.items()),
        )
    )
    linked = mentors.drop("gb_contact_id").join(known, on="mn_id", maintain_order="left")
    tags = pl.col("tags").fill_null([]).list.set_union("their_tags")
    rows = build_rows(linked.with_columns(tags), tasks, contacts, messages, program).rows
    unsubscribed = linked.select("mn_id", *(pl.col(column).not_().alias(f"not {column}") for column in SUBSCRIBED))
    return (
        rows.join(unsubscribed, on="mn_id", maintain_order="left")
        .with_columns(
            pl.lit(None, dtype=pl.String).alias(CONTACT_ID),
            *(pl.when(f"not {column}").then(pl.lit("no")).otherwise(column).alias(column) for column in SUBSCRIBED),
        )
        .select(rows.columns)
    )


def _foretold_merges(rows: pl.DataFrame, findings: pl.DataFrame, held: pl.DataFrame) -> list[Problem]:
    merges = (
        findings.filter(kind="merges")
        .join(rows.with_row_index("row").select("row", "mn_id", FIRST_NAME, LAST_NAME), on="row", maintain_order="left")
        .join(held, on="mn_id", how="anti", maintain_order="left")
    )
    return [
        Problem(
            "row_will_merge",
            f"{row[FIRST_NAME] or ''} {row[LAST_NAME]} ({row['mn_id']}) has no contact yet. {row['detail']}".lstrip(),
            severity="info",
            mn_id=row["mn_id"],
            source_table=_SOURCE,
            field_name="gb_contact_id",
            current_value=str(row["contact_id"]),
            context={"contact_id": row["contact_id"]},
        )
        for row in merges.iter_rows(named=True)
    ]


def _outdated(now: datetime, known_at: datetime | None, program: ProgramYear) -> list[Problem]:
    """Contact data older than `contacts_max_age_hours`, worded without the present time: it is one problem."""
    limit = program.export.contacts_max_age_hours
    if known_at is not None and (now - known_at).total_seconds() <= limit * 3600:
        return []
    since = f"known as of {known_at:%Y-%m-%d %H:%M} UTC" if known_at else "not known: they never were read"
    return [
        Problem(
            "contacts_outdated",
            f"Givebutter's contacts are {since}; more than {limit:g} hours is old for an import file. Run `sync`.",
            source_table="raw_gb_full_contacts",
            context={"known_at": known_at},
        )
    ]


# -- what Givebutter is known to hold --------------------------------------------------------------------------------


def differing(rows: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """The rows that differ from what Givebutter is known to hold; one without Contact ID always does (R10).

    Givebutter adds e-mails, phones and tags to those it has, so ours among them is enough. A box that is not ticked is
    as good as one that says no. What is not known (a subscription) is no difference.

    Args:
        rows: rows of mn_gb_import.
        contacts: all of raw_gb_full_contacts.
        program: the year.
    """
    agreement = _agreement(rows, contacts, program)
    return rows.join(
        agreement.filter(pl.all_horizontal(owned_columns(program))),
        on=["year", "mn_id"],
        how="anti",
        maintain_order="left",
    )


def what_rows_do(rows: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """What each row will do, for a look before the import: without anybody's phone, e-mail or message.

    Args:
        rows: rows of mn_gb_import.
        contacts: all of raw_gb_full_contacts.
        program: the year.

    Returns:
        external_id, name, does (creates a contact, or updates which), changes (columns that differ from what
        Givebutter is known to hold; all that are given, where there is no contact yet), in the order of the rows.
    """
    columns = owned_columns(program)
    agreement = _agreement(rows, contacts, program).unpivot(
        on=columns, index=["year", "mn_id"], variable_name="column", value_name="agrees"
    )
    given = rows.select("year", "mn_id", *(pl.col(name).is_null().alias(name) for name in columns)).unpivot(
        on=columns, index=["year", "mn_id"], variable_name="column", value_name="is_blank"
    )
    changes = (
        given.join(agreement, on=["year", "mn_id", "column"], how="left", maintain_order="left")
        .filter(~pl.col("agrees").fill_null(pl.col("is_blank")))
        .group_by("year", "mn_id", maintain_order=True)
        .agg(changes=pl.col("column").str.join(", "))
    )
    return rows.join(changes, on=["year", "mn_id"], how="left", maintain_order="left").select(
        external_id=EXTERNAL_ID,
        name=pl.concat_str(FIRST_NAME, LAST_NAME, separator=" ", ignore_nulls=True),
        does=pl.when(pl.col(CONTACT_ID).is_null())
        .then(pl.lit("creates a contact"))
        .otherwise(pl.format("updates contact {}", CONTACT_ID)),
        changes=pl.col("changes").fill_null("nothing"),
    )


def held_in_givebutter(mentors: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """What the mentors' contacts are known to hold of every field that is sent; for `changes.mark_synced`.

    Where Givebutter holds our value (also where it had to be cut, or is one of several e-mails), it is told as
    `changes.readable` writes ours; else theirs is told, null when there is none.

    Args:
        mentors: rows of mentors; those without a contact that is there are left out.
        contacts: all of raw_gb_full_contacts.
        program: the year.

    Returns:
        year, mn_id, field_name, value: one row for every linked mentor and field.
    """
    there = contacts.filter(pl.all_horizontal(pl.col("archived_at", "missing_since").is_null()))
    linked = mentors.filter(pl.col("gb_match_status") == "linked").join(
        there.select(gb_contact_id="contact_id"), on="gb_contact_id", how="semi", maintain_order="left"
    )
    rows = build_rows(linked, TABLES["mn_tasks"].empty(), there, TABLES["outreach_messages"].empty(), program).rows
    theirs = their_values(there, linked, program)
    pairs = linked.join(theirs, on="gb_contact_id", how="left", maintain_order="left").join(
        _agreement(rows, there, program), on=["year", "mn_id"], maintain_order="left"
    )
    types = {name: TABLES["mentors"].type_of(name) for name in TABLES["mentors"].column_names}
    fields = sorted(sent_fields(program) & set(types))
    values = pairs.select(
        "year", "mn_id", *(_held_value(name, types[name], program).alias(f"= {name}") for name in fields)
    )
    return values.unpivot(index=["year", "mn_id"], variable_name="field_name", value_name="value").with_columns(
        pl.col("field_name").str.strip_prefix("= "), pl.col("value").cast(pl.String)
    )


def _held_value(name: str, kind: Type, program: ProgramYear) -> pl.Expr:
    """Our value as text where Givebutter holds it in every column that carries the field, else theirs."""
    if name in {"tags", "statuses"}:
        return pl.col("their tags").list.join(", ")
    carried: list[tuple[pl.Expr, pl.Expr]] = []
    if name in {"personal_email", "uga_email"}:
        agrees = pl.col("their emails").list.contains(pl.col(name)).fill_null(value=False)
        of_kind = pl.element().str.contains(_school_address(program))
        kind_of_theirs = of_kind if name == "uga_email" else ~of_kind
        carried.append((agrees, pl.col("their emails").list.filter(kind_of_theirs).list.first()))
    if name == "preferred_name":
        column = NAME_COLUMN[program.givebutter.preferred_name_field]
        carried.append((pl.col(column), pl.col(f"their {THEIR_TEXTS[column]}")))
    if name in _FIELD_COLUMNS:
        column = _FIELD_COLUMNS[name]
        theirs = {PRIMARY_PHONE: "primary_phone", NOTES: "notes"}.get(column) or THEIR_TEXTS[column]
        carried.append((pl.col(column), pl.col(f"their {theirs}")))
    carried += [
        (pl.col(label), pl.col(f"their {label}"))
        for label, spec in program.custom_fields.items()
        if spec.source == name
    ]
    ours = readable(name, kind)
    return (
        pl.when(ours.is_not_null() & pl.all_horizontal(agrees for agrees, _ in carried))
        .then(ours)
        .otherwise(pl.coalesce(*(pl.when(~agrees).then(theirs) for agrees, theirs in carried), carried[0][1]))
    )


def _school_address(program: ProgramYear) -> str:
    """Pattern of an address on a school domain or below one."""
    return rf"(?i)[@.](?:{'|'.join(map(re.escape, program.givebutter.school_domains))})$"


def _agreement(rows: pl.DataFrame, contacts: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """Year, mn_id and for every owned column whether Givebutter is known to hold the cell; known contacts only."""
    keyed = rows.with_columns(gb_contact_id=pl.col(CONTACT_ID).cast(pl.Int64)).filter(
        pl.col("gb_contact_id").is_not_null()
    )
    pairs = keyed.join(their_values(contacts, keyed, program), on="gb_contact_id", maintain_order="left")
    agrees = {column: _same_text(column, f"their {name}") for column, name in THEIR_TEXTS.items()}
    agrees |= {
        CONTACT_ID: pl.lit(value=True),
        PRIMARY_EMAIL: _among(pl.col(PRIMARY_EMAIL), "their emails"),
        EMAILS: _among(pl.col(EMAILS), "their emails"),
        PRIMARY_PHONE: _among(pl.col(PRIMARY_PHONE), "their phones"),
        TAGS: _among(pl.col(TAGS), "their tags"),
        NOTES: pl.col(NOTES).is_null(),
    }
    for column, name in SUBSCRIBED.items():
        agrees[column] = (pl.col(column) == "yes") == pl.col(f"their {name}")
    for label, spec in program.custom_fields.items():
        agrees[label] = _same_custom(label, spec)
    return pairs.select(
        "year",
        "mn_id",
        *(
            (pl.col(column).is_null() | agrees[column].fill_null(column in SUBSCRIBED)).alias(column)
            for column in owned_columns(program)
        ),
    )


def _same_text(column: str, theirs: str) -> pl.Expr:
    """The cell, or what it was before it was made harmless."""
    told = tidy(pl.col(theirs))
    return (pl.col(column) == told) | (unharmed(pl.col(column)) == told)


def _among(cell: pl.Expr, theirs: str) -> pl.Expr:
    """True when all values of the cell are among theirs."""
    ours = cell.str.split(",").list.eval(pl.element().str.strip_chars())
    return ours.list.set_difference(pl.col(theirs).fill_null([])).list.len() == 0


def _same_custom(label: str, spec: CustomField) -> pl.Expr:
    ours, theirs = pl.col(label), pl.col(f"their {label}")
    match spec.type:
        case "checkbox":
            return ours == theirs.str.to_lowercase().fill_null("no")
        case "number":
            amounts = (value.cast(pl.Float64, strict=False) for value in (ours, theirs))
            return next(amounts) == next(amounts)
        case "date":
            return as_date(ours) == as_date(theirs)
        case _:
            return _same_text(label, f"their {label}")
