"""Figure of the network as it is built, from a run's settings (the paper's Figures 2, 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.style import BLUE, GRAY, GREEN, INK, RED, WIDTH
from dualhead.report.results import runs_of
from dualhead.settings.params import Settings

HEIGHT = 4.5  # inches; every coordinate below is in inches, too
BOX = (0.72, 0.5)
FINE, COARSE, MIDDLE = 3.95, 2.75, 3.35  # heights of the lanes
STEP = 0.66  # between a block of one head and the next one of the other
X = " \N{MULTIPLICATION SIGN} "  # channels by frames
TINTS = {BLUE: "#E3EFF7", RED: "#FBEADF", GREEN: "#E0F2EC", GRAY: "#F1F1F1"}
Point = tuple[float, float]


def network(inputs: Inputs) -> Figure:
    """Draw the network of the figures' variant: overview, blocks and attention."""
    settings = next((run for _, run in runs_of(inputs.grid, inputs.cell())), None)
    if settings is None or settings["model"]["name"] != "dualhead":
        raise ValueError(
            f"figure 'network': {inputs.cell()} is not a dual-head network that a table of "
            "params.yaml asks for; choose another figures.variant"
        )
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    _overview(axes, settings)
    _block(axes, settings["model"])
    _attention(axes, settings["model"])
    return figure


# --- (a) overview ----------------------------------------------------------------------


def _overview(axes: Axes, settings: Settings) -> None:
    model, frames = settings["model"], settings["input"]["num_frames"]
    fine, coarse, rate = model["fine_channels"], model["coarse_channels"], model["subsample"]
    _caption(axes, 0.05, HEIGHT - 0.12, "(a) Two interleaved heads with attention across them")
    start, back, split = (0.4, MIDDLE), (1.3, MIDDLE), 2.24
    first, second, third, fourth = (split + 0.88 + STEP * step for step in range(4))
    _box(axes, start, f"input\n{frames} frames", GRAY)
    _box(axes, back, f"STGC block\n{coarse[0]}{X}{frames}", GREEN)
    _box(axes, (split, FINE), f"1{X}1 conv\n{fine[0]}{X}{frames}", BLUE)
    _box(axes, (split, COARSE), f"frames 1/{rate}\n{coarse[0]}{X}{_half(frames, rate)}", RED)
    _box(axes, (first, FINE), f"fine 2\n{fine[1]}{X}{_half(frames, 2)}", BLUE)
    _box(axes, (third, FINE), f"fine 3\n{fine[2]}{X}{_half(frames, 4)}", BLUE)
    short = _half(frames, rate)
    _box(axes, (second, COARSE), f"coarse 2\n{coarse[1]}{X}{_half(short, 2)}", RED)
    _box(axes, (fourth, COARSE), f"coarse 3\n{coarse[2]}{X}{_half(short, 4)}", RED)
    _flow(axes, [start, back])
    _arrow(axes, _right(back), _left((split, FINE)))
    _arrow(axes, _right(back), _left((split, COARSE)))
    end = fourth + 1.02
    _flow(axes, [(split, FINE), (first, FINE), (third, FINE), (end, FINE)])
    _flow(axes, [(split, COARSE), (second, COARSE), (fourth, COARSE), (end, COARSE)])
    _cross_attention(axes, model, (first, second, third, fourth))
    _outputs(axes, end, settings["evaluate"]["fusion_weight"])


def _outputs(axes: Axes, end: float, weight: float) -> None:
    for height, color in ((FINE, BLUE), (COARSE, RED)):
        _box(axes, (end, height), "pool, linear,\nsoftmax", color)
    text = f"{weight:g}{X}coarse\n+ {1 - weight:g}{X}fine"
    axes.text(end, MIDDLE, text, ha="center", va="center", fontsize=7.5)
    _arrow(axes, (end, FINE - BOX[1] / 2), (end, MIDDLE + 0.15))
    _arrow(axes, (end, COARSE + BOX[1] / 2), (end, MIDDLE - 0.15))


def _cross_attention(axes: Axes, model: Settings, places: Sequence[float]) -> None:
    """Draw which block's features weigh which head: temporal first, then spatial, in turns."""
    first, second, third, fourth = places
    kinds = {"TA": model["temporal_attention"], "SA": model["spatial_attention"]}
    reach = BOX[0] / 2 + 0.11
    for name, source, target in (
        ("TA", (first, FINE), (second - reach, COARSE)),
        ("SA", (second, COARSE), (third - reach, FINE)),
        ("TA", (third, FINE), (fourth - reach, COARSE)),
        ("SA", (fourth, COARSE), (fourth + reach, FINE)),
    ):
        if kinds[name] == "none":
            continue
        color, down = (BLUE, -1) if name == "TA" else (RED, 1)
        begin = (source[0], source[1] + down * BOX[1] / 2)
        if kinds[name] == "self":
            begin = (target[0], target[1] - down * 0.42)
        _arrow(axes, begin, (target[0], target[1] - down * 0.055), color=color, dashed=True)
        axes.plot(*target, marker="o", color="white", markeredgecolor=color, markersize=7, zorder=4)
        axes.text(
            *target,
            "\N{MULTIPLICATION SIGN}",
            color=color,
            fontsize=8,
            ha="center",
            va="center_baseline",
            zorder=5,
        )
        middle = ((begin[0] + target[0]) / 2 - 0.06, (begin[1] + target[1]) / 2)
        label = name if kinds[name] == "cross" else f"{name} (own)"
        axes.text(*middle, label, color=color, fontsize=7.5, ha="right", va="center")


