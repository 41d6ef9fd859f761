"""Checkpoints: weights with everything that is needed to use them; and those that others have published."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dualhead.checks import load as load_params
from dualhead.files import replacing
from dualhead.layout import SkeletonLayout, load_layout
from dualhead.models import build_model
from dualhead.models.convert import published_views
from dualhead.params import Settings, packaged_params

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
    content = _read(path)
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
    model = _build(config["model"], layout, content["num_classes"], config["max_bodies"])
    try:
        model.load_state_dict(selections[selection]["model"])
    except RuntimeError as error:
        raise ValueError(f"{path}: weights and settings do not fit together: {error}") from None
    model.config, model.layout = config, layout  # type: ignore[assignment]  # nn.Module knows tensors and modules alone
    return model.to(device).eval()


def convert_weights(
    source: Path, output: Path, *, model: str, layout: str, num_classes: int
) -> None:
    """Turn published weights into a checkpoint; the network's settings are read off their shapes.

    Args:
        source: a state dict as the authors of DualHead-Net or MS-G3D save it.
        output: the checkpoint to write.
        model: `dualhead` or `ms_g3d`.
        layout: of the skeletons that the weights were trained on.
        num_classes: that they tell apart.

    Raises:
        ValueError: if the file is no such state dict; names that are missing, unexpected or misshapen are listed.
    """
    weights, skeleton = _state_dict(source), load_layout(layout)
    try:
        settings = {"name": model, **_SETTINGS[model](weights, skeleton)}
        num_bodies = _num_bodies(weights, skeleton)
    except KeyError as error:
        raise ValueError(
            f"{source}: expected weights of {model}, found none named {error}; check --model"
        ) from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    network = _build(settings, skeleton, num_classes, num_bodies)
    _fill(network, weights, source)
    save_checkpoint(
        output,
        config=_config(settings, num_bodies),
        layout=layout,
        num_classes=num_classes,
        selections={"last": {"epoch": 0, "model": network.state_dict()}},
        training={"source": source.name},
    )


def _build(
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


def _read(path: Path) -> object:
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


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file by name, out of what training scripts wrap around them."""
    content = _read(path)
    while isinstance(content, dict):
        wrapped = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
        if not wrapped:
            break
        content = wrapped[0]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ValueError(f"{path}: expected a state dict, found {type(content).__name__}")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


WRAPPERS = ("state_dict", "model", "model_state_dict", "weights", "net")


