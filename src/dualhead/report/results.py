"""Results of a grid's runs: the one reader of what tables, figures, the report and `explain` show.

A cell is (benchmark, variant, stream); it has one result per seed, a run's or an ensemble's. A
result that is not the one its address names, or that lacks something, is refused, so that no swapped
or broken file becomes a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dualhead.files import check_beside, read_record
from dualhead.runs.metrics import accuracies, label_ranks
from dualhead.runs.scores import (
    HISTORY_REMEDY,
    IDENTITY,
    REMEDY,
    Attention,
    Scores,
    address_of,
    identity_of,
    read_attention,
    read_scores,
    refuse_foreign,
)
from dualhead.settings.formats import check_metrics
from dualhead.settings.params import Settings

HISTORY = ("epoch", "learning_rate", "loss", "train_top1", "test_fusion_top1")
"""Columns of history.csv that are read."""
SAME_ACCURACY = 1e-3  # points within which metrics.json and scores.h5 must agree


class Cell(NamedTuple):
    """One number of a table, whatever the seed."""

    benchmark: str
    variant: str
    stream: str

    def __str__(self) -> str:
        """Return its name: `ntu60_xsub/dualhead/joint`."""
        return "/".join(self)


class Result(NamedTuple):
    """One run or ensemble that has been measured."""

    seed: str
    address: str  # below results: runs/... or ensembles/...
    fusion: str  # softmax or logits: which of both scores counts
    metrics: Settings

    def accuracy(self, metric: str, selection: str = "last", head: str = "fusion") -> float:
        """Return one accuracy in percent; nan where that head or selection does not exist."""
        scores = self.metrics.get(selection, {}).get(head, {})
        return float(scores.get(self.fusion, {}).get(metric, float("nan")))


def cells(grid: Settings) -> list[Cell]:
    """Return every cell that the tables ask for, once each, in their order."""
    named = (Cell(cell["benchmark"], cell["variant"], cell["stream"]) for cell in grid["cells"])
    return list(dict.fromkeys(named))


def addresses(grid: Settings, cell: Cell) -> dict[str, str]:
    """Return seed -> address of one cell; empty if no table asks for it."""
    for entry in grid["cells"]:
        if (entry["benchmark"], entry["variant"], entry["stream"]) == cell:
            return dict(entry["seeds"])
    return {}


def read_results(grid: Settings, results: Path, cell: Cell) -> list[Result]:
    """Return the results of a cell that exist, by seed.

    Raises:
        ValueError: for a metrics.json that is another cell's.
    """
    found = [
        read_result(grid, results, address, cell, seed)
        for seed, address in addresses(grid, cell).items()
    ]
    return [result for result in found if result]


def read_result(
    grid: Settings, results: Path, address: str, cell: Cell, seed: str
) -> Result | None:
    """Return the result of one run or ensemble; None if it has not been made.

    Raises:
        ValueError: if its metrics.json is another cell's.
    """
    path = results / address / "metrics.json"
    if not path.is_file():
        return None
    metrics = _read_metrics(path, cell, seed)
    try:
        check_metrics(metrics, path, of_run=address.startswith("runs/"))
    except ValueError as error:
        raise ValueError(f"{error}; {REMEDY}") from None
    return Result(seed, address, fusion_of(grid, address), metrics)


def fusion_of(grid: Settings, address: str) -> str:
    """Return the fusion that counts for a run or an ensemble."""
    kind, _, identity = address.partition("/")
    fusion = grid["fusion"][identity] if kind == "runs" else grid[kind][identity]["fusion"]
    return str(fusion)


def _read_metrics(path: Path, cell: Cell, seed: str) -> Settings:
    metrics: Settings = read_record(path, REMEDY)
    address = address_of(path)
    expected = dict(zip(IDENTITY, (*cell, seed), strict=False)) | address
    found = address | identity_of(
        metrics
    )  # one written before addresses were does not know its own
    if found != expected:
        raise ValueError(
            f"{path}: expected the result of {_named(expected)}, found that of {_named(found)}; "
            f"it was copied or swapped; {REMEDY}"
        )
    return metrics


def _named(identity: Mapping[str, str]) -> str:
    """Return `ntu60_xsub/dualhead/joint seed 1 (3f2a91c4)`."""
    benchmark, variant, stream, seed, address = (identity.get(key, "?") for key in IDENTITY)
    return f"{benchmark}/{variant}/{stream} seed {seed} ({address})"


def selections_of(metrics: Settings) -> list[str]:
    """Return the selections that a metrics.json has accuracies of, `last` first."""
    return [key for key, value in metrics.items() if isinstance(value, dict) and "fusion" in value]


def runs_of(grid: Settings, cell: Cell) -> Iterator[tuple[str, Settings]]:
    """Yield the address and settings of each run behind a cell; an ensemble has several."""
    for address in addresses(grid, cell).values():
        for member in members_of(grid, address):
            yield member, grid["runs"][member]


def members_of(grid: Settings, address: str) -> list[str]:
    """Return the runs that an ensemble sums; of a run, itself."""
    kind, _, identity = address.partition("/")
    return list(grid[kind][identity]["members"].values()) if kind == "ensembles" else [identity]


def read_result_scores(
    results: Path, result: Result, selection: str = "last", head: str = "fusion"
) -> Scores:
    """Return the scores of one result, after checking that its metrics are of these scores.

    Args:
        results: the folder that holds runs/ and ensembles/.
        result: the result whose scores are read.
        selection: the choice of the epoch.
        head: `coarse`, `fine` or, for both together, `fusion`.

    Raises:
        ValueError: if the scores do not have the accuracies that metrics.json states.
    """
    path = results / result.address / "scores.h5"
    refuse_foreign(path, result.metrics)
    check_beside(path, result.metrics, REMEDY)
    scores = read_scores(path, selection, head, result.fusion)
    refuse_duplicates(scores.names, path)
    measured = accuracies(scores.values, scores.labels)
    for metric, value in measured.items():
        stated = result.accuracy(metric, selection, head)
        if not abs(value - stated) < SAME_ACCURACY:
            raise ValueError(
                f"{path}: its scores give {selection} {metric} {value:.2f} % but metrics.json "
                f"beside it says {stated:.2f} %; one of both was edited or is another run's; "
                f"{REMEDY}"
            )
    return scores


def read_result_attention(results: Path, result: Result) -> Attention:
    """Return the attention of one result's network over each class's first test recording.

    Raises:
        ValueError: if the score file is another run's, or has no attention.
    """
    path = results / result.address / "scores.h5"
    refuse_foreign(path, result.metrics)
    check_beside(path, result.metrics, REMEDY)
    return read_attention(path)


def read_history(results: Path, run: str) -> pd.DataFrame | None:
    """Return a row for each epoch of one run; None if it has not been made.

    Args:
        results: the folder that holds runs/.
        run: its address below runs/.

    Raises:
        ValueError: if the file lacks a column, or is not the one that the run's metrics name, or is lost.
    """
    path = results / "runs" / run / "history.csv"
    metrics = path.with_name("metrics.json")
    record = read_record(metrics, REMEDY) if metrics.is_file() else {}
    if not path.is_file():
        if path.name in record.get("files", {}):
            raise ValueError(
                f"{path}: metrics.json beside it names it, found none; {HISTORY_REMEDY}"
            )
        return None
    check_beside(path, record, HISTORY_REMEDY)
    found = pd.read_csv(path)
    if missing := [name for name in HISTORY if name not in found]:
        raise ValueError(
            f"{path}: expected the columns {', '.join(HISTORY)}, found no {missing[0]}; "
            f"{HISTORY_REMEDY}"
        )
    return found


def check_result(results: Path, result: Result) -> bool:
    """Return whether the scores are there to check a result with; refuse one that is not theirs.

    Raises:
        ValueError: if a stated accuracy is not that of the scores, or these are another run's.
    """
    if not (results / result.address / "scores.h5").is_file():
        return False
    for selection in selections_of(result.metrics):
        read_result_scores(results, result, selection)
    return True


def refuse_duplicates(names: Sequence[str], where: Path) -> None:
    """Raise ValueError if a sample id stands twice."""
    if len(set(names)) != len(names):
        twice = next(name for name, later in pairwise(sorted(names)) if name == later)
        raise ValueError(f"{where}: sample {twice} is there twice; evaluate it again")


def read_correct(results: Path, found: Sequence[Result]) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Return the test samples, sorted, and where each result is right: (seeds, samples)."""
    scored = [read_result_scores(results, result) for result in found]
    names = sorted(scored[0].names)
    for result, scores in zip(found, scored, strict=True):
        refuse_other_samples(names, scores.names, results / result.address)
    orders = [np.argsort(scores.names) for scores in scored]
    right = [label_ranks(scores.values, scores.labels) < 1 for scores in scored]
    return names, np.array([row[order] for row, order in zip(right, orders, strict=True)])


def refuse_other_samples(expected: Sequence[str], found: Sequence[str], where: Path) -> None:
    """Raise ValueError unless both name the same samples, in any order."""
    if set(expected) != set(found) or len(expected) != len(found):
        differing = sorted(set(expected) ^ set(found))[:3]
        raise ValueError(
            f"{where}: scored on {len(found)} samples, compared with a result on {len(expected)}, "
            f"which differ: {', '.join(differing)}; evaluate both on one store and split"
        )
