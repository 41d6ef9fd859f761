"""The datasets, by kind; each is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dualhead.data.dataset import Dataset
from dualhead.data.datasets.kinetics import KINETICS
from dualhead.data.datasets.ntu import NTU60, NTU120
from dualhead.data.datasets.nw_ucla import NW_UCLA
from dualhead.data.datasets.skeletons import SKELETONS
from dualhead.data.datasets.synthetic import SYNTHETIC
from dualhead.data.datasets.utd_mhad import UTD_MHAD
from dualhead.settings.params import Settings

DATASETS: Mapping[str, Dataset] = {
    dataset.kind: dataset
    for dataset in (
        NTU60,
        NTU120,
        KINETICS,
        NW_UCLA,
        UTD_MHAD,
        SYNTHETIC,
        SKELETONS,
    )
}
"""The one list of datasets: command line, settings checks and stores go by it."""


def configured(kind: str, raw: Sequence[Path], recordings: Settings) -> Dataset:
    """Return a dataset as it is for some raw files.

    Args:
        kind: a key of `DATASETS`.
        raw: folders and archives.
        recordings: settings of own recordings; see `recordings` of a dataset in params.yaml.

    Raises:
        ValueError: for settings of own recordings with a published dataset, or arrays that others
            prepared which are not of this dataset.
    """
    from dualhead.data.prepared_arrays import as_held  # it knows the datasets

    dataset = DATASETS[kind]
    if dataset.configure is not None:
        return dataset.configure(raw, recordings)
    if recordings:
        raise ValueError(
            f"{kind}: expected nothing to be said of its recordings, which are as published; found "
            f"{', '.join(recordings)}. These go with the dataset `skeletons`."
        )
    return as_held(dataset, raw)
