import csv
import json

import numpy as np
import pytest

from dualhead.ensemble import ensemble
from dualhead.scores import Selection, fuse_heads, read_scores, write_scores

MODALITIES = ("joint", "bone", "joint_motion", "bone_motion")
NAMES = [f"S{index:03d}" for index in range(40)]
IDENTITY = {"benchmark": "tiny", "variant": "dualhead", "stream": "four_stream", "seed": 1}


def write(path, rng, *, names=NAMES, labels=None, epoch=5, classes=("a", "b", "c")):
    """Write a score file in a random order; a sample's label follows from its name."""
    names = [names[index] for index in rng.permutation(len(names))]
    labels = np.array([int(name[1:]) % 3 for name in names]) if labels is None else labels
    selections = {
        name: Selection(
            at,
            fuse_heads(
                {
                    head: rng.normal(size=(len(names), len(classes))).astype(np.float32) * 3
                    for head in ("coarse", "fine")
                },
                0.5,
            ),
        )
        for name, at in (("last", 9), ("best_on_test", epoch))
    }
    write_scores(path, names=names, labels=labels, class_names=classes, selections=selections)
    return path


@pytest.fixture
def members(tmp_path, rng):
    return {
        modality: write(tmp_path / f"{modality}.h5", rng, epoch=epoch)
        for epoch, modality in enumerate(MODALITIES, start=3)
    }


def join(members, tmp_path, *, weights=None, fusion="softmax"):
    outputs = {
        "scores": tmp_path / "out.h5",
        "metrics": tmp_path / "metrics.json",
        "classes": tmp_path / "classes.csv",
    }
    weights = weights or dict.fromkeys(members, 1.0)
    ensemble(members, weights, fusion=fusion, identity=IDENTITY, **outputs)
    return outputs


def by_hand(members, weights, selection, fusion):
    """Return name -> weighted sum of score vectors, one sample at a time."""
    total = {}
    for modality, path in members.items():
        table = read_scores(path, selection, "fusion", fusion)
        for name, values in zip(table.names, table.values.astype(float), strict=True):
            total[name] = total.get(name, 0) + weights[modality] * values
    return total


@pytest.mark.parametrize("fusion", ["softmax", "logits"])
@pytest.mark.parametrize("selection", ["last", "best_on_test"])
def test_scores_are_joined_by_name_whatever_the_order(members, tmp_path, fusion, selection):
    weights = {"joint": 0.6, "bone": 0.6, "joint_motion": 0.4, "bone_motion": 0.4}
    outputs = join(members, tmp_path, weights=weights, fusion=fusion)
    table = read_scores(outputs["scores"], selection, "fusion", fusion)
    expected = by_hand(members, weights, selection, fusion)
    assert set(NAMES) == set(table.names)
    for name, label, values in zip(table.names, table.labels, table.values, strict=True):
        assert int(name[1:]) % 3 == label
        np.testing.assert_allclose(expected[name] / 2.0, values, rtol=1e-5)


def test_metrics_are_those_of_the_sum_by_hand(members, tmp_path):
    outputs = join(members, tmp_path)
    expected = by_hand(members, dict.fromkeys(members, 1.0), "last", "softmax")
    right = sum(int(name[1:]) % 3 == values.argmax() for name, values in expected.items())
    metrics = json.loads(outputs["metrics"].read_text())
    assert 100 * right / 40 == pytest.approx(metrics["last"]["fusion"]["softmax"]["top1"])
    assert {key: metrics[key] for key in IDENTITY} == IDENTITY
    assert (metrics["num_test"], metrics["num_classes"]) == (40, 3)


def test_the_epoch_stands_there_only_if_all_members_share_it(members, tmp_path):
    metrics = json.loads(join(members, tmp_path)["metrics"].read_text())
    assert (metrics["last"]["epoch"], metrics["best_on_test"]["epoch"]) == (9, None)


def test_only_what_was_summed_is_in_the_file(members, tmp_path):
    outputs = join(members, tmp_path, fusion="logits")
    with pytest.raises(ValueError, match=r"known there: \['logits'\]"):
        read_scores(outputs["scores"], "last", "fusion", "softmax")
    with outputs["classes"].open(newline="") as text:
        kinds = {(row["head"], row["score"]) for row in csv.DictReader(text)}
    assert {("fusion", "logits")} == kinds


def test_an_ensemble_of_one_is_that_one(members, tmp_path):
    outputs = join({"bone": members["bone"]}, tmp_path)
    expected = read_scores(members["bone"], "last", "fusion", "softmax")
    found = read_scores(outputs["scores"], "last", "fusion", "softmax")
    assert expected.names == found.names
    np.testing.assert_allclose(expected.values, found.values, rtol=1e-6)


def test_softmax_scores_stay_probabilities(members, tmp_path):
    table = read_scores(join(members, tmp_path)["scores"], "last", "fusion", "softmax")
    np.testing.assert_allclose(1, table.values.sum(1), rtol=1e-5)


def test_other_sample_sets_are_refused_with_counts_and_examples(members, tmp_path, rng):
    other = [*NAMES[5:], "S900", "S901"]
    members["bone"] = write(tmp_path / "bone.h5", rng, names=other)
    message = r"2 \(S900, S901\) only in the first, 5 \(S000, S001, S002\) only in the second"
    with pytest.raises(ValueError, match=message):
        join(members, tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_a_sample_that_stands_there_twice_is_refused(members, tmp_path, rng):
    members["bone"] = write(tmp_path / "bone.h5", rng, names=[*NAMES, NAMES[0]])
    with pytest.raises(ValueError, match="1 sample ids stand there twice"):
        join(members, tmp_path)


def test_other_labels_are_refused(members, tmp_path, rng):
    members["bone"] = write(tmp_path / "bone.h5", rng, labels=np.zeros(40, dtype=np.int64))
    with pytest.raises(ValueError, match="samples have other labels, such as S"):
        join(members, tmp_path)


def test_other_classes_are_refused(members, tmp_path, rng):
    members["bone"] = write(tmp_path / "bone.h5", rng, classes=("a", "b", "c", "d"))
    with pytest.raises(ValueError, match="4 and 3 classes"):
        join(members, tmp_path)


def test_weights_must_name_the_members(members, tmp_path):
    with pytest.raises(ValueError, match=r"has weights for \['bone', 'joint'\]"):
        join(members, tmp_path, weights={"joint": 1.0, "bone": 1.0})
