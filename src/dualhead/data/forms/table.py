"""Tables of numbers as text: a row a frame, or a row a joint, with a header or without."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.array_file import only_layout
from dualhead.data.forms.base import (
    Content,
    Form,
    Motion,
    by_body,
    damaged,
    joint_name,
    layout_named,
)
from dualhead.data.forms.yolo import is_yolo
from dualhead.data.skeleton_file import read_number
from dualhead.layout import SkeletonLayout

AXES = {"x": 0, "y": 1, "z": 2}
CONFIDENCE = ("confidence", "score", "conf", "c", "visibility", "likelihood")
FRAME = ("frame", "time", "timestamp", "t", "frame_id", "frame_index", "frame#")
BODY = ("body", "person", "id", "body_id", "person_id", "track", "track_id", "skeleton")
JOINT = ("joint", "joint_name", "name", "keypoint", "marker", "landmark")
NO_NUMBER = ("", "na", "n/a", "#n/a", "null", "none", "nan", "-", "missing")
"""Words of tables for a number that is not there, in lower case."""
COLUMN = re.compile(
    r"(?P<joint>.+?)[ _.:-]?(?P<axis>x|y|z|confidence|score|conf|visibility|likelihood|c)", re.I
)


Key = TypeVar("Key", bound=int | str)
"""Of a frame: its row, or what the table calls it."""


class Table(NamedTuple):
    """Rows of words."""

    header: list[str]  # lower-case; empty if the first row is numbers
    rows: list[list[str]]


def read_table(text: str) -> Table:
    """Split a text at semicolons, tabs, commas or blanks; decimal commas become points."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    mark = next((mark for mark in ";\t," if mark in first), None)
    rows = _split(lines, mark)
    if mark != ",":
        rows = [[re.sub(r"^(-?\d+),(\d+)", r"\1.\2", word.strip()) for word in row] for row in rows]
    if rows and [word.strip() for word in rows[0]] == [*map(str, range(len(rows[0])))]:
        return Table([], rows[1:])  # pandas numbers columns that have no names
    has_header = bool(rows) and not any(_is_number(word) for word in rows[0])
    header = [word.strip().lower() for word in rows[0]] if has_header else []
    return Table(header, rows[1:] if has_header else rows)


def _split(lines: Sequence[str], mark: str | None) -> list[list[str]]:
    """Return the words of each line; one that CSV cannot be, such as with a giant field, is cut at each mark."""
    if mark is None:
        return [line.split() for line in lines]
    try:
        return [*csv.reader(lines, delimiter=mark)]
    except csv.Error:
        return [line.split(mark) for line in lines]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _fits(content: Content) -> bool:
    if content.document is not None or content.parts or not content.text.strip():
        return False
    if is_yolo(content.text):
        return False
    table = read_table("\n".join(content.text.splitlines()[:3]))
    width = len(table.header or (table.rows or [[]])[0])
    if table.header:
        return _is_long(table.header) or len(_columns(table.header)) > 1
    return (
        width > 5 and width % 3 == 0 and all(_is_number(word) for row in table.rows for word in row)
    )


def _is_long(header: Sequence[str]) -> bool:
    return any(name in JOINT for name in header) and {"x", "y"} <= set(header)


def _read(content: Content) -> Motion:
    table = read_table(content.text)
    lengths = {len(row) for row in (table.header, *table.rows) if row}
    if not table.rows or len(lengths) != 1:
        raise damaged(content.name, "rows with as many fields each", _lengths(lengths, table))
    twice = [name for name, count in Counter(table.header).items() if name and count > 1]
    if twice:
        raise damaged(content.name, "columns of different names", f"{twice[0]} more than once")
    if not table.header:
        return _read_plain(table, content.name)
    return (_read_long if _is_long(table.header) else _read_wide)(table, content.name)


def _lengths(lengths: set[int], table: Table) -> str:
    """Return in words how many fields the rows of a table have that is none."""
    if not table.rows:
        return "no row of numbers"
    if max(lengths) == 2 * min(lengths):
        return f"{sorted(lengths)}: decimal commas? Put semicolons between"
    return f"{sorted(lengths)}"


