import csv
import json
import shutil
from unittest import mock

import h5py
import numpy as np
import pytest
import torch

from dualhead.data.modalities import MODALITIES
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.models import build_model
from dualhead.models.attention import attention_maps
from dualhead.models.checkpoint import write_tensors
from dualhead.runs import evaluate as evaluate_module
from dualhead.runs.evaluate import evaluate
from dualhead.runs.partition import split_positions
from dualhead.runs.scores import (
    read_attention,
    read_scores,
    read_selections,
    read_validation_scores,
    refuse_foreign,
)
from dualhead.settings import checks
from dualhead.settings.params import address
from dualhead.settings.run import RunConfig
from tests.builders.tiny import load_tiny, tiny_config, train_tiny, write_tiny_store
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a store and a training on it, of the bone modality."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_store(folder / "store.h5", count=60)
    train_tiny(folder, {**tiny_config(epochs=4, learning_rate=0.2), "modality": "bone"})
    return folder


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    monkeypatch.setattr(evaluate_module, "load", load_tiny)


def run(folder, output, *, batch_size=7, store=None):
    evaluate(
        folder / "checkpoint.pt",
        store or folder / "store.h5",
        scores=output / "scores.h5",
        metrics=output / "metrics.json",
        classes=output / "classes.csv",
        device="cpu",
        batch_size=batch_size,
    )
    return json.loads((output / "metrics.json").read_text())


def scores_one_by_one(folder, selection, part="test"):
    """Return sample id -> head -> logits, each sample run alone from the padded array."""
    network = load_tiny(folder / "checkpoint.pt", selection)
    with Store(folder / "store.h5") as store, torch.no_grad():
        return {
            store.names[index]: {
                head: logits[0].numpy()
                for head, logits in network(
                    torch.from_numpy(
                        MODALITIES["bone"](store.padded(int(index), num_frames=12), store.layout)
                    )[None]
                ).items()
            }
            for index in getattr(split_positions(store, RunConfig.of(network.config)), part)
        }


@pytest.mark.parametrize("selection", ["last", "best_on_test"])
@pytest.mark.parametrize("head", ["coarse", "fine"])
def test_every_test_sample_has_the_scores_it_gets_alone(trained, tmp_path, selection, head):
    run(trained, tmp_path)
    expected = scores_one_by_one(trained, selection)
    table = read_scores(tmp_path / "scores.h5", selection, head, "logits")
    assert sorted(expected) == sorted(table.names)
    for name, values in zip(table.names, table.values, strict=True):
        np.testing.assert_allclose(expected[name][head], values, rtol=1e-4, atol=1e-5)


