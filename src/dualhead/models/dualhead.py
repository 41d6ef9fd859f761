"""DualHead-Net: a backbone, a coarse and a fine head, and the attention between them (Sec. 3.2 to 3.6).

Inside, axes are (B, T, V, C): bodies, frames, joints, channels. Every convolution but those of the attention, and that
of Eq. 6, has a batch normalization behind it, which takes its bias out again: the bias is handed on as the offset of
the normalization, to be accounted for in the running mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualhead.arrays import Array
from dualhead.layout import SkeletonLayout
from dualhead.models import ops
from dualhead.models.bodies import Bodies, encode_bodies, is_present, without_autocast
from dualhead.models.graph import k_hop, windowed
from dualhead.models.ops.norm import BatchNorm, Term
from dualhead.models.ops.plain import linear
from dualhead.settings.params import Settings


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

    def forward(self, x: Tensor) -> Tensor:
        """Gather and mix."""
        mixed = ops.graph_conv(x, self.adjacency + self.residual, self.mix.weight)
        return ops.relu_sum(Term(mixed, self.norm, self.mix.bias))


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
        self.residual: nn.Linear | None = None
        self.residual_norm: BatchNorm | None = None
        if in_channels != out_channels or stride != 1:
            self.residual = nn.Linear(in_channels, out_channels)
            self.residual_norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of branches and residual through a ReLU."""
        return ops.relu_sum(*self.summands(x))

    def summands(self, x: Tensor) -> tuple[Term | Tensor, Term | Tensor]:
        """Return branches and residual, to be normalized and added up."""
        inner = self.embed, self.embed_norm, self.dilated()
        both = ops.temporal_branches(x, *inner, self.norm, self.offset(), stride=self.stride)
        if self.residual is None or self.residual_norm is None:
            return both, x
        skipped = linear(x[:, :: self.stride], self.residual.weight)
        return both, Term(skipped, self.residual_norm, self.residual.bias)

    def dilated(self) -> list[nn.Conv2d]:
        """Return the dilated convolutions."""
        return [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]

    def offset(self) -> Tensor:
        """Return the last bias of each branch; the pooled one has none after its normalization."""
        own = [conv.get_parameter("bias") for conv in self.convs]
        bias = self.embed.bias
        return torch.cat([*own, torch.zeros_like(bias[: self.width]), bias[-self.width :]])


class WindowGraphConv(nn.Module):
    """Gather K hop distances in windows of frames, mix channels, and reduce each window to one frame (MS-G3D).

    (B, T, V, C) -> (B, ceil(T / stride), V, out_channels), to be normalized.
    """

    def __init__(
        self, channels: tuple[int, int, int], adjacency: Array, *, window: int, stride: int
    ) -> None:
        """Make the module; `channels` are those of the input, inside the window, of the output."""
        super().__init__()
        in_channels, embed_channels, out_channels = channels
        self.window, self.stride = window, stride
        self.adjacency: Tensor
        self.register_buffer("adjacency", torch.from_numpy(adjacency), persistent=False)
        self.residual = nn.Parameter(torch.empty(adjacency.shape).uniform_(-1e-6, 1e-6))
        self.mix = nn.Linear(len(adjacency) * in_channels, embed_channels)
        self.norm = BatchNorm(embed_channels)
        self.collapse = nn.Linear(window * embed_channels, out_channels)  # Conv3d (1, W, 1)
        self.out_norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Term:
        """Return the pathway's summand, with the normalization it still needs."""
        adjacency = self.adjacency + self.residual
        shape = {"window": self.window, "stride": self.stride}
        inside = ops.window_graph_conv(x, adjacency, self.mix.weight, **shape)
        term = Term(inside, self.norm, self.mix.bias)
        collapsed = ops.norm_relu_linear(term, self.collapse.weight)
        return Term(collapsed, self.out_norm, self.collapse.bias)


class BlockShape(NamedTuple):
    """The sizes of one STGC block.

    Attributes:
        channels: those of the input, inside MS-GCN, inside the windows, of the output.
        windows: lengths of the MS-G3D pathways; none for the factorized path alone.
        dilations: those of every MS-TCN.
        stride: frames from one output to the next.
    """

    channels: tuple[int, int, int, int]
    windows: Sequence[int]
    dilations: Sequence[int]
    stride: int


