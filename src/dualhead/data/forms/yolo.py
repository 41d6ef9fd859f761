"""YOLO pose's text, one file a frame and one line a person: class, box, joints, fractions of the picture."""

from __future__ import annotations

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    Content,
    Form,
    Motion,
    as_frame,
    by_frame,
    damaged,
    decode,
)
from dualhead.layout import LAYOUTS

JOINTS = 17
BEFORE = 5  # class, and center, width and height of the box
WITH_SCORES, WITHOUT = BEFORE + 3 * JOINTS, BEFORE + 2 * JOINTS
LENGTHS = (WITHOUT, WITH_SCORES, WITH_SCORES + 1, WITH_SCORES + 2)
"""Fields of a line; the last ones are the person's confidence and its track."""


def _person(line: str, name: str) -> Floats:
    """Return x, y and confidence (17, 3) of one line; 1 where it has no confidences."""
    fields = line.split()
    try:
        values = np.array(fields, np.float64)
    except ValueError:
        raise damaged(name, "numbers alone", line) from None
    if len(values) not in LENGTHS:
        raise damaged(name, f"{' or '.join(map(str, LENGTHS))} numbers a line", len(values))
    if len(values) == WITHOUT:
        positions = values[BEFORE:].reshape(JOINTS, 2)
        return np.concatenate([positions, positions.any(axis=1, keepdims=True)], axis=1)
    return values[BEFORE:WITH_SCORES].reshape(JOINTS, 3)


def is_yolo(text: str) -> bool:
    """Return whether each line has as many numbers as a person, the first whole, a box in the picture."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        rows = [np.array(line.split(), np.float64) for line in lines]
    except ValueError:
        return False
    return bool(rows) and all(
        len(row) in LENGTHS
        and row[0] == int(row[0])
        and bool(((row[1:5] >= 0) & (row[1:5] <= 1)).all())
        for row in rows
    )


def _fits(content: Content) -> bool:
    return content.document is None and is_yolo(content.text)


def _read(content: Content) -> Motion:
    frames = {}
    for name, raw in content.parts or ((content.name, content.raw),):
        lines = [line for line in decode(raw).splitlines() if line.strip()]
        frame = as_frame(name, name) if content.parts else 0
        frames[frame] = [_person(line, name) for line in lines]
    return Motion(by_frame(frames, content.name), True, LAYOUTS["coco17"], unit="fraction")


YOLO = Form("yolo", "YOLO pose's text, one file a frame", _fits, _read)
