"""NTU RGB+D's `.skeleton` text, of any number of joints."""

from __future__ import annotations

import re

import numpy as np

from dualhead.data.forms.base import Content, Form, Motion, damaged, one_layout
from dualhead.data.skeleton_file import read_skeleton
from dualhead.layout import LAYOUTS

WHOLE = re.compile(r"\d+(\.0*)?")
HEADS = 40  # lines looked at to tell the form


def _fits(content: Content) -> bool:
    """Return whether the first lines hold a number each: of frames, of bodies, then a body."""
    lines = [line.strip() for line in content.text.splitlines()[:HEADS] if line.strip()]
    return (
        len(lines) > 1
        and all(WHOLE.fullmatch(line) for line in lines[:2])
        and any(len(line.split()) in (3, 12) for line in lines[2:]) | (len(lines) == 2)
    )


def num_joints_of(text: str, name: str) -> int:
    """Return the number of joints of the first body; 0 for a recording of nobody."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        for number, line in enumerate(lines[1:], start=1):
            if int(float(line)):
                return int(float(lines[number + 2]))
    except (ValueError, IndexError):
        raise damaged(name, "counts of frames, bodies and joints", line) from None
    return 0


def _read(content: Content) -> Motion:
    num_joints = num_joints_of(content.text, content.name)
    layout = LAYOUTS["ntu25"] if num_joints in (0, 25) else one_layout(num_joints, in_picture=False)
    recording = read_skeleton(content.raw, content.name, num_joints or 25)
    num_slots = int(recording.slots.max(initial=0)) + 1
    joints = np.zeros((recording.num_frames, num_slots, num_joints or 25, 3))
    joints[recording.frames, recording.slots] = np.moveaxis(recording.joints, 0, -1)
    return Motion(joints, in_picture=False, layout=layout, unit="m", fps=30.0)


SKELETON_TEXT = Form("ntu", "NTU RGB+D's .skeleton text", _fits, _read)
