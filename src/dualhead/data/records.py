"""Records: prepared samples on their way into a store, and the writing of it, in bounded memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np

from dualhead.arrays import Array, Columns, Parts
from dualhead.files import crc32, naming, replacing
from dualhead.hdf5 import Span, create_hdf5, open_hdf5, seal_around
from dualhead.layout import SkeletonLayout
from dualhead.locks import exclusive
from dualhead.settings.params import Settings

SplitFunction = Callable[[Columns], Parts]
"""Meta columns, each (N,) -> (N,): 1 train, 0 test, -1 neither."""

SCHEMA = 1
AXES = "joints: rows (one body in one frame), joints, coordinates"
COPY_BYTES = 1 << 22
WHAT = "a store"
REMEDY = "Remove it and prepare again."


class Record(NamedTuple):
    """One prepared sample on its way into a store."""

    name: str
    label: int  # 0-based class
    meta: Mapping[str, int]
    bodies: tuple[Array, ...]  # each (L, V, C)
    num_frames: int


@dataclass(frozen=True)
class Header:
    """Attributes of a store.

    Attributes:
        dataset: kind of the dataset, a key of `DATASETS`.
        layout: the skeleton; all of it is stored, so that the store opens in any folder.
        class_names: one for each class.
        padding: `loop` or `zero`, what follows a body's last row.
        max_bodies: bodies in a padded sample.
        units: unit of the coordinates.
        settings: the prepare settings.
        partial: whether the store may lack samples of the dataset.
        fingerprint: digest of the raw files.
        source: text that says what the recordings are if others prepared them; empty for the dataset's own files.
        dropped_digest: returns the SHA-256 of the CSV of what was left out; called after the last record.
        address: address of the settings that the store is made from, which ends its name; empty outside a workspace.
        counts: returns what was kept, and dropped by reason; called after the last record.
    """

    dataset: str
    layout: SkeletonLayout
    class_names: tuple[str, ...]
    padding: str
    max_bodies: int
    units: str
    settings: Settings
    partial: bool
    fingerprint: str
    counts: Callable[[], Mapping[str, object]]
    address: str = ""
    source: str = ""
    dropped_digest: Callable[[], str] = str


@dataclass
class _Table:
    """The index of a store while it is written: a few bytes a sample, in memory."""

    names: list[str] = field(default_factory=list)
    labels: array[int] = field(default_factory=lambda: array("q"))
    num_frames: array[int] = field(default_factory=lambda: array("q"))
    checksums: array[int] = field(default_factory=lambda: array("q"))
    sample_start: array[int] = field(default_factory=lambda: array("q", [0]))
    body_start: array[int] = field(default_factory=lambda: array("q"))
    body_length: array[int] = field(default_factory=lambda: array("q"))
    meta: dict[str, array[int]] = field(default_factory=dict)
    rows: int = 0

    def add(self, record: Record, checksum: int) -> None:
        """Append one sample; its rows follow those of the sample before it."""
        if self.names and record.name <= self.names[-1]:
            raise ValueError(f"{record.name} after {self.names[-1]}: a store's names are sorted")
        self.names.append(record.name)
        self.labels.append(record.label)
        self.num_frames.append(record.num_frames)
        self.checksums.append(checksum)
        for column, value in record.meta.items():
            self.meta.setdefault(column, array("q")).append(value)
        for body in record.bodies:
            self.body_start.append(self.rows)
            self.body_length.append(len(body))
            self.rows += len(body)
        self.sample_start.append(len(self.body_start))


def write_store(
    path: Path,
    records: Iterable[Record],
    *,
    header: Header,
    splits: Mapping[str, SplitFunction],
) -> None:
    """Write a store from samples sorted by name, in bounded memory; it appears when it is whole.

    Rows are spooled beside the store, because a contiguous dataset must know its length.

    Raises:
        ValueError: for a record out of order or of another shape, or a path that another process
            writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _spool(path) as rows, replacing(path) as temporary:
        table = _append(records, rows, header)
        with create_hdf5(temporary) as file:
            _write_attributes(file, header)
            _write_index(file, table, splits)
            _write_rows(file, rows, table.rows, header.layout)
        seal_store(temporary)


