"""Locks on files that the kernel releases when their process dies, and the identity of a process that works."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

SECONDS_BETWEEN_TRIES = 1.0
UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
"""Errors of flock that say that there are no locks here; EBADF: NFS locks only what is open for writing."""


class LocksUnsupported(OSError):
    """The file system, or this Python, knows no locks."""


class Owner(NamedTuple):
    """One process of one machine, told apart from a later one with the same number."""

    host: str
    machine: (
        str  # the system's id and the process namespace, which differ where a host's name does not
    )
    process: int
    start: str  # boot and clock tick; empty where the system does not say

    def __str__(self) -> str:
        """Return it for a person."""
        return f"process {self.process} on {self.host}"


@cache
def _machine() -> str:
    parts = []
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _start(process: int) -> str:
    """Return when a process of this machine began; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f"{boot} {fields.rpartition(')')[2].split()[19]}"


def this_process() -> Owner:
    """Return the identity of the process that asks."""
    return Owner(socket.gethostname(), _machine(), os.getpid(), _start(os.getpid()))


def is_gone(owner: Owner) -> bool:
    """Return whether a process is known to have ended; False for one of another machine."""
    if (owner.host, owner.machine) != (socket.gethostname(), _machine()):
        return False
    try:
        with suppress(PermissionError):  # then it is there, and another user's
            os.kill(owner.process, 0)
    except ProcessLookupError:
        return True
    found = _start(owner.process)
    return bool(found and owner.start) and found != owner.start


def try_lock(path: Path, *, mode: int | None = None) -> FileIO | None:
    """Return the open file, locked until it is closed or its process dies; None if it is taken.

    Args:
        path: made if it is not there; its folder must be.
        mode: permissions of a file that is made, whatever the umask; default: as the umask says.

    Raises:
        LocksUnsupported: where the file system knows no locks.
        OSError: if the file cannot be opened.
    """
    while True:
        file = _open(path, mode)
        try:
            _flock(file)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            if error.errno in UNSUPPORTED:
                raise LocksUnsupported(error.errno, error.strerror, str(path)) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        if _is_at(file, path):
            return file
        file.close()  # its holder removed it before we had it


def _flock(file: FileIO) -> None:
    if fcntl is None:
        raise LocksUnsupported(errno.ENOSYS, "this Python knows no file locks")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(file: FileIO, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _open(path: Path, mode: int | None) -> FileIO:
    """Open a file for locking, made if it is not there; another user's is enough to read."""
    try:
        return FileIO(path, "r+")
    except FileNotFoundError:
        file = FileIO(path, "a")
        if mode is not None:
            path.chmod(mode)
        return file
    except PermissionError:
        return FileIO(path, "r")


def sign(file: FileIO) -> None:
    """Write into a locked file who holds it, for whoever waits."""
    if file.writable():
        file.seek(0)
        file.truncate()
        file.write(json.dumps(this_process()._asdict()).encode())
        file.flush()


def read_owner(path: Path) -> Owner | None:
    """Return the owner who signed a file; None if nobody did, or its text was cut."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Owner(**{field: content[field] for field in Owner._fields})
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file, made if it is not there; where there are no locks, that is said.

    Raises:
        ValueError: with the refusal, if another process holds it.
        OSError: if the file cannot be opened.
    """
    try:
        file = try_lock(path)
    except LocksUnsupported as error:
        _tell_unsupported(path, error)
        yield
        return
    if file is None:
        raise ValueError(refusal)
    with file:
        yield


def _tell_unsupported(path: Path, error: OSError) -> None:
    text = f"{path}: no file locks here ({error.strerror}); a second process is not kept out"
    print(text, file=sys.stderr, flush=True)


@contextmanager
def lock_one(paths: Sequence[Path], waiting_for: str, *, mode: int | None = None) -> Iterator[int]:
    """Lock the first path that is free, waiting for one if need be; yield its position.

    Where the file system knows no locks, that is said and the first path counts as free.

    Args:
        paths: files that serve for nothing else, the best first; the one that is locked says by whom.
        waiting_for: printed once if all are taken, with who holds the first.
        mode: permissions of a file that is made, whatever the umask.

    Raises:
        OSError: if none of the files can be opened.
    """
    try:
        position, file = _wait_for_one(paths, waiting_for, mode)
    except LocksUnsupported as error:
        _tell_unsupported(paths[0], error)
        yield 0
        return
    with file:
        yield position


def _wait_for_one(paths: Sequence[Path], waiting_for: str, mode: int | None) -> tuple[int, FileIO]:
    told = False
    while True:
        for position, path in enumerate(paths):
            if file := try_lock(path, mode=mode):
                sign(file)
                return position, file
        if not told:
            owner = read_owner(paths[0])
            by = f" ({owner})" if owner else ""
            print(f"waiting for {waiting_for}{by}", file=sys.stderr, flush=True)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)
