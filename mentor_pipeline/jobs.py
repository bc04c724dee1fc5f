"""The jobs: which assets a run computes. What people start, what schedules start, what a dropped file starts.

`sync` reads both services and computes everything, but writes no file; `export` alone writes one. Jobs with a narrower
start compute all that depends on it, so that no table is ever older than what it was made of. The jobs that change
Givebutter compute nothing: they do what a person asks for, and the next run sees it.
"""

from typing import Any, Final

import dagster as dg

from mentor_pipeline.assets.upkeep import (
    archive_contacts,
    push_own_tags,
    release_contacts,
    restore_from_log,
    unrelease_from_log,
)

CONTACTS: Final = dg.AssetSelection.assets("raw_gb_full_contacts")
FILE: Final = dg.AssetSelection.assets("gb_import_file")
ACTIONS: Final = dg.AssetSelection.assets("operator_actions")
EVERYTHING: Final = dg.AssetSelection.all() - FILE - ACTIONS
RAW: Final = dg.AssetSelection.groups("jotform") | dg.AssetSelection.assets(
    "raw_gb_campaign_members", "raw_gb_full_contacts"
)
_BUILT: Final = EVERYTHING - RAW
_FROM_CONTACTS: Final = CONTACTS.downstream() - FILE
_ROWS: Final = dg.AssetSelection.assets("mn_gb_import", "mn_gb_import_held")


def _job(name: str, selection: dg.AssetSelection, description: str, config: dict[str, Any] | None = None) -> Any:
    return dg.define_asset_job(name, selection, description=description, config=config)


def _contacts_from(source: str) -> dict[str, Any]:
    return {"ops": {"raw_gb_full_contacts": {"config": {"source": source}}}}


sync = _job(
    "sync",
    EVERYTHING,
    "Read Jotform and Givebutter and compute everything. Writes no file, changes nothing in either service.",
)
import_contacts = _job(
    "import_contacts",
    _FROM_CONTACTS,
    "Import one CSV of Givebutter (run config: source csv, file) and compute all that depends on it.",
)
contact_refresh = _job(
    "contact_refresh",
    _FROM_CONTACTS,
    "Read the mentors' contacts and their duplicates one by one: archived and deleted ones are seen only so.",
    _contacts_from("refresh"),
)
rebuild = _job("rebuild", _BUILT, "Compute everything again from the raw tables and people's decisions; no network.")
apply_decisions = _job(
    "apply_decisions",
    ACTIONS | _BUILT,
    "Record what people decide and edit (run config of operator_actions), and compute everything again with it.",
)
export = _job("export", _ROWS | FILE, "Judge the rows once more and write the import file. Givebutter is not touched.")


@dg.job(description="Archive the plan's duplicates in Givebutter; only tells which, until run with apply: true.")
def archive_duplicates() -> None:
    """R5: nothing is archived until a person applies the plan."""
    archive_contacts()


@dg.job(description="Take contacts that were archived from here out of the archive; tells which, until apply: true.")
def restore_contacts() -> None:
    """R5: whatever was archived can be restored from the log."""
    restore_from_log()


@dg.job(description="Take external ids off contacts as people decided; only tells which, until run with apply: true.")
def release_external_ids() -> None:
    """R4.1: nothing is released until a person decided it, and applies the plan."""
    release_contacts()


@dg.job(description="Put external ids back that were taken off from here; tells which, until run with apply: true.")
def undo_releases() -> None:
    """R4.1: whatever was released can be put back from the log."""
    unrelease_from_log()


@dg.job(description="Bring our tags on the mentors' contacts up to date; only tells which, until run with apply: true.")
def push_tags() -> None:
    """R6: tags of ours that no longer hold come off again, others' never."""
    push_own_tags()


jobs: Final = [
    sync,
    import_contacts,
    contact_refresh,
    rebuild,
    apply_decisions,
    export,
    archive_duplicates,
    restore_contacts,
    release_external_ids,
    undo_releases,
    push_tags,
]
