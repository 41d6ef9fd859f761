"""Damaged results are refused in one line that names the file; none that differs is ever accepted."""

import faulthandler
import json
import signal

import numpy as np
import pytest
import torch

from dualhead.files import read_record
from dualhead.models.checkpoint import load_checkpoint
from dualhead.runs import train as train_module
from dualhead.runs.evaluate import evaluate
from dualhead.runs.scores import REMEDY, read_scores, read_selections
from dualhead.runs.state import resume
from tests.builders.damage import mutants
from tests.builders.tiny import signal_at, tiny_config, tiny_networks, train_in, write_tiny_store

COUNT = 60  # mutants of each file
SECONDS = 120  # for all of one file: a reader that hangs ends the process with its traceback


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all that a run leaves, and the state that it left half way."""
    folder = tmp_path_factory.mktemp("run")
    write_tiny_store(folder / "store.h5")
    with tiny_networks():
        with signal_at(3, signal.SIGTERM):
            train_in(folder, tiny_config())
        state = (folder / "state.pt").read_bytes()
        train_in(folder, tiny_config())
        outputs = {"scores": "scores.h5", "metrics": "metrics.json", "classes": "classes.csv"}
        paths = {key: folder / name for key, name in outputs.items()}
        evaluate(folder / "checkpoint.pt", folder / "store.h5", **paths, device="cpu", batch_size=9)
    (folder / "state.pt").write_bytes(state)
    return folder


def all_scores(path):
    return {
        selection: read_scores(path, selection, head, kind)
        for selection in read_selections(path)
        for head in ("coarse", "fine", "fusion")
        for kind in ("logits", "softmax")
    }


def resumed(path):
    """Return a training after it took up a state."""
    config = tiny_config()
    network = train_module.build_model("", {}, None, 3, in_channels=3, num_bodies=2)
    optimizer = train_module.make_optimizer(network, config["train"])
    run = train_module.Training(network, optimizer, torch.Generator())
    resume(run, path, config, torch.device("cpu"))
    return run.model.state_dict(), run.generator.get_state(), run.order, run.records, run.history


READERS = {
    "scores.h5": all_scores,
    "checkpoint.pt": load_checkpoint,
    "metrics.json": lambda path: read_record(path, REMEDY),
    "state.pt": resumed,
}


def same(a, b):
    """Return whether two results of a reader hold the same, to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor | np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return a == b


@pytest.mark.parametrize("name", READERS)
def test_no_damage_is_accepted_and_each_is_refused_in_one_line(folder, tmp_path, name):
    content = (folder / name).read_bytes()
    with tiny_networks():
        expected = READERS[name](folder / name)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        for number, (what, damaged) in enumerate(mutants(content, COUNT, seed=5)):
            path = tmp_path / f"{number}" / name
            path.parent.mkdir()
            path.write_bytes(damaged)
            try:
                found = READERS[name](path)
            except ValueError as error:
                assert str(path) in str(error), what
                assert "\n" not in str(error), what
            else:
                assert same(expected, found), what
        faulthandler.cancel_dump_traceback_later()


def test_the_record_names_every_file_beside_it(folder):
    record = json.loads((folder / "metrics.json").read_text())
    assert set(record["files"]) == {"checkpoint.pt", "history.csv", "scores.h5", "classes.csv"}
