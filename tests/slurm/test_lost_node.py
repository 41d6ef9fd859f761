"""A node dies with all that runs on it: SLURM starts its trainings on another one, they resume."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import SPARE, Cluster, host, running_cluster, wait_until, why_not
from tests.slurm.conftest import ONE_CORE, Site, jobs, of_rule
from tests.slurm.small import last_line, log, small_site, wait_for

pytestmark = pytest.mark.slurm

PARAMS = """
extends: {root}/tests/params.yaml
seeds: [1]
hardware: {{device: cpu}}
train: {{epochs: 200, batch_size: 8, forward_batch_size: 8, milestones: [150]}}
tables:
  streams: {{kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead,
             streams: [joint, bone]}}
figures: {{benchmark: synthetic_xsub, variant: dualhead, baseline: dualhead, stream: joint}}
"""
MODALITIES = ("joint", "bone")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM that gives up a silent node after seconds, not after minutes."""
    if reason := why_not():
        pytest.skip(reason)
    with running_cluster(lost_after=15) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return small_site(tmp_path_factory.mktemp("lost"), PARAMS)


def results(site: Site) -> list[Path]:
    """Return what counts as the result of a training."""
    runs = site.folder / "results/runs"
    return [path for name in ("checkpoint.pt", "history.csv") for path in runs.rglob(name)]


@pytest.fixture(scope="module")
def lost(site: Site, cluster: Cluster) -> dict[str, int]:
    """Lose the node of two trainings; return the last epoch of each one until then."""
    snakemake = site.start(*ONE_CORE, "--until", "train")
    wait_for(cluster, site, len(MODALITIES))
    cluster.kill_node(host())
    epochs = {name: int(last_line(site, name).split()[1].split("/")[0]) for name in MODALITIES}
    assert results(site) == []
    cluster.start_node(SPARE)
    wait_until(lambda: "down" in cluster.node_state(host()), "the loss to be seen", seconds=120)
    (site.bin / "slow").unlink()
    assert snakemake.wait(timeout=300) == 0, site.output
    return epochs


def test_slurm_starts_the_same_jobs_on_another_node(lost: dict[str, int], cluster: Cluster) -> None:
    trainings = of_rule(jobs(cluster), "train")
    assert len(trainings) == len(lost)
    for job in trainings:
        assert (job["JobState"], job["Restarts"], job["NodeList"]) == ("COMPLETED", "1", SPARE)


def test_trainings_go_on_after_the_last_epoch_that_the_lost_node_had_saved(
    site: Site, lost: dict[str, int]
) -> None:
    for modality, epoch in lost.items():
        saved = re.search(r"state\.pt: going on after ([0-9.]+) epochs", log(site, modality))
        assert saved
        assert float(saved[1]) in (epoch, epoch + 1)  # saved, then said
    assert len(results(site)) == 2 * len(lost)


def test_nothing_is_left_of_the_lost_node(
    site: Site, lost: dict[str, int], cluster: Cluster
) -> None:
    assert cluster.queue() == []
    assert not list(site.folder.rglob("*.partial"))
    wait_until(lambda: site.processes() == [], "the end of all processes", seconds=20)


def test_a_node_that_comes_back_takes_jobs_again(lost: dict[str, int], cluster: Cluster) -> None:
    cluster.start_node(host())
    command = ("sbatch", "--wait", "--nodelist", host(), "--output", "/dev/null", "--wrap", "true")
    cluster.run(*command)
    assert jobs(cluster)[-1]["NodeList"] == host()
