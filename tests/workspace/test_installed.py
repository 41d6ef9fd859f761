"""A stranger's way: a wheel, a fresh environment, an empty folder, the demo's PDF."""

import json
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.builders.installed import Installation, install

pytestmark = pytest.mark.workflow
SMALLER = """\
input: {num_frames: 16}
dualhead: {gcn_scales: 2, g3d_scales: 2, coarse_channels: [12, 12, 24], fine_channels: [12, 12, 24]}
ms_g3d: {gcn_scales: 2, g3d_scales: 2, channels: [12, 12, 24]}
train: {epochs: 2, batch_size: 8, forward_batch_size: 8, milestones: [1]}
datasets:
  synthetic:
    kind: synthetic
    raw: []
    synthesize: {classes: 3, subjects: 4, cameras: 2, setups: 2, repetitions: 1, frames: [12, 20]}
variants:
  held_out: {train: {validation: 0.5}}
"""
"""What makes the demo one of seconds: its own tables, with less to learn from and less to learn with."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def demo(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of the demo that went to its PDF, made and run by the wheel alone."""
    home = tmp_path_factory.mktemp("stranger")
    said = installed.check(home, "dualhead", "init", "demo", "--example", "demo")
    assert "dualhead run --directory demo" in said
    (home / "demo/params.smaller.yaml").write_text(SMALLER)
    words = ["--configfile", "demo/params.smaller.yaml", "--cores", "2"]
    installed.check(home, "dualhead", "run", "--directory", "demo", *words)
    return home / "demo"


def test_the_package_is_the_wheels(installed: Installation, tmp_path: Path) -> None:
    place = installed.check(tmp_path, "python", "-c", "import dualhead; print(dualhead.__file__)")
    assert place.startswith(str(installed.programs.parent))
    found = json.loads(installed.check(tmp_path, "dualhead", "doctor", "--json"))
    assert found["required"] == "all there"
    assert found["dualhead"].endswith("dualhead/project")


def test_a_wheel_goes_to_the_demos_report(demo: Path) -> None:
    text = "".join(page.extract_text() for page in PdfReader(demo / "reports/report.pdf").pages)
    assert "synthetic" in text
    assert (demo / "results/tables/table1.csv").is_file()


def test_a_second_run_has_nothing_to_do(installed: Installation, demo: Path) -> None:
    done = installed.run(demo, "dualhead", "run", "--configfile", "params.smaller.yaml")
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr


def test_dvc_works_in_such_a_workspace(installed: Installation, demo: Path) -> None:
    (demo / "dvc.yaml").write_text(
        (demo / "dvc.yaml")
        .read_text()
        .replace("--cores all", "--configfile params.smaller.yaml --cores all")
    )
    installed.check(demo, "python", "-m", "dvc", "repro")
    metrics = json.loads(installed.check(demo, "python", "-m", "dvc", "metrics", "show", "--json"))
    assert "synthetic_xsub" in json.dumps(metrics)
    again = installed.check(demo, "python", "-m", "dvc", "repro")
    assert "Data and pipelines are up to date" in again
