"""Curves of training, and what choosing the epoch on the test set is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from dualhead.params import MODALITY_NAMES
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.style import BLUE, GRAY, INK, LINES, PALE, RED, grid_lines, new_figure
from dualhead.report.results import Cell, cells, read_results
from dualhead.report.titles import SELECTIONS, stream_title, variant_title

PANELS = {
    "loss": "Training loss",
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
    wanted = [cell for cell in inputs.benchmark_cells() if _is_shown(inputs, cell)]
    histories = {cell: _histories(inputs, cell) for cell in _with_members(inputs, wanted)}
    histories = {cell: runs for cell, runs in histories.items() if runs}
    if not histories:
        raise ValueError(f"figure 'curves': no history.csv of {[str(cell) for cell in wanted]} yet")
    figure = new_figure(2.6)
    for axes, (column, title) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for (cell, runs), (color, dash) in zip(histories.items(), LINES, strict=False):
            _line(axes, runs, column, color=color, dash=dash, label=_title(cell))
        _drops(axes, next(iter(histories.values()))[0])
        axes.set(xlabel="Epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        grid_lines(axes, "y")
    figure.axes[0].set_yscale("log")
    figure.axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    figure.axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    figure.axes[0].yaxis.set_minor_formatter(NullFormatter())
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _is_shown(inputs: Inputs, cell: Cell) -> bool:
    return cell.variant in (inputs.choice["variant"], inputs.choice["baseline"])


def _with_members(inputs: Inputs, wanted: list[Cell]) -> list[Cell]:
    """Return the single-modality cells behind the wanted ones, once each, ours first."""
    streams = {
        (run["variant"], run["modality"])
        for run in inputs.grid["runs"].values()
        if run["benchmark"] == inputs.choice["benchmark"]
    }
    variants = dict.fromkeys(cell.variant for cell in wanted)
    ordered = sorted(variants, key=lambda variant: variant != inputs.choice["variant"])
    return [
        Cell(inputs.choice["benchmark"], variant, modality)
        for variant in ordered
        for modality in MODALITY_NAMES
        if (variant, modality) in streams
    ]


def _histories(inputs: Inputs, cell: Cell) -> list[pd.DataFrame]:
    """Return the history of every seed that exists."""
    paths = [
        inputs.results / "runs" / run / "history.csv"
        for run, settings in inputs.grid["runs"].items()
        if (settings["benchmark"], settings["variant"], settings["modality"]) == cell
    ]
    return [pd.read_csv(path) for path in paths if path.is_file()]


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
    """Draw what each cell gains if the epoch is chosen on the test set, or on held-out subjects."""
    rows = _selection_gains(inputs)
    if not rows:
        raise ValueError("figure 'selection': missing every run that the tables ask for")
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
    axes.set_yticks(
        places, [f"{cell.benchmark}, {_title(cell)}".replace("_", " ") for cell in rows]
    )
    axes.set(
        xlabel="Test accuracy gained over the last epoch (points); dashed: the mean of "
        "looking at the test set",
        ylim=(-0.7, len(rows) - 0.3),
    )
    grid_lines(axes)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _selection_gains(inputs: Inputs) -> dict[Cell, dict[str, float]]:
    """Return what each selection gains over the last epoch, in points; nan where there is none."""
    gains = {}
    for cell in cells(inputs.grid):
        if found := read_results(inputs.grid, inputs.results, cell):
            mean = {
                which: float(np.mean([result.accuracy("top1", which) for result in found]))
                for which in SELECTIONS
            }
            gains[cell] = {which: value - mean["last"] for which, value in mean.items()}
    return gains
