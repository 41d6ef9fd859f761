"""Conversion of layouts: means of named joints, exact under any motion of the whole body."""

import dataclasses

import numpy as np
import pytest

from dualhead.data.convert import DEFINED, MEANS, SAME, convert, joint_sources
from dualhead.layout import LAYOUTS, SkeletonLayout

EVERY_PAIR = [
    (source, target)
    for source in LAYOUTS
    for target in LAYOUTS
    if LAYOUTS[source].confidence == LAYOUTS[target].confidence
]


def converts(source, target):
    try:
        joint_sources(LAYOUTS[source], LAYOUTS[target])
    except ValueError:
        return False
    return True


PAIRS = [pair for pair in EVERY_PAIR if converts(*pair)]
MUST = {  # what issues from what by the published definitions, without a word of the user
    *(("coco17", "openpose18"), ("openpose18", "coco17"), ("body25", "coco17")),
    *(("body25", "openpose18"), ("azure32", "ntu25"), ("azure32", "kinect20")),
    *(("ntu25", "kinect20"), ("hand26", "hand21"), ("ntu25", "h36m17"), ("azure32", "h36m17")),
}


def test_the_usual_conversions_need_no_help():
    assert set(PAIRS) >= MUST


def random_joints(rng, layout, *shape):
    joints = rng.normal(size=(*shape, layout.num_joints, layout.num_coordinates))
    if layout.confidence:
        joints[..., -1] = rng.uniform(0.1, 1, joints.shape[:-1])
    return joints.astype(np.float32)


def slowly_converted(frame, source, target, sources):
    """Convert one body of one frame (V, C) by the words of the rule."""
    rows = []
    for joint in target.joints:
        taken = [frame[source.joints.index(name)] for name in sources[joint]]
        row = sum(np.float64(one) for one in taken) / len(taken)
        if source.confidence:
            row[-1] = min(one[-1] for one in taken)
        absent = [one[-1] == 0 if source.confidence else not one.any() for one in taken]
        rows.append(np.zeros_like(row) if any(absent) else row)
    return np.array(rows, np.float32)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_each_joint_is_the_mean_of_its_sources(source, target, rng):
    source, target = LAYOUTS[source], LAYOUTS[target]
    sources = joint_sources(source, target)
    joints = random_joints(rng, source, 3, 2)
    joints[rng.random(joints.shape[:-1]) < 0.2] = 0
    found = convert(joints, source, target)
    assert found.dtype == np.float32
    for place in np.ndindex(3, 2):
        expected = slowly_converted(joints[place], source, target, sources)
        np.testing.assert_allclose(expected, found[place], rtol=1e-6, atol=1e-7)
        assert np.array_equal(expected == 0, found[place] == 0)


def rotation(rng):
    """Return a random rotation of space."""
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.mark.parametrize("seed", range(8))
def test_converting_a_moved_body_moves_the_converted_one(seed):
    rng = np.random.default_rng(seed)
    for source, target in PAIRS:
        compare_moved(source, target, rng)


def compare_moved(source, target, rng):
    """Move a random body as a whole, before the conversion and after."""
    source, target = LAYOUTS[source], LAYOUTS[target]
    joints = random_joints(rng, source, 4)
    axes = 2 if source.confidence else 3
    turn, shift = rotation(rng)[:axes, :axes], rng.normal(0, 3, axes)
    if axes == 2:
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def moved(body):
        return np.concatenate([body[..., :axes] @ turn.T + shift, body[..., axes:]], axis=-1)

    expected = moved(convert(joints, source, target))
    found = convert(moved(joints).astype(np.float32), source, target)
    np.testing.assert_allclose(expected, found, atol=4e-6)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_converts_to_itself_unchanged(name, rng):
    layout = LAYOUTS[name]
    joints = random_joints(rng, layout, 5)
    joints[2, 1] = 0
    assert np.array_equal(joints, convert(joints, layout, layout))


def test_the_neck_of_openpose_lies_between_the_shoulders_with_the_lesser_confidence():
    source, target = LAYOUTS["coco17"], LAYOUTS["openpose18"]
    joints = np.zeros((17, 3), np.float32)
    joints[source.joints.index("left_shoulder")] = (2, 4, 0.9)
    joints[source.joints.index("right_shoulder")] = (4, 8, 0.5)
    found = convert(joints, source, target)
    assert found[target.joints.index("neck")].tolist() == [3, 6, 0.5]
    joints[source.joints.index("left_shoulder")] = (2, 4, 0)
    assert not convert(joints, source, target)[target.joints.index("neck")].any()


def test_azure_kinect_holds_the_joints_of_kinect_v2_one_to_one():
    sources = joint_sources(LAYOUTS["azure32"], LAYOUTS["ntu25"])
    assert {len(names) for names in sources.values()} == {1}
    assert len({names for names in sources.values()}) == 25
    assert sources["spine_base"] == ("pelvis",)
    assert sources["spine_mid"] == ("spine_navel",)
    assert sources["spine_shoulder"] == ("spine_chest",)


def test_a_joint_without_a_source_is_named():
    source, target = LAYOUTS["mediapipe33"], LAYOUTS["ntu25"]
    with pytest.raises(ValueError, match="mediapipe33 has nothing for left_hand_tip, right_hand_t"):
        joint_sources(source, target)
    own = {f"{side}_hand_tip": (f"{side}_index",) for side in ("left", "right")}
    sources = joint_sources(source, target, own)
    assert sources["left_hand_tip"] == ("left_index",)
    assert sources["left_hand"] == ("left_pinky", "left_index")
    assert sources["spine_mid"] == ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"tail": ("nose",)},
            "sources of joint tail: expected joints of layout openpose18; found t",
        ),
        (
            {"neck": ("chin",)},
            "sources of joint neck: expected joints of layout coco17; found chin",
        ),
        ({"neck": ()}, "sources of joint neck: expected joints .* found none"),
    ],
)
def test_wrong_sources_are_refused(own, message):
    with pytest.raises(ValueError, match=message):
        joint_sources(LAYOUTS["coco17"], LAYOUTS["openpose18"], own)


def test_own_sources_go_before_all_others(rng):
    source, target = LAYOUTS["coco17"], LAYOUTS["openpose18"]
    joints = random_joints(rng, source, 2)
    found = convert(joints, source, target, {"neck": ("nose",)})
    assert np.array_equal(joints[:, 0], found[:, target.joints.index("neck")])


def test_pictures_do_not_become_space():
    with pytest.raises(
        ValueError, match=r"coordinates of one kind, found 3 coordinates, the last a"
    ):
        joint_sources(LAYOUTS["coco17"], LAYOUTS["ntu25"])
    flat = dataclasses.replace(LAYOUTS["coco17"], num_coordinates=2, confidence=False)
    assert isinstance(flat, SkeletonLayout)
    with pytest.raises(ValueError, match="2 coordinates, no confidence"):
        joint_sources(flat, LAYOUTS["coco17"])


def test_every_name_of_the_tables_is_a_joint_of_some_layout():
    known = {joint for layout in LAYOUTS.values() for joint in layout.joints}
    named = {name for names in SAME for name in names} | set(MEANS)
    named |= {name for names in MEANS.values() for name in names}
    named |= {name for joints in DEFINED.values() for name in joints}
    assert named <= known
