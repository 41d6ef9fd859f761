"""MS-GCN: joints gather from all joints at each hop distance (Sec. 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dualhead.models.graph import Array
from dualhead.models.norm import Batch, BatchNorm, Cache, Term, normalized_sum, slabs


class MultiScaleGraphConv(nn.Module):
    """Gather K hop distances, then mix channels (MS-GCN, Eq. 1).

    (B, T, V, C) -> (B, T, V, out_channels)

    Paper: fixed adjacency; official code, and we: a learned residual on every entry of it.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Array) -> None:
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", torch.from_numpy(adjacency), persistent=False)
        self.residual = nn.Parameter(torch.empty(adjacency.shape).uniform_(-1e-6, 1e-6))
        self.mix = nn.Linear(len(adjacency) * in_channels, out_channels)
        self.norm = BatchNorm(out_channels)
        self.folded = Cache()

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """Gather and mix."""
        if not self.training:
            return gather_mix(x, *self.folded.get(self, self._fold)).relu_()
        h = gather_mix(x, self._gather(), self.mix.weight)
        return normalized_sum([Term(h, self.norm, self.mix.bias)], batch, activation=True)

    def _gather(self) -> Tensor:
        """Return the adjacency with rows (v, k): a frame's gathered (V, K, C) then is a matrix as it lies."""
        return (self.adjacency + self.residual).transpose(0, 1).flatten(0, 1)

    def _fold(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return adjacency, weight and bias with the normalization in them."""
        scale, shift = self.norm.folded(self.mix.bias)
        return self._gather(), self.mix.weight * scale[:, None], shift


def num_windows(num_frames: int, stride: int) -> int:
    """Return how many windows of any odd length, centered on every `stride`-th frame, there are."""
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
        stride: of the windows.

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
