"""Commands where Python lacks what only Linux has: macOS knows no affinity, some systems no file locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualhead import locks
from dualhead.cli import main as cli
from dualhead.runs import predict as predict_module
from tests.builders.tiny import load_tiny, tiny_config, train_tiny, write_tiny_store
from tests.builders.workspaces import PARAMS, ROOT

LACKING = """
import os, sys
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
sys.modules["fcntl"] = None
"""
ELSEWHERE = (
    LACKING
    + """
from dualhead.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
)
PLANNED_ELSEWHERE = (
    LACKING
    + """
from snakemake.cli import main
sys.exit(main(sys.argv[1:]))
"""
)
SMALL = ("--classes", "2", "--subjects", "2", "--cameras", "1", "--frames", "10", "12")


def elsewhere(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a system without affinity and file locks."""
    call = [sys.executable, "-c", ELSEWHERE, *command]
    return subprocess.run(call, capture_output=True, text=True)


def test_recordings_are_prepared_and_verified(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store.h5"
    assert cli.main(["synthesize", "--output", str(raw), *SMALL]) == 0
    given = ("--dataset", "synthetic", "--raw", str(raw))
    done = elsewhere("prepare", *given, "--output", str(store))
    assert done.returncode == 0, done.stderr
    assert "no file locks here" in done.stderr
    assert store.is_file()
    checked = elsewhere("verify", *given, "--store", str(store))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.workflow
def test_the_workflow_is_planned(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    call = [sys.executable, "-c", PLANNED_ELSEWHERE, "-n", "-s", str(ROOT / "Snakefile")]
    planned = subprocess.run(
        [*call, "--directory", str(tmp_path), "--cores", "1"], capture_output=True, text=True
    )
    assert planned.returncode == 0, planned.stderr
    assert "train" in planned.stdout + planned.stderr


def test_a_network_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_tiny_store(tmp_path / "store.h5")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(predict_module, "load", load_tiny)
    train_tiny(tmp_path, tiny_config(epochs=1))
    words = ["predict", str(tmp_path / "checkpoint.pt"), str(store), "--device", "cpu"]
    assert cli.main([*words, "--output", str(tmp_path / "predicted.csv")]) == 0
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 1 + 24


def test_windows_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.os, "name", "nt")
    code = cli.main(["status"])
    monkeypatch.undo()
    assert code == 1
    assert capsys.readouterr().err == "dualhead: not for Windows; use WSL, the Linux in it\n"
