"""Types of arrays, each named once; shapes and units stand where they are used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]  # joints, scores
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Parts = npt.NDArray[np.int8]
"""Of a split, one for each sample: 1 training, 0 test, -1 neither."""
Columns = Mapping[str, Integers]
"""Meta columns of samples by name, (N,) each."""
