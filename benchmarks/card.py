"""A GPU that several processes of ours share, of which one at a time holds it alone."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HELD_SECONDS = 75.0  # that a section may hold the card; it takes at most 30
SETTLING_SECONDS = 0.2  # until what the others had begun is done


def register(folder: Path, pid: int) -> None:
    """Note a process, the leader of its group, as one that shares the card."""
    (folder / f"{pid}.pid").touch()


def forget(folder: Path, pid: int) -> None:
    """Note that a process has ended."""
    (folder / f"{pid}.pid").unlink()


@contextmanager
def hold(folder: Path, seconds: float = HELD_SECONDS) -> Iterator[None]:
    """Hold the card, with the other processes stopped; one that holds it longer is ended by SIGALRM.

    Args:
        folder: the folder of the processes that share the card.
        seconds: the longest time, after which the process ends wherever it is, be it in a driver.
    """
    with (folder / "card.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pids = (int(path.stem) for path in folder.glob("*.pid"))
        others = [pid for pid in pids if pid != os.getpid()]
        signal.setitimer(signal.ITIMER_REAL, seconds)
        send(others, signal.SIGSTOP)
        try:
            time.sleep(SETTLING_SECONDS)
            yield
        finally:
            send(others, signal.SIGCONT)
            signal.setitimer(signal.ITIMER_REAL, 0)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to the groups of processes, those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
