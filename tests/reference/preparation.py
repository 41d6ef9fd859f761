"""The authors' preparation of NTU RGB+D, one joint after the other: slow, and obvious.

It judges `dualhead.datasets.ntu` and is the other side of its speed ratio. What counts as empty is
a parameter: the authors ask whether float32 coordinates add up to 0, ours whether each one is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NUM_JOINTS = 25
NUM_SLOTS = 4
NUM_BODIES = 2
NUM_FRAMES = 300

IsEmpty = Callable[[np.ndarray], bool]


def adds_up_to_zero(positions: np.ndarray) -> bool:
    """The authors' test."""
    return positions.sum() == 0


def is_all_zero(positions: np.ndarray) -> bool:
    """Ours."""
    return not positions.any()


def prepare(content: bytes, is_empty: IsEmpty) -> np.ndarray:
    """Return float32 (3, 300, 25, 2) of a `.skeleton` file of at most 300 frames."""
    bodies = select(read(content), is_empty)
    padded = pad(bodies, is_empty)
    return normalize(padded, is_empty).transpose(3, 1, 2, 0)


def read(content: bytes) -> np.ndarray:
    """Return float64 (4, T, 25, 3): a body's slot is its place within the frame."""
    lines = iter(content.decode().splitlines())
    num_frames = int(next(lines))
    slots = np.zeros((NUM_SLOTS, num_frames, NUM_JOINTS, 3))
    for frame in range(num_frames):
        for slot in range(int(next(lines))):
            next(lines)  # the header: the tracker's ID and states
            for joint in range(int(next(lines))):
                fields = [float(field) for field in next(lines).split()]
                if slot < NUM_SLOTS and joint < NUM_JOINTS:
                    slots[slot, frame, joint] = fields[:3]
    return slots


def energy(body: np.ndarray, is_empty: IsEmpty) -> float:
    """Return the deviations of x, y and z over the frames where the body is, added."""
    frames = [frame for frame in body if not is_empty(frame)]
    if not frames:
        return 0.0
    x, y, z = np.stack(frames).reshape(-1, 3).T
    return x.std() + y.std() + z.std()


def select(slots: np.ndarray, is_empty: IsEmpty) -> np.ndarray:
    """Return float32 (2, 300, 25, 3): the two slots of most energy, the lower first in a tie."""
    energies = [energy(body, is_empty) for body in slots]
    order = sorted(range(NUM_SLOTS), key=lambda slot: -energies[slot])
    bodies = np.zeros((NUM_BODIES, NUM_FRAMES, NUM_JOINTS, 3), np.float32)
    for body in range(NUM_BODIES):
        bodies[body, : slots.shape[1]] = slots[order[body]]
    return bodies


def pad(bodies: np.ndarray, is_empty: IsEmpty) -> np.ndarray:
    """Move each body to the front if it comes late, and loop it to the end."""
    padded = bodies.copy()
    for body in padded:
        if is_empty(body):
            continue
        if is_empty(body[0]):
            frames = [frame.copy() for frame in body if not is_empty(frame)]
            body[:] = 0
            for number, frame in enumerate(frames):
                body[number] = frame
        for frame in range(NUM_FRAMES):
            if is_empty(body[frame]) and is_empty(body[frame:]):
                for rest in range(frame, NUM_FRAMES):
                    body[rest] = body[rest - frame]
                break
    return padded


def normalize(padded: np.ndarray, is_empty: IsEmpty) -> np.ndarray:
    """Center each frame on the main body, then turn spine to +z and shoulders to +x."""
    if is_empty(padded):
        return padded
    bodies = center(padded, is_empty)
    for bottom, top, axis in ((0, 1, (0, 0, 1)), (4, 8, (1, 0, 0))):
        bone = bodies[0, 0, top] - bodies[0, 0, bottom]
        bodies = turn(bodies, rotation(bone, axis), is_empty)
    return bodies


def center(padded: np.ndarray, is_empty: IsEmpty) -> np.ndarray:
    """Subtract the main body's middle of the spine in each frame; absent joints stay at 0."""
    bodies = padded.copy()
    for body in range(NUM_BODIES):
        if is_empty(padded[body]):
            continue
        for frame in range(NUM_FRAMES):
            for joint in range(NUM_JOINTS):
                if is_empty(padded[body, frame, joint]):
                    bodies[body, frame, joint] = 0
                else:
                    bodies[body, frame, joint] -= padded[0, frame, 1]
    return bodies


def turn(bodies: np.ndarray, matrix: list[list[float]], is_empty: IsEmpty) -> np.ndarray:
    """Rotate every joint, in float64, of the frames that are not empty."""
    turned = bodies.copy()
    for body in range(NUM_BODIES):
        if is_empty(bodies[body]):
            continue
        for frame in range(NUM_FRAMES):
            if is_empty(bodies[body, frame]):
                continue
            for joint in range(NUM_JOINTS):
                x, y, z = bodies[body, frame, joint].tolist()
                for row, (a, b, c) in enumerate(matrix):
                    turned[body, frame, joint, row] = a * x + b * y + c * z
    return turned


def rotation(vector: np.ndarray, axis: tuple[int, int, int]) -> list[list[float]]:
    """Return the matrix that turns a float32 vector onto an axis."""
    identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    across = np.cross(vector.astype(np.float64), axis)
    theta = angle(vector, axis)
    if np.abs(across).sum() < 1e-6 or abs(theta) < 1e-6:
        return identity
    across = across / math.sqrt((across * across).sum())
    a = math.cos(theta / 2)
    b, c, d = (-across * math.sin(theta / 2)).tolist()
    return [
        [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
        [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
        [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ]


def angle(vector: np.ndarray, axis: tuple[int, int, int]) -> float:
    """Return the angle between a vector and an axis; 0 for a vector without length."""
    if np.abs(vector).sum() < 1e-6:
        return 0.0
    unit = vector / np.linalg.norm(vector)  # float32
    cosine = sum(float(x) * i for x, i in zip(unit, axis, strict=True))
    return math.acos(min(max(cosine, -1.0), 1.0))
