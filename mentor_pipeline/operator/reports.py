"""What people ask of the warehouse: how things stand, why a mentor has this contact, what changed, what is undecided.

Every report is read at one moment and given as plain data that is the same on a screen and as JSON. Nothing here
writes, and nothing decides: verdicts, reasons and scores are told as the rules left them. How a report looks belongs to
the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.decisions import CONTACT_CONFLICTS
from mentor_pipeline.domain.export import differing, knowledge_at, without_sent_notes
from mentor_pipeline.domain.findings import UNDECIDED
from mentor_pipeline.domain.import_format import CONTACT_ID
from mentor_pipeline.domain.normalise import (
    clean_text,
    comparable_mn_id,
    comparable_mn_ids,
    normalise_email,
    normalise_mn_id,
    normalise_phone,
)
from mentor_pipeline.domain.preflight import CONTACT_COLUMNS, preflight_file, taken_external_ids
from mentor_pipeline.errors import FileRejectedError, MentorPipelineError, WrongUseError
from mentor_pipeline.operator.import_files import newest_import_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Reader, Warehouse
    from mentor_pipeline.settings import ProgramYear, Settings

SYNC_TYPES: Final = ("initialization", "automated", "manual")
"""Kinds of `sync_log` rows that are a sync: both services were read."""

CONFLICT_TYPES: Final = (
    *CONTACT_CONFLICTS, "phone_mismatch", "email_mismatch", "data_staleness", "fundraising_mismatch",
)  # fmt: skip
PROBLEM_TYPES: Final = (
    "missing_mn_id", "invalid_mn_id", "mn_id_collision", "invalid_phone", "invalid_email", "missing_last_name",
    "multiple_mentors_one_contact", "contact_row_set_aside", "import_refused", "duplicate_signup", "signup_withdrawn",
    "shared_phone", "unusual_value", "unmatched_submission", "member_without_mentor", "several_pages",
    "low_confidence", "generic_identifier", "external_id_mismatch", "stale_contact", "givebutter_edit_ignored",
    "givebutter_edit_overruled", "form_edit_overruled", "contacts_outdated", "partial_contacts_file",
    "contact_value_kept_as_text", "row_will_merge", "text_shortened", "tag_not_sendable", "value_not_sendable",
    "unsubscribed", "several_campaigns", "edit_without_mentor", "partner_is_self", "partner_unknown",
    "partner_phone_shared", "partner_unreciprocated", "partner_contradictory", "message_field_empty",
    "message_too_long",
)  # fmt: skip
"""Errors and warnings that there can be, as docs/operators.md lists them, and more that were found."""
CONFLICT_STATUSES: Final = ("pending", "resolved", "skipped", "obsolete")

CHANGE_TYPES: Final = (
    "new_mentor", "dropped", "reactivated", "status_change", "field_change", "conflict_resolved",
    "duplicates_archived", "contact_linked", "contact_relinked",
)  # fmt: skip
SEVERITIES: Final = ("error", "warning")

_RUNS: Final = {
    "initialization": "first sync",
    "automated": "scheduled sync",
    "manual": "sync",
    "csv_import": "import of a file",
    "contact_refresh": "contact refresh",
    "rebuild": "rebuild",
    "export": "export",
    "archive": "changes in Givebutter (archive, release or tags)",
}
"""Kinds of `sync_log` rows in words."""
_AGAIN: Final = {
    "csv_import": "; then import the file again.",
    "contact_refresh": ", then run it again: `mentor-pipeline contact-refresh`.",
    "rebuild": ", then run it again: `mentor-pipeline rebuild`.",
    "export": ", then run it again: `mentor-pipeline export`.",
    "archive": ", then give the same command again.",
}
"""After a failed run: how to do it again, where it was no sync."""
_OF_STEP: Final = re.compile(
    r"(?P<step>[a-z][a-z0-9_]*|before the first step): "
    r"(?:(?P<error>(?:[a-z_]\w*\.)*_?[A-Z]\w*(?:Error|Exception|Failure|Timeout|Interrupt)): )?(?P<words>.*)"
)
"""A line of `error_message`: the step, the error's class where it is not one of ours, and what it said."""
_CHECK: Final = re.compile(r"check \w+ of \w+: ")
_REQUEST: Final = re.compile(r", [A-Z]+ /\S*: ")
_TRIED: Final = re.compile(r" It was tried \d+ times\.")
_ENDS: Final = {
    "ended without finishing": "It ended without finishing: it was killed, or the machine stopped.",
    "canceled by a person": "A person stopped it.",
    "interrupted": "It was interrupted.",
    "failed": "It failed and did not say why; Dagster's UI has more.",
}
SHORTEST_CONFLICT_ID: Final = 6
"""Characters of a conflict's id, behind `conflict-`, that must be given."""
_SHORTEST_RUN: Final = 4
_SHORTEST_ID: Final = 3
_SHORTEST_WORD: Final = 2
_SUGGESTED: Final = 5
_FIRST_NAMES: Final = ("preferred_name", "first_name")
_ROLES: Final = ("winner", "loser", "rejected")
_ABOUT_MENTOR: Final = (
    "mn_id", "full_name", "first_name", "preferred_name", "last_name", "phone", "personal_email", "uga_email",
    "gb_contact_id", "gb_match_status", "gb_match_method", "gb_member_id", "campaign_member", "amount_raised",
    "fundraising_goal", "status_category", "status_text", "shift_preference", "dropped", "withdrawn", "signup_at",
    "updated_at",
)  # fmt: skip
_ABOUT_CONTACT: Final = (
    "contact_id", "external_id", "prefix", "preferred_name", "first_name", "last_name", "emails", "phones", "tags",
    "last_modified_at", "archived_at", "missing_since",
)  # fmt: skip


