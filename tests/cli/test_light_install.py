"""The package without the workflow's dependencies: it predicts, and names what a command lacks."""

import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dualhead.cli.main import EXTRAS
from tests.builders.checkpoints import write_checkpoint

WITHOUT = f"""
import contextlib, io, json, sys
from importlib.machinery import PathFinder

class Installed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        is_extra = name.partition(".")[0] in {sorted(EXTRAS)}
        return None if is_extra else PathFinder.find_spec(name, path, target)

sys.meta_path = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
from dualhead.cli.main import main

found = {{}}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    found[words[0]] = [code, told.getvalue().splitlines()]
print(json.dumps(found))
"""
MODULES = {
    "snakemake-executor-plugin-slurm": "snakemake_executor_plugin_slurm",
    "imageio-ffmpeg": "imageio_ffmpeg",
}


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> tuple[Path, dict[str, list]]:
    """Run commands where no extra is installed; return their folder, and the exit code and errors of each."""
    folder = tmp_path_factory.mktemp("light")
    checkpoint, walk = write_checkpoint(folder / "joint.pt"), folder / "walk.npy"
    np.save(walk, np.random.default_rng(7).normal(1, 0.3, (9, 20, 3)))
    cpu = ("--device", "cpu")
    commands = [
        ["table", "--grid", "no", "--results", "no", "--published", "no"],
        ["export", checkpoint, "--output", folder / "model.onnx"],
        ["serve", checkpoint],
        ["view", walk, "--unit", "m", "--layout", "kinect20", "--output", folder / "walk.html"],
        ["predict", checkpoint, walk, "--unit", "m", *cpu, "--output", folder / "found.csv"],
    ]
    words = json.dumps([[str(word) for word in command] for command in commands])
    call = [sys.executable, "-c", WITHOUT, words]
    return folder, json.loads(subprocess.run(call, capture_output=True, check=True).stdout)


def test_it_predicts(light):
    folder, done = light
    assert 0 == done["predict"][0], done
    with (folder / "found.csv").open(newline="") as text:
        (row,) = csv.DictReader(text)
    assert "walk" == row["name"] and row["class_name"] in ("wave", "sit", "jump")


def test_it_shows_recordings(light):
    folder, done = light
    assert 0 == done["view"][0], done
    assert (folder / "walk.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("table", "pandas", "workflow"),
        ("export", "onnx", "export"),
        ("serve", "uvicorn", "serve"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(light, command, package, extra):
    code, errors = light[1][command]
    assert 1 == code
    needs = f"dualhead {command}: it needs the package {package}"
    assert [f"{needs}: pip install 'dualhead[{extra}]'"] == errors


@pytest.mark.parametrize("extra", ["workflow", "export", "tensorboard", "serve", "video"])
def test_the_extras_are_those_of_pyproject(root, extra):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    listed = {line.partition(">")[0] for line in project["optional-dependencies"][extra]}
    named = {module for module, whose in EXTRAS.items() if whose == extra}
    assert named == {MODULES.get(name, name) for name in listed}
