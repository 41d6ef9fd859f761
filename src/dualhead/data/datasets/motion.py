"""Own recordings on their way to a network: unit, frame rate and joints made the network's, then prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dualhead.arrays import Floats, Mask
from dualhead.data.bodies import prepare_bodies
from dualhead.data.convert import convert
from dualhead.data.dataset import WHOLE, Dropped, Prepared
from dualhead.data.datasets.kinetics import prepare_picture
from dualhead.data.forms import FORMS, tell
from dualhead.data.forms.base import METERS, PICTURE_UNITS, Content, Motion, layouts_with
from dualhead.data.skeleton_file import Recording
from dualhead.layout import SkeletonLayout, picture_layout
from dualhead.settings.params import Settings

FREE = ("numpy", "csv")
"""Forms whose third number may be a depth or a confidence; the layout says which."""
SMALLEST, LARGEST = 0.02, 10.0
"""Meters that a body or a hand extends over; others are in another unit."""
FURTHEST = 2.0
"""Widths of the picture that half of the joints may be from its middle at most."""


class NobodyError(ValueError):
    """Refusal of a recording of nobody, which does not show its layout."""


@dataclass(frozen=True)
class Said:
    """Facts that a user states about recordings; their files have to tell the others.

    Attributes:
        form: a key of `FORMS`; empty: told by content.
        layout: skeleton layout of their joints.
        unit: unit of their coordinates.
        fps: frames a second; 0: not said.
        picture: width and height in pixels; (0, 0): not said.
    """

    form: str = ""
    layout: SkeletonLayout | None = None
    unit: str = ""
    fps: float = 0.0
    picture: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Wanted:
    """The form that recordings are converted to.

    Attributes:
        layout: skeleton layout in the store; None: the recordings' own.
        fps: frames a second in the store; 0: as they are.
        joints: joints of the layout that are the mean of others than usual, by name.
    """

    layout: SkeletonLayout | None = None
    fps: float = 0.0
    joints: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_motion(content: Content, said: Said) -> tuple[Motion, SkeletonLayout]:
    """Read a recording; return it in meters or fractions of the picture, and its layout.

    Raises:
        ValueError: for a damaged file, or for what neither the file nor `said` tells.
    """
    form = FORMS[said.form] if said.form else tell(content)
    motion = form.read(content)
    if not motion.joints.size and not motion.names:
        return _nobody(motion, said, content.name)
    motion, layout = _with_layout(motion, said.layout, content.name, is_free=form.name in FREE)
    motion = (
        _in_picture(motion, said, content.name)
        if motion.in_picture
        else _in_meters(motion, said, content.name)
    )
    return motion._replace(fps=said.fps or motion.fps), layout


def _nobody(motion: Motion, said: Said, name: str) -> tuple[Motion, SkeletonLayout]:
    """Return a recording in which no frame holds a body, in the layout that is said of it."""
    if said.layout is None:
        raise NobodyError(
            f"{name}: nobody is in any of its {len(motion.joints)} frames, so it does not show its "
            "joints; name their layout with --layout, or leave it out."
        )
    joints = np.zeros((len(motion.joints), 0, said.layout.num_joints, 3))
    motion = motion._replace(joints=joints, in_picture=said.layout.confidence, ids=())
    return motion._replace(fps=said.fps or motion.fps), said.layout


def _with_layout(
    motion: Motion, layout: SkeletonLayout | None, name: str, *, is_free: bool
) -> tuple[Motion, SkeletonLayout]:
    """Find the layout of a recording's joints; where they are named, put them in its order."""
    layout = layout or motion.layout
    count = motion.joints.shape[2]
    if layout is None:
        kind = None if is_free and not motion.in_picture and not motion.names else motion.in_picture
        known = [one.name for one in layouts_with(count, in_picture=kind)]
        named = f" ({', '.join(motion.names[:4])}, ...)" if motion.names else ""
        raise ValueError(
            f"{name}: {count} joints{named} of a layout that the file does not say; name it with "
            f"--layout: {''.join(f'{one}, ' for one in known)}{'or ' * bool(known)}the path of a YAML "
            "file with these joints."
        )
    if is_free and motion.joints.shape[-1] == 3 and not motion.names:
        motion = motion._replace(in_picture=layout.confidence or motion.in_picture)
    if motion.in_picture:
        layout = picture_layout(layout)
    elif layout.confidence:
        raise ValueError(
            f"{name}: its joints have a depth, those of layout {layout.name} a confidence in its "
            "place. Name another --layout."
        )
    if motion.names and motion.names != layout.joints:
        absent = [joint for joint in layout.joints if joint not in motion.names]
        if absent:
            raise ValueError(
                f"{name}: it lacks {', '.join(absent[:5])}{', ...' if absent[5:] else ''} of layout "
                f"{layout.name}; it has {', '.join(motion.names[:5])}, .... Name another --layout."
            )
        order = [motion.names.index(joint) for joint in layout.joints]
        motion = motion._replace(joints=motion.joints[:, :, order])
    elif count != layout.num_joints:
        raise ValueError(
            f"{name}: expected {layout.num_joints} joints a body, as layout {layout.name} has; "
            f"found {count}. Name another --layout."
        )
    return motion, layout


