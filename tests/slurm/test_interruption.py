"""Snakemake itself is interrupted or killed, or called by DVC; trainings here only sleep."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.builders.workspaces import Workspace, make_workspace
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import QUICK, Site, jobs, of_rule, write_program
from tests.workspace.test_recovery import make_slow, started

pytestmark = pytest.mark.slurm


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A copy of the workflow with its data prepared, whose trainings sleep."""
    workspace = make_workspace(tmp_path)
    make_slow(workspace)
    workspace.snakemake("data")
    return workspace


def start(workspace: Workspace, *options: str) -> tuple[Site, subprocess.Popen[bytes]]:
    """Start the trainings on the cluster, and wait until two run."""
    site = Site(workspace.folder, workspace.bin, workspace.folder / "Snakefile")
    for note in workspace.bin.glob("*.started"):
        note.unlink()
    snakemake = site.start("--until", "train", *options)
    wait_until(lambda: len(started(workspace)) == 2, "two trainings", seconds=200, step=0.5)
    return site, snakemake


def test_ctrl_c_leaves_no_job_and_no_process(workspace: Workspace, cluster: Cluster) -> None:
    site, snakemake = start(workspace)
    assert len(cluster.queue()) == 4
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(timeout=120) == 1
    assert cluster.queue() == []
    wait_until(lambda: site.processes() == [], "the end of all processes", seconds=20)


def test_jobs_that_lost_their_snakemake_are_found_and_replaced(
    workspace: Workspace, cluster: Cluster
) -> None:
    site, snakemake = start(workspace)
    snakemake.kill()
    snakemake.wait()
    lost = sorted(cluster.queue())
    assert len(lost) == 4
    (workspace.bin / "slow").unlink()
    again = site.start("--until", "train", profile="--workflow-profile")
    assert again.wait(timeout=300) == 0, site.output
    assert "left by a Snakemake that was killed; removed, going on" in site.output
    assert f"SLURM jobs {' '.join(lost)} of this workspace have lost their Snakemake" in site.output
    assert len(list(workspace.folder.glob("results/runs/*/*/*/*/checkpoint.pt"))) == 4
    for job in of_rule(jobs(cluster), "train")[-4:]:
        assert job["NumCPUs"] == "4"  # as the profile says


def test_dvc_submits_to_the_cluster(tmp_path: Path, cluster: Cluster) -> None:
    workspace = make_workspace(tmp_path)
    workspace.edit("streams: [joint, bone, two_stream]", "streams: [joint]")
    workspace.edit("rows: [dualhead, ms_g3d, small]", "rows: [dualhead]")
    write_program(workspace.bin / "snakemake", QUICK)
    assert workspace.run("git", "init", "--quiet").returncode == 0
    before = len(jobs(cluster))
    done = workspace.run("env", "SNAKEMAKE_PROFILE=profiles/slurm", "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    new = jobs(cluster)[before:]
    rules = ["synthesize", "prepare", "train", "evaluate", "report"]
    assert [job["Comment"].split("_")[1] for job in new] == rules
    assert {job["JobState"] for job in new} == {"COMPLETED"}
    assert (workspace.folder / "reports/report.pdf").exists()
    assert workspace.calls_of("dvc", "repro") == {}
