"""Forgetting a mentor: a person's right. What is removed from every table of every year, and what remains elsewhere.

`Forgetting.of` computes everything from what is stored and changes nothing; `forget` does it, in one transaction and
with the writer lock, so that no run that read them before writes them back. What must stay is in the ledger `forgotten`
(see `domain.forgotten`): that the id was forgotten, when and by whom, and which rows of the services are not taken in
again. By these numbers `forget_again` does the same to tables that an older backup has brought back. Nothing here calls
a service or touches a file: what remains there is told, with what to do.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.forgotten import CONTACTS, LEDGER, PERSON, blanked
from mentor_pipeline.domain.history import decode
from mentor_pipeline.domain.links import FORMS, MEMBERS
from mentor_pipeline.domain.names import Name, contradicting
from mentor_pipeline.domain.normalise import FIRST_PLACEHOLDER, comparable_mn_id, normalise_mn_id
from mentor_pipeline.domain.submissions import FORM_TABLES
from mentor_pipeline.errors import MentorPipelineError, WrongUseError
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Reader, Transaction, Warehouse
    from mentor_pipeline.settings import ProgramYear, Settings

JOB: Final = "forget"
REDACTED: Final = "[forgotten]"
LOCK_WAIT_S: Final = 120.0

_KEPT: Final = (LEDGER, "placeholder_ids", "mentor_aliases", "source_reads", "sync_configs")
"""Tables that say nothing of a person but numbers; a placeholder must not be given to somebody else."""
_BY_CONTACT: Final = (
    "contact_matches",
    "contact_archive_plan",
    "contact_release_plan",
    "contact_archive_log",
    "tag_log",
)
_WORDED: Final = (
    "detected_problems", "detected_conflicts", "sync_errors", "sync_warnings", "sync_conflicts", "contact_matches",
    "contact_links", "form_links", "mn_gb_import_held", "contact_archive_plan", "contact_release_plan",
    "csv_import_log", "sync_log", "contact_archive_log", "tag_log",
)  # fmt: skip
"""Tables whose words about others may name the person; what others said themselves is left as they said it."""
_TEXTS: Final = {Type.TEXT, Type.JSON}
_LISTS: Final = {Type.TEXT_LIST}
_SHORTEST_NAME: Final = 5
_FILES_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Person:
    """Who is forgotten.

    Attributes:
        mn_id: the id, as it is stored in the newest of the years.
        full_name: their name.
        ids: in each year, the ids they had.
        others: years in which somebody else had the id.
    """

    mn_id: str
    full_name: str
    ids: dict[int, frozenset[str]]
    others: tuple[int, ...]

    def owns(self, frame: pl.DataFrame) -> pl.Series:
        """True for rows (year, mn_id) of the person."""
        theirs = pl.lit(value=False)
        for year, ids in self.ids.items():
            theirs |= (pl.col("year") == year) & pl.col("mn_id").is_in(list(ids))
        return frame.select(theirs.fill_null(value=False).alias("theirs")).to_series()


@dataclass
class Forgetting:
    """What forgetting a person does.

    Attributes:
        person: who.
        sources: by table, the rows of the services that are not taken in again.
        removed: by table, the keys of the rows that are removed.
        changed: by table, rows as they are from then on.
        remains: what is left in the tables and why, one line each.
    """

    person: Person
    sources: dict[str, list[str]]
    removed: dict[str, pl.DataFrame]
    changed: dict[str, pl.DataFrame]
    words: _Words
    remains: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, reader: Reader, program: ProgramYear, asked: str, now: datetime) -> Forgetting:
        """Find out what it takes.

        Raises:
            WrongUseError: no id was given.
            MentorPipelineError: nobody has that id, or they were forgotten before.
        """
        stored = _everything(reader)
        person = _person(stored, program, asked)
        return cls._computed(stored, person, _sources(stored, person), now)

    @classmethod
    def again(cls, reader: Reader, ledger: pl.DataFrame) -> Forgetting:
        """Find out what it takes where older tables came back.

        Args:
            reader: the tables.
            ledger: the rows of `forgotten` of one person.
        """
        stored = _everything(reader)
        sources = _sources_in(ledger)
        person = _person_again(stored, ledger, sources[FORM_TABLES["signup"]])
        return cls._computed(stored, person, sources, ledger["forgotten_at"][0])

    @classmethod
    def _computed(
        cls, stored: Mapping[str, pl.DataFrame], person: Person, sources: dict[str, list[str]], now: datetime
    ) -> Forgetting:
        words = _Words.of(stored, person, sources)
        made = cls(person, sources, {}, {}, words)
        for name, frame in stored.items():
            if name in _KEPT or frame.is_empty():
                continue
            gone = _rows_of(name, frame, person, sources)
            if gone.any():
                made.removed[name] = frame.filter(gone).select(TABLES[name].key)
            left = frame.filter(~gone)
            after = left
            if name == CONTACTS:
                after = blanked(left, made.ledger(now=now, by=""))
            elif name in _WORDED:
                after = words.redacted(name, left)
            changed = after.join(left, on=left.columns, how="anti", nulls_equal=True)
            if changed.height:
                made.changed[name] = changed
            made.remains += words.left_in(name, after)
        return made

    def carry_out(self, transaction: Transaction) -> None:
        """Remove and change the rows; the ledger is not written."""
        for name, keys in self.removed.items():
            for key in keys.iter_rows(named=True):
                transaction.replace_slice(name, TABLES[name].empty(), key)
        for name, rows in self.changed.items():
            transaction.upsert(name, rows)

    def ledger(self, *, now: datetime, by: str) -> pl.DataFrame:
        """The rows of `forgotten` to add."""
        newest = max(self.person.ids, default=0)
        rows = [(year, mn_id, PERSON, mn_id) for year, ids in self.person.ids.items() for mn_id in sorted(ids)]
        rows += [(newest, self.person.mn_id, table, one) for table, ids in self.sources.items() for one in ids]
        return pl.DataFrame([(*row, now, by) for row in rows], schema=TABLES[LEDGER].schema, orient="row")

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by table that are removed, blanked (contacts) or reworded (others' rows that name the person)."""
        changed = {name: rows.height for name, rows in self.changed.items()}
        return {
            "removed": {name: keys.height for name, keys in self.removed.items()},
            "blanked": {CONTACTS: changed.pop(CONTACTS)} if CONTACTS in changed else {},
            "reworded": changed,
        }


