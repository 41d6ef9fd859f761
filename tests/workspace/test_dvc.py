"""The same workflow through DVC, in a real git and DVC repository with a clone."""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.builders.workspaces import Workspace, copy_workspace, make_workspace

pytestmark = pytest.mark.workflow

TRAINED_ONCE = {"configure": 1, "train": 1, "evaluate": 1}


def training_calls(calls: Counter[str]) -> dict[str, int]:
    """Return how often each command was called that a training takes."""
    return {name: calls[name] for name in TRAINED_ONCE if calls[name]}


@pytest.fixture(scope="module")
def pushed_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository whose results were made by `dvc repro`, committed, and pushed to a folder."""
    parent = tmp_path_factory.mktemp("dvc")
    workspace = make_workspace(parent)
    for command in (
        ("git", "init", "--quiet", "--initial-branch", "main"),
        ("git", "add", "."),
        ("git", "commit", "--quiet", "--message", "Begin"),
        ("dvc", "remote", "add", "--default", "colleagues", "../remote"),
        ("dvc", "repro"),
        ("git", "add", "."),
        ("git", "commit", "--quiet", "--message", "Results"),
        ("dvc", "push"),
    ):
        done = workspace.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return workspace


@pytest.fixture
def pushed(pushed_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of that repository, its remote with it."""
    return copy_workspace(pushed_once, tmp_path / "copy")