# --- (b) blocks ------------------------------------------------------------------------


def _block(axes: Axes, model: Settings) -> None:
    _caption(axes, 0.05, 2.1, "(b) STGC block")
    middle, low = 1.42, 0.62
    _box(axes, (1.5, 1.72), "MS-G3D, one for\neach window", GREEN, (1.44, 0.36))
    _box(axes, (1.5, 1.2), "MS-GCN, MS-TCN, MS-TCN", GREEN, (1.44, 0.26))
    _box(axes, (3.02, middle), "MS-TCN", GREEN, (0.62, 0.3))
    _arrow(axes, (0.25, middle), (0.78, 1.72))
    _arrow(axes, (0.25, middle), (0.78, 1.2))
    axes.text(0.2, middle, "x", ha="right", va="center", style="italic")
    axes.text(2.46, middle, "+", ha="center", va="center_baseline", fontsize=10)
    _arrow(axes, (2.22, 1.72), (2.4, middle + 0.07))
    _arrow(axes, (2.22, 1.2), (2.4, middle - 0.07))
    _arrow(axes, (2.52, middle), (2.71, middle))
    _arrow(axes, (3.33, middle), (3.55, middle))
    rows = [
        ("", "windows", "dilations", "graph scales"),
        ("first and fine", *_sets(model, "fine")),
        ("coarse", *_sets(model, "coarse")),
    ]
    for row, texts in enumerate(rows):
        for place, text in zip((0.2, 1.12, 1.85, 2.75), texts, strict=True):
            axes.text(
                place, low + 0.06 - 0.19 * row, text, fontsize=7.5, color=INK if row else GRAY
            )


def _sets(model: Settings, head: str) -> tuple[str, str, str]:
    windows, dilations = model[f"{head}_windows"], model[f"{head}_dilations"]
    scales = f"{model['gcn_scales']}" + (f", {model['g3d_scales']} in G3D" if windows else "")
    return _set(windows), _set(dilations), scales


def _set(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "no G3D"


# --- (c) attention ---------------------------------------------------------------------


def _attention(axes: Axes, model: Settings) -> None:
    _caption(axes, 3.75, 2.1, "(c) Attention")
    rows = (
        *(
            (
                "TA",
                1.72,
                "mean over\njoints",
                f"1D conv,\nkernel {model['attention_kernel']}",
                BLUE,
            ),
        ),
        *(("SA", 1.0, "mean over\nframes", "1D conv,\nall joints", RED),),
    )
    kinds = {"TA": model["temporal_attention"], "SA": model["spatial_attention"]}
    heads = {"TA": ("fine", "coarse"), "SA": ("coarse", "fine")}
    for name, height, pool, convolution, color in rows:
        source, target = heads[name]
        kind = kinds[name]
        source = target if kind == "self" else source
        axes.text(4.18, height, f"{source}\nfeatures", ha="center", va="center", fontsize=7.5)
        for place, text in ((4.83, pool), (5.55, convolution), (6.22, "sigmoid")):
            _box(axes, (place, height), text, color, (0.56, 0.36))
        for begin, end in ((4.42, 4.55), (5.11, 5.27), (5.83, 5.94)):
            _arrow(axes, (begin, height), (end, height))
        features = rf"x_\mathrm{{{target}}}"
        formula = (
            rf"$\hat{{{features[0]}}}{features[1:]} = (1 + \theta_\mathrm{{{name}}})\, {features}$"
        )
        note = "not used" if kind == "none" else formula
        axes.text(5.2, height - 0.34, note, ha="center", va="center", fontsize=10.5)


# --- shapes ----------------------------------------------------------------------------


def _box(axes: Axes, center: Point, text: str, color: str, size: Point = BOX) -> None:
    corner = (center[0] - size[0] / 2, center[1] - size[1] / 2)
    style = "round,pad=0,rounding_size=0.05"
    axes.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle=style, facecolor=TINTS[color], edgecolor=color, linewidth=0.9
        )
    )
    axes.text(*center, text, ha="center", va="center", fontsize=7.5, linespacing=1.15)


def _arrow(axes: Axes, start: Point, end: Point, color: str = INK, dashed: bool = False) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=7,
            linewidth=0.9,
            color=color,
            linestyle=(0, (3, 1.5)) if dashed else "-",
            shrinkA=0,
            shrinkB=0,
        )
    )


def _flow(axes: Axes, centers: Sequence[Point]) -> None:
    for here, there in pairwise(centers):
        _arrow(axes, _right(here), _left(there))


def _left(center: Point) -> Point:
    return center[0] - BOX[0] / 2, center[1]


def _right(center: Point) -> Point:
    return center[0] + BOX[0] / 2, center[1]


def _caption(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, fontsize=9, fontweight="bold", va="center")


def _half(frames: int, rate: int) -> int:
    return -(-frames // rate)
