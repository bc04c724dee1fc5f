"""Rounds of random edits on both sides, against the simulated Givebutter with its real import rules (R6, R8, R10).

In each round people edit the forms, Givebutter's pages and the records here; then a sync, an import file that is
imported, and a sync. What must stand is foretold by a small model of R6, kept beside the edits. The seed is in the
test's name.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl
import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import APPEND_ONLY, done, installed
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mentor_pipeline.simulator.records import Contact
    from tests.acceptance.installation import Installation

PROGRAM: Final = program()
COUNT: Final = 12
IS_IMPORTED: Final = 0.75
"""How often the file of a round is imported; one that nobody imported loses nothing."""
DROPPED: Final = PROGRAM.givebutter.dropped_tag
SHIFT: Final = str(PROGRAM.custom_field_from("shift_preference"))
SHIRT: Final = str(PROGRAM.custom_field_from("shirt_size"))
SHIFTS: Final = tuple(PROGRAM.custom_fields[SHIFT].options)
ASKED: Final = ("phone", "personal_email", "uga_email")
OURS_ALONE: Final = ("last_name", "shirt_size")
FIELDS: Final = (*ASKED, *OURS_ALONE, "preferred_name", "shift_preference")
BY_PEOPLE: Final = ("phone", "personal_email", "preferred_name", "shift_preference", "shirt_size")
UNTRACKED: Final = {"year", "mn_id", "created_at", "updated_at", "gb_match_method"}
FIRST_NAMES: Final = ("Ada", "Ben", "Cora", "Dan", "Elsa", "Finn", "Greta", "Hugo", "Iris", "Jon", "Kira", "Liam")
NEW, BARE, WITHOUT_ID = "0001", "0002", "0003"
"""A mentor without a contact; one whose contact has nothing but the id and a name; one found by e-mail alone."""
WITH_PARTNER_FORM: Final = ("0004", "0005")
ASKED_AT_ONCE: Final = (("0006", "phone"), ("0007", "personal_email"))
"""Fields that differ at first sight, the contact being the newer one."""
OURS_AT_ONCE: Final = (("0008", "phone"), ("0009", "uga_email"), ("0010", "preferred_name"))
THEIRS_AT_ONCE: Final = (("0011", "shift_preference"),)
Spot = tuple[str, str]
"""One field of one mentor: mn_id and field."""


@dataclass
class Model:
    """What must stand, by R6.

    Attributes:
        form: what the forms say.
        stands: what the record must say.
        by_person: where a person's word stands.
        open: where a conflict must be pending.
        at_once: where the pending conflict is one of first sight, so that neither side moved yet.
        unsent: where the form moved and Givebutter does not hold it yet.
        waiting: where the next import has something to bring, for that or for what a person said.
        notes: the notes that a person gave each mentor, as they stand.
        said: every line that a person ever gave.
        lines: every line that must be in Givebutter's note once.
        unsubscribed: what a contact was unsubscribed of, by mn_id.
        tags: tags that people gave a contact, by mn_id.
        raised: amounts by mn_id.
        trained: who was checked in.
    """

    form: dict[Spot, str] = field(default_factory=dict)
    stands: dict[Spot, str] = field(default_factory=dict)
    by_person: set[Spot] = field(default_factory=set)
    open: set[Spot] = field(default_factory=set)
    at_once: set[Spot] = field(default_factory=set)
    unsent: set[Spot] = field(default_factory=set)
    waiting: set[Spot] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    said: set[Spot] = field(default_factory=set)
    lines: set[Spot] = field(default_factory=set)
    unsubscribed: set[Spot] = field(default_factory=set)
    tags: dict[str, set[str]] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)

    def edited(self, spot: Spot, *, form: str | None, theirs: str | None) -> None:
        """One round's edits of one field: on the form, in Givebutter, or both."""
        name, stood = spot[1], self.stands[spot]
        if form is not None:
            self.form[spot] = form
            self.unsent.add(spot)
            self.waiting.add(spot)
        ours_moved = spot in self.unsent
        if spot in self.by_person:
            if theirs is not None and name in ASKED:
                self.open.add(spot)
            return
        if spot in self.at_once and (form is None or theirs is None):
            self.open.discard(spot)
        self.at_once.discard(spot)
        if name in ASKED:
            if spot in self.open or (theirs is not None and (ours_moved or name == "phone")):
                self.open.add(spot)
                theirs = None
            self.stands[spot] = theirs or form or stood
        elif name in OURS_ALONE:
            self.stands[spot] = form or stood
        elif name == "shift_preference" and spot[0] in WITH_PARTNER_FORM:
            self.stands[spot] = form or (stood if ours_moved else theirs) or stood
        else:
            self.stands[spot] = theirs or form or stood
        if self.stands[spot] == theirs:
            self.unsent.discard(spot)

    def set_by_person(self, spot: Spot, value: str) -> None:
        self.stands[spot] = value
        self.by_person.add(spot)
        self.waiting.add(spot)
        self.open.discard(spot)
        self.at_once.discard(spot)


