"""MMPose's JSON: frames of `instances` with `keypoints` and `keypoint_scores`, pixels."""

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
    first_of,
    frames_under,
    keys_of,
    numbers,
    one_layout,
)


def _fits(content: Content) -> bool:
    return "instances" in first_of(frames_under("instance_info", content.document))


def _read(content: Content) -> Motion:
    frames = {}
    is_list = isinstance(content.document, list)  # a line a frame, in order
    for number, frame in enumerate(map(keys_of, frames_under("instance_info", content.document))):
        persons = [_person(keys_of(one), content.name) for one in frame.get("instances") or ()]
        index = number if is_list else as_frame(frame.get("frame_id", number), content.name)
        frames[index] = persons
    joints = by_frame(frames, content.name)
    return Motion(joints, True, one_layout(joints.shape[2], in_picture=True))


def _person(person: Json, name: str) -> Floats:
    positions = numbers(person.get("keypoints"), (-1, 2), name, "x and y of each of `keypoints`")
    scores = person.get("keypoint_scores")
    certain = numbers(scores, (len(positions), 1), name, "a number for each of `keypoint_scores`")
    return np.concatenate([positions, certain], axis=1)


MMPOSE = Form("mmpose", "MMPose's JSON", _fits, _read)
