"""The datasets, by kind; each is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping

from dualhead.datasets.base import Dataset
from dualhead.datasets.kinetics import KINETICS
from dualhead.datasets.ntu import NTU60, NTU120
from dualhead.datasets.nw_ucla import NW_UCLA
from dualhead.datasets.synthetic import SYNTHETIC

DATASETS: Mapping[str, Dataset] = {
    dataset.kind: dataset for dataset in (NTU60, NTU120, KINETICS, NW_UCLA, SYNTHETIC)
}
