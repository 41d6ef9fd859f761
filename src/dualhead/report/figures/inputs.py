"""Inputs of a figure: the cells that params.yaml's `figures` names, and their results."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.report.results import Cell, Result, addresses, cells, read_result_scores, read_results
from dualhead.runs.scores import Scores
from dualhead.settings.params import Settings

Floats = npt.NDArray[np.float64]
MAX_CLASSES = 24  # more are shown by their extremes
EXTREMES = 12  # classes at either end


class Inputs(NamedTuple):
    """The folders a figure is drawn from."""

    grid: Settings
    results: Path
    stores: Path

    @property
    def choice(self) -> dict[str, str]:
        """Benchmark, variant, baseline and stream that the figures show."""
        return dict(self.grid["figures"])

    def cell(self, role: str = "variant") -> Cell:
        """Return the cell of the `variant` or of the `baseline`."""
        return Cell(self.choice["benchmark"], self.choice[role], self.choice["stream"])

    def require(self, cell: Cell, figure: str) -> list[Result]:
        """Return a cell's results.

        Raises:
            ValueError: if none exists; it says which runs are missing.
        """
        found = read_results(self.grid, self.results, cell)
        if not found:
            wanted = addresses(self.grid, cell).values()
            missing = ", ".join(wanted) or f"{cell}, which no table of params.yaml asks for"
            raise ValueError(
                f"figure {figure!r}: missing {missing}; run it, or leave the figure out"
            )
        return found

    def scores(self, cell: Cell, figure: str, head: str = "fusion") -> list[Scores]:
        """Return one head's scores of each seed of a cell, at the last epoch."""
        found = self.require(cell, figure)
        return [read_result_scores(self.results, result, head=head) for result in found]

    def benchmark_cells(self) -> list[Cell]:
        """Return all cells of the figures' benchmark, in the tables' order."""
        return [cell for cell in cells(self.grid) if cell.benchmark == self.choice["benchmark"]]

    def config(self) -> Settings:
        """Return the settings of one run of the figures' benchmark, the variant's if it has any."""
        runs = [
            run
            for run in self.grid["runs"].values()
            if run["benchmark"] == self.choice["benchmark"]
        ]
        own = [run for run in runs if run["variant"] == self.choice["variant"]]
        return dict((own or runs)[0])

    def store(self) -> Path:
        """Return the store of the figures' benchmark."""
        return self.stores / f"{self.config()['store']}.h5"


def extremes(values: Floats) -> npt.NDArray[np.int64]:
    """Return positions in ascending order of value; of many only both ends."""
    order = np.argsort(values, kind="stable")
    if len(order) <= MAX_CLASSES:
        return order
    return np.concatenate([order[:EXTREMES], order[-EXTREMES:]])
