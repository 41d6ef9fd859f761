"""One split in memory, and batches of it made by tensor gathers alone.

The rows of a split stay ragged: about a quarter of the padded array. A batch picks the row of each
of its frames (loop padding is `t % length`), then augments, then computes the modality; nothing in
it runs once a sample. The rows lie on the device if a quarter of its free memory holds them, else
in host memory, from where each batch is gathered and sent. Above 8 GiB they stay in the store,
memory-mapped: the page cache holds what fits and the rest is read again, which is how Kinetics (at
most 31 GB) trains on a machine with 24 GB of memory.

The order is: pick frames, rotate and scale at random, min-max, drift at random, modality.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from dualhead.data.modalities import MODALITIES
from dualhead.runs.augment import (
    apply_drift,
    apply_turn,
    choose_frames,
    draw_drift,
    draw_turn,
    min_max,
)
from dualhead.settings.run import InputSettings

if TYPE_CHECKING:
    from dualhead.data.store import Store
    from dualhead.layout import SkeletonLayout

SHARE_OF_DEVICE = 0.25  # of its free memory that rows may take; activations need the rest
HOST_BYTES = 8 << 30  # rows beyond this are mapped, not read; NTU 120 takes about 3.4 GB
PIECE = 4096  # samples read at once on their way to a device


@dataclass(frozen=True)
class Split:
    """The samples of one split, ragged.

    Attributes:
        names: (n) sample ids.
        labels: (n,) int64, on the host.
        rows: (R, V, C) float32, each one body in one frame; on `device` or on the host.
        starts: (n, M) int64, first row of each body; beside `rows`.
        lengths: (n, M) int64, rows of each body, 0 for an absent one; beside `rows`.
        present: (n, M) bool, whether there is each body; on the host.
        num_frames: (n,) int64, frames of each recording; on the host.
        loops: whether a body begins anew after its last row; otherwise zeros follow.
        layout: skeleton layout of the joints.
        device: device on which batches are made.
    """

    names: list[str]
    labels: Tensor
    rows: Tensor
    starts: Tensor
    lengths: Tensor
    present: Tensor
    num_frames: Tensor
    loops: bool
    layout: SkeletonLayout
    device: torch.device

    def __len__(self) -> int:
        """Return the number of samples, n."""
        return len(self.names)


def load_split(store: Store, indices: npt.NDArray[np.int64], device: torch.device) -> Split:
    """Return the samples at `indices` of a store, to be made into batches on `device`."""
    mapped, starts, lengths, num_frames = store.mapped(indices)
    held, read = _place(int(lengths.sum()) * mapped[:1].nbytes, device)
    if read:
        rows, starts = _read_rows(store, indices, held)
    else:
        store.check(indices)
        rows = _as_tensor(mapped)
    return Split(
        names=[store.names[index] for index in indices],
        labels=torch.from_numpy(store.labels[indices]),
        rows=rows,
        starts=torch.from_numpy(starts).to(held),
        lengths=torch.from_numpy(lengths).to(held),
        present=torch.from_numpy(lengths > 0),
        num_frames=torch.from_numpy(num_frames),
        loops=store.attributes["padding"] == "loop",
        layout=store.layout,
        device=device,
    )


def _place(size: int, device: torch.device) -> tuple[torch.device, bool]:
    """Return the device that holds rows of `size` bytes, and whether they are read or stay mapped."""
    if device.type == "cuda" and size < SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
        return device, True
    return torch.device("cpu"), size <= HOST_BYTES


def _read_rows(
    store: Store, indices: npt.NDArray[np.int64], held: torch.device
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return the rows and the first row of each body; of a GPU's rows the host holds a piece at a time."""
    rows, starts, before = [], [], 0
    count = 1 if held.type == "cpu" else 1 + len(indices) // PIECE
    for piece in np.array_split(indices, count):
        read, first, _, _ = store.ragged(piece)
        rows.append(torch.from_numpy(read).to(held))
        starts.append(first + before)
        before += len(read)
    if (
        not before
    ):  # a split of absent bodies; the rows they would take are masked, but there is one
        rows.append(rows[0].new_zeros(1, *rows[0].shape[1:]))
    return torch.cat(rows) if len(rows) > 1 else rows[0], np.concatenate(starts)


