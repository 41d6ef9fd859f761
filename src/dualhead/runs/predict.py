"""Each recording's five likeliest classes, as a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualhead.data.store import Store
from dualhead.files import write_csv
from dualhead.models.checkpoint import load, load_checkpoint
from dualhead.runs.batches import load_split
from dualhead.runs.evaluate import score_split
from dualhead.runs.inference import choose_device, use_cpu
from dualhead.runs.partition import check_network

HEADER = ("name", "label", "predicted", "class_name", "probability", "top5")
BATCH_SIZE = 16


def predict(
    checkpoint: Path, store: Path, output: Path, *, device: str, threads: int | None = None
) -> None:
    """Score every recording of a store with a checkpoint's last weights; write a CSV.

    Its columns are the sample id, the label if there is one, the best class and its name, its
    probability (of the fused softmax), and the five best as `class:probability`.

    Args:
        checkpoint: as `dualhead train` or `dualhead convert-weights` wrote it.
        store: recordings of any dataset with the same skeleton; labels may be absent (-1).
        output: the CSV to write.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        threads: number of torch's threads on the CPU; None leaves torch's own choice.

    Raises:
        ValueError: if the store's skeleton, number of bodies or preparation is not the network's.
    """
    use_cpu(threads)
    where = choose_device(device)
    content = load_checkpoint(checkpoint)
    with Store(store) as source:
        check_network(content, source, checkpoint)
        split = load_split(source, np.arange(len(source.names)), where)
        class_names = content["class_names"] or source.class_names
    heads = score_split(load(checkpoint, device=where), split, content["config"], BATCH_SIZE)
    labels = split.labels.numpy()
    scores = heads["fusion"]["softmax"]
    write_csv(output, HEADER, _rows(split.names, labels, scores, class_names))


def _rows(
    names: Sequence[str],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    class_names: Sequence[str],
) -> Iterator[tuple[object, ...]]:
    """Yield a row for each sample; class names only where they are as many as the classes."""
    named = len(class_names) == scores.shape[1]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    for name, label, row, order in zip(names, labels.tolist(), scores, best.tolist(), strict=True):
        top = " ".join(f"{index}:{row[index]:.4f}" for index in order)
        shown = class_names[order[0]] if named else ""
        yield name, label if label >= 0 else "", order[0], shown, f"{row[order[0]]:.4f}", top
