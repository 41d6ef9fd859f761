"""The branches of MS-TCN: one product for all, then normalization, convolutions and maximum, branch after branch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dualhead.models.ops import plain
from dualhead.models.ops.cpu.gather import num_windows
from dualhead.models.ops.cpu.norm import Normalization
from dualhead.models.ops.cpu.slabs import slabs
from dualhead.models.ops.norm import BatchNorm, Term
from dualhead.models.ops.plain import linear


def _image(x: Tensor) -> Tensor:
    """View (B, T, V, C) as (B, C, T, V), channels last in memory."""
    return x.permute(0, 3, 1, 2)


def _convolve(x: Tensor, conv: nn.Conv2d, weight: Tensor) -> Tensor:
    """Convolve (B, T, V, C) over time."""
    return F.conv2d(
        _image(x), weight.to(x.dtype), None, conv.stride, (*conv.dilation[:1], 0), conv.dilation
    ).permute(0, 2, 3, 1)


def pool(x: Tensor, stride: int) -> Tensor:
    """Return the maximum of every `stride`-th frame of (B, T, V, C) and its two neighbors; x is not negative."""
    before, center, after = _neighbors(x, stride)
    result = center.clone(memory_format=torch.contiguous_format)
    torch.maximum(result[:, 1:], before, out=result[:, 1:])
    torch.maximum(result[:, : after.shape[1]], after, out=result[:, : after.shape[1]])
    return result


def _pool_backward(grad: Tensor, x: Tensor, stride: int) -> Tensor:
    """Return the gradient of `pool`'s input; of equal frames, the first one's, as in torch."""
    pooled, result = pool(x, stride), torch.zeros_like(x)
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
    x: Tensor,
    embed: nn.Linear,
    norm: BatchNorm,
    convs: Iterable[nn.Conv2d],
    last: BatchNorm,
    offset: Tensor,
    *,
    stride: int,
) -> Term | Tensor:
    """Return all branches, storing only what the 1x1 convolutions gave; the contract is `plain`'s."""
    if not norm.training:
        return plain.temporal_branches(x, embed, norm, convs, last, offset, stride=stride)
    embedded, channels = linear(x, embed.weight), len(norm.weight)
    seen = Normalization.of(Term(embedded.detach(), norm, embed.bias[:channels].detach()))
    weights = [conv.weight for conv in convs]
    result: Tensor = _TemporalBranches.apply(  # type: ignore[no-untyped-call]  # torch's
        seen, list(convs), stride, embedded, norm.weight, norm.bias, embed.bias, *weights
    )
    return Term(result, last, offset)


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
        *branches, pooled = _branches(norm, width)
        for i in slabs(embedded):
            parts = [
                _convolve(norm.active(embedded[i], own), conv, conv.weight)
                for own, conv in zip(branches, convs, strict=True)
            ]
            parts.append(pool(norm.active(embedded[i], pooled), stride))
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
            for k, own in enumerate(_branches(norm, width)):
                active = norm.active(embedded[i], own)
                part = grad[i][..., own].contiguous()
                if k < len(weights):
                    part, grad_weight = _convolve_backward(part, active, ctx.convs[k], weights[k])
                    grad_weights[k] += grad_weight
                else:
                    part = _pool_backward(part, active, ctx.stride)
                total[i][..., own] = torch.ops.aten.threshold_backward(part, active, 0)
            total[i][:, :: ctx.stride, :, -width:] = grad[i][..., -width:]
        grad_embedded, *grads = norm.backward(total, embedded, in_place=True)
        grad_bias = torch.zeros_like(norm.mean)  # of what a normalization takes out again
        return None, None, None, grad_embedded, *grads, grad_bias, *grad_weights


def _branches(norm: Normalization, width: int) -> list[slice]:
    """Return the channels of each branch that is normalized."""
    return [slice(first, first + width) for first in range(0, norm.channels, width)]


def _convolve_backward(
    grad: Tensor, x: Tensor, conv: nn.Conv2d, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x, (B, T, V, C), and of the weight."""
    grad_x, _, _ = torch.ops.aten.convolution_backward(
        *(_image(grad), _image(x), weight.to(x.dtype), None),
        *(conv.stride, conv.padding, conv.dilation, False, [0, 0], 1, [True, False, False]),
    )
    return grad_x.permute(0, 2, 3, 1), _weight_gradient(grad, x, conv).to(weight.dtype)


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
