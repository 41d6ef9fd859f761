"""The state of every run."""

import json
import os
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dualhead.workspace.status import run_status, show_status
from tests.builders.tiny import tiny_config, train_tiny, write_tiny_store

RUN = "b/dualhead/joint/seed1-00000001"
GRID = {
    "runs": {RUN: {}},
    "fusion": {RUN: "softmax"},
    "ensembles": {"b/dualhead/two_stream/seed1-00000002": {}},
    "stores": {"s-00000003": {}},
}


@pytest.mark.parametrize(
    ("files", "age", "expected"),
    [
        ([], 0, "waiting"),
        (["logs/train/{run}.log"], 0, "running"),
        (["logs/train/{run}.log", "runs/{run}/state.pt"], 0, "running"),
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


def test_an_empty_log_is_no_running_training(tmp_path: Path) -> None:
    write_log(tmp_path, "")  # `snakemake --touch` makes it
    assert run_status(RUN, tmp_path).state == "waiting"


def write_log(folder: Path, text: str) -> Path:
    log = folder / f"logs/train/{RUN}.log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    return log


OF_EPOCH = "epoch 3/80  lr 0.1  loss 2.3451  train 31.20  test fusion 35.10  12.3 samples/s  "
WITHIN = (
    "epoch 4/80: 320/40091 samples, 12.0 samples/s, 00:30 left, loss 2.310, all epochs: 1:20:05"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"started\n{OF_EPOCH}5:01 left\n", ("3 of 80", "2.3451", "5:01", "")),
        (f"{OF_EPOCH}5:01 left\n{WITHIN}\n", ("4 of 80", "2.310", "1:20:05", "")),
        (f"{OF_EPOCH}12:01:30 left\nsaving\n", ("3 of 80", "2.3451", "12:01:30", "saving")),
        ("loading the store\n", ("", "", "", "loading the store")),
    ],
)
def test_a_running_run_tells_epoch_loss_and_time_left(tmp_path, text, expected) -> None:
    write_log(tmp_path, text)
    assert run_status(RUN, tmp_path) == ("running", *expected)


def test_the_lines_are_those_that_a_training_writes(tmp_path, capsys) -> None:
    write_tiny_store(tmp_path / "store.h5")
    train_tiny(tmp_path, tiny_config())
    write_log(tmp_path, capsys.readouterr().err)
    state, epoch, loss, left, words = run_status(RUN, tmp_path)
    assert (state, epoch, left, words) == ("running", "3 of 3", "00:00", "")
    last = (tmp_path / "history.csv").read_text().splitlines()[-1].split(",")
    assert float(loss) == pytest.approx(float(last[2]), abs=1e-4)


def test_a_stopped_run_tells_why_and_no_time_left(tmp_path) -> None:
    log = write_log(tmp_path, f"{OF_EPOCH}5:01 left\ndualhead train: the loss is nan\n")
    os.utime(log, (time.time() - 3600,) * 2)
    expected = ("stopped", "3 of 80", "2.3451", "", "dualhead train: the loss is nan")
    assert run_status(RUN, tmp_path) == expected


def shown(folder: Path, **options: object) -> str:
    text = StringIO()
    show_status(GRID, folder, Console(file=text, width=200, **options))
    return text.getvalue()


def test_the_grid_is_shown_with_counts(tmp_path: Path) -> None:
    write_log(tmp_path, f"{OF_EPOCH}5:01 left\n")
    assert "3 of 80" in shown(tmp_path)
    assert "runs: 1 running; ensembles: 0 of 1 done" in shown(tmp_path)


def test_a_finished_run_shows_its_accuracy(tmp_path: Path) -> None:
    path = tmp_path / f"runs/{RUN}/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"last": {"fusion": {"softmax": {"top1": 88.123}}}}))
    assert "88.12" in shown(tmp_path)
    path.write_text("{")
    assert "?" in shown(tmp_path)


def test_a_narrow_terminal_still_shows_the_whole_address(tmp_path: Path) -> None:
    text = StringIO()
    show_status(GRID, tmp_path, Console(file=text, width=30))
    assert RUN in "".join(line[:20].strip() for line in text.getvalue().splitlines()[1:])
    assert "loss" not in text.getvalue()


def test_colors_are_for_terminals_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[2mwaiting" in shown(tmp_path, force_terminal=True, color_system="standard")
    assert "\x1b[" not in shown(tmp_path)


def test_words_of_a_log_are_never_taken_for_markup(tmp_path: Path) -> None:
    write_log(tmp_path, "found [/] and [red]\n")
    assert "found [/] and [red]" in shown(tmp_path)
