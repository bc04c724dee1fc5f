"""A small program year in the warehouse: three mentors after two syncs, as the reports and the commands read it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mentor_pipeline.domain.findings import Conflict, conflict_rows
from mentor_pipeline.operator.contacts import CONTACTS_SOURCE
from tests.builders import NOW, YEAR, alias, contact, mentor, row, together

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from mentor_pipeline.resources.warehouse import Warehouse

FIRST, SECOND = "11111111-aaaa", "22222222-bbbb"


def run(run_id: str, at: datetime, **changes: Any) -> pl.DataFrame:
    values = {
        "id": run_id,
        "run_id": run_id,
        "sync_type": "manual",
        "status": "completed",
        "triggered_by": "Ada",
        "started_at": at,
        "finished_at": at + timedelta(minutes=1),
        "duration_s": 60.0,
    }
    return row("sync_log", **{**values, **changes})


def change(mn_id: str, kind: str, at: datetime, run_id: str, **changes: Any) -> pl.DataFrame:
    field = changes.get("field_name")
    values = {
        "id": f"{YEAR}-{mn_id}-{kind}-{field}-{at:%H%M}",
        "year": YEAR,
        "mn_id": mn_id,
        "change_type": kind,
        "is_significant": kind != "field_change",
        "detected_at": at,
        "run_id": run_id,
    }
    return row("mn_changes", **{**values, **changes})


def candidate(mn_id: str, contact_id: int, role: str, score: float, **changes: Any) -> pl.DataFrame:
    values = {
        "year": YEAR,
        "mn_id": mn_id,
        "contact_id": contact_id,
        "role": role,
        "method": "email",
        "matched_on": ["personal_email"],
        "same_person": role != "rejected",
        "score": score,
        "score_parts": '{"phone": 50, "member": 0}',
        "completeness": 60,
        "reason": "it leads",
    }
    return row("contact_matches", **{**values, **changes})


def conflict(mn_id: str, kind: str, severity: Any, status: str = "pending") -> pl.DataFrame:
    options = ({"value": value, "source": "raw_gb_full_contacts", "name": "Ben Birch"} for value in (7, 8))
    found = Conflict(mn_id, kind, *options, "contact_matches", severity=severity, recommended_option="a")
    return row("sync_conflicts", **conflict_rows(YEAR, [found]).row(0, named=True), status=status, detected_at=NOW)


def store_small_year(warehouse: Warehouse) -> None:
    """0001 is linked to contact 7, 0042 (once 999001) waits for a decision, 0300 has no contact."""
    mentors = together(
        mentor("0001", gb_match_status="linked", gb_match_method="email", gb_contact_id=7),
        mentor("0042", gb_match_status="conflict", status_category="complete"),
        mentor("0300"),
    )
    with warehouse.write() as store:
        store.replace("mentors", mentors, year=YEAR)
        store.append("sync_log", together(run(FIRST, NOW - timedelta(hours=2)), run(SECOND, NOW - timedelta(hours=1))))
        store.upsert("raw_gb_full_contacts", together(contact(7), contact(8), contact(9)))
        store.replace(
            "contact_matches",
            together(
                candidate("0001", 9, "rejected", 900), candidate("0001", 7, "winner", 150),
                candidate("0001", 8, "loser", 120), candidate("0042", 8, "rejected", 10),
            ),
            year=YEAR,
        )  # fmt: skip
        link = row(
            "contact_links", year=YEAR, mn_id="0001", gb_contact_id=7, gb_match_status="linked",
            gb_match_method="email", candidate_count=3, reason="it leads contact 8",
        )  # fmt: skip
        store.replace("contact_links", link, year=YEAR)
        store.append(
            "mn_changes",
            together(
                change("0001", "new_mentor", NOW - timedelta(minutes=119), FIRST),
                change("0042", "new_mentor", NOW - timedelta(minutes=119), FIRST),
                change(
                    "0042", "field_change", NOW - timedelta(minutes=59), SECOND,
                    field_name="shirt_size", old_value="M", new_value="L",
                ),
                change("0001", "contact_linked", NOW - timedelta(minutes=59), SECOND, synced_to_gb=False),
            ),
        )  # fmt: skip
        store.upsert(
            "sync_conflicts",
            together(
                conflict("0042", "contact_selection", "high"),
                conflict("0001", "phone_mismatch", "medium"),
                conflict("0300", "contact_selection", "high", status="obsolete"),
            ),
        )
        store.append("mentor_aliases", alias("999001", "0042"))
        held = {"year": YEAR, "mn_id": "0042", "reason": "contact_conflict", "detail": "decide it"}
        store.replace("mn_gb_import_held", row("mn_gb_import_held", **held), year=YEAR)
        store.replace("mn_gb_import", row("mn_gb_import", year=YEAR, mn_id="0001"), year=YEAR)
        read = {"source": CONTACTS_SOURCE, "read_at": NOW - timedelta(hours=1), "full_read_at": NOW - timedelta(days=3)}
        store.upsert("source_reads", row("source_reads", **read))
        warned = {"id": "w1", "year": YEAR, "type": "shared_phone", "severity": "warning", "resolved": False}
        store.upsert(
            "sync_warnings",
            together(row("sync_warnings", **warned), row("sync_warnings", **{**warned, "id": "w2", "resolved": True})),
        )
