"""Small builders: one-row frames with plausible defaults, in the columns of `TABLES`.

Each function returns a frame that fits its table; what a test is about is given by keyword, everything else is made
up from the id, so that two people never share a phone or an address by accident. `together` puts rows into one frame.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from mentor_pipeline.settings import ProgramYear, load_program_year, packaged_config_dir
from mentor_pipeline.tables import TABLES

YEAR: Final = 2025
NOW: Final = datetime(2025, 10, 1, 12, tzinfo=UTC)
_FIRST: Final = ("Ada", "Ben", "Cora", "Dan", "Elsa", "Finn", "Greta", "Hugo", "Iris", "Jon")
_LAST: Final = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ilex", "Juniper", "Katsura")


def program(**changes: Any) -> ProgramYear:
    """The packaged year file, with some of its keys changed."""
    packaged = load_program_year(packaged_config_dir() / f"{YEAR}.toml")
    return packaged.model_validate({**packaged.model_dump(by_alias=True), **changes})


def row(table: str, **values: Any) -> pl.DataFrame:
    """One row of any table; columns not given are null. A column the table does not know is a KeyError."""
    spec = TABLES[table]
    known = {name: spec.schema.get(name, pl.String()) if spec.extensible else spec.schema[name] for name in values}
    return spec.conform(pl.DataFrame([values], schema=known))


def together(*rows: pl.DataFrame) -> pl.DataFrame:
    """Several rows of one table in one frame."""
    return pl.concat(rows)


def phone_of(number: int) -> str:
    """A phone in the range that is kept free for fiction."""
    return f"+1{706 + number // 10_000}555{number % 10_000:04d}"


def _person(number: int) -> dict[str, str]:
    first, last = _FIRST[number % len(_FIRST)], _LAST[number % len(_LAST)]
    return {"first_name": first, "last_name": last, "handle": f"{first}.{last}.{number}".lower()}


def signup(mn_id: str = "0001", **changes: Any) -> pl.DataFrame:
    """A valid sign-up (table `signups`)."""
    person = _person(int(mn_id))
    defaults = {
        "year": YEAR,
        "mn_id": mn_id,
        "is_placeholder": mn_id.startswith("999"),
        "submission_id": f"60{mn_id}",
        "merged_submission_ids": [],
        "first_name": person["first_name"],
        "last_name": person["last_name"],
        "phone": phone_of(int(mn_id)),
        "personal_email": f"{person['handle']}@example.com",
        "uga_email": f"{person['handle']}@uga.edu",
        "gender": "Female",
        "shirt_size": "M",
        "uga_class": "2nd Year",
        "submitted_at": NOW - timedelta(days=30),
        "first_submitted_at": NOW - timedelta(days=30),
        "withdrawn": False,
    }
    values = {**defaults, **changes}
    values.setdefault("preferred_name", values["first_name"])
    values.setdefault("full_name", f"{values['preferred_name']} {values['last_name']}")
    return row("signups", **values)


def mentor(mn_id: str = "0001", **changes: Any) -> pl.DataFrame:
    """A mentor who signed up and did nothing else yet (table `mentors`)."""
    signed_up = signup(mn_id).row(0, named=True)
    shared = set(TABLES["signups"].column_names) & set(TABLES["mentors"].column_names)
    defaults = {
        **{name: signed_up[name] for name in shared - {"preferred_name", "full_name"}},
        "gb_match_status": "new",
        "campaign_member": False,
        "amount_raised": Decimal(0),
        "fundraising_goal": Decimal(75),
        "fundraised_done": False,
        "setup_done": False,
        "training_signup_done": False,
        "training_done": False,
        "dropped": False,
        "status_category": "needs_setup",
        "statuses": ["No Page"],
        "tags": [],
        "partner_phone_match": False,
        "partner_shift_match": False,
        "signup_submission_id": signed_up["submission_id"],
        "signup_at": signed_up["submitted_at"],
    }
    values = {**defaults, **changes}
    values.setdefault("preferred_name", values["first_name"])
    values.setdefault("full_name", f"{values['preferred_name']} {values['last_name']}")
    return row("mentors", **values)


def contact(contact_id: int = 1, **changes: Any) -> pl.DataFrame:
    """A Givebutter contact (table `raw_gb_full_contacts`); its lists follow from primary and additional values."""
    person = _person(contact_id)
    defaults: dict[str, Any] = {
        "contact_id": contact_id,
        "first_name": person["first_name"],
        "last_name": person["last_name"],
        "primary_email": f"{person['handle']}.c@example.com",
        "additional_emails": [],
        "primary_phone": phone_of(50_000 + contact_id),
        "additional_phones": [],
        "tags": [],
        "custom_fields": "{}",
        "email_subscribed": True,
        "sms_subscribed": True,
        "mail_subscribed": True,
        "created_at": NOW - timedelta(days=100),
        "last_modified_at": NOW - timedelta(days=10),
        "source": "api",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
    }
    values = {**defaults, **changes}
    for many, primary, additional in (
        ("emails", "primary_email", "additional_emails"),
        ("phones", "primary_phone", "additional_phones"),
    ):
        values.setdefault(many, [value for value in (values[primary], *values[additional]) if value])
    return row("raw_gb_full_contacts", **values)


def member(member_id: int = 1, **changes: Any) -> pl.DataFrame:
    """A campaign member (table `raw_gb_campaign_members`)."""
    person = _person(member_id)
    defaults = {
        "year": YEAR,
        "member_id": member_id,
        "campaign_id": 1,
        "first_name": person["first_name"],
        "last_name": person["last_name"],
        "display_name": f"{person['first_name']} {person['last_name']}",
        "email": f"{person['handle']}.m@example.com",
        "phone": phone_of(90_000 + member_id),
        "raised": Decimal(0),
        "goal": Decimal(75),
        "donors": 0,
        "page_url": f"https://pages.example.com/{person['handle']}",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
    }
    return row("raw_gb_campaign_members", **{**defaults, **changes})


def action(action: str, **changes: Any) -> pl.DataFrame:
    """Something a person did (table `operator_actions`)."""
    defaults = {"at": NOW, "actor": "pat", "action": action, "year": YEAR}
    values = {**defaults, **changes}
    values.setdefault("id", f"{values['at'].isoformat()}-{values.get('target_id') or values.get('mn_id')}")
    return row("operator_actions", **values)


def alias(old_mn_id: str, mn_id: str, **changes: Any) -> pl.DataFrame:
    """A placeholder that became a real id (table `mentor_aliases`)."""
    return row("mentor_aliases", **{"year": YEAR, "old_mn_id": old_mn_id, "mn_id": mn_id, "at": NOW, **changes})
