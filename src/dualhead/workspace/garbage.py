"""`dualhead gc`: results that no params file asks for, moved to a trash folder before anything is deleted."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dualhead.files import size_of
from dualhead.settings.formats import read_grid
from dualhead.settings.params import Settings
from dualhead.workspace import grids, recovery

TRASH = "trash"
RESULT = "*/*/*/seed*-*"
UNFINISHED = ("state.pt", ".state.pt.partial", ".checkpoint.pt.partial")
"""Files that a training leaves until it is finished."""


def collect(folder: Path, results: Path, *, remove: bool) -> None:
    """Print what no params file of a workspace asks for, with its size and GPU-hours; move it to the trash if told to.

    What is asked for is resolved from params.yaml, from each params.*.yaml beside it, from those of other workspaces
    that share these results by a link, and, while a Snakemake works here, from the grid of its run. A training that was
    begun is kept.

    Args:
        folder: the workspace.
        results: its results.
        remove: whether it is moved.

    Raises:
        ValueError: if a params file cannot be resolved: nothing is touched then.
    """
    asked = grids.asked_for(folder)
    for other in grids.sharing(folder, results):
        asked |= {f"{other / name}": grid for name, grid in grids.asked_for(other).items()}
    grids.tell_absent(asked.values(), folder)
    if recovery.is_at_work(folder / ".snakemake") and (results / grids.LATEST).is_file():
        asked["the run at work"] = read_grid(results / grids.LATEST)
    found = unwanted(asked.values(), results)
    begun = [path for path in found if any((path / name).exists() for name in UNFINISHED)]
    for path in begun:
        print(f"kept     {_described(path)}: begun, not finished; delete it yourself if it may go")
    paths = [path for path in found if path not in begun]
    total = (
        f"{sum(map(size_of, paths)) / 1e6:.1f} MB, {sum(map(hours, paths)):.2f} hours of training"
    )
    trash = results / TRASH / time.strftime("%Y-%m-%d-%H%M%S")
    for path in paths:
        line = f"{'moved   ' if remove else 'unwanted'} {_described(path)}"
        if remove:
            _move(path, results, trash)
        print(line)
    advice = "; --remove moves them to the trash" if paths and not remove else ""
    advice = (
        f"; they lie in {trash}, and go for good with --empty-trash" if paths and remove else advice
    )
    print(f"{len(paths)} that nothing in {', '.join(asked)} asks for, {total}{advice}")


def unwanted(asked: Iterable[Settings], results: Path) -> list[Path]:
    """Return the runs, ensembles, stores and frozen grids in `results` that none of these grids asks for."""
    wanted = list(asked)
    stores = {
        name
        for grid in wanted
        for store in grid["stores"]
        for name in (f"{store}.h5", f"{store}.dropped.csv")
    }
    runs = {run for grid in wanted for run in grid["runs"]}
    ensembles = {ensemble for grid in wanted for ensemble in grid["ensembles"]}
    frozen = {grids.frozen_path(grid, results).name for grid in wanted}
    with suppress(ValueError):
        frozen.add(grids.frozen_path(read_grid(results / grids.LATEST), results).name)
    return [
        *_not_in(runs | _of_absent(wanted, results, "runs"), results / "runs", RESULT),
        *_not_in(
            ensembles | _of_absent(wanted, results, "ensembles"), results / "ensembles", RESULT
        ),
        *_not_in(stores, results / "store", "*-*.*"),
        *_not_in(frozen, results / grids.FROZEN, "*.json"),
    ]


def _of_absent(wanted: Iterable[Settings], results: Path, kind: str) -> set[str]:
    """Return the results that may be asked for: an absent checkpoint, with which they begin, decides their address."""
    named = set()
    for grid in wanted:
        runs = {run for run, it in grid["runs"].items() if grids.begins_with_absent(it)}
        made = {name: set(it["members"].values()) for name, it in grid["ensembles"].items()}
        named |= runs if kind == "runs" else {name for name in made if made[name] & runs}
    seeds = {name.rpartition("-")[0] for name in named}
    found = (path.relative_to(results / kind).as_posix() for path in (results / kind).glob(RESULT))
    return {name for name in found if name.rpartition("-")[0] in seeds}


def _not_in(wanted: set[str], folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    return [path for path in found if path.relative_to(folder).as_posix() not in wanted]


def hours(path: Path) -> float:
    """Return the hours that a run was trained; 0 for what is no run, or does not say."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        return float(metrics["train_seconds"]) / 3600
    with (
        suppress(OSError, ValueError, KeyError, TypeError),
        (path / "history.csv").open(encoding="utf-8", newline="") as rows,
    ):
        return sum(float(row["seconds"]) for row in csv.DictReader(rows)) / 3600
    return 0.0


def _described(path: Path) -> str:
    trained = f"{hours(path):8.2f} h" if hours(path) else " " * 10
    return f"{size_of(path) / 1e6:9.1f} MB {trained}  {path}"


def _move(path: Path, results: Path, trash: Path) -> None:
    """Move a run's folder, or a file, to the same place below the trash; folders that are then empty go.

    Runs may lie on another disk, behind a link: they are copied whole before they are removed there.
    """
    target = trash / path.relative_to(results)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    for parent in path.parents:
        if parent == results or any(parent.iterdir()):
            return
        parent.rmdir()


def empty_trash(results: Path) -> None:
    """Delete for good what was moved to the trash."""
    trash = results / TRASH
    size, trained = 0, 0.0
    if trash.is_dir():
        size = size_of(trash)
        trained = sum(map(hours, trash.glob(f"*/runs/{RESULT}")))
        shutil.rmtree(trash)
    print(f"{trash}: {size / 1e6:.1f} MB deleted, {trained:.2f} hours of training")
