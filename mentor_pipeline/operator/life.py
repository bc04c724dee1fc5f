"""What was: one mentor's life as a timeline, the mentors table as it stood at a time, and files of both.

Everything is read from what the runs left behind (`mentor_history`, `mn_changes`, the ledgers); nothing here writes to
the warehouse. What is now is told in `reports`; how it looks belongs to the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl

from mentor_pipeline.domain.changes import readable
from mentor_pipeline.domain.conflicts import DECIDED
from mentor_pipeline.domain.decisions import CONFLICT_DECISION, EDIT
from mentor_pipeline.domain.history import as_of, decode, present_ids, rename
from mentor_pipeline.errors import MentorPipelineError, WrongUseError
from mentor_pipeline.operator.new_csv import write_new_csv
from mentor_pipeline.operator.reports import NothingSyncedError, moment, present_id
from mentor_pipeline.tables import TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Reader, Warehouse
    from mentor_pipeline.settings import ProgramYear

_KINDS: Final = ("placeholder", "edit", "decision", "action", "new_mentor", "back")
"""What stands first among events of one moment; the others follow as they come."""
_TOLD_ELSEWHERE: Final = ("conflict_resolved", "duplicates_archived")
"""Changes whose event is read from where it happened: the conflict, or the log of archived contacts."""
CHANGE_COLUMNS: Final = (
    "detected_at", "mn_id", "full_name", "change_type", "field_name", "old_value", "new_value", "is_significant",
    "synced_to_gb", "resolved", "notes", "source_table", "run_id", "year", "id",
)  # fmt: skip
"""Columns of the file of changes, what a person reads first."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a mentor, or that a person did about them.

    Attributes:
        at: when it was seen or done; of a conflict that settled itself, when it was last seen.
        kind: a type of `mn_changes`, or edit, decision, action, conflict_detected, conflict_resolved,
            conflict_obsolete, archive, restore, release, unrelease, placeholder, renamed, gone or back.
        words: what happened.
        by: the person, or who or what started the run.
        run_id: the run that saw or did it.
        field: field of mentors concerned, if any.
        before: value before, of a change.
        after: value after.
        note: further words of the person.
        is_significant: True for what an organiser wants to hear of.
    """

    at: datetime
    kind: str
    words: str
    by: str | None = None
    run_id: str | None = None
    field: str | None = None
    before: str | None = None
    after: str | None = None
    note: str | None = None
    is_significant: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """A mentor's life in one program year.

    Attributes:
        year: the program year.
        mn_id: the mentor's id now.
        asked: what was asked for.
        full_name: their name now.
        earlier_ids: placeholders they had before.
        is_gone: True when they are no longer among the mentors of the year.
        versions: how many versions of the record there are.
        events: what happened, newest last.
    """

    year: int
    mn_id: str
    asked: str
    full_name: str
    earlier_ids: tuple[str, ...]
    is_gone: bool
    versions: int
    events: list[Event]


def life(warehouse: Warehouse, program: ProgramYear, asked: str) -> Life:
    """Everything that happened to a mentor, newest last; also of one who is no longer among the year's mentors.

    Args:
        warehouse: where the tables are.
        program: the year.
        asked: the mentor's id in any spelling, or the placeholder they had before.

    Raises:
        NothingSyncedError: no mentor is known yet.
        MentorPipelineError: nobody has that id; the message names whom it might mean.
    """
    year = program.year
    with warehouse.reading() as reader:
        known, history, aliases = _everybody(reader, year)
        mn_id = present_id(asked, known, aliases, program)
        earlier = present_ids(aliases.select("year", "at", "old_mn_id", mn_id="old_mn_id"), aliases)
        renames = aliases.join(earlier.filter(mn_id=mn_id).select("old_mn_id"), on="old_mn_id", how="semi").sort("at")
        versions = rename(history, aliases).filter(mn_id=mn_id)
        ids = [mn_id, *renames["old_mn_id"]]
        theirs = pl.col("mn_id").is_in(ids)
        log = _contact_log(reader, versions, ids, year)
        events = [
            *_changes(reader.read_or_empty("mn_changes", year=year).filter(theirs)),
            *_actions(actions := reader.read_or_empty("operator_actions", year=year).filter(theirs)),
            *_conflicts(reader.read_or_empty("sync_conflicts", year=year).filter(theirs), set(actions["target_id"])),
            *_log_events(log),
            *_placeholders(reader.read_or_empty("placeholder_ids", year=year).filter(theirs), renames),
            *_gone_and_back(versions, year),
        ]
        starters = _starters(reader)
    order = {kind: place for place, kind in enumerate(_KINDS)}
    events.sort(key=lambda event: (event.at, order.get(event.kind, len(order))))
    return Life(
        year=year,
        mn_id=mn_id,
        asked=asked,
        full_name=known.filter(mn_id=mn_id)["full_name"].item(),
        earlier_ids=tuple(ids[1:]),
        is_gone=versions.filter(pl.col("valid_to").is_null()).is_empty(),
        versions=versions.height,
        events=[_with_starter(event, starters) for event in events],
    )


def _everybody(reader: Reader, year: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Everybody who is or was a mentor of the year (mn_id, first_name, full_name), the history, and the aliases."""
    mentors = reader.read_or_empty("mentors", columns=["mn_id", "first_name", "full_name"], year=year)
    history = reader.read_or_empty("mentor_history", year=year)
    aliases = reader.read_or_empty("mentor_aliases", year=year)
    gone = (
        rename(history, aliases)
        .join(mentors, on="mn_id", how="anti")
        .sort("valid_from", "version")
        .unique("mn_id", keep="last", maintain_order=True)
    )
    named = gone.select("mn_id").hstack(decode(gone["record"]).select("first_name", "full_name"))
    return pl.concat([mentors, named]), history, aliases


