"""Damaged recordings in each form are read or refused in one line that names them."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

import dualhead.data.datasets  # noqa: F401  first: forms and datasets import each other
from dualhead.data.archives import list_files
from dualhead.data.forms import FORMS, tell
from dualhead.data.forms.base import content_of
from dualhead.data.prepared_arrays.base import numbers_in_npz
from tests.builders.forms import EXAMPLES, FRAMES
from tests.torture.recordings import form_reader
from tests.torture.verdicts import FAULTS, seed_of


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_recording_is_told_by_its_content_and_read(name):
    content = content_of(EXAMPLES[name], name)
    motion = tell(content).read(content)
    assert tell(content) is FORMS[name]
    assert len(motion.joints) in (1, FRAMES, FRAMES + 1)  # YOLO: a frame a file; Kinetics from 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_damage_is_refused_in_one_line_or_another_recording(name, tmp_path):
    attempt = form_reader(name, tmp_path)
    verdicts = [attempt(seed_of(3, name, number)) for number in range(30)]
    assert [it for it in verdicts if it.outcome in FAULTS] == []


CUT_HEADER = EXAMPLES["numpy"].replace(b"'shape': (", b"'shape': ((")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("csv", EXAMPLES["csv"].splitlines()[0] + b"\n1,2,3\n4,5,6", "as many fields each"),
        ("numpy", CUT_HEADER, "arrays of plain numbers"),
        ("mediapipe", b'[{"pose_landmarks": 0.5}]', "a list of landmarks"),
        ("kinect", b'{"frames": [{"bodies": 0.5}]}', "another shape within"),
        ("kinetics", b'{"data": [{"skeleton": {"pose": []}}]}', "another shape within"),
        ("alphapose", b'[{"image_id": Infinity, "keypoints": []}]', "the number of each frame"),
        ("alphapose", b'[{"image_id": NaN, "keypoints": []}]', "the number of each frame"),
    ],
)
def test_what_torture_found_is_one_line(name, content, message):
    with pytest.raises(ValueError, match=f"^recording: expected .*{message}"):
        FORMS[name].read(content_of(content, "recording"))


def test_a_table_with_a_giant_field_is_one_line():
    text = 'x_x,x_y\n"' + "1" * 200_000
    with pytest.raises(ValueError, match="recording"):
        tell(content_of(text.encode(), "recording")).read(content_of(text.encode(), "recording"))


def test_a_zip_of_another_version_is_one_line(tmp_path):
    path = tmp_path / "a.zip"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.json", "{}")
    content = bytearray(file.getvalue())
    content[content.index(b"PK\1\2") + 6] = 254  # version needed to extract
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip: expected a whole archive"):
        list_files(path, ".json")


def test_the_checksum_at_the_end_of_a_tar_is_compared(tmp_path):
    path, member = tmp_path / "a.tar.gz", tmp_path / "a.json"
    member.write_bytes(np.random.default_rng(0).bytes(5000))  # cannot be packed: stored as it is
    with tarfile.open(path, "w:gz") as archive:
        archive.add(member, "a.json")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tar\.gz: expected a whole archive"):
        list_files(path, ".json")


def test_an_npz_that_lost_its_beginning_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(100.0))
    path.write_bytes(path.read_bytes()[10:])
    with pytest.raises(ValueError, match=r"a\.npz: expected a whole .*npz with x"):
        numbers_in_npz(path, "x", tmp_path)
