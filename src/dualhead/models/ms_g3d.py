"""MS-G3D (Liu et al., CVPR 2020): the baseline, three STGC blocks one after the other."""

from __future__ import annotations

from torch import Tensor, nn

from dualhead.layout import SkeletonLayout
from dualhead.models.bodies import Bodies, encode_bodies, is_present, without_autocast
from dualhead.models.dualhead import BlockShape, STGCBlock
from dualhead.settings.params import Settings


class MSG3D(nn.Module):
    """The baseline of Tables 4 and 5.

    (N, C, T, V, M) -> {"logits": (N, classes)}
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
        """Make the network; `settings` are the section `ms_g3d` of params.yaml."""
        super().__init__()
        first, second, third = settings["channels"]
        windows, dilations = settings["windows"], settings["dilations"]
        shapes = (
            BlockShape((in_channels, first, first, first), windows, dilations, stride=1),
            BlockShape((first, first, first, second), windows, dilations, stride=2),
            BlockShape((second, second, second, third), windows, dilations, stride=2),
        )
        scales = settings["gcn_scales"], settings["g3d_scales"]
        self.bodies = Bodies(num_bodies, layout.num_joints, in_channels)
        self.blocks = nn.ModuleList(STGCBlock(layout, *scales, shape) for shape in shapes)
        self.classify = nn.Linear(third, num_classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits."""
        (features,) = encode_bodies(self, self.bodies(x), is_present(x))
        with without_autocast(x):
            return {"logits": self.classify(features)}

    def encode(self, x: Tensor) -> tuple[Tensor]:
        """Return the features of each body: (B, T, V, C) -> (B, T', V, C)."""
        for block in self.blocks:
            x = block(x)
        return (x,)
