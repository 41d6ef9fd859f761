"""Preparation: text to normalized skeletons per core, over cores, and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.reference import preparation as reference

from benchmarks.machine import cores
from benchmarks.recordings import paper_settings, prepare_store, write_dataset, write_recordings
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, cpu_seconds, say, speedup, take_turns
from dualhead.data.dataset import Prepared
from dualhead.data.datasets import DATASETS

SECTION = "preparation"
PASSES = 5  # of ours in one round, which the clock would else be too coarse for
GROWTH = 4

Runs = dict[tuple[int, int], list[float]]
"""Seconds, by recordings and workers."""


def measure(scale: Scale, folder: Path) -> Findings:
    """Measure one core against the reference, then the whole command."""
    files = write_recordings(folder / "recordings")
    return Findings([_one_core(files[: scale.files], scale), *_command(files, scale, folder)])


def _one_core(files: Sequence[Path], scale: Scale) -> Row:
    """Compare reading and normalizing; what comes out must be equal to the bit."""
    say(f"{SECTION}: {len(files)} recordings on one core, {scale.rounds} rounds")
    dataset, settings = DATASETS["synthetic"], paper_settings()["prepare"]
    samples, _ = dataset.list_samples([files[0].parent])
    chosen = [sample for sample in samples if sample.source in set(files)]
    contents = [sample.source.read_bytes() for sample in chosen]
    pairs = list(zip(contents, chosen, strict=True))

    def ours() -> list[Prepared]:
        return [dataset.prepare_sample(content, sample, settings) for content, sample in pairs]

    def theirs() -> list[npt.NDArray[np.float32]]:
        return [reference.prepare(content, reference.is_all_zero) for content in contents]

    for sample, expected in zip(ours(), theirs(), strict=True):
        if not np.array_equal(padded(sample), expected):
            raise ValueError("preparation: ours and the reference differ; run the tests")
    contenders = {"reference": theirs, "ours": lambda: [ours() for _ in range(PASSES)]}
    seconds = take_turns(contenders, rounds=scale.rounds, measure=cpu_seconds)
    own = [value / PASSES for value in seconds["ours"]]
    size = sum(map(len, contents)) / len(contents)
    return Row(
        SECTION,
        "read and normalize a recording",
        "1 core, CPU time",
        speedup(seconds["reference"], own),
        "x",
        Target("at least", 15),
        ours=Spread.of(own).times(1e3 / len(files)),
        reference=Spread.of(seconds["reference"]).times(1e3 / len(files)),
        base="ms",
        note=f"equal to the bit on {len(files)} files of {size / 1e3:.0f} kB on average",
    )


def padded(sample: Prepared) -> npt.NDArray[np.float32]:
    """Return (3, 300, 25, 2): each body looped."""
    joints = np.zeros((2, reference.NUM_FRAMES, reference.NUM_JOINTS, 3), np.float32)
    for slot, body in enumerate(sample.bodies):
        if len(body):
            joints[slot] = body[np.arange(reference.NUM_FRAMES) % len(body)]
    return joints.transpose(3, 1, 2, 0)


def _command(files: list[Path], scale: Scale, folder: Path) -> list[Row]:
    """Run `dualhead prepare` on two sizes, with one worker and with all, and watch the latter's memory."""
    sizes = (scale.recordings, GROWTH * scale.recordings)
    raw = {size: write_dataset(folder / f"raw{size}", files, size) for size in sizes}
    runs: Runs = {}
    store = folder / "prepared.h5"
    for number in range(scale.prepare_rounds):
        for size in sizes:
            for workers in sorted({1, cores()}):
                say(f"{SECTION}: {size} recordings, {workers} workers, round {number + 1}")
                finished = prepare_store(raw[size], store, workers=workers)
                runs.setdefault((size, workers), []).append(finished.seconds)
    peaks = {}
    for size in sizes:
        say(f"{SECTION}: memory of {size} recordings, {cores()} workers")
        peaks[size] = prepare_store(raw[size], store, workers=cores(), watched=True).peak_bytes
    return [_scaling(runs, sizes), _memory(peaks, sizes)]


def _scaling(runs: Runs, sizes: tuple[int, int]) -> Row:
    """Return how many times faster all cores are than one, without the time to start."""

    def marginal(workers: int) -> list[float]:
        pairs = zip(runs[sizes[0], workers], runs[sizes[1], workers], strict=True)
        return [(large - small) / (sizes[1] - sizes[0]) for small, large in pairs]

    one, every = marginal(1), marginal(cores())
    rate = Spread.of(1 / value for value in every)
    return Row(
        SECTION,
        f"`dualhead prepare` with {cores()} workers against 1",
        "wall time of the command; what 4 times the recordings take more",
        speedup(one, every),
        "x",
        Target("at least", 0.8 * cores()),
        ours=rate,
        reference=Spread.of(1 / value for value in one),
        base="recordings/s",
        note="the two are all workers and one worker",
    )


def _memory(peaks: Mapping[int, float], sizes: tuple[int, int]) -> Row:
    """Return how much the memory peak grows with the dataset."""
    small, large = ([peaks[size]] for size in sizes)
    return Row(
        SECTION,
        f"peak memory of `dualhead prepare`, {sizes[1]} recordings against {sizes[0]}",
        f"{cores()} workers, all processes together (PSS)",
        speedup(large, small),
        "x",
        Target("at most", 1.1),
        ours=Spread.of(large).times(1e-6),
        reference=Spread.of(small).times(1e-6),
        base="MB",
        note="the two are the large and the small dataset",
    )
