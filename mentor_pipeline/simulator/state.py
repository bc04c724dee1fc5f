"""The world as one file: gzipped JSON, so that `demo` and a server that runs later share it.

Only what differs from a record's defaults is written, which keeps 49,000 contacts small and quick to read. The year
file is stored with it, so that a saved world can be opened by itself. Nothing is interpreted here.
"""

from __future__ import annotations

import gc
import gzip
import os
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import MISSING, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from mentor_pipeline.simulator.records import (
    Address,
    Behaviour,
    Campaign,
    Contact,
    CustomFieldDefinition,
    Member,
    MentorClass,
    MentorTruth,
    Submission,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mentor_pipeline.simulator.world import World

_VERSION: Final = 1
_time: Final = datetime.fromisoformat
_Record = Contact | Member | Submission | MentorTruth


class StateError(Exception):
    """The file is no saved world of this version; the message says why."""


def dump(world: World) -> bytes:
    """The world as JSON, not yet compressed. Holds the world's lock for the shortest time."""
    with world.lock:
        return orjson.dumps(
            {
                "version": _VERSION,
                "program": world.program.model_dump(mode="json", by_alias=True),
                "behaviour": world.behaviour,
                "imports_count": world.imports_count,
                "last_ids": world.last_ids,
                "campaigns": world.campaigns,
                "custom_fields": list(world.custom_fields.values()),
                "contacts": _sparse(world.contacts.values()),
                "members": _sparse(world.members.values()),
                "submissions": _sparse(world.submissions.values()),
                "truth": _sparse(world.truth.values()),
            },
            default=str,
        )


def write(content: bytes, path: Path) -> None:
    """Write dumped content to a file in one step, so that a killed writer leaves the earlier file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(gzip.compress(content, compresslevel=1))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hold the garbage collector back while a world is read: looking for garbage takes longer than reading."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read(path: Path) -> Mapping[str, Any]:
    """The content of a saved world.

    Raises:
        StateError: the file is missing, damaged, or of another version.
    """
    try:
        saved: Mapping[str, Any] = orjson.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, orjson.JSONDecodeError) as error:
        msg = f"{path} is no saved world: {error}. Nothing was loaded; delete the file to start with a new world."
        raise StateError(msg) from error
    if saved.get("version") != _VERSION:
        msg = (
            f"{path} was saved by another version of the simulator (format {saved.get('version')}, not {_VERSION})."
            " Nothing was loaded; delete the file to start with a new world."
        )
        raise StateError(msg)
    return saved


def fill(world: World, saved: Mapping[str, Any]) -> None:
    """Put the records of a saved world into an empty one."""
    world.behaviour = Behaviour(**saved["behaviour"])
    world.imports_count = saved["imports_count"]
    world.campaigns = [Campaign(**{**c, "created_at": _time(c["created_at"])}) for c in saved["campaigns"]]
    world.custom_fields = {
        d["label"]: CustomFieldDefinition(**{**d, "options": tuple(d["options"])}) for d in saved["custom_fields"]
    }
    world.contacts = {d["id"]: _contact(d) for d in saved["contacts"]}
    world.members = {d["id"]: Member(**_read(d, _MEMBER)) for d in saved["members"]}
    world.submissions = {d["id"]: Submission(**_read(d, _SUBMISSION)) for d in saved["submissions"]}
    world.truth = {d["submission_id"]: MentorTruth(**{**d, "class_": MentorClass(d["class_"])}) for d in saved["truth"]}
    world.last_ids = saved["last_ids"]


_CONTACT: Final[Mapping[str, Callable[[str], object]]] = {
    **dict.fromkeys(("created_at", "updated_at", "archived_at", "contact_since"), _time),
    **dict.fromkeys(
        ("total_contributions", "recurring_contributions", "last_donation_amount", "total_soft_credits"), Decimal
    ),
}
_MEMBER: Final[Mapping[str, Callable[[str], object]]] = {
    "created_at": _time,
    "updated_at": _time,
    "raised": Decimal,
    "goal": Decimal,
}
_SUBMISSION: Final[Mapping[str, Callable[[str], object]]] = {"created_at": _time, "updated_at": _time}


def _read(record: dict[str, Any], readers: Mapping[str, Callable[[str], object]]) -> dict[str, Any]:
    for name, reader in readers.items():
        if name in record:
            record[name] = reader(record[name])
    return record


def _contact(record: dict[str, Any]) -> Contact:
    contact = Contact(**_read(record, _CONTACT))
    if contact.addresses:
        contact.addresses = [Address(**address) for address in record["addresses"]]
    return contact


def _sparse(records: Iterable[_Record]) -> list[dict[str, object]]:
    """Records as objects without the fields that have their default."""
    sparse: list[dict[str, object]] = []
    defaults: list[tuple[str, object]] = []
    for record in records:
        if not defaults:
            defaults = [
                (spec.name, spec.default_factory() if spec.default_factory is not MISSING else spec.default)
                for spec in fields(record)
            ]
        sparse.append({name: value for name, default in defaults if (value := getattr(record, name)) != default})
    return sparse
