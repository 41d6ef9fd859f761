"""Results that nothing asks for: found, kept where that may be wrong, moved before they are deleted."""

import errno
import json
import os
from pathlib import Path

import pytest

from dualhead.cli.main import main
from dualhead.workspace import garbage, grids, recovery
from tests.builders.workspaces import PARAMS

OLD = "runs/synthetic_xsub/dualhead/joint/seed1-0000000a"


def make(results: Path, grid: dict) -> None:
    """Make small results of all that a grid asks for."""
    for run in grid["runs"]:
        write(results / "runs" / run / "metrics.json", json.dumps({"train_seconds": 5400}))
    for ensemble in grid["ensembles"]:
        write(results / "ensembles" / ensemble / "metrics.json", "{}")
    for store in grid["stores"]:
        write(results / "store" / f"{store}.h5", "x")
        write(results / "store" / f"{store}.dropped.csv", "x")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of a workspace, the working folder, with all that it asks for and some that it does not."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "params.yaml", PARAMS)
    results = Path("results")
    make(results, grids.plan(Path()))
    write(results / OLD / "metrics.json", json.dumps({"train_seconds": 7200}))
    write(
        results / "ensembles/synthetic_xsub/dualhead/two_stream/seed1-0000000b/metrics.json", "{}"
    )
    write(results / "store/synthetic-0000000c.h5", "x")
    write(results / "store/synthetic-0000000c.dropped.csv", "x")
    return results


def files(results: Path) -> set[str]:
    return {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}


def gc(*options: str) -> int:
    return main(["gc", *options])


def test_garbage_is_only_listed_at_first(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(results)
    assert gc() == 0
    assert files(results) == before
    told = capsys.readouterr().out
    assert f"2.00 h  results/{OLD}" in told
    assert "4 that nothing in params.yaml asks for" in told
    assert "2.00 hours of training; --remove moves them to the trash" in told


def test_garbage_is_moved_and_comes_back(results: Path) -> None:
    before = files(results)
    gc("--remove")
    wanted = {path for path in files(results) if not path.startswith("trash/")}
    assert wanted == {path for path in before if "-0000000" not in path}
    trash = next(results.glob("trash/*"))
    assert files(trash) == before - wanted
    for path in files(trash):
        (results / path).parent.mkdir(parents=True, exist_ok=True)
        (trash / path).rename(results / path)
    assert {path for path in files(results) if not path.startswith("trash/")} == before


def test_runs_on_another_disk_are_moved_whole(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rename(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))

    monkeypatch.setattr(os, "rename", rename)
    assert gc("--remove") == 0
    assert not (results / OLD).exists()
    (kept,) = results.glob(f"{garbage.TRASH}/*/{OLD}/metrics.json")
    assert json.loads(kept.read_text()) == {"train_seconds": 7200}
    assert f"results/{OLD}" in capsys.readouterr().out


@pytest.mark.parametrize("is_noted", [False, True])
def test_what_a_workspace_that_shares_the_results_asks_for_is_kept(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_noted: bool
) -> None:
    other, shared = tmp_path / "other", tmp_path / "results"
    write(other / "params.yaml", PARAMS.replace("seeds: [1]", "seeds: [9]"))
    if is_noted:  # both lead elsewhere; else the other one's lead to the first one's own
        shared = (tmp_path / "results").rename(tmp_path.parent / f"{tmp_path.name}_shared")
        (tmp_path / "results").symlink_to(shared)
        grids.note_workspace(tmp_path, tmp_path / "results")
    (other / "results").symlink_to(shared)
    monkeypatch.chdir(other)
    before = {
        it for it in files(Path("results")) if "seed1-0000000" not in it and "000c." not in it
    }
    assert gc("--remove") == 0
    assert before <= files(Path("results"))


def test_only_the_trash_is_deleted(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gc("--remove")
    gc("--empty-trash")
    assert "2.00 hours of training" in capsys.readouterr().out.splitlines()[-1]
    assert not (results / "trash").exists()
    assert (results / "runs").exists()


def test_the_grid_of_another_run_removes_nothing(results: Path) -> None:
    before = {path for path in files(results) if "-0000000" not in path}
    grids.freeze(grids.plan(Path(), overrides={"seeds": [9]}), results)
    gc("--remove")
    assert before <= files(results)


def test_what_a_params_file_beside_it_asks_for_is_kept(results: Path) -> None:
    Path("params.more.yaml").write_text("seeds: [1, 2]\n")
    make(results, grids.plan(Path(), configfiles=[Path("params.more.yaml")]))
    before = {path for path in files(results) if "-0000000" not in path}
    gc("--remove")
    assert before <= files(results)


def test_a_params_file_that_cannot_be_resolved_stops_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(results)
    Path("params.more.yaml").write_text("seedz: [1, 2]\n")
    assert gc("--remove") == 1
    assert "seedz" in capsys.readouterr().err
    assert files(results) == before


def test_what_a_snakemake_at_work_makes_is_kept(results: Path) -> None:
    grid = grids.plan(Path(), overrides={"seeds": [9]})
    grids.freeze(grid, results)
    make(results, grid)
    write(Path(".snakemake/locks/0.output.lock"), "x")
    recovery.register(Path(".snakemake"), {})
    gc("--remove")
    assert all((results / "runs" / run).is_dir() for run in grid["runs"])
    Path(".snakemake/locks/0.output.lock").unlink()
    recovery.unregister(Path(".snakemake"))
    gc("--remove")
    assert not any((results / "runs" / run).is_dir() for run in grid["runs"])


TUNED = """  tuned: {model: dualhead, train: {from: "parent.pt"}}
tables:
  tuned: {kind: comparison, benchmarks: [synthetic_xsub], variant: tuned, streams: [joint, bone, two_stream]}
"""


def test_what_began_with_a_checkpoint_that_is_gone_is_kept(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PARAMS.replace("tables:\n", TUNED, 1)
    Path("params.yaml").write_text(text)
    Path("parent.pt").write_text("a checkpoint")
    grid = grids.plan(Path())
    make(results, grid)
    Path("parent.pt").unlink()
    assert 0 == gc("--remove")
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith("parent.pt: no such file, and runs begin with it")
    assert all((results / "runs" / run).is_dir() for run in grid["runs"])
    assert all((results / "ensembles" / it).is_dir() for it in grid["ensembles"])
    assert not (results / OLD).exists()
    assert 0 == main(["status"])
    assert "parent.pt: no such file" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"found no file parent\.pt"):
        grids.plan(Path())


def test_a_training_that_was_begun_is_kept(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(results / OLD / "state.pt", "x")
    gc("--remove")
    assert (results / OLD / "state.pt").is_file()
    assert "begun, not finished" in capsys.readouterr().out


def test_a_training_without_metrics_tells_its_hours_by_its_history(tmp_path: Path) -> None:
    write(tmp_path / "history.csv", "epoch,seconds\n1,1800\n2,1800\n")
    assert garbage.hours(tmp_path) == 1
