"""Scenario 22: a `-failed.csv`, dropped into the inbox, explains each row, and teaches the next file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from mentor_pipeline.simulator import World
from tests.acceptance.installation import done, installed
from tests.builders import phone_of, program

if TYPE_CHECKING:
    from pathlib import Path

ADA, BEN, CORA = "0041", "0042", "0043"


def world_of_three() -> World:
    """Cora has a contact, the others none; a stranger with Ada's id was archived before anybody looked."""
    world = World.empty(program())
    for number, (mn_id, name) in enumerate({ADA: "Ada", BEN: "Ben", CORA: "Cora"}.items(), start=1):
        world.submit(
            "signup", mn_id=mn_id, name={"first": name, "last": "Elm"}, phone=phone_of(number),
            personal_email=f"{name}@example.com".lower(), uga_email=f"{name}@uga.edu".lower(),
        )  # fmt: skip
    world.add_contact(first_name="Cora", last_name="Elm", external_id=CORA, emails=["cora@example.com"])
    world.archive_contact(world.add_contact(first_name="Ulf", last_name="Oak", external_id=ADA))
    return world


@pytest.mark.slow
def test_each_row_is_explained_and_never_refused_again(tmp_path: Path) -> None:
    with installed(tmp_path / "data", world_of_three()) as there:
        there.sync()
        (file,) = there.export()
        there.world.archive_contact(there.mentor(CORA)["gb_contact_id"])  # since the file was made
        there.world.import_csv(file)
        again = there.world.import_csv(file)  # and once more: Ben's contact is there already
        assert {refused.external_id for refused in again.refused} == {ADA, BEN, CORA}
        there.sync()
        inbox = there.settings().inbox_dir
        inbox.mkdir(exist_ok=True)
        (inbox / again.failed_name).write_text(again.failed_csv, encoding="utf-8")
        there.inbox()

        refused = there.table("sync_errors").filter(type="import_refused")
        messages = dict(refused.select("mn_id", "message").iter_rows())
        assert set(messages) >= {ADA, CORA}
        assert "no contact that we know of" in messages[ADA]
        assert f"search {ADA} among Givebutter's archived contacts" in messages[ADA]
        assert "Ulf" not in messages[ADA]
        assert "does not mend itself" in messages[ADA]
        assert "was archived, deleted or merged" in messages[CORA]
        assert ". It mends itself" in messages[CORA]
        for context in refused["context"]:
            assert json.loads(context)["file"] == again.failed_name

        done(there.run("contact_refresh"))
        for path in there.export(everything=True):
            assert there.world.import_csv(path).refused == []
        held = dict(there.table("mn_gb_import_held").select("mn_id", "reason").iter_rows())
        assert held == {ADA: "refused_by_givebutter", CORA: "stale_contact"}
        there.sync()
        still_open = there.table("sync_errors").filter(~pl.col("resolved"), type="import_refused")
        assert set(still_open["mn_id"]) >= {ADA}
