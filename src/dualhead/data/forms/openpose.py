"""OpenPose's JSON, one file a frame: `people` with `pose_keypoints_2d`, x, y and confidence in turn."""

from __future__ import annotations

from collections.abc import Iterator

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    Content,
    Form,
    Json,
    Motion,
    as_frame,
    by_frame,
    damaged,
    decode,
    first_of,
    json_error,
    keys_of,
    numbers,
    one_layout,
    parse_json,
)

FLAT = ("pose_keypoints_2d", "pose_keypoints")
"""Its key, and that of its versions before 1.1."""
SUFFIX = "_keypoints.json"


def _fits(content: Content) -> bool:
    first = first_of(content.document) or keys_of(content.document)
    people = first.get("people")
    return isinstance(people, list) and (
        not people or any(key in keys_of(people[0]) for key in FLAT)
    )


def _frames(content: Content) -> Iterator[tuple[int, Json]]:
    """Yield the number and document of each frame: of files, of lines, or one alone."""
    if content.parts:
        for name, raw in content.parts:
            document = parse_json(text := decode(raw))
            if not isinstance(document, dict):
                found = (json_error(text) or "no mapping") if text.strip() else "an empty file"
                expected = f"the `people` of its frame in {name}; write it anew"
                raise damaged(content.name, expected, found)
            yield as_frame(name.removesuffix(SUFFIX), name), document
    elif isinstance(content.document, list):
        yield from enumerate(content.document)
    else:
        yield 0, content.document


def _read(content: Content) -> Motion:
    frames = {
        number: [_person(person, content.name) for person in keys_of(frame).get("people") or ()]
        for number, frame in _frames(content)
    }
    joints = by_frame(frames, content.name)
    return Motion(joints, True, one_layout(joints.shape[2], in_picture=True))


def _person(person: Json, name: str) -> Floats:
    flat = next((keys_of(person)[key] for key in FLAT if key in keys_of(person)), None)
    return numbers(flat, (-1, 3), name, f"x, y and confidence of each joint in {FLAT[0]}")


OPENPOSE = Form("openpose", "OpenPose's JSON, one file a frame", _fits, _read)
