"""Accuracies without the test samples whose content stands in training under another name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.data.leakage import copies, same_content
from dualhead.data.store import Store
from dualhead.report.results import (
    Cell,
    Result,
    cells,
    members_of,
    read_result_scores,
    read_results,
    selections_of,
)
from dualhead.runs.metrics import top_k_accuracy
from dualhead.runs.scores import Scores
from dualhead.settings.params import Settings

Copied = Mapping[str, frozenset[str]]
"""Split -> names of its test samples that have the content of a training sample."""


class Without(NamedTuple):
    """Accuracies of one cell with and without the copied test samples, means over seeds, in percent."""

    cell: Cell
    num_copied: int
    accuracies: Mapping[str, tuple[float, float]]  # selection -> with all, without the copied ones


def copied_tests(store: Store) -> Copied:
    """Return the copied test samples of every split of a store."""
    groups = same_content(store)
    return {
        split: frozenset(store.names[position] for position in copies(groups, part))
        for split, part in store.splits.items()
    }


def accuracy_without(scores: Scores, copied: frozenset[str]) -> float | None:
    """Return the top-1 accuracy on the other test samples; None if none, or all, are copied."""
    kept = np.array([name not in copied for name in scores.names])
    if kept.all() or not kept.any():
        return None
    return top_k_accuracy(scores.values[kept], scores.labels[kept], 1)


def all_without(grid: Settings, results: Path, stores: Mapping[str, Copied]) -> Iterator[Without]:
    """Yield every cell that has results and copied test samples.

    Args:
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        stores: address of a store -> its copied test samples.
    """
    for cell in cells(grid):
        found = read_results(grid, results, cell)
        if not found:
            continue
        config = grid["runs"][members_of(grid, found[0].address)[0]]
        copied = stores.get(config["store"], {}).get(config["split"], frozenset())
        pairs = {
            selection: _both(results, found, selection, copied)
            for selection in selections_of(found[0].metrics)
        }
        there = {selection: pair for selection, pair in pairs.items() if pair}
        if there:
            yield Without(cell, len(copied), there)


def _both(
    results: Path, found: list[Result], selection: str, copied: frozenset[str]
) -> tuple[float, float] | None:
    scored = [read_result_scores(results, result, selection) for result in found] if copied else []
    without = [accuracy_without(scores, copied) for scores in scored]
    known = [value for value in without if value is not None]
    if not known or len(known) < len(found):
        return None
    everything = [result.accuracy("top1", selection) for result in found]
    return float(np.mean(everything)), float(np.mean(known))
