"""Checks of raw data: completeness, content, and agreement with a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial as bind
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Columns
from dualhead.data.dataset import Dataset, Dropped, Prepared, RawSample
from dualhead.data.datasets import configured
from dualhead.data.leakage import content_digest, copies, copies_text, equal_digests, refuse_shared
from dualhead.data.listing import (
    by_reason,
    check_counts,
    columns_of,
    count_split,
    fingerprint,
    fingerprint_of,
    list_dataset,
    shown,
)
from dualhead.data.pool import PrepareSample, Task, cores, in_parallel, opened, prepare_chunk
from dualhead.data.store import Store
from dualhead.files import size_of
from dualhead.progress import progress
from dualhead.settings.params import Settings


def check_raw(store: Path, raw: Sequence[Path]) -> str:
    """Confirm in one line that a store was prepared from this raw data.

    Raises:
        ValueError: if the raw data has changed since.
    """
    with Store(store) as prepared:
        kind, expected = prepared.attributes["dataset"], prepared.attributes["fingerprint"]
    found = fingerprint(kind, raw)
    if found != expected:
        raise ValueError(
            f"{shown(raw)}: changed since {store} was prepared from it: expected fingerprint "
            f"{expected[:12]}, found {found[:12]}. Restore the files, or raise "
            f"datasets.<name>.release in params.yaml to prepare them anew."
        )
    return f"{shown(raw)}: what {store} was prepared from ({found[:12]})"


class Inspected(NamedTuple):
    """Findings about one recording."""

    name: str
    digest: bytes  # of the joints that a store would hold
    num_frames: int
    num_bodies: int
    dropped: tuple[Dropped, ...]  # bodies left out, or the whole recording if it is damaged


def verify(
    kind: str,
    raw: Sequence[Path],
    settings: Settings,
    recordings: Settings | None = None,
    *,
    partial: bool = False,
) -> str:
    """Prepare every recording without keeping it, and return the passport of a raw dataset.

    Archives, counts, frames, bodies, people and cameras, what is left out and why, and recordings
    with the same content under two names: these are told, not refused, because a published dataset
    may hold some (NW-UCLA does).

    Args:
        kind: a key of `DATASETS`.
        raw: archives, read in place, or folders.
        settings: the `prepare` section; a recording that cannot be prepared by it is damaged.
        recordings: settings of own recordings.
        partial: whether a subset of the dataset is accepted.

    Raises:
        ValueError: if the dataset is not complete, a recording is damaged or cut short, or training
            and test share what the protocol keeps apart.
    """
    dataset = configured(kind, raw, recordings or {})
    samples, left_out = list_dataset(dataset, raw)
    meta = columns_of(dataset, samples, None)
    is_whole = check_counts(dataset, raw, meta, partial=partial)
    refuse_shared(dataset, meta, shown(raw))
    found = _inspect(samples, dataset, settings)
    _refuse_damaged(found, raw)
    lines = [f"{path}: {size_of(path):,} bytes" for path in raw]
    lines += [f"{len(samples):,} recordings of {kind}, every one readable", *_extent(found, meta)]
    lines += [f"classes: {len({sample.label for sample in samples}):,}"]
    lines += [_split_line(dataset, split, meta, is_whole) for split in dataset.splits]
    lines += [f"left out: {by_reason(Counter(row.reason for row in left_out))}"]
    bodies = Counter(row.reason for one in found for row in one.dropped)
    lines += [f"bodies left out, and what was noted of them: {by_reason(bodies)}"]
    lines += _content_lines(dataset, meta, found)
    return "\n".join([*lines, f"fingerprint: {fingerprint_of(samples)}"])


def _inspect(samples: Sequence[RawSample], dataset: Dataset, settings: Settings) -> list[Inspected]:
    """Prepare every recording on all cores, and keep the findings."""
    function = bind(_inspect_chunk, dataset.prepare_sample, settings)
    with opened(samples) as tasks:
        outcomes = in_parallel(function, tasks, cores())
        return list(progress(outcomes, total=len(tasks), label="verify", unit="samples"))


def _inspect_chunk(
    prepare_sample: PrepareSample, settings: Settings, tasks: Sequence[Task]
) -> list[Inspected]:
    return [_inspected(*outcome) for outcome in prepare_chunk(prepare_sample, settings, tasks)]


def _inspected(sample: RawSample, result: Prepared | Dropped) -> Inspected:
    if isinstance(result, Dropped):
        return Inspected(sample.name, b"", 0, 0, (result,))
    present = sum(len(body) > 0 for body in result.bodies)
    digest = content_digest(result.bodies)
    return Inspected(sample.name, digest, result.num_frames, present, result.dropped)


def _refuse_damaged(found: Sequence[Inspected], raw: Sequence[Path]) -> None:
    bad = [row for one in found for row in one.dropped if not row.body]
    if bad:
        raise ValueError(
            f"{shown(raw)}: {len(bad)} of {len(found)} recordings cannot be read; the first: "
            f"{bad[0].name}: {bad[0].detail}"
        )


def _extent(found: Sequence[Inspected], meta: Columns) -> list[str]:
    """Return lines about frames and bodies, and the numbers of people, cameras and setups."""
    frames = np.array([one.num_frames for one in found])
    shortest, median, longest = (int(value) for value in np.quantile(frames, (0, 0.5, 1)))
    bodies = Counter(one.num_bodies for one in found)
    shares = ", ".join(f"{count:,} with {number}" for number, count in sorted(bodies.items()))
    columns = ", ".join(f"{len(np.unique(values))} of {name}" for name, values in meta.items())
    return [
        f"frames: {frames.sum():,}; {shortest} to {longest} a recording, median {median}",
        f"bodies: recordings {shares}",
        f"different values: {columns}",
    ]


def _split_line(dataset: Dataset, split: str, meta: Columns, is_whole: bool) -> str:
    train, test = count_split(dataset, split, meta)
    judged = "as published" if is_whole else "a subset of what was published"
    judged = judged if split in dataset.expected else "nothing published to compare with"
    apart = f"; no {dataset.apart[split]} in both" if split in dataset.apart else ""
    return f"{split}: {train:,} training, {test:,} test ({judged}){apart}"


def _content_lines(dataset: Dataset, meta: Columns, found: Sequence[Inspected]) -> list[str]:
    """Return lines about recordings with the same content under different names."""
    names, groups = [one.name for one in found], equal_digests([one.digest for one in found])
    lines = [f"same content under another name: {sum(map(len, groups)):,} recordings"]
    for split, assign in dataset.splits.items():
        part = assign(meta)
        if copied := copies(groups, part):
            text = copies_text(names, copied, int((part == 0).sum()))
            lines.append(f"WARNING: {split}: {text}")
    return lines