class NothingSyncedError(MentorPipelineError):
    """There is nothing to report on yet."""


# -- how things stand -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run as `sync_log` tells it; what it was and why it failed are in `words` and `error`, for an operator."""

    run_id: str
    sync_type: str
    status: str
    by: str | None
    started_at: datetime
    seconds: float | None
    error: str | None

    @property
    def words(self) -> str:
        """What kind of run it was."""
        return _RUNS.get(self.sync_type, self.sync_type)


@dataclass(frozen=True, slots=True)
class MatchCount:
    """Mentors whose contact was found in the same way."""

    status: str
    method: str | None
    mentors: int


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand in a program year.

    Attributes:
        year: the program year.
        warehouse: where the tables are.
        data_dir: the data folder.
        now_running: the run that is changing the warehouse now, in words.
        last_sync: the last sync that completed.
        last_run: the last run of any kind that ended.
        mentors: how many there are.
        by_status: mentors by status_category.
        by_match: mentors by gb_match_status and method.
        import_rows: mentors whose row Givebutter would take.
        differing: how many of these rows say something else than what Givebutter is known to hold.
        held: mentors whose row is withheld, by reason.
        conflicts: undecided ones by type.
        errors: open ones by type.
        warnings: open ones by type.
        duplicate_groups: groups of contacts that share a phone or an e-mail.
        changes: what the last sync changed, by type.
        contacts: how many contacts are known.
        contacts_known_at: as of when.
        newest_export: the newest import file.
        scans: files with ids of a check-in that are not recorded: it is open now, or was broken off.
        next_step: what to do now.
    """

    year: int
    warehouse: str
    data_dir: Path
    next_step: str = ""
    now_running: str | None = None
    last_sync: RunLine | None = None
    last_run: RunLine | None = None
    mentors: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    by_match: list[MatchCount] = field(default_factory=list)
    import_rows: int = 0
    differing: int = 0
    held: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    duplicate_groups: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    contacts: int = 0
    contacts_known_at: datetime | None = None
    newest_export: Path | None = None
    scans: list[Path] = field(default_factory=list)


def status(warehouse: Warehouse, settings: Settings, program: ProgramYear, now: datetime) -> Status:
    """How things stand now."""
    from mentor_pipeline.operator.check_in import kept_before  # noqa: PLC0415 - it asks here who is a mentor

    year = program.year
    running = "; ".join(map(str, warehouse.holders()))
    with warehouse.reading() as reader:
        log = reader.read_or_empty("sync_log").sort("started_at")
        ended = log.filter(pl.col("status") != "running")
        synced = ended.filter(pl.col("status").eq("completed") & pl.col("sync_type").is_in(SYNC_TYPES))
        last_sync, last_run = _last_run(synced), _last_run(ended)
        mentors = reader.read_or_empty(
            "mentors", columns=["status_category", "gb_match_status", "gb_match_method"], year=year
        )
        changes = reader.read_or_empty("mn_changes", columns=["change_type", "run_id"], year=year)
        of_last_sync = changes.filter(pl.col("run_id") == last_sync.run_id) if last_sync else changes.clear()
        known_at = knowledge_at(reader.read_or_empty("source_reads"))
        found = Status(
            year=year,
            warehouse=warehouse.location,
            data_dir=settings.data_dir,
            now_running=running or None,
            last_sync=last_sync,
            last_run=last_run,
            mentors=mentors.height,
            by_status=_counted(mentors["status_category"]),
            by_match=[
                MatchCount(*row)
                for row in mentors.group_by("gb_match_status", "gb_match_method")
                .len()
                .sort("len", "gb_match_status", descending=[True, False])
                .iter_rows()
            ],
            import_rows=reader.count("mn_gb_import", year=year),
            differing=_differing(reader, program, known_at),
            held=_counted(reader.read_or_empty("mn_gb_import_held", columns=["reason"], year=year)["reason"]),
            conflicts=_counted(_pending(reader, year)["conflict_type"]),
            errors=_open_problems(reader, "sync_errors", year),
            warnings=_open_problems(reader, "sync_warnings", year),
            duplicate_groups=reader.count("duplicate_gb_contacts"),
            changes=_counted(of_last_sync["change_type"]),
            contacts=reader.count("raw_gb_full_contacts"),
            contacts_known_at=known_at,
            newest_export=newest_import_file(settings.exports_dir),
            scans=kept_before(settings.data_dir),
        )
        unsent = _newest_unsent_change(reader, year)
    return replace(found, next_step=_next_step(found, program, now, unsent))


def _next_step(found: Status, program: ProgramYear, now: datetime, unsent: datetime | None) -> str:
    """The first thing that needs a person."""
    undecided = sum(found.conflicts.get(kind, 0) for kind in CONTACT_CONFLICTS)
    oldest = now - timedelta(hours=program.export.contacts_max_age_hours)
    exported = datetime.fromtimestamp(found.newest_export.stat().st_mtime, UTC) if found.newest_export else None
    failed = found.last_run.sync_type if found.last_run else ""
    again = _AGAIN.get(failed, ", then run it again: `mentor-pipeline sync`.")
    steps = (
        (found.now_running, "A run is under way; look again when it has finished."),
        (
            found.last_run is not None and found.last_run.status == "failed",
            f"The last run failed. Put right what it says{again}",
        ),
        (
            found.last_sync is None or not found.mentors,
            "Nothing has been synced yet for this year. Run `mentor-pipeline sync`.",
        ),
        (undecided, f"Decide about contacts ({undecided} undecided): `mentor-pipeline conflicts list`."),
        (
            found.contacts_known_at is None or found.contacts_known_at < oldest,
            "What is known of the contacts is old. Import a fresh export: `mentor-pipeline import-contacts FILE`.",
        ),
        (
            found.differing and (exported is None or (unsent is not None and unsent > exported)),
            "There are changes that Givebutter does not have. Write the import file: `mentor-pipeline export`.",
        ),
        (sum(found.conflicts.values()), "Some values wait for a decision: `mentor-pipeline conflicts list`."),
    )
    return next((step for applies, step in steps if applies), "Nothing needs doing.")


def _last_run(log: pl.DataFrame) -> RunLine | None:
    if log.is_empty():
        return None
    row = log.row(-1, named=True)
    return RunLine(
        row["id"], row["sync_type"], row["status"], row["triggered_by"], row["started_at"], row["duration_s"],
        _plain_error(row["error_message"]),
    )  # fmt: skip


def _plain_error(stored: str | None) -> str | None:
    """Why a run failed, each reason once: without steps, classes and addresses, of which an operator knows nothing."""
    if stored is None:
        return None
    reasons: list[str] = []
    for line in stored.splitlines():
        told = _OF_STEP.fullmatch(line)
        if told is None:  # a message goes on
            reasons[-1:] = [f"{reasons[-1]}\n{line}"] if reasons else [_ENDS.get(line, line)]
            continue
        words = _CHECK.sub("", told["words"])
        if not (error := told["error"]) or error.startswith("mentor_pipeline."):
            reasons.append(_ENDS.get(words, words))
        else:
            reasons.append(f"A fault of this program, in the step {told['step']}: {error}: {words}")
    told_of: dict[str, str] = {}
    for reason in reasons:
        plain = _REQUEST.sub(": ", reason)
        told_of.setdefault(_TRIED.sub("", plain), plain)
    return "\n".join(told_of.values())


def _counted(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    counts = values.drop_nulls().rename("value").value_counts().sort("count", "value", descending=[True, False])
    return dict(counts.iter_rows())


def _pending(reader: Reader, year: int) -> pl.DataFrame:
    conflicts = reader.read_or_empty("sync_conflicts", columns=["mn_id", "conflict_type", "status"], year=year)
    return conflicts.filter(pl.col("status") == "pending")


def _open_problems(reader: Reader, table: str, year: int) -> dict[str, int]:
    problems = reader.read_or_empty(table, columns=["type", "resolved"], year=year)
    return _counted(problems.filter(~pl.col("resolved"))["type"])


def _differing(reader: Reader, program: ProgramYear, known_at: datetime | None) -> int:
    """How many rows `export` would choose; only the mentors' own contacts are read."""
    rows = reader.read_or_empty("mn_gb_import", year=program.year)
    if rows.is_empty():
        return 0
    # A custom field that the year file has since the last run is in no row yet.
    new = [label for label in program.custom_fields if label not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(label) for label in new)
    contacts = reader.read_by_id("raw_gb_full_contacts", rows[CONTACT_ID].cast(pl.Int64).drop_nulls())
    sent = reader.read_or_empty("sent_notes", year=program.year)
    return differing(without_sent_notes(rows, sent, known_at), contacts, program).height


