"""A network's encoder as one compiled graph, for batches whose number of bodies varies."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
import torch._functorch.config
from torch import Tensor

from dualhead.models.ops.norm import row_counts

BACKEND = "inductor"
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "combo_kernels": True,
    "comprehensive_padding": False,
    "realize_acc_reads_threshold": 32,
    "realize_reads_threshold": 8,
}
"""Small kernels are put together; tensors are not padded in memory, which products would have to undo; what reads many
vectors, as the backward pass of a normalization, is not stored in float32 before it is rounded."""
TRACING = {
    "force_non_lazy_backward_lowering": True,  # it may fail, too
    "autograd_cache_allow_custom_autograd_functions": True,  # ours depend on their arguments alone
    "ban_recompute_long_fusible_chains": False,  # else a part's (x - mean) / std is stored in float32
}
BUCKET = 8
"""Bodies are filled up to a multiple of this: few sizes, so that few graphs are compiled."""
SIZES = 64  # graphs that are kept at most, each for a network, a number of bodies and frames, and a precision

Features = tuple[Tensor, ...]


class Encoder(Protocol):
    """A network, from bodies, (B, T, V, C), to a tensor (B, T', V, C) for each head."""

    training: bool

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of each head."""


_seen: set[tuple[object, ...]] = set()
_failed: list[str] = []  # why
_within: list[bool] = []  # an entry for each network that is being compiled, or runs as compiled


def failure() -> type[Exception]:
    """Return the error of a network that cannot be compiled; to name it loads the compiler, which takes a second."""
    import torch._dynamo.exc

    return torch._dynamo.exc.TorchDynamoException


def has_failed() -> bool:
    """Return whether this process has given up compiling."""
    return bool(_failed)


def is_exported() -> bool:
    """Return whether torch exports a network; before 2.13 torch says so of what is compiled here, too."""
    return torch.compiler.is_exporting() and not _within


def give_up(error: Exception) -> None:
    """Say in one line that networks are not compiled, and why; remember it."""
    cause = getattr(error, "inner_exception", error)  # of what a backend raises
    reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    _failed.append(reason)
    print(
        f"the network could not be compiled ({reason}); its operations are computed one by one, which is slower",
        file=sys.stderr,
        flush=True,
    )


def encode(network: Encoder, rows: Tensor, counts: Tensor | None) -> Features:
    """Return each head's features of each body, (B, C) or more, the mean over frames and joints.

    Args:
        network: the network, whose encoder is compiled.
        rows: (B, T, V, C).
        counts: number of bodies that each row stands for, (B,).

    Raises:
        torch._dynamo.exc.TorchDynamoException: if it cannot be compiled (`failure`).
    """
    import torch._dynamo.config

    rows, counts = filled_up(rows, counts)
    _announce(network, rows)
    tracing = _known(torch._functorch.config, TRACING)
    limits = _known(torch._dynamo.config, {"recompile_limit": SIZES, "cache_size_limit": SIZES})
    _within.append(True)
    try:
        with torch._functorch.config.patch(tracing), torch._dynamo.config.patch(limits):
            found: Features = _compiled(BACKEND, network.training)(network, rows, counts)
    finally:
        _within.pop()
    return found


def filled_up(rows: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return rows and counts with copies of the first row that count 0, to a multiple of `BUCKET`."""
    counts = rows.new_ones(len(rows), dtype=torch.float32) if counts is None else counts
    missing = -len(rows) % BUCKET
    if missing:
        rows = torch.cat([rows, rows[:1].detach().expand(missing, *rows.shape[1:])])
        counts = torch.cat([counts, counts.new_zeros(missing)])
    return rows, counts


def _known(config: object, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the wanted settings that this release of torch knows."""
    return {name: value for name, value in wanted.items() if hasattr(config, name)}


def _encode(network: Encoder, rows: Tensor, counts: Tensor) -> Features:
    with row_counts(counts if network.training else None):
        return tuple(pooled(x) for x in network.encode(rows))


def pooled(x: Tensor) -> Tensor:
    """Return the mean over frames and joints of (B, T, V, C), in float32 or more."""
    return x.mean((1, 2), dtype=torch.promote_types(x.dtype, torch.float32))


@functools.cache
def _compiled(backend: str | Callable[..., object], training: bool) -> Callable[..., Features]:
    # at evaluation a few small kernels would have a large one, put together with them, cut into their small blocks
    options = OPTIONS | {"combo_kernels": training}
    run: Callable[..., Features] = torch.compile(
        _encode,
        fullgraph=True,
        dynamic=False,
        backend=backend,
        options=options if backend == "inductor" else None,
    )
    return run


def _announce(network: Encoder, rows: Tensor) -> None:
    """Say that a graph is compiled, which takes some minutes."""
    key = (type(network), network.training, torch.is_grad_enabled(), rows.shape, rows.dtype)
    if key not in _seen and BACKEND == "inductor":
        what = "training" if network.training else "evaluation"
        print(
            f"compiling the network for {what} with {len(rows)} bodies of {rows.shape[1]} frames: "
            "one to three minutes, kept for later runs",
            file=sys.stderr,
            flush=True,
        )
    _seen.add(key)
