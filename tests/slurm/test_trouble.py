"""Trainings that fail, are canceled, preempted or over their time: the rest goes on, they resume.

The training loop is the real one; its network has a handful of weights, its steps take 0.4 s.
"""

from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import ONE_CORE, Site, jobs, of_rule, write_program

pytestmark = pytest.mark.slurm

SLOW_AND_SMALL = """
import sys, time
sys.path.append({root!r})
from dualhead import cli, train
from tests.tiny import build_tiny
step = train.training_step
def slow_step(*arguments):
    time.sleep(0.4)
    return step(*arguments)
train.training_step, train.build_model = slow_step, build_tiny
sys.exit(cli.main())
"""

PARAMS = """
extends: {root}/tests/params.yaml
seeds: [1]
hardware: {{device: cpu}}
train: {{epochs: 100, batch_size: 8, forward_batch_size: 8, milestones: [90]}}
variants:
  dualhead: {{model: dualhead}}
  diverging: {{model: dualhead, train: {{learning_rate: 1.0e+30}}}}
datasets:
  synthetic:
    kind: synthetic
    raw: []
    synthesize: {{classes: 3, subjects: 4, cameras: 2, setups: 2, repetitions: 1, frames: [12, 20]}}
benchmarks:
  synthetic_xsub: {{dataset: synthetic, split: xsub}}
tables:
  streams: {{kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead,
             streams: [joint, bone, joint_motion]}}
  rows: {{kind: ablation, benchmark: synthetic_xsub, stream: joint, rows: [dualhead, diverging]}}
figures: {{benchmark: synthetic_xsub, variant: dualhead, baseline: diverging, stream: joint}}
"""


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "params.yaml").write_text(PARAMS.format(root=root))
    site = Site(folder, folder / "bin")
    write_program(site.bin / "dualhead", SLOW_AND_SMALL.format(root=str(root)))
    return site


def training_jobs(cluster: Cluster, site: Site) -> dict[str, str]:
    """Return the run of each job that runs and whose training has gone through an epoch."""
    running = [job for job in of_rule(jobs(cluster), "train") if job["JobState"] == "RUNNING"]
    runs = {job["JobId"]: job["Comment"].removeprefix("rule_train_wildcards_") for job in running}
    return {job: run for job, run in runs.items() if log_says(site, run, "epoch")}


def log_says(site: Site, run: str, words: str) -> bool:
    logs = {log.relative_to(site.folder / "results/logs/train"): log for log in all_logs(site)}
    named = {str(name.with_suffix("")).replace("/", "_"): log for name, log in logs.items()}
    return run in named and words in named[run].read_text()


def all_logs(site: Site) -> list[Path]:
    return list((site.folder / "results/logs/train").rglob("*.log"))


def two_trainings(cluster: Cluster, site: Site, *, not_in: dict[str, str]) -> dict[str, str]:
    """Wait until two trainings run, in other jobs than those; return their jobs and runs."""
    found: dict[str, str] = {}

    def two_run() -> bool:
        found.clear()
        found.update(training_jobs(cluster, site))
        return len(set(found) - set(not_in)) == 2

    wait_until(two_run, "two trainings that run", seconds=200, step=1)
    return found


@pytest.fixture(scope="module")
def troubled(site: Site, cluster: Cluster) -> dict[str, str]:
    """Every kind of trouble in one call; returns what befell which run."""
    snakemake = site.start(*ONE_CORE, "--retries", "4", "--until", "train")
    preempted = two_trainings(cluster, site, not_in={})
    urgent = ("--partition", "urgent", "--gpus", "2", "--output", "/dev/null", "--wrap", "sleep 1")
    cluster.run("sbatch", *urgent)
    (canceled, run), (late, other) = two_trainings(cluster, site, not_in=preempted).items()
    cluster.run("scancel", canceled)
    cluster.run("scontrol", "update", f"JobId={late}", "TimeLimit=1")
    assert snakemake.wait(timeout=600) == 1, site.output
    fates = dict.fromkeys(preempted.values(), "preempted")
    return {**fates, run: "canceled", other: "over its time"}


def test_a_training_that_fails_leaves_the_others_to_finish(
    site: Site, troubled: dict[str, str]
) -> None:
    checkpoints = (site.folder / "results/runs").glob("*/*/*/*/checkpoint.pt")
    trained = sorted("/".join(path.parts[-4:-2]) for path in checkpoints)
    assert trained == ["dualhead/bone", "dualhead/joint", "dualhead/joint_motion"]
    assert "the loss is nan in epoch" in site.output


def test_trainings_that_were_stopped_from_outside_were_resumed(
    site: Site, troubled: dict[str, str]
) -> None:
    assert {"canceled", "over its time"} <= set(troubled.values())
    for run, fate in troubled.items():
        assert log_says(site, run, "state.pt: going on after"), (run, fate)


def test_nothing_is_left_of_them(site: Site, troubled: dict[str, str], cluster: Cluster) -> None:
    assert cluster.queue() == []
    assert not list(site.folder.rglob("*.partial"))
    diverged = (site.folder / "results/runs").glob("*/diverging/*/*/checkpoint.pt")
    assert not list(diverged)
    wait_until(lambda: site.processes() == [], "the end of all processes", seconds=20)
