"""Lookups in published.yaml: the published numbers of a workspace's benchmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from dualhead.settings.params import Settings

if TYPE_CHECKING:
    from dualhead.report.results import Cell

OURS = "dualhead"
"""The variant that the paper proposes, whose rows stand in every ablation."""


def benchmark_key(grid: Settings, benchmark: str) -> str:
    """Return the kind and split by which published.yaml knows a benchmark: `ntu60/xsub`."""
    entry = grid["benchmarks"][benchmark]
    return f"{grid['datasets'][entry['dataset']]['kind']}/{entry['split']}"


def is_partial(grid: Settings, benchmark: str) -> bool:
    """Return whether a benchmark's dataset may lack samples."""
    dataset = grid["benchmarks"][benchmark]["dataset"]
    return bool(grid["datasets"][dataset].get("partial", False))


def methods(published: Settings, first: Settings | None) -> list[Settings]:
    """Return every published method once, with its numbers of all tables; `first` table's first."""
    merged: dict[str, Settings] = {}
    tables = [*([first] if first else []), *published["tables"].values()]
    for method in chain(*(table.get("methods", ()) for table in tables)):
        known = merged.setdefault(method["label"], dict(method))
        for metric in ("top1", "top5"):
            known[metric] = {**known.get(metric, {}), **method.get(metric, {})}
    return list(merged.values())


def published_cell(grid: Settings, cell: Cell, metric: str, published: Settings) -> float:
    """Return the published accuracy of one of our cells; nan if there is none."""
    for table in published["tables"].values():
        entry = table.get("ours", {}).get(cell.variant, {}).get(cell.stream, {})
        if number := entry.get(metric, {}).get(benchmark_key(grid, cell.benchmark)):
            return float(number)
    return float("nan")


def published_margin(grid: Settings, cell: Cell, metric: str, published: Settings) -> float:
    """Return the margin around a published accuracy that counts as reproduced, in points; nan if no gain is claimed.

    It is the share `margin` of the gain between the published accuracy and that of its rival: for our network what it
    is said to improve on, for a row of an ablation our network. A stream without a rival takes the gain of two streams.
    """
    gains = (
        _claimed_gain(grid, cell, metric, published),
        _step_to_ours(grid, cell, published) if metric == "top1" else float("nan"),
        _claimed_gain(grid, cell._replace(stream="two_stream"), metric, published),
    )
    gain = next((gain for gain in gains if not math.isnan(gain)), float("nan"))
    return float(published["margin"]) * gain


def _claimed_gain(grid: Settings, cell: Cell, metric: str, published: Settings) -> float:
    """Return the distance between a cell's published accuracy and that of its rival; nan if either is unknown."""
    key = benchmark_key(grid, cell.benchmark)
    for table in published["tables"].values():
        entry = table.get("ours", {}).get(cell.variant, {}).get(cell.stream, {})
        known, rival = (one.get(metric, {}).get(key) for one in (entry, entry.get("rival", {})))
        if known is not None and rival is not None:
            return abs(float(known) - float(rival))
    return float("nan")


def _step_to_ours(grid: Settings, cell: Cell, published: Settings) -> float:
    """Return the distance between a row of a published ablation and our network's; nan if it is in none."""
    where = (benchmark_key(grid, cell.benchmark), cell.stream)
    for table in published["tables"].values():
        if table["kind"] == "ablation" and where == (table["benchmark"], table["stream"]):
            values = {row["variant"]: float(row["top1"]) for row in table["rows"]}
            if cell.variant in values and cell.variant != OURS:
                return abs(values[cell.variant] - values[OURS])
    return float("nan")


def published_comparison(grid: Settings, name: str, published: Settings) -> Settings | None:
    """Return the published comparison that covers this table's benchmarks."""
    keys = {benchmark_key(grid, item) for item in grid["tables"][name]["benchmarks"]}
    for table in published["tables"].values():
        covered: set[str] = set().union(*(method["top1"] for method in table.get("methods", ())))
        if keys <= covered:
            return dict(table)
    return None


def published_ablation(
    grid: Settings, name: str, published: Settings
) -> tuple[Settings | None, bool]:
    """Return the published ablation with these rows, and whether its benchmark is the same.

    A table of the same name may leave rows of the published one out.
    """
    table = grid["tables"][name]
    named = published["tables"].get(name, {})
    for source in (named, *published["tables"].values()):
        rows = _rows(source, table["rows"], may_lack=source is named)
        if rows:
            here = (benchmark_key(grid, table["benchmark"]), table["stream"])
            return {**source, "rows": rows}, here == (source["benchmark"], source["stream"])
    return None, False


def _rows(source: Settings, variants: Sequence[str], *, may_lack: bool) -> list[Settings]:
    """Return the published rows of these variants; empty if it is another table."""
    rows: list[Settings] = source.get("rows", [])
    if [row["variant"] for row in rows] == variants:
        return rows
    first = {row["variant"]: row for row in reversed(rows)}
    is_part = may_lack and set(variants) <= set(first)
    return [first[variant] for variant in variants] if is_part else []
