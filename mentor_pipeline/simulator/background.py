"""Everybody in Givebutter who is no mentor of this year: donors, past mentors, campus mailing lists.

Most are plain; some share a household's phone, some are duplicates of each other, one office phone stands on many
contacts (a generic identifier, R4.2), some are archived. None of them shares a phone or an e-mail with a mentor.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from mentor_pipeline.simulator.cases import Cases
    from mentor_pipeline.simulator.people import People
    from mentor_pipeline.simulator.records import Contact
    from mentor_pipeline.simulator.world import World

_NOTES: Final = (
    "Met at the spring dinner.\nWrites checks.",
    'Prefers to be called after 5 pm; "no mail, please".',
    "Employer matches gifts, up to $500",
    "Übersetzung: danke schön 🎉",
)
_DONATIONS: Final = (5, 10, 20, 25, 50, 75, 100, 250)
_MONTHS: Final = ("January", "March", "May", "July", "September", "November")
_HOLDS_OFFICE_PHONE: Final = 6


class Background:
    """Fills the world up; contacts are added to those of `cases`."""

    def __init__(self, world: World, cases: Cases, people: People, rng: random.Random) -> None:
        self._world = world
        self._cases = cases
        self._people = people
        self._rng = rng

    def office(self, phone: str) -> None:
        """An office whose phone stands on the contacts of six people."""
        for _ in range(_HOLDS_OFFICE_PHONE):
            person = self._people.elder()
            person.phone = phone
            self._cases.add(
                person, self._cases.days_ago(100, 900), company="Example Community Office", tags=["Sponsors"]
            )

    def fill(self, count: int) -> None:
        """Add so many contacts."""
        target = len(self._cases.contacts) + count
        while len(self._cases.contacts) < target:
            kind = self._rng.random()
            if kind < 0.55:
                self._donor()
            elif kind < 0.84:
                self._mass_mail()
            elif kind < 0.985 or target - len(self._cases.contacts) < 2:
                self._past_mentor()
            elif kind < 0.993:
                self._couple()
            else:
                self._twice()

    def archived(self, count: int) -> None:
        """Add contacts that were archived long ago."""
        for _ in range(count):
            contact = self._donor()
            contact.archived_at = contact.updated_at

    def _donor(self) -> Contact:
        rng = self._rng
        person = self._people.elder()
        amount = rng.choice(_DONATIONS)
        contact = self._cases.add(
            person,
            self._cases.days_ago(1, 1200),
            emails=[person.email] if rng.random() < 0.93 else [],
            phones=[person.phone] if rng.random() < 0.5 else [],
            addresses=[self._people.address()] if rng.random() < 0.5 else [],
            tags=["Donor"] if rng.random() < 0.7 else [],
            total_contributions=Decimal(amount * rng.randint(1, 6)),
            last_donation_amount=Decimal(amount),
        )
        extra = rng.random()
        if extra < 0.03:
            contact.recurring_contributions = Decimal(amount)
        elif extra < 0.08:
            contact.note = rng.choice(_NOTES)
        elif extra < 0.15:
            self._know_more(contact)
        elif extra < 0.18:
            contact.email_subscribed = False
        elif extra < 0.2:
            contact.emails = [email.title() for email in contact.emails]
        return contact

    def _know_more(self, contact: Contact) -> None:
        """A few facts in the organisation's own custom fields."""
        for label, spec in self._world.custom_fields.items():
            if label not in self._world.program.custom_fields and self._rng.random() < 0.3:
                match spec.type:
                    case "checkbox":
                        contact.custom_fields[label] = self._rng.choice(("Yes", "No"))
                    case "select":
                        contact.custom_fields[label] = self._rng.choice(spec.options)
                    case "date":
                        contact.custom_fields[label] = f"{self._rng.randint(1, 12)}/{self._rng.randint(1, 28)}/2023"
                    case "number":
                        contact.custom_fields[label] = str(self._rng.randint(1, 9))
                    case _:
                        contact.custom_fields[label] = self._rng.choice(_MONTHS)

    def _mass_mail(self) -> None:
        person = self._people.elder()
        self._cases.add(
            person, self._cases.days_ago(30, 900), emails=[person.school_email], phones=[], tags=["Campus list"]
        )

    def _past_mentor(self) -> None:
        person = self._people.elder()
        years_ago = 1 if self._rng.random() < 0.7 else 2
        self._cases.add(
            person,
            self._cases.days_ago(180 + 365 * (years_ago - 1), 340 + 365 * (years_ago - 1)),
            external_id=self._cases.old_external_id() if self._rng.random() < 0.6 else None,
            emails=[person.email, person.school_email] if self._rng.random() < 0.5 else [person.email],
            tags=[self._cases.year_tag(years_ago)],
        )

    def _couple(self) -> None:
        """Two donors of one household on one phone."""
        one = self._people.elder()
        other = self._people.elder(last=one.last)
        other.phone = one.phone
        household = self._rng.randint(100_000, 999_999)
        for number, person in enumerate((one, other)):
            self._cases.add(
                person,
                self._cases.days_ago(10, 900),
                household_id=household,
                household=f"{one.last} household",
                household_primary=number == 0,
                tags=["Donor"],
            )

    def _twice(self) -> None:
        """One donor with two contacts."""
        person = self._people.elder()
        modified = self._cases.days_ago(10, 900)
        self._cases.add(person, modified, tags=["Donor"])
        self._cases.add(person, modified - timedelta(days=60), phones=[], tags=["Newsletter"])
