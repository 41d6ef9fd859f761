"""The STGC block: space and time together in windows, and one after the other, side by side (Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualhead.layout import SkeletonLayout
from dualhead.models.graph import k_hop, windowed
from dualhead.models.norm import Batch, Cache, normalized_sum
from dualhead.models.spatial import MultiScaleGraphConv
from dualhead.models.temporal import Folded, MultiScaleTemporalConv
from dualhead.models.window import WindowGraphConv


class BlockShape(NamedTuple):
    """What distinguishes one STGC block from another.

    Attributes:
        channels: of the input, inside MS-GCN, inside the windows, of the output.
        windows: lengths of the MS-G3D pathways; none for the factorized path alone.
        dilations: of every MS-TCN.
        stride: over time.
    """

    channels: tuple[int, int, int, int]
    windows: Sequence[int]
    dilations: Sequence[int]
    stride: int


class STGCBlock(nn.Module):
    """MS-G3D pathways beside MS-GCN and two MS-TCNs, added up; then a third MS-TCN (Fig. 3).

    (B, T, V, C) -> (B, ceil(T / stride), V, out_channels)
    """

    def __init__(
        self, layout: SkeletonLayout, gcn_scales: int, g3d_scales: int, shape: BlockShape
    ) -> None:
        super().__init__()
        in_channels, middle, embed, out_channels = shape.channels
        if any(window % 2 == 0 for window in shape.windows):
            raise ValueError(
                f"windows {list(shape.windows)}: expected odd lengths, which have a middle frame"
            )
        self.pathways = nn.ModuleList(
            WindowGraphConv(
                (in_channels, embed, out_channels),
                windowed(layout, g3d_scales, window),
                window=window,
                stride=shape.stride,
            )
            for window in shape.windows
        )
        self.graph = MultiScaleGraphConv(in_channels, middle, k_hop(layout, gcn_scales))
        self.temporal = nn.ModuleList(
            [
                MultiScaleTemporalConv(middle, out_channels, shape.dilations, stride=shape.stride),
                MultiScaleTemporalConv(out_channels, out_channels, shape.dilations),
            ]
        )
        self.fusion = MultiScaleTemporalConv(out_channels, out_channels, shape.dilations)
        self.folded = Cache()

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """Return the block's output; `batch` says what the rows of x stand for."""
        first, second = self.temporal
        assert isinstance(second, MultiScaleTemporalConv)
        factorized = first(self.graph(x, batch), batch)
        if self.training:
            terms, plain = second.terms(factorized, batch)
            terms += [pathway.term(x, batch) for pathway in self._windows()]
            both = normalized_sum(terms, batch, plain=plain, activation=True)
        else:
            both = second.branch_sum(factorized, self.folded.get(self, self._fold))
            for pathway in self._windows():
                pathway.add_to(both, x)
            both = both.relu_()
        fused: Tensor = self.fusion(both, batch)
        return fused

    def _windows(self) -> list[WindowGraphConv]:
        return [part for part in self.pathways if isinstance(part, WindowGraphConv)]

    def _fold(self) -> Folded:
        """Return the second MS-TCN's parts, the offsets of the pathways in them."""
        second = self.temporal[1]
        assert isinstance(second, MultiScaleTemporalConv)
        offsets = [part.folded.get(part, part.fold)[-1] for part in self._windows()]
        return second.fold(torch.stack(offsets).sum(0) if offsets else None)
