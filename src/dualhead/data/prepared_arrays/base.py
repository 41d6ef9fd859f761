"""Prepared arrays that others publish: their place in files, and recordings in them."""

from __future__ import annotations

import io
import math
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.data.archives import DAMAGED, LOCAL_HEADER, PIECE, is_damage
from dualhead.data.dataset import Dataset

NO_HEADER = (
    *(ValueError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError),
    *(tokenize.TokenError, struct.error),
)
"""Errors of NumPy's reader of headers for what is none."""
LONGEST_HEADER = 10_000  # bytes of an .npy's header


class Numbers(NamedTuple):
    """Place of an array's plain numbers, in C order, in a file."""

    path: Path
    offset: int  # bytes
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def item(self, index: int) -> Numbers:
        """Return the place of one entry along the first axis."""
        whole = self._replace(shape=self.shape[1:])
        return whole._replace(offset=self.offset + index * whole.size)

    def read(self) -> npt.NDArray[np.generic]:
        """Return the array.

        Raises:
            ValueError: if the file ends before it does.
        """
        count = math.prod(self.shape)
        found = np.fromfile(self.path, np.dtype(self.dtype), count, offset=self.offset)
        if len(found) < count:
            raise ValueError(f"{self.path}: cut short: expected {count:,} numbers more.")
        return found.reshape(self.shape)

    def content(self) -> bytes:
        """Return the array as an .npy file's content, which is what workers prepare."""
        return npy_content(self.read())


@dataclass(frozen=True)
class ArrayForm:
    """One way in which others publish prepared recordings.

    Attributes:
        name: the form's name.
        fits: returns whether a file or folder is of this form.
        dataset: returns a dataset as this file or folder holds it.
        places: returns the place of each recording's numbers by its member; what cannot be read where it
            lies is written to a folder first.
    """

    name: str
    fits: Callable[[Path], bool]
    dataset: Callable[[Dataset, Path], Dataset]
    places: Callable[[Path, Path], Mapping[str, Numbers]]


def npy_content(array: npt.NDArray[np.generic]) -> bytes:
    """Return an array as the content of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_npy_content(content: bytes) -> npt.NDArray[np.float32]:
    """Return the float32 array of an .npy file's content."""
    found: npt.NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    with np.errstate(over="ignore"):  # becomes infinite, which is noted
        return found.astype(np.float32)


def numbers_in(path: Path, start: int = 0, stop: int | None = None) -> Numbers:
    """Return the place of the numbers of an .npy, a file or a part of one.

    Raises:
        ValueError: for a file that is none, holds objects, or ends before its numbers do.
    """
    stop = path.stat().st_size if stop is None else stop
    with path.open("rb") as file:
        file.seek(start)
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read(file, max_header_size=LONGEST_HEADER)
        except NO_HEADER as error:
            found = " ".join(str(error).split())[:80]
            raise ValueError(f"{path}: expected an .npy array; found none ({found}).") from error
        numbers = Numbers(path, file.tell(), dtype.str, shape)
    if dtype.kind not in "fiub" or (is_fortran and len(shape) > 1):
        raise ValueError(
            f"{path}: expected plain numbers in C order; found {dtype.str} of shape {shape}. Save the "
            "array with numpy.save(..., numpy.ascontiguousarray(array), allow_pickle=False)."
        )
    if any(size < 0 for size in shape) or numbers.offset + numbers.size > stop:
        raise ValueError(
            f"{path}: cut short: expected {numbers.size:,} bytes of numbers, found "
            f"{stop - numbers.offset:,}. Download it again."
        )
    return numbers


def checksum(path: Path, start: int, size: int) -> int:
    """Return the CRC-32 of a part of a file."""
    found = 0
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (piece := file.read(min(size, PIECE))):
            found, size = zlib.crc32(piece, found), size - len(piece)
    return found


def numbers_in_npz(path: Path, member: str, folder: Path) -> Numbers:
    """Return the place of one array of an .npz: in it, or in `folder` if it is compressed there."""
    try:
        with zipfile.ZipFile(path) as file:
            item = file.getinfo(f"{member}.npy")
            if item.compress_type != zipfile.ZIP_STORED:
                target = folder / f"{path.stem}.{member}.npy"
                if not target.exists():
                    with file.open(item) as packed, target.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked, 1 << 20)
                return numbers_in(target)
        with path.open("rb") as opened:
            opened.seek(item.header_offset)
            _, name, extra = LOCAL_HEADER.unpack(opened.read(LOCAL_HEADER.size))
    except (KeyError, OSError, *DAMAGED) as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{path}: expected a whole .npz with {member}; found {error}.") from error
    start = item.header_offset + LOCAL_HEADER.size + name + extra
    if checksum(path, start, item.compress_size) != item.CRC:
        raise ValueError(
            f"{path}: damaged: the checksum of its member {member} is wrong. Download it again."
        )
    return numbers_in(path, start, start + item.compress_size)


def write_numbers(
    path: Path, arrays: Mapping[str, npt.NDArray[np.float32]], names: Sequence[str]
) -> dict[str, Numbers]:
    """Write arrays one after the other to a file; return their places."""
    places = {}
    with path.open("wb") as file:
        for name in names:
            content = np.ascontiguousarray(arrays[name], "<f4")
            places[name] = Numbers(path, file.tell(), "<f4", content.shape)
            file.write(content.data)
    return places
