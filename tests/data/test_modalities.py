import numpy as np
import pytest
import torch

from dualhead.data.modalities import MODALITIES, bone, motion
from dualhead.layout import LAYOUTS

SHAPE = {"sample": (3, 7, 25, 2), "batch": (4, 3, 7, 25, 2)}


@pytest.fixture(params=SHAPE)
def joints(request, rng):
    return rng.normal(size=SHAPE[request.param]).astype(np.float32)


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_modality_keeps_shape_and_type(name, layout, rng):
    skeleton = LAYOUTS[layout]
    positions = rng.normal(size=(3, 5, skeleton.num_joints, 2)).astype(np.float32)
    made = MODALITIES[name](positions, skeleton)
    assert (made.shape, made.dtype) == (positions.shape, positions.dtype)


@pytest.mark.parametrize("name", MODALITIES)
def test_torch_and_numpy_agree_to_the_bit(name, joints):
    layout = LAYOUTS["ntu25"]
    ours = MODALITIES[name](torch.from_numpy(joints), layout).numpy()
    assert np.array_equal(ours, MODALITIES[name](joints, layout))


@pytest.mark.parametrize("name", MODALITIES)
def test_the_joints_given_are_left_as_they_are(name, joints):
    before = joints.copy()
    MODALITIES[name](joints, LAYOUTS["ntu25"])
    assert np.array_equal(joints, before)


def test_a_bone_is_its_joint_less_the_parent(joints):
    layout = LAYOUTS["ntu25"]
    made = bone(joints, layout)
    for joint, parent in enumerate(layout.parents):
        expected = joints[..., joint, :] - joints[..., parent, :]
        assert np.array_equal(made[..., joint, :], expected)


def test_a_bone_is_zero_at_the_root(joints):
    layout = LAYOUTS["ntu25"]
    assert not bone(joints, layout)[..., layout.root, :].any()


def test_the_confidence_is_differenced_too(rng):
    layout = LAYOUTS["openpose18"]
    joints = rng.normal(size=(3, 4, 18, 2)).astype(np.float32)
    assert np.array_equal(bone(joints, layout)[2], joints[2] - joints[2][:, list(layout.parents)])


def test_motion_is_the_step_to_the_next_frame_and_zero_in_the_last(joints):
    steps = motion(joints)
    num_frames = joints.shape[-3]
    for frame in range(num_frames - 1):
        expected = joints[..., frame + 1, :, :] - joints[..., frame, :, :]
        assert np.array_equal(steps[..., frame, :, :], expected)
    assert not steps[..., num_frames - 1, :, :].any()


def test_motion_of_a_single_frame_is_zero():
    assert not motion(np.ones((3, 1, 25, 2), np.float32)).any()


@pytest.mark.parametrize("name", MODALITIES)
def test_gradients_pass_through(name):
    joints = torch.randn(1, 3, 4, 25, 2, dtype=torch.float64, requires_grad=True)
    layout = LAYOUTS["ntu25"]
    assert torch.autograd.gradcheck(lambda x: MODALITIES[name](x, layout), joints)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_equals_the_authors_to_the_bit(name, shared):
    with np.load(shared / "golden" / "ntu_prepared.npz") as golden:
        made = MODALITIES[name](golden["joint"], LAYOUTS["ntu25"])
        assert np.array_equal(made, golden[name])
