"""Loading: what making a batch costs beside the training step that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import MEASURES, Pair, Situation, make_pair, matmul_precision, training
from benchmarks.machine import cores
from benchmarks.processes import TUNED_MALLOC, call
from benchmarks.recordings import prepare_store, write_dataset, write_recordings
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, Work, say, take_turns
from dualhead.data.modalities import MODALITIES
from dualhead.data.store import Store
from dualhead.runs.batches import load_split, make_batch
from dualhead.settings.run import InputSettings

SECTION = "loading"
BATCH = 64
STORED = 320
PASSES = 5


def time_loading(situation: Situation, store: Path) -> dict[str, list[float]]:
    """Return the seconds of a batch of 64 of each modality, and of a training step of ours."""
    torch.set_num_threads(situation.threads)
    pair = make_pair(situation)
    how = situation.contenders[0].split()[1]
    with Store(store) as opened, matmul_precision(situation.contenders):
        contenders = batches_of(opened, pair, situation.device)
        step = training(pair.networks["ours"], pair, how)
        seconds = take_turns(
            {**contenders, "step": step},
            rounds=situation.rounds,
            measure=MEASURES[situation.clock],
            warm_ups=situation.warm_ups,
        )
    batch = {name: [value / PASSES for value in seconds[name]] for name in contenders}
    return {**batch, "step": seconds["step"]}


def batches_of(store: Store, pair: Pair, device: str) -> dict[str, Work]:
    """Return the work of making `PASSES` batches of each modality."""
    generator = torch.Generator().manual_seed(1)
    split = load_split(store, np.arange(len(store)), torch.device(device))
    settings = InputSettings.of(pair.settings["input"])

    def batches(modality: str) -> None:
        for _ in range(PASSES):
            index = torch.randperm(len(split), generator=generator)[:BATCH]
            make_batch(split, index, modality=modality, settings=settings, generator=generator)

    return {name: lambda name=name: batches(name) for name in MODALITIES}


def measure(scale: Scale, folder: Path) -> Findings:
    """Measure the share on a CPU, with 1 thread."""
    store = write_small_store(folder)
    situation = Situation(rounds=scale.network_rounds, contenders=("ours fp32",))
    found = call_loading(situation, store)
    return Findings([share_row(found, situation, "1 thread, CPU time, tuned malloc")])


def write_small_store(folder: Path) -> Path:
    """Prepare a store of a few hundred recordings."""
    say(f"{SECTION}: preparing {STORED} recordings")
    raw = write_dataset(folder / "raw", write_recordings(folder / "recordings"), STORED)
    prepare_store(raw, folder / "store.h5", workers=cores())
    return folder / "store.h5"


def call_loading(
    situation: Situation, store: Path, seconds: float | None = None
) -> dict[str, list[float]]:
    """Time loading in a process of its own, which may take so many seconds."""
    say(f"{SECTION}: batches of {BATCH} and training steps, {situation.rounds} rounds")
    settings: dict[str, Any] = {**situation._asdict(), "store": str(store)}
    found: dict[str, list[float]] = call(
        "time_loading", settings, threads=situation.threads, malloc=TUNED_MALLOC, seconds=seconds
    )
    return found


def share_row(found: dict[str, list[float]], situation: Situation, how: str) -> Row:
    """Return a batch's share of a step, per sample, for the slowest modality."""
    batch = {name: Spread.of(found[name]).times(1e3 / BATCH) for name in MODALITIES}
    slowest = max(batch, key=lambda name: batch[name].median)
    step = Spread.of(found["step"]).times(1e3 / situation.samples)
    shares = [
        100 * (own / BATCH) / (whole / situation.samples)
        for own, whole in zip(found[slowest], found["step"], strict=True)
    ]
    parts = ", ".join(f"{name} {spread.median:.2g}" for name, spread in batch.items())
    return Row(
        SECTION,
        "making a batch, as share of our training step",
        f"{how}; batch of {BATCH}, step of {situation.samples}, per sample",
        Spread.of(shares),
        "%",
        Target("at most", 1),
        ours=batch[slowest],
        reference=step,
        base="ms/sample",
        note=f"the two are the batch ({slowest}, the slowest) and the step; ms: {parts}",
    )
