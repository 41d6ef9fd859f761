"""Device, precision and memory of a running network, and its logits for a series of batches."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dualhead.models import bfloat16, ops
from dualhead.models.bodies import Distinct, filled_rows, is_present, known_bodies
from dualhead.models.fold import fold
from dualhead.runs.replay import Recorder

Array = npt.NDArray[np.float32]

CPU_WARNING = "torch can use no GPU here: computing on the CPU"


def choose_device(name: str) -> torch.device:
    """Return the device called `cpu`, `cuda` or `cuda:1`.

    `auto` takes the first GPU, or `auto:1` the second, and the CPU if torch can use none.

    Raises:
        ValueError: if there is no such device.
    """
    if name.startswith("auto") and not torch.cuda.is_available():
        print(CPU_WARNING, file=sys.stderr, flush=True)
        name = "cpu"
    first = "cuda:0"  # as tensors on it call it
    device = torch.device(first if name in ("auto", "cuda") else name.replace("auto", "cuda"))
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise ValueError(
            f"hardware.device: {name} asked for, but torch sees {torch.cuda.device_count()} GPUs; "
            "say `auto` or `cpu`, or install a CUDA build of torch"
        )
    return device


MALLOPT = {-4: 0, -1: 2**31 - 1, -2: 2**26}
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD (bytes) and M_TOP_PAD (bytes), from malloc.h."""


def use_cpu(threads: int | None) -> None:
    """Set up the CPU for a network in this process.

    What glibc's malloc is given back it keeps for the next tensor, where it would else return large
    pieces to the system and get them anew, page by page, in each step. Not where MALLOC_* is set.

    Args:
        threads: number of torch's threads; None leaves torch's own choice.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        for parameter, value in MALLOPT.items():
            mallopt(parameter, value)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Compute float32 matrix products of the block in TF32 if `name` is tf32, else strictly.

    The setting bf16 is this and `autocast`, which only the forward pass needs. On a CPU without instructions for it,
    its products are made in float32 and rounded (`bfloat16`).
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = name == "tf32"
    try:
        with bfloat16.products() if name == "bf16" else nullcontext():
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def autocast(name: str, device: torch.device) -> torch.autocast:
    """Return the context that runs a forward pass in bfloat16 if `name` is bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")


@contextmanager
def memory_error(device: torch.device, advice: str) -> Iterator[None]:
    """Turn running out of memory into a ValueError that says which setting to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_memory_error(error):
            raise
        raise ValueError(f"out of memory on {device}: {advice}") from error


def _is_memory_error(error: RuntimeError | MemoryError) -> bool:
    on_device = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return on_device or "can't allocate memory" in str(error)


def head_logits(network: Callable[[Tensor], dict[str, Tensor]], batch: Tensor) -> dict[str, Tensor]:
    """Return each head's logits as float32, (N, classes); a network's only head is `fusion`."""
    return {
        "fusion" if head == "logits" else head: logits.float()
        for head, logits in network(batch).items()
    }


def _logits(network: nn.Module, batch: Tensor, *distinct: Tensor) -> dict[str, Tensor]:
    """Return each head's logits; `distinct` are the batch's bodies, if they are known."""
    with known_bodies(Distinct(*distinct)) if distinct else nullcontext():
        return head_logits(network, batch)


@torch.inference_mode()
def infer(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Array]:
    """Return each head's logits for all batches, (N, classes), in eval mode; on a GPU by recorded passes."""
    folded = fold(model)
    recorder = Recorder(partial(_logits, folded), "an evaluation", repeatable=True)
    outputs = []
    for batch in batches:
        # which bodies there are is found out here: what is recorded cannot wait for the GPU to tell
        compiled = ops.chosen(batch) == "compiled"
        run = recorder if compiled else recorder.run
        outputs.append(run(batch, *(filled_rows(is_present(batch)) if compiled else ())))
    return {
        head: torch.cat([logits[head] for logits in outputs]).cpu().numpy() for head in outputs[0]
    }
