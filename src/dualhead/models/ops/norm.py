"""Batch normalization, channels last, of rows that may stand for several equal ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup, all_reduce
from torch.nn import functional as F


class BatchNorm(nn.Module):
    """Parameters and running statistics of one normalization, as in `nn.BatchNorm2d` with its defaults.

    Attributes:
        group: processes whose batches count as one; None: this process alone.
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.group: ProcessGroup | None = None

    def __getstate__(self) -> dict[str, object]:
        """Return the state of a copy, which belongs to this process alone."""
        return {**self.__dict__, "group": None}


def synchronize(model: nn.Module, group: ProcessGroup) -> None:
    """Make every normalization of a model use the statistics of all processes' batches together."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.group = group


class Term(NamedTuple):
    """A tensor to be normalized, (B, ..., C), its normalization, and the bias to add before, (C,) or None.

    The bias cannot change the normalized result of a training batch; it moves the running mean.
    """

    x: Tensor
    norm: BatchNorm
    offset: Tensor | None = None


class Run(NamedTuple):
    """Consecutive rows of a batch, each of which stands for `copies` equal ones."""

    start: int
    stop: int
    copies: float


class Rows:
    """The rows of a batch.

    Attributes:
        counts: number of equal rows that each row stands for, (B,), whole numbers; None: every row counts once.
        observed: running statistics, and what to move them towards.
    """

    def __init__(self, counts: Tensor | None = None) -> None:
        self.counts = counts
        self.observed: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The rows, those side by side that stand for equally many together."""
        if self.counts is None:
            return ()
        copies, lengths = torch.unique_consecutive(self.counts, return_counts=True)
        stops = lengths.cumsum(0).tolist()
        starts = [0, *stops[:-1]]
        return tuple(map(Run, starts, stops, copies.tolist()))


EVERY = slice(None)
"""All channels."""

_running: list[Rows] = []  # innermost last


@contextmanager
def row_counts(counts: Tensor | None) -> Iterator[None]:
    """Count each row of a batch as many times as `counts` says, within the block.

    Only the statistics of normalizations need to know. A row with count 0 has no influence on any other. Running
    statistics move when the block ends, all at once.
    """
    rows = Rows(counts)
    _running.append(rows)
    try:
        yield
        _move(rows.observed)
    finally:
        _running.pop()


def counts_of(x: Tensor) -> Tensor | None:
    """Return the number of equal rows that each row of x stands for, (B,), or None."""
    counts = _running[-1].counts if _running else None
    assert counts is None or len(counts) == len(x)
    return counts


def runs_of(x: Tensor) -> tuple[Run, ...]:
    """Return the rows of x in runs of equal counts."""
    return (Run(0, len(x), 1),) if counts_of(x) is None else _running[-1].runs


@torch.no_grad()
def observe(norm: BatchNorm, mean: Tensor, variance: Tensor, own: slice = EVERY) -> None:
    """Move running statistics towards a batch's mean and unbiased variance, now or when `row_counts` ends.

    Args:
        norm: the normalization.
        mean: mean of the channels `own`.
        variance: their variance.
        own: channels of the normalization that these are.
    """
    found = [(norm.running_mean[own], mean), (norm.running_var[own], variance)]
    if _running:
        _running[-1].observed += found
    else:
        _move(found)


