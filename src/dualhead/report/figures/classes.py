"""Figures over classes: gain over the baseline (the paper's Figure 5), confusion, both heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dualhead.report.figures.inputs import Floats, Inputs, extremes
from dualhead.report.figures.style import (
    BLUE,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    PALE,
    RED,
    SKY,
    SMALL,
    grid_lines,
    new_figure,
    rows_height,
    wrapped,
)
from dualhead.report.results import read_correct, refuse_other_samples
from dualhead.report.statistics import paired_share
from dualhead.report.titles import variant_title
from dualhead.runs.metrics import class_accuracy, confusion_matrix
from dualhead.runs.scores import Scores
from dualhead.settings.params import Settings

ANNOTATED = 12  # classes up to which a confusion matrix carries its shares and names
RASTERIZED = 30  # and above which it is an image: it would be thousands of vector cells
PAIR_LENGTH = 60  # characters a line
PAIRS = 6  # confused pairs that are listed
NORMAL_95 = 1.96
OUTLINE: Settings = {"edgecolors": "white", "linewidths": 0.6}
ARROW = "\N{RIGHTWARDS ARROW}"
HEADS = {"coarse": ("s", RED), "fine": ("^", BLUE), "fusion": ("o", GREEN)}
"""Head -> its marker and color."""


# --- gain over the baseline ------------------------------------------------------------


class ClassGains(NamedTuple):
    """Each class's accuracy less the baseline's, in points, with 95 % intervals."""

    names: Sequence[str]
    gain: Floats
    low: Floats
    high: Floats


def class_gain(inputs: Inputs) -> Figure:
    """Draw each class's accuracy less the baseline's, and its 95 % interval."""
    found = class_gains(inputs)
    shown = extremes(found.gain)
    gain = found.gain[shown]
    labels = [wrapped(found.names[index]) for index in shown]
    figure = new_figure(0.9 + rows_height(labels))
    axes = figure.subplots()
    places = np.arange(len(shown))
    bars = axes.barh(
        places, gain, color=[SKY if value >= 0 else ORANGE for value in gain], height=0.7
    )
    for bar, value in zip(bars, gain, strict=True):
        bar.set_hatch("" if value >= 0 else "////")
        bar.set_edgecolor("white" if value < 0 else bar.get_facecolor())
    axes.hlines(places, found.low[shown], found.high[shown], color=INK, linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_yticks(places, labels)
    ours, baseline = (variant_title(inputs.choice[role]) for role in ("variant", "baseline"))
    axes.set(
        xlabel=f"Accuracy of {ours} less that of {baseline} (points)",
        ylim=(-0.7, len(shown) - 0.3),
    )
    _mark_gap(axes, len(shown), len(found.gain))
    grid_lines(axes)
    return figure


def class_gains(inputs: Inputs) -> ClassGains:
    """Return the gain of each class that has test samples."""
    ours = inputs.require(inputs.cell("variant"), "class_gain")
    theirs = inputs.require(inputs.cell("baseline"), "class_gain")
    names, right = read_correct(inputs.results, ours)
    other_names, other_right = read_correct(inputs.results, theirs)
    refuse_other_samples(names, other_names, inputs.results / ours[0].address)
    scores = inputs.scores(inputs.cell("variant"), "class_gain")[0]
    labels = scores.labels[np.argsort(scores.names)]
    present = np.unique(labels)
    rows = [_gain(right[:, labels == label], other_right[:, labels == label]) for label in present]
    gain, low, high = np.array(rows).T
    return ClassGains([scores.class_names[label] for label in present], gain, low, high)


def _gain(
    first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return the difference of two accuracies on the same samples, and its 95 % interval, in points.

    The samples' share is Agresti and Min's; see `paired_share`. The seeds' share is the variance of
    each mean over its seeds; at one seed there is none to add.

    Args:
        first: (seeds, samples), True where a run is right.
        second: (seeds, samples), the other network's on the same samples.
    """
    better = (first.mean(axis=0) * (1 - second.mean(axis=0))).sum()
    worse = (second.mean(axis=0) * (1 - first.mean(axis=0))).sum()
    middle, variance = paired_share(better, worse, first.shape[1])
    variance += sum(
        one.mean(axis=1).var(ddof=1) / len(one) for one in (first, second) if len(one) > 1
    )
    margin = NORMAL_95 * float(np.sqrt(variance))
    gain = float(first.mean() - second.mean())
    low, high = max(middle - margin, -1.0), min(middle + margin, 1.0)
    return 100 * gain, 100 * low, 100 * high


