"""The store: how small it is, and how fast samples come out of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.machine import cores
from benchmarks.recordings import prepare_store, write_dataset, write_recordings
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import (
    Spread,
    cpu_seconds,
    say,
    speedup,
    stopwatch,
    take_turns,
    wall_seconds,
)
from dualhead.data.modalities import MODALITIES
from dualhead.data.store import Store

SECTION = "store"
LOADS = 5
"""Times that all rows are loaded in one round."""
CLOCKS = {
    "wall time": (wall_seconds, Target("at most", 1.02)),
    "CPU time of the thread that copies": (stopwatch(time.thread_time), None),
    "CPU time of all threads": (cpu_seconds, None),
}


def measure(scale: Scale, folder: Path) -> Findings:
    """Measure sizes and random reads."""
    say(f"{SECTION}: preparing {scale.recordings} recordings")
    files = write_recordings(folder / "recordings")
    raw = write_dataset(folder / "raw", files, scale.recordings)
    path = folder / "store.h5"
    prepare_store(raw, path, workers=cores())
    with Store(path) as store:
        rows = [*_sizes(store), _reads(store, scale, folder / "padded.npy"), *_checks(store, scale)]
        return Findings(rows)


def _sizes(store: Store) -> list[Row]:
    """Compare the file with the float32 arrays of one stream and of all four."""
    padded = len(store) * store.padded(0).nbytes / 1e6
    size = store.path.stat().st_size / 1e6
    bodies = np.mean([len(store.bodies(position)) for position in range(len(store))])
    frames = store.num_frames.mean()
    return [
        Row(
            SECTION,
            f"size, {streams} stream{'s' if streams > 1 else ''}",
            f"{len(store)} recordings",
            Spread.of([streams * padded / size]),
            "x",
            Target("at least", target),
            ours=Spread.of([size]),
            reference=Spread.of([streams * padded]),
            base="MB",
            note=f"{frames:.0f} frames, {bodies:.2f} bodies on average; against padded float32",
        )
        for streams, target in ((1, 4.5), (len(MODALITIES), 18))
    ]


def _reads(store: Store, scale: Scale, path: Path) -> Row:
    """Read samples at random, padded, from the store and from the authors' array."""
    say(f"{SECTION}: random reads, {scale.rounds} rounds")
    array = np.lib.format.open_memmap(path, "w+", np.float32, (len(store), *store.padded(0).shape))
    for position in range(len(store)):
        array[position] = store.padded(position)
    order = np.random.default_rng(1).permutation(len(store)).tolist()

    def theirs() -> None:
        for position in order:
            array[position].copy()

    def ours() -> None:
        for position in order:
            store.padded(position)

    contenders = {"reference": theirs, "ours": ours}
    seconds = take_turns(contenders, rounds=scale.rounds, measure=cpu_seconds)
    rates = {
        name: Spread.of(len(order) / value for value in values) for name, values in seconds.items()
    }
    equal = all(np.array_equal(array[position], store.padded(position)) for position in order)
    assert equal, "both hold the same samples"
    slower = speedup(seconds["ours"], seconds["reference"])
    return Row(
        SECTION,
        "random reads of padded samples",
        "1 core, CPU time, file in the page cache",
        rates["ours"],
        "samples/s",
        Target("at least", 10_000),
        ours=rates["ours"],
        reference=rates["reference"],
        base="samples/s",
        note=f"equal samples; copying from a padded array takes 1/{slower.median:.2g} of the time",
    )


def _checks(store: Store, scale: Scale) -> list[Row]:
    """Load all rows, compared with their checksums and not, by three clocks."""
    plain = Store(store.path)
    plain.checksums = None
    every = np.arange(len(store))
    size = LOADS * store.ragged(every)[0].nbytes / 1e9

    def load(one: Store) -> None:
        for _ in range(LOADS):
            one.ragged(every)

    rows = []
    for how, (clock, target) in CLOCKS.items():
        say(f"{SECTION}: checks of rows, {how}, {scale.rounds} rounds")
        seconds = take_turns(
            {"checked": lambda: load(store), "plain": lambda: load(plain)},
            rounds=scale.rounds,
            measure=clock,
        )
        checked, unchecked = (
            Spread.of(value / size for value in seconds[name]) for name in ("checked", "plain")
        )
        rows.append(
            Row(
                SECTION,
                "loading rows that are checked",
                f"{how}, file in the page cache; reference: they are not checked",
                speedup(seconds["checked"], seconds["plain"]),
                "x",
                target,
                ours=checked,
                reference=unchecked,
                base="s/GB",
            )
        )
    return rows
