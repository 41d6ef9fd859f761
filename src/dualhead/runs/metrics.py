"""Accuracies of scores, in percent: top-k, per class, mean over classes; and confusion. Numpy only.

A tie counts against the label: a sample is among the top k only if fewer than k other classes
score at least as much. The authors sort with an unstable argsort, so that a tie there falls to
whatever the sort does; the rule here needs no luck, and constant scores earn nothing. A score that
is not a number counts against the label too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]


def label_ranks(scores: Floats, labels: Labels) -> npt.NDArray[np.int64]:
    """Return the number of other classes that score at least as much as each sample's label.

    Args:
        scores: (N, classes), higher is better.
        labels: (N,), 0-based.
    """
    own = scores[np.arange(len(labels)), labels]
    ranks: npt.NDArray[np.int64] = (~(scores < own[:, None])).sum(axis=1, dtype=np.int64) - 1
    return ranks


def top_k_accuracy(scores: Floats, labels: Labels, k: int) -> float:
    """Return the percentage of samples whose label is among the k best classes."""
    return float(100 * np.mean(label_ranks(scores, labels) < k))


def class_counts(
    scores: Floats, labels: Labels
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each class's number of samples, and of those with top-1 right; (classes,) both."""
    num_classes = scores.shape[1]
    right = labels[label_ranks(scores, labels) < 1]
    return np.bincount(labels, minlength=num_classes), np.bincount(right, minlength=num_classes)


def class_accuracy(scores: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """Return the top-1 accuracy of each class, (classes,); NaN for one without samples."""
    count, correct = class_counts(scores, labels)
    accuracy = np.full(len(count), np.nan)
    np.divide(100.0 * correct, count, out=accuracy, where=count > 0)
    return accuracy


def mean_class_accuracy(scores: Floats, labels: Labels) -> float:
    """Return the mean top-1 accuracy over the classes that have samples."""
    return float(np.nanmean(class_accuracy(scores, labels)))


def accuracies(scores: Floats, labels: Labels) -> dict[str, float]:
    """Return top1, top5 and mean_class."""
    return {
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "mean_class": mean_class_accuracy(scores, labels),
    }


def confusion_matrix(scores: Floats, labels: Labels) -> npt.NDArray[np.int64]:
    """Return the number of samples of each class (row) by predicted class (column), (classes, classes).

    A tie between the best goes to the first of them, as argmax has it.
    """
    num_classes = scores.shape[1]
    cells = labels.astype(np.int64) * num_classes + np.argmax(scores, axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