def _read_plain(table: Table, name: str) -> Motion:
    """Return rows of numbers alone: 25 joints of one body or two, or the joints of the one layout that fits."""
    values = _floats(table.rows, name)
    width = values.shape[1]
    if width == 150:  # two bodies of Kinect v2, as in NTU RGB+D's and PKU-MMD's text
        return _motion(values.reshape(len(values), 2, 25, 3), None, ())
    if width % 3:
        raise damaged(name, "three numbers a joint, or a header", f"{width} numbers a row")
    return _motion(values.reshape(len(values), 1, width // 3, 3), None, ())


def _motion(joints: Floats, layout: SkeletonLayout | None, names: tuple[str, ...]) -> Motion:
    """Return a recording whose kind follows from its layout; x, y, z where there is none."""
    layout = layout or (layout_named(names) if names else only_layout(joints.shape[2], 3))
    return Motion(joints, layout is not None and layout.confidence, layout, names)


def _columns(header: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the columns of each joint by axis, of a header such as nose_x, nose_y, nose_score."""
    found: dict[str, dict[str, int]] = {}
    for number, name in enumerate(header):
        match = COLUMN.fullmatch(name)
        if match and name not in FRAME and name not in BODY:
            axis = match["axis"].lower()
            found.setdefault(joint_name(match["joint"]), {})[
                "c" if axis in CONFIDENCE else axis
            ] = number
    return {joint: axes for joint, axes in found.items() if {"x", "y"} <= axes.keys()}


def _read_wide(table: Table, name: str) -> Motion:
    """Return a row a frame, or a row a body of a frame where a column says which."""
    columns = _columns(table.header)
    has_depth = all("z" in axes for axes in columns.values())
    rows = _floats(
        [[row[i] for axes in columns.values() for i in axes.values()] for row in table.rows], name
    )
    position, bodies = 0, np.zeros((len(rows), len(columns), 3))
    for joint, axes in enumerate(columns.values()):
        own = dict(zip(axes, rows[:, position : position + len(axes)].T, strict=True))
        position += len(axes)
        seen = own.get("c", np.ones(len(rows)))
        third = own["z"] if has_depth else seen * ((own["x"] != 0) | (own["y"] != 0))
        bodies[:, joint] = np.stack([own["x"], own["y"], third], axis=1)
        if has_depth and "c" in own:
            bodies[own["c"] <= 0, joint] = 0
    frames = _by_frame(table, range(len(rows)), name)
    joints, ids = by_body([[(body, bodies[row]) for body, row in one] for one in frames], name)
    layout = layout_named(columns)
    return Motion(joints, not has_depth, layout, tuple(columns), ids=ids)


def _by_frame(table: Table, rows: Sequence[int], name: str) -> list[list[tuple[str, int]]]:
    """Return the rows of each frame with their bodies' IDs; a row is a frame where nothing else says."""
    frame = next((table.header.index(key) for key in FRAME if key in table.header), None)
    body = next((table.header.index(key) for key in BODY if key in table.header), None)
    frames: dict[int | str, list[tuple[str, int]]] = {}
    for row in rows:
        key: int | str = row if frame is None else table.rows[row][frame]
        frames.setdefault(key, []).append(("1" if body is None else table.rows[row][body], row))
    if body is None and any(len(found) > 1 for found in frames.values()):
        raise damaged(name, "a row a frame, or a column `body`", "frames that are there twice")
    return [frames[key] for key in _in_order(frames)]


def _in_order(frames: Iterable[Key]) -> list[Key]:
    """Return the frames that a table names by their number, or as they stand where one has none."""
    keys = list(frames)
    if not all(isinstance(key, int) or _is_number(key) for key in keys):
        return keys
    return sorted(keys, key=float)


def _read_long(table: Table, name: str) -> Motion:
    """Return a row a joint: frame, joint, x, y and z or a confidence."""
    header = table.header
    joint = next(header.index(key) for key in JOINT if key in header)
    score = next((key for key in CONFIDENCE if key in header), "")
    has_depth = "z" in header
    third = "z" if has_depth else score
    axes = [header.index(key) for key in ("x", "y", third) if key]
    values = _floats([[row[i] for i in axes] for row in table.rows], name)
    if values.shape[1] == 2:
        values = np.concatenate([values, values.any(axis=1, keepdims=True)], axis=1)
    names = tuple(dict.fromkeys(joint_name(row[joint]) for row in table.rows))
    frame = next((header.index(key) for key in FRAME if key in header), None)
    if frame is None:
        raise damaged(name, f"a column among {', '.join(FRAME)}", ", ".join(header))
    body = next((header.index(key) for key in BODY if key in header), None)
    found: dict[str, dict[str, Floats]] = {}
    for row, position in zip(table.rows, values, strict=True):
        bodies = found.setdefault(row[frame], {})
        positions = bodies.setdefault("1" if body is None else row[body], np.zeros((len(names), 3)))
        positions[names.index(joint_name(row[joint]))] = position
    joints, ids = by_body([[*found[frame].items()] for frame in _in_order(found)], name)
    return Motion(joints, not has_depth, layout_named(names), names, ids=ids)


def _floats(rows: Sequence[Sequence[str]], name: str) -> Floats:
    """Return words as numbers; those that say not seen, such as empty ones and NA, are NaN."""
    try:
        return np.array([[_float(word.strip()) for word in row] for row in rows], np.float64)
    except ValueError as error:
        raise damaged(name, "numbers", error) from None


def _float(word: str) -> float:
    return float("nan") if word.lower() in NO_NUMBER else read_number(word.encode())


TABLE = Form("csv", "a table of numbers (CSV, text)", _fits, _read)
