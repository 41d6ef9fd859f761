"""The dataset of `dualhead synthesize`: NTU RGB+D's format, names and splits, invented people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualhead.arrays import Columns, Parts
from dualhead.data.dataset import Dataset
from dualhead.data.datasets.ntu import (
    APART,
    EXAMPLE,
    LAYOUT,
    META_COLUMNS,
    list_skeleton_files,
    prepare_ntu_sample,
)
from dualhead.data.synthesize import generate
from dualhead.data.synthesize.motions import ACTIONS


def read_class_names(raw: Sequence[Path]) -> tuple[str, ...]:
    """Return the classes that were synthesized, or as many as the files need."""
    for path in raw:
        names = generate.read_class_names(path) if path.is_dir() else None
        if names:
            return names
    samples, _ = list_skeleton_files(raw)
    return SYNTHETIC.class_names[: 1 + max((sample.label for sample in samples), default=0)]


def _xsub(columns: Columns) -> Parts:
    return (columns["subject"] % 2).astype(np.int8)


def _xview(columns: Columns) -> Parts:
    return np.where(columns["camera"] == 1, 0, 1).astype(np.int8)


def _xset(columns: Columns) -> Parts:
    return (1 - columns["setup"] % 2).astype(np.int8)


SYNTHETIC = Dataset(
    kind="synthetic",
    layout=LAYOUT,
    class_names=tuple(action.name for action in ACTIONS),
    padding="loop",
    units="meters",
    meta_columns=META_COLUMNS,
    list_samples=list_skeleton_files,
    prepare_sample=prepare_ntu_sample,
    splits={"xsub": _xsub, "xview": _xview, "xset": _xset},
    apart=APART,
    where="synthetic: nothing to download; `dualhead synthesize` writes it.",
    example=EXAMPLE,
    read_class_names=read_class_names,
)
