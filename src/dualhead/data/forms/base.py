"""A recording as a file holds it, and what the readers of all forms share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dualhead.arrays import Floats
from dualhead.layout import LAYOUTS, SkeletonLayout

Json = Any
"""A JSON document: mappings, lists, text, numbers."""

METERS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
"""Units of three coordinates, in meters."""
PICTURE_UNITS = ("pixel", "fraction")
UNITS = (*METERS, *PICTURE_UNITS)
NOBODY = (0, 3)
"""Shape of the joints of a body where there is none."""
LONGEST = 1_000_000
"""Frames of a recording; more are a damaged number."""
SHOWN = 60
"""Characters of a file that a message quotes."""


MISSHAPEN = (TypeError, LookupError, AttributeError, ArithmeticError)
"""Errors of a number where a document has a list, a list where it has a mapping, and the like."""


class Motion(NamedTuple):
    """One recording before its unit, frame rate and joints are made the network's.

    Joints that were not seen are 0 in all coordinates, or in their confidence.
    """

    joints: Floats  # (T, M, V, C): x, y, z, or x, y (down) and a confidence where `in_picture`
    in_picture: bool
    layout: SkeletonLayout | None = None  # None: the file does not say
    names: tuple[str, ...] = ()  # of joints, where the file names them
    unit: str = ""  # of `UNITS`; empty: the file does not say
    fps: float = 0.0  # frames a second; 0: the file does not say
    ids: tuple[str, ...] = ()  # the tracker's, one for each body slot; empty: there are none
    lost: int = 0  # joints with a coordinate that was no number, and which therefore were not seen
    is_upside_down: bool = False  # y points down and x to the right of the camera


class Content(NamedTuple):
    """A file's content, parsed as far as its form has to be told."""

    name: str  # of the recording, in messages
    raw: bytes
    text: str  # empty if it is no text
    document: Json  # None if it is no JSON
    parts: tuple[tuple[str, bytes], ...] = ()  # name and content of each frame's file


@dataclass(frozen=True)
class Form:
    """One way in which programs write skeletons to files.

    Attributes:
        name: on the command line.
        text: the program that writes it, in a few words.
        fits: says of a content whether it is of this form.
        parse: returns the recording; raises ValueError for a damaged one, or what Python says of a
            document of another shape: see `MISSHAPEN`.
    """

    name: str
    text: str
    fits: Callable[[Content], bool]
    parse: Callable[[Content], Motion]

    def is_of(self, content: Content) -> bool:
        """Return whether a content is of this form; False for one that has another shape within."""
        try:
            return self.fits(content)
        except MISSHAPEN:
            return False

    def read(self, content: Content) -> Motion:
        """Return the recording.

        Raises:
            ValueError: in one line, for a damaged one.
        """
        try:
            return _only_finite(self.parse(content))
        except MISSHAPEN as error:
            expected = f"{self.text}, whole"
            raise damaged(content.name, expected, f"another shape within ({error})") from error


def _only_finite(motion: Motion) -> Motion:
    """Take joints with a coordinate that is no number for not seen, and count them."""
    wrong = ~np.isfinite(motion.joints).all(axis=-1, keepdims=True)
    if not wrong.any():
        return motion
    return motion._replace(joints=np.where(wrong, 0.0, motion.joints), lost=int(wrong.sum()))


def content_of(raw: bytes, name: str, parts: Sequence[tuple[str, bytes]] = ()) -> Content:
    """Parse a file as text and as JSON, as far as it is either; JSON lines become a list.

    Of a recording in parts, the first one that is not blank, and JSON if it begins so, is taken.
    """
    text, document = "", None
    for _, part in parts or (("", raw),):
        if not text.strip() or (document is None and is_json(text)):
            text = decode(part)
            document = parse_json(text) if is_json(text) else None
    if name.lower().endswith(".jsonl") and isinstance(document, dict):
        document = [document]
    return Content(name, raw, text, document, tuple(parts))


def is_json(text: str) -> bool:
    """Return whether a text begins as JSON of a mapping or a list does."""
    return text.lstrip()[:1] in ("{", "[")


def decode(raw: bytes) -> str:
    """Return a text in UTF-8, UTF-16, UTF-32 or Latin-1; empty for what is no text."""
    encoding = json.detect_encoding(raw)  # told by marks and by where zeros are
    if not encoding.startswith("utf-8"):
        text = raw.decode(encoding, errors="replace")
        return "" if "\0" in text[:4096] else text
    if b"\0" in raw[:4096]:
        return ""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_json(text: str) -> Json:
    """Return a JSON document, or a list of what stands on the lines of a text; None for neither."""
    try:
        return json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        pass
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    return found or None


def json_error(text: str) -> str:
    """Return the place where a text stops to be JSON: of one document, or of the line that is none."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    is_by_line = len(lines) > 1 and parse_json(lines[0][1]) is not None
    for number, line in lines if is_by_line else ((0, text),):
        try:
            json.loads(line)
        except RecursionError:
            return "nested too deep"
        except ValueError as error:
            return f"line {number}: {error}" if number else str(error)
    return ""


def first_of(document: Json) -> Mapping[str, Json]:
    """Return the first entry of a list if it is a mapping; an empty one for all else."""
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return document[0]
    return {}


def frames_under(key: str, document: Json) -> Sequence[Json]:
    """Return the frames of a document: itself if it is a list, or the list under a mapping's key; else none."""
    found = document if isinstance(document, list) else keys_of(document).get(key)
    return found if isinstance(found, list) else []


