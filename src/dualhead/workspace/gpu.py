"""Which GPU a process computes on: one that no other process of ours holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dualhead.locks import lock_one

LOCKS = Path(tempfile.gettempdir())
DEVICES = Path("/dev")


def visible_gpus(environment: Mapping[str, str], devices: Path = DEVICES) -> list[str]:
    """Return the name of each GPU that CUDA numbers from 0, without loading torch.

    CUDA_VISIBLE_DEVICES, which SLURM or a user sets, names them; else all of the machine's count.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(number) for number in range(len(list(devices.glob("nvidia[0-9]*"))))]
    names = [name.strip() for name in chosen.split(",")]
    invalid = [number for number, name in enumerate(names) if name in ("", "-1")]
    return names[: invalid[0]] if invalid else names  # as CUDA does


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
        trainings_per_gpu: how many may share one.
        locks: the machine's folder for lock files.
        devices: the machine's folder of devices.
    """
    names = visible_gpus(environment, devices) if device in ("auto", "cuda") else []
    if not names:
        yield device
        return
    scope = environment.get("SLURM_JOB_ID", "machine")
    paths = [
        locks / f"dualhead-{scope}-gpu-{name}-{place}.lock"
        for place in range(trainings_per_gpu)
        for name in names
    ]
    with lock_one(paths, f"a GPU: {len(names)} are there, and taken") as position:
        yield f"{device}:{position % len(names)}"
