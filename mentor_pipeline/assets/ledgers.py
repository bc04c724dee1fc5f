"""What people and runs did: written as it happens, never computed; in the catalog so that it can be found."""

from typing import Final

from mentor_pipeline.assets.common import spec_of

GROUP: Final = "ledgers"
LEDGERS: Final = (
    "csv_import_log",
    "contact_archive_log",
    "tag_log",
    "sent_notes",
    "forgotten",
    "sync_log",
    "sync_configs",
)

specs = [spec_of(table, group=GROUP) for table in LEDGERS]
