"""Kinetics-Skeleton's JSON: frames of at most five persons, fractions of the picture."""

from __future__ import annotations

import numpy as np

from dualhead.data.forms.base import (
    Content,
    Form,
    Motion,
    as_frame,
    by_frame,
    damaged,
    first_of,
    frames_under,
    keys_of,
    numbers,
    one_layout,
)

PERSONS = 5  # of a frame that the authors look at


def _fits(content: Content) -> bool:
    return "skeleton" in first_of(frames_under("data", content.document))


def _read(content: Content) -> Motion:
    frames = {}
    is_list = isinstance(content.document, list)  # a line a frame, in order
    for number, frame in enumerate(map(keys_of, frames_under("data", content.document))):
        persons = []
        for person in map(keys_of, (frame.get("skeleton") or [])[:PERSONS]):
            if "score" not in person or "pose" not in person:
                raise damaged(content.name, "pose and score of each skeleton", sorted(person))
            pose = numbers(person["pose"], (-1, 2), content.name, "x and y of each joint")
            score = numbers(person["score"], (len(pose), 1), content.name, "a score of each joint")
            persons.append(np.concatenate([pose, score], axis=1))
        index = number if is_list else as_frame(frame.get("frame_index"), content.name)
        frames[index] = persons
    joints = by_frame(frames, content.name)
    layout = one_layout(joints.shape[2], in_picture=True)
    return Motion(joints, True, layout, unit="fraction")


KINETICS = Form("kinetics", "Kinetics-Skeleton's JSON", _fits, _read)
