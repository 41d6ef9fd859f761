"""Files in folders, zips and tars: listing, reading where they lie, unpacking."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then lengths of name and extra field
PIECE = 1 << 20  # bytes
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
LOCKED = 1  # bit of a zip member's flags
ZIP_STARTS = (b"PK\3\4", b"PK\5\6")
OTHER_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}
"""Beginnings of archives that are not read here."""
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, struct.error, gzip.BadGzipFile),
    *(RuntimeError, UnicodeDecodeError, OverflowError),  # of names and sizes that are none
)
"""Errors of Python's readers of archives."""
SHOWN_SUFFIXES = 8  # kinds of files that a message counts


class RawFile(NamedTuple):
    """One file of a dataset, in a folder or inside an archive."""

    source: Path  # the file itself, or the archive that holds it
    member: str | None  # its name inside the archive
    size: int  # bytes, unpacked

    @property
    def path(self) -> PurePosixPath:
        """Path of the file, inside its archive if it is in one; Windows may write backslashes there."""
        if self.member is None:
            return PurePosixPath(self.source.as_posix())
        return PurePosixPath(self.member.replace("\\", "/"))


class ZipEntry(NamedTuple):
    """Place of one member in a zip, enough to read it without the archive's directory.

    A directory of 260,000 names takes 200 MB in memory, which every worker would need again.
    """

    offset: int
    packed: int  # bytes
    method: int
    checksum: int  # CRC-32


def list_files(path: Path, *suffixes: str) -> list[RawFile]:
    """Return the files below a folder or in an archive whose name ends in a suffix, sorted.

    Upper and lower case are one; linked folders are entered, each folder once. A file that is no
    archive stands for itself.

    Args:
        path: folder, archive, or one file.
        suffixes: in lower case; without any, all files are returned.

    Raises:
        ValueError: if there is nothing at `path`, or an archive is cut short, locked with a
            password, or of a kind that is not read.
    """
    if path.is_dir():
        found = _walk(path, suffixes)
    elif is_tar(path):
        with _archive(path), tarfile.open(path) as tar:
            found = [RawFile(path, item.name, item.size) for item in tar if item.isfile()]
            _read_to_end(tar)
        _refuse_outside(path, found)
    elif is_zip(path):
        found = _zip_members(path, suffixes)
    else:
        found = [RawFile(path, None, path.stat().st_size)]
    return sorted(file for file in found if _is_wanted(file.path.name, suffixes))


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a name ends in one of some suffixes; `._` begins macOS's notes on a file."""
    return (not suffixes or name.lower().endswith(suffixes)) and not name.startswith("._")


def _walk(folder: Path, suffixes: tuple[str, ...]) -> list[RawFile]:
    """Return the wanted files below a folder and the folders linked there."""
    found, entered = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for file in (Path(place, name) for name in names if _is_wanted(name, suffixes)):
            if any("\ud800" <= letter <= "\udfff" for letter in str(file)):  # bytes of no text
                raise ValueError(
                    f"{str(file)!a}: expected a name in UTF-8, found other bytes. Rename the file."
                )
            if file.is_symlink() and not file.exists():
                raise ValueError(
                    f"{file}: a link to {file.readlink()}, where nothing is. Put the file there, "
                    "or remove the link."
                )
            found.append(RawFile(file, None, file.stat().st_size))
    return found


def _zip_members(path: Path, suffixes: tuple[str, ...]) -> list[RawFile]:
    with _archive(path), zipfile.ZipFile(path) as file:
        items = [item for item in file.infolist() if not item.is_dir()]
    for item in items:
        if item.flag_bits & LOCKED and _is_wanted(item.filename, suffixes):
            raise ValueError(
                f"{path}: its member {item.filename} is locked with a password. Unpack the archive "
                "with it, and give the folder."
            )
    found = [RawFile(path, item.filename, item.file_size) for item in items]
    counts = Counter(item.filename for item in items if _is_wanted(item.filename, suffixes))
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{path}: its member {twice[0]} is there twice. Pack it anew.")
    _refuse_outside(path, found)
    return found


