"""Predictions of trained networks: for stores, for raw recordings, for windows, and as frames come in."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from dualhead.arrays import Array, Integers
from dualhead.data.records import Record, write_store
from dualhead.data.store import Store
from dualhead.files import digest_of, write_record
from dualhead.hdf5 import is_hdf5
from dualhead.layout import SkeletonLayout
from dualhead.models.checkpoint import layout_of, load, load_checkpoint
from dualhead.runs.answers import (
    Answer,
    Output,
    stream_of,
    text_of,
    write_answers,
    write_segments,
)
from dualhead.runs.batches import load_split
from dualhead.runs.evaluate import score_split
from dualhead.runs.inference import choose_device
from dualhead.runs.metrics import accuracies
from dualhead.runs.partition import check_network
from dualhead.runs.recordings import (
    Piece,
    Source,
    Windows,
    follow,
    growing_lines,
    header_for,
    labels_of,
    lines_of,
    prepared_store,
    source_for,
)
from dualhead.runs.scores import Selection, measure, write_scores
from dualhead.settings.params import Settings
from dualhead.settings.run import ScoreSettings

BATCH_SIZE = 16


class Network(NamedTuple):
    """A trained network with what it has to know of its recordings."""

    path: Path
    content: Settings
    model: nn.Module


class Ensemble(NamedTuple):
    """Networks that answer together: the mean of their fused softmax scores (Sec. 3.7)."""

    networks: tuple[Network, ...]
    layout: SkeletonLayout
    class_names: tuple[str, ...]  # empty if no checkpoint knows them
    num_classes: int
    device: torch.device

    def source(self, recordings: Settings, windows: Windows) -> Source:
        """Return the preparation of raw recordings for these networks.

        Raises:
            ValueError: if the checkpoint does not say how its recordings were prepared.
        """
        first = self.networks[0]
        if first.content["preparation"] is None:
            raise ValueError(
                f"{first.path}: it does not say how its recordings were prepared; give a store that "
                "`dualhead prepare` made in the same way, or convert its weights anew"
            )
        return source_for(self.layout, first.content["preparation"], recordings, windows)


def load_ensemble(checkpoints: Sequence[Path], device: str) -> Ensemble:
    """Load checkpoints whose scores are to be averaged.

    Raises:
        ValueError: if they differ in layout, bodies, classes or preparation of their recordings.
    """
    where = choose_device(device)
    contents = [load_checkpoint(path) for path in checkpoints]
    layouts = [layout_of(one, path) for one, path in zip(contents, checkpoints, strict=True)]
    facts = [
        {
            "layout": layout.to_mapping(),
            "number of classes": one["num_classes"],
            "number of bodies": one["config"]["max_bodies"],
            "preparation": one["preparation"],
        }
        for one, layout in zip(contents, layouts, strict=True)
    ]
    for path, own in zip(checkpoints, facts, strict=True):
        differing = [key for key, value in own.items() if value != facts[0][key]]
        if differing:
            raise ValueError(
                f"{checkpoints[0]} and {path}: their {', '.join(differing)} differ, so they cannot "
                "answer together; give checkpoints that were trained on one store"
            )
    models = [load(path, device=where) for path in checkpoints]
    networks = map(Network, checkpoints, contents, models)
    names = next((one["class_names"] for one in contents if one["class_names"]), ())
    return Ensemble(tuple(networks), layouts[0], tuple(names), contents[0]["num_classes"], where)


def predict(
    checkpoints: Sequence[Path],
    sources: Sequence[Path],
    output: Output,
    *,
    device: str,
    recordings: Settings,
    windows: Windows = Windows(0, 0),  # noqa: B008  # a tuple, which nothing can change
    split: str = "",
    segments: Path | None = None,
    scores: Path | None = None,
    metrics: Path | None = None,
) -> str:
    """Score recordings with the checkpoints' last weights; write what they show.

    Args:
        checkpoints: one, or several whose fused softmax scores are averaged.
        sources: stores, or raw recordings: files, folders, archives.
        output: place of the answers: recording, label where known, best class by its number from 1,
            its name and probability, and the five best as `class:probability`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        recordings: settings of raw recordings.
        windows: length and stride of the windows of raw recordings.
        split: split of a store whose test recordings are taken; empty: all recordings.
        segments: CSV of neighboring windows of one class, merged.
        scores: score file of the labelled recordings.
        metrics: JSON of their accuracies.

    Returns:
        The accuracies in one line, if labels are known; else nothing.

    Raises:
        ValueError: for a store whose skeleton, bodies or preparation is not the network's, raw
            recordings that cannot be read, or scores that are no numbers.
    """
    ensemble = load_ensemble(checkpoints, device)
    answers: list[Answer] = []
    stores = [path for path in sources if path.is_file() and is_hdf5(path)]
    raw = [path for path in sources if path not in stores]
    if stores and windows.length:
        raise ValueError(
            f"{stores[0]}: its recordings are prepared whole; --window cuts raw recordings, so give "
            "those"
        )
    for path in stores:
        answers += _answer_store(ensemble, path, split)
    if raw:
        answers += answer_recordings(ensemble, raw, recordings, windows)
    names = ensemble.class_names or _names_in(stores, ensemble.num_classes)
    write_answers(output, answers, names, windowed=windows.length > 0)
    if segments:
        write_segments(segments, answers, names)
    return _measure(ensemble, answers, scores, metrics)


def answer_recordings(
    ensemble: Ensemble, paths: Sequence[Path], recordings: Settings, windows: Windows
) -> list[Answer]:
    """Return the answers for raw recordings.

    Args:
        ensemble: the networks.
        paths: files, folders or archives of recordings.
        recordings: settings of them.
        windows: length and stride of their windows.

    Raises:
        ValueError: for recordings that cannot be read, or scores that are no numbers.
    """
    source = ensemble.source(recordings, windows)
    with prepared_store(paths, source, ensemble.class_names) as (store, pieces):
        return _answers(ensemble, store, np.arange(len(store)), pieces)


def _names_in(stores: Sequence[Path], num_classes: int) -> tuple[str, ...]:
    """Return the class names of the first store with as many, for checkpoints that know none."""
    for path in stores:
        with Store(path) as store:
            if store.num_classes == num_classes:
                return tuple(store.class_names)
    return ()


def _answer_store(ensemble: Ensemble, path: Path, split: str) -> list[Answer]:
    with Store(path) as store:
        for network in ensemble.networks:
            check_network(network.content, store, network.path)
        positions = store.split(split)[1] if split else np.arange(len(store))
        known = len(store.class_names) == ensemble.num_classes
        pieces = [
            Piece(
                store.names[i],
                0,
                int(store.num_frames[i]) - 1,
                int(store.labels[i]) if known else -1,
            )
            for i in positions.tolist()
        ]
        return _answers(ensemble, store, positions, pieces)


def _answers(
    ensemble: Ensemble, store: Store, positions: Integers, pieces: Sequence[Piece]
) -> list[Answer]:
    """Return the mean of the networks' scores for some samples of a store.

    Raises:
        ValueError: if a score is no number, naming the recording.
    """
    split = load_split(store, positions, ensemble.device)
    total = np.zeros((len(pieces), ensemble.num_classes))
    for network in ensemble.networks:
        scoring = ScoreSettings.of(network.content["config"])
        total += score_split(network.model, split, scoring, BATCH_SIZE)["fusion"]["softmax"]
    scores = (total / len(ensemble.networks)).astype(np.float32)
    refuse_no_numbers(scores, pieces)
    return [*map(Answer, pieces, scores)]


def refuse_no_numbers(scores: Array, pieces: Sequence[Piece]) -> None:
    """Raise ValueError if a score is no number, naming the recording."""
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"{pieces[wrong[0]].name}: the network's scores of it are no numbers, as those of "
            f"{len(wrong)} of {len(pieces)} recordings; its weights are damaged or its training "
            "diverged. Take another checkpoint"
        )


def predict_frames(
    checkpoints: Sequence[Path],
    frames: Path | None,
    output: Output,
    *,
    device: str,
    recordings: Settings,
    windows: Windows,
    idle: float,
) -> None:
    """Answer for windows of frames that come in, a line each, as soon as each window is whole.

    Args:
        checkpoints: see `predict`.
        frames: the file that grows; None: standard input.
        output: place of the answers; each is written when it is known.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        recordings: settings of the frames.
        windows: their length and stride.
        idle: seconds without a new line that end a file.
    """
    ensemble = load_ensemble(checkpoints, device)
    source = ensemble.source(recordings, windows)
    name = "-" if frames is None else frames.stem
    lines = lines_of(sys.stdin) if frames is None else growing_lines(frames, idle)
    with stream_of(output) as stream, tempfile.TemporaryDirectory(prefix="dualhead-") as folder:
        is_first = True
        for piece, prepared in follow(lines, name, source):
            path = Path(folder, "window.h5")
            record = Record("window", -1, {}, prepared.bodies, prepared.num_frames)
            write_store(path, [record], header=header_for(source, ensemble.class_names), splits={})
            with Store(path) as store:
                answers = _answers(ensemble, store, np.arange(1), [piece])
            text = text_of(answers, ensemble.class_names, output, windowed=True)
            stream.write(text if is_first or output.is_json else text.split("\n", 1)[1])
            stream.flush()
            is_first = False


def _measure(
    ensemble: Ensemble, answers: Sequence[Answer], scores: Path | None, metrics: Path | None
) -> str:
    """Write scores and accuracies of the labelled recordings; return the accuracies in one line."""
    labels = labels_of([answer.piece for answer in answers])
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        if scores or metrics:
            raise ValueError(
                "--scores and --metrics: expected recordings with labels of the network's classes, "
                "found none; leave these options out, or give a labelled store"
            )
        return ""
    values, labels = np.stack([answers[i].scores for i in known.tolist()]), labels[known]
    names = [answers[i].piece.name for i in known.tolist()]
    selections = {"last": Selection(None, {"fusion": {"softmax": values}})}
    class_names = ensemble.class_names or [f"class {k + 1}" for k in range(ensemble.num_classes)]
    if scores:
        write_scores(scores, names, labels, class_names, selections)
    if metrics:
        facts: Settings = {"checkpoints": [str(network.path) for network in ensemble.networks]}
        facts |= {"num_test": len(labels), "num_classes": ensemble.num_classes}
        files = {scores.name: digest_of(scores)} if scores else {}
        write_record(metrics, {**facts, **measure(selections, labels)}, files)
    found = accuracies(values, labels)
    return (
        f"top-1 {found['top1']:.2f} %, top-5 {found['top5']:.2f} %, mean over classes "
        f"{found['mean_class']:.2f} % of {len(labels)} labelled recordings"
    )
