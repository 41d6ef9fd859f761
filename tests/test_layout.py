import dataclasses
import json

import pytest
import yaml

from dualhead.layout import LAYOUTS, SkeletonLayout, load_layout

PAIR = {"name": "pair", "joints": ("a", "b"), "parents": (0, 0), "edges": ((0, 1),), "center": 0}


@pytest.mark.parametrize(
    ("name", "num_joints", "root"), [("ntu25", 25, 20), ("openpose18", 18, 0), ("kinect20", 20, 2)]
)
def test_a_known_layout_has_the_published_joints_and_root(name, num_joints, root):
    layout = load_layout(name)
    assert (layout.num_joints, layout.root, layout.name) == (num_joints, root, name)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_bones_join_the_same_joints_as_the_graph(name):
    layout = LAYOUTS[name]
    bones = {frozenset(pair) for pair in enumerate(layout.parents) if len(set(pair)) == 2}
    assert bones == {frozenset(edge) for edge in layout.edges}


@pytest.mark.parametrize(("name", "diameter"), [("ntu25", 12), ("openpose18", 8)])
def test_the_longest_way_through_the_skeleton_is_the_published_one(name, diameter):
    layout = LAYOUTS[name]
    neighbors = {joint: {joint} for joint in range(layout.num_joints)}
    for a, b in layout.edges:
        neighbors[a].add(b)
        neighbors[b].add(a)
    longest = 0
    for joint in range(layout.num_joints):
        reached, steps = {joint}, 0
        while len(reached) < layout.num_joints:
            reached, steps = set().union(*(neighbors[near] for near in reached)), steps + 1
        longest = max(longest, steps)
    assert longest == diameter


def test_left_and_right_mirror_each_other():
    for layout in LAYOUTS.values():
        for joint, name in enumerate(layout.joints):
            if name.startswith("left_"):
                other = layout.joints.index(name.replace("left_", "right_"))
                parents = (layout.joints[layout.parents[at]] for at in (joint, other))
                left, right = (parent.replace("left_", "right_") for parent in parents)
                assert left == right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": ("a", "a")}, "differ"),
        ({"parents": (0,)}, "one parent for each"),
        ({"parents": (0, 1)}, "one root"),
        ({"parents": (0, 2)}, "within 0..1"),
        ({"parents": (0, 2, 1), "joints": ("a", "b", "c")}, "cycle at b"),
        ({"edges": ((0, 1), (1, 0))}, "each given once"),
        ({"edges": ((0, 0),)}, "two different joints"),
        ({"edges": ()}, r"\['b'\] apart"),
        ({"center": 2}, "center: expected joints within"),
        ({"rotate_z": (0, 0)}, "rotate_z"),
        ({"num_coordinates": 0}, "num_coordinates"),
        ({"confidence": True, "rotate_z": (0, 1)}, "rotate_z"),
        ({"confidence": True, "num_coordinates": 1}, "num_coordinates"),
    ],
)
def test_what_is_no_skeleton_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SkeletonLayout(**(PAIR | change))


def test_a_layout_comes_from_yaml_with_joints_by_name_or_number(tmp_path):
    path = tmp_path / "stick.yaml"
    path.write_text(
        "name: stick\njoints: [hip, chest, head]\nparents: [hip, hip, 1]\ncenter: chest\n"
        "rotate_z: [hip, chest]\nnum_coordinates: 3\n"
    )
    assert load_layout(str(path)) == SkeletonLayout(
        name="stick",
        joints=("hip", "chest", "head"),
        parents=(0, 0, 1),
        edges=((1, 0), (2, 1)),
        center=1,
        rotate_z=(0, 1),
    )


def test_joints_may_stand_with_their_parents(tmp_path):
    listed, mapped = tmp_path / "listed.yaml", tmp_path / "mapped.yaml"
    rest = "center: chest\nrotate_z: [hip, chest]\n"
    listed.write_text(f"name: stick\njoints: [hip, chest, head]\nparents: [hip, hip, 1]\n{rest}")
    mapped.write_text(f"name: stick\njoints:\n  hip: hip\n  chest: hip\n  head: chest\n{rest}")
    assert load_layout(str(listed)) == load_layout(str(mapped))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_comes_back_from_json_and_yaml(name):
    mapping = LAYOUTS[name].to_mapping()
    assert SkeletonLayout.from_mapping(json.loads(json.dumps(mapping))) == LAYOUTS[name]
    written = yaml.safe_dump(mapping, sort_keys=False)
    assert SkeletonLayout.from_mapping(yaml.safe_load(written)) == LAYOUTS[name]


