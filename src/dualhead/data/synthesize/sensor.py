"""The sensor: views, noise, disturbances, and the text of a `.skeleton` file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Floats, Integers
from dualhead.data.synthesize.body import NUM_JOINTS, turned

VIEWS = (-45.0, 0.0, 45.0)  # degrees, one a camera
FIRST_BODY_ID = 72057594037930000
LINE_END = "\r\n"
ENDS = (3, 15, 19, 21, 22, 23, 24)  # the sensor gives no orientation for these
TOWARDS = (
    *(1, 20, 3, 3, 5, 6, 7, 21, 9, 10, 11, 23, 13, 14, 15),
    *(15, 17, 18, 19, 19, 2, 21, 22, 23, 24),
)  # the joint that a joint's bone leads to

NOISE = np.array([0.004] * 4 + ([0.005] * 3 + [0.007]) * 4 + [0.004] + [0.009] * 4)  # meters


def view(joints: Floats, camera: int, setup: int) -> Floats:
    """Return the joints as a camera sees them, meters: x to its left, y up, z away from it."""
    seen = turned(joints, np.radians(VIEWS[camera - 1]))
    place: Floats = np.array([0, -1.0 - 0.2 * (setup % 3), 2.6 + 0.4 * (setup % 4)])
    return np.add(seen, place)


def sensor_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return noise that is larger at the ends of limbs and lasts about two frames."""
    white: Floats = rng.standard_normal(shape) * NOISE[:, None]
    white[1:] = 0.5 * white[:-1] + np.sqrt(0.75) * white[1:]
    return white


class Track(NamedTuple):
    """One body as the sensor sees it."""

    joints: Floats  # (T, V, 3)
    start: int = 0
    renamed: int = 1 << 30  # from this frame on under another ID


class Disturbed(NamedTuple):
    """Tracks of one recording, and its lost frames."""

    tracks: list[Track]
    lost: set[int]  # frames without any body


def disturb(tracks: Sequence[Track], rng: np.random.Generator) -> Disturbed:
    """Add a flaw of real recordings to some: a body that is none, lost frames, a new ID."""
    disturbed, num_frames = list(tracks), len(tracks[0].joints)
    kind = rng.choice(
        ["none", "spurious", "gap", "late", "renamed"], p=[0.7, 0.1, 0.07, 0.06, 0.07]
    )
    lost: set[int] = set()
    if kind == "spurious":
        disturbed.append(_spurious(tracks[0].joints, rng))
    elif kind == "gap":
        first = int(rng.integers(5, num_frames - 4))
        lost = set(range(first, first + int(rng.integers(1, 4))))
    elif kind == "late":
        lost = set(range(int(rng.integers(1, 5))))
    elif kind == "renamed":
        disturbed[0] = tracks[0]._replace(renamed=int(rng.integers(5, num_frames - 4)))
    return Disturbed(disturbed, lost)


def _spurious(body: Floats, rng: np.random.Generator) -> Track:
    """Return a piece of furniture taken for a body in some frames: small, and hardly moving."""
    length = int(rng.integers(3, 10))
    start = int(rng.integers(0, max(1, len(body) - length)))
    shape = 0.35 * (body[0] - body[0].mean(axis=0)) + body[0].mean(axis=0) + [0.9, -0.5, 0.3]
    still = np.broadcast_to(shape, (min(length, len(body)), NUM_JOINTS, 3))
    return Track(still + sensor_noise(still.shape, rng), start)


def skeleton_text(recording: Disturbed, rng: np.random.Generator) -> str:
    """Return the text of a recording; all its numbers are formatted at once."""
    tracks, lost = recording
    ids = FIRST_BODY_ID + rng.choice(100_000, 2 * len(tracks), replace=False)
    joint = " ".join(["%.7g"] * 12)
    body = LINE_END.join(["%d 0 1 1 1 1 0 %.7g %.7g 2", str(NUM_JOINTS), *[joint] * NUM_JOINTS])
    fields = [
        _fields(track, ids[2 * slot : 2 * slot + 2], rng) for slot, track in enumerate(tracks)
    ]
    lines, values = [str(len(tracks[0].joints))], []
    for frame in range(len(tracks[0].joints)):
        present = [
            rows[frame - track.start]
            for track, rows in zip(tracks, fields, strict=True)
            if 0 <= frame - track.start < len(rows) and frame not in lost
        ]
        lines += [str(len(present)), *[body] * len(present)]
        values += [value for row in present for value in row]
    return LINE_END.join([*lines, ""]) % tuple(values)


def _fields(track: Track, ids: Integers, rng: np.random.Generator) -> list[list[float]]:
    """Return for each frame the ID, the lean of the body, and 12 numbers of each joint.

    They are x, y, z in meters, the pixel in the depth and in the color picture, a quaternion, and
    whether the joint was tracked (2) or guessed (1).
    """
    joints = track.joints
    num_frames = len(joints)
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    pixels = [256 + 366 * x / z, 208 - 366 * y / z, 975 + 1060 * x / z, 540 - 1060 * y / z]
    tracked = 2.0 - (rng.random((num_frames, NUM_JOINTS)) < 0.04)
    numbers = np.concatenate(
        [joints, np.stack(pixels, axis=-1), _quaternions(joints), tracked[..., None]], axis=-1
    )
    named = np.where(np.arange(num_frames) < track.renamed, *ids)
    leaned = rng.normal(0, 0.1, (num_frames, 2))
    rows = np.concatenate([leaned, numbers.reshape(num_frames, -1)], axis=1).tolist()
    return [[int(name), *row] for name, row in zip(named, rows, strict=True)]


def _quaternions(joints: Floats) -> Floats:
    """Return (w, x, y, z) of the turn that takes +y to each bone; 0 at the ends of limbs."""
    bones = joints[:, list(TOWARDS)] - joints
    bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
    turns = np.stack(
        [1 + bones[..., 1], bones[..., 2], np.zeros(bones.shape[:2]), -bones[..., 0]], axis=-1
    )
    turns /= np.maximum(np.linalg.norm(turns, axis=-1, keepdims=True), 1e-9)
    turns[:, list(ENDS)] = 0
    return turns
