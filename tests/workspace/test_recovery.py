"""After a kill, a full disk or a lost node: the next call says what it found, and goes on."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualhead import locks
from dualhead.cli import main as cli
from dualhead.locks import try_lock
from dualhead.settings.params import dump
from dualhead.workspace import grids, recovery
from tests.builders.workspaces import BIN, PARAMS, Workspace, job_counts, make_workspace

pytestmark = pytest.mark.workflow

SLOW = """#!{python} -SE
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "train" and (here / "slow").exists():
    (here / f"{{os.getpid()}}.started").touch()
    time.sleep(300)
os.execv(here / "dualhead-fake", sys.argv)
"""


def make_slow(workspace: Workspace) -> None:
    """Let trainings sleep for minutes, as long as there is a file `slow` beside `dualhead`."""
    (workspace.bin / "dualhead").rename(workspace.bin / "dualhead-fake")
    (workspace.bin / "dualhead").write_text(SLOW.format(python=sys.executable))
    (workspace.bin / "dualhead").chmod(0o755)
    (workspace.bin / "slow").touch()


def started(workspace: Workspace) -> list[int]:
    """Return the process ids of the slow trainings."""
    return [int(note.stem) for note in workspace.bin.glob("*.started")]


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose Snakemake was killed while two trainings ran, which still do."""
    workspace = make_workspace(tmp_path)
    make_slow(workspace)
    environment = os.environ | {
        "PATH": f"{workspace.bin}{os.pathsep}{BIN}{os.pathsep}/usr/bin:/bin"
    }
    snakemake = subprocess.Popen(
        ["snakemake", "--cores", "2"],
        cwd=workspace.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while len(started(workspace)) < 2 and time.monotonic() < end and snakemake.poll() is None:
        time.sleep(0.2)
    snakemake.kill()
    snakemake.wait()
    (workspace.bin / "slow").unlink()
    yield workspace
    for process in started(workspace):
        os.kill(process, signal.SIGKILL)


def test_after_a_kill_the_next_call_says_so_and_goes_on(killed: Workspace) -> None:
    assert len(started(killed)) == 2
    (killed.bin / "calls.txt").write_text("")
    done = killed.run("snakemake", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "left by a Snakemake that was killed; removed, going on" in done.stderr
    calls = [line.split()[0] for line in (killed.bin / "calls.txt").read_text().splitlines()]
    assert calls.count("train") == 4
    assert not {"synthesize", "prepare"} & set(calls)


def test_what_a_kill_left_unfinished_hides_nothing_else(finished: Workspace) -> None:
    """A run's settings that Snakemake holds for incomplete: what else is missing is made all the same."""
    finished.edit("seeds: [1]", "seeds: [1, 2]")
    planned = finished.run("snakemake", "-n", "runs").stdout
    config = re.findall(r"results/runs/\S+/config\.yaml", planned)[-1]
    (finished.folder / config).parent.mkdir(parents=True)
    (finished.folder / config).touch()
    marker = base64.urlsafe_b64encode(config.encode()).decode()
    (finished.folder / ".snakemake/incomplete" / marker).touch()
    counts = job_counts(finished.run("snakemake", "-n", "runs").stdout)
    assert (counts["train"], counts["evaluate"]) == (4, 4)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A `.snakemake` with the lock of a Snakemake, this process, that noted who it is."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").touch()
    recovery.register(tmp_path, {})
    return tmp_path


def change_owner(folder: Path, **changes: object) -> None:
    """Change who a note says works there."""
    note = next(folder.glob("dualhead/*.json"))
    content = json.loads(note.read_text())
    content["owner"] |= changes
    note.write_text(json.dumps(content))


def ended_process() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def is_locked(folder: Path) -> bool:
    recovery.clear(folder)
    return (folder / "locks/0.input.lock").exists()


def test_the_lock_of_a_process_that_has_ended_is_removed(
    left: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_owner(left, process=ended_process())
    assert not is_locked(left)
    assert "left by a Snakemake that was killed" in capsys.readouterr().err


def test_a_later_process_with_the_same_number_is_another(left: Path) -> None:
    change_owner(left, start="another boot 17")
    assert not is_locked(left)


def test_the_lock_of_a_snakemake_that_works_is_respected(left: Path) -> None:
    assert is_locked(left)
    change_owner(left, process=os.getppid(), start=locks._start(os.getppid()))
    assert is_locked(left)
    assert len(recovery.others_at_work(left)) == 1


@pytest.mark.parametrize("what", ["host", "machine"])
def test_the_lock_of_another_machine_is_respected(
    left: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_owner(left, **{what: "login2", "process": ended_process()})
    assert is_locked(left)
    assert recovery.is_at_work(left)
    assert ("works here, or did" in capsys.readouterr().err) is (what == "host")


def test_a_lock_that_was_made_since_is_another_ones(left: Path) -> None:
    change_owner(left, process=ended_process())
    lock = left / "locks/0.input.lock"
    lock.unlink()
    (left / "locks/other").touch()  # takes the inode
    lock.write_text("of a Snakemake that began since")
    assert is_locked(left)


def test_a_note_that_was_cut_breaks_no_lock(left: Path) -> None:
    note = next(left.glob("dualhead/*.json"))
    note.write_text(note.read_text()[:40])
    assert is_locked(left)


def test_jobs_are_canceled_only_where_nobody_else_works(
    left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canceled: list[list[str]] = []
    monkeypatch.setattr(recovery, "left_jobs", lambda logs: [] if canceled else ["17"])
    monkeypatch.setattr(recovery.subprocess, "run", lambda call, check: canceled.append(call))
    change_owner(left, host="login2")
    recovery.cancel_left_jobs(left)
    assert not canceled
    shutil.rmtree(left / "locks")  # as `snakemake --unlock` does
    recovery.cancel_left_jobs(left)
    assert canceled == [["scancel", "17"]]


def test_without_slurm_no_job_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery.shutil, "which", lambda name: None)
    assert recovery.left_jobs(tmp_path) == []


def test_a_training_that_another_process_does_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "checkpoint.pt"
    (tmp_path / "params.yaml").write_text(PARAMS)
    text = dump(next(iter(grids.plan(tmp_path)["runs"].values())))
    config.write_text(text)
    other = try_lock(tmp_path / ".train.lock")
    assert other is not None
    locks.sign(other)
    config.unlink()
    config.write_text(text)  # Snakemake writes it anew meanwhile

    def finish(seconds: float) -> None:
        output.write_text("the other's")
        other.close()

    monkeypatch.setattr(locks.time, "sleep", finish)
    options = ["--config", str(config), "--store", str(tmp_path / "none.h5")]
    assert cli.main(["train", *options, "--output", str(output)]) == 0
    assert output.read_text() == "the other's"
    assert f"trains {output} already (process {os.getpid()} on" in capsys.readouterr().err
    assert not (tmp_path / ".train.lock").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A workspace on a file system of its own, of 16 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int) -> Path:
    """Fill a file system up to some bytes."""
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - leave))
    return filler


