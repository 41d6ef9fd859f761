"""Figures of trainings: their curves, and what choosing the epoch on the test set is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.style import BLUE, GRAY, INK, LINES, PALE, RED, grid_lines, new_figure
from dualhead.report.results import Cell, cells, read_history, read_results
from dualhead.report.titles import (
    SELECTIONS,
    benchmark_title,
    stream_title,
    variant_title,
)
from dualhead.settings.params import MODALITY_NAMES

PANELS = {
    "head_loss": "Training loss of a head",
    "train_top1": "Training top-1 (%)",
    "test_fusion_top1": "Test top-1 (%)",
}
SELECTION_MARKS = {
    "last": (BLUE, "o", 20),
    "best_on_test": (RED, "D", 18),
    "best_on_validation": (INK, "s", 6),
}
"""Color, marker and size of each selection; the smaller ones are drawn above the larger."""


def curves(inputs: Inputs) -> Figure:
    """Draw loss, training and test accuracy of each modality, and of the baseline."""
    found = histories(inputs)
    figure = new_figure(2.75)
    for axes, (column, title) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for (cell, runs), (color, dash) in zip(found.items(), LINES, strict=False):
            _line(axes, runs, column, color=color, dash=dash, label=_title(cell))
        _drops(axes, next(iter(found.values()))[0])
        axes.set(xlabel="Epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        grid_lines(axes, "y")
    loss = figure.axes[0]
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def histories(inputs: Inputs) -> dict[Cell, list[pd.DataFrame]]:
    """Return every seed's history of each modality of the variant, then of the baseline.

    `head_loss` is the mean cross entropy of a network's heads: `loss`, which is trained on, may be
    their sum, and a network of one head has half as much of it.

    Raises:
        ValueError: if no run has been made.
    """
    choice = inputs.choice
    asked = {cell.variant for cell in inputs.benchmark_cells()}
    variants = [name for name in (choice["variant"], choice["baseline"]) if name in asked]
    wanted = [
        Cell(choice["benchmark"], variant, modality)
        for variant in dict.fromkeys(variants)
        for modality in MODALITY_NAMES
    ]
    found = {cell: _histories(inputs, cell) for cell in wanted}
    found = {cell: runs for cell, runs in found.items() if runs}
    if not found:
        raise ValueError(f"figure 'curves': no history.csv of {[str(cell) for cell in wanted]} yet")
    return found


def _histories(inputs: Inputs, cell: Cell) -> list[pd.DataFrame]:
    """Return the history of every seed that exists."""
    runs = [
        run
        for run, settings in inputs.grid["runs"].items()
        if (settings["benchmark"], settings["variant"], settings["modality"]) == cell
    ]
    read = [read_history(inputs.results, run) for run in runs]
    return [frame.assign(head_loss=_head_loss(frame)) for frame in read if frame is not None]


def _head_loss(history: pd.DataFrame) -> pd.Series:
    heads = [name for name in history if str(name).startswith("loss_")]
    return history[heads].mean(axis=1) if heads else history["loss"]


def _title(cell: Cell) -> str:
    return f"{variant_title(cell.variant)}, {stream_title(cell.stream)}"


def _line(
    axes: Axes, runs: list[pd.DataFrame], column: str, *, color: str, dash: object, label: str
) -> None:
    """Draw the mean over seeds, and their range as a band."""
    values = pd.concat([run.set_index("epoch")[column] for run in runs], axis=1).dropna(how="all")
    epochs = values.index.to_numpy()
    axes.plot(epochs, values.mean(axis=1), color=color, linestyle=dash, label=label)
    if values.shape[1] > 1:
        axes.fill_between(
            epochs, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, lw=0
        )


def _drops(axes: Axes, history: pd.DataFrame) -> None:
    """Mark where the learning rate falls."""
    falls = history["learning_rate"].diff() < -1e-9
    for epoch in history["epoch"][falls]:
        axes.axvline(epoch - 0.5, color=GRAY, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)


def selection(inputs: Inputs) -> Figure:
    """Draw each cell's gain if the epoch is chosen on the test set, or on held-out subjects."""
    rows = selection_gains(inputs)
    figure = new_figure(0.8 + 0.19 * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    gains = {which: np.array([row[which] for row in rows.values()]) for which in SELECTIONS}
    axes.hlines(places, 0, gains["best_on_test"], color=PALE, linewidth=3)
    for which, (color, marker, size) in SELECTION_MARKS.items():
        if not np.isnan(gains[which]).all():
            label = SELECTIONS[which].legend
            axes.scatter(
                gains[which], places, color=color, marker=marker, s=size, label=label, zorder=3
            )
    axes.axvline(gains["best_on_test"].mean(), color=GRAY, linestyle="--", linewidth=0.8)
    several = len({cell.benchmark for cell in rows}) > 1
    names = [f"{benchmark_title(inputs.grid, cell.benchmark)}, " * several for cell in rows]
    axes.set_yticks(places, [name + _title(cell) for name, cell in zip(names, rows, strict=True)])
    axes.set(
        xlabel="Test accuracy gained over the last epoch (points)",
        ylim=(-0.7, len(rows) - 0.3),
    )
    grid_lines(axes)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def selection_gains(inputs: Inputs) -> dict[Cell, dict[str, float]]:
    """Return each selection's gain over the last epoch, in points; nan where there is none.

    Raises:
        ValueError: if no run has been made.
    """
    gains = {}
    for cell in cells(inputs.grid):
        if found := read_results(inputs.grid, inputs.results, cell):
            mean = {
                which: float(np.mean([result.accuracy("top1", which) for result in found]))
                for which in SELECTIONS
            }
            gains[cell] = {which: value - mean["last"] for which, value in mean.items()}
    if not gains:
        raise ValueError("figure 'selection': missing every run that the tables ask for")
    return gains
