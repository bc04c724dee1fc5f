"""Judging import rows as Givebutter will judge them, before anybody imports them (R10).

One function, `judge`, serves the rows that `export` builds and those of a file read back (`preflight FILE`), so the
two can never disagree. It knows what apis.md says of the import: who is changed, what is refused, what merges in
silence. What is held because of our own rules (conflicts, placeholders), and what a cell should hold, is decided in
`export`; Givebutter's own explanations afterwards are read in `failures_csv`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import polars as pl

from mentor_pipeline.domain.candidates import rows_of
from mentor_pipeline.domain.contact_pages import with_page
from mentor_pipeline.domain.contacts_csv import FileKind, kind_of
from mentor_pipeline.domain.failures_csv import PROBLEM_TYPE
from mentor_pipeline.domain.failures_csv import taken_external_ids as _told_by_failures
from mentor_pipeline.domain.import_format import (
    CONTACT_ID,
    EMAILS,
    EXTERNAL_ID,
    FINDINGS,
    FIRST_NAME,
    LAST_NAME,
    NOTICE,
    PHONES,
    PRIMARY_EMAIL,
    PRIMARY_PHONE,
    WRONG,
    conformed,
    faults,
    given,
    judge_format,
    meant_columns,
    prepared,
    split_cells,
)
from mentor_pipeline.domain.normalise import comparable_mn_ids, emails, phones
from mentor_pipeline.domain.strict_csv import read_sheet, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mentor_pipeline.settings import ProgramYear

CONTACT_COLUMNS: Final = (
    "contact_id",
    "external_id",
    "external_mn_id",
    "first_name",
    "last_name",
    "emails",
    "phones",
    "archived_at",
    "missing_since",
)
"""Columns of `raw_gb_full_contacts` that the preflight reads."""

KEY_COLUMNS: Final = ("contact_id", "external_id", "external_mn_id", "emails", "phones")
"""Columns by which contacts are found that concern a row (`concerned`)."""

_WRITE_AGAIN: Final = (
    "Nothing was judged. Write it again with `mentor-pipeline export`, or save it as CSV in UTF-8 with commas."
)


@dataclass(frozen=True, slots=True)
class FilePreflight:
    """What `preflight FILE` found.

    Attributes:
        row_count: rows of the file.
        findings: what `judge` returns, with the row's External ID and name; `row` is its number in a spreadsheet.
        unknown_columns: headers that are neither the template's nor a custom field of the year: nothing was judged
            there, and Givebutter takes them only if somebody maps them by hand.
        mapped_columns: headers that are written otherwise than in the template, and the column each was judged as: in
            Givebutter's mapping step it has to be chosen.
    """

    row_count: int
    findings: pl.DataFrame
    unknown_columns: tuple[str, ...]
    mapped_columns: dict[str, str]


def judge(
    rows: pl.DataFrame,
    contacts: pl.DataFrame,
    mentors: pl.DataFrame,
    program: ProgramYear,
    *,
    taken_external_ids: Collection[str] = frozenset(),
    numbers: Sequence[int] = (),
) -> pl.DataFrame:
    """Say of every import row what Givebutter would do with it that it should not (R10).

    Verdict `refused`: Givebutter would not take the row. `wrong`: it would, but onto somebody else's contact, or so
    that one mentor's values end up with another. Both keep a row out of the file. `notice`: it would take it, and an
    operator should know what happens (a row without Contact ID merges).

    External IDs are compared as Givebutter does, letter by letter: `MN0042` does not collide with `0042`. As both are
    one mentor's id, a row that gives it to a contact while another active contact carries it in other letters is
    `wrong` (two carriers can only end in a conflict, R4.1), except where the row's own contact carries it already:
    then the import makes nothing worse. A missing contact that was never proved to be deleted may be archived and
    count as a holder, unless the row's own contact holds the very same External ID.

    Of two rows that share an External ID or a Contact ID both are `wrong`: nobody can tell which is right.

    Args:
        rows: columns of the import template and custom fields by label, as text; null or "" is blank. A column that is
            not there is not mapped. Further columns are not looked at.
        contacts: `CONTACT_COLUMNS` of all known contacts, archived and missing ones too.
        mentors: mn_id, gb_contact_id of all mentors of the year: whose a contact is.
        program: prefix of External IDs, custom fields.
        taken_external_ids: External IDs that a `-failed.csv` taught are taken (`taken_external_ids`).
        numbers: what a person calls each row; when empty as in a spreadsheet, below a header: 2, 3, ...

    Returns:
        `FINDINGS`, one row for each fault or notice, in order of the rows: row (0-based), verdict, kind, column,
        words (as Givebutter would say it), detail (for an operator: who is in the way, what to do), contact_id.
    """
    frame = prepared(rows, program)
    shown = pl.Series(numbers or range(2, frame.height + 2), dtype=pl.Int64)
    frame = frame.with_columns(number=shown)
    found = [
        *_judge_ids(frame, contacts),
        *_judge_external_ids(frame, contacts, taken_external_ids),
        *judge_format(frame, program, rows.columns),
        _judge_merges(frame, contacts, mentors),
    ]
    return _together(found, program)


def concerned(
    contacts: pl.LazyFrame,
    mentors: pl.DataFrame,
    conflicts: pl.DataFrame,
    problems: pl.DataFrame,
    program: ProgramYear,
) -> pl.Series:
    """Ids of all contacts that can have a say in the import rows of these mentors, sorted.

    Rows are judged against contacts by Contact ID, External ID, e-mail and phone, and what stands in a row is a
    mentor's or that of a contact found in this way. So these are the contacts that carry a key of a mentor, those
    that carry a key of one of these, and so on until there are no more: what `judge` and `build_rows` say with them
    is what they say with all.

    Args:
        contacts: `KEY_COLUMNS` of all known contacts; gone through a few times.
        mentors: mn_id, gb_contact_id, phone, personal_email, uga_email of all mentors of the year.
        conflicts: rows of sync_conflicts of the year.
        problems: rows of sync_errors of the year (see `taken_external_ids`).
        program: prefix of External IDs.
    """
    in_the_way = [
        contact_id
        for context in problems.filter(type=PROBLEM_TYPE)["context"].drop_nulls()
        for contact_id in orjson.loads(context).get("in_the_way", ())
    ]
    ids = pl.concat([mentors["gb_contact_id"].drop_nulls(), pl.Series(in_the_way, dtype=pl.Int64)])
    found = (
        contacts.filter(
            pl.col("contact_id").is_in(ids.implode())
            | pl.col("external_id").is_in((program.mn_id_prefix + mentors["mn_id"]).implode())
            | pl.col("external_mn_id").is_in(mentors.select(comparable_mn_ids("mn_id")).to_series().implode())
        )
        .select("contact_id", "emails", "phones")
        .collect(engine="streaming")
    )
    chosen = [conflicts[option].str.json_path_match("$.value") for option in ("option_a", "option_b")]
    keys = pl.concat([mentors[name] for name in ("phone", "personal_email", "uga_email")] + chosen).rename("key")
    newest = found
    while True:
        theirs = [newest[column].explode(empty_as_null=True).rename("key") for column in ("emails", "phones")]
        keys = pl.concat([keys, *theirs]).drop_nulls().unique()
        wanted = keys.to_frame().lazy()
        by_key = pl.collect_all(
            (
                contacts.select("contact_id", key=column).explode("key").join(wanted, on="key", how="semi")
                for column in ("emails", "phones")
            ),
            engine="streaming",
        )
        ids = pl.concat([one["contact_id"] for one in by_key]).unique()
        further = ids.filter(~ids.is_in(found["contact_id"].implode()))
        if further.is_empty():
            return found["contact_id"].sort()
        newest = rows_of(contacts.select("contact_id", "emails", "phones"), further)
        found = pl.concat([found, newest])


def judge_external_ids(
    rows: pl.DataFrame,
    contacts: pl.DataFrame,
    program: ProgramYear,
    *,
    taken_external_ids: Collection[str] = frozenset(),
) -> pl.DataFrame:
    """What `judge` says of the External IDs alone: each is its own row's, and no other contact holds it."""
    frame = prepared(rows, program)
    frame = frame.with_columns(number=pl.int_range(2, frame.height + 2, dtype=pl.Int64))
    return _together(_judge_external_ids(frame, contacts, taken_external_ids), program)


