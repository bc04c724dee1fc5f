"""Which warehouse this installation has: the one place that decides it.

Each warehouse is imported when it is used, so that a command does not load the driver of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mentor_pipeline.resources.warehouse import Warehouse
    from mentor_pipeline.settings import Settings


def open_warehouse(settings: Settings, *, busy_timeout_s: float = 30.0) -> Warehouse:
    """The warehouse that the settings name: Postgres with a database URL, else the DuckDB file in the data folder.

    Args:
        settings: of this installation.
        busy_timeout_s: how long to wait for others who use it.

    Raises:
        ConfigError: the database URL cannot be understood.
    """
    if settings.database_url:
        from mentor_pipeline.resources.postgres_warehouse import PostgresWarehouse  # noqa: PLC0415

        return PostgresWarehouse(settings.database_url, busy_timeout_s=busy_timeout_s)
    from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse  # noqa: PLC0415

    return DuckDBWarehouse(settings.warehouse_path, busy_timeout_s=busy_timeout_s)
