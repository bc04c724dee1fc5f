"""The rules (R1-R12) as plain functions on Polars frames. No I/O and no Dagster in here."""
