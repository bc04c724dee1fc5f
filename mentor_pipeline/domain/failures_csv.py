"""Givebutter's `-failed.csv`: why each row of an import was refused, who is in the way, and what to do (R10).

The first column, ERRORS, holds Givebutter's words; the others are its internal keys, in an order that varies, only the
mapped ones (the labels of the import file are understood too). Each row becomes one problem for a person. The External
IDs that Givebutter says are taken are what the next preflight learns from it, because a contact that was archived
before it was ever seen shows nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import polars as pl

from mentor_pipeline.domain.contact_pages import page
from mentor_pipeline.domain.findings import Problem
from mentor_pipeline.domain.names import Name, contradicting
from mentor_pipeline.domain.normalise import clean_text, normalise_mn_id
from mentor_pipeline.domain.strict_csv import read_sheet, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ERRORS: Final = "errors"
PROBLEM_TYPE: Final = "import_refused"
_ID_TAKEN: Final = re.compile(r"contact with External ID \[([^\]]+)\] already exists", re.IGNORECASE)
_ID_UNKNOWN: Final = re.compile(r"contact with ID \[(\d+)\] does not exist", re.IGNORECASE)
_NEXT_ERROR: Final = re.compile(r"[;\n]\s*(?=[A-Z])")
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
    "mends_itself": pl.Boolean(),
}


@dataclass(frozen=True, slots=True)
class FailuresFile:
    """A `-failed.csv` as read.

    Attributes:
        rows: line, mn_id, external_id, contact_id, first_name, last_name, errors (Givebutter's words), cause,
            in_the_way (contact ids), what_to_do, mends_itself (the next sync puts it right without a person).
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
    mends_itself: bool = False


class _Rule(NamedTuple):
    """Words of a refusal that Givebutter may phrase in several ways, and what they mean."""

    words: re.Pattern[str]
    cause: str
    what_to_do: str
    field_name: str
    mends_itself: bool = False


def _rule(words: str, cause: str, what_to_do: str, field_name: str, *, mends_itself: bool = False) -> _Rule:
    return _Rule(re.compile(words, re.IGNORECASE), cause, what_to_do, field_name, mends_itself)


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
        "nothing: every file of `export` fills this cell; import the next one",
        "email_subscribed",
        mends_itself=True,
    ),
    _rule(
        r"\b(address line 1|city|state|zip code|country)\b.*\brequired|required when an address",
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


def read_failures(
    data: bytes, name: str, *, contacts: pl.DataFrame, mn_id_prefix: str = "", account_id: int | None = None
) -> FailuresFile:
    """Read a `-failed.csv`.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.
        contacts: what is known of all contacts, archived and missing ones too: contact_id, external_id, first_name,
            last_name, archived_at, missing_since.
        mn_id_prefix: what stands before the mentor id in an External ID.
        account_id: the organisation's account in Givebutter, for links to contacts.

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
        explanations = list(_explain(errors, row, contacts)) or [_UNKNOWN]
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
                "mends_itself": all(found.mends_itself for found in explanations),
            }
        )
        problems.append(_problem(rows[-1], explanations, [row.get(key) or "" for key in _IDENTITY], name, account_id))
    return FailuresFile(pl.DataFrame(rows, schema=_ROWS_SCHEMA), tuple(problems), frozenset(taken))


def _keys(header: Sequence[str]) -> list[str]:
    """Givebutter's internal key of each column, also where a column has the label of the import file."""
    labels = [label.casefold() for label in header]
    return [label if _LABELS.get(label, label) in labels else _LABELS[label] for label in labels]


def taken_external_ids(problems: pl.DataFrame) -> frozenset[str]:
    """External IDs that stored problems (`detected_problems`: type, context) say are taken; for the preflight."""
    contexts = problems.filter(pl.col("type") == PROBLEM_TYPE).get_column("context").drop_nulls()
    return frozenset(taken for context in contexts for taken in orjson.loads(context).get("taken_external_ids", ()))


def _explain(errors: str, row: Mapping[str, str | None], contacts: pl.DataFrame) -> Iterator[_Explanation]:
    for external_id in dict.fromkeys(_ID_TAKEN.findall(errors)):
        yield _explain_taken(external_id, row, contacts)
    for contact_id in dict.fromkeys(map(int, _ID_UNKNOWN.findall(errors))):
        yield _explain_unknown(contact_id, contacts)
    each = _NEXT_ERROR.split(errors)
    for rule in _RULES:
        if any(map(rule.words.search, each)):
            yield _Explanation(rule.cause, rule.what_to_do, rule.field_name, mends_itself=rule.mends_itself)


def _explain_taken(external_id: str, row: Mapping[str, str | None], contacts: pl.DataFrame) -> _Explanation:
    """Who holds the External ID; Givebutter compares letter by letter, and archived contacts go on holding theirs."""
    holders = contacts.filter(pl.col("external_id") == external_id).sort("contact_id").to_dicts()
    if not holders:
        return _Explanation(
            f"some contact holds the External ID {external_id}, but no contact that we know of does: one that was "
            "created since we last looked, or one that was archived before it was ever seen",
            f"run `sync`: if the file was imported twice, it finds the contact and links the mentor to it. Else search "
            f"{external_id} among Givebutter's archived contacts and take the External ID off it; until then the row "
            "is held",
            "external_id",
        )
    cause = f"the External ID {external_id} belongs to {', '.join(map(_named, holders))}"
    in_the_way = tuple(holder["contact_id"] for holder in holders)
    what_to_do, mends_itself = _about_holder(holders[0], row) if len(holders) == 1 else (_COLLISION, False)
    return _Explanation(cause, what_to_do, "external_id", in_the_way, mends_itself)


_COLLISION: Final = (
    "the next `sync` shows it as a conflict (external_id_collision): decide whose contact it is; `release apply` then "
    "takes the External ID off a stranger's"
)
_ARCHIVED_HOLDER: Final = (
    "restore that contact in Givebutter, take the External ID off it and archive it again; until then the row is held"
)
_VANISHED_HOLDER: Final = (
    "run `contact-refresh`, which asks for that contact: if it was deleted, the row goes out again; if it was "
    "archived, it goes on holding the External ID, and a person must take it off"
)
_OWN_CONTACT: Final = (
    "nothing: it is this mentor's own contact, as when a file is imported twice; the next `sync` links the mentor to "
    "it, and the next file updates it"
)


def _about_holder(holder: Mapping[str, Any], row: Mapping[str, str | None]) -> tuple[str, bool]:
    """What to do about the one contact that holds a row's External ID, and whether the next sync does it (R4.1)."""
    if holder["archived_at"]:
        return _ARCHIVED_HOLDER, False
    if holder["missing_since"]:
        return _VANISHED_HOLDER, False
    theirs = Name(holder["first_name"], holder["last_name"])
    if contradicting(Name(row.get("first_name"), row.get("last_name")), theirs):
        return _COLLISION, False
    return _OWN_CONTACT, True


def _explain_unknown(contact_id: int, contacts: pl.DataFrame) -> _Explanation:
    known = contacts.filter(pl.col("contact_id") == contact_id).to_dicts()
    return _Explanation(
        f"Givebutter has no contact {contact_id} any more"
        + (f" ({_named(known[0])})" if known else "")
        + ": it was archived, deleted or merged into another one",
        "nothing, or run `contact-refresh` to have it at once: it links the mentor to the contact that survived, or "
        "holds the row and says why",
        "gb_contact_id",
        mends_itself=True,
    )


def _named(contact: Mapping[str, object]) -> str:
    name = clean_text(f"{contact['first_name'] or ''} {contact['last_name'] or ''}") or "no name"
    state = "archived" if contact["archived_at"] else "no longer listed" if contact["missing_since"] else None
    return f"contact {contact['contact_id']} ({name}{f', {state}' if state else ''})"


def _problem(
    row: Mapping[str, Any],
    explanations: list[_Explanation],
    identity: list[str],
    file_name: str,
    account_id: int | None,
) -> Problem:
    name = clean_text(f"{row['first_name'] or ''} {row['last_name'] or ''}") or f"line {row['line']}"
    errors = str(row["errors"])
    pages = [address for one in row["in_the_way"] if (address := page(one, account_id))]
    return Problem(
        type=PROBLEM_TYPE,
        message=f"Givebutter refused the row of {name}: {row['cause']}. What to do: {row['what_to_do']}. "
        f"{'It mends itself' if row['mends_itself'] else 'It does not mend itself'}. "
        + "".join(f"See {address} . " for address in pages)
        + f"Givebutter's words: {errors[:500]}",
        severity="error",
        mn_id=row["mn_id"] if isinstance(row["mn_id"], str) else None,
        source_table="mn_gb_import",
        field_name=explanations[0].field_name,
        current_value=errors[:255],
        context={
            "contact_id": row["contact_id"],
            "external_id": row["external_id"],
            "in_the_way": row["in_the_way"],
            "mends_itself": row["mends_itself"],
            "taken_external_ids": list(dict.fromkeys(_ID_TAKEN.findall(errors))),
            "file": file_name,
            "line": row["line"],
        },
        key=tuple(identity),
    )