class STGCBlock(nn.Module):
    """MS-G3D windows beside MS-GCN and two MS-TCNs; their sum through a third MS-TCN (STGC, Fig. 3).

    (B, T, V, C) -> (B, ceil(T / stride), V, out_channels)
    """

    def __init__(
        self, layout: SkeletonLayout, gcn_scales: int, g3d_scales: int, shape: BlockShape
    ) -> None:
        super().__init__()
        (in_channels, middle, embed, out), windows, dilations, stride = shape
        if any(window % 2 == 0 for window in windows):
            raise ValueError(
                f"windows {list(windows)}: expected odd lengths, which have a middle frame"
            )
        self.pathways = nn.ModuleList(
            WindowGraphConv(
                (in_channels, embed, out),
                windowed(layout, g3d_scales, window),
                window=window,
                stride=stride,
            )
            for window in windows
        )
        self.graph = MultiScaleGraphConv(in_channels, middle, k_hop(layout, gcn_scales))
        self.temporal = nn.ModuleList(
            [
                MultiScaleTemporalConv(middle, out, dilations, stride=stride),
                MultiScaleTemporalConv(out, out, dilations),
            ]
        )
        self.fusion = MultiScaleTemporalConv(out, out, dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        first, second = self.temporal
        assert isinstance(second, MultiScaleTemporalConv)
        factorized = second.summands(first(self.graph(x)))
        windows = [window(x) for window in self.pathways]
        fused: Tensor = self.fusion(ops.relu_sum(*factorized, *windows))
        return fused


class TemporalAttention(nn.Module):
    """Re-weight frames by what another head, or the same, sees in them (Eqs. 8 and 9).

    (B, T, V, C), and the other head's features -> (B, T, V, C). It starts at one half everywhere.
    """

    def __init__(self, channels: int, kernel: int, *, own: bool, step: float) -> None:
        """Make the module.

        Args:
            channels: those of the features that are looked at, the module's `own` or the other head's.
            kernel: frames, odd.
            own: whether it looks at the features that it re-weights.
            step: frames of what is looked at from one re-weighted frame to the next.
        """
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"attention_kernel {kernel}: expected an odd length")
        self.own, self.step = own, step
        self.conv = nn.Conv1d(channels, 1, kernel, padding=kernel // 2)
        self.gate = nn.Sigmoid()
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.get_parameter("bias"))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the re-weighted frames.

        At a subsampling rate of 2, a coarse frame has its own fine one: the step is 1. For the other rates of Table 7,
        about which the paper is silent and with which the official code stops, the logits are taken at the coarse
        frame's own time: every second one at rate 4, and at rate 1 also the mean of two neighbors, for the frames
        between. It is the only choice that keeps both heads on one clock, and it changes nothing at rate 2.
        """
        logits = _convolve(self.conv, (x if self.own else other).mean(2))
        frames: Tensor = self.gate(at_frames(logits, self.step, x.shape[1]))  # Eq. 8
        return x * (1 + frames)[:, :, None, None]  # Eq. 9


class SpatialAttention(nn.Module):
    """Re-weight joints by what another head, or the same, sees in them (Eqs. 10 and 11).

    (B, T, V, C), and the other head's features -> (B, T, V, C). The kernel reaches over all joints, but one if even.
    """

    def __init__(self, channels: int, num_joints: int, *, own: bool) -> None:
        super().__init__()
        self.own = own
        kernel = num_joints if num_joints % 2 else num_joints - 1
        self.conv = nn.Conv1d(channels, 1, kernel, padding=kernel // 2)
        self.gate = nn.Sigmoid()
        nn.init.xavier_normal_(self.conv.weight)
        nn.init.zeros_(self.conv.get_parameter("bias"))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the re-weighted joints."""
        joints: Tensor = self.gate(
            _convolve(self.conv, (x if self.own else other).mean(1))
        )  # Eq. 10
        return x * (1 + joints)[:, None, :, None]  # Eq. 11


class NoAttention(nn.Module):
    """Leave features as they are (Table 4)."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return x."""
        return x


