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


def graph_conv(x: Tensor, adjacency: Tensor, weight: Tensor) -> Tensor:
    """Gather over all joints at each of K scales, then mix channels (Eq. 1, without its bias and what follows).

    Args:
        x: (B, T, V, C).
        adjacency: (K, V, V).
        weight: (O, K * C).

    Returns:
        (B, T, V, O).
    """
    gathered = torch.einsum("kvu,btuc->btvkc", adjacency.to(x.dtype), x)
    return linear(gathered.flatten(3), weight)


def window_graph_conv(
    x: Tensor, adjacency: Tensor, weight: Tensor, *, window: int, stride: int
) -> Tensor:
    """Do the same in windows of frames, in which joints gather over all joints of all frames (MS-G3D).

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
    x: Tensor, embed: nn.Linear, norm: BatchNorm, convs: Iterable[nn.Conv2d], *, stride: int
) -> Tensor:
    """Return an MS-TCN's branches side by side, without the last biases and normalizations (Eq. 2).

    Each is a 1x1 convolution; of all but the last it is normalized and cut off at zero, and a dilated convolution over
    time follows or, in the last but one, the maximum of three frames.

    Args:
        x: (B, T, V, C).
        embed: the 1x1 convolutions of all branches, to O channels.
        norm: the normalization of all branches but the last.
        convs: a dilated convolution for each branch but the last two.
        stride: frames between two outputs.

    Returns:
        (B, ceil(T / stride), V, O).
    """
    width = len(embed.weight) - len(norm.weight)
    inner = linear(x, embed.weight[:-width])
    active = F.relu(normalize(Term(inner, norm, embed.bias[:-width])))
    *parts, pooled = torch.split(active.permute(0, 3, 1, 2), width, dim=1)
    results = [
        F.conv2d(part, conv.weight.to(x.dtype), None, (stride, 1), conv.padding, conv.dilation)
        for part, conv in zip(parts, convs, strict=True)
    ]
    results.append(F.max_pool2d(pooled, (3, 1), (stride, 1), (1, 0)))
    plain = linear(x[:, ::stride], embed.weight[-width:])
    return torch.cat([*(result.permute(0, 2, 3, 1) for result in results), plain], dim=3)


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
