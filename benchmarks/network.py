"""The network: evaluation and training steps against the reference, and how equal the two are.

Each row is measured in a process of its own (`benchmarks.worker`), because threads and malloc are
settings of a process; within it the contenders take turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contenders import Situation
from benchmarks.machine import cores
from benchmarks.processes import DEFAULT_MALLOC, TUNED_MALLOC, call
from benchmarks.results import Findings, Row, Target, number
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, speedup

SECTION = "network"
PASSES = {"evaluation": "evaluation", "training": "training step"}
LARGE = 16  # samples: what each of the authors' four GPUs got of a batch
USEFUL_BF16 = 0.5  # of the speed of float32; below that the processor only emulates it


def measure(scale: Scale, folder: Path) -> Findings:
    """Measure everything that needs no GPU."""
    speeds = call("matmul_speed", {"threads": 1}, threads=1, malloc=DEFAULT_MALLOC)
    exact = call_task("compare", Situation(samples=4, frames=64))
    remarks = [_speed_remark(speeds)]
    rows = [_exactness(exact)]
    for kind in PASSES:
        rows += [*_fp32(kind, scale), *_bf16(kind, scale, speeds)]
    rows += [_memory(scale), _demo(scale)]
    remarks += _profile_remarks(speeds)
    return Findings(rows, remarks)


def call_task(
    task: str,
    situation: Situation,
    malloc: Mapping[str, str] = DEFAULT_MALLOC,
    seconds: float | None = None,
) -> Any:
    """Run a task on a situation in a process of its own, which may take so many seconds."""
    settings, threads = situation._asdict(), situation.threads
    return call(task, settings, threads=threads, malloc=malloc, seconds=seconds)


def _exactness(exact: Mapping[str, float]) -> Row:
    worst = max(exact.values())
    parts = ", ".join(f"{name} {value:.1e}" for name, value in exact.items())
    return Row(
        SECTION,
        "difference from the reference in float64",
        "4 samples, 64 frames, both passes",
        Spread.of([worst]),
        "of the values",
        Target("at most", 1e-12),
        note=parts,
    )


class How(NamedTuple):
    """One of the ways in which CPU time is spent."""

    text: str
    threads: int
    clock: str
    malloc: Mapping[str, str]
    targets: Mapping[tuple[str, str], float]  # (pass, precision) -> speedup


def ways() -> list[How]:
    """Return the two ways that are quoted: what the arithmetic costs, and what a user waits."""
    return [
        How(
            "1 thread, CPU time, tuned malloc",
            1,
            "cpu",
            TUNED_MALLOC,
            {
                ("evaluation", "fp32"): 3,
                ("training", "fp32"): 2.5,
                ("evaluation", "bf16"): 5,
                ("training", "bf16"): 4,
            },
        ),
        How(
            f"{cores()} threads, wall time, default malloc",
            cores(),
            "wall",
            DEFAULT_MALLOC,
            {
                ("evaluation", "fp32"): 5,
                ("training", "fp32"): 4,
                ("evaluation", "bf16"): 9,
                ("training", "bf16"): 4,
            },
        ),
    ]


def _time(
    kind: str,
    how: How,
    rounds: int,
    contenders: tuple[str, ...],
    samples: int = Situation().samples,
) -> dict[str, Any]:
    say(f"{SECTION}: {kind}, {samples} samples, {how.text}")
    situation = Situation(
        samples=samples,
        clock=how.clock,
        threads=how.threads,
        rounds=rounds,
        passes=(kind,),
        contenders=contenders,
    )
    found: dict[str, Any] = call_task("time_passes", situation, how.malloc)[kind]
    return found


def _fp32(kind: str, scale: Scale) -> list[Row]:
    """Time both in float32, each way; a training step of more samples, too: absent bodies share one row."""
    rounds = {Situation().samples: scale.network_rounds}
    if kind == "training" and scale.large_rounds:
        rounds[LARGE] = scale.large_rounds
    rows = []
    for samples, number_of_rounds in rounds.items():
        for how in ways():
            contenders = ("reference fp32", "ours fp32")
            found = _time(kind, how, number_of_rounds, contenders, samples)
            target = how.targets[kind, "fp32"]
            rows.append(ratio_row(kind, "fp32", how.text, found, target, samples=samples))
    return rows


def ratio_row(
    kind: str,
    how_precise: str,
    how: str,
    found: Mapping[str, Any],
    target: float,
    *,
    samples: int = 5,
    reference: str = "reference fp32",
) -> Row:
    """Return the row that compares ours in some precision with a reference."""
    contender = f"ours {how_precise}"
    theirs, own = found["seconds"][reference], found["seconds"][contender]
    note = f"reference in {reference.split()[1]}"
    if contender in found["apart"]:
        note += f"; outputs differ by {found['apart'][contender]:.1e} of the largest"
    return Row(
        SECTION,
        f"{PASSES[kind]}, {how_precise}, {samples} samples",
        how,
        speedup(theirs, own),
        "x",
        Target("at least", target),
        ours=Spread.of(own).times(1 / samples),
        reference=Spread.of(theirs).times(1 / samples),
        base="s/sample",
        note=note,
    )


def _bf16(kind: str, scale: Scale, speeds: Mapping[str, float]) -> list[Row]:
    """Time bf16 against the reference in float32, where the processor has instructions for it."""
    rows = []
    for how in ways():
        target = how.targets[kind, "bf16"]
        if speeds["bf16"] < USEFUL_BF16 * speeds["fp32"]:
            rows.append(_no_bf16(kind, how.text, target, speeds))
            continue
        found = _time(kind, how, scale.network_rounds, ("reference fp32", "ours bf16"))
        rows.append(ratio_row(kind, "bf16", how.text, found, target))
    return rows


def _no_bf16(kind: str, how: str, target: float, speeds: Mapping[str, float]) -> Row:
    slower = speeds["fp32"] / speeds["bf16"]
    return Row(
        SECTION,
        f"{PASSES[kind]}, bf16, 5 samples",
        how,
        None,
        "x",
        Target("at least", target),
        note=f"this processor has no bf16 instructions: a product takes {slower:.0f} times as long",
    )


def _memory(scale: Scale) -> Row:
    """Compare the memory of a training step."""
    peaks: dict[str, list[float]] = {"reference fp32": [], "ours fp32": []}
    for _ in range(scale.memory_rounds):
        for contender, found in peaks.items():
            say(f"{SECTION}: memory of a training step, {contender}")
            found.append(call_task("step_memory", Situation(contenders=(contender,))))
    reference, ours = peaks.values()
    return Row(
        SECTION,
        "memory of a training step, fp32, 5 samples",
        "peak RSS above that of the network, own process, 1 thread, default malloc",
        speedup(reference, ours),
        "x less",
        Target("at least", 2.5),
        ours=Spread.of(ours).times(1e-9),
        reference=Spread.of(reference).times(1e-9),
        base="GB",
    )


def _demo(scale: Scale) -> Row:
    """Compare a training step of the demo: small things must not become slower."""
    how = f"{cores()} threads, wall time, default malloc"
    say(f"{SECTION}: training step of the demo")
    situation = Situation(
        workspace="demo",
        samples=16,
        frames=48,
        clock="wall",
        threads=cores(),
        rounds=scale.rounds,
        passes=("training",),
    )
    found = call_task("time_passes", situation)["training"]
    row = ratio_row("training", "fp32", how, found, 1, samples=16)
    return replace(row, what="training step of the demo, fp32, 16 samples of 48 frames")


def _speed_remark(speeds: Mapping[str, float]) -> str:
    fp32, bf16 = (number(speeds[name] / 1e9) for name in ("fp32", "bf16"))
    tuned = ", ".join(f"`{key}={value}`" for key, value in TUNED_MALLOC.items())
    return (
        f"One thread multiplies large matrices at {fp32} GFLOP/s in fp32 and {bf16} in bf16. "
        f"Tuned malloc: {tuned}."
    )


def _profile_remarks(speeds: Mapping[str, float]) -> list[str]:
    """Return where our CPU time goes, for each pass."""
    found = call_task("profile", Situation(), TUNED_MALLOC)
    return [
        f"{PASSES[kind].capitalize()}, fp32, 1 thread: {_floor(profile['flop'], speeds)}. "
        f"Where our time goes (calls): {_operators(profile['operators'])}."
        for kind, profile in found.items()
    ]


def _floor(flop: float, speeds: Mapping[str, float]) -> str:
    """Return what the products of a batch would take at the speed of a large one."""
    own = flop / Situation().samples
    seconds = number(own / speeds["fp32"])
    return f"a sample takes {number(own / 1e9)} GFLOP in products, {seconds} s at that speed"


def _operators(operators: Sequence[tuple[str, float, int]]) -> str:
    return ", ".join(f"`{name}` {share:.0%} ({count})" for name, share, count in operators)
