"""Batch normalization by hand: statistics in one pass, and nothing stored that can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup, all_gather, all_reduce, get_world_size
from torch.nn import functional as F

from dualhead.models.ops.cpu.slabs import affine, as_image, flat, slabs, tiled
from dualhead.models.ops.norm import EVERY, Run, Term, observe, runs_of, wide


class Statistics(NamedTuple):
    """Mean and biased variance of each channel, (C,), and of how many values."""

    mean: Tensor
    variance: Tensor
    total: Tensor  # rows of the batch, times frames and joints


def observed(term: Term, runs: Sequence[Run]) -> Statistics:
    """Return the statistics of x over all processes, and move the running ones towards them."""
    x, norm, offset = term
    found = gathered(statistics(x, runs), norm.group)
    channels = len(norm.weight)
    found = Statistics(found.mean[:channels], found.variance[:channels], found.total)
    mean = found.mean if offset is None else found.mean + offset
    observe(norm, mean, found.variance * (found.total / (found.total - 1).clamp(min=1)))
    return found


def statistics(x: Tensor, runs: Sequence[Run]) -> Statistics:
    """Return the statistics of all that the rows stand for, in float32 or more."""
    parts = [_plain_statistics(x[rows.start : rows.stop]) for rows in runs]
    size = x[0].numel() // x.shape[-1]
    counts = [(rows.stop - rows.start) * rows.copies * size for rows in runs]
    means, variances = (torch.stack(part) for part in zip(*parts, strict=True))
    return _combined(means, variances, means.new_tensor(counts))


def _plain_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    channels, dtype = x.shape[-1], wide(x[:0]).dtype
    running = x.new_zeros(2, channels, dtype=dtype)  # they decide the precision
    mean, variance = torch.batch_norm_update_stats(as_image(x), running[0], running[1], 0.0)
    return mean, variance


def _combined(means: Tensor, variances: Tensor, counts: Tensor) -> Statistics:
    """Return the statistics of a union of parts, (parts, C) and (parts,)."""
    if len(counts) == 1:
        return Statistics(means[0], variances[0], counts[0])
    total = counts.sum()
    shares = (counts / total)[:, None]
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return Statistics(mean, variance, total)


def gathered(found: Statistics, group: ProcessGroup | None) -> Statistics:
    """Return the statistics over all processes of the group."""
    if group is None:
        return found
    own = torch.cat([found.mean, found.variance, found.total[None]])
    every = [torch.empty_like(own) for _ in range(get_world_size(group))]
    all_gather(every, own, group=group)
    channels = len(found.mean)
    table = torch.stack(every)
    return _combined(table[:, :channels], table[:, channels:-1], table[:, -1])


class Normalization(NamedTuple):
    """One normalization of one training batch: what its two passes need.

    Of x with more channels than the norm has, the others are left as they are.
    """

    channels: int  # that are normalized
    scale: Tensor  # (C,), what a channel is multiplied with
    shift: Tensor  # (C,), what is then added to it
    mean: Tensor
    inverse_std: Tensor
    total: Tensor  # rows of the batch, times frames and joints
    runs: Sequence[Run]
    group: ProcessGroup | None

    @classmethod
    @torch.no_grad()
    def of(cls, term: Term) -> Normalization:
        """Observe a training batch; what is beyond the normalization's channels does not count."""
        (x, norm, _), runs = term, runs_of(term.x)
        found = observed(term, runs)
        inverse_std = (found.variance + norm.eps).rsqrt()
        scale = norm.weight * inverse_std
        shift = norm.bias - found.mean * scale
        mean, channels = found.mean, len(norm.weight)
        if others := x.shape[-1] - channels:
            scale, inverse_std = (
                F.pad(values, (0, others), value=1.0) for values in (scale, inverse_std)
            )
            shift, mean = (F.pad(values, (0, others)) for values in (shift, mean))
        return cls(channels, scale, shift, mean, inverse_std, found.total, runs, norm.group)

    def active(self, x: Tensor, own: slice = EVERY) -> Tensor:
        """Return the channels `own` of a slab, (B, T, ..., C), normalized and cut off at zero; x stays as it is."""
        part = x[..., own].contiguous()
        result = torch.empty_like(part) if own == EVERY else part
        scale, shift = tiled(self.scale[own], part), tiled(self.shift[own], part)
        return affine(flat(part), scale, shift, flat(result)).view_as(part).relu_()

    def backward(
        self, grad: Tensor, x: Tensor, *, in_place: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, weight and bias.

        The gradient of a row is summed over its copies, here and everywhere.

        Args:
            grad: gradient of the normalized x.
            x: (B, T, ..., C).
            in_place: whether grad may be overwritten.
        """
        sums = torch.stack(_sums(grad, x, self.mean, self.inverse_std))
        grad_weight, grad_bias = sums[:, : self.channels].clone()
        if self.group is not None:
            all_reduce(sums, group=self.group)
        sums[:, self.channels :] = 0
        slope = -self.scale * self.inverse_std * sums[0] / self.total
        level = -self.scale * sums[1] / self.total - slope * self.mean
        scale = tiled(self.scale, x)
        result = grad if in_place else torch.empty_like(x)
        for rows in self.runs:
            a, b = tiled(rows.copies * slope, x), tiled(rows.copies * level, x)
            part = slice(rows.start, rows.stop)
            for i in slabs(x[part]):
                own = flat(x[part][i])
                correction = affine(own, a, b, torch.empty_like(own))
                out, incoming = flat(result[part][i]), flat(grad[part][i])
                if x.dtype == scale.dtype:
                    affine(incoming, scale, correction, out)
                else:
                    affine(incoming, scale, torch.zeros_like(scale), out).add_(correction)
        return result, grad_weight, grad_bias


def _sums(grad: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over all but channels of grad times normalized x, and of grad."""
    _, weight, bias = torch.ops.aten.native_batch_norm_backward(
        *(as_image(grad), as_image(x)),
        *(torch.ones_like(mean), mean, inverse_std.pow(-2), None, None),
        *(False, 0.0, [False, True, True]),
    )
    return weight, bias