def _mark_gap(axes: Axes, num_shown: int, num_classes: int) -> None:
    """Mark the place of the classes in the middle that are left out."""
    if num_shown < num_classes:
        axes.axhline(num_shown / 2 - 0.5, color=GRAY, linestyle=(0, (2, 2)), linewidth=0.8)
        axes.annotate(
            f"{num_classes - num_shown} classes between not shown",
            (0.995, num_shown / 2 - 0.5),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=SMALL,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )


# --- confusion -------------------------------------------------------------------------


class Confusion(NamedTuple):
    """Shares of each class's samples (row) that went to each, in percent, over all seeds."""

    names: Sequence[str]
    ours: Floats
    theirs: Floats | None  # the baseline's, if a table asks for it


def confusion(inputs: Inputs) -> Figure:
    """Draw which class was taken for which, the pairs that are confused most, and those resolved.

    Resolved are those that the baseline confuses more often than ours, the largest gain first.
    """
    found = confusions(inputs)
    lists = _lists(inputs, found)
    labels = [_pair_label(found, pair) for pairs in lists.values() for pair in pairs] or [""]
    row = rows_height([max(labels, key=lambda text: text.count("\n"))], 0.25, 0.12)
    figure = new_figure(1.6 + 2 * PAIRS * row)
    halves = figure.add_gridspec(1, 2, width_ratios=(1.15, 1))
    left, right = (
        figure.add_subfigure(halves[side]) for side in (0, 1)
    )  # whose margins are their own
    _matrix(left.add_subplot(), found)
    heights = [1 if pairs else 0.02 for pairs in lists.values()]
    grid = right.add_gridspec(len(lists), 1, height_ratios=heights)
    drawn: list[Axes] = []
    for place, (title, pairs) in enumerate(lists.items()):
        axes = right.add_subplot(grid[place], sharex=drawn[0] if drawn and pairs else None)
        axes.set_title(title if pairs else f"{title}: no pair", loc="left")
        if pairs:
            _pairs(axes, inputs, found, pairs)
            drawn.append(axes)
        else:
            axes.set_axis_off()
    if drawn:
        drawn[-1].set_xlabel("Share of the true class (%)")
        handles, names = drawn[0].get_legend_handles_labels()
        right.legend(handles, names, loc="outside lower right", ncols=2)
    return figure


def _lists(inputs: Inputs, found: Confusion) -> dict[str, list[tuple[int, int]]]:
    """Return the title of each list and its pairs: most confused, and those that the baseline confuses more."""
    lists = {f"Most confused: true {ARROW} predicted": _largest(found.ours, PAIRS)}
    if found.theirs is not None:
        baseline = variant_title(inputs.choice["baseline"])
        lists[f"Confused less than by {baseline}"] = _largest(found.theirs - found.ours, PAIRS)
    return lists


def _pair_label(found: Confusion, pair: tuple[int, int]) -> str:
    """Return `true -> taken`, in two lines where one is too long."""
    true, taken = (found.names[place] for place in pair)
    text = f"{true} {ARROW} {taken}"
    return text if len(text) <= PAIR_LENGTH else f"{true}\n{ARROW} {taken}"


def confusions(inputs: Inputs) -> Confusion:
    """Return the confusion of the variant, and of the baseline where a table asks for it."""
    scores = inputs.scores(inputs.cell("variant"), "confusion")
    theirs = None
    if (baseline := inputs.cell("baseline")) in inputs.benchmark_cells():
        theirs = _shares(inputs.scores(baseline, "confusion"))
    return Confusion(scores[0].class_names, _shares(scores), theirs)


def _shares(scores: Sequence[Scores]) -> Floats:
    total = np.sum([confusion_matrix(one.values, one.labels) for one in scores], axis=0)
    return np.asarray(100 * total / np.maximum(total.sum(axis=1, keepdims=True), 1))


