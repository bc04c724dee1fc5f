"""Laying what was read of Givebutter's contacts over what is stored of them (R12), for every way by which they come.

What a reading adds is decided in `domain.knowledge`; here are the rows it is held against and where the result goes.
Only the rows are read that a reading can say something of, so that an hour in which little changed costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain.forgotten import LEDGER as FORGOTTEN
from mentor_pipeline.domain.forgotten import blanked
from mentor_pipeline.domain.knowledge import learn

if TYPE_CHECKING:
    from datetime import datetime

    from mentor_pipeline.domain.knowledge import Reading
    from mentor_pipeline.resources.warehouse import Reader, Transaction

CONTACTS: Final = "raw_gb_full_contacts"
CONTACTS_SOURCE: Final = "givebutter/contacts"
"""The row of `source_reads` that tells how far the contacts are known."""


class Laid(NamedTuple):
    """Rows of `raw_gb_full_contacts`: as they were before a reading, and those that it wrote."""

    before: pl.DataFrame
    written: pl.DataFrame


class Learner:
    """Lays readings over the stored contacts, one after the other in one transaction.

    Attributes:
        new_count: contacts not known before; this and the next three of all readings so far (see `Learned`).
        changed_count: known contacts whose values changed.
        missing_count: contacts that turned missing.
        outdated_count: contacts about which something newer was known.
    """

    def __init__(self, transaction: Transaction, *, now: datetime, mn_id_prefix: str) -> None:
        self.new_count = self.changed_count = self.missing_count = self.outdated_count = 0
        self._transaction, self._now, self._mn_id_prefix = transaction, now, mn_id_prefix
        self._full_read_at = full_read_at(transaction)
        self._forgotten = transaction.read_or_empty(FORGOTTEN)

    def learn(self, reading: Reading, *, of: pl.DataFrame | None = None) -> Laid:
        """Lay one reading over what is stored.

        Args:
            reading: what was read.
            of: contact_id of the stored contacts that it is held against; when None, those that it can say something
                of, which for a complete reading are all.
        """
        if of is None and not reading.is_complete:
            gone = pl.Series("contact_id", reading.gone, dtype=pl.Int64)
            of = pl.concat([reading.contacts["contact_id"], gone]).unique().to_frame()
        read = self._transaction
        before = read.read_or_empty(CONTACTS) if of is None else read.read_of(CONTACTS, of)
        learned = learn(
            before, reading, full_read_at=self._full_read_at, now=self._now, mn_id_prefix=self._mn_id_prefix
        )
        written = blanked(learned.rows, self._forgotten)
        self._transaction.upsert(CONTACTS, written)
        self.new_count += learned.new_count
        self.changed_count += learned.changed_count
        self.missing_count += learned.missing_count
        self.outdated_count += learned.outdated_count
        return Laid(before, written)


def full_read_at(reader: Reader) -> datetime | None:
    """When all contacts were last read; None when they never were."""
    reads = reader.read_or_empty("source_reads").filter(source=CONTACTS_SOURCE)
    return reads["full_read_at"].max()  # type: ignore[return-value]
