"""The samples of a store that a run trains on, holds out and tests, and refusals of another store."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.data.leakage import refuse_overlap
from dualhead.models.checkpoint import layout_of
from dualhead.settings.params import Settings, address
from dualhead.settings.run import RunConfig

if TYPE_CHECKING:
    from pathlib import Path

    from dualhead.data.store import Store


def check_store(store: Store, config: RunConfig, num_classes: int | None = None) -> None:
    """Refuse a store that is not the one a run was configured for.

    Args:
        store: the dataset.
        config: the run's complete settings.
        num_classes: classes that the run's network tells apart; None before there is one.

    Raises:
        ValueError: if its dataset, settings or classes differ, it has no such split, or one whose
            training samples include test samples.
    """
    path, kind = store.path, store.attributes["dataset"]
    if kind != config.kind:
        raise ValueError(
            f"{path}: expected a store of {config.kind}, found one of {kind}; "
            f"give the store that the configuration names, {config.store}"
        )
    made = str(store.attributes.get("address", "")) or config.store
    if made != config.store or store.max_bodies != config.max_bodies:
        raise ValueError(
            f"{path}: a store made with other settings: expected {config.store} with "
            f"{config.max_bodies} bodies, found {made} with {store.max_bodies}, prepared with "
            f"{store.attributes['settings']}; give the store that the configuration names"
        )
    if num_classes not in (None, store.num_classes):
        raise ValueError(
            f"{path}: expected {num_classes} classes, as the network tells apart, found "
            f"{store.num_classes}; give the store that it was trained on"
        )
    refuse_overlap(store, config.split)
    _refuse_unlabelled(store, config.split)


def _refuse_unlabelled(store: Store, split: str) -> None:
    """Refuse a split with samples of no class, or without any because all are of no class."""
    used = np.concatenate(store.split(split))
    unknown = int((store.labels[used] < 0).sum()) if len(used) else int((store.labels < 0).sum())
    if unknown:
        of = f"of split {split}" if len(used) else "there, so that split is empty"
        raise ValueError(
            f"{store.path}: {unknown} of {len(used) or len(store)} samples {of}, have no label; "
            "training and evaluation need one: name their classes (labels.csv) and prepare them "
            "again, or use `dualhead predict`"
        )


def check_network(content: Settings, store: Store, checkpoint: Path) -> None:
    """Refuse a store whose skeleton, bodies or preparation differ from those a network was trained on.

    Args:
        content: content of the checkpoint; one that does not know its preparation accepts any.
        store: the recordings.
        checkpoint: path of the checkpoint, for messages.

    Raises:
        ValueError: if skeleton, number of bodies or preparation differ.
    """
    layout, bodies = layout_of(content, checkpoint), content["config"]["max_bodies"]
    if (store.layout, store.max_bodies) != (layout, bodies):
        same_name = store.layout.name == layout.name and store.layout != layout
        other = " with other joints, bones or edges" if same_name else ""
        raise ValueError(
            f"{store.path}: skeletons of layout {store.layout.name}, at most {store.max_bodies} "
            f"bodies; {checkpoint} expects {layout.name}{other}, {bodies}; prepare them as that "
            "network's were"
        )
    trained, prepared = content["preparation"], store.attributes["settings"]
    if trained is not None and address(trained) != address(prepared):
        raise ValueError(
            f"{store.path}: a store made with other settings, {prepared}, than that which {checkpoint} "
            f"was trained on, {trained}; prepare it as that one was"
        )


class Positions(NamedTuple):
    """Positions in a store of the samples that a run uses, ascending, int64 each."""

    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]  # of the held-out subjects; empty if there are none
    test: npt.NDArray[np.int64]


def split_positions(store: Store, config: RunConfig) -> Positions:
    """Return the positions of a run's training, held-out and test samples.

    `train.validation` of the training split's subjects are held out, with every recording of
    theirs. Which ones follows from their numbers alone, so that all seeds, modalities and variants
    of a benchmark hold out the same, and a larger share holds out those of a smaller one too.

    Raises:
        ValueError: if subjects are to be held out, but are not known, or there is only one.
    """
    training, test = store.split(config.split)
    share = config.train.validation
    if share == 0:
        return Positions(training, training[:0], test)
    subjects = _subjects(store, training)
    held_out = np.isin(subjects, _choose_subjects(subjects, share, store))
    return Positions(training[~held_out], training[held_out], test)


def _subjects(store: Store, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if "subject" not in store.meta:
        raise ValueError(
            f"{store.path}: train.validation holds subjects out, but the store does not say who "
            f"acts (its columns: {', '.join(store.meta) or 'none'}); set train.validation: 0 here"
        )
    return store.meta["subject"][positions]


def _choose_subjects(subjects: npt.NDArray[np.int64], share: float, store: Store) -> list[int]:
    """Return at least one subject and not all, by the order of the hashes of their numbers."""
    known = sorted(set(subjects.tolist()), key=lambda one: sha256(str(one).encode()).digest())
    if len(known) < 2:
        raise ValueError(
            f"{store.path}: train.validation holds subjects out, which takes 2 in the training "
            f"split; found {len(known)}. Set train.validation: 0 here"
        )
    return known[: min(max(1, round(share * len(known))), len(known) - 1)]
