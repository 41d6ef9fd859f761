"""Checkpoints: weights with everything that is needed to use them."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from dualhead.files import check_seal, write_sealed
from dualhead.layout import SkeletonLayout, load_layout
from dualhead.models import build_model
from dualhead.settings.formats import check_model, check_trained
from dualhead.settings.params import Settings

FORMAT = 2  # 1 kept the name of the layout alone, neither class names nor preparation, and was not sealed
KEYS = ("config", "layout", "num_classes", "selections", "training")
"""Keys of checkpoints of both formats, beside their format."""
UNREADABLE = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, OverflowError, pickle.UnpicklingError, struct.error),
)
"""Errors that torch.load raises for files that nobody sealed, whatever their bytes."""
ZIP = b"PK\x03\x04"
"""Begin of what torch.save writes."""
REMEDY = "restore it from a copy, or remove it and train again"


def save_checkpoint(
    path: Path,
    *,
    config: Settings,
    layout: SkeletonLayout,
    class_names: Sequence[str],
    preparation: Settings | None,
    selections: Mapping[str, Settings],
    training: Settings,
    num_classes: int | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        config: the run's complete settings, the modality among them.
        layout: the skeleton layout, which is kept whole, so that the checkpoint loads in any folder.
        class_names: one for each class; none if they are not known.
        preparation: settings that the recordings were prepared with; None if they are not known.
        selections: `last`, `best_on_validation`, `best_on_test`: each with `epoch` and `model`, a state dict.
        training: facts about the training, for metrics.json.
        num_classes: classes that the network tells apart, where their names are not known.
    """
    content = {
        "format": FORMAT,
        "config": config,
        "layout": layout.to_mapping(),
        "num_classes": num_classes or len(class_names),
        "class_names": list(class_names),
        "preparation": preparation,
        "selections": dict(selections),
        "training": training,
        "digest": digest_of_weights(selections),
    }
    write_tensors(path, content)


def write_tensors(path: Path, content: Settings) -> None:
    """Write tensors and plain values, sealed, by way of a buffer: a full disk leaves nothing half."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_sealed(path, buffer.getbuffer())


def digest_of_weights(selections: Mapping[str, Settings]) -> str:
    """Return the SHA-256 of all selections' tensors: equal weights, equal digest on any machine."""
    digest = hashlib.sha256()
    for selection in sorted(selections):
        for name, tensor in sorted(selections[selection]["model"].items()):
            digest.update(f"{selection} {name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            values = tensor.detach().cpu().contiguous().numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def load_checkpoint(path: Path) -> Settings:
    """Return a checkpoint's content in the form of format 2, tensors on the CPU.

    Raises:
        ValueError: if the file is damaged or is no checkpoint of ours.
    """
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        raise ValueError(
            f"{path}: expected a checkpoint of format {FORMAT}, found other content; weights that others have "
            "published are turned into one by `dualhead convert-weights`"
        )
    if content["format"] == FORMAT and not check_seal(path, REMEDY):
        raise ValueError(
            f"{path}: expected a sealed file, as checkpoints of format {FORMAT} are, found none; {REMEDY}"
        )
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise ValueError(
            f"{path}: expected a checkpoint with {', '.join(KEYS)}, found none of {', '.join(missing)}; {REMEDY}"
        )
    check_trained(content["config"], path)
    if content["format"] == 1:
        prepared = content["training"].get("data", {}).get("settings")
        content |= {"class_names": [], "preparation": prepared, "digest": ""}
    return content


def layout_of(content: Settings, path: Path) -> SkeletonLayout:
    """Return the skeleton layout of a checkpoint; one of format 1 names it.

    Raises:
        ValueError: for a name that is no layout here.
    """
    layout = content["layout"]
    try:
        return (
            load_layout(layout) if isinstance(layout, str) else SkeletonLayout.from_mapping(layout)
        )
    except ValueError as error:
        raise ValueError(f"{path}: its skeleton layout: {error}") from error


def load(
    path: Path | str, selection: str = "last", device: str | torch.device = "cpu"
) -> nn.Module:
    """Return a checkpoint's network in eval mode, with its `config` and `layout` as attributes.

    Args:
        path: the checkpoint.
        selection: `last`; `best_on_test`, which the test set chose; or `best_on_validation`.
        device: device to put the network on.

    Raises:
        ValueError: if the file is no checkpoint, or has no such selection.
    """
    path = Path(path)
    content = load_checkpoint(path)
    selections = content["selections"]
    if selection not in selections:
        raise ValueError(f"{path}: no selection {selection!r}; there are {', '.join(selections)}")
    layout, config = layout_of(content, path), content["config"]
    check_model(config["model"], path)
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
    """Build a network with arbitrary weights; leave the random state alone."""
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


def read_tensors(path: Path, remedy: str = REMEDY) -> object:
    """Return the tensors and plain values that torch.save wrote to a file, on the CPU.

    Args:
        path: the file; if it is sealed, nothing of it is interpreted before its bytes were compared.
        remedy: ends the line that refuses a damaged file.

    Raises:
        ValueError: if the file is missing, damaged or nothing of the kind.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    check_seal(path, remedy)
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: expected tensors and plain values as torch.save writes them, found "
            f"{_found_instead(path, error)}; {remedy}"
        ) from None
    return content


def _found_instead(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that torch.load refused."""
    with path.open("rb") as file:
        begin = file.read(len(ZIP))
    if not begin:
        return "an empty file"
    if begin == ZIP and not zipfile.is_zipfile(path):
        return "a file that is cut"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
