"""Movements of the synthetic classes.

A class is a coarse motion (what limbs and trunk do, over the whole recording) with a fine one on top (what a hand does
meanwhile, a few times a second), each of four with each of three. So who sees the coarse motion alone cannot tell the
classes that share it apart, nor who sees the fine one alone: the paper's premise (Sec. 1), that recognition needs both.
How large the fine motion is, is drawn for each performance, from nothing to plain to see. So a network learns it from
the plain ones first, and the faintest trembling hand is nobody's to tell from a still one: none comes to 100 %. The
motions were chosen for that, and large enough for a small network to learn in minutes; no ranking of networks did it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Floats

FRAME_RATE = 30.0  # per second
FINE_SIZE = (0.0, 1.0)  # of the angles below; drawn for each performance
LEFT, RIGHT = 0, 1


@dataclass
class Pose:
    """Course of a body's angles in radians and lengths in meters: (T,), or (T, 2) for left and right.

    Attributes:
        ahead: way gone forward.
        drop: distance by which the hips are lower.
        turn: heading, about the vertical.
        lean: forward angle of the trunk.
        arm: angle of the upper arm, from hanging down (0) to straight up (pi).
        out: plane of the arm, forward (0) or sideways (pi / 2).
        elbow: flexion.
        bend: angle of the hand at the wrist.
        roll: angle of the forearm about itself.
        thigh: forward.
        knee: flexion.
    """

    ahead: Floats
    drop: Floats
    turn: Floats
    lean: Floats
    arm: Floats
    out: Floats
    elbow: Floats
    bend: Floats
    roll: Floats
    thigh: Floats
    knee: Floats


class Clock(NamedTuple):
    """Time course of one performance."""

    seconds: Floats  # (T,)
    active: Floats  # (T,), 0 at rest, 1 while the action is held
    speed: float
    size: float  # how large the movements are
    fine: float  # how large the fine motion is, within FINE_SIZE
    phase: float


class Person(NamedTuple):
    """Body and manner of one subject, the same in every recording."""

    scale: float  # body size
    limbs: Floats  # (8,), factors of bone lengths
    speed: float
    size: float


Motion = Callable[[Pose, Clock], None]


def _raise_arm(pose: Pose, clock: Clock) -> None:
    pose.arm[:, RIGHT] += clock.active * clock.size * np.radians(140)
    pose.out[:, RIGHT] -= clock.active * np.radians(45)


def _reach_out(pose: Pose, clock: Clock) -> None:
    pose.arm[:, RIGHT] += clock.active * clock.size * np.radians(65)
    pose.out[:, RIGHT] -= clock.active * np.radians(75)
    pose.elbow[:, RIGHT] += clock.active * np.radians(12)


def _step(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 1.3 * clock.speed * clock.seconds + clock.phase)
    lift = clock.active[:, None] * np.maximum(np.stack([swing, -swing], axis=1), 0)
    pose.thigh += lift * clock.size * np.radians(55)
    pose.knee += lift * clock.size * np.radians(75)
    pose.arm += 0.4 * lift[:, ::-1]


def _approach(pose: Pose, clock: Clock) -> None:
    arrived = np.minimum(1, 2 * clock.seconds / clock.seconds[-1])
    pose.ahead += 0.45 * arrived * arrived * (3 - 2 * arrived)
    swing = np.sin(2 * np.pi * 1.6 * clock.speed * clock.seconds + clock.phase) * (arrived < 1)
    pose.thigh += np.radians(20) * np.stack([swing, -swing], axis=1)
    pose.knee += np.radians(12) * np.abs(swing)[:, None]
    _reach_out(pose, clock)


def _hold_still(pose: Pose, clock: Clock) -> None:
    pose.bend[:, RIGHT] += np.radians(3) * np.sin(2 * np.pi * 0.7 * clock.seconds + clock.phase)


def _tremble(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 5.0 * clock.speed * clock.seconds + clock.phase)
    pose.bend[:, RIGHT] += clock.active * clock.fine * np.radians(55) * swing
    pose.elbow[:, RIGHT] += clock.active * clock.fine * np.radians(25) * swing


def _twist(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 1.6 * clock.speed * clock.seconds + clock.phase)
    pose.roll[:, RIGHT] += clock.active * clock.fine * np.radians(110) * swing
    pose.bend[:, RIGHT] += clock.active * clock.fine * np.radians(50)


class Action(NamedTuple):
    """A class of the dataset."""

    name: str
    coarse: Motion
    fine: Motion
    people: int = 1


COARSE: tuple[tuple[str, Motion, int], ...] = (
    ("raise arm", _raise_arm, 1),
    ("reach out", _reach_out, 1),
    ("step in place", _step, 1),
    ("approach", _approach, 2),
)
"""Name, motion and number of people."""
FINE: tuple[tuple[str, Motion], ...] = (
    ("hold still", _hold_still),
    ("tremble", _tremble),
    ("twist wrist", _twist),
)
"""Name and motion, of the right hand."""
ACTIONS = tuple(
    Action(f"{where}, {what}", coarse, fine, people)
    for what, fine in FINE
    for where, coarse, people in COARSE
)
"""The classes; the first 4, 8 or 12 of them are all coarse motions with one, two or three fine ones."""


def time_course(num_frames: int, person: Person, phase: float, rng: np.random.Generator) -> Clock:
    """Draw the beginning, end, speed and size of one performance."""
    seconds = np.arange(num_frames) / FRAME_RATE
    share = np.arange(num_frames) / num_frames
    begin, end = rng.uniform(0.04, 0.12), rng.uniform(0.9, 1.0)
    ramp = rng.uniform(0.18, 0.25) / person.speed
    rise = np.clip(np.minimum(share - begin, end - share) / ramp, 0, 1)
    speed, size = person.speed * rng.uniform(0.95, 1.05), person.size * rng.uniform(0.93, 1.07)
    fine = rng.uniform(*FINE_SIZE)
    return Clock(seconds, rise * rise * (3 - 2 * rise), speed, size, fine, phase)


def rest(num_frames: int, rng: np.random.Generator) -> Pose:
    """Return a standing body that sways a little."""

    def angle(mean: float, spread: float, sides: int) -> Floats:
        slow = np.linspace(0, 2 * np.pi, num_frames)[:, None] * rng.uniform(0.3, 1.2, sides)
        sway = np.radians(1.5) * np.sin(slow + rng.uniform(0, 6, sides))
        angles: Floats = np.radians(rng.normal(mean, spread, sides)) + sway
        return angles if sides > 1 else angles[:, 0]

    return Pose(
        ahead=np.zeros(num_frames),
        drop=np.zeros(num_frames),
        turn=angle(0, 1, 1),
        lean=angle(3, 2, 1),
        arm=angle(14, 4, 2),
        out=angle(85, 8, 2),
        elbow=angle(14, 5, 2),
        bend=angle(14, 4, 2),
        roll=angle(0, 10, 2),
        thigh=angle(0, 2, 2),
        knee=angle(4, 2, 2),
    )
