"""Records of what each table, figure and the report was made from.

They decide whether it is made again; times never do. Light to import: the rules of the workflow ask whenever they plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import dualhead
from dualhead.files import digest_of, write_json
from dualhead.settings.params import Settings, address
from dualhead.workspace.kept import is_kept

READS = {
    "table": ("metrics.json",),
    "summary": ("metrics.json", "history.csv"),
    "figure": ("metrics.json", "history.csv", "classes.csv"),
    "report": ("metrics.json", "history.csv", "classes.csv"),
    "explorer": ("metrics.json",),
}
"""Kind of product -> the small files of a result that stand for it; metrics.json vouches for the scores."""
PLACES = {
    **{"table": "tables", "summary": "tables", "figure": "figures"},
    **dict.fromkeys(("report", "explorer"), "../reports"),
}
"""Kind of product -> where it lies, from the results."""
CODE = ("report", "runs/metrics.py", "runs/scores.py")
"""Parts of the package that decide how a product looks."""
SOURCES = (".py", ".html", ".css", ".js")
KEPT = ("protocol", "recipe", "seeds", "figures", "datasets", "benchmarks")


def results_of(grid: Settings, table: str) -> list[str]:
    """Return the addresses of the runs and ensembles whose numbers stand in one table, sorted."""
    cells = [cell for cell in grid["cells"] if cell["table"] == table]
    return sorted({result for cell in cells for result in cell["seeds"].values()})


def part_of(grid: Settings, table: str) -> Settings:
    """Return the part of a grid that one table is made from: its cells and their results, and no other table's."""
    if table not in grid["tables"]:
        raise ValueError(f"table {table!r}: not in params.yaml, which has {sorted(grid['tables'])}")
    cells = [cell for cell in grid["cells"] if cell["table"] == table]
    wanted = results_of(grid, table)
    ensembles = {k: v for k, v in grid["ensembles"].items() if f"ensembles/{k}" in wanted}
    runs = {result.removeprefix("runs/") for result in wanted if result.startswith("runs/")}
    runs |= {run for entry in ensembles.values() for run in entry["members"].values()}
    part = {key: grid[key] for key in KEPT}
    part |= {"tables": {table: grid["tables"][table]}, "cells": cells, "ensembles": ensembles}
    for key in ("runs", "fusion"):
        part[key] = {run: value for run, value in grid[key].items() if run in runs}
    return part


def ingredients(
    kind: str, name: str, grid: Settings, results: Path, files: Iterable[Path] = ()
) -> Settings:
    """Return digests of all that a product is made from.

    Args:
        kind: a key of `READS`.
        name: name of the table or figure; empty for the others.
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        files: other files that it reads: published numbers, template and the like.
    """
    part = part_of(grid, name) if kind == "table" else _part(grid, kind)
    found = [f"runs/{run}" for run in part["runs"]]
    found += [f"ensembles/{ensemble}" for ensemble in part["ensembles"]]
    return {
        "product": f"{kind} {name}".strip(),
        "grid": address(part),
        "results": {result: _result(results / result, READS[kind]) for result in sorted(found)},
        "files": {path.name: _digest(path) for path in files},
        "kept": [run for run in part["runs"] if kind == "report" and is_kept(results, run)],
        "code": _code(),
    }


def _part(grid: Settings, kind: str) -> Settings:
    """Return the part of a grid that all else is made from; only the report shows how the tables are set."""
    unread = {"hardware", *(() if kind == "report" else ("tables",))}
    return {key: value for key, value in grid.items() if key not in unread}


def _result(folder: Path, names: Sequence[str]) -> str:
    """Return one digest of a result's small files; empty if it has not been made."""
    digests = [_digest(folder / name) for name in names]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest() if digests[0] else ""


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; empty if there is none."""
    return digest_of(path) if path.is_file() else ""


@cache
def _code() -> str:
    """Return one digest of the code that decides how products look."""
    package = Path(str(dualhead.__file__)).parent
    files = [file for name in CODE for file in _sources(package / name)]
    return hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()


def _sources(path: Path) -> list[Path]:
    """Return the files of a part of the package: its Python, and the parts of the page of recordings."""
    if not path.is_dir():
        return [path]
    return sorted(it for it in path.rglob("*") if it.suffix in SOURCES)


def write_record(path: Path, made_from: Settings, products: Iterable[Path]) -> None:
    """Write the digests of products and of their ingredients, once they are made."""
    digests = {product.name: _digest(product) for product in products}
    write_json(path, {"made_from": made_from, "products": digests})


def is_current(path: Path, made_from: Settings, products: Iterable[Path]) -> bool:
    """Return whether the record at `path` says that just these products were made from just that."""
    try:
        record: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    digests = {product.name: _digest(product) for product in products}
    return record == {"made_from": made_from, "products": digests}


def damaged_products(results: Path) -> list[str]:
    """Return a line for each table, figure and report that is not what its record says was made."""
    found = []
    for record in sorted((results / "made").glob("*/*.json")):
        try:
            digests = json.loads(record.read_text(encoding="utf-8"))["products"]
        except (OSError, ValueError, KeyError, TypeError):
            found.append(f"{record}: damaged; run snakemake again")
            continue
        for path, digest in (
            (results / PLACES[record.parent.name] / it, digests[it]) for it in digests
        ):
            if _digest(path) != digest:
                found.append(f"{path}: gone, or not as it was made; run snakemake again")
    return found
