"""Several modalities as one stream: score files joined by sample id and summed (Sec. 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from dualhead.files import digest_of, write_record
from dualhead.runs.scores import (
    Scores,
    Selection,
    measure,
    read_scores,
    read_selections,
    read_validation_scores,
    refuse_foreign,
    write_classes,
    write_scores,
)
from dualhead.settings.defaults import FITTED
from dualhead.settings.params import Settings

Floats = npt.NDArray[np.float64]
LARGEST_SCALE = 1000.0  # of a member's scores; reached only if the sum is right on every sample


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
        fusion: kind of scores to sum: `softmax` (the paper) or `logits` (the official code).
        scores: the score file to write.
        metrics: the metrics.json to write.
        classes: the classes.csv to write.
        identity: benchmark, variant, stream, seed and address; they head metrics.json.

    Raises:
        ValueError: if the members differ in samples, labels or classes, or are another cell's.
    """
    if set(members) != set(weights):
        raise ValueError(f"ensemble of {sorted(members)} has weights for {sorted(weights)}")
    for modality, path in members.items():
        whose = {key: value for key, value in identity.items() if key != "address"}
        refuse_foreign(path, {**whose, "stream": modality})
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
    write_scores(
        scores,
        names=names,
        labels=labels,
        class_names=class_names,
        selections=selections,
        identity=identity,
    )
    write_classes(classes, selections=selections, labels=labels, class_names=class_names)
    facts = {"num_test": len(names), "num_classes": len(class_names), "fusion": fusion}
    facts |= {"weights": shares, "weights_fitted": is_fitted}
    files = {path.name: digest_of(path) for path in (scores, classes)}
    write_record(metrics, {**identity, **facts, **measure(selections, labels)}, files)


def fit_weights(members: Mapping[str, Path], fusion: str) -> dict[str, float]:
    """Return the weights that do best on held-out subjects: see `least_log_loss`.

    These took no part in training, and the test set none in this.

    Args:
        members: modality -> its score file, which holds the scores of the held-out samples.
        fusion: kind of scores to sum: `softmax` or `logits`.

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
    weights = least_log_loss(values, tables[first].labels)
    return dict(zip(members, weights, strict=True))


def least_log_loss(
    scores: Sequence[npt.NDArray[np.float32]], labels: npt.NDArray[np.int64]
) -> list[float]:
    """Return the weights, at least 0 and 1 in sum, that make the best classifier of summed scores.

    It is a logistic regression with one coefficient a member: the labels' log loss under the
    softmax of the weighted sum times a scale, least over weights and scale. The scale is free
    because a sum of scores only ranks classes; without it, the most confident member would win.

    Args:
        scores: each member's, (N, classes), softmax or logits, in the same order of samples.
        labels: (N,), 0-based.
    """
    stacked = np.stack(scores).astype(np.float64)
    rows = np.arange(len(labels))

    def log_loss(scales: Floats) -> tuple[float, Floats]:
        logs = log_softmax(np.tensordot(scales, stacked, 1), axis=-1)
        errors = np.exp(logs)
        errors[rows, labels] -= 1
        return float(-logs[rows, labels].mean()), np.tensordot(stacked, errors, 2) / len(labels)

    bounds = [(0, LARGEST_SCALE)] * len(scores)
    found = minimize(log_loss, np.ones(len(scores)), jac=True, method="L-BFGS-B", bounds=bounds)
    scales = found.x if found.x.any() else np.ones(len(scores))  # none knows anything: all alike
    return [round(float(share), 4) for share in scales / scales.sum()]


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
