"""A dataset as the rest of the package sees it, and its recordings before and after preparation."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dualhead.arrays import Array, Columns, Parts
from dualhead.data.archives import RawFile
from dualhead.layout import SkeletonLayout, load_layout
from dualhead.settings.params import Settings


class RawSample(NamedTuple):
    """One raw recording before it is read."""

    name: str  # sample id without extension, unique in the dataset
    label: int  # 0-based class
    meta: Mapping[str, int]  # subject, camera, setup, ... as the dataset has them
    source: Path  # the file itself, or the archive that holds it
    member: str | None  # its name inside the archive
    size: int  # bytes
    parts: tuple[RawFile, ...] = ()  # files of a recording that has one for each frame
    is_array: bool = False  # an array of others, by its member


class Dropped(NamedTuple):
    """A body or recording left out of a store, or a note on one; one row of the dropped CSV."""

    name: str
    body: str  # body ID or slot; `WHOLE` for a note, empty for a dropped sample
    reason: str  # a short word that can be counted: missing_skeletons, unreadable, third_body, ...
    detail: str  # the sentence


QUOTE = reprlib.Repr()
QUOTE.maxstring = QUOTE.maxother = 60
WHOLE = "all"
"""In place of a body in a row of the dropped CSV: a note on a recording that was kept."""


def quoted(value: object) -> str:
    """Return a value of a file as a message shows it: Python's way, at most a line long."""
    return QUOTE.repr(value)


class OtherData(ValueError):
    """Refusal of a recording that is whole, but not what its dataset has."""

    def __init__(self, reason: str, text: str) -> None:
        """Say it in a sentence, and in a short word that can be counted."""
        super().__init__(text)
        self.reason = reason


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
    """One dataset: its raw form, preparation, classes, splits and published counts.

    Attributes:
        kind: name of the dataset on the command line and in `datasets` of a params.yaml.
        layout: its skeleton layout, the layout's name, or the path of a layout file.
        class_names: one for each class, in the order of the labels.
        padding: `loop` or `zero`, what follows a recording's last frame.
        units: unit of the coordinates after preparation.
        meta_columns: keys of each recording's `meta`.
        list_samples: finds the recordings in archives and folders, and what is left out of them.
            Raises ValueError for a path with nothing there.
        prepare_sample: parses one recording, selects bodies and normalizes them by the `prepare`
            settings. Raises ValueError for a bad file.
        splits: split name -> function of the meta columns, each (N,), to 1 training, 0 test, -1
            neither.
        expected: split name -> numbers of training and test recordings of the complete dataset.
        apart: split name -> meta column of which training and test recordings share no value.
        prepare: `prepare` settings that differ from the paper's where no params.yaml says them.
        where: text that says what to download, from whom, how large it is, and where to put it.
        example: name of a recording as the dataset spells it.
        source: text that says what the recordings are if they are not the dataset's own files; empty otherwise.
        read_class_names: reads the class names from raw files; `class_names` are then placeholders.
        configure: returns the dataset that raw files are by the settings `recordings`, where layout
            and preparation are not the same for all of this kind.
    """

    kind: str
    layout: str | SkeletonLayout
    class_names: tuple[str, ...]
    padding: str
    units: str
    meta_columns: tuple[str, ...]
    list_samples: Callable[[Sequence[Path]], tuple[list[RawSample], list[Dropped]]]
    prepare_sample: Callable[[bytes, RawSample, Settings], Prepared]
    splits: Mapping[str, Callable[[Columns], Parts]]
    expected: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    prepare: Mapping[str, object] = field(default_factory=dict)
    where: str = ""
    example: str = ""
    source: str = ""
    read_class_names: Callable[[Sequence[Path]], tuple[str, ...]] | None = None
    configure: Callable[[Sequence[Path], Settings], Dataset] | None = None

    def skeleton(self) -> SkeletonLayout:
        """Return the skeleton layout."""
        return load_layout(self.layout) if isinstance(self.layout, str) else self.layout
