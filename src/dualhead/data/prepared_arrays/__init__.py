"""Prepared arrays that others publish, one module a form, read as a dataset's raw recordings are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualhead.data.dataset import Dataset
from dualhead.data.prepared_arrays.agcn import AGCN
from dualhead.data.prepared_arrays.base import ArrayForm
from dualhead.data.prepared_arrays.ctr_gcn import CTR_GCN
from dualhead.data.prepared_arrays.pyskl import PYSKL

ARRAY_FORMS = (PYSKL, CTR_GCN, AGCN)
"""The one list of forms."""
KINDS = ("ntu60", "ntu120", "kinetics")
"""Datasets that are published as such arrays."""


def array_form(path: Path) -> ArrayForm | None:
    """Return the form of a file or folder of prepared arrays; None for raw recordings."""
    return next((form for form in ARRAY_FORMS if form.fits(path)), None)


def as_held(dataset: Dataset, raw: Sequence[Path]) -> Dataset:
    """Return a dataset as raw paths hold it: its own files, or arrays that others prepared.

    Raises:
        ValueError: for arrays beside other raw paths, or of no form known here.
    """
    if dataset.kind not in KINDS:
        return dataset
    forms = [array_form(path) for path in raw if path.exists()]
    if not any(forms):
        return dataset
    if len(raw) > 1 or forms[0] is None:
        raise ValueError(
            f"{', '.join(map(str, raw))}: expected raw recordings, or one file or folder of prepared "
            "arrays; found several. Give one of them."
        )
    return forms[0].dataset(dataset, raw[0])
