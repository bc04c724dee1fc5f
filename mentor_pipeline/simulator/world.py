"""The made-up world: what Jotform and Givebutter hold, and everything that may happen to it.

A `World` is state with a clock and a lock. Whoever changes it (a test, the HTTP APIs, an import file) goes through
its methods, which keep the invariants of the real services: `updated_at` moves with every edit, archived contacts
leave the lists, deleted submissions stay as tombstones. Wire shapes are in the `*_api` modules, file formats in
`csv_export` and `csv_import`, the invention of people in `generate`, the file on disk in `state`.
"""

from __future__ import annotations

import threading
from bisect import insort
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from mentor_pipeline.errors import MentorPipelineError
from mentor_pipeline.settings import ProgramYear
from mentor_pipeline.simulator import csv_export, csv_import, state
from mentor_pipeline.simulator.forms import build_forms, shape_answer
from mentor_pipeline.simulator.records import (
    Behaviour,
    Campaign,
    Contact,
    CustomFieldDefinition,
    CustomFieldType,
    FormName,
    Member,
    MentorTruth,
    Submission,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from mentor_pipeline.simulator.csv_import import ImportResult
    from mentor_pipeline.simulator.forms import Form

FIRST_CONTACT_ID: Final = 31_000_001
FIRST_MEMBER_ID: Final = 8_000_001
FIRST_SUBMISSION_ID: Final = 6_100_000_000_000_000_001
CSV_COLUMNS: Final = 64
_FIRST_FIELD_ID: Final = 5_001
_CORE_COLUMNS: Final = 45

_FOREIGN_FIELDS: Final[tuple[tuple[str, CustomFieldType, tuple[str, ...]], ...]] = (
    ("🎂 Birthday Month", "text", ()),
    ("🧢 Volunteer Role", "select", ("Greeter", "Runner", "Photographer")),
    ("🚗 Needs Parking", "checkbox", ()),
    ("🥗 Dietary Needs", "text", ()),
    ("📅 Last Event Attended", "date", ()),
    ("🏫 High School", "text", ()),
    ("🎤 How They Heard", "select", ("Friend", "Class", "Social media")),
    ("💬 Donor Story", "longtext", ()),
    ("🤝 Matching Gift", "checkbox", ()),
    ("🔢 Years Involved", "number", ()),
    ("📣 Ambassador", "checkbox", ()),
    ("Legacy Id", "text", ()),
)


def utc_now() -> datetime:
    """The real time."""
    return datetime.now(UTC)


class WorldError(MentorPipelineError):
    """What was asked of the simulated world is not possible; nothing was changed."""


class World:
    """Jotform and Givebutter as they stand, for one program year.

    Attributes:
        program: the year file that forms, tags, campaign and custom fields follow.
        clock: tells the time; replace it to set the world's time.
        lock: held by every method here; hold it yourself to read several things at one moment.
        behaviour: switches for what the vendors' documents leave unknown.
        contacts: every contact by id, archived ones too. Read it; change contacts by the methods.
        members: campaign members by id.
        submissions: Jotform's submissions by id, deleted ones too.
        campaigns: Givebutter's campaigns in list order; `campaign` is the year's.
        custom_fields: definitions of Givebutter's custom fields by label, in column order.
        truth: what is true about each generated mentor, by the id of the sign-up that counts.
        revision: grows with every change.
    """

    def __init__(
        self, program: ProgramYear, *, columns: int = CSV_COLUMNS, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """An empty world: forms, campaigns and custom fields, nobody in it.

        Args:
            program: the year file to follow.
            columns: columns of the CSV export; foreign custom fields are defined until it has as many.
            clock: tells the world's time.
        """
        self.program = program
        self.clock = clock
        self.lock = threading.RLock()
        self.behaviour = Behaviour()
        self.revision = 0
        self.forms: dict[FormName, Form] = build_forms(program)
        self.contacts: dict[int, Contact] = {}
        self.members: dict[int, Member] = {}
        self.submissions: dict[str, Submission] = {}
        self.custom_fields: dict[str, CustomFieldDefinition] = {}
        self.truth: dict[str, MentorTruth] = {}
        self.imports_count = 0
        self._active_ids: list[int] | None = None
        self._last_contact_id = FIRST_CONTACT_ID - 1
        self._last_member_id = FIRST_MEMBER_ID - 1
        self._last_submission_id = FIRST_SUBMISSION_ID - 1
        self.campaigns: list[Campaign] = _campaigns(program, self.now())
        self.campaign = self.configured_campaign()
        for label, spec in program.custom_fields.items():
            self.add_custom_field(label, spec.type, spec.options)
        for number in range(columns - _CORE_COLUMNS - len(program.custom_fields)):
            label, kind, options = (
                _FOREIGN_FIELDS[number] if number < len(_FOREIGN_FIELDS) else (f"Field {number + 1}", "text", ())
            )
            self.add_custom_field(label, kind, options)

    @classmethod
    def empty(
        cls, program: ProgramYear, *, columns: int = CSV_COLUMNS, clock: Callable[[], datetime] = utc_now
    ) -> World:
        """A world with forms, campaigns and custom fields, and nobody in it."""
        return cls(program, columns=columns, clock=clock)

    @classmethod
    def load(cls, path: Path) -> World:
        """The world that `save` wrote, with the year file it was made with.

        Raises:
            WorldError: the file is no saved world of this version.
        """
        with state.collector_paused():
            try:
                saved = state.read(path)
            except state.StateError as error:
                raise WorldError(str(error)) from error
            world = cls(ProgramYear.model_validate(saved["program"]))
            state.fill(world, saved)
        world.campaign = world.configured_campaign()
        return world

    def save(self, path: Path) -> None:
        """Write the whole world to a file (gzipped JSON), in one step."""
        state.write(state.dump(self), path)

    def now(self) -> datetime:
        """The world's time, UTC, in whole seconds as both services keep it."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def configured_campaign(self) -> Campaign:
        """The year's campaign, found as the year file names it: by id, code or slug."""
        wanted = self.program.givebutter.campaign
        return next(c for c in self.campaigns if wanted in {c.code, c.slug, str(c.id)})

    @property
    def last_ids(self) -> tuple[int, int, int]:
        """The highest contact, member and submission ids given so far; ids are never given twice."""
        return self._last_contact_id, self._last_member_id, self._last_submission_id

    @last_ids.setter
    def last_ids(self, ids: Sequence[int]) -> None:
        self._last_contact_id, self._last_member_id, self._last_submission_id = ids

    # Jotform

    def submit(
        self, form: FormName, *, created_at: datetime | None = None, status: str = "ACTIVE", **answers: object
    ) -> str:
        """Hand in a form.

        Args:
            form: `signup`, `setup`, `training` or `partner`.
            created_at: when; now by default.
            status: `ACTIVE`, `OVERQUOTA` or `DELETED`.
            **answers: by the year file's field names; text is put into the question's wire shape, dicts and lists
                are sent as they are, None leaves the question unanswered. Another question is named by its qid
                (`q13=…`).

        Returns:
            The submission id.

        Raises:
            WorldError: the year has no such form, or the form no such field.
        """
        with self.lock:
            self._last_submission_id += 1
            submission = Submission(str(self._last_submission_id), form, created_at or self.now(), {}, status=status)
            self._answer(submission, answers)
            self.submissions[submission.id] = submission
            self.revision += 1
            return submission.id

    def edit_submission(
        self, submission_id: str, *, status: str | None = None, updated_at: datetime | None = None, **answers: object
    ) -> None:
        """Change answers (None takes one away) or the status of a submission; the first edit sets `updated_at`."""
        with self.lock:
            submission = self.submission(submission_id)
            self._answer(submission, answers)
            submission.status = status or submission.status
            submission.updated_at = updated_at or self.now()
            self.revision += 1

    def delete_submission(self, submission_id: str) -> None:
        """Delete a submission: Jotform goes on listing it, with status DELETED."""
        self.edit_submission(submission_id, status="DELETED")

    def submission(self, submission_id: str) -> Submission:
        """One submission.

        Raises:
            WorldError: there is none with this id.
        """
        try:
            return self.submissions[submission_id]
        except KeyError:
            msg = f"There is no submission {submission_id} in the simulated Jotform. Nothing was changed."
            raise WorldError(msg) from None

    def _answer(self, submission: Submission, answers: dict[str, object]) -> None:
        try:
            form = self.forms[submission.form]
        except KeyError:
            msg = f"Year {self.program.year} has no form {submission.form!r}; it has {sorted(self.forms)}."
            raise WorldError(msg) from None
        known = {**form.qids, **{f"q{qid}": qid for qid in form.questions}}
        unknown = sorted(answers.keys() - known.keys())
        if unknown:
            msg = f"Form {form.name} has no field {unknown}; it has {list(form.qids)}. Nothing was changed."
            raise WorldError(msg)
        for name, value in answers.items():
            qid = known[name]
            if value is None:
                submission.answers.pop(qid, None)
            else:
                submission.answers[qid] = shape_answer(form.questions[qid], value)

    # Contacts of Givebutter

    def contact(self, contact_id: int) -> Contact:
        """One contact, archived or not.

        Raises:
            WorldError: there is none with this id, or it was deleted.
        """
        try:
            return self.contacts[contact_id]
        except KeyError:
            msg = f"There is no contact {contact_id} in the simulated Givebutter. Nothing was changed."
            raise WorldError(msg) from None

    def active_ids(self) -> Sequence[int]:
        """Ids of the contacts that are not archived, ascending. Hold `lock` while using it."""
        if self._active_ids is None:
            self._active_ids = sorted(c.id for c in self.contacts.values() if c.archived_at is None)
        return self._active_ids

    def external_id_holder(self, external_id: str, *, besides: int | None = None) -> Contact | None:
        """The contact, archived or not, that carries exactly this external id."""
        with self.lock:
            return next((c for c in self.contacts.values() if c.external_id == external_id and c.id != besides), None)

    def add_contact(self, **values: Any) -> int:
        """Create a contact; what is not given is empty, and it is created and modified now.

        Args:
            **values: fields of `Contact`; an `id` of one's own is possible while it is free.

        Raises:
            WorldError: an unknown field, an id in use, or a custom field that is not defined.
        """
        with self.lock:
            now = self.now()
            contact_id = int(values.pop("id", self._last_contact_id + 1))
            if contact_id in self.contacts:
                msg = f"Contact id {contact_id} is in use in the simulated Givebutter. Nothing was changed."
                raise WorldError(msg)
            _check_fields(Contact, values)
            self._check_custom_fields(values.get("custom_fields", {}))
            values.setdefault("created_at", values.get("updated_at", now))
            values.setdefault("updated_at", values["created_at"])
            contact = Contact(id=contact_id, **values)
            self.contacts[contact_id] = contact
            self._last_contact_id = max(self._last_contact_id, contact_id)
            if contact.archived_at is None and self._active_ids is not None:
                insort(self._active_ids, contact_id)
            self.revision += 1
            return contact_id

    def adopt(self, contacts: Iterable[Contact]) -> None:
        """Put many new contacts in at once, with the ids they have."""
        with self.lock:
            self.contacts.update((contact.id, contact) for contact in contacts)
            self._last_contact_id = max(self.contacts, default=self._last_contact_id)
            self._active_ids = None
            self.revision += 1

    def edit_contact(self, contact_id: int, **values: Any) -> None:
        """Change fields of a contact; `updated_at` becomes now unless it is given.

        Args:
            contact_id: which one.
            **values: fields of `Contact`. `custom_fields` are laid over those it has; None takes one away.

        Raises:
            WorldError: no such contact, field or custom field.
        """
        with self.lock:
            contact = self.contact(contact_id)
            _check_fields(Contact, values)
            if "id" in values or "archived_at" in values:
                raise WorldError("A contact's id never changes; archive and restore it by their own methods.")
            custom: dict[str, str | None] = values.pop("custom_fields", {})
            self._check_custom_fields(custom)
            for label, value in custom.items():
                if value is None:
                    contact.custom_fields.pop(label, None)
                else:
                    contact.custom_fields[label] = value
            values.setdefault("updated_at", self.now())
            for name, value in values.items():
                setattr(contact, name, value)
            self.revision += 1

    def add_tags(self, contact_id: int, tags: Iterable[str]) -> None:
        """Add tags to a contact; nothing moves when it has them all."""
        with self.lock:
            have = self.contact(contact_id).tags
            new = [tag for tag in dict.fromkeys(tags) if tag not in have]
            if new:
                self.edit_contact(contact_id, tags=[*have, *new])

    def remove_tags(self, contact_id: int, tags: Collection[str]) -> None:
        """Take tags off a contact; nothing moves when it has none of them."""
        with self.lock:
            have = self.contact(contact_id).tags
            kept = [tag for tag in have if tag not in tags]
            if kept != have:
                self.edit_contact(contact_id, tags=kept)

    def archive_contact(self, contact_id: int) -> None:
        """Archive a contact: it leaves every list and export, and goes on holding its external id."""
        self._set_archived(contact_id, archived=True)

    def restore_contact(self, contact_id: int) -> None:
        """Bring an archived contact back."""
        self._set_archived(contact_id, archived=False)

    def _set_archived(self, contact_id: int, *, archived: bool) -> None:
        with self.lock:
            contact = self.contact(contact_id)
            if (contact.archived_at is not None) == archived:
                return
            contact.updated_at = self.now()
            contact.archived_at = contact.updated_at if archived else None
            self._active_ids = None
            self.revision += 1

    def delete_contact(self, contact_id: int) -> None:
        """Delete a contact for good: its id answers 404 from then on."""
        with self.lock:
            self.contact(contact_id)
            del self.contacts[contact_id]
            self._active_ids = None
            self.revision += 1

    def merge_contacts(self, keep: int, gone: int) -> None:
        """Merge two contacts as Givebutter's pages do: `keep` takes what it lacks from `gone`, which is deleted."""
        with self.lock:
            kept, lost = self.contact(keep), self.contact(gone)
            if kept is lost:
                raise WorldError("A contact cannot be merged with itself. Nothing was changed.")
            united = {
                name: list(dict.fromkeys([*getattr(kept, name), *getattr(lost, name)]))
                for name in ("emails", "phones", "tags")
            }
            filled = {
                name: getattr(lost, name)
                for name in (
                    "external_id",
                    "prefix",
                    "first_name",
                    "preferred_name",
                    "middle_name",
                    "last_name",
                    "addresses",
                )
                if not getattr(kept, name)
            }
            self.delete_contact(gone)
            self.edit_contact(
                keep,
                **united,
                **filled,
                custom_fields={**lost.custom_fields, **kept.custom_fields},
                total_contributions=kept.total_contributions + lost.total_contributions,
                recurring_contributions=kept.recurring_contributions + lost.recurring_contributions,
            )

    def add_custom_field(self, label: str, kind: CustomFieldType, options: Iterable[str] = ()) -> None:
        """Define a custom field; it becomes the last column of the export."""
        with self.lock:
            field_id = _FIRST_FIELD_ID + len(self.custom_fields)
            self.custom_fields[label] = CustomFieldDefinition(field_id, label, kind, tuple(options))
            self.revision += 1

    def _check_custom_fields(self, values: Iterable[str]) -> None:
        unknown = [label for label in values if label not in self.custom_fields]
        if unknown:
            msg = f"The simulated Givebutter has no custom field {unknown}. Nothing was changed."
            raise WorldError(msg)

    # Members of Givebutter campaigns

    def member(self, member_id: int) -> Member:
        """One campaign member.

        Raises:
            WorldError: there is none with this id.
        """
        try:
            return self.members[member_id]
        except KeyError:
            msg = f"There is no campaign member {member_id} in the simulated Givebutter. Nothing was changed."
            raise WorldError(msg) from None

    def add_member(self, **values: Any) -> int:
        """Add a member to the year's campaign (or to another, by `campaign_id`)."""
        with self.lock:
            _check_fields(Member, values)
            now = self.now()
            member_id = int(values.pop("id", self._last_member_id + 1))
            values.setdefault("campaign_id", self.campaign.id)
            values.setdefault("created_at", now)
            values.setdefault("updated_at", values["created_at"])
            values.setdefault("goal", self.program.fundraising_goal)
            values.setdefault("url", f"https://give.example.org/{self.campaign.slug}/{member_id}")
            self.members[member_id] = Member(id=member_id, **values)
            self._last_member_id = max(self._last_member_id, member_id)
            self.revision += 1
            return member_id

    def edit_member(self, member_id: int, **values: Any) -> None:
        """Change fields of a campaign member; `updated_at` becomes now unless it is given."""
        with self.lock:
            member = self.member(member_id)
            _check_fields(Member, values)
            values.setdefault("updated_at", self.now())
            for name, value in values.items():
                setattr(member, name, value)
            self.revision += 1

    def remove_member(self, member_id: int) -> None:
        """Take a member out of its campaign."""
        with self.lock:
            self.member(member_id)
            del self.members[member_id]
            self.revision += 1

    # Files of Givebutter

    def export_csv(
        self,
        path: Path,
        *,
        columns: Literal["2026", "2025"] = "2026",
        bom: bool = False,
        contact_ids: Collection[int] | None = None,
    ) -> Path:
        """Write the contacts export; see `csv_export`.

        Args:
            path: the file, or a folder, where it gets a name as Givebutter gives.
            columns: layout of 2026 (45 core columns) or of 2025 (39).
            bom: start with a byte order mark.
            contact_ids: only these contacts, as a filtered export has.

        Returns:
            The file that was written.
        """
        with self.lock:
            target = path / csv_export.file_name(self) if path.is_dir() else path
            target.write_text(
                csv_export.contacts_csv(self, columns=columns, contact_ids=contact_ids),
                encoding="utf-8-sig" if bom else "utf-8",
                newline="",
            )
            return target

    def import_csv(self, source: Path | str) -> ImportResult:
        """Apply a contacts import file (a path, or the file's text); see `csv_import`."""
        text = source if isinstance(source, str) else source.read_text(encoding="utf-8-sig")
        with self.lock:
            return csv_import.apply(self, text.removeprefix("\ufeff"))

    def mentor(self, mn_id: str) -> MentorTruth:
        """The truth about a generated mentor.

        Raises:
            WorldError: no generated mentor has this id.
        """
        for truth in self.truth.values():
            if truth.mn_id == mn_id:
                return truth
        msg = f"No generated mentor has the id {mn_id}."
        raise WorldError(msg)


def _check_fields(record: type[Contact | Member], values: Iterable[str]) -> None:
    unknown = sorted(set(values) - {spec.name for spec in fields(record)})
    if unknown:
        msg = f"A {record.__name__.lower()} has no field {', '.join(unknown)}. Nothing was changed."
        raise WorldError(msg)


def _campaigns(program: ProgramYear, now: datetime) -> list[Campaign]:
    """The organisation's campaigns, enough for two pages; the configured one is on the second."""
    wanted = program.givebutter.campaign
    others = [
        Campaign(
            id=400_100 + number,
            code=f"{chr(65 + number)}B{number:02d}QZ",
            slug=f"past-campaign-{number}",
            title=f"Past campaign {number}",
            goal=5_000,
            created_at=now.replace(month=1, day=1, hour=12, minute=0, second=0),
        )
        for number in range(24)
    ]
    is_code = len(wanted) == 6 and wanted.isalnum() and not wanted.isdigit()
    year = Campaign(
        id=int(wanted) if wanted.isdigit() else 400_200,
        code=wanted if is_code else "ZX9K4M",
        slug=wanted if not is_code and not wanted.isdigit() else f"mentors-{program.year}",
        title=f"{program.givebutter.mentor_tag} campaign",
        goal=75_000,
        created_at=now.replace(month=1, day=1, hour=12, minute=0, second=0),
    )
    return [*others[:21], year, *others[21:]]
