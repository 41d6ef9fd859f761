"""Trainings that fail, are canceled, preempted or over their time: the rest goes on, they resume.

The training loop is the real one; its network has a handful of weights, and its steps take half a
second until all the trouble has happened.
"""

from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import ONE_CORE, Site, jobs, of_rule, write_program

pytestmark = pytest.mark.slurm

SMALL = """
import os, sys, time
sys.path.append({root!r})
from dualhead import cli, train
from tests.tiny import build_tiny
step, slow = train.training_step, os.path.join(os.path.dirname(__file__), "slow")
def slow_step(*arguments):
    time.sleep(0.5 * os.path.exists(slow))
    return step(*arguments)
train.training_step, train.build_model = slow_step, build_tiny
train.count_macs = lambda model, shape: 0
sys.exit(cli.main())
"""

PARAMS = """
extends: {root}/tests/params.yaml
seeds: [1]
hardware: {{device: cpu}}
train: {{epochs: 200, batch_size: 8, forward_batch_size: 8, milestones: [150]}}
variants:
  dualhead: {{model: dualhead}}
  diverging: {{model: dualhead, train: {{learning_rate: 1.0e+30}}}}
tables:
  streams: {{kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead,
             streams: [joint, bone, joint_motion]}}
  rows: {{kind: ablation, benchmark: synthetic_xsub, stream: joint, rows: [dualhead, diverging]}}
figures: {{benchmark: synthetic_xsub, variant: dualhead, baseline: diverging, stream: joint}}
"""

MODALITIES = ("joint", "bone", "joint_motion")


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "params.yaml").write_text(PARAMS.format(root=root))
    site = Site(folder, folder / "bin")
    write_program(site.bin / "dualhead", SMALL.format(root=str(root)))
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


def state(cluster: Cluster, job: str) -> str:
    """Return RUNNING, FAILED, CANCELLED, ... of a job, by its id."""
    return next(found["JobState"] for found in jobs(cluster) if found["JobId"] == job)


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


@pytest.fixture(scope="module")
def troubled(site: Site, cluster: Cluster) -> dict[str, str]:
    """Every kind of trouble in one call; returns how SLURM saw the end of each modality's job."""
    snakemake = site.start(*ONE_CORE, "--retries", "2", "--until", "train")
    (first, canceled), (second, late) = list(wait_for(cluster, site, 2).items())[:2]
    cluster.run("scancel", canceled)
    cluster.run("scontrol", "update", f"JobId={late}", "TimeLimit=1")
    ended = {first: canceled, second: late}
    going = ("RUNNING", "COMPLETING")
    wait_until(
        lambda: {state(cluster, job) for job in ended.values()}.isdisjoint(going),
        "their end",
        seconds=120,
    )
    [third] = set(MODALITIES) - set(ended)
    wait_until(lambda: third in working(cluster, site), third, seconds=120, step=1)
    preempted = working(cluster, site)[third]
    urgent = ("--partition", "urgent", "--gpus", "2", "--output", "/dev/null", "--wrap", "sleep 1")
    cluster.run("sbatch", *urgent)
    wait_until(lambda: state(cluster, preempted) != "RUNNING", "the preemption", seconds=60)
    ended[third] = preempted
    (site.bin / "slow").unlink()
    assert snakemake.wait(timeout=300) == 1, site.output
    return {modality: state(cluster, job) for modality, job in ended.items()}


def test_a_training_that_fails_leaves_the_others_to_finish(
    site: Site, troubled: dict[str, str]
) -> None:
    checkpoints = (site.folder / "results/runs").glob("*/*/*/*/checkpoint.pt")
    trained = sorted("/".join(path.parts[-4:-2]) for path in checkpoints)
    assert trained == ["dualhead/bone", "dualhead/joint", "dualhead/joint_motion"]
    assert "the loss is nan in epoch" in site.output


def test_trainings_that_were_stopped_from_outside_went_on_where_they_were(
    site: Site, troubled: dict[str, str]
) -> None:
    canceled, late, _ = troubled.values()  # the preempted one's number may be used again
    assert canceled == "CANCELLED"
    assert late in ("FAILED", "TIMEOUT")
    for modality in troubled:
        assert "state.pt: going on after" in log(site, modality)


def test_nothing_is_left_of_them(site: Site, troubled: dict[str, str], cluster: Cluster) -> None:
    assert cluster.queue() == []
    assert not list(site.folder.rglob("*.partial"))
    diverged = (site.folder / "results/runs").glob("*/diverging/*/*/checkpoint.pt")
    assert not list(diverged)
    wait_until(lambda: site.processes() == [], "the end of all processes", seconds=20)