def _refuse_outside(path: Path, members: Iterable[RawFile]) -> None:
    """Refuse an archive whose members would lie outside the folder it is unpacked to: it is not what it seems."""
    for member in members:
        name = (member.member or "").replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(
                f"{path}: its member {name!r} would lie outside the folder it is unpacked to. Pack it anew, with names "
                "below one folder."
            )


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip by its name or first bytes.

    Raises:
        ValueError: for a file that is not there, another kind of archive, and what is named `.zip`
            but is a web page or empty.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder.")
    with path.open("rb") as file:
        start = file.read(64)
    for mark, program in OTHER_ARCHIVES.items():
        if start.startswith(mark):
            raise ValueError(
                f"{path}: expected a folder, a zip or a tar (.tar, .tar.gz, .tgz); found an archive "
                f"of {program}. Unpack it, and give the folder."
            )
    if start.startswith(ZIP_STARTS):
        return True
    if path.suffix.lower() != ".zip":
        return False
    if not start or start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        found = "a web page, perhaps one that asks to sign in" if start else "an empty file"
        raise ValueError(f"{path}: expected a zip; found {found}. Download the archive itself.")
    return True


def seen_in(raw: Sequence[Path]) -> str:
    """Return the kinds of files in raw paths by their number: `2 .zip, 1 .txt`; `no file`."""
    counts = Counter(
        file.path.suffix.lower() or "without suffix" for path in raw for file in list_files(path)
    )
    shown = [f"{count:,} {suffix}" for suffix, count in counts.most_common(SHOWN_SUFFIXES)]
    others = counts.total() - sum(count for _, count in counts.most_common(SHOWN_SUFFIXES))
    return ", ".join(shown + ([f"{others:,} others"] if others else [])) or "no file"


def archives_in(raw: Sequence[Path]) -> list[RawFile]:
    """Return the archives that lie in folders or other archives."""
    return [
        file
        for path in raw
        for file in list_files(path, *ARCHIVE_SUFFIXES)
        if file.source != path or file.member
    ]


def lying_in(raw: Sequence[Path]) -> str:
    """Return a description of the files that lie in raw paths in place of recordings, as the end of a sentence.

    Of archives within folders or others, a second sentence says how to give them.
    """
    text = f"but {seen_in(raw)}. "
    archives = archives_in(raw)
    on_disk = [str(file.source) for file in archives if file.member is None]
    if on_disk:
        more = f" and {len(on_disk) - 1} more" if len(on_disk) > 1 else ""
        return f"{text}Archives in folders are not entered: give them, --raw {on_disk[0]}{more}. "
    if archives:
        return f"{text}It holds archives, such as {archives[0].path}: unpack it, and give these. "
    return text


def _read_to_end(tar: tarfile.TarFile) -> None:
    """Read a gzip file to its end, where its checksum stands, behind all that tar looks at."""
    assert tar.fileobj is not None, "a closed tar"
    while tar.fileobj.read(PIECE):
        pass


def is_tar(path: Path) -> bool:
    """Return whether `path` is named as a tar archive."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def is_damage(error: Exception) -> bool:
    """Return whether an error tells of an archive, not of the disk: a place before its beginning is EINVAL."""
    return getattr(error, "errno", None) in (None, errno.EINVAL)


@contextmanager
def _archive(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged archive into one line."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder.")
    try:
        yield
    except (OSError, *DAMAGED) as error:
        if not is_damage(error):
            raise
        raise ValueError(
            f"{path}: expected a whole archive, found {path.stat().st_size:,} bytes that are none "
            f"({' '.join(str(error).split())}); the download was cut short or damaged. Download it again."
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


def bundle(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the names and contents of some files as one content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", STORED) as archive:
        for name, part in files:
            archive.writestr(name, part)
    return content.getvalue()


def unbundle(content: bytes) -> list[tuple[str, bytes]]:
    """Return the names and contents that `bundle` joined."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(item.filename, archive.read(item)) for item in archive.infolist()]


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
    archive.seek(max(entry.offset, 0))  # a damaged directory may say any place
    header = archive.read(LOCAL_HEADER.size) if entry.offset >= 0 else b""
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