def test_every_field_is_kept():
    layout = SkeletonLayout(
        name="three",
        joints=("a", "b", "c"),
        parents=(0, 0, 0),
        edges=((2, 1), (0, 1)),
        center=2,
        num_coordinates=2,
        confidence=True,
    )
    assert SkeletonLayout.from_mapping(layout.to_mapping()) == layout
    deep = dataclasses.replace(
        layout, rotate_z=(0, 2), rotate_x=(1, 2), num_coordinates=3, confidence=False
    )
    assert SkeletonLayout.from_mapping(deep.to_mapping()) == deep


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", ": expected a mapping"),
        ("name: [", ":1: not valid YAML"),
        ("name: x", ": layout: expected the keys name, joints, center; found no joints, center"),
        ("name: x\njoints: [a, b]\ncenter: a", ": layout: .* found no parents"),
        (
            "name: x\njoints: [a, b]\nparents: [a, c]\ncenter: a",
            ":3: parents: expected a joint of its list; found 'c'",
        ),
        (
            "name: x\njoints: {a: a, b: 1.5}\ncenter: a",
            r":2: joints\.b: .* whole number; found 1.5",
        ),
        ("name: x\njoints: a\ncenter: a", ":2: joints: .* found str"),
        ("name: x\njoints: {a: a, b: a, a: b}\ncenter: a", ":2: 'a' stands twice"),
        ("name: x\njoints: {a: a, b: a}\ncenter: a\nname: y", ":4: 'name' stands twice"),
        (
            "name: x\ncenter: a\njoints: {a: a, b: a}\nparents: [a, a]",
            ":4: parents: expected none beside",
        ),
        (
            "name: x\njoints: {a: a, b: a}\nedges: [[a]]\ncenter: a",
            ":3: edges: expected a pair of joints",
        ),
        ("name: x\njoints: {a: a, b: a}\nedges: 3\ncenter: a", ":3: edges: expected a list"),
        ("name: x\njoints: {a: a, b: a}\ncenter: 7", r":3: center: .* within 0\.\.1"),
        ("name: x\njoints: {a: a, b: a}\ncenter: a\ncolor: red", ":4: color: expected a key"),
        (
            "name: x\njoints: {a: a, b: a}\ncenter: a\nconfidence: maybe",
            ":4: confidence: expected true or false; found 'maybe'",
        ),
    ],
)
def test_a_wrong_yaml_is_refused_in_one_line_with_its_place(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"wrong\.yaml{message}") as caught:
        load_layout(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ntu26", "nowhere.yaml"])
def test_an_unknown_layout_is_refused(name):
    with pytest.raises(ValueError, match=name):
        load_layout(name)


PUBLISHED = {
    "ntu25": (
        *(1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
        *(20, 22, 7, 24, 11),
    ),
    "openpose18": (0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
    "kinect20": (1, 2, 2, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    "coco17": (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    "body25": (
        *(1, 1, 1, 2, 3, 1, 5, 6, 1, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 19, 14),
        *(11, 22, 11),
    ),
    "h36m17": (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    "azure32": (
        *(0, 0, 1, 2, 2, 4, 5, 6, 7, 8, 7, 2, 11, 12, 13, 14, 15, 14, 0, 18, 19, 20),
        *(0, 22, 23, 24, 3, 26, 26, 26, 26, 26),
    ),
    "smpl24": (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
    "hand21": (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19),
}
"""Parents by number: 2s-AGCN, CTR-GCN, PYSKL, OpenPose's pairs, VideoPose3D, Microsoft's and SMPL's documents."""

MEDIAPIPE = {
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12)),
    *((11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18)),
    *((16, 20), (16, 22), (18, 20), (11, 23), (12, 24), (23, 24), (23, 25), (24, 26), (25, 27)),
    *((26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32)),
}
"""MediaPipe Pose's connections."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_bones_are_the_published_ones(name):
    assert LAYOUTS[name].parents == PUBLISHED[name]


def test_bones_of_mediapipe_are_its_connections_and_what_joins_its_parts():
    layout = LAYOUTS["mediapipe33"]
    bones = {tuple(sorted(edge)) for edge in layout.edges}
    assert bones - MEDIAPIPE == {(0, 9), (0, 10), (0, 11), (0, 12)}
    assert layout.joints[15:23:2] == ("left_wrist", "left_pinky", "left_index", "left_thumb")
    assert layout.joints[32] == "right_foot_index"


def test_fingers_of_openxr_follow_their_joints():
    layout = LAYOUTS["hand26"]
    assert layout.joints[:2] == ("palm", "wrist")
    assert [layout.joints.index(f"{finger}_tip") for finger in ("thumb", "little")] == [5, 25]
    for joint in range(2, 26):
        starts = layout.joints[joint].endswith("metacarpal")
        assert layout.parents[joint] == (1 if starts else joint - 1)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("ntu25", (1, (0, 1), (4, 8))),
        ("openpose18", (1, None, None)),
        ("kinect20", (1, (0, 1), (4, 8))),
        ("azure32", (1, (0, 1), (5, 12))),
        ("coco17", (0, None, None)),
    ],
)
def test_center_and_axes_are_those_of_the_authors(name, axes):
    layout = LAYOUTS[name]
    assert (layout.center, layout.rotate_z, layout.rotate_x) == axes


def test_pictures_have_a_confidence_and_sensors_of_depth_none():
    found = {name for name, layout in LAYOUTS.items() if layout.confidence}
    assert found == {"openpose18", "coco17", "body25"}
    assert {layout.num_coordinates for layout in LAYOUTS.values()} == {3}


def test_each_side_has_a_joint_for_each_of_the_other():
    for layout in LAYOUTS.values():
        left = [name[5:] for name in layout.joints if name.startswith("left_")]
        right = [name[6:] for name in layout.joints if name.startswith("right_")]
        assert sorted(left) == sorted(right)
