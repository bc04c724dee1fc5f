"""Putting our tags on the mentors' contacts and taking them off again, as a person asks for it: `tags push` (R6).

What is to be changed follows from `mentors` and the known contacts (`domain.tags`); nothing but our own tags is ever
sent. One contact after the other, each logged in `tag_log` before and after its calls, so a killed run shows how far it
came and can be started again: both calls may be repeated. The job around this is in `assets.upkeep`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import polars as pl

from mentor_pipeline.domain.knowledge import Reading, canonical_contacts
from mentor_pipeline.domain.tags import CONTACT_COLUMNS, MENTOR_COLUMNS, tag_changes, tags_told_by_log
from mentor_pipeline.errors import ApiError, DecisionRefusedError, MentorPipelineError
from mentor_pipeline.operator.archive import GONE, concerns_every_call
from mentor_pipeline.operator.contacts import CONTACTS, Learner, full_read_at
from mentor_pipeline.resources.givebutter import ContactState
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from mentor_pipeline.resources.givebutter import GivebutterResource
    from mentor_pipeline.resources.warehouse import Reader, Warehouse
    from mentor_pipeline.settings import ProgramYear

State: TypeAlias = Literal["planned", "done", "failed", "gone", "archived"]

LOG: Final = "tag_log"
_ARCHIVED: Final = (
    "It is archived in Givebutter, where its tags cannot be changed. Run `mentor-pipeline rebuild`: from then on it "
    "counts as archived here too."
)


@dataclass(frozen=True, slots=True)
class TagMove:
    """One contact whose tags are to be changed, and what came of it.

    Attributes:
        contact_id: the contact.
        mn_id: the mentor whose contact it is.
        mentor_name: that mentor's name.
        add: tags to put on; of what failed, those that were put on before.
        remove: tags to take off; of what failed, those that were taken off before.
        reason: which of our tags hold now.
        state: planned (nothing was asked of Givebutter), done, failed, or why it cannot be done: the contact is
            archived, or gone (Givebutter no longer has it).
        error: why it could not be done.
    """

    contact_id: int
    mn_id: str
    mentor_name: str | None
    add: tuple[str, ...]
    remove: tuple[str, ...]
    reason: str
    state: State = "planned"
    error: str | None = None

    @property
    def is_failed(self) -> bool:
        """True when the contact is not as the person wanted it."""
        return self.state not in {"planned", "done"}


@dataclass(frozen=True, slots=True)
class TagReport:
    """What was done, or of a dry run what would be.

    Attributes:
        is_applied: False for a dry run.
        moves: every contact, in the order in which they were taken.
    """

    is_applied: bool
    moves: tuple[TagMove, ...]

    @property
    def summary(self) -> str:
        """How many contacts and tags, in one sentence."""
        if not self.moves:
            return "The mentors' contacts carry the tags that they should: nothing was done."
        counted = [move for move in self.moves if self.is_applied is (move.state == "done")]
        added = _number(sum(len(move.add) for move in counted), "tag")
        removed = _number(sum(len(move.remove) for move in counted), "tag")
        contacts = _number(len(counted), "contact")
        if self.is_applied:
            failed = sum(move.is_failed for move in self.moves)
            return f"{contacts} changed: {added} put on, {removed} taken off. {failed} failed."
        return (
            f"{contacts} would be changed: {added} put on, {removed} taken off. Nothing was done: this was a dry run."
        )

    @property
    def failure(self) -> str | None:
        """Who failed and why; None when nobody did, and for a dry run."""
        failed = [move for move in self.moves if move.is_failed]
        if not failed or not self.is_applied:
            return None
        named = "\n".join(f"  contact {move.contact_id}, {move.mentor_name}: {move.error}" for move in failed)
        return (
            f"The tags of {len(failed)} of {_number(len(self.moves), 'contact')} could not be changed; those of all "
            f"others were. What was done is in {LOG}, and it is safe to run this again:\n{named}"
        )


def planned(
    warehouse: Warehouse, program: ProgramYear, contact_ids: Collection[int] = (), *, limit: int | None = None
) -> TagReport:
    """Tell which tags would be put on and taken off which contacts; asks nobody and changes nothing.

    Args:
        warehouse: where mentors, log and contacts are.
        program: the year.
        contact_ids: only these; when empty, all that need it. One that carries the right tags already needs nothing.
        limit: at most so many; those that failed when last tried come last, so it always moves on.

    Raises:
        DecisionRefusedError: some of `contact_ids` are no linked mentor's contact.
    """
    with warehouse.reading() as reader:
        mentors = reader.read_or_empty("mentors", columns=[*MENTOR_COLUMNS, "full_name"], year=program.year)
        contacts = reader.read_or_empty(CONTACTS, columns=[*CONTACT_COLUMNS, "last_seen_at"])
        told = tags_told_by_log(reader.read_or_empty(LOG), contacts, full_read_at(reader)).drop("at")
        failed = _failed_last(reader.read_or_empty(LOG))
    linked = set(mentors.filter(gb_match_status="linked")["gb_contact_id"])
    _refuse([contact_id for contact_id in contact_ids if contact_id not in linked])
    wanted = tag_changes(mentors, contacts.update(told, on="contact_id"), program)
    rows = wanted.join(mentors.select("mn_id", "full_name"), on="mn_id").sort(
        pl.col("contact_id").is_in(failed), "contact_id"
    )
    if contact_ids:
        rows = rows.filter(pl.col("contact_id").is_in(list(contact_ids)))
    moves = [
        TagMove(
            contact_id=row["contact_id"],
            mn_id=row["mn_id"],
            mentor_name=row["full_name"],
            add=tuple(row["add"]),
            remove=tuple(row["remove"]),
            reason=row["reason"],
        )
        for row in rows.head(rows.height if limit is None else limit).iter_rows(named=True)
    ]
    return TagReport(is_applied=False, moves=tuple(moves))


def carried_out(report: TagReport, warehouse: Warehouse, run_id: str) -> TagReport:
    """What became of a report's contacts in a run, by the log; those that it did not come to stay `planned`."""
    log = warehouse.read_or_empty(LOG).filter(pl.col("state") != "started", run_id=run_id)
    logged = {row["contact_id"]: row for row in log.to_dicts()}
    moves = [
        replace(move, state=row["state"], error=row["error"], add=tuple(row["added"]), remove=tuple(row["removed"]))
        if (row := logged.get(move.contact_id))
        else move
        for move in report.moves
    ]
    return replace(report, is_applied=True, moves=tuple(moves))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagger:
    """Changes contacts' tags for one person in one run, who holds the writer lock.

    Attributes:
        warehouse: where mentors, log and contacts are.
        givebutter: is asked only when something is applied.
        program: the year.
        actor: who acts.
        run_id: the Dagster run.
        clock: the time.
        on_move: told of every contact that Givebutter was asked about.
    """

    warehouse: Warehouse
    givebutter: GivebutterResource
    program: ProgramYear
    actor: str
    run_id: str
    clock: Callable[[], datetime]
    on_move: Callable[[TagMove], None] | None = None

    def run(self, contact_ids: Collection[int] = (), *, limit: int | None = None, apply: bool = False) -> TagReport:
        """Put on and take off what `planned` says; without `apply` only tell what that would be.

        Raises:
            DecisionRefusedError: some of `contact_ids` are no linked mentor's contact; nothing was done.
            MentorPipelineError: Givebutter refused the key, or there is none; what was done before is logged.
        """
        report = planned(self.warehouse, self.program, contact_ids, limit=limit)
        if not apply:
            return report
        begun_at = self.clock()
        moves: list[TagMove] = []
        try:
            for move in report.moves:
                moves.append(self._carry_out(move))
                if self.on_move is not None:
                    self.on_move(moves[-1])
        finally:
            # Also of a run that is stopped halfway, the next one shall see what was done.
            self._learn(moves, begun_at)
        return replace(report, is_applied=True, moves=tuple(moves))

    def _carry_out(self, move: TagMove) -> TagMove:
        """Change the tags of one contact, with the log written before and after."""
        self._log(move, "started")
        done = replace(move, add=(), remove=())
        try:
            if move.add:
                self.givebutter.tags_add(move.contact_id, move.add)
                done = replace(done, add=move.add)
            if move.remove:
                self.givebutter.tags_remove(move.contact_id, move.remove)
        except MentorPipelineError as error:
            failed = self._told_why(done, error)
            self._log(failed, "failed")
            if concerns_every_call(error):
                raise
            return failed
        self._log(move, "done")
        return replace(move, state="done")

    def _told_why(self, move: TagMove, error: MentorPipelineError) -> TagMove:
        """What a refused call means: the contact itself tells whether it is archived or gone."""
        state = ContactState.FOUND
        if isinstance(error, ApiError) and error.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
            with suppress(MentorPipelineError):
                state = self.givebutter.contact(move.contact_id).state
        match state:
            case ContactState.GONE:
                return replace(move, state="gone", error=GONE)
            case ContactState.ARCHIVED:
                return replace(move, state="archived", error=_ARCHIVED)
            case ContactState.FOUND:
                return replace(move, state="failed", error=str(error))

    def _log(self, move: TagMove, state: Literal["started", "done", "failed"]) -> None:
        at = self.clock()
        row: dict[str, Any] = {
            "id": f"{at:%Y%m%dT%H%M%S.%f}Z-{move.contact_id}-{state}",
            "contact_id": move.contact_id,
            "mn_id": move.mn_id,
            "added": list(move.add),
            "removed": list(move.remove),
            "state": state,
            "error": move.error,
            "at": at,
            "actor": self.actor,
            "run_id": self.run_id,
        }
        self.warehouse.append(LOG, pl.DataFrame([row], schema=TABLES[LOG].schema))

    def _learn(self, moves: list[TagMove], begun_at: datetime) -> None:
        """Lay what the log tells over what was known (R12), also what a killed run did, in one transaction."""
        gone, archived = ([move.contact_id for move in moves if move.state == state] for state in ("gone", "archived"))
        with self.warehouse.write() as transaction:
            learner = Learner(transaction, now=begun_at, mn_id_prefix=self.program.mn_id_prefix)
            for reading in [*_told(transaction), *_found(transaction, gone, archived, begun_at)]:
                learner.learn(reading)


