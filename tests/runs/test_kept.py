"""Runs that are kept with a workspace: copied whole, checked, told from those that were trained here."""

import json
import shutil

import pytest

from dualhead.cli.main import main
from dualhead.report.explain import explain
from dualhead.report.pdf.front import warnings
from dualhead.report.pdf.runs import read_runs
from dualhead.report.results import Cell, read_result_scores, read_results
from dualhead.runs.kept import SMALL, keep_run
from dualhead.settings import params
from dualhead.workspace.grids import plan
from dualhead.workspace.kept import FOLDER, is_kept, kept_runs
from tests.builders.edits import edit_record
from tests.builders.fake_results import build, synthetic_params


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a workspace with finished runs, and one of them."""
    fake = build(tmp_path_factory.mktemp("ws"), synthetic_params(), num_test=30)
    for run, config in fake.grid["runs"].items():
        text = params.dump(config)
        (fake.results / "runs" / run / "config.yaml").write_text(text)
        (fake.results / "runs" / run / "checkpoint.pt").write_bytes(b"weights")
    return fake, next(run for run in fake.grid["runs"] if "dualhead/joint" in run)


@pytest.fixture
def kept(finished, tmp_path):
    """Return the same in a workspace of which only two kept runs are left."""
    fake, run = finished
    for one in (run, another(run, fake)):
        keep_run(one, fake.grid["runs"][one], fake.results / "runs", tmp_path / FOLDER)
    return fake, run, tmp_path


def another(run, fake):
    return next(one for one in fake.grid["runs"] if one != run)


def test_all_but_the_weights_is_kept(kept):
    fake, run, workspace = kept
    assert kept_runs(workspace, fake.grid["runs"]) == sorted([run, another(run, fake)])
    for name in (*SMALL, "metrics.json"):
        own = (fake.results / "runs" / run / name).read_bytes()
        assert (workspace / FOLDER / run / name).read_bytes() == own
    assert not (workspace / FOLDER / run / "checkpoint.pt").exists()


def test_the_command_takes_a_kept_run_back(kept, tmp_path):
    fake, run, workspace = kept
    folders = ["--source", str(workspace / FOLDER), "--output", str(tmp_path / "results/runs")]
    grid = ["--grid", str(fake.results / "grid.json")]
    assert main(["keep", *grid, "--run", run, *folders]) == 0
    assert is_kept(tmp_path / "results", run)
    assert not is_kept(fake.results, run)  # trained there: nothing is kept beside it


def swap_scores(folder, run, fake):
    other = another(run, fake)
    shutil.copy(folder.parents[3] / other / "scores.h5", folder / "scores.h5")


def edit_scores(folder, run, fake):
    path = folder / "scores.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_history(folder, run, fake):
    path = folder / "classes.csv"
    path.write_text(path.read_text().replace("last", "best", 1))


def edit_metrics(folder, run, fake):
    path = folder / "metrics.json"
    content = json.loads(path.read_text())
    content["last"]["fusion"]["softmax"]["top1"] = 99.9
    path.write_text(json.dumps(content))


def copy_another(folder, run, fake):
    other = another(run, fake)
    shutil.rmtree(folder)
    shutil.copytree(folder.parents[3] / other, folder)


def other_settings(folder, run, fake):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 1", "seed: 2"))


def lose_a_file(folder, run, fake):
    (folder / "history.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap_scores, "scores.h5"),
        (edit_scores, "damaged"),
        (edit_history, "classes.csv: damaged, edited or another run's"),
        (edit_metrics, "damaged or edited"),
        (copy_another, "expected the result of run"),
        (other_settings, "settings of another run"),
        (lose_a_file, "found no history.csv"),
    ],
)
def test_a_kept_run_that_is_not_as_it_was_is_refused(kept, tmp_path, damage, message):
    fake, run, workspace = kept
    damage(workspace / FOLDER / run, run, fake)
    with pytest.raises(ValueError, match=message) as raised:
        keep_run(run, fake.grid["runs"][run], workspace / FOLDER, tmp_path / "to")
    assert "\n" not in str(raised.value) and FOLDER in str(raised.value)
    assert not (tmp_path / "to" / run / "metrics.json").exists()


def test_report_and_explanation_say_that_a_run_was_not_trained_here(kept):
    fake, run, workspace = kept
    results = workspace / "results"
    keep_run(run, fake.grid["runs"][run], workspace / FOLDER, results / "runs")
    path = results / "runs" / run / "metrics.json"
    (told,) = [
        one for one in warnings(fake.grid, read_runs(fake.grid, results)) if "here" in one["title"]
    ]
    metrics = json.loads(path.read_text())
    assert told["text"].startswith(f"Taken over: 1 of {len(fake.grid['runs'])} trainings, made on")
    assert metrics["git"] in told["text"] and f"the folder {FOLDER}/" in told["text"]
    assert f"taken from {FOLDER}/" in explain(fake.grid, results, "dualhead/joint/seed1")
    edit_record(path, lambda metrics: metrics.update(git="trained here"))
    assert "elsewhere" not in explain(fake.grid, results, "dualhead/joint/seed1")


@pytest.mark.parametrize(
    ("variant", "stream", "epochs", "said"),
    [("dualhead", "joint", 65, "README.md"), ("passes_21", "bone", 21, "docs/nw_ucla.md")],
)
def test_runs_of_nw_ucla_that_are_published_are_whole_and_say_what_the_documents_say(
    root, tmp_path, variant, stream, epochs, said
):
    folder = root / "examples/nw_ucla"
    grid = plan(folder, configfiles=[folder / "params.published.yaml"])
    runs = kept_runs(folder, grid["runs"])
    assert runs == sorted(grid["runs"])
    for run in runs:
        keep_run(run, grid["runs"][run], folder / FOLDER, tmp_path / "runs")
    (result,) = read_results(grid, tmp_path, Cell("nw_ucla_xview", variant, stream))
    scores = read_result_scores(tmp_path, result)  # which bear the accuracy out
    assert (len(scores.names), result.metrics["last"]["epoch"]) == (464, epochs)
    top1 = result.accuracy("top1")
    assert f"{top1:.2f} % top-1" in (root / "docs/nw_ucla.md").read_text()
    assert f"**{top1:.1f}**" in (root / said).read_text()
