"""The jobs: which assets a run computes. What people start, what schedules start, what a dropped file starts.

`sync` reads both services and computes everything, but writes no file; `export` alone writes one. Jobs with a narrower
start compute all that depends on it, so that no table is ever older than what it was made of.
"""

from typing import Any, Final

import dagster as dg

CONTACTS: Final = dg.AssetSelection.assets("raw_gb_full_contacts")
FILE: Final = dg.AssetSelection.assets("gb_import_file")
EVERYTHING: Final = dg.AssetSelection.all() - FILE
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
    "apply_decisions", _BUILT, "What a decision or an edit starts: compute everything again with it; no network."
)
export = _job("export", _ROWS | FILE, "Judge the rows once more and write the import file. Givebutter is not touched.")

jobs: Final = [sync, import_contacts, contact_refresh, rebuild, apply_decisions, export]