@torch.no_grad()
def _move(observed: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Move running statistics, all in one call."""
    running = [own for own, _ in observed]
    if running:
        values = [value.to(own.dtype) for own, value in observed]
        torch._foreach_lerp_(running, values, BatchNorm.momentum)


def wide(x: Tensor) -> Tensor:
    """Return x in float32 or more."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _narrow(values: Tensor, x: Tensor) -> Tensor:
    """Return values in the precision of x.

    Not by a conversion that changes nothing: torch 2.11 compiles what such a one returns from a function with a
    backward pass of its own as if nothing followed from it, and its gradients are 0.
    """
    return values if values.dtype == x.dtype else values.to(x.dtype)


def normalize(term: Term) -> Tensor:
    """Return norm(x + offset), by the batch's statistics in training, else by the running ones."""
    x, norm, offset = term
    if norm.training and (norm.group is not None or counts_of(x) is not None):
        return weighted_norm(term)
    rows = (x if offset is None else x + offset.to(x.dtype)).reshape(-1, x.shape[-1])
    tensors = norm.running_mean, norm.running_var, norm.weight, norm.bias
    return F.batch_norm(rows, *tensors, norm.training, norm.momentum, norm.eps).view(x.shape)


def weighted_norm(
    term: Term, *, own: slice = EVERY, one_pass: bool = False, relu: bool = False
) -> Tensor:
    """Return norm(x) of a training batch whose rows count as often as `row_counts` says, in all processes together.

    Args:
        term: x, and the normalization.
        own: channels of the normalization that x has.
        one_pass: whether the variance is taken about the running mean, in the same pass as the mean; a compiler makes
            one kernel of it. It loses digits where the mean is many standard deviations away from the running one.
        relu: whether the result is cut off at zero; where, the backward pass finds out from x, which it reads anyway.
    """
    x, norm, offset = term
    parameters = norm.weight[own], norm.bias[own], offset
    about = norm.running_mean[own] if one_pass else None
    y, mean, variance, total = _WeightedNorm.apply(  # type: ignore[no-untyped-call]  # torch's
        x, *parameters, counts_of(x), about, norm.eps, norm.group, relu
    )
    mean = mean if offset is None else mean + offset.detach()
    observe(norm, mean, variance * (total / (total - 1).clamp(min=1)), own)
    result: Tensor = y
    return result


def _weights(x: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the weight of each position of x, to multiply with, and the sum of all weights."""
    size = math.prod(x.shape[1:-1])
    if counts is None:
        one = x.new_ones((), dtype=wide(x[:0]).dtype)
        return one, one * (len(x) * size)
    counts = counts.to(wide(x[:0]).dtype)
    return counts.view(-1, *[1] * (x.dim() - 1)), counts.sum() * size


def _sum_up(group: ProcessGroup | None, *tensors: Tensor) -> list[Tensor]:
    """Return each tensor's sum over all processes of the group."""
    if group is None:
        return list(tensors)
    own = torch.cat([tensor.reshape(-1) for tensor in tensors])
    all_reduce(own, group=group)
    parts = torch.split(own, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class _WeightedNorm(torch.autograd.Function):
    """Normalize channels; a row's gradient is the sum of those of the rows that it stands for."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        offset: Tensor | None,
        counts: Tensor | None,
        about: Tensor | None,
        eps: float,
        group: ProcessGroup | None,
        relu: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        each, total = _weights(x, counts)
        dims = tuple(range(x.dim() - 1))
        if about is None:
            first, total = _sum_up(group, (wide(x) * each).sum(dims), total)
            mean = first / total
            squares = _sum_up(group, ((wide(x) - mean).square() * each).sum(dims))[0]
            variance = squares / total
        else:
            apart = wide(x) - about
            sums = (apart * each).sum(dims), (apart.square() * each).sum(dims)
            first, squares, total = _sum_up(group, *sums, total)
            mean = first / total + about
            variance = (squares / total - (first / total).square()).clamp(min=0)
        inverse_std = (variance + eps).rsqrt()
        y = _narrow((wide(x) - mean) * (weight * inverse_std) + bias, x)
        ctx.save_for_backward(x, weight, bias, mean, inverse_std, counts)
        ctx.group, ctx.offset, ctx.relu = group, offset is not None, relu
        ctx.mark_non_differentiable(mean, variance, total)
        return F.relu(y) if relu else y, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse_std, counts = ctx.saved_tensors
        dims = tuple(range(x.dim() - 1))
        each, total = _weights(x, counts)
        normal = (wide(x) - mean) * inverse_std
        if ctx.relu:
            grad = torch.where(normal * weight + bias > 0, grad, 0)
        grad_bias, grad_weight = wide(grad).sum(dims), (wide(grad) * normal).sum(dims)
        level, slope, total = _sum_up(ctx.group, grad_bias, grad_weight, total)
        correction = each / total * (level + normal * slope)
        grad_x = _narrow(weight * inverse_std * (wide(grad) - correction), x)
        grad_offset = torch.zeros_like(mean) if ctx.offset else None
        return grad_x, grad_weight, grad_bias, grad_offset, None, None, None, None, None