def keys_of(document: Json) -> Mapping[str, Json]:
    """Return a document if it is a mapping; an empty one for all else."""
    return document if isinstance(document, dict) else {}


def damaged(name: str, expected: str, found: object) -> ValueError:
    """Return the error of a file that is not what its form says, on one line."""
    text = str(found).replace("\n", " ")
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return ValueError(f"{name}: expected {expected}; found {shown}.")


def numbers(values: Json, shape: tuple[int, ...], name: str, expected: str) -> Floats:
    """Return nested lists as an array of a shape, -1 for any length; null becomes NaN."""
    try:
        return np.array(values, np.float64).reshape(shape)
    except (TypeError, ValueError, OverflowError):
        raise damaged(name, expected, f"{values!r}") from None


def by_frame(frames: Mapping[int, Sequence[Floats]], name: str) -> Floats:
    """Return persons (V, C) of each frame as (T, persons, V, C), in the order of their frame.

    Frame numbers are used as they are, as the authors do with Kinetics: a recording that counts
    from 1 begins with an empty frame. One that begins later loses the frames before its first.
    """
    shapes = {person.shape for persons in frames.values() for person in persons} or {NOBODY}
    if not frames or len(shapes) != 1:
        expected = "persons in its frames, all with as many joints"
        raise damaged(name, expected, f"shapes {sorted(shapes)}" if frames else "no frame")
    first, last = min(frames), max(frames)
    if first < 0 or last - first >= LONGEST:
        raise damaged(name, f"frame numbers within 0..{LONGEST - 1}", f"{first} to {last}")
    first = first if first > 1 else 0
    most = max(map(len, frames.values()))
    joints = np.zeros((last - first + 1, most, *next(iter(shapes))))
    for frame, persons in frames.items():
        for slot, person in enumerate(persons):
            joints[frame - first, slot] = person
    return joints


def by_body(
    frames: Sequence[Sequence[tuple[str, Floats]]], name: str
) -> tuple[Floats, tuple[str, ...]]:
    """Return bodies (V, C) of each frame in slots by ID, (T, M, V, C), and the slots' IDs."""
    shapes = {body.shape for bodies in frames for _, body in bodies} or {NOBODY}
    if not frames or len(shapes) != 1:
        found = f"shapes {sorted(shapes)}" if frames else "no frame"
        raise damaged(name, "bodies, all with as many joints", found)
    ids = sorted({body for bodies in frames for body, _ in bodies})
    joints = np.zeros((len(frames), len(ids), *shapes.pop()))
    for frame, bodies in enumerate(frames):
        for body, positions in bodies:
            joints[frame, ids.index(body)] = positions
    return joints, tuple(ids)


def as_frame(number: Json, name: str) -> int:
    """Return a frame's number out of a number or a text such as `video/00012.jpg`."""
    is_number = isinstance(number, int | float) and math.isfinite(number)
    if isinstance(number, bool) or not (is_number or isinstance(number, str)):
        expected = "the number of each frame (frame_index, frame_id or image_id)"
        raise damaged(name, expected, f"{number!r}")
    if isinstance(number, str):
        stem = re.sub(r"\.[A-Za-z]\w*$", "", number)
        digits = re.findall(r"\d+", stem)
        if not digits:
            raise damaged(name, "the number of a frame in its picture's name", f"{number!r}")
        return int(digits[-1][-15:])
    return int(number)


def joint_name(text: str) -> str:
    """Return a program's name of a joint as our layouts spell it: SpineBase, HAND_TIP_LEFT, ...

    Sides come first, words are lower-case and joined by `_`.
    """
    text = re.sub(r"^(K4ABT_JOINT_|JointType[_.]?)", "", text.strip())
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).replace("-", " ").replace("_", " ")
    found = words.lower().split()
    found = ["hand tip" if word == "handtip" else word for word in found]
    for side in ("left", "right"):
        if side in found:
            found = [side, *(word for word in found if word != side)]
    return "_".join(found).replace(" ", "_")


def layouts_with(num_joints: int, *, in_picture: bool | None = None) -> list[SkeletonLayout]:
    """Return the packaged layouts of so many joints: in pictures, in space, or both."""
    return [
        layout
        for layout in LAYOUTS.values()
        if layout.num_joints == num_joints and in_picture in (None, layout.confidence)
    ]


def layout_named(names: Iterable[str]) -> SkeletonLayout | None:
    """Return the one packaged layout that has just these joints, in whatever order; else None."""
    wanted = set(names)
    found = [layout for layout in LAYOUTS.values() if set(layout.joints) == wanted]
    return found[0] if len(found) == 1 else None


def one_layout(num_joints: int, *, in_picture: bool) -> SkeletonLayout | None:
    """Return the only packaged layout of so many joints, in pictures or in space; else None."""
    found = layouts_with(num_joints, in_picture=in_picture)
    return found[0] if len(found) == 1 else None
