"""Generation of the dataset: performances, and the folder of their recordings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.synthesize.body import joints_of, turned
from dualhead.data.synthesize.motions import ACTIONS, Person, rest, time_course
from dualhead.data.synthesize.sensor import VIEWS, Track, disturb, sensor_noise, skeleton_text, view
from dualhead.files import write_json

RECIPE = 3  # raise it when the same settings would write other files
MARKER = "synthesis.json"
SHORTEST = 10  # frames: an action must fit in


class Counts(NamedTuple):
    """Counts of the recordings in the folder."""

    recordings: int
    written: bool  # false if it was there already


class Plan(NamedTuple):
    """Settings of a dataset, which the marker file keeps."""

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
        """Content of the marker file."""
        names = [action.name for action in ACTIONS[: self.classes]]
        settings = {"recipe": RECIPE, **self._asdict(), "frames": list(self.frames)}
        return {"settings": settings, "class_names": names, "recordings": self.recordings}


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
        classes: number of actions, the first of `ACTIONS`.
        subjects: people, each with a body and a manner of moving.
        cameras: views of each performance, 1 to 3.
        setups: distances and heights of the cameras, alternating over subjects and repetitions.
        repetitions: number of times that each subject does each action.
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
    """Return whether these very recordings lie in `output`; refuse to replace other files."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: expected a new folder, found a file. Give another --output.")
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
        seen = [view(body, camera, performance.setup) for body in bodies]
        tracks = [Track(body + sensor_noise(body.shape, rng)) for body in seen]
        yield name, skeleton_text(disturb(tracks, rng), rng)


def _perform(performance: Performance, num_frames: int) -> list[Floats]:
    """Return each person's joints in the room, (T, V, 3): x to their right, y up, z behind them."""
    rng, action = performance.rng, ACTIONS[performance.action]
    phase = rng.uniform(0, 2 * np.pi)
    bodies = []
    for person in performance.people:
        clock = time_course(num_frames, person, phase, rng)
        pose = rest(num_frames, rng)
        action.coarse(pose, clock)
        action.fine(pose, clock)
        bodies.append(joints_of(pose, person))
    heading = rng.normal(0, np.radians(8))
    if len(bodies) == 1:
        place = np.array([rng.normal(0, 0.15), 0, rng.normal(0, 0.15)])
        return [turned(bodies[0], heading) + place]
    apart = rng.normal(0.85, 0.04)
    return [
        turned(body, heading + side * np.pi / 2) + np.array([side * apart, 0, 0])
        for body, side in zip(bodies, (1, -1), strict=True)
    ]
