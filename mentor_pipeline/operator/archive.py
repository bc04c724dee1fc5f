"""Changing contacts in Givebutter as a person asks for it, and taking that back: archive and release (R4.1, R5).

What to archive is read from `contact_archive_plan`, which external ids to take off from `contact_release_plan`, what to
take back from `contact_archive_log`; nothing else is ever touched. Every call is logged before and after, so a killed
run shows how far it came and can be started again. What goes into the plans is decided in `domain.archive` and
`domain.release`; the jobs around this are in `assets.upkeep`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

import polars as pl

from mentor_pipeline.domain.archive import not_taken_back, told_by_log
from mentor_pipeline.domain.knowledge import Reading, canonical_contacts
from mentor_pipeline.domain.normalise import comparable_mn_id, normalise_mn_id
from mentor_pipeline.errors import ApiError, ConfigError, DecisionRefusedError, MentorPipelineError
from mentor_pipeline.operator.contacts import CONTACTS, Learner, full_read_at
from mentor_pipeline.resources.givebutter import ContactState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from mentor_pipeline.resources.givebutter import GivebutterResource, Outcome
    from mentor_pipeline.resources.warehouse import Reader, Warehouse
    from mentor_pipeline.settings import ProgramYear

Operation: TypeAlias = Literal["archive", "restore", "release", "unrelease"]
State: TypeAlias = Literal["planned", "done", "already", "failed", "gone"]

PLAN: Final = "contact_archive_plan"
RELEASE_PLAN: Final = "contact_release_plan"
LOG: Final = "contact_archive_log"
_KNOWN: Final = (
    "contact_id",
    "first_name",
    "last_name",
    "external_id",
    "external_mn_id",
    "archived_at",
    "missing_since",
    "last_seen_at",
)
GONE: Final = "It no longer exists in Givebutter: it was deleted, or merged into another contact."
_NOTHING_TO_TAKE_BACK: Final = (
    "the log knows of nothing to take back: not {} from here, taken back since, or gone from Givebutter"
)


@dataclass(frozen=True, slots=True)
class ContactMove:
    """One contact that is to be changed, and what came of it.

    Attributes:
        contact_id: the contact.
        name: its name.
        mn_id: the mentor whose duplicate it is, or whose id it carries.
        mentor_name: that mentor's name.
        winner_contact_id: that mentor's contact, for a duplicate.
        winner_name: the name of that contact.
        external_id: the External ID that is to be taken off or put back.
        reason: why; of what is taken back, when and by whom it was done.
        state: planned (nothing was asked of Givebutter), done, already (it was so before), failed, or gone (Givebutter
            no longer has it).
        error: why it failed; in a dry run, why it would.
    """

    contact_id: int
    name: str
    mn_id: str | None
    mentor_name: str | None
    winner_contact_id: int | None
    winner_name: str | None
    external_id: str | None
    reason: str
    state: State = "planned"
    error: str | None = None

    @property
    def is_failed(self) -> bool:
        """True when the contact is not as the person wanted it."""
        return self.state in {"failed", "gone"}


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What was done, or of a dry run what would be.

    Attributes:
        operation: what to do with each contact.
        is_applied: False for a dry run.
        moves: every contact, in the order in which they were taken.
    """

    operation: Operation
    is_applied: bool
    moves: tuple[ContactMove, ...]

    @property
    def summary(self) -> str:
        """How many contacts, in one sentence."""
        word, states = _KINDS[self.operation].done_word, [move.state for move in self.moves]
        failed = sum(move.is_failed for move in self.moves)
        if not states:
            return f"No contact is to be {word}: nothing was done."
        if self.is_applied:
            done, already = states.count("done"), states.count("already")
            return f"{_contacts(done)} {word}, {already} were so already, {failed} failed."
        but = f", {failed} could not be" if failed else ""
        return f"{_contacts(len(states) - failed)} would be {word}{but}. Nothing was done: this was a dry run."

    @property
    def failure(self) -> str | None:
        """Who failed and why; None when nobody did, and for a dry run."""
        failed = [move for move in self.moves if move.is_failed]
        if not failed or not self.is_applied:
            return None
        named = "\n".join(f"  contact {move.contact_id}, {move.name}: {move.error}" for move in failed)
        return (
            f"{len(failed)} of {_contacts(len(self.moves))} could not be {_KINDS[self.operation].done_word}; all "
            f"others were. What was done is in {LOG}, and it is safe to run this again:\n{named}"
        )


