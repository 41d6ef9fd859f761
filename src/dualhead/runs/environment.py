"""Facts about the program and the machine that a training ran on."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

PACKAGE = Path(__file__).resolve().parents[1]


def device_name(device: torch.device, count: int) -> str:
    """Return the name of `count` devices: a GPU's model, or the CPU's number of threads."""
    on_gpu = device.type == "cuda"
    cpu = f"CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if on_gpu else cpu
    return name if count == 1 else f"{count} x {name}"


def peak_memory(device: torch.device) -> float:
    """Return the most memory this process has held, in megabytes: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def git_commit(package: Path = PACKAGE) -> str:
    """Return the commit of the package, marked `-dirty` if the package was changed since.

    Args:
        package: the folder of the code. Empty is returned if no repository tracks it, as where it
            is installed into an environment inside some other repository.
    """
    if not _git(package, "ls-files", "--", "."):
        return ""
    commit = _git(package, "describe", "--always", "--abbrev=12")
    return f"{commit}-dirty" if _git(package, "status", "--porcelain", "--", ".") else commit


def _git(folder: Path, *arguments: str) -> str:
    """Return git's answer in a folder, ignoring GIT_* variables; empty if git fails."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions of the software that a result depends on."""
    try:
        own = {"dualhead": metadata.version("dualhead")}
    except metadata.PackageNotFoundError:  # it runs from its sources
        own = {}
    return {
        **own,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
