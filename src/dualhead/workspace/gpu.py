"""The GPU a process computes on: one that no other process of ours holds."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from dualhead.locks import lock_one

LOCKS = Path(tempfile.gettempdir()) / "dualhead-locks"
DEVICES = Path("/dev")
EVERYONE = 0o666
"""Permissions of a lock file, whatever the umask: the next user's process must see that it is held."""
DEVICE_NAME = re.compile(r"\d.*|GPU-.*|MIG-.*")
"""Form of a device in CUDA_VISIBLE_DEVICES; not `-1`, nor SLURM's `NoDevFiles` for a job without GPUs."""


def visible_gpus(environment: Mapping[str, str], devices: Path = DEVICES) -> list[str]:
    """Return the name of each GPU that CUDA numbers from 0, without loading torch.

    CUDA_VISIBLE_DEVICES, which SLURM or a user sets, names them; else all of the machine's count. As in CUDA, an entry
    that is no device hides those behind it, and of several MIG instances only the first is visible.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(number) for number in range(len(list(devices.glob("nvidia[0-9]*"))))]
    names = list(takewhile(DEVICE_NAME.fullmatch, (name.strip() for name in chosen.split(","))))
    return names[:1] if names and names[0].startswith("MIG-") else names


@contextmanager
def claim(
    device: str,
    environment: Mapping[str, str],
    *,
    trainings_per_gpu: int,
    locks: Path = LOCKS,
    devices: Path = DEVICES,
) -> Iterator[str]:
    """Yield the device to compute on, and hold it: `auto:1` if GPU 0 is taken and GPU 1 is not.

    Waits while all are taken. A GPU is free again when the block ends or the process dies. SLURM's
    job is part of a lock's name, for inside a job's bounds each job's first GPU may be number 0.

    Args:
        device: `auto` or `cuda`, which leave the choice to us; any other is yielded as it is.
        environment: variables; CUDA_VISIBLE_DEVICES and SLURM_JOB_ID count.
        trainings_per_gpu: number of trainings that may share a GPU.
        locks: the machine's folder for lock files, which all its users share.
        devices: the machine's folder of devices.

    Raises:
        OSError: if the folder or its files cannot be used.
    """
    names = visible_gpus(environment, devices) if device in ("auto", "cuda") else []
    if not names:
        yield device
        return
    _make_shared(locks)
    scope = environment.get("SLURM_JOB_ID", "machine")
    paths = [
        locks / f"{_file_name(scope)}-gpu-{_file_name(name)}-{place}.lock"
        for place in range(trainings_per_gpu)
        for name in names
    ]
    waiting_for = f"a GPU: {len(names)} are there, and taken"
    with lock_one(paths, waiting_for, mode=EVERYONE) as position:
        yield f"{device}:{position % len(names)}"


def _file_name(name: str) -> str:
    """Return a device's name without what a file's may not have: MIG-GPU-8932f937/1/2 has slashes."""
    return re.sub(r"[^\w.-]", "-", name)


def _make_shared(folder: Path) -> None:
    """Make a folder in which every user may make files, and remove only their own."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)
