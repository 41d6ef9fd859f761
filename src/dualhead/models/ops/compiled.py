"""The five operations as a compiler for GPUs wants them: few and large products, all else in passes that it can fuse.

Each equals its namesake in `plain`. Run without a compiler they move more than `plain` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dualhead.models.ops.norm import EVERY, BatchNorm, Term, weighted_norm, wide
from dualhead.models.ops.plain import linear

DENSE = 96
"""Channels up to which all scales of MS-GCN are one matrix: twice the operations, and no gathered tensor."""

FEW = 16
"""Channels below which windows are one matrix, too."""

ALIGNED = 8
"""Multiple that a matrix's rows are filled up to, by zeros: a GPU's fast products want 16 bytes at a time."""


def _aligned(x: Tensor) -> Tensor:
    """Return a matrix, or several, with columns of zeros that fill its rows up."""
    missing = -x.shape[-1] % ALIGNED
    return F.pad(x, (0, missing)) if missing else x


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return rows @ matrix."""
    return _aligned(rows) @ _aligned(matrix.t()).t()


def graph_conv(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gather and mix as `plain.graph_conv` does, by one matrix from (joint, channel) to (joint, channel)."""
    bodies, frames, joints, channels = x.shape
    if channels > DENSE:
        return _gather(x, adjacency, weight, bias)
    by_scale = weight.view(len(weight), -1, channels)
    matrix = torch.einsum("kvu,okc->ucvo", adjacency, by_scale).reshape(joints * channels, -1)
    rows = x.reshape(bodies * frames, joints * channels)
    mixed = _product(rows, matrix.to(x.dtype)).view(bodies, frames, joints, -1)
    return mixed if bias is None else mixed + bias.to(x.dtype)


def _gather(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Gather all scales of a frame by one product, whose rows (joint, scale) are those that are mixed."""
    bodies, frames, joints, channels = x.shape
    gather = adjacency.transpose(0, 1).reshape(-1, joints).to(x.dtype)
    nodes = x.reshape(bodies * frames, joints, channels)
    gathered = torch.bmm(gather.expand(len(nodes), -1, -1), nodes)
    return linear(gathered.view(bodies, frames, joints, -1), weight, bias)


def window_graph_conv(
    x: Tensor, adjacency: Tensor, weight: Tensor, *, window: int, stride: int
) -> Tensor:
    """Gather and mix in windows as `plain.window_graph_conv` does; nothing is unfolded where many channels come in."""
    joints, channels = x.shape[2:]
    blocks = adjacency.view(-1, window, joints, window, joints)  # scale, to (frame, joint), from
    by_scale = weight.view(len(weight), -1, channels)
    if channels < FEW:
        return _dense_windows(x, blocks, by_scale, stride)
    result: Tensor = _Windows.apply(x, blocks, by_scale, stride)  # type: ignore[no-untyped-call]  # torch's
    return result


def _dense_windows(x: Tensor, blocks: Tensor, by_scale: Tensor, stride: int) -> Tensor:
    """Map whole windows, (frame, joint, channel), to (joint, frame, channel)."""
    bodies, _, joints, channels = x.shape
    window = blocks.shape[1]
    parts = torch.stack(_places(x, window, stride), dim=2)  # (B, T', W, V, C)
    matrix = torch.einsum("kwviu,okc->iucvwo", blocks, by_scale)
    matrix = matrix.reshape(window * joints * channels, -1).to(x.dtype)
    rows = _product(parts.reshape(-1, window * joints * channels), matrix)
    return rows.view(bodies, parts.shape[1], joints, -1)


def _places(x: Tensor, window: int, stride: int, value: float = 0.0) -> list[Tensor]:
    """Return, for each place in a window, the frame that every window has there; `value` beyond the ends."""
    beyond, last = window // 2, (x.shape[1] - 1) // stride * stride
    after = max(last + window - beyond - x.shape[1], 0)
    padded = F.pad(x, (0, 0, 0, 0, beyond, after), value=value)
    return [padded[:, place : place + last + 1 : stride] for place in range(window)]


class _Slots:
    """Frames of all bodies in one row, zeros between them, so that all windows are one uniformly strided view.

    A body takes `count` slots of `stride` frames, of which each begins a window; the last of them may belong to nobody.
    """

    def __init__(self, x: Tensor, window: int, stride: int) -> None:
        self.window, self.stride = window, stride
        self.bodies, self.frames = x.shape[:2]
        self.before = window // 2
        self.windows = -(-self.frames // stride)
        # the zeros in front of the next body end this one's last window
        reach = max(self.before + self.frames, (self.windows - 1) * stride + window - self.before)
        self.count = -(-reach // stride)
        # frames behind all, from which a product takes the rows that its columns of zeros ask for
        self.beyond = -(-ALIGNED // x.shape[2])

    def lay_out(self, x: Tensor) -> Tensor:
        """Return x, (B, T, V, C), in its slots, (frames, V, C)."""
        body = self.count * self.stride
        rest = -(
            -(max(self.window - self.stride, 0) + self.beyond) // body
        )  # in bodies: one copy, not two
        behind = body - self.before - self.frames
        return F.pad(x, (0, 0, 0, 0, self.before, behind, 0, rest)).flatten(0, 1)

    def pick_up(self, row: Tensor) -> Tensor:
        """Return the bodies that lie in a row of slots, (B, T, V, C)."""
        own = row[: self.bodies * self.count * self.stride]
        by_body = own.view(self.bodies, -1, *row.shape[1:])
        return by_body[:, self.before : self.before + self.frames]

    def views(self, row: Tensor, length: int | None = None) -> Tensor:
        """Return every slot's window, (slots, W * rows or `length`, channels), of (frames, rows, channels)."""
        length = self.window * row.shape[1] if length is None else length
        return _overlapping(row, self.bodies * self.count, length, self.stride)


def _overlapping(row: Tensor, count: int, length: int, step: int, first: int = 0) -> Tensor:
    """View `count` parts of (frames, rows, channels), `length` rows each, `step` frames behind the one before.

    The first begins with the frame `first`. The row must be no part of another tensor: Inductor counts from where
    memory begins.
    """
    _, rows, channels = row.shape
    frame = rows * channels
    return row.as_strided((count, length, channels), (step * frame, channels, 1), first * frame)


class _Windows(torch.autograd.Function):
    """Mix each frame's channels for all scales, then gather in overlapping windows; its backward stacks no windows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Tensor, by_scale: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, blocks, by_scale)
        ctx.stride = stride
        slots = _Slots(x, blocks.shape[1], stride)
        mixed = _mix(slots.lay_out(x), by_scale)
        gather = _aligned(_gathering(blocks).flatten(1).to(x.dtype))
        parts = slots.views(mixed, gather.shape[1])
        h = torch.bmm(gather.expand(len(parts), -1, -1), parts)
        h = h.view(slots.bodies, slots.count, x.shape[2], -1)
        return h[:, : slots.windows]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, blocks, by_scale = ctx.saved_tensors
        slots = _Slots(x, blocks.shape[1], ctx.stride)
        out, joints = len(by_scale), x.shape[2]
        gather = _gathering(blocks).to(x.dtype)  # (V * W, W, V * K)
        row = slots.lay_out(x)
        mixed = _mix(row, by_scale)
        # slots of nobody have no gradient; in front, as another body's, are windows that would begin before the first
        earlier = (slots.window - 1) // slots.stride
        grads = grad.reshape(slots.bodies, slots.windows, -1, out)
        bodies, after = (-(-count // slots.count) for count in (earlier, slots.beyond))
        behind = slots.count - slots.windows
        grads = F.pad(grads, (0, 0, 0, 0, 0, behind, bodies, after)).flatten(0, 1)
        first, count = bodies * slots.count, slots.bodies * slots.count
        grad_gather = _sum_of_products(grads[first : first + count], slots.views(mixed))
        matrix = _aligned(_scattering(gather, slots.stride, earlier))
        parts = _overlapping(grads, count, matrix.shape[1], 1, first - earlier)
        grad_mixed = torch.bmm(matrix.expand(len(parts), -1, -1), parts)
        by_frame = grad_mixed.view(-1, by_scale.shape[1] * out)  # (frames * V, K * O)
        own = row[: len(parts) * slots.stride].flatten(0, 1)
        grad_x = slots.pick_up((by_frame @ _mixing(by_scale, x).t()).view(-1, joints, x.shape[3]))
        grad_mixing = (own.t() @ by_frame).view(x.shape[3], -1, out)
        grad_blocks = grad_gather.view(joints, slots.window, slots.window, joints, -1)
        return (
            grad_x,
            grad_blocks.permute(4, 1, 0, 2, 3).to(blocks.dtype),
            grad_mixing.permute(2, 1, 0).to(by_scale.dtype),
            None,
        )


def _mixing(by_scale: Tensor, like: Tensor) -> Tensor:
    """Return the matrix that mixes for all scales at once, (C, K * O), of (O, K, C)."""
    return by_scale.permute(2, 1, 0).flatten(1).to(like.dtype)


def _mix(row: Tensor, by_scale: Tensor) -> Tensor:
    """Return the frames of a row mixed, (frames, V * K, O)."""
    mixed = row.flatten(0, 1) @ _mixing(by_scale, row)
    return mixed.view(len(row), -1, len(by_scale))


def _gathering(blocks: Tensor) -> Tensor:
    """Return the adjacency with rows (joint, frame), (V * W, W, V * K), from frame and (joint, scale)."""
    return blocks.permute(2, 1, 3, 4, 0).flatten(0, 1).flatten(2)


def _scattering(gather: Tensor, stride: int, earlier: int) -> Tensor:
    """Return the matrix from the gradients of all windows that hold a slot, oldest first, to its frames' gradients."""
    nothing = torch.zeros_like(gather[:, 0])
    frames: list[Tensor] = []
    for first in range(stride):
        places = range(first + stride * earlier, first - 1, -stride)
        blocks = [gather[:, i] if i < gather.shape[1] else nothing for i in places]
        frames.append(torch.cat(blocks).t())
    return torch.cat(frames)


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum over n of a[n] @ b[n].T."""
    rows, columns = (part.transpose(0, 1).flatten(1) for part in (a, b))
    return rows @ columns.t()


def temporal_branches(
    x: Tensor,
    embed: nn.Linear,
    norm: BatchNorm,
    convs: Iterable[nn.Conv2d],
    last: BatchNorm,
    offset: Tensor,
    *,
    stride: int,
) -> Tensor:
    """Return the branches as `plain.temporal_branches` does, all dilated convolutions as one of a sparse kernel.

    Each part is normalized by itself, so that they are put side by side only as they are added up.
    """
    convs = list(convs)
    width = len(embed.weight) - len(norm.weight)
    inner = width * len(convs)
    dilated, pooled, left = torch.split(linear(x, embed.weight), [inner, width, width], dim=3)
    parts = [
        _maximum(_active(pooled, norm, embed, slice(inner, inner + width)), stride),
        left[:, ::stride],
    ]
    if convs:
        parts.insert(0, _dilated(_active(dilated, norm, embed, slice(inner)), convs, stride))
    results, first = [], 0
    for part in parts:
        own = slice(first, first + part.shape[3])
        results.append(_normalize(Term(part, last, offset[own]), own))
        first = own.stop
    return torch.cat(results, dim=3)


def _active(x: Tensor, norm: BatchNorm, embed: nn.Linear, own: slice) -> Tensor:
    """Return the channels `own` of a normalization, normalized and cut off at zero."""
    return _normalize(Term(x, norm, embed.bias[own]), own, relu=True)


def _dilated(x: Tensor, convs: Sequence[nn.Conv2d], stride: int) -> Tensor:
    """Convolve each branch over time by its own dilation: as one convolution, most of whose kernel is 0."""
    reach = max(conv.dilation[0] for conv in convs)
    count, width = len(convs), len(convs[0].weight)
    weight = torch.stack([conv.weight[..., 0] for conv in convs])  # (branch, O, I, 3)
    branch = torch.arange(count, device=x.device)
    by_branch = [(branch == i) * conv.dilation[0] for i, conv in enumerate(convs)]
    dilation = sum(by_branch[1:], start=by_branch[0])
    taps = torch.arange(2 * reach + 1, device=x.device) - reach
    places = torch.arange(-1, 2, device=x.device) * dilation[:, None]  # (branch, 3)
    own = (branch[:, None, None, None] == branch[:, None, None]) & (
        taps[:, None] == places[:, None, None]
    )  # (branch, branch of the input, tap, 3)
    kernel = (weight[:, :, None, :, None] * own[:, None, :, None].to(weight.dtype)).sum(-1)
    kernel = kernel.reshape(count * width, count * width, -1, 1).to(x.dtype)
    image = F.conv2d(x.permute(0, 3, 1, 2), kernel, None, (stride, 1), (reach, 0))
    return image.permute(0, 2, 3, 1)


def _maximum(x: Tensor, stride: int) -> Tensor:
    """Return the maximum of three frames of x, which is not negative; of equal ones the first has the gradient."""
    before, center, after = _places(x, 3, stride, value=-1.0)
    largest = torch.where(center > before, center, before)
    return torch.where(after > largest, after, largest)


def norm_relu_linear(term: Term, weight: Tensor) -> Tensor:
    """Normalize, cut off and map as `plain.norm_relu_linear` does."""
    x, norm, offset = term
    by_channel = x.view(*x.shape[:3], -1, len(norm.weight))
    return linear(_normalize(Term(by_channel, norm, offset), relu=True).flatten(3), weight)


def relu_sum(*summands: Term | Tensor) -> Tensor:
    """Add up and cut off as `plain.relu_sum` does."""
    first = summands[0]
    if len(summands) == 1 and isinstance(first, Term):
        return _normalize(first, relu=True)
    parts = [_normalize(part) if isinstance(part, Term) else part for part in summands]
    return F.relu(sum(parts[1:], start=parts[0]))


def _normalize(term: Term, own: slice = EVERY, *, relu: bool = False) -> Tensor:
    """Return norm(x + offset), of the channels `own` of the normalization; a training batch by one pass."""
    x, norm, offset = term
    if norm.training:
        return weighted_norm(term, own=own, one_pass=True, relu=relu)
    scale = norm.weight[own] * (norm.running_var[own] + norm.eps).rsqrt()
    mean = norm.running_mean[own] if offset is None else norm.running_mean[own] - offset
    y = ((wide(x) - mean) * scale + norm.bias[own]).to(x.dtype)
    return F.relu(y) if relu else y