def _as_tensor(mapped: npt.NDArray[np.float32]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor written
        return torch.from_numpy(mapped)


def balanced_order(labels: Tensor, batch_size: int, passes: int, generator: Generator) -> Tensor:
    """Return as many batches as `epoch_order` does, of samples drawn with repetition, each class equally likely."""
    shares = 1 / labels.bincount().double()
    order = torch.multinomial(
        shares[labels], len(labels) * passes, replacement=True, generator=generator
    )
    size = min(batch_size, len(order))
    return order[: len(order) // size * size].view(-1, size)


def epoch_order(num_samples: int, batch_size: int, passes: int, generator: Generator) -> Tensor:
    """Return the samples of each batch of an epoch, (batches, batch_size) int64.

    Every pass is a permutation of its own; they are joined and what does not fill a batch is
    dropped. A set smaller than a batch makes one batch of all.
    """
    order = torch.cat([torch.randperm(num_samples, generator=generator) for _ in range(passes)])
    size = min(batch_size, len(order))
    return order[: len(order) // size * size].view(-1, size)


def ordered_batches(
    split: Split, batch_size: int, *, modality: str, settings: InputSettings
) -> Iterator[Tensor]:
    """Yield the split in order, unaugmented: (B, C, T, V, M) each."""
    for index in torch.split(torch.arange(len(split)), batch_size):
        yield make_batch(split, index, modality=modality, settings=settings, generator=None)


def frame_numbers(split: Split, index: Tensor, settings: InputSettings) -> Tensor:
    """Return the frame of each recording at each time of a test batch, (B, T) int64."""
    frames = choose_frames(split.num_frames[index], settings, None)
    return frames % split.num_frames[index].clamp(min=1)[:, None] if split.loops else frames


def make_batch(
    split: Split,
    index: Tensor,
    *,
    modality: str,
    settings: InputSettings,
    generator: Generator | None,
) -> Tensor:
    """Return one batch, (B, C, T, V, M) float32 on the split's device.

    Args:
        split: the samples.
        index: (B,) int64, positions in the split; on the host.
        modality: a key of `MODALITIES`.
        settings: the `input` section.
        generator: source of the training augmentations, on the CPU. None makes a test batch.
    """
    frames = choose_frames(split.num_frames[index], settings, generator)
    joints, present = _gather(split, index, frames)
    turn = draw_turn(len(index), settings, generator)
    if turn is not None:
        turn = send(turn, split.device)
        joints = apply_turn(joints, turn)
    if settings.min_max:
        low, high = _extent(split, index, turn)
        joints = min_max(joints, low, high).masked_fill_(~present[..., None, None], 0)
    if generator is not None and settings.random_move:
        matrices, shifts = draw_drift(len(index), frames.shape[1], generator)
        joints = apply_drift(joints, send(matrices, split.device), send(shifts, split.device))
    joints = joints.permute(0, 4, 1, 3, 2).contiguous()  # (B, C, T, V, M)
    return MODALITIES[modality](joints, split.layout)


def present_bodies(split: Split, index: Tensor, settings: InputSettings) -> Tensor:
    """Return a mask (B, M), on the host, of a batch's bodies that may be more than zeros; a drift moves all."""
    present = split.present[index]
    return torch.ones_like(present) if settings.random_move else present


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device, without waiting for the GPU."""
    if values.device == device or device.type == "cpu":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)


def _gather(split: Split, index: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return the joints at `frames` (B, T, M, V, C), and whether a body has each frame (B, T, M).

    Both are on the split's device; `index` and `frames` come from the host.
    """
    held = split.rows.device
    index, times = send(index, held), send(frames, held)[:, :, None]  # (B, T, 1)
    lengths = split.lengths[index][:, None]  # (B, 1, M)
    if split.loops:
        present = (lengths > 0).expand(-1, frames.shape[1], -1)
        times = times % lengths.clamp(min=1)
    else:
        present = times < lengths
    rows = (split.starts[index][:, None] + times).masked_fill(~present, 0)
    joints = split.rows.index_select(0, rows.flatten()).view(*rows.shape, *split.rows.shape[1:])
    joints, present = send(joints, split.device), send(present, split.device)
    return joints.masked_fill_(~present[..., None, None], 0), present


def _extent(split: Split, index: Tensor, turn: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return each coordinate's smallest and largest value in a recording, (B, 1, 1, 1, C) both.

    Over all its real frames, present bodies and joints, after the turn; whichever the batch shows.
    """
    longest = int(split.num_frames[index].max().clamp(min=1))
    frames = torch.arange(longest).expand(len(index), longest)
    real = send(frames < split.num_frames[index][:, None], split.device)
    joints, present = _gather(split, index, frames)
    absent = ~(present & real[:, :, None])[..., None, None]
    if turn is not None:
        joints = apply_turn(joints, turn)
    low = joints.masked_fill(absent, math.inf).amin((1, 2, 3), keepdim=True)
    high = joints.masked_fill(absent, -math.inf).amax((1, 2, 3), keepdim=True)
    return low, high
