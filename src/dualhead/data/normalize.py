"""Normalization of poses: frames centered on the main body and turned to common axes, as the authors do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from dualhead.arrays import Array, Floats, Mask
from dualhead.layout import SkeletonLayout

PADDED_FRAMES = 300  # to which the authors loop every recording
Z_AXIS, X_AXIS = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
TINY = 1e-6  # shorter vectors have no direction, smaller angles are none


class Normalization(Protocol):
    """One way to normalize; a value of `prepare.normalize`."""

    def __call__(self, bodies: Sequence[Array], layout: SkeletonLayout, /) -> tuple[Array, ...]:
        """Return bodies (L_m, V, C) from bodies (T, V, C), the main one first."""


def normalize(bodies: Sequence[Array], layout: SkeletonLayout, how: str) -> tuple[Array, ...]:
    """Normalize one recording.

    Args:
        bodies: (T, V, C) each, meters, the main body first; where a joint is not seen all its
            coordinates are exactly 0. The official code takes coordinates that add up to 0 for
            absent too, and then zeroes, deletes or overwrites joints that are there.
        layout: the skeleton.
        how: a key of `NORMALIZATIONS`.

    Returns:
        Each body as (L, V, C) float32, L = 0 if it is not there; its loop fills any length.
    """
    return NORMALIZATIONS[how](bodies, layout)


def remove_empty_frames(body: Array) -> Array:
    """Cut the frames at its end from which a body is absent.

    If it is absent in the first frame too, all frames where it is absent go, so that two bodies may
    lose step; otherwise gaps in the middle stay (both as in the authors' code).

    Args:
        body: (T, V, C).

    Returns:
        (L, V, C), with L = 0 for a body that is never there.
    """
    seen = np.flatnonzero(_seen_joints(body).any(axis=1))
    if not len(seen):
        return body[:0]
    return body[: seen[-1] + 1] if seen[0] == 0 else body[seen]


def remove_unpeopled_frames(bodies: Sequence[Array]) -> list[Array]:
    """Cut the frames without any body from bodies (T, V, C), which keep step."""
    if not bodies:
        return []
    seen = np.any([_seen_joints(body).any(axis=1) for body in bodies], axis=0)
    return [body[seen] for body in bodies]


def rotate(bodies: Sequence[Array], layout: SkeletonLayout) -> tuple[Array, ...]:
    """Loop, center and turn upright, as the authors prepare NTU RGB+D.

    In each frame the main body's center becomes the origin; then one rotation for the recording
    puts its spine of the first frame on +z, and another one its shoulders on +x. A bone that points
    exactly the other way is not turned. Each stage is rounded to float32, the rotations are
    computed in float64 (all as in the authors' code).

    Args:
        bodies: (T, V, 3), meters.
        layout: skeleton, with the bones to put on +z and on +x, or without.

    Returns:
        (L, V, 3). A body of another period than the main one's has the frames of both together, at
        most `PADDED_FRAMES`, or those of the longest if that is more.
    """
    bodies = [remove_empty_frames(body) for body in bodies]
    if not bodies or not len(bodies[0]):
        return tuple(bodies)
    planes = [np.moveaxis(body, -1, 0) for body in _center_frames(bodies, layout.center)]
    for bone, axis in ((layout.rotate_z, Z_AXIS), (layout.rotate_x, X_AXIS)):
        if bone is not None:
            first = planes[0][:, 0]
            matrix = rotation_onto(first[:, bone[1]] - first[:, bone[0]], axis)
            planes = [_apply(matrix, positions) for positions in planes]
    return tuple(np.ascontiguousarray(np.moveaxis(positions, 0, -1)) for positions in planes)


def _center_frames(bodies: Sequence[Array], center: int) -> list[Array]:
    """Subtract the main body's center of each frame from all joints present."""
    period = len(bodies[0])
    longest = max(PADDED_FRAMES, *map(len, bodies))
    centered = []
    for body in bodies:
        if len(body) not in (0, period):
            rows = np.arange(min(math.lcm(period, len(body)), longest))
            body, origin = body[rows % len(body)], bodies[0][rows % period, center]
        else:
            origin = bodies[0][: len(body), center]
        centered.append(_subtract(body, origin[:, None]))
    return centered


def _seen_joints(body: Array) -> Mask:
    """Mark the joints (T, V) that a body (T, V, C) has."""
    seen: Mask = np.moveaxis(body != 0, -1, 0).any(axis=0)
    return seen


def _subtract(body: Array, origin: Array) -> Array:
    """Subtract an origin from the joints present; the others stay at 0."""
    return np.where(_seen_joints(body)[..., None], body - origin, np.float32(0))


def rotation_onto(vector: Array, axis: tuple[float, float, float]) -> Floats:
    """Return the matrix that turns a vector onto an axis by the shortest way (Euler-Rodrigues).

    Args:
        vector: (3,) float32, meters.
        axis: a unit vector.

    Returns:
        (3, 3); the identity if the vector is shorter than `TINY` (its coordinates added), already
        there, or points exactly the other way, where no way is the shortest.
    """
    x, y, z = vector.tolist()
    i, j, k = axis
    across = (y * k - z * j, z * i - x * k, x * j - y * i)  # what it turns about
    if abs(x) + abs(y) + abs(z) < TINY or sum(map(abs, across)) < TINY:
        return np.eye(3)
    x, y, z = (vector / np.linalg.norm(vector)).tolist()  # in float32, as in the authors' code
    angle = math.acos(min(max(x * i + y * j + z * k, -1.0), 1.0))
    if angle < TINY:
        return np.eye(3)
    length = math.sqrt(sum(coordinate * coordinate for coordinate in across))
    a = math.cos(angle / 2)
    b, c, d = (-(coordinate / length) * math.sin(angle / 2) for coordinate in across)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
            [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
            [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _apply(matrix: Floats, positions: Array) -> Array:
    """Rotate positions (3, L, V) in float64, each product added in turn, and round to float32."""
    x, y, z = positions.astype(np.float64)
    return np.stack([(a * x + b * y + c * z).astype(np.float32) for a, b, c in matrix])


def center_first_frame(bodies: Sequence[Array], layout: SkeletonLayout) -> tuple[Array, ...]:
    """Make the main body's center in the first frame that has it the origin (CTR-GCN).

    Args:
        bodies: (T, V, C), meters.
        layout: skeleton layout; its center joint becomes the origin.

    Returns:
        (T, V, C), as long as before; joints that are not there stay at 0.
    """
    if not bodies:
        return ()
    seen = np.flatnonzero(bodies[0][:, layout.center].any(axis=-1))
    if not len(seen):
        return tuple(bodies)
    origin = bodies[0][seen[0], layout.center]
    return tuple(_subtract(body, origin) for body in bodies)


def leave(bodies: Sequence[Array], layout: SkeletonLayout) -> tuple[Array, ...]:
    """Return the bodies as they are."""
    return tuple(bodies)


NORMALIZATIONS: Mapping[str, Normalization] = {
    "rotate": rotate,
    "first_frame": center_first_frame,
    "none": leave,
}
