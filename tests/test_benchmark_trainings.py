import math
import tarfile

import pytest
import yaml
from benchmarks import trainings
from benchmarks.trainings import Gate

from dualhead.files import write_text
from dualhead.runs.train import REQUEUE
from dualhead.settings import checks
from tests.builders.tiny import tiny_config, write_tiny_store

LINE = "epoch {}/9  lr 0.1  loss {}  train {}  test coarse 10.00  9.0 samples/s  1 s left\n"
PRINT = """
import sys, time
for epoch, loss in enumerate([{}], 1):
    print(f"epoch {{epoch}}/9  lr 0.1  loss {{loss}}  train 80.00  1 s left", flush=True)
time.sleep({})
"""
TINY = """
import json, sys
from dualhead.cli.main import main
from tests.builders.tiny import tiny_networks
with tiny_networks():
    for command in json.loads(sys.argv[1]):
        if code := main(command):
            sys.exit(code)
"""


@pytest.fixture
def lent(tmp_path, root, monkeypatch):
    """Return the arguments of two runs of a tiny network, and their folders."""
    monkeypatch.chdir(root)
    store = write_tiny_store(tmp_path / "store.h5")
    folders = [tmp_path / "runs" / f"seed{seed}" for seed in (1, 2)]
    model = {"name": "dualhead", **checks.load(root / "demo" / "params.yaml")["dualhead"]}
    for seed, folder in enumerate(folders, 1):
        write_text(
            folder / "config.yaml", yaml.safe_dump({**tiny_config(), "seed": seed, "model": model})
        )
    configs = [str(folder / "config.yaml") for folder in folders]
    output = tmp_path / "all.tar.gz"
    words = [*configs, "--store", store, "--device", "cpu", "--output", output]
    return [str(word) for word in words], folders, output


def names_in(archive):
    with tarfile.open(archive) as content:
        return {"/".join(name.split("/")[-2:]) for name in content.getnames()}


@pytest.mark.workflow  # two processes that load torch
def test_runs_are_trained_and_evaluated_side_by_side_and_packed(lent, monkeypatch):
    words, folders, output = lent
    monkeypatch.setattr(trainings, "RUN", TINY)
    words += ["--also", "checkpoint.pt", "--train-above", "0", "--loss-below", "99"]
    assert trainings.main([*words, "--seconds", "120"]) == 0
    expected = {*trainings.RESULTS, trainings.LOG, "checkpoint.pt"}
    found = {f"{folder.name}/{name}" for folder in folders for name in expected}
    assert found == names_in(output)
    monkeypatch.setattr(trainings, "start", lambda *_: pytest.fail("started"))
    assert trainings.main([*words, "--seconds", "120"]) == 0  # all is done


def test_a_run_that_is_trained_is_only_evaluated(lent):
    words, folders, _ = lent
    options = trainings.parse([*words, "--seconds", "9"])
    first = options.configs[0]
    assert ["train", "evaluate"] == [words[0] for words in trainings.commands(options, first)]
    write_text(folders[0] / "checkpoint.pt", "")
    assert ["evaluate"] == [words[0] for words in trainings.commands(options, first)]


def test_what_runs_when_the_time_is_up_is_stopped_and_the_logs_are_packed(lent, monkeypatch):
    words, folders, output = lent
    monkeypatch.setattr(trainings, "RUN", PRINT.format("3, 2, 1", 60))
    assert trainings.main([*words, "--seconds", str(trainings.SAVING_SECONDS + 1)]) == REQUEUE
    assert {"seed1/config.yaml", "seed1/trainings.log", "seed2/trainings.log"} <= names_in(output)
    assert not [folder for folder in folders if (folder / "metrics.json").exists()]


def test_all_end_at_once_when_one_does_not_learn_and_none_goes_on_from_what_it_did(
    lent, monkeypatch, capsys
):
    words, folders, _ = lent
    monkeypatch.setattr(trainings, "RUN", PRINT.format("2, 2, 2.5", 60))
    write_text(folders[0] / "state.pt", "what did not learn")
    assert trainings.main([*words, "--seconds", "100"]) == 1
    assert "epoch 3: expected a loss below 2 and more than 50 %" in capsys.readouterr().err
    assert not (folders[0] / "state.pt").exists()


@pytest.mark.parametrize(
    ("losses", "top1", "loss", "refused"),
    [
        ((2.3, 2.0), 12, None, False),  # has not come so far
        ((2.3, 2.0, 1.6), 40, None, False),
        ((2.3, 2.4, 2.4), 40, None, True),
        ((2.3, 2.0, 1.9), 12, None, True),  # it guesses
        ((2.3, 2.0, 1.9), 40, 1.7, True),
        ((2.3, 2.0, math.nan), 40, None, True),
    ],
)
def test_a_network_learns_if_it_has_a_lower_loss_and_knows_more_than_by_chance(
    losses, top1, loss, refused
):
    log = "".join(LINE.format(epoch, value, top1) for epoch, value in enumerate(losses, 1))
    gate = Gate(3, loss, 15.0)
    assert bool(gate.refusal(log)) is refused
    assert gate.is_passed(log) is (len(losses) == 3 and not refused)


def test_a_config_that_is_not_there_is_named(tmp_path, capsys):
    missing = tmp_path / "config.yaml"
    assert trainings.main([str(missing), "--store", "s.h5", "--seconds", "9"]) == 1
    assert f"{missing}: no such file" in capsys.readouterr().err
