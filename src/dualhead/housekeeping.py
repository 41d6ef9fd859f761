"""What is done, running, waiting, and what nothing asks for any more."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dualhead.params import Settings

QUIET_SECONDS = 900.0
"""A training that has written nothing for so long is no longer running."""


class RunStatus(NamedTuple):
    """How far one run is."""

    state: str  # done | trained | running | stopped | waiting
    line: str  # the last one of its log, if it is neither done nor waiting


def run_status(run: str, results: Path) -> RunStatus:
    """Return how far a run is, by the files it has and the age of its log."""
    folder, log = results / "runs" / run, results / "logs/train" / f"{run}.log"
    if (folder / "metrics.json").exists():
        return RunStatus("done", "")
    if (folder / "checkpoint.pt").exists():
        return RunStatus("trained", "")
    written = [path.stat().st_mtime for path in (log, folder / "state.pt") if path.exists()]
    if written and time.time() - max(written) < QUIET_SECONDS:
        return RunStatus("running", _last_line(log))
    return RunStatus("stopped" if written else "waiting", _last_line(log))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


STYLES = {
    "done": "green",
    "trained": "green",
    "running": "yellow",
    "stopped": "red",
    "waiting": "dim",
}


def show_status(grid: Settings, results: Path) -> None:
    """Print each run that is not done with its last words, and how many are in which state."""
    status = {run: run_status(run, results) for run in grid["runs"]}
    table = Table("run", "state", "last line of its log", title=None, box=None)
    for run, (state, line) in status.items():
        table.add_row(run, f"[{STYLES[state]}]{state}[/]", line)
    console = Console()
    console.print(table)
    states = [state for state, _ in status.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    made = sum((results / "ensembles" / it / "metrics.json").exists() for it in grid["ensembles"])
    console.print(f"\nruns: {counts}; ensembles: {made} of {len(grid['ensembles'])} done")


def unwanted(grid: Settings, results: Path) -> list[Path]:
    """Return the runs, ensembles and stores in `results` that the grid does not ask for."""
    runs = _not_in(grid["runs"], results / "runs", "*/*/*/seed*-*")
    ensembles = _not_in(grid["ensembles"], results / "ensembles", "*/*/*/seed*-*")
    stores = {name for store in grid["stores"] for name in (f"{store}.h5", f"{store}.dropped.csv")}
    return [*runs, *ensembles, *_not_in(stores, results / "store", "*-*.*")]


def _not_in(wanted: Iterable[str], folder: Path, pattern: str) -> list[Path]:
    kept = set(wanted)
    found = sorted(folder.glob(pattern))
    return [path for path in found if path.relative_to(folder).as_posix() not in kept]


def collect_garbage(grid: Settings, results: Path, *, remove: bool) -> None:
    """Print what the grid does not ask for, with its size, and remove it if told to."""
    paths = unwanted(grid, results)
    for path in paths:
        print(f"{'removed' if remove else 'unwanted'} {_size(path) / 1e6:9.1f} MB  {path}")
    total = sum(map(_size, paths)) / 1e6
    if remove:
        for path in paths:
            _remove(path, results)
    advice = "" if remove or not paths else "; --remove deletes them"
    print(f"{len(paths)} that params.yaml does not ask for, {total:.1f} MB{advice}")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _remove(path: Path, results: Path) -> None:
    """Remove a run's folder, or a file, and the folders above that are then empty."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    for parent in path.parents:
        if parent == results or any(parent.iterdir()):
            return
        parent.rmdir()
