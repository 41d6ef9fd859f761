"""The GPU that a process gets, on a machine whose GPUs are files in a folder."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from dualhead import locks
from dualhead.workspace.gpu import claim, visible_gpus


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with two GPUs."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    return tmp_path


def claimed(
    machine: Path, device: str = "auto", *, trainings_per_gpu: int = 1, **variables: str
) -> AbstractContextManager[str]:
    places = {"locks": machine, "devices": machine}
    return claim(device, variables, trainings_per_gpu=trainings_per_gpu, **places)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("3, 5", ["3", "5"]),
        ("GPU-8932f937,GPU-a1", ["GPU-8932f937", "GPU-a1"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("0,,1", ["0"]),
        ("NoDevFiles", []),
        ("void", []),
        ("MIG-GPU-8932f937/1/2", ["MIG-GPU-8932f937/1/2"]),
        ("MIG-41b35d6a,MIG-41b35d6b", ["MIG-41b35d6a"]),  # CUDA takes the first only
    ],
)
def test_visible_gpus_are_those_that_cuda_counts(
    machine: Path, chosen: str | None, expected: list[str]
) -> None:
    environment = {} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}
    assert expected == visible_gpus(environment, machine)


def test_two_trainings_get_two_gpus_and_a_third_waits(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as first, claimed(machine) as second:
        taken = [first.enter_context(claimed(machine)), second]
        assert sorted(taken) == ["auto:0", "auto:1"]
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: first.close())
        with claimed(machine) as third:
            assert third == taken[0]
    assert "waiting for a GPU: 2 are there, and taken" in capsys.readouterr().err


def test_every_gpu_has_one_training_before_any_has_two(machine: Path) -> None:
    with ExitStack() as stack:
        devices = [
            stack.enter_context(claimed(machine, "cuda", trainings_per_gpu=2)) for _ in range(4)
        ]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_a_gpu_that_was_named_is_not_changed(machine: Path) -> None:
    for device in ("cpu", "cuda:1"):
        with claimed(machine, device) as first, claimed(machine, device) as second:
            assert first == second == device


def test_of_gpus_that_a_user_chose_the_free_one_is_taken(machine: Path) -> None:
    chosen = {"CUDA_VISIBLE_DEVICES": "5,7"}
    with claimed(machine, CUDA_VISIBLE_DEVICES="5"), claimed(machine, **chosen) as device:
        assert device == "auto:1"


def test_a_name_with_slashes_is_locked(machine: Path) -> None:
    with claimed(machine, CUDA_VISIBLE_DEVICES="MIG-GPU-8932f937/1/2") as device:
        assert device == "auto:0"
        assert [path.name for path in machine.glob("*.lock")] == [
            "machine-gpu-MIG-GPU-8932f937-1-2-0.lock"
        ]


def test_the_folder_of_locks_is_everyones(machine: Path) -> None:
    before = os.umask(0o077)
    try:
        with claim("auto", {}, trainings_per_gpu=1, locks=machine / "l", devices=machine):
            modes = [path.stat().st_mode & 0o7777 for path in (machine / "l", *machine.glob("l/*"))]
    finally:
        os.umask(before)
    assert modes == [0o1777, 0o666]


def test_jobs_of_slurm_do_not_wait_for_each_other(machine: Path) -> None:
    first = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "1"}
    second = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "2"}
    with claimed(machine, **first) as one, claimed(machine, **second) as other:
        assert one == other == "auto:0"


def test_without_a_gpu_the_choice_stays_open(tmp_path: Path) -> None:
    with claimed(tmp_path) as device:
        assert device == "auto"


SIX = """
import os, sys, time
from pathlib import Path
from dualhead.workspace.gpu import claim
folder = Path(sys.argv[1])
with claim("auto", {}, trainings_per_gpu=1, locks=folder, devices=folder) as device:
    mine = folder / device
    mine.touch(exist_ok=False)
    time.sleep(0.1)
    if sys.argv[2] == "die":
        mine.unlink()
        os.kill(os.getpid(), 9)
    mine.unlink()
"""


def test_no_gpu_is_used_twice_by_six_processes_of_which_some_die(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(fate: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SIX, str(machine), fate], env=os.environ)

    fates = ["live", "die", "live"] * 2
    codes = [process.wait(timeout=60) for process in [start(fate) for fate in fates]]
    assert codes == [-9 if fate == "die" else 0 for fate in fates]
