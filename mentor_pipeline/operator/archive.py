"""Archiving duplicates in Givebutter as a person asks for it, and taking that back (R5).

What to archive is read from `contact_archive_plan`, what to restore from `contact_archive_log`; nothing else is ever
touched. Every call is logged before and after, so a killed run shows how far it came and can be started again. Which
contacts may be archived is decided in `domain.archive`; the jobs around this are in `assets.upkeep`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import polars as pl

from mentor_pipeline.domain.archive import archived_from_here
from mentor_pipeline.domain.knowledge import Reading, canonical_contacts, learn
from mentor_pipeline.errors import ApiError, DecisionRefusedError, MentorPipelineError
from mentor_pipeline.operator.imports import CONTACTS_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from mentor_pipeline.resources.givebutter import GivebutterResource
    from mentor_pipeline.resources.warehouse import Transaction, Warehouse
    from mentor_pipeline.settings import ProgramYear

Operation: TypeAlias = Literal["archive", "restore"]
State: TypeAlias = Literal["planned", "done", "already", "failed", "gone"]

PLAN: Final = "contact_archive_plan"
LOG: Final = "contact_archive_log"
_CONTACTS: Final = "raw_gb_full_contacts"
_SHOWN: Final = ("contact_id", "first_name", "last_name", "archived_at", "missing_since")
_DONE_WORD: Final = {"archive": "archived", "restore": "restored"}
_GONE: Final = "It no longer exists in Givebutter: it was deleted, or merged into another contact."


@dataclass(frozen=True, slots=True)
class ContactMove:
    """One contact that is to be archived or restored, and what came of it.

    Attributes:
        contact_id: the duplicate.
        name: its name.
        mn_id: the mentor whose duplicate it is.
        winner_contact_id: that mentor's contact.
        winner_name: the name of that contact.
        reason: why it may be archived; of a restore, when and by whom it was archived.
        state: planned (nothing was asked of Givebutter), done, already (it was so before), failed, or gone (Givebutter
            no longer has it).
        error: why it failed.
    """

    contact_id: int
    name: str
    mn_id: str | None
    winner_contact_id: int | None
    winner_name: str
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
        operation: archive or restore.
        is_applied: False for a dry run.
        moves: every contact, in the order in which they were taken.
    """

    operation: Operation
    is_applied: bool
    moves: tuple[ContactMove, ...]

    @property
    def summary(self) -> str:
        """How many contacts, in one sentence."""
        word, count = _DONE_WORD[self.operation], len(self.moves)
        if not self.is_applied:
            return f"{_contacts(count)} would be {word}. Nothing was done: this was a dry run."
        states = [move.state for move in self.moves]
        failed = sum(move.is_failed for move in self.moves)
        return f"{_contacts(states.count('done'))} {word}, {states.count('already')} were so already, {failed} failed."

    @property
    def failure(self) -> str | None:
        """Who failed and why; None when nobody did."""
        failed = [move for move in self.moves if move.is_failed]
        if not failed:
            return None
        named = "\n".join(f"  contact {move.contact_id}, {move.name}: {move.error}" for move in failed)
        return (
            f"{len(failed)} of {_contacts(len(self.moves))} could not be {_DONE_WORD[self.operation]}; all others "
            f"were. What was done is in {LOG}, and it is safe to run this again:\n{named}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Archivist:
    """Archives and restores for one person in one run, who holds the writer lock.

    Attributes:
        warehouse: where plan, log and contacts are.
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

    def apply_plan(
        self, contact_ids: Collection[int] = (), *, limit: int | None = None, apply: bool = False
    ) -> ArchiveReport:
        """Archive what the plan says may be archived; without `apply` only tell what that would be.

        Contacts that are known to be archived already come last, so a limit always moves on.

        Args:
            contact_ids: only these; all when empty.
            limit: at most so many.
            apply: really do it.

        Raises:
            DecisionRefusedError: the plan does not say of all `contact_ids` that they may be archived; nothing was
                done.
            MentorPipelineError: Givebutter refused the key, or there is none; what was done before is logged.
        """
        with self.warehouse.reading() as reader:
            plan = reader.read_or_empty(PLAN, year=self.program.year)
            known = reader.read_or_empty(_CONTACTS, columns=_SHOWN)
        refused = {contact_id: why for contact_id in contact_ids if (why := _why_not_archive(plan, contact_id))}
        _refuse("archived", refused)
        wanted = _chosen(plan.filter(action="archive"), contact_ids).join(known, on="contact_id", how="left")
        in_turn = wanted.sort(pl.col("archived_at").is_not_null(), "contact_id").head(
            wanted.height if limit is None else limit
        )
        return self._carry_out("archive", _moves(in_turn, known), apply=apply)

    def restore(self, contact_ids: Collection[int] = (), *, apply: bool = False) -> ArchiveReport:
        """Take contacts out of the archive that were put there from here; without `apply` only tell which.

        Args:
            contact_ids: only these; all that the log has as archived when empty.
            apply: really do it.

        Raises:
            DecisionRefusedError: not all `contact_ids` were archived from here; nothing was done.
            MentorPipelineError: Givebutter refused the key, or there is none; what was done before is logged.
        """
        with self.warehouse.reading() as reader:
            log = reader.read_or_empty(LOG)
            known = reader.read_or_empty(_CONTACTS, columns=_SHOWN)
        archived = (
            archived_from_here(log)
            .with_columns(
                reason=pl.format("archived {} UTC by {}", pl.col("at").dt.strftime("%Y-%m-%d %H:%M"), "actor")
            )
            .join(known, on="contact_id", how="left")
            .filter(pl.col("missing_since").is_null())
        )
        why = "the log knows of nothing to take back: not archived from here, restored since, or gone from Givebutter"
        _refuse("restored", dict.fromkeys(sorted(set(contact_ids) - set(archived["contact_id"])), why))
        wanted = _chosen(archived, contact_ids).sort("contact_id")
        return self._carry_out("restore", _moves(wanted, known), apply=apply)

    # -- one contact after the other ---------------------------------------------------------------------------------

    def _carry_out(self, operation: Operation, planned: list[ContactMove], *, apply: bool) -> ArchiveReport:
        if not apply:
            return ArchiveReport(operation, is_applied=False, moves=tuple(planned))
        begun_at = self.clock()
        unheard = _unheard(self.warehouse.read_or_empty(LOG), operation)
        moves: list[ContactMove] = []
        try:
            for move in planned:
                moves.append(self._move(operation, move, is_unheard=move.contact_id in unheard))
                if self.on_move is not None:
                    self.on_move(moves[-1])
        finally:
            # Also of a run that is stopped halfway, the next matching shall see what was done.
            self._learn(operation, moves, begun_at)
        return ArchiveReport(operation, is_applied=True, moves=tuple(moves))

    def _move(self, operation: Operation, move: ContactMove, *, is_unheard: bool) -> ContactMove:
        """Archive or restore one contact, with the log written before and after.

        Where an earlier call of ours was never answered and the contact now is as wanted, that call did it: it counts
        as done, so that the change is told and can be taken back.
        """
        why_not = self._begin(operation, move)
        if why_not:
            return replace(move, state="failed", error=why_not)
        call = self.givebutter.archive if operation == "archive" else self.givebutter.restore
        try:
            answer = call(move.contact_id)
        except MentorPipelineError as error:
            failed = replace(move, state="failed", error=str(error))
            self.warehouse.append(LOG, self._log_row(operation, failed, "failed"))
            if _concerns_every_call(error):
                raise
            return failed
        if answer == "gone":
            gone = replace(move, state="gone", error=_GONE)
            self.warehouse.append(LOG, self._log_row(operation, gone, "failed"))
            return gone
        state: Literal["done", "already"] = "done" if is_unheard else answer
        self.warehouse.append(LOG, self._log_row(operation, move, state))
        return replace(move, state=state)

    def _begin(self, operation: Operation, move: ContactMove) -> str | None:
        """Log that a call is about to be made; why it must not be made, if the plan no longer says so."""
        with self.warehouse.write() as transaction:
            if operation == "archive":
                plan = transaction.read_or_empty(PLAN, year=self.program.year)
                if why_not := _why_not_archive(plan, move.contact_id):
                    return f"The plan changed meanwhile, nothing was done: {why_not}."
            transaction.append(LOG, self._log_row(operation, move, "started"))
        return None

    def _log_row(self, operation: Operation, move: ContactMove, state: str) -> pl.DataFrame:
        at = self.clock()
        row: dict[str, Any] = {
            "id": f"{at:%Y%m%dT%H%M%S.%f}Z-{move.contact_id}-{operation}-{state}",
            "contact_id": move.contact_id,
            "mn_id": move.mn_id,
            "winner_contact_id": move.winner_contact_id,
            "operation": operation,
            "state": state,
            "error": move.error,
            "at": at,
            "actor": self.actor,
            "run_id": self.run_id,
        }
        return pl.DataFrame([row])

    def _learn(self, operation: Operation, moves: list[ContactMove], begun_at: datetime) -> None:
        """Lay what is now known over what was (R12), in one transaction."""
        moved = [move.contact_id for move in moves if move.state in {"done", "already"}]
        gone = [move.contact_id for move in moves if move.state == "gone"]
        if not moved and not gone:
            return
        with self.warehouse.write() as transaction:
            known = transaction.read_or_empty(_CONTACTS)
            seen = known.filter(pl.col("contact_id").is_in(moved)).select("contact_id", "archived_at")
            since = pl.col("archived_at").fill_null(begun_at) if operation == "archive" else pl.lit(None)
            told = canonical_contacts(seen.with_columns(archived_at=since.cast(known.schema["archived_at"])))
            learned = learn(
                known,
                Reading(told, begun_at, "api", gone=gone),
                full_read_at=_full_read_at(transaction),
                now=begun_at,
                mn_id_prefix=self.program.mn_id_prefix,
            )
            transaction.upsert(_CONTACTS, learned.rows)


def _unheard(log: pl.DataFrame, operation: Operation) -> set[int]:
    """Contacts whose last call of this kind never was heard to succeed: the run was killed, or no answer came."""
    last = log.filter(operation=operation).sort("at", "id").unique("contact_id", keep="last")
    return set(last.filter(pl.col("state").is_in(["started", "failed"]))["contact_id"])


def _full_read_at(transaction: Transaction) -> datetime | None:
    reads = transaction.read_or_empty("source_reads").filter(source=CONTACTS_SOURCE)
    return reads["full_read_at"].max()  # type: ignore[return-value]


def _concerns_every_call(error: MentorPipelineError) -> bool:
    """True when no other contact would fare better: the key is missing or refused."""
    return not isinstance(error, ApiError) or error.status == HTTPStatus.UNAUTHORIZED


def _why_not_archive(plan: pl.DataFrame, contact_id: int) -> str | None:
    """Why the plan does not allow to archive a contact; None when it does."""
    rows = plan.filter(contact_id=contact_id).to_dicts()
    if not rows:
        return "it is not in the plan"
    return None if rows[0]["action"] == "archive" else f"the plan says to review it: {rows[0]['reason']}"


def _refuse(word: str, refused: dict[int, str]) -> None:
    """Refuse everything when some of the contacts that a person chose cannot be moved."""
    if refused:
        named = "\n".join(f"  contact {contact_id}: {why}" for contact_id, why in refused.items())
        msg = f"Nothing was done, since some of the chosen contacts cannot be {word}; leave them out:\n{named}"
        raise DecisionRefusedError(msg)


def _chosen(rows: pl.DataFrame, contact_ids: Collection[int]) -> pl.DataFrame:
    return rows.filter(pl.col("contact_id").is_in(list(contact_ids))) if contact_ids else rows


def _moves(rows: pl.DataFrame, known: pl.DataFrame) -> list[ContactMove]:
    """Contacts with the names by which people know them and their winners."""
    wanted = [*rows["contact_id"], *rows["winner_contact_id"].drop_nulls()]
    named = known.filter(pl.col("contact_id").is_in(wanted)).select(
        "contact_id", name=pl.concat_str("first_name", "last_name", separator=" ", ignore_nulls=True)
    )
    names = dict(named.iter_rows())
    return [
        ContactMove(
            contact_id=row["contact_id"],
            name=names.get(row["contact_id"]) or "no name",
            mn_id=row["mn_id"],
            winner_contact_id=row["winner_contact_id"],
            winner_name=names.get(row["winner_contact_id"]) or "no name",
            reason=row["reason"],
        )
        for row in rows.iter_rows(named=True)
    ]


def _contacts(count: int) -> str:
    return f"{count} contact" if count == 1 else f"{count} contacts"