def planned(
    warehouse: Warehouse,
    program: ProgramYear,
    operation: Operation,
    contact_ids: Collection[int] = (),
    *,
    limit: int | None = None,
) -> ArchiveReport:
    """Tell what would be done with which contacts; asks nobody and changes nothing.

    Args:
        warehouse: where plans, log and contacts are.
        program: the year whose plan counts.
        operation: what to do.
        contact_ids: only these; when empty, all that are not so already as far as is known.
        limit: at most so many; those known to be so already come last, so it always moves on.

    Raises:
        DecisionRefusedError: some of `contact_ids` are not in the plan or the log.
    """
    kind = _KINDS[operation]
    with warehouse.reading() as reader:
        rows = kind.rows(reader, program)
        listed = set(rows["contact_id"])
        _refuse(kind, {one: kind.absent(reader, program, one) for one in contact_ids if one not in listed})
        known = _known(reader)
        state = known.select("contact_id", is_done=kind.is_done)
        wanted = rows.join(state, on="contact_id", how="left").sort(
            pl.col("is_done").fill_null(value=False), "contact_id"
        )
        chosen = pl.col("contact_id").is_in(list(contact_ids)) if contact_ids else pl.col("is_done").not_()
        wanted = wanted.filter(chosen.fill_null(value=True))
        moves = _moves(wanted.head(wanted.height if limit is None else limit), known, reader, program)
        moves = [_hindered(move, kind.hindrance(reader, program, move)) for move in moves]
    return ArchiveReport(operation, is_applied=False, moves=tuple(moves))


def to_review(warehouse: Warehouse, program: ProgramYear) -> tuple[ContactMove, ...]:
    """The duplicates that the plan leaves to a person, with what speaks against archiving them."""
    with warehouse.reading() as reader:
        plan = reader.read_or_empty(PLAN, year=program.year).filter(action="review").sort("contact_id")
        return tuple(_moves(plan.with_columns(external_id=_NO_TEXT), _known(reader), reader, program))


def carried_out(report: ArchiveReport, warehouse: Warehouse, run_id: str) -> ArchiveReport:
    """What became of a report's contacts in a run, by the log; those that it did not come to stay `planned`."""
    log = warehouse.read_or_empty(LOG).filter(run_id=run_id).sort("at", "id").unique("contact_id", keep="last")
    logged = {row["contact_id"]: row for row in log.to_dicts()}
    moves = [
        replace(move, state=row["state"], error=row["error"])
        if (row := logged.get(move.contact_id)) and row["state"] != "started"
        else move
        for move in report.moves
    ]
    return ArchiveReport(report.operation, is_applied=True, moves=tuple(moves))


