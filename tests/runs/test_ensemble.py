import csv
import json

import numpy as np
import pytest

from dualhead.runs.ensemble import ensemble, least_log_loss
from dualhead.runs.scores import (
    Scored,
    Selection,
    fuse_heads,
    read_scores,
    read_validation_scores,
    softmax,
    write_scores,
)
from tests.builders.edits import sealed_again

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


def test_the_scores_of_another_stream_are_refused_as_a_member(members, tmp_path):
    with sealed_again(members["bone"]) as file:
        file.attrs["identity"] = json.dumps(IDENTITY | {"stream": "joint"})
    with pytest.raises(ValueError, match=r"bone\.h5: expected the scores of .*bone.*found another"):
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


# --- weights fitted on held-out subjects

PLANTED = {"joint": 0.5, "bone": 0.35, "joint_motion": 0.15, "bone_motion": 0.0}
SCALE = {"softmax": 8.0, "logits": 1.5}


def planted(rng, count, fusion):
    """Return scores of four members, and labels drawn from their planted combination."""
    logits = 2 * rng.normal(size=(len(MODALITIES), count, 5)).astype(np.float32)
    scores = logits if fusion == "logits" else softmax(logits)
    chances = softmax(SCALE[fusion] * np.tensordot(list(PLANTED.values()), scores, 1))
    labels = (chances.cumsum(1) < rng.random((count, 1))).sum(1).clip(max=4)
    return scores, labels


@pytest.mark.parametrize("fusion", SCALE)
def test_fitting_recovers_the_planted_weights(rng, fusion):
    scores, labels = planted(rng, 40_000, fusion)
    weights = least_log_loss(list(scores), labels)
    np.testing.assert_allclose(weights, list(PLANTED.values()), atol=0.03)
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert min(weights) >= 0


@pytest.mark.parametrize("fusion", SCALE)
def test_no_weights_on_a_grid_do_better(rng, fusion):
    scores, labels = planted(rng, 80, fusion)

    def log_loss(share, scale):
        total = scale * (share * scores[0].astype(float) + (1 - share) * scores[1])
        return -np.log(softmax(total)[np.arange(80), labels]).mean()

    grid = [(share, scale) for share in np.linspace(0, 1, 51) for scale in np.linspace(0.1, 9, 90)]
    best, _ = min(grid, key=lambda point: log_loss(*point))
    assert least_log_loss(list(scores[:2]), labels)[0] == pytest.approx(best, abs=0.03)


def test_a_member_is_not_preferred_for_being_sure_of_itself(rng):
    """Two members that know the same of different samples; one says it more softly."""
    labels = rng.integers(0, 5, 4000)
    logits = rng.normal(size=(2, 4000, 5)).astype(np.float32)
    logits[:, np.arange(4000), labels] += 2
    sure, soft = softmax(3 * logits[0]), softmax(3 * logits[1]) / 2 + 0.1
    share, _ = least_log_loss([sure, soft], labels)
    assert share == pytest.approx(1 / 3, abs=0.03)  # the soft one's scores spread half as far


def test_members_that_know_nothing_weigh_the_same(rng):
    labels = np.zeros(30, dtype=np.int64)
    wrong = np.zeros((30, 3), np.float32)
    wrong[:, 1] = 1
    assert least_log_loss([wrong, wrong], labels) == [0.5, 0.5]


def test_members_that_know_everything_have_weights_still(rng):
    labels = rng.integers(0, 3, 30)
    right = np.eye(3, dtype=np.float32)[labels]
    assert least_log_loss([right, right], labels) == pytest.approx([0.5, 0.5])


def write_held_out(path, rng, skill, *, names=NAMES):
    """Write a score file whose held-out samples are known as well as `skill` says."""

    def scored(names):
        names = [names[index] for index in rng.permutation(len(names))]
        labels = np.array([int(name[1:]) % 3 for name in names])
        logits = rng.normal(size=(len(names), 3)).astype(np.float32)
        logits[np.arange(len(names)), labels] += skill
        return Scored(names, labels, {"last": Selection(9, fuse_heads({"fusion": logits}, 0.5))})

    test = scored(NAMES)._asdict()
    write_scores(path, **test, class_names=("a", "b", "c"), validation=scored(names))
    return path


@pytest.fixture
def held_out(tmp_path, rng):
    """Two members: the held-out samples say that the first is good and the second knows nothing."""
    names = [f"S{index:03d}" for index in range(100, 400)]
    skills = {"joint": 1.5, "bone": 0.0}
    return {
        modality: write_held_out(tmp_path / f"{modality}.h5", rng, skill, names=names)
        for modality, skill in skills.items()
    }


def test_a_fitted_ensemble_is_the_ensemble_of_the_weights_it_states(held_out, tmp_path):
    fitted = join(held_out, tmp_path, weights=dict.fromkeys(held_out, "fitted"))
    metrics = json.loads(fitted["metrics"].read_text())
    found = read_scores(fitted["scores"], "last", "fusion", "softmax")
    assert metrics["weights_fitted"] is True
    assert metrics["weights"]["joint"] > 0.8
    expected = by_hand(held_out, metrics["weights"], "last", "softmax")
    for name, values in zip(found.names, found.values, strict=True):
        np.testing.assert_allclose(expected[name], values, rtol=1e-3)


def test_held_out_samples_are_joined_by_name(held_out, tmp_path, rng):
    names = [f"S{index:03d}" for index in range(100, 400)]
    held_out["bone"] = write_held_out(tmp_path / "bone.h5", rng, 2.5, names=names)
    fitted = join(held_out, tmp_path, weights=dict.fromkeys(held_out, "fitted"))
    tables = [read_validation_scores(path, "fusion", "softmax") for path in held_out.values()]
    scores = [dict(zip(table.names, table.values, strict=True)) for table in tables]
    ordered = [np.array([member[name] for name in names]) for member in scores]
    expected = least_log_loss(ordered, np.array([int(name[1:]) % 3 for name in names]))
    found = json.loads(fitted["metrics"].read_text())["weights"]
    assert list(found.values()) == pytest.approx(expected, abs=1e-3)


def test_weights_that_were_given_are_not_fitted(held_out, tmp_path):
    metrics = json.loads(join(held_out, tmp_path)["metrics"].read_text())
    assert (metrics["weights"], metrics["weights_fitted"]) == ({"joint": 1.0, "bone": 1.0}, False)


def test_fitting_needs_held_out_subjects(members, tmp_path):
    with pytest.raises(ValueError, match=r"joint.h5: no scores of held-out subjects"):
        join(members, tmp_path, weights=dict.fromkeys(members, "fitted"))
    assert not (tmp_path / "metrics.json").exists()


def test_members_that_held_out_other_subjects_are_refused(held_out, tmp_path, rng):
    held_out["bone"] = write_held_out(tmp_path / "bone.h5", rng, 1.0, names=NAMES[:9])
    with pytest.raises(ValueError, match="were not scored on the same samples"):
        join(held_out, tmp_path, weights=dict.fromkeys(held_out, "fitted"))
