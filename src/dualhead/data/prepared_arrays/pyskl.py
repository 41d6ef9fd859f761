"""PYSKL's and MMAction2's pickles: annotations of bodies in space, or of HRNet's poses in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Array
from dualhead.data.bodies import prepare_chosen
from dualhead.data.dataset import Dataset, Dropped, Prepared, RawSample, quoted
from dualhead.data.datasets.kinetics import KINETICS, prepare_picture
from dualhead.data.datasets.ntu import LAYOUT, without_missing
from dualhead.data.prepared_arrays.base import ArrayForm, Numbers, read_npy_content, write_numbers
from dualhead.data.prepared_arrays.unpickle import ArrayOf, read_pickle
from dualhead.layout import LAYOUTS
from dualhead.settings.params import Settings

PICTURE_JOINTS = 17


class Annotation(NamedTuple):
    """One recording: (M, T, V, 3) of meters, or of x, y as fractions of the picture and a score."""

    label: int
    joints: Array
    precision: str
    training: int  # 1 training, 0 test, -1 not said


def _fits(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".pkl", ".pickle")


@lru_cache(maxsize=1)
def _read(path: Path, *stamp: int) -> dict[str, Annotation | None]:
    """Return the annotations by name; None for a recording without a body."""
    content = read_pickle(path)
    split = content.get("split", {}) if isinstance(content, dict) else {}
    found = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(found, list) or not isinstance(split, dict) or not found:
        keys = f", keys {quoted(sorted(map(str, content)))}" if isinstance(content, dict) else ""
        raise ValueError(
            f"{path}: expected PYSKL's annotations (a list, or `annotations` and `split`); found "
            f"{type(content).__name__}{keys}."
        )
    _check_split(split, path)
    training = {str(name): 1 for name in split.get("train", ())}
    training |= {str(name): 0 for name in split.get("val", ())}
    annotations: dict[str, Annotation | None] = {}
    for entry in found:
        if entry is None:  # as PYSKL writes a recording of nobody
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("frame_dir"), str):
            raise ValueError(f"{path}: expected `frame_dir` in each annotation; found none.")
        name = Path(entry["frame_dir"]).name.removesuffix(".skeleton")
        if name in annotations:
            raise ValueError(f"{path}: annotation {name} is there twice. Leave one out.")
        annotations[name] = _annotation(entry, f"{path}: {name}", training.get(name, -1))
    return annotations


def _check_split(split: Mapping[object, object], path: Path) -> None:
    """Refuse parts that are no lists of names, and recordings that are both trained and tested on."""
    parts: dict[str, set[str]] = {}
    for part, names in split.items():
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f"{path}: expected a list of names as split {quoted(part)}; found {quoted(names)}."
            )
        parts[str(part)] = set(names)
    for part, names_of_part in parts.items():
        other = f"{part.removesuffix('train')}val"
        if part.endswith("train") and (both := names_of_part & parts.get(other, set())):
            raise ValueError(
                f"{path}: expected each recording in one of {part} and {other}; found {len(both):,} in both, such as "
                f"{min(both)}. Get the file from its authors again."
            )


def _annotation(entry: Mapping[str, object], name: str, training: int) -> Annotation:
    points, label = _array(entry, "keypoint", name), entry.get("label")
    if type(label) is not int or label < -1:
        raise ValueError(f"{name}: expected a whole number as label; found {quoted(label)}.")
    if points.ndim != 4 or points.shape[3] not in (2, 3):
        shape = points.shape
        raise ValueError(f"{name}: expected keypoint (M, T, V, 2 or 3); found shape {shape}.")
    precision = points.dtype.name
    joints = points.astype(np.float32)
    if points.shape[3] == 2:
        score = _array(entry, "keypoint_score", name).astype(np.float32)
        size = entry.get("img_shape", entry.get("original_shape"))
        if score.shape != points.shape[:3] or not _is_size(size):
            raise ValueError(
                f"{name}: expected keypoint_score {points.shape[:3]} and img_shape (height, width); "
                f"found {score.shape} and {quoted(size)}."
            )
        sides = np.array(size, np.float32)[::-1]  # x is a fraction of the width
        joints = np.concatenate([joints / sides, score[..., None]], axis=-1)
    return Annotation(label, joints, precision, training)


def _is_size(size: object) -> bool:
    return (
        isinstance(size, tuple | list)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    )


def _array(entry: Mapping[str, object], key: str, name: str) -> Array:
    found = entry.get(key)
    if not isinstance(found, ArrayOf) or found.array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected an array {key}; found {type(found).__name__}.")
    array: Array = found.array  # type: ignore[assignment]  # of any plain numbers
    return array


def _annotations(path: Path) -> dict[str, Annotation]:
    status = path.stat()
    found = _read(path, status.st_ino, status.st_size, status.st_mtime_ns)
    return {name: one for name, one in found.items() if one is not None}


def _dataset(dataset: Dataset, path: Path) -> Dataset:
    """Return NTU RGB+D or Kinetics as a pickle holds it.

    Raises:
        ValueError: for a pickle of another skeleton than the dataset's, or HRNet's.
    """
    found = _annotations(path)
    shapes = {one.joints.shape[2] for one in found.values()}
    precision = " and ".join(sorted({one.precision for one in found.values()}))
    is_kinetics = dataset.kind == KINETICS.kind
    listing = partial(_list_clips if is_kinetics else _list_recordings, dataset=dataset)
    if shapes == {PICTURE_JOINTS}:
        return replace(
            dataset,
            layout="coco17",
            padding=KINETICS.padding,
            units=KINETICS.units,
            list_samples=listing,
            prepare_sample=_prepare_picture,
            prepare={"normalize": "none"},
            read_class_names=None,
            source=f"HRNet's poses in pictures as PYSKL publishes them, COCO's 17 joints, {precision}",
        )
    if shapes != {25} or is_kinetics:
        raise ValueError(
            f"{path}: expected {'17 joints' if is_kinetics else '25 joints, or 17 in pictures'}, as "
            f"PYSKL's pickles of {dataset.kind} have; found {sorted(shapes)}. Is it of another dataset?"
        )
    return replace(
        dataset,
        list_samples=listing,
        prepare_sample=_prepare_bodies,
        source=f"PYSKL's selection of bodies, {'half precision' if precision == 'float16' else precision}",
    )


def _samples(path: Path) -> list[RawSample]:
    return [
        RawSample(
            name,
            one.label,
            {"training": one.training},
            path,
            name,
            one.joints.nbytes,
            is_array=True,
        )
        for name, one in _annotations(path).items()
    ]


def _list_clips(raw: Sequence[Path], dataset: Dataset) -> tuple[list[RawSample], list[Dropped]]:
    return [sample for path in raw for sample in _samples(path)], []


def _list_recordings(
    raw: Sequence[Path], dataset: Dataset
) -> tuple[list[RawSample], list[Dropped]]:
    return without_missing([sample for path in raw for sample in _samples(path)], raw, dataset)


def _prepare_bodies(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Normalize bodies (M, T, 25, 3) in meters, which are chosen already, the main one first."""
    return prepare_chosen(read_npy_content(content), sample.name, LAYOUTS[LAYOUT], settings)


def _prepare_picture(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    joints = read_npy_content(content).astype(np.float64).transpose(1, 0, 2, 3)
    return prepare_picture(joints, sample.name, settings)


def _places(path: Path, folder: Path) -> Mapping[str, Numbers]:
    arrays = {name: one.joints for name, one in _annotations(path).items()}
    return write_numbers(folder / f"{path.stem}.numbers", arrays, list(arrays))


PYSKL = ArrayForm("pyskl", _fits, _dataset, _places)
