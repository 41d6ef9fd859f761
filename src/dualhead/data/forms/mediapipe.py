"""MediaPipe's landmarks as JSON: 33 of a pose, as fractions of the picture, or meters about the hips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    Content,
    Form,
    Json,
    Motion,
    by_frame,
    damaged,
    first_of,
    keys_of,
    numbers,
)
from dualhead.layout import LAYOUTS, picture_layout

WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
PICTURE = ("pose_landmarks", "poseLandmarks", "landmarks")
LANDMARKS = 33


def _frames(document: Json) -> Sequence[Json]:
    found = document if isinstance(document, list) else keys_of(document).get("frames")
    return found if isinstance(found, list) else []


def _key(frames: Sequence[Json], keys: Sequence[str]) -> str:
    """Return the first of some keys that a frame has; empty if none has one."""
    return next((key for key in keys if any(keys_of(frame).get(key) for frame in frames)), "")


def _fits(content: Content) -> bool:
    return any(key in first_of(_frames(content.document)) for key in (*WORLD, *PICTURE))


def _read(content: Content) -> Motion:
    """Return world landmarks where the file has them, x to the right and y down; else those of the picture."""
    frames = _frames(content.document)
    world = _key(frames, WORLD)
    key = world or _key(frames, PICTURE)
    if not key:
        raise damaged(content.name, f"`{PICTURE[0]}` in its frames", "none")
    columns = ("x", "y", "z") if world else ("x", "y", "visibility")
    people = {
        number: [_pose(pose, columns, content.name) for pose in _poses(frame, key, content.name)]
        for number, frame in enumerate(frames)
    }
    joints = by_frame(people, content.name)
    layout = LAYOUTS["mediapipe33"]
    if world:
        return Motion(joints, False, layout, unit="m", is_upside_down=True)
    return Motion(joints, True, picture_layout(layout), unit="fraction")


def _poses(frame: Json, key: str, name: str) -> list[Json]:
    """Return the poses of a frame: none, one, or a list of them."""
    found = keys_of(frame).get(key)
    if isinstance(found, dict):
        found = found.get("landmark", [])
    if not found:
        return []
    if not isinstance(found, list):
        raise damaged(name, f"a list of landmarks as `{key}`", found)
    return found if isinstance(found[0], list) else [found]


def _pose(pose: Json, columns: Sequence[str], name: str) -> Floats:
    rows = [[keys_of(joint).get(column, 1.0) for column in columns] for joint in pose]
    if len(rows) != LANDMARKS:
        raise damaged(name, f"{LANDMARKS} landmarks", len(rows))
    return np.asarray(numbers(rows, (LANDMARKS, 3), name, "numbers of each landmark"))


MEDIAPIPE = Form("mediapipe", "MediaPipe's landmarks as JSON", _fits, _read)
