"""What a dataset says of itself: how to list, read and prepare its recordings, how it is split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dualhead.arrays import Array, Columns, Parts
from dualhead.params import Settings


class RawSample(NamedTuple):
    """One recording as it lies on disk, before it is read."""

    name: str  # sample id without extension, unique in the dataset
    label: int  # 0-based class
    meta: Mapping[str, int]  # subject, camera, setup, ... as the dataset has them
    source: Path  # the file itself, or the archive that holds it
    member: str | None  # its name inside the archive
    size: int  # bytes


class Dropped(NamedTuple):
    """Something that was left out of a store, and why; one row of the dropped CSV."""

    name: str
    body: str  # body ID or slot; empty if the whole sample was dropped
    reason: str  # a short word that can be counted: missing_skeletons, unreadable, third_body, ...
    detail: str  # the sentence


class Prepared(NamedTuple):
    """One recording, normalized: the loop of each body's rows fills any number of frames.

    bodies[m] is (L_m, V, C) float32; an absent body is absent from the end of the tuple or has no
    rows.
    """

    bodies: tuple[Array, ...]
    num_frames: int
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True)
class Dataset:
    """A dataset as the rest of the package sees it."""

    kind: str
    layout: str
    class_names: tuple[str, ...]
    padding: str  # loop | zero: what follows a recording's last frame
    units: str
    meta_columns: tuple[str, ...]
    list_samples: Callable[[Sequence[Path]], tuple[list[RawSample], list[Dropped]]]
    prepare_sample: Callable[[bytes, RawSample, Settings], Prepared]
    """Parse, select bodies and normalize one recording by the `prepare` settings.

    Raises ValueError for a bad file.
    """
    splits: Mapping[str, Callable[[Columns], Parts]]
    """Split name -> meta columns (each (N,)) to 1 train, 0 test, -1 neither."""
    expected: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Split name -> exact (train, test) counts of the complete dataset."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Split name -> the meta column of which training and test samples share no value."""
    where: str = ""
    """What to download, from whom, how large, and where to put it."""
    read_class_names: Callable[[Sequence[Path]], tuple[str, ...]] | None = None
    """Reads the class names from the raw files; `class_names` are then placeholders."""
