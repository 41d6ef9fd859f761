"""NW-UCLA: ten actions from three views, from a folder or the archive as it is published."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dualhead.data.dataset import RawSample
from dualhead.data.datasets.nw_ucla import NW_UCLA, list_recordings, prepare_recording

SETTINGS = {"denoise": "energy", "normalize": "first_frame", "max_bodies": 1}


def recording(rng, num_frames=4, label=7):
    joints = rng.standard_normal((num_frames, 20, 3)).round(5)
    return {"file_name": "a08_s01_e00_v03", "skeletons": joints.tolist(), "label": label}


def sample(label=6):
    return RawSample("a08_s01_e00_v03", label, {}, Path("a08_s01_e00_v03.json"), None, 0)


def test_the_spine_of_the_first_frame_becomes_the_origin(rng):
    content = recording(rng)
    joints = np.array(content["skeletons"])
    prepared = prepare_recording(json.dumps(content).encode(), sample(), SETTINGS)
    assert prepared.num_frames == 4
    assert np.allclose(joints - joints[0, 1], prepared.bodies[0], atol=1e-6)
    assert prepared.bodies[0].dtype == np.float32


@pytest.mark.parametrize("num_frames", [1, 201])
def test_recordings_of_any_length_are_kept(rng, num_frames):
    content = json.dumps(recording(rng, num_frames)).encode()
    assert [num_frames] == [len(body) for body in prepare_recording(content, sample(), SETTINGS)[0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 3}, "expected label 7, as its name says; found 3"),
        ({"skeletons": []}, "expected frames of 20 joints"),
        ({"skeletons": [[[0, 0, 0]] * 19]}, r"found shape \(1, 19, 3\)"),
        ({"skeletons": [[[0, 0, 0]] * 20, []]}, "expected JSON with"),
        ({"skeletons": [[[0, 0, float("nan")]] * 20]}, "expected finite coordinates"),
        ({"skeletons": None}, "a08_s01_e00_v03: expected"),
    ],
)
def test_a_bad_recording_is_refused(rng, change, message):
    content = json.dumps(recording(rng) | change).encode()
    with pytest.raises(ValueError, match=message):
        prepare_recording(content, sample(), SETTINGS)


def test_names_say_the_class_the_person_and_the_view(tmp_path):
    for name in ("a12_s10_e05_v03", "a01_s01_e00_v01", "a07_s01_e00_v01", "notes"):
        (tmp_path / f"{name}.json").touch()
    samples, dropped = list_recordings([tmp_path])
    assert [(item.name, item.label) for item in samples] == [
        ("a01_s01_e00_v01", 0),
        ("a12_s10_e05_v03", 9),
    ]
    assert samples[1].meta == {"subject": 10, "repetition": 5, "view": 3}
    assert {row.name for row in dropped} == {"a07_s01_e00_v01", "notes"}


def test_the_third_view_tests():
    view = np.array([1, 2, 3, 1])
    assert NW_UCLA.splits["xview"]({"view": view}).tolist() == [1, 1, 0, 1]


def test_classes_are_the_ten_actions_in_order():
    assert len(NW_UCLA.class_names) == 10
    assert (NW_UCLA.class_names[6], NW_UCLA.class_names[9]) == ("donning", "carry")


def test_the_real_archive_is_complete(shared):
    samples, dropped = list_recordings([shared / "data" / "nw_ucla.tar.gz"])
    assert (len(samples), dropped) == (1484, [])
    part = NW_UCLA.splits["xview"]({"view": np.array([item.meta["view"] for item in samples])})
    assert NW_UCLA.expected["xview"] == ((part == 1).sum(), (part == 0).sum())


def test_real_recordings_of_every_class_are_prepared(shared, tmp_path):
    archive = shared / "data" / "nw_ucla.tar.gz"
    samples, _ = list_recordings([archive])
    first = {item.label: item for item in reversed(samples)}
    wanted = {item.member: item for item in first.values()}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in wanted:
                content = tar.extractfile(member).read()
                prepared = prepare_recording(content, wanted.pop(member.name), SETTINGS)
                joints = np.array(json.loads(content)["skeletons"])
                assert np.allclose(joints - joints[0, 1], prepared.bodies[0], atol=1e-5)
    assert not wanted
