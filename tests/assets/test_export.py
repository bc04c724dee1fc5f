"""What the UI shows of the import file."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import dagster as dg

from mentor_pipeline.assets.export import gb_import_file
from mentor_pipeline.domain.export import import_rows
from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.run_guard import RunGuard
from mentor_pipeline.settings import Settings
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, contact, mentor, program, row, together

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mentor_pipeline.resources.warehouse import Warehouse


def test_the_import_file_shows_counts_path_hash_and_what_its_rows_do(
    warehouse: Warehouse, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(data_dir))
    mentors = together(
        mentor("0001"), mentor("0002", gb_contact_id=7, gb_match_status="linked"), mentor("0003", withdrawn=True)
    )
    none = {name: TABLES[name].empty() for name in ("mn_tasks", "outreach_messages", "sync_errors", "sync_conflicts")}
    judged = import_rows(
        mentors,
        none["mn_tasks"],
        contact(7),
        none["outreach_messages"],
        none["sync_errors"],
        none["sync_conflicts"],
        program(),
        now=NOW,
        knowledge_at=NOW,
    )
    tables = {
        "mn_gb_import": judged.rows,
        "mn_gb_import_held": judged.held,
        "mentors": mentors,
        "raw_gb_full_contacts": contact(7),
        "outreach_messages": none["outreach_messages"],
        "source_reads": row("source_reads", source="givebutter/contacts", read_at=NOW),
    }
    with warehouse.write() as transaction:
        for table, frame in tables.items():
            transaction.upsert(table, frame)
    manager = WarehouseIOManager(year=YEAR, warehouse=warehouse, guard=RunGuard(warehouse=warehouse, wait_s=0))
    settings = Settings.load()
    result = dg.materialize(
        [gb_import_file, *(dg.AssetSpec(table) for table in tables if table != "source_reads")],
        resources={"io_manager": manager, "warehouse": warehouse, "program": program(), "settings": settings},
        run_config={"ops": {"gb_import_file": {"config": {"allow_stale": True}}}},  # the clock is the real one
    )
    (materialized,) = result.asset_materializations_for_node("gb_import_file")
    shown = {label: value.value for label, value in materialized.metadata.items()}
    (path,) = data_dir.glob("exports/*.csv")
    assert shown["paths"] == [str(path)]
    assert shown["sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert {name: shown[name] for name in ("rows", "created", "updated")} == {"rows": 2, "created": 1, "updated": 1}
    assert shown["held"] == {"withdrawn": 1}
    preview = materialized.metadata["preview"]
    assert isinstance(preview, dg.TableMetadataValue)
    assert [(one.data["external_id"], one.data["does"]) for one in preview.records] == [
        ("0001", "creates a contact"),
        ("0002", "updates contact 7"),
    ]
    assert "Primary Email" in str(preview.records[1].data["changes"])
    assert "@example.com" not in str(materialized.metadata)
