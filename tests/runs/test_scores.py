import csv

import h5py
import numpy as np
import pytest

from dualhead.runs import scores as scores_module
from dualhead.runs.metrics import top_k_accuracy
from dualhead.runs.scores import (
    Selection,
    fuse_heads,
    measure,
    read_scores,
    read_selections,
    softmax,
    write_classes,
    write_scores,
)

NAMES = [f"S{index}" for index in range(6)]
LABELS = np.array([0, 1, 2, 0, 1, 2])
CLASS_NAMES = ("a", "b", "c", "never seen")


@pytest.fixture
def heads(rng):
    logits = {head: rng.normal(size=(6, 4)).astype(np.float32) for head in ("coarse", "fine")}
    return fuse_heads(logits, 0.25)


@pytest.fixture
def path(tmp_path, heads):
    path = tmp_path / "scores.h5"
    selections = {"best_on_test": Selection(7, heads), "last": Selection(9, heads)}
    write_scores(path, names=NAMES, labels=LABELS, class_names=CLASS_NAMES, selections=selections)
    return path


def test_softmax_sums_to_one_and_does_not_overflow():
    values = softmax(np.array([[1000.0, 0.0], [1.0, 1.0]], dtype=np.float32))
    assert values.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_fusion_is_the_weighted_mean_of_softmax_and_of_logits(heads):
    for kind in ("softmax", "logits"):
        expected = 0.25 * heads["coarse"][kind] + 0.75 * heads["fine"][kind]
        np.testing.assert_allclose(expected, heads["fusion"][kind], rtol=1e-6)


def test_softmax_and_logits_may_disagree():
    logits = {"coarse": np.float32([[9.0, 0.0]]), "fine": np.float32([[0.0, 2.0]])}
    sure = fuse_heads({key: value * 10 for key, value in logits.items()}, 0.5)["fusion"]
    assert sure["logits"][0, 0] - sure["logits"][0, 1] == pytest.approx(35)
    assert sure["softmax"][0, 0] - sure["softmax"][0, 1] == pytest.approx(0, abs=1e-6)


def test_one_head_is_its_own_fusion(rng):
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    heads = fuse_heads({"fusion": logits}, 0.5)
    assert list(heads) == ["fusion"]
    np.testing.assert_array_equal(logits, heads["fusion"]["logits"])


@pytest.mark.parametrize("head", ["coarse", "fine", "fusion"])
@pytest.mark.parametrize("kind", ["softmax", "logits"])
def test_scores_are_read_as_they_were_written(path, heads, head, kind):
    table = read_scores(path, "last", head, kind)
    assert table.names == NAMES
    assert LABELS.tolist() == table.labels.tolist()
    assert (table.epoch, table.class_names) == (9, CLASS_NAMES)
    np.testing.assert_array_equal(heads[head][kind], table.values)


def test_file_has_the_documented_places(path):
    with h5py.File(path) as file:
        assert file["labels"].dtype == np.int16
        assert file["last/fusion/softmax"].dtype == np.float32
        assert file["best_on_test"].attrs["epoch"] == 7


def test_selections_are_listed_with_the_last_first(path):
    assert read_selections(path) == ["last", "best_on_test"]


def test_an_unknown_selection_lists_the_known(path):
    with pytest.raises(
        ValueError, match=r"no 'best' in /; known there: \['best_on_test', 'last'\]"
    ):
        read_scores(path, "best", "fusion", "softmax")


def test_an_unknown_head_lists_the_known(path):
    with pytest.raises(ValueError, match=r"no 'rough' in /last; known there: \['coarse', 'fine', "):
        read_scores(path, "last", "rough", "softmax")


def test_a_file_that_is_no_score_file_is_named(tmp_path):
    (tmp_path / "other.h5").write_text("not HDF5")
    with pytest.raises(ValueError, match=r"other\.h5: expected a score file"):
        read_selections(tmp_path / "other.h5")


def test_a_write_that_fails_leaves_nothing(tmp_path, heads):
    path = tmp_path / "scores.h5"
    broken = {"last": Selection(1, {"fusion": {"softmax": "no array"}})}
    with pytest.raises(AttributeError):
        write_scores(path, names=NAMES, labels=LABELS, class_names=CLASS_NAMES, selections=broken)
    assert not list(tmp_path.iterdir())


def test_measure_gives_every_table_its_accuracies(heads):
    measured = measure({"last": Selection(9, heads)}, LABELS)
    assert measured["last"]["epoch"] == 9
    expected = top_k_accuracy(heads["fine"]["logits"], LABELS, 1)
    assert expected == measured["last"]["fine"]["logits"]["top1"]


def test_classes_csv_counts_every_class_of_every_table(tmp_path, heads):
    path = tmp_path / "classes.csv"
    selections = {"last": Selection(9, heads)}
    write_classes(path, selections=selections, labels=LABELS, class_names=CLASS_NAMES)
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert list(scores_module.CLASSES_HEADER) == list(rows[0])
    assert len(rows) == 3 * 2 * 4
    fusion = [row for row in rows if (row["head"], row["score"]) == ("fusion", "softmax")]
    assert list(CLASS_NAMES) == [row["name"] for row in fusion]
    assert [row["count"] for row in fusion] == ["2", "2", "2", "0"]
    assert fusion[3]["accuracy"] == ""
    right = sum(int(row["correct"]) for row in fusion)
    assert 100 * right / 6 == pytest.approx(top_k_accuracy(heads["fusion"]["softmax"], LABELS, 1))