def _together(found: list[pl.DataFrame], program: ProgramYear) -> pl.DataFrame:
    """Findings in order of the rows, with a link to the contact that each is about."""
    every = pl.concat([pl.DataFrame(schema=FINDINGS), *(conformed(one) for one in found)])
    detail = with_page(pl.col("detail"), pl.col("contact_id"), program.givebutter.account_id)
    return every.with_columns(detail.alias("detail")).sort("row", maintain_order=True)


def taken_external_ids(problems: pl.DataFrame, contacts: pl.DataFrame) -> frozenset[str]:
    """External IDs that a `-failed.csv` taught are taken, and of which nothing newer is known.

    A lesson is over when a person acknowledged it, or when every contact that was known to be in the way has given up
    the External ID. That of a contact nobody ever saw stays until a person says so.

    Args:
        problems: rows of sync_errors of the year, or of detected_problems (type, context; resolved where there is).
        contacts: contact_id, external_id of all known contacts.
    """
    lessons = problems.filter(pl.col("type") == PROBLEM_TYPE)
    if "resolved" in lessons.columns:
        lessons = lessons.filter(~pl.col("resolved").fill_null(value=False))
    if lessons.is_empty():
        return frozenset()
    concerned = {
        contact_id
        for context in lessons["context"].drop_nulls()
        for contact_id in orjson.loads(context).get("in_the_way", ())
    }
    holds = dict(
        contacts.filter(pl.col("contact_id").is_in(list(concerned))).select("contact_id", "external_id").iter_rows()
    )

    def stands(context: str) -> bool:
        told = orjson.loads(context)
        in_the_way = told.get("in_the_way", ())
        return not in_the_way or any(holds.get(one) in told["taken_external_ids"] for one in in_the_way)

    return _told_by_failures(
        lessons.filter(pl.Series([context is not None and stands(context) for context in lessons["context"]]))
    )


