"""JSON of Kinect cameras: bodies with joints by number or name, and Azure Kinect's `joint_positions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    Content,
    Form,
    Json,
    Motion,
    by_body,
    damaged,
    joint_name,
    keys_of,
    layout_named,
    numbers,
)
from dualhead.layout import LAYOUTS, SkeletonLayout

COUNTS = {20: "kinect20", 25: "ntu25", 32: "azure32"}
AXES = (("x", "y", "z"), ("X", "Y", "Z"), ("cameraX", "cameraY", "cameraZ"))
POSITIONS = ("position", "Position", "pos")
TRACKED = ("tracked", "isTracked", "IsTracked")
IDS = ("body_id", "trackingId", "TrackingId", "tracking_id", "id")


def _frames(document: Json) -> Sequence[Json]:
    """Return the list of frames, whether it is the document or stands in it."""
    found = document if isinstance(document, list) else _entry(document, "frames")
    return found if isinstance(found, list) else []


def _entry(mapping: Json, name: str) -> Json:
    """Return a mapping's value under a name, in lower case or as C# writes it; None for nothing."""
    found = keys_of(mapping)
    return found.get(name, found.get(name.capitalize()))


def _bodies(frame: Json) -> list[Mapping[str, Json]]:
    return [keys_of(body) for body in _entry(frame, "bodies") or ()]


def _first_body(document: Json) -> dict[str, Json]:
    for frame in _frames(document):
        for body in _bodies(frame):
            return dict(body)
    return {}


def _is_nobody(document: Json) -> bool:
    """Return whether there are frames with bodies, but nobody in any of them."""
    frames = _frames(document)
    return bool(frames) and all(_entry(frame, "bodies") == [] for frame in frames)


def _fits_azure(content: Content) -> bool:
    return "joint_positions" in _first_body(content.document)


def _read_azure(content: Content) -> Motion:
    """Return bodies of `joint_positions`; the SDK's are millimeters, x to the right and y down."""
    frames = []
    for frame in _frames(content.document):
        frames.append(
            [
                (str(body.get("body_id", slot)), _positions(body["joint_positions"], content.name))
                for slot, body in enumerate(_bodies(frame))
                if "joint_positions" in body
            ]
        )
    joints, ids = by_body(frames, content.name)
    layout = _layout(joints.shape[2], content.name) if ids else None
    return Motion(joints, False, layout, unit="mm", ids=ids, is_upside_down=True)


def _positions(values: Json, name: str) -> Floats:
    return numbers(values, (-1, 3), name, "x, y and z of each joint")


def _layout(num_joints: int, name: str) -> SkeletonLayout:
    if num_joints not in COUNTS:
        raise damaged(name, f"{', '.join(map(str, COUNTS))} joints a body", f"{num_joints}")
    return LAYOUTS[COUNTS[num_joints]]


def _fits_kinect(content: Content) -> bool:
    joints = _entry(_first_body(content.document), "joints")
    return isinstance(joints, dict | list) or _is_nobody(content.document)


def _read_kinect(content: Content) -> Motion:
    """Return bodies whose `joints` are listed by number or named; bodies not tracked are passed over."""
    names: list[str] = []
    frames = []
    for frame in _frames(content.document):
        bodies = []
        for slot, body in enumerate(_bodies(frame)):
            is_tracked = all(body.get(key) is not False for key in TRACKED)
            if is_tracked and _entry(body, "joints"):
                given, positions = _joints(_entry(body, "joints"), content.name)
                names = names or given
                if given != names:
                    raise damaged(content.name, f"joints {names[:3]}... in each body", given)
                label = next((str(body[key]) for key in IDS if key in body), str(slot))
                bodies.append((label, positions))
        frames.append(bodies)
    joints, ids = by_body(frames, content.name)
    if names:
        return Motion(joints, False, layout_named(names), tuple(names), "m", ids=ids)
    layout = _layout(joints.shape[2], content.name) if ids else None
    return Motion(joints, False, layout, unit="m", ids=ids)


def _joints(given: Json, name: str) -> tuple[list[str], Floats]:
    """Return the joints' names, none where they go by number, and positions (V, 3)."""
    if isinstance(given, dict):
        entries = {joint_name(str(key)): value for key, value in given.items()}
        if not all(key.isdecimal() for key in entries):
            return [*entries], np.stack([_position(value, name) for value in entries.values()])
        given = [entries[key] for key in sorted(entries, key=int)]
    named = [
        str(keys_of(joint).get("name", keys_of(joint).get("jointName", ""))) for joint in given
    ]
    positions = np.stack([_position(joint, name) for joint in given])
    return ([joint_name(one) for one in named] if all(named) else []), positions


def _position(joint: Json, name: str) -> Floats:
    for key in POSITIONS:
        joint = keys_of(joint).get(key, joint)
    for axes in AXES:
        if all(axis in keys_of(joint) for axis in axes):
            joint = [joint[axis] for axis in axes]
    return numbers(joint, (3,), name, "x, y and z of a joint")


def _fits_list(content: Content) -> bool:
    return "skeletons" in keys_of(content.document)


def _read_list(content: Content) -> Motion:
    """Return the one body of NW-UCLA's form, `skeletons`: frames of joints, meters (Kinect v1)."""
    skeletons = keys_of(content.document)["skeletons"]
    if not isinstance(skeletons, list) or not skeletons:
        raise damaged(content.name, "a list of frames in `skeletons`", skeletons)
    count = len(skeletons[0]) if isinstance(skeletons[0], list) else 0
    joints = numbers(
        skeletons, (len(skeletons), 1, count or 1, 3), content.name, "frames of joints"
    )
    return Motion(joints, False, _layout(count, content.name), unit="m")


AZURE_KINECT = Form("azure_kinect", "Azure Kinect's JSON", _fits_azure, _read_azure)
KINECT = Form("kinect", "JSON of bodies and joints (Kinect v1, v2)", _fits_kinect, _read_kinect)
NW_UCLA = Form("nw_ucla", "NW-UCLA's JSON of `skeletons`", _fits_list, _read_list)
