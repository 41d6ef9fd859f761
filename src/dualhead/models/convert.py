"""The names and shapes under which the authors of both networks publish weights, as views of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from dualhead.models.stgc import STGCBlock
from dualhead.models.temporal import MultiScaleTemporalConv
from dualhead.models.window import WindowGraphConv

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


def published_views(model: nn.Module, tensors: Tensors) -> dict[str, Tensor]:
    """Return views of `tensors` by the names that the authors of the network gave them.

    Args:
        model: whose tensors they are.
        tensors: by our names: a state dict, or gradients; what is absent there is absent here.
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
    """A Conv3d of kernel (1, W, 1), whose weight is (out, channels, 1, W, 1)."""
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
