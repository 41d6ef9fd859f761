"""Own recordings in any form that is known here, with own classes, joints, people and splits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dualhead.arrays import Columns, Parts
from dualhead.data.archives import RawFile, is_tar, list_files, lying_in, read_file, unbundle
from dualhead.data.dataset import Dataset, Dropped, OtherData, Prepared, RawSample
from dualhead.data.datasets.kinetics import KINETICS
from dualhead.data.datasets.motion import NobodyError, Said, Wanted, prepare_motion, read_motion
from dualhead.data.datasets.own_labels import (
    LABELS,
    SPLITS,
    Label,
    key_of,
    label_of,
    number_labels,
    read_labels,
)
from dualhead.data.forms.base import Content, Motion, content_of, decode
from dualhead.data.forms.yolo import is_yolo
from dualhead.layout import SkeletonLayout, load_layout
from dualhead.settings.params import Settings
from dualhead.settings.reading import locate_yaml

ENDINGS = (
    *(".skeleton", ".json", ".jsonl", ".txt", ".csv", ".tsv"),
    *(".npz", ".npy", ".bvh", ".trc", ".c3d"),
)
FRAME_FILES = {
    ".json": re.compile(r"(?P<name>.*?)_?\d+_keypoints", re.I),
    ".txt": re.compile(r"(?P<name>.*?)[_-]?\d+"),
}
"""Names of files that hold one frame each, without their ending: OpenPose's and YOLO's."""
ASIDE = ("_label.json", "_labels.json", "missing_skeletons.txt", "missing_samples.txt")
TRIED = 5
"""Recordings that are read to find the layout, where the first ones are damaged."""


class _Found(NamedTuple):
    """One recording in a raw folder or archive: its path below it, without ending, and its files."""

    key: str
    files: tuple[RawFile, ...]
    by_frame: bool  # whether each file is one frame


def list_recordings(
    raw: Sequence[Path], *, settings: Settings
) -> tuple[list[RawSample], list[Dropped]]:
    """List recordings with their classes; those without one have label -1 and are in no split.

    Args:
        raw: folders, archives, or single recordings.
        settings: those of `number_labels`.
    """
    found, rows, dropped = _scan(raw)
    names = _names([one.key for one in found])
    labels = [_label(one, name, rows) for one, name in zip(found, names, strict=True)]
    numbered = number_labels(names, labels, settings)
    samples = []
    for one, name, label, meta in zip(found, names, numbered.labels, numbered.meta, strict=True):
        first, size = one.files[0], sum(file.size for file in one.files)
        parts = one.files if one.by_frame else ()
        samples.append(RawSample(name, label, meta, first.source, first.member, size, parts))
    known = {key for one, name in zip(found, names, strict=True) for key in _keys(one, name)}
    return samples, dropped + _without_recording(rows.keys(), known)


def _without_recording(rows: Set[str], known: Set[str]) -> list[Dropped]:
    """Return the rows of labels.csv that name no recording.

    Raises:
        ValueError: if none of them does.
    """
    absent = sorted(rows - known)
    if known and rows and len(absent) == len(rows):
        raise ValueError(
            f"{LABELS}: expected names of the recordings, such as {min(known)}; found {absent[0]} "
            f"and no row of a recording that is there. Correct its column name."
        )
    alike = {name.casefold(): name for name in known}
    dropped = []
    for name in absent:
        detail = f"in {LABELS}, but there is no such file"
        detail += f", only {alike[name.casefold()]}" if name.casefold() in alike else ""
        dropped.append(Dropped(name, "", "no_recording", detail))
    return dropped


def read_class_names(raw: Sequence[Path]) -> tuple[str, ...]:
    """Return the classes that labels.csv or the folders name."""
    found, rows, _ = _scan(raw)
    names = _names([one.key for one in found])
    labels = [_label(one, name, rows) for one, name in zip(found, names, strict=True)]
    return number_labels(names, labels, {}).class_names


def _scan(raw: Sequence[Path]) -> tuple[list[_Found], dict[str, Label], list[Dropped]]:
    """Return the recordings below some paths, the rows of labels.csv, and files of other forms."""
    found: list[_Found] = []
    rows: dict[str, Label] = {}
    dropped = []
    for path in raw:
        files = {_below(path, file): file for file in _files(path)}
        tables = [below for below in files if below.name.lower() == LABELS]
        for below in tables:
            file = files.pop(below)
            rows |= read_labels(
                read_file(file), f"{file.source}/{below}" if file.member else str(file.source)
            )
        taken = {below: file for below, file in files.items() if _is_recording(below)}
        found += _group(taken)
        dropped += [
            Dropped(
                below.name,
                "",
                "other_form",
                f"{below} has none of the endings {', '.join(ENDINGS)}",
            )
            for below in files.keys() - taken.keys()
            if not below.name.startswith(".")
        ]
    if not rows and len({_class_folder(one) for one in found} - {""}) > 1:
        rows = {one.key: Label(_class_folder(one)) for one in found if _class_folder(one)}
    return found, rows, sorted(dropped)


def _files(path: Path) -> list[RawFile]:
    """Return the files of a folder or archive, or the one recording that a path is."""
    if path.is_dir() or is_tar(path) or path.suffix.lower() == ".zip":
        return [
            file
            for file in list_files(path, "")
            if file.source.is_file() and not str(file.path).endswith("/")
        ]
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder.")
    return [RawFile(path, None, path.stat().st_size)]


def _below(path: Path, file: RawFile) -> PurePosixPath:
    """Return the path of a file below the folder or within the archive that was given."""
    if file.member is not None:
        return PurePosixPath(file.member.replace("\\", "/"))
    return PurePosixPath(file.source.relative_to(path if path.is_dir() else path.parent).as_posix())


def _is_recording(below: PurePosixPath) -> bool:
    name = below.name.lower()
    return name.endswith(ENDINGS) and not name.endswith(ASIDE)


def _group(files: Mapping[PurePosixPath, RawFile]) -> list[_Found]:
    """Return the recordings that files hold: one each, or one frame each of a common name."""
    groups: dict[tuple[str, str], list[tuple[PurePosixPath, RawFile]]] = {}
    single = []
    for below, file in sorted(files.items()):
        match = FRAME_FILES.get(below.suffix.lower(), re.compile("(?!)")).fullmatch(below.stem)
        if match:
            name = match["name"] or below.parent.name or "recording"
            key = unicodedata.normalize("NFC", str(below.parent / name))
            groups.setdefault((key, below.suffix.lower()), []).append((below, file))
        else:
            single.append(_Found(key_of(below), (file,), by_frame=False))
    for (key, ending), members in groups.items():
        if ending == ".txt" and not _hold_persons(file for _, file in members):
            single += [_Found(key_of(below), (file,), by_frame=False) for below, file in members]
        else:
            single.append(_Found(key, tuple(file for _, file in members), by_frame=True))
    return sorted(single)


def _hold_persons(files: Iterable[RawFile]) -> bool:
    """Return whether the first text that is not empty, a frame with nobody, is YOLO's."""
    texts = (decode(read_file(file)) for file in files)
    return is_yolo(next((text for text in texts if text.strip()), ""))


