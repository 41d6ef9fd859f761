"""MS-TCN: branches of dilated convolutions over time (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dualhead.models.norm import (
    Batch,
    BatchNorm,
    Cache,
    Normalization,
    Term,
    affine,
    flat,
    in_slabs,
    linear,
    normalized_sum,
    slabs,
    tiled,
)
from dualhead.models.spatial import add_product, num_windows


class Folded(NamedTuple):
    """Weight and bias of each part of an MS-TCN at evaluation, its normalization in them.

    The branches are all channels side by side, so their biases are that of the whole sum.
    """

    embed: tuple[Tensor, Tensor]
    convs: list[tuple[Tensor, Tensor]]
    pool: tuple[Tensor, Tensor]  # scale and shift
    residual: Tensor | None


class MultiScaleTemporalConv(nn.Module):
    """Branches of dilated convolutions, of max-pooling and a plain one, side by side, and a residual (MS-TCN, Eq. 2).

    (B, T, V, C) -> (B, ceil(T / stride), V, out_channels)

    Paper: the branches are summed; official code, and we: concatenated, each a part of the channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dilations: Sequence[int], *, stride: int = 1
    ) -> None:
        super().__init__()
        branches = len(dilations) + 2
        width = out_channels // branches
        if width * branches != out_channels:
            raise ValueError(
                f"{out_channels} channels cannot be shared by {branches} temporal branches "
                f"(dilations {list(dilations)}, max-pooling, plain); "
                f"set channels that {branches} divides, or other dilations"
            )
        self.stride, self.width = stride, width
        # the first 1x1 convolution of every branch; the plain branch has nothing else, and is normalized at the end
        self.embed = nn.Linear(in_channels, out_channels)
        self.embed_norm = BatchNorm(out_channels - width)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, (3, 1), stride=(stride, 1), padding=(d, 0), dilation=(d, 1))
            for d in dilations
        )
        self.norm = BatchNorm(out_channels)
        self.folded = Cache()
        self.residual: nn.Linear | None = None
        self.residual_norm: BatchNorm | None = None
        if in_channels != out_channels or stride != 1:
            self.residual = nn.Linear(in_channels, out_channels)
            self.residual_norm = BatchNorm(out_channels)

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """Return the sum of branches and residual through a ReLU."""
        if not self.training:
            return self.branch_sum(x, self.folded.get(self, self.fold)).relu_()
        terms, plain = self.terms(x, batch)
        return normalized_sum(terms, batch, plain=plain, activation=True)

    def terms(self, x: Tensor, batch: Batch) -> tuple[list[Term], Tensor | None]:
        """Return what is to be normalized and added up, and an input to be added as it is; in training."""
        embedded = linear(x, self.embed.weight)
        branches = temporal_branches(
            embedded, self.embed_norm, self.embed.bias, self.convs, batch, stride=self.stride
        )
        terms = [Term(branches, self.norm, self._offset())]
        if self.residual is None or self.residual_norm is None:
            return terms, x
        skipped = linear(x[:, :: self.stride], self.residual.weight)
        return [*terms, Term(skipped, self.residual_norm, self.residual.bias)], None

    def branch_sum(self, x: Tensor, folded: Folded) -> Tensor:
        """Return the sum of branches and residual, at evaluation."""
        embed, convs, pool, residual = folded
        embedded = linear(x, *embed)
        width = embedded.shape[3] // (len(convs) + 2)
        *active, plain = torch.split(embedded, width, dim=3)
        active = [part.contiguous().relu_() for part in active]
        parts = [
            _convolve(part, conv, *own)
            for part, conv, own in zip(active, self._dilated(), convs, strict=False)
        ]
        pooled = _pool(active[-1], self.stride)
        parts += [pooled * pool[0].to(x.dtype) + pool[1].to(x.dtype), plain[:, :: self.stride]]
        total = torch.cat(parts, dim=3)
        if residual is None:
            return total.add_(x)
        skipped = x[:, :: self.stride].reshape(-1, x.shape[3])
        add_product(total.flatten(0, 2), skipped, residual.to(x.dtype).t())
        return total

    def fold(self, offset: Tensor | None = None) -> Folded:
        """Return what `branch_sum` needs.

        Args:
            offset: (out_channels,), to be added to the sum.
        """
        inner, (scale, shift) = self.embed_norm.folded(), self.norm.folded(self._offset())
        residual = None
        if self.residual is not None and self.residual_norm is not None:
            own_scale, own_shift = self.residual_norm.folded(self.residual.bias)
            residual, shift = self.residual.weight * own_scale[:, None], shift + own_shift
        if offset is not None:
            shift = shift + offset
        width = len(scale) - len(inner[0])
        embed_scale = torch.cat([inner[0], scale[-width:]])
        embed_bias = self.embed.bias * embed_scale
        embed_bias = torch.cat([embed_bias[:-width] + inner[1], shift[-width:]])
        convs = [
            (conv.weight * s[:, None, None, None], b)
            for conv, s, b in zip(
                self._dilated(), torch.split(scale, width), torch.split(shift, width), strict=False
            )
        ]
        pool = slice(-2 * width, -width)
        embed = self.embed.weight * embed_scale[:, None], embed_bias
        return Folded(embed, convs, (scale[pool], shift[pool]), residual)

    def _dilated(self) -> list[nn.Conv2d]:
        return [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]

    def _offset(self) -> Tensor:
        """Return the biases that were not added to the branches; the pooled one comes after a normalization."""
        width = len(self.norm.weight) - len(self.embed_norm.weight)
        own = [conv.get_parameter("bias") for conv in self._dilated()]
        return torch.cat(
            [*own, torch.zeros_like(self.embed.bias[:width]), self.embed.bias[-width:]]
        )