class Rounds:
    """An installation, its world, what was edited, and every run's effect on the records."""

    def __init__(self, there: Installation, chance: random.Random) -> None:
        self.there, self.world, self.chance = there, there.world, chance
        self.model = Model()
        self.number = 1000
        self.submissions: dict[str, str] = {}
        self.partner_forms: dict[str, str] = {}
        self.members: dict[str, int] = {}
        self.decisions = 0
        self.told: Counter[tuple[Any, ...]] = Counter()
        self.before: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []

    # -- the world -------------------------------------------------------------------------------------------------

    def people(self) -> None:
        for number in range(1, COUNT + 1):
            self.person(f"{number:04d}")

    def person(self, mn_id: str) -> None:
        first = FIRST_NAMES[int(mn_id) - 1]
        values = {name: self.fresh(name) for name in FIELDS}
        values["shift_preference"] = SHIFTS[0]
        answers = self.answers(values, mn_id=mn_id, first=first)
        signed_at = self.world.now() - timedelta(hours=1)
        self.submissions[mn_id] = self.world.submit("signup", created_at=signed_at, **answers)
        if mn_id in WITH_PARTNER_FORM:
            self.partner_forms[mn_id] = self.world.submit("partner", mn_id=mn_id, shift_preference=SHIFTS[0])
        if int(mn_id) % 2:
            self.members[mn_id] = self.world.add_member(
                first_name=first, last_name=values["last_name"], email=values["personal_email"], raised=Decimal(20)
            )
            self.model.raised[mn_id] = 20
        for name, value in values.items():
            self.model.form[mn_id, name] = self.model.stands[mn_id, name] = value
        for spot in (*ASKED_AT_ONCE, *OURS_AT_ONCE, *THEIRS_AT_ONCE):
            if spot[0] == mn_id:
                values[spot[1]] = self.fresh(spot[1], SHIFTS[0])
                if spot in ASKED_AT_ONCE:
                    self.model.open.add(spot)
                    self.model.at_once.add(spot)
                elif spot in THEIRS_AT_ONCE:
                    self.model.stands[spot] = values[spot[1]]
        is_newer = any(spot[0] == mn_id for spot in ASKED_AT_ONCE)
        held: dict[str, Any] = {
            "first_name": first, "last_name": values["last_name"], "tags": ["Mentors 2025"],
            "updated_at": signed_at + timedelta(minutes=10 if is_newer else -10),
        }  # fmt: skip
        if mn_id != BARE:
            held |= {
                "prefix": values["preferred_name"], "phones": [values["phone"]],
                "emails": [values["personal_email"], values["uga_email"]], "note": f"met {first} in spring",
                "custom_fields": {SHIFT: values["shift_preference"], SHIRT: values["shirt_size"]}, "gender": "F",
            }  # fmt: skip
            self.model.lines.add((mn_id, f"met {first} in spring"))
        if mn_id == NEW:
            self.model.lines.discard((mn_id, f"met {first} in spring"))
        else:
            self.world.add_contact(**held, **({} if mn_id == WITHOUT_ID else {"external_id": mn_id}))

    @staticmethod
    def answers(values: dict[str, str], *, mn_id: str, first: str) -> dict[str, Any]:
        """A sign-up."""
        return {
            "mn_id": f"MN{mn_id}", "name": {"first": first, "last": values["last_name"]},
            "prefix": values["preferred_name"], "phone": values["phone"], "personal_email": values["personal_email"],
            "uga_email": values["uga_email"], "shirt_size": values["shirt_size"],
            "shift_preference": values["shift_preference"],
        }  # fmt: skip

    def contact(self, mn_id: str) -> Contact:
        contact = self.world.external_id_holder(mn_id)
        assert contact is not None, mn_id
        return contact

    def fresh(self, name: str, *besides: str | None) -> str:
        """A value that nobody had before; of shifts, another than those given."""
        self.number += 1
        match name:
            case "phone":
                return f"+1706555{self.number:04d}"
            case "personal_email":
                return f"mail{self.number}@example.com"
            case "uga_email":
                return f"mail{self.number}@uga.edu"
            case "shirt_size":
                return f"Size {self.number}"
            case "shift_preference":
                return self.chance.choice([shift for shift in SHIFTS if shift not in besides])
            case _:
                word = "".join(chr(97 + int(digit)) for digit in str(self.number))
                return word.capitalize()

    def holds(self, spot: Spot) -> list[str]:
        """What the contact holds of a field."""
        contact, name = self.contact(spot[0]), spot[1]
        school = [email for email in contact.emails if email.endswith("uga.edu")]
        held: dict[str, list[str | None]] = {
            "phone": [*contact.phones],
            "personal_email": [email for email in contact.emails if email not in school],
            "uga_email": [*school],
            "last_name": [contact.last_name],
            "preferred_name": [contact.prefix],
            "shift_preference": [contact.custom_fields.get(SHIFT)],
            "shirt_size": [contact.custom_fields.get(SHIRT)],
        }
        return [value for value in held[name] if value]

    # -- edits -----------------------------------------------------------------------------------------------------

    def edit_form(self, spot: Spot, value: str) -> None:
        mn_id, name = spot
        if mn_id in self.partner_forms and name == "shift_preference":
            self.world.edit_submission(self.partner_forms[mn_id], shift_preference=value)
        elif name == "last_name":
            answer = {"first": FIRST_NAMES[int(mn_id) - 1], "last": value}
            self.world.edit_submission(self.submissions[mn_id], name=answer)
        else:
            asked = "prefix" if name == "preferred_name" else name
            answers: dict[str, Any] = {asked: value}
            self.world.edit_submission(self.submissions[mn_id], **answers)

    def edit_contact(self, spot: Spot, value: str, *, beside: bool = False) -> None:
        """Put a value into the contact in the place of what it holds of that kind, or before it."""
        mn_id, name = spot
        contact = self.contact(mn_id)
        mine = self.holds(spot)
        changes: dict[str, Any]
        match name:
            case "phone":
                changes = {"phones": [value, *(mine if beside else [])]}
            case "personal_email" | "uga_email":
                others = [email for email in contact.emails if email not in mine]
                new = [value, *(mine if beside else [])]
                changes = {"emails": [*new, *others] if name == "personal_email" else [*others, *new]}
            case "shift_preference":
                changes = {"custom_fields": {SHIFT: value}}
            case "shirt_size":
                changes = {"custom_fields": {SHIRT: value}}
            case "preferred_name":
                changes = {"prefix": value}
            case _:
                changes = {name: value}
        self.world.edit_contact(contact.id, **changes)

    def edit_fields(self) -> None:
        """Forms and contacts, up to four fields."""
        for _ in range(self.chance.randint(0, 4)):
            spot = (self.someone(), self.chance.choice(FIELDS))
            if spot in self.busy:
                continue
            self.busy.add(spot)
            held = self.holds(spot)
            what = self.chance.choice(["form", "theirs", "theirs", "both", "beside", "agree", "same"])
            now = (self.model.form[spot], self.model.stands[spot], *held)
            form = self.fresh(spot[1], *now) if what in {"form", "both", "same"} else None
            theirs = self.fresh(spot[1], *now, form) if what in {"theirs", "both"} else None
            self.log.append(f"{what} {spot} form={form} theirs={theirs} held={held}")
            if form is not None:
                self.edit_form(spot, form)
            if theirs is not None:
                self.edit_contact(spot, theirs)
            if what == "beside" and spot[1] in ASKED:
                self.edit_contact(spot, self.fresh(spot[1]), beside=True)
            elif what == "agree":
                self.edit_contact(spot, self.model.stands[spot])
                for where in (self.model.open, self.model.at_once, self.model.unsent):
                    where.discard(spot)
            elif what == "same" and form is not None:
                self.edit_contact(spot, form)
                self.same(spot, form)
                continue
            if form or theirs:
                self.model.edited(spot, form=form, theirs=theirs)

    def same(self, spot: Spot, value: str) -> None:
        """Both sides were edited to one value."""
        self.model.form[spot] = value
        if spot not in self.model.by_person:
            self.model.stands[spot] = value
            for where in (self.model.open, self.model.at_once, self.model.unsent):
                where.discard(spot)
        elif spot[1] in ASKED:
            self.model.open.add(spot)

    def edit_rest(self) -> None:
        """What is not merged: tags, subscriptions, notes in Givebutter, amounts."""
        for _ in range(self.chance.randint(0, 3)):
            mn_id = self.someone()
            contact = self.contact(mn_id)
            tags = self.model.tags.setdefault(mn_id, set())
            match self.chance.choice(["tag", "untag", "dropped", "unsubscribe", "note", "amount"]):
                case "tag":
                    self.number += 1
                    tags.add(f"Helper {self.number}")
                    self.world.add_tags(contact.id, [f"Helper {self.number}"])
                case "untag" if tags:
                    gone = self.chance.choice(sorted(tags))
                    tags.discard(gone)
                    self.world.remove_tags(contact.id, [gone])
                case "dropped" if DROPPED in contact.tags:
                    self.world.remove_tags(contact.id, [DROPPED])
                case "dropped":
                    self.world.add_tags(contact.id, [DROPPED])
                case "unsubscribe":
                    what = self.chance.choice(["email_subscribed", "phone_subscribed", "address_subscribed"])
                    self.world.edit_contact(contact.id, **{what: False})
                    self.model.unsubscribed.add((mn_id, what))
                case "note":
                    line = f"called on day {self.fresh('note')}"
                    self.world.edit_contact(contact.id, note="\n".join(filter(None, [contact.note, line])))
                    self.model.lines.add((mn_id, line))
                case "amount" if mn_id in self.members:
                    self.model.raised[mn_id] = self.chance.choice([0, 20, 60, 80, 120])
                    self.world.edit_member(self.members[mn_id], raised=Decimal(self.model.raised[mn_id]))

    def act_here(self) -> None:
        """What people set and decide here, in one run."""
        edits, decisions = [], []
        for _ in range(self.chance.randint(0, 3)):
            mn_id, name = self.someone(), self.chance.choice([*BY_PEOPLE, "notes", "training_done"])
            spot = (mn_id, name)
            if spot in self.busy:
                continue
            self.busy.add(spot)
            if name == "notes":
                value = f"note {self.fresh(name)}"
                self.model.said.add((mn_id, value))
                if mn_id in self.model.notes and self.chance.random() < 0.5:
                    value = f"{self.model.notes[mn_id]}\n{value}"
                self.model.notes[mn_id] = value
            elif name == "training_done":
                value = "yes"
                self.model.trained.add(mn_id)
            else:
                value = "XL" if name == "shirt_size" else self.fresh(name, self.model.stands[spot])
                self.model.set_by_person(spot, value)
            edits.append({"mn_id": mn_id, "field": name, "value": value})
        for conflict in self.pending().filter(pl.col("field").is_not_null()).to_dicts():
            spot = (conflict["mn_id"], conflict["field"])
            if spot in self.busy or self.chance.random() < 0.5:
                continue
            choice = self.chance.choice(["a", "b", "custom", "skip"])
            decision: dict[str, Any] = {"conflict_id": conflict["id"], "choice": choice}
            if choice == "custom":
                decision["custom_value"] = self.fresh(spot[1])
            decisions.append(decision)
            self.decisions += 1
            self.busy.add(spot)
            if choice == "skip":
                self.model.open.discard(spot)
                self.model.at_once.discard(spot)
                self.model.waiting.add(spot)
            else:
                options = {one: orjson.loads(conflict[f"option_{one}"])["value"] for one in ("a", "b")}
                self.model.set_by_person(spot, decision.get("custom_value") or options[choice])
        self.log.append(f"here: {edits} {decisions}")
        if edits or decisions:
            config = {"ops": {"operator_actions": {"config": {"edits": edits, "decisions": decisions}}}}
            self.run(lambda: done(self.there.run("apply_decisions", config)).run_id)

    def someone(self) -> str:
        return f"{self.chance.randint(1, COUNT):04d}"

    # -- runs ------------------------------------------------------------------------------------------------------

    def run(self, job: Callable[[], str]) -> None:
        """Run a job, and note in what the records differ from those before."""
        run_id = job()
        after = {row["mn_id"]: row for row in self.there.table("mentors").to_dicts()}
        for mn_id, row in after.items():
            earlier = self.before.get(mn_id)
            if earlier is None:
                self.told[run_id, mn_id, None, None, row["full_name"]] += 1
                continue
            for name in row.keys() - UNTRACKED:
                if row[name] != earlier[name]:
                    self.told[run_id, mn_id, name, as_text(earlier[name]), as_text(row[name])] += 1
        self.before = after

    def sync(self) -> None:
        self.run(lambda: self.there.sync().run_id)

    def loop(self, *, is_imported: bool = True) -> None:
        """Sync, write the import file, import it, and sync again: that finds nothing new of what is merged."""
        self.sync()
        merged = self.values()
        for path in self.there.export():
            if is_imported:
                imported = self.world.import_csv(path)
                assert imported.refused == [], self.log
        if is_imported:
            self.model.unsent.clear()
            self.model.waiting.clear()
            self.model.lines |= {(who, line) for who, notes in self.model.notes.items() for line in notes.splitlines()}
        self.sync()
        assert self.values() == merged, self.log

    def round(self) -> None:
        self.log = []
        self.busy: set[Spot] = set()
        before = dict(self.model.stands)
        self.act_here()
        self.edit_fields()
        self.edit_rest()
        untouched = {spot: value for spot, value in before.items() if spot not in self.busy}
        is_imported = self.chance.random() < IS_IMPORTED
        self.log.append(f"imported: {is_imported}")
        self.loop(is_imported=is_imported)
        values = self.values()
        assert {spot: values[spot] for spot in untouched} == untouched, self.log
        self.check(is_imported=is_imported)

    def values(self) -> dict[Spot, Any]:
        return {(mn_id, name): row[name] for mn_id, row in self.before.items() for name in FIELDS}

    def pending(self) -> pl.DataFrame:
        """Pending conflicts about merged fields; those about fundraising have none of them."""
        named = pl.col("context").str.json_path_match("$.field")
        conflicts = self.there.table("sync_conflicts").filter(status="pending").with_columns(field=named)
        return conflicts.with_columns(pl.when(pl.col("field").is_in(FIELDS)).then("field").alias("field")).sort("id")

    # -- what must be so after a round -------------------------------------------------------------------------------

    def check(self, *, is_imported: bool = True) -> None:
        model, log = self.model, self.log
        assert self.values() == model.stands, log
        warned = set(self.there.table("sync_warnings").filter(resolved=False).select("mn_id", "field_name").iter_rows())
        conflicts = self.pending().filter(pl.col("field").is_not_null()).select("mn_id", "field").rows()
        assert sorted(conflicts) == sorted(model.open), log
        for spot, value in model.stands.items():
            why_not = (spot in model.open, spot in model.waiting, spot in warned)
            is_explained = why_not[0] if is_imported else any(why_not)
            assert value in self.holds(spot) or is_explained, (spot, value, self.holds(spot), why_not, log)
            assert not (value in self.holds(spot) and spot in model.open), (spot, log)
        for mn_id, line in model.lines:
            told = (self.contact(mn_id).note or "").splitlines()
            assert told.count(line) == 1, (mn_id, line, told, log)
        for mn_id, line in model.said:
            assert (self.contact(mn_id).note or "").splitlines().count(line) <= 1, (mn_id, line, log)
        for mn_id, what in model.unsubscribed:
            assert getattr(self.contact(mn_id), what) is False, (mn_id, what, log)
        for mn_id, row in self.before.items():
            tags = set(self.contact(mn_id).tags)
            helper = {tag for tag in tags if tag.startswith("Helper")}
            assert helper == model.tags.get(mn_id, set()), (mn_id, log)
            assert row["dropped"] == (DROPPED in tags), (mn_id, log)
            assert set(row["tags"]) <= tags or not is_imported, (mn_id, log)
            assert row["notes"] == model.notes.get(mn_id), (mn_id, log)
            assert row["training_done"] == (mn_id in model.trained), (mn_id, log)
            assert row["amount_raised"] == model.raised.get(mn_id), (mn_id, log)
        self.check_changes(is_imported=is_imported)

    def check_changes(self, *, is_imported: bool) -> None:
        """`mn_changes` is what the records differed in, run by run, each once; what Givebutter holds is told so."""
        changes = self.there.table("mn_changes")
        of_records = changes.filter(source_table="mentors")
        told = Counter(of_records.select("run_id", "mn_id", "field_name", "old_value", "new_value").iter_rows())
        assert told == self.told, (told - self.told, self.told - told, self.log)
        assert changes.filter(change_type="conflict_resolved").height == self.decisions
        waiting = of_records.filter(~pl.col("resolved")).select("mn_id", "field_name").rows()
        assert set(waiting) <= self.model.open or not is_imported, self.log


def as_text(value: Any) -> str | None:
    """A value of a record as `mn_changes` writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(value)
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S UTC"))
    return None if value is None else str(value)


def play(folder: Path, seed: int, rounds: int) -> None:
    """A small world, `rounds` rounds, and a sync after which nothing is new; the seed draws what vendors leave open."""
    chance = random.Random(seed)  # noqa: S311 - nothing is secret here
    world = World.empty(PROGRAM)
    behaviour = world.behaviour
    behaviour.import_replaces_tags, behaviour.import_blank_clears, behaviour.import_sets_primary = (
        chance.random() < 0.5 for _ in range(3)
    )
    with installed(folder / "data", world) as there:
        story = Rounds(there, chance)
        story.people()
        story.loop()
        story.check()
        for _ in range(rounds):
            story.round()
        before = there.append_only()
        story.sync()
        after = there.append_only()
        assert [table for table in APPEND_ONLY if not after[table].equals(before[table])] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [10])
def test_twenty_rounds(tmp_path: Path, seed: int) -> None:
    play(tmp_path, seed, 20)
