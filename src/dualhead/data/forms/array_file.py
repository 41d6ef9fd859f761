"""NumPy arrays: (T, V, C) or (M, T, V, C) in .npy, or the one such array of an .npz."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib

import numpy as np
import numpy.typing as npt

from dualhead.data.forms.base import Content, Form, Motion, damaged, layouts_with
from dualhead.layout import SkeletonLayout

NPY, NPZ = b"\x93NUMPY", b"PK\3\4"
EXPECTED = "numbers of shape (frames, joints, coordinates) or (bodies, frames, joints, coordinates)"
MANY = 6  # bodies; an array of more of them than of frames has its axes in another order
DAMAGES = (
    *(ValueError, EOFError, OSError, KeyError, MemoryError, OverflowError, NotImplementedError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError),
)
"""Errors that NumPy and zip raise for a damaged file."""


def _fits(content: Content) -> bool:
    return content.raw.startswith((NPY, NPZ))


def _read(content: Content) -> Motion:
    """Return the array; two coordinates are x and y in a picture, four are x, y, z and a confidence.

    An .npz may also hold `fps`, and `joints`, their names.
    """
    array, fps, names = _load(content)
    if (
        array.ndim not in (3, 4)
        or array.shape[-1] not in (2, 3, 4)
        or array.dtype.kind not in "fiu"
    ):
        raise damaged(content.name, EXPECTED, f"{array.dtype} of shape {array.shape}")
    joints = (array[None] if array.ndim == 3 else array).astype(np.float64).transpose(1, 0, 2, 3)
    num_frames, num_bodies = joints.shape[:2]
    if num_bodies > max(num_frames, MANY):
        found = f"{num_bodies} bodies of {num_frames} frames; put the axis of bodies first"
        raise damaged(content.name, EXPECTED, found)
    if joints.shape[-1] == 2:
        seen = joints.any(axis=-1, keepdims=True)
        joints = np.concatenate([joints, seen], axis=-1)
    elif joints.shape[-1] == 4:
        joints = np.where(joints[..., 3:] > 0, joints[..., :3], 0.0)
    layout = only_layout(joints.shape[2], array.shape[-1])
    in_picture = array.shape[-1] == 2 or (layout is not None and layout.confidence)
    return Motion(joints, in_picture, layout, fps=fps, names=names)


def only_layout(num_joints: int, num_coordinates: int) -> SkeletonLayout | None:
    """Return the only layout that such an array can be of; three coordinates may be either kind."""
    kinds = {2: True, 3: None, 4: False}
    found = layouts_with(num_joints, in_picture=kinds[num_coordinates])
    return found[0] if len(found) == 1 else None


def _load(content: Content) -> tuple[npt.NDArray[np.generic], float, tuple[str, ...]]:
    try:
        loaded = np.load(io.BytesIO(content.raw), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, 0.0, ()
        found = {name: loaded[name] for name in loaded.files}
    except DAMAGES as error:
        raise damaged(content.name, "arrays of plain numbers", error) from error
    found = {name: one for name, one in found.items() if isinstance(one, np.ndarray)}
    arrays = {name: one for name, one in found.items() if one.ndim in (3, 4)}
    if len(arrays) != 1:
        raise damaged(content.name, f"one array, {EXPECTED}", f"{[*found]}")
    fps = float(found["fps"]) if "fps" in found and found["fps"].size == 1 else 0.0
    names = tuple(map(str, found["joints"])) if "joints" in found and "joints" not in arrays else ()
    return next(iter(arrays.values())), fps, names


ARRAY_FILE = Form("numpy", "a NumPy array (.npy, .npz)", _fits, _read)
