import numpy as np
import pytest

from dualhead.data.normalize import (
    NORMALIZATIONS,
    normalize,
    remove_empty_frames,
    remove_unpeopled_frames,
    rotation_onto,
)
from dualhead.layout import LAYOUTS
from tests.builders.skeletons import looped
from tests.reference import preparation as reference

NTU25 = LAYOUTS["ntu25"]
AXES = [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)]


def body(rng, num_frames, absent=()):
    """Return a body (T, 25, 3) that is absent in some frames."""
    joints = rng.normal((0.1, 0.2, 3.5), 1.0, size=(num_frames, 25, 3)).astype(np.float32)
    joints[list(absent)] = 0
    return joints


def judged(bodies):
    """Return what the reference makes of bodies, padded: (3, 300, 25, 2)."""
    padded = np.zeros((2, 300, 25, 3), np.float32)
    for slot, joints in enumerate(bodies):
        padded[slot, : len(joints)] = joints
    padded = reference.pad(padded, reference.is_all_zero)
    return reference.normalize(padded, reference.is_all_zero).transpose(3, 1, 2, 0)


@pytest.mark.parametrize(
    ("num_frames", "absent"),
    [
        (1, ([], [0])),
        (2, ([], [])),
        (40, ([], range(40))),
        (40, ([], range(5))),
        (40, ([], range(30, 40))),
        (40, (range(10, 15), [])),
        (40, ([*range(4), *range(15, 20), *range(35, 40)], [20])),
        (40, (range(20), range(20, 40))),
        (300, ([], [7])),
        (299, ([0], [])),
    ],
)
def test_two_bodies_become_what_the_reference_makes_of_them(num_frames, absent, rng):
    bodies = [body(rng, num_frames, missing) for missing in absent]
    assert np.array_equal(looped(normalize(bodies, NTU25, "rotate")), judged(bodies))


def test_joints_that_are_not_seen_stay_at_zero(rng):
    bodies = [body(rng, 20), body(rng, 20)]
    bodies[0][3:9, 5] = 0
    bodies[1][:, 20] = 0
    bodies[0][4, 1] = 0  # the center itself: nothing is subtracted in that frame
    found = normalize(bodies, NTU25, "rotate")
    assert np.array_equal(looped(found), judged(bodies))
    assert not found[0][3:9, 5].any()
    assert not found[1][:, 20].any()


def test_the_spine_points_up_and_the_shoulders_along_x_in_the_first_frame(rng):
    (found,) = normalize([body(rng, 9)], NTU25, "rotate")
    shoulders = found[0, 8] - found[0, 4]
    np.testing.assert_allclose(shoulders, [np.linalg.norm(shoulders), 0, 0], atol=1e-5)
    assert not found[:, 1].any()  # the center is the origin in all frames


def test_normalizing_keeps_the_lengths_of_bones(rng):
    before = body(rng, 9)
    (after,) = normalize([before], NTU25, "rotate")
    parents = list(NTU25.parents)
    for joints in (before, after):
        joints -= joints[:, parents]
    np.testing.assert_allclose(*(np.linalg.norm(x, axis=-1) for x in (before, after)), atol=1e-5)


def test_a_body_alone_keeps_its_period(rng):
    assert [len(rows) for rows in normalize([body(rng, 70)], NTU25, "rotate")] == [70]


@pytest.mark.parametrize(
    ("main", "other", "rows"),
    [(70, 70, 70), (20, 40, 40), (40, 20, 40), (20, 30, 60), (70, 69, 300), (400, 399, 400)],
)
def test_two_bodies_of_other_periods_are_stored_until_both_begin_anew(main, other, rows, rng):
    found = normalize([body(rng, main), body(rng, other)], NTU25, "rotate")
    assert [len(joints) for joints in found] == [main, rows]


def test_more_than_300_frames_are_all_kept(rng):
    joints = body(rng, 450)
    (found,) = normalize([joints], NTU25, "rotate")
    (first,) = normalize([joints[:300]], NTU25, "rotate")
    assert len(found) == 450
    assert np.array_equal(found[:300], first)


