"""Markers of motion capture: TRC text, and C3D files by way of the package ezc3d."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
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
WHOLE_C3D = "a whole C3D file"
C3D_SECONDS = 60.0
"""Longest time of reading a file; a long one takes seconds."""
READ_C3D = """
import json, sys
import ezc3d
import numpy as np
found = ezc3d.c3d(sys.argv[1])
point = found["parameters"]["POINT"]
np.save(sys.argv[2], np.asarray(found["data"]["points"], np.float64))
unit, rate = next(iter(point["UNITS"]["value"]), ""), float(point["RATE"]["value"][0])
print(json.dumps({"labels": [*map(str, point["LABELS"]["value"])], "unit": str(unit), "rate": rate}))
"""
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
    """Return a C3D file's markers, as another process reads them: some damage ends ezc3d, or lets it loop."""
    if importlib.util.find_spec("ezc3d") is None:
        raise ValueError(f"{content.name}: {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="dualhead-") as folder:
        file, points = Path(folder, "markers.c3d"), Path(folder, "points.npy")
        file.write_bytes(content.raw)
        command = [sys.executable, "-c", READ_C3D, str(file), str(points)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=C3D_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            found = f"one that ezc3d does not get through within {C3D_SECONDS:.0f} s"
            raise damaged(content.name, WHOLE_C3D, found) from None
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip().splitlines()
            found = said[-1] if said else f"one that ends ezc3d with code {ended.returncode}"
            raise damaged(content.name, WHOLE_C3D, found)
        said_of = json.loads(ended.stdout.splitlines()[-1])
        positions = np.load(points, allow_pickle=False)
    joints = np.moveaxis(positions[:3], 0, -1).transpose(1, 0, 2)  # (T, V, 3)
    names = [one.rpartition(":")[2] for one in said_of["labels"]][: joints.shape[1]]
    return _markers(joints, names, unit_of(said_of["unit"], content.name), said_of["rate"])


TRC = Form("trc", "TRC markers", _fits_trc, _read_trc)
C3D = Form("c3d", "C3D markers", _fits_c3d, _read_c3d)