@pytest.fixture
def clone(pushed: Workspace) -> Workspace:
    """A clone with all results pulled, and timestamps that say nothing."""
    folder = pushed.folder.parent / "clone"
    assert pushed.run("git", "clone", "--quiet", ".", str(folder)).returncode == 0
    cloned = Workspace(folder, pushed.bin)
    pulled = cloned.run("dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    shuffler = random.Random(7)
    for path in folder.glob("re*/**/*"):
        os.utime(path, (time.time() - shuffler.uniform(0, 1e6),) * 2)
    return cloned


def test_git_holds_no_results(pushed: Workspace) -> None:
    tracked = pushed.run("git", "ls-files").stdout.split()
    assert "dvc.lock" in tracked
    assert not [name for name in tracked if name.startswith(("results/", "data/raw/s"))]
    assert pushed.run("git", "status", "--porcelain").stdout == ""


def test_a_second_repro_does_nothing(pushed: Workspace) -> None:
    assert pushed.calls_of("dvc", "repro") == {}


def test_repro_after_an_edit_makes_exactly_what_changed(pushed: Workspace) -> None:
    pushed.edit("gcn_scales: 3", "gcn_scales: 4")
    calls = pushed.calls_of("dvc", "repro")
    assert training_calls(calls) == TRAINED_ONCE
    assert calls["report"] == 1
    pushed.edit("gcn_scales: 4", "gcn_scales: 3")
    assert training_calls(pushed.calls_of("dvc", "repro")) == {}


def test_a_clone_with_its_results_pulled_is_complete(clone: Workspace) -> None:
    assert clone.calls_of("dvc", "repro") == {}
    assert "up to date" in clone.run("dvc", "status").stdout


def test_snakemake_on_a_clone_trains_nothing(clone: Workspace) -> None:
    calls = clone.snakemake()
    assert not {"synthesize", "prepare", "train", "evaluate", "ensemble"} & set(calls)


def test_an_edit_on_a_clone_makes_exactly_what_changed(clone: Workspace) -> None:
    clone.edit("gcn_scales: 3", "gcn_scales: 4")
    assert training_calls(clone.calls_of("dvc", "repro")) == TRAINED_ONCE
    grid = json.loads((clone.folder / "results/grid.json").read_text())
    small = next(run for run in grid["runs"].values() if run["variant"] == "small")
    assert small["model"]["gcn_scales"] == 4


def test_an_experiment_sets_one_parameter(pushed: Workspace) -> None:
    calls = pushed.calls_of("dvc", "exp", "run", "-S", "variants.small.dualhead.gcn_scales=5")
    assert training_calls(calls) == TRAINED_ONCE


def test_metrics_and_plots_compare_with_the_last_commit(pushed: Workspace) -> None:
    pushed.edit("gcn_scales: 3", "gcn_scales: 4")
    pushed.calls_of("dvc", "repro")
    compared = json.loads(pushed.run("dvc", "metrics", "diff", "--json").stdout)
    assert "top1" in compared["results/tables/summary.json"]
    drawn = pushed.run("dvc", "plots", "diff", "--out", "../plots")
    assert drawn.returncode == 0, drawn.stderr
    page = (pushed.folder / "../plots/index.html").read_text()
    assert "Accuracy on the test split" in page
    assert "xsub" in page


def test_a_missing_dataset_is_said_through_dvc(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.params.write_text("extends: paper\n")
    workspace.run("git", "init", "--quiet")
    stopped = workspace.run("dvc", "repro")
    assert stopped.returncode != 0
    assert "nturgbd_skeletons_s001_to_s017.zip (5.8 GB)" in stopped.stderr
    assert not (workspace.bin / "calls.txt").exists()


def test_experiments_wait_in_a_queue_and_run_together(pushed: Workspace) -> None:
    for scales in (6, 7):
        setting = f"variants.small.dualhead.gcn_scales={scales}"
        queued = pushed.run("dvc", "exp", "run", "--queue", "-S", setting)
        assert queued.returncode == 0, queued.stderr
    assert training_calls(pushed.calls_of("dvc", "exp", "run", "--run-all", "--jobs", "1")) == {
        name: 2 for name in TRAINED_ONCE
    }
    shown = pushed.run("dvc", "exp", "show", "--csv").stdout
    assert {"6", "7"} <= {cell for line in shown.splitlines() for cell in line.split(",")}


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_an_edit_reaches_tables_that_are_links_into_the_cache(pushed: Workspace, kind: str) -> None:
    pushed.run("dvc", "config", "--local", "cache.type", kind)
    relinked = pushed.run("dvc", "checkout", "--relink", "--force")
    assert relinked.returncode == 0, relinked.stderr
    table = pushed.folder / "results/tables/ablation.csv"
    before = table.read_text()
    pushed.edit("rows: [", "title: Anew., rows: [")
    calls = pushed.calls_of("dvc", "repro")
    assert (calls["table"], calls["report"], calls["figure"]) == (2, 1, 0)
    assert table.read_text() != before
    assert "up to date" in pushed.run("dvc", "status").stdout


def test_each_commit_has_its_own_tables_there_and_back(pushed: Workspace) -> None:
    def done(*command: str) -> None:
        ended = pushed.run(*command)
        assert ended.returncode == 0, ended.stderr

    done("dvc", "config", "--local", "cache.type", "symlink")
    done("dvc", "checkout", "--relink", "--force")
    table = pushed.folder / "results/tables/ablation.csv"
    texts = {"main~1": table.read_text()}
    pushed.edit("rows: [", "title: Second., rows: [")
    done("dvc", "repro")
    done("git", "commit", "--quiet", "--all", "--message", "Second")
    texts["main"] = table.read_text()
    assert texts["main"] != texts["main~1"]
    for commit, text in texts.items():
        done("git", "checkout", "--quiet", commit)
        done("dvc", "checkout", "--quiet", "--force")
        assert table.read_text() == text
        assert pushed.snakemake() == {}
        assert table.read_text() == text


def test_runs_that_dvc_does_not_know_yet_are_not_removed(pushed: Workspace) -> None:
    pushed.edit("seeds: [1]", "seeds: [2]")
    pushed.snakemake("runs")
    checkpoints = sorted(pushed.folder.glob("results/runs/*/*/*/*/checkpoint.pt"))
    pushed.run("git", "stash", "--quiet")
    for command in ("checkout", "pull"):
        assert pushed.run("dvc", command).returncode != 0
    assert sorted(pushed.folder.glob("results/runs/*/*/*/*/checkpoint.pt")) == checkpoints
    assert len(checkpoints) == 8
