"""TensorBoard: a training's history as it grows, beside history.csv."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Show = Callable[[Mapping[str, float]], None]
"""Show one row of a history."""


@contextmanager
def board(folder: Path | None, epoch: int) -> Iterator[Show]:
    """Yield a function that writes rows of a history to a folder for TensorBoard, or nowhere.

    Args:
        folder: the folder; None: rows are not written.
        epoch: the first epoch that is to be written; what an earlier process wrote from there on is dropped.

    Raises:
        ModuleNotFoundError: if TensorBoard is absent.
    """
    if folder is None:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=epoch) as writer:

        def show(row: Mapping[str, float]) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(name, value, int(row["epoch"]))
            writer.flush()

        yield show
