"""The records that the made-up world is made of.

Plain dataclasses for what Jotform and Givebutter hold (submissions, contacts, campaigns, members, definitions of
custom fields), for the switches where the vendors' behaviour is unknown, and for the truth that only a made-up world
can tell: which contact is whose. No behaviour of the two services lives here; that is in `world` and in the APIs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

FormName = Literal["signup", "setup", "training", "partner"]


@dataclass(slots=True)
class Address:
    """One postal address of a contact."""

    line_1: str
    city: str
    state: str
    postal_code: str
    line_2: str | None = None
    country: str = "US"


@dataclass(slots=True)
class Contact:
    """One Givebutter contact. The first e-mail and the first phone (E.164) are the primary ones."""

    id: int
    created_at: datetime
    updated_at: datetime
    external_id: str | None = None
    prefix: str | None = None
    first_name: str | None = None
    preferred_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    suffix: str | None = None
    gender: str | None = None
    pronouns: str | None = None
    dob: str | None = None
    company: str | None = None
    employer: str | None = None
    title: str | None = None
    website_url: str | None = None
    twitter_url: str | None = None
    linkedin_url: str | None = None
    facebook_url: str | None = None
    tiktok_url: str | None = None
    instagram_url: str | None = None
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    note: str | None = None
    tags: list[str] = field(default_factory=list)
    custom_fields: dict[str, str] = field(default_factory=dict)
    """Label of the custom field -> its value, written as in the CSV files (`Yes`, `M/D/YYYY`)."""
    total_contributions: Decimal = Decimal(0)
    recurring_contributions: Decimal = Decimal(0)
    last_donation_amount: Decimal | None = None
    total_soft_credits: Decimal = Decimal(0)
    email_subscribed: bool = True
    phone_subscribed: bool = True
    address_subscribed: bool = True
    contact_since: datetime | None = None
    household_id: int | None = None
    household: str | None = None
    household_primary: bool = False
    household_envelope: str | None = None
    archived_at: datetime | None = None


@dataclass(slots=True)
class Campaign:
    """One Givebutter campaign; `code` and `slug` are different values."""

    id: int
    code: str
    slug: str
    title: str
    goal: int
    created_at: datetime


@dataclass(slots=True)
class Member:
    """One member of a campaign: a fundraising page. It knows no contact and no external id."""

    id: int
    campaign_id: int
    first_name: str
    last_name: str
    created_at: datetime
    updated_at: datetime
    display_name: str | None = None
    email: str | None = None
    phone: str | None = None
    raised: Decimal = Decimal(0)
    goal: Decimal = Decimal(0)
    donors: int = 0
    url: str = ""


@dataclass(slots=True)
class Submission:
    """One Jotform submission; `answers` holds the raw answer of every answered question by qid."""

    id: str
    form: FormName
    created_at: datetime
    answers: dict[str, object]
    updated_at: datetime | None = None
    status: str = "ACTIVE"


CustomFieldType = Literal["checkbox", "select", "text", "longtext", "date", "number"]


@dataclass(frozen=True, slots=True)
class CustomFieldDefinition:
    """One custom field of the organisation's Givebutter account."""

    id: int
    label: str
    type: CustomFieldType
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class Behaviour:
    """Answers to what the vendors' documents leave unknown: a client must live with every one of them.

    Attributes:
        archived_is_forbidden: reading an archived contact answers 403, instead of 200 with `archived_at`.
        archive_answers_no_content: archiving answers 204 without a body, instead of 200 with the contact.
        import_replaces_tags: an import's tags replace the contact's, instead of joining them.
        import_blank_clears: a blank cell of a mapped column clears the value, instead of keeping it.
        import_sets_primary: an imported primary e-mail or phone becomes the first, instead of one more at the end.
        tolerated_variants: a few contacts come in the rarer shapes (tags as objects or as one string, `emails` null).
        jotform_calls_left: what is left of Jotform's daily quota.
    """

    archived_is_forbidden: bool = False
    archive_answers_no_content: bool = False
    import_replaces_tags: bool = False
    import_blank_clears: bool = False
    import_sets_primary: bool = True
    tolerated_variants: bool = True
    jotform_calls_left: int = 100_000