def _newest_unsent_change(reader: Reader, year: int) -> datetime | None:
    changes = reader.read_or_empty("mn_changes", columns=["detected_at", "synced_to_gb"], year=year)
    newest = changes.filter(pl.col("synced_to_gb").eq(other=False))["detected_at"].max()
    return newest if isinstance(newest, datetime) else None


# -- why a mentor has this contact ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Why:
    """Why a mentor is linked as they are.

    Attributes:
        year: the program year.
        mn_id: the mentor's id now.
        asked: what was asked for.
        found_by: as what that was understood: id, name, e-mail, phone, contact id or candidate contact.
        mentor: who it is, by the columns of `mentors` that tell so.
        verdict: the row of `contact_links`; None before the first sync.
        candidates: rows of `contact_matches`, the chosen one first, each with what is known of the `contact`, and
            `is_undecided` for those between which a person must decide.
        conflicts: undecided ones about the mentor.
        held: why the row is withheld from the import file; None when it is not.
    """

    year: int
    mn_id: str
    asked: str
    found_by: str
    mentor: dict[str, Any]
    verdict: dict[str, Any] | None
    candidates: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    held: dict[str, Any] | None


def why(warehouse: Warehouse, program: ProgramYear, asked: str) -> Why:
    """Why a mentor is linked as they are.

    Args:
        warehouse: where the tables are.
        program: the year.
        asked: the mentor's id in any spelling, or the placeholder they had before; or what only one mentor has: a full
            name, an e-mail, a phone, a contact's id.

    Raises:
        NothingSyncedError: no mentor is known yet.
        MentorPipelineError: nobody, or not only one, has that; the message names whom it might mean.
    """
    year = program.year
    with warehouse.reading() as reader:
        mentors = reader.read_or_empty("mentors", columns=_ABOUT_MENTOR, year=year)
        aliases = reader.read_or_empty("mentor_aliases", year=year)
        all_matches = reader.read_or_empty("contact_matches", year=year)
        mn_id, found_by = _only_mentor(asked, mentors, aliases, all_matches, program)
        about = pl.col("mn_id") == mn_id
        matches = all_matches.filter(about)
        contacts = reader.read_or_empty("raw_gb_full_contacts", columns=_ABOUT_CONTACT) if matches.height else None
        links = reader.read_or_empty("contact_links", year=year).filter(about)
        conflicts = reader.read_or_empty("sync_conflicts", year=year).filter(about & (pl.col("status") == "pending"))
        held = reader.read_or_empty("mn_gb_import_held", year=year).filter(about)
    known = (
        {row["contact_id"]: row for row in contacts.join(matches, on="contact_id", how="semi").to_dicts()}
        if contacts is not None
        else {}
    )
    candidates = [
        {
            **_decoded(row, "score_parts"),
            "contact": known.get(row["contact_id"]),
            "is_undecided": row["reason"].startswith(UNDECIDED),
        }
        for row in matches.to_dicts()
    ]
    candidates.sort(key=lambda row: (_ROLES.index(row["role"]), -(row["score"] or 0), -row["contact_id"]))
    return Why(
        year=year,
        mn_id=mn_id,
        asked=asked,
        found_by=found_by,
        mentor=mentors.filter(about).row(0, named=True),
        verdict=links.row(0, named=True) if links.height else None,
        candidates=candidates,
        conflicts=[_conflict(row) for row in conflicts.to_dicts()],
        held=held.row(0, named=True) if held.height else None,
    )


