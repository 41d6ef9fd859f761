"""Stores: one HDF5 file per dataset, ragged, read through a memory map.

Rows are real frames of present bodies; padding, bone and motion are made when a sample is read.
`joints` is contiguous and not compressed: lz4 or zstd would save 20 % of a file that is already 4.6
times smaller than padded arrays, for two to four times the reading time and no memory map.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from dualhead.arrays import Array, Integers
from dualhead.data.records import REMEDY, SCHEMA, WHAT
from dualhead.files import SHOWN_DIGITS, crc32, digest_of, has_seal
from dualhead.hdf5 import (
    check_seal_around,
    is_hdf5,
    open_hdf5,
    try_unsealed,
)
from dualhead.layout import LayoutError, SkeletonLayout, load_layout
from dualhead.settings.params import Settings

COPY_SAMPLES = 256
"""Samples that are copied before they are checked: some megabytes, which are in a processor's cache then."""


class Store:
    """The prepared samples of one dataset.

    Attributes:
        names: sample ids, sorted.
        labels: (N,) int64, 0-based classes.
        num_frames: (N,) int64, real frames.
        layout: the skeleton.
        attributes: everything that `Header` names, and `schema`, `axes`, `num_classes`.
        meta: column name -> (N,) int64.
        splits: split name -> (N,) int8: 1 train, 0 test, -1 neither.
        checksums: (N,) int64, CRC-32 of each sample's rows, which is compared whenever they are
            read; None in stores of older versions, whose rows are taken as they are.
    """

    def __init__(self, path: Path | str) -> None:
        """Read the index; rows stay on disk until they are asked for.

        Raises:
            ValueError: if the file is missing, not a store, cut short, damaged outside its rows, of
                another schema, or has a sample twice.
        """
        self.path = Path(path)
        with _open(self.path) as file:
            self.attributes = _read_attributes(file)
            self.names: list[str] = file["names"].asstr()[:].tolist()
            self.labels: Integers = file["labels"][:].astype(np.int64)
            self.num_frames: Integers = file["num_frames"][:].astype(np.int64)
            self.meta = _read_columns(file, "meta", np.dtype(np.int64))
            self.splits = _read_columns(file, "splits", np.dtype(np.int8))
            self._sample_start: Integers = file["sample_start"][:]
            self._body_start: Integers = file["body/start"][:]
            self._body_length: Integers = file["body/length"][:].astype(np.int64)
            self.checksums = _read_checksums(file)
            self._joints = _map(self.path, file["joints"])
            self.layout = _layout(self.path, self.attributes)
            self.num_classes = int(self.attributes["num_classes"])
            self.class_names: list[str] = self.attributes["class_names"]
            self.max_bodies = int(self.attributes["max_bodies"])
            self._loops = str(self.attributes["padding"]) == "loop"
            self._check_index()
        self._positions = {name: position for position, name in enumerate(self.names)}
        if len(self._positions) != len(self.names):
            twice = next(name for name, later in pairwise(sorted(self.names)) if name == later)
            raise ValueError(
                f"{self.path}: sample {twice} is there twice. Prepare the store again."
            )

    def __len__(self) -> int:
        """Return the number of samples, N."""
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a sample of this name."""
        return name in self._positions

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._joints = self._joints[:0].copy()

    def split(self, name: str) -> tuple[Integers, Integers]:
        """Return the positions of the training samples and of the test samples.

        Raises:
            ValueError: for a split that this store does not have.
        """
        if name not in self.splits:
            raise ValueError(
                f"{self.path}: no split {name!r}; it has {', '.join(sorted(self.splits))}. "
                "Correct the benchmark's `split`."
            )
        return np.flatnonzero(self.splits[name] == 1), np.flatnonzero(self.splits[name] == 0)

    def position(self, name: str) -> int:
        """Return the position of a sample; its name may keep the raw file's folder and extension.

        Raises:
            ValueError: for a name that is not in the store.
        """
        found = self._positions.get(name, self._positions.get(PurePath(name).stem))
        if found is None:
            known = ", ".join(self.names[:3])
            raise ValueError(
                f"{self.path}: no sample {name!r} among its {len(self)}: {known}, ... "
                "Is it in the store's .dropped.csv?"
            )
        return found

    def bodies(self, position: int) -> list[Array]:
        """Return the stored rows of each body, (L, V, C), mapped from the file: read-only.

        Raises:
            ValueError: if they are damaged.
        """
        bodies = self._bodies(position)
        checksum = 0
        for body in bodies:
            checksum = crc32(body.data, checksum)
        self._check_rows(position, checksum)
        return bodies

    def check(self, positions: Sequence[int] | Integers) -> None:
        """Read the rows of some samples in one pass, for those who take them unread from `mapped`.

        Raises:
            ValueError: naming a sample whose rows are damaged.
        """
        if self.checksums is not None:
            for position in positions:
                self.bodies(int(position))

    def check_dropped(self, path: Path) -> bool:
        """Return whether the store tells what its CSV of drops is; stores of older versions do not.

        Raises:
            ValueError: if it is not the CSV that was written with the store.
        """
        stated = self.attributes.get("dropped", "")
        if stated and digest_of(path) != stated:
            raise ValueError(
                f"{path}: damaged, edited or another store's: expected the file of SHA-256 "
                f"{stated[:SHOWN_DIGITS]}..., which {self.path.name} names, found "
                f"{digest_of(path)[:SHOWN_DIGITS]}... Restore it from a copy, or remove both and prepare again."
            )
        return bool(stated)

    def content_keys(self) -> list[tuple[int, ...] | None]:
        """Return keys that equal samples share, of checksum and lengths; None in older stores."""
        if self.checksums is None:
            return [None] * len(self)
        bounds = pairwise(self._sample_start.tolist())
        lengths = [tuple(self._body_length[first:last].tolist()) for first, last in bounds]
        return [
            (checksum, *rows)
            for checksum, rows in zip(self.checksums.tolist(), lengths, strict=True)
        ]

    def _bodies(self, position: int) -> list[Array]:
        first, last = self._sample_start[position], self._sample_start[position + 1]
        starts, lengths = (
            self._body_start[first:last].tolist(),
            self._body_length[first:last].tolist(),
        )
        return [
            self._joints[start : start + length]
            for start, length in zip(starts, lengths, strict=True)
        ]

    def padded(self, sample: str | int, num_frames: int = 300) -> Array:
        """Return one sample as the authors' array: (C, T, V, M), C-contiguous.

        Args:
            sample: its name, or its position in `names`.
            num_frames: T; each body is looped (or followed by zeros) up to it, or cut.
        """
        position = self.position(sample) if isinstance(sample, str) else sample
        shape = (self.layout.num_coordinates, num_frames, self.layout.num_joints, self.max_bodies)
        joints = np.zeros(shape, np.float32)
        for slot, rows in enumerate(self.bodies(position)):
            if self._loops and 0 < len(rows) < num_frames:
                rows = rows.take(np.arange(num_frames) % len(rows), axis=0)
            rows = rows[:num_frames]
            joints[:, : len(rows), :, slot] = rows.transpose(2, 0, 1)
        return joints

    def ragged(
        self, positions: Sequence[int] | Integers
    ) -> tuple[Array, Integers, Integers, Integers]:
        """Return the rows of many samples at once, in few large reads where they lie together.

        Returns:
            rows (R, V, C); for each sample and body the first row and the number of rows, both
            (n, M), zero where there is no body; and the number of real frames (n,).

        Raises:
            ValueError: naming a sample whose rows are damaged.
        """
        chosen = np.asarray(positions, np.int64)
        _, starts, lengths, num_frames = self.mapped(chosen)
        counts = lengths.sum(axis=1)
        rows = np.empty((int(counts.sum()), *self._joints.shape[1:]), np.float32)
        with ThreadPoolExecutor(1) as beside:  # checks what was copied while more is copied
            checks, stop = [], 0
            for piece in (
                slice(at, at + COPY_SAMPLES) for at in range(0, len(chosen), COPY_SAMPLES)
            ):
                start, stop = stop, stop + int(counts[piece].sum())
                copied = rows[start:stop]
                present = lengths[piece] > 0
                self._gather(starts[piece][present], lengths[piece][present], copied)
                if self.checksums is not None:
                    arguments = chosen[piece], counts[piece], copied
                    checks.append(beside.submit(self._check_copied, *arguments))
            for check in checks:
                check.result()
        ends = lengths.cumsum().reshape(lengths.shape)
        return rows, np.where(lengths > 0, ends - lengths, 0), lengths, num_frames

    def mapped(
        self, positions: Sequence[int] | Integers
    ) -> tuple[Array, Integers, Integers, Integers]:
        """Return the same as `ragged`, with the rows of the whole store, mapped and read-only.

        They are not compared with their checksums; `check` does that.
        """
        chosen = np.asarray(positions, np.int64)
        first, last = self._sample_start[chosen], self._sample_start[chosen + 1]
        slots = first[:, None] + np.arange(self.max_bodies)
        present = slots < last[:, None]
        starts, lengths = np.zeros((2, *slots.shape), np.int64)
        starts[present] = self._body_start[slots[present]]
        lengths[present] = self._body_length[slots[present]]
        starts[lengths == 0] = 0
        return self._joints, starts, lengths, self.num_frames[chosen]

    def _check_copied(self, positions: Integers, counts: Integers, rows: Array) -> None:
        """Compare the copied rows of some samples, one after the other, with their checksums."""
        content, stop = rows.view(np.uint8).reshape(-1), 0
        for position, count in zip(positions.tolist(), counts.tolist(), strict=True):
            start, stop = stop, stop + count * rows[:1].nbytes
            self._check_rows(position, crc32(content[start:stop].data))

    def _check_rows(self, position: int, checksum: int) -> None:
        """Refuse rows whose CRC-32 is not that of the rows that were written."""
        if self.checksums is not None and self.checksums[position] != checksum:
            raise ValueError(
                f"{self.path}: sample {self.names[position]}: damaged: expected rows of CRC-32 "
                f"{int(self.checksums[position]):08x}, found {checksum:08x}. {REMEDY}"
            )

    def _check_index(self) -> None:
        """Refuse an index that does not fit itself or the rows, as a damaged older store's may."""
        count, bodies = len(self.names), len(self._body_start)
        columns = [self.labels, self.num_frames, *self.meta.values(), *self.splits.values()]
        numbers = np.diff(self._sample_start)
        stops = self._body_start + self._body_length
        fits = (
            all(column.shape == (count,) for column in columns)
            and self._sample_start.shape == (count + 1,)
            and self._body_length.shape == (bodies,)
            and bool(((numbers >= 0) & (numbers <= self.max_bodies)).all())
            and (int(self._sample_start[0]), int(self._sample_start[-1])) == (0, bodies)
            and int(self._body_start.min(initial=0)) >= 0
            and int(self._body_length.min(initial=0)) >= 0
            and int(stops.max(initial=0)) <= len(self._joints)
            and self._joints.shape[1:] == (self.layout.num_joints, self.layout.num_coordinates)
        )
        if not fits:
            raise ValueError(f"{self.path}: damaged: its index does not fit its rows. {REMEDY}")

    def _gather(self, starts: Integers, lengths: Integers, rows: Array) -> None:
        """Copy ranges of rows one after the other to `rows`; neighbors in one go."""
        breaks = np.flatnonzero(starts[1:] != starts[:-1] + lengths[:-1]) + 1
        filled = 0
        for run in np.split(np.arange(len(starts)), breaks) if len(starts) else ():
            start, count = int(starts[run[0]]), int(lengths[run].sum())
            rows[filled : filled + count] = self._joints[start : start + count]
            filled += count


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Open a store for reading, after comparing all but its rows with its seal."""
    if path.is_dir():
        raise ValueError(
            f"{path}: expected a store, which is a file (.h5), found a folder. If it holds recordings, prepare "
            f"it first: `dualhead prepare --raw {path}`, or give it to `dualhead predict`."
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such store. Make it with `dualhead prepare --output {path}`.")
    if not is_hdf5(path):
        raise ValueError(
            f"{path}: expected a store, found another file. If it holds recordings, prepare it "
            "first (`dualhead prepare`), or give it to `dualhead predict`; a store that looks like "
            "this is damaged: prepare it again."
        )
    if has_seal(path):
        raise ValueError(
            f"{path}: expected a store, found scores. Give the store that `dualhead prepare` wrote."
        )
    if not (is_sealed := check_seal_around(path, WHAT, REMEDY)):
        try_unsealed(path, WHAT, REMEDY)
    with open_hdf5(path, WHAT, REMEDY) as file:
        if "schema" not in file.attrs:
            raise ValueError(
                f"{path}: an HDF5 file, but no store: it has no attribute `schema`. "
                "Give the one that `dualhead prepare` wrote."
            )
        if int(file.attrs["schema"]) != SCHEMA:
            raise ValueError(
                f"{path}: expected schema {SCHEMA}, found {file.attrs['schema']}. "
                "Prepare it again with this version of dualhead."
            )
        if "checksums" in file and not is_sealed:
            raise ValueError(f"{path}: edited or damaged: its seal is not there. {REMEDY}")
        yield file


def _read_checksums(file: h5py.File) -> Integers | None:
    """Return the checksum of each sample's rows; stores of older versions have none."""
    return file["checksums"][:].astype(np.int64) if "checksums" in file else None


