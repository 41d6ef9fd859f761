"""The networks: a layout, a class count and settings in, logits out."""

from __future__ import annotations

from torch import nn

from dualhead.layout import SkeletonLayout
from dualhead.models.dualhead import DualHead
from dualhead.models.ms_g3d import MSG3D
from dualhead.settings.params import Settings

MODELS = {"dualhead": DualHead, "ms_g3d": MSG3D}


def build_model(
    name: str,
    settings: Settings,
    layout: SkeletonLayout,
    num_classes: int,
    *,
    in_channels: int = 3,
    num_bodies: int = 2,
) -> nn.Module:
    """Return a new network, in training mode.

    Args:
        name: a key of `MODELS`.
        settings: that network's section of params.yaml.
        layout: skeleton layout of its recordings.
        num_classes: number of classes.
        in_channels: coordinates of a joint, C.
        num_bodies: body slots of a recording, M.

    Raises:
        ValueError: for an unknown name, or settings that do not fit together.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown; known here: {', '.join(MODELS)}")
    return MODELS[name](
        settings, layout, num_classes, in_channels=in_channels, num_bodies=num_bodies
    )
