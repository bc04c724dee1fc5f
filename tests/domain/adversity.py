"""What can go wrong in an organisation's data, class by class, done to a made-up world at random.

The generated world has the cases of `simulator.cases` already; here people mistype, contacts are shared, archived,
merged and unsubscribed, ids stand on strangers, and cells hold what no cell should hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from mentor_pipeline.simulator import Contact, MentorTruth, World

SHIRT, SHIFT, SIGNED_UP = "👕 Shirt Size", "📆 Shift Preference", "📝 Sign Up Complete"
TEXTS: Final = (
    "=1+1", "+Max", "-Max", "@Max", "\tMax", "'=Max", "Zoë 🎉", "Zoe\u0308", "Anna\nMaria", "Anna\r\nMaria",
    'Anna "Ann"', "Anna, Maria", "x" * 300, "word " * 80, "  ", "\u200b", "אנה", "a;b", "=HYPERLINK(\"https://x.example.com\")",
    "\u00a0Max\u00a0", "Maximiliana Josephina Wilhelmina von und zu", "\x1fMax", "\ufeffMax", "=" * 260,
)  # fmt: skip
PHONES: Final = ("call me", "12", "", "1-800-FLOWERS", "0", "706-555-014", "+99 12", "7065550142 or 7065550143")
EMAILS: Final = (
    "no address",
    "a@b",
    "@",
    "",
    "maya@",
    "two@example.com three@example.com",
    "x@y.test",
    "=1@example.com",
)


class Trouble:
    """Does one thing of each class to some mentors and contacts of a world."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.did: list[str] = []
        self._archive_later: list[int] = []

    def at_the_beginning(self) -> None:
        """What is wrong before anybody looks."""
        self._some(self._CLASSES, 3)
        for name in ("import_replaces_tags", "import_blank_clears", "import_sets_primary", "archived_is_forbidden"):
            setattr(self.world.behaviour, name, self.rng.random() < 0.5)

    def meanwhile(self) -> None:
        """What happens between two syncs."""
        self._some((*self._EVENTS, *self._CLASSES), 1)

    def _some(self, classes: tuple[Callable[[Trouble], None], ...], most: int) -> None:
        for one in classes:
            for _ in range(self.rng.randint(0, most)):
                one(self)
                self.did.append(one.__name__)

    # -- whom it happens to

    def _mentor(self) -> MentorTruth:
        return self.rng.choice(list(self.world.truth.values()))

    def _named(self) -> MentorTruth:
        return self.rng.choice([truth for truth in self.world.truth.values() if truth.mn_id])

    def _contact(self) -> Contact:
        return self.world.contacts[self.rng.choice(list(self.world.active_ids()))]

    def _own(self) -> Contact | None:
        truth = self._mentor()
        return self.world.contacts.get(truth.contact_id) if truth.contact_id else None

    def _answers(self, truth: MentorTruth) -> dict[str, Any]:
        submission = self.world.submission(truth.submission_id)
        qids = self.world.forms["signup"].qids
        return {name: submission.answers.get(qid) for name, qid in qids.items()}

    def _write(self, truth: MentorTruth, **answers: Any) -> None:
        self.world.edit_submission(truth.submission_id, **answers)

    def _names(self, truth: MentorTruth) -> tuple[str, str]:
        name = self._answers(truth)["name"] or {}
        return str(name.get("first") or ""), str(name.get("last") or "")

    # -- sign-ups

    def odd_name(self) -> None:
        part, text = self.rng.choice(("first", "middle", "last")), self.rng.choice(TEXTS)
        truth = self._mentor()
        self._write(truth, name={**(self._answers(truth)["name"] or {}), part: text})

    def odd_preferred_name(self) -> None:
        self._write(self._mentor(), prefix=self.rng.choice(TEXTS))

    def odd_text(self) -> None:
        field = self.rng.choice(("shirt_size", "shift_preference", "uga_class", "gender"))
        self._write(self._mentor(), **{field: self.rng.choice((*TEXTS, "Option 9", "option 1", "Option 1 "))})

    def odd_phone(self) -> None:
        self._write(self._mentor(), phone=self.rng.choice(PHONES))

    def odd_email(self) -> None:
        self._write(self._mentor(), **{self.rng.choice(("personal_email", "uga_email")): self.rng.choice(EMAILS)})

    def nothing_given(self) -> None:
        self._write(self._mentor(), phone=None, personal_email=None, uga_email=None)

    def another_mentors_phone(self) -> None:
        self._write(self._mentor(), phone=self._answers(self._mentor())["phone"])

    def another_mentors_email(self) -> None:
        self._write(self._mentor(), personal_email=self._answers(self._mentor())["personal_email"])

    def another_mentors_id(self) -> None:
        self._write(self._mentor(), mn_id=f"MN{self._named().mn_id}")

    def namesakes_on_one_list(self) -> None:
        """Two mentors of one name, without anything in common but a contact that holds the addresses of both."""
        one, other = self._mentor(), self._mentor()
        first, last = self._names(one)
        self._write(other, name={"first": first, "last": last})
        addresses = [str(self._answers(truth)["uga_email"] or "") for truth in (one, other)]
        self.world.add_contact(first_name=first, last_name=last, emails=[a for a in addresses if a], tags=["List"])

    # -- contacts

    def id_on_a_stranger(self) -> None:
        self._give_id(self._contact())

    def id_on_an_archived_stranger(self) -> None:
        """Archived later: nobody can know of one that was archived before it ever was seen."""
        stranger = self._contact()
        self._give_id(stranger)
        self._archive_later.append(stranger.id)

    def _give_id(self, contact: Contact) -> None:
        spelling = self.rng.choice(("{}", "{}", "MN{}", "0{}", "#{}"))
        self.world.edit_contact(contact.id, external_id=spelling.format(self._named().mn_id))

    def somebody_elses_phone(self) -> None:
        self.world.edit_contact(self._contact().id, phones=list(self._contact().phones))

    def somebody_elses_email(self) -> None:
        self.world.edit_contact(self._contact().id, emails=list(self._contact().emails))

    def a_copy(self) -> None:
        """The same person twice in Givebutter, with or without an id."""
        if (own := self._own()) is not None:
            self.world.add_contact(
                first_name=own.first_name,
                last_name=own.last_name,
                emails=list(own.emails),
                phones=self.rng.choice(([], list(own.phones))),
            )

    def lists_twice(self) -> None:
        """Two mailing lists hold a mentor's school address: neither may ever win, and a new row merges into one."""
        truth = self._mentor()
        first, last = self._names(truth)
        address = str(self._answers(truth)["uga_email"] or "a@uga.edu")
        for number in range(2):
            self.world.add_contact(
                first_name=first, last_name=last, emails=[address], tags=[f"List {number}"],
                email_subscribed=self.rng.random() < 0.5, website_url=f"https://list{number}.example.com",
            )  # fmt: skip

    def unsubscribed(self) -> None:
        contact = self._own() or self._contact()
        kind = self.rng.choice(("email_subscribed", "phone_subscribed", "address_subscribed"))
        self.world.edit_contact(contact.id, **{kind: False})

    def odd_contact_text(self) -> None:
        contact = self._own() or self._contact()
        field = self.rng.choice(("prefix", "preferred_name", "first_name", "middle_name", "last_name", "website_url"))
        self.world.edit_contact(contact.id, **{field: self.rng.choice((*TEXTS, None)), "note": "=1\nCalled."})

    def odd_custom_fields(self) -> None:
        """Values from before an option was renamed, or a field's kind changed."""
        values = {SHIRT: self.rng.choice(TEXTS), SHIFT: "Option 9", SIGNED_UP: "maybe"}
        label = self.rng.choice(list(values))
        self.world.edit_contact((self._own() or self._contact()).id, custom_fields={label: values[label]})

    def odd_tags(self) -> None:
        contact = self._own() or self._contact()
        self.world.add_tags(contact.id, [self.rng.choice(("x" * 70, "=tag", "Athens, GA", " tag ", "🎉", "-", "'"))])

    def odd_reach(self) -> None:
        contact = self._own() or self._contact()
        self.world.edit_contact(
            contact.id,
            emails=[*contact.emails, self.rng.choice(EMAILS[:-1])],
            phones=[*contact.phones, self.rng.choice(PHONES)],
        )

    # -- what happens later

    def archived(self) -> None:
        if (own := self._own()) is not None:
            self.world.archive_contact(own.id)

    def archived_holders(self) -> None:
        for contact_id in self._archive_later:
            if contact_id in self.world.contacts:
                self.world.archive_contact(contact_id)

    def restored(self) -> None:
        gone = [contact.id for contact in self.world.contacts.values() if contact.archived_at is not None]
        if gone:
            self.world.restore_contact(self.rng.choice(gone))

    def deleted(self) -> None:
        if (own := self._own()) is not None:
            self.world.delete_contact(own.id)

    def merged(self) -> None:
        one, other = self._own() or self._contact(), self._contact()
        if one.id != other.id and one.archived_at is None:
            self.world.merge_contacts(*self.rng.sample((one.id, other.id), 2))

    def withdrawn(self) -> None:
        self.world.delete_submission(self._mentor().submission_id)

    _EVENTS = (archived, archived_holders, restored, deleted, merged, withdrawn)
    _CLASSES = (
        odd_name, odd_preferred_name, odd_text, odd_phone, odd_email, nothing_given, another_mentors_phone,
        another_mentors_email, another_mentors_id, namesakes_on_one_list, id_on_a_stranger, id_on_an_archived_stranger,
        somebody_elses_phone, somebody_elses_email, a_copy, lists_twice, unsubscribed, odd_contact_text,
        odd_custom_fields, odd_tags, odd_reach,
    )  # fmt: skip
