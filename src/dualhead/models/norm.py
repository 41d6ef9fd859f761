"""Batch normalization by hand: a row of the batch may stand for several equal ones, and nothing is stored twice.

Everything here is channels last, (B, ..., C), and a bias in front of a normalization is never added: it cannot change
the result. It only moves the running mean, which is accounted for; its gradient is exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup, all_gather, all_reduce, get_world_size
from torch.nn import functional as F

T = TypeVar("T")


class Rows(NamedTuple):
    """Consecutive rows of a batch, each of which stands for `copies` equal ones."""

    start: int
    stop: int
    copies: int


Batch = tuple[Rows, ...]
"""All rows of a batch, in order."""


SLAB = 2**18
"""Elements that are worked on at a time on a CPU: few enough for its cache, enough to be worth a call."""


def in_slabs(x: Tensor) -> bool:
    """Return whether work on x goes by slabs: a CPU has a cache for them, a GPU wants all at once."""
    return x.device.type == "cpu"


def slabs(x: Tensor, widest: int = 1) -> Iterator[slice]:
    """Yield the rows to work on at a time: on a CPU as many as stay in the cache, else all.

    Args:
        x: whose rows they are.
        widest: elements of what is made of one row, if these are more than the row's own.
    """
    row = max(x.numel() // max(len(x), 1), widest)
    step = max(SLAB // row, 1) if in_slabs(x) else max(len(x), 1)
    for start in range(0, len(x), step):
        yield slice(start, start + step)


class Cache(nn.Module):
    """Something made of a module's weights, kept while they stay the same and no gradient is wanted.

    It is a module only so that `train()` and `eval()` reach it: each makes it forget.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key: tuple[object, ...] = ()
        self.value: object = None

    def train(self, mode: bool = True) -> Self:
        """Forget."""
        self.key, self.value = (), None
        return super().train(mode)

    def get(self, module: nn.Module, make: Callable[[], T]) -> T:
        """Return what `make` makes of the module's weights."""
        if torch.is_grad_enabled():
            return make()
        weights = [*module.parameters(), *module.buffers()]
        if any(weight.is_inference() for weight in weights):  # nobody counts their changes
            return make()
        key = tuple((weight.data_ptr(), weight._version, weight.dtype) for weight in weights)
        if self.value is None or key != self.key:
            self.key, self.value = key, make()
        return cast(T, self.value)


class Statistics(NamedTuple):
    """Mean and biased variance of each channel, (C,), and of how many values."""

    mean: Tensor
    variance: Tensor
    total: Tensor  # rows of the batch, times frames and joints


