"""Attention maps of a DualHead-Net, caught where they are made."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from dualhead.models.dualhead import DualHead, NoAttention


@torch.no_grad()
def attention_maps(network: DualHead, x: Tensor) -> dict[str, Tensor]:
    """Return the attention maps, in 0..1, by which each head's features are re-weighted (Eqs. 8 and 10).

    Args:
        network: a network in eval mode.
        x: (N, C, T, V, M).

    Returns:
        `frames_1`, `frames_2`, (N, M, T'), of what enters the coarse blocks; `joints_1`, `joints_2`, (N, M, V), of
        what leaves the fine ones; those of them that the settings ask for.

    Raises:
        ValueError: in training mode, in which looking would move the running statistics.
    """
    if network.training:
        raise ValueError("attention: the network is in training mode; call eval() first")
    maps: dict[str, Tensor] = {}
    hooks = [
        gate.register_forward_hook(partial(_keep, maps, name))
        for name, gate in gates(network).items()
    ]
    try:
        network.encode(network.bodies(x).flatten(0, 1))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: values.view(len(x), -1, values.shape[1]) for name, values in maps.items()}


def gates(network: DualHead) -> dict[str, nn.Module]:
    """Return the module that gives each map, by the map's name."""
    kinds = {"frames": network.attend_frames, "joints": network.attend_joints}
    return {
        f"{kind}_{i + 1}": module.get_submodule("gate")
        for kind, modules in kinds.items()
        for i, module in enumerate(modules)
        if not isinstance(module, NoAttention)
    }


def _keep(maps: dict[str, Tensor], name: str, _: nn.Module, __: object, found: Tensor) -> None:
    maps[name] = found