def _class_folder(one: _Found) -> str:
    """Return the folder that a recording lies in, below the one that was given; empty for none.

    A folder that holds the frames of one recording, and is named like it, is no class.
    """
    folders = PurePosixPath(one.key).parts[:-1]
    if one.by_frame and folders and folders[-1] == PurePosixPath(one.key).name:
        folders = folders[:-1]
    return folders[0] if folders else ""


def _names(keys: Sequence[str]) -> list[str]:
    """Return names that differ: the last part of each path, or all of it where two end alike."""
    ends = [PurePosixPath(key).name for key in keys]
    return [
        end if ends.count(end) == 1 else key.replace("/", "_")
        for end, key in zip(ends, keys, strict=True)
    ]


def _keys(one: _Found, name: str) -> tuple[str, ...]:
    """Return the names that labels.csv may have for a recording."""
    return one.key, name, PurePosixPath(one.key).name


def _label(one: _Found, name: str, rows: Mapping[str, Label]) -> Label:
    return label_of(_keys(one, name), rows)


def content_of_sample(content: bytes, sample: RawSample) -> Content:
    """Return a recording's content, ready for the readers of forms."""
    place = f"{sample.source}/{sample.member}" if sample.member else str(sample.source)
    if sample.parts:
        return content_of(b"", place, unbundle(content))
    return content_of(content, place)


def prepare_recording(
    content: bytes,
    sample: RawSample,
    settings: Settings,
    *,
    said: Said,
    wanted: Wanted,
    converts: bool = True,
) -> Prepared:
    """Read one recording and prepare it; see `read_motion` and `prepare_motion`.

    Raises:
        OtherData: for a recording of another layout than wanted, unless `converts`.
        ValueError: for a file that is damaged, or whose layout, unit or frame rate is not known.
    """
    motion, layout = read_or_nobody(content_of_sample(content, sample), said, wanted)
    if not converts and layout != wanted.layout:
        assert wanted.layout is not None, "that of the first recording"
        raise OtherData(
            "other_layout",
            f"{sample.name}: its {layout.num_joints} joints, of layout {layout.name}, are not those of "
            f"the first recording, {wanted.layout.name}; convert all of them with --to-layout.",
        )
    return prepare_motion(motion, layout, sample.name, wanted, settings)


