"""The rules: what is planned, what is done once, and what a change makes anew."""

import html
import inspect
import json
import os
import random
import resource
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from dualhead.report import captions
from dualhead.settings import params
from dualhead.workspace import grids
from tests.builders.workspaces import Workspace, job_counts, make_workspace

pytestmark = pytest.mark.workflow
REPORT_LAYER = {"table", "summary", "figure", "report", "explorer"}
RUN_LAYER = {"synthesize", "prepare", "configure", "train", "evaluate", "ensemble"}


def runs_calls(calls: Counter[str]) -> dict[str, int]:
    """Return the calls without those of the report layer, which cost seconds."""
    return {name: count for name, count in calls.items() if name not in REPORT_LAYER}


def child_seconds() -> float:
    """Return the CPU time that all commands took so far: the wall's depends on who else works."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def paper(tmp_path: Path) -> Workspace:
    """A workspace that asks for all of the paper, and has no data."""
    workspace = make_workspace(tmp_path)
    workspace.params.write_text("extends: paper\n")
    return workspace


def test_the_paper_takes_31_trainings_a_seed(root: Path, tmp_path: Path) -> None:
    begin = child_seconds()
    planned = paper(tmp_path).run("snakemake", "-n", "--cores", "8", "reproduce_tables")
    seconds = child_seconds() - begin
    assert planned.returncode == 0, planned.stdout + planned.stderr
    counts = job_counts(planned.stdout)
    assert {
        name: counts[name] for name in ("train", "evaluate", "ensemble", "prepare", "table")
    } == {"train": 31, "evaluate": 31, "ensemble": 10, "prepare": 3, "table": 8}
    assert seconds < 10


def test_five_seeds_are_planned_in_ten_seconds(tmp_path: Path) -> None:
    begin = child_seconds()
    options = ("--config", "seeds=[1, 2, 3, 4, 5]")
    planned = paper(tmp_path).run("snakemake", "-n", "--cores", "8", *options)
    assert job_counts(planned.stdout)["train"] == 155
    assert child_seconds() - begin < 10


def test_a_missing_dataset_stops_before_the_first_job(tmp_path: Path) -> None:
    workspace = paper(tmp_path)
    stopped = workspace.run("snakemake", "--cores", "2", "reproduce_tables")
    assert stopped.returncode != 0
    for expected in ("nturgbd_skeletons_s001_to_s017.zip", "kinetics-skeleton.zip", "GB"):
        assert expected in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "Exception" not in stopped.stderr
    assert not (workspace.bin / "calls.txt").exists()
    assert not list(workspace.folder.glob(".snakemake/locks/*"))


def test_only_the_dataset_that_is_needed_must_be_there(tmp_path: Path) -> None:
    workspace = paper(tmp_path)
    raw = workspace.folder / "data/raw/nturgbd_skeletons_s001_to_s017.zip"
    raw.parent.mkdir(parents=True)
    raw.write_text("")
    stores = grids.plan(workspace.folder)["stores"]
    target = next(store for store in stores if store.startswith("ntu60"))
    assert workspace.snakemake(f"results/store/{target}.h5") == {"prepare": 1}


def test_a_store_that_exists_needs_no_raw_data(finished: Workspace) -> None:
    shutil.rmtree(finished.folder / "data")
    finished.edit("gcn_scales: 3", "gcn_scales: 4")
    assert runs_calls(finished.snakemake()) == {"configure": 1, "train": 1, "evaluate": 1}


def test_an_unknown_setting_is_one_line(fresh: Workspace) -> None:
    fresh.edit("gcn_scales", "gcn_scale")
    stopped = fresh.run("snakemake", "--cores", "2")
    assert stopped.returncode != 0
    last = stopped.stderr.strip().splitlines()[-1]
    assert "unknown setting 'gcn_scale' in variants.small.dualhead" in last
    assert "Traceback" not in stopped.stderr


def test_weights_that_cannot_be_fitted_stop_the_plan_with_one_line(fresh: Workspace) -> None:
    fresh.edit("bone, two_stream]", "bone, two_stream_fitted]")
    stopped = fresh.run("snakemake", "-n", "--cores", "2")
    assert stopped.returncode != 0
    last = stopped.stderr.strip().splitlines()[-1]
    assert "two_stream_fitted fits its weights on held-out subjects, but dualhead on" in last
    assert "Traceback" not in stopped.stderr


def test_a_params_file_that_is_no_yaml_is_one_line(fresh: Workspace) -> None:
    fresh.edit("seeds: [1]", "seeds: [1")
    stopped = fresh.run("snakemake", "--cores", "2")
    assert stopped.returncode != 0
    assert "params.yaml:3: not valid YAML" in stopped.stderr.strip().splitlines()[-1]


def test_the_whole_grid_is_made_once(finished_once: Workspace) -> None:
    calls = (finished_once.bin / "calls.txt").read_text().splitlines()
    made = Counter(line.split()[0] for line in calls)
    expected = {"synthesize": 1, "prepare": 1, "configure": 4, "train": 4, "evaluate": 4}
    assert {**expected, "ensemble": 1} == {name: made[name] for name in RUN_LAYER if made[name]}
    assert any("--show" in line for line in calls)


def test_snakemakes_own_report_has_the_captions_of_the_pdf(finished: Workspace) -> None:
    made = finished.run("snakemake", "--cores", "1", "--report", "reports/report.html")
    assert made.returncode == 0, made.stdout + made.stderr
    page = (finished.folder / "reports/report.html").read_text()
    grid = json.loads((finished.folder / "results/grid.json").read_text())
    published = params.read_yaml(finished.folder / "reports/published.yaml")
    said = [captions.table_caption(grid, name, published) for name in grid["tables"]]
    said += [captions.figure_caption(grid, "curves"), "Everything in one document"]
    for text in (*said, "Tables", "Figures", "Report", "DualHead-Net: tables, figures and report"):
        assert " ".join(text.split()) in " ".join(html.unescape(page).split()), text
    assert finished.snakemake() == {}


def test_the_end_says_where_things_are(finished: Workspace) -> None:
    made = finished.run("snakemake", "--cores", "2", "--forcerun", "report")
    assert made.returncode == 0, made.stderr
    for place in ("reports/report.pdf", "results/tables", "results/figures"):
        assert str(finished.folder / place) in made.stdout
    assert "dualhead explain streams/joint/synthetic_xsub" in made.stdout


def test_a_second_run_does_nothing(finished: Workspace) -> None:
    assert finished.snakemake() == {}
    assert "Nothing to be done" in finished.run("snakemake", "--cores", "2").stderr


def test_an_edited_variant_trains_that_variant_only(finished: Workspace) -> None:
    finished.edit("gcn_scales: 3", "gcn_scales: 4")
    calls = finished.snakemake()
    assert runs_calls(calls) == {"configure": 1, "train": 1, "evaluate": 1}
    assert calls["report"] == 1
    finished.edit("gcn_scales: 4", "gcn_scales: 3")
    assert runs_calls(finished.snakemake()) == {}


def test_an_edited_spelling_makes_nothing_anew(finished: Workspace) -> None:
    finished.edit("gcn_scales: 3", '"gcn_scales": 0x3')
    text = finished.params.read_text()
    finished.params.write_text(text + "train: {learning_rate: 1e-1, momentum: 0.90}  # as it is\n")
    assert finished.snakemake() == {}


def test_another_seed_trains_its_own_runs_only(finished: Workspace) -> None:
    finished.edit("seeds: [1]", "seeds: [1, 2]")
    expected = {"configure": 4, "train": 4, "evaluate": 4, "ensemble": 1}
    assert runs_calls(finished.snakemake()) == expected


def test_a_setting_on_the_command_line_counts(finished: Workspace) -> None:
    calls = finished.snakemake("--config", 'train={"epochs": 7}')
    assert calls["train"] == 4
    configs = json.loads((finished.folder / "results/grid.json").read_text())["runs"].values()
    assert {7} == {settings["train"]["epochs"] for settings in configs}


def test_another_preparation_makes_everything_anew(finished: Workspace) -> None:
    finished.params.write_text(finished.params.read_text() + "prepare: {denoise: ctr_gcn}\n")
    calls = finished.snakemake()
    assert (calls["prepare"], calls["train"], calls["ensemble"]) == (1, 4, 1)


def scramble_timestamps(folder: Path) -> None:
    """Give every file a time of its own in the past month, as a copy or a pull may."""
    rng = random.Random(7)
    for path in folder.rglob("*"):
        when = time.time() - rng.uniform(0, 30 * 24 * 3600)
        os.utime(path, (when, when), follow_symlinks=False)


def test_a_copy_with_scrambled_timestamps_trains_nothing(finished: Workspace) -> None:
    shutil.rmtree(finished.folder / ".snakemake")
    scramble_timestamps(finished.folder)
    assert runs_calls(finished.snakemake()) == {}


def test_without_the_default_profile_nothing_is_trained_anew(finished: Workspace) -> None:
    scramble_timestamps(finished.folder / "results")
    assert runs_calls(finished.snakemake("--workflow-profile", "none")) == {}


@pytest.mark.parametrize("forced", ["figure", "prepare"])
def test_a_lost_store_costs_no_training(finished: Workspace, forced: str) -> None:
    store = next((finished.folder / "results/store").glob("*.h5"))
    store.unlink()
    calls = finished.snakemake("--forcerun", forced)
    assert (calls["prepare"], calls["train"], calls["evaluate"]) == (1, 0, 0)


def test_a_new_run_beside_a_lost_store_trains_itself_only(finished: Workspace) -> None:
    next((finished.folder / "results/store").glob("*.h5")).unlink()
    finished.edit("gcn_scales: 3", "gcn_scales: 4")
    calls = finished.snakemake()
    assert (calls["prepare"], calls["train"], calls["evaluate"]) == (1, 1, 1)


def test_lost_scores_are_made_from_the_checkpoint(finished: Workspace) -> None:
    lost = next((finished.folder / "results/runs").glob("*/*/*/*/metrics.json"))
    lost.unlink()
    assert finished.snakemake("runs") == {"evaluate": 1}


def test_a_failed_training_says_why_and_leaves_its_state_but_no_result(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, failing="train")
    failed = workspace.run("snakemake", "--cores", "2", "--keep-going")
    assert failed.returncode != 0
    assert "dualhead: told to fail" in failed.stderr
    assert not list(workspace.folder.glob("results/runs/*/*/*/*/checkpoint.pt"))
    assert len(list(workspace.folder.glob("results/runs/*/*/*/*/state.pt"))) == 4


def test_a_training_that_diverges_is_not_tried_again(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, failing="train", said="dualhead train: the loss is nan")
    failed = workspace.run("snakemake", "--cores", "2", "--retries", "3", "--keep-going")
    assert failed.returncode != 0
    assert "Trying to restart" not in failed.stderr
    calls = (workspace.bin / "calls.txt").read_text().splitlines()
    assert sum(line.startswith("train") for line in calls) == 4


RAW_PARAMS = "kind: ntu60, partial: true, raw: [data/raw/recordings.zip]}"


@pytest.fixture
def downloaded(tmp_path: Path) -> Workspace:
    """A finished workspace with raw data that somebody put there."""
    workspace = make_workspace(tmp_path)
    workspace.edit("kind: synthetic, raw: [], synthesize: {classes: 4}}", RAW_PARAMS)
    raw = workspace.folder / "data/raw/recordings.zip"
    raw.parent.mkdir(parents=True)
    raw.write_text("these")
    workspace.snakemake()
    return workspace


def test_raw_data_copied_again_is_checked_once(downloaded: Workspace) -> None:
    os.utime(downloaded.folder / "data/raw/recordings.zip", (time.time() + 1,) * 2)
    assert downloaded.snakemake() == {"verify": 1}
    assert downloaded.snakemake() == {}


def test_raw_data_with_an_older_date_is_checked_too(downloaded: Workspace) -> None:
    os.utime(downloaded.folder / "data/raw/recordings.zip", (1e9, 1e9))
    assert downloaded.snakemake() == {"verify": 1}
    assert downloaded.snakemake() == {}


def test_raw_data_that_has_changed_is_refused(downloaded: Workspace) -> None:
    raw = downloaded.folder / "data/raw/recordings.zip"
    raw.write_text("other ones")
    os.utime(raw, (time.time() + 1,) * 2)
    stopped = downloaded.run("snakemake", "--cores", "2")
    assert stopped.returncode != 0
    assert "not what the store was made from" in stopped.stderr


def state_of(folder: Path) -> dict[Path, int]:
    """Return when each file of a workspace was written, but for Snakemake's own."""
    files = [path for name in ("results", "reports", "data") for path in (folder / name).rglob("*")]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("option", ["seeds=[9]", "train={epochs: 7}", ""])