def present_id(asked: str, mentors: pl.DataFrame, aliases: pl.DataFrame, program: ProgramYear) -> str:
    """The id under which a mentor is stored.

    Raises:
        NothingSyncedError: no mentor is known yet.
        MentorPipelineError: nobody has that id; the message names whom it might mean.
    """
    stored = _stored_id(asked, mentors, aliases, program)
    if stored is not None:
        return stored
    msg = f"No mentor of {program.year} has the id {asked!r}.{_meant(asked, mentors, program)}"
    raise MentorPipelineError(msg)


def _stored_id(asked: str, mentors: pl.DataFrame, aliases: pl.DataFrame, program: ProgramYear) -> str | None:
    if not asked.strip():
        msg = "No mentor was named. Give a mentor's id, for example 42."
        raise WrongUseError(msg)
    if mentors.is_empty():
        msg = f"Nothing has been synced yet for {program.year}. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    mn_id = normalise_mn_id(asked, program.mn_id_prefix)
    by_comparable = {comparable_mn_id(stored): stored for stored in mentors["mn_id"]}
    renamed = {comparable_mn_id(old): comparable_mn_id(new) for old, new in _pairs(aliases)}
    wanted = comparable_mn_id(mn_id) if mn_id is not None else ""
    for _ in renamed:  # a placeholder may have gone on under a second one
        wanted = renamed.get(wanted, wanted)
    return by_comparable.get(wanted)


