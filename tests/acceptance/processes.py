"""What the system shows of running processes: who belongs to whom, command lines, and what is listened to (Linux)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

PROC: Final = Path("/proc")
LISTENING: Final = "0A"
needs_proc = pytest.mark.skipif(not (PROC / "self/cmdline").exists(), reason="other systems show processes otherwise")


def family(pid: int) -> set[int]:
    """A process and all that descend from it now."""
    parents: dict[int, int] = {}
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            # The name before it is in brackets, and may hold anything.
            parents[int(path.parent.name)] = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def command_lines(pids: set[int]) -> set[str]:
    """The command lines of those processes that are still there."""
    lines = set()
    for pid in pids:
        with suppress(OSError):
            lines.add((PROC / str(pid) / "cmdline").read_text(errors="replace"))
    return lines - {""}


def listened_to(pids: set[int]) -> set[tuple[str, int]]:
    """The addresses, as the kernel writes them (`0100007F` is 127.0.0.1), and ports that these processes listen to."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            for descriptor in (PROC / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    sockets.add(descriptor.readlink().name)
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # a kernel without IPv6
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and f"socket:[{inode}]" in sockets:
                    address, _, port = local.partition(":")
                    found.add((address, int(port, 16)))
    return found
