"""The look of every figure: one type face, colors that differ in hue and in gray, vector files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import wrap
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualhead.files import replacing
from dualhead.settings.params import Settings

WIDTH: Final = 6.69  # inches: the text width of the report, 17 cm
SMALL: Final = 7.5  # points: no type is smaller than 7 on the page
BLUE: Final = "#0072B2"  # Okabe and Ito's colors; dark to light: blue, red, green, orange, sky
RED: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
INK: Final = "#222222"
GRAY: Final = "#8A8A8A"
PALE: Final = "#DDDDDD"
LINES: Final = (
    (BLUE, "-"),
    (RED, "--"),
    (GREEN, "-."),
    (ORANGE, ":"),
    (PURPLE, (0, (5, 1, 1, 1, 1, 1))),
    (INK, (0, (1, 1))),
)
"""Color and dash of the n-th line of a plot."""
STYLE: Final[Settings] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, embedded
    "svg.fonttype": "path",
    "svg.hashsalt": "dualhead",  # same figure, same bytes
}


def font_folder() -> Path:
    """Return the folder of the figures' fonts, which the report is set in, too."""
    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and saved in this style."""
    return mpl.rc_context(STYLE)  # type: ignore[arg-type]  # its keys are typed as literals


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of the report's width, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def grid_lines(axes: Axes, axis: str = "x") -> None:
    """Draw pale lines behind the values of one axis."""
    axes.grid(axis=axis, color=PALE, linewidth=0.5)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def save(figure: Figure, pdf: Path, svg: Path) -> None:
    """Write a figure as PDF and SVG without dates, so that the same figure has the same bytes."""
    dates: Settings = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    for path, form in ((pdf, "pdf"), (svg, "svg")):
        with styled(), replacing(path) as temporary:
            figure.savefig(temporary, format=form, metadata=dates[form])


def wrapped(text: str, length: int = 40) -> str:
    """Return a class name that fits beside an axis, whole, in as many lines as it takes."""
    return "\n".join(wrap(text, length)) or text


def rows_height(labels: Sequence[str], line: float = 0.19, more: float = 0.09) -> float:
    """Return the height in inches of rows that these labels stand beside, each as high as the highest."""
    return len(labels) * (line + more * max(label.count("\n") for label in labels))
