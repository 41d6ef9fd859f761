"""Claims of the paper, each with what this workspace measured of it and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from dualhead.report.statistics import LEVEL, NOT_COMPARABLE, NOT_RUN, UNDECIDED
from dualhead.report.text import records, signed, verdict_text
from dualhead.report.titles import stream_title
from dualhead.settings.params import Settings

OURS: Final = "dualhead"
HOLDS: Final = "holds"
CONTRADICTED: Final = "contradicted"
ONE_RUN: Final = "one run each"
STEPS: Final[Mapping[str, str]] = {
    "ms_g3d": "The full network is better than its baseline, MS-G3D",
    "no_attention": "Attention across the heads helps",
    "temporal_attention": "Spatial attention helps beside temporal attention",
    "fine_full": "All channels in the fine head gain little over half of them",
    "fine_quarter": "A quarter of the channels is worse than half of them",
    "coarse_g3d_0": "A G3D pathway in the coarse block helps",
    "coarse_g3d_2": "A second G3D pathway does not help",
    "subsample_1": "A coarse head that sees every frame is worse than one that sees half",
    "subsample_4": "A coarse head that sees a quarter of the frames is worse",
    "self_temporal": "Temporal attention from the other head is better than from the own",
    "self_spatial": "Spatial attention from the other head is better than from the own",
}
"""Variant -> the paper's claim about its difference from the full network (Tables 4 to 8)."""


class Tested(NamedTuple):
    """One claim, what the paper and this workspace measured of it, and the verdict."""

    claim: str
    source: str
    paper: str
    ours: str
    verdict: str


def claims_of(tables: Mapping[str, pd.DataFrame], published: Settings) -> list[Tested]:
    """Return the paper's claims that the tables test, in the paper's order, once each.

    Args:
        tables: every table of the workspace by its name.
        published: the content of published.yaml.
    """
    found = [record for frame in tables.values() for record in records(frame) if record["ours"]]
    rows = [*_accuracies(found), *_steps(found, published), *_size(found)]
    return list(dict.fromkeys(rows))


def totals(claims: Sequence[Tested]) -> str:
    """Return `2 hold, 1 undecided` and the like: how often each verdict was given."""
    count = Counter(claim.verdict.partition(" (")[0] for claim in claims)
    words = {
        HOLDS: "holds" if count[HOLDS] == 1 else "hold",
        UNDECIDED: "undecided",
        ONE_RUN: "with one run each, which shows nothing",
    }
    return ", ".join(f"{number} {words.get(verdict, verdict)}" for verdict, number in count.items())


def _accuracies(found: Sequence[Settings]) -> list[Tested]:
    """Return the claimed accuracies of four streams, compared as the paper's were chosen."""
    return [
        Tested(
            f"DualHead-Net's {stream_title('four_stream')} reach this accuracy on {record['column']}",
            "Tables 1 to 3",
            f"{record['paper']:.1f}",
            NOT_RUN if record["mean"] is None else f"{record['best_on_test']:.2f} (best on test)",
            verdict_text("_best")(record) or str(record["verdict"]),
        )
        for record in found
        if record["row"] == f"{OURS}/four_stream" and record["paper"] is not None
    ]


def _steps(found: Sequence[Settings], published: Settings) -> list[Tested]:
    """Return the claimed steps between variants."""
    steps = {record["row"]: record for record in reversed(found) if record["reference"] == OURS}
    rows = []
    for variant, claim in STEPS.items():
        source, step = published_step(published, variant)
        if variant in steps and source:
            ours = steps[variant]
            paper = signed(f"{step:+.1f}")
            rows.append(Tested(claim, source, paper, _measured(ours), _verdict(ours, step)))
    return rows


def published_step(published: Settings, variant: str) -> tuple[str, float]:
    """Return the paper's table and a variant's published accuracy less the full network's, in points."""
    for name, table in published["tables"].items():
        values = {row["variant"]: float(row["top1"]) for row in table.get("rows", ())}
        if variant in values and OURS in values:
            return f"Table {name.removeprefix('table')}", values[variant] - values[OURS]
    return "", float("nan")


def _measured(record: Settings) -> str:
    if record["step"] is None:
        return NOT_RUN
    low, high = (signed(f"{record[key]:+.2f}") for key in ("step_low", "step_high"))
    known = record["step_low"] is not None and not np.isnan(record["step_low"])
    return signed(f"{record['step']:+.2f}") + (f" ({low} to {high})" if known else "")


def _verdict(record: Settings, paper: float) -> str:
    """Return whether our step bears the paper's out: by its sign, once several seeds show it."""
    if record["step"] is None:
        return NOT_RUN
    if record["verdict"] == NOT_COMPARABLE:
        return NOT_COMPARABLE
    if int(record["step_seeds"]) == 1:
        return ONE_RUN
    if not record["step_p_holm"] < LEVEL:
        return UNDECIDED
    return HOLDS if record["step"] * paper > 0 else CONTRADICTED


def _size(found: Sequence[Settings]) -> list[Tested]:
    """Return the claimed saving of parameters, as counted in networks of the paper's sizes."""
    sizes = {
        record["row"]: record
        for record in found
        if record["parameters"] is not None and record["parameters_paper"] is not None
    }
    if not {OURS, "ms_g3d"} <= set(sizes):
        return []
    ours, baseline = sizes[OURS], sizes["ms_g3d"]
    return [
        Tested(
            "The full network has fewer parameters than MS-G3D",
            "Table 4",
            f"{ours['parameters_paper']:.1f} M for {baseline['parameters_paper']:.1f} M",
            f"{ours['parameters'] / 1e6:.3f} M for {baseline['parameters'] / 1e6:.3f} M",
            HOLDS if ours["parameters"] < baseline["parameters"] else CONTRADICTED,
        )
    ]
