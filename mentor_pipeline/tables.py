"""Every table of the warehouse, in one place.

A `Table` names its columns with type and meaning, its primary key and how rows are written. The warehouses create
tables from these specs and cast by them before a write and after a read; the assets' column schemas, the checks and
docs/tables.md are made from them too. No table is described anywhere else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping


class Type(StrEnum):
    """Logical column types; each warehouse maps them to its own."""

    TEXT = "text"
    INTEGER = "integer"
    BIGINT = "bigint"
    DOUBLE = "double"
    MONEY = "money"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    JSON = "json"
    TEXT_LIST = "text list"
    BIGINT_LIST = "bigint list"


POLARS_TYPES: Final[Mapping[Type, pl.DataType]] = {
    Type.TEXT: pl.String(),
    Type.INTEGER: pl.Int32(),
    Type.BIGINT: pl.Int64(),
    Type.DOUBLE: pl.Float64(),
    Type.MONEY: pl.Decimal(12, 2),
    Type.BOOLEAN: pl.Boolean(),
    Type.DATE: pl.Date(),
    Type.TIMESTAMP: pl.Datetime("us", "UTC"),
    Type.JSON: pl.String(),
    Type.TEXT_LIST: pl.List(pl.String()),
    Type.BIGINT_LIST: pl.List(pl.Int64()),
}


class Write(StrEnum):
    """How the IO manager stores an asset's frame."""

    REPLACE = "replace"
    """The year's rows (all rows where the table has no year) become exactly the frame."""
    UPSERT = "upsert"
    """Rows are inserted or replaced by primary key; the others stay."""
    APPEND = "append"
    """Rows are inserted; a row whose primary key exists already is left as it is."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, logical type and what it means to a reader."""

    name: str
    type: Type
    description: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the warehouse.

    Attributes:
        name: table name, equal to the last part of the asset key.
        description: what one row is, and where it comes from.
        columns: in the order in which they are stored.
        key: primary key columns.
        write: how the IO manager stores a frame.
        extensible: further text columns in a frame are stored too (the import file's custom fields).
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    write: Write = Write.REPLACE
    extensible: bool = False
    _types: dict[str, Type] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the columns and refuse a key that is not among them."""
        object.__setattr__(self, "_types", {c.name: c.type for c in self.columns})
        missing = [k for k in self.key if k not in self._types]
        if missing or len(self._types) != len(self.columns):
            msg = f"table {self.name}: key columns missing {missing} or a column named twice"
            raise ValueError(msg)

    @property
    def column_names(self) -> list[str]:
        """Names of the declared columns, in order."""
        return [c.name for c in self.columns]

    @property
    def has_year(self) -> bool:
        """True where rows belong to a program year."""
        return "year" in self._types

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Polars schema of the declared columns."""
        return {c.name: POLARS_TYPES[c.type] for c in self.columns}

    def type_of(self, column: str) -> Type:
        """Logical type of a column; further columns of an extensible table are text."""
        if column in self._types:
            return self._types[column]
        if self.extensible:
            return Type.TEXT
        msg = f"table {self.name} has no column {column!r}"
        raise KeyError(msg)

    def empty(self) -> pl.DataFrame:
        """A frame of no rows with the table's columns."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Cast a frame to the declared columns, by name.

        Columns of the table that the frame lacks become null. A column the table does not know is an error, so that
        nothing is dropped silently; an extensible table keeps it as text behind the declared ones.

        Raises:
            ValueError: an unknown column, or a value that does not fit the declared type.
        """
        extra = [name for name in frame.columns if name not in self._types]
        if extra and not self.extensible:
            msg = f"table {self.name}: unknown columns {extra}"
            raise ValueError(msg)
        have = set(frame.columns)
        try:
            return frame.select(
                *(
                    pl.col(c.name).cast(POLARS_TYPES[c.type])
                    if c.name in have
                    else pl.lit(None, dtype=POLARS_TYPES[c.type]).alias(c.name)
                    for c in self.columns
                ),
                *(pl.col(name).cast(pl.String()) for name in extra),
            )
        except pl.exceptions.PolarsError as error:
            msg = f"table {self.name}: {error}"
            raise ValueError(msg) from error


def _columns(lines: str) -> tuple[Column, ...]:
    """Read `name | type | description` lines, one a column."""
    rows = [[part.strip() for part in line.split("|", 2)] for line in lines.strip().splitlines()]
    return tuple(Column(name, Type(kind), text) for name, kind, text in rows)


_YEAR: Final = "year | integer | Program year."
_SEEN: Final = """
first_seen_at | timestamp | When the pipeline first saw this row.
last_seen_at | timestamp | As of when the newest source shows this row (API read time; age of the CSV).
"""
_FORM: Final = f"""
{_YEAR}
submission_id | text | Jotform submission id.
form_id | text | Jotform form id.
status | text | ACTIVE, OVERQUOTA, DELETED, ... as Jotform says.
mn_id | text | The mentor id as it was typed.
"""
_FORM_END: Final = f"""
submitted_at | timestamp | When it was submitted.
edited_at | timestamp | When it was last edited; null when never.
answers | json | All answers by question id, as they came.
missing_since | timestamp | When Jotform stopped listing it; null while it is listed.
{_SEEN.strip()}
"""
_JOINED: Final = """
name | text | Name as given.
phone | text | Phone, E.164; null when it is none.
phone_raw | text | Phone as given.
email | text | E-mail as given.
"""

_CONTACT: Final = f"""
external_id | text | Contact External ID as Givebutter holds it.
external_mn_id | text | The mentor id read from external_id, compared without leading zeros; null when it is none.
prefix | text | Prefix (holds the preferred name by default).
first_name | text | First name.
preferred_name | text | Preferred first name.
middle_name | text | Middle name.
last_name | text | Last name.
suffix | text | Suffix.
dob | date | Date of birth.
gender | text | Gender.
employer | text | Employer.
title | text | Title.
primary_email | text | Primary e-mail, lower case.
additional_emails | text list | Other e-mails, lower case.
emails | text list | All e-mails, normalised, primary first.
primary_phone | text | Primary phone, E.164 (as given when it is no phone number).
additional_phones | text list | Other phones.
phones | text list | All phones, E.164, primary first.
address_line_1 | text | Street address.
address_line_2 | text | Street address, second line.
city | text | City.
state | text | State.
postal_code | text | Postal code.
country | text | Country.
website | text | Website.
twitter | text | Twitter URL.
linkedin | text | LinkedIn URL.
facebook | text | Facebook URL.
tiktok | text | TikTok URL.
instagram | text | Instagram URL.
total_contributions | money | Total contributions, USD.
recurring_contributions | money | Recurring contributions, USD.
last_donation_amount | money | Last donation, USD.
email_subscribed | boolean | Subscribed to e-mail; null when unknown.
sms_subscribed | boolean | Subscribed to text messages; null when unknown.
mail_subscribed | boolean | Subscribed to post; null when unknown.
tags | text list | Tags.
notes | text | Notes.
household_id | text | Household id.
household | text | Household name.
custom_fields | json | Custom field label -> value (text).
created_at | timestamp | Created in Givebutter.
last_modified_at | timestamp | Last modified in Givebutter.
archived_at | timestamp | Archived in Givebutter; null while it is active.
missing_since | timestamp | Since when Givebutter no longer has it (deleted or merged away); null while it is there.
source | text | What told it last: csv or api.
csv_filename | text | The export it was last seen in.
csv_uploaded_at | timestamp | When that export was imported.
{_SEEN.strip()}
"""

_PROBLEM: Final = f"""
id | text | Stable id: the same problem is one row for ever.
{_YEAR}
mn_id | text | The mentor concerned, if any.
type | text | Kind of problem, e.g. invalid_phone.
message | text | What is wrong and what to do, for an operator.
severity | text | error, warning, or info.
source_table | text | Table in which it was found.
field_name | text | Field concerned, if any.
current_value | text | The value found.
suggested_value | text | What it might be instead.
context | json | What else a person needs to judge.
"""
_PROBLEM_LIFE: Final = f"""
{_PROBLEM.strip()}
first_seen_at | timestamp | First seen.
last_seen_at | timestamp | Last seen.
resolved | boolean | True when it is gone or was acknowledged.
resolved_at | timestamp | When.
resolution_method | text | auto (gone), manual, or ignored.
resolved_by | text | Who, for manual and ignored.
"""
_CONFLICT: Final = f"""
id | text | Stable id made of year, mentor, type and the two options.
{_YEAR}
mn_id | text | The mentor concerned.
conflict_type | text | contact_selection, external_id_collision, phone_mismatch, email_mismatch, ...
option_a | json | First option: value, source and what a person needs to choose.
option_b | json | Second option.
context | json | What else a person needs to choose.
recommended_option | text | a or b; null when there is no recommendation.
recommendation_reason | text | Why.
source_table | text | Table in which it was found.
severity | text | high, medium, or low.
"""

_TABLES: Final[tuple[Table, ...]] = (
    # -- raw: Jotform --------------------------------------------------------------------------------------------
    Table(
        "raw_mn_signups",
        "Sign-up form submissions, one row each, as Jotform lists them. Rows that vanish are marked, never deleted.",
        _columns(f"""{_FORM.strip()}
prefix | text | Preferred name as given.
first_name | text | First name as given.
middle_name | text | Middle name as given.
last_name | text | Last name as given.
phone | text | Phone, E.164; null when it is none.
phone_raw | text | Phone as given.
personal_email | text | Personal e-mail as given.
uga_email | text | School e-mail as given.
gender | text | Gender as given.
shirt_size | text | Shirt size as given.
uga_class | text | School year as given.
shift_preference | text | Shift preference as given.
{_FORM_END.strip()}"""),
        ("submission_id",),
        Write.UPSERT,
    ),
    Table(
        "raw_mn_funds_setup",
        "Submissions of the form that says 'my Givebutter page is set up'.",
        _columns(f"{_FORM.strip()}\n{_JOINED.strip()}\n{_FORM_END.strip()}"),
        ("submission_id",),
        Write.UPSERT,
    ),
    Table(
        "raw_mn_training_signup",
        "Training sign-up submissions.",
        _columns(f"""{_FORM.strip()}\n{_JOINED.strip()}
uga_class | text | School year as given.
session | text | Training session chosen.
{_FORM_END.strip()}"""),
        ("submission_id",),
        Write.UPSERT,
    ),
    Table(
        "raw_mn_partner_preference",
        "Partner and shift wishes.",
        _columns(f"""{_FORM.strip()}\n{_JOINED.strip()}
partner_phone | text | The wished partner's phone, E.164; null when it is none.
partner_phone_raw | text | The wished partner's phone as given.
shift_preference | text | Shift preference as given.
partner_notes | text | Free text.
{_FORM_END.strip()}"""),
        ("submission_id",),
        Write.UPSERT,
    ),
    # -- raw: Givebutter -----------------------------------------------------------------------------------------
    Table(
        "raw_gb_campaign_members",
        "Members of the year's Givebutter campaign (fundraising pages). Rows that vanish are marked, never deleted.",
        _columns(f"""{_YEAR}
member_id | bigint | Givebutter member id.
campaign_id | bigint | Givebutter campaign id.
first_name | text | First name on the page.
last_name | text | Last name on the page.
display_name | text | Name shown on the page.
email | text | E-mail, lower case; null when empty.
phone | text | Phone, E.164; null when empty or none.
raised | money | Raised so far, USD.
goal | money | Goal of the page, USD.
donors | integer | Number of donors.
page_url | text | Address of the page.
created_at | timestamp | Page created; null when not told.
modified_at | timestamp | Page changed; null when not told.
{_SEEN.strip()}
missing_since | timestamp | When Givebutter stopped listing it; null while it is listed."""),
        ("member_id",),
        Write.UPSERT,
    ),
    Table(
        "raw_gb_full_contacts",
        "Every Givebutter contact as last known, from API lists, one-by-one reads and CSV exports; newest knowledge wins.",
        _columns(f"contact_id | bigint | Givebutter contact id.\n{_CONTACT.strip()}"),
        ("contact_id",),
        Write.UPSERT,
    ),
    Table(
        "raw_mn_gb_contacts",
        "The contact that each mentor is linked to, as last read.",
        _columns(f"""mn_id | text | Mentor id.
{_YEAR}
contact_id | bigint | Givebutter contact id.
{_CONTACT.replace("source | text | What told it last: csv or api.", "source | text | csv_match or api_sync.").strip()}
gb_updated_at | timestamp | Last modified in Givebutter.
last_synced_at | timestamp | As of when this is known.
sync_status | text | synced, conflict, or stale."""),
        ("year", "mn_id"),
    ),
    Table(
        "source_reads",
        "How far each source has been read: the mark from which the next incremental read starts, and the last full count.",
        _columns("""source | text | What was read, e.g. jotform/250685983663169 or givebutter/contacts.
read_at | timestamp | Start of the last successful read of any kind.
full_read_at | timestamp | As of when the source was last read whole (API list, or a full CSV export).
full_row_count | bigint | Rows of that whole read."""),
        ("source",),
        Write.UPSERT,
    ),
    # -- mentors -------------------------------------------------------------------------------------------------
    Table(
        "signups",
        "One valid sign-up per person (R2), normalised (R1); older submissions merged in.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id, digits with their zeros; 999001 and up are placeholders.
is_placeholder | boolean | True while the real id is missing.
submission_id | text | The submission that counts (the newest).
merged_submission_ids | text list | Older submissions by the same person, newest first.
first_name | text | First name.
middle_name | text | Middle name.
last_name | text | Last name.
preferred_name | text | Preferred name; the first name where none was given.
full_name | text | Preferred and last name.
phone | text | Phone, E.164.
personal_email | text | Personal e-mail.
uga_email | text | School e-mail.
gender | text | Gender.
shirt_size | text | Shirt size.
uga_class | text | School year.
shift_preference | text | Shift preference.
submitted_at | timestamp | Newest submission's time.
edited_at | timestamp | Its last edit; null when never.
first_submitted_at | timestamp | Oldest submission's time.
withdrawn | boolean | True when every submission is gone (deleted or no longer listed)."""),
        ("year", "mn_id"),
    ),
    Table(
        "placeholder_ids",
        "Which placeholder id a submission without mentor id was given, for ever.",
        _columns(f"""{_YEAR}
submission_id | text | Jotform submission id.
mn_id | text | Placeholder, 999001 and up.
assigned_at | timestamp | When."""),
        ("year", "submission_id"),
        Write.APPEND,
    ),
    Table(
        "mentor_aliases",
        "Mentors who went on under a real id after a placeholder; history and decisions follow.",
        _columns(f"""{_YEAR}
old_mn_id | text | The placeholder.
mn_id | text | The real id.
at | timestamp | When it was seen."""),
        ("year", "old_mn_id"),
        Write.APPEND,
    ),
    Table(
        "form_links",
        "Which mentor each form submission and campaign member belongs to (R3), and by what.",
        _columns(f"""{_YEAR}
source_table | text | raw_mn_funds_setup, raw_mn_training_signup, raw_mn_partner_preference or raw_gb_campaign_members.
source_id | text | Submission id or member id.
mn_id | text | The mentor; null when none, or more than one, fits.
matched_on | text | mn_id, member_id, email, phone or name; null when unmatched.
is_newest | boolean | True for the one row that counts for its mentor and source.
note | text | Why it joined, or why not."""),
        ("year", "source_table", "source_id"),
    ),
    Table(
        "contact_matches",
        "Every candidate contact of every mentor: what matched, the score in parts, its fate and why (R4).",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
contact_id | bigint | Candidate contact.
role | text | winner, loser (a duplicate of the same person), or rejected.
method | text | How it was chosen or found: external_id, decision, kept, phone, email, member.
matched_on | text list | external_id, phone, personal_email, uga_email, linked: all that agree.
same_person | boolean | True when the evidence says it is this person (R4.2).
score | double | Sum of score_parts (R4.3).
score_parts | json | Points by part.
completeness | integer | Percent, 20 for each of phone, primary e-mail, additional e-mail, address, member.
reason | text | In words, why it has this role."""),
        ("year", "mn_id", "contact_id"),
    ),
    Table(
        "contact_links",
        "The verdict for each mentor: which contact, how sure, by which rule (R4).",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
gb_contact_id | bigint | The contact; kept as it was while in conflict or stale; null when none.
gb_match_status | text | linked, new, conflict, shared or stale.
gb_match_method | text | external_id, decision, kept, phone, email or member; null when not linked.
candidate_count | integer | Candidates seen, rejected ones included.
reason | text | In words, the rule that decided."""),
        ("year", "mn_id"),
    ),
    Table(
        "mentors",
        "One true record per mentor: sign-up, forms, campaign page, contact, people's edits, status.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id, digits with their zeros; 999001 and up are placeholders.
is_placeholder | boolean | True while the real id is missing.
first_name | text | First name.
middle_name | text | Middle name.
last_name | text | Last name.
preferred_name | text | What to call them; never empty.
full_name | text | Preferred and last name.
phone | text | Phone, E.164.
personal_email | text | Personal e-mail.
uga_email | text | School e-mail.
gender | text | Gender.
shirt_size | text | Shirt size.
uga_class | text | School year.
shift_preference | text | Shift preference.
partner_preference | text | Free text of the partner form.
partner_phone | text | The wished partner's phone, E.164.
partner_mn_id | text | The wished partner, if a mentor has that phone.
partner_phone_match | boolean | True when both named each other.
partner_shift_match | boolean | True when the two also wish the same shift.
gb_contact_id | bigint | The Givebutter contact.
gb_match_status | text | linked, new, conflict, shared or stale.
gb_match_method | text | How the contact was chosen.
gb_member_id | bigint | Campaign member id.
campaign_member | boolean | True when they have a campaign page.
amount_raised | money | Raised so far, USD.
fundraising_goal | money | Goal of the year, USD.
fundraised_done | boolean | Goal reached, or marked by a person.
fundraised_at | timestamp | When that was first seen or marked.
fundraising_page_url | text | Address of the page.
setup_done | boolean | Setup form submitted.
setup_at | timestamp | When.
setup_submission_id | text | Which submission.
training_signup_done | boolean | Signed up for training.
training_signup_at | timestamp | When.
training_signup_submission_id | text | Which submission.
training_done | boolean | Attended training (checked in by a person).
training_at | timestamp | When.
dropped | boolean | Carries the dropped tag.
status_category | text | dropped, complete, needs_fundraising, needs_page or needs_setup.
status_text | text | One friendly sentence with the next step.
statuses | text list | All that hold, as Givebutter tags.
tags | text list | Tags in Givebutter united with ours.
notes | text | Notes by people.
withdrawn | boolean | True when every sign-up submission is gone.
signup_submission_id | text | The sign-up that counts.
signup_at | timestamp | When it was submitted.
created_at | timestamp | First seen as a mentor.
updated_at | timestamp | When a tracked field last changed."""),
        ("year", "mn_id"),
    ),
    Table(
        "mn_tasks",
        "Each mentor's tasks: done and when.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
signup_done | boolean | Signed up.
signup_at | timestamp | When.
setup_done | boolean | Setup form submitted.
setup_at | timestamp | When.
campaign_member | boolean | Has a campaign page.
amount_raised | money | Raised so far, USD.
fundraised_done | boolean | Goal reached, or marked by a person.
fundraised_at | timestamp | When.
training_signup_done | boolean | Signed up for training.
training_signup_at | timestamp | When.
training_done | boolean | Attended training.
training_at | timestamp | When."""),
        ("year", "mn_id"),
    ),
    Table(
        "merge_base",
        "Per mentor and field, how the two sides stood when they were last settled (R6): an edit is a move away from here.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
field_name | text | Field of mentors.
contact_id | bigint | The contact it was settled with.
value | text | The value that stands.
ours | text | What the forms said then.
theirs | text | What Givebutter held then; null when it held nothing.
how | text | equal (Givebutter holds the value), first_sight (never agreed yet, ours stands), asked or stale (the same, with a question pending), taken (Givebutter's edit stands), or set (a person's word stands).
settled_at | timestamp | When."""),
        ("year", "mn_id", "field_name"),
    ),
    Table(
        "mentor_history",
        "Every version of every mentor, from when to when. Append-only; mentors are the current versions.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
version | integer | 1, 2, 3, ...
valid_from | timestamp | From when it held.
valid_to | timestamp | Until when; null for the current version.
run_id | text | Dagster run that saw it.
record | json | The mentor's record."""),
        ("year", "mn_id", "version"),
        Write.UPSERT,
    ),
    Table(
        "mn_changes",
        "Every change of every mentor, once: differences of consecutive versions, decisions, archived duplicates (R8).",
        _columns(f"""id | text | Stable id.
{_YEAR}
mn_id | text | Mentor id.
change_type | text | new_mentor, dropped, reactivated, status_change, field_change, conflict_resolved, duplicates_archived, contact_linked or contact_relinked.
field_name | text | Field of mentors.
old_value | text | Value before.
new_value | text | Value after.
source_table | text | Where the change was seen.
is_significant | boolean | True for what an organiser wants to hear of.
detected_at | timestamp | When it was seen.
run_id | text | Dagster run that saw it.
synced_to_gb | boolean | True when Givebutter is seen to hold the value; null where it never goes there.
resolved | boolean | True when nothing is left to do.
notes | text | Further words."""),
        ("id",),
        Write.UPSERT,
    ),
    Table(
        "partner_matches",
        "Partner wishes and whether they are mutual.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor who wished.
partner_mn_id | text | Wished partner; null when the phone is no mentor's.
partner_phone | text | The phone given.
mutual | boolean | True when both named each other.
shift_match | boolean | True when the two wish the same shift.
note | text | In words."""),
        ("year", "mn_id"),
    ),
    # -- quality -------------------------------------------------------------------------------------------------
    Table(
        "detected_problems",
        "Errors and warnings as each asset found them in its last run; sync_errors and sync_warnings keep their life.",
        _columns(f"asset | text | Asset that found it.\n{_PROBLEM.strip()}"),
        ("asset", "id"),
    ),
    Table(
        "detected_conflicts",
        "Conflicts as each asset found them in its last run; sync_conflicts keeps their life.",
        _columns(f"asset | text | Asset that found it.\n{_CONFLICT.strip()}"),
        ("asset", "id"),
    ),
    Table(
        "sync_errors",
        "Errors, one row per problem however often it is seen (R9).",
        _columns(_PROBLEM_LIFE),
        ("id",),
        Write.UPSERT,
    ),
    Table(
        "sync_warnings",
        "Warnings, one row per problem however often it is seen (R9).",
        _columns(_PROBLEM_LIFE),
        ("id",),
        Write.UPSERT,
    ),
    Table(
        "sync_conflicts",
        "What only a person can decide, one row for ever per conflict (R9).",
        _columns(f"""{_CONFLICT.strip()}
status | text | pending, resolved, skipped or obsolete.
user_decision | text | a, b or custom.
custom_value | text | The value for custom.
resolved_at | timestamp | When.
resolved_by | text | Who.
detected_at | timestamp | First seen.
last_seen_at | timestamp | Last seen."""),
        ("id",),
        Write.UPSERT,
    ),
    Table(
        "duplicate_gb_contacts",
        "Groups of contacts that share a phone or an e-mail, with the mentor if any.",
        _columns("""group_id | text | Stable id of the group.
matched_on | text | phone or email.
value | text | The shared phone or e-mail.
contact_ids | bigint list | Contacts, by id.
names | text list | Their names, in the same order.
size | integer | Number of contacts.
mn_id | text | The mentor, if the group has one.
suggested_keep | bigint | The contact to keep.
what_to_do | text | In words."""),
        ("group_id",),
    ),
    # -- outreach, export, upkeep ----------------------------------------------------------------------------------
    Table(
        "outreach_messages",
        "Messages of the year's campaigns, one row per mentor and campaign (R11).",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
campaign | text | Campaign file.
message_text | text | Text message; null when the campaign has none, or the mentor is unsubscribed.
message_email | text | E-mail text; null when the campaign has none, or the mentor is unsubscribed.
sms_segments | integer | Segments of the text message.
left_out | text | Why the mentor gets no message; null when they get one."""),
        ("year", "mn_id", "campaign"),
    ),
    Table(
        "mn_gb_import",
        "The rows that Givebutter is to import, one per mentor who is not held, with the import template's columns (R10).",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
Givebutter Contact ID | text | The contact to update; blank creates one.
Contact External ID | text | Prefix and mentor id.
Prefix | text | Preferred name (or what Givebutter holds).
First Name | text | First name.
Preferred First Name | text | Preferred name, where the year file says so.
Middle Name | text | Middle name.
Last Name | text | Last name.
Primary Email | text | Personal e-mail, else the school one.
Email Addresses | text | The school e-mail.
Primary Phone Number | text | Phone, E.164.
Tags | text | Union of Givebutter's tags and ours.
Notes | text | New notes only; Givebutter appends them.
Email Subscription Status | text | yes, or no where Givebutter says unsubscribed.
Phone Subscription Status | text | yes, or no where Givebutter says unsubscribed.
Address Subscription Status | text | yes, or no where Givebutter says unsubscribed.
Contact Website | text | Address of the fundraising page."""),
        ("year", "mn_id"),
        extensible=True,
    ),
    Table(
        "mn_gb_import_held",
        "Mentors whose row is kept out of the import file, and why (R10).",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
gb_contact_id | bigint | Their contact, if any.
reason | text | contact_conflict, shared_contact, stale_contact, withdrawn, placeholder_mn_id, no_last_name, dropped, refused_by_givebutter or wrong_contact (Givebutter would take the row, but onto somebody else's contact).
detail | text | In words, with the contact in the way and what to do."""),
        ("year", "mn_id"),
    ),
    Table(
        "sent_notes",
        "Notes that were written to an import file: Givebutter appends them, so none goes out twice.",
        _columns(f"""{_YEAR}
mn_id | text | Mentor id.
sent_at | timestamp | When the file was written.
notes | text | The cell as it was written.
filename | text | The file."""),
        ("year", "mn_id", "sent_at"),
        Write.APPEND,
    ),
    Table(
        "contact_archive_plan",
        "Duplicates of mentors' contacts: which may be archived, which a person must look at (R5).",
        _columns("""contact_id | bigint | The duplicate.
mn_id | text | The mentor.
year | integer | Program year.
winner_contact_id | bigint | The mentor's contact.
action | text | archive or review.
reason | text | In words.
signals | text list | What was found."""),
        ("year", "contact_id"),
    ),
    Table(
        "contact_release_plan",
        "Contacts that carry a mentor's id, and of which a person decided that they are not that mentor's (R4.1).",
        _columns(f"""{_YEAR}
mn_id | text | The mentor whose id it is.
contact_id | bigint | The contact that carries it.
external_id | text | The External ID as it stands on the contact.
reason | text | In words.
decided_by | text | Who decided that it is not theirs.
decided_at | timestamp | When."""),
        ("year", "contact_id"),
    ),
    # -- ledgers -------------------------------------------------------------------------------------------------
    Table(
        "operator_actions",
        "Every decision and edit by a person. Append-only.",
        _columns(f"""id | text | Unique id, ordered by time.
at | timestamp | When.
actor | text | Who.
action | text | conflict_decision, edit, acknowledge, archive, ...
{_YEAR}
mn_id | text | The mentor concerned, if any.
target_id | text | The conflict, contact or problem concerned, if any.
field | text | Field, for an edit.
value | json | What was decided.
note | text | Further words."""),
        ("id",),
        Write.APPEND,
    ),
    Table(
        "forgotten",
        "Who was forgotten, when and by whom, and the numbers of what must not come back with the next sync. Append-only.",
        _columns(f"""{_YEAR}
mn_id | text | The id that the person had.
source_table | text | mentors for the person; else the table whose row is not stored again (of contacts: only blank).
source_id | text | The id; else submission id, member id or contact id.
forgotten_at | timestamp | When.
forgotten_by | text | Who did it."""),
        ("year", "source_table", "source_id", "forgotten_at"),
        Write.APPEND,
    ),
    Table(
        "csv_import_log",
        "Every file that was dropped or imported by hand, known by its content. Append-only but for its state.",
        _columns("""sha256 | text | Hash of the content.
filename | text | Name when first seen.
bytes | bigint | Size.
kind | text | contacts or failures.
status | text | running, completed, rejected or failed.
attempts | integer | How often it was tried.
failures | integer | How often an attempt ended with an error; killed ones do not count.
rows | bigint | Rows read.
new_contacts | bigint | Contacts not known before.
changed_contacts | bigint | Contacts whose values changed.
missing_contacts | bigint | Contacts that a full export no longer shows.
mentors_matched | bigint | Mentors of the year whose contact is in the file.
new_contact_ids_captured | bigint | New or changed contacts carrying a mentor id that was not linked before.
duplicates_detected | bigint | Groups of duplicates in the file.
is_partial | boolean | True when it is not a full export.
message | text | What an operator should know.
started_at | timestamp | Start of the last attempt.
finished_at | timestamp | End of the last attempt.
uploaded_by | text | Who.
run_id | text | Dagster run."""),
        ("sha256",),
        Write.UPSERT,
    ),
    Table(
        "contact_archive_log",
        "Every archive, restore and release of a contact, before and after the call. Append-only.",
        _columns("""id | text | Unique id.
contact_id | bigint | The contact.
mn_id | text | The mentor concerned.
winner_contact_id | bigint | The mentor's contact.
external_id | text | External ID that was taken off or put back.
operation | text | archive, restore, release or unrelease.
state | text | started, done, failed or already.
error | text | What went wrong.
at | timestamp | When.
actor | text | Who.
run_id | text | Dagster run."""),
        ("id",),
        Write.APPEND,
    ),
    Table(
        "tag_log",
        "Every change of our tags on a contact, before and after the calls. Append-only.",
        _columns("""id | text | Unique id.
contact_id | bigint | The contact.
mn_id | text | The mentor concerned.
added | text list | Tags that were put on; of started, that are to be.
removed | text list | Tags that were taken off; of started, that are to be.
state | text | started, done or failed (then the lists say what was done before that).
error | text | What went wrong.
at | timestamp | When.
actor | text | Who.
run_id | text | Dagster run."""),
        ("id",),
        Write.APPEND,
    ),
    Table(
        "sync_log",
        "Every run that touched the warehouse.",
        _columns("""id | text | The Dagster run id.
sync_type | text | initialization, automated or manual (each a sync); csv_import, contact_refresh, rebuild, export or archive.
status | text | running, completed or failed.
triggered_by | text | Schedule, sensor or person.
started_at | timestamp | Start.
finished_at | timestamp | End.
duration_s | double | Seconds.
records | json | Rows by table.
error_message | text | What went wrong.
run_id | text | Dagster run id."""),
        ("id",),
        Write.UPSERT,
    ),
    Table(
        "sync_configs",
        "The settings of each year as they were last used.",
        _columns(f"""{_YEAR}
config_key | text | Key in the year file.
config_value | text | Value.
config_type | text | Type.
description | text | Meaning."""),
        ("year", "config_key"),
    ),
)

TABLES: Final[Mapping[str, Table]] = {table.name: table for table in _TABLES}
"""All tables by name."""


def markdown() -> str:
    """The content of docs/tables.md, which is never edited by hand."""
    parts = [
        "# Tables",
        (
            "Made from `mentor_pipeline/tables.py` by `python -m mentor_pipeline.tables > docs/tables.md`: edit the specs, "
            "not this page. Times are UTC, money is USD with two decimals, columns of the primary key are **bold**."
        ),
        (
            "How a run writes: *replace* makes its frame the whole of the year (of the table, where it has no year); "
            "*upsert* inserts or replaces by key and leaves other rows; *append* inserts and never changes a row."
        ),
    ]
    for table in TABLES.values():
        rows = [
            f"| {f'**{column.name}**' if column.name in table.key else column.name} | {column.type} "
            f"| {column.description.replace('|', chr(92) + '|')} |"
            for column in table.columns
        ]
        written = f"Written by *{table.write}*."
        further = " Further columns are text: the custom fields of the year file." if table.extensible else ""
        parts += [f"## {table.name}", f"{table.description} {written}{further}"]
        parts.append("\n".join(["| column | type | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