def _starters(reader: Reader) -> dict[str, str | None]:
    return dict(reader.read_or_empty("sync_log", columns=["id", "triggered_by"]).iter_rows())


def _with_starter(event: Event, starters: Mapping[str, str | None]) -> Event:
    """An event that a run saw is by who started the run, where nobody else is named."""
    if event.by is not None or event.run_id is None:
        return event
    values = {name: getattr(event, name) for name in Event.__slots__}
    return Event(**{**values, "by": starters.get(event.run_id)})


def _changes(rows: pl.DataFrame) -> Iterator[Event]:
    """What the versions tell. The change of id is left to `_placeholders`."""
    told = rows.filter(
        ~pl.col("change_type").is_in(_TOLD_ELSEWHERE), pl.col("field_name").ne_missing(pl.lit("mn_id"))
    ).sort("detected_at", "is_significant", "field_name", "id", descending=[False, True, False, False])
    for row in told.iter_rows(named=True):
        field, before, after = row["field_name"], row["old_value"], row["new_value"]
        words = f"{field}: {_or_nothing(before)} → {_or_nothing(after)}"
        if row["change_type"] == "new_mentor":
            words = f"first seen as {after}"
        yield Event(
            row["detected_at"], row["change_type"], words, run_id=row["run_id"], field=field, before=before,
            after=after, note=row["notes"], is_significant=bool(row["is_significant"]),
        )  # fmt: skip


def _or_nothing(value: str | None) -> str:
    return value if value else "nothing"


