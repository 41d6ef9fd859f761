"""Several processes that train one network: each computes its share of every batch, and all take the same step.

Every process draws the same samples and augmentations, the batch statistics are those of all shares
together, and gradients are summed. So the result does not depend on how many processes there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, distributed, nn

from dualhead.models.ops.norm import synchronize
from dualhead.runs.inference import choose_device
from dualhead.runs.stopping import STOP_SIGNALS, Requested

PATIENCE = timedelta(hours=2)  # the first process evaluates while the others wait
SECONDS_BETWEEN_LOOKS = 0.2
NETWORK = (
    "the processes of this training cannot talk to each other: one of them has ended, the loopback "
    "interface is down, or GLOO_SOCKET_IFNAME names an interface that is not here; unset it, or "
    "train in one process (hardware.gpus_per_training: 1, `--gpus 1`)"
)
TRANSPORTS = ("gloo", "nccl")  # one of them is in an error of the way that the processes talk
SHOWN = 200  # characters of such an error
SECONDS_TO_FOLLOW = 10.0  # for the others, once one process has ended


class Share(NamedTuple):
    """Part of each batch that one process computes.

    Attributes:
        rank: number of the process, from 0; the first evaluates and writes.
        size: number of processes.
        group: process group of all of them; None for a process alone.
    """

    rank: int = 0
    size: int = 1
    group: distributed.ProcessGroup | None = None

    def own(self, count: int) -> slice:
        """Return this process's part of a batch of `count` samples."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def synchronize(self, model: nn.Module) -> None:
        """Take the model's batch statistics over all shares together."""
        if self.group is not None:
            synchronize(model, self.group)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.group is None:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat, group=self.group)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process; all get the same answer."""
        if self.group is None:
            return flag
        count = torch.tensor(float(flag))  # on the host: nobody waits for a GPU
        distributed.all_reduce(count, group=self.group)
        return bool(count > 0)

    def wait(self) -> None:
        """Wait for all processes."""
        self.any(False)


ALONE = Share()


class Work(Protocol):
    """Work of one process, which returns an exit code; it can be pickled."""

    def __call__(self, *, device: str, share: Share, requested: Requested) -> int:
        """Run one rank; return its exit code."""


def run_shared(work: Work, devices: Sequence[str], requested: Requested) -> int:
    """Run `work` in one process a device.

    The processes themselves ignore the signals that ask to end: they are told by this one, so that
    all stop after the same step. If this one dies they stop, too.

    Args:
        work: function that each runs.
        devices: one for each process; `cpu` may be given several times.
        requested: returns the signal that asked this process to end, or 0.

    Returns:
        The exit code of the process that ended first, unless it ended well: then the last one's.
    """
    context = multiprocessing.get_context("spawn")
    asked = context.Value("i", 0)
    with TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder).resolve()}/meeting"
        processes: list[BaseProcess] = [
            context.Process(
                target=_run_one, args=(work, rank, list(devices), meeting, asked, os.getpid())
            )
            for rank in range(len(devices))
        ]
        for process in processes:
            process.start()
        try:
            return _wait(processes, asked, requested)
        finally:
            for process in processes:
                process.kill()
                process.join()


class _Number(Protocol):
    """A number that all processes see."""

    value: int


def _wait(processes: Sequence[BaseProcess], asked: _Number, requested: Requested) -> int:
    """Wait until all have ended, or one failed and the others had time to follow."""
    ended = 0
    while any(process.is_alive() for process in processes):
        asked.value = asked.value or requested()
        failed = [process.exitcode for process in processes if process.exitcode]
        if failed and not ended:
            ended, since = failed[0], time.monotonic()
        if ended and time.monotonic() - since > SECONDS_TO_FOLLOW:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    code = ended or next((process.exitcode for process in processes if process.exitcode), 0)
    if code < 0:
        print(f"a process was ended by {signal.Signals(-code).name}", file=sys.stderr, flush=True)
        return 128 - code
    return code


def _is_of_network(error: RuntimeError) -> bool:
    """Return whether an error is of the way that the processes talk."""
    words = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in words for word in TRANSPORTS)


def _run_one(
    work: Work, rank: int, devices: list[str], meeting: str, asked: _Number, parent: int
) -> None:
    """Join the process group as `rank`, run `work` and exit with its code."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    device = choose_device(devices[rank])
    if device.type == "cuda":
        torch.cuda.set_device(device)

    def requested() -> int:
        return asked.value or (0 if os.getppid() == parent else signal.SIGTERM)

    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=meeting,
            rank=rank,
            world_size=len(devices),
            timeout=PATIENCE,
        )
        share = Share(rank, len(devices), distributed.group.WORLD)
        code = work(device=str(device), share=share, requested=requested)
    except KeyboardInterrupt:
        code = 130  # as a shell says it
    except (ValueError, OSError) as error:
        print(f"process {rank + 1} of {len(devices)}: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # the others may be waiting for this one
    except RuntimeError as error:
        if not _is_of_network(error):
            raise
        reason = " ".join(str(error).split())[:SHOWN]
        print(f"process {rank + 1} of {len(devices)}: {NETWORK} ({reason})", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    distributed.destroy_process_group()
    sys.exit(code)