def _largest(values: Floats, count: int) -> list[tuple[int, int]]:
    """Return the rows and columns of the largest values above 0 off the diagonal."""
    off_diagonal = values - np.diag(np.diag(values))
    order = np.argsort(-off_diagonal, axis=None, kind="stable")[:count]
    pairs = [(int(cell) // len(values), int(cell) % len(values)) for cell in order]
    return [pair for pair in pairs if off_diagonal[pair] > 0]


def _matrix(axes: Axes, found: Confusion) -> None:
    """Draw the matrix, with its numbers where they fit and its color bar below."""
    many = len(found.names)
    scale = Normalize(0, 100)
    axes.pcolormesh(found.ours, cmap="Blues", norm=scale, rasterized=many > RASTERIZED).set_gid(
        "matrix"
    )
    for true, taken in np.argwhere(found.ours >= 0.5) if many <= ANNOTATED else ():
        value = found.ours[true, taken]
        ink = "white" if value > 60 else INK
        axes.text(
            taken + 0.5,
            true + 0.5,
            f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=SMALL,
            color=ink,
        )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    numbered = "" if many <= ANNOTATED else " (class number)"
    axes.set(xlabel=f"Predicted{numbered}", ylabel=f"True{numbered}")
    _class_ticks(axes, found.names)
    bar = axes.figure.colorbar(
        ScalarMappable(scale, "Blues"), ax=axes, location="bottom", shrink=0.7, aspect=30
    )
    bar.set_label("Share of the true class (%)")
    bar.outline.set_visible(False)


def _class_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Name the classes of a matrix; of many give the number of every fifth, tenth or so."""
    if named := len(names) <= ANNOTATED:
        ticks, labels = np.arange(len(names)) + 0.5, [wrapped(name, 24) for name in names]
    else:
        step = 5 if len(names) <= RASTERIZED else -(-len(names) // 60) * 10
        numbers = [1, *range(step, len(names) + 1, step)]
        ticks, labels = np.array(numbers) - 0.5, [str(number) for number in numbers]
    axes.set_xticks(ticks, labels, rotation=90 if named else 0, fontsize=SMALL)
    axes.set_yticks(ticks, labels, rotation=0, fontsize=SMALL)


def _pairs(axes: Axes, inputs: Inputs, found: Confusion, pairs: Sequence[tuple[int, int]]) -> None:
    """List pairs of classes: how often ours, and the baseline, takes the one for the other."""
    places = -np.arange(len(pairs))
    label = variant_title(inputs.choice["variant"])
    values = [found.ours[pair] for pair in pairs]
    axes.barh(places, values, color=BLUE, height=0.3, label=label)
    if found.theirs is not None:
        points = [found.theirs[pair] for pair in pairs]
        label = variant_title(inputs.choice["baseline"])
        axes.scatter(points, places, color=RED, marker="D", s=18, label=label, zorder=3, **OUTLINE)
    for place, pair in zip(places, pairs, strict=True):
        text = axes.text(
            *(0.01, place + 0.2, _pair_label(found, pair)),
            fontsize=SMALL,
            linespacing=1.0,
            va="bottom",
            transform=axes.get_yaxis_transform(),
        )
        text.set_in_layout(False)
    axes.set_yticks([])
    axes.set_ylim(0.5 - max(len(pairs), PAIRS), 0.9)
    axes.set_xlim(left=0)
    grid_lines(axes)


# --- both heads ------------------------------------------------------------------------


def heads(inputs: Inputs) -> Figure:
    """Draw each class's accuracy by the coarse head, the fine head and their fusion (Eq. 14)."""
    names, series = head_accuracies(inputs)
    difference = series["fine"] - series["coarse"]
    shown = extremes(difference)
    labels = [wrapped(names[index]) for index in shown]
    figure = new_figure(1.0 + rows_height(labels))
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.hlines(
        places, series["coarse"][shown], series["fine"][shown], color=PALE, linewidth=2.5, zorder=1
    )
    for head, (marker, color) in HEADS.items():
        filled = "none" if head == "fusion" else color
        axes.scatter(
            series[head][shown],
            places,
            marker=marker,
            s=20,
            color=filled,
            edgecolors=color,
            label=head,
            zorder=2,
        )
    axes.set_yticks(places, labels)
    axes.set(
        xlabel="Accuracy (%); classes sorted by fine less coarse", ylim=(-0.7, len(shown) - 0.3)
    )
    _mark_gap(axes, len(shown), len(difference))
    grid_lines(axes)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def head_accuracies(inputs: Inputs) -> tuple[Sequence[str], Mapping[str, Floats]]:
    """Return the classes with test samples, and each head's accuracy on them, mean over seeds.

    Raises:
        ValueError: if the network shown has one head, or the stream is an ensemble.
    """
    found = inputs.require(inputs.cell("variant"), "heads")
    if "coarse" not in found[0].metrics["last"]:
        raise ValueError(
            f"figure 'heads': {inputs.cell()} has no coarse and fine head; "
            "let figures.variant be a dual-head network and figures.stream one modality"
        )
    scores = {head: inputs.scores(inputs.cell("variant"), "heads", head) for head in HEADS}
    series = {
        head: np.mean([class_accuracy(one.values, one.labels) for one in seeds], axis=0)
        for head, seeds in scores.items()
    }
    there = ~np.isnan(series["fusion"])
    names = np.array(scores["fusion"][0].class_names)[there].tolist()
    return names, {head: values[there] for head, values in series.items()}
