"""Processes to measure in: with other malloc settings, a fresh memory peak, or a whole command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_MALLOC: Mapping[str, str] = {}
TUNED_MALLOC: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",  # large blocks come from the heap, whose pages stay mapped
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
POLL_SECONDS = 0.02


def call(
    task: str,
    settings: Mapping[str, Any],
    *,
    threads: int,
    malloc: Mapping[str, str],
    seconds: float | None = None,
) -> Any:
    """Run a task of `benchmarks.worker` in a new process; return what it returns.

    Args:
        task: its name.
        settings: its arguments, as JSON.
        threads: that OpenMP and MKL may use.
        malloc: environment variables of glibc's malloc.
        seconds: that it may take; None: as long as it wants.

    Raises:
        subprocess.CalledProcessError: if it fails.
        subprocess.TimeoutExpired: if it is not done in time; it is ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "result.json")
        arguments = [task, json.dumps(settings), str(output)]
        command = [sys.executable, "-m", "benchmarks.worker", *arguments]
        variables = environment(threads, malloc)
        subprocess.run(command, check=True, cwd=ROOT, env=variables, timeout=seconds)
        return json.loads(output.read_text())


def environment(threads: int, malloc: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, with other numbers of threads and malloc settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    return {**kept, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **malloc}


class Finished(NamedTuple):
    """A command that has run."""

    seconds: float
    peak_bytes: float  # of it and its descendants, shared pages counted once; 0 if not watched


def run(command: Sequence[str | Path], *, cwd: Path = ROOT, watched: bool = False) -> Finished:
    """Run a command quietly with one thread a process; watching its memory slows it down.

    Raises:
        subprocess.CalledProcessError: if it fails; its stderr is shown.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            env=environment(1, DEFAULT_MALLOC),
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        with _Watch(process.pid) if watched else nullcontext() as watch:
            code = process.wait()
        seconds = time.perf_counter() - begin
        if code:
            errors.seek(0)
            print(errors.read(), file=sys.stderr)
            raise subprocess.CalledProcessError(code, process.args)
    return Finished(seconds, watch.peak if watch else 0.0)


class _Watch:
    """Looks at the memory of a process and its descendants many times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.peak = max(self.peak, sum(map(_proportional_bytes, _family(self._pid))))


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [
            int(child) for task in tasks for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended
        return []
    return [pid, *(member for child in children for member in _family(child))]


def _proportional_bytes(pid: int) -> float:
    """Return the memory of a process; a page that two processes share counts half in each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def status_bytes(field: str) -> float:
    """Return a field of this process's status: VmRSS is what it holds, VmHWM the most it held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
