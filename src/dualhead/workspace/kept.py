"""Runs kept with a workspace: trained elsewhere, committed without their weights, and taken as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dualhead.files import digest_of

FOLDER: Final = "published"
"""Beside a workspace's params.yaml; it holds runs at the same addresses as results/runs."""


def kept_runs(workspace: Path, runs: Iterable[str]) -> list[str]:
    """Return those of some runs that are kept with a workspace, sorted."""
    return sorted(run for run in runs if (workspace / FOLDER / run / "metrics.json").is_file())


def is_kept(results: Path, run: str) -> bool:
    """Return whether the run in a workspace's results is the one that is kept with it."""
    here = results / "runs" / run / "metrics.json"
    kept = results.parent / FOLDER / run / "metrics.json"
    return here.is_file() and kept.is_file() and digest_of(here) == digest_of(kept)
