"""UTD-MHAD: 27 actions by eight people, from a folder or the archive of MATLAB's files."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dualhead.cli.main import main
from dualhead.data.dataset import RawSample
from dualhead.data.datasets import DATASETS
from dualhead.data.datasets.utd_mhad import JOINTS, UTD_MHAD, list_recordings, prepare_recording
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS

SETTINGS = {"denoise": "energy", "normalize": "none", "max_bodies": 1}
DAMAGED = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}  # action, subject, trial that the dataset leaves out


def person(rng, frames=4):
    """Return d_skel (20, 3, frames) of somebody upright, meters."""
    joints = rng.normal(0, 0.05, (20, 3, frames))
    joints[:, 2] += 2.5
    for name, height in (("head", 0.7), ("left_foot", -0.9), ("right_foot", -0.9)):
        joints[JOINTS.index(name), 1] += height
    return joints


def matlab(compressed=True, **arrays):
    file = io.BytesIO()
    savemat(file, arrays, do_compression=compressed)
    return file.getvalue()


def sample(name="a3_s2_t1"):
    return RawSample(name, 2, {}, Path(f"{name}_skeleton.mat"), None, 0)


def prepared(content):
    return prepare_recording(content, sample(), SETTINGS)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["<f8", "<f4"])
def test_each_joint_gets_its_place_in_the_layout(rng, compressed, kind):
    joints = person(rng).astype(kind)
    found = prepared(matlab(compressed, d_skel=joints))
    (body,) = found.bodies
    assert (found.num_frames, found.dropped, body.dtype) == (4, (), np.float32)
    for place, name in enumerate(LAYOUTS["kinect20"].joints):
        expected = joints[JOINTS.index(name)].T.astype(np.float32)
        assert np.array_equal(body[:, place], expected), name


def test_a_single_frame_is_one(rng):
    joints = person(rng, frames=1)
    assert prepared(matlab(d_skel=joints[..., 0])).num_frames == 1


def test_the_spine_of_the_first_frame_becomes_the_origin(rng):
    joints = person(rng)
    settings = SETTINGS | {"normalize": "first_frame"}
    (body,) = prepare_recording(matlab(d_skel=joints), sample(), settings).bodies
    center = LAYOUTS["kinect20"].center
    origin = joints[JOINTS.index(LAYOUTS["kinect20"].joints[center]), :, 0]
    assert body[:, 3] == pytest.approx(joints[JOINTS.index("head")].T - origin, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (matlab(d_depth=np.ones((20, 3, 4))), "with `d_skel`"),
        (matlab(d_skel=np.ones((25, 3, 4))), r"found float64 of shape \(25, 3, 4\)"),
        (matlab(d_skel=np.ones((20, 3, 4)) * np.nan), "expected finite coordinates"),
        (matlab(d_skel="joints"), "expected numbers"),
        (matlab(d_skel=np.ones((20, 3, 4)))[:150], "expected a MATLAB file"),
        (b"", "expected a MATLAB file"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "expected"),
    ],
)
def test_a_bad_recording_is_refused_in_one_line(content, message):
    with pytest.raises(ValueError, match=f"^a3_s2_t1: .*{message}") as raised:
        prepared(content)
    assert "\n" not in str(raised.value)


def test_damage_anywhere_is_refused_or_another_recording(rng):
    content = matlab(False, d_skel=person(rng))
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        try:
            found = prepared(bytes(damaged))
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert found.bodies[0].shape[1:] == (20, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda it: 1000 * it, "extent"), (lambda it: it * [[1], [-1], [1]], "upside_down")],
)
def test_what_no_person_does_is_noted(rng, change, reason):
    content = matlab(d_skel=change(person(rng)))
    assert [row.reason for row in prepared(content).dropped] == [reason]
    assert [row.reason for row in prepared(matlab(d_skel=np.zeros((20, 3, 4)))).dropped] == [
        "no_body"
    ]


def test_names_say_the_action_the_person_and_the_trial(tmp_path):
    for name in (
        "a27_s8_t3_skeleton",
        "A1_S1_T1_skeleton",
        "a28_s1_t1_skeleton",
        "a1_s1_t1_inertial",
    ):
        (tmp_path / f"{name}.mat").touch()
    samples, dropped = list_recordings([tmp_path])
    assert {(one.name, one.label) for one in samples} == {("a27_s8_t3", 26), ("a1_s1_t1", 0)}
    assert {row.name for row in dropped} == {"a28_s1_t1_skeleton", "a1_s1_t1_inertial"}
    assert next(one for one in samples if one.label).meta == {"subject": 8, "trial": 3}


def test_the_whole_dataset_has_its_published_counts(tmp_path, rng):
    contents = matlab(d_skel=person(rng, frames=2))
    names = [
        (action, subject, trial)
        for action in range(1, 28)
        for subject in range(1, 9)
        for trial in range(1, 5)
        if (action, subject, trial) not in DAMAGED
    ]
    raw, store = tmp_path / "Skeleton.zip", tmp_path / "s.h5"
    with zipfile.ZipFile(raw, "w") as archive:
        for action, subject, trial in names:
            archive.writestr(f"Skeleton/a{action}_s{subject}_t{trial}_skeleton.mat", contents)
    assert len(names) == 861
    words = ["prepare", "--dataset", "utd_mhad", "--raw", raw, "--output", store, "--workers", 1]
    assert main([str(word) for word in words]) == 0
    with Store(store) as opened:
        assert len(opened) == 861 and not opened.attributes["partial"]
        train, test = opened.split("xsub")
        assert {int(opened.meta["subject"][place]) for place in test} == {2, 4, 6, 8}
        assert (len(train), len(test)) == UTD_MHAD.expected["xsub"] == (431, 430)
        assert opened.class_names[21] == "jog in place"
    with zipfile.ZipFile(raw, "a") as archive:
        archive.writestr("Skeleton/a8_s1_t4_skeleton.mat", contents)
    assert main([str(word) for word in words]) == 1


def test_it_is_a_dataset_with_27_actions():
    assert DATASETS["utd_mhad"] is UTD_MHAD
    assert len(UTD_MHAD.class_names) == len(set(UTD_MHAD.class_names)) == 27
