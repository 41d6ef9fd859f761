"""Files in folders, zips and tars: listing, reading where they lie, unpacking."""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then lengths of name and extra field
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class RawFile(NamedTuple):
    """One file of a dataset, in a folder or inside an archive."""

    source: Path  # the file itself, or the archive that holds it
    member: str | None  # its name inside the archive
    size: int  # bytes, unpacked

    @property
    def path(self) -> PurePosixPath:
        """Path of the file, inside its archive if it is in one."""
        return PurePosixPath(self.member or self.source.as_posix())


class ZipEntry(NamedTuple):
    """Place of one member in a zip, enough to read it without the archive's directory.

    A directory of 260,000 names takes 200 MB in memory, which every worker would need again.
    """

    offset: int
    packed: int  # bytes
    method: int
    checksum: int  # CRC-32


def list_files(path: Path, suffix: str) -> list[RawFile]:
    """Return the files below a folder or in an archive whose name ends in `suffix`, sorted.

    Raises:
        ValueError: if there is nothing at `path`, or an archive is cut short.
    """
    if path.is_dir():
        found = [RawFile(file, None, file.stat().st_size) for file in path.rglob(f"*{suffix}")]
    elif is_tar(path):
        with _archive(path), tarfile.open(path) as tar:
            found = [RawFile(path, item.name, item.size) for item in tar if item.isfile()]
    else:
        with _archive(path), zipfile.ZipFile(path) as file:
            found = [RawFile(path, item.filename, item.file_size) for item in file.infolist()]
    return sorted(
        file
        for file in found
        if file.path.name.endswith(suffix) and not file.path.name.startswith("._")  # of macOS
    )


def is_tar(path: Path) -> bool:
    """Return whether `path` is named as a tar archive."""
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


@contextmanager
def _archive(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged archive into one line."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder.")
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole archive, found {path.stat().st_size:,} bytes that are none "
            f"({error}); the download was cut short or damaged. Download it again."
        ) from error


def read_file(file: RawFile) -> bytes:
    """Return the content of one file; for many files of one zip see `read_entry`."""
    if file.member is None:
        return file.source.read_bytes()
    with _archive(file.source):
        if is_tar(file.source):
            with tarfile.open(file.source) as tar, _opened(tar, file.member) as member:
                return member.read()
        with zipfile.ZipFile(file.source) as archive:
            return archive.read(file.member)


def _opened(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    opened = tar.extractfile(member)
    assert opened is not None, f"{member} is no file"
    return opened


def zip_entries(path: Path) -> dict[str, ZipEntry]:
    """Return the place of each member of a zip.

    Raises:
        ValueError: if the archive is cut short.
    """
    with _archive(path), zipfile.ZipFile(path) as file:
        return {
            item.filename: ZipEntry(
                item.header_offset, item.compress_size, item.compress_type, item.CRC
            )
            for item in file.infolist()
        }


def read_entry(archive: BinaryIO, entry: ZipEntry) -> bytes:
    """Return the content of one member of a zip.

    Raises:
        ValueError: if the member is damaged, or packed in another way than zip's usual two.
    """
    archive.seek(entry.offset)
    header = archive.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
        raise ValueError("expected a zip member where the archive's directory says; found none")
    _, name, extra = LOCAL_HEADER.unpack(header)
    archive.seek(name + extra, 1)
    content = archive.read(entry.packed)
    if entry.method == DEFLATED:
        try:
            content = zlib.decompress(content, -zlib.MAX_WBITS)
        except zlib.error as error:
            raise ValueError(f"damaged in its archive: {error}") from error
    elif entry.method != STORED:
        raise ValueError(
            f"packed by zip method {entry.method}; unpack the archive, give the folder"
        )
    if zlib.crc32(content) != entry.checksum:
        raise ValueError("damaged in its archive: its checksum is wrong")
    return content


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a tar or zip archive into `folder`.

    Raises:
        ValueError: if the archive is cut short, or holds a link or a file that would lie elsewhere.
    """
    with _archive(archive):
        if is_tar(archive):
            with tarfile.open(archive) as tar:
                for item in tar:
                    if not item.isdir():
                        target = _target(folder, item.name, archive, plain=item.isfile())
                        with _opened(tar, item.name) as member:
                            target.write_bytes(member.read())
        else:
            with zipfile.ZipFile(archive) as file:
                for entry in file.infolist():
                    if not entry.is_dir():
                        target = _target(folder, entry.filename, archive, plain=True)
                        target.write_bytes(file.read(entry))


def _target(folder: Path, name: str, archive: Path, *, plain: bool) -> Path:
    """Return the path to unpack a member to, with its folder made; refuse one outside `folder`."""
    target = folder.joinpath(*PurePosixPath(name).parts)
    if not plain or not target.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{archive}: its member {name!r} is a link or would lie outside the folder it is "
            "unpacked to. Do not use this archive."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
