"""Bodies: the joints of a Kinect v2 from the angles of a pose and the bones of a person."""

from __future__ import annotations

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.synthesize.motions import LEFT, RIGHT, Person, Pose

# Joints of a Kinect v2, in the order of the file.
ARMS = ((4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24))  # shoulder elbow wrist hand tip thumb
LEGS = ((12, 13, 14, 15), (16, 17, 18, 19))  # hip knee ankle foot
NUM_JOINTS = 25


def joints_of(pose: Pose, person: Person) -> Floats:
    """Return the joints of a moving body in its own frame, standing on the floor: (T, V, 3)."""
    lengths = person.scale * person.limbs
    joints = np.zeros((len(pose.ahead), NUM_JOINTS, 3))
    _place_trunk(joints, person.scale, lengths)
    for side in (LEFT, RIGHT):
        _place_arm(joints, side, pose, lengths)
    joints = _leaned(joints, pose.lean)
    for side in (LEFT, RIGHT):
        _place_leg(joints, side, pose, lengths)
    feet = joints[:, [15, 19], 1].min(axis=1)
    joints[..., 1] -= (feet + pose.drop)[:, None]
    joints[..., 2] -= pose.ahead[:, None]
    return turned(joints, pose.turn)


def _place_trunk(joints: Floats, scale: float, lengths: Floats) -> None:
    """Set spine, neck, head and shoulders above the hips' center, which is the origin."""
    spine = lengths[0] * np.array([0.29, 0.52])
    for joint, height in ((1, spine[0]), (20, spine[1]), (2, spine[1] + 0.08 * scale)):
        joints[:, joint, 1] = height
    joints[:, 3, 1] = spine[1] + 0.21 * scale
    for side, sign in ((LEFT, -1), (RIGHT, 1)):
        joints[:, ARMS[side][0]] = [sign * 0.175 * lengths[1], spine[1] - 0.05 * scale, 0]


def _place_arm(joints: Floats, side: int, pose: Pose, lengths: Floats) -> None:
    shoulder, elbow, wrist, hand, tip, thumb = ARMS[side]
    sign = 1 if side == RIGHT else -1
    plane = np.zeros((len(joints), 3))
    plane[:, 0], plane[:, 2] = sign * np.sin(pose.out[:, side]), -np.cos(pose.out[:, side])
    up = np.broadcast_to([0.0, 1.0, 0.0], plane.shape)
    upper = _mix(plane, -up, pose.arm[:, side])
    angle = pose.arm[:, side] + pose.elbow[:, side]
    fore, above = _mix(plane, -up, angle), _mix(up, plane, angle)
    aside = np.cross(fore, above)
    thumbs = _mix(aside, above, pose.roll[:, side])
    palm = np.cross(fore, thumbs)
    fingers = _mix(palm, fore, pose.bend[:, side])
    joints[:, elbow] = joints[:, shoulder] + 0.27 * lengths[2] * upper
    joints[:, wrist] = joints[:, elbow] + 0.25 * lengths[3] * fore
    joints[:, hand] = joints[:, wrist] + 0.07 * lengths[3] * fingers
    joints[:, tip] = joints[:, hand] + 0.09 * lengths[3] * fingers
    joints[:, thumb] = joints[:, wrist] + lengths[3] * (0.05 * fingers + 0.06 * thumbs)


def _place_leg(joints: Floats, side: int, pose: Pose, lengths: Floats) -> None:
    hip, knee, ankle, foot = LEGS[side]
    sign = 1 if side == RIGHT else -1
    down, ahead = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, -1.0])
    thigh = pose.thigh[:, side]
    joints[:, hip] = [sign * 0.08 * lengths[1], -0.03 * lengths[0], 0]
    shape = (len(joints), 3)
    along = _mix(np.broadcast_to(ahead, shape), np.broadcast_to(down, shape), thigh)
    shin = thigh - pose.knee[:, side]
    below = _mix(np.broadcast_to(ahead, shape), np.broadcast_to(down, shape), shin)
    joints[:, knee] = joints[:, hip] + 0.4 * lengths[4] * along
    joints[:, ankle] = joints[:, knee] + 0.38 * lengths[5] * below
    joints[:, foot] = joints[:, ankle] + lengths[6] * (0.12 * ahead + 0.06 * down)


def _mix(first: Floats, second: Floats, angle: Floats) -> Floats:
    """Return sin(angle) * first + cos(angle) * second, (T, 3)."""
    mixed: Floats = np.sin(angle)[:, None] * first + np.cos(angle)[:, None] * second
    return mixed


def _leaned(joints: Floats, lean: Floats) -> Floats:
    """Return the joints turned forward about the hips."""
    cos, sin = np.cos(lean)[:, None], np.sin(lean)[:, None]
    y, z = joints[..., 1], joints[..., 2]
    return np.stack([joints[..., 0], cos * y + sin * z, cos * z - sin * y], axis=-1)


def turned(joints: Floats, angle: Floats | float) -> Floats:
    """Return the joints turned about the vertical."""
    cos, sin = np.atleast_1d(np.cos(angle))[:, None], np.atleast_1d(np.sin(angle))[:, None]
    x, z = joints[..., 0], joints[..., 2]
    return np.stack([cos * x + sin * z, joints[..., 1], cos * z - sin * x], axis=-1)