def unsure_holders(contacts: pl.DataFrame, mentors: pl.DataFrame, program: ProgramYear) -> list[int]:
    """Contacts that vanished from a list while they held the External ID of a current mentor.

    Whether they were archived (and go on reserving it) or deleted, only asking for them one by one can tell.
    """
    wanted = program.mn_id_prefix + mentors["mn_id"]
    vanished = pl.col("missing_since").is_not_null() & pl.col("archived_at").is_null()
    held = contacts.filter(vanished & pl.col("external_id").is_in(wanted.implode()))
    return held["contact_id"].unique().sort().to_list()


def preflight_file(
    data: bytes,
    name: str,
    contacts: pl.DataFrame,
    mentors: pl.DataFrame,
    program: ProgramYear,
    *,
    taken_external_ids: Collection[str] = frozenset(),
) -> FilePreflight:
    """Judge an import file by the rules of `judge`.

    Args:
        data: the file's bytes.
        name: its name, for messages.
        contacts: see `judge`.
        mentors: see `judge`.
        program: see `judge`.
        taken_external_ids: see `judge`.

    Raises:
        FileRejectedError: no readable CSV (with the line), or no file for Givebutter to import.
    """
    sheet = read_sheet(data, name, _WRITE_AGAIN)
    meant, kind = meant_columns(sheet.header, program), kind_of(data, name)
    if kind is FileKind.FAILURES:
        raise refusal(
            name,
            "these are rows that Givebutter refused (first column ERRORS)",
            "Nothing was judged. Read it with `mentor-pipeline import-failures`.",
        )
    if kind is FileKind.COMPANIES or not {CONTACT_ID, EXTERNAL_ID, LAST_NAME} & set(meant.values()):
        raise refusal(
            name,
            f"this is no file for Givebutter to import; its columns are {', '.join(sheet.header[:5])}, ...",
            "Nothing was judged. `mentor-pipeline export` writes such a file.",
        )
    for column in set(meant.values()):
        labels = [label for label, other in meant.items() if other == column]
        if len(labels) > 1:
            raise refusal(
                name,
                f"the columns {' and '.join(labels)} all mean {column}, and Givebutter takes only one of them",
                "Nothing was judged. Leave one of them in the file.",
            )
    rows = sheet.cells.rename({str(position): meant.get(label, label) for position, label in enumerate(sheet.header)})
    cells = prepared(rows, program)
    findings = judge(rows, contacts, mentors, program, taken_external_ids=taken_external_ids, numbers=sheet.numbers)
    named = cells.select(
        "row",
        external_id=pl.col(EXTERNAL_ID),
        name=pl.concat_str(FIRST_NAME, LAST_NAME, separator=" ").str.strip_chars(),
    )
    return FilePreflight(
        row_count=rows.height,
        findings=findings.join(named, on="row", how="left", maintain_order="left").with_columns(
            row=pl.Series(sheet.numbers, dtype=pl.Int64).gather(findings["row"])
        ),
        unknown_columns=tuple(label for label in sheet.header if label not in meant),
        mapped_columns={label: column for label, column in meant.items() if label != column},
    )


