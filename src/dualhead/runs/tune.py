"""Fine-tuning: a training that begins with the weights of a checkpoint, of other classes and maybe other skeletons."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from dualhead.data.store import Store
from dualhead.files import digest_of
from dualhead.layout import SkeletonLayout
from dualhead.models.checkpoint import layout_of, load_checkpoint
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig, TrainSettings

OF_JOINTS: Final = re.compile(
    r"bodies\.norm\..*|(.*\.)?(graph|pathways\.\d+)\.residual|attend_joints\.\d+\.conv\.weight"
)
"""Weights that belong to the joints of one skeleton, or to its number of joints."""


def is_classifier(name: str) -> bool:
    """Return whether a weight is one of a classifier, which tells the classes of one dataset apart."""
    return name.startswith("classify")


def take_weights(
    model: nn.Module, config: RunConfig, layout: SkeletonLayout, parent: Path | None
) -> Settings:
    """Give a new network the last weights of the checkpoint that `train.from` names, all but the classifiers'.

    Of another skeleton, the weights that belong to joints are not taken either.

    Args:
        model: the new network.
        config: the run's settings.
        layout: skeleton of its recordings.
        parent: the checkpoint.

    Returns:
        Facts about it: its digest, and the weights that begin anew; nothing if the run begins from nothing.

    Raises:
        ValueError: if the checkpoint is absent, another one, or one whose weights do not fit.
    """
    digest = config.train.parent
    if not digest:
        if parent is not None:
            raise ValueError(
                f"{parent}: the run begins with no checkpoint: its settings have no train.from"
            )
        return {}
    if parent is None or not parent.is_file():
        found = f"no file {parent}" if parent else "no --parent"
        raise ValueError(f"train.from: expected the checkpoint {digest[:8]}..., found {found}")
    if (other := digest_of(parent)) != digest:
        raise ValueError(
            f"{parent}: expected the checkpoint {digest[:8]}... that the run was configured with, found "
            f"{other[:8]}...; put that one back, or run `snakemake` again, for which this one is another run"
        )
    content = load_checkpoint(parent)
    _refuse_other_network(content["config"], config, parent)
    weights = content["selections"]["last"]["model"]
    same_joints = layout_of(content, parent) == layout
    anew = [name for name in model.state_dict() if not same_joints and OF_JOINTS.fullmatch(name)]
    _copy(weights, model, anew, parent)
    parts = sorted({_part(name) for name in anew})
    if parts:
        print(
            f"{parent}: of another skeleton: begun anew are {', '.join(parts)}",
            file=sys.stderr,
            flush=True,
        )
    return {"from": digest, "weights": content["digest"], "anew": parts}


def _refuse_other_network(found: Settings, config: RunConfig, parent: Path) -> None:
    own = config.model["name"], config.modality
    other = found["model"]["name"], found["modality"]
    if own != other:
        raise ValueError(
            f"{parent}: expected weights of {own[0]} for {own[1]}, found those of {other[0]} for {other[1]}; "
            "`{modality}` in train.from stands for the run's modality"
        )


def _copy(
    weights: Mapping[str, Tensor], model: nn.Module, anew: Sequence[str], parent: Path
) -> None:
    """Copy all weights but the classifiers' and those that begin anew."""
    own = model.state_dict()
    wanted = [name for name in own if not is_classifier(name) and name not in anew]
    for name in wanted:
        shape = tuple(weights[name].shape) if name in weights else "none"
        if shape != tuple(own[name].shape):
            raise ValueError(
                f"{parent}: its {name} does not fit this network: expected shape {tuple(own[name].shape)}, found "
                f"{shape}; give the variant the settings that the checkpoint was trained with"
            )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(weights[name])


def _part(name: str) -> str:
    """Return the module that holds a weight."""
    return name.rpartition(".")[0]


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Freeze the weights of these parts: no gradient is computed of them.

    Raises:
        ValueError: for a name that is no part, or where nothing is left to train.
    """
    names = [name for name, _ in model.named_children()]
    for part in parts:
        found = [w for name, w in model.named_parameters() if f"{name}.".startswith(f"{part}.")]
        if not found:
            raise ValueError(
                f"train.freeze: expected parts of the network, such as {', '.join(names)}, found {part!r}"
            )
        for weight in found:
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "train.freeze: expected a part that is left to train, found that all are frozen"
        )


def class_weights(
    settings: TrainSettings, labels: Tensor, store: Store, device: torch.device
) -> Tensor | None:
    """Return the factor of the loss of each class's samples, (classes,) on a device, or None.

    Balanced ones are inverse to the number of a class's training samples, and 1 on average over the samples.

    Raises:
        ValueError: if there are more or fewer weights than classes.
    """
    given, count = settings.class_weights, store.num_classes
    if given == "none":
        return None
    if given == "balanced":
        samples = labels.bincount(minlength=count)
        present = int((samples > 0).sum())
        shares = torch.where(samples > 0, len(labels) / (present * samples.clamp(min=1)), 0.0)
        return shares.to(device)
    if len(given) != count:
        raise ValueError(
            f"train.class_weights: expected one for each of the {count} classes of {store.path}, found {len(given)}"
        )
    return torch.tensor([float(weight) for weight in given], device=device)
