"""Score files: the scores of every sample by its id, and the accuracies that follow from them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import h5py
import numpy as np
import numpy.typing as npt
from scipy import special

from dualhead.files import check_seal, write_csv, write_sealed
from dualhead.hdf5 import open_hdf5, try_unsealed
from dualhead.runs.metrics import accuracies, class_counts

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Heads = Mapping[str, Mapping[str, Array]]
"""Head (coarse, fine, fusion) -> logits or softmax -> (N, classes)."""

Kind = TypeVar("Kind", "Array", "Tensor")

SCHEMA = 2  # 1 was not sealed
WHAT = "a score file as `dualhead evaluate` writes it"
HISTORY_REMEDY = "restore it from a copy; without the file, `snakemake` would train the run again"
REMEDY = "in a workspace, remove this file alone: `snakemake` makes it again without training"
VALIDATION = "validation"  # the group of the held-out samples: a score file within the score file
ATTENTION = "attention"  # the group of attention maps
CLASSES_HEADER = ("selection", "head", "score", "class", "name", "count", "correct", "accuracy")


class Selection(NamedTuple):
    """The scores of one choice of weights: `last`, `best_on_validation` or `best_on_test`."""

    epoch: int | None  # None for an ensemble of different epochs
    heads: Heads


class Scored(NamedTuple):
    """Samples and their scores under each choice of weights."""

    names: Sequence[str]
    labels: Labels  # (n,), 0-based
    selections: Mapping[str, Selection]


class Attention(NamedTuple):
    """Attention maps over some recordings (Eqs. 8 and 10), by the weights of the last epoch."""

    names: Sequence[str]
    times: npt.NDArray[np.int64]  # (n, T), which frame of the recording each of the network's is
    maps: Mapping[str, Array]  # frames_1, frames_2: (n, M, T'); joints_1, joints_2: (n, M, V)


class Scores(NamedTuple):
    """One table of a score file."""

    names: list[str]
    labels: Labels  # (N,), 0-based; -1 where unknown
    values: Array  # (N, classes)
    epoch: int | None
    class_names: tuple[str, ...]


def softmax(logits: Array) -> Array:
    """Return the softmax over the last axis (Eqs. 12 and 13)."""
    probabilities: Array = special.softmax(logits.astype(np.float64), axis=-1).astype(np.float32)
    return probabilities


def fuse(coarse: Kind, fine: Kind, weight: float) -> Kind:
    """Return the weighted mean of both heads' scores (Eq. 14).

    Args:
        coarse: the coarse head's, (N, classes).
        fine: the fine head's, (N, classes).
        weight: mu, the share of the coarse head.
    """
    return weight * coarse + (1 - weight) * fine


def fuse_heads(logits: Mapping[str, Array], weight: float) -> dict[str, dict[str, Array]]:
    """Return logits and softmax of each head and of their fusion (Eq. 14).

    The paper averages softmax scores, the official code averages logits; both are returned.

    Args:
        logits: those of `coarse` and `fine`, or of `fusion` alone (one head); (N, classes) each.
        weight: mu, the share of the coarse head.
    """
    heads = {
        head: {"logits": values, "softmax": softmax(values)} for head, values in logits.items()
    }
    if "fusion" not in heads:
        coarse, fine = heads["coarse"], heads["fine"]
        heads["fusion"] = {kind: fuse(coarse[kind], fine[kind], weight) for kind in coarse}
    return heads


def write_scores(
    path: Path,
    names: Sequence[str],
    labels: Labels,
    class_names: Sequence[str],
    selections: Mapping[str, Selection],
    *,
    validation: Scored | None = None,
    attention: Attention | None = None,
    identity: Mapping[str, object] | None = None,
) -> None:
    """Write a score file, whole or not at all.

    Beside the test samples' scores, `validation` is what held-out samples scored, and `identity`
    says whose scores they are.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["identity"] = json.dumps(identity_of(identity or {}))
        file.attrs["class_names"] = json.dumps(list(class_names))
        _write_samples(file, Scored(names, labels, selections))
        if validation:
            _write_samples(file.create_group(VALIDATION), validation)
        if attention:
            _write_attention(file.create_group(ATTENTION), attention)
    write_sealed(path, buffer.getbuffer())


def _write_attention(group: h5py.Group, attention: Attention) -> None:
    group.create_dataset("names", data=list(attention.names), dtype=h5py.string_dtype())
    group["times"] = attention.times.astype(np.int32)
    for name, values in attention.maps.items():
        group[f"maps/{name}"] = values.astype(np.float32)


def has_attention(path: Path) -> bool:
    """Return whether a score file holds attention maps."""
    with _open(path) as file:
        return ATTENTION in file


def read_attention(path: Path) -> Attention:
    """Return the attention maps over each class's first test recording.

    Raises:
        ValueError: if the file is no score file, or its network has no attention.
    """
    with _open(path) as file:
        if ATTENTION not in file:
            raise ValueError(
                f"{path}: no attention maps; the network has none, or an older version wrote the "
                "file: delete it, and `snakemake` makes it anew from the checkpoint"
            )
        group = file[ATTENTION]
        maps = {name: values[:] for name, values in group["maps"].items()}
        return Attention(list(group["names"].asstr()[:]), group["times"][:].astype(np.int64), maps)


def attention_to(attention: Attention, place: int) -> Attention:
    """Return the maps of one recording alone, by its place among them."""
    part = slice(place, place + 1)
    maps = {name: values[part] for name, values in attention.maps.items()}
    return Attention([*attention.names[part]], attention.times[part], maps)


