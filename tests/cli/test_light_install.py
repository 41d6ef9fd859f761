"""The package without the workflow's dependencies: it predicts, and names what a command lacks."""

import csv
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from dualhead.cli.main import EXTRAS
from tests.builders.checkpoints import write_checkpoint

WITHOUT = f"""
import sys
from importlib.machinery import PathFinder

class Installed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        is_extra = name.partition(".")[0] in {sorted(EXTRAS)}
        return None if is_extra else PathFinder.find_spec(name, path, target)

sys.meta_path = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
from dualhead.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MODULES = {
    "snakemake-executor-plugin-slurm": "snakemake_executor_plugin_slurm",
    "imageio-ffmpeg": "imageio_ffmpeg",
}


def without(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command where no extra is installed."""
    call = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True)


def test_it_predicts(tmp_path, rng):
    write_checkpoint(tmp_path / "joint.pt")
    np.save(tmp_path / "walk.npy", rng.normal(1, 0.3, (9, 20, 3)))
    done = without(
        *("predict", tmp_path / "joint.pt", tmp_path / "walk.npy"),
        *("--unit", "m", "--device", "cpu", "--output", tmp_path / "found.csv"),
    )
    assert 0 == done.returncode, done.stderr
    with (tmp_path / "found.csv").open(newline="") as text:
        (row,) = csv.DictReader(text)
    assert "walk" == row["name"] and row["class_name"] in ("wave", "sit", "jump")


def test_a_command_of_the_workflow_names_the_extra(root):
    done = without("table", "--grid", "no", "--results", "no", "--published", "no")
    assert 1 == done.returncode
    assert done.stderr.splitlines() == [
        "dualhead table: it needs the package pandas: pip install 'dualhead[workflow]'"
    ]


@pytest.mark.parametrize("extra", ["workflow", "export", "tensorboard", "serve", "video"])
def test_the_extras_are_those_of_pyproject(root, extra):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    listed = {line.partition(">")[0] for line in project["optional-dependencies"][extra]}
    named = {module for module, whose in EXTRAS.items() if whose == extra}
    assert named == {MODULES.get(name, name) for name in listed}


def test_an_export_names_the_extra_before_it_begins(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "joint.pt")
    done = without("export", checkpoint, "--output", tmp_path / "model.onnx")
    assert 1 == done.returncode
    assert done.stderr.splitlines() == [
        "dualhead export: it needs the package onnx: pip install 'dualhead[export]'"
    ]


def test_it_shows_recordings(tmp_path, rng):
    np.save(tmp_path / "walk.npy", rng.normal(1, 0.3, (9, 20, 3)))
    said = ("--unit", "m", "--layout", "kinect20", "--output", tmp_path / "walk.html")
    done = without("view", tmp_path / "walk.npy", *said)
    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "walk.html").stat().st_size > 50_000


def test_a_server_names_its_extra(tmp_path):
    done = without("serve", tmp_path / "joint.pt")
    assert done.stderr.splitlines() == [
        "dualhead serve: it needs the package uvicorn: pip install 'dualhead[serve]'"
    ]
