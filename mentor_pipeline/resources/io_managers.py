"""How assets' frames get into the warehouse and out of it.

An asset returns a frame, or a `Computed` with what was found beside it; the IO manager writes all of it in one
transaction, in the way the table's spec says, and reports row counts. Which rows an asset makes belongs to the domain;
how rows are stored to the warehouse. Assets that need their own earlier state read the warehouse, not an input.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from mentor_pipeline.domain.findings import Computed
from mentor_pipeline.resources.run_guard import ROW_COUNT, RunGuard
from mentor_pipeline.resources.warehouse import Transaction, Warehouse
from mentor_pipeline.tables import TABLES


def column_schema(table: str) -> dg.TableSchema:
    """The catalog's columns of a table, for the metadata `dagster/column_schema` on the asset's definition."""
    spec = TABLES[table]
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=column.type.value,
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.name not in spec.key, unique=spec.key == (column.name,)
                ),
            )
            for column in spec.columns
        ]
    )


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Stores an asset's frame in the table of its name (the key's last part).

    It depends on the `RunGuard`, so that a run that stores anything holds the writer lock.

    Attributes:
        year: program year whose rows are written and read.
        warehouse: where they are kept.
        guard: the one-writer lock and the run's row in `sync_log`.
    """

    year: int
    warehouse: dg.ResourceDependency[Warehouse]
    guard: dg.ResourceDependency[RunGuard]

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | Computed | None) -> None:
        """Write an asset's rows and findings in one transaction; nothing for None.

        Adds the metadata `dagster/row_count` (rows the table, or its year, now has), `rows written` (new or changed
        ones), `further tables`, and `problems found` and `conflicts found` by type where there are any.

        Raises:
            WarehouseError: the rows do not fit the table, or the warehouse cannot be written; it is left as it was.
        """
        if obj is None:
            return
        asset = context.asset_key.path[-1]
        computed = obj if isinstance(obj, Computed) else Computed(obj)
        with self.warehouse.write() as transaction:
            written = transaction.store(asset, computed.rows, year=self.year)
            further = {name: transaction.store(name, rows, year=self.year) for name, rows in computed.also.items()}
            self._store_findings(transaction, "detected_problems", asset, computed.problems)
            self._store_findings(transaction, "detected_conflicts", asset, computed.conflicts)
            rows = transaction.count(asset, year=self.year if TABLES[asset].has_year else None)
        metadata: dict[str, Any] = {ROW_COUNT: rows, "rows written": written}
        if further:
            metadata["further tables"] = further
        metadata.update(_found("problems found", computed.problems, "type"))
        metadata.update(_found("conflicts found", computed.conflicts, "conflict_type"))
        context.add_output_metadata(metadata)

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """Read an upstream asset's table: the year's rows where it has a year; no rows where it is not there yet.

        Metadata of the `AssetIn`: `{"columns": [...]}` reads only these, `{"all_years": True}` every year's rows.

        Raises:
            WarehouseError: the warehouse cannot be read.
        """
        asset, wishes = context.asset_key.path[-1], context.definition_metadata
        year = self.year if TABLES[asset].has_year and not wishes.get("all_years") else None
        return self.warehouse.read_or_empty(asset, columns=wishes.get("columns"), year=year)

    def _store_findings(self, transaction: Transaction, table: str, asset: str, found: pl.DataFrame | None) -> None:
        """Replace what this asset found before; None leaves it as it is."""
        if found is not None:
            rows = found.with_columns(asset=pl.lit(asset))
            transaction.replace_slice(table, rows, {"asset": asset, "year": self.year})


def _found(label: str, findings: pl.DataFrame | None, kind: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Metadata on findings, counted by kind; none where nothing was found."""
    if findings is not None and not findings.is_empty():
        counted = findings.group_by(kind).len().sort(kind)
        yield label, dict(counted.iter_rows())
