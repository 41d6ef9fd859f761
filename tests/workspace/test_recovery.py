"""After a kill, a full disk or a lost node: the next call says what it found, and goes on."""

import os
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
from dualhead.workspace import recovery
from tests.builders.workspaces import BIN, Workspace, make_workspace

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


def test_the_lock_of_a_snakemake_that_works_is_respected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").touch()
    working = try_lock(tmp_path / "workspace.lock")
    assert recovery.hold(tmp_path) is None
    assert (tmp_path / "locks/0.input.lock").exists()
    assert working is not None
    working.close()
    assert recovery.hold(tmp_path) is not None
    assert not (tmp_path / "locks").exists()
    assert "left by a Snakemake that was killed" in capsys.readouterr().err


def test_without_slurm_no_job_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery.shutil, "which", lambda name: None)
    assert recovery.left_jobs(tmp_path) == []


def test_a_training_that_another_process_does_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "checkpoint.pt"
    config.write_text("{}")
    other = try_lock(config)
    assert other is not None

    def finish(seconds: float) -> None:
        output.write_text("the other's")
        other.close()

    monkeypatch.setattr(locks.time, "sleep", finish)
    options = ["--config", str(config), "--store", str(tmp_path / "none.h5")]
    assert cli.main(["train", *options, "--output", str(output)]) == 0
    assert output.read_text() == "the other's"
    assert "waiting for another process, which trains" in capsys.readouterr().err


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
