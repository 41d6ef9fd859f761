"""Figure of skeletons over time with both networks' scores (the paper's Figures 1 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualhead.data.store import Store
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.poses import draw_poses, seen_by, title_of
from dualhead.report.figures.style import BLUE, RED, SMALL, new_figure, rows_height, wrapped
from dualhead.report.titles import variant_title
from dualhead.runs.scores import Scores, softmax

SAMPLES = 4
LABEL = 34  # characters a line
Points = npt.NDArray[np.float32]


class Shown(NamedTuple):
    """One recording of the figure."""

    name: str
    label: int
    confused: int
    probabilities: dict[str, tuple[float, float]]  # network -> of the label, of the confused class


def strips(inputs: Inputs) -> Figure:
    """Draw recordings on which ours is surer than the baseline, with both networks' scores."""
    with Store(inputs.store()) as store:
        shown = compared(inputs)
        names = store.class_names
        labels = [
            max((_true(sample, names), _confused(sample, names)), key=lambda text: text.count("\n"))
            for sample in shown
        ]
        figure = new_figure(0.1 + rows_height(labels, 1.3, 0.25))
        rows = figure.subplots(len(shown), 2, width_ratios=(2.2, 1), squeeze=False)
        for (left, right), sample in zip(rows, shown, strict=True):
            seen = seen_by(inputs.config(), store, sample.name)
            draw_poses(left, seen, store.layout, title_of(store, sample.name))
            _draw_scores(right, sample, store.class_names)
    return figure


def compared(inputs: Inputs) -> list[Shown]:
    """Return the samples on which the label's score gains most, of different classes."""
    ours = _probabilities(inputs.scores(inputs.cell("variant"), "strips")[0])
    baseline = inputs.cell("baseline")
    both = {variant_title(inputs.choice["variant"]): ours}
    if baseline in inputs.benchmark_cells():
        theirs = _probabilities(inputs.scores(baseline, "strips")[0])
        both = {variant_title(inputs.choice["baseline"]): theirs} | both
    first = next(iter(both.values()))
    chosen: dict[int, Shown] = {}
    for name in _by_gain(ours, first):
        label = ours.labels[name]
        if label not in chosen and len(chosen) < SAMPLES:
            others = first.values[name].copy()
            others[label] = -1
            confused = int(others.argmax())
            pairs = {
                title: (float(table.values[name][label]), float(table.values[name][confused]))
                for title, table in both.items()
            }
            chosen[label] = Shown(name, label, confused, pairs)
    return list(chosen.values())


class _Table(NamedTuple):
    labels: dict[str, int]
    values: dict[str, Points]


def _probabilities(scores: Scores) -> _Table:
    """Return label and probabilities of each sample; logits are brought to probabilities."""
    values = scores.values
    if not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        values = softmax(values)
    labels = dict(zip(scores.names, scores.labels.tolist(), strict=True))
    return _Table(labels, dict(zip(scores.names, values, strict=True)))


def _by_gain(ours: _Table, baseline: _Table) -> list[str]:
    """Return the samples sorted: first those that ours alone gets right, then by gain."""

    def rank(name: str) -> tuple[bool, float]:
        label = ours.labels[name]
        right, before = (int(table.values[name].argmax()) == label for table in (ours, baseline))
        gain = float(ours.values[name][label] - baseline.values[name][label])
        sure = gain if ours is not baseline else float(ours.values[name][label])
        return not (right and not before), -sure

    return sorted(ours.labels, key=rank)


def _draw_scores(axes: Axes, sample: Shown, names: Sequence[str]) -> None:
    """Draw the label's and the confused class's probability by each network."""
    titles = list(sample.probabilities)
    for row, title in enumerate(titles):
        for offset, value, color, hatch in zip(
            (0.2, -0.2), sample.probabilities[title], (BLUE, RED), ("", "////"), strict=True
        ):
            place = len(titles) - 1 - row + offset
            axes.barh(place, value, 0.36, color=color, hatch=hatch, edgecolor="white", linewidth=0)
            axes.text(value + 0.02, place, f"{value:.2f}", va="center", fontsize=SMALL)
    axes.set_yticks(range(len(titles)), titles[::-1])
    axes.set(xlim=(0, 1.22), xticks=[0, 0.5, 1])
    axes.set_title(_true(sample, names), color=BLUE, fontsize=8, loc="left")
    axes.set_xlabel(_confused(sample, names), color=RED, fontsize=8, loc="left")


def _true(sample: Shown, names: Sequence[str]) -> str:
    return wrapped(f"true: {names[sample.label]}", LABEL)


def _confused(sample: Shown, names: Sequence[str]) -> str:
    return wrapped(f"confused: {names[sample.confused]}", LABEL)
