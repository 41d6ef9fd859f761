"""Skeletons: which joints there are, what they are joined to, and how one is put upright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from dualhead.params import Settings


@dataclass(frozen=True)
class SkeletonLayout:
    """The joints of one sensor or pose estimator, numbered from 0.

    Attributes:
        name: what stores and checkpoints call it.
        joints: one name for each joint.
        parents: one for each joint; a bone points from parent to joint. The root is its own.
        edges: pairs of joints that the graph joins, undirected, each once, none to itself.
        center: the joint that becomes the origin.
        rotate_z: the bone (from, to) that is put on +z in the first frame, or None.
        rotate_x: the bone (from, to) that is put on +x in the first frame, or None.
        num_coordinates: channels of a joint: x, y, z in meters, or x, y and a confidence.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    center: int
    rotate_z: tuple[int, int] | None = None
    rotate_x: tuple[int, int] | None = None
    num_coordinates: int = 3

    @property
    def num_joints(self) -> int:
        """Number of joints, V."""
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint that is its own parent; the others hang from it."""
        return next(joint for joint, parent in enumerate(self.parents) if joint == parent)

    def __post_init__(self) -> None:
        """Refuse what is no skeleton: a number out of range, two roots, a cycle, a joint apart."""
        self._check_joints()
        self._check_parents()
        self._check_edges()

    def _check_joints(self) -> None:
        _require(self.num_joints > 1, self.name, "at least 2 joints", f"{self.num_joints}")
        _require(
            len(set(self.joints)) == self.num_joints,
            self.name,
            "joint names that differ",
            f"{sorted({joint for joint in self.joints if self.joints.count(joint) > 1})} twice",
        )
        _require(
            self.num_coordinates > 0, self.name, "num_coordinates > 0", str(self.num_coordinates)
        )
        self._check_range("center", [self.center])
        for key in ("rotate_z", "rotate_x"):
            bone = getattr(self, key)
            self._check_range(key, bone or ())
            _require(
                bone is None or (bone[0] != bone[1] and self.num_coordinates == 3),
                self.name,
                f"{key} to be two joints of a skeleton with x, y and z",
                f"{bone} with {self.num_coordinates} coordinates",
            )

    def _check_parents(self) -> None:
        _require(
            len(self.parents) == self.num_joints,
            self.name,
            f"one parent for each of its {self.num_joints} joints",
            f"{len(self.parents)} parents",
        )
        self._check_range("parents", self.parents)
        roots = [joint for joint, parent in enumerate(self.parents) if joint == parent]
        _require(
            len(roots) == 1,
            self.name,
            "one root, which is its own parent",
            f"{len(roots)}: {roots}",
        )
        for joint in range(self.num_joints):
            path = [joint]
            while self.parents[path[-1]] not in path:
                path.append(self.parents[path[-1]])
            _require(
                path[-1] == roots[0],
                self.name,
                "parents that lead to the root",
                f"a cycle at {joint}",
            )

    def _check_edges(self) -> None:
        self._check_range("edges", [joint for edge in self.edges for joint in edge])
        pairs = {frozenset(edge) for edge in self.edges}
        _require(
            len(pairs) == len(self.edges) and all(len(pair) == 2 for pair in pairs),
            self.name,
            "edges between two different joints, each given once",
            f"{len(self.edges)} edges of which {sum(len(pair) == 2 for pair in pairs)} are good",
        )
        reached = {0}
        while grown := {joint for pair in pairs if pair & reached for joint in pair} - reached:
            reached |= grown
        apart = sorted(set(range(self.num_joints)) - reached)
        _require(not apart, self.name, "edges that join all joints", f"joints {apart} apart")

    def _check_range(self, key: str, joints: Sequence[int]) -> None:
        wrong = [joint for joint in joints if not 0 <= joint < self.num_joints]
        _require(not wrong, self.name, f"{key} within 0..{self.num_joints - 1}", f"{wrong}")


def _require(condition: bool, name: str, expected: str, found: str) -> None:
    if not condition:
        raise ValueError(f"layout {name}: expected {expected}; found {found}. Correct the layout.")


# Microsoft Kinect v2 (NTU RGB+D). Bones as in 2s-AGCN, edges as in MS-G3D: the same tree.
NTU25 = SkeletonLayout(
    name="ntu25",
    joints=(
        "spine_base",
        "spine_mid",
        "neck",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "left_hand",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "right_hand",
        "left_hip",
        "left_knee",
        "left_ankle",
        "left_foot",
        "right_hip",
        "right_knee",
        "right_ankle",
        "right_foot",
        "spine_shoulder",
        "left_hand_tip",
        "left_thumb",
        "right_hand_tip",
        "right_thumb",
    ),
    parents=(
        *(1, 20, 20, 2),  # trunk and head
        *(20, 4, 5, 6),  # left arm
        *(20, 8, 9, 10),  # right arm
        *(0, 12, 13, 14),  # left leg
        *(0, 16, 17, 18),  # right leg
        *(20, 22, 7, 24, 11),  # root, hands
    ),
    edges=(
        *((0, 1), (1, 20), (2, 20), (3, 2)),
        *((4, 20), (5, 4), (6, 5), (7, 6)),
        *((8, 20), (9, 8), (10, 9), (11, 10)),
        *((12, 0), (13, 12), (14, 13), (15, 14)),
        *((16, 0), (17, 16), (18, 17), (19, 18)),
        *((21, 22), (22, 7), (23, 24), (24, 11)),
    ),
    center=1,
    rotate_z=(0, 1),
    rotate_x=(4, 8),
)

# OpenPose's 18 joints (Kinetics-Skeleton): x, y, confidence. The bones hang from the nose, so the
# neck's points the other way than the graph's edge.
OPENPOSE18 = SkeletonLayout(
    name="openpose18",
    joints=(
        "nose",
        "neck",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_eye",
        "left_eye",
        "right_ear",
        "left_ear",
    ),
    parents=(0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
    edges=(
        *((4, 3), (3, 2), (7, 6), (6, 5)),  # arms
        *((13, 12), (12, 11), (10, 9), (9, 8)),  # legs
        *((11, 5), (8, 2), (5, 1), (2, 1)),  # trunk
        *((0, 1), (15, 0), (14, 0), (17, 15), (16, 14)),  # head
    ),
    center=1,
)

# Microsoft Kinect v1 (NW-UCLA).
KINECT20 = SkeletonLayout(
    name="kinect20",
    joints=(
        "hip_center",
        "spine",
        "shoulder_center",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "left_hand",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "right_hand",
        "left_hip",
        "left_knee",
        "left_ankle",
        "left_foot",
        "right_hip",
        "right_knee",
        "right_ankle",
        "right_foot",
    ),
    parents=(
        *(1, 2, 2, 2),  # trunk and head; the root is the shoulders' center
        *(2, 4, 5, 6),  # left arm
        *(2, 8, 9, 10),  # right arm
        *(0, 12, 13, 14),  # left leg
        *(0, 16, 17, 18),  # right leg
    ),
    edges=(
        *((0, 1), (1, 2), (3, 2)),
        *((4, 2), (5, 4), (6, 5), (7, 6)),
        *((8, 2), (9, 8), (10, 9), (11, 10)),
        *((12, 0), (13, 12), (14, 13), (15, 14)),
        *((16, 0), (17, 16), (18, 17), (19, 18)),
    ),
    center=1,
    rotate_z=(0, 1),
    rotate_x=(4, 8),
)

LAYOUTS: Mapping[str, SkeletonLayout] = {
    layout.name: layout for layout in (NTU25, OPENPOSE18, KINECT20)
}


def load_layout(name: str) -> SkeletonLayout:
    """Return a layout by its name, or the one that a YAML file describes.

    Args:
        name: a key of `LAYOUTS`, or the path of a `.yaml` file whose keys are the fields of
            `SkeletonLayout`; joints go by name or number, `edges` default to the bones.

    Raises:
        ValueError: for an unknown name, or a file that describes no skeleton.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"layout {name!r}: expected one of {', '.join(LAYOUTS)} or the path of a .yaml file; "
            "found neither. Correct the name."
        )
    if not path.is_file():
        raise ValueError(f"layout {name}: no such file. Correct the path.")
    return _layout_of(path)


