"""One GPU's visit, in at most eight minutes: correctness, steps and evaluation in three precisions, memory, kernels.

The parts come in the order of what is wanted most, each in a process of its own. What has been measured is on disk
before the next part begins, so that a visit that is cut short leaves all but its last part.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import Situation
from benchmarks.loading import call_loading, share_row, write_small_store
from benchmarks.network import PASSES, call_task
from benchmarks.results import Findings, Row, Target, number
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, speedup

SECTION = "gpu"
HOW = "CUDA events"
SECONDS = 480  # of a visit
LEAST = 20  # seconds below which no further part begins
WARM_UPS = 3
PRECISIONS = ("bf16", "tf32", "fp32")
WAYS = ("reference", "eager", "compiled", "graphs")
TARGETS = {
    ("evaluation", "bf16"): 6.0,
    ("training", "bf16"): 8.0,
    ("evaluation", "tf32"): 6.0,
    ("training", "tf32"): 4.0,
    ("evaluation", "fp32"): 2.0,
    ("training", "fp32"): 2.0,
}
"""How many times faster than the authors' formulation in the same precision ours should be, in its fastest way."""
APART = {"bf16": 0.05, "tf32": 0.01, "fp32": 1e-4}
"""How far logits of a batch may be from those of the authors' formulation in fp32, as a share of the largest."""

Part = Callable[[Situation, Path, float], Findings]
"""Measures something, with so many seconds left."""


def measure(scale: Scale, folder: Path) -> Iterator[Findings]:
    """Measure on the GPU, part after part; without one, say so."""
    if not torch.cuda.is_available():
        line = "GPU: not measured, because torch sees no CUDA device here."
        say(line)
        yield Findings([], [line])
        return
    situation = Situation(
        samples=64, device="cuda", clock="cuda", rounds=4 * scale.rounds, warm_ups=WARM_UPS
    )
    yield Findings([], [f"GPU: {torch.cuda.get_device_name()}."])
    yield from visit(PARTS, situation, folder, SECONDS)


def visit(
    parts: Mapping[str, Part], situation: Situation, folder: Path, seconds: float
) -> Iterator[Findings]:
    """Yield the findings of each part, or why there are none, until the time is up."""
    end = time.monotonic() + seconds
    for name, part in parts.items():
        left = end - time.monotonic()
        if left < LEAST:
            yield Findings([], [f"{name}: not measured, because the time was up."])
            continue
        say(f"{SECTION}: {name}, {left:.0f} s left")
        try:
            yield part(situation, folder, left)
        except subprocess.TimeoutExpired:
            yield Findings([], [f"{name}: not measured, because {left:.0f} s were too few."])
        except subprocess.CalledProcessError as error:
            yield Findings(
                [], [f"{name}: not measured, because its process ended with {error.returncode}."]
            )


def exactness(situation: Situation, folder: Path, seconds: float) -> Findings:
    """Compare the compiled network with the reference, in float64 on the device."""
    few = situation._replace(samples=4, frames=64)
    found = call_task("compare", few, seconds=seconds)
    parts = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    return Findings(
        [
            Row(
                SECTION,
                "difference from the reference in float64",
                "on the device, 4 samples, 64 frames, both passes",
                Spread.of([max(found.values())]),
                "of the values",
                Target("at most", 1e-12),
                note=parts,
            )
        ]
    )


def deviations(precision: str) -> Part:
    """Return the part that compares a compiled step with the authors' formulation in strict fp32, at full size."""

    def part(situation: Situation, folder: Path, seconds: float) -> Findings:
        contenders = ("reference fp32", f"compiled {precision}")
        found = call_task("deviations", situation._replace(contenders=contenders), seconds=seconds)[
            contenders[1]
        ]
        parts = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        row = Row(
            SECTION,
            f"logits of a training step, compiled, {precision}, {situation.samples} samples",
            "difference from the reference in fp32",
            Spread.of([found["logits"]]),
            "of the largest",
            Target("at most", APART[precision]),
            note=parts,
        )
        return Findings([row])

    return part


