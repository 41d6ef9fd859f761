"""The four inputs of Sec. 3.7, made from joints: joint, bone, joint motion, bone motion.

Arrays are (..., C, T, V, M), numpy or torch alike; axes are counted from the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from dualhead.arrays import Array

if TYPE_CHECKING:
    from torch import Tensor

    from dualhead.layout import SkeletonLayout

Positions = TypeVar("Positions", Array, "Tensor")


class Modality(Protocol):
    """Function from joints to one modality."""

    def __call__(self, joints: Positions, layout: SkeletonLayout, /) -> Positions:
        """Return the modality of joints (..., C, T, V, M), in the same type and shape."""


def joint(joints: Positions, layout: SkeletonLayout, /) -> Positions:
    """Return the joints themselves: (..., C, T, V, M), meters after normalization."""
    return joints


def bone(joints: Positions, layout: SkeletonLayout, /) -> Positions:
    """Return the vector from each joint's parent to the joint (Sec. 3.7).

    Every channel is differenced, a confidence too, as in the authors' code.

    Args:
        joints: (..., C, T, V, M), meters.
        layout: skeleton layout; its root is its own parent.

    Returns:
        (..., C, T, V, M), meters; zero at the root.
    """
    return joints - joints[..., list(layout.parents), :]


def joint_motion(joints: Positions, layout: SkeletonLayout, /) -> Positions:
    """Return each joint's step to the next frame (Sec. 3.7); see `motion`."""
    return motion(joints)


def bone_motion(joints: Positions, layout: SkeletonLayout, /) -> Positions:
    """Return each bone's step to the next frame (Sec. 3.7); see `motion`."""
    return motion(bone(joints, layout))


def motion(positions: Positions) -> Positions:
    """Return each frame's step to the next; zero in the last frame.

    Args:
        positions: (..., C, T, V, M), padded; the jump where a loop begins anew counts, as in the
            authors' code.

    Returns:
        (..., C, T, V, M), meters per frame.
    """
    step = -positions
    step[..., :-1, :, :] += positions[..., 1:, :, :]
    step[..., -1, :, :] = 0
    return step


MODALITIES: Mapping[str, Modality] = {
    "joint": joint,
    "bone": bone,
    "joint_motion": joint_motion,
    "bone_motion": bone_motion,
}