def read_or_nobody(content: Content, said: Said, wanted: Wanted) -> tuple[Motion, SkeletonLayout]:
    """Read a recording; one of nobody is taken in the layout that recordings become."""
    try:
        return read_motion(content, said)
    except NobodyError:
        return read_motion(content, replace(said, layout=wanted.layout))


def configure(raw: Sequence[Path], settings: Settings) -> Dataset:
    """Return the dataset that some recordings are, by what is said of them and what their files say.

    Args:
        raw: folders, archives, or single recordings.
        settings: `recordings` of a dataset in params.yaml.

    Raises:
        ValueError: if the first recordings do not say their layout, or it cannot become the wanted one.
    """
    said, wanted = said_of(settings), wanted_of(settings)
    converts = wanted.layout is not None
    layout = wanted.layout or _found_layout(raw, said)
    wanted = replace(wanted, layout=layout)
    changes: Settings = {"padding": "loop", "units": "meters", "prepare": {}}
    if layout.confidence:
        changes = {"padding": "zero", "units": KINETICS.units, "prepare": {"normalize": "none"}}
    return replace(
        SKELETONS,
        layout=layout,
        list_samples=partial(list_recordings, settings=settings),
        prepare_sample=partial(prepare_recording, said=said, wanted=wanted, converts=converts),
        **changes,
    )


def said_of(settings: Settings) -> Said:
    """Return the properties of recordings that settings state."""
    return Said(
        form=settings.get("format", ""),
        layout=load_layout(settings["layout"]) if settings.get("layout") else None,
        unit=settings.get("unit", ""),
        fps=settings.get("fps", 0.0),
        picture=tuple(settings.get("picture", (0, 0))),
    )


def wanted_of(settings: Settings) -> Wanted:
    """Return the form that settings ask recordings to be converted to.

    Raises:
        ValueError: for a file of joints that is no mapping of names to lists of names.
    """
    joints = {}
    if settings.get("joints"):
        located = locate_yaml(Path(settings["joints"]))
        for joint, names in located.content.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"{located.place((joint,))}: {joint}: expected a list of the recordings' joints "
                    f"that it is the mean of; found {names!r}. Correct it."
                )
            joints[joint] = names
    target = load_layout(settings["to_layout"]) if settings.get("to_layout") else None
    return Wanted(target, settings.get("to_fps", 0.0), joints)


def _found_layout(raw: Sequence[Path], said: Said) -> SkeletonLayout:
    """Return the layout of the first recording that can be read."""
    first_error: ValueError | None = None
    for one in _scan(raw)[0][:TRIED]:
        try:
            return read_motion(_content(one), said)[1]
        except ValueError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    listed = ", ".join(map(str, raw))
    raise ValueError(f"{listed}: expected recordings, found none, {lying_in(raw)}{SKELETONS.where}")


def _content(one: _Found) -> Content:
    place = (
        f"{one.files[0].source}/{one.files[0].member}"
        if one.files[0].member
        else str(one.files[0].source)
    )
    if not one.by_frame:
        return content_of(read_file(one.files[0]), place)
    return content_of(b"", place, [(file.path.name, read_file(file)) for file in one.files])


def _assigned(columns: Columns, *, split: str) -> Parts:
    """Return the parts that listing assigned by the labels and settings."""
    return columns[f"in_{split}"].astype("i1")


def _splits() -> Iterable[tuple[str, Callable[[Columns], Parts]]]:
    return ((split, partial(_assigned, split=split)) for split in SPLITS)


SKELETONS = Dataset(
    kind="skeletons",
    layout="ntu25",  # `configure` finds that of the recordings
    class_names=(),
    padding="loop",
    units="meters",
    meta_columns=("subject", "camera", *(f"in_{split}" for split in SPLITS)),
    list_samples=partial(list_recordings, settings={}),
    prepare_sample=partial(prepare_recording, said=Said(), wanted=Wanted()),
    splits=dict(_splits()),
    apart={"subject": "subject", "camera": "camera"},
    where=(
        "skeletons: your own recordings, in a folder such as data/raw/skeletons or an archive: NTU's "
        ".skeleton text, Kinect, OpenPose, AlphaPose, MMPose, YOLO or MediaPipe output, CSV, NumPy "
        "arrays, BVH, TRC or C3D; beside them labels.csv (name, label, and subject, camera, part "
        "where known), or a folder for each class."
    ),
    read_class_names=read_class_names,
    configure=configure,
)
