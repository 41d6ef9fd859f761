"""Runs of a grid as the report's tables read them, and helpers for rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.report.results import Cell, Result, check_result, read_result
from dualhead.report.text import signed
from dualhead.settings.params import Settings
from dualhead.workspace.kept import is_kept

Grid = Settings


class Run(NamedTuple):
    """One run of the grid, and what it left if it has been made."""

    address: str
    config: Settings
    result: Result | None
    is_kept: bool = False  # trained elsewhere, and taken from the folder of kept runs


def read_runs(grid: Grid, results: Path) -> list[Run]:
    """Return every run of the grid, in its order.

    Raises:
        ValueError: for a result that is another run's, or that its scores do not bear out.
    """
    found = []
    for identity, config in grid["runs"].items():
        cell = Cell(config["benchmark"], config["variant"], config["modality"])
        seed = str(config["seed"])
        result = read_result(grid, results, f"runs/{identity}", cell, seed)
        if result:
            check_result(results, result)
        found.append(Run(identity, config, result, is_kept(results, identity)))
    return found


def made(runs: Sequence[Run]) -> list[tuple[Run, Settings]]:
    """Return the runs that have been made, with their metrics."""
    return [(run, run.result.metrics) for run in runs if run.result]


def grouped(
    runs: Sequence[Run], key: Callable[[Run], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Run]]:
    """Return the runs that agree in `key` together, in the order of their first."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[object]]) -> Settings:
    """Return a table as the template takes it.

    Args:
        columns: title and alignment of each; a title `Group|Title` stands under its group.
        rows: texts.
    """
    titles = [title.split("|") if "|" in title else ["", title] for title, _ in columns]
    return {
        "columns": [
            {"group": group, "title": title, "align": align}
            for (group, title), (_, align) in zip(titles, columns, strict=True)
        ],
        "rows": [["" if cell is None else str(cell) for cell in row] for row in rows],
        "ours": [False] * len(rows),
        "citations": [None] * len(rows),
    }


def without_repeats(rows: list[list[str]]) -> list[list[str]]:
    """Sort by the first column and print it once a group."""
    order = {name: place for place, name in enumerate(dict.fromkeys(row[0] for row in rows))}
    rows = sorted(rows, key=lambda row: order[row[0]])
    previous = ["", *(row[0] for row in rows)]
    return [
        ["" if row[0] == before else row[0], *row[1:]]
        for row, before in zip(rows, previous, strict=False)
    ]


def number(value: float | None, form: str) -> str:
    """Return a number's text, empty if there is none."""
    return "" if value is None or np.isnan(value) else signed(form.format(value))


def counted(count: int, one: str, many: str) -> str:
    """Return `1 seed`, `3 seeds`."""
    return f"{count:,} {one if count == 1 else many}"


def listed(words: Iterable[str]) -> str:
    """Return words with commas between them."""
    return ", ".join(words)
