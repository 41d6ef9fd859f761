"""Commands where Python lacks what only Linux has: macOS knows no affinity, some systems no file locks."""

import subprocess
import sys
from pathlib import Path

import pytest

from dualhead.cli import main as cli

ELSEWHERE = """
import os, sys
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
sys.modules["fcntl"] = None
from dualhead.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
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


def test_windows_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.os, "name", "nt")
    code = cli.main(["status"])
    monkeypatch.undo()
    assert code == 1
    assert capsys.readouterr().err == "dualhead: not for Windows; use WSL, the Linux in it\n"
