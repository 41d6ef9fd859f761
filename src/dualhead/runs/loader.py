"""One split in memory, and batches of it made by tensor gathers alone.

The rows of a split stay ragged: about a quarter of the padded array. A batch picks the row of each
of its frames (loop padding is `t % length`), then augments, then computes the modality; nothing in
it runs once a sample. The rows lie on the device if a quarter of its free memory holds them, else
in host memory, from where each batch is gathered and sent. Above 8 GiB they stay in the store,
memory-mapped: the page cache holds what fits and the rest is read again, which is how Kinetics (at
most 31 GB) trains on a machine with 24 GB of memory.

The order is: pick frames, rotate and scale at random, min-max, drift at random, modality. 2s-AGCN's
feeder augments whatever array it was given, bones and motions too; here the joints are augmented
and the modality is made of them, so that a bone stays the difference of two joints.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from dualhead.data.leakage import refuse_overlap
from dualhead.data.modalities import MODALITIES
from dualhead.params import Settings

if TYPE_CHECKING:
    from dualhead.data.store import Store
    from dualhead.layout import SkeletonLayout

SHARE_OF_DEVICE = 0.25  # of its free memory that rows may take; activations need the rest
HOST_BYTES = 8 << 30  # rows beyond this are mapped, not read; NTU 120 takes about 3.4 GB
PIECE = 4096  # samples read at once on their way to a device
DRIFT_DEGREES = (-10.0, -5.0, 0.0, 5.0, 10.0)  # 2s-AGCN's random_move, for Kinetics' -0.5..0.5
DRIFT_SCALES = (0.9, 1.0, 1.1)
DRIFT_SHIFTS = (-0.2, -0.1, 0.0, 0.1, 0.2)


@dataclass(frozen=True)
class Split:
    """The samples of one split, ragged.

    Attributes:
        names: (n) sample ids.
        labels: (n,) int64, on the host.
        rows: (R, V, C) float32, each one body in one frame; on `device` or on the host.
        starts: (n, M) int64, first row of each body; beside `rows`.
        lengths: (n, M) int64, rows of each body, 0 for an absent one; beside `rows`.
        num_frames: (n,) int64, frames of each recording; on the host.
        loops: whether a body begins anew after its last row; otherwise zeros follow.
        layout: of the joints.
        device: where batches are made.
    """

    names: list[str]
    labels: Tensor
    rows: Tensor
    starts: Tensor
    lengths: Tensor
    num_frames: Tensor
    loops: bool
    layout: SkeletonLayout
    device: torch.device

    def __len__(self) -> int:
        """Return the number of samples, n."""
        return len(self.names)


def check_store(store: Store, config: Settings, path: Path) -> None:
    """Refuse a store that is not the one a run was configured for.

    Raises:
        ValueError: if its dataset or settings differ, it has no such split, or one whose training
            samples include test samples.
    """
    kind = store.attributes["dataset"]
    if kind != config["kind"]:
        raise ValueError(
            f"{path}: expected a store of {config['kind']}, found one of {kind}; "
            f"give the store that the configuration names, {config['store']}"
        )
    made = str(store.attributes.get("address", "")) or config["store"]
    if made != config["store"] or store.max_bodies != config["max_bodies"]:
        raise ValueError(
            f"{path}: a store made with other settings: expected {config['store']} with "
            f"{config['max_bodies']} bodies, found {made} with {store.max_bodies}, prepared with "
            f"{store.attributes['settings']}; give the store that the configuration names"
        )
    refuse_overlap(store, config["split"])


class Positions(NamedTuple):
    """Where the samples that a run uses lie in a store: positions, ascending, int64 each."""

    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]  # of the held-out subjects; empty if there are none
    test: npt.NDArray[np.int64]


def split_positions(store: Store, config: Settings) -> Positions:
    """Return which samples a run trains on, which it holds out, and which test it.

    `train.validation` of the training split's subjects are held out, with every recording of
    theirs. Which ones follows from their numbers alone, so that all seeds, modalities and variants
    of a benchmark hold out the same, and a larger share holds out those of a smaller one too.

    Raises:
        ValueError: if subjects are to be held out, but are not known, or there is only one.
    """
    training, test = store.split(config["split"])
    share: float = config["train"]["validation"]
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


def load_split(store: Store, indices: npt.NDArray[np.int64], device: torch.device) -> Split:
    """Return the samples at `indices` of a store, to be made into batches on `device`."""
    mapped, starts, lengths, num_frames = store.mapped(indices)
    held, read = _place(int(lengths.sum()) * mapped[:1].nbytes, device)
    if read:
        rows, starts = _read_rows(store, indices, held)
    else:
        rows = _as_tensor(mapped)
    return Split(
        names=[store.names[index] for index in indices],
        labels=torch.from_numpy(store.labels[indices]),
        rows=rows,
        starts=torch.from_numpy(starts).to(held),
        lengths=torch.from_numpy(lengths).to(held),
        num_frames=torch.from_numpy(num_frames),
        loops=store.attributes["padding"] == "loop",
        layout=store.layout,
        device=device,
    )


def _place(size: int, device: torch.device) -> tuple[torch.device, bool]:
    """Return where rows of `size` bytes are held, and whether they are read or stay mapped."""
    if device.type == "cuda" and size < SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
        return device, True
    return torch.device("cpu"), size <= HOST_BYTES


def _read_rows(
    store: Store, indices: npt.NDArray[np.int64], held: torch.device
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return the rows and where bodies start; the host holds a piece at a time of a GPU's."""
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
    return torch.cat(rows), np.concatenate(starts)


