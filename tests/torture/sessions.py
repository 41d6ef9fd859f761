"""Processes of a session: those that a command has begun."""

from __future__ import annotations

import time
from pathlib import Path


def alive(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_for_none(session: int, seconds: float = 20.0) -> list[int]:
    """Return which processes of a session are still there after some time."""
    end = time.monotonic() + seconds
    while (left := alive(session)) and time.monotonic() < end:
        time.sleep(0.02)
    return left