def _read_attributes(file: h5py.File) -> Settings:
    """Return the attributes as Python values; JSON is decoded."""
    attributes = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in file.attrs.items()
    }
    for key in {"class_names", "settings", "counts", "skeleton"} & set(attributes):
        attributes[key] = json.loads(attributes[key])
    return attributes


def _layout(path: Path, attributes: Settings) -> SkeletonLayout:
    """Return the skeleton that a store holds; an older one holds its name alone."""
    if "skeleton" not in attributes:
        return load_layout(str(attributes["layout"]))
    try:
        return SkeletonLayout.from_mapping(attributes["skeleton"])
    except LayoutError as error:
        raise ValueError(f"{path}: its attribute `skeleton`: {error}") from error


def _read_columns(file: h5py.File, group: str, dtype: np.dtype[np.generic]) -> dict[str, Integers]:
    return {name: column[:].astype(dtype) for name, column in file.get(group, {}).items()}


def _map(path: Path, joints: h5py.Dataset) -> Array:
    """Map the contiguous rows; a plain array, because slicing `np.memmap` itself is slow."""
    if joints.size == 0:
        return np.empty(joints.shape, np.float32)
    offset = joints.id.get_offset()
    if offset is None:
        raise ValueError(f"{path}: `joints` is not contiguous, so dualhead did not write it.")
    return np.asarray(np.memmap(path, np.dtype("<f4"), "r", offset, joints.shape))
