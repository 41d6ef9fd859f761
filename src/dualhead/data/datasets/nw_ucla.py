"""Northwestern-UCLA Multiview Action 3D: Kinect v1 skeletons of ten actions from three views."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualhead.arrays import Array, Columns, Parts
from dualhead.data.bodies import prepare_one
from dualhead.data.dataset import Dataset, Dropped, Prepared, RawSample, quoted
from dualhead.data.datasets.named import Named, list_named
from dualhead.layout import LAYOUTS
from dualhead.settings.params import Settings

LAYOUT = "kinect20"
NAME = re.compile(r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<repetition>\d\d)_v(?P<view>\d\d)")
META_COLUMNS = ("subject", "repetition", "view")
ACTIONS = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
EXAMPLE = "a01_s01_e00_v01.json"
LABELS = {action: label for label, action in enumerate(ACTIONS)}


def list_recordings(raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """Return the recordings, `a01_s01_e00_v01.json`, in folders or archives."""
    actions = ", ".join(f"{action:02d}" for action in ACTIONS)
    return list_named(raw, (".json",), _parse_name, f"{EXAMPLE} with an action of {actions}")


def _parse_name(name: str) -> Named | str:
    match = NAME.fullmatch(name)
    label = LABELS.get(int(match["action"])) if match else None
    if match is None or label is None:
        return ""
    return Named(name, label, {column: int(match[column]) for column in META_COLUMNS})


def prepare_recording(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Return the one body of a recording; `denoise` and `max_bodies` have nothing to choose.

    Raises:
        ValueError: for a recording that is not as published.
    """
    return prepare_one(_read_body(content, sample), sample.name, LAYOUTS[LAYOUT], settings)


def _read_body(content: bytes, sample: RawSample) -> Array:
    """Return (T, V, 3), meters."""
    try:
        recording = json.loads(content)
        label = recording["label"]
        body = np.array(recording["skeletons"], np.float64)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        found = quoted(error)
        raise ValueError(
            f"{sample.name}: expected JSON with `label` and `skeletons`; found {found}."
        ) from error
    if label != sample.label + 1:
        found = quoted(label)
        raise ValueError(
            f"{sample.name}: expected label {sample.label + 1}, as its name says; found {found}."
        )
    if body.ndim != 3 or body.shape[1:] != (LAYOUTS[LAYOUT].num_joints, 3) or not len(body):
        raise ValueError(f"{sample.name}: expected frames of 20 joints; found shape {body.shape}.")
    if not np.isfinite(body).all():
        raise ValueError(f"{sample.name}: expected finite coordinates; found nan or infinity.")
    return body.astype(np.float32)


def _xview(columns: Columns) -> Parts:
    return np.where(columns["view"] == 3, 0, 1).astype(np.int8)


NW_UCLA = Dataset(
    kind="nw_ucla",
    layout=LAYOUT,
    class_names=tuple(ACTIONS.values()),
    padding="loop",
    units="meters",
    meta_columns=META_COLUMNS,
    list_samples=list_recordings,
    prepare_sample=prepare_recording,
    splits={"xview": _xview},
    expected={"xview": (1020, 464)},
    apart={"xview": "view"},
    prepare={"normalize": "first_frame", "max_bodies": 1},
    where=(
        "NW-UCLA: all_sqe.zip (its 1,484 JSON files take 40 MB), public, linked from the README of "
        "https://github.com/Uason-Chen/CTR-GCN. Put it at data/raw/nw_ucla.zip (or nw_ucla.tar.gz, "
        "or unpacked as the folder data/raw/nw_ucla); it need not be unpacked."
    ),
    example=EXAMPLE,
)
