"""The example of fine-tuning: its two sets of recordings, and the runs that it asks for."""

import csv
import runpy
import shutil
import tarfile
from collections import Counter

import pytest

from dualhead.workspace.grids import plan

NAMES = [
    f"a{action:02d}_s{subject:02d}_e00_v{camera:02d}.json"
    for action in (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
    for subject in range(1, 5)
    for camera in (1, 2, 3)
]


@pytest.fixture(scope="module")
def example(root):
    return root / "examples/fine_tune"


def test_five_recordings_of_each_new_action_train_and_all_of_the_third_camera_test(
    example, tmp_path
):
    for name in NAMES:
        (tmp_path / name).write_text(name)
    archive = tmp_path / "nw_ucla.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in reversed(NAMES):
            tar.add(tmp_path / name, f"nw_ucla/all_sqe/{name}")
    runpy.run_path(str(example / "recordings.py"))["main"](archive, tmp_path / "raw")
    found = {}
    for folder in ("seven", "three"):
        with (tmp_path / "raw" / folder / "labels.csv").open(newline="") as file:
            found[folder] = list(csv.DictReader(file))
        names = {row["name"] for row in found[folder]}
        files = {path.name: path.read_text() for path in (tmp_path / "raw" / folder).glob("*.json")}
        assert {name: name for name in names} == files
    assert 7 * 12 == len(found["seven"])
    counts = Counter((row["label"], row["part"]) for row in found["three"])
    new = ("doffing", "throw", "carry")
    assert {(label, "train"): 5 for label in new} | {(label, "test"): 4 for label in new} == counts
    assert all((row["camera"] == "v03") == (row["part"] == "test") for row in found["three"])


def test_the_example_tunes_what_it_trained(example, tmp_path):
    for path in example.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    seven = plan(tmp_path, configfiles=[tmp_path / "params.seven.yaml"])
    (address,) = seven["runs"]
    assert address.startswith("seven_views/dualhead/joint/seed1-")
    assert f"results/runs/{address.rpartition('-')[0]}" in (example / "run.sh").read_text()
    with pytest.raises(ValueError, match=r"found no file parents/joint\.pt"):
        plan(tmp_path)
    (tmp_path / "parents").mkdir()
    (tmp_path / "parents/joint.pt").write_bytes(b"seven")
    three = plan(tmp_path)
    counts = Counter(run["variant"] for run in three["runs"].values())
    assert {"scratch": 3, "tuned": 3} == counts
    model = seven["runs"][address]["model"]
    assert all(run["model"] == model for run in three["runs"].values())
