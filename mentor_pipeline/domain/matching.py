"""Choosing the contact of each mentor (R4), with a reason for every candidate's fate.

`candidates` finds and weighs who might be a mentor's contact; here the rules decide: a person's decision, the external
id, the link that still holds, the score. What they cannot decide is a conflict for a person; no contact is ever won
twice, and the order of rows never matters. What happens to the losers is in `archive`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import polars as pl

from mentor_pipeline.domain.candidates import SCORE_PARTS, contact_name, find_candidates, rows_of
from mentor_pipeline.domain.findings import UNDECIDED, Computed, Conflict, Problem, conflict_rows, problem_rows, to_json
from mentor_pipeline.domain.normalise import comparable_mn_id, comparable_mn_ids
from mentor_pipeline.domain.suggestions import suggest_contacts
from mentor_pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mentor_pipeline.domain.decisions import LinkDecision
    from mentor_pipeline.settings import ProgramYear

Row = dict[str, Any]
_SOURCE: Final = "contact_matches"
_EMAILS: Final = frozenset({"personal_email", "uga_email"})


class Matches(NamedTuple):
    """What matching returns: every candidate, and the verdict for each mentor."""

    matches: Computed
    links: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the rules say of one mentor."""

    mn_id: str
    status: Literal["linked", "new", "conflict", "shared", "stale"]
    reason: str
    contact_id: int | None = None
    method: str | None = None
    options: tuple[Row, ...] = ()
    """The candidates between which a person must decide."""


def choose_contacts(
    signups: pl.DataFrame,
    previous: pl.DataFrame,
    contacts: pl.DataFrame | pl.LazyFrame,
    members: pl.DataFrame,
    decisions: Mapping[str, LinkDecision],
    program: ProgramYear,
    now: datetime,
) -> Matches:
    """Choose the contact of every mentor (R4).

    Args:
        signups: rows of `signups`.
        previous: mn_id, gb_contact_id, gb_match_method, phone, personal_email, uga_email as last recorded.
        contacts: `candidates.CONTACT_COLUMNS` of all known contacts.
        members: campaign members: mn_id (null when nobody's), email, phone, first_name, last_name.
        decisions: what a person decided, by mn_id; it outranks every rule.
        program: the year.
        now: for freshness.

    Returns:
        Rows of `contact_matches` with problems and conflicts, and rows of `contact_links`.
    """
    contacts = contacts.lazy()
    pairs, problems = find_candidates(signups, previous, contacts, members, program, now)
    by_mentor: defaultdict[str, list[Row]] = defaultdict(list)
    for row in pairs.sort(["mn_id", "score", "contact_id"], descending=[False, True, True]).iter_rows(named=True):
        by_mentor[row["mn_id"]].append(row)
    before = {row["mn_id"]: row for row in previous.iter_rows(named=True)}
    known = _decided_contacts(contacts, decisions, before)

    chooser = _Chooser(by_mentor, before, decisions, known, program)
    verdicts = chooser.choose(sorted(signups["mn_id"]))
    names = dict(signups.select("mn_id", "full_name").iter_rows())
    problems += _suggestions(signups, contacts, verdicts, chooser, program)
    rows: list[Row] = []
    links: list[Row] = []
    conflicts: list[Conflict] = []
    for mn_id, verdict in verdicts.items():
        fates = [_match_row(row, verdict, chooser, program) for row in by_mentor[mn_id]]
        fates += _decided_row(verdict, by_mentor[mn_id], program)
        rows += fates
        links.append(_link_row(verdict, len(fates), program))
        problems += _problems(verdict, by_mentor[mn_id], names, chooser)
        conflicts += _conflicts(verdict, chooser.collisions.get(mn_id), program)
    return Matches(
        Computed(
            pl.DataFrame(rows, schema=TABLES["contact_matches"].schema).sort("mn_id", "contact_id"),
            problem_rows(program.year, problems),
            conflict_rows(program.year, conflicts),
        ),
        pl.DataFrame(links, schema=TABLES["contact_links"].schema).sort("mn_id"),
    )


