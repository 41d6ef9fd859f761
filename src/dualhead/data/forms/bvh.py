"""BVH: a hierarchy of joints with offsets, and their angles and positions in each frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import Content, Form, Motion, damaged
from dualhead.layout import SkeletonLayout

AXIS = {"x": 0, "y": 1, "z": 2}


class Joint(NamedTuple):
    """A joint of the hierarchy."""

    name: str
    parent: int  # -1 for the root
    offset: Floats  # (3,)
    channels: tuple[str, ...]  # `Xposition`, `Zrotation`, ... in the file's order


def _fits(content: Content) -> bool:
    return content.text.lstrip().upper().startswith("HIERARCHY")


def _read(content: Content) -> Motion:
    """Return the joints' positions; the hierarchy is the layout. BVH names no unit.

    Each joint is its parent's place, its offset and rotations, in the order of its channels from
    left to right; an `End Site` is a joint of its own, named after its parent.
    """
    head, _, tail = content.text.partition("MOTION")
    joints = _hierarchy(iter(head.replace("{", " { ").replace("}", " } ").split()), content.name)
    values, fps = _motion(tail, sum(len(joint.channels) for joint in joints), content.name)
    positions = _positions(joints, values)
    return Motion(positions[:, None], False, _layout(joints, content.name), fps=fps)


def _hierarchy(words: Iterator[str], name: str) -> list[Joint]:
    joints: list[Joint] = []
    path: list[int] = []
    label = ""
    try:
        for word in words:
            if word in ("ROOT", "JOINT"):
                label = next(words)
            elif word == "End":
                next(words)
                label = f"{joints[path[-1]].name}_end"
            elif word == "{":
                path.append(len(joints))
                joints.append(Joint(label, path[-2] if len(path) > 1 else -1, np.zeros(3), ()))
            elif word == "}":
                path.pop()
            elif word == "OFFSET":
                offset = np.array([float(next(words)) for _ in range(3)])
                joints[path[-1]] = joints[path[-1]]._replace(offset=offset)
            elif word == "CHANNELS":
                channels = tuple(next(words) for _ in range(int(next(words))))
                joints[path[-1]] = joints[path[-1]]._replace(channels=channels)
    except (StopIteration, ValueError, IndexError, RuntimeError):
        raise damaged(name, "joints with OFFSET and CHANNELS in braces", f"{label}: cut") from None
    if not joints or path:
        raise damaged(name, "a hierarchy whose braces are closed", f"{len(joints)} joints")
    return joints


def _motion(text: str, num_channels: int, name: str) -> tuple[Floats, float]:
    """Return the channels of each frame (T, channels), and frames a second."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        count = int(lines[0].split(":")[1])
        seconds = float(lines[1].split(":")[1])
        rows = [np.array(line.split(), np.float64) for line in lines[2:]]
    except (IndexError, ValueError):
        raise damaged(name, "`Frames:`, `Frame Time:` and numbers", lines[:2]) from None
    if len(rows) != count or any(len(row) != num_channels for row in rows) or not count:
        found = f"{len(rows)} lines of {sorted({len(row) for row in rows})}"
        raise damaged(name, f"{count} lines of {num_channels} numbers", found)
    return np.stack(rows), 1 / seconds if seconds > 0 else 0.0


def _positions(joints: list[Joint], values: Floats) -> Floats:
    """Return each joint's place in each frame, (T, V, 3)."""
    turns: list[Floats] = []
    places: list[Floats] = []
    used = 0
    for joint in joints:
        own = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        shift = np.broadcast_to(joint.offset, (len(values), 3)).copy()
        for channel in joint.channels:
            axis, column = AXIS.get(channel[:1].lower(), 0), values[:, used]
            used += 1
            if channel[1:].lower() == "position":
                shift[:, axis] = column if joint.parent < 0 else shift[:, axis] + column
            else:
                own = own @ rotation(axis, np.deg2rad(column))
        if joint.parent >= 0:
            shift = places[joint.parent] + np.einsum("tij,tj->ti", turns[joint.parent], shift)
            own = turns[joint.parent] @ own
        places.append(shift)
        turns.append(own)
    return np.stack(places, axis=1)


def rotation(axis: int, angles: Floats) -> Floats:
    """Return the rotations (T, 3, 3) about one axis by angles (T,), radians, counter-clockwise."""
    matrices = np.zeros((len(angles), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices[:, axis, axis] = 1
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -np.sin(angles)
    return matrices


def _layout(joints: list[Joint], name: str) -> SkeletonLayout:
    names = tuple(joint.name for joint in joints)
    parents = tuple(max(joint.parent, 0) for joint in joints)
    edges = tuple((child, parent) for child, parent in enumerate(parents) if child != parent)
    try:
        return SkeletonLayout("bvh", names, parents, edges, center=0)
    except ValueError as error:
        raise ValueError(f"{name}: its hierarchy: {error}") from None


BVH = Form("bvh", "BVH", _fits, _read)
