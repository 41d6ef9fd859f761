"""What is done, running and waiting; what nothing asks for."""

import os
import time
from pathlib import Path

import pytest

from dualhead.housekeeping import collect_garbage, run_status, show_status, unwanted

RUN = "b/dualhead/joint/seed1-00000001"
GRID = {
    "runs": {RUN: {}},
    "ensembles": {"b/dualhead/two_stream/seed1-00000002": {}},
    "stores": {"s-00000003": {}},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results with one wanted and one unwanted thing of each sort."""
    for path in (
        f"runs/{RUN}/metrics.json",
        "runs/b/old/joint/seed1-0000000a/metrics.json",
        "ensembles/b/dualhead/two_stream/seed1-00000002/metrics.json",
        "ensembles/b/dualhead/two_stream/seed1-0000000b/metrics.json",
        *("store/s-00000003.h5", "store/s-00000003.dropped.csv"),
        *("store/s-0000000c.h5", "store/s-0000000c.dropped.csv"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    return tmp_path


def test_what_the_grid_does_not_ask_for_is_unwanted(results: Path) -> None:
    expected = [
        "runs/b/old/joint/seed1-0000000a",
        "ensembles/b/dualhead/two_stream/seed1-0000000b",
        "store/s-0000000c.dropped.csv",
        "store/s-0000000c.h5",
    ]
    assert [str(path.relative_to(results)) for path in unwanted(GRID, results)] == expected


def test_garbage_is_only_listed_at_first(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect_garbage(GRID, results, remove=False)
    assert len(unwanted(GRID, results)) == 4
    assert "--remove" in capsys.readouterr().out


def test_removing_garbage_leaves_all_that_is_wanted(results: Path) -> None:
    collect_garbage(GRID, results, remove=True)
    left = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert left == {
        f"runs/{RUN}/metrics.json",
        "ensembles/b/dualhead/two_stream/seed1-00000002/metrics.json",
        *("store/s-00000003.h5", "store/s-00000003.dropped.csv"),
    }
    assert not (results / "runs/b/old").exists()


@pytest.mark.parametrize(
    ("files", "age", "expected"),
    [
        ([], 0, "waiting"),
        (["logs/train/{run}.log"], 0, "running"),
        (["logs/train/{run}.log", "runs/{run}/state.pt"], 3600, "stopped"),
        (["logs/train/{run}.log", "runs/{run}/checkpoint.pt"], 0, "trained"),
        (["logs/train/{run}.log", "runs/{run}/metrics.json"], 0, "done"),
    ],
)
def test_a_run_is_in_the_state_its_files_show(
    tmp_path: Path, files: list[str], age: float, expected: str
) -> None:
    for name in files:
        path = tmp_path / name.format(run=RUN)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("epoch 3/80  1:20 left\n\n")
        os.utime(path, (time.time() - age,) * 2)
    assert run_status(RUN, tmp_path).state == expected


def test_a_running_run_shows_the_last_line_of_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / f"logs/train/{RUN}.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 2/80\nepoch 3/80  1:20 left\n")
    show_status(GRID, tmp_path)
    shown = capsys.readouterr().out
    assert "1:20 left" in shown
    assert "runs: 1 running; ensembles: 0 of 1 done" in shown