def seal_store(path: Path) -> None:
    """End a store with the SHA-256 of all but its rows, which have a checksum for each sample."""
    with open_hdf5(path, WHAT, REMEDY) as file:
        joints = file["joints"]
        start = joints.id.get_offset() or 0
        rows = Span(start, start + joints.size * joints.dtype.itemsize)
    seal_around(path, rows)


@contextmanager
def _spool(path: Path) -> Iterator[BinaryIO]:
    """Open the file beside `path` that collects rows; its lock keeps a second writer out."""
    spool = path.with_name(f".{path.name}.rows")
    refusal = f"{path}: another process is writing it. Wait for it or end it."
    with naming(path, spool), exclusive(spool, refusal), spool.open("w+b") as rows:
        try:
            yield rows
        finally:
            spool.unlink(missing_ok=True)


def _append(records: Iterable[Record], rows: BinaryIO, header: Header) -> _Table:
    """Append the rows of all records to the spool; return their index."""
    table = _Table()
    shape = (header.layout.num_joints, header.layout.num_coordinates)
    for record in records:
        record = record._replace(bodies=_trim(record.bodies))
        if len(record.bodies) > header.max_bodies or any(
            body.ndim != 3 or body.shape[1:] != shape for body in record.bodies
        ):
            raise ValueError(
                f"{record.name}: expected at most {header.max_bodies} bodies of shape "
                f"(L, {shape[0]}, {shape[1]}); found {[body.shape for body in record.bodies]}"
            )
        checksum = 0
        for body in record.bodies:
            content = np.ascontiguousarray(body, "<f4").data
            rows.write(content)
            checksum = crc32(content, checksum)
        table.add(record, checksum)
    rows.flush()
    return table


def _trim(bodies: tuple[Array, ...]) -> tuple[Array, ...]:
    """Leave out absent bodies after the last present one."""
    present = [slot for slot, body in enumerate(bodies) if len(body)]
    return bodies[: present[-1] + 1 if present else 0]


def _write_attributes(file: h5py.File, header: Header) -> None:
    file.attrs.update(
        schema=SCHEMA,
        dataset=header.dataset,
        layout=header.layout.name,
        skeleton=json.dumps(header.layout.to_mapping()),
        num_classes=len(header.class_names),
        class_names=json.dumps(header.class_names),
        padding=header.padding,
        max_bodies=header.max_bodies,
        axes=AXES,
        units=header.units,
        settings=json.dumps(header.settings, sort_keys=True),
        partial=header.partial,
        fingerprint=header.fingerprint,
        address=header.address,
        counts=json.dumps(header.counts(), sort_keys=True),
    )
    for key, value in (("source", header.source), ("dropped", header.dropped_digest())):
        if value:
            file.attrs[key] = value


def _write_index(file: h5py.File, table: _Table, splits: Mapping[str, SplitFunction]) -> None:
    meta = {column: np.asarray(values, np.int64) for column, values in table.meta.items()}
    file.create_dataset(
        "names", data=table.names, dtype=h5py.string_dtype(), shape=len(table.names)
    )
    file["labels"] = np.asarray(table.labels, "<i2")
    file["num_frames"] = np.asarray(table.num_frames, "<i4")
    file["checksums"] = np.asarray(table.checksums, "<u4")
    file["sample_start"] = np.asarray(table.sample_start, "<i8")
    file["body/start"] = np.asarray(table.body_start, "<i8")
    file["body/length"] = np.asarray(table.body_length, "<i4")
    for column, values in meta.items():
        file[f"meta/{column}"] = values.astype("<i2")
    for name, assign in splits.items():
        file[f"splits/{name}"] = assign(meta).astype("i1")


def _write_rows(file: h5py.File, rows: BinaryIO, num_rows: int, layout: SkeletonLayout) -> None:
    """Copy the spool to one contiguous dataset, a piece at a time."""
    shape = (layout.num_joints, layout.num_coordinates)
    joints = file.create_dataset("joints", (num_rows, *shape), "<f4")
    step = max(1, COPY_BYTES // (4 * shape[0] * shape[1]))
    rows.seek(0)
    for start in range(0, num_rows, step):
        count = min(step, num_rows - start)
        piece = np.fromfile(rows, "<f4", count * shape[0] * shape[1])
        joints[start : start + count] = piece.reshape(count, *shape)