# -- whom a row changes, and who holds its External ID ---------------------------------------------------------------


def _judge_ids(frame: pl.DataFrame, contacts: pl.DataFrame) -> list[pl.DataFrame]:
    """The contact exists, is neither archived nor missing, and is no other row's."""
    known = contacts.select(
        "archived_at",
        "missing_since",
        own_id="contact_id",
        contact_id="contact_id",
        shown=_shown(contacts),
    )
    joined = frame.filter(given(CONTACT_ID)).join(known, on="own_id", how="left", maintain_order="left")
    state = (
        pl.when(pl.col("contact_id").is_null())
        .then(pl.lit("Nobody knows such a contact"))
        .when(pl.col("archived_at").is_not_null())
        .then(pl.format("{} is archived", "shown"))
        .when(pl.col("missing_since").is_not_null())
        .then(pl.format("{} is no longer there: archived, deleted or merged", "shown"))
    )
    words = pl.format("A contact with ID [{}] does not exist.", CONTACT_ID)
    detail = pl.format("{}. Run `contact-refresh` and `sync`, then export again.", state)
    shared = frame.filter(pl.col("own_id").is_not_null() & (pl.len().over("own_id") > 1))
    return [
        faults(joined, state.is_not_null(), "no_such_contact", CONTACT_ID, words, detail),
        faults(
            shared.with_columns(contact_id="own_id"),
            pl.lit(value=True),
            "contact_twice",
            CONTACT_ID,
            pl.format("Contact [{}] is on several rows.", CONTACT_ID),
            pl.format(
                "The last of the rows {} would win. Find out whose contact {} is.", _same_rows("own_id"), CONTACT_ID
            ),
            verdict=WRONG,
        ),
    ]


def _judge_external_ids(frame: pl.DataFrame, contacts: pl.DataFrame, taken: Collection[str]) -> list[pl.DataFrame]:
    """No other contact holds the External ID, as letters or as a mentor id, and no other row does."""
    carriers = contacts.filter(pl.col("external_id").is_not_null()).select(
        "external_id",
        "external_mn_id",
        "contact_id",
        archived=pl.col("archived_at").is_not_null(),
        missing=pl.col("missing_since").is_not_null(),
        shown=_shown(contacts.filter(pl.col("external_id").is_not_null())),
    )
    own = carriers.select(own_id="contact_id", own_holds="external_id", own_carries="external_mn_id")
    rows = frame.filter(given(EXTERNAL_ID)).join(own, on="own_id", how="left", maintain_order="left")
    others = pl.col("contact_id").ne_missing(pl.col("own_id"))
    holds_itself = pl.col("own_holds").eq_missing(pl.col(EXTERNAL_ID))
    same = rows.join(
        carriers.drop("external_mn_id"), left_on=EXTERNAL_ID, right_on="external_id", maintain_order="left"
    ).filter(others & ~(pl.col("missing") & holds_itself))
    spelled = rows.join(
        carriers.filter(~pl.col("archived") & ~pl.col("missing")),
        left_on="own_mn_id",
        right_on="external_mn_id",
        maintain_order="left",
    ).filter(
        others & (pl.col("external_id") != pl.col(EXTERNAL_ID)) & pl.col("own_carries").ne_missing(pl.col("own_mn_id"))
    )
    unseen = rows.filter(pl.col(EXTERNAL_ID).is_in(list(taken)) & ~holds_itself).join(same, on="row", how="anti")
    twice = rows.filter(pl.len().over(EXTERNAL_ID) > 1)
    exists = pl.format("A contact with External ID [{}] already exists.", EXTERNAL_ID)
    what_to_do = (
        pl.when(pl.col("missing") & ~pl.col("archived"))
        .then(pl.lit("If it was archived, it goes on holding it: run `contact-refresh`, which asks for it."))
        .when(pl.col("own_id").is_null())
        .then(
            pl.lit(
                "If it is this mentor's contact, the row was imported before: write a new file with `export`. Else "
                "take the External ID off it (`release plan`), or link the mentor to it."
            )
        )
        .otherwise(pl.lit("Take the External ID off it (`release plan`), or link the mentor to it."))
    )
    return [
        faults(
            same,
            pl.lit(value=True),
            "external_id_taken",
            EXTERNAL_ID,
            exists,
            pl.format("{} holds External ID {}. {}", "shown", EXTERNAL_ID, what_to_do),
        ),
        faults(
            unseen,
            pl.lit(value=True),
            "external_id_taken",
            EXTERNAL_ID,
            exists,
            pl.format(
                "Givebutter refused External ID {} before, and no contact that we know of holds it: probably an "
                "archived one. Take it off there, then acknowledge the error.",
                EXTERNAL_ID,
            ),
        ),
        faults(
            spelled,
            pl.lit(value=True),
            "external_id_other_spelling",
            EXTERNAL_ID,
            pl.format("External ID [{}] is held as [{}].", EXTERNAL_ID, "external_id"),
            pl.format(
                "{} carries the same mentor id as {}: Givebutter would accept a second carrier, and nobody could tell "
                "the two apart. Take it off there (`release plan`), or link the mentor to it.",
                "shown",
                "external_id",
            ),
            verdict=WRONG,
        ),
        faults(
            twice,
            pl.lit(value=True),
            "external_id_twice",
            EXTERNAL_ID,
            exists,
            pl.format("The rows {} have one External ID, {}.", _same_rows(EXTERNAL_ID), EXTERNAL_ID),
            verdict=WRONG,
        ),
    ]


