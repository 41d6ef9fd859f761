"""Kinetics-Skeleton: OpenPose skeletons of Kinetics-400 clips, as ST-GCN published them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Array, Columns, Floats, Mask, Parts
from dualhead.data.archives import RawFile, list_files, read_file
from dualhead.data.dataset import (
    WHOLE,
    Dataset,
    Dropped,
    OtherData,
    Prepared,
    RawSample,
    quoted,
)
from dualhead.settings.params import Settings

NUM_CLASSES = 400
NUM_JOINTS = 18
BODIES_IN = 5
LONGEST = 3000  # frames; clips last 10 s
SUBSETS = {"kinetics_train": 1, "kinetics_val": 0}
LABELS = "_label.json"  # kinetics_val_label.json beside kinetics_val/


class Clip(NamedTuple):
    """Entry of a label file for one clip."""

    label: int  # 0-based class; -1 where it is not known
    class_name: str
    has_skeleton: bool


def list_clips(raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """List the clips with a skeleton, and those left out for want of one or of a label.

    Args:
        raw: folders or zips that hold kinetics_train/, kinetics_val/ and their label files.

    Raises:
        ValueError: if a folder of clips has no label file.
    """
    files = [file for path in raw for file in list_files(path, ".json")]
    labels = _read_labels(files)
    samples: list[RawSample] = []
    dropped: list[Dropped] = []
    for file in files:
        subset, name = file.path.parent.name, file.path.stem
        if subset not in SUBSETS:
            continue
        if subset not in labels:
            raise ValueError(
                f"{file.source}: expected {subset}{LABELS} beside {subset}/; found none. "
                "Both are in kinetics-skeleton.zip."
            )
        clip = labels[subset].get(name)
        if clip is None:
            dropped.append(Dropped(name, "", "no_label", f"not in {subset}{LABELS}"))
        elif not clip.has_skeleton:
            dropped.append(Dropped(name, "", "no_skeleton", f"{subset}{LABELS} says so"))
        else:
            meta = {"training": SUBSETS[subset] if clip.label >= 0 else -1}
            samples.append(RawSample(name, clip.label, meta, file.source, file.member, file.size))
    return sorted(samples, key=lambda sample: sample.name), dropped


def read_class_names(raw: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the 400 classes, as far as the label files have clips of them."""
    names = list(KINETICS.class_names)
    files = [file for path in raw for file in list_files(path, LABELS)]
    for clips in _read_labels(files).values():
        for clip in clips.values():
            if clip.label >= 0:
                names[clip.label] = clip.class_name
    return tuple(names)


def _read_labels(files: Sequence[RawFile]) -> dict[str, dict[str, Clip]]:
    """Return the clips of each label file, by the subset that it is for."""
    return {
        file.path.name.removesuffix(LABELS): {
            name: _clip(entry, f"{file.path}: {name}")
            for name, entry in _parse(read_file(file), str(file.path)).items()
        }
        for file in files
        if file.path.name.removesuffix(LABELS) in SUBSETS
    }


def _clip(entry: object, name: str) -> Clip:
    known = entry if isinstance(entry, dict) else {}
    label, class_name = known.get("label_index"), known.get("label")
    if label == -1 and not class_name:
        return Clip(-1, "", bool(known.get("has_skeleton")))
    if not isinstance(label, int) or not 0 <= label < NUM_CLASSES or not class_name:
        raise ValueError(
            f"{name}: expected label, has_skeleton, and label_index within 0..{NUM_CLASSES - 1}; "
            f"found {quoted(entry)}. Count classes from 0 in the label file; an unlabeled clip has "
            'label "" and label_index -1.'
        )
    return Clip(label, str(class_name), bool(known.get("has_skeleton")))