def _in_meters(motion: Motion, said: Said, name: str) -> Motion:
    """Return x, y and z in meters, y up; refuse bodies of a size that no body has."""
    unit = said.unit or motion.unit
    if unit not in METERS:
        raise ValueError(
            f"{name}: its coordinates have a unit that the file does not say"
            f"{f', not {unit}' if unit else ''}; name it with --unit: {', '.join(METERS)}."
        )
    joints = motion.joints * METERS[unit]
    size = extent(joints)
    if size and not SMALLEST <= size <= LARGEST:
        raise ValueError(
            f"{name}: a body of {size:,.4g} m, by the unit {unit}; name the unit that it is in with "
            f"--unit: {', '.join(METERS)}."
        )
    if motion.is_upside_down:
        joints = joints * np.array([-1.0, -1.0, 1.0])
    return motion._replace(joints=joints, unit="m")


def extent(joints: Floats) -> float:
    """Return the median over bodies and frames of the longest side of a body's box; 0 without any."""
    seen = joints.any(axis=-1, keepdims=True)  # (T, M, V, 1)
    present = joints.reshape(*joints.shape[:2], -1).any(axis=-1)
    if not present.any():
        return 0.0
    finite = np.nan_to_num(joints, posinf=0.0, neginf=0.0)
    low = np.where(seen, finite, np.inf).min(axis=2)
    high = np.where(seen, finite, -np.inf).max(axis=2)
    return float(np.median((high - low).max(axis=-1)[present]))


def _in_picture(motion: Motion, said: Said, name: str) -> Motion:
    """Return x and y as fractions of the picture, with their confidence; 0 where it is 0."""
    joints = motion.joints
    seen = joints[..., 2] > 0
    unit = said.unit or motion.unit or _picture_unit(joints[..., :2][seen])
    if unit not in PICTURE_UNITS:
        found = (
            f"in a picture, not in {unit}"
            if unit
            else "neither clearly pixels nor clearly fractions"
        )
        raise ValueError(f"{name}: x and y are {found}; say --unit {' or '.join(PICTURE_UNITS)}.")
    if unit == "pixel":
        if not all(said.picture):
            raise ValueError(
                f"{name}: x and y are pixels, and the file does not say of how large a picture; "
                "say --picture WIDTH HEIGHT."
            )
        joints = joints / np.array([*said.picture, 1.0])
    distance = np.abs(joints[..., :2][seen] - 0.5)
    if distance.size and np.median(distance.max(axis=-1)) > FURTHEST:
        raise ValueError(
            f"{name}: half of its joints lie outside the picture by the unit {unit} and a picture "
            f"of {said.picture[0]} by {said.picture[1]}. Correct --unit or --picture."
        )
    return motion._replace(joints=np.where(seen[..., None], joints, 0.0), unit="fraction")


def _picture_unit(positions: Floats) -> str:
    """Return the unit that x and y (n, 2) can only be in; empty where both are possible."""
    if not positions.size or (positions.min() >= 0 and positions.max() <= 1):
        return "fraction"
    return "pixel" if positions.max() > 2 and positions.min() > -positions.max() else ""


