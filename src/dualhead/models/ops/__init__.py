"""The five operations that both networks are made of, and the choice of who computes them.

`plain` states what each is. `cpu` computes the same slab by slab. `compiled` is written for a compiler, which
makes one graph of a whole network (`encoder`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn

from dualhead.models.ops import compiled, cpu, encoder, plain
from dualhead.models.ops.norm import BatchNorm, Term

IMPLEMENTATIONS: dict[str, ModuleType] = {"plain": plain, "cpu": cpu, "compiled": compiled}

_chosen = ["auto"]  # innermost last


@contextmanager
def use(name: str) -> Iterator[None]:
    """Compute the operations of the block by the implementation of that name.

    Args:
        name: a key of `IMPLEMENTATIONS`; or `auto`: `cpu` on a CPU, `compiled` on a GPU, but `plain` where torch
            records the operations, or where compiling has failed.

    Raises:
        ValueError: for another name.
    """
    if name != "auto" and name not in IMPLEMENTATIONS:
        raise ValueError(
            f"no implementation {name!r}; there are auto, {', '.join(IMPLEMENTATIONS)}"
        )
    _chosen.append(name)
    try:
        yield
    finally:
        _chosen.pop()


def chosen(x: Tensor) -> str:
    """Return the name of the implementation that computes with x.

    Raises:
        ValueError: where torch records operations that only hold for the sizes at hand.
    """
    name = _chosen[-1]
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # torch's
        raise ValueError("torch.jit.trace would keep the sizes of one batch; use torch.export")
    records = torch.compiler.is_compiling() and x.device.type == "cpu"
    if name == "auto":
        name = "cpu" if x.device.type == "cpu" and not records else "plain"
        name = "compiled" if x.device.type == "cuda" and not encoder.is_exported() else name
    if name == "cpu" and records:
        raise ValueError("the CPU's operations cannot be exported or compiled; use `plain`")
    if name == "compiled" and encoder.is_exported():
        raise ValueError("what is compiled for one batch cannot be exported; use `plain`")
    return "plain" if name == "compiled" and encoder.has_failed() else name


def graph_conv(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gather over all joints at each scale, then mix channels; see `plain.graph_conv`."""
    found: Tensor = IMPLEMENTATIONS[chosen(x)].graph_conv(x, adjacency, weight, bias)
    return found


def window_graph_conv(
    x: Tensor, adjacency: Tensor, weight: Tensor, *, window: int, stride: int
) -> Tensor:
    """Gather over joints in windows of frames; see `plain.window_graph_conv`."""
    run = IMPLEMENTATIONS[chosen(x)].window_graph_conv
    found: Tensor = run(x, adjacency, weight, window=window, stride=stride)
    return found


def temporal_branches(
    x: Tensor,
    embed: nn.Linear,
    norm: BatchNorm,
    convs: Iterable[nn.Conv2d],
    last: BatchNorm,
    offset: Tensor,
    *,
    stride: int,
) -> Term | Tensor:
    """Return an MS-TCN's branches side by side, to be added up; see `plain.temporal_branches`."""
    run = IMPLEMENTATIONS[chosen(x)].temporal_branches
    found: Term | Tensor = run(x, embed, norm, convs, last, offset, stride=stride)
    return found


def norm_relu_linear(term: Term, weight: Tensor) -> Tensor:
    """Normalize, cut off at zero and map linearly; see `plain.norm_relu_linear`."""
    found: Tensor = IMPLEMENTATIONS[chosen(term.x)].norm_relu_linear(term, weight)
    return found


def relu_sum(*summands: Term | Tensor) -> Tensor:
    """Return the sum of all summands, terms normalized, cut off at zero; see `plain.relu_sum`."""
    first = summands[0]
    x = first.x if isinstance(first, Term) else first
    found: Tensor = IMPLEMENTATIONS[chosen(x)].relu_sum(*summands)
    return found
