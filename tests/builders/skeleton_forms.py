"""Recordings in the forms in which pose estimators, cameras and motion capture write them."""

import json
from pathlib import Path

import numpy as np

OPENPOSE_OF_COCO = {
    **{0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15},
    **{14: 2, 15: 1, 16: 4, 17: 3},
}
"""Joint of OpenPose's 18 -> the same of COCO's 17; the neck, 1, is the mean of the shoulders."""


def persons(rng, frames=12, people=2):
    """Return COCO joints (T, P, 17, 3): x and y in fractions of 1/1024, a score; some are not seen."""
    joints = rng.integers(1, 1024, (frames, people, 17, 3)) / 1024
    return np.where(rng.random((frames, people, 17, 1)) < 0.1, 0.0, joints)


def with_neck(joints):
    """Return OpenPose's 18 joints of COCO's 17."""
    found = np.zeros((*joints.shape[:2], 18, 3))
    for ours, theirs in OPENPOSE_OF_COCO.items():
        found[:, :, ours] = joints[:, :, theirs]
    left, right = joints[:, :, 5], joints[:, :, 6]
    seen = (left[..., 2:] > 0) & (right[..., 2:] > 0)
    neck = np.concatenate([(left + right)[..., :2] / 2, np.minimum(left, right)[..., 2:]], axis=-1)
    found[:, :, 1] = np.where(seen, neck, 0.0)
    return found


def in_pixels(joints, picture):
    return joints * [*picture, 1]


def write_kinetics(path: Path, joints) -> None:
    frames = [
        {
            "frame_index": number,
            "skeleton": [
                {"pose": one[:, :2].ravel().tolist(), "score": one[:, 2].tolist()} for one in people
            ],
        }
        for number, people in enumerate(with_neck(joints))
    ]
    write(path, {"data": frames, "label": "wave", "label_index": 0})


def write_openpose(folder: Path, joints, picture) -> None:
    for number, people in enumerate(in_pixels(with_neck(joints), picture)):
        flat = [{"pose_keypoints_2d": one.ravel().tolist()} for one in people]
        name = f"{folder.name}_{number:012d}_keypoints.json"
        write(folder / name, {"version": 1.3, "people": flat})


def write_alphapose(path: Path, joints, picture) -> None:
    people = [
        {
            "image_id": f"{number}.jpg",
            "category_id": 1,
            "keypoints": one.ravel().tolist(),
            "score": 2,
        }
        for number, people in enumerate(in_pixels(joints, picture))
        for one in people
    ]
    write(path, people)


def write_mmpose(path: Path, joints, picture) -> None:
    frames = [
        {
            "frame_id": number,
            "instances": [
                {"keypoints": one[:, :2].tolist(), "keypoint_scores": one[:, 2].tolist()}
                for one in people
            ],
        }
        for number, people in enumerate(in_pixels(joints, picture))
    ]
    write(path, {"meta_info": {}, "instance_info": frames})


def write_yolo(folder: Path, joints) -> None:
    folder.mkdir(parents=True)
    for number, people in enumerate(joints):
        lines = [
            " ".join(map(repr, [0, 0.5, 0.5, 0.2, 0.4, *one.ravel().tolist()])) for one in people
        ]
        (folder / f"{folder.name}_{number}.txt").write_text("\n".join(lines) + "\n")


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def azure_frames(bodies) -> list[dict]:
    """Return frames of Azure Kinect's JSON from joints (T, M, 32, 3), millimeters."""
    return [
        {
            "frame_id": number,
            "num_bodies": len(people),
            "bodies": [
                {"body_id": slot + 1, "joint_positions": one.tolist()}
                for slot, one in enumerate(people)
            ],
        }
        for number, people in enumerate(bodies)
    ]
