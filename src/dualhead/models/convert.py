"""Published weights: the names and shapes under which the authors of both networks save them, and their conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from dualhead.layout import SkeletonLayout, load_layout
from dualhead.models.checkpoint import build, read_tensors, save_checkpoint
from dualhead.models.dualhead import MultiScaleTemporalConv, STGCBlock, WindowGraphConv
from dualhead.settings import checks
from dualhead.settings.params import Settings

Tensors = Mapping[str, Tensor]
Named = Iterator[tuple[str, Tensor]]

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
UNITS = {
    "backbone": "1",
    **{"fine.0": "2_fine", "fine.1": "3_fine", "coarse.0": "2_coarse", "coarse.1": "3_coarse"},
    **{"blocks.0": "1", "blocks.1": "2", "blocks.2": "3"},
}
PLAIN = {
    "classify": "fc",
    "classify_fine": "fc_fine",
    "classify_coarse": "fc_coarse",
    "embed_fine": "embed_fine",
    "attend_frames.0.conv": "conv_ta_fine_to_coarse_block_2_to_1",
    "attend_frames.1.conv": "conv_ta_fine_to_coarse_block_3_to_2",
    "attend_joints.0.conv": "conv_sa_coarse_to_fine_block_2_to_2",
    "attend_joints.1.conv": "conv_sa_coarse_to_fine_block_3_to_3",
}
WRAPPERS = ("state_dict", "model", "model_state_dict", "weights", "net")  # keys of training scripts


def published_views(model: nn.Module, tensors: Tensors) -> dict[str, Tensor]:
    """Return views of `tensors` by the names that the authors of the network gave them.

    Args:
        model: network that the tensors are of.
        tensors: tensors by our names: a state dict, or gradients; what is absent there is absent here.
    """
    views = dict(_norm("data_bn", "bodies.norm", tensors, slice(None)))
    for ours, theirs in PLAIN.items():
        dimensions = 4 if ours == "embed_fine" else 0
        views |= dict(_linear(theirs, ours, tensors, dimensions=dimensions))
    for ours, module in model.named_modules():
        if isinstance(module, STGCBlock):
            views |= dict(_block(module, ours, UNITS[ours], tensors))
    return views


def _block(block: STGCBlock, ours: str, unit: str, tensors: Tensors) -> Named:
    for i, module in enumerate(block.pathways):
        assert isinstance(module, WindowGraphConv)
        theirs, path = f"gcn3d{unit}.gcn3d.{i}", f"{ours}.pathways.{i}"
        yield from _gathering(f"{theirs}.gcn3d.1", path, tensors)
        yield from _collapse(f"{theirs}.out_conv", f"{path}.collapse", tensors, module.window)
        yield from _norm(f"{theirs}.out_bn", f"{path}.out_norm", tensors, slice(None))
    yield from _gathering(f"sgcn{unit}.0", f"{ours}.graph", tensors)
    paths = {f"sgcn{unit}.1": "temporal.0", f"sgcn{unit}.2": "temporal.1", f"tcn{unit}": "fusion"}
    for theirs, path in paths.items():
        yield from _temporal(block.get_submodule(path), theirs, f"{ours}.{path}", tensors)


def _gathering(theirs: str, ours: str, tensors: Tensors) -> Named:
    if (residual := tensors.get(f"{ours}.residual")) is not None:
        yield f"{theirs}.A_res", residual.flatten(0, 1)
    yield from _linear(f"{theirs}.mlp.layers.0", f"{ours}.mix", tensors, dimensions=4)
    yield from _norm(f"{theirs}.mlp.layers.1", f"{ours}.norm", tensors, slice(None))


def _collapse(theirs: str, ours: str, tensors: Tensors, window: int) -> Named:
    """Yield a Conv3d of kernel (1, W, 1); its weight is (out, channels, 1, W, 1)."""
    for name, tensor in _linear(theirs, ours, tensors):
        if name.endswith("weight"):
            tensor = tensor.view(len(tensor), window, -1).transpose(1, 2)[:, :, None, :, None]
        yield name, tensor


def _temporal(module: nn.Module, theirs: str, ours: str, tensors: Tensors) -> Named:
    assert isinstance(module, MultiScaleTemporalConv)
    dilated, width = len(module.convs), module.width
    pooled, plain = dilated, dilated + 1
    for i in range(dilated + 2):
        own, branch = slice(i * width, (i + 1) * width), f"{theirs}.branches.{i}"
        yield from _linear(f"{branch}.0", f"{ours}.embed", tensors, own, dimensions=4)
        if i != plain:
            yield from _norm(f"{branch}.1", f"{ours}.embed_norm", tensors, own)
        if i < dilated:
            yield from _linear(f"{branch}.3.conv", f"{ours}.convs.{i}", tensors)
        last = {pooled: f"{branch}.4", plain: f"{branch}.1"}.get(i, f"{branch}.3.bn")
        yield from _norm(last, f"{ours}.norm", tensors, own)
    yield from _linear(f"{theirs}.residual.conv", f"{ours}.residual", tensors, dimensions=4)
    yield from _norm(f"{theirs}.residual.bn", f"{ours}.residual_norm", tensors, slice(None))


def _linear(
    theirs: str, ours: str, tensors: Tensors, own: slice = slice(None), *, dimensions: int = 0
) -> Named:
    """Weight and bias, or the rows `own` of them; a 1x1 convolution's weight has 4 dimensions."""
    for part in ("weight", "bias"):
        if (tensor := tensors.get(f"{ours}.{part}")) is not None:
            ones = max(dimensions - tensor.dim(), 0) if part == "weight" else 0
            yield f"{theirs}.{part}", tensor[own][(..., *[None] * ones)]


def _norm(theirs: str, ours: str, tensors: Tensors, own: slice) -> Named:
    for part in NORM_PARTS:
        if (tensor := tensors.get(f"{ours}.{part}")) is not None:
            yield f"{theirs}.{part}", tensor[own]


def convert_weights(
    source: Path,
    output: Path,
    *,
    model: str,
    layout: str,
    num_classes: int,
    class_names: Sequence[str] = (),
    preparation: Settings | None = None,
) -> None:
    """Turn published weights into a checkpoint; the network's settings are read off their shapes.

    Args:
        source: a state dict as the authors of DualHead-Net or MS-G3D save it.
        output: the checkpoint to write.
        model: `dualhead` or `ms_g3d`.
        layout: skeleton layout that the weights were trained on.
        num_classes: number of classes that they tell apart.
        class_names: one for each class; none if they are not known.
        preparation: `prepare` settings of the recordings they were trained on, apart from the number
            of bodies, which the weights show; None if they are not known.

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
    network = build(settings, skeleton, num_classes, num_bodies)
    _fill(network, weights, source)
    save_checkpoint(
        output,
        config=_config(settings, num_bodies),
        layout=skeleton,
        class_names=class_names,
        num_classes=num_classes,
        preparation=preparation and preparation | {"max_bodies": num_bodies},
        selections={"last": {"epoch": 0, "model": network.state_dict()}},
        training={"source": source.name},
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file by name, without the wrappers of training scripts."""
    content = read_tensors(path, "fetch it again from where it is published")
    while isinstance(content, dict):
        wrapped = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
        if not wrapped:
            break
        content = wrapped[0]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ValueError(f"{path}: expected a state dict, found {type(content).__name__}")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


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
    paper = checks.defaults()
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
    paper = checks.defaults()["dualhead"]
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