def _same_rows(column: str) -> pl.Expr:
    """The rows that share a value, as a person counts them."""
    return pl.col("number").cast(pl.String).str.join(" and ").over(column)


def _shown(contacts: pl.DataFrame) -> pl.Series:
    """A contact as an operator reads it: `Contact 7 (Ada Elm)`."""
    name = pl.concat_str(pl.col("first_name", "last_name").fill_null(""), separator=" ").str.strip_chars()
    return contacts.select(
        shown=pl.format("Contact {} ({})", "contact_id", pl.when(name == "").then(pl.lit("no name")).otherwise(name))
    ).to_series()


# -- rows without Contact ID -----------------------------------------------------------------------------------------


def _judge_merges(frame: pl.DataFrame, contacts: pl.DataFrame, mentors: pl.DataFrame) -> pl.DataFrame:
    """Whom a row without Contact ID would merge into: same first and last name, and the same e-mail or phone.

    Contacts are looked at as they are, and as the file's other rows will leave them: whichever row comes first, the
    row must not end up on another one's contact.
    """
    new = frame.filter(~given(CONTACT_ID))
    if new.is_empty():
        return pl.DataFrame(schema=FINDINGS)
    new_keys = _row_keys(new).join(new.select("row", "own_mn_id", *_name_key(FIRST_NAME, LAST_NAME)), on="row")
    active = contacts.filter(pl.all_horizontal(pl.col("archived_at", "missing_since").is_null()))
    held = _contact_keys(active, new_keys)
    names = active.join(held, on="contact_id", how="semi").select("contact_id", *_name_key("first_name", "last_name"))
    after = _keys_after(frame, active, new_keys)
    of_contacts = (
        new_keys.join(held, on="key")
        .join(names, on=["contact_id", "first", "last"])
        .select("row", "own_mn_id", "key", "contact_id")
    )
    of_rows = (
        new_keys.join(after, on=["key", "first", "last"], suffix="_other")
        .filter(pl.col("row") != pl.col("row_other"))
        .select("row", "own_mn_id", "key", "row_other", "number", contact_id="own_id")
    )
    merges = of_contacts.unique(["row", "contact_id"], keep="first", maintain_order=True).join(
        _owners(active, mentors), on="contact_id", how="left", maintain_order="left"
    )
    targets = pl.concat(
        [
            merges.select("row", "contact_id"),
            frame.filter(pl.col("own_id").is_not_null()).select("row", contact_id="own_id"),
        ]
    ).join(frame.select("row", "number"), on="row")
    onto_one = (
        merges.select("row", "contact_id", "shown", "key")
        .join(targets, on="contact_id", suffix="_other")
        .filter(pl.col("row") != pl.col("row_other"))
        .sort("row", "row_other")
        .unique(["row", "row_other"], keep="first", maintain_order=True)
        .join(of_rows, on=["row", "row_other"], how="anti")
    )
    somebody_elses = pl.col("owner").ne_missing(pl.col("own_mn_id")) & pl.col("owner").is_not_null()
    words = pl.format("The row merges into contact [{}].", "contact_id")
    same = pl.format("the same name and {}", "key")
    other_row = of_rows.unique(["row", "row_other"], keep="first", maintain_order=True)
    return pl.concat(
        conformed(found)
        for found in (
            faults(
                merges,
                somebody_elses,
                "merges_into_another",
                CONTACT_ID,
                words,
                pl.format(
                    "{} has {}, so Givebutter would merge the row into it; but it is mentor {}'s. Link the mentor to a "
                    "contact, or correct the one that is wrong.",
                    "shown",
                    same,
                    "owner_shown",
                ),
                verdict=WRONG,
            ),
            faults(
                merges,
                ~somebody_elses,
                "merges",
                CONTACT_ID,
                words,
                pl.format("{} has {}: Givebutter will update it and create none.", "shown", same),
                verdict=NOTICE,
            ),
            faults(
                other_row,
                pl.lit(value=True),
                "merges_with_row",
                CONTACT_ID,
                pl.format("The row merges with row [{}].", "number"),
                pl.format(
                    "Row {} has {}, so Givebutter would make one contact of the two. Create one of them by hand.",
                    "number",
                    same,
                ),
                verdict=WRONG,
            ),
            faults(
                onto_one,
                pl.lit(value=True),
                "merges_with_row",
                CONTACT_ID,
                pl.format("The row merges with row [{}].", "number"),
                pl.format(
                    "{} has {}, and Givebutter would write row {} onto it too. Find out whose contact it is, or create "
                    "one of the two by hand.",
                    "shown",
                    same,
                    "number",
                ),
                verdict=WRONG,
            ),
        )
    )


