"""Makes up a whole year from a seed: mentors with their sign-ups, forms, pages and contacts, and everybody else.

The world is an ordinary one: most mentors have one contact with their external id, many have duplicates of the three
kinds, some return, some are new, and a few of everything that goes wrong are there too. What is true about each
mentor is written down in `World.truth`. Equal seeds make equal worlds, relative to the world's time. The contacts of
each class of mentor are in `cases`, everybody else in `background`, names and phones in `people`.
"""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from mentor_pipeline.simulator.background import Background
from mentor_pipeline.simulator.cases import OUTCOMES, WITH_PAGE, Cases, Mentor
from mentor_pipeline.simulator.forms import CLASSES, SESSIONS, SHIRT_SIZES, phone_answer, shifts
from mentor_pipeline.simulator.people import People
from mentor_pipeline.simulator.records import MentorClass, MentorTruth
from mentor_pipeline.simulator.world import CSV_COLUMNS, FIRST_CONTACT_ID, World, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mentor_pipeline.settings import ProgramYear

_PER_MILLE: Final[Mapping[MentorClass, int]] = {
    MentorClass.NICKNAME_PAGE: 80,
    MentorClass.LAST_YEAR: 80,
    MentorClass.MASS_MAIL: 90,
    MentorClass.THREE_KINDS: 40,
    MentorClass.RETURNING_OLD_ID: 40,
    MentorClass.RETURNING_NO_ID: 40,
    MentorClass.RETURNING_SPELLED: 20,
    MentorClass.RETURNING_PAGE: 60,
    MentorClass.RETURNING_MASS_MAIL: 40,
    MentorClass.FRESHER: 25,
    MentorClass.FULLER: 25,
    MentorClass.SIBLINGS: 40,
    MentorClass.SHARED_CONTACT: 20,
    MentorClass.CLOSE_CALL: 20,
    MentorClass.TWO_EXTERNAL_IDS: 20,
    MentorClass.EXTERNAL_ID_ON_STRANGER: 20,
    MentorClass.EXTERNAL_ID_LEFT_OVER: 20,
    MentorClass.PHONE_MISMATCH: 20,
    MentorClass.EMAIL_MISMATCH: 20,
    MentorClass.NEW: 60,
    MentorClass.MASS_MAIL_ONLY: 20,
    MentorClass.NEAR_MISS: 20,
    MentorClass.NEAR_PHONE: 20,
    MentorClass.OTHER_DOMAIN: 20,
    MentorClass.NAMESAKE: 20,
    MentorClass.NO_MENTOR_ID: 20,
}
"""Share of each class; the others are LINKED. Contact conflicts stay under a tenth of those with several contacts."""

_FAMILIES: Final = frozenset({MentorClass.SIBLINGS, MentorClass.SHARED_CONTACT})
"""Classes that come in pairs on one phone."""

_CHANGED_LAST_IN_GIVEBUTTER: Final = frozenset({MentorClass.PHONE_MISMATCH, MentorClass.EMAIL_MISMATCH})
"""Classes whose contact must be newer than the sign-up: a newer sign-up would settle the difference (R6)."""

_FLAWS_PER_MILLE: Final = {
    "parent_phone": 30,
    "duplicate_signup": 12,
    "dropped": 12,
    "bad_phone": 8,
    "odd_phone": 8,
    "bad_email": 6,
    "generic_phone": 2,
}
"""Share of the flaws; they are given to LINKED mentors, one each, so that classes stay what they are."""

_BAD_PHONES: Final = ("n/a", "12345", "ask my roommate", "706555")
_ODD_PHONES: Final = ("{} (cell)", "{} ext. 5", "{0}.0", "{} or 706-555-0199")
_ARCHIVED_SHARE: Final = 0.004
_WITHDRAWN_PER_MILLE: Final = 3
_SEASON_DAYS: Final = 75


def generate_world(
    program: ProgramYear,
    *,
    seed: int = 1,
    mentors: int = 1000,
    contacts: int = 49_000,
    columns: int = CSV_COLUMNS,
    clock: Callable[[], datetime] = utc_now,
) -> World:
    """Make up a world.

    Args:
        program: the year file: forms, tags, campaign, custom fields and prefix follow it.
        seed: equal seeds make equal worlds, relative to the clock.
        mentors: how many mentors.
        contacts: how many contacts are not archived (at least as many as the mentors need).
        columns: columns of the CSV export, foreign custom fields included.
        clock: tells the world's time.

    Returns:
        The world, with `truth` for every mentor.
    """
    return _Generator(World.empty(program, columns=columns, clock=clock), seed).run(mentors, contacts)