def _only_mentor(
    asked: str, mentors: pl.DataFrame, aliases: pl.DataFrame, matches: pl.DataFrame, program: ProgramYear
) -> tuple[str, str]:
    """Whom an id means, or a name, e-mail, phone or contact's id that only one mentor has; and as what it was read.

    A contact that is nobody's may be a candidate of somebody.
    """
    stored = _stored_id(asked, mentors, aliases, program)
    if stored is not None:
        return stored, "id"
    name = (clean_text(asked) or "").casefold()
    full_names = [
        *(pl.concat_str(pl.col(first, "last_name"), separator=" ") for first in _FIRST_NAMES), pl.col("full_name")
    ]  # fmt: skip
    email, phone = normalise_email(asked), normalise_phone(asked).e164
    contact_id = int(asked) if asked.strip().isdecimal() else 0
    for found_by, has in (
        ("name", pl.any_horizontal(full.str.to_lowercase() == name for full in full_names)),
        ("e-mail", pl.any_horizontal(pl.col("personal_email", "uga_email") == (email or ""))),
        ("phone", pl.col("phone") == (phone or "")),
        ("contact id", pl.col("gb_contact_id") == contact_id),
        ("candidate contact", pl.col("mn_id").is_in(matches.filter(contact_id=contact_id)["mn_id"].unique().implode())),
    ):
        found = mentors.filter(has)
        if found.height == 1:
            return found["mn_id"].item(), found_by
        if found.height > 1:
            msg = f"{found.height} mentors have the {found_by} {asked!r}: {_named(found)}. Give the id of one."
            raise MentorPipelineError(msg)
    msg = (
        f"No mentor of {program.year} has the id, full name, e-mail, phone or contact {asked!r}."
        f"{_meant(asked, mentors, program)}"
    )
    raise MentorPipelineError(msg)


def _pairs(aliases: pl.DataFrame) -> list[tuple[str, str]]:
    return list(aliases.select("old_mn_id", "mn_id").iter_rows())


def _meant(asked: str, mentors: pl.DataFrame, program: ProgramYear) -> str:
    """Mentors who may be meant by words of a name, or by how an id begins."""
    words = [word.casefold() for word in asked.split() if sum(map(str.isalnum, word)) >= _SHORTEST_WORD]
    name = pl.concat_str("first_name", "full_name", separator=" ", ignore_nulls=True).str.to_lowercase()
    alike = mentors.filter(
        pl.all_horizontal(pl.lit(bool(words)), *(name.str.contains(word, literal=True) for word in words))
    )
    begun = normalise_mn_id(asked, program.mn_id_prefix) or ""
    if alike.is_empty() and len(begun) >= _SHORTEST_ID:
        alike = mentors.filter(pl.col("mn_id").str.starts_with(begun))
    return "" if alike.is_empty() else f" Did you mean {_named(alike)}?"


