"""Raw files: listing and reading them where they lie, unpacking, fetching what may be fetched."""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from dualhead.files import replacing

MISSING_LIST = "NTU_RGBD120_samples_with_missing_skeletons.txt"
MISSING_URL = (
    "https://raw.githubusercontent.com/shahroudy/NTURGB-D/"
    f"36fdf83152d9557fd8de0668ecf5b06097def75e/Matlab/{MISSING_LIST}"
)
MISSING_COUNT = 535  # the first 302 in order of setup are NTU RGB+D 60's
MISSING_SHA256 = "f8abc124c4fc4b4e8f144caa34948f8307e5d7dcba17acf96132c9f311ff93cf"
"""Of the sorted names, one a line: the same whatever header the list has."""

WHERE: Mapping[str, str] = {
    "ntu60": (
        "NTU RGB+D 60: nturgbd_skeletons_s001_to_s017.zip (5.8 GB), on request from the ROSE Lab "
        "of NTU Singapore, https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s001_to_s017.zip; it need not be unpacked."
    ),
    "ntu120": (
        "NTU RGB+D 120: nturgbd_skeletons_s018_to_s032.zip (4.5 GB) beside NTU RGB+D 60's archive, "
        "on request from the ROSE Lab of NTU Singapore, "
        "https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s018_to_s032.zip; it need not be unpacked."
    ),
    "kinetics": (
        "Kinetics-Skeleton: kinetics-skeleton.zip (7.5 GB), from the Google Drive of ST-GCN that "
        "https://github.com/yysijie/st-gcn links to. Put it at data/raw/kinetics-skeleton.zip; "
        "it need not be unpacked."
    ),
    "nw_ucla": (
        "NW-UCLA: all_sqe.zip (its 1,484 JSON files take 40 MB), public, linked from the README of "
        "https://github.com/Uason-Chen/CTR-GCN. Put it at data/raw/nw_ucla.zip (or nw_ucla.tar.gz, "
        "or the folder all_sqe); it need not be unpacked."
    ),
    "synthetic": "synthetic: nothing to download; `dualhead synthesize` writes it.",
}
"""What to download for a dataset, from whom, how large, and where to put it."""

FETCH_SECONDS = 30
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then lengths of name and extra field
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class RawFile(NamedTuple):
    """One file of a dataset, in a folder or inside an archive."""

    source: Path  # the file itself, or the archive that holds it
    member: str | None  # its name inside the archive
    size: int  # bytes, unpacked

    @property
    def path(self) -> PurePosixPath:
        """Where it lies, inside its archive if it is in one."""
        return PurePosixPath(self.member or self.source.as_posix())


class ZipEntry(NamedTuple):
    """Where one member lies in a zip: enough to read it without the archive's directory.

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
    """Say what is wrong with an archive that cannot be read."""
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
    """Return where each member of a zip lies.

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
    """Return where a member goes, with its folder made; refuse what would leave `folder`."""
    target = folder.joinpath(*PurePosixPath(name).parts)
    if not plain or not target.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{archive}: its member {name!r} is a link or would lie outside the folder it is "
            "unpacked to. Do not use this archive."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def missing_samples(raw: Sequence[Path]) -> frozenset[str]:
    """Return the names of NTU RGB+D recordings whose skeletons are missing or incomplete.

    They are read from the published list in or beside the raw folders; without one, it is fetched.

    Raises:
        ValueError: if there is no list and it cannot be fetched, or it holds no name.
    """
    folders = [folder for path in raw for folder in (path, path.parent) if folder.is_dir()]
    lists = [folder / MISSING_LIST for folder in folders if (folder / MISSING_LIST).is_file()]
    if lists:
        names = _names_in(lists[0].read_text(encoding="utf-8", errors="replace"))
        if not names:
            raise ValueError(
                f"{lists[0]}: expected names such as S001C002P005R002A008, one a line; found none. "
                f"Put {MISSING_URL} there."
            )
        return names
    return _names_in(fetch_missing_list(raw[0].parent).decode())


def download(kind: str, folder: Path) -> str:
    """Fetch what may be fetched of a dataset into `folder`; return what is left to do.

    Raises:
        ValueError: if something cannot be fetched.
    """
    if not kind.startswith("ntu"):
        return WHERE[kind]
    if not (folder / MISSING_LIST).is_file():
        fetch_missing_list(folder)
    return f"{folder / MISSING_LIST} is there.\n{WHERE[kind]}"


def fetch_missing_list(folder: Path) -> bytes:
    """Fetch the list of recordings with missing skeletons into `folder`; return its content.

    Raises:
        ValueError: if it cannot be had, or is not the list that was published.
    """
    path = folder / MISSING_LIST
    remedy = f"Download {MISSING_URL} and put it at {path}."
    try:
        with urllib.request.urlopen(MISSING_URL, timeout=FETCH_SECONDS) as response:
            content: bytes = response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ValueError(
            f"{path}: the list of NTU RGB+D recordings without skeletons is not there and could "
            f"not be fetched ({error}). {remedy}"
        ) from error
    names = _names_in(content.decode(errors="replace"))
    if names_sha256(names) != MISSING_SHA256:
        raise ValueError(
            f"{path}: expected the {MISSING_COUNT} published names, fetched {len(names)} others. "
            f"{remedy}"
        )
    _keep(path, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Write a checked download in place; raw data may lie where one may only read."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except PermissionError:
        return


def names_sha256(names: frozenset[str]) -> str:
    """Return the checksum of sorted names, one a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def _names_in(text: str) -> frozenset[str]:
    """Return the sample names of a list; other lines are its header."""
    pattern = r"^\s*(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})(?:\.skeleton)?\s*$"
    return frozenset(re.findall(pattern, text, re.MULTILINE))
