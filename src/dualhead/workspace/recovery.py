"""What a Snakemake that was killed leaves behind, found and cleared by the next one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from io import FileIO
from pathlib import Path

from dualhead.locks import try_lock

SECONDS_TO_END = 180.0
"""How long a canceled job may take until it is gone: SLURM's KillWait and some more."""


def hold(folder: Path) -> FileIO | None:
    """Lock a workspace until this process ends, and remove the lock of a Snakemake that was killed.

    Snakemake's own lock, a file, outlives the process; the kernel's does not and tells which it is.

    Args:
        folder: the workspace's `.snakemake`.

    Returns:
        The open file; None if a Snakemake works there, or if the file system knows no locks.
    """
    folder.mkdir(exist_ok=True)
    try:
        held = try_lock(folder / "workspace.lock")
    except OSError:
        return None
    locks = folder / "locks"
    if held and locks.is_dir() and any(locks.iterdir()):
        _tell(f"{locks}: left by a Snakemake that was killed; removed, going on")
        shutil.rmtree(locks)
    return held


def left_jobs(logs: Path) -> list[str]:
    """Return the ids of SLURM's jobs that log into a folder; none where there is no SLURM."""
    if not logs.is_dir() or shutil.which("squeue") is None:
        return []
    command = ["squeue", "--me", "--noheader", "--Format", "JobID:20,StdOut:1000"]
    listed = subprocess.run(command, capture_output=True, text=True)
    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return sorted(job for job, file in rows if Path(file.strip()).is_relative_to(logs))


def cancel_left_jobs(logs: Path) -> None:
    """Cancel this workspace's jobs that nobody waits for any more; trainings save their state.

    Args:
        logs: where the workspace's jobs log, `.snakemake/slurm_logs`.

    Raises:
        ValueError: if they do not end.
    """
    logs = logs.resolve()
    jobs = left_jobs(logs)
    if not jobs:
        return
    _tell(f"SLURM jobs {' '.join(jobs)} of this workspace have lost their Snakemake; canceled")
    subprocess.run(["scancel", *jobs], check=False)
    end = time.monotonic() + SECONDS_TO_END
    while jobs := left_jobs(logs):
        if time.monotonic() > end:
            raise ValueError(f"SLURM jobs {' '.join(jobs)} do not end; see `squeue --me`")
        time.sleep(1)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