def _image(x: Tensor) -> Tensor:
    """View (B, T, V, C) as (B, C, T, V), channels last in memory."""
    return x.permute(0, 3, 1, 2)


def _convolve(x: Tensor, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve (B, T, V, C) over time."""
    bias = None if bias is None else bias.to(x.dtype)
    return F.conv2d(
        _image(x), weight.to(x.dtype), bias, conv.stride, (*conv.dilation[:1], 0), conv.dilation
    ).permute(0, 2, 3, 1)


def _pool(x: Tensor, stride: int) -> Tensor:
    """Return the maximum of every `stride`-th frame of (B, T, V, C) and its two neighbors; x is not negative."""
    if torch.is_grad_enabled():
        pooled = F.max_pool2d(_image(x), (3, 1), (stride, 1), (1, 0))
        return pooled.permute(0, 2, 3, 1)
    before, center, after = _neighbors(x, stride)
    result = center.clone(memory_format=torch.contiguous_format)
    torch.maximum(result[:, 1:], before, out=result[:, 1:])
    torch.maximum(result[:, : after.shape[1]], after, out=result[:, : after.shape[1]])
    return result


def _pool_backward(grad: Tensor, x: Tensor, stride: int) -> Tensor:
    """Return the gradient of `_pool`'s input; of equal frames, the first one's, as in torch."""
    pooled, result = _pool(x, stride), torch.zeros_like(x)
    left = grad.clone()
    views = zip(_neighbors(x, stride), _neighbors(result, stride), strict=True)
    for place, (frames, out) in zip(("before", "center", "after"), views, strict=True):
        own = slice(1, None) if place == "before" else slice(frames.shape[1])
        taken = left[:, own] * (frames == pooled[:, own])
        out += taken
        left[:, own] -= taken
    return result


def _neighbors(x: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """View the frames before (of all windows but the first), at and after (where there is one) each center."""
    last = (num_windows(x.shape[1], stride) - 1) * stride
    return x[:, stride - 1 : last : stride], x[:, ::stride], x[:, 1::stride]


def temporal_branches(
    embedded: Tensor,
    norm: BatchNorm,
    offset: Tensor,
    convs: nn.ModuleList,
    batch: Batch,
    *,
    stride: int,
) -> Tensor:
    """Return all branches side by side before the last normalization, storing only the input; in training.

    Args:
        embedded: (B, T, V, C), every branch's first convolution; the last branch is not normalized.
        norm: of the others.
        offset: (C,), the bias that was not added to `embedded`.
        convs: one for each branch but the last two.
        batch: what the rows stand for.
        stride: frames between two outputs.

    Returns:
        (B, T', V, C).
    """
    channels = len(norm.weight)
    seen = Normalization.of(embedded.detach(), norm, offset[:channels].detach(), batch)
    weights = [conv.weight for conv in convs]
    result: Tensor = _TemporalBranches.apply(  # type: ignore[no-untyped-call]  # torch's
        seen, list(convs), stride, embedded, norm.weight, norm.bias, offset, *weights
    )
    return result


class _TemporalBranches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norm: Normalization,
        convs: list[nn.Conv2d],
        stride: int,
        embedded: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.norm, ctx.convs, ctx.stride = norm, convs, stride
        ctx.save_for_backward(embedded, *parameters[3:])
        frames = num_windows(embedded.shape[1], stride)
        result = embedded.new_empty(len(embedded), frames, *embedded.shape[2:])
        width = embedded.shape[3] - norm.channels
        for i in slabs(embedded):
            parts = [
                _convolve(_active(embedded[i], norm, k, width), conv, conv.weight, None)
                for k, conv in enumerate(convs)
            ]
            parts.append(_pool(_active(embedded[i], norm, len(convs), width), stride))
            parts.append(embedded[i][:, ::stride, :, -width:])
            torch.cat(parts, dim=3, out=result[i])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        embedded, *weights = ctx.saved_tensors
        norm, width = ctx.norm, embedded.shape[3] - ctx.norm.channels
        total = torch.zeros_like(embedded)
        grad_weights = [torch.zeros_like(weight) for weight in weights]
        for i in slabs(embedded):
            for k in range(len(weights) + 1):
                own = slice(k * width, (k + 1) * width)
                active = _active(embedded[i], norm, k, width)
                part = grad[i][..., own].contiguous()
                if k < len(weights):
                    part, grad_weight = _convolve_backward(part, active, ctx.convs[k], weights[k])
                    grad_weights[k] += grad_weight
                else:
                    part = _pool_backward(part, active, ctx.stride)
                total[i][..., own] = torch.ops.aten.threshold_backward(part, active, 0)
            total[i][:, :: ctx.stride, :, -width:] = grad[i][..., -width:]
        grad_embedded, *grads = norm.backward(total, embedded, in_place=True)
        grad_offset = torch.zeros_like(norm.mean)
        return None, None, None, grad_embedded, *grads, grad_offset, *grad_weights


def _active(x: Tensor, norm: Normalization, branch: int, width: int) -> Tensor:
    """Return the normalized, cut off channels of one branch, (B, T, V, width)."""
    own = slice(branch * width, (branch + 1) * width)
    active = x[..., own].contiguous()
    scale, shift = tiled(norm.scale[own], active), tiled(norm.shift[own], active)
    affine(flat(active), scale, shift, flat(active))
    return active.relu_()


def _convolve_backward(
    grad: Tensor, x: Tensor, conv: nn.Conv2d, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x, (B, T, V, C), and of the weight."""
    by_products = in_slabs(x)
    wanted = [True, not by_products, False]
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        *(_image(grad), _image(x), weight.to(x.dtype), None),
        *(conv.stride, conv.padding, conv.dilation, False, [0, 0], 1, wanted),
    )
    if by_products:
        grad_weight = _weight_gradient(grad, x, conv)
    return grad_x.permute(0, 2, 3, 1), grad_weight.to(weight.dtype)


def _weight_gradient(grad: Tensor, x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return a convolution's gradient of the weight: one product for each of its frames, twice as fast on a CPU."""
    stride, (length, _), dilation = int(conv.stride[0]), conv.kernel_size, int(conv.dilation[0])
    result = grad.new_zeros(length, grad.shape[3], x.shape[3])
    for place in range(length):
        shift = place * dilation - int(conv.padding[0])  # input frame t * stride + shift meets t
        first = max(-(shift // stride), 0)
        last = min((x.shape[1] - 1 - shift) // stride + 1, grad.shape[1])
        if last > first:
            seen = x[:, first * stride + shift : (last - 1) * stride + shift + 1 : stride]
            torch.mm(
                grad[:, first:last].reshape(-1, grad.shape[3]).t(),
                seen.reshape(-1, x.shape[3]),
                out=result[place],
            )
    return result.permute(1, 2, 0)[..., None]
