import pytest

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
        ({"parents": (0, 2, 1), "joints": ("a", "b", "c")}, "cycle"),
        ({"edges": ((0, 1), (1, 0))}, "each given once"),
        ({"edges": ((0, 0),)}, "two different joints"),
        ({"edges": ()}, "apart"),
        ({"center": 2}, "center within"),
        ({"rotate_z": (0, 0)}, "rotate_z"),
        ({"num_coordinates": 0}, "num_coordinates"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "a mapping"),
        ("name: [", "YAML"),
        ("name: x", "the keys"),
        ("{name: x, joints: [a, b], parents: [a, c], center: a}", "a joint of its list"),
        ("{name: x, joints: [a, b], parents: [a, 1.5], center: a}", "whole number"),
        ("{name: x, joints: a, parents: a, center: a}", "to be lists"),
        ("{name: x, joints: [a, b], parents: [a, a], center: a, edges: [[a]]}", "pair"),
        ("{name: x, joints: [a, b], parents: [a, a], center: a, edges: 3}", "edges"),
        ("{name: x, joints: [a, b], parents: [a, a], center: a, color: red}", "color"),
    ],
)
def test_a_wrong_yaml_is_refused_with_its_path(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_layout(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["ntu26", "nowhere.yaml"])
def test_an_unknown_layout_is_refused(name):
    with pytest.raises(ValueError, match=name):
        load_layout(name)
