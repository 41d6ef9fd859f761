"""Networks' views of recordings: the scores of their heads, and their attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dualhead.arrays import Array, Integers
from dualhead.data.store import Store
from dualhead.runs.batches import load_split
from dualhead.runs.evaluate import attend, score_split
from dualhead.runs.predict import BATCH_SIZE, Ensemble, refuse_no_numbers
from dualhead.runs.recordings import Piece
from dualhead.runs.scores import Attention
from dualhead.settings.run import ScoreSettings


class Observed(NamedTuple):
    """The scores and the attention of one network."""

    heads: dict[
        str, Array
    ]  # fusion, and coarse and fine where there are two: (n, classes), softmax
    attention: Attention | None  # over all n; None without attention, or if it was not asked for


def observe(
    ensemble: Ensemble,
    store: Store,
    positions: Integers,
    pieces: Sequence[Piece],
    *,
    attention: bool,
) -> list[Observed]:
    """Return each network's scores and attention for some samples of a store.

    Args:
        ensemble: the networks, which answer each by itself.
        store: prepared as theirs was.
        positions: (n,), the samples.
        pieces: the recordings or windows, for messages.
        attention: whether the networks' attention is wanted too.

    Raises:
        ValueError: if a score is no number.
    """
    split = load_split(store, positions, ensemble.device)
    observed = []
    for network in ensemble.networks:
        scoring = ScoreSettings.of(network.content["config"])
        heads = {
            head: kinds["softmax"]
            for head, kinds in score_split(network.model, split, scoring, BATCH_SIZE).items()
        }
        refuse_no_numbers(heads["fusion"], pieces)
        maps = (
            attend(network.model, split, torch.arange(len(split)), scoring) if attention else None
        )
        observed.append(Observed(heads, maps))
    return observed
