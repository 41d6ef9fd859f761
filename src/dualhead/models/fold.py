"""Networks for inference alone: every normalization folded into the weights before it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dualhead.models import ops
from dualhead.models.dualhead import (
    MultiScaleGraphConv,
    MultiScaleTemporalConv,
    STGCBlock,
    WindowGraphConv,
)
from dualhead.models.ops import encoder
from dualhead.models.ops.cpu.slabs import add_product, flat, slabs, tiled
from dualhead.models.ops.cpu.temporal import pool
from dualhead.models.ops.norm import BatchNorm
from dualhead.models.ops.plain import convolve, linear, max_pool


@torch.no_grad()
def fold(model: nn.Module) -> nn.Module:
    """Return a copy of a network that computes the same in eval mode, faster; its weights must not change.

    The normalization of the data stays: the zeros beyond the ends are padded after it. The features of an absent body
    are kept as soon as they are known.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for name, module in list(folded.named_modules()):
        if isinstance(module, STGCBlock):
            folded.set_submodule(name, FoldedBlock(module))
    folded.absent = {}  # type: ignore[assignment]  # nn.Module knows tensors and modules alone
    return folded


def scale_and_shift(norm: BatchNorm, offset: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return scale and shift, (C,), of a normalization by running statistics; `offset` is a bias in front of it."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    mean = norm.running_mean if offset is None else norm.running_mean - offset
    return scale, norm.bias - mean * scale


class FoldedBlock(nn.Module):
    """An STGC block: products of pathways and residual add to the branches, whose biases are those of all."""

    def __init__(self, block: STGCBlock) -> None:
        super().__init__()
        first, second = block.temporal
        assert isinstance(first, MultiScaleTemporalConv)
        assert isinstance(second, MultiScaleTemporalConv)
        windows = [FoldedWindow(part) for part in block.pathways]
        self.graph = FoldedGraphConv(block.graph)
        self.first = FoldedTemporalConv(first)
        self.second = FoldedTemporalConv(second, [window.offset for window in windows])
        self.windows = nn.ModuleList(windows)
        self.fusion = FoldedTemporalConv(block.fusion)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output.

        Raises:
            ValueError: where torch records the operations: what they write to in place is not fit for that.
        """
        if encoder.is_exported():
            raise ValueError("a folded network cannot be exported; export the network itself")
        total: Tensor = self.second(self.first(self.graph(x)).relu_())
        for window in self.windows:
            assert isinstance(window, FoldedWindow)
            window.add_to(total, x)
        fused: Tensor = self.fusion(total.relu_())
        return fused.relu_()


class FoldedGraphConv(nn.Module):
    """MS-GCN."""

    def __init__(self, module: MultiScaleGraphConv) -> None:
        super().__init__()
        scale, shift = scale_and_shift(module.norm, module.mix.bias)
        self.adjacency = nn.Buffer(module.adjacency + module.residual)
        self.weight = nn.Buffer(module.mix.weight * scale[:, None])
        self.bias = nn.Buffer(shift)

    def forward(self, x: Tensor) -> Tensor:
        """Gather, mix and cut off at zero."""
        return ops.graph_conv(x, self.adjacency, self.weight, self.bias).relu_()


class FoldedWindow(nn.Module):
    """One window of MS-G3D; `offset` is to be added to its result."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        assert isinstance(module, WindowGraphConv)
        scale, shift = scale_and_shift(module.norm, module.mix.bias)
        out_scale, out_shift = scale_and_shift(module.out_norm, module.collapse.bias)
        self.window, self.stride = module.window, module.stride
        self.adjacency = nn.Buffer(module.adjacency + module.residual)
        self.weight = nn.Buffer(module.mix.weight * scale[:, None])
        self.least = nn.Buffer(-shift)
        self.collapse = nn.Buffer(module.collapse.weight * out_scale[:, None])
        self.offset = nn.Buffer(out_shift + self.collapse @ shift.repeat(self.window))

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add the result to `total`, (B, T', V, C), all but its offset."""
        shape, inside = {"window": self.window, "stride": self.stride}, self.collapse.shape[1]
        # where few channels come in, the many that they become in the windows stay in the cache
        few = x.shape[3] < len(self.weight) and ops.chosen(x) == "cpu"
        for i in slabs(x, total[:1, ..., 0].numel() * inside) if few else [slice(None)]:
            h = ops.window_graph_conv(x[i], self.adjacency, self.weight, **shape)
            # relu(h + shift) is max(h, -shift) + shift; the last summand is in the offset
            h = flat(h).clamp_(min=tiled(self.least, h).to(h.dtype)).reshape(-1, inside)
            add_product(total[i].flatten(0, 2), h, self.collapse.to(h.dtype).t())


class FoldedTemporalConv(nn.Module):
    """MS-TCN without its last ReLU; the branches are all channels side by side, so their biases are the sum's."""

    def __init__(self, module: MultiScaleTemporalConv, offsets: list[Tensor] | None = None) -> None:
        """Fold an MS-TCN; `offsets` are to be added to the sum."""
        super().__init__()
        width, self.stride = module.width, module.stride
        inner_scale, inner_shift = scale_and_shift(module.embed_norm)
        scale, shift = scale_and_shift(module.norm, module.offset())
        self.residual: Tensor | None
        residual = None
        if module.residual is not None and module.residual_norm is not None:
            own_scale, own_shift = scale_and_shift(module.residual_norm, module.residual.bias)
            residual, shift = module.residual.weight * own_scale[:, None], shift + own_shift
        self.register_buffer("residual", residual)
        shift = sum(offsets or [], start=shift)
        embed_scale = torch.cat([inner_scale, scale[-width:]])
        bias = module.embed.bias * embed_scale
        self.embed = nn.Buffer(module.embed.weight * embed_scale[:, None])
        self.bias = nn.Buffer(torch.cat([bias[:-width] + inner_shift, shift[-width:]]))
        self.convs = nn.ModuleList(module.dilated())
        for conv, own, bias in zip(
            module.dilated(), torch.split(scale, width), torch.split(shift, width), strict=False
        ):
            conv.weight.mul_(own[:, None, None, None])
            conv.get_parameter("bias").copy_(bias)
        self.pool_scale = nn.Buffer(scale[-2 * width : -width])
        self.pool_shift = nn.Buffer(shift[-2 * width : -width])

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of branches and residual."""
        embedded = linear(x, self.embed, self.bias)
        *active, pooled, plain = torch.split(embedded, len(self.pool_scale), dim=3)
        convs = [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]
        parts = [
            convolve(part.contiguous().relu_(), conv, conv.get_parameter("bias").to(x.dtype))
            for part, conv in zip(active, convs, strict=True)
        ]
        largest = pool if ops.chosen(x) == "cpu" else max_pool
        pooled = largest(pooled.contiguous().relu_(), self.stride)
        parts.append(pooled * self.pool_scale.to(x.dtype) + self.pool_shift.to(x.dtype))
        total = torch.cat([*parts, plain[:, :: self.stride]], dim=3)
        if self.residual is None:
            return total.add_(x)
        skipped = x[:, :: self.stride].reshape(-1, x.shape[3])
        add_product(total.flatten(0, 2), skipped, self.residual.to(x.dtype).t())
        return total