def test_fusion_is_the_mean_of_both_heads_softmax(trained, tmp_path):
    run(trained, tmp_path)
    tables = {
        head: read_scores(tmp_path / "scores.h5", "last", head, "softmax").values
        for head in ("coarse", "fine", "fusion")
    }
    expected = (tables["coarse"] + tables["fine"]) / 2
    np.testing.assert_allclose(expected, tables["fusion"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["softmax", "logits"])
def test_metrics_are_those_of_the_scores_counted_by_hand(trained, tmp_path, kind):
    metrics = run(trained, tmp_path)
    table = read_scores(tmp_path / "scores.h5", "last", "fusion", kind)
    right = [
        int(np.argmax(values)) == label
        for values, label in zip(table.values, table.labels, strict=True)
    ]
    assert 100 * sum(right) / len(right) == pytest.approx(metrics["last"]["fusion"][kind]["top1"])
    assert metrics["num_test"] == len(right)


def test_the_history_and_the_metrics_agree(trained, tmp_path):
    metrics = run(trained, tmp_path, batch_size=5)
    with (trained / "history.csv").open(newline="") as text:
        rows = {int(row["epoch"]): row for row in csv.DictReader(text)}
    for selection in ("last", "best_on_test"):
        row = rows[metrics[selection]["epoch"]]
        for head in ("coarse", "fine", "fusion"):
            expected = float(row[f"test_{head}_top1"])
            assert expected == metrics[selection][head]["softmax"]["top1"]


def test_metrics_say_which_run_and_what_it_cost(trained, tmp_path):
    metrics = run(trained, tmp_path)
    expected = {"benchmark": "tiny", "variant": "dualhead", "stream": "bone", "seed": 3}
    assert expected == {key: metrics[key] for key in expected}
    documented = (
        *("num_test", "num_classes", "parameters", "gmacs", "train_seconds", "device"),
        *("train_samples_per_second", "peak_memory_mb", "final_loss", "git", "versions"),
    )
    assert not set(documented) - set(metrics)


def test_metrics_and_scores_say_at_which_address_and_of_what_data(trained, tmp_path):
    metrics = run(trained, tmp_path)
    config = torch.load(trained / "checkpoint.pt", weights_only=True)["config"]
    assert metrics["address"] == address(config)
    assert metrics["data"] == {"fingerprint": "0", "settings": {}}
    refuse_foreign(tmp_path / "scores.h5", metrics)
    with pytest.raises(ValueError, match=r"tiny/dualhead/joint/3/.*another run's, tiny/dual.*bone"):
        refuse_foreign(tmp_path / "scores.h5", metrics | {"stream": "joint"})


def test_the_batch_size_changes_no_score(trained, tmp_path):
    tables = []
    for size in (1, 20):
        run(trained, tmp_path, batch_size=size)
        tables.append(read_scores(tmp_path / "scores.h5", "last", "fusion", "softmax").values)
    np.testing.assert_allclose(*tables, rtol=1e-5, atol=1e-6)


def test_weights_of_one_epoch_are_scored_once(trained, tmp_path):
    content = torch.load(trained / "checkpoint.pt", weights_only=True)
    content["selections"]["best_on_test"] = content["selections"]["last"]
    write_tensors(tmp_path / "checkpoint.pt", content)
    with mock.patch.object(
        evaluate_module, "score_split", wraps=evaluate_module.score_split
    ) as score:
        run(tmp_path, tmp_path, store=trained / "store.h5")
    assert score.call_count == 1
    with h5py.File(tmp_path / "scores.h5") as file:
        assert {"last", "best_on_test"} < set(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "ntu60"}, "expected a store of synthetic, found one of ntu60"),
        (
            {"layout": LAYOUTS["ntu25"]},
            "skeletons of layout ntu25, at most 2 bodies; .* expects kinect20, 2",
        ),
        (
            {"class_names": ("a", "b", "c", "d")},
            "expected 3 classes, as the network tells apart, found 4",
        ),
        ({"settings": {"normalize": "none"}}, "made with other settings, {'normalize': 'none'}"),
    ],
)
def test_another_store_is_refused(trained, tmp_path, changes, message):
    store = write_tiny_store(tmp_path / "other.h5", **changes)
    with pytest.raises(ValueError, match=message):
        run(trained, tmp_path, store=store)
    assert not (tmp_path / "metrics.json").exists()


def test_converted_weights_are_refused(trained, tmp_path):
    content = torch.load(trained / "checkpoint.pt", weights_only=True)
    del content["config"]["split"]
    write_tensors(tmp_path / "checkpoint.pt", content)
    with pytest.raises(ValueError, match="it names no benchmark"):
        run(tmp_path, tmp_path, store=trained / "store.h5")


def test_a_checkpoint_in_another_runs_folder_is_refused(trained, tmp_path):
    folder = tmp_path / "seed1-0123abcd"
    folder.mkdir()
    shutil.copy(trained / "checkpoint.pt", folder)
    with pytest.raises(ValueError, match="expected the checkpoint of run 0123abcd, found that of"):
        run(folder, tmp_path, store=trained / "store.h5")