@dataclass(frozen=True, slots=True, kw_only=True)
class Archivist:
    """Changes contacts for one person in one run, who holds the writer lock.

    Attributes:
        warehouse: where plans, log and contacts are.
        givebutter: is asked only when something is applied.
        program: the year whose plan counts.
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
    on_move: Callable[[ContactMove], None] | None = None

    def run(
        self,
        operation: Operation,
        contact_ids: Collection[int] = (),
        *,
        limit: int | None = None,
        apply: bool = False,
    ) -> ArchiveReport:
        """Do what the plan or the log says; without `apply` only tell what that would be.

        Args:
            operation: what to do.
            contact_ids: see `planned`.
            limit: see `planned`.
            apply: really do it.

        Raises:
            DecisionRefusedError: some of `contact_ids` are not in the plan or the log; nothing was done.
            MentorPipelineError: Givebutter refused the key, or there is none; what was done before is logged.
        """
        report = planned(self.warehouse, self.program, operation, contact_ids, limit=limit)
        if not apply:
            return report
        begun_at = self.clock()
        unheard = _unheard(self.warehouse.read_or_empty(LOG), operation)
        moves: list[ContactMove] = []
        try:
            for move in report.moves:
                moves.append(self._carry_out(_KINDS[operation], move, is_unheard=move.contact_id in unheard))
                if self.on_move is not None:
                    self.on_move(moves[-1])
        finally:
            # Also of a run that is stopped halfway, the next matching shall see what was done.
            self._learn([move.contact_id for move in moves if move.state == "gone"], begun_at)
        return ArchiveReport(operation, is_applied=True, moves=tuple(moves))

    # -- one contact after the other ---------------------------------------------------------------------------------

    def _carry_out(self, kind: _Kind, move: ContactMove, *, is_unheard: bool) -> ContactMove:
        """Change one contact, with the log written before and after.

        Where an earlier call of ours was never answered and the contact now is as wanted, that call did it: it counts
        as done, so that the change is told and can be taken back.
        """
        move = self._begin(kind, move)
        if move.is_failed:
            return move
        try:
            answer = kind.call(self.givebutter, move)
        except MentorPipelineError as error:
            failed = replace(move, state="failed", error=str(error))
            self.warehouse.append(LOG, self._log_row(kind, failed, "failed"))
            if concerns_every_call(error):
                raise
            return failed
        if answer == "gone":
            gone = replace(move, state="gone", error=GONE)
            self.warehouse.append(LOG, self._log_row(kind, gone, "failed"))
            return gone
        state: Literal["done", "already"] = "done" if is_unheard else answer
        self.warehouse.append(LOG, self._log_row(kind, move, state))
        return replace(move, state=state)

    def _begin(self, kind: _Kind, move: ContactMove) -> ContactMove:
        """Log that a call is about to be made; failed if it must not be made any more."""
        with self.warehouse.write() as transaction:
            now = kind.rows(transaction, self.program).filter(contact_id=move.contact_id)
            if now.is_empty():
                why_not: str | None = kind.absent(transaction, self.program, move.contact_id)
            elif now["external_id"].item() != move.external_id:
                why_not = f"the plan names external id {now['external_id'].item()} by now"
            else:
                why_not = kind.hindrance(transaction, self.program, move)
            if why_not is None:
                transaction.append(LOG, self._log_row(kind, move, "started"))
        return _hindered(replace(move, state="planned", error=None), why_not)

    def _log_row(self, kind: _Kind, move: ContactMove, state: str) -> pl.DataFrame:
        at = self.clock()
        row: dict[str, Any] = {
            "id": f"{at:%Y%m%dT%H%M%S.%f}Z-{move.contact_id}-{kind.operation}-{state}",
            "contact_id": move.contact_id,
            "mn_id": move.mn_id,
            "winner_contact_id": move.winner_contact_id,
            "external_id": move.external_id,
            "operation": kind.operation,
            "state": state,
            "error": move.error,
            "at": at,
            "actor": self.actor,
            "run_id": self.run_id,
        }
        return pl.DataFrame([row])

    def _learn(self, gone: list[int], begun_at: datetime) -> None:
        """Lay what the log tells over what was known (R12), also what a killed run did, in one transaction."""
        with self.warehouse.write() as transaction:
            readings = _told_by_log(transaction)
            if gone:
                none = pl.DataFrame(schema={"contact_id": pl.Int64})
                readings.append(Reading(canonical_contacts(none), begun_at, "api", gone=gone))
            learner = Learner(transaction, now=begun_at, mn_id_prefix=self.program.mn_id_prefix)
            for reading in readings:
                learner.learn(reading)


# -- the operations --------------------------------------------------------------------------------------------------


class _Kind(ABC):
    """What is peculiar to one operation."""

    operation: ClassVar[Operation]
    done_word: ClassVar[str]
    is_done: ClassVar[pl.Expr]
    """Whether a contact, as known, is so already."""

    @abstractmethod
    def rows(self, reader: Reader, program: ProgramYear) -> pl.DataFrame:
        """Every contact that it may be done to: contact_id, mn_id, winner_contact_id, external_id, reason."""

    @abstractmethod
    def absent(self, reader: Reader, program: ProgramYear, contact_id: int) -> str:
        """Why a contact is not among them."""

    def hindrance(self, reader: Reader, program: ProgramYear, move: ContactMove) -> str | None:  # noqa: ARG002
        """What else speaks against it, as far as is known here."""
        return None

    @abstractmethod
    def call(self, givebutter: GivebutterResource, move: ContactMove) -> Outcome:
        """Do it.

        Raises:
            MentorPipelineError: it could not be done, and the contact is as it was.
        """


class _Archive(_Kind):
    operation = "archive"
    done_word = "archived"
    is_done = pl.col("archived_at").is_not_null()

    def rows(self, reader: Reader, program: ProgramYear) -> pl.DataFrame:
        plan = reader.read_or_empty(PLAN, year=program.year).filter(action="archive")
        return plan.select("contact_id", "mn_id", "winner_contact_id", "reason", external_id=_NO_TEXT)

    def absent(self, reader: Reader, program: ProgramYear, contact_id: int) -> str:
        plan = reader.read_or_empty(PLAN, year=program.year).filter(contact_id=contact_id)
        return f"the plan says to review it: {plan['reason'].item()}" if plan.height else "it is not in the plan"

    def call(self, givebutter: GivebutterResource, move: ContactMove) -> Outcome:
        return givebutter.archive(move.contact_id)


class _Restore(_Kind):
    operation = "restore"
    done_word = "restored"
    is_done = pl.col("archived_at").is_null()

    def rows(self, reader: Reader, program: ProgramYear) -> pl.DataFrame:  # noqa: ARG002 - the log has no year
        return _done_from_here(reader, "archive", self.operation, "archived")

    def absent(self, reader: Reader, program: ProgramYear, contact_id: int) -> str:  # noqa: ARG002
        return _NOTHING_TO_TAKE_BACK.format("archived")

    def call(self, givebutter: GivebutterResource, move: ContactMove) -> Outcome:
        return givebutter.restore(move.contact_id)


class _Release(_Kind):
    operation = "release"
    done_word = "released"
    is_done = pl.col("external_id").is_null()

    def rows(self, reader: Reader, program: ProgramYear) -> pl.DataFrame:
        plan = reader.read_or_empty(RELEASE_PLAN, year=program.year)
        decided = pl.format(
            "{}; decided by {}, {}", "reason", pl.col("decided_by").fill_null("nobody named"), _time("decided_at")
        )
        no_contact = pl.lit(None, pl.Int64)
        return plan.select("contact_id", "mn_id", "external_id", winner_contact_id=no_contact, reason=decided)

    def absent(self, reader: Reader, program: ProgramYear, contact_id: int) -> str:  # noqa: ARG002
        return "it is not in the plan: nobody decided so, or it carries no mentor's id (any more)"

    def call(self, givebutter: GivebutterResource, move: ContactMove) -> Outcome:
        return _exchange_external_id(givebutter, move.contact_id, before=move.external_id, after=None)


class _Unrelease(_Kind):
    operation = "unrelease"
    done_word = "given their external id back"
    is_done = pl.col("external_id").is_not_null()

    def rows(self, reader: Reader, program: ProgramYear) -> pl.DataFrame:  # noqa: ARG002 - the log has no year
        return _done_from_here(reader, "release", self.operation, "released")

    def absent(self, reader: Reader, program: ProgramYear, contact_id: int) -> str:  # noqa: ARG002
        return _NOTHING_TO_TAKE_BACK.format("released")

    def hindrance(self, reader: Reader, program: ProgramYear, move: ContactMove) -> str | None:
        """Another contact that carries the id by now, in any spelling."""
        mn_id = normalise_mn_id(move.external_id, program.mn_id_prefix)
        same_mentor = pl.col("external_mn_id") == (comparable_mn_id(mn_id) if mn_id else None)
        carriers = (
            _known(reader)
            .filter(pl.col("external_id").is_not_null(), pl.col("contact_id") != move.contact_id)
            .filter((pl.col("external_id") == move.external_id) | same_mentor.fill_null(value=False))
            .sort("contact_id")
        )
        if carriers.is_empty():
            return None
        carrier = carriers.row(0, named=True)
        return f"contact {carrier['contact_id']} carries external id {carrier['external_id']} by now"

    def call(self, givebutter: GivebutterResource, move: ContactMove) -> Outcome:
        return _exchange_external_id(givebutter, move.contact_id, before=None, after=move.external_id)


_NO_TEXT: Final = pl.lit(None, pl.String)
_KINDS: Final[Mapping[Operation, _Kind]] = {
    kind.operation: kind for kind in (_Archive(), _Restore(), _Release(), _Unrelease())
}


def _done_from_here(reader: Reader, operation: Operation, undo: Operation, done_word: str) -> pl.DataFrame:
    """What the log has as done from here and not taken back, of contacts that are still there."""
    contacts = reader.read_or_empty(CONTACTS, columns=["contact_id", "missing_since"])
    return (
        not_taken_back(reader.read_or_empty(LOG), operation, undo)
        .join(contacts.filter(pl.col("missing_since").is_not_null()), on="contact_id", how="anti")
        .with_columns(reason=pl.format(f"{done_word} {{}} by {{}}", _time("at"), pl.col("actor").fill_null("nobody")))
        .select("contact_id", "mn_id", "winner_contact_id", "external_id", "reason")
    )


def _exchange_external_id(
    givebutter: GivebutterResource, contact_id: int, *, before: str | None, after: str | None
) -> Outcome:
    """Set the External ID of a contact that has the expected one; nothing else of it changes.

    Raises:
        DecisionRefusedError: it has another one, or it is archived; nothing was done.
        ApiError: Givebutter refused, or said yes and did not do it.
    """
    read = givebutter.contact(contact_id)
    if read.state is ContactState.GONE:
        return "gone"
    if read.state is ContactState.ARCHIVED or read.contact is None:
        msg = (
            "It is archived in Givebutter, where nothing of it can be changed, and goes on reserving its external id. "
            "Nothing was done. Restore it there, and run `mentor-pipeline contact-refresh`."
        )
        raise DecisionRefusedError(msg)
    held = _external_id(read.contact)
    if held == after:
        return "already"
    if held != before:
        msg = (
            f"In Givebutter it has external id {held or 'none'} now, not {before or 'none'}. Nothing was done. Run "
            "`mentor-pipeline sync` and look at it again."
        )
        raise DecisionRefusedError(msg)
    first_name, last_name = (str(read.contact.get(name) or "") for name in ("first_name", "last_name"))
    givebutter.update(contact_id, first_name=first_name, last_name=last_name, changes={"external_id": after})
    if (held := _external_id(givebutter.contact(contact_id).contact or {})) != after:
        msg = (
            f"Givebutter took the change, but the contact has external id {held or 'none'}, not {after or 'none'}. "
            "Change it in Givebutter by hand."
        )
        raise ApiError(msg, retryable=False)
    return "done"


def _external_id(contact: Mapping[str, Any]) -> str | None:
    """A contact's External ID as it is known here: trimmed, and None where there is none."""
    return str(contact.get("external_id") or "").strip() or None