class _Chooser:
    """Settles decisions and external ids first, then lets the others bid for contacts until nothing moves."""

    def __init__(
        self,
        by_mentor: Mapping[str, list[Row]],
        before: Mapping[str, Row],
        decisions: Mapping[str, LinkDecision],
        known: Mapping[int, Row],
        program: ProgramYear,
    ) -> None:
        self.by_mentor = by_mentor
        self.before = before
        self.decisions = decisions
        self.known = known
        self.program = program
        self.collisions: dict[str, Row] = {}
        """A contact that carries the mentor's id, but is a stranger by all else."""
        self.refused: dict[tuple[str, int], str] = {}
        """Why a mentor cannot have a candidate."""
        self.won: dict[int, str] = {}
        """Who won a contact."""

    def choose(self, mn_ids: Sequence[str]) -> dict[str, _Verdict]:
        settled = self._by_decision(mn_ids)
        for mn_id in mn_ids:
            verdict = None if mn_id in settled else self._by_external_id(mn_id)
            if verdict:
                settled[mn_id] = verdict
                self._note_won(verdict)
        open_ids = [mn_id for mn_id in mn_ids if mn_id not in settled]
        self.refused = {
            (mn_id, row["contact_id"]): reason
            for mn_id in open_ids
            for row in self.by_mentor[mn_id]
            if (reason := self.refusal(mn_id, row))
        }
        for mn_id, verdict in self._bid(open_ids).items():
            settled[mn_id] = verdict
            self._note_won(verdict)
        return {mn_id: self._without_anothers(self._with_collision(settled[mn_id])) for mn_id in mn_ids}

    def _note_won(self, verdict: _Verdict) -> None:
        if verdict.method and verdict.contact_id is not None:
            self.won[verdict.contact_id] = verdict.mn_id

    # -- of higher rank: a person's decision, the external id ------------------------------------------------------

    def _by_decision(self, mn_ids: Iterable[str]) -> dict[str, _Verdict]:
        """Decisions first; of two that give one contact to two mentors the newer counts."""
        verdicts = [verdict for mn_id in mn_ids if (verdict := self._decided(mn_id))]
        settled = {}
        for verdict in sorted(verdicts, key=lambda verdict: self.decisions[verdict.mn_id].at, reverse=True):
            if verdict.contact_id not in self.won:
                settled[verdict.mn_id] = verdict
                self._note_won(verdict)
        return settled

    def _decided(self, mn_id: str) -> _Verdict | None:
        decision = self.decisions.get(mn_id)
        if decision is None or decision.contact_id is None:
            return None
        contact = self.known.get(decision.contact_id)
        if contact is None or contact["archived_at"] is not None or contact["missing_since"] is not None:
            return None
        reason = f"{decision.actor} decided so on {decision.at:%Y-%m-%d}"
        return _Verdict(mn_id, "linked", reason, decision.contact_id, "decision")

    def _by_external_id(self, mn_id: str) -> _Verdict | None:
        carriers = [
            row
            for row in self.by_mentor[mn_id]
            if row["carries_id"] and row["contact_id"] not in self.won and not self.decided_against(mn_id, row)
        ]
        if not carriers:
            return None
        strangers = [row for row in carriers if _is_stranger(row)]
        if len(carriers) > 1:
            ranked = [row for row in carriers if row not in strangers] + strangers
            reason = f"{len(carriers)} contacts carry mentor id {mn_id}: {_ids(carriers)}"
            return _Verdict(mn_id, "conflict", reason, self._earlier(mn_id), options=tuple(ranked[:2]))
        if strangers:
            self.collisions[mn_id] = strangers[0]
            return None
        return _Verdict(
            mn_id, "linked", "it carries the mentor's id as external id", carriers[0]["contact_id"], "external_id"
        )

    def decided_against(self, mn_id: str, row: Row) -> bool:
        """True when a person decided that the candidate is not this mentor's."""
        decision = self.decisions.get(mn_id)
        return decision is not None and decision.rules_out(row)

    def is_judged(self, mn_id: str, contact: Row) -> bool:
        """True when the contact is a candidate of the mentor, or a person decided that it is not the mentor's."""
        is_candidate = any(row["contact_id"] == contact["contact_id"] for row in self.by_mentor[mn_id])
        return is_candidate or self.decided_against(mn_id, {**contact, "carries_id": False})

    def is_nobodys(self, mn_id: str, row: Row) -> bool:
        """True when no other mentor has the candidate, and nobody decided that it is not this mentor's."""
        free = row["owner_mn_id"] is None and row["contact_id"] not in self.won
        return free and not self.decided_against(mn_id, row)

    # -- the others --------------------------------------------------------------------------------------------------

    def refusal(self, mn_id: str, row: Row) -> str | None:
        """Why the mentor cannot have a candidate (R4.2, R4.6), in words for an operator; None when they can.

        A link that is there holds without further evidence, unless the names contradict (R4.7): a mentor who signs up
        anew with another phone and e-mail keeps the contact.
        """
        if (mn_id, row["contact_id"]) in self.refused:
            return self.refused[mn_id, row["contact_id"]]
        winner = self.won.get(row["contact_id"], mn_id)
        holds = row["was_linked"] and row["name_relation"] != "contradicting"
        reasons = (
            (row["owner_mn_id"], f"it carries mentor {row['owner_mn_id']}'s id"),
            (self.decided_against(mn_id, row), "a person decided that it is not this mentor's"),
            (winner != mn_id, f"it is mentor {winner}'s contact"),
            (
                row["carries_id"] and _is_stranger(row),
                "it carries the mentor's id, but name, phone and e-mail all contradict",
            ),
            (not row["same_person"] and not holds, f"not enough evidence: {_evidence(row)}"),
            (row["is_mass_mail"], "a mass-mail contact: school e-mail only, no phone, no address, no campaign page"),
        )
        return next((reason for applies, reason in reasons if applies), None)

    def _bid(self, mn_ids: Sequence[str]) -> dict[str, _Verdict]:
        """Each asks for the best it can have; the stronger claim keeps it, and the weaker asks for the next (R4.6)."""
        shared: dict[str, _Verdict] = {}
        while True:
            verdicts = {mn_id: shared.get(mn_id) or self._by_rules(mn_id) for mn_id in mn_ids}
            claims: defaultdict[int, list[tuple[tuple[int, bool], str]]] = defaultdict(list)
            for mn_id, verdict in verdicts.items():
                for row in verdict.options:
                    claims[row["contact_id"]].append((self._strength(mn_id, row), mn_id))
            moved = False
            for contact_id, claimed in sorted(claims.items()):
                strongest = max(strength for strength, _ in claimed)
                first = sorted(mn_id for strength, mn_id in claimed if strength == strongest)
                for strength, mn_id in claimed:
                    if strength < strongest:
                        self.refused[mn_id, contact_id] = f"mentor {', '.join(first)} has the stronger claim to it"
                        shared.pop(mn_id, None)
                        moved = True
                if len(first) > 1:
                    for mn_id in first:
                        if verdicts[mn_id].status == "linked":
                            others = ", ".join(other for other in first if other != mn_id)
                            shared[mn_id] = replace(
                                verdicts[mn_id],
                                status="shared",
                                reason=f"mentor {others} has the same claim to contact {contact_id}",
                                contact_id=self._earlier(mn_id),
                                method=None,
                            )
                            moved = True
            if not moved:
                return verdicts

    def _strength(self, mn_id: str, row: Row) -> tuple[int, bool]:
        """The link that is there beats an e-mail match, which beats a phone match; between equals the exact name."""
        rank = 3 if row["contact_id"] == self._earlier(mn_id) else 2 if _EMAILS & set(row["evidence"]) else 1
        return rank, row["name_relation"] == "exact"

    def _by_rules(self, mn_id: str) -> _Verdict:
        """R4.3 to R4.5 and R4.7 over the candidates the mentor can have, best first."""
        can_have = [row for row in self.by_mentor[mn_id] if (mn_id, row["contact_id"]) not in self.refused]
        kept = next((row for row in can_have if row["contact_id"] == self._earlier(mn_id)), None)
        if kept:
            method = _method(kept, self.before[mn_id]["gb_match_method"])
            return self._won(
                mn_id, kept, method, f"it has been the mentor's contact, and still fits: {_evidence(kept)}"
            )
        if not can_have:
            return self._without(mn_id)
        first = can_have[0]
        if len(can_have) == 1:
            return self._won(mn_id, first, _method(first), f"the only candidate with evidence: {_evidence(first)}")
        why = self._leads(first, can_have[1])
        if why:
            return self._won(mn_id, first, _method(first), why)
        reason = (
            f"contacts {_ids(can_have[:2])} are too close to choose: {first['score']:.0f} and "
            f"{can_have[1]['score']:.0f} points"
        )
        return _Verdict(mn_id, "conflict", reason, self._earlier(mn_id), options=tuple(can_have[:2]))

    def _leads(self, first: Row, second: Row) -> str | None:
        """Why the first wins by itself (R4.4), in words; None when it does not."""
        limits = self.program.matching
        gap = first["score"] - second["score"]
        if gap > limits.auto_resolve_gap:
            return (
                f"it leads contact {second['contact_id']} by {gap:.0f} points ({first['score']:.0f} to "
                f"{second['score']:.0f}); more than {limits.auto_resolve_gap} decides"
            )
        if first["last_modified_at"] and second["last_modified_at"]:
            days = (first["last_modified_at"] - second["last_modified_at"]).total_seconds() / 86_400
            if days > limits.stale_days:
                return (
                    f"it was modified {days:.0f} days after contact {second['contact_id']} and does not score less; "
                    f"more than {limits.stale_days} decides"
                )
        more = first["completeness"] - second["completeness"]
        if more > limits.completeness_gap_percent:
            return (
                f"it is {more} points more complete than contact {second['contact_id']} and does not score less; "
                f"more than {limits.completeness_gap_percent} decides"
            )
        return None

    def _without(self, mn_id: str) -> _Verdict:
        """No candidate left: new, or stale when the contact they had is gone (R4.5)."""
        earlier = self._earlier(mn_id)
        still_here = any(row["contact_id"] == earlier for row in self.by_mentor[mn_id])
        if earlier is not None and not still_here and not self._given_up(mn_id, earlier):
            return _Verdict(mn_id, "stale", f"contact {earlier} was archived, deleted or merged in Givebutter", earlier)
        seen = len(self.by_mentor[mn_id])
        none = "the one candidate cannot be theirs" if seen == 1 else f"none of {seen} candidates can be theirs"
        return _Verdict(mn_id, "new", none if seen else "no contact matches")

    def _given_up(self, mn_id: str, contact_id: int) -> bool:
        """True when a person decided that the contact, which is gone now, is not the mentor's (R4.5)."""
        decision, contact = self.decisions.get(mn_id), self.known.get(contact_id)
        if decision is None or contact is None:
            return decision is not None and decision.no_contact
        return decision.rules_out({**contact, "carries_id": contact["external_mn_id"] == comparable_mn_id(mn_id)})

    def _won(self, mn_id: str, row: Row, method: str, reason: str) -> _Verdict:
        return _Verdict(mn_id, "linked", reason, row["contact_id"], method, options=(row,))

    def _with_collision(self, verdict: _Verdict) -> _Verdict:
        """A stranger carries the mentor's id: who was chosen meanwhile (R4.1), else as before (R9); the row waits."""
        collision = self.collisions.get(verdict.mn_id)
        if collision is None:
            return verdict
        reason = f"contact {collision['contact_id']} carries the mentor's id, but is somebody else; {verdict.reason}"
        status: Literal["shared", "conflict"] = "shared" if verdict.status == "shared" else "conflict"
        contact_id = self._earlier(verdict.mn_id) if verdict.contact_id is None else verdict.contact_id
        return replace(verdict, status=status, reason=reason, contact_id=contact_id)

    def _without_anothers(self, verdict: _Verdict) -> _Verdict:
        """An id kept from before goes when another mentor won that contact meanwhile: no contact has two mentors."""
        anothers = verdict.contact_id is not None and self.won.get(verdict.contact_id, verdict.mn_id) != verdict.mn_id
        return replace(verdict, contact_id=None) if anothers else verdict

    def _earlier(self, mn_id: str) -> int | None:
        row = self.before.get(mn_id)
        return row["gb_contact_id"] if row else None