def test_a_dry_run_writes_nothing(finished: Workspace, option: str) -> None:
    before = state_of(finished.folder)
    planned = finished.run("snakemake", "-n", *(("--config", option) if option else ()))
    assert planned.returncode == 0, planned.stderr
    assert ("Nothing to be done" in planned.stdout) is not bool(option)
    assert state_of(finished.folder) == before


@pytest.mark.parametrize("option", ["--profile", "--workflow-profile"])
def test_the_slurm_profile_plans_the_same(fresh: Workspace, option: str) -> None:
    local = fresh.run("snakemake", "-n")
    assert job_counts(fresh.run("snakemake", "-n", option, "profiles/slurm").stdout) == job_counts(
        local.stdout
    )


def test_the_snakefile_switches_off_what_wakes_this_snakemake_each_second(root: Path) -> None:
    # an attribute of another name would be set in vain: then onstart wants the new one
    assert "workflow.scheduler.job_rate_limiter = None" in (root / "Snakefile").read_text()
    assert "if self.job_rate_limiter is not None:" in inspect.getsource(JobScheduler.schedule)


def test_snakemake_lint_asks_for_nothing_but_an_environment_per_rule(fresh: Workspace) -> None:
    # All rules share one environment, which constraints.txt pins.
    found = fresh.run("snakemake", "--lint").stderr
    titles = {line.strip() for line in found.splitlines() if line.startswith("    * ")}
    assert titles == {"* Specify a conda environment or container for each rule.:"}
