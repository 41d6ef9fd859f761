"""Snakemakes at work in a workspace, and what one that was killed leaves behind: locks and SLURM jobs.

Snakemake's own locks are files that outlive it. Each Snakemake of ours notes beside them which are its own and who it
is: host, process, start. They are removed only when that process is known to be gone, so never by another machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dualhead.files import write_json
from dualhead.locks import Owner, is_gone, this_process

SECONDS_TO_END = 180.0
"""Seconds that a canceled job may take until it is gone: SLURM's KillWait and some more."""
Locks = Mapping[str, list[int]]
"""Name of each of Snakemake's lock files -> inode and time, which a later file of that name does not have."""


class Note(NamedTuple):
    """A Snakemake at work: its process and the locks it holds."""

    owner: Owner
    locks: Locks


def locks_in(folder: Path) -> Locks:
    """Return the lock files that a workspace's `.snakemake` holds."""
    found = {}
    with suppress(FileNotFoundError, PermissionError):
        for path in (folder / "locks").iterdir():
            state = path.stat()
            found[path.name] = [state.st_ino, state.st_mtime_ns]
    return found


def notes(folder: Path) -> Iterator[tuple[Path, Note]]:
    """Yield the note of each Snakemake that has worked here and has not taken it away."""
    for path in sorted((folder / "dualhead").glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            owner = Owner(**{field: content["owner"][field] for field in Owner._fields})
            yield path, Note(owner, dict(content["locks"]))
        except (OSError, ValueError, TypeError, KeyError):
            continue  # being written or taken away, or cut: it tells nothing


def clear(folder: Path) -> None:
    """Remove the locks of each Snakemake that is known to be gone, and say so; tell of others.

    Args:
        folder: the workspace's `.snakemake`.
    """
    present = locks_in(folder)
    for path, note in notes(folder):
        left = [name for name, state in note.locks.items() if present.get(name) == state]
        if not is_gone(note.owner):
            if left and note.owner.host != this_process().host:
                _tell(f"{folder}: {note.owner} works here, or did; only there can that be told")
            continue
        try:
            for name in left:
                (folder / "locks" / name).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except PermissionError:
            _tell(
                f"{folder / 'locks'}: left by a Snakemake of another user; it is not yours to remove"
            )
            continue
        if left:
            _tell(f"{folder / 'locks'}: left by a Snakemake that was killed; removed, going on")


def register(folder: Path, before: Locks) -> None:
    """Note which of Snakemake's locks are this process's: those that came since it began.

    Args:
        folder: the workspace's `.snakemake`.
        before: the locks that were there.
    """
    owner = this_process()
    others = [note.locks for _, note in notes(folder)]
    mine = {
        name: state
        for name, state in locks_in(folder).items()
        if before.get(name) != state and all(locks.get(name) != state for locks in others)
    }
    write_json(_note_path(folder, owner), {"owner": owner._asdict(), "locks": mine})


def unregister(folder: Path) -> None:
    """Take this process's note away."""
    _note_path(folder, this_process()).unlink(missing_ok=True)


def _note_path(folder: Path, owner: Owner) -> Path:
    return folder / "dualhead" / f"{owner.host}-{owner.process}.json"


def delete_own_locks(persistence: Any) -> None:
    """Delete the lock files that one Snakemake has written."""
    for path in persistence._lockfile.values():
        Path(path).unlink(missing_ok=True)
    persistence._lockfile.clear()


def keep_locks_of_others(persistence: Any) -> None:
    """Let Snakemake delete its own locks at its end, where it would empty their folder; `--unlock` still does.

    Two may work in one workspace, on other files each; the first to end would leave the other without its locks,
    and a third would then join it.

    Args:
        persistence: Snakemake's class that keeps locks in files.
    """
    if persistence._delete_locks is not delete_own_locks:
        persistence.cleanup_locks = persistence._delete_locks
        persistence._delete_locks = delete_own_locks


def others_at_work(folder: Path) -> list[Owner]:
    """Return the other Snakemakes of this workspace that work, or may: on a machine that cannot be asked."""
    present, mine = locks_in(folder), this_process()
    return [
        note.owner
        for _, note in notes(folder)
        if note.owner != mine and not is_gone(note.owner)
        if note.owner.host == mine.host or any(present.get(k) == v for k, v in note.locks.items())
    ]


def is_at_work(folder: Path) -> bool:
    """Return whether a Snakemake works in this workspace, or may."""
    return bool(locks_in(folder) or others_at_work(folder))


def left_jobs(logs: Path) -> list[str]:
    """Return the ids of SLURM's jobs that log into a folder; none where there is no SLURM."""
    if not logs.is_dir() or shutil.which("squeue") is None:
        return []
    command = ["squeue", "--me", "--noheader", "--Format", "JobID:20,StdOut:1000"]
    listed = subprocess.run(command, capture_output=True, text=True)
    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return sorted(job for job, file in rows if Path(file.strip()).is_relative_to(logs))


def cancel_left_jobs(folder: Path) -> None:
    """Cancel this workspace's jobs that nobody waits for any more; trainings save their state.

    Jobs stay while another Snakemake works here, or may: they may be its own.

    Args:
        folder: the workspace's `.snakemake`, whose `slurm_logs` its jobs log into.

    Raises:
        ValueError: if they do not end.
    """
    logs = (folder / "slurm_logs").resolve()
    jobs = left_jobs(logs)
    if not jobs or others_at_work(folder):
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
