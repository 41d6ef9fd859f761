"""Conversion of joints between skeleton layouts: each joint the mean of named ones of the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from dualhead.arrays import Array, Mask
from dualhead.layout import SkeletonLayout

JointSources = Mapping[str, tuple[str, ...]]
"""Joint of the target -> joints of the source that it is the mean of."""

SAME = (
    ("pelvis", "spine_base", "hip_center", "mid_hip"),
    ("spine_navel", "spine_mid", "spine", "spine2"),
    ("thorax", "spine_shoulder", "shoulder_center", "spine_chest"),
    ("neck", "neck_base"),
    *((f"{side}_foot", f"{side}_foot_index", f"{side}_big_toe") for side in ("left", "right")),
    *((f"{side}_clavicle", f"{side}_collar") for side in ("left", "right")),
    ("thumb_cmc", "thumb_metacarpal"),
    ("thumb_mcp", "thumb_proximal"),
    ("thumb_ip", "thumb_distal"),
    *(
        names
        for finger in ("index", "middle", "ring", "little")
        for names in (
            (f"{finger}_mcp", f"{finger}_proximal"),
            (f"{finger}_pip", f"{finger}_intermediate"),
            (f"{finger}_dip", f"{finger}_distal"),
        )
    ),
)
"""Names that sensors and pose estimators give to nearly one place of the body."""

SHOULDERS, HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
MEANS: Mapping[str, tuple[str, ...]] = {
    "pelvis": HIPS,
    "spine_navel": SHOULDERS + HIPS,
    "thorax": SHOULDERS,
    "neck": SHOULDERS,
    "head": ("left_ear", "right_ear"),
    "left_hand": ("left_pinky", "left_index"),
    "right_hand": ("right_pinky", "right_index"),
}
"""Joints in whose place, where a source has none of that name, the mean of others stands."""

DEFINED: Mapping[str, JointSources] = {
    "openpose18": {"neck": SHOULDERS},
    "body25": {"neck": SHOULDERS, "mid_hip": HIPS},
}
"""Joints that a layout itself defines as means, whatever the source calls by their names."""

NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


def joint_sources(
    source: SkeletonLayout, target: SkeletonLayout, own: Mapping[str, Sequence[str]] = NOTHING
) -> JointSources:
    """Find for each joint of the target the joints of the source that it is the mean of.

    Args:
        source: layout of the joints that are there.
        target: layout of the joints that are wanted.
        own: joints of the target that are made otherwise than by `SAME`, `MEANS` and `DEFINED`.

    Raises:
        ValueError: naming the joints of the target that the source has nothing for, a joint of
            `own` that one of the layouts lacks, or layouts whose coordinates differ in kind.
    """
    _refuse_other_coordinates(source, target)
    _refuse_unknown(source, target, own)
    found = {
        joint: tuple(own[joint]) if joint in own else _first_there(joint, source, target)
        for joint in target.joints
    }
    missing = [joint for joint, names in found.items() if not names]
    if missing:
        raise ValueError(
            f"layouts {source.name} and {target.name}: {source.name} has nothing for "
            f"{', '.join(missing[:5])}{f' and {len(missing) - 5} more' if missing[5:] else ''}. Name those whose mean "
            "each of them is in a YAML file, --joints FILE, or take a target without them."
        )
    return found


def convert(
    joints: Array,
    source: SkeletonLayout,
    target: SkeletonLayout,
    own: Mapping[str, Sequence[str]] = NOTHING,
) -> Array:
    """Return joints in another layout.

    A joint is the mean of its sources, and its confidence is the least of theirs. Where one of them
    was not seen (all its coordinates, or its confidence, are 0), it is not seen either: all 0.

    Args:
        joints: (..., V, C) in the source's layout.
        source: layout of `joints`.
        target: layout wanted.
        own: see `joint_sources`.

    Returns:
        (..., V', C) float32 in the same unit, V' joints of the target.

    Raises:
        ValueError: see `joint_sources`.
    """
    converted = np.zeros((*joints.shape[:-2], target.num_joints, joints.shape[-1]), np.float32)
    telling = joints[..., -1:] if source.confidence else joints
    seen: Mask = np.logical_or.reduce(telling != 0, axis=-1)  # (..., V)
    for place, names in enumerate(joint_sources(source, target, own).values()):
        numbers = [source.joints.index(name) for name in names]
        taken = joints[..., numbers, :]
        mean = taken.mean(axis=-2, dtype=np.float64).astype(np.float32)
        if source.confidence:
            mean[..., -1] = taken[..., -1].min(axis=-1)
        converted[..., place, :] = np.where(seen[..., numbers].all(axis=-1, keepdims=True), mean, 0)
    return converted


def _refuse_other_coordinates(source: SkeletonLayout, target: SkeletonLayout) -> None:
    kinds = [
        f"{layout.num_coordinates} coordinates, {'the last a' if layout.confidence else 'no'} "
        "confidence"
        for layout in (source, target)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"layouts {source.name} and {target.name}: expected coordinates of one kind, found "
            f"{kinds[0]}, and {kinds[1]}. Take a target of the same kind."
        )


def _refuse_unknown(
    source: SkeletonLayout, target: SkeletonLayout, own: Mapping[str, Sequence[str]]
) -> None:
    for joint, names in own.items():
        for layout, wanted in ((target, [joint]), (source, names)):
            unknown = [name for name in wanted if name not in layout.joints]
            if unknown or not names:
                raise ValueError(
                    f"sources of joint {joint}: expected joints of layout {layout.name}; found "
                    f"{', '.join(unknown) or 'none'}. It has {', '.join(layout.joints)}."
                )


def _first_there(joint: str, source: SkeletonLayout, target: SkeletonLayout) -> tuple[str, ...]:
    """Return the first choice for a joint that the source has all of; nothing if there is none."""
    choices = _choices(joint, source, target)
    return next((names for names in choices if set(names) <= set(source.joints)), ())


def _choices(
    joint: str, source: SkeletonLayout, target: SkeletonLayout
) -> Iterator[tuple[str, ...]]:
    mean = DEFINED.get(target.name, {}).get(joint)
    if mean is not None and mean != DEFINED.get(source.name, {}).get(joint):
        yield mean
    same = next((names for names in SAME if joint in names), (joint,))
    yield (joint,)
    yield from ((name,) for name in same)
    yield from (MEANS[name] for name in same if name in MEANS)