def _actions(rows: pl.DataFrame) -> Iterator[Event]:
    """What people set and decided."""
    for row in rows.sort("at", "id").iter_rows(named=True):
        value: Any = orjson.loads(row["value"]) if row["value"] else None
        after: str | None
        if row["action"] == EDIT:
            kind, field, after = "edit", row["field"], _in_words(value)
            words = f"{field} set to {after}"
        elif row["action"] == CONFLICT_DECISION:
            kind, field, after = "decision", value.get("field"), _in_words(value["value"])
            chosen = value["decision"]
            meant = "left undecided for good" if chosen == "skip" else f"{chosen}, {after}"
            words = f"{row['field']} decided: {meant} ({row['target_id']})"
        else:
            kind, field, after = "action", row["field"], None if value is None else _in_words(value)
            words = " ".join(filter(None, (row["action"], field, after, row["target_id"])))
        yield Event(row["at"], kind, words, row["actor"], field=field, after=after, note=row["note"])


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _conflicts(rows: pl.DataFrame, decided_here: set[str]) -> Iterator[Event]:
    """Conflicts as they came and went; a decision is told by its action, where there is one under that id."""
    for row in rows.sort("detected_at", "id").iter_rows(named=True):
        options = " or ".join(_option(row[name]) for name in ("option_a", "option_b"))
        words = f"{row['conflict_type']}: {options} ({row['id']})"
        yield Event(row["detected_at"], "conflict_detected", words)
        if row["status"] == "obsolete":
            gone = f"{row['conflict_type']} settled itself after this ({row['id']})"
            yield Event(row["last_seen_at"] or row["detected_at"], "conflict_obsolete", gone)
        elif row["status"] in DECIDED and row["id"] not in decided_here and row["resolved_at"]:
            chosen = row["user_decision"] or "left undecided for good"
            words = f"{row['conflict_type']} decided: {chosen} ({row['id']})"
            yield Event(row["resolved_at"], "conflict_resolved", words, row["resolved_by"])


def _option(option: str | None) -> str:
    told = orjson.loads(option) if option else {}
    return str(told.get("what") or " ".join(str(told[part]) for part in ("value", "name") if told.get(part)))


def _contact_log(reader: Reader, versions: pl.DataFrame, ids: Sequence[str], year: int) -> pl.DataFrame:
    """Rows of contact_archive_log about the mentor or a contact that was theirs.

    The log has no year, and an id may be another mentor's next year: the mentor's time is from their first version to
    the first version of the id in a later year.
    """
    contacts = decode(versions["record"])["gb_contact_id"].drop_nulls().unique()
    later = reader.read_or_empty("mentor_history", columns=["year", "mn_id", "valid_from"]).filter(
        pl.col("year") > year, pl.col("mn_id").is_in(list(ids))
    )
    log = reader.read_or_empty("contact_archive_log").filter(
        pl.col("mn_id").is_in(list(ids)) | pl.col("contact_id").is_in(contacts.implode()),
        pl.col("at") >= versions["valid_from"].min(),
    )
    return log if later.is_empty() else log.filter(pl.col("at") < later["valid_from"].min())


def _log_events(log: pl.DataFrame) -> Iterator[Event]:
    """What was done to contacts; that it was begun is told only where nothing else is known of it."""
    ended = log.filter(pl.col("state") != "started").select("contact_id", "operation", "run_id")
    begun = log.filter(state="started").join(ended, on=ended.columns, how="anti")
    told = pl.concat([log.filter(pl.col("state") != "started"), begun]).sort("at", "id")
    states = {"done": "done", "already": "was so already", "failed": "failed", "started": "begun, outcome unknown"}
    for row in told.iter_rows(named=True):
        facts = [
            f"{row['operation']} of contact {row['contact_id']}: {states[row['state']]}",
            f"the mentor's contact is {row['winner_contact_id']}" if row["winner_contact_id"] else None,
            f"External ID {row['external_id']}" if row["external_id"] else None,
            row["error"],
        ]
        yield Event(row["at"], row["operation"], "; ".join(filter(None, facts)), row["actor"], row["run_id"])


def _placeholders(given: pl.DataFrame, renames: pl.DataFrame) -> Iterator[Event]:
    for row in given.sort("assigned_at").iter_rows(named=True):
        words = f"got the placeholder id {row['mn_id']}: sign-up {row['submission_id']} has no mentor id"
        yield Event(row["assigned_at"], "placeholder", words)
    for row in renames.iter_rows(named=True):
        words = f"goes on as {row['mn_id']} after the placeholder {row['old_mn_id']}"
        yield Event(row["at"], "renamed", words, field="mn_id", before=row["old_mn_id"], after=row["mn_id"])


def _gone_and_back(versions: pl.DataFrame, year: int) -> Iterator[Event]:
    """When no version followed on the one that ended, and when one began that followed on none."""
    began, ended = set(versions["valid_from"]), set(versions["valid_to"].drop_nulls())
    for at in ended - began:
        yield Event(at, "gone", f"no longer among the mentors of {year}", is_significant=True)
    for at in began - ended - {min(began)}:
        yield Event(at, "back", f"among the mentors of {year} again", is_significant=True)


