"""Grids: planned from params.yaml, frozen when a run begins, refused when they are damaged."""

import json
from pathlib import Path

import pytest

from dualhead.cli.main import main
from dualhead.workspace import grids
from tests.builders.workspaces import PARAMS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which nothing has been made, the working folder."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_planning_writes_nothing(folder: Path) -> None:
    grids.plan(folder, overrides={"seeds": [9]})
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]


def test_another_grid_is_frozen_elsewhere(folder: Path) -> None:
    results = folder / "results"
    first, second = grids.plan(folder), grids.plan(folder, overrides={"seeds": [9]})
    for grid in (first, second):
        grids.freeze(grid, results)
    assert grids.read_grid(grids.frozen_path(first, results)) == first
    assert grids.read_grid(grids.frozen_path(second, results)) == second
    assert grids.latest(results, folder) == second


def test_the_latest_grid_is_the_one_that_it_says(folder: Path) -> None:
    results = folder / "results"
    grids.freeze(grids.plan(folder), results)
    content = json.loads((results / "grid.json").read_text())
    (results / "grid.json").write_text(json.dumps({**content, "seeds": [9]}))
    with pytest.raises(ValueError, match=r"grid\.json: expected the grid [0-9a-f]{8}, found"):
        grids.latest(results, folder)


def test_before_any_run_the_latest_grid_is_what_params_asks_for(folder: Path) -> None:
    assert grids.latest(folder / "results", folder) == grids.plan(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"runs": {}})[:5], "\0"])
@pytest.mark.parametrize(
    "command", [["explain", "ablation"], ["status", "--grid", "results/grid.json"]]
)
def test_a_damaged_grid_is_one_line(
    folder: Path, content: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "results").mkdir()
    (folder / "results/grid.json").write_text(content)
    assert main(command) == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "results/grid.json" in said
    assert "the next `snakemake` that has something to do writes" in said


def test_status_needs_no_grid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert "runs: 4 waiting; ensembles: 0 of 1 done" in capsys.readouterr().out
