import numpy as np
import pytest

from dualhead.runs import metrics


def slow_top_k(scores, labels, k):
    hits = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        better = [
            value for index, value in enumerate(row) if index != label and value >= row[label]
        ]
        hits += len(better) < k
    return 100 * hits / len(labels)


@pytest.fixture
def scores(rng):
    return rng.normal(size=(200, 9)).astype(np.float32)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 8, 200)  # class 8 has no sample


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_equals_counting_one_by_one(scores, labels, k):
    assert slow_top_k(scores, labels, k) == pytest.approx(metrics.top_k_accuracy(scores, labels, k))


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_without_ties_equals_sorting(scores, labels, k):
    best = np.argsort(scores, axis=1)[:, -k:]
    expected = 100 * np.mean([label in row for row, label in zip(best, labels, strict=True)])
    assert expected == pytest.approx(metrics.top_k_accuracy(scores, labels, k))


def test_constant_scores_earn_nothing():
    scores, labels = np.zeros((4, 6)), np.arange(4)
    assert metrics.top_k_accuracy(scores, labels, 1) == 0
    assert metrics.top_k_accuracy(scores, labels, 5) == 0


def test_a_score_that_is_not_a_number_earns_nothing():
    scores = np.array([[np.nan, 0.1, 0.2], [0.9, np.nan, 0.1]])
    assert metrics.top_k_accuracy(scores, np.array([0, 0]), 1) == 0


def test_worked_example():
    scores = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    labels = np.array([0, 0, 2, 1])
    assert metrics.accuracies(scores, labels) == {
        "top1": 75.0,
        "top5": 100.0,
        "mean_class": pytest.approx((50 + 100 + 100) / 3),
    }
    assert metrics.confusion_matrix(scores, labels).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_class_accuracy_equals_top_1_of_the_class_alone(scores, labels):
    accuracy = metrics.class_accuracy(scores, labels)
    for index in range(8):
        own = labels == index
        expected = metrics.top_k_accuracy(scores[own], labels[own], 1)
        assert expected == pytest.approx(accuracy[index])
    assert np.isnan(accuracy[8])


def test_mean_class_accuracy_leaves_out_classes_without_samples(scores, labels):
    expected = np.mean(metrics.class_accuracy(scores, labels)[:8])
    assert expected == metrics.mean_class_accuracy(scores, labels)


def test_confusion_counts_every_sample_once(scores, labels):
    confusion = metrics.confusion_matrix(scores, labels)
    assert confusion.sum(1).tolist() == np.bincount(labels, minlength=9).tolist()
    assert 100 * np.trace(confusion) / 200 == metrics.top_k_accuracy(scores, labels, 1)