# -- the table as it was --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AsOf:
    """The mentors table as it was.

    Attributes:
        year: the program year.
        at: the moment.
        mn_id: the one mentor asked for; None for all.
        by_status: mentors by status_category.
        mentors: the table's columns, then `version` and `valid_from`, under the ids of that time.
    """

    year: int
    at: datetime
    mn_id: str | None
    by_status: dict[str, int]
    mentors: pl.DataFrame


def mentors_as_of(
    warehouse: Warehouse, program: ProgramYear, asked: str, now: datetime, *, mentor: str | None = None
) -> AsOf:
    """The mentors as they were at a time (in UTC), or when a run had ended (its id, or how it begins).

    Raises:
        NothingSyncedError: no mentor was known then.
        WrongUseError: the time is still to come.
        MentorPipelineError: no such time or run, or no such mentor then.
    """
    year = program.year
    with warehouse.reading() as reader:
        log = reader.read_or_empty("sync_log", columns=["id", "started_at", "finished_at"])
        known, history, aliases = _everybody(reader, year)
    if history.is_empty():
        msg = f"Nothing has been synced yet for {year}, so there is no history. Run `mentor-pipeline sync`."
        raise NothingSyncedError(msg)
    at = moment(asked, log)
    if at > now:
        msg = f"{at:%Y-%m-%d %H:%M:%S} UTC is still to come: it is {now:%Y-%m-%d %H:%M:%S} UTC now. Give a past time."
        raise WrongUseError(msg)
    _refuse_before(history["valid_from"].min(), at, f"No mentor of {year} was known")
    rows, mn_id = as_of(history, at), None
    if mentor is not None:
        mn_id = present_id(mentor, known, aliases, program)
        versions = rename(history, aliases).filter(mn_id=mn_id)
        _refuse_before(versions["valid_from"].min(), at, f"Mentor {mn_id} was not known")
        rows = rows.filter(pl.col("mn_id").is_in(versions["stored_mn_id"].implode()))
        if rows.is_empty():
            msg = f"Mentor {mn_id} was not among the mentors of {year} at {at:%Y-%m-%d %H:%M} UTC. `history` tells why."
            raise MentorPipelineError(msg)
    counted = rows["status_category"].drop_nulls().rename("value").value_counts().sort("count", "value")
    return AsOf(year, at, mn_id, dict(counted.reverse().iter_rows()), rows)


def _refuse_before(first: Any, at: datetime, what: str) -> None:
    if at < first:
        msg = f"{what} at {at:%Y-%m-%d %H:%M:%S} UTC; that began at {first:%Y-%m-%d %H:%M:%S} UTC. Give a later time."
        raise NothingSyncedError(msg)


# -- files ----------------------------------------------------------------------------------------------------------


def write_mentors(path: Path, mentors: pl.DataFrame) -> int:
    """Write mentors (rows of `AsOf.mentors`) as a CSV with all their columns, to a file that is not there yet.

    Returns:
        How many.

    Raises:
        ExportRefusedError: there is such a file, or it cannot be written.
    """
    kinds = {column.name: column.type for column in TABLES["mentors"].columns}
    kinds |= {"version": Type.INTEGER, "valid_from": Type.TIMESTAMP}
    return write_new_csv(path, mentors.select(readable(name, kinds[name]).alias(name) for name in mentors.columns))


def write_changes(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write changes, as `reports.changes` gives them, as a CSV, to a file that is not there yet.

    Returns:
        How many.

    Raises:
        ExportRefusedError: there is such a file, or it cannot be written.
    """
    schema = {name: TABLES["mn_changes"].schema.get(name, pl.String()) for name in CHANGE_COLUMNS}
    frame = pl.DataFrame([{name: row[name] for name in CHANGE_COLUMNS} for row in rows], schema=schema)
    kinds = {name: Type.TIMESTAMP if name == "detected_at" else Type.TEXT for name in CHANGE_COLUMNS}
    return write_new_csv(path, frame.select(readable(name, kinds[name]).alias(name) for name in CHANGE_COLUMNS))
