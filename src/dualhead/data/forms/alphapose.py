"""AlphaPose's JSON: a list of persons, each with the name of its picture; or a mapping by picture."""

from __future__ import annotations

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    Content,
    Form,
    Json,
    Motion,
    as_frame,
    by_frame,
    damaged,
    first_of,
    keys_of,
    numbers,
    one_layout,
)


def _fits(content: Content) -> bool:
    first = first_of(content.document)
    return {"image_id", "keypoints"} <= first.keys() or bool(_bodies_by_picture(content.document))


def _bodies_by_picture(document: Json) -> dict[str, Json]:
    """Return the persons of each picture, as `--format cmu` and `open` write them; else nothing."""
    found = {
        picture: keys_of(entry).get("bodies", keys_of(entry).get("people"))
        for picture, entry in keys_of(document).items()
    }
    return found if found and all(isinstance(one, list) for one in found.values()) else {}


def _read(content: Content) -> Motion:
    """Return persons in the order of the file; which of a frame's is whose is not asked."""
    frames: dict[int, list[Floats]] = {}
    if isinstance(content.document, list):
        entries = [(keys_of(one).get("image_id"), one) for one in content.document]
    else:
        pictures = _bodies_by_picture(content.document).items()
        entries = [(picture, one) for picture, bodies in pictures for one in bodies]
    for picture, person in entries:
        frame = as_frame(picture, content.name)
        frames.setdefault(frame, []).append(_person(keys_of(person), content.name))
    joints = by_frame(frames, content.name)
    return Motion(joints, True, one_layout(joints.shape[2], in_picture=True))


def _person(person: Json, name: str) -> Floats:
    for key in ("keypoints", "joints", "pose_keypoints_2d"):
        if key in person:
            flat = numbers(person[key], (-1, 3), name, "x, y and score of each joint")
            return np.where(flat[:, 2:] > 0, flat, 0.0)
    raise damaged(name, "`keypoints` of each person", sorted(person))


ALPHAPOSE = Form("alphapose", "AlphaPose's JSON", _fits, _read)
