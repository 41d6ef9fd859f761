"""MS-G3D: joints gather over space and time at once, in windows of frames (Sec. 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dualhead.models.graph import Array
from dualhead.models.norm import (
    Batch,
    BatchNorm,
    Cache,
    Normalization,
    Term,
    affine,
    flat,
    in_slabs,
    slabs,
    tiled,
)
from dualhead.models.spatial import add_product, frame_windows, gather_mix, num_windows


class WindowGraphConv(nn.Module):
    """Gather K hop distances in windows of frames, mix channels, and reduce each window to one frame (MS-G3D).

    (B, T, V, C) -> (B, ceil(T / stride), V, out_channels); the last normalization is left to who adds the result up.
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        adjacency: Array,
        *,
        window: int,
        stride: int,
    ) -> None:
        """Make the module.

        Args:
            channels: of the input, inside the window, of the output.
            adjacency: (K, W * V, W * V).
            window: W, frames.
            stride: frames from one window to the next.
        """
        super().__init__()
        in_channels, embed_channels, out_channels = channels
        self.window, self.stride = window, stride
        self.transform_first = in_channels >= embed_channels
        self.adjacency: Tensor
        self.register_buffer("adjacency", torch.from_numpy(adjacency), persistent=False)
        self.residual = nn.Parameter(torch.empty(adjacency.shape).uniform_(-1e-6, 1e-6))
        self.mix = nn.Linear(len(adjacency) * in_channels, embed_channels)
        self.norm = BatchNorm(embed_channels)
        self.collapse = nn.Linear(window * embed_channels, out_channels)  # Conv3d (1, W, 1)
        self.out_norm = BatchNorm(out_channels)

        self.folded = Cache()

    def term(self, x: Tensor, batch: Batch) -> Term:
        """Return what is to be normalized and added up, in training."""
        h = self._hidden(x, self._gather(), self.mix.weight)
        inner = Term(h, self.norm, self.mix.bias)
        collapsed = norm_relu_linear(inner, self.collapse.weight, batch)
        return Term(collapsed, self.out_norm, self.collapse.bias)

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add the normalized result to `total`, all but its offset; at evaluation."""
        gather, weight, shift, collapse, _ = self.folded.get(self, self.fold)
        frames, joints, inside = total.shape[1], x.shape[2], self.collapse.in_features
        # where few channels come in, the many that they become in the windows stay in the cache
        parts = [slice(None)] if self.transform_first else slabs(x, frames * joints * inside)
        for i in parts:
            h = self._hidden(x[i], gather, weight)
            # relu(h + shift) is max(h, -shift) + shift; the last summand is in the offset
            h = flat(h).clamp_(min=-tiled(shift, h).to(h.dtype)).view(-1, inside)
            add_product(total[i].flatten(0, 2), h, collapse.to(h.dtype).t())

    def _hidden(self, x: Tensor, gather: Tensor, weight: Tensor) -> Tensor:
        """Return (B, T', V, W * embed_channels)."""
        run = mix_gather if self.transform_first else gather_mix
        h = run(x, gather, weight, window=self.window, stride=self.stride)
        return h.view(*h.shape[:2], x.shape[2], -1)

    def _gather(self) -> Tensor:
        """Return the adjacency from (frame, joint, scale), or with rows (joint, frame, scale)."""
        adjacency = self.adjacency + self.residual
        joints = adjacency.shape[1] // self.window
        blocks = adjacency.view(-1, self.window, joints, self.window, joints)
        if self.transform_first:
            return blocks.permute(2, 1, 3, 4, 0).reshape(joints * self.window, -1)
        return blocks.permute(2, 1, 0, 3, 4).reshape(-1, self.window * joints)

    def fold(self) -> tuple[Tensor, ...]:
        """Return adjacency, weight and shift inside the windows, weight and offset after, normalizations in them."""
        scale, shift = self.norm.folded(self.mix.bias)
        out_scale, out_shift = self.out_norm.folded(self.collapse.bias)
        collapse = self.collapse.weight * out_scale[:, None]
        offset = out_shift + collapse @ shift.repeat(self.window)
        return self._gather(), self.mix.weight * scale[:, None], shift, collapse, offset


def mix_gather(x: Tensor, gather: Tensor, weight: Tensor, *, window: int, stride: int) -> Tensor:
    """Mix each frame's channels once for all its windows, then gather; one body's mixed channels are held.

    Args:
        x: (B, T, V, C).
        gather: (R, W * V * K), from (frame, joint, scale).
        weight: (out_channels, K * C).
        window: W, odd.
        stride: of the windows.

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
            torch.bmm(gather.expand(len(parts), -1, -1), parts, out=h[i].flatten(0, 1))
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
            grad = nn.functional.pad(grad, (0, 0, 0, 0, before, after))
        grad = grad[:, max(oldest, 0) :]
        parts = frame_windows(grad, self.count, self.span, 1)
        return torch.bmm(self.matrix.expand(len(parts), -1, -1), parts)


def _add_products(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the sum over i of a[i] @ b[i].T to `total`."""
    if in_slabs(total):
        for left, right in zip(a, b, strict=True):
            add_product(total, left, right.t())
    else:
        total += torch.einsum("nac,nbc->ab", a, b)


def norm_relu_linear(term: Term, weight: Tensor, batch: Batch) -> Tensor:
    """Normalize, cut off at zero and map linearly, storing only the input; in training.

    Args:
        term: x, (B, T, V, W * C), and the normalization of C channels.
        weight: (out_channels, W * C).
        batch: what the rows of x stand for.

    Returns:
        (B, T, V, out_channels).
    """
    x, norm, offset = term
    by_channel = x.detach().view(*x.shape[:3], -1, len(norm.weight))
    seen = Normalization.of(by_channel, norm, offset, batch)
    result: Tensor = _NormReluLinear.apply(seen, x, norm.weight, norm.bias, offset, weight)  # type: ignore[no-untyped-call]  # torch's
    return result


class _NormReluLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norm: Normalization,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        offset: Tensor | None,
        weight: Tensor,
    ) -> Tensor:
        ctx.norm, ctx.offset = norm, offset is not None
        ctx.save_for_backward(x, weight)
        matrix = weight.to(x.dtype).t()
        result = x.new_empty(*x.shape[:3], len(weight))
        for i in slabs(x):
            active = _active(x[i], norm)
            torch.mm(active, matrix, out=result[i].flatten(0, 2))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        norm, grad, matrix = ctx.norm, grad.contiguous(), weight.to(x.dtype)
        grad_active, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        for i in slabs(x):
            active, rows = _active(x[i], norm), grad[i].flatten(0, 2)
            add_product(grad_weight, rows.t(), active)
            own = torch.mm(rows, matrix, out=grad_active[i].flatten(0, 2))
            torch.ops.aten.threshold_backward.grad_input(own, active, 0, grad_input=own)
        shape = (*x.shape[:3], -1, len(norm.mean))
        grad_x, *grads = norm.backward(grad_active.view(shape), x.view(shape), in_place=True)
        grad_offset = torch.zeros_like(norm.mean) if ctx.offset else None
        return None, grad_x.view_as(x), *grads, grad_offset, grad_weight


def _active(x: Tensor, norm: Normalization) -> Tensor:
    """Return the normalized, cut off rows of a slab, (B * T * V, W * C)."""
    active = torch.empty_like(x)
    affine(flat(x), tiled(norm.scale, x), tiled(norm.shift, x), flat(active))
    return active.relu_().flatten(0, 2)
