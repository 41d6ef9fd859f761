"""What a network costs: parameters, and multiplications of its textbook formulation."""

from __future__ import annotations

from torch import nn

from dualhead.models.dualhead import DualHead, SpatialAttention, TemporalAttention
from dualhead.models.ms_g3d import MSG3D
from dualhead.models.spatial import MultiScaleGraphConv
from dualhead.models.stgc import STGCBlock
from dualhead.models.temporal import MultiScaleTemporalConv
from dualhead.models.window import WindowGraphConv


def count_parameters(model: nn.Module) -> int:
    """Return the number of values that training changes."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiply-adds of convolutions and matrix products for an input of `shape`, (N, C, T, V, M).

    Those of the textbook formulation, in which papers are compared: every window is
    gathered first, every body computed. Ours does with fewer.
    """
    samples, _, frames, joints, bodies = shape
    assert isinstance(model, DualHead | MSG3D)
    body = _body(model, frames, joints)
    return samples * (bodies * body + _classifiers(model))


def _body(model: DualHead | MSG3D, frames: int, joints: int) -> int:
    if isinstance(model, DualHead):
        return _dualhead(model, frames, joints)
    return _ms_g3d(model, frames, joints)


def _classifiers(model: nn.Module) -> int:
    return sum(
        m.weight.numel()
        for name, m in model.named_children()
        if isinstance(m, nn.Linear) and name != "embed_fine"
    )


def _ms_g3d(model: MSG3D, frames: int, joints: int) -> int:
    total = 0
    for block in model.blocks:
        macs, frames = _block(block, frames, joints)
        total += macs
    return total


def _dualhead(model: DualHead, frames: int, joints: int) -> int:
    """One body."""
    total, fine = _block(model.backbone, frames, joints)
    total += frames * joints * model.embed_fine.weight.numel()
    coarse = _strided(frames, model.subsample)
    for i in range(2):
        before = coarse
        macs, fine = _block(model.fine[i], fine, joints)
        more, coarse = _block(model.coarse[i], coarse, joints)
        total += macs + more
        if model.attend_frames:
            looked_at = before if model.own_frames else fine
            total += looked_at * _conv(model.attend_frames[i])
        if model.attend_joints:
            total += joints * _conv(model.attend_joints[i])
    return total


def _conv(attention: nn.Module) -> int:
    assert isinstance(attention, TemporalAttention | SpatialAttention)
    return attention.conv.weight.numel()


def _strided(frames: int, stride: int) -> int:
    return -(-frames // stride)


def _block(block: nn.Module, frames: int, joints: int) -> tuple[int, int]:
    """Return the multiply-adds of one body in a block, and the frames that come out."""
    assert isinstance(block, STGCBlock)
    total = sum(_window(pathway, frames, joints) for pathway in block.pathways)
    total += _graph(block.graph, frames, joints)
    for module in (*block.temporal, block.fusion):
        assert isinstance(module, MultiScaleTemporalConv)
        total += _temporal(module, frames, joints)
        frames = _strided(frames, module.stride)
    return total, frames


def _graph(module: MultiScaleGraphConv, frames: int, joints: int) -> int:
    """Gathering for all scales, then the 1x1 convolution."""
    out_channels, columns = module.mix.weight.shape
    return frames * joints * columns * (joints + out_channels)


def _window(module: nn.Module, frames: int, joints: int) -> int:
    """The same on windows, then their reduction to a frame."""
    assert isinstance(module, WindowGraphConv)
    embed_channels, columns = module.mix.weight.shape
    rows = module.window * joints
    gathered = rows * columns * (rows + embed_channels)
    return _strided(frames, module.stride) * (gathered + joints * module.collapse.weight.numel())


def _temporal(module: MultiScaleTemporalConv, frames: int, joints: int) -> int:
    """Every branch's 1x1 convolution (the plain one's and the residual's are strided), then the dilated ones."""
    strided = _strided(frames, module.stride)
    plain = module.width * module.embed.weight.shape[1]
    total = frames * (module.embed.weight.numel() - plain) + strided * plain
    total += strided * sum(
        conv.weight.numel() for conv in module.convs if isinstance(conv, nn.Conv2d)
    )
    if module.residual is not None:
        total += strided * module.residual.weight.numel()
    return joints * total
