"""Skeletons of one recording over time, as the network gets them, drawn side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from dualhead.data.store import Store
from dualhead.layout import SkeletonLayout
from dualhead.report.figures.style import GRAY, INK, SMALL
from dualhead.report.skeletons import stand, visible
from dualhead.settings.params import Settings

POSES = (4, 10)  # fewest and most that are drawn of each recording, evenly over its frames
ROW_SHAPE = 6.0  # width of a row of poses by its height
WEIGHT_COLORS = "viridis_r"
DOT = 2.2  # area of a joint, in points squared
Points = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """The part of a recording that a network gets."""

    joints: Points  # (C, T, V, M): its own frames, without what only fills up the input
    present: npt.NDArray[np.bool_]  # (M,), which body slots are not empty


def seen_by(config: Settings, store: Store, name: str) -> Seen:
    """Return the frames and bodies of a recording that a run's network gets.

    Where the input takes a recording's first frames, later ones are left out; where it samples them,
    all are there.

    Args:
        config: the run's settings.
        store: the store that holds the recording.
        name: the recording's name.
    """
    position = store.position(name)
    frames = max(int(store.num_frames[position]), 1)
    if config["input"]["resample"] == "none":
        frames = min(frames, int(config["input"]["num_frames"]))
    joints = store.padded(position, frames)[..., : config["max_bodies"]]
    return Seen(joints, np.asarray(joints.any(axis=(0, 1, 2))))


def title_of(store: Store, name: str) -> str:
    """Return `drink water (S001...)`, or the name alone where the class is not known."""
    label = int(store.labels[store.position(name)])
    return f"{store.class_names[label]} ({name})" if label >= 0 else name


def draw_poses(
    axes: Axes,
    seen: Seen,
    layout: SkeletonLayout,
    title: str,
    *,
    weights: Points | None = None,
    scale: Normalize | None = None,
) -> None:
    """Draw a recording's poses, evenly over its frames, with frame numbers and a title.

    Args:
        axes: the axes to draw on; their own lines and ticks disappear.
        seen: the part of the recording that the network gets.
        layout: the skeleton's layout.
        title: stands above the poses.
        weights: (M, V), the joints' weights, told by color and size; None leaves them plain.
        scale: the range of weights that `WEIGHT_COLORS` spans.
    """
    joints, frames = seen.joints, seen.joints.shape[1]
    shown = visible(joints, layout)  # (T, V, M)
    across, up, _ = stand(joints, layout)
    across = across - across[:, layout.center, :1][:, None]
    left, right = _extent(across[shown])
    bottom, top = _extent(up[shown])
    across = across - (left + right) / 2
    height = top - bottom
    width = 1.08 * max(right - left, height / 6, 1e-3)
    count = int(np.clip(ROW_SHAPE * height / width, *POSES))
    times = np.linspace(0, frames - 1, min(count, frames)).round().astype(int)
    first = int(seen.present.argmax())
    for place, time in enumerate(times):
        for body in np.flatnonzero(shown[time].any(axis=0)):
            pose = np.stack([across[time, :, body] + place * width, up[time, :, body]], axis=-1)
            color = INK if body == first else GRAY
            _draw_pose(axes, pose, shown[time, :, body], layout, color)
            if weights is not None and scale is not None:
                _draw_weights(axes, pose, shown[time, :, body], weights[body], scale)
        below = bottom - 0.06 * height
        number = f"{time}"
        axes.text(place * width, below, number, ha="center", va="top", fontsize=SMALL, color=INK)
    axes.set_aspect("equal")
    axes.set_xlim(-0.55 * width, (len(times) - 0.45) * width)
    axes.set_anchor("W")
    axes.axis("off")
    axes.set_title(title, loc="left", fontsize=8.5, parse_math=False)


def _extent(values: Points) -> tuple[float, float]:
    """Return the least and the greatest value; a recording without any has none."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _draw_pose(
    axes: Axes, pose: Points, visible: npt.NDArray[np.bool_], layout: SkeletonLayout, color: str
) -> None:
    bones = [(pose[a], pose[b]) for a, b in layout.edges if visible[a] and visible[b]]
    axes.add_collection(LineCollection(bones, colors=color, linewidths=1.1, capstyle="round"))
    axes.scatter(pose[visible, 0], pose[visible, 1], s=DOT, color=color, zorder=3)


def _draw_weights(
    axes: Axes,
    pose: Points,
    visible: npt.NDArray[np.bool_],
    weights: Points,
    scale: Normalize,
) -> None:
    """Draw each joint the larger, and in a color the farther along, the more it weighs."""
    shares = np.asarray(scale(weights[visible]))
    axes.scatter(
        pose[visible, 0],
        pose[visible, 1],
        s=DOT * (1 + 5 * shares),
        c=weights[visible],
        cmap=WEIGHT_COLORS,
        norm=scale,
        zorder=4,
    ).set_gid("weights")