def test_too_little_memory_names_the_setting(trained, tmp_path):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    with (
        mock.patch("tests.builders.tiny.TinyNetwork.forward", side_effect=error),
        pytest.raises(ValueError, match=r"lower hardware\.evaluate_batch_size, now 7"),
    ):
        run(trained, tmp_path)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """The same with two of five subjects held out."""
    folder = tmp_path_factory.mktemp("held_out")
    write_tiny_store(folder / "store.h5", count=60)
    config = tiny_config(epochs=4, learning_rate=0.2, validation=0.4)
    train_tiny(folder, {**config, "modality": "bone"})
    return folder


@pytest.mark.parametrize("head", ["coarse", "fine"])
def test_every_held_out_sample_has_the_scores_it_gets_alone(held_out, tmp_path, head):
    run(held_out, tmp_path)
    expected = scores_one_by_one(held_out, "last", "validation")
    table = read_validation_scores(tmp_path / "scores.h5", head, "logits")
    assert sorted(expected) == sorted(table.names)
    for name, label, values in zip(table.names, table.labels, table.values, strict=True):
        assert label == int(name[1:]) % 3
        np.testing.assert_allclose(expected[name][head], values, rtol=1e-4, atol=1e-5)


def test_all_three_selections_are_scored_on_the_test_set(held_out, tmp_path):
    metrics = run(held_out, tmp_path)
    selections = ["last", "best_on_test", "best_on_validation"]
    assert read_selections(tmp_path / "scores.h5") == selections
    for selection in selections:
        names = read_scores(tmp_path / "scores.h5", selection, "fusion", "softmax").names
        assert len(names) == metrics["num_test"]
        assert metrics[selection]["epoch"] <= 4


def test_the_metrics_tell_who_was_held_out_and_agree_with_the_history(held_out, tmp_path):
    metrics = run(held_out, tmp_path)["validation"]
    assert (metrics["subjects"], metrics["samples"]) == ([3, 4], 16)
    with (held_out / "history.csv").open(newline="") as text:
        last = list(csv.DictReader(text))[-1]
    expected = float(last["validation_fusion_top1"])
    assert expected == metrics["last"]["fusion"]["softmax"]["top1"]


def test_without_held_out_subjects_there_are_no_scores_of_any(trained, tmp_path):
    assert "validation" not in run(trained, tmp_path)
    with pytest.raises(ValueError, match=r"scores.h5: no scores of held-out subjects; its run"):
        read_validation_scores(tmp_path / "scores.h5", "fusion", "softmax")


@pytest.fixture
def attending(monkeypatch):
    """A small DualHead-Net with attention that differs from frame to frame, in the checkpoint's stead."""
    sizes = checks.load(ROOT / "demo/params.yaml")["dualhead"]
    torch.manual_seed(0)
    network = build_model("dualhead", sizes, LAYOUTS["kinect20"], 3, in_channels=3, num_bodies=2)
    for attend in network.attend_frames:
        torch.nn.init.normal_(attend.conv.weight)
    monkeypatch.setattr(evaluate_module, "load", lambda *_: network.eval())
    return network


def test_each_class_has_the_attention_over_its_first_test_recording(trained, tmp_path, attending):
    run(trained, tmp_path)
    found = read_attention(tmp_path / "scores.h5")
    with Store(trained / "store.h5") as store:
        first = {int(store.labels[i]): i for i in reversed(store.split("thirds")[1])}
        assert found.names == [store.names[first[label]] for label in range(3)]
        for place, index in enumerate(first[label] for label in range(3)):
            padded = store.padded(int(index), num_frames=12)
            joints = torch.from_numpy(MODALITIES["bone"](padded, store.layout))[None]
            for name, values in attention_maps(attending, joints).items():
                np.testing.assert_allclose(found.maps[name][place], values[0], atol=1e-5)
            frames = int(store.num_frames[index])
            assert found.times[place].tolist() == [time % frames for time in range(12)]
    assert read_selections(tmp_path / "scores.h5") == ["last", "best_on_test"]


def test_a_network_without_attention_has_no_maps(trained, tmp_path):
    run(trained, tmp_path)
    with pytest.raises(ValueError, match=r"scores\.h5: no attention maps; the network has none"):
        read_attention(tmp_path / "scores.h5")
