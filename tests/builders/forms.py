"""Recordings in the forms in which pose estimators, cameras and motion capture write them.

A picture's persons are (T, P, V, 3): x, y and a score of each joint; bodies in space are (T, M, V, 3).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dualhead.arrays import Array, Floats
from dualhead.layout import LAYOUTS
from tests.builders.skeletons import one_body, skeleton_file

FRAMES = 4
RNG = np.random.default_rng(11)
OPENPOSE_OF_COCO = {
    **{0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15},
    **{14: 2, 15: 1, 16: 4, 17: 3},
}
"""Joint of OpenPose's 18 -> the same of COCO's 17; the neck, 1, is the mean of the shoulders."""


def persons(rng: np.random.Generator, frames: int = 12, people: int = 2) -> Floats:
    """Return COCO joints (T, P, 17, 3): x and y in fractions of 1/1024, a score; some are not seen."""
    joints = rng.integers(1, 1024, (frames, people, 17, 3)) / 1024
    return np.where(rng.random((frames, people, 17, 1)) < 0.1, 0.0, joints)


def with_neck(joints: Floats) -> Floats:
    """Return OpenPose's 18 joints of COCO's 17."""
    found = np.zeros((*joints.shape[:2], 18, 3))
    for ours, theirs in OPENPOSE_OF_COCO.items():
        found[:, :, ours] = joints[:, :, theirs]
    left, right = joints[:, :, 5], joints[:, :, 6]
    seen = (left[..., 2:] > 0) & (right[..., 2:] > 0)
    neck = np.concatenate([(left + right)[..., :2] / 2, np.minimum(left, right)[..., 2:]], axis=-1)
    found[:, :, 1] = np.where(seen, neck, 0.0)
    return found


def in_pixels(joints: Floats, picture: Sequence[int]) -> Floats:
    return joints * [*picture, 1]


# --- each program's document -----------------------------------------------------------


def kinect_frames(bodies: Floats) -> list[dict]:
    """Return frames of `joints` by name of their coordinates, as Kinect v2's programs write them."""
    return [
        {
            "bodies": [
                {
                    "trackingId": str(slot + 7),
                    "joints": [_named("xyz", *xyz, state=2) for xyz in one],
                }
                for slot, one in enumerate(people)
            ]
        }
        for people in bodies.tolist()
    ]


def azure_frames(bodies: Floats) -> list[dict]:
    """Return frames of Azure Kinect's JSON, joints in millimeters."""
    return [
        {
            "frame_id": number,
            "num_bodies": len(people),
            "bodies": [
                {"body_id": slot + 1, "joint_positions": one} for slot, one in enumerate(people)
            ],
        }
        for number, people in enumerate(bodies.tolist())
    ]


def kinetics_document(joints: Floats) -> dict:
    """Return a clip of Kinetics-Skeleton, of OpenPose's 18 joints."""
    frames = [
        {
            "frame_index": number,
            "skeleton": [
                {"pose": one[:, :2].ravel().tolist(), "score": one[:, 2].tolist()} for one in people
            ],
        }
        for number, people in enumerate(joints)
    ]
    return {"data": frames, "label": "wave", "label_index": 0}


def openpose_documents(joints: Floats) -> list[dict]:
    """Return OpenPose's document of each frame."""
    return [
        {
            "version": 1.3,
            "people": [{"pose_keypoints_2d": one.ravel().tolist()} for one in people],
        }
        for people in joints
    ]


def alphapose_document(joints: Floats) -> list[dict]:
    """Return AlphaPose's persons, each with the name of its picture."""
    return [
        {
            "image_id": f"{number}.jpg",
            "category_id": 1,
            "keypoints": one.ravel().tolist(),
            "score": 2.5,
        }
        for number, people in enumerate(joints)
        for one in people
    ]


def mmpose_document(joints: Floats) -> dict:
    """Return MMPose's frames of instances."""
    frames = [
        {
            "frame_id": number,
            "instances": [
                {"keypoints": one[:, :2].tolist(), "keypoint_scores": one[:, 2].tolist()}
                for one in people
            ],
        }
        for number, people in enumerate(joints)
    ]
    return {"meta_info": {}, "instance_info": frames}


def mediapipe_document(joints: Floats) -> list[dict]:
    """Return MediaPipe's landmarks of the first person of each frame."""
    return [
        {"pose_landmarks": [_named("xyz", *xyz, visibility=0.9) for xyz in people[0]]}
        for people in joints.tolist()
    ]


