"""The simulator's world scored against its truth: a sync through the real jobs, then what the tables say of each class.

A link is right when it is the contact that the rules lead to, a suggestion when the contact is the mentor's own. What
the world does not hold is not measured; docs/accuracy.md says what that is.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mentor_pipeline.operator.runs import environment, run_job
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import Settings, load_program_year, packaged_config_dir
from mentor_pipeline.simulator import Simulator, generate_world

if TYPE_CHECKING:
    import polars as pl

    from mentor_pipeline.simulator import MentorTruth

YEAR: Final = 2025
_TABLES: Final = ("mentors", "contact_links", "sync_conflicts", "mn_gb_import_held", "sync_warnings")
_OF_CONTACTS: Final = frozenset({"contact_selection", "external_id_collision"})


@dataclass
class Score:
    """How one class of mentors came out.

    Attributes:
        mentors: how many there are.
        linked_right: with the contact that the rules lead to.
        linked_wrong: with another, or with any where there is none.
        not_linked: without one, though the rules lead to one.
        conflicts: that the class must raise.
        conflicts_found: of these.
        conflicts_besides: that should not be there.
        holds_right: held for the right reason, or rightly not held.
        several: mentors with more than one candidate.
        several_decided: of these, decided without a person.
        findable: mentors whom only a suggestion can help: no link, no conflict, but a contact of their own.
        found: of these, with that contact among the suggestions.
        suggestions: contacts suggested.
        suggestions_right: of these, the mentor's own.
    """

    mentors: int = 0
    linked_right: int = 0
    linked_wrong: int = 0
    not_linked: int = 0
    conflicts: int = 0
    conflicts_found: int = 0
    conflicts_besides: int = 0
    holds_right: int = 0
    several: int = 0
    several_decided: int = 0
    findable: int = 0
    found: int = 0
    suggestions: int = 0
    suggestions_right: int = 0

    def add(self, other: Score) -> None:
        """Add another's counts."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    @property
    def precision(self) -> float | None:
        """Share of the suggestions that are right; None when there are none."""
        return self.suggestions_right / self.suggestions if self.suggestions else None

    @property
    def recall(self) -> float | None:
        """Share of the findable mentors whose contact is suggested; None when there are none."""
        return self.found / self.findable if self.findable else None

    @property
    def decided(self) -> float | None:
        """Share of the mentors with several candidates who need no person; None when there are none."""
        return self.several_decided / self.several if self.several else None


def score_world(seed: int, mentors: int, contacts: int) -> dict[str, Score]:
    """Sync a made-up world in a folder that is thrown away, and score each class."""
    program = load_program_year(packaged_config_dir() / f"{YEAR}.toml")
    world = generate_world(program, seed=seed, mentors=mentors, contacts=contacts)
    with tempfile.TemporaryDirectory() as folder, Simulator(world) as simulator:
        variables = {
            "MENTOR_PIPELINE_DATA_DIR": str(Path(folder) / "data"),
            "MENTOR_PIPELINE_YEAR": str(YEAR),
            "MENTOR_PIPELINE_CONFIG_DIR": "",
            "MENTOR_PIPELINE_DATABASE_URL": "",
            "MENTOR_PIPELINE_ALERT_WEBHOOK": "",
            "DAGSTER_HOME": "",
            **simulator.environment(),
        }
        with environment(variables):
            settings = Settings.load()
            outcome = run_job("sync", settings, by="bench")
            if not outcome.success:
                raise RuntimeError(outcome.failures)
            warehouse = DuckDBWarehouse(settings.warehouse_path)
            tables = {name: warehouse.read_or_empty(name) for name in _TABLES}
    return scored(list(world.truth.values()), tables)


def scored(truths: list[MentorTruth], tables: dict[str, pl.DataFrame]) -> dict[str, Score]:
    """The score of each class."""
    mentors = {row["signup_submission_id"]: row for row in tables["mentors"].iter_rows(named=True)}
    candidates = dict(tables["contact_links"].select("mn_id", "candidate_count").iter_rows())
    held = dict(tables["mn_gb_import_held"].select("mn_id", "reason").iter_rows())
    conflicts: defaultdict[str, set[str]] = defaultdict(set)
    for mn_id, kind in tables["sync_conflicts"].filter(status="pending").select("mn_id", "conflict_type").iter_rows():
        conflicts[mn_id].add(kind)
    suggested: defaultdict[str, set[int]] = defaultdict(set)
    for mn_id, context in (
        tables["sync_warnings"].filter(type="low_confidence", resolved=False).select("mn_id", "context").iter_rows()
    ):
        told = json.loads(context)
        if "evidence" in told:
            suggested[mn_id].add(told["contact_id"])
    scores: defaultdict[str, Score] = defaultdict(Score)
    for truth in truths:
        row = mentors[truth.submission_id]
        mn_id = row["mn_id"]
        seen = (candidates[mn_id], held.get(mn_id), conflicts[mn_id], suggested[mn_id])
        scores[truth.class_.value].add(_score(truth, row["gb_contact_id"], *seen))
    return dict(scores)


def _score(
    truth: MentorTruth, contact_id: int | None, candidates: int, held: str | None, conflicts: set[str], shown: set[int]
) -> Score:
    own = {*truth.archivable, *truth.review, truth.contact_id} - {None}
    expected = {truth.conflict} - {None}
    is_findable = truth.contact_id is None and truth.conflict is None and bool(own) and not candidates
    needs_person = bool(conflicts & _OF_CONTACTS)
    return Score(
        mentors=1,
        linked_right=contact_id is not None and contact_id == truth.contact_id,
        linked_wrong=contact_id is not None and contact_id != truth.contact_id,
        not_linked=contact_id is None and truth.contact_id is not None,
        conflicts=len(expected),
        conflicts_found=len(expected & conflicts),
        conflicts_besides=len(conflicts - expected),
        holds_right=held == truth.hold,
        several=candidates > 1,
        several_decided=candidates > 1 and not needs_person,
        findable=is_findable,
        found=is_findable and bool(own & shown),
        suggestions=len(shown),
        suggestions_right=len(shown & own),
    )


def total(scores: dict[str, Score]) -> Score:
    """All classes together."""
    whole = Score()
    for score in scores.values():
        whole.add(score)
    return whole


def together(worlds: list[dict[str, Score]]) -> dict[str, Score]:
    """The classes of several worlds, added up."""
    sums: defaultdict[str, Score] = defaultdict(Score)
    for scores in worlds:
        for name, score in scores.items():
            sums[name].add(score)
    return dict(sorted(sums.items()))


def as_json(scores: dict[str, Score]) -> dict[str, Any]:
    """Counts by class."""
    return {name: asdict(score) for name, score in scores.items()}