def forget(
    warehouse: Warehouse, program: ProgramYear, asked: str, *, now: datetime, by: str, wait_s: float = LOCK_WAIT_S
) -> Forgetting:
    """Forget a person in every table; all of it, or nothing where anything goes wrong.

    Raises:
        WarehouseBusyError: a run is changing the warehouse; nothing was changed.
        MentorPipelineError: see `Forgetting.of`.
    """
    with warehouse.alone(year=program.year, job=JOB, by=by, wait_s=wait_s), warehouse.write() as transaction:
        made = Forgetting.of(transaction, program, asked, now)
        made.carry_out(transaction)
        transaction.append(LEDGER, made.ledger(now=now, by=by))
    return made


def forget_again(transaction: Transaction, ledger: pl.DataFrame) -> list[str]:
    """Forget once more those who came back with older tables; their rows of the ledger are not written.

    Args:
        transaction: what brought the tables back.
        ledger: rows of `forgotten` that the tables do not have.

    Returns:
        The ids of those of whom something had come back.
    """
    again = []
    for rows in _people(ledger):
        made = Forgetting.again(transaction, rows)
        if made.removed or made.changed:
            made.carry_out(transaction)
            again.append(made.person.mn_id)
    return again


def _sources_in(ledger: pl.DataFrame) -> dict[str, list[str]]:
    """The rows of the two services that a ledger names, by table."""
    return {
        table: ledger.filter(source_table=table)["source_id"].sort().to_list()
        for table in (*FORM_TABLES.values(), MEMBERS, CONTACTS)
    }