def _decided_contacts(
    contacts: pl.LazyFrame, decisions: Mapping[str, LinkDecision], before: Mapping[str, Row]
) -> dict[int, Row]:
    """The contacts that decisions are about, by id: those chosen, and those that the mentors had before."""
    if not decisions:  # then no contact need be looked at
        return {}
    chosen = {decision.contact_id for decision in decisions.values()}
    had = {before[mn_id]["gb_contact_id"] for mn_id in decisions if mn_id in before}
    found = rows_of(contacts, pl.Series(list(chosen | had), dtype=pl.Int64))
    return {row["contact_id"]: row for row in found.iter_rows(named=True)}


def _is_stranger(row: Row) -> bool:
    """True when names contradict and no phone or e-mail agrees (R4.1); a generic one says nothing."""
    return row["name_relation"] == "contradicting" and not row["evidence"]


def _method(row: Row, before: str | None = None) -> str:
    """How the contact was found; a link keeps the method by which it was made while that still holds."""
    matched = set(row["matched_on"])
    found = "email" if matched & _EMAILS else "phone" if "phone" in matched else "kept"
    if before == "phone" and "phone" in matched:
        return before
    return found


def _evidence(row: Row) -> str:
    names = {"exact": "same name", "compatible": "compatible names", "contradicting": "the names contradict"}
    shared = _shared(row) if set(row["matched_on"]) - {"external_id"} else "nothing"
    return f"{shared} in common, {names.get(row['name_relation'], 'names cannot be compared')}"


