"""The recordings of a raw dataset: listed, counted against what is published, and fingerprinted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from dualhead.arrays import Columns
from dualhead.data.archives import archives_in, list_files, lying_in, read_file
from dualhead.data.dataset import Dataset, Dropped, RawSample
from dualhead.data.datasets import DATASETS
from dualhead.data.forms import tell
from dualhead.data.forms.base import content_of
from dualhead.data.prepared_arrays import as_held
from dualhead.data.store import Store

TOLD = 5  # files of each path whose form is told where there is no recording


def by_reason(counts: Mapping[str, int]) -> str:
    """Return counts as `2 unreadable, 1 unknown_name`, or `none`."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"


def list_dataset(dataset: Dataset, raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """List the recordings of a dataset by name, and those left out already.

    Raises:
        ValueError: if nothing is there, or two recordings have one name.
    """
    for path in raw:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder. {dataset.where}")
    samples, left_out = dataset.list_samples(raw)
    samples.sort(key=lambda sample: sample.name)
    for first, second in pairwise(samples):
        if first.name == second.name:
            raise ValueError(
                f"{first.name} is there twice: {place_of(first)} and {place_of(second)}. "
                "Give one of them."
            )
    if not samples:
        raise ValueError(_nothing_found(dataset, raw, left_out))
    return samples, left_out


def _nothing_found(dataset: Dataset, raw: Sequence[Path], left_out: Sequence[Dropped]) -> str:
    """Return the sentence about raw paths without one recording: what lies there, and what to do."""
    text = f"{shown(raw)}: expected recordings of {dataset.kind}, found none"
    if left_out:
        reasons = by_reason(Counter(row.reason for row in left_out))
        text += f" (left out: {reasons}; the first: {left_out[0].detail})"
    text += f", {lying_in(raw)}"
    if archives_in(raw):
        return text.rstrip()
    told = _told(raw)
    if told:
        return text + told
    name = f"Recordings are named like {dataset.example}. " if dataset.example else ""
    return text + name + dataset.where


def _told(raw: Sequence[Path]) -> str:
    """Return the form of the first file that has one, and who reads it; empty if none has."""
    for file in (file for path in raw for file in list_files(path)[:TOLD]):
        try:
            form = tell(content_of(read_file(file), str(file.path)))
        except ValueError:
            continue
        return (
            f"{file.path.name} looks like {form.text}, a form of own recordings: "
            "prepare them with --dataset skeletons."
        )
    return ""


def place_of(sample: RawSample) -> str:
    """Return the path of a recording, through its archive if it lies in one."""
    return f"{sample.source}/{sample.member}" if sample.member else str(sample.source)


def shown(raw: Sequence[Path]) -> str:
    """Return the raw paths as one text."""
    return ", ".join(map(str, raw))


def columns_of(dataset: Dataset, samples: Sequence[RawSample], old: Store | None) -> Columns:
    """Return the meta columns of all samples, those of the reused store first."""
    columns = {
        column: np.array([sample.meta[column] for sample in samples], np.int64)
        for column in dataset.meta_columns
    }
    if old is None:
        return columns
    return {name: np.concatenate([old.meta[name], values]) for name, values in columns.items()}


def check_counts(dataset: Dataset, raw: Sequence[Path], meta: Columns, *, partial: bool) -> bool:
    """Return whether each split has its published counts; refuse if not, unless `partial`."""
    for split, expected in dataset.expected.items():
        found = count_split(dataset, split, meta)
        if found != expected:
            if partial:
                return False
            raise ValueError(
                f"{shown(raw)}: {dataset.kind} {split}: expected {expected[0]:,} training and "
                f"{expected[1]:,} test recordings, found {found[0]:,} and {found[1]:,}. Complete "
                "the download, or accept a subset with --partial (`partial: true` in params.yaml)."
            )
    return bool(dataset.expected)


def count_split(dataset: Dataset, split: str, meta: Columns) -> tuple[int, int]:
    """Return the numbers of training and test samples of a split."""
    part = dataset.splits[split](meta)
    return int((part == 1).sum()), int((part == 0).sum())


def one_sided_splits(dataset: Dataset, meta: Columns) -> list[str]:
    """Return a sentence for each split that has recordings to train on or to test on, but not both."""
    found = {split: count_split(dataset, split, meta) for split in dataset.splits}
    return [
        f"{split}: {train:,} recordings to train on, {test:,} to test on: a network of this split "
        f"cannot be {'tested' if train else 'trained'} on this store"
        for split, (train, test) in found.items()
        if (train > 0) != (test > 0)
    ]


def odd_labels(class_names: Sequence[str], samples: Sequence[RawSample]) -> list[str]:
    """Return a sentence if some recordings have no class, and one for classes that differ in case alone."""
    unknown = [sample.name for sample in samples if sample.label < 0]
    lines = []
    if 0 < len(unknown) < len(samples):
        lines.append(
            f"{len(unknown):,} of {len(samples):,} recordings have no class, so that they neither train nor test; "
            f"the first: {unknown[0]}"
        )
    alike: dict[str, list[str]] = {}
    for name in class_names:
        alike.setdefault(name.casefold(), []).append(name)
    lines += [
        f"classes that differ in case alone: {', '.join(names)}; if they are one, spell them alike"
        for names in alike.values()
        if len(names) > 1
    ]
    return lines


def class_names_of(
    dataset: Dataset, raw: Sequence[Path], samples: Sequence[RawSample]
) -> tuple[str, ...]:
    """Return the names of the classes; refuse a recording of a class beyond them."""
    names = dataset.read_class_names(raw) if dataset.read_class_names else dataset.class_names
    for sample in samples:
        if not -1 <= sample.label < len(names):  # -1: not known
            raise ValueError(
                f"{place_of(sample)}: expected one of the {len(names)} classes of {dataset.kind}; "
                f"found number {sample.label + 1}. Is this another dataset?"
            )
    return names


def fingerprint(kind: str, raw: Sequence[Path]) -> str:
    """Return the fingerprint of raw data, the same for an archive and its unpacked folder.

    It is made of names, classes and sizes, so it costs a listing; a change that keeps every size is
    not seen.
    """
    return fingerprint_of(list_dataset(as_held(DATASETS[kind], raw), raw)[0])


def fingerprint_of(samples: Iterable[RawSample]) -> str:
    """Return the fingerprint of listed recordings; see `fingerprint`."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.name):
        digest.update(f"{sample.name} {sample.label} {sample.size}\n".encode())
    return digest.hexdigest()
