"""Files that a run leaves, and a reader of each, for tests that damage them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from dualhead.data.store import Store
from dualhead.files import read_record
from dualhead.models.checkpoint import load_checkpoint
from dualhead.runs import train as train_module
from dualhead.runs.evaluate import evaluate
from dualhead.runs.scores import REMEDY, read_scores, read_selections
from dualhead.runs.state import resume
from dualhead.runs.step import make_optimizer
from dualhead.settings.run import RunConfig
from tests.builders.tiny import signal_at, tiny_config, tiny_networks, train_in, write_tiny_store


def finish_run(folder: Path) -> Path:
    """Fill a folder with all that a run leaves, and the state that it left half way; return it."""
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


def all_scores(path: Path) -> dict[tuple[str, str, str], object]:
    return {
        (selection, head, kind): read_scores(path, selection, head, kind)
        for selection in read_selections(path)
        for head in ("coarse", "fine", "fusion")
        for kind in ("logits", "softmax")
    }


def resumed(path: Path) -> tuple[object, ...]:
    """Return a training after it took up a state."""
    config = RunConfig.of(tiny_config())
    network = train_module.build_model("", {}, None, 3, in_channels=3, num_bodies=2)
    optimizer = make_optimizer(network, config.train)
    run = train_module.Training(network, optimizer, torch.Generator())
    resume(run, path, config, torch.device("cpu"))
    return run.model.state_dict(), run.generator.get_state(), run.order, run.records, run.history


def whole_store(path: Path) -> tuple[object, ...]:
    """Return all that a store holds."""
    with Store(path) as store:
        bodies = [[np.array(body) for body in store.bodies(at)] for at in range(len(store))]
        index = (store.names, store.labels, store.num_frames, store.class_names)
        return *index, store.meta, store.splits, store.attributes, bodies


READERS: Mapping[str, Callable[[Path], object]] = {
    "scores.h5": all_scores,
    "checkpoint.pt": load_checkpoint,
    "metrics.json": lambda path: read_record(path, REMEDY),
    "state.pt": resumed,
    "store.h5": whole_store,
}
