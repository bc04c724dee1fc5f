"""Recording what people decide and edit, from the Launchpad or a command: the first step of the job `apply_decisions`.

The asset is a ledger: it only grows. What was asked is judged in `operator.decisions`; what it leads to is computed by
the assets after it.
"""

from enum import Enum

import dagster as dg
import polars as pl
from pydantic import Field

from mentor_pipeline.assets.common import table_asset, table_of, told_plainly, utc_now
from mentor_pipeline.domain.conflicts import DECISIONS
from mentor_pipeline.domain.edits import FIELDS
from mentor_pipeline.operator.decisions import ACTIONS, Decision, Desk, Edit, Ruling, action_rows, refuse_if_any
from mentor_pipeline.resources.run_guard import RunGuard, triggered_by
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.settings import ProgramYear

GROUP = "ledgers"

# Made of the lists in the domain, for the Launchpad offers their members.
Choice = Enum("Choice", [(name, name) for name in DECISIONS])  # type: ignore[misc]
EditedField = Enum("EditedField", [(name, name) for name in FIELDS])  # type: ignore[misc]


class DecisionConfig(dg.Config):
    """One conflict, decided."""

    conflict_id: str = Field(description="The conflict's id, as sync_conflicts or `conflicts list` shows it.")
    choice: Choice = Field(description="a or b (the conflict's options), custom (see custom_value), or skip.")
    custom_value: str | None = Field(
        default=None,
        description="With custom: a phone, an e-mail, or the number of a contact ('none': no contact is theirs).",
    )
    note: str | None = Field(default=None, description="Further words, for those who ask later.")


class EditConfig(dg.Config):
    """One field of one mentor, set by a person; it outranks every source from now on."""

    mn_id: str = Field(description="The mentor's id, in any spelling.")
    field: EditedField = Field(description="What to set.")
    value: str = Field(description="To what: yes or no for marks, a time, a text; 'none' empties the field.")
    note: str | None = Field(default=None, description="Further words, for those who ask later.")


class ActionsConfig(dg.Config):
    """What to decide and to set. All of it is recorded, or, when anything is refused, nothing."""

    decisions: list[DecisionConfig] = Field(default=[], description="Conflicts to decide.")
    edits: list[EditConfig] = Field(default=[], description="Fields to set.")
    accept_recommended: bool = Field(default=False, description="Decide every pending conflict as recommended.")
    only_type: str | None = Field(default=None, description="With accept_recommended: only conflicts of this type.")
    by: str | None = Field(default=None, description="Who decides; who started the run by default.")


@table_asset(ACTIONS, group=GROUP, kinds={"ledger"})
def operator_actions(
    context: dg.AssetExecutionContext,
    config: ActionsConfig,
    run_guard: RunGuard,  # noqa: ARG001 - held from here on, so that nobody else decides between judging and writing
    warehouse: dg.ResourceParam[Warehouse],
    program: dg.ResourceParam[ProgramYear],
) -> pl.DataFrame:
    """Recorded by the job `apply_decisions`; without anything in its config it records nothing."""
    with told_plainly():
        desk = Desk(warehouse, program)
        wishes: list[Decision | Edit] = [
            Decision(one.conflict_id, one.choice.value, one.custom_value, one.note) for one in config.decisions
        ]
        wishes += [Edit(one.mn_id, one.field.value, one.value, one.note) for one in config.edits]
        rulings = desk.judge(wishes)
        refuse_if_any(rulings)
        if config.accept_recommended:
            recommended, undecided = desk.recommended(config.only_type)
            of_rules = desk.judge(recommended)
            left = [f"{row['id']}: no recommendation" for row in undecided]
            left += [f"{ruling.wish}: {ruling.words}" for ruling in of_rules if ruling.state == "refused"]
            for words in left:
                context.log.info("left pending: %s", words)
            rulings += [ruling for ruling in of_rules if ruling.state == "accepted"]
    actor = (config.by or "").strip() or triggered_by(context.run.tags)
    rows = action_rows(rulings, actor=actor, at=utc_now())
    if rulings:
        context.add_output_metadata({"recorded": rows.height, "what was decided": _table(rulings)})
    return rows


def _table(rulings: list[Ruling]) -> dg.TableMetadataValue:
    rows = [
        {
            "mentor": f"{ruling.mn_id or ''} {ruling.full_name}".strip(),
            "about": ruling.about,
            "from now on": ruling.words,
            "state": ruling.state,
        }
        for ruling in rulings
    ]
    return table_of(rows)
