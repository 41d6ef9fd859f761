"""Checkpoints of small networks with random weights, as if they had been trained."""

from pathlib import Path

import torch

from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.models.checkpoint import build, save_checkpoint
from dualhead.settings import checks

SMALL = {
    "dualhead": {
        "gcn_scales": 2,
        "g3d_scales": 2,
        "coarse_channels": [6, 12, 12],
        "fine_channels": [6, 6, 12],
        "coarse_windows": [3],
        "fine_windows": [3],
        "coarse_dilations": [1],
        "fine_dilations": [1],
    },
    "ms_g3d": {
        "gcn_scales": 2,
        "g3d_scales": 2,
        "channels": [6, 6, 12],
        "windows": [3],
        "dilations": [1],
    },
}
PREPARATION = {"recipe": 1, "denoise": "energy", "normalize": "first_frame", "max_bodies": 2}


def write_checkpoint(
    path: Path,
    *,
    modality: str = "joint",
    layout: SkeletonLayout = LAYOUTS["kinect20"],
    class_names: tuple[str, ...] = ("wave", "sit", "jump"),
    model: str = "dualhead",
    seed: int = 1,
    num_frames: int = 16,
    **settings: object,
) -> Path:
    """Write a checkpoint whose network has random weights and statistics; `settings` change the network's."""
    defaults = checks.defaults()
    own = {"name": model, **defaults[model], **SMALL[model], **settings}
    network = build(own, layout, len(class_names), PREPARATION["max_bodies"])
    randomize(network, seed)
    config = {
        "modality": modality,
        "max_bodies": PREPARATION["max_bodies"],
        "model": own,
        "input": {**defaults["input"], "num_frames": num_frames},
        "train": defaults["train"],
        "evaluate": {"fusion_weight": 0.5},
    }
    save_checkpoint(
        path,
        config=config,
        layout=layout,
        class_names=class_names,
        preparation=PREPARATION,
        selections={"last": {"epoch": 1, "model": network.state_dict()}},
        training={},
    )
    return path


@torch.no_grad()
def randomize(network: torch.nn.Module, seed: int) -> None:
    """Change every tensor so that each path matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            own = torch.randn(tensor.shape, generator=generator)
            tensor.add_(0.2 * own)
