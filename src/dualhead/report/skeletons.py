"""Skeletons as they are shown: which joints were seen, and set upright before the viewer."""

from __future__ import annotations

import numpy as np

from dualhead.arrays import Array, Mask
from dualhead.layout import SkeletonLayout


def visible(joints: Array, layout: SkeletonLayout) -> Mask:
    """Return a mask (T, V, M) of the joints that the sensor saw, of (C, T, V, M).

    A body that is not in a frame is 0 everywhere in it; an image's joint of confidence 0 was not
    seen.
    """
    present = np.asarray(joints.any(axis=(0, 2)))[:, None].repeat(joints.shape[2], axis=1)
    if layout.confidence:
        return np.asarray(present & (joints[-1] > 0))
    return present


def is_flat(layout: SkeletonLayout) -> bool:
    """Return whether joints are seen in a picture, without depth."""
    return layout.confidence or layout.num_coordinates < 3


def stand(joints: Array, layout: SkeletonLayout) -> Array:
    """Return joints to the right, up, and towards the viewer, who faces the first body's front.

    Axes are exchanged and reversed, and never so that left becomes right. A picture's y points down.

    Args:
        joints: (C, T, V, M).
        layout: the skeleton's layout, whose bone `rotate_z` points up and whose `rotate_x` points from
            left to right.

    Returns:
        (3, T, V, M), in the same unit.
    """
    if is_flat(layout):
        return np.stack([joints[0], -joints[1], np.zeros_like(joints[0])])
    if layout.rotate_z is None or layout.rotate_x is None:
        return joints[:3]
    axes = np.eye(3, dtype=joints.dtype)
    up = _axis(_bone(joints, layout.rotate_z), axes)
    free = axes[axes @ up == 0]
    right = -_axis(_bone(joints, layout.rotate_x), free)
    turn = np.stack([right, up, np.cross(right, up)])
    turned: Array = np.einsum("dc,ctvm->dtvm", turn, joints)
    return turned


def _bone(joints: Array, bone: tuple[int, int]) -> Array:
    """Return a bone of the first body (3,), in the first frame that shows it."""
    vectors = joints[:, :, bone[1], 0] - joints[:, :, bone[0], 0]
    shown = np.flatnonzero(vectors.any(axis=0))
    found: Array = vectors[:, shown[0] if len(shown) else 0]
    return found


def _axis(vector: Array, axes: Array) -> Array:
    """Return that of some axes (n, 3) along which a vector lies most, in its direction."""
    shares = axes @ vector
    best = int(np.abs(shares).argmax())
    direction: Array = axes[best] * (1 if shares[best] >= 0 else -1)
    return direction
