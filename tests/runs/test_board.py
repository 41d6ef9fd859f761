"""TensorBoard's files: the rows of history.csv, each epoch once, however often a training was killed."""

import csv

import pytest

from dualhead.runs.train import REQUEUE
from tests.builders.tiny import (
    signal_at,
    tiny_config,
    tiny_networks,
    train_in,
    write_tiny_store,
)


def test_a_killed_training_is_watched_from_its_first_epoch_to_its_last(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tiny_store(tmp_path / "store.h5")
    config, watched = tiny_config(epochs=3), tmp_path / "watched"
    with tiny_networks():
        with signal_at(7, 15):
            assert REQUEUE == train_in(tmp_path, config, tensorboard=watched)
        assert 0 == train_in(tmp_path, config, tensorboard=watched)
    with (tmp_path / "history.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    found = EventAccumulator(str(watched)).Reload()
    assert set(rows[0]) - {"epoch"} == set(found.Tags()["scalars"])
    for name in ("loss", "learning_rate", "test_fusion_top1"):
        scalars = found.Scalars(name)
        assert [1, 2, 3] == [one.step for one in scalars]
        assert [float(row[name]) for row in rows] == pytest.approx([one.value for one in scalars])