# -- what is known ---------------------------------------------------------------------------------------------------


def _known(reader: Reader) -> pl.DataFrame:
    """What is known of the contacts, with what the log tells beyond it."""
    known = reader.read_or_empty(CONTACTS, columns=_KNOWN)
    for reading in _told_by_log(reader):
        known = known.update(reading.contacts, on="contact_id", include_nulls=True)
    # Read anew by `learn`; until then it is that of the external id, or nothing.
    return known.with_columns(external_mn_id=pl.when(pl.col("external_id").is_not_null()).then("external_mn_id"))


def _told_by_log(reader: Reader) -> list[Reading]:
    """What the log tells of contacts since they were last read: one reading of each column, the older first."""
    log = reader.read_or_empty(LOG)
    known = reader.read_or_empty(
        CONTACTS, columns=["contact_id", "archived_at", "external_id", "missing_since", "last_seen_at"]
    )
    readings: list[tuple[datetime, Reading]] = []
    for column in ("external_id", "archived_at"):
        told = told_by_log(log, known, column, full_read_at(reader))
        if told.height:
            as_of: datetime = told["at"].max()  # type: ignore[assignment]
            readings.append((as_of, Reading(canonical_contacts(told.drop("at")), as_of, "api")))
    return [reading for _, reading in sorted(readings, key=lambda one: one[0])]


