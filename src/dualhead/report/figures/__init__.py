"""Figures of a report, in one table: the drawer, needs and caption of each.

Light to import: Snakemake asks for names and captions at each start, and matplotlib comes with the first drawing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dualhead.settings.params import MODALITY_NAMES, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROLES: Final = ("variant", "baseline")


class Kind(NamedTuple):
    """One figure: the function of its name in `module` draws it."""

    module: str
    needs: frozenset[str]  # of what `offered` finds in a grid
    caption: str  # with the names that `dualhead.report.captions` knows in braces


FIGURES: Final[Mapping[str, Kind]] = {
    "network": Kind(
        "network",
        frozenset({"variant", "two heads"}),
        "DualHead-Net as it is built here: channels and frames of each stage (the paper's "
        "Figures 2 to 4). STGC: spatio-temporal graph convolution; MS-GCN, MS-TCN, MS-G3D: graph "
        "convolution in space, convolution in time, and graph convolution in windows of frames, each at "
        "several scales. TA and SA, temporal and spatial attention, weigh one head's features by the "
        "other's.",
    ),
    "curves": Kind(
        "training",
        frozenset(),
        "Training of {variant}{and_of_baseline} in every modality, on {benchmark}. The loss is the mean "
        "cross entropy of the heads, so that networks of one head and of two compare. Lines are means "
        "over seeds, bands their range; dotted lines mark where the learning rate falls.",
    ),
    "class_gain": Kind(
        "classes",
        frozenset({"variant", "baseline"}),
        "Accuracy of {variant} less that of {baseline} for each class, {stream}, on {benchmark} (the "
        "paper's Figure 5), with 95 % intervals over the class's test samples and, where there are "
        "several, over seeds.",
    ),
    "heads": Kind(
        "classes",
        frozenset({"variant", "two heads", "one modality"}),
        "Accuracy of the coarse head, the fine head and their fusion for each class: {variant}, "
        "{stream}, on {benchmark}; means over seeds.",
    ),
    "confusion": Kind(
        "classes",
        frozenset({"variant"}),
        "Confusion of {variant}, {stream}, on {benchmark}, all seeds together: every class (left), and "
        "the pairs that are confused most{beside_baseline} (right).",
    ),
    "selection": Kind(
        "training",
        frozenset(),
        "Test accuracy gained by choosing the epoch on the test set, as the field reports it, over taking "
        "the last one, as we do (dashed: the mean gain). Where subjects are held out of the training, also what "
        "choosing it on them gains, which needs no look at the test set.",
    ),
    "attention": Kind(
        "attention",
        frozenset({"variant", "one modality", "attention"}),
        "Attention of {variant}, {stream}, on {benchmark}, first seed. Joints: the larger and darker, the "
        "more spatial attention (mean of both blocks), on one scale for all. Frames: temporal "
        "attention of what enters the coarse blocks. Each class's first test recording was asked; "
        "shown are those over which temporal attention varies most.",
    ),
    "parameters": Kind(
        "ablation",
        frozenset({"variant", "one modality"}),
        "Accuracy with 95 % interval, and parameters, of every variant: {stream}, {benchmark}.",
    ),
    "strips": Kind(
        "strips",
        frozenset({"variant"}),
        "Test recordings over time (frame numbers below), with the scores of {variant}"
        "{and_of_baseline} for the true class and for the one it is confused with (the paper's "
        "Figures 1 and 6). Drawn are the frames and bodies that the network gets. Chosen where {chosen_where}, "
        "by the first seed: examples, not evidence.",
    ),
}
"""Every figure by its name, in the order of the report, in which two of them mostly fill a page."""


def available(grid: Settings) -> list[str]:
    """Return the figures whose runs the grid's tables ask for."""
    found = offered(grid)
    return [name for name, kind in FIGURES.items() if kind.needs <= found]


def offered(grid: Settings) -> set[str]:
    """Return the needs of figures that a grid fulfills.

    `variant`, `baseline`: a table asks for its cell; `one modality`: the stream shown is no ensemble;
    `two heads`, `attention`: the variant's network has them.
    """
    chosen = grid["figures"]
    asked = {(cell["benchmark"], cell["variant"], cell["stream"]) for cell in grid["cells"]}
    found = {
        role for role in ROLES if (chosen["benchmark"], chosen[role], chosen["stream"]) in asked
    }
    networks = [
        run["model"] for run in grid["runs"].values() if run["variant"] == chosen["variant"]
    ]
    kinds = ("temporal_attention", "spatial_attention")
    parts = {
        "one modality": chosen["stream"] in MODALITY_NAMES,
        "two heads": any(network["name"] == "dualhead" for network in networks),
        "attention": any(net.get(kind, "none") != "none" for net in networks for kind in kinds),
    }
    return found | {name for name, is_there in parts.items() if is_there}


def draw(name: str, grid: Settings, results: Path, stores: Path, *, pdf: Path, svg: Path) -> None:
    """Draw one figure as PDF and SVG.

    Args:
        name: a key of `FIGURES`.
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        stores: the folder of stores.
        pdf: file to write.
        svg: file to write.

    Raises:
        ValueError: for an unknown name, or if a run that the figure shows is missing.
    """
    from dualhead.report.figures.style import save

    save(figure(name, grid, results, stores), pdf, svg)


def figure(name: str, grid: Settings, results: Path, stores: Path) -> Figure:
    """Return one figure, drawn; arguments and errors are those of `draw`."""
    from dualhead.report.figures.inputs import Inputs
    from dualhead.report.figures.style import styled

    if name not in FIGURES:
        raise ValueError(f"figure {name!r}: unknown; there are {', '.join(FIGURES)}")
    drawer = getattr(import_module(f"{__name__}.{FIGURES[name].module}"), name)
    with styled():
        drawn: Figure = drawer(Inputs(grid, results, stores))
    return drawn