def _layout_of(path: Path) -> SkeletonLayout:
    """Read a layout from YAML; joints are named or numbered."""
    content = _read_mapping(path)
    joints = tuple(map(str, content["joints"]))
    parents = tuple(_number(joint, joints, path) for joint in content["parents"])
    bones = [(joint, parent) for joint, parent in enumerate(parents) if joint != parent]
    try:
        return SkeletonLayout(
            name=str(content["name"]),
            joints=joints,
            parents=parents,
            edges=tuple(_pair(edge, joints, path) for edge in content.get("edges", bones)),
            center=_number(content["center"], joints, path),
            rotate_z=_optional_pair(content.get("rotate_z"), joints, path),
            rotate_x=_optional_pair(content.get("rotate_x"), joints, path),
            num_coordinates=_whole(content.get("num_coordinates", 3), path),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_mapping(path: Path) -> Settings:
    """Return what a YAML file says of a layout: the right keys, and lists where they are due."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML; found {error}. Correct the file.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping; found {type(content).__name__}.")
    known = {field.name for field in fields(SkeletonLayout)}
    unknown = sorted(map(str, set(content) - known))
    _require(not unknown, str(path), f"keys among {', '.join(sorted(known))}", str(unknown))
    missing = sorted({"name", "joints", "parents", "center"} - set(content))
    _require(not missing, str(path), f"the keys {', '.join(missing)}", "none of that name")
    for key in {"joints", "parents", "edges"} & set(content):
        found = type(content[key]).__name__
        _require(isinstance(content[key], list), str(path), f"{key} to be lists", found)
    return content


def _number(joint: object, joints: Sequence[str], path: Path) -> int:
    """Return the number of a joint given by name or number."""
    if isinstance(joint, str):
        _require(joint in joints, str(path), "a joint of its list", repr(joint))
        return joints.index(joint)
    return _whole(joint, path)


def _whole(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{path}: expected a whole number; found {value!r}. Correct the file.")
    return value


def _pair(pair: object, joints: Sequence[str], path: Path) -> tuple[int, int]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"{path}: expected a pair of joints; found {pair!r}. Correct the file.")
    return _number(pair[0], joints, path), _number(pair[1], joints, path)


def _optional_pair(pair: object, joints: Sequence[str], path: Path) -> tuple[int, int] | None:
    return None if pair is None else _pair(pair, joints, path)