def _shared(row: Row) -> str:
    words = {"personal_email": "personal e-mail", "uga_email": "school e-mail", "linked": "earlier link"}
    return " and ".join(words.get(kind, kind) for kind in row["matched_on"] if kind != "external_id")


def _ids(rows: Iterable[Row]) -> str:
    return " and ".join(str(row["contact_id"]) for row in rows)


def _link_row(verdict: _Verdict, candidate_count: int, program: ProgramYear) -> Row:
    return {
        "year": program.year,
        "mn_id": verdict.mn_id,
        "gb_contact_id": verdict.contact_id,
        "gb_match_status": verdict.status,
        "gb_match_method": verdict.method,
        "candidate_count": candidate_count,
        "reason": verdict.reason,
    }


def _match_row(row: Row, verdict: _Verdict, chooser: _Chooser, program: ProgramYear) -> Row:
    contact_id = row["contact_id"]
    winner = verdict.contact_id == contact_id and verdict.method is not None
    refusal = chooser.refusal(verdict.mn_id, row)
    undecided = verdict.method is None and contact_id in {option["contact_id"] for option in verdict.options}
    if winner:
        role, reason = "winner", verdict.reason
    elif undecided:
        role, reason = "rejected", f"{UNDECIDED}: {verdict.reason}"
    elif verdict.method and row["same_person"] and chooser.is_nobodys(verdict.mn_id, row):
        why = refusal or f"contact {verdict.contact_id} was chosen"
        role, reason = "loser", f"a duplicate ({_evidence(row)}): {why}"
    else:
        role, reason = "rejected", refusal or verdict.reason
    return {
        "year": program.year,
        "mn_id": verdict.mn_id,
        "contact_id": contact_id,
        "role": role,
        "method": verdict.method if winner else "external_id" if row["carries_id"] else _method(row),
        "matched_on": row["matched_on"],
        "same_person": row["same_person"],
        "score": row["score"],
        "score_parts": to_json({part: row[part] for part in SCORE_PARTS}),
        "completeness": row["completeness"],
        "reason": reason,
    }