def _named(mentors: pl.DataFrame) -> str:
    """The first few with id and name."""
    shown = ", ".join(
        f"{mn_id} ({name})" for mn_id, name in mentors.select("mn_id", "full_name").head(_SUGGESTED).rows()
    )
    return shown + (f" and {mentors.height - _SUGGESTED} more" if mentors.height > _SUGGESTED else "")


# -- what changed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed.

    Attributes:
        year: the program year.
        since: from when on (not including); None from the beginning.
        until: until when (including); None until now.
        by_type: how many of each type.
        rows: rows of `mn_changes` with the mentor's `full_name`, newest first.
    """

    year: int
    since: datetime | None
    until: datetime | None
    by_type: dict[str, int]
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes to tell: of one mentor, of some types, only significant ones, between two moments or runs."""

    since: str | None = None
    until: str | None = None
    mentor: str | None = None
    types: Sequence[str] = ()
    only_significant: bool = False


def changes(warehouse: Warehouse, program: ProgramYear, wanted: ChangeFilter) -> Changes:
    """What changed between two moments or runs.

    `since` and `until` are a time, or a run (its id or how it begins): after the one run ended, and until the other
    ended, so that two runs give exactly what the runs in between and the second one found.

    Raises:
        NothingSyncedError: no mentor is known yet.
        WrongUseError: no such type, or a span that ends before it begins.
        MentorPipelineError: no such run, time or mentor.
    """
    year = program.year
    with warehouse.reading() as reader:
        log = reader.read_or_empty("sync_log", columns=["id", "started_at", "finished_at"])
        mentors = reader.read_or_empty("mentors", columns=["mn_id", "first_name", "full_name"], year=year)
        aliases = reader.read_or_empty("mentor_aliases", year=year)
        rows = reader.read_or_empty("mn_changes", year=year)
    if rows.is_empty() and mentors.is_empty():
        msg = f"Nothing has been synced yet for {year}, so nothing has changed. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    refuse_unknown("change", wanted.types, {*CHANGE_TYPES, *rows["change_type"]})
    since = moment(wanted.since, log) if wanted.since else None
    until = moment(wanted.until, log) if wanted.until else None
    if since and until and since > until:
        msg = f"--since ({since:%Y-%m-%d %H:%M} UTC) is later than --until ({until:%Y-%m-%d %H:%M} UTC). Swap them."
        raise WrongUseError(msg)
    if since:
        rows = rows.filter(pl.col("detected_at") > since)
    if until:
        rows = rows.filter(pl.col("detected_at") <= until)
    if wanted.mentor:
        mn_id = present_id(wanted.mentor, mentors, aliases, program)
        ids = {mn_id, *(old for old, new in _pairs(aliases) if new == mn_id)}
        rows = rows.filter(pl.col("mn_id").is_in(ids))
    if wanted.types:
        rows = rows.filter(pl.col("change_type").is_in(list(wanted.types)))
    if wanted.only_significant:
        rows = rows.filter("is_significant")
    named = rows.join(mentors.select("mn_id", "full_name"), on="mn_id", how="left")
    by_type = _counted(rows["change_type"])
    newest_first = named.sort("detected_at", "mn_id", "field_name", descending=[True, False, False], nulls_last=True)
    return Changes(year, since, until, by_type, newest_first.to_dicts())


