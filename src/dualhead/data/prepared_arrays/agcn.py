"""Arrays of ST-GCN, 2s-AGCN, MS-G3D and DualHead-Net: `train_data_joint.npy` beside `train_label.pkl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from dualhead.arrays import Array
from dualhead.data.dataset import WHOLE, Dataset, Dropped, Prepared, RawSample, quoted
from dualhead.data.datasets.kinetics import KINETICS
from dualhead.data.datasets.ntu import without_missing
from dualhead.data.prepared_arrays.base import ArrayForm, Numbers, numbers_in, read_npy_content
from dualhead.data.prepared_arrays.unpickle import ArrayOf, read_pickle
from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.settings.params import Settings

PARTS = {"train": 1, "val": 0, "test": 0}
ENDS = ("_data_joint.npy", "_data.npy")
NORMALIZE = {"ntu25": "rotate", "openpose18": "none"}
SOURCE = "padded to {frames} frames and normalized by the code of 2s-AGCN and its heirs"


def _files(path: Path) -> dict[str, Path]:
    """Return the data of each part in a folder, or the one that a path is."""
    if path.is_dir():
        found = [path / f"{part}{end}" for part in PARTS for end in ENDS]
        return {
            file.name.split("_")[0]: file
            for file in reversed(found)
            if file.is_file() and _label_file(file).is_file()
        }
    return {path.name.split("_")[0]: path} if path.name.endswith(ENDS) else {}


def _label_file(data: Path) -> Path:
    return data.with_name(f"{data.name.split('_')[0]}_label.pkl")


def _fits(path: Path) -> bool:
    return path.suffix.lower() == ".npy" if path.is_file() else bool(_files(path))


def _dataset(dataset: Dataset, path: Path) -> Dataset:
    """Return a dataset as arrays of its kind hold it.

    Raises:
        ValueError: for arrays of another shape, or without their labels.
    """
    files = _files(path)
    if not files:
        raise ValueError(
            f"{path}: expected train_data_joint.npy or val_data_joint.npy of 2s-AGCN or MS-G3D, or "
            "their folder (bones and motions are made of joints); found another array."
        )
    joints = _layout(dataset).num_joints
    frames = 0
    for data in files.values():
        shape = numbers_in(data).shape
        if len(shape) != 5 or shape[1] != 3 or shape[3] != joints:
            raise ValueError(
                f"{data}: expected {dataset.kind} as (N, 3, frames, {joints}, bodies); found {shape}."
            )
        frames = shape[2]
        if not _label_file(data).is_file():
            raise ValueError(
                f"{data}: expected {_label_file(data).name} beside it, with names and labels; found "
                "none. Put it there."
            )
    return replace(
        dataset,
        list_samples=partial(_list_samples, dataset=dataset),
        prepare_sample=partial(_prepare, normalize=NORMALIZE[_layout(dataset).name]),
        read_class_names=None,
        source=SOURCE.format(frames=frames),
    )


def _layout(dataset: Dataset) -> SkeletonLayout:
    layout = dataset.layout
    return LAYOUTS[layout] if isinstance(layout, str) else layout


def _list_samples(raw: Sequence[Path], dataset: Dataset) -> tuple[list[RawSample], list[Dropped]]:
    samples = []
    for part, data in _files(raw[0]).items():
        numbers = numbers_in(data)
        names, labels = _read_labels(_label_file(data))
        if not len(names) == len(labels) == numbers.shape[0]:
            raise ValueError(
                f"{_label_file(data)}: expected a name and a label for each of the {numbers.shape[0]} "
                f"recordings of {data.name}; found {len(names)} and {len(labels)}."
            )
        for index, (name, label) in enumerate(zip(names, labels, strict=True)):
            stem = Path(name).name.removesuffix(".skeleton").removesuffix(".json")
            meta, member = {"training": PARTS[part]}, f"{data.name}/{index}"
            size = numbers.item(0).size
            samples.append(RawSample(stem, label, meta, raw[0], member, size, is_array=True))
    return (
        (samples, []) if dataset.kind == KINETICS.kind else without_missing(samples, raw, dataset)
    )


def _read_labels(path: Path) -> tuple[list[str], list[int]]:
    content = read_pickle(path)
    names, labels = content if isinstance(content, tuple | list) and len(content) == 2 else ((), ())
    if isinstance(labels, ArrayOf):
        labels = labels.array.tolist()
    if (
        not (isinstance(names, list | tuple) and isinstance(labels, list | tuple) and names)
        or not all(isinstance(name, str) for name in names)
        or not all(type(label) is int for label in labels)
    ):
        raise ValueError(
            f"{path}: expected names and labels of recordings; found {quoted(type(content).__name__)}."
        )
    return list(names), list(labels)


def _prepare(content: bytes, sample: RawSample, settings: Settings, normalize: str) -> Prepared:
    """Return the bodies of an array (3, T, V, M), without the repetition that pads them.

    Raises:
        ValueError: for another `normalize` than these arrays have.
    """
    if settings["normalize"] != normalize:
        raise ValueError(
            f"{sample.name}: these arrays are normalized, so prepare.normalize must be {normalize}; "
            f"found {settings['normalize']}."
        )
    joints = read_npy_content(content)
    notes = []
    if not np.isfinite(joints).all():
        joints = np.where(np.isfinite(joints).all(axis=0), joints, np.float32(0))
        detail = "joints that are not finite count as not seen"
        notes.append(Dropped(sample.name, WHOLE, "not_finite", detail))
    if not joints.any():
        notes.append(
            Dropped(sample.name, WHOLE, "no_body", "no frame holds a body: kept, as zeros")
        )
    shorten = _without_repetition if normalize == "rotate" else _without_zeros
    bodies = [shorten(body) for body in joints.transpose(3, 1, 2, 0)]
    kept = settings["max_bodies"]
    for slot, body in enumerate(bodies[kept:], start=kept):
        if len(body):
            row = (f"slot {slot}", "beyond_max_bodies", f"{kept} bodies are kept")
            notes.append(Dropped(sample.name, *row))
    frames = max(map(len, bodies[:kept]), default=0)
    return Prepared(tuple(map(np.ascontiguousarray, bodies[:kept])), frames, tuple(notes))


def _without_zeros(body: Array) -> Array:
    """Cut the empty frames at the end of a body (T, V, 3)."""
    filled = np.flatnonzero(body.any(axis=(1, 2)))
    return body[: filled[-1] + 1 if len(filled) else 0]


def _without_repetition(body: Array) -> Array:
    """Return the shortest beginning of a body (T, V, 3) that gives all of it when it is repeated."""
    if not body.any():
        return body[:0]
    for period in np.flatnonzero((body == body[0]).all(axis=(1, 2)))[1:].tolist():
        if np.array_equal(body[period:], body[:-period]):
            return body[:period]
    return body


def _places(path: Path, folder: Path) -> Mapping[str, Numbers]:
    return {
        f"{data.name}/{index}": numbers.item(index)
        for data in _files(path).values()
        for numbers in (numbers_in(data),)
        for index in range(numbers.shape[0])
    }


AGCN = ArrayForm("agcn", _fits, _dataset, _places)
