"""The state of a training: everything that changes while it runs, and the file that keeps it.

The file is written whole after every epoch, every ten minutes, and when the process is asked to end. It lies beside
the declared outputs until these are evaluated: a workflow that is stopped before it notes that a training has ended
may remove the checkpoint and ask for it again, which then costs a second.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from dualhead.files import check_seal
from dualhead.models.checkpoint import read_tensors, write_tensors
from dualhead.runs.distributed import ALONE, Share
from dualhead.runs.replay import Passes
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig

STATE_FORMAT = 3  # 2 was not sealed
REMEDY = "remove it to train from the beginning"
PLAIN_STATE = (
    "epoch",
    "order",
    "history",
    "best",
    "seconds",
    "all_seconds",
    "samples",
    "peak_memory",
)


@dataclass
class Training:
    """Everything that changes while a network is trained.

    Attributes:
        model: the network.
        optimizer: SGD with its momentum buffers.
        generator: source of sample order and augmentation, on the CPU.
        epoch: finished epochs.
        order: (batches, batch size), the samples of the running epoch; empty between two.
        records: losses and accuracy of each finished step of the running epoch, scalars on the device.
        history: a row of history.csv for each finished epoch.
        best: selection -> `epoch`, `top1` and `model` where that accuracy was highest so far.
        samples: trained on so far.
        seconds: spent on that, over all processes.
        all_seconds: spent altogether, evaluation included.
        peak_memory: megabytes.
        counted_at: up to when `all_seconds` counts, by time.monotonic.
        saved_at: time of the last state file, by time.monotonic.
        share: part of each batch that this process computes.
        passes: forward and backward, where a GPU has recorded them.
        class_weights: factor of the loss of each class's samples, (classes,), on the device; None: all are alike.
        tuned: facts about the checkpoint that the training began with; empty if there is none.
    """

    model: nn.Module
    optimizer: torch.optim.SGD
    generator: Generator
    epoch: int = 0
    order: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    records: list[dict[str, Tensor]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Settings] = field(default_factory=dict)
    samples: int = 0
    seconds: float = 0.0
    all_seconds: float = 0.0
    peak_memory: float = 0.0
    counted_at: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)
    share: Share = ALONE
    passes: Passes | None = None
    class_weights: Tensor | None = None
    tuned: Settings = field(default_factory=dict)

    @property
    def epochs_done(self) -> float:
        """Finished epochs, and the finished part of the running one."""
        return self.epoch + len(self.records) / max(len(self.order), 1)

    def seconds_left(self, epochs: int) -> float:
        """Return the seconds that the rest of `epochs` takes at the speed so far."""
        return self.all_seconds * (float(epochs) / self.epochs_done - 1)

    def count_time(self) -> float:
        """Add the time since the last call to `all_seconds`; return it."""
        passed = time.monotonic() - self.counted_at
        self.counted_at += passed
        self.all_seconds += passed
        return passed

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's weights and statistics, on the CPU."""
        return {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}


def refuse_divergence(run: Training) -> None:
    """Stop at the first loss that is not finite.

    Raises:
        ValueError: if there is one in the running epoch.
    """
    losses = torch.stack([record["loss"] for record in run.records])
    bad = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
    if bad:
        rate = run.optimizer.param_groups[0]["lr"]
        raise ValueError(
            f"the loss is {float(losses[bad[0]])} in epoch {run.epoch + 1}, step {bad[0] + 1} of "
            f"{len(run.order)}, at learning rate {rate:g}; try a lower train.learning_rate, "
            "train.warmup_epochs, or train.precision fp32"
        )


def save_state(run: Training, path: Path, config: RunConfig) -> None:
    """Write all that a later process needs to go on in the same bits, whole or not at all."""
    if run.share.rank:
        return  # the first process has the same
    if run.records:
        refuse_divergence(run)
    run.count_time()
    content = {
        "format": STATE_FORMAT,
        "config": config.address,
        "finished": run.epoch == config.train.epochs,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "generator": run.generator.get_state(),
        "torch_generator": torch.get_rng_state(),
        "records": run.records,
        **{name: getattr(run, name) for name in PLAIN_STATE},
    }
    write_tensors(path, content)
    run.saved_at = time.monotonic()


def resume(run: Training, path: Path, config: RunConfig, device: torch.device) -> None:
    """Restore a training from its state file, if there is one; a finished training of other settings is passed over.

    Raises:
        ValueError: if the file is unreadable or another run's.
    """
    if not path.exists():
        return
    content = read_tensors(path, REMEDY)
    found = content if isinstance(content, dict) else {}
    if found.get("finished") is True and found["config"] != config.address:
        return
    if found.get("format") not in (2, STATE_FORMAT) or found["config"] != config.address:
        raise ValueError(
            f"{path}: expected the state of run {config.address}, format {STATE_FORMAT}; found "
            f"{found.get('config')}, format {found.get('format')}. Remove it to train anew"
        )
    if found["format"] == STATE_FORMAT and not check_seal(path, REMEDY):
        raise ValueError(f"{path}: expected a sealed file, found none; {REMEDY}")
    run.model.load_state_dict(found["model"])
    run.optimizer.load_state_dict(found["optimizer"])
    run.generator.set_state(found["generator"])
    torch.set_rng_state(found["torch_generator"])
    run.records = [
        {key: value.to(device) for key, value in record.items()} for record in found["records"]
    ]
    for name in PLAIN_STATE:
        setattr(run, name, found[name])
    print(f"{path}: going on after {run.epochs_done:.2f} epochs", file=sys.stderr, flush=True)


def forget(path: Path, checkpoint: Path) -> None:
    """Remove the state of a training that ended in a checkpoint; a newer one is another training's, at work.

    One that cannot be removed stays: it does no harm.
    """
    with suppress(OSError):
        if path.stat().st_mtime_ns <= checkpoint.stat().st_mtime_ns:
            path.unlink()
