"""Markers of motion capture: TRC text, and C3D files by way of the package ezc3d."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from dualhead.arrays import Floats
from dualhead.data.forms.base import (
    METERS,
    Content,
    Form,
    Motion,
    damaged,
    joint_name,
    layout_named,
)

C3D_MARK = 0x50
"""Second byte of each C3D file; the first says where its parameters begin."""
INSTALL = "reading C3D needs the package ezc3d: pip install 'dualhead[c3d]'"


def unit_of(text: str, name: str) -> str:
    """Return a file's word for its unit as one of `METERS`; empty for none."""
    words = {
        "meters": "m",
        "metres": "m",
        "millimeters": "mm",
        "centimeters": "cm",
        "inches": "inch",
    }
    unit = words.get(text.strip().lower(), text.strip().lower())
    if unit and unit not in METERS:
        raise damaged(name, f"a unit among {', '.join(METERS)}", text)
    return unit


def _markers(joints: Floats, names: list[str], unit: str, fps: float) -> Motion:
    """Return markers (T, V, 3) as the one body; who has no bones of a layout needs one."""
    named = tuple(joint_name(one) for one in names)
    return Motion(joints[:, None], False, layout_named(named), named, unit, fps)


def _fits_trc(content: Content) -> bool:
    return content.text.startswith("PathFileType")


def _read_trc(content: Content) -> Motion:
    """Return a TRC file's markers: three lines of header, two of labels, then frame, time, x, y, z."""
    lines = content.text.splitlines()
    try:
        header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
        names = [word.strip() for word in lines[3].split("\t")[2:] if word.strip()]
        rows = [line.rstrip("\r\n").split("\t") for line in lines[5:] if line.strip()]
        fps = float(header["DataRate"])
        width = 2 + 3 * len(names)
        table = [[_number(word) for word in (row + [""] * width)[2:width]] for row in rows]
        joints = np.array(table).reshape(len(rows), len(names), 3)
    except (IndexError, KeyError, ValueError) as error:
        raise damaged(content.name, "TRC's header and rows of numbers", error) from None
    if not rows or not names:
        raise damaged(content.name, "markers and frames", f"{len(names)} and {len(rows)}")
    return _markers(joints, names, unit_of(header.get("Units", ""), content.name), fps)


def _number(word: str) -> float:
    """Return a number; NaN for an empty field, that of a marker that was not seen."""
    return float(word) if word.strip() else float("nan")


def _fits_c3d(content: Content) -> bool:
    return not content.text and len(content.raw) > 512 and content.raw[1] == C3D_MARK


def _read_c3d(content: Content) -> Motion:
    try:
        import ezc3d
    except ImportError:
        raise ValueError(f"{content.name}: {INSTALL}") from None
    with tempfile.NamedTemporaryFile(suffix=".c3d") as file:
        file.write(content.raw)
        file.flush()
        try:
            found = ezc3d.c3d(str(Path(file.name)))
        except (RuntimeError, OSError, ValueError, IndexError, MemoryError) as error:
            raise damaged(content.name, "a whole C3D file", error) from error
    point = found["parameters"]["POINT"]
    positions = np.moveaxis(np.asarray(found["data"]["points"], np.float64)[:3], 0, -1)  # (V, T, 3)
    joints = positions.transpose(1, 0, 2)
    names = [str(one).rpartition(":")[2] for one in point["LABELS"]["value"]][: joints.shape[1]]
    unit = next(iter(point["UNITS"]["value"]), "")
    return _markers(
        joints, names, unit_of(str(unit), content.name), float(point["RATE"]["value"][0])
    )


TRC = Form("trc", "TRC markers", _fits_trc, _read_trc)
C3D = Form("c3d", "C3D markers", _fits_c3d, _read_c3d)
