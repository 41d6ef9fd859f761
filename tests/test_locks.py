"""Locks that the kernel releases."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dualhead import locks
from dualhead.locks import lock_one, try_lock

HOLD = """
import sys, time
from pathlib import Path
from dualhead.locks import try_lock
held = try_lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds a lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_released_when_its_process_is_killed(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    assert try_lock(tmp_path / "lock") is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert try_lock(tmp_path / "lock") is not None


def test_a_lock_changes_neither_the_file_nor_its_time(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\n")
    before = path.stat().st_mtime_ns
    with lock_one([path], "nobody"):
        assert try_lock(path) is None
    assert (path.read_text(), path.stat().st_mtime_ns) == ("seed: 1\n", before)


def test_the_first_free_path_is_taken(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    with lock_one(paths, "a place") as first, lock_one(paths, "a place") as second:
        assert (first, second) == (0, 1)
        held = try_lock(paths[2])
        assert held is not None
        held.close()


def test_waiting_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock"
    held = try_lock(path)
    assert held is not None
    naps = iter([lambda: None, held.close])
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: next(naps)())
    with lock_one([path], "the other one") as position:
        assert position == 0
    assert capsys.readouterr().err == "waiting for the other one\n"


def test_where_there_are_no_locks_the_work_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock_one([tmp_path / "no folder" / "lock"], "nobody") as position:
        assert position == 0
    assert "not locked (No such file or directory)" in capsys.readouterr().err
