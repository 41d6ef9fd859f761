"""Gathering over joints, and over the joints of windows of frames (MS-GCN, MS-G3D)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dualhead.models.ops.cpu.slabs import add_product, product, slabs


def graph_conv(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gather, then mix channels: rows (v, k) make a frame's gathered (V, K, C) a matrix as it lies."""
    return gather_mix(x, adjacency.transpose(0, 1).flatten(0, 1), weight, bias)


def window_graph_conv(
    x: Tensor, adjacency: Tensor, weight: Tensor, *, window: int, stride: int
) -> Tensor:
    """Mix channels, then gather, where that makes the smaller tensor; else as above."""
    joints = x.shape[2]
    blocks = adjacency.view(-1, window, joints, window, joints)
    if x.shape[3] >= len(weight):
        gather = blocks.permute(2, 1, 3, 4, 0).reshape(joints * window, -1)
        h = mix_gather(x, gather, weight, window=window, stride=stride)
    else:
        gather = blocks.permute(2, 1, 0, 3, 4).reshape(-1, window * joints)
        h = gather_mix(x, gather, weight, window=window, stride=stride)
    return h.view(*h.shape[:2], joints, -1)


def num_windows(num_frames: int, stride: int) -> int:
    """Return the number of windows of any odd length, centered on every `stride`-th frame."""
    return -(-num_frames // stride)


def windows(x: Tensor, window: int, stride: int) -> Tensor:
    """Return the windows centered on every `stride`-th frame, zeros beyond both ends.

    (B, T, V, C) -> (B * T', W * V, C), a view of the padded frames for one body.
    """
    pad = (window - 1) // 2
    frames, length = x.shape[1], num_windows(x.shape[1], stride)
    if window > 1:
        x = F.pad(x, (0, 0, 0, 0, pad, max((length - 1) * stride + window - pad - frames, 0)))
    return frame_windows(x, length, window, stride)


def frame_windows(x: Tensor, length: int, window: int, stride: int) -> Tensor:
    """View (B, T, R, C), contiguous, as its windows (B * length, W * R, C); they overlap."""
    bodies, _, rows, channels = x.shape
    body, frame, row, channel = x.stride()
    shape = (bodies, length, window * rows, channels)
    return x.as_strided(shape, (body, stride * frame, row, channel)).flatten(0, 1)


def gather_mix(
    x: Tensor,
    gather: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    window: int = 1,
    stride: int = 1,
) -> Tensor:
    """Gather over the joints of each window of frames, then mix channels, holding one body's gathered channels.

    Args:
        x: (B, T, V, C).
        gather: (R * K, W * V).
        weight: (out_channels, K * C).
        bias: (out_channels,) or None.
        window: W, odd.
        stride: frames between windows.

    Returns:
        (B, T', R, out_channels).
    """
    result: Tensor = _GatherMix.apply(x, gather, weight, bias, window, stride)  # type: ignore[no-untyped-call]  # torch's
    return result


class _GatherMix(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gather: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: int,
        stride: int,
    ) -> Tensor:
        ctx.save_for_backward(x, gather, weight)
        ctx.window, ctx.stride, ctx.bias = window, stride, bias is not None
        gather, weight = gather.to(x.dtype), weight.to(x.dtype)
        rows = gather.shape[0] * x.shape[3] // weight.shape[1]
        h = x.new_empty(len(x), num_windows(x.shape[1], stride), rows, len(weight))
        for i in slabs(x, h[:1].numel()):
            gathered = _gather(gather, windows(x[i], window, stride)).view(-1, weight.shape[1])
            product(gathered, weight.t(), bias, out=h[i].flatten(0, 2))
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gather, weight = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_gather, grad_weight = torch.zeros_like(gather), torch.zeros_like(weight)
        gather, weight = gather.to(x.dtype), weight.to(x.dtype)
        for i in slabs(x, grad[:1].numel()):
            parts = windows(x[i], ctx.window, ctx.stride)
            gathered = _gather(gather, parts)
            columns, grad_rows = gathered.view(-1, weight.shape[1]), grad[i].flatten(0, 2)
            add_product(grad_weight, grad_rows.t(), columns)
            torch.mm(grad_rows, weight, out=columns)  # from here `gathered` is its gradient
            grad_gather += _sum_of_products(gathered, parts)
            _add_windows(_gather(gather.t(), gathered), grad_x[i], ctx.window, ctx.stride)
        grad_bias = grad.sum((0, 1, 2), dtype=grad_weight.dtype) if ctx.bias else None
        return grad_x, grad_gather, grad_weight, grad_bias, None, None


FEW_CHANNELS = 16
"""Below this, products of one window each are too narrow to be fast, and one of all windows is worth the copies."""


def _gather(gather: Tensor, parts: Tensor) -> Tensor:
    """Return gather @ part for each part, (n, J, C) to (n, R, C)."""
    if parts.shape[2] >= FEW_CHANNELS:
        return torch.bmm(gather.expand(len(parts), -1, -1), parts)
    return (parts.mT.flatten(0, 1) @ gather.t()).view(len(parts), -1, len(gather)).mT.contiguous()


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum over i of a[i] @ b[i].T."""
    if a.shape[2] >= FEW_CHANNELS:
        return torch.bmm(a, b.mT).sum(0)
    return a.mT.flatten(0, 1).t() @ b.mT.flatten(0, 1)


def _add_windows(parts: Tensor, out: Tensor, window: int, stride: int) -> None:
    """Write to each frame the sum of its copies in the windows, (B * T', W * V, C)."""
    bodies, frames, joints, channels = out.shape
    if window == 1 and stride == 1:
        out.copy_(parts.view_as(out))
        return
    parts = parts.view(bodies, -1, window, joints, channels)
    pad, reach = (window - 1) // 2, (parts.shape[1] - 1) * stride + 1
    padded = out.new_zeros(bodies, max(reach + window - 1, pad + frames), joints, channels)
    for offset in range(window):
        padded[:, offset : offset + reach : stride] += parts[:, :, offset]
    out.copy_(padded[:, pad : pad + frames])


def mix_gather(x: Tensor, gather: Tensor, weight: Tensor, *, window: int, stride: int) -> Tensor:
    """Mix each frame's channels once for all its windows, then gather; one body's mixed channels are held.

    Args:
        x: (B, T, V, C).
        gather: (R, W * V * K), from (frame, joint, scale).
        weight: (out_channels, K * C).
        window: W, odd.
        stride: frames between windows.

    Returns:
        (B, T', R, out_channels).
    """
    result: Tensor = _MixGather.apply(x, gather, weight, window, stride)  # type: ignore[no-untyped-call]  # torch's
    return result


class _Mixer:
    """The frames of a slab, mixed for all scales, with the zeros that the windows at both ends reach."""

    def __init__(self, x: Tensor, weight: Tensor, window: int, stride: int) -> None:
        channels = x.shape[3]
        self.scales, self.window, self.stride = weight.shape[1] // channels, window, stride
        self.frames, self.length = x.shape[1], num_windows(x.shape[1], stride)
        self.pad = (window - 1) // 2
        reach = max((self.length - 1) * stride + window, self.pad + self.frames)
        # (C, K * O): one product gives all scales
        self.weight = weight.view(-1, self.scales, channels).permute(2, 1, 0).flatten(1)
        rows, width = x.shape[2] * self.scales, self.weight.shape[1] // self.scales
        bodies = next(slabs(x), slice(0, 0)).stop
        self.buffer = x.new_zeros(bodies, reach, rows, width)

    def mixed(self, x: Tensor) -> Tensor:
        """Return the windows of mixed frames, (B * T', W * V * K, out_channels)."""
        inner = self.buffer[: len(x), self.pad : self.pad + self.frames]
        if len(x) == 1:
            torch.mm(x.flatten(0, 2), self.weight, out=inner[0].view(-1, self.weight.shape[1]))
        else:
            inner.copy_(torch.mm(x.flatten(0, 2), self.weight).view_as(inner))
        return frame_windows(self.buffer[: len(x)], self.length, self.window, self.stride)


class _MixGather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gather: Tensor, weight: Tensor, window: int, stride: int
    ) -> Tensor:
        ctx.save_for_backward(x, gather, weight)
        ctx.window, ctx.stride = window, stride
        gather, mixer = gather.to(x.dtype), _Mixer(x, weight.to(x.dtype), window, stride)
        channels = len(weight)
        h = x.new_empty(len(x), mixer.length, len(gather), channels)
        for i in slabs(x):
            parts = mixer.mixed(x[i])
            gather_windows(gather, parts, h[i].flatten(0, 1))
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gather, weight = ctx.saved_tensors
        grad, grad_gather = grad.contiguous(), torch.zeros_like(gather)
        gather = gather.to(x.dtype)
        mixer = _Mixer(x, weight.to(x.dtype), ctx.window, ctx.stride)
        phases = [_Phase(mixer, gather, phase) for phase in range(min(ctx.stride, ctx.window))]
        grad_x = torch.zeros_like(x) if ctx.stride > ctx.window else torch.empty_like(x)
        grad_mix = weight.new_zeros(mixer.weight.shape)
        for i in slabs(x):
            _add_products(grad_gather, grad[i].flatten(0, 1), mixer.mixed(x[i]))
            for phase in phases:
                grad_mixed = phase.grad(grad[i]).view(-1, mixer.weight.shape[1])
                own = x[i][:, phase.first :: ctx.stride]
                add_product(grad_mix, own.reshape(-1, x.shape[3]).t(), grad_mixed)
                rows = torch.mm(grad_mixed, mixer.weight.t())
                grad_x[i][:, phase.first :: ctx.stride] = rows.view_as(own)
        grad_weight = grad_mix.view(x.shape[3], mixer.scales, -1).permute(2, 1, 0).flatten(1)
        return grad_x, grad_gather, grad_weight, None, None


class _Phase:
    """The frames that lie at one and the same places in their windows: every stride-th one.

    The gradient of such a frame is one product of its windows' gradients, taken as one matrix, so that nothing is
    added up in memory.
    """

    def __init__(self, mixer: _Mixer, gather: Tensor, phase: int) -> None:
        stride, rows = mixer.stride, mixer.buffer.shape[2]
        offsets = range(phase, mixer.window, stride)
        self.first = (phase - mixer.pad) % stride
        in_padded = self.first + mixer.pad
        self.count = len(range(self.first, mixer.frames, stride))
        self.span = len(offsets)
        self.newest = in_padded // stride  # window whose frame number `phase` is the first frame
        self.length = mixer.length
        blocks = gather.view(len(gather), mixer.window, rows)
        # the oldest window that holds a frame holds it at the largest offset
        self.matrix = (
            torch.cat([blocks[:, offset] for offset in reversed(offsets)]).t().contiguous()
        )

    def grad(self, grad: Tensor) -> Tensor:
        """Return the gradient of the phase's mixed frames, (B * frames, V * K, out_channels)."""
        oldest = self.newest - self.span + 1
        before, after = max(-oldest, 0), max(self.newest + self.count - self.length, 0)
        if before or after:
            grad = F.pad(grad, (0, 0, 0, 0, before, after))
        grad = grad[:, max(oldest, 0) :]
        parts = frame_windows(grad, self.count, self.span, 1)
        mixed = grad.new_empty(len(parts), len(self.matrix), parts.shape[2])
        return gather_windows(self.matrix, parts, mixed)


def gather_windows(gather: Tensor, parts: Tensor, out: Tensor) -> Tensor:
    """Write gather @ part for each part, (n, J, C) to (n, R, C), to `out`."""
    if parts.dtype != torch.bfloat16:
        return torch.bmm(gather.expand(len(parts), -1, -1), parts, out=out)
    found = (gather @ _side_by_side(parts)).view(len(gather), len(parts), -1)
    return out.copy_(found.transpose(0, 1))


def _side_by_side(parts: Tensor) -> Tensor:
    """Return (n, J, C) as (J, n * C): in bfloat16 a product costs as much as such a copy of what it multiplies."""
    return parts.transpose(0, 1).flatten(1)


def _add_products(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the sum over i of a[i] @ b[i].T to `total`."""
    if a.dtype == torch.bfloat16:
        add_product(total, _side_by_side(a), _side_by_side(b).t())
    else:
        for left, right in zip(a, b, strict=True):
            add_product(total, left, right.t())