def _told(reader: Reader) -> list[Reading]:
    """What the log tells of tags since the contacts were last read, as a reading."""
    known = reader.read_or_empty(CONTACTS, columns=["contact_id", "tags", "missing_since", "last_seen_at"])
    told = tags_told_by_log(reader.read_or_empty(LOG), known, full_read_at(reader))
    if told.is_empty():
        return []
    as_of: datetime = told["at"].max()  # type: ignore[assignment]
    return [Reading(canonical_contacts(told.drop("at")), as_of, "api")]


def _found(reader: Reader, gone: list[int], archived: list[int], at: datetime) -> list[Reading]:
    """What Givebutter said of contacts that could not be changed, as a reading."""
    if not gone and not archived:
        return []
    ids = pl.DataFrame({"contact_id": pl.Series(archived, dtype=pl.Int64)})
    known = reader.read_or_empty(CONTACTS, columns=["contact_id", "archived_at"])
    since = ids.join(known, on="contact_id", how="left").with_columns(pl.col("archived_at").fill_null(at))
    return [Reading(canonical_contacts(since), at, "api", gone=gone)]


def _failed_last(log: pl.DataFrame) -> list[int]:
    """Contacts whose tags could not be changed when that was last tried."""
    last = log.sort("at", "id").unique("contact_id", keep="last")
    return last.filter(state="failed")["contact_id"].to_list()


def _refuse(contact_ids: Collection[int]) -> None:
    if contact_ids:
        msg = (
            f"Nothing was done, since some of the chosen contacts are no linked mentor's: "
            f"{', '.join(map(str, contact_ids))}. Leave them out."
        )
        raise DecisionRefusedError(msg)


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
