"""Cases in a process of their own, which is ended when it does not answer."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from tests.torture.verdicts import Attempt, Outcome, Target, Verdict

SECONDS = 90.0
"""Longest time of a case; most take a thousandth, but HDF5 gets a minute for a file without a seal."""
SHOWN = 1500
"""Characters of a log that a verdict keeps."""
MEMORY = 12 << 30
"""Bytes that a case may address, torch's own included: a damaged number may ask for any amount."""


class Watched:
    """A process that tries cases of some targets, made anew when one of them ends it or hangs."""

    def __init__(self, targets: Mapping[str, Target], folder: Path) -> None:
        self.targets, self.folder, self.log = targets, folder, folder / "log.txt"
        self._begin()

    def _begin(self) -> None:
        self.here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        arguments = (self.targets, self.folder, self.log, there)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        there.close()

    def try_case(self, target: str, seed: int) -> Verdict:
        """Try the case of one target with one seed; a target's first one builds it."""
        self.here.send((target, seed))
        try:
            if self.here.poll(SECONDS):
                return self.here.recv()
            self._end()
            verdict = Verdict(Outcome.HANG, f"no answer within {SECONDS:.0f} s")
        except EOFError:
            self._end()
            said = self.log.read_text(encoding="utf-8", errors="replace")[-SHOWN:]
            verdict = Verdict(Outcome.TRACEBACK, f"exit code {self.process.exitcode}: {said}")
        self._begin()
        return verdict

    def _end(self) -> None:
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """End the process."""
        self._end()


def _serve(targets: Mapping[str, Target], folder: Path, log: Path, there: Connection) -> None:
    """Try the cases asked for; an error that nobody caught ends the process, its traceback in the log."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = sys.stderr = os.fdopen(output, "w", encoding="utf-8")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    attempts: dict[str, Attempt] = {}
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            name, seed = there.recv()
            if name not in attempts:
                own = folder / f"{name.replace(' ', '-')}-{os.getpid()}"
                own.mkdir(parents=True)
                attempts[name] = targets[name](own)
            there.send(attempts[name](seed))
