"""The example of fine-tuning: its two sets of recordings, and the runs that it asks for."""

import csv
import runpy
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest

from dualhead.report.pdf.front import abstract
from dualhead.report.pdf.runs import read_runs
from dualhead.report.results import Cell, read_result_scores, read_results
from dualhead.report.tables import build_table
from dualhead.runs.kept import keep_run
from dualhead.settings.formats import read_published
from dualhead.workspace.grids import plan
from dualhead.workspace.kept import FOLDER, kept_runs

NAMES = [
    f"a{action:02d}_s{subject:02d}_e00_v{camera:02d}.json"
    for action in (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
    for subject in range(1, 5)
    for camera in (1, 2, 3)
]


NEW = ("a09", "a11", "a12")


@pytest.fixture(scope="module")
def example(root):
    return root / "examples/fine_tune"


def test_five_recordings_of_each_new_action_train_and_all_of_the_third_camera_test(
    example, tmp_path
):
    for name in NAMES:
        (tmp_path / name).write_text(name)
    archive = tmp_path / "nw_ucla.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in reversed(NAMES):
            tar.add(tmp_path / name, f"nw_ucla/all_sqe/{name}")
    runpy.run_path(str(example / "recordings.py"))["main"](archive, tmp_path / "raw")
    found = {}
    for folder in ("seven", "three"):
        with (tmp_path / "raw" / folder / "labels.csv").open(newline="") as file:
            found[folder] = list(csv.DictReader(file))
        names = {row["name"] for row in found[folder]}
        files = {path.name: path.read_text() for path in (tmp_path / "raw" / folder).glob("*.json")}
        assert {name: name for name in names} == files
    assert 7 * 12 == len(found["seven"])
    counts = Counter((row["label"], row["part"]) for row in found["three"])
    new = ("doffing", "throw", "carry")
    assert {(label, "train"): 5 for label in new} | {(label, "test"): 4 for label in new} == counts
    assert all((row["camera"] == "v03") == (row["part"] == "test") for row in found["three"])


def test_the_example_tunes_what_it_trained(example, tmp_path):
    for path in example.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    seven = plan(tmp_path, configfiles=[tmp_path / "params.seven.yaml"])
    (address,) = seven["runs"]
    assert address.startswith("seven_views/dualhead/joint/seed1-")
    assert f"results/runs/{address.rpartition('-')[0]}" in (example / "run.sh").read_text()
    with pytest.raises(ValueError, match=r"found no file parents/joint\.pt"):
        plan(tmp_path)
    (tmp_path / "parents").mkdir()
    (tmp_path / "parents/joint.pt").write_bytes(b"seven")
    three = plan(tmp_path)
    counts = Counter(run["variant"] for run in three["runs"].values())
    assert {"scratch": 3, "tuned": 3} == counts
    model = seven["runs"][address]["model"]
    assert all(run["model"] == model for run in three["runs"].values())


def lines_of(grid, results, published):
    """Return the lines of the page's table, from kept runs."""
    table = build_table(grid, "tuning", results, published).set_index("row")
    accuracies = {}
    for variant in ("scratch", "tuned"):
        found = read_results(grid, results, Cell("three_views", variant, "joint"))
        assert ["1", "2", "3"] == [one.seed for one in found]
        for one in found:
            assert 135 == len(read_result_scores(results, one).names)  # which bear the accuracy out
        accuracies[variant] = [one.accuracy("top1") for one in found]
    step = table.loc["scratch"]  # less the tuned
    differences = np.subtract(accuracies["tuned"], accuracies["scratch"])
    assert differences.mean() == pytest.approx(-step["step"])
    rows = [
        ("from nothing", accuracies["scratch"], table.loc["scratch", ["low", "high"]], "{:.2f}"),
        ("tuned", accuracies["tuned"], table.loc["tuned", ["low", "high"]], "{:.2f}"),
        ("difference", differences, (-step["step_high"], -step["step_low"]), "{:+.2f}"),
    ]
    lines = []
    for title, values, bounds, form in rows:
        told = [form.format(value) for value in (*values, np.mean(values))]
        interval = " to ".join(form.format(value) for value in bounds)
        lines.append(f"| {' | '.join([title, *told, interval])} |")
    return [*lines, f"p = {step['step_p']:.3f}"]


def test_the_published_runs_are_whole_and_say_what_the_page_says(root, example, tmp_path):
    grid = plan(example)
    assert sorted(grid["runs"]) == kept_runs(example, grid["runs"])
    for run, config in grid["runs"].items():
        keep_run(run, config, example / FOLDER, tmp_path / "runs")
    page = (root / "docs/take_it_with_you.md").read_text()
    published = read_published(root / "reports/published.yaml")
    for line in lines_of(grid, tmp_path, published):
        assert line in page
    frame = build_table(grid, "tuning", tmp_path, published)
    told = " ".join(abstract(grid, read_runs(grid, tmp_path), {"tuning": frame}, [], []))
    assert "and 1 other network or variant from" in told
    assert "come out as tuned 70.62 ± 4.46 %, scratch 50.12 ± 7.00 %" in told
    assert "the step from tuned is shown for scratch" in told


def test_the_published_runs_began_with_the_network_that_is_said(root, example, tmp_path):
    seven = plan(example, configfiles=[example / "params.seven.yaml"])
    ((run, config),) = seven["runs"].items()
    keep_run(run, config, example / "parents", tmp_path / "runs")
    (result,) = read_results(seven, tmp_path, Cell("seven_views", "dualhead", "joint"))
    names = read_result_scores(tmp_path, result).names
    assert set(NEW).isdisjoint(name[:3] for name in names)
    page = (root / "docs/take_it_with_you.md").read_text()
    assert f"{result.accuracy('top1'):.2f} % of the {len(names)}" in page
