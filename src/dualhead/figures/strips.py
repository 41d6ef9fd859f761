"""Skeletons over time with both networks' scores (the paper's Figures 1 and 6)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dualhead.figures.inputs import Inputs, model_title
from dualhead.figures.style import BLUE, GRAY, INK, RED, new_figure, shorten
from dualhead.layout import SkeletonLayout
from dualhead.scores import Scores, softmax
from dualhead.store import Store

SAMPLES = 4
POSES = (4, 12)  # fewest and most that are drawn of each recording, evenly over its frames
ROW_SHAPE = 6.0  # width of a row of poses by its height
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
        shown = _choose(inputs)
        figure = new_figure(1.25 * len(shown) + 0.1)
        rows = figure.subplots(len(shown), 2, width_ratios=(2.6, 1), squeeze=False)
        for (left, right), sample in zip(rows, shown, strict=True):
            _draw_poses(left, store, sample)
            title = f"{store.class_names[sample.label]}   ({sample.name})"
            left.set_title(title, loc="left", fontsize=8.5)
            _draw_scores(right, sample, store.class_names)
    return figure


def _choose(inputs: Inputs) -> list[Shown]:
    """Return the samples on which the label's score gains most, of different classes."""
    ours = _probabilities(inputs.scores(inputs.cell("variant"), "strips")[0])
    baseline = inputs.cell("baseline")
    both = {model_title(inputs.choice["variant"]): ours}
    if baseline in inputs.benchmark_cells():
        theirs = _probabilities(inputs.scores(baseline, "strips")[0])
        both = {model_title(inputs.choice["baseline"]): theirs} | both
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


# --- poses -----------------------------------------------------------------------------


def _draw_poses(axes: Axes, store: Store, sample: Shown) -> None:
    position = store.position(sample.name)
    frames = max(int(store.num_frames[position]), 1)
    joints = store.padded(position, frames)  # (C, T, V, M)
    seen = _seen(joints, store.layout)  # (T, V, M)
    across, up = project(joints, store.layout)
    across = across - across[:, store.layout.center, :1][:, None]
    left, right = _extent(across[seen])
    bottom, top = _extent(up[seen])
    across = across - (left + right) / 2
    height = top - bottom
    width = 1.08 * max(right - left, height / 6, 1e-3)
    count = int(np.clip(ROW_SHAPE * height / width, *POSES))
    times = np.linspace(0, frames - 1, min(count, frames)).round().astype(int)
    first = int(seen.any(axis=(0, 1)).argmax())
    for place, time in enumerate(times):
        for body in np.flatnonzero(seen[time].any(axis=0)):
            pose = np.stack([across[time, :, body] + place * width, up[time, :, body]], axis=-1)
            color = INK if body == first else GRAY
            _draw_pose(axes, pose, seen[time, :, body], store.layout, color)
        below = bottom - 0.06 * height
        axes.text(place * width, below, f"{time}", ha="center", va="top", fontsize=6.5, color=GRAY)
    axes.set_aspect("equal")
    axes.set_xlim(-0.55 * width, (len(times) - 0.45) * width)
    axes.set_anchor("W")
    axes.axis("off")


def _extent(values: Points) -> tuple[float, float]:
    """Return the least and the greatest value; a recording without any has none."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def project(joints: Points, layout: SkeletonLayout) -> tuple[Points, Points]:
    """Return how far right and how far up each joint is drawn.

    Up is the axis along which the spine lies, right the one along which the shoulders do; an
    image's y points down.

    Args:
        joints: (C, T, V, M).
        layout: of the skeleton.

    Returns:
        Two arrays (T, V, M).
    """
    if layout.rotate_z is None or layout.rotate_x is None:
        return joints[0], -joints[1]
    up, up_sign = _main_axis(joints, layout.rotate_z)
    across, across_sign = _main_axis(np.delete(joints, up, axis=0), layout.rotate_x)
    rest = [axis for axis in range(3) if axis != up]
    return across_sign * joints[rest[across]], up_sign * joints[up]


def _main_axis(joints: Points, bone: tuple[int, int]) -> tuple[int, float]:
    """Return the axis along which a bone lies most in the first frame, and its direction."""
    vector = joints[:, 0, bone[1], 0] - joints[:, 0, bone[0], 0]
    axis = int(np.abs(vector).argmax())
    return axis, 1.0 if vector[axis] >= 0 else -1.0


def _seen(joints: Points, layout: SkeletonLayout) -> npt.NDArray[np.bool_]:
    """Return which joints (T, V, M) were seen, of (C, T, V, M).

    A body that is not in a frame is 0 everywhere in it; an image's joint of confidence 0 was not
    seen.
    """
    present = np.broadcast_to(joints.any(axis=(0, 2))[:, None], joints.shape[1:])
    if layout.rotate_z is None and len(joints) > 2:
        return present & (joints[2] > 0)
    return present


def _draw_pose(
    axes: Axes, pose: Points, visible: npt.NDArray[np.bool_], layout: SkeletonLayout, color: str
) -> None:
    bones = [(pose[a], pose[b]) for a, b in layout.edges if visible[a] and visible[b]]
    axes.add_collection(LineCollection(bones, colors=color, linewidths=1.1, capstyle="round"))
    axes.scatter(pose[visible, 0], pose[visible, 1], s=2.2, color=color, zorder=3)


# --- scores ----------------------------------------------------------------------------


def _draw_scores(axes: Axes, sample: Shown, names: list[str]) -> None:
    """Draw the label's and the confused class's probability by each network."""
    titles = list(sample.probabilities)
    for row, title in enumerate(titles):
        for offset, value, color, hatch in zip(
            (0.2, -0.2), sample.probabilities[title], (BLUE, RED), ("", "////"), strict=True
        ):
            place = len(titles) - 1 - row + offset
            axes.barh(place, value, 0.36, color=color, hatch=hatch, edgecolor="white", linewidth=0)
            axes.text(value + 0.02, place, f"{value:.2f}", va="center", fontsize=7)
    axes.set_yticks(range(len(titles)), titles[::-1])
    axes.set(xlim=(0, 1.18), xticks=[0, 0.5, 1])
    axes.set_title(f"true: {shorten(names[sample.label], 26)}", color=BLUE, fontsize=8, loc="left")
    wrong = f"confused: {shorten(names[sample.confused], 26)}"
    axes.set_xlabel(wrong, color=RED, fontsize=8, loc="left")
