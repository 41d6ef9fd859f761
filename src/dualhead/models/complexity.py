"""The cost of a network: parameters, and multiplications of its textbook formulation."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dualhead.models import ops


def count_parameters(model: nn.Module) -> int:
    """Return the number of values that training changes."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiply-adds of convolutions and matrix products for an input of `shape`, (N, C, T, V, M).

    They are those of the plain operations, in which papers are compared: every window is gathered first, every body
    computed. Ours does with fewer.
    """
    twin = copy.deepcopy(model).to("meta").eval()  # computes shapes alone
    with ops.use("plain"), FlopCounterMode(display=False) as counter:
        twin(torch.empty(shape, device="meta"))
    return int(counter.get_total_flops()) // 2