def at_rate(motion: Motion, fps: float, name: str) -> Motion:
    """Return a recording at another number of frames a second, each between the two around it.

    A joint that one of the two lacks is that of the nearer one.

    Raises:
        ValueError: if the recording's own rate is not known.
    """
    if not motion.fps:
        raise ValueError(
            f"{name}: its frames a second, which the file does not say, are needed for {fps:g} "
            "a second; say --fps."
        )
    if motion.fps == fps:
        return motion
    last = len(motion.joints) - 1
    times = np.arange(int(np.floor(last * fps / motion.fps + 1e-6)) + 1) * motion.fps / fps
    before = np.minimum(np.floor(times + 1e-9).astype(np.int64), last)
    after = np.minimum(before + 1, last)
    weight = np.clip(times - before, 0, 1)[:, None, None, None]
    first, second = motion.joints[before], motion.joints[after]
    nearer = np.where(weight < 0.5, first, second)
    both = _seen(first, motion.in_picture) & _seen(second, motion.in_picture)
    joints = np.where(both, (1 - weight) * first + weight * second, nearer)
    return motion._replace(joints=joints, fps=fps)


def _seen(joints: Floats, in_picture: bool) -> Mask:
    telling = joints[..., 2:] if in_picture else joints
    return np.logical_or.reduce(telling != 0, axis=-1, keepdims=True)


def prepare_motion(
    motion: Motion, layout: SkeletonLayout, name: str, wanted: Wanted, settings: Settings
) -> Prepared:
    """Make a recording's frame rate and joints the wanted ones, and prepare it.

    In space as NTU RGB+D's recordings, in pictures as Kinetics' clips.

    Raises:
        ValueError: for joints that the wanted layout has no source for, or settings that need a depth.
    """
    if wanted.fps:
        motion = at_rate(motion, wanted.fps, name)
    target = wanted.layout or layout
    if target != layout:
        motion = motion._replace(joints=_converted(motion, layout, target, name, wanted))
    if motion.in_picture:
        prepared = prepare_picture(motion.joints, name, settings)
    else:
        prepared = prepare_bodies(_recording(motion), name, target, settings)
    return prepared._replace(dropped=(*_lost(motion, name), *prepared.dropped))


def _converted(
    motion: Motion, layout: SkeletonLayout, target: SkeletonLayout, name: str, wanted: Wanted
) -> Floats:
    try:
        found = convert(motion.joints.astype(np.float32), layout, target, wanted.joints)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return found.astype(np.float64)


def _lost(motion: Motion, name: str) -> tuple[Dropped, ...]:
    if not motion.lost:
        return ()
    detail = f"{motion.lost} joints with null, NaN or nothing as a coordinate count as not seen"
    return (Dropped(name, WHOLE, "not_finite", detail),)


def _recording(motion: Motion) -> Recording:
    """Return a recording in the form of NTU RGB+D's, a row for each body in each frame.

    Bodies with an ID are ordered by the frames they are seen in, most first, then by their first.
    """
    ids = motion.ids or tuple(f"body{slot}" for slot in range(motion.joints.shape[1]))
    present: Mask = np.logical_or.reduce(motion.joints != 0, axis=(2, 3))
    if motion.ids:
        first = np.argmax(present, axis=0)
        count = present.sum(axis=0)
        order = sorted(range(len(ids)), key=lambda slot: (-count[slot], first[slot], ids[slot]))
        ids = tuple(ids[slot] for slot in order)
        motion = motion._replace(joints=motion.joints[:, order])
        present = present[:, order]
    frames, slots = np.nonzero(present)
    lines = [f"{'_'.join(one.split()) or slot}\n".encode() for slot, one in enumerate(ids)]
    starts = np.cumsum([0, *map(len, lines)])
    return Recording(
        num_frames=len(motion.joints),
        frames=frames,
        slots=slots,
        joints=np.moveaxis(motion.joints[frames, slots], -1, 0),
        content=b"".join(lines),
        headers=starts[slots],
    )


def cut(motion: Motion, start: int, stop: int) -> Motion:
    """Return some frames of a recording as one of its own."""
    return motion._replace(joints=motion.joints[start:stop])
