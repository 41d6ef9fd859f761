"""Grids of a workspace: planned from its settings, and frozen for a run and its jobs when it begins."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dualhead.files import digest_of, write_json, write_text
from dualhead.settings.formats import read_grid
from dualhead.settings.grid import parent_paths, resolve
from dualhead.settings.params import Settings, address, read_yaml
from dualhead.workspace.settings import load_workspace

LATEST = "grid.json"
"""The grid of the run that began last, below results."""
ABSENT = "no file "
"""Begin of what stands in the place of a checkpoint's digest where it is not there."""
FROZEN = "grids"
"""The folder of each run's grid, below results: a job on a cluster reads that of the run it belongs to."""
WORKSPACES = "workspaces"
"""The folder, below results that are a link, which names the workspaces that share them."""


def plan(folder: Path, **given: Any) -> Settings:
    """Return the grid that a workspace's params.yaml asks for now, and the settings of its hardware.

    Args:
        folder: the workspace.
        given: settings on top, as `load_workspace` takes them.

    Raises:
        ValueError: if a file is missing, or holds a setting that is refused.
    """
    params = load_workspace(folder, **given)
    return _resolved(params, _known_parents(params, folder))


def look(folder: Path, **given: Any) -> Settings:
    """Return the same for one who only looks: checkpoints that runs begin with need not be there.

    The addresses of such runs are not known then; their `train.from` begins with `ABSENT`.
    """
    params = load_workspace(folder, **given)
    known = _known_parents(params, folder)
    absent = {path: f"{ABSENT}{path}" for path in parent_paths(params) - known.keys()}
    return _resolved(params, absent | known)


def tell_absent(looked_at: Iterable[Settings], folder: Path) -> None:
    """Say on standard error which checkpoints that runs begin with are not there."""
    parents = [grid.get("parents", {}).items() for grid in looked_at]
    paths = {path for found in parents for digest, path in found if digest.startswith(ABSENT)}
    for path in sorted(paths):
        text = "no such file, and runs begin with it (`train.from`): their addresses are not known until it is there"
        print(f"{folder / path}: {text}", file=sys.stderr)


def begins_with_absent(run: Settings) -> bool:
    """Return whether a run of `look` begins with a checkpoint that is not there."""
    return str(run["train"].get("from", "")).startswith(ABSENT)


def _known_parents(params: Settings, folder: Path) -> dict[str, str]:
    """Return path -> digest of the checkpoints that runs may begin with, as far as it is known."""
    digests = {path: _digest(folder / path) for path in sorted(parent_paths(params))}
    return {path: digest for path, digest in digests.items() if digest}


def _resolved(params: Settings, parents: Mapping[str, str]) -> Settings:
    return resolve({**params, "parents": parents}) | {"hardware": params["hardware"]}


def _digest(checkpoint: Path) -> str | None:
    """Return a checkpoint's digest; of one that is absent what NAME.sha256 beside it states, None if nothing does.

    Runs that began with it and are kept with a workspace keep their addresses so, without its weights.
    """
    if checkpoint.is_file():
        if digest := digest_of(checkpoint):
            return digest
        raise ValueError(
            f"{checkpoint}: damaged: expected its seal at its end, found it elsewhere; restore it from a copy"
        )
    stated = checkpoint.with_name(f"{checkpoint.name}.sha256")
    if not stated.is_file():
        return None
    digest, *_ = [*stated.read_text("utf-8", errors="replace").split(), ""]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{stated}: expected a SHA-256 of 64 digits; found {digest[:80]!r}")
    return digest


def frozen_path(grid: Settings, results: Path) -> Path:
    """Return the path of a grid for the jobs of a run: another grid, another file."""
    return results / FROZEN / f"{address(grid)}.json"


def freeze(grid: Settings, results: Path) -> None:
    """Write a grid for the jobs of the run that begins, and as the latest for people who look."""
    path = frozen_path(grid, results)
    if not _is_frozen(path):
        write_json(path, grid)
    write_json(results / LATEST, {**grid, "address": address(grid)})


def _is_frozen(path: Path) -> bool:
    """Return whether a frozen grid is there and whole; a power loss may leave an empty one."""
    with suppress(ValueError):
        return bool(read_grid(path))
    return False


def latest(results: Path, folder: Path) -> Settings:
    """Return the grid of the run that began last, or, before any, the one that params.yaml asks for."""
    path = results / LATEST
    return read_grid(path) if path.is_file() else plan(folder)


def note_workspace(folder: Path, results: Path) -> None:
    """Note who works on results that are a link, for `gc` in another workspace that shares them."""
    if results.is_symlink():
        place = str(folder.resolve())
        write_text(results / WORKSPACES / f"{address({'workspace': place})}.txt", place)


def sharing(folder: Path, results: Path) -> list[Path]:
    """Return the other workspaces that work on the same results, as far as they are still there."""
    notes = sorted((results / WORKSPACES).glob("*.txt"))
    known = {results.resolve().parent, *(Path(it.read_text("utf-8").strip()) for it in notes)}
    return sorted(
        place
        for place in known - {folder.resolve()}
        if (place / "params.yaml").is_file() and (place / "results").resolve() == results.resolve()
    )


def asked_for(folder: Path) -> dict[str, Settings]:
    """Return name -> grid of params.yaml, and of each params.*.yaml beside it on top of it, as `look` does.

    Raises:
        ValueError: if one of them cannot be resolved: what it asks for is not known then.
    """
    found = {"params.yaml": look(folder)}
    for path in sorted(folder.glob("params.*.yaml")):
        replaces = "extends" in read_yaml(path)
        found[path.name] = look(folder, configfiles=[path], replace=replaces)
    return found
