"""Figures: vector PDF and SVG, drawn from the runs that params.yaml's `figures` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from dualhead.params import MODALITY_NAMES, Settings
from dualhead.report.figures.ablation import parameters
from dualhead.report.figures.attention import attention
from dualhead.report.figures.classes import class_gain, confusion, heads
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.network import network
from dualhead.report.figures.strips import strips
from dualhead.report.figures.style import save, styled
from dualhead.report.figures.training import curves, selection
from dualhead.report.results import runs_of

__all__ = ["FIGURES", "available", "draw"]

FIGURES: Mapping[str, Callable[[Inputs], Figure]] = {
    "network": network,
    "curves": curves,
    "class_gain": class_gain,
    "heads": heads,
    "confusion": confusion,
    "strips": strips,
    "attention": attention,
    "parameters": parameters,
    "selection": selection,
}


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
    if name not in FIGURES:
        raise ValueError(f"figure {name!r}: unknown; there are {', '.join(FIGURES)}")
    with styled():
        figure = FIGURES[name](Inputs(grid, results, stores))
        save(figure, pdf, svg)


def available(grid: Settings) -> list[str]:
    """Return the figures whose runs the grid's tables ask for."""
    inputs = Inputs(grid, Path(), Path())
    asked = inputs.benchmark_cells()
    networks = [run["model"] for _, run in runs_of(grid, inputs.cell())]
    models = {network["name"] for network in networks}
    is_single = inputs.choice["stream"] in MODALITY_NAMES
    possible = {
        "network": "dualhead" in models,
        "heads": "dualhead" in models and is_single,
        "parameters": inputs.cell() in asked and is_single,
        "class_gain": {inputs.cell(), inputs.cell("baseline")} <= set(asked),
        "confusion": inputs.cell() in asked,
        "strips": inputs.cell() in asked,
        "attention": is_single and any(map(_attends, networks)),
    }
    return [name for name in FIGURES if possible.get(name, True)]


def _attends(network: Settings) -> bool:
    """Say whether a network has attention that can be drawn."""
    return any(
        network.get(f"{kind}_attention", "none") != "none" for kind in ("temporal", "spatial")
    )
