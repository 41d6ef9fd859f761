"""The five operations in plain torch: the contract of every other implementation, and what is exported and counted.

Axes are (B, T, V, C): bodies, frames, joints, channels.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualhead.models.ops.norm import BatchNorm, Term, normalize


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map the last axis linearly, in the precision of x."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def graph_conv(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gather over all joints at each of K scales, then mix channels (Eq. 1 before its normalization).

    Args:
        x: (B, T, V, C).
        adjacency: (K, V, V).
        weight: (O, K * C).
        bias: (O,); None where a normalization follows, which takes it out again.

    Returns:
        (B, T, V, O).
    """
    gathered = torch.einsum("kvu,btuc->btvkc", adjacency.to(x.dtype), x)
    return linear(gathered.flatten(3), weight, bias)


def window_graph_conv(
    x: Tensor, adjacency: Tensor, weight: Tensor, *, window: int, stride: int
) -> Tensor:
    """Gather in windows of frames, over all joints of all their frames (MS-G3D).

    Args:
        x: (B, T, V, C).
        adjacency: (K, W * V, W * V), joints of the first frame first.
        weight: (O, K * C).
        window: W, odd.
        stride: frames from one window's middle to the next; the first is frame 0, beyond the ends are zeros.

    Returns:
        (B, ceil(T / stride), V, W * O).
    """
    beyond, joints = window // 2, x.shape[2]
    windows = F.pad(x, (0, 0, 0, 0, beyond, beyond)).unfold(1, window, stride)  # (B, T', V, C, W)
    blocks = adjacency.to(x.dtype).view(-1, window, joints, window, joints)
    gathered = torch.einsum("kwvju,btucj->btvwkc", blocks, windows)
    return linear(gathered.flatten(4), weight).flatten(3)


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
    """Return an MS-TCN's branches side by side, as a summand of `relu_sum` (Eq. 2).

    Each is a 1x1 convolution; of all but the last it is normalized and cut off at zero, and a dilated convolution over
    time follows or, in the last but one, the maximum of three frames.

    Args:
        x: (B, T, V, C).
        embed: the 1x1 convolutions of all branches, to O channels.
        norm: the normalization of all branches but the last.
        convs: a dilated convolution for each branch but the last two.
        last: the last normalization of all branches.
        offset: their biases in front of it, (O,).
        stride: frames between two outputs.

    Returns:
        (B, ceil(T / stride), V, O), with `last` to be normalized by, or normalized.
    """
    width = len(embed.weight) - len(norm.weight)
    inner = linear(x, embed.weight[:-width])
    active = F.relu(normalize(Term(inner, norm, embed.bias[:-width])))
    *parts, pooled = torch.split(active, width, dim=3)
    results = [convolve(part, conv) for part, conv in zip(parts, convs, strict=True)]
    plain = linear(x[:, ::stride], embed.weight[-width:])
    branches = torch.cat([*results, max_pool(pooled, stride), plain], dim=3)
    return Term(branches, last, offset)


def convolve(x: Tensor, conv: nn.Conv2d, bias: Tensor | None = None) -> Tensor:
    """Convolve (B, T, V, C) over time."""
    image, weight = x.permute(0, 3, 1, 2), conv.weight.to(x.dtype)
    y = F.conv2d(image, weight, bias, conv.stride, conv.padding, conv.dilation)
    return y.permute(0, 2, 3, 1)


def max_pool(x: Tensor, stride: int) -> Tensor:
    """Return the maximum of every `stride`-th frame of (B, T, V, C) and its two neighbors."""
    image = x.permute(0, 3, 1, 2)
    return F.max_pool2d(image, (3, 1), (stride, 1), (1, 0)).permute(0, 2, 3, 1)


def norm_relu_linear(term: Term, weight: Tensor) -> Tensor:
    """Normalize, cut off at zero and map linearly.

    Args:
        term: x, (B, T, V, W * C), and the normalization of C channels.
        weight: (O, W * C).

    Returns:
        (B, T, V, O).
    """
    x, norm, offset = term
    by_channel = x.view(*x.shape[:3], -1, len(norm.weight))
    return linear(F.relu(normalize(Term(by_channel, norm, offset))).flatten(3), weight)


def relu_sum(*summands: Term | Tensor) -> Tensor:
    """Return the sum of all summands, terms normalized, cut off at zero; each is (B, T, V, C)."""
    parts = [normalize(part) if isinstance(part, Term) else part for part in summands]
    return F.relu(sum(parts[1:], start=parts[0]))
