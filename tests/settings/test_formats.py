"""formats: every file that is read back is what its schema says, or refused in one line."""

import json
import random
from pathlib import Path

import pytest

from dualhead.files import write_json
from dualhead.settings import checks, params
from dualhead.settings.formats import check_metrics, read_grid, read_published, read_run
from dualhead.settings.grid import resolve
from dualhead.workspace.grids import frozen_path
from tests.builders.mutations import mutate_values

WORKSPACES = (
    "params.yaml",
    "demo/params.yaml",
    "examples/nw_ucla/params.yaml",
    "tests/params.yaml",
)
ACCURACIES = {"top1": 88.5, "top5": 97.0, "mean_class": 88.0}
RESULT = {
    "num_test": 464,
    "last": {"epoch": 65, "fusion": {"softmax": ACCURACIES, "logits": ACCURACIES}},
    "identity": "of any kind",
}


def refusal(read, path: Path) -> str:
    """Return the one line with which a file is refused, without its name."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        read(path)
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("name", WORKSPACES)
def test_every_grid_and_every_run_of_it_is_read_back(root, tmp_path, name):
    grid = resolve(checks.load(root / name))
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    assert read_grid(tmp_path / "grid.json") == grid
    for run in grid["runs"].values():
        (tmp_path / "config.yaml").write_text(params.dump(run))
        read = read_run(tmp_path / "config.yaml")
        assert (read.to_mapping(), read.address) == (run, params.address(run))


@pytest.mark.parametrize("batch", range(3))
def test_a_grid_with_mistakes_is_read_or_refused_in_one_line(root, tmp_path, batch):
    grid = resolve(checks.load(root / "demo/params.yaml"))
    path = tmp_path / "grid.json"
    for seed in range(100 * batch, 100 * batch + 100):
        path.write_text(json.dumps(mutate_values(grid, random.Random(seed))))
        try:
            read_grid(path)
        except ValueError as error:
            assert str(error).isprintable()
            assert str(error).startswith(str(path))


@pytest.mark.parametrize("kind", ["store", "ensemble"])
def test_a_grid_holds_all_that_it_names(root, tmp_path, kind):
    grid = resolve(checks.load(root / "demo/params.yaml"))
    name = next(iter(grid[f"{kind}s"]))
    del grid[f"{kind}s"][name]
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    assert f": expected {kind}s/{name} among its own, found none" in refusal(
        read_grid, tmp_path / "grid.json"
    )


def test_a_run_without_settings_names_the_command_that_writes_them(tmp_path):
    found = refusal(read_run, tmp_path / "config.yaml")
    assert ": no such file; `dualhead configure` writes one run's settings" == found


def test_the_published_numbers_are_what_their_schema_says(root):
    published = read_published(root / "reports/published.yaml")
    ours = published["tables"]["table1"]["ours"]["dualhead"]["four_stream"]
    assert ours["top1"] == {"ntu60/xsub": 92.0, "ntu60/xview": 96.6}


@pytest.mark.parametrize("batch", range(2))
def test_published_numbers_with_mistakes_are_read_or_refused_in_one_line(root, tmp_path, batch):
    published = read_published(root / "reports/published.yaml")
    path = tmp_path / "published.yaml"
    for seed in range(5 * batch, 5 * batch + 5):
        path.write_text(params.dump(mutate_values(published, random.Random(seed))))
        try:
            read_published(path)
        except ValueError as error:
            assert str(error).isprintable()
            assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_test": 0}, ": num_test: expected a whole number, 1 or more, found 0"),
        ({"num_test": None}, ": num_test: expected a whole number, 1 or more, found nothing"),
        ({"last": {"epoch": 3}}, ": last: the setting 'fusion' is missing"),
        (
            {"last": {"epoch": 3, "fusion": {"softmax": {**ACCURACIES, "top1": 123.0}}}},
            ": last.fusion.softmax.top1: expected a number, 0 or more, at most 100, found 123.0",
        ),
        (
            {"best_on_test": {"epoch": "3", "fusion": {}}},
            ": best_on_test.epoch: expected a whole number",
        ),
    ],
)
def test_metrics_of_another_form_are_one_line(tmp_path, changes, message):
    path = tmp_path / "metrics.json"
    check_metrics(RESULT, path, of_run=False)
    line = refusal(lambda path: check_metrics({**RESULT, **changes}, path, of_run=False), path)
    assert line.startswith(message)


def test_a_run_measures_more_than_an_ensemble(tmp_path):
    with pytest.raises(ValueError, match="the setting 'parameters' is missing"):
        check_metrics(RESULT, tmp_path / "metrics.json", of_run=True)


def test_a_frozen_grid_is_the_one_its_file_is_named_after(root, tmp_path):
    grid = resolve(checks.load(root / "demo/params.yaml"))
    path = frozen_path(grid, tmp_path)
    write_json(path, grid)
    assert read_grid(path)["seeds"] == grid["seeds"]
    write_json(path, {**grid, "protocol": "authors"})
    assert f": expected the grid {path.stem}, found" in refusal(read_grid, path)
