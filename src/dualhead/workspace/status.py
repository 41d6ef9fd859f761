"""What is done, running, waiting, and what nothing asks for any more."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dualhead.params import Settings
from dualhead.progress import terminal

QUIET_SECONDS = 900.0
"""A training that has written nothing for so long is no longer running."""


class RunStatus(NamedTuple):
    """How far one run is; what its log does not tell is empty."""

    state: str  # done | trained | running | stopped | waiting
    epoch: str = ""  # `3 of 80`
    loss: str = ""
    left: str = ""  # hours:minutes:seconds until the last epoch is done, if it goes on as it does
    words: str = ""  # the last line of the log, if it tells none of these


def run_status(run: str, results: Path) -> RunStatus:
    """Return how far a run is, by the files it has, their age and its log."""
    folder, log = results / "runs" / run, results / "logs/train" / f"{run}.log"
    if (folder / "metrics.json").exists():
        return RunStatus("done")
    if (folder / "checkpoint.pt").exists():
        return RunStatus("trained")
    written = [path.stat().st_mtime for path in (log, folder / "state.pt") if path.exists()]
    if not written:
        return RunStatus("waiting")
    if time.time() - max(written) < QUIET_SECONDS:
        return read_log(log, "running")
    return read_log(log, "stopped")._replace(left="")


PATTERNS = {
    "epoch": re.compile(r"^epoch (\d+/\d+)"),
    "loss": re.compile(r"\bloss (\S+?),?(?:\s|$)"),
    "left": re.compile(r"(?:all epochs: |\s)(\d+:\d\d(?::\d\d)?)(?: left)?$"),
}
"""What training's lines tell: one at the end of an epoch, others within it."""


def read_log(log: Path, state: str) -> RunStatus:
    """Return what the last line that tells of an epoch says, and the last line if it is another."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    told = next((line for line in reversed(lines) if PATTERNS["epoch"].search(line)), "")
    found = {key: match[1] for key, it in PATTERNS.items() if (match := it.search(told))}
    last = lines[-1] if lines else ""
    epoch = found.get("epoch", "").replace("/", " of ")
    words = "" if last == told else last
    return RunStatus(state, epoch, found.get("loss", ""), found.get("left", ""), words)


STYLES = {
    "done": "green",
    "trained": "green",
    "running": "yellow",
    "stopped": "red",
    "waiting": "dim",
}


def show_status(grid: Settings, results: Path, console: Console | None = None) -> None:
    """Print the state of each run, and how many runs and ensembles are in which."""
    status = {run: run_status(run, results) for run in grid["runs"]}
    console = console or terminal()
    console.print(_status_table(grid, results, status))
    states = [it.state for it in status.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    made = sum((results / "ensembles" / it / "metrics.json").exists() for it in grid["ensembles"])
    summary = f"\nruns: {counts}; ensembles: {made} of {len(grid['ensembles'])} done"
    console.print(summary, highlight=False)


def _status_table(grid: Settings, results: Path, status: Mapping[str, RunStatus]) -> Table:
    """Return a row a run; a column that nothing stands in is left out."""
    columns = {
        "state": [f"[{STYLES[it.state]}]{it.state}[/]" for it in status.values()],
        "epoch": [it.epoch for it in status.values()],
        "loss": [it.loss for it in status.values()],
        "time left": [it.left for it in status.values()],
        "top-1": [
            _top1(grid, results, run) if it.state == "done" else "" for run, it in status.items()
        ],
        "last words": [escape(it.words) for it in status.values()],
    }
    filled = {name: texts for name, texts in columns.items() if any(texts)}
    table = Table(title=None, box=None)
    table.add_column("run", overflow="fold")
    for name in filled:
        is_text = name in ("state", "last words")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    for row in zip(status, *filled.values(), strict=True):
        table.add_row(*row)
    return table


def _top1(grid: Settings, results: Path, run: str) -> str:
    """Return a finished run's accuracy at the last epoch; nothing if its file is damaged."""
    path = results / "runs" / run / "metrics.json"
    try:
        fused = json.loads(path.read_text(encoding="utf-8"))["last"]["fusion"]
        return f"{fused[grid['fusion'][run]]['top1']:.2f}"
    except (json.JSONDecodeError, KeyError):
        return "?"


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
