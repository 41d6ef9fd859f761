"""A busy machine: a training step beside another process, with OpenMP's threads spinning and sleeping."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders import Situation
from benchmarks.machine import cores
from benchmarks.processes import call
from benchmarks.results import Findings, Row
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, speedup

SECTION = "busy"
WAITING: Mapping[str, Mapping[str, str]] = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # GNU OpenMP's own number
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},  # `dualhead train`'s way
}
SAMPLES, FRAMES = 2, 64


def measure(scale: Scale, folder: Path) -> Findings:
    """Time a training step with 1 and with all threads, alone and beside a process that computes."""
    rows = []
    for threads in sorted({1, cores()}):
        for place in ("alone", "beside a busy process"):
            found = {way: _steps(scale, threads, place, way) for way in WAITING}
            spinning, sleeping = (found[way] for way in WAITING)
            rows.append(
                Row(
                    SECTION,
                    f"training step, {place}",
                    f"{threads} threads, wall time; threads that wait sleep, reference: they spin",
                    speedup(spinning, sleeping),
                    "x",
                    ours=Spread.of(sleeping),
                    reference=Spread.of(spinning),
                    base="s",
                    note=f"{SAMPLES} samples, {FRAMES} frames",
                )
            )
    return Findings(rows, [])


def _steps(scale: Scale, threads: int, place: str, way: str) -> list[float]:
    """Return the seconds of training steps in a process of their own."""
    say(f"{SECTION}: {threads} threads, {place}, {way}")
    situation = Situation(
        samples=SAMPLES,
        frames=FRAMES,
        clock="wall",
        threads=threads,
        rounds=scale.rounds,
        passes=("training",),
        contenders=("ours fp32",),
    )
    with _neighbor(place != "alone"):
        found = call("time_passes", situation._asdict(), threads=threads, malloc=WAITING[way])
    seconds: list[float] = found["training"]["seconds"]["ours fp32"]
    return seconds


@contextmanager
def _neighbor(is_there: bool) -> Iterator[None]:
    """Keep one core busy."""
    if not is_there:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
