"""Leaks between training and test: shared samples, content, people, cameras or setups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhead.arrays import Array, Columns, Integers
from dualhead.data.dataset import Dataset
from dualhead.data.datasets import DATASETS
from dualhead.data.store import Store

EXAMPLES = 5  # names that an error lists


def shared_values(meta: Columns, column: str, train: Integers, test: Integers) -> list[int]:
    """Return the values of a meta column that training and test samples share."""
    values = meta[column]
    found: list[int] = np.intersect1d(values[train], values[test]).tolist()
    return found


def refuse_shared(dataset: Dataset, meta: Columns, where: str) -> None:
    """Refuse a dataset's splits if training and test share people, cameras or setups kept apart.

    Raises:
        ValueError: naming the split, and the people, cameras or setups of both.
    """
    for split, column in dataset.apart.items():
        part = dataset.splits[split](meta)
        train, test = np.flatnonzero(part == 1), np.flatnonzero(part == 0)
        if shared := shared_values(meta, column, train, test):
            raise ValueError(_shared_text(where, split, column, shared))


def _shared_text(where: str, split: str, column: str, shared: Sequence[int]) -> str:
    shown = ", ".join(map(str, shared[:EXAMPLES])) + (", ..." if len(shared) > EXAMPLES else "")
    return (
        f"{where}: split {split}: expected no {column} in both training and test, found "
        f"{len(shared)}: {shown}. Accuracies on it would be of samples trained on: prepare it again"
    )


def refuse_overlap(store: Store, split: str) -> None:
    """Refuse a split of a store that is not the one its dataset defines.

    A dataset that does not define this split is taken at its word.

    Raises:
        ValueError: naming a test sample that stands in training, or what both share.
    """
    train, test = store.split(split)
    dataset = DATASETS.get(str(store.attributes["dataset"]))
    if dataset is None or split not in dataset.splits:
        return
    column = dataset.apart.get(split)
    if column in store.meta and (shared := shared_values(store.meta, column, train, test)):
        raise ValueError(_shared_text(str(store.path), split, column, shared))
    if set(dataset.meta_columns) <= set(store.meta):
        _refuse_other_split(store, split, dataset)


def _refuse_other_split(store: Store, split: str, dataset: Dataset) -> None:
    """Refuse a split that differs from the dataset's own definition."""
    expected, found = dataset.splits[split](store.meta), store.splits[split]
    wrong = np.flatnonzero(expected != found)
    if not len(wrong):
        return
    leaked = wrong[(expected[wrong] == 0) & (found[wrong] == 1)]
    first = int((leaked if len(leaked) else wrong)[0])
    raise ValueError(
        f"{store.path}: split {split}: {len(wrong)} samples are not where {dataset.kind} puts them "
        f"({len(leaked)} test samples in training); {store.names[first]} should be in "
        f"{PARTS[int(expected[first])]}, found in {PARTS[int(found[first])]}. Prepare it again"
    )


PARTS = {1: "training", 0: "test", -1: "neither"}


def content_digest(bodies: Sequence[Array]) -> bytes:
    """Return a digest of a recording's joints, equal for equal bits; empty if nobody is there."""
    if not any(len(body) for body in bodies):
        return b""
    digest = blake2b(digest_size=16)
    for body in bodies:
        digest.update(len(body).to_bytes(4, "little"))
        digest.update(np.ascontiguousarray(body).data)
    return digest.digest()


def equal_digests(digests: Sequence[bytes]) -> list[list[int]]:
    """Return the positions of equal digests, those of nobody left out."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, digest in enumerate(digests):
        groups[digest].append(position)
    groups.pop(b"", None)
    return [group for group in groups.values() if len(group) > 1]


def same_content(store: Store) -> list[list[int]]:
    """Return the positions of samples that hold the same joints under different names.

    Only samples with a checksum in common are read; all are in stores of older versions.
    """
    keys = store.content_keys()
    shared = Counter(keys)
    places = [place for place, key in enumerate(keys) if key is None or shared[key] > 1]
    groups = equal_digests([content_digest(store.bodies(place)) for place in places])
    return [[places[index] for index in group] for group in groups]


def copies(groups: Iterable[Sequence[int]], part: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return each test sample that has the content of a training sample, and which that is.

    Args:
        groups: positions of the same content, as `same_content` returns them.
        part: (N,), 1 train, 0 test, -1 neither.
    """
    found: dict[int, int] = {}
    for group in groups:
        trained = [position for position in group if part[position] == 1]
        tested = [position for position in group if part[position] == 0] if trained else []
        found |= dict.fromkeys(tested, trained[0] if trained else -1)
    return found


def copies_text(names: Sequence[str], found: Mapping[int, int], num_test: int) -> str:
    """Return `95 of 464 test samples have the content of a training one: A = B and 94 more`."""
    pairs = [f"{names[test]} = {names[train]}" for test, train in list(found.items())[:2]]
    more = f" and {len(found) - 2:,} more" if len(found) > 2 else ""
    told = f"{len(found):,} of {num_test:,} test samples have the content of a training one"
    return f"{told}: {', '.join(pairs)}{more}"
