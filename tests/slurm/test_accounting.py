"""A SLURM with accounting, which takes no job without an account: the same profile serves it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.workspaces import Workspace, make_workspace
from tests.slurm.cluster import ACCOUNT, Cluster, running_cluster, why_not
from tests.slurm.conftest import Site

pytestmark = pytest.mark.slurm

SOON = ("--slurm-init-seconds-before-status-checks", "4")
LINE = "# slurm_account: NAME"
# All of the profile's section: Snakemake puts what is typed in its place.
DEFAULTS = ("--default-resources", "slurm_partition=cpu", "runtime=30", "mem_mb=4000")

ENDED = [  # account, state, partition and minutes of each job
    f"{ACCOUNT}|COMPLETED|cpu|30",
    f"{ACCOUNT}|COMPLETED|cpu|240",
    f"{ACCOUNT}|COMPLETED|gpu|1440",
    f"{ACCOUNT}|COMPLETED|gpu|60",
    f"{ACCOUNT}|COMPLETED|cpu|10",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM with accounting, in place of the others' without."""
    if reason := why_not(accounting=True):
        pytest.skip(reason)
    with running_cluster(accounting=True) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A copy of the workflow with one training, which takes no time."""
    workspace = make_workspace(tmp_path)
    workspace.edit("streams: [joint, bone, two_stream]", "streams: [joint]")
    workspace.edit("rows: [dualhead, ms_g3d, small]", "rows: [dualhead]")
    return workspace


def site_of(workspace: Workspace, account: str = "") -> Site:
    """Return a workspace's site, with an account in the profile's line."""
    profile = workspace.folder / "profiles/slurm/config.yaml"
    text = profile.read_text()
    assert LINE in text
    if account:
        profile.write_text(text.replace(LINE, f"slurm_account: {account}"))
    return Site(workspace.folder, workspace.bin, workspace.folder / "Snakefile")


def recorded(cluster: Cluster, site: Site) -> list[str]:
    """Return account, state, partition and minutes of a workspace's jobs, as accounting says."""
    columns = "WorkDir,Account,State,Partition,TimelimitRaw"
    text = cluster.run("sacct", "-X", "--parsable2", "--noheader", "--format", columns)
    rows = [line.split("|", 1) for line in text.splitlines()]
    return [rest for folder, rest in rows if folder == str(site.folder)]


def test_the_account_of_the_profiles_line_is_charged(
    workspace: Workspace, cluster: Cluster
) -> None:
    site = site_of(workspace, ACCOUNT)
    assert site.start(*SOON, "--until", "summary").wait(timeout=200) == 0, site.output
    assert recorded(cluster, site) == ENDED


def test_sacct_sees_the_ends_of_jobs_too(workspace: Workspace, cluster: Cluster) -> None:
    site = site_of(workspace)
    options = (*DEFAULTS, f"slurm_account={ACCOUNT}", "--slurm-status-command", "sacct")
    options += ("--until", "train", "--verbose")
    assert site.start(*SOON, *options).wait(timeout=200) == 0, site.output
    assert "command=sacct" in site.output
    assert recorded(cluster, site) == ENDED[:3]


def test_without_the_line_the_users_default_account_is_charged(
    workspace: Workspace, cluster: Cluster
) -> None:
    site = site_of(workspace)
    assert site.start(*SOON, "--until", "synthesize").wait(timeout=100) == 0, site.output
    assert recorded(cluster, site) == ["root|COMPLETED|cpu|30"]


def test_a_wrong_account_is_named_and_nothing_hangs(workspace: Workspace, cluster: Cluster) -> None:
    site = site_of(workspace, "nobodys")
    assert site.start(*SOON).wait(timeout=100) == 1, site.output
    assert "The given account nobodys appears to be invalid" in site.output
    assert recorded(cluster, site) == []