def _decided_row(verdict: _Verdict, candidates: Sequence[Row], program: ProgramYear) -> list[Row]:
    """A contact that a person chose, though no rule makes it a candidate."""
    if verdict.method != "decision" or any(row["contact_id"] == verdict.contact_id for row in candidates):
        return []
    return [
        {
            "year": program.year,
            "mn_id": verdict.mn_id,
            "contact_id": verdict.contact_id,
            "role": "winner",
            "method": "decision",
            "matched_on": [],
            "same_person": True,
            "score_parts": to_json({}),
            "reason": verdict.reason,
        }
    ]


def _problems(
    verdict: _Verdict, candidates: Sequence[Row], names: Mapping[str, str], chooser: _Chooser
) -> list[Problem]:
    who = f"{names[verdict.mn_id]} ({verdict.mn_id})"

    def problem(kind: str, message: str, severity: Any, key: Iterable[object], **context: Any) -> Problem:
        return Problem(
            kind, message, severity, mn_id=verdict.mn_id, source_table=_SOURCE, context=context,
            key=tuple(map(str, key)),
        )  # fmt: skip

    if verdict.status == "shared":
        contact = verdict.options[0]
        return [
            problem(
                "multiple_mentors_one_contact",
                f"{who}: {verdict.reason}. Neither is linked, and both rows are held; decide whose contact it is.",
                "error",
                [contact["contact_id"]],
                contact_id=contact["contact_id"],
            )
        ]
    if verdict.status == "stale":
        return [
            problem(
                "stale_contact",
                f"{who}: {verdict.reason}. The id is kept and the row is held until it comes back, another contact "
                "appears, or someone sets gb_contact_id to none.",
                "warning",
                [verdict.contact_id],
                contact_id=verdict.contact_id,
            )
        ]
    found = []
    winner = next((r for r in candidates if verdict.method and r["contact_id"] == verdict.contact_id), None)
    if winner and winner["external_id"] and not winner["carries_id"]:
        found.append(
            problem(
                "external_id_mismatch",
                f"{who}: contact {winner['contact_id']} still carries external id {winner['external_id']}, which is "
                + (
                    f"mentor {winner['owner_mn_id']}'s. Look whose contact it is."
                    if winner["owner_mn_id"]
                    else "no mentor's of this year (a returning mentor). The next import sets the new one."
                ),
                "warning",
                [winner["contact_id"], winner["external_id"]],
                contact_id=winner["contact_id"],
            )
        )
    if verdict.status == "new":
        unsure = [
            row
            for row in candidates
            if not row["same_person"]
            and chooser.is_nobodys(verdict.mn_id, row)
            and (row["evidence"] or row["name_relation"] != "contradicting")
        ]
        found += [
            problem(
                "low_confidence",
                f"{who} has no contact. Contact {row['contact_id']} ({_shown_name(row)}) might be theirs: "
                f"{_evidence(row)}. Link it with `edit {verdict.mn_id} gb_contact_id {row['contact_id']}` if it is.",
                "warning",
                [row["contact_id"]],
                contact_id=row["contact_id"],
                matched_on=row["matched_on"],
            )
            for row in unsure
        ]
    return found


