"""The whole pipeline with the real `dualhead`, from synthetic recordings to the PDF: weights fitted on held-out people.

A larger grid goes the same way in test_installed.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

pytestmark = pytest.mark.workflow
PARAMS = """
extends: {root}/tests/params.yaml
seeds: [1]
tables:
  streams: {{kind: comparison, benchmarks: [synthetic_xsub], variant: held_out,
             streams: [joint, bone, two_stream_fitted], metrics: [top1]}}
figures: {{benchmark: synthetic_xsub, variant: held_out, baseline: held_out, stream: joint}}
"""


@pytest.fixture(scope="module")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that went from synthetic recordings to its PDF, with the real `dualhead`."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "params.yaml").write_text(PARAMS.format(root=root))
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "2"]
    command += ["--snakefile", root / "Snakefile", "--directory", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


def test_recordings_become_a_report(tiny: Path) -> None:
    text = "".join(page.extract_text() for page in PdfReader(tiny / "reports/report.pdf").pages)
    assert "synthetic" in text
    for suffix in ("csv", "md", "tex"):
        assert (tiny / f"results/tables/streams.{suffix}").stat().st_size > 0


def test_every_run_of_the_grid_is_scored(tiny: Path) -> None:
    grid = json.loads((tiny / "results/grid.json").read_text())
    assert (len(grid["runs"]), len(grid["ensembles"])) == (2, 1)
    for address in [f"runs/{run}" for run in grid["runs"]]:
        metrics = json.loads((tiny / "results" / address / "metrics.json").read_text())
        assert 0 <= metrics["last"]["fusion"]["softmax"]["top1"] <= 100
        assert not (tiny / "results" / address / "state.pt").exists()


def test_weights_are_fitted_on_subjects_that_did_not_train(tiny: Path) -> None:
    (path,) = (tiny / "results/ensembles").rglob("metrics.json")
    metrics = json.loads(path.read_text())
    assert metrics["weights_fitted"] is True
    assert sum(metrics["weights"].values()) == pytest.approx(1, abs=1e-3)
    assert {"last", "best_on_validation", "best_on_test"} < set(metrics)


def test_the_summary_has_each_accuracy_at_a_stable_name(tiny: Path) -> None:
    summary = (tiny / "results/tables/summary.json").read_text()
    assert "synthetic_xsub" in summary
    assert "seed1-" not in summary