def refuse_unknown(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse types that there are not; an empty list would be taken for good news."""
    unknown = [kind for kind in given if kind not in known]
    if unknown:
        there = ", ".join(sorted(known)) or "none yet"
        msg = f"No {what} is of type {', '.join(unknown)}. Known types: {there}."
        raise WrongUseError(msg)


def moment(text: str, log: pl.DataFrame) -> datetime:
    """A time in UTC, as the tables show it, or the end of a run."""
    named = log.filter(pl.col("id").str.starts_with(text)) if len(text) >= _SHORTEST_RUN else log.clear()
    if named.height == 1:
        run = named.row(0, named=True)
        end: datetime = run["finished_at"] or run["started_at"]
        return end
    if named.height > 1:
        msg = f"{named.height} runs begin with {text!r}. Give more of the id."
        raise MentorPipelineError(msg)
    try:
        told = datetime.fromisoformat(text)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = (
            f"{text!r} is neither a run in sync_log nor a time. Write a time like 2025-10-28 or 2025-10-28T14:00 "
            "(UTC, as `changes` shows it), or how a run id begins."
        )
        raise MentorPipelineError(msg) from error


# -- what Givebutter will say -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preflight:
    """What Givebutter will say to an import file.

    Attributes:
        file: its name.
        rows: its rows.
        refused: how many of them it would refuse.
        wrong: how many more it would take, but wrongly: onto somebody else's contact, or two rows as one.
        contacts: how many contacts are known, against which they were judged.
        contacts_known_at: as of when.
        unknown_columns: columns that could not be judged.
        mapped_columns: labels that Givebutter does not know, and the column to choose for each in its mapping step.
        findings: one for each fault, as `domain.preflight` gives them, refusals first.
    """

    file: str
    rows: int
    refused: int
    wrong: int
    contacts: int
    contacts_known_at: datetime | None
    unknown_columns: tuple[str, ...]
    mapped_columns: dict[str, str]
    findings: list[dict[str, Any]]


def preflight(warehouse: Warehouse, program: ProgramYear, path: Path) -> Preflight:
    """Judge an import file as Givebutter will (R10).

    Raises:
        FileRejectedError: it cannot be read, or is no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}. Nothing was judged."
        raise FileRejectedError(msg) from error
    with warehouse.reading() as reader:
        contacts = reader.read_or_empty("raw_gb_full_contacts", columns=CONTACT_COLUMNS)
        mentors = reader.read_or_empty("mentors", columns=["mn_id", "gb_contact_id"], year=program.year)
        errors = reader.read_or_empty("sync_errors", year=program.year)
        known_at = knowledge_at(reader.read_or_empty("source_reads"))
    found = preflight_file(
        data, path.name, contacts, mentors, program, taken_external_ids=taken_external_ids(errors, contacts)
    )
    order = pl.col("verdict").replace_strict({"refused": 0, "wrong": 1}, default=2)
    rows_of = {
        verdict: set(found.findings.filter(pl.col("verdict") == verdict)["row"]) for verdict in ("refused", "wrong")
    }
    return Preflight(
        file=path.name,
        rows=found.row_count,
        refused=len(rows_of["refused"]),
        wrong=len(rows_of["wrong"] - rows_of["refused"]),
        contacts=contacts.height,
        contacts_known_at=known_at,
        unknown_columns=found.unknown_columns,
        mapped_columns=found.mapped_columns,
        findings=found.findings.sort(order, "row", maintain_order=True).to_dicts(),
    )


# -- what is undecided ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Conflicts of a year: how many of each type, and each with its options, the most severe first."""

    year: int
    status: str | None
    by_type: dict[str, int]
    rows: list[dict[str, Any]]
    conflict_type: str | None = None


def conflicts(
    warehouse: Warehouse, program: ProgramYear, *, conflict_type: str | None = None, with_status: str | None = "pending"
) -> Conflicts:
    """Conflicts of one type, or all; of one status, or all.

    Raises:
        NothingSyncedError: no mentor is known yet.
        WrongUseError: no such type.
    """
    rows, names = _stored_conflicts(warehouse, program)
    refuse_unknown("conflict", [conflict_type] if conflict_type else [], {*CONFLICT_TYPES, *rows["conflict_type"]})
    if conflict_type:
        rows = rows.filter(pl.col("conflict_type") == conflict_type)
    if with_status:
        rows = rows.filter(pl.col("status") == with_status)
    severity = pl.col("severity").replace_strict({"high": 0, "medium": 1, "low": 2}, default=3)
    ordered = rows.join(names, on="mn_id", how="left").sort(severity, "conflict_type", "mn_id", "id")
    by_type = _counted(rows["conflict_type"])
    return Conflicts(program.year, with_status, by_type, [_conflict(row) for row in ordered.to_dicts()], conflict_type)


