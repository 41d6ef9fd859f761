"""Movements of the synthetic classes.

A class is a coarse motion (which limb goes where) with a fine one on top (what the hand does
meanwhile). Several classes share the coarse motion and differ in the fine one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Floats

FRAME_RATE = 30.0  # per second
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


def _bend_down(pose: Pose, clock: Clock) -> None:
    lean = clock.active * clock.size * np.radians(70)
    pose.lean += lean
    pose.arm += lean[:, None]
    pose.out -= clock.active[:, None] * np.radians(80)
    pose.knee += 0.3 * lean[:, None]
    pose.thigh += 0.15 * lean[:, None]


def _wave_wide(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 1.3 * clock.speed * clock.seconds + clock.phase)
    pose.arm += (clock.active * np.radians(80 + 35 * clock.size * swing))[:, None]


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


def _turn_around(pose: Pose, clock: Clock) -> None:
    pose.turn += clock.active * np.pi
    lift = np.abs(np.sin(2 * np.pi * 1.5 * clock.seconds)) * clock.active * (1 - clock.active)
    pose.thigh += np.radians(60) * lift[:, None]


def _hold_still(pose: Pose, clock: Clock) -> None:
    pose.bend[:, RIGHT] += np.radians(3) * np.sin(2 * np.pi * 0.7 * clock.seconds + clock.phase)


def _tremble(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 5.0 * clock.speed * clock.seconds + clock.phase)
    pose.bend[:, RIGHT] += clock.active * np.radians(55) * swing
    pose.elbow[:, RIGHT] += clock.active * np.radians(11) * swing


def _twist(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 1.6 * clock.speed * clock.seconds + clock.phase)
    pose.roll[:, RIGHT] += clock.active * np.radians(110) * swing
    pose.bend[:, RIGHT] += clock.active * np.radians(50)


def _shake(pose: Pose, clock: Clock) -> None:
    swing = np.sin(2 * np.pi * 3.0 * clock.speed * clock.seconds + clock.phase)
    pose.elbow[:, RIGHT] += clock.active**2 * np.radians(25) * swing


class Action(NamedTuple):
    """A class of the dataset."""

    name: str
    coarse: Motion
    fine: Motion
    people: int = 1


ACTIONS: tuple[Action, ...] = (
    Action("raise arm, hold still", _raise_arm, _hold_still),
    Action("raise arm, tremble hand", _raise_arm, _tremble),
    Action("raise arm, twist wrist", _raise_arm, _twist),
    Action("reach out, hold still", _reach_out, _hold_still),
    Action("reach out, tremble hand", _reach_out, _tremble),
    Action("bend down", _bend_down, _hold_still),
    Action("wave both arms wide", _wave_wide, _hold_still),
    Action("step in place", _step, _hold_still),
    Action("approach, shake hands", _approach, _shake, people=2),
    Action("approach, hand over", _approach, _hold_still, people=2),
    Action("reach out, twist wrist", _reach_out, _twist),
    Action("turn around", _turn_around, _hold_still),
)


def time_course(num_frames: int, person: Person, phase: float, rng: np.random.Generator) -> Clock:
    """Draw the beginning, end, speed and size of one performance."""
    seconds = np.arange(num_frames) / FRAME_RATE
    share = np.arange(num_frames) / num_frames
    begin, end = rng.uniform(0.04, 0.12), rng.uniform(0.9, 1.0)
    ramp = rng.uniform(0.18, 0.25) / person.speed
    rise = np.clip(np.minimum(share - begin, end - share) / ramp, 0, 1)
    speed, size = person.speed * rng.uniform(0.95, 1.05), person.size * rng.uniform(0.93, 1.07)
    return Clock(seconds, rise * rise * (3 - 2 * rise), speed, size, phase)


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
