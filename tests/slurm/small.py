"""Trainings that a test can stop where it likes.

The training loop is the real one; its network has a handful of weights, and its steps take half a
second while a file `slow` lies beside the program.
"""

from pathlib import Path

from tests.builders.workspaces import ROOT
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import Site, jobs, of_rule, write_program

MODALITIES = ("joint", "bone", "joint_motion")

SMALL = """
import os, sys, time
sys.path.append({root!r})
from dualhead.cli import main as cli
from dualhead.runs import train
from tests.builders.tiny import build_tiny
step, slow = train.training_step, os.path.join(os.path.dirname(__file__), "slow")
def slow_step(*arguments):
    time.sleep(0.5 * os.path.exists(slow))
    return step(*arguments)
train.training_step, train.build_model = slow_step, build_tiny
train.count_macs = lambda model, shape: 0
sys.exit(cli.main())
"""


def small_site(folder: Path, params: str) -> Site:
    """Make a workspace of such trainings, slow ones at first; `{root}` of its params is filled in."""
    (folder / "params.yaml").write_text(params.format(root=ROOT))
    site = Site(folder, folder / "environment" / "bin")
    write_program(site.bin / "dualhead", SMALL.format(root=str(ROOT)))
    (site.bin / "slow").touch()
    return site


def log(site: Site, modality: str) -> str:
    """Return what a modality's training has said, in all its processes."""
    [folder] = (site.folder / "results/runs").glob(f"*/dualhead/{modality}/*")
    runs, logs = site.folder / "results/runs", site.folder / "results/logs/train"
    path = (logs / folder.relative_to(runs)).with_suffix(".log")
    return path.read_text() if path.exists() else ""


def last_line(site: Site, modality: str) -> str:
    return (log(site, modality).splitlines() or [""])[-1]


def working(cluster: Cluster, site: Site) -> dict[str, str]:
    """Return the job of each modality that goes through epochs now."""
    running = [job for job in of_rule(jobs(cluster), "train") if job["JobState"] == "RUNNING"]
    found = {}
    for modality in MODALITIES:
        ids = [job["JobId"] for job in running if f"_dualhead_{modality}_seed" in job["Comment"]]
        if ids and last_line(site, modality).startswith("epoch "):
            found[modality] = ids[0]
    return found


def wait_for(cluster: Cluster, site: Site, count: int) -> dict[str, str]:
    """Wait until so many trainings work; return their jobs."""
    wait_until(
        lambda: len(working(cluster, site)) >= count, f"{count} trainings", seconds=200, step=1
    )
    return working(cluster, site)
