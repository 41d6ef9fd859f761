"""HDF5 files: opened in one place that says what is wrong in one line, and a seal for large ones.

HDF5 checks little of what it reads, and loops without end on some damaged files. So a damaged file
must be seen before HDF5 looks at it. A file with gigabytes of rows, which have checksums of their
own, ends in the SHA-256 of everything but those rows; HDF5 passes over it. A file of an older
version has no seal: another process reads it first, and is ended if it loops.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
END_OF_FILE = slice(40, 48)
"""Field of the superblock (version 0) that holds the number of bytes HDF5 wrote."""
SEAL = "\nSHA-256 of the bytes before this line without {start:016d} to {stop:016d}: {digest}\n"
SEAL_PATTERN = re.compile(r"\nSHA-256 of .* without (\d{16}) to (\d{16}): ")
SEAL_LENGTH = len(SEAL.format(start=0, stop=0, digest="0" * 64))
PIECE = 1 << 22  # bytes
TRIAL_SECONDS = 60.0
"""Longest time that another process may take to read a file without a seal; the largest take seconds."""
TRIAL_BYTES = 1 << 26
"""Largest array that it reads; larger ones are plain rows."""
TRIAL = f"""
import sys, h5py
def read(name, item):
    dict(item.attrs)
    if isinstance(item, h5py.Dataset) and item.nbytes < {TRIAL_BYTES}:
        item[()]
with h5py.File(sys.argv[1], "r", locking=False) as file:
    dict(file.attrs)
    file.visititems(read)
"""
ERROR_NUMBER = re.compile(r"errno = (\d+)")
"""In HDF5's messages."""


class Span(NamedTuple):
    """Bytes of a file that its seal leaves out."""

    start: int
    stop: int


@contextmanager
def open_hdf5(path: Path, what: str, remedy: str) -> Iterator[h5py.File]:
    """Open a file for reading, without a lock: a finished file never changes.

    Args:
        path: the file.
        what: it should be, such as `a store`.
        remedy: ends the line of a refusal.

    Raises:
        ValueError: in one line with the path, for all that goes wrong in opening and reading it.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise _refusal(path, what, remedy, error) from error
    except (OSError, RuntimeError, LookupError, TypeError, MemoryError, ArithmeticError) as error:
        raise _refusal(path, what, remedy, error) from error


def try_unsealed(path: Path, what: str, remedy: str) -> None:
    """Refuse a file without a seal that HDF5 loops on, or dies of; any other damage is left to its reader.

    Args:
        path: the file.
        what: it should be, such as `a store`.
        remedy: ends the line of a refusal.

    Raises:
        ValueError: if another process could not read it to its end.
    """
    status = path.stat()
    fault = _fault_of_reading(path, status.st_ino, status.st_size, status.st_mtime_ns)
    if fault:
        raise ValueError(
            f"{path}: damaged: expected {what} (HDF5), found one that {fault}. {remedy}"
        )


@lru_cache(maxsize=256)
def _fault_of_reading(path: Path, *_: int) -> str:
    """Return the fault of a process that died reading a file; errors that it could tell count for nothing."""
    command = [sys.executable, "-c", TRIAL, str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"HDF5 does not get through within {TRIAL_SECONDS:.0f} s"
    return f"ends HDF5 with signal {-ended.returncode}" if ended.returncode < 0 else ""


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for writing, without a lock.

    Raises:
        OSError: in one line with the path and the system's reason, where HDF5 tells of a disk in many.
    """
    try:
        with h5py.File(path, "w", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        number = ERROR_NUMBER.search(str(error))
        if number is None:
            raise
        reason = os.strerror(int(number[1]))
        raise OSError(int(number[1]), reason, str(path)) from error


def _refusal(path: Path, what: str, remedy: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(
        f"{path}: expected {what} (HDF5), found something else or a part of one ({reason}). {remedy}"
    )


def is_hdf5(path: Path) -> bool:
    """Return whether a file begins as HDF5 files do."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def seal_around(path: Path, rows: Span) -> None:
    """End a finished file with the SHA-256 of its bytes without those of its rows."""
    with path.open("r+b") as file:
        file.truncate(_written(file))
        digest = _digest(file, _written(file), rows)
        file.seek(0, 2)
        file.write(SEAL.format(start=rows.start, stop=rows.stop, digest=digest).encode())


def check_seal_around(path: Path, what: str, remedy: str) -> bool:
    """Return whether a file is sealed; refuse one that is not as it was when it was sealed.

    Files of older versions end where HDF5 says, and have no seal.

    Args:
        path: the file.
        what: it should be, such as `a store`.
        remedy: ends the line of a refusal.

    Raises:
        ValueError: for a file that is cut or damaged outside its rows, or no HDF5 file at all.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE) + 1)
        if start[:-1] != SIGNATURE:
            raise ValueError(f"{path}: expected {what} (HDF5), found something else. {remedy}")
        if start[-1]:  # a superblock of another version, which has a checksum: repacked by others
            return False
        written = _written(file)
        if size == written:
            return False
        file.seek(min(written, size))
        found = SEAL_PATTERN.match(file.read(SEAL_LENGTH).decode("latin-1"))
        if size != written + SEAL_LENGTH or found is None:
            raise ValueError(
                f"{path}: expected {what} of {written:,} bytes and its seal, found {size:,} bytes; "
                f"it is a part of one, or damaged. {remedy}"
            )
        rows = Span(int(found[1]), int(found[2]))
        expected = SEAL.format(**rows._asdict(), digest=_digest(file, written, rows))
        file.seek(written)
        if file.read() != expected.encode():
            raise ValueError(
                f"{path}: damaged: its bytes are not those that were written, by the SHA-256 at its "
                f"end. {remedy}"
            )
    return True


def _written(file: BinaryIO) -> int:
    """Return the number of bytes that HDF5 wrote, by the superblock."""
    file.seek(0)
    return int.from_bytes(file.read(END_OF_FILE.stop)[END_OF_FILE], "little")


def _digest(file: BinaryIO, written: int, rows: Span) -> str:
    """Return the SHA-256 of the first `written` bytes without those of the rows."""
    digest = hashlib.sha256()
    for start, stop in ((0, min(rows.start, written)), (rows.stop, written)):
        file.seek(start)
        for place in range(start, stop, PIECE):
            digest.update(file.read(min(PIECE, stop - place)))
    return digest.hexdigest()
