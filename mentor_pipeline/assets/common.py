"""What all assets share: how a table is described in the catalog, and how a failure is told.

An asset is named as its table; description and column schema come from the table specs, so the catalog, the warehouse
and docs/tables.md always say the same. Nothing here knows what an asset computes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import cleandoc
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from mentor_pipeline.errors import MentorPipelineError
from mentor_pipeline.resources.io_managers import column_schema
from mentor_pipeline.resources.warehouse import Warehouse
from mentor_pipeline.tables import TABLES

OWNERS: Final = ["team:mentors"]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def table_asset(
    table: str,
    *,
    group: str,
    kinds: set[str] | None = None,
    ins: Mapping[str, dg.AssetIn] | None = None,
    deps: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`@dg.asset` for the asset that fills a table; the function's docstring says how it comes about.

    Args:
        table: its name.
        group: group of the asset graph.
        kinds: what it is made with; polars by default.
        ins: inputs of which not every column is read.
        deps: assets that must come first, though no frame of theirs is an input.
    """

    def decorate(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        described = _described(table, compute.__doc__ or "")
        definition: dg.AssetsDefinition = dg.asset(
            name=table, group_name=group, kinds=kinds or {"polars"}, ins=ins, deps=list(deps), **described
        )(compute)
        return definition

    return decorate


def output_of(table: str, how: str, *, group: str) -> dg.AssetOut:
    """The output of a `@dg.multi_asset` that fills a table; `how` says how it comes about."""
    return dg.AssetOut(key=table, group_name=group, kinds={"polars"}, **_described(table, how))


def spec_of(table: str, *, group: str) -> dg.AssetSpec:
    """A table that is written by what people and runs do, not computed: in the catalog, but not materialised."""
    return dg.AssetSpec(key=table, group_name=group, kinds={"ledger"}, **_described(table))


def columns_of(*columns: str) -> dg.AssetIn:
    """An input of which only these columns are read."""
    return dg.AssetIn(metadata={"columns": list(columns)})


class LastRead(NamedTuple):
    """How far a source has been read: its row of `source_reads`."""

    read_at: datetime | None = None
    full_read_at: datetime | None = None
    full_row_count: int | None = None


def last_read(warehouse: Warehouse, source: str) -> LastRead:
    """How far a source has been read; nothing is known of one that never was."""
    rows = warehouse.read_or_empty("source_reads").filter(source=source).select(LastRead._fields)
    return LastRead(*rows.row(0)) if rows.height else LastRead()


def source_read(source: str, read: LastRead) -> pl.DataFrame:
    """The row of `source_reads` to write."""
    return pl.DataFrame([{"source": source, **read._asdict()}], schema=TABLES["source_reads"].schema)


def table_of(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    """Rows of text, all with the same columns, as a table of the catalog."""
    columns = [dg.TableColumn(name) for name in (rows[0] if rows else ())]
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema=dg.TableSchema(columns))


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn our own errors into a failure that says only what an operator needs; nothing is tried again by Dagster.

    What can succeed later was tried again already, close to the cause (the clients, the inbox sensor).
    """
    try:
        yield
    except MentorPipelineError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def _described(table: str, how: str = "") -> dict[str, Any]:
    spec = TABLES[table]
    stored = f"One row per {', '.join(spec.key)}; written by {spec.write}."
    return {
        "description": "\n\n".join(filter(None, (spec.description, cleandoc(how), stored))),
        "owners": OWNERS,
        "metadata": {"dagster/column_schema": column_schema(table), "dagster/table_name": table},
    }