def conflict(warehouse: Warehouse, program: ProgramYear, conflict_id: str) -> dict[str, Any]:
    """One conflict with all that a person needs to decide it; its id, or how that begins.

    Raises:
        NothingSyncedError: no mentor is known yet.
        MentorPipelineError: none or several begin so, or it is too short; one that is a mentor's id names theirs.
    """
    rows, names = _stored_conflicts(warehouse, program)
    begins = conflict_id.strip().removeprefix("conflict-")
    found = rows.filter(pl.col("id").str.starts_with(f"conflict-{begins}")).join(names, on="mn_id", how="left")
    is_long_enough = len(begins) >= SHORTEST_CONFLICT_ID
    if found.height == 1 and is_long_enough:
        return _conflict(found.row(0, named=True))
    what = "No conflict has" if found.is_empty() else f"{found.height} conflicts begin with"
    said = (
        f"{what} the id {conflict_id!r}."
        if is_long_enough
        else f"{conflict_id!r} is too short for a conflict's id: {SHORTEST_CONFLICT_ID} characters of it at least."
    )
    mn_id = normalise_mn_id(conflict_id, program.mn_id_prefix)
    theirs = rows.filter(pl.col("status") == "pending", comparable_mn_ids("mn_id") == comparable_mn_id(mn_id or ""))
    if theirs.height:
        said += f" Mentor {theirs['mn_id'][0]} has {', '.join(theirs['id'].sort())}."
    msg = f"{said} `mentor-pipeline conflicts list --status all` shows them all."
    raise MentorPipelineError(msg)


def _stored_conflicts(warehouse: Warehouse, program: ProgramYear) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The year's conflicts, and the mentors' names."""
    with warehouse.reading() as reader:
        names = reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year)
        rows = reader.read_or_empty("sync_conflicts", year=program.year)
    if names.is_empty() and rows.is_empty():
        msg = f"Nothing has been synced yet for {program.year}. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    return rows, names


# -- what is wrong ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problems:
    """Open errors and warnings of a year: how many of each type, and each with the mentor's name, errors first."""

    year: int
    by_type: dict[str, int]
    rows: list[dict[str, Any]]
    problem_type: str | None = None


def problems(
    warehouse: Warehouse,
    program: ProgramYear,
    *,
    problem_type: str | None = None,
    severity: str | None = None,
    mentor: str | None = None,
) -> Problems:
    """What is wrong and was not acknowledged: of one type, of one severity, of one mentor, or all.

    Args:
        warehouse: where the tables are.
        program: the year.
        problem_type: only this type.
        severity: `error` for sync_errors, `warning` for sync_warnings (with what is only for information).
        mentor: only of this mentor, by any spelling of the id.

    Raises:
        NothingSyncedError: no mentor is known yet.
        WrongUseError: no such type or severity.
        MentorPipelineError: no such mentor.
    """
    if severity is not None and severity not in SEVERITIES:
        msg = f"No problem has the severity {severity}. There are: {', '.join(SEVERITIES)}."
        raise WrongUseError(msg)
    with warehouse.reading() as reader:
        mentors = reader.read_or_empty("mentors", columns=["mn_id", "first_name", "full_name"], year=program.year)
        aliases = reader.read_or_empty("mentor_aliases", year=program.year)
        tables = [reader.read_or_empty(table, year=program.year) for table in ("sync_errors", "sync_warnings")]
    if mentors.is_empty():
        msg = f"Nothing has been synced yet for {program.year}. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    known = {*PROBLEM_TYPES, *pl.concat(tables)["type"]}
    refuse_unknown("error or warning", [problem_type] if problem_type else [], known)
    chosen = [table for name, table in zip(SEVERITIES, tables, strict=True) if severity in {None, name}]
    rows = pl.concat(chosen).filter(~pl.col("resolved"))
    if problem_type:
        rows = rows.filter(pl.col("type") == problem_type)
    if mentor is not None:
        rows = rows.filter(pl.col("mn_id") == present_id(mentor, mentors, aliases, program))
    order = pl.col("severity").replace_strict({"error": 0, "warning": 1}, default=2)
    ordered = rows.join(mentors.select("mn_id", "full_name"), on="mn_id", how="left").sort(
        order, "type", "mn_id", "id", nulls_last=True
    )
    listed = [_decoded(row, "context") for row in ordered.to_dicts()]
    return Problems(program.year, _counted(rows["type"]), listed, problem_type)


def _conflict(row: Mapping[str, Any]) -> dict[str, Any]:
    return _decoded(row, "option_a", "option_b", "context")


def _decoded(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    """A row with its JSON columns read."""
    return {**row, **{name: orjson.loads(row[name]) if row[name] else None for name in columns}}