def at_frames(logits: Tensor, step: float, length: int) -> Tensor:
    """Return logits, (B, T), at 0, step, 2 step, ..., (B, length): linear in between, the last value beyond the end."""
    if step == 1:
        return logits
    place = (torch.arange(length, device=logits.device) * step).clamp(max=logits.shape[1] - 1)
    low = place.long()
    high = (low + 1).clamp(max=logits.shape[1] - 1)
    return logits[:, low].lerp(logits[:, high], (place - low).to(logits.dtype))


def _convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Convolve (B, length, C) to (B, length)."""
    weight, bias = conv.weight.to(x.dtype), conv.get_parameter("bias").to(x.dtype)
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=conv.padding)[:, 0]


class DualHead(nn.Module):
    """DualHead-Net (Fig. 2).

    (N, C, T, V, M) -> {"coarse": (N, classes), "fine": (N, classes)}, logits.
    """

    def __init__(
        self,
        settings: Settings,
        layout: SkeletonLayout,
        num_classes: int,
        *,
        in_channels: int,
        num_bodies: int,
    ) -> None:
        """Make the network; `settings` are the section `dualhead` of params.yaml."""
        super().__init__()
        c1, c2, c3 = settings["coarse_channels"]
        f1, f2, f3 = settings["fine_channels"]
        coarse = settings["coarse_windows"], settings["coarse_dilations"]
        fine = settings["fine_windows"], settings["fine_dilations"]
        scales = settings["gcn_scales"], settings["g3d_scales"]

        def block(
            channels: tuple[int, int, int, int], head: tuple[list[int], list[int]], stride: int
        ) -> STGCBlock:
            return STGCBlock(layout, *scales, BlockShape(channels, *head, stride))

        self.subsample = settings["subsample"]
        self.bodies = Bodies(num_bodies, layout.num_joints, in_channels)
        self.backbone = block((in_channels, c1, c1, c1), fine, 1)
        self.embed_fine = nn.Linear(c1, f1)
        self.fine = nn.ModuleList(
            [block((f1, f1, f1, f2), fine, 2), block((f2, f2, f2, f3), fine, 2)]
        )
        self.coarse = nn.ModuleList(
            [block((c1, c1, c1, c2), coarse, 2), block((c2, c2, c2, c3), coarse, 2)]
        )
        self.classify_coarse = nn.Linear(c3, num_classes)
        self.classify_fine = nn.Linear(f3, num_classes)
        own, kernel = settings["temporal_attention"] == "self", settings["attention_kernel"]
        step = 1.0 if own else self.subsample / 2
        seen = {"cross": (f2, f3), "self": (c1, c2), "none": ()}[settings["temporal_attention"]]
        frames = [TemporalAttention(c, kernel, own=own, step=step) for c in seen]
        own = settings["spatial_attention"] == "self"
        seen = {"cross": (c2, c3), "self": (f2, f3), "none": ()}[settings["spatial_attention"]]
        joints = [SpatialAttention(c, layout.num_joints, own=own) for c in seen]
        self.attend_frames = nn.ModuleList(frames or [NoAttention(), NoAttention()])
        self.attend_joints = nn.ModuleList(joints or [NoAttention(), NoAttention()])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of both heads, whose softmax is the scores of Eqs. 12 and 13."""
        coarse, fine = encode_bodies(self, self.bodies(x), is_present(x))
        with without_autocast(x):
            return {"coarse": self.classify_coarse(coarse), "fine": self.classify_fine(fine)}

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of each body for the coarse and the fine head, (B, T', V, C)."""
        backbone = self.backbone(x)  # Sec. 3.3
        coarse = backbone[:, :: self.subsample]  # Eq. 4
        fine = linear(backbone, self.embed_fine.weight, self.embed_fine.bias)  # Eq. 6
        for i in range(2):
            fine = self.fine[i](fine)  # Eq. 7
            coarse = self.attend_frames[i](coarse, fine)  # Eqs. 8 and 9
            coarse = self.coarse[i](coarse)  # Eq. 5
            fine = self.attend_joints[i](fine, coarse)  # Eqs. 10 and 11
        return coarse, fine
