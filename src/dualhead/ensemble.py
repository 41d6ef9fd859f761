"""Several modalities as one stream: score files joined by sample id and summed (Sec. 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from dualhead.files import write_json
from dualhead.params import FITTED, Settings
from dualhead.scores import (
    Scores,
    Selection,
    measure,
    read_scores,
    read_selections,
    read_validation_scores,
    write_classes,
    write_scores,
)

SMALLEST = 1e-12  # probability that a logarithm is taken of: one hopeless sample decides nothing


def ensemble(
    members: Mapping[str, Path],
    weights: Mapping[str, float | str],
    *,
    fusion: str,
    scores: Path,
    metrics: Path,
    classes: Path,
    identity: Settings,
) -> None:
    """Sum the members' scores sample by sample; write scores, metrics and classes.

    Each selection that all members have is summed with its like: `best_on_test` is each one's.

    Args:
        members: modality -> its score file.
        weights: modality -> its weight, or `fitted` for each: see `fit_weights`.
        fusion: what is summed: `softmax` (the paper) or `logits` (the official code).
        scores: the score file to write.
        metrics: the metrics.json to write.
        classes: the classes.csv to write.
        identity: benchmark, variant, stream and seed; they head metrics.json.

    Raises:
        ValueError: if the members differ in samples, labels or classes.
    """
    if set(members) != set(weights):
        raise ValueError(f"ensemble of {sorted(members)} has weights for {sorted(weights)}")
    is_fitted = FITTED in weights.values()
    shares = fit_weights(members, fusion) if is_fitted else {m: float(weights[m]) for m in members}
    tables = {
        selection: {
            modality: read_scores(path, selection, "fusion", fusion)
            for modality, path in members.items()
        }
        for selection in _common_selections(members)
    }
    selections = {
        selection: Selection(
            _common_epoch(table), {"fusion": {fusion: _sum(table, shares, members)}}
        )
        for selection, table in tables.items()
    }
    names, labels, _, _, class_names = next(iter(tables["last"].values()))
    write_scores(scores, names=names, labels=labels, class_names=class_names, selections=selections)
    write_classes(classes, selections=selections, labels=labels, class_names=class_names)
    facts = {"num_test": len(names), "num_classes": len(class_names), "fusion": fusion}
    facts |= {"weights": shares, "weights_fitted": is_fitted}
    write_json(metrics, {**identity, **facts, **measure(selections, labels)})


def fit_weights(members: Mapping[str, Path], fusion: str) -> dict[str, float]:
    """Return the weights, at least 0 and 1 in sum, with the least log loss on held-out subjects.

    These took no part in training, and the test set none in this. Log loss and not accuracy: it is
    convex in the weights, so there is one minimum and no step to get stuck on.

    Args:
        members: modality -> its score file, with the scores of the held-out samples.
        fusion: what is summed: `softmax` or `logits`.

    Raises:
        ValueError: if a member's run held no subjects out, or other ones.
    """
    tables = {
        modality: read_validation_scores(path, "fusion", fusion)
        for modality, path in members.items()
    }
    first = next(iter(tables))
    values = [
        table.values[_align(table, tables[first], f"{members[modality]} and {members[first]}")]
        for modality, table in tables.items()
    ]
    weights = least_log_loss(values, tables[first].labels, fusion)
    return dict(zip(members, weights, strict=True))


def least_log_loss(
    scores: Sequence[npt.NDArray[np.float32]], labels: npt.NDArray[np.int64], fusion: str
) -> list[float]:
    """Return the weights of scores, (N, classes) each, whose weighted mean has the least log loss.

    Args:
        scores: of each member, in the same order of samples.
        labels: (N,), 0-based.
        fusion: `softmax`: the scores are probabilities; `logits`: their mean is yet to be one.
    """
    stacked = np.stack(scores).astype(np.float64)
    rows = np.arange(len(labels))

    def log_loss(weights: npt.NDArray[np.float64]) -> float:
        mean = np.tensordot(weights, stacked, 1)
        if fusion == "logits":
            return float(-log_softmax(mean, axis=-1)[rows, labels].mean())
        return float(-np.log(np.maximum(mean[rows, labels], SMALLEST)).mean())

    count = len(scores)
    found = minimize(
        log_loss,
        np.full(count, 1 / count),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        tol=1e-10,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
    )
    weights = np.clip(found.x, 0, None)
    return [round(float(weight), 4) for weight in weights / weights.sum()]


def _sum(
    tables: Mapping[str, Scores], weights: Mapping[str, float], files: Mapping[str, Path]
) -> npt.NDArray[np.float32]:
    """Return the weighted mean of the members' scores, in the order of the first; (N, classes).

    The mean ranks as the sum does, and of softmax scores it is a probability again.
    """
    first = next(iter(tables))
    total = np.zeros(tables[first].values.shape)
    for modality, table in tables.items():
        where = f"{files[modality]} and {files[first]}"
        total += weights[modality] * table.values[_align(table, tables[first], where)]
    return (total / sum(weights.values())).astype(np.float32)


def _align(table: Scores, reference: Scores, where: str) -> npt.NDArray[np.int64]:
    """Return the position in `table` of each sample of `reference`.

    Raises:
        ValueError: unless both hold the same samples, once each, with the same labels.
    """
    if table.class_names != reference.class_names:
        raise ValueError(
            f"{where}: {len(table.class_names)} and {len(reference.class_names)} classes, "
            "or other names; streams of one ensemble need the same dataset"
        )
    position = {name: index for index, name in enumerate(table.names)}
    _refuse_other_samples(table.names, reference.names, where)
    order = np.array([position[name] for name in reference.names], dtype=np.int64)
    differing = np.flatnonzero(table.labels[order] != reference.labels)
    if len(differing):
        example = reference.names[differing[0]]
        raise ValueError(f"{where}: {len(differing)} samples have other labels, such as {example}")
    return order


def _refuse_other_samples(names: list[str], reference: list[str], where: str) -> None:
    here, there = set(names), set(reference)
    for which, samples in ((names, here), (reference, there)):
        if len(which) != len(samples):
            raise ValueError(f"{where}: {len(which) - len(samples)} sample ids stand there twice")
    if here != there:
        raise ValueError(
            f"{where} were not scored on the same samples: {_examples(here - there)} only in the "
            f"first, {_examples(there - here)} only in the second; evaluate both on one store"
        )


def _examples(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} ({shown})" if names else "none"


def _common_selections(members: Mapping[str, Path]) -> list[str]:
    known = [read_selections(path) for path in members.values()]
    common = [name for name in known[0] if all(name in others for others in known)]
    if "last" not in common:
        raise ValueError(
            f"{[str(path) for path in members.values()]}: not all have scores of `last`"
        )
    return common


def _common_epoch(tables: Mapping[str, Scores]) -> int | None:
    epochs = {table.epoch for table in tables.values()}
    return epochs.pop() if len(epochs) == 1 else None
