"""The network on one GPU: the same comparison at batch 64, in TF32 and bf16, and its memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import Situation
from benchmarks.loading import call_loading, share_row, write_small_store
from benchmarks.network import PASSES, call_task, ratio_row
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, speedup

SECTION = "gpu"
HOW = "CUDA events"
WARM_UPS = 5
TARGETS = {
    ("evaluation", "tf32"): 6.0,
    ("training", "tf32"): 4.0,
    ("evaluation", "bf16"): 6.0,
    ("training", "bf16"): 8.0,
}
MILLISECONDS = 35  # of a training step in bf16
CONTENDERS = ("reference tf32", "ours tf32", "ours bf16")


def measure(scale: Scale, folder: Path) -> Findings:
    """Measure on the GPU; without one, say so."""
    if not torch.cuda.is_available():
        line = "GPU: not measured, because torch sees no CUDA device here."
        say(line)
        return Findings([], [line])
    situation = Situation(
        samples=64,
        device="cuda",
        clock="cuda",
        rounds=4 * scale.rounds,
        warm_ups=WARM_UPS,
        contenders=CONTENDERS,
    )
    return measure_on(situation, folder)


def measure_on(situation: Situation, folder: Path) -> Findings:
    """Return every row of a device."""
    found = call_task("time_passes", situation)
    rows = [
        _ratio(kind, precision, found[kind], situation)
        for kind in PASSES
        for precision in ("tf32", "bf16")
    ]
    rows.append(_step(found["training"]["seconds"]["ours bf16"], situation))
    rows += _memory(situation)
    few = situation._replace(rounds=5, contenders=("ours tf32",))
    share = share_row(call_loading(few, write_small_store(folder)), few, HOW)
    return Findings([*rows, replace(share, section=SECTION)])


def _ratio(kind: str, precision: str, found: Any, situation: Situation) -> Row:
    """Return the row of ours in one precision against the reference in TF32."""
    row = ratio_row(
        kind,
        precision,
        HOW,
        found,
        TARGETS[kind, precision],
        samples=situation.samples,
        reference="reference tf32",
    )
    return replace(row, section=SECTION)


def _step(seconds: list[float], situation: Situation) -> Row:
    return Row(
        SECTION,
        f"training step, bf16, {situation.samples} samples",
        HOW,
        Spread.of(seconds).times(1e3),
        "ms",
        Target("at most", MILLISECONDS),
    )


def _memory(situation: Situation) -> list[Row]:
    """Compare the memory that training takes."""
    peaks = {
        contender: call_task("step_memory", situation._replace(contenders=(contender,)))
        for contender in CONTENDERS
    }
    reference = peaks.pop("reference tf32")
    return [
        Row(
            SECTION,
            f"memory of a training step, {contender.split()[1]}, {situation.samples} samples",
            "most that torch allocated, network included",
            speedup([reference], [peak]),
            "x less",
            Target("at least", 2.5),
            ours=Spread.of([peak]).times(1e-9),
            reference=Spread.of([reference]).times(1e-9),
            base="GB",
        )
        for contender, peak in peaks.items()
    ]
