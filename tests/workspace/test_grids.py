"""Grids: planned from params.yaml, frozen when a run begins, refused when they are damaged."""

import hashlib
import json
from pathlib import Path

import pytest

from dualhead.cli.main import main
from dualhead.files import write_sealed
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


@pytest.mark.parametrize("content", ["", '{"runs": {}}', "\0"])
def test_a_frozen_grid_that_a_power_loss_emptied_is_written_anew(
    folder: Path, content: str
) -> None:
    results, grid = folder / "results", grids.plan(folder)
    grids.freeze(grid, results)
    frozen = grids.frozen_path(grid, results)
    frozen.write_text(content)
    grids.freeze(grid, results)
    assert grids.read_grid(frozen) == grid


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


TUNED = """\
extends: paper
variants:
  tuned:
    model: dualhead
    train: {from: "parents/{modality}.pt", freeze: [backbone]}
tables:
  small: {kind: comparison, benchmarks: [ntu60_xsub], variants: [dualhead, tuned], streams: [joint, bone]}
"""


def test_a_run_that_begins_with_a_checkpoint_has_its_digest_in_its_address(tmp_path):
    (tmp_path / "params.yaml").write_text(TUNED)
    with pytest.raises(
        ValueError,
        match=r"train\.from of variant tuned on ntu60_xsub: .* no file parents/joint\.pt",
    ):
        grids.plan(tmp_path)
    (tmp_path / "parents").mkdir()
    for name in ("joint", "bone"):
        (tmp_path / f"parents/{name}.pt").write_bytes(name.encode())
    grid = grids.plan(tmp_path)
    runs = {
        run["modality"]: run["train"] for run in grid["runs"].values() if run["variant"] == "tuned"
    }
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("joint", "bone")}
    assert digests == {name: train["from"] for name, train in runs.items()}
    assert {digests[name]: f"parents/{name}.pt" for name in digests} == grid["parents"]
    (tmp_path / "parents/joint.pt").write_bytes(b"trained longer")
    changed = grids.plan(tmp_path)
    assert {"ntu60_xsub/tuned/joint"} == {
        name.rpartition("/")[0] for name in changed["runs"].keys() - grid["runs"].keys()
    }
    grids.freeze(changed, tmp_path / "results")
    assert changed == grids.latest(tmp_path / "results", tmp_path)


def test_a_parent_checkpoint_that_is_damaged_is_not_called_absent(tmp_path):
    (tmp_path / "params.yaml").write_text(TUNED)
    for name in ("joint", "bone"):
        write_sealed(tmp_path / f"parents/{name}.pt", name.encode())
    assert grids.plan(tmp_path)["parents"]
    with (tmp_path / "parents/joint.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        ValueError, match=r"parents/joint\.pt: damaged: expected its seal at its end"
    ):
        grids.plan(tmp_path)


def test_of_an_absent_checkpoint_a_file_may_state_the_digest(tmp_path):
    (tmp_path / "params.yaml").write_text(TUNED)
    (tmp_path / "parents").mkdir()
    files = [tmp_path / f"parents/{name}.pt" for name in ("joint", "bone")]
    for path in files:
        path.write_bytes(path.name.encode())
    grid = grids.plan(tmp_path)
    for path in files:
        stated = path.with_name(f"{path.name}.sha256")
        stated.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
        path.unlink()
    assert grid == grids.plan(tmp_path)
    files[0].write_bytes(b"another")  # which counts, whatever is stated
    assert grid["runs"].keys() != grids.plan(tmp_path)["runs"].keys()
    files[0].unlink()
    stated.write_text("joint.pt")
    with pytest.raises(ValueError, match=r"bone\.pt\.sha256: expected a SHA-256 .* found 'joint"):
        grids.plan(tmp_path)