def _name_key(first: str, last: str) -> list[pl.Expr]:
    """First and last name as Givebutter compares them: without case and outer or double spaces."""
    return [
        pl.col(column)
        .fill_null("")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
        .map_elements(str.casefold, return_dtype=pl.String)
        .alias(alias)
        for column, alias in ((first, "first"), (last, "last"))
    ]


def _row_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Each row's keys: every e-mail (lower case) and phone (E.164) of a row."""
    found = split_cells(frame, PRIMARY_EMAIL, EMAILS, PRIMARY_PHONE, PHONES)
    is_email_column = pl.col("column").is_in([PRIMARY_EMAIL, EMAILS])
    mails, numbers = found.filter(is_email_column), found.filter(~is_email_column)
    return pl.concat(
        [
            mails.select("row", key=pl.coalesce(emails(mails["value"]), pl.col("value").str.to_lowercase())),
            numbers.select("row", key=phones(numbers["value"])),
        ]
    ).unique(maintain_order=True)


def _contact_keys(active: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """contact_id and key, only where a row has that key."""
    keys = wanted["key"].drop_nulls().unique().implode()
    return (
        pl.concat(
            active.select("contact_id", key=column).explode("key").filter(pl.col("key").is_in(keys))
            for column in ("emails", "phones")
        )
        .unique()
        .sort("contact_id", "key")
    )


def _keys_after(frame: pl.DataFrame, active: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """row, number, own_id, first, last, key: what each row leaves behind, its contact's e-mails and phones too."""
    of_contact = frame.select("row", "own_id").join(
        _contact_keys(active, wanted), left_on="own_id", right_on="contact_id"
    )
    keys = pl.concat([_row_keys(frame), of_contact.select("row", "key")]).unique()
    names = frame.select("row", "number", "own_id", *_name_key(FIRST_NAME, LAST_NAME))
    return keys.join(names, on="row").sort("row", "key")


def _owners(active: pl.DataFrame, mentors: pl.DataFrame) -> pl.DataFrame:
    """Whose a contact is (`owner`, a comparable id; `owner_shown`): who is linked to it, else whose id it carries."""
    current = mentors.select(
        "mn_id", "gb_contact_id", owner=pl.col("mn_id").str.strip_chars_start("0").replace("", "0")
    )
    linked = current.filter(pl.col("gb_contact_id").is_not_null()).select(
        contact_id="gb_contact_id", linked_owner="owner", linked_shown="mn_id"
    )
    carried = current.select(external_mn_id="owner", carried_shown="mn_id")
    return (
        active.select("contact_id", "external_mn_id", shown=_shown(active))
        .join(carried, on="external_mn_id", how="left")
        .join(linked.unique("contact_id", keep="first", maintain_order=True), on="contact_id", how="left")
        .select(
            "contact_id",
            "shown",
            owner=pl.coalesce("linked_owner", pl.when(pl.col("carried_shown").is_not_null()).then("external_mn_id")),
            owner_shown=pl.coalesce("linked_shown", "carried_shown"),
        )
    )
