"""Trainings that fail, are canceled, preempted or over their time: the rest goes on, they resume."""

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import ONE_CORE, Site, jobs
from tests.slurm.small import MODALITIES, log, small_site, wait_for, working

pytestmark = pytest.mark.slurm

PARAMS = """
extends: {root}/tests/params.yaml
seeds: [1]
hardware: {{device: cpu}}
train: {{epochs: 200, batch_size: 8, forward_batch_size: 8, milestones: [150]}}
variants:
  dualhead: {{model: dualhead}}
  diverging: {{model: dualhead, train: {{learning_rate: 1.0e+8}}}}
tables:
  streams: {{kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead,
             streams: [joint, bone, joint_motion]}}
  rows: {{kind: ablation, benchmark: synthetic_xsub, stream: joint, rows: [dualhead, diverging]}}
figures: {{benchmark: synthetic_xsub, variant: dualhead, baseline: diverging, stream: joint}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return small_site(tmp_path_factory.mktemp("trouble"), PARAMS)


def state(cluster: Cluster, job: str) -> str:
    """Return RUNNING, FAILED, CANCELLED, ... of a job, by its id."""
    return next(found["JobState"] for found in jobs(cluster) if found["JobId"] == job)


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
