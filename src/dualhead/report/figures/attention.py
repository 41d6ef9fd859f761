"""Figure of attention: the frames and joints of real recordings that weigh most (Eqs. 8 and 10)."""

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
from dualhead.report.figures.poses import WEIGHT_COLORS, Seen, draw_poses, seen_by, title_of
from dualhead.report.figures.style import BLUE, RED, grid_lines, new_figure
from dualhead.report.results import read_result_attention
from dualhead.runs.scores import Attention

SAMPLES = 4
CURVES = (("frames_1", BLUE, "-"), ("frames_2", RED, "--"))
Points = npt.NDArray[np.float32]


class Shown(NamedTuple):
    """One recording, and how its bodies are attended to."""

    name: str
    seen: Seen
    joints: Points | None  # (M, V), spatial attention, mean of both blocks
    frames: dict[str, Points]  # block -> the temporal attention (T',) to the first body
    times: dict[str, npt.NDArray[np.int64]]  # block -> the recording's frames at these (T',)


def attention(inputs: Inputs) -> Figure:
    """Draw the frames and the joints that weigh most in some recordings, of different classes."""
    shown = attended(inputs)
    figure = new_figure(1.3 * len(shown) + 0.55)
    rows = figure.subplots(len(shown), 2, width_ratios=(2.2, 1), squeeze=False)
    scale = _scale(shown)
    with Store(inputs.store()) as store:
        for (left, right), sample in zip(rows, shown, strict=True):
            title = title_of(store, sample.name)
            draw_poses(left, sample.seen, store.layout, title, weights=sample.joints, scale=scale)
            _draw_frames(right, sample)
    rows[0, 1].set_title("Temporal attention", loc="left", fontsize=8.5)
    rows[-1, 1].set_xlabel("Frame")
    if any(sample.frames for sample in shown):
        low, high = temporal_range(shown)
        for axes in rows[:, 1]:
            margin = 0.08 * (high - low) or 0.01
            axes.set_ylim(low - margin, high + margin)
        handles, labels = rows[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower right", ncols=2)
    if scale:
        colors = ScalarMappable(scale, WEIGHT_COLORS)
        bar = figure.colorbar(colors, ax=rows[:, 0], location="bottom", shrink=0.5, aspect=30)
        bar.set_label("Spatial attention to a joint")
        bar.outline.set_visible(False)
    return figure


def attended(inputs: Inputs) -> list[Shown]:
    """Return the recordings over which attention varies most, of time or, without it, of joints."""
    result = inputs.require(inputs.cell(), "attention")[0]
    found = read_result_attention(inputs.results, result)
    with Store(inputs.store()) as store:
        everything = [
            _shown(inputs, store, found, position) for position in range(len(found.names))
        ]
    return sorted(everything, key=_variation, reverse=True)[:SAMPLES]


def _shown(inputs: Inputs, store: Store, found: Attention, position: int) -> Shown:
    name = found.names[position]
    seen = seen_by(inputs.config(), store, name)
    body, times = int(seen.present.argmax()), found.times[position]
    joints = [values[position] for key, values in found.maps.items() if key.startswith("joints")]
    frames, at = {}, {}
    for key, values in found.maps.items():
        if key.startswith("frames"):
            own = values[position, body]
            numbers = times[np.arange(len(own)) * len(times) // len(own)]
            once = np.append(np.flatnonzero(np.diff(numbers) < 0) + 1, len(numbers))[0]  # it loops
            frames[key], at[key] = own[:once], numbers[:once]
    return Shown(name, seen, np.mean(joints, axis=0) if joints else None, frames, at)


def _variation(sample: Shown) -> float:
    if sample.frames:
        return float(sum(np.ptp(values) for values in sample.frames.values()))
    return 0.0 if sample.joints is None else float(np.ptp(sample.joints[sample.seen.present]))


def spatial_range(shown: list[Shown]) -> tuple[float, float]:
    """Return the least and the greatest spatial attention to a joint of a body that is there."""
    values = [sample.joints[sample.seen.present] for sample in shown if sample.joints is not None]
    there = np.concatenate([part.ravel() for part in values])
    return float(there.min()), float(there.max())


def temporal_range(shown: list[Shown]) -> tuple[float, float]:
    """Return the least and the greatest temporal attention that is drawn."""
    there = np.concatenate([part for sample in shown for part in sample.frames.values()])
    return float(there.min()), float(there.max())


def _scale(shown: list[Shown]) -> Normalize | None:
    """Return the one color scale of the figure; None if there is no spatial attention."""
    if all(sample.joints is None or not sample.seen.present.any() for sample in shown):
        return None
    return Normalize(*spatial_range(shown), clip=True)


def _draw_frames(axes: Axes, sample: Shown) -> None:
    """Draw the temporal attention of both blocks over the recording's own frames."""
    for (name, color, dash), block in zip(CURVES, (2, 3), strict=True):
        if name in sample.frames:
            label = f"coarse block {block}"
            axes.plot(sample.times[name], sample.frames[name], dash, color=color, label=label)
    axes.set_xlim(0, max(sample.seen.joints.shape[1] - 1, 1))
    grid_lines(axes, "y")
