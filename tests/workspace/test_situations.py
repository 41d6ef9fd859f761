"""Situations of a workspace that people share, edit and plan in while it works: the right outcome of each."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dualhead.locks import this_process
from dualhead.workspace import grids
from tests.builders.workspaces import ROOT, Workspace, make_workspace

pytestmark = pytest.mark.workflow

WAITING = """#!{python}
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "train":
    (here / "begun").touch()
    while not (here / "go").exists():
        time.sleep(0.1)
if "{failing}" in sys.argv:
    sys.exit("dualhead: this terminal cannot show it")
os.execv(sys.executable, [sys.executable, str(here / "dualhead-fake"), *sys.argv[1:]])
"""


def put_before(workspace: Workspace, text: str) -> None:
    """Let another program stand in for the fake `dualhead`, which it may call as `dualhead-fake`."""
    (workspace.bin / "dualhead").rename(workspace.bin / "dualhead-fake")
    (workspace.bin / "dualhead").write_text(text)
    (workspace.bin / "dualhead").chmod(0o755)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert path.exists(), process.communicate(timeout=10)


def test_a_run_is_not_disturbed_by_plans_and_edits_beside_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    put_before(workspace, WAITING.format(python=sys.executable, failing="nothing"))
    command = ["snakemake", "--cores", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    first = subprocess.Popen(
        [workspace.bin / "snakemake", *command[1:]],
        cwd=workspace.folder,
        env=workspace.environment,
        **pipes,
    )
    wait_for(workspace.bin / "begun", first)
    grid = (workspace.folder / "results/grid.json").read_text()
    planned = workspace.run("snakemake", "-n", "--config", "seeds=[2, 3]")
    assert planned.returncode == 0, planned.stderr
    workspace.edit("gcn_scales: 3", "gcn_scales: 5")
    assert workspace.run("snakemake", "-n").returncode == 0
    second = workspace.run(*command)
    assert "LockException" in second.stderr
    assert (workspace.folder / "results/grid.json").read_text() == grid
    assert list(workspace.folder.glob(".snakemake/locks/*"))
    (workspace.bin / "go").touch()
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    assert json.loads(grid)["seeds"] == [1]
    workspace.edit("gcn_scales: 5", "gcn_scales: 3")
    assert workspace.snakemake() == {}


def job_of_a_cluster(
    workspace: Workspace, run: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """Call one training as the SLURM plugin calls it on a node."""
    options = "--allowed-rules train --cores 1 --attempt 1 --force-use-threads --force --nolock"
    options += " --target-files-omit-workdir-adjustment --keep-storage-local-copies --notemp"
    options += " --max-inventory-time 0 --nocolor --no-hooks --ignore-incomplete --mode remote"
    target = ["--target-jobs", f"train:run={run}"]
    python = str(workspace.bin / "python")
    return workspace.run(python, "-m", "snakemake", *target, *options.split(), *more)


def test_a_job_reads_the_grid_of_its_own_run_not_the_latest(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.snakemake("--until", "configure", "prepare")
    grid = grids.plan(workspace.folder)
    run = next(iter(grid["runs"]))
    results = workspace.folder / "results"
    grids.freeze(grids.plan(workspace.folder, overrides={"seeds": [9]}), results)
    path = grids.frozen_path(grid, Path("results"))
    done = job_of_a_cluster(workspace, run, "--config", f"frozen_grid={path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (results / "runs" / run / "checkpoint.pt").exists()


@pytest.mark.parametrize("text", ["gcn_scales: 7}", "gcn_scales: ["])
def test_a_job_of_a_cluster_does_what_it_was_submitted_for(tmp_path: Path, text: str) -> None:
    workspace = make_workspace(tmp_path)
    workspace.snakemake("--until", "configure", "prepare")
    run = next(workspace.folder.glob("results/runs/*/small/*/*")).relative_to(
        workspace.folder / "results/runs"
    )
    grid = (workspace.folder / "results/grid.json").read_text()
    workspace.edit("gcn_scales: 3}", text)
    done = job_of_a_cluster(workspace, str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (workspace.folder / "results/runs" / run / "checkpoint.pt").exists()
    assert (workspace.folder / "results/grid.json").read_text() == grid


def test_jobs_call_this_environments_program_not_another_on_the_path(
    finished: Workspace, tmp_path: Path
) -> None:
    other = tmp_path / "other/dualhead"
    other.parent.mkdir()
    other.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    other.chmod(0o755)
    environment = finished.environment | {"PATH": f"{other.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        [finished.bin / "snakemake", "--cores", "1", "--forcerun", "summary"],
        cwd=finished.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "called").exists()


def test_a_terminal_that_cannot_show_the_tables_fails_nothing(finished: Workspace) -> None:
    put_before(finished, WAITING.format(python=sys.executable, failing="--show"))
    done = finished.run("snakemake", "--cores", "1", "--forcerun", "report")
    assert done.returncode == 0, done.stderr
    assert "all is made" in done.stdout


def test_the_lock_of_a_snakemake_on_another_machine_stays(finished: Workspace) -> None:
    folder = finished.folder / ".snakemake"
    lock = folder / "locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("reports/report.pdf\n")
    state = lock.stat()
    owner = this_process()._replace(host="login2", process=1)._asdict()
    note = {"owner": owner, "locks": {lock.name: [state.st_ino, state.st_mtime_ns]}}
    (folder / "dualhead").mkdir(exist_ok=True)
    (folder / "dualhead/login2-1.json").write_text(json.dumps(note))
    assert finished.run("snakemake", "-n").returncode == 0
    stopped = finished.run("snakemake", "--cores", "1", "--forcerun", "report")
    assert stopped.returncode != 0
    assert "process 1 on login2 works here, or did" in stopped.stderr
    assert lock.exists()


def test_a_snakemake_that_ends_leaves_the_lock_of_another(finished: Workspace) -> None:
    """Two may work on other files each; the end of one must not let a third in beside the other."""
    lock = finished.folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("reports/report.pdf\n")
    assert finished.run("snakemake", "--cores", "1", "data").returncode == 0
    assert lock.exists()
    stopped = finished.run("snakemake", "--cores", "1", "--forcerun", "report")
    assert "LockException" in stopped.stderr
    assert finished.run("snakemake", "--unlock").returncode == 0
    assert not lock.exists()


def test_a_repository_with_braces_in_its_path_serves_another_folder(
    finished: Workspace, tmp_path: Path
) -> None:
    repository = tmp_path / "r{e}po"
    shutil.copytree(finished.folder, repository, ignore=shutil.ignore_patterns("results"))
    edited = repository / "reports/published.yaml"
    edited.write_bytes(edited.read_bytes() + b"# another line\n")
    made = finished.run("snakemake", "--cores", "1", "-s", str(repository / "Snakefile"))
    assert made.returncode == 0, made.stderr
    calls = (finished.bin / "calls.txt").read_text()
    assert f"--published {os.path.relpath(edited, finished.folder)} --name" in calls


def test_a_group_that_slurm_does_not_take_fails_and_is_not_waited_for(finished: Workspace) -> None:
    for name, text in (
        ("sacctmgr", "echo others"),
        ("squeue", ""),
        ("sinfo", ""),
        ("sbatch", "exit 1"),
    ):
        program = finished.bin / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    done = finished.run(
        *(
            "snakemake",
            "--profile",
            "profiles/slurm",
            "--forcerun",
            "summary",
            "--until",
            "summary",
        ),
        *("--retries", "0", "--default-resources", "slurm_account=nobodys", "slurm_partition=cpu"),
        timeout=90,
    )
    assert done.returncode == 1
    assert "The given account nobodys appears to be invalid" in done.stderr


PYTHON = """#!/bin/sh
case "$*" in
  -V) echo "Python {version}";;
  "-m venv --clear .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "made of {version}" > .venv/made;;
  -c*) exit {code};;
esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_another_python_makes_the_environment_anew(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for version, code in (("3.10.1", 1), ("3.11.7", 0), ("3.12.1", 0)):
        (tmp_path / f"python{version}").write_text(PYTHON.format(version=version, code=code))
        (tmp_path / f"python{version}").chmod(0o755)

    def make(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHON"}
        command = ["make", "install", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)

    made = tmp_path / ".venv/made"
    assert make("PYTHON=./python3.10.1").returncode != 0
    assert not made.exists()
    assert make("PYTHON=./python3.11.7").returncode == 0
    assert made.read_text() == "made of 3.11.7\n"
    for options in ([], ["PYTHON=./python3.11.7"]):
        made.write_text("kept")
        assert make(*options).returncode == 0
        assert made.read_text() == "kept"
    assert make("PYTHON=./python3.12.1").returncode == 0
    assert made.read_text() == "made of 3.12.1\n"
