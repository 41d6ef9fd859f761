"""Checkpoints: weights with everything that is needed to use them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from dualhead.files import replacing
from dualhead.layout import SkeletonLayout, load_layout
from dualhead.models import build_model
from dualhead.params import Settings

FORMAT = 1


def save_checkpoint(
    path: Path,
    *,
    config: Settings,
    layout: str,
    num_classes: int,
    selections: Mapping[str, Settings],
    training: Settings,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        config: the run's complete settings.
        layout: name of the skeleton layout.
        num_classes: of the logits.
        selections: `last`, `best_on_validation`, `best_on_test`: each with `epoch` and `model`, a state dict.
        training: facts about the training, for metrics.json.
    """
    content = {
        "format": FORMAT,
        "config": config,
        "layout": layout,
        "num_classes": num_classes,
        "selections": dict(selections),
        "training": training,
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path) -> Settings:
    """Return a checkpoint's content, tensors on the CPU.

    Raises:
        ValueError: if the file is no checkpoint of ours.
    """
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: expected a checkpoint of format {FORMAT}, found other content; weights that others have "
            "published are turned into one by `dualhead convert-weights`"
        )
    return content


def load(
    path: Path | str, selection: str = "last", device: str | torch.device = "cpu"
) -> nn.Module:
    """Return a checkpoint's network in eval mode, with its `config` and `layout` as attributes.

    Args:
        path: the checkpoint.
        selection: `last`; `best_on_test`, which the test set chose; or `best_on_validation`.
        device: to put it on.

    Raises:
        ValueError: if the file is no checkpoint, or has no such selection.
    """
    path = Path(path)
    content = load_checkpoint(path)
    selections = content["selections"]
    if selection not in selections:
        raise ValueError(f"{path}: no selection {selection!r}; there are {', '.join(selections)}")
    layout, config = load_layout(content["layout"]), content["config"]
    model = build(config["model"], layout, content["num_classes"], config["max_bodies"])
    try:
        model.load_state_dict(selections[selection]["model"])
    except RuntimeError as error:
        raise ValueError(f"{path}: weights and settings do not fit together: {error}") from None
    model.config, model.layout = config, layout  # type: ignore[assignment]  # nn.Module knows tensors and modules alone
    return model.to(device).eval()


def build(
    settings: Settings, layout: SkeletonLayout, num_classes: int, num_bodies: int
) -> nn.Module:
    """Build a network whose first weights do not matter, leaving the random state alone."""
    own = {key: value for key, value in settings.items() if key != "name"}
    with torch.random.fork_rng(devices=[]):
        return build_model(
            settings["name"],
            own,
            layout,
            num_classes,
            in_channels=layout.num_coordinates,
            num_bodies=num_bodies,
        )


def read_tensors(path: Path) -> object:
    """Return what torch.save wrote to a file: tensors and plain values, on the CPU.

    Raises:
        ValueError: if the file is missing or is nothing of the kind.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: expected tensors and plain values as torch.save writes them, found: {reason}"
        ) from None
    return content
