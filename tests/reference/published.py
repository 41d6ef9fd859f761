"""The reference networks as the published checkpoints have them: their names, their scales."""

import torch
from torch import nn

from dualhead.layout import LAYOUTS
from tests.reference.network import MSG3D, DualHead

SCALES = {
    ("dualhead", "ntu25"): (9, 6),
    ("ms_g3d", "ntu25"): (13, 6),
    ("dualhead", "openpose18"): (8, 8),
    ("ms_g3d", "openpose18"): (8, 8),
}


def published_network(model: str, layout: str, num_classes: int) -> nn.Module:
    """Return a network with random weights, in eval mode."""
    torch.manual_seed(1)
    skeleton = LAYOUTS[layout]
    gcn_scales, g3d_scales = SCALES[model, layout]
    network = {"dualhead": DualHead, "ms_g3d": MSG3D}[model]
    sizes = skeleton.edges, skeleton.num_joints, num_classes
    return network(*sizes, gcn_scales=gcn_scales, g3d_scales=g3d_scales).eval()
