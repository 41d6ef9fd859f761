"""Options of commands that ask a network: checkpoints, recordings, their windows, and where it computes."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from dualhead.cli.options import COUNT
from dualhead.settings import defaults

if TYPE_CHECKING:
    from dualhead.runs.recordings import Windows

CHECKPOINT_ENDINGS = (".pt", ".pth", ".ckpt")


def part_checkpoints(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the checkpoints among paths, told by their endings, and the others."""
    checkpoints = [path for path in paths if path.suffix in CHECKPOINT_ENDINGS]
    return checkpoints, [path for path in paths if path not in checkpoints]


def add_windows(command: argparse.ArgumentParser, text: str) -> None:
    """Add the options `--window`, whose help is `text`, and `--stride`."""
    command.add_argument("--window", type=COUNT, help=text)
    text = "frames between windows (default: half of one)"
    command.add_argument("--stride", type=COUNT, help=text)


def windows_of(options: argparse.Namespace) -> Windows:
    """Return the windows that the options ask for; of length 0 where they ask for none."""
    from dualhead.runs.recordings import Windows

    if options.stride and not options.window:
        raise ValueError("--stride: expected --window with it, found none; say both")
    length = options.window or 0
    return Windows(length, options.stride or length // 2 or 1)


def add_split(command: argparse.ArgumentParser) -> None:
    """Add the option `--split`, of a store's recordings."""
    text = "take the test recordings of this split of a store (default: all)"
    command.add_argument("--split", default="", help=text)


def add_compute(command: argparse.ArgumentParser) -> None:
    """Add the options that say where a network computes."""
    choices = defaults.DEVICES
    command.add_argument(
        "--device", choices=choices, default="auto", help="auto takes a GPU where there is one"
    )
    command.add_argument("--threads", type=COUNT, help="CPU threads (default: torch's own)")
    text = "how many of our processes may share a GPU (default: 1)"
    command.add_argument("--trainings-per-gpu", type=COUNT, default=1, help=text)


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the caller chose otherwise.

    GNU OpenMP lets them spin, at each of the thousands of barriers of a training step; beside
    another busy process they then take the cores from the thread that they wait for. OpenMP reads
    this when torch is imported, and processes that share a training inherit it.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def claimed_device(options: argparse.Namespace) -> AbstractContextManager[str]:
    """Return a context that holds the device that the options ask for."""
    from dualhead.workspace.gpu import claim

    shared = options.trainings_per_gpu
    return claim(options.device, os.environ, trainings_per_gpu=shared)
