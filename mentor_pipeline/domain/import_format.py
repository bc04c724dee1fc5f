"""The format of Givebutter's import files: columns, limits, and what each cell may hold (apis.md).

Every rule here looks at one row alone. Whom a row changes, who holds its External ID and whom it would merge into is
judged in `preflight`, which also puts all findings together; what our own rows say is made in `import_cells`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain.normalise import REGION, comparable_mn_id, normalise_mn_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mentor_pipeline.settings import CustomField, ProgramYear

CONTACT_ID, EXTERNAL_ID = "Givebutter Contact ID", "Contact External ID"
FIRST_NAME, LAST_NAME = "First Name", "Last Name"
PRIMARY_EMAIL, EMAILS = "Primary Email", "Email Addresses"
PRIMARY_PHONE, PHONES = "Primary Phone Number", "Phone Numbers"
TAGS, NOTES, WEBSITE = "Tags", "Notes", "Contact Website"
EMAIL_STATUS, PHONE_STATUS = "Email Subscription Status", "Phone Subscription Status"
ADDRESS_STATUS = "Address Subscription Status"

PREFIX_LIMIT: Final = 32
NAME_LIMIT: Final = 255
TAG_LIMIT: Final = 64
TEXT_LIMIT: Final = 255
LONG_TEXT_LIMIT: Final = 2_000
"""The least that apis.md says of long text."""

FINDINGS: Final = {
    "row": pl.UInt32(),
    "verdict": pl.String(),
    "kind": pl.String(),
    "column": pl.String(),
    "words": pl.String(),
    "detail": pl.String(),
    "contact_id": pl.Int64(),
}
"""Schema of what `judge` returns."""
REFUSED, WRONG, NOTICE = "refused", "wrong", "notice"
HOLDING: Final = (REFUSED, WRONG)
"""Verdicts that keep a row out of the file."""

_ADDRESS_REQUIRED: Final = ("Address Line 1", "City", "State", "Zip Code", "Country")
_ADDRESS: Final = (*_ADDRESS_REQUIRED, "Address Line 2")
_YES_NO: Final = (EMAIL_STATUS, PHONE_STATUS, ADDRESS_STATUS, "Is Household Primary Contact")
_DATES: Final = ("Date of Birth", "Contact Since")
_TEXTS: Final = (
    EXTERNAL_ID,
    FIRST_NAME,
    "Preferred First Name",
    "Middle Name",
    LAST_NAME,
    "Suffix",
    "Gender",
    "Pronouns",
    "Household Name",
    "Household Envelope Name",
    "Employer",
    "Title",
    "Twitter URL",
    "LinkedIn URL",
    "Facebook URL",
    "TikTok URL",
    WEBSITE,
    *_ADDRESS,
)
TEMPLATE: Final = (
    CONTACT_ID, EXTERNAL_ID, "Contact Since", "Prefix", FIRST_NAME, "Preferred First Name", "Middle Name", LAST_NAME,
    "Suffix", PRIMARY_EMAIL, PRIMARY_PHONE, "Address Line 1", "Address Line 2", "City", "State", "Zip Code", "Country",
    "Gender", "Pronouns", "Household Name", "Household Envelope Name", "Is Household Primary Contact", EMAILS, PHONES,
    "Date of Birth", "Employer", "Title", "Twitter URL", "LinkedIn URL", "Facebook URL", "TikTok URL", TAGS, NOTES,
    EMAIL_STATUS, PHONE_STATUS, ADDRESS_STATUS, WEBSITE,
)  # fmt: skip
"""Columns of the import template, and `Contact Website`, which the mapping step accepts."""
_EXPORT_LABELS: Final = {
    "Primary Phone": PRIMARY_PHONE,
    "Additional Phones": PHONES,
    "Additional Emails": EMAILS,
    "Postal Code": "Zip Code",
    "Household": "Household Name",
    "Household Primary Contact": "Is Household Primary Contact",
    "Engage Email Subscribed": EMAIL_STATUS,
    "Engage SMS Subscribed": PHONE_STATUS,
    "Engage Mail Subscribed": ADDRESS_STATUS,
    "Website": WEBSITE,
    "Twitter": "Twitter URL",
    "LinkedIn": "LinkedIn URL",
    "Facebook": "Facebook URL",
    "TikTok": "TikTok URL",
}
"""What Givebutter's contacts export calls columns of the import."""
_INTERNAL_KEYS: Final = {
    "id": CONTACT_ID,
    "external_id": EXTERNAL_ID,
    "primary_phone": PRIMARY_PHONE,
    "preferred_name": "Preferred First Name",
    "emails": EMAILS,
    "phones": PHONES,
    "address_1": "Address Line 1",
    "address_2": "Address Line 2",
    "zipcode": "Zip Code",
    "dob": "Date of Birth",
    "note": NOTES,
    "website_url": WEBSITE,
    "email_subscription": EMAIL_STATUS,
    "phone_subscription": PHONE_STATUS,
    "address_subscription": ADDRESS_STATUS,
}
"""What a `-failed.csv` calls them, where that is not the label in small letters."""
_DATE_LAYOUTS: Final = ("%Y-%m-%d", "%m/%d/%Y", "%Y-%m-%d %H:%M:%S")
_PLAIN_PHONE: Final = r"^\+1[2-9][0-9]{9}$"
_VISIBLE: Final = r"[^\p{Z}\p{Cc}\p{Cf}]"


def judge_format(frame: pl.DataFrame, program: ProgramYear, mapped: Collection[str]) -> list[pl.DataFrame]:
    """Findings of every cell that Givebutter would not take, whoever the contact is.

    Args:
        frame: rows as `prepared` makes them.
        program: the custom fields and their kinds.
        mapped: the columns that the file has; a custom field that is not among them is not judged.
    """
    rules = [
        *_rules_of_cells(),
        *(_rule_of_field(label, spec) for label, spec in program.custom_fields.items() if label in mapped),
    ]
    # One pass tells which rules are broken at all; nearly always none is.
    is_broken = frame.select(rule.holds.any().alias(str(number)) for number, rule in enumerate(rules)).row(0)
    return [
        *(faults(frame, *rule) for rule, broken in zip(rules, is_broken, strict=True) if broken),
        *_judge_lists(frame),
    ]


def prepared(rows: pl.DataFrame, program: ProgramYear) -> pl.DataFrame:
    """All template columns and custom fields as trimmed text, blank as ""; and `row`, `own_id`, `own_mn_id`."""
    have = set(rows.columns)
    frame = rows.select(
        (pl.col(name).cast(pl.String).fill_null("").str.strip_chars() if name in have else pl.lit("")).alias(name)
        for name in (*TEMPLATE, *program.custom_fields)
    )
    if rows.is_empty():
        frame = frame.clear()
    is_number = pl.col(CONTACT_ID).str.contains(r"^[0-9]+$")
    own_mn_ids = [normalise_mn_id(text, program.mn_id_prefix) for text in frame[EXTERNAL_ID]]
    return frame.with_row_index("row").with_columns(
        own_id=pl.when(is_number).then(CONTACT_ID).cast(pl.Int64, strict=False),
        own_mn_id=pl.Series([mn_id and comparable_mn_id(mn_id) for mn_id in own_mn_ids], dtype=pl.String),
    )


def meant_columns(header: Collection[str], program: ProgramYear) -> dict[str, str]:
    """The column of the import that each label means, whatever its case and spaces; unknown labels are left out.

    Understood are the template's labels, those of Givebutter's contacts export, the keys of a `-failed.csv`, and the
    custom fields of the year.
    """
    columns = (*TEMPLATE, *program.custom_fields)
    meant = {_bare(label): column for label, column in (*_INTERNAL_KEYS.items(), *_EXPORT_LABELS.items())}
    meant |= {_bare(column): column for column in columns}
    return {label: meant[_bare(label)] for label in header if _bare(label) in meant}


def _bare(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())


def conformed(found: pl.DataFrame) -> pl.DataFrame:
    """Findings in the columns of `FINDINGS`; what a rule does not tell is null."""
    return found.select(
        (pl.col(name) if name in found.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in FINDINGS.items()
    )


def faults(
    frame: pl.DataFrame,
    holds: pl.Expr,
    kind: str,
    column: str,
    words: pl.Expr | str,
    detail: pl.Expr | str,
    *,
    verdict: str = REFUSED,
) -> pl.DataFrame:
    """One finding for every row where the expression holds."""
    as_expr = [pl.lit(text) if isinstance(text, str) else text for text in (words, detail)]
    return frame.filter(holds).select(
        "row",
        *([pl.col("contact_id")] if "contact_id" in frame.columns else []),
        verdict=pl.lit(verdict),
        kind=pl.lit(kind),
        column=pl.lit(column),
        words=as_expr[0],
        detail=as_expr[1],
    )


def given(column: str) -> pl.Expr:
    """True where a prepared cell is not blank."""
    return pl.col(column) != ""


def shows_nothing(text: pl.Expr) -> pl.Expr:
    """True where a text has no character that anybody can see."""
    return ~text.str.contains(_VISIBLE)


class _Rule(NamedTuple):
    """When a cell is at fault, and what is said of it; as `faults` takes it."""

    holds: pl.Expr
    kind: str
    column: str
    words: str
    detail: pl.Expr | str


def _rules_of_cells() -> list[_Rule]:
    """Required cells, limits, yes/no, dates, addresses."""
    has_email = pl.any_horizontal(pl.col(PRIMARY_EMAIL, EMAILS).str.contains(r"[^,\s]"))
    has_address = pl.any_horizontal(given(column) for column in _ADDRESS)
    return [
        _Rule(
            shows_nothing(pl.col(LAST_NAME)),
            "required",
            LAST_NAME,
            "The Last Name field is required.",
            "Add the last name to the sign-up, then run `sync` and `export` again.",
        ),
        _Rule(
            has_email & ~given(EMAIL_STATUS),
            "required",
            EMAIL_STATUS,
            f"The {EMAIL_STATUS} field is required when an e-mail address is given.",
            "Export again; the pipeline fills this cell.",
        ),
        *(
            _Rule(
                has_address & ~given(column),
                "required",
                column,
                f"The {column} field is required when an address is given.",
                "Complete the address, or leave all of it blank.",
            )
            for column in _ADDRESS_REQUIRED
        ),
        _too_long("Prefix", PREFIX_LIMIT),
        *(_too_long(column, NAME_LIMIT) for column in _TEXTS),
        *(_not_yes_no(column) for column in _YES_NO),
        *(_not_a_date(column) for column in _DATES),
    ]


def _too_long(column: str, limit: int) -> _Rule:
    return _Rule(
        pl.col(column).str.len_chars() > limit,
        "too_long",
        column,
        f"The {column} may not be greater than {limit} characters.",
        pl.format(f"{column} has {{}} characters; shorten it.", pl.col(column).str.len_chars()),
    )


def _not_yes_no(column: str) -> _Rule:
    return _Rule(
        given(column) & ~pl.col(column).str.to_lowercase().is_in(["yes", "no"]),
        "not_yes_no",
        column,
        f"The {column} must be yes or no.",
        pl.format("It is {}.", column),
    )


def _not_a_date(column: str) -> _Rule:
    return _Rule(
        given(column) & as_date(pl.col(column)).is_null(),
        "not_a_date",
        column,
        f"The {column} is not a valid date.",
        pl.format("It is {}; write M/D/YYYY or YYYY-MM-DD.", column),
    )


def _judge_lists(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Every e-mail, phone and tag of a row by itself."""
    tags = split_cells(frame, TAGS)
    return [
        _bad_values(
            split_cells(frame, PRIMARY_EMAIL, EMAILS),
            is_email,
            "invalid_email",
            "The e-mail address [{}] is invalid.",
        ),
        _bad_values(
            split_cells(frame, PRIMARY_PHONE, PHONES).filter(~pl.col("value").str.contains(_PLAIN_PHONE)),
            is_phone,
            "invalid_phone",
            "The phone number [{}] is invalid.",
        ),
        _bad_values(
            tags.filter(pl.col("value").str.len_chars() > TAG_LIMIT),
            lambda _: False,
            "too_long",
            f"The tag [{{}}] may not be greater than {TAG_LIMIT} characters.",
        ),
    ]


def _bad_values(values: pl.DataFrame, fits: Callable[[str], bool], kind: str, words: str) -> pl.DataFrame:
    bad = [value for value in values["value"].unique() if not fits(value)]
    return values.filter(pl.col("value").is_in(bad)).select(
        "row",
        "column",
        verdict=pl.lit(REFUSED),
        kind=pl.lit(kind),
        words=pl.format(words, "value"),
        detail=pl.format("Correct {} where it comes from, then run `sync` and `export` again.", "value"),
    )


def _rule_of_field(label: str, spec: CustomField) -> _Rule:
    """What a custom field's cell must not be, by the field's kind."""
    match spec.type:
        case "checkbox":
            return _not_yes_no(label)
        case "text":
            return _too_long(label, TEXT_LIMIT)
        case "longtext":
            return _too_long(label, LONG_TEXT_LIMIT)
        case "date":
            return _not_a_date(label)
        case "select":
            wrong, words = ~pl.col(label).is_in(spec.options), f"must be one of: {', '.join(spec.options)}"
        case "number":
            wrong, words = ~is_number(pl.col(label)), "must be a number"
    return _Rule(
        given(label) & wrong,
        f"not_{'an_option' if spec.type == 'select' else 'a_number'}",
        label,
        f"The {label} {words}.",
        pl.format("It is {}. Make the year file and Givebutter the same.", pl.col(label)),
    )


def split_cells(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """row, column and value of every value in comma-separated cells."""
    return pl.concat(
        frame.select("row", column=pl.lit(column), value=pl.col(column).str.split(","))
        .explode("value")
        .with_columns(pl.col("value").str.strip_chars())
        .filter(pl.col("value") != "")
        for column in columns
    )


def as_date(text: pl.Expr) -> pl.Expr:
    """A date cell as a date; null where it is none."""
    return pl.coalesce(text.str.to_datetime(layout, strict=False).dt.date() for layout in _DATE_LAYOUTS)


def is_number(text: pl.Expr) -> pl.Expr:
    """True for a number as Givebutter takes it."""
    return text.str.contains(r"^-?[0-9]+(\.[0-9]+)?$")


@lru_cache(maxsize=100_000)
def is_email(text: str) -> bool:
    """True for an address that can be reached on the internet; stricter than R1, which takes `.test` for one."""
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


@lru_cache(maxsize=100_000)
def is_phone(text: str) -> bool:
    """True for one possible number with its area, and nothing else in the cell; letters never are digits (R1)."""
    import phonenumbers

    if any(map(str.isalpha, text)):
        return False
    try:
        number = phonenumbers.parse(text, REGION)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
