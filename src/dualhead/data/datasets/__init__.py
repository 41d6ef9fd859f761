"""The datasets, by kind; each is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping

from dualhead.data.datasets.base import Dataset
from dualhead.data.datasets.kinetics import KINETICS
from dualhead.data.datasets.ntu import NTU60, NTU120
from dualhead.data.datasets.nw_ucla import NW_UCLA
from dualhead.data.datasets.synthetic import SYNTHETIC

DATASETS: Mapping[str, Dataset] = {
    dataset.kind: dataset
    for dataset in (
        NTU60,
        NTU120,
        KINETICS,
        NW_UCLA,
        SYNTHETIC,
    )
}
"""The one list of datasets: command line, settings checks and stores go by it."""