class MentorClass(StrEnum):
    """What kind of case a generated mentor is. Every class names the outcome that the rules lead to."""

    LINKED = "linked"
    """One contact, and it carries the mentor's external id (R4.1)."""
    NICKNAME_PAGE = "nickname_page"
    """The mentor's contact, and one that the campaign page created under a nickname."""
    LAST_YEAR = "last_year"
    """The mentor's contact, and last year's contact of the same person."""
    MASS_MAIL = "mass_mail"
    """The mentor's contact, and a mass-mail one: only the school address, no phone, no address."""
    THREE_KINDS = "three_kinds"
    """The mentor's contact, and a duplicate of each of the three kinds."""
    RETURNING_OLD_ID = "returning_old_id"
    """Only last year's contact, with last year's external id: linked by phone (`external_id_mismatch`)."""
    RETURNING_NO_ID = "returning_no_id"
    """Only an earlier contact without an external id: linked by e-mail or phone."""
    RETURNING_SPELLED = "returning_spelled"
    """Only an earlier contact, with the name spelled in another way (R1): linked by e-mail or phone."""
    RETURNING_PAGE = "returning_page"
    """Last year's contact, and this year's page under a nickname, no external id: the page leads by its tag (R4.4)."""
    RETURNING_MASS_MAIL = "returning_mass_mail"
    """An earlier contact without an external id, and a mass-mail one, which never wins."""
    FRESHER = "fresher"
    """Two contacts without an external id; the scores are close, one is more than `stale_days` fresher (R4.4)."""
    FULLER = "fuller"
    """Two contacts without an external id; the scores are close, one is clearly more complete (R4.4)."""
    SIBLINGS = "siblings"
    """Two mentors on one parent's phone, each with an own contact: first names tell them apart."""
    SHARED_CONTACT = "shared_contact"
    """Two mentors on one phone and mailbox, and one contact for both: neither is linked (R4.6)."""
    CLOSE_CALL = "close_call"
    """Two contacts alike in everything that counts: conflict `contact_selection`."""
    TWO_EXTERNAL_IDS = "two_external_ids"
    """Two contacts carry the mentor's id in two spellings: conflict `external_id_collision`."""
    EXTERNAL_ID_ON_STRANGER = "external_id_on_stranger"
    """A stranger of this year carries the mentor's id: conflict `external_id_collision`."""
    EXTERNAL_ID_LEFT_OVER = "external_id_left_over"
    """A stranger of an earlier year still carries the mentor's id: conflict, recommendation `release`."""
    PHONE_MISMATCH = "phone_mismatch"
    """Linked; Givebutter's phone was changed after the sign-up: conflict `phone_mismatch` (R6)."""
    EMAIL_MISMATCH = "email_mismatch"
    """Linked; Givebutter's personal e-mail was changed after the sign-up: conflict `email_mismatch` (R6)."""
    NEW = "new"
    """No contact at all."""
    MASS_MAIL_ONLY = "mass_mail_only"
    """Nothing but a mass-mail contact, which never wins: the import merges the new row into it."""
    NEAR_MISS = "near_miss"
    """A contact of the same name with a mistyped e-mail and an old phone: only a suggestion (R4.9)."""
    NEAR_PHONE = "near_phone"
    """A contact under the nickname with another e-mail and one digit of the phone wrong: only a suggestion (R4.9)."""
    OTHER_DOMAIN = "other_domain"
    """A contact of an earlier year with the same first part of the e-mail and an old phone: only a suggestion."""
    NAMESAKE = "namesake"
    """No contact; a stranger has the same name, and must not be suggested for that alone."""
    NO_MENTOR_ID = "no_mentor_id"
    """The sign-up has no id: a placeholder, linked by phone and e-mail, held from the export (R2)."""


@dataclass(slots=True)
class MentorTruth:
    """What is true about one generated mentor, whatever a pipeline finds out.

    Attributes:
        submission_id: the sign-up that counts (the newest of this person).
        mn_id: the mentor's id as text; None when the sign-up has none.
        class_: what kind of case it is.
        contact_id: the contact that the rules lead to, None when there is none or nobody can tell.
        archivable: duplicates that may be archived once the mentor has a winner (R5).
        review: duplicates that a person must look at first, and rejected candidates.
        conflict: the conflict type that must appear, or None.
        hold: why the mentor's row must not be exported, or None.
        flaws: what is wrong with the sign-ups (`bad_phone`, `odd_phone`, `bad_email`, `duplicate_signup`,
            `generic_phone`, `parent_phone`), and `dropped` when the contact carries the dropped tag.
        member_id: the mentor's campaign member, if there is one.
    """

    submission_id: str
    mn_id: str | None
    class_: MentorClass
    contact_id: int | None = None
    archivable: list[int] = field(default_factory=list)
    review: list[int] = field(default_factory=list)
    conflict: str | None = None
    hold: str | None = None
    flaws: list[str] = field(default_factory=list)
    member_id: int | None = None