class _Generator:
    """One making of a world, step by step in a fixed order, so that the seed decides everything."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.program = world.program
        self.rng = random.Random(seed)
        self.now = world.now()
        self.people = People(self.rng, self.program.givebutter.school_domains[0])
        self.cases = Cases(self.program, self.rng, self.people, self.now)
        self.background = Background(world, self.cases, self.people, self.rng)
        self.mentors: list[Mentor] = []

    def run(self, mentors: int, contacts: int) -> World:
        self.mentors = self._mentors(mentors)
        self._flaws()
        self._signups()
        for mentor in self.mentors:
            self.cases.make(mentor)
        self._members()
        self._setups_and_trainings()
        self._partners()
        self.background.fill(max(0, contacts - len(self.cases.contacts)))
        self.background.archived(round(contacts * _ARCHIVED_SHARE))
        self._number_contacts()
        self.world.truth = {mentor.submission_id: _truth(mentor) for mentor in self.mentors}
        self.world.revision += 1
        return self.world

    # People

    def _mentors(self, count: int) -> list[Mentor]:
        groups = [[class_] * (2 if class_ in _FAMILIES else 1) for class_ in self._classes(count)]
        self.rng.shuffle(groups)
        classes = [class_ for group in groups for class_ in group]
        times = sorted(self.cases.days_ago(1, _SEASON_DAYS) for _ in classes)
        options = shifts(self.program)
        mentors: list[Mentor] = []
        for class_, signup_at in zip(classes, times, strict=True):
            older = mentors[-1] if mentors else None
            sibling = older if class_ in _FAMILIES and older and older.class_ == class_ and not older.sibling else None
            mentor = self._mentor(class_, signup_at, sibling)
            mentor.shift = self.rng.choice(options) if self.rng.random() < 0.7 else None
            mentor.shirt_size = self.rng.choice(SHIRT_SIZES)
            mentors.append(mentor)
        return mentors

    def _classes(self, count: int) -> list[MentorClass]:
        """One entry for every mentor, and one for every pair of siblings."""
        classes: list[MentorClass] = []
        mentors = 0
        for class_, share in _PER_MILLE.items():
            size = 2 if class_ in _FAMILIES else 1
            groups = round(share * count / 1000 / size)
            classes += [class_] * groups
            mentors += groups * size
        return classes + [MentorClass.LINKED] * (count - mentors)

    def _mentor(self, class_: MentorClass, signup_at: datetime, sibling: Mentor | None) -> Mentor:
        if sibling is None:
            person = self.people.student(with_nickname=class_ in WITH_PAGE)
        else:
            person = self.people.student(sibling=sibling.person)
            person.phone = sibling.person.phone
            if class_ is MentorClass.SHARED_CONTACT:
                person.email = sibling.person.email
        preferred = person.nickname if self.rng.random() < 0.4 else None
        return Mentor(person, class_, signup_at, preferred=preferred, sibling=sibling)

    def _flaws(self) -> None:
        linked = [mentor for mentor in self.mentors if mentor.class_ is MentorClass.LINKED]
        self.rng.shuffle(linked)
        office_phone = self.people.phone()
        for flaw, share in _FLAWS_PER_MILLE.items():
            for _ in range(min(round(share * len(self.mentors) / 1000), len(linked))):
                mentor = linked.pop()
                mentor.flaws.append(flaw)
                if flaw == "generic_phone":
                    mentor.person.phone = office_phone
        self.background.office(office_phone)

    # Sign-ups

    def _signups(self) -> None:
        """Hand in all sign-ups in the order of time; Jotform counts the mentor ids up as they come."""
        entries: list[tuple[datetime, int, Mentor, str]] = []
        for number, mentor in enumerate(self.mentors):
            entries.append((mentor.signup_at, number, mentor, "final"))
            if "duplicate_signup" in mentor.flaws:
                earlier = mentor.signup_at - timedelta(hours=self.rng.randint(1, 60))
                entries.append((earlier, number, mentor, "earlier"))
        for number in range(round(_WITHDRAWN_PER_MILLE * len(self.mentors) / 1000)):
            at = self.cases.days_ago(1, _SEASON_DAYS)
            mentor = Mentor(self.people.student(), MentorClass.NEW, at)
            entries.append((at, len(self.mentors) + number, mentor, "withdrawn"))
        entries.sort(key=lambda entry: entry[:2])
        for number, (at, _, mentor, kind) in enumerate(entries, start=1):
            mn_id = f"{number:04d}"
            if kind == "final":
                mentor.mn_id = None if mentor.class_ is MentorClass.NO_MENTOR_ID else mn_id
                mentor.submission_id = self._signup(mentor, at, mentor.mn_id)
            else:
                self._signup(mentor, at, mn_id, status="DELETED" if kind == "withdrawn" else "ACTIVE")

    def _signup(self, mentor: Mentor, at: datetime, mn_id: str | None, status: str = "ACTIVE") -> str:
        rng, person = self.rng, mentor.person
        name = {"first": person.first, "middle": person.middle, "last": person.last}
        if rng.random() < 0.02:
            name["last"] = f"{person.last} "
        email = person.email.upper() if rng.random() < 0.03 else person.email
        answers: dict[str, object] = {
            "mn_id": f"MN{mn_id}" if mn_id else None,
            "name": {part: value for part, value in name.items() if value},
            "prefix": mentor.preferred,
            "phone": self._signup_phone(mentor),
            "personal_email": email.replace("@", " at ") if "bad_email" in mentor.flaws else email,
            "uga_email": person.school_email,
            "gender": person.gender,
            "shirt_size": mentor.shirt_size,
            "uga_class": rng.choice(CLASSES),
            "shift_preference": mentor.shift,
        }
        form = self.world.forms["signup"]
        known = {field: answer for field, answer in answers.items() if field in form.qids}
        submission_id = self.world.submit("signup", created_at=at, status=status, **known, **self._extra_answers())
        if rng.random() < 0.1 and status == "ACTIVE":
            edited_at = self.cases.since(at)
            if mentor.class_ not in _CHANGED_LAST_IN_GIVEBUTTER:
                self.world.edit_submission(submission_id, updated_at=edited_at)
        return submission_id

    def _signup_phone(self, mentor: Mentor) -> object:
        if "bad_phone" in mentor.flaws:
            return self.rng.choice(_BAD_PHONES)
        if "odd_phone" in mentor.flaws:
            return self.rng.choice(_ODD_PHONES).format(mentor.person.phone[2:])
        return phone_answer(mentor.person.phone, self.rng.randrange(6))

    def _extra_answers(self) -> dict[str, object]:
        """Answers to questions that nobody maps, in the remaining wire shapes."""
        answers: dict[str, object] = {}
        for qid, question in self.world.forms["signup"].questions.items():
            if question.type == "control_checkbox" and self.rng.random() < 0.4:
                chosen = self.rng.choice(question.options)
                answers[f"q{qid}"] = [chosen] if self.rng.random() < 0.7 else {"0": chosen, "other": "a poster"}
            elif question.type == "control_datetime" and self.rng.random() < 0.3:
                answers[f"q{qid}"] = {"month": "9", "day": str(self.rng.randint(1, 28)), "year": str(self.program.year)}
            elif question.type == "control_address" and self.rng.random() < 0.2:
                home = self.people.address()
                answers[f"q{qid}"] = {
                    "addr_line1": home.line_1,
                    "addr_line2": home.line_2 or "",
                    "city": home.city,
                    "state": home.state,
                    "postal": home.postal_code,
                    "country": "United States",
                }
        return answers

    # Campaign members

    def _members(self) -> None:
        """Pages of about 60 %; who shares a mailbox with a sibling has none, for nobody could tell whose it is."""
        goal = self.program.fundraising_goal
        for mentor in self.mentors:
            has_page = mentor.class_ in WITH_PAGE or self.rng.random() < 0.53
            if has_page and mentor.class_ is not MentorClass.SHARED_CONTACT:
                mentor.member_id = self._member(mentor)
        for _ in range(max(1, round(len(self.mentors) * 0.003))):
            friend = self.people.elder()
            self.world.add_member(
                first_name=friend.first,
                last_name=friend.last,
                email=friend.email,
                created_at=self.cases.days_ago(1, 40),
            )
        for member in self.world.members.values():
            member.goal = goal

    def _member(self, mentor: Mentor) -> int:
        rng, person = self.rng, mentor.person
        first = person.nickname if mentor.class_ in WITH_PAGE and person.nickname else person.first
        reach = 1.0 if mentor.class_ in WITH_PAGE or "bad_email" in mentor.flaws else rng.random()
        known_by_name_only = reach < 0.015 and mentor.class_ is MentorClass.LINKED
        with_phone = mentor.class_ not in _FAMILIES and "generic_phone" not in mentor.flaws
        if known_by_name_only:
            email, phone = None, None
        elif reach < 0.15 and with_phone:
            email, phone = None, person.phone
        else:
            email, phone = person.email, person.phone if with_phone and reach > 0.3 else None
        raised = self._raised()
        created_at = self.cases.since(mentor.signup_at)
        return self.world.add_member(
            first_name=first,
            last_name=person.last,
            email=email,
            phone=phone,
            raised=raised,
            donors=int(raised // 20) + (raised > 0),
            created_at=created_at,
            updated_at=self.cases.since(created_at),
        )

    def _raised(self) -> Decimal:
        goal = self.program.fundraising_goal
        kind = self.rng.random()
        if kind < 0.2:
            return Decimal(0)
        if kind < 0.6:
            return (goal * self.rng.randint(5, 95) / 100).quantize(Decimal("0.01"))
        return (goal * self.rng.randint(100, 350) / 100).quantize(Decimal("0.01"))

    # Setup, training and partner forms

    def _setups_and_trainings(self) -> None:
        for mentor in self.mentors:
            if mentor.member_id is not None or self.rng.random() < 0.4:
                self._hand_in("setup", mentor)
            if self.rng.random() < 0.55:
                self._hand_in("training", mentor, uga_class=self.rng.choice(CLASSES), session=self.rng.choice(SESSIONS))
        for _ in range(max(1, round(len(self.mentors) * 0.002))):
            visitor = self.people.elder()
            self.world.submit("setup", created_at=self.cases.days_ago(1, 30), phone=visitor.phone, email=visitor.email)

    def _partners(self) -> None:
        """Wishes by phone: mostly both ways, some one way; only phones that stand for one mentor are named."""
        if "partner" not in self.world.forms:
            return
        clear = [
            m for m in self.mentors if m.class_ not in _FAMILIES and not {"bad_phone", "generic_phone"} & set(m.flaws)
        ]
        self.rng.shuffle(clear)
        options = shifts(self.program)
        for number, (one, other) in enumerate(pairwise(clear[: int(len(clear) * 0.45)])):
            if number % 2 == 0:
                shift = self.rng.choice(options)
                self._wish(one, other, shift)
                if self.rng.random() < 0.75:
                    self._wish(other, one, shift if self.rng.random() < 0.85 else self.rng.choice(options))

    def _wish(self, mentor: Mentor, partner: Mentor, shift: str) -> None:
        self._hand_in(
            "partner",
            mentor,
            partner_phone=phone_answer(partner.person.phone, self.rng.randrange(6)),
            shift_preference=shift,
            partner_notes="We are roommates" if self.rng.random() < 0.1 else None,
        )

    def _hand_in(self, form: Literal["setup", "training", "partner"], mentor: Mentor, **answers: object) -> None:
        """One of the later forms, with the id as people type it and what else the form asks."""
        person = mentor.person
        answers = {
            "mn_id": self._typed_id(mentor),
            "name": person.full_name,
            "phone": phone_answer(person.phone, self.rng.randrange(6)),
            "email": person.school_email if self.rng.random() < 0.2 else person.email,
            **answers,
        }
        known = {field: answer for field, answer in answers.items() if field in self.world.forms[form].qids}
        self.world.submit(form, created_at=self.cases.since(mentor.signup_at), status="ACTIVE", **known)

    def _typed_id(self, mentor: Mentor) -> str | None:
        """The mentor id as typed: in several spellings, sometimes left out, rarely someone else's."""
        if mentor.mn_id is None:
            return None
        kind = self.rng.random()
        on_one_phone = mentor.class_ in _FAMILIES or "generic_phone" in mentor.flaws
        if not on_one_phone and kind < 0.08:
            return None
        if not on_one_phone and kind < 0.085 and not mentor.flaws:
            return self.rng.choice(self.mentors).mn_id
        return self.rng.choice(("MN{}", "MN{}", "{}", "mn {}", "#{}", "MN-{}")).format(mentor.mn_id)

    # Ids

    def _number_contacts(self) -> None:
        """Give ids in the order in which the contacts were created, with gaps, as Givebutter's are."""
        made = self.cases.contacts
        made.sort(key=lambda contact: contact.created_at)
        contact_id = FIRST_CONTACT_ID
        for contact in made:
            contact_id += self.rng.randint(1, 3)
            contact.id = contact_id
        self.world.adopt(made)


def _truth(mentor: Mentor) -> MentorTruth:
    conflict, hold = OUTCOMES.get(mentor.class_, (None, None))
    return MentorTruth(
        submission_id=mentor.submission_id,
        mn_id=mentor.mn_id,
        class_=mentor.class_,
        contact_id=mentor.contact.id if mentor.contact else None,
        archivable=[contact.id for contact in mentor.archivable],
        review=[contact.id for contact in mentor.review],
        conflict=conflict,
        hold=hold,
        flaws=mentor.flaws,
        member_id=mentor.member_id,
    )
