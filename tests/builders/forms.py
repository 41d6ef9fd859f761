"""A small recording in each form that `dualhead.data.forms` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import numpy as np

from dualhead.layout import LAYOUTS
from tests.builders.skeletons import one_body, skeleton_file

FRAMES = 4
RNG = np.random.default_rng(11)


def _positions(joints: int, coordinates: int = 3) -> list[list[list[float]]]:
    """Return FRAMES skeletons."""
    return RNG.normal(0.5, 0.2, (FRAMES, joints, coordinates)).round(4).tolist()


def _flat(frame: list[list[float]]) -> list[float]:
    return [number for joint in frame for number in joint]


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _kinect() -> bytes:
    names = [{"x": 0.5, "y": 0.25, "z": 2.0, "state": 2}]
    frames = [
        {"bodies": [{"trackingId": "7", "joints": [{**names[0], "x": x} for x, _, _ in frame]}]}
        for frame in _positions(25)
    ]
    return _json({"frames": frames})


def _azure() -> bytes:
    frames = [{"bodies": [{"body_id": 1, "joint_positions": it}]} for it in _positions(32)]
    return _json({"frames": frames, "joint_names": []})


def _kinetics() -> bytes:
    frames = [
        {
            "frame_index": index + 1,
            "skeleton": [{"pose": _flat([xy[:2] for xy in frame]), "score": [0.5] * 18}],
        }
        for index, frame in enumerate(_positions(18))
    ]
    return _json({"data": frames, "label": "abseiling", "label_index": 0})


def _openpose() -> bytes:
    lines = [
        json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": _flat(frame)}]})
        for frame in _positions(25)
    ]
    return "\n".join(lines).encode()


def _alphapose() -> bytes:
    return _json(
        [
            {"image_id": f"{index}.jpg", "category_id": 1, "keypoints": _flat(frame), "score": 2.5}
            for index, frame in enumerate(_positions(17))
        ]
    )


def _mmpose() -> bytes:
    frames = [
        {
            "frame_id": index,
            "instances": [{"keypoints": [xy[:2] for xy in it], "keypoint_scores": [0.9] * 17}],
        }
        for index, it in enumerate(_positions(17))
    ]
    return _json({"instance_info": frames})


def _mediapipe() -> bytes:
    return _json(
        [
            {"pose_landmarks": [{"x": x, "y": y, "z": z, "visibility": 0.9} for x, y, z in frame]}
            for frame in _positions(33)
        ]
    )


def _yolo() -> bytes:
    words = [0, 0.5, 0.5, 0.2, 0.4, *_flat([[0.25, 0.75, 0.9]] * 17)]
    return (" ".join(map(str, words)) + "\n").encode()


def _table() -> bytes:
    names = LAYOUTS["ntu25"].joints
    header = ["frame", *(f"{name}_{axis}" for name in names for axis in "xyz")]
    rows = [[index, *_flat(frame)] for index, frame in enumerate(_positions(25))]
    return "\n".join(",".join(map(str, row)) for row in [header, *rows]).encode()


def _array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(_positions(25), np.float32))
    return file.getvalue()


def _bvh() -> bytes:
    channels = "Xrotation Yrotation Zrotation"
    motion = "\n".join(" ".join(map(str, _flat(frame)[:9])) for frame in _positions(3))
    return (
        "HIERARCHY\nROOT hip\n{\n OFFSET 0 0 0\n CHANNELS 6 Xposition Yposition Zposition "
        f"{channels}\n JOINT head\n {{\n  OFFSET 0 10 0\n  CHANNELS 3 {channels}\n"
        "  End Site\n  {\n   OFFSET 0 5 0\n  }\n }\n}\n"
        f"MOTION\nFrames: {FRAMES}\nFrame Time: 0.0333\n{motion}\n"
    ).encode()


def _trc() -> bytes:
    names = ("hip", "head", "hand")
    header = ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"]
    rows = [[index + 1, index / 60, *_flat(it)] for index, it in enumerate(_positions(3))]
    labels = ["Frame#", "Time", *(word for name in names for word in (name, "", ""))]
    axes = ["", "", *(f"{axis}{number}" for number in (1, 2, 3) for axis in "XYZ")]
    lines = [["PathFileType", "4", "(X/Y/Z)", "a.trc"], header, [60, 60, FRAMES, 3, "mm"]]
    lines += [labels, axes, *rows]
    return "\n".join("\t".join(map(str, line)) for line in lines).encode()


EXAMPLES: Mapping[str, bytes] = {
    "ntu": skeleton_file(one_body(np.array(_positions(25)))),
    "kinect": _kinect(),
    "azure_kinect": _azure(),
    "nw_ucla": _json({"file_name": "a01", "skeletons": _positions(20), "label": 1}),
    "kinetics": _kinetics(),
    "openpose": _openpose(),
    "alphapose": _alphapose(),
    "mmpose": _mmpose(),
    "yolo": _yolo(),
    "mediapipe": _mediapipe(),
    "csv": _table(),
    "numpy": _array(),
    "bvh": _bvh(),
    "trc": _trc(),
}
"""Name of a form -> a recording in it; C3D is binary and its reader an optional package's."""