@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_nobody_stays_nobody(how):
    assert normalize([], NTU25, how) == ()
    absent = np.zeros((5, 25, 3), np.float32)
    assert not any(rows.any() for rows in normalize([absent, absent], NTU25, how))


@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_the_bodies_given_are_left_as_they_are(how, rng):
    bodies = [body(rng, 9), body(rng, 9, [0, 5])]
    before = [joints.copy() for joints in bodies]
    normalize(bodies, NTU25, how)
    assert all(np.array_equal(*pair) for pair in zip(bodies, before, strict=True))


def test_a_frame_is_there_though_its_coordinates_add_up_to_zero(rng):
    joints = body(rng, 6)
    joints[0] = 0
    joints[0, :2] = (0.5, -0.25, -0.25), (0.5, 0.25, -0.75)
    assert joints[0].sum() == 0
    assert len(remove_empty_frames(joints)) == 6


def test_empty_frames_go_all_if_the_first_one_is_empty_and_else_at_the_end_only(rng):
    late = body(rng, 9, [0, 4, 8])
    assert np.array_equal(remove_empty_frames(late), late[[1, 2, 3, 5, 6, 7]])
    early = body(rng, 9, [4, 7, 8])
    assert np.array_equal(remove_empty_frames(early), early[:7])


def test_frames_without_anybody_go_and_the_bodies_keep_step(rng):
    bodies = [body(rng, 6, [0, 2, 5]), body(rng, 6, [0, 3, 5])]
    found = remove_unpeopled_frames(bodies)
    assert all(
        np.array_equal(rows, joints[1:5]) for rows, joints in zip(found, bodies, strict=True)
    )


def test_first_frame_makes_the_main_body_s_first_center_the_origin(rng):
    bodies = [body(rng, 6, [0]), body(rng, 6, [3])]
    bodies[1][2, 7] = 0
    found = normalize(bodies, NTU25, "first_frame")
    for rows, joints in zip(found, bodies, strict=True):
        seen = joints.any(axis=-1)
        assert np.array_equal(rows[seen], joints[seen] - bodies[0][1, 1])
        assert not rows[~seen].any()


def test_none_leaves_the_bodies_as_they_are(rng):
    bodies = [body(rng, 6), body(rng, 6, [3])]
    found = normalize(bodies, NTU25, "none")
    assert all(np.array_equal(*pair) for pair in zip(found, bodies, strict=True))


@pytest.mark.parametrize("layout", ["ntu25", "kinect20"])
def test_other_skeletons_are_put_upright_by_their_own_bones(layout, rng):
    skeleton = LAYOUTS[layout]
    joints = rng.normal(size=(4, skeleton.num_joints, 3)).astype(np.float32)
    (found,) = normalize([joints], skeleton, "rotate")
    left, right = skeleton.rotate_x
    shoulders = found[0, right] - found[0, left]
    np.testing.assert_allclose(shoulders[1:], 0, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_a_rotation_puts_its_vector_on_the_axis(axis, rng):
    for vector in rng.normal(size=(50, 3)).astype(np.float32):
        turned = rotation_onto(vector, axis) @ vector
        expected = np.linalg.norm(vector) * np.array(axis)
        np.testing.assert_allclose(turned, expected, atol=2e-6)


@pytest.mark.parametrize("axis", AXES)
def test_a_rotation_equals_the_reference_to_the_bit(axis, rng):
    for vector in rng.normal(size=(50, 3)).astype(np.float32):
        expected = reference.rotation(vector, axis)
        assert np.array_equal(rotation_onto(vector, axis), expected)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("factor", [0.0, 1.0, -1.0, 1e-8])
def test_a_vector_without_direction_on_the_axis_or_against_it_is_not_turned(axis, factor):
    vector = factor * np.array(axis, np.float32)
    assert np.array_equal(rotation_onto(vector, axis), np.eye(3))
