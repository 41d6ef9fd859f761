"""The whole pipeline with the real `dualhead`: from synthetic recordings to the PDF."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

pytestmark = pytest.mark.workflow
FITTED = "two_stream_fitted]"


@pytest.fixture(scope="module")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that went from synthetic recordings to its PDF, with the real `dualhead`."""
    folder = tmp_path_factory.mktemp("tiny")
    text = (root / "tests/params.yaml").read_text()
    for old, new in (("variant: dualhead\n", "variant: held_out\n"), ("two_stream]", FITTED)):
        assert old in text
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)
    done = run_tiny(root, folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_tiny(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the real workflow in a workspace."""
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "2"]
    command += ["--snakefile", root / "Snakefile", "--directory", folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_recordings_become_a_report(tiny: Path) -> None:
    text = "".join(page.extract_text() for page in PdfReader(tiny / "reports/report.pdf").pages)
    assert "synthetic" in text
    for name in ("streams", "modules"):
        for suffix in ("csv", "md", "tex"):
            assert (tiny / f"results/tables/{name}.{suffix}").stat().st_size > 0


def test_every_run_of_the_grid_is_scored(tiny: Path) -> None:
    grid = json.loads((tiny / "results/grid.json").read_text())
    assert (len(grid["runs"]), len(grid["ensembles"])) == (10, 2)
    for address in [f"runs/{run}" for run in grid["runs"]]:
        metrics = json.loads((tiny / "results" / address / "metrics.json").read_text())
        assert 0 <= metrics["last"]["fusion"]["softmax"]["top1"] <= 100
        assert not (tiny / "results" / address / "state.pt").exists()


def test_weights_are_fitted_on_subjects_that_did_not_train(tiny: Path) -> None:
    for path in (tiny / "results/ensembles").rglob("metrics.json"):
        metrics = json.loads(path.read_text())
        assert metrics["weights_fitted"] is True
        assert sum(metrics["weights"].values()) == pytest.approx(1, abs=1e-3)
        assert {"last", "best_on_validation", "best_on_test"} < set(metrics)


def test_the_real_workflow_runs_once(root: Path, tiny: Path) -> None:
    again = run_tiny(root, tiny)
    assert again.returncode == 0, again.stderr
    assert "Nothing to be done" in again.stderr


def test_the_summary_has_each_accuracy_at_a_stable_name(tiny: Path) -> None:
    summary = (tiny / "results/tables/summary.json").read_text()
    assert "synthetic_xsub" in summary
    assert "seed1-" not in summary
