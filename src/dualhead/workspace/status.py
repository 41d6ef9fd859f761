"""`dualhead status`: the state of every run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dualhead.progress import terminal
from dualhead.settings.params import Settings

QUIET_SECONDS = 900.0
"""A training that has written nothing for so long is no longer running."""


class RunStatus(NamedTuple):
    """Progress of one run; a field that its log does not tell is empty."""

    state: str  # done | trained | running | stopped | waiting
    epoch: str = ""  # `3 of 80`
    loss: str = ""
    left: str = ""  # hours:minutes:seconds until the last epoch is done, if it goes on as it does
    words: str = ""  # the last line of the log, if it tells none of these


def run_status(run: str, results: Path) -> RunStatus:
    """Return the progress of a run, by the files it has, their age and its log."""
    folder, log = results / "runs" / run, results / "logs/train" / f"{run}.log"
    if (folder / "metrics.json").exists():
        return RunStatus("done")
    if (folder / "checkpoint.pt").exists():
        return RunStatus("trained")
    begun = [path.stat() for path in (log, folder / "state.pt") if path.exists()]
    written = [state.st_mtime for state in begun if state.st_size]  # `--touch` makes empty logs
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
"""Forms of training's lines: one at the end of an epoch, others within it."""


def read_log(log: Path, state: str) -> RunStatus:
    """Return the content of a log's last line on an epoch, and the last line if it is another."""
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


def status_of(grid: Settings, results: Path) -> Settings:
    """Return the state of each run, with its accuracy if it is done, and whether each ensemble is done."""
    runs = {}
    for run in grid["runs"]:
        status = run_status(run, results)
        accuracy = {"top1": _top1(grid, results, run)} if status.state == "done" else {}
        runs[run] = status._asdict() | accuracy
    ensembles = {it: _is_made(it, results) for it in grid["ensembles"]}
    return {"runs": runs, "ensembles": ensembles}


def _is_made(ensemble: str, results: Path) -> bool:
    return (results / "ensembles" / ensemble / "metrics.json").exists()


def show_status(grid: Settings, results: Path, console: Console | None = None) -> None:
    """Print the state of each run, and how many runs and ensembles are in which."""
    status = {run: run_status(run, results) for run in grid["runs"]}
    console = console or terminal()
    console.print(_status_table(grid, results, status))
    states = [it.state for it in status.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    made = sum(_is_made(it, results) for it in grid["ensembles"])
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
            _top1_text(grid, results, run) if it.state == "done" else ""
            for run, it in status.items()
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


def _top1_text(grid: Settings, results: Path, run: str) -> str:
    accuracy = _top1(grid, results, run)
    return "?" if accuracy is None else f"{accuracy:.2f}"


def _top1(grid: Settings, results: Path, run: str) -> float | None:
    """Return a finished run's accuracy at the last epoch, in percent; None if its file is damaged."""
    path = results / "runs" / run / "metrics.json"
    try:
        fused = json.loads(path.read_text(encoding="utf-8"))["last"]["fusion"]
        return float(fused[grid["fusion"][run]]["top1"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
