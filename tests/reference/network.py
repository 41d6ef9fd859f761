"""A slow and obvious transcription of the two networks: the judge of the fast ones and the other side of every ratio.

Axes as in the paper, (N, C, T, V); one module per box of its figures; parameter names are those of the published
checkpoints, so that their state dicts load as they are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Edges = Sequence[tuple[int, int]]


def hop_distances(edges: Edges, num_joints: int) -> np.ndarray:
    """Breadth-first search from every joint."""
    neighbors: dict[int, set[int]] = {v: set() for v in range(num_joints)}
    for a, b in edges:
        neighbors[a].add(b)
        neighbors[b].add(a)
    distances = np.full((num_joints, num_joints), -1)
    for start in range(num_joints):
        distances[start, start] = 0
        queue = deque([start])
        while queue:
            joint = queue.popleft()
            for other in neighbors[joint]:
                if distances[start, other] < 0:
                    distances[start, other] = distances[start, joint] + 1
                    queue.append(other)
    return distances


def adjacency(edges: Edges, num_joints: int, num_scales: int, window: int = 1) -> Tensor:
    """(K, wV, wV), float32 throughout: 1 at distance exactly k, self loops, D^-1/2 A D^-1/2."""
    return _adjacency(tuple(edges), num_joints, num_scales, window).clone()


@cache
def _adjacency(edges: Edges, num_joints: int, num_scales: int, window: int) -> Tensor:
    if window > 1:
        ones = (hop_distances(edges, num_joints) <= 1) & (hop_distances(edges, num_joints) >= 0)
        tiled = np.tile(ones, (window, window))
        edges = [(int(a), int(b)) for a, b in np.argwhere(tiled) if a != b]
        num_joints *= window
    distances = hop_distances(edges, num_joints)
    scales = []
    for k in range(num_scales):
        a = ((distances == k) | np.eye(num_joints, dtype=bool)).astype(np.float32)
        inverse_root = np.diag([inverse_square_root(int(degree)) for degree in a.sum(1)])
        scales.append(inverse_root @ a @ inverse_root)
    return torch.from_numpy(np.stack(scales))


def inverse_square_root(degree: int) -> np.float32:
    """Float32, one unit in the last place off where NumPy's power is on an AVX-512 processor."""
    root = np.float32(degree**-0.5)
    if degree in (7, 28, 29, 35, 37, 38, 53, 110, 112, 116, 117):
        return np.nextafter(root, np.float32(2))
    if degree in (6, 24, 41, 42, 43, 45, 47, 49, 54, 58, 96, 97, 107, 121, 125, 126):
        return np.nextafter(root, np.float32(0))
    return root


class Mlp(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MultiScaleGraphConv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, a: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a, persistent=False)
        self.A_res = nn.Parameter(torch.empty(a.flatten(0, 1).shape).uniform_(-1e-6, 1e-6))
        self.mlp = Mlp(len(a) * in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a + self.A_res.view_as(self.a)
        gathered = torch.einsum("kvu,nctu->nkctv", a, x)
        return self.mlp(gathered.flatten(1, 2).contiguous())


class WindowPathway(nn.Module):
    """One window of MS-G3D; `gcn3d.0` of the published names is the unfolding, which has no parameters."""

    def __init__(self, channels: tuple[int, int, int], a: Tensor, window: int, stride: int) -> None:
        super().__init__()
        in_channels, embed_channels, out_channels = channels
        self.window, self.stride = window, stride
        self.gcn3d = nn.ModuleDict({"1": MultiScaleGraphConv(in_channels, embed_channels, a)})
        self.out_conv = nn.Conv3d(embed_channels, out_channels, (1, window, 1))
        self.out_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, _, v = x.shape
        pad = (self.window - 1) // 2
        columns = F.unfold(x, (self.window, 1), padding=(pad, 0), stride=(self.stride, 1))
        windows = columns.view(n, c, self.window, -1, v).transpose(2, 3).flatten(3)
        h = self.gcn3d["1"](windows)  # (N, Ce, T', w * V)
        h = h.view(n, h.shape[1], h.shape[2], self.window, v)
        return self.out_bn(self.out_conv(h).squeeze(3))


class WindowGraphConv(nn.Module):
    def __init__(self, pathways: list[WindowPathway]) -> None:
        super().__init__()
        self.gcn3d = nn.ModuleList(pathways)

    def forward(self, x: Tensor) -> Tensor | int:
        return sum(pathway(x) for pathway in self.gcn3d)


class TemporalConv(nn.Module):
    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        pad = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(
            *channels, (kernel, 1), stride=(stride, 1), padding=(pad, 0), dilation=(dilation, 1)
        )
        self.bn = nn.BatchNorm2d(channels[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class MultiScaleTemporalConv(nn.Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        stride: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        width = out_channels // (len(dilations) + 2)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, width, 1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                TemporalConv((width, width), 3, stride, dilation),
            )
            for dilation in dilations
        )
        self.branches.append(
            nn.Sequential(
                nn.Conv2d(in_channels, width, 1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0)),
                nn.BatchNorm2d(width),
            )
        )
        self.branches.append(
            nn.Sequential(
                nn.Conv2d(in_channels, width, 1, stride=(stride, 1)), nn.BatchNorm2d(width)
            )
        )
        same = in_channels == out_channels and stride == 1
        self.residual = (
            nn.Identity() if same else TemporalConv((in_channels, out_channels), 1, stride, 1)
        )
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([branch(x) for branch in self.branches], dim=1)
        return self.act(branches + self.residual(x))


class Unit(nn.Module):
    """The three attributes of one STGC unit; the networks below register them under the published names."""

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        graphs: tuple[Tensor, dict[int, Tensor]],
        dilations: Sequence[int],
        stride: int,
    ) -> None:
        super().__init__()
        in_channels, middle, embed, out = channels
        spatial, windowed = graphs
        self.gcn3d = WindowGraphConv(
            [WindowPathway((in_channels, embed, out), a, w, stride) for w, a in windowed.items()]
        )
        self.sgcn = nn.Sequential(
            MultiScaleGraphConv(in_channels, middle, spatial),
            MultiScaleTemporalConv(middle, out, dilations, stride),
            MultiScaleTemporalConv(out, out, dilations, act=False),
        )
        self.tcn = MultiScaleTemporalConv(out, out, dilations)

    def forward(self, x: Tensor) -> Tensor:
        return self.tcn(F.relu(self.sgcn(x) + self.gcn3d(x)))