class BatchNorm(nn.Module):
    """The parameters and running statistics of one normalization, as in `nn.BatchNorm2d` with its defaults.

    Attributes:
        group: of processes whose batches count as one; None: this process alone.
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

    def folded(self, offset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return scale and shift, (C,), of the normalization by running statistics.

        Args:
            offset: (C,), a bias in front of the normalization.
        """
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        mean = self.running_mean if offset is None else self.running_mean - offset
        return scale, self.bias - mean * scale

    @torch.no_grad()
    def observe(self, x: Tensor, batch: Batch, offset: Tensor | None) -> Statistics:
        """Return a training batch's statistics and move the running ones towards them.

        Args:
            x: (B, ..., C or more); only the first C channels count.
            batch: what the rows of x stand for.
            offset: (C,), a bias that belongs before the normalization and was not added to x.
        """
        found = gathered(statistics(x, batch), self.group)
        channels = len(self.weight)
        found = Statistics(found.mean[:channels], found.variance[:channels], found.total)
        mean = found.mean if offset is None else found.mean + offset
        unbiased = found.variance * (found.total / (found.total - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return found


def statistics(x: Tensor, batch: Batch) -> Statistics:
    """Return the statistics of all that the rows stand for, in float32 or more."""
    parts = [_plain_statistics(x[rows.start : rows.stop]) for rows in batch]
    size = x[0].numel() // x.shape[-1]
    counts = [(rows.stop - rows.start) * rows.copies * size for rows in batch]
    means, variances = (torch.stack(part) for part in zip(*parts, strict=True))
    return _combined(means, variances, means.new_tensor(counts))


def _plain_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    mean, variance = torch.batch_norm_update_stats(_as_image(x), None, None, 0.0)
    return mean, variance


def _as_image(x: Tensor) -> Tensor:
    """View (B, ..., C) as the (1, C, rows, 1), channels last, that torch's fast kernels want."""
    return x.view(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)


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


def synchronize(model: nn.Module, group: ProcessGroup) -> None:
    """Make every normalization of a model use the statistics of all processes' batches together."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.group = group


def tiled(values: Tensor, x: Tensor) -> Tensor:
    """Return per-channel values repeated over all of x but its first two axes: long inner loops."""
    count = x[0, 0].numel() // len(values)
    return values.expand(count, -1).reshape(-1)  # several times as fast as repeat


def flat(x: Tensor) -> Tensor:
    """View (B, T, ...) as (B * T, ...) with all else in one axis."""
    return x.reshape(x.shape[0] * x.shape[1], -1)


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
    batch: Batch
    group: ProcessGroup | None

    @classmethod
    @torch.no_grad()
    def of(cls, x: Tensor, norm: BatchNorm, offset: Tensor | None, batch: Batch) -> Normalization:
        """Observe a training batch; `offset` is a bias that was not added to x."""
        found = norm.observe(x, batch, offset)
        inverse_std = (found.variance + norm.eps).rsqrt()
        scale = norm.weight * inverse_std
        shift = norm.bias - found.mean * scale
        mean, channels = found.mean, len(norm.weight)
        if others := x.shape[-1] - channels:
            scale, inverse_std = (
                F.pad(values, (0, others), value=1.0) for values in (scale, inverse_std)
            )
            shift, mean = (F.pad(values, (0, others)) for values in (shift, mean))
        return cls(channels, scale, shift, mean, inverse_std, found.total, batch, norm.group)

    def backward(
        self, grad: Tensor, x: Tensor, *, in_place: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, weight and bias.

        The gradient of a row is summed over its copies, here and everywhere.

        Args:
            grad: of the normalized x.
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
        for rows in self.batch:
            a, b = tiled(rows.copies * slope, x), tiled(rows.copies * level, x)
            part = slice(rows.start, rows.stop)
            for i in slabs(x[part]):
                correction = torch.addcmul(b, flat(x[part][i]).to(a.dtype), a)
                affine(flat(grad[part][i]), scale, correction, flat(result[part][i]))
        return result, grad_weight, grad_bias


def affine(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """Write x * scale + shift to `out`, which may be x, in the precision of the scale if x has less."""
    if x.dtype == scale.dtype:
        return torch.addcmul(shift, x, scale, out=out)
    return out.copy_(torch.addcmul(shift, x.to(scale.dtype), scale))


def _add_scaled(out: Tensor, x: Tensor, scale: Tensor) -> None:
    """Add x * scale to `out`."""
    if x.dtype == scale.dtype:
        out.addcmul_(x, scale)
    else:
        out.copy_(torch.addcmul(out.to(scale.dtype), x.to(scale.dtype), scale))


def _sums(grad: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over all but channels of grad times normalized x, and of grad."""
    _, weight, bias = torch.ops.aten.native_batch_norm_backward(
        *(_as_image(tensor.to(mean.dtype)) for tensor in (grad, x)),
        *(torch.ones_like(mean), mean, inverse_std.pow(-2), None, None),
        *(False, 0.0, [False, True, True]),
    )
    return weight, bias


class Term(NamedTuple):
    """What is to be normalized: a tensor, by which parameters, and the bias that was not added to it."""

    x: Tensor  # (B, T, ..., C)
    norm: BatchNorm
    offset: Tensor | None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map the last axis linearly, in the precision of x."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def normalized_sum(
    terms: Sequence[Term], batch: Batch, *, plain: Tensor | None = None, activation: bool
) -> Tensor:
    """Return the sum of the normalized terms and of `plain`, through a ReLU if `activation`; in training."""
    norms = [Normalization.of(*term, batch) for term in terms]
    tensors = [t for x, norm, offset in terms for t in (x, norm.weight, norm.bias, offset)]
    result: Tensor = _NormalizedSum.apply(norms, activation, plain, *tensors)  # type: ignore[no-untyped-call]  # torch's
    return result


class _NormalizedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norms: list[Normalization],
        activation: bool,
        plain: Tensor | None,
        *tensors: Tensor | None,
    ) -> Tensor:
        terms = [x for x in tensors[::4] if x is not None]
        result = torch.empty_like(terms[0])
        scales = [tiled(norm.scale, result) for norm in norms]
        shift = tiled(torch.stack([norm.shift for norm in norms]).sum(0), result)
        for i in slabs(result):
            out = flat(result[i])
            affine(flat(terms[0][i]), scales[0], shift, out)
            for x, scale in zip(terms[1:], scales[1:], strict=True):
                _add_scaled(out, flat(x[i]), scale)
            if plain is not None:
                out += flat(plain[i])
            if activation:
                out.relu_()
        ctx.norms, ctx.activation, ctx.plain = norms, activation, plain is not None
        ctx.offsets = [offset is not None for offset in tensors[3::4]]
        ctx.save_for_backward(*terms, *([result] if activation else []))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        terms = ctx.saved_tensors[: len(ctx.norms)]
        grad = grad.contiguous()
        if ctx.activation:
            grad = torch.ops.aten.threshold_backward(grad, ctx.saved_tensors[-1], 0)
        grads: list[Tensor | None] = [None, None, grad if ctx.plain else None]
        own = ctx.activation and not ctx.plain  # then grad is nobody else's
        for i, (norm, x) in enumerate(zip(ctx.norms, terms, strict=True)):
            grads += norm.backward(grad, x, in_place=own and i == len(terms) - 1)
            grads.append(torch.zeros_like(norm.mean) if ctx.offsets[i] else None)
        return tuple(grads)
