"""A store, a run and a network so small that a training takes a second."""

import itertools
import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import numpy as np
import torch
from torch import nn

from dualhead.data.records import Header, Record, write_store
from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.models.checkpoint import layout_of, load_checkpoint
from dualhead.runs import evaluate as evaluate_module
from dualhead.runs import train as train_module
from dualhead.settings.run import RunConfig

CLASSES = ("wave", "sit", "jump")


class TinyNetwork(nn.Module):
    """Two heads over pooled joints, with batch statistics, which a resumed training must keep."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2 * channels)
        self.hidden = nn.Linear(2 * channels, 16)
        self.coarse = nn.Linear(16, num_classes)
        self.fine = nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = x.flatten(2)  # (N, C, T*V*M)
        x = torch.relu(self.hidden(self.norm(torch.cat([x.mean(-1), x.std(-1)], 1))))
        return {"coarse": self.coarse(x), "fine": self.fine(x)}


def build_tiny(name, settings, layout, num_classes, *, in_channels, num_bodies):
    """Stand in for `build_model`."""
    return TinyNetwork(in_channels, num_classes)


def load_tiny(path: Path, selection: str = "last", device: object = "cpu") -> TinyNetwork:
    """Stand in for `checkpoint.load`."""
    content = load_checkpoint(path)
    layout = layout_of(content, path)
    network = TinyNetwork(layout.num_coordinates, content["num_classes"])
    network.load_state_dict(content["selections"][selection]["model"])
    network.config, network.layout = content["config"], layout
    return network.eval()


def write_tiny_store(
    path: Path,
    *,
    count: int = 24,
    layout: SkeletonLayout = LAYOUTS["kinect20"],
    padding: str = "loop",
    frames: tuple[int, int] = (3, 30),
    seed: int = 0,
    dataset: str = "synthetic",
    labeled: bool = True,
    class_names: tuple[str, ...] = CLASSES,
    settings: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """Write random recordings of none, one or two bodies; every third three are test samples."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(count):
        label = index % len(CLASSES)
        num_frames = int(rng.integers(*frames))
        lengths = [num_frames, int(rng.integers(1, num_frames + 1))][: index % 4]
        shape = (layout.num_joints, layout.num_coordinates)
        bodies = tuple(
            rng.normal(label, 1, (length, *shape)).astype(np.float32) for length in lengths
        )
        known = label if labeled else -1
        records.append(
            Record(
                f"S{index:04d}",
                known,
                {"turn": index, "subject": 1 + index % 5},
                bodies,
                num_frames,
            )
        )
    header = Header(
        dataset=dataset,
        layout=layout,
        class_names=class_names,
        padding=padding,
        max_bodies=2,
        units="m",
        settings=dict(settings),
        partial=False,
        fingerprint="0",
        counts=dict,
    )
    splits = {"thirds": lambda meta: np.where(meta["turn"] // 3 % 3 == 2, 0, 1)}
    write_store(path, records, header=header, splits=splits)
    return path


def tiny_config(**train: object) -> dict:
    """Return a run's complete settings, as a config.yaml holds them."""
    return {
        "benchmark": "tiny",
        "variant": "dualhead",
        "modality": "joint",
        "seed": 3,
        "recipe": 1,
        "dataset": "synthetic",
        "kind": "synthetic",
        "split": "thirds",
        "store": "synthetic-00000000",
        "max_bodies": 2,
        "model": {"name": "dualhead"},
        "input": {
            "num_frames": 12,
            "resample": "none",
            "min_max": False,
            "random_rotation": 0,
            "random_scale": [1.0, 1.0],
            "random_crop": 0,
            "random_move": False,
        },
        "train": {
            "epochs": 3,
            "batch_size": 4,
            "forward_batch_size": 4,
            "passes": 1,
            "learning_rate": 0.05,
            "milestones": [2],
            "warmup_epochs": 0,
            "momentum": 0.9,
            "weight_decay": 0.001,
            "loss": "sum",
            "precision": "fp32",
            "evaluate_every": 1,
            "validation": 0.0,
            **train,
        },
        "evaluate": {"fusion_weight": 0.5},
    }


def train_in(folder: Path, config: dict, **options: Path) -> int:
    """Train on the store in a folder and write everything beside it."""
    return train_module.train(
        RunConfig.of(config),
        folder / "store.h5",
        folder / "checkpoint.pt",
        history=folder / "history.csv",
        state=folder / "state.pt",
        device="cpu",
        evaluate_batch_size=5,
        threads=1,
        **options,
    )


@contextmanager
def tiny_networks():
    """Let trainings and evaluations take a `TinyNetwork`."""
    with (
        mock.patch.object(train_module, "build_model", build_tiny),
        mock.patch.object(train_module, "count_macs", lambda model, shape: 1_500_000),
        mock.patch.object(evaluate_module, "load", load_tiny),
    ):
        yield


def train_tiny(folder: Path, config: dict) -> int:
    """Train a `TinyNetwork` on the store in a folder."""
    with tiny_networks():
        return train_in(folder, config)


@contextmanager
def signal_at(step: int, number: int):
    """Send this process a signal in the middle of its `step`-th training step from here on."""
    plain, steps = train_module.training_step, itertools.count(1)

    def training_step(*arguments):
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return plain(*arguments)

    with mock.patch.object(train_module, "training_step", training_step):
        yield
