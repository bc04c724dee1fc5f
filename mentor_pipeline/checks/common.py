"""How a check says what it found: one sentence, and a table of who and what; never just a count.

A check that blocks fails its step, and nothing downstream of it happens in that run; a warning is shown and the run
goes on. An exception inside a check is Dagster's to show.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

import dagster as dg
import polars as pl

from mentor_pipeline.resources.warehouse import Reader, Warehouse
from mentor_pipeline.settings import ProgramYear

SHOWN: Final = 100
"""Rows shown in the metadata of a check; the tables hold them all."""


Find: TypeAlias = Callable[[Reader, ProgramYear], dg.AssetCheckResult]


class Check(NamedTuple):
    """One check of an asset: what must hold, in words, and the function that looks whether it does."""

    name: str
    description: str
    find: Find
    is_blocking: bool = False


def checks_of(asset: str, *checks: Check) -> dg.AssetChecksDefinition:
    """All checks of one asset, in one step and on one reading of the warehouse."""
    specs = [
        dg.AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.is_blocking)
        for check in checks
    ]

    @dg.multi_asset_check(name=f"check_{asset}", specs=specs)
    def check_asset(
        warehouse: dg.ResourceParam[Warehouse], program: dg.ResourceParam[ProgramYear]
    ) -> Iterator[dg.AssetCheckResult]:
        with warehouse.reading() as reader:
            found = [(check.name, check.find(reader, program)) for check in checks]
        for name, result in found:
            yield result._replace(asset_key=dg.AssetKey(asset), check_name=name)

    return check_asset


def holds(description: str) -> dg.AssetCheckResult:
    """The check found nothing."""
    return dg.AssetCheckResult(passed=True, description=description)


def finding(
    description: str, rows: pl.DataFrame, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
) -> dg.AssetCheckResult:
    """The check found these rows."""
    more = f" The first {SHOWN} of {rows.height} are shown." if rows.height > SHOWN else ""
    return dg.AssetCheckResult(
        passed=False,
        severity=severity,
        description=description + more,
        metadata={"rows found": rows.height, "rows": as_table(rows)},
    )


def error(description: str, rows: pl.DataFrame) -> dg.AssetCheckResult:
    """The check found these rows, and that is an error."""
    return finding(description, rows, dg.AssetCheckSeverity.ERROR)


def as_table(rows: pl.DataFrame) -> dg.TableMetadataValue:
    """The first rows as a table of the catalog; lists with commas, times in UTC."""
    shown = rows.head(SHOWN)
    texts = [
        pl.col(name).list.join(", ")
        if dtype == pl.List(pl.String)
        else pl.col(name).cast(pl.List(pl.String)).list.join(", ")
        if isinstance(dtype, pl.List)
        else pl.col(name).dt.strftime("%Y-%m-%d %H:%M UTC")
        if isinstance(dtype, pl.Datetime)
        else pl.col(name).cast(pl.String)
        for name, dtype in shown.schema.items()
    ]
    records = [dg.TableRecord(row) for row in shown.select(texts).fill_null("").iter_rows(named=True)]
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema(columns=[dg.TableColumn(name, "text") for name in rows.columns])
    )


def named(values: Iterable[object], limit: int = 5) -> str:
    """The first few in words."""
    found = list(dict.fromkeys(str(value) for value in values))
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more
