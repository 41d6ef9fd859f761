"""A small synthetic dataset in the `.skeleton` text format of NTU RGB+D, for demo and tests.

A class is a coarse motion (which limb goes where) with a fine one on top (what the hand does
meanwhile). Several classes share the coarse motion and differ in the fine one alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.files import write_json

Array = npt.NDArray[np.float64]

RECIPE = 1  # raise it when the same settings would write other files
MARKER = "synthesis.json"
FRAME_RATE = 30.0  # per second
VIEWS = (-45.0, 0.0, 45.0)  # degrees, one a camera
LEFT, RIGHT = 0, 1
FIRST_BODY_ID = 72057594037930000
LINE_END = "\r\n"
SHORTEST = 10  # frames: an action must fit in

# Joints of a Kinect v2, in the order of the file.
ARMS = ((4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24))  # shoulder elbow wrist hand tip thumb
LEGS = ((12, 13, 14, 15), (16, 17, 18, 19))  # hip knee ankle foot
NUM_JOINTS = 25
ENDS = (3, 15, 19, 21, 22, 23, 24)  # the sensor gives no orientation for these
TOWARDS = (
    *(1, 20, 3, 3, 5, 6, 7, 21, 9, 10, 11, 23, 13, 14, 15),
    *(15, 17, 18, 19, 19, 2, 21, 22, 23, 24),
)  # the joint that a joint's bone leads to
NOISE = np.array([0.004] * 4 + ([0.005] * 3 + [0.007]) * 4 + [0.004] + [0.009] * 4)  # meters


class Counts(NamedTuple):
    """What lies in the folder."""

    recordings: int
    written: bool  # false if it was there already


class Plan(NamedTuple):
    """What is to be written; the marker file keeps it."""

    classes: int
    subjects: int
    cameras: int
    setups: int
    repetitions: int
    frames: tuple[int, int]
    seed: int

    @property
    def recordings(self) -> int:
        """Number of files."""
        return self.classes * self.subjects * self.cameras * self.repetitions

    @property
    def marker(self) -> dict[str, object]:
        """What the marker file says."""
        names = [action.name for action in ACTIONS[: self.classes]]
        settings = {"recipe": RECIPE, **self._asdict(), "frames": list(self.frames)}
        return {"settings": settings, "class_names": names, "recordings": self.recordings}


@dataclass
class Pose:
    """How a body moves: angles in radians, lengths in meters; (T,), or (T, 2) for left and right.

    Attributes:
        ahead: way gone forward.
        drop: how much lower the hips are.
        turn: heading, about the vertical.
        lean: of the trunk, forward.
        arm: of the upper arm, from hanging down (0) to straight up (pi).
        out: plane of the arm, forward (0) or sideways (pi / 2).
        elbow: flexion.
        bend: of the hand at the wrist.
        roll: of the forearm about itself.
        thigh: forward.
        knee: flexion.
    """

    ahead: Array
    drop: Array
    turn: Array
    lean: Array
    arm: Array
    out: Array
    elbow: Array
    bend: Array
    roll: Array
    thigh: Array
    knee: Array


class Clock(NamedTuple):
    """The time course of one performance."""

    seconds: Array  # (T,)
    active: Array  # (T,), 0 at rest, 1 while the action is held
    speed: float
    size: float  # how large the movements are
    phase: float


class Person(NamedTuple):
    """What is a subject's own, in every recording."""

    scale: float  # body size
    limbs: Array  # (8,), factors of bone lengths
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


def synthesize(
    output: Path,
    *,
    classes: int,
    subjects: int,
    cameras: int,
    setups: int,
    repetitions: int,
    frames: tuple[int, int],
    seed: int,
) -> Counts:
    """Write a recording for each class, subject, repetition and camera, unless they are there.

    Args:
        output: folder, which appears when it is whole.
        classes: how many of `ACTIONS`, from the first.
        subjects: people, each with a body and a manner of moving.
        cameras: views of each performance, 1 to 3.
        setups: distances and heights of the cameras, alternating over subjects and repetitions.
        repetitions: of each action by each subject.
        frames: shortest and longest recording.
        seed: the same seed writes the same files.

    Raises:
        ValueError: for a setting out of range, or an `output` that holds something else.
    """
    plan = Plan(classes, subjects, cameras, setups, repetitions, frames, seed)
    _check(plan)
    if _is_there(output, plan):
        return Counts(plan.recordings, written=False)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for performance in _performances(plan):
        for name, text in _record(performance, plan):
            (partial / f"{name}.skeleton").write_bytes(text.encode("ascii"))
    write_json(partial / MARKER, plan.marker)
    if output.exists():
        shutil.rmtree(output)
    partial.rename(output)
    return Counts(plan.recordings, written=True)


def read_class_names(folder: Path) -> tuple[str, ...] | None:
    """Return the classes of a folder that `synthesize` wrote, or None."""
    path = folder / MARKER
    if not path.is_file():
        return None
    return tuple(json.loads(path.read_text(encoding="utf-8"))["class_names"])


