"""DualHead-Net: a backbone, a coarse and a fine head, and the attention between them (Sec. 3.3-3.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualhead.layout import SkeletonLayout
from dualhead.models.bodies import Bodies, Features, pooled
from dualhead.models.norm import Batch, Rows, linear
from dualhead.models.stgc import BlockShape, STGCBlock
from dualhead.params import Settings

Maps = dict[str, Tensor]
"""Attention maps, (B, T or V), by the name of what they re-weight."""


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
        self.subsample = settings["subsample"]
        self.bodies = Bodies(num_bodies, layout.num_joints, in_channels)

        def block(
            channels: tuple[int, int, int, int], head: tuple[list[int], list[int]], stride: int
        ) -> STGCBlock:
            shape = BlockShape(channels, *head, stride)
            return STGCBlock(layout, settings["gcn_scales"], settings["g3d_scales"], shape)

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

        sources = {"cross": (f2, f3), "self": (c1, c2), "none": ()}[settings["temporal_attention"]]
        kernel = settings["attention_kernel"]
        self.own_frames = settings["temporal_attention"] == "self"
        self.attend_frames = nn.ModuleList(TemporalAttention(c, kernel) for c in sources)
        sources = {"cross": (c2, c3), "self": (f2, f3), "none": ()}[settings["spatial_attention"]]
        self.own_joints = settings["spatial_attention"] == "self"
        self.attend_joints = nn.ModuleList(SpatialAttention(c, layout.num_joints) for c in sources)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of both heads."""
        features = self.bodies(x, self._encode, self)
        with torch.autocast(x.device.type, enabled=False):
            return {
                "coarse": self.classify_coarse(features["coarse"]),
                "fine": self.classify_fine(features["fine"]),
            }

    @torch.no_grad()
    def attention(self, x: Tensor) -> Maps:
        """Return the attention maps, in 0..1: what each head's features are re-weighted by (Eqs. 8 and 10).

        Args:
            x: (N, C, T, V, M).

        Returns:
            `frames_1`, `frames_2`, (N, M, T'), of what enters the coarse blocks; `joints_1`, `joints_2`, (N, M, V), of
            what leaves the fine ones; those of them that the settings ask for.

        Raises:
            ValueError: in training mode, in which looking would move the running statistics.
        """
        if self.training:
            raise ValueError("attention: the network is in training mode; call eval() first")
        rows = self.bodies.normalized(x).flatten(0, 1)
        _, maps = self._run(rows, (Rows(0, len(rows), 1),))
        return {name: values.view(len(x), -1, values.shape[1]) for name, values in maps.items()}

    def _encode(self, x: Tensor, batch: Batch) -> Features:
        return self._run(x, batch)[0]

    def _run(self, x: Tensor, batch: Batch) -> tuple[Features, Maps]:
        """Return what both heads see of each body, (B, T, V, C), and how they attended."""
        backbone = self.backbone(x, batch)
        fine = linear(backbone, self.embed_fine.weight, self.embed_fine.bias)
        coarse = backbone[:, :: self.subsample]
        maps = {}
        for i, (fine_block, coarse_block) in enumerate(zip(self.fine, self.coarse, strict=True)):
            fine = fine_block(fine, batch)
            if self.attend_frames:
                source, step = (coarse, 1.0) if self.own_frames else (fine, self.subsample / 2)
                frames = self.attend_frames[i](source, step, coarse.shape[1])
                coarse = coarse * (1 + frames)[:, :, None, None]
                maps[f"frames_{i + 1}"] = frames
            coarse = coarse_block(coarse, batch)
            if self.attend_joints:
                joints = self.attend_joints[i](fine if self.own_joints else coarse)
                fine = fine * (1 + joints)[:, None, :, None]
                maps[f"joints_{i + 1}"] = joints
        return {"coarse": pooled(coarse), "fine": pooled(fine)}, maps


class TemporalAttention(nn.Module):
    """How much each frame matters (Eq. 8). It starts at one half everywhere.

    (B, T, V, C) -> (B, T')
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"attention_kernel {kernel}: expected an odd length")
        self.conv = nn.Conv1d(channels, 1, kernel, padding=kernel // 2)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(_bias(self.conv))

    def forward(self, x: Tensor, step: float, length: int) -> Tensor:
        """Return the attention of `length` frames that lie `step` frames of x apart.

        At a subsampling rate of 2, a coarse frame has its own fine one: the step is 1. For the other
        rates of Table 7, about which the paper is silent and with which the official code stops,
        the logits are taken at the coarse frame's own time: every second one at rate 4, and at rate
        1 also the mean of two neighbors, for the frames between. It is the only choice that keeps
        both heads on one clock, and it changes nothing at rate 2.
        """
        logits = _convolve(self.conv, x.mean(2))
        return at_frames(logits, step, length).sigmoid()


class SpatialAttention(nn.Module):
    """How much each joint matters (Eq. 10). The kernel reaches over all joints, or all but one of an even number.

    (B, T, V, C) -> (B, V)
    """

    def __init__(self, channels: int, num_joints: int) -> None:
        super().__init__()
        kernel = num_joints if num_joints % 2 else num_joints - 1
        self.conv = nn.Conv1d(channels, 1, kernel, padding=kernel // 2)
        nn.init.xavier_normal_(self.conv.weight)
        nn.init.zeros_(_bias(self.conv))

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention of each joint."""
        return _convolve(self.conv, x.mean(1)).sigmoid()


def at_frames(logits: Tensor, step: float, length: int) -> Tensor:
    """Return logits, (B, T), at 0, step, 2 step, ..., (B, length): linear in between, the last value beyond the end."""
    if step == 1 and length == logits.shape[1]:
        return logits
    place = (torch.arange(length, device=logits.device) * step).clamp(max=logits.shape[1] - 1)
    low = place.long()
    high = (low + 1).clamp(max=logits.shape[1] - 1)
    return logits[:, low].lerp(logits[:, high], (place - low).to(logits.dtype))


def _convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Convolve (B, length, C) to (B, length)."""
    weight, bias = conv.weight.to(x.dtype), _bias(conv).to(x.dtype)
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=conv.padding)[:, 0]


def _bias(conv: nn.Conv1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
