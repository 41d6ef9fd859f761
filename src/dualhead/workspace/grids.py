"""Grids of a workspace: planned from its settings, and frozen for a run and its jobs when it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualhead.files import digest_of, write_json
from dualhead.settings.formats import read_grid
from dualhead.settings.grid import parent_paths, resolve
from dualhead.settings.params import Settings, address, read_yaml
from dualhead.workspace.settings import load_workspace

LATEST = "grid.json"
"""The grid of the run that began last, below results."""
FROZEN = "grids"
"""The folder of each run's grid, below results: a job on a cluster reads that of the run it belongs to."""


def plan(folder: Path, **given: Any) -> Settings:
    """Return the grid that a workspace's params.yaml asks for now, and the settings of its hardware.

    Args:
        folder: the workspace.
        given: settings on top, as `load_workspace` takes them.

    Raises:
        ValueError: if a file is missing, or holds a setting that is refused.
    """
    params = load_workspace(folder, **given)
    parents = {path: folder / path for path in sorted(parent_paths(params))}
    found = {path: digest_of(file) for path, file in parents.items() if file.is_file()}
    return resolve({**params, "parents": found}) | {"hardware": params["hardware"]}


def frozen_path(grid: Settings, results: Path) -> Path:
    """Return where a grid lies for the jobs of a run: another grid, another file."""
    return results / FROZEN / f"{address(grid)}.json"


def freeze(grid: Settings, results: Path) -> None:
    """Write a grid for the jobs of the run that begins, and as the latest for people who look."""
    path = frozen_path(grid, results)
    if not path.is_file():
        write_json(path, grid)
    write_json(results / LATEST, {**grid, "address": address(grid)})


def latest(results: Path, folder: Path) -> Settings:
    """Return the grid of the run that began last, or, before any, the one that params.yaml asks for."""
    path = results / LATEST
    return read_grid(path) if path.is_file() else plan(folder)


def asked_for(folder: Path) -> dict[str, Settings]:
    """Return name -> grid of params.yaml, and of each params.*.yaml beside it on top of it.

    Raises:
        ValueError: if one of them cannot be resolved: what it asks for is not known then.
    """
    found = {"params.yaml": plan(folder)}
    for path in sorted(folder.glob("params.*.yaml")):
        replaces = "extends" in read_yaml(path)
        found[path.name] = plan(folder, configfiles=[path], replace=replaces)
    return found
