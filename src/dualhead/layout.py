"""Skeleton layouts: joints, bones and graph of a sensor or pose estimator, each in a YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from dualhead.settings.params import Settings
from dualhead.settings.reading import locate_yaml

KEYS = ("name", "joints", "center")
"""Keys that every layout file has."""


class LayoutError(ValueError):
    """Refusal of a layout; `keys` lead to the field that is wrong."""

    def __init__(self, keys: str | tuple[str, ...], expected: str, found: str) -> None:
        """State a field's expected and its present content."""
        self.keys = (keys,) if isinstance(keys, str) else keys
        field = ".".join(self.keys)
        super().__init__(f"{field}: expected {expected}; found {found}. Correct the layout.")


@dataclass(frozen=True)
class SkeletonLayout:
    """Joints of one sensor or pose estimator, numbered from 0.

    Attributes:
        name: name of the layout in stores, checkpoints and messages.
        joints: names that differ, one for each joint; `left_` and `right_` begin those of a side.
        parents: number of each joint's parent; a bone points from parent to joint. The root is its
            own parent.
        edges: pairs of joints that the graph joins, undirected, each once, none to itself.
        center: joint that becomes the origin.
        rotate_z: bone (from, to) that is put on +z in the first frame, or None.
        rotate_x: bone (from, to) that is put on +x in the first frame, or None.
        num_coordinates: channels of a joint: x, y, z in meters, or x, y and a confidence.
        confidence: whether the last channel is a confidence, 0 for a joint that was not seen.

    Raises:
        LayoutError: for what is no skeleton: a number out of range, two roots, a cycle, a joint
            apart from the others.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    center: int
    rotate_z: tuple[int, int] | None = None
    rotate_x: tuple[int, int] | None = None
    num_coordinates: int = 3
    confidence: bool = False

    @property
    def num_joints(self) -> int:
        """Number of joints, V."""
        return len(self.joints)

    @property
    def root(self) -> int:
        """Joint that is its own parent; the others hang from it."""
        return next(joint for joint, parent in enumerate(self.parents) if joint == parent)

    def __post_init__(self) -> None:
        """Refuse what is no skeleton."""
        self._check_joints()
        self._check_parents()
        self._check_edges()

    def _check_joints(self) -> None:
        _require(self.num_joints > 1, "joints", "at least 2 of them", f"{self.num_joints}")
        twice = sorted({joint for joint in self.joints if self.joints.count(joint) > 1})
        _require(not twice, "joints", "names that differ", f"{twice} twice")
        least = 2 if self.confidence else 1
        _require(
            self.num_coordinates >= least,
            "num_coordinates",
            f"{least} or more",
            str(self.num_coordinates),
        )
        self._check_range("center", [self.center])
        for key in ("rotate_z", "rotate_x"):
            bone = getattr(self, key)
            self._check_range(key, bone or ())
            depth = self.num_coordinates == 3 and not self.confidence
            _require(
                bone is None or (bone[0] != bone[1] and depth),
                key,
                "two joints of a skeleton with x, y and z",
                f"{bone} with {self.num_coordinates} coordinates",
            )

    def _check_parents(self) -> None:
        expected = f"one parent for each of the {self.num_joints} joints"
        found = f"{len(self.parents)} parents"
        _require(len(self.parents) == self.num_joints, "parents", expected, found)
        self._check_range("parents", self.parents)
        roots = [joint for joint, parent in enumerate(self.parents) if joint == parent]
        _require(len(roots) == 1, "parents", "one root, which is its own", f"{len(roots)}: {roots}")
        for joint in range(self.num_joints):
            path = [joint]
            while self.parents[path[-1]] not in path:
                path.append(self.parents[path[-1]])
            cycle = f"a cycle at {self.joints[joint]}"
            _require(path[-1] == roots[0], "parents", "a way from each joint to the root", cycle)

    def _check_edges(self) -> None:
        self._check_range("edges", [joint for edge in self.edges for joint in edge])
        pairs = {frozenset(edge) for edge in self.edges}
        _require(
            len(pairs) == len(self.edges) and all(len(pair) == 2 for pair in pairs),
            "edges",
            "pairs of two different joints, each given once",
            f"{len(self.edges)} edges of which {sum(len(pair) == 2 for pair in pairs)} are good",
        )
        reached = {0}
        while grown := {joint for pair in pairs if pair & reached for joint in pair} - reached:
            reached |= grown
        apart = [name for joint, name in enumerate(self.joints) if joint not in reached]
        _require(not apart, "edges", "a way between any two joints", f"{apart} apart")

    def _check_range(self, key: str, joints: Sequence[int]) -> None:
        wrong = [joint for joint in joints if not 0 <= joint < self.num_joints]
        _require(not wrong, key, f"joints within 0..{self.num_joints - 1}", f"{wrong}")

    def to_mapping(self) -> Settings:
        """Return the whole layout as JSON and YAML can hold it, joints by name."""

        def pair(bone: tuple[int, int]) -> list[str]:
            return [self.joints[joint] for joint in bone]

        parents = (self.joints[parent] for parent in self.parents)
        return {
            "name": self.name,
            "joints": dict(zip(self.joints, parents, strict=True)),
            "edges": [pair(edge) for edge in self.edges],
            "center": self.joints[self.center],
            "rotate_z": pair(self.rotate_z) if self.rotate_z else None,
            "rotate_x": pair(self.rotate_x) if self.rotate_x else None,
            "num_coordinates": self.num_coordinates,
            "confidence": self.confidence,
        }

    @classmethod
    def from_mapping(cls, content: object) -> SkeletonLayout:
        """Return the layout that a mapping describes, as `to_mapping` or a layout file does.

        Args:
            content: the fields by name. `joints` gives each joint its parent, or lists the joints,
                whose parents `parents` then lists; joints go by name or number; `edges` default to
                the bones.

        Raises:
            LayoutError: for a field that is missing, unknown or wrong.
        """
        found = _checked_keys(content)
        given = found["joints"]
        joints = tuple(map(str, given))
        if isinstance(given, dict):
            parents = [_number(("joints", joint), given[joint], joints) for joint in given]
        else:
            parents = [_number("parents", joint, joints) for joint in found["parents"]]
        bones = [(joint, parent) for joint, parent in enumerate(parents) if joint != parent]
        return cls(
            name=str(found["name"]),
            joints=joints,
            parents=tuple(parents),
            edges=tuple(_pair("edges", edge, joints) for edge in found.get("edges", bones)),
            center=_number("center", found["center"], joints),
            rotate_z=_optional_pair("rotate_z", found, joints),
            rotate_x=_optional_pair("rotate_x", found, joints),
            num_coordinates=_whole("num_coordinates", found.get("num_coordinates", 3)),
            confidence=bool(found.get("confidence", False)),
        )


def _require(condition: bool, key: str | tuple[str, ...], expected: str, found: str) -> None:
    if not condition:
        raise LayoutError(key, expected, found)


def _checked_keys(content: object) -> Settings:
    """Return a layout's fields: the right keys, and lists where they are due."""
    if not isinstance(content, dict):
        raise LayoutError("layout", "a mapping", type(content).__name__)
    known = {field.name for field in fields(SkeletonLayout)}
    for key in content:
        _require(key in known, str(key), f"a key among {', '.join(sorted(known))}", "this one")
    listed = isinstance(content.get("joints"), list)
    needed = (*KEYS, "parents") if listed else KEYS
    missing = [key for key in needed if key not in content]
    _require(not missing, "layout", f"the keys {', '.join(needed)}", f"no {', '.join(missing)}")
    _require(
        listed or "parents" not in content, "parents", "none beside joints with parents", "some"
    )
    for key in {"parents", "edges"} & set(content):
        _require(isinstance(content[key], list), key, "a list", type(content[key]).__name__)
    is_named = listed or isinstance(content["joints"], dict)
    kind = type(content["joints"]).__name__
    _require(is_named, "joints", "a mapping of joints to parents, or a list", kind)
    is_flag = isinstance(content.get("confidence", False), bool)
    _require(is_flag, "confidence", "true or false", repr(content.get("confidence")))
    return content


