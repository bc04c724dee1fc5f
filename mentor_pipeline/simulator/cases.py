"""The contacts of every class of mentor: one short recipe each, so that the rules have a known outcome.

Ages and tags are chosen with the scores of R4.3 in mind: what is meant to be clear leads by more than 100 points (or
by freshness or completeness as R4.4 has it), what is meant to be a close call stays far below. Sign-ups, members and
forms of the same people are made in `generate`, everybody else in `background`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from mentor_pipeline.simulator.records import Contact, MentorClass

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear
    from mentor_pipeline.simulator.people import People, Person


@dataclass(slots=True)
class Mentor:
    """One mentor while the world is being made; contacts have no ids yet."""

    person: Person
    class_: MentorClass
    signup_at: datetime
    mn_id: str | None = None
    preferred: str | None = None
    shift: str | None = None
    shirt_size: str = "M"
    submission_id: str = ""
    flaws: list[str] = field(default_factory=list)
    sibling: Mentor | None = None
    contact: Contact | None = None
    archivable: list[Contact] = field(default_factory=list)
    review: list[Contact] = field(default_factory=list)
    member_id: int | None = None


OUTCOMES: Final[Mapping[MentorClass, tuple[str | None, str | None]]] = {
    MentorClass.CLOSE_CALL: ("contact_selection", "contact_conflict"),
    MentorClass.TWO_EXTERNAL_IDS: ("external_id_collision", "contact_conflict"),
    MentorClass.EXTERNAL_ID_ON_STRANGER: ("external_id_collision", "contact_conflict"),
    MentorClass.EXTERNAL_ID_LEFT_OVER: ("external_id_collision", "contact_conflict"),
    MentorClass.SHARED_CONTACT: ("contact_selection", "shared_contact"),
    MentorClass.PHONE_MISMATCH: ("phone_mismatch", None),
    MentorClass.EMAIL_MISMATCH: ("email_mismatch", None),
    MentorClass.NO_MENTOR_ID: (None, "placeholder_mn_id"),
}
"""Class -> the conflict it must raise and why its export row is held; nothing for the others."""

WITH_PAGE: Final = frozenset({MentorClass.NICKNAME_PAGE, MentorClass.THREE_KINDS, MentorClass.RETURNING_PAGE})
"""Classes with a contact that a campaign page created: these mentors are members."""

_OWN_CONTACT_SHARE: Final = 0.2
"""How many mentors whose id is on a stranger have a contact of their own besides."""
_DONATED_SHARE: Final = 0.12
"""How many duplicates have donated: they are not archivable (R5)."""


class Cases:
    """Makes the contacts of mentors; what it made is in `contacts`, in no particular order."""

    def __init__(self, program: ProgramYear, rng: random.Random, people: People, now: datetime) -> None:
        self.contacts: list[Contact] = []
        self._program = program
        self._rng = rng
        self._people = people
        self._now = now
        self._old_ids = 0
        self._mentor_tag = program.givebutter.mentor_tag
        self._page_tag = f"{program.givebutter.campaign_tags[-1]} page"
        self._recipes: Mapping[MentorClass, Callable[[Mentor], None]] = {
            MentorClass.LINKED: self._linked,
            MentorClass.NICKNAME_PAGE: self._nickname_page,
            MentorClass.LAST_YEAR: self._last_year,
            MentorClass.MASS_MAIL: self._mass_mail,
            MentorClass.THREE_KINDS: self._three_kinds,
            MentorClass.RETURNING_OLD_ID: self._returning_old_id,
            MentorClass.RETURNING_NO_ID: self._returning_no_id,
            MentorClass.RETURNING_SPELLED: self._returning_spelled,
            MentorClass.RETURNING_PAGE: self._returning_page,
            MentorClass.RETURNING_MASS_MAIL: self._returning_mass_mail,
            MentorClass.FRESHER: self._fresher,
            MentorClass.FULLER: self._fuller,
            MentorClass.SIBLINGS: self._siblings,
            MentorClass.SHARED_CONTACT: self._shared_contact,
            MentorClass.CLOSE_CALL: self._close_call,
            MentorClass.TWO_EXTERNAL_IDS: self._two_external_ids,
            MentorClass.EXTERNAL_ID_ON_STRANGER: self._external_id_on_stranger,
            MentorClass.EXTERNAL_ID_LEFT_OVER: self._external_id_left_over,
            MentorClass.PHONE_MISMATCH: self._phone_mismatch,
            MentorClass.EMAIL_MISMATCH: self._email_mismatch,
            MentorClass.NEW: lambda _: None,
            MentorClass.MASS_MAIL_ONLY: self._mass_mail_only,
            MentorClass.NEAR_MISS: self._near_miss,
            MentorClass.NEAR_PHONE: self._near_phone,
            MentorClass.OTHER_DOMAIN: self._other_domain,
            MentorClass.NAMESAKE: self._namesake,
            MentorClass.NO_MENTOR_ID: self._no_mentor_id,
        }

    def make(self, mentor: Mentor) -> None:
        """Make the contacts of a mentor, as the class says."""
        self._recipes[mentor.class_](mentor)

    def year_tag(self, years_ago: int) -> str:
        """The mentor tag of an earlier year."""
        year = self._program.year
        if str(year) in self._mentor_tag:
            return self._mentor_tag.replace(str(year), str(year - years_ago))
        return f"Mentors {year - years_ago}"

    def old_external_id(self) -> str:
        """An external id of an earlier year, which no mentor of this year has."""
        self._old_ids += 1
        return f"{self._program.mn_id_prefix}{50_000 + self._old_ids}"

    def external_id(self, mentor: Mentor) -> str:
        """The external id that Givebutter should hold for a mentor."""
        return f"{self._program.mn_id_prefix}{mentor.mn_id}"

    def days_ago(self, low: float, high: float) -> datetime:
        """A time between so many days ago, in whole seconds."""
        return self._now - timedelta(seconds=int(self._rng.uniform(low, high) * 86_400))

    def since(self, start: datetime) -> datetime:
        """A time after `start`, up to now."""
        return start + timedelta(seconds=int((self._now - start).total_seconds() * self._rng.uniform(0.1, 0.9)))

    def add(self, person: Person, updated_at: datetime, **values: Any) -> Contact:
        """A contact of a person: name, phone and personal e-mail, unless said otherwise."""
        created_at = values.pop("created_at", updated_at - timedelta(days=self._rng.randint(0, 20)))
        defaults: dict[str, Any] = {
            "first_name": person.first,
            "last_name": person.last,
            "emails": [person.email],
            "phones": [person.phone],
            "contact_since": created_at,
        }
        contact = Contact(id=0, created_at=created_at, updated_at=updated_at, **{**defaults, **values})
        self.contacts.append(contact)
        return contact

    # This year's contact, and the three kinds of duplicates

    def _carrier(self, mentor: Mentor, **values: Any) -> Contact:
        """This year's contact of a mentor, carrying the external id and agreeing with the sign-up."""
        person = mentor.person
        preferred = mentor.preferred or person.first
        in_prefix = self._program.givebutter.preferred_name_field == "prefix"
        prefix = preferred if in_prefix else self._rng.choice(("Mr.", "Ms.", None))
        defaults: dict[str, Any] = {
            "external_id": self.external_id(mentor),
            "prefix": self._rng.choice(("Ms.", None)) if in_prefix and self._rng.random() < 0.1 else prefix,
            "preferred_name": None if in_prefix else preferred,
            "middle_name": person.middle,
            "gender": person.gender,
            "emails": [person.email, person.school_email],
            "addresses": [self._people.address()] if self._rng.random() < 0.3 else [],
            "tags": [self._mentor_tag],
            "custom_fields": self._custom_fields(mentor) if self._rng.random() < 0.6 else {},
            "phone_subscribed": self._rng.random() > 0.03,
            "created_at": mentor.signup_at + timedelta(minutes=self._rng.randint(5, 600)),
        }
        created_at = defaults["created_at"] = min(defaults["created_at"], self._now)
        contact = self.add(person, self.since(created_at), **{**defaults, **values})
        mentor.contact = contact
        return contact

    def _custom_fields(self, mentor: Mentor) -> dict[str, str]:
        """What last week's import left in the year's custom fields."""
        known = {"signup_done": "Yes", "shift_preference": mentor.shift, "shirt_size": mentor.shirt_size}
        return {
            label: value
            for label, spec in self._program.custom_fields.items()
            if (value := known.get(spec.source)) and (not spec.options or value in spec.options)
        }

    def _duplicate(self, mentor: Mentor, contact: Contact) -> None:
        """Note a duplicate: archivable, unless it has donated."""
        if self._rng.random() < _DONATED_SHARE:
            contact.total_contributions = contact.last_donation_amount = Decimal(self._rng.choice((10, 25, 50)))
            mentor.review.append(contact)
        else:
            mentor.archivable.append(contact)

    def _page_contact(self, mentor: Mentor) -> Contact:
        """What the campaign page created: under the nickname, with the page's tag."""
        person = mentor.person
        return self.add(
            person, self.since(mentor.signup_at), first_name=person.nickname or person.first, tags=[self._page_tag]
        )

    def _last_year_contact(self, mentor: Mentor, **values: Any) -> Contact:
        return self.add(mentor.person, self.days_ago(200, 340), **{"tags": [self.year_tag(1)], **values})

    def _mass_mail_contact(self, mentor: Mentor) -> Contact:
        return self.add(
            mentor.person, self.days_ago(30, 300), emails=[mentor.person.school_email], phones=[], tags=["Campus list"]
        )

    # Classes with this year's contact

    def _linked(self, mentor: Mentor) -> None:
        contact = self._carrier(mentor)
        if "dropped" in mentor.flaws:
            contact.tags.append(self._program.givebutter.dropped_tag)
        if "parent_phone" in mentor.flaws:
            parent = self._people.elder(last=mentor.person.last)
            parent.phone = mentor.person.phone
            mentor.review.append(self.add(parent, self.days_ago(20, 400), tags=["Parents"]))

    def _nickname_page(self, mentor: Mentor) -> None:
        self._carrier(mentor)
        self._duplicate(mentor, self._page_contact(mentor))

    def _last_year(self, mentor: Mentor) -> None:
        self._carrier(mentor)
        old_id = self.old_external_id() if self._rng.random() < 0.5 else None
        self._duplicate(mentor, self._last_year_contact(mentor, external_id=old_id))

    def _mass_mail(self, mentor: Mentor) -> None:
        self._carrier(mentor)
        mentor.archivable.append(self._mass_mail_contact(mentor))

    def _three_kinds(self, mentor: Mentor) -> None:
        self._nickname_page(mentor)
        self._duplicate(mentor, self._last_year_contact(mentor))
        mentor.archivable.append(self._mass_mail_contact(mentor))

    def _phone_mismatch(self, mentor: Mentor) -> None:
        self._carrier(mentor, phones=[self._people.phone()])

    def _email_mismatch(self, mentor: Mentor) -> None:
        other = f"new.{mentor.person.email}"
        self._carrier(mentor, emails=[other, mentor.person.school_email])

    def _siblings(self, mentor: Mentor) -> None:
        """Half of them carry the external id; the others are told apart by their first names alone."""
        carries = self._rng.random() < 0.5
        self._carrier(mentor, external_id=self.external_id(mentor) if carries else None)

    def _two_external_ids(self, mentor: Mentor) -> None:
        self._carrier(mentor)
        spelled = f"{self._program.mn_id_prefix}MN{mentor.mn_id}"
        mentor.review = [self._last_year_contact(mentor, external_id=spelled)]
        if mentor.contact is not None:
            mentor.review.append(mentor.contact)
        mentor.contact = None

    # Classes without it

    def _returning_old_id(self, mentor: Mentor) -> None:
        mentor.contact = self._last_year_contact(mentor, external_id=self.old_external_id())

    def _returning_no_id(self, mentor: Mentor) -> None:
        """Half of them kept the e-mail, half the phone."""
        kept: dict[str, object] = (
            {"phones": [self._people.phone()]}
            if self._rng.random() < 0.5
            else {"emails": [f"old.{mentor.person.email}"]}
        )
        mentor.contact = self._last_year_contact(mentor, **kept)

    def _returning_spelled(self, mentor: Mentor) -> None:
        """The same e-mail and another phone, or the other way round."""
        first, last = self._people.spelled(mentor.person)
        kept: dict[str, object] = (
            {"phones": [self._people.phone()]}
            if self._rng.random() < 0.5
            else {"emails": [f"old.{mentor.person.email}"]}
        )
        mentor.contact = self._last_year_contact(mentor, first_name=first, last_name=last, **kept)

    def _returning_page(self, mentor: Mentor) -> None:
        mentor.contact = self._page_contact(mentor)
        self._duplicate(mentor, self._last_year_contact(mentor, external_id=self.old_external_id()))

    def _returning_mass_mail(self, mentor: Mentor) -> None:
        mentor.contact = self._last_year_contact(mentor)
        mentor.archivable.append(self._mass_mail_contact(mentor))

    def _fresher(self, mentor: Mentor) -> None:
        """170 points against 120, and at least 110 days fresher."""
        mentor.contact = self.add(mentor.person, self.days_ago(3, 20), tags=["Newsletter"])
        older = self.add(
            mentor.person,
            self.days_ago(130, 300),
            emails=[mentor.person.email, mentor.person.school_email],
            addresses=[self._people.address()],
            tags=[self.year_tag(1)],
        )
        self._duplicate(mentor, older)

    def _fuller(self, mentor: Mentor) -> None:
        """70 points ahead, and 60 percentage points more complete."""
        modified = self.days_ago(10, 12)
        mentor.contact = self.add(
            mentor.person,
            modified,
            emails=[mentor.person.email, mentor.person.school_email],
            addresses=[self._people.address()],
            tags=[self._mentor_tag],
        )
        self._duplicate(mentor, self.add(mentor.person, modified, emails=[], tags=[self._mentor_tag]))

    def _close_call(self, mentor: Mentor) -> None:
        """A few days' freshness, at times an address: at most 20 points apart, 20 percentage points of completeness."""
        modified = self.days_ago(8, 15)
        later = modified + timedelta(days=self._rng.randint(2, 6))
        addresses = [self._people.address()] if self._rng.random() < 0.5 else []
        mentor.review = [
            self.add(mentor.person, modified, tags=[self._mentor_tag], addresses=addresses),
            self.add(mentor.person, later, tags=[self._mentor_tag]),
        ]

    def _shared_contact(self, mentor: Mentor) -> None:
        """One contact for the family: no first name, so it contradicts neither sibling."""
        if mentor.sibling is not None:
            mentor.review = mentor.sibling.review
        else:
            mentor.review = [self.add(mentor.person, self.days_ago(5, 60), first_name=None, tags=[self._mentor_tag])]

    def _external_id_on_stranger(self, mentor: Mentor) -> None:
        self._stranger(mentor, self._mentor_tag)

    def _external_id_left_over(self, mentor: Mentor) -> None:
        self._stranger(mentor, self.year_tag(1))

    def _stranger(self, mentor: Mentor, tag: str) -> None:
        stranger = self._people.elder()
        while stranger.last == mentor.person.last:
            stranger = self._people.elder()
        carrier = self.add(stranger, self.days_ago(20, 200), external_id=self.external_id(mentor), tags=[tag])
        mentor.review = [carrier]
        if self._rng.random() < _OWN_CONTACT_SHARE:
            self._carrier(mentor, external_id=None)

    def _mass_mail_only(self, mentor: Mentor) -> None:
        mentor.review = [self._mass_mail_contact(mentor)]

    def _near_miss(self, mentor: Mentor) -> None:
        """The same name, an e-mail with two letters swapped, and a phone of old."""
        address = mentor.person.email
        mistyped = address[1] + address[0] + address[2:] if address[0] != address[1] else address.replace(".", "", 1)
        mentor.review = [self._last_year_contact(mentor, emails=[mistyped], phones=[self._people.phone()])]

    def _near_phone(self, mentor: Mentor) -> None:
        person = mentor.person
        phones = [self._people.mistyped(person.phone)]
        emails = [f"{person.school_email.partition('.')[0]}.{self._rng.randint(100, 999)}@example.com"]
        mentor.review = [
            self._last_year_contact(mentor, first_name=person.nickname or person.first, emails=emails, phones=phones)
        ]

    def _other_domain(self, mentor: Mentor) -> None:
        """Half of them still carry the external id of their year."""
        old_id = self.old_external_id() if self._rng.random() < 0.5 else None
        emails = [self._people.at_another_domain(mentor.person.email)]
        mentor.review = [
            self._last_year_contact(mentor, external_id=old_id, emails=emails, phones=[self._people.phone()])
        ]

    def _namesake(self, mentor: Mentor) -> None:
        stranger = self._people.elder(last=mentor.person.last)
        self.add(
            mentor.person, self.days_ago(30, 900), emails=[stranger.email], phones=[stranger.phone], tags=["Donor"]
        )

    def _no_mentor_id(self, mentor: Mentor) -> None:
        self._carrier(mentor, external_id=None)