def _check(plan: Plan) -> None:
    most = {"classes": len(ACTIONS), "subjects": 999, "cameras": len(VIEWS)}
    for name, limit in {**most, "setups": 99, "repetitions": 99}.items():
        value = getattr(plan, name)
        if not 1 <= value <= limit:
            raise ValueError(f"synthesize: expected {name} within 1..{limit}; found {value}.")
    if not SHORTEST <= plan.frames[0] <= plan.frames[1]:
        raise ValueError(
            f"synthesize: expected frames {SHORTEST} <= shortest <= longest; found {plan.frames}."
        )


def _is_there(output: Path, plan: Plan) -> bool:
    """Return whether these very recordings lie in `output`; refuse to replace what is not ours."""
    if not output.exists() or not any(output.iterdir()):
        return False
    if not (output / MARKER).is_file():
        raise ValueError(
            f"{output}: expected a new folder, or one that `dualhead synthesize` wrote (with "
            f"{MARKER}); found other files. Give another --output."
        )
    marker = json.loads((output / MARKER).read_text(encoding="utf-8"))
    found = sum(1 for _ in output.glob("*.skeleton"))
    return bool(marker == plan.marker and found == plan.recordings)


class Performance(NamedTuple):
    """One action done once, seen by every camera."""

    action: int  # from 0
    subject: int  # from 1, as the next two
    repetition: int
    setup: int
    people: tuple[Person, ...]
    rng: np.random.Generator


