"""Slabs: as many bodies at a time as stay in a processor's cache; and arithmetic on them, channels last."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SLAB = 2**18
"""Elements that are worked on at a time: few enough for the cache, enough to be worth a call."""


def slabs(x: Tensor, widest: int = 1) -> Iterator[slice]:
    """Yield the rows of x to work on at a time.

    Args:
        x: (B, ...).
        widest: elements of what is made of one row, if these are more than the row's own.
    """
    row = max(x.numel() // max(len(x), 1), widest)
    step = max(SLAB // row, 1)
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def tiled(values: Tensor, x: Tensor) -> Tensor:
    """Return per-channel values repeated over all of x but its first two axes: long inner loops."""
    count = x[0, 0].numel() // len(values)
    return values.expand(count, -1).reshape(-1)  # several times as fast as repeat


def flat(x: Tensor) -> Tensor:
    """View (B, T, ...) as (B * T, ...) with all else in one axis."""
    return x.reshape(x.shape[0] * x.shape[1], -1)


def as_image(x: Tensor) -> Tensor:
    """View (B, ..., C) as the (1, C, rows, 1), channels last, that torch's fast kernels want."""
    return x.view(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)


def affine(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """Write x * scale + shift to `out`, which may be x, in the precision of the scale; rows of scale and shift."""
    if x.dtype == scale.dtype:
        return torch.addcmul(shift, x, scale, out=out)
    # a normalization by a mean of 0 and a variance of 1 is the one kernel that rounds no intermediate result
    moments, unused = (torch.zeros_like(scale), torch.ones_like(scale)), scale.new_empty(0)
    results = as_image(out), unused, unused
    torch.native_batch_norm(as_image(x), scale, shift, *moments, False, 0.0, 0.0, out=results)
    return out


def add_scaled(out: Tensor, x: Tensor, scale: Tensor) -> None:
    """Add x * scale to `out`."""
    if x.dtype == scale.dtype:
        out.addcmul_(x, scale)
    else:
        out += affine(x, scale, torch.zeros_like(scale), torch.empty_like(out))


def product(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Write x @ weight + bias to `out`."""
    if bias is None:
        torch.mm(x, weight, out=out)
    else:
        torch.addmm(bias.to(x.dtype), x, weight, out=out)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b to `total`, which may be more precise than they are: a long sum is not to be rounded at each step."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += torch.mm(a, b)