def one_run(root: Path, folder: Path) -> None:
    """Write a params.yaml that asks for a single small training."""
    text = (root / "tests/params.yaml").read_text()
    for old, new in (
        ("seeds: [1, 2]", "seeds: [1]"),
        ("streams: [joint, bone, two_stream]", "streams: [joint]"),
        ("rows: [ms_g3d, no_attention, dualhead]", "rows: [dualhead]"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)


def test_a_full_disk_leaves_nothing_half_written_and_the_next_call_goes_on(
    root: Path, small_disk: Path
) -> None:
    def snakemake(until: str) -> subprocess.CompletedProcess[str]:
        command = [BIN / "snakemake", "--cores", "1", "--snakefile", root / "Snakefile"]
        command += ["--directory", small_disk, "--until", until]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    one_run(root, small_disk)
    assert snakemake("synthesize").returncode == 0
    for rule, products in (("prepare", "store/*.h5"), ("train", "runs/*/*/*/*/checkpoint.pt")):
        filler = fill(small_disk, leave=80_000)
        failed = snakemake(rule)
        assert failed.returncode != 0
        assert "No space left on device" in failed.stderr
        assert not list((small_disk / "results").glob(products))
        assert not [path for path in small_disk.rglob("*") if ".partial" in path.name]
        filler.unlink()
        done = snakemake(rule)
        assert done.returncode == 0, done.stderr
        assert list((small_disk / "results").glob(products))
