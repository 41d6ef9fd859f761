"""Facts about the program and the machine that a training ran on."""

from __future__ import annotations

import platform
import resource
import subprocess
from pathlib import Path

import numpy as np
import torch


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def git_commit() -> str:
    """Return the commit of the code, marked if it was changed since; empty outside a repository."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