def _suggestions(
    signups: pl.DataFrame,
    contacts: pl.LazyFrame,
    verdicts: Mapping[str, _Verdict],
    chooser: _Chooser,
    program: ProgramYear,
) -> list[Problem]:
    """Contacts like those mentors for whom the rules found nobody (R4.9)."""
    without = signups.filter(pl.col("mn_id").is_in([v.mn_id for v in verdicts.values() if v.status == "new"]))
    if without.is_empty():
        return []
    ids = signups.filter(~pl.col("is_placeholder")).select(comparable_mn_ids("mn_id")).to_series()
    free = contacts.filter(
        pl.col("archived_at").is_null() & pl.col("missing_since").is_null(),
        ~pl.col("contact_id").is_in(list(chooser.won)),
        ~pl.col("external_mn_id").fill_null("").is_in(ids.implode()),
    )
    names = dict(without.select("mn_id", "full_name").iter_rows())
    return [
        Problem(
            "low_confidence",
            f"{names[mn_id]} ({mn_id}) has no contact. Contact {contact['contact_id']} ({_shown_name(contact)}) might "
            f"be theirs: {', '.join(evidence)}. Link it with `edit {mn_id} gb_contact_id {contact['contact_id']}` if "
            "it is.",
            mn_id=mn_id,
            source_table=_SOURCE,
            context={"contact_id": contact["contact_id"], "evidence": evidence},
            key=(str(contact["contact_id"]),),
        )
        for mn_id, contact, evidence in suggest_contacts(without, free, chooser.is_judged, program)
    ]


