"""One GPU's visit, in at most eight minutes: correctness, steps and evaluation in three precisions, memory, kernels.

A network takes minutes to compile, so each pass in each precision has a process of its own (`benchmarks.lane`), all
side by side; what is timed holds the card alone, with the others stopped. A section that fails or takes too long costs
itself or its process, and what has been measured is on disk before the next begins: a visit cut short keeps it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import card, results
from benchmarks.contenders import Situation
from benchmarks.lane import SECTION, Lane
from benchmarks.machine import cores
from benchmarks.network import call_task
from benchmarks.processes import ROOT, TUNED_MALLOC, environment
from benchmarks.results import Findings
from benchmarks.scale import Scale
from benchmarks.timing import say

SECONDS = 450  # of a visit; eight minutes with what begins and ends it
LAST_SECONDS = 40  # kept for what needs the whole memory
LEAST = 10  # seconds below which nothing more begins
POLL_SECONDS = 0.2
WAYS = ("reference", "compiled", "graphs", "eager")
LANES = (
    Lane("training", "bf16"),
    Lane("evaluation", "bf16"),
    Lane("training", "fp32"),
    Lane("training", "tf32"),
    Lane("exactness", "fp64"),
    Lane("evaluation", "tf32"),
    Lane("evaluation", "fp32"),
)
"""What is wanted most comes first: it gets the processors before the others."""


def measure(scale: Scale, folder: Path) -> Iterator[Findings]:
    """Measure on the GPU; without one, say so."""
    if not torch.cuda.is_available():
        line = "GPU: not measured, because torch sees no CUDA device here."
        say(line)
        yield Findings([], [line])
        return
    situation = Situation(
        samples=64,
        device="auto",
        clock="cuda",
        rounds=scale.rounds,
        warm_ups=2,
        contenders=WAYS,
    )
    yield Findings([], [f"GPU: {torch.cuda.get_device_name()}, torch {torch.__version__}."])
    end = time.monotonic() + SECONDS
    yield from visit(LANES, situation, folder, SECONDS - LAST_SECONDS)
    yield largest(situation._replace(device="cuda:0"), end - time.monotonic())


def visit(
    lanes: Sequence[Lane], situation: Situation, folder: Path, seconds: float
) -> Iterator[Findings]:
    """Run lanes side by side; yield what each finds when it is there, and which did not end well."""
    end = time.monotonic() + seconds
    running = {
        lane: start(lane, situation, folder, priority) for priority, lane in enumerate(lanes)
    }
    read: set[Path] = set()
    try:
        while running:
            ended = [lane for lane, process in running.items() if process.poll() is not None]
            yield from new_findings(folder, read)
            for lane in ended:
                process = running.pop(lane)
                card.forget(folder, process.pid)
                if process.returncode:  # it may have stopped them
                    card.send([other.pid for other in running.values()], signal.SIGCONT)
                    yield Findings([], [_failure(lane, folder, process.returncode)])
            if time.monotonic() > end:
                break
            time.sleep(POLL_SECONDS)
    finally:
        for process in running.values():
            card.send([process.pid], signal.SIGKILL)
            process.wait()
    yield from new_findings(folder, read)
    for lane in running:
        yield Findings([], [f"{lane.name}: cut short, because the time was up."])


def start(lane: Lane, situation: Situation, folder: Path, priority: int) -> subprocess.Popen[bytes]:
    """Start a lane's process; the lower its number, the sooner it gets a processor."""
    malloc = {} if situation.device == "cpu" else TUNED_MALLOC
    variables = environment(situation.threads, malloc)
    variables.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, cores() // 4)))
    command = [
        *("nice", "-n", str(2 * priority)),
        *(sys.executable, "-m", "benchmarks.lane"),
        *(lane.name, json.dumps(situation._asdict()), str(folder)),
    ]
    with _log(lane, folder).open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    card.register(folder, process.pid)
    return process


def new_findings(folder: Path, read: set[Path]) -> Iterator[Findings]:
    """Yield the findings that lanes have written since, and note them as read."""
    for path in sorted(folder.glob("*/*/bench.json")):
        if path not in read:
            read.add(path)
            report = results.read(path)
            yield Findings(report.rows, report.remarks)


def _log(lane: Lane, folder: Path) -> Path:
    """Return the file of what a lane's process says."""
    return folder / f"{lane.name}.log"


def _failure(lane: Lane, folder: Path, code: int) -> str:
    """Return the line about a lane that ended badly, with the last that it said."""
    said = _log(lane, folder).read_text(errors="replace").strip().splitlines()
    if code == -signal.SIGALRM:
        return f"{lane.name}: ended, because it held the card for too long; last: {said[-1:]}"
    return f"{lane.name}: ended with {code}; last: {said[-1:]}"


def largest(situation: Situation, seconds: float) -> Findings:
    """Find the largest batch that trains in bf16, operation after operation."""
    if seconds < LEAST:
        return Findings([], ["largest batch: not measured, because the time was up."])
    say(f"{SECTION}: largest batch, {seconds:.0f} s left")
    own = situation._replace(contenders=("eager bf16",))
    try:
        samples = call_task("largest_batch", own, seconds=seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return Findings([], [f"largest batch: not measured: {type(error).__name__}."])
    line = (
        f"A training step in bf16, not compiled, fits into the memory with {samples} samples, "
        "and not with twice as many."
    )
    return Findings([], [line])
