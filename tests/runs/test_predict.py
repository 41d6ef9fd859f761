import csv

import numpy as np
import pytest
import torch

from dualhead.cli.main import main
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.models.checkpoint import load_checkpoint
from dualhead.runs import predict as predict_module
from dualhead.runs.answers import Output
from dualhead.runs.predict import predict
from dualhead.runs.scores import softmax
from tests.builders.tiny import CLASSES, load_tiny, tiny_config, train_tiny, write_tiny_store


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_store(folder / "store.h5")
    train_tiny(folder, tiny_config())
    return folder / "checkpoint.pt"


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    monkeypatch.setattr(predict_module, "load", load_tiny)


def run(checkpoint, folder, **changes):
    """Predict a store made for it; return the rows of the CSV."""
    store = write_tiny_store(folder / "new.h5", seed=9, **changes)
    output = Output(folder / "predictions.csv", is_json=False)
    predict([checkpoint], [store], output, device="cpu", recordings={})
    with (folder / "predictions.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def test_every_recording_gets_the_class_it_scores_best_alone(checkpoint, tmp_path):
    rows = run(checkpoint, tmp_path)
    network = load_tiny(checkpoint)
    with Store(tmp_path / "new.h5") as store, torch.no_grad():
        assert store.names == [row["name"] for row in rows]
        for row in rows:
            heads = network(torch.from_numpy(store.padded(row["name"], num_frames=12))[None])
            scores = np.mean([softmax(logits.numpy()[0]) for logits in heads.values()], axis=0)
            best = int(scores.argmax())
            assert (row["predicted"], row["class_name"]) == (str(best + 1), CLASSES[best])
            assert scores[best] == pytest.approx(float(row["probability"]), abs=1e-4)
            top = {
                int(pair.split(":")[0]) - 1: float(pair.split(":")[1])
                for pair in row["top5"].split()
            }
            assert list(top) == np.argsort(-scores, kind="stable").tolist()
            assert scores.tolist() == pytest.approx([top[index] for index in range(3)], abs=1e-4)


def test_labels_stand_there_where_they_are_known(checkpoint, tmp_path):
    rows = run(checkpoint, tmp_path)
    assert [row["label"] for row in rows] == [str(index % 3 + 1) for index in range(24)]


def test_recordings_without_labels_are_scored(checkpoint, tmp_path):
    rows = run(checkpoint, tmp_path, labeled=False)
    assert {row["label"] for row in rows} == {""}
    assert all(row["predicted"] for row in rows)


def test_class_names_are_those_that_the_network_was_trained_with(checkpoint, tmp_path):
    rows = run(checkpoint, tmp_path, class_names=("a", "b", "c", "d"))
    assert {row["class_name"] for row in rows} <= set(CLASSES)


@pytest.mark.parametrize(("names", "shown"), [(("a", "b", "c"), True), (("a", "b"), False)])
def test_an_older_checkpoint_takes_as_many_names_from_the_store(checkpoint, tmp_path, names, shown):
    content = load_checkpoint(checkpoint)
    older = {key: content[key] for key in ("config", "num_classes", "selections", "training")}
    torch.save({**older, "format": 1, "layout": "kinect20"}, tmp_path / "older.pt")
    rows = run(tmp_path / "older.pt", tmp_path, class_names=names, labeled=False)
    assert {row["class_name"] for row in rows} <= (set(names) if shown else {""})


def test_recordings_that_were_prepared_otherwise_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"new\.h5: a store made with other settings, .*'none'"):
        run(checkpoint, tmp_path, settings={"normalize": "none"})


def test_another_skeleton_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"skeletons of layout ntu25, .* expects kinect20, 2;"):
        run(checkpoint, tmp_path, layout=LAYOUTS["ntu25"])


def test_threads_are_those_asked_for(checkpoint, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    store = write_tiny_store(tmp_path / "new.h5", seed=9)
    output = tmp_path / "predictions.csv"
    words = [checkpoint, store, "--output", output, "--device", "cpu", "--threads", 3]
    assert main(["predict", *map(str, words)]) == 0
    assert asked == [3] and output.exists()