class Network(nn.Module):
    """The part that DualHead-Net and MS-G3D share: the data BN, and units whose parts carry the published names."""

    def __init__(self, edges: Edges, num_joints: int, in_channels: int, num_bodies: int) -> None:
        super().__init__()
        self.edges, self.num_joints = edges, num_joints
        self.data_bn = nn.BatchNorm1d(num_bodies * num_joints * in_channels)
        self.units: dict[str, Unit] = {}

    def add_unit(
        self,
        name: str,
        channels: tuple[int, int, int, int],
        scales: tuple[int, int],
        windows: Sequence[int],
        dilations: Sequence[int],
        stride: int,
    ) -> None:
        spatial = adjacency(self.edges, self.num_joints, scales[0])
        windowed = {w: adjacency(self.edges, self.num_joints, scales[1], w) for w in windows}
        unit = Unit(channels, (spatial, windowed), dilations, stride)
        self.units[name] = unit
        for part in ("gcn3d", "sgcn", "tcn"):
            setattr(self, f"{part}{name}", getattr(unit, part))

    def bodies(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N * M, C, T, V), after the data BN over (m, v, c)."""
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        return x.view(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()


class MSG3D(Network):
    def __init__(
        self,
        edges: Edges,
        num_joints: int,
        num_classes: int,
        *,
        gcn_scales: int,
        g3d_scales: int,
        channels: Sequence[int] = (96, 192, 384),
        windows: Sequence[int] = (3, 5),
        dilations: Sequence[int] = (1, 2, 3, 4),
        in_channels: int = 3,
        num_bodies: int = 2,
    ) -> None:
        super().__init__(edges, num_joints, in_channels, num_bodies)
        c1, c2, c3 = channels
        scales = (gcn_scales, g3d_scales)
        self.add_unit("1", (in_channels, c1, c1, c1), scales, windows, dilations, 1)
        self.add_unit("2", (c1, c1, c1, c2), scales, windows, dilations, 2)
        self.add_unit("3", (c2, c2, c2, c3), scales, windows, dilations, 2)
        self.fc = nn.Linear(c3, num_classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        n, m = x.shape[0], x.shape[4]
        x = self.bodies(x)
        for name in ("1", "2", "3"):
            x = self.units[name](x)
        return {"logits": self.fc(x.mean((2, 3)).view(n, m, -1).mean(1))}


class DualHead(Network):
    def __init__(
        self,
        edges: Edges,
        num_joints: int,
        num_classes: int,
        *,
        gcn_scales: int,
        g3d_scales: int,
        coarse_channels: Sequence[int] = (96, 192, 384),
        fine_channels: Sequence[int] = (48, 96, 192),
        coarse_windows: Sequence[int] = (3,),
        fine_windows: Sequence[int] = (3, 5),
        coarse_dilations: Sequence[int] = (1, 2),
        fine_dilations: Sequence[int] = (1, 2, 3, 4),
        subsample: int = 2,
        temporal_attention: str = "cross",
        spatial_attention: str = "cross",
        attention_kernel: int = 9,
        in_channels: int = 3,
        num_bodies: int = 2,
    ) -> None:
        super().__init__(edges, num_joints, in_channels, num_bodies)
        c1, c2, c3 = coarse_channels
        f1, f2, f3 = fine_channels
        scales = (gcn_scales, g3d_scales)
        fine, coarse = (fine_windows, fine_dilations), (coarse_windows, coarse_dilations)
        self.subsample = subsample
        self.temporal, self.spatial = temporal_attention, spatial_attention
        self.add_unit("1", (in_channels, c1, c1, c1), scales, *fine, 1)
        self.embed_fine = nn.Conv2d(c1, f1, 1)
        self.add_unit("2_fine", (f1, f1, f1, f2), scales, *fine, 2)
        self.add_unit("3_fine", (f2, f2, f2, f3), scales, *fine, 2)
        self.fc_fine = nn.Linear(f3, num_classes)
        self.add_unit("2_coarse", (c1, c1, c1, c2), scales, *coarse, 2)
        self.add_unit("3_coarse", (c2, c2, c2, c3), scales, *coarse, 2)
        self.fc_coarse = nn.Linear(c3, num_classes)
        if temporal_attention != "none":
            sources = (f2, f3) if temporal_attention == "cross" else (c1, c2)
            self.conv_ta_fine_to_coarse_block_2_to_1 = temporal(sources[0], attention_kernel)
            self.conv_ta_fine_to_coarse_block_3_to_2 = temporal(sources[1], attention_kernel)
        if spatial_attention != "none":
            sources = (c2, c3) if spatial_attention == "cross" else (f2, f3)
            self.conv_sa_coarse_to_fine_block_2_to_2 = spatial(sources[0], num_joints)
            self.conv_sa_coarse_to_fine_block_3_to_3 = spatial(sources[1], num_joints)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        n, m = x.shape[0], x.shape[4]
        backbone = self.units["1"](self.bodies(x))
        fine = self.embed_fine(backbone)
        coarse = backbone[:, :, :: self.subsample]

        fine2 = self.units["2_fine"](fine)
        if self.temporal != "none":
            source = fine2 if self.temporal == "cross" else coarse
            coarse = self.weigh_frames(coarse, self.conv_ta_fine_to_coarse_block_2_to_1, source)
        coarse2 = self.units["2_coarse"](coarse)
        if self.spatial != "none":
            source = coarse2 if self.spatial == "cross" else fine2
            fine2 = weigh_joints(fine2, self.conv_sa_coarse_to_fine_block_2_to_2, source)
        fine3 = self.units["3_fine"](fine2)
        if self.temporal != "none":
            source = fine3 if self.temporal == "cross" else coarse2
            coarse2 = self.weigh_frames(coarse2, self.conv_ta_fine_to_coarse_block_3_to_2, source)
        coarse3 = self.units["3_coarse"](coarse2)
        if self.spatial != "none":
            source = coarse3 if self.spatial == "cross" else fine3
            fine3 = weigh_joints(fine3, self.conv_sa_coarse_to_fine_block_3_to_3, source)

        pooled = {"coarse": coarse3, "fine": fine3}
        pooled = {k: h.mean((2, 3)).view(n, m, -1).mean(1) for k, h in pooled.items()}
        return {"coarse": self.fc_coarse(pooled["coarse"]), "fine": self.fc_fine(pooled["fine"])}

    def weigh_frames(self, x: Tensor, conv: nn.Conv1d, source: Tensor) -> Tensor:
        logits = conv(source.mean(3))  # (N * M, 1, frames of the source)
        if self.temporal == "cross":
            logits = at_frames(logits, self.subsample / 2, x.shape[2])
        return x * torch.sigmoid(logits).unsqueeze(3) + x


def at_frames(logits: Tensor, step: float, length: int) -> Tensor:
    """Linear interpolation of the logits at 0, step, 2 * step, ..., the last value held at the end."""
    columns = []
    for i in range(length):
        position = min(i * step, logits.shape[2] - 1)
        low = math.floor(position)
        high = min(low + 1, logits.shape[2] - 1)
        share = position - low
        columns.append((1 - share) * logits[:, :, low] + share * logits[:, :, high])
    return torch.stack(columns, dim=2)


def weigh_joints(x: Tensor, conv: nn.Conv1d, source: Tensor) -> Tensor:
    return x * torch.sigmoid(conv(source.mean(2))).unsqueeze(2) + x


def temporal(channels: int, kernel: int) -> nn.Conv1d:
    conv = nn.Conv1d(channels, 1, kernel, padding=(kernel - 1) // 2)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


def spatial(channels: int, num_joints: int) -> nn.Conv1d:
    kernel = num_joints if num_joints % 2 else num_joints - 1
    conv = nn.Conv1d(channels, 1, kernel, padding=(kernel - 1) // 2)
    nn.init.xavier_normal_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv
