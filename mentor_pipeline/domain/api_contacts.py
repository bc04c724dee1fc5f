"""Givebutter's API answers as rows: contacts and campaign members.

Almost every field of a contact may be null, and some come in more than one shape (ids as text, tags as text or
objects); all of them are read here, and `knowledge.canonical_contacts` then gives them the values that a CSV export
would give. How a reading is laid over what is known is decided in `knowledge` too; an export is read in
`contacts_csv`. There are 49,000 contacts: each is unpacked once in Python, the rules on values (R1) run on columns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain import normalise
from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.domain.knowledge import canonical_contacts
from mentor_pipeline.domain.shrink import merge_listing
from mentor_pipeline.tables import POLARS_TYPES, TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MEMBERS: Final = TABLES["raw_gb_campaign_members"]

_TEXTS: Final[Mapping[str, str]] = {
    "external_id": "external_id",
    "prefix": "prefix",
    "first_name": "first_name",
    "preferred_name": "preferred_name",
    "middle_name": "middle_name",
    "last_name": "last_name",
    "suffix": "suffix",
    "dob": "dob",
    "primary_email": "primary_email",
    "primary_phone": "primary_phone",
    "gender": "gender",
    "employer": "employer",
    "title": "title",
    "website": "website_url",
    "twitter": "twitter_url",
    "linkedin": "linkedin_url",
    "facebook": "facebook_url",
    "tiktok": "tiktok_url",
    "instagram": "instagram_url",
    "last_donation_amount": "last_donation_amount",
    "notes": "note",
}
"""Column -> field of a contact that holds one value."""
_ADDRESS: Final[Mapping[str, str]] = {
    "address_line_1": "address_1",
    "address_line_2": "address_2",
    "city": "city",
    "state": "state",
    "postal_code": "zipcode",
    "country": "country",
}
_STATS: Final = ("total_contributions", "recurring_contributions")
_YES_NO: Final[Mapping[str, str]] = {
    "email_subscribed": "is_email_subscribed",
    "sms_subscribed": "is_phone_subscribed",
    "mail_subscribed": "is_address_subscribed",
}
_TIMES: Final[Mapping[str, str]] = {
    "created_at": "created_at",
    "last_modified_at": "updated_at",
    "archived_at": "archived_at",
}
_LISTS: Final = ("additional_emails", "additional_phones", "tags")
_MONEY: Final = ("total_contributions", "recurring_contributions", "last_donation_amount")
_YES: Final = frozenset({"1", "true", "yes"})
_NO: Final = frozenset({"0", "false", "no"})


def contact_rows(contacts: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Read contacts as the API sends them.

    Returns:
        One row per contact in the form of `canonical_contacts`, ready for a `knowledge.Reading`. What an API
        answer does not tell (the household) is no column.
    """
    schema: dict[str, pl.DataType] = {
        "contact_id": pl.Int64(),
        **dict.fromkeys((*_TEXTS, *_ADDRESS, *_STATS, "custom_fields"), pl.String()),
        **dict.fromkeys(_YES_NO, pl.Boolean()),
        **dict.fromkeys(_TIMES, POLARS_TYPES[Type.TIMESTAMP]),
        **dict.fromkeys(_LISTS, pl.List(pl.String())),
    }
    rows = [_contact(contact) for contact in contacts]
    columns: dict[str, Any] = dict(zip(schema, zip(*rows, strict=True), strict=True)) if rows else {}
    # Lists by way of JSON: from Python, polars makes a series of each one, which takes 30 times as long. (Arrow is as
    # fast, once it has loaded itself, numpy and pandas, where those are installed.)
    columns |= {name: _text_lists(columns.get(name, ())) for name in _LISTS}
    frame = pl.DataFrame(columns if rows else None, schema=schema)
    return canonical_contacts(
        frame.with_columns(
            *(_money(name) for name in _MONEY),
            pl.col("dob").str.head(10).str.to_date("%Y-%m-%d", strict=False),
        )
    )


def member_rows(members: Iterable[Mapping[str, Any]], *, year: int, campaign_id: int) -> pl.DataFrame:
    """Read campaign members as the API sends them.

    Returns:
        Rows of `raw_gb_campaign_members`, one a member; `merge_members` fills first_seen_at, last_seen_at and
        missing_since.
    """
    texts = ("first_name", "last_name", "display_name", "email", "phone", "raised", "goal", "donors", "url")
    schema: dict[str, pl.DataType] = {
        "member_id": pl.Int64(),
        **dict.fromkeys(texts, pl.String()),
        **dict.fromkeys(("created_at", "modified_at"), POLARS_TYPES[Type.TIMESTAMP]),
    }
    rows = [
        (
            int(member["id"]),
            *(_text(member.get(name)) for name in texts),
            _moment(member.get("created_at")),
            _moment(member.get("updated_at")),
        )
        for member in members
    ]
    frame = pl.DataFrame(rows, schema=schema, orient="row").unique("member_id", keep="last", maintain_order=True)
    return _MEMBERS.conform(
        frame.with_columns(
            pl.coalesce(normalise.emails(frame["email"]), pl.col("email").str.to_lowercase()).alias("email"),
            normalise.phones(frame["phone"]).alias("phone"),
            _money("raised"),
            _money("goal"),
            pl.col("donors").cast(pl.Int32, strict=False),
            year=pl.lit(year),
            campaign_id=pl.lit(campaign_id),
        ).rename({"url": "page_url"})
    )


def merge_members(known: pl.DataFrame, listed: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Lay the members, read whole, over the year's rows known of them; see `merge_listing`."""
    return merge_listing(known, listed, key="member_id", now=now)


def _contact(contact: Mapping[str, Any]) -> tuple[Any, ...]:
    """One contact as the values of a row, in the order of the schema in `contact_rows`."""
    address, stats = _address(contact), contact.get("stats")
    stats = stats if isinstance(stats, dict) else {}
    return (
        int(contact["id"]),
        *_texts(contact, _TEXTS.values()),
        *_texts(address, _ADDRESS.values()),
        *_texts(stats, _STATS),
        _custom_fields(contact.get("custom_fields")),
        *[_yes_no(contact.get(field)) for field in _YES_NO.values()],
        *[_moment(contact.get(field)) for field in _TIMES.values()],
        _values(contact.get("emails")),
        _values(contact.get("phones")),
        _values(contact.get("tags")),
    )


def _text_lists(lists: Iterable[Sequence[str | None]]) -> pl.Series:
    written = pl.Series([orjson.dumps(texts).decode() for texts in lists], dtype=pl.String)
    return written.str.json_decode(pl.List(pl.String))


def _texts(source: Mapping[str, Any], fields: Iterable[str]) -> list[str | None]:
    """Fields as text, untrimmed."""
    return [value if value is None or isinstance(value, str) else str(value) for value in map(source.get, fields)]


def _text(value: Any) -> str | None:
    """Any single value as trimmed text; None when there is none."""
    if value is None:
        return None
    return (value if isinstance(value, str) else str(value)).strip() or None


def _values(several: Any) -> list[str | None]:
    """Texts of a list that may hold texts or objects, or that comes as one text with commas; untrimmed."""
    if isinstance(several, str):
        return list(several.split(","))
    if not isinstance(several, list):
        return []
    return [
        item
        if isinstance(item, str)
        else _text(_named(item, "value", "name", "title", "label") if isinstance(item, dict) else item)
        for item in several
    ]


def _named(item: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if (value := item.get(key)) is not None:
            return value
    return None


def _custom_fields(fields: Any) -> str:
    """Label -> value as JSON; a field without a value is left out, a box is `Yes` or `No` as in an export."""
    if isinstance(fields, dict):
        pairs = list(fields.items())
    elif isinstance(fields, list):
        pairs = [
            (_named(field, "title", "label", "name", "field_id"), field.get("value"))
            for field in fields
            if isinstance(field, dict)
        ]
    else:
        pairs = []
    if not pairs:
        return "{}"
    texts = {str(label): _custom_value(value) for label, value in pairs if label is not None}
    return to_json({label: text for label, text in texts.items() if text})


def _custom_value(value: Any) -> str | None:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return ", ".join(filter(None, map(_text, _values(value)))) if isinstance(value, list) else _text(value)


def _address(contact: Mapping[str, Any]) -> Mapping[str, Any]:
    """The primary address: as named, else the one marked as primary, else the first."""
    if isinstance(primary := contact.get("primary_address"), dict):
        return primary
    several = contact.get("addresses")
    addresses = [address for address in several if isinstance(address, dict)] if isinstance(several, list) else []
    return next((address for address in addresses if address.get("is_primary")), addresses[0] if addresses else {})


def _yes_no(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None


def _moment(value: Any) -> datetime | None:
    """An ISO 8601 time as UTC; one without an offset is UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _money(name: str) -> pl.Expr:
    """An amount that came as number or text, with or without $ and thousands; null when it is none."""
    return pl.col(name).str.replace_all(r"[$,\s]", "").cast(POLARS_TYPES[Type.MONEY], strict=False)
