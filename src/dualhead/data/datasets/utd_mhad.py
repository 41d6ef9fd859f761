"""UTD-MHAD: Kinect v1 skeletons of 27 actions by eight people, in MATLAB's files (Chen et al., ICIP 2015)."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from dualhead.arrays import Array, Columns, Parts
from dualhead.data.bodies import prepare_one
from dualhead.data.dataset import WHOLE, Dataset, Dropped, Prepared, RawSample, quoted
from dualhead.data.datasets.named import Named, list_named
from dualhead.layout import LAYOUTS
from dualhead.settings.params import Settings

LAYOUT = "kinect20"
ARRAY = "d_skel"  # of a file: (20 joints, 3, T), meters
JOINTS = (
    *("head", "shoulder_center", "spine", "hip_center"),
    *("left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot"),
    *("right_hip", "right_knee", "right_ankle", "right_foot"),
)
"""In the order of the dataset's page, which github.com/notha99y/Multimodal_human_actions lists for these files. They
were not at hand: each recording is looked at, see `_notes`."""
NAME = re.compile(
    r"a(?P<action>\d{1,2})_s(?P<subject>\d{1,2})_t(?P<trial>\d{1,2})_skeleton", re.IGNORECASE
)
META_COLUMNS = ("subject", "trial")
ACTIONS = (
    *("swipe to the left", "swipe to the right", "wave", "clap in front", "throw"),
    *("cross arms in the chest", "basketball shot", "draw x", "draw circle clockwise"),
    *("draw circle counterclockwise", "draw triangle", "bowling", "front boxing"),
    *("baseball swing", "tennis forehand swing", "arm curl", "tennis serve", "two hand push"),
    *("knock on door", "catch an object", "pick up and throw", "jog in place", "walk in place"),
    *("sit to stand", "stand to sit", "forward lunge", "squat"),
)
EXAMPLE = "a1_s1_t1_skeleton.mat"
DAMAGES = (
    *(MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError),
    *(MemoryError, OverflowError, NotImplementedError, zlib.error),
)
"""Errors of SciPy's reader for a damaged file, or one of MATLAB 7.3, which is HDF5."""


def list_recordings(raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """Return the recordings, `a1_s1_t1_skeleton.mat`, in folders or archives."""
    rule = f"{EXAMPLE} with an action of 1 to {len(ACTIONS)}"
    return list_named(raw, (".mat",), _parse_name, rule)


def _parse_name(name: str) -> Named | str:
    match = NAME.fullmatch(name)
    if match is None or not 1 <= int(match["action"]) <= len(ACTIONS):
        return ""
    meta = {column: int(match[column]) for column in META_COLUMNS}
    return Named(name.lower().removesuffix("_skeleton"), int(match["action"]) - 1, meta)


def prepare_recording(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Return the one body of a recording; `denoise` and `max_bodies` have nothing to choose.

    Raises:
        ValueError: for a recording that is not as published.
    """
    body = _read_body(content, sample.name)
    prepared = prepare_one(body, sample.name, LAYOUTS[LAYOUT], settings)
    return prepared._replace(dropped=(*prepared.dropped, *_upside_down(body, sample.name)))


def _read_body(content: bytes, name: str) -> Array:
    """Return (T, 20, 3) in the order of the layout's joints, meters."""
    try:
        found = loadmat(io.BytesIO(content), variable_names=(ARRAY,))[ARRAY]
    except DAMAGES as error:
        raise ValueError(
            f"{name}: expected a MATLAB file (version 5 to 7) with `{ARRAY}`; found {quoted(error)}."
        ) from error
    joints: npt.NDArray[np.generic] = np.asarray(found)
    if joints.ndim == 2:  # MATLAB drops the last axis of a single frame
        joints = joints[..., None]
    if joints.dtype.kind not in "fiu" or joints.shape[:2] != (len(JOINTS), 3) or not joints.size:
        raise ValueError(
            f"{name}: expected numbers of shape (20, 3, frames); found {joints.dtype} of shape "
            f"{joints.shape}."
        )
    order = [JOINTS.index(joint) for joint in LAYOUTS[LAYOUT].joints]
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        body = np.ascontiguousarray(joints[order].transpose(2, 0, 1), np.float32)
    if not np.isfinite(body).all():
        raise ValueError(f"{name}: expected finite coordinates; found nan or infinity.")
    return body


def _upside_down(body: Array, name: str) -> list[Dropped]:
    """Note a body (T, V, 3) with its head below its feet."""
    joints = LAYOUTS[LAYOUT].joints
    feet = [joints.index("left_foot"), joints.index("right_foot")]
    above = np.median(body[:, joints.index("head"), 1] - body[:, feet, 1].max(axis=1))
    if above > 0 or not body.any():
        return []
    detail = f"its head is {above:.2f} m above its feet: are y up and the joints in order? Kept"
    return [Dropped(name, WHOLE, "upside_down", detail)]


def _xsub(columns: Columns) -> Parts:
    """Return 1 for people of odd numbers, who train."""
    return (columns["subject"] % 2).astype(np.int8)


UTD_MHAD = Dataset(
    kind="utd_mhad",
    layout=LAYOUT,
    class_names=ACTIONS,
    padding="loop",
    units="meters",
    meta_columns=META_COLUMNS,
    list_samples=list_recordings,
    prepare_sample=prepare_recording,
    splits={"xsub": _xsub},
    expected={"xsub": (431, 430)},  # 8 people x 27 actions x 4 trials, less three damaged ones
    apart={"xsub": "subject"},
    prepare={"normalize": "first_frame", "max_bodies": 1},
    where=(
        "UTD-MHAD: Skeleton.zip (861 MATLAB files), public, from "
        "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html. Put it at data/raw/Skeleton.zip, or "
        "unpacked as the folder data/raw/Skeleton."
    ),
    example=EXAMPLE,
)
