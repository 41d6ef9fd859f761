"""Protocol of a workspace's trainings: the paper's, the authors' code's, or its own, by their settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dualhead.report.pdf.provenance import flat, value_text
from dualhead.report.pdf.runs import Grid, Run, counted, listed
from dualhead.report.published import benchmark_key
from dualhead.report.titles import PROTOCOLS
from dualhead.settings import checks
from dualhead.settings.grid import prepare_settings, resolved_settings
from dualhead.settings.params import Settings, packaged_params

NAMED = ("train.epochs", "train.passes", "train.batch_size", "train.learning_rate", "train.loss")
"""Settings whose own values are told where they differ."""
SHOWN = 3


class Protocol(NamedTuple):
    """The protocol of a workspace's trainings, in words."""

    is_the_papers: bool  # or the authors', where the workspace asks for these
    text: str


def protocol(grid: Grid, runs: Sequence[Run]) -> Protocol:
    """Return the runs' protocol, with the settings that differ from the one asked for."""
    asked = PROTOCOLS[grid["protocol"]]
    paper = checks.load(packaged_params()) | {"protocol": grid["protocol"]}
    known = {_paper_key(paper, name): name for name in paper["benchmarks"]}
    differing: dict[str, str] = {}
    foreign = False
    for run in runs:
        benchmark = known.get(benchmark_key(grid, run.config["benchmark"]))
        foreign = foreign or benchmark is None
        differing |= _differences(grid, run, paper, benchmark)
    if not differing and not foreign:
        return Protocol(True, asked)
    told = [
        f"{name.split('.')[1].replace('_', ' ')} {differing[name]}"
        for name in NAMED
        if name in differing
    ]
    text = "this workspace\N{RIGHT SINGLE QUOTATION MARK}s own"
    if differing:
        text += f": {counted(len(differing), 'setting is', 'settings are')} not {asked}"
        text += f", among them {listed(told[:SHOWN])}" * bool(told)
    return Protocol(False, text + "; the paper does not use this dataset" * foreign)


def _paper_key(paper: Settings, benchmark: str) -> str:
    entry = paper["benchmarks"][benchmark]
    return f"{paper['datasets'][entry['dataset']]['kind']}/{entry['split']}"


def _differences(grid: Grid, run: Run, paper: Settings, benchmark: str | None) -> dict[str, str]:
    """Return the settings of a run that are not those of the same variant in the paper's grid."""
    config = run.config
    variant = config["variant"]
    if variant not in paper["variants"]:
        variant = config["model"]["name"]
    plain = {**paper, "benchmarks": {**paper["benchmarks"], "": {}}}
    expected = resolved_settings(plain, benchmark or "", variant)
    expected["model"] = {"name": config["model"]["name"], **expected[config["model"]["name"]]}
    expected["prepare"] = paper["prepare"]
    if benchmark:
        expected["prepare"] = prepare_settings(paper, paper["benchmarks"][benchmark]["dataset"])
    config = config | {
        "evaluate": config["evaluate"] | {"fusion": grid["fusion"][run.address]},
        "prepare": grid["stores"][config["store"]]["prepare"],
    }
    sections = ("model", "input", "train", "evaluate", "prepare")
    own, papers = (
        flat({section: settings[section] for section in sections})
        for settings in (config, expected)
    )
    return {
        name: f"{value_text(value)} (not {value_text(papers.get(name, 'there'))})"
        for name, value in own.items()
        if value != papers.get(name)
    }