def times(kind: str, precision: str) -> Part:
    """Return the part that times all ways of one pass in one precision."""

    def part(situation: Situation, folder: Path, seconds: float) -> Findings:
        contenders = tuple(f"{way} {precision}" for way in WAYS)
        own = situation._replace(contenders=contenders, passes=(kind,))
        found = call_task("time_passes", own, seconds=seconds)[kind]
        return Findings([_ratio(kind, precision, way, found, own) for way in WAYS[1:]])

    return part


def _ratio(
    kind: str, precision: str, way: str, found: Mapping[str, Any], situation: Situation
) -> Row:
    """Return the row of one way against the authors' formulation in the same precision."""
    contender, reference = f"{way} {precision}", f"reference {precision}"
    theirs, own = found["seconds"][reference], found["seconds"][contender]
    apart = found["apart"].get(contender)
    step = Spread.of(own).times(1e3)
    return Row(
        SECTION,
        f"{PASSES[kind]}, {way}, {precision}, {situation.samples} samples",
        HOW,
        speedup(theirs, own),
        "x",
        Target("at least", TARGETS[kind, precision]) if way != "eager" else None,
        ours=step,
        reference=Spread.of(theirs).times(1e3),
        base="ms",
        note="" if apart is None else f"outputs differ by {apart:.1e} of the largest",
    )


def memory(precision: str) -> Part:
    """Return the part that compares the memory that a training step takes."""

    def part(situation: Situation, folder: Path, seconds: float) -> Findings:
        end = time.monotonic() + seconds
        peaks = [
            call_task(
                "step_memory",
                situation._replace(contenders=(f"{way} {precision}",)),
                seconds=end - time.monotonic(),
            )
            for way in ("reference", "compiled")
        ]
        reference, ours = ([peak] for peak in peaks)
        row = Row(
            SECTION,
            f"memory of a training step, {precision}, {situation.samples} samples",
            "most that torch allocated, network included",
            speedup(reference, ours),
            "x less",
            Target("at least", 1.5),
            ours=Spread.of(ours).times(1e-9),
            reference=Spread.of(reference).times(1e-9),
            base="GB",
        )
        return Findings([row])

    return part


def kernels(situation: Situation, folder: Path, seconds: float) -> Findings:
    """Profile a compiled training step in bf16."""
    own = situation._replace(contenders=("compiled bf16",), passes=("training",))
    found = call_task("heaviest_kernels", own, seconds=seconds)
    heaviest = ", ".join(
        f"`{name[:60]}` {number(spent)} ms ({count})" for name, spent, count in found["kernels"]
    )
    line = f"Compiled training step, bf16: kernels take {number(found['total'])} ms; most (launches): {heaviest}."
    return Findings([], [line])


def largest(situation: Situation, folder: Path, seconds: float) -> Findings:
    """Find the largest batch that trains in bf16, operation after operation."""
    own = situation._replace(contenders=("eager bf16",))
    samples = call_task("largest_batch", own, seconds=seconds)
    line = (
        f"A training step in bf16, not compiled, fits into the memory with {samples} samples, "
        "and not with twice as many."
    )
    return Findings([], [line])


def loading(situation: Situation, folder: Path, seconds: float) -> Findings:
    """Compare making a batch with a training step."""
    few = situation._replace(rounds=5, contenders=("compiled bf16",))
    share = share_row(call_loading(few, write_small_store(folder), seconds), few, HOW)
    return Findings([replace(share, section=SECTION)])


PARTS: Mapping[str, Part] = {
    "float64 on the device": exactness,
    "training step, bf16": times("training", "bf16"),
    "evaluation, bf16": times("evaluation", "bf16"),
    "deviation in bf16": deviations("bf16"),
    "kernels": kernels,
    "memory, bf16": memory("bf16"),
    "training step, tf32": times("training", "tf32"),
    "deviation in tf32": deviations("tf32"),
    "loader": loading,
    "training step, fp32": times("training", "fp32"),
    "deviation in fp32": deviations("fp32"),
    "evaluation, tf32": times("evaluation", "tf32"),
    "evaluation, fp32": times("evaluation", "fp32"),
    "largest batch": largest,
}
"""What is measured, that which is wanted most first."""
