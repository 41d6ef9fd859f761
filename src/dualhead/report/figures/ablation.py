"""Figure of accuracy and size of every variant of the ablations."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.style import BLUE, GRAY, INK, RED, SMALL, grid_lines, new_figure
from dualhead.report.results import Cell, read_results
from dualhead.report.statistics import Spread, spread
from dualhead.report.titles import variant_title


def parameters(inputs: Inputs) -> Figure:
    """Draw accuracy with its 95 % interval, and parameters, of each variant on the same stream."""
    rows = sorted(variant_sizes(inputs), key=lambda row: row[1].mean)
    figure = new_figure(0.9 + 0.24 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    places = np.arange(len(rows))
    means = np.array([row.mean for _, row, _ in rows])
    errors = np.abs([[row.low, row.high] for _, row, _ in rows] - means[:, None]).T
    colors = [_color(inputs, cell) for cell, _, _ in rows]
    left.errorbar(means, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2)
    left.scatter(means, places, c=colors, s=22, zorder=3)
    left.set_yticks(places, [variant_title(cell.variant) for cell, _, _ in rows])
    left.set(xlabel="Top-1 accuracy (%), 95 % interval", ylim=(-0.7, len(rows) - 0.3))
    counts = [count / 1e6 for _, _, count in rows]
    bars = right.barh(places, counts, color=colors, height=0.55)
    right.bar_label(bars, fmt="%.2f", padding=2, fontsize=SMALL)
    right.set(xlabel="Parameters (millions)", xlim=(0, 1.2 * max(counts)))
    for axes in (left, right):
        grid_lines(axes)
    return figure


def variant_sizes(inputs: Inputs) -> list[tuple[Cell, Spread, int]]:
    """Return accuracy and parameters of each variant of the figures' stream that has been run.

    Raises:
        ValueError: if none has.
    """
    rows = []
    for cell in inputs.benchmark_cells():
        found = read_results(inputs.grid, inputs.results, cell)
        if cell.stream == inputs.choice["stream"] and found and found[0].metrics.get("parameters"):
            values = [result.accuracy("top1") for result in found]
            metrics = found[0].metrics
            rows.append((cell, spread(values, metrics["num_test"]), int(metrics["parameters"])))
    if not rows:
        inputs.require(inputs.cell(), "parameters")
        raise ValueError(
            f"figure 'parameters': {inputs.cell()} is an ensemble; choose one modality"
        )
    return rows


def _color(inputs: Inputs, cell: Cell) -> str:
    roles = {inputs.choice["variant"]: BLUE, inputs.choice["baseline"]: RED}
    return roles.get(cell.variant, GRAY)
