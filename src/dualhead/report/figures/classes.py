"""Figures over classes: gain over the baseline (the paper's Figure 5), confusion, both heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualhead.params import Settings
from dualhead.report.figures.inputs import Floats, Inputs, class_accuracies, extremes
from dualhead.report.figures.style import (
    BLUE,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    PALE,
    RED,
    SKY,
    grid_lines,
    new_figure,
    shorten,
)
from dualhead.report.results import read_correct, refuse_other_samples
from dualhead.report.titles import variant_title
from dualhead.runs.metrics import confusion_matrix
from dualhead.runs.scores import Scores

ANNOTATED = 12  # classes up to which a confusion matrix carries its numbers
LABELED = 40  # and its names
PAIRS = 14  # confused pairs that are listed
NORMAL_95 = 1.96
OUTLINE: Settings = {"edgecolors": "white", "linewidths": 0.6}
ARROW = "\N{RIGHTWARDS ARROW}"


def class_gain(inputs: Inputs) -> Figure:
    """Draw each class's accuracy less the baseline's, and the paired 95 % interval."""
    gain, error, names = _gains(inputs)
    shown = extremes(gain)
    figure = new_figure(0.9 + 0.17 * len(shown))
    axes = figure.subplots()
    places = np.arange(len(shown))
    colors = [SKY if value >= 0 else ORANGE for value in gain[shown]]
    bars = axes.barh(places, gain[shown], color=colors, height=0.7)
    for bar, value in zip(bars, gain[shown], strict=True):
        bar.set_hatch("" if value >= 0 else "////")
        bar.set_edgecolor("white" if value < 0 else bar.get_facecolor())
    axes.errorbar(gain[shown], places, xerr=error[shown], fmt="none", ecolor=INK, elinewidth=0.6)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_yticks(places, [shorten(names[index]) for index in shown])
    axes.set(xlabel=_gain_label(inputs), ylim=(-0.7, len(shown) - 0.3))
    _mark_gap(axes, len(shown), len(gain))
    grid_lines(axes)
    return figure


def _gain_label(inputs: Inputs) -> str:
    ours, baseline = (variant_title(inputs.choice[role]) for role in ("variant", "baseline"))
    return f"Accuracy of {ours} less that of {baseline} (points)"


def _gains(inputs: Inputs) -> tuple[Floats, Floats, Sequence[str]]:
    """Return gain and half of its 95 % interval for each class with test samples, and the names."""
    ours = inputs.require(inputs.cell("variant"), "class_gain")
    theirs = inputs.require(inputs.cell("baseline"), "class_gain")
    names, right = read_correct(inputs.results, ours)
    other_names, other_right = read_correct(inputs.results, theirs)
    refuse_other_samples(names, other_names, inputs.results / ours[0].address)
    scores = inputs.scores(inputs.cell("variant"), "class_gain")[0]
    labels = scores.labels[np.argsort(scores.names)]
    difference = 100 * (right.mean(axis=0) - other_right.mean(axis=0))
    present = np.unique(labels)
    of_class = [difference[labels == label] for label in present]
    gain = np.array([values.mean() for values in of_class])
    error = np.array([NORMAL_95 * values.std() / np.sqrt(len(values)) for values in of_class])
    return gain, error, [scores.class_names[label] for label in present]


def _mark_gap(axes: Axes, num_shown: int, num_classes: int) -> None:
    """Say where classes in the middle are left out."""
    if num_shown < num_classes:
        axes.axhline(num_shown / 2 - 0.5, color=GRAY, linestyle=(0, (2, 2)), linewidth=0.8)
        note = f"{num_classes - num_shown} classes between not shown"
        axes.annotate(
            note,
            (0.995, num_shown / 2 - 0.5),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=7,
            color=GRAY,
        )


def confusion(inputs: Inputs) -> Figure:
    """Draw which class was taken for which, the pairs that are confused most, and those resolved.

    Resolved are those that the baseline confuses more often than ours, the largest gain first.
    """
    scores = inputs.scores(inputs.cell("variant"), "confusion")
    shares, names = _confusion(scores), scores[0].class_names
    theirs = None
    if (baseline := inputs.cell("baseline")) in inputs.benchmark_cells():
        theirs = _confusion(inputs.scores(baseline, "confusion"))
    figure = new_figure(3.9)
    grid = figure.add_gridspec(2 if theirs is not None else 1, 2, width_ratios=(1.15, 1))
    _matrix(figure.add_subplot(grid[:, 0]), shares, names)
    most = figure.add_subplot(grid[0, 1])
    count = PAIRS if theirs is None else PAIRS // 2
    _pairs(most, inputs, (shares, theirs), names, _largest(shares, count))
    most.set_title(f"Most confused: true {ARROW} predicted", loc="right", fontsize=8.5)
    if theirs is not None:
        resolved = figure.add_subplot(grid[1, 1], sharex=most)
        _pairs(resolved, inputs, (shares, theirs), names, _largest(theirs - shares, count))
        title = f"Confused less than by {variant_title(inputs.choice['baseline'])}"
        resolved.set_title(title, loc="right", fontsize=8.5)
        most.set_xlabel("")
    handles, labels = most.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2)
    return figure


def _largest(values: Floats, count: int) -> list[tuple[int, int]]:
    """Return the rows and columns of the largest values above 0 off the diagonal."""
    off_diagonal = values - np.diag(np.diag(values))
    order = np.argsort(-off_diagonal, axis=None, kind="stable")[:count]
    pairs = [(int(cell) // len(values), int(cell) % len(values)) for cell in order]
    return [pair for pair in pairs if off_diagonal[pair] > 0]


def _confusion(scores: Sequence[Scores]) -> Floats:
    """Return the share of each class's samples (row) that went to each, in percent, all seeds."""
    total = np.sum([confusion_matrix(one.values, one.labels) for one in scores], axis=0)
    return np.asarray(100 * total / np.maximum(total.sum(axis=1, keepdims=True), 1))


