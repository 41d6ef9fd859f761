"""Cells of the tables found by a part of their name: a table, a benchmark, a variant, a stream, a seed, an address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from dualhead.report.results import Cell, addresses, cells
from dualhead.settings.params import Settings

NEAR = 6  # matches that an error lists
PLACES = ("results", "runs", "ensembles")
FILES = ("json", "h5", "yaml", "csv", "pt")
"""Words of an address that say nothing about which cell is meant."""


class Found(NamedTuple):
    """A cell, the tables it stands in, and the addresses behind it."""

    cell: Cell
    tables: tuple[str, ...]
    seeds: Mapping[str, str]  # seed -> address below results


def find(grid: Settings, query: str) -> Found:
    """Return the one cell that a query names.

    A query is words with `/` or spaces between them, in any order: a table, a benchmark, a variant,
    a stream, `seed1`, or an address; a part of a word will do where only one cell has it.

    Raises:
        ValueError: if no cell or several fit; the message lists the nearest.
    """
    words = [word for word in map(_plain, re.split(r"[\s/]+", query.strip())) if word]
    words = [word for word in words if word not in PLACES and not word.endswith(FILES)]
    scored = [(_fit(words, _words_of(entry)), entry) for entry in _entries(grid)]
    best = max((score for score, _ in scored), default=0.0)
    fitting = _by_cell([entry for score, entry in scored if score == best and best > 0])
    if not words or len(fitting) != 1:
        raise ValueError(_no_single(query, words, grid, fitting))
    return fitting[0]


def _plain(word: str) -> str:
    """Return a word as it is compared: `NTU60-Xsub` and `ntu60_xsub` are one."""
    return re.sub(r"[^a-z0-9.]", "", word.lower())


def _entries(grid: Settings) -> list[Found]:
    """Return an entry for each cell and seed; then the runs that only ensembles read."""
    found = []
    for cell in cells(grid):
        entries = [it for it in grid["cells"] if _cell_of(it) == cell]
        tables = tuple(dict.fromkeys(entry["table"] for entry in entries))
        found += [Found(cell, tables, {s: a}) for s, a in addresses(grid, cell).items()]
    known = {address for entry in found for address in entry.seeds.values()}
    for run, config in grid["runs"].items():
        if f"runs/{run}" not in known:
            cell = Cell(config["benchmark"], config["variant"], config["modality"])
            found.append(Found(cell, (), {str(config["seed"]): f"runs/{run}"}))
    return found


def _cell_of(entry: Mapping[str, str]) -> Cell:
    return Cell(entry["benchmark"], entry["variant"], entry["stream"])


def _words_of(entry: Found) -> list[str]:
    """Return the words by which an entry is known."""
    ((seed, address),) = entry.seeds.items()
    last = address.rsplit("/", 1)[-1]
    names = [*entry.cell, *entry.tables, f"seed{seed}", last, last.rsplit("-", 1)[-1]]
    return [_plain(name) for name in names]


def _fit(words: Sequence[str], names: Sequence[str]) -> float:
    """Return the score of a query's words: 2 for each that is a name, 1 for a part of one; 0 if one fits none."""
    scores = [2 if word in names else any(word in name for name in names) for word in words]
    return float(sum(scores)) if all(scores) else 0.0


def _by_cell(entries: Sequence[Found]) -> list[Found]:
    """Return the entries with the seeds of one cell together."""
    merged: dict[Cell, Found] = {}
    for entry in entries:
        before = merged.get(entry.cell, Found(entry.cell, entry.tables, {}))
        merged[entry.cell] = before._replace(seeds={**before.seeds, **entry.seeds})
    return list(merged.values())


def _no_single(query: str, words: Sequence[str], grid: Settings, fitting: Sequence[Found]) -> str:
    if fitting:
        shown = [str(entry.cell) for entry in fitting]
        said = f"fits {len(shown)} cells: {', '.join(shown[:NEAR])}"
        said += ", ..." if len(shown) > NEAR else ""
        return f"{query!r} {said}; say more of one's name"
    everything = _by_cell(_entries(grid))
    near = sorted(everything, key=lambda entry: -_likeness(words, entry))[:NEAR]
    return f"no cell {query!r} in this grid; near it are {', '.join(str(it.cell) for it in near)}"


def _likeness(words: Sequence[str], entry: Found) -> float:
    """Return the likeness of a query and a cell, letter by letter."""
    names = [_plain(name) for name in (*entry.cell, *entry.tables)]
    return sum(max(SequenceMatcher(None, word, name).ratio() for name in names) for word in words)
