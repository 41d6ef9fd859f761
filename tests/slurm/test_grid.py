"""A grid through SLURM to its PDF, with the profile as it is and the real `dualhead`."""

from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.builders.workspaces import BIN
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import ONE_CORE, Site, jobs, of_rule, write_program

pytestmark = pytest.mark.slurm

NOTING = f"""import os, sys
with open(os.path.join(os.path.dirname(__file__), "calls.txt"), "a") as calls:
    calls.write(sys.argv[1] + " " + os.environ.get("CUDA_VISIBLE_DEVICES", "none") + chr(10))
os.execv({str(BIN / "dualhead")!r}, sys.argv)
"""


@pytest.fixture(scope="module")
def site(cluster: Cluster, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A workspace that went through SLURM."""
    folder = tmp_path_factory.mktemp("grid")
    text = (root / "tests/params.yaml").read_text()
    text = text.replace("seeds: [1, 2]", "seeds: [1]\nhardware: {device: cpu}")
    text = text.replace("rows: [ms_g3d, no_attention, dualhead]", "rows: [dualhead]")
    text = text.replace("baseline: ms_g3d", "baseline: dualhead")
    text = text.replace("variant: dualhead, baseline", "variant: ms_g3d, baseline")  # fewer figures
    (folder / "params.yaml").write_text(text)
    site = Site(folder, folder / "environment" / "bin")
    write_program(site.bin / "dualhead", NOTING)
    assert site.start(*ONE_CORE).wait(timeout=900) == 0, site.output
    return site


@pytest.fixture(scope="module")
def listed(site: Site, cluster: Cluster) -> list[dict[str, str]]:
    """Return the workspace's jobs that SLURM knows."""
    return [job for job in jobs(cluster) if str(site.folder) in job["StdOut"]]


def test_recordings_become_a_report(site: Site) -> None:
    text = "".join(
        page.extract_text() for page in PdfReader(site.folder / "reports/report.pdf").pages
    )
    assert "synthetic" in text


def test_a_training_and_a_scoring_are_one_job_on_one_gpu(listed: list[dict[str, str]]) -> None:
    for rule in ("train", "evaluate"):
        found = of_rule(listed, rule)
        assert len(found) == 2
        for job in found:
            assert (job["Partition"], job["TresPerJob"]) == ("gpu", "gres:gpu:1")
            assert job["MinMemoryNode"] in ("32000M", "31.25G")


def test_each_training_sees_the_gpu_that_slurm_gave_it(site: Site) -> None:
    calls = (site.bin / "calls.txt").read_text().splitlines()
    assert sorted(call for call in calls if call.startswith("train")) == ["train 0", "train 1"]
    assert "prepare none" in calls


def test_short_jobs_go_as_one_on_the_partition_without_gpus(listed: list[dict[str, str]]) -> None:
    others = [job for job in listed if job not in of_rule(listed, "train")]
    others = [job for job in others if job not in of_rule(listed, "evaluate")]
    assert [job["Comment"].split("_")[1] for job in others] == ["synthesize", "prepare", "report"]
    for job in others:
        assert (job["Partition"], job.get("TresPerJob")) == ("cpu", None)
        assert int(job["NumCPUs"]) <= 4  # short ones at once


def test_a_second_call_submits_nothing(site: Site, cluster: Cluster) -> None:
    before = len(jobs(cluster))
    assert site.start(*ONE_CORE).wait(timeout=120) == 0, site.output
    assert "Nothing to be done" in site.output
    assert len(jobs(cluster)) == before