def ids_in(ledger: pl.DataFrame) -> list[str]:
    """The ids under which the people of a ledger were forgotten."""
    return [_id_in(rows) for rows in _people(ledger)]


def _people(ledger: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each person: they were forgotten one at a time, each with the writer lock."""
    return ledger.partition_by("forgotten_at", maintain_order=True)


def _everything(reader: Reader) -> dict[str, pl.DataFrame]:
    return {name: reader.read_or_empty(name) for name in TABLES}


# -- who ------------------------------------------------------------------------------------------------------------


def _person(stored: Mapping[str, pl.DataFrame], program: ProgramYear, asked: str) -> Person:
    """Whom an id means, and in which years it meant them."""
    if not asked.strip():
        msg = "No mentor was named. Give a mentor's id, for example 42."
        raise WrongUseError(msg)
    typed = normalise_mn_id(asked, program.mn_id_prefix)
    known = _everybody(stored)
    aliases = {
        (year, comparable_mn_id(old)): comparable_mn_id(new)
        for year, old, new in stored["mentor_aliases"].select("year", "old_mn_id", "mn_id").iter_rows()
    }

    def present(year: int, mn_id: str) -> str:
        for _ in aliases:  # a placeholder may have gone on under a second one
            mn_id = aliases.get((year, mn_id), mn_id)
        return mn_id

    wanted = comparable_mn_id(typed) if typed else ""
    years = sorted({year for year, mn_id, _ in known if comparable_mn_id(mn_id) == wanted}, reverse=True)
    was_forgotten = {comparable_mn_id(one) for one in stored[LEDGER].filter(source_table=PERSON)["mn_id"]}
    # Asked once more, an id must not mean somebody else who had it in another year.
    if not years or (program.year not in years and wanted in was_forgotten):
        raise MentorPipelineError(_nobody(stored[LEDGER], asked, wanted))
    anchor = program.year if program.year in years else years[0]
    now_id = present(anchor, wanted)
    if int(now_id) >= FIRST_PLACEHOLDER:
        years = [anchor]  # in another year the number was given to somebody else
    else:
        years = sorted({year for year, mn_id, _ in known if present(year, comparable_mn_id(mn_id)) == now_id})
    named = {
        year: [
            name
            for of, mn_id, name in known
            if of == year and present(year, comparable_mn_id(mn_id)) == now_id and (name.first or name.last)
        ]
        for year in years
    }
    if not named[anchor]:  # only the number of a placeholder is left
        raise MentorPipelineError(_nobody(stored[LEDGER], asked, wanted))
    others = tuple(
        year
        for year in years
        if year != anchor
        and named[year]
        and all(contradicting(one, two) for one in named[year] for two in named[anchor])
    )
    ids = {
        year: frozenset(
            mn_id for of, mn_id, _ in known if of == year and present(year, comparable_mn_id(mn_id)) == now_id
        )
        for year in years
        if year not in others and named[year]
    }
    own = {comparable_mn_id(mn_id): mn_id for mn_id in ids[anchor]}
    name = named[anchor][0]
    full_name = " ".join(filter(None, (name.preferred or name.first, name.last)))
    return Person(own.get(now_id) or min(ids[anchor]), full_name, ids, others)


def _person_again(stored: Mapping[str, pl.DataFrame], ledger: pl.DataFrame, submissions: Collection[str]) -> Person:
    """Who was forgotten, in older tables: by their sign-ups, and by their ids where no sign-up is somebody else's."""
    ids: dict[int, set[str]] = {}
    for year, mn_id in ledger.filter(source_table=PERSON).select("year", "source_id").iter_rows():
        ids.setdefault(year, set()).add(mn_id)
    for year, mn_id, newest, merged in (
        stored["signups"].select("year", "mn_id", "submission_id", "merged_submission_ids").iter_rows()
    ):
        if {newest, *(merged or ())}.isdisjoint(submissions):
            ids.get(year, set()).discard(mn_id)
        else:
            ids.setdefault(year, set()).add(mn_id)
    theirs = {year: frozenset(names) for year, names in ids.items() if names}
    numbers = {comparable_mn_id(mn_id) for names in theirs.values() for mn_id in names}
    others = {year for year, mn_id, _ in _everybody(stored) if comparable_mn_id(mn_id) in numbers} - theirs.keys()
    return Person(_id_in(ledger), "", theirs, tuple(sorted(others)))


def _id_in(ledger: pl.DataFrame) -> str:
    """The id under which somebody was forgotten; earlier ids have rows of their own."""
    of_sources = ledger.filter(pl.col("source_table") != PERSON)
    return str((ledger if of_sources.is_empty() else of_sources)["mn_id"][0])


def _everybody(stored: Mapping[str, pl.DataFrame]) -> list[tuple[int, str, Name]]:
    """Year, id and name of everybody who is or ever was a mentor."""
    columns = ("first_name", "last_name", "preferred_name")
    history = stored["mentor_history"].sort("valid_from").unique(["year", "mn_id"], keep="last", maintain_order=True)
    versions = history.select("year", "mn_id").hstack(decode(history["record"]).select(columns))
    frames = [stored[name].select("year", "mn_id", *columns) for name in ("mentors", "signups")]
    rows = pl.concat([*frames, versions]).unique(maintain_order=True)
    earlier = stored["mentor_aliases"].select("year", "old_mn_id").iter_rows()
    return [
        *((year, mn_id, Name(*names)) for year, mn_id, *names in rows.iter_rows()),
        *((year, mn_id, Name(None, None)) for year, mn_id in earlier),
    ]


def _nobody(ledger: pl.DataFrame, asked: str, wanted: str) -> str:
    gone = ledger.filter(source_table=PERSON).filter(pl.col("mn_id").str.strip_chars_start("0") == wanted.lstrip("0"))
    if gone.is_empty():
        return f"No mentor of any year has the id {asked!r}. Nothing was changed."
    last = gone.sort("forgotten_at").row(-1, named=True)
    said = (
        f"Mentor {last['mn_id']} was forgotten on {last['forgotten_at']:%Y-%m-%d %H:%M} UTC by {last['forgotten_by']}; "
        "nothing more is stored of them. Nothing was changed."
    )
    remains = _in_services(_sources_in(ledger.filter(forgotten_at=last["forgotten_at"])))
    return "\n".join([said, *(f"- {line}" for line in remains)])


# -- what -----------------------------------------------------------------------------------------------------------


def _sources(stored: Mapping[str, pl.DataFrame], person: Person) -> dict[str, list[str]]:
    """The rows of the two services that are the person's, by table."""
    theirs = {name: stored[name].filter(person.owns(stored[name])) for name in (
        "signups", "form_links", "contact_matches", "contact_links", "mentors", "mentor_history"
    )}  # fmt: skip
    records = decode(theirs["mentor_history"]["record"])
    linked = theirs["form_links"].select("source_table", "source_id")

    def seen(column: str) -> set[Any]:
        return {*records[column].drop_nulls(), *theirs["mentors"][column].drop_nulls()}

    forms = dict(zip(FORMS, ("setup", "training_signup"), strict=False))
    sources: dict[str, set[str]] = {
        FORM_TABLES["signup"]: {
            *theirs["signups"]["submission_id"].drop_nulls(),
            *theirs["signups"]["merged_submission_ids"].explode().drop_nulls(),
            *seen("signup_submission_id"),
        },
        **{
            table: {*linked.filter(source_table=table)["source_id"]}
            | (seen(f"{forms[table]}_submission_id") if table in forms else set())
            for table in FORMS
        },
        MEMBERS: {*linked.filter(source_table=MEMBERS)["source_id"], *map(str, seen("gb_member_id"))},
    }
    same = theirs["contact_matches"].filter(
        (pl.col("role") == "winner") | ((pl.col("role") == "loser") & pl.col("same_person"))
    )
    contacts = {*seen("gb_contact_id"), *same["contact_id"]}
    contacts |= set(theirs["contact_links"].filter(gb_match_status="linked")["gb_contact_id"].drop_nulls())
    if not person.others:
        carrying = stored[CONTACTS].filter(pl.col("external_mn_id") == comparable_mn_id(person.mn_id))
        name = Name(*_names(theirs["mentors"], records))
        contacts |= {
            contact_id
            for contact_id, first, last in carrying.select("contact_id", "first_name", "last_name").iter_rows()
            if not contradicting(name, Name(first, last))
        }
    links = stored["contact_links"]
    others = links.filter(~person.owns(links), pl.col("gb_contact_id").is_in(list(contacts)))
    sources[CONTACTS] = {str(one) for one in contacts.difference(others["gb_contact_id"])}
    return {table: sorted(ids) for table, ids in sources.items()}


def _names(mentors: pl.DataFrame, records: pl.DataFrame) -> tuple[str | None, str | None]:
    rows = pl.concat([mentors.select("first_name", "last_name"), records.select("first_name", "last_name")])
    return rows.row(0) if rows.height else (None, None)


def _rows_of(name: str, frame: pl.DataFrame, person: Person, sources: Mapping[str, list[str]]) -> pl.Series:
    """Which rows of a table are the person's."""
    spec = TABLES[name]
    nothing = pl.Series([False]).new_from_index(0, frame.height)
    contacts = [int(one) for one in sources[CONTACTS]]
    if name == CONTACTS:
        return nothing
    if name in sources:
        return frame[spec.key[0]].cast(pl.String).is_in(sources[name])
    if name == "duplicate_gb_contacts":
        return frame["contact_ids"].list.eval(pl.element().is_in(contacts)).list.any()
    gone = person.owns(frame) if spec.has_year and "mn_id" in spec.schema else nothing
    if name in _BY_CONTACT:
        gone = gone | frame["contact_id"].is_in(contacts).fill_null(value=False)
        if not spec.has_year and not person.others:
            ids = {mn_id for ids in person.ids.values() for mn_id in ids}
            gone = gone | frame["mn_id"].is_in(list(ids)).fill_null(value=False)
    return gone


# -- words ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """What says who the person is: e-mails, phones, names.

    Attributes:
        own: words of nobody else.
        shared: words that another mentor or contact has too (a family's phone, a namesake); left where others are.
        parts: first and last names, for files that have them in columns of their own.
    """

    own: frozenset[str]
    shared: frozenset[str]
    parts: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, stored: Mapping[str, pl.DataFrame], person: Person, sources: Mapping[str, list[str]]) -> _Words:
        signups, mentors, history = (stored[name] for name in ("signups", "mentors", "mentor_history"))
        records = decode(history["record"])
        rows = [
            *(frame.filter(person.owns(frame)) for frame in (signups, mentors)),
            records.filter(person.owns(history)),
        ]
        of_sources = [
            stored[table].filter(stored[table][TABLES[table].key[0]].cast(pl.String).is_in(ids))
            for table, ids in sources.items()
            if stored[table].height
        ]
        words = set().union(*(_words_in(frame) for frame in [*rows, *of_sources]))
        others = set().union(
            *(_words_in(frame.filter(~person.owns(frame))) for frame in (signups, mentors)),
            _words_in(
                stored[CONTACTS].filter(~stored[CONTACTS]["contact_id"].cast(pl.String).is_in(sources[CONTACTS]))
            ),
        )
        parts = {
            (first.casefold(), last.casefold())
            for frame in rows
            for first, last in frame.select("first_name", "last_name").drop_nulls().iter_rows()
        }
        return cls(frozenset(words - others), frozenset(words & others), frozenset(parts))

    def redacted(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of others, without the person's own words in their texts."""
        pattern = _pattern(self.own)
        if pattern is None:
            return frame
        spec, changes = TABLES[name], []
        for column in spec.columns:
            if column.name in {*spec.key, "mn_id"}:
                continue
            if column.type in _TEXTS:
                changes.append(pl.col(column.name).str.replace_all(pattern, REDACTED))
            elif column.type in _LISTS:
                changes.append(pl.col(column.name).list.eval(pl.element().str.replace_all(pattern, REDACTED)))
        return frame.with_columns(changes)

    def left_in(self, name: str, frame: pl.DataFrame) -> Iterator[str]:
        """Rows of others that go on naming the person, told in one line."""
        pattern = _pattern(self.own | self.shared)
        if pattern is None or frame.is_empty():
            return
        texts = [pl.col(c.name) for c in TABLES[name].columns if c.type in _TEXTS]
        texts += [pl.col(c.name).list.join(" ") for c in TABLES[name].columns if c.type in _LISTS]
        if not texts:
            return
        there = frame.filter(pl.concat_str(texts, separator="\n", ignore_nulls=True).str.contains(pattern))
        if there.is_empty():
            return
        key = "mn_id" if "mn_id" in there.columns else TABLES[name].key[0]
        whose = sorted({str(one) for one in there[key].drop_nulls()})
        shown = ", ".join(whose[:5]) + (f" and {len(whose) - 5} more" if len(whose) > 5 else "")
        yield f"{name}: {there.height} rows of others ({key} {shown}) hold a word that is also theirs"

    @cached_property
    def in_files(self) -> tuple[bytes, ...]:
        """E-mails, phones as people and programs write them, and whole names, in lower case."""
        import phonenumbers

        found: set[str] = set()
        for word in self.own | self.shared:
            found |= {word.casefold(), orjson.dumps(word.casefold()).decode()[1:-1]}
            if word.startswith("+"):
                number = phonenumbers.parse(word)
                national = str(number.national_number)
                local = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
                found |= {national, local, re.sub(r"\D+", "-", local).strip("-")}
        return tuple(sorted(word.encode() for word in found))


def _words_in(frame: pl.DataFrame) -> set[str]:
    """E-mails, phones and whole names in the columns of any table about people."""
    have = set(frame.columns)
    texts = ("phone", "email", "personal_email", "uga_email", "primary_email", "primary_phone", "display_name")
    words = {str(value).lower() for name in texts if name in have for value in frame[name].drop_nulls()}
    for name in ("emails", "phones"):
        if name in have:
            words |= {str(value).lower() for value in frame[name].explode().drop_nulls()}
    for first in ("first_name", "preferred_name"):
        if {first, "last_name"} <= have:
            words |= {f"{one} {two}".lower() for one, two in frame.select(first, "last_name").drop_nulls().iter_rows()}
    return {word.strip() for word in words if len(word.strip()) >= _SHORTEST_NAME}


def _pattern(words: Collection[str]) -> str | None:
    """A pattern that finds whole words, in any case; None where there are none."""
    if not words:
        return None
    both = {*words, *(orjson.dumps(word).decode()[1:-1] for word in words)}
    escaped = (pl.escape_regex(word) for word in sorted(both, key=len, reverse=True))
    return (
        "(?i)(?:" + "|".join(rf"{'' if word.startswith(chr(92)) else chr(92) + 'b'}{word}\b" for word in escaped) + ")"
    )


# -- elsewhere ------------------------------------------------------------------------------------------------------


def files_naming(made: Forgetting, settings: Settings) -> list[Path]:
    """Files of the data folder that name the person (or somebody with the same name): exports, the inbox, logs."""
    skipped = {settings.warehouse_path, settings.dagster_home}
    found = []
    for path in sorted(settings.data_dir.rglob("*")):
        if any(path == one or one in path.parents for one in skipped) or path.is_symlink() or not path.is_file():
            continue
        if path.name.startswith(settings.warehouse_path.name):
            continue
        if _names_person(path, made.words):
            found.append(path)
    return found


def _names_person(path: Path, words: _Words) -> bool:
    try:
        text = path.read_bytes().lower()
    except OSError:
        return False
    if any(word in text for word in words.in_files):
        return True
    # Quotes are doubled in a CSV and have a backslash in JSON: the longest run without them is enough to find a line.
    parts = [tuple(max(re.split(r'["\\]', part), key=len).encode() for part in both) for both in words.parts]
    return any(
        first in line and last in line
        for first, last in parts
        if first in text and last in text
        for line in text.splitlines()
    )


def backups_known(settings: Settings) -> list[Path]:
    """Backups in the data folder, and databases that a restore moved aside; nobody can search them for a name."""
    database = settings.warehouse_path.name
    aside = (path for name in ("damaged-*", "restoring") for path in settings.data_dir.glob(f"{database}.{name}"))
    return sorted([*filter(_is_backup, settings.data_dir.rglob("*.zip")), *aside])


def _is_backup(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("tables/") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _named(files: Sequence[Path]) -> str:
    """The files with their folders, the last of many; nothing for none."""
    if not files:
        return ""
    shown = ", ".join(map(str, files[-_FILES_NAMED:]))
    more = len(files) - _FILES_NAMED
    return f"; in the data folder these: {shown}" + (f", and {more} more" if more > 0 else "")


def _in_services(sources: Mapping[str, Sequence[str]]) -> list[str]:
    """What the two services keep, and what to do about it."""
    lines = []
    forms = [f"{table} {', '.join(ids)}" for table, ids in sources.items() if ids and table in FORM_TABLES.values()]
    if forms:
        lines.append(
            f"Jotform keeps the submissions ({'; '.join(forms)}): only its owner may delete them. Delete them there. "
            "They are not read in again either way."
        )
    if sources[MEMBERS]:
        lines.append(
            f"Givebutter keeps the campaign page (member {', '.join(sources[MEMBERS])}): donations hang on it. "
            "Ask the person to unpublish it, or Givebutter to remove it."
        )
    if sources[CONTACTS]:
        lines.append(
            f"Givebutter keeps contact {', '.join(sources[CONTACTS])}: archive it there, or ask Givebutter to "
            "delete it; receipts may have to be kept by law. Here only its number and External ID stay known, so that "
            "no import is refused because of it."
        )
    return lines


def elsewhere(made: Forgetting, files: Iterable[Path], backups: Sequence[Path], settings: Settings) -> list[str]:
    """What remains outside of the tables, why, and what to do about it, one line each.

    Args:
        made: who was forgotten.
        files: see `files_naming`.
        backups: see `backups_known`.
        settings: where Dagster's home is.
    """
    lines = _in_services(made.sources)
    lines += [f"The file {path} names them (or a namesake): delete it, or cut the lines out." for path in files]
    lines.append(
        f"Backups made before now hold them{_named(backups)}. Delete these. A restore in this data folder forgets the "
        "person again by itself; where the tables are put elsewhere, forget the person there once more."
    )
    lines.append(
        "The database's files may hold what was deleted until it is written over (no table shows it). To be rid of it "
        "at once: `mentor-pipeline backup FILE`, delete the database while nothing runs, `mentor-pipeline restore FILE`"
        ", and delete FILE. On Postgres: `VACUUM FULL`."
    )
    lines.append(
        f"Dagster's history of runs ({settings.dagster_home}, unless another storage is set) may name them in the "
        "details of earlier runs. Delete those runs in Dagster's UI, or wait until they are old enough to be deleted."
    )
    lines.append(
        "Mails, chat messages and files that were taken elsewhere (an import file handed on, a spreadsheet) are out of "
        "reach. Do not import an older file again: it would tell Givebutter of the person once more."
    )
    if made.person.others:
        lines.append(
            f"In {', '.join(map(str, made.person.others))} somebody with another name had the id {made.person.mn_id}; "
            "nothing of theirs was touched."
        )
    return [*lines, *made.remains]