def _fill(network: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Copy published weights into a network of ours."""
    views = published_views(network, network.state_dict())
    found = {name for name in weights if not name.endswith("num_batches_tracked")}
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(view.shape)}"
        for name, view in views.items()
        if name in found and weights[name].shape != view.shape
    ]
    _refuse(source, "missing", sorted(views.keys() - found))
    _refuse(source, "unexpected", sorted(found - views.keys()))
    _refuse(source, "of another shape", shapes)
    for name, view in views.items():
        view.copy_(weights[name])


def _refuse(source: Path, what: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{source}: {len(names)} weights are {what}: {shown}; check --model, --layout and --classes"
        )


def _config(settings: Settings, num_bodies: int) -> Settings:
    """Return a run's settings as far as published weights have any; the rest is the paper's."""
    paper = load_params(packaged_params())
    return {
        "variant": settings["name"],
        "modality": "joint",
        "model": settings,
        **{section: paper[section] for section in ("input", "train", "evaluate")},
        "max_bodies": num_bodies,
    }


def _dualhead_settings(weights: Mapping[str, Tensor], layout: SkeletonLayout) -> Settings:
    """Return the settings of a DualHead-Net; the subsampling rate leaves no trace and is the paper's."""
    coarse, fine = _branches(weights, "tcn2_coarse"), _branches(weights, "tcn2_fine")
    c1, c2, c3 = (_channels(weights, unit) for unit in ("1", "2_coarse", "3_coarse"))
    f2, f3 = (_channels(weights, unit) for unit in ("2_fine", "3_fine"))
    frames, joints = (_sources(weights, name) for name in ("conv_ta", "conv_sa"))
    paper = load_params(packaged_params())["dualhead"]
    return {
        **_scales(weights, layout),
        "coarse_channels": [c1, c2, c3],
        "fine_channels": [len(weights["embed_fine.weight"]), f2, f3],
        "coarse_windows": _windows(weights, "2_coarse", layout),
        "fine_windows": _windows(weights, "1", layout),
        "coarse_dilations": coarse,
        "fine_dilations": fine,
        "subsample": paper["subsample"],
        "temporal_attention": _attention(frames, cross=[f2, f3], own=[c1, c2]),
        "spatial_attention": _attention(joints, cross=[c2, c3], own=[f2, f3]),
        "attention_kernel": frames[0].shape[2] if frames else paper["attention_kernel"],
    }


def _ms_g3d_settings(weights: Mapping[str, Tensor], layout: SkeletonLayout) -> Settings:
    return {
        **_scales(weights, layout),
        "channels": [_channels(weights, unit) for unit in ("1", "2", "3")],
        "windows": _windows(weights, "1", layout),
        "dilations": _branches(weights, "tcn1"),
    }


_SETTINGS = {"dualhead": _dualhead_settings, "ms_g3d": _ms_g3d_settings}


def _scales(weights: Mapping[str, Tensor], layout: SkeletonLayout) -> Settings:
    rows, joints = weights["sgcn1.0.A_res"].shape
    if joints != layout.num_joints:
        raise ValueError(
            f"the weights are for {joints} joints, layout {layout.name} has {layout.num_joints}; "
            "name the layout they were trained on"
        )
    window_rows, window_joints = weights["gcn3d1.gcn3d.0.gcn3d.1.A_res"].shape
    return {"gcn_scales": rows // joints, "g3d_scales": window_rows // window_joints}


def _channels(weights: Mapping[str, Tensor], unit: str) -> int:
    """Return a unit's output channels: those of all branches of its last MS-TCN."""
    name = f"tcn{unit}.branches"
    channels = sum(len(tensor) for key, tensor in weights.items() if _is_embed(key, name))
    if not channels:
        raise KeyError(f"{name}.0.0.weight")
    return channels


def _branches(weights: Mapping[str, Tensor], name: str) -> list[int]:
    """Return an MS-TCN's dilations, of which only the number is visible: 1, 2, ..."""
    count = sum(_is_embed(key, f"{name}.branches") for key in weights)
    return list(range(1, count - 1))


def _is_embed(key: str, name: str) -> bool:
    return key.startswith(f"{name}.") and key.removeprefix(f"{name}.").split(".")[1:] == [
        "0",
        "weight",
    ]


def _windows(weights: Mapping[str, Tensor], unit: str, layout: SkeletonLayout) -> list[int]:
    """Return the window lengths of a unit's MS-G3D pathways."""
    names = (f"gcn3d{unit}.gcn3d.{i}.gcn3d.1.A_res" for i in range(len(weights)))
    found = []
    for name in names:
        if name not in weights:
            break
        found.append(weights[name].shape[1] // layout.num_joints)
    return found


def _sources(weights: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """Return the weights of one kind of attention, that after the first block first."""
    return [weights[key] for key in sorted(weights) if key.startswith(name) and "weight" in key]


def _attention(found: list[Tensor], *, cross: list[int], own: list[int]) -> str:
    """Return the kind of an attention by the channels that it looks at; the same in both: the paper's."""
    if not found:
        return "none"
    channels = [weight.shape[1] for weight in found]
    return "self" if channels == own != cross else "cross"


def _num_bodies(weights: Mapping[str, Tensor], layout: SkeletonLayout) -> int:
    values = len(weights["data_bn.weight"])
    per_body = layout.num_joints * layout.num_coordinates
    if values % per_body:
        raise ValueError(
            f"data_bn has {values} values, which are no whole number of bodies of layout {layout.name} "
            f"({layout.num_joints} joints, {layout.num_coordinates} coordinates); name the right layout"
        )
    return values // per_body