def _as_tensor(mapped: npt.NDArray[np.float32]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor written
        return torch.from_numpy(mapped)


def epoch_order(num_samples: int, batch_size: int, passes: int, generator: Generator) -> Tensor:
    """Return which samples make each batch of an epoch, (batches, batch_size) int64.

    Every pass is a permutation of its own; they are joined and what does not fill a batch is
    dropped. A set smaller than a batch makes one batch of all.
    """
    order = torch.cat([torch.randperm(num_samples, generator=generator) for _ in range(passes)])
    size = min(batch_size, len(order))
    return order[: len(order) // size * size].view(-1, size)


def test_batches(
    split: Split, batch_size: int, *, modality: str, settings: Settings
) -> Iterator[Tensor]:
    """Yield the split in order, unaugmented: (B, C, T, V, M) each."""
    for index in torch.split(torch.arange(len(split)), batch_size):
        yield make_batch(split, index, modality=modality, settings=settings, generator=None)


def frame_numbers(split: Split, index: Tensor, settings: Settings) -> Tensor:
    """Return which frame of each recording stands at each time of a test batch, (B, T) int64."""
    frames = _choose_frames(split.num_frames[index], settings, None)
    return frames % split.num_frames[index].clamp(min=1)[:, None] if split.loops else frames


def make_batch(
    split: Split,
    index: Tensor,
    *,
    modality: str,
    settings: Settings,
    generator: Generator | None,
) -> Tensor:
    """Return one batch, (B, C, T, V, M) float32 on the split's device.

    Args:
        split: where the samples are.
        index: (B,) int64, which; on the host.
        modality: a key of `MODALITIES`.
        settings: the `input` section.
        generator: on the CPU; draws the training augmentations. None makes a test batch.
    """
    frames = _choose_frames(split.num_frames[index], settings, generator)
    joints, present = _gather(split, index, frames)
    turn = _draw_turn(len(index), settings, generator)
    if turn is not None:
        turn = send(turn, split.device)
        joints = _turn(joints, turn)
    if settings["min_max"]:
        low, high = _extent(split, index, turn)
        joints = _min_max(joints, low, high).masked_fill_(~present[..., None, None], 0)
    if generator is not None and settings["random_move"]:
        matrices, shifts = _draw_drift(len(index), frames.shape[1], generator)
        joints = _drift(joints, send(matrices, split.device), send(shifts, split.device))
    joints = joints.permute(0, 4, 1, 3, 2).contiguous()  # (B, C, T, V, M)
    return MODALITIES[modality](joints, split.layout)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device; the host does not wait for what a GPU still has to do."""
    if values.device == device or device.type == "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _choose_frames(num_frames: Tensor, settings: Settings, generator: Generator | None) -> Tensor:
    """Return which frame of each recording stands at each time, (B, T) int64."""
    steps: int = settings["num_frames"]
    if settings["resample"] == "uniform":
        frames = _resample(num_frames.clamp(min=1), steps, generator)
    else:
        frames = torch.arange(steps).expand(len(num_frames), steps)
    if generator is None or not settings["random_crop"]:
        return frames
    kept: int = settings["random_crop"]
    begin = torch.randint(steps - kept + 1, (len(frames), 1), generator=generator)
    return frames.gather(1, begin + torch.arange(kept))


def _resample(num_frames: Tensor, steps: int, generator: Generator | None) -> Tensor:
    """Return evenly spaced frames, first and last among them; in training sorted random ones.

    Args:
        num_frames: (B,), at least 1.
        steps: how many to take, T.
        generator: draws the random ones, with repetition.

    Returns:
        (B, T) int64.
    """
    if generator is None:
        return torch.arange(steps) * (num_frames[:, None] - 1) // max(steps - 1, 1)
    draws = torch.rand(len(num_frames), steps, dtype=torch.float64, generator=generator)
    return (draws * num_frames[:, None]).long().sort(dim=1).values


def _gather(split: Split, index: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return the joints at `frames` (B, T, M, V, C), and where a body has a frame (B, T, M).

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


def _draw_turn(count: int, settings: Settings, generator: Generator | None) -> Tensor | None:
    """Return one random rotation times one random scale a sample, (B, 3, 3); None if there is none.

    Whole degrees about x and about y, uniform, as CTR-GCN draws them; y first.
    """
    limit, (low, high) = settings["random_rotation"], settings["random_scale"]
    if generator is None or (limit == 0 and low == high == 1.0):
        return None
    degrees = torch.randint(-limit, limit + 1, (2, count), generator=generator)
    scale = low + (high - low) * torch.rand(count, generator=generator)
    x, y = torch.deg2rad(degrees.float())
    zero, one = torch.zeros(count), torch.ones(count)
    about_x = [one, zero, zero, zero, x.cos(), -x.sin(), zero, x.sin(), x.cos()]
    about_y = [y.cos(), zero, y.sin(), zero, one, zero, -y.sin(), zero, y.cos()]
    first, second = (torch.stack(cells, -1).view(-1, 3, 3) for cells in (about_y, about_x))
    turn: Tensor = scale[:, None, None] * (second @ first)
    return turn


def _turn(joints: Tensor, turn: Tensor) -> Tensor:
    """Apply (B, 3, 3) matrices to joints (B, T, M, V, 3)."""
    return torch.einsum("bij,btmvj->btmvi", turn, joints)


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
        joints = _turn(joints, turn)
    low = joints.masked_fill(absent, math.inf).amin((1, 2, 3), keepdim=True)
    high = joints.masked_fill(absent, -math.inf).amax((1, 2, 3), keepdim=True)
    return low, high


def _min_max(joints: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale low..high to -1..1; a coordinate that never changes becomes 0."""
    spread = high - low
    return torch.where(spread > 0, (joints - low) / spread * 2 - 1, 0.0)


def _draw_drift(count: int, steps: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return 2s-AGCN's random_move: a slow change of x and y from one random pose to another.

    Returns:
        Matrices (B, T, 2, 2) and shifts (B, T, 2).
    """

    def path(choices: tuple[float, ...]) -> Tensor:
        ends = torch.tensor(choices)[
            torch.randint(len(choices), (2, count, 1), generator=generator)
        ]
        return torch.lerp(ends[0], ends[1], torch.linspace(0, 1, steps))  # (B, T)

    angle, scale = torch.deg2rad(path(DRIFT_DEGREES)), path(DRIFT_SCALES)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    matrices = torch.stack([cos, -sin, sin, cos], -1).view(count, steps, 2, 2)
    return matrices, torch.stack([path(DRIFT_SHIFTS), path(DRIFT_SHIFTS)], -1)


def _drift(joints: Tensor, matrices: Tensor, shifts: Tensor) -> Tensor:
    """Move x and y of joints (B, T, M, V, C) by matrices (B, T, 2, 2) and shifts (B, T, 2).

    2s-AGCN moves absent joints too, which puts a body where there is none; here a joint whose
    channels are all zero stays so, in training as in the test.
    """
    absent = (joints == 0).all(-1, keepdim=True)
    plane = torch.einsum("btij,btmvj->btmvi", matrices, joints[..., :2])
    plane = plane + shifts[:, :, None, None]
    return torch.cat([plane, joints[..., 2:]], -1).masked_fill_(absent, 0)