def prepare_clip(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Return the bodies of one clip, centered on the picture, the most certain of a frame first.

    `frame_index` is used as it is: clips that count from 1 begin with an empty frame, as the
    authors' do. Official code: an index of 300 ends the whole run; we keep the frame. Of two
    entries with one index the last counts, for each person it has. Nothing is aligned or looped,
    and `denoise` does not apply.

    Raises:
        ValueError: for a clip that is not as published, or a setting that needs three coordinates.
    """
    _refuse_normalization(sample.name, settings)
    clip = _parse(content, sample.name)
    if clip.get("label_index", sample.label) != sample.label:
        raise ValueError(
            f"{sample.name}: expected class {sample.label}, as its label file says; "
            f"found {quoted(clip['label_index'])}."
        )
    joints, num_frames, crowd = _read_frames(clip, sample.name)
    dropped = [Dropped(sample.name, "6 and on", "sixth_person", crowd)] if crowd else []
    prepared = prepare_picture(joints, sample.name, settings)
    return prepared._replace(num_frames=num_frames, dropped=(*dropped, *prepared.dropped))


def prepare_picture(joints: Floats, name: str, settings: Settings) -> Prepared:
    """Note what is odd in persons of pictures, and center them; see `prepare_crowd`.

    Raises:
        ValueError: for a setting that needs three coordinates.
    """
    _refuse_normalization(name, settings)
    joints, notes = _only_seen(joints)
    prepared = prepare_crowd(joints, name, settings["max_bodies"])
    dropped = tuple(Dropped(name, WHOLE, *note) for note in notes)
    return prepared._replace(dropped=(*dropped, *prepared.dropped))


def _refuse_normalization(name: str, settings: Settings) -> None:
    if settings["normalize"] != "none":
        raise ValueError(
            f"{name}: pictures have no depth, so prepare.normalize must be none; "
            f"found {settings['normalize']}."
        )


def prepare_crowd(joints: Floats, name: str, max_bodies: int) -> Prepared:
    """Center persons on the picture, and keep the most certain of each frame, the surest first.

    Args:
        joints: (T, persons, V, 3), x and y as fractions of the picture, y down, and a score; the
            score is 0 where a joint was not seen.
        name: the recording's name.
        max_bodies: persons kept of each frame.
    """
    joints = _center(joints)
    scores = np.ascontiguousarray(joints[..., 2].transpose(0, 2, 1))
    certainty = scores.sum(axis=1)  # (T, persons), added in the authors' order: nearly equal sums
    order = np.argsort(-certainty, axis=1, kind="stable")
    joints = np.take_along_axis(joints, order[:, :, None, None], axis=1)
    dropped = []
    lost = int((certainty > 0).sum(axis=1).clip(min=max_bodies).sum() - max_bodies * len(certainty))
    if lost:
        detail = f"{lost} skeletons of persons beyond the {max_bodies} most certain of their frame"
        dropped.append(Dropped(name, f"{max_bodies + 1} and on", "less_certain", detail))
    bodies = [_shorten(joints[:, slot]) for slot in range(min(max_bodies, joints.shape[1]))]
    return Prepared(tuple(bodies), len(joints), tuple(dropped))


def _parse(content: bytes, name: str) -> dict[str, object]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        found = f"{error}" if content.strip() else "an empty file"
        raise ValueError(f"{name}: expected JSON; found {found}.") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{name}: expected a JSON object; found {type(parsed).__name__}.")
    return parsed


def _read_frames(clip: Mapping[str, object], name: str) -> tuple[Floats, int, str]:
    """Return x, y and score (T, 5, V, 3), the number of frames, and a note on lost persons."""
    frames, persons, poses, scores = [], [], [], []
    lost = longest = 0
    try:
        for frame in clip["data"]:  # type: ignore[attr-defined]  # checked by the except
            longest = max(longest, index(frame["frame_index"]) + 1)
            lost += max(0, len(frame["skeleton"]) - BODIES_IN)
            for person, skeleton in enumerate(frame["skeleton"][:BODIES_IN]):
                frames.append(index(frame["frame_index"]))
                persons.append(person)
                poses.append(skeleton["pose"])
                scores.append(skeleton["score"])
        pose = np.array(poses, np.float64).reshape(len(frames), NUM_JOINTS, 2)
        score = np.array(scores, np.float64).reshape(len(frames), NUM_JOINTS, 1)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        _refuse_other_joints(clip, name)
        raise ValueError(
            f"{name}: expected frames with frame_index and skeleton, and {NUM_JOINTS} joints in "
            f"each skeleton's pose and score; found {_first_wrong(clip) or quoted(error)}."
        ) from error
    if longest > LONGEST or min(frames, default=0) < 0:
        found = longest - 1 if longest > LONGEST else min(frames)
        raise ValueError(
            f"{name}: expected frame_index within 0..{LONGEST - 1}; found {quoted(found)}."
        )
    joints = np.zeros((longest, BODIES_IN, NUM_JOINTS, 3))
    joints[frames, persons] = np.concatenate([pose, score], axis=-1)
    return joints, longest, f"{lost} skeletons of persons after the fifth" if lost else ""


def _skeletons(clip: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """Yield frame_index and each skeleton of a clip that may be damaged anywhere."""
    data = clip.get("data")
    for frame in data if isinstance(data, list) else ():
        number = frame.get("frame_index") if isinstance(frame, dict) else None
        persons = frame.get("skeleton") if isinstance(frame, dict) else None
        for person in persons if isinstance(persons, list) else ():
            yield number, person


def _refuse_other_joints(clip: Mapping[str, object], name: str) -> None:
    """Refuse by its number a clip all of whose skeletons have another number of joints."""
    counts = {
        len(person["score"])
        for _, person in _skeletons(clip)
        if isinstance(person, dict)
        and isinstance(person.get("score"), list)
        and isinstance(person.get("pose"), list)
        and len(person["pose"]) == 2 * len(person["score"])
    }
    if len(counts) == 1 and NUM_JOINTS not in counts:
        raise OtherData(
            "joint_count",
            f"{name}: expected {NUM_JOINTS} joints a skeleton, as OpenPose's COCO model has; found "
            f"{counts.pop()}. Another skeleton is not cut to fit: prepare its recordings as a "
            "dataset of their own.",
        )


def _first_wrong(clip: Mapping[str, object]) -> str:
    """Return the first skeleton's fault in words; empty if there is none to name."""
    if not isinstance(clip.get("data"), list):
        return "no list `data`" if "data" in clip else "no `data`"
    for number, person in _skeletons(clip):
        if not isinstance(number, int):
            return f"frame_index {quoted(number)}"
        place = f"in the skeleton of frame_index {number}"
        for key, length in (("pose", 2 * NUM_JOINTS), ("score", NUM_JOINTS)):
            values = person.get(key) if isinstance(person, dict) else None
            if not isinstance(values, list):
                return f"no {key} {place}"
            if len(values) != length:
                return f"{len(values)} numbers in {key} {place}"
            wrong = [one for one in values if one is not None and not isinstance(one, int | float)]
            if wrong:
                return f"{quoted(wrong[0])} in {key} {place}"
    return ""


def _only_seen(joints: Floats) -> tuple[Floats, list[tuple[str, str]]]:
    """Take joints (T, persons, V, 3) that are not finite for not seen; note what is odd, and how."""
    notes = []
    is_finite: Mask = np.logical_and.reduce(np.isfinite(joints), axis=-1)
    if not is_finite.all():
        joints = np.where(is_finite[..., None], joints, 0.0)
        detail = f"{(~is_finite).sum()} joints with null, NaN or infinity count as not seen"
        notes.append(("not_finite", detail))
    seen = joints[joints[..., 2] != 0][:, :2]
    excess = np.abs(seen - 0.5).max(axis=1, initial=0.0)  # from the picture's middle
    if (excess > 0.5).any():
        farthest = f"up to {excess.max():.4g} from the picture's middle"
        detail = (
            f"{(excess > 0.5).sum()} of {len(seen)} joints outside 0..1, {farthest}: pixels? Kept"
        )
        notes.append(("outside_picture", detail))
    if not len(seen):
        notes.append(("no_body", "no frame holds a person: kept, as zeros"))
    return joints, notes


def _center(joints: Floats) -> Floats:
    """Put the origin in the picture's middle, y up; a joint without score is at the origin."""
    x, y, score = joints[..., 0] - 0.5, -(joints[..., 1] - 0.5), joints[..., 2]
    seen = score != 0
    return np.stack([np.where(seen, x, 0), np.where(seen, y, 0), score], axis=-1)


def _shorten(body: Floats) -> Array:
    """Leave out the empty frames at the end, which zero padding gives back."""
    filled = np.flatnonzero(body.any(axis=(1, 2)))
    return body[: filled[-1] + 1 if len(filled) else 0].astype(np.float32)


def _val(columns: Columns) -> Parts:
    return columns["training"].astype(np.int8)


KINETICS = Dataset(
    kind="kinetics",
    layout="openpose18",
    class_names=tuple(f"class {label}" for label in range(NUM_CLASSES)),
    padding="zero",
    units="fractions of the picture's width and height from its middle, y up; score 0..1",
    meta_columns=("training",),
    list_samples=list_clips,
    prepare_sample=prepare_clip,
    splits={"val": _val},
    # The paper says 19,794 test clips; the published label file has 19,796 with a skeleton.
    expected={"val": (240_436, 19_796)},
    apart={"val": "training"},
    prepare={"normalize": "none"},
    where=(
        "Kinetics-Skeleton: kinetics-skeleton.zip (7.5 GB), from the Google Drive of ST-GCN that "
        "https://github.com/yysijie/st-gcn links to. Put it at data/raw/kinetics-skeleton.zip; "
        "it need not be unpacked."
    ),
    example="kinetics_val/-0BveUV52cM.json",
    read_class_names=read_class_names,
)
