"""Locks that the kernel releases."""

import errno
import os
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


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_one([path], "nobody"):
        owner = locks.read_owner(path)
        assert owner == locks.this_process()
        assert owner is not None
        assert not locks.is_gone(owner)


def test_a_lock_that_its_holder_removed_is_not_had(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_one([path], "nobody"):
        waiting = path.open("rb")
        path.unlink()
    with waiting, lock_one([path], "nobody"):
        assert try_lock(path) is None


def test_a_process_of_another_machine_is_never_known_to_be_gone() -> None:
    mine = locks.this_process()
    assert not locks.is_gone(mine._replace(host="elsewhere", process=2**22 + 1))
    assert not locks.is_gone(mine._replace(machine="another namespace", process=2**22 + 1))
    assert locks.is_gone(mine._replace(process=2**22 + 1))
    assert locks.is_gone(mine._replace(start="another boot 1"))


def test_without_proc_a_living_process_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_start", lambda process: "")  # as on macOS
    assert not locks.is_gone(locks.this_process())


def test_a_lock_file_for_everyone_defies_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with lock_one([tmp_path / "lock"], "nobody", mode=0o666):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


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


@pytest.mark.parametrize("code", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EBADF"])
def test_where_there_are_no_locks_the_work_goes_on(
    tmp_path: Path,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(getattr(errno, code), "no such thing")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with lock_one([tmp_path / "lock"], "nobody") as position:
        assert position == 0
    with locks.exclusive(tmp_path / "lock", "taken"):
        pass
    assert capsys.readouterr().err.count("no file locks here (no such thing)") == 2


def test_without_fcntl_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with lock_one([tmp_path / "lock"], "nobody") as position:
        assert position == 0
    assert "this Python knows no file locks" in capsys.readouterr().err


def test_a_lock_that_cannot_be_made_is_no_missing_lock(tmp_path: Path) -> None:
    path = tmp_path / "no folder" / "lock"
    with pytest.raises(FileNotFoundError) as raised, lock_one([path], "nobody"):
        pass
    assert raised.value.filename == path


def test_an_error_of_a_lock_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: object, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error") as raised:
        try_lock(tmp_path / "lock")
    assert raised.value.filename == str(tmp_path / "lock")
