"""The sections of the bench: one module each, with a function `measure` and its sizes, `FULL` and `QUICK`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from bench.measuring import share_this_process

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Section

SECTIONS: Final = ("imports", "scale", "matching", "syncs", "writes", "inbox", "starting", "demo")


def measure(name: str, folder: Path, is_quick: bool) -> Section:
    """What one of them measures in that folder."""
    if is_quick:
        share_this_process()
    module = import_module(f"bench.{name}")
    section: Section = module.measure(folder, module.QUICK if is_quick else module.FULL)
    return section
