"""What the network attends to: frames and joints of real recordings (Eqs. 8 and 10)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dualhead.data.store import Store
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.poses import draw_poses
from dualhead.report.figures.style import BLUE, RED, grid_lines, new_figure
from dualhead.runs.scores import Attention, read_attention

SAMPLES = 4
CURVES = (("frames_1", BLUE, "-"), ("frames_2", RED, "--"))
Points = npt.NDArray[np.float32]


class Shown(NamedTuple):
    """One recording: its name, and each of its attention maps, (M, T') or (M, V)."""

    name: str
    maps: dict[str, Points]
    times: npt.NDArray[np.int64]  # (T,), the recording's frame at each of the network's


def attention(inputs: Inputs) -> Figure:
    """Draw the frames and the joints that weigh most in some recordings, of different classes."""
    address = inputs.require(inputs.cell(), "attention")[0].address
    shown = _choose(read_attention(inputs.results / address / "scores.h5"))
    figure = new_figure(1.25 * len(shown) + 0.3)
    rows = figure.subplots(len(shown), 2, width_ratios=(2.2, 1), squeeze=False)
    with Store(inputs.store()) as store:
        for (left, right), sample in zip(rows, shown, strict=True):
            present = _present(store, sample.name)
            _draw_joints(left, store, sample, present)
            _draw_frames(right, sample, int(present.argmax()))
    rows[0, 1].set_title("temporal attention", loc="left", fontsize=8.5)
    rows[-1, 1].set_xlabel("Frame")
    handles, labels = rows[0, 1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower right", ncols=2)
    return figure


def _choose(found: Attention) -> list[Shown]:
    """Return the recordings over which attention varies most, of time or, without it, of joints."""
    order = np.zeros(len(found.names))
    for name, values in found.maps.items():
        if name.startswith("frames") or not any(key.startswith("frames") for key in found.maps):
            order += np.ptp(values[:, 0], axis=1)
    return [
        Shown(
            found.names[position],
            {name: values[position] for name, values in found.maps.items()},
            found.times[position],
        )
        for position in np.argsort(-order, kind="stable")[:SAMPLES]
    ]


def _present(store: Store, name: str) -> npt.NDArray[np.bool_]:
    """Return which body slots (M,) are not empty."""
    position = store.position(name)
    joints = store.padded(position, max(int(store.num_frames[position]), 1))
    return np.asarray(joints.any(axis=(0, 1, 2)))


def _draw_joints(axes: Axes, store: Store, sample: Shown, present: npt.NDArray[np.bool_]) -> None:
    """Draw the poses; joints by the mean spatial attention of both blocks, over the main body's range."""
    maps = [values for name, values in sample.maps.items() if name.startswith("joints")]
    if not maps or not present.any():
        draw_poses(axes, store, sample.name)
        return
    weights = np.mean(maps, axis=0)
    main = weights[int(present.argmax())]
    low, high = float(main.min()), float(main.max())
    colors = ScalarMappable(Normalize(low, high, clip=True), "viridis_r")
    draw_poses(axes, store, sample.name, weights=weights, colors=colors)
    axes.set_title(
        f"{axes.get_title(loc='left')}   joints {low:.3f} to {high:.3f}", loc="left", fontsize=8
    )


def _draw_frames(axes: Axes, sample: Shown, body: int) -> None:
    """Draw the temporal attention of both blocks over the recording's own frames."""
    last = int(sample.times.max())
    for (name, color, dash), block in zip(CURVES, (2, 3), strict=True):
        if name not in sample.maps:
            continue
        values = sample.maps[name][body]
        at = sample.times[np.arange(len(values)) * len(sample.times) // len(values)]
        once = np.append(np.flatnonzero(np.diff(at) < 0) + 1, len(at))[0]  # then it loops
        axes.plot(at[:once], values[:once], dash, color=color, label=f"coarse block {block}")
    axes.set_xlim(0, max(last, 1))
    grid_lines(axes, "y")