def _performances(plan: Plan) -> Iterator[Performance]:
    """Yield every performance with random numbers of its own: one more class changes no other."""
    people = {subject: _person(plan.seed, subject) for subject in range(1, plan.subjects + 1)}
    for action in range(plan.classes):
        for subject in people:
            for repetition in range(1, plan.repetitions + 1):
                setup = 1 + ((subject - 1) // 2 + repetition - 1) % plan.setups
                rng = np.random.default_rng([plan.seed, 1, action, subject, repetition])
                pair = (people[subject], people[subject % plan.subjects + 1])
                present = pair[: ACTIONS[action].people]
                yield Performance(action, subject, repetition, setup, present, rng)


def _person(seed: int, subject: int) -> Person:
    rng = np.random.default_rng([seed, 0, subject])
    return Person(
        scale=rng.uniform(0.86, 1.12),
        limbs=rng.uniform(0.94, 1.06, 8),
        speed=rng.uniform(0.85, 1.2),
        size=rng.uniform(0.82, 1.12),
    )


def _record(performance: Performance, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield name and text of one performance for each camera."""
    rng = performance.rng
    num_frames = int(rng.integers(*plan.frames, endpoint=True))
    bodies = _perform(performance, num_frames)
    for camera in range(1, plan.cameras + 1):
        name = (
            f"S{performance.setup:03d}C{camera:03d}P{performance.subject:03d}"
            f"R{performance.repetition:03d}A{performance.action + 1:03d}"
        )
        seen = [_view(body, camera, performance.setup) for body in bodies]
        tracks = [_Track(body + _sensor_noise(body.shape, rng)) for body in seen]
        yield name, _text(_disturb(tracks, rng), rng)


def _perform(performance: Performance, num_frames: int) -> list[Array]:
    """Return each person's joints in the room, (T, V, 3): x to their right, y up, z behind them."""
    rng, action = performance.rng, ACTIONS[performance.action]
    phase = rng.uniform(0, 2 * np.pi)
    bodies = []
    for person in performance.people:
        clock = _clock(num_frames, person, phase, rng)
        pose = _rest(num_frames, rng)
        action.coarse(pose, clock)
        action.fine(pose, clock)
        bodies.append(_joints(pose, person))
    heading = rng.normal(0, np.radians(8))
    if len(bodies) == 1:
        place = np.array([rng.normal(0, 0.15), 0, rng.normal(0, 0.15)])
        return [_turned(bodies[0], heading) + place]
    apart = rng.normal(0.85, 0.04)
    return [
        _turned(body, heading + side * np.pi / 2) + np.array([side * apart, 0, 0])
        for body, side in zip(bodies, (1, -1), strict=True)
    ]


def _clock(num_frames: int, person: Person, phase: float, rng: np.random.Generator) -> Clock:
    seconds = np.arange(num_frames) / FRAME_RATE
    share = np.arange(num_frames) / num_frames
    begin, end = rng.uniform(0.04, 0.12), rng.uniform(0.9, 1.0)
    ramp = rng.uniform(0.18, 0.25) / person.speed
    rise = np.clip(np.minimum(share - begin, end - share) / ramp, 0, 1)
    speed, size = person.speed * rng.uniform(0.95, 1.05), person.size * rng.uniform(0.93, 1.07)
    return Clock(seconds, rise * rise * (3 - 2 * rise), speed, size, phase)


def _rest(num_frames: int, rng: np.random.Generator) -> Pose:
    """Return a standing body that sways a little."""

    def angle(mean: float, spread: float, sides: int) -> Array:
        slow = np.linspace(0, 2 * np.pi, num_frames)[:, None] * rng.uniform(0.3, 1.2, sides)
        sway = np.radians(1.5) * np.sin(slow + rng.uniform(0, 6, sides))
        angles: Array = np.radians(rng.normal(mean, spread, sides)) + sway
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


def _joints(pose: Pose, person: Person) -> Array:
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
    return _turned(joints, pose.turn)


def _place_trunk(joints: Array, scale: float, lengths: Array) -> None:
    """Set spine, neck, head and shoulders above the hips' center, which is the origin."""
    spine = lengths[0] * np.array([0.29, 0.52])
    for joint, height in ((1, spine[0]), (20, spine[1]), (2, spine[1] + 0.08 * scale)):
        joints[:, joint, 1] = height
    joints[:, 3, 1] = spine[1] + 0.21 * scale
    for side, sign in ((LEFT, -1), (RIGHT, 1)):
        joints[:, ARMS[side][0]] = [sign * 0.175 * lengths[1], spine[1] - 0.05 * scale, 0]


def _place_arm(joints: Array, side: int, pose: Pose, lengths: Array) -> None:
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


def _place_leg(joints: Array, side: int, pose: Pose, lengths: Array) -> None:
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


def _mix(first: Array, second: Array, angle: Array) -> Array:
    """Return sin(angle) * first + cos(angle) * second, (T, 3)."""
    mixed: Array = np.sin(angle)[:, None] * first + np.cos(angle)[:, None] * second
    return mixed


def _leaned(joints: Array, lean: Array) -> Array:
    """Return the joints turned forward about the hips."""
    cos, sin = np.cos(lean)[:, None], np.sin(lean)[:, None]
    y, z = joints[..., 1], joints[..., 2]
    return np.stack([joints[..., 0], cos * y + sin * z, cos * z - sin * y], axis=-1)


def _turned(joints: Array, angle: Array | float) -> Array:
    """Return the joints turned about the vertical."""
    cos, sin = np.atleast_1d(np.cos(angle))[:, None], np.atleast_1d(np.sin(angle))[:, None]
    x, z = joints[..., 0], joints[..., 2]
    return np.stack([cos * x + sin * z, joints[..., 1], cos * z - sin * x], axis=-1)


def _view(joints: Array, camera: int, setup: int) -> Array:
    """Return the joints as a camera sees them, meters: x to its left, y up, z away from it."""
    seen = _turned(joints, np.radians(VIEWS[camera - 1]))
    place: Array = np.array([0, -1.0 - 0.2 * (setup % 3), 2.6 + 0.4 * (setup % 4)])
    return np.add(seen, place)


def _sensor_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return noise that is larger at the ends of limbs and lasts about two frames."""
    white: Array = rng.standard_normal(shape) * NOISE[:, None]
    white[1:] = 0.5 * white[:-1] + np.sqrt(0.75) * white[1:]
    return white


class _Track(NamedTuple):
    """What the sensor takes for one body."""

    joints: Array  # (T, V, 3)
    start: int = 0
    renamed: int = 1 << 30  # from this frame on under another ID


class _Recording(NamedTuple):
    """What is written to a file."""

    tracks: list[_Track]
    lost: set[int]  # frames without any body


def _disturb(tracks: Sequence[_Track], rng: np.random.Generator) -> _Recording:
    """Add what real recordings suffer from: a body that is none, lost frames, a new ID."""
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
    return _Recording(disturbed, lost)


def _spurious(body: Array, rng: np.random.Generator) -> _Track:
    """Return a piece of furniture that is a body for some frames: small, and hardly moving."""
    length = int(rng.integers(3, 10))
    start = int(rng.integers(0, max(1, len(body) - length)))
    shape = 0.35 * (body[0] - body[0].mean(axis=0)) + body[0].mean(axis=0) + [0.9, -0.5, 0.3]
    still = np.broadcast_to(shape, (min(length, len(body)), NUM_JOINTS, 3))
    return _Track(still + _sensor_noise(still.shape, rng), start)


def _text(recording: _Recording, rng: np.random.Generator) -> str:
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


def _fields(
    track: _Track, ids: npt.NDArray[np.int64], rng: np.random.Generator
) -> list[list[float]]:
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


def _quaternions(joints: Array) -> Array:
    """Return (w, x, y, z) of the turn that takes +y to each bone; 0 at the ends of limbs."""
    bones = joints[:, list(TOWARDS)] - joints
    bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
    turns = np.stack(
        [1 + bones[..., 1], bones[..., 2], np.zeros(bones.shape[:2]), -bones[..., 0]], axis=-1
    )
    turns /= np.maximum(np.linalg.norm(turns, axis=-1, keepdims=True), 1e-9)
    turns[:, list(ENDS)] = 0
    return turns
