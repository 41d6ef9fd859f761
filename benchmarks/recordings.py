"""Recordings as NTU RGB+D has them: a fifth with two people, 40 to 130 frames."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.processes import Finished, run
from dualhead.data.synthesize.generate import synthesize
from dualhead.settings import checks, params
from dualhead.settings.params import Settings

CLASSES, SUBJECTS, CAMERAS = 10, 8, 2  # two of the ten classes are done by two people
FRAMES = (40, 130)


def paper_settings() -> Settings:
    """Return the paper's complete settings."""
    return checks.load(params.packaged_params())


def write_recordings(folder: Path) -> list[Path]:
    """Write recordings that all differ, of all classes; return their files, mixed."""
    synthesize(
        folder,
        classes=CLASSES,
        subjects=SUBJECTS,
        cameras=CAMERAS,
        setups=1,
        repetitions=1,
        frames=FRAMES,
        seed=1,
    )
    return sorted(folder.glob("*.skeleton"), key=lambda path: path.stem[4:16] + path.stem[16:])


def write_dataset(folder: Path, files: list[Path], count: int) -> Path:
    """Make a dataset of any size out of few recordings: links, with other setup numbers."""
    folder.mkdir()
    for number in range(count):
        file = files[number % len(files)]
        os.link(file, folder / f"S{1 + number // len(files):03d}{file.name[4:]}")
    return folder


def prepare_store(raw: Path, store: Path, *, workers: int, watched: bool = False) -> Finished:
    """Run `dualhead prepare`."""
    options = ("--dataset", "synthetic", "--raw", raw, "--output", store, "--workers", str(workers))
    return run([sys.executable, "-m", "dualhead.cli.main", "prepare", *options], watched=watched)