def _conflicts(verdict: _Verdict, collision: Row | None, program: ProgramYear) -> list[Conflict]:
    """What a person must decide of one mentor's contact (R9)."""
    found = []
    if collision is not None:
        found.append(_collision_conflict(verdict, collision, program))
    if verdict.status == "shared":
        contact = verdict.options[0]
        found.append(
            Conflict(
                verdict.mn_id,
                "contact_selection",
                _option(contact, program),
                {"value": "none", "source": "rules", "what": "none of these: create a contact"},
                _SOURCE,
                context={"reason": verdict.reason},
            )
        )
    elif verdict.method is None and len(verdict.options) > 1:
        first, second = verdict.options
        several = first["carries_id"]
        found.append(
            Conflict(
                verdict.mn_id,
                "external_id_collision" if several else "contact_selection",
                _option(first, program),
                _option(second, program),
                _SOURCE,
                context={"reason": verdict.reason},
                recommended_option=None if several and _is_stranger(first) else "a",
                recommendation_reason=_recommendation(first, second),
            )
        )
    return found


def _collision_conflict(verdict: _Verdict, stranger: Row, program: ProgramYear) -> Conflict:
    contact_id = stranger["contact_id"]
    left_over = program.givebutter.mentor_tag.casefold() not in map(str.casefold, stranger["tags"] or [])
    return Conflict(
        verdict.mn_id,
        "external_id_collision",
        {**_option(stranger, program), "what": "it is this mentor after all: link it"},
        {
            "value": f"release {contact_id}",
            "source": "rules",
            "what": f"it is not: take external id {stranger['external_id']} off contact {contact_id}",
        },
        _SOURCE,
        context={"reason": verdict.reason, "own_contact_id": verdict.contact_id},
        recommended_option="b" if left_over else None,
        recommendation_reason=(
            f"Contact {contact_id} ({_shown_name(stranger)}) has neither name, phone nor e-mail of the mentor"
            + (
                f" and lacks the tag {program.givebutter.mentor_tag!r}: its id is left over from an earlier year."
                if left_over
                else f", but has the tag {program.givebutter.mentor_tag!r}: look whose it is."
            )
        ),
    )


def _recommendation(first: Row, second: Row) -> str:
    ahead = [part.replace("_", " ") for part in SCORE_PARTS if first[part] > second[part]]
    return (
        f"Contact {first['contact_id']} scores {first['score']:.0f}, contact {second['contact_id']} "
        f"{second['score']:.0f}; it is ahead in {', '.join(ahead) or 'nothing but being newer'}."
    )


def _shown_name(row: Row) -> str:
    return " ".join(filter(None, (row["first_name"], row["last_name"]))) or "no name"


def _option(row: Row, program: ProgramYear) -> dict[str, Any]:
    """What a person needs to choose (R9)."""
    return {
        "value": row["contact_id"],
        "source": "raw_gb_full_contacts",
        "name": _shown_name(row),
        "preferred_name": contact_name(row, program).preferred,
        "external_id": row["external_id"],
        "emails": row["emails"],
        "phones": row["phones"],
        "tags": row["tags"],
        "last_modified_at": row["last_modified_at"],
        "completeness": row["completeness"],
        "score": row["score"],
        "score_parts": {part: row[part] for part in SCORE_PARTS},
        "is_member": row["is_member"],
        "matched_on": row["matched_on"],
    }
