"""Files that are whole or absent, and digests that tell a damaged one.

A file is written under a temporary name, then renamed. A binary file may end in a seal, the SHA-256 of the bytes
before it, which readers of HDF5 and zip archives pass over; a JSON record holds the digest of its own content and
those of the files beside it that cannot hold one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import mmap
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

try:
    from isal.isal_zlib import crc32 as crc32  # the same numbers as zlib's, four times as fast
except ImportError:  # a machine that no wheel of it is built for
    from zlib import crc32 as crc32

SEAL = b"\nSHA-256 of the bytes before this line: "
SEAL_LENGTH = len(SEAL) + 65  # with 64 hexadecimal digits and a line end
FOREIGN = (
    *(ValueError, OSError, RuntimeError, MemoryError, EOFError),
    *(csv.Error, zipfile.BadZipFile, zlib.error),
)
"""Errors of files, devices and the libraries that read them; any other error is a fault of ours."""
RECORD_FORMAT = 2  # 1 was a record without digests, which does not name its format
SHOWN_DIGITS = 12  # of a digest, in messages


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` if the block succeeds.

    The temporary name is always the same, so that what a killed process left is overwritten.

    Raises:
        ValueError: if `path` is a folder or a device, which a file is not put in place of.
        OSError: naming `path`, if the disk is full or the folder cannot be written.
    """
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(f"{path}: expected the name of a file to write, found {found}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with naming(path, temporary):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Name `path` in a system error of the block that names no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write `content` as indented JSON; a number that is not finite is refused."""
    text = json.dumps(content, indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write `rows` below `header`."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write `text`, with a line end at its end."""
    with replacing(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write bytes and their seal."""
    seal = SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.write(seal)


def check_seal(path: Path, remedy: str) -> bool:
    """Return whether a file is sealed; refuse one whose bytes are not those that were sealed.

    Args:
        path: the file.
        remedy: ends the line of the refusal.

    Raises:
        ValueError: if the file is damaged.
    """
    found, stated = _digests(path, *_stamp(path))
    if stated is None:
        return False
    if found != stated or not found:
        expected = f"bytes of SHA-256 {stated[:SHOWN_DIGITS]}..., as they were written"
        other = f"those of {found[:SHOWN_DIGITS]}..."
        raise ValueError(
            f"{path}: damaged: expected {expected if stated else 'its seal at its end'}, "
            f"found {other if found else 'it elsewhere'}; {remedy}"
        )
    return True


def has_seal(path: Path) -> bool:
    """Return whether a file ends as `write_sealed` ends one, be it damaged or not."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - SEAL_LENGTH))
        return file.read(len(SEAL)) == SEAL


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, those before its seal if it has one."""
    return _digests(path, *_stamp(path))[0]


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return inode, size and time of a file, which change with its content."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _digests(path: Path, *stamp: int) -> tuple[str, str | None]:
    """Return the SHA-256 of a file's bytes, and the one that its seal states; None without a seal."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return hashlib.sha256().hexdigest(), None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = len(content) - SEAL_LENGTH
            is_sealed = start >= 0 and content[start : start + len(SEAL)] == SEAL
            if not is_sealed and content.find(SEAL) >= 0:
                return "", ""  # its seal is there, but does not end it
            stated = content[start + len(SEAL) : -1].decode("latin-1") if is_sealed else None
            with memoryview(content) as whole, whole[: start if is_sealed else None] as sealed:
                return hashlib.sha256(sealed).hexdigest(), stated


def write_record(path: Path, content: Mapping[str, object], files: Mapping[str, str]) -> None:
    """Write `content` as JSON, with its own digest and those of files beside it.

    Args:
        path: the file.
        content: content of the record.
        files: name -> digest of each file beside it that it was written with.
    """
    record = {"format": RECORD_FORMAT, **content, "files": dict(files)}
    write_json(path, {**record, "digest": _record_digest(record)})


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """Return the content of a JSON record.

    One of format 1 has no digest and is taken as it is.

    Args:
        path: the file.
        remedy: ends the line of a refusal.

    Raises:
        ValueError: if it is no JSON, or its content has another digest than it states.
    """
    try:
        record = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: damaged: expected JSON, found none ({error}); {remedy}"
        ) from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a mapping, found {type(record).__name__}; {remedy}")
    if record.keys() & {"format", "digest", "files"}:
        stated = str(record.pop("digest", "none"))
        found = _record_digest(record)
        if stated != found or record.get("format") != RECORD_FORMAT:
            raise ValueError(
                f"{path}: damaged or edited: expected content of digest {stated[:SHOWN_DIGITS]}... "
                f"in format {RECORD_FORMAT}, found {found[:SHOWN_DIGITS]}... in format "
                f"{record.get('format')}; {remedy}"
            )
    return record


def _record_digest(record: Mapping[str, object]) -> str:
    """Return the SHA-256 of a record without its digest, however it is laid out."""
    plain = json.loads(json.dumps(record))  # whose keys are words and whose tuples are lists
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_beside(path: Path, record: Mapping[str, Any], remedy: str) -> None:
    """Refuse a file that is not the one that a record beside it was written with.

    Args:
        path: the file.
        record: the content of the record; one of format 1 names no files and accepts any.
        remedy: ends the line of the refusal.

    Raises:
        ValueError: if the file has another digest.
    """
    stated = record.get("files", {}).get(path.name)
    if stated is not None and digest_of(path) != stated:
        raise ValueError(
            f"{path}: damaged, edited or another run's: expected the file of SHA-256 "
            f"{stated[:SHOWN_DIGITS]}..., which the record beside it names, found "
            f"{digest_of(path)[:SHOWN_DIGITS]}...; {remedy}"
        )
