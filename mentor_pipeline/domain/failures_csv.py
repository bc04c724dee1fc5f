"""Givebutter's `-failed.csv`: why each row of an import was refused, who is in the way, and what to do (R10).

The first column, ERRORS, holds Givebutter's words; the others are its internal keys, in an order that varies, only the
mapped ones (the labels of the import file are understood too). Each row becomes one problem for a person. The External
IDs that Givebutter says are taken are what the next preflight learns from it, because a contact that was archived
before it was ever seen shows nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.findings import Problem
from mentor_pipeline.domain.normalise import clean_text, normalise_mn_id
from mentor_pipeline.domain.strict_csv import read_sheet, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ERRORS: Final = "errors"
PROBLEM_TYPE: Final = "import_refused"
_ID_TAKEN: Final = re.compile(r"contact with External ID \[([^\]]+)\] already exists", re.IGNORECASE)
_ID_UNKNOWN: Final = re.compile(r"contact with ID \[(\d+)\] does not exist", re.IGNORECASE)
_IDENTITY: Final = ("id", "external_id", "first_name", "last_name", "primary_email")
"""Keys by which the rows of a file can be told apart; one of them at least must be there."""
_LABELS: Final = {
    "givebutter contact id": "id",
    "contact external id": "external_id",
    "first name": "first_name",
    "last name": "last_name",
    "primary email": "primary_email",
}
DOWNLOAD_AGAIN: Final = (
    "Nothing of it was imported and the earlier data stays. Download it from Givebutter again and leave it unopened."
)
"""What to do about a broken file of this kind."""

_ROWS_SCHEMA: Final = {
    "line": pl.Int64(),
    "mn_id": pl.String(),
    "external_id": pl.String(),
    "contact_id": pl.String(),
    "first_name": pl.String(),
    "last_name": pl.String(),
    "errors": pl.String(),
    "cause": pl.String(),
    "in_the_way": pl.List(pl.Int64()),
    "what_to_do": pl.String(),
}


@dataclass(frozen=True, slots=True)
class FailuresFile:
    """A `-failed.csv` as read.

    Attributes:
        rows: line, mn_id, external_id, contact_id, first_name, last_name, errors (Givebutter's words), cause,
            in_the_way (contact ids), what_to_do.
        problems: one `import_refused` for each row.
        taken_external_ids: External IDs that some contact holds, letter by letter.
    """

    rows: pl.DataFrame
    problems: tuple[Problem, ...]
    taken_external_ids: frozenset[str]


class _Explanation(NamedTuple):
    cause: str
    what_to_do: str
    field_name: str | None = None
    in_the_way: tuple[int, ...] = ()


class _Rule(NamedTuple):
    """Words of a refusal that Givebutter may phrase in several ways, and what they mean."""

    words: re.Pattern[str]
    cause: str
    what_to_do: str
    field_name: str


def _rule(words: str, cause: str, what_to_do: str, field_name: str) -> _Rule:
    return _Rule(re.compile(words, re.IGNORECASE), cause, what_to_do, field_name)


_RULES: Final = (
    _rule(
        r"last name\b.*\brequired",
        "the row has no last name",
        "add the last name to the sign-up and run `sync` and `export` again",
        "last_name",
    ),
    _rule(
        r"email subscription\b.*\brequired",
        "the row has an e-mail but does not say whether it is subscribed",
        "export again; the pipeline fills this cell",
        "email_subscribed",
    ),
    _rule(
        r"address\b.*\brequired|required\b.*\baddress",
        "the address is not complete",
        "complete or remove the contact's address in Givebutter, run `sync` and `export` again",
        "address_line_1",
    ),
    _rule(
        r"e-?mail\b.*\b(invalid|valid e-?mail)",
        "Givebutter does not accept the e-mail address",
        "correct it in the sign-up, or with `edit MN_ID personal_email VALUE`",
        "personal_email",
    ),
    _rule(
        r"phone\b.*\binvalid|valid phone",
        "Givebutter does not accept the phone number",
        "correct it in the sign-up, or with `edit MN_ID phone VALUE`",
        "phone",
    ),
    _rule(
        r"greater than \d+ characters|too long",
        "a text is longer than Givebutter takes",
        "shorten the text that Givebutter names",
        "text",
    ),
    _rule(
        r"must be one of|selected .* is invalid",
        "a value is none of the field's options in Givebutter",
        "make the options in the year file and in Givebutter the same",
        "custom_fields",
    ),
    _rule(
        r"must be (yes or no|a number)|not a valid date",
        "a value is not of the field's kind in Givebutter",
        "make the field's kind in the year file and in Givebutter the same",
        "custom_fields",
    ),
)
_UNKNOWN: Final = _Explanation(
    "a reason that the pipeline does not know",
    "read Givebutter's words, correct the mentor or the contact, then run `sync` and `export` again",
)


def read_failures(data: bytes, name: str, *, contacts: pl.DataFrame, mn_id_prefix: str = "") -> FailuresFile:
    """Read a `-failed.csv`.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.
        contacts: what is known of all contacts, archived and missing ones too: contact_id, external_id, first_name,
            last_name, archived_at, missing_since.
        mn_id_prefix: what stands before the mentor id in an External ID.

    Raises:
        FileRejectedError: no column ERRORS, no column that says whose a row is, or no readable CSV (see `strict_csv`).
    """
    sheet = read_sheet(data, name, DOWNLOAD_AGAIN)
    keys = _keys(sheet.header)
    if ERRORS not in keys:
        raise refusal(name, "there is no column ERRORS, so it is no list of refused rows", DOWNLOAD_AGAIN)
    if not set(_IDENTITY) & set(keys):
        raise refusal(
            name,
            f"nothing beside ERRORS says whose the rows are: expected one of {', '.join(_IDENTITY)} (as Givebutter "
            f"names them), but its columns are {', '.join(sheet.header)}",
            DOWNLOAD_AGAIN,
        )
    rows: list[dict[str, object]] = []
    problems: list[Problem] = []
    taken: set[str] = set()
    # A handful of rows, each with words to be understood: a loop reads better than expressions.
    for number, cells in enumerate(sheet.cells.iter_rows()):
        row = {key: clean_text(cell) for key, cell in zip(keys, cells, strict=True)}
        errors = row[ERRORS] or "(no reason given)"
        taken.update(_ID_TAKEN.findall(errors))
        whose = next(iter(_ID_TAKEN.findall(errors)), row.get("external_id"))
        mn_id = normalise_mn_id(whose, mn_id_prefix)
        explanations = list(_explain(errors, contacts)) or [_UNKNOWN]
        in_the_way = sorted({contact_id for found in explanations for contact_id in found.in_the_way})
        rows.append(
            {
                "line": sheet.line(number),
                "mn_id": mn_id,
                "external_id": row.get("external_id"),
                "contact_id": row.get("id"),
                "first_name": row.get("first_name"),
                "last_name": row.get("last_name"),
                "errors": errors,
                "cause": "; ".join(found.cause for found in explanations),
                "in_the_way": in_the_way,
                "what_to_do": "; ".join(dict.fromkeys(found.what_to_do for found in explanations)),
            }
        )
        problems.append(_problem(rows[-1], explanations, [row.get(key) or "" for key in _IDENTITY], name))
    return FailuresFile(pl.DataFrame(rows, schema=_ROWS_SCHEMA), tuple(problems), frozenset(taken))


def _keys(header: Sequence[str]) -> list[str]:
    """Givebutter's internal key of each column, also where a column has the label of the import file."""
    labels = [label.casefold() for label in header]
    return [label if _LABELS.get(label, label) in labels else _LABELS[label] for label in labels]


def taken_external_ids(problems: pl.DataFrame) -> frozenset[str]:
    """External IDs that stored problems (`detected_problems`: type, context) say are taken; for the preflight."""
    contexts = problems.filter(pl.col("type") == PROBLEM_TYPE).get_column("context").drop_nulls()
    return frozenset(taken for context in contexts for taken in orjson.loads(context).get("taken_external_ids", ()))


def _explain(errors: str, contacts: pl.DataFrame) -> Iterator[_Explanation]:
    for external_id in dict.fromkeys(_ID_TAKEN.findall(errors)):
        yield _explain_taken(external_id, contacts)
    for contact_id in dict.fromkeys(map(int, _ID_UNKNOWN.findall(errors))):
        yield _explain_unknown(contact_id, contacts)
    for rule in _RULES:
        if rule.words.search(errors):
            yield _Explanation(rule.cause, rule.what_to_do, rule.field_name)


def _explain_taken(external_id: str, contacts: pl.DataFrame) -> _Explanation:
    """Who holds the External ID; Givebutter compares letter by letter, and archived contacts go on holding theirs."""
    holders = contacts.filter(pl.col("external_id") == external_id).sort("contact_id").to_dicts()
    if not holders:
        return _Explanation(
            f"some contact holds the External ID {external_id}, but no contact that we know of does: probably one that "
            "was archived before it was ever seen",
            f"search {external_id} among Givebutter's archived contacts and take the External ID off it; until then "
            "the row is held",
            "external_id",
        )
    return _Explanation(
        f"the External ID {external_id} belongs to {', '.join(map(_named, holders))}",
        "take the External ID off that contact (`release plan`), or link the mentor to it (`edit MN_ID gb_contact_id`)",
        "external_id",
        tuple(holder["contact_id"] for holder in holders),
    )


def _explain_unknown(contact_id: int, contacts: pl.DataFrame) -> _Explanation:
    known = contacts.filter(pl.col("contact_id") == contact_id).to_dicts()
    return _Explanation(
        f"Givebutter has no contact {contact_id} any more" + (f" ({_named(known[0])})" if known else ""),
        "run `contact-refresh`: the mentor's contact was archived, deleted or merged into another one",
        "gb_contact_id",
    )


def _named(contact: Mapping[str, object]) -> str:
    name = clean_text(f"{contact['first_name'] or ''} {contact['last_name'] or ''}") or "no name"
    state = "archived" if contact["archived_at"] else "no longer listed" if contact["missing_since"] else None
    return f"contact {contact['contact_id']} ({name}{f', {state}' if state else ''})"


def _problem(
    row: Mapping[str, object], explanations: list[_Explanation], identity: list[str], file_name: str
) -> Problem:
    name = clean_text(f"{row['first_name'] or ''} {row['last_name'] or ''}") or f"line {row['line']}"
    errors = str(row["errors"])
    return Problem(
        type=PROBLEM_TYPE,
        message=f"Givebutter refused the row of {name}: {row['cause']}. What to do: {row['what_to_do']}. "
        f"Givebutter's words: {errors[:500]}",
        severity="error",
        mn_id=row["mn_id"] if isinstance(row["mn_id"], str) else None,
        source_table="mn_gb_import",
        field_name=explanations[0].field_name,
        current_value=errors[:255],
        context={
            "contact_id": row["contact_id"],
            "external_id": row["external_id"],
            "in_the_way": row["in_the_way"],
            "taken_external_ids": list(dict.fromkeys(_ID_TAKEN.findall(errors))),
            "file": file_name,
            "line": row["line"],
        },
        key=tuple(identity),
    )