def _number(key: str | tuple[str, ...], joint: object, joints: Sequence[str]) -> int:
    """Return the number of a joint given by name or number."""
    if isinstance(joint, str):
        _require(joint in joints, key, "a joint of its list", repr(joint))
        return joints.index(joint)
    return _whole(key, joint)


def _whole(key: str | tuple[str, ...], value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise LayoutError(key, "a joint or a whole number", repr(value))
    return value


def _pair(key: str, pair: object, joints: Sequence[str]) -> tuple[int, int]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise LayoutError(key, "a pair of joints", repr(pair))
    return _number(key, pair[0], joints), _number(key, pair[1], joints)


def _optional_pair(key: str, content: Settings, joints: Sequence[str]) -> tuple[int, int] | None:
    return None if content.get(key) is None else _pair(key, content[key], joints)


def load_layout(name: str) -> SkeletonLayout:
    """Return a layout by its name, or the one that a YAML file describes.

    Args:
        name: a key of `LAYOUTS`, or the path of a `.yaml` file; see `from_mapping`.

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
    return read_layout(path)


def read_layout(path: Path) -> SkeletonLayout:
    """Return the layout that a YAML file describes.

    Raises:
        ValueError: with file, line and key of what is wrong.
    """
    found = locate_yaml(path)
    try:
        return SkeletonLayout.from_mapping(found.content)
    except LayoutError as error:
        raise ValueError(f"{found.place(error.keys)}: {error}") from error


def picture_layout(layout: SkeletonLayout) -> SkeletonLayout:
    """Return the layout of the same joints and bones seen in a picture: x, y, confidence."""
    name = layout.name if layout.confidence else f"{layout.name}_picture"
    changes = {"name": name, "rotate_z": None, "rotate_x": None, "num_coordinates": 3}
    return replace(layout, **changes, confidence=True)  # type: ignore[arg-type]  # of one type each


class _PackagedLayouts(Mapping[str, SkeletonLayout]):
    """Layouts in the package's folder `layouts`, by name; each is read when it is first needed."""

    def __getitem__(self, name: str) -> SkeletonLayout:
        if name not in _packaged_files():
            raise KeyError(name)
        return _read_packaged(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_packaged_files())

    def __len__(self) -> int:
        return len(_packaged_files())


@cache
def _packaged_files() -> dict[str, Path]:
    folder = Path(str(files("dualhead") / "layouts"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


@cache
def _read_packaged(name: str) -> SkeletonLayout:
    return read_layout(_packaged_files()[name])


LAYOUTS: Mapping[str, SkeletonLayout] = _PackagedLayouts()
