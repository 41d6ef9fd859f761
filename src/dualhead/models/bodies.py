"""From a batch of recordings to its bodies and back: absent bodies are computed once, not once each.

An absent body is all zeros, and after the data normalization all absent bodies of one slot are still the same. One of
them stands for all, with its number in the batch statistics; a folded network keeps its features. Both are exact, and
found in the data: a body that an augmentation has moved is not absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualhead.models import ops
from dualhead.models.ops import encoder
from dualhead.models.ops.cpu.slabs import slabs
from dualhead.models.ops.encoder import Encoder, Features, pooled
from dualhead.models.ops.norm import BatchNorm, Term, normalize, row_counts


class Bodies(nn.Module):
    """Normalize each coordinate of each joint of each body slot."""

    def __init__(self, num_bodies: int, num_joints: int, in_channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(num_bodies * num_joints * in_channels)  # (M, V, C)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized bodies, (N, M, T, V, C), of (N, C, T, V, M)."""
        samples, channels, frames, joints, bodies = x.shape
        x = x.permute(0, 2, 4, 3, 1).reshape(samples, frames, -1)
        x = normalize(Term(x, self.norm))
        return x.view(samples, frames, bodies, joints, channels).transpose(1, 2)


def encode_bodies(network: Encoder, bodies: Tensor, present: Tensor) -> Features:
    """Return each head's features of each recording, (N, C), their means over frames, joints and bodies.

    Args:
        network: encodes the bodies.
        bodies: (N, M, T, V, C).
        present: (N, M), which of them are not absent.
    """
    if ops.chosen(bodies) == "compiled":
        try:
            return _encode_distinct(network, bodies, present)
        except encoder.failure() as error:
            encoder.give_up(error)
    return _encode_distinct(network, bodies, present)


def _encode_distinct(network: Encoder, bodies: Tensor, present: Tensor) -> Features:
    name, known = ops.chosen(bodies), getattr(network, "absent", None)
    if name == "plain":
        found = _pooled(network, bodies.flatten(0, 1))
        return tuple(values.view(*present.shape, -1).mean(1) for values in found)
    if name == "cpu" and known is not None:
        return _look_up(network, bodies, present, known)
    rows, counts, index = _known[-1] if _known else distinct_rows(present)
    found = _pooled(network, bodies.flatten(0, 1)[rows], counts)
    return tuple(values[index].mean(1) for values in found)


def is_present(x: Tensor) -> Tensor:
    """Return a mask (N, M) of the bodies of (N, C, T, V, M) that are not all zeros; of all, if x has a gradient."""
    if x.requires_grad:
        return x.new_ones(len(x), x.shape[4], dtype=torch.bool)
    return x.ne(0).flatten(1, 3).any(1)


class Distinct(NamedTuple):
    """The bodies of a batch to compute.

    Attributes:
        rows: number n * M + m of each body, (B,).
        counts: number of bodies that each row stands for, (B,).
        places: row of each body, (N, M).
    """

    rows: Tensor
    counts: Tensor
    places: Tensor


_known: list[Distinct] = []  # innermost last


@contextmanager
def known_bodies(distinct: Distinct) -> Iterator[None]:
    """Take these as a batch's bodies within the block; looking for them would wait for the GPU."""
    _known.append(distinct)
    try:
        yield
    finally:
        _known.pop()


def distinct_rows(present: Tensor) -> Distinct:
    """Return the bodies to compute, such that of a slot's absent ones there is only one; `present` is (N, M)."""
    absent = ~present.cpu()
    shared = absent & (absent.sum(0) > 1)
    rows = [torch.nonzero(~shared.flatten()).flatten()]
    index = (~shared.flatten()).cumsum(0).view(shared.shape) - 1
    counts = [torch.ones(len(rows[0]))]
    for place, slot in enumerate(torch.nonzero(shared.any(0)).flatten().tolist(), len(rows[0])):
        samples = torch.nonzero(shared[:, slot]).flatten()
        rows.append(samples[:1] * shared.shape[1] + slot)
        counts.append(torch.tensor([float(len(samples))]))
        index[samples, slot] = place
    device = present.device
    return Distinct(torch.cat(rows).to(device), torch.cat(counts).to(device), index.to(device))


def filled_rows(present: Tensor) -> Distinct:
    """Return `distinct_rows`, filled up with bodies that count 0 to as many as are compiled for."""
    rows, counts, index = distinct_rows(present)
    return Distinct(*encoder.filled_up(rows, counts), index)


def _look_up(
    network: Encoder, bodies: Tensor, present: Tensor, known: dict[tuple[object, ...], Features]
) -> Features:
    """Encode the bodies that are present; take the features of the others from `known`, or put them there."""
    parts = [_pooled(network, bodies[present])] if present.any() else []
    index = present.flatten().cumsum(0).view(present.shape) - 1
    place = int(present.sum())
    for slot in torch.nonzero(~present.all(0)).flatten().tolist():
        missing = ~present[:, slot]
        key = (slot, bodies.shape[2], _working_dtype(bodies))
        if key not in known:
            known[key] = _pooled(network, bodies[missing, slot][:1])
        parts.append(known[key])
        index[missing, slot] = place
        place += 1
    return tuple(torch.cat(values)[index].mean(1) for values in zip(*parts, strict=True))


def _pooled(network: Encoder, rows: Tensor, counts: Tensor | None = None) -> Features:
    """Return each head's features of bodies, (B, C), means over frames and joints.

    On a CPU as many bodies at a time as stay in its cache, where nothing is kept for a backward pass.
    """
    rows, name = rows.to(_working_dtype(rows)), ops.chosen(rows)
    with without_autocast(rows):
        if name == "compiled":
            return encoder.encode(network, rows, counts)
        alone = name == "plain" or network.training or torch.is_grad_enabled()
        with row_counts(counts):
            parts = [network.encode(rows[i]) for i in ([slice(None)] if alone else slabs(rows))]
    return tuple(torch.cat([pooled(x) for x in head]) for head in zip(*parts, strict=True))


def _has_autocast(x: Tensor) -> bool:
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _working_dtype(x: Tensor) -> torch.dtype:
    """Return the type that a forward pass is computed in: autocast's, if it is on."""
    return torch.get_autocast_dtype(x.device.type) if _has_autocast(x) else x.dtype


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return the context in which every operation keeps the precision of its input."""
    return torch.autocast(x.device.type, enabled=False) if _has_autocast(x) else nullcontext()