def _matrix(axes: Axes, shares: Floats, names: Sequence[str]) -> None:
    import seaborn

    texts = np.where(shares >= 0.5, np.char.mod("%.0f", shares), "")
    seaborn.heatmap(
        shares,
        ax=axes,
        cmap="Blues",
        vmin=0,
        vmax=100,
        square=True,
        annot=texts if len(names) <= ANNOTATED else None,
        fmt="",
        annot_kws={"size": 7},
        cbar_kws={"label": "% of the true class", "shrink": 0.7},
        rasterized=len(names) > LABELED,
    )
    axes.set(xlabel="Predicted", ylabel="True")
    _class_ticks(axes, names)


def _class_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Name the classes of a matrix; of many give the number of every tenth or so."""
    if len(names) <= LABELED:
        ticks = np.arange(len(names)) + 0.5
        labels = [shorten(name, 18) for name in names]
    else:
        step = -(-len(names) // 60) * 10
        numbers = [1, *range(step, len(names) + 1, step)]
        ticks, labels = np.array(numbers) - 0.5, [str(number) for number in numbers]
    size = 7 if len(names) <= 20 or len(names) > LABELED else 5
    axes.set_xticks(ticks, labels, rotation=0 if len(names) > LABELED else 90, fontsize=size)
    axes.set_yticks(ticks, labels, rotation=0, fontsize=size)


def _pairs(
    axes: Axes,
    inputs: Inputs,
    shares: tuple[Floats, Floats | None],
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> None:
    """List pairs of classes: how often ours, and the baseline, takes the one for the other."""
    ours, theirs = shares
    places = -np.arange(len(pairs))
    label = variant_title(inputs.choice["variant"])
    axes.barh(places, [ours[pair] for pair in pairs], color=BLUE, height=0.6, label=label)
    if theirs is not None:
        points = [theirs[pair] for pair in pairs]
        label = variant_title(inputs.choice["baseline"])
        axes.scatter(points, places, color=RED, marker="D", s=18, label=label, zorder=3, **OUTLINE)
    labels = [
        f"{shorten(names[true], 16)} {ARROW} {shorten(names[taken], 16)}" for true, taken in pairs
    ]
    axes.set_yticks(places, labels, fontsize=7)
    axes.set(xlabel="% of the true class", ylim=(0.6 - max(len(pairs), PAIRS // 2), 0.6))
    grid_lines(axes)


def heads(inputs: Inputs) -> Figure:
    """Draw each class's accuracy by the coarse head, the fine head and their fusion (Eq. 14)."""
    found = inputs.require(inputs.cell("variant"), "heads")
    if "coarse" not in found[0].metrics["last"]:
        raise ValueError(
            f"figure 'heads': {inputs.cell()} has no coarse and fine head; "
            "let figures.variant be a dual-head network and figures.stream one modality"
        )
    series = {head: class_accuracies(inputs, found, head) for head in ("coarse", "fine", "fusion")}
    difference = (series["fine"] - series["coarse"]).to_numpy()
    shown = extremes(difference)
    names = series["fusion"].index.to_numpy()[shown]
    figure = new_figure(1.0 + 0.17 * len(shown))
    axes = figure.subplots()
    places = np.arange(len(shown))
    coarse, fine = (series[head].to_numpy()[shown] for head in ("coarse", "fine"))
    axes.hlines(places, coarse, fine, color=PALE, linewidth=2.5, zorder=1)
    for head, marker, color in (("coarse", "s", RED), ("fine", "^", BLUE), ("fusion", "o", GREEN)):
        filled = "none" if head == "fusion" else color
        values = series[head].to_numpy()[shown]
        axes.scatter(
            values,
            places,
            marker=marker,
            s=20,
            color=filled,
            edgecolors=color,
            label=head,
            zorder=2,
        )
    axes.set_yticks(places, [shorten(name) for name in names])
    axes.set(
        xlabel="Accuracy (%); classes sorted by fine less coarse", ylim=(-0.7, len(shown) - 0.3)
    )
    _mark_gap(axes, len(shown), len(difference))
    grid_lines(axes)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