def _named(axes: str, *values: float, **more: float) -> dict[str, float]:
    return {**dict(zip(axes, values, strict=True)), **more}


def yolo_text(people: Iterable[Array | Floats]) -> str:
    """Return YOLO's text of one frame, a line a person."""
    lines = [" ".join(map(repr, [0, 0.5, 0.5, 0.2, 0.4, *one.ravel().tolist()])) for one in people]
    return "\n".join(lines) + "\n"


# --- files -----------------------------------------------------------------------------


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_openpose(folder: Path, joints: Floats, picture: Sequence[int]) -> None:
    """Write a file a frame from COCO joints in fractions of a picture."""
    for number, document in enumerate(openpose_documents(in_pixels(with_neck(joints), picture))):
        write(folder / f"{folder.name}_{number:012d}_keypoints.json", document)


def write_yolo(folder: Path, joints: Floats) -> None:
    """Write a file a frame."""
    folder.mkdir(parents=True)
    for number, people in enumerate(joints):
        (folder / f"{folder.name}_{number}.txt").write_text(yolo_text(people))


# --- a small recording in each form ----------------------------------------------------


def _positions(joints: int) -> Floats:
    """Return one skeleton in FRAMES frames, (FRAMES, 1, joints, 3)."""
    return RNG.normal(0.5, 0.2, (FRAMES, 1, joints, 3)).round(4)


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _openpose() -> bytes:
    return "\n".join(map(json.dumps, openpose_documents(_positions(25)))).encode()


def _nw_ucla() -> bytes:
    skeletons = _positions(20)[:, 0].tolist()
    return _json({"file_name": "a01", "skeletons": skeletons, "label": 1})


def _table() -> bytes:
    names = LAYOUTS["ntu25"].joints
    header = ["frame", *(f"{name}_{axis}" for name in names for axis in "xyz")]
    rows = [[index, *frame.ravel().tolist()] for index, frame in enumerate(_positions(25))]
    return "\n".join(",".join(map(str, row)) for row in [header, *rows]).encode()


def _array() -> bytes:
    file = io.BytesIO()
    np.save(file, _positions(25)[:, 0].astype(np.float32))
    return file.getvalue()


def _bvh() -> bytes:
    channels = "Xrotation Yrotation Zrotation"
    motion = "\n".join(" ".join(map(str, it.ravel().tolist())) for it in _positions(3))
    return (
        "HIERARCHY\nROOT hip\n{\n OFFSET 0 0 0\n CHANNELS 6 Xposition Yposition Zposition "
        f"{channels}\n JOINT head\n {{\n  OFFSET 0 10 0\n  CHANNELS 3 {channels}\n"
        "  End Site\n  {\n   OFFSET 0 5 0\n  }\n }\n}\n"
        f"MOTION\nFrames: {FRAMES}\nFrame Time: 0.0333\n{motion}\n"
    ).encode()


def _trc() -> bytes:
    names = ("hip", "head", "hand")
    header = ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"]
    rows = [[i + 1, i / 60, *it.ravel().tolist()] for i, it in enumerate(_positions(3))]
    labels = ["Frame#", "Time", *(word for name in names for word in (name, "", ""))]
    axes = ["", "", *(f"{axis}{number}" for number in (1, 2, 3) for axis in "XYZ")]
    lines = [["PathFileType", "4", "(X/Y/Z)", "a.trc"], header, [60, 60, FRAMES, 3, "mm"]]
    lines += [labels, axes, *rows]
    return "\n".join("\t".join(map(str, line)) for line in lines).encode()


EXAMPLES: Mapping[str, bytes] = {
    "ntu": skeleton_file(one_body(_positions(25)[:, 0])),
    "kinect": _json({"frames": kinect_frames(_positions(25))}),
    "azure_kinect": _json({"frames": azure_frames(_positions(32)), "joint_names": []}),
    "nw_ucla": _nw_ucla(),
    "kinetics": _json(kinetics_document(_positions(18))),
    "openpose": _openpose(),
    "alphapose": _json(alphapose_document(_positions(17))),
    "mmpose": _json(mmpose_document(_positions(17))),
    "yolo": yolo_text(_positions(17)[0]).encode(),
    "mediapipe": _json(mediapipe_document(_positions(33))),
    "csv": _table(),
    "numpy": _array(),
    "bvh": _bvh(),
    "trc": _trc(),
}
"""Name of a form -> a recording in it; C3D is binary and its reader an optional package's."""