def _unheard(log: pl.DataFrame, operation: Operation) -> set[int]:
    """Contacts whose last call of this kind never was heard to succeed: the run was killed, or no answer came."""
    last = log.filter(operation=operation).sort("at", "id").unique("contact_id", keep="last")
    return set(last.filter(pl.col("state").is_in(["started", "failed"]))["contact_id"])


def _moves(rows: pl.DataFrame, known: pl.DataFrame, reader: Reader, program: ProgramYear) -> list[ContactMove]:
    """Contacts with the names by which people know them."""
    wanted = pl.concat([rows["contact_id"], rows["winner_contact_id"]]).drop_nulls()
    named = known.filter(pl.col("contact_id").is_in(wanted.implode())).select(
        "contact_id", name=pl.concat_str("first_name", "last_name", separator=" ", ignore_nulls=True)
    )
    names = {contact_id: name or "no name" for contact_id, name in named.iter_rows()}
    mentors = dict(reader.read_or_empty("mentors", columns=["mn_id", "full_name"], year=program.year).iter_rows())
    return [
        ContactMove(
            contact_id=row["contact_id"],
            name=names.get(row["contact_id"], "no name"),
            mn_id=row["mn_id"],
            mentor_name=mentors.get(row["mn_id"]),
            winner_contact_id=row["winner_contact_id"],
            winner_name=names.get(row["winner_contact_id"]),
            external_id=row["external_id"],
            reason=row["reason"],
        )
        for row in rows.iter_rows(named=True)
    ]


def _hindered(move: ContactMove, why_not: str | None) -> ContactMove:
    return move if why_not is None else replace(move, state="failed", error=f"Nothing was done: {why_not}.")


def concerns_every_call(error: MentorPipelineError) -> bool:
    """True when no other contact would fare better: the key is missing or refused."""
    return isinstance(error, ConfigError) or (isinstance(error, ApiError) and error.status == HTTPStatus.UNAUTHORIZED)


def _refuse(kind: _Kind, refused: Mapping[int, str]) -> None:
    """Refuse everything when some of the contacts that a person chose cannot be moved."""
    if refused:
        named = "\n".join(f"  contact {contact_id}: {why}" for contact_id, why in refused.items())
        msg = (
            f"Nothing was done, since some of the chosen contacts cannot be {kind.done_word}; leave them out:\n{named}"
        )
        raise DecisionRefusedError(msg)


def _time(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%d %H:%M UTC")


def _contacts(count: int) -> str:
    return f"{count} contact" if count == 1 else f"{count} contacts"