def _write_samples(where: h5py.Group, scored: Scored) -> None:
    """Write names, labels and scores of some samples; the file itself and `validation` are alike."""
    where.create_dataset("names", data=list(scored.names), dtype=h5py.string_dtype())
    where["labels"] = scored.labels.astype(np.int16)
    for name, selection in scored.selections.items():
        group = where.create_group(name)
        if selection.epoch is not None:
            group.attrs["epoch"] = selection.epoch
        for head, kinds in selection.heads.items():
            for kind, values in kinds.items():
                group[f"{head}/{kind}"] = values.astype(np.float32)


def read_scores(path: Path, selection: str, head: str, kind: str) -> Scores:
    """Return one table of the test samples' scores.

    Args:
        path: the file.
        selection: choice of weights: `last`, `best_on_validation` or `best_on_test`.
        head: `coarse`, `fine` or `fusion`.
        kind: `softmax` or `logits`.

    Raises:
        ValueError: if the file is no score file, or has no such table.
    """
    with _open(path) as file:
        return _read_table(file, file, (selection, head, kind))


def read_validation_scores(path: Path, head: str, kind: str) -> Scores:
    """Return one table of the held-out samples' scores, by the weights of the last epoch.

    Raises:
        ValueError: if the file is no score file, or its run held no subjects out.
    """
    with _open(path) as file:
        if VALIDATION not in file:
            raise ValueError(
                f"{path}: no scores of held-out subjects; its run trained on all of them: give it "
                "train.validation above 0, or the ensemble weights that are numbers"
            )
        return _read_table(file, file[VALIDATION], ("last", head, kind))


def _read_table(file: h5py.File, where: h5py.Group, steps: tuple[str, str, str]) -> Scores:
    group: h5py.Group | h5py.Dataset = where
    for step in steps:
        if step not in group:
            known = sorted(
                key for key in group if key not in ("names", "labels", VALIDATION, ATTENTION)
            )
            raise ValueError(f"{file.filename}: no {step!r} in {group.name}; known there: {known}")
        group = group[step]
    epoch = where[steps[0]].attrs.get("epoch")
    return Scores(
        names=list(where["names"].asstr()[:]),
        labels=where["labels"][:].astype(np.int64),
        values=group[:],
        epoch=None if epoch is None else int(epoch),
        class_names=tuple(json.loads(file.attrs["class_names"])),
    )


IDENTITY = ("benchmark", "variant", "stream", "seed", "address")
"""Facts that name a run or an ensemble, in its metrics.json and in its score file."""


def identity_of(facts: Mapping[str, object]) -> dict[str, str]:
    """Return the identity of a run or an ensemble, as far as these facts hold it."""
    return {key: str(facts[key]) for key in IDENTITY if key in facts}


def address_of(path: Path) -> dict[str, str]:
    """Return the address that the folder of a run's or an ensemble's file ends in, if it does."""
    found = re.fullmatch(r"seed\d+-([0-9a-f]{8})", path.parent.name)
    return {"address": found[1]} if found else {}


def refuse_foreign(path: Path, facts: Mapping[str, object]) -> None:
    """Refuse a score file that says it is another run's than these facts and its folder.

    Raises:
        ValueError: naming both.
    """
    with _open(path) as file:
        found = identity_of(json.loads(file.attrs.get("identity", "{}")))
    expected = identity_of(facts) | address_of(path)
    if any(found[key] != expected[key] for key in found.keys() & expected.keys()):
        raise ValueError(
            f"{path}: expected the scores of {'/'.join(expected.values())}, found another run's, "
            f"{'/'.join(found.values())}; it was copied or swapped; {REMEDY}"
        )


def read_selections(path: Path) -> list[str]:
    """Return the selections that a score file has, `last` first."""
    with _open(path) as file:
        groups = {name for name in file if isinstance(file[name], h5py.Group)}
        names = groups - {VALIDATION, ATTENTION}
    return sorted(names, key=lambda name: (name != "last", name))


def measure(selections: Mapping[str, Selection], labels: Labels) -> dict[str, object]:
    """Return the accuracies of every table, as metrics.json holds them, in percent."""
    return {
        name: {"epoch": selection.epoch}
        | {
            head: {kind: accuracies(values, labels) for kind, values in kinds.items()}
            for head, kinds in selection.heads.items()
        }
        for name, selection in selections.items()
    }


def write_classes(
    path: Path,
    *,
    selections: Mapping[str, Selection],
    labels: Labels,
    class_names: Sequence[str],
) -> None:
    """Write the accuracy of every class in every table; empty where a class has no test sample."""
    write_csv(path, CLASSES_HEADER, _class_rows(selections, labels, class_names))


def _class_rows(
    selections: Mapping[str, Selection], labels: Labels, class_names: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    for selection, (_, heads) in selections.items():
        for head, kinds in heads.items():
            for kind, values in kinds.items():
                counts = zip(*class_counts(values, labels), strict=True)
                for index, (count, correct) in enumerate(counts):
                    accuracy = f"{100 * correct / count:.4f}" if count else ""
                    name = class_names[index]
                    yield selection, head, kind, index, name, count, correct, accuracy


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Open a score file for reading, after comparing its bytes with its seal."""
    if not (is_sealed := check_seal(path, REMEDY)):
        try_unsealed(path, WHAT, REMEDY)
    with open_hdf5(path, WHAT, REMEDY) as file:
        schema = int(file.attrs.get("schema", 0))
        if (schema, is_sealed) not in ((SCHEMA, True), (1, False)):
            raise ValueError(
                f"{path}: expected a sealed score file of schema {SCHEMA}, found schema {schema}, "
                f"{'sealed' if is_sealed else 'not sealed'}; {REMEDY}"
            )
        yield file
