"""Locks on files that the kernel releases when their process dies, however it dies."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

SECONDS_BETWEEN_TRIES = 1.0


def try_lock(path: Path) -> FileIO | None:
    """Return the open file, locked until it is closed or its process dies; None if it is taken.

    Raises:
        OSError: where the file system knows no locks.
    """
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file


def _open(path: Path) -> FileIO:
    """Open a file for locking, made if it is not there; another user's is enough to read."""
    try:
        return FileIO(path, "r+")
    except FileNotFoundError:
        return FileIO(path, "a")
    except PermissionError:
        return FileIO(path, "r")


@contextmanager
def lock_one(paths: Sequence[Path], waiting_for: str) -> Iterator[int]:
    """Lock the first path that is free, waiting for one if need be; yield its position.

    Where the file system knows no locks, the first path counts as free.

    Args:
        paths: which may serve, the best first.
        waiting_for: printed once if all are taken.
    """
    try:
        position, file = _wait_for_one(paths, waiting_for)
    except OSError as error:
        print(f"{paths[0]}: not locked ({error.strerror})", file=sys.stderr, flush=True)
        yield 0
        return
    with file:
        yield position


def _wait_for_one(paths: Sequence[Path], waiting_for: str) -> tuple[int, FileIO]:
    told = False
    while True:
        for position, path in enumerate(paths):
            if file := try_lock(path):
                return position, file
        if not told:
            print(f"waiting for {waiting_for}", file=sys.stderr, flush=True)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)
